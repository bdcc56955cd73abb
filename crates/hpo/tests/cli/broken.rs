//! What is wrong is said, with a hint and the right exit code, and nothing is run.

use crate::bench::{Bench, shell_study};

const BROKEN: &str = "\
name: broken
program: train.py
metod: random
metric: {name: loss, goal: small}
run_cap: 10
parameters:
  lr: {min: 1.0, max: 1e-3, distribution: log_uniform_values}
  momentum: {min: 0.5, max: 0.9, when: {optimiser: sgd}}
";

#[test]
fn all_mistakes_of_a_study_file_come_at_once_each_with_its_place() {
    let bench = Bench::new();
    bench.write("study.yaml", BROKEN);
    for command in ["run", "check"] {
        let ended = bench.run(&[command, "study.yaml"]);
        assert_eq!(ended.code, 2, "{ended:?}");
        assert_eq!(ended.stdout, "", "words go to stderr");
        for place in [
            "study.yaml:3:1",
            "study.yaml:4:",
            "study.yaml:7:",
            "study.yaml:8:",
        ] {
            assert!(ended.stderr.contains(place), "{place}:\n{}", ended.stderr);
        }
        assert!(
            ended.stderr.contains("method"),
            "the nearest key is named: {}",
            ended.stderr
        );
        assert!(
            !ended.stderr.contains('\u{1b}'),
            "no colours where no terminal is"
        );
    }
    assert!(!bench.path().join("runs").exists(), "nothing was run");
}

#[test]
fn files_that_are_none_are_refused_with_a_hint() {
    let bench = Bench::new();
    bench.write("binary.yaml", "a\0b");
    std::fs::write(bench.path().join("latin.yaml"), [b'a', 0xe9, b'\n']).unwrap();
    bench.write("empty.yaml", "");
    for (file, word) in [
        ("nosuch.yaml", "no file"),
        (".", "directory"),
        ("binary.yaml", "binary"),
        ("latin.yaml", "UTF-8"),
        ("empty.yaml", "error"),
    ] {
        for command in ["run", "check"] {
            let ended = bench.run(&[command, file]);
            assert_eq!(ended.code, 2, "{ended:?}");
            assert!(ended.stderr.contains(word), "{ended:?}");
        }
    }
}

#[test]
fn wrong_usage_is_exit_code_2() {
    let bench = Bench::new();
    for arguments in [
        &["run"][..],
        &["--nonsense"],
        &["status", "a", "-s", "b"],
        &["best", "-f", "toml"],
        &["trial", "-1"],
        &["trials"],
        &["status", "nosuch"],
        &["frobnicate"],
        &["init", "--program", ""],
    ] {
        let ended = bench.run(arguments);
        assert_eq!(ended.code, 2, "{ended:?}");
        assert!(ended.stderr.contains("error"), "{ended:?}");
        assert_eq!(ended.stdout, "");
    }
}

#[test]
fn wrong_words_of_steering_commands_are_named() {
    let bench = Bench::new();
    for (arguments, words) in [
        (&["set", "3", "lr"][..], "`lr` stands there without a value"),
        (&["set", "3", "4", "lr=1"], "give one trial at a time"),
        (&["set", "3", "lr=1", "--run-cap", "9"], "not both"),
        (&["pause", "x"], "write a trial's number, such as 7"),
    ] {
        let ended = bench.run(arguments);
        assert_eq!(ended.code, 2, "{ended:?}");
        assert!(ended.stderr.contains(words), "{ended:?}");
    }
}

#[test]
fn help_and_version_are_data() {
    let bench = Bench::new();
    for command in [
        "run", "check", "status", "trials", "trial", "logs", "best", "init", "schema",
    ] {
        let ended = bench.run(&[command, "--help"]);
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{command}");
        assert!(
            ended.stdout.contains("Example"),
            "{command}: {}",
            ended.stdout
        );
    }
    assert!(bench.run(&["--version"]).stdout.starts_with("hpo "));
}

#[test]
fn files_that_trials_need_are_looked_for_before_any_trial() {
    let bench = Bench::new();
    let table = "trainer: {model: mlp, dataset: {csv: no/such.csv, target: y}, epochs: 2}\n\
                 method: random\nmetric: {name: val_loss}\nrun_cap: 2\nrecipe: {optimizers: [sgd]}\n";
    bench.write("table.yaml", table);
    for command in ["check", "run"] {
        let ended = bench.run(&[command, "table.yaml"]);
        assert_eq!(ended.code, 2, "{ended:?}");
        assert!(
            ended.stderr.contains("no/such.csv cannot be read"),
            "{ended:?}"
        );
    }
    assert!(!bench.path().join("runs").exists(), "nothing was begun");
    let script = "program: no-such-train.py\nmethod: random\nmetric: {name: loss}\nrun_cap: 2\n\
                  parameters: {lr: {values: [1, 2]}}\n";
    bench.write("script.yaml", script);
    let ended = bench.run(&["check", "script.yaml"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(
        ended
            .stderr
            .contains("warning: there is no no-such-train.py"),
        "{ended:?}"
    );
    bench.write("no-such-train.py", "");
    bench.write("file", "");
    for (more, words) in [
        ("cwd: nowhere", "`cwd`: there is no directory "),
        ("cwd: file", "`cwd`: there is no directory "),
        ("python: no/venv", "`python`: there is no "),
        ("python: .", "`python`: there is no "),
    ] {
        bench.write("script.yaml", &format!("{script}{more}\n"));
        let ended = bench.run(&["check", "script.yaml"]);
        assert_eq!(ended.code, 0, "{ended:?}");
        assert!(ended.stderr.contains(words), "{more}: {ended:?}");
    }
    for more in ["cwd: .", "cwd: ${trial_dir}", "python: python3"] {
        bench.write("script.yaml", &format!("{script}{more}\n"));
        let ended = bench.run(&["check", "script.yaml"]);
        assert!(!ended.stderr.contains("there is no"), "{more}: {ended:?}");
    }
}

#[test]
fn a_log_that_makes_no_sense_is_said_to_be_damaged_and_where() {
    let bench = Bench::new();
    shell_study(&bench, "echo '[hpo] {\"loss\": 1}'\n", "run_cap: 1");
    assert_eq!(bench.run(&["run", "study.yaml"]).code, 0);
    let database = bench.path().join("runs/shell/study.db");
    let connection = rusqlite::Connection::open(&database).unwrap();
    let gone = "DELETE FROM events WHERE event = 'attempt_launching'";
    assert_eq!(connection.execute(gone, []).unwrap(), 1);
    for command in ["status", "trials"] {
        let ended = bench.run(&[command, "shell"]);
        assert_eq!(ended.code, 4, "{ended:?}");
        let words = "runs/shell/study.db is damaged: ";
        assert!(ended.stderr.contains(words), "{ended:?}");
    }
}
