//! What follows a hidden layer: ReLU, tanh or GELU, each as one pass forward and one back.

use candle_core::cpu::erf::erf_f32;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, bail};
use hpo_study::spec::Activation;

use super::values;

/// Applies the function to every value of a contiguous tensor.
///
/// ReLU: max(0, x), slope 0 at 0 as in PyTorch. GELU: x·Φ(x) with the error function, the exact
/// form (Hendrycks and Gimpel 2016, arXiv 1606.08415), PyTorch's default.
///
/// # Errors
/// A tensor that is not f32.
pub fn activate(inputs: &Tensor, function: Activation) -> Result<Tensor> {
    inputs.contiguous()?.apply_op1(Activate(function))
}

/// Φ, the distribution function of the standard normal distribution.
fn normal(x: f32) -> f32 {
    0.5 * (1.0 + erf_f32(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// φ, its density.
fn density(x: f32) -> f32 {
    (-0.5 * x * x).exp()
        * (std::f32::consts::FRAC_2_SQRT_PI * std::f32::consts::FRAC_1_SQRT_2 * 0.5)
}

struct Activate(Activation);

impl CustomOp1 for Activate {
    fn name(&self) -> &'static str {
        "activate"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let inputs = values(storage, layout)?.iter();
        let outputs = match self.0 {
            // Not `max`, which would turn a NaN into 0 and hide a divergence.
            Activation::Relu => inputs.map(|&x| if x < 0.0 { 0.0 } else { x }).collect(),
            Activation::Tanh => inputs.map(|&x| x.tanh()).collect(),
            Activation::Gelu => inputs.map(|&x| x * normal(x)).collect(),
        };
        Ok((CpuStorage::F32(outputs), layout.shape().clone()))
    }

    fn bwd(&self, inputs: &Tensor, outputs: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        // ReLU and tanh know their slope from what they put out, GELU from what it was given.
        let known = match self.0 {
            Activation::Relu | Activation::Tanh => outputs,
            Activation::Gelu => inputs,
        };
        gradient
            .contiguous()?
            .apply_op2_no_bwd(known, &Slope(self.0))
            .map(Some)
    }
}

/// Gradient times the function's slope.
struct Slope(Activation);

impl CustomOp2 for Slope {
    fn name(&self) -> &'static str {
        "activation-slope"
    }

    fn cpu_fwd(
        &self,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
        known: &CpuStorage,
        known_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let gradient = values(gradient, gradient_layout)?;
        let known = values(known, known_layout)?;
        if gradient.len() != known.len() {
            bail!(
                "activation: {} gradients for {} values",
                gradient.len(),
                known.len()
            );
        }
        let pairs = gradient.iter().zip(known);
        let outputs = match self.0 {
            Activation::Relu => pairs
                .map(|(&g, &y)| if y > 0.0 { g } else { 0.0 })
                .collect(),
            Activation::Tanh => pairs.map(|(&g, &y)| g * (1.0 - y * y)).collect(),
            Activation::Gelu => pairs
                .map(|(&g, &x)| g * (normal(x) + x * density(x)))
                .collect(),
        };
        Ok((CpuStorage::F32(outputs), gradient_layout.shape().clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::gradient_check::{check, sample};
    use candle_core::Device;

    const ALL: [Activation; 3] = [Activation::Relu, Activation::Tanh, Activation::Gelu];

    fn at(function: Activation, x: f32) -> f32 {
        let x = Tensor::from_slice(&[x], 1, &Device::Cpu).unwrap();
        activate(&x, function).unwrap().to_vec1::<f32>().unwrap()[0]
    }

    #[test]
    fn values_are_the_textbooks() {
        assert_eq!(
            (at(Activation::Relu, -2.0), at(Activation::Relu, 2.0)),
            (0.0, 2.0)
        );
        assert!((at(Activation::Tanh, 0.5) - 0.462_117_16).abs() < 1e-6);
        // torch.nn.functional.gelu(torch.tensor(1.0)) of PyTorch: 0.8413447
        assert!((at(Activation::Gelu, 1.0) - 0.841_344_7).abs() < 1e-6);
        assert!((at(Activation::Gelu, -1.0) + 0.158_655_26).abs() < 1e-6);
    }

    #[test]
    fn a_broken_value_stays_broken() {
        for function in ALL {
            assert!(at(function, f32::NAN).is_nan(), "{function:?}");
        }
    }

    #[test]
    fn gradients_match_differences() {
        for function in ALL {
            check(&[3, 4], sample(12), |x| {
                activate(x, function)?.sqr()?.sum_all()
            });
        }
    }
}
