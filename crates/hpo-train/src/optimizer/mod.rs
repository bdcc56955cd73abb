//! The update rules: how each optimizer of the catalogue turns gradients into a step.
//!
//! One file per update rule, all of them as PyTorch 2.15 computes them in float32
//! (`tests/optimizer_reference.rs` holds them to it). A shared part (`fused.rs`) walks
//! over each variable and its state once, in place, without temporary tensors. [`clip`] bounds the
//! global gradient norm.
//!
//! A step with clipping:
//!
//! ```no_run
//! # use candle_core::{Result, Var, backprop::GradStore};
//! # use hpo_train::optimizer::{Optimizer, clip};
//! # fn one(optimizer: &mut dyn Optimizer, gradients: &GradStore, variables: &[(String, Var)]) -> Result<f64> {
//! let norm = clip::global_norm(gradients, variables)?;
//! optimizer.step(gradients, 0.01, None, clip::scale(norm, Some(1.0)))?;
//! # Ok(norm) }
//! ```
//!
//! A new optimizer is one file here and one arm in [`build`].

mod adadelta;
mod adagrad;
mod adam;
pub mod clip;
mod fused;
mod momentum;
mod rmsprop;
mod sgd;
pub mod signals;

use candle_core::backprop::GradStore;
use candle_core::{Result, Var};
use hpo_recipe::optimizer::{OptimizerKind, OptimizerSetting};

use fused::{Fused, Rule};
use signals::Signals;

/// An optimizer that holds its variables and changes them in place.
pub trait Optimizer {
    /// One update of all variables.
    ///
    /// - `gradients`: as `loss.backward()` gives them. A variable without a gradient is left alone.
    /// - `lr`: the learning rate of this step (> 0), from the schedule.
    /// - `momentum`: when `Some`, replaces the setting's `momentum` (or `beta1`) in this step, as
    ///   PyTorch's momentum-cycling schedules do. Rules that keep no momentum ignore it.
    /// - `gradient_scale`: every gradient is multiplied by it before anything else; 1.0 changes
    ///   nothing (bit for bit), [`clip::scale`] gives the factor that clips the global norm.
    ///
    /// # Errors
    /// A gradient that does not fit its variable (shape, dtype, device).
    fn step(
        &mut self,
        gradients: &GradStore,
        lr: f64,
        momentum: Option<f64>,
        gradient_scale: f32,
    ) -> Result<()>;

    /// What [`Optimizer::step`] with the same arguments would say of the run's health, asked just
    /// before it; changes nothing. `None` for all but the Adam family. It takes about as long as
    /// the step itself, so ask now and then.
    ///
    /// # Errors
    /// As [`Optimizer::step`].
    fn signals(
        &self,
        gradients: &GradStore,
        momentum: Option<f64>,
        gradient_scale: f32,
    ) -> Result<Option<Signals>>;

    /// Everything but the variables themselves that the next steps depend on, for a checkpoint.
    fn state(&self) -> OptimizerState;

    /// Takes up the state of a checkpoint. With the same variables, all further steps are
    /// bit-identical to those of the optimizer that gave it.
    ///
    /// # Errors
    /// [`StateError`] when the state belongs to another optimizer or other variables; nothing is
    /// changed then.
    fn load(&mut self, state: OptimizerState) -> std::result::Result<(), StateError>;
}

/// What an optimizer remembers between steps, as plain data.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct OptimizerState {
    /// Updates made so far.
    pub steps: u64,
    /// `variable/buffer` and its values in row-major order, variable after variable.
    pub buffers: Vec<(String, Vec<f32>)>,
}

/// A checkpoint's optimizer state does not fit this optimizer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Another number of buffers.
    #[error("the saved optimizer state has {found} buffers, this optimizer keeps {expected}")]
    Count {
        /// How many this optimizer keeps.
        expected: usize,
        /// How many were given.
        found: usize,
    },
    /// Another buffer than expected at this place.
    #[error("the saved optimizer state has `{found}` where this optimizer keeps `{expected}`")]
    Name {
        /// The buffer this optimizer keeps.
        expected: String,
        /// The buffer that was given.
        found: String,
    },
    /// A buffer of another length.
    #[error("the saved `{name}` has {found} values, this optimizer keeps {expected}")]
    Length {
        /// Which buffer.
        name: String,
        /// Values this optimizer keeps.
        expected: usize,
        /// Values given.
        found: usize,
    },
}

/// Builds the optimizer of a setting over named variables (names must differ: they name the
/// state's buffers). The state is allocated here, in full.
///
/// The setting's `lr` is not used: every [`Optimizer::step`] is given its own. Full-batch gradient
/// descent has the same update as SGD; that it sees all data at once is the training loop's part.
///
/// # Errors
/// A variable that is not contiguous float32 on the CPU.
pub fn build(
    setting: &OptimizerSetting,
    variables: Vec<(String, Var)>,
) -> Result<Box<dyn Optimizer>> {
    let rule: Box<dyn Rule> = match setting.kind() {
        OptimizerKind::Gd | OptimizerKind::Sgd => Box::new(sgd::Sgd::new(setting)),
        OptimizerKind::Momentum => Box::new(momentum::Momentum::new(setting, false)),
        OptimizerKind::Nesterov => Box::new(momentum::Momentum::new(setting, true)),
        OptimizerKind::Adam => Box::new(adam::Adam::new(setting, adam::Decay::Coupled)),
        OptimizerKind::AdamW => Box::new(adam::Adam::new(setting, adam::Decay::Decoupled)),
        OptimizerKind::RmsProp => Box::new(rmsprop::RmsProp::new(setting)),
        OptimizerKind::Adagrad => Box::new(adagrad::Adagrad::new(setting)),
        OptimizerKind::Adadelta => Box::new(adadelta::Adadelta::new(setting)),
    };
    Ok(Box::new(Fused::new(rule, variables)?))
}
