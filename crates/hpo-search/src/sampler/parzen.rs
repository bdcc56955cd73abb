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

use super::encoding::{Candidate, Cell, Encoding, Kind, Point};
use super::normal;
use crate::Rng;

/// A branch number that no branch has.
const INACTIVE: u16 = u16::MAX;
/// The widest bandwidth, that of a single trial, as a share of the interval.
const WIDEST: f64 = 0.12;
/// The smallest bandwidth (Δ in arXiv 2304.11127).
const SMALLEST: f64 = 0.03;
/// With more values a whole number is taken for a continuous one.
const FEW_CELLS: usize = 32;
/// Draws from a kernel until one is in the interval.
const DRAWS: usize = 64;
/// Points of the table of a kernel's height by its center, and the trials from which on it is cheaper.
const TABLE: usize = 128;
const FEW_ROWS: usize = 32;

/// The points of all trials, in columns.
#[derive(Clone)]
pub(crate) struct Columns {
    branches: Vec<Vec<u16>>,
    places: Vec<Vec<f32>>,
    len: usize,
}

impl Columns {
    pub(crate) fn new(encoding: &Encoding) -> Self {
        Self {
            branches: vec![Vec::new(); encoding.len()],
            places: vec![Vec::new(); encoding.len()],
            len: 0,
        }
    }

    pub(crate) fn push(&mut self, point: &Point) {
        for (parameter, cell) in point.iter().enumerate() {
            self.branches[parameter].push(cell.map_or(INACTIVE, |cell| cell.branch));
            self.places[parameter].push(cell.map_or(0.5, |cell| cell.place as f32));
        }
        self.len += 1;
    }

    /// The columns of these trials only.
    pub(crate) fn select(&self, trials: &[usize]) -> Self {
        fn of<T: Copy>(columns: &[Vec<T>], trials: &[usize]) -> Vec<Vec<T>> {
            let of = |column: &Vec<T>| trials.iter().map(|t| column[*t]).collect();
            columns.iter().map(of).collect()
        }
        Self {
            branches: of(&self.branches, trials),
            places: of(&self.places, trials),
            len: trials.len(),
        }
    }
}

/// A mixture with a kernel for each of some trials, and the prior.
pub(crate) struct Mixture<'a> {
    encoding: &'a Encoding,
    columns: Columns,
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
        let active = |branches: &Vec<u16>| branches.iter().filter(|b| **b != INACTIVE).count();
        let cells: usize = columns.branches.iter().map(active).sum();
        let dimensions = cells as f64 / columns.len.max(1) as f64;
        let mut widths = Vec::with_capacity(encoding.len());
        for parameter in 0..encoding.len() {
            let mut of_branches = Vec::new();
            for (branch, kind) in encoding.branches(parameter).iter().enumerate() {
                let is_here = |b: &&u16| usize::from(**b) == branch;
                let count = columns.branches[parameter].iter().filter(is_here).count();
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
        self.weights[..self.columns.len].iter().position(is_it)
    }

    /// A configuration from the density, drawn down the tree. `trials` are those whose kernels these are, by
    /// their indices into `points`; `widening` times as wide as the kernels of numbers are.
    pub(crate) fn draw(
        &self,
        space: &Space,
        points: &[Point],
        trials: &[usize],
        widening: f64,
        rng: &mut Rng,
    ) -> Candidate {
        let center = self.component(rng.random()).map(|i| &points[trials[i]]);
        self.encoding
            .build(space, rng, |rng, parameter, branch, _| {
                let cell = center?[parameter].filter(|cell| cell.branch == branch)?;
                let kind = &self.encoding.branches(parameter)[usize::from(branch)];
                Some(match kind {
                    Kind::Fixed => return None,
                    Kind::Number { .. } => {
                        near(cell, widening * self.bandwidth(parameter, branch), rng)
                    }
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

    /// The bandwidth of a number's kernels.
    fn bandwidth(&self, parameter: usize, branch: u16) -> f64 {
        self.widths[parameter][usize::from(branch)]
    }

    /// How likely a draw from a choice's kernel is the kernel's own choice without another draw among
    /// all `choices`.
    fn chance_to_stay(&self, parameter: usize, branch: u16, choices: usize) -> f64 {
        let stay = self.widths[parameter][usize::from(branch)];
        // stay = chance + (1 - chance) / choices
        let even = 1.0 / choices as f64;
        ((stay - even) / (1.0 - even)).clamp(0.0, 1.0)
    }

    /// The logarithms of the densities at some points.
    pub(crate) fn log_densities(&self, points: &[&Point]) -> Vec<f64> {
        let mut logs = vec![vec![0.0_f32; self.columns.len]; points.len()];
        let mut tables = Tables::default();
        for parameter in 0..self.encoding.len() {
            for (branch, kind) in self.encoding.branches(parameter).iter().enumerate() {
                let is_here = |(i, point): (usize, &&Point)| {
                    let cell = point[parameter].filter(|c| usize::from(c.branch) == branch)?;
                    Some((i, cell.place))
                };
                let here: Vec<(usize, f64)> =
                    points.iter().enumerate().filter_map(is_here).collect();
                if here.is_empty() {
                    continue;
                }
                self.add(parameter, branch, kind, &here, &mut tables, &mut logs);
            }
        }
        logs.iter().map(|logs| self.log_sum(logs)).collect()
    }

    /// Adds the factors of one parameter in one branch.
    fn add(
        &self,
        parameter: usize,
        branch: usize,
        kind: &Kind,
        here: &[(usize, f64)],
        tables: &mut Tables,
        logs: &mut [Vec<f32>],
    ) {
        let (branches, places) = (
            &self.columns.branches[parameter],
            &self.columns.places[parameter],
        );
        let width = self.widths[parameter][branch];
        let is_here = |b: &u16| usize::from(*b) == branch;
        match kind {
            Kind::Fixed => {}
            Kind::Choice { shares } => {
                let index = |place: f32| place as usize;
                let rows: Vec<usize> = indices(branches, places, is_here, shares.len(), index);
                for (i, place) in here {
                    let table = choice_table(*place as usize, shares, width);
                    add_from_table(&mut logs[*i], &rows, &table);
                }
            }
            Kind::Number { cells: Some(cells) } if *cells <= FEW_CELLS => {
                let count = *cells as f32;
                let index = |place: f32| ((place * count) as usize).min(cells - 1);
                let rows: Vec<usize> = indices(branches, places, is_here, *cells, index);
                for (i, place) in here {
                    let table = cell_table(*place, *cells, width);
                    add_from_table(&mut logs[*i], &rows, &table);
                }
            }
            Kind::Number { .. } => {
                let (scale, height) = normal_factors(branches, places, is_here, width, tables);
                for (i, place) in here {
                    let place = *place as f32;
                    let sums = logs[*i]
                        .iter_mut()
                        .zip(places)
                        .zip(scale.iter().zip(&height));
                    for ((sum, center), (scale, height)) in sums {
                        let distance = place - center;
                        *sum += height - scale * distance * distance;
                    }
                }
            }
        }
    }

    /// The logarithm of the weighted sum of the kernels, given their logarithms.
    fn log_sum(&self, logs: &[f32]) -> f64 {
        let highest = logs.iter().fold(0.0_f32, |a, b| a.max(*b));
        let (prior, weights) = (self.weights[logs.len()], &self.weights[..logs.len()]);
        // Eight sums side by side, which the compiler turns into vector instructions.
        let mut sums = [0.0_f32; 8];
        let (chunks, rest) = logs.as_chunks::<8>();
        let (weight_chunks, weight_rest) = weights.as_chunks::<8>();
        for (logs, weights) in chunks.iter().zip(weight_chunks) {
            for lane in 0..8 {
                sums[lane] += weights[lane] * exp(logs[lane] - highest);
            }
        }
        for (lane, (log, weight)) in rest.iter().zip(weight_rest).enumerate() {
            sums[lane] += weight * exp(log - highest);
        }
        let sum = sums.iter().map(|s| f64::from(*s)).sum::<f64>();
        f64::from(highest) + (sum + f64::from(prior * exp(-highest))).ln()
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

/// For each trial the row of a table that its kernel uses; the last row for those that have none.
fn indices(
    branches: &[u16],
    places: &[f32],
    is_here: impl Fn(&u16) -> bool,
    rows: usize,
    index: impl Fn(f32) -> usize,
) -> Vec<usize> {
    let row = |(branch, place): (&u16, &f32)| if is_here(branch) { index(*place) } else { rows };
    branches.iter().zip(places).map(row).collect()
}

fn add_from_table(logs: &mut [f32], rows: &[usize], table: &[f32]) {
    for (log, row) in logs.iter_mut().zip(rows) {
        *log += table[*row];
    }
}

/// The log densities of a choice under the kernels of every choice, and 0 for a trial without.
fn choice_table(choice: usize, shares: &[f64], stay: f64) -> Vec<f32> {
    let leave = (1.0 - stay) / (shares.len() as f64 - 1.0);
    let prior = shares.get(choice).copied().unwrap_or(0.0).max(1e-9);
    let density = |center: usize| if center == choice { stay } else { leave } / prior;
    let logs = (0..shares.len()).map(|center| density(center).ln() as f32);
    logs.chain([0.0]).collect()
}

/// The same for a number of few values, of equal shares: the kernel's mass in the value's cell.
fn cell_table(place: f64, cells: usize, bandwidth: f64) -> Vec<f32> {
    let width = 1.0 / cells as f64;
    let low = (place / width).floor() * width;
    let density = |center: usize| {
        let center = (center as f64 + 0.5) * width;
        let inside = normal::between(-center / bandwidth, (1.0 - center) / bandwidth);
        let here = normal::between(
            (low - center) / bandwidth,
            (low + width - center) / bandwidth,
        );
        (here / inside / width).max(1e-30)
    };
    let logs = (0..cells).map(|center| density(center).ln() as f32);
    logs.chain([0.0]).collect()
}

/// What a normal kernel with this bandwidth has at its center, as a logarithm: more than without the cut, the
/// nearer the center is to an end of the interval.
fn height(center: f64, bandwidth: f64) -> f64 {
    let inside = normal::between(-center / bandwidth, (1.0 - center) / bandwidth);
    -(bandwidth * inside).ln() - 0.5 * (2.0 * std::f64::consts::PI).ln()
}

/// Heights over the interval, for each bandwidth that came up: parameters that are always active share one.
#[derive(Default)]
struct Tables(Vec<(f64, Vec<f32>)>);

impl Tables {
    /// The heights at `TABLE + 1` even places.
    fn of(&mut self, bandwidth: f64) -> &[f32] {
        let known = self.0.iter().position(|(b, _)| *b == bandwidth);
        let i = known.unwrap_or_else(|| {
            let at = |i| height(i as f64 / TABLE as f64, bandwidth) as f32;
            self.0.push((bandwidth, (0..=TABLE).map(at).collect()));
            self.0.len() - 1
        });
        &self.0[i].1
    }
}

/// For each trial the two factors of its kernel's logarithm, `height - scale · distance²`; zeros for
/// those that have none.
fn normal_factors(
    branches: &[u16],
    places: &[f32],
    is_here: impl Fn(&u16) -> bool,
    bandwidth: f64,
    tables: &mut Tables,
) -> (Vec<f32>, Vec<f32>) {
    let scale = (0.5 / (bandwidth * bandwidth)) as f32;
    let few = places.len() < FEW_ROWS;
    let table: &[f32] = if few { &[] } else { tables.of(bandwidth) };
    let between = |center: f32| {
        let at = center * TABLE as f32;
        let low = (at as usize).min(TABLE - 1);
        table[low] + (at - low as f32) * (table[low + 1] - table[low])
    };
    let factors = branches.iter().zip(places).map(|(branch, center)| {
        if !is_here(branch) {
            (0.0, 0.0)
        } else if few {
            (scale, height(f64::from(*center), bandwidth) as f32)
        } else {
            (scale, between(*center))
        }
    });
    factors.unzip()
}

/// The exponential function in single precision, within 10⁻⁵ of it where |x| <= 60, beyond that as at ±60:
/// without branches and conversions, so that the compiler turns loops over it into vector instructions,
/// and not so small that a product with a weight is a subnormal number, with which processors are slow.
fn exp(x: f32) -> f32 {
    // Adding and taking away this number rounds to a whole one.
    const ROUND: f32 = 12_582_912.0;
    let halvings = x.clamp(-60.0, 60.0) * std::f32::consts::LOG2_E;
    let rounded = halvings + ROUND;
    let rest = (halvings - (rounded - ROUND)) * std::f32::consts::LN_2;
    // Taylor's series, |rest| <= ln 2 / 2.
    let series = 1.0
        + rest
            * (1.0
                + rest
                    * (0.5
                        + rest
                            * (1.0 / 6.0
                                + rest * (1.0 / 24.0 + rest * (1.0 / 120.0 + rest / 720.0)))));
    // The whole number is in the low bits of `rounded`; shifted, it is an exponent.
    series * f32::from_bits(rounded.to_bits().wrapping_add(127) << 23)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::{always, categorical, float, space, when};
    use hpo_study::Domain;

    #[test]
    fn the_exponential_is_that_of_the_standard_library() {
        let mut x = -59.9_f32;
        while x < 60.0 {
            let (ours, theirs) = (exp(x), f64::from(x).exp());
            assert!(
                (f64::from(ours) / theirs - 1.0).abs() < 1e-5,
                "exp({x}) is not {ours}"
            );
            x += 0.37;
        }
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
            let mut columns = Columns::new(&encoding);
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

    #[test]
    fn without_trials_the_density_is_the_prior() {
        let encoding = encoding();
        let mixture = Mixture::new(&encoding, Columns::new(&encoding), Vec::new());
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
