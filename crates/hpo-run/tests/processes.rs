//! Whole studies of real processes.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

mod support;

use hpo_study::{AttemptEnd, FailReason, StopReason, StudyEnd, TrialId, TrialState};
use nix::sys::signal::Signal;
use support::{Study, lives, play_part, until};

/// Not a test of its own: the coordinators and wardens of the others.
#[test]
fn part() {
    play_part();
}

const REPORT: &str = r#"echo '[hpo] {"step": 1, "loss": 0.5}'"#;

#[test]
fn a_plain_command_study_runs_to_its_end() {
    let script = r#"
        echo "$@" > "$HPO_TRIAL_DIR/args"
        env | grep '^HPO_' | sort > "$HPO_TRIAL_DIR/env"
        pwd > "$HPO_TRIAL_DIR/pwd"
        echo "to stderr" >&2
        echo "[hpo] {\"step\": 1, \"loss\": 0.$((9 - HPO_TRIAL)), \"acc\": NaN}"
        echo "{\"step\": 2, \"loss\": 0.$((8 - HPO_TRIAL))}" >> "$HPO_METRICS_FILE"
    "#;
    let study = Study::of_script(script, "run_cap: 6\ncpu: {max_parallel: 2}");
    let (code, words) = study.run();
    assert_eq!(code, 0, "{words}");
    let history = study.history();
    assert_eq!(history.end(), Some(&StudyEnd::RunCap));
    assert_eq!(history.trials().len(), 6);
    for trial in history.trials() {
        assert_eq!(trial.state, TrialState::Completed);
        assert_eq!(trial.curve.steps, [1, 2]);
        let read =
            |name: &str| std::fs::read_to_string(study.trial_file(trial.id.0, name)).unwrap();
        let lr = trial.config.number("lr").unwrap();
        assert_eq!(read("args").trim(), format!("--lr={lr}"));
        assert_eq!(read("params.json"), format!("{{\"lr\":{lr}}}"));
        assert_eq!(read("stderr.log"), "to stderr\n");
        assert_eq!(
            read("pwd").trim(),
            study.path("").canonicalize().unwrap().to_str().unwrap()
        );
        let environment = read("env");
        for line in [
            "HPO_STUDY=test".to_owned(),
            format!("HPO_TRIAL={}", trial.id),
            "HPO_ATTEMPT=1".to_owned(),
            format!("HPO_PARAMS={{\"lr\":{lr}}}"),
        ] {
            assert!(
                environment.lines().any(|l| l == line),
                "{line} is not in {environment}"
            );
        }
        assert!(!environment.contains("HPO_RESUME_FROM"));
        assert!(!environment.contains("HPO_BUDGET="));
    }
    assert_eq!(history.best().unwrap().id, TrialId(5));
    let best = study.read("study/best.yaml");
    assert!(best.contains("trial 5"), "{best}");
    let lr = history.best().unwrap().config.number("lr").unwrap();
    assert!(best.contains(&format!("lr: {lr}\n")), "{best}");
    let log = study.read("study/log.jsonl");
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let completed = |l: &&serde_json::Value| l["message"] == "trial completed" && l["attempt"] == 1;
    assert_eq!(lines.iter().filter(completed).count(), 6);
    // There is nothing left to do, and nothing is done.
    let before = hpo_store::read(&study.path("study")).unwrap();
    assert_eq!(study.run().0, 0);
    assert_eq!(
        hpo_store::read(&study.path("study")).unwrap().len(),
        before.len()
    );
    // A higher cap is taken in; another metric is not.
    study.write("[sh, script.sh, \"${args}\"]", "run_cap: 7");
    assert_eq!(study.run().0, 0);
    assert_eq!(study.history().trials().len(), 7);
    study.write("[sh, other.sh]", "run_cap: 8");
    let (code, words) = study.run();
    assert_eq!(code, 4);
    assert!(words.contains("cannot take these changes"), "{words}");
}

#[test]
fn odd_output_is_read_for_what_it_is() {
    let script = r#"
        echo '[hpo] this is not JSON'
        echo '[hpo] [1, 2]'
        head -c 3000000 /dev/zero | tr '\0' x
        echo
        printf '[hpo] {"step": 1, "loss": 0.7}\r\n'
        printf 'progress \377\376 [hpo] {"step": 9, "loss": 0.1}\n'
        printf '{"step": 2, "loss": 0.6}\n\n{"step": 3, "lo' >> "$HPO_METRICS_FILE"
        sleep 0.1
        printf 'ss": 0.4}' >> "$HPO_METRICS_FILE"
        printf '[hpo] {"step": 4, "loss": 0.3}'
    "#;
    let study = Study::of_script(script, "run_cap: 1");
    let (code, words) = study.run();
    assert_eq!(code, 0, "{words}");
    assert!(words.contains("passed over a report line"), "{words}");
    let history = study.history();
    let mut steps: Vec<u64> = history.trials()[0].curve.steps.iter().collect();
    steps.sort_unstable();
    assert_eq!(history.trials()[0].state, TrialState::Completed);
    // Two files have no order between them, so the last words of the one may come before the other's.
    assert!(steps.contains(&3) && !steps.contains(&9), "{steps:?}");
}

#[test]
fn a_diverged_trial_that_ignores_sigterm_is_killed() {
    let script = r#"
        trap '' TERM
        echo $$ >> pids
        for step in 1 2 3; do echo "[hpo] {\"step\": $step, \"loss\": NaN}"; done
        while :; do sleep 0.05; done
    "#;
    let study = Study::of_script(script, "run_cap: 1\nstop_grace: 200ms");
    let (code, words) = study.run();
    assert_eq!(code, 0, "{words}");
    let trial = study.history().trials()[0].clone();
    assert!(
        matches!(
            trial.state,
            TrialState::Stopped(StopReason::Diverged { .. })
        ),
        "{trial:?}"
    );
    assert!(matches!(
        trial.attempts[0].end,
        Some(AttemptEnd::Signaled { signal: 9, .. })
    ));
    assert!(!lives(study.pids("pids")[0]));
}

/// Children in the group, in a session of their own, and without a mark. The second trial goes on
/// while the first one has ended.
#[test]
fn nothing_of_a_trial_survives_it() {
    let script = format!(
        r#"
        touch unmarked
        sleep 1000 & echo $! >> pids
        setsid sh -c 'echo $$ >> pids; sleep 1000 & echo $! >> pids; wait' &
        env -i setsid sh -c 'echo $$ >> unmarked; exec sleep 1000' &
        while [ "$(wc -l < pids)" -lt $((3 * HPO_TRIAL + 3)) ] ||
            [ "$(wc -l < unmarked)" -le "$HPO_TRIAL" ]; do sleep 0.01; done
        {REPORT}
        if [ "$HPO_TRIAL" = 1 ]; then for pid in $(head -n 3 pids); do
            if kill -0 "$pid" 2>/dev/null; then echo "$pid" >> survivors; fi
        done; fi
        "#
    );
    let study = Study::of_script(&script, "run_cap: 2\ncpu: {max_parallel: 1}");
    let (code, words) = study.run();
    assert_eq!(code, 0, "{words}");
    assert_eq!(study.read("survivors"), "");
    let pids = [study.pids("pids"), study.pids("unmarked")].concat();
    assert_eq!(pids.len(), 8);
    assert!(pids.iter().all(|pid| !lives(*pid)), "{pids:?}");
}

#[test]
fn a_program_that_is_not_there_fails_the_study_with_a_reason() {
    let study = Study::of_script("", "run_cap: 9\nfailure: {stop_after_consecutive: 2}");
    study.write(
        "[./no-such-program]",
        "run_cap: 9\nfailure: {stop_after_consecutive: 2}",
    );
    let (code, words) = study.run();
    assert_eq!(code, 0, "{words}");
    let history = study.history();
    assert!(matches!(history.end(), Some(StudyEnd::Failures { .. })));
    let TrialState::Failed(FailReason::NotStarted { error }) = &history.trials()[0].state else {
        panic!("{:?}", history.trials()[0]);
    };
    assert!(
        error.contains("./no-such-program") && error.contains("not found"),
        "{error}"
    );
}

#[test]
fn a_trial_may_ask_for_another_attempt_and_finds_its_checkpoint() {
    let script = r#"
        if [ "$HPO_ATTEMPT" = 1 ]; then
            test -z "$HPO_RESUME_FROM" || exit 9
            printf '[hpo] {"step": 1, "loss": 0.9}\nhalf a line'
            echo saved > "$HPO_CHECKPOINT_DIR/state"
            exit 75
        fi
        cat "$HPO_RESUME_FROM/state" > "$HPO_TRIAL_DIR/found"
        echo '[hpo] {"step": 2, "loss": 0.5}'
    "#;
    let study = Study::of_script(script, "run_cap: 1");
    let (code, words) = study.run();
    assert_eq!(code, 0, "{words}");
    let trial = study.history().trials()[0].clone();
    assert_eq!(trial.state, TrialState::Completed);
    assert_eq!(trial.attempts.len(), 2);
    assert_eq!(trial.curve.steps, [1, 2]);
    assert_eq!(
        std::fs::read_to_string(study.trial_file(0, "found")).unwrap(),
        "saved\n"
    );
}

#[test]
fn a_crash_is_reported_with_its_last_words() {
    let script = "seq 1 50 >&2; echo 'the end' >&2; exit 3";
    let study = Study::of_script(script, "run_cap: 1\nfailure: {crash_retries: 1}");
    let (code, words) = study.run();
    assert_eq!(code, 0, "{words}");
    let trial = study.history().trials()[0].clone();
    let TrialState::Failed(FailReason::Crash { how, stderr }) = &trial.state else {
        panic!("{trial:?}");
    };
    assert_eq!(how, "exit code 3");
    assert!(
        stderr.ends_with("50\nthe end") && stderr.lines().count() == 20,
        "{stderr}"
    );
    assert_eq!(trial.attempts.len(), 2);
    let Some(AttemptEnd::Exited { code: 3, .. }) = trial.attempts[1].end else {
        panic!()
    };
}

#[test]
fn a_second_coordinator_is_turned_away() {
    let script = format!("echo $$ > pid; {REPORT}; while ! [ -f go ]; do sleep 0.01; done");
    let study = Study::of_script(&script, "run_cap: 1");
    let first = study.start();
    until("a trial", || !study.pids("pid").is_empty());
    let (code, words) = study.run();
    assert_eq!(code, 4);
    assert!(words.contains("being run by another process"), "{words}");
    std::fs::write(study.path("go"), "").unwrap();
    assert_eq!(first.end().0, 0);
    assert_eq!(study.history().sessions(), 1);
}

/// The trial reports a step that nobody takes in any more; its checkpoint is behind that step.
#[test]
fn a_killed_coordinator_takes_its_trials_along_if_the_study_wants_that() {
    let script = r#"
        if [ "$HPO_ATTEMPT" = 1 ]; then
            echo '[hpo] {"step": 1, "loss": 0.9}'
            setsid sh -c 'echo $$ >> pids; sleep 1000' &
            echo $$ >> pids
            while ! [ -f go ]; do sleep 0.01; done
            echo '[hpo] {"step": 2, "loss": 0.5}'
            echo saved > "$HPO_CHECKPOINT_DIR/state"
            touch said
            sleep 1000
        fi
        test -f "$HPO_RESUME_FROM/state"
    "#;
    let study = Study::of_script(script, "run_cap: 1\non_crash: kill");
    let first = study.start();
    until("both processes", || study.pids("pids").len() == 2);
    until("the first report", || {
        !study.history().trials()[0].curve.is_empty()
    });
    // Stopped, it reads nothing more.
    first.signal(Signal::SIGSTOP);
    std::fs::write(study.path("go"), "").unwrap();
    until("the second report", || study.path("said").exists());
    first.signal(Signal::SIGKILL);
    assert_eq!(first.end().0, -1);
    let pids = study.pids("pids");
    until("the end of all processes", || {
        pids.iter().all(|pid| !lives(*pid))
    });
    let (code, words) = study.run();
    assert_eq!(code, 0, "{words}");
    let trial = study.history().trials()[0].clone();
    assert_eq!(trial.state, TrialState::Completed);
    assert_eq!(trial.attempts[0].end, Some(AttemptEnd::Lost));
    assert_eq!(trial.curve.steps, [1, 2]);
    assert_eq!(trial.value(), Some(0.5));
}

/// A trial that reports, waits for `go`, reports again and ends; every process it ever had is in `pids`.
const LONG: &str = r#"
    echo $$ >> pids
    echo '[hpo] {"step": 1, "loss": 0.9}'
    setsid sh -c 'echo $$ >> helpers; exec sleep 1000' &
    while ! [ -f go ]; do sleep 0.01; done
    echo '[hpo] {"step": 2, "loss": 0.5}'
    touch said
    while ! [ -f end ]; do sleep 0.01; done
    exit "$(cat end)"
"#;

/// A study of one such trial, whose coordinator was killed after the first report. Gives back the
/// process's id.
fn orphaned(study: &Study) -> i32 {
    let first = study.start();
    until("both processes", || {
        study.pids("pids").len() == 1 && study.pids("helpers").len() == 1
    });
    until("the first report", || {
        !study.history().trials()[0].curve.is_empty()
    });
    first.signal(Signal::SIGKILL);
    assert_eq!(first.end().0, -1);
    study.pids("pids")[0]
}

fn touch(study: &Study, name: &str, text: &str) {
    std::fs::write(study.path("new"), text).unwrap();
    std::fs::rename(study.path("new"), study.path(name)).unwrap();
}

#[test]
fn a_running_trial_of_a_killed_coordinator_is_adopted() {
    let study = Study::of_script(LONG, "run_cap: 1");
    let pid = orphaned(&study);
    assert!(lives(pid));
    touch(&study, "go", "");
    until("the second report", || study.path("said").exists());
    let second = study.start();
    until("the missed report", || {
        study.history().trials()[0].curve.steps == [1, 2]
    });
    assert!(lives(pid));
    touch(&study, "end", "0");
    let (code, words) = second.end();
    assert_eq!(code, 0, "{words}");
    let trial = study.history().trials()[0].clone();
    assert_eq!(trial.state, TrialState::Completed);
    assert_eq!((trial.attempts.len(), trial.value()), (1, Some(0.5)));
    assert_eq!(trial.curve.steps, [1, 2]);
    assert_eq!(study.pids("pids"), [pid], "one process is all it had");
    assert!(!lives(study.pids("helpers")[0]));
}

#[test]
fn how_a_trial_ended_while_nobody_was_there_is_known() {
    for (exit, state) in [("0", "completed"), ("7", "failed")] {
        let study = Study::of_script(LONG, "run_cap: 1\nfailure: {crash_retries: 0}");
        let pid = orphaned(&study);
        touch(&study, "go", "");
        touch(&study, "end", exit);
        until("its end", || !lives(pid));
        until("the end of its helper", || !lives(study.pids("helpers")[0]));
        let (code, words) = study.run();
        assert_eq!(code, 0, "{words}");
        let trial = study.history().trials()[0].clone();
        assert_eq!(trial.state.word(), state);
        assert_eq!(trial.attempts.len(), 1);
        assert_eq!(trial.curve.steps, [1, 2]);
        assert_eq!(study.pids("pids").len(), 1);
    }
}

/// Whoever is the warden of a trial: its parent.
fn parent(pid: i32) -> i32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let mut fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
    fields.nth(1).unwrap().parse().unwrap()
}

fn until_the_first_report(study: &Study) {
    until("the first report", || {
        study.path("study").join("study.db").exists()
            && study
                .history()
                .trials()
                .first()
                .is_some_and(|t| !t.curve.is_empty())
    });
}

fn kill_now(pid: i32) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL).unwrap();
}

#[test]
fn a_killed_warden_costs_nothing() {
    let study = Study::of_script(LONG, "run_cap: 2\ncpu: {max_parallel: 1}");
    let coordinator = study.start();
    until_the_first_report(&study);
    kill_now(parent(study.pids("pids")[0]));
    touch(&study, "go", "");
    touch(&study, "end", "0");
    let (code, words) = coordinator.end();
    assert_eq!(code, 0, "{words}");
    let history = study.history();
    for trial in history.trials() {
        assert_eq!(trial.state, TrialState::Completed, "{words}");
        assert_eq!(trial.attempts.len(), 1, "{words}");
        assert_eq!(trial.curve.steps, [1, 2]);
    }
    assert_eq!(study.pids("pids").len(), 2);
    assert!(study.pids("helpers").iter().all(|pid| !lives(*pid)));
}

#[test]
fn what_can_never_be_a_warden_is_not_waited_for() {
    use std::os::unix::fs::PermissionsExt as _;
    let study = Study::of_script(LONG, "run_cap: 2\ncpu: {max_parallel: 2}");
    let (program, good) = (study.path("program"), study.path("good"));
    std::fs::rename(&program, &good).unwrap();
    let refused = |why: &str| {
        let (code, words) = study.run();
        assert_eq!(code, 4, "{words}");
        assert!(words.contains("trials cannot be started: `"), "{words}");
        assert!(words.contains(why), "{words}");
    };
    refused("No such file");
    touch(&study, "program", "no program at all");
    // Somebody whom permissions hold back or not: nobody runs what nobody may run.
    refused("Permission denied");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    refused("Exec format error");
    // In the middle of a study, with a trial under way.
    std::fs::rename(&good, &program).unwrap();
    study.write(
        "[sh, script.sh, \"${args}\"]",
        "run_cap: 2\ncpu: {max_parallel: 1}",
    );
    let coordinator = study.start();
    until_the_first_report(&study);
    std::fs::rename(&program, &good).unwrap();
    kill_now(parent(study.pids("pids")[0]));
    touch(&study, "go", "");
    touch(&study, "end", "0");
    let (code, words) = coordinator.end();
    assert_eq!(code, 4, "{words}");
    assert!(words.contains("No such file"), "{words}");
    std::fs::rename(&good, &program).unwrap();
    let (code, words) = study.run();
    assert_eq!(code, 0, "{words}");
    for trial in study.history().trials() {
        assert_eq!(trial.state, TrialState::Completed, "{words}");
        assert_eq!(trial.curve.steps, [1, 2]);
    }
}

#[test]
fn a_trial_whose_coordinator_and_warden_were_killed_is_adopted_and_one_that_died_too_is_put_back() {
    for dies in [false, true] {
        let study = Study::of_script(LONG, "run_cap: 1");
        let first = study.start();
        until_the_first_report(&study);
        let pid = study.pids("pids")[0];
        let warden = parent(pid);
        first.signal(Signal::SIGSTOP);
        kill_now(warden);
        first.signal(Signal::SIGKILL);
        assert_eq!(first.end().0, -1);
        if dies {
            kill_now(pid);
        }
        touch(&study, "go", "");
        if !dies {
            until("the second report", || study.path("said").exists());
        }
        let second = study.start();
        until("the second session", || study.history().sessions() == 2);
        touch(&study, "end", "0");
        let (code, words) = second.end();
        assert_eq!(code, 0, "{words}");
        let trial = study.history().trials()[0].clone();
        assert_eq!(trial.state, TrialState::Completed, "{words}");
        assert_eq!(trial.value(), Some(0.5));
        // Nobody saw how it ended; what it had to say is kept.
        assert_eq!(trial.attempts[0].end, Some(AttemptEnd::Lost));
        assert_eq!(study.pids("pids").len(), 2);
        assert!(study.pids("pids").iter().all(|pid| !lives(*pid)));
    }
}

#[test]
fn an_adopted_trial_is_ended_like_any_other() {
    let study = Study::of_script(LONG, "run_cap: 1\nstop_grace: 200ms");
    let pid = orphaned(&study);
    // Even one that was stopped.
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGSTOP).unwrap();
    let second = study.start();
    until("the second session", || study.history().sessions() == 2);
    second.signal(Signal::SIGINT);
    until("the drain", || study.history().draining());
    second.signal(Signal::SIGINT);
    assert_eq!(second.end().0, 3);
    assert_eq!(study.history().trials()[0].state, TrialState::Queued);
    let pids = [study.pids("pids"), study.pids("helpers")].concat();
    assert_eq!(pids.len(), 2);
    assert!(pids.iter().all(|pid| !lives(*pid)), "{pids:?}");
}

/// A process of the trial's id that is another one: nothing is adopted, and nothing is killed.
#[test]
fn a_process_id_that_was_given_again_is_left_alone() {
    let study = Study::of_script(LONG, "run_cap: 1");
    let pid = orphaned(&study);
    let warden = parent(pid);
    kill_now(warden);
    kill_now(pid);
    until("its end", || !lives(pid));
    let mut stranger = std::process::Command::new("sleep")
        .arg("1000")
        .spawn()
        .unwrap();
    let record = study.trial_file(0, "process.1.json");
    let mut json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&record).unwrap()).unwrap();
    json["pid"] = stranger.id().into();
    std::fs::write(&record, json.to_string()).unwrap();
    touch(&study, "go", "");
    touch(&study, "end", "0");
    let (code, words) = study.run();
    assert_eq!(code, 0, "{words}");
    let trial = study.history().trials()[0].clone();
    assert_eq!(trial.attempts[0].end, Some(AttemptEnd::Lost));
    assert_eq!(trial.state, TrialState::Completed);
    assert!(lives(stranger.id().cast_signed()));
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

/// What was written in another life of the machine may be half of what was said.
#[test]
fn an_exit_record_of_another_boot_is_not_believed() {
    let study = Study::of_script(LONG, "run_cap: 1");
    let pid = orphaned(&study);
    touch(&study, "go", "");
    touch(&study, "end", "0");
    until("its end", || !lives(pid));
    let record = study.trial_file(0, "exit.1.json");
    until("its record", || record.exists());
    let text = std::fs::read_to_string(&record).unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
    json["boot"] = "another".into();
    std::fs::write(&record, json.to_string()).unwrap();
    let (code, words) = study.run();
    assert_eq!(code, 0, "{words}");
    let trial = study.history().trials()[0].clone();
    assert_eq!(trial.attempts[0].end, Some(AttemptEnd::Lost));
    assert_eq!(trial.attempts.len(), 2);
    assert_eq!(trial.state, TrialState::Completed);
}

#[test]
fn ctrl_c_drains_and_twice_puts_back() {
    let script = r#"
        echo $$ >> pids
        echo '[hpo] {"step": 1, "loss": 0.9}'
        while ! [ -f go ]; do sleep 0.01; done
    "#;
    let study = Study::of_script(script, "run_cap: 3\ncpu: {max_parallel: 1}");
    let first = study.start();
    until("a trial", || study.pids("pids").len() == 1);
    first.signal(Signal::SIGINT);
    until("the drain", || study.history().draining());
    std::fs::write(study.path("go"), "").unwrap();
    assert_eq!(first.end().0, 3);
    let history = study.history();
    assert_eq!(history.trials().len(), 1);
    assert_eq!(history.trials()[0].state, TrialState::Completed);

    std::fs::remove_file(study.path("go")).unwrap();
    let second = study.start();
    until("the next trial", || study.pids("pids").len() == 2);
    second.signal(Signal::SIGINT);
    until("the drain", || study.history().draining());
    second.signal(Signal::SIGINT);
    assert_eq!(second.end().0, 3);
    assert_eq!(study.history().trials()[1].state, TrialState::Queued);
    assert!(study.pids("pids").iter().all(|pid| !lives(*pid)));

    std::fs::write(study.path("go"), "").unwrap();
    assert_eq!(study.run().0, 0);
    let history = study.history();
    assert_eq!(history.trials().len(), 3);
    assert!(
        history
            .trials()
            .iter()
            .all(|t| t.state == TrialState::Completed)
    );
    assert_eq!(history.trials()[1].attempts.len(), 2);
}

#[test]
fn ctrl_c_thrice_waits_for_nobody() {
    let script = r#"
        trap '' TERM
        echo $$ >> pids
        while :; do sleep 0.05; done
    "#;
    let study = Study::of_script(script, "run_cap: 1\nstop_grace: 1h");
    let coordinator = study.start();
    until("a trial", || study.pids("pids").len() == 1);
    coordinator.signal(Signal::SIGINT);
    until("the drain", || study.history().draining());
    coordinator.signal(Signal::SIGINT);
    until("the stop", || {
        matches!(study.history().trials()[0].state, TrialState::Stopping(_))
    });
    coordinator.signal(Signal::SIGINT);
    assert_eq!(coordinator.end().0, 3);
    assert_eq!(study.history().trials()[0].state, TrialState::Queued);
    assert!(!lives(study.pids("pids")[0]));
}

/// A disk that refuses to be written to while the study runs: everything stops, with a reason, and
/// the study is taken up again once the trouble is gone.
#[test]
fn trouble_with_the_disk_ends_the_session_and_not_the_study() {
    let script = format!("echo $$ >> pids; {REPORT}; while ! [ -f go ]; do sleep 0.01; done");
    let study = Study::of_script(&script, "run_cap: 2\ncpu: {max_parallel: 1}");
    let first = study.start();
    until("a trial", || study.pids("pids").len() == 1);
    // Where the next trial's directory belongs there is a file.
    std::fs::write(study.path("study/trials/1"), "").unwrap();
    std::fs::write(study.path("go"), "").unwrap();
    let (code, words) = first.end();
    assert_eq!(code, 4, "{words}");
    assert!(words.contains("trials/1"), "{words}");
    std::fs::remove_file(study.path("study/trials/1")).unwrap();
    let (code, words) = study.run();
    assert_eq!(code, 0, "{words}");
    let history = study.history();
    assert_eq!(history.trials().len(), 2);
    assert!(
        history
            .trials()
            .iter()
            .all(|t| t.state == TrialState::Completed)
    );
    assert_eq!(history.trials()[0].attempts.len(), 1);
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let study = Study::of_script("true", "run_cap: 1");
    std::fs::write(study.path("study"), "a file is in the way").unwrap();
    let (code, words) = study.run();
    assert_eq!(code, 4);
    assert!(words.contains("study"), "{words}");
}
