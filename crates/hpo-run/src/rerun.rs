//! One trial again, as it was: the same command, parameters and seed, in a directory of its own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _, Write};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hpo_store::private;
use hpo_study::protocol::{self, Report};
use hpo_study::seed::{self, Purpose};
use hpo_study::{AttemptNumber, History, Trial, TrialState};

use crate::error::RunError;
use crate::job::{Job, Order, Workshop};
use crate::session::{AttemptId, Session};
use crate::spares::Spares;

/// Longer lines are no reports; they are shown, in pieces.
const LONGEST_LINE: u64 = 1 << 20;

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
            resume_step: None,
            place: None,
        };
        let job = workshop.prepare(spec, &order)?;
        let cut = matches!(trial.state, TrialState::Stopped(_));
        Ok(Self {
            directory: job.files.dir.clone(),
            job,
            metric: spec.metric.name.clone(),
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

    /// Runs it to its end, and hands on what it prints; its stderr is ours.
    ///
    /// # Errors
    /// When it cannot be started, or its files cannot be read or written.
    pub fn run(&self, show: &mut dyn FnMut(&[u8])) -> Result<Again, RunError> {
        let files = &self.job.files;
        let (program, arguments) = self.job.argv.split_first().ok_or(RunError::System {
            what: "the command has no program",
            source: io::Error::from(io::ErrorKind::InvalidInput),
        })?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(&self.job.directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        for (name, value) in &self.job.environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let mut child = command.spawn().map_err(RunError::io(Path::new(program)))?;
        let mut log = private::options()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&files.stdout)
            .map_err(RunError::io(&files.stdout))?;
        let mut heard = Heard::new(&self.metric);
        let mut ended = false;
        if let Some(stdout) = child.stdout.take() {
            let mut stdout = BufReader::new(stdout);
            let mut line = Vec::new();
            loop {
                line.clear();
                let read = (&mut stdout)
                    .take(LONGEST_LINE)
                    .read_until(b'\n', &mut line);
                if read.map_err(RunError::io(&files.stdout))? == 0 {
                    break;
                }
                show(&line);
                log.write_all(&line).map_err(RunError::io(&files.stdout))?;
                if let Some(report) = line.strip_prefix(protocol::STDOUT_PREFIX.as_bytes()) {
                    heard.take(report);
                }
                if self.ends_at.is_some_and(|step| heard.has(step)) && !ended {
                    ended = true;
                    let _ = child.kill();
                }
            }
        }
        let status = child.wait().map_err(RunError::io(Path::new(program)))?;
        heard
            .read(&files.metrics)
            .map_err(RunError::io(&files.metrics))?;
        let trouble = (!status.success() && !ended).then(|| status.to_string());
        Ok(Again {
            curve: heard.curve,
            trouble,
        })
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

    fn take(&mut self, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        let Ok(Report { step, metrics }) = protocol::parse_report(text.trim()) else {
            return;
        };
        self.last = step.unwrap_or(self.last.saturating_add(1));
        if let Some(value) = metrics.get(self.metric) {
            self.curve.insert(self.last, *value);
        }
    }

    /// Takes in what was written to the file of metrics.
    fn read(&mut self, path: &Path) -> io::Result<()> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            file => file?,
        };
        self.last = 0;
        let mut lines = BufReader::new(file);
        let mut line = Vec::new();
        loop {
            line.clear();
            if (&mut lines)
                .take(LONGEST_LINE)
                .read_until(b'\n', &mut line)?
                == 0
            {
                return Ok(());
            }
            self.take(&line);
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
