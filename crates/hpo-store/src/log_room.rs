//! Room in the write-ahead log, made before it is needed.
//!
//! A commit ends when the log is on the disk. As long as the log grows, that means two writes one after the
//! other: the data, and then the file's new length. Where the room is there already it is the data alone (on ext4 two fifths more commits per second: docs/performance.md). Zeros after the last
//! commit are no part of the log to SQLite: every frame of it carries a checksum and the log's salt
//! (<https://www.sqlite.org/fileformat2.html#the_write_ahead_log>).

use std::fs::{self, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

/// Pages after which SQLite carries the log over into the database and begins it anew, at its start.
pub(crate) const PAGES: u32 = 250;

/// Bytes of room: those pages as frames (a page of 4096 bytes and 24 of header), and a commit that reaches beyond them.
const ROOM: u64 = 1 << 20;

/// The write-ahead log of a database.
pub(crate) fn path(database: &Path) -> PathBuf {
    let mut log = database.as_os_str().to_owned();
    log.push("-wal");
    log.into()
}

/// Makes the room, where the log exists and is shorter. Only for the connection that holds the study's lock,
/// after it has read the log: what is valid in it stays as it is.
///
/// # Errors
/// What the disk refuses. The study can go on without.
pub(crate) fn make(database: &Path) -> io::Result<()> {
    let log = path(database);
    let length = fs::metadata(&log)?.len();
    if length >= ROOM {
        return Ok(());
    }
    let mut file = OpenOptions::new().write(true).open(&log)?;
    file.seek(SeekFrom::Start(length))?;
    let missing = usize::try_from(ROOM - length).unwrap_or(0);
    // Zeros that are written, not a hole: a hole would cost the second write again when it is filled.
    file.write_all(&vec![0; missing])?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{same, small_study};
    use crate::{DATABASE, Store};

    #[test]
    fn there_is_room_and_what_a_crash_leaves_in_it_is_read_up_to_the_last_commit() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = small_study(dir.path());
        store.append(&store.load().unwrap()[1..2]).unwrap();
        let database = dir.path().join(DATABASE);
        assert_eq!(fs::metadata(path(&database)).unwrap().len(), ROOM);
        // The files as a crash at this moment leaves them.
        let crashed = tempfile::tempdir().unwrap();
        let copy = crashed.path().join(DATABASE);
        fs::copy(&database, &copy).unwrap();
        fs::copy(path(&database), path(&copy)).unwrap();
        let expected = store.load().unwrap();
        assert!(same(
            &Store::open(crashed.path()).unwrap().load().unwrap(),
            &expected
        ));
        drop(store);
        assert!(
            !path(&database).exists(),
            "closed in order, a study is one file"
        );
    }

    #[test]
    fn a_log_with_commits_in_it_keeps_them() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = small_study(dir.path());
        store.append(&store.load().unwrap()[1..2]).unwrap();
        let database = dir.path().join(DATABASE);
        // Cut back to what is in use, as another version of this program leaves it.
        let crashed = tempfile::tempdir().unwrap();
        let copy = crashed.path().join(DATABASE);
        fs::copy(&database, &copy).unwrap();
        let log = fs::read(path(&database)).unwrap();
        let used = log.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        fs::write(path(&copy), &log[..used]).unwrap();
        let opened = Store::open(crashed.path()).unwrap();
        assert!(same(&opened.load().unwrap(), &store.load().unwrap()));
        assert_eq!(fs::metadata(path(&copy)).unwrap().len(), ROOM);
    }
}
