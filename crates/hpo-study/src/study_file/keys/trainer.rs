//! Keys of the built-in trainer and its data.

use super::INSIDE_UNIT;
use crate::study_file::shape::{Shape, Table, Word, key, word};

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
