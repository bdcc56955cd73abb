//! The view `front` and a study read in short, against the history of a study with several objectives.

#![allow(clippy::unwrap_used, reason = "tests say what went wrong by panicking")]

use std::collections::BTreeMap;

use hpo_store::Store;
use hpo_study::study_file::{Source, read};
use hpo_study::{AttemptEnd, AttemptNumber, Config, Event, EventKind, History, Timestamp, TrialId};
use proptest::prelude::*;

/// The most objectives that a study can have.
const MOST: usize = 16;

/// Names and goals of the objectives.
fn objectives() -> Vec<(String, &'static str)> {
    let first = [
        ("loss", "minimize"),
        ("a \"c\"", "maximize"),
        ("hpo/seconds", "minimize"),
    ];
    let first = first.map(|(name, goal)| (name.to_owned(), goal));
    let more = (first.len()..MOST).map(|i| {
        let goal = if i % 2 == 0 { "minimize" } else { "maximize" };
        (format!("m{i}"), goal)
    });
    first.into_iter().chain(more).collect()
}

/// What a study with the first so many objectives writes down.
fn log(count: usize, trials: &[Vec<Option<f64>>]) -> Vec<Event> {
    let metric = |(name, goal): &(String, &str)| format!("{{name: '{name}', goal: {goal}}}");
    let metrics: Vec<String> = objectives()[..count].iter().map(metric).collect();
    let study = format!(
        "program: train.py\nmethod: random\nrun_cap: 50\nmetric: [{}]\nparameters: {{lr: {{min: 0.1, max: 1.0}}}}\n",
        metrics.join(", ")
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

/// A trial's values: some lack one, or have one that is not finite, and many are dominated, whatever the count.
fn values() -> impl Strategy<Value = Vec<Option<f64>>> {
    let bad = prop_oneof![
        Just(None),
        Just(Some(f64::NAN)),
        Just(Some(f64::INFINITY)),
        Just(Some(f64::NEG_INFINITY)),
    ];
    let bad = prop::option::weighted(0.15, (0..MOST, bad));
    let own = prop::collection::vec(0_u8..3, MOST);
    (0_u8..3, own, bad).prop_map(|(good, own, bad)| {
        let loss = |own: u8| f64::from(own.saturating_sub(1) + good);
        let goals = objectives().into_iter().zip(own);
        let mut values: Vec<Option<f64>> = goals
            .map(|((_, goal), own)| {
                Some(if goal == "maximize" {
                    -loss(own)
                } else {
                    loss(own)
                })
            })
            .collect();
        if let Some((at, value)) = bad {
            values[at] = value;
        }
        values
    })
}

/// The rows of the view, and what they should be.
fn seen_and_meant(count: usize, trials: &[Vec<Option<f64>>]) -> [Vec<(u32, String, f64)>; 2] {
    let events = log(count, trials);
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::create(directory.path(), &events[..1]).unwrap();
    store.append(&events[1..]).unwrap();
    let history = History::replay(&events).unwrap();
    let ids = |history: &History| -> Vec<u32> { history.front().iter().map(|t| t.id.0).collect() };
    let brief = hpo_store::read_brief(directory.path()).unwrap();
    assert_eq!(ids(&History::replay(&brief).unwrap()), ids(&history));
    let connection = rusqlite::Connection::open(store.path()).unwrap();
    let told = connection
        .prepare("SELECT name, goal FROM objectives")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .collect::<Result<Vec<(String, String)>, _>>()
        .unwrap();
    let all = objectives().into_iter();
    let all = all.map(|(name, goal)| (name, goal.to_owned()));
    assert_eq!(told, all.take(count).collect::<Vec<_>>());
    let mut rows = connection
        .prepare("SELECT trial, name, value FROM front")
        .unwrap();
    let rows = rows
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap();
    let mut meant = Vec::new();
    for trial in history.front() {
        let pairs = history.spec().objectives().zip(history.values(trial));
        meant.extend(pairs.map(|(m, v)| (trial.id.0, m.name.clone(), v.unwrap())));
    }
    [rows.collect::<Result<_, _>>().unwrap(), meant]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_view_is_the_front_of_the_history(
        count in prop_oneof![1..=4_usize, Just(MOST)],
        trials in prop::collection::vec(values(), 0..20)
    ) {
        let [seen, meant] = seen_and_meant(count, &trials);
        prop_assert_eq!(seen, meant);
    }
}

#[test]
fn every_objective_can_decide() {
    assert_eq!(hpo_study::spec::MOST_OBJECTIVES, MOST);
    let alike = vec![Some(1.0); MOST];
    for at in 0..MOST {
        let mut other = alike.clone();
        other[at] = Some(2.0);
        let worse = u32::from(objectives()[at].1 == "minimize");
        let [seen, meant] = seen_and_meant(MOST, &[alike.clone(), other.clone()]);
        assert!(seen.iter().all(|(trial, ..)| *trial == 1 - worse), "{at}");
        assert_eq!(seen, meant, "{at}");
        // The other way round in all but this one: neither dominates.
        for (i, (_, goal)) in objectives().iter().enumerate().filter(|(i, _)| *i != at) {
            let better = (*goal == "minimize") == (worse == 1);
            other[i] = Some(if better { 0.5 } else { 1.5 });
        }
        let [seen, meant] = seen_and_meant(MOST, &[alike.clone(), other]);
        assert_eq!(seen.len(), 2 * MOST, "{at}");
        assert_eq!(seen, meant, "{at}");
    }
}

/// Whoever is dominated is so by a few of many: what the view leaves out to be fast must not be missed.
#[test]
fn the_front_of_many_trials() {
    for count in [2, 3, 4] {
        // A linear congruential generator (Numerical Recipes): the same trials every time.
        let mut state = 7_u32;
        let mut draw = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f64::from(state >> 16) / 65_536.0
        };
        let trials: Vec<Vec<Option<f64>>> = (0..600)
            .map(|_| {
                let losses: Vec<f64> = (0..count).map(|_| draw()).collect();
                let length = losses.iter().map(|x| x * x).sum::<f64>().sqrt();
                let out = 1.0 + 0.05 * draw();
                let goals = objectives().into_iter().zip(losses);
                let signed = goals.map(|((_, goal), x)| {
                    let loss = x / length * out;
                    Some(if goal == "maximize" { -loss } else { loss })
                });
                signed.collect()
            })
            .collect();
        let [seen, meant] = seen_and_meant(count, &trials);
        let winners = seen.len() / count;
        assert!((20..600).contains(&winners), "{count}: {winners}");
        assert_eq!(seen, meant, "{count}");
    }
}
