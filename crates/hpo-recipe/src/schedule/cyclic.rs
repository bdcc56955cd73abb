//! Up and down between two rates.

use super::shared::{BASE_MOMENTUM, CYCLE_MOMENTUM, MAX_MOMENTUM, with_momentum};
use super::{Schedule, ScheduleFacts, ScheduleKind, Setting, python};
use crate::code::ScheduleCode;
use crate::hyperparameter::{Allowed, Default, Hyperparameter, Scale, Search};

pub(super) static FACTS: ScheduleFacts = ScheduleFacts {
    kind: ScheduleKind::Cyclic,
    name: "cyclic",
    title: "Cyclical learning rates",
    paper: "Smith, Cyclical Learning Rates for Training Neural Networks, arXiv 1506.01186",
    hyperparameters: &[
        Hyperparameter {
            name: "mode",
            meaning: "whether swings stay (triangular), halve with every cycle (triangular2) or shrink steadily (exp_range)",
            default: Default::Text("triangular"),
            allowed: Allowed::OneOf(&["triangular", "triangular2", "exp_range"]),
            search: Some(Search::Choices(&[
                Default::Text("triangular"),
                Default::Text("triangular2"),
                Default::Text("exp_range"),
            ])),
            tune_from: 25,
            source: "PyTorch CyclicLR mode",
        },
        Hyperparameter {
            name: "cycle_fraction",
            meaning: "one cycle up and down, as a share of the run",
            default: Default::Number(0.25),
            allowed: Allowed::POSITIVE_UNIT,
            search: Some(Search::Range {
                low: 0.1,
                high: 0.5,
                scale: Scale::Log,
            }),
            tune_from: 25,
            source: "PyTorch CyclicLR step_size_up + step_size_down; at least 3 cycles: arXiv 1506.01186",
        },
        Hyperparameter {
            name: "up_fraction",
            meaning: "the way up, as a share of a cycle",
            default: Default::Number(0.5),
            allowed: Allowed::INSIDE_UNIT,
            search: None,
            tune_from: 50,
            source: "PyTorch CyclicLR step_size_up, equal to step_size_down by default",
        },
        Hyperparameter {
            name: "base_lr_ratio",
            meaning: "the lowest rate, as a ratio of lr, the highest",
            default: Default::Number(0.25),
            allowed: Allowed::UNIT,
            search: Some(Search::Range {
                low: 0.01,
                high: 0.5,
                scale: Scale::Log,
            }),
            tune_from: 25,
            source: "PyTorch CyclicLR base_lr; a third or a quarter: arXiv 1506.01186",
        },
        Hyperparameter {
            name: "amplitude_ratio",
            meaning: "exp_range: the swing at the end of the run, as a ratio of the first",
            default: Default::Number(0.1),
            allowed: Allowed::POSITIVE_UNIT,
            search: None,
            tune_from: 50,
            source: "PyTorch CyclicLR gamma, to the power of total_steps",
        },
        CYCLE_MOMENTUM,
        Hyperparameter {
            default: Default::Number(0.8),
            source: "PyTorch CyclicLR",
            ..BASE_MOMENTUM
        },
        Hyperparameter {
            default: Default::Number(0.9),
            source: "PyTorch CyclicLR",
            ..MAX_MOMENTUM
        },
    ],
    pytorch,
    keras,
    at,
    check: None,
    observe: None,
};

/// base + (lr − base) · height · amplitude; the momentum goes the other way with the same height
/// and amplitude (PyTorch CyclicLR)
fn at(schedule: &Schedule, step: u64) -> Setting {
    let (up, cycle) = lengths(schedule);
    let position = step % cycle;
    let height = if position <= up {
        position as f64 / up as f64
    } else {
        (cycle - position) as f64 / (cycle - up) as f64
    };
    let amplitude = match schedule.text("mode") {
        "triangular2" => 0.5_f64.powf((step / cycle) as f64),
        "exp_range" => schedule
            .number("amplitude_ratio")
            .powf(step as f64 / schedule.main_steps() as f64),
        _ => 1.0,
    };
    let swing = height * amplitude;
    let base = schedule.lr * schedule.number("base_lr_ratio");
    let (low, high) = (
        schedule.number("base_momentum"),
        schedule.number("max_momentum"),
    );
    with_momentum(
        schedule,
        base + (schedule.lr - base) * swing,
        high - (high - low) * swing,
    )
}

/// Steps of the way up and of a whole cycle.
fn lengths(schedule: &Schedule) -> (u64, u64) {
    let cycle = schedule.length("cycle_fraction").max(2);
    let up = (schedule.number("up_fraction") * cycle as f64).round_ties_even() as u64;
    (up.clamp(1, cycle - 1), cycle)
}

fn python_lengths(schedule: &Schedule) -> String {
    let fraction = schedule.literal("cycle_fraction");
    let steps = schedule.horizon_name();
    format!(
        "cycle = max(2, round({fraction} * {steps}))\n\
         up = min(cycle - 1, max(1, round({} * cycle)))",
        schedule.literal("up_fraction")
    )
}

/// PyTorch's `gamma`: the amplitude's factor at every step.
fn python_gamma(schedule: &Schedule) -> String {
    format!(
        "{} ** (1 / {})",
        schedule.literal("amplitude_ratio"),
        schedule.horizon_name()
    )
}

fn pytorch(schedule: &Schedule) -> ScheduleCode {
    let mode = schedule.text("mode");
    let mut arguments = vec![
        "optimizer".to_owned(),
        format!("base_lr={}", schedule.python_rate("base_lr_ratio")),
        format!("max_lr={}", schedule.python_lr()),
        "step_size_up=up".to_owned(),
        "step_size_down=cycle - up".to_owned(),
        format!("mode=\"{mode}\""),
    ];
    if mode == "exp_range" {
        arguments.push(format!("gamma={}", python_gamma(schedule)));
    }
    arguments.extend(python::torch_momentum(schedule));
    let expression = format!("lr_scheduler.CyclicLR({})", arguments.join(", "));
    python::torch(schedule, &[&python_lengths(schedule)], &expression)
}

const KERAS: &str = r#"
class Cyclic(keras.optimizers.schedules.LearningRateSchedule):
    """Swings from `base` to `peak` in `up` steps and back until `cycle` steps are over."""

    def __init__(self, base, peak, up, cycle, run, shrink_by_cycle=1.0, shrink_by_run=1.0):
        self.base, self.peak, self.up, self.cycle, self.run = base, peak, up, cycle, run
        self.shrink_by_cycle, self.shrink_by_run = shrink_by_cycle, shrink_by_run

    def __call__(self, step):
        step = keras.ops.cast(step, "float32")
        cycles = keras.ops.floor(step / self.cycle)
        position = step - cycles * self.cycle
        down = (self.cycle - position) / (self.cycle - self.up)
        height = keras.ops.where(position <= self.up, position / self.up, down)
        amplitude = self.shrink_by_cycle**cycles * self.shrink_by_run ** (step / self.run)
        return self.base + (self.peak - self.base) * height * amplitude

    def get_config(self):
        return vars(self)
"#;

fn keras(schedule: &Schedule) -> ScheduleCode {
    let shrink = match schedule.text("mode") {
        "triangular2" => ", shrink_by_cycle=0.5".to_owned(),
        "exp_range" => format!(", shrink_by_run={}", schedule.literal("amplitude_ratio")),
        _ => String::new(),
    };
    let run = schedule.horizon_name();
    let swing =
        |base: &str, peak: &str| format!("Cyclic({base}, {peak}, up, cycle, {run}{shrink})");
    let rate = swing(
        &schedule.python_rate("base_lr_ratio"),
        &schedule.python_lr(),
    );
    let momentum = swing(
        &schedule.literal("max_momentum"),
        &schedule.literal("base_momentum"),
    );
    let lengths = python_lengths(schedule);
    python::keras_with_momentum(schedule, &[KERAS, &lengths], &rate, &momentum)
}

#[cfg(test)]
mod tests {
    use crate::schedule::tests::{close, schedule};

    #[test]
    fn swings_and_momentum_swings_against_it() {
        let cyclic = schedule("cyclic", &[("base_lr_ratio", 0.5.into())], 40);
        close(cyclic.at(0).lr, 0.05);
        close(cyclic.at(5).lr, 0.1);
        close(cyclic.at(10).lr, 0.05);
        close(cyclic.at(5).momentum.unwrap(), 0.8);
        close(cyclic.at(10).momentum.unwrap(), 0.9);
    }

    #[test]
    fn swings_shrink() {
        let halving = schedule(
            "cyclic",
            &[("mode", "triangular2".into()), ("base_lr_ratio", 0.into())],
            40,
        );
        close(halving.at(25).lr, 0.025);
        let steady = schedule(
            "cyclic",
            &[("mode", "exp_range".into()), ("base_lr_ratio", 0.into())],
            40,
        );
        close(steady.at(35).lr, 0.1 * 0.1_f64.powf(35.0 / 40.0));
    }

    #[test]
    fn leaves_the_momentum_alone_when_told_to() {
        let still = schedule("cyclic", &[("cycle_momentum", false.into())], 40);
        assert_eq!(still.at(3).momentum, None);
    }
}
