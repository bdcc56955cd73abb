//! The rate never changes.

use super::python::{keras_plain, torch_plain};
use super::{Schedule, ScheduleFacts, ScheduleKind, Setting};
use crate::code::ScheduleCode;

pub(super) static FACTS: ScheduleFacts = ScheduleFacts {
    kind: ScheduleKind::Constant,
    name: "constant",
    title: "Constant",
    paper: "",
    hyperparameters: &[],
    pytorch,
    keras,
    at,
    check: None,
    observe: None,
};

/// lr
fn at(schedule: &Schedule, _step: u64) -> Setting {
    Setting::of_rate(schedule.lr)
}

fn pytorch(schedule: &Schedule) -> ScheduleCode {
    if schedule.warmup_steps() == 0 {
        return torch_plain(&[], "lr_scheduler.ConstantLR(optimizer, factor=1.0)");
    }
    torch_plain(&[&schedule.warmup_line()], &schedule.torch_warmup())
}

/// Keras's polynomial of power 1 stays at its end: rising, it is a warm-up.
fn keras(schedule: &Schedule) -> ScheduleCode {
    if schedule.warmup_steps() == 0 {
        return keras_plain(&[], &schedule.python_lr());
    }
    let expression = format!(
        "keras.optimizers.schedules.PolynomialDecay({}, decay_steps=warmup_steps, end_learning_rate={})",
        schedule.python_rate("warmup_start_factor"),
        schedule.python_lr()
    );
    keras_plain(&[&schedule.warmup_line()], &expression)
}

#[cfg(test)]
mod tests {
    use crate::schedule::tests::schedule;

    #[test]
    fn stays_and_warms_up_on_a_line() {
        let plain = schedule("constant", &[], 10);
        assert!((0..20).all(|step| plain.at(step).lr == 0.1));
        let warm = schedule(
            "constant",
            &[
                ("warmup_fraction", 0.4.into()),
                ("warmup_start_factor", 0.5.into()),
            ],
            10,
        );
        let rates: Vec<f64> = (0..5).map(|step| warm.at(step).lr).collect();
        for (rate, wanted) in rates.iter().zip([0.05, 0.0625, 0.075, 0.0875, 0.1]) {
            assert!((rate - wanted).abs() < 1e-15, "{rates:?}");
        }
    }
}
