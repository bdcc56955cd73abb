//! Our draws have the distributions of W&B's: quantiles against those of its own code (`sweeps` 0.3.0, see
//! `reference/wandb_quantiles.py`).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "in a test, a panic is the report"
)]

use hpo_study::study_file::{self, Source};
use serde_json::Value as Json;

#[test]
fn quantiles_are_those_of_wandb() {
    let reference: Json =
        serde_json::from_str(include_str!("reference/wandb_quantiles.json")).unwrap();
    let points = reference["points"].as_array().unwrap();
    let rows = reference["rows"].as_array().unwrap();
    assert!(rows.len() >= 19 && points.len() >= 20);
    for row in rows {
        let parameter = &row["parameter"];
        // JSON is YAML.
        let text = format!(
            "program: t.py\nmethod: random\nrun_cap: 1\nmetric: {{name: loss}}\nparameters: {{x: {parameter}}}\n"
        );
        let source = Source {
            file: "s.yaml".into(),
            directory: "/".into(),
        };
        let checked = study_file::read(&text, &source);
        let spec = checked
            .spec
            .unwrap_or_else(|| panic!("{:?}", checked.problems));
        let domain = &spec.space.parameters[0].branches[0].domain;
        for (u, theirs) in points.iter().zip(row["values"].as_array().unwrap()) {
            let ours = domain.at(u.as_f64().unwrap());
            match theirs.as_f64() {
                Some(theirs) => {
                    let ours = ours.as_f64().unwrap();
                    let near = (ours - theirs).abs() <= 1e-9 * theirs.abs().max(1e-3);
                    assert!(near, "{parameter} at {u}: {ours}, not {theirs}");
                }
                None => assert_eq!(ours.as_str(), theirs.as_str(), "{parameter} at {u}"),
            }
        }
    }
}

#[test]
fn a_sweep_without_an_end_of_its_own_is_read_with_a_warning() {
    let text = "program: t.py\nmethod: random\nmetric: {name: loss, goal: minimize}\nparameters: {x: {min: 0.1, max: 0.2}}\n";
    let source = Source {
        file: "s.yaml".into(),
        directory: "/".into(),
    };
    let checked = study_file::read(text, &source);
    let spec = checked.spec.unwrap();
    assert!(spec.run_cap.is_none() && spec.time_cap.is_none());
    let said: Vec<String> = checked.problems.iter().map(|p| format!("{p:?}")).collect();
    assert!(
        said.len() == 1 && said[0].contains("goes on until it is stopped"),
        "{said:?}"
    );
}
