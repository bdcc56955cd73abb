//! What the engine and the shell around it say to each other.

use hpo_study::protocol::Report;
use hpo_study::{Assignment, AttemptEnd, AttemptNumber, Config, Timestamp, TrialId};

use crate::gpu::{Gpu, HostMemory, TrialUsage};

/// Something that happened outside.
///
/// What is said of an unknown trial, an older attempt, or one that has ended is passed over. The
/// shell gives an attempt's reports before its end.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// Time passed.
    Tick,
    /// The process of an attempt runs: it was started, or found running by a new coordinator.
    Started {
        /// The trial.
        trial: TrialId,
        /// The attempt.
        attempt: AttemptNumber,
        /// Its process id.
        pid: u32,
    },
    /// The process of an attempt said something, be it no report: it is alive. Reports say so by themselves.
    Heard {
        /// The trial.
        trial: TrialId,
        /// The attempt.
        attempt: AttemptNumber,
    },
    /// The process of an attempt reported metrics.
    Reported {
        /// The trial.
        trial: TrialId,
        /// The attempt.
        attempt: AttemptNumber,
        /// What it said.
        report: Report,
    },
    /// The process of an attempt is gone (or never came to be), and all of its group with it.
    Ended {
        /// The trial.
        trial: TrialId,
        /// The attempt.
        attempt: AttemptNumber,
        /// How.
        end: AttemptEnd,
    },
    /// An attempt that is to be started cannot be at present: there is no room on the disk, or for another process.
    NotNow {
        /// The trial.
        trial: TrialId,
        /// The attempt.
        attempt: AttemptNumber,
    },
    /// Start nothing new; what runs goes on to its end. The first Ctrl-C.
    Drain,
    /// End what runs and put it back, to go on in a later session. The second Ctrl-C.
    Interrupt,
}

/// What of the machine can be used at present.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inventory {
    /// How many trials may have a process at once: the smaller of the machine's cores and the
    /// study's limit. With 0 nothing is started, and a study does not come to its end.
    pub cpu_slots: u32,
    /// The GPUs that the study may use, as they were last seen, in the order of their numbers.
    pub gpus: Vec<Gpu>,
    /// What the attempts that have not ended use, where that is known.
    pub usage: Vec<TrialUsage>,
    /// The main memory; `None`: unknown.
    pub host: Option<HostMemory>,
    /// When all that was read; `None`: just now.
    pub read_at: Option<Timestamp>,
    /// The driver has been asked again and takes long to answer: what is said here of GPUs may no longer be so.
    pub is_stale: bool,
    /// There is no GPU that the study may use, and it makes do with the CPU.
    pub cpu_only: bool,
}

impl Inventory {
    /// A machine of which only the places for processes are known.
    #[must_use]
    pub fn slots(cpu_slots: u32) -> Self {
        Self {
            cpu_slots,
            ..Self::default()
        }
    }
}

/// Something that was decided and that the shell is to perform.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Start a process. Answered by [`Input::Started`] or an [`Input::Ended`].
    Launch {
        /// The trial.
        trial: TrialId,
        /// The attempt.
        attempt: AttemptNumber,
        /// The configuration.
        config: Config,
        /// The trial's seed (`HPO_SEED`), the same for all of its attempts.
        seed: u32,
        /// The step after which the process is to stop (`HPO_BUDGET`); `None`: at its end.
        target: Option<u64>,
        /// Whether the trial had an attempt before, which may have left checkpoints.
        resume: bool,
        /// The trial whose checkpoints it begins from, which are to be copied before its first process starts; `None`: it
        /// begins afresh.
        parent: Option<TrialId>,
        /// Only checkpoints that are not after this step count (`HPO_RESUME_STEP`); `None`: all do.
        resume_step: Option<u64>,
        /// What of the machine is set aside for it; `None`: that is not counted.
        assignment: Option<Assignment>,
    },
    /// End the process. Answered by [`Input::Ended`].
    Stop {
        /// The trial.
        trial: TrialId,
        /// The attempt.
        attempt: AttemptNumber,
        /// Its memory is needed now: it gets no time to end by itself.
        at_once: bool,
    },
}
