//! What users have asked of running trials, as far as processes are told of it: through their control
//! files, and by how much time they are given to end.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use hpo_study::control::Request;
use hpo_study::protocol::CONTROL_STOP;
use hpo_study::{Config, History, Trial, TrialId, TrialState};

use crate::files::{TrialFiles, write_atomically};
use crate::session::AttemptId;

/// How a user wants a process to be ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// It is told through its control file, and by a signal only after half of its time.
    Politely,
    /// It is killed.
    AtOnce,
}

/// The wishes that processes have not outlived.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    manners: BTreeMap<AttemptId, Manner>,
    /// What stands in control files.
    told: BTreeMap<AttemptId, Config>,
}

impl Wishes {
    /// Takes in a request that was granted, and tells the process if it is about one. Gives back which.
    pub(crate) fn hear(
        &mut self,
        request: &Request,
        history: &History,
        study_dir: &Path,
    ) -> Option<AttemptId> {
        let (trial, manner) = match request {
            Request::StopTrial { trial } | Request::PauseTrial { trial } => {
                (*trial, Some(Manner::Politely))
            }
            Request::CancelTrial { trial } => (*trial, Some(Manner::AtOnce)),
            Request::Set { trial, .. } => (*trial, None),
            _ => return None,
        };
        let id = running(history, trial)?;
        if let Some(manner) = manner {
            self.manners.insert(id, manner);
        }
        if let Request::Set { values, .. } = request {
            let told = self.told.entry(id).or_default();
            for (name, value) in values {
                told.set(name.clone(), value.clone());
            }
            self.write(study_dir, id);
        }
        Some(id)
    }

    /// Tells a process that was found running what was wished of it since it was launched: by a session that has ended, or
    /// while nobody ran the study.
    pub(crate) fn recall(&mut self, id: AttemptId, history: &History, study_dir: &Path) {
        let Some(record) = history.trial(id.trial) else {
            return;
        };
        let launched = record.attempt().map(|attempt| attempt.launched);
        let since = record.changes.iter().filter(|c| Some(c.at) >= launched);
        let told: Config = since.map(|c| (c.parameter.clone(), c.to.clone())).collect();
        if !told.is_empty() {
            self.told.insert(id, told);
            self.write(study_dir, id);
        }
    }

    /// After which times a process gets SIGTERM and SIGKILL.
    pub(crate) fn manner(&self, id: AttemptId, grace: Duration) -> (Duration, Duration) {
        match self.manners.get(&id) {
            None => (Duration::ZERO, grace),
            Some(Manner::Politely) => (grace / 2, grace),
            Some(Manner::AtOnce) => (Duration::ZERO, Duration::ZERO),
        }
    }

    /// Tells a process, if it looks, that it is to end.
    pub(crate) fn tell_stop(&mut self, study_dir: &Path, id: AttemptId) {
        self.told.entry(id).or_default().set(CONTROL_STOP, true);
        self.write(study_dir, id);
        self.told.remove(&id);
    }

    fn write(&self, study_dir: &Path, id: AttemptId) {
        let path = TrialFiles::new(study_dir, id.trial).control;
        let write = || {
            let json = serde_json::to_vec(&self.told.get(&id)).map_err(io::Error::other)?;
            write_atomically(&path, &json, false)
        };
        if let Err(error) = write() {
            let (trial, attempt) = (id.trial.0, id.attempt.0);
            tracing::warn!(trial, attempt, %error, "the trial's control file cannot be written");
        }
    }
}

/// The attempt of a trial that has a process; of one that is being repeated that of its present run.
fn running(history: &History, trial: TrialId) -> Option<AttemptId> {
    let asked = history.trial(trial)?;
    let run = asked.repeats.runs.last();
    let run = run.filter(|_| asked.state == TrialState::Repeating);
    let record = run.map_or(Some(asked), |run| history.trial(*run))?;
    let attempt = Trial::attempt(record).filter(|a| record.state.is_active() && a.end.is_none())?;
    Some(AttemptId {
        trial: record.id,
        attempt: attempt.number,
    })
}
