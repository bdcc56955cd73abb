//! Events: what happened in a study, in order. The log of them IS the study; everything else can be
//! made from it again.
//!
//! Decisions are events too, so a study that is resumed by a newer program keeps the decisions that
//! an older one took.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use hpo_recipe::Config;

use crate::confirm::Confirm;
use crate::control::Request;
use crate::divergence::{Finding, Rescued};
use crate::id::{AttemptNumber, Timestamp, TrialId};
use crate::import::{ImportBatch, Origin};
use crate::memory::{Assignment, MemorySeen, Oom, Waiting};
use crate::population::Parent;
use crate::spec::StudySpec;

/// Something that happened, and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventKind {
    /// The study began: always the first event, and only the first.
    StudyOpened {
        /// What is to be done.
        spec: Box<StudySpec>,
        /// Version of the program that opened the study.
        hpo_version: String,
    },
    /// The study file was changed in a way that a study can take on its way (caps, CPU, …).
    SpecChanged {
        /// The study as it is from now on; same space, job and metric.
        spec: Box<StudySpec>,
    },
    /// A coordinator took the study up (again).
    SessionStarted {
        /// Its process id.
        pid: u32,
        /// Its machine.
        host: String,
    },
    /// A sampler proposed a configuration; the trial exists from now on.
    TrialSuggested {
        /// The trial; the next free number.
        trial: TrialId,
        /// Its configuration.
        config: Config,
        /// The bracket of the scheduler it belongs to, from 0.
        bracket: u32,
        /// Steps after which the scheduler wants to see it; `None`: to the end.
        target: Option<u64>,
    },
    /// Trials from elsewhere were imported: those that follow as [`EventKind::TrialImported`].
    TrialsImported {
        /// Where they are from.
        batch: ImportBatch,
    },
    /// The next trial did not run here: its events, which follow at once, tell what became of it elsewhere.
    TrialImported {
        /// The trial; the next free number.
        trial: TrialId,
        /// Where it is from.
        origin: Origin,
    },
    /// What the session's trials run, and where, was noted.
    SnapshotTaken {
        /// The note.
        snapshot: CodeNote,
    },
    /// The best trials shall be run again with fresh seeds; in this session nothing new is searched.
    ConfirmRequested {
        /// How many, and how often.
        confirm: Confirm,
    },
    /// A trial's configuration is run again with a fresh seed: a run of its own, counted apart, from
    /// which the search learns nothing.
    ConfirmationSuggested {
        /// The run; the next free number of those that confirm.
        trial: TrialId,
        /// The trial whose configuration it has.
        confirms: TrialId,
        /// That configuration.
        config: Config,
    },
    /// The trial's own run has come to its end; its configuration is run with further seeds before it has a
    /// value.
    TrialRepeating {
        /// The trial.
        trial: TrialId,
    },
    /// A trial's configuration is run with a further seed: a run of its own, counted apart, whose value is part
    /// of the trial's.
    RepeatSuggested {
        /// The run; the next free number of those that repeat.
        trial: TrialId,
        /// The trial whose configuration it has.
        repeats: TrialId,
        /// That configuration.
        config: Config,
    },
    /// A trial's configuration is not run with further seeds, although there were more to come.
    RepeatsGivenUp {
        /// The trial.
        trial: TrialId,
        /// The rule and the numbers, for people.
        evidence: String,
    },
    /// The next trial begins from a copy of another trial's checkpoints. It comes before that trial's `TrialSuggested`, so
    /// that a log that ends between the two has no trial that does not know where it begins.
    TrialForked {
        /// The trial.
        trial: TrialId,
        /// Whose checkpoints, and how far that one had come.
        from: Parent,
    },
    /// It was decided to start a process for the trial.
    AttemptLaunching {
        /// The trial.
        trial: TrialId,
        /// The new attempt: one more than the last.
        attempt: AttemptNumber,
        /// The process is to stop after this many steps; `None`: when it is done.
        target: Option<u64>,
        /// What of the machine is set aside for it, where that is counted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        assignment: Option<Assignment>,
    },
    /// The trial waits for memory although there is a place for a process.
    TrialWaiting {
        /// The trial.
        trial: TrialId,
        /// What it waits for.
        waiting: Waiting,
    },
    /// What an attempt uses became known, and with it what is set aside for it.
    MemoryMeasured {
        /// The trial.
        trial: TrialId,
        /// The attempt.
        attempt: AttemptNumber,
        /// What it was seen to use.
        memory: MemorySeen,
    },
    /// A GPU cannot be used any more, or can be used again.
    GpuChanged {
        /// Its UUID.
        gpu: String,
        /// Why it cannot be used; `None`: it can.
        lost: Option<String>,
    },
    /// The process runs.
    AttemptStarted {
        /// The trial.
        trial: TrialId,
        /// The attempt.
        attempt: AttemptNumber,
        /// Its process id (which is its process group's too).
        pid: u32,
    },
    /// The process reported metrics.
    Reported {
        /// The trial.
        trial: TrialId,
        /// The attempt.
        attempt: AttemptNumber,
        /// How far the training is; rises within an attempt.
        step: u64,
        /// What was measured, the objective among it or not. May be NaN or infinite.
        #[serde(with = "crate::protocol::metrics")]
        metrics: BTreeMap<String, f64>,
    },
    /// Something was found in what the trial reported so far.
    Found {
        /// The trial.
        trial: TrialId,
        /// The attempt.
        attempt: AttemptNumber,
        /// What.
        finding: Finding,
    },
    /// It was decided to end the running process.
    StopRequested {
        /// The trial.
        trial: TrialId,
        /// The attempt.
        attempt: AttemptNumber,
        /// What becomes of the trial then.
        intent: StopIntent,
    },
    /// The process is gone, and all of its group with it.
    AttemptEnded {
        /// The trial.
        trial: TrialId,
        /// The attempt.
        attempt: AttemptNumber,
        /// How it went.
        end: AttemptEnd,
    },
    /// The trial waits at a rung until the scheduler decides about it.
    TrialPaused {
        /// The trial.
        trial: TrialId,
    },
    /// A trial that lost its process (or was interrupted) waits to be started again.
    TrialRequeued {
        /// The trial.
        trial: TrialId,
    },
    /// A trial that came to nothing waits to go on from a good checkpoint with a smaller learning rate.
    TrialRescued {
        /// The trial.
        trial: TrialId,
        /// What was changed, and where it goes on.
        rescue: Rescued,
    },
    /// The trial reached its end and has a value.
    TrialCompleted {
        /// The trial.
        trial: TrialId,
    },
    /// The trial was stopped before its end.
    TrialStopped {
        /// The trial.
        trial: TrialId,
        /// Why.
        reason: StopReason,
    },
    /// The trial could not be brought to an end.
    TrialFailed {
        /// The trial.
        trial: TrialId,
        /// Why.
        reason: FailReason,
    },
    /// The user asked for something, and it was granted.
    UserRequest {
        /// What.
        #[serde(flatten)]
        request: Request,
        /// The trial's whole configuration since then, when values of it were set.
        #[serde(
            default,
            rename = "config_now",
            skip_serializing_if = "Option::is_none"
        )]
        config: Option<Config>,
    },
    /// The machine slept, or its clock was set: between `from` and this event no time passed for the
    /// study, whatever the clock says.
    ClockMoved {
        /// The last moment before.
        from: Timestamp,
    },
    /// Nobody ran the study between `from` and this event: what follows was asked for between two
    /// sessions, and no time passed for the study.
    Unattended {
        /// The last event of the session before.
        from: Timestamp,
    },
    /// No new trials are started in this session; running ones go on to their end.
    DrainRequested,
    /// There is nothing left to do, or nothing more shall be done.
    StudyEnded {
        /// Why.
        end: StudyEnd,
    },
}

impl EventKind {
    /// The trial that it is about, if it is about one.
    #[must_use]
    pub fn trial(&self) -> Option<TrialId> {
        match self {
            Self::TrialSuggested { trial, .. }
            | Self::TrialImported { trial, .. }
            | Self::ConfirmationSuggested { trial, .. }
            | Self::TrialRepeating { trial }
            | Self::RepeatSuggested { trial, .. }
            | Self::RepeatsGivenUp { trial, .. }
            | Self::TrialForked { trial, .. }
            | Self::AttemptLaunching { trial, .. }
            | Self::TrialWaiting { trial, .. }
            | Self::MemoryMeasured { trial, .. }
            | Self::AttemptStarted { trial, .. }
            | Self::Reported { trial, .. }
            | Self::Found { trial, .. }
            | Self::StopRequested { trial, .. }
            | Self::AttemptEnded { trial, .. }
            | Self::TrialPaused { trial }
            | Self::TrialRequeued { trial }
            | Self::TrialRescued { trial, .. }
            | Self::TrialCompleted { trial }
            | Self::TrialStopped { trial, .. }
            | Self::TrialFailed { trial, .. } => Some(*trial),
            _ => None,
        }
    }
}

/// Which code a session's trials run, in short; the files of it lie in the study's directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeNote {
    /// A checksum over the code: commit, changes and new files, or the program's files.
    pub code: String,
    /// The commit checked out, where there is a git repository.
    #[serde(default)]
    pub commit: Option<String>,
    /// Whether there were changes since that commit.
    #[serde(default)]
    pub dirty: bool,
    /// The directory in which trials run.
    pub work_dir: String,
    /// The study file, where one was given.
    #[serde(default)]
    pub study_file: Option<String>,
    /// Version of the program.
    #[serde(default)]
    pub hpo_version: String,
    /// What the Python that trials are run with says of its version.
    #[serde(default)]
    pub interpreter: Option<String>,
    /// The file with the whole of it, from the study's directory.
    pub file: String,
}

/// What becomes of a trial when its process has been ended on purpose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "intent", rename_all = "snake_case")]
pub enum StopIntent {
    /// It waits at a rung.
    Pause,
    /// It is over.
    Stop {
        /// Why.
        reason: StopReason,
    },
    /// It is put back, to go on in a later session.
    Requeue,
    /// It is put back, to go on when there is memory for it.
    MakeRoom {
        /// The numbers, for people.
        evidence: String,
        /// The memory is needed now: the process gets no time to end by itself.
        at_once: bool,
    },
    /// Its process has fallen silent: it is tried again, or fails.
    Stall {
        /// For how long, for people.
        evidence: String,
    },
    /// It goes back to a good checkpoint and on from there with a smaller learning rate.
    Rescue {
        /// What is changed, and where it goes on.
        rescue: Rescued,
    },
}

/// Why a trial was stopped before its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum StopReason {
    /// The scheduler saw no hope in it.
    Pruned {
        /// The rule and the numbers, for people.
        evidence: String,
    },
    /// Its metric was not finite, or worse than a model that knows nothing and not coming back.
    Diverged {
        /// The rule and the numbers, for people.
        evidence: String,
    },
    /// It stood at what a model that knows nothing gets, or had lost most of what it had learned.
    Stuck {
        /// The rule and the numbers, for people.
        evidence: String,
    },
    /// It never left what a model that knows nothing gets.
    NoProgress {
        /// The rule and the numbers, for people.
        evidence: String,
    },
    /// The user wished it.
    User,
    /// The study's time was up.
    TimeCap,
    /// Its own time was up (`failure.trial_time_limit`).
    TimeLimit {
        /// How long it ran, for people.
        evidence: String,
    },
}

impl StopReason {
    /// The reason in one word, as in the documented JSON.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Pruned { .. } => "pruned",
            Self::Diverged { .. } => "diverged",
            Self::Stuck { .. } => "stuck",
            Self::NoProgress { .. } => "no_progress",
            Self::User => "user",
            Self::TimeCap => "time_cap",
            Self::TimeLimit { .. } => "time_limit",
        }
    }

    /// Whether the configuration itself is to blame, so that the search should keep away from it:
    /// the training diverged, got stuck or never began. The other reasons say nothing of that kind.
    #[must_use]
    pub fn is_infeasible(&self) -> bool {
        match self {
            Self::Diverged { .. } | Self::Stuck { .. } | Self::NoProgress { .. } => true,
            Self::Pruned { .. } | Self::User | Self::TimeCap | Self::TimeLimit { .. } => false,
        }
    }

    /// The numbers behind it, in words, where there are any.
    #[must_use]
    pub fn evidence(&self) -> Option<&str> {
        match self {
            Self::Pruned { evidence }
            | Self::Diverged { evidence }
            | Self::Stuck { evidence }
            | Self::NoProgress { evidence }
            | Self::TimeLimit { evidence } => Some(evidence),
            Self::User | Self::TimeCap => None,
        }
    }
}

/// Why a trial failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum FailReason {
    /// Its process ended with an error, more often than it may.
    Crash {
        /// How it ended, for people: `exit code 1`, `killed by SIGSEGV`.
        how: String,
        /// The last lines it wrote to stderr.
        stderr: String,
    },
    /// Its process could not be started at all.
    NotStarted {
        /// The system's words.
        error: String,
    },
    /// Its process ended well but never reported the objective.
    NoMetric {
        /// Which metrics it did report, for people.
        #[serde(default = "never_reported")]
        evidence: String,
        /// The last lines it printed.
        #[serde(default)]
        output: String,
    },
    /// Its process vanished, more often than it may.
    Lost,
    /// It needs more memory than it may have.
    Oom {
        /// The numbers, for people.
        evidence: String,
        /// How often it was tried; 0: what it needs is more than the limit, so it was not.
        tried: u32,
    },
    /// Its processes fell silent (`failure.stall_timeout`).
    Stalled {
        /// For how long, for people.
        evidence: String,
    },
}

/// What older logs mean.
fn never_reported() -> String {
    "its process ended well, but never reported the objective".to_owned()
}

impl FailReason {
    /// The reason in one word, as in the documented JSON.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Crash { .. } => "crash",
            Self::NotStarted { .. } => "not_started",
            Self::NoMetric { .. } => "no_metric",
            Self::Lost => "lost",
            Self::Oom { .. } => "oom",
            Self::Stalled { .. } => "stalled",
        }
    }

    /// Whether the configuration is to blame, as far as one can know: it crashed, never reported, or
    /// needs too much memory.
    /// A process that was lost or could not be started says nothing of its configuration.
    #[must_use]
    pub fn is_infeasible(&self) -> bool {
        matches!(
            self,
            Self::Crash { .. } | Self::NoMetric { .. } | Self::Oom { .. }
        )
    }
}

/// How an attempt's process ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "snake_case")]
pub enum AttemptEnd {
    /// It left with this exit code.
    Exited {
        /// The exit code.
        code: i32,
        /// The last lines it wrote to stderr, when the code is not 0; when it is, and the objective was never
        /// reported, the last lines it wrote.
        stderr: String,
    },
    /// A signal ended it.
    Signaled {
        /// The signal's number.
        signal: i32,
        /// The last lines it wrote to stderr.
        stderr: String,
    },
    /// There was not enough memory for it.
    OutOfMemory {
        /// Its exit code; `None`: a signal ended it.
        code: Option<i32>,
        /// The signal's number.
        signal: Option<i32>,
        /// How that is known.
        oom: Oom,
        /// The last lines it wrote to stderr.
        stderr: String,
    },
    /// It could not be started.
    NotStarted {
        /// The system's words.
        error: String,
    },
    /// It is gone and nobody saw how: the coordinator was gone too.
    Lost,
}

/// Why a study ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum StudyEnd {
    /// Every trial it may run has run.
    RunCap,
    /// Its time is up.
    TimeCap,
    /// The sampler has nothing more to propose.
    SpaceExhausted,
    /// Too many trials in a row failed, as a rule all alike.
    Failures {
        /// What went wrong, for people.
        detail: String,
    },
}
