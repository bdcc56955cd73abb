//! Every key of the study file: its name, its shape, what it means. Here are those of the whole file; what
//! stands below one of them is in a room of its own.

mod machine;
mod metric;
mod parameter;
mod recipe;
mod search;
mod stopping;
mod trainer;

use std::ops::Bound;

use super::shape::{KeyFacts, NUMBER, POSITIVE, Shape, Table, Word, key, word};
use machine::{CPU, FAILURE, GPU};
use metric::{METRIC_PATTERNS, OBJECTIVES};
pub(super) use parameter::CHOICE;
pub(crate) use parameter::PARAMETER_ENTRY;
use recipe::RECIPE;
pub(crate) use recipe::{optimizer_names, schedule_names};
use search::{CONFIRM, METHODS, POPULATION};
use stopping::{DIVERGENCE, STOPPER};
use trainer::TRAINER;

/// The whole file.
pub(crate) static STUDY: Table = Table {
    title: "the study",
    keys: STUDY_KEYS,
    foreign: &[
        ("gpus", "did you mean `gpu`?"),
        (
            "executor",
            "other executors than this machine are not in this version",
        ),
        ("params", "did you mean `parameters`?"),
        ("prior_runs", "did you mean `import`?"),
        ("warm_start", "did you mean `import`?"),
        ("priors", "did you mean `prior`?"),
        ("workdir", "did you mean `cwd`?"),
        ("working_directory", "did you mean `cwd`?"),
        ("environment", "did you mean `env`?"),
        ("interpreter", "did you mean `python`?"),
        (
            "job",
            "`hpo` runs programs, not W&B's launch jobs: write `program: train.py`",
        ),
        (
            "image_uri",
            "`hpo` runs programs, not images: write `command: [docker, run, …]`",
        ),
        (
            "scheduler",
            "`hpo` chooses the configurations itself: remove it, and write `parameters`",
        ),
    ],
    hint: Some("a study file is a map that begins with lines such as `method: random`"),
};

const STUDY_KEYS: &[KeyFacts] = &[
    key("version", Shape::Whole(1, 1), "version of the format: 1"),
    key(
        "name",
        Shape::Text,
        "the study's name and directory under `runs/`; else the file's",
    ),
    key("description", Shape::Text, "words for people"),
    key("project", Shape::Text, "W&B's project").passed_over("`hpo` has no projects"),
    key("entity", Shape::Text, "W&B's entity").passed_over("`hpo` has no entities"),
    key("apiVersion", Shape::Anything, "W&B's version of the format")
        .passed_over("it says nothing here"),
    key("kind", Shape::Anything, "W&B's kind of file").passed_over("it says nothing here"),
    key("controller", Shape::Anything, "W&B's controller")
        .passed_over("`hpo run` is the controller"),
    key(
        "program",
        Shape::Text,
        "the training script; `${program}` in `command`",
    ),
    key(
        "command",
        COMMAND,
        "the argument vector, with W&B's macros; with `shell`, a text",
    )
    .hint("write a list: command: [\"python\", \"${program}\", \"${args}\"]"),
    key(
        "shell",
        Shape::Flag,
        "`command` is a text for /bin/sh; false if absent",
    ),
    key(
        "python",
        Shape::Text,
        "`${interpreter}`: a Python, or the directory of a virtual environment; python if absent",
    ),
    key(
        "cwd",
        Shape::Text,
        "where trials run; the study file's directory if absent",
    ),
    key(
        "env",
        Shape::Map(&ENVIRONMENT_VALUE),
        "environment variables, by name; `${envvar:NAME}` in a value keeps secrets out of files",
    )
    .hint("write `env: {OMP_NUM_THREADS: 1, API_KEY: \"${envvar:API_KEY}\"}`"),
    key(
        "metrics",
        METRIC_PATTERNS,
        "how metrics are found in what the program prints",
    )
    .hint("write `metrics: keras`, or metrics: {val_loss: 'val_loss: (\\S+)'}"),
    key(
        "trainer",
        Shape::Table(&TRAINER),
        "the built-in trainer, instead of a program",
    ),
    key(
        "method",
        Shape::Word(METHODS),
        "how configurations are chosen",
    )
    .required()
    .hint("add a word such as `method: bayes`, `method: random` or `method: grid`"),
    key(
        "seed",
        Shape::Whole(0, 9_007_199_254_740_992),
        "seed of everything random; 0 if absent",
    ),
    key(
        "metric",
        OBJECTIVES,
        "what is optimized: one metric, or a list of several",
    )
    .required()
    .hint("add `metric: {name: val_loss, goal: minimize}`, with the name your program reports"),
    key("run_cap", Shape::Whole(1, 10_000_000), "most trials"),
    key(
        "repeats",
        Shape::Whole(1, 100),
        "with how many seeds each configuration is run, its value being their mean; once if absent",
    ),
    key(
        "time_cap",
        Shape::Duration,
        "most running time, all sessions together",
    ),
    key(
        "recipe",
        Shape::Table(&RECIPE),
        "a ready-made search space from the catalogue",
    ),
    key(
        "parameters",
        Shape::Parameters(&PARAMETER_ENTRY),
        "what is searched, by name",
    ),
    key(
        "prior",
        Shape::Map(&super::prior::ENTRY),
        "where the optimum is believed to be, by parameter",
    )
    .hint("write `prior: {lr: 0.001, optimizer: adam}`"),
    key(
        "import",
        super::import::IMPORTS,
        "trials from elsewhere that the search learns from",
    )
    .hint("write `import: ../runs/yesterday`, or `import: [{from: old.csv, metric: loss}]`"),
    key(
        "allow_duplicates",
        Shape::Flag,
        "configurations may come again; false if absent",
    ),
    key(
        "early_terminate",
        STOPPER,
        "when hopeless trials are stopped; never if absent",
    )
    .hint("write `early_terminate: auto`"),
    key(
        "pbt",
        Shape::Table(&POPULATION),
        "how `method: pbt` trains its population",
    ),
    key(
        "divergence",
        Shape::Table(&DIVERGENCE),
        "what is done about runs that come to nothing",
    ),
    key("cpu", Shape::Table(&CPU), "what of the machine may be used"),
    key(
        "gpu",
        Shape::Table(&GPU),
        "the GPUs that trials are placed on; on none if absent",
    ),
    key(
        "failure",
        Shape::Table(&FAILURE),
        "what happens when trials fail",
    ),
    key(
        "keep_checkpoints",
        Shape::Either(
            "`all`, `none`, `last`, `best_3`, or how many per trial",
            &[Shape::Text, Shape::Whole(1, 1_000_000)],
        ),
        "which checkpoints of finished trials stay on the disk; all if absent",
    )
    .hint("write `keep_checkpoints: best_3`"),
    key(
        "disk_budget",
        Shape::Either(
            "a size such as `20GiB`, or a number of bytes",
            &[Shape::Text, POSITIVE],
        ),
        "how much room all checkpoints together may take",
    )
    .hint("write `disk_budget: 20GiB`"),
    key(
        "confirm",
        Shape::Table(&CONFIRM),
        "the best are run again with fresh seeds at the end; not if absent",
    ),
    key(
        "stop_grace",
        Shape::Duration,
        "time a trial has to end after SIGTERM; 10s if absent",
    ),
    key(
        "on_crash",
        Shape::Word(ON_CRASH),
        "what becomes of running trials when `hpo` itself is killed; adopt if absent",
    ),
    key(
        "notify",
        Shape::Table(&super::notify::NOTIFY),
        "who is told when the study is done, has failed, or found something better",
    ),
];

/// A value of an environment variable; null removes it.
static ENVIRONMENT_VALUE: Shape = Shape::Value;

const COMMAND: Shape = Shape::Either(
    "a list of arguments, or a text with `shell: true`",
    &[Shape::List(&TEXT_OR_NUMBER, 1), Shape::Text],
);
static TEXT_OR_NUMBER: Shape = Shape::Either("a text or a number", &[Shape::Text, NUMBER]);

const ON_CRASH: &[Word] = &[
    word(
        "adopt",
        "they run on, and the next `hpo run` goes on with them",
    ),
    word("kill", "they are killed with it"),
];

const INSIDE_UNIT: Shape = Shape::Number(Bound::Excluded(0.0), Bound::Excluded(1.0));
