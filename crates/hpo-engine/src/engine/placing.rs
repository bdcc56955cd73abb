//! Where the engine asks the ledger: what the readings mean, and whether there is memory for a trial.

use hpo_study::{
    AttemptEnd, AttemptNumber, EventKind, FailReason, HistoryError, StopIntent, StudyEnd,
    Timestamp, Trial, TrialId, TrialState,
};

use super::{Engine, Turn};
use crate::confirm;
use crate::gpu::Place;
use crate::seam::Inventory;

/// A study ends when so many configurations in a row needed more memory than they may have, by what is
/// known of them: the space and the limit do not go together.
const MOST_UNTRIED: usize = 100;

impl Engine {
    /// Takes the readings of memory in, and does what follows from them at once.
    pub(super) fn weigh(
        &mut self,
        turn: &mut Turn,
        inventory: &Inventory,
    ) -> Result<(), HistoryError> {
        for kind in self.memory.see(turn.now, inventory, &self.history) {
            self.emit(turn, kind)?;
        }
        Ok(())
    }

    /// Writes down what an attempt used before its end is; gives back the end, which need not be the trial's
    /// fault.
    pub(super) fn sum_up(
        &mut self,
        turn: &mut Turn,
        trial: TrialId,
        end: AttemptEnd,
    ) -> Result<AttemptEnd, HistoryError> {
        if let Some(kind) = self.memory.last_words(&self.history, trial) {
            self.emit(turn, kind)?;
        }
        Ok(self.memory.excuse(&self.history, trial, end))
    }

    /// Whether there is any sense in asking for another trial: memory for one, and not too many that wait.
    pub(super) fn takes_more(&mut self, now: Timestamp, inventory: &Inventory) -> bool {
        self.history.end().is_none() && self.memory.takes_more(now, inventory, &self.history)
    }

    /// Whether a trial waits for memory.
    pub(super) fn anyone_waits(&self) -> bool {
        self.open_trials()
            .any(|t| t.waiting.is_some() && confirm::stands_in_line(&self.history, t))
    }

    /// Starts an attempt if there is memory for it; else the trial waits, or is infeasible. Whether it was
    /// started.
    pub(super) fn launch(
        &mut self,
        turn: &mut Turn,
        inventory: &Inventory,
        trial: TrialId,
        target: Option<u64>,
    ) -> Result<bool, HistoryError> {
        let place = self.memory.place(turn.now, inventory, &self.history, trial);
        let record = self.history.trial(trial);
        match place {
            Place::On(assignment) => {
                let last = record.and_then(Trial::attempt).map_or(0, |a| a.number.0);
                let kind = EventKind::AttemptLaunching {
                    trial,
                    attempt: AttemptNumber(last.saturating_add(1)),
                    target,
                    assignment,
                };
                self.emit(turn, kind)?;
                Ok(true)
            }
            Place::Waits(waiting) => {
                let known = record.and_then(|t| t.waiting.as_ref());
                let same =
                    known.is_some_and(|k| (k.reason, &k.gpu) == (waiting.reason, &waiting.gpu));
                let other_words = known.is_some_and(|k| k.detail != waiting.detail);
                // A slow answer is no news for whoever waits anyway.
                let same = same || (inventory.is_stale && known.is_some());
                if !same || (other_words && self.memory.may_tell_again(turn.now, trial)) {
                    self.emit(turn, EventKind::TrialWaiting { trial, waiting })?;
                }
                Ok(false)
            }
            Place::Never(reason) => {
                self.emit(turn, EventKind::TrialFailed { trial, reason })?;
                self.give_up_after_failures(turn)?;
                self.give_up_untried(turn)?;
                Ok(false)
            }
        }
    }

    /// Ends the study when nothing that is proposed can fit.
    fn give_up_untried(&mut self, turn: &mut Turn) -> Result<(), HistoryError> {
        let untried = |t: &Trial| match &t.state {
            TrialState::Failed(FailReason::Oom { evidence, tried: 0 }) => {
                Some((t.id, evidence.clone()))
            }
            _ => None,
        };
        let trials = self.history.trials();
        let many = trials.iter().rev().map_while(untried).take(MOST_UNTRIED);
        if self.history.end().is_some() || many.count() < MOST_UNTRIED {
            return Ok(());
        }
        let Some((id, evidence)) = trials.last().and_then(untried) else {
            return Ok(());
        };
        let detail = format!(
            "{MOST_UNTRIED} configurations in a row need more memory than they may have; the last, \
             trial {id}: {evidence}"
        );
        self.stop_all(turn, &StopIntent::Requeue)?;
        let end = StudyEnd::Failures { detail };
        self.emit(turn, EventKind::StudyEnded { end })
    }
}
