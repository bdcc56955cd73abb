//! Runs that are taken back to an earlier checkpoint and go on with a smaller learning rate.

#![allow(clippy::unwrap_used, reason = "tests say what went wrong by panicking")]

mod support;

use std::time::Duration;

use hpo_recipe::Value;
use hpo_recipe::schedule::ScheduleKind;
use hpo_train::{TrainError, TrainJob, run};

use support::{config, digits, job, lines};

/// A run of six epochs that keeps checkpoints, in its own directory.
fn kept_run(lr: f64, more: &[(&str, Value)], keep: u64) -> (tempfile::TempDir, TrainJob) {
    let directory = tempfile::tempdir().unwrap();
    let place = Some(directory.path().to_owned());
    let job = TrainJob {
        checkpoint_directory: place.clone(),
        checkpoint_interval: Duration::MAX,
        resume_from: place,
        inherits: false,
        keep_checkpoints: keep,
        control_file: None,
        ..job(digits(&[12]), config("adam", lr, more), 6)
    };
    lines(&job).1.unwrap();
    (directory, job)
}

fn rescued(job: &TrainJob, step: u64, lr: f64) -> TrainJob {
    let mut job = TrainJob {
        resume_epoch: Some(step),
        ..job.clone()
    };
    job.config.set("lr", lr);
    job
}

/// A rescue with a tenth of the rate after epoch 3 is a schedule that divides the rate by ten there.
#[test]
fn a_rescue_goes_on_with_the_state_of_the_checkpoint_at_the_new_rate() {
    let (high, low) = (0.01, 0.01 * 0.1);
    let milestones = Value::List(vec![Value::Float(0.5)]);
    let drop = config(
        "adam",
        high,
        &[("schedule", "multistep".into()), ("milestones", milestones)],
    );
    let expected = lines(&job(digits(&[12]), drop, 6)).0;
    let (_directory, first) = kept_run(high, &[], 4);
    let (found, outcome) = lines(&rescued(&first, 3, low));
    assert_eq!(outcome.unwrap().resumed_after, 3);
    assert_eq!(found, expected[3..]);
}

/// The schedule goes on at the same step of the curve of the new rate, with all it has learned.
#[test]
fn a_rescue_keeps_the_schedules_place() {
    let rate = |line: &str| hpo_study::protocol::parse_report(line).unwrap().metrics["lr"];
    for kind in ScheduleKind::ALL {
        let more = [
            ("schedule", kind.name().into()),
            ("warmup_fraction", Value::Float(0.2)),
        ];
        let (_directory, first) = kept_run(0.01, &more, 6);
        let straight = lines(&TrainJob {
            resume_from: None,
            ..first.clone()
        })
        .0;
        let found = lines(&rescued(&first, 4, 0.002)).0;
        for (found, straight) in found.iter().zip(&straight[4..]) {
            assert!(
                (rate(found) / rate(straight) * 5.0 - 1.0).abs() < 1e-9,
                "{kind}: {found} {straight}"
            );
        }
        assert_eq!(found.len(), 2, "{kind}");
        // With the rate as it was, a rescue is a resume.
        let (_directory, first) = kept_run(0.01, &more, 6);
        assert_eq!(lines(&rescued(&first, 4, 0.01)).0, straight[4..], "{kind}");
    }
}

/// Killed at any moment after it began, a rescued run goes on as itself, without being told again.
#[test]
fn a_rescue_is_for_good() {
    let (directory, first) = kept_run(0.01, &[], 6);
    let rescue = rescued(&first, 2, 0.001);
    let cut = run(&rescue, &mut |_| {
        Err(TrainError::Diverged { first: 0, last: 0 })
    });
    assert!(cut.is_err());
    let names = || {
        let mut names: Vec<_> = std::fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let kept = [
        "checkpoint-1.safetensors",
        "checkpoint-2.safetensors",
        "checkpoint.safetensors",
    ];
    assert_eq!(names(), kept, "nothing after it is left");
    let again = TrainJob {
        resume_epoch: None,
        ..rescue.clone()
    };
    let (_other, second) = kept_run(0.01, &[], 6);
    let expected = lines(&rescued(&second, 2, 0.001)).0;
    let (found, outcome) = lines(&again);
    assert_eq!((found, outcome.unwrap().resumed_after), (expected, 2));
    // A second rescue, of the rescued run.
    let outcome = lines(&rescued(&first, 3, 1e-4)).1;
    assert_eq!(outcome.unwrap().resumed_after, 3);
}

#[test]
fn a_rescue_without_a_checkpoint_starts_afresh_and_nothing_but_the_rate_may_differ() {
    let (_directory, first) = kept_run(0.01, &[], 2);
    let mut other = rescued(&first, 5, 0.001);
    other.config.set("clip_norm", 0.5);
    let text = lines(&other).1.unwrap_err().to_string();
    assert!(text.contains("parameter `clip_norm`"), "{text}");
    // Of the epochs 4, 5 and 6 that are kept, none is early enough.
    let early = rescued(&first, 3, 0.001);
    let (found, outcome) = lines(&early);
    assert_eq!(outcome.unwrap().resumed_after, 0);
    let fresh = job(digits(&[12]), config("adam", 0.001, &[]), 6);
    assert_eq!(found, lines(&fresh).0);
}
