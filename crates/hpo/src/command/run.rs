//! `hpo run`

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use hpo_report::export::shell_quoted;
use hpo_run::{Outcome, RunError, RunOptions, View};
use hpo_store::{StoreError, private};
use hpo_study::changes::CAN_CHANGE;
use hpo_study::{Event, EventKind, GpuSample, History, Timestamp};

use crate::cli::RunArguments;
use crate::failure::{Exit, Failure};
use crate::file_limit;
use crate::output::words;
use crate::study_file::{self, Study};
use crate::{output, view};

pub(super) fn perform(arguments: &RunArguments, verbosity: u8) -> Result<Exit, Failure> {
    let study = study_file::load(&arguments.file)?;
    study.check_files()?;
    let name = study.spec.name.clone();
    let shown = arguments.place.dir.join(&name);
    let directory = std::path::absolute(&shown)
        .map_err(|e| Failure::trouble(format!("{}: {e}", shown.display())))?;
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
        .map_err(|e| explain(e, &name, &shown))?;
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
    finish(&result.map_err(|e| explain(e, &name, &shown))?, &shown)
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

/// Says how a session of the study in a directory has ended, and leaves its report there.
pub(super) fn finish(outcome: &Outcome, directory: &Path) -> Result<Exit, Failure> {
    let history = &outcome.history;
    let mut text = hpo_report::summary::text(history, history.last_event(), output::width());
    text += &take_away(history, directory);
    output::page(&text)?;
    leave_report(history, directory);
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
fn leave_report(history: &History, directory: &Path) {
    match super::report::leave(history, directory) {
        Ok(path) => words!("report with plots: {}", path.display()),
        Err(error) => words!(
            "{}: the report cannot be written: {error}",
            output::yellow("warning")
        ),
    }
}

/// Where everything is, and how to get the best configuration.
fn take_away(history: &History, directory: &Path) -> String {
    let study = as_argument(&history.spec().name, directory);
    let mut text = String::new();
    if history.spec().has_several() && history.best().is_some() {
        text += &format!(
            "\ntake one away:  hpo best --trial N -f pytorch -s {study}    (or keras, yaml, json, args, env; without \
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
        text += &format!("\ntake it away:  hpo best -f {format} -s {study}    (or {others})\n");
    } else if let Some(trial) = history
        .trials()
        .iter()
        .find(|t| matches!(t.state.word(), "failed" | "infeasible"))
    {
        text += &format!("\nwhat went wrong:  hpo trial {} -s {study}\n", trial.id);
    }
    text + &format!("everything is in {}\n", directory.display())
}

/// How the study is named to other commands: by its name and where it is, or by its directory where that is called otherwise.
fn as_argument(name: &str, directory: &Path) -> String {
    let runs = directory
        .parent()
        .filter(|runs| !runs.as_os_str().is_empty());
    match runs.filter(|_| directory.file_name() == Some(name.as_ref())) {
        Some(runs) if runs == "runs" => shell_quoted(name),
        Some(runs) => {
            let runs = shell_quoted(&runs.display().to_string());
            format!("{} --dir {runs}", shell_quoted(name))
        }
        None => shell_quoted(&directory.display().to_string()),
    }
}

pub(super) fn explain(error: RunError, name: &str, directory: &Path) -> Failure {
    match &error {
        RunError::SpecChanged { .. } => Failure::usage(&error).hint(format!(
            "undo the change, or give the study a new `name:` to begin afresh; {name} stays as it is. \
             What can change: {}",
            CAN_CHANGE.join(", ")
        )),
        RunError::Store(StoreError::Locked { .. }) => {
            let study = as_argument(name, directory);
            Failure::trouble(&error).hint(format!("`hpo status {study}` shows where it is"))
        }
        RunError::NoGpu { .. } => Failure::trouble(&error).hint(
            "`hpo gpus` shows what the driver sees; `gpu: {fallback: cpu}` in the study file lets trials run on \
             the CPU here",
        ),
        RunError::NoWarden { .. } => Failure::trouble(&error).hint(
            "was hpo moved or removed while it ran? The same command, with hpo where it is now, goes on from there; \
             trials that run go on meanwhile",
        ),
        _ if file_limit::is_reached(&error) => Failure::trouble(&error).hint(file_limit::HINT),
        _ => Failure::trouble(&error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_study_is_named_so_that_other_commands_find_it() {
        for (directory, words) in [
            ("runs/a b", "'a b'"),
            ("else where/a b", "'a b' --dir 'else where'"),
            ("/r$/a b", "'a b' --dir '/r$'"),
            ("runs/copy", "runs/copy"),
            ("a b", "'a b'"),
            (".", "."),
        ] {
            assert_eq!(as_argument("a b", Path::new(directory)), words);
        }
    }

    #[test]
    fn the_page_of_commands_says_what_can_change() {
        let page = include_str!("../../../../docs/commands.md");
        let start = page.find("A study that has begun can take other values of ");
        let sentence = page[start.unwrap()..].split(';').next().unwrap();
        let mut said: Vec<&str> = sentence.split('`').skip(1).step_by(2).collect();
        let mut meant = CAN_CHANGE.to_vec();
        said.sort_unstable();
        meant.sort_unstable();
        assert_eq!(said, meant);
    }
}
