//! A database made by the real Optuna is read as Optuna meant it.
//!
//! Needs a Python with optuna: `HPO_TEST_PYTHON=…/python cargo test -p hpo-import --test optuna`. Without one the test
//! says so and is skipped; with `HPO_TEST_REQUIRE_ALL=1` it fails then.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

use std::path::Path;
use std::process::Command;

use hpo_import::{Wanted, read};
use hpo_study::import::{Row, RowEnd};
use hpo_study::{Goal, Value};

/// Makes the database; `None`: it cannot be made here.
fn make(path: &Path) -> Option<()> {
    let skip = |why: &str| {
        assert!(std::env::var_os("HPO_TEST_REQUIRE_ALL").is_none(), "{why}");
        println!("SKIPPED: an Optuna database: {why}");
        None
    };
    let Some(python) = std::env::var_os("HPO_TEST_PYTHON") else {
        return skip("needs optuna (set HPO_TEST_PYTHON)");
    };
    let has = Command::new(&python)
        .args(["-c", "import optuna"])
        .output()
        .unwrap();
    if !has.status.success() {
        return skip("the Python of HPO_TEST_PYTHON has no optuna");
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/make_database.py");
    let made = Command::new(&python)
        .arg(script)
        .arg(path)
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    Some(())
}

fn wanted(study: &str) -> Wanted {
    Wanted {
        study_name: Some(study.to_owned()),
        objective: "val_loss".to_owned(),
        ..Wanted::default()
    }
}

fn params(row: &Row) -> Vec<(&str, &Value)> {
    row.params
        .iter()
        .map(|(name, value)| (name.as_str(), value))
        .collect()
}

#[test]
fn a_database_of_optuna_is_read_as_it_is_meant() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("old.db");
    if make(&path).is_none() {
        return;
    }
    let before = std::fs::read(&path).unwrap();
    let found = read(&path, &wanted("one")).unwrap();
    assert_eq!(found.goal, Some(Goal::Minimize));
    assert!(found.source.contains("`one`"), "{}", found.source);
    let rows = &found.rows;
    assert_eq!(rows.len(), 11);
    assert_eq!(
        params(&rows[0]),
        [
            ("batch", &Value::Int(64)),
            ("dropout", &Value::Float(0.3)),
            ("layers", &Value::Int(7)),
            ("lr", &Value::Float(1e-3)),
            ("optimizer", &"adam".into()),
        ]
    );
    assert_eq!(
        (rows[0].value, rows[0].end),
        (Some(0.25), RowEnd::Completed)
    );
    assert_eq!(
        rows[0].curve,
        [(1, 1.0), (2, 0.5), (3, 0.25)],
        "steps from 0 are counted from 1"
    );
    let choices: Vec<&Value> = rows[1..5]
        .iter()
        .map(|row| &row.params["optimizer"])
        .collect();
    assert_eq!(
        choices,
        [
            &"sgd".into(),
            &Value::Null,
            &Value::Int(3),
            &Value::Bool(true)
        ]
    );
    assert_eq!((rows[5].end, rows[5].value), (RowEnd::Stopped, Some(1.5)));
    assert_eq!(rows[5].curve, [(3, 2.0), (4, 1.5)]);
    assert_eq!((rows[6].end, rows[6].value), (RowEnd::Infeasible, None));
    assert_eq!(rows[7].value, Some(f64::INFINITY));
    assert!(rows[8].value.unwrap().is_nan());
    assert_eq!(
        (rows[9].end, rows[10].end),
        (RowEnd::Unfinished, RowEnd::Unfinished)
    );
    assert_eq!(rows[10].name, "trial 10");

    let acc = read(
        &path,
        &Wanted {
            metric: Some("acc".into()),
            ..wanted("two")
        },
    )
    .unwrap();
    assert_eq!(
        (acc.goal, acc.rows[0].value),
        (Some(Goal::Maximize), Some(0.75))
    );
    let second = read(
        &path,
        &Wanted {
            metric: Some("1".into()),
            ..wanted("two")
        },
    )
    .unwrap();
    assert_eq!(second.rows[1].value, Some(0.75));
    let text = |wanted: &Wanted| {
        let error = read(&path, wanted).unwrap_err();
        format!("{error}; {}", error.hint.clone().unwrap_or_default())
    };
    assert!(
        text(&wanted("two")).contains("2 objectives"),
        "{}",
        text(&wanted("two"))
    );
    assert!(text(&wanted("two")).contains("loss, acc"));
    assert!(text(&wanted("three")).contains("there are: one, two"));
    assert!(text(&Wanted::default()).contains("--study-name"));
    assert_eq!(std::fs::read(&path).unwrap(), before, "nothing is written");
}
