//! What goes wrong at night: silence, full disks, files that vanish, and words that are no words.

use std::fs;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::Value as Json;

use crate::bench::{Bench, count, shell_study, study_directory, wait_for};

const ONE: &str = "cpu: {max_parallel: 1}\nstop_grace: 1s\n";

#[test]
fn a_trial_that_falls_silent_is_tried_again_once_and_fails() {
    let bench = Bench::new();
    let script = "case \"$*\" in *kind=a*) sleep 1000;; esac\n\
                  for i in 1 2 3 4; do sleep 0.4; echo working; done\n\
                  echo '[hpo] {\"step\": 1, \"loss\": 0.5}'\n";
    shell_study(
        &bench,
        script,
        &format!("{ONE}run_cap: 4\nfailure: {{stall_timeout: 1s}}"),
    );
    let ended = bench.run(&["run", "study.yaml"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let trials = bench.trials();
    for trial in &trials {
        let silent = trial["params"]["kind"] == "a";
        let expected = if silent { "failed" } else { "completed" };
        assert_eq!(trial["state"], expected, "{trial:#}");
        assert_eq!(trial["attempts"], if silent { 2 } else { 1 });
        if silent {
            assert_eq!(trial["reason"], "stalled");
        }
    }
    assert!(
        ended.stderr.contains("fell silent and was ended"),
        "{ended:?}"
    );
    bench.wait_until_alone();
}

#[test]
fn a_trial_has_its_time() {
    let bench = Bench::new();
    let script = "echo '[hpo] {\"step\": 1, \"loss\": 0.5}'\nsleep 1000\n";
    let more = format!("{ONE}run_cap: 1\nfailure: {{trial_time_limit: 0.5s}}");
    shell_study(&bench, script, &more);
    let ended = bench.run(&["run", "study.yaml"]);
    assert_eq!(ended.code, 1, "no trial is complete: {ended:?}");
    let trial = &bench.trials()[0];
    assert_eq!(
        (&trial["state"], &trial["reason"]),
        (&"stopped".into(), &"time_limit".into())
    );
    assert_eq!(trial["value"], 0.5);
    bench.wait_until_alone();
}

#[test]
fn five_equal_failures_end_a_study_and_say_what_is_missing() {
    let bench = Bench::new();
    let script = "echo 'Traceback (most recent call last):' >&2\n\
                  echo \"ModuleNotFoundError: No module named 'torch' in process $$\" >&2\nexit 1\n";
    shell_study(&bench, script, "run_cap: 20\nfailure: {crash_retries: 0}");
    let ended = bench.run(&["run", "study.yaml"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert_eq!(count(&bench.trials(), "failed"), 5);
    assert!(ended.stderr.contains("| Traceback"), "{ended:?}");
    assert_eq!(ended.stderr.matches("hint:").count(), 1, "{ended:?}");
    assert!(ended.stderr.contains("has no module `torch"), "{ended:?}");
    assert!(
        ended.stdout.contains("5 trials in a row failed alike"),
        "{ended:?}"
    );
    let page = bench.run(&["trial", "0"]);
    assert!(page.stdout.contains("hint: "), "{page:?}");
}

#[test]
fn what_cannot_be_started_is_explained() {
    let bench = Bench::new();
    let study = "name: s\ncommand: [PROGRAM]\nmethod: random\nmetric: {name: loss}\nrun_cap: 2\n\
                 parameters: {x: {min: 0.0, max: 1.0}}\n";
    bench.write("plain.txt", "not a program");
    std::fs::create_dir(bench.path().join("folder")).unwrap();
    for (program, more, words) in [
        ("no-such-program-xyz", "", "installed"),
        ("./plain.txt", "", "chmod +x"),
        ("./folder", "", "it is a directory"),
        (
            "echo",
            "cwd: nowhere\n",
            "nowhere: there is no such directory",
        ),
    ] {
        bench.write("study.yaml", &(study.replace("PROGRAM", program) + more));
        let ended = bench.run(&[
            "run",
            "study.yaml",
            "--dir",
            &format!("runs-{}", words.len()),
        ]);
        assert_eq!(ended.code, 1, "{ended:?}");
        assert!(ended.stderr.contains(words), "{ended:?}");
    }
}

#[test]
fn words_that_are_no_words_do_no_harm() {
    let on_stdout = "head -c 3000000 /dev/zero | tr '\\0' 'x'\n\
                  printf '\\377\\376\\n[hpo] {\"step\": 1, \"loss\": 0.5}\\n\\377' \n\
                  printf '\\377 no \\033[31m colour' >&2\nexit 3\n";
    let in_a_file = "printf '{\"step\": 1, \"loss\": 0.5}\\n' >> $HPO_METRICS_FILE\n\
                     printf '\\377\\n{\"step\": 2, \"loss\": 0.3}' >> $HPO_METRICS_FILE\nexit 3\n";
    for (script, values) in [(on_stdout, vec![0.5]), (in_a_file, vec![0.5, 0.3])] {
        let bench = Bench::new();
        shell_study(&bench, script, "run_cap: 1\nfailure: {crash_retries: 0}");
        let ended = bench.run(&["run", "study.yaml"]);
        assert_eq!(ended.code, 1, "{ended:?}");
        assert!(!ended.stderr.contains('\u{1b}'), "{ended:?}");
        let trial = bench.json(&["trial", "0", "-f", "json"]);
        assert_eq!(trial["curve"]["value"], serde_json::json!(values));
    }
}

#[test]
fn a_metrics_file_that_is_written_anew_each_time_is_followed() {
    let bench = Bench::new();
    // As programs do that keep a list and dump it: the whole file again, in place or by a rename.
    let script = "lines=\n\
                  for i in 1 2 3 4 5 6; do\n\
                    lines=\"$lines{\\\"step\\\": $i, \\\"loss\\\": 0.$((9 - i))}\n\"\n\
                    if [ $((i % 2)) = 0 ]; then printf '%s' \"$lines\" > $HPO_METRICS_FILE\n\
                    else printf '%s' \"$lines\" > draft; mv draft $HPO_METRICS_FILE; fi\n\
                    sleep 0.15\n\
                  done\n";
    shell_study(&bench, script, &format!("{ONE}run_cap: 1"));
    let ended = bench.run(&["run", "study.yaml"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let trial = bench.json(&["trial", "0", "-f", "json"]);
    assert_eq!(
        trial["curve"]["steps"],
        serde_json::json!([1, 2, 3, 4, 5, 6])
    );
    assert_eq!(
        trial["curve"]["value"],
        serde_json::json!([0.8, 0.7, 0.6, 0.5, 0.4, 0.3])
    );
}

#[test]
fn a_script_without_steps_that_begins_again_has_one_curve() {
    let bench = Bench::new();
    let script = "for loss in 0.9 0.8 0.7; do echo \"[hpo] {\\\"loss\\\": $loss}\"; done\n\
                  [ $HPO_ATTEMPT = 2 ] || exit 1\n";
    shell_study(&bench, script, "run_cap: 1\nfailure: {crash_retries: 1}");
    assert_eq!(bench.run(&["run", "study.yaml"]).code, 0);
    let trial = bench.json(&["trial", "0", "-f", "json"]);
    assert_eq!(trial["attempts"], 2);
    assert_eq!(trial["curve"]["steps"], serde_json::json!([1, 2, 3]));
}

#[test]
fn a_study_directory_that_vanishes_ends_the_study_and_all_processes() {
    let bench = Bench::new();
    let script = "echo '[hpo] {\"step\": 1, \"loss\": 0.5}'\nsleep 1000\n";
    shell_study(&bench, script, &format!("{ONE}run_cap: 2"));
    let running = bench.start(&["run", "study.yaml"]);
    wait_for("the first report", || {
        let status = bench.run(&["status", "-f", "json"]);
        let json: Json = serde_json::from_str(&status.stdout).unwrap_or_default();
        json["running"][0]["step"] == 1
    });
    fs::rename(
        study_directory(&bench, "shell"),
        bench.path().join("elsewhere"),
    )
    .unwrap();
    assert_eq!(running.code(), 4);
    assert!(
        bench.read("words").contains("removed or replaced"),
        "{}",
        bench.read("words")
    );
    bench.wait_until_alone();
    // Put back, it goes on.
    fs::create_dir_all(bench.path().join("runs")).unwrap();
    let _ = fs::remove_dir_all(study_directory(&bench, "shell"));
    fs::rename(
        bench.path().join("elsewhere"),
        study_directory(&bench, "shell"),
    )
    .unwrap();
    assert_eq!(bench.trials().len(), 1);
}

/// A small disk of its own, as long as it lives.
pub(crate) struct SmallDisk<'p>(&'p Path);

impl<'p> SmallDisk<'p> {
    /// `None` where the system does not let us mount one.
    pub(crate) fn mount(place: &'p Path, size: &str) -> Option<Self> {
        fs::create_dir_all(place).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", size, "tmpfs"]).arg(place);
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        if !mounted {
            assert!(
                std::env::var_os("HPO_TEST_REQUIRE_ALL").is_none(),
                "a small disk cannot be mounted"
            );
            eprintln!("skipped: a small disk cannot be mounted (not root?)");
        }
        mounted.then_some(Self(place))
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

/// Fills a disk to the last byte.
pub(crate) fn fill(ballast: &Path) {
    use std::io::Write as _;
    let mut file = fs::File::options()
        .append(true)
        .create(true)
        .open(ballast)
        .unwrap();
    for size in [65536, 4096, 1] {
        let piece = vec![0_u8; size];
        while file.write_all(&piece).is_ok() {}
    }
}

#[test]
fn a_full_disk_stops_a_study_for_a_while_and_loses_nothing() {
    let bench = Bench::new();
    let runs = bench.path().join("runs");
    let Some(_disk) = SmallDisk::mount(&runs, "size=8m") else {
        return;
    };
    // Reports until it is told to go on; a write that fails ends it, as it would a real program.
    let script = "set -e\ni=0\n\
                  while [ $i -lt 30 ] || [ ! -e go ]; do\n\
                    i=$((i + 1))\n\
                    echo \"[hpo] {\\\"step\\\": $i, \\\"loss\\\": 0.5}\"\n\
                    [ $i -lt 30 ] || sleep 0.05\n\
                  done\n\
                  echo x > $HPO_CHECKPOINT_DIR/state\n";
    let more = "run_cap: 6\ncpu: {max_parallel: 2}\nstop_grace: 1s\nfailure: {crash_retries: 0}";
    shell_study(&bench, script, more);
    let mut running = bench.start(&["run", "study.yaml"]);
    wait_for("reports", || {
        let status = bench.run(&["status", "-f", "json"]);
        let json: Json = serde_json::from_str(&status.stdout).unwrap_or_default();
        json["running"][0]["step"].as_u64() > Some(30)
    });
    let ballast = runs.join("ballast");
    fill(&ballast);
    wait_for("the full disk to be told", || {
        bench.read("words").contains("no room on the disk")
    });
    assert!(running.ended().is_none());
    // Trials die of it one after the other; nobody is started.
    wait_for("the trials to die of it", || {
        let mine = bench.processes();
        !mine.iter().any(|process| process.contains("trial.sh"))
    });
    assert!(running.ended().is_none());
    bench.write("go", "");
    fs::remove_file(&ballast).unwrap();
    assert_eq!(running.code(), 0, "{}", bench.read("words"));
    let words = bench.read("words");
    assert!(words.contains("there is room on the disk again"), "{words}");
    assert_eq!(
        words.matches("no room on the disk").count(),
        1,
        "said once: {words}"
    );
    let trials = bench.trials();
    assert_eq!(
        (trials.len(), count(&trials, "completed")),
        (6, 6),
        "{trials:#?}\n{words}"
    );
    for number in 0..6 {
        let trial = bench.json(&["trial", &number.to_string(), "-f", "json"]);
        let steps: Vec<u64> = serde_json::from_value(trial["curve"]["steps"].clone()).unwrap();
        let all: Vec<u64> = (1..=steps.len() as u64).collect();
        assert_eq!(steps, all, "no report is lost");
    }
    bench.wait_until_alone();
}

#[test]
fn who_drains_on_a_full_disk_does_not_wait_for_trials_that_cannot_be_started() {
    let bench = Bench::new();
    let runs = bench.path().join("runs");
    let Some(_disk) = SmallDisk::mount(&runs, "size=4m") else {
        return;
    };
    // Fills the disk itself, leaves at once, and is to be started again.
    let script = "echo '[hpo] {\"step\": 1, \"loss\": 0.5}'\n\
                  [ -e go ] && exit 0\n\
                  cat /dev/zero > runs/ballast 2> /dev/null\n\
                  exit 1\n";
    shell_study(&bench, script, &format!("{ONE}run_cap: 2"));
    let running = bench.start(&["run", "study.yaml"]);
    wait_for("the full disk to be told", || {
        bench.read("words").contains("no room on the disk")
    });
    running.signal(Signal::SIGINT);
    assert_eq!(running.code(), 3, "{}", bench.read("words"));
    bench.write("go", "");
    fs::remove_file(runs.join("ballast")).unwrap();
    let again = bench.run(&["run", "study.yaml"]);
    assert_eq!(again.code, 0, "{again:?}");
    let trials = bench.trials();
    assert_eq!(count(&trials, "completed"), 2, "{trials:#?}");
}

#[test]
fn a_program_that_writes_to_the_database_is_waited_for() {
    let bench = Bench::new();
    let script = "for i in 1 2 3 4 5; do echo \"[hpo] {\\\"step\\\": $i, \\\"loss\\\": 0.5}\"; sleep 0.2; done\n";
    shell_study(&bench, script, "run_cap: 4\ncpu: {max_parallel: 2}");
    let running = bench.start(&["run", "study.yaml"]);
    wait_for("a trial", || {
        !bench.run(&["trials", "-f", "csv"]).stdout.is_empty()
    });
    let database = study_directory(&bench, "shell").join("study.db");
    let other = rusqlite::Connection::open(database).unwrap();
    other
        .busy_timeout(std::time::Duration::from_secs(10))
        .unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    wait_for("the other program to be told of", || {
        bench.read("words").contains("by another program")
    });
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(running.code(), 0, "{}", bench.read("words"));
    let trials = bench.trials();
    assert_eq!(count(&trials, "completed"), 4, "{trials:#?}");
    assert!(trials.iter().all(|t| t["steps"] == 5), "{trials:#?}");
}

#[test]
fn a_study_in_which_nothing_can_be_started_hears_its_user() {
    let bench = Bench::new();
    bench.write(
        "study.yaml",
        "command: [./missing]\nmethod: random\nmetric: {name: loss}\nrun_cap: 1000000\n\
         failure: {stop_after_consecutive: 0}\nparameters: {x: {min: 0.0, max: 1.0}}\n",
    );
    let running = bench.start(&["run", "study.yaml"]);
    wait_for("a failure", || bench.read("words").contains("not_started"));
    assert_eq!(bench.run(&["pause"]).code, 0);
    assert_eq!(bench.run(&["resume"]).code, 0);
    running.signal(Signal::SIGINT);
    assert_eq!(running.code(), 3, "{}", bench.read("words"));
}
