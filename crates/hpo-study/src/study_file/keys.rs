//! Every key of the study file: its name, its shape, what it means.

use std::ops::Bound;

use hpo_recipe::{OptimizerKind, ScheduleKind};

use super::shape::{KeyFacts, NUMBER, POSITIVE, Shape, Table, Word, key, refused, word};

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

const METRIC_PATTERNS: Shape = Shape::Either(
    "a name, a list of patterns, or a map of metrics to patterns",
    &[
        Shape::Text,
        Shape::List(&METRIC_PATTERN, 1),
        Shape::Map(&METRIC_PATTERN),
    ],
);
static METRIC_PATTERN: Shape = Shape::Either(
    "a regex, the name of a ready-made pattern, or a map",
    &[Shape::Text, Shape::Table(&PATTERN)],
);

/// One item of `metrics`
pub(crate) static PATTERN: Table = Table {
    title: "a pattern",
    keys: &[
        key(
            "regex",
            Shape::Text,
            "a regular expression with groups named by metrics",
        ),
        key(
            "format",
            Shape::Name("ready-made pattern", format_names),
            "a ready-made pattern",
        ),
        key(
            "name",
            Shape::Text,
            "the metric that the expression's only group is",
        ),
        key(
            "from",
            Shape::Word(STREAMS),
            "where to look; stdout if absent, for `format` where it is usual",
        ),
    ],
    foreign: &[
        ("pattern", "did you mean `regex`?"),
        ("metric", "did you mean `name`?"),
        ("stream", "did you mean `from`?"),
        (
            "goal",
            "there is one objective: write it as `metric: {name: …, goal: …}`",
        ),
    ],
    hint: Some("write a regex: 'val_loss: (?P<val_loss>\\S+)'"),
};
const STREAMS: &[Word] = &[
    word("stdout", "standard output"),
    word("stderr", "standard error"),
    word("both", "both of them"),
];

/// Names of the ready-made patterns.
pub(crate) fn format_names() -> Vec<&'static str> {
    crate::printout::Known::ALL
        .iter()
        .map(|known| known.name())
        .collect()
}

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

const METHODS: &[Word] = &[
    word("grid", "every combination, in order"),
    word("random", "independent draws"),
    word(
        "sobol",
        "a scrambled Sobol sequence: random, but evenly spread",
    ),
    word(
        "tpe",
        "learns: where good trials are dense (tree-structured Parzen estimator)",
    ),
    word(
        "gp",
        "learns: a Gaussian process of the loss over the space",
    ),
    word(
        "nsga2",
        "learns: an evolving population, made for several objectives (NSGA-II)",
    ),
    word("motpe", "another name for `tpe` with several objectives"),
    word(
        "bayes",
        "learns: the best of these for most studies, early and late",
    ),
    word(
        "cmaes",
        "learns: CMA-ES with margin, a normal distribution that moves to the best trials",
    ),
    word(
        "pbt",
        "population-based training: the worst copy the best and change their rates while they train",
    ),
    word("bohb", "learns: a density model for each rung of Hyperband"),
    word(
        "dehb",
        "learns: differential evolution for each rung of Hyperband",
    ),
    refused(
        "custom",
        "is not a method: `hpo` chooses the configurations",
    ),
];

/// `pbt`
pub(crate) static POPULATION: Table = Table {
    title: "`pbt`",
    keys: &[
        key(
            "population",
            Shape::Whole(2, 10_000),
            "how many members; 8 if absent",
        ),
        key(
            "interval",
            Shape::Whole(1, 1_000_000_000),
            "after so many steps the worst copy the best; a tenth of the training if absent",
        ),
        key(
            "max_iter",
            Shape::Whole(1, 1_000_000_000),
            "the last step of a whole training; the trainer's epochs if absent",
        ),
        key(
            "quantile",
            Shape::Number(Bound::Excluded(0.0), Bound::Included(0.5)),
            "which share copies which share; .25 if absent",
        ),
        key(
            "resample",
            Shape::Number(Bound::Included(0.0), Bound::Included(1.0)),
            "how likely a parameter of a copy is drawn anew; .25 if absent",
        ),
        key(
            "factors",
            Shape::List(&POSITIVE, 1),
            "by one of these it is multiplied otherwise; [0.8, 1.2] if absent",
        ),
        key(
            "mutate",
            Shape::List(&Shape::Text, 1),
            "the parameters that change; all numbers if absent",
        ),
    ],
    foreign: &[
        ("size", "did you mean `population`?"),
        ("population_size", "did you mean `population`?"),
        ("num_samples", "did you mean `population`?"),
        ("perturbation_interval", "did you mean `interval`?"),
        ("quantile_fraction", "did you mean `quantile`?"),
        ("resample_probability", "did you mean `resample`?"),
        ("perturbation_factors", "did you mean `factors`?"),
        (
            "hyperparam_mutations",
            "did you mean `mutate`? The ranges are those of `parameters`",
        ),
    ],
    hint: Some("write `pbt: {population: 8, interval: 5}`"),
};

/// `confirm`
pub(crate) static CONFIRM: Table = Table {
    title: "`confirm`",
    keys: &[
        key(
            "top",
            Shape::Whole(1, 1000),
            "how many of the best configurations; 3 if absent",
        ),
        key(
            "seeds",
            Shape::Whole(1, 1000),
            "how many fresh runs of each, the original not counted; 3 if absent",
        ),
    ],
    foreign: &[
        ("k", "did you mean `top`?"),
        ("runs", "did you mean `seeds`?"),
        ("repeats", "did you mean `seeds`?"),
    ],
    hint: Some("write `confirm: {top: 3, seeds: 3}`"),
};

const OBJECTIVES: Shape = Shape::Either(
    "a map with the metric's name, or a list of such maps",
    &[Shape::Table(&METRIC), Shape::List(&OBJECTIVE, 1)],
);
static OBJECTIVE: Shape = Shape::Table(&METRIC);

/// `metric`
pub(crate) static METRIC: Table = Table {
    title: "`metric`",
    keys: &[
        key("name", Shape::Text, "the name under which trials report it").required(),
        key(
            "goal",
            Shape::Word(GOALS),
            "which way is better; minimize if absent",
        ),
        key(
            "chance",
            NUMBER,
            "its value for a model that knows nothing: finds runs that come to nothing",
        ),
        key(
            "num_classes",
            Shape::Whole(2, 1_000_000_000),
            "instead of `chance`: number of classes, for a cross-entropy in nats or an accuracy \
             from 0 to 1",
        ),
        key("impute", Shape::Text, "W&B's value for failed runs")
            .passed_over("samplers keep away from configurations that fail"),
        key(
            "impute_while_running",
            Shape::Anything,
            "W&B's value for running runs",
        )
        .passed_over("samplers know what runs"),
        key("target", NUMBER, "W&B's target value")
            .passed_over("the study goes on to its caps even when this value is reached"),
    ],
    foreign: &[("classes", "did you mean `num_classes`?")],
    hint: Some("write `metric: {name: val_loss, goal: minimize}`"),
};

const GOALS: &[Word] = &[
    word("minimize", "smaller is better"),
    word("maximize", "larger is better"),
];

/// `trainer`
pub(crate) static TRAINER: Table = Table {
    title: "`trainer`",
    keys: &[
        key("model", Shape::Word(MODELS), "which network").required(),
        key(
            "hidden",
            Shape::List(&WIDTH, 0),
            "mlp: widths of the hidden layers; [64] if absent",
        ),
        key(
            "activation",
            Shape::Word(ACTIVATIONS),
            "mlp: after each hidden layer; relu if absent",
        ),
        key(
            "channels",
            Shape::List(&WIDTH, 1),
            "cnn: channels of the two convolutions; [8, 16] if absent",
        ),
        key(
            "dataset",
            Shape::Either(
                "`digits` or a map",
                &[Shape::Word(DATASETS), Shape::Table(&CSV)],
            ),
            "which data",
        )
        .required()
        .hint("write `dataset: digits`, or `dataset: {csv: data.csv, target: price}`"),
        key(
            "epochs",
            Shape::Whole(1, 1_000_000),
            "full length of a training run",
        )
        .required(),
        key(
            "batch_size",
            Shape::Whole(1, 1_000_000),
            "mini-batch size, unless it is a parameter; 32 if absent",
        ),
        key(
            "validation",
            INSIDE_UNIT,
            "share of the data held out; 0.2 if absent",
        ),
        key(
            "split_seed",
            Shape::Whole(0, 9_007_199_254_740_992),
            "seed of that split; 0 if absent",
        ),
    ],
    foreign: &[
        (
            "optimizer",
            "the optimizer is a parameter: parameters: {optimizer: {value: adam}}",
        ),
        (
            "lr",
            "the learning rate is a parameter: parameters: {lr: {min: …, max: …}}",
        ),
        (
            "schedule",
            "the schedule is a parameter: parameters: {schedule: {value: cosine}}",
        ),
    ],
    hint: Some("write `trainer: {model: mlp, hidden: [64], dataset: digits, epochs: 20}`"),
};

const INSIDE_UNIT: Shape = Shape::Number(Bound::Excluded(0.0), Bound::Excluded(1.0));
static WIDTH: Shape = Shape::Whole(1, 65_536);

const MODELS: &[Word] = &[
    word("mlp", "fully connected layers"),
    word(
        "cnn",
        "convolution and pooling twice, then a linear layer; for images",
    ),
];
const ACTIVATIONS: &[Word] = &[
    word("relu", "max(0, x)"),
    word("tanh", "tanh(x)"),
    word("gelu", "x·Φ(x)"),
];
const DATASETS: &[Word] = &[word(
    "digits",
    "the handwritten digits that ship with `hpo`",
)];

/// `trainer.dataset` as a map
pub(crate) static CSV: Table = Table {
    title: "`dataset`",
    keys: &[
        key("csv", Shape::Text, "the file, relative to the study file").required(),
        key(
            "target",
            Shape::Either(
                "a column's name or index",
                &[Shape::Text, Shape::Whole(-100_000, 100_000)],
            ),
            "the column to predict: its name, or its index from 0 (negative: from the end)",
        )
        .required(),
        key(
            "task",
            Shape::Word(TASKS),
            "what is learned; seen from the target if absent",
        ),
    ],
    foreign: &[
        ("path", "did you mean `csv`?"),
        ("label", "did you mean `target`?"),
    ],
    hint: None,
};
const TASKS: &[Word] = &[
    word("classification", "the target is one of some classes"),
    word("regression", "the target is a number"),
];

/// `recipe`
pub(crate) static RECIPE: Table = Table {
    title: "`recipe`",
    keys: &[
        key(
            "optimizers",
            NAMES_OF_OPTIMIZERS,
            "optimizers to choose from, or `all`",
        ),
        key(
            "schedules",
            NAMES_OF_SCHEDULES,
            "learning-rate schedules to choose from, or `all`",
        ),
        key(
            "warmup",
            Shape::Flag,
            "search the length of a linear warm-up too; false if absent",
        ),
    ],
    foreign: &[
        ("optimizer", "did you mean `optimizers`?"),
        ("schedule", "did you mean `schedules`?"),
    ],
    hint: Some("write `recipe: {optimizers: [sgd, adamw], schedules: [constant, cosine]}`"),
};
const ALL: &[Word] = &[word("all", "everything in the catalogue")];
const NAMES_OF_OPTIMIZERS: Shape = Shape::Either(
    "a list of names, or `all`",
    &[
        Shape::List(&Shape::Name("optimizer", optimizer_names), 1),
        Shape::Word(ALL),
    ],
);
const NAMES_OF_SCHEDULES: Shape = Shape::Either(
    "a list of names, or `all`",
    &[
        Shape::List(&Shape::Name("learning-rate schedule", schedule_names), 1),
        Shape::Word(ALL),
    ],
);

/// Names of the catalogue's optimizers.
pub(crate) fn optimizer_names() -> Vec<&'static str> {
    OptimizerKind::ALL.iter().map(|kind| kind.name()).collect()
}

/// Names of the catalogue's schedules, with the other spelling of one of them.
pub(crate) fn schedule_names() -> Vec<&'static str> {
    ScheduleKind::ALL
        .iter()
        .map(|kind| kind.name())
        .chain(["onecycle"])
        .collect()
}

/// One entry of `parameters`: what it can be, a branch per condition, or just its value.
pub(crate) static PARAMETER_ENTRY: Shape = Shape::Either(
    "a map that says what it can be, or a single value",
    &[
        Shape::Table(&PARAMETER),
        Shape::List(&Shape::Table(&PARAMETER), 1),
        Shape::Flag,
        NUMBER,
        Shape::Text,
    ],
);

/// What a parameter can be.
pub(crate) static PARAMETER: Table = Table {
    title: "a parameter",
    keys: &[
        key("value", Shape::Value, "always this value"),
        key("values", Shape::List(&Shape::Value, 0), "one of these"),
        key(
            "probabilities",
            Shape::List(&SHARE, 1),
            "how likely each of `values` is",
        ),
        key("min", NUMBER, "smallest value"),
        key("max", NUMBER, "largest value"),
        key("q", POSITIVE, "distance between allowed values"),
        key(
            "mu",
            NUMBER,
            "normal distributions: mean (of the logarithm); 0 if absent",
        ),
        key(
            "sigma",
            Shape::Number(Bound::Included(0.0), Bound::Unbounded),
            "normal distributions: standard deviation (of the logarithm); 1 if absent",
        ),
        key(
            "a",
            POSITIVE,
            "beta distributions: first exponent plus one; 1 if absent",
        ),
        key(
            "b",
            POSITIVE,
            "beta distributions: second exponent plus one; 1 if absent",
        ),
        key(
            "parameters",
            Shape::Parameters(&PARAMETER_ENTRY),
            "W&B's nested parameters: a group of parameters",
        ),
        key(
            "distribution",
            Shape::Word(DISTRIBUTIONS),
            "how the values are spread",
        ),
        key(
            "prior",
            super::prior::OWN,
            "where the best value is believed to be",
        )
        .hint("write the best guess, `prior: 0.001`, or `prior: {guess: 0.001, confidence: high}`"),
        key(
            "when",
            Shape::Map(&CHOICE),
            "other parameters' values under which this one exists",
        )
        .hint("write `when: {optimizer: sgd}` or `when: {optimizer: [sgd, adam]}`"),
    ],
    foreign: &[
        ("low", "did you mean `min`?"),
        ("high", "did you mean `max`?"),
        ("choices", "did you mean `values`?"),
        ("type", "did you mean `distribution`?"),
        ("log", "write `distribution: log_uniform_values`"),
        ("step", "did you mean `q`?"),
    ],
    hint: Some("for choices write `values: […]`; a list here is one map per condition"),
};
static SHARE: Shape = Shape::Number(Bound::Included(0.0), Bound::Included(1.0));
/// In a condition a list means "any of these".
pub(super) static CHOICE: Shape = Shape::Value;

const DISTRIBUTIONS: &[Word] = &[
    word("constant", "always `value`"),
    word("categorical", "one of `values`"),
    word(
        "categorical_w_probabilities",
        "one of `values`, with `probabilities`",
    ),
    word(
        "int_uniform",
        "whole numbers from `min` to `max`, every `q`-th",
    ),
    word("int_log_uniform", "whole numbers, evenly in the logarithm"),
    word("uniform", "evenly from `min` to `max`"),
    word("q_uniform", "multiples of `q`, evenly from `min` to `max`"),
    word(
        "log_uniform_values",
        "evenly in the logarithm, from `min` to `max`",
    ),
    word(
        "q_log_uniform_values",
        "multiples of `q`, evenly in the logarithm",
    ),
    word("log_uniform", "as W&B: `min` and `max` are exponents of e"),
    word(
        "q_log_uniform",
        "as W&B: multiples of `q`; `min` and `max` are exponents of e",
    ),
    word(
        "one_minus_log",
        "evenly in the logarithm of one minus the value: momentum, betas",
    ),
    word(
        "inv_log_uniform",
        "as W&B: from e^-max to e^-min, evenly in the logarithm",
    ),
    word(
        "inv_log_uniform_values",
        "as W&B: the same as log_uniform_values",
    ),
    word("normal", "normal, with `mu` and `sigma`"),
    word("q_normal", "multiples of `q`, normal"),
    word("log_normal", "normal in the logarithm"),
    word("q_log_normal", "multiples of `q`, normal in the logarithm"),
    word(
        "beta",
        "the beta distribution with `a` and `b`, from 0 to 1",
    ),
    word("q_beta", "multiples of `q`, beta"),
];

const STOPPER: Shape = Shape::Either(
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
