//! Looks at GPUs and main memory for as long as a study runs, on a thread of its own: a driver that hangs
//! holds up nothing but this thread.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hpo_engine::Inventory;
use hpo_engine::gpu::{Gpu, GpuMemory, GpuProcess, Health, HostMemory, TrialUsage};
use hpo_study::{GpuSpec, StudySpec, Timestamp};
use tokio::sync::Notify;

use super::accounts::{Accounts, Placed, Roster, leaders};
use super::processes::{Owners, machine_memory};
use super::{Device, GpuProbe, Machine, NoGpu};
use crate::clock;
use crate::error::RunError;
use crate::session::{AttemptId, Session};

/// Between two looks while something may be about to happen: an attempt is young, or a limit near, …
const QUICK: Duration = Duration::from_millis(100);
/// … while attempts run that have long shown what they need, …
const STEADY: Duration = Duration::from_millis(200);
/// … and while none does.
const IDLE: Duration = Duration::from_secs(1);
/// For how long an attempt is young.
const YOUNG: Duration = Duration::from_secs(30);
/// The part of a limit above which it is near.
const NEAR: f64 = 0.85;
/// How often main memory is looked at, at most, …
const HOST: Duration = Duration::from_secs(1);
/// … and the part of one core that this may take: reading page tables of large processes is slow.
const HOST_SHARE: u32 = 50;
/// How long the driver may take for one reading before the one before it is too old to place trials by, …
const STALE: Duration = Duration::from_secs(2);
/// … and before the GPUs are taken to be out of reach.
const HANGS: Duration = Duration::from_secs(5);

/// The watch over this machine's GPUs and memory, for one session of a study.
#[derive(Debug)]
pub(crate) struct Watch {
    shared: Arc<Shared>,
    /// Which GPUs the study may use.
    gpus: Option<GpuSpec>,
    /// Attempts placed so far.
    placed: u64,
    /// The reading that was given last.
    given: AtomicU64,
    /// The trouble that was told last.
    told: Option<String>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Wakes the thread before its time.
    hurry: Condvar,
    /// Wakes whoever waits for a reading.
    news: Notify,
}

#[derive(Debug, Default)]
struct State {
    roster: Roster,
    born: BTreeMap<AttemptId, Instant>,
    over: bool,
    /// When the present reading was begun, while it lasts.
    reading_since: Option<Instant>,
    /// How many readings there were.
    readings: u64,
    read_at: Option<Timestamp>,
    machine: Machine,
    usage: Vec<TrialUsage>,
    host: Option<HostMemory>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Whoever panicked while holding it left nothing half-done: fields are set one by one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// Begins to look, if the study counts memory at all: it uses GPUs, or limits main memory. Waits for
    /// the first reading, unless the driver hangs.
    ///
    /// # Errors
    /// When there is no thread to be had: without readings no trial would ever be placed.
    pub(crate) fn start(spec: &StudySpec, session: Session) -> Result<Option<Self>, RunError> {
        if spec.gpu.is_none() && spec.cpu.memory_limit.is_none() {
            return Ok(None);
        }
        let shared = Arc::new(Shared {
            state: Mutex::new(State::default()),
            hurry: Condvar::new(),
            news: Notify::new(),
        });
        let limit = spec.gpu.as_ref().and_then(|gpu| gpu.memory_limit);
        let wanted = spec.gpu.is_some();
        let theirs = shared.clone();
        let thread = std::thread::Builder::new().name("memory".to_owned());
        let thread = thread.spawn(move || {
            let probe: Box<dyn GpuProbe> = if wanted {
                theirs.state().reading_since = Some(Instant::now());
                super::probe()
            } else {
                let why = "the study uses no GPU".to_owned();
                Box::new(NoGpu { why })
            };
            look_on(probe, &theirs, session, limit);
        });
        thread.map_err(|source| RunError::System {
            what: "cannot watch the memory",
            source,
        })?;
        let state = shared.state();
        let first = |state: &mut State| state.readings == 0;
        let waited = shared.hurry.wait_timeout_while(state, HANGS, first);
        drop(waited);
        Ok(Some(Self {
            shared,
            gpus: spec.gpu.clone(),
            placed: 0,
            given: AtomicU64::new(0),
            told: None,
        }))
    }

    /// Why the study can have no GPU here however long it waits.
    pub(crate) fn missing(&self) -> Option<String> {
        let state = self.shared.state();
        // A driver that hangs has said nothing yet.
        let has_read = state.readings > 0;
        has_read
            .then(|| super::missing(&state.machine, self.gpus.as_ref()?))
            .flatten()
    }

    /// From now on only the main memory counts.
    pub(crate) fn leave_gpus(&mut self) {
        self.gpus = None;
    }

    /// An attempt has been started (or was found running): its first process, and the GPU it was given.
    pub(crate) fn began(&mut self, id: AttemptId, leader: u32, gpu: Option<String>) {
        self.placed += 1;
        let number = self.placed;
        let mut state = self.shared.state();
        let placed = Placed {
            leader,
            gpu,
            number,
        };
        state.roster.insert(id, placed);
        state.born.insert(id, Instant::now());
        self.shared.hurry.notify_all();
    }

    /// Nothing is left of an attempt.
    pub(crate) fn ended(&self, id: AttemptId) {
        let mut state = self.shared.state();
        state.roster.remove(&id);
        state.born.remove(&id);
        state
            .usage
            .retain(|u| (u.trial, u.attempt) != (id.trial, id.attempt));
        self.shared.hurry.notify_all();
    }

    /// Whether there is a reading that [`Watch::fill`] has not given yet.
    pub(crate) fn has_news(&self) -> bool {
        self.shared.state().readings != self.given.load(Ordering::Relaxed)
    }

    /// Waits for the next reading.
    pub(crate) async fn news(&self) {
        self.shared.news.notified().await;
    }

    /// Adds the last readings to an inventory.
    pub(crate) fn fill(&self, inventory: &mut Inventory) {
        let state = self.shared.state();
        self.given.store(state.readings, Ordering::Relaxed);
        let hangs = state.hangs();
        inventory.read_at = state.read_at;
        inventory.is_stale = state.takes(STALE);
        inventory.usage.clone_from(&state.usage);
        inventory.host = state.host;
        let Some(wanted) = &self.gpus else {
            return;
        };
        let gpus = super::usable(&state.machine, wanted).filter(|gpu| !gpu.uuid.is_empty());
        inventory.gpus = gpus
            .map(|gpu| for_the_engine(gpu, hangs.as_deref()))
            .collect();
        if hangs.is_some() {
            for usage in &mut inventory.usage {
                (usage.gpu_memory, usage.host_memory) = (None, None);
            }
        }
    }

    /// What people have to be told of the GPUs, once: why none can be used, or that it is well again.
    pub(crate) fn trouble(&mut self) -> Option<String> {
        let wishes = self.gpus.as_ref()?;
        let state = self.shared.state();
        let machine = &state.machine;
        let trouble = state
            .hangs()
            .or_else(|| machine.trouble.clone())
            .or_else(|| super::missing(machine, wishes))
            .or_else(|| nameless(machine, wishes));
        if trouble == self.told {
            return None;
        }
        let news = match &trouble {
            Some(why) => format!("{why}; nothing is started on a GPU until that is over"),
            None => "the GPUs can be used again".to_owned(),
        };
        self.told = trouble;
        Some(news)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.state().over = true;
        self.shared.hurry.notify_all();
    }
}

impl State {
    /// Whether the present reading takes longer than this already.
    fn takes(&self, long: Duration) -> bool {
        let since = self.reading_since;
        since.is_some_and(|since| since.elapsed() > long)
    }

    fn hangs(&self) -> Option<String> {
        let seconds = self.reading_since?.elapsed().as_secs();
        // The number would be other words every second.
        self.takes(HANGS).then(|| {
            let more = if seconds > 60 {
                "more than a minute"
            } else {
                "more than 5 s"
            };
            format!("the NVIDIA driver has not answered for {more}")
        })
    }

    /// How long to wait until the next look.
    fn pace(&self, limit: Option<u64>) -> Duration {
        if self.roster.is_empty() {
            return IDLE;
        }
        let young = self.born.values().any(|born| born.elapsed() < YOUNG);
        let near = self
            .machine
            .gpus
            .iter()
            .filter_map(|gpu| gpu.memory)
            .any(|memory| {
                let most = memory.total.saturating_sub(memory.reserved.unwrap_or(0));
                let most = limit.unwrap_or(most).min(most);
                memory.used as f64 > NEAR * most as f64
            });
        if young || near { QUICK } else { STEADY }
    }
}

fn look_on(mut probe: Box<dyn GpuProbe>, shared: &Shared, session: Session, limit: Option<u64>) {
    let mut owners = Owners::new(session);
    let mut accounts = Accounts::default();
    let mut host = BTreeMap::new();
    let mut host_again = Instant::now();
    loop {
        let roster = {
            let mut state = shared.state();
            if state.over {
                return;
            }
            state.reading_since = Some(Instant::now());
            state.roster.clone()
        };
        // What ends from now on may still be part of the reading.
        let read_at = clock::now();
        let machine = probe.read();
        let now = Instant::now();
        if now >= host_again {
            host = owners.host_memory(&leaders(&roster));
            host_again = now + HOST.max(now.elapsed() * HOST_SHARE);
        }
        let usage = accounts.usage(&machine, &roster, &mut owners, &host);
        let memory = machine_memory();
        let mut state = shared.state();
        state.reading_since = None;
        state.readings += 1;
        (state.machine, state.host) = (machine, memory);
        state.read_at = Some(read_at);
        // Somebody may have ended meanwhile.
        let is_there = |u: &TrialUsage| {
            let (trial, attempt) = (u.trial, u.attempt);
            state.roster.contains_key(&AttemptId { trial, attempt })
        };
        state.usage = usage.into_iter().filter(is_there).collect();
        shared.news.notify_one();
        shared.hurry.notify_all();
        let pace = state.pace(limit);
        let number = state.roster.len();
        let same = |state: &mut State| !state.over && state.roster.len() == number;
        let waited = shared.hurry.wait_timeout_while(state, pace, same);
        drop(waited);
    }
}

/// What is wrong when none of the study's GPUs says who it is: such a one cannot be given to a trial.
fn nameless(machine: &Machine, wishes: &GpuSpec) -> Option<String> {
    let mut gpus = super::usable(machine, wishes);
    if gpus.any(|gpu| !gpu.uuid.is_empty()) {
        return None;
    }
    let first = super::usable(machine, wishes).next()?;
    let why = first.lost.as_deref().unwrap_or("it has no UUID");
    Some(format!("GPU {} cannot be used: {why}", first.index))
}

fn for_the_engine(gpu: &Device, hangs: Option<&str>) -> Gpu {
    let why = hangs.map(str::to_owned).or_else(|| gpu.lost.clone());
    let known = hangs.is_none();
    let memory = gpu.memory.filter(|_| known).map(|memory| GpuMemory {
        total: memory.total,
        used: memory.used,
        reserved: memory.reserved.unwrap_or(0),
    });
    let processes = gpu.processes.as_ref().filter(|_| known).map(|processes| {
        let process = |p: &super::Process| GpuProcess {
            pid: p.pid,
            memory: p.memory,
        };
        processes.iter().map(process).collect()
    });
    Gpu {
        uuid: gpu.uuid.clone(),
        index: gpu.index,
        name: gpu.name.clone(),
        health: why.map_or(Health::Present, |why| Health::Lost { why }),
        memory,
        processes,
        utilization: gpu.utilization,
        temperature: gpu
            .temperature
            .and_then(|degrees| i32::try_from(degrees).ok()),
    }
}
