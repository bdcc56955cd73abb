//! Repeats inside the search: a configuration is run with several seeds, and its value is their mean.
//!
//! The trial's own run is the first one. Once it has come to its end, the others are runs of their own,
//! `r0`, `r1`, …, one after the other; nobody prunes them, and no sampler or scheduler sees them. The
//! trial is over when they are, and only then has it a value.

use crate::history::{History, Trial};
use crate::id::TrialId;

/// What the further runs of a trial's configuration have told.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Repeats {
    /// The further runs, in order.
    pub runs: Vec<TrialId>,
    /// The values of those that completed, in order; finite.
    pub values: Vec<f64>,
    /// Why there are no more of them than there are, where it is by decision.
    pub given_up: Option<String>,
}

/// The values of all runs of a trial's configuration, its own first; finite ones only.
#[must_use]
pub fn values(trial: &Trial) -> Vec<f64> {
    let own = trial.curve.last().map(|(_, value)| value);
    let all = own.into_iter().chain(trial.repeats.values.iter().copied());
    all.filter(|value| value.is_finite()).collect()
}

/// The mean; `None` of nothing.
#[must_use]
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The sum of squared deviations from the mean.
#[must_use]
pub fn squares(values: &[f64]) -> f64 {
    let mean = mean(values).unwrap_or(0.0);
    values.iter().map(|value| (value - mean).powi(2)).sum()
}

/// The standard error of the mean: the sample standard deviation (with n - 1) over √n. `None` for fewer
/// than two values.
#[must_use]
pub fn standard_error(values: &[f64]) -> Option<f64> {
    let count = values.len();
    (count > 1).then(|| (squares(values) / (count - 1) as f64 / count as f64).sqrt())
}

/// With how many seeds each configuration is run; 1 where the study does not say.
#[must_use]
pub fn wanted(history: &History) -> usize {
    history.spec().repeats.unwrap_or(1).max(1) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_and_its_error() {
        let values = [0.1, 0.2, 0.6];
        assert!((mean(&values).unwrap() - 0.3).abs() < 1e-15);
        // Deviations -0.2, -0.1, 0.3: squares sum to 0.14; 0.14 / 2 / 3 under the root.
        assert!((squares(&values) - 0.14).abs() < 1e-15);
        assert!((standard_error(&values).unwrap() - (0.14_f64 / 6.0).sqrt()).abs() < 1e-15);
        assert_eq!((mean(&[]), standard_error(&[0.1])), (None, None));
    }
}
