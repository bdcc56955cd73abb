//! AdaGrad: the gradient divided by the root of the sum of all its squares so far.

use super::{OptimizerFacts, OptimizerKind, OptimizerSetting, knob, python};
use crate::code::Code;
use crate::hyperparameter::{Allowed, Default, Hyperparameter, Search};

const INITIAL_ACCUMULATOR_VALUE: Hyperparameter = Hyperparameter {
    name: "initial_accumulator_value",
    meaning: "what the sum of squares starts from; more than 0 softens the first steps",
    default: Default::Number(0.0),
    allowed: Allowed::NOT_NEGATIVE,
    search: Some(Search::Choices(&[
        Default::Number(0.0),
        Default::Number(0.1),
    ])),
    tune_from: 25,
    source: "default: PyTorch 0, Keras 0.1; choices: the two",
};

/// Facts.
pub(super) static FACTS: OptimizerFacts = OptimizerFacts {
    kind: OptimizerKind::Adagrad,
    name: "adagrad",
    title: "AdaGrad",
    paper: "Duchi, Hazan and Singer 2011, JMLR 12",
    hyperparameters: &[
        knob::lr(
            1e-2,
            knob::log(1e-3, 1.0),
            "default: PyTorch 0.01, Keras 0.001; range: two decades above and one below",
        ),
        INITIAL_ACCUMULATOR_VALUE,
        knob::eps(
            1e-10,
            None,
            "default: PyTorch 1e-10 outside the root, Keras 1e-7 under it",
        ),
        knob::L2,
    ],
    full_batch: false,
    state_copies: |_| 1,
    momentum_name: None,
    pytorch,
    keras,
};

fn pytorch(setting: &OptimizerSetting) -> Code {
    let arguments = ["weight_decay", "initial_accumulator_value", "eps"];
    let arguments = arguments.map(|name| (name, python::number(setting, name)));
    python::torch("Adagrad", setting, &arguments)
}

fn keras(setting: &OptimizerSetting) -> Code {
    let initial = "initial_accumulator_value";
    let arguments = [
        (initial, python::number(setting, initial)),
        ("epsilon", python::eps_under_root(setting)),
    ];
    let mut code = python::keras_with_l2("Adagrad", setting, &arguments);
    code.notes.push(python::epsilon_note());
    code
}
