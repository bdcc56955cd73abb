//! A value can be traced to the code and the machine that gave it, and be had again.

use std::fs;
use std::process::Command;

use fake_nvml::{Device, STATE, State};
use serde_json::Value as Json;

use crate::bench::{Bench, shell_study, wait_for};

/// Depends on its parameter and its seed alone; leaves its arguments and environment behind.
const TRAINING: &str = r#"
for argument in "$@"; do case $argument in --x=*) x=${argument#--x=} ;; esac; done
printf '%s\n' "$@" > "$HPO_TRIAL_DIR/arguments"
env | grep -v '^_=' | sort > "$HPO_TRIAL_DIR/environment"
for step in 1 2 3; do
  echo "[hpo] {\"step\": $step, \"loss\": $(awk "BEGIN { printf \"%.9f\", $x + $HPO_SEED / 4294967296 / $step }")}"
done
"#;

fn git(bench: &Bench, arguments: &[&str]) -> String {
    let identity = ["-c", "user.name=x", "-c", "user.email=x@example.com"];
    let mut command = Command::new("git");
    let output = command
        .args(identity)
        .args(arguments)
        .current_dir(bench.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn snapshot(bench: &Bench, session: u32) -> Json {
    let text = bench.read(&format!("runs/shell/snapshot/session-{session}.json"));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// All that a study has on the disk, as one text.
fn everything(directory: &std::path::Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(directory).unwrap().filter_map(Result::ok) {
        let path = entry.path();
        if path.is_dir() {
            text += &everything(&path);
        } else if path.file_name().is_some_and(|name| name != "environment") {
            text += &String::from_utf8_lossy(&fs::read(&path).unwrap_or_default());
        }
    }
    text
}

#[test]
fn the_same_command_environment_and_seed_give_the_same_value() {
    let bench = Bench::new();
    shell_study(
        &bench,
        TRAINING,
        "run_cap: 3\nconfirm: {top: 1, seeds: 2}\nenv: {FLAVOUR: sweet}",
    );
    assert_eq!(bench.run(&["run", "study.yaml"]).code, 0);
    for trial in ["1", "c1"] {
        let ended = bench.run(&["rerun", trial]);
        assert_eq!(ended.code, 0, "{ended:?}");
        assert!(ended.stderr.contains("the same value again"), "{ended:?}");
        assert_eq!(
            ended.stdout,
            bench.read(&format!("runs/shell/trials/{trial}/stdout.log"))
        );
        assert!(!ended.stderr.contains("warning"), "{ended:?}");
    }
    let file = |place: &str, name: &str| bench.read(&format!("runs/shell/{place}/{name}"));
    let (then, now) = ("trials/1", "reruns/1/trials/1");
    assert_eq!(file(now, "arguments"), file(then, "arguments"));
    // Only what says where things are, and whose process it is, differs.
    let ours = |place: &str| -> Vec<String> {
        let own = |line: &&str| !line.starts_with("HPO_SESSION=");
        let text = file(place, "environment").replace("reruns/1/", "");
        text.lines().filter(own).map(str::to_owned).collect()
    };
    assert_eq!(ours(now), ours(then));
    assert!(ours(then).iter().any(|line| line == "FLAVOUR=sweet"));

    // What is printed is a line for a shell that does the same.
    let printed = bench.run(&["rerun", "1", "--print"]);
    assert_eq!(printed.code, 0, "{printed:?}");
    let shell = Command::new("sh")
        .arg("-c")
        .arg(&printed.stdout)
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&shell.stdout),
        file(then, "stdout.log")
    );
    // The study is as it was.
    assert_eq!(bench.trials().len(), 3);

    // Code that has changed is told of, and another value is one.
    bench.write("trial.sh", &TRAINING.replace("$x +", "1 + $x +"));
    let changed = bench.run(&["rerun", "1"]);
    assert_eq!(changed.code, 1, "{changed:?}");
    assert!(
        changed.stderr.contains("the code is another one than then"),
        "{changed:?}"
    );
    assert!(changed.stderr.contains("they differ by 1"), "{changed:?}");
    assert_eq!(bench.run(&["rerun", "7"]).code, 2);
    assert_eq!(bench.run(&["rerun", "seven"]).code, 2);
}

#[test]
fn metrics_that_only_a_pattern_finds_are_compared_too() {
    let bench = Bench::new();
    let script = "for step in 1 2; do echo \"epoch $step loss: 0.$step$HPO_SEED\" >&2; done\n";
    let metrics =
        "metrics: [{regex: 'epoch (?P<step>\\d+) loss: (?P<loss>[0-9.]+)', from: stderr}]";
    shell_study(&bench, script, &format!("run_cap: 1\n{metrics}"));
    let ended = bench.run(&["run", "study.yaml"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let again = bench.run(&["rerun", "0"]);
    assert_eq!(again.code, 0, "{again:?}");
    assert!(again.stderr.contains("at step 2"), "{again:?}");
}

#[test]
fn a_trial_that_was_stopped_is_ended_where_it_was() {
    let bench = Bench::new();
    let script = TRAINING.replace("1 2 3; do", "1 2 3 4 5 6 7 8 9; do sleep 0.2");
    let rule =
        "early_terminate: {type: median, min_iter: 2, min_trials: 1}\ncpu: {max_parallel: 1}";
    shell_study(&bench, &script, &format!("run_cap: 4\n{rule}"));
    assert_eq!(bench.run(&["run", "study.yaml"]).code, 0);
    let stopped = bench
        .trials()
        .into_iter()
        .find(|t| t["state"] == "stopped")
        .unwrap();
    let again = bench.run(&["rerun", &stopped["trial"].to_string()]);
    assert_eq!(again.code, 0, "{again:?}");
    assert!(again.stdout.lines().count() < 9, "{again:?}");
}

#[test]
fn what_was_set_on_the_way_is_said_before_a_trial_is_run_again() {
    let bench = Bench::new();
    let wait = "1 2 3; do [ $step != 2 ] || while [ ! -e go ]; do sleep 0.02; done";
    let script = TRAINING.replace("1 2 3; do", wait);
    shell_study(&bench, &script, "run_cap: 1");
    let running = bench.start(&["run", "study.yaml"]);
    wait_for("a report", || {
        let status = bench.run(&["status", "-f", "json"]);
        let status: Json = serde_json::from_str(&status.stdout).unwrap_or_default();
        status["running"][0]["step"] == 1
    });
    assert_eq!(bench.run(&["set", "0", "x=0.25"]).code, 0);
    fs::write(bench.path().join("go"), "").unwrap();
    assert_eq!(running.code(), 0, "{}", bench.read("words"));
    let again = bench.run(&["rerun", "0"]);
    assert_eq!(again.code, 1, "{again:?}");
    for words in [
        "set by the user at step 1: x ",
        "last configuration all the way",
    ] {
        assert!(again.stderr.contains(words), "{again:?}");
    }
}

#[test]
fn a_snapshot_has_the_code_and_no_secrets() {
    let bench = Bench::new();
    shell_study(
        &bench,
        TRAINING,
        "run_cap: 2\nenv: {TOKEN: \"${envvar:MY_API_KEY}\"}",
    );
    bench.write(".gitignore", "runs/\nprivate*\n");
    git(&bench, &["init", "-q"]);
    git(&bench, &["add", "."]);
    git(&bench, &["commit", "-qm", "x"]);
    let commit = git(&bench, &["rev-parse", "HEAD"]);
    bench.write("trial.sh", &format!("{TRAINING}# changed\n"));
    bench.write("model.py", "layers = 3\n");
    bench.write("private.py", "not for others\n");
    let secret = "s3cr3t-0f-the-house";
    let run = |arguments: &[&str]| {
        let mut command = bench.hpo(arguments);
        command
            .env("MY_API_KEY", secret)
            .env("OMP_NUM_THREADS", "3");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert!(!String::from_utf8_lossy(&output.stderr).contains(secret));
    };
    run(&["run", "study.yaml"]);
    let first = snapshot(&bench, 1);
    assert_eq!(first["code"]["commit"], commit);
    assert_eq!(first["code"]["dirty"], true);
    assert_eq!(first["code"]["untracked"], serde_json::json!(["model.py"]));
    assert_eq!(first["environment"]["OMP_NUM_THREADS"], "3");
    let code = |session: u32, file: &str| {
        let checksum = snapshot(&bench, session)["code"]["checksum"]
            .as_str()
            .unwrap()
            .to_owned();
        bench.read(&format!("runs/shell/snapshot/code-{checksum}/{file}"))
    };
    assert!(code(1, "changes.diff").contains("+# changed"));
    assert_eq!(code(1, "untracked/model.py"), "layers = 3\n");
    assert_eq!(code(1, "untracked/private.py"), "");
    assert_eq!(
        git(&bench, &["status", "--short"]),
        "M trial.sh\n?? model.py"
    );

    // The next session has other code and other caps: both are kept, with what the file said before.
    bench.write("model.py", "layers = 4\n");
    let before = bench.read("study.yaml");
    bench.write("study.yaml", &before.replace("run_cap: 2", "run_cap: 3"));
    run(&["run", "study.yaml"]);
    assert_eq!(code(2, "untracked/model.py"), "layers = 4\n");
    assert_eq!(
        bench.read("runs/shell/snapshot/study-before-session-2.yaml"),
        before
    );
    assert!(bench.read("runs/shell/study.yaml").contains("run_cap: 3"));
    let status = bench.json(&["status", "-f", "json"]);
    assert_eq!(status["code_changes"], 1);
    assert!(
        bench
            .run(&["status"])
            .stdout
            .contains("changed once between sessions")
    );
    assert!(
        !everything(&bench.path().join("runs")).contains(secret),
        "a secret was written down"
    );
}

#[test]
fn without_git_the_program_is_kept() {
    let bench = Bench::new();
    shell_study(&bench, TRAINING, "run_cap: 1");
    assert_eq!(bench.run(&["run", "study.yaml"]).code, 0);
    let code = &snapshot(&bench, 1)["code"];
    assert_eq!(code["commit"], Json::Null);
    let kept = format!(
        "runs/shell/snapshot/code-{}/program/trial.sh",
        code["checksum"].as_str().unwrap()
    );
    assert_eq!(bench.read(&kept), TRAINING);
}

#[test]
fn gpus_driver_and_packages_are_noted() {
    let bench = Bench::new();
    // A Python that lists two packages.
    bench.write(
        "python",
        "#!/bin/sh\ncase \"$*\" in\n--version) echo Python 3.99.1 ;;\n'-m pip freeze') printf 'numpy==9.1\\ntorch==8.2\\n' ;;\n*) shift; exec sh trial.sh \"$@\" ;;\nesac\n",
    );
    let python = bench.path().join("python");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&python, mode).unwrap();
    shell_study(&bench, TRAINING, "run_cap: 1\npython: ./python");
    let study = bench.read("study.yaml");
    let command = study
        .lines()
        .find(|line| line.starts_with("command:"))
        .unwrap();
    bench.write(
        "study.yaml",
        &study.replace(
            command,
            "command: [\"${interpreter}\", \"${program}\", \"${args}\"]",
        ),
    );
    let state = State::of(vec![Device::new(0, 8192)]);
    state.write(&bench.path().join("nvml.json")).unwrap();
    let mut run = bench.hpo(&["run", "study.yaml", "--pip-freeze"]);
    run.env("HPO_NVML_LIBRARY", fake_nvml::library::path().unwrap());
    run.env(STATE, bench.path().join("nvml.json"));
    let output = run.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let snapshot = snapshot(&bench, 1);
    assert_eq!(snapshot["interpreter"], "Python 3.99.1");
    assert_eq!(
        snapshot["packages"],
        serde_json::json!(["numpy==9.1", "torch==8.2"])
    );
    let machine = &snapshot["machine"];
    assert_eq!(machine["gpus"].as_array().unwrap().len(), 1, "{machine}");
    assert!(machine["gpu_driver"].is_string(), "{machine}");
}
