//! `hpo prune-runs`

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hpo_report::number::short_value;
use hpo_report::table::Table;
use hpo_run::checkpoints;
use hpo_store::StoreError;
use hpo_study::stay::what_stays;
use hpo_study::storage::size_words;
use hpo_study::{History, Value};
use serde::Serialize;

use crate::cli::{PruneArguments, TextFormat};
use crate::failure::{Exit, Failure};
use crate::output::words;
use crate::{output, study_dir};

/// One study, as `hpo prune-runs -f json` lists it. Fields are added in later versions, never changed.
#[derive(Serialize)]
struct Study {
    study: String,
    path: PathBuf,
    /// It is being run, and is left alone.
    running: bool,
    checkpoints_bytes: u64,
    other_bytes: u64,
    database_bytes: u64,
    removable_bytes: u64,
    removed_bytes: u64,
    trials: Vec<Trial>,
}

/// One trial that has checkpoints.
#[derive(Serialize)]
struct Trial {
    trial: u32,
    state: &'static str,
    value: Option<Value>,
    checkpoints_bytes: u64,
    removable_bytes: u64,
}

pub(super) fn perform(arguments: &PruneArguments) -> Result<Exit, Failure> {
    let mut studies = Vec::new();
    for directory in chosen(arguments)? {
        studies.push(look(&directory, arguments)?);
    }
    match arguments.print.format {
        TextFormat::Json => output::json(&studies)?,
        TextFormat::Text if studies.is_empty() => {}
        TextFormat::Text => output::page(&page(&studies))?,
    }
    let removable: u64 = studies.iter().map(|s| s.removable_bytes).sum();
    let removed: u64 = studies.iter().map(|s| s.removed_bytes).sum();
    if arguments.yes {
        words!("{} removed", size_words(removed));
    } else if removable > 0 {
        words!(
            "nothing was removed; --yes removes {}",
            size_words(removable)
        );
    }
    Ok(Exit::Done)
}

fn chosen(arguments: &PruneArguments) -> Result<Vec<PathBuf>, Failure> {
    let mut directories = if arguments.studies.is_empty() {
        let directories = study_dir::all(&arguments.place.dir);
        match directories.is_empty() {
            true => nothing_under(&arguments.place.dir)?,
            false => study_dir::tell_closed(&arguments.place.dir),
        }
        directories
    } else {
        let named = arguments.studies.iter();
        named
            .map(|name| study_dir::named(name, &arguments.place.dir))
            .collect::<Result<_, _>>()?
    };
    if let Some(age) = arguments.older_than {
        directories.retain(|directory| {
            let written = study_dir::last_written(directory);
            SystemTime::now()
                .duration_since(written)
                .unwrap_or(Duration::ZERO)
                >= age
        });
    }
    Ok(directories)
}

/// That there is nothing to clean up is no failure, unless nobody could see it.
fn nothing_under(runs: &Path) -> Result<(), Failure> {
    match study_dir::any_closed(runs) {
        Some(failure) => Err(failure),
        None => {
            words!("there is no study under {}", runs.display());
            Ok(())
        }
    }
}

fn look(directory: &Path, arguments: &PruneArguments) -> Result<Study, Failure> {
    // Held until everything of the study is done, so that nobody begins to run it meanwhile. Only to look
    // is no reason to turn a coordinator away.
    let lock = match arguments.yes.then(|| hpo_store::lock(directory)) {
        None => None,
        Some(Ok(lock)) => Some(lock),
        Some(Err(StoreError::Locked { .. })) => None,
        Some(Err(error)) => return Err(Failure::trouble(error)),
    };
    let is_running = if arguments.yes {
        lock.is_none()
    } else {
        study_dir::coordinator(directory).is_some()
    };
    let events = hpo_store::read(directory).map_err(Failure::trouble)?;
    let history = History::replay(&events).map_err(Failure::trouble)?;
    let mut study = Study {
        study: history.spec().name.clone(),
        path: directory.to_owned(),
        running: is_running,
        checkpoints_bytes: 0,
        other_bytes: 0,
        database_bytes: database_bytes(directory),
        removable_bytes: 0,
        removed_bytes: 0,
        trials: trials(directory, &history, arguments, is_running),
    };
    study.checkpoints_bytes = study.trials.iter().map(|t| t.checkpoints_bytes).sum();
    study.removable_bytes = study.trials.iter().map(|t| t.removable_bytes).sum();
    let all = checkpoints::bytes(directory);
    study.other_bytes = all.saturating_sub(study.checkpoints_bytes + study.database_bytes);
    if lock.is_some() {
        for (trial, stay) in what_stays(&history, arguments.keep) {
            match checkpoints::remove_checkpoints(directory, trial, stay) {
                Ok(freed) => study.removed_bytes += freed,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => words!("trial {trial} of {}: {error}", study.study),
            }
        }
    }
    Ok(study)
}

fn trials(
    directory: &Path,
    history: &History,
    arguments: &PruneArguments,
    is_running: bool,
) -> Vec<Trial> {
    let stays: std::collections::BTreeMap<_, _> =
        what_stays(history, arguments.keep).into_iter().collect();
    let row = |trial: &hpo_study::Trial| Trial {
        trial: trial.id.0,
        state: trial.state.word(),
        value: trial.value().map(Value::Float),
        checkpoints_bytes: checkpoints::checkpoint_bytes(directory, trial.id),
        removable_bytes: match stays.get(&trial.id) {
            Some(stay) if !is_running => checkpoints::removable_bytes(directory, trial.id, *stay),
            _ => 0,
        },
    };
    let rows = history.runs().map(row);
    // An empty directory takes no room on some disks, and a little on others.
    let has_any = |trial: &Trial| {
        let path = directory.join("trials").join(trial.trial.to_string());
        fs::read_dir(path.join("checkpoints")).is_ok_and(|mut entries| entries.next().is_some())
    };
    rows.filter(has_any).collect()
}

fn database_bytes(directory: &Path) -> u64 {
    ["", "-wal", "-shm"]
        .iter()
        .map(|end| checkpoints::bytes(&directory.join(format!("{}{end}", hpo_store::DATABASE))))
        .sum()
}

fn page(studies: &[Study]) -> String {
    let mut table = Table::new(&[
        "study",
        "trial",
        ">value",
        ">checkpoints",
        ">other",
        ">database",
        ">can go",
    ]);
    for study in studies {
        let can_go = if study.running {
            "is being run".to_owned()
        } else {
            size_words(study.removable_bytes)
        };
        table.row([
            study.study.clone(),
            format!("{} with checkpoints", study.trials.len()),
            String::new(),
            size_words(study.checkpoints_bytes),
            size_words(study.other_bytes),
            size_words(study.database_bytes),
            can_go,
        ]);
        let mut largest: Vec<&Trial> = study.trials.iter().collect();
        largest.sort_by_key(|t| std::cmp::Reverse(t.checkpoints_bytes));
        for trial in largest.iter().take(MOST) {
            table.row([
                String::new(),
                format!("{} {}", trial.trial, trial.state),
                trial.value.as_ref().map(short_value).unwrap_or_default(),
                size_words(trial.checkpoints_bytes),
                String::new(),
                String::new(),
                size_words(trial.removable_bytes),
            ]);
        }
        if largest.len() > MOST {
            let mut row: [String; 7] = std::array::from_fn(|_| String::new());
            row[1] = format!("… and {} more", largest.len() - MOST);
            table.row(row);
        }
    }
    table.render(output::width())
}

/// Most trials of a study that are shown.
const MOST: usize = 10;
