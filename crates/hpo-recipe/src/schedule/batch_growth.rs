//! Larger batches at milestones instead of smaller rates.

use super::shared::{GAMMA, MILESTONES, passed};
use super::{Schedule, ScheduleFacts, ScheduleKind, Setting, python};
use crate::code::ScheduleCode;
use crate::hyperparameter::{Allowed, Default, Hyperparameter, Scale, Search};

pub(super) static FACTS: ScheduleFacts = ScheduleFacts {
    kind: ScheduleKind::BatchGrowth,
    name: "batch_growth",
    title: "Batch growth instead of decay",
    paper: "Smith et al., Don't Decay the Learning Rate, Increase the Batch Size, arXiv 1711.00489",
    hyperparameters: &[
        Hyperparameter {
            default: Default::Numbers(&[0.3, 0.6, 0.8]),
            source: "arXiv 1711.00489 section 5.1 (60, 120 and 160 of 200 epochs)",
            ..MILESTONES
        },
        Hyperparameter {
            meaning: "every milestone makes the batch 1 / gamma times as large, or the rate gamma times",
            default: Default::Number(0.2),
            source: "arXiv 1711.00489 section 5.1 (a factor of 5)",
            ..GAMMA
        },
        Hyperparameter {
            name: "max_batch_multiplier",
            meaning: "the largest batch, in configured batches; from there on the rate falls instead",
            default: Default::Number(25.0),
            allowed: Allowed::at_least(1.0),
            search: Some(Search::Range {
                low: 4.0,
                high: 64.0,
                scale: Scale::Log,
            }),
            tune_from: 50,
            source: "arXiv 1711.00489 section 5.1 (grows twice, then decays)",
        },
    ],
    pytorch,
    keras,
    at,
    check: None,
    observe: None,
};

/// After k milestones lr/batch is gamma^k of what it was, which is what sets the noise of the
/// gradient (arXiv 1711.00489 section 2): the batch takes as much of the change as its cap allows,
/// the rate takes the rest. Milestones count updates, whatever they cost.
fn at(schedule: &Schedule, step: u64) -> Setting {
    let passed = passed(schedule, step);
    let gamma = schedule.number("gamma");
    let wanted = (1.0 / gamma).powi(passed);
    let cap = schedule.number("max_batch_multiplier");
    if wanted <= cap {
        return Setting {
            batch_multiplier: wanted,
            ..Setting::of_rate(schedule.lr)
        };
    }
    let lr = schedule.lr * cap * gamma.powi(passed);
    Setting {
        batch_multiplier: cap,
        ..Setting::of_rate(lr)
    }
}

/// `milestones`, `batch_multiplier` and `lr_factor`; the functions take the update counted from
/// the run's start.
fn python_functions(schedule: &Schedule) -> [String; 3] {
    let gamma = schedule.literal("gamma");
    let since = if schedule.warmup_steps() > 0 {
        "warmup_steps + "
    } else {
        ""
    };
    let milestones = format!(
        "milestones = [{since}max(1, round(share * {})) for share in {}]",
        schedule.horizon_name(),
        schedule.literal("milestones")
    );
    let batch = format!(
        "def batch_multiplier(step):
    \
         passed = sum(step >= milestone for milestone in milestones)
    \
         return min((1 / {gamma}) ** passed, {})",
        schedule.literal("max_batch_multiplier")
    );
    let rate = format!(
        "def lr_factor(step):
    \
         passed = sum(step >= milestone for milestone in milestones)
    \
         return {gamma}**passed * batch_multiplier(step)"
    );
    [milestones, batch, rate]
}

const NOTE: &str = "The batch grows: draw round(batch_size * batch_multiplier(step)) samples for \
                    update number `step`, counted from 0.";

fn pytorch(schedule: &Schedule) -> ScheduleCode {
    let function = if schedule.warmup_steps() > 0 {
        "lambda step: lr_factor(warmup_steps + step)"
    } else {
        "lr_factor"
    };
    let expression = format!("lr_scheduler.LambdaLR(optimizer, {function})");
    let [milestones, batch, rate] = python_functions(schedule);
    let mut code = python::torch(schedule, &[&milestones, &batch, &rate], &expression);
    code.code.notes.push(NOTE.to_owned());
    code
}

fn keras(schedule: &Schedule) -> ScheduleCode {
    let [milestones, batch, factor] = python_functions(schedule);
    let rates = format!(
        "rates = [{} * lr_factor(step) for step in [0, *milestones]]",
        schedule.python_lr()
    );
    let since = if schedule.warmup_steps() > 0 {
        " - warmup_steps"
    } else {
        ""
    };
    let expression = format!(
        "keras.optimizers.schedules.PiecewiseConstantDecay([m{since} - 1 for m in milestones], rates)"
    );
    let mut code = python::keras(
        schedule,
        &[&milestones, &batch, &factor, &rates],
        &expression,
    );
    code.code.notes.push(NOTE.to_owned());
    code
}

#[cfg(test)]
mod tests {
    use crate::schedule::tests::{close, schedule};

    #[test]
    fn the_batch_grows_then_the_rate_falls() {
        let growth = schedule("batch_growth", &[("max_batch_multiplier", 10.into())], 100);
        let pair = |step| (growth.at(step).lr, growth.at(step).batch_multiplier);
        assert_eq!(pair(29), (0.1, 1.0));
        assert_eq!(pair(30), (0.1, 5.0));
        // A factor of 25 is wanted, 10 are allowed, 2.5 remain for the rate.
        close(pair(60).0, 0.04);
        close(pair(60).1, 10.0);
        close(pair(99).0, 0.008);
    }

    #[test]
    fn rate_over_batch_falls_as_under_multistep() {
        let milestones = crate::Value::List(vec![0.2.into(), 0.7.into()]);
        let knobs = [("milestones", milestones), ("gamma", 0.3.into())];
        let growth = schedule("batch_growth", &knobs, 50);
        let decay = schedule("multistep", &knobs, 50);
        for step in 0..100 {
            let setting = growth.at(step);
            close(setting.lr / setting.batch_multiplier, decay.at(step).lr);
        }
    }
}
