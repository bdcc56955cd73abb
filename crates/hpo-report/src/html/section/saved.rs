//! How many steps pruning and the divergence rules saved.

use hpo_study::{History, StopReason, Trial, TrialState};
use serde_json::json;

use super::super::Source;
use super::super::data::{self, Json};
use crate::number::short;
use crate::status::given_up;

/// Steps by what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Steps {
    /// Taken by trials that completed.
    completed: u64,
    /// Taken by trials that were pruned.
    pruned: u64,
    /// Taken by trials that diverged, got stuck or made no progress.
    lost: u64,
    /// Taken by all others.
    other: u64,
    /// Not taken by pruned trials, which would have gone on to the planned end.
    saved_by_pruning: u64,
    /// Not taken by hopeless trials, to their next rung or to the end.
    saved_by_divergence: u64,
}

pub(super) fn data(source: &Source<'_>) -> Option<Json> {
    let history = source.history;
    let (steps, pruned) = steps(history);
    let given_up = given_up(history);
    if pruned == 0 && given_up.is_none() {
        return None;
    }
    let spent = [steps.completed, steps.pruned, steps.lost, steps.other];
    let spent = spent.into_iter().fold(0, u64::saturating_add);
    let saved = steps
        .saved_by_pruning
        .saturating_add(steps.saved_by_divergence);
    let share = |part: u64| part as f64 / spent.saturating_add(saved).max(1) as f64;
    let percent = |part: u64| short((1000.0 * share(part)).round() / 10.0);
    let mut sentences = Vec::new();
    let saved_there = match given_up.and_then(|g| g.steps_saved) {
        Some(steps) => format!("{steps} steps ({} %)", percent(steps)),
        None => "nobody knows how many steps".to_owned(),
    };
    let known = history.spec().planned_steps().is_some();
    if pruned > 0 {
        sentences.push(if known {
            format!(
                "{pruned} trials were pruned: {} steps ({} % of all, had they run to their end) were not spent on them.",
                steps.saved_by_pruning,
                percent(steps.saved_by_pruning)
            )
        } else {
            format!("{pruned} trials were pruned; the study does not say how long a trial is, so nobody knows what that saved.")
        });
    }
    if let Some(given_up) = &given_up {
        sentences.push(match given_up.trials {
            1 => format!("1 hopeless trial was given up: {saved_there} were not spent on it."),
            n => {
                format!("{n} hopeless trials were given up: {saved_there} were not spent on them.")
            }
        });
    }
    Some(json!({
        "planned_steps": history.spec().planned_steps(),
        "steps": {
            "completed": steps.completed,
            "pruned": steps.pruned,
            "lost": steps.lost,
            "other": steps.other,
            "saved_by_pruning": steps.saved_by_pruning,
            "saved_by_divergence": steps.saved_by_divergence,
        },
        "share_saved": data::number(share(saved)),
        "trials_pruned": pruned,
        "trials_given_up": given_up.map_or(0, |g| g.trials),
        "sentences": sentences,
    }))
}

/// The steps, and how many trials were pruned.
fn steps(history: &History) -> (Steps, usize) {
    let mut steps = Steps::default();
    let mut pruned = 0;
    let planned = history.spec().planned_steps();
    let reached = |trial: &Trial| trial.curve.last_step().unwrap_or(0);
    for trial in history.own_trials() {
        let taken = reached(trial);
        let sum = match &trial.state {
            TrialState::Completed => &mut steps.completed,
            TrialState::Stopped(StopReason::Pruned { .. }) => {
                pruned += 1;
                let left = planned.map_or(0, |end| end.saturating_sub(taken));
                steps.saved_by_pruning = steps.saved_by_pruning.saturating_add(left);
                &mut steps.pruned
            }
            TrialState::Stopped(reason) if reason.is_infeasible() => &mut steps.lost,
            _ => &mut steps.other,
        };
        *sum = sum.saturating_add(taken);
    }
    let lost = given_up(history).and_then(|g| g.steps_saved);
    steps.saved_by_divergence = lost.unwrap_or(0);
    (steps, pruned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn steps_are_counted_once() {
        let (steps, pruned) = steps(&sample::study());
        assert_eq!(pruned, 2);
        let wanted = Steps {
            completed: 45,
            pruned: 4,
            lost: 2,
            other: 3,
            saved_by_pruning: 8 + 6,
            saved_by_divergence: 7,
        };
        assert_eq!(steps, wanted);
    }
}
