//! Trials that share GPUs under a limit. They wait at a gate with all their memory until the test lets them go
//! on, so that what runs at once depends on what is decided, and not on how fast anything is.

use std::collections::{BTreeMap, BTreeSet};

use fake_nvml::{Device, State};
use hpo_study::{History, Trial};

use super::{Foreigner, MIB, Machine, Running, all_have_ended, limit_was_kept};
use crate::bench::wait_for;

const LIMIT: u64 = 8192 * MIB;

/// What was seen of GPUs while a study ran, as often as the test could look.
#[derive(Default)]
struct Seen {
    looks: usize,
    /// The most trials at once on each GPU.
    at_once: BTreeMap<usize, usize>,
    /// The most that was used of each.
    most: BTreeMap<usize, u64>,
}

impl Seen {
    /// Looks once. What is used stays within the limit, and no trial has two processes.
    fn look(&mut self, machine: &Machine) {
        self.looks += 1;
        let mut trials = BTreeSet::new();
        for (gpu, device) in machine.read().gpus.iter().enumerate() {
            let used = device.in_use();
            assert!(
                used <= LIMIT,
                "{} MiB are used on GPU {gpu}: {device:#?}",
                used / MIB
            );
            let holders = machine.holders(gpu);
            for (trial, _) in &holders {
                assert!(trials.insert(*trial), "trial {trial} has two processes");
            }
            let most = self.most.entry(gpu).or_default();
            *most = used.max(*most);
            let at_once = self.at_once.entry(gpu).or_default();
            *at_once = holders.len().max(*at_once);
        }
    }
}

/// Who holds up others that can start only when somebody ends: the oldest trial that runs, once the needs of all
/// that run are known. Whoever could start beside them was started when the last became known.
fn to_let_go(history: &History) -> Option<u32> {
    let running = || history.trials().iter().filter(|t| t.state.is_active());
    let is_known = |t: &Trial| {
        t.attempt()
            .and_then(|a| a.memory)
            .is_some_and(|m| m.settled)
    };
    running()
        .all(is_known)
        .then(|| running().next())?
        .map(|t| t.id.0)
}

/// Runs a study, letting trials go on only where nothing else can happen, until `enough` is seen.
fn crowd(machine: &Machine, hpo: &mut Running, seen: &mut Seen, enough: impl Fn(&Seen) -> bool) {
    wait_for("trials to share GPUs", || {
        seen.look(machine);
        assert!(
            !hpo.is_over(),
            "the study is over: {:?} {}",
            seen.at_once,
            machine.words()
        );
        if let Some(trial) = machine.history().as_ref().and_then(to_let_go) {
            machine.open(&trial.to_string());
        }
        enough(seen)
    });
}

/// Lets all trials go on, to the end of the study.
fn finish(machine: &Machine, hpo: &mut Running, seen: &mut Seen) {
    machine.open("all");
    wait_for("the study to end", || {
        seen.look(machine);
        hpo.is_over()
    });
    assert_eq!(hpo.code(), 0, "{}", machine.words());
    assert!(seen.looks > 20, "looked {} times", seen.looks);
    let trials = machine.bench.trials();
    all_have_ended(&trials);
    let samples = machine.samples();
    limit_was_kept(&samples);
    for sample in &samples {
        assert!(sample.used <= Some(LIMIT), "{sample:?}");
    }
    machine.bench.wait_until_alone();
}

/// Trials of 0.5 to 7 GiB.
fn study(machine: &Machine, trials: u32, settings: &str) {
    let parameters = format!(
        "mib: {{values: [512, 1024, 2048, 3072, 5120, 7168]}}, steps: {{value: 3}}, pace: {{value: 0}}, {}",
        machine.gated()
    );
    machine.study(trials, &parameters, settings);
}

#[test]
fn eight_gibibytes_are_shared_with_a_foreign_process_that_grows_and_never_exceeded() {
    let machine = Machine::new(&State::of(vec![Device::new(0, 81_920)]));
    study(
        &machine,
        16,
        "gpu: {memory_limit: 8GiB, size_parameters: [mib], settle_after: 1s}\ncpu: {max_parallel: 4}",
    );
    let foreigner = Foreigner::new();
    foreigner.hold(&machine, 256);
    let mut seen = Seen::default();
    let mut hpo = machine.run();
    crowd(&machine, &mut hpo, &mut seen, |seen| seen.at_once[&0] >= 2);
    // It takes more and more, step by step: each is seen before the next. Near the limit hpo has to make room.
    let mut held = 256;
    let is_put_back = |history: History| {
        let mut attempts = history.trials().iter().flat_map(|t| &t.attempts);
        attempts.any(|a| a.made_room)
    };
    while !machine.history().is_some_and(is_put_back) {
        wait_for("room to be made", || {
            seen.look(&machine);
            machine.read().gpus[0].in_use() * 100 < LIMIT * 97
        });
        held += 64;
        foreigner.hold(&machine, held);
        machine.wait_for_looks(2, || seen.look(&machine));
    }
    assert!(
        machine
            .samples()
            .iter()
            .any(|s| s.others() > Some(1024 * MIB)),
        "the other process was not seen"
    );
    drop(foreigner);
    finish(&machine, &mut hpo, &mut seen);
    assert_eq!(machine.bench.trials().len(), 16);
}

#[test]
fn two_gpus_are_both_shared() {
    let machine = Machine::new(&State::of(vec![
        Device::new(0, 24_576),
        Device::new(1, 81_920),
    ]));
    study(
        &machine,
        16,
        "gpu: {memory_limit: 8GiB, size_parameters: [mib], settle_after: 1s}\ncpu: {max_parallel: 6}",
    );
    let mut seen = Seen::default();
    let mut hpo = machine.run();
    crowd(&machine, &mut hpo, &mut seen, |seen| {
        seen.at_once[&0] >= 2 && seen.at_once[&1] >= 2
    });
    finish(&machine, &mut hpo, &mut seen);
    let completed = machine
        .bench
        .trials()
        .iter()
        .filter(|t| t["state"] == "completed")
        .count();
    assert_eq!(completed, 16);
}
