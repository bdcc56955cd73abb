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
//! - What is not known of the process itself (its lengthscales, its noise) is not guessed once but drawn **several
//!   times**, and the improvement is a mean over these ([`super::judge`]).
//! - **Cost**: hyperparameters are fitted anew when a fifteenth more trials have told something, to at
//!   most 150 of them, and drawn fewer times the more there are, from 120 on once; the process is exact up to 800 trials, and beyond that over the best 200 of
//!   them, 600 spread evenly over the others, and those that came since the last fit.

use std::sync::{Mutex, PoisonError};

use rand::Rng as _;
use rand_distr::StandardNormal;

use hpo_study::seed::{Purpose, derive};
use hpo_study::{Config, Event, History, Space, StudySpec, TrialId};

use super::beliefs::Beliefs;
use super::encoding::{Candidate, Draft, Kind, Point};
use super::judge::{Aim, Belief, Judge, World};
use super::observations::{Observations, Outcome};
use super::sobol::Sobol;
use super::surrogate::{Features, Kernel, Process};
use super::targets::{has_losses, targets};
use crate::{Rng, Sampler, stream};

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
/// How often hyperparameters are drawn: this number over that of the rows, and at most so often. Where that is once, what fits
/// best is taken.
const DRAWN: f64 = 240.0;
const MOST_DRAWN: f64 = 8.0;
/// The trial from which on one in so many is greedy.
const GREEDY: (usize, usize) = (40, 3);
/// Draws of a configuration that no trial has had yet, before one is taken twice.
const DRAWS: usize = 64;

/// A Gaussian process that is fitted anew from time to time, and sees new rows in between.
///
/// A fit depends on nothing but the snapshot that was taken when it was due, and the process on
/// nothing but the fit and the rows since, in order. So what is kept here between questions saves work
/// and changes no answer, and a study taken up again goes on as if it had never stopped.
struct Model {
    /// Of the study.
    seed: u64,
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
    /// How often the hyperparameters are drawn.
    draws: usize,
}

/// The work done since the last snapshot.
struct Kept {
    number: usize,
    /// One for each draw of the hyperparameters.
    processes: Vec<Process>,
}

impl Model {
    fn new(seed: u64, is_of_losses: bool) -> Self {
        Self {
            seed,
            snapshot: None,
            number: 0,
            is_of_losses,
            turns: 0,
            kept: Mutex::new(None),
        }
    }

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
        let mut rows = chosen(observations);
        rows.retain(|i| self.has_row(observations, *i));
        self.turns = observations.turns();
        let values = rows.iter().map(|i| values[*i]).collect::<Vec<f64>>();
        self.snapshot = Some(Snapshot {
            told: best_first.len(),
            draws: self.draws(rows.len(), observations),
            rows,
            values,
        });
        self.number += 1;
    }

    /// How often the hyperparameters of a process of so many rows are drawn. What is feasible has one guess only, and so have
    /// losses of which an order is all that is known: more were no better there (docs/search.md).
    fn draws(&self, rows: usize, observations: &Observations) -> usize {
        match self.is_of_losses && has_losses(observations) {
            true => (DRAWN / rows as f64).clamp(1.0, MOST_DRAWN) as usize,
            false => 1,
        }
    }

    /// Hyperparameters fitted to some of the snapshot's rows.
    fn fit(&self, features: &Features, rows: &[Vec<f64>], snapshot: &Snapshot) -> Vec<Kernel> {
        let values = &snapshot.values;
        let mut best_first: Vec<usize> = (0..rows.len()).collect();
        best_first.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
        let chosen = some(rows.len(), &best_first, MOST_FITTED, MOST_FITTED / 3);
        let rows: Vec<Vec<f64>> = chosen.iter().map(|i| rows[*i].clone()).collect();
        let values: Vec<f64> = chosen.iter().map(|i| values[*i]).collect();
        // A stream for each fit: they are numbered as trials are.
        let number = TrialId(u32::try_from(self.number).unwrap_or(u32::MAX));
        let mut rng = stream(derive(self.seed, number, Purpose::Surrogate));
        Kernel::fit(features, &rows, &values, snapshot.draws, &mut rng)
    }

    /// The processes over their rows (at least one), and which these are (indices into what was told).
    fn processes(
        &self,
        features: &Features,
        observations: &Observations,
    ) -> Option<(Vec<Process>, Vec<usize>)> {
        let snapshot = self.snapshot.as_ref()?;
        let told = observations.told();
        let row =
            |i: &usize| features.row(&observations.encoding, observations.point(told[*i].trial));
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.as_ref().is_none_or(|kept| kept.number != self.number) {
            let rows: Vec<Vec<f64>> = snapshot.rows.iter().map(row).collect();
            let kernels = self.fit(features, &rows, snapshot).into_iter();
            let processes = kernels.map(|kernel| Process::new(features, kernel, rows.clone()));
            *kept = Some(Kept {
                number: self.number,
                processes: processes.flatten().collect(),
            });
        }
        let processes = &mut kept.as_mut()?.processes;
        let rows: Vec<usize> = snapshot
            .rows
            .iter()
            .copied()
            .chain((snapshot.told..told.len()).filter(|i| self.has_row(observations, *i)))
            .collect();
        for process in processes.iter_mut() {
            for i in rows.iter().skip(process.len()) {
                process.extend(features, row(i));
            }
        }
        (!processes.is_empty()).then(|| (processes.clone(), rows))
    }
}

/// Which of all that told something become rows of a process, rising; never what is doubted.
fn chosen(observations: &Observations) -> Vec<usize> {
    let (told, order) = (observations.told(), observations.order());
    let believed = (0..told.len()).filter(|i| !told[*i].is_doubted);
    let believed: Vec<usize> = believed.collect();
    let best_first = order.iter().filter_map(|i| believed.binary_search(i).ok());
    let best_first: Vec<usize> = best_first.collect();
    let rows = some(believed.len(), &best_first, MOST_ROWS, BEST_ROWS).into_iter();
    rows.map(|i| believed[i]).collect()
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
                .map(|_| Model::new(spec.seed, true))
                .collect(),
            feasibility: Model::new(spec.seed, false),
            sobol: Sobol::new(spec),
            beliefs: Beliefs::new(spec),
        }
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
        let worlds = self.worlds()?;
        let feasibility = if self.has_infeasible() {
            let (mut processes, rows) = self.feasibility.processes(features, observations)?;
            let process = processes.swap_remove(0);
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
        let trials = observations.count();
        let is_turn = trials >= GREEDY.0 && trials.is_multiple_of(GREEDY.1);
        Some(Judge {
            features,
            observations,
            worlds,
            is_greedy: is_turn && self.objectives.len() == 1,
            feasibility,
            beliefs: (&self.beliefs, history),
        })
    }

    /// What is believed of the objectives, once for each draw of their hyperparameters.
    fn worlds(&self) -> Option<Vec<World>> {
        let of_objectives = (0..self.objectives.len()).map(|objective| self.guesses(objective));
        let mut of_objectives = of_objectives.collect::<Option<Vec<_>>>()?;
        let count = of_objectives.iter().map(ExactSizeIterator::len).min()?;
        let world = |_| {
            let (objectives, means): (Vec<Belief>, Vec<Vec<f64>>) =
                of_objectives.iter_mut().filter_map(Iterator::next).unzip();
            let aim = Aim::of(&means);
            World { objectives, aim }
        };
        Some((0..count).map(world).collect())
    }

    /// What is believed of an objective and its means at what was tried and what runs, for each draw.
    fn guesses(
        &self,
        objective: usize,
    ) -> Option<impl ExactSizeIterator<Item = (Belief, Vec<f64>)> + '_> {
        let (features, observations) = (&self.features, &self.observations);
        let (processes, rows) = self.objectives[objective].processes(features, observations)?;
        let values = targets(observations, objective);
        let values: Vec<f64> = rows.iter().map(|i| values[*i]).collect();
        let pending = observations
            .pending()
            .map(|trial| observations.point(trial));
        let pending: Vec<Vec<f64>> = pending
            .map(|point| features.row(&observations.encoding, point))
            .collect();
        let guess = move |process| believing(features, process, values.clone(), &pending);
        Some(processes.into_iter().map(guess))
    }

    /// The configuration with the highest score that is found.
    fn propose(&self, history: &History, rng: &mut Rng) -> Option<Candidate> {
        let space = &history.spec().space;
        let judge = self.judge(history)?;
        let objectives = &judge.worlds.first()?.objectives;
        let rows = objectives.first()?.process.len() as f64;
        let work = WORK / objectives.len() as f64;
        let count = (work / (rows * rows)).clamp(CANDIDATES.0, CANDIDATES.1) as usize / 3;
        let (told, ranking) = (self.observations.told(), self.observations.ranking());
        let mut elite = Elite::default();
        elite.add(
            &judge,
            (0..count).map(|_| {
                self.observations
                    .encoding
                    .draft(space, rng, |_, _, _, _| None)
            }),
        );
        let encoding = &self.observations.encoding;
        let believed = self.beliefs.candidates(count, history, encoding, rng);
        elite.add(&judge, believed.into_iter().map(|c| c.draft(space)));
        let leaders = &ranking[..ranking.len().min(LEADERS * objectives.len())];
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
        let best = elite.0.into_iter().next();
        best.map(|(_, draft)| draft.candidate(space))
    }

    /// A configuration that differs from another one in one parameter or some.
    fn mutate<'a>(&self, space: &'a Space, parent: &Point, step: f64, rng: &mut Rng) -> Draft<'a> {
        let encoding = &self.observations.encoding;
        let active: Vec<usize> = (0..parent.len()).filter(|i| parent[*i].is_some()).collect();
        let sure = active
            .get(rng.random_range(0..active.len().max(1)))
            .copied();
        let chance = (CHANGES / active.len().max(1) as f64).min(1.0);
        encoding.draft(space, rng, |rng, parameter, branch, _| {
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

/// A process that has seen what runs as well, as if it had the means that are expected of it; and the means at all it has seen.
fn believing(
    features: &Features,
    mut process: Process,
    mut values: Vec<f64>,
    pending: &[Vec<f64>],
) -> (Belief, Vec<f64>) {
    let believed = process.means(features, &process.weights(&values), pending);
    values.extend(believed);
    for row in pending {
        process.extend(features, row.clone());
    }
    let weights = process.weights(&values);
    let means = process.own_means(&values, &weights);
    let belief = Belief {
        process,
        weights,
        mean: 0.0,
    };
    (belief, means)
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

/// The best candidates so far with their scores, best first; none that was tried or nearly so.
#[derive(Default)]
struct Elite<'a>(Vec<(f64, Draft<'a>)>);

impl<'a> Elite<'a> {
    fn add(&mut self, judge: &Judge<'_>, candidates: impl Iterator<Item = Draft<'a>>) {
        let is_new = |c: &Draft<'_>| !judge.observations.is_tried(&c.point);
        let candidates: Vec<Draft<'a>> = candidates.filter(is_new).collect();
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
        let early = self.observations.count() < STARTUP || self.observations.ranking().len() < 2;
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
