//! `kill -9` of hpo with trials on the GPU: what goes on counts from the first moment, under both rules of
//! `on_crash`, and no trial ever has two processes.

use std::collections::BTreeSet;

use fake_nvml::{Device, State};
use nix::sys::signal::Signal;

use super::{Foreigner, MIB, Machine, Running, all_have_ended, limit_was_kept};
use crate::bench::wait_for;

const LIMIT: u64 = 8192 * MIB;

/// A study whose trials need 2.5 GiB each: under 8 GiB three fit, with others' 2 GiB two.
fn begin(on_crash: &str) -> (Machine, Running) {
    let machine = Machine::new(&State::of(vec![Device::new(0, 81_920)]));
    let parameters = format!(
        "mib: {{value: 2500}}, steps: {{value: 3}}, pace: {{value: 0}}, {}",
        machine.gated()
    );
    let settings = format!(
        "gpu: {{memory_limit: 8GiB, headroom: 256MiB, settle_after: 1s}}\ncpu: {{max_parallel: 4}}\n\
         on_crash: {on_crash}"
    );
    machine.study(6, &parameters, &settings);
    let hpo = machine.run();
    (machine, hpo)
}

/// Looks once: no trial has two processes, and what is used is within the limit. Gives the trials that are there.
fn look(machine: &Machine) -> BTreeSet<u32> {
    let used = machine.read().gpus[0].in_use();
    assert!(used <= LIMIT, "{} MiB", used / MIB);
    let mut there = BTreeSet::new();
    for (trial, _) in machine.holders(0) {
        assert!(there.insert(trial), "trial {trial} has two processes");
    }
    there
}

fn whole(machine: &Machine) -> usize {
    let holders = machine.holders(0);
    holders
        .iter()
        .filter(|(_, held)| *held == 2500 * MIB)
        .count()
}

fn kill(hpo: &mut Running) {
    hpo.send(Signal::SIGKILL);
    assert_eq!(hpo.code(), -1);
}

fn finish(machine: &Machine, hpo: &mut Running) {
    machine.open("all");
    wait_for("the study to end", || {
        look(machine);
        hpo.is_over()
    });
    assert_eq!(hpo.code(), 0, "{}", machine.words());
    let trials = machine.bench.trials();
    assert_eq!(trials.len(), 6);
    all_have_ended(&trials);
    limit_was_kept(&machine.samples());
    machine.bench.wait_until_alone();
    assert_eq!(
        machine.read().gpus[0].in_use(),
        0,
        "somebody was left behind"
    );
}

#[test]
fn adopted_trials_and_what_others_took_meanwhile_count_before_anything_is_placed() {
    let (machine, mut hpo) = begin("adopt");
    wait_for("two trials to share the GPU", || whole(&machine) == 2);
    kill(&mut hpo);
    let survivors = look(&machine);
    // While nobody looks others take what was left: a third trial would fit, if only what was read before counted.
    let foreigner = Foreigner::new();
    foreigner.hold(&machine, 2048);
    let mut hpo = machine.run();
    // Long after it could have placed one it has not: 5 GiB are the survivors', 2 others'.
    machine.wait_for_looks(30, || {
        assert_eq!(look(&machine), survivors, "{}", machine.words());
    });
    let first = machine
        .samples()
        .into_iter()
        .rfind(|s| s.trials.len() == 2)
        .unwrap();
    assert_eq!(first.used, Some((2 * 2500 + 2048) * MIB));
    assert!(
        first.trials.iter().all(|t| t.reserved >= 2500 * MIB),
        "{first:?}"
    );
    assert_eq!(first.others(), Some(2048 * MIB), "{first:?}");
    assert!(!hpo.is_over());
    drop(foreigner);
    finish(&machine, &mut hpo);
    // They were taken over as they were, and never started again.
    let history = machine.history().unwrap();
    for trial in survivors {
        assert_eq!(history.trials()[trial as usize].attempts.len(), 1);
    }
}

#[test]
fn trials_that_are_killed_with_hpo_leave_nothing_on_the_gpu_and_go_on() {
    let (machine, mut hpo) = begin("kill");
    wait_for("two trials to share the GPU", || whole(&machine) == 2);
    kill(&mut hpo);
    let mut hpo = machine.run();
    wait_for("the study to go on", || {
        look(&machine);
        whole(&machine) >= 1
    });
    finish(&machine, &mut hpo);
    let history = machine.history().unwrap();
    let again = history.trials().iter().filter(|t| t.attempts.len() == 2);
    assert_eq!(again.count(), 2, "those that ran, once more");
}
