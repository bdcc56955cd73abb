//! What a candidate is worth to a search by Gaussian processes ([`super::gp`]): the improvement that is expected of it,
//! by one or several guesses of what the losses look like.
//!
//! Hyperparameters of a process that has seen a dozen trials are uncertain, and one guess of them may be far off. So the
//! expected improvement is a mean over several [`World`]s, each with its own (Snoek, Larochelle & Adams, "Practical Bayesian
//! optimization of machine learning algorithms", NeurIPS 2012; arXiv 1206.2944): what is promising in one of them counts.

use hpo_study::{History, front};

use super::beliefs::Beliefs;
use super::encoding::Draft;
use super::improvement::Open;
use super::normal;
use super::observations::Observations;
use super::surrogate::{Features, Process};

/// Variance of the noise of labels, which says how steep the chance of being feasible is.
const LABEL_NOISE: f64 = 0.1;

/// What a process says of values that it has seen less their mean.
pub(crate) struct Belief {
    pub(crate) process: Process,
    /// What the values are weighted with ([`Process::weights`]).
    pub(crate) weights: nalgebra::DVector<f64>,
    /// What was taken away from them.
    pub(crate) mean: f64,
}

impl Belief {
    /// Means and standard deviations at some rows.
    fn at(&self, features: &Features, rows: &[Vec<f64>]) -> Vec<(f64, f64)> {
        let guesses = self.process.predict(features, &self.weights, rows);
        guesses
            .into_iter()
            .map(|(mean, deviation)| (mean + self.mean, deviation))
            .collect()
    }
}

/// What is to be improved upon.
pub(crate) enum Aim {
    /// The best mean of what was tried.
    Best(f64),
    /// What the front leaves open.
    Front(Open),
}

impl Aim {
    /// By the means of each objective at what was tried and what runs.
    pub(crate) fn of(means: &[Vec<f64>]) -> Self {
        if let [means] = means {
            return Self::Best(means.iter().copied().fold(f64::INFINITY, f64::min));
        }
        let count = means.first().map_or(0, Vec::len);
        let rows = (0..count).map(|i| means.iter().map(|m| m[i]).collect());
        let rows: Vec<Vec<f64>> = rows.collect();
        let ranks = front::ranks(&rows);
        let front: Vec<Vec<f64>> = (0..count)
            .filter(|i| ranks[*i] == 0)
            .map(|i| rows[i].clone())
            .collect();
        let reference = means.iter().enumerate().map(|(j, all)| {
            let of_front = || front.iter().map(|row| row[j]);
            let best = of_front().fold(f64::INFINITY, f64::min);
            let worst = of_front().fold(f64::NEG_INFINITY, f64::max);
            // A front of one has no width: whatever was seen counts.
            let far = all.iter().copied().fold(worst, f64::max);
            let worst = if worst > best { worst } else { far };
            worst + front::MARGIN * (worst - best).max(1e-6)
        });
        Self::Front(Open::beyond(&front, &reference.collect::<Vec<f64>>()))
    }
}

/// One guess of what the losses look like.
pub(crate) struct World {
    /// One for each objective.
    pub(crate) objectives: Vec<Belief>,
    pub(crate) aim: Aim,
}

impl World {
    /// The logarithms of the improvements expected of some rows; a greedy judge takes the improvements of the means themselves.
    fn improvements(&self, features: &Features, rows: &[Vec<f64>], is_greedy: bool) -> Vec<f64> {
        let beliefs = self.objectives.iter();
        let guesses: Vec<Vec<(f64, f64)>> = beliefs.map(|b| b.at(features, rows)).collect();
        let of = |i: usize| guesses.iter().map(move |of| of[i]);
        let improvement = |i: usize| match &self.aim {
            Aim::Best(best) => of(i).fold(0.0, |_, (mean, deviation)| {
                if is_greedy {
                    best - mean
                } else {
                    normal::log_improvement((best - mean) / deviation) + deviation.ln()
                }
            }),
            Aim::Front(open) => open.log_improvement(&of(i).collect::<Vec<_>>()),
        };
        (0..rows.len()).map(improvement).collect()
    }
}

/// Scores candidates.
pub(crate) struct Judge<'a> {
    pub(crate) features: &'a Features,
    pub(crate) observations: &'a Observations,
    /// At least one.
    pub(crate) worlds: Vec<World>,
    /// The best mean is looked for, not the most improvement; never of several objectives.
    pub(crate) is_greedy: bool,
    /// What is feasible, where not everything was.
    pub(crate) feasibility: Option<Belief>,
    /// What is believed beforehand.
    pub(crate) beliefs: (&'a Beliefs, &'a History),
}

impl Judge<'_> {
    /// The logarithm of the expected improvement times the chance of being feasible; a greedy judge takes the
    /// improvement of the mean itself in place of the former.
    pub(crate) fn scores(&self, candidates: &[Draft<'_>]) -> Vec<f64> {
        let row = |c: &Draft<'_>| self.features.row(&self.observations.encoding, &c.point);
        let rows: Vec<Vec<f64>> = candidates.iter().map(row).collect();
        let mut scores = self.improvements(&rows);
        if let Some(feasibility) = &self.feasibility {
            let labels = feasibility.at(self.features, &rows);
            for (score, (label, deviation)) in scores.iter_mut().zip(labels) {
                *score += normal::log_below(label / (deviation * deviation + LABEL_NOISE).sqrt());
            }
        }
        let (beliefs, history) = self.beliefs;
        beliefs.add_to_drafts(&mut scores, history, candidates);
        scores
    }

    /// The mean over all worlds.
    fn improvements(&self, rows: &[Vec<f64>]) -> Vec<f64> {
        let worlds = self.worlds.iter();
        let of_worlds: Vec<Vec<f64>> = worlds
            .map(|world| world.improvements(self.features, rows, self.is_greedy))
            .collect();
        let mean = |i: usize| {
            let values = of_worlds.iter().map(|world| world[i]);
            match self.is_greedy {
                true => values.sum::<f64>() / of_worlds.len() as f64,
                false => log_mean(values),
            }
        };
        (0..rows.len()).map(mean).collect()
    }
}

/// The logarithm of the mean of numbers that are given by their logarithms.
fn log_mean(logs: impl ExactSizeIterator<Item = f64> + Clone) -> f64 {
    let count = logs.len() as f64;
    let highest = logs.clone().fold(f64::NEG_INFINITY, f64::max);
    if !highest.is_finite() {
        return highest;
    }
    highest + (logs.map(|log| (log - highest).exp()).sum::<f64>() / count).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_of_logarithms_is_that_of_the_numbers() {
        let logs = [0.5_f64, 2.0, 3.0].map(f64::ln);
        assert!((log_mean(logs.into_iter()) - (5.5_f64 / 3.0).ln()).abs() < 1e-12);
        // So small that the numbers themselves would be 0.
        assert!((log_mean([-2000.0, -2000.0].into_iter()) + 2000.0).abs() < 1e-9);
        assert_eq!(log_mean([f64::NEG_INFINITY].into_iter()), f64::NEG_INFINITY);
    }
}
