//! Confirming: the best trials' configurations are run again with fresh seeds, and the one with the
//! best mean wins.
//!
//! The best of many values is lucky as well as good (the "winner's curse"): chosen because it is
//! high, it is higher than its configuration deserves. So the original value counts for nothing here;
//! only the fresh runs do, which nobody has chosen from.

use serde::{Deserialize, Serialize};

use crate::event::{FailReason, StopReason};
use crate::history::{History, Trial, TrialState};

/// Which trials are run again, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirm {
    /// How many of the best configurations.
    pub top: u32,
    /// How many fresh runs each gets; the original one is not counted.
    pub seeds: u32,
}

impl Default for Confirm {
    fn default() -> Self {
        Self { top: 3, seeds: 3 }
    }
}

impl Confirm {
    /// The fewest fresh runs from which a configuration can win: a single one may be lucky too.
    #[must_use]
    pub fn least(self) -> usize {
        self.seeds.min(2) as usize
    }
}

/// A trial and the fresh runs of its configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Confirmed<'h> {
    /// The trial as it was found.
    pub trial: &'h Trial,
    /// The fresh runs, in order.
    pub runs: Vec<&'h Trial>,
    /// The values of those that completed, in order.
    pub values: Vec<f64>,
    /// How many came to nothing for a reason of their own: diverged, crashed, out of memory.
    pub failed: usize,
}

impl<'h> Confirmed<'h> {
    fn of(history: &'h History, trial: &'h Trial) -> Self {
        let runs = history.confirmations().iter();
        let runs: Vec<&Trial> = runs.filter(|r| r.confirms == Some(trial.id)).collect();
        let completed = runs.iter().filter(|r| r.state == TrialState::Completed);
        Self {
            trial,
            values: completed
                .filter_map(|r| r.value().filter(|v| v.is_finite()))
                .collect(),
            failed: runs.iter().filter(|r| r.state.is_infeasible()).count(),
            runs,
        }
    }

    /// The mean of the fresh runs' values.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        let count = self.values.len();
        (count > 0).then(|| self.values.iter().sum::<f64>() / count as f64)
    }

    /// The standard error of that mean: the sample standard deviation (with n - 1) over √n. `None` for
    /// fewer than two values.
    #[must_use]
    pub fn standard_error(&self) -> Option<f64> {
        let (mean, count) = (self.mean()?, self.values.len());
        let squares: f64 = self.values.iter().map(|v| (v - mean).powi(2)).sum();
        (count > 1).then(|| (squares / (count - 1) as f64 / count as f64).sqrt())
    }

    /// How many fresh runs have told something: completed, or come to nothing by themselves.
    #[must_use]
    pub fn told(&self) -> usize {
        self.values.len() + self.failed
    }

    /// How many runs count towards those wanted. One that was cut off by time can be made again.
    #[must_use]
    pub fn made(&self) -> usize {
        let cut = |r: &&&Trial| r.state == TrialState::Stopped(StopReason::TimeCap);
        self.runs.len() - self.runs.iter().filter(cut).count()
    }

    /// How many runs were lost, or could not be started: they say nothing.
    #[must_use]
    pub fn lost(&self) -> usize {
        let lost = |r: &&&Trial| {
            matches!(
                r.state,
                TrialState::Failed(FailReason::Lost | FailReason::NotStarted { .. })
            )
        };
        self.runs.iter().filter(lost).count()
    }
}

/// The trials to be confirmed, best first: the completed ones with the best values and different
/// configurations. Fewer than `top` when fewer have completed.
#[must_use]
pub fn candidates(history: &History, top: u32) -> Vec<&Trial> {
    let goal = history.spec().metric.goal;
    let completed = history.trials().iter();
    let completed =
        completed.filter(|t| t.state == TrialState::Completed && history.can_be_best(t));
    let mut ranked: Vec<(f64, &Trial)> = completed
        .filter_map(|t| Some((goal.as_loss(t.value().filter(|v| v.is_finite())?), t)))
        .collect();
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut chosen: Vec<&Trial> = Vec::new();
    for (_, trial) in ranked {
        if chosen.len() >= top as usize {
            break;
        }
        if chosen.iter().all(|c| c.config != trial.config) {
            chosen.push(trial);
        }
    }
    chosen
}

/// All trials that have been, or are being, confirmed: those whose fresh runs all came to their end
/// before those with some that did not, and of equals the better mean first.
#[must_use]
pub fn confirmed(history: &History) -> Vec<Confirmed<'_>> {
    if history.confirmations().is_empty() {
        return Vec::new();
    }
    let goal = history.spec().metric.goal;
    let mut ids: Vec<_> = history.confirmations().iter().collect();
    ids.sort_by_key(|run| run.confirms);
    ids.dedup_by_key(|run| run.confirms);
    let trials = ids
        .into_iter()
        .filter_map(|run| history.trial(run.confirms?));
    let mut all: Vec<Confirmed<'_>> = trials.map(|t| Confirmed::of(history, t)).collect();
    let loss = |c: &Confirmed<'_>| c.mean().map_or(f64::INFINITY, |mean| goal.as_loss(mean));
    all.sort_by(|a, b| {
        let by_failures = a.failed.cmp(&b.failed);
        by_failures.then_with(|| loss(a).total_cmp(&loss(b)))
    });
    all
}

/// The trial whose configuration has proved best, once that is known: every candidate has been run
/// again, at least twice where more than one run was asked for, and nothing runs any more. A search
/// that has gone on since and found a better one has to confirm it first.
#[must_use]
pub fn winner(history: &History) -> Option<Confirmed<'_>> {
    let wanted = history.confirm()?;
    let runs = history.confirmations();
    if runs.is_empty() || !runs.iter().all(|run| run.state.is_final()) {
        return None;
    }
    let candidates = candidates(history, wanted.top);
    let enough = |trial: &&Trial| {
        let found = Confirmed::of(history, trial);
        found.told() >= wanted.least() || found.made() >= wanted.seeds as usize
    };
    if candidates.is_empty() || !candidates.iter().all(enough) {
        return None;
    }
    let mut all = confirmed(history).into_iter();
    all.find(|c| c.told() >= wanted.least() && !c.values.is_empty())
}

/// The fresh runs of this trial, if there are any.
#[must_use]
pub fn of<'h>(history: &'h History, trial: &'h Trial) -> Option<Confirmed<'h>> {
    let found = Confirmed::of(history, trial);
    (!found.runs.is_empty()).then_some(found)
}

/// How many fresh runs are still to be made, as far as is known now.
#[must_use]
pub fn missing(history: &History) -> usize {
    let Some(wanted) = history.confirm() else {
        return 0;
    };
    let candidates = candidates(history, wanted.top).into_iter();
    let left = |trial| {
        let made = Confirmed::of(history, trial).made();
        (wanted.seeds as usize).saturating_sub(made)
    };
    candidates.map(left).sum()
}
