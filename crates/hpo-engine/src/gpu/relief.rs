//! What is done when memory runs short: one trial at a time is stopped and put back.

use std::collections::BTreeMap;
use std::time::Duration;

use hpo_study::memory::bytes;
use hpo_study::{
    AttemptNumber, EventKind, GpuSpec, History, LimitFor, StopIntent, StudySpec, Timestamp,
    TrialId, TrialState,
};

use super::account::Account;
use super::ledger::{HOST_MARGIN, Ledger, wishes};
use super::{Gpu, Health};
use crate::Inventory;

/// From this share of the limit on a trial is stopped.
const TIGHT: f64 = 0.97;
/// Below this share nothing is tight any more, and trials are placed again.
const RELAXED: f64 = 0.95;
/// So long a trial that was told to end blocks the stopping of another.
const ENDING: Duration = Duration::from_secs(5);

/// How short the memory of a GPU is, or the main memory.
struct Shortage {
    /// Somebody has to be stopped.
    is_over: bool,
    /// Trials may be placed again.
    is_past: bool,
    evidence: String,
}

impl Ledger {
    /// Stops a trial wherever memory runs short.
    pub(super) fn relieve(
        &mut self,
        now: Timestamp,
        inventory: &Inventory,
        history: &History,
    ) -> Vec<EventKind> {
        let mut short = Vec::new();
        if let Some(wishes) = wishes(history, inventory) {
            let present = inventory
                .gpus
                .iter()
                .filter(|g| g.health == Health::Present);
            short.extend(
                present
                    .filter_map(|gpu| Some((Some(gpu.uuid.clone()), self.shortage(gpu, wishes)?))),
            );
        }
        let host = self.host_shortage(inventory, history.spec());
        short.extend(host.map(|shortage| (None, shortage)));
        let fresh = inventory.read_at.is_none_or(|at| at > self.last_end);
        let mut events: BTreeMap<TrialId, EventKind> = BTreeMap::new();
        for (place, shortage) in short {
            if shortage.is_over {
                self.tight.insert(place.clone());
            } else if shortage.is_past && self.in_place(&place).all(|(_, a)| a.stopping.is_none()) {
                self.tight.remove(&place);
            }
            if shortage.is_over
                && fresh
                && let Some((victim, attempt)) = self.victim(now, &place, history)
            {
                // Who leaves a GPU leaves the main memory, too.
                events.entry(victim).or_insert(EventKind::StopRequested {
                    trial: victim,
                    attempt,
                    intent: StopIntent::MakeRoom {
                        evidence: shortage.evidence,
                        at_once: true,
                    },
                });
            }
        }
        events.into_values().collect()
    }

    /// The accounts on a GPU, or all of them: everybody uses the main memory.
    fn in_place(&self, gpu: &Option<String>) -> impl Iterator<Item = (&TrialId, &Account)> {
        let gpu = gpu.clone();
        let all = self.accounts.iter();
        all.filter(move |(_, account)| gpu.is_none() || account.gpu == gpu)
    }

    /// Who is stopped: the youngest of those that use more than was set aside for them, else of those whose need
    /// is not known, else of all. Nobody while another one is just ending.
    fn victim(
        &self,
        now: Timestamp,
        place: &Option<String>,
        history: &History,
    ) -> Option<(TrialId, AttemptNumber)> {
        let ending = |a: &Account| a.stopping.is_some_and(|since| now.since(since) < ENDING);
        if self.in_place(place).any(|(_, a)| ending(a)) {
            return None;
        }
        let running = |trial: &TrialId| {
            let state = history.trial(*trial).map(|t| &t.state);
            matches!(state, Some(TrialState::Launching | TrialState::Running))
        };
        self.in_place(place)
            .filter(|(trial, a)| a.stopping.is_none() && running(trial))
            .max_by_key(|(trial, a)| {
                (
                    a.is_beyond(place.is_some()),
                    !a.settled,
                    a.launched,
                    **trial,
                )
            })
            .map(|(trial, a)| (*trial, a.attempt))
    }

    fn shortage(&self, gpu: &Gpu, wishes: &GpuSpec) -> Option<Shortage> {
        let memory = gpu.memory?;
        let card = memory.total.saturating_sub(memory.reserved);
        let limit = wishes.memory_limit.unwrap_or(card).min(card);
        let (used, most) = match wishes.limit_for {
            LimitFor::Card => (memory.used, limit),
            LimitFor::Study => {
                let ours = memory.used.saturating_sub(self.foreign(gpu));
                // Whatever limit is nearer.
                if memory.used.saturating_sub(ours) + limit > card {
                    (memory.used, card)
                } else {
                    (ours, limit)
                }
            }
        };
        // On a large card 3 % are more than anybody keeps free: what was admitted must not be stopped.
        let bound = (most as f64 * TIGHT).max(most.saturating_sub(wishes.headroom / 2) as f64);
        // Whoever is beyond what was set aside for it, and still grows, would be over the limit at the next look.
        let beyond = self.on(&gpu.uuid).filter(|(_, a)| a.is_beyond(true));
        let rise: u64 = beyond.map(|(_, a)| a.gpu_track.rise).sum();
        let will_be_over = rise > 0 && used.saturating_add(rise) > most;
        Some(Shortage {
            is_over: used as f64 >= bound || will_be_over,
            is_past: (used as f64) < bound * RELAXED / TIGHT,
            evidence: format!(
                "{} of {} are used on GPU {}",
                bytes(used),
                bytes(most),
                gpu.index
            ),
        })
    }

    /// The main memory is short when trials use nearly all that they may, or the machine has next to nothing left.
    fn host_shortage(&self, inventory: &Inventory, spec: &StudySpec) -> Option<Shortage> {
        let most = self.host(inventory, spec)?.room;
        let used = self.accounts.values().filter_map(|a| a.host_track.now);
        let used: u64 = used.sum();
        let available = inventory.host.map(|host| host.available);
        let is_bare = available.is_some_and(|available| available < HOST_MARGIN);
        let evidence = match available.filter(|_| is_bare) {
            Some(available) => format!(
                "{} of the main memory are left on this machine",
                bytes(available)
            ),
            None => format!(
                "trials use {} of {} of the main memory",
                bytes(used),
                bytes(most)
            ),
        };
        Some(Shortage {
            is_over: used as f64 >= most as f64 * TIGHT || is_bare,
            is_past: (used as f64) < most as f64 * RELAXED && !is_bare,
            evidence,
        })
    }
}
