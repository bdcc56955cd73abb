//! Whole studies on GPUs: `hpo run` places real processes, which "allocate" what real trainings would.

use std::collections::BTreeSet;
use std::fs::File;
use std::process::{Child, Command, Stdio};

use fake_nvml::{Device, State};
use hpo_study::GpuSample;
use nix::sys::signal::Signal;
use serde_json::Value as Json;

use super::{MIB, Machine};
use crate::bench::{study_directory, wait_for};

/// The fake trainer as a study's command.
fn trainer_command() -> String {
    let program = std::env::current_exe().unwrap();
    let program = program.display();
    format!("[\"{program}\", \"gpu::trainer\", --exact, --ignored, --nocapture]")
}

impl Machine {
    /// Changes what the GPUs say from now on.
    fn change(&self, change: impl FnOnce(&mut State)) {
        State::change(&self.state(), change).unwrap();
    }
}

/// A study of fake trainers; `settings` are further lines of the study file.
fn study(machine: &Machine, sizes: &str, run_cap: u32, settings: &str) {
    let command = trainer_command();
    machine.bench.write(
        "study.yaml",
        &format!(
            "name: night\nmethod: random\nseed: 5\nrun_cap: {run_cap}\ncommand: {command}\n\
             metric: {{name: loss, goal: minimize}}\nstop_grace: 1s\n\
             parameters:\n  mib: {{values: {sizes}}}\n  steps: {{value: 5}}\n  pace: {{value: 60}}\n{settings}\n"
        ),
    );
}

fn run(machine: &Machine) -> Child {
    let words = File::options()
        .create(true)
        .append(true)
        .open(machine.bench.path().join("words"))
        .unwrap();
    let mut command = machine.hpo(&["run", "study.yaml"]);
    command.stdout(Stdio::null()).stderr(words).spawn().unwrap()
}

fn samples(machine: &Machine) -> Vec<GpuSample> {
    hpo_store::gpu_samples(&study_directory(&machine.bench, "night"), false).unwrap_or_default()
}

fn words(machine: &Machine) -> String {
    machine.bench.read("words")
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

/// Somebody else's process on the first GPU, which takes more and more.
struct Foreigner(Child);

impl Foreigner {
    fn new(machine: &Machine, plan: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        machine.at(&mut command);
        let child = command
            .args(["gpu::trainer", "--exact", "--ignored", "--nocapture"])
            .env("FAKE_TRAINER", "1")
            .env("HPO_PARAMS", plan)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for Foreigner {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn eight_gibibytes_are_shared_and_never_exceeded() {
    let machine = Machine::new(&State::of(vec![Device::new(0, 81_920)]));
    study(
        &machine,
        "[512, 1024, 2048, 3072, 5120, 7168]",
        14,
        "gpu: {memory_limit: 8GiB, headroom: 256MiB, size_parameters: [mib]}\ncpu: {max_parallel: 4}",
    );
    // It grows to 1 GiB and is gone after a while, so that the largest trials have to wait for it.
    let plan = r#"{"mib": 600, "leak": 40, "steps": 12, "pace": 800}"#;
    let foreigner = Foreigner::new(&machine, plan);
    wait_for("the other process to allocate", || {
        State::read(&machine.state()).is_ok_and(|state| state.gpus[0].in_use() > 100 * MIB)
    });
    let mut hpo = run(&machine);
    wait_for("the study to end", || hpo.try_wait().unwrap().is_some());
    drop(foreigner);
    let trials = machine.bench.trials();
    assert_eq!(trials.len(), 14, "{}", words(&machine));
    all_have_ended(&trials);
    let samples = samples(&machine);
    limit_was_kept(&samples);
    assert!(
        samples.iter().any(|s| s.others() > Some(500 * MIB)),
        "the other process was not seen"
    );
    let completed = |t: &&Json| t["state"] == "completed";
    assert!(trials.iter().filter(completed).count() >= 7, "{trials:#?}");
}

#[test]
fn trials_are_told_their_gpu_and_their_part_of_it() {
    let machine = Machine::new(&State::of(vec![Device::new(0, 8192), Device::new(1, 8192)]));
    study(&machine, "[700]", 4, "gpu: {devices: [1], per_trial: 1GiB}");
    let mut hpo = run(&machine);
    wait_for("the study to end", || hpo.try_wait().unwrap().is_some());
    all_have_ended(&machine.bench.trials());
    let gpus: BTreeSet<String> = samples(&machine).into_iter().map(|s| s.gpu).collect();
    assert_eq!(gpus, BTreeSet::from([Device::new(1, 0).uuid]));
    let all = samples(&machine);
    let shares: Vec<_> = all.iter().flat_map(|s| &s.trials).collect();
    // The peaks of a trainer with all its processes, and nothing else.
    let most = shares.iter().filter_map(|share| share.used).max();
    assert_eq!(most, Some(700 * MIB));
}

#[test]
fn a_gpu_that_falls_off_the_bus_pauses_the_study_until_it_is_back() {
    let machine = Machine::new(&State::of(vec![Device::new(0, 8192)]));
    study(
        &machine,
        "[600]",
        6,
        "gpu: {memory_limit: 4GiB}\ncpu: {max_parallel: 2}",
    );
    let mut hpo = run(&machine);
    wait_for("trials to use the GPU", || {
        State::read(&machine.state()).is_ok_and(|state| state.gpus[0].in_use() > 100 * MIB)
    });
    machine.change(|state| state.gpus[0].lost = true);
    wait_for("the loss to be told", || {
        words(&machine).contains("fallen off the bus")
    });
    // What ran comes to its end, and nothing follows.
    wait_for("the GPU to be empty", || {
        State::read(&machine.state()).is_ok_and(|state| state.gpus[0].in_use() == 0)
    });
    assert!(
        hpo.try_wait().unwrap().is_none(),
        "the study has given up: {}",
        words(&machine)
    );
    machine.change(|state| state.gpus[0].lost = false);
    wait_for("the study to end", || hpo.try_wait().unwrap().is_some());
    let trials = machine.bench.trials();
    assert_eq!(trials.len(), 6);
    all_have_ended(&trials);
}

#[test]
fn a_driver_that_hangs_or_is_exchanged_holds_up_nothing_but_placement() {
    let machine = Machine::new(&State::of(vec![Device::new(0, 8192)]));
    study(
        &machine,
        "[600]",
        40,
        "gpu: {memory_limit: 4GiB}\ncpu: {max_parallel: 1}",
    );
    let mut hpo = run(&machine);
    wait_for("a trial to use the GPU", || {
        State::read(&machine.state()).is_ok_and(|state| state.gpus[0].in_use() > 100 * MIB)
    });
    let slow = "nvmlDeviceGetMemoryInfo_v2".to_owned();
    machine.change(|state| state.delay.extend([(slow, 8000)]));
    wait_for("the silence to be told", || {
        words(&machine).contains("has not answered")
    });
    machine.change(|state| {
        state.delay.clear();
        state.init = 18;
        state
            .fail
            .extend([("nvmlDeviceGetCount_v2".to_owned(), 18)]);
    });
    wait_for("the new driver to be told of", || {
        words(&machine).contains("different versions")
    });
    assert!(hpo.try_wait().unwrap().is_none(), "the study has given up");
    machine.change(|state| {
        state.init = 0;
        state.fail.clear();
    });
    wait_for("the study to end", || hpo.try_wait().unwrap().is_some());
    all_have_ended(&machine.bench.trials());
}

#[test]
fn after_kill_9_the_memory_of_survivors_counts_from_the_first_moment() {
    let machine = Machine::new(&State::of(vec![Device::new(0, 81_920)]));
    study(
        &machine,
        "[1500, 2500]",
        6,
        "gpu: {memory_limit: 8GiB, headroom: 256MiB}\ncpu: {max_parallel: 3}",
    );
    for _ in 0..2 {
        let mut hpo = run(&machine);
        wait_for("trials to use the GPU", || {
            hpo.try_wait().unwrap().is_some()
                || State::read(&machine.state())
                    .is_ok_and(|state| state.gpus[0].in_use() > 1400 * MIB)
        });
        let pid = nix::unistd::Pid::from_raw(hpo.id().cast_signed());
        let _ = nix::sys::signal::kill(pid, Signal::SIGKILL);
        let _ = hpo.wait();
    }
    let mut hpo = run(&machine);
    wait_for("the study to end", || hpo.try_wait().unwrap().is_some());
    let trials = machine.bench.trials();
    assert_eq!(trials.len(), 6, "{}", words(&machine));
    all_have_ended(&trials);
    limit_was_kept(&samples(&machine));
    machine.bench.wait_until_alone();
    let state = State::read(&machine.state()).unwrap();
    assert_eq!(state.gpus[0].in_use(), 0, "somebody was left behind");
}
