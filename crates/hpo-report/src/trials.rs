//! All trials: the documented list for programs, a table for people, CSV for spreadsheets.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hpo_study::{
    Change, Config, FailReason, Goal, History, Rescued, Timestamp, Trial, TrialId, TrialState,
    Value,
};
use serde::Serialize;

use crate::number::{seconds, serialize_moment, short, short_value, time};
use crate::repeats::{Repeated, repeated};
use crate::table::Table;
use crate::text::printable;

/// One trial, as `hpo trials -f json` lists it. Fields are added in later versions, never changed.
///
/// Numbers that JSON cannot write are the texts `"NaN"`, `"Infinity"` and `"-Infinity"`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrialRow {
    /// Its number, from 0.
    pub trial: TrialId,
    /// `queued`, `running`, `paused`, `completed`, `stopped`, `infeasible` or `failed`.
    pub state: &'static str,
    /// Why it was stopped or failed: `pruned`, `diverged`, `stuck`, `no_progress`, `user`, `time_cap`,
    /// `time_limit`; `oom`; `crash`, `not_started`, `no_metric`, `lost`, `stalled`.
    pub reason: Option<&'static str>,
    /// The reason's evidence, in words.
    pub detail: Option<String>,
    /// Its configuration.
    pub params: Config,
    /// The objective at its last report.
    pub value: Option<Value>,
    /// Its last reported step.
    pub steps: Option<u64>,
    /// How many processes it has had.
    pub attempts: u32,
    /// When its first process started, RFC 3339.
    #[serde(serialize_with = "serialize_moment")]
    pub started: Option<Timestamp>,
    /// When it came to its end, RFC 3339.
    #[serde(serialize_with = "serialize_moment")]
    pub ended: Option<Timestamp>,
    /// How long its processes ran, together, in seconds.
    pub duration_s: f64,
    /// The scheduler's bracket it belongs to, from 0.
    pub bracket: u32,
    /// Every other metric at its last report.
    pub metrics: BTreeMap<String, Value>,
    /// How often it was rescued from divergence. Its `params` then are not those it began with.
    pub rescues: u32,
    /// The user has paused it: it is not started until it is resumed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
    /// The trial whose configuration it runs again; left out for the trials of the search.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirms: Option<TrialId>,
    /// The trial that it is a further run of; left out for the trials of the search.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeat_of: Option<TrialId>,
    /// Where it is from, if it did not run here; left out for those that did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub imported: Option<ImportedFrom>,
    /// The runs of its configuration with several seeds, whose mean its value is; left out where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeats: Option<Repeated>,
}

/// Where a trial is from that did not run here.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ImportedFrom {
    /// The source, in words.
    pub source: String,
    /// What it was called there.
    pub name: String,
    /// What it is to the study: `evidence`, `trials` or `prior`.
    #[serde(rename = "as")]
    pub used: &'static str,
}

pub(crate) fn imported(history: &History, trial: &Trial) -> Option<ImportedFrom> {
    let origin = trial.origin.as_ref()?;
    let batch = history.imports().get(origin.batch as usize)?;
    Some(ImportedFrom {
        source: batch.source.clone(),
        name: origin.name.clone(),
        used: batch.used.word(),
    })
}

/// One row per trial, in order. `now` is the present while a coordinator runs, else the moment of
/// the last event.
#[must_use]
pub fn rows(history: &History, now: Timestamp) -> Vec<TrialRow> {
    history
        .trials()
        .iter()
        .map(|trial| row(history, trial, now))
        .collect()
}

/// The row of one trial; see [`rows`].
#[must_use]
pub fn row(history: &History, trial: &Trial, now: Timestamp) -> TrialRow {
    let names = history.metric_names().iter();
    // NaN also stands for "not reported", and a metric that is not there is left out.
    let metrics = names
        .filter_map(|name| Some((name, history.last_metric(trial, name)?)))
        .filter(|(_, value)| !value.is_nan())
        .map(|(name, value)| (name.clone(), Value::Float(value)))
        .collect();
    TrialRow {
        trial: trial.id,
        state: trial.state.word(),
        reason: trial.state.reason(),
        detail: detail(&trial.state).or_else(|| given_up(trial)),
        params: trial.config.clone(),
        value: trial.value().map(Value::Float),
        steps: trial.curve.last_step(),
        attempts: trial.attempts.len() as u32,
        started: trial.started,
        ended: trial.ended,
        duration_s: seconds(duration(trial, now)),
        bracket: trial.bracket,
        metrics,
        rescues: trial.rescues.len() as u32,
        held: is_held(trial),
        confirms: trial.confirms,
        repeat_of: trial.repeat_of,
        imported: imported(history, trial),
        repeats: repeated(trial),
    }
}

/// How long a trial's processes have run, together.
#[must_use]
pub fn duration(trial: &Trial, now: Timestamp) -> Duration {
    trial
        .attempts
        .iter()
        .map(|a| {
            let ran = a.ended.unwrap_or(now).since(a.launched);
            ran.saturating_sub(a.asleep)
        })
        .sum()
}

/// The evidence for a trial's state, in words.
#[must_use]
pub fn detail(state: &TrialState) -> Option<String> {
    match state {
        TrialState::Stopped(reason) => reason.evidence().map(str::to_owned),
        TrialState::Failed(FailReason::Crash { how, stderr }) => {
            Some(match stderr.lines().rfind(|line| !line.trim().is_empty()) {
                Some(line) => format!("{how}: {}", printable(line.trim())),
                None => how.clone(),
            })
        }
        TrialState::Failed(FailReason::NotStarted { error }) => Some(error.clone()),
        TrialState::Failed(FailReason::NoMetric { evidence, .. }) => Some(printable(evidence)),
        TrialState::Failed(FailReason::Lost) => {
            Some("its process vanished, again and again".to_owned())
        }
        TrialState::Failed(FailReason::Oom { evidence, .. }) => Some(evidence.clone()),
        TrialState::Failed(FailReason::Stalled { evidence }) => Some(evidence.clone()),
        _ => None,
    }
}

/// Why a trial that has completed was not run with further seeds, where there were more to come.
fn given_up(trial: &Trial) -> Option<String> {
    let why = trial.repeats.given_up.as_ref()?;
    Some(format!("not run with further seeds: {why}"))
}

/// Which trials, and in which order.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Only trials in this state (a word of [`TrialRow::state`]).
    pub state: Option<String>,
    /// Best value first, instead of by number; trials without a finite value come last.
    pub best_first: bool,
    /// At most this many.
    pub most: Option<usize>,
}

impl Selection {
    /// Picks and orders.
    #[must_use]
    pub fn pick(&self, mut rows: Vec<TrialRow>, goal: Goal) -> Vec<TrialRow> {
        if let Some(state) = &self.state {
            rows.retain(|row| row.state == state);
        }
        if self.best_first {
            let loss = |row: &TrialRow| {
                let value = row
                    .value
                    .as_ref()
                    .and_then(Value::as_f64)
                    .filter(|v| v.is_finite());
                value.map_or(f64::INFINITY, |v| goal.as_loss(v))
            };
            rows.sort_by(|a, b| loss(a).total_cmp(&loss(b)));
        }
        rows.truncate(self.most.unwrap_or(usize::MAX));
        rows
    }
}

/// The table for people.
#[must_use]
pub fn table(rows: &[TrialRow], metric: &str, width: Option<u16>) -> String {
    table_of_several(rows, metric, &[], width)
}

/// The same with the values of further objectives, which are among the metrics.
#[must_use]
pub fn table_of_several(
    rows: &[TrialRow],
    metric: &str,
    further: &[&str],
    width: Option<u16>,
) -> String {
    let objective = format!(">{metric}");
    let others: Vec<String> = further.iter().map(|name| format!(">{name}")).collect();
    let repeated = rows.iter().any(|row| row.repeats.is_some());
    let mut headers = vec![">trial", "state", &objective];
    headers.extend(others.iter().map(String::as_str));
    if repeated {
        headers.extend([">± error", ">seeds"]);
    }
    headers.extend([">step", ">time", "configuration"]);
    let mut table = Table::new(&headers);
    for row in rows {
        let mut cells = vec![
            row.trial.to_string(),
            marked(state_words(row.state, row.reason), row),
            row.value
                .as_ref()
                .and_then(Value::as_f64)
                .map_or_else(dash, short),
        ];
        cells.extend(further.iter().map(|name| {
            let value = row.metrics.get(*name).and_then(Value::as_f64);
            value.map_or_else(dash, short)
        }));
        if repeated {
            let repeats = row.repeats.as_ref();
            let error = repeats.and_then(|r| r.standard_error);
            cells.push(error.map_or_else(dash, short));
            cells.push(repeats.map_or_else(dash, |r| r.n.to_string()));
        }
        cells.extend([
            row.steps.map_or_else(dash, |s| s.to_string()),
            if row.attempts == 0 {
                dash()
            } else {
                time(Duration::from_secs_f64(row.duration_s))
            },
            configuration(&row.params),
        ]);
        table.row(cells);
    }
    table.render(width)
}

/// CSV with one column per parameter (`params.…`) and metric (`metrics.…`), the names that
/// `pandas.json_normalize` gives the JSON. What is not there is an empty field.
#[must_use]
pub fn csv(rows: &[TrialRow]) -> String {
    let params: BTreeSet<&String> = rows
        .iter()
        .flat_map(|r| r.params.iter().map(|(n, _)| n))
        .collect();
    let metrics: BTreeSet<&String> = rows.iter().flat_map(|r| r.metrics.keys()).collect();
    let fixed = [
        "trial",
        "state",
        "reason",
        "detail",
        "value",
        "steps",
        "attempts",
        "started",
        "ended",
        "duration_s",
        "bracket",
        "rescues",
    ];
    let mut header: Vec<String> = fixed.iter().map(|name| (*name).to_owned()).collect();
    header.extend(params.iter().map(|name| format!("params.{name}")));
    header.extend(metrics.iter().map(|name| format!("metrics.{name}")));
    let mut lines = vec![header];
    for row in rows {
        let moment = |at: Option<Timestamp>| at.map(crate::number::moment).unwrap_or_default();
        let mut line = vec![
            row.trial.to_string(),
            row.state.to_owned(),
            row.reason.unwrap_or_default().to_owned(),
            row.detail.clone().unwrap_or_default(),
            field(row.value.as_ref()),
            row.steps.map(|s| s.to_string()).unwrap_or_default(),
            row.attempts.to_string(),
            moment(row.started),
            moment(row.ended),
            row.duration_s.to_string(),
            row.bracket.to_string(),
            row.rescues.to_string(),
        ];
        line.extend(params.iter().map(|name| field(row.params.get(name))));
        line.extend(metrics.iter().map(|name| field(row.metrics.get(*name))));
        lines.push(line);
    }
    write_csv(&lines)
}

/// A value as CSV holds it: numbers exactly.
fn field(value: Option<&Value>) -> String {
    value.map(Value::to_string).unwrap_or_default()
}

fn write_csv(lines: &[Vec<String>]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for line in lines {
        // Writing to memory, with lines of equal length, cannot fail.
        if writer.write_record(line).is_err() {
            break;
        }
    }
    let bytes = writer.into_inner().unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `completed`, or `stopped (pruned)`.
#[must_use]
pub fn state_words(state: &str, reason: Option<&str>) -> String {
    reason.map_or_else(|| state.to_owned(), |reason| format!("{state} ({reason})"))
}

/// The state of a trial that was rescued is marked, for it has another configuration than it began with,
/// and so is that of one that the user has paused.
fn marked(mut state: String, row: &TrialRow) -> String {
    if row.imported.is_some() {
        state += ", imported";
    }
    if row.rescues > 0 {
        state += ", rescued";
    }
    if row.held {
        state += ", paused by you";
    }
    state
}

/// Whether the user has paused a trial that is not over.
pub(crate) fn is_held(trial: &Trial) -> bool {
    trial.held && !trial.state.is_final()
}

/// What the user changed of a trial, in words: `set by the user at step 12: lr 0.1 → 0.01`.
#[must_use]
pub fn change_words(change: &Change) -> String {
    let when = match change.step {
        Some(step) => format!("at step {step}"),
        None => "before its first report".to_owned(),
    };
    let from = change.from.as_ref().map_or_else(dash, short_value);
    let words = format!(
        "set by the user {when}: {} {from} → {}",
        change.parameter,
        short_value(&change.to)
    );
    printable(&words)
}

/// How a trial was rescued, in words: `rescued at step 12: lr 0.1 → 0.01`.
#[must_use]
pub fn rescue_words(rescue: &Rescued) -> String {
    format!(
        "rescued at step {}: {} {} → {}",
        rescue.healthy_step,
        rescue.parameter,
        short(rescue.from),
        short(rescue.to)
    )
}

/// A configuration in one line, short: the optimizer, its rate and the schedule first, then the
/// rest by name.
#[must_use]
pub fn configuration(config: &Config) -> String {
    let rest = config
        .iter()
        .map(|(name, _)| name.as_str())
        .filter(|name| !KEY.contains(name));
    line(config, KEY.into_iter().chain(rest))
}

/// What of a configuration says most, in one line: the optimizer, its rate, the schedule, the batch
/// size; its first parameters when it has none of them.
#[must_use]
pub fn key_configuration(config: &Config) -> String {
    let text = line(config, KEY.into_iter().chain(["batch_size"]));
    if !text.is_empty() {
        return text;
    }
    const FIRST: usize = 4;
    let first = config.iter().map(|(name, _)| name.as_str()).take(FIRST);
    let more = if config.iter().nth(FIRST).is_some() {
        " …"
    } else {
        ""
    };
    line(config, first) + more
}

const KEY: [&str; 3] = ["optimizer", "lr", "schedule"];

fn line<'a>(config: &Config, names: impl Iterator<Item = &'a str>) -> String {
    let words = names.filter_map(|name| Some(format!("{name}={}", short_value(config.get(name)?))));
    printable(&words.collect::<Vec<_>>().join(" "))
}

pub(crate) fn dash() -> String {
    "–".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn the_table_for_people() {
        let history = sample::study();
        let rows = rows(&history, history.last_event());
        insta::assert_snapshot!(table(&rows, "val_accuracy", None));
    }

    #[test]
    fn the_list_for_programs() {
        let history = sample::study();
        insta::assert_json_snapshot!(rows(&history, history.last_event()));
    }

    #[test]
    fn the_columns_for_spreadsheets() {
        let history = sample::study();
        insta::assert_snapshot!(csv(&rows(&history, history.last_event())));
    }

    #[test]
    fn a_trial_without_the_objective_says_so() {
        // As an older log has it.
        let reason = serde_json::from_str(r#"{"reason": "no_metric"}"#).unwrap();
        let words = detail(&TrialState::Failed(reason)).unwrap();
        assert!(words.contains("never reported the objective"), "{words}");
    }

    #[test]
    fn the_key_of_a_configuration_is_short_however_large_it_is() {
        let many = (0..300).map(|i| (format!("p{i:03}"), 0.5));
        let key = key_configuration(&Config::from_iter(many));
        assert_eq!(key, "p000=0.5 p001=0.5 p002=0.5 p003=0.5 …");
        let few = Config::from_iter([("a", 1.0), ("b", 2.0)]);
        assert_eq!(key_configuration(&few), "a=1 b=2");
    }

    #[test]
    fn the_best_come_first_and_the_broken_last() {
        let history = sample::study();
        let all = rows(&history, history.last_event());
        let best = Selection {
            best_first: true,
            ..Selection::default()
        };
        let order: Vec<u32> = best
            .pick(all.clone(), Goal::Maximize)
            .iter()
            .map(|r| r.trial.0)
            .collect();
        assert_eq!(order[0], 3);
        assert_eq!(all.len(), order.len());
        let failed = Selection {
            state: Some("failed".into()),
            best_first: false,
            most: Some(1),
        };
        assert!(
            failed
                .pick(all, Goal::Maximize)
                .iter()
                .all(|r| r.state == "failed")
        );
    }
}
