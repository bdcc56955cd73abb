//! The warden: a small process between a coordinator and its trials. It starts them, waits for them,
//! ends what they leave behind, and writes down how they ended. It outlives its coordinator, however
//! that comes to its end, for as long as one of its trials runs; or it ends them all, if the study
//! wants that.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hpo_store::private;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{Pid, getpgid};
use tokio::signal::unix::{SignalKind, signal};
use wait4::Wait4 as _;

use super::identity::{Identity, boot};
use super::link::Line;
use super::orphans;
use super::records::{Exit, ExitRecord, ProcessRecord};
use super::wire::{Order, Spawn, Word};
use crate::session::{AttemptId, attempt_of_word};

/// The program's hidden command that runs [`warden`], with the session's mark as its argument.
pub const WARDEN_COMMAND: &str = "warden";

/// How soon attempts are looked at again whose processes are just dying.
const VERY_SOON: Duration = Duration::from_millis(1);
/// For how long processes that were killed may take to go.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Minds the trials of a session, whose mark this is. The whole of the hidden command
/// [`WARDEN_COMMAND`]; its coordinator is at the other end of standard input, a socket.
pub fn warden(session: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    // Without a runtime or a socket there is nobody to tell; the coordinator sees the end.
    if let Ok(runtime) = runtime {
        let _ = runtime.block_on(mind(session));
    }
}

async fn mind(session: &str) -> io::Result<()> {
    let socket = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    let link = Line::new(socket)?;
    let mut child_ended = signal(SignalKind::child())?;
    // The kernel sends SIGHUP to one that is stopped when its coordinator dies: it is to mind its trials on.
    let _hang_up = signal(SignalKind::hangup())?;
    orphans::adopt_descendants(true);
    let mut warden = Warden {
        session: session.to_owned(),
        link: Some(link),
        received: Vec::new(),
        record: None,
        keep: false,
        closing: false,
        running: BTreeMap::new(),
        killed: BTreeMap::new(),
    };
    loop {
        warden.obey();
        let dying = warden.look();
        if warden.closing {
            warden.end_all();
            warden.say(&Word::Closed);
            break;
        }
        if warden.link.is_none() {
            if !warden.keep {
                warden.end_all();
                break;
            }
            if warden.running.is_empty() {
                break;
            }
        }
        let pause = warden.pause(dying);
        tokio::select! {
            _ = child_ended.recv() => {}
            () = heard(warden.link.as_ref()) => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
    if let Some((path, _)) = warden.record.take() {
        let _ = std::fs::remove_file(path);
    }
    Ok(())
}

/// Waits for a word of the coordinator; for ever when there is none any more.
async fn heard(link: Option<&Line>) {
    match link {
        Some(link) => link.heard().await,
        None => std::future::pending().await,
    }
}

struct Warden {
    session: String,
    link: Option<Line>,
    received: Vec<u8>,
    /// The file that says that this warden is there. Its lock is held for as long as a process may
    /// still be started: whoever gets it knows that none comes any more.
    record: Option<(PathBuf, Option<File>)>,
    keep: bool,
    closing: bool,
    running: BTreeMap<AttemptId, Minded>,
    /// Whose the processes are that were killed and are not gone yet: one that is about to be gone has no mark any more.
    killed: BTreeMap<Pid, AttemptId>,
}

/// An attempt whose end was not told yet.
struct Minded {
    child: Child,
    word: String,
    exit_record: PathBuf,
    /// When it is told to end, and when it is killed if it has not by then.
    term_at: Option<Instant>,
    kill_at: Option<Instant>,
    /// Set once its first process is gone: how it ended, and when that was seen.
    ended: Option<(ExitStatus, Instant)>,
    /// The most main memory that one of its processes held, in bytes, once that is known.
    peak: Option<u64>,
}

impl Minded {
    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Sees whether the first process has ended; kills what is left of its group if so. The group is
    /// killed before the process is waited for, since up to then nobody else can get its number.
    fn look(&mut self, now: Instant) {
        if self.ended.is_some() {
            return;
        }
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        match waitid(Id::Pid(self.pid()), flags) {
            Ok(WaitStatus::StillAlive) => {
                if self.term_at.is_some_and(|at| at <= now) {
                    self.term_at = None;
                    signal_group(self.pid(), Signal::SIGTERM);
                }
                if self.kill_at.is_some_and(|at| at <= now) {
                    self.kill_at = None;
                    signal_group(self.pid(), Signal::SIGKILL);
                }
            }
            Ok(_) | Err(_) => {
                signal_group(self.pid(), Signal::SIGKILL);
                // It has ended: this does not wait, and tells what it used.
                match self.child.try_wait4() {
                    Ok(Some(used)) => {
                        self.ended = Some((used.status, now));
                        self.peak = Some(used.rusage.maxrss).filter(|bytes| *bytes > 0);
                    }
                    _ => {
                        if let Ok(status) = self.child.wait() {
                            self.ended = Some((status, now));
                        }
                    }
                }
            }
        }
    }
}

impl Warden {
    /// Does what the coordinator has ordered. An end of the line, or a word that is none, is its end.
    fn obey(&mut self) {
        let Some(link) = &self.link else { return };
        let mut buffer = [0; 16 << 10];
        let gone = loop {
            match link.socket().read(&mut buffer) {
                Ok(0) => break true,
                Ok(count) => self.received.extend(buffer.iter().take(count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break true,
            }
        };
        loop {
            match Order::decode(&mut self.received) {
                // Who ordered it cannot hear that it runs; the next coordinator starts it.
                Ok(Some(Order::Spawn(_))) if gone => {}
                Ok(Some(order)) => self.perform(order),
                Ok(None) => break,
                Err(_) => return self.lose_coordinator(),
            }
        }
        if gone {
            self.lose_coordinator();
        }
    }

    /// Nothing is started any more; whoever waits for that may go on.
    fn lose_coordinator(&mut self) {
        self.link = None;
        if self.keep
            && let Some((_, lock)) = &mut self.record
        {
            *lock = None;
        }
    }

    fn perform(&mut self, order: Order) {
        match order {
            Order::Mind { keep, record } => {
                self.keep = keep && cfg!(target_os = "linux");
                match write_record(&record) {
                    Ok(lock) => {
                        self.record = Some((record, Some(lock)));
                        self.say(&Word::Ready);
                    }
                    // Without a record it is of no use.
                    Err(_) => self.closing = true,
                }
            }
            Order::Spawn(spawn) => {
                let word = self.spawn(&spawn);
                self.say(&word);
            }
            Order::Stop { id, term, kill } => {
                if let Some(minded) = self.running.get_mut(&id) {
                    let now = Instant::now();
                    minded.term_at = Some(now + Duration::from_millis(term));
                    minded.kill_at = Some(now + Duration::from_millis(kill));
                }
            }
            Order::Close => self.closing = true,
        }
    }

    fn spawn(&mut self, spawn: &Spawn) -> Word {
        let (trial, attempt) = (spawn.id.trial.0, spawn.id.attempt.0);
        let open = |path: &Path| {
            let file = private::options().append(true).create(true).open(path);
            file.map_err(|error| Word::NoFile {
                trial,
                attempt,
                path: path.to_owned(),
                error: number(&error),
            })
        };
        let (stdout, stderr) = match (open(&spawn.stdout), open(&spawn.stderr)) {
            (Ok(stdout), Ok(stderr)) => (stdout, stderr),
            (Err(word), _) | (_, Err(word)) => return word,
        };
        match command(spawn, stdout, stderr).spawn() {
            Ok(child) => {
                let pid = child.id().cast_signed();
                let record = ProcessRecord {
                    word: spawn.word.clone(),
                    identity: Identity::of(pid),
                };
                // Without it the process can still be found by its mark.
                let _ = record.write(&spawn.process_record);
                let minded = Minded {
                    child,
                    word: spawn.word.clone(),
                    exit_record: spawn.exit_record.clone(),
                    term_at: None,
                    kill_at: None,
                    ended: None,
                    peak: None,
                };
                self.running.insert(spawn.id, minded);
                Word::Started {
                    trial,
                    attempt,
                    pid,
                }
            }
            Err(error) => Word::NotStarted {
                trial,
                attempt,
                error: number(&error),
            },
        }
    }

    /// Looks at all attempts, and tells of those of which nothing is left. Whether any is dying.
    fn look(&mut self) -> bool {
        let now = Instant::now();
        for minded in self.running.values_mut() {
            minded.look(now);
        }
        if !self.running.values().any(|r| r.ended.is_some()) {
            return false;
        }
        let lingering = self.sweep();
        let over = |(id, minded): (&AttemptId, &Minded)| {
            let (_, seen) = minded.ended?;
            let late = now.duration_since(seen) > PATIENCE;
            (late || !lingering.contains(id)).then_some(*id)
        };
        let over: Vec<AttemptId> = self.running.iter().filter_map(over).collect();
        for id in over {
            if let Some(minded) = self.running.remove(&id)
                && let Some((status, _)) = minded.ended
            {
                self.tell_end(id, &minded, Exit::of(status), lingering.contains(&id));
            }
        }
        self.running.values().any(|r| r.ended.is_some())
    }

    /// First the disk, then the coordinator: it may be gone before it has understood.
    fn tell_end(&mut self, id: AttemptId, minded: &Minded, exit: Exit, lingering: bool) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let record = ExitRecord {
            word: minded.word.clone(),
            exit,
            peak: minded.peak,
            at: since.map_or(0, |t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX)),
            boot: boot(),
        };
        let _ = record.write(&minded.exit_record);
        self.say(&Word::Ended {
            trial: id.trial.0,
            attempt: id.attempt.0,
            exit,
            peak: minded.peak,
            lingering,
        });
    }

    /// Waits for and kills what has left its group or outlived its attempt, and gives back the
    /// attempts that still have such processes. Helpers of a running attempt are left alone.
    fn sweep(&mut self) -> BTreeSet<AttemptId> {
        let mut lingering = BTreeSet::new();
        loop {
            let mut another_look = false;
            for pid in orphans::children() {
                if self
                    .running
                    .values()
                    .any(|r| r.ended.is_none() && r.pid() == pid)
                {
                    continue;
                }
                match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
                    Ok(WaitStatus::StillAlive) => {}
                    // Its children are ours now.
                    Ok(_) => {
                        self.killed.remove(&pid);
                        another_look = true;
                        continue;
                    }
                    Err(_) => continue,
                }
                let known = self.attempt_of(pid);
                let Some(id) = known.or_else(|| self.killed.get(&pid).copied()) else {
                    continue;
                };
                if self.running.get(&id).is_none_or(|r| r.ended.is_some()) {
                    let _ = kill(pid, Signal::SIGKILL);
                    self.killed.insert(pid, id);
                    lingering.insert(id);
                }
            }
            if !another_look {
                return lingering;
            }
        }
    }

    /// The attempt that a process belongs to, by its group or its mark.
    fn attempt_of(&self, pid: Pid) -> Option<AttemptId> {
        let group = getpgid(Some(pid)).ok();
        let by_group = self.running.iter().find(|(_, r)| Some(r.pid()) == group);
        by_group
            .map(|(id, _)| *id)
            .or_else(|| attempt_of_word(&orphans::mark(pid)?))
    }

    fn pause(&self, dying: bool) -> Duration {
        const LONG: Duration = Duration::from_secs(3600);
        if dying {
            return VERY_SOON;
        }
        let now = Instant::now();
        let moments = self.running.values().flat_map(|r| [r.term_at, r.kill_at]);
        let left = moments
            .flatten()
            .map(|at| at.saturating_duration_since(now));
        left.min().unwrap_or(LONG)
    }

    fn say(&mut self, word: &Word) {
        let Some(link) = &self.link else { return };
        let Ok(mut line) = serde_json::to_vec(word) else {
            return;
        };
        line.push(b'\n');
        let mut rest = line.as_slice();
        while !rest.is_empty() {
            match link.socket().write(rest) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The coordinator does not read: it is stopped, or a thousand ends came at once.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    std::thread::sleep(VERY_SOON);
                }
                Err(_) => return self.lose_coordinator(),
            }
        }
    }

    /// Kills everything, marked or not.
    fn end_all(&mut self) {
        for minded in self.running.values() {
            signal_group(minded.pid(), Signal::SIGKILL);
        }
        self.running.clear();
        let start = Instant::now();
        while end_all_children() && start.elapsed() < PATIENCE {
            std::thread::sleep(VERY_SOON);
        }
        orphans::kill_marked(&self.session, PATIENCE);
    }
}

/// Kills every child; says whether any was there.
fn end_all_children() -> bool {
    let mut any = false;
    for pid in orphans::children() {
        any = true;
        let _ = kill(pid, Signal::SIGKILL);
        let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG));
    }
    any
}

fn command(spawn: &Spawn, stdout: File, stderr: File) -> Command {
    let mut command = Command::new(&spawn.program);
    if let Some((name, arguments)) = spawn.argv.split_first() {
        command.arg0(name).args(arguments);
    }
    for (name, value) in &spawn.environment {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
        .current_dir(&spawn.directory)
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr)
        .process_group(0);
    command
}

/// Writes down that this warden is there, and takes the lock on that.
fn write_record(path: &Path) -> io::Result<File> {
    let mut file = private::options()
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)?;
    file.try_lock()?;
    let me = Identity::of(std::process::id().cast_signed());
    file.write_all(&serde_json::to_vec(&me).map_err(io::Error::other)?)?;
    Ok(file)
}

fn number(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(Errno::EINVAL as i32)
}

pub(super) fn signal_group(leader: Pid, signal: Signal) {
    match killpg(leader, signal) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => {
            tracing::warn!(group = leader.as_raw(), %signal, %error, "cannot send a signal");
        }
    }
}
