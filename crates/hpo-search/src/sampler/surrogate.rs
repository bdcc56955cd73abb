//! Gaussian processes over the points of a space: a guess of the value at every point, and how sure it
//! is. Rasmussen & Williams, "Gaussian processes for machine learning", 2006, chapters 2, 4 and 5.
//!
//! The kernel is Matérn-5/2 with one lengthscale per column (ARD). Columns are the parameters' unit
//! intervals, with 1/2 where a parameter is not active, and one-hot vectors for choices, with even
//! entries where one is not active; a choice has a single lengthscale, so only whether two are the same
//! counts.
//!
//! The hyperparameters are those of the highest posterior density, found by L-BFGS, or some drawn from it
//! ([`super::hamiltonian`]), starting there: a dozen trials leave much open of them. The lengthscales' prior keeps each of
//! them between about a fifth and five widths of its range: no column is taken for one that changes
//! nothing, or everything, because a few trials happen to look so (docs/search.md has what other priors did).

use nalgebra::{Cholesky, DMatrix, DVector};

use super::encoding::{Encoding, Kind, Point};
use super::hamiltonian::advance;
use super::minimize::minimize;
use crate::Rng;

/// Added to every variance, so that the same point twice does no harm.
const JITTER: f64 = 1e-6;

/// What of a point a column shows.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Column {
    Number {
        parameter: usize,
    },
    Choice {
        parameter: usize,
        branch: u16,
        count: usize,
    },
}

/// The columns of a space. All branches of a parameter that are numbers share one column, by their
/// places in their ranges; each branch that is a choice has its own.
pub(crate) struct Features {
    columns: Vec<Column>,
}

impl Features {
    pub(crate) fn new(encoding: &Encoding) -> Self {
        let mut columns = Vec::new();
        for parameter in 0..encoding.len() {
            let kinds = encoding.branches(parameter);
            if kinds.iter().any(|kind| matches!(kind, Kind::Number { .. })) {
                columns.push(Column::Number { parameter });
            }
            for (branch, kind) in (0..).zip(kinds) {
                if let Kind::Choice { shares } = kind {
                    let count = shares.len();
                    columns.push(Column::Choice {
                        parameter,
                        branch,
                        count,
                    });
                }
            }
        }
        Self { columns }
    }

    /// Whether there is no column: nothing can vary.
    pub(crate) fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// A point's row.
    pub(crate) fn row(&self, encoding: &Encoding, point: &Point) -> Vec<f64> {
        let entry = |column: &Column| match *column {
            Column::Number { parameter } => {
                let is_number =
                    |kinds: &[Kind], b: u16| matches!(kinds[usize::from(b)], Kind::Number { .. });
                let cell = point[parameter]
                    .filter(|cell| is_number(encoding.branches(parameter), cell.branch));
                cell.map_or(0.5, |cell| cell.place)
            }
            Column::Choice {
                parameter, branch, ..
            } => {
                let cell = point[parameter].filter(|cell| cell.branch == branch);
                cell.map_or(-1.0, |cell| cell.place)
            }
        };
        self.columns.iter().map(entry).collect()
    }

    /// The squared distance of two entries of a column.
    fn distance(&self, column: usize, a: f64, b: f64) -> f64 {
        match self.columns[column] {
            Column::Number { .. } => (a - b) * (a - b),
            Column::Choice { .. } if a == b => 0.0,
            Column::Choice { count, .. } if a < 0.0 || b < 0.0 => 0.5 * (1.0 - 1.0 / count as f64),
            Column::Choice { .. } => 1.0,
        }
    }
}

/// The kernel's hyperparameters.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Kernel {
    /// For each column one over the lengthscale's square.
    weights: Vec<f64>,
    /// The variance of the function.
    scale: f64,
    /// The variance of the noise.
    noise: f64,
}

/// Matérn-5/2 of a squared distance, and its derivative by that.
fn matern(squared: f64) -> (f64, f64) {
    let r = (5.0 * squared).sqrt();
    let e = (-r).exp();
    ((1.0 + r + r * r / 3.0) * e, -5.0 / 6.0 * (1.0 + r) * e)
}

impl Kernel {
    /// Hyperparameters for some rows and their values (about 0, of variance about 1): those that fit best, or, for a `count` over 1,
    /// so many drawn from their posterior distribution.
    pub(crate) fn fit(
        features: &Features,
        rows: &[Vec<f64>],
        values: &[f64],
        count: usize,
        rng: &mut Rng,
    ) -> Vec<Self> {
        let evidence = Evidence::new(features, rows, values);
        let loss = |theta: &[f64]| evidence.negative_log_posterior(theta);
        let found = NOISE_STARTS.map(|noise| minimize(&loss, evidence.start(noise), ITERATIONS));
        let [exact, noisy] = found.each_ref().map(|theta| loss(theta).0);
        let [of_exact, of_noisy] = found;
        let mut theta = if noisy < exact { of_noisy } else { of_exact };
        if count <= 1 {
            return vec![evidence.kernel(&theta)];
        }
        let draws = std::iter::repeat_with(|| {
            for _ in 0..MOVES {
                theta = advance(&loss, std::mem::take(&mut theta), rng);
            }
            evidence.kernel(&theta)
        });
        draws.take(count).collect()
    }

    /// Covariances of each of some rows with each of some points, the points in columns.
    fn covariances(
        &self,
        features: &Features,
        rows: &[Vec<f64>],
        points: &[Vec<f64>],
    ) -> DMatrix<f64> {
        let n = rows.len();
        let mut matrix = DMatrix::zeros(n, points.len());
        let columns: Vec<Vec<f64>> = (0..self.weights.len())
            .map(|c| rows.iter().map(|row| row[c]).collect())
            .collect();
        let mut squared = vec![0.0; n];
        for (j, point) in points.iter().enumerate() {
            squared.fill(0.0);
            for (c, column) in columns.iter().enumerate() {
                let (weight, x) = (self.weights[c], point[c]);
                match features.columns[c] {
                    Column::Number { .. } => {
                        for (sum, y) in squared.iter_mut().zip(column) {
                            *sum += weight * (x - y) * (x - y);
                        }
                    }
                    Column::Choice { .. } => {
                        for (sum, y) in squared.iter_mut().zip(column) {
                            *sum += weight * features.distance(c, x, *y);
                        }
                    }
                }
            }
            let covariances = squared.iter().map(|s| self.scale * matern(*s).0);
            for (entry, value) in matrix.column_mut(j).iter_mut().zip(covariances) {
                *entry = value;
            }
        }
        matrix
    }
}

/// How well hyperparameters explain some data.
struct Evidence<'a> {
    features: &'a Features,
    values: DVector<f64>,
    /// For each column the squared distances of all pairs (i < j, by j).
    distances: Vec<Vec<f64>>,
}

/// Steps of L-BFGS at most.
const ITERATIONS: u64 = 40;
/// Moves of the chain from one draw of hyperparameters to the next.
const MOVES: usize = 2;
/// The mean of the noise's logarithm, and its standard deviation: losses are taken for nearly exact
/// unless they say otherwise.
const NOISE: (f64, f64) = (-6.0, 1.5);
/// Where the search for the noise's logarithm begins: all that is to be seen is either in the function
/// or in the noise, and between the two there may be a ridge.
const NOISE_STARTS: [f64; 2] = [-6.0, -2.5];
/// How strongly the lengthscale l of a number, and that of a choice, is held near one width of the range: the logarithm
/// of its prior density is -bound (l² + 1/l²). The form and the number's bound are those of the Gaussian process of
/// Optuna 5.0.0. Choices that change next to nothing are common (a batch size, a schedule), so theirs may be longer.
const BOUND: f64 = 0.1;
const CHOICE_BOUND: f64 = 0.03;

impl<'a> Evidence<'a> {
    fn new(features: &'a Features, rows: &[Vec<f64>], values: &[f64]) -> Self {
        let distances = |c: usize| {
            let mut of = Vec::with_capacity(rows.len() * rows.len() / 2);
            for j in 1..rows.len() {
                of.extend((0..j).map(|i| features.distance(c, rows[i][c], rows[j][c])));
            }
            of
        };
        Self {
            features,
            values: DVector::from_row_slice(values),
            distances: (0..features.columns.len()).map(distances).collect(),
        }
    }

    /// Where the search begins: logarithms of the lengthscales (the prior's middle), of the scale and of the noise.
    fn start(&self, noise: f64) -> Vec<f64> {
        let mut theta = vec![0.0; self.features.columns.len()];
        theta.extend([0.0, noise]);
        theta
    }

    fn kernel(&self, theta: &[f64]) -> Kernel {
        let d = self.features.columns.len();
        Kernel {
            weights: theta[..d]
                .iter()
                .map(|l| (-2.0 * l.clamp(-8.0, 12.0)).exp())
                .collect(),
            scale: theta[d].clamp(-6.0, 6.0).exp(),
            noise: theta[d + 1].clamp(-14.0, 4.0).exp(),
        }
    }

    /// Up to a constant, and its gradient. Equations 5.8 and 5.9 of Rasmussen & Williams.
    fn negative_log_posterior(&self, theta: &[f64]) -> (f64, Vec<f64>) {
        let d = self.features.columns.len();
        let n = self.values.len();
        let kernel = self.kernel(theta);
        let mut squared = vec![0.0; n * n.saturating_sub(1) / 2];
        for (distances, weight) in self.distances.iter().zip(&kernel.weights) {
            for (sum, distance) in squared.iter_mut().zip(distances) {
                *sum += weight * distance;
            }
        }
        let (mut slopes, mut k) = (squared, DMatrix::zeros(n, n));
        let mut pair = 0;
        for j in 0..n {
            for i in 0..j {
                let (value, slope) = matern(slopes[pair]);
                slopes[pair] = kernel.scale * slope;
                k[(i, j)] = kernel.scale * value;
                k[(j, i)] = kernel.scale * value;
                pair += 1;
            }
            k[(j, j)] = kernel.scale + kernel.noise + JITTER;
        }
        let Some(cholesky) = Cholesky::new(k) else {
            return (f64::INFINITY, vec![0.0; theta.len()]);
        };
        let log_det: f64 = cholesky.l_dirty().diagonal().iter().map(|x| x.ln()).sum();
        let inverse = cholesky.inverse();
        let alpha = &inverse * &self.values;
        let mut loss = 0.5 * self.values.dot(&alpha) + log_det;
        // (inverse - alpha alpha') / 2 is the derivative by each entry of the covariance.
        let weight = |i: usize, j: usize| 0.5 * (inverse[(i, j)] - alpha[i] * alpha[j]);
        let mut gradient = vec![0.0; theta.len()];
        let mut pair = 0;
        let mut by_noise = 0.0;
        for j in 0..n {
            for i in 0..j {
                slopes[pair] *= 2.0 * weight(i, j);
                pair += 1;
            }
            by_noise += weight(j, j);
        }
        for (c, distances) in self.distances.iter().enumerate() {
            let sum: f64 = distances.iter().zip(&slopes).map(|(d, s)| d * s).sum();
            gradient[c] = -2.0 * kernel.weights[c] * sum;
        }
        // tr(W K) with K = covariance - (noise + jitter) I
        let trace = 0.5 * (n as f64 - self.values.dot(&alpha));
        gradient[d] = trace - (kernel.noise + JITTER) * by_noise;
        gradient[d + 1] = kernel.noise * by_noise;
        let mut prior = |index: usize, mean: f64, spread: f64| {
            let away = (theta[index] - mean) / spread;
            loss += 0.5 * away * away;
            gradient[index] += away / spread;
        };
        prior(d, 0.0, 0.5);
        prior(d + 1, NOISE.0, NOISE.1);
        for c in 0..d {
            // A step of the search that goes far astray gets a number all the same.
            let squared = (2.0 * theta[c].clamp(-12.0, 12.0)).exp();
            let bound = match self.features.columns[c] {
                Column::Number { .. } => BOUND,
                Column::Choice { .. } => CHOICE_BOUND,
            };
            loss += bound * (squared + 1.0 / squared);
            gradient[c] += 2.0 * bound * (squared - 1.0 / squared);
        }
        (loss, gradient)
    }
}

/// A Gaussian process that has seen some rows. Their values come with the questions, since they change
/// (ranks) while the rows stay.
#[derive(Clone)]
pub(crate) struct Process {
    kernel: Kernel,
    rows: Vec<Vec<f64>>,
    /// The inverse of the covariance of the rows' values.
    inverse: DMatrix<f64>,
}

impl Process {
    /// `None` when the covariance cannot be inverted.
    pub(crate) fn new(features: &Features, kernel: Kernel, rows: Vec<Vec<f64>>) -> Option<Self> {
        let mut covariance = kernel.covariances(features, &rows, &rows);
        for i in 0..rows.len() {
            covariance[(i, i)] += kernel.noise + JITTER;
        }
        let inverse = Cholesky::new(covariance)?.inverse();
        Some(Self {
            kernel,
            rows,
            inverse,
        })
    }

    /// How many rows it has seen.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Sees one more row (the inverse of a matrix with one more row and column).
    pub(crate) fn extend(&mut self, features: &Features, row: Vec<f64>) {
        let n = self.rows.len();
        let with_others = self
            .kernel
            .covariances(features, &self.rows, std::slice::from_ref(&row));
        let solved = &self.inverse * &with_others;
        let own = self.kernel.scale + self.kernel.noise + JITTER;
        let left = (own - with_others.dot(&solved)).max(JITTER);
        let mut inverse =
            std::mem::replace(&mut self.inverse, DMatrix::zeros(0, 0)).resize(n + 1, n + 1, 0.0);
        for j in 0..n {
            let factor = solved[j] / left;
            for i in 0..n {
                inverse[(i, j)] += factor * solved[i];
            }
            inverse[(n, j)] = -factor;
            inverse[(j, n)] = -factor;
        }
        inverse[(n, n)] = 1.0 / left;
        self.inverse = inverse;
        self.rows.push(row);
    }

    /// What the values are weighted with to give means.
    pub(crate) fn weights(&self, values: &[f64]) -> DVector<f64> {
        &self.inverse * DVector::from_row_slice(values)
    }

    /// The means of the function at the rows it has seen, given their values and weights: a mean
    /// there differs from the value by what is put down to noise.
    pub(crate) fn own_means(&self, values: &[f64], weights: &DVector<f64>) -> Vec<f64> {
        let noise = self.kernel.noise + JITTER;
        let pairs = values.iter().zip(weights.iter());
        pairs
            .map(|(value, weight)| value - noise * weight)
            .collect()
    }

    /// Means and standard deviations of the function (without noise) at some points.
    pub(crate) fn predict(
        &self,
        features: &Features,
        weights: &DVector<f64>,
        points: &[Vec<f64>],
    ) -> Vec<(f64, f64)> {
        let covariances = self.kernel.covariances(features, &self.rows, points);
        let solved = &self.inverse * &covariances;
        (0..points.len())
            .map(|j| {
                let covariance = covariances.column(j);
                let variance = self.kernel.scale - covariance.dot(&solved.column(j));
                (covariance.dot(weights), variance.max(1e-12).sqrt())
            })
            .collect()
    }

    /// Means only.
    pub(crate) fn means(
        &self,
        features: &Features,
        weights: &DVector<f64>,
        points: &[Vec<f64>],
    ) -> Vec<f64> {
        let covariances = self.kernel.covariances(features, &self.rows, points);
        (0..points.len())
            .map(|j| covariances.column(j).dot(weights))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::{always, categorical, float, space, when};
    use crate::stream;
    use rand::Rng as _;

    /// Random points of a conditional space, as rows.
    fn rows(count: usize) -> (Features, Vec<Vec<f64>>) {
        let space = space([
            always("kind", categorical(["a", "b", "c"])),
            when("x", "kind", "a", float(0.0, 1.0)),
            always("y", float(0.0, 1.0)),
        ]);
        let encoding = Encoding::new(&space);
        let features = Features::new(&encoding);
        let mut rng = stream(3);
        let row = |_| features.row(&encoding, &encoding.random(&space, &mut rng).point);
        let rows = (0..count).map(row).collect();
        (features, rows)
    }

    fn wave(row: &[f64]) -> f64 {
        (6.0 * row[2]).sin() + row[1] + 0.5 * row[0]
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let (features, rows) = rows(12);
        let values: Vec<f64> = rows.iter().map(|r| wave(r)).collect();
        let evidence = Evidence::new(&features, &rows, &values);
        let theta = [0.3, -0.5, -1.0, 0.2, -2.0];
        let (_, gradient) = evidence.negative_log_posterior(&theta);
        for i in 0..theta.len() {
            let at = |step: f64| {
                let mut theta = theta;
                theta[i] += step;
                evidence.negative_log_posterior(&theta).0
            };
            let slope = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!(
                (slope - gradient[i]).abs() < 1e-4 * slope.abs().max(1.0),
                "{i}: {slope} {gradient:?}"
            );
        }
    }

    fn best(features: &Features, rows: &[Vec<f64>], values: &[f64]) -> Kernel {
        let mut found = Kernel::fit(features, rows, values, 1, &mut stream(1));
        found.remove(0)
    }

    #[test]
    fn what_is_drawn_of_few_trials_is_spread_and_of_many_close_to_the_best() {
        let (features, all) = rows(60);
        let values: Vec<f64> = all.iter().map(|r| wave(r)).collect();
        // Of the lengthscale along which the wave runs, the mean of the logarithms and their deviation.
        let lengths = |count: usize| {
            let drawn = Kernel::fit(
                &features,
                &all[..count],
                &values[..count],
                40,
                &mut stream(2),
            );
            assert_eq!(drawn.len(), 40);
            let logs: Vec<f64> = drawn.iter().map(|k| -0.5 * k.weights[2].ln()).collect();
            let mean = logs.iter().sum::<f64>() / 40.0;
            let squares = logs.iter().map(|l| (l - mean) * (l - mean)).sum::<f64>();
            (mean, (squares / 40.0).sqrt())
        };
        let ((_, few), (mean, many)) = (lengths(5), lengths(60));
        assert!(many < 0.2 && few > 1.5 * many, "{few} {many}");
        let at_best = -0.5 * best(&features, &all, &values).weights[2].ln();
        assert!((mean - at_best).abs() < 0.3, "{mean} {at_best}");
    }

    #[test]
    fn it_learns_a_smooth_function_and_knows_where_it_does_not() {
        let (features, all) = rows(60);
        let values: Vec<f64> = all.iter().map(|r| wave(r)).collect();
        let (seen, unseen) = all.split_at(45);
        let kernel = best(&features, seen, &values[..45]);
        let process = Process::new(&features, kernel, seen.to_vec()).unwrap();
        let weights = process.weights(&values[..45]);
        let guesses = process.predict(&features, &weights, unseen);
        let error = |(row, (mean, _)): (&Vec<f64>, &(f64, f64))| (mean - wave(row)).abs();
        let mean_error = unseen.iter().zip(&guesses).map(error).sum::<f64>() / 15.0;
        assert!(
            mean_error < 0.1,
            "{mean_error}, where the values spread over 4"
        );
        let deviations = |rows: &[Vec<f64>]| {
            let guesses = process.predict(&features, &weights, rows);
            guesses.iter().map(|(_, d)| d).sum::<f64>() / rows.len() as f64
        };
        assert!(deviations(seen) < deviations(unseen));
    }

    #[test]
    fn a_column_in_which_nothing_is_to_be_seen_does_not_vanish() {
        let (features, all) = rows(10);
        let values: Vec<f64> = all.iter().map(|row| row[2] - 0.5).collect();
        let Kernel { weights, .. } = best(&features, &all, &values);
        let lengthscales: Vec<f64> = weights.iter().map(|w| w.powf(-0.5)).collect();
        assert!(
            lengthscales.iter().all(|l| (0.2..8.0).contains(l)),
            "{lengthscales:?}"
        );
    }

    #[test]
    fn row_by_row_is_as_all_at_once() {
        let (features, all) = rows(30);
        let values: Vec<f64> = all.iter().map(|r| wave(r)).collect();
        let kernel = Kernel {
            weights: vec![1.0, 2.0, 3.0],
            scale: 1.2,
            noise: 1e-3,
        };
        let once = Process::new(&features, kernel.clone(), all.clone()).unwrap();
        let mut stepwise = Process::new(&features, kernel, all[..10].to_vec()).unwrap();
        for row in &all[10..] {
            stepwise.extend(&features, row.clone());
        }
        let questions: Vec<Vec<f64>> = rows(40).1;
        let ask = |p: &Process| p.predict(&features, &p.weights(&values), &questions);
        for ((m1, d1), (m2, d2)) in ask(&once).into_iter().zip(ask(&stepwise)) {
            assert!((m1 - m2).abs() < 1e-6 && (d1 - d2).abs() < 1e-6);
        }
        assert_eq!(
            once.means(&features, &once.weights(&values), &questions)
                .len(),
            40
        );
    }

    #[test]
    fn the_same_row_twice_does_no_harm() {
        let (features, mut all) = rows(5);
        all.extend(all.clone());
        let kernel = Kernel {
            weights: vec![1.0; 3],
            scale: 1.0,
            noise: 0.0,
        };
        let mut process = Process::new(&features, kernel, all[..9].to_vec()).unwrap();
        process.extend(&features, all[9].clone());
        let weights = process.weights(&[0.5; 10]);
        let mut rng = stream(1);
        let question = vec![vec![1.0, rng.random(), rng.random()]];
        let (mean, deviation) = process.predict(&features, &weights, &question)[0];
        assert!(mean.is_finite() && deviation.is_finite());
    }

    #[test]
    fn a_value_that_is_not_there_is_as_far_from_all_choices() {
        let (features, _) = rows(1);
        // (1 - 1/3) / 2 of what two choices are apart; a number in the middle is 1/4 from the ends.
        assert!((features.distance(0, -1.0, 2.0) - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(features.distance(0, 1.0, 1.0), 0.0);
        assert_eq!(features.distance(1, 0.5, 1.0), 0.25);
    }
}
