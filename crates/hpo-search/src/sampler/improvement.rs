//! Expected hypervolume improvement: by how much a trial is expected to push the front of several objectives out.
//!
//! The space that the front leaves open, up to a reference point, is cut into boxes. A trial with losses Y adds to the
//! volume, in each box from l to u, Π_j (u_j − max(Y_j, l_j))⁺. With independent beliefs about the objectives
//! its expectation is exact:
//!
//! > Σ_boxes Π_j (I_j(u_j) − I_j(l_j)),   I_j(t) = E[(t − Y_j)⁺]
//!
//! Yang, Emmerich, Deutz & Bäck, "Efficient computation of expected hypervolume improvement using box decomposition
//! algorithms", Journal of Global Optimization 75, 2019. I_j is the expected improvement of one objective.

use super::normal;
use hpo_study::front;

/// Most boxes; of a front that needs more, those of its points count that cover most volume.
const MOST_BOXES: usize = 600;

/// What the front leaves open.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Open {
    /// For each objective the coordinates of the boxes' sides, rising; first -∞, last the reference point's.
    sides: Vec<Vec<f64>>,
    /// For each box and objective the indices of its lower and upper sides.
    boxes: Vec<Vec<(usize, usize)>>,
}

impl Open {
    /// What these losses leave open below the reference point.
    pub(crate) fn beyond(losses: &[Vec<f64>], reference: &[f64]) -> Self {
        let inside = |l: &&Vec<f64>| l.iter().zip(reference).all(|(x, r)| x < r);
        let inside: Vec<Vec<f64>> = losses.iter().filter(inside).cloned().collect();
        let ranks = front::ranks(&inside);
        let mut points: Vec<Vec<f64>> = (0..inside.len())
            .filter(|i| ranks[*i] == 0)
            .map(|i| inside[i].clone())
            .collect();
        let most = most_points(reference.len());
        if points.len() > most {
            let chosen = front::widest(&points, reference, most);
            points = chosen.into_iter().map(|i| points[i].clone()).collect();
        }
        loop {
            // One point alone has as many boxes as there are objectives.
            if let Some(open) = Self::around(&points, reference) {
                return open;
            }
            points.truncate(points.len() * 3 / 4);
        }
    }

    /// What the points of a front leave open below the reference point; `None` when that takes too many boxes.
    fn around(points: &[Vec<f64>], reference: &[f64]) -> Option<Self> {
        let sides: Vec<Vec<f64>> = reference
            .iter()
            .enumerate()
            .map(|(j, r)| {
                let mut sides: Vec<f64> = points.iter().map(|p| p[j]).collect();
                sides.extend([f64::NEG_INFINITY, *r]);
                sides.sort_by(f64::total_cmp);
                sides.dedup();
                sides
            })
            .collect();
        let place = |p: &Vec<f64>| -> Vec<usize> {
            let pairs = p.iter().zip(&sides);
            pairs
                .map(|(x, s)| s.partition_point(|side| side < x))
                .collect()
        };
        let places: Vec<Vec<usize>> = points.iter().map(place).collect();
        let places: Vec<&[usize]> = places.iter().map(Vec::as_slice).collect();
        let lasts: Vec<usize> = sides.iter().map(|s| s.len() - 1).collect();
        let boxes = cut(&places, &lasts, &mut { MOST_BOXES })?;
        Some(Self { sides, boxes })
    }

    /// The logarithm of the expected improvement for beliefs `(mean, deviation)` about each objective.
    pub(crate) fn log_improvement(&self, beliefs: &[(f64, f64)]) -> f64 {
        let improvements: Vec<Vec<f64>> = self
            .sides
            .iter()
            .zip(beliefs)
            .map(|(sides, (mean, deviation))| {
                let at = |side: &f64| match side.is_finite() {
                    true => normal::log_improvement((side - mean) / deviation).exp() * deviation,
                    false => 0.0,
                };
                sides.iter().map(at).collect()
            })
            .collect();
        let volume = |sides: &Vec<(usize, usize)>| -> f64 {
            let pairs = sides.iter().zip(&improvements);
            pairs
                .map(|((low, high), i)| (i[*high] - i[*low]).max(0.0))
                .product()
        };
        let sum: f64 = self.boxes.iter().map(volume).sum();
        sum.max(f64::MIN_POSITIVE).ln()
    }
}

/// How many points can be cut around with about [`MOST_BOXES`] boxes.
fn most_points(objectives: usize) -> usize {
    let dimensions = objectives.saturating_sub(1).max(1) as f64;
    // n points need about n^(m-1) / (m-1)! boxes.
    let factorial: f64 = (1..=dimensions as u64).map(|k| k as f64).product();
    ((MOST_BOXES as f64 * factorial).powf(1.0 / dimensions) as usize).max(2)
}

/// The boxes of what points leave open; points and boxes by indices of sides, of which the last is the reference
/// point's. In slices along the last objective, each cut in the same way. `None` when there would be more of them than
/// `left`, from which they are taken: their number grows exponentially with that of the objectives.
fn cut(points: &[&[usize]], lasts: &[usize], left: &mut usize) -> Option<Vec<Vec<(usize, usize)>>> {
    let Some((last, rest)) = lasts.split_last() else {
        return Some(Vec::new());
    };
    let own = |p: &&[usize]| p[rest.len()];
    if rest.is_empty() {
        let high = points.iter().map(own).min().unwrap_or(*last);
        if high == 0 {
            return Some(Vec::new());
        }
        *left = left.checked_sub(1)?;
        return Some(vec![vec![(0, high)]]);
    }
    let mut levels: Vec<usize> = points.iter().map(own).chain([0, *last]).collect();
    levels.sort_unstable();
    levels.dedup();
    let mut boxes = Vec::new();
    for pair in levels.windows(2) {
        let (low, high) = (pair[0], pair[1]);
        // Whoever lies at or below the slice dominates in it whatever it dominates in the others.
        let below: Vec<&[usize]> = points.iter().copied().filter(|p| own(p) <= low).collect();
        for mut sides in cut(&below, rest, left)? {
            sides.push((low, high));
            boxes.push(sides);
        }
    }
    Some(boxes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream;
    use rand::Rng as _;
    use rand_distr::StandardNormal;

    #[test]
    fn boxes_and_the_dominated_volume_fill_the_space() {
        let mut rng = stream(1);
        for objectives in [1, 2, 3, 4] {
            let points: Vec<Vec<f64>> = (0..8)
                .map(|_| (0..objectives).map(|_| rng.random::<f64>()).collect())
                .collect();
            let reference = vec![1.1; objectives];
            let open = Open::beyond(&points, &reference);
            // Cut off at 0 from below, where the space is endless.
            let side = |j: usize, k: usize| open.sides[j][k].max(0.0);
            let volume = |sides: &Vec<(usize, usize)>| -> f64 {
                let pairs = sides.iter().enumerate();
                pairs
                    .map(|(j, (low, high))| side(j, *high) - side(j, *low))
                    .product()
            };
            let free: f64 = open.boxes.iter().map(volume).sum();
            let taken = front::hypervolume(&points, &reference);
            let all = 1.1_f64.powi(objectives as i32);
            assert!(
                (free + taken - all).abs() < 1e-9,
                "{objectives}: {free} + {taken}"
            );
        }
    }

    #[test]
    fn the_expectation_is_that_of_many_draws() {
        let mut rng = stream(2);
        for objectives in [2, 3] {
            let mut points = vec![
                vec![0.2, 0.7, 0.4],
                vec![0.5, 0.3, 0.6],
                vec![0.8, 0.1, 0.2],
            ];
            points.iter_mut().for_each(|p| p.truncate(objectives));
            let reference = vec![1.0; objectives];
            let beliefs = [(0.4, 0.2), (0.35, 0.3), (0.5, 0.25)];
            let before = front::hypervolume(&points, &reference);
            let draws = 40_000;
            let mut sum = 0.0;
            for _ in 0..draws {
                let draw = |(mean, deviation): &(f64, f64)| {
                    mean + deviation * rng.sample::<f64, _>(StandardNormal)
                };
                let mut with = points.clone();
                with.push(beliefs[..objectives].iter().map(draw).collect());
                sum += front::hypervolume(&with, &reference) - before;
            }
            let open = Open::beyond(&points, &reference);
            let exact = open.log_improvement(&beliefs[..objectives]).exp();
            let drawn = sum / f64::from(draws);
            assert!((exact / drawn - 1.0).abs() < 0.02, "{exact} is not {drawn}");
        }
    }

    #[test]
    fn a_large_front_is_cut_around_in_a_bounded_number_of_boxes() {
        let mut rng = stream(3);
        for objectives in [2, 3, 4, 6, 16] {
            let sphere = |_| {
                let p: Vec<f64> = (0..objectives)
                    .map(|_| rng.random::<f64>() + 0.01)
                    .collect();
                let length = p.iter().map(|x| x * x).sum::<f64>().sqrt();
                p.iter().map(|x| 1.0 - x / length).collect()
            };
            let points: Vec<Vec<f64>> = (0..800).map(sphere).collect();
            let open = Open::beyond(&points, &vec![1.1; objectives]);
            assert!(open.boxes.len() <= MOST_BOXES, "{}", open.boxes.len());
            assert!(
                open.log_improvement(&vec![(2.0, 1e-3); objectives])
                    .is_finite()
            );
        }
    }
}
