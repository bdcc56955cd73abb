//! AdamW: Adam with weight decay on the parameters, beside the gradient: p ← p·(1 − η·λ).

use super::{OptimizerFacts, OptimizerKind, adam, knob, python};
use crate::hyperparameter::{Allowed, Default, Hyperparameter};

const WEIGHT_DECAY: Hyperparameter = Hyperparameter {
    name: "weight_decay",
    meaning: "share of each parameter, times the learning rate, that every step takes away",
    default: Default::Number(0.01),
    allowed: Allowed::NOT_NEGATIVE,
    search: knob::log(5e-3, 1.0),
    tune_from: 10,
    source: "default: PyTorch 0.01, Keras 0.004; range: AlgoPerf, AdamW",
};

/// Facts.
pub(super) static FACTS: OptimizerFacts = OptimizerFacts {
    kind: OptimizerKind::AdamW,
    name: "adamw",
    title: "AdamW",
    paper: "Loshchilov and Hutter 2019, arXiv 1711.05101",
    hyperparameters: &[
        knob::ADAM_LR,
        knob::BETA1,
        knob::BETA2,
        knob::ADAM_EPS,
        WEIGHT_DECAY,
    ],
    full_batch: false,
    state_copies: |_| 2,
    momentum_name: Some("beta1"),
    pytorch: |setting| adam::pytorch("AdamW", setting),
    keras: |setting| {
        let mut arguments = adam::keras_arguments(setting);
        // Always written: Keras' default is not PyTorch's.
        arguments.push(("weight_decay", python::number(setting, "weight_decay")));
        let mut code = python::keras("AdamW", &arguments);
        code.notes.push(adam::epsilon_note());
        code
    },
};
