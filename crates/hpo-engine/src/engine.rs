//! The engine: takes in what happened, decides, and remembers by its history alone.
//!
//! Here is what others call, and [`Engine::emit`], through which every decision goes. What happened is `hearing` (and
//! `control` where a user asked), what follows for runs that come to nothing `watching`, what is next `planning`
//! (with `placing` and `repeating`), and how it all ends `ending`. `recall` makes an engine of a log.

mod control;
mod ending;
mod hearing;
pub(crate) mod importing;
mod placing;
mod planning;
mod recall;
mod repeating;
mod watching;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use thiserror::Error;

pub use recall::Recall;

use hpo_search::{Sampler, Scheduler};
use hpo_study::changes::differences;
use hpo_study::seed::{self, Purpose};
use hpo_study::{
    Attempt, AttemptNumber, Event, EventKind, History, HistoryError, StopIntent, StudySpec,
    Timestamp, Trial, TrialId, TrialState,
};

use crate::fate;
use crate::gpu::Ledger;
use crate::limits::{self, Heard};
use crate::seam::{Command, Input, Inventory};
use crate::watch::Watch;

/// Runs a study: the one place through which everything goes that happens in it.
///
/// Every call that returns events has already taken them into its [`History`]. They must be durable
/// before anything of [`Engine::outstanding`] is performed; a shell that cannot store them has to
/// give the engine up.
pub struct Engine {
    history: History,
    sampler: Box<dyn Sampler>,
    scheduler: Box<dyn Scheduler>,
    /// The trials that are not over: what has to be looked at in every step.
    open: BTreeSet<TrialId>,
    /// Their detectors, where the study wants any.
    watches: BTreeMap<TrialId, Watch>,
    /// When their processes were last heard of.
    heard: Heard,
    /// What is known of memory, and set aside.
    memory: Ledger,
    /// The sampler has nothing more to propose.
    exhausted: bool,
}

/// Why a study cannot take a changed study file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ChangeError {
    /// The trials so far could no longer be compared with those to come.
    #[error("a study that has begun cannot take these changes: {}", changes.join("; "))]
    Refused {
        /// The changes, in words.
        changes: Vec<String>,
    },
    /// The history did not take the change.
    #[error(transparent)]
    History(#[from] HistoryError),
}

/// One call's events.
struct Turn {
    now: Timestamp,
    events: Vec<Event>,
}

impl Turn {
    fn at(now: Timestamp) -> Self {
        Self {
            now,
            events: Vec::new(),
        }
    }
}

impl Engine {
    /// What is known of the study.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The engine's last words.
    #[must_use]
    pub fn into_history(self) -> History {
        self.history
    }

    /// Takes the study up: the first call of every session, before any step.
    ///
    /// Attempts of an earlier session are not given up here. The shell asks its executor about each
    /// of [`Engine::leftovers`] and then says [`Input::Started`] (it runs and was adopted) or
    /// [`Input::Ended`] with [`AttemptEnd::Lost`](hpo_study::AttemptEnd::Lost).
    ///
    /// Decisions that a torn log lacks (an attempt's end without the trial's, a report without its
    /// verdict) are taken now.
    ///
    /// # Errors
    /// Never for a history that this engine made: an error is a bug or a damaged log.
    pub fn begin_session(
        &mut self,
        now: Timestamp,
        pid: u32,
        host: &str,
    ) -> Result<Vec<Event>, HistoryError> {
        let mut turn = Turn::at(now);
        self.emit(
            &mut turn,
            EventKind::SessionStarted {
                pid,
                host: host.to_owned(),
            },
        )?;
        for trial in self.ids(|t| t.state.is_active()) {
            self.settle(&mut turn, trial)?;
            self.judge(&mut turn, trial)?;
        }
        Ok(turn.events)
    }

    /// Puts a changed study file in place of the old one; call it before [`Engine::begin_session`] or
    /// between steps. What may change is what [`differences`] allows. No event when nothing did.
    ///
    /// # Errors
    /// When something changed that cannot; the study is then as it was.
    pub fn change_spec(
        &mut self,
        now: Timestamp,
        spec: StudySpec,
    ) -> Result<Vec<Event>, ChangeError> {
        let changes = differences(self.history.file_spec(), &spec).refused;
        if !changes.is_empty() {
            return Err(ChangeError::Refused { changes });
        }
        let mut turn = Turn::at(now);
        if *self.history.file_spec() != spec {
            self.emit(
                &mut turn,
                EventKind::SpecChanged {
                    spec: Box::new(spec),
                },
            )?;
            for trial in self.ids(|t| t.state.is_active()) {
                self.look(&mut turn, trial)?;
            }
        }
        Ok(turn.events)
    }

    /// Takes in a wish or a fact that needs no decision at once: [`EventKind::ConfirmRequested`] or
    /// [`EventKind::SnapshotTaken`], after [`Engine::begin_session`] and before any step; or, between
    /// two sessions, [`EventKind::Unattended`].
    ///
    /// # Errors
    /// When the event does not fit the history.
    pub fn record(&mut self, now: Timestamp, kind: EventKind) -> Result<Vec<Event>, HistoryError> {
        let mut turn = Turn::at(now);
        self.emit(&mut turn, kind)?;
        Ok(turn.events)
    }

    /// The machine slept, or its clock was set: between `from`, which is not before the last event, and
    /// `now` no time passed for the study. Call it between steps.
    ///
    /// # Errors
    /// Never.
    pub fn clock_moved(
        &mut self,
        from: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<Event>, HistoryError> {
        let mut turn = Turn::at(now);
        self.emit(&mut turn, EventKind::ClockMoved { from })?;
        Ok(turn.events)
    }

    /// Takes inputs in, one by one, and then decides what is next. The events returned must be
    /// durable before anything of [`Engine::outstanding`] is performed.
    ///
    /// # Errors
    /// Never for a history that this engine made, whatever the inputs: an error is a bug.
    pub fn step(
        &mut self,
        now: Timestamp,
        inventory: &Inventory,
        inputs: Vec<Input>,
    ) -> Result<Vec<Event>, HistoryError> {
        let mut turn = Turn::at(now);
        for input in inputs {
            self.react(&mut turn, input)?;
        }
        self.weigh(&mut turn, inventory)?;
        self.plan(&mut turn, inventory)?;
        Ok(turn.events)
    }

    /// What was decided and not yet acknowledged, in the order of the trials. A function of the
    /// history alone: a command stands here until its answer comes, so the shell remembers which
    /// ones it has performed.
    #[must_use]
    pub fn outstanding(&self) -> Vec<Command> {
        self.unended()
            .filter_map(|(trial, attempt)| self.command(trial, attempt))
            .collect()
    }

    /// The attempts that have no end yet, with their process ids where they are known.
    #[must_use]
    pub fn leftovers(&self) -> Vec<(TrialId, AttemptNumber, Option<u32>)> {
        self.unended()
            .map(|(trial, attempt)| (trial.id, attempt.number, attempt.pid))
            .collect()
    }

    /// Whether the session is over: the study has ended, or is being drained, and no process is left.
    #[must_use]
    pub fn is_done(&self) -> bool {
        (self.history.end().is_some() || self.history.draining()) && !self.any_active()
    }

    /// When the next step is due even if nothing happens until then: the end of the study's time, or
    /// the moment when a trial whose process asked for it is to be started again.
    #[must_use]
    pub fn next_deadline(&self, now: Timestamp) -> Option<Timestamp> {
        if self.history.end().is_some() {
            return None;
        }
        let overdue = limits::next(&self.history, &self.heard, self.open_trials(), now);
        let deadlines = [self.end_of_time(now), self.next_retry(now), overdue];
        deadlines.into_iter().flatten().min()
    }

    fn end_of_time(&self, now: Timestamp) -> Option<Timestamp> {
        let cap = self.history.spec().time_cap?;
        if self.history.only_confirms() {
            return None; // It was asked for by itself, perhaps because the time was up.
        }
        let left = cap.saturating_sub(self.history.running_time(now));
        let stopping = |t: &Trial| matches!(t.state, TrialState::Stopping(_));
        if left.is_zero() && self.any_active() && self.open_trials().all(stopping) {
            return None; // Acted upon already; now the processes have to end.
        }
        Some(now.plus(left.saturating_add(Duration::from_nanos(999_999))))
    }

    fn next_retry(&self, now: Timestamp) -> Option<Timestamp> {
        let is_due = |t: &&Trial| t.state == TrialState::Queued && !t.held;
        let queued = self.open_trials().filter(is_due);
        let moments = queued.filter_map(fate::retry_at).filter(|at| *at > now);
        moments.min().filter(|_| !self.history.draining())
    }

    fn command(&self, trial: &Trial, attempt: &Attempt) -> Option<Command> {
        let (id, number) = (trial.id, attempt.number);
        match trial.state {
            TrialState::Launching => Some(Command::Launch {
                trial: id,
                attempt: number,
                config: trial.config.clone(),
                seed: seed::derive(self.history.spec().seed, id, Purpose::Training) as u32,
                target: attempt.target,
                resume: number.0 > 1,
                parent: trial.parent.map(|parent| parent.trial),
                resume_step: trial.resume_step(),
                assignment: attempt.assignment.clone(),
            }),
            TrialState::Stopping(ref intent) => Some(Command::Stop {
                trial: id,
                attempt: number,
                at_once: matches!(intent, StopIntent::MakeRoom { at_once: true, .. }),
            }),
            _ => None,
        }
    }

    fn emit(&mut self, turn: &mut Turn, kind: EventKind) -> Result<(), HistoryError> {
        let event = Event { at: turn.now, kind };
        self.history.apply(&event)?;
        self.keep_watch(&event);
        self.observe(&event);
        turn.events.push(event);
        Ok(())
    }

    /// What the history took in is seen by all that keep books of their own, live and on resume alike.
    fn observe(&mut self, event: &Event) {
        match &event.kind {
            EventKind::TrialSuggested { trial, .. }
            | EventKind::RepeatSuggested { trial, .. }
            | EventKind::ConfirmationSuggested { trial, .. } => {
                self.open.insert(*trial);
            }
            EventKind::AttemptEnded { trial, .. } => self.heard.forget(*trial),
            EventKind::TrialCompleted { trial }
            | EventKind::TrialStopped { trial, .. }
            | EventKind::TrialFailed { trial, .. } => {
                self.open.remove(trial);
            }
            _ => {}
        }
        self.memory.observe(&self.history, event);
        // A run that confirms was chosen for its luck: who learned from it would learn that luck. One that
        // repeats is part of its trial's value.
        if event.kind.trial().is_some_and(|run| !run.is_of_search()) {
            return;
        }
        self.sampler.observe(&self.history, event);
        // Who runs up to which rung is its own decision: a trial that it did not send there confuses it.
        let foreign = (event.kind.trial()).is_some_and(|trial| self.history.is_imported(trial));
        if !(foreign && self.history.spec().early_terminate.pauses()) {
            self.scheduler.observe(&self.history, event);
        }
    }

    fn stop(
        &mut self,
        turn: &mut Turn,
        trial: TrialId,
        intent: StopIntent,
    ) -> Result<(), HistoryError> {
        let attempt = self
            .history
            .trial(trial)
            .and_then(Trial::attempt)
            .map(|a| a.number);
        match attempt {
            Some(attempt) => self.emit(
                turn,
                EventKind::StopRequested {
                    trial,
                    attempt,
                    intent,
                },
            ),
            None => Ok(()),
        }
    }

    /// Ends all processes that are not being ended yet.
    fn stop_all(&mut self, turn: &mut Turn, intent: &StopIntent) -> Result<(), HistoryError> {
        for trial in self.ids(is_running) {
            self.stop(turn, trial, intent.clone())?;
        }
        Ok(())
    }

    fn open_trials(&self) -> impl Iterator<Item = &Trial> {
        self.open.iter().filter_map(|id| self.history.trial(*id))
    }

    fn ids(&self, which: impl Fn(&Trial) -> bool) -> Vec<TrialId> {
        self.open_trials()
            .filter(|t| which(t))
            .map(|t| t.id)
            .collect()
    }

    fn unended(&self) -> impl Iterator<Item = (&Trial, &Attempt)> {
        let active = self.open_trials().filter(|t| t.state.is_active());
        active.filter_map(|t| Some((t, t.attempt().filter(|a| a.end.is_none())?)))
    }

    /// The trial, if the attempt is its last and has not ended.
    fn live(&self, trial: TrialId, attempt: AttemptNumber) -> Option<&Trial> {
        let record = self.history.trial(trial).filter(|t| t.state.is_active())?;
        let last = record.attempt()?;
        (last.number == attempt && last.end.is_none()).then_some(record)
    }

    fn any_active(&self) -> bool {
        self.open_trials().any(|t| t.state.is_active())
    }
}

/// Whether the trial has a process, or is about to, and nobody has decided to end it.
fn is_running(trial: &Trial) -> bool {
    matches!(trial.state, TrialState::Launching | TrialState::Running)
}
