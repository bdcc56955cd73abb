//! Mixtures of kernels over conditional spaces: the densities of the tree-structured Parzen estimator.
//!
//! All densities are relative to the prior (a uniform draw on each domain's scale), so a parameter about
//! which a kernel says nothing has the factor 1. Kernels of numbers are normal distributions cut
//! off at the ends of the unit interval, or their mass in the value's cell where there are few values;
//! those of choices put some weight on all.
//!
//! Bandwidths follow Scott's rule, from [`WIDEST`] down, with the smallest bandwidth Δ that arXiv 2304.11127
//! recommends. That paper's other heuristic, "magic clipping" (a floor that falls as trials come), is left out: with a
//! rule that narrows all kernels alike it has nothing to do.

use rand::Rng as _;
use rand_distr::StandardNormal;

use hpo_study::Space;

use super::columns::Columns;
use super::encoding::{Cell, Draft, Encoding, Kind, Point};
use super::factors::Factors;
use crate::Rng;

/// The widest bandwidth, that of a single trial, as a share of the interval.
const WIDEST: f64 = 0.12;
/// The smallest bandwidth (Δ in arXiv 2304.11127).
const SMALLEST: f64 = 0.03;
/// Draws from a kernel until one is in the interval.
const DRAWS: usize = 64;

/// A mixture with a kernel for each of some trials, and the prior.
pub(crate) struct Mixture<'a> {
    pub(super) encoding: &'a Encoding,
    pub(super) columns: Columns,
    /// The weights of the trials and, last, of the prior; they add up to 1.
    weights: Vec<f32>,
    /// For each parameter and branch, its bandwidth (numbers) or its chance to stay (choices).
    widths: Vec<Vec<f64>>,
}

impl<'a> Mixture<'a> {
    /// `weights` of the trials in `columns`; the prior has weight 1 beside them.
    pub(crate) fn new(encoding: &'a Encoding, columns: Columns, weights: Vec<f64>) -> Self {
        let total: f64 = weights.iter().sum::<f64>() + 1.0;
        let weights = weights.into_iter().chain([1.0]);
        let weights = weights.map(|w| (w / total) as f32).collect();
        let dimensions = columns.cells() as f64 / columns.len().max(1) as f64;
        let mut widths = Vec::with_capacity(encoding.len());
        for parameter in 0..encoding.len() {
            let mut of_branches = Vec::new();
            for (branch, kind) in encoding.branches(parameter).iter().enumerate() {
                let count = columns.of(parameter).count(branch);
                of_branches.push(match kind {
                    Kind::Fixed => 1.0,
                    Kind::Number { .. } => bandwidth(count, dimensions),
                    Kind::Choice { shares } => chance_to_stay(count, shares.len()),
                });
            }
            widths.push(of_branches);
        }
        Self {
            encoding,
            columns,
            weights,
            widths,
        }
    }

    /// The trial (its index) whose kernel holds the share `u` of the weight; `None`: the prior.
    fn component(&self, u: f64) -> Option<usize> {
        let mut sum = 0.0;
        let is_it = |w: &f32| {
            sum += f64::from(*w);
            u < sum
        };
        self.weights[..self.columns.len()].iter().position(is_it)
    }

    /// A configuration from the density, drawn down the tree. `trials` are those whose kernels these are, by
    /// their indices into `points`; `widening` times as wide as the kernels of numbers are.
    pub(crate) fn draw<'s>(
        &self,
        space: &'s Space,
        points: &[Point],
        trials: &[usize],
        widening: f64,
        rng: &mut Rng,
    ) -> Draft<'s> {
        let center = self.component(rng.random()).map(|i| &points[trials[i]]);
        self.encoding
            .draft(space, rng, |rng, parameter, branch, _| {
                let cell = center?[parameter].filter(|cell| cell.branch == branch)?;
                let kind = &self.encoding.branches(parameter)[usize::from(branch)];
                Some(match kind {
                    Kind::Fixed => return None,
                    Kind::Number { .. } => near(
                        cell,
                        widening * self.width(parameter, usize::from(branch)),
                        rng,
                    ),
                    Kind::Choice { shares } => {
                        if rng.random_bool(self.chance_to_stay(parameter, branch, shares.len())) {
                            cell.place
                        } else {
                            rng.random_range(0..shares.len()) as f64
                        }
                    }
                })
            })
    }

    /// The bandwidth of a number's kernels, or a choice's chance to stay.
    pub(super) fn width(&self, parameter: usize, branch: usize) -> f64 {
        self.widths[parameter][branch]
    }

    /// How likely a draw from a choice's kernel is the kernel's own choice without another draw among
    /// all `choices`.
    fn chance_to_stay(&self, parameter: usize, branch: u16, choices: usize) -> f64 {
        let stay = self.width(parameter, usize::from(branch));
        // stay = chance + (1 - chance) / choices
        let even = 1.0 / choices as f64;
        ((stay - even) / (1.0 - even)).clamp(0.0, 1.0)
    }

    /// The logarithms of the densities at some points.
    pub(crate) fn log_densities(&self, points: &[&Point]) -> Vec<f64> {
        let factors = Factors::new(self, points);
        let mut logs = vec![0.0; self.columns.len()];
        let of = |point: &&Point| {
            factors.write(point, &mut logs);
            self.log_sum(&mut logs)
        };
        points.iter().map(of).collect()
    }

    /// The logarithm of the weighted sum of the kernels, given their logarithms, which are lost.
    fn log_sum(&self, logs: &mut [f32]) -> f64 {
        let highest = highest(logs).max(0.0);
        let (prior, weights) = (self.weights[logs.len()], &self.weights[..logs.len()]);
        for (log, weight) in logs.iter_mut().zip(weights) {
            *log = weight * exp(*log - highest);
        }
        let sum = sum(logs) + f64::from(prior * exp(-highest));
        f64::from(highest) + sum.ln()
    }
}

/// A draw from the normal distribution around a cell's place, cut off at the ends of the interval.
fn near(cell: Cell, bandwidth: f64, rng: &mut Rng) -> f64 {
    for _ in 0..DRAWS {
        let place = cell.place + bandwidth * rng.sample::<f64, _>(StandardNormal);
        if (0.0..=1.0).contains(&place) {
            return place;
        }
    }
    cell.place
}

/// Scott's rule: `n^(-1/(d+4))`, with the width of a single trial and a floor.
fn bandwidth(count: usize, dimensions: f64) -> f64 {
    let narrowing = (count.max(1) as f64).powf(-1.0 / (dimensions + 4.0));
    (WIDEST * narrowing).max(SMALLEST)
}

/// How likely a choice's kernel gives the choice it is around: one count more than even, the others
/// sharing one count among `n + 1` trials.
fn chance_to_stay(count: usize, choices: usize) -> f64 {
    let each = 1.0 / (count as f64 + 1.0);
    (1.0 + each) / (1.0 + each * choices as f64)
}

/// Adding this number rounds one below a million to a whole one, which is in the low bits; taking it away again gives
/// the whole number itself.
pub(super) const ROUND: f32 = 12_582_912.0;
/// Numbers that are summed up or compared side by side, which the compiler turns into vector instructions: it may not
/// reorder them by itself.
const LANES: usize = 8;

/// The highest of some numbers.
fn highest(numbers: &[f32]) -> f32 {
    let higher = |a: f32, b: f32| if b > a { b } else { a };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = numbers.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, number) in lanes.iter_mut().zip(chunk) {
            *lane = higher(*lane, *number);
        }
    }
    let all = lanes.into_iter().chain(rest.iter().copied());
    all.fold(f32::NEG_INFINITY, higher)
}

fn sum(numbers: &[f32]) -> f64 {
    let mut lanes = [0.0_f32; LANES];
    let (chunks, rest) = numbers.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, number) in lanes.iter_mut().zip(chunk) {
            *lane += number;
        }
    }
    for (lane, number) in lanes.iter_mut().zip(rest) {
        *lane += number;
    }
    lanes.iter().map(|lane| f64::from(*lane)).sum()
}

/// The exponential function in single precision for x <= 0, within 10⁻⁵ of it where x >= -60, below that as at -60:
/// without branches and conversions, so that the compiler turns loops over it into vector instructions,
/// and not so small that a product with a weight is a subnormal number, with which processors are slow.
fn exp(x: f32) -> f32 {
    let halvings = x.max(-60.0) * std::f32::consts::LOG2_E;
    let rounded = halvings + ROUND;
    let rest = (halvings - (rounded - ROUND)) * std::f32::consts::LN_2;
    // Taylor's series, |rest| <= ln 2 / 2.
    let series = 1.0
        + rest
            * (1.0
                + rest * (0.5 + rest * (1.0 / 6.0 + rest * (1.0 / 24.0 + rest * (1.0 / 120.0)))));
    // The whole number is in the low bits of `rounded`; shifted, it is an exponent.
    series * f32::from_bits(rounded.to_bits().wrapping_add(127) << 23)
}

#[cfg(test)]
mod tests {
    use super::super::{factors, normal};
    use super::*;
    use crate::simulate::{always, categorical, float, space, when};
    use hpo_study::Domain;

    #[test]
    fn the_exponential_is_that_of_the_standard_library() {
        let mut x = -59.9_f32;
        while x <= 0.0 {
            let (ours, theirs) = (exp(x), f64::from(x).exp());
            assert!(
                (f64::from(ours) / theirs - 1.0).abs() < 1e-5,
                "exp({x}) is not {ours}"
            );
            x += 0.037;
        }
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(-1e30) < 1e-25 && exp(f32::NEG_INFINITY) >= 0.0);
    }

    fn encoding() -> Encoding {
        let int = Domain::Int {
            low: 0,
            high: 4,
            log: false,
            step: 1,
        };
        let weights = Some(vec![0.5, 0.2, 0.3]);
        let choices = ["p", "q", "r"].map(hpo_study::Value::from).into();
        Encoding::new(&space([
            always("kind", categorical(["a", "b"])),
            when("x", "kind", "a", float(0.0, 1.0)),
            always("n", int),
            always("weighted", Domain::Categorical { choices, weights }),
        ]))
    }

    fn cell(place: f64) -> Option<Cell> {
        Some(Cell { branch: 0, place })
    }

    /// A density over the prior integrates to 1 under the prior.
    #[test]
    fn densities_integrate_to_one_over_the_whole_tree() {
        let encoding = encoding();
        for trials in [1_usize, 7, 400] {
            let mut columns = Columns::new(encoding.len());
            for i in 0..trials {
                let u = (i as f64 * 0.618) % 1.0;
                let kind = i % 2;
                let x = (kind == 0).then_some(()).and(cell(u));
                let n = cell(((u * 5.0).floor() + 0.5) / 5.0);
                columns.push(&vec![cell(kind as f64), x, n, cell((i % 3) as f64)]);
            }
            let weights = (0..trials).map(|i| 1.0 + (i % 4) as f64).collect();
            let mixture = Mixture::new(&encoding, columns, weights);
            let (mut points, mut masses) = (Vec::new(), Vec::new());
            for (w, share) in [0.5, 0.2, 0.3].into_iter().enumerate() {
                for n in 0..5 {
                    let n = cell((f64::from(n) + 0.5) / 5.0);
                    for i in 0..200 {
                        let x = cell((f64::from(i) + 0.5) / 200.0);
                        points.push(vec![cell(0.0), x, n, cell(w as f64)]);
                        masses.push(0.5 / 200.0 / 5.0 * share);
                    }
                    points.push(vec![cell(1.0), None, n, cell(w as f64)]);
                    masses.push(0.5 / 5.0 * share);
                }
            }
            let logs = mixture.log_densities(&points.iter().collect::<Vec<_>>());
            let total: f64 = logs
                .iter()
                .zip(&masses)
                .map(|(log, mass)| log.exp() * mass)
                .sum();
            assert!((total - 1.0).abs() < 1e-3, "{trials} trials: {total}");
        }
    }

    /// The module's formula as it stands there, kernel by kernel.
    fn plainly(mixture: &Mixture<'_>, trials: &[Point], weights: &[f64], point: &Point) -> f64 {
        let factor = |parameter: usize, own: Cell, at: Cell| {
            let width = mixture.width(parameter, usize::from(own.branch));
            let (own, at) = (own.place, at.place);
            match &mixture.encoding.branches(parameter)[0] {
                Kind::Fixed => 1.0,
                Kind::Choice { shares } if own == at => width / shares[at as usize],
                Kind::Choice { shares } => {
                    (1.0 - width) / (shares.len() as f64 - 1.0) / shares[at as usize]
                }
                Kind::Number { cells: None } => {
                    let inside = normal::between(-own / width, (1.0 - own) / width);
                    normal::density((at - own) / width) / width / inside
                }
                Kind::Number { cells: Some(cells) } => {
                    let row = ((own * *cells as f64) as usize).min(cells - 1);
                    f64::from(factors::cell_table(at, *cells, width)[row].exp())
                }
            }
        };
        let kernel = |trial: &Point| -> f64 {
            let cells = trial.iter().zip(point).enumerate();
            let factors = cells.filter_map(|(p, (own, at))| {
                let (own, at) = (own.as_ref()?, at.as_ref()?);
                (own.branch == at.branch).then(|| factor(p, *own, *at))
            });
            factors.product()
        };
        let sum: f64 = trials.iter().zip(weights).map(|(t, w)| w * kernel(t)).sum();
        ((sum + 1.0) / (weights.iter().sum::<f64>() + 1.0)).ln()
    }

    #[test]
    fn densities_are_those_of_the_formula() {
        let whole = |high| Domain::Int {
            low: 1,
            high,
            log: false,
            step: 1,
        };
        let encoding = Encoding::new(&space([
            always("a", float(0.0, 1.0)),
            always("kind", categorical(["p", "q", "r"])),
            always("b", float(0.0, 1.0)),
            when("x", "kind", "p", float(0.0, 1.0)),
            always("few", whole(5)),
            always("c", float(0.0, 1.0)),
        ]));
        let at = |i: usize, by: f64| (i as f64 * by).fract();
        let point = |i: usize| {
            let x = cell(at(i, 0.123)).filter(|_| i.is_multiple_of(3));
            let few = cell((at(i, 0.77) * 5.0).floor() / 5.0 + 0.1);
            let (a, b, c) = (cell(at(i, 0.618)), cell(at(i, 0.414)), cell(at(i, 0.732)));
            vec![a, cell((i % 3) as f64), b, x, few, c]
        };
        for count in [1_usize, 7, 61, 400] {
            let trials: Vec<Point> = (0..count).map(point).collect();
            let weights: Vec<f64> = (0..count).map(|i| 1.0 + (i % 4) as f64).collect();
            let mut columns = Columns::new(encoding.len());
            trials.iter().for_each(|trial| columns.push(trial));
            let mixture = Mixture::new(&encoding, columns, weights.clone());
            let points: Vec<Point> = (1000..1030).map(point).collect();
            // All at once, and so that all have the conditional number.
            let some: Vec<&Point> = points.iter().filter(|p| p[3].is_some()).collect();
            let all: Vec<&Point> = points.iter().collect();
            for points in [all, some] {
                for (point, log) in points.iter().zip(mixture.log_densities(&points)) {
                    let expected = plainly(&mixture, &trials, &weights, point);
                    assert!((log - expected).abs() < 2e-3, "{log}, not {expected}");
                }
            }
        }
    }

    #[test]
    fn without_trials_the_density_is_the_prior() {
        let encoding = encoding();
        let mixture = Mixture::new(&encoding, Columns::new(encoding.len()), Vec::new());
        let point = vec![cell(0.0), cell(0.3), cell(0.5), cell(2.0)];
        assert!(mixture.log_densities(&[&point])[0].abs() < 1e-6);
        assert_eq!(mixture.component(0.99), None);
    }

    #[test]
    fn a_choice_is_kept_as_often_as_its_kernel_says() {
        // Two trials: one count more than even, 1/3 each, so (1 + 1/3) / (1 + 2/3).
        assert!((chance_to_stay(2, 2) - 0.8).abs() < 1e-12);
        assert!((bandwidth(1, 3.0) - WIDEST).abs() < 1e-12);
        assert_eq!(bandwidth(10_000_000, 1.0), SMALLEST);
    }
}
