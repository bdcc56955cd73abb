//! A study file of any bytes: no panic, every problem at a place in the text, and a study that was
//! accepted survives being written to the database and read back.
#![no_main]

use hpo_study::StudySpec;
use hpo_study::study_file::{self, Severity, Source};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // The program refuses what is no UTF-8 before it reads anything else.
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let source = Source {
        file: "study.yaml".to_owned(),
        directory: "/studies".into(),
    };
    let checked = study_file::read(text, &source);
    let mut errors = 0;
    for problem in &checked.problems {
        errors += usize::from(problem.severity == Severity::Error);
        let span = problem.span;
        assert!(span.line >= 1 && span.column >= 1, "{problem:?}");
        assert!(span.line <= text.lines().count() + 1, "{problem:?}");
        assert!(!problem.message.is_empty(), "{problem:?}");
        let shown = problem.render("study.yaml", text);
        let strange = |c: char| c.is_control() && c != '\n';
        assert!(!shown.contains(strange), "{shown:?}");
    }
    assert_eq!(checked.spec.is_none(), errors > 0, "{:?}", checked.problems);
    assert_eq!(checked, study_file::read(text, &source), "reading is a function");
    let Some(spec) = checked.spec else { return };
    let json = serde_json::to_string(&spec).unwrap();
    let back: StudySpec = serde_json::from_str(&json).unwrap();
    assert_eq!(back, spec);
    let _ = study_file::write::parameters(&spec.space);
});
