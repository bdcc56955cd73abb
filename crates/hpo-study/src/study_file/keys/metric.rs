//! Keys of what is optimized, and of how metrics are found in a program's output.

use crate::study_file::shape::{NUMBER, Shape, Table, Word, key, word};

pub(super) const METRIC_PATTERNS: Shape = Shape::Either(
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

pub(super) const OBJECTIVES: Shape = Shape::Either(
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

pub(super) const GOALS: &[Word] = &[
    word("minimize", "smaller is better"),
    word("maximize", "larger is better"),
];
