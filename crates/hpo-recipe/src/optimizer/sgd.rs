//! Stochastic gradient descent: p ← p − η·g, g over a mini-batch.

use super::{OptimizerFacts, OptimizerKind, OptimizerSetting, knob, python};
use crate::code::Code;

/// Facts.
pub(super) static FACTS: OptimizerFacts = OptimizerFacts {
    kind: OptimizerKind::Sgd,
    name: "sgd",
    title: "SGD",
    paper: "Robbins and Monro 1951, Annals of Mathematical Statistics 22(3)",
    hyperparameters: &[knob::SGD_LR, knob::L2],
    full_batch: false,
    state_copies: |_| 0,
    momentum_name: None,
    pytorch,
    keras,
};

/// Shared with full-batch gradient descent, which differs in the batch only.
pub(super) fn pytorch(setting: &OptimizerSetting) -> Code {
    python::torch(
        "SGD",
        setting,
        &[("weight_decay", python::number(setting, "weight_decay"))],
    )
}

/// Without momentum, L2 and decoupled decay are the same update, so Keras' own will do.
pub(super) fn keras(setting: &OptimizerSetting) -> Code {
    if setting.number("weight_decay") == 0.0 {
        return python::keras("SGD", &[]);
    }
    python::keras(
        "SGD",
        &[("weight_decay", python::number(setting, "weight_decay"))],
    )
}
