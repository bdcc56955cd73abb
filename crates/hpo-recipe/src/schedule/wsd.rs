//! Warm-up, stable, decay: constant, then down at the end of the run.

use super::shared::END_LR_RATIO;
use super::{Schedule, ScheduleFacts, ScheduleKind, Setting, python};
use crate::code::ScheduleCode;
use crate::hyperparameter::{Allowed, Default, Hyperparameter, Scale, Search};

pub(super) static FACTS: ScheduleFacts = ScheduleFacts {
    kind: ScheduleKind::Wsd,
    name: "wsd",
    title: "Warm-up, stable, decay",
    paper: "Hu et al., MiniCPM, arXiv 2404.06395",
    hyperparameters: &[
        Hyperparameter {
            name: "decay_fraction",
            meaning: "the decay at the end, as a share of the run; the rest before it is stable",
            default: Default::Number(0.2),
            allowed: Allowed::POSITIVE_UNIT,
            search: Some(Search::Range {
                low: 0.1,
                high: 0.5,
                scale: Scale::Linear,
            }),
            tune_from: 25,
            source: "Hägele et al., arXiv 2405.18392",
        },
        Hyperparameter {
            name: "decay_shape",
            meaning: "on a line (linear) or as 1 - sqrt(x) (1-sqrt)",
            default: Default::Text("1-sqrt"),
            allowed: Allowed::OneOf(&["linear", "1-sqrt"]),
            search: Some(Search::Choices(&[
                Default::Text("linear"),
                Default::Text("1-sqrt"),
            ])),
            tune_from: 50,
            source: "Hägele et al., arXiv 2405.18392",
        },
        END_LR_RATIO,
    ],
    pytorch,
    keras,
    at,
    check: None,
    observe: None,
};

/// lr, then end + (lr − end) · (1 − x) or · (1 − √x), where x goes from 0 to 1 in the decay
/// (arXiv 2405.18392, equation 1)
fn at(schedule: &Schedule, step: u64) -> Setting {
    let decay = schedule.length("decay_fraction");
    let stable = schedule.main_steps().saturating_sub(decay);
    let progress = (step.saturating_sub(stable) as f64 / decay as f64).min(1.0);
    let left = if linear(schedule) {
        1.0 - progress
    } else {
        1.0 - progress.sqrt()
    };
    let end = schedule.number("end_lr_ratio");
    Setting::of_rate(schedule.lr * (end + (1.0 - end) * left))
}

fn linear(schedule: &Schedule) -> bool {
    schedule.text("decay_shape") == "linear"
}

fn python_lengths(schedule: &Schedule) -> String {
    format!(
        "decay_steps = {}\nstable_steps = {} - decay_steps",
        schedule.python_length("decay_fraction"),
        schedule.horizon_name()
    )
}

fn pytorch(schedule: &Schedule) -> ScheduleCode {
    let left = if linear(schedule) {
        "1 - progress"
    } else {
        "1 - math.sqrt(progress)"
    };
    let end = schedule.literal("end_lr_ratio");
    let factor = if schedule.number("end_lr_ratio") == 0.0 {
        left.to_owned()
    } else {
        format!("{end} + (1 - {end}) * ({left})")
    };
    let function = format!(
        "def stable_decay(step):\n    \
         progress = min(1.0, max(0, step - stable_steps) / decay_steps)\n    \
         return {factor}"
    );
    let expression = "lr_scheduler.LambdaLR(optimizer, stable_decay)";
    let mut code = python::torch(
        schedule,
        &[&python_lengths(schedule), &function],
        expression,
    );
    if !linear(schedule) {
        code.code.imports.insert(0, "import math".to_owned());
    }
    code
}

const KERAS: &str = r#"
class StableDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Stays for `stable_steps`, then goes down to `end` in `decay_steps`."""

    def __init__(self, start, end, stable_steps, decay_steps):
        self.start, self.end = start, end
        self.stable_steps, self.decay_steps = stable_steps, decay_steps

    def __call__(self, step):
        step = keras.ops.cast(step, "float32")
        progress = keras.ops.clip((step - self.stable_steps) / self.decay_steps, 0.0, 1.0)
        return self.end + (self.start - self.end) * (1 - SHAPE)

    def get_config(self):
        return vars(self)
"#;

fn keras(schedule: &Schedule) -> ScheduleCode {
    let shape = if linear(schedule) {
        "progress"
    } else {
        "keras.ops.sqrt(progress)"
    };
    let class = KERAS.replace("SHAPE", shape);
    let expression = format!(
        "StableDecay({}, {}, stable_steps, decay_steps)",
        schedule.python_lr(),
        schedule.python_rate("end_lr_ratio")
    );
    python::keras(schedule, &[&class, &python_lengths(schedule)], &expression)
}

#[cfg(test)]
mod tests {
    use crate::schedule::tests::{close, schedule};

    #[test]
    fn stays_then_goes_down() {
        let wsd = schedule("wsd", &[], 100);
        close(wsd.at(80).lr, 0.1);
        close(wsd.at(85).lr, 0.05);
        close(wsd.at(100).lr, 0.0);
        let line = schedule(
            "wsd",
            &[
                ("decay_shape", "linear".into()),
                ("end_lr_ratio", 0.5.into()),
            ],
            100,
        );
        close(line.at(90).lr, 0.075);
        close(line.at(300).lr, 0.05);
    }
}
