//! Where a trial is placed, or why it has to wait.

use hpo_study::memory::bytes;
use hpo_study::{
    Assignment, AttemptEnd, FailReason, GpuShare, GpuSpec, History, MemoryKind, Timestamp, Trial,
    TrialId, WaitReason, Waiting,
};

use super::ledger::{Ledger, counts, wishes};
use super::model::{GRAIN, Need, least, peak};
use super::{Gpu, Health, oom};
use crate::Inventory;
use crate::confirm::stands_in_line;

/// A trial that was overtaken so often gets a GPU kept free for it.
const PATIENCE: u32 = 8;
/// A trial that was stopped so often to make room starts alone.
const MOST_STOPS: usize = 2;
/// A trial of which nothing is known starts only where at least this share of a GPU is left.
const ENOUGH_FOR_UNKNOWN: f64 = 0.5;
/// Who had this share of all that can be had and ran out of memory needs more than there is.
const ALL_THERE_IS: f64 = 0.95;

/// Where a trial goes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Place {
    /// It is started, with this set aside.
    On(Option<Assignment>),
    /// It waits.
    Waits(Waiting),
    /// It can never fit.
    Never(FailReason),
}

/// What a placement on GPUs goes by.
struct Scene<'s> {
    now: Timestamp,
    inventory: &'s Inventory,
    history: &'s History,
    wishes: &'s GpuSpec,
}

/// What stands in the way of a trial, and in which words.
type Obstacle = (WaitReason, String);

impl Ledger {
    /// Where the trial goes at present.
    pub(crate) fn place(
        &mut self,
        now: Timestamp,
        inventory: &Inventory,
        history: &History,
        trial: TrialId,
    ) -> Place {
        let Some(record) = history.trial(trial) else {
            return Place::On(None);
        };
        self.learn(history);
        let placed = match wishes(history, inventory) {
            Some(wishes) => {
                let scene = Scene {
                    now,
                    inventory,
                    history,
                    wishes,
                };
                self.place_on_gpu(&scene, record)
            }
            None => self.place_on_cpu(inventory, history, record),
        };
        placed.unwrap_or_else(|place| place)
    }

    /// Whether another trial could be started, as far as one can say without knowing it.
    pub(crate) fn takes_more(
        &mut self,
        now: Timestamp,
        inventory: &Inventory,
        history: &History,
    ) -> bool {
        let waits = |trial: &&TrialId| {
            let record = history.trial(**trial);
            record.is_some_and(|t| t.waiting.is_some() && stands_in_line(history, t))
        };
        let waiting = self.overtaken.keys().filter(waits).count();
        let Some(wishes) = wishes(history, inventory) else {
            return waiting == 0
                && !self
                    .accounts
                    .values()
                    .any(|a| a.alone && !a.lets_others(now, None));
        };
        self.learn(history);
        let some = Need {
            upper: GRAIN,
            surely: None,
            known: true,
        };
        let scene = Scene {
            now,
            inventory,
            history,
            wishes,
        };
        let offers = |gpu| self.offer(&scene, gpu, &some, None).is_ok();
        waiting < inventory.gpus.len().max(2) && usable(inventory, wishes).any(offers)
    }

    fn place_on_gpu(&self, scene: &Scene<'_>, trial: &Trial) -> Result<Place, Place> {
        let Scene {
            inventory,
            history,
            wishes,
            ..
        } = *scene;
        let need = self
            .model(MemoryKind::Gpu)
            .need(history, trial, MemoryKind::Gpu);
        if let Some(most) = most_ever(inventory, wishes) {
            self.check_fits(trial, &need, most, MemoryKind::Gpu)?;
        }
        let host = self.host_share(inventory, history, trial);
        let mut best: Option<((usize, u64, u32), Assignment)> = None;
        let mut obstacle: Option<Obstacle> = None;
        for gpu in usable(inventory, wishes) {
            match self.offer(scene, gpu, &need, Some(trial)) {
                Err(why) => {
                    obstacle.get_or_insert(why);
                }
                Ok((memory, alone)) => {
                    let left = self.pool(gpu, wishes).left().saturating_sub(memory);
                    let rank = (self.on(&gpu.uuid).count(), left, gpu.index);
                    if best.as_ref().is_none_or(|(other, _)| rank < *other) {
                        let share = GpuShare {
                            uuid: gpu.uuid.clone(),
                            memory,
                        };
                        let assignment = Assignment {
                            gpu: Some(share),
                            host_memory: None,
                            alone,
                        };
                        best = Some((rank, assignment));
                    }
                }
            }
        }
        let (_, assignment) = best.ok_or_else(|| {
            let (reason, detail) = obstacle.unwrap_or_else(|| no_gpu(inventory, wishes));
            Place::Waits(Waiting {
                reason,
                gpu: self.keep(scene, trial, &need),
                detail,
            })
        })?;
        Ok(Place::On(Some(Assignment {
            host_memory: host?.map(|(memory, _)| memory),
            ..assignment
        })))
    }

    fn place_on_cpu(
        &self,
        inventory: &Inventory,
        history: &History,
        trial: &Trial,
    ) -> Result<Place, Place> {
        let wait = |detail: String| {
            Place::Waits(Waiting {
                reason: WaitReason::Alone,
                gpu: None,
                detail,
            })
        };
        let first_alone = self.overtaken.keys().find(|id| {
            let record = history.trial(**id);
            record.is_some_and(|t| stands_in_line(history, t) && wants_alone(t))
        });
        if let Some(first) = first_alone.filter(|id| **id != trial.id) {
            return Err(wait(format!(
                "trial {first} waits for the machine to itself"
            )));
        }
        if let Some((id, _)) = self.accounts.iter().find(|(_, a)| a.alone && !a.settled) {
            return Err(wait(format!("trial {id} has the machine to itself")));
        }
        let wants_alone = wants_alone(trial);
        let share = self.host_share(inventory, history, trial)?;
        let alone = wants_alone || share.is_some_and(|(_, known)| !known);
        if alone && !self.accounts.is_empty() {
            let why = if wants_alone {
                "it ran out of memory beside others"
            } else {
                "nothing like it was seen yet, so it starts alone"
            };
            return Err(wait(why.to_owned()));
        }
        let assignment = Assignment {
            gpu: None,
            host_memory: share.map(|(memory, _)| memory),
            alone,
        };
        let counted = counts(history.spec()) || alone;
        Ok(Place::On(counted.then_some(assignment)))
    }

    /// Main memory for the trial, and whether its need is known; `Ok(None)` when it is not counted.
    fn host_share(
        &self,
        inventory: &Inventory,
        history: &History,
        trial: &Trial,
    ) -> Result<Option<(u64, bool)>, Place> {
        let Some(pool) = self.host(inventory, history.spec()) else {
            return Ok(None);
        };
        let need = self
            .model(MemoryKind::Host)
            .need(history, trial, MemoryKind::Host);
        self.check_fits(trial, &need, pool.room, MemoryKind::Host)?;
        let whole = wants_alone(trial) || need.upper > pool.room;
        let enough = if whole || need.known {
            need.upper.min(pool.room)
        } else {
            need.upper
                .max((pool.room as f64 * ENOUGH_FOR_UNKNOWN) as u64)
        };
        let left = pool.left() / GRAIN * GRAIN;
        if self.tight.contains(&None) {
            return Err(Place::Waits(Waiting {
                reason: WaitReason::HostMemory,
                gpu: None,
                detail: "the main memory has just run short".to_owned(),
            }));
        }
        if left < enough / GRAIN * GRAIN {
            return Err(Place::Waits(Waiting {
                reason: WaitReason::HostMemory,
                gpu: None,
                detail: format!(
                    "it needs {} of the main memory, of which {} of {} are left",
                    bytes(enough),
                    bytes(left),
                    bytes(pool.room)
                ),
            }));
        }
        let known = need.known && !whole;
        Ok(Some((if known { need.upper } else { left }, known)))
    }

    /// Refuses a trial that needs more than there can ever be: by what is known of it, or because it had all
    /// and that was not enough.
    fn check_fits(
        &self,
        trial: &Trial,
        need: &Need,
        most: u64,
        of: MemoryKind,
    ) -> Result<(), Place> {
        let tried = oom::count(trial);
        let what = match of {
            MemoryKind::Gpu => "GPU memory",
            MemoryKind::Host => "main memory",
        };
        let had_all = trial.attempts.iter().any(|attempt| {
            let given = attempt
                .assignment
                .as_ref()
                .filter(|a| a.alone)
                .and_then(|a| match of {
                    MemoryKind::Gpu => a.gpu.as_ref().map(|share| share.memory),
                    MemoryKind::Host => a.host_memory,
                });
            let ran_out = match &attempt.end {
                Some(AttemptEnd::OutOfMemory { oom, .. }) => oom.of == of,
                _ => attempt.made_room && peak(attempt, of) > given,
            };
            // What is given is rounded down.
            let is_all = |given: u64| (given + GRAIN) as f64 >= most as f64 * ALL_THERE_IS;
            ran_out && given.is_some_and(is_all)
        });
        let evidence = if had_all && least(trial, of) > most {
            format!(
                "it ran out of memory with all {} of {what} that a trial can have",
                bytes(most)
            )
        } else if let Some(surely) = need.surely.filter(|surely| *surely > most) {
            format!(
                "it needs at least {} of {what}, and a trial can have {}",
                bytes(surely),
                bytes(most)
            )
        } else {
            return Ok(());
        };
        let stops = trial.attempts.iter().filter(|a| a.made_room).count();
        let tried = u32::try_from(tried + stops).unwrap_or(u32::MAX);
        Err(Place::Never(FailReason::Oom { evidence, tried }))
    }

    /// Whether a GPU takes another trial at present, whatever it needs.
    fn is_open(&self, scene: &Scene<'_>, gpu: &Gpu, trial: Option<&Trial>) -> Result<(), Obstacle> {
        let name = format!("GPU {}", gpu.index);
        let busy = |detail: String| Err((WaitReason::GpuBusy, detail));
        if scene.inventory.is_stale {
            return busy(format!(
                "the driver is slow to answer, and what it last said of {name} is too old"
            ));
        }
        if self.is_unread(gpu) {
            return busy(format!("what runs on {name} has not been measured yet"));
        }
        if let Some(other) = self.who_starts(scene, &gpu.uuid) {
            return busy(format!("trial {other} is just starting on {name}"));
        }
        let there = self.on(&gpu.uuid).count();
        let most = scene.wishes.max_per_gpu;
        if most.is_some_and(|most| there >= most as usize) {
            return busy(format!("{name} has {there} trials, as many as it may"));
        }
        if self.is_tight(&gpu.uuid) {
            let detail = format!("memory on {name} has just run short");
            return Err((WaitReason::GpuMemory, detail));
        }
        match self.kept_for(scene, gpu, trial.map(|t| t.id)) {
            Some(other) => busy(format!(
                "{name} is kept for trial {other}, which has waited longest"
            )),
            None => Ok(()),
        }
    }

    /// What a GPU has for a trial of this need, and whether the trial has it to itself then.
    fn offer(
        &self,
        scene: &Scene<'_>,
        gpu: &Gpu,
        need: &Need,
        trial: Option<&Trial>,
    ) -> Result<(u64, bool), Obstacle> {
        self.is_open(scene, gpu, trial)?;
        let wishes = scene.wishes;
        let name = format!("GPU {}", gpu.index);
        let there = self.on(&gpu.uuid).count();
        let capacity = capacity(gpu, wishes);
        let whole = capacity.is_none_or(|capacity| need.upper > capacity);
        let alone = whole || !need.known || trial.is_some_and(wants_alone);
        if alone && there > 0 {
            let why = if capacity.is_none() {
                "how much is used there is not known"
            } else if need.known {
                "it ran out of memory beside others, or needs all there is"
            } else {
                "nothing like it was seen yet"
            };
            return Err((
                WaitReason::Alone,
                format!("it needs {name} to itself: {why}"),
            ));
        }
        let Some(capacity) = capacity else {
            let most = wishes
                .memory_limit
                .map(|limit| limit.saturating_sub(wishes.headroom));
            return Ok((most.unwrap_or(need.upper), true));
        };
        // With less than it needs it makes do only where no GPU has more.
        let largest = usable(scene.inventory, wishes)
            .filter_map(|gpu| self::capacity(gpu, wishes))
            .max();
        if need.surely > Some(capacity) || (whole && Some(capacity) < largest) {
            let detail = format!(
                "it needs {}, and {name} has {} for a trial",
                bytes(need.upper),
                bytes(capacity)
            );
            return Err((WaitReason::GpuMemory, detail));
        }
        let pool = self.pool(gpu, wishes);
        let left = pool.left() / GRAIN * GRAIN;
        let enough = if !need.known {
            need.upper
                .max((capacity as f64 * ENOUGH_FOR_UNKNOWN) as u64)
        } else if whole {
            (capacity as f64 * ALL_THERE_IS) as u64
        } else {
            need.upper
        };
        if left < enough.max(1) {
            let others = match self.foreign(gpu) {
                0 => String::new(),
                used => format!("; other processes use {}", bytes(used)),
            };
            let detail = format!(
                "it needs {} on {name}, where {} are left{others}",
                bytes(enough),
                bytes(left)
            );
            return Err((WaitReason::GpuMemory, detail));
        }
        Ok((if alone { left } else { need.upper }, alone))
    }

    /// The trial on a GPU that lets no other start yet.
    fn who_starts(&self, scene: &Scene<'_>, uuid: &str) -> Option<TrialId> {
        let (now, history) = (scene.now, scene.history);
        let floor = |trial: TrialId| {
            let record = history.trial(trial)?;
            let model = self.model(MemoryKind::Gpu);
            model.predicted(history, record, MemoryKind::Gpu).surely
        };
        let mut all = self.on(uuid);
        let starts =
            all.find(|(id, a)| !a.lets_others(now, None) && !a.lets_others(now, floor(**id)));
        starts.map(|(id, _)| *id)
    }

    /// The trial for which a GPU is kept free, if it is one other than this, and the GPU is enough for it.
    fn kept_for(&self, scene: &Scene<'_>, gpu: &Gpu, trial: Option<TrialId>) -> Option<TrialId> {
        let (history, wishes) = (scene.history, scene.wishes);
        let others = self.overtaken.keys().filter(|id| Some(**id) != trial);
        others.copied().find(|id| {
            let record = history.trial(*id);
            let waits = record.filter(|t| stands_in_line(history, t)).filter(|t| {
                let kept = t.waiting.as_ref().and_then(|w| w.gpu.as_ref());
                kept == Some(&gpu.uuid)
            });
            waits.is_some_and(|t| {
                let need = self
                    .model(MemoryKind::Gpu)
                    .need(history, t, MemoryKind::Gpu);
                let pool = self.pool(gpu, wishes);
                let most = pool.room.saturating_sub(pool.margin);
                need.upper <= most || capacity(gpu, wishes).is_some_and(|c| c <= most)
            })
        })
    }

    /// The GPU that is kept free for a trial from now on, if it was overtaken too often: the one that it was
    /// kept before, or the one on which least is set aside.
    fn keep(&self, scene: &Scene<'_>, trial: &Trial, need: &Need) -> Option<String> {
        let (inventory, wishes) = (scene.inventory, scene.wishes);
        let before = trial.waiting.as_ref().and_then(|w| w.gpu.as_ref());
        let overtaken = self.overtaken.get(&trial.id).copied().unwrap_or(0);
        if overtaken < PATIENCE && before.is_none() {
            return None;
        }
        let fitting = || {
            let most = usable(inventory, wishes)
                .filter_map(|gpu| capacity(gpu, wishes))
                .max();
            let wanted = need.upper.min(most.unwrap_or(0));
            usable(inventory, wishes)
                .filter(move |gpu| capacity(gpu, wishes).is_none_or(|c| c >= wanted))
        };
        if let Some(before) = before.filter(|uuid| fitting().any(|gpu| gpu.uuid == **uuid)) {
            return Some(before.clone());
        }
        fitting()
            .filter(|gpu| self.kept_for(scene, gpu, Some(trial.id)).is_none())
            .min_by_key(|gpu| (self.pool(gpu, wishes).reserved, gpu.index))
            .map(|gpu| gpu.uuid.clone())
    }
}

/// The GPUs on which trials are placed.
fn usable<'i>(inventory: &'i Inventory, wishes: &'i GpuSpec) -> impl Iterator<Item = &'i Gpu> {
    inventory
        .gpus
        .iter()
        .filter(|gpu| gpu.health == Health::Present && wishes.devices.have(gpu.index, &gpu.uuid))
}

/// The most that a trial can be given on any GPU, now or when one that is lost is back; `None`: unknown.
fn most_ever(inventory: &Inventory, wishes: &GpuSpec) -> Option<u64> {
    let is_lost =
        |gpu: &Gpu| gpu.health != Health::Present && wishes.devices.have(gpu.index, &gpu.uuid);
    match inventory.gpus.iter().any(is_lost) {
        true => (wishes.memory_limit).map(|limit| limit.saturating_sub(wishes.headroom)),
        false => usable(inventory, wishes)
            .filter_map(|gpu| capacity(gpu, wishes))
            .max(),
    }
}

/// The most that a trial can be given on a GPU when nobody else is on it; `None`: unknown.
fn capacity(gpu: &Gpu, wishes: &GpuSpec) -> Option<u64> {
    let memory = gpu.memory?;
    let card = memory.total.saturating_sub(memory.reserved);
    let limit = wishes.memory_limit.unwrap_or(card).min(card);
    Some(limit.saturating_sub(wishes.headroom) / GRAIN * GRAIN)
}

/// Whether a trial has run out of memory, or was stopped for it, so often that it starts alone.
fn wants_alone(trial: &Trial) -> bool {
    let stops = trial.attempts.iter().filter(|a| a.made_room).count();
    oom::count(trial) >= oom::MOST_OOM_RETRIES || stops >= MOST_STOPS
}

fn no_gpu(inventory: &Inventory, wishes: &GpuSpec) -> Obstacle {
    let asked = |gpu: &&Gpu| wishes.devices.have(gpu.index, &gpu.uuid);
    let lost = inventory
        .gpus
        .iter()
        .filter(asked)
        .find_map(|gpu| match &gpu.health {
            Health::Lost { why } => Some(format!("GPU {} cannot be used: {why}", gpu.index)),
            Health::Present => None,
        });
    let detail = match (lost, inventory.gpus.is_empty()) {
        (Some(lost), _) => lost,
        (None, true) => "no GPU is to be seen".to_owned(),
        (None, false) => "none of the GPUs in `gpu.devices` is to be seen".to_owned(),
    };
    (WaitReason::NoGpu, detail)
}
