//! What is next: who is to end for want of time, and who gets the free places.

use hpo_search::Next;
use hpo_study::seed::{self, Purpose};
use hpo_study::{
    Config, EventKind, HistoryError, StopReason, Timestamp, Trial, TrialId, TrialState,
};

use super::{Engine, Turn};
use crate::confirm;
use crate::fate;
use crate::limits;
use crate::seam::Inventory;

impl Engine {
    pub(super) fn plan(
        &mut self,
        turn: &mut Turn,
        inventory: &Inventory,
    ) -> Result<(), HistoryError> {
        let due = |t: &Trial| limits::overdue(&self.history, &self.heard, t, turn.now);
        let overdue = self.open_trials().filter_map(|t| Some((t.id, due(t)?)));
        for (trial, intent) in overdue.collect::<Vec<_>>() {
            self.stop(turn, trial, intent)?;
        }
        if !self.time_is_up(turn.now) {
            self.repeat(turn)?;
        }
        if self.history.end().is_some() {
            Ok(())
        } else if self.time_is_up(turn.now) {
            self.end_at_time_cap(turn)
        } else if self.history.draining() {
            self.end_drained(turn)
        } else if self.history.paused() {
            Ok(())
        } else {
            self.fill(turn, inventory)
        }
    }

    /// Gives every free place to a trial: those put back first, then whom the scheduler names.
    fn fill(&mut self, turn: &mut Turn, inventory: &Inventory) -> Result<(), HistoryError> {
        let slots = inventory.cpu_slots as usize;
        let mut busy = self.open_trials().filter(|t| t.state.is_active()).count();
        let waits = |t: &Trial| t.state == TrialState::Queued && !t.held;
        for trial in self.ids(|t| waits(t) && confirm::may_start(&self.history, t)) {
            // One that can never be placed may have been the last failure that the study bears.
            if busy >= slots || self.history.end().is_some() {
                return Ok(());
            }
            busy += 1;
            let Some(record) = self.history.trial(trial) else {
                continue;
            };
            // A trial that waits before it tries again keeps its place: whoever overtook it would make
            // the study's course a matter of time.
            if fate::retry_at(record).is_none_or(|at| at <= turn.now) {
                let target = record.target;
                busy -= usize::from(!self.launch(turn, inventory, trial, target)?);
            }
        }
        while busy < slots && self.takes_more(turn.now, inventory) {
            let wished = !self.history.enqueued().is_empty();
            let can_start = (!self.exhausted || wished) && !self.cap_reached();
            let next = match self.history.only_confirms() {
                true => Next::Wait,
                false => self.scheduler.next(&self.history, can_start),
            };
            match next {
                Next::Start { bracket, target } if can_start => match self.suggest() {
                    Some(config) => {
                        let trial = self.next_trial();
                        if let Some(from) = self.scheduler.parent(&self.history) {
                            self.emit(turn, EventKind::TrialForked { trial, from })?;
                        }
                        let kind = EventKind::TrialSuggested {
                            trial,
                            config,
                            bracket,
                            target,
                        };
                        self.emit(turn, kind)?;
                        busy += usize::from(self.launch(turn, inventory, trial, target)?);
                    }
                    None => self.exhausted = true,
                },
                Next::Resume { trial, .. } if self.is_held(trial) => {
                    return self.wait_for_held(turn);
                }
                Next::Resume { trial, target } if self.is_paused(trial) => {
                    if !self.launch(turn, inventory, trial, target)? {
                        return Ok(());
                    }
                    busy += 1;
                }
                Next::Discard { trial, evidence } if self.is_paused(trial) => {
                    let reason = StopReason::Pruned { evidence };
                    self.emit(turn, EventKind::TrialStopped { trial, reason })?;
                }
                // To wait; or an answer that cannot be followed, which must not hang the study.
                _ if confirm::may_begin(&self.history, self.open_trials()) => {
                    match confirm::next(&self.history) {
                        Some(run) => busy += usize::from(self.confirm(turn, inventory, run)?),
                        None if busy == 0 && !self.anyone_waits() => {
                            return self.end_with_nothing_left(turn);
                        }
                        None => return Ok(()),
                    }
                }
                _ if busy == 0 && !self.anyone_waits() => return self.end_with_nothing_left(turn),
                _ => return Ok(()),
            }
        }
        Ok(())
    }

    fn confirm(
        &mut self,
        turn: &mut Turn,
        inventory: &Inventory,
        run: EventKind,
    ) -> Result<bool, HistoryError> {
        let trial = run.trial().unwrap_or_default();
        self.emit(turn, run)?;
        let target = self.history.trial(trial).and_then(|t| t.target);
        self.launch(turn, inventory, trial, target)
    }

    pub(super) fn suggest(&self) -> Option<Config> {
        if let Some(wished) = self.history.enqueued().front() {
            return Some(wished.clone());
        }
        let seed = seed::derive(
            self.history.spec().seed,
            self.next_trial(),
            Purpose::Suggest,
        );
        self.sampler
            .suggest(&self.history, &mut hpo_search::stream(seed))
    }

    pub(super) fn is_paused(&self, trial: TrialId) -> bool {
        self.history
            .trial(trial)
            .is_some_and(|t| t.state == TrialState::Paused)
    }

    pub(super) fn next_trial(&self) -> TrialId {
        TrialId(u32::try_from(self.history.trials().len()).unwrap_or(u32::MAX))
    }

    pub(super) fn cap_reached(&self) -> bool {
        let trials = self.history.own_count();
        self.history
            .spec()
            .run_cap
            .is_some_and(|cap| trials >= cap as usize)
    }

    pub(super) fn time_is_up(&self, now: Timestamp) -> bool {
        let cap = self.history.spec().time_cap;
        cap.is_some_and(|cap| self.history.running_time(now) >= cap)
            && !self.history.only_confirms()
    }
}
