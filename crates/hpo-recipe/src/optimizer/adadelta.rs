//! AdaDelta: the gradient divided by its running root mean square, times that of past steps, so
//! that a step has the units of the parameter.

use super::{OptimizerFacts, OptimizerKind, OptimizerSetting, knob, python};
use crate::code::Code;

/// Facts.
pub(super) static FACTS: OptimizerFacts = OptimizerFacts {
    kind: OptimizerKind::Adadelta,
    name: "adadelta",
    title: "AdaDelta",
    paper: "Zeiler 2012, arXiv 1212.5701",
    hyperparameters: &[
        knob::lr(
            1.0,
            knob::log(0.1, 10.0),
            "default: Zeiler 2012 (no rate at all), PyTorch 1, Keras 0.001; range: around 1",
        ),
        knob::rho(
            0.9,
            "default: PyTorch 0.9, Zeiler 2012 and Keras 0.95; range: around them",
        ),
        knob::eps(
            1e-6,
            knob::log(1e-8, 1e-3),
            "default: Zeiler 2012, PyTorch 1e-6, Keras 1e-7; it sets the length of the first \
             steps; range: as Zeiler's table of 1e-8 to 1e-2",
        ),
        knob::L2,
    ],
    full_batch: false,
    state_copies: |_| 2,
    momentum_name: None,
    pytorch,
    keras,
};

fn pytorch(setting: &OptimizerSetting) -> Code {
    let arguments = ["rho", "eps", "weight_decay"];
    let arguments = arguments.map(|name| (name, python::number(setting, name)));
    python::torch("Adadelta", setting, &arguments)
}

/// Both libraries add eps under both roots.
fn keras(setting: &OptimizerSetting) -> Code {
    let arguments = [("rho", "rho"), ("epsilon", "eps")];
    let arguments = arguments.map(|(argument, name)| (argument, python::number(setting, name)));
    python::keras_with_l2("Adadelta", setting, &arguments)
}
