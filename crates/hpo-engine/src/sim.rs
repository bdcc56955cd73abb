//! Whole studies in virtual time: a fake executor, a queue of what will happen, and a coordinator that
//! can be killed between any two events. Nothing sleeps; a night is over in milliseconds.
//!
//! The simulation watches the promises of the real thing and breaks off when one is broken: never two
//! processes of one trial, never more processes than places, no attempt started twice, no process
//! left behind, always an end.

pub mod gpu;
mod script;
pub mod workload;
mod world;

use std::collections::BTreeSet;
use std::time::Duration;

use thiserror::Error;

use hpo_study::{
    AttemptEnd, AttemptNumber, Event, EventKind, History, HistoryError, StudySpec, Timestamp,
    TrialId,
};

pub use script::{Line, Script, Start};

use crate::{Command, Engine, Input, Inventory};
use world::{Moment, World};

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
