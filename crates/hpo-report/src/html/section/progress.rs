//! How the search went: what each trial reached, over trials and over time.

use serde_json::json;

use super::super::Source;
use super::super::data::{self, Json};
use super::super::trials::since_opening;
use hpo_study::TrialState;

pub(super) fn data(source: &Source<'_>) -> Option<Json> {
    let history = source.history;
    if history.trials().is_empty() || history.spec().has_several() {
        return None;
    }
    let mut done: Vec<_> = history
        .trials()
        .iter()
        .filter(|t| t.state == TrialState::Completed && history.can_be_best(t))
        .filter_map(|t| Some((t.ended?, t.id, t.value().filter(|v| v.is_finite())?)))
        .collect();
    done.sort_by_key(|(at, id, _)| (*at, *id));
    let goal = history.spec().metric.goal;
    let mut best: Option<f64> = None;
    let mut improvements = Vec::new();
    for (at, id, value) in done {
        if best.is_none_or(|b| goal.better(value, b)) {
            best = Some(value);
            improvements.push(json!({
                "trial": id,
                "ended_s": data::number(since_opening(history, at)),
                "value": data::number(value),
            }));
        }
    }
    Some(json!({ "improvements": improvements }))
}
