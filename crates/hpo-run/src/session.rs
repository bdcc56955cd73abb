//! The word that marks every process of a session (`HPO_SESSION`), so that none is left behind.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use hpo_study::{AttemptNumber, Timestamp, TrialId};

/// One process of one trial, named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct AttemptId {
    pub(crate) trial: TrialId,
    pub(crate) attempt: AttemptNumber,
}

/// A session's mark: which study, and which of its sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    study: String,
    number: u32,
}

impl Session {
    /// The mark of session `number` of the study in `dir`. It follows the directory when it is moved,
    /// and a copy of the directory has another one.
    pub(crate) fn new(dir: &Path, opened: Timestamp, number: u32) -> std::io::Result<Self> {
        let at = fs::metadata(dir)?;
        let study = format!("{:x}-{:x}-{:x}", opened.0, at.dev(), at.ino());
        Ok(Self { study, number })
    }

    /// What the marks of all sessions of this study begin with.
    pub(crate) fn of_study(&self) -> String {
        format!("{}/", self.study)
    }

    /// What all marks of this session begin with.
    pub(crate) fn of_session(&self) -> String {
        format!("{}/{}/", self.study, self.number)
    }

    /// The mark of one attempt's processes.
    pub(crate) fn word(&self, id: AttemptId) -> String {
        format!("{}{}/{}", self.of_session(), id.trial, id.attempt)
    }

    /// The attempt that a mark names, if it is of this study, of whichever session.
    pub(crate) fn attempt(&self, word: &str) -> Option<AttemptId> {
        word.strip_prefix(&self.of_study())?;
        attempt_of_word(word)
    }

    /// The file that tells of the `count`-th warden of this session.
    pub(crate) fn warden_record(&self, wardens: &Path, count: u32) -> PathBuf {
        wardens.join(format!("{}-{count}", self.number))
    }
}

/// The attempt that a mark names.
pub(crate) fn attempt_of_word(word: &str) -> Option<AttemptId> {
    let mut parts = word.rsplit('/');
    let (attempt, trial) = (parts.next()?, parts.next()?);
    Some(AttemptId {
        trial: trial.parse().ok()?,
        attempt: AttemptNumber(attempt.parse().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_tell_studies_sessions_and_attempts_apart() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let one = Session::new(a.path(), Timestamp(5), 1).unwrap();
        let eleven = Session::new(a.path(), Timestamp(5), 11).unwrap();
        let copy = Session::new(b.path(), Timestamp(5), 1).unwrap();
        let id = AttemptId {
            trial: TrialId(3),
            attempt: AttemptNumber(2),
        };
        assert_eq!(one.attempt(&one.word(id)), Some(id));
        assert_eq!(one.attempt(&eleven.word(id)), Some(id));
        assert_eq!(one.attempt(&copy.word(id)), None);
        assert!(eleven.word(id).starts_with(&one.of_study()));
        assert!(!eleven.word(id).starts_with(&one.of_session()));
        assert!(!copy.word(id).starts_with(&one.of_study()));
    }
}
