//! Opening, appending and loading.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hpo_study::{AttemptNumber, Event, EventKind, GpuSample, Timestamp, TrialId};
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior, params};

use crate::error::StoreError;
use crate::lock::Lock;
use crate::{log_room, private, reports, samples, schema};

/// Name of the database in a study's directory.
pub const DATABASE: &str = "study.db";
/// Name of the lock file in a study's directory.
pub const LOCK: &str = "lock";

/// How long a study that is being opened waits for another program that writes to it, …
const OPENING: Duration = Duration::from_secs(10);
/// … and how long each commit does: who runs a study has other things to do, and tries again.
const COMMIT: Duration = Duration::from_secs(2);

const INSERT_EVENT: &str = "INSERT INTO events (seq, at, body) VALUES (?1, ?2, ?3)";
const INSERT_REPORT: &str =
    "INSERT INTO reports (seq, at, trial, attempt, step, metrics) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
const SELECT_EVENTS: &str = "SELECT seq, at, body FROM events ORDER BY seq";
const SELECT_REPORTS: &str =
    "SELECT seq, at, trial, attempt, step, metrics FROM reports ORDER BY seq";
const SELECT_STEPS: &str = "SELECT step FROM reports WHERE trial = ?1 AND attempt = ?2";
const LAST_SEQ: &str = "SELECT max(coalesce((SELECT max(seq) FROM events), 0), \
                                   coalesce((SELECT max(seq) FROM reports), 0))";

/// A study database open for writing; the only one of its study while it lives.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    /// Device and number of the open file.
    identity: (u64, u64),
    connection: Connection,
    last: i64,
    // After the connection: fields are dropped in order, and the lock goes last.
    _lock: Lock,
}

impl Store {
    /// Begins a study in `dir` (made if it is not there) with its first events. All or nothing:
    /// after a crash on the way there is no study.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when there is a study already, [`StoreError::Locked`] when another
    /// process is at it, and whatever the disk refuses.
    pub fn create(dir: &Path, events: &[Event]) -> Result<Self, StoreError> {
        private::directory(dir)?;
        let lock = Lock::take(&dir.join(LOCK))?;
        let path = dir.join(DATABASE);
        if path.exists() {
            return Err(StoreError::Exists { path });
        }
        // Made under another name and moved into place when whole.
        let draft = dir.join("study.db.new");
        for left in [draft.clone(), dir.join("study.db.new-journal")] {
            match fs::remove_file(&left) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(StoreError::io(&left, e));
                }
                _ => {}
            }
        }
        // SQLite gives its other files the mode of this one.
        private::write(&draft, b"").map_err(|e| StoreError::io(&draft, e))?;
        let sqlite = |e| StoreError::sqlite(&draft, e);
        let mut connection = Connection::open(&draft).map_err(sqlite)?;
        let transaction = connection.transaction().map_err(sqlite)?;
        schema::create(&transaction).map_err(sqlite)?;
        insert(&transaction, 0, events).map_err(sqlite)?;
        transaction.commit().map_err(sqlite)?;
        connection.close().map_err(|(_, e)| sqlite(e))?;
        fs::rename(&draft, &path).map_err(|e| StoreError::io(&path, e))?;
        sync_directory(dir)?;
        if let Some(parent) = dir.parent() {
            // Best effort: the parent may belong to somebody else.
            let _ = sync_directory(parent);
        }
        Self::with_lock(path, lock)
    }

    /// Takes up the study in `dir`.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when there is none, [`StoreError::Locked`] when another process runs
    /// it, [`StoreError::Newer`], [`StoreError::Foreign`] or [`StoreError::Damaged`] when it cannot be
    /// understood.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(DATABASE);
        if !path.exists() {
            return Err(StoreError::Missing { path });
        }
        private::directory(dir)?;
        let lock = Lock::take(&dir.join(LOCK))?;
        Self::with_lock(path, lock)
    }

    fn with_lock(path: PathBuf, lock: Lock) -> Result<Self, StoreError> {
        let open = || {
            let connection = Connection::open_with_flags(
                &path,
                OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
            )?;
            connection.busy_timeout(OPENING)?;
            Ok(connection)
        };
        let sqlite = |e| StoreError::sqlite(&path, e);
        let mut connection = open().map_err(sqlite)?;
        let format = schema::check(&connection, &path)?;
        check_length(&connection, &path)?;
        if format < schema::FORMAT || !schema::is_current(&connection).map_err(sqlite)? {
            schema::bring_up(&mut connection).map_err(sqlite)?;
        }
        let last = (|| {
            // With a write-ahead log, FULL makes every commit wait until it is on the disk.
            connection.pragma_update(None, "journal_mode", "wal")?;
            connection.pragma_update(None, "synchronous", "full")?;
            connection.pragma_update(None, "wal_autocheckpoint", log_room::PAGES)?;
            connection.busy_timeout(COMMIT)?;
            connection.query_row(LAST_SEQ, [], |row| row.get(0))
        })()
        .map_err(sqlite)?;
        // Only commits are slower without it.
        let _ = log_room::make(&path);
        let identity = identity(&path).map_err(|e| StoreError::io(&path, e))?;
        Ok(Self {
            path,
            identity,
            connection,
            last,
            _lock: lock,
        })
    }

    /// Adds events to the log. They are on the disk, all of them, when this returns; after an error
    /// or a crash none of them is.
    ///
    /// # Errors
    /// What the disk refuses: [`StoreError::Full`], [`StoreError::ReadOnly`] and others. [`StoreError::Busy`] when another
    /// program writes for long. [`StoreError::Gone`] when the file is no longer where it was: the system would go on writing to
    /// it, and forget it with this process.
    pub fn append(&mut self, events: &[Event]) -> Result<(), StoreError> {
        if events.is_empty() {
            return Ok(());
        }
        let last = self.last;
        let mut write = || {
            let transaction = self
                .connection
                .transaction_with_behavior(TransactionBehavior::Immediate)?;
            let last = insert(&transaction, last, events)?;
            transaction.commit()?;
            Ok(last)
        };
        self.last = write().map_err(|e| StoreError::sqlite(&self.path, e))?;
        self.check_place()
    }

    /// Looks whether the database is still where it was.
    ///
    /// # Errors
    /// [`StoreError::Gone`] when it is not.
    pub fn check_place(&self) -> Result<(), StoreError> {
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            Ok(())
        } else {
            let path = self.path.clone();
            Err(StoreError::Gone { path })
        }
    }

    /// Adds to the timeline of GPU memory, which is no part of the log.
    ///
    /// # Errors
    /// What the disk refuses.
    pub fn add_samples(&mut self, samples: &[GpuSample]) -> Result<(), StoreError> {
        if samples.is_empty() {
            return Ok(());
        }
        let mut write = || {
            let transaction = self
                .connection
                .transaction_with_behavior(TransactionBehavior::Immediate)?;
            samples::add(&transaction, samples)?;
            transaction.commit()
        };
        write().map_err(|e| StoreError::sqlite(&self.path, e))
    }

    /// Reads the whole log, in order.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when rows are missing or cannot be understood.
    pub fn load(&self) -> Result<Vec<Event>, StoreError> {
        load(&self.connection, &self.path)
    }

    /// Shows every event of the log in order, one at a time: a large log need not be in memory as a whole.
    ///
    /// # Errors
    /// As [`Store::load`], and the first one of `each`, which ends it.
    pub fn replay<E: From<StoreError>>(
        &self,
        each: impl FnMut(&Event) -> Result<(), E>,
    ) -> Result<(), E> {
        walk(&self.connection, &self.path, each)
    }

    /// How many reports of an attempt are in the log, and the last step among them.
    ///
    /// # Errors
    /// What the disk refuses.
    pub fn said(
        &self,
        trial: TrialId,
        attempt: AttemptNumber,
    ) -> Result<(usize, Option<u64>), StoreError> {
        let read = || {
            let mut steps = self.connection.prepare_cached(SELECT_STEPS)?;
            let mut rows = steps.query([trial.0, attempt.0])?;
            let mut said = (0, None);
            while let Some(row) = rows.next()? {
                said.0 += 1;
                said.1 = said.1.max(Some(row.get::<_, i64>(0)?.cast_unsigned()));
            }
            Ok(said)
        };
        read().map_err(|e| StoreError::sqlite(&self.path, e))
    }

    /// The database's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Takes the lock of the study in `dir`, so that nobody runs it meanwhile.
///
/// # Errors
/// [`StoreError::Locked`] when somebody does; [`StoreError::Missing`] when there is no study.
pub fn lock(dir: &Path) -> Result<Lock, StoreError> {
    let path = dir.join(DATABASE);
    if !path.exists() {
        return Err(StoreError::Missing { path });
    }
    Lock::take(&dir.join(LOCK))
}

/// Whether there is a study in `dir`.
#[must_use]
pub fn exists(dir: &Path) -> bool {
    dir.join(DATABASE).is_file()
}

/// Reads the log of the study in `dir` without taking its lock: for looking, also while a
/// coordinator writes. What was committed before the call is seen.
///
/// # Errors
/// As [`Store::open`], but never [`StoreError::Locked`].
pub fn read(dir: &Path) -> Result<Vec<Event>, StoreError> {
    let path = dir.join(DATABASE);
    load(&open_to_look(&path)?, &path)
}

/// Shows every event of the study in `dir` in order, one at a time; without its lock, as [`read`].
///
/// # Errors
/// As [`read`], and the first one of `each`, which ends it.
pub fn replay<E: From<StoreError>>(
    dir: &Path,
    each: impl FnMut(&Event) -> Result<(), E>,
) -> Result<(), E> {
    let path = dir.join(DATABASE);
    walk(&open_to_look(&path)?, &path, each)
}

fn open_to_look(path: &Path) -> Result<Connection, StoreError> {
    if !path.exists() {
        let path = path.to_owned();
        return Err(StoreError::Missing { path });
    }
    match open_shared(path) {
        // Readers of a write-ahead log need its index file, which cannot be made in a directory
        // that is read-only. Without a log nobody writes, and the file can be read as it lies.
        Err(StoreError::ReadOnly { .. }) => match File::open(path) {
            Err(source) => Err(StoreError::Closed {
                path: path.to_owned(),
                source,
            }),
            Ok(_) if has_log(path) => Err(StoreError::LogLeft {
                path: path.to_owned(),
            }),
            Ok(_) => open_unchanging(path),
        },
        result => result,
    }
}

/// The first event of the study in `dir`: the study as it was begun. Without its lock, as [`read`].
///
/// # Errors
/// As [`read`]; also [`StoreError::Sqlite`] when there is no event.
pub fn opening(dir: &Path) -> Result<Event, StoreError> {
    let path = dir.join(DATABASE);
    if !path.exists() {
        return Err(StoreError::Missing { path });
    }
    let connection = open_shared(&path)?;
    let row = connection.query_row(
        "SELECT seq, at, body FROM events WHERE seq = 1",
        [],
        |row| Ok(read_event(row)),
    );
    match row.map_err(|e| StoreError::sqlite(&path, e))? {
        Ok((_, event)) => Ok(event),
        Err(RowError::Sqlite(e)) => Err(StoreError::sqlite(&path, e)),
        Err(RowError::Json(seq, e)) => Err(unreadable(&path, seq, &e)),
    }
}

/// The timeline of GPU memory of the study in `dir`, oldest first; `last_only`: each GPU's last sample. Without
/// the study's lock, as [`read`].
///
/// # Errors
/// As [`read`].
pub fn gpu_samples(dir: &Path, last_only: bool) -> Result<Vec<GpuSample>, StoreError> {
    let path = dir.join(DATABASE);
    let connection = open_to_look(&path)?;
    samples::read(&connection, last_only).map_err(|e| e.at(&path))
}

fn unreadable(path: &Path, seq: i64, error: &serde_json::Error) -> StoreError {
    let words = error.to_string();
    let unknown = words.strip_prefix("unknown variant `");
    if let Some((word, _)) = unknown.and_then(|rest| rest.split_once('`')) {
        return StoreError::Unknown {
            path: path.to_owned(),
            seq,
            word: word.to_owned(),
        };
    }
    StoreError::Damaged {
        path: path.to_owned(),
        detail: format!("event {seq} cannot be read: {error}"),
    }
}

pub(crate) fn open_shared(path: &Path) -> Result<Connection, StoreError> {
    let open = || {
        let connection = Connection::open_with_flags(
            path,
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        connection.busy_timeout(OPENING)?;
        Ok(connection)
    };
    let connection = open().map_err(|e| StoreError::sqlite(path, e))?;
    schema::check(&connection, path)?;
    check_length(&connection, path)?;
    Ok(connection)
}

fn open_unchanging(path: &Path) -> Result<Connection, StoreError> {
    let escaped: String = path
        .to_string_lossy()
        .chars()
        .map(|c| match c {
            '%' => "%25".to_owned(),
            '?' => "%3f".to_owned(),
            '#' => "%23".to_owned(),
            c => c.to_string(),
        })
        .collect();
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(format!("file:{escaped}?immutable=1"), flags)
        .map_err(|e| StoreError::sqlite(path, e))?;
    schema::check(&connection, path)?;
    check_length(&connection, path)?;
    Ok(connection)
}

fn has_log(path: &Path) -> bool {
    fs::metadata(log_room::path(path)).is_ok_and(|m| m.len() > 0)
}

/// Refuses a file whose last page was cut: SQLite reads the missing part as zeros.
fn check_length(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, u32>(0));
    let pages = pragma("page_count").map_err(|e| StoreError::sqlite(path, e))?;
    let size = pragma("page_size").map_err(|e| StoreError::sqlite(path, e))?;
    let length = fs::metadata(path)
        .map_err(|e| StoreError::io(path, e))?
        .len();
    // Looked at last: pages of a log that came meanwhile are not in the file yet, and need not be.
    if length < u64::from(pages) * u64::from(size) && !has_log(path) {
        let detail = format!("it has {length} bytes, but {pages} pages of {size} bytes are due");
        return Err(StoreError::Damaged {
            path: path.to_owned(),
            detail,
        });
    }
    Ok(())
}

/// What tells a file from another that was put in its place.
fn identity(path: &Path) -> std::io::Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    let found = fs::metadata(path)?;
    Ok((found.dev(), found.ino()))
}

fn sync_directory(dir: &Path) -> Result<(), StoreError> {
    let dir = if dir.as_os_str().is_empty() {
        Path::new(".")
    } else {
        dir
    };
    File::open(dir)
        .and_then(|d| d.sync_all())
        .map_err(|e| StoreError::io(dir, e))
}

/// Inserts events after number `last`; gives back the last number used.
fn insert(transaction: &Transaction<'_>, last: i64, events: &[Event]) -> rusqlite::Result<i64> {
    let mut seq = last;
    let mut add_event = transaction.prepare_cached(INSERT_EVENT)?;
    let mut add_report = transaction.prepare_cached(INSERT_REPORT)?;
    for event in events {
        seq += 1;
        let at = signed(event.at.0);
        match &event.kind {
            EventKind::Reported {
                trial,
                attempt,
                step,
                metrics,
            } => {
                let metrics = json(&reports::Written(metrics))?;
                add_report.execute(params![seq, at, trial.0, attempt.0, signed(*step), metrics])?
            }
            kind => add_event.execute(params![seq, at, json(kind)?])?,
        };
    }
    Ok(seq)
}

fn json(value: &impl serde::Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))
}

/// SQLite's integers are signed; the pattern of bits is what is kept.
fn signed(x: u64) -> i64 {
    x.cast_signed()
}

fn load(connection: &Connection, path: &Path) -> Result<Vec<Event>, StoreError> {
    let mut events = Vec::new();
    walk(connection, path, |event| {
        events.push(event.clone());
        Ok::<_, StoreError>(())
    })?;
    Ok(events)
}

/// Shows every event of the log in order, one at a time.
fn walk<E: From<StoreError>>(
    connection: &Connection,
    path: &Path,
    mut each: impl FnMut(&Event) -> Result<(), E>,
) -> Result<(), E> {
    let sqlite = |e| StoreError::sqlite(path, e);
    let wrong = |e| row_error(path, e);
    // One transaction, so that both tables are seen as of the same moment.
    let transaction = connection.unchecked_transaction().map_err(sqlite)?;
    let last: i64 = transaction
        .query_row(LAST_SEQ, [], |row| row.get(0))
        .map_err(sqlite)?;
    let mut other = transaction.prepare(SELECT_EVENTS).map_err(sqlite)?;
    let mut reported = transaction.prepare(SELECT_REPORTS).map_err(sqlite)?;
    let mut other = other.query_and_then([], read_event).map_err(sqlite)?;
    let mut reported = reports::Spoken::of(reported.query([]).map_err(sqlite)?);
    let mut event = other.next().transpose().map_err(wrong)?;
    let mut report = reported.next().map_err(wrong)?;
    for seq in 1..=last {
        if report == Some(seq) {
            each(reported.event())?;
            report = reported.next().map_err(wrong)?;
        } else if let Some((_, due)) = event.take_if(|(found, _)| *found == seq) {
            each(&due)?;
            event = other.next().transpose().map_err(wrong)?;
        } else {
            let (path, detail) = (path.to_owned(), format!("event {seq} is missing"));
            return Err(StoreError::Damaged { path, detail }.into());
        }
    }
    Ok(())
}

/// A row that could not be read, as an error of its database.
pub(crate) fn row_error(path: &Path, error: RowError) -> StoreError {
    match error {
        RowError::Sqlite(e) => StoreError::sqlite(path, e),
        RowError::Json(seq, e) => unreadable(path, seq, &e),
    }
}

pub(crate) type RowResult = Result<(i64, Event), RowError>;

pub(crate) enum RowError {
    Sqlite(rusqlite::Error),
    Json(i64, serde_json::Error),
}

impl From<rusqlite::Error> for RowError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

pub(crate) fn read_event(row: &rusqlite::Row<'_>) -> RowResult {
    let seq: i64 = row.get(0)?;
    let at = Timestamp(row.get::<_, i64>(1)?.cast_unsigned());
    let body = row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?;
    let kind: EventKind = serde_json::from_str(body).map_err(|e| RowError::Json(seq, e))?;
    Ok((seq, Event { at, kind }))
}

pub(crate) fn read_report(row: &rusqlite::Row<'_>) -> RowResult {
    let seq: i64 = row.get(0)?;
    let at = Timestamp(row.get::<_, i64>(1)?.cast_unsigned());
    let text = row.get_ref(5)?.as_str().map_err(rusqlite::Error::from)?;
    let metrics: BTreeMap<String, f64> = serde_json::from_str::<reports::Read>(text)
        .map_err(|e| RowError::Json(seq, e))?
        .0;
    let kind = EventKind::Reported {
        trial: TrialId(row.get(2)?),
        attempt: AttemptNumber(row.get(3)?),
        step: row.get::<_, i64>(4)?.cast_unsigned(),
        metrics,
    };
    Ok((seq, Event { at, kind }))
}

#[cfg(test)]
pub(crate) mod tests;
