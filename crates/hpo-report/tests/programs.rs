//! The exported PyTorch and Keras programs run as they are, in the real libraries, and set their
//! optimizers at every step to what the catalogue's schedules say.
//!
//! Needs a Python with torch and keras: `HPO_TEST_PYTHON=…/python cargo test -p hpo-report --test
//! programs`. Without one the test says that it was skipped; `HPO_TEST_REQUIRE_ALL=1` makes that a
//! failure. All programs run in one process. Last run with PyTorch 2.15.0 and Keras 3.15.1 (torch
//! backend).

#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use hpo_recipe::{Horizon, OptimizerSetting, Schedule};
use hpo_report::{Format, export};
use hpo_study::{
    AttemptEnd, AttemptNumber, Config, EarlyTerminate, Event, EventKind, Goal, History, Job,
    Method, Metric, Rungs, Space, StudySpec, Timestamp, TrialId, Value,
};
use serde_json::{Value as Json, json};

const EPOCHS: u64 = 9;

/// A history of a command study with one completed trial of this configuration.
fn history(config: &Config) -> History {
    let (trial, attempt) = (TrialId(0), AttemptNumber(1));
    let spec = StudySpec {
        run_cap: Some(1),
        early_terminate: EarlyTerminate::Asha(Rungs {
            min_iter: 1,
            max_iter: EPOCHS,
            eta: 3,
        }),
        ..StudySpec::new(
            "a \"study\" with \\ signs",
            Job::command(&["true"]),
            Method::Random,
            Metric {
                name: "val_loss".into(),
                goal: Goal::Minimize,
            },
            Space::default(),
        )
    };
    let kinds = [
        EventKind::StudyOpened {
            spec: Box::new(spec),
            hpo_version: "0.1.0".into(),
        },
        EventKind::TrialSuggested {
            trial,
            config: config.clone(),
            bracket: 0,
            target: None,
        },
        EventKind::AttemptLaunching {
            trial,
            attempt,
            target: None,
            assignment: None,
        },
        EventKind::AttemptStarted {
            trial,
            attempt,
            pid: 1,
        },
        EventKind::Reported {
            trial,
            attempt,
            step: EPOCHS,
            metrics: BTreeMap::from([("val_loss".into(), 0.5)]),
        },
        EventKind::AttemptEnded {
            trial,
            attempt,
            end: AttemptEnd::Exited {
                code: 0,
                stderr: String::new(),
            },
        },
        EventKind::TrialCompleted { trial },
    ];
    let events = kinds.into_iter().enumerate().map(|(i, kind)| Event {
        at: Timestamp(i as u64),
        kind,
    });
    History::replay(&events.collect::<Vec<_>>()).unwrap()
}

/// Rate and momentum of each third of a training.
const STRETCHES: [(f64, f64); 3] = [(0.1, 0.9), (0.08, 0.95), (0.12, 0.95)];

/// A history in which each of three trials trained a third, each from the one before.
fn population() -> History {
    let config = |(lr, momentum): (f64, f64)| -> Config {
        let pairs: [(&str, Value); 3] = [
            ("optimizer", "momentum".into()),
            ("lr", lr.into()),
            ("momentum", momentum.into()),
        ];
        pairs.into_iter().collect()
    };
    population_of(STRETCHES.map(config))
}

/// The same with these configurations.
fn population_of(configs: [Config; 3]) -> History {
    let spec = history(&configs[0]).spec().clone();
    let mut kinds = vec![EventKind::StudyOpened {
        spec: Box::new(spec),
        hpo_version: "0.1.0".into(),
    }];
    for (i, config) in configs.into_iter().enumerate() {
        let (trial, attempt) = (TrialId(i as u32), AttemptNumber(1));
        let end = EPOCHS * (i as u64 + 1) / 3;
        if i > 0 {
            let from = hpo_study::population::Parent {
                trial: TrialId(i as u32 - 1),
                step: EPOCHS * i as u64 / 3,
            };
            kinds.push(EventKind::TrialForked { trial, from });
        }
        kinds.push(EventKind::TrialSuggested {
            trial,
            config,
            bracket: 0,
            target: Some(end),
        });
        kinds.extend([
            EventKind::AttemptLaunching {
                trial,
                attempt,
                target: Some(end),
                assignment: None,
            },
            EventKind::AttemptStarted {
                trial,
                attempt,
                pid: 1,
            },
            EventKind::Reported {
                trial,
                attempt,
                step: end,
                metrics: BTreeMap::from([("val_loss".into(), 1.0 / end as f64)]),
            },
            EventKind::AttemptEnded {
                trial,
                attempt,
                end: AttemptEnd::Exited {
                    code: 0,
                    stderr: String::new(),
                },
            },
            EventKind::TrialCompleted { trial },
        ]);
    }
    let events = kinds.into_iter().enumerate().map(|(i, kind)| Event {
        at: Timestamp(i as u64),
        kind,
    });
    History::replay(&events.collect::<Vec<_>>()).unwrap()
}

#[test]
fn what_a_population_changed_is_written_by_step() {
    let history = population();
    let best = history.best().unwrap();
    let yaml = export(&history, best, Format::Yaml).unwrap();
    assert!(yaml.contains("optimizer: momentum\n"), "{yaml}");
    assert!(!yaml.contains("\nlr:"), "{yaml}");
    assert!(
        yaml.contains("\n  - {from_step: 3, to_step: 6, lr: 0.08, momentum: 0.95}\n"),
        "{yaml}"
    );
    let json: Json = serde_json::from_str(&export(&history, best, Format::Json).unwrap()).unwrap();
    let stretch = &json["schedule"][2];
    assert_eq!(
        *stretch,
        json!({"trial": 2, "from_step": 6, "to_step": 9,
            "params": {"optimizer": "momentum", "lr": 0.12, "momentum": 0.95}})
    );
    for format in [Format::Args, Format::Env] {
        let error = export(&history, best, format).unwrap_err();
        assert!(error.hint().contains("pytorch"), "{error}");
    }
    // The first trial was one configuration from its beginning.
    assert!(export(&history, &history.trials()[0], Format::Args).is_ok());
}

/// A population in which one number of an optimizer changes.
fn population_in(optimizer: &str, name: &str, values: [f64; 3]) -> History {
    population_of(values.map(|value| {
        let pairs: [(&str, Value); 2] = [("optimizer", optimizer.into()), (name, value.into())];
        pairs.into_iter().collect()
    }))
}

#[test]
fn what_a_population_changed_has_the_librarys_names_and_meaning() {
    for (optimizer, name, torch, keras) in [
        ("adam", "weight_decay", "weight_decay\": 0.5", "l2\": 0.5"),
        (
            "adamw",
            "weight_decay",
            "weight_decay\": 0.5",
            "weight_decay\": 0.5",
        ),
        ("rmsprop", "rho", "alpha\": 0.5", "rho\": 0.5"),
        ("adadelta", "rho", "rho\": 0.5", "rho\": 0.5"),
        ("rmsprop", "eps", "eps\": 0.5", "epsilon\": 0.25"),
        ("adam", "eps", "eps\": 0.5", "epsilon\": 0.5"),
    ] {
        let history = population_in(optimizer, name, [0.25, 0.5, 0.75]);
        for (format, entry) in [(Format::Pytorch, torch), (Format::Keras, keras)] {
            let program = export(&history, history.best().unwrap(), format).unwrap();
            let line = format!("\n    3: {{\"{entry}}},\n");
            assert!(program.contains(&line), "{optimizer}, {name}:\n{program}");
            assert!(!program.contains("# Changed as well"), "{program}");
        }
    }
    // Without a penalty at first the Keras program has nowhere to set one.
    let history = population_in("adam", "weight_decay", [0.0, 0.5, 0.75]);
    let program = export(&history, history.best().unwrap(), Format::Keras).unwrap();
    assert!(program.contains("# Changed as well"), "{program}");
    assert!(program.contains("\n    3: {},\n"), "{program}");
}

fn configs() -> Vec<Config> {
    let config = |pairs: &[(&str, Value)]| pairs.iter().cloned().collect::<Config>();
    vec![
        config(&[("optimizer", "sgd".into()), ("lr", 0.05.into())]),
        config(&[
            ("optimizer", "adamw".into()),
            ("lr", 0.003.into()),
            ("beta2", 0.98.into()),
            ("schedule", "cosine".into()),
            ("warmup_fraction", 0.1.into()),
            ("clip_norm", 1.0.into()),
            ("batch_size", 32.into()),
            ("dropout", 0.1.into()),
            ("hidden", Value::List(vec![64.into(), 32.into()])),
            ("weird \"name\"", "it's \"odd\"\n".into()),
        ]),
        config(&[
            ("optimizer", "momentum".into()),
            ("lr", 0.1.into()),
            ("momentum", 0.9.into()),
            ("schedule", "one_cycle".into()),
            ("batch_size", 16.into()),
        ]),
        config(&[
            ("optimizer", "adam".into()),
            ("lr", 0.01.into()),
            ("schedule", "one_cycle".into()),
            ("warmup_fraction", 0.1.into()),
            ("clip_norm", 0.5.into()),
        ]),
        config(&[
            ("optimizer", "nesterov".into()),
            ("lr", 0.1.into()),
            ("weight_decay", 1e-4.into()),
            ("schedule", "cyclic".into()),
            ("cycle_fraction", 0.5.into()),
        ]),
        config(&[
            ("optimizer", "rmsprop".into()),
            ("lr", 0.001.into()),
            ("centered", true.into()),
            ("schedule", "reduce_on_plateau".into()),
            // Nobody's loss halves every epoch: the rate is sure to fall.
            ("threshold", 0.5.into()),
            ("factor", 0.3.into()),
            ("warmup_fraction", 0.1.into()),
        ]),
        config(&[
            ("optimizer", "gd".into()),
            ("lr", 0.5.into()),
            ("schedule", "step".into()),
        ]),
        config(&[
            ("optimizer", "adagrad".into()),
            ("lr", 0.1.into()),
            ("schedule", "batch_growth".into()),
            ("max_batch_multiplier", 10.into()),
            ("batch_size", 8.into()),
            ("warmup_fraction", 0.1.into()),
        ]),
        config(&[
            ("optimizer", "adadelta".into()),
            ("lr", 1.0.into()),
            ("schedule", "wsd".into()),
            ("clip_norm", 2.0.into()),
        ]),
        // As a script of a user's own may call them.
        config(&[
            ("optimizer", "SGD".into()),
            ("learning_rate", 0.1.into()),
            ("momentum", 0.8.into()),
            ("lr_scheduler", "OneCycle".into()),
            ("max_grad_norm", 5.0.into()),
        ]),
    ]
}

/// The same configuration in the catalogue's words: what the program has to do.
fn in_catalogue_words(config: &Config) -> Config {
    if config.get("learning_rate").is_none() {
        return config.clone();
    }
    [
        ("optimizer", Value::from("momentum")),
        ("lr", 0.1.into()),
        ("momentum", 0.8.into()),
        ("schedule", "one_cycle".into()),
        ("clip_norm", 5.0.into()),
    ]
    .into_iter()
    .collect()
}

fn floats(json: &Json) -> Vec<f64> {
    json.as_array()
        .unwrap()
        .iter()
        .map(|x| x.as_f64().unwrap())
        .collect()
}

fn close(seen: f64, wanted: f64, what: &str) {
    // Keras computes schedules in float32.
    let bound = 2e-6 + 2e-4 * wanted.abs();
    assert!(
        (seen - wanted).abs() <= bound,
        "{what}: {seen} instead of {wanted}"
    );
}

/// Compares what a program did with the catalogue.
fn check(config: &Config, format: Format, seen: &Json) {
    let name = format!("{format} {config}");
    assert!(
        seen["error"].is_null(),
        "{name}:\n{}",
        seen["error"].as_str().unwrap()
    );
    let config = in_catalogue_words(config);
    let optimizer = OptimizerSetting::from_config(&config).unwrap();
    let momentum = optimizer
        .facts()
        .momentum_name
        .map(|name| optimizer.number(name));
    let full = optimizer.facts().full_batch;
    let steps_per_epoch = if full { 1 } else { 4 };
    let horizon = Horizon {
        total_steps: EPOCHS * steps_per_epoch,
        steps_per_epoch,
    };
    let mut schedule =
        Schedule::from_config(&config, optimizer.number("lr"), momentum, horizon).unwrap();
    let steps = seen["steps"].as_array().unwrap();
    let sizes = floats(&seen["sizes"]);
    let losses = floats(&seen["val_losses"]);
    assert_eq!(
        steps.len() as u64,
        horizon.total_steps,
        "{name}: number of updates"
    );
    assert_eq!(losses.len() as u64, EPOCHS, "{name}: number of epochs");
    assert_eq!(
        seen["clips"].as_bool(),
        Some(config.number("clip_norm").is_some()),
        "{name}: clipping"
    );
    let batch_size = if full {
        256.0
    } else {
        config.number("batch_size").unwrap_or(64.0)
    };
    let mut rates = Vec::new();
    for (i, step) in steps.iter().enumerate() {
        let wanted = schedule.at(i as u64);
        close(
            step[0].as_f64().unwrap(),
            wanted.lr,
            &format!("{name}: rate at step {i}"),
        );
        rates.push(wanted.lr);
        if let Some(momentum) = wanted.momentum {
            close(
                step[1].as_f64().unwrap(),
                momentum,
                &format!("{name}: momentum at step {i}"),
            );
        }
        // Keras traces the loss once more than it trains; the last ones are the updates'.
        let size = sizes[sizes.len() - steps.len() + i];
        assert_eq!(
            size,
            (batch_size * wanted.batch_multiplier).round(),
            "{name}: batch at step {i}"
        );
        if (i as u64 + 1).is_multiple_of(steps_per_epoch) {
            schedule.observe(losses[i / steps_per_epoch as usize]);
        }
    }
    if config.text("schedule") == Some("reduce_on_plateau") {
        assert!(rates.last().unwrap() < rates.iter().max_by(|a, b| a.total_cmp(b)).unwrap());
    }
}

#[test]
fn exported_programs_run_and_follow_the_schedules() {
    let Some(python) = std::env::var_os("HPO_TEST_PYTHON") else {
        let text = "SKIPPED: exported programs: needs torch and keras (set HPO_TEST_PYTHON)";
        let required = std::env::var("HPO_TEST_REQUIRE_ALL").is_ok_and(|value| value == "1");
        assert!(!required, "{text}");
        // Past the test harness, which swallows what passing tests print.
        let _ = writeln!(std::io::stderr(), "{text}");
        return;
    };
    let cases: Vec<(Config, Format)> = configs()
        .into_iter()
        .flat_map(|config| [(config.clone(), Format::Pytorch), (config, Format::Keras)])
        .collect();
    let population = population();
    let followed = [Format::Pytorch, Format::Keras].map(|format| {
        let program = export(&population, population.best().unwrap(), format).unwrap();
        json!({"library": format.name(), "program": program})
    });
    // That they run is seen here; what they set, in the test above.
    let others = [
        population_in("adam", "weight_decay", [0.01, 0.02, 0.03]),
        population_in("rmsprop", "rho", [0.9, 0.95, 0.99]),
    ];
    let others = others.iter().flat_map(|history| {
        [Format::Pytorch, Format::Keras].map(|format| {
            let program = export(history, history.best().unwrap(), format).unwrap();
            json!({"library": format.name(), "program": program})
        })
    });
    let input: Vec<Json> = cases
        .iter()
        .map(|(config, format)| {
            let history = history(config);
            let program = export(&history, history.best().unwrap(), *format).unwrap();
            json!({"library": format.name(), "program": program})
        })
        .chain(followed)
        .chain(others)
        .collect();
    let mut child = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(serde_json::to_string(&input).unwrap().as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
    let text = String::from_utf8(output.stdout).unwrap();
    let results: Vec<Json> = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(results.len(), cases.len() + 6);
    for ((config, format), seen) in cases.iter().zip(&results) {
        check(config, *format, seen);
    }
    for (population, seen) in results[cases.len()..].iter().enumerate() {
        assert!(
            seen["error"].is_null(),
            "{}",
            seen["error"].as_str().unwrap()
        );
        let steps = seen["steps"].as_array().unwrap();
        assert_eq!(steps.len() as u64, EPOCHS * 4);
        if population > 1 {
            continue;
        }
        for (i, step) in steps.iter().enumerate() {
            let (lr, momentum) = STRETCHES[i / 12];
            close(
                step[0].as_f64().unwrap(),
                lr,
                &format!("population: rate at step {i}"),
            );
            close(
                step[1].as_f64().unwrap(),
                momentum,
                &format!("population: momentum at step {i}"),
            );
        }
    }
}
