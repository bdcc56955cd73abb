//! Population-based training: what a study says of it, and the lineages that come of it.
//!
//! A member of the population is a chain of trials. Each trains over one interval, from a copy of the checkpoint of the one
//! before it in the chain, with a configuration of its own.

use serde::{Deserialize, Serialize};

use crate::history::{History, Trial, TrialState};
use crate::id::TrialId;
use crate::spec::EarlyTerminate;

/// How a population is trained (Jaderberg et al., 2017; arXiv 1711.09846).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Population {
    /// How many members. At least 2.
    pub size: u32,
    /// After so many steps the worst copy the best. At least 1.
    pub interval: u64,
    /// The full length of a training in steps. At least 1.
    pub max_iter: u64,
    /// Which share copies which share; above 0, at most one half.
    pub quantile: f64,
    /// How likely a parameter of a copy is drawn anew.
    pub resample: f64,
    /// By one of these a parameter of a copy is multiplied otherwise; finite and above 0.
    pub factors: Vec<f64>,
    /// The parameters that change; the others stay what they were when the training began.
    pub mutate: Vec<String>,
}

impl Population {
    /// How many members are replaced by copies, as class `PopulationBasedTraining` of Ray Tune 2.60 counts them.
    #[must_use]
    pub fn replaced(&self) -> usize {
        let size = self.size as usize;
        ((f64::from(self.size) * self.quantile).ceil() as usize).clamp(1, (size / 2).max(1))
    }

    /// How many intervals a whole training has.
    #[must_use]
    pub fn generations(&self) -> u64 {
        self.max_iter.div_ceil(self.interval.max(1))
    }
}

/// Whose checkpoints a trial began from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// That trial.
    pub trial: TrialId,
    /// How far that one had come.
    pub step: u64,
}

/// The population of a study, if it trains one.
#[must_use]
pub fn of(history: &History) -> Option<&Population> {
    match &history.spec().early_terminate {
        EarlyTerminate::Population(population) => Some(population),
        _ => None,
    }
}

/// The trials that a trial's weights went through, from the fresh start to itself.
#[must_use]
pub fn lineage<'a>(history: &'a History, trial: &'a Trial) -> Vec<&'a Trial> {
    let mut chain = vec![trial];
    let mut last = trial;
    // A trial begins from an earlier one, so this comes to an end.
    while let Some(before) = last.parent.and_then(|o| history.trial(o.trial)) {
        if before.id >= last.id {
            break;
        }
        chain.push(before);
        last = before;
    }
    chain.reverse();
    chain
}

/// Whether somebody may still begin from a finished trial's checkpoints: it is of the last two intervals that
/// somebody has come to the end of, or later.
#[must_use]
pub fn is_needed(history: &History, trial: &Trial) -> bool {
    if of(history).is_none() || history.end().is_some() {
        return false;
    }
    trial.target >= oldest_needed(history)
}

/// The end of the interval before the last that somebody has come to the end of.
fn oldest_needed(history: &History) -> Option<u64> {
    let (mut last, mut before) = (None, None);
    let completed = |t: &&Trial| t.state == TrialState::Completed;
    for trial in history.trials().iter().filter(completed) {
        if trial.target > last {
            (last, before) = (trial.target, last);
        } else if trial.target < last && trial.target > before {
            before = trial.target;
        }
    }
    before
}

#[cfg(test)]
mod tests {
    use super::*;

    fn population(size: u32, quantile: f64) -> Population {
        Population {
            size,
            interval: 4,
            max_iter: 10,
            quantile,
            resample: 0.25,
            factors: vec![0.8, 1.2],
            mutate: vec!["lr".to_owned()],
        }
    }

    #[test]
    fn as_many_are_replaced_as_are_copied_and_never_more_than_half() {
        let replaced = |size, quantile| population(size, quantile).replaced();
        assert_eq!((replaced(8, 0.25), replaced(10, 0.25)), (2, 3));
        assert_eq!(
            (replaced(2, 0.5), replaced(3, 0.5), replaced(4, 0.01)),
            (1, 1, 1)
        );
        assert_eq!(population(4, 0.25).generations(), 3);
    }
}
