//! Two coordinators, and Ctrl-C.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value as Json;

use crate::bench::{Bench, Running, count, shell_study, study_directory, wait_for};

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

fn ask(bench: &Bench, arguments: &[&str]) -> (i32, String) {
    let ended = bench.run(arguments);
    (ended.code, ended.stderr)
}

#[test]
fn a_running_study_is_steered_from_another_terminal() {
    let bench = Bench::new();
    let running = waiting(&bench);
    for wrong in [
        ["enqueue", "xx=0.5"],
        ["enqueue", "x=7"],
        ["set", "0"],
        ["set", "-ftext"],
        ["stop", "99"],
        ["set", "--run-cap=0"],
    ] {
        assert_eq!(ask(&bench, &wrong).0, 2, "{wrong:?}");
    }
    let (_, words) = ask(&bench, &["enqueue", "kinds=a"]);
    assert!(words.contains("did you mean `kind`?"), "{words}");
    assert_eq!(ask(&bench, &["pause"]).0, 0);
    assert_eq!(ask(&bench, &["enqueue", "x=0.125", "kind=b"]).0, 0);
    assert_eq!(ask(&bench, &["set", "0", "x=0.75"]).0, 0);
    let told = study_directory(&bench, "shell").join("trials/0/control.json");
    assert_eq!(fs::read_to_string(told).unwrap(), r#"{"x":0.75}"#);
    assert_eq!(ask(&bench, &["set", "--run-cap", "3"]).0, 0);
    assert_eq!(ask(&bench, &["stop", "0"]).0, 0);
    wait_for("the end of trial 0", || {
        bench.trials()[0]["state"] == "stopped"
    });
    assert_eq!(
        bench.trials().len(),
        1,
        "nothing is started while it is paused"
    );
    fs::write(bench.path().join("go"), "").unwrap();
    assert_eq!(ask(&bench, &["resume"]).0, 0);
    assert_eq!(running.code(), 0);
    let trials = bench.trials();
    assert_eq!(trials.len(), 3, "{trials:#?}");
    assert_eq!(trials[0]["reason"], "user");
    assert_eq!(trials[0]["params"]["x"], 0.75);
    assert_eq!(trials[1]["params"]["x"], 0.125);
    assert_eq!(trials[1]["params"]["kind"], "b");
    bench.wait_until_alone();
    // The file still says 4; it was not changed, so what was set stays.
    let again = bench.run(&["run", "study.yaml"]);
    assert_eq!((again.code, bench.trials().len()), (0, 3), "{again:?}");
    // With nobody at work, wishes wait for the next run.
    let ran = || bench.json(&["status", "-f", "json"])["elapsed_s"].clone();
    let before = ran();
    assert_eq!(ask(&bench, &["pause"]).0, 2);
    assert_eq!(ask(&bench, &["set", "--run-cap", "5"]).0, 0);
    assert_eq!(ask(&bench, &["enqueue", "x=0.625"]).0, 0);
    assert_eq!(ran(), before, "the time until then is not the study's");
    assert_eq!(bench.run(&["run", "study.yaml"]).code, 0);
    let trials = bench.trials();
    assert_eq!((trials.len(), count(&trials, "completed")), (5, 4));
    assert_eq!(trials[3]["params"]["x"], 0.625);
}

#[test]
fn a_trial_that_outlived_its_hpo_is_told_what_was_set_meanwhile() {
    let bench = Bench::new();
    let running = waiting(&bench);
    let told = study_directory(&bench, "shell").join("trials/0/control.json");
    let told = || fs::read_to_string(&told).unwrap_or_default();
    assert_eq!(ask(&bench, &["set", "0", "kind=b"]).0, 0);
    drop(running);
    assert_eq!(ask(&bench, &["set", "0", "x=0.75"]).0, 0);
    let running = bench.start(&["run", "study.yaml"]);
    wait_for("the trial to be told", || told().contains("x"));
    assert_eq!(told(), r#"{"kind":"b","x":0.75}"#);
    assert_eq!(ask(&bench, &["set", "0", "x=0.5"]).0, 0);
    assert_eq!(told(), r#"{"kind":"b","x":0.5}"#);
    fs::write(bench.path().join("go"), "").unwrap();
    assert_eq!(running.code(), 0);
    let first = &bench.trials()[0];
    assert_eq!(first["attempts"], 1, "{first}");
    assert_eq!(first["params"]["x"], 0.5, "{first}");
}

#[test]
fn what_is_asked_of_an_hpo_that_ends_is_done_without_it() {
    let bench = Bench::new();
    let running = waiting(&bench);
    running.signal(Signal::SIGSTOP);
    let asking = bench.start(&["enqueue", "x=0.25", "kind=a"]);
    let control = study_directory(&bench, "shell").join("control");
    wait_for("the request", || {
        let entries = fs::read_dir(&control).into_iter().flatten().flatten();
        let mut names = entries.map(|entry| entry.file_name().into_string().unwrap());
        names.any(|name| name.ends_with(".ask"))
    });
    let begun = Instant::now();
    running.signal(Signal::SIGKILL);
    assert_eq!(asking.code(), 0, "{}", bench.read("words"));
    assert!(begun.elapsed() < Duration::from_secs(10));
    drop(running);
    go_on_and_finish(&bench);
    assert_eq!(bench.trials()[1]["params"]["x"], 0.25);
}

#[test]
fn cancel_ends_it_now_even_when_nobody_is_at_work() {
    let bench = Bench::new();
    let running = waiting(&bench);
    assert_eq!(ask(&bench, &["cancel"]).0, 0);
    assert_eq!(running.code(), 3);
    bench.wait_until_alone();
    assert_eq!(bench.trials()[0]["state"], "queued");
    assert_eq!(ask(&bench, &["cancel"]).0, 2);
    let running = bench.start(&["run", "study.yaml"]);
    wait_for("the second attempt", || bench.trials()[0]["attempts"] == 2);
    wait_for("its process", || {
        study_directory(&bench, "shell")
            .join("trials/0/process.2.json")
            .exists()
    });
    running.signal(Signal::SIGKILL);
    drop(running);
    assert_eq!(ask(&bench, &["cancel"]).0, 0);
    bench.wait_until_alone();
    go_on_and_finish(&bench);
}

#[test]
fn a_paused_trial_waits_and_goes_on() {
    let bench = Bench::new();
    let running = waiting(&bench);
    assert_eq!(ask(&bench, &["pause", "0"]).0, 0);
    wait_for("the next trial", || bench.trials().len() == 2);
    fs::write(bench.path().join("go"), "").unwrap();
    // All others end; with one that waits for a user the study is not over.
    assert_eq!(running.code(), 3);
    let trials = bench.trials();
    assert_eq!(
        (trials.len(), count(&trials, "completed")),
        (4, 3),
        "{trials:#?}"
    );
    assert_eq!(trials[0]["state"], "queued");
    assert_eq!(ask(&bench, &["resume", "0"]).0, 0);
    go_on_and_finish(&bench);
}

#[test]
fn a_command_is_told_of_the_end() {
    let bench = Bench::new();
    let more = "run_cap: 2\nnotify: {on: [done, new_best], new_best_interval: 0, command: [sh, tell.sh, \"${event}\", \"${study}\"]}";
    shell_study(&bench, "echo '[hpo] {\"step\": 1, \"loss\": 0.5}'", more);
    bench.write("tell.sh", "cat > \"told.$1.$2\"\n");
    assert_eq!(bench.run(&["run", "study.yaml"]).code, 0);
    let json: Json = serde_json::from_str(&bench.read("told.done.shell")).unwrap();
    assert_eq!(
        (&json["event"], &json["value"]),
        (&"done".into(), &0.5.into())
    );
    assert!(bench.read("told.new_best.shell").contains("\"trial\":0"));
}
