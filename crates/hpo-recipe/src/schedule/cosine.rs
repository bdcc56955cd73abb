//! Down to the end of the run along half a cosine.

use super::shared::{ETA_MIN_RATIO, half_cosine};
use super::{Schedule, ScheduleFacts, ScheduleKind, Setting, python};
use crate::code::ScheduleCode;

pub(super) static FACTS: ScheduleFacts = ScheduleFacts {
    kind: ScheduleKind::Cosine,
    name: "cosine",
    title: "Cosine decay",
    paper: "Loshchilov and Hutter, SGDR, arXiv 1608.03983 (without restarts)",
    hyperparameters: &[ETA_MIN_RATIO],
    pytorch,
    keras,
    at,
    check: None,
    observe: None,
};

/// eta_min + (lr − eta_min) · (1 + cos(π · step/total)) / 2, at eta_min after the horizon as in
/// Keras CosineDecay (PyTorch CosineAnnealingLR rises again)
fn at(schedule: &Schedule, step: u64) -> Setting {
    let end = schedule.number("eta_min_ratio");
    let left = half_cosine(schedule.progress(step));
    Setting::of_rate(schedule.lr * (end + (1.0 - end) * left))
}

fn pytorch(schedule: &Schedule) -> ScheduleCode {
    let expression = format!(
        "lr_scheduler.CosineAnnealingLR(optimizer, T_max={}, eta_min={})",
        schedule.horizon_name(),
        schedule.python_rate("eta_min_ratio")
    );
    let mut code = python::torch(schedule, &[], &expression);
    code.code.notes.push(
        "CosineAnnealingLR rises again after total_steps: do not step it further.".to_owned(),
    );
    code
}

/// Keras's cosine has a linear warm-up of its own.
fn keras(schedule: &Schedule) -> ScheduleCode {
    let (rate, alpha) = (schedule.python_lr(), schedule.literal("eta_min_ratio"));
    let expression = if schedule.warmup_steps() > 0 {
        let start = schedule.python_rate("warmup_start_factor");
        format!(
            "keras.optimizers.schedules.CosineDecay({start}, decay_steps=main_steps, \
             alpha={alpha}, warmup_target={rate}, warmup_steps=warmup_steps)"
        )
    } else {
        format!(
            "keras.optimizers.schedules.CosineDecay({rate}, decay_steps=total_steps, alpha={alpha})"
        )
    };
    python::keras_plain(&[&schedule.warmup_lines()], &expression)
}

#[cfg(test)]
mod tests {
    use crate::schedule::tests::{close, schedule};

    #[test]
    fn is_half_a_cosine_and_stays_down() {
        let cosine = schedule("cosine", &[("eta_min_ratio", 0.5.into())], 10);
        close(cosine.at(0).lr, 0.1);
        close(cosine.at(5).lr, 0.075);
        close(cosine.at(10).lr, 0.05);
        close(cosine.at(15).lr, 0.05);
    }
}
