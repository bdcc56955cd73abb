//! GPUs, by a library that only says so (`fake-nvml`): the program, the wrapper around NVIDIA's library and the
//! processes are real.

mod absent;
mod broken;
mod crash;
mod host;
mod shared;
mod study;
mod whole;

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use fake_nvml::{STATE, State};
use hpo_study::{GpuSample, History};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value as Json;

use crate::bench::{Bench, study_directory, wait_for};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// A directory to work in with GPUs.
struct Machine {
    bench: Bench,
    library: PathBuf,
}

impl Machine {
    fn new(state: &State) -> Self {
        let bench = Bench::new();
        state.write(&bench.path().join("nvml.json")).unwrap();
        State::count_reads(&bench.path().join("nvml.json")).unwrap();
        fs::create_dir(bench.path().join("gates")).unwrap();
        let library = fake_nvml::library::path().unwrap();
        Self { bench, library }
    }

    fn state(&self) -> PathBuf {
        self.bench.path().join("nvml.json")
    }

    /// What the GPUs say now.
    fn read(&self) -> State {
        State::read(&self.state()).unwrap()
    }

    /// Changes what the GPUs say from now on.
    fn change(&self, change: impl FnOnce(&mut State)) {
        State::change(&self.state(), change).unwrap();
    }

    /// Waits until hpo has looked at the GPUs so often again.
    fn wait_for_looks(&self, looks: u64, mut meanwhile: impl FnMut()) {
        let reads = looks * self.read().gpus.len() as u64;
        // The present look may have begun already.
        let enough = State::reads(&self.state()) + reads + 1;
        wait_for("hpo to look at the GPUs", || {
            meanwhile();
            State::reads(&self.state()) >= enough
        });
    }

    /// From now on the driver's library lacks these functions.
    fn without(&mut self, functions: &[&str]) {
        let copy = self.bench.path().join("libnvml.so");
        fake_nvml::library::without(functions, &copy).unwrap();
        self.library = copy;
    }

    /// A command that sees these GPUs and no others.
    fn at<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command
            .env("HPO_NVML_LIBRARY", &self.library)
            .env(STATE, self.state())
            .env_remove("CUDA_VISIBLE_DEVICES")
    }

    fn hpo(&self, arguments: &[&str]) -> Command {
        let mut command = self.bench.hpo(arguments);
        self.at(&mut command);
        command
    }

    /// Writes `study.yaml`: the study `night` of fake trainers, with parameters and further settings.
    fn study(&self, run_cap: u32, parameters: &str, settings: &str) {
        let program = std::env::current_exe().unwrap();
        let command = format!(
            "[\"{}\", \"gpu::trainer\", --exact, --ignored, --nocapture]",
            program.display()
        );
        self.bench.write(
            "study.yaml",
            &format!(
                "name: night\nmethod: random\nseed: 5\nrun_cap: {run_cap}\nallow_duplicates: true\ncommand: {command}\n\
                 metric: {{name: loss, goal: minimize}}\nstop_grace: 1s\n\
                 parameters: {{{parameters}}}\n{settings}\n"
            ),
        );
    }

    /// The parameter that makes trials wait at a gate.
    fn gated(&self) -> String {
        format!(
            "gate: {{value: {}}}",
            self.bench.path().join("gates").display()
        )
    }

    /// Lets a trial (or `all`) go on that waits at the gate.
    fn open(&self, whom: &str) {
        self.bench.write(&format!("gates/{whom}"), "");
    }

    /// Starts the study; what it says is in [`Machine::words`].
    fn run(&self) -> Running {
        let words = self.bench.path().join("words");
        let words = File::options().create(true).append(true).open(words);
        let mut command = self.hpo(&["run", "study.yaml"]);
        let command = command.stdout(Stdio::null()).stderr(words.unwrap());
        Running(command.spawn().unwrap())
    }

    fn words(&self) -> String {
        self.bench.read("words")
    }

    fn samples(&self) -> Vec<GpuSample> {
        hpo_store::gpu_samples(&study_directory(&self.bench, "night"), false).unwrap_or_default()
    }

    /// What is known of the study so far; `None` before it has begun.
    fn history(&self) -> Option<History> {
        let events = hpo_store::read(&study_directory(&self.bench, "night")).ok()?;
        History::replay(&events).ok()
    }

    /// The trials that hold memory of a GPU now: (trial, bytes), one entry per process.
    fn holders(&self, gpu: usize) -> Vec<(u32, u64)> {
        let processes = self.read().gpus[gpu].processes.clone();
        let holders = processes.into_iter().filter(|p| p.is_there());
        holders
            .filter_map(|p| Some((trial_of(p.pid)?, p.bytes)))
            .collect()
    }
}

/// The trial that a process belongs to, by its environment.
fn trial_of(pid: u32) -> Option<u32> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let mut variables = environment.split(|byte| *byte == 0);
    let trial = variables.find_map(|v| v.strip_prefix(b"HPO_TRIAL="))?;
    std::str::from_utf8(trial).ok()?.parse().ok()
}

/// `hpo run`, as long as it lasts.
struct Running(Child);

impl Running {
    fn is_over(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    fn send(&self, signal: Signal) {
        let _ = kill(Pid::from_raw(self.0.id().cast_signed()), signal);
    }

    /// Waits for its end; the exit code.
    fn code(&mut self) -> i32 {
        wait_for("the study to end", || self.is_over());
        self.0.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Somebody else's process, which holds what the test says.
struct Foreigner(Child);

impl Foreigner {
    fn new() -> Self {
        Self(Command::new("sleep").arg("3600").spawn().unwrap())
    }

    /// Holds so much of the first GPU from now on.
    fn hold(&self, machine: &Machine, mib: u64) {
        let pid = self.0.id();
        machine.change(|state| state.gpus[0].set(pid, mib * MIB));
    }
}

impl Drop for Foreigner {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Every trial came to its end, and every end that is none of success has a reason.
fn all_have_ended(trials: &[Json]) {
    for trial in trials {
        match trial["state"].as_str().unwrap() {
            "completed" => {}
            "stopped" | "infeasible" => assert!(trial["reason"].is_string(), "{trial:#}"),
            other => panic!("a trial is {other}: {trial:#}"),
        }
    }
}

/// Nothing was ever set aside beyond the limit.
fn limit_was_kept(samples: &[GpuSample]) {
    assert!(!samples.is_empty(), "there is no timeline");
    for sample in samples {
        if let Some(limit) = sample.limit {
            assert!(sample.reserved() <= limit, "{sample:?}");
        }
    }
}

/// Not a test: the fake trainer, which studies start as `<this program> gpu::trainer --exact --ignored`.
#[test]
#[ignore = "a part that trials play"]
fn trainer() {
    if std::env::var_os("HPO_TRIAL").is_some() {
        std::process::exit(fake_nvml::trainer::main());
    }
}
