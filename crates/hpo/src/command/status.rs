//! `hpo status`

use crate::cli::{LookArguments, TextFormat};
use crate::failure::{Exit, Failure};
use crate::{output, study_dir};

pub(super) fn perform(arguments: &LookArguments) -> Result<Exit, Failure> {
    let found = study_dir::open(&arguments.study)?;
    let (history, now) = (&found.history, found.now);
    match arguments.format {
        TextFormat::Json => output::json(&hpo_report::status(history, now, found.coordinator))?,
        TextFormat::Text => {
            let page = hpo_report::status::page(history, now, found.coordinator, output::width());
            output::data(&page)?;
        }
    }
    Ok(Exit::Done)
}
