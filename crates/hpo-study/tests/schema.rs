//! The JSON Schema agrees with the reader: what ships is valid, what is broken in shape is not.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "in a test, a panic is the report"
)]

use std::path::Path;

use hpo_study::schema::json_schema;

fn instance(text: &str) -> serde_json::Value {
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(text, options).unwrap()
}

fn validator() -> jsonschema::Validator {
    jsonschema::draft202012::new(&json_schema()).unwrap()
}

#[test]
fn every_study_that_ships_is_valid() {
    let validator = validator();
    let studies = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../studies");
    let mut seen = 0;
    for entry in std::fs::read_dir(studies).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "yaml") {
            let json = instance(&std::fs::read_to_string(&path).unwrap());
            let errors: Vec<String> = validator
                .iter_errors(&json)
                .map(|e| format!("{}: {e}", e.instance_path))
                .collect();
            assert!(errors.is_empty(), "{}: {errors:?}", path.display());
            seen += 1;
        }
    }
    assert!(seen >= 5, "{seen}");
}

#[test]
fn sound_texts_are_valid_and_broken_ones_are_not() {
    let validator = validator();
    let good = "program: t.py\nmethod: random\nmetric: {name: loss}\nrun_cap: 3\n";
    for more in [
        "parameters: {a: 1, b: text, c: true, d: {value: null}, e: {values: [[1, 2], x]}}",
        "parameters: {a: [{when: {b: [1, 2]}, min: 1, max: 2.5}], b: {values: [1, 2, 3]}}",
        "time_cap: 1h30m\nstop_grace: 2.5",
        "recipe: {optimizers: all, schedules: [cosine, onecycle], warmup: true}",
        "early_terminate: {type: hyperband, max_iter: 27, s: 2, strict: true}",
        "command: [python, -m, x, 3]\nproject: p",
        "cpu: {max_parallel: 2}\nfailure: {crash_retries: 0}",
    ] {
        let json = instance(&format!("{good}{more}\n"));
        assert!(
            validator.is_valid(&json),
            "{more}: {:?}",
            validator.validate(&json).err()
        );
    }
    for more in [
        "rum_cap: 3",
        "parameters: {a: {vals: [1]}}",
        "parameters: {a: {min: '1', max: 2}}",
        "parameters: {a: [1, 2]}",
        "parameters: {a: {min: 1, max: 2, distribution: gaussian}}",
        "time_cap: -3",
        "time_cap: soon",
        "recipe: {optimizers: [lion]}",
        "recipe: {warmup: yes}",
        "early_terminate: {type: bohb}",
        "early_terminate: {type: asha, eta: 1}",
        "command: 3",
        "metrics: {val_loss: {format: kers}}",
        "cpu: {max_parallel: 0}",
        "name: ''",
        "trainer: {model: mlp, dataset: digits, epochs: 3}",
        "version: 2",
        "seed: 1.5",
    ] {
        assert!(
            !validator.is_valid(&instance(&format!("{good}{more}\n"))),
            "{more}"
        );
    }
    for text in [
        "method: cma-es\nprogram: t.py\nmetric: {name: loss}",
        "method: random\nmetric: {name: loss}",
        "method: random\nprogram: t.py",
        "method: random\nprogram: t.py\nmetric: {goal: minimize}",
        "method: random\nmetric: {name: x}\ntrainer: {model: mlp, dataset: {csv: a.csv}, epochs: 3}",
        "[]",
    ] {
        assert!(!validator.is_valid(&instance(text)), "{text}");
    }
}
