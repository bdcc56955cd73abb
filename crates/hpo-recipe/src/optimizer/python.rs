//! How PyTorch and Keras calls are put together.

use super::OptimizerSetting;
use crate::code::{Code, lines, python_number};

/// `torch.optim.Class(model.parameters(), lr=…, …)`.
pub(super) fn torch(class: &str, setting: &OptimizerSetting, arguments: &[(&str, String)]) -> Code {
    let mut call = format!("model.parameters(), lr={}", number(setting, "lr"));
    for (name, value) in arguments {
        call += &format!(", {name}={value}");
    }
    Code {
        imports: vec!["import torch".to_owned()],
        expression: format!("torch.optim.{class}({call})"),
        ..Code::default()
    }
}

/// `keras.optimizers.Class(learning_rate=learning_rate, …)`.
pub(super) fn keras(class: &str, arguments: &[(&str, String)]) -> Code {
    Code {
        imports: vec!["import keras".to_owned()],
        expression: keras_call(&format!("keras.optimizers.{class}"), arguments),
        ..Code::default()
    }
}

/// As [`keras`], with the setting's `weight_decay` as an L2 penalty in the gradient.
///
/// Keras' own `weight_decay` shrinks the parameters beside the gradient, which is another
/// algorithm for every optimizer with momentum or a rescaled gradient. A subclass of eight lines
/// does what PyTorch does; it sees gradients after clipping, as in PyTorch.
pub(super) fn keras_with_l2(
    class: &str,
    setting: &OptimizerSetting,
    arguments: &[(&str, String)],
) -> Code {
    if setting.number("weight_decay") == 0.0 {
        return keras(class, arguments);
    }
    let mut arguments = arguments.to_vec();
    arguments.push(("l2", number(setting, "weight_decay")));
    Code {
        imports: vec!["import keras".to_owned()],
        setup: l2_subclass(class),
        expression: keras_call(&format!("L2{class}"), &arguments),
        notes: vec![
            "Keras' own weight_decay is decoupled from the gradient; the subclass adds the L2 \
             penalty to the gradient instead, as PyTorch does."
                .to_owned(),
        ],
    }
}

fn keras_call(class: &str, arguments: &[(&str, String)]) -> String {
    let mut call = "learning_rate=learning_rate".to_owned();
    for (name, value) in arguments {
        call += &format!(", {name}={value}");
    }
    format!("{class}({call})")
}

fn l2_subclass(class: &str) -> Vec<String> {
    lines(&format!(
        r#"
@keras.saving.register_keras_serializable()
class L2{class}(keras.optimizers.{class}):
    """{class} with an L2 penalty: l2 times each parameter is added to its gradient."""

    def __init__(self, *args, l2=0.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.l2 = l2

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient + self.l2 * variable, variable, learning_rate)

    def get_config(self):
        return super().get_config() | {{"l2": self.l2}}
"#
    ))
}

/// A number of the setting, in Python.
pub(super) fn number(setting: &OptimizerSetting, name: &str) -> String {
    python_number(setting.number(name))
}

/// The note for optimizers whose momentum Keras computes with the learning rate inside.
pub(super) fn momentum_note() -> String {
    "Keras keeps the learning rate inside the momentum buffer, PyTorch outside: steps are the same \
     at a constant rate and follow a changing one with a lag."
        .to_owned()
}

/// The note for optimizers where Keras adds epsilon under the square root.
pub(super) fn epsilon_note() -> String {
    "Keras adds epsilon under the square root, PyTorch eps outside of it: epsilon is eps squared, \
     which is the same where the root is 0 or much larger than eps."
        .to_owned()
}

/// The setting's eps for a library that adds it under the square root.
pub(super) fn eps_under_root(setting: &OptimizerSetting) -> String {
    let eps = setting.number("eps");
    crate::code::python_rounded(eps * eps)
}
