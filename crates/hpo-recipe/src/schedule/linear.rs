//! Down to the end of the run on a line.

use super::{Schedule, ScheduleFacts, ScheduleKind, Setting, python};
use crate::code::ScheduleCode;
use crate::hyperparameter::{Allowed, Default, Hyperparameter, Scale, Search};

pub(super) static FACTS: ScheduleFacts = ScheduleFacts {
    kind: ScheduleKind::Linear,
    name: "linear",
    title: "Linear decay",
    paper: "Defazio et al., Optimal Linear Decay Learning Rate Schedules, arXiv 2310.07831",
    hyperparameters: &[Hyperparameter {
        name: "end_factor",
        meaning: "the rate at the end of the run, as a ratio of lr",
        default: Default::Number(0.0),
        allowed: Allowed::UNIT,
        search: Some(Search::Range {
            low: 0.0,
            high: 0.1,
            scale: Scale::Linear,
        }),
        tune_from: 50,
        source: "PyTorch LinearLR end_factor (start_factor=1); default: arXiv 2310.07831",
    }],
    pytorch,
    keras,
    at,
    check: None,
    observe: None,
};

/// lr · (1 − (1 − end_factor) · step/total), at its end after the horizon (PyTorch LinearLR with
/// start_factor 1)
fn at(schedule: &Schedule, step: u64) -> Setting {
    let end = schedule.number("end_factor");
    let left = 1.0 - schedule.progress(step);
    Setting::of_rate(schedule.lr * (end + (1.0 - end) * left))
}

fn pytorch(schedule: &Schedule) -> ScheduleCode {
    let expression = format!(
        "lr_scheduler.LinearLR(optimizer, start_factor=1.0, end_factor={}, total_iters={})",
        schedule.literal("end_factor"),
        schedule.horizon_name()
    );
    python::torch(schedule, &[], &expression)
}

fn keras(schedule: &Schedule) -> ScheduleCode {
    let expression = format!(
        "keras.optimizers.schedules.PolynomialDecay({}, decay_steps={}, end_learning_rate={})",
        schedule.python_lr(),
        schedule.horizon_name(),
        schedule.python_rate("end_factor")
    );
    python::keras(schedule, &[], &expression)
}

#[cfg(test)]
mod tests {
    use crate::schedule::tests::{close, schedule};

    #[test]
    fn is_a_line_to_the_end_of_the_run() {
        let linear = schedule("linear", &[("end_factor", 0.2.into())], 10);
        close(linear.at(0).lr, 0.1);
        close(linear.at(5).lr, 0.06);
        close(linear.at(10).lr, 0.02);
        close(linear.at(20).lr, 0.02);
    }
}
