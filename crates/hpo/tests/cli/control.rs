//! Two coordinators, and Ctrl-C.

use std::fs;

use nix::sys::signal::Signal;
use serde_json::Value as Json;

use crate::bench::{Bench, Running, count, shell_study, wait_for};

/// A trial that reports once and then waits for the file `go` beside it.
const WAITING: &str = r#"
echo "[hpo] {\"step\": 1, \"loss\": 0.5}"
sleep 1000 & child=$!
while [ ! -e go ]; do sleep 0.02; done
kill $child
"#;

/// A study of four waiting trials, one at a time, the first of which has reported.
fn waiting(bench: &Bench) -> Running {
    shell_study(
        bench,
        WAITING,
        "run_cap: 4\ncpu: {max_parallel: 1}\nstop_grace: 1s",
    );
    let running = bench.start(&["run", "study.yaml"]);
    wait_for("the first report", || {
        let status = bench.run(&["status", "-f", "json"]);
        let json: Json = serde_json::from_str(&status.stdout).unwrap_or_default();
        json["running"][0]["step"] == 1
    });
    running
}

fn go_on_and_finish(bench: &Bench) {
    fs::write(bench.path().join("go"), "").unwrap();
    let ended = bench.run(&["run", "study.yaml"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let trials = bench.trials();
    assert_eq!(
        (trials.len(), count(&trials, "completed")),
        (4, 4),
        "{trials:#?}"
    );
    bench.wait_until_alone();
}

#[test]
fn a_study_that_runs_is_not_run_twice() {
    let bench = Bench::new();
    let running = waiting(&bench);
    let status = bench.json(&["status", "-f", "json"]);
    assert_eq!(
        (&status["state"], &status["pid"]),
        (&"running".into(), &running.pid().into())
    );
    let before = bench.trials().len();
    let second = bench.run(&["run", "study.yaml"]);
    assert_eq!(second.code, 4, "{second:?}");
    assert!(
        second.stderr.contains(&running.pid().to_string()),
        "{second:?}"
    );
    assert!(second.stderr.contains("hpo status"), "{second:?}");
    assert_eq!(bench.trials().len(), before);
    fs::write(bench.path().join("go"), "").unwrap();
    assert_eq!(running.code(), 0);
    assert_eq!(count(&bench.trials(), "completed"), 4);
    assert_eq!(bench.json(&["status", "-f", "json"])["state"], "ended");
    bench.wait_until_alone();
}

#[test]
fn ctrl_c_once_lets_running_trials_end() {
    let bench = Bench::new();
    let running = waiting(&bench);
    running.signal(Signal::SIGINT);
    wait_for("the draining to be told", || {
        bench.read("words").contains("no new trials")
    });
    fs::write(bench.path().join("go"), "").unwrap();
    assert_eq!(running.code(), 3);
    assert!(bench.read("words").contains("the same command goes on"));
    let trials = bench.trials();
    assert_eq!(
        (trials.len(), count(&trials, "completed")),
        (1, 1),
        "{trials:#?}"
    );
    assert_eq!(
        bench.json(&["status", "-f", "json"])["state"],
        "interrupted"
    );
    bench.wait_until_alone();
    go_on_and_finish(&bench);
}

#[test]
fn ctrl_c_twice_ends_running_trials_which_go_on_later() {
    let bench = Bench::new();
    let running = waiting(&bench);
    running.signal(Signal::SIGINT);
    wait_for("the draining to be told", || {
        bench.read("words").contains("no new trials")
    });
    running.signal(Signal::SIGINT);
    assert_eq!(running.code(), 3);
    bench.wait_until_alone();
    let trials = bench.trials();
    assert_eq!(
        (trials.len(), count(&trials, "queued")),
        (1, 1),
        "{trials:#?}"
    );
    go_on_and_finish(&bench);
    assert_eq!(bench.trials()[0]["attempts"], 2);
}
