//! Reads trials from elsewhere: another study of `hpo`, an Optuna database, a CSV table (pandas, W&B, Ray Tune), JSON.
//!
//! Nothing is ever written to a source, and nothing of it is executed. What rows mean to a study is
//! [`hpo_study::import`]'s business; this crate must never decide which of them count.

mod error;
mod json;
mod optuna;
mod states;
mod study;
mod table;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use hpo_study::import::Rows;
use hpo_study::{Config, StudySpec};

pub use error::ImportError;

/// Files of more bytes are refused: no table of trials is so large.
const LARGEST: u64 = 1 << 30;

/// What is looked for in a source.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Which study of a database that holds several.
    pub study_name: Option<String>,
    /// What the metric is called there; `None`: as in the study.
    pub metric: Option<String>,
    /// What the metric is called in the study.
    pub objective: String,
    /// The names that parameters may have there.
    pub parameters: BTreeSet<String>,
}

impl Wanted {
    /// What a study wants, with names there for names here.
    #[must_use]
    pub fn by<'a>(spec: &StudySpec, there: impl IntoIterator<Item = &'a String>) -> Self {
        let own = spec.space.parameters.iter().map(|p| p.name.clone());
        Self {
            objective: spec.metric.name.clone(),
            parameters: own.chain(there.into_iter().cloned()).collect(),
            ..Self::default()
        }
    }

    /// The metric's name there, and whether somebody said so.
    fn metric(&self) -> (&str, bool) {
        match &self.metric {
            Some(name) => (name, true),
            None => (&self.objective, false),
        }
    }
}

/// Reads all trials of a source: a study's directory, a database, or a file.
///
/// # Errors
/// What is wrong with the source, with line and column in a table; nothing of it is read then.
pub fn read(source: &Path, wanted: &Wanted) -> Result<Rows, ImportError> {
    let path = plain(source);
    let path = path.as_path();
    let metadata = std::fs::metadata(path).map_err(|error| ImportError::file(path, &error))?;
    if metadata.is_dir() {
        return study::read(path, wanted);
    }
    if !metadata.is_file() {
        return Err(ImportError::new(format!("{} is no file", path.display())));
    }
    if is_sqlite(path)? {
        let parent = path.parent().filter(|_| study::is_ours(path));
        return match parent {
            Some(directory) => study::read(directory, wanted),
            None => optuna::read(path, wanted),
        };
    }
    if metadata.len() > LARGEST {
        return Err(ImportError::new(format!(
            "{} is larger than 1 GiB",
            path.display()
        )));
    }
    let text = text(path)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    if text.trim().is_empty() {
        return Err(ImportError::new(format!("{} is empty", path.display())));
    }
    match text.trim_start().starts_with(['{', '[']) {
        true => json::read(path, text, wanted),
        false => table::read(path, text, wanted),
    }
}

/// Configurations, all values or some of each, from a CSV or JSON file; with what each is called there. Columns and keys that
/// are no parameters are left out.
///
/// # Errors
/// As [`read`].
pub fn configurations(
    path: &Path,
    parameters: &BTreeSet<String>,
) -> Result<Vec<(String, Config)>, ImportError> {
    let text = text(path)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let rows = match text.trim_start().starts_with(['{', '[']) {
        true => json::configurations(path, text, parameters),
        false => table::configurations(path, text, parameters),
    }?;
    if rows.is_empty() {
        return Err(ImportError::new(format!(
            "{} has no configuration",
            path.display()
        )));
    }
    Ok(rows)
}

fn text(path: &Path) -> Result<String, ImportError> {
    let bytes = std::fs::read(path).map_err(|error| ImportError::file(path, &error))?;
    String::from_utf8(bytes).map_err(|_| {
        ImportError::new(format!("{} is not UTF-8 text", path.display())).hint(
            "a source is a study directory, an Optuna database (SQLite), a CSV or a JSON file",
        )
    })
}

/// The path of a source as Optuna writes it: `sqlite:///old.db`.
fn plain(source: &Path) -> PathBuf {
    let text = source
        .to_str()
        .and_then(|text| text.strip_prefix("sqlite:///"));
    text.map_or_else(|| source.to_owned(), PathBuf::from)
}

fn is_sqlite(path: &Path) -> Result<bool, ImportError> {
    const MARK: &[u8] = b"SQLite format 3\0";
    let mut first = Vec::new();
    let file = File::open(path).map_err(|error| ImportError::file(path, &error))?;
    let read = file.take(MARK.len() as u64).read_to_end(&mut first);
    read.map_err(|error| ImportError::file(path, &error))?;
    Ok(first == MARK)
}

/// Some names for people, in order.
fn some<'a>(names: impl Iterator<Item = &'a str>) -> String {
    const MOST: usize = 12;
    let all: Vec<&str> = names.collect();
    let more = if all.len() > MOST { ", …" } else { "" };
    format!("{}{more}", all[..all.len().min(MOST)].join(", "))
}
