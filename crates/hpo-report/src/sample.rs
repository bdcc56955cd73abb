//! A small finished history for tests: fixed numbers, every state.

use std::collections::BTreeMap;

use hpo_study::spec::{Activation, Dataset, Model};
use hpo_study::{
    AttemptEnd, AttemptNumber, Branch, Clause, Condition, Config, Cpu, Domain, EarlyTerminate,
    Event, EventKind, FailReason, Goal, History, Job, Method, Metric, Parameter, Rungs, Scale,
    Space, StopReason, StudySpec, Timestamp, TrainerSpec, TrialId, Value,
};

const OPENED: u64 = 1_700_000_000_000;

/// A study of the built-in trainer over three optimizers and two schedules.
pub(crate) fn spec() -> StudySpec {
    let choices = |values: &[&str]| Domain::Categorical {
        choices: values.iter().map(|v| Value::from(*v)).collect(),
        weights: None,
    };
    let log = |low, high| Domain::Float {
        low,
        high,
        scale: Scale::Log,
        step: None,
    };
    let when = |values: &[&str]| {
        Condition(vec![Clause {
            parameter: "optimizer".into(),
            any_of: values.iter().map(|v| Value::from(*v)).collect(),
        }])
    };
    let always = |name: &str, domain| Parameter {
        name: name.into(),
        branches: vec![Branch {
            when: Condition::default(),
            domain,
        }],
    };
    let job = Job::Trainer(TrainerSpec {
        model: Model::Mlp {
            hidden: vec![64],
            activation: Activation::Relu,
        },
        dataset: Dataset::Digits,
        epochs: 9,
        batch_size: 64,
        validation: 0.2,
        split_seed: 0,
    });
    let metric = Metric {
        name: "val_accuracy".into(),
        goal: Goal::Maximize,
    };
    let space = Space {
        parameters: vec![
            always("optimizer", choices(&["sgd", "momentum", "adamw"])),
            always("schedule", choices(&["constant", "cosine"])),
            Parameter {
                name: "lr".into(),
                branches: vec![
                    Branch {
                        when: when(&["sgd", "momentum"]),
                        domain: log(1e-3, 1.0),
                    },
                    Branch {
                        when: when(&["adamw"]),
                        domain: log(1e-5, 1e-2),
                    },
                ],
            },
            Parameter {
                name: "momentum".into(),
                branches: vec![Branch {
                    when: when(&["momentum"]),
                    domain: Domain::Float {
                        low: 0.5,
                        high: 0.99,
                        scale: Scale::OneMinusLog,
                        step: None,
                    },
                }],
            },
        ],
    };
    StudySpec {
        seed: 7,
        run_cap: Some(20),
        early_terminate: EarlyTerminate::Asha(Rungs {
            min_iter: 1,
            max_iter: 9,
            eta: 3,
        }),
        cpu: Cpu {
            max_parallel: Some(2),
            ..Cpu::default()
        },
        ..StudySpec::new("digits", job, Method::Random, metric, space)
    }
}

/// A log under construction; a second passes with every event.
struct Log {
    events: Vec<Event>,
}

impl Log {
    fn push(&mut self, kind: EventKind) {
        let at = Timestamp(OPENED + 1000 * self.events.len() as u64);
        self.events.push(Event { at, kind });
    }

    /// Suggests and launches a trial and reports its accuracies, one per step; loss beside it.
    fn run(&mut self, trial: u32, config: Config, accuracies: &[f64]) {
        let (trial, attempt) = (TrialId(trial), AttemptNumber(1));
        self.push(EventKind::TrialSuggested {
            trial,
            config,
            bracket: 0,
            target: Some(9),
        });
        self.push(EventKind::AttemptLaunching {
            trial,
            attempt,
            target: Some(9),
            assignment: None,
        });
        self.push(EventKind::AttemptStarted {
            trial,
            attempt,
            pid: 100 + trial.0,
        });
        for (i, accuracy) in accuracies.iter().enumerate() {
            let mut metrics = BTreeMap::from([("val_accuracy".to_owned(), *accuracy)]);
            if accuracy.is_finite() {
                metrics.insert("val_loss".to_owned(), 1.0 - accuracy);
            }
            self.push(EventKind::Reported {
                trial,
                attempt,
                step: i as u64 + 1,
                metrics,
            });
        }
    }

    fn end(&mut self, trial: u32, code: i32, stderr: &str) {
        self.push(EventKind::AttemptEnded {
            trial: TrialId(trial),
            attempt: AttemptNumber(1),
            end: AttemptEnd::Exited {
                code,
                stderr: stderr.to_owned(),
            },
        });
    }

    fn complete(&mut self, trial: u32, config: Config, last: f64) {
        let curve: Vec<f64> = (1..=9)
            .map(|i| last - 0.3 / f64::from(i) + 0.3 / 9.0)
            .collect();
        self.run(trial, config, &curve);
        self.end(trial, 0, "");
        self.push(EventKind::TrialCompleted {
            trial: TrialId(trial),
        });
    }

    fn stop(&mut self, trial: u32, config: Config, accuracies: &[f64], reason: StopReason) {
        self.run(trial, config, accuracies);
        self.end(trial, 0, "");
        self.push(EventKind::TrialStopped {
            trial: TrialId(trial),
            reason,
        });
    }
}

fn config(optimizer: &str, lr: f64, schedule: &str) -> Config {
    let mut config = Config::from_iter([("optimizer", optimizer), ("schedule", schedule)]);
    config.set("lr", lr);
    if optimizer == "momentum" {
        config.set("momentum", 0.9);
    }
    config
}

/// Eleven trials: five completed, two pruned, one diverged, one failed, one running, one queued.
pub(crate) fn study() -> History {
    study_with(|_| {})
}

/// As [`study`], with the study itself changed.
pub(crate) fn study_with(change: impl FnOnce(&mut StudySpec)) -> History {
    let mut spec = spec();
    change(&mut spec);
    let mut log = Log { events: Vec::new() };
    log.push(EventKind::StudyOpened {
        spec: Box::new(spec),
        hpo_version: "0.1.0".into(),
    });
    log.push(EventKind::SessionStarted {
        pid: 1,
        host: "here".into(),
    });
    log.complete(0, config("sgd", 0.02, "constant"), 0.85);
    log.complete(1, config("momentum", 0.05, "cosine"), 0.955);
    let pruned = |evidence: &str| StopReason::Pruned {
        evidence: evidence.into(),
    };
    log.stop(
        2,
        config("adamw", 1e-5, "constant"),
        &[0.12],
        pruned("4th of 4 at step 1; 1 goes on"),
    );
    log.complete(3, config("adamw", 0.004_321_987, "cosine"), 0.975);
    log.stop(
        4,
        config("sgd", 0.001, "cosine"),
        &[0.2, 0.3, 0.35],
        pruned("3rd of 4 at step 3; 1 goes on"),
    );
    let diverged = StopReason::Diverged {
        evidence: "val_accuracy was NaN at step 2".into(),
    };
    log.stop(
        5,
        config("momentum", 0.98, "constant"),
        &[0.1, f64::NAN],
        diverged,
    );
    log.complete(6, config("adamw", 0.001, "constant"), 0.965);
    log.run(7, config("sgd", 0.9, "constant"), &[]);
    log.end(7, 1, "loading\nMemoryError: no more\n");
    log.push(EventKind::TrialFailed {
        trial: TrialId(7),
        reason: FailReason::Crash {
            how: "exit code 1".into(),
            stderr: "loading\nMemoryError: no more\n".into(),
        },
    });
    log.complete(8, config("momentum", 0.01, "constant"), 0.94);
    log.run(9, config("adamw", 0.002, "cosine"), &[0.7, 0.8, 0.85]);
    log.push(EventKind::TrialSuggested {
        trial: TrialId(10),
        config: config("sgd", 0.1, "cosine"),
        bracket: 0,
        target: Some(1),
    });
    History::replay(&log.events).unwrap()
}

/// A small study whose three best were run again, twice each: the one with the best single value was
/// lucky.
pub(crate) fn confirmed() -> History {
    let mut spec = spec();
    spec.confirm = Some(hpo_study::Confirm { top: 3, seeds: 2 });
    let mut log = Log { events: Vec::new() };
    log.push(EventKind::StudyOpened {
        spec: Box::new(spec),
        hpo_version: "0.1.0".into(),
    });
    let rates = [0.1, 0.01, 0.001, 0.5];
    for (number, (lr, value)) in rates
        .into_iter()
        .zip([0.975, 0.965, 0.955, 0.6])
        .enumerate()
    {
        log.complete(number as u32, config("adamw", lr, "cosine"), value);
    }
    let runs = [
        (0, 0.90),
        (1, 0.96),
        (2, 0.95),
        (0, 0.91),
        (1, 0.955),
        (2, 0.94),
    ];
    for (number, (confirms, value)) in runs.into_iter().enumerate() {
        let (trial, attempt) = (TrialId::confirmation(number), AttemptNumber(1));
        let lr = rates[confirms as usize];
        log.push(EventKind::ConfirmationSuggested {
            trial,
            confirms: TrialId(confirms),
            config: config("adamw", lr, "cosine"),
        });
        log.push(EventKind::AttemptLaunching {
            trial,
            attempt,
            target: None,
            assignment: None,
        });
        log.push(EventKind::Reported {
            trial,
            attempt,
            step: 9,
            metrics: BTreeMap::from([("val_accuracy".to_owned(), value)]),
        });
        log.end(trial.0, 0, "");
        log.push(EventKind::TrialCompleted { trial });
    }
    log.push(EventKind::StudyEnded {
        end: hpo_study::StudyEnd::RunCap,
    });
    History::replay(&log.events).unwrap()
}

/// A study with two objectives, a loss and a size: the front is trials 0, 2 and 3.
pub(crate) fn several() -> History {
    let mut spec = spec();
    spec.early_terminate = EarlyTerminate::None;
    let metric = |name: &str| Metric {
        name: name.into(),
        goal: Goal::Minimize,
    };
    spec.metric = metric("val_loss");
    spec.further = vec![metric("size")];
    let mut log = Log { events: Vec::new() };
    log.push(EventKind::StudyOpened {
        spec: Box::new(spec),
        hpo_version: "0.1.0".into(),
    });
    let trials = [
        (0.4, 90.0),
        (0.6, 95.0),
        (0.5, 20.0),
        (0.9, 10.0),
        (f64::NAN, 5.0),
    ];
    for (number, (loss, size)) in (0..).zip(trials) {
        let (trial, attempt) = (TrialId(number), AttemptNumber(1));
        log.run(
            number,
            config("adamw", 0.001 * f64::from(number + 1), "cosine"),
            &[],
        );
        log.push(EventKind::Reported {
            trial,
            attempt,
            step: 9,
            metrics: BTreeMap::from([("val_loss".to_owned(), loss), ("size".to_owned(), size)]),
        });
        log.end(number, 0, "");
        log.push(match loss.is_finite() {
            true => EventKind::TrialCompleted { trial },
            false => EventKind::TrialStopped {
                trial,
                reason: StopReason::Diverged {
                    evidence: "it was NaN".into(),
                },
            },
        });
    }
    History::replay(&log.events).unwrap()
}

/// A study over a space, to be made small, with completed trials of these configurations and values.
pub(crate) fn completed(space: Space, trials: Vec<(Config, f64)>) -> History {
    let mut spec = spec();
    spec.space = space;
    spec.metric.goal = Goal::Minimize;
    let mut log = Log { events: Vec::new() };
    log.push(EventKind::StudyOpened {
        spec: Box::new(spec),
        hpo_version: "0.1.0".into(),
    });
    for (number, (config, value)) in trials.into_iter().enumerate() {
        let number = number as u32;
        log.run(number, config, &[value]);
        log.end(number, 0, "");
        log.push(EventKind::TrialCompleted {
            trial: TrialId(number),
        });
    }
    History::replay(&log.events).unwrap()
}

/// A study of many trials with many reports of six metrics each, some of them not finite.
pub(crate) fn large(trials: u32, steps: u64) -> History {
    let mut spec = spec();
    spec.run_cap = Some(trials);
    let opened = EventKind::StudyOpened {
        spec: Box::new(spec),
        hpo_version: "0.1.0".into(),
    };
    let at = |n: u64| Timestamp(OPENED + 100 * n);
    let event = |n: u64, kind| Event { at: at(n), kind };
    let mut history = History::open(&event(0, opened)).unwrap();
    for number in 0..trials {
        let (trial, attempt) = (TrialId(number), AttemptNumber(1));
        let n = u64::from(number);
        // Spread evenly, without a generator.
        let part = (f64::from(number) * 0.414_213_6).fract();
        let rate = 10f64.powf(-5.0 + 5.0 * part);
        let optimizer = ["sgd", "momentum", "adamw"][number as usize % 3];
        let mut apply = |kind| history.apply(&event(n, kind)).unwrap();
        apply(EventKind::TrialSuggested {
            trial,
            config: config(optimizer, rate, "cosine"),
            bracket: 0,
            target: None,
        });
        apply(EventKind::AttemptLaunching {
            trial,
            attempt,
            target: None,
            assignment: None,
        });
        for step in 1..=steps {
            let progress = step as f64 / steps as f64;
            let accuracy =
                (0.9 - (part - 0.4).powi(2)) * progress.sqrt() + 0.001 * (step % 7) as f64;
            let broke = part > 0.95 && progress > 0.5;
            let loss = if broke { f64::NAN } else { 1.0 - accuracy };
            let metrics = [
                ("val_accuracy", accuracy),
                ("val_loss", loss),
                ("train_loss", 0.9 * loss),
                ("grad_norm", loss * 3.3),
                ("lr", rate * (1.0 - progress)),
                ("weight_norm", 10.0 + progress / 3.0),
            ];
            let metrics = metrics.map(|(name, value)| (name.to_owned(), value)).into();
            apply(EventKind::Reported {
                trial,
                attempt,
                step,
                metrics,
            });
        }
        apply(EventKind::AttemptEnded {
            trial,
            attempt,
            end: AttemptEnd::Exited {
                code: 0,
                stderr: String::new(),
            },
        });
        apply(EventKind::TrialCompleted { trial });
    }
    history
}

/// A study of which nothing has run.
pub(crate) fn empty() -> History {
    History::open(&Event {
        at: Timestamp(OPENED),
        kind: EventKind::StudyOpened {
            spec: Box::new(spec()),
            hpo_version: "0.1.0".into(),
        },
    })
    .unwrap()
}
