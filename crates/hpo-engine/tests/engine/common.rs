//! A small study, and a search that does as it is told.

use hpo_engine::{Command, Engine, Input, Inventory};
use hpo_search::{Next, Rng, Sampler, Scheduler, Verdict};
use hpo_study::protocol::Report;
use hpo_study::*;

pub(crate) const METRIC: &str = "loss";
pub(crate) const START: Timestamp = Timestamp(1_000_000);

/// A study of four trials of `x` in 0..1, minimizing `loss`.
pub(crate) fn spec() -> StudySpec {
    let domain = Domain::Float {
        low: 0.0,
        high: 1.0,
        scale: Scale::Linear,
        step: None,
    };
    let branches = vec![Branch {
        when: Condition::default(),
        domain,
    }];
    let metric = Metric {
        name: METRIC.into(),
        goal: Goal::Minimize,
    };
    let space = Space {
        parameters: vec![Parameter {
            name: "x".into(),
            branches,
        }],
    };
    StudySpec {
        seed: 7,
        run_cap: Some(4),
        failure: Failure {
            stop_after_consecutive: 0,
            ..Failure::default()
        },
        ..StudySpec::new(
            "test",
            Job::command(&["true"]),
            Method::Random,
            metric,
            space,
        )
    }
}

pub(crate) fn opened(spec: StudySpec) -> Event {
    let kind = EventKind::StudyOpened {
        spec: Box::new(spec),
        hpo_version: "test".into(),
    };
    Event { at: START, kind }
}

/// Proposes 0, 1, 2, … and stops after `most`.
pub(crate) struct Counting {
    pub(crate) most: usize,
}

impl Sampler for Counting {
    fn suggest(&self, history: &History, _: &mut Rng) -> Option<Config> {
        let n = history.trials().len();
        (n < self.most).then(|| [("x", n as f64)].into_iter().collect())
    }
}

type NextRule = Box<dyn Fn(&History, bool) -> Next + Send>;
type JudgeRule = Box<dyn Fn(&Trial) -> Verdict + Send>;

/// Answers what the test says.
pub(crate) struct Told {
    pub(crate) next: NextRule,
    pub(crate) judge: JudgeRule,
}

impl Told {
    /// Starts trials up to `target` while it can, and never judges.
    pub(crate) fn starting(target: Option<u64>) -> Self {
        Self {
            next: Box::new(move |_, can_start| {
                if can_start {
                    Next::Start { bracket: 0, target }
                } else {
                    Next::Wait
                }
            }),
            judge: Box::new(|_| Verdict::Continue),
        }
    }
    pub(crate) fn judging(mut self, judge: impl Fn(&Trial) -> Verdict + Send + 'static) -> Self {
        self.judge = Box::new(judge);
        self
    }
    pub(crate) fn naming(mut self, next: impl Fn(&History, bool) -> Next + Send + 'static) -> Self {
        self.next = Box::new(next);
        self
    }
}

impl Scheduler for Told {
    fn next(&self, history: &History, can_start: bool) -> Next {
        (self.next)(history, can_start)
    }
    fn judge(&self, history: &History, trial: TrialId) -> Verdict {
        (self.judge)(history.trial(trial).expect("judged trials exist"))
    }
}

/// An engine with its log and a clock that stands still unless told otherwise.
pub(crate) struct Driver {
    pub(crate) engine: Engine,
    pub(crate) log: Vec<Event>,
    pub(crate) now: Timestamp,
    pub(crate) slots: u32,
}

impl Driver {
    pub(crate) fn new(spec: StudySpec, slots: u32, scheduler: Told) -> Self {
        let log = vec![opened(spec)];
        let sampler = Box::new(Counting { most: 100 });
        let engine = Engine::with(&log, sampler, Box::new(scheduler)).expect("opens");
        let mut driver = Self {
            engine,
            log,
            now: START,
            slots,
        };
        driver.session();
        driver
    }

    /// Begins a session and takes one step, as the shell does.
    pub(crate) fn session(&mut self) {
        let events = self
            .engine
            .begin_session(self.now, 1, "here")
            .expect("begins");
        self.log.extend(events);
        self.step([Input::Tick]);
    }

    /// Takes one step; gives the names of its events: `trial_paused 0`.
    pub(crate) fn step(&mut self, inputs: impl IntoIterator<Item = Input>) -> Vec<String> {
        let inventory = Inventory::slots(self.slots);
        let inputs = inputs.into_iter().collect();
        let events = self
            .engine
            .step(self.now, &inventory, inputs)
            .expect("steps");
        self.log.extend(events.iter().cloned());
        events.iter().map(|e| name(&e.kind)).collect()
    }

    pub(crate) fn state(&self, trial: u32) -> &TrialState {
        &self
            .engine
            .history()
            .trial(TrialId(trial))
            .expect("exists")
            .state
    }

    pub(crate) fn launches(&self) -> Vec<u32> {
        let launch = |c: Command| match c {
            Command::Launch { trial, .. } => Some(trial.0),
            Command::Stop { .. } => None,
        };
        self.engine
            .outstanding()
            .into_iter()
            .filter_map(launch)
            .collect()
    }

    pub(crate) fn stops(&self) -> Vec<u32> {
        let stop = |c: Command| match c {
            Command::Stop { trial, .. } => Some(trial.0),
            Command::Launch { .. } => None,
        };
        self.engine
            .outstanding()
            .into_iter()
            .filter_map(stop)
            .collect()
    }

    pub(crate) fn end(&self) -> Option<&StudyEnd> {
        self.engine.history().end()
    }
}

/// An event in short: `attempt_launching 0/1`, `trial_stopped 2 (diverged)`.
pub(crate) fn name(kind: &EventKind) -> String {
    let json = serde_json::to_value(kind).expect("events are JSON");
    let word = |key: &str| json.get(key).map(ToString::to_string);
    let mut text = json["event"].as_str().expect("tagged").to_owned();
    if let Some(trial) = word("trial") {
        text += &format!(" {trial}");
    }
    if let Some(attempt) = word("attempt") {
        text += &format!("/{attempt}");
    }
    match kind {
        EventKind::TrialStopped { reason, .. } => text += &format!(" ({})", reason.word()),
        EventKind::TrialFailed { reason, .. } => text += &format!(" ({})", reason.word()),
        _ => {}
    }
    text
}

pub(crate) fn started(trial: u32, attempt: u32) -> Input {
    Input::Started {
        trial: TrialId(trial),
        attempt: AttemptNumber(attempt),
        pid: 100 + trial,
    }
}

pub(crate) fn report(trial: u32, attempt: u32, step: impl Into<Option<u64>>, loss: f64) -> Input {
    line(trial, attempt, step, &[(METRIC, loss)])
}

pub(crate) fn line(
    trial: u32,
    attempt: u32,
    step: impl Into<Option<u64>>,
    metrics: &[(&str, f64)],
) -> Input {
    let metrics = metrics
        .iter()
        .map(|(name, value)| ((*name).to_owned(), *value))
        .collect();
    let report = Report {
        step: step.into(),
        metrics,
    };
    Input::Reported {
        trial: TrialId(trial),
        attempt: AttemptNumber(attempt),
        report,
    }
}

pub(crate) fn ended(trial: u32, attempt: u32, end: AttemptEnd) -> Input {
    Input::Ended {
        trial: TrialId(trial),
        attempt: AttemptNumber(attempt),
        end,
    }
}

pub(crate) fn exit(code: i32) -> AttemptEnd {
    AttemptEnd::Exited {
        code,
        stderr: "Traceback\nValueError: no\n".into(),
    }
}

pub(crate) fn signal(signal: i32) -> AttemptEnd {
    AttemptEnd::Signaled {
        signal,
        stderr: String::new(),
    }
}
