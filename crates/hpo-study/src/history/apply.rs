//! How the history takes an event in: the one interpreter of events.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Attempt, History, HistoryError, Trial, TrialState};
use crate::causes;
use crate::event::{AttemptEnd, Event, EventKind, FailReason, StopIntent};
use crate::id::{AttemptNumber, Timestamp, TrialId};

impl History {
    pub(super) fn apply_kind(&mut self, event: &Event) -> Result<(), HistoryError> {
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
                self.weigh_imports(*trial);
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
            EventKind::Unattended { from } => {
                self.leave_session(*from);
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

    /// The session was over at `end`, whatever became of its coordinator.
    fn leave_session(&mut self, end: Timestamp) {
        // Nobody knows when the processes of a coordinator that died ended; they were last known to
        // run when it last wrote, and the time until somebody took the study up is not theirs.
        let runs = self.trials.iter_mut();
        let runs = runs.chain(&mut self.repeats).chain(&mut self.confirmations);
        for attempt in runs.filter_map(|t| t.attempts.last_mut()) {
            if attempt.end.is_none() {
                attempt.ended.get_or_insert(end);
            }
        }
        if let Some(started) = self.session_started.take() {
            self.earlier_sessions += end.since(started);
        }
    }

    fn start_session(&mut self, at: Timestamp) {
        self.leave_session(self.last_event);
        self.new_session();
        self.sessions += 1;
        self.session_started = Some(at);
        self.draining = false;
        self.only_confirms = false;
        // A study that ended goes on when its caps were raised; whether it does is decided anew.
        self.end = None;
        self.forget_failures();
    }

    pub(super) fn forget_failures(&mut self) {
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

    pub(super) fn settle(
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

    pub(super) fn trial_mut(
        &mut self,
        trial: TrialId,
        event: &Event,
    ) -> Result<&mut Trial, HistoryError> {
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
}

pub(super) fn misfit(event: &Event, why: &'static str) -> HistoryError {
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
