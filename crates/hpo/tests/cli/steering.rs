//! What reaches training code and people from outside: values and ends through the control file, signals,
//! web hooks, and what `hpo status` and `hpo trial` say of all that.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value as Json;

use crate::bench::{Bench, Running, count, shell_study, study_directory, wait_for};

/// A trial that reports once and then waits for the file `go` beside it.
const WAITING: &str = r#"
echo "[hpo] {\"step\": 1, \"loss\": 0.5}"
while [ ! -e go ]; do sleep 0.02; done
"#;

fn waiting(bench: &Bench, more: &str) -> Running {
    let more = format!("run_cap: 3\ncpu: {{max_parallel: 1}}\nstop_grace: 1s\n{more}");
    shell_study(bench, WAITING, &more);
    let running = bench.start(&["run", "study.yaml"]);
    wait_for_step(bench, 1);
    running
}

/// Waits until trial 0 has come to a step.
fn wait_for_step(bench: &Bench, step: u64) {
    wait_for("a report", || {
        let status = bench.run(&["status", "-f", "json"]);
        let json: Json = serde_json::from_str(&status.stdout).unwrap_or_default();
        json["running"][0]["step"].as_u64() >= Some(step)
    });
}

fn granted(bench: &Bench, arguments: &[&str]) {
    let ended = bench.run(arguments);
    assert_eq!(ended.code, 0, "{ended:?}");
}

fn said(bench: &Bench, arguments: &[&str], words: &str) {
    let ended = bench.run(arguments);
    assert!(ended.stdout.contains(words), "{words}: {ended:?}");
}

#[test]
fn the_status_tells_of_pauses_and_of_trials_without_a_coordinator() {
    let bench = Bench::new();
    let running = waiting(&bench, "");
    granted(&bench, &["set", "0", "x=0.75"]);
    granted(&bench, &["pause"]);
    let status = bench.json(&["status", "-f", "json"]);
    assert_eq!(
        (&status["paused"], &status["state"]),
        (&true.into(), &"running".into())
    );
    said(&bench, &["status"], "paused: `hpo resume`");
    granted(&bench, &["resume"]);
    assert_eq!(bench.json(&["status", "-f", "json"])["paused"], false);
    running.signal(Signal::SIGKILL);
    drop(running);
    let status = bench.json(&["status", "-f", "json"]);
    assert_eq!(status["state"], "interrupted");
    assert_eq!(status["running_alone"], serde_json::json!([0]));
    said(
        &bench,
        &["status"],
        "1 trial running without a coordinator: `hpo run` adopts it",
    );
    let again = bench.start(&["run", "study.yaml"]);
    wait_for("the adoption", || {
        bench.json(&["status", "-f", "json"])["state"] == "running"
    });
    granted(&bench, &["pause", "0"]);
    wait_for("the next trial", || bench.trials().len() == 2);
    said(
        &bench,
        &["status"],
        "trial 0 is paused by you: `hpo resume 0`",
    );
    said(&bench, &["trial", "0"], "paused by you");
    said(&bench, &["trials"], "queued, paused by you");
    fs::write(bench.path().join("go"), "").unwrap();
    assert_eq!(again.code(), 3);
    assert!(bench.read("words").contains("trial 0 is paused by you"));
    granted(&bench, &["resume", "0"]);
    assert_eq!(bench.run(&["run", "study.yaml"]).code, 0);
    assert_eq!(count(&bench.trials(), "completed"), 3);
    said(&bench, &["trial", "0"], "set by the user at step 1: x ");
    let json = bench.json(&["trial", "0", "-f", "json"]);
    assert_eq!(json["changed"][0]["to"], 0.75);
    bench.wait_until_alone();
}

#[test]
fn a_terminal_that_is_closed_and_a_machine_that_shuts_down_put_trials_back() {
    for signal in [Signal::SIGHUP, Signal::SIGTERM] {
        let bench = Bench::new();
        let running = waiting(&bench, "");
        running.signal(signal);
        assert_eq!(running.code(), 3, "{signal}");
        bench.wait_until_alone();
        assert_eq!(bench.trials()[0]["state"], "queued");
        fs::write(bench.path().join("go"), "").unwrap();
        assert_eq!(bench.run(&["run", "study.yaml"]).code, 0);
        assert_eq!(count(&bench.trials(), "completed"), 3);
    }
}

#[test]
fn a_stopped_hpo_goes_on_when_it_is_let_go_on() {
    let bench = Bench::new();
    let running = waiting(&bench, "");
    // What Ctrl-Z does; SIGTSTP itself is not heeded in a group without a terminal.
    running.signal(Signal::SIGSTOP);
    fs::write(bench.path().join("go"), "").unwrap();
    let exit = study_directory(&bench, "shell").join("trials/0/exit.1.json");
    wait_for("the end of the trial", || exit.exists());
    running.signal(Signal::SIGCONT);
    assert_eq!(running.code(), 0);
    let trials = bench.trials();
    assert_eq!(count(&trials, "completed"), 3);
    assert!(trials.iter().all(|t| t["attempts"] == 1), "{trials:#?}");
}

#[test]
fn a_stopped_warden_does_not_keep_its_study_from_going_on() {
    let bench = Bench::new();
    let running = waiting(&bench, "");
    let records = fs::read_dir(study_directory(&bench, "shell").join("wardens")).unwrap();
    let record = records.flatten().next().unwrap().path();
    let json: Json = serde_json::from_str(&fs::read_to_string(record).unwrap()).unwrap();
    let warden = Pid::from_raw(i32::try_from(json["pid"].as_i64().unwrap()).unwrap());
    running.signal(Signal::SIGKILL);
    drop(running);
    // Only now: the system wakes a stopped process whose parent dies.
    kill(warden, Signal::SIGSTOP).unwrap();
    let again = bench.start(&["run", "study.yaml"]);
    wait_for("the adoption", || {
        bench.json(&["status", "-f", "json"])["state"] == "running"
    });
    fs::write(bench.path().join("go"), "").unwrap();
    assert_eq!(again.code(), 0);
    let trials = bench.trials();
    assert_eq!(count(&trials, "completed"), 3, "{trials:#?}");
    // Nobody but its warden can learn how a trial's process ended: unless the warden came to it, the trial is run once more.
    let attempts = |t: &Json| t["attempts"].as_u64().unwrap();
    assert!(attempts(&trials[0]) <= 2, "{trials:#?}");
    assert!(trials[1..].iter().all(|t| attempts(t) == 1), "{trials:#?}");
    // It may be gone.
    let _ = kill(warden, Signal::SIGCONT);
    bench.wait_until_alone();
}

#[test]
fn the_built_in_trainer_heeds_its_control_file() {
    let bench = Bench::new();
    bench.write(
        "study.yaml",
        "name: digits\ntrainer: {model: mlp, hidden: [8], dataset: digits, epochs: 1000000}\n\
         metric: {name: val_loss}\nmethod: random\nrun_cap: 1\ndivergence: {policy: off}\n\
         parameters: {optimizer: adam, lr: {min: 1.0e-3, max: 1.0e-2}, batch_size: 128}\n",
    );
    let running = bench.start(&["run", "study.yaml"]);
    wait_for_step(&bench, 1);
    granted(&bench, &["set", "0", "lr=0.00125"]);
    wait_for("the new rate to be used", || {
        let trial = bench.json(&["trial", "0", "-f", "json"]);
        trial["metrics"]["lr"] == 0.00125
    });
    granted(&bench, &["stop", "0"]);
    assert_eq!(running.code(), 1, "no trial has completed");
    let trial = bench.json(&["trial", "0", "-f", "json"]);
    assert_eq!(
        (&trial["state"], &trial["reason"]),
        (&"stopped".into(), &"user".into())
    );
    // It ended by itself, before any signal.
    assert_eq!(trial["processes"][0]["end"], "exit code 0");
    bench.wait_until_alone();
}

/// A Python in which `imports` work, or `None` where the test is to be skipped.
fn python(imports: &str) -> Option<PathBuf> {
    let python = std::env::var_os("HPO_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    let probe = std::process::Command::new(&python)
        .args(["-c", &format!("import {imports}")])
        .output();
    if probe.is_ok_and(|output| output.status.success()) {
        return Some(python.into());
    }
    assert!(
        std::env::var_os("HPO_TEST_REQUIRE_ALL").is_none(),
        "there must be a Python with {imports}: set HPO_TEST_PYTHON"
    );
    println!("skipped: no Python with {imports}; set HPO_TEST_PYTHON");
    None
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Runs a script with the Python client until it is stopped from outside; `steer` comes before that.
fn steer_python(script: &Path, python: &Path, more: &str, steer: impl Fn(&Bench)) {
    let bench = Bench::new();
    bench.write(
        "study.yaml",
        &format!(
            "name: python\ncommand: [{}, {}]\nmethod: random\nmetric: {{name: val_loss}}\nrun_cap: 1\n\
             divergence: {{policy: off}}\nstop_grace: 200s\n{more}",
            python.display(),
            script.display(),
        ),
    );
    let words = fs::File::create(bench.path().join("words")).unwrap();
    let mut running = bench
        .hpo(&["run", "study.yaml"])
        .env("PYTHONPATH", repository().join("python/src"))
        .stdout(std::process::Stdio::null())
        .stderr(words)
        .spawn()
        .unwrap();
    wait_for_step(&bench, 1);
    steer(&bench);
    granted(&bench, &["stop", "0"]);
    assert_eq!(
        running.wait().unwrap().code(),
        Some(1),
        "no trial has completed"
    );
    let trial = bench.json(&["trial", "0", "-f", "json"]);
    assert_eq!(trial["reason"], "user", "{}", bench.read("words"));
    assert_eq!(trial["processes"][0]["end"], "exit code 0");
    bench.wait_until_alone();
}

#[test]
fn a_python_script_heeds_set_and_stop() {
    let Some(python) = python("json") else { return };
    let scripts = tempfile::tempdir().unwrap();
    let script = scripts.path().join("train.py");
    let text = "import time, hpo\n\
        params = hpo.params(lr=0.1)\n\
        rate = params.lr\n\
        @hpo.on_change\n\
        def changed(new):\n    global rate\n    rate = new.get('lr', rate)\n\
        while True:\n    hpo.report(val_loss=1.0, rate=rate)\n    time.sleep(0.02)\n";
    fs::write(&script, text).unwrap();
    let more = "parameters: {lr: {min: 0.01, max: 0.1}}\n";
    steer_python(&script, &python, more, |bench| {
        granted(bench, &["set", "0", "lr=0.5"]);
        wait_for("the new rate to be used", || {
            let trial = bench.json(&["trial", "0", "-f", "json"]);
            trial["metrics"]["rate"] == 0.5
        });
    });
}

#[test]
fn the_pytorch_example_heeds_set_and_stop() {
    let Some(python) = python("torch, sklearn") else {
        return;
    };
    let script = repository().join("studies/scripts/torch_digits.py");
    let more = "parameters: {lr: {min: 0.001, max: 0.01}, epochs: {value: 1000000}}\n";
    steer_python(&script, &python, more, |bench| {
        granted(bench, &["set", "0", "lr=0.00125"]);
        wait_for("the new rate to be used", || {
            let trial = bench.json(&["trial", "0", "-f", "json"]);
            trial["metrics"]["lr"] == 0.00125
        });
        let trial = bench.json(&["trial", "0", "-f", "json"]);
        assert_eq!(trial["params"]["lr"], 0.00125);
        assert_eq!(trial["changed"][0]["parameter"], "lr");
    });
}

/// Answers every request with `status`, after having read it; the bodies.
fn serve(
    listener: TcpListener,
    status: &'static str,
    count: usize,
) -> thread::JoinHandle<Vec<Json>> {
    thread::spawn(move || {
        let one = |_| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut bytes = Vec::new();
            let mut buffer = [0; 4096];
            loop {
                let read = stream.read(&mut buffer).unwrap();
                bytes.extend_from_slice(&buffer[..read]);
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
                if let Ok(json) = serde_json::from_str(body) {
                    let answer = format!(
                        "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                    );
                    stream.write_all(answer.as_bytes()).unwrap();
                    return json;
                }
                assert!(read > 0, "{text}");
            }
        };
        (0..count).map(one).collect()
    })
}

const ONE_TRIAL: &str = "echo '[hpo] {\"step\": 1, \"loss\": 0.5}'";
const HOOK: &str = "run_cap: 1\nnotify: {webhook: \"${envvar:HOOK}\"}";

fn with_hook(bench: &Bench, arguments: &[&str], address: &str) -> (i32, String) {
    let output = bench.hpo(arguments).env("HOOK", address).output().unwrap();
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(!words.contains("s3cret"), "{words}");
    (output.status.code().unwrap_or(-1), words)
}

fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/s3cret", listener.local_addr().unwrap());
    (listener, address)
}

#[test]
fn a_web_hook_is_told_of_the_end() {
    let bench = Bench::new();
    shell_study(&bench, ONE_TRIAL, HOOK);
    let (listener, address) = listener();
    let served = serve(listener, "204 Fine", 2);
    let (code, words) = with_hook(&bench, &["notify", "--test", "study.yaml"], &address);
    assert_eq!(code, 0, "{words}");
    assert!(words.contains("answered 204"), "{words}");
    let (code, words) = with_hook(&bench, &["-vvv", "run", "study.yaml"], &address);
    assert_eq!(code, 0, "{words}");
    let bodies = served.join().unwrap();
    assert_eq!(bodies[0]["event"], "test");
    assert_eq!(
        (&bodies[1]["event"], &bodies[1]["value"]),
        (&"done".into(), &0.5.into())
    );
    assert_eq!(bodies[1]["text"], bodies[1]["summary"]);
    for file in ["log.jsonl", "study.yaml", "study.db"] {
        let bytes = fs::read(study_directory(&bench, "shell").join(file)).unwrap_or_default();
        assert!(
            !String::from_utf8_lossy(&bytes).contains("s3cret"),
            "{file}"
        );
    }
}

#[test]
fn a_web_hook_that_does_not_work_hurts_nobody() {
    // It takes the connection and is silent.
    let (_hanging, hanging) = listener();
    let (gone, refusing) = listener();
    drop(gone);
    for address in [hanging.as_str(), refusing.as_str(), "", "nonsense"] {
        let bench = Bench::new();
        shell_study(&bench, ONE_TRIAL, HOOK);
        let (code, words) = with_hook(&bench, &["run", "study.yaml"], address);
        assert_eq!(code, 0, "{words}");
        assert!(words.contains("notification"), "{words}");
        assert_eq!(count(&bench.trials(), "completed"), 1);
    }
    let bench = Bench::new();
    shell_study(&bench, ONE_TRIAL, HOOK);
    let (code, words) = with_hook(&bench, &["notify", "--test", "study.yaml"], "");
    assert_eq!(code, 4, "{words}");
    assert!(words.contains("HOOK is not set"), "{words}");
}

#[test]
fn somebody_is_told_when_hpo_itself_gives_up() {
    let bench = Bench::new();
    let more = "run_cap: 2\nnotify: {on: failed, command: [sh, tell.sh]}";
    shell_study(&bench, WAITING, more);
    bench.write("tell.sh", "cat > told\n");
    let running = bench.start(&["run", "study.yaml"]);
    wait_for_step(&bench, 1);
    fs::rename(bench.path().join("runs"), bench.path().join("elsewhere")).unwrap();
    assert_eq!(running.code(), 4, "{}", bench.read("words"));
    let told: Json = serde_json::from_str(&bench.read("told")).unwrap();
    assert_eq!(told["event"], "failed");
    assert!(
        told["summary"].as_str().unwrap().contains("had to give up"),
        "{told}"
    );
    fs::write(bench.path().join("go"), "").unwrap();
    bench.wait_until_alone();
}
