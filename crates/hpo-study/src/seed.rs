//! One seed per study; everything random draws from a stream of its own derived from it.
//!
//! No position of a generator is ever saved: a stream is named by what it is for, so a resumed
//! study draws the very numbers that the uninterrupted one would have drawn.

use crate::id::TrialId;

/// What a random stream is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Suggesting a trial's configuration.
    Suggest,
    /// The trial's own training (`HPO_SEED`).
    Training,
    /// Scrambling a low-discrepancy sequence, once per study.
    Scramble,
    /// Drawing a surrogate's hyperparameters.
    Surrogate,
}

/// The seed of the stream for `purpose` of `trial` in a study seeded with `study`.
///
/// The mixing function is SplitMix64 (Steele, Lea & Flood, OOPSLA 2014).
#[must_use]
pub fn derive(study: u64, trial: TrialId, purpose: Purpose) -> u64 {
    let purpose = match purpose {
        Purpose::Suggest => 1,
        Purpose::Training => 2,
        Purpose::Scramble => 3,
        Purpose::Surrogate => 4,
    };
    mix(mix(mix(study) ^ u64::from(trial.0)) ^ purpose)
}

/// SplitMix64's mixing function: every number has another one, and neighbours have nothing in common.
pub(crate) fn mix(x: u64) -> u64 {
    let mut z = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn streams_differ_by_study_trial_and_purpose() {
        let mut seen = HashSet::new();
        for study in 0..10 {
            for trial in 0..100 {
                for purpose in [
                    Purpose::Suggest,
                    Purpose::Training,
                    Purpose::Scramble,
                    Purpose::Surrogate,
                ] {
                    assert!(seen.insert(derive(study, TrialId(trial), purpose)));
                }
            }
        }
    }
}
