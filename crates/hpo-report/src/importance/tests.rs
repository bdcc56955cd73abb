use hpo_study::{Clause, Parameter, Space};

use super::*;
use crate::sample;

fn branch(when: &[&str], domain: Domain) -> Branch {
    let clause = Clause {
        parameter: "optimizer".into(),
        any_of: when.iter().map(|v| Value::from(*v)).collect(),
    };
    Branch {
        when: Condition(if when.is_empty() {
            vec![]
        } else {
            vec![clause]
        }),
        domain,
    }
}

fn parameter(name: &str, branches: Vec<Branch>) -> Parameter {
    Parameter {
        name: name.into(),
        branches,
    }
}

fn float(low: f64, high: f64, scale: Scale, step: Option<f64>) -> Domain {
    Domain::Float {
        low,
        high,
        scale,
        step,
    }
}

fn int(low: i64, high: i64, log: bool, step: i64) -> Domain {
    Domain::Int {
        low,
        high,
        log,
        step,
    }
}

/// The space of `tests/data/importance_reference.py`.
fn reference_space() -> Space {
    let optimizers = Domain::Categorical {
        choices: ["sgd", "momentum", "adam"].map(Value::from).to_vec(),
        weights: None,
    };
    Space {
        parameters: vec![
            parameter("optimizer", vec![branch(&[], optimizers)]),
            parameter(
                "lr",
                vec![
                    branch(&["adam"], float(1e-5, 1e-1, Scale::Log, None)),
                    branch(&["sgd", "momentum"], float(1e-3, 1.0, Scale::Log, None)),
                ],
            ),
            parameter(
                "beta",
                vec![branch(&["adam"], float(0.5, 0.9, Scale::Linear, None))],
            ),
            parameter(
                "momentum",
                vec![branch(
                    &["momentum"],
                    float(0.0, 1.0, Scale::Linear, Some(0.1)),
                )],
            ),
            parameter("batch", vec![branch(&[], int(8, 256, true, 1))]),
            parameter("layers", vec![branch(&[], int(1, 6, false, 1))]),
            parameter("width", vec![branch(&[], int(32, 512, false, 32))]),
            parameter(
                "nothing",
                vec![branch(&[], float(-1.0, 1.0, Scale::Linear, None))],
            ),
        ],
    }
}

#[test]
fn the_scores_are_those_of_optuna() {
    let text = include_str!("../../tests/data/importance.json");
    let reference: serde_json::Value = serde_json::from_str(text).unwrap();
    let trials = reference["trials"].as_array().unwrap().iter().map(|trial| {
        let params = trial["params"].as_object().unwrap().iter();
        let config: Config = params
            .map(|(name, value)| {
                (
                    name.clone(),
                    serde_json::from_value::<Value>(value.clone()).unwrap(),
                )
            })
            .collect();
        (config, trial["value"].as_f64().unwrap())
    });
    let found = importance(&sample::completed(reference_space(), trials.collect())).unwrap();
    let scores = reference["scores"].as_object().unwrap();
    assert_eq!(found.parameters.len(), scores.len());
    for parameter in &found.parameters {
        let wanted = scores[&parameter.name].as_f64().unwrap();
        let error = (parameter.score - wanted).abs();
        assert!(
            error < 1e-9 * wanted.max(1e-3),
            "{}: {} {wanted}",
            parameter.name,
            parameter.score
        );
        let share = reference["shares"][&parameter.name].as_f64().unwrap();
        assert!((parameter.share - share).abs() < 1e-9);
    }
    // What matters is told from what does not.
    let sure = |name: &str| {
        let p = found.parameters.iter().find(|p| p.name == name).unwrap();
        p.share > p.chance
    };
    assert!(sure("lr"));
    assert!(!sure("nothing"));
}

#[test]
fn one_parameter_decides() {
    let space = Space {
        parameters: vec![
            parameter("x", vec![branch(&[], float(0.0, 1.0, Scale::Linear, None))]),
            parameter("y", vec![branch(&[], float(0.0, 1.0, Scale::Linear, None))]),
        ],
    };
    let trials = (0..200).map(|i| {
        let (x, y) = (
            (f64::from(i) * 0.618_034).fract(),
            (f64::from(i) * 0.754_877).fract(),
        );
        (Config::from_iter([("x", x), ("y", y)]), (x - 0.3).abs())
    });
    let found = importance(&sample::completed(space, trials.collect())).unwrap();
    assert_eq!((found.trials, found.top), (200, 20));
    assert_eq!(found.parameters[0].name, "x");
    assert!(found.parameters[0].share > 0.9, "{found:?}");
    assert!(
        found.parameters[1].share < found.parameters[1].chance,
        "{found:?}"
    );
}

#[test]
fn little_is_said_of_little() {
    assert!(importance(&sample::empty()).is_none());
    assert!(importance(&sample::study()).is_none());
    // All alike: nothing tells the best from the others.
    let space = reference_space();
    let alike = (0..30).map(|_| (Config::from_iter([("optimizer", "sgd")]), 1.0));
    assert!(importance(&sample::completed(space, alike.collect())).is_none());
}
