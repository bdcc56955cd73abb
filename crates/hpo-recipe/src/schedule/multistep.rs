//! Times a factor at milestones.

use super::shared::{GAMMA, MILESTONES, passed};
use super::{Schedule, ScheduleFacts, ScheduleKind, Setting, python};
use crate::code::ScheduleCode;

pub(super) static FACTS: ScheduleFacts = ScheduleFacts {
    kind: ScheduleKind::Multistep,
    name: "multistep",
    title: "Step decay at milestones",
    paper: "He et al., Deep Residual Learning for Image Recognition, arXiv 1512.03385",
    hyperparameters: &[MILESTONES, GAMMA],
    pytorch,
    keras,
    at,
    check: None,
    observe: None,
};

/// lr · gamma^(milestones passed) (PyTorch MultiStepLR)
fn at(schedule: &Schedule, step: u64) -> Setting {
    Setting::of_rate(schedule.lr * schedule.number("gamma").powi(passed(schedule, step)))
}

fn pytorch(schedule: &Schedule) -> ScheduleCode {
    let expression = format!(
        "lr_scheduler.MultiStepLR(optimizer, milestones=milestones, gamma={})",
        schedule.literal("gamma")
    );
    python::torch(schedule, &[&schedule.python_milestones()], &expression)
}

fn keras(schedule: &Schedule) -> ScheduleCode {
    let setup = format!(
        "{}\nrates = [{} * {} ** passed for passed in range(len(milestones) + 1)]",
        schedule.python_milestones(),
        schedule.python_lr(),
        schedule.literal("gamma")
    );
    let expression =
        "keras.optimizers.schedules.PiecewiseConstantDecay([m - 1 for m in milestones], rates)";
    python::keras(schedule, &[&setup], expression)
}

#[cfg(test)]
mod tests {
    use crate::schedule::tests::{close, schedule};
    use crate::value::Value;

    #[test]
    fn decays_at_every_milestone() {
        let milestones = Value::List(vec![Value::Float(0.25), Value::Float(0.8)]);
        let multistep = schedule("multistep", &[("milestones", milestones)], 20);
        close(multistep.at(4).lr, 0.1);
        close(multistep.at(5).lr, 0.01);
        close(multistep.at(15).lr, 0.01);
        close(multistep.at(16).lr, 0.001);
    }
}
