//! `hpo trials`

use std::collections::BTreeMap;

use hpo_report::trials::{Selection, csv, row, rows, table_of_several};

use hpo_study::{History, TrialId};

use crate::cli::{TableFormat, TrialsArguments};
use crate::failure::{Exit, Failure};
use crate::{output, study_dir};

pub(super) fn perform(arguments: &TrialsArguments) -> Result<Exit, Failure> {
    let found = study_dir::open(&arguments.study)?;
    if arguments.map {
        return map(&found.history, arguments.format);
    }
    let metric = &found.history.spec().metric;
    let mut selection = Selection {
        state: arguments.state.clone(),
        best_first: arguments.best,
        most: arguments.most,
    };
    let history = &found.history;
    let runs = match (arguments.confirmations, arguments.repeats) {
        (true, _) => Some(history.confirmations()),
        (_, true) => Some(history.repeats()),
        (false, false) => None,
    };
    let rows = match runs {
        Some(runs) => runs
            .iter()
            .map(|run| row(history, run, found.now))
            .collect(),
        None => rows(history, found.now),
    };
    let mut rows = rows;
    let several = history.spec().has_several();
    if several && arguments.best {
        // No value ranks them: by layers of the front.
        let order = history.best_first().into_iter().map(|t| t.id);
        let places: BTreeMap<TrialId, usize> = order.zip(0..).collect();
        rows.sort_by_key(|row| places.get(&row.trial).copied().unwrap_or(places.len()));
        selection.best_first = false;
    }
    let rows = selection.pick(rows, metric.goal);
    match arguments.format {
        TableFormat::Json => output::json(&rows)?,
        TableFormat::Csv => output::data(&csv(&rows))?,
        TableFormat::Table => {
            let further = history.spec().further.iter();
            let further: Vec<&str> = further.map(|metric| metric.name.as_str()).collect();
            let mut text = table_of_several(&rows, &metric.name, &further, output::width());
            if let Some(again) = hpo_report::confirmations::table(&found.history, output::width()) {
                text = text + "\n" + &again;
            }
            output::page(&text)?;
        }
    }
    Ok(Exit::Done)
}

/// Where runs come to nothing.
fn map(history: &History, format: TableFormat) -> Result<Exit, Failure> {
    let map = hpo_report::map::map(history).ok_or_else(|| {
        Failure::no_result(format!(
            "no trial of {} with a parameter `lr` or `learning_rate` has told anything yet",
            history.spec().name
        ))
    })?;
    match format {
        TableFormat::Json => output::json(&map)?,
        TableFormat::Csv => {
            return Err(Failure::usage("the map has no form as CSV")
                .hint("-f json has it as data; without --map -f csv has all trials"));
        }
        TableFormat::Table => output::page(&map.text())?,
    }
    Ok(Exit::Done)
}
