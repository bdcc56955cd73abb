//! Room on the disk: whether there is enough to start a trial, and what a full disk explains.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hpo_engine::Input;
use hpo_store::StoreError;
use hpo_study::{AttemptEnd, History, TrialId};

use crate::error::RunError;

/// With less than this free no trial is started, …
const ENOUGH: u64 = 32 << 20;
/// … or with less than this share of a small disk.
const ENOUGH_SHARE: u64 = 50;
/// How often the disk is asked.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
/// For how long after a shortage it may be what ended a process.
const AFTERMATH: Duration = Duration::from_secs(5);

/// What could not be written (a checkpoint may be larger than what is enough otherwise) is tried again when more is free than was
/// then, or after this time, since not every shortage is seen (quotas, others who come and go), …
const FIRST_TRY: Duration = Duration::from_secs(15);
/// … which is doubled with every try in vain, up to this.
const LONGEST: Duration = Duration::from_secs(300);

/// Watches the room on the disk of a study's directory.
#[derive(Debug)]
pub(crate) struct Room {
    directory: PathBuf,
    looked: Option<Instant>,
    /// When it was last short.
    short: Option<Instant>,
    is_short: bool,
    failed: Option<Failed>,
}

/// Something could not be written.
#[derive(Debug)]
struct Failed {
    /// How much was free then.
    free: u64,
    /// When it is tried again, if no more is free until then.
    again: Instant,
    patience: Duration,
}

impl Room {
    pub(crate) fn of(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            looked: None,
            short: None,
            is_short: false,
            failed: None,
        }
    }

    /// Whether there is too little room to start a trial. Says so once, and once when there is room
    /// again.
    pub(crate) fn is_short(&mut self) -> bool {
        let now = Instant::now();
        if self
            .looked
            .is_none_or(|at| now.duration_since(at) >= BETWEEN_LOOKS)
        {
            self.looked = Some(now);
            if let Some((free, enough)) = free(&self.directory)
                && self.failed.as_ref().is_none_or(|f| free > f.free)
            {
                self.set(free < enough, free);
            }
        }
        if self.is_short {
            self.short = Some(now);
        }
        self.is_short && self.failed.as_ref().is_none_or(|f| now < f.again)
    }

    /// A trial could be started, with all that is written for it.
    pub(crate) fn is_there(&mut self) {
        if self.is_short {
            let free = free(&self.directory).map_or(0, |(free, _)| free);
            self.set(false, free);
        }
    }

    /// Something could not be written.
    pub(crate) fn is_full(&mut self) {
        let free = free(&self.directory).map_or(0, |(free, _)| free);
        self.set(true, free);
        let now = Instant::now();
        let patience = match &self.failed {
            Some(failed) if now < failed.again => failed.patience,
            Some(failed) => (failed.patience * 2).min(LONGEST),
            None => FIRST_TRY,
        };
        self.failed = Some(Failed {
            free,
            again: now + patience,
            patience,
        });
        // Looked at again soon, but not at once.
        self.looked = Some(Instant::now());
        self.short = self.looked;
    }

    fn set(&mut self, is_short: bool, free: u64) {
        if self.is_short == is_short {
            return;
        }
        self.is_short = is_short;
        if !is_short {
            self.failed = None;
        }
        let free = hpo_study::storage::size_words(free);
        if is_short {
            tracing::warn!(
                "no room on the disk of {} ({free} are free): no new trials are started until there is more; \
                 `hpo prune-runs` shows what can go",
                self.directory.display()
            );
        } else {
            tracing::warn!("there is room on the disk again ({free}): the study goes on");
        }
    }

    /// Adds to the end of a process that went wrong while the disk was full that it was: what such a
    /// process said last could not be written either.
    pub(crate) fn explain(&self, history: &History, inputs: &mut [Input]) {
        const WORDS: &str = "hpo: no space left on device while the process ran";
        if self.short.is_none_or(|at| at.elapsed() > AFTERMATH) {
            return;
        }
        let heard: BTreeSet<TrialId> = inputs
            .iter()
            .filter_map(|input| match input {
                Input::Reported { trial, .. } => Some(*trial),
                _ => None,
            })
            .collect();
        for input in inputs {
            let Input::Ended { trial, end, .. } = input else {
                continue;
            };
            let silent = || {
                let record = history.trial(*trial);
                !heard.contains(trial) && record.is_some_and(|t| t.curve.last().is_none())
            };
            match end {
                AttemptEnd::Exited { code: 0, .. } if !silent() => {}
                AttemptEnd::Exited { stderr, .. } | AttemptEnd::Signaled { stderr, .. } => {
                    if !stderr.is_empty() {
                        stderr.push('\n');
                    }
                    stderr.push_str(WORDS);
                }
                AttemptEnd::NotStarted { .. }
                | AttemptEnd::OutOfMemory { .. }
                | AttemptEnd::Lost => {}
            }
        }
    }
}

/// Whether something could not be done because there is no room on a disk.
pub(crate) fn is_full(error: &RunError) -> bool {
    match error {
        RunError::Store(StoreError::Full { .. }) => true,
        RunError::Io { source, .. } => matches!(
            source.kind(),
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
        ),
        _ => false,
    }
}

/// The free bytes of a directory's disk, and how many are enough. A disk without room for another file has
/// none free. `None` when it does not tell.
fn free(directory: &Path) -> Option<(u64, u64)> {
    let disk = nix::sys::statvfs::statvfs(directory).ok()?;
    let block = disk.fragment_size();
    let no_files = disk.files() > 0 && disk.files_available() == 0;
    let free = if no_files {
        0
    } else {
        disk.blocks_available() * block
    };
    Some((free, ENOUGH.min(disk.blocks() * block / ENOUGH_SHARE)))
}
