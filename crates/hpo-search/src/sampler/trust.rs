//! How far a belief of where the good ones are is borne out by what the study's own trials come to: its density should be higher
//! about the better ones (Kendall's τ, of the newest 60). A middling correlation is taken for granted at first; where there is
//! none, trust goes with every trial, and where it is the wrong way round, eight trials do.

use std::collections::VecDeque;

use hpo_study::{Config, History, TrialId};

use super::observations::{Outcome, outcome};
use crate::foresight::correlation;

/// So many of the study's own trials are looked at.
const NEWEST: usize = 60;
/// Kendall's τ of density and success that is taken for granted at first, and its weight in trials. With it or more the trust is whole.
const EXPECTED: f64 = 0.4;
const EXPECTED_WEIGHT: f64 = 10.0;

/// The newest trials of a study with what they came to.
#[derive(Debug, Default)]
pub(super) struct Witnesses(VecDeque<(Config, f64)>);

impl Witnesses {
    /// Takes in one of the study's own trials. What was stopped is worse than what completed, and what is infeasible
    /// worse than both. With several objectives none is better than another as such, so nothing is taken in.
    pub(super) fn hear(&mut self, history: &History, trial: TrialId) {
        let spec = history.spec();
        let Some(record) = history.trial(trial).filter(|_| !spec.has_several()) else {
            return;
        };
        let loss = match outcome(record, spec.metric.goal) {
            Some(Outcome::Complete { loss }) => loss,
            Some(Outcome::Partial { .. }) => f64::MAX,
            Some(Outcome::Infeasible) => f64::INFINITY,
            None => return,
        };
        self.0.push_back((record.config.clone(), loss));
        if self.0.len() > NEWEST {
            self.0.pop_front();
        }
    }

    pub(super) fn configs(&self) -> impl Iterator<Item = &Config> {
        self.0.iter().map(|(config, _)| config)
    }

    /// How far a belief is borne out that has these log densities at [`Witnesses::configs`]: from 0 to 1.
    pub(super) fn trust(&self, log_densities: impl IntoIterator<Item = f64>) -> f64 {
        let losses = self.0.iter().map(|(_, loss)| *loss);
        let pairs: Vec<(f64, f64)> = log_densities.into_iter().map(|d| -d).zip(losses).collect();
        let seen = pairs.len() as f64;
        let expected = EXPECTED_WEIGHT * EXPECTED;
        let tau = (seen * correlation(&pairs) + expected) / (seen + EXPECTED_WEIGHT);
        (tau / EXPECTED).clamp(0.0, 1.0)
    }
}
