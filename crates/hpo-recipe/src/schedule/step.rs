//! Times a factor at even intervals.

use super::shared::GAMMA;
use super::{Schedule, ScheduleFacts, ScheduleKind, Setting, python};
use crate::code::ScheduleCode;
use crate::hyperparameter::{Allowed, Default, Hyperparameter, Scale, Search};

pub(super) static FACTS: ScheduleFacts = ScheduleFacts {
    kind: ScheduleKind::Step,
    name: "step",
    title: "Step decay",
    paper: "Krizhevsky et al., ImageNet Classification with Deep Convolutional Neural Networks, 2012",
    hyperparameters: &[
        Hyperparameter {
            name: "step_fraction",
            meaning: "how far the decays are apart, as a share of the run",
            default: Default::Number(1.0 / 3.0),
            allowed: Allowed::POSITIVE_UNIT,
            search: Some(Search::Range {
                low: 0.1,
                high: 0.5,
                scale: Scale::Linear,
            }),
            tune_from: 25,
            source: "PyTorch StepLR step_size (30 of 90 epochs in its ImageNet example)",
        },
        GAMMA,
    ],
    pytorch,
    keras,
    at,
    check: None,
    observe: None,
};

/// lr · gamma^⌊step / step_size⌋ (PyTorch StepLR)
fn at(schedule: &Schedule, step: u64) -> Setting {
    let decays = (step / schedule.length("step_fraction")) as f64;
    Setting::of_rate(schedule.lr * schedule.number("gamma").powf(decays))
}

fn pytorch(schedule: &Schedule) -> ScheduleCode {
    let expression = format!(
        "lr_scheduler.StepLR(optimizer, step_size={}, gamma={})",
        schedule.python_length("step_fraction"),
        schedule.literal("gamma")
    );
    python::torch(schedule, &[], &expression)
}

fn keras(schedule: &Schedule) -> ScheduleCode {
    let expression = format!(
        "keras.optimizers.schedules.ExponentialDecay({}, decay_steps={}, decay_rate={}, staircase=True)",
        schedule.python_lr(),
        schedule.python_length("step_fraction"),
        schedule.literal("gamma")
    );
    python::keras(schedule, &[], &expression)
}

#[cfg(test)]
mod tests {
    use crate::schedule::tests::{close, schedule};

    #[test]
    fn decays_at_even_intervals() {
        let step = schedule(
            "step",
            &[("step_fraction", 0.3.into()), ("gamma", 0.5.into())],
            10,
        );
        close(step.at(2).lr, 0.1);
        close(step.at(3).lr, 0.05);
        close(step.at(9).lr, 0.0125);
    }
}
