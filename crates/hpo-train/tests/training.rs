//! Whole training runs: they learn, they repeat bit for bit, they resume exactly, and nothing from
//! outside makes them panic.

#![allow(clippy::unwrap_used, reason = "tests say what went wrong by panicking")]

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use hpo_recipe::optimizer::OptimizerKind;
use hpo_recipe::schedule::ScheduleKind;
use hpo_recipe::{Config, Value};
use hpo_study::TrainerSpec;
use hpo_study::spec::{Dataset, Model, Task};
use hpo_train::checkpoint::Checkpoint;
use hpo_train::{EpochReport, Outcome, TrainError, TrainJob, chance_loss, run};

use support::{config, digits, friedman, job, lines, mlp, spec};

fn best(job: &TrainJob, metric: &str) -> f64 {
    let mut best = f64::NEG_INFINITY;
    run(job, &mut |report: &EpochReport| {
        best = best.max(report.metric(metric).unwrap());
        Ok(())
    })
    .unwrap();
    best
}

#[test]
fn a_perceptron_learns_the_digits() {
    let job = job(
        digits(&[128, 64]),
        config("adamw", 3e-3, &[("schedule", "cosine".into())]),
        8,
    );
    let accuracy = best(&job, "val_accuracy");
    assert!(accuracy >= 0.95, "{accuracy}");
}

#[test]
fn a_convolutional_network_learns_the_digits() {
    let spec = spec(
        Model::Cnn {
            channels: vec![8, 16],
        },
        Dataset::Digits,
    );
    let job = job(
        spec,
        config("adamw", 1e-2, &[("schedule", "one_cycle".into())]),
        5,
    );
    let accuracy = best(&job, "val_accuracy");
    assert!(accuracy >= 0.95, "{accuracy}");
}

#[test]
fn a_perceptron_learns_friedman_1() {
    let job = job(
        friedman(),
        config("adam", 1e-2, &[("schedule", "cosine".into())]),
        15,
    );
    let r2 = best(&job, "val_r2");
    // The noise alone leaves 1 − 1/24.
    assert!((0.8..0.97).contains(&r2), "{r2}");
}

#[test]
fn an_epoch_reports_the_signals_of_its_optimizer_and_task() {
    let reported = |spec, optimizer, lr| {
        let mut last = None;
        run(&job(spec, config(optimizer, lr, &[]), 3), &mut |report| {
            last = Some(report.clone());
            Ok(())
        })
        .unwrap();
        last.unwrap()
    };
    let adam = reported(digits(&[32]), "adam", 1e-3);
    let value = |name| adam.metric(name).unwrap();
    assert!((0.05..0.9).contains(&value("update_rms")), "{adam:?}");
    assert!((0.1..10.0).contains(&value("rms_t")), "{adam:?}");
    // Uniform within ±1/√64 and ±1/√32: √(64·32/(3·64) + 32·10/(3·32)) = 3.7 for the weights.
    assert!((3.5..6.0).contains(&value("weight_norm")), "{adam:?}");
    assert!((0.1..10.0).contains(&value("logit_norm")), "{adam:?}");
    let sgd = reported(friedman(), "sgd", 0.01);
    let present =
        ["weight_norm", "logit_norm", "update_rms", "rms_t"].map(|name| sgd.metric(name).is_some());
    assert_eq!(present, [true, false, false, false]);
    for (report, task) in [(adam, Task::Classification), (sgd, Task::Regression)] {
        let known = hpo_study::study_file::trainer_metrics(Some(task));
        let unknown: Vec<_> = report
            .metrics
            .iter()
            .filter(|(name, _)| !known.contains(name))
            .collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }
}

#[test]
fn the_shipped_friedman_1_follows_its_formula() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../studies/data/friedman1.csv");
    let text = std::fs::read_to_string(path).unwrap();
    let residuals: Vec<f64> = text
        .lines()
        .skip(1)
        .map(|line| {
            let x: Vec<f64> = line.split(',').map(|cell| cell.parse().unwrap()).collect();
            let wave = 10.0 * (std::f64::consts::PI * x[0] * x[1]).sin();
            x[10] - (wave + 20.0 * (x[2] - 0.5).powi(2) + 10.0 * x[3] + 5.0 * x[4])
        })
        .collect();
    assert_eq!(residuals.len(), 1500);
    let mean = residuals.iter().sum::<f64>() / 1500.0;
    let variance = residuals.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / 1500.0;
    // Four standard errors.
    assert!(
        mean.abs() < 0.104 && (variance - 1.0).abs() < 0.147,
        "{mean} {variance}"
    );
}

#[test]
fn chance_is_the_loss_before_learning() {
    assert_eq!(chance_loss(&digits(&[8])).unwrap(), 10.0_f64.ln());
    assert_eq!(chance_loss(&friedman()).unwrap(), 1.0);
    let job = job(digits(&[128, 64]), config("sgd", 1e-9, &[]), 1);
    let loss = run(&job, &mut |_| Ok(()))
        .unwrap()
        .last
        .unwrap()
        .metric("val_loss")
        .unwrap();
    assert!((loss - 10.0_f64.ln()).abs() < 0.1, "{loss}");
}

#[test]
fn same_seed_same_bytes_other_seed_other_run() {
    let noisy = config("adam", 1e-3, &[("dropout", Value::Float(0.3))]);
    let first = job(digits(&[16]), noisy, 3);
    assert_eq!(lines(&first).0, lines(&first).0);
    let other = TrainJob {
        seed: 2,
        ..first.clone()
    };
    assert_ne!(lines(&first).0, lines(&other).0);
}

#[test]
fn a_run_that_stops_early_is_a_prefix_of_the_full_one() {
    let settings = config("momentum", 0.05, &[("schedule", "cosine".into())]);
    let full = job(digits(&[16]), settings, 6);
    let short = TrainJob {
        budget: 2,
        ..full.clone()
    };
    assert_eq!(lines(&short).0, lines(&full).0[..2]);
}

/// Stops after `stop` epochs, resumes, and compares lines and the last checkpoint with those of
/// an uninterrupted run.
fn resumes_exactly(spec: TrainerSpec, config: Config, stop: u64, epochs: u64) {
    let label = config.to_string();
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let at = |directory: &Path| Some(directory.to_owned());
    let full = TrainJob {
        checkpoint_directory: at(whole.path()),
        ..job(spec, config, epochs)
    };
    let (expected, outcome) = lines(&full);
    outcome.unwrap();
    let first = TrainJob {
        budget: stop,
        checkpoint_directory: at(parts.path()),
        resume_from: at(parts.path()),
        ..full.clone()
    };
    let (mut found, outcome) = lines(&first);
    assert_eq!(outcome.unwrap().resumed_after, 0);
    let (rest, outcome) = lines(&TrainJob {
        budget: epochs,
        ..first.clone()
    });
    assert_eq!(outcome.unwrap().resumed_after, stop);
    found.extend(rest);
    assert_eq!(found, expected, "{label}");
    let file = |directory: &Path| Checkpoint::load(directory).unwrap().unwrap();
    assert_eq!(file(parts.path()), file(whole.path()), "{label}");
}

#[test]
fn every_optimizer_resumes_exactly() {
    for kind in OptimizerKind::ALL {
        let lr = match kind {
            OptimizerKind::Adadelta | OptimizerKind::Gd => 0.5,
            OptimizerKind::Adam | OptimizerKind::AdamW | OptimizerKind::RmsProp => 1e-3,
            _ => 0.02,
        };
        let more = [
            ("schedule", Value::from("cosine")),
            ("weight_decay", Value::Float(1e-3)),
        ];
        resumes_exactly(digits(&[12]), config(kind.name(), lr, &more), 1, 3);
    }
}

#[test]
fn every_schedule_resumes_exactly() {
    for kind in ScheduleKind::ALL {
        let more = [
            ("schedule", Value::from(kind.name())),
            ("warmup_fraction", Value::Float(0.1)),
        ];
        resumes_exactly(digits(&[12]), config("momentum", 0.05, &more), 2, 5);
    }
}

#[test]
fn dropout_clipping_and_smoothing_resume_exactly_in_every_model() {
    let more = [
        ("dropout", Value::Float(0.2)),
        ("clip_norm", Value::Float(0.5)),
        ("label_smoothing", Value::Float(0.1)),
        ("batch_size", Value::Int(100)),
    ];
    let rmsprop = [
        ("momentum", Value::Float(0.9)),
        ("centered", Value::Bool(true)),
    ];
    let settings = config("rmsprop", 1e-3, &[&more[..], &rmsprop[..]].concat());
    resumes_exactly(digits(&[12, 8]), settings, 2, 3);
    let cnn = spec(Model::Cnn { channels: vec![4] }, Dataset::Digits);
    resumes_exactly(cnn, config("adam", 1e-3, &more), 1, 2);
    resumes_exactly(friedman(), config("nesterov", 0.01, &more[..2]), 1, 2);
}

/// A plateau schedule that has already reduced the rate must not start over after a resume.
#[test]
fn a_plateau_is_remembered() {
    let more = [
        ("schedule", Value::from("reduce_on_plateau")),
        ("patience_fraction", Value::Float(0.1)),
    ];
    let settings = config("sgd", 1.5, &more);
    let (found, _) = lines(&job(digits(&[12]), settings.clone(), 16));
    let rate = |line: &str| hpo_study::protocol::parse_report(line).unwrap().metrics["lr"];
    assert!(
        rate(&found[13]) < rate(&found[0]),
        "the test needs a reduction: {found:?}"
    );
    resumes_exactly(digits(&[12]), settings, 14, 16);
}

#[test]
fn batch_growth_takes_fewer_updates_for_the_same_data() {
    let updates = |schedule: &str| {
        let directory = tempfile::tempdir().unwrap();
        let job = TrainJob {
            checkpoint_directory: Some(directory.path().to_owned()),
            ..job(
                digits(&[12]),
                config("sgd", 0.1, &[("schedule", schedule.into())]),
                10,
            )
        };
        let (found, outcome) = lines(&job);
        outcome.unwrap();
        assert_eq!(found.len(), 10);
        Checkpoint::load(directory.path())
            .unwrap()
            .unwrap()
            .optimizer
            .steps
    };
    // 1437 training rows are 23 batches of 64.
    assert_eq!(updates("constant"), 230);
    let grown = updates("batch_growth");
    assert!((50..200).contains(&grown), "{grown}");
}

#[test]
fn full_batch_ignores_the_batch_size_and_makes_one_update_per_epoch() {
    let small = config("gd", 0.5, &[("batch_size", Value::Int(8))]);
    let large = config("gd", 0.5, &[("batch_size", Value::Int(512))]);
    let directory = tempfile::tempdir().unwrap();
    let first = TrainJob {
        checkpoint_directory: Some(directory.path().to_owned()),
        ..job(digits(&[12]), small, 4)
    };
    assert_eq!(lines(&first).0, lines(&job(digits(&[12]), large, 4)).0);
    let file = Checkpoint::load(directory.path()).unwrap().unwrap();
    assert_eq!(file.optimizer.steps, 4);
}

#[test]
fn a_diverged_run_reports_nan_three_times_and_ends() {
    let (found, outcome) = lines(&job(digits(&[16]), config("sgd", 1e30, &[]), 10));
    let error = outcome.unwrap_err();
    assert_eq!(error.kind(), "diverged");
    assert!(error.to_string().contains("loss is not finite"), "{error}");
    assert_eq!(found.len(), 3);
    assert!(
        found.iter().all(|line| line.contains("\"train_loss\":NaN")),
        "{found:?}"
    );
}

#[test]
fn clipping_bounds_the_step_of_a_wild_run() {
    let wild = job(friedman(), config("sgd", 5.0, &[]), 3);
    let tame = job(
        friedman(),
        config("sgd", 5.0, &[("clip_norm", Value::Float(1e-3))]),
        3,
    );
    assert!(lines(&wild).0.concat().contains("NaN"));
    assert!(!lines(&tame).0.concat().contains("NaN"));
}

#[test]
fn checkpoints_of_other_runs_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let place = Some(directory.path().to_owned());
    let first = TrainJob {
        checkpoint_directory: place.clone(),
        resume_from: place,
        budget: 1,
        ..job(digits(&[12]), config("adam", 1e-3, &[]), 3)
    };
    lines(&first).1.unwrap();
    let again = |job: TrainJob| lines(&job).1.unwrap_err().to_string();
    let base = TrainJob {
        budget: 2,
        checkpoint_directory: None,
        ..first.clone()
    };
    let cases = [
        (
            TrainJob {
                seed: 2,
                ..base.clone()
            },
            "its seed is 1, this run's is 2",
        ),
        (
            TrainJob {
                horizon: 5,
                ..base.clone()
            },
            "its length in epochs is 3, this run's is 5",
        ),
        (
            TrainJob {
                config: config("sgd", 1e-3, &[]),
                ..base.clone()
            },
            "parameter `optimizer`",
        ),
        (
            TrainJob {
                config: config("adam", 1e-3, &[("clip_norm", Value::Float(1.0))]),
                ..base.clone()
            },
            "parameter `clip_norm`",
        ),
        (
            TrainJob {
                spec: digits(&[13]),
                ..base.clone()
            },
            "its model is",
        ),
        (
            TrainJob {
                spec: friedman(),
                ..base.clone()
            },
            "its data checksum is",
        ),
    ];
    for (other, expected) in cases {
        let text = again(other);
        assert!(
            text.contains("another run") && text.contains(expected),
            "{text}"
        );
    }
    lines(&base).1.unwrap();
    std::fs::write(directory.path().join("checkpoint.safetensors"), "rubbish").unwrap();
    // A torn one costs no trial: it begins anew.
    assert_eq!(lines(&base).1.unwrap().resumed_after, 0);
}

/// However rare checkpoints are, the last epoch of a budget has one; and a run that is cut off
/// goes on from the last there is, or from the start, and reports the same numbers again.
#[test]
fn rare_checkpoints_change_nothing_but_how_much_is_done_again() {
    let settings = config("adam", 1e-3, &[("dropout", Value::Float(0.2))]);
    let full = job(digits(&[12]), settings, 5);
    let expected = lines(&full).0;
    for (interval, resumed_after) in [(Duration::ZERO, 3), (Duration::MAX, 0)] {
        let directory = tempfile::tempdir().unwrap();
        let kept = TrainJob {
            checkpoint_directory: Some(directory.path().to_owned()),
            checkpoint_interval: interval,
            resume_from: Some(directory.path().to_owned()),
            ..full.clone()
        };
        // Cut off while epoch 4 is reported.
        let cut = run(&kept, &mut |report| match report.step {
            4 => Err(TrainError::Diverged { first: 0, last: 0 }),
            _ => Ok(()),
        });
        assert!(cut.is_err());
        let (found, outcome) = lines(&kept);
        assert_eq!(outcome.unwrap().resumed_after, resumed_after);
        assert_eq!(found, expected[resumed_after as usize..]);
        assert_eq!(
            Checkpoint::load(directory.path()).unwrap().unwrap().epoch,
            5
        );
    }
}

#[test]
fn nothing_left_to_do_is_no_error() {
    let directory = tempfile::tempdir().unwrap();
    let place = Some(directory.path().to_owned());
    let first = TrainJob {
        checkpoint_directory: place.clone(),
        resume_from: place,
        ..job(digits(&[12]), config("sgd", 0.1, &[]), 1)
    };
    lines(&first).1.unwrap();
    let (found, outcome) = lines(&first);
    assert!(found.is_empty());
    assert_eq!(
        outcome.unwrap(),
        Outcome {
            epochs: 1,
            resumed_after: 1,
            last: None
        }
    );
}

#[test]
fn senseless_jobs_are_errors_with_a_kind() {
    let base = job(digits(&[12]), config("sgd", 0.1, &[]), 3);
    let csv = |path: &str, task| {
        spec(
            mlp(&[4]),
            Dataset::Csv {
                path: PathBuf::from(path),
                target: Value::Null,
                task,
            },
        )
    };
    let cases = [
        (
            TrainJob {
                budget: 0,
                ..base.clone()
            },
            "settings",
        ),
        (
            TrainJob {
                budget: 4,
                ..base.clone()
            },
            "settings",
        ),
        (
            TrainJob {
                config: config("sgdd", 0.1, &[]),
                ..base.clone()
            },
            "recipe",
        ),
        (
            TrainJob {
                config: config("sgd", -1.0, &[]),
                ..base.clone()
            },
            "recipe",
        ),
        (
            TrainJob {
                config: config("sgd", 0.1, &[("schedule", "wavy".into())]),
                ..base.clone()
            },
            "recipe",
        ),
        (
            TrainJob {
                config: config("sgd", 0.1, &[("dropout", "x".into())]),
                ..base.clone()
            },
            "parameter",
        ),
        (
            TrainJob {
                spec: csv("no/such.csv", None),
                ..base.clone()
            },
            "file",
        ),
        (
            TrainJob {
                spec: csv("/", Some(Task::Regression)),
                ..base.clone()
            },
            "file",
        ),
        (
            TrainJob {
                spec: TrainerSpec {
                    batch_size: 0,
                    ..base.spec.clone()
                },
                ..base.clone()
            },
            "settings",
        ),
        (
            TrainJob {
                spec: TrainerSpec {
                    validation: 2.0,
                    ..base.spec.clone()
                },
                ..base.clone()
            },
            "settings",
        ),
        (
            TrainJob {
                resume_from: Some("no/such/place".into()),
                ..base.clone()
            },
            "file",
        ),
    ];
    for (broken, kind) in cases {
        let error = lines(&broken).1.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
}
