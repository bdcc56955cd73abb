//! The control channel: a directory in the study's, for its owner alone, into which requests are put
//! and in which answers are found. Files outlive both sides, work with paths of any length and on
//! network drives, and nothing listens where others could knock.
//!
//! A request is `<name>.ask`, which whoever runs the study renames to `<name>.taken` and answers by
//! `<name>.answer`. Until it is taken its sender can withdraw it.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hpo_engine::Engine;
use hpo_store::{Store, StoreError};
use hpo_study::control::{Answer, LONGEST_REQUEST, Request};
use hpo_study::{Event, EventKind, Timestamp};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::clock;
use crate::coordinator::recall;
use crate::error::RunError;
use crate::executor::identity::Identity;
use crate::executor::orphans;
use crate::files::write_atomically;
use crate::session::Session;

/// Name of the directory, in a study's directory.
pub const CONTROL: &str = "control";

/// The files that lie beside a request to import: the trials.
pub(crate) const TRIALS: &str = "trials";

/// How long a request waits to be taken, and then to be answered.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often an answer is looked for.
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// Where requests come in.
#[derive(Debug)]
pub(crate) struct Desk {
    directory: PathBuf,
}

/// A request that has not been answered yet.
#[derive(Debug)]
pub(crate) struct Ticket {
    name: String,
}

impl Desk {
    /// Opens the channel. What an earlier session left is answered: ask again. What nobody has taken and
    /// whose sender still waits stays: it was asked while this session was starting.
    ///
    /// # Errors
    /// When the directory cannot be made, or is somebody else's.
    pub(crate) fn open(study_dir: &Path) -> Result<Self, RunError> {
        let directory = make_directory(study_dir)?;
        let desk = Self { directory };
        for name in desk.names(&["ask", "taken", "answer", "new"]) {
            if is_awaited(&name) && !desk.path(&name, "taken").exists() {
                continue;
            }
            for kind in ["answer", "new", "ask", "taken"] {
                let path = desk.path(&name, kind);
                let asked = kind == "ask" || kind == "taken";
                if fs::remove_file(path).is_ok() && asked {
                    let why = "hpo had ended before it could answer";
                    let hint = "`hpo status` shows what holds; then ask again";
                    desk.answer(
                        &Ticket { name: name.clone() },
                        &Answer::refused_with_hint(why, hint),
                    );
                }
            }
        }
        // What was to be imported, and whoever asked for it has gone.
        for name in desk.names(&[TRIALS]) {
            if !is_awaited(&name) {
                let _ = fs::remove_file(desk.path(&name, TRIALS));
            }
        }
        Ok(desk)
    }

    /// The requests that have come in, in order.
    pub(crate) fn take(&self) -> Vec<(Ticket, Result<Request, String>)> {
        let names = self.names(&["ask"]);
        let take = |name: String| {
            let taken = self.path(&name, "taken");
            fs::rename(self.path(&name, "ask"), &taken).ok()?;
            let request = read(&taken)
                .map_err(|error| format!("the request cannot be read: {error}"))
                .and_then(|bytes| Request::parse(&bytes));
            Some((Ticket { name }, request))
        };
        names.into_iter().filter_map(take).collect()
    }

    /// Answers a request.
    pub(crate) fn answer(&self, ticket: &Ticket, answer: &Answer) {
        let json = serde_json::to_vec(answer).map_err(io::Error::other);
        let path = self.path(&ticket.name, "answer");
        if let Err(error) = json.and_then(|json| write_atomically(&path, &json, false)) {
            tracing::warn!(%error, "a request cannot be answered");
        }
        let _ = fs::remove_file(self.path(&ticket.name, "taken"));
    }

    fn path(&self, name: &str, kind: &str) -> PathBuf {
        self.directory.join(format!("{name}.{kind}"))
    }

    fn names(&self, kinds: &[&str]) -> Vec<String> {
        let entries = fs::read_dir(&self.directory);
        let entries = entries.into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let (name, kind) = name.rsplit_once('.')?;
                kinds.contains(&kind).then(|| name.to_owned())
            })
            .collect();
        names.sort();
        names.dedup();
        names
    }
}

pub(crate) fn make_directory(study_dir: &Path) -> Result<PathBuf, RunError> {
    let directory = study_dir.join(CONTROL);
    let make = || {
        match DirBuilder::new().mode(0o700).create(&directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let there = fs::symlink_metadata(&directory)?;
        if !there.is_dir() || there.uid() != nix::unistd::geteuid().as_raw() {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "it is not a directory of yours: remove it",
            ));
        }
        if there.mode() & 0o077 != 0 {
            fs::set_permissions(&directory, Permissions::from_mode(0o700))?;
        }
        Ok(())
    };
    make().map_err(RunError::io(&directory))?;
    Ok(directory)
}

/// Reads a request, and no more of it than one can be long.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    read_most(path, LONGEST_REQUEST as u64 + 1)
}

/// Reads a file of the user's own, up to a length.
pub(crate) fn read_most(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    let there = file.metadata()?;
    if !there.is_file() || there.uid() != nix::unistd::geteuid().as_raw() {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "not a file of yours",
        ));
    }
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Asks something of whoever runs the study in `study_dir`, or, when nobody does, of the study itself:
/// it is then done in the next session. What is granted is durable when this returns.
///
/// # Errors
/// When the study cannot be read or written, or whoever runs it does not answer.
pub fn ask(study_dir: &Path, request: &Request) -> Result<Answer, RunError> {
    let mut first = true;
    loop {
        let holder = match between_sessions(study_dir, request) {
            Err(RunError::Store(StoreError::Locked { pid })) => pid.filter(|_| first),
            other => return other,
        };
        if let Some(answer) = ask_coordinator(study_dir, request, holder)? {
            return Ok(answer);
        }
        // Of one that cannot be seen from here nobody knows when it ends.
        first = false;
    }
}

/// The name of a request that this process makes now.
pub(crate) fn name_of_request() -> String {
    format!("{:020}-{}", since_1970().as_nanos(), std::process::id())
}

/// Whether the process that made the request of this name is there and can still wait for the answer.
fn is_awaited(name: &str) -> bool {
    let awaited = || {
        let (nanos, pid) = name.split_once('-')?;
        let age = since_1970().checked_sub(Duration::from_nanos(nanos.parse().ok()?))?;
        let pid = pid.parse().ok().filter(|pid| *pid > 0)?;
        let lives = kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH);
        Some(lives && age < PATIENCE)
    };
    awaited().unwrap_or(false)
}

fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Asks whoever runs the study; `None`: that was `holder`, which has ended before it had taken the request.
pub(crate) fn ask_coordinator(
    study_dir: &Path,
    request: &Request,
    holder: Option<u32>,
) -> Result<Option<Answer>, RunError> {
    let directory = make_directory(study_dir)?;
    let desk = Desk { directory };
    let name = name_of_request();
    let io = RunError::io(&desk.directory);
    let put = || {
        let json = serde_json::to_vec(request).map_err(io::Error::other)?;
        write_atomically(&desk.path(&name, "ask"), &json, false)
    };
    put().map_err(io)?;
    let mut start = Instant::now();
    let mut taken = false;
    loop {
        if let Ok(bytes) = read(&desk.path(&name, "answer")) {
            let _ = fs::remove_file(desk.path(&name, "answer"));
            return serde_json::from_slice(&bytes).map(Some).map_err(|error| {
                RunError::NoAnswer(format!("the answer is not understood: {error}"))
            });
        }
        let lives = |pid: u32| Identity::of(pid.cast_signed()).lives();
        if holder.is_some_and(|pid| !lives(pid)) && fs::remove_file(desk.path(&name, "ask")).is_ok()
        {
            return Ok(None);
        }
        if start.elapsed() > PATIENCE {
            if taken {
                let why = "the request was taken and never answered: `hpo status` shows what holds";
                return Err(RunError::NoAnswer(why.to_owned()));
            }
            // From here on nobody can take it any more, or somebody has.
            if fs::remove_file(desk.path(&name, "ask")).is_ok() {
                let seconds = PATIENCE.as_secs();
                return Err(RunError::NoAnswer(format!(
                    "whoever runs the study has not answered for {seconds} s; nothing was changed"
                )));
            }
            (taken, start) = (true, Instant::now());
        }
        thread::sleep(BETWEEN_LOOKS);
    }
}

/// The present moment of a study that nobody runs, and the events that come before all that is asked of it
/// now: what passed since it was left is no running time.
pub(crate) fn unattended(engine: &mut Engine) -> Result<(Timestamp, Vec<Event>), RunError> {
    let from = engine.history().last_event();
    let now = clock::now().max(from);
    let events = match engine.history().in_session() {
        true => engine.record(now, EventKind::Unattended { from })?,
        false => Vec::new(),
    };
    Ok((now, events))
}

/// Asks of a study that nobody runs.
fn between_sessions(study_dir: &Path, request: &Request) -> Result<Answer, RunError> {
    let mut store = Store::open(study_dir)?;
    let nobody = "nothing runs this study at present";
    let hint = "`hpo run` with its study file goes on with it";
    match request {
        Request::Pause | Request::Stop => return Ok(Answer::refused_with_hint(nobody, hint)),
        Request::Resume => return Ok(Answer::refused_with_hint(nobody, hint)),
        Request::Cancel => return end_processes(study_dir, &store),
        _ => {}
    }
    let mut engine = recall(&store)?;
    let (now, mut events) = unattended(&mut engine)?;
    let (done, answer) = engine.ask(now, request.clone())?;
    if !done.is_empty() {
        events.extend(done);
        store.append(&events)?;
    }
    Ok(match answer {
        Answer::Done { words } => Answer::done(format!("{words} (with the next `hpo run`)")),
        refused @ Answer::Refused { .. } => refused,
    })
}

/// Ends the trials of a coordinator that died. The store is held meanwhile, so nobody adopts them.
fn end_processes(study_dir: &Path, store: &Store) -> Result<Answer, RunError> {
    let log = store.load()?;
    let history = hpo_study::History::replay(&log)?;
    let session = Session::new(study_dir, history.opened(), 0).map_err(RunError::io(study_dir))?;
    let of_study = session.of_study();
    let found = orphans::marks(&of_study).len();
    if found == 0 {
        return Ok(Answer::refused(
            "nothing runs this study, and none of its processes is left",
        ));
    }
    let left = orphans::kill_marked(&of_study, PATIENCE);
    Ok(if left == 0 {
        let (were, whose) = match found {
            1 => ("process was", "its trial"),
            _ => ("processes were", "their trials"),
        };
        Answer::done(format!(
            "{found} {were} ended; `hpo run` goes on with {whose}"
        ))
    } else {
        let processes = if left == 1 { "process" } else { "processes" };
        Answer::refused(format!("{left} {processes} cannot be ended"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_taken_once_and_answered_and_others_stay_out() {
        let dir = tempfile::tempdir().unwrap();
        let desk = Desk::open(dir.path()).unwrap();
        let mode = fs::metadata(dir.path().join(CONTROL)).unwrap().mode();
        assert_eq!(mode & 0o777, 0o700);
        let put =
            |name: &str, text: &str| fs::write(dir.path().join(CONTROL).join(name), text).unwrap();
        put("2.ask", r#"{"ask":"resume"}"#);
        put("1.ask", r#"{"ask":"pause"}"#);
        put("3.ask", "rubbish");
        put("4.ask", &"x".repeat(LONGEST_REQUEST + 10));
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join(CONTROL).join("5.ask")).unwrap();
        put("draft.new", "half");
        let taken = desk.take();
        let asked: Vec<_> = taken
            .iter()
            .map(|(_, request)| request.clone().ok())
            .collect();
        assert_eq!(
            asked,
            [
                Some(Request::Pause),
                Some(Request::Resume),
                None,
                None,
                None
            ]
        );
        assert!(taken[4].1.as_ref().unwrap_err().contains("cannot be read"));
        assert!(desk.take().is_empty());
        desk.answer(&taken[0].0, &Answer::done("yes"));
        assert!(dir.path().join(CONTROL).join("1.answer").exists());
        assert!(!dir.path().join(CONTROL).join("1.taken").exists());
        // The next session leaves nothing of that undone, and does nothing of it late.
        put("6.ask", r#"{"ask":"cancel"}"#);
        let next = Desk::open(dir.path()).unwrap();
        assert!(next.take().is_empty());
        let answer = fs::read_to_string(dir.path().join(CONTROL).join("6.answer")).unwrap();
        assert!(answer.contains("refused"), "{answer}");
    }

    #[test]
    fn what_is_asked_while_a_session_starts_is_heard_unless_its_sender_has_gone() {
        let dir = tempfile::tempdir().unwrap();
        let directory = make_directory(dir.path()).unwrap();
        let mine = name_of_request();
        let nobody = format!("{:020}-{}", since_1970().as_nanos(), i32::MAX);
        let old = format!("{:020}-{}", 1, std::process::id());
        for name in [&mine, &nobody, &old] {
            fs::write(directory.join(format!("{name}.ask")), r#"{"ask":"resume"}"#).unwrap();
            fs::write(directory.join(format!("{name}.trials")), "{}").unwrap();
        }
        let half = directory.join(format!("{}.new", name_of_request()));
        fs::write(&half, r#"{"ask":"#).unwrap();
        let taken = Desk::open(dir.path()).unwrap().take();
        assert!(half.exists(), "its sender is still writing it");
        let names: Vec<_> = taken
            .iter()
            .map(|(ticket, _)| ticket.name.clone())
            .collect();
        assert_eq!(names, std::slice::from_ref(&mine));
        for name in [&nobody, &old] {
            assert!(directory.join(format!("{name}.answer")).exists(), "{name}");
        }
        // And so with trials to be imported.
        let there = |name: &str| directory.join(format!("{name}.trials")).exists();
        assert_eq!(
            [&mine, &nobody, &old].map(|n| there(n)),
            [true, false, false]
        );
    }

    #[test]
    fn a_directory_that_is_a_link_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/tmp", dir.path().join(CONTROL)).unwrap();
        assert!(Desk::open(dir.path()).is_err());
    }
}
