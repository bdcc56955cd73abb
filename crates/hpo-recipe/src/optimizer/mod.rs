//! The catalogue of optimizers: what each one is, what can be tuned, what it costs in memory, and
//! how PyTorch and Keras spell it.
//!
//! One file per optimizer. A new one is a file with its `FACTS`, a variant of [`OptimizerKind`]
//! with its row in [`OptimizerKind::ALL`] and [`OptimizerKind::facts`], and its update rule in the
//! trainer. Names and defaults are PyTorch 2.15's; where Keras 3.15 differs, the hyperparameter's
//! `source` says so.

mod adadelta;
mod adagrad;
mod adam;
mod adamw;
mod gd;
mod knob;
mod momentum;
mod nesterov;
mod python;
mod rmsprop;
mod sgd;

use std::fmt;
use std::str::FromStr;

use crate::code::Code;
use crate::error::{RecipeError, nearest};
use crate::hyperparameter::Hyperparameter;
use crate::value::{Config, Value};

/// An optimizer of the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OptimizerKind {
    /// Gradient descent on all data at once.
    Gd,
    /// Stochastic gradient descent on mini-batches.
    Sgd,
    /// SGD with heavy-ball momentum.
    Momentum,
    /// SGD with Nesterov momentum.
    Nesterov,
    /// Adam.
    Adam,
    /// Adam with decoupled weight decay.
    AdamW,
    /// RMSProp, with momentum or centered if the setting says so.
    RmsProp,
    /// AdaGrad.
    Adagrad,
    /// AdaDelta.
    Adadelta,
}

impl OptimizerKind {
    /// All of them, in the order in which they are shown.
    pub const ALL: &'static [Self] = &[
        Self::Gd,
        Self::Sgd,
        Self::Momentum,
        Self::Nesterov,
        Self::Adam,
        Self::AdamW,
        Self::RmsProp,
        Self::Adagrad,
        Self::Adadelta,
    ];

    /// Its name in configurations: lower case, one word.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// All that the catalogue knows of it.
    #[must_use]
    pub fn facts(self) -> &'static OptimizerFacts {
        match self {
            Self::Gd => &gd::FACTS,
            Self::Sgd => &sgd::FACTS,
            Self::Momentum => &momentum::FACTS,
            Self::Nesterov => &nesterov::FACTS,
            Self::Adam => &adam::FACTS,
            Self::AdamW => &adamw::FACTS,
            Self::RmsProp => &rmsprop::FACTS,
            Self::Adagrad => &adagrad::FACTS,
            Self::Adadelta => &adadelta::FACTS,
        }
    }
}

impl FromStr for OptimizerKind {
    type Err = RecipeError;

    fn from_str(name: &str) -> Result<Self, RecipeError> {
        let found = Self::ALL.iter().copied().find(|kind| kind.name() == name);
        found.ok_or_else(|| RecipeError::UnknownOptimizer {
            name: name.to_owned(),
            nearest: nearest(
                &name.to_lowercase(),
                Self::ALL.iter().map(|kind| kind.name()),
            ),
        })
    }
}

impl fmt::Display for OptimizerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the catalogue knows of an optimizer.
#[derive(Debug, Clone, Copy)]
pub struct OptimizerFacts {
    /// Which one.
    pub kind: OptimizerKind,
    /// Its name in configurations.
    pub name: &'static str,
    /// Its name as people write it.
    pub title: &'static str,
    /// Where it was published.
    pub paper: &'static str,
    /// Its knobs; `lr` is always the first.
    pub hyperparameters: &'static [Hyperparameter],
    /// Whether every update needs the gradient over all training data.
    pub full_batch: bool,
    /// How many float32 copies of the parameters it keeps as state between steps. (It allocates
    /// them before or in the first step; weights and gradients are not counted.)
    pub state_copies: fn(&OptimizerSetting) -> u32,
    /// The knob that a momentum-cycling schedule turns: `momentum` or `beta1`. RMSProp has none:
    /// its momentum is off by default, and a cycle must not switch it on.
    pub momentum_name: Option<&'static str>,
    /// How PyTorch builds it: an expression over `model`.
    pub pytorch: fn(&OptimizerSetting) -> Code,
    /// How Keras builds it: an expression over `learning_rate`, a variable which the program
    /// around it sets to a number or to a `LearningRateSchedule`.
    ///
    /// What Keras computes differently and cannot be told to is in the notes.
    pub keras: fn(&OptimizerSetting) -> Code,
}

impl OptimizerFacts {
    /// The knob of this name.
    #[must_use]
    pub fn hyperparameter(&self, name: &str) -> Option<&'static Hyperparameter> {
        self.hyperparameters.iter().find(|knob| knob.name == name)
    }
}

/// An optimizer with every hyperparameter filled in and checked.
#[derive(Debug, Clone, PartialEq)]
pub struct OptimizerSetting {
    kind: OptimizerKind,
    values: Config,
}

impl OptimizerSetting {
    /// Reads the key `optimizer`, then each of its hyperparameters by name; what is absent gets
    /// its default. Keys that are none of its hyperparameters are ignored.
    ///
    /// # Errors
    /// [`RecipeError::Missing`] or [`RecipeError::UnknownOptimizer`] for the key `optimizer`,
    /// [`RecipeError::NotANumber`] or [`RecipeError::OutOfRange`] for a value.
    pub fn from_config(config: &Config) -> Result<Self, RecipeError> {
        let kind: OptimizerKind = match config.get("optimizer") {
            None => {
                return Err(RecipeError::Missing {
                    name: "optimizer".to_owned(),
                });
            }
            Some(Value::Text(name)) => name.parse()?,
            Some(other) => other.to_string().parse()?,
        };
        let knobs = kind.facts().hyperparameters.iter();
        let values = knobs
            .map(|knob| Ok((knob.name, knob.resolve(config)?)))
            .collect::<Result<Config, RecipeError>>()?;
        Ok(Self { kind, values })
    }

    /// Which optimizer.
    #[must_use]
    pub fn kind(&self) -> OptimizerKind {
        self.kind
    }

    /// Its facts.
    #[must_use]
    pub fn facts(&self) -> &'static OptimizerFacts {
        self.kind.facts()
    }

    /// The value of a numeric hyperparameter.
    ///
    /// # Panics
    /// If this optimizer has no numeric hyperparameter of that name: a slip in the calling code,
    /// since which ones it has does not depend on any input.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "every knob is filled in, and the names are constants"
    )]
    pub fn number(&self, name: &str) -> f64 {
        self.values
            .number(name)
            .expect("a numeric hyperparameter of this optimizer")
    }

    /// The value of a hyperparameter that is true or false.
    ///
    /// # Panics
    /// If this optimizer has no such hyperparameter, as [`OptimizerSetting::number`].
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "every knob is filled in, and the names are constants"
    )]
    pub fn flag(&self, name: &str) -> bool {
        self.values
            .flag(name)
            .expect("a true-or-false hyperparameter of this optimizer")
    }

    /// All hyperparameters by name (without the key `optimizer`).
    #[must_use]
    pub fn values(&self) -> &Config {
        &self.values
    }

    /// How many float32 copies of the parameters it keeps as state.
    #[must_use]
    pub fn state_copies(&self) -> u32 {
        (self.facts().state_copies)(self)
    }

    /// How PyTorch builds it; see [`OptimizerFacts::pytorch`].
    #[must_use]
    pub fn pytorch(&self) -> Code {
        (self.facts().pytorch)(self)
    }

    /// How Keras builds it; see [`OptimizerFacts::keras`].
    #[must_use]
    pub fn keras(&self) -> Code {
        (self.facts().keras)(self)
    }
}

#[cfg(test)]
mod tests;
