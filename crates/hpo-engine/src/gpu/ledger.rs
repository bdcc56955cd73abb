//! The ledger of all attempts that run, and what is decided by it: where a trial is placed, what is known of
//! its need, and who is stopped when memory runs short.
//!
//! What is set aside follows from the log alone; readings come with each step and are not remembered
//! beyond the session.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hpo_study::memory::{MIB, SETTLE_AFTER};
use hpo_study::{
    AttemptEnd, Event, EventKind, GpuSpec, History, LimitFor, MemoryKind, StudySpec, Timestamp,
    TrialId,
};

use super::account::Account;
use super::features::is_training;
use super::model::Model;
use super::pool::Pool;
use super::{Gpu, Health};
use crate::Inventory;

/// How often it is written down, at most, why a trial waits, while that changes in its numbers only.
const TELL_AGAIN: Duration = Duration::from_secs(60);
/// Kept free of the main memory.
pub(super) const HOST_MARGIN: u64 = 128 * MIB;

/// What is known of memory in a running study.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(super) accounts: BTreeMap<TrialId, Account>,
    /// How many others were started on a GPU while a trial waited.
    pub(super) overtaken: BTreeMap<TrialId, u32>,
    gpu_model: Model,
    host_model: Model,
    /// Something was learned since the models were made.
    stale: bool,
    /// What others used of a GPU when that was last certain: when none of our trials was on it, or it was known
    /// what each of them used.
    others: BTreeMap<String, u64>,
    /// Where memory ran short and nothing is placed until it is not: GPUs by their UUIDs, `None` is the main memory.
    pub(super) tight: BTreeSet<Option<String>>,
    /// The last end of a process: readings from before it say nothing of how short memory is.
    pub(super) last_end: Timestamp,
    /// When it was last written down why a trial waits.
    told_waiting: BTreeMap<TrialId, Timestamp>,
}

impl Ledger {
    /// Sees an event that the history has taken in, live and on resume alike.
    pub(crate) fn observe(&mut self, history: &History, event: &Event) {
        match &event.kind {
            EventKind::AttemptLaunching {
                trial,
                attempt,
                assignment,
                ..
            } => {
                self.overtaken.remove(trial);
                self.told_waiting.remove(trial);
                if assignment.as_ref().is_some_and(|a| a.gpu.is_some()) {
                    for count in self.overtaken.values_mut() {
                        *count = count.saturating_add(1);
                    }
                }
                let gpu = history.spec().gpu.as_ref();
                let settle_after = gpu.map_or(SETTLE_AFTER, |gpu| gpu.settle_after);
                let account = Account::open(*attempt, event.at, settle_after, assignment.as_ref());
                self.accounts.insert(*trial, account);
            }
            EventKind::TrialWaiting { trial, .. } => {
                self.overtaken.entry(*trial).or_insert(0);
                self.told_waiting.insert(*trial, event.at);
            }
            EventKind::Reported {
                trial,
                attempt,
                metrics,
                ..
            } => {
                let account = self.accounts.get_mut(trial);
                if let Some(account) =
                    account.filter(|a| a.attempt == *attempt && is_training(metrics))
                {
                    account.reported(event.at);
                }
            }
            EventKind::MemoryMeasured {
                trial,
                attempt,
                memory,
            } => {
                if let Some(account) = self
                    .accounts
                    .get_mut(trial)
                    .filter(|a| a.attempt == *attempt)
                {
                    account.told(memory);
                }
                self.stale = true;
            }
            EventKind::StopRequested { trial, .. } => {
                if let Some(account) = self.accounts.get_mut(trial) {
                    account.stopping.get_or_insert(event.at);
                }
            }
            EventKind::AttemptEnded { trial, attempt, .. } => {
                if self
                    .accounts
                    .get(trial)
                    .is_some_and(|a| a.attempt == *attempt)
                {
                    self.accounts.remove(trial);
                    self.last_end = event.at;
                }
                self.stale = true;
            }
            EventKind::TrialCompleted { trial }
            | EventKind::TrialStopped { trial, .. }
            | EventKind::TrialFailed { trial, .. } => {
                self.accounts.remove(trial);
                self.overtaken.remove(trial);
                self.told_waiting.remove(trial);
            }
            EventKind::SpecChanged { .. } => self.stale = true,
            _ => {}
        }
        if self.stale && !counts(history.spec()) {
            self.stale = false;
        }
    }

    /// Whether the words for why a trial waits are so old that other ones are worth writing down.
    pub(crate) fn may_tell_again(&self, now: Timestamp, trial: TrialId) -> bool {
        let told = self.told_waiting.get(&trial);
        told.is_none_or(|at| now.since(*at) >= TELL_AGAIN)
    }

    /// Brings the models up to date.
    pub(super) fn learn(&mut self, history: &History) {
        if std::mem::take(&mut self.stale) {
            self.gpu_model = Model::learn(history, MemoryKind::Gpu);
            self.host_model = Model::learn(history, MemoryKind::Host);
        }
    }

    pub(super) fn model(&self, of: MemoryKind) -> &Model {
        match of {
            MemoryKind::Gpu => &self.gpu_model,
            MemoryKind::Host => &self.host_model,
        }
    }

    /// Takes the readings of a step, and says what follows: what became known, which GPUs were lost or came
    /// back, and who is to be stopped.
    pub(crate) fn see(
        &mut self,
        now: Timestamp,
        inventory: &Inventory,
        history: &History,
    ) -> Vec<EventKind> {
        if !counts(history.spec()) {
            return Vec::new();
        }
        self.read(now, inventory);
        let mut events = self.health(inventory, history);
        events.extend(self.measured(now, inventory, history.spec()));
        events.extend(self.relieve(now, inventory, history));
        events
    }

    fn read(&mut self, now: Timestamp, inventory: &Inventory) {
        for usage in &inventory.usage {
            let account = self.accounts.get_mut(&usage.trial);
            let Some(account) = account.filter(|a| a.attempt == usage.attempt) else {
                continue;
            };
            account
                .host_track
                .see(now, usage.host_memory, usage.host_peak);
            let card = inventory
                .gpus
                .iter()
                .find(|g| Some(&g.uuid) == account.gpu.as_ref());
            // What the driver does not say of a process is guessed where it says what is used in all.
            let is_guessed = usage.gpu_memory.is_none() && card.is_some_and(|g| g.memory.is_some());
            if account.gpu.is_some() && !is_guessed {
                account.gpu_track.see(now, usage.gpu_memory, usage.gpu_peak);
            }
        }
        for gpu in &inventory.gpus {
            let Some(used) = gpu.memory.map(|memory| memory.used) else {
                continue;
            };
            let is_read = |trial: &TrialId| {
                let mut usage = inventory.usage.iter();
                usage.any(|u| u.trial == *trial && u.gpu_memory.is_some())
            };
            if self.on(&gpu.uuid).all(|(trial, _)| is_read(trial)) {
                let ours = self.on(&gpu.uuid).filter_map(|(_, a)| a.gpu_track.now);
                let others = used.saturating_sub(ours.sum());
                self.others.insert(gpu.uuid.clone(), others);
            } else if !self.on(&gpu.uuid).any(|(trial, _)| is_read(trial)) {
                self.guess(now, &gpu.uuid, used);
            }
        }
    }

    /// Where the driver does not say which process uses how much: what is used beyond the others is the one
    /// trial's whose need is not known yet, less what those use whose is.
    fn guess(&mut self, now: Timestamp, uuid: &str, used: u64) {
        let others = self.others.get(uuid).copied().unwrap_or(0);
        let known = |a: &Account| a.settled || a.stopping.is_some();
        let settled: u64 = self
            .on(uuid)
            .filter(|(_, a)| known(a))
            .filter_map(|(_, a)| a.gpu_track.peak)
            .sum();
        let unknown = |a: &Account| a.gpu.as_deref() == Some(uuid) && !known(a);
        let mut open = self.accounts.values_mut().filter(|a| unknown(a));
        if let (Some(account), None) = (open.next(), open.next()) {
            let rest = used.saturating_sub(others).saturating_sub(settled);
            account.gpu_track.see(now, Some(rest), None);
        }
    }

    /// Which GPUs were lost, or came back.
    fn health(&self, inventory: &Inventory, history: &History) -> Vec<EventKind> {
        let mut events = Vec::new();
        let lost = history.lost_gpus();
        for gpu in &inventory.gpus {
            match (&gpu.health, lost.contains_key(&gpu.uuid)) {
                (Health::Lost { why }, false) => events.push((gpu.uuid.clone(), Some(why.clone()))),
                (Health::Present, true) => events.push((gpu.uuid.clone(), None)),
                _ => {}
            }
        }
        let there = |uuid: &String| inventory.gpus.iter().any(|gpu| gpu.uuid == *uuid);
        let ours: BTreeSet<&String> = self
            .accounts
            .values()
            .filter_map(|a| a.gpu.as_ref())
            .collect();
        for uuid in ours {
            if !there(uuid) && !lost.contains_key(uuid) {
                let why = "the driver does not show it any more".to_owned();
                events.push((uuid.clone(), Some(why)));
            }
        }
        events
            .into_iter()
            .map(|(gpu, lost)| EventKind::GpuChanged { gpu, lost })
            .collect()
    }

    /// What became known of attempts' needs. One after the other: what one is given the next cannot have.
    fn measured(&self, now: Timestamp, inventory: &Inventory, spec: &StudySpec) -> Vec<EventKind> {
        let mut events = Vec::new();
        let mut given: BTreeMap<Option<&String>, u64> = BTreeMap::new();
        for (trial, account) in &self.accounts {
            let gpu = account.gpu.as_ref();
            let card = inventory.gpus.iter().find(|g| Some(&g.uuid) == gpu);
            let gpu_room = match (card, &spec.gpu) {
                (Some(card), Some(wishes)) => self.pool(card, wishes).slack(),
                _ => 0,
            };
            let host_room = self.host(inventory, spec).map_or(0, |pool| pool.slack());
            let left = |room: u64, key: Option<&String>| {
                room.saturating_sub(given.get(&key).copied().unwrap_or(0))
            };
            let room = (left(gpu_room, gpu), left(host_room, None));
            let Some(memory) = account.news(now, room, self.gpu_model.growth) else {
                continue;
            };
            let more = |new: Option<u64>, old: u64| new.unwrap_or(old).saturating_sub(old);
            let gpu_more = more(memory.gpu_reserved, account.gpu_reserved);
            let host_old = account.host_reserved.unwrap_or(0);
            let host_more = more(memory.host_reserved, host_old);
            if gpu.is_some() {
                *given.entry(gpu).or_default() += gpu_more;
            }
            *given.entry(None).or_default() += host_more;
            events.push(EventKind::MemoryMeasured {
                trial: *trial,
                attempt: account.attempt,
                memory,
            });
        }
        events
    }

    /// What should not be blamed on the trial: a process that ended with an error on a GPU that was lost.
    pub(crate) fn excuse(&self, history: &History, trial: TrialId, end: AttemptEnd) -> AttemptEnd {
        let gpu = self.accounts.get(&trial).and_then(|a| a.gpu.as_ref());
        let lost = gpu.is_some_and(|gpu| history.lost_gpus().contains_key(gpu));
        match end {
            AttemptEnd::Exited { code, .. } if lost && code != 0 => AttemptEnd::Lost,
            AttemptEnd::Signaled { .. } | AttemptEnd::OutOfMemory { .. } if lost => {
                AttemptEnd::Lost
            }
            end => end,
        }
    }

    /// What is to be written of an attempt before its end is.
    pub(crate) fn last_words(&self, history: &History, trial: TrialId) -> Option<EventKind> {
        if !counts(history.spec()) {
            return None;
        }
        let account = self.accounts.get(&trial)?;
        Some(EventKind::MemoryMeasured {
            trial,
            attempt: account.attempt,
            memory: account.last_words()?,
        })
    }

    /// The accounts on a GPU.
    pub(super) fn on<'l>(
        &'l self,
        uuid: &'l str,
    ) -> impl Iterator<Item = (&'l TrialId, &'l Account)> {
        self.accounts
            .iter()
            .filter(move |(_, account)| account.gpu.as_deref() == Some(uuid))
    }

    /// Whether trials run on a GPU that an earlier session has started, and of which nothing was read yet: what
    /// others use there is unknown until then.
    pub(super) fn is_unread(&self, gpu: &Gpu) -> bool {
        let unread = |a: &Account| a.gpu_track.now.is_none();
        gpu.memory.is_some()
            && !self.others.contains_key(&gpu.uuid)
            && self.on(&gpu.uuid).any(|(_, a)| unread(a))
    }

    pub(super) fn is_tight(&self, uuid: &str) -> bool {
        self.tight.contains(&Some(uuid.to_owned()))
    }

    /// What others use of a GPU: all that is used, less what our trials use.
    pub(super) fn foreign(&self, gpu: &Gpu) -> u64 {
        let Some(memory) = gpu.memory else { return 0 };
        let mut ours = self.on(&gpu.uuid).map(|(_, a)| a.gpu_track.now);
        match ours.try_fold(0_u64, |sum, used| Some(sum.saturating_add(used?))) {
            Some(sum) => memory.used.saturating_sub(sum),
            // A trial that has just started has no reading yet and uses nothing worth mentioning.
            None => {
                let read: u64 = self
                    .on(&gpu.uuid)
                    .filter_map(|(_, a)| a.gpu_track.now)
                    .sum();
                let before = self.others.get(&gpu.uuid).copied().unwrap_or(0);
                before.min(memory.used.saturating_sub(read))
            }
        }
    }

    /// The memory of a GPU as it is accounted now.
    pub(super) fn pool(&self, gpu: &Gpu, wishes: &GpuSpec) -> Pool {
        let reserved = self.on(&gpu.uuid).map(|(_, a)| a.gpu_reserved).sum();
        let promised = self
            .on(&gpu.uuid)
            .filter(|(_, a)| !a.settled)
            .map(|(_, a)| a.gpu_reserved.saturating_sub(a.gpu_track.now.unwrap_or(0)))
            .sum();
        let Some(memory) = gpu.memory else {
            return Pool {
                room: wishes.memory_limit.unwrap_or(0),
                margin: wishes.headroom,
                reserved,
                promised,
                free: None,
            };
        };
        let card = memory.total.saturating_sub(memory.reserved);
        let foreign = self.foreign(gpu);
        let limit = wishes.memory_limit.unwrap_or(card);
        let room = match wishes.limit_for {
            LimitFor::Card => limit.min(card).saturating_sub(foreign),
            LimitFor::Study => limit.min(card.saturating_sub(foreign)),
        };
        Pool {
            room,
            margin: wishes.headroom,
            reserved,
            promised,
            free: Some(card.saturating_sub(memory.used)),
        }
    }

    /// The main memory as it is accounted now; `None` when it is not counted.
    pub(super) fn host(&self, inventory: &Inventory, spec: &StudySpec) -> Option<Pool> {
        let limit = spec.cpu.memory_limit?;
        let accounts = || self.accounts.values();
        let host = inventory.host;
        Some(Pool {
            room: host.map_or(limit, |host| limit.min(host.total)),
            margin: 0,
            reserved: accounts().filter_map(|a| a.host_reserved).sum(),
            promised: accounts()
                .filter(|a| !a.settled)
                .filter_map(|a| {
                    Some(
                        a.host_reserved?
                            .saturating_sub(a.host_track.now.unwrap_or(0)),
                    )
                })
                .sum(),
            free: host.map(|host| host.available.saturating_sub(HOST_MARGIN)),
        })
    }
}

/// What a study wishes of GPUs; nothing where it makes do with the CPU.
pub(super) fn wishes<'h>(history: &'h History, inventory: &Inventory) -> Option<&'h GpuSpec> {
    let wishes = history.spec().gpu.as_ref();
    wishes.filter(|_| !inventory.cpu_only)
}

/// Whether memory is counted in a study.
pub(crate) fn counts(spec: &StudySpec) -> bool {
    spec.gpu.is_some() || spec.cpu.memory_limit.is_some()
}
