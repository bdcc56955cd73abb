//! RMSProp: the gradient divided by the root of the running mean of its square. Centered, the mean
//! gradient's square is taken off first; with momentum, the quotient feeds a heavy ball.

use super::{OptimizerFacts, OptimizerKind, OptimizerSetting, knob, python};
use crate::code::{Code, python_flag};
use crate::hyperparameter::{Allowed, Default, Hyperparameter, Search};

const MOMENTUM: Hyperparameter = Hyperparameter {
    name: "momentum",
    meaning: "share of the previous step that is kept; 0 is plain RMSProp",
    default: Default::Number(0.0),
    allowed: Allowed::BELOW_ONE,
    search: knob::one_minus_log(0.0, 0.99),
    tune_from: 25,
    source: "default: PyTorch, Keras; worth tuning: Choi et al. 2019 (arXiv 1910.05446)",
};

const CENTERED: Hyperparameter = Hyperparameter {
    name: "centered",
    meaning: "whether to divide by the gradient's standard deviation instead of its root mean square",
    default: Default::Flag(false),
    allowed: Allowed::Flag,
    search: Some(Search::Choices(&[
        Default::Flag(false),
        Default::Flag(true),
    ])),
    tune_from: 25,
    source: "default: PyTorch, Keras; Graves 2013 (arXiv 1308.0850)",
};

/// Facts.
pub(super) static FACTS: OptimizerFacts = OptimizerFacts {
    kind: OptimizerKind::RmsProp,
    name: "rmsprop",
    title: "RMSProp",
    paper: "Tieleman and Hinton 2012, Coursera lecture 6.5; centered: Graves 2013, arXiv 1308.0850",
    hyperparameters: &[
        knob::lr(
            1e-2,
            knob::log(1e-5, 1e-2),
            "default: PyTorch 0.01, Keras 0.001; range: around Tieleman and Hinton's 0.001",
        ),
        knob::rho(
            0.99,
            "default: PyTorch (alpha) 0.99, Keras 0.9; range: between and around them",
        ),
        MOMENTUM,
        CENTERED,
        knob::eps(
            1e-8,
            None,
            "default: PyTorch 1e-8 outside the root, Keras 1e-7 under it",
        ),
        knob::L2,
    ],
    full_batch: false,
    state_copies: |setting| {
        1 + u32::from(setting.number("momentum") > 0.0) + u32::from(setting.flag("centered"))
    },
    momentum_name: None,
    pytorch,
    keras,
};

fn pytorch(setting: &OptimizerSetting) -> Code {
    let argument = |name: &'static str, knob: &str| (name, python::number(setting, knob));
    let arguments = [
        argument("alpha", "rho"),
        argument("eps", "eps"),
        argument("weight_decay", "weight_decay"),
        argument("momentum", "momentum"),
        ("centered", python_flag(setting.flag("centered")).to_owned()),
    ];
    python::torch("RMSprop", setting, &arguments)
}

fn keras(setting: &OptimizerSetting) -> Code {
    let arguments = [
        ("rho", python::number(setting, "rho")),
        ("momentum", python::number(setting, "momentum")),
        ("epsilon", python::eps_under_root(setting)),
        ("centered", python_flag(setting.flag("centered")).to_owned()),
    ];
    let mut code = python::keras_with_l2("RMSprop", setting, &arguments);
    code.notes.push(python::epsilon_note());
    if setting.number("momentum") > 0.0 {
        code.notes.push(python::momentum_note());
    }
    code
}
