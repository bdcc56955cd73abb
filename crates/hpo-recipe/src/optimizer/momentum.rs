//! SGD with heavy-ball momentum: b ← μ·b + g, p ← p − η·b (PyTorch's form, no dampening).

use super::{OptimizerFacts, OptimizerKind, OptimizerSetting, knob, python};
use crate::code::{Code, python_flag};

/// Facts.
pub(super) static FACTS: OptimizerFacts = OptimizerFacts {
    kind: OptimizerKind::Momentum,
    name: "momentum",
    title: "SGD with momentum",
    paper: "Polyak 1964, USSR Computational Mathematics and Mathematical Physics 4(5)",
    hyperparameters: &[knob::SGD_LR, knob::MOMENTUM, knob::L2],
    full_batch: false,
    state_copies: |_| 1,
    momentum_name: Some("momentum"),
    pytorch: |setting| pytorch(setting, false),
    keras: |setting| keras(setting, false),
};

/// Shared with Nesterov momentum.
pub(super) fn pytorch(setting: &OptimizerSetting, nesterov: bool) -> Code {
    let mut arguments = vec![
        ("momentum", python::number(setting, "momentum")),
        ("weight_decay", python::number(setting, "weight_decay")),
    ];
    if nesterov && setting.number("momentum") == 0.0 {
        // torch refuses Nesterov without momentum; both are plain SGD.
        return python::torch("SGD", setting, &arguments);
    }
    if nesterov {
        arguments.push(("nesterov", python_flag(true).to_owned()));
    }
    python::torch("SGD", setting, &arguments)
}

/// Shared with Nesterov momentum.
pub(super) fn keras(setting: &OptimizerSetting, nesterov: bool) -> Code {
    let mut arguments = vec![("momentum", python::number(setting, "momentum"))];
    if nesterov {
        arguments.push(("nesterov", python_flag(true).to_owned()));
    }
    let mut code = python::keras_with_l2("SGD", setting, &arguments);
    code.notes.push(python::momentum_note());
    code
}
