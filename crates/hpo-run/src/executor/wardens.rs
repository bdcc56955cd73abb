//! The wardens of dead sessions: which of them are still there, and that none of them will start
//! anything more.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};

use super::identity::Identity;
use crate::error::RunError;

/// The directory in which wardens tell of themselves, in a study's directory.
const WARDENS: &str = "wardens";
/// How long a warden may take to see that its coordinator is gone.
const PATIENCE: Duration = Duration::from_secs(5);

/// Makes the directory for their records.
pub(super) fn directory(study_dir: &Path) -> Result<PathBuf, RunError> {
    let path = study_dir.join(WARDENS);
    hpo_store::private::create_dir_all(&path).map_err(RunError::io(&path))?;
    Ok(path)
}

/// The wardens of earlier sessions that live. When this returns, none of them starts a process any
/// more, and whatever one was starting can be seen.
/// Call it before a warden of this session is started.
pub(super) fn earlier(study_dir: &Path) -> Vec<Identity> {
    let entries = fs::read_dir(study_dir.join(WARDENS));
    let entries = entries.into_iter().flatten().flatten();
    let mut living = Vec::new();
    let mut killed = false;
    for path in entries.map(|entry| entry.path()) {
        let Ok(file) = File::open(&path) else {
            continue;
        };
        let identity = read(&path);
        if let Some(warden) = &identity
            && !gives_way(&file)
            && warden.lives()
        {
            // It was stopped, or hangs. Its trials run on without it.
            tracing::warn!(
                pid = warden.pid,
                "a warden of an earlier session does not answer: killed"
            );
            let _ = kill(warden.pid(), Signal::SIGKILL);
            gives_way(&file);
        }
        match identity.filter(Identity::lives) {
            Some(warden) => living.push(warden),
            None => {
                killed = true;
                let _ = fs::remove_file(&path);
            }
        }
    }
    if killed {
        // What a warden was starting when it was killed may get its mark only now.
        thread::sleep(Duration::from_millis(50));
    }
    living
}

fn read(path: &Path) -> Option<Identity> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Waits until the warden gives up its lock, which it holds for as long as it may start a process.
fn gives_way(file: &File) -> bool {
    let start = Instant::now();
    loop {
        if file.try_lock().is_ok() {
            return true;
        }
        if start.elapsed() > PATIENCE {
            return false;
        }
        thread::sleep(Duration::from_millis(2));
    }
}
