//! Knobs that more than one schedule has.

use std::ops::Bound;

use crate::hyperparameter::{Allowed, Default, Hyperparameter, Search};

/// The knobs of the linear warm-up, which every schedule has.
pub static WARMUP: &[Hyperparameter] = &[
    Hyperparameter {
        name: "warmup_fraction",
        meaning: "share of the run in which the rate rises on a line to its first value; 0: none",
        default: Default::Number(0.0),
        allowed: Allowed::BELOW_ONE,
        search: Some(Search::Choices(&[
            Default::Number(0.0),
            Default::Number(0.02),
            Default::Number(0.05),
            Default::Number(0.1),
        ])),
        tune_from: 10,
        source: "arXiv 1706.02677; range: AlgoPerf, arXiv 2306.07179",
    },
    Hyperparameter {
        name: "warmup_start_factor",
        meaning: "where the warm-up starts, as a ratio of where it ends",
        default: Default::Number(1.0 / 3.0),
        allowed: Allowed::POSITIVE_UNIT,
        search: None,
        tune_from: 50,
        source: "PyTorch LinearLR start_factor",
    },
];

/// A list of shares of the run.
pub(crate) const MILESTONES_ALLOWED: Allowed =
    Allowed::Ascending(Bound::Excluded(0.0), Bound::Excluded(1.0));
