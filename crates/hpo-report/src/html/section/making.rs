//! How the report's numbers came about: study, seed, versions, time, what failed.

use std::collections::BTreeMap;

use hpo_study::TrialState;
use serde_json::json;

use super::super::Source;
use super::super::data::{self, Json};
use crate::number::moment;

/// Most kinds of failures that are told apart.
const MOST_KINDS: usize = 50;

pub(super) fn data(source: &Source<'_>) -> Option<Json> {
    let history = source.history;
    let spec = history.spec();
    let mut kinds: BTreeMap<(&str, String), Vec<u32>> = BTreeMap::new();
    for trial in history.own_trials() {
        if let TrialState::Failed(reason) = &trial.state {
            let detail = crate::trials::detail(&trial.state).unwrap_or_default();
            let kind = (reason.word(), data::short_text(&detail));
            kinds.entry(kind).or_default().push(trial.id.0);
        }
    }
    let mut failures: Vec<_> = kinds.into_iter().collect();
    failures.sort_by_key(|(_, trials)| std::cmp::Reverse(trials.len()));
    let failures = failures
        .into_iter()
        .take(MOST_KINDS)
        .map(|((reason, detail), trials)| {
            json!({ "reason": reason, "detail": detail, "count": trials.len(),
                "trials": trials.into_iter().take(20).collect::<Vec<_>>() })
        });
    Some(json!({
        "method": spec.method,
        "seed": spec.seed,
        "hpo_version": history.hpo_version(),
        "report_version": env!("CARGO_PKG_VERSION"),
        "opened": moment(history.opened()),
        "sessions": history.sessions(),
        "run_cap": spec.run_cap,
        "time_cap_s": spec.time_cap.map(|cap| cap.as_secs()),
        "failures": failures.collect::<Vec<_>>(),
        "study_file": source.study_file.map(data::lines),
        "spec": serde_json::to_value(spec).ok(),
    }))
}
