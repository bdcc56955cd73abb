//! Ask and tell over lines of JSON: the searchers for any language. Pure: a line in, a line out; who
//! reads and writes them is somebody else's business. The protocol is in `docs/stdio.md`.
//!
//! Behind it stand the very samplers, schedulers and history that a study has.

mod add;
mod several;
mod space;

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value as Json, json};

use hpo_study::protocol::quote_non_finite;
use hpo_study::seed::{Purpose, derive};
use hpo_study::{
    AttemptEnd, AttemptNumber, EarlyTerminate, Event, EventKind, FailReason, History, HistoryError,
    Method, Rungs, StopIntent, StopReason, StudySpec, Timestamp, Trial, TrialId, TrialState,
};

use crate::{Next, Sampler, Scheduler, Verdict, build_sampler, build_scheduler, stream};

pub use space::METRIC;

/// A search that is asked and told.
pub struct Session {
    history: History,
    sampler: Box<dyn Sampler>,
    scheduler: Box<dyn Scheduler>,
    /// Stands in for the time: one more with every event.
    clock: u64,
}

/// What keeps a message from being heeded: a sentence for people.
type Refusal = String;

/// Why a search cannot be opened: a sentence for people, by where the fault lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unopened {
    /// In the space file.
    Space(String),
    /// In the options, or in what they ask of this space.
    Options(String),
}

impl fmt::Display for Unopened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Space(reason) | Self::Options(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for Unopened {}

impl Session {
    /// Opens a search over the space in a JSON text (see `docs/stdio.md`).
    ///
    /// `method` and `early_terminate` are words as in a study file; rungs take their length and `eta`
    /// from the space file's `max_steps` and `eta`.
    ///
    /// # Errors
    /// A sentence saying what is wrong with the space, or with the words.
    pub fn open(
        space: &str,
        seed: u64,
        method: &str,
        early_terminate: &str,
    ) -> Result<Self, Unopened> {
        let file = space::read(space).map_err(Unopened::Space)?;
        Self::over(file, seed, method, early_terminate).map_err(Unopened::Options)
    }

    fn over(
        file: space::SpaceFile,
        seed: u64,
        method: &str,
        early_terminate: &str,
    ) -> Result<Self, Refusal> {
        let method = method_of(method)?;
        if method == Method::Pbt {
            return Err("`--method pbt` copies checkpoints, which only `hpo run` does".to_owned());
        }
        if file.goals.len() > 1 && (!method.takes_several() || early_terminate != "none") {
            return Err(several::no_early_stopping());
        }
        let word = match early_terminate {
            "none" if method.needs_rungs() => "hyperband",
            word => word,
        };
        let rule = rule(word, file.max_steps, file.eta)?;
        if method.needs_rungs() && rule.rungs().is_none()
            || method == Method::Dehb && !matches!(rule, EarlyTerminate::Hyperband(_))
        {
            return Err(format!(
                "`--method {}` needs rungs: `--early-terminate hyperband`",
                method.word()
            ));
        }
        if file.believes() && matches!(method, Method::Grid | Method::Sobol) {
            let word = method.word();
            return Err(format!("a `prior` does not go with `--method {word}`"));
        }
        Self::of(space::spec(file, seed, method, rule))
    }

    fn of(spec: StudySpec) -> Result<Self, Refusal> {
        let (mut sampler, mut scheduler) = (build_sampler(&spec), build_scheduler(&spec));
        let kind = EventKind::StudyOpened {
            spec: Box::new(spec),
            hpo_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let event = Event {
            at: Timestamp(0),
            kind,
        };
        let history = History::open(&event).map_err(|e| e.to_string())?;
        sampler.observe(&history, &event);
        scheduler.observe(&history, &event);
        Ok(Self {
            history,
            sampler,
            scheduler,
            clock: 0,
        })
    }

    /// What has happened so far.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Answers one line. What cannot be heeded is answered with `{"error": "..."}` and changes nothing.
    #[must_use]
    pub fn answer(&mut self, line: &str) -> String {
        let answer = read_object(line.trim_end()).and_then(|message| self.heed(&message));
        answer
            .unwrap_or_else(|reason| json!({ "error": reason }))
            .to_string()
    }

    fn heed(&mut self, message: &Map<String, Json>) -> Result<Json, Refusal> {
        let allowed: &[&str] = match text(message, "op")? {
            "ask" => &["op"],
            "report" => &["op", "trial", "step", "value"],
            "tell" if self.has_several() => &["op", "trial", "values", "status"],
            "tell" => &["op", "trial", "value", "status"],
            "add" if self.has_several() => &["op", "params", "status", "values"],
            "add" => &["op", "params", "status", "value", "reports"],
            other => {
                return Err(format!(
                    "`op` is `ask`, `report`, `tell` or `add`, not `{other}`"
                ));
            }
        };
        if let Some(key) = message.keys().find(|key| !allowed.contains(&key.as_str())) {
            return Err(format!(
                "`{key}` has no meaning here: {}",
                allowed.join(", ")
            ));
        }
        match text(message, "op")? {
            "ask" => self.ask(),
            "report" if self.has_several() => {
                Err("with several objectives there are no reports: tell the trial's end".to_owned())
            }
            "report" => {
                let trial = self.running(message)?;
                let step = whole(message, "step")?;
                let value = number(message, "value")?.ok_or("`value` is missing")?;
                self.report(trial, step, value)
            }
            "add" => self.add(message),
            _ => {
                let trial = self.running(message)?;
                let status = match message.get("status") {
                    None => "complete",
                    Some(_) => text(message, "status")?,
                };
                if self.has_several() {
                    return self.tell_values(trial, message, status);
                }
                self.tell(trial, number(message, "value")?, status)
            }
        }
    }

    fn ask(&mut self) -> Result<Json, Refusal> {
        let mut can_start = true;
        loop {
            match self.scheduler.next(&self.history, can_start) {
                Next::Start { bracket, target } => {
                    let trial = TrialId(count(self.history.trials().len())?);
                    let seed = derive(self.history.spec().seed, trial, Purpose::Suggest);
                    let Some(config) = self.sampler.suggest(&self.history, &mut stream(seed))
                    else {
                        can_start = false;
                        continue;
                    };
                    self.push(EventKind::TrialSuggested {
                        trial,
                        config,
                        bracket,
                        target,
                    })?;
                    return self.launch(trial, target);
                }
                Next::Resume { trial, target } => return self.launch(trial, target),
                Next::Discard { trial, evidence } => {
                    let reason = StopReason::Pruned { evidence };
                    self.push(EventKind::TrialStopped { trial, reason })?;
                }
                Next::Wait if can_start => {
                    return Err("nothing to start before a running trial is told".to_owned());
                }
                Next::Wait => {
                    let running = self.history.trials().iter().any(|t| !t.state.is_final());
                    return Err(if running {
                        "nothing is left to propose before a running trial is told".to_owned()
                    } else {
                        "nothing is left to propose: every configuration was tried".to_owned()
                    });
                }
            }
        }
    }

    /// Starts (a further part of) a trial, and says with which parameters and how far it goes.
    fn launch(&mut self, trial: TrialId, target: Option<u64>) -> Result<Json, Refusal> {
        let attempt = AttemptNumber(count(self.trial(trial)?.attempts.len() + 1)?);
        self.push(EventKind::AttemptLaunching {
            trial,
            attempt,
            target,
            assignment: None,
        })?;
        self.push(EventKind::AttemptStarted {
            trial,
            attempt,
            pid: 0,
        })?;
        let mut answer = json!({ "trial": trial.0, "params": self.trial(trial)?.config });
        if let (Some(target), true) = (target, self.pauses()) {
            answer["budget"] = json!(target);
        }
        Ok(answer)
    }

    /// Whether trials run from rung to rung and wait there.
    fn pauses(&self) -> bool {
        self.history.spec().early_terminate.pauses()
    }

    fn report(&mut self, trial: TrialId, step: u64, value: f64) -> Result<Json, Refusal> {
        self.measure(trial, step, value)?;
        let decision = match self.scheduler.judge(&self.history, trial) {
            Verdict::Stop { .. } => "prune",
            Verdict::Pause | Verdict::Continue => "continue",
        };
        Ok(json!({ "decision": decision }))
    }

    fn measure(&mut self, trial: TrialId, step: u64, value: f64) -> Result<(), Refusal> {
        let attempt = self.attempt(trial)?;
        let metrics = BTreeMap::from([(METRIC.to_owned(), value)]);
        self.push(EventKind::Reported {
            trial,
            attempt,
            step,
            metrics,
        })
    }

    fn tell(&mut self, trial: TrialId, value: Option<f64>, status: &str) -> Result<Json, Refusal> {
        let record = self.trial(trial)?;
        let reported = record.curve.last().is_some();
        let counts = match status {
            "complete" | "pruned" => true,
            "failed" | "lost" => false,
            other => {
                return Err(format!(
                    "`status` is `complete`, `pruned`, `failed` or `lost`, not `{other}`"
                ));
            }
        };
        if value.is_none() && !reported && counts {
            return Err("`value` is missing, and nothing was reported before".to_owned());
        }
        if let (Some(value), true) = (value, counts) {
            let step = self.step_of_the_end(record, status);
            self.measure(trial, step, value)?;
        }
        match status {
            "failed" => {
                let evidence = "told to have failed".to_owned();
                self.stop(trial, StopReason::Diverged { evidence })?;
            }
            "pruned" => {
                let evidence = "told to have been pruned".to_owned();
                self.stop(trial, StopReason::Pruned { evidence })?;
            }
            "lost" => self.lose(trial)?,
            _ => self.complete(trial)?,
        }
        Ok(json!({ "ok": true }))
    }

    /// The step at which the value told at the end was measured.
    fn step_of_the_end(&self, trial: &Trial, status: &str) -> u64 {
        let full = self.history.spec().max_steps();
        match (trial.curve.last_step(), trial.target) {
            (last, Some(target)) if status == "complete" && self.pauses() => {
                last.map_or(target, |last| last.max(target))
            }
            (Some(last), _) => last,
            (None, target) => target.or(full).unwrap_or(1),
        }
    }

    fn complete(&mut self, trial: TrialId) -> Result<(), Refusal> {
        let end = AttemptEnd::Exited {
            code: 0,
            stderr: String::new(),
        };
        let attempt = self.attempt(trial)?;
        self.push(EventKind::AttemptEnded {
            trial,
            attempt,
            end,
        })?;
        match self.scheduler.judge(&self.history, trial) {
            Verdict::Pause => self.push(EventKind::TrialPaused { trial }),
            Verdict::Continue | Verdict::Stop { .. } => {
                self.push(EventKind::TrialCompleted { trial })
            }
        }
    }

    fn stop(&mut self, trial: TrialId, reason: StopReason) -> Result<(), Refusal> {
        let attempt = self.attempt(trial)?;
        let intent = StopIntent::Stop {
            reason: reason.clone(),
        };
        self.push(EventKind::StopRequested {
            trial,
            attempt,
            intent,
        })?;
        let end = AttemptEnd::Exited {
            code: 0,
            stderr: String::new(),
        };
        self.push(EventKind::AttemptEnded {
            trial,
            attempt,
            end,
        })?;
        self.push(EventKind::TrialStopped { trial, reason })
    }

    /// Forgets what became of a trial: it says nothing of its configuration.
    fn lose(&mut self, trial: TrialId) -> Result<(), Refusal> {
        let attempt = self.attempt(trial)?;
        self.push(EventKind::AttemptEnded {
            trial,
            attempt,
            end: AttemptEnd::Lost,
        })?;
        self.push(EventKind::TrialFailed {
            trial,
            reason: FailReason::Lost,
        })
    }

    fn push(&mut self, kind: EventKind) -> Result<(), Refusal> {
        self.clock += 1;
        let event = Event {
            at: Timestamp(self.clock),
            kind,
        };
        self.history
            .apply(&event)
            .map_err(|e: HistoryError| e.to_string())?;
        self.sampler.observe(&self.history, &event);
        self.scheduler.observe(&self.history, &event);
        Ok(())
    }

    fn trial(&self, trial: TrialId) -> Result<&Trial, Refusal> {
        let unknown = || format!("there is no trial {trial}");
        self.history.trial(trial).ok_or_else(unknown)
    }

    fn attempt(&self, trial: TrialId) -> Result<AttemptNumber, Refusal> {
        let last = self.trial(trial)?.attempt().map(|attempt| attempt.number);
        last.ok_or_else(|| format!("trial {trial} was never started"))
    }

    /// The trial a message is about, which must be running.
    fn running(&self, message: &Map<String, Json>) -> Result<TrialId, Refusal> {
        let number = whole(message, "trial")?;
        let id = u32::try_from(number).map_err(|_| format!("there is no trial {number}"))?;
        let trial = self.trial(TrialId(id))?;
        match trial.state {
            TrialState::Running => Ok(trial.id),
            _ => Err(format!(
                "trial {id} is not running: it is {}",
                trial.state.word()
            )),
        }
    }
}

fn count(n: usize) -> Result<u32, Refusal> {
    u32::try_from(n).map_err(|_| "there are too many trials".to_owned())
}

/// A method by the word that a study file has for it.
fn method_of(word: &str) -> Result<Method, Refusal> {
    serde_json::from_value(json!(word)).map_err(|error| {
        let words = error.to_string().replacen("unknown variant ", "", 1);
        format!("`--method` cannot be {words}")
    })
}

/// The stopping rule of a word, with the study file's defaults.
fn rule(word: &str, max_steps: Option<u64>, eta: u32) -> Result<EarlyTerminate, Refusal> {
    let rungs = || {
        let max_iter = max_steps.ok_or_else(|| {
            format!("`--early-terminate {word}` needs `max_steps` in the space file")
        })?;
        Ok::<_, Refusal>(Rungs {
            min_iter: 1,
            max_iter,
            eta,
        })
    };
    Ok(match word {
        "none" => EarlyTerminate::None,
        "auto" => EarlyTerminate::Auto {
            min_iter: 1,
            max_iter: max_steps,
        },
        "median" => EarlyTerminate::Median {
            min_iter: 1,
            min_trials: 5,
        },
        "percentile" => EarlyTerminate::Percentile {
            percentile: 25.0,
            min_iter: 1,
            min_trials: 5,
            interval: 1,
        },
        "wilcoxon" => EarlyTerminate::Wilcoxon {
            p_threshold: 0.1,
            n_startup_steps: 2,
            metric: None,
        },
        "patient" => EarlyTerminate::Patient {
            rule: Box::new(EarlyTerminate::None),
            patience: 5,
            min_delta: 0.0,
        },
        "asha" => EarlyTerminate::Asha(rungs()?),
        "asha-promotion" => EarlyTerminate::AshaPromotion(rungs()?),
        "sha" => EarlyTerminate::SuccessiveHalving(rungs()?),
        "hyperband" => EarlyTerminate::Hyperband(rungs()?),
        other => {
            return Err(format!(
                "`--early-terminate` is `none`, `auto`, `median`, `percentile`, `patient`, `wilcoxon`, `asha`, `asha-promotion`, \
                 `sha` or `hyperband`, not `{other}`"
            ));
        }
    })
}

/// A JSON object; bare `NaN` and `Infinity` are accepted.
fn read_object(line: &str) -> Result<Map<String, Json>, Refusal> {
    let json =
        serde_json::from_str(line).or_else(|_| serde_json::from_str(&quote_non_finite(line)));
    match json {
        Ok(Json::Object(object)) => Ok(object),
        Ok(_) => Err("a message is a JSON object".to_owned()),
        Err(e) => Err(format!("a message is a JSON object: {e}")),
    }
}

fn text<'a>(message: &'a Map<String, Json>, key: &str) -> Result<&'a str, Refusal> {
    match message.get(key) {
        Some(Json::String(text)) => Ok(text),
        Some(other) => Err(format!("`{key}` must be a text, not {other}")),
        None => Err(format!("`{key}` is missing")),
    }
}

fn whole(message: &Map<String, Json>, key: &str) -> Result<u64, Refusal> {
    let value = message
        .get(key)
        .ok_or_else(|| format!("`{key}` is missing"))?;
    let as_float = || {
        value
            .as_f64()
            .filter(|x| x.fract() == 0.0 && (0.0..9e15).contains(x))
    };
    let number = value.as_u64().or_else(|| as_float().map(|x| x as u64));
    number.ok_or_else(|| format!("`{key}` must be a whole number from 0, not {value}"))
}

/// A number, not finite perhaps; `null` counts as absent.
fn number(message: &Map<String, Json>, key: &str) -> Result<Option<f64>, Refusal> {
    let value = match message.get(key) {
        None | Some(Json::Null) => return Ok(None),
        Some(value) => value,
    };
    let number = match value.as_str() {
        Some("NaN") => Some(f64::NAN),
        Some("Infinity") => Some(f64::INFINITY),
        Some("-Infinity") => Some(f64::NEG_INFINITY),
        _ => value.as_f64(),
    };
    let wrong = || format!("`{key}` must be a number, not {value}");
    number.map(Some).ok_or_else(wrong)
}

#[cfg(test)]
mod tests;
