//! The history: what the events so far add up to. [`History::apply`] is the only interpreter of
//! events, live and on resume alike.

mod control;
mod curve;
mod importing;
mod objectives;
mod repeating;
mod steps;

use std::collections::BTreeMap;
use std::time::Duration;

use thiserror::Error;

pub use control::Change;
use control::Wishes;
pub use curve::Curve;
use importing::Imports;
pub use steps::Steps;

use hpo_recipe::Config;

use crate::causes;
use crate::confirm::{self, Confirm};
use crate::divergence::{Finding, Rescued};
use crate::event::{
    AttemptEnd, CodeNote, Event, EventKind, FailReason, StopIntent, StopReason, StudyEnd,
};
use crate::id::{AttemptNumber, Timestamp, TrialId};
use crate::import::Origin;
use crate::memory::{Assignment, MemorySeen, Waiting};
use crate::population::Parent;
use crate::repeats::{self, Repeats};
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
    front: Vec<TrialId>,
}

/// One trial's record.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// Its number.
    pub id: TrialId,
    /// Its configuration.
    pub config: Config,
    /// The scheduler's bracket, from 0.
    pub bracket: u32,
    /// The step up to which it may run at present; `None`: to its end.
    pub target: Option<u64>,
    /// Where it stands.
    pub state: TrialState,
    /// Its processes, in order.
    pub attempts: Vec<Attempt>,
    /// What it reported.
    pub curve: Curve,
    /// What was found in that, in order.
    pub findings: Vec<Finding>,
    /// How often, and how, it was rescued from divergence: it then has another configuration than it
    /// was proposed with.
    pub rescues: Vec<Rescued>,
    /// What it waits for, while it has no process although there is a place for one.
    pub waiting: Option<Waiting>,
    /// What the user changed of its configuration, in order.
    pub changes: Vec<Change>,
    /// The user wants it not to be started for now.
    pub held: bool,
    /// The trial whose configuration it runs again, for a run that confirms.
    pub confirms: Option<TrialId>,
    /// The trial that it is a further run of, for a run that repeats.
    pub repeat_of: Option<TrialId>,
    /// The further runs of its configuration.
    pub repeats: Repeats,
    /// Where it is from, if it did not run here.
    pub origin: Option<Origin>,
    /// The trial whose checkpoints it began from, if that was no fresh start.
    pub parent: Option<Parent>,
    /// When it was suggested.
    pub suggested: Timestamp,
    /// When its first process started.
    pub started: Option<Timestamp>,
    /// When it came to its end.
    pub ended: Option<Timestamp>,
}

/// Where a trial stands.
#[derive(Debug, Clone, PartialEq)]
pub enum TrialState {
    /// It has no process and waits for one: newly suggested, or put back.
    Queued,
    /// A process for it has been decided on; whether it runs is not known yet.
    Launching,
    /// Its process runs.
    Running,
    /// Its process is being ended.
    Stopping(StopIntent),
    /// It waits at a rung.
    Paused,
    /// It reached its end, and its configuration is being run with further seeds.
    Repeating,
    /// It reached its end and has a value.
    Completed,
    /// It was stopped before its end.
    Stopped(StopReason),
    /// It could not be brought to an end.
    Failed(FailReason),
}

impl TrialState {
    /// Whether nothing more will happen to the trial.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Completed | Self::Stopped(_) | Self::Failed(_))
    }
    /// Whether the trial has, or is about to have, a process.
    #[must_use]
    pub fn is_active(&self) -> bool {
        matches!(self, Self::Launching | Self::Running | Self::Stopping(_))
    }
    /// The state in one word, as in the documented JSON.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Launching | Self::Running | Self::Stopping(_) | Self::Repeating => "running",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::Stopped(_) => "stopped",
            Self::Failed(FailReason::Oom { .. }) => "infeasible",
            Self::Failed(_) => "failed",
        }
    }
    /// Whether the trial was brought to its end by its own configuration, so that the search should
    /// keep away from it; see [`StopReason::is_infeasible`] and [`FailReason::is_infeasible`].
    #[must_use]
    pub fn is_infeasible(&self) -> bool {
        match self {
            Self::Stopped(reason) => reason.is_infeasible(),
            Self::Failed(reason) => reason.is_infeasible(),
            _ => false,
        }
    }
    /// Why it is so, in one word, where there is a why.
    #[must_use]
    pub fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Stopped(reason) => Some(reason.word()),
            Self::Failed(reason) => Some(reason.word()),
            _ => None,
        }
    }
}

/// One process of a trial.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// Its number, from 1.
    pub number: AttemptNumber,
    /// The step after which it was to stop.
    pub target: Option<u64>,
    /// When it was decided on.
    pub launched: Timestamp,
    /// The session (from 1) in which it was decided on: [`History::sessions`] at that time.
    pub session: u32,
    /// Whether it was decided to end it; what such a process ends with says nothing of the trial.
    pub stop_requested: bool,
    /// Whether that was because it had fallen silent.
    pub stalled: bool,
    /// For how long the machine slept, or its clock was wrong, while it ran: no time of its own.
    pub asleep: Duration,
    /// Its process id, once it is known.
    pub pid: Option<u32>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// How it ended.
    pub end: Option<AttemptEnd>,
    /// Whether it was ended to make room.
    pub made_room: bool,
    /// What of the machine was set aside for it, where that is counted.
    pub assignment: Option<Assignment>,
    /// What it was seen to use, once that is known.
    pub memory: Option<MemorySeen>,
}

impl Trial {
    /// A trial that nothing has happened to yet.
    fn new(id: TrialId, config: Config, suggested: Timestamp) -> Self {
        Self {
            id,
            config,
            bracket: 0,
            target: None,
            state: TrialState::Queued,
            attempts: Vec::new(),
            curve: Curve::default(),
            findings: Vec::new(),
            rescues: Vec::new(),
            waiting: None,
            changes: Vec::new(),
            held: false,
            confirms: None,
            repeat_of: None,
            repeats: Repeats::default(),
            origin: None,
            parent: None,
            suggested,
            started: None,
            ended: None,
        }
    }
    /// The trial's value: the last objective reported, or the mean over its runs where its configuration was
    /// run more than once. `None` before the first one; may be NaN.
    #[must_use]
    pub fn value(&self) -> Option<f64> {
        let Some((_, own)) = self.curve.last() else {
            return self.origin.as_ref().and_then(|origin| origin.value);
        };
        if self.repeats.values.is_empty() {
            return Some(own);
        }
        repeats::mean(&repeats::values(self))
    }
    /// The step of a report that does not say its own.
    #[must_use]
    pub fn next_step(&self) -> u64 {
        let begun_at = self.parent.map_or(0, |parent| parent.step);
        let last = self.curve.last_step().unwrap_or(begun_at);
        last.saturating_add(1)
    }
    /// Whether it runs another trial's configuration again, to repeat or to confirm it.
    #[must_use]
    pub fn is_again(&self) -> bool {
        self.confirms.is_some() || self.repeat_of.is_some()
    }
    /// The last finding, if it says that going on is of no use.
    #[must_use]
    pub fn hopeless(&self) -> Option<&Finding> {
        self.findings.last().filter(|f| f.verdict.is_hopeless())
    }
    /// For a trial that was rescued the step that a new process is to go back to, at most: the last
    /// one that counts.
    #[must_use]
    pub fn resume_step(&self) -> Option<u64> {
        (!self.rescues.is_empty()).then(|| self.curve.last_step().unwrap_or(0))
    }
    /// How long its processes have run at `now`, together.
    #[must_use]
    pub fn running_time(&self, now: Timestamp) -> Duration {
        let time = |a: &Attempt| {
            let until = a.ended.filter(|_| a.end.is_some()).unwrap_or(now);
            until.since(a.launched).saturating_sub(a.asleep)
        };
        self.attempts.iter().map(time).sum()
    }
    /// The attempt that counts: the last one.
    #[must_use]
    pub fn attempt(&self) -> Option<&Attempt> {
        self.attempts.last()
    }
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

    fn apply_kind(&mut self, event: &Event) -> Result<(), HistoryError> {
        let at = event.at;
        match &event.kind {
            EventKind::StudyOpened { .. } => Err(misfit(event, "the study is open already")),
            EventKind::SpecChanged { spec } => {
                self.change_file((**spec).clone());
                Ok(())
            }
            EventKind::UserRequest { request, .. } => self.user_request(request, event),
            EventKind::SessionStarted { .. } => {
                self.start_session(at);
                Ok(())
            }
            EventKind::TrialSuggested {
                trial,
                config,
                bracket,
                target,
            } => {
                if trial.index() != self.trials.len() {
                    return Err(misfit(event, "trials are numbered in order"));
                }
                let origin = self.take_origin(*trial);
                if origin.is_none() {
                    self.take_enqueued(config);
                }
                let parent = self.fork.take();
                self.trials.push(Trial {
                    origin,
                    parent,
                    bracket: *bracket,
                    target: *target,
                    ..Trial::new(*trial, config.clone(), at)
                });
                Ok(())
            }
            EventKind::TrialsImported { .. } | EventKind::TrialImported { .. } => {
                self.import(event)
            }
            EventKind::TrialForked { trial, from } => {
                if trial.index() != self.trials.len() || self.trial(from.trial).is_none() {
                    return Err(misfit(event, "the next trial begins from an earlier one"));
                }
                self.fork = Some(*from);
                Ok(())
            }
            EventKind::SnapshotTaken { snapshot } => {
                self.code.push(snapshot.clone());
                Ok(())
            }
            EventKind::ConfirmRequested { confirm } => {
                self.confirm = Some(*confirm);
                self.only_confirms = true;
                Ok(())
            }
            EventKind::ConfirmationSuggested {
                trial,
                confirms,
                config,
            } => {
                if trial.confirmation_index() != Some(self.confirmations.len()) {
                    return Err(misfit(event, "confirming runs are numbered in order"));
                }
                let Some(original) = self.trials.get(confirms.index()) else {
                    return Err(misfit(event, "there is no trial that it could confirm"));
                };
                self.confirmations.push(Trial {
                    bracket: original.bracket,
                    target: original.target,
                    confirms: Some(*confirms),
                    ..Trial::new(*trial, config.clone(), at)
                });
                Ok(())
            }
            EventKind::TrialRepeating { trial } => {
                self.settle(*trial, TrialState::Repeating, event)
            }
            EventKind::RepeatSuggested {
                trial,
                repeats,
                config,
            } => self.add_repeat(*trial, *repeats, config, event),
            EventKind::RepeatsGivenUp { trial, evidence } => {
                self.trial_mut(*trial, event)?.repeats.given_up = Some(evidence.clone());
                Ok(())
            }
            EventKind::AttemptLaunching {
                trial,
                attempt,
                target,
                assignment,
            } => {
                let session = self.sessions;
                let record = self.trial_mut(*trial, event)?;
                let next = record.attempts.len() as u32 + 1;
                if attempt.0 != next {
                    return Err(misfit(event, "attempts are numbered in order"));
                }
                if record.state != TrialState::Queued && record.state != TrialState::Paused {
                    return Err(misfit(event, "only a waiting trial can be launched"));
                }
                record.state = TrialState::Launching;
                record.target = *target;
                record.waiting = None;
                record.attempts.push(Attempt {
                    number: *attempt,
                    target: *target,
                    launched: at,
                    session,
                    stop_requested: false,
                    stalled: false,
                    asleep: Duration::ZERO,
                    pid: None,
                    ended: None,
                    end: None,
                    made_room: false,
                    assignment: assignment.clone(),
                    memory: None,
                });
                Ok(())
            }
            EventKind::TrialWaiting { trial, waiting } => {
                self.trial_mut(*trial, event)?.waiting = Some(waiting.clone());
                Ok(())
            }
            EventKind::MemoryMeasured {
                trial,
                attempt,
                memory,
            } => {
                if let Some(record) = self.current(*trial, *attempt, event)?
                    && let Some(last) = record.attempts.last_mut()
                {
                    last.memory = Some(*memory);
                }
                Ok(())
            }
            EventKind::GpuChanged { gpu, lost } => {
                match lost {
                    Some(why) => self.lost_gpus.insert(gpu.clone(), why.clone()),
                    None => self.lost_gpus.remove(gpu),
                };
                Ok(())
            }
            EventKind::AttemptStarted {
                trial,
                attempt,
                pid,
            } => {
                let Some(record) = self.current(*trial, *attempt, event)? else {
                    return Ok(());
                };
                if record.state == TrialState::Launching {
                    record.state = TrialState::Running;
                }
                record.started.get_or_insert(at);
                if let Some(last) = record.attempts.last_mut() {
                    last.pid = Some(*pid);
                    // Found running by a new coordinator: it has not ended, as that one assumed.
                    if last.end.is_none() {
                        last.ended = None;
                    }
                }
                Ok(())
            }
            EventKind::Reported {
                trial,
                attempt,
                step,
                metrics,
            } => self.report(*trial, *attempt, *step, metrics, event),
            EventKind::Found {
                trial,
                attempt,
                finding,
            } => {
                if let Some(record) = self.current(*trial, *attempt, event)? {
                    record.findings.push(finding.clone());
                }
                Ok(())
            }
            EventKind::StopRequested {
                trial,
                attempt,
                intent,
            } => {
                let Some(record) = self.current(*trial, *attempt, event)? else {
                    return Ok(());
                };
                if !record.state.is_active() {
                    return Err(misfit(event, "the trial has no process"));
                }
                record.state = TrialState::Stopping(intent.clone());
                if let Some(last) = record.attempts.last_mut() {
                    last.stop_requested = true;
                    last.stalled |= matches!(intent, StopIntent::Stall { .. });
                    last.made_room = matches!(intent, StopIntent::MakeRoom { .. });
                }
                Ok(())
            }
            EventKind::AttemptEnded {
                trial,
                attempt,
                end,
            } => {
                let Some(record) = self.current(*trial, *attempt, event)? else {
                    return Ok(());
                };
                if let Some(last) = record.attempts.last_mut() {
                    let known = last.ended.filter(|_| *end == AttemptEnd::Lost);
                    last.ended = Some(known.unwrap_or(at));
                    last.end = Some(end.clone());
                }
                Ok(())
            }
            EventKind::TrialPaused { trial } => self.settle(*trial, TrialState::Paused, event),
            EventKind::TrialRequeued { trial } => self.settle(*trial, TrialState::Queued, event),
            EventKind::TrialRescued { trial, rescue } => {
                self.settle(*trial, TrialState::Queued, event)?;
                let record = self.trial_mut(*trial, event)?;
                record.config.set(&rescue.parameter, rescue.to);
                record.curve.cut_after(rescue.healthy_step);
                record.findings.retain(|f| f.step <= rescue.healthy_step);
                record.rescues.push(rescue.clone());
                Ok(())
            }
            EventKind::TrialCompleted { trial } => {
                self.settle(*trial, TrialState::Completed, event)?;
                self.count_repeat(*trial);
                self.join_front(*trial);
                self.forget_failures();
                Ok(())
            }
            EventKind::TrialStopped { trial, reason } => {
                self.settle(*trial, TrialState::Stopped(reason.clone()), event)?;
                self.forget_failures();
                Ok(())
            }
            EventKind::TrialFailed { trial, reason } => {
                self.settle(*trial, TrialState::Failed(reason.clone()), event)?;
                // What was never tried says nothing of what is wrong.
                if matches!(reason, FailReason::Oom { tried: 0, .. }) {
                    return Ok(());
                }
                // Told once more of the trial that is repeated; and what failed elsewhere is no failure here.
                if trial.repeat_index().is_some() || self.is_imported(*trial) {
                    return Ok(());
                }
                let cause = causes::signature(reason);
                let alike = self.last_failure.as_ref() == Some(&cause);
                self.failures_alike = if alike { self.failures_alike + 1 } else { 1 };
                self.failures_in_a_row += 1;
                self.last_failure = Some(cause);
                Ok(())
            }
            EventKind::ClockMoved { from } => {
                self.pass_over(*from, at);
                Ok(())
            }
            EventKind::DrainRequested => {
                self.draining = true;
                Ok(())
            }
            EventKind::StudyEnded { end } => {
                self.end = Some(end.clone());
                self.wishes_are_done();
                Ok(())
            }
        }
    }

    fn start_session(&mut self, at: Timestamp) {
        // Nobody knows when the processes of a coordinator that died ended; they were last known to
        // run when it last wrote, and the time until somebody took the study up is not theirs.
        let runs = self.trials.iter_mut();
        let runs = runs.chain(&mut self.repeats).chain(&mut self.confirmations);
        for attempt in runs.filter_map(|t| t.attempts.last_mut()) {
            if attempt.end.is_none() {
                attempt.ended.get_or_insert(self.last_event);
            }
        }
        if let Some(started) = self.session_started {
            self.earlier_sessions += self.last_event.since(started);
        }
        self.new_session();
        self.sessions += 1;
        self.session_started = Some(at);
        self.draining = false;
        self.only_confirms = false;
        // A study that ended goes on when its caps were raised; whether it does is decided anew.
        self.end = None;
        self.forget_failures();
    }

    fn forget_failures(&mut self) {
        self.failures_in_a_row = 0;
        self.failures_alike = 0;
        self.last_failure = None;
    }

    /// Between these moments no time passed for the study and what runs in it.
    fn pass_over(&mut self, from: Timestamp, to: Timestamp) {
        if let Some(started) = self.session_started.replace(to) {
            self.earlier_sessions += from.since(started);
        }
        let runs = self.trials.iter_mut();
        let runs = runs.chain(&mut self.repeats).chain(&mut self.confirmations);
        for attempt in runs.filter_map(|t| t.attempts.last_mut()) {
            if attempt.end.is_none() {
                attempt.asleep += to.since(from);
            }
        }
    }

    fn report(
        &mut self,
        trial: TrialId,
        attempt: AttemptNumber,
        step: u64,
        metrics: &BTreeMap<String, f64>,
        event: &Event,
    ) -> Result<(), HistoryError> {
        // Before a name is added: a report that does not count leaves no trace.
        if self.current(trial, attempt, event)?.is_none() {
            return Ok(());
        }
        let mut columns = Vec::with_capacity(metrics.len());
        let mut objective = None;
        for (name, value) in metrics {
            if *name == self.spec.metric.name {
                objective = Some(*value);
            } else if let Some(index) = self.metric_index(name) {
                columns.push((index, *value));
            }
        }
        let watched = metrics.contains_key(&self.spec.watched().name);
        let Some(record) = self.current(trial, attempt, event)? else {
            return Ok(());
        };
        // What was found in reports that are taken back was not found.
        if watched || record.curve.last_step().is_some_and(|last| step < last) {
            record.findings.retain(|finding| finding.step < step);
        }
        record.curve.add(step, objective, &columns);
        record.curve.last_at = event.at;
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

    /// The index of a metric's name; new names are added until there are absurdly many.
    fn metric_index(&mut self, name: &str) -> Option<u16> {
        const MOST_METRICS: usize = 1000;
        if let Some(index) = self.metric_names.iter().position(|n| n == name) {
            return u16::try_from(index).ok();
        }
        if self.metric_names.len() >= MOST_METRICS {
            return None;
        }
        self.metric_names.push(name.to_owned());
        u16::try_from(self.metric_names.len() - 1).ok()
    }

    fn settle(
        &mut self,
        trial: TrialId,
        state: TrialState,
        event: &Event,
    ) -> Result<(), HistoryError> {
        let record = self.trial_mut(trial, event)?;
        if record.state.is_final() {
            return Err(misfit(event, "the trial is over already"));
        }
        if state.is_final() {
            record.ended = Some(event.at);
            record.waiting = None;
        }
        record.state = state;
        Ok(())
    }

    fn trial_mut(&mut self, trial: TrialId, event: &Event) -> Result<&mut Trial, HistoryError> {
        let found = match (trial.repeat_index(), trial.confirmation_index()) {
            (Some(index), _) => self.repeats.get_mut(index),
            (_, Some(index)) => self.confirmations.get_mut(index),
            (None, None) => self.trials.get_mut(trial.index()),
        };
        found.ok_or_else(|| misfit(event, "there is no such trial"))
    }

    /// The trial, if `attempt` is its last and not over; `None` when it is an older one.
    fn current(
        &mut self,
        trial: TrialId,
        attempt: AttemptNumber,
        event: &Event,
    ) -> Result<Option<&mut Trial>, HistoryError> {
        let record = self.trial_mut(trial, event)?;
        let Some(last) = record.attempts.last() else {
            return Err(misfit(event, "the trial was never launched"));
        };
        if attempt > last.number {
            return Err(misfit(event, "there is no such attempt"));
        }
        Ok((attempt == last.number && last.end.is_none()).then_some(record))
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
    /// [`causes::signature`].
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

fn misfit(event: &Event, why: &'static str) -> HistoryError {
    let name = match serde_json::to_value(&event.kind) {
        Ok(json) => {
            let kind = json
                .get("event")
                .and_then(|e| e.as_str())
                .unwrap_or("?")
                .to_owned();
            match json.get("trial") {
                Some(trial) => format!("{kind} of trial {trial}"),
                None => kind,
            }
        }
        Err(_) => "?".to_owned(),
    };
    HistoryError { event: name, why }
}
