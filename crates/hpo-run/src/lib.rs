//! Performs the engine's commands: processes, files, signals, time.
//!
//! One loop, [`run`], takes in everything that happens (reports, ends of processes, signals, time),
//! hands it to the engine, writes the engine's events into the store, and only then performs what
//! they ask for. One turn of the loop is one commit. Where processes run is behind the `Executor`
//! trait; `executor/local.rs` runs them on this machine, by way of a [`warden`] that outlives the
//! coordinator, so that the next one can adopt them. Nothing of a trial that was ended survives,
//! grandchildren included.
//!
//! This crate must never decide anything about trials: that is the engine's room.

mod alone;
pub mod checkpoints;
mod clock;
mod control;
mod coordinator;
mod error;
mod executor;
mod files;
pub mod gpu;
mod importing;
mod inherit;
mod job;
mod logging;
mod notify;
mod program;
mod rerun;
mod room;
mod session;
mod snapshot;
mod spares;
mod wishes;

pub use alone::running_alone;
pub use control::{CONTROL, ask};
pub use coordinator::{Outcome, RunOptions, View, run};
pub use error::RunError;
pub use executor::warden::{WARDEN_COMMAND, warden};
pub use files::{BEST, LOG};
pub use importing::{begin, import};
pub use logging::init_logging;
pub use notify::{Told, notify_test};
pub use program::interpreter;
pub use rerun::{Again, Rerun, RerunOptions, Said};
pub use snapshot::{About, Snapshot};
