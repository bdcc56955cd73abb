//! Where the engine has configurations run with further seeds; the rules are in [`crate::repeats`].

use hpo_study::control::{Answer, Request};
use hpo_study::{EventKind, HistoryError, StopIntent, StopReason, TrialId, TrialState};

use super::{Engine, Turn};
use crate::repeats;

impl Engine {
    /// Goes on with the trials whose configurations are run more than once.
    pub(super) fn repeat(&mut self, turn: &mut Turn) -> Result<(), HistoryError> {
        if self.history.only_confirms() || self.history.end().is_some() {
            return Ok(());
        }
        for trial in self.ids(|t| t.state == TrialState::Repeating) {
            while let Some(kind) = self.due(trial) {
                self.emit(turn, kind)?;
            }
        }
        self.give_up_after_failures(turn)
    }

    fn due(&self, trial: TrialId) -> Option<EventKind> {
        repeats::due(&self.history, self.history.trial(trial)?)
    }

    /// How a trial without a process ends when time is up. One whose configuration was run already has a value.
    pub(super) fn cut_off(&self, trial: TrialId) -> EventKind {
        let repeating = self.history.trial(trial);
        match repeating.filter(|t| t.state == TrialState::Repeating) {
            Some(record) => repeats::end(&self.history, record),
            None => EventKind::TrialStopped {
                trial,
                reason: StopReason::TimeCap,
            },
        }
    }

    /// What a user asks of a trial that is being repeated, or of a further run; `None`: it is like any other.
    pub(super) fn ask_repeating(
        &mut self,
        turn: &mut Turn,
        trial: TrialId,
        request: &Request,
    ) -> Result<Option<Answer>, HistoryError> {
        let Some(record) = self.history.trial(trial) else {
            return Ok(None);
        };
        if record.is_again() && matches!(request, Request::Set { .. }) {
            let why = format!("{trial} runs a trial's configuration again, so it keeps it");
            return Ok(Some(Answer::refused(why)));
        }
        if record.state != TrialState::Repeating {
            return Ok(None);
        }
        let run = record.repeats.runs.last().copied();
        let run = run.filter(|run| self.open.contains(run));
        if !matches!(
            request,
            Request::StopTrial { .. } | Request::CancelTrial { .. }
        ) {
            let why = format!("trial {trial} has run, and is being run again with another seed");
            return Ok(Some(match run {
                Some(run) => Answer::refused_with_hint(why, format!("ask it of {run}")),
                None => Answer::refused(why),
            }));
        }
        self.grant(turn, request.clone())?;
        let evidence = "the user wished it".to_owned();
        self.emit(turn, EventKind::RepeatsGivenUp { trial, evidence })?;
        let reason = StopReason::User;
        match run.and_then(|run| self.history.trial(run)) {
            // One that is just being put back, too.
            Some(record) if record.state.is_active() => {
                self.stop(turn, record.id, StopIntent::Stop { reason })?;
            }
            Some(record) => {
                let trial = record.id;
                self.emit(turn, EventKind::TrialStopped { trial, reason })?;
            }
            None => {}
        }
        Ok(Some(Answer::done(format!(
            "trial {trial} is not run again; its value is that of the runs it had"
        ))))
    }
}
