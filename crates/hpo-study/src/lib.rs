//! The study as pure data: search space, checked study file, ids, events, and the history that
//! events fold into; and the words that `hpo` and a trial's process use with each other.
//!
//! Everything above speaks in these types. This crate must never do I/O or read a clock.

pub mod causes;
pub mod changes;
pub mod command;
pub mod confirm;
pub mod control;
pub mod divergence;
pub mod event;
mod evidence;
pub mod front;
pub mod gpu_sample;
pub mod history;
pub mod id;
pub mod import;
pub mod law;
pub mod measured;
pub mod memory;
pub mod need;
pub mod normal;
pub mod plan;
pub mod population;
pub mod printout;
pub mod prior;
pub mod proposal;
pub mod protocol;
pub mod repeats;
pub mod schema;
pub mod seed;
pub mod space;
pub mod spec;
pub mod stay;
pub mod storage;
pub mod study_file;
pub mod warm_start;

pub use confirm::{Confirm, Confirmed};
pub use divergence::{Divergence, DivergencePolicy, Finding, NoProgress, Rescue, Rescued, Verdict};
pub use event::{
    AttemptEnd, CodeNote, Event, EventKind, FailReason, StopIntent, StopReason, StudyEnd,
};
pub use gpu_sample::{GpuSample, TrialShare};
pub use history::{Attempt, Change, Curve, History, HistoryError, Steps, Trial, TrialState};
pub use hpo_recipe::{Config, Value};
pub use id::{AttemptNumber, Timestamp, TrialId};
pub use import::{ImportAs, ImportBatch, ImportEntry, ImportTrial, Origin};
pub use law::Law;
pub use measured::Measured;
pub use memory::{
    Assignment, Device, Devices, Fallback, GpuShare, GpuSpec, LimitFor, MemoryKind, MemorySeen,
    Oom, OomPolicy, WaitReason, Waiting,
};
pub use printout::{Known, MetricPattern, PatternForm, Stream};
pub use prior::{Belief, Confidence, Prior, Priors};
pub use space::{Branch, Clause, Condition, Domain, Parameter, Scale, Space};
pub use spec::{
    CommandJob, Cpu, EarlyTerminate, Failure, Goal, Job, Method, Metric, Notify, NotifyEvent,
    OnCrash, Rungs, StudySpec, TrainerSpec,
};
pub use storage::{KeepCheckpoints, Storage};
pub use warm_start::WarmStart;
