//! The history: what the events so far add up to. [`History::apply`] is the only interpreter of
//! events, live and on resume alike.

mod apply;
mod control;
mod curve;
mod importing;
mod objectives;
mod repeating;
mod steps;
mod trial;

use std::collections::BTreeMap;
use std::time::Duration;

use thiserror::Error;

use apply::misfit;
pub use control::Change;
use control::Wishes;
pub use curve::Curve;
use importing::Imports;
pub use steps::Steps;
pub use trial::{Attempt, Trial, TrialState};

use crate::confirm::{self, Confirm};
use crate::event::{CodeNote, Event, EventKind, StudyEnd};
use crate::id::{Timestamp, TrialId};
use crate::population::Parent;
use crate::spec::StudySpec;

/// Everything that is known of a study.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    spec: StudySpec,
    hpo_version: String,
    opened: Timestamp,
    trials: Vec<Trial>,
    metric_names: Vec<String>,
    draining: bool,
    end: Option<StudyEnd>,
    sessions: u32,
    session_started: Option<Timestamp>,
    earlier_sessions: Duration,
    last_event: Timestamp,
    failures_in_a_row: u32,
    lost_gpus: BTreeMap<String, String>,
    wishes: Wishes,
    failures_alike: u32,
    last_failure: Option<String>,
    confirmations: Vec<Trial>,
    repeats: Vec<Trial>,
    confirm: Option<Confirm>,
    only_confirms: bool,
    /// Where the next trial begins.
    fork: Option<Parent>,
    code: Vec<CodeNote>,
    imports: Imports,
    /// Only where there are several objectives.
    front: Vec<(TrialId, Vec<f64>)>,
}

/// An event that does not fit what came before it: the log is damaged, or not of this program.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("event {event} does not fit the history: {why}")]
pub struct HistoryError {
    /// The event's kind and subject.
    pub event: String,
    /// What is wrong.
    pub why: &'static str,
}

impl HistoryError {
    /// There is no event at all.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            event: "(none)".to_owned(),
            why: "the log is empty",
        }
    }
}

impl History {
    /// The history after the first event.
    ///
    /// # Errors
    /// When the event does not open a study.
    pub fn open(event: &Event) -> Result<Self, HistoryError> {
        let EventKind::StudyOpened { spec, hpo_version } = &event.kind else {
            return Err(misfit(event, "a log begins with study_opened"));
        };
        Ok(Self {
            spec: (**spec).clone(),
            hpo_version: hpo_version.clone(),
            opened: event.at,
            trials: Vec::new(),
            metric_names: Vec::new(),
            draining: false,
            end: None,
            sessions: 0,
            session_started: None,
            earlier_sessions: Duration::ZERO,
            last_event: event.at,
            failures_in_a_row: 0,
            lost_gpus: BTreeMap::new(),
            wishes: Wishes::default(),
            failures_alike: 0,
            last_failure: None,
            confirmations: Vec::new(),
            repeats: Vec::new(),
            confirm: None,
            only_confirms: false,
            code: Vec::new(),
            imports: Imports::default(),
            fork: None,
            front: Vec::new(),
        })
    }

    /// The history after all of these events.
    ///
    /// # Errors
    /// When there is none, or one does not fit those before it.
    pub fn replay<'a>(events: impl IntoIterator<Item = &'a Event>) -> Result<Self, HistoryError> {
        let mut events = events.into_iter();
        let first = events.next().ok_or_else(HistoryError::empty)?;
        let mut history = Self::open(first)?;
        for event in events {
            history.apply(event)?;
        }
        Ok(history)
    }

    /// Takes one more event in.
    ///
    /// Reports and ends of older attempts than a trial's last are passed over: such a process is
    /// fenced off and nothing it says counts.
    ///
    /// # Errors
    /// When the event does not fit; the history is then as it was.
    pub fn apply(&mut self, event: &Event) -> Result<(), HistoryError> {
        self.apply_kind(event)?;
        self.last_event = event.at;
        Ok(())
    }

    /// What a trial reported of a metric, the objective or another, as `(step, value)` in order; values
    /// possibly not finite.
    #[must_use]
    pub fn reports(&self, trial: &Trial, metric: &str) -> Vec<(u64, f64)> {
        if metric == self.spec.metric.name {
            return trial.curve.objectives().collect();
        }
        let index = self.metric_names.iter().position(|name| name == metric);
        let index = index.and_then(|index| u16::try_from(index).ok());
        index.map_or_else(Vec::new, |index| trial.curve.metric(index).collect())
    }

    /// The study.
    #[must_use]
    pub fn spec(&self) -> &StudySpec {
        &self.spec
    }
    /// Version of the program that opened the study.
    #[must_use]
    pub fn hpo_version(&self) -> &str {
        &self.hpo_version
    }
    /// When the study was opened.
    #[must_use]
    pub fn opened(&self) -> Timestamp {
        self.opened
    }
    /// All trials of the search; a trial's number is its index.
    #[must_use]
    pub fn trials(&self) -> &[Trial] {
        &self.trials
    }
    /// The runs that confirm trials, in order. They are no part of the search: nobody learns from
    /// them, and they count for no cap.
    #[must_use]
    pub fn confirmations(&self) -> &[Trial] {
        &self.confirmations
    }
    /// Which code the sessions' trials ran, in order.
    #[must_use]
    pub fn code(&self) -> &[CodeNote] {
        &self.code
    }
    /// How often the code was another one than in the session before.
    #[must_use]
    pub fn code_changes(&self) -> usize {
        let pairs = self.code.iter().zip(self.code.iter().skip(1));
        pairs.filter(|(a, b)| a.code != b.code).count()
    }
    /// The runs that repeat trials with further seeds, in order. Their values are part of those trials'.
    #[must_use]
    pub fn repeats(&self) -> &[Trial] {
        &self.repeats
    }
    /// All that runs or ran: the search's trials, then what repeats and what confirms them.
    pub fn runs(&self) -> impl Iterator<Item = &Trial> {
        let trials = self.trials.iter().chain(&self.repeats);
        trials.chain(&self.confirmations)
    }
    /// Which trials are to be confirmed: what was asked for last, else what the study file says.
    #[must_use]
    pub fn confirm(&self) -> Option<Confirm> {
        self.confirm.or(self.spec.confirm)
    }
    /// Whether this session only confirms, and leaves the search as it is.
    #[must_use]
    pub fn only_confirms(&self) -> bool {
        self.only_confirms
    }
    /// One trial, or a run that confirms one.
    #[must_use]
    pub fn trial(&self, id: TrialId) -> Option<&Trial> {
        match (id.repeat_index(), id.confirmation_index()) {
            (Some(index), _) => self.repeats.get(index),
            (_, Some(index)) => self.confirmations.get(index),
            (None, None) => self.trials.get(id.index()),
        }
    }
    /// Names of the metrics other than the objective, in order of appearance.
    #[must_use]
    pub fn metric_names(&self) -> &[String] {
        &self.metric_names
    }
    /// Whether no new trials are to be started in this session.
    #[must_use]
    pub fn draining(&self) -> bool {
        self.draining
    }
    /// Why the study ended, if it has.
    #[must_use]
    pub fn end(&self) -> Option<&StudyEnd> {
        self.end.as_ref()
    }
    /// How many coordinators have taken the study up.
    #[must_use]
    pub fn sessions(&self) -> u32 {
        self.sessions
    }
    /// When the last event happened.
    #[must_use]
    pub fn last_event(&self) -> Timestamp {
        self.last_event
    }
    /// When the present session began (or its clock was moved).
    #[must_use]
    pub fn session_started(&self) -> Option<Timestamp> {
        self.session_started
    }
    /// How many of the last trials in a row have failed for the same cause, in this session; see
    /// [`causes::signature`](crate::causes::signature).
    #[must_use]
    pub fn failures_alike(&self) -> u32 {
        self.failures_alike
    }
    /// How many trials in a row have failed, in this session.
    #[must_use]
    pub fn failures_in_a_row(&self) -> u32 {
        self.failures_in_a_row
    }
    /// The GPUs that cannot be used at present, by UUID, and why.
    #[must_use]
    pub fn lost_gpus(&self) -> &BTreeMap<String, String> {
        &self.lost_gpus
    }
    /// How long the study has run at `now`, all sessions together; pauses between them and by the
    /// user's wish are left out, and so is time for which the machine slept.
    #[must_use]
    pub fn running_time(&self, now: Timestamp) -> Duration {
        let this = self
            .session_started
            .map_or(Duration::ZERO, |started| now.since(started));
        self.earlier_sessions + this
    }
    /// Whether the time of a session runs. It also does when its coordinator has left or died, until
    /// the log says something later.
    #[must_use]
    pub fn in_session(&self) -> bool {
        self.session_started.is_some()
    }
    /// The best trial: the one that was confirmed as such, or, until one is, the one with the best
    /// single value.
    #[must_use]
    pub fn best(&self) -> Option<&Trial> {
        match confirm::winner(self) {
            Some(winner) => Some(winner.trial),
            None => self.single_best(),
        }
    }
    /// The completed trial with the best finite value; the earlier one when two are alike. That value
    /// flatters: the best of many is lucky as well as good. With several objectives the front's
    /// [compromise](History::compromise).
    #[must_use]
    pub fn single_best(&self) -> Option<&Trial> {
        if self.spec.has_several() {
            return self.compromise();
        }
        let goal = self.spec.metric.goal;
        let completed = self
            .trials
            .iter()
            .filter(|t| t.state == TrialState::Completed && self.can_be_best(t));
        let mut best: Option<(&Trial, f64)> = None;
        for trial in completed {
            let Some(value) = trial.value().filter(|v| v.is_finite()) else {
                continue;
            };
            if best.is_none_or(|(_, b)| goal.better(value, b)) {
                best = Some((trial, value));
            }
        }
        best.map(|(trial, _)| trial)
    }
    /// A metric other than the objective at a trial's last report.
    #[must_use]
    pub fn last_metric(&self, trial: &Trial, name: &str) -> Option<f64> {
        let index = self.metric_names.iter().position(|n| n == name)?;
        let (_, values) = trial
            .curve
            .others
            .iter()
            .find(|(i, _)| usize::from(*i) == index)?;
        values.last().copied()
    }
}
