//! A fully connected layer, `y = x·Wᵀ + b`, as one operation.

use candle_core::backend::BackendStorage as _;
use candle_core::{CpuStorage, CustomOp1, CustomOp3, Layout, Result, Shape, Tensor, bail};

use super::values;

/// `inputs` `[rows, in]`, `weight` `[out, in]`, `bias` `[out]` → `[rows, out]`; shapes as
/// `torch.nn.functional.linear` has them.
///
/// Where `input_needs_gradient` is false (the first layer: its input is data), the backward pass
/// saves the largest of its matrix products.
///
/// # Errors
/// Shapes that do not fit.
pub fn dense(
    inputs: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    input_needs_gradient: bool,
) -> Result<Tensor> {
    inputs.apply_op3(
        weight,
        bias,
        Dense {
            input_needs_gradient,
        },
    )
}

struct Dense {
    input_needs_gradient: bool,
}

impl CustomOp3 for Dense {
    fn name(&self) -> &'static str {
        "dense"
    }

    fn cpu_fwd(
        &self,
        inputs: &CpuStorage,
        inputs_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, width) = inputs_layout.shape().dims2()?;
        let (outputs, expected) = weight_layout.shape().dims2()?;
        let bias = values(bias, bias_layout)?;
        if width != expected || bias.len() != outputs {
            bail!("dense: inputs of width {width} for weights of {outputs} × {expected}");
        }
        let transposed = weight_layout.transpose(0, 1)?;
        let shape = (1, rows, outputs, width);
        let mut product = inputs.matmul(weight, shape, inputs_layout, &transposed)?;
        if let CpuStorage::F32(product) = &mut product {
            for row in product.chunks_exact_mut(outputs.max(1)) {
                row.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
            }
        }
        Ok((product, Shape::from((rows, outputs))))
    }

    fn bwd(
        &self,
        inputs: &Tensor,
        weight: &Tensor,
        _bias: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let gradient = gradient.contiguous()?;
        let for_inputs = match self.input_needs_gradient {
            true => Some(gradient.matmul(weight)?),
            false => None,
        };
        let for_weight = gradient.t()?.matmul(inputs)?;
        let for_bias = gradient.apply_op1_no_bwd(&ColumnSums)?;
        Ok((for_inputs, Some(for_weight), Some(for_bias)))
    }
}

/// The sum of each column of a matrix.
struct ColumnSums;

impl CustomOp1 for ColumnSums {
    fn name(&self) -> &'static str {
        "column-sums"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, columns) = layout.shape().dims2()?;
        let mut sums = vec![0.0_f32; columns];
        for row in values(storage, layout)?.chunks_exact(columns.max(1)) {
            sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
        }
        Ok((CpuStorage::F32(sums), Shape::from(columns)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::gradient_check::{check, sample};
    use candle_core::{Device, Var};

    fn fixed(shape: &[usize]) -> Tensor {
        let count = shape.iter().product();
        Tensor::from_vec(sample(count), shape, &Device::Cpu).unwrap()
    }

    /// A scalar in which every output counts differently.
    fn summed(outputs: &Tensor) -> Result<Tensor> {
        outputs
            .mul(&fixed(outputs.dims()).affine(0.7, 0.3)?)?
            .sum_all()
    }

    #[test]
    fn computes_the_affine_map() {
        let (x, w, b) = (fixed(&[3, 4]), fixed(&[2, 4]), fixed(&[2]));
        let expected = x
            .matmul(&w.t().unwrap())
            .unwrap()
            .broadcast_add(&b)
            .unwrap();
        let found = dense(&x, &w, &b, true).unwrap();
        let difference = (found - expected)
            .unwrap()
            .abs()
            .unwrap()
            .max_all()
            .unwrap();
        assert!(difference.to_scalar::<f32>().unwrap() < 1e-6);
        let wrong = fixed(&[2, 3]);
        assert!(dense(&x, &wrong, &b, true).is_err());
    }

    #[test]
    fn gradients_match_differences() {
        let (x, w, b) = (fixed(&[3, 4]), fixed(&[2, 4]), fixed(&[2]));
        check(&[3, 4], sample(12), |x| summed(&dense(x, &w, &b, true)?));
        check(&[2, 4], sample(8), |w| summed(&dense(&x, w, &b, true)?));
        check(&[2], sample(2), |b| summed(&dense(&x, &w, b, true)?));
    }

    #[test]
    fn data_gets_no_gradient_and_views_of_a_batch_work() {
        let whole = fixed(&[10, 4]);
        let view = whole.narrow(0, 3, 3).unwrap();
        let weight = Var::from_tensor(&fixed(&[2, 4])).unwrap();
        let bias = Var::from_tensor(&fixed(&[2])).unwrap();
        let outputs = dense(&view, &weight, &bias, false).unwrap();
        let gradients = summed(&outputs).unwrap().backward().unwrap();
        assert!(gradients.get(&view).is_none());
        assert!(gradients.get(&weight).is_some());
        let copy = dense(&view.copy().unwrap(), &weight, &bias, false).unwrap();
        assert_eq!(
            outputs.to_vec2::<f32>().unwrap(),
            copy.to_vec2::<f32>().unwrap()
        );
    }
}
