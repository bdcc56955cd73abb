//! What training minimizes, and what a model is judged by.

use candle_core::{D, DType, Result, Tensor};
use candle_nn::{loss, ops};

/// Mean cross-entropy of `logits` `[rows, classes]` in nats, as `torch.nn.functional.cross_entropy`
/// computes it; with label smoothing ε each target is (1 − ε) on its class plus ε/classes on every
/// class (Szegedy et al. 2016, arXiv 1512.00567).
///
/// # Errors
/// Shapes that do not fit, or a label that is not below the number of classes.
pub fn cross_entropy(logits: &Tensor, labels: &[u32], smoothing: f64) -> Result<Tensor> {
    let labels = Tensor::from_slice(labels, labels.len(), logits.device())?;
    let log_probabilities = ops::log_softmax(logits, D::Minus1)?;
    let own = loss::nll(&log_probabilities, &labels)?;
    if smoothing == 0.0 {
        return Ok(own);
    }
    (own * (1.0 - smoothing))? - (log_probabilities.mean_all()? * smoothing)?
}

/// Mean squared error, as `torch.nn.functional.mse_loss` computes it.
///
/// # Errors
/// Shapes that differ.
pub fn squared_error(outputs: &Tensor, targets: &Tensor) -> Result<Tensor> {
    loss::mse(outputs, targets)
}

/// The share of rows, from 0 to 1, whose largest logit (the first of equals) is the label's.
///
/// # Errors
/// Shapes that do not fit.
pub fn accuracy(logits: &Tensor, labels: &[u32]) -> Result<f64> {
    let labels = Tensor::from_slice(labels, labels.len(), logits.device())?;
    let right = logits.argmax(D::Minus1)?.eq(&labels)?;
    let share = right.to_dtype(DType::F64)?.mean_all()?;
    share.to_scalar()
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    fn loss(logits: &[[f32; 3]], labels: &[u32], smoothing: f64) -> f32 {
        let logits = Tensor::from_vec(logits.concat(), (logits.len(), 3), &Device::Cpu).unwrap();
        let loss = cross_entropy(&logits, labels, smoothing).unwrap();
        loss.to_scalar().unwrap()
    }

    #[test]
    fn cross_entropy_has_the_textbook_values() {
        assert!((loss(&[[0.0; 3]], &[1], 0.0) - 3.0_f32.ln()).abs() < 1e-6);
        // −log softmax([1, 2, 3])[2] = 0.40760596
        assert!((loss(&[[1.0, 2.0, 3.0]], &[2], 0.0) - 0.407_605_96).abs() < 1e-6);
        // Smoothing 0.1: 3.40760596 − (0.9·3 + 0.1·2) = 0.50760596
        assert!((loss(&[[1.0, 2.0, 3.0]], &[2], 0.1) - 0.507_605_96).abs() < 1e-6);
        let extreme = [1e30, 0.0, 0.0];
        assert!(loss(&[extreme], &[0], 0.0).abs() < 1e-6, "no overflow");
        assert!(loss(&[[f32::NAN, 0.0, 0.0]], &[1], 0.0).is_nan());
        assert!(loss(&[[f32::INFINITY, 0.0, 0.0]], &[1], 0.0).is_nan());
    }

    /// (softmax − target)/rows, for a smoothing of 0.3.
    #[test]
    fn smoothing_has_the_textbook_gradient() {
        let logits = Var::new(&[[0.0_f32; 3]; 2], &Device::Cpu).unwrap();
        let loss = cross_entropy(&logits, &[0, 2], 0.3).unwrap();
        let gradients = loss.backward().unwrap();
        let found = gradients.get(&logits).unwrap().to_vec2::<f32>().unwrap();
        let (own, other) = ((1.0 / 3.0 - 0.8) / 2.0, (1.0 / 3.0 - 0.1) / 2.0);
        let expected = [own, other, other, other, other, own];
        for (x, y) in found.concat().into_iter().zip(expected) {
            assert!((x - y).abs() < 1e-6, "{found:?}");
        }
    }

    #[test]
    fn labels_must_fit() {
        let logits = Tensor::zeros((2, 3), DType::F32, &Device::Cpu).unwrap();
        assert!(cross_entropy(&logits, &[0, 3], 0.0).is_err());
        assert!(cross_entropy(&logits, &[0], 0.0).is_err());
        assert!(accuracy(&logits, &[0]).is_err());
    }

    #[test]
    fn rows_are_judged_by_their_largest_logit() {
        let rows = [[1.0_f32, 2.0, 3.0], [5.0, 2.0, 3.0], [1.0, 1.0, 1.0]];
        let logits = Tensor::new(&rows, &Device::Cpu).unwrap();
        assert_eq!(accuracy(&logits, &[2, 0, 0]).unwrap(), 1.0);
        let third = accuracy(&logits, &[0, 0, 2]).unwrap();
        assert!((third - 1.0 / 3.0).abs() < 1e-12, "first of equals");
    }
}
