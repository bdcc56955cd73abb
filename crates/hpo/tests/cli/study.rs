//! Whole studies.

use serde_json::Value as Json;

use crate::bench::{Bench, count, shell_study, study_directory, timeless};

const DIGITS: &str = "\
name: digits
trainer: {model: mlp, hidden: [16], dataset: digits, epochs: 4}
metric: {name: val_accuracy, goal: maximize}
method: random
seed: 11
run_cap: 8
recipe: {optimizers: [sgd, momentum, adamw], schedules: [constant, cosine]}
parameters:
  batch_size: {values: [32, 64]}
early_terminate: {type: asha, min_iter: 1, max_iter: 4, eta: 2}
cpu: {max_parallel: 1}
";

#[test]
fn a_small_study_of_the_digits_from_end_to_end() {
    let bench = Bench::new();
    bench.write("study.yaml", DIGITS);
    let ended = bench.run(&["run", "study.yaml"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    for words in [
        "best: trial",
        "optimizer ",
        "schedule ",
        "hpo best -f pytorch -s digits",
    ] {
        assert!(ended.stdout.contains(words), "{words}:\n{}", ended.stdout);
    }

    let trials = bench.trials();
    assert_eq!(trials.len(), 8);
    let (completed, stopped) = (count(&trials, "completed"), count(&trials, "stopped"));
    assert_eq!(completed + stopped, 8, "{trials:#?}");
    assert!(completed > 0 && stopped > 0, "{trials:#?}");
    for (i, trial) in trials.iter().enumerate() {
        assert_eq!(trial["trial"], i);
        assert_eq!(trial["attempts"], 1);
        if trial["state"] == "completed" {
            assert_eq!(trial["steps"], 4);
        } else {
            assert_eq!(trial["reason"], "pruned");
            assert!(trial["detail"].as_str().unwrap().contains("rank"));
        }
    }

    let accuracy = |trial: &Json| trial["value"].as_f64().unwrap();
    let best = bench.json(&["best", "-f", "json"]);
    let highest = trials
        .iter()
        .filter(|t| t["state"] == "completed")
        .max_by(|a, b| accuracy(a).total_cmp(&accuracy(b)))
        .unwrap();
    assert_eq!(accuracy(&best), accuracy(highest));
    let chosen = &trials[best["trial"].as_u64().unwrap() as usize];
    assert_eq!(
        (&best["params"], &best["value"]),
        (&chosen["params"], &chosen["value"])
    );

    let status = bench.json(&["status", "digits", "-f", "json"]);
    assert_eq!(
        (&status["state"], &status["end"]),
        (&"ended".into(), &"run_cap".into())
    );
    assert_eq!(status["trials"]["completed"], completed);
    assert_eq!(status["trials"]["total"], 8);
    assert_eq!(status["best"]["trial"], best["trial"]);

    let details = bench.json(&["trial", "0", "-f", "json"]);
    assert_eq!(
        details["curve"]["value"].as_array().unwrap().last(),
        Some(&trials[0]["value"])
    );
    let directory = study_directory(&bench, "digits");
    for file in ["study.db", "study.yaml", "best.yaml", "log.jsonl"] {
        assert!(directory.join(file).is_file(), "{file}");
    }
    assert_eq!(
        std::fs::read_to_string(directory.join("study.yaml")).unwrap(),
        DIGITS
    );

    // Again: there is nothing left to do, and nothing is done.
    let again = bench.run(&["run", "study.yaml"]);
    assert_eq!(again.code, 0, "{again:?}");
    assert_eq!(bench.trials(), trials);
    bench.wait_until_alone();

    // The same seed and one worker: the very same study.
    let twin = Bench::new();
    twin.write("study.yaml", DIGITS);
    assert_eq!(twin.run(&["run", "study.yaml"]).code, 0);
    let timeless = |trials: &[Json]| trials.iter().map(timeless).collect::<Vec<_>>();
    assert_eq!(timeless(&twin.trials()), timeless(&trials));

    // A cap may be raised, and the study goes on; the space may not be changed.
    twin.write("study.yaml", &DIGITS.replace("run_cap: 8", "run_cap: 9"));
    assert_eq!(twin.run(&["run", "study.yaml"]).code, 0);
    let more = twin.trials();
    assert_eq!(more.len(), 9);
    assert_eq!(timeless(&more[..8]), timeless(&trials));
    twin.write("study.yaml", &DIGITS.replace("[32, 64]", "[32, 128]"));
    let refused = twin.run(&["run", "study.yaml"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(
        refused.stderr.contains("batch_size") || refused.stderr.contains("parameters"),
        "{refused:?}"
    );
    assert!(refused.stderr.contains("name:"), "{refused:?}");
    assert_eq!(twin.trials(), more);
}

#[test]
fn a_plain_script_is_given_its_arguments_and_reports_on_stdout() {
    let bench = Bench::new();
    let script = r#"
echo "arguments: $*"
echo "to stderr" >&2
for argument in "$@"; do
  case $argument in
    --x=*) x=${argument#--x=} ;;
    --kind=*) kind=${argument#--kind=} ;;
  esac
done
echo "[hpo] {\"step\": 1, \"loss\": 9}"
echo "[hpo] {\"step\": 2, \"loss\": $x, \"is_a\": $([ "$kind" = a ] && echo true || echo false)}"
"#;
    shell_study(&bench, script, "run_cap: 12\ncpu: {max_parallel: 2}");
    let ended = bench.run(&["run", "study.yaml"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let trials = bench.trials();
    assert_eq!(count(&trials, "completed"), 12);
    for trial in &trials {
        assert_eq!(trial["value"], trial["params"]["x"], "{trial}");
        assert_eq!(trial["steps"], 2);
        assert_eq!(
            trial["metrics"]["is_a"].as_f64() == Some(1.0),
            trial["params"]["kind"] == "a"
        );
    }
    let logs = bench.run(&["logs", "5"]);
    let x = trials[5]["params"]["x"].as_f64().unwrap();
    assert!(logs.stdout.contains(&format!("--x={x}")), "{logs:?}");
    assert!(logs.stdout.contains("to stderr"));
    assert_eq!(bench.run(&["logs", "5", "--stderr"]).stdout, "to stderr\n");
    assert!(
        bench
            .run(&["logs", "5", "--stdout", "-n", "1"])
            .stdout
            .starts_with("[hpo] {\"step\": 2")
    );
    // A script of one's own names no optimizer: PyTorch has nothing to write, arguments have.
    let refused = bench.run(&["best", "-f", "pytorch"]);
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("hint"), "{refused:?}");
    let best = bench.json(&["best", "-f", "json"]);
    let arguments = bench.run(&["best", "-f", "args"]).stdout;
    assert_eq!(
        arguments,
        format!(
            "--kind={} --x={}\n",
            best["params"]["kind"].as_str().unwrap(),
            best["params"]["x"]
        )
    );
}

#[test]
fn a_study_without_a_completed_trial_is_exit_code_1() {
    let bench = Bench::new();
    shell_study(
        &bench,
        "echo 'no such module: torch' >&2\nexit 1\n",
        "run_cap: 3\nfailure: {crash_retries: 0}",
    );
    let ended = bench.run(&["run", "study.yaml"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("no such module: torch"), "{ended:?}");
    let trials = bench.trials();
    assert!(
        trials
            .iter()
            .all(|t| t["state"] == "failed" && t["reason"] == "crash"),
        "{trials:#?}"
    );
    let page = bench.run(&["trial", "0"]);
    assert!(page.stdout.contains("its last words on stderr"), "{page:?}");
    assert_eq!(bench.run(&["best"]).code, 1);
}

#[test]
fn a_study_with_a_recipe_can_be_given_more_trials() {
    let bench = Bench::new();
    bench.write("study.yaml", DIGITS);
    assert_eq!(bench.run(&["run", "study.yaml"]).code, 0);
    // From 10 trials on the recipe would search momentum too; this study goes on as it began.
    bench.write("study.yaml", &DIGITS.replace("run_cap: 8", "run_cap: 12"));
    let ended = bench.run(&["run", "study.yaml"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let trials = bench.trials();
    assert_eq!(trials.len(), 12);
    assert!(
        trials.iter().all(|t| t["params"].get("momentum").is_none()),
        "{trials:#?}"
    );
}

#[test]
fn a_study_whose_directory_is_removed_meanwhile_ends_with_an_error() {
    let bench = Bench::new();
    shell_study(
        &bench,
        "rm -rf runs; echo '[hpo] {\"step\": 1, \"loss\": 1}'\n",
        "run_cap: 3",
    );
    let ended = bench.run(&["run", "study.yaml"]);
    assert_eq!(ended.code, 4, "{ended:?}");
    assert!(ended.stderr.contains("was removed"), "{ended:?}");
}

#[test]
fn what_is_suggested_at_the_end_works() {
    let bench = Bench::new();
    shell_study(
        &bench,
        "echo '[hpo] {\"step\": 1, \"loss\": 1}'\n",
        "run_cap: 1",
    );
    let ended = bench.run(&["run", "study.yaml", "--dir", "my runs"]);
    assert!(
        ended
            .stdout
            .contains("hpo best -f args -s shell --dir 'my runs'"),
        "{ended:?}"
    );
    let best = bench.run(&["best", "-f", "args", "-s", "shell", "--dir", "my runs"]);
    assert_eq!(best.code, 0, "{best:?}");
}
