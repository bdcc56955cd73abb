//! What each attempt uses: readings of GPUs and of `/proc`, put together.

use std::collections::BTreeMap;

use hpo_engine::gpu::TrialUsage;

use super::delta::Delta;
use super::processes::{Leaders, Owners};
use super::{Device, Machine};
use crate::session::AttemptId;

/// Where an attempt runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placed {
    /// Its first process, which leads its group.
    pub(super) leader: u32,
    /// The UUID of its GPU.
    pub(super) gpu: Option<String>,
    /// Counts attempts, so that they can be told apart by age.
    pub(super) number: u64,
}

/// All attempts that run.
pub(super) type Roster = BTreeMap<AttemptId, Placed>;

/// The first processes of all that run.
pub(super) fn leaders(roster: &Roster) -> Leaders {
    roster
        .iter()
        .map(|(id, placed)| (placed.leader, *id))
        .collect()
}

/// After so many readings in a row with process numbers that are not there, they are taken for those of
/// another namespace: one that has just ended is listed for a moment too.
const ENOUGH: u32 = 5;

/// What was seen of attempts so far.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    gpus: BTreeMap<String, Books>,
    peaks: BTreeMap<AttemptId, Peaks>,
}

/// One GPU's books.
#[derive(Debug, Default)]
struct Books {
    /// By growth of what no process is named for.
    unnamed: Delta,
    /// By growth of all that is in use: for where the processes' numbers mean nothing.
    all: Delta,
    /// For how many readings in a row numbers have meant nothing.
    strange: u32,
}

#[derive(Debug, Clone, Copy, Default)]
struct Peaks {
    gpu: Option<u64>,
    host: Option<u64>,
}

impl Accounts {
    /// What everybody in the roster uses, by the present readings.
    pub(super) fn usage(
        &mut self,
        machine: &Machine,
        roster: &Roster,
        owners: &mut Owners,
        host: &BTreeMap<AttemptId, u64>,
    ) -> Vec<TrialUsage> {
        let mut on_gpus = BTreeMap::new();
        for gpu in &machine.gpus {
            let parts = self.on_gpu(gpu, roster, owners);
            on_gpus.extend(parts);
        }
        self.peaks.retain(|id, _| roster.contains_key(id));
        let line = |(id, placed): (&AttemptId, &Placed)| {
            let gpu_memory = on_gpus.get(id).copied();
            let host_memory = host.get(id).copied();
            let peaks = self.peaks.entry(*id).or_default();
            peaks.gpu = peaks.gpu.max(gpu_memory);
            peaks.host = peaks.host.max(host_memory);
            TrialUsage {
                trial: id.trial,
                attempt: id.attempt,
                gpu: placed.gpu.clone(),
                gpu_memory,
                gpu_peak: peaks.gpu,
                host_memory,
                host_peak: peaks.host,
            }
        };
        roster.iter().map(line).collect()
    }

    /// What the attempts on one GPU use of it; empty when nobody knows.
    fn on_gpu(
        &mut self,
        gpu: &Device,
        roster: &Roster,
        owners: &mut Owners,
    ) -> BTreeMap<AttemptId, u64> {
        let mut here: Vec<(&AttemptId, &Placed)> = roster
            .iter()
            .filter(|(_, p)| p.gpu.as_deref() == Some(&gpu.uuid))
            .collect();
        here.sort_by_key(|(_, placed)| placed.number);
        let here: Vec<AttemptId> = here.into_iter().map(|(id, _)| *id).collect();
        let processes = gpu.processes.as_deref().unwrap_or_default();
        let books = self.gpus.entry(gpu.uuid.clone()).or_default();
        if books.strange < ENOUGH {
            let is_strange = !owners.can_tell(processes.iter().map(|p| p.pid));
            books.strange = if is_strange { books.strange + 1 } else { 0 };
        }
        let blind = books.strange >= ENOUGH;
        let leaders = leaders(roster);
        // `None` once one of its processes is listed without its memory.
        let mut named: BTreeMap<AttemptId, Option<u64>> = BTreeMap::new();
        for process in processes.iter().filter(|_| !blind) {
            if let Some(id) = owners.of(process.pid, &leaders) {
                let sum = named.entry(id).or_insert(Some(0));
                *sum = sum
                    .zip(process.memory)
                    .map(|(sum, more)| sum.saturating_add(more));
            }
        }
        let Some(memory) = gpu.memory else {
            let known = here
                .iter()
                .filter_map(|id| Some((*id, named.get(id).copied()??)));
            return known.collect();
        };
        let all = books.all.see(&here, memory.used);
        let unnamed = memory.used.saturating_sub(gpu.named());
        let unnamed = books.unnamed.see(&here, unnamed);
        let grown = if blind { all } else { unnamed };
        let of = |id: AttemptId| {
            let grown = grown.get(&id).copied().unwrap_or(0);
            // Somebody without any process there has none yet, or is not shown to us.
            (id, named.get(&id).copied().flatten().unwrap_or(grown))
        };
        here.iter().copied().map(of).collect()
    }
}
