//! The stopping rules beside Optuna's pruners of the same names, on curves where they have to agree.
//!
//! Needs a Python with optuna, named by `HPO_TEST_PYTHON`; without one the test says so, and fails if
//! `HPO_TEST_REQUIRE_ALL=1`.

use std::io::Write as _;
use std::process::{Command, Stdio};

use rand::Rng as _;
use serde_json::{Value as Json, json};

use hpo_study::{AttemptEnd, Config, EarlyTerminate, Goal, Method, Space};

use crate::Verdict;
use crate::simulate::{Log, spec};
use crate::stream;

/// One rule, and the curves of trials that run one after the other.
struct Case {
    rule: EarlyTerminate,
    goal: Goal,
    curves: Vec<Vec<f64>>,
    /// The same for `optuna.py`.
    pruner: Json,
}

/// Curves that fall (`falling`), or go anywhere; no two values are equal.
fn curves(seed: u64, falling: bool) -> Vec<Vec<f64>> {
    let mut rng = stream(seed);
    let mut curve = |_| {
        let (start, rate): (f64, f64) = (rng.random(), rng.random());
        let mut curve: Vec<f64> = (0..14)
            .map(|step| match falling {
                true => start + 2.0 * (-rate * f64::from(step)).exp(),
                false => rng.random(),
            })
            .collect();
        if falling {
            for (i, value) in curve.iter_mut().enumerate() {
                *value -= 1e-6 * i as f64;
            }
        }
        curve
    };
    (0..14).map(&mut curve).collect()
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for seed in 0..12_u64 {
        let goal = if seed % 2 == 0 {
            Goal::Minimize
        } else {
            Goal::Maximize
        };
        let (min_iter, interval) = (1 + seed % 3, 1 + seed % 4);
        let percentile = [10.0, 25.0, 50.0, 80.0][(seed % 4) as usize];
        cases.push(Case {
            rule: EarlyTerminate::Percentile {
                percentile,
                min_iter,
                min_trials: 3,
                interval,
            },
            goal,
            curves: curves(seed, true),
            pruner: json!({"kind": "percentile", "percentile": percentile, "warmup": min_iter,
                "interval": interval, "min_trials": 3}),
        });
        let patience = seed % 5;
        cases.push(Case {
            rule: EarlyTerminate::Patient {
                rule: Box::new(EarlyTerminate::None),
                patience,
                min_delta: 0.0,
            },
            goal,
            curves: curves(100 + seed, false),
            pruner: json!({"kind": "patient", "patience": patience}),
        });
    }
    cases
}

/// For each trial, whether it would be stopped after each report. All run to their ends nevertheless.
fn decisions(case: &Case) -> Vec<Vec<bool>> {
    let mut study = spec(Space::default(), Method::Random, case.rule.clone());
    study.metric.goal = case.goal;
    let mut log = Log::new(study);
    let of = |curve: &Vec<f64>| {
        let trial = log.start(Config::new(), 0, None);
        let mut decisions = Vec::new();
        for (i, loss) in curve.iter().enumerate() {
            log.report(trial, i as u64 + 1, case.goal.as_loss(*loss));
            let verdict = log.scheduler.judge(&log.history, trial);
            decisions.push(matches!(verdict, Verdict::Stop { .. }));
        }
        let end = AttemptEnd::Exited {
            code: 0,
            stderr: String::new(),
        };
        log.end(trial, end);
        log.complete(trial);
        decisions
    };
    case.curves.iter().map(of).collect()
}

/// What a program in Python answers to some JSON; `None` when there is no Python to be had.
pub(super) fn python(program: &str, input: &Json) -> Option<Json> {
    let Some(python) = std::env::var_os("HPO_TEST_PYTHON") else {
        let text = "SKIPPED: comparison with a Python package (set HPO_TEST_PYTHON)";
        let required = std::env::var("HPO_TEST_REQUIRE_ALL").is_ok_and(|value| value == "1");
        assert!(!required, "{text}");
        let _ = writeln!(std::io::stderr(), "{text}");
        return None;
    };
    let mut child = Command::new(python)
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let text = input.to_string();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn where_optunas_pruners_have_no_trap_the_rules_decide_as_they_do() {
    let cases = cases();
    let of = |case: &Case| {
        let values = |curve: &Vec<f64>| -> Vec<f64> {
            curve.iter().map(|loss| case.goal.as_loss(*loss)).collect()
        };
        let curves: Vec<Vec<f64>> = case.curves.iter().map(values).collect();
        json!({"pruner": case.pruner, "maximize": case.goal == Goal::Maximize, "curves": curves})
    };
    let input = Json::Array(cases.iter().map(of).collect());
    let Some(theirs) = python(include_str!("optuna.py"), &input) else {
        return;
    };
    let (mut stops, mut all) = (0, 0);
    for (i, case) in cases.iter().enumerate() {
        let ours = decisions(case);
        assert_eq!(json!(ours), theirs[i], "{:?}", case.rule);
        stops += ours.iter().flatten().filter(|stop| **stop).count();
        all += ours.iter().flatten().count();
    }
    assert!(stops > all / 10 && stops < all * 9 / 10, "{stops} of {all}");
}
