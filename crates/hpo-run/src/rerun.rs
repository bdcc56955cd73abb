//! One trial again, as it was: the same command, parameters and seed, in a directory of its own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hpo_store::private;
use hpo_study::protocol::Report;
use hpo_study::seed::{self, Purpose};
use hpo_study::{AttemptNumber, History, Trial, TrialState};

use crate::error::RunError;
use crate::executor::local::program_path;
use crate::executor::reader::{Listening, Reader};
use crate::files::Offsets;
use crate::job::{Job, Order, Workshop};
use crate::session::{AttemptId, Session};
use crate::spares::Spares;

/// How often its files are looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How much of what it prints is shown at once.
const PIECE: u64 = 64 << 10;

/// Where and with what a trial is run again.
#[derive(Debug, Clone)]
pub struct RerunOptions {
    /// The study's directory.
    pub study_dir: PathBuf,
    /// Where trials run.
    pub work_dir: PathBuf,
    /// This program: `<it> train` is the built-in trainer.
    pub trainer_program: PathBuf,
}

/// A trial that is ready to be run again.
#[derive(Debug)]
pub struct Rerun {
    /// The directory it writes to.
    pub directory: PathBuf,
    job: Job,
    metric: String,
    listening: Listening,
    /// The step at which the trial was ended from outside; there it is ended again.
    ends_at: Option<u64>,
}

/// What the trial said this time.
#[derive(Debug, Clone, PartialEq)]
pub struct Again {
    /// The objective by step.
    pub curve: BTreeMap<u64, f64>,
    /// How the process ended, where it did not end well by itself: `exit status: 1`.
    pub trouble: Option<String>,
}

impl Rerun {
    /// Makes the directory, and puts everything together.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn prepare(
        history: &History,
        trial: &Trial,
        options: RerunOptions,
    ) -> Result<Self, RunError> {
        let reruns = options.study_dir.join("reruns");
        let directory = fresh(&reruns).map_err(RunError::io(&reruns))?;
        let spec = history.spec();
        let session = Session::new(&directory, history.opened(), history.sessions())
            .map_err(RunError::io(&directory))?;
        let workshop = Workshop {
            spares: Spares::start(&directory),
            study_dir: directory,
            work_dir: options.work_dir,
            trainer_program: options.trainer_program,
            session,
        };
        let order = Order {
            id: AttemptId {
                trial: trial.id,
                attempt: AttemptNumber(1),
            },
            config: &trial.config,
            seed: seed::derive(spec.seed, trial.id, Purpose::Training) as u32,
            target: trial.target,
            resume: false,
            parent: None,
            resume_step: None,
            place: None,
        };
        let job = workshop.prepare(spec, &order)?;
        let cut = matches!(trial.state, TrialState::Stopped(_));
        Ok(Self {
            directory: job.files.dir.clone(),
            job,
            metric: spec.metric.name.clone(),
            listening: Listening::of(spec),
            ends_at: trial.curve.last_step().filter(|_| cut),
        })
    }

    /// The command as a line for a POSIX shell, with its directory and environment.
    #[must_use]
    pub fn line(&self, quote: impl Fn(&str) -> String) -> String {
        let text = |word: &OsString| quote(&word.to_string_lossy());
        let mut words = vec!["env".to_owned()];
        for (name, value) in &self.job.environment {
            match value {
                Some(value) => words.push(format!("{name}={}", text(value))),
                None => words.push(format!("-u {name}")),
            }
        }
        // Options of `env` come first.
        words.sort_by_key(|word| !(word == "env" || word.starts_with("-u ")));
        words.sort_by_key(|word| word != "env");
        words.extend(self.job.argv.iter().map(text));
        let directory = quote(&self.job.directory.to_string_lossy());
        format!("cd {directory} && {}\n", words.join(" "))
    }

    /// Runs it to its end, and hands on what it prints.
    ///
    /// # Errors
    /// When it cannot be started, or its files cannot be read or written.
    pub fn run(&self, show: &mut dyn FnMut(Said<'_>)) -> Result<Again, RunError> {
        let mut child = self.start()?;
        let files = &self.job.files;
        let mut reader = Reader::new(self.job.id, files, Offsets::default(), &self.listening);
        let (mut stdout, mut stderr) = (Tail::of(&files.stdout), Tail::of(&files.stderr));
        let mut heard = Heard::new(&self.metric);
        let mut cut_off = false;
        let status = loop {
            let status = child.try_wait().map_err(RunError::io(&files.dir))?;
            while stdout.show(&mut |text| show(Said::Out(text)))? {}
            while stderr.show(&mut |text| show(Said::Err(text)))? {}
            loop {
                heard.take(reader.read(status.is_some()));
                if reader.is_drained() {
                    break;
                }
            }
            if let Some(status) = status {
                break status;
            }
            if !cut_off && self.ends_at.is_some_and(|step| heard.has(step)) {
                cut_off = true;
                let _ = child.kill();
            }
            std::thread::sleep(LOOK_AGAIN);
        };
        let trouble = (!status.success() && !cut_off).then(|| status.to_string());
        Ok(Again {
            curve: heard.curve,
            trouble,
        })
    }

    fn start(&self) -> Result<Child, RunError> {
        let files = &self.job.files;
        let invalid = |why: &str| RunError::System {
            what: "the command cannot be started",
            source: io::Error::new(io::ErrorKind::InvalidInput, why.to_owned()),
        };
        if let Some(why) = &self.job.refused {
            return Err(invalid(why));
        }
        let (program, arguments) = self
            .job
            .argv
            .split_first()
            .ok_or_else(|| invalid("it is empty"))?;
        let program = program_path(program, &self.job.base);
        let output = |path: &Path| {
            let mut options = private::options();
            options.append(true).create(true);
            options.open(path).map_err(RunError::io(path))
        };
        let mut command = Command::new(&program);
        command
            .args(arguments)
            .current_dir(&self.job.directory)
            .stdin(Stdio::null())
            .stdout(output(&files.stdout)?)
            .stderr(output(&files.stderr)?);
        for (name, value) in &self.job.environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.spawn().map_err(RunError::io(&program))
    }
}

/// What a process printed, in pieces.
#[derive(Debug, Clone, Copy)]
pub enum Said<'t> {
    /// To its standard output.
    Out(&'t [u8]),
    /// To its standard error.
    Err(&'t [u8]),
}

/// What is new in a file that grows.
struct Tail<'f> {
    path: &'f Path,
    position: u64,
}

impl<'f> Tail<'f> {
    fn of(path: &'f Path) -> Self {
        Self { path, position: 0 }
    }

    /// Shows the next piece; whether there was one.
    fn show(&mut self, show: &mut dyn FnMut(&[u8])) -> Result<bool, RunError> {
        let piece = (|| {
            let mut file = private::open_plain(self.path)?;
            file.seek(SeekFrom::Start(self.position))?;
            let mut piece = Vec::new();
            file.take(PIECE).read_to_end(&mut piece)?;
            Ok(piece)
        })()
        .map_err(RunError::io(self.path))?;
        self.position += piece.len() as u64;
        if !piece.is_empty() {
            show(&piece);
        }
        Ok(!piece.is_empty())
    }
}

/// What was reported so far.
struct Heard<'m> {
    metric: &'m str,
    last: u64,
    curve: BTreeMap<u64, f64>,
}

impl<'m> Heard<'m> {
    fn new(metric: &'m str) -> Self {
        Self {
            metric,
            last: 0,
            curve: BTreeMap::new(),
        }
    }

    fn has(&self, step: u64) -> bool {
        self.curve.contains_key(&step)
    }

    fn take(&mut self, reports: Vec<Report>) {
        for Report { step, metrics } in reports {
            self.last = step.unwrap_or(self.last.saturating_add(1));
            if let Some(value) = metrics.get(self.metric) {
                self.curve.insert(self.last, *value);
            }
        }
    }
}

/// Makes the next free numbered directory.
fn fresh(reruns: &Path) -> io::Result<PathBuf> {
    private::create_dir_all(reruns)?;
    for number in 1_u32.. {
        let path = reruns.join(number.to_string());
        match fs::DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.map(|()| path),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}
