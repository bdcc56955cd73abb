//! Adam: running means of the gradient and its square, with bias correction; weight decay as an L2
//! penalty in the gradient.

use super::{OptimizerFacts, OptimizerKind, OptimizerSetting, knob, python};
use crate::code::Code;

/// Facts.
pub(super) static FACTS: OptimizerFacts = OptimizerFacts {
    kind: OptimizerKind::Adam,
    name: "adam",
    title: "Adam",
    paper: "Kingma and Ba 2015, arXiv 1412.6980",
    hyperparameters: &[
        knob::ADAM_LR,
        knob::BETA1,
        knob::BETA2,
        knob::ADAM_EPS,
        knob::L2,
    ],
    full_batch: false,
    state_copies: |_| 2,
    momentum_name: Some("beta1"),
    pytorch: |setting| pytorch("Adam", setting),
    keras: |setting| {
        let mut code = python::keras_with_l2("Adam", setting, &keras_arguments(setting));
        code.notes.push(epsilon_note());
        code
    },
};

/// Shared with AdamW: `torch.optim.Adam` and `AdamW` take the same arguments.
pub(super) fn pytorch(class: &str, setting: &OptimizerSetting) -> Code {
    let [beta1, beta2, eps, decay] =
        ["beta1", "beta2", "eps", "weight_decay"].map(|name| python::number(setting, name));
    let betas = format!("({beta1}, {beta2})");
    python::torch(
        class,
        setting,
        &[("betas", betas), ("eps", eps), ("weight_decay", decay)],
    )
}

/// Shared with AdamW.
pub(super) fn keras_arguments(setting: &OptimizerSetting) -> Vec<(&'static str, String)> {
    [("beta_1", "beta1"), ("beta_2", "beta2"), ("epsilon", "eps")]
        .map(|(argument, name)| (argument, python::number(setting, name)))
        .to_vec()
}

/// Shared with AdamW.
pub(super) fn epsilon_note() -> String {
    "Keras adds epsilon before the bias correction, PyTorch after it: no difference unless epsilon \
     is large beside the gradients, and then only in the first 1/(1 - beta_2) steps or so."
        .to_owned()
}
