//! Volumes by counting which of many random places are covered, where exact ones would take too long. The places are the
//! same at every call, so what is chosen by them is too.
//!
//! Places are drawn in the box that a point covers by itself, not in the whole space, of which a point among many
//! objectives covers next to nothing: the error is a share of that box, however small it is (Bringmann & Friedrich,
//! "Approximating the volume of unions and intersections of high-dimensional geometric objects", Computational Geometry
//! 43(6–7), 2010; Bader & Zitzler, "HypE: an algorithm for fast hypervolume-based many-objective optimization", Evolutionary
//! Computation 19(1), 2011).

use crate::seed::mix;

use super::volume::inclusive;

/// About how many places are looked at in all, …
const LOOKS: usize = 1 << 23;
/// … and how many there are of each point: no more than are needed to tell one in a hundred, …
const MOST: usize = 2048;
/// … and no fewer than say anything.
const FEWEST: usize = 32;

/// The places in a box, as shares of its sides.
pub(super) struct Places {
    shares: Vec<f64>,
    count: u32,
}

impl Places {
    /// For so many points, each of which is compared to so many others.
    pub(super) fn new(points: usize, others: usize, objectives: usize) -> Self {
        let pairs = points.saturating_mul(others).max(1);
        let count = (LOOKS / pairs).clamp(FEWEST, MOST);
        let shares = (0..(count * objectives) as u64).map(share).collect();
        let count = count as u32;
        Self { shares, count }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = u32> + use<> {
        0..self.count
    }

    /// What share of all so many are.
    pub(super) fn share(&self, count: usize) -> f64 {
        count as f64 / f64::from(self.count)
    }

    /// Whether a place in the box of one point is in that of another too.
    pub(super) fn covers(&self, other: &[f64], place: u32, one: &[f64], reference: &[f64]) -> bool {
        let from = place as usize * reference.len();
        let shares = &self.shares[from..from + reference.len()];
        let sides = one.iter().zip(reference).zip(shares);
        let mut at = sides.map(|((low, high), share)| low + share * (high - low));
        other.iter().all(|x| at.next().is_some_and(|at| *x <= at))
    }
}

/// The `n`-th of numbers that are evenly spread from 0 to 1.
fn share(n: u64) -> f64 {
    (mix(n) >> 11) as f64 / (1_u64 << 53) as f64
}

/// What each adds to the volume of the others, to about one in a hundred of what it covers by itself.
pub(super) fn contributions(points: &[&[f64]], reference: &[f64]) -> Vec<f64> {
    let places = Places::new(points.len(), points.len(), reference.len());
    let own = |i: usize| {
        let one = points[i];
        let others = || points.iter().enumerate().filter(|(j, _)| *j != i);
        let is_free = |k: &u32| !others().any(|(_, o)| places.covers(o, *k, one, reference));
        inclusive(one, reference) * places.share(places.all().filter(is_free).count())
    };
    (0..points.len()).map(own).collect()
}

/// What all cover. Boxes are drawn by their volume, in each a place; one that is covered by n boxes could have been drawn
/// from each of them (Karp & Luby, "Monte-Carlo algorithms for enumeration and reliability problems", FOCS 1983).
pub(super) fn of_all(points: &[&[f64]], reference: &[f64]) -> f64 {
    let Some(last) = points.last() else {
        return 0.0;
    };
    let places = Places::new(1, points.len(), reference.len());
    let mut sum = 0.0;
    let until = points.iter().map(|one| {
        sum += inclusive(one, reference);
        sum
    });
    let until: Vec<f64> = until.collect();
    let further = places.shares.len() as u64;
    let own = |place: u32| {
        let draw = sum * share(further + u64::from(place));
        let which = until.partition_point(|end| *end <= draw);
        let one = points.get(which).unwrap_or(last);
        let covers = |other: &&&[f64]| places.covers(other, place, one, reference);
        // Itself at least, whatever rounding says.
        1.0 / points.iter().filter(covers).count().max(1) as f64
    };
    sum * places.all().map(own).sum::<f64>() / f64::from(places.count)
}
