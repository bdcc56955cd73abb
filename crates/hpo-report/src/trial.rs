//! One trial in all its detail.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use hpo_study::{
    AttemptEnd, AttemptNumber, Change, FailReason, Finding, History, Rescued, Timestamp, Trial,
    TrialState, Value, causes,
};
use serde::Serialize;

use crate::number::{moment, serialize_moment, short, time};
use crate::picture;
use crate::table::Table;
use crate::text::{printable, shortened};
use crate::trials::{TrialRow, change_words, dash, rescue_words, row, state_words};

/// The longest text of a page in full, in characters; the JSON has all of it.
const LONGEST: usize = 1000;

/// One trial, as `hpo trial N -f json` prints it: the fields of the list, and these.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrialDetails {
    /// Version of this contract.
    pub version: u32,
    /// What the list has.
    #[serde(flatten)]
    pub row: TrialRow,
    /// Name of the objective.
    pub metric: String,
    /// Its processes, in order.
    pub processes: Vec<Process>,
    /// What it reported.
    pub curve: Reports,
    /// What the divergence detector found in that, in order.
    pub findings: Vec<Finding>,
    /// How it was rescued, in order.
    pub rescued: Vec<Rescued>,
    /// What the user changed of its configuration, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<Change>,
}

/// One process of a trial.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Process {
    /// Its number, from 1.
    pub attempt: AttemptNumber,
    /// Its process id.
    pub pid: Option<u32>,
    /// The step after which it was to stop; null: at the end.
    pub target: Option<u64>,
    /// When it was decided on, RFC 3339.
    #[serde(serialize_with = "serialize_moment")]
    pub launched: Option<Timestamp>,
    /// When it ended, RFC 3339.
    #[serde(serialize_with = "serialize_moment")]
    pub ended: Option<Timestamp>,
    /// How it ended: `exit code 0`, `signal 15`, …
    pub end: Option<String>,
}

/// A trial's reports, in columns of equal length.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reports {
    /// The step of each report.
    pub steps: Vec<u64>,
    /// The objective in each report; null where it was not reported.
    pub value: Vec<Option<Value>>,
    /// Every other metric; `"NaN"` where it was not reported.
    pub metrics: BTreeMap<String, Vec<Value>>,
}

/// Everything about one trial; `now` as in [`crate::trials::rows`].
#[must_use]
pub fn details(history: &History, trial: &Trial, now: Timestamp) -> TrialDetails {
    let floats = |values: &[f64]| values.iter().copied().map(Value::Float).collect::<Vec<_>>();
    let names = history.metric_names();
    let metrics = trial.curve.others.iter().filter_map(|(index, values)| {
        Some((names.get(usize::from(*index))?.clone(), floats(values)))
    });
    let objective = trial.curve.objective().map(|value| value.map(Value::Float));
    let processes = trial.attempts.iter().map(|attempt| Process {
        attempt: attempt.number,
        pid: attempt.pid,
        target: attempt.target,
        launched: Some(attempt.launched),
        ended: attempt.ended,
        end: attempt.end.as_ref().map(end_words),
    });
    TrialDetails {
        version: 1,
        row: row(history, trial, now),
        metric: history.spec().metric.name.clone(),
        processes: processes.collect(),
        curve: Reports {
            steps: trial.curve.steps.iter().collect(),
            value: objective.collect(),
            metrics: metrics.collect(),
        },
        findings: trial.findings.clone(),
        rescued: trial.rescues.clone(),
        changed: trial.changes.clone(),
    }
}

/// How a process ended, in words.
#[must_use]
pub fn end_words(end: &AttemptEnd) -> String {
    match end {
        AttemptEnd::Exited { code, .. } => format!("exit code {code}"),
        AttemptEnd::Signaled { signal, .. } => format!("signal {signal}"),
        AttemptEnd::OutOfMemory { oom, .. } => format!("out of memory: {}", oom.message),
        AttemptEnd::NotStarted { error } => format!("not started: {error}"),
        AttemptEnd::Lost => "lost: the coordinator was gone too".to_owned(),
    }
}

/// The page for people.
#[must_use]
pub fn page(history: &History, trial: &Trial, now: Timestamp, width: Option<u16>) -> String {
    let details = details(history, trial, now);
    let mut text = String::new();
    let state = state_words(details.row.state, details.row.reason);
    let _ = writeln!(
        text,
        "trial {} of {}: {state}",
        trial.id,
        history.spec().name
    );
    if let Some(original) = trial.confirms {
        let _ = writeln!(text, "  trial {original} again, with a fresh seed");
    }
    if let Some(original) = trial.repeat_of {
        let _ = writeln!(
            text,
            "  a further run of trial {original}, with another seed"
        );
    }
    if let Some(words) = crate::confirmations::words(history, trial) {
        let _ = writeln!(text, "  {words}");
    }
    if let Some(detail) = &details.row.detail {
        let _ = writeln!(text, "  {detail}");
    }
    for rescue in &details.rescued {
        let _ = writeln!(text, "  {}: {}", rescue_words(rescue), rescue.evidence);
    }
    for change in &details.changed {
        let _ = writeln!(text, "  {}", change_words(change));
    }
    if details.row.held {
        let _ = writeln!(
            text,
            "  paused by you: `hpo resume {}` lets it go on",
            trial.id
        );
    }
    if let Some(value) = trial.value() {
        let step = details.row.steps.unwrap_or(0);
        let (metric, value) = (&details.metric, short(value));
        let _ = match crate::repeats::words(trial) {
            Some(words) => writeln!(text, "  {metric} = {value}, {words}"),
            None => writeln!(text, "  {metric} = {value} at step {step}"),
        };
    }
    if let Some(list) = crate::repeats::list(trial) {
        let _ = writeln!(text, "  by seed: {list}");
    }
    for (name, value) in &details.row.metrics {
        let _ = writeln!(
            text,
            "  {} = {}",
            printable(&shortened(name, LONGEST)),
            value.as_f64().map_or_else(dash, short)
        );
    }
    let ran = time(Duration::from_secs_f64(details.row.duration_s));
    if let Some(started) = trial.started {
        let _ = writeln!(text, "  started {}, ran {ran}", moment(started));
    }
    text.push_str("\nconfiguration\n");
    let widest = trial
        .config
        .iter()
        .map(|(name, _)| name.chars().count())
        .max()
        .unwrap_or(0);
    for (name, value) in &trial.config {
        let _ = writeln!(
            text,
            "  {name:widest$}  {}",
            printable(&shortened(&value.to_string(), LONGEST))
        );
    }
    draw_curve(&mut text, &details, trial);
    if !details.findings.is_empty() {
        text.push_str("\nwhat was found in it\n");
        for finding in &details.findings {
            let _ = writeln!(text, "  {}", printable(&finding_words(finding)));
        }
    }
    if !details.processes.is_empty() {
        text.push_str("\nprocesses\n");
        text.push_str(&processes_table(&details.processes, width));
    }
    if let TrialState::Failed(FailReason::NoMetric { output, .. }) = &trial.state
        && !output.trim().is_empty()
    {
        text.push_str("\nwhat it printed last\n");
        for line in output.lines() {
            text.push_str(&format!("  {}\n", printable(line)));
        }
    }
    if let TrialState::Failed(FailReason::Crash { stderr, .. }) = &trial.state
        && !stderr.trim().is_empty()
    {
        text.push_str("\nits last words on stderr\n");
        for line in stderr.lines() {
            let line = printable(line);
            let _ = writeln!(text, "  {line}");
        }
    }
    if let TrialState::Failed(reason) = &trial.state
        && let Some(hint) = causes::hint(reason)
    {
        let _ = writeln!(text, "\nhint: {}", printable(&hint));
    }
    text
}

/// `step 12: spiking: …`.
fn finding_words(finding: &Finding) -> String {
    let doubt = if finding.certain || !finding.verdict.is_hopeless() {
        ""
    } else {
        ", not certain"
    };
    let verdict = finding.verdict.word().replace('_', " ");
    format!(
        "step {}: {verdict}{doubt}: {}",
        finding.step, finding.detail
    )
}

fn draw_curve(text: &mut String, details: &TrialDetails, trial: &Trial) {
    const COLUMNS: usize = 60;
    let (steps, values): (Vec<u64>, Vec<f64>) = trial.curve.objectives().unzip();
    let finite = || values.iter().copied().filter(|v| v.is_finite());
    let (Some(first), Some(last)) = (steps.first(), steps.last()) else {
        return;
    };
    let low = finite().fold(f64::INFINITY, f64::min);
    let high = finite().fold(f64::NEG_INFINITY, f64::max);
    if values.len() < 2 || low > high {
        return;
    }
    let _ = writeln!(
        text,
        "\n{} over steps {first} to {last}, from {} to {}",
        details.metric,
        short(low),
        short(high)
    );
    for line in picture::curve(&values, COLUMNS, 4) {
        let _ = writeln!(text, "  {}", line.trim_end());
    }
}

fn processes_table(processes: &[Process], width: Option<u16>) -> String {
    let mut table = Table::new(&[">attempt", ">pid", ">until step", "launched", "end"]);
    for process in processes {
        table.row([
            process.attempt.to_string(),
            process.pid.map_or_else(dash, |pid| pid.to_string()),
            process
                .target
                .map_or_else(|| "end".to_owned(), |t| t.to_string()),
            process.launched.map_or_else(dash, moment),
            process.end.clone().unwrap_or_else(dash),
        ]);
    }
    table.render(width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn a_completed_trial() {
        let history = sample::study();
        let page = page(&history, &history.trials()[3], history.last_event(), None);
        insta::assert_snapshot!(page);
    }

    #[test]
    fn a_failed_trial_shows_its_last_words() {
        let history = sample::study();
        let failed = history
            .trials()
            .iter()
            .find(|t| t.state.word() == "failed")
            .unwrap();
        insta::assert_snapshot!(page(&history, failed, history.last_event(), None));
    }

    #[test]
    fn a_trial_for_programs() {
        let history = sample::study();
        insta::assert_json_snapshot!(details(
            &history,
            &history.trials()[0],
            history.last_event()
        ));
    }
}
