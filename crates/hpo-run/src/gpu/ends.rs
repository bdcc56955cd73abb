//! Ends of processes for want of memory, told from other ends: by their last words, and by what was left of the
//! main memory. The rules are the engine's; what they need is gathered here.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use hpo_engine::Input;
use hpo_engine::gpu::oom::{HostEvidence, LOOKED_AT, recognize};
use hpo_study::{AttemptEnd, History, Trial, TrialState};

use super::processes::{kernel_kills, machine_memory};
use crate::files::TrialFiles;
use crate::session::AttemptId;

const SIGKILL: i32 = 9;

/// What has to be remembered of attempts to understand their ends.
#[derive(Debug, Default)]
pub(super) struct Ends {
    /// How many processes the kernel had killed for want of memory when an attempt began.
    kills_before: BTreeMap<AttemptId, Option<u64>>,
}

impl Ends {
    /// An attempt runs.
    pub(super) fn began(&mut self, id: AttemptId) {
        self.kills_before.entry(id).or_insert_with(kernel_kills);
    }

    /// Says so if a process ended for want of memory and nobody here had asked it to end.
    pub(super) fn understand(&mut self, input: &mut Input, history: &History, study_dir: &Path) {
        let Input::Ended {
            trial,
            attempt,
            end,
        } = input
        else {
            return;
        };
        let id = AttemptId {
            trial: *trial,
            attempt: *attempt,
        };
        let before = self.kills_before.remove(&id).flatten();
        let (code, signal, last) = match end {
            AttemptEnd::Exited { code, stderr } if *code != 0 => (Some(*code), None, stderr),
            AttemptEnd::Signaled { signal, stderr } => (None, Some(*signal), stderr),
            _ => return,
        };
        let is_stopping = |trial: &Trial| matches!(trial.state, TrialState::Stopping(_));
        if history.trial(*trial).is_none_or(is_stopping) {
            return;
        }
        let killed = signal == Some(SIGKILL) || code == Some(128 + SIGKILL);
        let evidence = if killed {
            evidence(before)
        } else {
            HostEvidence::default()
        };
        let files = TrialFiles::new(study_dir, *trial);
        let said = tail(&files.stderr, files.offsets(*attempt).stderr).unwrap_or_default();
        if let Some(oom) = recognize(code, signal, &said, evidence) {
            *end = AttemptEnd::OutOfMemory {
                code,
                signal,
                oom,
                stderr: std::mem::take(last),
            };
        }
    }
}

fn evidence(kills_before: Option<u64>) -> HostEvidence {
    let share =
        |memory: hpo_engine::gpu::HostMemory| memory.available as f64 / memory.total.max(1) as f64;
    HostEvidence {
        kills: kernel_kills()
            .zip(kills_before)
            .map(|(now, before)| now.saturating_sub(before)),
        available: machine_memory().map(share),
    }
}

/// The end of a file, beginning at `from` at the earliest.
fn tail(path: &Path, from: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let most = LOOKED_AT as u64;
    file.seek(SeekFrom::Start(from.max(length.saturating_sub(most))))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
