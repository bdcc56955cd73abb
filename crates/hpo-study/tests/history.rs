//! The history: what it takes in, what it refuses, and what the events add up to.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "in a test, a panic is the report"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use hpo_study::control::{Limits, Request};
use hpo_study::study_file::{self, Source};
use hpo_study::{
    AttemptEnd, AttemptNumber, Config, Event, EventKind, FailReason, History, StopIntent,
    StopReason, StudyEnd, Timestamp, TrialId, TrialState,
};
use proptest::prelude::*;

const T0: TrialId = TrialId(0);

fn opened(goal: &str) -> EventKind {
    let text = format!(
        "program: t.py\nmethod: random\nmetric: {{name: score, goal: {goal}}}\nrun_cap: 9\nparameters: {{x: 1}}\n"
    );
    let source = Source {
        file: "s.yaml".into(),
        directory: "/".into(),
    };
    let spec = Box::new(study_file::read(&text, &source).spec.unwrap());
    EventKind::StudyOpened {
        spec,
        hpo_version: "0.1.0".into(),
    }
}

fn at(seconds: u64, kind: EventKind) -> Event {
    Event {
        at: Timestamp(seconds * 1000),
        kind,
    }
}

fn history(goal: &str) -> History {
    History::open(&at(0, opened(goal))).unwrap()
}

fn suggested(trial: u32) -> EventKind {
    let config = Config::from_iter([("x", 1.0)]);
    EventKind::TrialSuggested {
        trial: TrialId(trial),
        config,
        bracket: 0,
        target: None,
    }
}

fn launching(trial: u32, attempt: u32) -> EventKind {
    let (trial, attempt) = (TrialId(trial), AttemptNumber(attempt));
    EventKind::AttemptLaunching {
        trial,
        attempt,
        target: None,
        assignment: None,
    }
}

fn started(trial: u32, attempt: u32) -> EventKind {
    let (trial, attempt) = (TrialId(trial), AttemptNumber(attempt));
    EventKind::AttemptStarted {
        trial,
        attempt,
        pid: 77,
    }
}

fn reported(trial: u32, attempt: u32, step: u64, score: f64) -> EventKind {
    let metrics = BTreeMap::from([("score".to_owned(), score), ("lr".to_owned(), 0.5)]);
    let (trial, attempt) = (TrialId(trial), AttemptNumber(attempt));
    EventKind::Reported {
        trial,
        attempt,
        step,
        metrics,
    }
}

fn ended(trial: u32, attempt: u32) -> EventKind {
    let end = AttemptEnd::Exited {
        code: 0,
        stderr: String::new(),
    };
    EventKind::AttemptEnded {
        trial: TrialId(trial),
        attempt: AttemptNumber(attempt),
        end,
    }
}

/// Runs one trial to its end with a value.
fn complete(history: &mut History, trial: u32, score: f64) {
    for kind in [
        suggested(trial),
        launching(trial, 1),
        started(trial, 1),
        reported(trial, 1, 1, score),
        ended(trial, 1),
        EventKind::TrialCompleted {
            trial: TrialId(trial),
        },
    ] {
        history.apply(&at(1, kind)).unwrap();
    }
}

#[test]
fn a_log_begins_with_the_study_and_has_it_once() {
    assert!(History::replay([]).is_err());
    assert!(History::open(&at(0, suggested(0))).is_err());
    let again = history("minimize")
        .apply(&at(1, opened("minimize")))
        .unwrap_err();
    assert!(again.to_string().contains("open already"), "{again}");
}

#[test]
fn a_process_that_was_lost_ran_until_its_coordinator_was_last_heard_of() {
    let mut history = history("minimize");
    let session = |pid| EventKind::SessionStarted {
        pid,
        host: "here".into(),
    };
    let lost = EventKind::AttemptEnded {
        trial: T0,
        attempt: AttemptNumber(1),
        end: AttemptEnd::Lost,
    };
    for (seconds, kind) in [
        (0, session(1)),
        (1, suggested(0)),
        (1, launching(0, 1)),
        (2, started(0, 1)),
        (5, reported(0, 1, 1, 0.5)),
        // Killed here, taken up ten hours later, killed again at once, and taken up.
        (36_000, session(2)),
        (72_000, session(3)),
        (72_000, lost),
    ] {
        history.apply(&at(seconds, kind)).unwrap();
    }
    let attempt = history.trial(T0).unwrap().attempt().unwrap();
    assert_eq!(attempt.ended, Some(Timestamp(5000)));
}

#[test]
fn a_trial_goes_through_its_states() {
    let mut history = history("minimize");
    let mut expect = |kind: EventKind, word: &str| {
        history.apply(&at(1, kind)).unwrap();
        assert_eq!(history.trial(T0).unwrap().state.word(), word);
    };
    expect(suggested(0), "queued");
    expect(launching(0, 1), "running");
    expect(started(0, 1), "running");
    let (trial, attempt) = (T0, AttemptNumber(1));
    expect(
        EventKind::StopRequested {
            trial,
            attempt,
            intent: StopIntent::Pause,
        },
        "running",
    );
    expect(ended(0, 1), "running");
    expect(EventKind::TrialPaused { trial }, "paused");
    expect(launching(0, 2), "running");
    expect(started(0, 2), "running");
    expect(ended(0, 2), "running");
    let reason = StopReason::Pruned {
        evidence: "x".into(),
    };
    expect(EventKind::TrialStopped { trial, reason }, "stopped");
    let trial = history.trial(T0).unwrap();
    assert_eq!(
        (trial.attempts.len(), trial.state.reason()),
        (2, Some("pruned"))
    );
    assert!(trial.state.is_final() && !trial.state.is_active());
    assert_eq!(trial.attempts[0].pid, Some(77));
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let mut history = history("minimize");
    for kind in [suggested(0), launching(0, 1), started(0, 1)] {
        history.apply(&at(1, kind)).unwrap();
    }
    let before = history.clone();
    for kind in [
        suggested(0),
        suggested(5),
        launching(0, 1),
        launching(0, 2),
        launching(3, 1),
        started(0, 9),
        reported(0, 9, 1, 0.0),
        ended(0, 9),
        ended(4, 1),
        EventKind::TrialCompleted { trial: TrialId(8) },
    ] {
        assert!(history.apply(&at(2, kind.clone())).is_err(), "{kind:?}");
        assert_eq!(history, before, "{kind:?}");
    }
    complete(&mut history, 1, 0.5);
    let over = EventKind::TrialFailed {
        trial: TrialId(1),
        reason: FailReason::NoMetric {
            evidence: String::new(),
            output: String::new(),
        },
    };
    assert!(history.apply(&at(2, over)).is_err(), "a trial ends once");
}

#[test]
fn an_old_process_is_fenced_off() {
    let mut history = history("minimize");
    for kind in [
        suggested(0),
        launching(0, 1),
        started(0, 1),
        reported(0, 1, 1, 0.5),
        ended(0, 1),
        EventKind::TrialRequeued { trial: T0 },
        launching(0, 2),
        started(0, 2),
    ] {
        history.apply(&at(1, kind)).unwrap();
    }
    let before = history.trial(T0).unwrap().clone();
    for kind in [reported(0, 1, 2, 0.1), ended(0, 1), started(0, 1)] {
        history.apply(&at(2, kind)).unwrap();
        assert_eq!(history.trial(T0).unwrap(), &before);
    }
    history.apply(&at(2, reported(0, 2, 2, 0.4))).unwrap();
    let trial = history.trial(T0).unwrap();
    assert_eq!(trial.value(), Some(0.4));
    assert_eq!(trial.curve.steps, [1, 2]);
    assert_eq!(history.last_metric(trial, "lr"), Some(0.5));
}

#[test]
fn the_best_is_the_best_finite_completed_one() {
    let mut low = history("minimize");
    let mut high = history("maximize");
    for history in [&mut low, &mut high] {
        for (trial, score) in [0.5, f64::NAN, 0.2, 0.9, 0.2, 0.9, f64::INFINITY]
            .iter()
            .enumerate()
        {
            complete(history, trial as u32, *score);
        }
        // Better than all, but not completed.
        for kind in [
            suggested(7),
            launching(7, 1),
            started(7, 1),
            reported(7, 1, 1, 99.0),
        ] {
            history.apply(&at(1, kind)).unwrap();
        }
    }
    assert_eq!(low.best().map(|t| t.id), Some(TrialId(2)));
    assert_eq!(
        high.best().map(|t| t.id),
        Some(TrialId(3)),
        "the earlier of equals"
    );
    assert!(history("minimize").best().is_none());
}

#[test]
fn failures_in_a_row_are_broken_by_a_success_or_a_session() {
    let mut history = history("minimize");
    let fail = |history: &mut History, trial: u32| {
        history.apply(&at(1, suggested(trial))).unwrap();
        let reason = FailReason::Lost;
        history
            .apply(&at(
                1,
                EventKind::TrialFailed {
                    trial: TrialId(trial),
                    reason,
                },
            ))
            .unwrap();
    };
    fail(&mut history, 0);
    fail(&mut history, 1);
    assert_eq!(history.failures_in_a_row(), 2);
    complete(&mut history, 2, 0.1);
    assert_eq!(history.failures_in_a_row(), 0);
    fail(&mut history, 3);
    history
        .apply(&at(
            2,
            EventKind::SessionStarted {
                pid: 1,
                host: "h".into(),
            },
        ))
        .unwrap();
    assert_eq!(history.failures_in_a_row(), 0);
    let TrialState::Failed(reason) = &history.trial(T0).unwrap().state else {
        panic!()
    };
    assert_eq!(reason.word(), "lost");
}

#[test]
fn only_running_time_counts() {
    let mut history = history("minimize");
    let session = || EventKind::SessionStarted {
        pid: 1,
        host: "h".into(),
    };
    history.apply(&at(10, session())).unwrap();
    history.apply(&at(40, EventKind::DrainRequested)).unwrap();
    assert!(history.draining());
    // An hour later the study is taken up again.
    history.apply(&at(3640, session())).unwrap();
    assert!(!history.draining());
    assert_eq!(
        history.running_time(Timestamp(3_645_000)),
        Duration::from_secs(35)
    );
    assert_eq!((history.sessions(), history.opened()), (2, Timestamp(0)));
    history
        .apply(&at(
            3650,
            EventKind::StudyEnded {
                end: StudyEnd::RunCap,
            },
        ))
        .unwrap();
    assert_eq!(history.end(), Some(&StudyEnd::RunCap));
    // A day later somebody asks for something, and again a day later, and then it is taken up.
    let request = || EventKind::UserRequest {
        request: Request::Limits {
            limits: Limits::default(),
        },
        config: None,
    };
    let from = history.last_event();
    assert!(history.in_session());
    history
        .apply(&at(90_000, EventKind::Unattended { from }))
        .unwrap();
    assert!(!history.in_session());
    for second in [90_000, 180_000] {
        history.apply(&at(second, request())).unwrap();
        assert_eq!(
            history.running_time(history.last_event()),
            Duration::from_secs(40)
        );
    }
    history.apply(&at(200_000, session())).unwrap();
    assert_eq!(
        history.running_time(Timestamp(200_002_000)),
        Duration::from_secs(42)
    );
    history.apply(&at(3660, session())).unwrap();
    assert_eq!(
        history.end(),
        None,
        "a session may go on where a cap was raised"
    );
}

/// Any event about a few trials and attempts, sensible or not.
fn any_event() -> impl Strategy<Value = EventKind> {
    let (trial, attempt) = (0u32..4, 0u32..4);
    (0u32..14, trial, attempt, 0u64..6, prop::num::f64::ANY).prop_map(
        |(kind, trial, attempt, step, score)| {
            let (id, number) = (TrialId(trial), AttemptNumber(attempt));
            match kind {
                0 | 1 => suggested(trial),
                2 | 3 => launching(trial, attempt),
                4 => started(trial, attempt),
                5 | 6 => reported(trial, attempt, step, score),
                7 => ended(trial, attempt),
                8 => EventKind::TrialPaused { trial: id },
                9 => EventKind::TrialRequeued { trial: id },
                10 => EventKind::TrialCompleted { trial: id },
                11 => EventKind::TrialStopped {
                    trial: id,
                    reason: StopReason::User,
                },
                12 => EventKind::TrialFailed {
                    trial: id,
                    reason: FailReason::Lost,
                },
                _ => EventKind::StopRequested {
                    trial: id,
                    attempt: number,
                    intent: StopIntent::Requeue,
                },
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// No order of events makes the history panic; what it took in, written as JSON and read back,
    /// replays to the same state.
    #[test]
    fn any_events_replay_to_the_same_history(kinds in prop::collection::vec(any_event(), 0..80)) {
        let mut live = history("minimize");
        let mut taken = vec![at(0, opened("minimize"))];
        for (i, kind) in kinds.into_iter().enumerate() {
            let event = at(i as u64, kind);
            let before = format!("{live:?}");
            match live.apply(&event) {
                Ok(()) => taken.push(event),
                Err(_) => prop_assert_eq!(format!("{live:?}"), before),
            }
        }
        let stored: Vec<Event> = taken
            .iter()
            .map(|event| serde_json::from_str(&serde_json::to_string(event).unwrap()).unwrap())
            .collect();
        let replayed = History::replay(&stored).unwrap();
        prop_assert_eq!(format!("{replayed:?}"), format!("{live:?}"));
        let _ = live.best();
    }
}
