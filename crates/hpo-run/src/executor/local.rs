//! Runs trials on this machine, as child processes in groups of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::File;
use std::future::Future;
use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use hpo_engine::{Input, Inventory};
use hpo_study::AttemptEnd;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{Pid, getpgid};
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};

use super::heard::Heard;
use super::orphans;
use super::reader::{Reader, last_lines};
use super::warden::Warden;
use super::{Executor, LeftOver, Submitted};
use crate::error::RunError;
use crate::files::TrialFiles;
use crate::job::Job;
use crate::session::{AttemptId, Session};

/// How soon files are looked at again after something was reported, …
const SOON: Duration = Duration::from_millis(10);
/// … and how late at most.
const LATE: Duration = Duration::from_millis(50);
/// How soon an attempt is looked at again whose processes are just dying.
const VERY_SOON: Duration = Duration::from_millis(1);
/// For how long processes that were killed may take to go.
const PATIENCE: Duration = Duration::from_secs(5);

/// The executor for this machine. Owns all child processes of this process while it lives.
pub(crate) struct Local {
    study_dir: PathBuf,
    session: Session,
    slots: u32,
    running: BTreeMap<AttemptId, Running>,
    warden: Option<Warden>,
    child_ended: SignalStream,
    pause: Duration,
    closed: bool,
}

/// An attempt whose end was not given yet.
struct Running {
    child: Child,
    reader: Reader,
    heard: Heard,
    stderr: (PathBuf, u64),
    announced: bool,
    /// When it is killed if it has not ended by then.
    kill_at: Option<Instant>,
    /// Set once its first process is gone: how it ended, and when that was seen.
    ended: Option<(ExitStatus, Instant)>,
}

impl Running {
    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Sees whether the first process has ended; kills what is left of its group if so. The group is killed
    /// before the process is waited for, since up to then nobody else can get its number.
    fn look(&mut self, now: Instant) {
        if self.ended.is_some() {
            return;
        }
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        match waitid(Id::Pid(self.pid()), flags) {
            Ok(WaitStatus::StillAlive) => {
                if self.kill_at.is_some_and(|at| at <= now) {
                    self.kill_at = None;
                    signal_group(self.pid(), Signal::SIGKILL);
                }
            }
            Ok(_) | Err(_) => {
                signal_group(self.pid(), Signal::SIGKILL);
                // Nobody else waits for our children; should it happen, how it ended is not known.
                let status = self
                    .child
                    .wait()
                    .unwrap_or_else(|_| ExitStatus::from_raw(1 << 8));
                self.ended = Some((status, now));
            }
        }
    }

    fn end(&self, status: ExitStatus) -> AttemptEnd {
        let stderr = |wanted: bool| {
            if wanted {
                last_lines(&self.stderr.0, self.stderr.1)
            } else {
                String::new()
            }
        };
        match (status.code(), status.signal()) {
            (Some(code), _) => AttemptEnd::Exited {
                code,
                stderr: stderr(code != 0),
            },
            (None, Some(signal)) => AttemptEnd::Signaled {
                signal,
                stderr: stderr(true),
            },
            (None, None) => AttemptEnd::Lost,
        }
    }
}

impl Local {
    /// An executor for a session of the study in `study_dir`; `program` is this program, for the
    /// warden. At most `slots` attempts run at once.
    ///
    /// # Errors
    /// When the system's signals cannot be had.
    pub(crate) fn start(
        study_dir: &Path,
        session: Session,
        slots: u32,
        program: &OsStr,
    ) -> Result<Self, RunError> {
        let child_ended = signal(SignalKind::child()).map_err(|source| RunError::System {
            what: "cannot watch child processes",
            source,
        })?;
        orphans::adopt_descendants(true);
        let warden = Warden::start(program, &session.of_session())
            .inspect_err(|error| {
                tracing::warn!(%error, "no warden: should this process be killed, its trials run on");
            })
            .ok();
        Ok(Self {
            study_dir: study_dir.to_owned(),
            session,
            slots,
            running: BTreeMap::new(),
            warden,
            child_ended,
            pause: SOON,
            closed: false,
        })
    }

    /// Waits for and kills what has left its group or outlived its attempt, and gives back the
    /// attempts that still have such processes. Helpers of a running attempt are left alone.
    fn sweep(&mut self) -> BTreeSet<AttemptId> {
        let mut lingering = BTreeSet::new();
        loop {
            let mut another_look = false;
            for pid in orphans::children() {
                if self.is_own(pid) {
                    continue;
                }
                match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
                    Ok(WaitStatus::StillAlive) => {}
                    // Its children are ours now.
                    Ok(_) => {
                        another_look = true;
                        continue;
                    }
                    Err(_) => continue,
                }
                let Some(id) = self.attempt_of(pid) else {
                    continue;
                };
                if self.running.get(&id).is_none_or(|r| r.ended.is_some()) {
                    let _ = kill(pid, Signal::SIGKILL);
                    lingering.insert(id);
                }
            }
            if !another_look {
                return lingering;
            }
        }
    }

    /// Whether it is a process that was started from here and not waited for yet.
    fn is_own(&self, pid: Pid) -> bool {
        let is = |id: u32| pid.as_raw() == id.cast_signed();
        self.warden.as_ref().is_some_and(|w| is(w.pid()))
            || self
                .running
                .values()
                .any(|r| r.ended.is_none() && is(r.child.id()))
    }

    /// The attempt that a process belongs to, by its group or its mark.
    fn attempt_of(&self, pid: Pid) -> Option<AttemptId> {
        let group = getpgid(Some(pid)).ok();
        let by_group = self
            .running
            .iter()
            .find(|(_, r)| Some(r.pid()) == group)
            .map(|(id, _)| *id);
        by_group.or_else(|| self.session.attempt(&orphans::mark(pid)?))
    }

    fn spawn(&self, job: &Job, files: [File; 2]) -> io::Result<Child> {
        let Some((program, arguments)) = job.argv.split_first() else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the command is empty",
            ));
        };
        let [stdout, stderr] = files;
        let mut command = Command::new(program_path(program, &job.directory));
        command
            .arg0(program)
            .args(arguments)
            .current_dir(&job.directory);
        for (name, value) in &job.environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .process_group(0)
            .spawn()
    }
}

impl Executor for Local {
    fn inventory(&self) -> Inventory {
        Inventory::slots(self.slots)
    }

    fn submit(&mut self, job: &Job) -> Result<Submitted, RunError> {
        let offsets = job.files.begin(job.id.attempt, job.resumed)?;
        let open = |path: &Path| {
            File::options()
                .append(true)
                .create(true)
                .open(path)
                .map_err(RunError::io(path))
        };
        let files = [open(&job.files.stdout)?, open(&job.files.stderr)?];
        let child = match self.spawn(job, files) {
            Ok(child) => child,
            Err(error) if is_passing(&error) => {
                return Ok(Submitted::Later {
                    error: error.to_string(),
                });
            }
            Err(error) => {
                return Ok(Submitted::Refused {
                    error: refusal(job, &error),
                });
            }
        };
        let running = Running {
            child,
            reader: Reader::new(job.id, &job.files, offsets),
            heard: Heard::new(&job.files),
            stderr: (job.files.stderr.clone(), offsets.stderr),
            announced: false,
            kill_at: None,
            ended: None,
        };
        self.running.insert(job.id, running);
        Ok(Submitted::Accepted)
    }

    fn recover(&mut self, left: &[LeftOver]) -> Vec<Input> {
        let survivors = orphans::kill_marked(&self.session.of_study(), PATIENCE);
        if survivors > 0 {
            tracing::warn!(
                survivors,
                "processes of an earlier session cannot be killed"
            );
        }
        left.iter()
            .flat_map(|attempt| self.last_words(attempt))
            .collect()
    }

    fn cancel(&mut self, id: AttemptId, grace: Duration) {
        let Some(running) = self.running.get_mut(&id).filter(|r| r.ended.is_none()) else {
            return;
        };
        signal_group(running.pid(), Signal::SIGTERM);
        running.kill_at = Some(Instant::now() + grace);
    }

    fn has(&self, id: AttemptId) -> bool {
        self.running.contains_key(&id)
    }

    fn poll(&mut self) -> Vec<Input> {
        let now = Instant::now();
        if self.warden.as_mut().is_some_and(Warden::is_gone) {
            tracing::warn!("the warden is gone: should this process be killed, its trials run on");
            self.warden = None;
        }
        for running in self.running.values_mut() {
            running.look(now);
        }
        let any_ended = self.running.values().any(|r| r.ended.is_some());
        let lingering = if any_ended {
            self.sweep()
        } else {
            BTreeSet::new()
        };
        let mut inputs = Vec::new();
        let mut over = Vec::new();
        let mut heard = false;
        for (&id, running) in &mut self.running {
            let AttemptId { trial, attempt } = id;
            if !std::mem::replace(&mut running.announced, true) {
                inputs.push(Input::Started {
                    trial,
                    attempt,
                    pid: running.child.id(),
                });
            }
            let end = running.ended.filter(|(_, seen)| {
                let late = now.duration_since(*seen) > PATIENCE;
                if late && lingering.contains(&id) {
                    tracing::warn!(
                        trial = trial.0,
                        attempt = attempt.0,
                        "processes of the trial cannot be killed"
                    );
                }
                late || !lingering.contains(&id)
            });
            let reports = running.reader.read(end.is_some());
            // What it wrote at its very end may be much; the rest comes with the next look.
            let end = end.filter(|_| running.reader.is_drained());
            heard |= !reports.is_empty();
            if reports.is_empty() && running.heard.anything(now) {
                inputs.push(Input::Heard { trial, attempt });
            }
            inputs.extend(reports.into_iter().map(|report| Input::Reported {
                trial,
                attempt,
                report,
            }));
            if let Some((status, _)) = end {
                inputs.push(Input::Ended {
                    trial,
                    attempt,
                    end: running.end(status),
                });
                over.push(id);
            }
        }
        for id in over {
            self.running.remove(&id);
        }
        let dying = self.running.values().any(|r| r.ended.is_some());
        self.pause = if dying {
            VERY_SOON
        } else if heard {
            SOON
        } else {
            (self.pause.max(SOON) * 2).min(LATE)
        };
        inputs
    }

    fn changed(&mut self) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        let now = Instant::now();
        let kills = self.running.values().filter_map(|r| r.kill_at);
        let until_kill = kills.map(|at| at.saturating_duration_since(now)).min();
        let pause = until_kill.map_or(self.pause, |left| left.min(self.pause));
        let idle = self.running.is_empty();
        Box::pin(async move {
            tokio::select! {
                _ = self.child_ended.recv() => {}
                () = tokio::time::sleep(pause), if !idle => {}
            }
        })
    }

    fn close(&mut self) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        for running in self.running.values() {
            signal_group(running.pid(), Signal::SIGKILL);
        }
        self.running.clear();
        let start = Instant::now();
        while self.end_all_children() && start.elapsed() < PATIENCE {
            std::thread::sleep(VERY_SOON);
        }
        orphans::kill_marked(&self.session.of_session(), PATIENCE);
        if let Some(warden) = self.warden.take() {
            warden.dismiss();
        }
        orphans::adopt_descendants(false);
    }
}

impl Local {
    /// Kills every child but the warden, marked or not; says whether any was there.
    fn end_all_children(&self) -> bool {
        let mut any = false;
        for pid in orphans::children() {
            if !self.is_own(pid) {
                any = true;
                let _ = kill(pid, Signal::SIGKILL);
                let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG));
            }
        }
        any
    }

    /// What an attempt of a dead session said that nobody took in, and that it is lost. It matters: the
    /// attempt that goes on from its checkpoint will not say it again.
    fn last_words(&self, left: &LeftOver) -> Vec<Input> {
        let AttemptId { trial, attempt } = left.id;
        let files = TrialFiles::new(&self.study_dir, trial);
        let mut reader = Reader::new(left.id, &files, files.offsets(attempt));
        let mut said = reader.read(true);
        while !reader.is_drained() {
            said.extend(reader.read(true));
        }
        let is_new = |(i, report): &(usize, hpo_study::protocol::Report)| match report.step {
            Some(step) => left.last_step.is_none_or(|last| step > last),
            None => *i >= left.reports,
        };
        let news = said.into_iter().enumerate().filter(is_new);
        let mut inputs: Vec<Input> = news
            .map(|(_, report)| Input::Reported {
                trial,
                attempt,
                report,
            })
            .collect();
        inputs.push(Input::Ended {
            trial,
            attempt,
            end: AttemptEnd::Lost,
        });
        inputs
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.close();
    }
}

fn signal_group(leader: Pid, signal: Signal) {
    match killpg(leader, signal) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => {
            tracing::warn!(group = leader.as_raw(), %signal, %error, "cannot send a signal")
        }
    }
}

/// A program given as a relative path is looked for where the trial runs, not where `hpo` does.
fn program_path(program: &OsStr, directory: &Path) -> PathBuf {
    let path = Path::new(program);
    if path.is_relative() && path.components().count() > 1 || path.starts_with(".") {
        directory.join(path)
    } else {
        path.to_owned()
    }
}

/// Whether it may work in a moment: the system is short of something, or the program is just
/// being written.
fn is_passing(error: &io::Error) -> bool {
    let passing = [
        Errno::EAGAIN,
        Errno::ENOMEM,
        Errno::EMFILE,
        Errno::ENFILE,
        Errno::ETXTBSY,
        Errno::EINTR,
    ];
    error
        .raw_os_error()
        .is_some_and(|code| passing.contains(&Errno::from_raw(code)))
}

fn refusal(job: &Job, error: &io::Error) -> String {
    let program = job
        .argv
        .first()
        .map(|p| p.to_string_lossy().into_owned())
        .unwrap_or_default();
    if error.kind() != io::ErrorKind::NotFound {
        return format!("cannot start `{program}`: {error}");
    }
    if !job.directory.is_dir() {
        return format!(
            "cannot start `{program}`: {} is gone",
            job.directory.display()
        );
    }
    let place = if program.contains('/') {
        job.directory.display().to_string()
    } else {
        "PATH".to_owned()
    };
    format!(
        "cannot start `{program}`: not found, looked for from {place} (or its interpreter is missing)"
    )
}
