//! Drawing from a distribution of which the density is known up to a factor: Hamiltonian Monte Carlo (Neal, "MCMC using
//! Hamiltonian dynamics", Handbook of Markov Chain Monte Carlo, 2011; arXiv 1206.1901), with leapfrog steps and a unit mass.

use rand::Rng as _;
use rand_distr::StandardNormal;

use super::minimize::Function;
use crate::Rng;

/// Leapfrog steps of a move.
const LEAPS: usize = 6;
/// Their length in units of the variables, and by how much it varies from move to move, so that none of them goes round in circles.
const LENGTH: f64 = 0.3;
const VARIATION: std::ops::Range<f64> = 0.6..1.4;

/// The next place of a chain after `at`. `loss` is the negative logarithm of the density, with its gradient; a move to where
/// either is no number is not made.
pub(crate) fn advance(loss: Function<'_>, at: Vec<f64>, rng: &mut Rng) -> Vec<f64> {
    let length = LENGTH * rng.random_range(VARIATION);
    let mut momentum: Vec<f64> = at.iter().map(|_| rng.sample(StandardNormal)).collect();
    let (mut value, mut gradient) = loss(&at);
    let before = value + kinetic(&momentum);
    let mut place = at.clone();
    for _ in 0..LEAPS {
        push(&mut momentum, &gradient, -0.5 * length);
        push(&mut place, &momentum, length);
        (value, gradient) = loss(&place);
        push(&mut momentum, &gradient, -0.5 * length);
    }
    let after = value + kinetic(&momentum);
    // Where a number is none, this is false.
    let is_taken = rng.random::<f64>() < (before - after).exp();
    if is_taken { place } else { at }
}

fn push(place: &mut [f64], direction: &[f64], length: f64) {
    for (x, d) in place.iter_mut().zip(direction) {
        *x += length * d;
    }
}

fn kinetic(momentum: &[f64]) -> f64 {
    0.5 * momentum.iter().map(|m| m * m).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream;

    /// A normal distribution about (1, -2), with deviations of 1 and 1/2 and a correlation of 0.6.
    fn normal(x: &[f64]) -> (f64, Vec<f64>) {
        let (a, b) = (x[0] - 1.0, 2.0 * (x[1] + 2.0));
        let (p, q) = (1.0 / 0.64, 0.6 / 0.64);
        let loss = 0.5 * p * (a * a + b * b) - q * a * b;
        (loss, vec![p * a - q * b, 2.0 * (p * b - q * a)])
    }

    #[test]
    fn means_deviations_and_correlation_are_those_of_the_distribution() {
        let mut rng = stream(5);
        let mut at = vec![0.0, 0.0];
        let count = 20_000;
        let mut draws = Vec::with_capacity(count);
        for _ in 0..count {
            at = advance(&normal, at, &mut rng);
            draws.push(at.clone());
        }
        let mean =
            |of: &dyn Fn(&[f64]) -> f64| draws.iter().map(|x| of(x)).sum::<f64>() / count as f64;
        let near = |of: &dyn Fn(&[f64]) -> f64, expected: f64| {
            assert!(
                (mean(of) - expected).abs() < 0.05,
                "{} is not {expected}",
                mean(of)
            );
        };
        near(&|x| x[0], 1.0);
        near(&|x| x[1], -2.0);
        near(&|x| (x[0] - 1.0).powi(2), 1.0);
        near(&|x| (x[1] + 2.0).powi(2), 0.25);
        near(&|x| (x[0] - 1.0) * (x[1] + 2.0), 0.3);
    }

    #[test]
    fn it_stays_where_there_is_no_number_elsewhere() {
        let loss = |x: &[f64]| match x[0] == 3.0 {
            true => (0.0, vec![0.0]),
            false => (f64::INFINITY, vec![f64::NAN]),
        };
        assert_eq!(advance(&loss, vec![3.0], &mut stream(1)), [3.0]);
    }
}
