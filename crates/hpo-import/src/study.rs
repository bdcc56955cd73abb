//! Another study of `hpo`.

use std::error::Error;
use std::path::Path;

use hpo_study::import::{ImportAs, Row, RowEnd, Rows};
use hpo_study::{Event, FailReason, History, StopReason, Trial, TrialState};

use crate::{ImportError, Wanted, some};

/// SQLite's `application_id` of study databases.
const MARK: i32 = 0x6870_6f00;

/// Whether a database is a study's.
pub(crate) fn is_ours(path: &Path) -> bool {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let id = rusqlite::Connection::open_with_flags(path, flags)
        .and_then(|c| c.pragma_query_value(None, "application_id", |row| row.get::<_, i32>(0)));
    id.is_ok_and(|id| id == MARK)
}

pub(crate) fn read(directory: &Path, wanted: &Wanted) -> Result<Rows, ImportError> {
    let shown = directory.display();
    if !hpo_store::exists(directory) {
        return Err(ImportError::new(format!("there is no study in {shown}"))
            .hint("give a study's directory, such as runs/yesterday"));
    }
    let mut known: Option<History> = None;
    let take_in = |event: &Event| -> Result<(), Box<dyn Error>> {
        match &mut known {
            Some(history) => history.apply(event)?,
            None => known = Some(History::open(event)?),
        }
        Ok(())
    };
    hpo_store::replay(directory, take_in).map_err(|error| {
        ImportError::new(format!("the study in {shown} cannot be read: {error}"))
    })?;
    let history =
        known.ok_or_else(|| ImportError::new(format!("the study in {shown} is empty")))?;
    of_history(&history, wanted)
}

fn of_history(history: &History, wanted: &Wanted) -> Result<Rows, ImportError> {
    let spec = history.spec();
    let (metric, _) = wanted.metric();
    let objective = metric == spec.metric.name;
    if !objective && !history.metric_names().iter().any(|name| name == metric) {
        let all = std::iter::once(spec.metric.name.as_str());
        let all = all.chain(history.metric_names().iter().map(String::as_str));
        return Err(ImportError::new(format!(
            "the study `{}` has no metric `{metric}`",
            spec.name
        ))
        .hint(format!("--metric names one of its own: {}", some(all))));
    }
    let trials = history.trials().iter();
    let rows = trials.filter(|t| history.imported_as(t) != Some(ImportAs::Prior));
    Ok(Rows {
        source: format!("the study `{}`", spec.name),
        goal: objective.then_some(spec.metric.goal),
        horizon: spec.max_steps(),
        rows: rows
            .map(|trial| row(history, trial, metric, objective))
            .collect(),
    })
}

fn row(history: &History, trial: &Trial, metric: &str, objective: bool) -> Row {
    let curve = history.reports(trial, metric);
    let last = curve.last().map(|(_, value)| *value);
    // Part of a rescued trial ran with another learning rate than its configuration says.
    let rescued = !trial.rescues.is_empty();
    let end = match &trial.state {
        _ if rescued => RowEnd::Unfinished,
        TrialState::Completed => RowEnd::Completed,
        state if state.is_infeasible() => RowEnd::Infeasible,
        TrialState::Stopped(StopReason::Pruned { .. })
        | TrialState::Stopped(
            StopReason::User | StopReason::TimeCap | StopReason::TimeLimit { .. },
        ) => RowEnd::Stopped,
        TrialState::Failed(FailReason::Crash { .. }) => RowEnd::Infeasible,
        _ => RowEnd::Unfinished,
    };
    let params = trial
        .config
        .iter()
        .map(|(name, value)| (name.clone(), value.clone()));
    Row {
        name: format!("trial {}", trial.id),
        params: params.collect(),
        end,
        value: if objective { trial.value() } else { last },
        curve,
    }
}
