//! A trial begins from a copy of another's checkpoints: made before its first process starts, and whole or not at all.
//!
//! A copy and no links: a script may write over its checkpoint in place, and what it began from belongs to other
//! trials, too. Where the file system can share what is equal (Btrfs, XFS), copying takes neither time nor room.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use hpo_store::private;
use hpo_study::TrialId;

use crate::error::RunError;
use crate::files::TrialFiles;

/// Copies a trial's checkpoints to another that has none yet. A copy that was cut off is made anew. Gives back why
/// there is nothing to begin from, if so.
///
/// # Errors
/// The system's words, as when the disk is full; nothing is left of the copy then.
pub(crate) fn checkpoints(
    study_dir: &Path,
    from: TrialId,
    to: &TrialFiles,
) -> Result<Option<String>, RunError> {
    if to.has_checkpoint() {
        return Ok(None);
    }
    let source = TrialFiles::new(study_dir, from);
    if !source.has_checkpoint() {
        return Ok(Some(format!(
            "trial {from} left no checkpoint in HPO_CHECKPOINT_DIR, and this trial was to go on from it: with `method: pbt` a \
             script saves one when it ends at HPO_BUDGET, and begins from HPO_RESUME_FROM"
        )));
    }
    let partial = beside(&to.checkpoints);
    let made = remove(&partial)
        .and_then(|()| copy(&source.checkpoints, &partial))
        .and_then(|()| fs::rename(&partial, &to.checkpoints))
        .and_then(|()| sync(&to.dir));
    match made {
        Ok(()) => Ok(None),
        Err(error) => {
            // A full disk has no room for half a copy.
            let _ = remove(&partial);
            Err(RunError::io(&to.checkpoints)(error))
        }
    }
}

/// Where a copy is made before it is renamed into its place.
fn beside(directory: &Path) -> PathBuf {
    let mut name = OsString::from(directory.as_os_str());
    name.push(".partial");
    PathBuf::from(name)
}

fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Copies a directory with all that is in it, and has it written to the disk. Links stay links; what is neither file, directory
/// nor link (a socket that a script left) is no checkpoint.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    private::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy(&entry.path(), &target)?;
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(entry.path())?, &target)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), &target)?;
            let copied = File::open(&target)?;
            // Scripts that look for the newest file find the same one.
            if let Ok(written) = entry.metadata().and_then(|m| m.modified()) {
                let _ = copied.set_modified(written);
            }
            copied.sync_all()?;
        }
    }
    sync(to)
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trials() -> (tempfile::TempDir, TrialFiles, TrialFiles) {
        let dir = tempfile::tempdir().unwrap();
        let files = [0, 1].map(|n| TrialFiles::new(dir.path(), TrialId(n)));
        for files in &files {
            fs::create_dir_all(&files.checkpoints).unwrap();
        }
        let [from, to] = files;
        (dir, from, to)
    }

    #[test]
    fn all_is_copied_and_the_copy_is_its_own() {
        let (dir, from, to) = trials();
        fs::create_dir_all(from.checkpoints.join("deep")).unwrap();
        fs::write(from.checkpoints.join("deep/weights"), "old").unwrap();
        std::os::unix::fs::symlink("deep", from.checkpoints.join("last")).unwrap();
        assert_eq!(checkpoints(dir.path(), TrialId(0), &to).unwrap(), None);
        let copied = to.checkpoints.join("last/weights");
        assert_eq!(fs::read_to_string(&copied).unwrap(), "old");
        fs::write(&copied, "new").unwrap();
        let theirs = fs::read_to_string(from.checkpoints.join("deep/weights")).unwrap();
        assert_eq!(theirs, "old");
        // What the trial has written itself is not written over.
        assert_eq!(checkpoints(dir.path(), TrialId(0), &to).unwrap(), None);
        assert_eq!(fs::read_to_string(&copied).unwrap(), "new");
    }

    #[test]
    fn half_a_copy_is_made_anew_and_a_missing_checkpoint_is_told() {
        let (dir, from, to) = trials();
        let why = checkpoints(dir.path(), TrialId(0), &to).unwrap().unwrap();
        assert!(why.contains("trial 0 left no checkpoint"), "{why}");
        let partial = beside(&to.checkpoints);
        fs::create_dir_all(&partial).unwrap();
        fs::write(partial.join("half"), "x").unwrap();
        fs::write(from.checkpoints.join("weights"), "w").unwrap();
        assert_eq!(checkpoints(dir.path(), TrialId(0), &to).unwrap(), None);
        assert!(!partial.exists() && !to.checkpoints.join("half").exists());
        assert!(to.checkpoints.join("weights").exists());
    }

    #[test]
    fn what_cannot_be_copied_leaves_nothing_behind() {
        let (dir, from, to) = trials();
        fs::write(from.checkpoints.join("weights"), "w").unwrap();
        // A file stands where the copy would be renamed to.
        fs::remove_dir(&to.checkpoints).unwrap();
        fs::write(&to.checkpoints, "").unwrap();
        assert!(checkpoints(dir.path(), TrialId(0), &to).is_err());
        assert!(!beside(&to.checkpoints).exists());
    }
}
