//! Down to the end of the run along a power of what is left.

use super::shared::END_LR_RATIO;
use super::{Schedule, ScheduleFacts, ScheduleKind, Setting, python};
use crate::code::ScheduleCode;
use crate::hyperparameter::{Allowed, Default, Hyperparameter, Scale, Search};

pub(super) static FACTS: ScheduleFacts = ScheduleFacts {
    kind: ScheduleKind::Polynomial,
    name: "polynomial",
    title: "Polynomial decay",
    paper: "Chen et al., DeepLab, arXiv 1606.00915 (the \"poly\" policy)",
    hyperparameters: &[
        Hyperparameter {
            name: "power",
            meaning: "1 is a line, more falls faster at first",
            default: Default::Number(1.0),
            allowed: Allowed::POSITIVE,
            search: Some(Search::Range {
                low: 0.5,
                high: 4.0,
                scale: Scale::Log,
            }),
            tune_from: 25,
            source: "PyTorch PolynomialLR; Keras PolynomialDecay",
        },
        END_LR_RATIO,
    ],
    pytorch,
    keras,
    at,
    check: None,
    observe: None,
};

/// end + (lr − end) · (1 − step/total)^power, at `end` after the horizon (Keras PolynomialDecay;
/// PyTorch PolynomialLR where end is 0)
fn at(schedule: &Schedule, step: u64) -> Setting {
    let progress = schedule.progress(step);
    let end = schedule.number("end_lr_ratio");
    let factor = end + (1.0 - end) * (1.0 - progress).powf(schedule.number("power"));
    Setting::of_rate(schedule.lr * factor)
}

fn pytorch(schedule: &Schedule) -> ScheduleCode {
    let (steps, power) = (schedule.horizon_name(), schedule.literal("power"));
    if schedule.number("end_lr_ratio") == 0.0 {
        let expression =
            format!("lr_scheduler.PolynomialLR(optimizer, total_iters={steps}, power={power})");
        return python::torch(schedule, &[], &expression);
    }
    let end = schedule.literal("end_lr_ratio");
    let setup = format!(
        "def polynomial(step):\n    left = 1 - min(1.0, step / {steps})\n    \
         return {end} + (1 - {end}) * left ** {power}\n"
    );
    python::torch(
        schedule,
        &[&setup],
        "lr_scheduler.LambdaLR(optimizer, polynomial)",
    )
}

fn keras(schedule: &Schedule) -> ScheduleCode {
    let expression = format!(
        "keras.optimizers.schedules.PolynomialDecay({}, decay_steps={}, end_learning_rate={}, power={})",
        schedule.python_lr(),
        schedule.horizon_name(),
        schedule.python_rate("end_lr_ratio"),
        schedule.literal("power")
    );
    python::keras(schedule, &[], &expression)
}

#[cfg(test)]
mod tests {
    use crate::schedule::tests::{close, schedule};

    #[test]
    fn falls_along_a_power_and_stays_at_its_end() {
        let square = schedule(
            "polynomial",
            &[("power", 2.into()), ("end_lr_ratio", 0.1.into())],
            10,
        );
        close(square.at(0).lr, 0.1);
        close(square.at(5).lr, 0.01 + 0.09 / 4.0);
        close(square.at(10).lr, 0.01);
        close(square.at(15).lr, 0.01);
    }
}
