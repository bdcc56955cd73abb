//! Up once, then down far below the start; momentum the other way.

use super::shared::{BASE_MOMENTUM, CYCLE_MOMENTUM, MAX_MOMENTUM, half_cosine, with_momentum};
use super::{Schedule, ScheduleFacts, ScheduleKind, Setting, python};
use crate::code::{ScheduleCode, python_number, python_rounded};
use crate::error::RecipeError;
use crate::hyperparameter::{Allowed, Default, Hyperparameter, Scale, Search};

pub(super) static FACTS: ScheduleFacts = ScheduleFacts {
    kind: ScheduleKind::OneCycle,
    name: "one_cycle",
    title: "One cycle",
    paper: "Smith and Topin, Super-Convergence, arXiv 1708.07120",
    hyperparameters: &[
        Hyperparameter {
            name: "pct_start",
            meaning: "the way up, as a share of the run",
            default: Default::Number(0.3),
            allowed: Allowed::UNIT,
            search: Some(Search::Range {
                low: 0.1,
                high: 0.5,
                scale: Scale::Linear,
            }),
            tune_from: 25,
            source: "PyTorch OneCycleLR",
        },
        Hyperparameter {
            name: "anneal_strategy",
            meaning: "along half a cosine (cos) or a line (linear)",
            default: Default::Text("cos"),
            allowed: Allowed::OneOf(&["cos", "linear"]),
            search: None,
            tune_from: 50,
            source: "PyTorch OneCycleLR",
        },
        Hyperparameter {
            name: "div_factor",
            meaning: "the first rate is lr / div_factor",
            default: Default::Number(25.0),
            allowed: Allowed::at_least(1.0),
            search: Some(Search::Range {
                low: 5.0,
                high: 100.0,
                scale: Scale::Log,
            }),
            tune_from: 50,
            source: "PyTorch OneCycleLR",
        },
        Hyperparameter {
            name: "final_div_factor",
            meaning: "the last rate is the first / final_div_factor",
            default: Default::Number(1e4),
            allowed: Allowed::at_least(1.0),
            search: Some(Search::Range {
                low: 1e2,
                high: 1e5,
                scale: Scale::Log,
            }),
            tune_from: 50,
            source: "PyTorch OneCycleLR",
        },
        Hyperparameter {
            name: "three_phase",
            meaning: "back to the first rate in as many steps as it took to rise, then to the last",
            default: Default::Flag(false),
            allowed: Allowed::Flag,
            search: None,
            tune_from: 50,
            source: "PyTorch OneCycleLR; the paper's own form is true",
        },
        CYCLE_MOMENTUM,
        BASE_MOMENTUM,
        MAX_MOMENTUM,
    ],
    pytorch,
    keras,
    at,
    check: Some(check),
    observe: None,
};

/// Two ways of equal length do not fit when one takes more than half of the run.
fn check(schedule: &Schedule) -> Result<(), RecipeError> {
    let share = schedule.number("pct_start");
    if schedule.flag("three_phase") && share > 0.5 {
        return Err(RecipeError::OutOfRange {
            name: "pct_start".to_owned(),
            value: python_number(share),
            allowed: "a number of at least 0 and at most 0.5 under three_phase".to_owned(),
        });
    }
    Ok(())
}

/// A turning point: when, and the rate and momentum there.
struct Point {
    step: f64,
    lr: f64,
    momentum: f64,
}

/// Where the cycle turns (PyTorch OneCycleLR's phases).
fn points(schedule: &Schedule) -> Vec<Point> {
    let total = schedule.main_steps() as f64;
    let rise = schedule.number("pct_start") * total;
    let first = schedule.lr / schedule.number("div_factor");
    let last = first / schedule.number("final_div_factor");
    let (low, high) = (
        schedule.number("base_momentum"),
        schedule.number("max_momentum"),
    );
    let mut points = vec![
        Point {
            step: 0.0,
            lr: first,
            momentum: high,
        },
        Point {
            step: rise - 1.0,
            lr: schedule.lr,
            momentum: low,
        },
    ];
    if schedule.flag("three_phase") {
        points.push(Point {
            step: 2.0 * rise - 2.0,
            lr: first,
            momentum: high,
        });
    }
    points.push(Point {
        step: total - 1.0,
        lr: last,
        momentum: high,
    });
    points
}

/// From point to point along half a cosine or a line; stays at the last (PyTorch OneCycleLR)
fn at(schedule: &Schedule, step: u64) -> Setting {
    let points = points(schedule);
    let end = points.last().map_or(0.0, |point| point.step);
    let step = (step as f64).min(end);
    let cosine = schedule.text("anneal_strategy") == "cos";
    let phase = points.windows(2).find_map(|pair| match pair {
        [from, to] if step <= to.step => Some((from, to)),
        _ => None,
    });
    let Some((from, to)) = phase else {
        return Setting::of_rate(schedule.lr);
    };
    let length = to.step - from.step;
    let progress = if length > 0.0 {
        (step - from.step) / length
    } else {
        1.0
    };
    let left = if cosine {
        half_cosine(progress)
    } else {
        1.0 - progress
    };
    let between = |from: f64, to: f64| to + (from - to) * left;
    with_momentum(
        schedule,
        between(from.lr, to.lr),
        between(from.momentum, to.momentum),
    )
}

fn pytorch(schedule: &Schedule) -> ScheduleCode {
    let mut arguments = vec![
        "optimizer".to_owned(),
        format!("max_lr={}", schedule.python_lr()),
        format!("total_steps={}", schedule.horizon_name()),
    ];
    for name in [
        "pct_start",
        "anneal_strategy",
        "div_factor",
        "final_div_factor",
        "three_phase",
    ] {
        arguments.push(format!("{name}={}", schedule.literal(name)));
    }
    arguments.extend(python::torch_momentum(schedule));
    let expression = format!("lr_scheduler.OneCycleLR({})", arguments.join(", "));
    python::torch(schedule, &[], &expression)
}

const KERAS: &str = r#"
class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    """Moves through the (step, value) `points`, along half a cosine or on a line."""

    def __init__(self, points, cosine):
        self.points, self.cosine = points, cosine

    def __call__(self, step):
        step = keras.ops.cast(step, "float32")
        value = self.points[-1][1]
        for (start, low), (end, high) in reversed(list(zip(self.points, self.points[1:]))):
            progress = (step - start) / (end - start)
            if self.cosine:
                progress = (1 - keras.ops.cos(math.pi * progress)) / 2
            value = keras.ops.where(step <= end, low + (high - low) * progress, value)
        return value

    def get_config(self):
        return vars(self)
"#;

fn keras(schedule: &Schedule) -> ScheduleCode {
    let steps = schedule.horizon_name();
    let rise = format!("{} * {steps}", schedule.literal("pct_start"));
    let mut times = vec!["0".to_owned(), format!("{rise} - 1")];
    if schedule.flag("three_phase") {
        times.push(format!("2 * {rise} - 2"));
    }
    times.push(format!("{steps} - 1"));
    let points = points(schedule);
    let path = |value: fn(&Point) -> f64| {
        let pairs: Vec<String> = times
            .iter()
            .zip(&points)
            .map(|(time, point)| format!("({time}, {})", python_rounded(value(point))))
            .collect();
        let cosine = schedule.text("anneal_strategy") == "cos";
        format!(
            "OneCycle([{}], cosine={})",
            pairs.join(", "),
            crate::code::python_flag(cosine)
        )
    };
    let mut code = python::keras_with_momentum(
        schedule,
        &[KERAS],
        &path(|point| point.lr),
        &path(|point| point.momentum),
    );
    code.code.imports.insert(0, "import math".to_owned());
    code
}

#[cfg(test)]
mod tests {
    use crate::schedule::tests::{close, schedule};
    use crate::schedule::{Horizon, Schedule};
    use crate::value::{Config, Value};

    #[test]
    fn rises_falls_and_stays() {
        let cycle = schedule("one_cycle", &[], 100);
        close(cycle.at(0).lr, 0.1 / 25.0);
        close(cycle.at(29).lr, 0.1);
        close(cycle.at(29).momentum.unwrap(), 0.85);
        close(cycle.at(99).lr, 0.1 / 25.0 / 1e4);
        assert_eq!(cycle.at(99), cycle.at(500));
    }

    #[test]
    fn the_third_phase_goes_below_the_start() {
        let cycle = schedule("one_cycle", &[("three_phase", true.into())], 100);
        close(cycle.at(58).lr, 0.1 / 25.0);
        close(cycle.at(58).momentum.unwrap(), 0.95);
        assert!(cycle.at(80).lr < 0.1 / 25.0);
    }

    #[test]
    fn two_ways_must_fit_into_the_run() {
        let config = Config::from_iter([
            ("schedule", Value::from("one_cycle")),
            ("three_phase", true.into()),
            ("pct_start", 0.6.into()),
        ]);
        let horizon = Horizon {
            total_steps: 100,
            steps_per_epoch: 10,
        };
        let error = Schedule::from_config(&config, 0.1, None, horizon)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("pct_start") && error.contains("three_phase"),
            "{error}"
        );
    }
}
