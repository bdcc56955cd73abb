//! `hpo train`: the built-in trainer, in the process of one trial.

use crate::failure::{Exit, Failure};
use crate::output::words;

pub(super) fn perform(verbosity: u8) -> Result<Exit, Failure> {
    hpo_run::init_logging(verbosity, None, std::io::stderr).map_err(Failure::trouble)?;
    match hpo_train::run_from_environment() {
        Ok(_) => Ok(Exit::Done),
        Err(error) => {
            words!("error: {error}");
            // A trial that cannot be trained is a failed trial: 1, as from any script.
            Err(Failure::silent(Exit::NoResult))
        }
    }
}
