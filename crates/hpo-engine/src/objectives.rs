//! Several objectives: what `hpo` measures of a trial itself, and what becomes of a trial that has ended without one of
//! them. Pure functions of the history.

use std::collections::BTreeMap;

use hpo_study::memory::MIB;
use hpo_study::{EventKind, FailReason, History, Measured, StopReason, Timestamp, Trial};

use crate::unheard;

/// A trial whose end could not be measured goes through its end again, at most so many times.
const MOST_TIMES: usize = 3;

/// The step of a report that says none: for what is measured the trial's last one, so that it adds to that row; else the
/// next.
pub(crate) fn step(trial: &Trial, metrics: &BTreeMap<String, f64>) -> u64 {
    let last = trial.curve.last_step();
    let is_measured = !metrics.is_empty() && metrics.keys().all(|m| Measured::of(m).is_some());
    match last {
        Some(last) if is_measured => last,
        _ => trial.next_step(),
    }
}

/// What a report says after what was measured of earlier processes of the trial is counted in: of memory the most counts.
pub(crate) fn together(
    history: &History,
    trial: &Trial,
    mut metrics: BTreeMap<String, f64>,
) -> BTreeMap<String, f64> {
    let name = Measured::Memory.name();
    if let Some(value) = metrics.get_mut(name) {
        let before = history.reports(trial, name).into_iter().map(|(_, x)| x);
        *value = before.fold(*value, f64::max);
    }
    metrics
}

/// What is to be reported of a trial just before its process's end is, where the study has objectives that the engine
/// measures.
pub(crate) fn at_end(history: &History, trial: &Trial, now: Timestamp) -> Option<EventKind> {
    let (step, attempt) = (trial.curve.last_step()?, trial.attempt()?.number);
    let gpu = || {
        let memory = trial.attempts.iter().filter_map(|a| a.memory?.gpu_peak);
        memory.max().map(|bytes| bytes as f64 / MIB as f64)
    };
    let value = |measured: Measured| match measured {
        Measured::Seconds => Some(trial.running_time(now).as_secs_f64()),
        Measured::GpuMemory => gpu(),
        Measured::Memory => None, // The shell knows, and has said so.
    };
    let wanted = Measured::ALL
        .into_iter()
        .filter(|m| m.is_wanted(history.spec()));
    let metrics: BTreeMap<String, f64> = wanted
        .filter_map(|m| Some((m.name().to_owned(), value(m)?)))
        .collect();
    (!metrics.is_empty()).then_some(EventKind::Reported {
        trial: trial.id,
        attempt,
        step,
        metrics,
    })
}

/// What becomes of a trial whose process ended well, where that follows from another objective than the first: it was
/// never reported, or is not finite.
pub(crate) fn fate(history: &History, trial: &Trial) -> Option<EventKind> {
    let values = history.values(trial);
    let mut further = history.spec().objectives().zip(values).skip(1);
    further.find_map(|(metric, value)| match value {
        Some(value) if value.is_finite() => None,
        Some(value) => {
            let evidence = format!("{} was {value} at the end", metric.name);
            Some(EventKind::TrialStopped {
                trial: trial.id,
                reason: StopReason::Diverged { evidence },
            })
        }
        // Nobody saw how much: its process was not minded when it ended, or too short.
        None if Measured::of(&metric.name).is_some() && trial.attempts.len() < MOST_TIMES => {
            Some(EventKind::TrialRequeued { trial: trial.id })
        }
        None => Some(EventKind::TrialFailed {
            trial: trial.id,
            reason: missing(history, trial, &metric.name),
        }),
    })
}

fn missing(history: &History, trial: &Trial, name: &str) -> FailReason {
    match Measured::of(name) {
        None => unheard::reason(history, trial, name),
        Some(_) => FailReason::NoMetric {
            evidence: format!("it ended well, but `{name}` could not be measured"),
            output: String::new(),
        },
    }
}
