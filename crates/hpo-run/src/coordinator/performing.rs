//! Carrying out what was decided: processes are started and ended.

use std::time::{Duration, Instant};

use hpo_engine::{Command, Input};
use hpo_study::AttemptEnd;

use super::{Coordinator, TRY_AGAIN};
use crate::error::RunError;
use crate::executor::Submitted;
use crate::job::Order;
use crate::room;
use crate::session::AttemptId;

/// For how long to go on trying when the system has no room for another process.
const GIVE_UP: Duration = Duration::from_secs(300);

impl Coordinator<'_> {
    /// Performs what was decided and is not performed yet. Gives back what is known at once.
    pub(super) fn perform(&mut self) -> Result<Vec<Input>, RunError> {
        let mut answers = Vec::new();
        let mut is_launching = false;
        for command in self.engine.outstanding() {
            match command {
                Command::Launch {
                    trial,
                    attempt,
                    config,
                    seed,
                    target,
                    resume,
                    parent,
                    resume_step,
                    assignment,
                } => {
                    let id = AttemptId { trial, attempt };
                    if !self.performed.contains(&(id, false)) {
                        is_launching = true;
                        let order = Order {
                            id,
                            config: &config,
                            seed,
                            target,
                            resume,
                            parent,
                            resume_step,
                            place: self.gpus.place(assignment.as_ref()),
                        };
                        answers.extend(self.launch(&order)?);
                    }
                }
                Command::Stop {
                    trial,
                    attempt,
                    at_once,
                } => {
                    let id = AttemptId { trial, attempt };
                    if self.performed.insert((id, true)) {
                        answers.extend(self.stop(id, at_once));
                    }
                }
            }
        }
        if !is_launching {
            // Whoever waited for room is gone, and the next one has its own patience.
            self.no_room = None;
        }
        Ok(answers)
    }

    fn launch(&mut self, order: &Order<'_>) -> Result<Option<Input>, RunError> {
        let answer = self.try_to_launch(order)?;
        // Only who drains wants to know it: what waits otherwise waits on.
        let waits = answer.is_none() && !self.performed.contains(&(order.id, false));
        let AttemptId { trial, attempt } = order.id;
        Ok(answer.or_else(|| {
            (waits && self.engine.history().draining()).then_some(Input::NotNow { trial, attempt })
        }))
    }

    fn try_to_launch(&mut self, order: &Order<'_>) -> Result<Option<Input>, RunError> {
        if self
            .no_room
            .is_some_and(|(_, again)| Instant::now() < again)
        {
            return Ok(None);
        }
        if self.room.is_short() {
            return Ok(None);
        }
        let AttemptId { trial, attempt } = order.id;
        let spec = self.engine.history().spec();
        let job = self.workshop.prepare(spec, order);
        let submitted = match job.and_then(|job| self.executor.submit(&job)) {
            Err(error) if room::is_full(&error) => {
                self.room.is_full();
                return Ok(None);
            }
            submitted => submitted?,
        };
        match submitted {
            Submitted::Accepted => {
                self.no_room = None;
                self.room.is_there();
                self.performed.insert((order.id, false));
                Ok(None)
            }
            Submitted::Refused { error } => {
                self.no_room = None;
                let end = AttemptEnd::NotStarted { error };
                Ok(Some(Input::Ended {
                    trial,
                    attempt,
                    end,
                }))
            }
            Submitted::Later { error } => {
                let now = Instant::now();
                let since = self.no_room.map_or(now, |(since, _)| since);
                if since == now {
                    tracing::warn!(
                        trial = trial.0,
                        attempt = attempt.0,
                        error,
                        "no process can be started at present"
                    );
                }
                let waited = now.duration_since(since);
                if waited > GIVE_UP {
                    return Err(RunError::NoProcess {
                        seconds: waited.as_secs(),
                        error,
                    });
                }
                self.no_room = Some((since, now + TRY_AGAIN));
                Ok(None)
            }
        }
    }

    fn stop(&mut self, id: AttemptId, at_once: bool) -> Option<Input> {
        if self.executor.has(id) {
            let grace = self.engine.history().spec().stop_grace;
            let grace = if at_once { Duration::ZERO } else { grace };
            let (term, kill) = self.wishes.manner(id, grace);
            self.wishes.tell_stop(&self.workshop.study_dir, id);
            self.executor.cancel(id, term, kill);
            return None;
        }
        // It waited for room and was never started.
        let AttemptId { trial, attempt } = id;
        let error = "it was to be stopped before it could be started".to_owned();
        Some(Input::Ended {
            trial,
            attempt,
            end: AttemptEnd::NotStarted { error },
        })
    }
}
