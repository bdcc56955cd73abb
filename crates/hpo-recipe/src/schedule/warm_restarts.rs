//! Cosine again and again, each time longer (SGDR).

use std::ops::Bound;

use super::shared::{ETA_MIN_RATIO, half_cosine};
use super::{Schedule, ScheduleFacts, ScheduleKind, Setting, python};
use crate::code::ScheduleCode;
use crate::hyperparameter::{Allowed, Default, Hyperparameter, Search};

pub(super) static FACTS: ScheduleFacts = ScheduleFacts {
    kind: ScheduleKind::WarmRestarts,
    name: "warm_restarts",
    title: "Cosine decay with warm restarts (SGDR)",
    paper: "Loshchilov and Hutter, SGDR, arXiv 1608.03983",
    hyperparameters: &[
        Hyperparameter {
            name: "restart_fraction",
            meaning: "the first cycle, as a share of the run; one seventh and t_mult 2 make three",
            default: Default::Number(1.0 / 7.0),
            allowed: Allowed::POSITIVE_UNIT,
            search: Some(Search::Choices(&[
                Default::Number(1.0 / 7.0),
                Default::Number(1.0 / 3.0),
            ])),
            tune_from: 25,
            source: "PyTorch CosineAnnealingWarmRestarts T_0; Keras CosineDecayRestarts first_decay_steps",
        },
        Hyperparameter {
            name: "t_mult",
            meaning: "how many times as long as the one before every cycle is",
            default: Default::Number(2.0),
            allowed: Allowed::Whole(Bound::Included(1.0), Bound::Unbounded),
            search: None,
            tune_from: 50,
            source: "Keras CosineDecayRestarts t_mul; PyTorch's T_mult is 1 by default",
        },
        ETA_MIN_RATIO,
    ],
    pytorch,
    keras,
    at,
    check: None,
    observe: None,
};

/// eta_min + (lr − eta_min) · (1 + cos(π · t/T)) / 2, where t counts from the last restart and the
/// cycle's length T is T_0 · t_mult^restarts (PyTorch CosineAnnealingWarmRestarts)
fn at(schedule: &Schedule, step: u64) -> Setting {
    let (since, length) = position(
        step,
        first_cycle(schedule),
        schedule.number("t_mult") as u64,
    );
    let end = schedule.number("eta_min_ratio");
    let left = half_cosine(since as f64 / length as f64);
    Setting::of_rate(schedule.lr * (end + (1.0 - end) * left))
}

/// Steps in the first cycle: rounded up, so that a whole number of cycles meant to fill the run
/// does not end in the first steps of one more.
fn first_cycle(schedule: &Schedule) -> u64 {
    let steps = schedule.number("restart_fraction") * schedule.main_steps() as f64;
    ((steps - SLACK).ceil() as u64).max(1)
}

/// A seventh of 70 is a hair above 10 in floating point, and should count as 10.
const SLACK: f64 = 1e-6;

/// Steps since the last restart, and the length of the cycle.
fn position(step: u64, first: u64, t_mult: u64) -> (u64, u64) {
    if t_mult <= 1 {
        return (step % first, first);
    }
    let (mut since, mut length) = (step, first);
    while since >= length {
        since -= length;
        length = length.saturating_mul(t_mult);
    }
    (since, length)
}

fn python_first_cycle(schedule: &Schedule) -> String {
    format!(
        "first_cycle = max(1, math.ceil({} * {} - {SLACK:?}))",
        schedule.fraction("restart_fraction"),
        schedule.horizon_name()
    )
}

fn pytorch(schedule: &Schedule) -> ScheduleCode {
    let expression = format!(
        "lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=first_cycle, T_mult={}, eta_min={})",
        schedule.number("t_mult"),
        schedule.python_rate("eta_min_ratio")
    );
    let mut code = python::torch(schedule, &[&python_first_cycle(schedule)], &expression);
    code.code.imports.insert(0, "import math".to_owned());
    code
}

fn keras(schedule: &Schedule) -> ScheduleCode {
    let expression = format!(
        "keras.optimizers.schedules.CosineDecayRestarts({}, first_cycle, t_mul={:?}, alpha={})",
        schedule.python_lr(),
        schedule.number("t_mult"),
        schedule.literal("eta_min_ratio")
    );
    let mut code = python::keras(schedule, &[&python_first_cycle(schedule)], &expression);
    code.code.imports.insert(0, "import math".to_owned());
    code
}

#[cfg(test)]
mod tests {
    use super::position;
    use crate::schedule::tests::{close, schedule};

    #[test]
    fn cycles_get_longer() {
        assert_eq!(position(9, 10, 2), (9, 10));
        assert_eq!(position(10, 10, 2), (0, 20));
        assert_eq!(position(30, 10, 2), (0, 40));
        assert_eq!(position(31, 10, 1), (1, 10));
    }

    #[test]
    fn three_cycles_fill_the_run_by_default() {
        for total in [70, 71, 98, 99, 100, 101] {
            let restarts = schedule("warm_restarts", &[], total);
            let peaks = (0..total)
                .filter(|step| restarts.at(*step).lr == 0.1)
                .count();
            assert_eq!(peaks, 3, "{total}");
        }
        close(schedule("warm_restarts", &[], 70).at(20).lr, 0.05);
    }
}
