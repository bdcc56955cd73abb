//! Trials and memory: what is known of GPUs and of the main memory, what a trial is taken to need, where
//! it is placed, and what is done when there is not enough.
//!
//! All of it is pure: readings come in with the [`Inventory`](crate::Inventory), decisions go out as
//! events. A reading that is not known is `None`, never a number.

mod account;
mod features;
mod ledger;
mod model;
pub mod oom;
mod place;
mod pool;
mod regression;
mod relief;

pub use account::{GROWTH, QUIET_AFTER, REPORTS};
pub(crate) use ledger::Ledger;
pub(crate) use place::Place;

/// A GPU as it was last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// What names it for good: `GPU-…`, or `MIG-…` for a part of one.
    pub uuid: String,
    /// Its number, as `nvidia-smi` counts.
    pub index: u32,
    /// Its maker's name for it.
    pub name: String,
    /// Whether it can be used.
    pub health: Health,
    /// Its memory; `None`: unknown.
    pub memory: Option<GpuMemory>,
    /// The processes that use it; `None`: unknown.
    pub processes: Option<Vec<GpuProcess>>,
    /// How much of the time it computed lately, in percent.
    pub utilization: Option<u32>,
    /// In degrees Celsius.
    pub temperature: Option<i32>,
}

/// Whether a GPU can be used.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Health {
    /// It is there.
    #[default]
    Present,
    /// It fell off the bus, or the driver says that it cannot be used.
    Lost {
        /// The driver's words.
        why: String,
    },
}

/// The memory of a GPU in bytes. What is neither used nor reserved is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GpuMemory {
    /// All of it.
    pub total: u64,
    /// What processes use, without what the driver reserves for itself.
    pub used: u64,
    /// What the driver reserves for itself; 0 where it counts that as used.
    pub reserved: u64,
}

/// A process that uses a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GpuProcess {
    /// Its process id on the host.
    pub pid: u32,
    /// What it uses, in bytes; `None`: unknown.
    pub memory: Option<u64>,
}

/// What the processes of an attempt use, all together, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrialUsage {
    /// The trial.
    pub trial: hpo_study::TrialId,
    /// The attempt.
    pub attempt: hpo_study::AttemptNumber,
    /// The GPU's UUID; `None`: it uses none.
    pub gpu: Option<String>,
    /// GPU memory at present; `None`: unknown.
    pub gpu_memory: Option<u64>,
    /// The most GPU memory since the attempt began, as far as anybody looked; `None`: unknown.
    pub gpu_peak: Option<u64>,
    /// Main memory at present; `None`: unknown.
    pub host_memory: Option<u64>,
    /// The most main memory since the attempt began; `None`: unknown.
    pub host_peak: Option<u64>,
}

/// The main memory of the machine (or of the control group that limits it), in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostMemory {
    /// All of it.
    pub total: u64,
    /// What can still be had without swapping.
    pub available: u64,
}
