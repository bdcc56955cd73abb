//! Knobs that several optimizers have, with the ranges named in the literature.
//!
//! "AlgoPerf" is the tuning search space of Dahl et al. 2023, "Benchmarking Neural Network
//! Training Algorithms" (arXiv 2306.07179).

use crate::hyperparameter::{Allowed, Default, Hyperparameter, Scale, Search};

/// A range on a logarithmic scale.
pub(super) const fn log(low: f64, high: f64) -> Option<Search> {
    Some(Search::Range {
        low,
        high,
        scale: Scale::Log,
    })
}

/// A range in which 1 − value is spread evenly on a logarithmic scale.
pub(super) const fn one_minus_log(low: f64, high: f64) -> Option<Search> {
    Some(Search::Range {
        low,
        high,
        scale: Scale::OneMinusLog,
    })
}

/// The learning rate. Every optimizer has it, and it is always worth tuning.
pub(super) const fn lr(
    default: f64,
    search: Option<Search>,
    source: &'static str,
) -> Hyperparameter {
    Hyperparameter {
        name: "lr",
        meaning: "learning rate: the length of a step",
        default: Default::Number(default),
        allowed: Allowed::POSITIVE,
        search,
        tune_from: 0,
        source,
    }
}

/// The learning rate of the SGD family.
pub(super) const SGD_LR: Hyperparameter = lr(
    1e-3,
    log(2e-2, 5.0),
    "default: PyTorch 0.001, Keras 0.01; range: AlgoPerf, heavy ball",
);

/// Momentum of the SGD family.
pub(super) const MOMENTUM: Hyperparameter = Hyperparameter {
    name: "momentum",
    meaning: "share of the previous step that is kept",
    default: Default::Number(0.9),
    allowed: Allowed::BELOW_ONE,
    search: one_minus_log(0.7, 0.995),
    tune_from: 10,
    source: "default: customary (0 in PyTorch and Keras is plain SGD); range: AlgoPerf, heavy ball",
};

/// Weight decay as a penalty λ/2·‖p‖² in the loss, the way PyTorch means it outside of AdamW.
pub(super) const L2: Hyperparameter = Hyperparameter {
    name: "weight_decay",
    meaning: "L2 penalty: this times each parameter is added to its gradient",
    default: Default::Number(0.0),
    allowed: Allowed::NOT_NEGATIVE,
    search: log(1e-7, 5e-5),
    tune_from: 25,
    source: "default: PyTorch 0, Keras none; range: AlgoPerf, heavy ball",
};

/// Adam's first beta.
pub(super) const BETA1: Hyperparameter = Hyperparameter {
    name: "beta1",
    meaning: "decay of the running mean of the gradient (momentum)",
    default: Default::Number(0.9),
    allowed: Allowed::BELOW_ONE,
    search: one_minus_log(0.5, 0.98),
    tune_from: 10,
    source: "default: Kingma and Ba 2015, PyTorch, Keras; range: AlgoPerf, AdamW",
};

/// Adam's second beta.
pub(super) const BETA2: Hyperparameter = Hyperparameter {
    name: "beta2",
    meaning: "decay of the running mean of the squared gradient",
    default: Default::Number(0.999),
    allowed: Allowed::BELOW_ONE,
    search: one_minus_log(0.95, 0.999),
    tune_from: 50,
    source: "default: Kingma and Ba 2015, PyTorch, Keras; range: AlgoPerf, AdamW",
};

/// Adam's learning rate.
pub(super) const ADAM_LR: Hyperparameter = lr(
    1e-3,
    log(1e-4, 1e-2),
    "default: Kingma and Ba 2015, PyTorch, Keras; range: AlgoPerf, AdamW",
);

/// The small number that keeps a division finite.
pub(super) const fn eps(
    default: f64,
    search: Option<Search>,
    source: &'static str,
) -> Hyperparameter {
    Hyperparameter {
        name: "eps",
        meaning: "added to the denominator: keeps steps finite, and damps them when large",
        default: Default::Number(default),
        allowed: Allowed::NOT_NEGATIVE,
        search,
        tune_from: 25,
        source,
    }
}

/// Adam's eps.
pub(super) const ADAM_EPS: Hyperparameter = eps(
    1e-8,
    log(1e-10, 1e-3),
    "default: Kingma and Ba 2015, PyTorch 1e-8, Keras 1e-7; worth tuning over many decades: \
     Choi et al. 2019 (arXiv 1910.05446)",
);

/// The decay of a running mean of squares.
pub(super) const fn rho(default: f64, source: &'static str) -> Hyperparameter {
    Hyperparameter {
        name: "rho",
        meaning: "decay of the running mean of the squared gradient",
        default: Default::Number(default),
        allowed: Allowed::BELOW_ONE,
        search: one_minus_log(0.9, 0.99),
        tune_from: 25,
        source,
    }
}
