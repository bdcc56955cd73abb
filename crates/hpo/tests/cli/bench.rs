//! A directory to work in, and the program run there.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value as Json;

/// Longer than anything takes on the slowest machine; only a hang runs into it.
const LONGEST: Duration = Duration::from_secs(300);

/// A directory of its own; gone with the test, and so is every process that works in it.
pub(crate) struct Bench {
    directory: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap_or_default()
    }

    /// The program with these arguments, to be run in the directory.
    pub(crate) fn hpo(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hpo"));
        command
            .args(arguments)
            .current_dir(self.path())
            .stdin(Stdio::null());
        for variable in ["RUST_LOG", "RUST_BACKTRACE", "CLICOLOR_FORCE"] {
            command.env_remove(variable);
        }
        command
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        Ended::new(arguments, self.hpo(arguments).output().unwrap())
    }

    /// Starts the program; what it says goes to the file `words`.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        let words = File::options()
            .create(true)
            .append(true)
            .open(self.path().join("words"))
            .unwrap();
        let child = self
            .hpo(arguments)
            .stdout(Stdio::null())
            .stderr(words)
            .spawn()
            .unwrap();
        Running { child }
    }

    /// A command's JSON; it must succeed.
    pub(crate) fn json(&self, arguments: &[&str]) -> Json {
        let ended = self.run(arguments);
        assert_eq!(ended.code, 0, "{ended:?}");
        serde_json::from_str(&ended.stdout).unwrap_or_else(|e| panic!("{e}: {ended:?}"))
    }

    /// The trials of the only study.
    pub(crate) fn trials(&self) -> Vec<Json> {
        self.json(&["trials", "-f", "json"])
            .as_array()
            .unwrap()
            .clone()
    }

    /// Waits until no process works in this directory any more.
    pub(crate) fn wait_until_alone(&self) {
        wait_for("all processes of the study to end", || {
            self.processes().is_empty()
        });
    }

    /// The processes that were started in this directory, or were told about it.
    pub(crate) fn processes(&self) -> Vec<String> {
        let token = self.path().to_str().unwrap().to_owned();
        let entries = fs::read_dir("/proc")
            .unwrap()
            .filter_map(Result::ok)
            .map(|e| e.path());
        let processes = entries.filter(|p| {
            p.file_name()
                .is_some_and(|n| n.to_string_lossy().parse::<u32>().is_ok())
        });
        processes
            .filter_map(|process| belongs(&process, &token))
            .collect()
    }
}

/// The process's command line, if it belongs to the directory and is not only waiting to be reaped.
fn belongs(process: &Path, token: &str) -> Option<String> {
    let status = fs::read_to_string(process.join("status")).ok()?;
    if status
        .lines()
        .any(|line| line.starts_with("State:") && line.contains('Z'))
    {
        return None;
    }
    let environment = fs::read(process.join("environ")).unwrap_or_default();
    let directory = fs::read_link(process.join("cwd")).unwrap_or_default();
    let told = String::from_utf8_lossy(&environment).contains(token);
    let there = directory.starts_with(token);
    let command = fs::read(process.join("cmdline")).unwrap_or_default();
    (told || there).then(|| String::from_utf8_lossy(&command).replace('\0', " "))
}

/// What a run of the program left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    #[expect(dead_code, reason = "shown when a test fails")]
    arguments: Vec<String>,
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn new(arguments: &[&str], output: Output) -> Self {
        Self {
            arguments: arguments.iter().map(|a| (*a).to_owned()).collect(),
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// The program, running.
pub(crate) struct Running {
    child: Child,
}

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for its end; the exit code.
    pub(crate) fn code(mut self) -> i32 {
        wait_for("hpo to end", || self.ended().is_some());
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks again and again until it is so.
pub(crate) fn wait_for(what: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < LONGEST, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A trial without what differs from run to run: times, attempts, measured seconds.
pub(crate) fn timeless(trial: &Json) -> Json {
    let mut trial = trial.clone();
    let fields = trial.as_object_mut().unwrap();
    for name in ["started", "ended", "duration_s", "attempts"] {
        assert!(fields.remove(name).is_some(), "{name}");
    }
    fields["metrics"]
        .as_object_mut()
        .unwrap()
        .retain(|name, _| !name.contains("seconds"));
    trial
}

/// How many trials are in a state.
pub(crate) fn count(trials: &[Json], state: &str) -> usize {
    trials.iter().filter(|t| t["state"] == state).count()
}

/// A study that runs `sh trial.sh`, with more lines.
pub(crate) fn shell_study(bench: &Bench, script: &str, more: &str) {
    bench.write("trial.sh", script);
    bench.write(
        "study.yaml",
        &format!(
            "name: shell\n\
             program: trial.sh\n\
             command: [\"${{env}}\", \"sh\", \"${{program}}\", \"${{args}}\"]\n\
             method: random\n\
             seed: 3\n\
             metric: {{name: loss, goal: minimize}}\n\
             parameters:\n  x: {{min: 0.0, max: 1.0}}\n  kind: {{values: [a, b]}}\n\
             {more}\n"
        ),
    );
}

/// Where a study's directory is.
pub(crate) fn study_directory(bench: &Bench, name: &str) -> PathBuf {
    bench.path().join("runs").join(name)
}
