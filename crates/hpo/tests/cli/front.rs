//! Studies with several objectives, from the study file to what is taken away.

use std::collections::BTreeMap;
use std::fs;

use nix::sys::signal::Signal;
use serde_json::Value as Json;

use crate::bench::{Bench, shell_study, study_directory, timeless, wait_for};

/// Loss x, cost 1 - x, or not if x is in the middle: there both are bad.
const SCRIPT: &str = r#"
for argument in "$@"; do case $argument in --x=*) x=${argument#--x=} ;; esac; done
sleep 0.05
awk -v x="$x" 'BEGIN {
  bad = (x > 0.4 && x < 0.6) ? 1 : 0
  printf "[hpo] {\"step\": 1, \"loss\": 9, \"cost\": 9}\n[hpo] {\"step\": 2, \"loss\": %f, \"cost\": %f}\n", x + bad, 1 - x + bad
}'
"#;

/// Puts two objectives of the program, and two that are measured, in place of the one.
fn several(bench: &Bench) {
    let path = bench.path().join("study.yaml");
    let text = fs::read_to_string(&path).unwrap();
    let line = text
        .lines()
        .find(|line| line.starts_with("metric:"))
        .unwrap()
        .to_owned();
    let list = "metric: [{name: hpo/seconds}, {name: loss}, {name: cost}, {name: hpo/memory_mib}]";
    fs::write(&path, text.replace(&line, list)).unwrap();
}

fn json(bench: &Bench, arguments: &[&str]) -> Json {
    let said = bench.run(arguments);
    assert_eq!(said.code, 0, "{said:?}");
    serde_json::from_str(&said.stdout).unwrap()
}

#[test]
fn the_front_is_found_shown_and_taken_away() {
    let bench = Bench::new();
    shell_study(&bench, SCRIPT, "run_cap: 12\ncpu: {max_parallel: 2}");
    several(&bench);
    let run = bench.run(&["run", "study.yaml"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(
        run.stdout.contains("trials that no other dominates"),
        "{}",
        run.stdout
    );
    assert!(run.stdout.contains("hpo best --trial N"), "{}", run.stdout);

    let front = json(&bench, &["best", "-f", "json"]);
    let names: Vec<&str> = front["objectives"]
        .as_array()
        .unwrap()
        .iter()
        .map(|o| o["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["loss", "hpo/seconds", "cost", "hpo/memory_mib"]);
    let members = front["front"].as_array().unwrap();
    assert!(members.len() > 1, "{front:#}");
    for member in members {
        let values = &member["values"];
        assert!(values["hpo/seconds"].as_f64().unwrap() >= 0.05, "{member}");
        assert!(values["hpo/memory_mib"].as_f64().unwrap() > 0.5, "{member}");
        assert!((values["loss"].as_f64().unwrap() + values["cost"].as_f64().unwrap()) > 0.99);
    }
    let one = members[0]["trial"].as_u64().unwrap().to_string();
    let compromise = front["compromise"].as_u64().unwrap();
    assert_eq!(
        json(&bench, &["status", "-f", "json"])["best"]["trial"],
        compromise
    );
    let confirm = bench.run(&["confirm"]);
    assert_eq!(confirm.code, 2, "{confirm:?}");
    assert!(confirm.stderr.contains("several objectives"), "{confirm:?}");
    let table = bench.run(&["best"]).stdout;
    assert!(
        table.contains("hpo/memory_mib") && table.contains("(*: the best compromise"),
        "{table}"
    );
    let picked = bench.run(&["best", "-f", "args", "--trial", &one]);
    assert!(
        picked.stdout.contains("--x=") && picked.stderr.is_empty(),
        "{picked:?}"
    );
    let unpicked = bench.run(&["best", "-f", "args"]);
    assert!(
        unpicked.stderr.contains("--trial N takes another one"),
        "{unpicked:?}"
    );
    let written = fs::read_to_string(study_directory(&bench, "shell").join("best.yaml")).unwrap();
    assert_eq!(written, bench.run(&["best", "-f", "yaml"]).stdout);
    assert!(written.contains("compromise: true"), "{written}");
    let best_first = json(&bench, &["trials", "--best", "-f", "json"]);
    let first = best_first[0]["trial"].as_u64().unwrap();
    assert!(members.iter().any(|m| m["trial"] == first));
    let header = bench.run(&["trials"]).stdout;
    assert!(
        header.contains("cost") && header.contains("hpo/seconds"),
        "{header}"
    );
    let report = json(&bench, &["report", "-f", "json"]);
    assert_eq!(
        report["sections"]["front"]["front"]
            .as_array()
            .unwrap()
            .len(),
        members.len()
    );
    assert!(report["sections"]["progress"].is_null());
}

#[test]
fn a_prior_is_heeded_and_trials_from_elsewhere_are_refused() {
    let bench = Bench::new();
    shell_study(
        &bench,
        SCRIPT,
        "run_cap: 3\ncpu: {max_parallel: 1}\nprior: {x: 0.25}",
    );
    several(&bench);
    bench.write("old.csv", "x,kind,loss\n0.5,a,1\n");
    let ended = bench.run(&["import", "study.yaml", "old.csv"]);
    assert_eq!(ended.code, 2, "{ended:?}");
    for words in ["has several objectives", "hpo enqueue --from"] {
        assert!(ended.stderr.contains(words), "{words}: {ended:?}");
    }
    let enqueued = bench.run(&["enqueue", "--from", "old.csv", "-s", "study.yaml"]);
    assert_eq!(enqueued.code, 0, "{enqueued:?}");
    let run = bench.run(&["run", "study.yaml"]);
    assert_eq!(run.code, 0, "{run:?}");
    let trials = bench.trials();
    assert_eq!(trials[0]["params"]["x"], 0.5, "what was enqueued");

    let other = Bench::new();
    shell_study(&other, SCRIPT, "run_cap: 1\nprior: {x: 0.25}");
    several(&other);
    assert_eq!(other.run(&["run", "study.yaml"]).code, 0);
    assert_eq!(other.trials()[0]["params"]["x"], 0.25, "what is believed");
}

#[test]
fn a_study_that_is_killed_again_and_again_finds_the_same_front() {
    let study = |bench: &Bench| {
        shell_study(bench, SCRIPT, "run_cap: 25\ncpu: {max_parallel: 1}");
        let path = bench.path().join("study.yaml");
        let text = fs::read_to_string(&path).unwrap();
        let method = text
            .lines()
            .find(|line| line.starts_with("method:"))
            .unwrap()
            .to_owned();
        let text = text.replace(&method, "method: nsga2");
        let line = text
            .lines()
            .find(|line| line.starts_with("metric:"))
            .unwrap()
            .to_owned();
        fs::write(
            &path,
            text.replace(&line, "metric: [{name: loss}, {name: cost}]"),
        )
        .unwrap();
    };
    let front = |bench: &Bench| json(bench, &["best", "-f", "json"])["front"].clone();
    let trials = |bench: &Bench| bench.trials().iter().map(timeless).collect::<Vec<_>>();
    let calm = Bench::new();
    study(&calm);
    assert_eq!(calm.run(&["run", "study.yaml"]).code, 0);

    let bench = Bench::new();
    study(&bench);
    let mut ended: BTreeMap<u64, Json> = BTreeMap::new();
    for kill in 1..=5 {
        let mut running = bench.start(&["run", "study.yaml"]);
        wait_for("some more trials", || {
            bench.run(&["status"]).code == 0 && bench.trials().len() >= 4 * kill
        });
        if running.ended().is_some() {
            break;
        }
        running.signal(Signal::SIGKILL);
        drop(running);
        for trial in bench.trials().iter().filter(|t| t["state"] == "completed") {
            let number = trial["trial"].as_u64().unwrap();
            assert_eq!(ended.entry(number).or_insert_with(|| trial.clone()), trial);
        }
    }
    assert_eq!(bench.run(&["run", "study.yaml"]).code, 0);
    assert_eq!(trials(&bench), trials(&calm));
    assert_eq!(front(&bench), front(&calm));
    bench.wait_until_alone();
}

#[test]
fn a_trial_without_one_of_the_objectives_has_failed_and_says_so() {
    let bench = Bench::new();
    let script = r#"echo '[hpo] {"step": 1, "loss": 1, "costs": 2}'"#;
    shell_study(&bench, script, "run_cap: 2");
    several(&bench);
    let run = bench.run(&["run", "study.yaml"]);
    assert_eq!(run.code, 1, "{run:?}");
    let trial = &bench.trials()[0];
    assert_eq!(
        (&trial["state"], &trial["reason"]),
        (&"failed".into(), &"no_metric".into())
    );
    let detail = trial["detail"].as_str().unwrap();
    assert!(
        detail.contains("never reported `cost`") && detail.contains("`costs`"),
        "{detail}"
    );
    let best = bench.run(&["best"]);
    assert_eq!(best.code, 1, "{best:?}");
}
