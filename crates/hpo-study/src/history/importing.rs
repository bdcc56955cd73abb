//! What the history makes of trials from elsewhere.

use super::{History, HistoryError, Trial, misfit};
use crate::event::{Event, EventKind};
use crate::id::TrialId;
use crate::import::{ImportAs, ImportBatch, Origin};

/// What was imported.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Imports {
    batches: Vec<ImportBatch>,
    /// Of the trial that is suggested next.
    next: Option<(TrialId, Origin)>,
    trials: usize,
}

impl History {
    pub(super) fn import(&mut self, event: &Event) -> Result<(), HistoryError> {
        match &event.kind {
            EventKind::TrialsImported { batch } => self.imports.batches.push(batch.clone()),
            EventKind::TrialImported { trial, origin } => {
                if trial.index() != self.trials.len() {
                    return Err(misfit(event, "trials are numbered in order"));
                }
                if origin.batch as usize >= self.imports.batches.len() {
                    return Err(misfit(event, "there is no such import"));
                }
                self.imports.next = Some((*trial, origin.clone()));
            }
            _ => {}
        }
        Ok(())
    }

    /// Where a trial that is being suggested is from.
    pub(super) fn take_origin(&mut self, trial: TrialId) -> Option<Origin> {
        let (of, origin) = self.imports.next.take()?;
        self.imports.trials += usize::from(of == trial);
        (of == trial).then_some(origin)
    }

    /// What was imported, in order.
    #[must_use]
    pub fn imports(&self) -> &[ImportBatch] {
        &self.imports.batches
    }

    /// How many trials did not run here.
    #[must_use]
    pub fn imported(&self) -> usize {
        self.imports.trials
    }

    /// The trials that run or ran here.
    pub fn own_trials(&self) -> impl DoubleEndedIterator<Item = &Trial> {
        self.trials.iter().filter(|t| t.origin.is_none())
    }

    /// How many trials run or ran here.
    #[must_use]
    pub fn own_count(&self) -> usize {
        self.trials.len() - self.imports.trials
    }

    /// Whether a trial did not run here.
    #[must_use]
    pub fn is_imported(&self, trial: TrialId) -> bool {
        self.trial(trial).is_some_and(|t| t.origin.is_some())
    }

    /// What a trial is to the study, if it did not run here.
    #[must_use]
    pub fn imported_as(&self, trial: &Trial) -> Option<ImportAs> {
        let batch = trial.origin.as_ref()?.batch;
        self.imports.batches.get(batch as usize).map(|b| b.used)
    }

    /// Whether a trial can be the best: it ran here, or counts as if it had.
    #[must_use]
    pub fn can_be_best(&self, trial: &Trial) -> bool {
        matches!(self.imported_as(trial), None | Some(ImportAs::Trials))
    }
}
