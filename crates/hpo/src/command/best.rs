//! `hpo best`

use std::fs;
use std::path::Path;

use crate::cli::BestArguments;
use crate::failure::{Exit, Failure};
use crate::output::words;
use crate::{output, study_dir};

pub(super) fn perform(arguments: &BestArguments) -> Result<Exit, Failure> {
    let found = study_dir::open(&arguments.study)?;
    let trial = match arguments.trial {
        Some(number) => found.trial(number)?,
        None => found.history.best().ok_or_else(|| {
            Failure::no_result(format!(
                "no trial of {} has completed yet",
                found.history.spec().name
            ))
            .hint("`hpo trials` shows where they are; --trial takes any of them")
        })?,
    };
    let text = hpo_report::export(&found.history, trial, arguments.format)
        .map_err(|error| Failure::usage(&error).hint(error.hint()))?;
    match &arguments.output {
        Some(path) => {
            write(path, &text)?;
            words!("trial {} written to {}", trial.id, path.display());
        }
        None => output::data(&text)?,
    }
    Ok(Exit::Done)
}

/// Writes beside the file first, so that it is never there in part.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let trouble =
        |e: std::io::Error| Failure::trouble(format!("{} cannot be written: {e}", path.display()));
    // A device or a pipe (`-o /dev/stderr`) is written to, not replaced.
    if path.exists() && !path.is_file() {
        return fs::write(path, text).map_err(trouble);
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.tmp", std::process::id()));
    fs::write(&beside, text).map_err(trouble)?;
    fs::rename(&beside, path).map_err(|e| {
        let _ = fs::remove_file(&beside);
        trouble(e)
    })
}
