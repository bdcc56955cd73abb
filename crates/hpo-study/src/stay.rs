//! Which checkpoints of a study stay: a rule, applied to what became of its trials.

use std::collections::BTreeSet;

use crate::confirm;
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
    let mut kept = always(history);
    if let KeepCheckpoints::Best(count) = rule
        && (count as usize > kept.len() || !history.spec().has_several())
    {
        let best = history.best_first().into_iter().take(count as usize);
        kept.extend(best.map(|trial| trial.id));
    }
    let stay = |trial: &Trial| match rule {
        KeepCheckpoints::All => Stay::All,
        KeepCheckpoints::Last(count) => Stay::Newest(count),
        _ if kept.contains(&trial.id) => Stay::All,
        _ => Stay::None,
    };
    let finished = history.runs().filter(|t| is_done_with(history, t));
    finished.map(|trial| (trial.id, stay(trial))).collect()
}

/// The finished trials whose checkpoints can be done without first: failed and stopped ones before
/// completed ones, worse values before better ones, older before newer. The best trial is not among them, nor is one
/// that may yet prove best.
#[must_use]
pub fn worst_first(history: &History) -> Vec<TrialId> {
    let goal = history.spec().metric.goal;
    let loss = |trial: &Trial| {
        let value = trial.value().map(|value| goal.as_loss(value));
        value.filter(|loss| !loss.is_nan()).unwrap_or(f64::INFINITY)
    };
    let kept = always(history);
    let finished = history.runs().filter(|t| is_done_with(history, t));
    let mut trials: Vec<&Trial> = finished.filter(|t| !kept.contains(&t.id)).collect();
    let completed = |trial: &Trial| trial.state == TrialState::Completed;
    trials.sort_by(|a, b| {
        let by_state = completed(a).cmp(&completed(b));
        by_state.then_with(|| loss(b).total_cmp(&loss(a)))
    });
    trials.into_iter().map(|trial| trial.id).collect()
}

/// Whose checkpoints stay whatever the rule: the best trial's, and its that has the best single value; all of the
/// front's; and until it is known which of the best proves best (`confirm`), those of all that may.
fn always(history: &History) -> BTreeSet<TrialId> {
    let mut kept: BTreeSet<TrialId> = history.front().iter().map(|t| t.id).collect();
    if history.spec().has_several() {
        return kept;
    }
    kept.extend(history.best_first().first().map(|trial| trial.id));
    if let Some(wanted) = history.confirm()
        && confirm::winner(history).is_none()
    {
        let candidates = confirm::candidates(history, wanted.top).into_iter();
        kept.extend(candidates.map(|trial| trial.id));
    }
    kept
}

/// Whether nobody will go on from a trial's checkpoints.
fn is_done_with(history: &History, trial: &Trial) -> bool {
    trial.state.is_final() && !population::is_needed(history, trial)
}
