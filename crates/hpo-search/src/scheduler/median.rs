//! The median stopping rule of Golovin et al., "Google Vizier: a service for black-box optimization",
//! KDD 2017, section 3.2.2.

use hpo_study::{Event, History, TrialId};

use super::columns::Columns;
use super::{Waiting, short};
use crate::{Next, Scheduler, Verdict};

/// Stops trial `t` at step `s` when
///
/// > loss(t, s) > median { loss(o, s) : o ≠ t has come to step s },
///
/// with `loss(o, s)` the last one measured not after `s`, worst when not finite. Never before step
/// `min_iter`, never with fewer than `min_trials` (or no) others at that step, and never at the full
/// length of a trial, when nothing is left to be saved.
///
/// Vizier compares a trial's best value so far against running averages of completed trials; here the
/// latest value is compared with the others' values at the same step, so that a run that was good and
/// has turned bad is seen, and the others count as soon as they have come that far, whatever became of
/// them later.
pub(crate) struct Median {
    min_iter: u64,
    min_trials: usize,
    columns: Columns,
    waiting: Waiting,
}

impl Median {
    pub(crate) fn new(min_iter: u64, min_trials: u32) -> Self {
        Self {
            min_iter,
            min_trials: min_trials as usize,
            columns: Columns::default(),
            waiting: Waiting::default(),
        }
    }
}

impl Scheduler for Median {
    fn next(&self, history: &History, can_start: bool) -> Next {
        self.waiting.resume_or_start(history, can_start, None)
    }

    fn judge(&self, history: &History, trial: TrialId) -> Verdict {
        let Some(standing) = self.columns.standing(history, trial, self.min_iter) else {
            return Verdict::Continue;
        };
        let (others, metric) = (standing.others(), &history.spec().metric);
        match standing.quantile(0.5) {
            Some(median) if others >= self.min_trials && standing.loss > median => Verdict::Stop {
                evidence: format!(
                    "median rule: {} {} at step {} is worse than {}, the median of {others} others \
                     at that step",
                    metric.name,
                    short(standing.value),
                    standing.step,
                    short(metric.goal.as_loss(median)),
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
    use super::super::comparable;
    use super::*;
    use crate::simulate::{Log, spec};
    use hpo_study::{AttemptEnd, Config, EarlyTerminate, Goal, Method, Space};
    use proptest::prelude::*;

    fn log(min_iter: u64, min_trials: u32) -> Log {
        let rule = EarlyTerminate::Median {
            min_iter,
            min_trials,
        };
        Log::new(spec(Space::default(), Method::Random, rule))
    }

    fn start(log: &mut Log) -> TrialId {
        log.start(Config::new(), 0, None)
    }

    /// The rule straight from its definition, over all curves.
    fn by_definition(log: &Log, trial: TrialId, min_iter: u64, min_trials: usize) -> bool {
        let goal = log.history.spec().metric.goal;
        let curve = &log.history.trial(trial).unwrap().curve;
        let Some((step, value)) = curve.last() else {
            return false;
        };
        let mut others: Vec<f64> = log
            .history
            .trials()
            .iter()
            .filter(|t| t.id != trial && t.curve.last().is_some_and(|(last, _)| last >= step))
            .filter_map(|t| t.curve.at(step))
            .map(|value| comparable(goal, value))
            .collect();
        if step < min_iter || others.len() < min_trials.max(1) {
            return false;
        }
        others.sort_by(f64::total_cmp);
        let n = others.len();
        let median = if n % 2 == 1 {
            others[n / 2]
        } else {
            (others[n / 2 - 1] + others[n / 2]) / 2.0
        };
        comparable(goal, value) > median
    }

    fn stops(log: &Log, trial: TrialId) -> bool {
        matches!(
            log.scheduler.judge(&log.history, trial),
            Verdict::Stop { .. }
        )
    }

    #[test]
    fn it_looks_at_the_latest_value_not_the_best() {
        let mut log = log(1, 2);
        for loss in [0.5, 0.6] {
            let other = start(&mut log);
            for step in 1..=3 {
                log.report(other, step, loss);
            }
        }
        let trial = start(&mut log);
        log.report(trial, 1, 0.1);
        assert!(!stops(&log, trial));
        log.report(trial, 2, 0.9);
        let Verdict::Stop { evidence } = log.scheduler.judge(&log.history, trial) else {
            panic!("it was the best once, and is the worst now");
        };
        assert_eq!(
            evidence,
            "median rule: loss 0.9000 at step 2 is worse than 0.5500, the median of 2 others at \
             that step"
        );
        // At another step than theirs it is compared with what they had by then.
        log.report(trial, 3, 0.55);
        assert!(!stops(&log, trial), "equal is not worse");
    }

    #[test]
    fn not_before_min_iter_nor_min_trials_nor_when_the_process_is_over() {
        let mut log = log(3, 2);
        let others = [start(&mut log), start(&mut log)];
        let trial = start(&mut log);
        for step in 1..=4 {
            log.report(others[0], step, 0.1);
        }
        log.report(trial, 2, f64::NAN);
        log.report(others[1], 2, 0.1);
        assert!(!stops(&log, trial), "before min_iter");
        log.report(trial, 3, f64::NAN);
        assert!(!stops(&log, trial), "one other is not enough");
        log.report(others[1], 4, 0.2);
        assert!(
            stops(&log, trial),
            "the second one went past step 3, with 0.1"
        );
        log.end(
            trial,
            AttemptEnd::Exited {
                code: 0,
                stderr: String::new(),
            },
        );
        assert!(!stops(&log, trial), "nothing would be saved");
    }

    #[test]
    fn a_process_that_goes_back_to_a_step_of_its_own_is_there_once() {
        let mut log = log(1, 1);
        let trial = start(&mut log);
        log.report(trial, 1, 0.1);
        log.report(trial, 3, 0.1);
        log.lose(trial);
        log.report(trial, 2, 0.9);
        assert!(!stops(&log, trial), "it is not one of the others");
    }

    #[test]
    fn a_measurement_that_a_restart_takes_back_does_not_count() {
        let mut log = log(1, 1);
        let (trial, other) = (start(&mut log), start(&mut log));
        log.report(other, 1, 0.2);
        log.report(other, 2, 0.1);
        log.report_metrics(other, 3, [("lr", 0.1)]);
        log.report(trial, 2, 0.3);
        assert!(stops(&log, trial));
        log.lose(other);
        log.report_metrics(other, 2, [("lr", 0.1)]);
        assert!(
            !stops(&log, trial),
            "nobody else has measured at step 2 now"
        );
    }

    #[derive(Debug, Clone)]
    enum Action {
        Report {
            trial: usize,
            forward: u64,
            value: f64,
        },
        Unmeasured {
            trial: usize,
            forward: u64,
        },
        Restart {
            trial: usize,
            back: u64,
        },
    }

    fn action() -> impl Strategy<Value = Action> {
        let value = prop_oneof![
            8 => (0_u32..20).prop_map(f64::from),
            1 => Just(f64::NAN),
            1 => Just(f64::INFINITY),
            1 => Just(f64::NEG_INFINITY),
        ];
        prop_oneof![
            10 => (0_usize..6, 0_u64..3, value)
                .prop_map(|(trial, forward, value)| Action::Report { trial, forward, value }),
            2 => (0_usize..6, 0_u64..3)
                .prop_map(|(trial, forward)| Action::Unmeasured { trial, forward }),
            1 => (0_usize..6, 0_u64..6).prop_map(|(trial, back)| Action::Restart { trial, back }),
        ]
    }

    proptest! {
        #[test]
        fn the_columns_give_what_the_definition_gives(
            actions in prop::collection::vec(action(), 1..120),
            maximize in any::<bool>(),
            min_trials in 0_u32..4,
        ) {
            let rule = EarlyTerminate::Median { min_iter: 2, min_trials };
            let mut study = spec(Space::default(), Method::Random, rule);
            if maximize {
                study.metric.goal = Goal::Maximize;
            }
            let mut log = Log::new(study);
            let trials: Vec<_> = (0..6).map(|_| start(&mut log)).collect();
            let mut at = [0_u64; 6];
            for action in actions {
                match action {
                    Action::Report { trial, forward, value } => {
                        at[trial] += forward;
                        log.report(trials[trial], at[trial], value);
                    }
                    Action::Unmeasured { trial, forward } => {
                        at[trial] += forward;
                        log.report_metrics(trials[trial], at[trial], [("lr", 0.1)]);
                    }
                    Action::Restart { trial, back } => {
                        log.lose(trials[trial]);
                        at[trial] = at[trial].saturating_sub(back);
                    }
                }
                for trial in &trials {
                    let expected = by_definition(&log, *trial, 2, min_trials as usize);
                    prop_assert_eq!(stops(&log, *trial), expected);
                }
            }
            let (_, rebuilt) = log.rebuilt();
            for trial in &trials {
                let now = log.scheduler.judge(&log.history, *trial);
                prop_assert_eq!(rebuilt.judge(&log.history, *trial), now);
            }
        }
    }
}
