//! What can keep a study from being run.

use std::io;
use std::path::{Path, PathBuf};

use hpo_store::StoreError;
use hpo_study::HistoryError;
use thiserror::Error;

/// Why a study could not be run, or not be run to its end. Whatever happened up to then is in the
/// store, and the same command takes the study up again.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// The study file was changed in a way that a study that has begun cannot take.
    #[error("a study that has begun cannot take these changes:{}", .changes.iter().map(|change| format!("\n  - {change}")).collect::<String>())]
    SpecChanged {
        /// The changes, in words.
        changes: Vec<String>,
    },
    /// The study database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log of the study does not add up.
    #[error("the study's log does not add up: {0}")]
    History(#[from] HistoryError),
    /// A file or directory cannot be used.
    #[error("{}: {source}", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// The system refuses to start any process.
    #[error("no process could be started for {seconds} s: {error}")]
    NoProcess {
        /// For how long it was tried.
        seconds: u64,
        /// The system's words.
        error: String,
    },
    /// The process that minds the trials cannot be started.
    #[error("trials cannot be started: `{} warden`, the process of hpo that minds them: {source}", .program.display())]
    NoWarden {
        /// This program.
        program: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// The study is for GPUs, and this machine has none that it may use.
    #[error("the study is for GPUs (`gpu`), and this machine has none for it: {why}")]
    NoGpu {
        /// What is there instead.
        why: String,
    },
    /// Whoever runs the study does not answer a request.
    #[error("{0}")]
    NoAnswer(String),
    /// The system refuses something that every run needs.
    #[error("{what}: {source}")]
    System {
        /// What.
        what: &'static str,
        /// The system's words.
        source: io::Error,
    },
}

impl RunError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}
