//! The normal distribution of CMA-ES, with a margin where only some values are possible.
//!
//! Hansen, "The CMA evolution strategy: a tutorial" (arXiv 1604.00772), with negative weights; numbers of equations
//! below are its. The margin is that of Hamano, Saito, Nomura & Shirakawa, "CMA-ES with margin", GECCO 2022 (arXiv
//! 2205.13482). Numbers agree with class `CMAwM` of the package `cmaes` 0.13.1 (see the tests).

use std::sync::Arc;

use nalgebra::{DMatrix, DVector, SymmetricEigen};
use rand::Rng as _;
use rand_distr::StandardNormal;

use crate::Rng;
use crate::sampler::normal;

/// Draws of a point until all of its continuous coordinates lie inside.
const DRAWS: usize = 100;
/// What a negative eigenvalue, which is rounding, is taken for.
const ROUNDING: f64 = 1e-8;

/// A place told back to the distribution.
pub(super) struct Place<'a> {
    /// A coordinate for each dimension.
    pub(super) at: &'a [f64],
    /// It was drawn from the distribution as it is now. Others are pulled in to a distance that draws have.
    pub(super) is_current: bool,
}

/// What follows from the dimensions and the population's size.
#[derive(Clone)]
struct Settings {
    /// For each place by rank; the better half's are positive and add up to one.
    weights: Vec<f64>,
    parents: usize,
    effective: f64,
    rank_one: f64,
    rank_many: f64,
    cumulation: f64,
    path: f64,
    damping: f64,
    /// The expected length of a standard normal vector.
    length: f64,
    margin: f64,
}

/// Positive weights for the better half of a population, which add up to one, their number, and the effective
/// number μ_eff (equations 8 and 49).
pub(super) fn recombination(population: usize) -> (Vec<f64>, f64) {
    let parents = population / 2;
    let weights: Vec<f64> = raw_weights(population).take(parents).collect();
    let (sum, squares) = sums(&weights);
    let weights = weights.iter().map(|w| w / sum).collect();
    (weights, sum * sum / squares)
}

fn raw_weights(population: usize) -> impl Iterator<Item = f64> {
    let middle = ((population as f64 + 1.0) / 2.0).ln();
    (0..population).map(move |i| middle - (i as f64 + 1.0).ln())
}

fn sums(weights: &[f64]) -> (f64, f64) {
    (
        weights.iter().sum::<f64>(),
        weights.iter().map(|w| w * w).sum(),
    )
}

impl Settings {
    fn new(dimensions: usize, population: usize) -> Self {
        let n = dimensions as f64;
        let (mut weights, effective) = recombination(population);
        let parents = weights.len();
        let negative: Vec<f64> = raw_weights(population).skip(parents).collect();
        let (sum, squares) = sums(&negative);
        let effective_negative = sum * sum / squares;
        let rank_one = 2.0 / ((n + 1.3).powi(2) + effective);
        let rank_many = (2.0 * (effective - 2.0 + 1.0 / effective)
            / ((n + 2.0).powi(2) + effective))
            .min(1.0 - rank_one - 1e-8);
        // Equations 50 to 52.
        let alpha = (1.0 + rank_one / rank_many)
            .min(1.0 + 2.0 * effective_negative / (effective + 2.0))
            .min((1.0 - rank_one - rank_many) / (n * rank_many));
        let below: f64 = negative.iter().filter(|w| **w < 0.0).map(|w| -w).sum();
        weights.extend(negative.iter().map(|w| w.min(0.0) * alpha / below));
        let cumulation = (effective + 2.0) / (n + effective + 5.0);
        Self {
            weights,
            parents,
            effective,
            rank_one,
            rank_many,
            cumulation,
            path: (4.0 + effective / n) / (n + 4.0 + 2.0 * effective / n),
            damping: 1.0
                + 2.0 * (((effective - 1.0) / (n + 1.0)).sqrt() - 1.0).max(0.0)
                + cumulation,
            length: n.sqrt() * (1.0 - 1.0 / (4.0 * n) + 1.0 / (21.0 * n * n)),
            margin: 1.0 / (n * population as f64),
        }
    }
}

/// A normal distribution over the unit cube that learns from what was best.
#[derive(Clone)]
pub(super) struct Gaussian {
    settings: Settings,
    /// For each dimension the limits between its values, rising; none: it is continuous.
    grids: Arc<Vec<Vec<f64>>>,
    mean: DVector<f64>,
    /// The step size σ.
    sigma: f64,
    covariance: DMatrix<f64>,
    /// Eigenvectors of the covariance, and the roots of its eigenvalues.
    axes: DMatrix<f64>,
    lengths: DVector<f64>,
    path_sigma: DVector<f64>,
    path_covariance: DVector<f64>,
    /// By how much each coordinate is spread so that no value dies out (the paper's A).
    spread: DVector<f64>,
    generation: i32,
}

impl Gaussian {
    /// The distribution at the beginning: the same deviation `sigma` along each dimension. There is at least one
    /// dimension, and a population of at least two.
    pub(super) fn new(
        grids: Arc<Vec<Vec<f64>>>,
        population: usize,
        mean: Vec<f64>,
        sigma: f64,
    ) -> Self {
        let n = grids.len();
        Self {
            settings: Settings::new(n, population),
            grids,
            mean: DVector::from_vec(mean),
            sigma,
            covariance: DMatrix::identity(n, n),
            axes: DMatrix::identity(n, n),
            lengths: DVector::repeat(n, 1.0),
            path_sigma: DVector::zeros(n),
            path_covariance: DVector::zeros(n),
            spread: DVector::repeat(n, 1.0),
            generation: 0,
        }
    }

    /// The middle of the distribution.
    pub(super) fn mean(&self) -> &[f64] {
        self.mean.as_slice()
    }

    /// A place. Along a continuous dimension it lies in the unit interval.
    pub(super) fn draw(&self, rng: &mut Rng) -> Vec<f64> {
        let n = self.mean.len();
        let is_outside = |(x, grid): (&f64, &Vec<f64>)| grid.is_empty() && !(0.0..=1.0).contains(x);
        let mut place = DVector::zeros(n);
        for _ in 0..DRAWS {
            let z = DVector::from_fn(n, |i, _| {
                let z: f64 = rng.sample(StandardNormal);
                z * self.lengths[i]
            });
            place = &self.axes * z;
            place.component_mul_assign(&self.spread);
            place *= self.sigma;
            place += &self.mean;
            if !place.iter().zip(self.grids.iter()).any(is_outside) {
                break;
            }
        }
        for (x, grid) in place.iter_mut().zip(self.grids.iter()) {
            if grid.is_empty() {
                *x = x.clamp(0.0, 1.0);
            }
        }
        place.as_slice().to_vec()
    }

    /// Learns from a population, best first.
    pub(super) fn update(&mut self, ranked: &[Place<'_>]) {
        let settings = self.settings.clone();
        let n = self.mean.len();
        self.generation += 1;
        let whitening = self.whitening();
        let steps: Vec<DVector<f64>> = ranked
            .iter()
            .map(|place| {
                let step = DVector::from_fn(n, |i, _| {
                    (place.at[i] - self.mean[i]) / (self.spread[i] * self.sigma)
                });
                match place.is_current {
                    true => step,
                    false => pulled_in(step, &whitening),
                }
            })
            .collect();

        // Equations 41 and 42: the mean.
        let mut shift = DVector::zeros(n);
        for (weight, step) in settings.weights[..settings.parents].iter().zip(&steps) {
            shift.axpy(*weight, step, 1.0);
        }
        self.mean.axpy(self.sigma, &shift, 1.0);

        // Equations 43 and 44: the step size.
        let c = settings.cumulation;
        let scale = (c * (2.0 - c) * settings.effective).sqrt();
        self.path_sigma = (1.0 - c) * &self.path_sigma + scale * (&whitening * &shift);
        let length = self.path_sigma.norm();
        self.sigma *= ((c / settings.damping) * (length / settings.length - 1.0)).exp();
        self.sigma = self.sigma.min(1e32);

        // Equations 45 to 47: the covariance.
        let bound = (1.4 + 2.0 / (n as f64 + 1.0)) * settings.length;
        let is_steady = length / (1.0 - (1.0 - c).powi(2 * (self.generation + 1))).sqrt() < bound;
        let c = settings.path;
        let scale = match is_steady {
            true => (c * (2.0 - c) * settings.effective).sqrt(),
            false => 0.0,
        };
        self.path_covariance = (1.0 - c) * &self.path_covariance + scale * &shift;
        let lost = match is_steady {
            true => 0.0,
            false => c * (2.0 - c),
        };
        let sum: f64 = settings.weights.iter().sum();
        self.covariance *=
            1.0 + settings.rank_one * lost - settings.rank_one - settings.rank_many * sum;
        self.covariance.ger(
            settings.rank_one,
            &self.path_covariance,
            &self.path_covariance,
            1.0,
        );
        for (weight, step) in settings.weights.iter().zip(&steps) {
            let weight = match *weight >= 0.0 {
                true => *weight,
                false => weight * n as f64 / ((&whitening * step).norm_squared() + 1e-8),
            };
            self.covariance
                .ger(settings.rank_many * weight, step, step, 1.0);
        }
        self.decompose();
        self.keep_margin();
    }

    /// C^(-1/2).
    fn whitening(&self) -> DMatrix<f64> {
        let inverse = DMatrix::from_diagonal(&self.lengths.map(|d| 1.0 / d));
        &self.axes * inverse * self.axes.transpose()
    }

    fn decompose(&mut self) {
        let symmetric = (&self.covariance + self.covariance.transpose()) * 0.5;
        // What is not finite any more is found by `is_spent`.
        if symmetric.iter().any(|x| !x.is_finite()) {
            self.sigma = f64::NAN;
            return;
        }
        let eigen = SymmetricEigen::new(symmetric);
        self.lengths = eigen
            .eigenvalues
            .map(|x| if x < 0.0 { ROUNDING } else { x }.sqrt());
        self.axes = eigen.eigenvectors;
        let squares = DMatrix::from_diagonal(&self.lengths.map(|d| d * d));
        self.covariance = &self.axes * squares * self.axes.transpose();
    }

    /// The paper's margin: each neighbouring value keeps a probability of at least half the margin, by moving
    /// the mean and spreading the coordinate.
    fn keep_margin(&mut self) {
        let margin = self.settings.margin;
        let grids = self.grids.clone();
        for (i, limits) in grids.iter().enumerate().filter(|(_, l)| !l.is_empty()) {
            let (mean, deviation) = (self.mean[i], self.deviation(i));
            let cell = limits.partition_point(|limit| *limit < mean);
            let low = limits[cell.saturating_sub(1)];
            let high = limits[cell.min(limits.len() - 1)];
            let scale = deviation * self.spread[i];
            let below = normal::below((low - mean) / scale);
            let above = 1.0 - normal::below((high - mean) / scale);
            if below.max(above) > 0.5 {
                // The lowest or the highest value.
                if below.min(above) < margin {
                    let side = if mean < high { -1.0 } else { 1.0 };
                    self.mean[i] = high + side * scale * two_sided(margin);
                }
                continue;
            }
            let between = 1.0 - (below + above);
            let (low_share, high_share) = (below.max(margin / 2.0), above.max(margin / 2.0));
            let excess = (1.0 - low_share - high_share - between)
                / (low_share + between + high_share - 1.5 * margin);
            let corrected =
                |share: f64| (share + excess * (share - margin / 2.0)).clamp(1e-10, 0.5 - 1e-10);
            let (to_low, to_high) = (
                two_sided(corrected(low_share)),
                two_sided(corrected(high_share)),
            );
            self.spread[i] = (high - low) / ((to_low + to_high) * deviation);
            self.mean[i] = (low * to_high + high * to_low) / (to_low + to_high);
        }
    }

    /// The standard deviation along a dimension, before it is spread.
    fn deviation(&self, dimension: usize) -> f64 {
        self.sigma * self.covariance[(dimension, dimension)].sqrt()
    }

    /// Nothing more is to be expected of it: it is so narrow in all continuous dimensions that its draws are all
    /// the same to `tolerance`, or so long and thin that its numbers cannot be trusted (a condition of 10¹⁴, as in
    /// section B.3 of the tutorial).
    pub(super) fn is_spent(&self, tolerance: f64) -> bool {
        let condition = (self.lengths.max() / self.lengths.min()).powi(2);
        let mut continuous = (0..self.mean.len()).filter(|i| self.grids[*i].is_empty());
        let narrow = |i: usize| self.deviation(i) < tolerance;
        let is_narrow = continuous.clone().next().is_some() && continuous.all(narrow);
        is_narrow
            || condition.is_nan()
            || condition > 1e14
            || !self.sigma.is_finite()
            || self.sigma < 1e-200
    }
}

/// The number of standard deviations with this probability beyond it on one side: √χ²_ppf(1 − 2p).
fn two_sided(p: f64) -> f64 {
    -normal::quantile(p)
}

/// A step that is not longer than draws are (Hansen, "Injecting external solutions into CMA-ES", 2011; arXiv
/// 1110.4181, equations 3 and 4).
fn pulled_in(step: DVector<f64>, whitening: &DMatrix<f64>) -> DVector<f64> {
    let n = step.len() as f64;
    let most = n.sqrt() + 2.0 * n / (n + 2.0);
    let length = (whitening * &step).norm();
    match length > most {
        true => step * (most / length),
        false => step,
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    /// One run of the reference, see `reference.py`.
    #[derive(Deserialize)]
    struct Run {
        cells: Vec<usize>,
        population: usize,
        mean: Vec<f64>,
        sigma: f64,
        generations: Vec<Generation>,
    }

    /// What was told, best first, and what the reference was then.
    #[derive(Deserialize)]
    struct Generation {
        told: Vec<Vec<f64>>,
        mean: Vec<f64>,
        sigma: f64,
        covariance: Vec<Vec<f64>>,
        spread: Vec<f64>,
    }

    fn even(cells: usize) -> Vec<f64> {
        (1..cells).map(|i| i as f64 / cells as f64).collect()
    }

    #[test]
    fn mean_step_size_and_covariance_are_those_of_the_package_cmaes() {
        let text = include_str!("reference.json");
        let reference: serde_json::Value = serde_json::from_str(text).unwrap();
        let runs: Vec<Run> = serde_json::from_value(reference["gaussian"].clone()).unwrap();
        assert!(runs.len() >= 4);
        for run in runs {
            let grids = run.cells.iter().map(|n| even(*n)).collect();
            let (mean, sigma) = (run.mean.clone(), run.sigma);
            let mut ours = Gaussian::new(Arc::new(grids), run.population, mean, sigma);
            for (number, generation) in run.generations.iter().enumerate() {
                // The reference is told places before they are spread.
                let spread = |place: &Vec<f64>| -> Vec<f64> {
                    let of =
                        |(i, x): (usize, &f64)| ours.mean[i] + (x - ours.mean[i]) * ours.spread[i];
                    place.iter().enumerate().map(of).collect()
                };
                let told: Vec<Vec<f64>> = generation.told.iter().map(spread).collect();
                let of = |at| Place {
                    at,
                    is_current: true,
                };
                let told: Vec<Place<'_>> = told.iter().map(|at| of(at.as_slice())).collect();
                ours.update(&told);
                let close = |a: f64, b: f64| (a - b).abs() <= 1e-7 * b.abs().max(1e-3);
                assert!(
                    close(ours.sigma, generation.sigma),
                    "{number}: {} {}",
                    ours.sigma,
                    generation.sigma
                );
                for i in 0..run.cells.len() {
                    assert!(
                        close(ours.mean[i], generation.mean[i]),
                        "{number}: mean {i}: {} {}",
                        ours.mean[i],
                        generation.mean[i]
                    );
                    assert!(
                        close(ours.spread[i], generation.spread[i]),
                        "{number}: spread {i}"
                    );
                    for j in 0..run.cells.len() {
                        let (a, b) = (ours.covariance[(i, j)], generation.covariance[i][j]);
                        assert!(close(a, b), "{number}: covariance {i} {j}: {a} {b}");
                    }
                }
            }
        }
    }
}
