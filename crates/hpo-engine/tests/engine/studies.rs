//! Every study file that ships comes to its end in the simulation.

use std::path::Path;

use hpo_engine::sim::{Script, Sim, Start};
use hpo_study::study_file::{Source, read};
use hpo_study::{Goal, StudyEnd, StudySpec, TrialState};

fn shipped() -> Vec<(String, StudySpec)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../studies");
    let mut studies = Vec::new();
    for entry in std::fs::read_dir(&directory).expect("studies/ ships") {
        let path = entry.expect("readable").path();
        if path.extension().is_some_and(|e| e == "yaml") {
            let file = path.display().to_string();
            let text = std::fs::read_to_string(&path).expect("readable");
            let checked = read(
                &text,
                &Source {
                    file: file.clone(),
                    directory: directory.clone(),
                },
            );
            let spec = checked
                .spec
                .unwrap_or_else(|| panic!("{file}: {:?}", checked.problems));
            studies.push((file, spec));
        }
    }
    assert!(!studies.is_empty());
    studies
}

#[test]
fn every_study_that_ships_comes_to_its_end() {
    for (file, spec) in shipped() {
        let (full, goal) = (spec.max_steps().unwrap_or(20), spec.metric.goal);
        let train = |start: &Start| {
            let quality = f64::from(start.seed % 997) / 997.0;
            let loss = |step: u64| quality + 1.0 / (1.0 + step as f64);
            Script::training(start, &spec.metric.name, full, |step| match goal {
                Goal::Minimize => loss(step),
                Goal::Maximize => 1.0 / (1.0 + loss(step)),
            })
        };
        for slots in [1, 2, 7] {
            let outcome = Sim::new(slots, train)
                .run(spec.clone())
                .expect("keeps its promises");
            let history = &outcome.history;
            assert!(
                history.trials().iter().all(|t| t.state.is_final()),
                "{file}"
            );
            assert!(history.best().is_some(), "{file}");
            match history.end() {
                Some(StudyEnd::RunCap) => {
                    assert_eq!(Some(history.trials().len() as u32), spec.run_cap, "{file}");
                }
                Some(StudyEnd::TimeCap | StudyEnd::SpaceExhausted) => {}
                other => panic!("{file}: {other:?}"),
            }
            let longest = history
                .trials()
                .iter()
                .filter(|t| t.state == TrialState::Completed);
            assert!(
                longest
                    .filter_map(|t| t.curve.last_step())
                    .all(|s| s == full),
                "{file}"
            );
        }
    }
}
