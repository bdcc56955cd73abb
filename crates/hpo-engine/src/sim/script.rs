//! What simulated processes are told, and what they will do.

use std::collections::BTreeMap;
use std::time::Duration;

use hpo_study::protocol::Report;
use hpo_study::{AttemptEnd, AttemptNumber, Config, TrialId};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_training_goes_on_from_its_checkpoint_to_its_target() {
        let steps = |checkpoint, target| {
            let start = Start {
                trial: TrialId(0),
                attempt: AttemptNumber(1),
                config: Config::new(),
                seed: 0,
                target,
                checkpoint,
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
}
