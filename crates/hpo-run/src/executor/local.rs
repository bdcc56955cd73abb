//! Runs trials on this machine, in process groups of their own, by way of a warden: see there.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::{Duration, Instant};

use hpo_engine::{Input, Inventory};
use hpo_study::AttemptEnd;
use hpo_study::protocol::Report;
use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, waitpid};

use super::heard::Heard;
use super::identity::Identity;
use super::link::Link;
use super::orphans;
use super::reader::{Listening, Reader, last_lines};
use super::records::Exit;
use super::warden::PATIENCE;
use super::watched::{End, Found, Watched, find};
use super::wire::{Order, Spawn, Word};
use super::{Executor, LeftOver, Submitted, wardens};
use crate::error::RunError;
use crate::files::TrialFiles;
use crate::job::Job;
use crate::room;
use crate::session::{AttemptId, Session};

/// How soon files are looked at again after something was reported, …
const SOON: Duration = Duration::from_millis(10);
/// … and how late at most.
const LATE: Duration = Duration::from_millis(50);

/// The executor for this machine.
pub(crate) struct Local {
    study_dir: PathBuf,
    session: Session,
    listening: Listening,
    slots: u32,
    program: OsString,
    /// Trials outlive this process.
    keep: bool,
    running: BTreeMap<AttemptId, Running>,
    link: Option<Link>,
    /// How many wardens there were.
    wardens: u32,
    /// The wardens of earlier sessions that still mind a trial.
    earlier: Vec<Identity>,
    pause: Duration,
    closed: bool,
}

/// An attempt whose end was not given yet.
struct Running {
    pid: i32,
    /// `None`: our own warden minds it.
    watched: Option<Watched>,
    reader: Reader,
    heard: Heard,
    files: TrialFiles,
    stdout_from: u64,
    stderr_from: u64,
    announced: bool,
    /// How much of what it said is known already, and how much was read again.
    known: Option<LeftOver>,
    reread: usize,
    ended: Option<End>,
}

impl Running {
    /// What it said since the last call, without what an earlier session took in. What nobody took in
    /// matters: whoever goes on from the checkpoint will not say it again.
    fn read(&mut self) -> Vec<Report> {
        let reports = self.reader.read(self.ended.is_some());
        let Some(known) = self.known else {
            return reports;
        };
        let first = self.reread;
        self.reread += reports.len();
        // Two files have no order between them, so counting alone is not enough.
        let is_new = |(i, report): &(usize, Report)| {
            first + i >= known.reports || report.step.is_some_and(|s| Some(s) > known.last_step)
        };
        let news = reports.into_iter().enumerate().filter(is_new);
        news.map(|(_, report)| report).collect()
    }

    /// What it printed last, on stdout if anything.
    fn last_words(&self) -> String {
        let stdout = last_lines(&self.files.stdout, self.stdout_from);
        if stdout.trim().is_empty() {
            last_lines(&self.files.stderr, self.stderr_from)
        } else {
            stdout
        }
    }

    fn end(&self, end: End) -> AttemptEnd {
        let stderr = |wanted: bool| {
            if wanted {
                last_lines(&self.files.stderr, self.stderr_from)
            } else {
                String::new()
            }
        };
        match end {
            End::Seen(Exit::Code(0), _) if !self.reader.heard_objective() => AttemptEnd::Exited {
                code: 0,
                stderr: self.last_words(),
            },
            End::Seen(Exit::Code(code), _) => AttemptEnd::Exited {
                code,
                stderr: stderr(code != 0),
            },
            End::Seen(Exit::Signal(signal), _) => AttemptEnd::Signaled {
                signal,
                stderr: stderr(true),
            },
            End::Lost => AttemptEnd::Lost,
        }
    }
}

impl Local {
    /// An executor for a session of the study in `study_dir`; `program` is this program, for the
    /// warden. At most `slots` attempts run at once. With `keep` they outlive this process.
    ///
    /// # Errors
    /// When the directory cannot be written, or the warden can never be started.
    pub(crate) fn start(
        study_dir: &Path,
        session: Session,
        listening: Listening,
        slots: u32,
        program: &OsStr,
        keep: bool,
    ) -> Result<Self, RunError> {
        // Should a warden be killed, its trials become children of this process.
        orphans::adopt_descendants(true);
        let mut local = Self {
            study_dir: study_dir.to_owned(),
            session,
            listening,
            slots,
            program: program.to_owned(),
            keep,
            running: BTreeMap::new(),
            link: None,
            wardens: 0,
            earlier: Vec::new(),
            pause: SOON,
            closed: false,
        };
        local.earlier = wardens::earlier(study_dir);
        // Nobody needs it yet: what may pass is told to the first trial.
        match local.start_warden() {
            Err(error) if !room::is_full(&error) => Err(error),
            _ => Ok(local),
        }
    }

    /// Starts a warden. Gives back why there is none when it may work in a moment.
    fn start_warden(&mut self) -> Result<Option<String>, RunError> {
        let directory = wardens::directory(&self.study_dir)?;
        self.wardens += 1;
        let record = self.session.warden_record(&directory, self.wardens);
        let session = self.session.of_session();
        match Link::start(&self.program, &session, self.keep, record) {
            Ok(link) => {
                self.link = Some(link);
                Ok(None)
            }
            Err(source) => {
                let is_final = is_final(&source);
                let program = PathBuf::from(&self.program);
                let error = RunError::NoWarden { program, source };
                match is_final {
                    true => Err(error),
                    false => Ok(Some(error.to_string())),
                }
            }
        }
    }

    /// The warden was killed: its trials run on, and are watched from afar.
    fn lose_warden(&mut self) {
        if let Some(link) = self.link.take() {
            let is_watching =
                |running: &Running| running.watched.is_none() && running.ended.is_none();
            match self.running.values().any(is_watching) {
                true => tracing::warn!("the warden is gone; its trials run on"),
                // A disk that is full keeps it from beginning: the next trial has one of its own.
                false => tracing::info!("the warden is gone; it minded no trial"),
            }
            link.abandon();
        }
        let session = &self.session;
        for (id, running) in &mut self.running {
            if running.watched.is_none() && running.ended.is_none() {
                let process = Identity::of(running.pid);
                let watched = Watched::new(*id, process, session.word(*id), &running.files);
                running.watched = Some(watched);
            }
        }
    }

    /// Takes in what the warden has said.
    fn listen(&mut self) {
        let Some(link) = &mut self.link else { return };
        for word in link.words() {
            let Word::Ended {
                trial,
                attempt,
                exit,
                peak,
                lingering,
            } = word
            else {
                continue;
            };
            if lingering {
                tracing::warn!(trial, attempt, "processes of the trial cannot be killed");
            }
            let ended = self
                .running
                .iter_mut()
                .find(|(id, _)| (id.trial.0, id.attempt.0) == (trial, attempt));
            if let Some((_, running)) = ended {
                running.ended = Some(End::Seen(exit, peak));
            }
        }
        if link.is_gone() {
            self.lose_warden();
        }
    }

    /// Looks after the attempts that no warden of ours minds.
    fn watch(&mut self, now: Instant) {
        if self.running.values().all(|r| r.watched.is_none()) {
            return;
        }
        self.earlier.retain(Identity::lives);
        let minded = !self.earlier.is_empty();
        for running in self.running.values_mut() {
            if let Some(watched) = running.watched.as_mut().filter(|_| running.ended.is_none()) {
                running.ended = watched.look(now, minded);
            }
        }
        self.reap_strays();
    }

    /// Waits for processes that came to us when a warden died, and have ended since.
    fn reap_strays(&self) {
        let own = orphans::own();
        for pid in orphans::children() {
            let warden = self
                .link
                .as_ref()
                .is_some_and(|l| l.pid().cast_signed() == pid.as_raw());
            let first = self.running.values().any(|r| r.pid == pid.as_raw());
            if !warden && !first && !own.contains(&pid.as_raw()) {
                let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG));
            }
        }
    }

    fn order(&self, job: &Job) -> Spawn {
        let directory = job.directory.clone();
        let program = job.argv.first().map(|p| program_path(p, &job.base));
        let environment = job.environment.iter();
        Spawn {
            id: job.id,
            word: self.session.word(job.id),
            stdout: job.files.stdout.clone(),
            stderr: job.files.stderr.clone(),
            process_record: job.files.process_record(job.id.attempt),
            exit_record: job.files.exit_record(job.id.attempt),
            program: program.unwrap_or_default(),
            argv: job.argv.clone(),
            environment: environment
                .map(|(name, value)| (name.into(), value.clone()))
                .collect(),
            directory,
        }
    }

    /// Has the warden start a process. One that is killed over it may have started it or not, so
    /// that is looked up before another one is asked.
    ///
    /// # Errors
    /// When there can be no warden.
    fn spawn(&mut self, job: &Job) -> Result<Started, RunError> {
        const TRIES: u32 = 3;
        for _ in 0..TRIES {
            if self.link.is_none()
                && let Some(error) = self.start_warden()?
            {
                return Ok(Started::NotNow(error));
            }
            let order = self.order(job);
            let word = self.link.as_mut().and_then(|link| link.spawn(order));
            if let Some(word) = word {
                return Ok(Started::Told(word));
            }
            self.lose_warden();
            // What it was starting gets its mark only when it has become another program.
            std::thread::sleep(Duration::from_millis(50));
            let marked = orphans::marks(&self.session.word(job.id));
            match find(&self.session, job.id, &job.files, &marked) {
                Found::Running(watched) => return Ok(Started::Found(watched)),
                Found::Ended(End::Seen(exit, peak)) => return Ok(Started::Over(exit, peak)),
                Found::Gone(_) | Found::Ended(End::Lost) => {}
            }
        }
        let error = "the warden is killed again and again".to_owned();
        Ok(Started::NotNow(error))
    }
}

/// What became of a process that was ordered.
#[expect(clippy::large_enum_variant, reason = "one at a time, and short-lived")]
enum Started {
    Told(Word),
    Found(Watched),
    Over(Exit, Option<u64>),
    NotNow(String),
}

impl Executor for Local {
    fn inventory(&self) -> Inventory {
        Inventory::slots(self.slots)
    }

    fn resize(&mut self, slots: u32) {
        self.slots = slots;
    }

    fn submit(&mut self, job: &Job) -> Result<Submitted, RunError> {
        if let Some(error) = &job.refused {
            let error = error.clone();
            return Ok(Submitted::Refused { error });
        }
        let offsets = job.files.begin(job.id.attempt, job.resumed)?;
        let (pid, watched, ended) = match self.spawn(job)? {
            Started::Told(Word::Started { pid, .. }) => (pid, None, None),
            Started::Found(watched) => (watched.pid(), Some(watched), None),
            Started::Over(exit, peak) => (0, None, Some(End::Seen(exit, peak))),
            Started::Told(Word::NoFile { path, error, .. }) => {
                let source = io::Error::from_raw_os_error(error);
                // What a trial has put in place of its files is its own trouble, and nobody else's.
                if is_one_of(&source, &[Errno::EISDIR, Errno::ENXIO, Errno::ELOOP]) {
                    let error = format!("{} cannot be written: {source}", path.display());
                    return Ok(Submitted::Refused { error });
                }
                return Err(RunError::Io { path, source });
            }
            Started::Told(Word::NotStarted { error, .. }) => {
                let error = io::Error::from_raw_os_error(error);
                return Ok(if is_passing(&error) {
                    Submitted::Later {
                        error: error.to_string(),
                    }
                } else {
                    Submitted::Refused {
                        error: refusal(job, &error),
                    }
                });
            }
            Started::Told(_) => {
                return Ok(Submitted::Later {
                    error: "the warden is not understood".to_owned(),
                });
            }
            Started::NotNow(error) => return Ok(Submitted::Later { error }),
        };
        let running = Running {
            pid,
            watched,
            reader: Reader::new(job.id, &job.files, offsets, &self.listening),
            heard: Heard::new(&job.files),
            files: job.files.clone(),
            stdout_from: offsets.stdout,
            stderr_from: offsets.stderr,
            announced: false,
            known: None,
            reread: 0,
            ended,
        };
        self.running.insert(job.id, running);
        Ok(Submitted::Accepted)
    }

    fn recover(&mut self, left: &[LeftOver]) -> Vec<Input> {
        let marked = orphans::marks(&self.session.of_study());
        for left in left {
            let files = TrialFiles::new(&self.study_dir, left.id.trial);
            let found = find(&self.session, left.id, &files, &marked);
            let runs = self.keep && matches!(found, Found::Running(_));
            let (watched, ended) = match found {
                // Its warden may be about to write down how it ended.
                Found::Running(watched) | Found::Gone(watched) if self.keep => {
                    (Some(watched), None)
                }
                Found::Running(_) | Found::Gone(_) => (None, Some(End::Lost)),
                Found::Ended(end) => (None, Some(end)),
            };
            let offsets = files.offsets(left.id.attempt);
            let running = Running {
                pid: watched.as_ref().map_or(0, Watched::pid),
                reader: Reader::new(left.id, &files, offsets, &self.listening),
                heard: Heard::new(&files),
                known: Some(*left),
                reread: 0,
                // Nothing to announce of a process that is no more.
                announced: !runs,
                watched,
                stdout_from: offsets.stdout,
                stderr_from: offsets.stderr,
                files,
                ended,
            };
            self.running.insert(left.id, running);
        }
        self.end_strays();
        self.poll()
    }

    fn cancel(&mut self, id: AttemptId, term: Duration, grace: Duration) {
        let Some(running) = self.running.get_mut(&id).filter(|r| r.ended.is_none()) else {
            return;
        };
        match (&mut running.watched, &mut self.link) {
            (Some(watched), _) => watched.stop(Instant::now(), term, grace),
            (None, Some(link)) => {
                let millis = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
                let (term, kill) = (millis(term), millis(grace));
                link.send(&Order::Stop { id, term, kill });
            }
            (None, None) => {}
        }
    }

    fn has(&self, id: AttemptId) -> bool {
        self.running.contains_key(&id)
    }

    fn poll(&mut self) -> Vec<Input> {
        self.listen();
        let now = Instant::now();
        self.watch(now);
        let mut inputs = Vec::new();
        let mut over = Vec::new();
        let mut heard = false;
        for (&id, running) in &mut self.running {
            let AttemptId { trial, attempt } = id;
            if !std::mem::replace(&mut running.announced, true) {
                let pid = running.pid.cast_unsigned();
                inputs.push(Input::Started {
                    trial,
                    attempt,
                    pid,
                });
            }
            let reports = running.read();
            heard |= !reports.is_empty();
            if reports.is_empty() && running.heard.anything(now) {
                inputs.push(Input::Heard { trial, attempt });
            }
            inputs.extend(reports.into_iter().map(|report| Input::Reported {
                trial,
                attempt,
                report,
            }));
            // What it wrote at its very end may be much; the rest comes with the next look.
            if let Some(end) = running.ended.filter(|_| running.reader.is_drained()) {
                inputs.extend(
                    self.listening
                        .of_memory(end.peak())
                        .map(|report| Input::Reported {
                            trial,
                            attempt,
                            report,
                        }),
                );
                let end = running.end(end);
                inputs.push(Input::Ended {
                    trial,
                    attempt,
                    end,
                });
                over.push(id);
            }
        }
        for id in over {
            self.running.remove(&id);
        }
        self.pause = if heard {
            SOON
        } else {
            (self.pause.max(SOON) * 2).min(LATE)
        };
        inputs
    }

    fn changed(&mut self) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        let now = Instant::now();
        let watched = self.running.values().filter_map(|r| r.watched.as_ref());
        let moments = watched.filter_map(Watched::next_moment);
        let until_signal = moments.map(|at| at.saturating_duration_since(now)).min();
        let pause = until_signal.map_or(self.pause, |left| left.min(self.pause));
        let idle = self.running.is_empty();
        let link = self.link.as_ref();
        Box::pin(async move {
            let heard = async {
                match link {
                    Some(link) => link.heard().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = heard => {}
                () = tokio::time::sleep(pause), if !idle => {}
            }
        })
    }

    fn close(&mut self) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        if let Some(link) = self.link.take() {
            link.close();
        }
        for watched in self.running.values().filter_map(|r| r.watched.as_ref()) {
            watched.end();
        }
        self.running.clear();
        orphans::kill_marked(&self.session.of_study(), PATIENCE);
        self.reap_strays();
        orphans::adopt_descendants(false);
    }
}

impl Local {
    /// Kills what is left of this study but for the attempts that run.
    fn end_strays(&self) {
        let known: Vec<&str> = self
            .running
            .values()
            .filter_map(|r| r.watched.as_ref())
            .map(Watched::word)
            .collect();
        let study = self.session.of_study();
        let stray = |word: &str| word.starts_with(&study) && !known.contains(&word);
        let survivors = orphans::kill_all(stray, PATIENCE);
        if survivors > 0 {
            tracing::warn!(
                survivors,
                "processes of an earlier session cannot be killed"
            );
        }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.close();
    }
}

/// A program given as a relative path is looked for where the trial runs, not where `hpo` does.
pub(crate) fn program_path(program: &OsStr, directory: &Path) -> PathBuf {
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
    is_one_of(error, &passing)
}

/// Whether it is of no use to try again: it is not there, may not be run, or is no program for this machine.
fn is_final(error: &io::Error) -> bool {
    let lasting = [
        Errno::ENOENT,
        Errno::ENOTDIR,
        Errno::EISDIR,
        Errno::EACCES,
        Errno::EPERM,
        Errno::ENOEXEC,
        Errno::ELOOP,
    ];
    is_one_of(error, &lasting)
}

fn is_one_of(error: &io::Error, some: &[Errno]) -> bool {
    let code = error.raw_os_error();
    code.is_some_and(|code| some.contains(&Errno::from_raw(code)))
}

fn refusal(job: &Job, error: &io::Error) -> String {
    let program = job
        .argv
        .first()
        .map(|p| p.to_string_lossy().into_owned())
        .unwrap_or_default();
    if !job.directory.is_dir() {
        return format!(
            "cannot start `{program}` in {}: there is no such directory",
            job.directory.display()
        );
    }
    if error.kind() != io::ErrorKind::NotFound {
        let first = job.argv.first().map(|p| program_path(p, &job.base));
        return match first.is_some_and(|path| path.is_dir()) {
            true => format!("cannot start `{program}`: it is a directory"),
            false => format!("cannot start `{program}`: {error}"),
        };
    }
    let place = if program.contains('/') {
        job.base.display().to_string()
    } else {
        "PATH".to_owned()
    };
    format!(
        "cannot start `{program}`: not found, looked for from {place} (or its interpreter is missing)"
    )
}
