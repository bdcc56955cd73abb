//! DEHB: differential evolution with a population for each rung of Hyperband. It says both which configuration is
//! next and how far it runs, so it is a sampler and a scheduler; a study has one of each, which see the
//! same events.
//!
//! Awad, Mallik & Hutter, "DEHB: evolutionary hyperband for scalable, robust and efficient hyperparameter optimization",
//! IJCAI 2021 (arXiv 2105.09821), with its settings: rand/1/bin, F = 0.5, CR = 0.5, out of bounds: drawn anew. Read
//! beside the package `dehb` 0.1.2.
//!
//! Brackets are Hyperband's; each of their rungs is a number of evaluations at a step. Each step has a population as
//! large as the largest rung there, and its members are taken in turn as targets. In the first round of brackets
//! members that were never evaluated are evaluated as they are at a bracket's lowest rung, and higher rungs get the
//! best of the population below, which go on from their checkpoints. After that every evaluation is of a
//! new configuration: a mutant of three of the best of the population below (at the lowest rung: of its own),
//! crossed with the target; it takes the target's place unless it is worse.
//!
//! Other than there: a member's vector is read back from its configuration, so that a resumed study goes on as if
//! nothing had happened; what a configuration does not say (inactive parameters, the place within a choice's share of
//! the interval) is drawn from the trial's own seed. A target that was never evaluated is evaluated as it is, as
//! the paper has it and the package has not. When nobody below can go on, a mutant takes the place.

mod offspring;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use rand::Rng as _;

use hpo_study::seed::{Purpose, derive};
use hpo_study::{Config, Event, EventKind, History, StudySpec, Trial, TrialId, TrialState};

use crate::sampler::encoding::{Encoding, fingerprint};
use crate::scheduler::{comparable, objective_at, short, wait_at_target};
use crate::{Next, Rng, Sampler, Scheduler, Verdict, stream};

/// Most members of a population; larger ones come of absurd rungs only.
const MOST_MEMBERS: usize = 4096;
/// Draws of a configuration that no trial has had yet, before one is taken twice.
const DRAWS: usize = 64;

/// A member of a population.
struct Member {
    /// A place in the unit interval for each parameter.
    vector: Vec<f64>,
    /// Who it is; `None`: it was never evaluated.
    trial: Option<TrialId>,
    /// Its loss at the population's step.
    loss: f64,
}

/// All that is known at one step.
struct Population {
    /// The step; `None`: nothing says how long a trial is.
    level: Option<u64>,
    members: Vec<Member>,
    /// Evaluations that were begun: the next one's target follows from them.
    begun: usize,
}

/// One bracket: how many evaluations of each rung are planned, have begun and are over.
struct Bracket {
    /// The populations' indices, from its lowest rung on.
    first: usize,
    planned: Vec<usize>,
    begun: Vec<usize>,
    over: Vec<usize>,
}

/// An evaluation that has begun.
#[derive(Clone, Copy)]
struct Evaluation {
    bracket: usize,
    rung: usize,
    target: usize,
}

/// See the module.
pub(crate) struct Dehb {
    seed: u64,
    encoding: Encoding,
    /// From the lowest rung to the full length.
    populations: Vec<Population>,
    /// The brackets of a round: the index of the first population, and the sizes of the rungs.
    round: Vec<(usize, Vec<usize>)>,
    brackets: Vec<Bracket>,
    running: BTreeMap<TrialId, Evaluation>,
    /// Who waits, with the index of the population.
    waiting: BTreeMap<TrialId, usize>,
    vectors: Vec<Vec<f64>>,
    seen: HashSet<Vec<u64>>,
    /// Who may still come to the end of an evaluation.
    under_way: BTreeSet<TrialId>,
    /// Who is a member of which population.
    seated: BTreeSet<(TrialId, usize)>,
    somebody_completed: bool,
}

/// What can begin.
enum Job {
    /// A new trial, in this bracket and rung.
    New { bracket: usize, rung: usize },
    /// A trial that waits goes on, in this bracket and rung.
    Promotion {
        trial: TrialId,
        bracket: usize,
        rung: usize,
    },
}

impl Dehb {
    pub(crate) fn new(spec: &StudySpec) -> Self {
        let encoding = Encoding::new(&spec.space);
        let (levels, starts) = match spec.early_terminate.rungs() {
            Some(rungs) => (
                rungs.levels().into_iter().map(Some).collect(),
                rungs.hyperband_brackets(),
            ),
            None => (vec![spec.max_steps()], vec![(0, 1)]),
        };
        let eta = spec.early_terminate.rungs().map_or(2, |r| u64::from(r.eta));
        let rungs_of = |(first, count): (usize, u64)| {
            let size = |k: usize| {
                let power = eta.saturating_pow(u32::try_from(k).unwrap_or(u32::MAX));
                usize::try_from((count / power).max(1)).unwrap_or(usize::MAX)
            };
            (first, (0..levels.len() - first).map(size).collect())
        };
        let round: Vec<(usize, Vec<usize>)> = starts.into_iter().map(rungs_of).collect();
        let size = |level: usize| {
            let of = |(first, sizes): &(usize, Vec<usize>)| {
                let rung = level.checked_sub(*first)?;
                sizes.get(rung).copied()
            };
            round
                .iter()
                .filter_map(of)
                .max()
                .unwrap_or(1)
                .min(MOST_MEMBERS)
        };
        let mut populations = Vec::with_capacity(levels.len());
        for (index, level) in levels.iter().enumerate() {
            let number = TrialId(u32::try_from(index).unwrap_or(u32::MAX));
            let mut rng = stream(derive(spec.seed, number, Purpose::Scramble));
            let mut member = || Member {
                vector: (0..encoding.len()).map(|_| rng.random()).collect(),
                trial: None,
                loss: f64::INFINITY,
            };
            populations.push(Population {
                level: *level,
                members: (0..size(index)).map(|_| member()).collect(),
                begun: 0,
            });
        }
        Self {
            seed: spec.seed,
            encoding,
            populations,
            round,
            brackets: Vec::new(),
            running: BTreeMap::new(),
            waiting: BTreeMap::new(),
            vectors: Vec::new(),
            seen: HashSet::new(),
            under_way: BTreeSet::new(),
            seated: BTreeSet::new(),
            somebody_completed: false,
        }
    }

    /// What can begin now; `None`: nothing but a new bracket.
    fn job(&self, history: &History, can_start: bool) -> Option<Job> {
        for (number, bracket) in self.brackets.iter().enumerate() {
            let Some(rung) = bracket.open_rung(can_start) else {
                continue;
            };
            if rung > 0 && number < self.round.len() {
                let below = bracket.first + rung - 1;
                if let Some(trial) = self.best_waiting(history, below) {
                    return Some(Job::Promotion {
                        trial,
                        bracket: number,
                        rung,
                    });
                }
            }
            if can_start {
                return Some(Job::New {
                    bracket: number,
                    rung,
                });
            }
        }
        None
    }

    /// The job that begins with the next trial, or else the first of the next bracket.
    fn new_trial(&self, history: &History) -> (usize, usize) {
        match self.job(history, true) {
            Some(Job::New { bracket, rung }) => (bracket, rung),
            _ => (self.brackets.len(), 0),
        }
    }

    /// The index of the population of a bracket's rung.
    fn population(&self, bracket: usize, rung: usize) -> usize {
        let first = self.round[bracket % self.round.len()].0;
        (first + rung).min(self.populations.len() - 1)
    }

    /// The best member of a population that waits, is not held, and has not diverged.
    fn best_waiting(&self, history: &History, population: usize) -> Option<TrialId> {
        let members = self.populations[population].members.iter();
        let best = members
            .filter_map(|m| Some((m.loss, m.trial?)))
            .filter(|(loss, id)| loss.is_finite() && self.waiting.get(id) == Some(&population))
            .filter(|(_, id)| history.trial(*id).is_some_and(|t| !t.held))
            .min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        best.map(|(_, id)| id)
    }

    /// Somebody who waits and whom nobody will send on.
    fn left_over(&self, history: &History) -> Option<(TrialId, String)> {
        let may_go_on = |population: usize| {
            self.brackets.len() < self.round.len()
                || self.brackets.iter().take(self.round.len()).any(|b| {
                    let rung = (population + 1).checked_sub(b.first);
                    rung.is_some_and(|r| r > 0 && b.begun.get(r) < b.planned.get(r))
                })
        };
        let (trial, population) = self
            .waiting
            .iter()
            .find(|(trial, population)| {
                !may_go_on(**population) || !self.seated.contains(&(**trial, **population))
            })
            .map(|(trial, population)| (*trial, *population))?;
        Some((trial, self.evidence(history, trial, population)))
    }

    fn evidence(&self, history: &History, trial: TrialId, population: usize) -> String {
        let metric = &history.spec().metric;
        let level = self.populations[population].level.unwrap_or(u64::MAX);
        let value = history
            .trial(trial)
            .and_then(|t| objective_at(&t.curve, level));
        let place = match self.seated.contains(&(trial, population)) {
            true => "it stays in the population there and goes no further",
            false => "better ones have its place in the population there",
        };
        let value = short(value.unwrap_or(f64::NAN));
        format!("dehb: {} {value} at step {level}: {place}", metric.name)
    }

    /// What becomes of those who wait when nobody runs and nobody comes any more: as long as no trial has come to
    /// its end, the best at the highest rung goes on; then all others are out.
    fn wind_up(&self, history: &History) -> Next {
        let held = |id: &TrialId| history.trial(*id).is_some_and(|t| t.held);
        if self.waiting.keys().any(held) {
            return Next::Wait;
        }
        let highest = self.waiting.values().max().copied();
        if let (false, Some(population)) = (self.somebody_completed, highest) {
            let loss = |id: &TrialId| {
                let level = self.populations[population].level.unwrap_or(u64::MAX);
                let value = history
                    .trial(*id)
                    .and_then(|t| objective_at(&t.curve, level));
                comparable(history.spec().metric.goal, value.unwrap_or(f64::NAN))
            };
            let here = self.waiting.iter().filter(|(_, p)| **p == population);
            let best = here
                .map(|(id, _)| *id)
                .min_by(|a, b| loss(a).total_cmp(&loss(b)));
            if let Some(trial) = best {
                return self.resume(trial, population + 1);
            }
        }
        match self.waiting.first_key_value() {
            Some((trial, population)) => Next::Discard {
                trial: *trial,
                evidence: self.evidence(history, *trial, *population),
            },
            None => Next::Wait,
        }
    }

    fn resume(&self, trial: TrialId, population: usize) -> Next {
        let population = population.min(self.populations.len() - 1);
        Next::Resume {
            trial,
            target: self.populations[population].level,
        }
    }

    /// Takes note of an evaluation that has begun.
    fn begin(&mut self, trial: TrialId, bracket: usize, rung: usize) {
        while self.brackets.len() <= bracket {
            let (first, planned) = self.round[self.brackets.len() % self.round.len()].clone();
            self.brackets.push(Bracket {
                first,
                begun: vec![0; planned.len()],
                over: vec![0; planned.len()],
                planned,
            });
        }
        self.brackets[bracket].begun[rung] += 1;
        let population = self.population(bracket, rung);
        let population = &mut self.populations[population];
        let target = population.begun % population.members.len().max(1);
        population.begun += 1;
        let evaluation = Evaluation {
            bracket,
            rung,
            target,
        };
        self.running.insert(trial, evaluation);
    }

    /// Takes note of an evaluation that is over: who is not worse than its target takes its place.
    fn end(&mut self, history: &History, trial: &Trial) {
        let Some(evaluation) = self.running.remove(&trial.id) else {
            return;
        };
        let bracket = &mut self.brackets[evaluation.bracket];
        bracket.over[evaluation.rung] += 1;
        let index = self.population(evaluation.bracket, evaluation.rung);
        let level = self.populations[index].level.unwrap_or(u64::MAX);
        let infeasible = trial.state.is_infeasible() || !trial.rescues.is_empty();
        let came = trial.curve.last_step() >= Some(level) || trial.state == TrialState::Completed;
        let value = objective_at(&trial.curve, level).filter(|_| came && !infeasible);
        let loss = comparable(history.spec().metric.goal, value.unwrap_or(f64::NAN));
        let target = self.populations[index].members.get_mut(evaluation.target);
        let Some(target) = target.filter(|t| loss <= t.loss) else {
            return;
        };
        if let Some(vector) = self.vectors.get(trial.id.index()) {
            if let Some(before) = target.trial {
                self.seated.remove(&(before, index));
            }
            self.seated.insert((trial.id, index));
            *target = Member {
                vector: vector.clone(),
                trial: Some(trial.id),
                loss,
            };
        }
    }
}

impl Bracket {
    /// The rung of which an evaluation can begin, if there is one. A rung waits for the one below. When no new
    /// trials can come, a rung is as large as those that began in the one below it make it.
    fn open_rung(&self, can_start: bool) -> Option<usize> {
        let mut wanted = self.planned.first().copied().unwrap_or(0);
        for rung in 0..self.planned.len() {
            if self.begun[rung] < wanted && (rung > 0 || can_start) {
                return Some(rung);
            }
            if self.over[rung] < self.begun[rung] || self.begun[rung] == 0 {
                return None;
            }
            let planned = (self.planned.get(rung + 1)?, self.planned[rung]);
            wanted = match can_start {
                true => *planned.0,
                false => (planned.0 * self.begun[rung] / planned.1).max(1),
            };
        }
        None
    }
}

impl Sampler for Dehb {
    fn suggest(&self, history: &History, rng: &mut Rng) -> Option<Config> {
        let space = &history.spec().space;
        let (bracket, rung) = self.new_trial(history);
        let first = self.first(bracket, rung).cloned();
        let vector = first.unwrap_or_else(|| self.offspring(bracket, rung, rng));
        let mut candidate = self.candidate(space, &vector, rng);
        for draw in 1..DRAWS {
            if !self.seen.contains(&fingerprint(&candidate.point)) {
                break;
            }
            // A small space, or a population that has become one.
            candidate = if draw < DRAWS / 2 {
                let vector = self.offspring(bracket, rung, rng);
                self.candidate(space, &vector, rng)
            } else {
                self.encoding.random(space, rng)
            };
        }
        Some(candidate.config)
    }

    fn observe(&mut self, history: &History, event: &Event) {
        self.see(history, event);
    }
}

impl Scheduler for Dehb {
    fn next(&self, history: &History, can_start: bool) -> Next {
        if let Some((trial, evidence)) = self.left_over(history) {
            return Next::Discard { trial, evidence };
        }
        match self.job(history, can_start) {
            Some(Job::Promotion {
                trial,
                bracket,
                rung,
            }) => self.resume(trial, self.population(bracket, rung)),
            Some(Job::New { .. }) | None if can_start => {
                let (bracket, rung) = self.new_trial(history);
                Next::Start {
                    bracket: u32::try_from(bracket).unwrap_or(u32::MAX),
                    target: self.populations[self.population(bracket, rung)].level,
                }
            }
            _ if !self.under_way.is_empty() => Next::Wait,
            _ => self.wind_up(history),
        }
    }

    fn judge(&self, history: &History, trial: TrialId) -> Verdict {
        let top = self.populations.last().and_then(|p| p.level);
        history
            .trial(trial)
            .map_or(Verdict::Continue, |trial| wait_at_target(trial, top))
    }

    fn observe(&mut self, history: &History, event: &Event) {
        self.see(history, event);
    }
}

impl Dehb {
    fn see(&mut self, history: &History, event: &Event) {
        match &event.kind {
            EventKind::TrialSuggested {
                trial,
                config,
                bracket,
                target,
            } => {
                let space = &history.spec().space;
                self.vectors.push(self.vector(space, *trial, config));
                let point = self.encoding.point(space, config);
                self.seen.insert(fingerprint(&point));
                // Of no bracket of ours.
                if history.is_imported(*trial) {
                    return;
                }
                let bracket = (*bracket as usize).min(self.brackets.len());
                let (first, sizes) = &self.round[bracket % self.round.len()];
                let index = self.populations.partition_point(|p| p.level < *target);
                let rung = index.saturating_sub(*first).min(sizes.len() - 1);
                self.begin(*trial, bracket, rung);
                self.under_way.insert(*trial);
            }
            EventKind::AttemptLaunching { trial, .. } => {
                self.under_way.insert(*trial);
                if self.waiting.remove(trial).is_some() {
                    self.promoted(history, *trial);
                }
            }
            EventKind::TrialRequeued { trial } => {
                self.waiting.remove(trial);
                self.under_way.insert(*trial);
            }
            EventKind::TrialPaused { trial }
            | EventKind::TrialCompleted { trial }
            | EventKind::TrialStopped { trial, .. }
            | EventKind::TrialFailed { trial, .. } => {
                let Some(record) = history.trial(*trial) else {
                    return;
                };
                self.under_way.remove(trial);
                self.waiting.remove(trial);
                self.end(history, record);
                if record.state == TrialState::Paused {
                    let top = self.populations.len().saturating_sub(2);
                    let is_below = |p: &Population| p.level < record.target;
                    let index = self.populations.partition_point(is_below);
                    self.waiting.insert(*trial, index.min(top));
                }
                self.somebody_completed |= record.state == TrialState::Completed;
            }
            _ => {}
        }
    }

    /// A trial that waited goes on: for the first rung that wants somebody at its new target.
    fn promoted(&mut self, history: &History, trial: TrialId) {
        let target = history.trial(trial).and_then(|t| t.target);
        let wants = |(number, bracket): (usize, &Bracket)| {
            let rung = bracket.open_rung(false)?;
            let index = bracket.first + rung;
            (rung > 0 && self.populations[index].level == target).then_some((number, rung))
        };
        let first_round = self.brackets.iter().enumerate().take(self.round.len());
        if let Some((bracket, rung)) = first_round.filter_map(wants).next() {
            self.begin(trial, bracket, rung);
        }
    }
}

#[cfg(test)]
mod tests;
