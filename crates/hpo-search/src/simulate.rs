//! For tests: studies that run through real events on a real history, with invented trials. It does
//! in small what the engine does with processes, and checks what a scheduler promises on the way.

use std::collections::BTreeMap;

use rand::Rng as _;

use hpo_study::import::{ImportAs, ImportBatch, Origin};
use hpo_study::seed::{Purpose, derive};
use hpo_study::{
    AttemptEnd, AttemptNumber, Branch, Clause, Condition, Config, Domain, EarlyTerminate, Event,
    EventKind, FailReason, Failure, Goal, History, Job, Method, Metric, Parameter, Scale, Space,
    StopIntent, StopReason, StudySpec, Timestamp, Trial, TrialId, TrialState, Value,
};

use crate::{Next, Rng, Sampler, Scheduler, Verdict, build_sampler, build_scheduler, stream};

/// A study that minimizes `loss`, with seed 0 and no caps.
pub(crate) fn spec(space: Space, method: Method, early_terminate: EarlyTerminate) -> StudySpec {
    let metric = Metric {
        name: "loss".to_owned(),
        goal: Goal::Minimize,
    };
    StudySpec {
        early_terminate,
        failure: Failure {
            crash_retries: 0,
            stop_after_consecutive: 0,
            ..Failure::default()
        },
        ..StudySpec::new("simulated", Job::command(&["true"]), method, metric, space)
    }
}

pub(crate) fn space(parameters: impl IntoIterator<Item = Parameter>) -> Space {
    Space {
        parameters: parameters.into_iter().collect(),
    }
}

/// A parameter that is always active.
pub(crate) fn always(name: &str, domain: Domain) -> Parameter {
    let branches = vec![Branch {
        when: Condition::default(),
        domain,
    }];
    Parameter {
        name: name.to_owned(),
        branches,
    }
}

/// A parameter that is active when `other` is `text`.
pub(crate) fn when(name: &str, other: &str, text: &str, domain: Domain) -> Parameter {
    let clause = Clause {
        parameter: other.to_owned(),
        any_of: vec![text.into()],
    };
    let branches = vec![Branch {
        when: Condition(vec![clause]),
        domain,
    }];
    Parameter {
        name: name.to_owned(),
        branches,
    }
}

pub(crate) fn float(low: f64, high: f64) -> Domain {
    Domain::Float {
        low,
        high,
        scale: Scale::Linear,
        step: None,
    }
}

pub(crate) fn categorical<const N: usize>(choices: [&str; N]) -> Domain {
    Domain::Categorical {
        choices: choices.map(Value::from).into(),
        weights: None,
    }
}

/// A study's events, what they add up to, and the sampler and scheduler that saw them.
pub(crate) struct Log {
    pub(crate) events: Vec<Event>,
    pub(crate) history: History,
    pub(crate) sampler: Box<dyn Sampler>,
    pub(crate) scheduler: Box<dyn Scheduler>,
}

impl Log {
    pub(crate) fn new(spec: StudySpec) -> Self {
        let kind = EventKind::StudyOpened {
            spec: Box::new(spec),
            hpo_version: "0".to_owned(),
        };
        Self::replay(&[Event {
            at: Timestamp(0),
            kind,
        }])
    }

    /// What a coordinator has after it read the events.
    pub(crate) fn replay(events: &[Event]) -> Self {
        let mut history = History::open(&events[0]).unwrap();
        // The study may have changed on the way: built for what it is in the end.
        let last = History::replay(events).unwrap();
        let (mut sampler, mut scheduler) =
            (build_sampler(last.spec()), build_scheduler(last.spec()));
        for (i, event) in events.iter().enumerate() {
            if i > 0 {
                history.apply(event).unwrap();
            }
            sampler.observe(&history, event);
            scheduler.observe(&history, event);
        }
        Self {
            events: events.to_vec(),
            history,
            sampler,
            scheduler,
        }
    }

    /// A sampler and a scheduler that saw the same events anew.
    pub(crate) fn rebuilt(&self) -> (Box<dyn Sampler>, Box<dyn Scheduler>) {
        let Self {
            sampler, scheduler, ..
        } = Self::replay(&self.events);
        (sampler, scheduler)
    }

    pub(crate) fn push(&mut self, kind: EventKind) {
        let event = Event {
            at: Timestamp(self.events.len() as u64),
            kind,
        };
        self.history
            .apply(&event)
            .expect("the simulation keeps the rules");
        self.sampler.observe(&self.history, &event);
        self.scheduler.observe(&self.history, &event);
        self.events.push(event);
    }

    fn ask(&self) -> Option<Config> {
        let trial = TrialId(self.history.trials().len() as u32);
        let seed = derive(self.history.spec().seed, trial, Purpose::Suggest);
        self.sampler.suggest(&self.history, &mut stream(seed))
    }

    /// Takes the sampler's next configuration, for a trial of which nothing else happens.
    pub(crate) fn suggest(&mut self) -> Option<Config> {
        self.suggest_for(0, None)
    }

    /// The same, for a place in a bracket.
    pub(crate) fn suggest_for(&mut self, bracket: u32, target: Option<u64>) -> Option<Config> {
        let config = self.ask()?;
        let trial = TrialId(self.history.trials().len() as u32);
        let suggested = EventKind::TrialSuggested {
            trial,
            config: config.clone(),
            bracket,
            target,
        };
        self.push(suggested);
        Some(config)
    }

    /// A new trial, running.
    pub(crate) fn start(&mut self, config: Config, bracket: u32, target: Option<u64>) -> TrialId {
        let trial = TrialId(self.history.trials().len() as u32);
        self.push(EventKind::TrialSuggested {
            trial,
            config,
            bracket,
            target,
        });
        self.launch(trial, target);
        trial
    }

    pub(crate) fn trial(&self, trial: TrialId) -> &Trial {
        self.history.trial(trial).unwrap()
    }

    fn attempt(&self, trial: TrialId) -> AttemptNumber {
        AttemptNumber(self.trial(trial).attempts.len() as u32)
    }

    pub(crate) fn launch(&mut self, trial: TrialId, target: Option<u64>) {
        let attempt = AttemptNumber(self.attempt(trial).0 + 1);
        self.push(EventKind::AttemptLaunching {
            trial,
            attempt,
            target,
            assignment: None,
        });
        self.push(EventKind::AttemptStarted {
            trial,
            attempt,
            pid: 1,
        });
    }

    /// With several objectives the others come with it: [`second`], [`third`].
    pub(crate) fn report(&mut self, trial: TrialId, step: u64, loss: f64) {
        let config = &self.trial(trial).config;
        let others = [second(config), third(config)];
        let further = &self.history.spec().further;
        let names = further.iter().map(|metric| metric.name.clone());
        let mut metrics: BTreeMap<String, f64> = names.zip(others).collect();
        metrics.insert("loss".to_owned(), loss);
        let attempt = self.attempt(trial);
        self.push(EventKind::Reported {
            trial,
            attempt,
            step,
            metrics,
        });
    }

    pub(crate) fn report_metrics<const N: usize>(
        &mut self,
        trial: TrialId,
        step: u64,
        metrics: [(&str, f64); N],
    ) {
        let metrics: BTreeMap<_, _> = metrics.map(|(name, x)| (name.to_owned(), x)).into();
        let attempt = self.attempt(trial);
        self.push(EventKind::Reported {
            trial,
            attempt,
            step,
            metrics,
        });
    }

    /// The process is gone.
    pub(crate) fn end(&mut self, trial: TrialId, end: AttemptEnd) {
        let attempt = self.attempt(trial);
        self.push(EventKind::AttemptEnded {
            trial,
            attempt,
            end,
        });
    }

    /// Takes in completed trials from elsewhere, with their losses, as one import.
    pub(crate) fn import(
        &mut self,
        used: ImportAs,
        trials: impl IntoIterator<Item = (Config, f64)>,
    ) {
        let batch = ImportBatch {
            source: "an earlier study".to_owned(),
            used,
            entry: None,
        };
        self.push(EventKind::TrialsImported { batch });
        let batch = self.history.imports().len() as u32 - 1;
        for (config, loss) in trials {
            let trial = TrialId(self.history.trials().len() as u32);
            let origin = Origin {
                batch,
                name: trial.to_string(),
                fingerprint: u64::from(trial.0),
                value: Some(loss),
            };
            self.push(EventKind::TrialImported { trial, origin });
            self.push(EventKind::TrialSuggested {
                trial,
                config,
                bracket: 0,
                target: None,
            });
            self.push(EventKind::TrialCompleted { trial });
        }
    }

    /// The process is gone, if there was one, on demand.
    fn end_on_demand(&mut self, trial: TrialId, intent: StopIntent) {
        if self.trial(trial).state.is_active() {
            let attempt = self.attempt(trial);
            self.push(EventKind::StopRequested {
                trial,
                attempt,
                intent,
            });
            self.end(
                trial,
                AttemptEnd::Signaled {
                    signal: 15,
                    stderr: String::new(),
                },
            );
        }
    }

    pub(crate) fn pause(&mut self, trial: TrialId) {
        self.end_on_demand(trial, StopIntent::Pause);
        self.push(EventKind::TrialPaused { trial });
    }

    pub(crate) fn stop(&mut self, trial: TrialId, reason: StopReason) {
        self.end_on_demand(
            trial,
            StopIntent::Stop {
                reason: reason.clone(),
            },
        );
        self.push(EventKind::TrialStopped { trial, reason });
    }

    pub(crate) fn complete(&mut self, trial: TrialId) {
        self.push(EventKind::TrialCompleted { trial });
    }

    /// The process crashed, and that was its last chance.
    pub(crate) fn fail(&mut self, trial: TrialId) {
        self.end(
            trial,
            AttemptEnd::Exited {
                code: 1,
                stderr: String::new(),
            },
        );
        let how = "exit code 1".to_owned();
        let reason = FailReason::Crash {
            how,
            stderr: String::new(),
        };
        self.push(EventKind::TrialFailed { trial, reason });
    }

    /// The process vanished, and another one takes its place.
    pub(crate) fn lose(&mut self, trial: TrialId) {
        self.end(trial, AttemptEnd::Lost);
        self.push(EventKind::TrialRequeued { trial });
        let target = self.trial(trial).target;
        self.launch(trial, target);
    }

    /// The study file was changed: sampler and scheduler are built anew.
    pub(crate) fn change_spec(&mut self, spec: StudySpec) {
        self.push(EventKind::SpecChanged {
            spec: Box::new(spec),
        });
        *self = Self::replay(&self.events);
    }
}

/// The invented machine and its trials.
#[derive(Clone)]
pub(crate) struct Worker {
    /// How many trials run at once.
    pub(crate) parallel: usize,
    /// The loss of a configuration at a step.
    pub(crate) objective: fn(&Config, u64) -> f64,
    /// After how many steps a process ends by itself.
    pub(crate) length: u64,
    /// Steps from one report to the next.
    pub(crate) stride: u64,
    /// Whether processes end at their target by themselves.
    pub(crate) heeds_target: bool,
    /// How likely at each report the process crashes, vanishes, or has its trial stopped as
    /// diverged.
    pub(crate) mishaps: [f64; 3],
    /// After how many events, again and again, the coordinator is a new one.
    pub(crate) restart_every: Option<usize>,
}

impl Default for Worker {
    fn default() -> Self {
        Self {
            parallel: 4,
            objective: bowl,
            length: 100,
            stride: 1,
            heeds_target: true,
            mishaps: [0.0; 3],
            restart_every: None,
        }
    }
}

/// A loss that falls over time towards the squared distance of all numbers from 0.3.
pub(crate) fn bowl(config: &Config, step: u64) -> f64 {
    let distance = |x: f64| (x - 0.3) * (x - 0.3);
    let far: f64 = config
        .iter()
        .filter_map(|(_, value)| value.as_f64())
        .map(distance)
        .sum();
    far + 1.0 / (step as f64 + 1.0)
}

/// Another objective, at odds with [`bowl`]: how far all numbers are from 0.8.
pub(crate) fn second(config: &Config) -> f64 {
    let numbers = config.iter().filter_map(|(_, value)| value.as_f64());
    numbers.map(|x| (x - 0.8).abs()).sum()
}

/// A third one: how many parameters there are, and how large the first number is.
pub(crate) fn third(config: &Config) -> f64 {
    let mut numbers = config.iter().filter_map(|(_, value)| value.as_f64());
    config.iter().count() as f64 + numbers.next().unwrap_or(0.0)
}

/// A whole study.
pub(crate) struct Simulation {
    pub(crate) log: Log,
    worker: Worker,
    rng: Rng,
    exhausted: bool,
    last_restart: usize,
}

impl Simulation {
    pub(crate) fn new(spec: StudySpec, worker: Worker, seed: u64) -> Self {
        let log = Log::new(spec);
        Self {
            log,
            worker,
            rng: stream(seed),
            exhausted: false,
            last_restart: 0,
        }
    }

    /// Runs the study to its end; every trial is over then.
    pub(crate) fn run(mut self) -> Log {
        loop {
            self.fill();
            let active: Vec<TrialId> = self.active();
            if active.is_empty() {
                break;
            }
            let trial = active[self.rng.random_range(0..active.len())];
            self.advance(trial);
            self.restart_if_due();
        }
        for trial in self.log.history.trials() {
            assert!(
                trial.state.is_final(),
                "trial {} is lost: {:?}",
                trial.id,
                trial.state
            );
        }
        self.log
    }

    fn active(&self) -> Vec<TrialId> {
        let trials = self.log.history.trials().iter();
        trials
            .filter(|t| t.state.is_active())
            .map(|t| t.id)
            .collect()
    }

    fn can_start(&self) -> bool {
        let cap = self.log.history.spec().run_cap;
        !self.exhausted && cap.is_none_or(|cap| self.log.history.trials().len() < cap as usize)
    }

    fn fill(&mut self) {
        let mut free = self.worker.parallel - self.active().len();
        while free > 0 {
            let can_start = self.can_start();
            match self.log.scheduler.next(&self.log.history, can_start) {
                Next::Start { bracket, target } => {
                    assert!(can_start, "a start that cannot be");
                    match self.log.ask() {
                        Some(config) => {
                            self.log.history.spec().space.check(&config).unwrap();
                            self.log.start(config, bracket, target);
                            free -= 1;
                        }
                        None => self.exhausted = true,
                    }
                }
                Next::Resume { trial, target } => {
                    assert_eq!(self.log.trial(trial).state, TrialState::Paused);
                    assert!(
                        target > self.log.trial(trial).target,
                        "it goes on to a higher rung"
                    );
                    self.log.launch(trial, target);
                    free -= 1;
                }
                Next::Discard { trial, evidence } => {
                    assert_eq!(self.log.trial(trial).state, TrialState::Paused);
                    self.log.stop(trial, StopReason::Pruned { evidence });
                }
                Next::Wait => {
                    assert!(!can_start, "a place stays idle");
                    return;
                }
            }
        }
    }

    /// One report of a running trial, and what follows from it.
    fn advance(&mut self, trial: TrialId) {
        let record = self.log.trial(trial);
        let step = record.curve.last_step().unwrap_or(0) + self.worker.stride;
        let loss = (self.worker.objective)(&record.config, step);
        let [crash, lose, diverge] = self.worker.mishaps;
        let dice: f64 = self.rng.random();
        if dice < crash {
            return self.log.fail(trial);
        }
        if dice < crash + lose {
            // From the first step again, half of the time.
            self.log.lose(trial);
            let step = if self.rng.random() { 1 } else { step };
            return self.log.report(trial, step, loss);
        }
        self.log.report(trial, step, loss);
        if dice < crash + lose + diverge {
            let evidence = "a simulated divergence".to_owned();
            return self.log.stop(trial, StopReason::Diverged { evidence });
        }
        match self.log.scheduler.judge(&self.log.history, trial) {
            Verdict::Continue => self.end_if_through(trial, step),
            // A process that heeds its target ends with it; the trial is judged again then.
            Verdict::Pause if self.worker.heeds_target => self.end_if_through(trial, step),
            Verdict::Pause => self.log.pause(trial),
            Verdict::Stop { evidence } => self.log.stop(trial, StopReason::Pruned { evidence }),
        }
    }

    fn end_if_through(&mut self, trial: TrialId, step: u64) {
        let target = self
            .log
            .trial(trial)
            .target
            .filter(|_| self.worker.heeds_target);
        if step < target.map_or(self.worker.length, |target| target.min(self.worker.length)) {
            return;
        }
        self.log.end(
            trial,
            AttemptEnd::Exited {
                code: 0,
                stderr: String::new(),
            },
        );
        match self.log.scheduler.judge(&self.log.history, trial) {
            Verdict::Continue => self.log.complete(trial),
            Verdict::Pause => self.log.pause(trial),
            Verdict::Stop { .. } => panic!("nothing is stopped when its process is over"),
        }
    }

    fn restart_if_due(&mut self) {
        if let Some(every) = self.worker.restart_every
            && self.log.events.len() >= self.last_restart + every
        {
            self.last_restart = self.log.events.len();
            let (sampler, scheduler) = self.log.rebuilt();
            self.log.sampler = sampler;
            self.log.scheduler = scheduler;
        }
    }
}
