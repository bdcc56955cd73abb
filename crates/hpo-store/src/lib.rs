//! The study database: append events, read them back, tables for people.
//!
//! A study is the log of its events (`hpo_study::Event`). This room keeps the log in one SQLite file,
//! `<study directory>/study.db`, so that an event is on the disk before anything is done because of
//! it, and so that people can look with any SQLite tool: the views are in `docs/database.md`.
//!
//! Only one process at a time may write; it holds the file `<study directory>/lock`. Anybody may
//! [`read`] meanwhile. This crate must never decide anything: what events mean is `History`'s to say.

mod brief;
mod error;
mod lock;
mod log_room;
pub mod private;
mod reports;
mod samples;
mod schema;
mod store;

pub use brief::read_brief;
pub use error::StoreError;
pub use lock::Lock;
pub use samples::MOST_SAMPLES;
pub use schema::FORMAT;
pub use store::{DATABASE, LOCK, Store, exists, gpu_samples, lock, opening, read, replay};
