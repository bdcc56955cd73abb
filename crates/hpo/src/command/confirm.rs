//! `hpo confirm`

use std::path::PathBuf;
use std::time::Duration;

use hpo_run::RunOptions;
use hpo_study::{Confirm, History, Method};

use crate::cli::ConfirmArguments;
use crate::failure::{Exit, Failure};
use crate::output::words;
use crate::{study_dir, view};

/// How often to look whether a study that is being run has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

pub(super) fn perform(arguments: &ConfirmArguments, verbosity: u8) -> Result<Exit, Failure> {
    let mut found = study_dir::open(&arguments.study)?;
    if let Some(pid) = found.coordinator {
        let name = &found.history.spec().name;
        words!("{name} is being run (process {pid}): waiting for its end; Ctrl-C gives up");
        while study_dir::coordinator(&found.directory).is_some() {
            std::thread::sleep(LOOK_AGAIN);
        }
        found = study_dir::open_quietly(&arguments.study)?;
    }
    let history = found.history;
    let name = history.spec().name.clone();
    if history.single_best().is_none() {
        return Err(Failure::no_result(format!(
            "no trial of {name} has completed, so there is nothing to confirm"
        )));
    }
    if history.spec().method == Method::Pbt {
        return Err(Failure::usage(format!(
            "{name} trained a population: what it found is a schedule, and no configuration that could be run again"
        ))
        .hint("`hpo best -f pytorch` and `-f keras` are code that follows the schedule"));
    }
    if history.spec().has_several() {
        return Err(Failure::usage(format!(
            "{name} has several objectives and so no best trial to confirm"
        ))
        .hint(
            "`repeats: N` is for one objective, too; `hpo rerun N` runs one of the front again",
        ));
    }
    let usual = history.confirm().unwrap_or_default();
    let confirm = Confirm {
        top: arguments.top.unwrap_or(usual.top),
        seeds: arguments.seeds.unwrap_or(usual.seeds),
    };
    let directory = std::path::absolute(&found.directory)
        .map_err(|e| Failure::trouble(format!("{}: {e}", found.directory.display())))?;
    let watch = view::watch(!arguments.no_live);
    hpo_run::init_logging(verbosity, Some(&directory), watch.words.writer())
        .map_err(|e| super::run::explain(e, &name, &found.directory))?;
    let mut view = watch.view;
    let options = RunOptions {
        study_dir: directory,
        spec: history.spec().clone(),
        work_dir: work_dir(&history)?,
        trainer_program: program()?,
        hpo_version: env!("CARGO_PKG_VERSION").to_owned(),
        confirm: Some(confirm),
        pip_freeze: false,
        study_file: None,
    };
    let result = hpo_run::run(options, view.as_mut());
    drop(view);
    let outcome = result.map_err(|e| super::run::explain(e, &name, &found.directory))?;
    super::run::finish(&outcome, &found.directory)
}

/// This program.
pub(super) fn program() -> Result<PathBuf, Failure> {
    std::env::current_exe()
        .map_err(|e| Failure::trouble(format!("hpo cannot find its own program: {e}")))
}

/// Where the study's trials run: the directory of its study file, which only `hpo run` is told.
pub(super) fn work_dir(history: &History) -> Result<PathBuf, Failure> {
    let Some(last) = history.code().last() else {
        words!("the study is older than notes of where its trials run: taking this directory");
        return Ok(PathBuf::from("."));
    };
    let path = PathBuf::from(&last.work_dir);
    match path.is_dir() {
        true => Ok(path),
        false => Err(Failure::usage(format!(
            "{}, where the trials of {} ran, is no longer there",
            path.display(),
            history.spec().name
        ))
        .hint("put the study file and the program back there; or run the study from elsewhere once (`hpo run`)")),
    }
}
