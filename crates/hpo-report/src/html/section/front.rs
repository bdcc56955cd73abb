//! Several objectives: the trials by two of them at a time, the front among them, and how much it covered in the course of
//! the study.

use serde_json::json;

use super::super::Source;
use super::super::data::{self, Json};
use crate::front;

pub(super) fn data(source: &Source<'_>) -> Option<Json> {
    let history = source.history;
    if !history.spec().has_several() || history.trials().is_empty() {
        return None;
    }
    let trials = history.trials().iter().map(|trial| history.values(trial));
    let rows: Vec<Vec<Option<f64>>> = trials.collect();
    let column = |j: usize| {
        rows.iter()
            .map(|row| data::maybe(row[j]))
            .collect::<Vec<_>>()
    };
    let objectives = front::objectives(history).into_iter().enumerate();
    let objectives: Vec<Json> = objectives
        .map(|(j, o)| json!({ "name": o.name, "goal": o.goal, "values": column(j) }))
        .collect();
    let members: Vec<u32> = front::sorted(history).iter().map(|t| t.id.0).collect();
    let covered = front::covered(history).into_iter();
    let covered: Vec<Json> = covered
        .map(|(id, share)| json!([id.0, data::number(share)]))
        .collect();
    Some(json!({
        "sentence": front::sentence(history),
        "objectives": objectives,
        "front": members,
        "compromise": history.compromise().map(|t| t.id.0),
        "covered": covered,
    }))
}
