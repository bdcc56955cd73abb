//! What all update rules share: one pass in place over each variable, its gradient and its state.
//!
//! A rule sees plain `f32` slices. candle's own tensor arithmetic would make a temporary per
//! operation and copy the result into the variable; one fused pass is about ten times faster.

use std::cell::RefCell;

use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, DType, InplaceOp2, Layout, Result, Tensor, Var, bail};

use super::signals::{Signals, Sums, with_values};
use super::{Optimizer, OptimizerState, StateError};

/// What holds for one whole step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    /// Which step this is, counted from 1 (Adam's bias correction).
    pub(super) count: u64,
    /// Learning rate.
    pub(super) lr: f64,
    /// Replaces the setting's momentum, if the schedule drives it.
    pub(super) momentum: Option<f64>,
    /// Factor on every gradient.
    pub(super) gradient_scale: f32,
}

/// The arithmetic of one optimizer.
///
/// Numbers that hold for the whole step are worked out in `f64` and rounded to `f32` once, as
/// PyTorch does with the Python floats it is given.
pub(super) trait Rule {
    /// The buffers kept per variable: name (as PyTorch names it) and value before the first step.
    fn buffers(&self) -> Vec<(&'static str, f32)>;

    /// Updates one variable. All slices have the same length; `state` holds the buffers in the
    /// order of [`Rule::buffers`].
    fn update(
        &self,
        step: &Step,
        parameters: &mut [f32],
        gradients: &[f32],
        state: &mut [Vec<f32>],
    ) -> Result<()>;

    /// What [`Rule::update`] would say of one variable, with the state still as before it; `None`
    /// for rules that have nothing to say. `step.lr` does not matter.
    fn signals(
        &self,
        _step: &Step,
        _parameters: &[f32],
        _gradients: &[f32],
        _state: &[Vec<f32>],
    ) -> Option<Sums> {
        None
    }
}

/// The error of a rule that was handed another number of buffers than it asked for.
pub(super) fn wrong_state<T>(rule: &str) -> Result<T> {
    bail!("{rule}: the state does not have the buffers this rule keeps")
}

/// Torch's `lerp`: from `start` to `end` by `weight`, exact at both ends.
#[inline(always)]
pub(super) fn lerp(start: f32, end: f32, weight: f32) -> f32 {
    if weight < 0.5 {
        start + weight * (end - start)
    } else {
        end - (end - start) * (1.0 - weight)
    }
}

/// An optimizer: a rule, its variables and their state.
pub(super) struct Fused {
    rule: Box<dyn Rule>,
    slots: Vec<Slot>,
    steps: u64,
}

struct Slot {
    name: String,
    variable: Var,
    state: Vec<Vec<f32>>,
}

impl Fused {
    pub(super) fn new(rule: Box<dyn Rule>, variables: Vec<(String, Var)>) -> Result<Self> {
        let buffers = rule.buffers();
        let mut slots = Vec::with_capacity(variables.len());
        for (name, variable) in variables {
            if variable.dtype() != DType::F32 {
                bail!(
                    "variable `{name}` is {:?}: optimizers need f32",
                    variable.dtype()
                );
            }
            if !variable.device().is_cpu() || !variable.is_contiguous() {
                bail!("variable `{name}` must be contiguous and on the CPU");
            }
            let count = variable.elem_count();
            let state = buffers
                .iter()
                .map(|&(_, first)| vec![first; count])
                .collect();
            slots.push(Slot {
                name,
                variable,
                state,
            });
        }
        Ok(Self {
            rule,
            slots,
            steps: 0,
        })
    }

    /// `variable/buffer` for every buffer, in the order of the state.
    fn names(&self) -> impl Iterator<Item = String> {
        let buffers = self.rule.buffers();
        self.slots.iter().flat_map(move |slot| {
            let names = buffers
                .iter()
                .map(|(buffer, _)| format!("{}/{buffer}", slot.name));
            names.collect::<Vec<_>>()
        })
    }

    fn check(&self, state: &OptimizerState) -> std::result::Result<(), StateError> {
        let own = self.slots.iter().flat_map(|slot| &slot.state);
        let expected = own.clone().count();
        if state.buffers.len() != expected {
            return Err(StateError::Count {
                expected,
                found: state.buffers.len(),
            });
        }
        for ((name, buffer), (found, values)) in self.names().zip(own).zip(&state.buffers) {
            if *found != name {
                return Err(StateError::Name {
                    expected: name,
                    found: found.clone(),
                });
            }
            if values.len() != buffer.len() {
                let (expected, found) = (buffer.len(), values.len());
                return Err(StateError::Length {
                    name,
                    expected,
                    found,
                });
            }
        }
        Ok(())
    }
}

impl Optimizer for Fused {
    fn step(
        &mut self,
        gradients: &GradStore,
        lr: f64,
        momentum: Option<f64>,
        gradient_scale: f32,
    ) -> Result<()> {
        let count = self.steps + 1;
        let step = Step {
            count,
            lr,
            momentum,
            gradient_scale,
        };
        for slot in &mut self.slots {
            let Some(gradient) = gradients.get(&slot.variable) else {
                continue;
            };
            let (rule, state) = (self.rule.as_ref(), slot.state.as_mut_slice());
            update_in_place(&slot.variable, gradient, |parameters, gradients| {
                rule.update(&step, parameters, gradients, state)
            })?;
        }
        self.steps = count;
        Ok(())
    }

    fn signals(
        &self,
        gradients: &GradStore,
        momentum: Option<f64>,
        gradient_scale: f32,
    ) -> Result<Option<Signals>> {
        let step = Step {
            count: self.steps + 1,
            lr: 0.0,
            momentum,
            gradient_scale,
        };
        let mut variables = Vec::new();
        for slot in &self.slots {
            let Some(gradient) = gradients.get(&slot.variable) else {
                continue;
            };
            check_shape(&slot.variable, gradient)?;
            let sums = with_values(slot.variable.as_tensor(), |parameters| {
                with_values(gradient, |gradients| {
                    self.rule.signals(&step, parameters, gradients, &slot.state)
                })
            })??;
            let Some(sums) = sums else {
                return Ok(None);
            };
            variables.push(sums);
        }
        Ok(Signals::of(&variables))
    }

    fn state(&self) -> OptimizerState {
        let values = self
            .slots
            .iter()
            .flat_map(|slot| slot.state.iter().cloned());
        OptimizerState {
            steps: self.steps,
            buffers: self.names().zip(values).collect(),
        }
    }

    fn load(&mut self, state: OptimizerState) -> std::result::Result<(), StateError> {
        self.check(&state)?;
        let own = self.slots.iter_mut().flat_map(|slot| &mut slot.state);
        for (buffer, (_, values)) in own.zip(state.buffers) {
            *buffer = values;
        }
        self.steps = state.steps;
        Ok(())
    }
}

fn check_shape(variable: &Var, gradient: &Tensor) -> Result<()> {
    if gradient.dims() != variable.dims() {
        bail!(
            "a gradient of shape {:?} for a variable of {:?}",
            gradient.dims(),
            variable.dims()
        );
    }
    Ok(())
}

/// Hands a variable's own values and its gradient, both in row-major order, to `update`.
fn update_in_place(
    variable: &Var,
    gradient: &Tensor,
    update: impl FnMut(&mut [f32], &[f32]) -> Result<()>,
) -> Result<()> {
    check_shape(variable, gradient)?;
    // `backward` sums gradients up, so they are contiguous nearly always and this copies nothing.
    let gradient = gradient.contiguous()?;
    variable
        .as_tensor()
        .inplace_op2(&gradient, &InPlace(RefCell::new(update)))
}

/// The way candle lends a variable's buffer for writing.
struct InPlace<F>(RefCell<F>);

impl<F: FnMut(&mut [f32], &[f32]) -> Result<()>> InplaceOp2 for InPlace<F> {
    fn name(&self) -> &'static str {
        "optimizer-step"
    }

    fn cpu_fwd(
        &self,
        variable: &mut CpuStorage,
        variable_layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
    ) -> Result<()> {
        let (CpuStorage::F32(parameters), CpuStorage::F32(gradients)) = (variable, gradient) else {
            bail!("an optimizer's variables and gradients must be f32")
        };
        let parameters = variable_layout
            .contiguous_offsets()
            .and_then(|(from, to)| parameters.get_mut(from..to));
        let gradients = gradient_layout
            .contiguous_offsets()
            .and_then(|(from, to)| gradients.get(from..to));
        let (Some(parameters), Some(gradients)) = (parameters, gradients) else {
            bail!("an optimizer's variables and gradients must be contiguous")
        };
        let update = &mut *self.0.borrow_mut();
        update(parameters, gradients)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lerp_is_exact_at_both_ends() {
        assert_eq!(lerp(0.1, 0.7, 0.0), 0.1);
        assert_eq!(lerp(0.1, 0.7, 1.0), 0.7);
        assert!((lerp(1.0, 3.0, 0.25) - 1.5).abs() < 1e-6);
    }
}
