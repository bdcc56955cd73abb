//! Trials that take too long: those that fall silent, and those that run longer than they may.

use std::collections::BTreeMap;
use std::time::Duration;

use hpo_study::{History, StopIntent, StopReason, Timestamp, Trial, TrialId, TrialState};

/// How often a trial is started again because its process fell silent.
pub(crate) const MOST_STALLS: usize = 1;

/// When each trial was last heard of in this session. No part of the log: after a restart of the
/// coordinator everybody has the whole time again.
#[derive(Debug, Default)]
pub(crate) struct Heard(BTreeMap<TrialId, Timestamp>);

impl Heard {
    /// The trial's process said something.
    pub(crate) fn note(&mut self, trial: TrialId, now: Timestamp) {
        self.0.insert(trial, now);
    }

    /// The trial has no process any more.
    pub(crate) fn forget(&mut self, trial: TrialId) {
        self.0.remove(&trial);
    }

    fn last(&self, history: &History, trial: &Trial) -> Option<Timestamp> {
        let launched = trial.attempt()?.launched;
        let session = history.session_started().unwrap_or(launched);
        let heard = self.0.get(&trial.id).copied().unwrap_or(launched);
        Some(heard.max(session).max(launched))
    }
}

/// What is to become of a running trial whose time is up; `None` while it is not.
pub(crate) fn overdue(
    history: &History,
    heard: &Heard,
    trial: &Trial,
    now: Timestamp,
) -> Option<StopIntent> {
    let failure = &history.spec().failure;
    if trial.state != TrialState::Running {
        return None;
    }
    if let Some(limit) = failure.trial_time_limit
        && trial.running_time(now) >= limit
    {
        let evidence = format!(
            "it had run for {}: `failure.trial_time_limit`",
            words(limit)
        );
        let reason = StopReason::TimeLimit { evidence };
        return Some(StopIntent::Stop { reason });
    }
    let timeout = failure.stall_timeout?;
    let last = heard.last(history, trial)?;
    (now.since(last) >= timeout).then(|| StopIntent::Stall {
        evidence: format!(
            "it neither reported nor printed anything for {}: `failure.stall_timeout`",
            words(timeout)
        ),
    })
}

/// When the next of these trials is overdue if nothing is heard of it until then.
pub(crate) fn next<'t>(
    history: &History,
    heard: &Heard,
    trials: impl Iterator<Item = &'t Trial>,
    now: Timestamp,
) -> Option<Timestamp> {
    let failure = &history.spec().failure;
    if failure.stall_timeout.is_none() && failure.trial_time_limit.is_none() {
        return None;
    }
    let running = trials.filter(|t| t.state == TrialState::Running);
    let due = running.flat_map(|trial| {
        let limit = failure.trial_time_limit;
        let limit = limit.map(|l| later(now, l.saturating_sub(trial.running_time(now))));
        let silence = failure.stall_timeout.zip(heard.last(history, trial));
        let silence = silence.map(|(timeout, last)| later(last, timeout));
        [limit, silence].into_iter().flatten()
    });
    due.min()
}

/// A moment that much later, rounded up to whole milliseconds.
fn later(at: Timestamp, by: Duration) -> Timestamp {
    at.plus(by.saturating_add(Duration::from_nanos(999_999)))
}

/// `90s`, `2h 5m`
fn words(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes) = (seconds / 3600, seconds % 3600 / 60);
    match (hours, minutes, seconds % 60) {
        (0, 0, _) if time.subsec_millis() > 0 => format!("{}s", time.as_secs_f64()),
        (0, 0, s) => format!("{s}s"),
        (0, m, 0) => format!("{m}m"),
        (0, m, s) => format!("{m}m {s}s"),
        (h, 0, _) => format!("{h}h"),
        (h, m, _) => format!("{h}h {m}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short_words() {
        for (seconds, text) in [
            (1.5, "1.5s"),
            (90.0, "1m 30s"),
            (120.0, "2m"),
            (7500.0, "2h 5m"),
        ] {
            assert_eq!(words(Duration::from_secs_f64(seconds)), text);
        }
    }
}
