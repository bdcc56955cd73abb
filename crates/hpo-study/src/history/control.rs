//! What of the history came from a user's requests.

use std::collections::VecDeque;

use hpo_recipe::{Config, Value};

use super::{History, HistoryError};
use crate::control::{Limits, Request};
use crate::event::Event;
use crate::id::Timestamp;
use crate::spec::StudySpec;

/// What the user wished of a study beside its file.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Wishes {
    /// Nothing is started.
    paused: bool,
    /// Configurations to be tried next.
    enqueued: VecDeque<Config>,
    /// Limits over those of the study file, and the file's study below them.
    limits: Limits,
    file: Option<Box<StudySpec>>,
    /// Something was asked for since the session began.
    new: bool,
}

/// A value of a trial that the user changed.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Change {
    /// When.
    pub at: Timestamp,
    /// The last step that had been reported by then.
    pub step: Option<u64>,
    /// The parameter.
    pub parameter: String,
    /// Its value before; `None`: it had none.
    pub from: Option<Value>,
    /// Its value since.
    pub to: Value,
}

impl History {
    pub(super) fn user_request(
        &mut self,
        request: &Request,
        event: &Event,
    ) -> Result<(), HistoryError> {
        self.wishes.new = true;
        match request {
            Request::Pause if !self.wishes.paused => {
                // The study's time stands still meanwhile.
                self.earlier_sessions = self.running_time(event.at);
                self.session_started = None;
                self.wishes.paused = true;
            }
            Request::Resume if self.wishes.paused => {
                self.session_started = Some(event.at);
                self.wishes.paused = false;
            }
            Request::Pause | Request::Resume => {}
            // What these do stands in the events behind them.
            Request::Stop
            | Request::Cancel
            | Request::StopTrial { .. }
            | Request::CancelTrial { .. } => {}
            Request::PauseTrial { trial } => self.trial_mut(*trial, event)?.held = true,
            Request::ResumeTrial { trial } => self.trial_mut(*trial, event)?.held = false,
            Request::Set { trial, values } => {
                let record = self.trial_mut(*trial, event)?;
                for (name, to) in values {
                    let from = record.config.set(name.clone(), to.clone());
                    record.changes.push(Change {
                        at: event.at,
                        step: record.curve.last_step(),
                        parameter: name.clone(),
                        from,
                        to: to.clone(),
                    });
                }
            }
            Request::Import { .. } => {}
            Request::Enqueue { config, .. } => self.wishes.enqueued.push_back(config.clone()),
            Request::Limits { limits } => {
                let file = self.file_spec().clone();
                self.wishes.limits = self.wishes.limits.with(*limits);
                self.lay_limits(file);
            }
        }
        Ok(())
    }

    /// The study file was changed.
    pub(super) fn change_file(&mut self, file: StudySpec) {
        self.wishes.limits = self.wishes.limits.kept(self.file_spec(), &file);
        self.lay_limits(file);
    }

    fn lay_limits(&mut self, file: StudySpec) {
        self.spec = file.clone();
        self.wishes.limits.apply(&mut self.spec);
        self.wishes.file = (!self.wishes.limits.is_empty()).then(|| Box::new(file));
    }

    /// A new trial has the configuration that was first in the queue.
    pub(super) fn take_enqueued(&mut self, config: &Config) {
        if self.wishes.enqueued.front() == Some(config) {
            self.wishes.enqueued.pop_front();
        }
    }

    pub(super) fn new_session(&mut self) {
        self.wishes.paused = false;
        self.wishes.new = false;
    }

    pub(super) fn wishes_are_done(&mut self) {
        self.wishes.new = false;
    }

    /// Whether a user asked for something since the last session that it takes another one to do.
    #[must_use]
    pub fn has_new_wishes(&self) -> bool {
        self.wishes.new
    }

    /// Whether the user wants nothing to be started for now.
    #[must_use]
    pub fn paused(&self) -> bool {
        self.wishes.paused
    }

    /// The configurations that the user wants to be tried next, in order.
    #[must_use]
    pub fn enqueued(&self) -> &VecDeque<Config> {
        &self.wishes.enqueued
    }

    /// The limits that the user has put over those of the study file.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.wishes.limits
    }

    /// The study as its file says it, without limits that the user has put over it.
    #[must_use]
    pub fn file_spec(&self) -> &StudySpec {
        self.wishes.file.as_deref().unwrap_or(&self.spec)
    }
}
