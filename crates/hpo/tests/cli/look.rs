//! Looking at studies, and the small commands.

use std::io::{Read as _, pipe};
use std::process::Stdio;

use crate::bench::{Bench, shell_study};

fn small_study(bench: &Bench) {
    shell_study(bench, "echo '[hpo] {\"loss\": 1}'\n", "run_cap: 3");
    let ended = bench.run(&["run", "study.yaml"]);
    assert_eq!(ended.code, 0, "{ended:?}");
}

#[test]
fn a_reader_that_has_left_is_no_error() {
    let bench = Bench::new();
    small_study(&bench);
    for arguments in [
        &["trials"][..],
        &["trials", "-f", "csv"],
        &["status"],
        &["schema"],
        &["logs", "0"],
    ] {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let mut child = bench
            .hpo(arguments)
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut words = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut words)
            .unwrap();
        assert_eq!(
            child.wait().unwrap().code(),
            Some(0),
            "{arguments:?}: {words}"
        );
        assert!(
            !words.contains("error") && !words.contains("panic"),
            "{arguments:?}: {words}"
        );
    }
}

#[test]
fn a_map_is_a_picture_or_json_and_no_csv() {
    let bench = Bench::new();
    shell_study(&bench, "echo '[hpo] {\"loss\": 1}'\n", "run_cap: 3");
    let study = bench.read("study.yaml");
    bench.write("study.yaml", &study.replace("  x: {", "  lr: {"));
    assert_eq!(bench.run(&["run", "study.yaml"]).code, 0);
    for (format, code) in [("table", 0), ("text", 0), ("json", 0), ("csv", 2)] {
        let ended = bench.run(&["trials", "--map", "-f", format]);
        assert_eq!(ended.code, code, "{ended:?}");
        assert_eq!(ended.stdout.is_empty(), code != 0, "{ended:?}");
    }
}

#[test]
fn a_study_is_found_by_name_directory_file_or_as_the_latest() {
    let bench = Bench::new();
    small_study(&bench);
    for arguments in [
        &["status", "-f", "json"][..],
        &["status", "shell", "-f", "json"],
        &["status", "-s", "shell", "-f", "json"],
        &["status", "runs/shell", "-f", "json"],
        &["status", "study.yaml", "-f", "json"],
        &["status", "--dir", "runs", "-f", "json"],
    ] {
        assert_eq!(bench.json(arguments)["study"], "shell", "{arguments:?}");
    }
    let other = bench.run(&["status", "other"]);
    assert_eq!(other.code, 2);
    assert!(
        other.stderr.contains("shell"),
        "what there is is named: {other:?}"
    );
    bench.write(
        "study2.yaml",
        &bench
            .read("study.yaml")
            .replace("name: shell", "name: later"),
    );
    assert_eq!(bench.run(&["run", "study2.yaml"]).code, 0);
    let latest = bench.run(&["status", "-f", "json"]);
    assert!(latest.stdout.contains("\"later\""), "{latest:?}");
    assert!(latest.stderr.contains("2 studies"), "{latest:?}");
}

#[test]
fn the_best_goes_to_a_file_whole_or_not_at_all() {
    let bench = Bench::new();
    small_study(&bench);
    let ended = bench.run(&["best", "-o", "best.yaml"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, ""), "{ended:?}");
    assert_eq!(bench.read("best.yaml"), bench.run(&["best"]).stdout);
    assert_eq!(bench.run(&["best", "-o", "no/such/best.yaml"]).code, 4);
    let other = bench.json(&["best", "--trial", "2", "-f", "json"]);
    assert_eq!(other["trial"], 2);
}

#[test]
fn a_starter_can_be_checked_and_is_not_overwritten() {
    let bench = Bench::new();
    assert_eq!(bench.run(&["init"]).code, 0);
    let plan = bench.json(&["check", "study.yaml", "-f", "json"]);
    assert_eq!(
        (&plan["version"], &plan["study"]),
        (&1.into(), &"starter".into())
    );
    assert!(!plan["plan"]["dimensions"].as_array().unwrap().is_empty());
    let again = bench.run(&["init"]);
    assert_eq!(again.code, 2, "{again:?}");
    let shown = bench.run(&["init", "-o", "-", "--program", "my train.py"]);
    assert!(
        shown.stdout.contains("program: \"my train.py\""),
        "{shown:?}"
    );
}

#[test]
fn the_plan_is_shown_with_pictures_and_the_space_written_out() {
    let bench = Bench::new();
    bench.run(&["init"]);
    let ended = bench.run(&["check", "study.yaml", "--expand"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    for words in [
        "early stopping  auto",
        "learning rate over a run",
        "one_cycle",
        "adamw",
        "parameters:",
        "KiB",
    ] {
        assert!(ended.stdout.contains(words), "{words}:\n{}", ended.stdout);
    }
    let schema = bench.json(&["schema"]);
    assert!(schema["properties"]["parameters"].is_object(), "{schema}");
}
