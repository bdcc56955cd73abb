//! The best are run again with fresh seeds: real processes, whose luck is their seed.

use std::fs;

use nix::sys::signal::Signal;
use serde_json::Value as Json;

use crate::bench::{Bench, shell_study, study_directory, wait_for};

/// `loss` is x and luck, up to 1, from the seed. While there is a file `slow` confirming runs wait.
const LUCKY: &str = r#"
for argument in "$@"; do case $argument in --x=*) x=${argument#--x=} ;; esac; done
if [ "$HPO_TRIAL" -ge 2000000000 ]; then
  while [ -e slow ]; do sleep 0.02; done
fi
luck=$((HPO_SEED % 1000))
echo "[hpo] {\"step\": 1, \"loss\": $(awk "BEGIN { printf \"%.9f\", $x + $luck / 1000 }")}"
"#;

const CONFIRM: &str =
    "run_cap: 12\nconfirm: {top: 4, seeds: 5}\ncpu: {max_parallel: 2}\nstop_grace: 1s";

/// What the runs told, without what differs from run to run.
fn told(bench: &Bench) -> Vec<String> {
    let runs = bench.json(&["trials", "--confirmations", "-f", "json"]);
    let runs = runs.as_array().unwrap().iter();
    runs.map(|run| {
        format!(
            "{} {} {} {}",
            run["trial"], run["confirms"], run["state"], run["value"]
        )
    })
    .collect()
}

fn mean(values: &Json) -> f64 {
    let values: Vec<f64> = values
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_f64().unwrap())
        .collect();
    values.iter().sum::<f64>() / values.len() as f64
}

/// Every configuration that was run again, with its mean, by what was said of the single runs.
fn means(bench: &Bench) -> Vec<(u64, f64)> {
    let status = bench.json(&["status", "-f", "json"]);
    let all = status["confirmed"].as_array().unwrap();
    all.iter()
        .map(|one| (one["trial"].as_u64().unwrap(), mean(&one["values"])))
        .collect()
}

#[test]
fn a_copy_of_a_study_is_confirmed_where_it_is() {
    let bench = Bench::new();
    shell_study(&bench, LUCKY, "run_cap: 2\ncpu: {max_parallel: 2}");
    assert_eq!(bench.run(&["run", "study.yaml"]).code, 0);
    let copied = std::process::Command::new("cp")
        .args(["-a", "runs/shell", "runs/copy"])
        .current_dir(bench.path())
        .status();
    assert!(copied.unwrap().success());
    let report = bench.read("runs/shell/report.html");
    let words = ["confirm", "runs/copy", "--top", "1", "--seeds", "2"];
    let ended = bench.run(&words);
    assert_eq!(ended.code, 0, "{ended:?}");
    for words in ["everything is in runs/copy", "-s runs/copy "] {
        assert!(ended.stdout.contains(words), "{words}: {ended:?}");
    }
    assert_eq!(bench.read("runs/shell/report.html"), report);
    assert_ne!(bench.read("runs/copy/report.html"), report);
}

#[test]
fn a_lucky_trial_does_not_win() {
    let bench = Bench::new();
    shell_study(&bench, LUCKY, CONFIRM);
    // With this seed the search has a lucky one.
    let study = bench.read("study.yaml");
    bench.write("study.yaml", &study.replace("seed: 3", "seed: 1"));
    let plan = bench.run(&["check", "study.yaml"]);
    assert!(
        plan.stdout.contains(
            "the 4 best configurations are each run 5 times more with fresh seeds: 20 runs at most"
        ),
        "{plan:?}"
    );
    let ended = bench.run(&["run", "study.yaml"]);
    assert_eq!(ended.code, 0, "{ended:?}");

    let best = bench.json(&["best", "-f", "json"]);
    let single = bench.json(&["best", "--single", "-f", "json"]);
    assert_ne!(best["trial"], single["trial"], "luck has won");
    assert!(single["value"].as_f64() < best["value"].as_f64());
    let confirmed = &best["confirmed"];
    assert_eq!(
        (&confirmed["won"], &confirmed["n"]),
        (&Json::Bool(true), &5.into())
    );
    let values: Vec<f64> = serde_json::from_value(confirmed["values"].clone()).unwrap();
    let m = mean(&confirmed["values"]);
    let spread = values.iter().map(|v| (v - m).powi(2)).sum::<f64>() / 4.0;
    let close = |a: &Json, b: f64| (a.as_f64().unwrap() - b).abs() < 1e-12;
    assert!(close(&confirmed["mean"], m));
    assert!(close(&confirmed["standard_error"], (spread / 5.0).sqrt()));
    let means = means(&bench);
    assert_eq!(means.len(), 4);
    assert!(means.iter().all(|(_, other)| *other >= m), "{means:?}");

    // All that looks says so.
    let won = format!("trial {} is confirmed", best["trial"]);
    let lucky = format!(
        "trial {} had the best single value, by luck",
        single["trial"]
    );
    let page = bench.run(&["status"]).stdout;
    for words in [&ended.stdout, &page] {
        assert!(words.contains(&won) && words.contains(&lucky), "{words}");
        assert!(words.contains("confirmed with fresh seeds"), "{words}");
    }
    let report = bench.read("runs/shell/report.html");
    assert!(report.contains(&won) && report.contains(&lucky));
    let yaml = bench.read("runs/shell/best.yaml");
    assert!(
        yaml.contains(&format!("# trial {} ", best["trial"])),
        "{yaml}"
    );
    assert!(
        yaml.contains("(standard error) over 5 fresh seeds"),
        "{yaml}"
    );
    let run = bench.run(&["trial", "c0"]);
    assert!(run.stdout.contains("again, with a fresh seed"), "{run:?}");
    assert_eq!(bench.run(&["logs", "c0"]).code, 0);
    assert_eq!(bench.run(&["trial", "c20"]).code, 2);
    // The search and its numbers are what they were.
    assert_eq!(bench.trials().len(), 12);
    assert_eq!(told(&bench).len(), 20);
}

#[test]
fn on_demand_it_is_the_same_and_nothing_is_done_twice() {
    let with = Bench::new();
    shell_study(
        &with,
        LUCKY,
        &CONFIRM.replace("max_parallel: 2", "max_parallel: 1"),
    );
    assert_eq!(with.run(&["run", "study.yaml"]).code, 0);
    let bench = Bench::new();
    shell_study(&bench, LUCKY, "run_cap: 12\ncpu: {max_parallel: 1}");
    assert_eq!(bench.run(&["confirm"]).code, 2, "there is no study yet");
    assert_eq!(bench.run(&["run", "study.yaml"]).code, 0);
    assert!(
        !bench
            .json(&["best", "-f", "json"])
            .as_object()
            .unwrap()
            .contains_key("confirmed")
    );
    let arguments = ["confirm", "--top", "4", "--seeds", "5"];
    let ended = bench.run(&arguments);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(told(&bench), told(&with));
    let again = bench.run(&arguments);
    assert_eq!(again.code, 0, "{again:?}");
    assert_eq!(
        told(&bench),
        told(&with),
        "what was run is not run once more"
    );
    // More seeds add to those that were made, and the search goes on later as if nothing had been.
    assert_eq!(
        bench.run(&["confirm", "--top", "4", "--seeds", "6"]).code,
        0
    );
    assert_eq!(told(&bench).len(), 24);
    shell_study(&bench, LUCKY, "run_cap: 13\ncpu: {max_parallel: 1}");
    assert_eq!(bench.run(&["run", "study.yaml"]).code, 0);
    assert_eq!(bench.trials().len(), 13);
}

#[test]
fn a_coordinator_that_is_killed_while_confirming_loses_and_doubles_nothing() {
    let calm = Bench::new();
    let one = CONFIRM.replace("max_parallel: 2", "max_parallel: 1");
    shell_study(&calm, LUCKY, &one);
    assert_eq!(calm.run(&["run", "study.yaml"]).code, 0);

    let bench = Bench::new();
    shell_study(&bench, LUCKY, &one);
    let slow = bench.path().join("slow");
    let directory = study_directory(&bench, "shell").join("trials");
    for run in [0, 3, 9] {
        fs::write(&slow, "").unwrap();
        let running = bench.start(&["run", "study.yaml"]);
        // One by one, until this one runs and waits.
        let record = directory.join(format!("c{run}/process.1.json"));
        wait_for("a confirming run", || {
            if record.exists() {
                return true;
            }
            fs::remove_file(&slow).ok();
            let before = fs::read_dir(&directory).map_or(0, Iterator::count);
            wait_for("another run", || {
                record.exists() || fs::read_dir(&directory).map_or(0, Iterator::count) > before
            });
            fs::write(&slow, "").unwrap();
            record.exists()
        });
        running.signal(Signal::SIGKILL);
        drop(running);
        fs::remove_file(&slow).ok();
    }
    let last = bench.run(&["run", "study.yaml"]);
    assert_eq!(last.code, 0, "{last:?}");
    assert_eq!(told(&bench), told(&calm));
    bench.wait_until_alone();
    // An attempt that was being started when the coordinator died may be lost; none has had two processes.
    let runs = bench.json(&["trials", "--confirmations", "-f", "json"]);
    for (run, record) in runs.as_array().unwrap().iter().enumerate() {
        let said = bench.read(&format!("runs/shell/trials/c{run}/stdout.log"));
        let attempts = record["attempts"].as_u64().unwrap();
        let processes = said.lines().count() as u64;
        assert!((1..=attempts).contains(&processes), "{record}: {said}");
    }
}

#[test]
fn ctrl_c_while_confirming_ends_the_session_and_the_same_command_goes_on() {
    let bench = Bench::new();
    shell_study(&bench, LUCKY, CONFIRM);
    let slow = bench.path().join("slow");
    fs::write(&slow, "").unwrap();
    let running = bench.start(&["run", "study.yaml"]);
    let directory = study_directory(&bench, "shell").join("trials");
    wait_for("two confirming runs", || {
        directory.join("c1/process.1.json").exists()
    });
    running.signal(Signal::SIGINT);
    wait_for("the drain", || {
        bench
            .read("words")
            .contains("the 2 running ones go on to the end")
    });
    fs::remove_file(&slow).unwrap();
    assert_eq!(running.code(), 3);
    assert_eq!(told(&bench).len(), 2, "no more were begun");
    let status = bench.run(&["status"]).stdout;
    assert!(
        status.contains("being confirmed; 18 fresh runs to begin"),
        "{status}"
    );
    assert_eq!(bench.run(&["run", "study.yaml"]).code, 0);
    assert_eq!(told(&bench).len(), 20);

    // Twice: the running ones are ended and put back.
    let bench = Bench::new();
    shell_study(&bench, LUCKY, CONFIRM);
    let slow = bench.path().join("slow");
    fs::write(&slow, "").unwrap();
    let running = bench.start(&["run", "study.yaml"]);
    let directory = study_directory(&bench, "shell").join("trials");
    wait_for("two confirming runs", || {
        directory.join("c1/process.1.json").exists()
    });
    running.signal(Signal::SIGTERM);
    assert_eq!(running.code(), 3);
    fs::remove_file(&slow).unwrap();
    assert_eq!(bench.run(&["run", "study.yaml"]).code, 0);
    assert_eq!(told(&bench).len(), 20);
    bench.wait_until_alone();
}
