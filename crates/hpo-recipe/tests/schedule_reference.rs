//! Our curves against those of PyTorch and Keras, kept in `reference/schedules.json`; the script
//! beside it makes them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;

use hpo_recipe::{Config, Horizon, Schedule, ScheduleKind};
use serde::Deserialize;

#[derive(Deserialize)]
struct Reference {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    library: String,
    config: Config,
    lr: f64,
    momentum: Option<f64>,
    total_steps: u64,
    steps_per_epoch: u64,
    lrs: Vec<f64>,
    momenta: Option<Vec<f64>>,
    /// What the schedule observes at the end of every epoch; none is not a number.
    losses: Option<Vec<Option<f64>>>,
    /// The reference is lr / batch.
    #[serde(default)]
    per_batch: bool,
}

impl Case {
    fn schedule(&self) -> Schedule {
        let horizon = Horizon {
            total_steps: self.total_steps,
            steps_per_epoch: self.steps_per_epoch,
        };
        Schedule::from_config(&self.config, self.lr, self.momentum, horizon).unwrap()
    }

    /// PyTorch reckons in double precision, Keras in single: seven digits of a rate, and of lr
    /// where the rate comes out of a difference.
    fn agrees(&self, ours: f64, theirs: f64) -> bool {
        let (relative, absolute) = if self.library == "keras" {
            (1e-6, 2e-7 * self.lr)
        } else {
            (1e-9, 1e-16)
        };
        (ours - theirs).abs() <= relative * theirs.abs() + absolute
    }
}

fn reference() -> Reference {
    serde_json::from_str(include_str!("reference/schedules.json")).unwrap()
}

#[test]
fn curves_are_those_of_pytorch_and_keras() {
    for case in reference().cases {
        let mut schedule = case.schedule();
        for (step, theirs) in (0..).zip(&case.lrs) {
            let setting = schedule.at(step);
            let ours = if case.per_batch {
                setting.lr / setting.batch_multiplier
            } else {
                setting.lr
            };
            assert!(
                case.agrees(ours, *theirs),
                "{} {}: step {step}: {ours} is not {theirs}",
                case.library,
                case.config
            );
            if let Some(momenta) = &case.momenta {
                let ours = setting.momentum.unwrap();
                let theirs = momenta[step as usize];
                assert!(
                    case.agrees(ours, theirs),
                    "{}: step {step}: momentum {ours} is not {theirs}",
                    case.config
                );
            }
            if let Some(losses) = &case.losses
                && (step + 1) % case.steps_per_epoch == 0
            {
                let epoch = (step / case.steps_per_epoch) as usize;
                schedule.observe(losses[epoch].unwrap_or(f64::NAN));
            }
        }
    }
}

#[test]
fn every_schedule_has_a_reference() {
    let seen: BTreeSet<&str> = reference()
        .cases
        .iter()
        .map(|case| case.schedule().kind().name())
        .collect();
    let all: BTreeSet<&str> = ScheduleKind::ALL.iter().map(|kind| kind.name()).collect();
    assert_eq!(seen, all);
}
