//! One trial in detail: what it has beyond its curves.

use hpo_study::{FailReason, Trial, TrialState};
use serde_json::json;

use super::super::Source;
use super::super::data::{self, Json};
use crate::trial::end_words;

/// Of so many trials the processes and last words are given.
const MOST: usize = 500;
/// Of last words so many lines at most.
const LINES: usize = 30;

pub(super) fn data(source: &Source<'_>) -> Option<Json> {
    let trials = source.history.trials();
    if trials.is_empty() {
        return None;
    }
    let told = trials.iter().filter(|t| has_more(t)).take(MOST).map(|t| {
        let processes = t.attempts.iter().rev().take(20).rev().map(|attempt| {
            json!({
                "attempt": attempt.number,
                "until": attempt.target,
                "end": attempt.end.as_ref().map(|end| data::short_text(&end_words(end))),
            })
        });
        json!({
            "trial": t.id,
            "processes": processes.collect::<Vec<_>>(),
            "last_words": last_words(t),
        })
    });
    Some(json!({ "more": told.collect::<Vec<_>>() }))
}

/// Whether there is anything to say that the columns do not have.
fn has_more(trial: &Trial) -> bool {
    trial.attempts.len() > 1 || last_words(trial).is_some()
}

fn last_words(trial: &Trial) -> Option<String> {
    let TrialState::Failed(FailReason::Crash { stderr, .. }) = &trial.state else {
        return None;
    };
    let all: Vec<&str> = stderr.lines().map(str::trim_end).collect();
    let from = all.len().saturating_sub(LINES);
    let text = data::lines(&all.get(from..).unwrap_or_default().join("\n"));
    let cut: String = text.chars().take(4000).collect();
    (!cut.trim().is_empty()).then_some(cut)
}
