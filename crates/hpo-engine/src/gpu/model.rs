//! The memory model: what a trial is taken to need, from what is known by construction and from what
//! trials were seen to use.

use std::collections::BTreeSet;

use hpo_study::memory::MIB;
use hpo_study::need::{self, CONTEXT};
use hpo_study::{Attempt, AttemptEnd, History, MemoryKind, Trial};

use super::features::{self, Features};
use super::regression::{Ridge, conformal};

/// Amounts are set aside in steps of this.
pub(crate) const GRAIN: u64 = 64 * MIB;
/// What is set aside over a peak that was seen, for the allocator's fragments.
pub(crate) const OVER_PEAK: f64 = 1.05;
/// The same for a trial of which only a like one was seen, or of whose peak only a part.
pub(crate) const OVER_LIKE: f64 = 1.2;
/// A process that ran out of memory had at least this much less than it needs.
const AT_LEAST_MORE: u64 = 100 * MIB;
/// With this probability a trial stays below what is predicted for it.
const LEVEL: f64 = 0.95;
/// The regression's penalty; columns are standardized.
const LAMBDA: f64 = 0.1;
/// So many of the last observations are looked at.
const MOST: usize = 400;
/// A number may be so much beyond those seen, as a share of their range (and this in the logarithm).
const BEYOND: f64 = 0.1;

/// What a trial is taken to need of one kind of memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Need {
    /// To be set aside; a multiple of [`GRAIN`]. When nothing is known: the least there must be.
    pub(crate) upper: u64,
    /// The least that it will take, where that can be said well enough to call a trial too large without
    /// trying it.
    pub(crate) surely: Option<u64>,
    /// Whether anything like it was seen; what is unknown starts alone.
    pub(crate) known: bool,
}

/// What an attempt was seen to use.
#[derive(Debug, Clone)]
struct Observation {
    features: Features,
    peak: f64,
    /// It trained long enough to show its whole need; else it needs at least this.
    complete: bool,
}

/// The model for one kind of memory. Follows from the history alone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    seen: Vec<Observation>,
    fit: Option<Fit>,
}

#[derive(Debug, Clone)]
struct Fit {
    ridge: Ridge,
    /// The kinds, in the order of their columns.
    kinds: Vec<String>,
    curved: bool,
    /// What is taken off and added to the expected logarithm; `None` with too few observations.
    margins: Option<(f64, f64)>,
}

impl Model {
    /// The model after what happened so far.
    pub(crate) fn learn(history: &History, of: MemoryKind) -> Self {
        let mut seen: Vec<Observation> = history
            .trials()
            .iter()
            .rev()
            .filter_map(|trial| observation(history, trial, of))
            .take(MOST)
            .collect();
        seen.reverse();
        let fit = fit(&seen);
        Self { seen, fit }
    }

    /// What the trial is taken to need.
    pub(crate) fn need(&self, history: &History, trial: &Trial, of: MemoryKind) -> Need {
        let least = least(trial, of);
        let need = own(trial, of).unwrap_or_else(|| self.predicted(history, trial, of));
        Need {
            upper: round_up(need.upper.max(least)),
            surely: need.surely.map(|surely| surely.max(least)),
            ..need
        }
    }

    fn predicted(&self, history: &History, trial: &Trial, of: MemoryKind) -> Need {
        let spec = history.spec();
        if let (MemoryKind::Gpu, Some(given)) =
            (of, spec.gpu.as_ref().and_then(|gpu| gpu.per_trial))
        {
            return Need {
                upper: given,
                surely: Some(given),
                known: true,
            };
        }
        let prior = self.prior(history, trial, of);
        let features = Features::of(spec, &trial.config);
        if !self.reaches(&features) {
            // The built-in trainer is known without having been seen.
            let exact = of == MemoryKind::Host && need::of_trainer(spec, &trial.config).is_some();
            return Need {
                upper: scale(prior, if exact { OVER_LIKE } else { 1.0 }),
                surely: exact.then_some(prior),
                known: exact,
            };
        }
        if let Some((surely, upper)) = self.fit.as_ref().and_then(|fit| fit.bound(&features)) {
            return Need {
                upper,
                surely: Some(surely),
                known: true,
            };
        }
        let like = self
            .seen
            .iter()
            .filter(|o| o.features.kind == features.kind);
        let most = like.map(|o| o.peak).fold(0.0, f64::max);
        Need {
            upper: prior.max(scale(most as u64, OVER_LIKE)),
            surely: None,
            known: true,
        }
    }

    /// What is known by construction: context, learned numbers, gradients and optimizer state.
    fn prior(&self, history: &History, trial: &Trial, of: MemoryKind) -> u64 {
        let spec = history.spec();
        if of == MemoryKind::Host {
            return need::of_trainer(spec, &trial.config).unwrap_or(GRAIN);
        }
        let smallest = self
            .seen
            .iter()
            .filter(|o| o.complete)
            .map(|o| o.peak as u64)
            .min();
        let context = smallest.map_or(CONTEXT, |peak| peak.min(CONTEXT));
        let parameters = features::parameters(history, trial).unwrap_or(0);
        let copies = need::state_copies(&trial.config).unwrap_or(0);
        context.saturating_add(need::model_bytes(parameters, copies))
    }

    /// Whether trials like it were seen: of its kind, and with numbers not far beyond.
    fn reaches(&self, features: &Features) -> bool {
        let whole = || self.seen.iter().filter(|o| o.complete);
        if !whole().any(|o| o.features.kind == features.kind) {
            return false;
        }
        features.numbers.iter().enumerate().all(|(i, x)| {
            let column = whole().filter_map(|o| o.features.numbers.get(i));
            let (low, high) = column.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| {
                (low.min(*x), high.max(*x))
            });
            *x <= high + BEYOND * (high - low) + BEYOND
        })
    }
}

impl Fit {
    /// What it will take at least, and at most, each with the probability [`LEVEL`].
    fn bound(&self, features: &Features) -> Option<(u64, u64)> {
        let row = row(features, &self.kinds, self.curved);
        let expected = self.ridge.predict(&row);
        let (less, more) = self.margins?;
        Some((
            (expected - less).exp() as u64,
            (expected + more).exp() as u64,
        ))
    }
}

fn fit(seen: &[Observation]) -> Option<Fit> {
    let mut whole: Vec<(&Features, f64)> = seen
        .iter()
        .filter(|o| o.complete)
        .map(|o| (&o.features, o.peak.ln()))
        .collect();
    let first = fit_whole(&whole)?;
    // A peak of which only a part was seen says something where it is above what is expected.
    let beyond = seen.iter().filter(|o| !o.complete).filter(|o| {
        let row = row(&o.features, &first.kinds, first.curved);
        first.kinds.contains(&o.features.kind) && o.peak.ln() > first.ridge.predict(&row)
    });
    let before = whole.len();
    whole.extend(beyond.map(|o| (&o.features, (o.peak * OVER_LIKE).ln())));
    if whole.len() == before {
        return Some(first);
    }
    fit_whole(&whole)
}

fn fit_whole(whole: &[(&Features, f64)]) -> Option<Fit> {
    let kinds: BTreeSet<&String> = whole.iter().map(|(f, _)| &f.kind).collect();
    let kinds: Vec<String> = kinds.into_iter().cloned().collect();
    let y: Vec<f64> = whole.iter().map(|(_, y)| *y).collect();
    let ridge = |curved| {
        let rows: Vec<Vec<f64>> = whole.iter().map(|(f, _)| row(f, &kinds, curved)).collect();
        let columns = rows.first()?.len();
        (!curved || rows.len() >= 2 * (columns + 1))
            .then(|| Ridge::fit(&rows, &y, LAMBDA))
            .flatten()
    };
    let (straight, curved) = (ridge(false)?, ridge(true));
    let (ridge, curved) = match curved {
        Some(curved) if curved.error() < straight.error() => (curved, true),
        _ => (straight, false),
    };
    Some(Fit {
        margins: margins(&ridge.left_out),
        ridge,
        kinds,
        curved,
    })
}

/// How far what is expected may be off, downwards and upwards.
fn margins(left_out: &[f64]) -> Option<(f64, f64)> {
    let negative: Vec<f64> = left_out.iter().map(|r| -r).collect();
    let (less, more) = (conformal(&negative, LEVEL)?, conformal(left_out, LEVEL)?);
    Some((less.max(0.0), more.max(0.0)))
}

/// The columns of the regression: the numbers, with their squares and products if it is curved, and one
/// column per kind.
fn row(features: &Features, kinds: &[String], curved: bool) -> Vec<f64> {
    let mut row = features.numbers.clone();
    if curved {
        for (i, a) in features.numbers.iter().enumerate() {
            row.extend(features.numbers.iter().skip(i).map(|b| a * b));
        }
    }
    if kinds.len() > 1 {
        let is = |kind: &String| f64::from(u8::from(*kind == features.kind));
        row.extend(kinds.iter().map(is));
    }
    row
}

/// What a trial was seen to use: by the last of its attempts that showed all, else by the largest part.
fn observation(history: &History, trial: &Trial, of: MemoryKind) -> Option<Observation> {
    let peaks = || {
        trial
            .attempts
            .iter()
            .filter_map(|a| Some((a, peak(a, of)?)))
    };
    let whole = peaks()
        .rfind(|(a, _)| is_complete(a))
        .map(|(_, peak)| (peak, true));
    let part = || peaks().map(|(_, peak)| (peak, false)).max();
    let (peak, complete) = whole.or_else(part)?;
    Some(Observation {
        features: Features::of(history.spec(), &trial.config),
        peak: peak.max(1) as f64,
        complete,
    })
}

/// What the trial itself was seen to need in an earlier attempt.
fn own(trial: &Trial, of: MemoryKind) -> Option<Need> {
    let whole = trial.attempts.iter().rfind(|a| is_complete(a))?;
    let peak = peak(whole, of)?;
    Some(Need {
        upper: scale(peak, OVER_PEAK),
        surely: Some(peak),
        known: true,
    })
}

/// What the trial needs at least, by those of its attempts that ran out of memory or were ended for it.
pub(crate) fn least(trial: &Trial, of: MemoryKind) -> u64 {
    let floors = trial.attempts.iter().map(|attempt| {
        let seen = peak(attempt, of).or(given(attempt, of)).unwrap_or(0);
        match &attempt.end {
            Some(AttemptEnd::OutOfMemory { oom, .. }) if oom.of == of => {
                let asked = seen
                    .saturating_add(AT_LEAST_MORE)
                    .saturating_add(oom.requested.unwrap_or(0));
                scale(seen, OVER_LIKE).max(asked)
            }
            _ if attempt.made_room && !is_complete(attempt) => {
                scale(peak(attempt, of).unwrap_or(0), OVER_LIKE)
            }
            _ => 0,
        }
    });
    floors.max().unwrap_or(0)
}

/// The most that an attempt was seen to use.
pub(crate) fn peak(attempt: &Attempt, of: MemoryKind) -> Option<u64> {
    let memory = attempt.memory?;
    match of {
        MemoryKind::Gpu => memory.gpu_peak,
        MemoryKind::Host => memory.host_peak,
    }
}

fn given(attempt: &Attempt, of: MemoryKind) -> Option<u64> {
    let assignment = attempt.assignment.as_ref()?;
    match of {
        MemoryKind::Gpu => assignment.gpu.as_ref().map(|share| share.memory),
        MemoryKind::Host => assignment.host_memory,
    }
}

/// Whether an attempt trained long enough to show all that it needs.
pub(crate) fn is_complete(attempt: &Attempt) -> bool {
    let done = matches!(attempt.end, Some(AttemptEnd::Exited { code: 0, .. }));
    (done && !attempt.stop_requested) || attempt.memory.is_some_and(|memory| memory.settled)
}

pub(crate) fn scale(bytes: u64, factor: f64) -> u64 {
    (bytes as f64 * factor).ceil() as u64
}

pub(crate) fn round_up(bytes: u64) -> u64 {
    bytes.div_ceil(GRAIN).saturating_mul(GRAIN)
}
