//! What the history makes of trials from elsewhere.

use super::{History, HistoryError, Trial, misfit};
use crate::event::{Event, EventKind};
use crate::evidence::Evidence;
use crate::id::TrialId;
use crate::import::{ImportAs, ImportBatch, Origin};

/// What was imported.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Imports {
    batches: Vec<ImportBatch>,
    /// Of the trial that is suggested next.
    next: Option<(TrialId, Origin)>,
    trials: usize,
    /// Which of them the study's own trials bear out.
    evidence: Evidence,
}

impl History {
    pub(super) fn import(&mut self, event: &Event) -> Result<(), HistoryError> {
        match &event.kind {
            EventKind::TrialsImported { batch } => {
                self.imports.batches.push(batch.clone());
                self.imports
                    .evidence
                    .begin(batch.used == ImportAs::Evidence);
            }
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

    /// What a trial that has completed says of imports: more of what one of them says, or whether they are right.
    pub(super) fn weigh_imports(&mut self, trial: TrialId) {
        if self.imports.batches.is_empty() {
            return;
        }
        // One that was rescued has another configuration than the one that was proposed.
        let Some(record) = self
            .trials
            .get(trial.index())
            .filter(|t| t.rescues.is_empty())
        else {
            return;
        };
        let loss = record.value().map(|v| self.spec.metric.goal.as_loss(v));
        let Some(loss) = loss.filter(|loss| loss.is_finite()) else {
            return;
        };
        let (evidence, space) = (&mut self.imports.evidence, &self.spec.space);
        match &record.origin {
            Some(origin) => evidence.take(origin.batch, space, &record.config, loss),
            None => evidence.hear(space, &record.config, loss),
        }
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

    /// What a trial is to the search, if it did not run here: evidence that the study's own trials do not bear out is no
    /// more than a prior.
    #[must_use]
    pub fn counts_as(&self, trial: &Trial) -> Option<ImportAs> {
        let batch = trial.origin.as_ref()?.batch;
        match self.is_doubted(batch) {
            true => Some(ImportAs::Prior),
            false => self.imported_as(trial),
        }
    }

    /// Whether the study's own trials do not bear out an import that was taken for evidence (by its place in
    /// [`History::imports`]).
    #[must_use]
    pub fn is_doubted(&self, batch: u32) -> bool {
        self.imports.evidence.is_doubted(batch)
    }

    /// A number that changes whenever [`History::counts_as`] may: an import is doubted, or is so no more.
    #[must_use]
    pub fn import_turns(&self) -> usize {
        self.imports.evidence.turns()
    }

    /// Whether a trial can be the best: it ran here, or counts as if it had.
    #[must_use]
    pub fn can_be_best(&self, trial: &Trial) -> bool {
        matches!(self.imported_as(trial), None | Some(ImportAs::Trials))
    }
}
