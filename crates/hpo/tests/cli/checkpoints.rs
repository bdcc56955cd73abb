//! Checkpoints: what stays, what goes, and trials that go on from them.

use std::fs;

use nix::sys::signal::Signal;
use serde_json::Value as Json;

use crate::bench::{Bench, shell_study, study_directory, wait_for};

/// Writes three checkpoints and reports its parameter.
const SAVING: &str = r#"
x=${1#--kind=}; x=${x#--x=}
for arg in "$@"; do case $arg in --x=*) x=${arg#--x=};; esac; done
for i in 1 2 3; do
  echo "[hpo] {\"step\": $i, \"loss\": $x}"
  head -c 50000 /dev/zero > $HPO_CHECKPOINT_DIR/part
  mv $HPO_CHECKPOINT_DIR/part $HPO_CHECKPOINT_DIR/step-$i
  sleep 0.02
done
"#;

/// The names of a trial's checkpoints.
fn left(bench: &Bench, trial: usize) -> Vec<String> {
    let directory = study_directory(bench, "shell");
    let directory = directory.join(format!("trials/{trial}/checkpoints"));
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The trials by value, best first.
fn ranked(bench: &Bench) -> Vec<usize> {
    let trials = bench.json(&["trials", "--best", "-f", "json"]);
    let trials = trials.as_array().unwrap().iter();
    trials
        .map(|t| t["trial"].as_u64().unwrap() as usize)
        .collect()
}

#[test]
fn the_study_keeps_what_its_rule_says() {
    for (rule, best, second, other) in [
        ("best_2", 3, 3, 0),
        ("none", 3, 0, 0),
        ("last", 1, 1, 1),
        ("2", 2, 2, 2),
        ("all", 3, 3, 3),
    ] {
        let bench = Bench::new();
        let more = format!("run_cap: 5\ncpu: {{max_parallel: 2}}\nkeep_checkpoints: {rule}");
        shell_study(&bench, SAVING, &more);
        let ended = bench.run(&["run", "study.yaml"]);
        assert_eq!(ended.code, 0, "{ended:?}");
        let ranked = ranked(&bench);
        let counts: Vec<usize> = ranked.iter().map(|t| left(&bench, *t).len()).collect();
        assert_eq!(counts, [best, second, other, other, other], "{rule}");
        if rule == "last" {
            assert_eq!(left(&bench, ranked[4]), ["step-3"], "the newest stays");
        }
    }
}

#[test]
fn who_proves_best_in_the_end_has_its_checkpoints() {
    // Lucky in the search: the best value is trial 0's, and its configuration is the worst of the three.
    let script = "step() { echo \"[hpo] {\\\"step\\\": 1, \\\"loss\\\": $1}\"; }\n\
                  case $HPO_TRIAL in 0) step 0.1;; 1) step 0.2;; 2) step 0.3;; [3-9]) step 0.9;;\n\
                  *) for arg in \"$@\"; do case $arg in --x=*) x=${arg#--x=};; esac; done\n\
                     [ $(cat $x) = 1 ] && step 0.2 || step 0.5; exit;; esac\n\
                  for arg in \"$@\"; do case $arg in --x=*) echo $HPO_TRIAL > ${arg#--x=};; esac; done\n\
                  echo state > $HPO_CHECKPOINT_DIR/step-1\n";
    for (rule, counts) in [("none", [1, 1, 0, 0]), ("best_3", [1, 1, 1, 0])] {
        let bench = Bench::new();
        let more = "run_cap: 4\ncpu: {max_parallel: 1}\nconfirm: {top: 3, seeds: 2}\n";
        shell_study(&bench, script, &format!("{more}keep_checkpoints: {rule}"));
        let ended = bench.run(&["run", "study.yaml"]);
        assert_eq!(ended.code, 0, "{ended:?}");
        assert!(ended.stdout.contains("trial 1 is confirmed"), "{ended:?}");
        let kept = [0, 1, 2, 3].map(|trial| left(&bench, trial).len());
        assert_eq!(kept, counts, "{rule}");
        assert_eq!(bench.run(&["prune-runs", "--yes"]).code, 0);
        let kept = [0, 1, 2, 3].map(|trial| left(&bench, trial).len());
        assert_eq!(kept, [1, 1, 0, 0], "{rule}");
    }
}

#[test]
fn over_the_budget_the_worst_go_first() {
    let bench = Bench::new();
    // Three files of 50 kB each, rounded up to blocks: room for two trials.
    shell_study(
        &bench,
        SAVING,
        "run_cap: 5\ncpu: {max_parallel: 1}\ndisk_budget: 350kB",
    );
    let ended = bench.run(&["run", "study.yaml"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stderr.contains("`disk_budget`"), "{ended:?}");
    let ranked = ranked(&bench);
    assert_eq!(left(&bench, ranked[0]).len(), 3, "the best's stay");
    let all: usize = ranked.iter().map(|t| left(&bench, *t).len()).sum();
    assert!(all <= 6, "{all}");
}

#[test]
fn prune_runs_shows_first_and_removes_when_told() {
    let bench = Bench::new();
    let script = format!("{SAVING}\n[ -e go ] || [ $HPO_TRIAL != 3 ] || sleep 1000");
    shell_study(
        &bench,
        &script,
        "run_cap: 4\ncpu: {max_parallel: 1}\nstop_grace: 1s",
    );
    let running = bench.start(&["run", "study.yaml"]);
    wait_for("the last trial", || {
        let status = bench.run(&["status", "-f", "json"]);
        let json: Json = serde_json::from_str(&status.stdout).unwrap_or_default();
        json["running"][0]["trial"] == 3 && json["running"][0]["step"] == 3
    });
    let shown = bench.json(&["prune-runs", "--yes", "-f", "json"]);
    assert_eq!(
        (&shown[0]["running"], &shown[0]["removed_bytes"]),
        (&true.into(), &0.into())
    );
    running.signal(Signal::SIGTERM);
    assert_eq!(running.code(), 3);
    bench.wait_until_alone();

    let shown = bench.json(&["prune-runs", "-f", "json"]);
    let removable = shown[0]["removable_bytes"].as_u64().unwrap();
    assert!(removable >= 300_000, "{shown:#}");
    assert_eq!(shown[0]["trials"].as_array().unwrap().len(), 4);
    let page = bench.run(&["prune-runs"]);
    assert!(page.stdout.contains("4 with checkpoints"), "{page:?}");
    assert!(page.stderr.contains("--yes removes"), "{page:?}");
    assert_eq!(left(&bench, 0).len(), 3, "nothing was removed");
    let old = bench.json(&["prune-runs", "--older-than", "1d", "-f", "json"]);
    assert_eq!(old.as_array().unwrap().len(), 0);

    let removed = bench.json(&["prune-runs", "shell", "--yes", "-f", "json"]);
    assert_eq!(removed[0]["removed_bytes"], removable);
    let counts: Vec<usize> = (0..4).map(|trial| left(&bench, trial).len()).collect();
    assert_eq!(counts[3], 3, "a trial that may go on keeps all");
    assert_eq!(
        counts[..3].iter().sum::<usize>(),
        3,
        "and so does the best: {counts:?}"
    );
    bench.write("go", "");
    assert_eq!(bench.run(&["run", "study.yaml"]).code, 0);
    assert_eq!(bench.run(&["prune-runs", "--keep", "some"]).code, 2);
    assert_eq!(bench.run(&["prune-runs", "no-such"]).code, 2);
}

#[test]
fn the_built_in_trainer_goes_on_after_a_torn_checkpoint() {
    let bench = Bench::new();
    bench.write(
        "study.yaml",
        "name: shell\ntrainer: {model: mlp, hidden: [8], dataset: digits, epochs: 9}\nmethod: random\n\
         metric: {name: val_loss}\nrun_cap: 4\ncpu: {max_parallel: 1}\n\
         parameters: {optimizer: {value: sgd}, lr: {min: 0.01, max: 0.1}}\n\
         early_terminate: {type: sha, min_iter: 1, eta: 3}\n",
    );
    let plan = bench.run(&["check", "study.yaml"]);
    assert!(
        plan.stdout
            .contains("promoted trials resume from their checkpoints"),
        "{plan:?}"
    );
    let mut running = bench.start(&["run", "study.yaml"]);
    let checkpoint =
        study_directory(&bench, "shell").join("trials/0/checkpoints/checkpoint.safetensors");
    // Whoever is promoted later finds half a file.
    wait_for("a first checkpoint", || {
        running.ended().is_some() || checkpoint.exists()
    });
    if let Ok(whole) = fs::read(&checkpoint) {
        fs::write(&checkpoint, &whole[..whole.len() / 2]).unwrap();
    }
    assert_eq!(running.code(), 0, "{}", bench.read("words"));
    for trial in bench.trials() {
        assert_ne!(trial["state"], "failed", "{trial:#}");
    }
}
