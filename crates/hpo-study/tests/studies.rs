//! Every file in `studies/`, and every example in `docs/study-file.md`, is a study without errors.

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
    assert!(found >= 1, "{found} studies");
}
