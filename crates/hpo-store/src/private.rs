//! What a study has on the disk is its owner's alone, whatever the umask, and is never reached through
//! a link that somebody else could have put there: in a directory that others may write to, such as
//! `/tmp`, a name says nothing of who made what stands under it.
//!
//! A directory of mode 700 keeps others from everything below it, so it is made or mended first, and
//! only then is anything in it looked at.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;

use nix::fcntl::OFlag;

use crate::error::StoreError;

/// What group and others may do.
const OTHERS: u32 = 0o077;

/// Makes a study's directory if it is not there, and those above it as the umask has them. One that is
/// open to others is closed to them.
///
/// # Errors
/// [`StoreError::Unsafe`] when it, or anything that stands in it, is a link or somebody else's; and
/// whatever the system refuses.
pub fn directory(path: &Path) -> Result<(), StoreError> {
    let io = |error| StoreError::io(path, error);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|error| match error.kind() {
            // A file, or a link that leads nowhere.
            io::ErrorKind::AlreadyExists => no_directory(parent),
            _ => StoreError::no_directory(parent, error),
        })?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(StoreError::no_directory(path, error));
        }
        _ => {}
    }
    let found = fs::symlink_metadata(path).map_err(io)?;
    check(path, &found)?;
    if !found.is_dir() {
        return Err(no_directory(path));
    }
    close(path, &found).map_err(io)?;
    for entry in fs::read_dir(path).map_err(io)? {
        let path = entry.map_err(io)?.path();
        // It may be gone again: the draft of a file that was put in its place.
        let Ok(found) = fs::symlink_metadata(&path) else {
            continue;
        };
        check(&path, &found)?;
        close(&path, &found).map_err(|error| StoreError::io(&path, error))?;
    }
    Ok(())
}

fn no_directory(path: &Path) -> StoreError {
    StoreError::Unsafe {
        path: path.to_owned(),
        why: "it is no directory: remove it, or keep the studies elsewhere (--dir)".to_owned(),
    }
}

/// Refuses what is a link, somebody else's, or no file or directory at all.
fn check(path: &Path, found: &fs::Metadata) -> Result<(), StoreError> {
    let kind = found.file_type();
    let refuse = |why: &str| {
        let (path, why) = (path.to_owned(), why.to_owned());
        Err(StoreError::Unsafe { path, why })
    };
    if kind.is_symlink() {
        return refuse(
            "it is a symbolic link, and could lead anywhere: remove it, and keep the studies \
             elsewhere with --dir if that was its purpose",
        );
    }
    if found.uid() != nix::unistd::geteuid().as_raw() {
        return refuse(
            "it belongs to another user: run the study as that user, or in a directory of your own (--dir)",
        );
    }
    if kind.is_fifo() || kind.is_char_device() || kind.is_block_device() {
        return refuse("it is neither a file nor a directory: remove it");
    }
    Ok(())
}

/// Takes from others what they may do with a file or directory. A file system that knows no modes (FAT, some
/// network drives) says so with "not permitted", of what is ours: who may read there is decided where it is mounted.
fn close(path: &Path, found: &fs::Metadata) -> io::Result<()> {
    let mode = found.mode() & 0o7777;
    if mode & OTHERS == 0 || found.file_type().is_socket() {
        return Ok(());
    }
    match fs::set_permissions(path, Permissions::from_mode(mode & !OTHERS)) {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::PermissionDenied
                    | io::ErrorKind::Unsupported
                    | io::ErrorKind::NotFound
            ) =>
        {
            Ok(())
        }
        other => other,
    }
}

/// Makes a directory and those above it that are missing, for the owner alone.
///
/// # Errors
/// The system's words; [`io::ErrorKind::NotADirectory`] when a link stands there.
pub fn create_dir_all(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink()) {
        return Err(io::Error::new(
            io::ErrorKind::NotADirectory,
            "it is a symbolic link, and could lead anywhere: remove it",
        ));
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Options to open a file with that is the owner's alone if it is made. A link is not followed, and a
/// pipe that stands there is not waited for.
#[must_use]
pub fn options() -> OpenOptions {
    let mut options = File::options();
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    options.mode(0o600).custom_flags(flags.bits());
    options
}

/// Writes a file, new or in place of what it held.
///
/// # Errors
/// The system's words.
pub fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut options = options();
    let mut file = options.write(true).create(true).truncate(true).open(path)?;
    file.write_all(content)
}

/// Opens a file to read it, which may be a link's: only a plain file, since anything else could keep its
/// reader waiting forever.
///
/// # Errors
/// The system's words; [`io::ErrorKind::InvalidInput`] when it is no plain file.
pub fn open_plain(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    let file = options
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is no plain file",
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn a_study_is_made_and_kept_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let study = dir.path().join("runs/study");
        directory(&study).unwrap();
        assert_eq!(mode(&study), 0o700);
        fs::write(study.join("old.log"), "").unwrap();
        for path in [study.clone(), study.join("old.log")] {
            fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
        }
        directory(&study).unwrap();
        assert_eq!(mode(&study), 0o700);
        assert_eq!(mode(&study.join("old.log")), 0o700);
        write(&study.join("new.log"), b"words").unwrap();
        assert_eq!(mode(&study.join("new.log")), 0o600);
        create_dir_all(&study.join("trials/0")).unwrap();
        assert_eq!(mode(&study.join("trials")), 0o700);
    }

    #[test]
    fn links_are_refused_at_the_door_and_inside() {
        let dir = tempfile::tempdir().unwrap();
        let elsewhere = dir.path().join("elsewhere");
        directory(&elsewhere).unwrap();
        let study = dir.path().join("study");
        symlink(&elsewhere, &study).unwrap();
        let refused = directory(&study).unwrap_err();
        assert!(matches!(refused, StoreError::Unsafe { .. }), "{refused}");
        assert!(create_dir_all(&study).is_err());
        fs::remove_file(&study).unwrap();
        directory(&study).unwrap();
        for name in ["study.db", "lock", "log.jsonl", "trials", "study.db-wal"] {
            let link = study.join(name);
            symlink(elsewhere.join("victim"), &link).unwrap();
            assert!(directory(&study).is_err(), "{name}");
            assert!(write(&link, b"x").is_err(), "{name}");
            fs::remove_file(&link).unwrap();
        }
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
    }

    #[test]
    fn what_is_no_directory_is_said_to_be_none() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let nowhere = dir.path().join("nowhere");
        symlink(dir.path().join("absent"), &nowhere).unwrap();
        for (path, what) in [
            (file.clone(), &file),
            (file.join("study"), &file),
            (nowhere.join("study"), &nowhere),
        ] {
            let said = directory(&path).unwrap_err().to_string();
            let meant = format!("{} is not used: it is no directory", what.display());
            assert!(said.starts_with(&meant), "{said}");
        }
    }

    #[test]
    fn a_pipe_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("metrics.jsonl");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(open_plain(&pipe).is_err());
        assert!(write(&pipe, b"x").is_err());
        assert!(open_plain(Path::new("/dev/zero")).is_err());
        let refused = directory(dir.path()).unwrap_err();
        assert!(refused.to_string().contains("neither"), "{refused}");
    }
}
