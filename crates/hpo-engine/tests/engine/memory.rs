//! Memory: where trials are placed, what is done when it runs short, and what becomes of those that run out.

use std::time::Duration;

use hpo_engine::gpu::{Gpu, GpuMemory, Health, TrialUsage};
use hpo_engine::sim::gpu::run;
use hpo_engine::sim::workload::{Trouble, Workload};
use hpo_engine::{Command, Engine, Input, Inventory};
use hpo_study::memory::{GIB, MIB};
use hpo_study::*;
use proptest::prelude::*;

use crate::common::*;

fn out_of_memory(of: MemoryKind) -> AttemptEnd {
    AttemptEnd::OutOfMemory {
        code: Some(1),
        signal: None,
        oom: Oom {
            of,
            message: "CUDA out of memory. Tried to allocate 1.00 GiB".into(),
            requested: Some(GIB),
        },
        stderr: String::new(),
    }
}

fn on_gpus(limit: u64) -> StudySpec {
    StudySpec {
        gpu: Some(GpuSpec {
            memory_limit: Some(limit),
            ..GpuSpec::default()
        }),
        ..spec()
    }
}

/// A driver with GPUs whose readings are those of the trials that run.
struct Rig {
    driver: Driver,
    gpus: Vec<Gpu>,
    used: Vec<(u32, u32, usize, u64)>,
    /// The rest of what the machine says.
    inventory: Inventory,
    /// Main memory of (trial, attempt).
    host_used: Vec<(u32, u32, u64)>,
}

impl Rig {
    fn new(spec: StudySpec, gpus: usize) -> Self {
        let gpus = (0..gpus)
            .map(|i| Gpu {
                uuid: format!("GPU-{i}"),
                index: i as u32,
                name: "test".into(),
                health: Health::Present,
                memory: Some(GpuMemory {
                    total: 80 * GIB,
                    used: 0,
                    reserved: 0,
                }),
                processes: None,
                utilization: None,
                temperature: None,
            })
            .collect();
        let mut rig = Self {
            driver: Driver::new(spec, 0, Told::starting(None)),
            gpus,
            used: Vec::new(),
            inventory: Inventory::default(),
            host_used: Vec::new(),
        };
        rig.driver.slots = 8;
        rig.step([]);
        rig
    }

    fn step(&mut self, inputs: impl IntoIterator<Item = Input>) -> Vec<String> {
        let mut gpus = self.gpus.clone();
        let usage = self.used.iter().map(|&(trial, attempt, gpu, used)| {
            if let Some(memory) = gpus[gpu].memory.as_mut() {
                memory.used += used;
            }
            TrialUsage {
                trial: TrialId(trial),
                attempt: AttemptNumber(attempt),
                gpu: Some(format!("GPU-{gpu}")),
                gpu_memory: Some(used),
                gpu_peak: Some(used),
                host_memory: None,
                host_peak: None,
            }
        });
        let mut usage: Vec<TrialUsage> = usage.collect();
        usage.extend(
            self.host_used
                .iter()
                .map(|&(trial, attempt, used)| TrialUsage {
                    trial: TrialId(trial),
                    attempt: AttemptNumber(attempt),
                    gpu: None,
                    gpu_memory: None,
                    gpu_peak: None,
                    host_memory: Some(used),
                    host_peak: Some(used),
                }),
        );
        let inventory = Inventory {
            usage,
            gpus,
            cpu_slots: self.driver.slots,
            ..self.inventory.clone()
        };
        let inputs = inputs.into_iter().collect();
        let driver = &mut self.driver;
        let events = driver.engine.step(driver.now, &inventory, inputs).unwrap();
        driver.log.extend(events.iter().cloned());
        events.iter().map(|e| name(&e.kind)).collect()
    }

    fn wait(&mut self, seconds: u64) -> Vec<String> {
        self.driver.now = self.driver.now.plus(Duration::from_secs(seconds));
        self.step([])
    }

    fn share(&self, trial: u32) -> Option<GpuShare> {
        let trial = self.driver.engine.history().trial(TrialId(trial))?;
        trial.attempt()?.assignment.clone()?.gpu
    }

    fn waiting(&self, trial: u32) -> Option<WaitReason> {
        let trial = self.driver.engine.history().trial(TrialId(trial))?;
        Some(trial.waiting.as_ref()?.reason)
    }

    /// Trial 0 has trained long enough to be known, with 2 GiB.
    fn settled(limit: u64, gpus: usize) -> Self {
        let mut rig = Self::new(on_gpus(limit), gpus);
        rig.used.push((0, 1, 0, 2 * GIB));
        rig.step([started(0, 1), report(0, 1, 1, 0.5), report(0, 1, 2, 0.4)]);
        rig.wait(31);
        rig
    }
}

#[test]
fn what_is_unknown_starts_alone_and_lets_others_in_once_it_is_known() {
    let mut rig = Rig::new(on_gpus(8 * GIB), 1);
    let share = rig.share(0).unwrap();
    assert_eq!((&*share.uuid, share.memory), ("GPU-0", 8 * GIB - 512 * MIB));
    assert!(
        rig.driver.engine.history().trials()[0].attempts[0]
            .assignment
            .as_ref()
            .unwrap()
            .alone
    );
    rig.used.push((0, 1, 0, 2 * GIB));
    rig.step([started(0, 1), report(0, 1, 1, 0.5)]);
    assert_eq!(
        rig.driver.engine.history().trials().len(),
        1,
        "nobody is asked for in vain"
    );
    rig.wait(31);
    assert_eq!(
        rig.driver.engine.history().trials().len(),
        1,
        "one report is not enough"
    );
    let events = rig.step([report(0, 1, 2, 0.4)]);
    assert_eq!(
        events[1..],
        [
            "memory_measured 0/1",
            "trial_suggested 1",
            "attempt_launching 1/1"
        ]
    );
    // 1.2 times the one like it that was seen, in steps of 64 MiB.
    assert_eq!(
        rig.share(1).unwrap().memory,
        (2 * GIB * 12 / 10).div_ceil(64 * MIB) * 64 * MIB
    );
    assert_eq!(
        rig.driver.engine.history().trials().len(),
        2,
        "one at a time"
    );
}

#[test]
fn every_gpu_starts_one() {
    let rig = Rig::new(on_gpus(8 * GIB), 3);
    let shares: Vec<String> = (0..3).map(|t| rig.share(t).unwrap().uuid).collect();
    assert_eq!(shares, ["GPU-0", "GPU-1", "GPU-2"]);
    assert_eq!(rig.driver.engine.history().trials().len(), 3);
}

#[test]
fn the_youngest_is_stopped_when_memory_runs_short_and_costs_it_nothing() {
    let mut rig = Rig::settled(8 * GIB, 1);
    rig.used.push((1, 1, 0, 5 * GIB + 900 * MIB));
    let events = rig.step([started(1, 1), report(1, 1, 1, 0.5)]);
    assert!(
        events.contains(&"stop_requested 1/1".to_owned()),
        "{events:?}"
    );
    assert!(matches!(
        rig.driver.engine.outstanding().last(),
        Some(Command::Stop {
            trial: TrialId(1),
            at_once: true,
            ..
        })
    ));
    assert!(rig.step([]).is_empty(), "one at a time");
    rig.used.pop();
    let events = rig.step([ended(1, 1, signal(9))]);
    assert!(
        events.contains(&"trial_requeued 1".to_owned()),
        "{events:?}"
    );
    // It needs at least 1.2 times what it had: beside the other there is no room for that.
    let events = rig.wait(1);
    assert_eq!(rig.waiting(1), Some(WaitReason::GpuMemory), "{events:?}");
    rig.used.clear();
    rig.step([report(0, 1, 3, 0.4), ended(0, 1, exit(0))]);
    rig.wait(1);
    assert!(rig.share(1).unwrap().memory >= 7 * GIB);
    assert_eq!(rig.driver.engine.history().trials()[1].attempts.len(), 2);
}

#[test]
fn a_foreign_process_keeps_trials_out_and_is_named() {
    let mut rig = Rig::settled(8 * GIB, 1);
    rig.gpus[0].memory.as_mut().unwrap().used = 5 * GIB;
    rig.driver.slots = 8;
    rig.step([report(0, 1, 3, 0.4)]);
    rig.used.clear();
    rig.gpus[0].memory.as_mut().unwrap().used = 7 * GIB;
    rig.step([ended(0, 1, exit(0))]);
    rig.wait(1);
    let waiting = rig
        .driver
        .engine
        .history()
        .trials()
        .iter()
        .find_map(|t| t.waiting.clone());
    if let Some(waiting) = waiting {
        assert!(
            waiting.detail.contains("other processes use 7 GiB"),
            "{}",
            waiting.detail
        );
    }
    assert!(
        rig.driver
            .engine
            .history()
            .trials()
            .iter()
            .all(|t| !t.state.is_active() || t.id.0 == 1)
    );
    rig.gpus[0].memory.as_mut().unwrap().used = 0;
    rig.wait(1);
    assert!(
        rig.driver
            .engine
            .history()
            .trials()
            .iter()
            .any(|t| t.state.is_active())
    );
}

#[test]
fn what_others_take_while_nobody_looks_counts_before_anything_is_placed() {
    // Trial 0 is known, with 2 GiB; then the coordinator is gone, and somebody takes 5 GiB.
    let mut rig = Rig::settled(8 * GIB, 1);
    rig.driver.slots = 1;
    rig.step([ended(1, 1, exit(1))]);
    rig.driver.engine = Engine::new(&rig.driver.log).unwrap();
    let now = rig.driver.now;
    let begun = rig.driver.engine.begin_session(now, 2, "test").unwrap();
    rig.driver.log.extend(begun);
    rig.driver.slots = 8;
    rig.gpus[0].memory.as_mut().unwrap().used = 5 * GIB;
    // The first reading knows the GPU, and not yet what is whose.
    let used = std::mem::take(&mut rig.used);
    rig.gpus[0].memory.as_mut().unwrap().used += 2 * GIB;
    let events = rig.step([started(0, 1)]);
    assert!(
        events.iter().all(|e| !e.starts_with("attempt_launching")),
        "{events:?}"
    );
    rig.gpus[0].memory.as_mut().unwrap().used -= 2 * GIB;
    rig.used = used;
    let events = rig.wait(1);
    assert!(
        events.iter().all(|e| !e.starts_with("attempt_launching")),
        "{events:?}"
    );
    rig.gpus[0].memory.as_mut().unwrap().used = 0;
    let events = rig.wait(1);
    assert!(
        events.iter().any(|e| e.starts_with("attempt_launching")),
        "{events:?}"
    );
}

#[test]
fn nothing_is_placed_by_a_reading_that_may_be_old() {
    let mut rig = Rig::settled(8 * GIB, 1);
    rig.used.push((1, 1, 0, 2 * GIB));
    rig.step([started(1, 1), report(1, 1, 1, 0.5), report(1, 1, 2, 0.5)]);
    rig.inventory.is_stale = true;
    rig.wait(31);
    assert_eq!(rig.driver.engine.history().trials().len(), 2);
    rig.inventory.is_stale = false;
    rig.wait(1);
    assert_eq!(rig.driver.engine.history().trials().len(), 3);
}

#[test]
fn what_trials_grow_by_after_they_are_settled_is_learned_and_given() {
    let spec = StudySpec {
        run_cap: Some(20),
        cpu: Cpu {
            max_parallel: Some(1),
            ..Cpu::default()
        },
        ..on_gpus(20 * GIB)
    };
    let mut rig = Rig::new(spec, 1);
    rig.driver.slots = 1;
    // Ten trials, which use 2 GiB for a while and 2.6 GiB in the end; the context comes first.
    for trial in 0..10 {
        for (used, step) in [(300 * MIB, None), (2 * GIB, Some(1)), (2 * GIB, Some(2))] {
            rig.used = vec![(trial, 1, 0, used)];
            let inputs = step.map(|step| report(trial, 1, step, 0.5));
            rig.step(std::iter::once(started(trial, 1)).chain(inputs));
        }
        rig.wait(31);
        let memory = |rig: &Rig| {
            let trial = &rig.driver.engine.history().trials()[trial as usize];
            trial.attempts[0].memory.unwrap()
        };
        assert!(memory(&rig).settled);
        rig.used = vec![(trial, 1, 0, 26 * GIB / 10)];
        rig.wait(1);
        let seen = memory(&rig);
        assert_eq!(seen.gpu_first, Some(300 * MIB), "{seen:?}");
        assert_eq!(
            (seen.gpu_settled, seen.gpu_peak),
            (Some(2 * GIB), Some(26 * GIB / 10))
        );
        rig.used.clear();
        rig.step([report(trial, 1, 3, 0.5), ended(trial, 1, exit(0))]);
    }
    // What ten like it were settled at, 1.3 times for growth; and settled at 2 GiB it keeps the 1.3.
    let most = 2 * GIB * 13 / 10;
    let given = rig.share(10).unwrap().memory;
    assert!(
        (most - 64 * MIB..most + 64 * MIB).contains(&given),
        "{}",
        given / MIB
    );
    rig.used = vec![(10, 1, 0, 2 * GIB)];
    rig.step([started(10, 1), report(10, 1, 1, 0.5), report(10, 1, 2, 0.5)]);
    rig.wait(31);
    let memory = rig.driver.engine.history().trials()[10].attempts[0]
        .memory
        .unwrap();
    let kept = memory.gpu_reserved.unwrap();
    assert!(
        (26 * GIB / 10..27 * GIB / 10).contains(&kept),
        "{}",
        kept / MIB
    );
}

#[test]
fn without_a_gpu_trials_of_a_study_that_makes_do_run_on_the_cpu() {
    let mut rig = Rig::settled(8 * GIB, 1);
    rig.driver.slots = 0;
    rig.step([ended(0, 1, exit(1)), ended(1, 1, exit(1))]);
    rig.driver.slots = 8;
    rig.used.clear();
    rig.gpus.clear();
    rig.inventory.cpu_only = true;
    rig.step([]);
    let trials = rig.driver.engine.history().trials();
    let running = trials.iter().filter(|t| t.state.is_active());
    assert_eq!(
        running.clone().count(),
        4,
        "as many as there are places for"
    );
    for trial in running.filter(|t| t.attempts.len() > 1 || t.id.0 > 1) {
        let assignment = trial.attempt().unwrap().assignment.clone();
        assert!(assignment.is_none_or(|a| a.gpu.is_none()));
    }
}

#[test]
fn why_a_trial_waits_is_said_again_when_it_has_changed_for_a_minute() {
    let mut rig = Rig::settled(8 * GIB, 1);
    rig.used.push((1, 1, 0, 5 * GIB + 900 * MIB));
    rig.step([started(1, 1)]);
    rig.used.pop();
    rig.step([ended(1, 1, signal(9))]);
    rig.wait(1);
    let detail = |rig: &Rig| {
        let trial = &rig.driver.engine.history().trials()[1];
        trial.waiting.clone().unwrap().detail
    };
    let before = detail(&rig);
    rig.gpus[0].memory.as_mut().unwrap().used = GIB;
    assert!(rig.wait(30).is_empty(), "not every number is worth a word");
    assert_eq!(detail(&rig), before);
    rig.wait(31);
    assert!(
        detail(&rig).contains("other processes use 1 GiB"),
        "{}",
        detail(&rig)
    );
    assert!(rig.wait(300).is_empty(), "nothing has changed since");
}

#[test]
fn a_trial_that_takes_more_of_the_main_memory_than_it_was_given_is_put_back() {
    let spec = StudySpec {
        cpu: Cpu {
            max_parallel: None,
            memory_limit: Some(8 * GIB),
        },
        ..spec()
    };
    let mut rig = Rig::new(spec, 0);
    rig.inventory.host = Some(hpo_engine::gpu::HostMemory {
        total: 64 * GIB,
        available: 60 * GIB,
    });
    // The first is alone until it is known.
    rig.host_used.push((0, 1, GIB));
    rig.step([started(0, 1), report(0, 1, 1, 0.5), report(0, 1, 2, 0.4)]);
    rig.wait(31);
    let running = |rig: &Rig| -> Vec<u32> {
        let trials = rig.driver.engine.history().trials().iter();
        trials
            .filter(|t| t.state.is_active())
            .map(|t| t.id.0)
            .collect()
    };
    assert_eq!(running(&rig), [0, 1, 2, 3], "1.2 GiB each");
    // Trial 1 takes far more than that; 3, the youngest, does not.
    rig.host_used.extend([(1, 1, 6 * GIB), (3, 1, GIB)]);
    let events = rig.step([started(1, 1), started(2, 1), started(3, 1)]);
    assert!(
        events.contains(&"stop_requested 1/1".to_owned()),
        "{events:?}"
    );
    assert!(
        !events.contains(&"stop_requested 3/1".to_owned()),
        "{events:?}"
    );
    rig.host_used.remove(1);
    rig.step([ended(1, 1, signal(9))]);
    rig.wait(1);
    assert_eq!(
        rig.waiting(1),
        Some(WaitReason::HostMemory),
        "it needs 7.2 GiB now"
    );
    // It is the machine's turn to be short of memory.
    rig.inventory.host.as_mut().unwrap().available = 50 * MIB;
    let events = rig.wait(1);
    assert!(
        events.contains(&"stop_requested 3/1".to_owned()),
        "{events:?}"
    );
}

#[test]
fn a_trial_that_takes_more_than_all_of_the_main_memory_is_infeasible() {
    let spec = StudySpec {
        cpu: Cpu {
            max_parallel: None,
            memory_limit: Some(300 * MIB),
        },
        ..spec()
    };
    let mut rig = Rig::new(spec, 0);
    for attempt in 1..4 {
        rig.host_used = vec![(0, attempt, 400 * MIB)];
        rig.step([started(0, attempt)]);
        rig.host_used.clear();
        rig.step([ended(0, attempt, signal(9))]);
        rig.wait(1);
        let state = &rig.driver.engine.history().trials()[0].state;
        if state.is_final() {
            assert_eq!((state.word(), state.reason()), ("infeasible", Some("oom")));
            assert_eq!(attempt, 1, "it had all there is");
            return;
        }
    }
    panic!("it is tried again and again");
}

#[test]
fn a_lost_gpu_costs_no_crash_and_gets_no_trials_until_it_is_back() {
    let mut rig = Rig::new(on_gpus(8 * GIB), 1);
    rig.step([started(0, 1)]);
    rig.gpus[0].health = Health::Lost {
        why: "GPU is lost".into(),
    };
    let events = rig.step([]);
    assert_eq!(events, ["gpu_changed"]);
    let events = rig.step([ended(0, 1, exit(1))]);
    assert!(
        events.contains(&"trial_requeued 0".to_owned()),
        "{events:?}"
    );
    assert_eq!(rig.waiting(0), Some(WaitReason::NoGpu));
    let detail = rig.driver.engine.history().trials()[0]
        .waiting
        .clone()
        .unwrap()
        .detail;
    assert!(
        detail.contains("GPU 0 cannot be used: GPU is lost"),
        "{detail}"
    );
    for _ in 0..5 {
        assert!(rig.wait(60).is_empty(), "said once");
    }
    rig.gpus[0].health = Health::Present;
    assert_eq!(rig.wait(1), ["gpu_changed", "attempt_launching 0/2"]);
}

/// Two GPUs, of 8 and of 24 GiB, for trials that need 16.
fn unlike_gpus() -> Rig {
    let mut rig = Rig::new(
        StudySpec {
            gpu: Some(GpuSpec {
                per_trial: Some(16 * GIB),
                ..GpuSpec::default()
            }),
            ..spec()
        },
        0,
    );
    rig.gpus = Rig::new(spec(), 2).gpus;
    for (gpu, total) in rig.gpus.iter_mut().zip([8 * GIB, 24 * GIB]) {
        gpu.memory.as_mut().unwrap().total = total;
    }
    rig.step([]);
    rig
}

#[test]
fn a_trial_is_not_put_on_a_gpu_that_is_too_small_for_it() {
    let mut rig = unlike_gpus();
    let share = rig.share(0).unwrap();
    assert_eq!((&*share.uuid, share.memory), ("GPU-1", 16 * GIB));
    rig.used.push((0, 1, 1, 15 * GIB));
    rig.step([started(0, 1), report(0, 1, 1, 0.5), report(0, 1, 2, 0.4)]);
    rig.wait(31);
    assert_eq!(rig.share(1), None);
    assert_eq!(rig.waiting(1), Some(WaitReason::GpuMemory));
}

#[test]
fn a_trial_whose_gpu_is_lost_is_not_too_large_for_the_others() {
    let mut rig = unlike_gpus();
    rig.used.push((0, 1, 1, 15 * GIB));
    rig.step([started(0, 1)]);
    rig.used.clear();
    let before = rig.gpus.clone();
    rig.gpus[1].memory = None;
    rig.gpus[1].health = Health::Lost {
        why: "it has fallen off the bus".into(),
    };
    rig.step([]);
    rig.step([ended(0, 1, exit(1))]);
    rig.wait(60);
    assert_eq!(
        rig.driver.state(0),
        &TrialState::Queued,
        "{:?}",
        rig.driver.log
    );
    rig.gpus = before;
    rig.step([]);
    assert_eq!(rig.share(0).unwrap().uuid, "GPU-1");
    assert_eq!(rig.driver.launches(), [0]);
}

#[test]
fn too_large_for_all_there_is_is_infeasible_and_told() {
    let mut rig = Rig::new(on_gpus(8 * GIB), 1);
    rig.used.push((0, 1, 0, 7 * GIB + GIB / 4));
    rig.step([started(0, 1)]);
    rig.used.clear();
    rig.step([ended(0, 1, out_of_memory(MemoryKind::Gpu))]);
    let events = rig.step([]);
    let trial = &rig.driver.engine.history().trials()[0];
    assert_eq!(
        (trial.state.word(), trial.state.reason()),
        ("infeasible", Some("oom")),
        "{events:?}"
    );
    assert!(trial.state.is_infeasible());
    assert_eq!(trial.attempts.len(), 1, "it had all there is");
}

#[test]
fn without_any_reading_there_is_one_trial_per_gpu() {
    let mut rig = Rig::new(on_gpus(8 * GIB), 2);
    for gpu in &mut rig.gpus {
        gpu.memory = None;
    }
    rig.step([
        started(0, 1),
        started(1, 1),
        report(0, 1, 1, 1.0),
        report(0, 1, 2, 1.0),
    ]);
    rig.wait(600);
    let running = rig
        .driver
        .engine
        .history()
        .trials()
        .iter()
        .filter(|t| t.state.is_active());
    assert_eq!(running.count(), 2);
}

#[test]
fn a_trial_that_runs_out_is_tried_again_and_at_last_alone_without_any_gpu_known() {
    let mut driver = Driver::new(spec(), 2, Told::starting(None));
    driver.step([started(0, 1), started(1, 1)]);
    driver.step([ended(0, 1, out_of_memory(MemoryKind::Gpu))]);
    assert_eq!(driver.launches(), [0], "started again at once");
    driver.step([started(0, 2), ended(0, 2, out_of_memory(MemoryKind::Host))]);
    assert!(
        driver.launches().is_empty(),
        "trial 1 still runs, and nobody else is started"
    );
    assert_eq!(
        driver.engine.history().trials()[0]
            .waiting
            .as_ref()
            .unwrap()
            .reason,
        WaitReason::Alone
    );
    driver.step([report(1, 1, 1, 0.5), ended(1, 1, exit(0))]);
    assert_eq!(driver.launches(), [0], "alone");
    driver.step([started(0, 3)]);
    assert_eq!(driver.launches(), [] as [u32; 0], "nobody beside it");
    driver.step([ended(0, 3, out_of_memory(MemoryKind::Host))]);
    assert_eq!(driver.state(0).word(), "infeasible");
    assert!(!driver.launches().is_empty(), "the study goes on");
}

/// Trial 0 waits for the machine to itself, beside trial 1.
fn one_that_wants_to_be_alone(spec: StudySpec) -> Driver {
    let mut driver = Driver::new(spec, 2, Told::starting(None));
    driver.step([started(0, 1), started(1, 1)]);
    driver.step([ended(0, 1, out_of_memory(MemoryKind::Host))]);
    driver.step([started(0, 2), ended(0, 2, out_of_memory(MemoryKind::Host))]);
    assert!(driver.engine.history().trials()[0].waiting.is_some());
    driver
}

fn hold(driver: &mut Driver, trial: u32) {
    let request = control::Request::PauseTrial {
        trial: TrialId(trial),
    };
    let (events, _) = driver.engine.ask(driver.now, request).unwrap();
    driver.log.extend(events);
}

#[test]
fn a_trial_that_the_user_holds_back_keeps_nobody_waiting() {
    let mut driver = one_that_wants_to_be_alone(spec());
    hold(&mut driver, 0);
    driver.step([report(1, 1, 1, 0.5), ended(1, 1, exit(0))]);
    assert_eq!(driver.launches(), [2, 3]);
}

#[test]
fn a_study_of_which_only_a_held_trial_is_left_ends_its_session() {
    let mut driver = one_that_wants_to_be_alone(StudySpec {
        run_cap: Some(2),
        ..spec()
    });
    hold(&mut driver, 0);
    driver.step([report(1, 1, 1, 0.5), ended(1, 1, exit(0))]);
    assert!(driver.engine.is_done(), "{:?}", driver.log.last());
}

#[test]
fn who_waits_for_the_search_does_not_keep_runs_from_confirming() {
    let mut driver = one_that_wants_to_be_alone(spec());
    driver.step([Input::Drain, report(1, 1, 1, 0.5), ended(1, 1, exit(0))]);
    assert!(driver.engine.is_done());
    let begun = driver.engine.begin_session(driver.now, 1, "here").unwrap();
    driver.log.extend(begun);
    let confirm = Confirm { top: 1, seeds: 1 };
    let wish = EventKind::ConfirmRequested { confirm };
    let wished = driver.engine.record(driver.now, wish).unwrap();
    driver.log.extend(wished);
    driver.step([Input::Tick]);
    let run = TrialId::confirmation(0).0;
    assert_eq!(driver.launches(), [run]);
    driver.step([
        started(run, 1),
        report(run, 1, 1, 0.5),
        ended(run, 1, exit(0)),
    ]);
    assert!(driver.engine.is_done(), "{:?}", driver.log.last());
}

#[test]
fn a_study_that_has_failed_too_often_launches_nobody_else() {
    let failure = Failure {
        stop_after_consecutive: 1,
        ..spec().failure
    };
    let mut rig = Rig::new(
        StudySpec {
            failure,
            ..on_gpus(8 * GIB)
        },
        2,
    );
    rig.used = vec![(0, 1, 0, 7 * GIB + GIB / 4), (1, 1, 1, GIB)];
    rig.step([started(0, 1), started(1, 1)]);
    rig.used.clear();
    rig.step([
        ended(0, 1, out_of_memory(MemoryKind::Gpu)),
        ended(1, 1, exit(1)),
    ]);
    assert!(rig.driver.end().is_some());
    assert!(rig.driver.launches().is_empty(), "{:?}", rig.driver.log);
}

#[test]
fn a_study_may_want_no_second_try() {
    let failure = Failure {
        oom: OomPolicy::Fail,
        ..spec().failure
    };
    let mut driver = Driver::new(StudySpec { failure, ..spec() }, 1, Told::starting(None));
    driver.step([started(0, 1), ended(0, 1, out_of_memory(MemoryKind::Gpu))]);
    assert_eq!(driver.state(0).word(), "infeasible");
}

#[test]
fn five_that_run_out_in_a_row_end_the_study_with_an_explanation() {
    let failure = Failure {
        oom: OomPolicy::Fail,
        crash_retries: 0,
        stop_after_consecutive: 5,
        ..Failure::default()
    };
    let spec = StudySpec {
        failure,
        run_cap: Some(50),
        ..spec()
    };
    let mut driver = Driver::new(spec, 1, Told::starting(None));
    for trial in 0..5 {
        driver.step([
            started(trial, 1),
            ended(trial, 1, out_of_memory(MemoryKind::Gpu)),
        ]);
    }
    let Some(StudyEnd::Failures { detail }) = driver.end() else {
        panic!("{:?}", driver.end());
    };
    assert!(
        detail.contains("5 trials in a row") && detail.contains("CUDA out of memory"),
        "{detail}"
    );
}

fn check(seed: u64, trouble: Trouble, trials: u32) {
    let workload = Workload::random(seed, trouble, trials);
    let load = |trial, config: &_| workload.load(trial, config);
    let outcome = run(workload.spec.clone(), &workload.machine, &load).unwrap();
    assert_eq!(
        outcome.violations, 0,
        "{trouble:?} {seed}: more was set aside than the limit"
    );
    for over in &outcome.overshoots {
        assert!(trouble.is_adversarial(), "{trouble:?} {seed}: {over:?}");
    }
    for trial in outcome.history.trials() {
        assert!(
            trial.state.is_final(),
            "{trouble:?} {seed}: {:?}",
            trial.state
        );
        if trial.state.word() == "infeasible" {
            assert!(trial.state.reason() == Some("oom"));
        }
    }
    if trouble == Trouble::None {
        let completed = |t: &&Trial| t.state == TrialState::Completed;
        let count = outcome.history.trials().iter().filter(completed).count();
        assert_eq!(count, trials as usize, "{seed}: all of them fit");
    }
    // The log alone gives the same history, and an engine that has nothing left to do.
    let again = Engine::new(&outcome.log).unwrap();
    assert_eq!(again.history(), &outcome.history);
    assert!(again.outstanding().is_empty());
    let twice = run(workload.spec.clone(), &workload.machine, &load).unwrap();
    assert_eq!(twice.log, outcome.log, "{trouble:?} {seed}: the same twice");
}

#[test]
fn random_workloads_keep_the_limit() {
    for (seed, trouble) in (1..).zip(Trouble::ALL) {
        check(seed, trouble, 12);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever the driver and the processes do, what is set aside on a GPU stays within the limit.
    #[test]
    fn no_reading_makes_the_sum_of_what_is_set_aside_exceed_the_limit(
        readings in proptest::collection::vec(
            (0..4_u32, proptest::option::of(0..12_u64 * GIB), 0..9_u64 * GIB, 0..120_u64, 0..9_u8), 1..80,
        ),
        limit in 2..10_u64,
    ) {
        let mut rig = Rig::new(on_gpus(limit * GIB), 2);
        for (trial, used, foreign, seconds, what) in readings {
            let record = rig.driver.engine.history().trial(TrialId(trial)).cloned();
            let live = record.filter(|t| t.state.is_active()).and_then(|t| t.attempt().cloned());
            let mut inputs = Vec::new();
            if let Some(attempt) = live {
                let number = attempt.number.0;
                let gpu = attempt.assignment.unwrap().gpu.unwrap();
                let gpu = if gpu.uuid == "GPU-0" { 0 } else { 1 };
                rig.used.retain(|u| u.0 != trial);
                if let Some(used) = used {
                    rig.used.push((trial, number, gpu, used));
                }
                inputs.push(started(trial, number));
                match what {
                    0 => inputs.push(ended(trial, number, out_of_memory(MemoryKind::Gpu))),
                    1 => inputs.push(ended(trial, number, signal(9))),
                    2 => inputs.extend([report(trial, number, 9, 0.5), ended(trial, number, exit(0))]),
                    _ => inputs.push(report(trial, number, None, 0.5)),
                }
                if what <= 2 {
                    rig.used.retain(|u| u.0 != trial);
                }
            }
            rig.gpus[0].memory = (what != 3).then_some(GpuMemory { total: 80 * GIB, used: foreign, reserved: 0 });
            rig.gpus[1].health = if what == 4 { Health::Lost { why: "x".into() } } else { Health::Present };
            rig.driver.now = rig.driver.now.plus(Duration::from_secs(seconds));
            rig.step(inputs);
            for gpu in ["GPU-0", "GPU-1"] {
                let attempts = rig.driver.engine.history().trials().iter().filter(|t| t.state.is_active());
                let shares = attempts.filter_map(|t| {
                    let attempt = t.attempt()?;
                    let share = attempt.assignment.as_ref()?.gpu.as_ref().filter(|s| s.uuid == gpu)?;
                    Some(attempt.memory.and_then(|m| m.gpu_reserved).unwrap_or(share.memory))
                });
                prop_assert!(shares.sum::<u64>() <= limit * GIB);
            }
        }
        // A coordinator that takes over knows what is set aside from the log.
        let log = rig.driver.log.clone();
        let again = Engine::new(&log).unwrap();
        prop_assert_eq!(again.history(), rig.driver.engine.history());
        prop_assert_eq!(again.outstanding(), rig.driver.engine.outstanding());
    }
}
