//! How the study ends: nothing is left, its time is up, or too much has failed.

use hpo_study::population;
use hpo_study::{EventKind, HistoryError, StopIntent, StopReason, StudyEnd, TrialState};

use super::{Engine, Turn};
use crate::{confirm, fate};

impl Engine {
    /// Nothing runs, nothing is put back, and the scheduler names nobody: the study is over. A
    /// scheduler leaves no trial paused at this point; should one do so, the trial is out, for a
    /// study must come to an end.
    pub(super) fn end_with_nothing_left(&mut self, turn: &mut Turn) -> Result<(), HistoryError> {
        if self.history.only_confirms() {
            return self.end_confirmed(turn);
        }
        if self.open_trials().any(|t| t.held) {
            return self.wait_for_held(turn);
        }
        for trial in self.ids(|t| t.state == TrialState::Paused) {
            let evidence = "the study is over and nothing is left to measure it against".to_owned();
            let reason = StopReason::Pruned { evidence };
            self.emit(turn, EventKind::TrialStopped { trial, reason })?;
        }
        let end = if self.cap_reached() || population::of(&self.history).is_some() {
            StudyEnd::RunCap
        } else {
            StudyEnd::SpaceExhausted
        };
        self.emit(turn, EventKind::StudyEnded { end })
    }

    /// Ends a session that only confirmed: the study is over if it was so before, and else waits to be
    /// gone on with.
    fn end_confirmed(&mut self, turn: &mut Turn) -> Result<(), HistoryError> {
        let cap = self.history.spec().time_cap;
        let late = cap.is_some_and(|cap| self.history.running_time(turn.now) >= cap);
        let end = match self.open.is_empty() {
            true if self.cap_reached() => StudyEnd::RunCap,
            true if late => StudyEnd::TimeCap,
            true if self.suggest().is_none() => StudyEnd::SpaceExhausted,
            _ => return self.drain(turn),
        };
        self.emit(turn, EventKind::StudyEnded { end })
    }

    pub(super) fn end_drained(&mut self, turn: &mut Turn) -> Result<(), HistoryError> {
        let confirmed = confirm::next(&self.history).is_none();
        if self.open.is_empty() && self.cap_reached() && confirmed {
            return self.emit(
                turn,
                EventKind::StudyEnded {
                    end: StudyEnd::RunCap,
                },
            );
        }
        Ok(())
    }

    pub(super) fn end_at_time_cap(&mut self, turn: &mut Turn) -> Result<(), HistoryError> {
        self.stop_all(
            turn,
            &StopIntent::Stop {
                reason: StopReason::TimeCap,
            },
        )?;
        for trial in self.ids(|t| !t.state.is_active()) {
            let end = self.cut_off(trial);
            self.emit(turn, end)?;
        }
        if self.any_active() {
            return Ok(());
        }
        self.emit(
            turn,
            EventKind::StudyEnded {
                end: StudyEnd::TimeCap,
            },
        )
    }

    /// Ends the study when too many trials in a row have failed. Trials that still run are ended and
    /// put back: what is wrong is common to all, and once it is mended they can go on.
    pub(super) fn give_up_after_failures(&mut self, turn: &mut Turn) -> Result<(), HistoryError> {
        let limit = self.history.spec().failure.stop_after_consecutive;
        let (failures, alike) = fate::failures(&self.history);
        if limit == 0 || failures < limit || self.history.end().is_some() {
            return Ok(());
        }
        self.stop_all(turn, &StopIntent::Requeue)?;
        let latest = turn
            .events
            .iter()
            .rev()
            .find_map(|event| match &event.kind {
                EventKind::TrialFailed { trial, reason } => {
                    Some((*trial, fate::failure_detail(reason)))
                }
                _ => None,
            });
        let detail = match latest {
            Some((trial, why)) => {
                format!("{failures} trials in a row failed{alike}; the last, trial {trial}: {why}")
            }
            None => format!("{failures} trials in a row failed{alike}"),
        };
        self.emit(
            turn,
            EventKind::StudyEnded {
                end: StudyEnd::Failures { detail },
            },
        )
    }
}
