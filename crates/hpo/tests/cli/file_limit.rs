//! A limit on the size of files (`ulimit -f`): an error with a way out, where it was the end without a word.

use std::process::{Command, Stdio};

use serde_json::Value as Json;

use crate::bench::{Bench, Ended, count, shell_study};

/// The program in a shell where no file may have more than so many KiB.
fn limited(bench: &Bench, kibibytes: u32, command: &str) -> Ended {
    let program = env!("CARGO_BIN_EXE_hpo");
    let blocks = 2 * kibibytes;
    let output = Command::new("sh")
        .args([
            "-c",
            &format!("ulimit -f {blocks}; exec \"{program}\" {command}"),
        ])
        .current_dir(bench.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Ended::new(&[command], output)
}

fn completed(trials: &[Json]) -> Vec<&Json> {
    let completed = trials.iter().filter(|t| t["state"] == "completed");
    completed.collect()
}

#[test]
fn a_database_that_may_not_grow_ends_the_session_and_loses_nothing() {
    let bench = Bench::new();
    let script = "seq 1 300 | sed 's/.*/[hpo] {\"step\": &, \"loss\": 0.&}/'\n";
    shell_study(&bench, script, "cpu: {max_parallel: 2}\nrun_cap: 60\n");
    // What the whole study takes is more than twice as large.
    let ended = limited(&bench, 400, "run study.yaml");
    assert_eq!(ended.code, 4, "{ended:?}");
    for words in ["study.db", "(`ulimit -f`), 400 KiB", "ulimit -f unlimited"] {
        assert!(ended.stderr.contains(words), "{words}: {ended:?}");
    }
    bench.wait_until_alone();
    let before = bench.trials();
    let known = completed(&before);
    assert!((1..60).contains(&known.len()), "{}", known.len());
    // No better the second time, and no worse.
    let again = limited(&bench, 400, "run study.yaml");
    assert_eq!(again.code, 4, "{again:?}");
    bench.wait_until_alone();
    // Without the limit it goes on to its end, from where it was.
    let ended = bench.run(&["run", "study.yaml"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let after = bench.trials();
    assert_eq!(count(&after, "completed"), 60);
    for trial in known {
        let same = after.iter().find(|other| other["trial"] == trial["trial"]);
        assert_eq!(same, Some(trial));
    }
    let twice = after.iter().filter(|trial| trial["attempts"] != 1);
    assert!(twice.count() <= 4, "those that ran when a session ended");
}

#[test]
fn not_even_the_first_page_fits() {
    let bench = Bench::new();
    shell_study(
        &bench,
        "echo '[hpo] {\"step\": 1, \"loss\": 0.5}'\n",
        "run_cap: 1\n",
    );
    let ended = limited(&bench, 1, "run study.yaml");
    assert_eq!(ended.code, 4, "{ended:?}");
    assert!(ended.stderr.contains("ulimit -f unlimited"), "{ended:?}");
    let ended = bench.run(&["run", "study.yaml"]);
    assert_eq!(ended.code, 0, "{ended:?}");
}

#[test]
fn trials_meet_the_limit_as_they_would_without_hpo() {
    let bench = Bench::new();
    // A shell tells a signal as 128 and its number.
    let script = "head -c 4000000 /dev/zero > \"$HPO_TRIAL_DIR/large\"\n\
                  echo \"[hpo] {\\\"step\\\": 1, \\\"loss\\\": $?}\"\n";
    shell_study(&bench, script, "run_cap: 1\n");
    let ended = limited(&bench, 3000, "run study.yaml");
    assert_eq!(ended.code, 0, "{ended:?}");
    let trials = bench.trials();
    assert_eq!(trials[0]["value"], 128.0 + 25.0, "SIGXFSZ: {trials:#?}");
    // And the program itself says so when it writes what it was asked for.
    let ended = limited(&bench, 40, "report");
    assert_eq!(ended.code, 4, "{ended:?}");
    assert!(ended.stderr.contains("File too large"), "{ended:?}");
}
