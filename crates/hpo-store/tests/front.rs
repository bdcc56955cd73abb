//! The view `front` and a study read in short, against the history of a study with several objectives.

#![allow(clippy::unwrap_used, reason = "tests say what went wrong by panicking")]

use std::collections::BTreeMap;

use hpo_store::Store;
use hpo_study::study_file::{Source, read};
use hpo_study::{AttemptEnd, AttemptNumber, Config, Event, EventKind, History, Timestamp, TrialId};
use proptest::prelude::*;

const OBJECTIVES: [&str; 3] = [
    "{name: loss}",
    "{name: 'a \"c\"', goal: maximize}",
    "{name: hpo/seconds}",
];

/// What a study with the first so many objectives writes down.
fn log(count: usize, trials: &[[Option<f64>; 3]]) -> Vec<Event> {
    let study = format!(
        "program: train.py\nmethod: random\nrun_cap: 50\nmetric: [{}]\nparameters: {{lr: {{min: 0.1, max: 1.0}}}}\n",
        OBJECTIVES[..count].join(", ")
    );
    let source = Source {
        file: "study.yaml".to_owned(),
        directory: "/".into(),
    };
    let spec = Box::new(read(&study, &source).spec.unwrap());
    let names: Vec<String> = spec.objectives().map(|m| m.name.clone()).collect();
    let hpo_version = "0".to_owned();
    let mut kinds = vec![EventKind::StudyOpened { spec, hpo_version }];
    for (number, values) in (0..).zip(trials) {
        let (trial, attempt) = (TrialId(number), AttemptNumber(1));
        let config = Config::from_iter([("lr", 0.5)]);
        let (bracket, target) = (0, None);
        kinds.push(EventKind::TrialSuggested {
            trial,
            config,
            bracket,
            target,
        });
        let assignment = None;
        kinds.push(EventKind::AttemptLaunching {
            trial,
            attempt,
            target,
            assignment,
        });
        kinds.push(EventKind::AttemptStarted {
            trial,
            attempt,
            pid: 1,
        });
        let mut report = |step: u64, metrics: BTreeMap<String, f64>| {
            kinds.push(EventKind::Reported {
                trial,
                attempt,
                step,
                metrics,
            });
        };
        report(1, names.iter().map(|name| (name.clone(), -1.0)).collect());
        // The others come earlier than the last loss, and are to be found all the same.
        let pairs = names.iter().zip(values).skip(1);
        report(
            2,
            pairs
                .filter_map(|(name, v)| Some((name.clone(), (*v)?)))
                .collect(),
        );
        report(3, BTreeMap::from([("other".to_owned(), 1.0)]));
        report(
            4,
            values[0]
                .into_iter()
                .map(|v| (names[0].clone(), v))
                .collect(),
        );
        let end = AttemptEnd::Exited {
            code: 0,
            stderr: String::new(),
        };
        kinds.push(EventKind::AttemptEnded {
            trial,
            attempt,
            end,
        });
        kinds.push(EventKind::TrialCompleted { trial });
    }
    (0..)
        .zip(kinds)
        .map(|(at, kind)| Event {
            at: Timestamp(at),
            kind,
        })
        .collect()
}

fn value() -> impl Strategy<Value = Option<f64>> {
    prop_oneof![
        1 => Just(None),
        1 => Just(Some(f64::NAN)),
        1 => Just(Some(f64::INFINITY)),
        20 => (0_u8..5).prop_map(|x| Some(f64::from(x))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_view_is_the_front_of_the_history(
        count in 1..=OBJECTIVES.len(),
        trials in prop::collection::vec(prop::array::uniform3(value()), 0..20)
    ) {
        let events = log(count, &trials);
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::create(directory.path(), &events[..1]).unwrap();
        store.append(&events[1..]).unwrap();
        let history = History::replay(&events).unwrap();
        let ids = |history: &History| -> Vec<u32> {
            history.front().iter().map(|t| t.id.0).collect()
        };
        let brief = hpo_store::read_brief(directory.path()).unwrap();
        prop_assert_eq!(ids(&History::replay(&brief).unwrap()), ids(&history));
        let connection = rusqlite::Connection::open(store.path()).unwrap();
        let mut rows = connection.prepare("SELECT trial, name, value FROM front").unwrap();
        let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
        let seen: Vec<(u32, String, f64)> = rows.collect::<Result<_, _>>().unwrap();
        let mut meant = Vec::new();
        for trial in history.front() {
            let pairs = history.spec().objectives().zip(history.values(trial));
            meant.extend(pairs.map(|(m, v)| (trial.id.0, m.name.clone(), v.unwrap())));
        }
        prop_assert_eq!(seen, meant);
        let names: String = connection
            .query_row("SELECT group_concat(name || ' ' || goal, ', ') FROM objectives", [], |row| row.get(0))
            .unwrap();
        let all = ["loss minimize", "a \"c\" maximize", "hpo/seconds minimize"];
        prop_assert_eq!(names, all[..count].join(", "));
    }
}
