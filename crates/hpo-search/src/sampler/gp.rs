//! Bayesian optimization with a Gaussian process.
//!
//! Jones, Schonlau & Welch, "Efficient global optimization of expensive black-box functions", 1998:
//! the next configuration is the one of which most improvement is expected, by a Gaussian process
//! ([`super::surrogate`]) over all that trials have told ([`super::targets`]). The logarithm of the
//! expected improvement is maximized (Ament et al., arXiv 2310.20708), over random configurations,
//! mutations of the best ones, and mutations of the best of those in ever smaller steps; that goes for
//! numbers, choices and conditions alike.
//!
//! - **Infeasible** trials are as bad as the worst for the process, and a second process over what is
//!   feasible gives a chance with which the improvement is multiplied (Gardner et al., "Bayesian
//!   optimization with inequality constraints", ICML 2014).
//! - Trials that **run or wait** without a value count as having the mean that is expected of them, so
//!   that only the doubt about them goes (the Kriging believer: Ginsbourger, Le Riche & Carraro, 2010).
//! - Configurations that were **tried** are not proposed again, nor others that cannot be told from them
//!   ([`super::resolution`]).
//! - The value to improve upon is the best **mean** of what was tried, not the best value: with noise the
//!   best value is a lucky one, which nothing seems to improve (Picheny, Wagner & Ginsbourger, "A
//!   benchmark of kriging-based infill criteria for noisy optimization", 2013: "plug-in").
//! - From the fortieth on every third trial is **greedy**: it takes the best mean, whatever the doubt (De Ath,
//!   Everson, Rahat & Fieldsend, "Greed is good: exploration and exploitation trade-offs in Bayesian
//!   optimisation", ACM TELO 2021; arXiv 1911.12809). Where losses are noisy, expected improvement alone
//!   keeps away from the best region as soon as the process is sure of it, and what is best by luck elsewhere wins.
//! - With **several objectives** there is a process for each, and the next configuration is the one from which most
//!   is expected for the volume that the front covers ([`super::improvement`]), up to a point somewhat beyond the worst of
//!   the front.
//! - **Cost**: hyperparameters are fitted anew when a fifteenth more trials have told something, to at
//!   most 150 of them; the process is exact up to 800 trials, and beyond that over the best 200 of
//!   them, 600 spread evenly over the others, and those that came since the last fit.

use std::sync::{Mutex, PoisonError};

use rand::Rng as _;
use rand_distr::StandardNormal;

use hpo_study::{Config, Event, History, Space, StudySpec, front};

use super::beliefs::Beliefs;
use super::encoding::{Candidate, Kind, Point};
use super::improvement::Open;
use super::normal;
use super::observations::{Observations, Outcome};
use super::sobol::Sobol;
use super::surrogate::{Features, Kernel, Process};
use super::targets::targets;
use crate::{Rng, Sampler};

/// Trials before the first that the process chooses; a scrambled Sobol sequence until then.
const STARTUP: usize = 6;
/// Most rows of the process when it is built anew, and how many of them are the best ones.
const MOST_ROWS: usize = 800;
const BEST_ROWS: usize = 200;
/// Most rows that hyperparameters are fitted to.
const MOST_FITTED: usize = 150;
/// Most trials that come between two fits.
const MOST_BETWEEN: usize = 200;
/// The candidates' number falls with the square of the rows, between these two.
const CANDIDATES: (f64, f64) = (400.0, 1500.0);
/// Rows squared times candidates.
const WORK: f64 = 3e8;
/// Best trials that are mutated, and candidates that are refined.
const LEADERS: usize = 5;
const ELITE: usize = 6;
/// Steps of mutations, in shares of the interval: around the best trials, and round by round.
const STEPS: [f64; 4] = [0.2, 0.1, 0.05, 0.02];
const ROUNDS: [f64; 5] = [0.1, 0.05, 0.02, 0.01, 0.004];
/// How many parameters a mutation changes in the mean, beside the one it changes for sure.
const CHANGES: f64 = 1.5;
/// The trial from which on one in so many is greedy.
const GREEDY: (usize, usize) = (40, 3);
/// Variance of the noise of labels, which says how steep the chance of being feasible is.
const LABEL_NOISE: f64 = 0.1;
/// Draws of a configuration that no trial has had yet, before one is taken twice.
const DRAWS: usize = 64;

/// A Gaussian process that is fitted anew from time to time, and sees new rows in between.
///
/// A fit depends on nothing but the snapshot that was taken when it was due, and the process on
/// nothing but the fit and the rows since, in order. So what is kept here between questions saves work
/// and changes no answer, and a study taken up again goes on as if it had never stopped.
#[derive(Default)]
struct Model {
    snapshot: Option<Snapshot>,
    /// How many snapshots there were.
    number: usize,
    /// Trials whose loss is left out have no rows.
    is_of_losses: bool,
    /// [`Observations::turns`] at the last snapshot.
    turns: usize,
    kept: Mutex<Option<Kept>>,
}

/// What there was to be fitted when a fit was due.
struct Snapshot {
    /// How many had told something.
    told: usize,
    /// The rows of the process: indices into what was told, rising; and their values then.
    rows: Vec<usize>,
    values: Vec<f64>,
}

/// The work done since the last snapshot.
struct Kept {
    number: usize,
    process: Process,
}

impl Model {
    fn is_due(&self, observations: &Observations) -> bool {
        let told = observations.told().len();
        let due = |s: &Snapshot| s.told + (s.told / 15).clamp(1, MOST_BETWEEN);
        let has_turned = self.is_of_losses && self.turns != observations.turns();
        let counting = observations.ranking().len() + observations.infeasible();
        counting >= 2
            && self
                .snapshot
                .as_ref()
                .is_none_or(|s| told >= due(s) || has_turned)
    }

    fn has_row(&self, observations: &Observations, i: usize) -> bool {
        !(self.is_of_losses && observations.told()[i].is_blind)
    }

    /// Takes a snapshot. `values` and what is in the order of the observations are by what was told.
    fn take(&mut self, values: &[f64], observations: &Observations) {
        let best_first = observations.order();
        let mut rows = some(values.len(), best_first, MOST_ROWS, BEST_ROWS);
        rows.retain(|i| self.has_row(observations, *i));
        self.turns = observations.turns();
        let values = rows.iter().map(|i| values[*i]).collect::<Vec<f64>>();
        self.snapshot = Some(Snapshot {
            told: best_first.len(),
            rows,
            values,
        });
        self.number += 1;
    }

    /// The process over its rows, and which these are (indices into what was told).
    fn process(
        &self,
        features: &Features,
        observations: &Observations,
    ) -> Option<(Process, Vec<usize>)> {
        let snapshot = self.snapshot.as_ref()?;
        let told = observations.told();
        let row =
            |i: &usize| features.row(&observations.encoding, observations.point(told[*i].trial));
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.as_ref().is_none_or(|kept| kept.number != self.number) {
            let rows: Vec<Vec<f64>> = snapshot.rows.iter().map(row).collect();
            let kernel = fit(features, &rows, &snapshot.values);
            let process = Process::new(features, kernel, rows)?;
            *kept = Some(Kept {
                number: self.number,
                process,
            });
        }
        let process = &mut kept.as_mut()?.process;
        let rows: Vec<usize> = snapshot
            .rows
            .iter()
            .copied()
            .chain((snapshot.told..told.len()).filter(|i| self.has_row(observations, *i)))
            .collect();
        for i in rows.iter().skip(process.len()) {
            process.extend(features, row(i));
        }
        Some((process.clone(), rows))
    }
}

/// Hyperparameters fitted to some of the rows.
fn fit(features: &Features, rows: &[Vec<f64>], values: &[f64]) -> Kernel {
    let mut best_first: Vec<usize> = (0..rows.len()).collect();
    best_first.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let chosen = some(rows.len(), &best_first, MOST_FITTED, MOST_FITTED / 3);
    let rows: Vec<Vec<f64>> = chosen.iter().map(|i| rows[*i].clone()).collect();
    let values: Vec<f64> = chosen.iter().map(|i| values[*i]).collect();
    Kernel::fit(features, &rows, &values)
}

/// At most `most` of the indices below `count`, rising: the best ones and, evenly spread, others.
fn some(count: usize, best_first: &[usize], most: usize, best: usize) -> Vec<usize> {
    if count <= most {
        return (0..count).collect();
    }
    let mut chosen = vec![false; count];
    for i in best_first.iter().take(best) {
        chosen[*i] = true;
    }
    let others: Vec<usize> = (0..count).filter(|i| !chosen[*i]).collect();
    let wanted = most - best.min(best_first.len());
    for k in 0..wanted {
        chosen[others[k * others.len() / wanted]] = true;
    }
    (0..count).filter(|i| chosen[*i]).collect()
}

/// See the module.
pub(crate) struct Gp {
    observations: Observations,
    features: Features,
    /// One for each objective.
    objectives: Vec<Model>,
    feasibility: Model,
    sobol: Sobol,
    beliefs: Beliefs,
}

impl Gp {
    pub(crate) fn new(spec: &StudySpec) -> Self {
        let observations = Observations::new(&spec.space);
        Self {
            features: Features::new(&observations.encoding),
            observations,
            objectives: spec
                .objectives()
                .map(|_| Model {
                    is_of_losses: true,
                    ..Model::default()
                })
                .collect(),
            feasibility: Model::default(),
            sobol: Sobol::new(spec),
            beliefs: Beliefs::new(spec),
        }
    }

    /// What has been told so far.
    pub(crate) fn observations(&self) -> &Observations {
        &self.observations
    }

    fn has_infeasible(&self) -> bool {
        self.observations.infeasible() > 0
    }

    /// For each that told something 1, or -1 where it was infeasible, less the mean; and the mean.
    fn labels(&self) -> (Vec<f64>, f64) {
        let told = self.observations.told();
        let label = |outcome| {
            if outcome == Outcome::Infeasible {
                -1.0
            } else {
                1.0
            }
        };
        let labels: Vec<f64> = told.iter().map(|t| label(t.outcome)).collect();
        let mean = labels.iter().sum::<f64>() / labels.len().max(1) as f64;
        (labels.iter().map(|label| label - mean).collect(), mean)
    }

    /// The judge of candidates, as things stand.
    fn judge<'a>(&'a self, history: &'a History) -> Option<Judge<'a>> {
        let (features, observations) = (&self.features, &self.observations);
        let beliefs = (0..self.objectives.len()).map(|objective| self.belief(objective));
        let (objectives, means): (Vec<Belief>, Vec<Vec<f64>>) =
            beliefs.collect::<Option<Vec<_>>>()?.into_iter().unzip();
        let feasibility = if self.has_infeasible() {
            let (process, rows) = self.feasibility.process(features, observations)?;
            let (labels, mean) = self.labels();
            let labels: Vec<f64> = rows.iter().map(|i| labels[*i]).collect();
            let weights = process.weights(&labels);
            Some(Belief {
                process,
                weights,
                mean,
            })
        } else {
            None
        };
        let trials = observations.points().len();
        Some(Judge {
            features,
            observations,
            objectives,
            aim: Aim::of(&means),
            is_greedy: trials >= GREEDY.0 && trials.is_multiple_of(GREEDY.1),
            feasibility,
            beliefs: (&self.beliefs, history),
        })
    }

    /// What is believed of an objective, and its means at what was tried and what runs.
    fn belief(&self, objective: usize) -> Option<(Belief, Vec<f64>)> {
        let (features, observations) = (&self.features, &self.observations);
        let (mut process, rows) = self.objectives[objective].process(features, observations)?;
        let values = targets(observations, objective);
        let mut values: Vec<f64> = rows.iter().map(|i| values[*i]).collect();
        let pending = observations
            .pending()
            .map(|trial| observations.point(trial));
        let pending: Vec<Vec<f64>> = pending
            .map(|point| features.row(&observations.encoding, point))
            .collect();
        let believed = process.means(features, &process.weights(&values), &pending);
        values.extend(believed);
        for row in pending {
            process.extend(features, row);
        }
        let weights = process.weights(&values);
        let means = process.own_means(&values, &weights);
        let belief = Belief {
            process,
            weights,
            mean: 0.0,
        };
        Some((belief, means))
    }

    /// The configuration with the highest score that is found.
    fn propose(&self, history: &History, rng: &mut Rng) -> Option<Candidate> {
        let space = &history.spec().space;
        let judge = self.judge(history)?;
        let rows = judge.objectives.first()?.process.len() as f64;
        let work = WORK / judge.objectives.len() as f64;
        let count = (work / (rows * rows)).clamp(CANDIDATES.0, CANDIDATES.1) as usize / 3;
        let (told, ranking) = (self.observations.told(), self.observations.ranking());
        let mut elite = Elite::default();
        elite.add(
            &judge,
            (0..count).map(|_| self.observations.encoding.random(space, rng)),
        );
        let encoding = &self.observations.encoding;
        let believed = self.beliefs.candidates(count, history, encoding, rng);
        elite.add(&judge, believed.into_iter());
        let leaders = &ranking[..ranking.len().min(LEADERS * judge.objectives.len())];
        let mutations = leaders.iter().flat_map(|i| {
            let parent = self.observations.point(told[*i].trial);
            (0..count / leaders.len()).map(move |k| (parent, STEPS[k % STEPS.len()]))
        });
        elite.add(
            &judge,
            mutations.map(|(parent, step)| self.mutate(space, parent, step, rng)),
        );
        for step in ROUNDS {
            let parents: Vec<Point> = elite.0.iter().map(|(_, c)| c.point.clone()).collect();
            let each = count / ROUNDS.len() / ELITE;
            let parents = parents
                .iter()
                .flat_map(|parent| std::iter::repeat_n(parent, each));
            elite.add(
                &judge,
                parents.map(|parent| self.mutate(space, parent, step, rng)),
            );
        }
        elite.0.into_iter().next().map(|(_, candidate)| candidate)
    }

    /// A configuration that differs from another one in one parameter or some.
    fn mutate(&self, space: &Space, parent: &Point, step: f64, rng: &mut Rng) -> Candidate {
        let encoding = &self.observations.encoding;
        let active: Vec<usize> = (0..parent.len()).filter(|i| parent[*i].is_some()).collect();
        let sure = active
            .get(rng.random_range(0..active.len().max(1)))
            .copied();
        let chance = (CHANGES / active.len().max(1) as f64).min(1.0);
        encoding.build(space, rng, |rng, parameter, branch, _| {
            // A parameter that becomes active is drawn at random.
            let cell = parent[parameter].filter(|cell| cell.branch == branch)?;
            if sure != Some(parameter) && !rng.random_bool(chance) {
                return Some(cell.place);
            }
            match &encoding.branches(parameter)[usize::from(branch)] {
                Kind::Fixed => None,
                Kind::Choice { shares } => Some(other_choice(cell.place, shares.len(), rng)),
                Kind::Number { cells } => Some(near(cell.place, step, *cells, rng)),
            }
        })
    }

    /// A configuration no trial has had yet, at random; in a small space perhaps one that a trial had.
    fn draw(&self, space: &Space, rng: &mut Rng) -> Candidate {
        let mut draw = || self.observations.encoding.random(space, rng);
        let mut candidate = draw();
        for _ in 1..DRAWS {
            if !self.observations.is_seen(&candidate.point) {
                break;
            }
            candidate = draw();
        }
        candidate
    }
}

/// Another choice than this one.
fn other_choice(place: f64, count: usize, rng: &mut Rng) -> f64 {
    let other = rng.random_range(0..count.saturating_sub(1).max(1)) as f64;
    if other >= place { other + 1.0 } else { other }
}

/// A place about a step away, reflected at the ends; at least in the next cell where there are few.
fn near(place: f64, step: f64, cells: Option<usize>, rng: &mut Rng) -> f64 {
    let mut by = step * rng.sample::<f64, _>(StandardNormal);
    if let Some(cells) = cells {
        let width = 1.0 / cells as f64;
        by = (by / width).abs().ceil() * width * by.signum();
    }
    let place = (place + by).abs();
    (if place > 1.0 { 2.0 - place } else { place }).clamp(0.0, 1.0)
}

/// A process, and what its values' weights and mean are.
struct Belief {
    process: Process,
    weights: nalgebra::DVector<f64>,
    mean: f64,
}

impl Belief {
    fn at(&self, features: &Features, rows: &[Vec<f64>]) -> Vec<(f64, f64)> {
        let guesses = self.process.predict(features, &self.weights, rows);
        guesses
            .into_iter()
            .map(|(mean, deviation)| (mean + self.mean, deviation))
            .collect()
    }
}

/// What is to be improved upon.
enum Aim {
    /// The best mean of what was tried.
    Best(f64),
    /// What the front leaves open.
    Front(Open),
}

impl Aim {
    /// By the means of each objective at what was tried and what runs.
    fn of(means: &[Vec<f64>]) -> Self {
        if let [means] = means {
            return Self::Best(means.iter().copied().fold(f64::INFINITY, f64::min));
        }
        let count = means.first().map_or(0, Vec::len);
        let rows = (0..count).map(|i| means.iter().map(|m| m[i]).collect());
        let rows: Vec<Vec<f64>> = rows.collect();
        let ranks = front::ranks(&rows);
        let front: Vec<Vec<f64>> = (0..count)
            .filter(|i| ranks[*i] == 0)
            .map(|i| rows[i].clone())
            .collect();
        let reference = means.iter().enumerate().map(|(j, all)| {
            let of_front = || front.iter().map(|row| row[j]);
            let best = of_front().fold(f64::INFINITY, f64::min);
            let worst = of_front().fold(f64::NEG_INFINITY, f64::max);
            // A front of one has no width: whatever was seen counts.
            let far = all.iter().copied().fold(worst, f64::max);
            let worst = if worst > best { worst } else { far };
            worst + front::MARGIN * (worst - best).max(1e-6)
        });
        Self::Front(Open::beyond(&front, &reference.collect::<Vec<f64>>()))
    }
}

/// Scores candidates.
struct Judge<'a> {
    features: &'a Features,
    observations: &'a Observations,
    objectives: Vec<Belief>,
    aim: Aim,
    /// The best mean is looked for, not the most improvement.
    is_greedy: bool,
    /// What is feasible, where not everything was.
    feasibility: Option<Belief>,
    /// What is believed beforehand.
    beliefs: (&'a Beliefs, &'a History),
}

impl Judge<'_> {
    /// The logarithm of the expected improvement times the chance of being feasible; a greedy judge takes the
    /// improvement of the mean itself in place of the former.
    fn scores(&self, candidates: &[Candidate]) -> Vec<f64> {
        let row = |c: &Candidate| self.features.row(&self.observations.encoding, &c.point);
        let rows: Vec<Vec<f64>> = candidates.iter().map(row).collect();
        let guesses: Vec<Vec<(f64, f64)>> = self
            .objectives
            .iter()
            .map(|belief| belief.at(self.features, &rows))
            .collect();
        let of = |i: usize| guesses.iter().map(move |of| of[i]);
        let improvement = |i: usize| match &self.aim {
            Aim::Best(best) => of(i).fold(0.0, |_, (mean, deviation)| {
                if self.is_greedy {
                    best - mean
                } else {
                    normal::log_improvement((best - mean) / deviation) + deviation.ln()
                }
            }),
            Aim::Front(open) => open.log_improvement(&of(i).collect::<Vec<_>>()),
        };
        let mut scores: Vec<f64> = (0..rows.len()).map(improvement).collect();
        if let Some(feasibility) = &self.feasibility {
            let labels = feasibility.at(self.features, &rows);
            for (score, (label, deviation)) in scores.iter_mut().zip(labels) {
                *score += normal::log_below(label / (deviation * deviation + LABEL_NOISE).sqrt());
            }
        }
        let (beliefs, history) = self.beliefs;
        beliefs.add_to(&mut scores, history, candidates);
        scores
    }
}

/// The best candidates so far with their scores, best first; none that was tried or nearly so.
#[derive(Default)]
struct Elite(Vec<(f64, Candidate)>);

impl Elite {
    fn add(&mut self, judge: &Judge<'_>, candidates: impl Iterator<Item = Candidate>) {
        let is_new = |c: &Candidate| !judge.observations.is_tried(&c.point);
        let candidates: Vec<Candidate> = candidates.filter(is_new).collect();
        let scores = judge.scores(&candidates);
        self.0.extend(scores.into_iter().zip(candidates));
        self.0.sort_by(|a, b| b.0.total_cmp(&a.0));
        self.0.dedup_by(|a, b| a.1.point == b.1.point);
        self.0.truncate(ELITE);
    }
}

impl Sampler for Gp {
    fn suggest(&self, history: &History, rng: &mut Rng) -> Option<Config> {
        let space = &history.spec().space;
        let early = history.trials().len() < STARTUP || self.observations.ranking().len() < 2;
        if early || self.features.is_empty() {
            return self.sobol.suggest(history, rng);
        }
        let candidate = self.propose(history, rng);
        Some(candidate.unwrap_or_else(|| self.draw(space, rng)).config)
    }

    fn observe(&mut self, history: &History, event: &Event) {
        self.beliefs.observe(history, event);
        if !self.observations.observe(history, event) || self.features.is_empty() {
            return;
        }
        let observations = &self.observations;
        for (i, model) in self.objectives.iter_mut().enumerate() {
            if model.is_due(observations) {
                model.take(&targets(observations, i), observations);
            }
        }
        if self.has_infeasible() && self.feasibility.is_due(observations) {
            let (labels, _) = self.labels();
            self.feasibility.take(&labels, observations);
        }
    }
}
