//! What a user asks of a study from outside: granted or refused, and if granted, an event.

use hpo_study::control::{self, Answer, Limits, Request};
use hpo_study::seed::{self, Purpose};
use hpo_study::{
    Config, Domain, Event, EventKind, HistoryError, StopIntent, StopReason, Timestamp, Trial,
    TrialId, TrialState, Value,
};

use super::{Engine, Turn, is_running};

impl Engine {
    /// Grants a request or refuses it. The events must be durable before the answer is given; none
    /// stand behind a refusal. Also right between sessions, with nobody at work on the study: what was
    /// asked for then is done in the next one.
    ///
    /// # Errors
    /// Never for a history that this engine made: an error is a bug or a damaged log.
    pub fn ask(
        &mut self,
        now: Timestamp,
        request: Request,
    ) -> Result<(Vec<Event>, Answer), HistoryError> {
        let mut turn = Turn::at(now);
        let answer = match request {
            Request::Pause => self.pause(&mut turn)?,
            Request::Resume => self.resume(&mut turn)?,
            Request::Stop => self.stop_study(&mut turn)?,
            Request::Cancel => self.cancel_study(&mut turn)?,
            Request::Enqueue { config, again } => self.enqueue(&mut turn, &config, again)?,
            Request::Import { .. } => Answer::refused("an import is taken in with its file"),
            Request::Limits { limits } => self.limit(&mut turn, limits)?,
            Request::PauseTrial { trial }
            | Request::ResumeTrial { trial }
            | Request::StopTrial { trial }
            | Request::CancelTrial { trial }
            | Request::Set { trial, .. } => match self.about(trial) {
                Some(refusal) => refusal,
                None => self.ask_trial(&mut turn, trial, request)?,
            },
        };
        Ok((turn.events, answer))
    }

    pub(super) fn grant(&mut self, turn: &mut Turn, request: Request) -> Result<(), HistoryError> {
        let config = None;
        self.emit(turn, EventKind::UserRequest { request, config })
    }

    fn pause(&mut self, turn: &mut Turn) -> Result<Answer, HistoryError> {
        if self.history.draining() {
            return Ok(Answer::refused("the study is being stopped already"));
        }
        if self.history.paused() {
            return Ok(Answer::done("the study was paused already"));
        }
        self.grant(turn, Request::Pause)?;
        let running = self.open_trials().filter(|t| t.state.is_active()).count();
        Ok(Answer::done(format!(
            "no new trials are started until `hpo resume`; {}",
            going_on(running)
        )))
    }

    fn resume(&mut self, turn: &mut Turn) -> Result<Answer, HistoryError> {
        if self.history.draining() {
            return Ok(Answer::refused_with_hint(
                "the study is being stopped",
                "`hpo run` takes it up again when it has stopped",
            ));
        }
        if !self.history.paused() {
            return Ok(Answer::done("the study was not paused"));
        }
        self.grant(turn, Request::Resume)?;
        Ok(Answer::done("the study goes on"))
    }

    fn stop_study(&mut self, turn: &mut Turn) -> Result<Answer, HistoryError> {
        if !self.history.draining() {
            self.grant(turn, Request::Stop)?;
            self.drain(turn)?;
        }
        let running = self.open_trials().filter(|t| t.state.is_active()).count();
        Ok(Answer::done(format!(
            "no new trials are started; {}, and then `hpo run` ends",
            going_on(running)
        )))
    }

    fn cancel_study(&mut self, turn: &mut Turn) -> Result<Answer, HistoryError> {
        self.grant(turn, Request::Cancel)?;
        self.drain(turn)?;
        let running = self.open_trials().filter(|t| t.state.is_active()).count();
        self.stop_all(turn, &StopIntent::Requeue)?;
        Ok(Answer::done(match running {
            1 => "the running trial is ended and put back; `hpo run` goes on with it".to_owned(),
            _ => format!(
                "{running} running trials are ended and put back; `hpo run` goes on with them"
            ),
        }))
    }

    /// Why nothing can be asked of a trial, if so.
    fn about(&self, trial: TrialId) -> Option<Answer> {
        let Some(record) = self.history.trial(trial) else {
            let count = self.history.trials().len();
            let why = format!("there is no trial {trial}");
            return Some(match count.checked_sub(1) {
                None => Answer::refused_with_hint(why, "there is no trial yet"),
                Some(last) => {
                    Answer::refused_with_hint(why, format!("they are numbered 0 to {last}"))
                }
            });
        };
        record
            .state
            .is_final()
            .then(|| Answer::refused(format!("trial {trial} is over: {}", record.state.word())))
    }

    fn ask_trial(
        &mut self,
        turn: &mut Turn,
        trial: TrialId,
        request: Request,
    ) -> Result<Answer, HistoryError> {
        if let Some(answer) = self.ask_repeating(turn, trial, &request)? {
            return Ok(answer);
        }
        let held = self.history.trial(trial).is_some_and(|t| t.held);
        match request {
            Request::PauseTrial { .. } if held => {
                Ok(Answer::done(format!("trial {trial} was paused already")))
            }
            Request::PauseTrial { .. } => {
                self.grant(turn, request)?;
                let runs = self.history.trial(trial).is_some_and(is_running);
                if runs {
                    self.stop(turn, trial, StopIntent::Requeue)?;
                }
                let how = if runs { "is ended and waits" } else { "waits" };
                Ok(Answer::done(format!(
                    "trial {trial} {how} until `hpo resume {trial}`"
                )))
            }
            Request::ResumeTrial { .. } if !held => {
                Ok(Answer::done(format!("trial {trial} was not paused by you")))
            }
            Request::ResumeTrial { .. } => {
                self.grant(turn, request)?;
                Ok(Answer::done(format!(
                    "trial {trial} goes on when there is a place for it"
                )))
            }
            Request::Set { values, .. } => self.set(turn, trial, &values),
            _ => self.end_trial(turn, trial, request),
        }
    }

    fn end_trial(
        &mut self,
        turn: &mut Turn,
        trial: TrialId,
        request: Request,
    ) -> Result<Answer, HistoryError> {
        self.grant(turn, request)?;
        let reason = StopReason::User;
        let Some(state) = self.history.trial(trial).map(|t| t.state.clone()) else {
            return Ok(Answer::refused(format!("there is no trial {trial}")));
        };
        if matches!(&state, TrialState::Stopping(StopIntent::Stop { .. })) {
            return Ok(Answer::done(format!(
                "trial {trial} is being ended already"
            )));
        }
        if state.is_active() {
            self.stop(turn, trial, StopIntent::Stop { reason })?;
            return Ok(Answer::done(format!("trial {trial} is being ended")));
        }
        self.emit(turn, EventKind::TrialStopped { trial, reason })?;
        Ok(Answer::done(format!("trial {trial} is over")))
    }

    /// A trial's values may go beyond its domain, for the user knows best, but not its kind.
    fn set(
        &mut self,
        turn: &mut Turn,
        trial: TrialId,
        values: &Config,
    ) -> Result<Answer, HistoryError> {
        let Some(record) = self.history.trial(trial) else {
            return Ok(Answer::refused(format!("there is no trial {trial}")));
        };
        if values.is_empty() {
            return Ok(Answer::refused_with_hint(
                "nothing is to be set",
                format!("hpo set {trial} lr=1e-4"),
            ));
        }
        let space = &self.history.spec().space;
        let values = match control::check_values(space, values, of_kind) {
            Ok(values) => values,
            Err((why, Some(hint))) => return Ok(Answer::refused_with_hint(why, hint)),
            Err((why, None)) => return Ok(Answer::refused(why)),
        };
        if let Some((name, _)) = values
            .iter()
            .find(|(name, _)| record.config.get(name).is_none())
        {
            return Ok(Answer::refused_with_hint(
                format!("`{name}` has no part in trial {trial}"),
                format!("its configuration is {}", record.config),
            ));
        }
        let mut config = record.config.clone();
        for (name, value) in &values {
            config.set(name.clone(), value.clone());
        }
        let words = format!("trial {trial} goes on with {values}");
        let request = Request::Set { trial, values };
        let config = Some(config);
        self.emit(turn, EventKind::UserRequest { request, config })?;
        Ok(Answer::done(words))
    }

    fn enqueue(
        &mut self,
        turn: &mut Turn,
        wished: &Config,
        again: bool,
    ) -> Result<Answer, HistoryError> {
        /// More are refused: it is a mistake in a loop.
        const MOST: usize = 10_000;
        let waiting = self.history.enqueued().len();
        if waiting >= MOST {
            return Ok(Answer::refused(format!(
                "{waiting} configurations wait already"
            )));
        }
        let spec = self.history.spec();
        let checked = control::check_values(&spec.space, wished, Domain::contains);
        let fixed = match checked {
            Ok(fixed) => fixed,
            Err((why, Some(hint))) => return Ok(Answer::refused_with_hint(why, hint)),
            Err((why, None)) => return Ok(Answer::refused(why)),
        };
        let place = u32::try_from(self.history.own_count() + waiting).unwrap_or(u32::MAX);
        let config = match self.completed(&fixed, again) {
            Ok(config) => config,
            Err(refusal) => return Ok(refusal),
        };
        let spec = self.history.spec();
        let mut words = format!("to be tried next: {config}");
        if let Some(cap) = spec
            .run_cap
            .filter(|_| place as usize >= spec.run_cap.unwrap_or(0) as usize)
        {
            words += &format!(
                "; but run_cap is {cap}, and {} trials are there: `hpo set --run-cap {}` makes room",
                self.history.own_count(),
                place.saturating_add(1),
            );
        }
        self.grant(turn, Request::Enqueue { config, again })?;
        Ok(Answer::done(words))
    }

    /// A configuration with the values wished, the others drawn; one that was tried or waits already only if it is
    /// to be tried `again`.
    fn completed(&self, fixed: &Config, again: bool) -> Result<Config, Answer> {
        /// Draws of the values that are not given.
        const DRAWS: u32 = 20;
        let spec = self.history.spec();
        let first = self.history.trials().len() + self.history.enqueued().len();
        let first = u32::try_from(first).unwrap_or(u32::MAX);
        let mut known = None;
        for draw in 0..DRAWS {
            let place = TrialId(first.saturating_add(draw.saturating_mul(100_003)));
            let seed = seed::derive(spec.seed, place, Purpose::Suggest);
            let drawn = hpo_search::complete(&spec.space, fixed, &mut hpo_search::stream(seed));
            let Some(config) = drawn else {
                return Err(Answer::refused_with_hint(
                    "these values do not go together: some are not active with the others",
                    "give the parameters that they depend on, too (`optimizer`, `schedule`)",
                ));
            };
            match self.tried(&config) {
                Some(where_it_is) if !again && !spec.allow_duplicates => known = Some(where_it_is),
                _ => return Ok(config),
            }
        }
        let why = known.unwrap_or_else(|| "it was tried already".to_owned());
        let hint = "--again tries it once more; `repeats` in the study file gives every configuration several seeds";
        Err(Answer::refused_with_hint(why, hint))
    }

    /// Where a configuration was tried already, or waits to be, in words.
    fn tried(&self, config: &Config) -> Option<String> {
        if self.history.enqueued().contains(config) {
            return Some(format!("{config} waits to be tried already"));
        }
        let trial = self.history.own_trials().find(|t| t.config == *config)?;
        Some(format!(
            "trial {} has this configuration: {config}",
            trial.id
        ))
    }

    fn limit(&mut self, turn: &mut Turn, limits: Limits) -> Result<Answer, HistoryError> {
        if limits.is_empty() {
            return Ok(Answer::refused_with_hint(
                "nothing is to be set",
                "give --max-parallel, --time-cap or --run-cap",
            ));
        }
        if limits.max_parallel == Some(0) || limits.run_cap == Some(0) {
            return Ok(Answer::refused_with_hint(
                "a limit must be at least 1",
                "`hpo pause` starts nothing for a while, `hpo stop` ends the study",
            ));
        }
        self.grant(turn, Request::Limits { limits })?;
        Ok(Answer::done(format!(
            "from now on: {}; the study file's values come back when they are changed there",
            limits.words()
        )))
    }

    /// Nothing can be done but for trials that the user has paused: the session is over, the study is
    /// not.
    pub(super) fn wait_for_held(&mut self, turn: &mut Turn) -> Result<(), HistoryError> {
        if self.any_active() {
            Ok(())
        } else {
            self.drain(turn)
        }
    }

    pub(super) fn is_held(&self, trial: TrialId) -> bool {
        self.history.trial(trial).is_some_and(|t: &Trial| t.held)
    }
}

/// Whether a domain has values of this kind.
fn of_kind(domain: &Domain, value: &Value) -> bool {
    let number = value.as_f64().is_some_and(f64::is_finite);
    match domain {
        Domain::Float { .. } | Domain::Law { whole: false, .. } => number,
        Domain::Int { .. } | Domain::Law { whole: true, .. } => value.as_i64().is_some(),
        Domain::Categorical { .. } => domain.contains(value),
        Domain::Constant(constant) => {
            domain.contains(value) || (constant.as_f64().is_some() && number)
        }
    }
}
/// What becomes of so many running trials when no others are started.
fn going_on(running: usize) -> String {
    match running {
        0 => "none runs".to_owned(),
        1 => "the running one goes on to its end".to_owned(),
        _ => format!("{running} running ones go on to their end"),
    }
}
