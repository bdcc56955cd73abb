//! What the trials of a study had at each step: for rules that compare a trial with all others there.

use std::collections::BTreeMap;

use hpo_study::{Event, EventKind, Goal, History, Trial, TrialId};

use super::{comparable, process_is_over, speaker};

/// A trial's loss at a step.
type Entry = (f64, TrialId);

/// For every step at which some trial measured the objective, the losses there of all trials that have come so
/// far: of each the last one measured not after that step, worst when not finite.
#[derive(Default)]
pub(super) struct Columns {
    /// Best first.
    columns: BTreeMap<u64, Vec<Entry>>,
    /// The last step at which each trial measured the objective. A trial is in the columns from its
    /// first measurement to this one.
    reached: Vec<Option<u64>>,
}

/// Where a running trial stands among the others at its newest step.
pub(super) struct Standing<'a> {
    pub(super) step: u64,
    /// Its objective there.
    pub(super) value: f64,
    /// The same as a loss to compare by.
    pub(super) loss: f64,
    column: &'a [Entry],
    /// Its place in the column.
    own: usize,
}

impl Standing<'_> {
    /// How many others have come to this step.
    pub(super) fn others(&self) -> usize {
        self.column.len().saturating_sub(1)
    }

    /// The loss below which the share `share` (0 to 1) of the others are, interpolated as NumPy's `quantile`
    /// does it; `None` when there are no others.
    pub(super) fn quantile(&self, share: f64) -> Option<f64> {
        let last = self.others().checked_sub(1)?;
        let nth = |n: usize| self.column[if n < self.own { n } else { n + 1 }].0;
        let position = share * last as f64;
        let below = (position.floor() as usize).min(last);
        let (low, part) = (nth(below), position - below as f64);
        let high = nth((below + 1).min(last));
        Some(if part <= 0.0 || low == high {
            low
        } else {
            low + (high - low) * part
        })
    }
}

impl Columns {
    /// Sees an event that the history has taken in.
    pub(super) fn observe(&mut self, history: &History, event: &Event) {
        if let EventKind::Reported {
            trial,
            attempt,
            step,
            metrics,
        } = &event.kind
            && let Some(record) = speaker(history, *trial, *attempt)
        {
            let measured = metrics.contains_key(&history.spec().metric.name);
            self.reported(history, record, *step, measured);
        }
    }

    /// Where a trial stands that may still be stopped: its process runs, it has come to step `min_iter`, and
    /// not to the full length of a trial, where nothing is left to be saved.
    pub(super) fn standing(
        &self,
        history: &History,
        trial: TrialId,
        min_iter: u64,
    ) -> Option<Standing<'_>> {
        let spec = history.spec();
        let record = history.trial(trial).filter(|t| !process_is_over(t))?;
        let (step, value) = record.curve.last()?;
        if step < min_iter || spec.max_steps().is_some_and(|full| step >= full) {
            return None;
        }
        let loss = comparable(spec.metric.goal, value);
        let column = self.columns.get(&step).map_or(&[][..], Vec::as_slice);
        let own = place(column, (loss, trial));
        Some(Standing {
            step,
            value,
            loss,
            column,
            own,
        })
    }

    fn reported(&mut self, history: &History, trial: &Trial, step: u64, measured: bool) {
        let goal = history.spec().metric.goal;
        if self.reached.len() <= trial.id.index() {
            self.reached.resize(trial.id.index() + 1, None);
        }
        let mut reached = self.reached[trial.id.index()];
        if !measured && trial.curve.last().map(|(last, _)| last) == reached {
            return;
        }
        if reached.is_some_and(|last| step <= last) {
            // The process went back to its checkpoint, or corrects this step.
            reached = trial
                .curve
                .objectives()
                .rev()
                .map(|(s, _)| s)
                .find(|s| *s < step);
            let first_gone = reached.map_or(0, |last| last + 1);
            for (_, column) in self.columns.range_mut(first_gone..) {
                column.retain(|(_, id)| *id != trial.id);
            }
            self.reached[trial.id.index()] = reached;
        }
        if measured {
            if let Some(last) = reached {
                for (between, column) in self.columns.range_mut(last + 1..step) {
                    enter(column, goal, trial, *between);
                }
            }
            if !self.columns.contains_key(&step) {
                let column = self.column_of_those_beyond(history, step);
                self.columns.insert(step, column);
            }
            if let Some(column) = self.columns.get_mut(&step) {
                enter(column, goal, trial, step);
            }
            self.reached[trial.id.index()] = Some(step);
        }
    }

    /// A new column: trials that never measured at this very step, but went past it.
    fn column_of_those_beyond(&self, history: &History, step: u64) -> Vec<Entry> {
        let goal = history.spec().metric.goal;
        let mut column = Vec::new();
        for (trial, reached) in history.trials().iter().zip(&self.reached) {
            if reached.is_some_and(|last| last > step) {
                enter(&mut column, goal, trial, step);
            }
        }
        column
    }
}

/// Puts a trial into its place in a column, unless it has measured nothing up to there.
fn enter(column: &mut Vec<Entry>, goal: Goal, trial: &Trial, step: u64) {
    if let Some(value) = trial.curve.at(step) {
        let entry = (comparable(goal, value), trial.id);
        column.insert(place(column, entry), entry);
    }
}

fn place(column: &[Entry], (loss, id): Entry) -> usize {
    column.partition_point(|(l, i)| l.total_cmp(&loss).then(i.cmp(&id)).is_lt())
}
