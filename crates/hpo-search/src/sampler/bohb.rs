//! BOHB: Hyperband whose configurations come from a kernel density model for each budget.
//!
//! Falkner, Klein & Hutter, "BOHB: robust and efficient hyperparameter optimization at scale", ICML 2018
//! (arXiv 1807.01774), algorithm 2, with its settings: N_min = d + 1, q = 15 %, ρ = 1/3, N_s = 64, b_w = 3.
//!
//! With D_b the losses at rung b, the model is of the largest b with |D_b| ≥ N_min + 2. Its best
//! max(N_min, q·|D_b|) make the density l, its worst max(N_min, |D_b| − those) the density g (both may have the same
//! trials while there are few); of N_s draws from l, each around one of its trials with b_w times the
//! bandwidth, the one with the highest l/g is next. One trial in three is drawn at random, so that
//! Hyperband's guarantee stays.
//!
//! Other than there: the kernels are those of [`super::parzen`] (cut off at the ends of a range, of a width by
//! their number and not by how far apart they are, and with a tree of conditions where the paper's code fills in values for what is not active), and d is the
//! number of parameters that a configuration has, not that of all its branches together. Trials that have
//! told nothing yet count among the bad (the constant liar), infeasible ones as the worst at all rungs
//! they were to come to. Until there is a model, configurations are those of a scrambled Sobol sequence.
//! A trial counts at a rung once it has been there, and stays there with what it had then.

use rand::Rng as _;

use hpo_study::{Config, Event, EventKind, History, Space, StudySpec, Trial, TrialId};

use super::beliefs::Beliefs;
use super::columns::Columns;
use super::encoding::{Candidate, Draft, Point, highest};
use super::observations::{ImportsSeen, Observations, is_prior_only};
use super::parzen::Mixture;
use super::sobol::Sobol;
use crate::scheduler::{comparable, objective_at};
use crate::{Rng, Sampler};

/// The share of good trials (q).
const GOOD: f64 = 0.15;
/// The share of trials that are drawn at random (ρ).
const AT_RANDOM: f64 = 1.0 / 3.0;
/// Candidates that are compared (N_s).
const CANDIDATES: usize = 64;
/// How much wider than its kernel a candidate is drawn (b_w).
const WIDENING: f64 = 3.0;
/// How much a trial's kernel weighs beside the prior: so much that the prior does not count. Who has come far has all
/// been good, so far from all of them a prior would make l/g large.
const KERNEL: f64 = 1e6;
/// Draws of a configuration that no trial has had yet, before one is taken twice.
const DRAWS: usize = 64;
/// Most bad trials that have a kernel each; of more, evenly spread ones are taken.
const MOST_BAD: usize = 2048;

/// See the module.
pub(crate) struct Bohb {
    observations: Observations,
    columns: Columns,
    sobol: Sobol,
    /// The steps of the rungs, rising.
    levels: Vec<u64>,
    /// For each rung who has been there, best first.
    rungs: Vec<Vec<(f64, TrialId)>>,
    /// For each trial, at how many rungs it has been.
    reached: Vec<usize>,
    /// d: the most parameters that a configuration has had.
    dimensions: usize,
    beliefs: Beliefs,
    imports: ImportsSeen,
}

impl Bohb {
    pub(crate) fn new(spec: &StudySpec) -> Self {
        let observations = Observations::new(&spec.space);
        // Without rungs there is one budget: the end.
        let levels = spec
            .early_terminate
            .rungs()
            .map_or(vec![u64::MAX], |r| r.levels());
        Self {
            columns: Columns::new(observations.encoding.len()),
            observations,
            sobol: Sobol::new(spec),
            rungs: vec![Vec::new(); levels.len()],
            levels,
            reached: Vec::new(),
            dimensions: 0,
            beliefs: Beliefs::new(spec),
            imports: ImportsSeen::default(),
        }
    }

    /// Puts a trial into the rungs that it has come to; an infeasible one into all it was to come to.
    fn come(&mut self, history: &History, trial: &Trial) {
        let Some(reached) = self.reached.get_mut(trial.id.index()) else {
            return;
        };
        let infeasible = trial.state.is_infeasible() || !trial.rescues.is_empty();
        let is_over = trial.state == hpo_study::TrialState::Completed;
        let step = match trial.curve.last() {
            _ if infeasible => trial.target.unwrap_or(u64::MAX),
            _ if is_over => u64::MAX,
            Some((step, _)) => step,
            None => return,
        };
        let goal = history.spec().metric.goal;
        while let Some(level) = self.levels.get(*reached).filter(|level| **level <= step) {
            let value = objective_at(&trial.curve, *level);
            // Of one from elsewhere perhaps only the end is known: at the lower rungs it has not been.
            let end = trial.value().filter(|_| trial.curve.is_empty());
            if end.is_some() && *reached + 1 < self.levels.len() {
                *reached += 1;
                continue;
            }
            let value = value.or(end).filter(|_| !infeasible);
            let entry = (comparable(goal, value.unwrap_or(f64::NAN)), trial.id);
            let rung = &mut self.rungs[*reached];
            let place = rung.partition_point(|(loss, id)| (*loss, *id) < entry);
            rung.insert(place, entry);
            *reached += 1;
        }
    }

    /// Takes imports that have come to be doubted out of the rungs, and puts those in that are so no more.
    fn weigh_imports(&mut self, history: &History) {
        let is_out = |trial: TrialId| is_prior_only(history, trial);
        for rung in &mut self.rungs {
            rung.retain(|(_, trial)| !is_out(*trial));
        }
        let imported = history.trials().iter().filter(|t| t.origin.is_some());
        for trial in imported {
            match self.reached.get_mut(trial.id.index()) {
                Some(reached) if is_out(trial.id) => *reached = 0,
                _ => self.come(history, trial),
            }
        }
    }

    /// The good and the bad trials of the largest budget that has enough of them, as indices.
    fn split(&self) -> Option<(Vec<usize>, Vec<usize>)> {
        let least = self.dimensions + 1;
        let rung = self
            .rungs
            .iter()
            .rev()
            .find(|rung| rung.len() >= least + 2)?;
        let good = least.max((GOOD * rung.len() as f64) as usize);
        let bad = least.max(rung.len() - good);
        let indices = |part: &[(f64, TrialId)]| -> Vec<usize> {
            part.iter().map(|(_, id)| id.index()).collect()
        };
        let feasible = rung.partition_point(|(loss, _)| loss.is_finite());
        let good = indices(&rung[..good.min(feasible)]);
        let mut bad = indices(&rung[rung.len() - bad..]);
        let is_there = |id: &TrialId| self.reached.get(id.index()).is_some_and(|r| *r > 0);
        let pending = self.observations.pending().filter(|id| !is_there(id));
        bad.extend(pending.map(TrialId::index));
        let stride = bad.len().div_ceil(MOST_BAD).max(1);
        (!good.is_empty()).then(|| (good, bad.into_iter().step_by(stride).collect()))
    }

    /// The candidate with the highest ratio that no trial has had yet; `None`: there is no model, or nothing
    /// new near the good ones.
    fn propose(&self, history: &History, rng: &mut Rng) -> Option<Candidate> {
        let space = &history.spec().space;
        let (good, bad) = self.split()?;
        let encoding = &self.observations.encoding;
        let mixture = |trials: &[usize]| {
            let heavy = vec![KERNEL; trials.len()];
            Mixture::new(encoding, self.columns.select(trials), heavy)
        };
        let (l, g) = (mixture(&good), mixture(&bad));
        let points = self.observations.points();
        let draws = (0..CANDIDATES).map(|_| l.draw(space, points, &good, WIDENING, rng));
        let unseen = |draft: &Draft| !self.observations.is_seen(&draft.point);
        let candidates: Vec<Draft> = draws.filter(unseen).collect();
        let points: Vec<&Point> = candidates.iter().map(|c| &c.point).collect();
        let (l, g) = (l.log_densities(&points), g.log_densities(&points));
        let mut ratios: Vec<f64> = l.iter().zip(&g).map(|(l, g)| l - g).collect();
        self.beliefs
            .add_to_drafts(&mut ratios, history, &candidates);
        highest(candidates, &ratios).map(|draft| draft.candidate(space))
    }

    fn at_random(&self, space: &Space, rng: &mut Rng) -> Candidate {
        let encoding = &self.observations.encoding;
        let mut candidate = encoding.random(space, rng);
        for _ in 1..DRAWS {
            if !self.observations.is_seen(&candidate.point) {
                break;
            }
            candidate = encoding.random(space, rng);
        }
        candidate
    }
}

impl Sampler for Bohb {
    fn suggest(&self, history: &History, rng: &mut Rng) -> Option<Config> {
        let space = &history.spec().space;
        if self.split().is_none() {
            return self.sobol.suggest(history, rng);
        }
        let at_random = rng.random_bool(AT_RANDOM);
        let proposed = if at_random {
            None
        } else {
            self.propose(history, rng)
        };
        Some(
            proposed
                .unwrap_or_else(|| self.at_random(space, rng))
                .config,
        )
    }

    fn observe(&mut self, history: &History, event: &Event) {
        self.beliefs.observe(history, event);
        self.observations.observe(history, event);
        if self.imports.have_turned(history) {
            self.weigh_imports(history);
        }
        match &event.kind {
            EventKind::TrialSuggested { trial, .. } => {
                let point = self.observations.point(*trial);
                self.dimensions = self.dimensions.max(point.iter().flatten().count());
                self.columns.push(point);
                self.reached.push(0);
            }
            EventKind::Reported { trial, .. }
            | EventKind::TrialPaused { trial }
            | EventKind::TrialCompleted { trial }
            | EventKind::TrialStopped { trial, .. }
            | EventKind::TrialRescued { trial, .. }
            | EventKind::TrialFailed { trial, .. } => {
                if let Some(record) = history.trial(*trial)
                    && !is_prior_only(history, *trial)
                {
                    self.come(history, record);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::{Log, Simulation, Worker, always, categorical, float, space, spec, when};
    use hpo_study::{EarlyTerminate, Method, Rungs, StopReason};

    const RUNGS: Rungs = Rungs {
        min_iter: 1,
        max_iter: 9,
        eta: 3,
    };

    fn study(space: Space) -> StudySpec {
        spec(space, Method::Bohb, EarlyTerminate::Hyperband(RUNGS))
    }

    fn plain() -> Space {
        space([always("x", float(0.0, 1.0)), always("y", float(0.0, 1.0))])
    }

    /// A sampler that has seen trials with these losses at steps 1, 3 and 9, as far as they go.
    fn seen(losses: &[&[f64]]) -> (Bohb, Log) {
        let mut log = Log::new(study(plain()));
        for (i, losses) in losses.iter().enumerate() {
            let mut config = Config::new();
            config.set("x", i as f64 / 20.0);
            config.set("y", 0.5);
            let trial = log.start(config, 0, Some(1));
            for (loss, step) in losses.iter().zip([1, 3, 9]) {
                if step > 1 {
                    log.launch(trial, Some(step));
                }
                log.report(trial, step, *loss);
                if step < 9 {
                    log.pause(trial);
                }
            }
        }
        let mut bohb = Bohb::new(log.history.spec());
        let mut history = History::open(&log.events[0]).unwrap();
        for event in &log.events[1..] {
            history.apply(event).unwrap();
            bohb.observe(&history, event);
        }
        (bohb, log)
    }

    #[test]
    fn the_model_is_of_the_largest_budget_with_enough_trials() {
        let losses: Vec<Vec<f64>> = (0..12)
            .map(|i| {
                // At step 3 it is the other way round.
                let early = f64::from(i);
                if i < 5 {
                    vec![early, -early]
                } else {
                    vec![early]
                }
            })
            .collect();
        let of = |n: usize| -> Vec<&[f64]> { losses[..n].iter().map(Vec::as_slice).collect() };
        // d = 2, so a model needs five: at step 1 of the first four, at step 3 of five.
        assert!(seen(&of(4)).0.split().is_none());
        let (bohb, _) = seen(&of(12));
        let (good, bad) = bohb.split().unwrap();
        assert_eq!(good, [4, 3, 2], "the best three at step 3");
        assert_eq!(bad, [2, 1, 0], "the worst three there");
        let first_only: Vec<&[f64]> = losses.iter().map(|l| &l[..1]).collect();
        let (good, bad) = seen(&first_only).0.split().unwrap();
        assert_eq!((good, bad.len()), (vec![0, 1, 2], 9));
    }

    #[test]
    fn the_broken_are_bad_wherever_they_were_to_come_and_the_pending_too() {
        let (_, mut log) = seen(&[&[0.1], &[0.2], &[0.3]]);
        let config: Config = [("x", 0.9), ("y", 0.9)].into_iter().collect();
        let broken = log.start(config.clone(), 0, Some(3));
        let evidence = String::new();
        log.stop(broken, StopReason::Diverged { evidence });
        let failed = log.start(config.clone(), 0, Some(1));
        log.fail(failed);
        let running = log.start(config, 0, Some(1));
        let mut bohb = Bohb::new(log.history.spec());
        let mut history = History::open(&log.events[0]).unwrap();
        for event in &log.events[1..] {
            history.apply(event).unwrap();
            bohb.observe(&history, event);
        }
        let (good, bad) = bohb.split().unwrap();
        assert_eq!(good, [0, 1, 2]);
        assert_eq!(bad, [2, broken.index(), failed.index(), running.index()]);
        assert_eq!(
            bohb.rungs.iter().map(Vec::len).collect::<Vec<_>>(),
            [5, 1, 0]
        );
    }

    #[test]
    fn it_comes_closer_than_chance_down_the_tree_with_two_thirds_of_its_trials() {
        let space = space([
            always("kind", categorical(["a", "b"])),
            when("u", "kind", "a", float(0.0, 1.0)),
            when("v", "kind", "b", float(0.0, 1.0)),
            always("z", float(0.0, 1.0)),
        ]);
        fn loss(config: &Config, step: u64) -> f64 {
            let own = match config.text("kind") {
                Some("a") => (config.number("u").unwrap() - 0.7).abs(),
                _ => 0.4 + (config.number("v").unwrap() - 0.2).abs(),
            };
            own + (config.number("z").unwrap() - 0.4).abs() + 1.0 / step as f64
        }
        let (mut good, mut late) = (0, 0);
        for seed in 0..6 {
            let mut study = study(space.clone());
            (study.seed, study.run_cap) = (seed, Some(150));
            let worker = Worker {
                objective: loss,
                length: 9,
                ..Worker::default()
            };
            let log = Simulation::new(study, worker, seed).run();
            let trials = &log.history.trials()[60..];
            late += trials.len();
            good += trials.iter().filter(|t| loss(&t.config, 9) < 0.45).count();
        }
        // At random it is one in nine.
        assert!(good > late / 3, "{good} of {late}");
    }
}
