//! Runs that come to nothing: the detectors of the trials that are not over, and what follows from what they find.

use hpo_study::{Event, EventKind, HistoryError, Trial, TrialId};

use super::{Engine, Turn, is_running};
use crate::fate;
use crate::watch::Watch;

impl Engine {
    /// Ends the process of a running trial if its reports show that going on is of no use.
    pub(super) fn look(&mut self, turn: &mut Turn, trial: TrialId) -> Result<(), HistoryError> {
        self.tell_news(turn, trial)?;
        let Some(record) = self.history.trial(trial).filter(|t| is_running(t)) else {
            return Ok(());
        };
        let intent = fate::when_hopeless(&self.history, record);
        intent.map_or(Ok(()), |intent| self.stop(turn, trial, intent))
    }

    /// Writes down what the detector has found in a trial's last report.
    fn tell_news(&mut self, turn: &mut Turn, trial: TrialId) -> Result<(), HistoryError> {
        let watched = &self.history.spec().watched().name;
        let news = self.watches.get(&trial).and_then(|w| w.news(watched));
        let live = self.history.trial(trial).filter(|t| t.state.is_active());
        let attempt = live.and_then(Trial::attempt).filter(|a| a.end.is_none());
        match (news, attempt.map(|a| a.number)) {
            (Some(finding), Some(attempt)) => self.emit(
                turn,
                EventKind::Found {
                    trial,
                    attempt,
                    finding,
                },
            ),
            _ => Ok(()),
        }
    }

    /// The detectors see it too, but live only: what they know follows from the curves.
    pub(super) fn keep_watch(&mut self, event: &Event) {
        match &event.kind {
            EventKind::TrialSuggested { trial, .. }
            | EventKind::ConfirmationSuggested { trial, .. }
            | EventKind::RepeatSuggested { trial, .. }
            | EventKind::TrialRescued { trial, .. } => {
                self.watch(*trial);
            }
            EventKind::SpecChanged { .. } => self.watch_all(),
            EventKind::Reported {
                trial,
                attempt,
                step,
                metrics,
            } if self.live(*trial, *attempt).is_some() => {
                let record = self.history.trial(*trial);
                if let (Some(watch), Some(record)) = (self.watches.get_mut(trial), record) {
                    watch.see(&self.history, record, *step, metrics);
                }
            }
            EventKind::Found { trial, .. } => {
                if let Some(watch) = self.watches.get_mut(trial) {
                    watch.told();
                }
            }
            EventKind::TrialCompleted { trial }
            | EventKind::TrialStopped { trial, .. }
            | EventKind::TrialFailed { trial, .. } => {
                self.watches.remove(trial);
            }
            _ => {}
        }
    }

    pub(super) fn watch_all(&mut self) {
        for trial in self.open.clone() {
            self.watch(trial);
        }
    }

    /// Begins to watch a trial, or begins anew when the study's wishes have changed.
    pub(super) fn watch(&mut self, trial: TrialId) {
        let record = self.history.trial(trial);
        match record.and_then(|record| Watch::over(&self.history, record)) {
            Some(watch) => self.watches.insert(trial, watch),
            None => self.watches.remove(&trial),
        };
    }
}
