//! Ranges in the words of Hydra, Optuna and Ray Tune: a line each, as the text of a parameter. It is a constant, or a
//! domain that contains what it gives, or an error at its place.
#![no_main]

use hpo_study::space::Domain;
use hpo_study::study_file::{self, Source};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let source = Source {
        file: "study.yaml".to_owned(),
        directory: "/studies".into(),
    };
    for line in text.lines().take(16) {
        // JSON's texts are YAML's.
        let quoted = serde_json::to_string(line).unwrap();
        let study = format!(
            "program: t.py\nmethod: random\nrun_cap: 4\nmetric: {{name: loss}}\nparameters:\n  x: {quoted}\n"
        );
        let checked = study_file::read(&study, &source);
        let Some(spec) = checked.spec else {
            assert!(!checked.problems.is_empty());
            for problem in &checked.problems {
                let _ = problem.render("study.yaml", &study);
            }
            continue;
        };
        let domain = &spec.space.parameters[0].branches[0].domain;
        if let Domain::Constant(value) = domain {
            // A range of one point may be one; whatever is no call stays what it was.
            assert!(line.contains('(') || value.as_str() == Some(line), "{line:?} {value:?}");
        }
        for u in [0.0, 1e-9, 0.25, 0.5, 0.999, 1.0] {
            let value = domain.at(u);
            assert!(domain.contains(&value), "{line:?} at {u} gives {value:?}, not of {domain:?}");
            let back = domain.unit(&value).unwrap();
            assert!((0.0..=1.0).contains(&back), "{line:?} at {u}: {back}");
        }
    }
});
