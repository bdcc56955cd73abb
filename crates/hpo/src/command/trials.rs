//! `hpo trials`

use hpo_report::trials::{Selection, csv, rows, table};

use crate::cli::{TableFormat, TrialsArguments};
use crate::failure::{Exit, Failure};
use crate::{output, study_dir};

pub(super) fn perform(arguments: &TrialsArguments) -> Result<Exit, Failure> {
    let found = study_dir::open(&arguments.study)?;
    let metric = &found.history.spec().metric;
    let selection = Selection {
        state: arguments.state.clone(),
        best_first: arguments.best,
        most: arguments.most,
    };
    let rows = selection.pick(rows(&found.history, found.now), metric.goal);
    match arguments.format {
        TableFormat::Json => output::json(&rows)?,
        TableFormat::Csv => output::data(&csv(&rows))?,
        TableFormat::Table => output::data(&table(&rows, &metric.name, output::width()))?,
    }
    Ok(Exit::Done)
}
