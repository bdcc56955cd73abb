//! The percentile rule: Optuna's `PercentilePruner` (optuna 5.0.0), which is the median stopping rule of Golovin
//! et al. (KDD 2017) with another share, without its traps.

use hpo_study::{Event, History, Trial, TrialId};

use super::columns::Columns;
use super::{Waiting, short};
use crate::{Next, Scheduler, Verdict};

/// Stops trial `t` at step `s` when
///
/// > loss(t, s) > the `percentile`-th percentile of { loss(o, s) : o ≠ t has come to step s },
///
/// interpolated as in NumPy, with `loss(o, s)` the last one measured not after `s`, worst when not finite. Never
/// before step `min_iter`, never with fewer than `min_trials` (or no) others at that step, and never at
/// the full length of a trial. A trial is judged at its first measurement at or after each of the steps
/// `min_iter`, `min_iter + interval`, ….
///
/// Optuna compares a trial's best value so far, so a run that was good and has exploded is never stopped; here it
/// is the newest. There a NaN is passed over once anything else was reported, here it is the worst value
/// there is. There only completed trials with a report at this very step are the others, here all that have
/// come so far, whatever became of them. On curves that always fall, with all others complete, both
/// decide alike.
pub(super) struct Percentile {
    percentile: f64,
    min_iter: u64,
    min_trials: usize,
    interval: u64,
    columns: Columns,
    waiting: Waiting,
}

impl Percentile {
    pub(super) fn new(percentile: f64, min_iter: u64, min_trials: u32, interval: u64) -> Self {
        Self {
            percentile,
            min_iter,
            min_trials: min_trials as usize,
            interval: interval.max(1),
            columns: Columns::default(),
            waiting: Waiting::default(),
        }
    }

    /// Whether the newest measurement is the first at or after a step at which trials are judged.
    fn is_due(&self, trial: &Trial) -> bool {
        let mut steps = trial.curve.objectives().rev().map(|(step, _)| step);
        let Some(after_first) = steps.next().and_then(|s| s.checked_sub(self.min_iter)) else {
            return false;
        };
        let check = self.min_iter + after_first / self.interval * self.interval;
        steps.next().is_none_or(|before| before < check)
    }
}

impl Scheduler for Percentile {
    fn next(&self, history: &History, can_start: bool) -> Next {
        self.waiting.resume_or_start(history, can_start, None)
    }

    fn judge(&self, history: &History, trial: TrialId) -> Verdict {
        let due = history.trial(trial).is_some_and(|t| self.is_due(t));
        let standing = self.columns.standing(history, trial, self.min_iter);
        let Some(standing) = standing.filter(|_| due) else {
            return Verdict::Continue;
        };
        let (others, metric) = (standing.others(), &history.spec().metric);
        match standing.quantile(self.percentile / 100.0) {
            Some(bound) if others >= self.min_trials && standing.loss > bound => Verdict::Stop {
                evidence: format!(
                    "percentile rule: {} {} at step {} is worse than {}, the bound of the best {} % of \
                     {others} others at that step",
                    metric.name,
                    short(standing.value),
                    standing.step,
                    short(metric.goal.as_loss(bound)),
                    self.percentile,
                ),
            },
            _ => Verdict::Continue,
        }
    }

    fn observe(&mut self, history: &History, event: &Event) {
        self.waiting.observe(history, event);
        self.columns.observe(history, event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::{Log, spec};
    use hpo_study::{Config, EarlyTerminate, Method, Space};

    fn log(percentile: f64, interval: u64) -> Log {
        let rule = EarlyTerminate::Percentile {
            percentile,
            min_iter: 2,
            min_trials: 3,
            interval,
        };
        Log::new(spec(Space::default(), Method::Random, rule))
    }

    fn run(log: &mut Log, losses: &[f64]) -> TrialId {
        let trial = log.start(Config::new(), 0, None);
        for (i, loss) in losses.iter().enumerate() {
            log.report(trial, i as u64 + 1, *loss);
        }
        trial
    }

    fn stops(log: &Log, trial: TrialId) -> bool {
        let verdict = log.scheduler.judge(&log.history, trial);
        matches!(verdict, Verdict::Stop { .. })
    }

    #[test]
    fn who_is_not_among_the_best_is_stopped_with_the_numbers() {
        let mut log = log(25.0, 1);
        for loss in [0.1, 0.2, 0.3, 0.4, 0.5] {
            run(&mut log, &[loss; 6]);
        }
        let (good, bad) = (run(&mut log, &[0.2; 2]), run(&mut log, &[0.25; 2]));
        assert!(!stops(&log, good), "the bound itself is good enough");
        let Verdict::Stop { evidence } = log.scheduler.judge(&log.history, bad) else {
            panic!("worse than a quarter of the others");
        };
        assert_eq!(
            evidence,
            "percentile rule: loss 0.2500 at step 2 is worse than 0.2000, the bound of the best 25 % of 6 \
             others at that step"
        );
    }

    #[test]
    fn what_was_good_once_or_is_no_number_does_not_help() {
        let mut log = log(50.0, 1);
        for loss in [0.3, 0.4, 0.5] {
            run(&mut log, &[loss; 4]);
        }
        for last in [0.9, f64::NAN, f64::INFINITY] {
            let exploded = run(&mut log, &[0.1, 0.1, last]);
            assert!(stops(&log, exploded), "{last}");
        }
    }

    #[test]
    fn trials_are_judged_once_in_each_interval() {
        let mut log = log(50.0, 3);
        for loss in [0.1, 0.2, 0.3] {
            run(&mut log, &[loss; 12]);
        }
        let trial = log.start(Config::new(), 0, None);
        // Judged at or after 2, 5, 8, 11: at 6, since nothing was measured at 5.
        for (step, judged) in [(1, false), (2, true), (3, false), (6, true), (7, false)] {
            log.report(trial, step, 0.9);
            assert_eq!(stops(&log, trial), judged, "step {step}");
        }
        log.report_metrics(trial, 8, [("lr", 0.1)]);
        assert!(!stops(&log, trial), "without a measurement nothing is due");
        log.report(trial, 11, 0.9);
        assert!(stops(&log, trial));
    }
}
