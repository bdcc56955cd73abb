//! Studies of real processes, each run by a coordinator in a process of its own: signals and child
//! processes belong to a whole process.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use hpo_run::{Outcome, RunOptions, View};
use hpo_study::study_file::{Source, read};
use hpo_study::{Event, History, StudySpec, Timestamp};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const STUDY: &str = "HPO_RUN_TEST_STUDY";
const WARDEN: &str = "HPO_RUN_TEST_WARDEN";

/// What the test binary does when it is started as a coordinator or a warden; else nothing.
pub(crate) fn play_part() {
    if let Ok(session) = std::env::var(WARDEN) {
        hpo_run::warden(&session);
        std::process::exit(0);
    }
    let Ok(dir) = std::env::var(STUDY) else {
        return;
    };
    let code = coordinate(Path::new(&dir));
    std::process::exit(code);
}

struct Quiet;
impl View for Quiet {
    fn event(&mut self, _: &History, _: &Event) {}
    fn tick(&mut self, _: &History, _: Timestamp) {}
}

fn coordinate(dir: &Path) -> i32 {
    let study_dir = dir.join("study");
    if let Err(error) = hpo_run::init_logging(1, Some(&study_dir), std::io::stderr) {
        eprintln!("{error}");
        return 4;
    }
    let options = RunOptions {
        study_dir,
        spec: spec(&fs::read_to_string(dir.join("study.yaml")).unwrap(), dir),
        work_dir: dir.to_owned(),
        trainer_program: dir.join("program"),
        hpo_version: "0.1.0".to_owned(),
        confirm: None,
        pip_freeze: false,
        study_file: None,
    };
    match hpo_run::run(options, &mut Quiet) {
        Ok(Outcome {
            stopped_by_user: true,
            ..
        }) => 3,
        Ok(_) => 0,
        Err(error) => {
            eprintln!("{error}");
            4
        }
    }
}

fn spec(text: &str, dir: &Path) -> StudySpec {
    let source = Source {
        file: "study.yaml".to_owned(),
        directory: dir.to_owned(),
    };
    let checked = read(text, &source);
    checked
        .spec
        .unwrap_or_else(|| panic!("{:?}", checked.problems))
}

/// A study in a directory of its own.
pub(crate) struct Study {
    dir: tempfile::TempDir,
}

impl Study {
    /// A study whose trials run a shell script; `settings` are further lines of the study file.
    pub(crate) fn of_script(script: &str, settings: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let study = Self { dir };
        fs::write(study.path("script.sh"), script).unwrap();
        let test = std::env::current_exe().unwrap();
        let warden = format!(
            "#!/bin/sh\n{WARDEN}=\"$2\" exec '{}' part --exact --nocapture\n",
            test.display()
        );
        fs::write(study.path("program"), warden).unwrap();
        fs::set_permissions(study.path("program"), fs::Permissions::from_mode(0o755)).unwrap();
        study.write("[sh, script.sh, \"${args}\"]", settings);
        study
    }

    /// Writes the study file anew.
    pub(crate) fn write(&self, command: &str, settings: &str) {
        let text = format!(
            "name: test\nmethod: random\nseed: 3\nmetric: {{name: loss, goal: minimize}}\n\
             command: {command}\nparameters:\n  lr: {{min: 0.1, max: 1.0}}\n{settings}\n"
        );
        fs::write(self.path("study.yaml"), text).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn trial_file(&self, trial: u32, name: &str) -> PathBuf {
        self.path("study/trials").join(trial.to_string()).join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Starts a coordinator.
    pub(crate) fn start(&self) -> Coordinator {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["part", "--exact", "--nocapture", "--test-threads=1"])
            .env(STUDY, self.dir.path())
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Coordinator { child }
    }

    /// Runs the study; gives back the exit code and what was said.
    pub(crate) fn run(&self) -> (i32, String) {
        self.start().end()
    }

    pub(crate) fn history(&self) -> History {
        History::replay(&hpo_store::read(&self.path("study")).unwrap()).unwrap()
    }

    /// The process ids that trials wrote, one to a line, into a file of the study's directory.
    pub(crate) fn pids(&self, name: &str) -> Vec<i32> {
        self.read(name)
            .lines()
            .filter_map(|line| line.trim().parse().ok())
            .collect()
    }
}

/// A coordinator's process.
pub(crate) struct Coordinator {
    child: Child,
}

impl Coordinator {
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    pub(crate) fn end(self) -> (i32, String) {
        let Output { status, stderr, .. } = self.child.wait_with_output().unwrap();
        (
            status.code().unwrap_or(-1),
            String::from_utf8_lossy(&stderr).into_owned(),
        )
    }
}

/// Waits for something that is bound to come.
pub(crate) fn until(what: &str, mut there: impl FnMut() -> bool) {
    let start = Instant::now();
    while !there() {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "{what} never came"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process lives; one that has ended and was not waited for does not.
pub(crate) fn lives(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit_once(')')
        .and_then(|(_, rest)| rest.split_whitespace().next());
    state.is_some_and(|state| state != "Z" && state != "X")
}
