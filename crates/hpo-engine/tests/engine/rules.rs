//! Each rule of the life-cycle by itself.

use std::time::Duration;

use hpo_engine::{
    ChangeError, Command, Engine, FIRST_RETRY_AFTER, Input, LATEST_RETRY_AFTER, MOST_ORPHANED,
    MOST_RETRIES,
};
use hpo_search::{Next, Verdict};
use hpo_study::seed::{self, Purpose};
use hpo_study::*;

use crate::common::*;

const NAN: f64 = f64::NAN;

fn pruned() -> Verdict {
    Verdict::Stop {
        evidence: "worse".into(),
    }
}

/// One trial, started, that reports these `(step, loss)`.
fn running(spec: StudySpec, scheduler: Told, reports: &[(u64, f64)]) -> Driver {
    let mut driver = Driver::new(spec, 1, scheduler);
    driver.step([started(0, 1)]);
    driver.step(
        reports
            .iter()
            .map(|(step, loss)| report(0, 1, *step, *loss)),
    );
    driver
}

// ---- starting ----

#[test]
fn free_places_are_filled_up_to_the_cap() {
    let mut driver = Driver::new(spec(), 3, Told::starting(None));
    assert_eq!(driver.launches(), [0, 1, 2]);
    assert!(
        driver.step([Input::Tick]).is_empty(),
        "nothing new without news"
    );
    assert_eq!(driver.launches(), [0, 1, 2], "until they are acknowledged");
    driver.step([started(0, 1), started(1, 1), started(2, 1)]);
    assert!(driver.launches().is_empty());
    let events = driver.step([report(1, 1, 1, 0.5), ended(1, 1, exit(0))]);
    assert_eq!(
        events[1..],
        [
            "attempt_ended 1/1",
            "trial_completed 1",
            "trial_suggested 3",
            "attempt_launching 3/1"
        ]
    );
    driver.step([report(0, 1, 1, 0.5), ended(0, 1, exit(0))]);
    assert_eq!(driver.launches(), [3], "four trials are the cap");
    driver.slots = 0;
    driver.step([report(2, 1, 1, 0.5), ended(2, 1, exit(0))]);
    assert_eq!(driver.end(), None);
}

#[test]
fn a_launch_says_all_a_process_needs() {
    let mut driver = Driver::new(spec(), 1, Told::starting(Some(9)));
    let expected = |attempt, resume| Command::Launch {
        trial: TrialId(0),
        attempt: AttemptNumber(attempt),
        config: [("x", 0.0)].into_iter().collect(),
        seed: seed::derive(7, TrialId(0), Purpose::Training) as u32,
        target: Some(9),
        resume,
        parent: None,
        resume_step: None,
        assignment: None,
    };
    assert_eq!(driver.engine.outstanding(), [expected(1, false)]);
    driver.step([started(0, 1), ended(0, 1, exit(1))]);
    assert_eq!(driver.engine.outstanding(), [expected(2, true)]);
}

#[test]
fn trials_put_back_go_before_new_ones_lowest_first() {
    let mut driver = Driver::new(spec(), 2, Told::starting(None));
    driver.step([started(0, 1), started(1, 1)]);
    let events = driver.step([ended(1, 1, exit(1)), ended(0, 1, exit(1))]);
    assert_eq!(
        events[4..],
        ["attempt_launching 0/2", "attempt_launching 1/2"]
    );
}

#[test]
fn paused_trials_are_resumed_and_discarded_as_the_scheduler_says() {
    let scheduler = Told::starting(Some(1)).judging(|t| match t.target {
        Some(1) => Verdict::Pause,
        _ => Verdict::Continue,
    });
    let scheduler = scheduler.naming(|history, can_start| {
        let paused = |i: u32| {
            history
                .trial(TrialId(i))
                .is_some_and(|t| t.state == TrialState::Paused)
        };
        match (can_start, paused(0), paused(1)) {
            (true, ..) => Next::Start {
                bracket: 3,
                target: Some(1),
            },
            (_, _, true) => Next::Discard {
                trial: TrialId(1),
                evidence: "half".into(),
            },
            (_, true, _) => Next::Resume {
                trial: TrialId(0),
                target: Some(5),
            },
            _ => Next::Wait,
        }
    });
    let spec = StudySpec {
        run_cap: Some(2),
        ..spec()
    };
    let mut driver = Driver::new(spec, 1, scheduler);
    driver.step([report(0, 1, 1, 0.1), ended(0, 1, exit(0))]);
    let events = driver.step([report(1, 1, 1, 0.2), ended(1, 1, exit(0))]);
    assert_eq!(
        events[2..],
        [
            "trial_paused 1",
            "trial_stopped 1 (pruned)",
            "attempt_launching 0/2"
        ]
    );
    assert_eq!(driver.engine.history().trials()[0].target, Some(5));
    assert_eq!(driver.engine.history().trials()[0].bracket, 3);
    driver.step([report(0, 2, 5, 0.1), ended(0, 2, exit(0))]);
    assert_eq!(driver.state(0), &TrialState::Completed);
    assert_eq!(driver.end(), Some(&StudyEnd::RunCap));
}

// ---- reports ----

#[test]
fn a_line_without_a_step_is_the_next_one_and_one_without_the_objective_is_fine() {
    let mut driver = Driver::new(spec(), 1, Told::starting(None));
    driver.step([
        line(0, 1, None, &[(METRIC, 0.5)]),
        line(0, 1, 4, &[("lr", 0.1)]),
        line(0, 1, None, &[(METRIC, 0.4)]),
    ]);
    let curve = &driver.engine.history().trials()[0].curve;
    assert_eq!(curve.steps, [1, 4, 5]);
    assert_eq!(curve.objectives().collect::<Vec<_>>(), [(1, 0.5), (5, 0.4)]);
}

#[test]
fn three_objectives_in_a_row_that_are_not_finite_stop_a_trial() {
    let inf = f64::INFINITY;
    for (losses, stopped) in [
        (vec![1.0, NAN, inf, NAN], true),
        (vec![NAN, NAN], false),
        (vec![NAN, NAN, 1.0, NAN, NAN], false),
        (vec![-inf, -inf, -inf], true),
    ] {
        let mut driver = Driver::new(spec(), 1, Told::starting(None));
        for loss in &losses {
            driver.step([report(0, 1, None, *loss), line(0, 1, None, &[("lr", 0.1)])]);
        }
        assert_eq!(driver.stops().len(), usize::from(stopped), "{losses:?}");
        if let TrialState::Stopping(intent) = driver.state(0) {
            let StopIntent::Stop {
                reason: StopReason::Diverged { evidence },
            } = intent
            else {
                panic!("{intent:?}")
            };
            assert!(
                evidence.starts_with("loss was not finite in 3 reports in a row: "),
                "{evidence}"
            );
        }
    }
}

#[test]
fn a_lone_learning_rate_is_no_reason_to_judge() {
    let mut driver = Driver::new(spec(), 1, Told::starting(None).judging(|_| pruned()));
    driver.step([line(0, 1, 1, &[("lr", 0.1)])]);
    assert!(driver.stops().is_empty());
    driver.step([report(0, 1, 2, 0.5)]);
    assert_eq!(driver.stops(), [0]);
}

#[test]
fn a_trial_at_its_target_may_end_by_itself_and_one_past_it_is_ended() {
    let pause = || Told::starting(Some(3)).judging(|_| Verdict::Pause);
    let mut driver = running(spec(), pause(), &[(3, 0.5)]);
    assert!(driver.stops().is_empty());
    driver.step([ended(0, 1, exit(0))]);
    assert_eq!(driver.state(0), &TrialState::Paused);

    let mut driver = running(spec(), pause(), &[(3, 0.5), (4, 0.4)]);
    assert_eq!(driver.state(0), &TrialState::Stopping(StopIntent::Pause));
    driver.step([report(0, 1, 5, 0.3), ended(0, 1, signal(15))]);
    assert_eq!(driver.state(0), &TrialState::Paused);
    let value = driver.engine.history().trials()[0].value();
    assert_eq!(
        value,
        Some(0.3),
        "it goes on from there, so what it said counts"
    );
}

#[test]
fn what_a_stopped_trial_still_says_changes_nothing() {
    let mut driver = running(
        spec(),
        Told::starting(None).judging(|_| pruned()),
        &[(1, 0.5)],
    );
    assert!(driver.step([report(0, 1, 2, 0.1)]).is_empty());
    driver.step([ended(0, 1, exit(0))]);
    assert_eq!(driver.engine.history().trials()[0].value(), Some(0.5));
    assert_eq!(driver.state(0).reason(), Some("pruned"));
}

// ---- ends ----

#[test]
fn what_becomes_of_a_trial_that_ends_by_itself() {
    type Row = (
        &'static str,
        Option<u64>,
        fn(&Trial) -> Verdict,
        &'static [(u64, f64)],
        AttemptEnd,
        &'static str,
    );
    let go: fn(&Trial) -> Verdict = |_| Verdict::Continue;
    let wait: fn(&Trial) -> Verdict = |_| Verdict::Pause;
    // These speak only once the process has ended.
    let late_out: fn(&Trial) -> Verdict = |t| match t.attempt().and_then(|a| a.end.as_ref()) {
        Some(_) => pruned(),
        None => Verdict::Continue,
    };
    let late_wait: fn(&Trial) -> Verdict = |t| match t.attempt().and_then(|a| a.end.as_ref()) {
        Some(_) => Verdict::Pause,
        None => Verdict::Continue,
    };
    let lost = AttemptEnd::Lost;
    let error = "no such file".into();
    let missing = AttemptEnd::NotStarted { error };
    #[rustfmt::skip]
    let rows: [Row; 20] = [
        ("done", None, go, &[(1, 0.5)], exit(0), "trial_completed 0"),
        ("done at its target", Some(1), go, &[(1, 0.5)], exit(0), "trial_completed 0"),
        ("waits at its target", Some(1), wait, &[(1, 0.5)], exit(0), "trial_paused 0"),
        ("has no more to do", Some(9), go, &[(1, 0.5)], exit(0), "trial_completed 0"),
        ("cannot go on to its rung", Some(9), late_wait, &[(1, 0.5)], exit(0), "trial_completed 0"),
        ("has no rung", None, late_wait, &[(1, 0.5)], exit(0), "trial_completed 0"),
        ("judged hopeless", None, late_out, &[(1, 0.5)], exit(0), "trial_stopped 0 (pruned)"),
        ("NaN at the end", None, go, &[(1, 0.5), (2, NAN)], exit(0), "trial_stopped 0 (diverged)"),
        ("NaN on the way", None, go, &[(1, NAN), (2, 0.5)], exit(0), "trial_completed 0"),
        ("never reported", None, go, &[], exit(0), "trial_failed 0 (no_metric)"),
        ("crash", None, go, &[(1, 0.5)], exit(1), "trial_requeued 0"),
        ("crash before any word", None, go, &[], exit(1), "trial_requeued 0"),
        ("signal", None, go, &[(1, 0.5)], signal(11), "trial_requeued 0"),
        ("crash after NaN", None, go, &[(1, NAN)], exit(1), "trial_stopped 0 (diverged)"),
        ("signal after NaN", None, go, &[(1, NAN)], signal(6), "trial_stopped 0 (diverged)"),
        ("crash after an old NaN", None, go, &[(1, NAN), (2, 0.1)], exit(1), "trial_requeued 0"),
        ("retry me", None, go, &[], exit(75), "trial_requeued 0"),
        ("retry me after NaN", None, go, &[(1, NAN)], exit(75), "trial_requeued 0"),
        ("lost", None, go, &[(1, 0.5)], lost, "trial_requeued 0"),
        ("not started", None, go, &[], missing, "trial_failed 0 (not_started)"),
    ];
    for (what, target, judge, reports, end, expected) in rows {
        let mut driver = running(spec(), Told::starting(target).judging(judge), reports);
        assert!(driver.stops().is_empty(), "{what}");
        let events = driver.step([ended(0, 1, end)]);
        assert_eq!(events[..2], ["attempt_ended 0/1", expected], "{what}");
    }
}

#[test]
fn a_trial_that_is_ended_takes_what_was_intended_however_it_goes() {
    let ends = || {
        [
            exit(0),
            exit(1),
            exit(75),
            signal(15),
            signal(9),
            AttemptEnd::Lost,
        ]
    };
    for end in ends() {
        let judge = |_: &Trial| Verdict::Pause;
        let mut driver = running(spec(), Told::starting(Some(1)).judging(judge), &[(2, 0.5)]);
        driver.step([ended(0, 1, end.clone())]);
        assert_eq!(driver.state(0), &TrialState::Paused, "{end:?}");

        let judge = |_: &Trial| pruned();
        let mut driver = running(spec(), Told::starting(None).judging(judge), &[(1, 0.5)]);
        driver.step([ended(0, 1, end.clone())]);
        assert_eq!(driver.state(0).reason(), Some("pruned"), "{end:?}");

        let mut driver = running(spec(), Told::starting(None), &[(1, 0.5)]);
        driver.step([Input::Interrupt]);
        driver.step([ended(0, 1, end.clone())]);
        assert_eq!(driver.state(0), &TrialState::Queued, "{end:?}");
    }
}

#[test]
fn an_interrupted_trial_that_had_reached_its_last_step_and_left_with_0_is_done() {
    for (target, last, end, expected) in [
        (Some(3), 3, exit(0), TrialState::Completed),
        (Some(3), 2, exit(0), TrialState::Queued),
        (Some(3), 3, signal(15), TrialState::Queued),
        (None, 3, exit(0), TrialState::Queued),
    ] {
        let mut driver = running(spec(), Told::starting(target), &[(last, 0.5)]);
        driver.step([Input::Interrupt]);
        driver.step([ended(0, 1, end)]);
        assert_eq!(
            driver.state(0),
            &expected,
            "target {target:?}, last step {last}"
        );
    }
}

#[test]
fn crashes_count_only_when_nobody_asked_the_process_to_end() {
    let mut driver = running(spec(), Told::starting(None), &[(1, 0.5)]);
    driver.step([Input::Interrupt]);
    driver.step([ended(0, 1, signal(15))]);
    driver.session();
    driver.step([started(0, 2), ended(0, 2, exit(1))]);
    assert_eq!(driver.launches(), [0], "one crash is allowed");
    driver.step([started(0, 3), ended(0, 3, signal(11))]);
    let TrialState::Failed(FailReason::Crash { how, .. }) = driver.state(0) else {
        panic!("{:?}", driver.state(0))
    };
    assert_eq!(how, "killed by SIGSEGV");
}

#[test]
fn asking_for_another_try_has_a_bound() {
    let mut driver = Driver::new(spec(), 1, Told::starting(None));
    let mut wait = FIRST_RETRY_AFTER;
    for attempt in 1..=MOST_RETRIES as u32 {
        driver.step([started(0, attempt), ended(0, attempt, exit(75))]);
        assert!(
            driver.launches().is_empty(),
            "attempt {attempt} waits, and nobody overtakes it"
        );
        let due = driver.now.plus(wait.min(LATEST_RETRY_AFTER));
        assert_eq!(driver.engine.next_deadline(driver.now), Some(due));
        driver.now = due;
        driver.step([Input::Tick]);
        assert_eq!(driver.launches(), [0], "attempt {attempt}");
        wait *= 2;
    }
    let attempt = MOST_RETRIES as u32 + 1;
    driver.step([started(0, attempt), ended(0, attempt, exit(75))]);
    assert_eq!(driver.state(0).reason(), Some("crash"));
}

#[test]
fn losing_a_process_has_a_bound_and_a_wider_one_when_the_coordinator_died_too() {
    let most_lost = spec().failure.lost_retries;
    let mut driver = Driver::new(spec(), 1, Told::starting(None));
    for attempt in 1..=most_lost {
        driver.step([started(0, attempt), ended(0, attempt, AttemptEnd::Lost)]);
        assert_eq!(driver.launches(), [0], "attempt {attempt}");
    }
    let attempt = most_lost + 1;
    driver.step([started(0, attempt), ended(0, attempt, AttemptEnd::Lost)]);
    assert_eq!(driver.state(0).reason(), Some("lost"));

    let mut driver = Driver::new(spec(), 1, Told::starting(None));
    for attempt in 1..=MOST_ORPHANED as u32 + 1 {
        assert_eq!(driver.launches(), [0], "attempt {attempt}");
        driver.step([started(0, attempt)]);
        driver.session();
        driver.step([ended(0, attempt, AttemptEnd::Lost)]);
    }
    assert_eq!(driver.state(0).reason(), Some("lost"));
}

#[test]
fn words_about_old_unknown_or_ended_attempts_are_passed_over() {
    let mut driver = running(spec(), Told::starting(None), &[(1, 0.5)]);
    driver.step([ended(0, 1, exit(1))]);
    let nonsense = [
        started(0, 1),
        started(0, 3),
        started(9, 1),
        report(0, 1, 2, 0.1),
        report(7, 0, 2, 0.1),
        ended(0, 1, exit(0)),
        ended(0, 3, exit(0)),
        ended(9, 1, exit(0)),
    ];
    assert!(driver.step(nonsense).is_empty());
    driver.step([started(0, 2), started(0, 2)]);
    assert_eq!(
        driver
            .log
            .iter()
            .filter(|e| name(&e.kind) == "attempt_started 0/2")
            .count(),
        1
    );
}

// ---- the study's end ----

#[test]
fn failures_in_a_row_end_the_study_and_put_back_what_runs() {
    let failure = Failure {
        crash_retries: 0,
        stop_after_consecutive: 2,
        ..Failure::default()
    };
    let spec = StudySpec {
        failure,
        run_cap: Some(9),
        ..spec()
    };
    let mut driver = Driver::new(spec, 2, Told::starting(None));
    driver.step([started(0, 1), started(1, 1)]);
    driver.step([ended(0, 1, exit(1))]);
    driver.step([started(2, 1), report(2, 1, 1, 0.5), ended(2, 1, exit(0))]);
    driver.step([started(3, 1), ended(3, 1, exit(1))]);
    assert_eq!(driver.end(), None, "a good one came between");
    // Failures that come together with a success count in their order.
    let events = driver.step([
        ended(4, 1, exit(1)),
        report(1, 1, 1, 0.5),
        ended(1, 1, exit(0)),
    ]);
    assert_eq!(
        events[..4],
        [
            "attempt_ended 4/1",
            "trial_failed 4 (crash)",
            "stop_requested 1/1",
            "study_ended"
        ]
    );
    let Some(StudyEnd::Failures { detail }) = driver.end() else {
        panic!("{:?}", driver.end())
    };
    assert_eq!(
        detail,
        "2 trials in a row failed alike; the last, trial 4: exit code 1: ValueError: no"
    );
    assert!(driver.engine.is_done());
    assert_eq!(driver.state(1), &TrialState::Queued);
    driver.session();
    assert_eq!(driver.launches(), [1, 5], "the next session goes on");
}

#[test]
fn a_study_does_not_leave_before_its_processes_have() {
    let failure = Failure {
        crash_retries: 0,
        stop_after_consecutive: 1,
        ..Failure::default()
    };
    let mut driver = Driver::new(StudySpec { failure, ..spec() }, 2, Told::starting(None));
    driver.step([started(0, 1), started(1, 1), ended(0, 1, exit(1))]);
    assert!(driver.end().is_some() && !driver.engine.is_done());
    assert_eq!(driver.stops(), [1]);
    driver.step([ended(1, 1, signal(15))]);
    assert!(driver.engine.is_done());
}

#[test]
fn the_time_cap_stops_all_and_counts_sessions_without_the_pauses_between() {
    let minute = Duration::from_secs(60);
    let spec = StudySpec {
        time_cap: Some(2 * minute),
        ..spec()
    };
    let mut driver = Driver::new(
        spec,
        2,
        Told::starting(Some(1)).judging(|t| match t.id.0 {
            0 => Verdict::Pause,
            _ => Verdict::Continue,
        }),
    );
    assert_eq!(
        driver.engine.next_deadline(driver.now),
        Some(START.plus(2 * minute))
    );
    driver.step([
        started(0, 1),
        started(1, 1),
        report(0, 1, 1, 0.5),
        ended(0, 1, exit(0)),
    ]);
    driver.now = START.plus(minute);
    driver.step([report(1, 1, 1, 0.5)]);
    driver.now = START.plus(100 * minute);
    driver.session();
    let deadline = driver.now.plus(minute);
    assert_eq!(driver.engine.next_deadline(driver.now), Some(deadline));
    driver.step([started(2, 1)]);
    driver.now = Timestamp(deadline.0 - 1);
    assert!(driver.step([Input::Tick]).is_empty());
    driver.now = deadline;
    let events = driver.step([Input::Tick]);
    assert_eq!(
        events,
        [
            "stop_requested 1/1",
            "stop_requested 2/1",
            "trial_stopped 0 (time_cap)"
        ]
    );
    assert_eq!(
        driver.engine.next_deadline(driver.now),
        None,
        "nothing to do until they end"
    );
    assert!(driver.step([Input::Tick]).is_empty());
    driver.step([ended(1, 1, signal(15))]);
    let events = driver.step([ended(2, 1, signal(9))]);
    assert_eq!(events[1..], ["trial_stopped 2 (time_cap)", "study_ended"]);
    assert_eq!(driver.end(), Some(&StudyEnd::TimeCap));
}

#[test]
fn a_trial_put_back_when_time_is_up_is_stopped() {
    let spec = StudySpec {
        time_cap: Some(Duration::from_secs(60)),
        ..spec()
    };
    let mut driver = running(spec, Told::starting(None), &[(1, 0.5)]);
    driver.step([Input::Interrupt]);
    driver.now = START.plus(Duration::from_secs(60));
    let events = driver.step([ended(0, 1, signal(15))]);
    assert_eq!(
        events[1..],
        [
            "trial_requeued 0",
            "trial_stopped 0 (time_cap)",
            "study_ended"
        ]
    );
}

#[test]
fn a_deadline_between_two_milliseconds_is_the_later_one() {
    let spec = StudySpec {
        time_cap: Some(Duration::from_micros(1500)),
        ..spec()
    };
    let driver = Driver::new(spec, 1, Told::starting(None));
    assert_eq!(
        driver.engine.next_deadline(START),
        Some(Timestamp(START.0 + 2))
    );
}

#[test]
fn a_finished_study_ends_again_at_once_and_goes_on_when_its_cap_is_raised() {
    let mut driver = Driver::new(
        StudySpec {
            run_cap: Some(1),
            ..spec()
        },
        2,
        Told::starting(None),
    );
    driver.step([report(0, 1, 1, 0.5), ended(0, 1, exit(0))]);
    assert_eq!(driver.end(), Some(&StudyEnd::RunCap));
    assert!(driver.engine.is_done());
    assert!(driver.step([Input::Tick]).is_empty());
    driver.session();
    assert!(driver.engine.is_done());
    assert_eq!(driver.end(), Some(&StudyEnd::RunCap));

    let raised = StudySpec {
        run_cap: Some(2),
        ..driver.engine.history().spec().clone()
    };
    let events = driver
        .engine
        .change_spec(driver.now, raised.clone())
        .unwrap();
    assert_eq!(events.len(), 1);
    assert!(
        driver
            .engine
            .change_spec(driver.now, raised)
            .unwrap()
            .is_empty()
    );
    driver.session();
    assert_eq!(driver.launches(), [1]);
}

#[test]
fn what_was_searched_cannot_be_changed() {
    let driver = &mut Driver::new(spec(), 1, Told::starting(None));
    for (changed, what) in [
        (StudySpec { seed: 8, ..spec() }, "seed"),
        (
            StudySpec {
                space: Space::default(),
                ..spec()
            },
            "`x` is gone",
        ),
        (
            StudySpec {
                method: Method::Sobol,
                ..spec()
            },
            "method",
        ),
    ] {
        let before = driver.engine.history().spec().clone();
        let error = driver.engine.change_spec(driver.now, changed).unwrap_err();
        let ChangeError::Refused { changes } = error else {
            panic!("{error}")
        };
        assert!(changes[0].contains(what), "{changes:?}");
        assert_eq!(driver.engine.history().spec(), &before);
    }
}

#[test]
fn a_sampler_with_nothing_left_ends_the_study() {
    let log = vec![opened(StudySpec {
        run_cap: None,
        ..spec()
    })];
    let scheduler = Box::new(Told::starting(None));
    let engine = Engine::with(&log, Box::new(Counting { most: 2 }), scheduler).unwrap();
    let mut driver = Driver {
        engine,
        log,
        now: START,
        slots: 4,
    };
    driver.session();
    assert_eq!(driver.launches(), [0, 1]);
    let ends = |t| [report(t, 1, 1, 0.5), ended(t, 1, exit(0))];
    driver.step(ends(0));
    driver.step(ends(1));
    assert_eq!(driver.end(), Some(&StudyEnd::SpaceExhausted));
}

#[test]
fn a_scheduler_that_waits_for_nothing_cannot_hang_the_study() {
    // It pauses all and never names one again; or names trials that cannot be.
    for next in [
        Next::Wait,
        Next::Resume {
            trial: TrialId(77),
            target: None,
        },
        Next::Discard {
            trial: TrialId(77),
            evidence: String::new(),
        },
        Next::Start {
            bracket: 0,
            target: None,
        },
    ] {
        let scheduler = Told::starting(Some(1)).judging(|_| Verdict::Pause);
        let scheduler = scheduler.naming(move |history, _| match history.trials().len() {
            0 => Next::Start {
                bracket: 0,
                target: Some(1),
            },
            _ => next.clone(),
        });
        let mut driver = Driver::new(
            StudySpec {
                run_cap: Some(1),
                ..spec()
            },
            1,
            scheduler,
        );
        let events = driver.step([report(0, 1, 1, 0.5), ended(0, 1, exit(0))]);
        assert_eq!(
            events[2..],
            ["trial_paused 0", "trial_stopped 0 (pruned)", "study_ended"]
        );
    }
}

// ---- the user ----

#[test]
fn draining_starts_nothing_and_lets_the_rest_run() {
    let mut driver = Driver::new(spec(), 2, Told::starting(None));
    driver.step([started(0, 1), started(1, 1)]);
    assert_eq!(
        driver.step([Input::Drain, Input::Drain]),
        ["drain_requested"]
    );
    assert!(driver.stops().is_empty() && !driver.engine.is_done());
    driver.step([report(0, 1, 1, 0.5), ended(0, 1, exit(0))]);
    driver.step([ended(1, 1, exit(1))]);
    assert!(driver.engine.is_done());
    assert_eq!(
        driver.state(1),
        &TrialState::Queued,
        "its second try waits too"
    );
    assert_eq!(driver.end(), None);
    driver.session();
    assert_eq!(driver.launches(), [1, 2]);
}

#[test]
fn a_drained_study_that_has_nothing_left_has_ended() {
    let mut driver = Driver::new(
        StudySpec {
            run_cap: Some(1),
            ..spec()
        },
        2,
        Told::starting(None),
    );
    driver.step([Input::Drain, report(0, 1, 1, 0.5), ended(0, 1, exit(0))]);
    assert_eq!(driver.end(), Some(&StudyEnd::RunCap));
}

#[test]
fn who_drains_does_not_wait_for_what_cannot_be_started() {
    let not_now = |trial, attempt| Input::NotNow {
        trial: TrialId(trial),
        attempt: AttemptNumber(attempt),
    };
    let mut driver = Driver::new(spec(), 2, Told::starting(None));
    driver.step([started(0, 1)]);
    // There is time.
    assert!(driver.step([not_now(1, 1)]).is_empty());
    driver.step([Input::Drain]);
    // Who runs is not meant, nor is an attempt of the past.
    assert!(driver.step([not_now(0, 1), not_now(1, 9)]).is_empty());
    assert_eq!(driver.step([not_now(1, 1)]), ["stop_requested 1/1"]);
    assert!(driver.step([not_now(1, 1)]).is_empty());
    let error = "never".to_owned();
    driver.step([ended(1, 1, AttemptEnd::NotStarted { error })]);
    assert_eq!(driver.state(1), &TrialState::Queued);
    assert!(!driver.engine.is_done(), "the other one goes on to its end");
    driver.step([report(0, 1, 1, 0.5), ended(0, 1, exit(0))]);
    assert!(driver.engine.is_done());
    driver.session();
    assert_eq!(driver.launches(), [1, 2]);
}

#[test]
fn an_interrupt_puts_all_back() {
    let mut driver = Driver::new(spec(), 2, Told::starting(None));
    driver.step([started(0, 1)]);
    let events = driver.step([Input::Interrupt]);
    assert_eq!(
        events,
        [
            "drain_requested",
            "stop_requested 0/1",
            "stop_requested 1/1"
        ]
    );
    assert!(driver.step([Input::Interrupt]).is_empty());
    driver.step([report(0, 1, 1, 0.5), ended(0, 1, signal(15))]);
    driver.step([ended(1, 1, AttemptEnd::Lost)]);
    assert!(driver.engine.is_done());
    assert_eq!(driver.engine.history().trials()[0].value(), Some(0.5));
    driver.session();
    assert_eq!(driver.launches(), [0, 1]);
}

// ---- a new session ----

#[test]
fn a_new_session_waits_for_word_of_the_attempts_left_over() {
    let mut driver = Driver::new(spec(), 2, Told::starting(None));
    driver.step([started(0, 1)]);
    driver.session();
    let left: Vec<_> = driver.engine.leftovers();
    let one = AttemptNumber(1);
    assert_eq!(
        left,
        [(TrialId(0), one, Some(100)), (TrialId(1), one, None)]
    );
    assert_eq!(driver.launches(), [1], "no place is free");
    let events = driver.step([started(0, 1), ended(1, 1, AttemptEnd::Lost)]);
    // An adoption is written down, too.
    assert_eq!(
        events,
        [
            "attempt_started 0/1",
            "attempt_ended 1/1",
            "trial_requeued 1",
            "attempt_launching 1/2"
        ]
    );
}

#[test]
fn a_torn_log_is_mended_when_the_study_is_taken_up() {
    let scheduler = || Told::starting(None).judging(|_| pruned());
    let mut driver = running(spec(), scheduler(), &[(1, 0.5)]);
    driver.step([ended(0, 1, exit(0))]);
    let cut = |kind: &str| {
        let at = driver
            .log
            .iter()
            .position(|e| name(&e.kind).starts_with(kind))
            .unwrap();
        let log = driver.log[..=at].to_vec();
        let sampler = Box::new(Counting { most: 100 });
        let mut engine = Engine::with(&log, sampler, Box::new(scheduler())).unwrap();
        let events = engine.begin_session(START, 1, "here").unwrap();
        events.iter().map(|e| name(&e.kind)).collect::<Vec<_>>()
    };
    assert_eq!(cut("reported"), ["session_started", "stop_requested 0/1"]);
    assert_eq!(
        cut("attempt_ended"),
        ["session_started", "trial_stopped 0 (pruned)"]
    );
}
