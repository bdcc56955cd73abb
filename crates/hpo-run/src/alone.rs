//! What runs of a study that nobody runs.

use std::path::Path;

use hpo_study::{History, Trial, TrialId};

use crate::executor::records::ProcessRecord;
use crate::files::TrialFiles;

/// The trials whose processes run although no coordinator is at work, in order.
#[must_use]
pub fn running_alone(study_dir: &Path, history: &History) -> Vec<TrialId> {
    let active = history.runs().filter(|t| t.state.is_active());
    let lives = |trial: &&Trial| {
        let attempt = Trial::attempt(trial).filter(|a| a.end.is_none());
        let record = attempt
            .and_then(|a| ProcessRecord::read(&TrialFiles::new(study_dir, trial.id), a.number));
        record.is_some_and(|record| record.identity.lives())
    };
    active.filter(lives).map(|trial| trial.id).collect()
}
