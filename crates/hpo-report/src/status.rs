//! Where a study is.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use hpo_study::{
    Config, Goal, GpuSample, History, OnCrash, StudyEnd, Timestamp, Trial, TrialId, TrialState,
    Value,
};
use serde::Serialize;

use crate::confirmations::{Confirmation, confirmations};
use crate::front::{self, Member, Objective};
use crate::number::{seconds, short, time};
use crate::table::Table;
use crate::trials::{configuration, dash, is_held};

/// Where a study is, as `hpo status -f json` prints it. Fields are added in later versions of the
/// program, never changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// Version of this contract.
    pub version: u32,
    /// The study's name.
    pub study: String,
    /// `running` (a coordinator is at it), `interrupted` (none is, and there is more to do) or
    /// `ended`.
    pub state: &'static str,
    /// Why it ended: `run_cap`, `time_cap`, `space_exhausted` or `failures`.
    pub end: Option<&'static str>,
    /// Whether the user has paused the study: no trial is started until it is resumed.
    pub paused: bool,
    /// The trials that the user has paused.
    pub held: Vec<TrialId>,
    /// The trials whose processes run although no coordinator is at work.
    pub running_alone: Vec<TrialId>,
    /// The coordinator's process id, while there is one.
    pub pid: Option<u32>,
    /// The objective's name.
    pub metric: String,
    /// Which way is better.
    pub goal: Goal,
    /// How many trials are in each state, every state named, and `total`.
    pub trials: BTreeMap<&'static str, usize>,
    /// How many trials were stopped or failed for each reason.
    pub reasons: BTreeMap<&'static str, usize>,
    /// Most trials there may be.
    pub run_cap: Option<u32>,
    /// Running time so far, all sessions together, in seconds.
    pub elapsed_s: f64,
    /// Finished trials per minute of running time.
    pub trials_per_minute: Option<f64>,
    /// Seconds to the end, if trials go on taking as long as so far; null when nobody can know.
    pub eta_s: Option<f64>,
    /// The best completed trial.
    pub best: Option<Best>,
    /// How many trials were imported; they are not counted in `trials`.
    #[serde(skip_serializing_if = "is_zero")]
    pub imported: usize,
    /// That imported trials are not borne out by the study's own, or have values on another scale.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub import_warning: Option<String>,
    /// The objectives, where there are several; else left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub objectives: Vec<Objective>,
    /// The trials of the front, where there are several objectives: `best` is the best compromise among them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub front: Vec<Member>,
    /// How often the code of the trials was another one than in the session before.
    #[serde(skip_serializing_if = "is_zero")]
    pub code_changes: usize,
    /// The trials that were run again with fresh seeds, best first; left out where none was.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub confirmed: Vec<Confirmation>,
    /// The trials that run now.
    pub running: Vec<Running>,
    /// What was saved by giving up runs that come to nothing; null when none was.
    pub given_up: Option<GivenUp>,
    /// What each GPU of the study held when it was last written down, seconds ago; only while it runs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<GpuSample>,
}

/// What was saved by giving up runs that come to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct GivenUp {
    /// How many trials diverged, got stuck or made no progress.
    pub trials: usize,
    /// How many steps they still had to go, to the next rung or to the end; null when the study does
    /// not say how long a trial is.
    pub steps_saved: Option<u64>,
    /// These steps as a share of all that would have been taken with them.
    pub share_saved: Option<f64>,
}

impl GivenUp {
    /// The same in words.
    #[must_use]
    pub fn sentence(&self) -> String {
        let trials = match self.trials {
            1 => "1 hopeless trial was given up".to_owned(),
            n => format!("{n} hopeless trials were given up"),
        };
        match (self.steps_saved, self.share_saved) {
            (Some(steps), Some(share)) => {
                let share = short((1000.0 * share).round() / 10.0);
                format!("{trials}: {steps} steps ({share} % of all) were not spent on them")
            }
            _ => trials,
        }
    }
}

/// What was saved by giving up runs that come to nothing, where any was.
#[must_use]
pub fn given_up(history: &History) -> Option<GivenUp> {
    let is_lost = |t: &&Trial| matches!(&t.state, TrialState::Stopped(r) if r.is_infeasible());
    let trials = || history.own_trials().filter(is_lost);
    let reached = |t: &Trial| t.curve.last_step().unwrap_or(0);
    let left = |t: &Trial| {
        let end = t.target.or(history.spec().planned_steps())?;
        Some(end.saturating_sub(reached(t)))
    };
    let steps_saved = trials().map(left).sum::<Option<u64>>();
    let spent: u64 = history.own_trials().map(reached).sum();
    let share = |saved: u64| round(saved as f64 / saved.saturating_add(spent).max(1) as f64);
    let count = trials().count();
    (count > 0).then(|| GivenUp {
        trials: count,
        steps_saved,
        share_saved: steps_saved.map(share),
    })
}

/// The best completed trial.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Best {
    /// Its number.
    pub trial: TrialId,
    /// Its value.
    pub value: f64,
    /// Its configuration.
    pub params: Config,
}

/// A trial that runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Running {
    /// Its number.
    pub trial: TrialId,
    /// Its last reported step.
    pub step: Option<u64>,
    /// The step up to which it runs at present; null: to its end.
    pub target: Option<u64>,
    /// The objective at its last report.
    pub value: Option<Value>,
    /// Its configuration.
    pub params: Config,
}

const STATES: [&str; 7] = [
    "queued",
    "running",
    "paused",
    "completed",
    "stopped",
    "infeasible",
    "failed",
];

/// Who is at work on a study.
#[derive(Debug, Clone, Default)]
pub struct AtWork {
    /// The coordinator's process id, if there is one.
    pub coordinator: Option<u32>,
    /// The trials that run without any.
    pub alone: Vec<TrialId>,
}

/// Where the study is. `now` as in [`crate::trials::rows`].
#[must_use]
pub fn status(history: &History, now: Timestamp, at_work: &AtWork, gpus: &[GpuSample]) -> Status {
    let pid = at_work.coordinator;
    let mut trials: BTreeMap<&'static str, usize> = STATES.iter().map(|s| (*s, 0)).collect();
    let mut reasons = BTreeMap::new();
    for trial in history.own_trials() {
        *trials.entry(trial.state.word()).or_default() += 1;
        if let Some(reason) = trial.state.reason() {
            *reasons.entry(reason).or_default() += 1;
        }
    }
    trials.insert("total", history.own_count());
    let elapsed = history.running_time(now);
    let finished = finished(history);
    let several = history.spec().has_several();
    Status {
        version: 1,
        study: history.spec().name.clone(),
        state: match (pid, history.end()) {
            (Some(_), _) => "running",
            (None, Some(_)) => "ended",
            (None, None) => "interrupted",
        },
        end: history.end().map(end_word),
        paused: pid.is_some() && history.paused(),
        held: held(history),
        running_alone: at_work.alone.clone(),
        pid,
        metric: history.spec().metric.name.clone(),
        goal: history.spec().metric.goal,
        trials,
        reasons,
        run_cap: history.spec().run_cap,
        elapsed_s: seconds(elapsed),
        trials_per_minute: (finished > 0 && !elapsed.is_zero())
            .then(|| round(finished as f64 * 60.0 / elapsed.as_secs_f64())),
        eta_s: eta(history, now).map(seconds),
        best: history.best().and_then(best),
        objectives: match several {
            true => front::objectives(history),
            false => Vec::new(),
        },
        front: match several {
            true => front::members(history),
            false => Vec::new(),
        },
        code_changes: history.code_changes(),
        imported: history.imported(),
        import_warning: hpo_study::import::warning(history),
        confirmed: confirmations(history),
        running: history
            .runs()
            .filter(|t| t.state.is_active())
            .map(running)
            .collect(),
        given_up: given_up(history),
        gpus: gpus.to_vec(),
    }
}

/// The trials that the user has paused, in order.
#[must_use]
pub fn held(history: &History) -> Vec<TrialId> {
    let held = history.trials().iter().filter(|t| is_held(t));
    held.map(|t| t.id).collect()
}

/// That trials wait until the user lets them go on, if any do: `trials 3 and 7 are paused by you: …`.
#[must_use]
pub fn held_sentence(history: &History) -> Option<String> {
    let held = held(history);
    let first = held.first()?;
    let names: Vec<String> = held.iter().map(TrialId::to_string).collect();
    Some(match names.as_slice() {
        [one] => format!("trial {one} is paused by you: `hpo resume {one}` lets it go on"),
        all => format!(
            "trials {} are paused by you: `hpo resume {first}` lets one go on",
            all.join(", ")
        ),
    })
}

/// Where the study stands, in words.
fn state_sentence(history: &History, at_work: &AtWork) -> String {
    let alone = at_work.alone.len();
    match (at_work.coordinator, history.end()) {
        (Some(pid), None) if history.draining() => {
            format!("running (process {pid}), and ends when its running trials have")
        }
        (Some(pid), None) if history.paused() => {
            format!("running (process {pid}), paused: `hpo resume` lets it start trials again")
        }
        (Some(pid), _) => format!("running (process {pid})"),
        (None, Some(end)) => format!("ended: {}", end_sentence(end)),
        (None, None) if alone > 0 => {
            let trials = if alone == 1 { "trial" } else { "trials" };
            let does = match (history.spec().on_crash, alone) {
                (OnCrash::Adopt, 1) => "adopts it",
                (OnCrash::Adopt, _) => "adopts them",
                (OnCrash::Kill, _) => "begins them anew",
            };
            format!("interrupted, {alone} {trials} running without a coordinator: `hpo run` {does}")
        }
        (None, None) => "interrupted; `hpo run` with its study file goes on".to_owned(),
    }
}

/// How many trials have come to their end.
#[must_use]
pub fn finished(history: &History) -> usize {
    history.own_trials().filter(|t| t.state.is_final()).count()
}

/// How long the study will still take, if trials go on finishing at the pace so far: time per
/// finished trial times trials left, and never beyond the study's `time_cap`. `None` when neither
/// is known.
#[must_use]
pub fn eta(history: &History, now: Timestamp) -> Option<Duration> {
    if history.end().is_some() {
        return None;
    }
    let elapsed = history.running_time(now);
    let finished = finished(history);
    let by_trials = history.spec().run_cap.filter(|_| finished > 0).map(|cap| {
        let left = (cap as usize).saturating_sub(finished);
        elapsed.mul_f64(left as f64 / finished as f64)
    });
    let by_time = history
        .spec()
        .time_cap
        .map(|cap| cap.saturating_sub(elapsed));
    by_trials.into_iter().chain(by_time).min()
}

/// Why a study ended, in one word.
#[must_use]
pub fn end_word(end: &StudyEnd) -> &'static str {
    match end {
        StudyEnd::RunCap => "run_cap",
        StudyEnd::TimeCap => "time_cap",
        StudyEnd::SpaceExhausted => "space_exhausted",
        StudyEnd::Failures { .. } => "failures",
    }
}

/// Why a study ended, in a sentence.
#[must_use]
pub fn end_sentence(end: &StudyEnd) -> String {
    match end {
        StudyEnd::RunCap => "every trial it may run has run".to_owned(),
        StudyEnd::TimeCap => "its time is up".to_owned(),
        StudyEnd::SpaceExhausted => "every configuration was tried".to_owned(),
        StudyEnd::Failures { detail } => format!("too many trials in a row failed: {detail}"),
    }
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

fn best(trial: &Trial) -> Option<Best> {
    Some(Best {
        trial: trial.id,
        value: trial.value()?,
        params: trial.config.clone(),
    })
}

fn running(trial: &Trial) -> Running {
    Running {
        trial: trial.id,
        step: trial.curve.last_step(),
        target: trial.target,
        value: trial.value().map(Value::Float),
        params: trial.config.clone(),
    }
}

fn round(x: f64) -> f64 {
    (x * 1000.0).round() / 1000.0
}

/// The counts in words: `12 trials: 8 completed, 3 pruned, 1 failed`.
#[must_use]
pub fn counts(history: &History) -> String {
    let mut parts: Vec<(&str, usize)> = Vec::new();
    for trial in history.own_trials() {
        let word = match &trial.state {
            TrialState::Stopped(reason) => stop_word(reason.word()),
            other => other.word(),
        };
        match parts.iter_mut().find(|(w, _)| *w == word) {
            Some((_, n)) => *n += 1,
            None => parts.push((word, 1)),
        }
    }
    const ORDER: [&str; 12] = [
        "completed",
        "pruned",
        "diverged",
        "stuck",
        "without progress",
        "stopped by the user",
        "cut off by time",
        "infeasible",
        "failed",
        "running",
        "paused",
        "queued",
    ];
    parts.sort_by_key(|(word, _)| ORDER.iter().position(|o| o == word));
    let total = history.own_count();
    let words: Vec<String> = parts
        .iter()
        .map(|(word, n)| format!("{n} {word}"))
        .collect();
    let imported = match history.imported() {
        0 => String::new(),
        n => format!(", and {n} imported"),
    };
    match total {
        0 => format!("no trial yet{imported}"),
        1 => format!("1 trial: {}{imported}", words.join(", ")),
        _ => format!("{total} trials: {}{imported}", words.join(", ")),
    }
}

fn stop_word(reason: &str) -> &'static str {
    match reason {
        "pruned" => "pruned",
        "diverged" => "diverged",
        "stuck" => "stuck",
        "no_progress" => "without progress",
        "time_cap" | "time_limit" => "cut off by time",
        _ => "stopped by the user",
    }
}

/// A warning when sessions of the study ran different code.
#[must_use]
pub fn code_note(history: &History) -> Option<String> {
    let times = match history.code_changes() {
        0 => return None,
        1 => "once".to_owned(),
        n => format!("{n} times"),
    };
    Some(format!(
        "changed {times} between sessions: values before and after may not be comparable (see snapshot/)"
    ))
}

/// The page for people.
#[must_use]
pub fn page(
    history: &History,
    now: Timestamp,
    at_work: &AtWork,
    gpus: &[GpuSample],
    width: Option<u16>,
) -> String {
    let status = status(history, now, at_work, gpus);
    let mut text = String::new();
    let state = state_sentence(history, at_work);
    let _ = writeln!(text, "study   {}, {state}", status.study);
    let cap = status
        .run_cap
        .map_or_else(String::new, |cap| format!(" (of at most {cap})"));
    let mut counted = counts(history);
    if at_work.coordinator.is_none() && at_work.alone.is_empty() {
        counted = counted.replace(" running", " cut off while running");
    }
    let _ = writeln!(text, "trials  {counted}{cap}");
    if let Some(held) = held_sentence(history) {
        let _ = writeln!(text, "paused  {held}");
    }
    if let Some(warning) = &status.import_warning {
        let _ = writeln!(text, "import  {warning}");
    }
    if let Some(saved) = &status.given_up {
        let _ = writeln!(text, "saved   {}", saved.sentence());
    }
    let mut clock = time(history.running_time(now));
    if let Some(rate) = status.trials_per_minute {
        let _ = write!(clock, ", {} trials per minute", short(rate));
    }
    if let Some(eta) = eta(history, now) {
        let _ = write!(clock, ", about {} to go", time(eta));
    }
    let _ = writeln!(text, "time    {clock}");
    match &status.best {
        Some(_) if !status.front.is_empty() => {
            let line = front::line(history).unwrap_or_default();
            let _ = writeln!(text, "front   {line}");
        }
        Some(best) => {
            let _ = writeln!(
                text,
                "best    trial {}: {} = {}",
                best.trial,
                status.metric,
                short(best.value)
            );
            let _ = writeln!(text, "        {}", configuration(&best.params));
        }
        None => text.push_str("best    none yet: no trial has completed\n"),
    }
    if let Some(sentence) = crate::confirmations::sentence(history) {
        let _ = writeln!(text, "again   {sentence}");
    }
    if let Some(note) = code_note(history) {
        let _ = writeln!(text, "code    {note}");
    }
    for gpu in gpus {
        let _ = writeln!(text, "{}", crate::gpus::line(gpu));
    }
    if let Some(table) = crate::confirmations::table(history, width) {
        text.push('\n');
        text.push_str(&table);
    }
    if let Some(table) = front::table(history, width).filter(|_| !status.front.is_empty()) {
        text.push('\n');
        text.push_str(&table);
    }
    if !status.running.is_empty() {
        text.push('\n');
        text.push_str(&running_table(&status, width));
    }
    text
}

fn running_table(status: &Status, width: Option<u16>) -> String {
    let objective = format!(">{}", status.metric);
    let mut table = Table::new(&[">trial", ">step", &objective, "configuration"]);
    for trial in &status.running {
        let step = trial.step.unwrap_or(0);
        table.row([
            trial.trial.to_string(),
            trial
                .target
                .map_or_else(|| step.to_string(), |target| format!("{step}/{target}")),
            trial
                .value
                .as_ref()
                .and_then(Value::as_f64)
                .map_or_else(dash, short),
            configuration(&trial.params),
        ]);
    }
    table.render(width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn a_running_study() {
        let history = sample::study();
        insta::assert_snapshot!(page(
            &history,
            history.last_event(),
            &AtWork {
                coordinator: Some(4711),
                alone: Vec::new()
            },
            &[],
            None
        ));
    }

    #[test]
    fn a_running_study_for_programs() {
        let history = sample::study();
        insta::assert_json_snapshot!(status(
            &history,
            history.last_event(),
            &AtWork::default(),
            &[]
        ));
    }

    #[test]
    fn trials_that_run_without_a_coordinator_are_told_of() {
        let history = sample::study();
        let words = |alone: &[u32]| {
            let at_work = AtWork {
                coordinator: None,
                alone: alone.iter().copied().map(TrialId).collect(),
            };
            let page = page(&history, history.last_event(), &at_work, &[], None);
            page.lines().next().unwrap_or_default().to_owned()
        };
        assert!(
            words(&[]).contains("interrupted; `hpo run`"),
            "{}",
            words(&[])
        );
        assert!(words(&[3]).contains("1 trial running without a coordinator: `hpo run` adopts it"));
        assert!(
            words(&[3, 4])
                .contains("2 trials running without a coordinator: `hpo run` adopts them")
        );
    }

    #[test]
    fn the_eta_is_the_pace_so_far_and_never_beyond_the_time_cap() {
        let history = sample::study();
        let now = history.last_event();
        let elapsed = history.running_time(now).as_secs_f64();
        let done = finished(&history) as f64;
        let left = f64::from(history.spec().run_cap.unwrap()) - done;
        let eta = eta(&history, now).unwrap().as_secs_f64();
        assert!((eta - elapsed / done * left).abs() < 1e-6);
        let capped =
            sample::study_with(|spec| spec.time_cap = Some(Duration::from_secs_f64(elapsed + 1.5)));
        assert_eq!(super::eta(&capped, now), Some(Duration::from_millis(1500)));
    }
}
