//! Dropout (Srivastava et al. 2014), inverted as in PyTorch: what stays is scaled up by 1/(1 − p).

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use super::values;

/// Sets each value to 0 with probability `rate`, in [0, 1), and scales the others by 1/(1 − rate).
///
/// One number is drawn from `rng`; it seeds the decisions of this call, which come from SplitMix64
/// (Steele, Lea & Flood, OOPSLA 2014), since there are thousands of them per update.
///
/// # Errors
/// A tensor that is not f32.
pub fn dropout(inputs: &Tensor, rate: f64, rng: &mut ChaCha8Rng) -> Result<Tensor> {
    let keep = (1.0 / (1.0 - rate)) as f32;
    let threshold = (rate * 2.0_f64.powi(32)) as u32;
    let mut state = rng.random::<u64>();
    let mut factors = Vec::with_capacity(inputs.elem_count() + 1);
    while factors.len() < inputs.elem_count() {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let bits = mixed(state);
        factors.extend(
            [bits as u32, (bits >> 32) as u32].map(|x| if x < threshold { 0.0 } else { keep }),
        );
    }
    factors.truncate(inputs.elem_count());
    inputs.contiguous()?.apply_op1(Mask(factors.into()))
}

/// SplitMix64's output function.
fn mixed(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// Multiplies value by value.
#[derive(Clone)]
struct Mask(Arc<[f32]>);

impl CustomOp1 for Mask {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let inputs = values(storage, layout)?;
        if inputs.len() != self.0.len() {
            bail!(
                "dropout: {} values for a mask of {}",
                inputs.len(),
                self.0.len()
            );
        }
        let outputs = inputs
            .iter()
            .zip(self.0.iter())
            .map(|(x, factor)| x * factor)
            .collect();
        Ok((CpuStorage::F32(outputs), layout.shape().clone()))
    }

    fn bwd(
        &self,
        _inputs: &Tensor,
        _outputs: &Tensor,
        gradient: &Tensor,
    ) -> Result<Option<Tensor>> {
        gradient.contiguous()?.apply_op1_no_bwd(self).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::gradient_check::{check, sample};
    use crate::rng::{Purpose, stream};
    use candle_core::{DType, Device};

    #[test]
    fn keeps_the_expected_value() {
        let ones = Tensor::ones(100_000, DType::F32, &Device::Cpu).unwrap();
        let mut rng = stream(1, Purpose::Dropout, 0);
        let outputs = dropout(&ones, 0.25, &mut rng)
            .unwrap()
            .to_vec1::<f32>()
            .unwrap();
        let dropped = outputs.iter().filter(|&&x| x == 0.0).count();
        // Four standard deviations of the binomial distribution around 25 000.
        assert!((dropped as f64 - 25_000.0).abs() < 4.0 * 137.0, "{dropped}");
        assert!(
            outputs
                .iter()
                .all(|&x| x == 0.0 || (x - 4.0 / 3.0).abs() < 1e-6)
        );
    }

    #[test]
    fn gradient_goes_through_what_stayed() {
        check(&[4, 5], sample(20), |x| {
            dropout(x, 0.5, &mut stream(2, Purpose::Dropout, 0))?
                .sqr()?
                .sum_all()
        });
    }
}
