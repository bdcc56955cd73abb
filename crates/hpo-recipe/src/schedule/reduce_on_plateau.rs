//! Times a factor when the results stop getting better.

use super::python::{keras_plain, torch_plain};
use super::{Progress, Schedule, ScheduleFacts, ScheduleKind, Setting};
use crate::code::{ScheduleCode, wrapped};
use crate::hyperparameter::{Allowed, Default, Hyperparameter, Scale, Search};

pub(super) static FACTS: ScheduleFacts = ScheduleFacts {
    kind: ScheduleKind::ReduceOnPlateau,
    name: "reduce_on_plateau",
    title: "Reduce on plateau",
    paper: "",
    hyperparameters: &[
        Hyperparameter {
            name: "factor",
            meaning: "what the rate is multiplied with on a plateau",
            default: Default::Number(0.1),
            allowed: Allowed::INSIDE_UNIT,
            search: Some(Search::Range {
                low: 0.05,
                high: 0.5,
                scale: Scale::Log,
            }),
            tune_from: 25,
            source: "PyTorch and Keras ReduceLROnPlateau",
        },
        Hyperparameter {
            name: "patience_fraction",
            meaning: "how long to wait for a better result, as a share of the run's epochs",
            default: Default::Number(0.1),
            allowed: Allowed::UNIT,
            search: Some(Search::Range {
                low: 0.02,
                high: 0.2,
                scale: Scale::Log,
            }),
            tune_from: 25,
            source: "PyTorch and Keras ReduceLROnPlateau patience (10 epochs, of 100 say)",
        },
        Hyperparameter {
            name: "threshold",
            meaning: "how much better a result must be to count, as a share of the best",
            default: Default::Number(1e-4),
            allowed: Allowed::BELOW_ONE,
            search: None,
            tune_from: 50,
            source: "PyTorch ReduceLROnPlateau (threshold_mode rel)",
        },
        Hyperparameter {
            name: "cooldown_fraction",
            meaning: "how long to rest after a reduction, as a share of the run's epochs",
            default: Default::Number(0.0),
            allowed: Allowed::UNIT,
            search: None,
            tune_from: 50,
            source: "PyTorch and Keras ReduceLROnPlateau cooldown",
        },
        Hyperparameter {
            name: "min_lr_ratio",
            meaning: "the lowest rate, as a ratio of lr",
            default: Default::Number(0.0),
            allowed: Allowed::UNIT,
            search: None,
            tune_from: 50,
            source: "PyTorch and Keras ReduceLROnPlateau min_lr",
        },
    ],
    pytorch,
    keras,
    at,
    check: None,
    observe: Some(observe),
};

/// What the observations have left of the rate.
fn at(schedule: &Schedule, _step: u64) -> Setting {
    Setting::of_rate(
        schedule
            .progress
            .map_or(schedule.lr, |progress| progress.lr),
    )
}

/// PyTorch ReduceLROnPlateau with eps=0: after more than `patience` epochs in a row that are not
/// better than best · (1 − threshold), lr becomes max(lr · factor, min_lr), and the next
/// `cooldown` epochs do not count. Values that are not finite are never better. Epochs that end
/// during the warm-up do not count.
fn observe(schedule: &mut Schedule, value: f64) {
    let Some(mut progress) = schedule.progress else {
        return;
    };
    progress.epochs = progress.epochs.saturating_add(1);
    let seen = progress
        .epochs
        .saturating_mul(schedule.horizon.steps_per_epoch);
    if seen >= schedule.warmup_steps() {
        take_note(schedule, &mut progress, value);
    }
    schedule.progress = Some(progress);
}

fn take_note(schedule: &Schedule, progress: &mut Progress, value: f64) {
    let epochs =
        |name| (schedule.number(name) * schedule.horizon.epochs() as f64).round_ties_even() as u64;
    let bar = progress
        .best
        .map(|best| best * (1.0 - schedule.number("threshold")));
    if value.is_finite() && bar.is_none_or(|bar| value < bar) {
        progress.best = Some(value);
        progress.bad_epochs = 0;
    } else {
        progress.bad_epochs = progress.bad_epochs.saturating_add(1);
    }
    if progress.cooldown > 0 {
        progress.cooldown -= 1;
        progress.bad_epochs = 0;
    }
    if progress.bad_epochs > epochs("patience_fraction") {
        let lowest = schedule.lr * schedule.number("min_lr_ratio");
        progress.lr = (progress.lr * schedule.number("factor")).max(lowest);
        progress.cooldown = epochs("cooldown_fraction");
        progress.bad_epochs = 0;
    }
}

fn python_epochs(schedule: &Schedule, name: &str) -> String {
    if schedule.number(name) == 0.0 {
        "0".to_owned()
    } else {
        format!("round({} * epochs)", schedule.literal(name))
    }
}

fn pytorch(schedule: &Schedule) -> ScheduleCode {
    let expression = format!(
        "lr_scheduler.ReduceLROnPlateau(optimizer, factor={}, patience={}, threshold={}, \
         cooldown={}, min_lr={}, eps=0)",
        schedule.literal("factor"),
        python_epochs(schedule, "patience_fraction"),
        schedule.literal("threshold"),
        python_epochs(schedule, "cooldown_fraction"),
        schedule.python_rate("min_lr_ratio"),
    );
    let mut setup = String::new();
    if schedule.warmup_steps() > 0 {
        let warmup = wrapped(&format!("warmup = {}", schedule.torch_warmup()));
        setup = format!(
            "{}
{warmup}",
            schedule.warmup_line()
        );
    }
    let mut code = torch_plain(&[&setup], &expression);
    code.code
        .notes
        .push("Lower is better: to watch a score, give it with a minus.".to_owned());
    if schedule.warmup_steps() > 0 {
        code.after_update = vec!["warmup.step()".to_owned()];
        code.after_epoch = vec![
            "if warmup.last_epoch >= warmup_steps:".to_owned(),
            "    scheduler.step(val_loss)".to_owned(),
        ];
    } else {
        code.after_update = Vec::new();
        code.after_epoch = vec!["scheduler.step(val_loss)".to_owned()];
    }
    code
}

/// Keras's own callback takes its threshold absolutely and counts patience and cooldown otherwise.
const KERAS: &str = r#"
class ReduceOnPlateau(keras.callbacks.Callback):
    """Multiplies the rate by `factor` when val_loss got no better for `patience` epochs."""

    def __init__(
        self, factor, patience, threshold, cooldown, min_lr, warmup_steps=0, start_factor=1.0
    ):
        super().__init__()
        self.factor, self.patience, self.threshold = factor, patience, threshold
        self.cooldown, self.min_lr = cooldown, min_lr
        self.warmup_steps, self.start_factor = warmup_steps, start_factor
        self.best, self.bad_epochs, self.resting, self.peak = math.inf, 0, 0, None

    def on_train_batch_begin(self, batch, logs=None):
        optimizer = self.model.optimizer
        step = int(optimizer.iterations)
        if self.peak is None:
            self.peak = float(optimizer.learning_rate)
        if step <= self.warmup_steps and self.warmup_steps > 0:
            rise = self.start_factor + (1 - self.start_factor) * step / self.warmup_steps
            optimizer.learning_rate = self.peak * rise

    def on_epoch_end(self, epoch, logs=None):
        optimizer = self.model.optimizer
        if int(optimizer.iterations) < self.warmup_steps:
            return
        if logs["val_loss"] < self.best * (1 - self.threshold):
            self.best, self.bad_epochs = logs["val_loss"], 0
        else:
            self.bad_epochs += 1
        if self.resting > 0:
            self.resting, self.bad_epochs = self.resting - 1, 0
        if self.bad_epochs > self.patience:
            rate = float(optimizer.learning_rate) * self.factor
            optimizer.learning_rate = max(rate, self.min_lr)
            self.resting, self.bad_epochs = self.cooldown, 0
"#;

fn keras(schedule: &Schedule) -> ScheduleCode {
    let (mut setup, mut warmup) = (String::new(), String::new());
    if schedule.warmup_steps() > 0 {
        setup = schedule.warmup_line();
        warmup = format!(
            ", warmup_steps=warmup_steps, start_factor={}",
            schedule.fraction("warmup_start_factor")
        );
    }
    let mut code = keras_plain(&[KERAS, &setup], &schedule.python_lr());
    code.code.imports.insert(0, "import math".to_owned());
    code.code
        .notes
        .push("fit() needs validation data: the callback reads val_loss.".to_owned());
    code.callbacks.push(wrapped(&format!(
        "ReduceOnPlateau(factor={}, patience={}, threshold={}, cooldown={}, min_lr={}{warmup})",
        schedule.literal("factor"),
        python_epochs(schedule, "patience_fraction"),
        schedule.literal("threshold"),
        python_epochs(schedule, "cooldown_fraction"),
        schedule.python_rate("min_lr_ratio"),
    )));
    code
}

#[cfg(test)]
mod tests {
    use crate::schedule::Schedule;
    use crate::schedule::tests::{close, schedule};

    #[test]
    fn waits_reduces_rests_and_stops_at_the_lowest_rate() {
        let knobs = [
            ("patience_fraction", 0.1.into()),
            ("cooldown_fraction", 0.1.into()),
            ("min_lr_ratio", 0.05.into()),
        ];
        let mut plateau = schedule("reduce_on_plateau", &knobs, 200);
        let mut rates = Vec::new();
        for _ in 0..14 {
            plateau.observe(1.0);
            rates.push(plateau.at(0).lr);
        }
        // Epoch 1 is the best; 2 to 4 are bad, one more than the patience of 2; 5 and 6 rest.
        close(rates[2], 0.1);
        close(rates[3], 0.01);
        close(rates[7], 0.01);
        close(rates[8], 0.005);
        close(rates[13], 0.005);
    }

    #[test]
    fn reductions_stay_at_another_rate() {
        let mut plateau = schedule("reduce_on_plateau", &[], 200);
        (0..5).for_each(|_| plateau.observe(1.0));
        close(plateau.at(0).lr, 0.01);
        let mut other = plateau.with_lr(0.02).expect("a smaller rate");
        close(other.at(0).lr, 0.002);
        let of = |schedule: &Schedule| schedule.progress.map(|p| (p.best, p.bad_epochs, p.epochs));
        assert_eq!(of(&other), of(&plateau));
        plateau.observe(0.5);
        other.observe(0.5);
        assert_eq!(of(&other), of(&plateau));
        assert_eq!(plateau.with_lr(0.1), Ok(plateau.clone()));
        assert!(plateau.with_lr(f64::NAN).is_err());
    }

    #[test]
    fn a_value_that_is_no_number_is_a_bad_one() {
        let mut plateau = schedule("reduce_on_plateau", &[("patience_fraction", 0.into())], 200);
        plateau.observe(1.0);
        plateau.observe(f64::NAN);
        close(plateau.at(0).lr, 0.01);
        plateau.observe(f64::NEG_INFINITY);
        close(plateau.at(0).lr, 0.001);
        let text = serde_json::to_string(&plateau).unwrap();
        assert_eq!(serde_json::from_str::<Schedule>(&text).unwrap(), plateau);
    }

    #[test]
    fn epochs_of_the_warm_up_do_not_count() {
        let knobs = [
            ("warmup_fraction", 0.2.into()),
            ("patience_fraction", 0.into()),
        ];
        let mut plateau = schedule("reduce_on_plateau", &knobs, 200);
        for _ in 0..4 {
            plateau.observe(1.0);
        }
        close(plateau.at(40).lr, 0.1);
        plateau.observe(1.0);
        close(plateau.at(50).lr, 0.01);
    }
}
