//! `hpo status`

use hpo_report::status::AtWork;

use crate::cli::{LookArguments, TextFormat};
use crate::failure::{Exit, Failure};
use crate::{output, study_dir};

pub(super) fn perform(arguments: &LookArguments) -> Result<Exit, Failure> {
    let found = study_dir::open_brief(&arguments.study)?;
    let (history, now) = (&found.history, found.now);
    let gpus = match found.coordinator {
        Some(_) => hpo_store::gpu_samples(&found.directory, true).map_err(Failure::trouble)?,
        None => Vec::new(),
    };
    let at_work = AtWork {
        coordinator: found.coordinator,
        alone: match found.coordinator {
            Some(_) => Vec::new(),
            None => hpo_run::running_alone(&found.directory, history),
        },
    };
    match arguments.print.format {
        TextFormat::Json => output::json(&hpo_report::status(history, now, &at_work, &gpus))?,
        TextFormat::Text => {
            let width = output::width();
            let page = hpo_report::status::page(history, now, &at_work, &gpus, width);
            output::page(&page)?;
        }
    }
    Ok(Exit::Done)
}
