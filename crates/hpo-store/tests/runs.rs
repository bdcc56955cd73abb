//! The views of runs with further seeds, and what they make of a trial's value, against the history.

#![allow(clippy::unwrap_used, reason = "tests say what went wrong by panicking")]

use std::collections::BTreeMap;

use hpo_store::Store;
use hpo_study::study_file::{Source, read};
use hpo_study::{
    AttemptEnd, AttemptNumber, Config, Event, EventKind, FailReason, History, StopReason,
    Timestamp, Trial, TrialId,
};
use proptest::prelude::*;

/// The other name ends in the objective's, and JSON writes its end alike.
const STUDY: &str = "program: train.py\nmethod: random\nrun_cap: 50\nrepeats: 4\nmetric: {name: loss}\n\
                     parameters: {lr: {min: 0.1, max: 1.0}}\n";
const OTHERS: [&str; 3] = ["a\"loss", ",\"loss", "{\"loss"];

/// How a run goes: what it says of the objective step by step, and how it ends.
#[derive(Debug, Clone)]
struct Course {
    values: Vec<Option<f64>>,
    end: End,
}

#[derive(Debug, Clone, Copy)]
enum End {
    Runs,
    Completed,
    Stopped,
    Failed,
}

fn course() -> impl Strategy<Value = Course> {
    let value = prop_oneof![
        2 => Just(None),
        1 => Just(Some(f64::NAN)),
        1 => Just(Some(f64::INFINITY)),
        1 => Just(Some(f64::NEG_INFINITY)),
        // Sums of a few of them are exact, whatever the order.
        8 => (-8_i8..8).prop_map(|x| Some(f64::from(x) / 4.0)),
    ];
    let end = prop_oneof![
        1 => Just(End::Runs),
        5 => Just(End::Completed),
        1 => Just(End::Stopped),
        1 => Just(End::Failed),
    ];
    (prop::collection::vec(value, 0..4), end).prop_map(|(values, end)| Course { values, end })
}

/// A trial's own run, its repeats, whether it is over after them, and a run that confirms it.
type Plan = (Course, Vec<Course>, bool, Option<Course>);

fn events_of(run: TrialId, course: &Course) -> Vec<EventKind> {
    let attempt = AttemptNumber(1);
    let mut kinds = vec![
        EventKind::AttemptLaunching {
            trial: run,
            attempt,
            target: None,
            assignment: None,
        },
        EventKind::AttemptStarted {
            trial: run,
            attempt,
            pid: 1,
        },
    ];
    for (step, value) in (1..).zip(&course.values) {
        let others = OTHERS.map(|name| (name.to_owned(), 77.0));
        let own = value.map(|value| ("loss".to_owned(), value));
        kinds.push(EventKind::Reported {
            trial: run,
            attempt,
            step,
            metrics: others.into_iter().chain(own).collect::<BTreeMap<_, _>>(),
        });
    }
    if !matches!(course.end, End::Runs) {
        let end = AttemptEnd::Lost;
        kinds.push(EventKind::AttemptEnded {
            trial: run,
            attempt,
            end,
        });
    }
    kinds
}

fn over(run: TrialId, end: End) -> Option<EventKind> {
    match end {
        End::Runs => None,
        End::Completed => Some(EventKind::TrialCompleted { trial: run }),
        End::Stopped => Some(EventKind::TrialStopped {
            trial: run,
            reason: StopReason::User,
        }),
        End::Failed => Some(EventKind::TrialFailed {
            trial: run,
            reason: FailReason::Lost,
        }),
    }
}

fn log(plans: &[Plan]) -> Vec<Event> {
    let source = Source {
        file: "study.yaml".to_owned(),
        directory: "/".into(),
    };
    let spec = Box::new(read(STUDY, &source).spec.unwrap());
    let hpo_version = "0".to_owned();
    let mut kinds = vec![EventKind::StudyOpened { spec, hpo_version }];
    let (mut repeats, mut confirmations) = (0, 0);
    for (number, (own, further, is_over, confirming)) in (0..).zip(plans) {
        let (trial, config) = (TrialId(number), Config::from_iter([("lr", 0.5)]));
        kinds.push(EventKind::TrialSuggested {
            trial,
            config: config.clone(),
            bracket: 0,
            target: None,
        });
        kinds.extend(events_of(trial, own));
        if further.is_empty() || !matches!(own.end, End::Completed) {
            kinds.extend(over(trial, own.end));
        } else {
            kinds.push(EventKind::TrialRepeating { trial });
            for course in further {
                let run = TrialId::repeat(repeats);
                repeats += 1;
                kinds.push(EventKind::RepeatSuggested {
                    trial: run,
                    repeats: trial,
                    config: config.clone(),
                });
                kinds.extend(events_of(run, course));
                kinds.extend(over(run, course.end));
            }
            kinds.extend(is_over.then_some(EventKind::TrialCompleted { trial }));
        }
        if let Some(course) = confirming {
            let run = TrialId::confirmation(confirmations);
            confirmations += 1;
            kinds.push(EventKind::ConfirmationSuggested {
                trial: run,
                confirms: trial,
                config,
            });
            kinds.extend(events_of(run, course));
            kinds.extend(over(run, course.end));
        }
    }
    let event = |(at, kind)| Event {
        at: Timestamp(at),
        kind,
    };
    (0..).zip(kinds).map(event).collect()
}

/// Number, what it is of, state and value.
type Row = (u32, u32, String, Option<f64>);

fn seen(connection: &rusqlite::Connection, sql: &str) -> Vec<Row> {
    let mut rows = connection.prepare(sql).unwrap();
    let rows = rows
        .query_map([], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
        .unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

fn meant(runs: &[Trial], of: fn(&Trial) -> TrialId) -> Vec<Row> {
    let row = |(number, run): (u32, &Trial)| {
        let value = run.value().filter(|value| !value.is_nan());
        (number, of(run).0, run.state.word().to_owned(), value)
    };
    (0..).zip(runs).map(row).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_views_say_what_the_history_says(
        plans in prop::collection::vec(
            (course(), prop::collection::vec(course(), 0..4), any::<bool>(), prop::option::of(course())),
            0..8
        )
    ) {
        let events = log(&plans);
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::create(directory.path(), &events[..1]).unwrap();
        store.append(&events[1..]).unwrap();
        let history = History::replay(&events).unwrap();
        let connection = rusqlite::Connection::open(store.path()).unwrap();
        prop_assert_eq!(
            seen(&connection, "SELECT run, trial, state, value FROM repeats"),
            meant(history.repeats(), |run| run.repeat_of.unwrap())
        );
        prop_assert_eq!(
            seen(&connection, "SELECT run, confirms, state, value FROM confirmations"),
            meant(history.confirmations(), |run| run.confirms.unwrap())
        );
        prop_assert_eq!(
            seen(&connection, "SELECT trial, trial, state, value FROM trials"),
            meant(history.trials(), |trial| trial.id)
        );
    }
}
