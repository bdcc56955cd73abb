//! What happened, and what becomes of it: reports, ends of processes, wishes to stop.

use hpo_study::protocol::Report;
use hpo_study::{
    AttemptEnd, AttemptNumber, EventKind, HistoryError, StopIntent, Trial, TrialId, TrialState,
};

use super::{Engine, Turn, is_running};
use crate::fate;
use crate::objectives;
use crate::seam::Input;

impl Engine {
    pub(super) fn react(&mut self, turn: &mut Turn, input: Input) -> Result<(), HistoryError> {
        match input {
            Input::Tick => Ok(()),
            Input::Heard { trial, attempt } => {
                if self.live(trial, attempt).is_some() {
                    self.heard.note(trial, turn.now);
                }
                Ok(())
            }
            Input::Started {
                trial,
                attempt,
                pid,
            } => self.started(turn, trial, attempt, pid),
            Input::Reported {
                trial,
                attempt,
                report,
            } => self.reported(turn, trial, attempt, report),
            Input::Ended {
                trial,
                attempt,
                end,
            } => self.ended(turn, trial, attempt, end),
            Input::NotNow { trial, attempt } => self.not_now(turn, trial, attempt),
            Input::Drain => self.drain(turn),
            Input::Interrupt => {
                self.drain(turn)?;
                self.stop_all(turn, &StopIntent::Requeue)
            }
        }
    }

    fn started(
        &mut self,
        turn: &mut Turn,
        trial: TrialId,
        attempt: AttemptNumber,
        pid: u32,
    ) -> Result<(), HistoryError> {
        let news = self
            .live(trial, attempt)
            .and_then(Trial::attempt)
            .is_some_and(|a| a.pid != Some(pid) || a.ended.is_some());
        if news {
            self.heard.note(trial, turn.now);
            self.emit(
                turn,
                EventKind::AttemptStarted {
                    trial,
                    attempt,
                    pid,
                },
            )
        } else {
            Ok(())
        }
    }

    /// What a trial still says after it was stopped, or is to go back, is passed over: the decision stands on what came
    /// before, and how fast a process dies must not change any result. A trial that waits or is put
    /// back will go on from its last checkpoint, so all it says until its end counts.
    fn reported(
        &mut self,
        turn: &mut Turn,
        trial: TrialId,
        attempt: AttemptNumber,
        report: Report,
    ) -> Result<(), HistoryError> {
        let Some(record) = self.live(trial, attempt) else {
            return Ok(());
        };
        if matches!(
            record.state,
            TrialState::Stopping(StopIntent::Stop { .. } | StopIntent::Rescue { .. })
        ) {
            return Ok(());
        }
        let step = report
            .step
            .unwrap_or_else(|| objectives::step(record, &report.metrics));
        let metrics = objectives::together(&self.history, record, report.metrics);
        let spec = self.history.spec();
        let has = |name: &String| metrics.contains_key(name);
        let (measured, watched) = (has(&spec.metric.name), has(&spec.watched().name));
        self.heard.note(trial, turn.now);
        self.emit(
            turn,
            EventKind::Reported {
                trial,
                attempt,
                step,
                metrics,
            },
        )?;
        if measured {
            self.judge(turn, trial)
        } else if watched {
            self.look(turn, trial)
        } else {
            Ok(())
        }
    }

    fn ended(
        &mut self,
        turn: &mut Turn,
        trial: TrialId,
        attempt: AttemptNumber,
        end: AttemptEnd,
    ) -> Result<(), HistoryError> {
        if self.live(trial, attempt).is_none() {
            return Ok(());
        }
        let end = self.sum_up(turn, trial, end)?;
        let record = self.history.trial(trial);
        if let Some(kind) = record.and_then(|t| objectives::at_end(&self.history, t, turn.now)) {
            self.emit(turn, kind)?;
        }
        self.emit(
            turn,
            EventKind::AttemptEnded {
                trial,
                attempt,
                end,
            },
        )?;
        self.settle(turn, trial)
    }

    /// What cannot be started waits until it can, but a study that is being drained does not wait with it.
    fn not_now(
        &mut self,
        turn: &mut Turn,
        trial: TrialId,
        attempt: AttemptNumber,
    ) -> Result<(), HistoryError> {
        let waits = |t: &Trial| t.state == TrialState::Launching;
        match self.live(trial, attempt).is_some_and(waits) && self.history.draining() {
            true => self.stop(turn, trial, StopIntent::Requeue),
            false => Ok(()),
        }
    }

    pub(super) fn drain(&mut self, turn: &mut Turn) -> Result<(), HistoryError> {
        if self.history.draining() {
            Ok(())
        } else {
            self.emit(turn, EventKind::DrainRequested)
        }
    }

    /// Ends the process of a running trial if there is a reason to.
    pub(super) fn judge(&mut self, turn: &mut Turn, trial: TrialId) -> Result<(), HistoryError> {
        self.look(turn, trial)?;
        let Some(record) = self.history.trial(trial).filter(|t| is_running(t)) else {
            return Ok(());
        };
        let intent = fate::while_running(&self.history, self.scheduler.as_ref(), record);
        intent.map_or(Ok(()), |intent| self.stop(turn, trial, intent))
    }

    /// Decides what becomes of a trial whose attempt has ended.
    pub(super) fn settle(&mut self, turn: &mut Turn, trial: TrialId) -> Result<(), HistoryError> {
        let Some(record) = self.history.trial(trial).filter(|t| t.state.is_active()) else {
            return Ok(());
        };
        let Some(fate) = fate::after_end(&self.history, self.scheduler.as_ref(), record) else {
            return Ok(());
        };
        self.emit(turn, fate)?;
        self.give_up_after_failures(turn)
    }
}
