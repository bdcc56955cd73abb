//! Whole studies in virtual time: a fake executor, a queue of what will happen, and a coordinator that
//! can be killed between any two events. Nothing sleeps; a night is over in milliseconds.
//!
//! The simulation watches the promises of the real thing and breaks off when one is broken: never two
//! processes of one trial, never more processes than places, no attempt started twice, no process
//! left behind, always an end.

pub mod gpu;
pub mod workload;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use thiserror::Error;

use hpo_study::protocol::Report;
use hpo_study::{
    AttemptEnd, AttemptNumber, Config, Event, EventKind, History, HistoryError, StudySpec,
    Timestamp, TrialId,
};

use crate::{Command, Engine, Input, Inventory};

/// What a simulated process is started with.
#[derive(Debug, Clone, PartialEq)]
pub struct Start {
    /// The trial.
    pub trial: TrialId,
    /// The attempt.
    pub attempt: AttemptNumber,
    /// The configuration.
    pub config: Config,
    /// The trial's seed.
    pub seed: u32,
    /// The step after which it is to stop; `None`: at its end.
    pub target: Option<u64>,
    /// The step of the trial's last checkpoint; 0 when there is none.
    pub checkpoint: u64,
}

/// What a simulated process will do.
#[derive(Debug, Clone, PartialEq)]
pub struct Script {
    /// What it reports, in order, each `pace` after the one before.
    pub lines: Vec<Line>,
    /// How long one line takes.
    pub pace: Duration,
    /// How it ends, one `pace` after its last line; `None`: it hangs until it is killed.
    /// [`AttemptEnd::NotStarted`]: it never runs.
    pub end: Option<AttemptEnd>,
    /// How long it goes on after it was told to end. The study's grace bounds it.
    pub linger: Duration,
    /// How it ends when it was told to, within the grace.
    pub end_when_told: AttemptEnd,
}

/// One line of a simulated process.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// What it says.
    pub report: Report,
    /// The step of the checkpoint it has written by then, if it wrote one.
    pub checkpoint: Option<u64>,
}

impl Script {
    /// A well-behaved training: goes on from its checkpoint, one line and one checkpoint per step
    /// (a second each), stops at its target or after `full` steps, and leaves with 0.
    pub fn training(
        start: &Start,
        metric: &str,
        full: u64,
        objective: impl Fn(u64) -> f64,
    ) -> Self {
        let last = start.target.unwrap_or(full).min(full);
        let line = |step| Line {
            report: Report {
                step: Some(step),
                metrics: BTreeMap::from([(metric.to_owned(), objective(step))]),
            },
            checkpoint: Some(step),
        };
        Self {
            lines: (start.checkpoint + 1..=last).map(line).collect(),
            pace: Duration::from_secs(1),
            end: Some(AttemptEnd::Exited {
                code: 0,
                stderr: String::new(),
            }),
            linger: Duration::ZERO,
            end_when_told: AttemptEnd::Signaled {
                signal: 15,
                stderr: String::new(),
            },
        }
    }

    /// A process that cannot be started.
    #[must_use]
    pub fn not_started(error: &str) -> Self {
        Self {
            lines: Vec::new(),
            pace: Duration::ZERO,
            end: Some(AttemptEnd::NotStarted {
                error: error.to_owned(),
            }),
            linger: Duration::ZERO,
            end_when_told: AttemptEnd::Lost,
        }
    }
}

/// When the coordinator is killed, and what its children do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kill {
    /// As soon as this many events are in the log. In the middle of events that belong together the
    /// log is torn there: more than a store with transactions would ever do.
    pub after_events: usize,
    /// Whether the commands that follow from these events have been performed (and their answers are
    /// lost) or not. Plays no part in a torn log.
    pub commands_performed: bool,
    /// Whether its children live on, and are found by the next coordinator; it also learns how those
    /// ended that came to their end meanwhile.
    pub children_live: bool,
    /// How long there is no coordinator.
    pub downtime: Duration,
    /// The power fails: writes that were not forced to the disk are gone. Those are the turn that is
    /// being written, how processes ended, what they said and nobody took in, and each trial's newest
    /// checkpoint. No child lives on.
    pub power_cut: bool,
}

/// A finished simulation.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Every event, in order.
    pub log: Vec<Event>,
    /// What they add up to, as the last engine had it.
    pub history: History,
    /// How many processes were started.
    pub processes: usize,
    /// How many coordinators it took.
    pub sessions: usize,
}

/// Why a simulation broke off.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SimError {
    /// The engine made an event that does not fit.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// A promise was broken.
    #[error("{0}")]
    Broken(String),
}

type EngineMaker<'w> = dyn Fn(&[Event]) -> Result<Engine, HistoryError> + 'w;

/// A simulated machine and the user in front of it.
pub struct Sim<'w> {
    slots: u32,
    workload: Box<dyn Fn(&Start) -> Script + 'w>,
    engine: Box<EngineMaker<'w>>,
    user: Vec<(Duration, Input)>,
    kill: Option<Kill>,
}

impl<'w> Sim<'w> {
    /// A machine on which `slots` processes may run at once, and what each process does.
    pub fn new(slots: u32, workload: impl Fn(&Start) -> Script + 'w) -> Self {
        Self {
            slots,
            workload: Box::new(workload),
            engine: Box::new(Engine::new),
            user: Vec::new(),
            kill: None,
        }
    }

    /// Another engine than the study's own, for searches under test.
    #[must_use]
    pub fn with_engine(
        mut self,
        engine: impl Fn(&[Event]) -> Result<Engine, HistoryError> + 'w,
    ) -> Self {
        self.engine = Box::new(engine);
        self
    }

    /// Something the user does at a time counted from the start.
    #[must_use]
    pub fn at(mut self, when: Duration, input: Input) -> Self {
        self.user.push((when, input));
        self
    }

    /// Kills the first coordinator; another one takes over.
    #[must_use]
    pub fn killed(mut self, kill: Kill) -> Self {
        self.kill = Some(kill);
        self
    }

    /// Runs a new study until its session is over.
    ///
    /// # Errors
    /// When the engine breaks a promise.
    pub fn run(&self, spec: StudySpec) -> Result<Outcome, SimError> {
        self.resume(vec![opened(spec)])
    }

    /// Takes up a study whose processes are all gone, and runs it until its session is over.
    ///
    /// # Errors
    /// When the log does not add up, or the engine breaks a promise.
    pub fn resume(&self, mut log: Vec<Event>) -> Result<Outcome, SimError> {
        let mut world = World::new(History::replay(&log)?.last_event());
        for (when, input) in &self.user {
            world.schedule(*when, Moment::User(input.clone()));
        }
        let mut kill = self.kill;
        let mut sessions = 0;
        let history = loop {
            sessions += 1;
            let engine = (self.engine)(&log)?;
            let session = Session {
                sim: self,
                world: &mut world,
                log: &mut log,
                engine,
                performed: BTreeSet::new(),
                kill,
            };
            match (session.run(), kill.take()) {
                (Ok(history), _) => break history,
                (Err(Halt::Killed), Some(death)) => world.without_coordinator(death),
                (Err(Halt::Killed), None) => return Err(broken("killed without a killer")),
                (Err(Halt::Error(error)), _) => return Err(error),
            }
        };
        if world.processes.iter().any(|p| p.alive) {
            return Err(broken("a process was left behind"));
        }
        Ok(Outcome {
            log,
            history,
            processes: world.processes.len(),
            sessions,
        })
    }
}

/// When simulated studies begin.
const BEGIN: Timestamp = Timestamp(1_700_000_000_000);

/// The first event of a study.
fn opened(spec: StudySpec) -> Event {
    let kind = EventKind::StudyOpened {
        spec: Box::new(spec),
        hpo_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    Event { at: BEGIN, kind }
}

fn broken(what: impl Into<String>) -> SimError {
    SimError::Broken(what.into())
}

/// Why a session did not come to its end.
enum Halt {
    Killed,
    Error(SimError),
}

impl<E: Into<SimError>> From<E> for Halt {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

/// One coordinator's life: what the real shell does, with a list for a database.
struct Session<'s> {
    sim: &'s Sim<'s>,
    world: &'s mut World,
    log: &'s mut Vec<Event>,
    engine: Engine,
    performed: BTreeSet<(TrialId, AttemptNumber, bool)>,
    kill: Option<Kill>,
}

impl Session<'_> {
    fn run(mut self) -> Result<History, Halt> {
        /// Far more than any study in a test takes.
        const MOST_STEPS: usize = 2_000_000;
        let inventory = Inventory::slots(self.sim.slots);
        let events = self.engine.begin_session(self.world.now, 1, "sim")?;
        if self.append(events)? {
            return Err(Halt::Killed);
        }
        let mut inputs = self.take_over();
        for _ in 0..MOST_STEPS {
            let events = self.engine.step(self.world.now, &inventory, inputs)?;
            let dies = self.append(events)?;
            if !dies && self.engine.is_done() {
                return Ok(self.engine.history().clone());
            }
            inputs = self.perform()?;
            if dies {
                return Err(Halt::Killed);
            }
            if inputs.is_empty() {
                let deadline = self.engine.next_deadline(self.world.now);
                inputs = self.world.advance(deadline)?;
            }
        }
        Err(broken("the study does not end").into())
    }

    /// Makes events durable. `true` when the coordinator dies once it has performed their commands.
    fn append(&mut self, events: Vec<Event>) -> Result<bool, Halt> {
        let count = events.len();
        let synced = self.log.len();
        for (i, event) in events.into_iter().enumerate() {
            self.log.push(event);
            if let Some(kill) = self.kill.filter(|k| k.after_events == self.log.len()) {
                let whole = i + 1 == count;
                if kill.power_cut && !whole {
                    self.log.truncate(synced);
                }
                return if whole && kill.commands_performed {
                    Ok(true)
                } else {
                    Err(Halt::Killed)
                };
            }
        }
        Ok(false)
    }

    /// Asks the executor about the attempts that have no end: those that live are adopted, and what
    /// they wrote in the meantime is read; the others are lost, after what they wrote.
    fn take_over(&mut self) -> Vec<Input> {
        let mut inputs = Vec::new();
        for (trial, attempt, _) in self.engine.leftovers() {
            let process = self.world.find(trial, attempt);
            if let Some(process) = process {
                if process.alive {
                    inputs.push(Input::Started {
                        trial,
                        attempt,
                        pid: process.pid,
                    });
                }
                let read = self
                    .log
                    .iter()
                    .filter(|e| is_report(e, trial, attempt))
                    .count();
                let unread = process.file.iter().skip(read).cloned();
                inputs.extend(unread.map(|report| Input::Reported {
                    trial,
                    attempt,
                    report,
                }));
            }
            if process.is_none_or(|p| !p.alive) {
                let record = process.and_then(|p| p.record.clone());
                inputs.push(Input::Ended {
                    trial,
                    attempt,
                    end: record.unwrap_or(AttemptEnd::Lost),
                });
            }
        }
        inputs
    }

    fn perform(&mut self) -> Result<Vec<Input>, SimError> {
        let mut answers = Vec::new();
        for command in self.engine.outstanding() {
            match command {
                Command::Launch {
                    trial,
                    attempt,
                    config,
                    seed,
                    target,
                    parent,
                    resume_step,
                    ..
                } => {
                    if self.performed.insert((trial, attempt, true)) {
                        self.world.copy(parent, trial);
                        let checkpoint = self.world.go_back(trial, resume_step);
                        let start = Start {
                            trial,
                            attempt,
                            config,
                            seed,
                            target,
                            checkpoint,
                        };
                        let script = (self.sim.workload)(&start);
                        answers.push(self.world.launch(&start, script, self.sim.slots)?);
                    }
                }
                Command::Stop { trial, attempt, .. } => {
                    if self.performed.insert((trial, attempt, false)) {
                        let grace = self.engine.history().spec().stop_grace;
                        self.world.stop(trial, attempt, grace);
                    }
                }
            }
        }
        Ok(answers)
    }
}

fn is_report(event: &Event, of: TrialId, by: AttemptNumber) -> bool {
    matches!(&event.kind, EventKind::Reported { trial, attempt, .. } if *trial == of && *attempt == by)
}

/// What goes on outside of the coordinator, and outlives it.
struct World {
    now: Timestamp,
    /// What will happen, by time and then by the order in which it was arranged.
    queue: BTreeMap<(Timestamp, u64), Moment>,
    arranged: u64,
    processes: Vec<Process>,
    /// The steps of each trial's checkpoints, in the order in which they were written.
    checkpoints: BTreeMap<TrialId, Vec<u64>>,
}

/// Something that will happen.
enum Moment {
    /// The process with this index does what it does next: a line, or its end.
    Next(usize),
    /// The process ends because it was told to.
    Told(usize, AttemptEnd),
    User(Input),
}

struct Process {
    /// How it ended, as its warden has written it down; `None` when nobody saw it.
    record: Option<AttemptEnd>,
    pid: u32,
    trial: TrialId,
    attempt: AttemptNumber,
    alive: bool,
    /// What it has not said yet.
    lines: VecDeque<Line>,
    /// What it has said: its metrics file.
    file: Vec<Report>,
    script: Script,
}

impl World {
    fn new(now: Timestamp) -> Self {
        Self {
            now,
            queue: BTreeMap::new(),
            arranged: 0,
            processes: Vec::new(),
            checkpoints: BTreeMap::new(),
        }
    }

    /// A trial that begins from another's checkpoints has a copy of them, unless it has its own already.
    fn copy(&mut self, from: Option<TrialId>, to: TrialId) {
        let copy = from.and_then(|from| self.checkpoints.get(&from)).cloned();
        let own = self.checkpoints.entry(to).or_default();
        if let (true, Some(copy)) = (own.is_empty(), copy) {
            *own = copy;
        }
    }

    fn schedule(&mut self, after: Duration, moment: Moment) {
        self.queue
            .insert((self.now.plus(after), self.arranged), moment);
        self.arranged += 1;
    }

    /// The step of the checkpoint that a new process goes on from; later ones are thrown away.
    fn go_back(&mut self, trial: TrialId, most: Option<u64>) -> u64 {
        let Some(steps) = self.checkpoints.get_mut(&trial) else {
            return 0;
        };
        steps.retain(|step| most.is_none_or(|most| *step <= most));
        steps.last().copied().unwrap_or(0)
    }

    fn find(&self, trial: TrialId, attempt: AttemptNumber) -> Option<&Process> {
        self.processes
            .iter()
            .find(|p| p.trial == trial && p.attempt == attempt)
    }

    fn launch(&mut self, start: &Start, script: Script, slots: u32) -> Result<Input, SimError> {
        let (trial, attempt) = (start.trial, start.attempt);
        if self.find(trial, attempt).is_some() {
            return Err(broken(format!(
                "attempt {attempt} of trial {trial} was started twice"
            )));
        }
        if self.processes.iter().any(|p| p.alive && p.trial == trial) {
            return Err(broken(format!("trial {trial} has two processes")));
        }
        if self.processes.iter().filter(|p| p.alive).count() >= slots as usize {
            return Err(broken(format!("more than {slots} processes at once")));
        }
        if let Some(end @ AttemptEnd::NotStarted { .. }) = script.end {
            return Ok(Input::Ended {
                trial,
                attempt,
                end,
            });
        }
        let index = self.processes.len();
        let pid = u32::try_from(index)
            .unwrap_or(u32::MAX)
            .saturating_add(1000);
        let lines = script.lines.iter().cloned().collect();
        self.schedule(script.pace, Moment::Next(index));
        self.processes.push(Process {
            record: None,
            pid,
            trial,
            attempt,
            alive: true,
            lines,
            file: Vec::new(),
            script,
        });
        Ok(Input::Started {
            trial,
            attempt,
            pid,
        })
    }

    /// Tells a process to end: it does so when it likes, but is killed after the grace.
    fn stop(&mut self, trial: TrialId, attempt: AttemptNumber, grace: Duration) {
        let found = self
            .processes
            .iter()
            .enumerate()
            .find(|(_, p)| p.trial == trial && p.attempt == attempt);
        if let Some((index, process)) = found {
            let (after, end) = if process.script.linger <= grace {
                (process.script.linger, process.script.end_when_told.clone())
            } else {
                (
                    grace,
                    AttemptEnd::Signaled {
                        signal: 9,
                        stderr: String::new(),
                    },
                )
            };
            self.schedule(after, Moment::Told(index, end));
        }
    }

    /// Jumps to the next moment (or to the deadline, if that is earlier) and gives what happens then.
    fn advance(&mut self, deadline: Option<Timestamp>) -> Result<Vec<Input>, SimError> {
        let next = self.queue.first_key_value().map(|((at, _), _)| *at);
        let Some(at) = next.into_iter().chain(deadline).min() else {
            return Err(broken(
                "nothing will ever happen again, yet the session is not over",
            ));
        };
        self.now = self.now.max(at);
        let mut inputs = vec![Input::Tick];
        while let Some((_, moment)) = self.next_until(self.now) {
            inputs.extend(self.happen(moment));
        }
        Ok(inputs)
    }

    fn next_until(&mut self, latest: Timestamp) -> Option<(Timestamp, Moment)> {
        let entry = self.queue.first_entry().filter(|e| e.key().0 <= latest)?;
        Some((entry.key().0, entry.remove()))
    }

    fn happen(&mut self, moment: Moment) -> Option<Input> {
        match moment {
            Moment::User(input) => Some(input),
            Moment::Told(index, end) => self.end(index, Some(end)),
            Moment::Next(index) => {
                let process = self.processes.get_mut(index).filter(|p| p.alive)?;
                let (trial, attempt, pace) = (process.trial, process.attempt, process.script.pace);
                let Some(line) = process.lines.pop_front() else {
                    let end = process.script.end.clone();
                    return end.and_then(|end| self.end(index, Some(end)));
                };
                process.file.push(line.report.clone());
                if let Some(step) = line.checkpoint {
                    self.checkpoints.entry(trial).or_default().push(step);
                }
                self.schedule(pace, Moment::Next(index));
                Some(Input::Reported {
                    trial,
                    attempt,
                    report: line.report,
                })
            }
        }
    }

    fn end(&mut self, index: usize, end: Option<AttemptEnd>) -> Option<Input> {
        let process = self.processes.get_mut(index).filter(|p| p.alive)?;
        process.alive = false;
        process.record.clone_from(&end);
        Some(Input::Ended {
            trial: process.trial,
            attempt: process.attempt,
            end: end?,
        })
    }

    /// The coordinator is dead: for a while nobody sees what happens.
    fn without_coordinator(&mut self, death: Kill) {
        if !death.children_live || death.power_cut {
            for process in &mut self.processes {
                process.alive = false;
            }
        }
        if death.power_cut {
            for process in &mut self.processes {
                process.record = None;
                process.file.clear();
            }
            for steps in self.checkpoints.values_mut() {
                steps.pop();
            }
        }
        let until = self.now.plus(death.downtime);
        while let Some((at, moment)) = self.next_until(until) {
            self.now = at;
            self.happen(moment);
        }
        self.now = until;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(trial: u32, attempt: u32) -> Start {
        let (trial, attempt) = (TrialId(trial), AttemptNumber(attempt));
        Start {
            trial,
            attempt,
            config: Config::new(),
            seed: 0,
            target: None,
            checkpoint: 0,
        }
    }

    #[test]
    fn the_world_notices_broken_promises() {
        let mut world = World::new(Timestamp(0));
        let mut launch = |trial, attempt, slots| {
            let start = start(trial, attempt);
            let script = Script::training(&start, "loss", 3, |_| 1.0);
            world
                .launch(&start, script, slots)
                .map_err(|e| e.to_string())
        };
        assert!(launch(0, 1, 2).is_ok());
        assert_eq!(
            launch(0, 1, 2),
            Err("attempt 1 of trial 0 was started twice".to_owned())
        );
        assert_eq!(launch(0, 2, 2), Err("trial 0 has two processes".to_owned()));
        assert!(launch(1, 1, 2).is_ok());
        assert_eq!(
            launch(2, 1, 2),
            Err("more than 2 processes at once".to_owned())
        );
    }

    #[test]
    fn a_training_goes_on_from_its_checkpoint_to_its_target() {
        let steps = |checkpoint, target| {
            let start = Start {
                checkpoint,
                target,
                ..start(0, 1)
            };
            let script = Script::training(&start, "loss", 9, |_| 1.0);
            script
                .lines
                .iter()
                .filter_map(|l| l.checkpoint)
                .collect::<Vec<_>>()
        };
        assert_eq!(steps(0, Some(3)), [1, 2, 3]);
        assert_eq!(steps(3, Some(5)), [4, 5]);
        assert_eq!(steps(7, None), [8, 9]);
        assert!(steps(9, Some(9)).is_empty());
    }

    #[test]
    fn a_process_that_lingers_past_the_grace_is_killed() {
        let ends = |linger, grace| {
            let mut world = World::new(Timestamp(0));
            let script = Script {
                linger: Duration::from_secs(linger),
                ..Script::training(&start(0, 1), "loss", 99, |_| 1.0)
            };
            assert!(world.launch(&start(0, 1), script, 1).is_ok());
            world.stop(TrialId(0), AttemptNumber(1), Duration::from_secs(grace));
            loop {
                for input in world.advance(None).expect("something happens") {
                    if let Input::Ended {
                        end: AttemptEnd::Signaled { signal, .. },
                        ..
                    } = input
                    {
                        return (world.now.0, signal);
                    }
                }
            }
        };
        assert_eq!(ends(2, 5), (2000, 15));
        assert_eq!(ends(9, 5), (5000, 9));
    }
}
