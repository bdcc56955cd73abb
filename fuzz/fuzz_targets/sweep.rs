//! Sweep files, put together from their words so that more than YAML is tried: a line is a parameter, `name key value key value …`,
//! or a key of the study, `: key value`. Every domain of a study that is accepted contains what it gives, every sampler stays in
//! the space, and the plan can be shown.
#![no_main]

use hpo_engine::{Engine, Input, Inventory};
use hpo_study::plan::plan;
use hpo_study::study_file::{self, Source};
use hpo_study::{Event, EventKind, Timestamp};
use libfuzzer_sys::fuzz_target;

fn study(text: &str) -> String {
    let mut head = "program: train.py\nmetric: {name: loss}\n".to_owned();
    let mut parameters = "parameters:\n".to_owned();
    for line in text.lines() {
        if let Some(entry) = line.strip_prefix(": ") {
            let (key, value) = entry.split_once(' ').unwrap_or((entry, ""));
            head += &format!("{key}: {value}\n");
            continue;
        }
        let mut words = line.split_ascii_whitespace();
        let Some(name) = words.next() else { continue };
        let mut keys = Vec::new();
        while let (Some(key), Some(value)) = (words.next(), words.next()) {
            keys.push(format!("{key}: {value}"));
        }
        parameters += &format!("  {name}: {{{}}}\n", keys.join(", "));
    }
    head + &parameters
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let source = Source {
        file: "sweep.yaml".to_owned(),
        directory: "/studies".into(),
    };
    let text = study(text);
    let checked = study_file::read(&text, &source);
    let Some(spec) = checked.spec else {
        assert!(!checked.problems.is_empty());
        return;
    };
    let json = serde_json::to_string(&spec).unwrap();
    assert_eq!(serde_json::from_str::<hpo_study::StudySpec>(&json).unwrap(), spec, "{text}");
    for parameter in &spec.space.parameters {
        for branch in &parameter.branches {
            for u in [0.0, 1e-9, 0.25, 0.5, 0.999, 1.0] {
                let value = branch.domain.at(u);
                assert!(branch.domain.contains(&value), "{text}\n{u}: {value:?} {:?}", branch.domain);
            }
        }
    }
    let _ = plan(&spec);
    let opened = Event {
        at: Timestamp(1),
        kind: EventKind::StudyOpened {
            spec: Box::new(spec),
            hpo_version: "0".to_owned(),
        },
    };
    let mut engine = Engine::new(&[opened]).unwrap();
    engine.begin_session(Timestamp(2), 1, "host").unwrap();
    engine.step(Timestamp(3), &Inventory::slots(4), vec![Input::Tick]).unwrap();
    let history = engine.history();
    for trial in history.trials() {
        let space = &history.spec().space;
        assert_eq!(space.check(&trial.config), Ok(()), "{text}");
    }
});
