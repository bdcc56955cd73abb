//! What training minimizes, and what a model is judged by.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

use super::values;

/// Mean cross-entropy of `logits` `[rows, classes]` in nats, as `torch.nn.functional.cross_entropy`
/// computes it; with label smoothing ε each target is (1 − ε) on its class plus ε/classes on every
/// class (Szegedy et al. 2016, arXiv 1512.00567).
///
/// # Errors
/// Shapes that do not fit, or a label that is not below the number of classes.
pub fn cross_entropy(logits: &Tensor, labels: &[u32], smoothing: f64) -> Result<Tensor> {
    let op = CrossEntropy {
        labels: labels.into(),
        smoothing: smoothing as f32,
    };
    logits.contiguous()?.apply_op1(op)
}

/// Mean squared error, as `torch.nn.functional.mse_loss` computes it.
///
/// # Errors
/// Shapes that differ.
pub fn squared_error(outputs: &Tensor, targets: &Tensor) -> Result<Tensor> {
    outputs.sub(targets)?.sqr()?.mean_all()
}

/// log Σ exp of a row, without overflow.
fn log_sum_exp(row: &[f32]) -> f32 {
    let largest = row.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
    if largest.is_infinite() || row.iter().any(|x| x.is_nan()) {
        return f32::NAN;
    }
    largest + row.iter().map(|x| (x - largest).exp()).sum::<f32>().ln()
}

/// Cross-entropy in nats of one row, and whether its largest logit is the label's. A row with a
/// value that is not finite has the loss NaN and counts as wrong.
#[must_use]
pub fn judge_row(row: &[f32], label: u32) -> (f64, bool) {
    let Some(&own) = row.get(label as usize) else {
        return (f64::NAN, false);
    };
    let normalizer = log_sum_exp(row);
    let right = (0..)
        .zip(row)
        .all(|(class, &x)| x < own || (x == own && class >= label));
    (f64::from(normalizer - own), right && normalizer.is_finite())
}

#[derive(Clone)]
struct CrossEntropy {
    labels: Arc<[u32]>,
    smoothing: f32,
}

impl CrossEntropy {
    fn rows<'a>(
        &'a self,
        storage: &'a CpuStorage,
        layout: &Layout,
    ) -> Result<impl Iterator<Item = (&'a [f32], usize)>> {
        let (rows, classes) = layout.shape().dims2()?;
        if rows != self.labels.len() || self.labels.iter().any(|&x| x as usize >= classes) {
            bail!("cross-entropy: {rows} rows of {classes} logits do not fit the labels");
        }
        let rows = values(storage, layout)?.chunks_exact(classes.max(1));
        Ok(rows.zip(self.labels.iter().map(|&label| label as usize)))
    }
}

impl CustomOp1 for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross-entropy"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut total = 0.0_f64;
        for (row, label) in self.rows(storage, layout)? {
            let own = row.get(label).copied().unwrap_or(f32::NAN);
            let mean = row.iter().sum::<f32>() / row.len() as f32;
            let target = (1.0 - self.smoothing) * own + self.smoothing * mean;
            total += f64::from(log_sum_exp(row) - target);
        }
        let mean = total / self.labels.len().max(1) as f64;
        Ok((CpuStorage::F32(vec![mean as f32]), Shape::from(())))
    }

    fn bwd(&self, logits: &Tensor, _result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let scale = gradient.to_scalar::<f32>()?;
        logits
            .apply_op1_no_bwd(&CrossEntropyGradient {
                of: self.clone(),
                scale,
            })
            .map(Some)
    }
}

/// (softmax − target)/rows, times the gradient of the loss itself.
struct CrossEntropyGradient {
    of: CrossEntropy,
    scale: f32,
}

impl CustomOp1 for CrossEntropyGradient {
    fn name(&self) -> &'static str {
        "cross-entropy-gradient"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let factor = self.scale / self.of.labels.len().max(1) as f32;
        let mut outputs = Vec::with_capacity(layout.shape().elem_count());
        for (row, label) in self.of.rows(storage, layout)? {
            let normalizer = log_sum_exp(row);
            let spread = self.of.smoothing / row.len() as f32;
            for (class, x) in row.iter().enumerate() {
                let own = if class == label {
                    1.0 - self.of.smoothing
                } else {
                    0.0
                };
                outputs.push(factor * ((x - normalizer).exp() - own - spread));
            }
        }
        Ok((CpuStorage::F32(outputs), layout.shape().clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::gradient_check::{check, sample};
    use candle_core::Device;

    fn loss(logits: &[[f32; 3]], labels: &[u32], smoothing: f64) -> f32 {
        let values = logits.concat();
        let logits = Tensor::from_vec(values, (logits.len(), 3), &Device::Cpu).unwrap();
        cross_entropy(&logits, labels, smoothing)
            .unwrap()
            .to_scalar()
            .unwrap()
    }

    #[test]
    fn cross_entropy_has_the_textbook_values() {
        assert!((loss(&[[0.0; 3]], &[1], 0.0) - 3.0_f32.ln()).abs() < 1e-6);
        // −log softmax([1, 2, 3])[2] = 0.40760596
        assert!((loss(&[[1.0, 2.0, 3.0]], &[2], 0.0) - 0.407_605_96).abs() < 1e-6);
        // Smoothing 0.1: 3.40760596 − (0.9·3 + 0.1·2) = 0.50760596
        assert!((loss(&[[1.0, 2.0, 3.0]], &[2], 0.1) - 0.507_605_96).abs() < 1e-6);
        assert!(
            (loss(&[[1e30, 0.0, 0.0]], &[0], 0.0)).abs() < 1e-6,
            "no overflow"
        );
        assert!(loss(&[[f32::NAN, 0.0, 0.0]], &[1], 0.0).is_nan());
        assert!(loss(&[[f32::INFINITY, 0.0, 0.0]], &[1], 0.0).is_nan());
    }

    #[test]
    fn gradients_match_differences() {
        for smoothing in [0.0, 0.2] {
            check(&[4, 3], sample(12), |x| {
                cross_entropy(x, &[0, 2, 1, 1], smoothing)?.affine(3.0, 0.0)
            });
        }
        let targets = Tensor::from_vec(sample(6), (6, 1), &Device::Cpu).unwrap();
        let at = sample(6).into_iter().map(|x| 0.5 - x).collect();
        check(&[6, 1], at, |x| squared_error(x, &targets));
    }

    #[test]
    fn labels_must_fit() {
        let logits = Tensor::zeros((2, 3), candle_core::DType::F32, &Device::Cpu).unwrap();
        assert!(cross_entropy(&logits, &[0, 3], 0.0).is_err());
        assert!(cross_entropy(&logits, &[0], 0.0).is_err());
    }

    #[test]
    fn rows_are_judged_by_their_largest_logit() {
        let (loss, right) = judge_row(&[1.0, 2.0, 3.0], 2);
        assert!((loss - 0.407_605_96).abs() < 1e-6 && right);
        assert!(!judge_row(&[1.0, 2.0, 3.0], 0).1);
        assert!(!judge_row(&[f32::NAN, 2.0, 3.0], 2).1);
        assert!(
            judge_row(&[1.0, 1.0], 0).1 && !judge_row(&[1.0, 1.0], 1).1,
            "first of equals"
        );
    }
}
