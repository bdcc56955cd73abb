//! What programs answer to `--help`, with what they printed behind a line `===`: whatever it is, the study file that
//! `hpo init` proposes is one, and asks for nothing but what the help has.
#![no_main]

use hpo_study::proposal::{Wish, options, propose};
use hpo_study::study_file::{self, Source};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let (help, log) = match text.split_once("\n===\n") {
        Some((help, log)) => (help, Some(log.as_bytes())),
        None => (text.as_ref(), None),
    };
    for program in ["train.py", "./train it.sh"] {
        let wish = Wish {
            program,
            help,
            log,
            source: None,
        };
        let Some(proposal) = propose(&wish) else {
            assert!(options(help).is_empty());
            return;
        };
        let source = Source {
            file: "study.yaml".to_owned(),
            directory: "/studies".into(),
        };
        let checked = study_file::read(&proposal.text, &source);
        assert!(checked.spec.is_some(), "{:?}\n{}", checked.problems, proposal.text);
    }
});
