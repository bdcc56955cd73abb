//! Which parameters matter for getting a good result: PED-ANOVA with conditional parameters.
//!
//! For each parameter: how different are its values in the best trials from its values in all trials?
//! The difference is the Pearson divergence `Σ p_all (p_top / p_all − 1)²` between the two densities
//! (Watanabe, Bansal & Hutter, "PED-ANOVA", IJCAI 2023, arXiv 2304.10255). Only the order of the
//! trials counts, so a loss of 10³⁰ is just the last, and no surrogate model has to be believed.
//!
//! A parameter that exists only with some values of others, or has another range with them, is looked
//! at branch by branch: with `a` the share of a branch's trials among the best and `b` its share
//! among all, the parameter's score is `(top / all)² Σ a²/b · divergence` over its branches
//! (Conditional PED-ANOVA, arXiv 2601.20800, theorem 4.2). So a rate that matters much to an
//! optimizer that is never among the best counts little.
//!
//! Densities are Parzen estimates on a grid with Scott's bandwidth, as in Optuna 5.0.0's
//! `PedAnovaImportanceEvaluator`, whose numbers are those of this file (`tests/data/importance.json`).
//!
//! Trials count as in [`crate::comparison`]: completed ones with their value, pruned ones with the
//! last they reached, those that failed or diverged with the worst of the study. With `n` of them, the
//! best are the best tenth, but at least five. How much of a score is noise is found by drawing
//! as many trials at random instead of the best, again and again: [`ParameterImportance::chance`].

use hpo_study::{Branch, Condition, Config, Domain, History, Scale, Value};

use crate::comparison::{counts_with, worst};
use crate::number::short_value;

/// With fewer finished trials than this nothing is said.
pub const FEWEST: usize = 20;
/// The best trials are this share of all, but not fewer than [`FEWEST_TOP`].
const TOP_SHARE: f64 = 0.1;
const FEWEST_TOP: usize = 5;
/// A branch with fewer trials than this is left out.
const FEWEST_IN_BRANCH: usize = 2;
/// Cells of the grid on which densities of numbers are compared, at most.
const CELLS: usize = 50;
/// How often trials are drawn at random to see what chance does.
const DRAWS: usize = 100;

/// Which parameters matter.
#[derive(Debug, Clone, PartialEq)]
pub struct Importance {
    /// How many finished trials this was found from.
    pub trials: usize,
    /// How many of them were taken for the best.
    pub top: usize,
    /// The parameters, the most important first.
    pub parameters: Vec<ParameterImportance>,
}

/// How much one parameter matters.
#[derive(Debug, Clone, PartialEq)]
pub struct ParameterImportance {
    /// Its name.
    pub name: String,
    /// Its score as a share of all scores, from 0 to 1.
    pub share: f64,
    /// Its score.
    pub score: f64,
    /// The share (of the same sum) that 19 of 20 random drawings of trials stay below: a parameter that
    /// is not above it may not matter at all.
    pub chance: f64,
    /// The branches that its score comes from.
    pub regimes: Vec<Regime>,
}

/// What a branch of a parameter adds to its score.
#[derive(Debug, Clone, PartialEq)]
pub struct Regime {
    /// The branch's condition in words; empty where there is none.
    pub when: String,
    /// How many trials were in the branch.
    pub trials: usize,
    /// How many of the best were.
    pub top: usize,
    /// What it adds, in the units of [`ParameterImportance::share`].
    pub share: f64,
}

/// Which parameters matter; `None` with fewer than [`FEWEST`] finished trials, or when nothing tells
/// the best from the others.
#[must_use]
pub fn importance(history: &History) -> Option<Importance> {
    let (configs, losses) = finished(history);
    if configs.len() < FEWEST {
        return None;
    }
    let fields = fields(history, &configs);
    let top = best(&losses);
    let score = |top: &[usize]| -> Vec<Vec<f64>> {
        fields.iter().map(|f| f.scores(top, losses.len())).collect()
    };
    let scores = score(&top);
    let total: f64 = scores.iter().flatten().sum();
    if !(total > 0.0 && total.is_finite()) {
        return None;
    }
    let mut random = SplitMix(history.spec().seed);
    let by_chance: Vec<Vec<Vec<f64>>> = (0..DRAWS)
        .map(|_| score(&random.draw(top.len(), losses.len())))
        .collect();
    let chance = |field: usize| {
        let sum = |scores: &Vec<Vec<f64>>| scores.get(field).map_or(0.0, |s| s.iter().sum());
        let mut drawn: Vec<f64> = by_chance.iter().map(sum).collect();
        drawn.sort_by(f64::total_cmp);
        drawn.get(DRAWS * 19 / 20).copied().unwrap_or(0.0)
    };
    let mut parameters: Vec<ParameterImportance> = fields
        .iter()
        .zip(&scores)
        .enumerate()
        .map(|(i, (field, scores))| {
            let sum: f64 = scores.iter().sum();
            ParameterImportance {
                name: field.name.clone(),
                share: sum / total,
                score: sum,
                chance: chance(i) / total,
                regimes: field.regimes(scores, &top, total),
            }
        })
        .collect();
    parameters.sort_by(|a, b| b.score.total_cmp(&a.score));
    Some(Importance {
        trials: losses.len(),
        top: top.len(),
        parameters,
    })
}

/// The configurations of finished trials, and what each counts with, made a loss.
fn finished(history: &History) -> (Vec<&Config>, Vec<f64>) {
    let goal = history.spec().metric.goal;
    let worst = worst(history);
    let trials = history.trials().iter();
    trials
        .filter_map(|t| Some((&t.config, goal.as_loss(counts_with(t, worst)?))))
        .unzip()
}

/// The trials with the smallest losses; of those alike with the last of them, all.
fn best(losses: &[f64]) -> Vec<usize> {
    let most = losses.len();
    let wanted = ((TOP_SHARE * most as f64).ceil() as usize).max(FEWEST_TOP);
    let mut sorted = losses.to_vec();
    sorted.sort_by(f64::total_cmp);
    let limit = sorted.get(wanted.min(most).saturating_sub(1)).copied();
    (0..most)
        .filter(|i| losses.get(*i).copied() <= limit)
        .collect()
}

/// A parameter with the cells in which its trials are.
struct Field {
    name: String,
    branches: Vec<FieldBranch>,
}

/// One branch: for each trial the cell of its value, `None` where another branch is active.
struct FieldBranch {
    when: String,
    grid: Grid,
    cells: Vec<Option<usize>>,
    /// The density of all trials.
    all: Vec<f64>,
    trials: usize,
}

/// The cells that a domain is cut into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Grid {
    cells: usize,
    ordered: bool,
}

fn fields(history: &History, configs: &[&Config]) -> Vec<Field> {
    let parameters = history.spec().space.parameters.iter();
    parameters
        .map(|parameter| {
            let active: Vec<Option<usize>> =
                configs.iter().map(|c| parameter.active_branch(c)).collect();
            let of = |(i, branch): (usize, &Branch)| {
                let values = configs.iter().zip(&active).map(|(config, active)| {
                    (*active == Some(i)).then(|| config.get(&parameter.name))?
                });
                FieldBranch::new(branch, values)
            };
            Field {
                name: parameter.name.clone(),
                branches: parameter
                    .branches
                    .iter()
                    .enumerate()
                    .filter_map(of)
                    .collect(),
            }
        })
        .filter(|field| !field.branches.is_empty())
        .collect()
}

impl FieldBranch {
    /// `None` when there is nothing to choose in it, or too few trials were in it.
    fn new<'a>(branch: &Branch, values: impl Iterator<Item = Option<&'a Value>>) -> Option<Self> {
        let grid = Grid::of(&branch.domain)?;
        let cells: Vec<Option<usize>> = values
            .map(|value| cell(&branch.domain, value?, grid))
            .collect();
        let counts = grid.counts(cells.iter().flatten().copied());
        let trials = counts.iter().sum();
        (trials >= FEWEST_IN_BRANCH).then(|| Self {
            when: words(&branch.when),
            all: density(&counts, grid),
            grid,
            cells,
            trials,
        })
    }

    fn top<'a>(&'a self, top: &'a [usize]) -> impl Iterator<Item = usize> + 'a {
        top.iter().filter_map(|trial| *self.cells.get(*trial)?)
    }
}

impl Field {
    /// What each branch adds, when these of `all` trials are the best.
    fn scores(&self, top: &[usize], all: usize) -> Vec<f64> {
        let quantile = top.len() as f64 / all as f64;
        let of = |branch: &FieldBranch| {
            let counts = branch.grid.counts(branch.top(top));
            let inside: usize = counts.iter().sum();
            if inside == 0 {
                return 0.0;
            }
            let a = inside as f64 / top.len() as f64;
            let b = branch.trials as f64 / all as f64;
            let divergence = divergence(&density(&counts, branch.grid), &branch.all);
            quantile * quantile * a * a / b * divergence
        };
        self.branches.iter().map(of).collect()
    }

    fn regimes(&self, scores: &[f64], top: &[usize], total: f64) -> Vec<Regime> {
        let branches = self.branches.iter().zip(scores);
        branches
            .map(|(branch, score)| Regime {
                when: branch.when.clone(),
                trials: branch.trials,
                top: branch.top(top).count(),
                share: score / total,
            })
            .collect()
    }
}

impl Grid {
    fn of(domain: &Domain) -> Option<Self> {
        let (cells, ordered) = match domain {
            Domain::Categorical { choices, .. } => (choices.len(), false),
            Domain::Constant(_) => (1, false),
            Domain::Law { .. } => (CELLS, true),
            Domain::Float {
                low, high, step, ..
            } => {
                let values = step.map_or(CELLS, |step| {
                    (((high - low) / step).round() as usize).saturating_add(1)
                });
                let cells = if low < high { values.min(CELLS) } else { 1 };
                (cells, true)
            }
            Domain::Int {
                low,
                high,
                log,
                step,
            } => {
                let values = high.saturating_sub(*low) / (*step).max(1) + 1;
                let values = usize::try_from(values).unwrap_or(usize::MAX);
                let cells = if *log {
                    // A cell per doubling or so.
                    (((*high as f64 - *low as f64 + 1.0).log2()).ceil() as usize) + 1
                } else {
                    values
                };
                let cells = if low < high { cells.min(CELLS) } else { 1 };
                (cells, true)
            }
        };
        (cells > 1).then_some(Self { cells, ordered })
    }

    fn counts(self, cells: impl Iterator<Item = usize>) -> Vec<usize> {
        let mut counts = vec![0; self.cells];
        for cell in cells {
            if let Some(count) = counts.get_mut(cell) {
                *count += 1;
            }
        }
        counts
    }
}

/// The cell that a value is in; of two that it is halfway between, the lower.
fn cell(domain: &Domain, value: &Value, grid: Grid) -> Option<usize> {
    let (low, high, x) = match domain {
        Domain::Categorical { choices, .. } => {
            return choices.iter().position(|choice| choice.same(value));
        }
        Domain::Constant(_) => return Some(0),
        // Equally likely values are equally far apart.
        Domain::Law { law, .. } => (0.0, 1.0, law.below(value.as_f64()?)),
        Domain::Float {
            low, high, scale, ..
        } => {
            let forward = |x: f64| match scale {
                Scale::Linear => x,
                Scale::Log => x.ln(),
                Scale::OneMinusLog => -(1.0 - x).ln(),
            };
            (forward(*low), forward(*high), forward(value.as_f64()?))
        }
        Domain::Int { low, high, log, .. } => {
            let forward = |x: f64| if *log { x.ln() } else { x };
            let (low, high) = (forward(*low as f64), forward(*high as f64));
            (low, high, forward(value.as_f64()?))
        }
    };
    let last = grid.cells.saturating_sub(1);
    let place = (x - low) / ((high - low) / last as f64) - 0.5;
    // A rescued trial's rate may be below its range: it counts at the edge.
    place
        .is_finite()
        .then(|| (place.ceil().max(0.0) as usize).min(last))
}

/// The Parzen estimate over the cells of a grid, from how many values are in each.
///
/// Ordered cells: a normal kernel per occupied cell, weighted by its count and cut to the grid, and a
/// wide one of weight 1 in the middle. The width is Scott's, `1.059 · min(IQR / 1.34, σ) · n^(−1/5)`,
/// but at least .5 / 1.64. Choices without an order: each count is shared out so that a little falls
/// on the others.
fn density(counts: &[usize], grid: Grid) -> Vec<f64> {
    let occupied: Vec<(f64, f64)> = counts
        .iter()
        .enumerate()
        .filter(|(_, count)| **count > 0)
        .map(|(cell, count)| (cell as f64, *count as f64))
        .collect();
    let sum: f64 = occupied.iter().map(|(_, count)| count).sum();
    let total = sum + 1.0;
    if !grid.ordered {
        let kernels = occupied.len() as f64 + 1.0;
        let rest = 1.0 / kernels;
        let row = 1.0 + rest * counts.len() as f64;
        let own = |count: usize| {
            let others = sum - count as f64;
            let prior = 1.0 / counts.len() as f64;
            (count as f64 * (1.0 + rest) / row + others * rest / row + prior) / total
        };
        return counts.iter().map(|count| own(*count)).collect();
    }
    let last = counts.len().saturating_sub(1) as f64;
    let width = width(&occupied, sum);
    let mut pdf = vec![0.0; counts.len()];
    let prior = (0.5 * last, 1.0, last + 1.0);
    let kernels = occupied.iter().map(|(cell, count)| (*cell, *count, width));
    for (mean, weight, width) in kernels.chain([prior]) {
        let below = |x: f64| 0.5 * libm::erfc((mean - x) / (width * std::f64::consts::SQRT_2));
        let mass = below(last + 0.5) - below(-0.5);
        for (cell, p) in pdf.iter_mut().enumerate() {
            let x = cell as f64;
            *p += weight / total * (below(x + 0.5) - below(x - 0.5)) / mass;
        }
    }
    pdf
}

/// Scott's bandwidth of values in cells, `(cell, how many)` by rising cell.
fn width(occupied: &[(f64, f64)], sum: f64) -> f64 {
    let mean = occupied.iter().map(|(x, n)| x * n).sum::<f64>() / sum;
    let spread: f64 = occupied.iter().map(|(x, n)| (x - mean).powi(2) * n).sum();
    let sigma = (spread / (sum - 1.0).max(1.0)).sqrt();
    // The first cell up to which there are so many values: at least, or more than.
    let cell = |enough: &dyn Fn(f64) -> bool| {
        let mut below = 0.0;
        let found = occupied.iter().find(|(_, n)| {
            below += n;
            enough(below)
        });
        found.or(occupied.last()).map_or(0.0, |(x, _)| *x)
    };
    let lower = (sum / 4.0).floor();
    let upper = (sum * 3.0 / 4.0).floor();
    let iqr = cell(&|below| below > upper) - cell(&|below| below >= lower);
    let scott = 1.059 * (iqr / 1.34).min(sigma) * sum.powf(-0.2);
    scott.max(0.5 / 1.64)
}

/// The Pearson divergence of the first density from the second.
fn divergence(top: &[f64], all: &[f64]) -> f64 {
    const TINY: f64 = 1e-12;
    let cells = top.iter().zip(all);
    cells
        .map(|(top, all)| (all + TINY) * ((top + TINY) / (all + TINY) - 1.0).powi(2))
        .sum()
}

/// A condition in words: `optimizer is adam or adamw`.
fn words(condition: &Condition) -> String {
    let clauses = condition.0.iter().map(|clause| {
        let values: Vec<String> = clause.any_of.iter().map(short_value).collect();
        format!("{} is {}", clause.parameter, values.join(" or "))
    });
    clauses.collect::<Vec<_>>().join(" and ")
}

/// Steele, Lea & Flood's SplitMix64 (OOPSLA 2014): enough to draw trials with.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// `count` of the numbers below `all`, none twice.
    fn draw(&mut self, count: usize, all: usize) -> Vec<usize> {
        let mut numbers: Vec<usize> = (0..all).collect();
        for i in 0..count.min(all) {
            let left = (all - i) as u64;
            numbers.swap(i, i + (self.next() % left) as usize);
        }
        numbers.truncate(count);
        numbers
    }
}

#[cfg(test)]
mod tests;
