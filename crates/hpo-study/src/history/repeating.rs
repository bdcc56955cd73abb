//! What the history makes of runs that repeat a trial with further seeds.

use hpo_recipe::Config;

use super::{History, HistoryError, Trial, TrialState, misfit};
use crate::event::Event;
use crate::id::TrialId;

impl History {
    pub(super) fn add_repeat(
        &mut self,
        run: TrialId,
        of: TrialId,
        config: &Config,
        event: &Event,
    ) -> Result<(), HistoryError> {
        if run.repeat_index() != Some(self.repeats.len()) {
            return Err(misfit(event, "repeating runs are numbered in order"));
        }
        let original = self.trials.get_mut(of.index());
        let Some(original) = original.filter(|t| t.state == TrialState::Repeating) else {
            return Err(misfit(event, "there is no trial that it could repeat"));
        };
        original.repeats.runs.push(run);
        let further = Trial {
            bracket: original.bracket,
            target: original.target,
            repeat_of: Some(of),
            ..Trial::new(run, config.clone(), event.at)
        };
        self.repeats.push(further);
        Ok(())
    }

    /// Adds the value of a run that has completed to those of the trial that it repeats.
    pub(super) fn count_repeat(&mut self, run: TrialId) {
        let Some(record) = self.trial(run) else {
            return;
        };
        let value = record.value().filter(|value| value.is_finite());
        let of = record.repeat_of.map(TrialId::index);
        let original = of.and_then(|index| self.trials.get_mut(index));
        if let (Some(value), Some(original)) = (value, original.filter(|t| !t.state.is_final())) {
            original.repeats.values.push(value);
        }
    }
}
