//! The trials in columns: what most plots and the table are made of.

use std::collections::BTreeMap;

use hpo_study::{History, StopReason, Timestamp, Trial, TrialState};
use serde::Serialize;

use super::Source;
use super::data::{self, Json};
use crate::number::seconds;
use crate::trials::{ImportedFrom, imported};

/// Most cells of the columns of last metrics.
const MOST_CELLS: usize = 150_000;

/// One column per property of the trials; all are as long as there are trials, and a trial's number
/// is its place.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrialColumns {
    /// `completed`, `pruned`, `diverged`, `stuck`, `no_progress`, `failed`, `cut_off` (by the user or by
    /// time), `running` or `waiting`.
    pub fate: Vec<&'static str>,
    /// The evidence for that in words, or null.
    pub detail: Vec<Option<String>>,
    /// The objective at the last report, or null.
    pub value: Vec<Json>,
    /// The last step reported, or null.
    pub step: Vec<Option<u64>>,
    /// When the first process started, in seconds of time since the study was opened, or null.
    pub started_s: Vec<Json>,
    /// When the trial came to its end, likewise.
    pub ended_s: Vec<Json>,
    /// How long its processes ran, in seconds.
    pub duration_s: Vec<Json>,
    /// How many processes it has had.
    pub attempts: Vec<u32>,
    /// How often it was rescued from divergence.
    pub rescues: Vec<u32>,
    /// Where it is from, if it did not run here, or null; left out where all trials ran here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub imported: Vec<Option<ImportedFrom>>,
    /// A column per parameter; null where it is not active.
    pub params: BTreeMap<String, Vec<Json>>,
    /// A column per metric other than the objective: its last value, or null. Only as many metrics as
    /// make 150 000 cells.
    pub metrics: BTreeMap<String, Vec<Json>>,
}

/// What became of a trial, in one word.
pub(super) fn fate(trial: &Trial) -> &'static str {
    match &trial.state {
        TrialState::Completed => "completed",
        TrialState::Stopped(
            StopReason::User | StopReason::TimeCap | StopReason::TimeLimit { .. },
        ) => "cut_off",
        TrialState::Stopped(reason) => reason.word(),
        TrialState::Failed(_) => "failed",
        TrialState::Launching
        | TrialState::Running
        | TrialState::Stopping(_)
        | TrialState::Repeating => "running",
        TrialState::Queued | TrialState::Paused => "waiting",
    }
}

/// The seconds from the study's opening to a moment.
pub(super) fn since_opening(history: &History, at: Timestamp) -> f64 {
    seconds(at.since(history.opened()))
}

fn elsewhere(history: &History, trial: &Trial) -> Option<ImportedFrom> {
    let from = imported(history, trial)?;
    Some(ImportedFrom {
        source: data::short_text(&from.source),
        name: data::short_text(&from.name),
        ..from
    })
}

pub(super) fn columns(source: &Source<'_>) -> TrialColumns {
    let history = source.history;
    let trials = history.trials();
    let moment = |at: Option<Timestamp>| data::maybe(at.map(|at| since_opening(history, at)));
    let mut params: BTreeMap<String, Vec<Json>> = BTreeMap::new();
    for name in trials.iter().flat_map(|t| t.config.iter().map(|(n, _)| n)) {
        if !params.contains_key(name) {
            let of = |t: &Trial| t.config.get(name).map_or(Json::Null, data::value);
            params.insert(name.clone(), trials.iter().map(of).collect());
        }
    }
    let most = MOST_CELLS / trials.len().max(1);
    let names = history.metric_names().iter().take(most);
    let last = |t: &Trial, name: &str| {
        // NaN also stands for "not reported".
        let value = history.last_metric(t, name).filter(|v| !v.is_nan());
        data::maybe(value)
    };
    TrialColumns {
        fate: trials.iter().map(fate).collect(),
        detail: trials
            .iter()
            .map(|t| crate::trials::detail(&t.state).map(|text| data::short_text(&text)))
            .collect(),
        value: trials.iter().map(|t| data::maybe(t.value())).collect(),
        step: trials.iter().map(|t| t.curve.last_step()).collect(),
        started_s: trials.iter().map(|t| moment(t.started)).collect(),
        ended_s: trials.iter().map(|t| moment(t.ended)).collect(),
        duration_s: trials
            .iter()
            .map(|t| data::number(seconds(crate::trials::duration(t, source.now))))
            .collect(),
        attempts: trials.iter().map(|t| t.attempts.len() as u32).collect(),
        rescues: trials.iter().map(|t| t.rescues.len() as u32).collect(),
        imported: match history.imported() {
            0 => Vec::new(),
            _ => trials.iter().map(|t| elsewhere(history, t)).collect(),
        },
        params,
        metrics: names
            .map(|name| (name.clone(), trials.iter().map(|t| last(t, name)).collect()))
            .collect(),
    }
}
