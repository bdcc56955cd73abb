//! Silence, time limits, full disks, equal failures, and clocks that jump.

use std::time::Duration;

use hpo_engine::sim::{Script, Sim, Start};
use hpo_engine::{Input, MOST_RETRIES};
use hpo_study::*;
use proptest::prelude::*;

use crate::common::{Driver, METRIC, Told, ended, exit, report, signal, spec, started};

fn with(failure: Failure) -> StudySpec {
    StudySpec { failure, ..spec() }
}

fn stall(seconds: u64) -> StudySpec {
    with(Failure {
        stall_timeout: Some(Duration::from_secs(seconds)),
        ..Failure::default()
    })
}

fn heard(trial: u32, attempt: u32) -> Input {
    Input::Heard {
        trial: TrialId(trial),
        attempt: AttemptNumber(attempt),
    }
}

fn after(driver: &mut Driver, seconds: u64) {
    driver.now = driver.now.plus(Duration::from_secs(seconds));
}

#[test]
fn a_silent_trial_is_tried_again_once_and_then_has_stalled() {
    let mut driver = Driver::new(stall(60), 1, Told::starting(None));
    driver.step([started(0, 1), report(0, 1, 1, 0.5)]);
    for _ in 0..3 {
        after(&mut driver, 59);
        assert!(driver.step([heard(0, 1)]).is_empty(), "it prints something");
    }
    let due = driver.engine.next_deadline(driver.now).unwrap();
    assert_eq!(due.since(driver.now), Duration::from_secs(60));
    driver.now = due;
    assert_eq!(driver.step([Input::Tick]), ["stop_requested 0/1"]);
    assert_eq!(driver.engine.next_deadline(driver.now), None, "told once");
    driver.step([report(0, 1, 2, 0.4), ended(0, 1, signal(15))]);
    assert_eq!(driver.launches(), [0]);
    let curve = &driver.engine.history().trials()[0].curve;
    assert_eq!(curve.last(), Some((2, 0.4)), "it will go on from there");
    driver.step([started(0, 2)]);
    after(&mut driver, 60);
    driver.step([Input::Tick]);
    driver.step([ended(0, 2, signal(9))]);
    let TrialState::Failed(FailReason::Stalled { evidence }) = driver.state(0) else {
        panic!("{:?}", driver.state(0))
    };
    assert!(evidence.contains("1m"), "{evidence}");
    assert!(!driver.state(0).is_infeasible());
}

#[test]
fn a_stalled_trial_that_had_done_all_is_complete() {
    let spec = StudySpec {
        early_terminate: EarlyTerminate::Asha(Rungs {
            min_iter: 1,
            max_iter: 2,
            eta: 2,
        }),
        ..stall(5)
    };
    let mut driver = Driver::new(spec, 1, Told::starting(None));
    driver.step([started(0, 1), report(0, 1, 2, 0.5)]);
    after(&mut driver, 5);
    driver.step([Input::Tick]);
    driver.step([ended(0, 1, exit(0))]);
    assert_eq!(driver.state(0), &TrialState::Completed);
}

#[test]
fn a_new_session_gives_everybody_the_whole_time_again() {
    let mut driver = Driver::new(stall(60), 1, Told::starting(None));
    driver.step([started(0, 1)]);
    after(&mut driver, 3600);
    driver.session();
    driver.step([started(0, 1)]); // Adopted.
    after(&mut driver, 59);
    assert!(driver.step([Input::Tick]).is_empty());
    after(&mut driver, 1);
    assert_eq!(driver.step([Input::Tick]), ["stop_requested 0/1"]);
}

#[test]
fn a_trial_has_its_time_for_all_of_its_processes_together() {
    let spec = with(Failure {
        trial_time_limit: Some(Duration::from_secs(100)),
        ..Failure::default()
    });
    let mut driver = Driver::new(spec, 1, Told::starting(None));
    driver.step([started(0, 1), report(0, 1, 1, 0.5)]);
    after(&mut driver, 70);
    driver.step([ended(0, 1, exit(1))]);
    driver.step([started(0, 2)]);
    after(&mut driver, 29);
    assert!(driver.step([Input::Tick]).is_empty());
    let due = driver.engine.next_deadline(driver.now).unwrap();
    assert_eq!(due.since(driver.now), Duration::from_secs(1));
    driver.now = due;
    assert_eq!(driver.step([Input::Tick]), ["stop_requested 0/2"]);
    driver.step([ended(0, 2, signal(15))]);
    assert_eq!(driver.state(0).reason(), Some("time_limit"));
    let trial = &driver.engine.history().trials()[0];
    assert_eq!(trial.value(), Some(0.5), "what it reached counts");
    assert!(!trial.state.is_infeasible());
}

#[test]
fn time_in_which_the_machine_slept_is_nobodys() {
    let spec = StudySpec {
        time_cap: Some(Duration::from_secs(300)),
        failure: Failure {
            stall_timeout: Some(Duration::from_secs(60)),
            trial_time_limit: Some(Duration::from_secs(200)),
            ..Failure::default()
        },
        ..spec()
    };
    let mut driver = Driver::new(spec, 1, Told::starting(None));
    driver.step([started(0, 1)]);
    after(&mut driver, 50);
    let from = driver.now;
    after(&mut driver, 8 * 3600);
    let events = driver.engine.clock_moved(from, driver.now).unwrap();
    driver.log.extend(events);
    assert!(driver.step([Input::Tick]).is_empty());
    after(&mut driver, 59);
    assert!(driver.step([Input::Tick]).is_empty());
    after(&mut driver, 1);
    assert_eq!(driver.step([Input::Tick]), ["stop_requested 0/1"], "silent");
    let history = driver.engine.history();
    assert_eq!(history.running_time(driver.now), Duration::from_secs(110));
    assert_eq!(
        history.trials()[0].running_time(driver.now),
        Duration::from_secs(110)
    );
    assert_eq!(History::replay(&driver.log).unwrap(), *history);
}

#[test]
fn a_full_disk_costs_no_retries_and_waits_longer_each_time() {
    let spec = with(Failure {
        crash_retries: 0,
        ..Failure::default()
    });
    let no_space = |code| AttemptEnd::Exited {
        code,
        stderr: "OSError: [Errno 28] No space left on device".into(),
    };
    let mut driver = Driver::new(spec, 1, Told::starting(None));
    for attempt in 1..=MOST_RETRIES as u32 {
        // What a process could not write it did not report: 0 is no proof that it had nothing to say.
        let code = i32::from(attempt % 2 == 0);
        driver.step([started(0, attempt), ended(0, attempt, no_space(code))]);
        assert_eq!(driver.state(0), &TrialState::Queued, "attempt {attempt}");
        driver.now = driver.engine.next_deadline(driver.now).unwrap();
        driver.step([Input::Tick]);
    }
    let attempt = MOST_RETRIES as u32 + 1;
    driver.step([started(0, attempt), ended(0, attempt, no_space(1))]);
    let TrialState::Failed(FailReason::Crash { how, .. }) = driver.state(0) else {
        panic!("{:?}", driver.state(0))
    };
    assert_eq!(how, "no space left on a disk, 21 times");
}

fn crash(words: &str) -> AttemptEnd {
    AttemptEnd::Exited {
        code: 1,
        stderr: words.to_owned(),
    }
}

#[test]
fn only_failures_that_are_alike_end_a_study_unless_there_are_very_many() {
    let spec = StudySpec {
        run_cap: Some(50),
        failure: Failure {
            crash_retries: 0,
            stop_after_consecutive: 3,
            ..Failure::default()
        },
        ..spec()
    };
    let mut driver = Driver::new(spec.clone(), 1, Told::starting(None));
    for (trial, words) in ["no file 1", "bad lr", "no file 2", "no file 3"]
        .iter()
        .enumerate()
    {
        let trial = trial as u32;
        driver.step([started(trial, 1), ended(trial, 1, crash(words))]);
        assert_eq!(driver.end(), None, "{words}");
    }
    driver.step([started(4, 1), ended(4, 1, crash("no file 77"))]);
    let Some(StudyEnd::Failures { detail }) = driver.end() else {
        panic!("{:?}", driver.end())
    };
    assert!(
        detail.starts_with("3 trials in a row failed alike"),
        "{detail}"
    );

    let mut driver = Driver::new(spec, 1, Told::starting(None));
    for trial in 0..9_u32 {
        assert_eq!(driver.end(), None, "trial {trial}");
        let words = ["one", "two"][trial as usize % 2];
        driver.step([started(trial, 1), ended(trial, 1, crash(words))]);
    }
    let Some(StudyEnd::Failures { detail }) = driver.end() else {
        panic!("{:?}", driver.end())
    };
    assert!(detail.starts_with("9 trials in a row failed; "), "{detail}");
}

proptest! {
    /// Whatever hangs, and however long anything takes: the study ends, no trial has more processes than
    /// its budgets allow, and none runs past its limit.
    #[test]
    fn nothing_that_hangs_holds_up_a_study(
        hangs in prop::collection::vec(any::<bool>(), 8),
        pace in 1_u64..40,
        timeout in 5_u64..60,
        limit in prop::option::of(10_u64..200),
        slots in 1_u32..4,
    ) {
        let spec = StudySpec {
            run_cap: Some(8),
            failure: Failure {
                stall_timeout: Some(Duration::from_secs(timeout)),
                trial_time_limit: limit.map(Duration::from_secs),
                stop_after_consecutive: 0,
                ..Failure::default()
            },
            ..spec()
        };
        let grace = spec.stop_grace;
        let script = |start: &Start| {
            let mut script = Script::training(start, METRIC, 5, |step| 1.0 / step as f64);
            script.pace = Duration::from_secs(pace);
            if hangs[start.trial.index()] {
                script.lines.truncate(2);
                script.end = None;
            }
            script
        };
        let outcome = Sim::new(slots, script).run(spec).unwrap();
        prop_assert!(outcome.history.end().is_some());
        for trial in outcome.history.trials() {
            prop_assert!(trial.state.is_final());
            prop_assert!(trial.attempts.len() <= 2, "{:?}", trial.attempts);
            let ran = trial.running_time(outcome.history.last_event());
            if let Some(limit) = limit {
                prop_assert!(ran <= Duration::from_secs(limit) + grace + Duration::from_secs(1));
            }
            let quick = pace < timeout && limit.is_none_or(|limit| 6 * pace < limit);
            if quick && !hangs[trial.id.index()] {
                prop_assert_eq!(&trial.state, &TrialState::Completed);
            }
            if hangs[trial.id.index()] && limit.is_none() {
                prop_assert_eq!(trial.state.reason(), Some("stalled"));
            }
        }
    }
}
