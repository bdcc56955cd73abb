//! The machine of a simulation: its processes, its clock, and what they leave on the disk.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use hpo_study::protocol::Report;
use hpo_study::{AttemptEnd, AttemptNumber, Timestamp, TrialId};

use super::{Kill, Line, Script, SimError, Start, broken};
use crate::Input;

/// What goes on outside of the coordinator, and outlives it.
pub(super) struct World {
    pub(super) now: Timestamp,
    /// What will happen, by time and then by the order in which it was arranged.
    pub(super) queue: BTreeMap<(Timestamp, u64), Moment>,
    pub(super) arranged: u64,
    pub(super) processes: Vec<Process>,
    /// The steps of each trial's checkpoints, in the order in which they were written.
    pub(super) checkpoints: BTreeMap<TrialId, Vec<u64>>,
}

/// Something that will happen.
pub(super) enum Moment {
    /// The process with this index does what it does next: a line, or its end.
    Next(usize),
    /// The process ends because it was told to.
    Told(usize, AttemptEnd),
    User(Input),
}

pub(super) struct Process {
    /// How it ended, as its warden has written it down; `None` when nobody saw it.
    pub(super) record: Option<AttemptEnd>,
    pub(super) pid: u32,
    pub(super) trial: TrialId,
    pub(super) attempt: AttemptNumber,
    pub(super) alive: bool,
    /// What it has not said yet.
    pub(super) lines: VecDeque<Line>,
    /// What it has said: its metrics file.
    pub(super) file: Vec<Report>,
    pub(super) script: Script,
}

impl World {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            now,
            queue: BTreeMap::new(),
            arranged: 0,
            processes: Vec::new(),
            checkpoints: BTreeMap::new(),
        }
    }

    /// A trial that begins from another's checkpoints has a copy of them, unless it has its own already.
    pub(super) fn copy(&mut self, from: Option<TrialId>, to: TrialId) {
        let copy = from.and_then(|from| self.checkpoints.get(&from)).cloned();
        let own = self.checkpoints.entry(to).or_default();
        if let (true, Some(copy)) = (own.is_empty(), copy) {
            *own = copy;
        }
    }

    pub(super) fn schedule(&mut self, after: Duration, moment: Moment) {
        self.queue
            .insert((self.now.plus(after), self.arranged), moment);
        self.arranged += 1;
    }

    /// The step of the checkpoint that a new process goes on from; later ones are thrown away.
    pub(super) fn go_back(&mut self, trial: TrialId, most: Option<u64>) -> u64 {
        let Some(steps) = self.checkpoints.get_mut(&trial) else {
            return 0;
        };
        steps.retain(|step| most.is_none_or(|most| *step <= most));
        steps.last().copied().unwrap_or(0)
    }

    pub(super) fn find(&self, trial: TrialId, attempt: AttemptNumber) -> Option<&Process> {
        self.processes
            .iter()
            .find(|p| p.trial == trial && p.attempt == attempt)
    }

    pub(super) fn launch(
        &mut self,
        start: &Start,
        script: Script,
        slots: u32,
    ) -> Result<Input, SimError> {
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
    pub(super) fn stop(&mut self, trial: TrialId, attempt: AttemptNumber, grace: Duration) {
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
    pub(super) fn advance(&mut self, deadline: Option<Timestamp>) -> Result<Vec<Input>, SimError> {
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
    pub(super) fn without_coordinator(&mut self, death: Kill) {
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
    use hpo_study::Config;

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
