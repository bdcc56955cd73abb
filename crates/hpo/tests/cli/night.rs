//! More of what nights bring: Ctrl-Z, directories that vanish or cannot be written any more, checkpoints without end, lines
//! without end.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, geteuid};
use serde_json::Value as Json;

use crate::bench::{Bench, count, shell_study, study_directory, wait_for};

const ONE: &str = "cpu: {max_parallel: 1}\nstop_grace: 1s\n";

/// Waits until trial 0 has come to a step.
fn wait_for_step(bench: &Bench, step: u64) {
    wait_for("a report", || {
        let status = bench.run(&["status", "-f", "json"]);
        let json: Json = serde_json::from_str(&status.stdout).unwrap_or_default();
        json["running"][0]["step"].as_u64() >= Some(step)
    });
}

/// A line of `/proc/<pid>/status`.
fn proc_status(pid: u32, name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_default().trim().to_owned()
}

#[test]
fn after_ctrl_z_and_fg_no_trial_was_silent() {
    let bench = Bench::new();
    let script = "i=0\nwhile [ ! -e go ]; do\n  i=$((i + 1))\n\
                  echo \"{\\\"step\\\": $i, \\\"loss\\\": 0.5}\" >> \"$HPO_METRICS_FILE\"\n  sleep 0.1\ndone\n";
    let more = format!("{ONE}run_cap: 1\nfailure: {{stall_timeout: 1s}}");
    shell_study(&bench, script, &more);
    let words = fs::File::create(bench.path().join("words")).unwrap();
    // A job of its own, as a shell makes it; the terminal sends the signal to all of it.
    let mut running = bench
        .hpo(&["run", "study.yaml"])
        .process_group(0)
        .stdout(Stdio::null())
        .stderr(words)
        .spawn()
        .unwrap();
    let job = Pid::from_raw(running.id().cast_signed());
    wait_for_step(&bench, 2);
    killpg(job, Signal::SIGTSTP).unwrap();
    wait_for("hpo to stop", || {
        proc_status(running.id(), "State:").starts_with('T')
    });
    // Trials go on; much longer than they may be silent.
    let reported = || {
        let metrics = study_directory(&bench, "shell").join("trials/0/metrics.jsonl");
        fs::read_to_string(metrics)
            .unwrap_or_default()
            .lines()
            .count()
    };
    let before = reported();
    wait_for("reports of three seconds", || reported() > before + 30);
    killpg(job, Signal::SIGCONT).unwrap();
    wait_for_step(&bench, before as u64 + 30);
    fs::write(bench.path().join("go"), "").unwrap();
    assert_eq!(running.wait().unwrap().code(), Some(0));
    let trial = bench.json(&["trial", "0", "-f", "json"]);
    assert_eq!(trial["attempts"], 1, "{}", bench.read("words"));
    let steps = trial["curve"]["steps"].as_array().unwrap();
    assert_eq!(steps.len(), reported(), "nothing was missed");
    assert!(!bench.read("words").contains("silent"));
    bench.wait_until_alone();
}

#[test]
fn a_trial_whose_directory_vanishes_is_tried_again_in_a_new_one() {
    let bench = Bench::new();
    let script = "say() { echo \"[hpo] {\\\"step\\\": $1, \\\"loss\\\": 0.$1}\"; }\n\
                  say 1; say 2\n\
                  if [ $HPO_ATTEMPT = 1 ]; then\n\
                    while [ ! -e go ]; do sleep 0.02; done\n\
                    rm -rf \"$HPO_TRIAL_DIR\"; echo x > \"$HPO_CHECKPOINT_DIR/state\" || exit 7\n\
                  fi\nsay 3; echo x > \"$HPO_CHECKPOINT_DIR/state\"\n";
    shell_study(&bench, script, &format!("{ONE}run_cap: 2"));
    let running = bench.start(&["run", "study.yaml"]);
    wait_for_step(&bench, 2);
    fs::write(bench.path().join("go"), "").unwrap();
    assert_eq!(running.code(), 0, "{}", bench.read("words"));
    let trials = bench.trials();
    assert_eq!(count(&trials, "completed"), 2, "{trials:#?}");
    let trial = bench.json(&["trial", "0", "-f", "json"]);
    assert_eq!(trial["attempts"], 2);
    assert_eq!(trial["curve"]["steps"], serde_json::json!([1, 2, 3]));
    assert_eq!(trial["curve"]["value"], serde_json::json!([0.1, 0.2, 0.3]));
    bench.wait_until_alone();
}

/// The program as somebody whom permissions hold back, which root is not. `None` where that cannot be done.
fn unprivileged(bench: &Bench) -> Option<impl Fn(&[&str]) -> Command> {
    const SOMEBODY: u32 = 1000;
    let root = geteuid().is_root();
    if root {
        for path in [
            bench.path().to_owned(),
            bench.path().join("trial.sh"),
            bench.path().join("study.yaml"),
        ] {
            chown(path, Some(SOMEBODY), Some(SOMEBODY)).unwrap();
        }
    }
    let directory = bench.path().to_owned();
    let start = move |arguments: &[&str]| {
        let program = env!("CARGO_BIN_EXE_hpo");
        let mut command = if root {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=1000", "--regid=1000", "--clear-groups", program]);
            command
        } else {
            Command::new(program)
        };
        command
            .args(arguments)
            .current_dir(&directory)
            .stdin(Stdio::null());
        command
    };
    if start(&["--version"])
        .output()
        .is_ok_and(|output| output.status.success())
    {
        return Some(start);
    }
    assert!(
        std::env::var_os("HPO_TEST_REQUIRE_ALL").is_none(),
        "root must be able to become somebody else (setpriv), who can run the program"
    );
    eprintln!("skipped: no setpriv, or the program cannot be run by others");
    None
}

#[test]
fn a_study_that_others_may_not_look_into_is_not_said_to_be_absent() {
    let bench = Bench::new();
    let script = "echo '[hpo] {\"step\": 1, \"loss\": 0.5}'\n";
    shell_study(&bench, script, &format!("{ONE}run_cap: 1"));
    assert_eq!(bench.run(&["run", "study.yaml"]).code, 0);
    let Some(hpo) = unprivileged(&bench) else {
        return;
    };
    let study = study_directory(&bench, "shell");
    let (open, shut) = (0o700, 0o000);
    let close = |mode| fs::set_permissions(&study, fs::Permissions::from_mode(mode)).unwrap();
    close(shut);
    for arguments in [
        &["status"][..],
        &["status", "shell"],
        &["best", "study.yaml"],
        &["trials", "runs/shell"],
        &["stop", "-s", "shell"],
        &["prune-runs"],
    ] {
        let output = hpo(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{arguments:?}: {said}");
        assert!(
            said.contains("runs/shell cannot be read: Permission denied"),
            "{said}"
        );
    }
    close(open);
}

#[test]
fn who_may_only_look_is_told_what_cannot_be_done_and_what_can() {
    let bench = Bench::new();
    let script = "echo '[hpo] {\"step\": 1, \"loss\": 0.5}'\n";
    shell_study(&bench, script, &format!("{ONE}run_cap: 1"));
    let Some(hpo) = unprivileged(&bench) else {
        return;
    };
    assert_eq!(
        hpo(&["run", "study.yaml"]).status().unwrap().code(),
        Some(0)
    );
    let study = study_directory(&bench, "shell");
    let close = |mode| fs::set_permissions(&study, fs::Permissions::from_mode(mode)).unwrap();
    let said = |arguments: &[&str], code| {
        let output = hpo(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    close(0o500);
    assert!(said(&["report"], 4).contains("hint: `hpo report -o FILE`"));
    // As a crash of the machine leaves it, and a copy that takes no index along.
    close(0o700);
    let _ = fs::remove_file(study.join("study.db-shm"));
    fs::write(study.join("study.db-wal"), "log").unwrap();
    close(0o500);
    let words = said(&["status"], 4);
    assert!(
        words.contains("study.db cannot be read: its log (`study.db-wal`) was left"),
        "{words}"
    );
    close(0o700);
    fs::remove_file(study.join("study.db-wal")).unwrap();
    // Of two studies one is closed.
    let closed = bench.path().join("runs/closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    let words = said(&["prune-runs"], 0);
    assert!(
        words.contains("warning: runs/closed cannot be read: Permission denied"),
        "{words}"
    );
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let bench = Bench::new();
    shell_study(&bench, "exit 0\n", &format!("{ONE}run_cap: 1"));
    let ended = bench.run(&["run", "study.yaml", "--dir", "/proc/studies/of/mine"]);
    assert_eq!(ended.code, 4, "{ended:?}");
    let words = "error: the directory /proc/studies cannot be made (";
    assert!(ended.stderr.starts_with(words), "{ended:?}");
    assert!(ended.stderr.contains("elsewhere (--dir)"), "{ended:?}");
    let nothing = bench.run(&["prune-runs"]);
    let words = (
        nothing.code,
        nothing.stdout.as_str(),
        nothing.stderr.as_str(),
    );
    assert_eq!(words, (0, "", "there is no study under runs\n"));
}

#[test]
fn a_study_directory_that_becomes_read_only_ends_the_study_and_loses_nothing() {
    let bench = Bench::new();
    let script = "echo '[hpo] {\"step\": 1, \"loss\": 0.5}'\n\
                  [ $HPO_TRIAL = 0 ] || while [ ! -e go ]; do sleep 0.02; done\n";
    shell_study(&bench, script, &format!("{ONE}run_cap: 4"));
    let Some(hpo) = unprivileged(&bench) else {
        return;
    };
    let words = fs::File::create(bench.path().join("words")).unwrap();
    let mut running = hpo(&["run", "study.yaml"])
        .stdout(Stdio::null())
        .stderr(words)
        .spawn()
        .unwrap();
    let study = study_directory(&bench, "shell");
    wait_for("the second trial", || {
        study.join("trials/1/process.1.json").exists()
    });
    let close = |mode: u32| {
        for path in [study.clone(), study.join("trials")] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    close(0o500);
    fs::write(bench.path().join("go"), "").unwrap();
    assert_eq!(
        running.wait().unwrap().code(),
        Some(4),
        "{}",
        bench.read("words")
    );
    let said = bench.read("words");
    assert!(
        said.contains("runs/shell") && said.contains("Permission denied"),
        "{said}"
    );
    bench.wait_until_alone();
    // As long as it is so, that is said again, and looking at it works.
    let again = hpo(&["run", "study.yaml"]).output().unwrap();
    assert_eq!(again.status.code(), Some(4));
    let list = hpo(&["trials", "-f", "json"]).output().unwrap();
    let trials: Vec<Json> = serde_json::from_slice(&list.stdout).unwrap();
    let finished = |trials: &[Json]| {
        let done = trials.iter().filter(|t| t["state"] == "completed");
        done.cloned().collect::<Vec<_>>()
    };
    let before = finished(&trials);
    assert!(!before.is_empty(), "{trials:#?}");
    close(0o700);
    let ended = hpo(&["run", "study.yaml"]).output().unwrap();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let trials = bench.trials();
    assert_eq!(count(&trials, "completed"), 4, "{trials:#?}");
    for trial in before {
        assert!(trials.contains(&trial), "as it was: {trial:#}");
    }
    bench.wait_until_alone();
}

#[test]
fn a_trial_that_writes_checkpoints_without_end_is_noticed_while_it_runs() {
    let bench = Bench::new();
    let script = "echo '[hpo] {\"step\": 1, \"loss\": 0.5}'\ni=0\n\
                  while [ ! -e go ]; do\n  i=$((i + 1))\n\
                  head -c 20000 /dev/zero > \"$HPO_CHECKPOINT_DIR/step-$i\"\n  sleep 0.05\ndone\n";
    shell_study(
        &bench,
        script,
        &format!("{ONE}run_cap: 1\ndisk_budget: 200kB"),
    );
    let running = bench.start(&["run", "study.yaml"]);
    wait_for("the budget to be told of", || {
        let words = bench.read("words");
        words.contains("none of them may be removed") && words.contains("to trial 0")
    });
    assert_eq!(bench.trials()[0]["state"], "running");
    fs::write(bench.path().join("go"), "").unwrap();
    assert_eq!(running.code(), 0);
}

#[test]
fn a_line_without_end_takes_no_memory() {
    let bench = Bench::new();
    let script = "endless() { head -c 150000000 /dev/zero | tr '\\0' x; echo; }\n\
                  endless; endless >&2; endless >> \"$HPO_METRICS_FILE\"\n\
                  echo '[hpo] {\"step\": 1, \"loss\": 0.5}'\nwhile [ ! -e go ]; do sleep 0.02; done\n";
    shell_study(
        &bench,
        script,
        &format!("{ONE}run_cap: 1\nmetrics: {{f1: 'f1 (\\S+)'}}"),
    );
    let running = bench.start(&["run", "study.yaml"]);
    wait_for_step(&bench, 1);
    let peak = proc_status(running.pid(), "VmHWM:");
    let kib: u64 = peak.split(' ').next().unwrap().parse().unwrap();
    assert!(kib < 120 << 10, "{peak} at most");
    fs::write(bench.path().join("go"), "").unwrap();
    assert_eq!(running.code(), 0);
    assert_eq!(bench.trials()[0]["value"], 0.5);
}

#[test]
fn a_change_by_the_user_is_in_history_and_exports() {
    let bench = Bench::new();
    let script = "echo '[hpo] {\"step\": 1, \"loss\": 0.5}'\nwhile [ ! -e go ]; do sleep 0.02; done\n\
                  grep -o '\"x\":[0-9.]*' \"$HPO_CONTROL_FILE\"\necho '[hpo] {\"step\": 2, \"loss\": 0.25}'\n";
    shell_study(&bench, script, &format!("{ONE}run_cap: 1"));
    let running = bench.start(&["run", "study.yaml"]);
    wait_for_step(&bench, 1);
    assert_eq!(bench.run(&["set", "0", "x=0.8125"]).code, 0);
    fs::write(bench.path().join("go"), "").unwrap();
    assert_eq!(running.code(), 0);
    assert!(bench.run(&["logs", "0"]).stdout.contains("\"x\":0.8125"));
    let trial = bench.json(&["trial", "0", "-f", "json"]);
    let change = &trial["changed"][0];
    assert_eq!(
        (&change["parameter"], &change["to"], &change["step"]),
        (&"x".into(), &0.8125.into(), &1.into())
    );
    assert_eq!(trial["params"]["x"], 0.8125);
    assert_eq!(bench.json(&["best", "-f", "json"])["params"]["x"], 0.8125);
    for arguments in [
        &["best", "-f", "yaml"][..],
        &["best", "-f", "args"],
        &["best", "-f", "env"],
        &["trials", "-f", "csv"],
        &["report", "-f", "json"],
    ] {
        let ended = bench.run(arguments);
        assert!(ended.stdout.contains("0.8125"), "{ended:?}");
    }
    for arguments in [&["trial", "0"][..], &["best", "-f", "yaml"]] {
        let ended = bench.run(arguments);
        assert!(
            ended.stdout.contains("set by the user at step 1"),
            "{ended:?}"
        );
    }
}
