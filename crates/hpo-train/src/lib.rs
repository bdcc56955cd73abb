//! The built-in trainer: real data, small networks, every optimizer of the catalogue, checkpoints
//! with exact resume. It runs in a child process and speaks the same protocol as any user script.
//!
//! This crate must never know the orchestrator: it reads a configuration and a few environment
//! variables, and writes lines.

mod chance;
pub mod checkpoint;
pub mod data;
pub mod environment;
pub mod error;
pub mod nn;
pub mod optimizer;
pub mod report;
pub mod rng;
pub mod run;
pub mod settings;
pub mod trainer;

pub use data::chance_loss;
pub use environment::run_from_environment;
pub use error::TrainError;
pub use report::EpochReport;
pub use run::{Outcome, TrainJob, run};
pub use settings::{KnownParameter, known_parameters};
