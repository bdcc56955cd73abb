//! The search: samplers say WHICH configuration is tried next, schedulers say WHOSE turn it is, up
//! to which step, and whose run is without hope.
//!
//! All is pure and seeded: the same history and seed give the same answer. This crate must never do
//! I/O, read a clock, or know of processes and GPUs.

use hpo_study::{Config, Event, History, TrialId};

/// The one generator everything random draws from: portable, seedable, the same on every machine.
pub type Rng = rand_chacha::ChaCha8Rng;

/// Chooses configurations.
pub trait Sampler: Send {
    /// The configuration of the next trial (whose number is `history.trials().len()`), or `None` when
    /// there is nothing left to propose. Does not change the sampler; `rng` is a fresh stream for this
    /// trial.
    fn suggest(&self, history: &History, rng: &mut Rng) -> Option<Config>;

    /// Sees every event, after the history took it in. Only for what is costly to compute anew.
    fn observe(&mut self, _history: &History, _event: &Event) {}
}

/// Shares out the budget.
pub trait Scheduler: Send {
    /// Whose turn it is when a place is free.
    fn next(&self, history: &History) -> Next;

    /// What becomes of a running trial after its newest report (and once more when its process has
    /// ended well).
    fn judge(&self, history: &History, trial: TrialId) -> Verdict;

    /// Sees every event, after the history took it in. Only for what is costly to compute anew.
    fn observe(&mut self, _history: &History, _event: &Event) {}
}

/// Whose turn it is.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// A new trial.
    Start {
        /// Its bracket, from 0.
        bracket: u32,
        /// The step at which it will be judged for going on; `None`: none.
        target: Option<u64>,
    },
    /// A paused trial goes on.
    Resume {
        /// Which.
        trial: TrialId,
        /// Up to which step.
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
    /// It waits at its rung.
    Pause,
    /// It is out.
    Stop {
        /// The rule and the numbers, for people.
        evidence: String,
    },
}
