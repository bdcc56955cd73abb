//! Asynchronous successive halving as it was published: trials pause at each rung and are promoted.
//!
//! Li et al., "A system for massively parallel hyperparameter tuning", MLSys 2020 (arXiv 1810.05934, 2018),
//! algorithm 2. The variant that stops trials instead is [`super::asha`].

use std::collections::BTreeSet;

use hpo_study::{Event, EventKind, History, Rungs, Trial, TrialId, TrialState};

use super::{comparable, objective_at, short, wait_at_target};
use crate::{Next, Scheduler, Verdict};

/// A trial runs to the lowest rung and pauses there. Whenever a place is free, the highest rung is looked for at
/// which somebody waits who is among the best `⌊n/eta⌋` of the `n` trials that have come there so far: the best of
/// these goes on to the next rung. When there is none, a new trial starts. So nobody waits for a straggler,
/// nothing is decided for good while the study runs, and a place that somebody has taken by mistake costs
/// nobody his own.
///
/// A trial that diverged or failed counts at its next rung, as the worst. One whose process ended well before it
/// came to a rung takes part in all higher rungs with its last value, and needs no process to go on. Of
/// equals the earlier is better.
///
/// When no new trials can come, those that are good enough go on as before. Once nobody runs any more the others
/// are out; but as long as no trial has come to its end, the best at the highest rung goes on (the paper's
/// study has no end, so it does not say).
pub(super) struct Promotion {
    eta: usize,
    /// The steps of the rungs, rising; the last is the full length of a trial.
    levels: Vec<u64>,
    /// The rungs below the top.
    rungs: Vec<Rung>,
    /// For each trial, how many rungs it has come to.
    reached: Vec<usize>,
    /// Who may still come to a rung.
    under_way: BTreeSet<TrialId>,
    /// Who paused before the lowest rung: the rungs have changed since.
    too_low: BTreeSet<TrialId>,
    somebody_completed: bool,
}

/// A rung below the top.
#[derive(Default)]
struct Rung {
    /// Who came here, best first.
    entries: Vec<Entry>,
    /// Who of them waits here, best first.
    waiting: Vec<Entry>,
}

/// A trial's loss at a rung.
type Entry = (f64, TrialId);

impl Rung {
    fn rank(&self, entry: &Entry) -> usize {
        place(&self.entries, entry)
    }

    /// The best of those who wait and need not.
    fn promotable(&self, history: &History, eta: usize) -> Option<TrialId> {
        let quota = self.entries.len() / eta;
        let good = self.waiting.iter().take_while(|e| self.rank(e) < quota);
        good.map(|(_, id)| *id).find(|id| is_free(history, *id))
    }

    fn leave(&mut self, trial: TrialId) {
        self.waiting.retain(|(_, id)| *id != trial);
    }
}

fn place(entries: &[Entry], (loss, id): &Entry) -> usize {
    entries.partition_point(|(l, i)| l.total_cmp(loss).then(i.cmp(id)).is_lt())
}

fn is_free(history: &History, trial: TrialId) -> bool {
    history.trial(trial).is_none_or(|t| !t.held)
}

impl Promotion {
    pub(super) fn new(rungs: Rungs) -> Self {
        let levels = rungs.levels();
        let below = levels.len().saturating_sub(1);
        Self {
            eta: (rungs.eta as usize).max(2),
            rungs: std::iter::repeat_with(Rung::default).take(below).collect(),
            levels,
            reached: Vec::new(),
            under_way: BTreeSet::new(),
            too_low: BTreeSet::new(),
            somebody_completed: false,
        }
    }

    fn resume(&self, trial: TrialId, level: usize) -> Next {
        Next::Resume {
            trial,
            target: self.levels.get(level).copied(),
        }
    }

    /// Puts a trial into the rungs up to this number that it has not been in.
    fn come(&mut self, history: &History, trial: &Trial, rungs: usize) {
        if self.reached.len() <= trial.id.index() {
            self.reached.resize(trial.id.index() + 1, 0);
        }
        let (goal, reached) = (
            history.spec().metric.goal,
            &mut self.reached[trial.id.index()],
        );
        while *reached < rungs.min(self.rungs.len()) {
            let infeasible = trial.state.is_infeasible();
            let value = objective_at(&trial.curve, self.levels[*reached]).filter(|_| !infeasible);
            let entry = (comparable(goal, value.unwrap_or(f64::NAN)), trial.id);
            let entries = &mut self.rungs[*reached].entries;
            entries.insert(place(entries, &entry), entry);
            *reached += 1;
        }
    }

    fn pause(&mut self, history: &History, trial: &Trial) {
        let rungs = match trial.target {
            Some(target) => self.levels.partition_point(|level| *level <= target),
            None => self.levels.len(),
        };
        let Some(rung) = rungs.min(self.rungs.len()).checked_sub(1) else {
            self.too_low.insert(trial.id);
            return;
        };
        self.come(history, trial, rungs);
        let own = |(_, id): &&Entry| *id == trial.id;
        if let Some(entry) = self.rungs[rung].entries.iter().find(own).copied() {
            let waiting = &mut self.rungs[rung].waiting;
            waiting.insert(place(waiting, &entry), entry);
        }
    }

    fn leave(&mut self, trial: TrialId) {
        self.under_way.remove(&trial);
        self.too_low.remove(&trial);
        for rung in &mut self.rungs {
            rung.leave(trial);
        }
    }

    /// What becomes of those who wait when nobody runs and nobody comes any more.
    fn wind_up(&self, history: &History) -> Next {
        let held = |(_, id): &Entry| !is_free(history, *id);
        if self.rungs.iter().any(|rung| rung.waiting.iter().any(held)) {
            return Next::Wait;
        }
        let mut highest_first = self.rungs.iter().enumerate().rev();
        let Some((level, rung, best)) =
            highest_first.find_map(|(level, rung)| Some((level, rung, rung.waiting.first()?)))
        else {
            return Next::Wait;
        };
        if !self.somebody_completed {
            return self.resume(best.1, level + 1);
        }
        let metric = &history.spec().metric;
        let evidence = format!(
            "asha: {} {} at step {} is rank {} of {} at this rung; the best {} went on, and no more \
             trials come",
            metric.name,
            short(metric.goal.as_loss(best.0)),
            self.levels[level],
            rung.rank(best) + 1,
            rung.entries.len(),
            rung.entries.len() / self.eta,
        );
        Next::Discard {
            trial: best.1,
            evidence,
        }
    }
}

impl Scheduler for Promotion {
    fn next(&self, history: &History, can_start: bool) -> Next {
        for (level, rung) in self.rungs.iter().enumerate().rev() {
            if let Some(trial) = rung.promotable(history, self.eta) {
                return self.resume(trial, level + 1);
            }
        }
        if let Some(trial) = self.too_low.iter().find(|id| is_free(history, **id)) {
            return self.resume(*trial, 0);
        }
        if can_start {
            return Next::Start {
                bracket: 0,
                target: self.levels.first().copied(),
            };
        }
        if !self.under_way.is_empty() {
            return Next::Wait;
        }
        self.wind_up(history)
    }

    fn judge(&self, history: &History, trial: TrialId) -> Verdict {
        let top = self.levels.last().copied();
        history
            .trial(trial)
            .map_or(Verdict::Continue, |trial| wait_at_target(trial, top))
    }

    fn observe(&mut self, history: &History, event: &Event) {
        let (EventKind::TrialSuggested { trial, .. }
        | EventKind::AttemptLaunching { trial, .. }
        | EventKind::TrialRequeued { trial }
        | EventKind::TrialPaused { trial }
        | EventKind::TrialCompleted { trial }
        | EventKind::TrialStopped { trial, .. }
        | EventKind::TrialFailed { trial, .. }) = &event.kind
        else {
            return;
        };
        let Some(record) = history.trial(*trial) else {
            return;
        };
        self.leave(*trial);
        match &record.state {
            TrialState::Paused => self.pause(history, record),
            TrialState::Completed => {
                self.somebody_completed = true;
                self.come(history, record, self.rungs.len());
            }
            TrialState::Stopped(_) | TrialState::Failed(_)
                if record.state.is_infeasible()
                    || matches!(event.kind, EventKind::TrialFailed { .. }) =>
            {
                let next = self.reached.get(trial.index()).map_or(1, |r| r + 1);
                self.come(history, record, next);
            }
            TrialState::Stopped(_) | TrialState::Failed(_) => {}
            _ => {
                self.under_way.insert(*trial);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::{Log, Simulation, Worker, always, float, space, spec};
    use hpo_study::{AttemptEnd, Config, EarlyTerminate, Method, Space, StopReason};

    const RUNGS: Rungs = Rungs {
        min_iter: 1,
        max_iter: 9,
        eta: 3,
    };

    fn log() -> Log {
        let rule = EarlyTerminate::AshaPromotion(RUNGS);
        Log::new(spec(Space::default(), Method::Random, rule))
    }

    fn next(log: &Log) -> Next {
        log.scheduler.next(&log.history, true)
    }

    /// Starts a trial as the scheduler says it.
    fn start(log: &mut Log) -> TrialId {
        let Next::Start { bracket, target } = next(log) else {
            panic!("{:?} instead of a start", next(log));
        };
        log.start(Config::new(), bracket, target)
    }

    fn arrive(log: &mut Log, trial: TrialId, loss: f64) {
        let step = log.trial(trial).target.unwrap();
        log.report(trial, step, loss);
        assert_eq!(log.scheduler.judge(&log.history, trial), Verdict::Pause);
        log.pause(trial);
    }

    /// The trials that go on, one after the other, and how far.
    fn promoted(log: &mut Log, can_start: bool) -> Vec<(TrialId, u64)> {
        let mut promoted = Vec::new();
        while let Next::Resume { trial, target } = log.scheduler.next(&log.history, can_start) {
            log.launch(trial, target);
            promoted.push((trial, target.unwrap()));
        }
        promoted
    }

    #[test]
    fn who_is_among_the_best_third_so_far_goes_on_from_the_highest_rung_first() {
        let mut log = log();
        let mut trials = Vec::new();
        for (loss, gone_on) in [
            (0.5, None),
            (0.4, None),
            // Three: one place, for the best so far.
            (0.6, Some(1)),
            // Still one place, and somebody better; whoever went on before has not lost his.
            (0.3, Some(3)),
            (0.2, Some(4)),
            // Six: two places, and both of the best two have gone on.
            (0.7, None),
        ] {
            let trial = start(&mut log);
            trials.push(trial);
            arrive(&mut log, trial, loss);
            let expected: Vec<(TrialId, u64)> =
                gone_on.map(|i: usize| (trials[i], 3)).into_iter().collect();
            assert_eq!(promoted(&mut log, true), expected, "after {loss}");
        }
        for (trial, loss) in [(1, 0.3), (3, 0.25), (4, 0.1)] {
            arrive(&mut log, trials[trial], loss);
        }
        assert_eq!(promoted(&mut log, true), [(trials[4], 9)]);
        log.report(trials[4], 9, 0.1);
        let verdict = log.scheduler.judge(&log.history, trials[4]);
        assert_eq!(verdict, Verdict::Continue, "it has come to its end");
    }

    #[test]
    fn the_broken_count_as_worst_and_the_finished_with_what_they_had() {
        let mut log = log();
        let trials: Vec<TrialId> = (0..4).map(|_| start(&mut log)).collect();
        log.fail(trials[0]);
        let evidence = String::new();
        log.stop(trials[1], StopReason::Diverged { evidence });
        // A process that heeds no budget and is through at once.
        log.report(trials[2], 1, 0.9);
        log.report(trials[2], 9, 0.05);
        let end = AttemptEnd::Exited {
            code: 0,
            stderr: String::new(),
        };
        log.end(trials[2], end);
        log.complete(trials[2]);
        arrive(&mut log, trials[3], 0.8);
        assert_eq!(promoted(&mut log, true), [(trials[3], 3)], "best of four");
        arrive(&mut log, trials[3], 0.7);
        let trial = start(&mut log);
        arrive(&mut log, trial, 0.1);
        assert_eq!(promoted(&mut log, true), [(trial, 3)]);
        arrive(&mut log, trial, 0.1);
        // With the finished one there are three at step 3.
        assert_eq!(promoted(&mut log, true), [(trial, 9)]);
    }

    #[test]
    fn at_the_end_one_comes_to_the_top_and_nobody_is_left() {
        let mut log = log();
        let (a, b) = (start(&mut log), start(&mut log));
        arrive(&mut log, a, 0.5);
        assert_eq!(
            log.scheduler.next(&log.history, false),
            Next::Wait,
            "one runs"
        );
        arrive(&mut log, b, 0.4);
        assert_eq!(promoted(&mut log, false), [(b, 3)]);
        arrive(&mut log, b, 0.4);
        assert_eq!(promoted(&mut log, false), [(b, 9)]);
        let evidence = String::new();
        log.stop(b, StopReason::Diverged { evidence });
        assert_eq!(promoted(&mut log, false), [(a, 3)], "the next one's turn");
        arrive(&mut log, a, 0.5);
        assert_eq!(promoted(&mut log, false), [(a, 9)]);
        log.report(a, 9, 0.4);
        log.complete(a);
        assert_eq!(log.scheduler.next(&log.history, false), Next::Wait);
    }

    #[test]
    fn who_is_left_over_is_out_with_the_numbers() {
        let mut log = log();
        let trials: Vec<TrialId> = (0..3).map(|_| start(&mut log)).collect();
        for (trial, loss) in trials.iter().zip([0.5, 0.4, 0.3]) {
            arrive(&mut log, *trial, loss);
        }
        assert_eq!(promoted(&mut log, false), [(trials[2], 3)]);
        log.report(trials[2], 9, 0.1);
        log.complete(trials[2]);
        let Next::Discard { trial, evidence } = log.scheduler.next(&log.history, false) else {
            panic!("two wait for nothing");
        };
        let words = "asha: loss 0.4000 at step 1 is rank 2 of 3 at this rung; the best 1 went on, and no \
                     more trials come";
        assert_eq!((trial, evidence.as_str()), (trials[1], words));
    }

    #[test]
    fn rungs_that_change_lose_nobody() {
        let mut log = log();
        let trials: Vec<TrialId> = (0..3).map(|_| start(&mut log)).collect();
        for (trial, loss) in trials.iter().zip([0.5, 0.4, 0.3]) {
            arrive(&mut log, *trial, loss);
        }
        let rungs = Rungs {
            min_iter: 4,
            max_iter: 20,
            eta: 4,
        };
        let rule = EarlyTerminate::AshaPromotion(rungs);
        log.change_spec(spec(Space::default(), Method::Random, rule));
        let all = [(trials[0], 5), (trials[1], 5), (trials[2], 5)];
        assert_eq!(promoted(&mut log, true), all);
    }

    #[test]
    fn few_come_far_and_all_of_them_are_good() {
        let space = space([always("x", float(0.0, 1.0))]);
        let mut study = spec(space, Method::Random, EarlyTerminate::AshaPromotion(RUNGS));
        study.run_cap = Some(200);
        let log = Simulation::new(study, Worker::default(), 3).run();
        let came = |step: u64| {
            let trials = log.history.trials().iter();
            trials.filter(|t| t.curve.last_step() >= Some(step)).count()
        };
        // As the paper says: wrong promotions are of the order of the square root of all.
        assert_eq!(came(1), 200);
        assert!((66..=66 + 15).contains(&came(3)), "{}", came(3));
        assert!((22..=22 + 12).contains(&came(9)), "{}", came(9));
    }
}
