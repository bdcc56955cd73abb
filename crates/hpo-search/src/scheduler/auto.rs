//! The default: a trial is stopped where it is much further back than those that became good had been.
//!
//! How far early results tell the end differs from study to study. Rules with fixed shares (median, halving) suit
//! one of them, and lose where runs that start slowly win. This one begins with a guess and learns the shares from
//! the study itself, by ranks alone, so that scale and direction of the loss, warm-up, and learning-rate schedules
//! whose order turns round late need no settings of their own.
//!
//! With successive halving (Jamieson & Talwalkar, 2016; Li et al., arXiv 1810.05934) it shares that trials are ranked
//! at rungs at once, whoever comes later; with conformal prediction (Salinas et al., arXiv 2305.03623) that the share
//! is a quantile of what was seen. That early ranks mislead in some spaces, and what that costs: Bohdal et al., "PASHA",
//! arXiv 2207.06940, and Egele et al., "Is one epoch all you need for multi-fidelity hyperparameter optimization?",
//! arXiv 2307.15422.

use hpo_study::{Event, EventKind, Goal, History, StopReason, Trial, TrialId};

use super::{Waiting, comparable, objective_at, short, speaker, verdict};
use crate::{Next, Scheduler, Verdict, foresight};

/// Rungs are so much further apart than the ones before, in steps; at most every report is one.
const SPREAD: f64 = 1.25;
/// The share that goes on from the first rung as long as nothing is known: every second trial.
const FIRST_SHARE: f64 = 0.5;
/// How that share falls with the step: after 27 times the steps of the first rung it is a twentieth.
const DECAY: f64 = 0.7;
/// Never fewer go on.
const LEAST_SHARE: f64 = 0.05;
/// What a broken trial (diverged, crashed) weighs among those that count. Where a third of all breaks at once, the others would
/// else all be among the better ones.
const BROKEN: f64 = 0.5;
/// The guess counts as much as so many good trials.
const GUESS_WEIGHT: f64 = 5.0;
/// Good are the best tenth of all trials; no more than a hundred of them are looked at.
const GOOD: f64 = 0.1;
const MOST_GOOD: usize = 100;
/// Of the good ones' places the one that nine in ten do not lie behind …
const QUANTILE: f64 = 0.9;
/// … and how much further back a trial may be: so a share that is too small is found out.
const SLACK: f64 = 1.5;
/// The loss at a step is the best since a third of the steps: what was lost long ago does not count.
const WINDOW: u64 = 3;
/// So many trials at the first rung say what a beginner's loss is.
const BEGINNERS: usize = 4;
/// Shares are learned anew when so many times more trials count.
const GROWTH: f64 = 1.05;

/// Trials run towards their end; rungs are where they are judged. The first is the first step at which anybody
/// measures the objective (not before `min_iter`), the others lie ever further apart.
///
/// **Loss at a rung**: the best since a third of the steps, since reports are noisy. A trial whose newest loss is no better
/// than the middle of all trials' at the first rung has lost what it learned: the newest counts.
///
/// **Place**: how many of the `n` that count at a rung are better. There count all that came to it, and those that
/// were out before, as worse than all: the pruned whole, the broken (diverged, failed) half.
///
/// **Share**: a trial goes on with a place not above `share · (n - 1)`. For every later rung at twice, four times, … the
/// steps, and for the end, the best tenth there is looked at: the place at this rung that nine in ten of them had or
/// were before, times 1.5. Mixed with the guess by weight, the largest of these is the share. When early ranks say
/// little, good trials come from everywhere up to the share, and it grows until they do not; when they say
/// much, it shrinks. Where they say nothing at all ([`foresight`]), nobody is stopped.
///
/// A trial is judged at a rung when it first measures the objective there or beyond; of several rungs at once the last counts.
/// What was found stays, whoever comes later. Nobody is judged from the full length on: that of the
/// study, or else the shortest at which a trial was complete.
pub(crate) struct Auto {
    min_iter: u64,
    full: Option<u64>,
    shortest_end: Option<u64>,
    /// Step of the first rung, once anybody measured anything; rungs are at multiples of it.
    first: Option<u64>,
    rungs: Vec<Rung>,
    /// Losses of those that came to their end, best first.
    ends: Vec<Entry>,
    trials: Vec<Progress>,
    /// What those weigh that were out having been at so many rungs.
    out: Vec<f64>,
    waiting: Waiting,
}

/// A trial's loss at a rung.
type Entry = (f64, TrialId);

struct Rung {
    level: u64,
    /// Best first.
    losses: Vec<Entry>,
    learned: Option<Learned>,
}

/// What was found to be the share of a rung.
#[derive(Clone, Copy)]
struct Learned {
    /// What the trials weighed that counted at the rung.
    weight: f64,
    share: f64,
    /// Whether anybody had come further.
    seen: bool,
}

/// How far a trial has come.
#[derive(Default, Clone)]
struct Progress {
    /// Its loss at every rung it came to.
    losses: Vec<f64>,
    /// Why it has to stop, if it has to.
    stop: Option<String>,
    /// What it weighs at the rungs that it did not come to, once it is out.
    out: Option<f64>,
}

impl Auto {
    /// `full` is the step with which a whole trial ends, if it is known.
    pub(crate) fn new(min_iter: u64, full: Option<u64>) -> Self {
        Self {
            min_iter: min_iter.max(1),
            full,
            shortest_end: None,
            first: None,
            rungs: Vec::new(),
            ends: Vec::new(),
            trials: Vec::new(),
            out: Vec::new(),
            waiting: Waiting::default(),
        }
    }

    fn progress(&mut self, trial: TrialId) -> &mut Progress {
        if self.trials.len() <= trial.index() {
            self.trials.resize(trial.index() + 1, Progress::default());
        }
        &mut self.trials[trial.index()]
    }

    /// Makes rungs up to this step.
    fn build_rungs(&mut self, step: u64) {
        let first = *self.first.get_or_insert(step);
        loop {
            let multiple = match self.rungs.last() {
                None => 1,
                Some(last) if last.level >= step => return,
                Some(last) => {
                    let multiple = last.level / first;
                    ((multiple as f64 * SPREAD).ceil() as u64).max(multiple + 1)
                }
            };
            self.rungs.push(Rung {
                level: first.saturating_mul(multiple),
                losses: Vec::new(),
                learned: None,
            });
        }
    }

    fn arrive(&mut self, history: &History, trial: &Trial) {
        let Some((step, _)) = trial.curve.last().filter(|(s, _)| *s >= self.min_iter) else {
            return;
        };
        self.build_rungs(step);
        let goal = history.spec().metric.goal;
        let mut progress = std::mem::take(self.progress(trial.id));
        let mut judged = None;
        while progress.stop.is_none()
            && progress.out.is_none()
            && let Some(level) = self.rungs.get(progress.losses.len()).map(|r| r.level)
            && level <= step
        {
            let loss = self.loss(trial, goal, level);
            let rung = progress.losses.len();
            enter(&mut self.rungs[rung].losses, (loss, trial.id));
            progress.losses.push(loss);
            judged = Some(rung);
        }
        *self.progress(trial.id) = progress;
        if let Some(rung) = judged
            && self
                .full
                .or(self.shortest_end)
                .is_none_or(|full| step < full)
        {
            self.judge_at(history, trial, rung);
        }
    }

    /// The loss with which a trial stands at a rung.
    fn loss(&self, trial: &Trial, goal: Goal, level: u64) -> f64 {
        let of = |value: f64| comparable(goal, value);
        let Some(newest) = objective_at(&trial.curve, level).map(of) else {
            return f64::INFINITY;
        };
        let beginner = self.rungs.first().and_then(|first| {
            let count = first.losses.len();
            (count >= BEGINNERS).then(|| first.losses[count / 2].0)
        });
        if beginner.is_some_and(|loss| newest > loss) || newest.is_infinite() {
            return newest;
        }
        let recent = trial.curve.objectives().rev();
        recent
            .skip_while(|(step, _)| *step > level)
            .take_while(|(step, _)| *step > level / WINDOW)
            .map(|(_, value)| of(value))
            .fold(newest, f64::min)
    }

    /// What the trials weigh that count at a rung: whoever came there, and whoever was out before.
    fn count(&self, rung: usize) -> f64 {
        let before: f64 = self.out.iter().take(rung + 1).sum();
        self.rungs[rung].losses.len() as f64 + before
    }

    fn judge_at(&mut self, history: &History, trial: &Trial, rung: usize) {
        let count = self.count(rung);
        let learned = self.learned(history, rung, count);
        let (loss, level) = (
            self.trials[trial.id.index()].losses[rung],
            self.rungs[rung].level,
        );
        let better = place(&self.rungs[rung].losses, loss);
        let most = learned.share * (count - 1.0);
        if better as f64 <= most {
            return;
        }
        let metric = &history.spec().metric;
        let why = if learned.seen {
            ", by where those that became good were at this step"
        } else {
            ""
        };
        let evidence = format!(
            "auto: {} {} at step {level} is rank {} of {} so far; the best {} go on{why}",
            metric.name,
            short(metric.goal.as_loss(loss)),
            better + 1,
            self.rungs[rung].losses.len(),
            most.floor() as usize + 1,
        );
        self.progress(trial.id).stop = Some(evidence);
        self.drop_out(trial.id, 1.0);
    }

    /// The share of a rung, learned anew when there is enough to learn from.
    fn learned(&mut self, history: &History, rung: usize, count: f64) -> Learned {
        let is_fresh = |l: &Learned| count < GROWTH * l.weight + 1.0;
        if let Some(learned) = self.rungs[rung].learned.filter(is_fresh) {
            return learned;
        }
        let mut learned = self.learn(rung, count);
        if !foresight::tells(history, self.rungs[rung].level) {
            learned.share = 1.0;
        }
        self.rungs[rung].learned = Some(learned);
        learned
    }

    fn learn(&self, rung: usize, count: f64) -> Learned {
        let steps = self.rungs[rung].level as f64 / self.rungs[0].level as f64;
        let guess = (FIRST_SHARE * steps.powf(-DECAY)).max(LEAST_SHARE);
        let share = self
            .later(rung)
            .filter_map(|(losses, count_there)| {
                let good = (GOOD * count_there).ceil() as usize;
                let good = &losses[..good.clamp(1, MOST_GOOD).min(losses.len())];
                self.share_for(rung, count, good, guess)
            })
            .max_by(f64::total_cmp);
        Learned {
            weight: count,
            share: share.unwrap_or(guess).clamp(LEAST_SHARE, 1.0),
            seen: share.is_some(),
        }
    }

    /// The losses at twice, four times, … the steps of a rung, and at the end; with what the trials weigh that count there.
    fn later(&self, rung: usize) -> impl Iterator<Item = (&[Entry], f64)> {
        let level = self.rungs[rung].level;
        let doubled = std::iter::successors(level.checked_mul(2), |step| step.checked_mul(2));
        let rungs = doubled.map_while(|step| {
            let at = self.rungs.partition_point(|r| r.level < step);
            let losses = &self.rungs.get(at).filter(|r| !r.losses.is_empty())?.losses;
            Some((losses.as_slice(), self.count(at)))
        });
        let out: f64 = self.out.iter().sum();
        rungs.chain([(self.ends.as_slice(), self.ends.len() as f64 + out)])
    }

    /// The share with which trials that were good later would have gone on from a rung. `None` without any.
    fn share_for(&self, rung: usize, count: f64, good: &[Entry], guess: f64) -> Option<f64> {
        let losses = &self.rungs[rung].losses;
        let others = (count - 1.0).max(1.0);
        let at = |entry: &Entry| {
            let loss = self.trials.get(entry.1.index())?.losses.get(rung)?;
            Some(place(losses, *loss) as f64 / others)
        };
        let mut places: Vec<f64> = good.iter().filter_map(at).collect();
        places.sort_by(f64::total_cmp);
        let nth = (QUANTILE * places.len() as f64).ceil() as usize;
        let furthest = places.get(nth.checked_sub(1)?)?;
        let weight = places.len() as f64;
        Some((GUESS_WEIGHT * guess + weight * SLACK * furthest) / (GUESS_WEIGHT + weight))
    }

    fn drop_out(&mut self, trial: TrialId, weight: f64) {
        let progress = self.progress(trial);
        if progress.out.is_some() {
            return;
        }
        progress.out = Some(weight);
        let rungs = progress.losses.len();
        if self.out.len() <= rungs {
            self.out.resize(rungs + 1, 0.0);
        }
        self.out[rungs] += weight;
    }

    /// A trial came to its end; also one that was to be stopped, if its process was faster.
    fn complete(&mut self, history: &History, trial: TrialId) {
        let progress = self.progress(trial);
        if let Some(weight) = progress.out.take() {
            let rungs = progress.losses.len();
            self.out[rungs] -= weight;
        }
        let goal = history.spec().metric.goal;
        if let Some((step, value)) = history.trial(trial).and_then(|t| t.curve.last()) {
            enter(&mut self.ends, (comparable(goal, value), trial));
            let shortest = self.shortest_end.map_or(step, |s| s.min(step));
            self.shortest_end = Some(shortest);
        }
    }
}

/// Puts a loss into its place.
fn enter(losses: &mut Vec<Entry>, entry: Entry) {
    let at = losses.partition_point(|(l, i)| l.total_cmp(&entry.0).then(i.cmp(&entry.1)).is_lt());
    losses.insert(at, entry);
}

/// How many are better.
fn place(losses: &[Entry], loss: f64) -> usize {
    losses.partition_point(|(l, _)| *l < loss)
}

impl Scheduler for Auto {
    fn next(&self, history: &History, can_start: bool) -> Next {
        self.waiting.resume_or_start(history, can_start, self.full)
    }

    fn judge(&self, history: &History, trial: TrialId) -> Verdict {
        let stop = self.trials.get(trial.index()).and_then(|p| p.stop.as_ref());
        verdict(history, trial, stop)
    }

    fn observe(&mut self, history: &History, event: &Event) {
        self.waiting.observe(history, event);
        match &event.kind {
            EventKind::Reported { trial, attempt, .. } => {
                if let Some(record) = speaker(history, *trial, *attempt) {
                    self.arrive(history, record);
                }
            }
            // Pruned may also be who was judged by another rule, before the study file was changed.
            EventKind::TrialStopped {
                trial,
                reason: StopReason::Pruned { .. },
            } => self.drop_out(*trial, 1.0),
            EventKind::TrialStopped { trial, reason } if reason.is_infeasible() => {
                self.drop_out(*trial, BROKEN);
            }
            EventKind::TrialFailed { trial, reason } if reason.is_infeasible() => {
                self.drop_out(*trial, BROKEN);
            }
            EventKind::TrialCompleted { trial } => self.complete(history, *trial),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::{Log, spec};
    use hpo_study::{AttemptEnd, Config, EarlyTerminate, FailReason, Goal, Method, Space};

    fn study(min_iter: u64, max_iter: Option<u64>) -> hpo_study::StudySpec {
        let auto = EarlyTerminate::Auto { min_iter, max_iter };
        spec(Space::default(), Method::Random, auto)
    }

    fn start(log: &mut Log) -> TrialId {
        log.start(Config::new(), 0, None)
    }

    fn evidence(log: &Log, trial: TrialId) -> Option<String> {
        match log.scheduler.judge(&log.history, trial) {
            Verdict::Stop { evidence } => Some(evidence),
            _ => None,
        }
    }

    /// Reports, and stops the trial if it has to; whether it goes on.
    fn goes_on(log: &mut Log, trial: TrialId, step: u64, loss: f64) -> bool {
        log.report(trial, step, loss);
        match evidence(log, trial) {
            Some(evidence) => {
                log.stop(trial, StopReason::Pruned { evidence });
                false
            }
            None => true,
        }
    }

    fn complete(log: &mut Log, trial: TrialId) {
        log.end(
            trial,
            AttemptEnd::Exited {
                code: 0,
                stderr: String::new(),
            },
        );
        log.complete(trial);
    }

    /// Whole trials one after the other; how many reports they made.
    fn run(log: &mut Log, trials: usize, loss: impl Fn(usize, u64) -> f64) -> Vec<u64> {
        let mut reports = Vec::new();
        for i in 0..trials {
            let trial = start(log);
            let last = (1..=20).find(|step| !goes_on(log, trial, *step, loss(i, *step)));
            if last.is_none() {
                complete(log, trial);
            }
            reports.push(last.unwrap_or(20));
        }
        reports
    }

    /// The scheduler itself, after all that has happened.
    fn auto(log: &Log) -> Auto {
        let mut history = History::open(&log.events[0]).unwrap();
        let mut auto = Auto::new(1, log.history.spec().max_steps());
        for event in &log.events[1..] {
            history.apply(event).unwrap();
            auto.observe(&history, event);
        }
        auto
    }

    /// Evenly spread numbers from 0 to 1 in no order.
    fn shuffled(i: usize) -> f64 {
        ((i + 1) as f64 * 0.618_034).fract()
    }

    #[test]
    fn at_first_every_second_one_goes_on_and_a_verdict_stands() {
        let mut log = Log::new(study(1, Some(20)));
        let trials: Vec<TrialId> = (0..5).map(|_| start(&mut log)).collect();
        let losses = [0.5, 0.6, 0.4, 0.55, 0.45];
        let on: Vec<bool> = trials
            .iter()
            .zip(losses)
            .map(|(trial, loss)| {
                log.report(*trial, 1, loss);
                evidence(&log, *trial).is_none()
            })
            .collect();
        // Place 0 of 1, 1 of 2, 0 of 3, 2 of 4, 1 of 5: half of the others may be better.
        assert_eq!(on, [true, false, true, false, true]);
        assert_eq!(
            evidence(&log, trials[1]).unwrap(),
            "auto: loss 0.6000 at step 1 is rank 2 of 2 so far; the best 1 go on"
        );
        log.report(trials[1], 2, 0.0);
        assert!(evidence(&log, trials[1]).is_some(), "what was found stays");
    }

    #[test]
    fn what_failed_counts_as_worse_and_what_was_lost_does_not_count() {
        let mut log = Log::new(study(1, Some(20)));
        let trials: Vec<TrialId> = (0..4).map(|_| start(&mut log)).collect();
        log.report(trials[0], 1, 0.5);
        log.fail(trials[1]);
        assert!(goes_on(&mut log, trials[2], 1, 0.4));
        log.end(trials[3], AttemptEnd::Lost);
        log.push(EventKind::TrialFailed {
            trial: trials[3],
            reason: FailReason::Lost,
        });
        assert!((auto(&log).count(0) - 2.5).abs() < 1e-9);
    }

    #[test]
    fn a_space_where_much_breaks_is_not_searched_less_strictly() {
        let steps = |broken: usize| {
            let mut log = Log::new(study(1, Some(20)));
            let mut steps = 0;
            for i in 0..60 {
                (0..broken).for_each(|_| {
                    let trial = start(&mut log);
                    log.fail(trial);
                });
                let trial = start(&mut log);
                let loss = |step| shuffled(i) + 1.0 / f64::from(step);
                let last = (1..=20u32).find(|s| !goes_on(&mut log, trial, u64::from(*s), loss(*s)));
                steps += last.unwrap_or(20);
                if last.is_none() {
                    complete(&mut log, trial);
                }
            }
            f64::from(steps)
        };
        let ratio = steps(1) / steps(0);
        assert!(ratio < 1.35, "{ratio}");
    }

    #[test]
    fn where_early_ranks_tell_the_end_few_go_on_and_where_they_mislead_many() {
        let mut honest = Log::new(study(1, Some(20)));
        run(&mut honest, 120, |i, step| shuffled(i) + 1.0 / step as f64);
        let mut misleading = Log::new(study(1, Some(20)));
        // Up to step 4 the order is another one.
        run(&mut misleading, 120, |i, step| {
            if step < 5 {
                2.0 + shuffled(7 * i)
            } else {
                shuffled(i)
            }
        });
        let share = |log: &Log| auto(log).learn(0, 120.0).share;
        assert!(share(&honest) < 0.25, "{}", share(&honest));
        assert!(share(&misleading) > 0.6, "{}", share(&misleading));
    }

    #[test]
    fn the_best_run_to_the_end_in_a_third_of_the_steps() {
        for goal in [Goal::Minimize, Goal::Maximize] {
            let mut study = study(1, Some(20));
            study.metric.goal = goal;
            let mut log = Log::new(study);
            let sign = if goal == Goal::Minimize { 1.0 } else { -1.0 };
            let reports = run(&mut log, 100, |i, step| {
                sign * (shuffled(i) + 1.0 / step as f64)
            });
            assert!(reports.iter().sum::<u64>() < 100 * 20 / 3);
            let whole = |i: &usize| shuffled(*i) < 0.1 && reports[*i] == 20;
            assert!((0..100).filter(whole).count() >= 9, "of 10");
        }
    }

    #[test]
    fn noise_is_borne_and_what_was_lost_counts_no_more() {
        let mut log = Log::new(study(1, Some(40)));
        for i in 0..8 {
            let trial = start(&mut log);
            for step in 1..=40 {
                log.report(trial, step, 1.0 + 0.1 * f64::from(i) - 0.01 * step as f64);
            }
        }
        let noisy = start(&mut log);
        let on = (1..=20).all(|step| {
            let loss = if step % 3 == 1 { 0.3 } else { 1.2 };
            goes_on(&mut log, noisy, step, loss)
        });
        assert!(on, "now and then it is the best of all");
        let exploding = start(&mut log);
        assert!((1..=9).all(|step| goes_on(&mut log, exploding, step, 0.2)));
        let last = (10..=20).find(|step| !goes_on(&mut log, exploding, *step, 5.0));
        assert!(last.is_some_and(|step| step <= 12), "{last:?}");
    }

    #[test]
    fn rungs_are_multiples_of_the_first_report() {
        let mut log = Log::new(study(1, None));
        let trial = start(&mut log);
        for step in (0..=12_000).step_by(500) {
            log.report(trial, step, 1.0);
        }
        let levels: Vec<u64> = auto(&log).rungs.iter().map(|r| r.level / 500).collect();
        assert_eq!(levels, [1, 2, 3, 4, 5, 7, 9, 12, 15, 19, 24]);
    }

    #[test]
    fn nobody_is_stopped_at_the_end() {
        let mut log = Log::new(study(1, None));
        let first = start(&mut log);
        (1..=9).for_each(|step| log.report(first, step, 0.5));
        complete(&mut log, first);
        let second = start(&mut log);
        assert!((1..=8).all(|step| goes_on(&mut log, second, step, 0.4)));
        log.report(second, 9, 3.0);
        assert_eq!(evidence(&log, second), None, "it is through");
    }

    #[test]
    fn before_min_iter_nobody_is_judged() {
        let mut log = Log::new(study(5, Some(20)));
        let trials: Vec<TrialId> = (0..3).map(|_| start(&mut log)).collect();
        for (i, trial) in trials.iter().enumerate() {
            assert!((1..5).all(|step| goes_on(&mut log, *trial, step, i as f64)));
        }
        assert!(goes_on(&mut log, trials[1], 5, 1.0));
        assert!(!goes_on(&mut log, trials[2], 5, 2.0));
    }
}
