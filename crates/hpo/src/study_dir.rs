//! Finding a study that people name, and looking into it.

use std::error::Error;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use hpo_study::{Event, History, HistoryError, StudySpec, Timestamp, Trial, TrialId};

use crate::cli::StudyArguments;
use crate::failure::Failure;
use crate::output::words;

/// A study that is looked at.
pub(crate) struct Found {
    pub(crate) directory: PathBuf,
    pub(crate) history: History,
    /// The coordinator's process id, if one is at work.
    pub(crate) coordinator: Option<u32>,
    /// The present while a coordinator is at work, else the moment of the last event.
    pub(crate) now: Timestamp,
}

impl Found {
    /// One of its trials that ran here.
    pub(crate) fn own_trial(&self, number: TrialId) -> Result<&Trial, Failure> {
        let trial = self.trial(number)?;
        match &trial.origin {
            None => Ok(trial),
            Some(origin) => {
                let batch = self.history.imports().get(origin.batch as usize);
                let source = batch.map_or("elsewhere", |batch| batch.source.as_str());
                Err(Failure::usage(format!(
                    "trial {number} never ran here: it was imported from {source}, where it is {}",
                    origin.name
                )))
            }
        }
    }

    /// One of its trials.
    pub(crate) fn trial(&self, number: TrialId) -> Result<&Trial, Failure> {
        let count = self.history.trials().len();
        self.history.trial(number).ok_or_else(|| {
            let failure = Failure::usage(format!(
                "there is no trial {number} in {}",
                self.history.spec().name
            ));
            match count.checked_sub(1) {
                None => failure.hint("it has no trial yet"),
                Some(last) => failure.hint(format!("its trials are numbered 0 to {last}")),
            }
        })
    }
}

/// Opens the study that was named for looking.
pub(crate) fn open(arguments: &StudyArguments) -> Result<Found, Failure> {
    let directory = find(arguments, true)?;
    look_into(directory, whole)
}

/// As [`open`], for who looks at no curve of a trial that is over: much sooner there in a large study.
pub(crate) fn open_brief(arguments: &StudyArguments) -> Result<Found, Failure> {
    let directory = find(arguments, true)?;
    look_into(directory, in_brief)
}

/// The same without a word about which study was taken.
pub(crate) fn open_quietly(arguments: &StudyArguments) -> Result<Found, Failure> {
    let directory = find(arguments, false)?;
    look_into(directory, whole)
}

fn look_into(
    directory: PathBuf,
    read: fn(&Path) -> Result<History, Failure>,
) -> Result<Found, Failure> {
    // Asked before reading, so that a coordinator that ends meanwhile has written all we read.
    let coordinator = coordinator(&directory);
    let history = read(&directory)?;
    let now = if coordinator.is_some() {
        present()
    } else {
        history.last_event()
    };
    Ok(Found {
        directory,
        history,
        coordinator,
        now,
    })
}

fn whole(directory: &Path) -> Result<History, Failure> {
    let mut history: Option<History> = None;
    let take_in = |event: &Event| -> Result<(), Box<dyn Error>> {
        match &mut history {
            Some(history) => history.apply(event)?,
            None => history = Some(History::open(event)?),
        }
        Ok(())
    };
    hpo_store::replay(directory, take_in).map_err(|error| {
        let error = error.downcast::<HistoryError>();
        error.map_or_else(Failure::trouble, |error| damaged(directory, &error))
    })?;
    let known = history.ok_or_else(HistoryError::empty);
    known.map_err(|error| damaged(directory, &error))
}

/// The log can be read, and makes no sense.
fn damaged(directory: &Path, error: &HistoryError) -> Failure {
    let path = directory.join(hpo_store::DATABASE);
    Failure::trouble(format!("{} is damaged: {error}", path.display()))
}

pub(crate) fn in_brief(directory: &Path) -> Result<History, Failure> {
    let events = hpo_store::read_brief(directory).map_err(Failure::trouble)?;
    History::replay(&events).map_err(|error| damaged(directory, &error))
}

/// The present moment.
pub(crate) fn present() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn find(arguments: &StudyArguments, tell: bool) -> Result<PathBuf, Failure> {
    let name = arguments.positional.as_ref().or(arguments.named.as_ref());
    directory(name, &arguments.place.dir, tell)
}

/// The directory of a study that was named, or of the latest one.
pub(crate) fn directory(
    name: Option<&PathBuf>,
    runs: &Path,
    tell: bool,
) -> Result<PathBuf, Failure> {
    match name {
        Some(name) => named(name, runs),
        None => latest(runs, tell),
    }
}

/// A study that may not have begun.
pub(crate) struct Target {
    pub(crate) directory: PathBuf,
    /// The study as its file says it, where a file was named.
    file: Option<StudySpec>,
}

/// The study that a study file is of, begun or not, or one that was named otherwise.
pub(crate) fn target(name: &Path, runs: &Path) -> Result<Target, Failure> {
    if !name.is_file() {
        let directory = named(name, runs)?;
        return Ok(Target {
            directory,
            file: None,
        });
    }
    let study = crate::study_file::load(name)?;
    let directory = runs.join(&study.spec.name);
    let directory = std::path::absolute(&directory)
        .map_err(|e| Failure::trouble(format!("{}: {e}", directory.display())))?;
    Ok(Target {
        directory,
        file: Some(study.spec),
    })
}

impl Target {
    /// The study: as it has begun, or else as its file says it.
    pub(crate) fn spec(&self) -> Result<StudySpec, Failure> {
        match &self.file {
            Some(spec) if !hpo_store::exists(&self.directory) => Ok(spec.clone()),
            _ => spec_of(&self.directory),
        }
    }

    /// Begins the study if it has not begun.
    pub(crate) fn begin(&self, spec: &StudySpec) -> Result<(), Failure> {
        hpo_run::begin(&self.directory, spec, env!("CARGO_PKG_VERSION")).map_err(Failure::trouble)
    }
}

/// The study in a directory, as it is at present.
pub(crate) fn spec_of(directory: &Path) -> Result<StudySpec, Failure> {
    Ok(in_brief(directory)?.spec().clone())
}

pub(crate) fn named(name: &Path, runs: &Path) -> Result<PathBuf, Failure> {
    for candidate in [name.to_owned(), runs.join(name)] {
        if hpo_store::exists(&candidate) {
            return Ok(candidate);
        }
    }
    if name.is_file() {
        let study = crate::study_file::load(name)?;
        let directory = runs.join(&study.spec.name);
        if hpo_store::exists(&directory) {
            return Ok(directory);
        }
        let absent = || {
            Failure::usage(format!("{} has not been run yet", name.display()))
                .hint(format!("hpo run {}", name.display()))
        };
        return Err(closed(&directory).unwrap_or_else(absent));
    }
    let closed = [name, &runs.join(name), runs].into_iter().find_map(closed);
    if let Some(failure) = closed {
        return Err(failure);
    }
    let failure = Failure::usage(format!("there is no study {}", name.display()));
    let known: Vec<String> = studies(runs)
        .into_iter()
        .map(|(_, path)| short_name(&path))
        .collect();
    Err(match known.as_slice() {
        [] => failure.hint(format!(
            "there is none under {} at all; --dir says where to look",
            runs.display()
        )),
        known => failure.hint(format!(
            "under {} there are: {}",
            runs.display(),
            known.join(", ")
        )),
    })
}

fn latest(runs: &Path, tell: bool) -> Result<PathBuf, Failure> {
    let mut studies = studies(runs);
    let several = studies.len();
    match studies.pop() {
        Some((_, path)) => {
            if tell && several > 1 {
                words!("(the latest of {several} studies: {})", short_name(&path));
            }
            Ok(path)
        }
        None => Err(none(runs)),
    }
}

/// There is no study in a directory, or none that may be looked at.
fn none(runs: &Path) -> Failure {
    any_closed(runs).unwrap_or_else(|| {
        Failure::usage(format!("there is no study under {}", runs.display()))
            .hint("`hpo run study.yaml` begins one; --dir says where to look")
    })
}

/// Why nobody can tell which studies there are in a directory, if it or something in it may not be looked into.
pub(crate) fn any_closed(runs: &Path) -> Option<Failure> {
    let inside = entries(runs).find_map(|path| closed(&path));
    inside.or_else(|| closed(runs))
}

/// Why nobody can tell whether there is a study in a directory: others may not look into it.
fn closed(directory: &Path) -> Option<Failure> {
    let error = directory.join(hpo_store::DATABASE).metadata().err()?;
    if error.kind() != std::io::ErrorKind::PermissionDenied {
        return None;
    }
    let failure = Failure::trouble(format!("{} cannot be read: {error}", directory.display()));
    Some(failure.hint("studies are private: look at it as the user who ran it"))
}

/// Says of each directory in one of studies into which others may not look that it is passed over.
pub(crate) fn tell_closed(runs: &Path) {
    for failure in entries(runs).filter_map(|path| closed(&path)) {
        failure.warn();
    }
}

/// All studies in a directory, the one last written to first.
pub(crate) fn all(runs: &Path) -> Vec<PathBuf> {
    studies(runs)
        .into_iter()
        .rev()
        .map(|(_, path)| path)
        .collect()
}

fn entries(runs: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(runs).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.path()))
}

/// The studies in a directory with the time each was last written to, the latest last.
fn studies(runs: &Path) -> Vec<(SystemTime, PathBuf)> {
    let mut studies: Vec<(SystemTime, PathBuf)> = entries(runs)
        .filter(|path| hpo_store::exists(path))
        .map(|path| (last_written(&path), path))
        .collect();
    studies.sort();
    studies
}

pub(crate) fn last_written(directory: &Path) -> SystemTime {
    let files = [
        hpo_store::DATABASE.to_owned(),
        format!("{}-wal", hpo_store::DATABASE),
    ];
    let times = files
        .iter()
        .filter_map(|f| directory.join(f).metadata().ok()?.modified().ok());
    times.max().unwrap_or(SystemTime::UNIX_EPOCH)
}

pub(crate) fn short_name(path: &Path) -> String {
    path.file_name().map_or_else(
        || path.display().to_string(),
        |n| n.to_string_lossy().into_owned(),
    )
}

/// The process that runs the study. Looking must not take the lock, even for a moment: a
/// coordinator that starts just then would be turned away. So the kernel's list of locks is read.
pub(crate) fn coordinator(directory: &Path) -> Option<u32> {
    let path = directory.join(hpo_store::LOCK);
    let pid: u32 = fs::read_to_string(&path).ok()?.trim().parse().ok()?;
    let inode = path.metadata().ok()?.ino();
    match fs::read_to_string("/proc/locks") {
        Ok(locks) => locks
            .lines()
            .any(|line| holds(line, pid, inode))
            .then_some(pid),
        Err(_) => Path::new("/proc")
            .join(pid.to_string())
            .exists()
            .then_some(pid),
    }
}

/// Whether a line of `/proc/locks` (`1: FLOCK  ADVISORY  WRITE 712 08:01:1234 0 EOF`) says that a
/// process holds a file's lock.
fn holds(line: &str, pid: u32, inode: u64) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [_, "FLOCK", _, _, holder, file, ..] = words.as_slice() else {
        return false;
    };
    holder.parse() == Ok(pid) && file.rsplit(':').next().and_then(|i| i.parse().ok()) == Some(inode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernels_list_are_understood() {
        assert!(holds(
            "1: FLOCK  ADVISORY  WRITE 712 08:01:1234 0 EOF",
            712,
            1234
        ));
        assert!(!holds(
            "1: FLOCK  ADVISORY  WRITE 713 08:01:1234 0 EOF",
            712,
            1234
        ));
        assert!(!holds(
            "1: -> FLOCK  ADVISORY  WRITE 712 08:01:1234 0 EOF",
            712,
            1234
        ));
        assert!(!holds(
            "1: POSIX  ADVISORY  WRITE 712 08:01:1234 0 EOF",
            712,
            1234
        ));
        assert!(!holds("", 1, 1));
    }
}
