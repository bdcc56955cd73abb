//! The engine: takes in what happened, decides, and remembers by its history alone.

mod control;
mod ending;
pub(crate) mod importing;
mod placing;
mod recall;
mod repeating;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use thiserror::Error;

pub use recall::Recall;

use hpo_search::{Next, Sampler, Scheduler};
use hpo_study::changes::differences;
use hpo_study::protocol::Report;
use hpo_study::seed::{self, Purpose};
use hpo_study::{
    Attempt, AttemptEnd, AttemptNumber, Config, Event, EventKind, History, HistoryError,
    StopIntent, StopReason, StudySpec, Timestamp, Trial, TrialId, TrialState,
};

use crate::confirm;
use crate::fate;
use crate::gpu::Ledger;
use crate::limits::{self, Heard};
use crate::objectives;
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
    /// [`Input::Ended`] with [`AttemptEnd::Lost`].
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
    /// [`EventKind::SnapshotTaken`]. Call it after [`Engine::begin_session`] and before any step.
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

    // ---- what happened ----

    fn react(&mut self, turn: &mut Turn, input: Input) -> Result<(), HistoryError> {
        match input {
            Input::Tick => Ok(()),
            Input::Heard { trial, attempt } => {
                if self.live(trial, attempt).is_some() {
                    self.heard.note(trial, turn.now);
                }
                Ok(())
            }
            Input::Started {
                trial,
                attempt,
                pid,
            } => self.started(turn, trial, attempt, pid),
            Input::Reported {
                trial,
                attempt,
                report,
            } => self.reported(turn, trial, attempt, report),
            Input::Ended {
                trial,
                attempt,
                end,
            } => self.ended(turn, trial, attempt, end),
            Input::Drain => self.drain(turn),
            Input::Interrupt => {
                self.drain(turn)?;
                self.stop_all(turn, &StopIntent::Requeue)
            }
        }
    }

    fn started(
        &mut self,
        turn: &mut Turn,
        trial: TrialId,
        attempt: AttemptNumber,
        pid: u32,
    ) -> Result<(), HistoryError> {
        let news = self
            .live(trial, attempt)
            .and_then(Trial::attempt)
            .is_some_and(|a| a.pid != Some(pid) || a.ended.is_some());
        if news {
            self.heard.note(trial, turn.now);
            self.emit(
                turn,
                EventKind::AttemptStarted {
                    trial,
                    attempt,
                    pid,
                },
            )
        } else {
            Ok(())
        }
    }

    /// What a trial still says after it was stopped, or is to go back, is passed over: the decision stands on what came
    /// before, and how fast a process dies must not change any result. A trial that waits or is put
    /// back will go on from its last checkpoint, so all it says until its end counts.
    fn reported(
        &mut self,
        turn: &mut Turn,
        trial: TrialId,
        attempt: AttemptNumber,
        report: Report,
    ) -> Result<(), HistoryError> {
        let Some(record) = self.live(trial, attempt) else {
            return Ok(());
        };
        if matches!(
            record.state,
            TrialState::Stopping(StopIntent::Stop { .. } | StopIntent::Rescue { .. })
        ) {
            return Ok(());
        }
        let step = report
            .step
            .unwrap_or_else(|| objectives::step(record, &report.metrics));
        let metrics = objectives::together(&self.history, record, report.metrics);
        let spec = self.history.spec();
        let has = |name: &String| metrics.contains_key(name);
        let (measured, watched) = (has(&spec.metric.name), has(&spec.watched().name));
        self.heard.note(trial, turn.now);
        self.emit(
            turn,
            EventKind::Reported {
                trial,
                attempt,
                step,
                metrics,
            },
        )?;
        if measured {
            self.judge(turn, trial)
        } else if watched {
            self.look(turn, trial)
        } else {
            Ok(())
        }
    }

    fn ended(
        &mut self,
        turn: &mut Turn,
        trial: TrialId,
        attempt: AttemptNumber,
        end: AttemptEnd,
    ) -> Result<(), HistoryError> {
        if self.live(trial, attempt).is_none() {
            return Ok(());
        }
        let end = self.sum_up(turn, trial, end)?;
        let record = self.history.trial(trial);
        if let Some(kind) = record.and_then(|t| objectives::at_end(&self.history, t, turn.now)) {
            self.emit(turn, kind)?;
        }
        self.emit(
            turn,
            EventKind::AttemptEnded {
                trial,
                attempt,
                end,
            },
        )?;
        self.settle(turn, trial)
    }

    fn drain(&mut self, turn: &mut Turn) -> Result<(), HistoryError> {
        if self.history.draining() {
            Ok(())
        } else {
            self.emit(turn, EventKind::DrainRequested)
        }
    }

    /// Ends the process of a running trial if there is a reason to.
    fn judge(&mut self, turn: &mut Turn, trial: TrialId) -> Result<(), HistoryError> {
        self.look(turn, trial)?;
        let Some(record) = self.history.trial(trial).filter(|t| is_running(t)) else {
            return Ok(());
        };
        let intent = fate::while_running(&self.history, self.scheduler.as_ref(), record);
        intent.map_or(Ok(()), |intent| self.stop(turn, trial, intent))
    }

    /// Ends the process of a running trial if its reports show that going on is of no use.
    fn look(&mut self, turn: &mut Turn, trial: TrialId) -> Result<(), HistoryError> {
        self.tell_news(turn, trial)?;
        let Some(record) = self.history.trial(trial).filter(|t| is_running(t)) else {
            return Ok(());
        };
        let intent = fate::when_hopeless(&self.history, record);
        intent.map_or(Ok(()), |intent| self.stop(turn, trial, intent))
    }

    /// Writes down what the detector has found in a trial's last report.
    fn tell_news(&mut self, turn: &mut Turn, trial: TrialId) -> Result<(), HistoryError> {
        let watched = &self.history.spec().watched().name;
        let news = self.watches.get(&trial).and_then(|w| w.news(watched));
        let live = self.history.trial(trial).filter(|t| t.state.is_active());
        let attempt = live.and_then(Trial::attempt).filter(|a| a.end.is_none());
        match (news, attempt.map(|a| a.number)) {
            (Some(finding), Some(attempt)) => self.emit(
                turn,
                EventKind::Found {
                    trial,
                    attempt,
                    finding,
                },
            ),
            _ => Ok(()),
        }
    }

    /// Decides what becomes of a trial whose attempt has ended.
    fn settle(&mut self, turn: &mut Turn, trial: TrialId) -> Result<(), HistoryError> {
        let Some(record) = self.history.trial(trial).filter(|t| t.state.is_active()) else {
            return Ok(());
        };
        let Some(fate) = fate::after_end(&self.history, self.scheduler.as_ref(), record) else {
            return Ok(());
        };
        self.emit(turn, fate)?;
        self.give_up_after_failures(turn)
    }

    // ---- what is next ----

    fn plan(&mut self, turn: &mut Turn, inventory: &Inventory) -> Result<(), HistoryError> {
        let due = |t: &Trial| limits::overdue(&self.history, &self.heard, t, turn.now);
        let overdue = self.open_trials().filter_map(|t| Some((t.id, due(t)?)));
        for (trial, intent) in overdue.collect::<Vec<_>>() {
            self.stop(turn, trial, intent)?;
        }
        if !self.time_is_up(turn.now) {
            self.repeat(turn)?;
        }
        if self.history.end().is_some() {
            Ok(())
        } else if self.time_is_up(turn.now) {
            self.end_at_time_cap(turn)
        } else if self.history.draining() {
            self.end_drained(turn)
        } else if self.history.paused() {
            Ok(())
        } else {
            self.fill(turn, inventory)
        }
    }

    /// Gives every free place to a trial: those put back first, then whom the scheduler names.
    fn fill(&mut self, turn: &mut Turn, inventory: &Inventory) -> Result<(), HistoryError> {
        let slots = inventory.cpu_slots as usize;
        let mut busy = self.open_trials().filter(|t| t.state.is_active()).count();
        let waits = |t: &Trial| t.state == TrialState::Queued && !t.held;
        for trial in self.ids(|t| waits(t) && confirm::may_start(&self.history, t)) {
            if busy >= slots {
                return Ok(());
            }
            busy += 1;
            let Some(record) = self.history.trial(trial) else {
                continue;
            };
            // A trial that waits before it tries again keeps its place: whoever overtook it would make
            // the study's course a matter of time.
            if fate::retry_at(record).is_none_or(|at| at <= turn.now) {
                let target = record.target;
                busy -= usize::from(!self.launch(turn, inventory, trial, target)?);
            }
        }
        while busy < slots && self.takes_more(turn.now, inventory) {
            let wished = !self.history.enqueued().is_empty();
            let can_start = (!self.exhausted || wished) && !self.cap_reached();
            let next = match self.history.only_confirms() {
                true => Next::Wait,
                false => self.scheduler.next(&self.history, can_start),
            };
            match next {
                Next::Start { bracket, target } if can_start => match self.suggest() {
                    Some(config) => {
                        let trial = self.next_trial();
                        if let Some(from) = self.scheduler.parent(&self.history) {
                            self.emit(turn, EventKind::TrialForked { trial, from })?;
                        }
                        let kind = EventKind::TrialSuggested {
                            trial,
                            config,
                            bracket,
                            target,
                        };
                        self.emit(turn, kind)?;
                        busy += usize::from(self.launch(turn, inventory, trial, target)?);
                    }
                    None => self.exhausted = true,
                },
                Next::Resume { trial, .. } if self.is_held(trial) => {
                    return self.wait_for_held(turn);
                }
                Next::Resume { trial, target } if self.is_paused(trial) => {
                    if !self.launch(turn, inventory, trial, target)? {
                        return Ok(());
                    }
                    busy += 1;
                }
                Next::Discard { trial, evidence } if self.is_paused(trial) => {
                    let reason = StopReason::Pruned { evidence };
                    self.emit(turn, EventKind::TrialStopped { trial, reason })?;
                }
                // To wait; or an answer that cannot be followed, which must not hang the study.
                _ if confirm::may_begin(&self.history, self.open_trials()) => {
                    match confirm::next(&self.history) {
                        Some(run) => busy += usize::from(self.confirm(turn, inventory, run)?),
                        None if busy == 0 && !self.anyone_waits() => {
                            return self.end_with_nothing_left(turn);
                        }
                        None => return Ok(()),
                    }
                }
                _ if busy == 0 && !self.anyone_waits() => return self.end_with_nothing_left(turn),
                _ => return Ok(()),
            }
        }
        Ok(())
    }

    fn confirm(
        &mut self,
        turn: &mut Turn,
        inventory: &Inventory,
        run: EventKind,
    ) -> Result<bool, HistoryError> {
        let trial = run.trial().unwrap_or_default();
        self.emit(turn, run)?;
        let target = self.history.trial(trial).and_then(|t| t.target);
        self.launch(turn, inventory, trial, target)
    }

    fn suggest(&self) -> Option<Config> {
        if let Some(wished) = self.history.enqueued().front() {
            return Some(wished.clone());
        }
        let seed = seed::derive(
            self.history.spec().seed,
            self.next_trial(),
            Purpose::Suggest,
        );
        self.sampler
            .suggest(&self.history, &mut hpo_search::stream(seed))
    }

    // ---- small words ----

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

    /// The detectors see it too, but live only: what they know follows from the curves.
    fn keep_watch(&mut self, event: &Event) {
        match &event.kind {
            EventKind::TrialSuggested { trial, .. }
            | EventKind::ConfirmationSuggested { trial, .. }
            | EventKind::RepeatSuggested { trial, .. }
            | EventKind::TrialRescued { trial, .. } => {
                self.watch(*trial);
            }
            EventKind::SpecChanged { .. } => self.watch_all(),
            EventKind::Reported {
                trial,
                attempt,
                step,
                metrics,
            } if self.live(*trial, *attempt).is_some() => {
                let record = self.history.trial(*trial);
                if let (Some(watch), Some(record)) = (self.watches.get_mut(trial), record) {
                    watch.see(&self.history, record, *step, metrics);
                }
            }
            EventKind::Found { trial, .. } => {
                if let Some(watch) = self.watches.get_mut(trial) {
                    watch.told();
                }
            }
            EventKind::TrialCompleted { trial }
            | EventKind::TrialStopped { trial, .. }
            | EventKind::TrialFailed { trial, .. } => {
                self.watches.remove(trial);
            }
            _ => {}
        }
    }

    fn watch_all(&mut self) {
        for trial in self.open.clone() {
            self.watch(trial);
        }
    }

    /// Begins to watch a trial, or begins anew when the study's wishes have changed.
    fn watch(&mut self, trial: TrialId) {
        let record = self.history.trial(trial);
        match record.and_then(|record| Watch::over(&self.history, record)) {
            Some(watch) => self.watches.insert(trial, watch),
            None => self.watches.remove(&trial),
        };
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

    fn is_paused(&self, trial: TrialId) -> bool {
        self.history
            .trial(trial)
            .is_some_and(|t| t.state == TrialState::Paused)
    }

    fn next_trial(&self) -> TrialId {
        TrialId(u32::try_from(self.history.trials().len()).unwrap_or(u32::MAX))
    }

    fn cap_reached(&self) -> bool {
        let trials = self.history.own_count();
        self.history
            .spec()
            .run_cap
            .is_some_and(|cap| trials >= cap as usize)
    }

    fn time_is_up(&self, now: Timestamp) -> bool {
        let cap = self.history.spec().time_cap;
        cap.is_some_and(|cap| self.history.running_time(now) >= cap)
            && !self.history.only_confirms()
    }
}

/// Whether the trial has a process, or is about to, and nobody has decided to end it.
fn is_running(trial: &Trial) -> bool {
    matches!(trial.state, TrialState::Launching | TrialState::Running)
}
