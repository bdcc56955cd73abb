//! Synchronous successive halving: of the trials at a rung the best `1/eta` go on, the others are out.
//!
//! Jamieson & Talwalkar, "Non-stochastic best arm identification and hyperparameter optimization",
//! AISTATS 2016 (arXiv 1502.07943); with `eta` instead of 2 as in Li et al. (arXiv 1603.06560).

use std::collections::BTreeMap;

use hpo_study::{Event, EventKind, History, Rungs, StopReason, Trial, TrialId, TrialState};

use super::{Waiting, comparable, objective_at, short, wait_at_target};
use crate::{Next, Scheduler, Verdict};

/// A bracket before anybody is in it.
pub(super) struct Shape {
    /// How many trials begin in it.
    pub(super) size: usize,
    /// Its rungs in steps, rising; the last is the full length of a trial.
    pub(super) levels: Vec<u64>,
}

/// The brackets of plain successive halving: always the same one, with `eta^s` trials for `s + 1`
/// rungs, so that one comes to the top.
pub(super) fn cycle(rungs: Rungs) -> Vec<Shape> {
    let levels = rungs.levels();
    vec![Shape {
        size: power(rungs.eta, levels.len() - 1),
        levels,
    }]
}

/// `base^exponent`, or the largest number there is.
fn power(base: u32, exponent: usize) -> usize {
    (base as usize).saturating_pow(u32::try_from(exponent).unwrap_or(u32::MAX))
}

/// Brackets of successive halving, one after the other, whose shapes repeat in a cycle.
///
/// A trial pauses when it has come to its rung. Once all `n` members of a rung have, or are over, the
/// best `⌊n/eta⌋` (but at least one) go on to the next rung, and the others are out. Members that
/// diverged, failed or were stopped count in `n` and are worse than all others; one whose process
/// ended well before the rung takes part with its last value, and needs no process to go on. Of equal
/// members the earlier is better.
///
/// Nobody waits for a straggler: as long as a rung is not complete, free places go to new trials of
/// this bracket or the next. A member that the user holds back is waited for in the same way: the others of
/// its rung go on or are out, and the next rung is judged when it has come there. A bracket in which somebody has gone on or is out takes no new members.
/// When no new trials can come, a bracket is judged with the members it has.
pub(super) struct Halving {
    eta: usize,
    /// At least one.
    cycle: Vec<Shape>,
    brackets: BTreeMap<u32, Bracket>,
    waiting: Waiting,
}

/// A bracket that trials have begun in.
#[derive(Default)]
struct Bracket {
    members: Vec<TrialId>,
    /// Whether somebody has gone on or is out: then there are no new members.
    judged: bool,
}

impl Halving {
    pub(super) fn new(eta: u32, cycle: Vec<Shape>) -> Self {
        Self {
            eta: (eta as usize).max(2),
            cycle,
            brackets: BTreeMap::new(),
            waiting: Waiting::default(),
        }
    }

    fn shape(&self, bracket: u32) -> &Shape {
        &self.cycle[bracket as usize % self.cycle.len()]
    }

    fn is_full(&self, number: u32, bracket: &Bracket) -> bool {
        bracket.judged || bracket.members.len() >= self.shape(number).size
    }

    fn start(&self) -> Next {
        let bracket = match self.brackets.last_key_value() {
            Some((number, bracket)) if self.is_full(*number, bracket) => number + 1,
            Some((number, _)) => *number,
            None => 0,
        };
        Next::Start {
            bracket,
            target: self.shape(bracket).levels.first().copied(),
        }
    }

    /// What happens to somebody who waits in this bracket; `None` while nothing can be said.
    fn decide(&self, history: &History, number: u32, can_start: bool) -> Option<Next> {
        let bracket = self.brackets.get(&number)?;
        if can_start && !self.is_full(number, bracket) {
            return None;
        }
        let mut members: Vec<&Trial> = bracket
            .members
            .iter()
            .filter_map(|id| history.trial(*id))
            .collect();
        let (top, below) = self.shape(number).levels.split_last()?;
        for (i, level) in below.iter().enumerate() {
            if let Some(trial) = waits_below(&members, *level) {
                return Some(Next::Resume {
                    trial,
                    target: Some(*level),
                });
            }
            let held_below = |t: &&Trial| t.held && waits_for(t, *level);
            if !members.iter().all(|t| is_settled(t, *level)) || members.iter().any(held_below) {
                return None;
            }
            let rung = Rung::new(history, &members, *level, self.eta);
            if let Some(trial) = rung.first_to_go_on() {
                return Some(Next::Resume {
                    trial,
                    target: below.get(i + 1).or(Some(top)).copied(),
                });
            }
            if let Some((trial, evidence)) = rung.first_out(history, number) {
                return Some(Next::Discard { trial, evidence });
            }
            // Somebody who is to go on is held back: the next rung is not complete without it.
            if rung.next.iter().any(|t| t.state == TrialState::Paused) {
                return None;
            }
            members = rung.going_on();
        }
        // Nobody pauses at the top, unless the rungs have changed since.
        let paused = members
            .iter()
            .find(|t| t.state == TrialState::Paused && !t.held)?;
        Some(Next::Resume {
            trial: paused.id,
            target: Some(*top),
        })
    }
}

/// Whether a trial's bracket has sent it on from this rung.
fn is_beyond(trial: &Trial, level: u64) -> bool {
    trial.target.is_none_or(|target| target > level)
}

/// Whether a rung need not wait for the trial.
fn is_settled(trial: &Trial, level: u64) -> bool {
    trial.state.is_final() || trial.state == TrialState::Paused || is_beyond(trial, level)
}

/// A member that waits before its rung: the rungs have changed since.
fn waits_below(members: &[&Trial], level: u64) -> Option<TrialId> {
    let below = |t: &&&Trial| !t.held && waits_for(t, level);
    members.iter().find(below).map(|t| t.id)
}

fn waits_for(trial: &Trial, level: u64) -> bool {
    trial.state == TrialState::Paused && trial.target.is_some_and(|target| target < level)
}

/// A rung that waits for nobody any more.
struct Rung<'a> {
    level: u64,
    /// How many members it has.
    size: usize,
    /// How many of them go on.
    quota: usize,
    /// Who has gone on already. They hold their places whatever they report now.
    gone: Vec<&'a Trial>,
    /// Who is to go on of those that wait or have come to their end, best first.
    next: Vec<&'a Trial>,
    /// The others of them.
    out: Vec<&'a Trial>,
}

impl<'a> Rung<'a> {
    fn new(history: &History, members: &[&'a Trial], level: u64, eta: usize) -> Self {
        let goal = history.spec().metric.goal;
        let size = members.len();
        let quota = (size / eta).max(1);
        let (gone, here): (Vec<&Trial>, Vec<&Trial>) =
            members.iter().partition(|t| is_beyond(t, level));
        let can_go_on = |t: &&Trial| matches!(t.state, TrialState::Paused | TrialState::Completed);
        let mut next: Vec<&Trial> = here.into_iter().filter(can_go_on).collect();
        let free = quota.saturating_sub(gone.len()).min(next.len());
        // Once all places are taken the order does not matter, and there are many to put out.
        if free > 0 {
            let loss = |t: &Trial| comparable(goal, objective(t, level));
            let mut ranked: Vec<(f64, &Trial)> = next.into_iter().map(|t| (loss(t), t)).collect();
            ranked.sort_by(|(a, s), (b, t)| a.total_cmp(b).then(s.id.cmp(&t.id)));
            next = ranked.into_iter().map(|(_, trial)| trial).collect();
        }
        let out = next.split_off(free);
        Self {
            level,
            size,
            quota,
            gone,
            next,
            out,
        }
    }

    fn first_to_go_on(&self) -> Option<TrialId> {
        self.next
            .iter()
            .find(|t| t.state == TrialState::Paused && !t.held)
            .map(|t| t.id)
    }

    fn first_out(&self, history: &History, bracket: u32) -> Option<(TrialId, String)> {
        let trial = self.out.iter().find(|t| t.state == TrialState::Paused)?;
        let evidence = format!(
            "successive halving: {} {} at step {} of bracket {bracket} is not among the best {} of {}",
            history.spec().metric.name,
            short(objective(trial, self.level)),
            self.level,
            self.quota,
            self.size,
        );
        Some((trial.id, evidence))
    }

    /// The members of the next rung, once nobody waits here.
    fn going_on(mut self) -> Vec<&'a Trial> {
        self.gone.append(&mut self.next);
        self.gone
    }
}

/// The objective with which a trial stands at a rung; NaN when it has none.
fn objective(trial: &Trial, level: u64) -> f64 {
    objective_at(&trial.curve, level).unwrap_or(f64::NAN)
}

impl Scheduler for Halving {
    fn next(&self, history: &History, can_start: bool) -> Next {
        let decision = self
            .waiting
            .brackets()
            .find_map(|b| self.decide(history, b, can_start));
        match decision {
            Some(next) => next,
            None if can_start => self.start(),
            None => Next::Wait,
        }
    }

    fn judge(&self, history: &History, trial: TrialId) -> Verdict {
        let Some(record) = history.trial(trial) else {
            return Verdict::Continue;
        };
        wait_at_target(record, self.shape(record.bracket).levels.last().copied())
    }

    fn observe(&mut self, history: &History, event: &Event) {
        self.waiting.observe(history, event);
        match &event.kind {
            EventKind::TrialSuggested { trial, bracket, .. } => {
                self.brackets
                    .entry(*bracket)
                    .or_default()
                    .members
                    .push(*trial);
            }
            EventKind::AttemptLaunching { trial, target, .. } => {
                let Some(number) = history.trial(*trial).map(|t| t.bracket) else {
                    return;
                };
                let first = self.shape(number).levels.first().copied();
                if let Some(bracket) = self.brackets.get_mut(&number)
                    && (target.is_none() || *target > first)
                {
                    bracket.judged = true;
                }
            }
            EventKind::TrialStopped {
                trial,
                reason: StopReason::Pruned { .. },
            } => {
                let number = history.trial(*trial).map(|t| t.bracket);
                if let Some(bracket) = number.and_then(|n| self.brackets.get_mut(&n)) {
                    bracket.judged = true;
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::{Log, spec};
    use hpo_study::control::Request;
    use hpo_study::{AttemptEnd, Config, EarlyTerminate, Method, Space};

    fn log() -> Log {
        let halving = EarlyTerminate::SuccessiveHalving(Rungs {
            min_iter: 1,
            max_iter: 9,
            eta: 3,
        });
        Log::new(spec(Space::default(), Method::Random, halving))
    }

    /// Starts as many trials as fit into a bracket, or `count`.
    fn fill(log: &mut Log, count: usize) -> Vec<TrialId> {
        let start = |log: &mut Log| match log.scheduler.next(&log.history, true) {
            Next::Start { bracket, target } => log.start(Config::new(), bracket, target),
            other => panic!("{other:?}"),
        };
        (0..count).map(|_| start(log)).collect()
    }

    fn arrive(log: &mut Log, trial: TrialId, step: u64, loss: f64) {
        log.report(trial, step, loss);
        assert_eq!(log.scheduler.judge(&log.history, trial), Verdict::Pause);
        log.pause(trial);
    }

    /// Takes every decision there is; who goes on and who is out.
    fn decide(log: &mut Log, can_start: bool) -> (Vec<TrialId>, Vec<TrialId>) {
        let (mut on, mut out) = (Vec::new(), Vec::new());
        loop {
            match log.scheduler.next(&log.history, can_start) {
                Next::Resume { trial, target } => {
                    log.launch(trial, target);
                    on.push(trial);
                }
                Next::Discard { trial, evidence } => {
                    log.stop(trial, StopReason::Pruned { evidence });
                    out.push(trial);
                }
                Next::Start { .. } | Next::Wait => return (on, out),
            }
        }
    }

    #[test]
    fn the_best_third_goes_on_at_each_rung() {
        let mut log = log();
        let trials = fill(&mut log, 9);
        for (trial, loss) in trials
            .iter()
            .zip([0.9, 0.1, 0.8, 0.2, 0.7, f64::NAN, 0.6, 0.5])
        {
            arrive(&mut log, *trial, 1, loss);
        }
        assert_eq!(decide(&mut log, true), (vec![], vec![]), "one is missing");
        let straggler = Next::Start {
            bracket: 1,
            target: Some(1),
        };
        assert_eq!(
            log.scheduler.next(&log.history, true),
            straggler,
            "but no place stays idle"
        );
        arrive(&mut log, trials[8], 1, 0.3);
        let (on, out) = decide(&mut log, true);
        assert_eq!(on, [trials[1], trials[3], trials[8]]);
        assert_eq!(out.len(), 6);
        let TrialState::Stopped(StopReason::Pruned { evidence }) =
            &log.history.trial(trials[5]).unwrap().state
        else {
            panic!("NaN is worst");
        };
        assert_eq!(
            evidence,
            "successive halving: loss NaN at step 1 of bracket 0 is not among the best 3 of 9"
        );
        for (trial, loss) in [(1, 0.3), (3, 0.2), (8, 0.1)] {
            arrive(&mut log, trials[trial], 3, loss);
        }
        assert_eq!(
            decide(&mut log, true),
            (vec![trials[8]], vec![trials[1], trials[3]])
        );
        assert_eq!(log.history.trial(trials[8]).unwrap().target, Some(9));
        log.report(trials[8], 9, 0.1);
        assert_eq!(
            log.scheduler.judge(&log.history, trials[8]),
            Verdict::Continue
        );
    }

    #[test]
    fn whoever_the_user_holds_back_keeps_no_other_waiting() {
        let hold = |log: &mut Log, trial, held: bool| {
            let request = if held {
                Request::PauseTrial { trial }
            } else {
                Request::ResumeTrial { trial }
            };
            let config = None;
            log.push(EventKind::UserRequest { request, config });
        };
        let mut log = log();
        let trials = fill(&mut log, 9);
        for (i, trial) in trials.iter().enumerate() {
            arrive(&mut log, *trial, 1, i as f64);
        }
        hold(&mut log, trials[1], true);
        let (on, out) = decide(&mut log, true);
        assert_eq!(on, [trials[0], trials[2]], "its place is kept");
        assert_eq!(out, trials[3..]);
        arrive(&mut log, trials[0], 3, 0.5);
        arrive(&mut log, trials[2], 3, 0.6);
        // The next rung waits for it, new trials do not.
        assert_eq!(decide(&mut log, true), (vec![], vec![]));
        let next = log.scheduler.next(&log.history, true);
        assert!(matches!(next, Next::Start { bracket: 1, .. }), "{next:?}");
        assert_eq!(log.scheduler.next(&log.history, false), Next::Wait);
        hold(&mut log, trials[1], false);
        assert_eq!(decide(&mut log, true), (vec![trials[1]], vec![]));
        arrive(&mut log, trials[1], 3, 0.1);
        hold(&mut log, trials[1], true);
        let (on, out) = decide(&mut log, true);
        assert_eq!((on, out), (vec![], vec![trials[0], trials[2]]));
        hold(&mut log, trials[1], false);
        assert_eq!(decide(&mut log, true), (vec![trials[1]], vec![]));
    }

    #[test]
    fn failed_stopped_and_finished_members_take_their_part() {
        let mut log = log();
        let trials = fill(&mut log, 9);
        log.fail(trials[0]);
        log.stop(trials[1], StopReason::User);
        log.report(trials[2], 1, f64::NAN);
        log.stop(
            trials[2],
            StopReason::Diverged {
                evidence: String::new(),
            },
        );
        // A process that heeds no budget and is through at once: second best.
        log.report(trials[3], 1, 0.2);
        log.report(trials[3], 9, 0.05);
        log.end(
            trials[3],
            AttemptEnd::Exited {
                code: 0,
                stderr: String::new(),
            },
        );
        assert_eq!(
            log.scheduler.judge(&log.history, trials[3]),
            Verdict::Continue
        );
        log.complete(trials[3]);
        for (trial, loss) in [(4, 0.1), (5, 0.3), (6, 0.4), (7, 0.5), (8, 0.6)] {
            arrive(&mut log, trials[trial], 1, loss);
        }
        let (on, out) = decide(&mut log, true);
        assert_eq!(
            on,
            [trials[4], trials[5]],
            "the third place is the finished one's"
        );
        assert_eq!(out, [trials[6], trials[7], trials[8]]);
        log.fail(trials[4]);
        arrive(&mut log, trials[5], 3, 0.1);
        // At step 3 the finished one still has 0.2: one of three goes on.
        assert_eq!(decide(&mut log, true), (vec![trials[5]], vec![]));
    }

    #[test]
    fn a_place_is_kept_when_a_process_begins_again_from_scratch() {
        let mut log = log();
        let trials = fill(&mut log, 9);
        for (i, trial) in trials.iter().enumerate() {
            arrive(&mut log, *trial, 1, i as f64);
        }
        let Next::Resume { trial, target } = log.scheduler.next(&log.history, true) else {
            panic!("the best goes on first");
        };
        log.launch(trial, target);
        log.lose(trial);
        log.report(trial, 1, 100.0);
        assert_eq!(log.scheduler.judge(&log.history, trial), Verdict::Continue);
        let (on, _) = decide(&mut log, true);
        assert_eq!(
            on,
            [trials[1], trials[2]],
            "two more, though the first looks bad now"
        );
    }

    #[test]
    fn a_bracket_that_gets_no_more_members_is_judged_by_those_it_has() {
        let mut log = log();
        let trials = fill(&mut log, 4);
        for (i, trial) in trials.iter().enumerate() {
            arrive(&mut log, *trial, 1, -(i as f64));
        }
        assert_eq!(decide(&mut log, true), (vec![], vec![]));
        let (on, out) = decide(&mut log, false);
        assert_eq!((on, out.len()), (vec![trials[3]], 3));
        // The cap is raised later: the bracket stays closed, the next one begins.
        let next = log.scheduler.next(&log.history, true);
        assert_eq!(
            next,
            Next::Start {
                bracket: 1,
                target: Some(1)
            }
        );
    }

    #[test]
    fn the_objective_may_come_on_a_line_of_its_own() {
        let mut log = log();
        let trial = fill(&mut log, 1)[0];
        log.report_metrics(trial, 1, [("train_loss", 0.1)]);
        assert_eq!(log.scheduler.judge(&log.history, trial), Verdict::Continue);
        log.report(trial, 1, 0.2);
        assert_eq!(log.scheduler.judge(&log.history, trial), Verdict::Pause);
    }

    #[test]
    fn nobody_is_lost_when_the_rungs_change() {
        let mut log = log();
        let trials = fill(&mut log, 9);
        for trial in &trials {
            arrive(&mut log, *trial, 1, 0.5);
        }
        decide(&mut log, true);
        for trial in &trials[..3] {
            arrive(&mut log, *trial, 3, 0.5);
        }
        // Once to rungs in between, once to a full length that they have already.
        for (min_iter, max_iter) in [(5, 20), (1, 3), (1, 2)] {
            let rungs = Rungs {
                min_iter,
                max_iter,
                eta: 4,
            };
            let halving = EarlyTerminate::SuccessiveHalving(rungs);
            let mut other = Log::replay(&log.events);
            other.change_spec(spec(Space::default(), Method::Random, halving));
            while let Next::Resume { trial, target } = other.scheduler.next(&other.history, false) {
                other.launch(trial, target);
                let step = target.unwrap();
                other.report(trial, step, 0.5);
                match other.scheduler.judge(&other.history, trial) {
                    Verdict::Pause => other.pause(trial),
                    verdict => {
                        assert_eq!((verdict, step), (Verdict::Continue, max_iter));
                        other.complete(trial);
                    }
                }
                while let Next::Discard { trial, evidence } =
                    other.scheduler.next(&other.history, false)
                {
                    other.stop(trial, StopReason::Pruned { evidence });
                }
            }
            assert!(other.history.trials().iter().all(|t| t.state.is_final()));
        }
    }
}
