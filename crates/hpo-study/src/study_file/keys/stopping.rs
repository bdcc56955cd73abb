//! Keys of when trials are stopped early: hopeless ones, and those that come to nothing.

use std::ops::Bound;

use super::INSIDE_UNIT;
use super::metric::GOALS;
use crate::study_file::shape::{NUMBER, Shape, Table, Word, key, refused, word};

pub(super) const STOPPER: Shape = Shape::Either(
    "a rule such as `auto`, or a map with its `type`",
    &[Shape::Word(STOPPERS), Shape::Table(&EARLY_TERMINATE)],
);
/// `early_terminate`
pub(crate) static EARLY_TERMINATE: Table = Table {
    title: "`early_terminate`",
    keys: &[
        key("type", Shape::Word(STOPPERS), "the rule").required(),
        key(
            "min_iter",
            Shape::Whole(1, i64::MAX),
            "no trial is judged before this step; 1 if absent",
        ),
        key(
            "max_iter",
            Shape::Whole(1, i64::MAX),
            "full length of a trial in steps; the trainer's epochs if absent",
        ),
        key(
            "eta",
            Shape::Whole(2, 1000),
            "one trial in this many goes on; 3 if absent",
        ),
        key(
            "s",
            Shape::Whole(1, 64),
            "W&B's: the lowest rung is `max_iter / eta^s`, where there is no `min_iter`",
        ),
        key(
            "min_trials",
            Shape::Whole(1, 1_000_000),
            "median, percentile: trials to compare with, at least; 5 if absent",
        ),
        key(
            "percentile",
            Shape::Number(Bound::Excluded(0.0), Bound::Excluded(100.0)),
            "percentile: so many percent of the others may be better; 25 if absent",
        ),
        key(
            "interval",
            Shape::Whole(1, i64::MAX),
            "percentile: steps from one judgement to the next; 1 if absent",
        ),
        key(
            "patience",
            Shape::Whole(0, i64::MAX),
            "patient: so many reports without an improvement are borne; 5 if absent",
        ),
        key(
            "min_delta",
            Shape::Number(Bound::Included(0.0), Bound::Unbounded),
            "patient: an improvement is by more than this; 0 if absent",
        ),
        key(
            "rule",
            Shape::Word(PATIENT_OF),
            "patient: the rule that it holds back; none if absent: the trial's own curve decides",
        ),
        key(
            "p_threshold",
            INSIDE_UNIT,
            "wilcoxon: a p-value below this is significant; 0.1 if absent",
        ),
        key(
            "n_startup_steps",
            Shape::Whole(0, 1_000_000),
            "wilcoxon: instances in common with the best trial, at least; 2 if absent",
        ),
        key(
            "metric",
            Shape::Text,
            "wilcoxon: the metric measured at each instance; the objective if absent",
        ),
        key(
            "variant",
            Shape::Word(ASHA_VARIANTS),
            "asha: what becomes of a trial at a rung; stopping if absent",
        ),
        key("strict", Shape::Flag, "W&B's strict").passed_over("rungs are always strict here"),
    ],
    foreign: &[
        ("reduction_factor", "did you mean `eta`?"),
        ("max_t", "did you mean `max_iter`?"),
        ("grace_period", "did you mean `min_iter`?"),
    ],
    hint: Some("write `early_terminate: {type: asha, min_iter: 1, max_iter: 27}`"),
};
const STOPPERS: &[Word] = &[
    word("none", "never"),
    word(
        "auto",
        "further back at a step than trials that became good had been; learned from the study itself",
    ),
    word(
        "median",
        "worse than the median of the others at the same step",
    ),
    word(
        "percentile",
        "not among the best so many percent at the same step",
    ),
    word(
        "patient",
        "when another rule says so and the trial has not become better for a while",
    ),
    word(
        "wilcoxon",
        "significantly worse than the best trial, where steps are instances or folds",
    ),
    word(
        "asha",
        "asynchronous successive halving: at each rung only the best third goes on",
    ),
    word(
        "sha",
        "successive halving, all trials of a bracket together",
    ),
    word("hyperband", "several brackets of successive halving"),
    refused(
        "bohb",
        "is a method: write `method: bohb`, and `type: hyperband` here",
    ),
    refused(
        "dehb",
        "is a method: write `method: dehb`, and `type: hyperband` here",
    ),
    refused("envelope", "is not supported"),
];

const ASHA_VARIANTS: &[Word] = &[
    word("stopping", "it goes on at once, or is out for good"),
    word(
        "promotion",
        "it pauses, and goes on from its checkpoint once it is among the best",
    ),
];
const PATIENT_OF: &[Word] = &[
    word("none", "no other rule"),
    word("median", "as `type: median`"),
    word("percentile", "as `type: percentile`"),
    word("asha", "as `type: asha`"),
];

/// `divergence`
pub(crate) static DIVERGENCE: Table = Table {
    title: "`divergence`",
    keys: &[
        key("policy", Shape::Word(POLICIES), "auto if absent"),
        key(
            "metric",
            Shape::Text,
            "the metric to watch; the objective if absent",
        ),
        key(
            "goal",
            Shape::Word(GOALS),
            "which way is better, for a metric that is not the objective; minimize if absent",
        ),
        key(
            "chance",
            NUMBER,
            "the watched metric's value for a model that knows nothing",
        ),
        key(
            "planned_steps",
            Shape::Whole(1, i64::MAX),
            "the step with which a trial ends, where neither trainer nor `early_terminate` say it",
        ),
        key(
            "recover_steps",
            Shape::Whole(1, i64::MAX),
            "a trial may be at chance or worse for so long; a share of its length if absent",
        ),
        key(
            "grace_steps",
            Shape::Whole(0, i64::MAX),
            "up to this step only values that are not finite count; 0 if absent",
        ),
        key(
            "no_progress",
            Shape::Flag,
            "also stop trials that never left chance; true if absent",
        ),
        key(
            "rescue",
            Shape::Table(&RESCUE),
            "instead of stopping, go on from a good checkpoint with a smaller learning rate",
        ),
    ],
    foreign: &[
        ("num_classes", "it belongs to `metric`"),
        (
            "rescue",
            "going on with a smaller learning rate is not in this version",
        ),
        ("patience", "did you mean `recover_steps`?"),
    ],
    hint: Some("write `divergence: {policy: auto}`"),
};
const POLICIES: &[Word] = &[
    word("auto", "hopeless trials are stopped, if it is certain"),
    word(
        "warn",
        "there is a warning; three objectives in a row that are not finite stop a trial",
    ),
    word("off", "nobody looks"),
];

/// `divergence.rescue`
pub(crate) static RESCUE: Table = Table {
    title: "`rescue`",
    keys: &[
        key(
            "attempts",
            Shape::Whole(1, 100),
            "how often at most, per trial; 1 if absent",
        ),
        key(
            "lr_factor",
            INSIDE_UNIT,
            "the learning rate is multiplied by this; 0.1 if absent",
        ),
    ],
    foreign: &[("factor", "did you mean `lr_factor`?")],
    hint: Some("write `rescue: {attempts: 1, lr_factor: 0.1}`"),
};
