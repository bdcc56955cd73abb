//! Small neural networks on candle: layers whose forward and backward passes are fused, the losses,
//! and the models built from them.
//!
//! candle's automatic differentiation drives everything; the operations here replace chains of
//! small tensor operations by one pass each, which about halves the time of a training step. They
//! run on the CPU only.

pub mod activation;
pub mod convolution;
pub mod dense;
pub mod dropout;
pub mod loss;
pub mod model;

use candle_core::{CpuStorage, Layout, Result, bail};

/// The values of a contiguous f32 tensor.
fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let CpuStorage::F32(values) = storage else {
        bail!("expected f32 values")
    };
    let range = layout
        .contiguous_offsets()
        .and_then(|(from, to)| values.get(from..to));
    match range {
        Some(values) => Ok(values),
        None => bail!("expected contiguous values"),
    }
}

#[cfg(test)]
pub(crate) mod gradient_check {
    //! Compares gradients with central differences.

    use candle_core::{Device, Result, Tensor, Var};

    /// Checks the gradient of `function` (to a scalar) at `values`.
    pub(crate) fn check(
        shape: &[usize],
        values: Vec<f32>,
        function: impl Fn(&Tensor) -> Result<Tensor>,
    ) {
        let variable = Var::from_vec(values.clone(), shape, &Device::Cpu).unwrap();
        let gradients = function(variable.as_tensor()).unwrap().backward().unwrap();
        let gradient = gradients
            .get(&variable)
            .expect("a gradient")
            .flatten_all()
            .unwrap();
        let gradient = gradient.to_vec1::<f32>().unwrap();
        let at = |values: &[f32]| {
            let point = Tensor::from_slice(values, shape, &Device::Cpu).unwrap();
            f64::from(function(&point).unwrap().to_scalar::<f32>().unwrap())
        };
        let step = 1e-2_f32;
        for i in 0..values.len() {
            let (mut above, mut below) = (values.clone(), values.clone());
            above[i] += step;
            below[i] -= step;
            let slope = (at(&above) - at(&below)) / f64::from(2.0 * step);
            let difference = (slope - f64::from(gradient[i])).abs();
            assert!(
                difference < 2e-3,
                "value {i}: slope {slope}, gradient {}",
                gradient[i]
            );
        }
    }

    /// `count` reproducible values between −1 and 1, none near 0.
    pub(crate) fn sample(count: usize) -> Vec<f32> {
        (0..count)
            .map(|i| {
                let x = (i as f32 * 12.9898).sin();
                if x.abs() < 0.1 {
                    x.signum() * 0.1 + x
                } else {
                    x
                }
            })
            .collect()
    }
}
