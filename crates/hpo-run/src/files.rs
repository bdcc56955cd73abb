//! The files of a study's directory, other than its database.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use hpo_store::private;
use hpo_study::{AttemptNumber, History, TrialId};
use serde::{Deserialize, Serialize};

use crate::error::RunError;

/// Name of the file with the best configuration so far, in a study's directory.
pub const BEST: &str = "best.yaml";
/// Name of the file with the log lines (JSON), in a study's directory.
pub const LOG: &str = "log.jsonl";

/// The directory of one trial and what is in it.
#[derive(Debug, Clone)]
pub(crate) struct TrialFiles {
    pub(crate) dir: PathBuf,
    pub(crate) params: PathBuf,
    pub(crate) stdout: PathBuf,
    pub(crate) stderr: PathBuf,
    pub(crate) metrics: PathBuf,
    pub(crate) checkpoints: PathBuf,
    /// What the user wishes of the running process.
    pub(crate) control: PathBuf,
    offsets: PathBuf,
}

/// Where an attempt's words begin in files that all attempts of a trial append to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Offsets {
    attempt: u32,
    pub(crate) stdout: u64,
    pub(crate) stderr: u64,
    pub(crate) metrics: u64,
    /// Whether a later attempt found nothing to go on from: it counts its steps from 1 again.
    #[serde(default)]
    pub(crate) afresh: bool,
}

impl TrialFiles {
    /// The files of a trial of the study in `study_dir`, which is absolute.
    pub(crate) fn new(study_dir: &Path, trial: TrialId) -> Self {
        Self::at(study_dir.join("trials").join(trial.to_string()))
    }

    /// The files of a trial whose directory is `dir`.
    pub(crate) fn at(dir: PathBuf) -> Self {
        Self {
            params: dir.join("params.json"),
            stdout: dir.join("stdout.log"),
            stderr: dir.join("stderr.log"),
            metrics: dir.join("metrics.jsonl"),
            checkpoints: dir.join("checkpoints"),
            control: dir.join("control.json"),
            offsets: dir.join("attempt.json"),
            dir,
        }
    }

    /// Where the process of an attempt is written down.
    pub(crate) fn process_record(&self, attempt: AttemptNumber) -> PathBuf {
        self.dir.join(format!("process.{attempt}.json"))
    }

    /// Where it is written down how an attempt ended.
    pub(crate) fn exit_record(&self, attempt: AttemptNumber) -> PathBuf {
        self.dir.join(format!("exit.{attempt}.json"))
    }

    /// Whether there is anything to go on from.
    pub(crate) fn has_checkpoint(&self) -> bool {
        fs::read_dir(&self.checkpoints).is_ok_and(|mut entries| entries.next().is_some())
    }

    /// Notes where the words of a new attempt will begin. An unfinished last line of an earlier one
    /// is finished first, or the new attempt's first line would be a part of it.
    pub(crate) fn begin(&self, attempt: AttemptNumber, resumed: bool) -> Result<Offsets, RunError> {
        let offsets = Offsets {
            attempt: attempt.0,
            stdout: finish_line(&self.stdout).map_err(RunError::io(&self.stdout))?,
            stderr: finish_line(&self.stderr).map_err(RunError::io(&self.stderr))?,
            metrics: finish_line(&self.metrics).map_err(RunError::io(&self.metrics))?,
            afresh: attempt.0 > 1 && !resumed,
        };
        if offsets
            != (Offsets {
                attempt: attempt.0,
                ..Offsets::default()
            })
        {
            let json = serde_json::to_vec(&offsets).map_err(io::Error::other);
            let write = json.and_then(|json| write_atomically(&self.offsets, &json, false));
            write.map_err(RunError::io(&self.offsets))?;
        }
        Ok(offsets)
    }

    /// Where the words of an attempt of an earlier session begin. Files that began empty have no
    /// note.
    pub(crate) fn offsets(&self, attempt: AttemptNumber) -> Offsets {
        let noted = fs::read(&self.offsets).ok();
        let noted: Option<Offsets> = noted.and_then(|json| serde_json::from_slice(&json).ok());
        noted.filter(|o| o.attempt == attempt.0).unwrap_or_default()
    }
}

/// Ends the file's last line if it is not ended; gives back the file's length, 0 if there is none, or something else that
/// a trial has put in its place.
fn finish_line(path: &Path) -> io::Result<u64> {
    use std::os::unix::fs::FileExt as _;
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Ok(0);
    }
    let file = match File::options().read(true).append(true).open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(e) => return Err(e),
    };
    let length = file.metadata()?.len();
    let Some(last) = length.checked_sub(1) else {
        return Ok(0);
    };
    let mut byte = [0];
    file.read_exact_at(&mut byte, last)?;
    if byte == *b"\n" {
        return Ok(length);
    }
    (&file).write_all(b"\n")?;
    Ok(length + 1)
}

/// Puts a whole file in place of an old one: who reads it sees the one or the other.
pub(crate) fn write_atomically(path: &Path, content: &[u8], durable: bool) -> io::Result<()> {
    let draft = path.with_extension("new");
    let mut file = private::options()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&draft)?;
    file.write_all(content)?;
    if durable {
        file.sync_data()?;
    }
    fs::rename(&draft, path)
}

/// Writes the best configuration so far, or the front, where training code can read it; nothing when no trial is
/// complete.
pub(crate) fn write_best(study_dir: &Path, history: &History) -> Result<(), RunError> {
    let Some(best) = history.best() else {
        return Ok(());
    };
    let path = study_dir.join(BEST);
    let text = match history.spec().has_several() {
        true => Ok(hpo_report::front::yaml(history)),
        false => hpo_report::export(history, best, hpo_report::Format::Yaml),
    };
    let write = text
        .map_err(io::Error::other)
        .and_then(|text| write_atomically(&path, text.as_bytes(), true));
    write.map_err(RunError::io(&path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_attempt_begins_on_a_line_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let files = TrialFiles::new(dir.path(), TrialId(0));
        fs::create_dir_all(&files.dir).unwrap();
        assert_eq!(files.begin(AttemptNumber(1), false).unwrap().stdout, 0);
        assert_eq!(files.offsets(AttemptNumber(1)), Offsets::default());
        fs::write(&files.stdout, "half a li").unwrap();
        fs::write(&files.metrics, "{}\n").unwrap();
        let second = files.begin(AttemptNumber(2), true).unwrap();
        assert_eq!((second.stdout, second.stderr, second.metrics), (10, 0, 3));
        assert_eq!(fs::read_to_string(&files.stdout).unwrap(), "half a li\n");
        assert_eq!(files.offsets(AttemptNumber(2)), second);
        assert_eq!(files.offsets(AttemptNumber(3)), Offsets::default());
    }
}
