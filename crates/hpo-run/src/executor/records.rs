//! What a warden leaves on the disk about an attempt, for coordinators to come: who its process is,
//! and how it ended. One file of each per attempt, so that nothing of an old one is taken for a new.

use std::fs;
use std::io;
use std::path::Path;

use hpo_study::AttemptNumber;
use serde::{Deserialize, Serialize};

use super::identity::Identity;
use crate::files::{TrialFiles, write_atomically};

/// The process of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessRecord {
    /// Its mark.
    pub(crate) word: String,
    #[serde(flatten)]
    pub(crate) identity: Identity,
}

/// How an attempt ended. Written when nothing of it is left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ExitRecord {
    /// The mark of its process.
    pub(crate) word: String,
    #[serde(flatten)]
    pub(crate) exit: Exit,
    /// The most main memory that one of its processes held, in bytes, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) peak: Option<u64>,
    /// When, in milliseconds since 1970.
    pub(crate) at: u64,
    /// The machine's life in which it ended: what it had written by then may be lost with it.
    pub(crate) boot: String,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Exit {
    /// With an exit code.
    Code(i32),
    /// By a signal.
    Signal(i32),
}

impl Exit {
    pub(crate) fn of(status: std::process::ExitStatus) -> Self {
        use std::os::unix::process::ExitStatusExt as _;
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, Some(signal)) => Self::Signal(signal),
            // Neither: it was only stopped, which is not asked for.
            (None, None) => Self::Code(1),
        }
    }
}

impl ProcessRecord {
    /// Half a record, after a crash, is none; there is no need to rename.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let json = serde_json::to_vec(self).map_err(io::Error::other)?;
        hpo_store::private::write(path, &json)
    }

    pub(crate) fn read(files: &TrialFiles, attempt: AttemptNumber) -> Option<Self> {
        serde_json::from_slice(&fs::read(files.process_record(attempt)).ok()?).ok()
    }
}

impl ExitRecord {
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let json = serde_json::to_vec(self).map_err(io::Error::other)?;
        write_atomically(path, &json, false)
    }

    pub(crate) fn read(files: &TrialFiles, attempt: AttemptNumber) -> Option<Self> {
        serde_json::from_slice(&fs::read(files.exit_record(attempt)).ok()?).ok()
    }
}
