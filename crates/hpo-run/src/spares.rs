//! Trial directories made ahead of time. Making files costs as much as starting a process (more on
//! a network drive), so a thread of its own does it while the loop waits for the disk; a trial's
//! start is then a rename.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, JoinHandle};

use hpo_store::private;

use crate::files::TrialFiles;

/// How many are kept ready: those of one turn of the loop.
const READY: usize = 2;
const PREFIX: &str = ".spare-";

/// Empty trial directories, ready to be renamed. Those that nobody took are removed in the end.
#[derive(Debug)]
pub(crate) struct Spares {
    trials: PathBuf,
    ready: Option<Receiver<PathBuf>>,
    maker: Option<JoinHandle<()>>,
}

impl Spares {
    /// Begins to make directories beside those of the trials. What an earlier session left of them
    /// is removed. No trouble is reported: who gets no spare directory makes one and sees.
    pub(crate) fn start(study_dir: &Path) -> Self {
        let trials = study_dir.join("trials");
        remove_all(&trials);
        let (sender, ready) = sync_channel(READY - 1);
        let place = trials.clone();
        let make = move || {
            for number in 0_u64.. {
                let path = place.join(format!("{PREFIX}{number}"));
                if make_one(&path).is_err() || sender.send(path).is_err() {
                    return;
                }
            }
        };
        let maker = thread::Builder::new()
            .name("spares".to_owned())
            .spawn(make)
            .ok();
        Self {
            trials,
            ready: Some(ready),
            maker,
        }
    }

    /// Makes a trial's directory if it is not there: with an empty file for each of its outputs, and
    /// a place for checkpoints.
    ///
    /// # Errors
    /// The system's words.
    pub(crate) fn place(&self, files: &TrialFiles) -> io::Result<()> {
        let is_link = fs::symlink_metadata(&files.dir).is_ok_and(|found| found.is_symlink());
        if files.checkpoints.is_dir() && !is_link {
            return Ok(());
        }
        let spare = self.ready.as_ref().and_then(|ready| ready.try_recv().ok());
        if let Some(spare) = spare
            && !is_link
            && fs::rename(&spare, &files.dir).is_ok()
        {
            return Ok(());
        }
        private::create_dir_all(&files.dir)?;
        private::create_dir_all(&files.checkpoints)
    }
}

impl Drop for Spares {
    fn drop(&mut self) {
        // The maker's next word finds nobody listening.
        self.ready = None;
        if let Some(maker) = self.maker.take() {
            let _ = maker.join();
        }
        remove_all(&self.trials);
    }
}

fn make_one(path: &Path) -> io::Result<()> {
    let files = TrialFiles::at(path.to_owned());
    private::create_dir_all(&files.checkpoints)?;
    for file in [&files.params, &files.stdout, &files.stderr] {
        private::write(file, b"")?;
    }
    Ok(())
}

fn remove_all(trials: &Path) {
    for entry in fs::read_dir(trials).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use hpo_study::TrialId;

    use super::*;

    #[test]
    fn directories_come_whole_and_none_is_left_over() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("trials/.spare-77/checkpoints")).unwrap();
        let spares = Spares::start(dir.path());
        for trial in 0..10 {
            let files = TrialFiles::new(dir.path(), TrialId(trial));
            spares.place(&files).unwrap();
            assert!(files.checkpoints.is_dir());
            fs::write(files.checkpoints.join("state"), "x").unwrap();
            spares.place(&files).unwrap();
            assert!(files.has_checkpoint(), "a directory in use is left alone");
        }
        drop(spares);
        let left = fs::read_dir(dir.path().join("trials")).unwrap().count();
        assert_eq!(left, 10);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("trials"), "a file is in the way").unwrap();
        let spares = Spares::start(dir.path());
        assert!(
            spares
                .place(&TrialFiles::new(dir.path(), TrialId(0)))
                .is_err()
        );
    }
}
