//! Keys of the ready-made search space.

use hpo_recipe::{OptimizerKind, ScheduleKind};

use crate::study_file::shape::{Shape, Table, Word, key, word};

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
