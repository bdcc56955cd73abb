//! Studies on simulated GPUs in virtual time: processes whose memory follows traces, foreign processes, and
//! readings that are late, wrong or missing. The engine is the real one; what it sees is what a driver would
//! tell it, and what is measured here is what truly happened.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use hpo_study::protocol::Report;
use hpo_study::{
    AttemptEnd, AttemptNumber, Config, Event, EventKind, History, MemoryKind, Oom, StudySpec,
    Timestamp, TrialId,
};

use super::{BEGIN, SimError, broken, opened};
use crate::gpu::{Gpu, GpuMemory, Health, TrialUsage};
use crate::{Command, Engine, Input, Inventory};

/// An amount of memory over time, in bytes: straight lines between points, the last one held.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Trace(pub Vec<(Duration, u64)>);

impl Trace {
    /// The amount at a time.
    #[must_use]
    pub fn at(&self, time: Duration) -> u64 {
        let mut before = (Duration::ZERO, 0);
        for &(when, amount) in &self.0 {
            if when > time {
                let share = (time - before.0).as_secs_f64() / (when - before.0).as_secs_f64();
                let from = before.1 as f64;
                return (from + share * (amount as f64 - from)) as u64;
            }
            before = (when, amount);
        }
        before.1
    }

    /// The most there ever is.
    #[must_use]
    pub fn peak(&self) -> u64 {
        self.0.iter().map(|(_, amount)| *amount).max().unwrap_or(0)
    }

    /// The most between two times.
    fn most(&self, from: Duration, to: Duration) -> u64 {
        let within = self.0.iter().filter(|(at, _)| (from..=to).contains(at));
        let within = within.map(|(_, amount)| *amount).max().unwrap_or(0);
        within.max(self.at(from)).max(self.at(to))
    }

    /// Whether it changes after this time, and when: at once (a line that is not level), or at a later point.
    fn next_change(&self, time: Duration) -> Option<Duration> {
        let mut before = (Duration::ZERO, 0);
        for &(when, amount) in &self.0 {
            if when > time && amount != before.1 {
                return Some(before.0.max(time));
            }
            before = (when, amount);
        }
        None
    }
}

/// What a trial's process does from its start to its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    /// The memory it uses.
    pub trace: Trace,
    /// How long one step takes; a report comes with each.
    pub step: Duration,
    /// How many steps it takes in all. An attempt after another goes on where that one was.
    pub steps: u64,
}

/// What the driver tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Readings {
    /// All there is.
    #[default]
    Whole,
    /// Not which process uses how much.
    NoProcesses,
    /// Nothing of memory at all.
    Nothing,
}

/// A simulated machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    /// The memory of each GPU.
    pub cards: Vec<GpuMemory>,
    /// Places for processes.
    pub slots: u32,
    /// What processes of other people use of each GPU, by the time since the study began.
    pub foreign: Vec<Trace>,
    /// What the driver tells.
    pub readings: Readings,
    /// How often the driver is asked.
    pub period: Duration,
    /// Every so many readings the last one comes again; 0: never.
    pub stale_every: u32,
    /// From when to when the first GPU cannot be used.
    pub lost: Option<(Duration, Duration)>,
}

/// One time during which more was used of a GPU than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overshoot {
    /// Which GPU.
    pub gpu: usize,
    /// When it began, since the study's beginning.
    pub from: Duration,
    /// For how long.
    pub long: Duration,
    /// By how much, at most, in bytes.
    pub most: u64,
}

/// A finished simulation.
#[derive(Debug, Clone, PartialEq)]
pub struct GpuOutcome {
    /// Every event, in order.
    pub log: Vec<Event>,
    /// What they add up to.
    pub history: History,
    /// How long the study took.
    pub makespan: Duration,
    /// When more was used than the limit.
    pub overshoots: Vec<Overshoot>,
    /// Moments at which more was set aside on a GPU than the limit: must be none.
    pub violations: usize,
    /// How many attempts ran out of memory.
    pub ooms: usize,
    /// How many attempts were stopped to make room.
    pub stops: usize,
    /// The most others that were started while one trial waited.
    pub overtaken: u32,
}

/// Runs a study on a simulated machine to its end.
///
/// # Errors
/// When the engine breaks a promise, or the study does not come to its end.
pub fn run(
    spec: StudySpec,
    machine: &Machine,
    load: &dyn Fn(TrialId, &Config) -> Load,
) -> Result<GpuOutcome, SimError> {
    let opened = opened(spec);
    let engine = Engine::new(std::slice::from_ref(&opened))?;
    let limit = engine
        .history()
        .spec()
        .gpu
        .as_ref()
        .and_then(|gpu| gpu.memory_limit);
    let world = World {
        machine,
        load,
        limit,
        now: Duration::ZERO,
        engine,
        processes: Vec::new(),
        progress: BTreeMap::new(),
        performed: BTreeSet::new(),
        log: vec![opened],
        read: None,
        readings: 0,
        over: vec![None; machine.cards.len()],
        overshoots: Vec::new(),
        violations: 0,
        ooms: 0,
        stops: 0,
        waiting: BTreeMap::new(),
        overtaken: 0,
    };
    world.run()
}

/// How finely what truly happens is looked at while anything changes.
const FINE: Duration = Duration::from_millis(50);
/// How often the driver is asked while nothing changes: as good as always, and faster to simulate.
const IDLE: Duration = Duration::from_secs(5);
/// How often the oracle looks whether others have left.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

struct Process {
    trial: TrialId,
    attempt: AttemptNumber,
    gpu: usize,
    started: Duration,
    load: Load,
    /// The steps that it will report, with their times.
    steps: VecDeque<(Duration, u64)>,
    peak: u64,
}

impl Process {
    fn used(&self, now: Duration) -> u64 {
        self.load.trace.at(now - self.started)
    }
}

struct World<'w> {
    machine: &'w Machine,
    load: &'w dyn Fn(TrialId, &Config) -> Load,
    limit: Option<u64>,
    now: Duration,
    engine: Engine,
    processes: Vec<Process>,
    progress: BTreeMap<TrialId, u64>,
    performed: BTreeSet<(TrialId, AttemptNumber, bool)>,
    log: Vec<Event>,
    read: Option<(Vec<Gpu>, Vec<TrialUsage>)>,
    readings: u32,
    over: Vec<Option<(Duration, u64)>>,
    overshoots: Vec<Overshoot>,
    violations: usize,
    ooms: usize,
    stops: usize,
    waiting: BTreeMap<TrialId, u32>,
    overtaken: u32,
}

impl World<'_> {
    fn run(mut self) -> Result<GpuOutcome, SimError> {
        const MOST_STEPS: usize = 20_000_000;
        let events = self.engine.begin_session(BEGIN, 1, "sim")?;
        self.take_in(events);
        let mut inputs = vec![Input::Tick];
        for _ in 0..MOST_STEPS {
            let inventory = self.inventory();
            let events = self.engine.step(self.clock(), &inventory, inputs)?;
            self.take_in(events);
            if self.engine.is_done() {
                return Ok(self.outcome());
            }
            inputs = self.perform()?;
            if inputs.is_empty() {
                inputs = self.advance();
            }
            if self.now > Duration::from_secs(40 * 86_400) {
                let waits = self
                    .engine
                    .history()
                    .trials()
                    .iter()
                    .find(|t| t.waiting.is_some());
                return Err(broken(format!(
                    "the study takes more than forty days; {:?}",
                    waits.map(|t| (t.id, t.waiting.clone()))
                )));
            }
        }
        Err(broken("the study does not end"))
    }

    fn clock(&self) -> Timestamp {
        BEGIN.plus(self.now)
    }

    fn outcome(mut self) -> GpuOutcome {
        self.look();
        for gpu in 0..self.over.len() {
            self.close(gpu);
        }
        GpuOutcome {
            history: self.engine.history().clone(),
            log: self.log,
            makespan: self.now,
            overshoots: self.overshoots,
            violations: self.violations,
            ooms: self.ooms,
            stops: self.stops,
            overtaken: self.overtaken,
        }
    }

    fn take_in(&mut self, events: Vec<Event>) {
        for event in events {
            match &event.kind {
                EventKind::TrialWaiting { trial, .. } => {
                    self.waiting.entry(*trial).or_insert(0);
                }
                EventKind::AttemptLaunching { trial, .. } => {
                    self.waiting.remove(trial);
                    for count in self.waiting.values_mut() {
                        *count += 1;
                        self.overtaken = self.overtaken.max(*count);
                    }
                }
                EventKind::TrialFailed { trial, .. } | EventKind::TrialStopped { trial, .. } => {
                    self.waiting.remove(trial);
                }
                _ => {}
            }
            self.log.push(event);
        }
        let mut sums = vec![0_u64; self.machine.cards.len()];
        for trial in self
            .engine
            .history()
            .trials()
            .iter()
            .filter(|t| t.state.is_active())
        {
            let Some(attempt) = trial.attempt().filter(|a| a.end.is_none()) else {
                continue;
            };
            let share = attempt.assignment.as_ref().and_then(|a| a.gpu.as_ref());
            if let Some(share) = share
                && let Some(sum) = sums.get_mut(number(&share.uuid))
            {
                let now = attempt.memory.and_then(|m| m.gpu_reserved);
                *sum += now.unwrap_or(share.memory);
            }
        }
        let limit = self.limit.unwrap_or(u64::MAX);
        for (sum, card) in sums.iter().zip(&self.machine.cards) {
            let most = limit.min(card.total.saturating_sub(card.reserved));
            self.violations += usize::from(*sum > most);
        }
    }

    fn foreign(&self, gpu: usize) -> u64 {
        self.machine
            .foreign
            .get(gpu)
            .map_or(0, |trace| trace.at(self.now))
    }

    fn ours(&self, gpu: usize) -> u64 {
        let on = self.processes.iter().filter(|p| p.gpu == gpu);
        on.map(|p| p.used(self.now)).sum()
    }

    /// What the driver says.
    fn inventory(&mut self) -> Inventory {
        self.readings = self.readings.wrapping_add(1);
        let stale = self.machine.stale_every;
        if stale == 0 || !self.readings.is_multiple_of(stale) || self.read.is_none() {
            self.read = Some((self.gpus(), self.usage()));
        }
        let (gpus, usage) = self.read.clone().unwrap_or_default();
        Inventory {
            cpu_slots: self.machine.slots,
            gpus,
            usage,
            host: None,
            read_at: None,
            is_stale: false,
            cpu_only: false,
        }
    }

    fn gpus(&self) -> Vec<Gpu> {
        let lost = self
            .machine
            .lost
            .is_some_and(|(from, to)| (from..to).contains(&self.now));
        let cards = self.machine.cards.iter().enumerate();
        cards
            .map(|(i, card)| Gpu {
                uuid: uuid(i),
                index: u32::try_from(i).unwrap_or(u32::MAX),
                name: "simulated".to_owned(),
                health: if lost && i == 0 {
                    Health::Lost {
                        why: "GPU is lost".to_owned(),
                    }
                } else {
                    Health::Present
                },
                memory: (self.machine.readings != Readings::Nothing).then(|| GpuMemory {
                    used: (self.ours(i) + self.foreign(i)).min(card.total - card.reserved),
                    ..*card
                }),
                processes: None,
                utilization: None,
                temperature: None,
            })
            .collect()
    }

    fn usage(&self) -> Vec<TrialUsage> {
        let whole = self.machine.readings == Readings::Whole;
        self.processes
            .iter()
            .map(|p| TrialUsage {
                trial: p.trial,
                attempt: p.attempt,
                gpu: Some(uuid(p.gpu)),
                gpu_memory: whole.then(|| p.used(self.now)),
                gpu_peak: whole.then_some(p.peak),
                host_memory: None,
                host_peak: None,
            })
            .collect()
    }

    fn perform(&mut self) -> Result<Vec<Input>, SimError> {
        let mut inputs = Vec::new();
        for command in self.engine.outstanding() {
            match command {
                Command::Launch {
                    trial,
                    attempt,
                    config,
                    assignment,
                    ..
                } if self.performed.insert((trial, attempt, true)) => {
                    let share = assignment.and_then(|a| a.gpu);
                    let Some(share) = share else {
                        return Err(broken(format!("trial {trial} was started on no GPU")));
                    };
                    inputs.push(self.start(trial, attempt, &config, number(&share.uuid)));
                }
                Command::Stop {
                    trial,
                    attempt,
                    at_once,
                } if self.performed.insert((trial, attempt, false)) => {
                    self.stops += usize::from(at_once);
                    if self.end(trial, attempt) {
                        let end = AttemptEnd::Signaled {
                            signal: 9,
                            stderr: String::new(),
                        };
                        inputs.push(Input::Ended {
                            trial,
                            attempt,
                            end,
                        });
                    }
                }
                _ => {}
            }
        }
        if !inputs.is_empty() {
            self.look();
        }
        Ok(inputs)
    }

    fn start(
        &mut self,
        trial: TrialId,
        attempt: AttemptNumber,
        config: &Config,
        gpu: usize,
    ) -> Input {
        let load = (self.load)(trial, config);
        let done = self.progress.get(&trial).copied().unwrap_or(0);
        // A process comes up before it trains.
        let first = load
            .trace
            .0
            .get(1)
            .map_or(Duration::ZERO, |(when, _)| *when);
        let steps = (done + 1..=load.steps).zip(1_u32..);
        let steps = steps.map(|(step, i)| (self.now + first + load.step * i, step));
        self.processes.push(Process {
            trial,
            attempt,
            gpu,
            started: self.now,
            steps: steps.collect(),
            load,
            peak: 0,
        });
        Input::Started {
            trial,
            attempt,
            pid: 1000 + trial.0,
        }
    }

    fn end(&mut self, trial: TrialId, attempt: AttemptNumber) -> bool {
        let before = self.processes.len();
        self.processes
            .retain(|p| (p.trial, p.attempt) != (trial, attempt));
        self.processes.len() < before
    }

    /// Goes on to the next moment at which anything is to be seen, and gives what was.
    fn advance(&mut self) -> Vec<Input> {
        let until_poll = self.until_poll();
        let poll = self.now + until_poll;
        let step = |p: &Process| p.steps.front().map_or(self.now, |(at, _)| *at);
        let next = self.processes.iter().map(step).min();
        let to = next.map_or(poll, |next| next.min(poll)).max(self.now);
        // What truly happens is looked at more finely than the driver is asked.
        let mut inputs = vec![Input::Tick];
        while self.now < to {
            self.now = if until_poll < IDLE {
                (self.now + FINE).min(to)
            } else {
                to
            };
            self.look();
            inputs.extend(self.overflow());
        }
        inputs.extend(self.speak());
        inputs
    }

    /// How long until the driver is asked again: a period while anything changes.
    fn until_poll(&self) -> Duration {
        let ours = self.processes.iter().filter_map(|p| {
            let change = p.load.trace.next_change(self.now - p.started)?;
            Some(p.started + change)
        });
        let foreign = self
            .machine
            .foreign
            .iter()
            .filter_map(|f| f.next_change(self.now));
        let next = ours.chain(foreign).min();
        let until = next.map_or(IDLE, |next| next.saturating_sub(self.now));
        until.clamp(self.machine.period, IDLE)
    }

    /// Reports and ends that are due.
    fn speak(&mut self) -> Vec<Input> {
        let mut inputs = Vec::new();
        let mut over = Vec::new();
        for process in &mut self.processes {
            let (trial, attempt) = (process.trial, process.attempt);
            while process.steps.front().is_some_and(|(at, _)| *at <= self.now) {
                let Some((_, step)) = process.steps.pop_front() else {
                    break;
                };
                self.progress.insert(trial, step);
                inputs.push(Input::Reported {
                    trial,
                    attempt,
                    report: Report {
                        step: Some(step),
                        metrics: BTreeMap::from([("loss".to_owned(), 1.0 / step as f64)]),
                    },
                });
            }
            if process.steps.is_empty() {
                over.push((trial, attempt));
            }
        }
        for (trial, attempt) in over {
            self.end(trial, attempt);
            inputs.push(Input::Ended {
                trial,
                attempt,
                end: AttemptEnd::Exited {
                    code: 0,
                    stderr: String::new(),
                },
            });
        }
        inputs
    }

    /// Processes that asked for more than the card has.
    fn overflow(&mut self) -> Vec<Input> {
        let mut inputs = Vec::new();
        for (gpu, card) in self.machine.cards.iter().enumerate() {
            let there = card.total - card.reserved;
            let foreign = self.foreign(gpu).min(there);
            while self.ours(gpu) + foreign > there {
                // Whoever grows last does not get it: the youngest of those that still grow, else the youngest.
                let grows = |p: &Process| {
                    let before = self.now.saturating_sub(FINE).max(p.started);
                    p.used(self.now) > p.load.trace.at(before - p.started)
                };
                let on = self.processes.iter().filter(|p| p.gpu == gpu);
                let Some(process) = on.max_by_key(|p| (grows(p), p.started)) else {
                    break;
                };
                let (trial, attempt) = (process.trial, process.attempt);
                self.ooms += 1;
                self.end(trial, attempt);
                inputs.push(Input::Ended {
                    trial,
                    attempt,
                    end: AttemptEnd::OutOfMemory {
                        code: Some(1),
                        signal: None,
                        oom: Oom {
                            of: MemoryKind::Gpu,
                            message: "CUDA out of memory. Tried to allocate 512.00 MiB".to_owned(),
                            requested: Some(512 << 20),
                        },
                        stderr: String::new(),
                    },
                });
            }
        }
        inputs
    }

    /// Looks at what is truly used.
    fn look(&mut self) {
        let now = self.now;
        for process in &mut self.processes {
            process.peak = process.peak.max(process.used(now));
        }
        for gpu in 0..self.machine.cards.len() {
            let used = self.ours(gpu) + self.foreign(gpu);
            let limit = self.limit.unwrap_or(u64::MAX);
            if used > limit && self.ours(gpu) > 0 {
                if let Some(over) = self.over.get_mut(gpu) {
                    let (from, most) = over.unwrap_or((now, 0));
                    *over = Some((from, most.max(used - limit)));
                }
            } else {
                self.close(gpu);
            }
        }
    }

    fn close(&mut self, gpu: usize) {
        if let Some((from, most)) = self.over.get_mut(gpu).and_then(Option::take) {
            self.overshoots.push(Overshoot {
                gpu,
                from,
                long: self.now - from,
                most,
            });
        }
    }
}

fn uuid(gpu: usize) -> String {
    format!("GPU-{gpu:04}")
}

fn number(uuid: &str) -> usize {
    uuid.trim_start_matches("GPU-")
        .parse()
        .unwrap_or(usize::MAX)
}

/// How long somebody takes who knows every peak: the same rules (places, limit, headroom, fewest trials first,
/// then the tightest fit, and the same number of trials to choose from), but nothing is ever waited for or
/// reserved beyond need, and what others will use while a trial runs is known. `trials` are peaks and durations in the order of their numbers; gives the time at
/// which each one ends.
#[must_use]
pub fn oracle(
    trials: &[(u64, Duration)],
    room: &[u64],
    foreign: &[Trace],
    slots: u32,
    max_per_gpu: Option<u32>,
    choice: usize,
) -> Vec<Duration> {
    let mut ends = vec![Duration::ZERO; trials.len()];
    let mut running: Vec<(Duration, usize, u64)> = Vec::new();
    let mut waiting: Vec<usize> = Vec::new();
    let mut next = 0;
    let mut now = Duration::ZERO;
    loop {
        let mut started = true;
        while started {
            started = false;
            while waiting.len() < choice && next < trials.len() {
                waiting.push(next);
                next += 1;
            }
            for (place, &trial) in waiting.iter().enumerate() {
                let Some(&(peak, long)) = trials.get(trial) else {
                    continue;
                };
                let fit = room.iter().enumerate().filter_map(|(gpu, room)| {
                    let on = running.iter().filter(|r| r.1 == gpu);
                    let count = on.clone().count();
                    let used: u64 = on.map(|r| r.2).sum();
                    let others = foreign.get(gpu).map_or(0, |f| f.most(now, now + long));
                    let left = room.checked_sub(used + peak + others)?;
                    let full = max_per_gpu.is_some_and(|most| count >= most as usize);
                    (!full && running.len() < slots as usize).then_some((count, left, gpu))
                });
                if let Some((_, _, gpu)) = fit.min() {
                    running.push((now + long, gpu, peak));
                    if let Some(end) = ends.get_mut(trial) {
                        *end = now + long;
                    }
                    waiting.remove(place);
                    started = true;
                    break;
                }
            }
        }
        let earliest = running.iter().map(|r| r.0).min();
        // Somebody else may leave before.
        let others = Some(now + LOOK_AGAIN).filter(|_| !waiting.is_empty());
        let Some(next) = earliest.into_iter().chain(others).min() else {
            return ends;
        };
        now = next;
        running.retain(|r| r.0 > now);
    }
}
