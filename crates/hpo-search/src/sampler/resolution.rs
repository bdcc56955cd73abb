//! How near two configurations may lie and still be worth two trials.
//!
//! A search that goes down to the last digit of a learning rate spends its trials on what nobody could
//! tell from the noise of a seed. So a sampler that looks for the best place leaves out a configuration
//! that differs from a tried one in nothing but numbers, and in those by little. What is little:
//!
//! - three hundredths of the range, and less the more trials share all else: they divide a box of that many
//!   dimensions among themselves, and a study over one number alone may go as deep as it likes;
//! - what has proved to change nothing. Two trials that differ in one number and whose losses are the
//!   same to the last digit show that the training does not see that difference (the program rounds the
//!   number, or does not use it in this branch); half of the widest such distance is taken for its step.
//!
//! On the ten development problems that led to it, a third of the trials of a Gaussian process had been
//! repetitions of this kind on tables of learning-rate grids.

use super::encoding::{Encoding, Kind, Point};

/// Share of a range below which numbers count as the same.
const FINEST: f64 = 0.03;
/// With n trials in a box of d dimensions the share is at most this times n^(-1/d).
const CROWDED: f64 = 0.25;
/// Of the widest distance over which nothing changed.
const STEP: f64 = 0.5;

/// What has been learned of each parameter, in shares of its range.
#[derive(Debug, Clone, Default)]
pub(crate) struct Resolution {
    steps: Vec<f64>,
}

impl Resolution {
    /// For a space of so many parameters.
    pub(crate) fn new(parameters: usize) -> Self {
        Self {
            steps: vec![0.0; parameters],
        }
    }

    /// Learns from two complete trials that had the same loss, to the last digit.
    pub(crate) fn same_loss(&mut self, encoding: &Encoding, a: &Point, b: &Point) {
        let mut different = (0..a.len()).filter(|i| a[*i] != b[*i]);
        let (Some(only), None) = (different.next(), different.next()) else {
            return;
        };
        if let (Some(distance), Some(step)) =
            (distance(encoding, only, a, b), self.steps.get_mut(only))
        {
            *step = step.max(STEP * distance);
        }
    }

    /// Whether one of the tried points is so near to this one that it need not be tried too.
    pub(crate) fn is_tried<'p>(
        &self,
        encoding: &Encoding,
        tried: impl IntoIterator<Item = &'p Point>,
        point: &Point,
    ) -> bool {
        let alike: Vec<&Point> = tried
            .into_iter()
            .filter(|other| is_alike(encoding, point, other))
            .collect();
        if alike.is_empty() {
            return false;
        }
        let numbers: Vec<usize> = (0..point.len())
            .filter(|i| is_continuous(encoding, *i, point))
            .collect();
        let crowded = CROWDED * (alike.len() as f64).powf(-1.0 / numbers.len().max(1) as f64);
        let finest = FINEST.min(crowded);
        alike.iter().any(|other| {
            numbers.iter().all(|i| {
                distance(encoding, *i, point, other)
                    .is_some_and(|distance| distance <= finest.max(self.steps[*i]))
            })
        })
    }
}

/// Whether the parameter is a number with more than a few values there.
fn is_continuous(encoding: &Encoding, parameter: usize, point: &Point) -> bool {
    point[parameter].is_some_and(|cell| {
        matches!(
            encoding.branches(parameter)[usize::from(cell.branch)],
            Kind::Number { cells: None }
        )
    })
}

/// Whether two points differ in nothing but continuous numbers.
fn is_alike(encoding: &Encoding, a: &Point, b: &Point) -> bool {
    (0..a.len()).all(|i| {
        a[i] == b[i]
            || is_continuous(encoding, i, a)
                && b[i].map(|cell| cell.branch) == a[i].map(|cell| cell.branch)
    })
}

/// How far two values of a parameter lie apart, if it is a continuous number of the same branch in both.
fn distance(encoding: &Encoding, parameter: usize, a: &Point, b: &Point) -> Option<f64> {
    let (x, y) = (a[parameter]?, b[parameter]?);
    let same = x.branch == y.branch && is_continuous(encoding, parameter, a);
    same.then(|| (x.place - y.place).abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampler::encoding::Cell;
    use crate::simulate::{always, categorical, float, space};

    fn point(kind: f64, x: f64, y: f64) -> Point {
        let cell = |place| Some(Cell { branch: 0, place });
        vec![cell(kind), cell(x), cell(y)]
    }

    fn encoding() -> Encoding {
        Encoding::new(&space([
            always("kind", categorical(["a", "b"])),
            always("x", float(0.0, 1.0)),
            always("y", float(0.0, 1.0)),
        ]))
    }

    #[test]
    fn what_differs_in_little_is_tried() {
        let (encoding, resolution) = (encoding(), Resolution::new(3));
        let tried = [point(0.0, 0.5, 0.5)];
        let is_tried = |p: Point| resolution.is_tried(&encoding, &tried, &p);
        assert!(is_tried(point(0.0, 0.5, 0.5)));
        assert!(is_tried(point(0.0, 0.51, 0.48)));
        assert!(!is_tried(point(0.0, 0.54, 0.5)));
        assert!(!is_tried(point(1.0, 0.5, 0.5)), "another choice");
    }

    #[test]
    fn a_crowd_makes_the_difference_smaller() {
        let encoding = Encoding::new(&space([always("x", float(0.0, 1.0))]));
        let at = |place| vec![Some(Cell { branch: 0, place })];
        let tried: Vec<Point> = (0..50).map(|i| at(f64::from(i) / 50.0)).collect();
        let resolution = Resolution::new(1);
        assert!(!resolution.is_tried(&encoding, &tried, &at(0.51)));
        assert!(resolution.is_tried(&encoding, &tried, &at(0.504)));
    }

    #[test]
    fn a_number_that_changes_nothing_is_not_varied_finely() {
        let (encoding, mut resolution) = (encoding(), Resolution::new(3));
        resolution.same_loss(&encoding, &point(0.0, 0.1, 0.5), &point(0.0, 0.3, 0.5));
        resolution.same_loss(&encoding, &point(0.0, 0.1, 0.1), &point(0.0, 0.3, 0.9)); // two differ
        resolution.same_loss(&encoding, &point(0.0, 0.1, 0.1), &point(1.0, 0.1, 0.1)); // a choice
        let tried = [point(0.0, 0.5, 0.5)];
        let is_tried = |p: Point| resolution.is_tried(&encoding, &tried, &p);
        assert!(is_tried(point(0.0, 0.59, 0.5)));
        assert!(!is_tried(point(0.0, 0.61, 0.5)));
        assert!(!is_tried(point(0.0, 0.5, 0.59)));
    }
}
