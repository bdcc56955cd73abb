//! `hpo status`

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
    match arguments.format {
        TextFormat::Json => {
            output::json(&hpo_report::status(history, now, found.coordinator, &gpus))?
        }
        TextFormat::Text => {
            let width = output::width();
            let page = hpo_report::status::page(history, now, found.coordinator, &gpus, width);
            output::data(&page)?;
        }
    }
    Ok(Exit::Done)
}
