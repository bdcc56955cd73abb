//! `hpo warden`: see [`hpo_run::warden`].

use crate::cli::WardenArguments;
use crate::failure::{Exit, Failure};

pub(super) fn perform(arguments: &WardenArguments) -> Result<Exit, Failure> {
    hpo_run::warden(&arguments.session);
    Ok(Exit::Done)
}
