//! `hpo trial N`

use hpo_report::trial::{details, page};

use crate::cli::{TextFormat, TrialArguments};
use crate::failure::{Exit, Failure};
use crate::{output, study_dir};

pub(super) fn perform(arguments: &TrialArguments) -> Result<Exit, Failure> {
    let found = study_dir::open(&arguments.which.study)?;
    let trial = found.trial(arguments.which.trial)?;
    match arguments.print.format {
        TextFormat::Json => output::json(&details(&found.history, trial, found.now))?,
        TextFormat::Text => {
            output::page(&page(&found.history, trial, found.now, output::width()))?;
        }
    }
    Ok(Exit::Done)
}
