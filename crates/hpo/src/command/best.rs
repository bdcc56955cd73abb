//! `hpo best`

use hpo_report::{Format, front};

use crate::cli::BestArguments;
use crate::failure::{Exit, Failure};
use crate::output::words;
use crate::{file, output, study_dir};

pub(super) fn perform(arguments: &BestArguments) -> Result<Exit, Failure> {
    let found = study_dir::open(&arguments.study)?;
    let trial = match arguments.trial {
        Some(number) => found.trial(number)?,
        None => match arguments.single {
            true => found.history.single_best(),
            false => found.history.best(),
        }
        .ok_or_else(|| {
            Failure::no_result(format!(
                "no trial of {} has completed yet",
                found.history.spec().name
            ))
            .hint("`hpo trials` shows where they are; --trial takes any of them")
        })?,
    };
    let picked = arguments.trial.is_some() || !found.history.spec().has_several();
    let text = match arguments.format {
        None if !picked => front::table(&found.history, output::width()).unwrap_or_default(),
        Some(Format::Yaml) if !picked => front::yaml(&found.history),
        Some(Format::Json) if !picked => front::json(&found.history),
        format => {
            if !picked {
                let line = front::line(&found.history).unwrap_or_default();
                words!("{line}; --trial N takes another one");
            }
            hpo_report::export(&found.history, trial, format.unwrap_or(Format::Yaml))
                .map_err(|error| Failure::usage(&error).hint(error.hint()))?
        }
    };
    match &arguments.output {
        Some(path) => {
            file::write(path, &text).map_err(|e| {
                Failure::trouble(format!("{} cannot be written: {e}", path.display()))
            })?;
            match picked {
                true => words!("trial {} written to {}", trial.id, path.display()),
                false => words!("written to {}", path.display()),
            }
        }
        None => output::data(&text)?,
    }
    Ok(Exit::Done)
}
