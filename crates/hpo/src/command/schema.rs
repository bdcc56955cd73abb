//! `hpo schema`

use crate::failure::{Exit, Failure};
use crate::output;

pub(super) fn perform() -> Result<Exit, Failure> {
    output::json(&hpo_study::schema::json_schema())?;
    Ok(Exit::Done)
}
