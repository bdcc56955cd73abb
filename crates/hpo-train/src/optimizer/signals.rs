//! What a step says of a run's health, beside its loss. All of it is for people and plots: as a
//! rule for ending runs, none of it did better than the loss alone (`docs/divergence.md`).

use candle_core::{CpuStorage, Result, Storage, Tensor, Var, bail};

/// How an update of the Adam family stands to the gradients before it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Signals {
    /// √(mean u²) over all variables together, u = m̂/(√v̂ + ε) being the update before the
    /// learning rate: √((1−β1)/(1+β1)) (.229 at β1 = .9) while gradients are uncorrelated from step
    /// to step, towards 1 when they all point one way, as before many spikes (Molybog et al. 2023,
    /// arXiv 2304.09871).
    pub update_rms: f64,
    /// The largest over the variables of √(mean g²/max(v̂, ε²)), about 1 while the second moment
    /// keeps up with the gradient and more when it lags behind; StableAdamW divides its rate
    /// by it (Wortsman et al. 2023, arXiv 2304.13013, algorithm 2, whose debiased β2 makes its second
    /// moment the v̂ here).
    pub rms_t: f64,
}

/// The sums behind [`Signals`] over one variable.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sums {
    /// Σ u².
    pub(super) updates: f64,
    /// Σ g²/max(v̂, ε²).
    pub(super) ratios: f64,
    /// How many numbers the variable has.
    pub(super) count: usize,
}

impl Signals {
    /// Of all variables; `None` if there is none. NaN in one of them makes NaN.
    pub(super) fn of(variables: &[Sums]) -> Option<Self> {
        let count: usize = variables.iter().map(|sums| sums.count).sum();
        let updates: f64 = variables.iter().map(|sums| sums.updates).sum();
        let ratio = |sums: &Sums| sums.ratios / sums.count as f64;
        let largest = |a: f64, b: f64| if a >= b || a.is_nan() { a } else { b };
        (count > 0).then(|| Self {
            update_rms: (updates / count as f64).sqrt(),
            rms_t: variables.iter().map(ratio).fold(0.0, largest).sqrt(),
        })
    }
}

/// The Euclidean norm of all variables taken together, biases included.
///
/// Summed as [`super::clip::global_norm`].
///
/// # Errors
/// A variable that is not float32 on the CPU.
pub fn weight_norm(variables: &[(String, Var)]) -> Result<f64> {
    norm(variables.iter().map(|(_, variable)| variable.as_tensor()))
}

/// The Euclidean norm of all tensors taken together; squares are summed in `f64`, in a fixed order.
pub(crate) fn norm<'a>(mut tensors: impl Iterator<Item = &'a Tensor>) -> Result<f64> {
    let total = tensors.try_fold(0.0, |sum, tensor| {
        with_values(tensor, sum_of_squares).map(|squares| sum + squares)
    })?;
    Ok(total.sqrt())
}

/// Lends a tensor's values in row-major order.
pub(super) fn with_values<T>(tensor: &Tensor, read: impl FnOnce(&[f32]) -> T) -> Result<T> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cpu(CpuStorage::F32(values)) = &*storage else {
        bail!("a tensor must be f32 on the CPU to read its values")
    };
    let values = layout
        .contiguous_offsets()
        .and_then(|(from, to)| values.get(from..to));
    values.map_or_else(
        || bail!("a tensor lies outside its storage"),
        |values| Ok(read(values)),
    )
}

/// Eight running sums, so that the compiler can use vector instructions.
fn sum_of_squares(values: &[f32]) -> f64 {
    let mut sums = [0.0_f64; 8];
    let chunks = values.chunks_exact(sums.len());
    let rest: f64 = chunks
        .remainder()
        .iter()
        .map(|&x| f64::from(x) * f64::from(x))
        .sum();
    for chunk in chunks {
        for (sum, &x) in sums.iter_mut().zip(chunk) {
            *sum += f64::from(x) * f64::from(x);
        }
    }
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_every_value_once() {
        for count in [0_u32, 1, 7, 8, 9, 100] {
            let values: Vec<f32> = (1..=count).map(|i| i as f32).collect();
            let n = f64::from(count);
            assert_eq!(
                sum_of_squares(&values),
                n * (n + 1.0) * (2.0 * n + 1.0) / 6.0
            );
        }
    }

    #[test]
    fn the_largest_variable_counts_and_nothing_broken_is_hidden() {
        let sums = |updates, ratios, count| Sums {
            updates,
            ratios,
            count,
        };
        let both = Signals::of(&[sums(3.0, 8.0, 2), sums(1.0, 54.0, 6)]).unwrap();
        assert_eq!((both.update_rms, both.rms_t), (0.5_f64.sqrt(), 3.0));
        for broken in [
            [sums(0.0, f64::NAN, 1), sums(0.0, 1.0, 1)],
            [sums(0.0, 1.0, 1), sums(0.0, f64::NAN, 1)],
        ] {
            assert!(Signals::of(&broken).unwrap().rms_t.is_nan());
        }
        assert_eq!(Signals::of(&[]), None);
    }
}
