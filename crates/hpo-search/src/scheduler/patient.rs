//! Patience: another rule stops a trial only when the trial itself has not become better for a while. Optuna's
//! `PatientPruner` (optuna 5.0.0), without its traps; alone it is the early stopping of Prechelt, "Early stopping -
//! but when?" (1998), as Keras and Lightning have it.

use hpo_study::{EarlyTerminate, Event, EventKind, History, Trial, TrialId};

use super::{build, comparable, process_is_over, short, speaker};
use crate::{Next, Scheduler, Verdict};

/// A trial is stopped when the other rule says so and it has more than `patience` measurements of the objective
/// since the last improvement. An improvement is a loss below the best so far by more than `min_delta`. What is
/// not finite is none. Without another rule that alone stops it, but never at the full length of a trial.
///
/// In Optuna a run whose last values are all NaN is never stopped, nor is one that stands still (its values must be
/// worse than before, not just no better), and `min_delta` is by how much worse they must be, although its text
/// says that it is by how much better. On curves of numbers without ties, and with `min_delta` 0, both
/// decide alike.
pub(super) struct Patient {
    /// `None`: the trial's own curve alone decides.
    rule: Option<Box<dyn Scheduler>>,
    /// What shares out the budget.
    turns: Box<dyn Scheduler>,
    patience: u64,
    min_delta: f64,
    trials: Vec<Progress>,
}

/// What a trial's measurements so far add up to.
#[derive(Clone, Copy)]
struct Progress {
    /// The last step that is in it.
    last: Option<u64>,
    best: f64,
    /// Measurements since the last improvement.
    since: u64,
}

impl Progress {
    const NONE: Self = Self {
        last: None,
        best: f64::INFINITY,
        since: 0,
    };

    fn add(&mut self, step: u64, loss: f64, min_delta: f64) {
        self.last = Some(step);
        if self.best - loss > min_delta {
            (self.best, self.since) = (loss, 0);
        } else {
            self.since += 1;
        }
    }
}

impl Patient {
    pub(super) fn new(rule: &EarlyTerminate, patience: u64, min_delta: f64) -> Self {
        let is_none = *rule == EarlyTerminate::None;
        Self {
            rule: (!is_none).then(|| build(rule)),
            turns: build(&EarlyTerminate::None),
            patience,
            min_delta,
            trials: Vec::new(),
        }
    }

    fn reported(&mut self, history: &History, trial: &Trial) {
        let Some((step, value)) = trial.curve.last() else {
            return;
        };
        let goal = history.spec().metric.goal;
        if self.trials.len() <= trial.id.index() {
            self.trials.resize(trial.id.index() + 1, Progress::NONE);
        }
        let progress = &mut self.trials[trial.id.index()];
        if progress.last < Some(step) {
            progress.add(step, comparable(goal, value), self.min_delta);
            return;
        }
        // The process went back to its checkpoint, or corrects this step.
        *progress = Progress::NONE;
        for (step, value) in trial.curve.objectives() {
            progress.add(step, comparable(goal, value), self.min_delta);
        }
    }

    /// How often the trial has measured since it was last better, once that is too often.
    fn at_the_end_of_patience(&self, history: &History, trial: TrialId) -> Option<Progress> {
        let full = history.spec().max_steps();
        let record = history.trial(trial).filter(|t| !process_is_over(t))?;
        let (last, _) = record.curve.last()?;
        let progress = self.trials.get(trial.index())?;
        let is_over = progress.since > self.patience && full.is_none_or(|full| last < full);
        is_over.then_some(*progress)
    }
}

impl Scheduler for Patient {
    fn next(&self, history: &History, can_start: bool) -> Next {
        let turns = self.rule.as_ref().unwrap_or(&self.turns);
        turns.next(history, can_start)
    }

    fn judge(&self, history: &History, trial: TrialId) -> Verdict {
        let other = self.rule.as_ref().map(|rule| rule.judge(history, trial));
        let before = match other {
            None => String::new(),
            Some(Verdict::Stop { evidence }) => format!("{evidence}; "),
            Some(verdict) => return verdict,
        };
        let Some(progress) = self.at_the_end_of_patience(history, trial) else {
            return Verdict::Continue;
        };
        let metric = &history.spec().metric;
        Verdict::Stop {
            evidence: format!(
                "{before}patience: {} is no better than {} for {} reports",
                metric.name,
                short(metric.goal.as_loss(progress.best)),
                progress.since,
            ),
        }
    }

    fn observe(&mut self, history: &History, event: &Event) {
        self.rule
            .as_mut()
            .unwrap_or(&mut self.turns)
            .observe(history, event);
        if let EventKind::Reported {
            trial,
            attempt,
            metrics,
            ..
        } = &event.kind
            && let Some(record) = speaker(history, *trial, *attempt)
        {
            let measured = metrics.contains_key(&history.spec().metric.name);
            let last = record.curve.last().map(|(step, _)| step);
            let known = self.trials.get(record.id.index()).and_then(|p| p.last);
            if measured || last != known {
                self.reported(history, record);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::{Log, spec};
    use hpo_study::{Config, Goal, Method, Space};

    fn log(rule: EarlyTerminate, patience: u64, min_delta: f64) -> Log {
        let rule = EarlyTerminate::Patient {
            rule: Box::new(rule),
            patience,
            min_delta,
        };
        Log::new(spec(Space::default(), Method::Random, rule))
    }

    /// After which of the reports, counted from 1, the trial would be stopped first.
    fn stopped_at(log: &mut Log, losses: &[f64]) -> Option<usize> {
        let trial = log.start(Config::new(), 0, None);
        for (i, loss) in losses.iter().enumerate() {
            log.report(trial, i as u64 + 1, *loss);
            if let Verdict::Stop { .. } = log.scheduler.judge(&log.history, trial) {
                return Some(i + 1);
            }
        }
        None
    }

    #[test]
    fn alone_it_stops_what_stands_still_gets_worse_or_is_no_number() {
        let mut log = log(EarlyTerminate::None, 2, 0.0);
        let nan = f64::NAN;
        for (losses, at) in [
            (&[0.5, 0.4, 0.3, 0.2, 0.1][..], None),
            (&[0.5, 0.5, 0.5, 0.5, 0.5], Some(4)),
            (&[0.5, 0.6, 0.7, 0.4, 0.5, 0.6, 0.7], Some(7)),
            (&[0.5, 0.1, nan, nan, nan], Some(5)),
            (&[nan, nan, nan, 0.5], Some(3)),
            (&[0.5, nan, nan, 0.4, nan], None),
        ] {
            assert_eq!(stopped_at(&mut log, losses), at, "{losses:?}");
        }
    }

    #[test]
    fn an_improvement_is_by_more_than_min_delta() {
        let slow = [0.5, 0.47, 0.44, 0.41, 0.38];
        let mut strict = log(EarlyTerminate::None, 1, 0.05);
        assert_eq!(
            stopped_at(&mut strict, &slow),
            None,
            "0.06 every other time"
        );
        let mut stricter = log(EarlyTerminate::None, 1, 0.1);
        assert_eq!(stopped_at(&mut stricter, &slow), Some(3));
        let mut maximize = log(EarlyTerminate::None, 1, 0.05);
        let mut other = maximize.history.spec().clone();
        other.metric.goal = Goal::Maximize;
        maximize.change_spec(other);
        assert_eq!(stopped_at(&mut maximize, &slow), Some(3));
    }

    #[test]
    fn both_rules_must_agree_and_both_say_why() {
        let median = EarlyTerminate::Median {
            min_iter: 1,
            min_trials: 1,
        };
        let mut log = log(median, 1, 0.0);
        assert_eq!(stopped_at(&mut log, &[0.5; 1]), None);
        assert_eq!(stopped_at(&mut log, &[0.4; 1]), None);
        // Worse than the others from the first report on, but it does become better.
        assert_eq!(stopped_at(&mut log, &[0.9, 0.8, 0.7, 0.6]), None);
        assert_eq!(stopped_at(&mut log, &[0.9, 0.9, 0.9]), Some(3));
        // No better than itself, but better than the others.
        assert_eq!(stopped_at(&mut log, &[0.1, 0.1, 0.1, 0.1]), None);
        let trial = hpo_study::TrialId(3);
        let Verdict::Stop { evidence } = log.scheduler.judge(&log.history, trial) else {
            panic!("it was to be stopped");
        };
        let words = "others at that step; patience: loss is no better than 0.9000 for 2 reports";
        assert!(evidence.ends_with(words), "{evidence}");
    }

    #[test]
    fn a_restart_takes_back_what_was_measured_after_it() {
        let mut log = log(EarlyTerminate::None, 1, 0.0);
        let trial = log.start(Config::new(), 0, None);
        let judge = |log: &Log| log.scheduler.judge(&log.history, trial);
        for (step, loss) in [(1, 0.5), (2, 0.1), (3, 0.6)] {
            log.report(trial, step, loss);
        }
        log.lose(trial);
        // The 0.1 is forgotten with the process that measured it.
        log.report(trial, 2, 0.4);
        log.report(trial, 3, 0.3);
        assert_eq!(judge(&log), Verdict::Continue);
        log.report_metrics(trial, 4, [("lr", 0.1)]);
        log.report(trial, 4, 0.35);
        log.report(trial, 5, 0.35);
        assert!(matches!(judge(&log), Verdict::Stop { .. }));
        let (_, rebuilt) = log.rebuilt();
        assert_eq!(rebuilt.judge(&log.history, trial), judge(&log));
    }
}
