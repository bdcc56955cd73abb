//! `hpo report`

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use hpo_report::html::{Source, page, report};
use hpo_study::History;

use crate::cli::{ReportArguments, ReportFormat};
use crate::failure::{Exit, Failure};
use crate::file;
use crate::output::{self, words};
use crate::study_dir;

/// Name of the report in a study's directory.
pub(super) const REPORT: &str = "report.html";

pub(super) fn perform(arguments: &ReportArguments) -> Result<Exit, Failure> {
    let found = study_dir::open(&arguments.study)?;
    let study_file = study_file(&found.directory);
    let gpus = hpo_store::gpu_samples(&found.directory, false).map_err(Failure::trouble)?;
    let source = Source {
        history: &found.history,
        now: found.now,
        pid: found.coordinator,
        study_file: study_file.as_deref(),
        gpus: &gpus,
    };
    let to_stdout = arguments.output.as_deref() == Some(Path::new("-"));
    match (arguments.format, &arguments.output) {
        (ReportFormat::Json, None) => output::json(&report(&source))?,
        (ReportFormat::Json, Some(_)) if to_stdout => output::json(&report(&source))?,
        (ReportFormat::Json, Some(path)) => {
            let text = serde_json::to_string(&report(&source)).map_err(Failure::trouble)?;
            written(path, file::write(path, &(text + "\n")))?;
        }
        (ReportFormat::Html, Some(_)) if to_stdout => output::data(&page(&source))?,
        (ReportFormat::Html, path) => {
            let text = page(&source);
            match path {
                Some(path) => written(path, file::write(path, &text))?,
                None => {
                    let path = found.directory.join(REPORT);
                    written(&path, file::write_private(&path, &text))?;
                }
            }
        }
    }
    Ok(Exit::Done)
}

fn written(path: &Path, done: io::Result<()>) -> Result<(), Failure> {
    done.map_err(|error| not_written(path, &error))?;
    words!("report written to {}", path.display());
    Ok(())
}

fn not_written(path: &Path, error: &io::Error) -> Failure {
    let failure = Failure::trouble(format!("{} cannot be written: {error}", path.display()));
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            failure.hint("`hpo report -o FILE` writes it where you may, `-o -` to stdout")
        }
        _ => failure,
    }
}

/// Writes the report of a study that `hpo run` leaves, into its directory; gives back where it is.
pub(super) fn leave(history: &History, directory: &Path) -> io::Result<PathBuf> {
    let study_file = study_file(directory);
    // Without the timeline there is a report all the same.
    let gpus = hpo_store::gpu_samples(directory, false).unwrap_or_default();
    let source = Source {
        study_file: study_file.as_deref(),
        gpus: &gpus,
        ..Source::of(history)
    };
    let path = directory.join(REPORT);
    file::write_private(&path, &page(&source))?;
    Ok(path)
}

/// The copy of the study file that `hpo run` keeps.
fn study_file(directory: &Path) -> Option<String> {
    fs::read_to_string(directory.join("study.yaml")).ok()
}
