//! From losses to what a Gaussian process can fit: values of mean 0 and variance 1, smaller is better.
//!
//! Losses keep their proportions, in units of how far the better half lies from the median. What is worse than the median
//! by more than three of these counts by its logarithm, and by no more than ten. So neither a loss of 10³⁰ nor a plateau of bad ones hides
//! the differences that matter, and yet bad losses still say from which side the good ones are to be come by. (With several objectives
//! three is the most: fronts of two were found better so.)
//!
//! Of infeasible trials nothing is known but that they are worse than all: where there are any, the worse half is ranked
//! together with them and keeps only its order, and the good end is stretched (the half-rank and log warpings of Google
//! Vizier: Song et al., "The Vizier Gaussian process bandit algorithm", 2024; arXiv 2408.11527). Where most trials were stopped
//! early, the order is all there is of any. docs/search.md has what one way alone did.

use super::normal;
use super::observations::{Observations, Outcome};

/// So many spreads of the better half beyond the median distances begin to count by their logarithm, ...
const FAR: f64 = 3.0;
/// ... and this is the most they count, and with several objectives.
const WORST: f64 = 10.0;
const WORST_OF_SEVERAL: f64 = FAR;
/// How much the good end is stretched where there is an order alone.
const STRETCH: f64 = 1.5;

/// For each that told something its value in an objective (by its index); all infeasible ones have the same, not
/// better than any.
pub(crate) fn targets(observations: &Observations, objective: usize) -> Vec<f64> {
    if !observations.losses().is_empty() {
        return of_several(observations.losses(), objective);
    }
    let (told, ranking) = (observations.told(), observations.ranking());
    let loss = |i: &usize| match told[*i].outcome {
        Outcome::Complete { loss } => Some(loss),
        _ => None,
    };
    let losses: Vec<Option<f64>> = ranking.iter().map(loss).collect();
    let has_losses = has_losses(observations);
    let values = warp(&losses, observations.infeasible(), has_losses, WORST);
    let mut of_told = vec![0.0; told.len()];
    for (i, value) in observations.order().iter().zip(values) {
        of_told[*i] = value;
    }
    of_told
}

/// Whether most trials came to their ends, so that losses say more than an order.
pub(crate) fn has_losses(observations: &Observations) -> bool {
    let (told, ranking) = (observations.told(), observations.ranking());
    let is_complete = |i: &&usize| matches!(told[**i].outcome, Outcome::Complete { .. });
    2 * ranking.iter().filter(is_complete).count() > ranking.len()
}

/// The same with several objectives: each is looked at by itself.
fn of_several(losses: &[Vec<f64>], objective: usize) -> Vec<f64> {
    let (mut order, infeasible): (Vec<usize>, Vec<usize>) =
        (0..losses.len()).partition(|i| !losses[*i].is_empty());
    order.sort_by(|a, b| losses[*a][objective].total_cmp(&losses[*b][objective]));
    let sorted: Vec<Option<f64>> = order.iter().map(|i| Some(losses[*i][objective])).collect();
    let values = warp(&sorted, infeasible.len(), true, WORST_OF_SEVERAL);
    let mut of_told = vec![0.0; losses.len()];
    for (i, value) in order.into_iter().chain(infeasible).zip(values) {
        of_told[i] = value;
    }
    of_told
}

/// The values of losses in order from the best, then of the infeasible ones. `None` is a loss that does
/// not compare with the others: its trial was stopped early, and stands where it stood then. `has_losses`: as [`has_losses()`] says.
/// `worst`: the most that a distance counts.
fn warp(losses: &[Option<f64>], infeasible: usize, has_losses: bool, worst: f64) -> Vec<f64> {
    let by_rank = || by_rank(losses, infeasible);
    let values = match median(losses).filter(|_| has_losses) {
        Some(median) if infeasible == 0 => median.distances().map(|d| dampened(d, worst)).collect(),
        Some(median) => stretched(median.halves(&by_rank())),
        None => stretched(by_rank()),
    };
    standardized(values)
}

/// Quantiles of the normal distribution by rank; equal losses have equal ones.
fn by_rank(losses: &[Option<f64>], infeasible: usize) -> Vec<f64> {
    let total = losses.len() + infeasible;
    let mut values = Vec::with_capacity(total);
    while values.len() < total {
        let first = values.len();
        let is_equal = |i: &usize| match (losses.get(first), losses.get(*i)) {
            (Some(Some(a)), Some(Some(b))) => a == b,
            (None, None) => true,
            _ => *i == first,
        };
        let last = (first..total).take_while(is_equal).last().unwrap_or(first);
        let middle = 0.5 * (first + last) as f64;
        let quantile = normal::quantile((middle + 0.625) / (total as f64 + 0.25));
        values.resize(last + 1, quantile);
    }
    values
}

/// Where losses have their middle, and how far the better half spreads from it.
struct Median {
    /// The losses in order; where one does not compare, the next better one that does.
    losses: Vec<f64>,
    index: usize,
    spread: f64,
}

/// `None` where the better half has no spread.
fn median(losses: &[Option<f64>]) -> Option<Median> {
    let mut last = losses.iter().flatten().next().copied()?;
    let mut filled = Vec::with_capacity(losses.len());
    for loss in losses {
        last = loss.unwrap_or(last);
        filled.push(last);
    }
    let index = (filled.len() - 1) / 2;
    let median = filled[index];
    let better = filled.iter().take_while(|loss| **loss < median);
    let count = better.clone().count().max(1) as f64;
    let squares: f64 = better.map(|l| (l - median) * (l - median)).sum();
    let spread = (squares / count).sqrt();
    (spread > 0.0 && spread.is_finite()).then_some(Median {
        losses: filled,
        index,
        spread,
    })
}

impl Median {
    /// Distances from the median, in units of the spread.
    fn distances(&self) -> impl Iterator<Item = f64> + '_ {
        let distance = |loss: &f64| (loss - self.losses[self.index]) / self.spread;
        self.losses.iter().map(distance)
    }

    /// The better half by distance, the others by rank.
    fn halves(&self, by_rank: &[f64]) -> Vec<f64> {
        let mut values: Vec<f64> = self.distances().take_while(|d| *d < 0.0).collect();
        let far = by_rank[values.len()..].iter();
        values.extend(far.map(|value| (value - by_rank[self.index]).max(0.0)));
        values
    }
}

/// A distance itself, and beyond [`FAR`] what goes on from there like a logarithm, at first as steeply, up to `worst`.
fn dampened(distance: f64, worst: f64) -> f64 {
    if distance <= FAR {
        return distance;
    }
    (FAR * (1.0 + (distance / FAR).ln())).min(worst)
}

/// Rising values, with the differences at the low end made larger and those at the high end smaller: the log warping of Google Vizier
/// (arXiv 2408.11527), of which [`STRETCH`] is `s`.
fn stretched(values: Vec<f64>) -> Vec<f64> {
    let (Some(low), Some(high)) = (values.first().copied(), values.last().copied()) else {
        return values;
    };
    let width = (high - low).max(1e-12);
    let stretch = |v: f64| ((STRETCH - 1.0) * (v - low) / width).ln_1p();
    values.into_iter().map(stretch).collect()
}

fn standardized(values: Vec<f64>) -> Vec<f64> {
    let count = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / count;
    let deviation = variance.sqrt().max(1e-9);
    values.into_iter().map(|v| (v - mean) / deviation).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    fn warp(losses: &[Option<f64>], infeasible: usize) -> Vec<f64> {
        let known = losses.iter().flatten().count();
        super::warp(losses, infeasible, 2 * known > losses.len(), super::WORST)
    }

    fn some(losses: &[f64]) -> Vec<Option<f64>> {
        losses.iter().copied().map(Some).collect()
    }

    #[test]
    fn losses_keep_their_proportions_and_the_worst_count_by_their_logarithm() {
        let values = warp(&some(&[0.0, 3.0, 4.0, 5.0, 1e30]), 0);
        assert!(values.is_sorted());
        let ratio = (values[1] - values[0]) / (values[2] - values[1]);
        assert!((ratio - 3.0).abs() < 1e-9, "{ratio}");
        assert_eq!(values, warp(&some(&[0.0, 3.0, 4.0, 5.0, 1e3]), 0));
        let [near, far, farther] =
            [3.0, 3.0 * std::f64::consts::E, 1e30].map(|d| super::dampened(d, super::WORST));
        assert!((near - 3.0).abs() < 1e-12 && (far - 6.0).abs() < 1e-12);
        assert_eq!(farther, super::WORST);
        assert_eq!(super::dampened(5.0, super::WORST_OF_SEVERAL), 3.0);
    }

    #[test]
    fn beside_infeasible_ones_the_worse_half_keeps_its_order_only() {
        let values = warp(&some(&[0.0, 3.0, 4.0, 5.0, 1e30]), 1);
        assert!(values.is_sorted());
        assert!(values[1] - values[0] > 2.0 * (values[2] - values[1]));
        assert_eq!(values[4], warp(&some(&[0.0, 3.0, 4.0, 5.0, 6.0]), 1)[4]);
        assert!(values[5] > values[4], "infeasible is worse than all");
    }

    #[test]
    fn what_is_equal_has_equal_values() {
        let values = warp(&some(&[1.0, 2.0, 2.0, 9.0, 9.0, 9.0]), 2);
        assert_eq!(values[1], values[2]);
        assert_eq!(values[3], values[5]);
        assert_eq!(values[6], values[7]);
        assert_eq!(warp(&some(&[4.0, 4.0]), 0), [0.0, 0.0]);
        assert_eq!(warp(&[], 1), [0.0]);
        assert_eq!(warp(&[], 0), Vec::<f64>::new());
    }

    #[test]
    fn without_enough_complete_trials_ranks_are_all() {
        let losses = [Some(1.0), None, None, None];
        assert_eq!(warp(&losses, 0), warp(&[None, None, None, None], 0));
    }

    proptest! {
        #[test]
        fn values_are_finite_rising_and_standard(
            mut losses in prop::collection::vec(prop_oneof![-10.0..10.0_f64, any::<f64>()], 1..40),
            infeasible in 0_usize..5,
        ) {
            losses.retain(|loss| loss.is_finite());
            losses.sort_by(f64::total_cmp);
            let values = warp(&some(&losses), infeasible);
            prop_assert_eq!(values.len(), losses.len() + infeasible);
            prop_assert!(values.is_sorted(), "{:?}", values);
            prop_assert!(values.iter().all(|v| v.abs() < 20.0), "{:?}", values);
            let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
            prop_assert!(mean.abs() < 1e-6);
        }
    }
}
