//! From a decision to start an attempt to what a process needs: its files, arguments and
//! environment. The contract is in `docs/protocol.md`.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use hpo_store::private;
use hpo_study::command;
use hpo_study::{Config, GpuShare, Job as Task, StudySpec, TrialId, protocol};

use crate::error::RunError;
use crate::files::{self, TrialFiles};
use crate::gpu::environment::{self, Place};
use crate::inherit;
use crate::program::ProgramJob;
use crate::session::{AttemptId, Session};
use crate::spares::Spares;

/// Longer configurations are in the file only: the system limits one variable to 128 KiB.
const LONGEST_INLINE: usize = 64 << 10;
/// How many threads the built-in trainer's arithmetic uses.
const THREADS: &str = "RAYON_NUM_THREADS";

/// An attempt, ready to be started.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) id: AttemptId,
    /// Program and arguments; not empty.
    pub(crate) argv: Vec<OsString>,
    /// Variables to be set, and to be removed where there is no value.
    pub(crate) environment: Vec<(String, Option<OsString>)>,
    /// Where it runs.
    pub(crate) directory: PathBuf,
    /// Where relative paths of programs start from: the study file's directory.
    pub(crate) base: PathBuf,
    /// Why it cannot be started, if it cannot.
    pub(crate) refused: Option<String>,
    pub(crate) files: TrialFiles,
    /// Whether it finds checkpoints of an earlier attempt.
    pub(crate) resumed: bool,
}

/// What all attempts of a session have in common.
#[derive(Debug)]
pub(crate) struct Workshop {
    /// Absolute.
    pub(crate) study_dir: PathBuf,
    /// Absolute.
    pub(crate) work_dir: PathBuf,
    pub(crate) trainer_program: PathBuf,
    pub(crate) session: Session,
    pub(crate) spares: Spares,
}

/// What the engine says about one attempt.
#[derive(Debug)]
pub(crate) struct Order<'a> {
    pub(crate) id: AttemptId,
    pub(crate) config: &'a Config,
    pub(crate) seed: u32,
    pub(crate) target: Option<u64>,
    pub(crate) resume: bool,
    /// The trial whose checkpoints it begins from.
    pub(crate) parent: Option<TrialId>,
    pub(crate) resume_step: Option<u64>,
    /// Its part of a GPU, and all of that GPU's memory in bytes.
    pub(crate) place: Option<(&'a GpuShare, Option<u64>)>,
}

impl Order<'_> {
    /// Whether there are checkpoints to go on from.
    fn goes_on(&self, files: &TrialFiles) -> bool {
        (self.resume || self.parent.is_some()) && files.has_checkpoint()
    }
}

/// How many checkpoints trials are to keep, where one may be asked for again. The built-in trainer thins the
/// older ones out instead of removing them, so a few reach back to the beginning; a script, which may
/// simply keep the last ones, keeps all, if that is not absurd.
fn kept_checkpoints(spec: &StudySpec) -> u64 {
    const THINNED: u64 = 8;
    const MOST: u64 = 1000;
    const UNKNOWN: u64 = 100;
    match &spec.job {
        Task::Trainer(_) => THINNED,
        Task::Command(_) => spec
            .planned_steps()
            .map_or(UNKNOWN, |steps| steps.min(MOST)),
    }
}

impl Workshop {
    /// Makes the attempt's directories, writes its configuration, and puts everything together.
    pub(crate) fn prepare(&self, spec: &StudySpec, order: &Order<'_>) -> Result<Job, RunError> {
        let files = TrialFiles::new(&self.study_dir, order.id.trial);
        self.spares
            .place(&files)
            .map_err(RunError::io(&files.dir))?;
        if order.resume {
            // What was wished of the process before is in the configuration, or done.
            let _ = fs::remove_file(&files.control);
        }
        // Before the first attempt nobody reads it yet; later an old process's child might.
        let write = |json: &str| {
            if order.resume {
                files::write_atomically(&files.params, json.as_bytes(), false)
            } else {
                private::write(&files.params, json.as_bytes())
            }
        };
        let json = match &spec.job {
            Task::Command(job) => command::json(order.config, &job.groups).to_string(),
            Task::Trainer(_) => serde_json::to_string(order.config)
                .map_err(std::io::Error::other)
                .map_err(RunError::io(&files.params))?,
        };
        write(&json).map_err(RunError::io(&files.params))?;
        let lacks = match order.parent {
            Some(from) => inherit::checkpoints(&self.study_dir, from, &files)?,
            None => None,
        };
        let program = match &spec.job {
            Task::Command(job) => ProgramJob::new(self, spec, job, order, &files),
            Task::Trainer(_) => ProgramJob {
                argv: vec![self.trainer_program.clone().into(), "train".into()],
                environment: Vec::new(),
                directory: self.work_dir.clone(),
                refused: None,
            },
        };
        let mut ours = self.environment(spec, order, &files, json);
        if let Some((share, total)) = order.place {
            let place = Place {
                share,
                total,
                argv: &program.argv,
                directory: &program.directory,
            };
            ours.extend(environment::variables(&place, |name| {
                environment::set_by_user(&program.environment, name)
            }));
        }
        let ours = ours
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value));
        Ok(Job {
            id: order.id,
            argv: program.argv,
            environment: program.environment.into_iter().chain(ours).collect(),
            directory: program.directory,
            base: self.work_dir.clone(),
            refused: lacks.or(program.refused),
            resumed: order.goes_on(&files),
            files,
        })
    }

    fn environment(
        &self,
        spec: &StudySpec,
        order: &Order<'_>,
        files: &TrialFiles,
        params: String,
    ) -> Vec<(&'static str, Option<OsString>)> {
        let path = |path: &Path| Some(path.as_os_str().to_owned());
        let text = |text: String| Some(OsString::from(text));
        let resume = order.goes_on(files);
        let mut variables = vec![
            (protocol::STUDY, text(spec.name.clone())),
            (protocol::TRIAL, text(order.id.trial.0.to_string())),
            (protocol::ATTEMPT, text(order.id.attempt.to_string())),
            (protocol::TRIAL_DIR, path(&files.dir)),
            (protocol::SEED, text(order.seed.to_string())),
            (
                protocol::BUDGET,
                order.target.map(|steps| steps.to_string().into()),
            ),
            (
                protocol::BUDGET_MAX,
                spec.max_steps().map(|steps| steps.to_string().into()),
            ),
            (protocol::PARAMS_FILE, path(&files.params)),
            (
                protocol::PARAMS,
                text(params).filter(|json| json.len() < LONGEST_INLINE),
            ),
            (protocol::METRICS_FILE, path(&files.metrics)),
            (protocol::CHECKPOINT_DIR, path(&files.checkpoints)),
            (protocol::CONTROL_FILE, path(&files.control)),
            (
                protocol::PARENT,
                order.parent.map(|from| from.0.to_string().into()),
            ),
            (
                protocol::RESUME_FROM,
                path(&files.checkpoints).filter(|_| resume),
            ),
            (
                protocol::RESUME_STEP,
                order
                    .resume_step
                    .filter(|_| resume)
                    .map(|step| step.to_string().into()),
            ),
            (
                protocol::KEEP_CHECKPOINTS,
                spec.divergence
                    .rescue
                    .map(|_| kept_checkpoints(spec).to_string().into()),
            ),
            (protocol::SESSION, text(self.session.word(order.id))),
        ];
        if let Task::Trainer(trainer) = &spec.job {
            variables.push((
                protocol::TRAINER,
                serde_json::to_string(trainer).ok().map(Into::into),
            ));
            // Small models are slower on many threads, and trials run beside each other.
            if std::env::var_os(THREADS).is_none() {
                variables.push((THREADS, text("1".to_owned())));
            }
        }
        variables
    }
}
