//! Which checkpoints of a study stay: a rule, applied to what became of its trials.

use crate::history::{History, Trial, TrialState};
use crate::id::TrialId;
use crate::population;
use crate::storage::KeepCheckpoints;

/// What stays of one finished trial's checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stay {
    /// Nothing.
    None,
    /// The newest so many entries of its checkpoint directory.
    Newest(u32),
    /// All of them.
    All,
}

/// What stays of every finished trial's checkpoints, in order. Trials that may still go on are not
/// among them: they keep what they have.
#[must_use]
pub fn what_stays(history: &History, rule: KeepCheckpoints) -> Vec<(TrialId, Stay)> {
    let best: Vec<TrialId> = history.best_first().iter().map(|t| t.id).collect();
    // The best trial's, or all of the front's.
    let always = history.front().len().max(1);
    let among = |trial: &Trial, count: usize| {
        let ranked = best.iter().take(count);
        ranked.into_iter().any(|id| *id == trial.id)
    };
    let finished = history.runs().filter(|t| is_done_with(history, t));
    let stay = |trial: &Trial| match rule {
        KeepCheckpoints::All => Stay::All,
        KeepCheckpoints::Last(count) => Stay::Newest(count),
        KeepCheckpoints::Best(count) if among(trial, (count as usize).max(always)) => Stay::All,
        _ if among(trial, best.len().min(always)) => Stay::All,
        _ => Stay::None,
    };
    finished.map(|trial| (trial.id, stay(trial))).collect()
}

/// The finished trials whose checkpoints can be done without first: failed and stopped ones before
/// completed ones, worse values before better ones, older before newer. The best trial is not among them.
#[must_use]
pub fn worst_first(history: &History) -> Vec<TrialId> {
    let goal = history.spec().metric.goal;
    let loss = |trial: &Trial| {
        let value = trial.value().map(|value| goal.as_loss(value));
        value.filter(|loss| !loss.is_nan()).unwrap_or(f64::INFINITY)
    };
    let best: Vec<TrialId> = history.front().iter().map(|t| t.id).collect();
    let finished = history.runs().filter(|t| is_done_with(history, t));
    let mut trials: Vec<&Trial> = finished.filter(|t| !best.contains(&t.id)).collect();
    let completed = |trial: &Trial| trial.state == TrialState::Completed;
    trials.sort_by(|a, b| {
        let by_state = completed(a).cmp(&completed(b));
        by_state.then_with(|| loss(b).total_cmp(&loss(a)))
    });
    trials.into_iter().map(|trial| trial.id).collect()
}

/// Whether nobody will go on from a trial's checkpoints.
fn is_done_with(history: &History, trial: &Trial) -> bool {
    trial.state.is_final() && !population::is_needed(history, trial)
}
