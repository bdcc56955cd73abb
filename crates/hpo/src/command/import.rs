//! `hpo import`, and the key `import` of a study file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hpo_engine::{Import, Imported};
use hpo_import::Wanted;
use hpo_report::number::short;
use hpo_study::import::{Fitted, Fitting, Refusal, Row, RowEnd, Rows, fit};
use hpo_study::{Goal, History, ImportBatch, ImportEntry, StudySpec};
use serde::Serialize;

use crate::cli::{ImportArguments, TextFormat};
use crate::failure::{Exit, Failure};
use crate::output::{self, words};
use crate::study_dir::{self, Target};

/// What `hpo import -f json` prints. Fields are added in later versions, never changed.
#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    study: &'a str,
    source: &'a str,
    #[serde(rename = "as")]
    used: &'static str,
    dry_run: bool,
    /// What became of it; in a dry run what there is.
    #[serde(flatten)]
    told: &'a Imported,
    skipped: &'a BTreeMap<String, Vec<String>>,
    unknown_parameters: Vec<&'a String>,
    notes: &'a [String],
}

/// A source that was read and fitted into a study.
pub(super) struct Ready {
    import: Import,
    fitted: Fitted,
    notes: Vec<String>,
}

pub(super) fn perform(arguments: &ImportArguments) -> Result<Exit, Failure> {
    let target = study_dir::target(&arguments.study, &arguments.place.dir)?;
    let spec = target.spec()?;
    let entry = ImportEntry {
        from: String::new(),
        study_name: arguments.study_name.clone(),
        metric: arguments.metric.clone(),
        map: arguments.map.iter().cloned().collect(),
        set: super::control::assignments(arguments.set.iter())?,
        used: arguments.used.into(),
        rerun: arguments.rerun,
    };
    refuse_itself(&arguments.source, &target)?;
    let ready = prepare(&spec, &entry, &arguments.source, None)?;
    let told = if arguments.dry_run {
        ready.preview()
    } else {
        target.begin(&spec)?;
        hpo_run::import(&target.directory, &ready.import).map_err(Failure::trouble)?
    };
    match arguments.print.format {
        TextFormat::Json => output::json(&Report {
            version: 1,
            study: &spec.name,
            source: &ready.import.batch.source,
            used: entry.used.word(),
            dry_run: arguments.dry_run,
            told: &told,
            skipped: &ready.fitted.skipped,
            unknown_parameters: ready.fitted.unknown.keys().collect(),
            notes: &ready.notes,
        })?,
        TextFormat::Text => {
            ready.tell(&told, &spec);
            if arguments.dry_run {
                words!("(nothing was imported: a dry run)");
            }
        }
    }
    if ready.import.trials.is_empty() {
        let source = &ready.import.batch.source;
        if ready.fitted.skipped.is_empty() {
            return Err(Failure::usage(format!("there is no trial in {source}")));
        }
        return Err(Failure::usage(format!(
            "no trial of {source} fits {}",
            spec.name
        ))
        .hint(
            "--map THERE=HERE names parameters, --set NAME=VALUE gives those that are not there",
        ));
    }
    Ok(Exit::Done)
}

/// Takes in what the study file asks for and was not taken in before. Sources that were are not looked at again.
pub(super) fn by_file(
    spec: &StudySpec,
    directory: &Path,
    study_dir: &Path,
    history: Option<&History>,
) -> Result<(), Failure> {
    let done = |entry: &ImportEntry| {
        let batches = history.map_or(&[][..], History::imports);
        batches
            .iter()
            .any(|batch| batch.entry.as_ref() == Some(entry))
    };
    let due = spec.warm_start.imports.iter().filter(|entry| !done(entry));
    let mut ready = Vec::new();
    for entry in due {
        ready.push(prepare(
            spec,
            entry,
            &directory.join(&entry.from),
            Some(entry),
        )?);
    }
    if ready.is_empty() {
        return Ok(());
    }
    hpo_run::begin(study_dir, spec, env!("CARGO_PKG_VERSION")).map_err(Failure::trouble)?;
    for one in ready {
        let told = hpo_run::import(study_dir, &one.import).map_err(Failure::trouble)?;
        one.tell(&told, spec);
    }
    Ok(())
}

/// Reads what the study file asks for, to see whether it can be imported.
pub(super) fn look(spec: &StudySpec, directory: &Path) -> Result<(), Failure> {
    for entry in &spec.warm_start.imports {
        let ready = prepare(spec, entry, &directory.join(&entry.from), Some(entry))?;
        ready.tell(&ready.preview(), spec);
    }
    Ok(())
}

fn prepare(
    spec: &StudySpec,
    entry: &ImportEntry,
    source: &Path,
    asked: Option<&ImportEntry>,
) -> Result<Ready, Failure> {
    if let Some(Refusal { why, instead }) = Refusal::of(spec) {
        let refused = format!("{} takes no trials from elsewhere: {why}", spec.name);
        return Err(Failure::usage(refused).hint(instead));
    }
    for name in entry
        .map
        .values()
        .chain(entry.set.iter().map(|(name, _)| name))
    {
        if spec.space.parameter(name).is_none() {
            let names = spec.space.parameters.iter().map(|p| p.name.as_str());
            let near = hpo_study::study_file::nearest(name, names);
            let failure = Failure::usage(format!("`{name}` is not a parameter of {}", spec.name));
            return Err(match near {
                Some(near) => failure.hint(format!("did you mean `{near}`?")),
                None => failure,
            });
        }
    }
    let wanted = Wanted {
        study_name: entry.study_name.clone(),
        metric: entry.metric.clone(),
        ..Wanted::by(spec, entry.map.keys())
    };
    let rows = hpo_import::read(source, &wanted).map_err(|error| {
        let failure = Failure::usage(&error);
        match error.hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    })?;
    check_goal(spec, &rows)?;
    let mut notes = Vec::new();
    let with_curves = curves_compare(spec, &rows, &mut notes);
    let fitting = Fitting {
        map: entry.map.clone(),
        set: entry.set.clone(),
        used: entry.used,
        with_curves,
    };
    let mut fitted = fit(&spec.space, &rows.rows, &fitting);
    let trials = std::mem::take(&mut fitted.trials);
    Ok(Ready {
        import: Import {
            batch: ImportBatch {
                source: rows.source,
                used: entry.used,
                entry: asked.cloned(),
            },
            trials,
            rerun: entry.rerun,
        },
        fitted,
        notes,
    })
}

fn check_goal(spec: &StudySpec, rows: &Rows) -> Result<(), Failure> {
    let word = |goal: Goal| match goal {
        Goal::Minimize => "minimized",
        Goal::Maximize => "maximized",
    };
    match rows.goal {
        Some(goal) if goal != spec.metric.goal => Err(Failure::usage(format!(
            "{} {} its metric, and {} is to be {} here",
            rows.source,
            if goal == Goal::Minimize {
                "minimizes"
            } else {
                "maximizes"
            },
            spec.metric.name,
            word(spec.metric.goal)
        ))
        .hint("it is another metric: --metric names the right one, if it is there")),
        _ => Ok(()),
    }
}

/// Whether curves are laid out over the same length there as here: steps of schedules of different lengths do not compare.
fn curves_compare(spec: &StudySpec, rows: &Rows, notes: &mut Vec<String>) -> bool {
    let completed = |row: &&Row| row.end == RowEnd::Completed;
    let last = |row: &Row| row.curve.last().map(|(step, _)| *step);
    let longest = rows.rows.iter().filter(completed).filter_map(last).max();
    match (spec.max_steps(), rows.horizon.or(longest)) {
        (Some(here), Some(there)) if here != there => {
            notes.push(format!(
                "trials there are {there} steps long and here {here}: their curves do not compare, only their ends are \
                 taken over"
            ));
            false
        }
        _ => true,
    }
}

fn refuse_itself(source: &Path, target: &Target) -> Result<(), Failure> {
    let canonical = |path: &Path| -> Option<PathBuf> {
        let path = path.canonicalize().ok()?;
        Some(match path.is_file() {
            true => path.parent()?.to_owned(),
            false => path,
        })
    };
    let own = canonical(&target.directory);
    let is_database =
        source.is_dir() || source.file_name().is_some_and(|n| n == hpo_store::DATABASE);
    if own.is_some() && is_database && own == canonical(source) {
        return Err(Failure::usage(
            "a study's own trials need not be imported into it",
        ));
    }
    Ok(())
}

impl Ready {
    /// What an import into an empty study would say.
    fn preview(&self) -> Imported {
        let count = |end: RowEnd| self.import.trials.iter().filter(|t| t.end == end).count();
        Imported {
            completed: count(RowEnd::Completed),
            stopped: count(RowEnd::Stopped),
            infeasible: count(RowEnd::Infeasible),
            ..Imported::default()
        }
    }

    fn tell(&self, told: &Imported, spec: &StudySpec) {
        const NAMED: usize = 5;
        let plural = |n: usize| if n == 1 { "" } else { "s" };
        let mut parts = Vec::new();
        for (n, word) in [
            (told.completed, "completed"),
            (told.stopped, "stopped early"),
            (told.infeasible, "failed or diverged"),
        ] {
            if n > 0 {
                parts.push(format!("{n} {word}"));
            }
        }
        let best = told.best.map_or_else(String::new, |best| {
            format!("; the best {} is {}", spec.metric.name, short(best))
        });
        let parts = match parts.is_empty() {
            true => String::new(),
            false => format!(" ({})", parts.join(", ")),
        };
        let count = told.count();
        words!(
            "{count} trial{} from {}{parts}, as {}{best}",
            plural(count),
            self.import.batch.source,
            self.import.batch.used.word()
        );
        if told.known > 0 {
            words!("  {} had been imported before", told.known);
        }
        for (why, names) in &self.fitted.skipped {
            let some = names
                .iter()
                .take(NAMED)
                .cloned()
                .collect::<Vec<_>>()
                .join(", ");
            let more = if names.len() > NAMED { ", …" } else { "" };
            words!("  {} left out, {why}: {some}{more}", names.len());
        }
        for (name, varies) in &self.fitted.unknown {
            let how = match varies {
                true => "and had different values there: it adds noise",
                false => "and was always the same there",
            };
            words!("  `{name}` is not a parameter of {}, {how}", spec.name);
        }
        for note in self.notes.iter().chain(&told.warning) {
            words!("  {}: {note}", output::yellow("note"));
        }
        for config in &told.rerun {
            words!("  tried here first: {config}");
        }
    }
}
