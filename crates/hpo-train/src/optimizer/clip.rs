//! Clipping by the global gradient norm, as `torch.nn.utils.clip_grad_norm_` 2.15 does it
//! (Pascanu, Mikolov and Bengio 2013, arXiv 1211.5063).
//!
//! No gradient is rewritten: [`global_norm`] reads them once, [`scale`] gives the factor by which
//! [`Optimizer::step`](super::Optimizer::step) multiplies each of them on the fly.

use candle_core::backprop::GradStore;
use candle_core::{Result, Var};

use super::signals;

/// The Euclidean norm of all variables' gradients taken together, before clipping.
///
/// Squares are summed in `f64`, in a fixed order, so the result is the same on every run. A
/// gradient with NaN or infinity gives NaN or infinity. Variables without a gradient count as 0.
///
/// # Errors
/// A gradient that is not float32 on the CPU.
pub fn global_norm(gradients: &GradStore, variables: &[(String, Var)]) -> Result<f64> {
    signals::norm(
        variables
            .iter()
            .filter_map(|(_, variable)| gradients.get(variable)),
    )
}

/// The factor that brings a global norm down to `max_norm`, 1.0 if it is below or there is none:
/// min(1, max_norm/(norm + 1e-6)), torch's formula. A norm of NaN gives NaN (torch too), so a
/// broken gradient is never hidden; an infinite norm gives 0.
#[must_use]
pub fn scale(norm: f64, max_norm: Option<f64>) -> f32 {
    let Some(max_norm) = max_norm else { return 1.0 };
    let factor = max_norm / (norm + 1e-6);
    if factor > 1.0 { 1.0 } else { factor as f32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scale_clips_only_what_is_too_large_and_hides_nothing() {
        assert_eq!(scale(10.0, None), 1.0);
        assert_eq!(scale(0.5, Some(1.0)), 1.0);
        assert_eq!(scale(4.0, Some(1.0)), (1.0 / (4.0 + 1e-6)) as f32);
        assert!(scale(f64::NAN, Some(1.0)).is_nan());
        assert_eq!(scale(f64::INFINITY, Some(1.0)), 0.0);
    }
}
