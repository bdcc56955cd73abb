//! Why nothing is known of a trial that ended well: which metrics it did report, and what it said last.

use hpo_study::study_file::nearest;
use hpo_study::{AttemptEnd, FailReason, History, Measured, Trial};

/// At most so many names are listed.
const NAMED: usize = 8;

/// What is said of a trial whose process ended well and never reported an objective.
pub(crate) fn reason(history: &History, trial: &Trial, objective: &str) -> FailReason {
    let reported = history
        .metric_names()
        .iter()
        .filter(|name| Measured::of(name).is_none())
        .filter(|name| history.last_metric(trial, name).is_some())
        .map(String::as_str);
    let seen: Vec<&str> = reported.collect();
    let mut evidence = format!("it ended well but never reported `{objective}`");
    if seen.is_empty() {
        evidence.push_str(" or any other metric");
    } else {
        let names: Vec<String> = seen.iter().take(NAMED).map(|n| format!("`{n}`")).collect();
        let more = if seen.len() > NAMED { ", …" } else { "" };
        evidence.push_str(&format!(", only {}{more}", names.join(", ")));
        if let Some(near) =
            nearest(objective, seen.iter().copied()).or_else(|| within(objective, &seen))
        {
            evidence.push_str(&format!(" (did you mean `{near}`?)"));
        }
    }
    let output = match trial.attempt().and_then(|attempt| attempt.end.as_ref()) {
        Some(AttemptEnd::Exited { stderr, .. }) => stderr.clone(),
        _ => String::new(),
    };
    FailReason::NoMetric { evidence, output }
}

/// A name that the objective's is a part of, or the other way round: `loss` and `val_loss`.
fn within<'a>(objective: &str, seen: &[&'a str]) -> Option<&'a str> {
    let holds = |name: &&&str| name.contains(objective) || objective.contains(**name);
    seen.iter().find(holds).copied()
}
