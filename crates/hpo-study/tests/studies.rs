//! Every file in `studies/`, and every example in `docs/study-file.md`, is a study without errors.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "in a test, a panic is the report"
)]

use std::path::{Path, PathBuf};

use hpo_study::study_file::{self, Severity, Source};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn problems_of(file: &str, text: &str) -> String {
    let source = Source {
        file: file.to_owned(),
        directory: root().join("studies"),
    };
    let checked = study_file::read(text, &source);
    assert_eq!(
        checked.spec.is_none(),
        checked
            .problems
            .iter()
            .any(|p| p.severity == Severity::Error)
    );
    checked
        .problems
        .iter()
        .map(|p| p.render(file, text))
        .collect()
}

#[test]
fn every_study_that_ships_is_clean() {
    let mut found = 0;
    for entry in std::fs::read_dir(root().join("studies")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "yaml") {
            found += 1;
            let text = std::fs::read_to_string(&path).unwrap();
            let problems = problems_of(&path.display().to_string(), &text);
            assert!(problems.is_empty(), "{problems}");
        }
    }
    assert!(found >= 5, "{found} studies");
}

#[test]
fn every_example_of_the_documentation_is_clean() {
    let text = std::fs::read_to_string(root().join("docs/study-file.md")).unwrap();
    let examples: Vec<&str> = text
        .split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert!(examples.len() >= 8, "{} examples", examples.len());
    for example in examples {
        let problems = problems_of("docs/study-file.md", example);
        assert!(problems.is_empty(), "{problems}");
    }
}

#[test]
fn the_documentation_names_every_key() {
    let text = std::fs::read_to_string(root().join("docs/study-file.md")).unwrap();
    let mut keys = Vec::new();
    collect_names(&hpo_study::schema::json_schema(), &mut keys);
    assert!(keys.len() > 60, "{}", keys.len());
    for key in keys {
        let quoted = [format!("`{key}`"), format!(".{key}`"), format!("`{key}:")];
        assert!(
            quoted.iter().any(|q| text.contains(q.as_str())),
            "`{key}` is not documented"
        );
    }
}

/// Every key and every word of the schema.
fn collect_names(schema: &serde_json::Value, names: &mut Vec<String>) {
    if let Some(properties) = schema.get("properties").and_then(|p| p.as_object()) {
        names.extend(properties.keys().cloned());
    }
    if let Some(word) = schema.get("const").and_then(|c| c.as_str()) {
        names.push(word.to_owned());
    }
    match schema {
        serde_json::Value::Object(object) => object.values().for_each(|v| collect_names(v, names)),
        serde_json::Value::Array(items) => items.iter().for_each(|v| collect_names(v, names)),
        _ => {}
    }
}

#[test]
fn the_first_study_keeps_what_the_readme_promises() {
    let text = std::fs::read_to_string(root().join("studies/digits.yaml")).unwrap();
    let source = Source {
        file: "digits.yaml".into(),
        directory: root().join("studies"),
    };
    let spec = study_file::read(&text, &source).spec.unwrap();
    let count = |name: &str| {
        let parameter = spec.space.parameter(name).unwrap();
        parameter.branches[0].domain.cardinality().unwrap()
    };
    assert!(spec.run_cap.unwrap() >= 40);
    assert!(count("optimizer") >= 6 && count("schedule") >= 5);
    for knob in ["lr", "momentum", "beta1"] {
        assert!(
            spec.space.parameter(knob).is_some(),
            "{knob} is not searched"
        );
    }
}
