//! Requests of other terminals, one a line: each is refused, or granted by events that the study's
//! history takes and that read back as they were.
#![no_main]

use hpo_engine::Engine;
use hpo_study::control::Request;
use hpo_study::study_file::{self, Source};
use hpo_study::{Config, Event, EventKind, Timestamp, TrialId, Value};
use libfuzzer_sys::fuzz_target;

const STUDY: &str = "method: random\nmetric: {name: loss}\nrun_cap: 9\ncommand: [train, '${args}']\n\
    parameters:\n  lr: {min: 0.001, max: 1.0, distribution: log_uniform_values}\n  \
    kind: {values: [a, b]}\n  n: {when: {kind: a}, min: 1, max: 8}\n";

fn begun() -> Vec<Event> {
    let source = Source {
        file: "study.yaml".to_owned(),
        directory: "/studies".into(),
    };
    let spec = study_file::read(STUDY, &source).spec.unwrap();
    let config: Config = [("lr", Value::Float(0.1)), ("kind", "b".into())].into_iter().collect();
    let kinds = [
        EventKind::StudyOpened {
            spec: Box::new(spec),
            hpo_version: "0".to_owned(),
        },
        EventKind::TrialSuggested {
            trial: TrialId(0),
            config,
            bracket: 0,
            target: None,
        },
    ];
    let event = |kind| Event {
        at: Timestamp(1),
        kind,
    };
    kinds.into_iter().map(event).collect()
}

fuzz_target!(|bytes: &[u8]| {
    let mut log = begun();
    let mut engine = Engine::new(&log).unwrap();
    for line in bytes.split(|byte| *byte == b'\n').take(32) {
        let Ok(request) = Request::parse(line) else {
            continue;
        };
        let json = serde_json::to_vec(&request).unwrap();
        assert_eq!(Request::parse(&json).as_ref(), Ok(&request));
        let (events, _) = engine.ask(Timestamp(2), request).unwrap();
        for event in events {
            let json = serde_json::to_string(&event).unwrap();
            let back: Event = serde_json::from_str(&json).unwrap();
            assert_eq!(back, event);
            log.push(back);
        }
    }
    let replayed = Engine::new(&log).unwrap();
    assert_eq!(replayed.history().trials(), engine.history().trials());
});
