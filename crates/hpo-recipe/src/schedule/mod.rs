//! Learning-rate schedules: the rate (and momentum, and batch size) at every step of a run.
//!
//! A step is one update by the optimizer. Lengths in configurations are shares of the run (of the
//! steps left after the warm-up, where there is one), so that a schedule found on short runs
//! carries over to long ones; smallest rates are given as ratios of the learning rate for the same
//! reason. Names are PyTorch's or Keras's where they have one.
//!
//! One schedule is one file: its facts, its formula, its Python. A new one is a file, its `mod`
//! line and its row in the catalogue below.

mod batch_growth;
mod constant;
mod cosine;
mod cyclic;
mod exponential;
mod inverse_time;
mod linear;
mod multistep;
mod one_cycle;
mod polynomial;
mod python;
mod reduce_on_plateau;
mod shared;
mod step;
mod warm_restarts;
mod wsd;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::code::ScheduleCode;
use crate::error::{RecipeError, nearest};
use crate::hyperparameter::{Allowed, Hyperparameter};
use crate::value::{Config, Value};

pub use shared::WARMUP;

macro_rules! catalogue {
    ($($(#[$doc:meta])* $kind:ident = $module:ident,)+) => {
        /// The schedules of the catalogue.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ScheduleKind {
            $($(#[$doc])* $kind,)+
        }

        impl ScheduleKind {
            /// All of them, in the order people read them.
            pub const ALL: &'static [Self] = &[$(Self::$kind),+];

            /// What there is to know about it.
            #[must_use]
            pub fn facts(self) -> &'static ScheduleFacts {
                match self { $(Self::$kind => &$module::FACTS,)+ }
            }
        }
    };
}

catalogue! {
    /// The rate never changes.
    Constant = constant,
    /// Times a factor at even intervals.
    Step = step,
    /// Times a factor at milestones.
    Multistep = multistep,
    /// Times the same factor at every step.
    Exponential = exponential,
    /// Divided by 1 + a multiple of the step.
    InverseTime = inverse_time,
    /// Down to the end of the run along a power of what is left.
    Polynomial = polynomial,
    /// Down to the end of the run on a line.
    Linear = linear,
    /// Down to the end of the run along half a cosine.
    Cosine = cosine,
    /// Cosine again and again, each time longer (SGDR).
    WarmRestarts = warm_restarts,
    /// Up and down between two rates.
    Cyclic = cyclic,
    /// Up once, then down far below the start; momentum the other way.
    OneCycle = one_cycle,
    /// Times a factor when the results stop getting better.
    ReduceOnPlateau = reduce_on_plateau,
    /// Warm-up, stable, decay: constant, then down at the end of the run.
    Wsd = wsd,
    /// Larger batches at milestones instead of smaller rates.
    BatchGrowth = batch_growth,
}

impl ScheduleKind {
    /// Its name in configurations.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.facts().name
    }
}

impl fmt::Display for ScheduleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ScheduleKind {
    type Err = RecipeError;

    fn from_str(name: &str) -> Result<Self, RecipeError> {
        // The recipe's and PyTorch's writing of the same word.
        let wanted = if name == "onecycle" {
            "one_cycle"
        } else {
            name
        };
        Self::ALL
            .iter()
            .copied()
            .find(|kind| kind.name() == wanted)
            .ok_or_else(|| RecipeError::UnknownSchedule {
                name: name.to_owned(),
                nearest: nearest(name, Self::ALL.iter().map(|kind| kind.name())),
            })
    }
}

/// Whether knobs fit together.
type Check = fn(&Schedule) -> Result<(), RecipeError>;

/// What there is to know about a schedule.
#[derive(Debug)]
pub struct ScheduleFacts {
    /// Which one it is.
    pub kind: ScheduleKind,
    /// Its name in configurations.
    pub name: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// Where it was described first.
    pub paper: &'static str,
    /// Its own knobs. The warm-up's, which every schedule has, are in [`WARMUP`].
    pub hyperparameters: &'static [Hyperparameter],
    /// Its whole spelling in PyTorch, warm-up included.
    pub pytorch: fn(&Schedule) -> ScheduleCode,
    /// Its whole spelling in Keras, warm-up included.
    pub keras: fn(&Schedule) -> ScheduleCode,
    /// The formula; the step counts from the end of the warm-up.
    pub(crate) at: fn(&Schedule, u64) -> Setting,
    /// What no single knob's bounds can say.
    pub(crate) check: Option<Check>,
    /// What it does at the end of an epoch, given a value where lower is better.
    pub(crate) observe: Option<fn(&mut Schedule, f64)>,
}

/// How long a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Horizon {
    /// Optimizer updates in the whole run; at least 1.
    pub total_steps: u64,
    /// Optimizer updates in an epoch; at least 1.
    pub steps_per_epoch: u64,
}

impl Horizon {
    /// Epochs in the run; an unfinished one counts.
    #[must_use]
    pub fn epochs(self) -> u64 {
        self.total_steps.div_ceil(self.steps_per_epoch.max(1))
    }
}

/// What the optimizer is set to for one update.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting {
    /// The learning rate.
    pub lr: f64,
    /// The momentum (beta1 in the Adam family), only while the schedule drives it.
    pub momentum: Option<f64>,
    /// How many times the configured batch size this update's batch holds; 1 except under
    /// `batch_growth`.
    pub batch_multiplier: f64,
}

impl Setting {
    pub(crate) fn of_rate(lr: f64) -> Self {
        Self {
            lr,
            momentum: None,
            batch_multiplier: 1.0,
        }
    }
}

/// A schedule with every knob filled in and checked, and what it has learned so far.
///
/// It is its own checkpoint: written and read back, it goes on where it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Saved")]
pub struct Schedule {
    /// `schedule` and every hyperparameter, by name.
    config: Config,
    lr: f64,
    /// The optimizer's own momentum, if it has one that a schedule can drive.
    momentum: Option<f64>,
    horizon: Horizon,
    progress: Option<Progress>,
    #[serde(skip)]
    kind: ScheduleKind,
}

/// What a schedule that reacts to results has learned.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// The rate after the reductions so far.
    pub(crate) lr: f64,
    /// The best value seen.
    pub(crate) best: Option<f64>,
    /// Epochs in a row without a better one.
    pub(crate) bad_epochs: u64,
    /// Epochs still to wait after a reduction.
    pub(crate) cooldown: u64,
    /// All epochs seen.
    pub(crate) epochs: u64,
}

/// A schedule as written, before it is checked.
#[derive(Deserialize)]
struct Saved {
    config: Config,
    lr: f64,
    momentum: Option<f64>,
    horizon: Horizon,
    progress: Option<Progress>,
}

impl TryFrom<Saved> for Schedule {
    type Error = RecipeError;

    fn try_from(saved: Saved) -> Result<Self, RecipeError> {
        let fresh = Self::from_config(&saved.config, saved.lr, saved.momentum, saved.horizon)?;
        if saved
            .progress
            .is_some_and(|progress| !(0.0..=saved.lr).contains(&progress.lr))
        {
            return Err(RecipeError::OutOfRange {
                name: "progress.lr".to_owned(),
                value: saved
                    .progress
                    .map_or(0.0, |progress| progress.lr)
                    .to_string(),
                allowed: "a number of at least 0 and at most lr".to_owned(),
            });
        }
        Ok(Self {
            progress: fresh.progress.and(saved.progress).or(fresh.progress),
            ..fresh
        })
    }
}

impl Schedule {
    /// The schedule a configuration describes: the key `schedule` names it (`constant` where the
    /// key is absent), every hyperparameter goes by its own name, other keys are ignored.
    ///
    /// `lr` is the configured learning rate: the highest the schedule reaches. `momentum` is the
    /// optimizer's momentum (or beta1) if it has one, so that a cycle may drive it.
    ///
    /// # Errors
    /// An unknown name, or a value that makes no sense.
    pub fn from_config(
        config: &Config,
        lr: f64,
        momentum: Option<f64>,
        horizon: Horizon,
    ) -> Result<Self, RecipeError> {
        let kind = match config.get("schedule") {
            None | Some(Value::Null) => ScheduleKind::Constant,
            Some(Value::Text(name)) => name.parse()?,
            Some(other) => other.to_string().parse()?,
        };
        check_run(lr, horizon)?;
        let mut filled = Config::from_iter([("schedule", Value::from(kind.name()))]);
        for knob in WARMUP.iter().chain(kind.facts().hyperparameters) {
            filled.set(knob.name, knob.resolve(config)?);
        }
        let progress = kind.facts().observe.map(|_| Progress {
            lr,
            best: None,
            bad_epochs: 0,
            cooldown: 0,
            epochs: 0,
        });
        let schedule = Self {
            config: filled,
            lr,
            momentum,
            horizon,
            progress,
            kind,
        };
        if let Some(check) = kind.facts().check {
            check(&schedule)?;
        }
        Ok(schedule)
    }

    /// The same schedule at another configured learning rate. What it has learned is kept: a
    /// plateau's reductions so far stay, as a ratio of the rate.
    ///
    /// # Errors
    /// A rate that makes no sense, or does not go with the other values.
    pub fn with_lr(&self, lr: f64) -> Result<Self, RecipeError> {
        let fresh = Self::from_config(&self.config, lr, self.momentum, self.horizon)?;
        let progress = self.progress.map(|progress| Progress {
            lr: (progress.lr / self.lr * lr).min(lr),
            ..progress
        });
        Ok(Self { progress, ..fresh })
    }

    /// Which schedule it is.
    #[must_use]
    pub fn kind(&self) -> ScheduleKind {
        self.kind
    }

    /// `schedule` and every hyperparameter, by name, warm-up included.
    #[must_use]
    pub fn values(&self) -> &Config {
        &self.config
    }

    /// The configured learning rate.
    #[must_use]
    pub fn lr(&self) -> f64 {
        self.lr
    }

    /// How long the run is.
    #[must_use]
    pub fn horizon(&self) -> Horizon {
        self.horizon
    }

    /// What the optimizer is set to for update number `step`, counted from 0.
    ///
    /// During a warm-up of w steps the rate rises on a line from `warmup_start_factor` to 1 times
    /// the schedule's first rate (PyTorch's `LinearLR` before a `SequentialLR`); then the schedule
    /// itself runs over the steps that are left. Schedules that end at the horizon stay at their
    /// last rate after it.
    #[must_use]
    pub fn at(&self, step: u64) -> Setting {
        let formula = self.kind.facts().at;
        let warmup = self.warmup_steps();
        if step >= warmup {
            return formula(self, step - warmup);
        }
        let first = formula(self, 0);
        let start = self.number("warmup_start_factor");
        let factor = start + (1.0 - start) * (step as f64 / warmup as f64);
        Setting {
            lr: first.lr * factor,
            ..first
        }
    }

    /// Takes note of an epoch's result, lower being better; only `reduce_on_plateau` reacts.
    /// To be called once at the end of every epoch.
    pub fn observe(&mut self, epoch_value: f64) {
        if let Some(observe) = self.kind.facts().observe {
            observe(self, epoch_value);
        }
    }

    /// The curve in `points` points, for pictures: the share of the run (0 is the first update, 1
    /// the last) and the learning rate there.
    #[must_use]
    pub fn curve(&self, points: usize) -> Vec<(f64, f64)> {
        let last = self.horizon.total_steps.saturating_sub(1) as f64;
        let intervals = points.saturating_sub(1).max(1) as f64;
        (0..points)
            .map(|i| {
                let fraction = i as f64 / intervals;
                (fraction, self.at((fraction * last).round() as u64).lr)
            })
            .collect()
    }

    /// Its spelling in PyTorch: the object `scheduler` and how the training loop steps it.
    #[must_use]
    pub fn pytorch(&self) -> ScheduleCode {
        (self.kind.facts().pytorch)(self)
    }

    /// Its spelling in Keras: what `learning_rate=` takes, and callbacks.
    #[must_use]
    pub fn keras(&self) -> ScheduleCode {
        (self.kind.facts().keras)(self)
    }

    /// Steps of the warm-up; 0 without one.
    #[must_use]
    pub fn warmup_steps(&self) -> u64 {
        let fraction = self.number("warmup_fraction");
        if fraction > 0.0 {
            share(fraction, self.horizon.total_steps)
        } else {
            0
        }
    }

    /// Steps after the warm-up: the horizon of the schedule itself; at least 1.
    pub(crate) fn main_steps(&self) -> u64 {
        self.horizon
            .total_steps
            .saturating_sub(self.warmup_steps())
            .max(1)
    }

    /// The share of the horizon that is over, at most 1.
    pub(crate) fn progress(&self, step: u64) -> f64 {
        (step as f64 / self.main_steps() as f64).min(1.0)
    }

    /// A knob that is a share of the run, in steps; at least 1.
    pub(crate) fn length(&self, name: &str) -> u64 {
        self.share(self.number(name))
    }

    /// A share of the run, in steps; at least 1.
    pub(crate) fn share(&self, fraction: f64) -> u64 {
        share(fraction, self.main_steps())
    }

    /// Whether it sets the optimizer's momentum.
    pub(crate) fn drives_momentum(&self) -> bool {
        self.momentum.is_some() && self.flag("cycle_momentum")
    }

    pub(crate) fn number(&self, name: &str) -> f64 {
        self.value(name).as_f64().unwrap_or(f64::NAN)
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        self.value(name).as_bool().unwrap_or(false)
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        self.value(name).as_str().unwrap_or_default()
    }

    pub(crate) fn numbers(&self, name: &str) -> impl Iterator<Item = f64> {
        self.value(name)
            .as_list()
            .unwrap_or_default()
            .iter()
            .filter_map(Value::as_f64)
    }

    #[expect(
        clippy::expect_used,
        reason = "from_config fills in every knob of the schedule"
    )]
    pub(crate) fn value(&self, name: &str) -> &Value {
        self.config
            .get(name)
            .expect("a schedule asks only for its own knobs")
    }
}

/// A share of some steps: rounded as Python's `round` does (exported code must agree), at least 1.
fn share(fraction: f64, steps: u64) -> u64 {
    ((fraction * steps as f64).round_ties_even() as u64).max(1)
}

fn check_run(lr: f64, horizon: Horizon) -> Result<(), RecipeError> {
    if !lr.is_finite() || lr <= 0.0 {
        return Err(RecipeError::OutOfRange {
            name: "lr".to_owned(),
            value: Value::Float(lr).to_string(),
            allowed: Allowed::POSITIVE.to_string(),
        });
    }
    let Horizon {
        total_steps,
        steps_per_epoch,
    } = horizon;
    for (name, steps) in [
        ("total_steps", total_steps),
        ("steps_per_epoch", steps_per_epoch),
    ] {
        if steps == 0 {
            return Err(RecipeError::OutOfRange {
                name: name.to_owned(),
                value: steps.to_string(),
                allowed: "a whole number of at least 1".to_owned(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn close(a: f64, b: f64) {
        assert!((a - b).abs() <= 1e-12, "{a} is not {b}");
    }

    /// A schedule at lr 0.1 over `total_steps`, ten steps to the epoch, momentum 0.9.
    pub(crate) fn schedule(name: &str, knobs: &[(&str, Value)], total_steps: u64) -> Schedule {
        let mut config = Config::from_iter([("schedule", name)]);
        for (name, value) in knobs {
            config.set(*name, value.clone());
        }
        Schedule::from_config(
            &config,
            0.1,
            Some(0.9),
            Horizon {
                total_steps,
                steps_per_epoch: 10,
            },
        )
        .unwrap()
    }
}
