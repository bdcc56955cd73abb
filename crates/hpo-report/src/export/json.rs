//! The trial as a JSON object.

use std::collections::BTreeMap;

use hpo_study::{Change, Config, Goal, History, Rescued, Trial, TrialId, Value};
use serde::Serialize;

use super::{Stretch, stretches};
use crate::confirmations::{Confirmation, confirmation};
use crate::repeats::{Repeated, repeated};

/// What `hpo best -f json` prints. Fields are added in later versions, never changed.
#[derive(Serialize)]
struct Best<'a> {
    version: u32,
    study: &'a str,
    trial: TrialId,
    state: &'a str,
    metric: &'a str,
    goal: Goal,
    value: Option<Value>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    values: BTreeMap<String, Value>,
    params: &'a Config,
    metrics: BTreeMap<String, Value>,
    steps: Option<u64>,
    rescued: &'a [Rescued],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    schedule: Vec<Stretch<'a>>,
    #[serde(skip_serializing_if = "<[Change]>::is_empty")]
    changed: &'a [Change],
    #[serde(skip_serializing_if = "Option::is_none")]
    confirmed: Option<Confirmation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repeats: Option<Repeated>,
}

pub(super) fn write(history: &History, trial: &Trial) -> String {
    let row = crate::trials::row(history, trial, history.last_event());
    let best = Best {
        version: 1,
        study: &history.spec().name,
        trial: trial.id,
        state: row.state,
        metric: &history.spec().metric.name,
        goal: history.spec().metric.goal,
        value: row.value,
        values: crate::front::values_of_several(history, trial),
        params: &trial.config,
        metrics: row.metrics,
        steps: row.steps,
        rescued: &trial.rescues,
        schedule: stretches(history, trial),
        changed: &trial.changes,
        confirmed: confirmation(history, trial),
        repeats: repeated(trial),
    };
    // Plain data with text keys: this cannot fail.
    serde_json::to_string_pretty(&best).unwrap_or_default() + "\n"
}
