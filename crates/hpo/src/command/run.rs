//! `hpo run`

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use hpo_run::{Outcome, RunError, RunOptions, View};
use hpo_store::{StoreError, private};
use hpo_study::{Event, EventKind, GpuSample, History, Timestamp};

use crate::cli::RunArguments;
use crate::failure::{Exit, Failure};
use crate::output::words;
use crate::study_file::{self, Study};
use crate::{output, view};

pub(super) fn perform(arguments: &RunArguments, verbosity: u8) -> Result<Exit, Failure> {
    let study = study_file::load(&arguments.file)?;
    study.check_files()?;
    let name = study.spec.name.clone();
    let directory = std::path::absolute(arguments.place.dir.join(&name))
        .map_err(|e| Failure::trouble(format!("{}: {e}", arguments.place.dir.display())))?;
    // Nothing in it is looked at before it is known to be ours.
    private::directory(&directory).map_err(Failure::trouble)?;
    let study = match begun_with(&directory) {
        Some(run_cap) => study.begun_with(run_cap),
        None => study,
    };
    import(&study, &directory)?;
    let program = std::env::current_exe()
        .map_err(|e| Failure::trouble(format!("hpo cannot find its own program: {e}")))?;
    let watch = view::watch(!arguments.no_live);
    hpo_run::init_logging(verbosity, Some(&directory), watch.words.writer())
        .map_err(|e| explain(e, &name, &arguments.place.dir))?;
    let mut view = Keeper {
        view: watch.view,
        copy: Some((directory.join("study.yaml"), study.text.clone())),
    };
    let mut options = options(study, &directory, program);
    options.pip_freeze = arguments.pip_freeze;
    options.study_file = Some(arguments.file.clone());
    let result = hpo_run::run(options, &mut view);
    // The live view clears its lines before anything else is said.
    drop(view);
    finish(
        &result.map_err(|e| explain(e, &name, &arguments.place.dir))?,
        &arguments.place.dir,
    )
}

/// Takes in the trials that the study file names. A study that cannot be gone on with gets none: it is said later why.
fn import(study: &Study, directory: &Path) -> Result<(), Failure> {
    if study.spec.warm_start.imports.is_empty() {
        return Ok(());
    }
    let history = match hpo_store::exists(directory) {
        true => Some(crate::study_dir::in_brief(directory)?),
        false => None,
    };
    let is_another = |history: &History| {
        let changes = hpo_study::changes::differences(history.file_spec(), &study.spec);
        !changes.refused.is_empty()
    };
    if history.as_ref().is_some_and(is_another)
        || crate::study_dir::coordinator(directory).is_some()
    {
        return Ok(());
    }
    super::import::by_file(&study.spec, &study.directory, directory, history.as_ref())
}

/// The `run_cap` of a study that has begun. What is wrong with its database is said when it is opened.
fn begun_with(directory: &Path) -> Option<Option<u32>> {
    match hpo_store::opening(directory).ok()?.kind {
        EventKind::StudyOpened { spec, .. } => Some(spec.run_cap),
        _ => None,
    }
}

fn options(study: Study, directory: &Path, program: PathBuf) -> RunOptions {
    RunOptions {
        study_dir: directory.to_owned(),
        spec: study.spec,
        work_dir: study.directory,
        trainer_program: program,
        hpo_version: env!("CARGO_PKG_VERSION").to_owned(),
        confirm: None,
        pip_freeze: false,
        study_file: None,
    }
}

/// A view that keeps a copy of the study file beside the study, once it is sure that the study is
/// ours to run.
struct Keeper {
    view: Box<dyn View>,
    copy: Option<(PathBuf, String)>,
}

/// Writes the copy of the study file. One that says something else is kept under the number of the
/// session that came with this one.
fn keep_text(path: &Path, text: &str, session: u32) -> io::Result<()> {
    if let Ok(before) = fs::read(path)
        && before != text.as_bytes()
    {
        let kept = path.with_file_name("snapshot");
        private::create_dir_all(&kept)?;
        let name = format!("study-before-session-{session}.yaml");
        private::write(&kept.join(name), &before)?;
    }
    private::write(path, text.as_bytes())
}

impl View for Keeper {
    fn event(&mut self, history: &History, event: &Event) {
        if let Some((path, text)) = self.copy.take()
            && let Err(error) = keep_text(&path, &text, history.sessions())
        {
            words!(
                "{}: {} cannot be written: {error}",
                output::yellow("warning"),
                path.display()
            );
        }
        self.view.event(history, event);
    }

    fn tick(&mut self, history: &History, now: Timestamp) {
        self.view.tick(history, now);
    }

    fn gpus(&mut self, gpus: &[GpuSample]) {
        self.view.gpus(gpus);
    }
}

pub(super) fn finish(outcome: &Outcome, runs: &Path) -> Result<Exit, Failure> {
    let history = &outcome.history;
    let mut text = hpo_report::summary::text(history, history.last_event(), output::width());
    text += &take_away(history, runs);
    output::page(&text)?;
    leave_report(history, runs);
    if outcome.stopped_by_user {
        match hpo_report::status::held_sentence(history) {
            Some(held) => words!("{held}; the same command then goes on"),
            None => words!("stopped by you; the same command goes on"),
        }
        return Ok(Exit::Stopped);
    }
    Ok(if history.best().is_some() {
        Exit::Done
    } else {
        Exit::NoResult
    })
}

/// The report is a view of what is safe in the database: without it the study is whole all the same.
fn leave_report(history: &History, runs: &Path) {
    match super::report::leave(history, &runs.join(&history.spec().name)) {
        Ok(path) => words!("report with plots: {}", path.display()),
        Err(error) => words!(
            "{}: the report cannot be written: {error}",
            output::yellow("warning")
        ),
    }
}

/// Where everything is, and how to get the best configuration.
fn take_away(history: &History, runs: &Path) -> String {
    let name = &history.spec().name;
    let study = quoted(name);
    let dir = elsewhere(runs);
    let mut text = String::new();
    if history.spec().has_several() && history.best().is_some() {
        text += &format!(
            "\ntake one away:  hpo best --trial N -f pytorch -s {study}{dir}    (or keras, yaml, json, args, env; without \
             --trial the front)\n"
        );
    } else if let Some(best) = history.best() {
        // The programs need to know the optimizer.
        let program = hpo_report::export(history, best, hpo_report::Format::Pytorch).is_ok();
        let arguments = hpo_report::export(history, best, hpo_report::Format::Args).is_ok();
        let (format, others) = match (program, arguments) {
            (true, true) => ("pytorch", "keras, yaml, json, args, env"),
            (false, true) => ("args", "yaml, json, env"),
            // What it was trained with changed on the way.
            (true, false) => ("pytorch", "keras, yaml, json"),
            (false, false) => ("yaml", "json"),
        };
        text +=
            &format!("\ntake it away:  hpo best -f {format} -s {study}{dir}    (or {others})\n");
    } else if let Some(trial) = history
        .trials()
        .iter()
        .find(|t| matches!(t.state.word(), "failed" | "infeasible"))
    {
        text += &format!(
            "\nwhat went wrong:  hpo trial {} -s {study}{dir}\n",
            trial.id
        );
    }
    text + &format!("everything is in {}\n", runs.join(name).display())
}

/// ` --dir DIR`, for commands that shall find a study that is not under `runs/`.
fn elsewhere(runs: &Path) -> String {
    match runs.to_str() {
        Some("runs") => String::new(),
        _ => format!(" --dir {}", quoted(&runs.display().to_string())),
    }
}

/// A word that a shell takes for one.
fn quoted(word: &str) -> String {
    if word.contains(char::is_whitespace) {
        format!("'{word}'")
    } else {
        word.to_owned()
    }
}

pub(super) fn explain(error: RunError, name: &str, runs: &Path) -> Failure {
    match &error {
        RunError::SpecChanged { .. } => Failure::usage(&error).hint(format!(
            "undo the change, or give the study a new `name:` to begin afresh; {name} stays as it is. \
             What can change: run_cap, time_cap, cpu, gpu, failure, divergence, keep_checkpoints, disk_budget, confirm, \
             stop_grace, on_crash, notify, description, python, env, metrics"
        )),
        RunError::Store(StoreError::Locked { .. }) => {
            let (name, dir) = (quoted(name), elsewhere(runs));
            Failure::trouble(&error).hint(format!("`hpo status {name}{dir}` shows where it is"))
        }
        RunError::NoGpu { .. } => Failure::trouble(&error).hint(
            "`hpo gpus` shows what the driver sees; `gpu: {fallback: cpu}` in the study file lets trials run on \
             the CPU here",
        ),
        _ => Failure::trouble(&error),
    }
}
