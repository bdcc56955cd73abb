//! What can go wrong with a study database, in words that say what to do.

use std::io;
use std::path::{Path, PathBuf};

use nix::sys::resource::{Resource, getrlimit};
use rusqlite::ErrorCode;
use thiserror::Error;

/// Why a study database could not be opened, read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process runs the study.
    #[error("the study is being run by another process{}", pid_words(*.pid))]
    Locked {
        /// Its process id, when the lock file tells it.
        pid: Option<u32>,
    },
    /// There is a study in the directory already.
    #[error("{} exists already", .path.display())]
    Exists {
        /// The database.
        path: PathBuf,
    },
    /// There is no study in the directory.
    #[error("{} does not exist", .path.display())]
    Missing {
        /// The database that was looked for.
        path: PathBuf,
    },
    /// The database was removed, moved away or replaced while it was open: what is written from now on
    /// could never be found again.
    #[error("{} was removed or replaced while the study ran: nothing more can be kept", .path.display())]
    Gone {
        /// Where it was.
        path: PathBuf,
    },
    /// What stands where the study's files belong could be somebody else's doing.
    #[error("{} is not used: {why}", .path.display())]
    Unsafe {
        /// The file or directory.
        path: PathBuf,
        /// Why, and what to do.
        why: String,
    },
    /// A directory that studies were to be kept in cannot be made.
    #[error("the directory {} cannot be made ({source}): keep the studies elsewhere (--dir)", .path.display())]
    NoDirectory {
        /// The first directory on the way that is missing.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// The file is something else.
    #[error("{} is not a study database: {why}", .path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// How that shows.
        why: String,
    },
    /// A newer program wrote the file.
    #[error("{} has format {found}; this program knows formats up to {known}: use a newer hpo", .path.display())]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format that this program knows.
        known: u32,
    },
    /// An event says what this program has no word for.
    #[error("{}: event {seq} says `{word}`, which this hpo does not know: use the one that wrote it, or a newer one", .path.display())]
    Unknown {
        /// The database.
        path: PathBuf,
        /// The event's number in the log.
        seq: i64,
        /// What it says.
        word: String,
    },
    /// The file is damaged.
    #[error("{} is damaged: {detail}", .path.display())]
    Damaged {
        /// The database.
        path: PathBuf,
        /// Where and how.
        detail: String,
    },
    /// There is no room left. Nothing of the refused events was written.
    #[error("no space left for {}", .path.display())]
    Full {
        /// The database.
        path: PathBuf,
    },
    /// A file has reached the limit on the size of files (`ulimit -f`). Nothing of the refused events was written.
    #[error("{} cannot grow beyond the limit on the size of files (`ulimit -f`), {} KiB", .path.display(), .limit / 1024)]
    TooLarge {
        /// The database.
        path: PathBuf,
        /// The limit, in bytes.
        limit: u64,
    },
    /// Nobody runs the study, its last coordinator was killed, and what it left cannot be read without writing.
    #[error(
        "{} cannot be read: its log (`{1}-wal`) was left by a crash, and to read it SQLite has to write `{1}-shm` beside it. \
         Copy the study's directory to where you may write, and look there (--dir)",
        .path.display(), crate::DATABASE
    )]
    LogLeft {
        /// The database.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("{} cannot be read: {source}", .path.display())]
    Closed {
        /// The database.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// Another program is writing to the file. Nothing of the refused events was written.
    #[error("{} is being written by another program", .path.display())]
    Busy {
        /// The database.
        path: PathBuf,
    },
    /// The file or its directory cannot be written.
    #[error("{} cannot be written: {detail}", .path.display())]
    ReadOnly {
        /// The database.
        path: PathBuf,
        /// The system's words.
        detail: String,
    },
    /// The system refused something else.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// SQLite refused something else.
    #[error("{}: {source}", .path.display())]
    Sqlite {
        /// The database.
        path: PathBuf,
        /// SQLite's words.
        source: rusqlite::Error,
    },
}

fn pid_words(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (process {pid})"))
        .unwrap_or_default()
}

/// Whether the system had no room.
fn has_filled(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

/// Whether the disk of a file has no room: what SQLite calls trouble with the disk when a quota is reached,
/// or when its index file cannot grow.
fn has_no_room(path: &Path) -> bool {
    const A_LITTLE: u64 = 1 << 20;
    let directory = path.parent().unwrap_or(path);
    let disk = nix::sys::statvfs::statvfs(directory);
    disk.is_ok_and(|disk| disk.blocks_available() * disk.fragment_size() < A_LITTLE)
}

/// The limit on the size of files, if the database, its log or its index has come to it: SQLite does not tell that from other
/// trouble with the disk.
fn reached_limit(path: &Path) -> Option<u64> {
    /// What may be missing to it: the index grows in such steps.
    const STEP: u64 = 32 << 10;
    let (limit, _) = getrlimit(Resource::RLIMIT_FSIZE).ok()?;
    let size = |end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        // Not there yet, it may be the one that could not be begun.
        std::fs::metadata(name).map_or(0, |file| file.len())
    };
    let largest = ["", "-wal", "-shm"].map(size).into_iter().max()?;
    (largest.saturating_add(STEP) > limit).then_some(limit)
}

impl StoreError {
    /// Sorts SQLite's error codes into what they mean for a study.
    pub(crate) fn sqlite(path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full { path },
            Some(ErrorCode::DatabaseBusy) => Self::Busy { path },
            Some(ErrorCode::SystemIoFailure) if has_no_room(&path) => Self::Full { path },
            Some(ErrorCode::SystemIoFailure) => match reached_limit(&path) {
                Some(limit) => Self::TooLarge { path, limit },
                None => Self::Sqlite { path, source },
            },
            Some(ErrorCode::NotADatabase) => Self::Foreign {
                path,
                why: "it is not an SQLite file".to_owned(),
            },
            Some(ErrorCode::DatabaseCorrupt) => Self::Damaged {
                path,
                detail: source.to_string(),
            },
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
                Self::ReadOnly {
                    path,
                    detail: source.to_string(),
                }
            }
            _ => Self::Sqlite { path, source },
        }
    }

    /// A directory, or one above it, cannot be made.
    pub(crate) fn no_directory(path: &Path, source: io::Error) -> Self {
        if has_filled(&source) {
            return Self::io(path, source);
        }
        let missing = path.ancestors().take_while(|above| !above.exists());
        Self::NoDirectory {
            path: missing.last().unwrap_or(path).to_owned(),
            source,
        }
    }

    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            _ if has_filled(&source) => Self::Full { path },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly {
                path,
                detail: source.to_string(),
            },
            _ => Self::Io { path, source },
        }
    }
}
