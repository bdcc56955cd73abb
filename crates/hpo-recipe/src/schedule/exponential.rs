//! Times the same factor at every step.

use super::shared::{DECAY_STEPS_FRACTION, STAIRCASE, intervals};
use super::{Schedule, ScheduleFacts, ScheduleKind, Setting, python};
use crate::code::{ScheduleCode, python_flag};
use crate::hyperparameter::{Allowed, Default, Hyperparameter, Scale, Search};

pub(super) static FACTS: ScheduleFacts = ScheduleFacts {
    kind: ScheduleKind::Exponential,
    name: "exponential",
    title: "Exponential decay",
    paper: "",
    hyperparameters: &[
        Hyperparameter {
            name: "decay_rate",
            meaning: "what is left of the rate after decay_steps_fraction of the run",
            default: Default::Number(0.01),
            allowed: Allowed::POSITIVE_UNIT,
            search: Some(Search::Range {
                low: 1e-3,
                high: 0.5,
                scale: Scale::Log,
            }),
            tune_from: 10,
            source: "Keras ExponentialDecay decay_rate",
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

/// lr · decay_rate^(step / decay_steps) (Keras ExponentialDecay)
fn at(schedule: &Schedule, step: u64) -> Setting {
    let factor = schedule
        .number("decay_rate")
        .powf(intervals(schedule, step));
    Setting::of_rate(schedule.lr * factor)
}

fn pytorch(schedule: &Schedule) -> ScheduleCode {
    let rate = schedule.literal("decay_rate");
    let steps = schedule.python_length("decay_steps_fraction");
    let expression = if schedule.flag("staircase") {
        format!("lr_scheduler.StepLR(optimizer, step_size={steps}, gamma={rate})")
    } else {
        format!("lr_scheduler.ExponentialLR(optimizer, gamma={rate} ** (1 / {steps}))")
    };
    python::torch(schedule, &[], &expression)
}

fn keras(schedule: &Schedule) -> ScheduleCode {
    let expression = format!(
        "keras.optimizers.schedules.ExponentialDecay({}, decay_steps={}, decay_rate={}, staircase={})",
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
    fn loses_the_same_share_at_every_step() {
        let smooth = schedule("exponential", &[], 100);
        close(smooth.at(50).lr, 0.01);
        close(smooth.at(100).lr, 0.001);
        let jumps = schedule(
            "exponential",
            &[
                ("staircase", true.into()),
                ("decay_steps_fraction", 0.5.into()),
                ("decay_rate", 0.1.into()),
            ],
            100,
        );
        close(jumps.at(49).lr, 0.1);
        close(jumps.at(99).lr, 0.01);
    }
}
