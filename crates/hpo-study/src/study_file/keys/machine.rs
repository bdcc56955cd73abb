//! Keys of the machine: its cores and GPUs, and what happens when trials fail.

use crate::study_file::shape::{Shape, Table, Word, key, word};

/// `cpu`
pub(crate) static CPU: Table = Table {
    title: "`cpu`",
    keys: &[
        key(
            "max_parallel",
            Shape::Whole(1, 10_000),
            "most trials at once; the number of cores if absent",
        ),
        key(
            "memory_limit",
            Shape::Bytes,
            "most main memory of all trials together; not counted if absent",
        ),
    ],
    foreign: &[("memory", "did you mean `memory_limit`?")],
    hint: Some("write `cpu: {max_parallel: 4}`"),
};

/// `gpu`
pub(crate) static GPU: Table = Table {
    title: "`gpu`",
    keys: &[
        key(
            "devices",
            Shape::Either(
                "`all` or a list of GPUs",
                &[Shape::Word(ALL_GPUS), Shape::List(&DEVICE, 1)],
            ),
            "which GPUs, by number or UUID; all if absent",
        )
        .hint("write `devices: all`, or `devices: [0, 1]` with numbers as `hpo gpus` shows them"),
        key(
            "memory_limit",
            Shape::Bytes,
            "most memory per GPU; all there is if absent",
        ),
        key(
            "limit_for",
            Shape::Word(LIMIT_FOR),
            "whose memory the limit is for; card if absent",
        ),
        key(
            "per_trial",
            Shape::BytesOrAuto,
            "what a trial needs; auto if absent: predicted, and learned from what trials use",
        ),
        key(
            "headroom",
            Shape::Bytes,
            "what is kept free below the limit; 512MiB if absent",
        ),
        key(
            "max_per_gpu",
            Shape::Whole(1, 1000),
            "most trials at once on one GPU; as many as fit if absent",
        ),
        key(
            "size_parameters",
            Shape::List(&PARAMETER_NAME, 1),
            "parameters on which the need for memory depends, such as `hidden`; found out if absent; the \
             batch size and the optimizer count anyway",
        ),
        key(
            "settle_after",
            Shape::Duration,
            "a trial whose use has not grown for so long lets others start beside it; 30s if absent",
        ),
        key(
            "fallback",
            Shape::Word(FALLBACK),
            "where trials run on a machine without such a GPU; none if absent",
        ),
    ],
    foreign: &[
        ("limit", "did you mean `memory_limit`?"),
        ("memory", "did you mean `memory_limit`?"),
        ("max_parallel", "did you mean `max_per_gpu`?"),
        ("count", "write `devices: [0, 1]`"),
        ("ids", "did you mean `devices`?"),
        ("cpu_fallback", "did you mean `fallback: cpu`?"),
        ("allow_cpu", "did you mean `fallback: cpu`?"),
    ],
    hint: Some("write `gpu: {devices: all, memory_limit: 8GiB}`"),
};
static DEVICE: Shape = Shape::Either(
    "a GPU's number or UUID",
    &[Shape::Whole(0, 4095), Shape::Text],
);
static PARAMETER_NAME: Shape = Shape::Text;
const ALL_GPUS: &[Word] = &[word("all", "every GPU of the machine")];
const FALLBACK: &[Word] = &[
    word("none", "nowhere: the study is not run there"),
    word("cpu", "on the CPU"),
];
const LIMIT_FOR: &[Word] = &[
    word(
        "card",
        "everybody on the card: what other processes use is part of it",
    ),
    word("study", "this study's trials alone"),
];
const OOM: &[Word] = &[
    word(
        "retry",
        "started again with more memory set aside, at most twice, at last alone",
    ),
    word("fail", "infeasible at once"),
];

/// `failure`
pub(crate) static FAILURE: Table = Table {
    title: "`failure`",
    keys: &[
        key(
            "crash_retries",
            Shape::Whole(0, 1000),
            "how often a crashed trial is started again; 1 if absent",
        ),
        key(
            "stop_after_consecutive",
            Shape::Whole(0, 1_000_000),
            "the study stops after so many trials in a row that failed alike; 0: never; 5 if absent",
        ),
        key(
            "lost_retries",
            Shape::Whole(0, 1000),
            "how often a trial whose process vanished is started again; 5 if absent",
        ),
        key(
            "stall_timeout",
            Shape::Duration,
            "a trial that is silent for so long is ended, and tried again once; never if absent",
        ),
        key(
            "trial_time_limit",
            Shape::Duration,
            "how long a trial may run, all of its processes together; no limit if absent",
        ),
        key(
            "oom",
            Shape::Word(OOM),
            "what becomes of a trial that ran out of memory; retry if absent",
        ),
    ],
    foreign: &[
        ("retries", "did you mean `crash_retries`?"),
        (
            "timeout",
            "did you mean `trial_time_limit`, or `stall_timeout`?",
        ),
    ],
    hint: Some("write `failure: {crash_retries: 1, stop_after_consecutive: 5}`"),
};
