//! A program of the user's: its arguments, its environment and its directory for one attempt.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use hpo_study::command::{self, Surroundings};
use hpo_study::{CommandJob, StudySpec};

use crate::files::TrialFiles;
use crate::job::{Order, Workshop};

/// The part of a job that the study file says.
pub(crate) struct ProgramJob {
    pub(crate) argv: Vec<OsString>,
    /// The study's own variables.
    pub(crate) environment: Vec<(String, Option<OsString>)>,
    pub(crate) directory: PathBuf,
    /// Why it cannot be started, if it cannot.
    pub(crate) refused: Option<String>,
}

impl ProgramJob {
    pub(crate) fn new(
        workshop: &Workshop,
        spec: &StudySpec,
        job: &CommandJob,
        order: &Order<'_>,
        files: &TrialFiles,
    ) -> Self {
        let base = &workshop.work_dir;
        let interpreter = interpreter(job.python.as_deref(), base);
        // Elsewhere, a path from the study file's directory leads to nothing.
        let program = job
            .program
            .as_ref()
            .filter(|_| job.cwd.is_some())
            .map(|program| base.join(program))
            .filter(|path| path.exists())
            .map(|path| path.to_string_lossy().into_owned());
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let (params, dir, checkpoints) = (
            text(&files.params),
            text(&files.dir),
            text(&files.checkpoints),
        );
        let surroundings = Surroundings {
            variable: &|name| std::env::var(name).ok(),
            interpreter: &interpreter,
            program: program.as_deref(),
            args_json_file: &params,
            trial_dir: &dir,
            checkpoint_dir: &checkpoints,
            trial: order.id.trial.0,
            seed: order.seed,
            budget: order.target.or(spec.max_steps()),
        };
        let mut refused = None;
        let mut replace = |text: &str, what: &str| {
            let replaced = command::replace_inline(text, order.config, &surroundings);
            replaced.unwrap_or_else(|variable| {
                refused = Some(format!(
                    "the environment variable {variable}, which {what} needs, is not set"
                ));
                String::new()
            })
        };
        let environment = job.env.iter().map(|(name, value)| {
            let value = value
                .as_ref()
                .map(|v| replace(v, &format!("`env: {name}`")).into());
            (name.clone(), value)
        });
        let environment = environment.collect();
        let directory = match &job.cwd {
            Some(cwd) => base.join(replace(cwd, "`cwd`")),
            None => base.clone(),
        };
        if directory.starts_with(&files.dir)
            && let Err(error) = fs::create_dir_all(&directory)
        {
            refused = Some(format!("{} cannot be made: {error}", directory.display()));
        }
        let argv = command::expand(job, order.config, &surroundings);
        Self {
            argv: argv.into_iter().map(OsString::from).collect(),
            environment,
            directory,
            refused,
        }
    }
}

/// What `${interpreter}` is, of a study file in the directory `base`: a virtual environment is a directory with a Python
/// in it. A name alone is looked for on the `PATH`.
#[must_use]
pub fn interpreter(python: Option<&str>, base: &Path) -> String {
    let Some(python) = python else {
        return "python".to_owned();
    };
    let path = base.join(python);
    let path = if path.is_dir() {
        path.join("bin/python")
    } else if python.contains('/') {
        path
    } else {
        return python.to_owned();
    };
    path.to_string_lossy().into_owned()
}
