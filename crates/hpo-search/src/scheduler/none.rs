//! No early stopping: every trial runs to its end.

use hpo_study::{Event, History, TrialId};

use super::Waiting;
use crate::{Next, Scheduler, Verdict};

/// Every trial runs to its end.
#[derive(Default)]
pub(crate) struct None {
    waiting: Waiting,
}

impl Scheduler for None {
    fn next(&self, history: &History, can_start: bool) -> Next {
        self.waiting
            .resume_or_start(history, can_start, Option::None)
    }

    fn judge(&self, _history: &History, _trial: TrialId) -> Verdict {
        Verdict::Continue
    }

    fn observe(&mut self, history: &History, event: &Event) {
        self.waiting.observe(history, event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::{Log, spec};
    use hpo_study::{EarlyTerminate, Method, Rungs, Space};

    #[test]
    fn a_trial_that_waits_since_the_study_had_rungs_goes_on() {
        let rungs = Rungs {
            min_iter: 1,
            max_iter: 9,
            eta: 3,
        };
        let halving = EarlyTerminate::SuccessiveHalving(rungs);
        let mut log = Log::new(spec(Space::default(), Method::Random, halving));
        let trial = log.start(hpo_study::Config::new(), 4, Some(1));
        log.report(trial, 1, 0.5);
        log.pause(trial);
        log.change_spec(spec(Space::default(), Method::Random, EarlyTerminate::None));
        let next = log.scheduler.next(&log.history, true);
        assert_eq!(
            next,
            Next::Resume {
                trial,
                target: Option::None
            }
        );
        log.launch(trial, Option::None);
        let next = log.scheduler.next(&log.history, true);
        assert_eq!(
            next,
            Next::Start {
                bracket: 0,
                target: Option::None
            }
        );
        assert_eq!(log.scheduler.next(&log.history, false), Next::Wait);
    }
}
