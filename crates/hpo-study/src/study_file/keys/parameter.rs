//! Keys of one searched parameter.

use std::ops::Bound;

use crate::study_file::prior;
use crate::study_file::shape::{NUMBER, POSITIVE, Shape, Table, Word, key, word};

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
        key("values", Shape::List(&Shape::Value, 0), "one of these")
            .hint("write plain values in a list: `values: [0.1, 0.01]`"),
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
            prior::OWN,
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
pub(in crate::study_file) static CHOICE: Shape = Shape::Value;

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
