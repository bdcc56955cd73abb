//! Whole studies on GPUs: `hpo run` places real processes, which "allocate" what real trainings would.

use std::collections::BTreeSet;

use fake_nvml::{Device, State};

use super::{MIB, Machine, all_have_ended};
use crate::bench::wait_for;

/// A study of trials that all need the same.
fn study(machine: &Machine, mib: u64, run_cap: u32, settings: &str) {
    let parameters = format!("mib: {{value: {mib}}}, steps: {{value: 5}}, pace: {{value: 60}}");
    machine.study(run_cap, &parameters, settings);
}

#[test]
fn trials_are_told_their_gpu_and_their_part_of_it() {
    let machine = Machine::new(&State::of(vec![Device::new(0, 8192), Device::new(1, 8192)]));
    study(&machine, 700, 4, "gpu: {devices: [1], per_trial: 1GiB}");
    let mut hpo = machine.run();
    wait_for("the study to end", || hpo.is_over());
    all_have_ended(&machine.bench.trials());
    let gpus: BTreeSet<String> = machine.samples().into_iter().map(|s| s.gpu).collect();
    assert_eq!(gpus, BTreeSet::from([Device::new(1, 0).uuid]));
    let all = machine.samples();
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
        600,
        6,
        "gpu: {memory_limit: 4GiB}\ncpu: {max_parallel: 2}",
    );
    let mut hpo = machine.run();
    wait_for("trials to use the GPU", || {
        machine.read().gpus[0].in_use() > 100 * MIB
    });
    machine.change(|state| state.gpus[0].lost = true);
    wait_for("the loss to be told", || {
        machine.words().contains("fallen off the bus")
    });
    // What ran comes to its end, and nothing follows.
    wait_for("the GPU to be empty", || {
        machine.read().gpus[0].in_use() == 0
    });
    assert!(
        !hpo.is_over(),
        "the study has given up: {}",
        machine.words()
    );
    machine.change(|state| state.gpus[0].lost = false);
    wait_for("the study to end", || hpo.is_over());
    let trials = machine.bench.trials();
    assert_eq!(trials.len(), 6);
    all_have_ended(&trials);
}

#[test]
fn a_driver_that_hangs_or_is_exchanged_holds_up_nothing_but_placement() {
    let machine = Machine::new(&State::of(vec![Device::new(0, 8192)]));
    study(
        &machine,
        600,
        40,
        "gpu: {memory_limit: 4GiB}\ncpu: {max_parallel: 1}",
    );
    let mut hpo = machine.run();
    wait_for("a trial to use the GPU", || {
        machine.read().gpus[0].in_use() > 100 * MIB
    });
    let slow = "nvmlDeviceGetMemoryInfo_v2".to_owned();
    machine.change(|state| state.delay.extend([(slow, 8000)]));
    wait_for("the silence to be told", || {
        machine.words().contains("has not answered")
    });
    machine.change(|state| {
        state.delay.clear();
        state.init = 18;
        state
            .fail
            .extend([("nvmlDeviceGetCount_v2".to_owned(), 18)]);
    });
    wait_for("the new driver to be told of", || {
        machine.words().contains("different versions")
    });
    assert!(!hpo.is_over(), "the study has given up");
    machine.change(|state| {
        state.init = 0;
        state.fail.clear();
    });
    wait_for("the study to end", || hpo.is_over());
    all_have_ended(&machine.bench.trials());
}

#[test]
fn a_critical_error_takes_a_gpu_out_and_the_study_goes_on_with_the_other() {
    let machine = Machine::new(&State::of(vec![Device::new(0, 8192), Device::new(1, 8192)]));
    let parameters = format!(
        "mib: {{value: 600}}, steps: {{value: 3}}, pace: {{value: 0}}, {}",
        machine.gated()
    );
    machine.study(
        5,
        &parameters,
        "gpu: {memory_limit: 4GiB, settle_after: 1s}\ncpu: {max_parallel: 2}",
    );
    let mut hpo = machine.run();
    wait_for("both GPUs to be used", || {
        (0..2).all(|gpu| !machine.holders(gpu).is_empty())
    });
    // A program's own error means nothing to others, an uncontained memory error does.
    machine.change(|state| state.gpus[0].xid = Some(31));
    wait_for("the error to be heard", || {
        machine.read().gpus[0].xid.is_none()
    });
    machine.change(|state| state.gpus[0].xid = Some(95));
    wait_for("the error to be told", || {
        machine.words().contains("XID 95")
    });
    assert!(!machine.words().contains("XID 31"));
    machine.open("all");
    assert_eq!(hpo.code(), 0, "{}", machine.words());
    let history = machine.history().unwrap();
    let first = Device::new(0, 0).uuid;
    let since = history.lost_gpus().contains_key(&first);
    assert!(since, "{:?}", history.lost_gpus());
    let on_first = history
        .trials()
        .iter()
        .flat_map(|t| &t.attempts)
        .filter(|a| {
            let share = a.assignment.as_ref().and_then(|a| a.gpu.as_ref());
            share.is_some_and(|share| share.uuid == first)
        });
    assert_eq!(on_first.count(), 1, "nothing was started on it afterwards");
    let trials = machine.bench.trials();
    assert_eq!(trials.len(), 5);
    all_have_ended(&trials);
}
