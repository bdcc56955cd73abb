//! Divided by 1 + a multiple of the step.

use super::shared::{DECAY_STEPS_FRACTION, STAIRCASE, intervals};
use super::{Schedule, ScheduleFacts, ScheduleKind, Setting, python};
use crate::code::{ScheduleCode, python_flag};
use crate::hyperparameter::{Allowed, Default, Hyperparameter, Scale, Search};

pub(super) static FACTS: ScheduleFacts = ScheduleFacts {
    kind: ScheduleKind::InverseTime,
    name: "inverse_time",
    title: "Inverse time decay",
    paper: "Robbins and Monro, A Stochastic Approximation Method, 1951",
    hyperparameters: &[
        Hyperparameter {
            name: "decay_rate",
            meaning: "the rate is lr / (1 + decay_rate) after decay_steps_fraction of the run",
            default: Default::Number(10.0),
            allowed: Allowed::NOT_NEGATIVE,
            search: Some(Search::Range {
                low: 1.0,
                high: 1000.0,
                scale: Scale::Log,
            }),
            tune_from: 10,
            source: "Keras InverseTimeDecay decay_rate",
        },
        DECAY_STEPS_FRACTION,
        STAIRCASE,
    ],
    pytorch,
    keras,
    at,
    check: None,
    observe: None,
};

/// lr / (1 + decay_rate · step / decay_steps) (Keras InverseTimeDecay)
fn at(schedule: &Schedule, step: u64) -> Setting {
    let growth = schedule.number("decay_rate") * intervals(schedule, step);
    Setting::of_rate(schedule.lr / (1.0 + growth))
}

fn pytorch(schedule: &Schedule) -> ScheduleCode {
    let setup = format!(
        "decay_steps = {}",
        schedule.python_length("decay_steps_fraction")
    );
    let divide = if schedule.flag("staircase") {
        "//"
    } else {
        "/"
    };
    let expression = format!(
        "lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + {} * (step {divide} decay_steps)))",
        schedule.literal("decay_rate")
    );
    python::torch(schedule, &[&setup], &expression)
}

fn keras(schedule: &Schedule) -> ScheduleCode {
    let expression = format!(
        "keras.optimizers.schedules.InverseTimeDecay({}, decay_steps={}, decay_rate={}, staircase={})",
        schedule.python_lr(),
        schedule.python_length("decay_steps_fraction"),
        schedule.literal("decay_rate"),
        python_flag(schedule.flag("staircase"))
    );
    python::keras(schedule, &[], &expression)
}

#[cfg(test)]
mod tests {
    use crate::schedule::tests::{close, schedule};

    #[test]
    fn is_the_reciprocal_of_a_line() {
        let inverse = schedule("inverse_time", &[("decay_rate", 4.0.into())], 100);
        close(inverse.at(0).lr, 0.1);
        close(inverse.at(25).lr, 0.05);
        close(inverse.at(100).lr, 0.02);
    }
}
