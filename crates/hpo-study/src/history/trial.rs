//! One trial's record: what it is, where it stands, its processes.

use std::time::Duration;

use hpo_recipe::Config;

use super::{Change, Curve};
use crate::divergence::{Finding, Rescued};
use crate::event::{AttemptEnd, FailReason, StopIntent, StopReason};
use crate::id::{AttemptNumber, Timestamp, TrialId};
use crate::import::Origin;
use crate::memory::{Assignment, MemorySeen, Waiting};
use crate::population::Parent;
use crate::repeats::{self, Repeats};

/// One trial's record.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// Its number.
    pub id: TrialId,
    /// Its configuration.
    pub config: Config,
    /// The scheduler's bracket, from 0.
    pub bracket: u32,
    /// The step up to which it may run at present; `None`: to its end.
    pub target: Option<u64>,
    /// Where it stands.
    pub state: TrialState,
    /// Its processes, in order.
    pub attempts: Vec<Attempt>,
    /// What it reported.
    pub curve: Curve,
    /// What was found in that, in order.
    pub findings: Vec<Finding>,
    /// How often, and how, it was rescued from divergence: it then has another configuration than it
    /// was proposed with.
    pub rescues: Vec<Rescued>,
    /// What it waits for, while it has no process although there is a place for one.
    pub waiting: Option<Waiting>,
    /// What the user changed of its configuration, in order.
    pub changes: Vec<Change>,
    /// The user wants it not to be started for now.
    pub held: bool,
    /// The trial whose configuration it runs again, for a run that confirms.
    pub confirms: Option<TrialId>,
    /// The trial that it is a further run of, for a run that repeats.
    pub repeat_of: Option<TrialId>,
    /// The further runs of its configuration.
    pub repeats: Repeats,
    /// Where it is from, if it did not run here.
    pub origin: Option<Origin>,
    /// The trial whose checkpoints it began from, if that was no fresh start.
    pub parent: Option<Parent>,
    /// When it was suggested.
    pub suggested: Timestamp,
    /// When its first process started.
    pub started: Option<Timestamp>,
    /// When it came to its end.
    pub ended: Option<Timestamp>,
}

/// Where a trial stands.
#[derive(Debug, Clone, PartialEq)]
pub enum TrialState {
    /// It has no process and waits for one: newly suggested, or put back.
    Queued,
    /// A process for it has been decided on; whether it runs is not known yet.
    Launching,
    /// Its process runs.
    Running,
    /// Its process is being ended.
    Stopping(StopIntent),
    /// It waits at a rung.
    Paused,
    /// It reached its end, and its configuration is being run with further seeds.
    Repeating,
    /// It reached its end and has a value.
    Completed,
    /// It was stopped before its end.
    Stopped(StopReason),
    /// It could not be brought to an end.
    Failed(FailReason),
}

impl TrialState {
    /// Whether nothing more will happen to the trial.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Completed | Self::Stopped(_) | Self::Failed(_))
    }
    /// Whether the trial has, or is about to have, a process.
    #[must_use]
    pub fn is_active(&self) -> bool {
        matches!(self, Self::Launching | Self::Running | Self::Stopping(_))
    }
    /// The state in one word, as in the documented JSON.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Launching | Self::Running | Self::Stopping(_) | Self::Repeating => "running",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::Stopped(_) => "stopped",
            Self::Failed(FailReason::Oom { .. }) => "infeasible",
            Self::Failed(_) => "failed",
        }
    }
    /// Whether the trial was brought to its end by its own configuration, so that the search should
    /// keep away from it; see [`StopReason::is_infeasible`] and [`FailReason::is_infeasible`].
    #[must_use]
    pub fn is_infeasible(&self) -> bool {
        match self {
            Self::Stopped(reason) => reason.is_infeasible(),
            Self::Failed(reason) => reason.is_infeasible(),
            _ => false,
        }
    }
    /// Why it is so, in one word, where there is a why.
    #[must_use]
    pub fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Stopped(reason) => Some(reason.word()),
            Self::Failed(reason) => Some(reason.word()),
            _ => None,
        }
    }
}

/// One process of a trial.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// Its number, from 1.
    pub number: AttemptNumber,
    /// The step after which it was to stop.
    pub target: Option<u64>,
    /// When it was decided on.
    pub launched: Timestamp,
    /// The session (from 1) in which it was decided on: [`History::sessions`](super::History::sessions) at that time.
    pub session: u32,
    /// Whether it was decided to end it; what such a process ends with says nothing of the trial.
    pub stop_requested: bool,
    /// Whether that was because it had fallen silent.
    pub stalled: bool,
    /// For how long the machine slept, or its clock was wrong, while it ran: no time of its own.
    pub asleep: Duration,
    /// Its process id, once it is known.
    pub pid: Option<u32>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// How it ended.
    pub end: Option<AttemptEnd>,
    /// Whether it was ended to make room.
    pub made_room: bool,
    /// What of the machine was set aside for it, where that is counted.
    pub assignment: Option<Assignment>,
    /// What it was seen to use, once that is known.
    pub memory: Option<MemorySeen>,
}

impl Trial {
    /// A trial that nothing has happened to yet.
    pub(super) fn new(id: TrialId, config: Config, suggested: Timestamp) -> Self {
        Self {
            id,
            config,
            bracket: 0,
            target: None,
            state: TrialState::Queued,
            attempts: Vec::new(),
            curve: Curve::default(),
            findings: Vec::new(),
            rescues: Vec::new(),
            waiting: None,
            changes: Vec::new(),
            held: false,
            confirms: None,
            repeat_of: None,
            repeats: Repeats::default(),
            origin: None,
            parent: None,
            suggested,
            started: None,
            ended: None,
        }
    }
    /// The trial's value: the last objective reported, or the mean over its runs where its configuration was
    /// run more than once. `None` before the first one; may be NaN.
    #[must_use]
    pub fn value(&self) -> Option<f64> {
        let Some((_, own)) = self.curve.last() else {
            return self.origin.as_ref().and_then(|origin| origin.value);
        };
        if self.repeats.values.is_empty() {
            return Some(own);
        }
        repeats::mean(&repeats::values(self))
    }
    /// The step of a report that does not say its own.
    #[must_use]
    pub fn next_step(&self) -> u64 {
        let begun_at = self.parent.map_or(0, |parent| parent.step);
        let last = self.curve.last_step().unwrap_or(begun_at);
        last.saturating_add(1)
    }
    /// Whether it runs another trial's configuration again, to repeat or to confirm it.
    #[must_use]
    pub fn is_again(&self) -> bool {
        self.confirms.is_some() || self.repeat_of.is_some()
    }
    /// The last finding, if it says that going on is of no use.
    #[must_use]
    pub fn hopeless(&self) -> Option<&Finding> {
        self.findings.last().filter(|f| f.verdict.is_hopeless())
    }
    /// For a trial that was rescued the step that a new process is to go back to, at most: the last
    /// one that counts.
    #[must_use]
    pub fn resume_step(&self) -> Option<u64> {
        (!self.rescues.is_empty()).then(|| self.curve.last_step().unwrap_or(0))
    }
    /// How long its processes have run at `now`, together.
    #[must_use]
    pub fn running_time(&self, now: Timestamp) -> Duration {
        let time = |a: &Attempt| {
            let until = a.ended.filter(|_| a.end.is_some()).unwrap_or(now);
            until.since(a.launched).saturating_sub(a.asleep)
        };
        self.attempts.iter().map(time).sum()
    }
    /// The attempt that counts: the last one.
    #[must_use]
    pub fn attempt(&self) -> Option<&Attempt> {
        self.attempts.last()
    }
}
