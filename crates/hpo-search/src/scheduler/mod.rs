//! Schedulers: whose turn it is, up to which step, and whose run is without hope. A new one is a
//! file here and a row in [`build_scheduler`].
//!
//! All compare trials at equal steps, by their loss ([`hpo_study::Goal::as_loss`]); a loss that is
//! not finite is worse than any that is.

mod asha;
mod auto;
mod columns;
mod hyperband;
mod median;
mod none;
#[cfg(test)]
mod optuna;
mod patient;
mod percentile;
mod promotion;
mod successive_halving;
mod wilcoxon;

use std::collections::{BTreeMap, BTreeSet};

use hpo_study::{
    AttemptNumber, Curve, EarlyTerminate, Event, EventKind, Goal, History, Method, StudySpec,
    Trial, TrialId, TrialState,
};

use crate::{Next, Scheduler, Verdict};

/// The scheduler that a study asks for.
///
/// It has seen nothing yet: show it every event of the study, from the first one on. When the study
/// file's `early_terminate` changes on the way, build it anew and do the same; no waiting trial is
/// lost by that.
#[must_use]
pub fn build_scheduler(spec: &StudySpec) -> Box<dyn Scheduler> {
    if spec.method == Method::Dehb {
        return Box::new(crate::dehb::Dehb::new(spec));
    }
    if spec.method == Method::Pbt {
        return Box::new(crate::pbt::Pbt::new(spec));
    }
    build(&spec.early_terminate)
}

fn build(rule: &EarlyTerminate) -> Box<dyn Scheduler> {
    match *rule {
        EarlyTerminate::None | EarlyTerminate::Population(_) => Box::new(none::None::default()),
        EarlyTerminate::Median {
            min_iter,
            min_trials,
        } => Box::new(median::Median::new(min_iter, min_trials)),
        EarlyTerminate::Percentile {
            percentile,
            min_iter,
            min_trials,
            interval,
        } => Box::new(percentile::Percentile::new(
            percentile, min_iter, min_trials, interval,
        )),
        EarlyTerminate::Patient {
            ref rule,
            patience,
            min_delta,
        } => Box::new(patient::Patient::new(rule, patience, min_delta)),
        EarlyTerminate::Auto { min_iter, max_iter } => {
            Box::new(auto::Auto::new(min_iter, max_iter))
        }
        EarlyTerminate::Wilcoxon {
            p_threshold,
            n_startup_steps,
            ref metric,
        } => Box::new(wilcoxon::Wilcoxon::new(
            p_threshold,
            n_startup_steps,
            metric.clone(),
        )),
        EarlyTerminate::Asha(rungs) => Box::new(asha::Asha::new(rungs)),
        EarlyTerminate::AshaPromotion(rungs) => Box::new(promotion::Promotion::new(rungs)),
        EarlyTerminate::SuccessiveHalving(rungs) => Box::new(successive_halving::Halving::new(
            rungs.eta,
            successive_halving::cycle(rungs),
        )),
        EarlyTerminate::Hyperband(rungs) => Box::new(successive_halving::Halving::new(
            rungs.eta,
            hyperband::cycle(rungs),
        )),
    }
}

/// The loss to compare by: worst when it is not finite.
pub(crate) fn comparable(goal: Goal, value: f64) -> f64 {
    let loss = goal.as_loss(value);
    if loss.is_finite() {
        loss
    } else {
        f64::INFINITY
    }
}

/// The objective with which a trial stands at a rung: the last one not after it, or else (when the
/// objective is measured more seldom than rungs come) the first one after it.
pub(crate) fn objective_at(curve: &Curve, level: u64) -> Option<f64> {
    curve
        .at(level)
        .or_else(|| curve.objectives().next().map(|(_, value)| value))
}

/// Of a trial that runs from rung to rung: it pauses once it has come to its target, unless that is the top.
pub(crate) fn wait_at_target(trial: &Trial, top: Option<u64>) -> Verdict {
    let Some(target) = trial.target else {
        return Verdict::Continue;
    };
    // While the process runs, the objective itself must have come: it may be reported on a line of its
    // own, after others of the same step.
    let step = if process_is_over(trial) {
        trial.curve.last_step()
    } else {
        trial.curve.last().map(|(step, _)| step)
    };
    let top = top.unwrap_or(target);
    match step {
        Some(step) if target < top && (target..top).contains(&step) => Verdict::Pause,
        _ => Verdict::Continue,
    }
}

/// Whether the trial's newest process is over.
fn process_is_over(trial: &Trial) -> bool {
    trial.attempt().is_none_or(|attempt| attempt.end.is_some())
}

/// What was found of a trial, as long as there is something of it to stop.
fn verdict(history: &History, trial: TrialId, evidence: Option<&String>) -> Verdict {
    match evidence {
        Some(evidence) if history.trial(trial).is_some_and(|t| !process_is_over(t)) => {
            Verdict::Stop {
                evidence: evidence.clone(),
            }
        }
        _ => Verdict::Continue,
    }
}

/// The trial that said something, unless it was an older process of it that history fenced off.
fn speaker(history: &History, trial: TrialId, attempt: AttemptNumber) -> Option<&Trial> {
    let is_current = |record: &&Trial| {
        record
            .attempt()
            .is_some_and(|last| last.number == attempt && last.end.is_none())
    };
    history.trial(trial).filter(is_current)
}

/// A number for people: four digits.
pub(crate) fn short(x: f64) -> String {
    let magnitude = x.abs();
    if x == 0.0 || !x.is_finite() {
        format!("{x}")
    } else if (1e-3..1e5).contains(&magnitude) {
        let decimals = (3 - magnitude.log10().floor() as i32).max(0) as usize;
        format!("{x:.decimals$}")
    } else {
        format!("{x:.3e}")
    }
}

/// The trials that wait at a rung, by bracket.
#[derive(Default)]
struct Waiting(BTreeMap<u32, BTreeSet<TrialId>>);

impl Waiting {
    /// Sees an event that the history has taken in.
    fn observe(&mut self, history: &History, event: &Event) {
        let (EventKind::TrialPaused { trial }
        | EventKind::AttemptLaunching { trial, .. }
        | EventKind::TrialRequeued { trial }
        | EventKind::TrialCompleted { trial }
        | EventKind::TrialStopped { trial, .. }
        | EventKind::TrialFailed { trial, .. }) = &event.kind
        else {
            return;
        };
        let Some(record) = history.trial(*trial) else {
            return;
        };
        let bracket = self.0.entry(record.bracket).or_default();
        if record.state == TrialState::Paused {
            bracket.insert(*trial);
        } else {
            bracket.remove(trial);
        }
        if bracket.is_empty() {
            self.0.remove(&record.bracket);
        }
    }

    /// The brackets in which somebody waits, in order.
    fn brackets(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.keys().copied()
    }

    /// What a scheduler without rungs to wait at says: whoever waits nevertheless (the study's
    /// scheduler was another one before) goes on unless the user holds it, then new trials start.
    fn resume_or_start(&self, history: &History, can_start: bool, target: Option<u64>) -> Next {
        let free = |id: &&TrialId| history.trial(**id).is_none_or(|t| !t.held);
        match self.0.values().flatten().find(free) {
            Some(trial) => Next::Resume {
                trial: *trial,
                target,
            },
            None if can_start => Next::Start { bracket: 0, target },
            None => Next::Wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people_have_four_digits() {
        for (x, text) in [
            (0.0, "0"),
            (0.123_456, "0.1235"),
            (12.345_67, "12.35"),
            (-99_999.4, "-99999"),
            (1.5e-7, "1.500e-7"),
            (2.5e9, "2.500e9"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(short(x), text);
        }
    }

    #[test]
    fn what_is_not_finite_is_worst_whichever_way_is_better() {
        for goal in [Goal::Minimize, Goal::Maximize] {
            for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                assert_eq!(comparable(goal, value), f64::INFINITY);
            }
        }
        assert_eq!(comparable(Goal::Maximize, 3.0), -3.0);
    }
}
