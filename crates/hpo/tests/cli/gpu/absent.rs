//! A study for GPUs on a machine that has none for it.

use fake_nvml::{Device, State};

use super::{Machine, all_have_ended};

const PARAMETERS: &str = "mib: {value: 500}, steps: {value: 2}, pace: {value: 0}";

fn machine(gpu: &str) -> Machine {
    let mut machine = Machine::new(&State::of(vec![Device::new(0, 8192)]));
    machine.study(2, PARAMETERS, gpu);
    machine.library = machine.bench.path().join("nothing.so");
    machine
}

/// Runs the study to its end; the exit code and what was said.
fn run(machine: &Machine) -> (i32, String) {
    let output = machine.hpo(&["run", "study.yaml"]).output().unwrap();
    let words = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), words)
}

#[test]
fn without_a_driver_a_study_for_gpus_is_refused_and_goes_on_where_there_is_one() {
    let mut machine = machine("gpu: {memory_limit: 4GiB}");
    let (code, words) = run(&machine);
    assert_eq!(code, 4, "{words}");
    for part in [
        "this machine has none for it",
        "names no library",
        "fallback: cpu",
    ] {
        assert!(words.contains(part), "{part}: {words}");
    }
    let check = machine.hpo(&["check", "study.yaml"]).output().unwrap();
    assert!(check.status.success(), "the file is right: {check:?}");
    let words = String::from_utf8(check.stderr).unwrap();
    assert!(words.contains("cannot be run here"), "{words}");
    assert!(words.contains("is sound, and can be run where"), "{words}");
    // The same command, once the driver is there.
    machine.library = fake_nvml::library::path().unwrap();
    let (code, words) = run(&machine);
    assert_eq!(code, 0, "{words}");
    assert_eq!(machine.bench.trials().len(), 2);
    let check = machine
        .hpo(&["check", "study.yaml", "-f", "json"])
        .output()
        .unwrap();
    let page: serde_json::Value = serde_json::from_slice(&check.stdout).unwrap();
    assert_eq!(
        page["gpus"]["usable"],
        serde_json::json!([Device::new(0, 0).uuid])
    );
}

#[test]
fn a_study_may_make_do_with_the_cpu() {
    let machine = machine("gpu: {memory_limit: 4GiB, fallback: cpu}\ncpu: {max_parallel: 2}");
    let check = machine.hpo(&["check", "study.yaml"]).output().unwrap();
    let words = String::from_utf8(check.stderr).unwrap();
    assert!(words.contains("trials would run on the CPU"), "{words}");
    let (code, words) = run(&machine);
    assert_eq!(code, 0, "{words}");
    assert!(
        words.contains("trials run on the CPU (`gpu.fallback`)"),
        "{words}"
    );
    let trials = machine.bench.trials();
    assert_eq!(trials.len(), 2);
    all_have_ended(&trials);
    let history = machine.history().unwrap();
    let assignments = history.trials().iter().flat_map(|t| &t.attempts);
    for assignment in assignments.filter_map(|a| a.assignment.as_ref()) {
        assert!(assignment.gpu.is_none());
    }
}

#[test]
fn gpus_that_the_study_may_not_use_are_none() {
    let mut machine = machine("gpu: {devices: [3]}");
    machine.library = fake_nvml::library::path().unwrap();
    let (code, words) = run(&machine);
    assert_eq!(code, 4, "{words}");
    assert!(words.contains("gpu.devices"), "{words}");
    machine.study(2, PARAMETERS, "gpu: {}");
    let mut hidden = machine.hpo(&["run", "study.yaml"]);
    let output = hidden.env("CUDA_VISIBLE_DEVICES", "").output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{output:?}");
}
