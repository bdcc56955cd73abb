//! SGD with Nesterov momentum: b ← μ·b + g, p ← p − η·(g + μ·b) (PyTorch's form).

use super::{OptimizerFacts, OptimizerKind, knob, momentum};

/// Facts.
pub(super) static FACTS: OptimizerFacts = OptimizerFacts {
    kind: OptimizerKind::Nesterov,
    name: "nesterov",
    title: "SGD with Nesterov momentum",
    paper: "Nesterov 1983, Soviet Mathematics Doklady 27(2); Sutskever et al. 2013, ICML",
    hyperparameters: &[knob::SGD_LR, knob::MOMENTUM, knob::L2],
    full_batch: false,
    state_copies: |_| 1,
    momentum_name: Some("momentum"),
    pytorch: |setting| momentum::pytorch(setting, true),
    keras: |setting| momentum::keras(setting, true),
};
