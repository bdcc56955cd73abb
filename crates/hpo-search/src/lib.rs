//! The search: samplers say WHICH configuration is tried next, schedulers say WHOSE turn it is, up
//! to which step, and whose run is without hope.
//!
//! All is pure and seeded: the same history and seed give the same answer. This crate must never do
//! I/O, read a clock, or know of processes and GPUs.

mod complete;
mod dehb;
mod foresight;
mod pbt;
mod sampler;
mod scheduler;
pub mod stdio;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod simulate;

pub use complete::complete;
pub use sampler::build_sampler;
pub use scheduler::build_scheduler;

use rand::SeedableRng as _;

use hpo_study::population::Parent;
use hpo_study::{Config, Event, History, TrialId};

/// The one generator everything random draws from: portable, seedable, the same on every machine.
pub type Rng = rand_chacha::ChaCha8Rng;

/// A fresh stream of random numbers for a seed (see [`hpo_study::seed::derive`]).
#[must_use]
pub fn stream(seed: u64) -> Rng {
    Rng::seed_from_u64(seed)
}

/// Chooses configurations.
pub trait Sampler: Send {
    /// The configuration of the next trial (whose number is `history.trials().len()`), or `None` when
    /// there is nothing left to propose. Does not change the sampler; `rng` is a fresh stream for this
    /// trial.
    fn suggest(&self, history: &History, rng: &mut Rng) -> Option<Config>;

    /// Sees every event from the first one on, on resume too, right after the history took it in.
    /// Only for what is costly to compute anew.
    fn observe(&mut self, _history: &History, _event: &Event) {}
}

/// Shares out the budget.
pub trait Scheduler: Send {
    /// Whose turn it is when a place is free.
    ///
    /// `can_start` says whether a new trial can still come: `false` once as many trials exist as
    /// the study may have, or once the sampler has nothing left to propose. A bracket that is not
    /// full is then judged by the members it has, and [`Next::Start`] is not answered any more. It
    /// is NOT for a study that only drains: that one may go on in a later session, so its brackets
    /// wait (whoever drains does not ask at all).
    ///
    /// Ask again after every answer but [`Next::Wait`], which holds until the next event. When
    /// `can_start` is `false`, no trial runs or is queued, and the answer is [`Next::Wait`], every
    /// trial is over.
    fn next(&self, history: &History, can_start: bool) -> Next;

    /// Where the trial begins that [`Next::Start`] is answered for now; `None`: afresh.
    fn parent(&self, _history: &History) -> Option<Parent> {
        None
    }

    /// What becomes of a running trial after its newest report (and once more when its process has
    /// ended well). A trial whose process has ended well and which may [`Verdict::Continue`] has
    /// come to its end: it is complete. Nothing is stopped for being bad once its process is over.
    ///
    /// Asking twice gives the same answer, as long as no event came in between.
    fn judge(&self, history: &History, trial: TrialId) -> Verdict;

    /// Sees every event from the first one on, on resume too, right after the history took it in
    /// and before the history takes in the next. Only for what is costly to compute anew, and for
    /// what a trial was compared with at the time it was judged.
    fn observe(&mut self, _history: &History, _event: &Event) {}
}

/// Whose turn it is.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// A new trial.
    Start {
        /// Its bracket, from 0.
        bracket: u32,
        /// How far it runs now: its process is told to stop after this many steps, and it pauses
        /// there or, at the full length, is complete. `None`: to its own end.
        target: Option<u64>,
    },
    /// A paused trial goes on.
    Resume {
        /// Which.
        trial: TrialId,
        /// How far it runs now, as in [`Next::Start`].
        target: Option<u64>,
    },
    /// A paused trial is out.
    Discard {
        /// Which.
        trial: TrialId,
        /// The rule and the numbers, for people.
        evidence: String,
    },
    /// Nothing until a running trial has come further.
    Wait,
}

/// What becomes of a running trial.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It goes on.
    Continue,
    /// It waits at its rung. A process that heeds its target is about to end by itself, having saved
    /// its state: better give it the time.
    Pause,
    /// It is out.
    Stop {
        /// The rule and the numbers, for people.
        evidence: String,
    },
}
