//! The distributions of the choices: a share for each, which grows with what was best.
//!
//! The adaptive stochastic natural gradient of Akimoto et al., ICML 2019 (PMLR 97), with a margin below which no share
//! falls, as CatCMA with margin has both (Hamano et al., arXiv 2504.07884). Numbers agree with class `CatCMAwM` of the
//! package `cmaes` 0.13.1 (see the tests). Beyond it: what is not active in a configuration has no part in the gradient.

use rand::Rng as _;

use super::gaussian::recombination;
use crate::Rng;

/// The most the signal-to-noise ratio may be below one before steps grow (the paper's α).
const SIGNAL: f64 = 1.5;
/// The probability that at least one of all choices is not the likeliest never falls below 1 − this.
const CERTAINTY: f64 = 0.73;
const ROUNDING: f64 = 1e-8;

/// One choice.
#[derive(Clone)]
struct Choice {
    /// The indices of what may be chosen.
    of: Vec<usize>,
    /// A share for each.
    shares: Vec<f64>,
    /// No share is less.
    least: f64,
}

/// The distributions of all choices of a space.
#[derive(Clone)]
pub(super) struct Categories {
    choices: Vec<Choice>,
    weights: Vec<f64>,
    /// The accumulated gradient, in coordinates in which its length is the Fisher metric's.
    path: Vec<f64>,
    /// How much of its expected square length has been accumulated.
    gamma: f64,
    /// How much smaller than at the beginning steps are.
    caution: f64,
    step: f64,
}

impl Categories {
    /// The distributions at the beginning: those that a random draw has. What has no share is never chosen.
    /// `discrete` is the number of other dimensions with a margin.
    pub(super) fn new(shares: &[Vec<f64>], discrete: usize, population: usize) -> Self {
        let all = (shares.len() + discrete).max(1) as f64;
        let mass = 1.0 - CERTAINTY.powf(1.0 / all);
        let choice = |shares: &Vec<f64>| {
            let of: Vec<usize> = (0..shares.len()).filter(|i| shares[*i] > 0.0).collect();
            let mut choice = Choice {
                least: mass / (of.len().max(2) - 1) as f64,
                shares: of.iter().map(|i| shares[*i]).collect(),
                of,
            };
            choice.keep_margin();
            choice
        };
        let choices: Vec<Choice> = shares.iter().map(choice).collect();
        let coordinates = choices.iter().map(|c| c.of.len().max(1) - 1).sum();
        Self {
            choices,
            weights: recombination(population).0,
            path: vec![0.0; coordinates],
            gamma: 0.0,
            caution: 1.0,
            step: 1.0,
        }
    }

    /// The index of what is chosen, for each choice.
    pub(super) fn draw(&self, rng: &mut Rng) -> Vec<usize> {
        let mut of = |choice: &Choice| {
            let u: f64 = rng.random();
            let mut sum = 0.0;
            let is_it = |share: &f64| {
                sum += share;
                u < sum
            };
            let place = choice.shares.iter().position(is_it);
            let last = choice.of.len().saturating_sub(1);
            choice.of.get(place.unwrap_or(last)).copied().unwrap_or(0)
        };
        self.choices.iter().map(&mut of).collect()
    }

    /// Learns from what was chosen in a population, best first; `None`: the choice was not active.
    pub(super) fn update(&mut self, ranked: &[&[Option<usize>]]) {
        let gradients: Vec<Vec<f64>> = (0..self.choices.len())
            .map(|i| self.gradient(i, ranked))
            .collect();
        let mut steepest = Vec::with_capacity(self.path.len());
        for (choice, gradient) in self.choices.iter().zip(&gradients) {
            choice.in_fisher_metric(gradient, &mut steepest);
        }
        let length = steepest.iter().map(|x| x * x).sum::<f64>().sqrt();
        let rate = self.step / (length + ROUNDING);
        for (choice, gradient) in self.choices.iter_mut().zip(&gradients) {
            for (share, slope) in choice.shares.iter_mut().zip(gradient) {
                *share += rate * slope;
            }
            choice.keep_margin();
        }
        self.step = 1.0 / self.caution;
        if length <= f64::MIN_POSITIVE {
            return;
        }
        let beta = self.step / (self.path.len() as f64).sqrt();
        let fresh = (beta * (2.0 - beta)).max(0.0).sqrt() / length;
        for (path, slope) in self.path.iter_mut().zip(&steepest) {
            *path = (1.0 - beta) * *path + fresh * slope;
        }
        self.gamma = (1.0 - beta).powi(2) * self.gamma + beta * (2.0 - beta);
        let square: f64 = self.path.iter().map(|x| x * x).sum();
        self.caution *= (beta * (self.gamma - square / SIGNAL)).exp();
    }

    /// The natural gradient of one choice's shares.
    fn gradient(&self, choice: usize, ranked: &[&[Option<usize>]]) -> Vec<f64> {
        let Choice { of, shares, .. } = &self.choices[choice];
        let mut gradient = vec![0.0; shares.len()];
        for (weight, chosen) in self.weights.iter().zip(ranked) {
            let Some(chosen) = chosen.get(choice).copied().flatten() else {
                continue;
            };
            for (i, slope) in gradient.iter_mut().enumerate() {
                *slope += weight * (f64::from(u8::from(of[i] == chosen)) - shares[i]);
            }
        }
        gradient
    }
}

impl Choice {
    /// Adds a gradient in coordinates in which its length is the Fisher metric's (appendix B of the first paper).
    fn in_fisher_metric(&self, gradient: &[f64], to: &mut Vec<f64>) {
        let Some((last, shares)) = self.shares.split_last() else {
            return;
        };
        let sum: f64 = gradient.iter().take(shares.len()).sum();
        let rest = sum / (last + last.sqrt());
        for (share, slope) in shares.iter().zip(gradient) {
            to.push(slope / share.sqrt() + share.sqrt() * rest);
        }
    }

    /// Lifts every share to the least one, and takes what that costs from those above it.
    fn keep_margin(&mut self) {
        let count = self.shares.len() as f64;
        if self.shares.len() < 2 {
            return self.shares.fill(1.0);
        }
        let least = self.least.min(1.0 / count);
        for share in &mut self.shares {
            *share = share.max(least);
        }
        let sum: f64 = self.shares.iter().sum();
        let above = sum - least * count;
        for share in &mut self.shares {
            if above > 0.0 {
                *share -= (sum - 1.0) * (*share - least) / above;
            }
        }
        let sum: f64 = self.shares.iter().sum();
        for share in &mut self.shares {
            *share /= sum;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    /// One run of the reference, see `reference.py`.
    #[derive(Deserialize)]
    struct Run {
        sizes: Vec<usize>,
        population: usize,
        generations: Vec<Generation>,
    }

    /// What was told, best first, and the shares after it.
    #[derive(Deserialize)]
    struct Generation {
        told: Vec<Vec<usize>>,
        shares: Vec<Vec<f64>>,
    }

    fn even(sizes: &[usize]) -> Vec<Vec<f64>> {
        sizes.iter().map(|n| vec![1.0 / *n as f64; *n]).collect()
    }

    #[test]
    fn shares_are_those_of_the_package_cmaes() {
        let text = include_str!("reference.json");
        let reference: serde_json::Value = serde_json::from_str(text).unwrap();
        let runs: Vec<Run> = serde_json::from_value(reference["categories"].clone()).unwrap();
        assert!(runs.len() >= 3);
        for run in runs {
            let mut ours = Categories::new(&even(&run.sizes), 0, run.population);
            for (number, generation) in run.generations.iter().enumerate() {
                let active = |row: &Vec<usize>| row.iter().copied().map(Some).collect();
                let told: Vec<Vec<Option<usize>>> = generation.told.iter().map(active).collect();
                ours.update(&told.iter().map(Vec::as_slice).collect::<Vec<_>>());
                for (choice, shares) in ours.choices.iter().zip(&generation.shares) {
                    for (a, b) in choice.shares.iter().zip(shares) {
                        assert!((a - b).abs() < 1e-7, "{number}: {a} {b}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_has_no_share_is_never_drawn_and_what_is_not_active_teaches_nothing() {
        let mut ours = Categories::new(&[vec![0.5, 0.0, 0.5], vec![0.9, 0.1]], 0, 6);
        let before = ours.choices[0].shares.clone();
        let told: Vec<Vec<Option<usize>>> = (0..6).map(|i| vec![None, Some(i % 2)]).collect();
        ours.update(&told.iter().map(Vec::as_slice).collect::<Vec<_>>());
        assert_eq!(ours.choices[0].shares, before);
        let mut rng = crate::stream(1);
        assert!((0..300).all(|_| ours.draw(&mut rng)[0] != 1));
    }
}
