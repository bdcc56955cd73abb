//! Priors, `hpo import`, `hpo enqueue` from a file, and studies without duplicates.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value as Json;

use crate::bench::{Bench, Ended, count, shell_study, wait_for};

/// Reports a loss that follows from `--x`.
const BOWL: &str = r#"
for word in "$@"; do case $word in --x=*) x=${word#--x=};; esac; done
awk -v x=$x 'BEGIN { printf "[hpo] {\"step\": 1, \"loss\": %f}\n", (x - 0.7) ^ 2 }'
"#;

const TABLE: &str = "params.x,params.kind,loss,state\n\
    0.7,a,0.001,completed\n0.2,b,0.25,completed\n0.9,a,,failed\n3,a,0.5,completed\n0.4,,0.1,completed\n";

fn bowl(bench: &Bench, more: &str) {
    shell_study(bench, BOWL, more);
}

fn imported(trials: &[Json]) -> Vec<&Json> {
    trials.iter().filter(|t| !t["imported"].is_null()).collect()
}

fn said(ended: &Ended, words: &[&str]) {
    for word in words {
        assert!(ended.stderr.contains(word), "no `{word}` in {ended:?}");
    }
}

#[test]
fn trials_of_a_table_inform_a_study_before_it_has_begun() {
    let bench = Bench::new();
    bowl(&bench, "run_cap: 3\ncpu: {max_parallel: 1}");
    bench.write("old.csv", TABLE);
    let dry = bench.run(&["import", "study.yaml", "old.csv", "--dry-run"]);
    assert_eq!(dry.code, 0, "{dry:?}");
    said(
        &dry,
        &[
            "3 trials from old.csv",
            "2 completed, 1 failed or diverged",
            "a dry run",
        ],
    );
    assert!(!bench.path().join("runs").join("shell").exists());

    let first = bench.run(&["import", "study.yaml", "old.csv"]);
    assert_eq!(first.code, 0, "{first:?}");
    said(
        &first,
        &[
            "as evidence",
            "`x` is not a number from 0 to 1: line 5",
            "`kind` is missing: line 6",
        ],
    );
    said(
        &first,
        &["the best loss is 0.001", "tried here first: kind=a x=0.7"],
    );
    let again = bench.json(&["import", "shell", "old.csv", "-f", "json"]);
    assert_eq!(
        (&again["known"], &again["completed"]),
        (&3.into(), &0.into())
    );

    let ended = bench.run(&["run", "study.yaml"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(
        ended
            .stdout
            .contains("3 trials: 3 completed, and 3 imported"),
        "{ended:?}"
    );
    let trials = bench.trials();
    assert_eq!((trials.len(), imported(&trials).len()), (6, 3));
    assert_eq!(trials[0]["imported"]["name"], "line 2");
    assert_eq!(
        trials[3]["params"]["x"], 0.7,
        "the best of them is tried here first"
    );
    let best = bench.json(&["best", "-f", "json"]);
    assert_eq!((&best["trial"], &best["value"]), (&3.into(), &0.0.into()));
    let table = bench.run(&["trials"]);
    assert!(table.stdout.contains("completed, imported"), "{table:?}");
    let logs = bench.run(&["logs", "0"]);
    assert_eq!(logs.code, 2);
    said(
        &logs,
        &["trial 0 never ran here: it was imported from old.csv"],
    );
    assert_eq!(bench.json(&["status", "-f", "json"])["trials"]["total"], 3);
}

#[test]
fn what_cannot_be_imported_is_said_with_its_place_and_changes_nothing() {
    let bench = Bench::new();
    bowl(&bench, "run_cap: 2");
    bench.write("bad.csv", "x,kind,loss\n0.5,a,low\n");
    bench.write("other.csv", "x,kind,accuracy\n0.5,a,1\n");
    bench.write("outside.csv", "x,kind,loss\n5,a,1\n");
    bench.write("names.csv", "y,kind,loss\n0.5,a,1\n");
    bench.write("empty.csv", "\n");
    bench.write("header.csv", "x,kind,loss\n");
    bench.write("short.csv", "x,kind,loss\n0.5\n");
    for (arguments, words) in [
        (
            vec!["bad.csv"],
            vec!["bad.csv:2: column `loss`: `low` is not a number"],
        ),
        (
            vec!["other.csv"],
            vec!["there is no column `loss`", "--metric names"],
        ),
        (
            vec!["outside.csv"],
            vec!["no trial of outside.csv fits shell"],
        ),
        (vec!["names.csv"], vec!["`x` is missing: line 2", "--map"]),
        (vec!["none.csv"], vec!["there is no none.csv"]),
        (vec!["empty.csv"], vec!["empty.csv is empty"]),
        (vec!["header.csv"], vec!["there is no trial in header.csv"]),
        (
            vec!["short.csv"],
            vec!["short.csv:2: the line has 1 column,"],
        ),
        (
            vec!["names.csv", "--map", "y=z"],
            vec!["`z` is not a parameter of shell"],
        ),
        (vec!["trial.sh"], vec!["trial.sh:1: there is no column"]),
    ] {
        let arguments = [vec!["import", "study.yaml"], arguments].concat();
        let ended = bench.run(&arguments);
        assert_eq!(ended.code, 2, "{ended:?}");
        said(&ended, &words);
    }
    let mapped = bench.run(&["import", "study.yaml", "names.csv", "--map", "y=x"]);
    assert_eq!(mapped.code, 0, "{mapped:?}");
    let itself = bench.run(&["import", "shell", "runs/shell"]);
    assert_eq!(itself.code, 2);
    said(&itself, &["own trials"]);
}

#[test]
fn a_study_learns_from_another_one_by_its_file_and_once() {
    let bench = Bench::new();
    bowl(&bench, "run_cap: 4");
    assert_eq!(bench.run(&["run", "study.yaml"]).code, 0);
    let text = bench
        .read("study.yaml")
        .replace("name: shell", "name: second")
        .replace("run_cap: 4", "run_cap: 2");
    bench.write(
        "second.yaml",
        &format!("{text}import: [{{from: runs/shell, as: trials}}]\n"),
    );
    let check = bench.run(&["check", "second.yaml"]);
    assert_eq!(check.code, 0, "{check:?}");
    said(&check, &["4 trials from the study `shell`"]);
    let ended = bench.run(&["run", "second.yaml"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    said(
        &ended,
        &["4 trials from the study `shell` (4 completed), as trials"],
    );
    std::fs::remove_dir_all(bench.path().join("runs/shell")).unwrap();
    let more = bench
        .read("second.yaml")
        .replace("run_cap: 2", "run_cap: 3");
    bench.write("second.yaml", &more);
    let ended = bench.run(&["run", "second.yaml"]);
    assert_eq!(
        ended.code, 0,
        "the source is not needed any more: {ended:?}"
    );
    let trials = bench.json(&["trials", "-s", "second", "-f", "json"]);
    let trials = trials.as_array().unwrap();
    assert_eq!((trials.len(), imported(trials).len()), (7, 4));
    // Imported and own trials alike: nothing twice.
    let mut configs: Vec<String> = trials.iter().map(|t| t["params"].to_string()).collect();
    configs.sort();
    configs.dedup();
    assert_eq!(configs.len(), 7);
    bench.write(
        "third.yaml",
        &text.replace("second", "third").replace(
            "kind: {values: [a, b]}",
            "kind: {values: [a, b]}\nimport: nowhere",
        ),
    );
    let ended = bench.run(&["run", "third.yaml"]);
    assert_eq!(ended.code, 2, "{ended:?}");
    said(&ended, &["nowhere"]);
}

#[test]
fn whoever_runs_a_study_takes_trials_in() {
    let bench = Bench::new();
    let waiting =
        "echo '[hpo] {\"step\": 1, \"loss\": 0.5}'\nwhile [ ! -e go ]; do sleep 0.02; done\n";
    shell_study(
        &bench,
        waiting,
        "run_cap: 2\ncpu: {max_parallel: 1}\nstop_grace: 1s",
    );
    bench.write("old.csv", TABLE);
    let running = bench.start(&["run", "study.yaml"]);
    wait_for("the first report", || {
        let status = bench.run(&["status", "-f", "json"]);
        let json: Json = serde_json::from_str(&status.stdout).unwrap_or_default();
        json["running"][0]["step"] == 1
    });
    let told = bench.json(&["import", "study.yaml", "old.csv", "-f", "json"]);
    assert_eq!(
        (&told["completed"], &told["infeasible"]),
        (&2.into(), &1.into())
    );
    bench.write("go", "");
    assert_eq!(running.code(), 0);
    let trials = bench.trials();
    assert_eq!((trials.len(), imported(&trials).len()), (5, 3));
    assert_eq!(trials[4]["params"]["x"], 0.7);
    let left: Vec<_> = std::fs::read_dir(bench.path().join("runs/shell/control"))
        .unwrap()
        .flatten()
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn an_import_that_is_killed_is_all_there_or_not_at_all() {
    let bench = Bench::new();
    bowl(&bench, "run_cap: 2");
    let rows = (0..3000).map(|i| format!("{},a,{}\n", f64::from(i) / 3000.0, i % 7));
    bench.write(
        "old.csv",
        &format!("x,kind,loss\n{}", rows.collect::<String>()),
    );
    let mut seen = Vec::new();
    for round in 0..6_u64 {
        let import = bench.start(&["import", "study.yaml", "old.csv"]);
        std::thread::sleep(Duration::from_millis(round * 60));
        import.signal(Signal::SIGKILL);
        drop(import);
        if bench.path().join("runs/shell/study.db").exists() {
            seen.push(bench.trials().len());
        }
    }
    assert!(seen.iter().all(|n| [0, 3000].contains(n)), "{seen:?}");
    let told = bench.json(&["import", "study.yaml", "old.csv", "-f", "json"]);
    assert_eq!(
        told["completed"].as_u64().unwrap() + told["known"].as_u64().unwrap(),
        3000
    );
    assert_eq!(bench.trials().len(), 3000);
}

#[test]
fn configurations_of_a_file_are_tried_first_and_none_twice() {
    let bench = Bench::new();
    bowl(&bench, "run_cap: 4\ncpu: {max_parallel: 1}");
    bench.write("wrong.csv", "x,kind\n0.1,a\n0.2,c\n");
    let ended = bench.run(&["enqueue", "--from", "wrong.csv", "-s", "study.yaml"]);
    assert_eq!(ended.code, 2);
    said(
        &ended,
        &["wrong.csv, line 3: `kind` cannot be c", "one of a, b"],
    );
    bench.write(
        "mine.jsonl",
        "{\"x\": 0.1, \"kind\": \"a\"}\n{\"params\": {\"x\": 0.2}}\n",
    );
    let ended = bench.run(&["enqueue", "--from", "mine.jsonl", "-s", "study.yaml"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let twice = bench.run(&["enqueue", "x=0.1", "kind=a"]);
    assert_eq!(twice.code, 2);
    said(&twice, &["waits to be tried already", "--again"]);
    let words = ["enqueue", "--from", "mine.jsonl", "-f"];
    for format in ["text", "json"] {
        let twice = bench.run(&[&words[..], &[format]].concat());
        assert_eq!(twice.code, 2, "{twice:?}");
        let all = twice.stdout + &twice.stderr;
        assert!(all.contains("waits to be tried already"), "{all}");
    }
    assert_eq!(bench.run(&["run", "study.yaml"]).code, 0);
    let trials = bench.trials();
    assert_eq!(
        (&trials[0]["params"]["x"], &trials[1]["params"]["x"]),
        (&0.1.into(), &0.2.into())
    );
    let twice = bench.run(&["enqueue", "x=0.1", "kind=a"]);
    said(&twice, &["trial 0 has this configuration"]);
    assert_eq!(
        bench.run(&["enqueue", "x=0.1", "kind=a", "--again"]).code,
        0
    );
}

#[test]
fn a_small_space_is_tried_once_and_the_study_ends() {
    let bench = Bench::new();
    for method in ["random", "sobol", "tpe", "bayes"] {
        let more = "run_cap: 50\ncpu: {max_parallel: 3}";
        bowl(&bench, more);
        let text = bench.read("study.yaml");
        let text = text.replace("method: random", &format!("method: {method}"));
        let text = text.replace("name: shell", &format!("name: {method}"));
        bench.write(
            "study.yaml",
            &text.replace("{min: 0.0, max: 1.0}", "{values: [0.1, 0.5, 0.7]}"),
        );
        let ended = bench.run(&["run", "study.yaml"]);
        assert_eq!(ended.code, 0, "{ended:?}");
        assert!(
            ended.stdout.contains("every configuration was tried"),
            "{ended:?}"
        );
        assert!(ended.stdout.contains("6 trials: 6 completed"), "{ended:?}");
    }
    let text = bench.read("study.yaml");
    bench.write(
        "study.yaml",
        &(text.replace("run_cap: 50", "run_cap: 9") + "allow_duplicates: true\n"),
    );
    assert_eq!(bench.run(&["run", "study.yaml"]).code, 0);
    assert_eq!(
        count(
            &bench
                .json(&["trials", "-s", "bayes", "-f", "json"])
                .as_array()
                .unwrap()
                .clone(),
            "completed"
        ),
        9
    );
}

#[test]
fn a_prior_is_where_the_search_begins_and_a_wrong_one_is_an_error_with_its_place() {
    let bench = Bench::new();
    bowl(&bench, "run_cap: 5\ncpu: {max_parallel: 1}");
    let text = bench
        .read("study.yaml")
        .replace("method: random", "method: bayes");
    let with = |prior: &str| {
        text.replace(
            "{min: 0.0, max: 1.0}",
            &format!("{{min: 0.0, max: 1.0, prior: {prior}}}"),
        )
    };
    bench.write("study.yaml", &with("{guess: 0.7, confidence: high}"));
    assert_eq!(bench.run(&["run", "study.yaml"]).code, 0);
    assert_eq!(bench.trials()[0]["params"]["x"], 0.7);
    for (prior, words) in [
        ("7", "the guess 7 is not one that `x` can be"),
        (
            "{guess: 0.5, confidence: certain}",
            "it can be `low`, `medium` or `high`",
        ),
        ("{min: 0.5}", "only one of `min` and `max`"),
        ("{mean: 0.5}", "did you mean `guess`?"),
    ] {
        bench.write("wrong.yaml", &with(prior));
        let ended = bench.run(&["check", "wrong.yaml"]);
        assert_eq!(ended.code, 2, "{ended:?}");
        said(&ended, &["wrong.yaml:8:", words]);
    }
    bench.write(
        "wrong.yaml",
        &with("0.5").replace("method: bayes", "method: sobol"),
    );
    said(
        &bench.run(&["check", "wrong.yaml"]),
        &["does not go with this method", "method: bayes"],
    );
}
