//! Repeats inside the search: whether a trial's configuration is run once more, or is hopeless. Pure
//! functions of the history, so that a study that was killed makes the same runs.
//!
//! A configuration is hopeless when the mean of its runs so far is worse than the incumbent's (the best
//! mean of those that had all their runs) beyond what the noise between seeds explains: a one-sided
//! t-test with the noise pooled over all configurations that were run more than once. That is the idea of
//! racing (Maron and Moore 1994, "Hoeffding races"; Birattari, Stützle, Paquete and Varrentrapp 2002, "A
//! racing algorithm for configuring metaheuristics"), with the t-test that `irace` offers (López-Ibáñez et
//! al. 2016, "The irace package", `testType = "t-test"`). The noise is taken to be alike for all
//! configurations and roughly normal.

use hpo_study::repeats::{mean, squares, values, wanted};
use hpo_study::{EventKind, FailReason, History, StopReason, Trial, TrialId, TrialState};

use crate::student;

/// How likely a configuration as good as the incumbent is given up, at most, over all looks at it
/// together (so a single look has its part of it: Bonferroni).
const ERROR: f64 = 0.05;
/// The noise is believed from so many degrees of freedom on.
const LEAST_FREEDOM: u32 = 4;

/// What is to be done next about a trial that is being repeated: another run, no more runs, or its end.
/// `None` while a run of it is under way.
pub(crate) fn due(history: &History, trial: &Trial) -> Option<EventKind> {
    if trial.state != TrialState::Repeating || !runs(history, trial).all(|run| run.state.is_final())
    {
        return None;
    }
    let made = 1 + trial.repeats.runs.len();
    let enough = made >= wanted(history) || trial.repeats.given_up.is_some();
    if enough || broken(history, trial).is_some() {
        return Some(end(history, trial));
    }
    Some(match hopeless(history, trial) {
        Some(evidence) => EventKind::RepeatsGivenUp {
            trial: trial.id,
            evidence,
        },
        None => EventKind::RepeatSuggested {
            trial: TrialId::repeat(history.repeats().len()),
            repeats: trial.id,
            config: trial.config.clone(),
        },
    })
}

/// The end of a trial that is being repeated, by what is known now. A configuration that breaks with some
/// seed is not to be recommended: it ends as that run did.
pub(crate) fn end(history: &History, trial: &Trial) -> EventKind {
    let id = trial.id;
    match broken(history, trial) {
        Some((TrialState::Stopped(reason), run)) => EventKind::TrialStopped {
            trial: id,
            reason: retold(reason.clone(), run),
        },
        Some((TrialState::Failed(reason), run)) => EventKind::TrialFailed {
            trial: id,
            reason: told_of(reason.clone(), run),
        },
        _ => EventKind::TrialCompleted { trial: id },
    }
}

/// The runs of a trial's configuration beside its own.
fn runs<'h>(history: &'h History, trial: &'h Trial) -> impl Iterator<Item = &'h Trial> {
    let runs = trial.repeats.runs.iter();
    runs.filter_map(|id| history.trial(*id))
}

/// The first run that the configuration itself brought to its end.
fn broken<'h>(history: &'h History, trial: &'h Trial) -> Option<(&'h TrialState, TrialId)> {
    let mut runs = runs(history, trial);
    let run = runs.find(|run| run.state.is_infeasible())?;
    Some((&run.state, run.id))
}

fn retold(mut reason: StopReason, run: TrialId) -> StopReason {
    if let StopReason::Diverged { evidence }
    | StopReason::Stuck { evidence }
    | StopReason::NoProgress { evidence } = &mut reason
    {
        *evidence = format!("with another seed, as {run}: {evidence}");
    }
    reason
}

fn told_of(mut reason: FailReason, run: TrialId) -> FailReason {
    match &mut reason {
        FailReason::Crash { how: words, .. }
        | FailReason::NoMetric {
            evidence: words, ..
        }
        | FailReason::Oom {
            evidence: words, ..
        }
        | FailReason::Stalled { evidence: words } => {
            *words = format!("with another seed, as {run}: {words}");
        }
        FailReason::NotStarted { .. } | FailReason::Lost => {}
    }
    reason
}

/// Why the configuration cannot be expected to catch up with the best, if so, with the numbers.
fn hopeless(history: &History, trial: &Trial) -> Option<String> {
    let goal = history.spec().metric.goal;
    let full = wanted(history);
    let completed = history.trials().iter();
    let completed = completed.filter(|t| t.state == TrialState::Completed && t.id != trial.id);
    let (mut sum, mut freedom, mut best): (f64, u32, Option<(f64, TrialId)>) = (0.0, 0, None);
    for other in completed.chain([trial]) {
        let found = values(other);
        sum += squares(&found);
        freedom += u32::try_from(found.len().saturating_sub(1)).unwrap_or(0);
        let mean = mean(&found).filter(|_| other.id != trial.id && found.len() == full);
        if let Some(mean) = mean
            && best.is_none_or(|(best, _)| goal.better(mean, best))
        {
            best = Some((mean, other.id));
        }
    }
    let (best, incumbent) = best?;
    let found = values(trial);
    let own = mean(&found)?;
    if freedom < LEAST_FREEDOM {
        return None;
    }
    let noise = (sum / f64::from(freedom)).sqrt();
    let looks = full.saturating_sub(1).max(1) as f64;
    let sure = student::quantile(1.0 - ERROR / looks, freedom);
    let margin = sure * noise * (1.0 / found.len() as f64 + 1.0 / full as f64).sqrt();
    let behind = goal.as_loss(own) - goal.as_loss(best);
    (behind > margin).then(|| {
        let runs = match found.len() {
            1 => "of 1 run".to_owned(),
            n => format!("mean of {n} runs"),
        };
        format!(
            "{own:.4} ({runs}) is behind trial {incumbent}'s {best:.4} (mean of {full}) by more than the \
             {margin:.2e} that seeds explain (t-test, standard deviation between seeds {noise:.2e} with \
             {freedom} degrees of freedom)"
        )
    })
}
