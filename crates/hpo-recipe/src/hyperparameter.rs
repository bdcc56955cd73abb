//! Facts about one knob, shared by optimizers and schedules.

use std::fmt;
use std::ops::Bound;

use crate::error::RecipeError;
use crate::value::{Config, Value};

/// One knob of an optimizer or a schedule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hyperparameter {
    /// Its key in a configuration.
    pub name: &'static str,
    /// What it does, in a short sentence for people.
    pub meaning: &'static str,
    /// Its value where a configuration does not name it.
    pub default: Default,
    /// What a value must satisfy to make sense.
    pub allowed: Allowed,
    /// What a ready-made space searches; `None` leaves it at its default.
    pub search: Option<Search>,
    /// The number of trials from which tuning it pays (Google's tuning playbook): 0 for the
    /// learning rate, 10 for momentum and beta1, 25 for eps, 50 for beta2.
    pub tune_from: u32,
    /// Where default and range come from.
    pub source: &'static str,
}

/// A value written in the catalogue.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Default {
    /// A number.
    Number(f64),
    /// True or false.
    Flag(bool),
    /// A text.
    Text(&'static str),
    /// A list of numbers.
    Numbers(&'static [f64]),
}

/// What a value must satisfy to make sense.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Allowed {
    /// A finite number between two bounds.
    Number(Bound<f64>, Bound<f64>),
    /// A whole number between two bounds.
    Whole(Bound<f64>, Bound<f64>),
    /// A list of ascending numbers, each between two bounds; at least one.
    Ascending(Bound<f64>, Bound<f64>),
    /// True or false.
    Flag,
    /// One of these texts.
    OneOf(&'static [&'static str]),
}

/// What a ready-made space searches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Search {
    /// A number between two bounds, both included.
    Range {
        /// The smallest value.
        low: f64,
        /// The largest value.
        high: f64,
        /// On which scale it is spread evenly.
        scale: Scale,
    },
    /// One of these.
    Choices(&'static [Default]),
}

/// The scale on which a range is spread evenly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// The value itself.
    Linear,
    /// Its logarithm.
    Log,
    /// The logarithm of 1 − value: momentum and betas.
    OneMinusLog,
}

impl Hyperparameter {
    /// The configuration's value for this knob, or the default; checked.
    ///
    /// Whole numbers given for numbers become floats, so that equal settings compare equal.
    ///
    /// # Errors
    /// [`RecipeError::NotANumber`] or [`RecipeError::OutOfRange`].
    pub fn resolve(&self, config: &Config) -> Result<Value, RecipeError> {
        config
            .get(self.name)
            .map_or_else(|| Ok(self.default.value()), |value| self.check(value))
    }

    /// The value, if it makes sense for this knob.
    ///
    /// # Errors
    /// [`RecipeError::NotANumber`] or [`RecipeError::OutOfRange`].
    pub fn check(&self, value: &Value) -> Result<Value, RecipeError> {
        let fits = match self.allowed {
            Allowed::Number(low, high) => within(self.number(value)?, low, high),
            Allowed::Whole(low, high) => {
                let number = self.number(value)?;
                within(number, low, high) && number.fract() == 0.0
            }
            Allowed::Ascending(low, high) => {
                let Some(items) = value.as_list() else {
                    return Err(self.out_of_range(value));
                };
                let numbers = items
                    .iter()
                    .map(|item| self.number(item))
                    .collect::<Result<Vec<_>, _>>()?;
                !numbers.is_empty()
                    && numbers.iter().all(|x| within(*x, low, high))
                    && numbers.is_sorted_by(|a, b| a < b)
            }
            Allowed::Flag => value.as_bool().is_some(),
            Allowed::OneOf(texts) => value.as_str().is_some_and(|text| texts.contains(&text)),
        };
        if fits {
            Ok(as_floats(value))
        } else {
            Err(self.out_of_range(value))
        }
    }

    fn number(&self, value: &Value) -> Result<f64, RecipeError> {
        value.as_f64().ok_or_else(|| RecipeError::NotANumber {
            name: self.name.to_owned(),
            value: value.to_string(),
        })
    }

    /// The error that says this value is not allowed.
    #[must_use]
    pub fn out_of_range(&self, value: &Value) -> RecipeError {
        RecipeError::OutOfRange {
            name: self.name.to_owned(),
            value: value.to_string(),
            allowed: self.allowed.to_string(),
        }
    }
}

impl Default {
    /// The same as a configuration's value.
    #[must_use]
    pub fn value(self) -> Value {
        match self {
            Self::Number(x) => Value::Float(x),
            Self::Flag(flag) => Value::Bool(flag),
            Self::Text(text) => Value::from(text),
            Self::Numbers(numbers) => {
                Value::List(numbers.iter().copied().map(Value::Float).collect())
            }
        }
    }
}

impl Allowed {
    /// More than 0.
    pub const POSITIVE: Self = Self::Number(Bound::Excluded(0.0), Bound::Unbounded);
    /// At least 0.
    pub const NOT_NEGATIVE: Self = Self::Number(Bound::Included(0.0), Bound::Unbounded);
    /// At least 0 and at most 1.
    pub const UNIT: Self = Self::Number(Bound::Included(0.0), Bound::Included(1.0));
    /// At least 0 and less than 1: momentum, betas.
    pub const BELOW_ONE: Self = Self::Number(Bound::Included(0.0), Bound::Excluded(1.0));
    /// More than 0 and at most 1: decay factors.
    pub const POSITIVE_UNIT: Self = Self::Number(Bound::Excluded(0.0), Bound::Included(1.0));
    /// More than 0 and less than 1: shares of a run.
    pub const INSIDE_UNIT: Self = Self::Number(Bound::Excluded(0.0), Bound::Excluded(1.0));

    /// A number of at least `low`.
    #[must_use]
    pub const fn at_least(low: f64) -> Self {
        Self::Number(Bound::Included(low), Bound::Unbounded)
    }
}

/// In words that follow "must be".
impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(low, high) => write!(f, "a number{}", bounds(*low, *high)),
            Self::Whole(low, high) => write!(f, "a whole number{}", bounds(*low, *high)),
            Self::Ascending(low, high) => {
                write!(
                    f,
                    "a list of ascending numbers, each{}",
                    bounds(*low, *high)
                )
            }
            Self::Flag => f.write_str("true or false"),
            Self::OneOf(texts) => write!(f, "one of {}", texts.join(", ")),
        }
    }
}

fn bounds(low: Bound<f64>, high: Bound<f64>) -> String {
    let low = match low {
        Bound::Included(x) => Some(format!("at least {x}")),
        Bound::Excluded(x) => Some(format!("more than {x}")),
        Bound::Unbounded => None,
    };
    let high = match high {
        Bound::Included(x) => Some(format!("at most {x}")),
        Bound::Excluded(x) => Some(format!("less than {x}")),
        Bound::Unbounded => None,
    };
    match (low, high) {
        (Some(low), Some(high)) => format!(" of {low} and {high}"),
        (Some(bound), None) | (None, Some(bound)) => format!(" of {bound}"),
        (None, None) => String::new(),
    }
}

/// Whether a finite number is between two bounds.
#[must_use]
pub fn within(x: f64, low: Bound<f64>, high: Bound<f64>) -> bool {
    let above = match low {
        Bound::Included(low) => x >= low,
        Bound::Excluded(low) => x > low,
        Bound::Unbounded => true,
    };
    let below = match high {
        Bound::Included(high) => x <= high,
        Bound::Excluded(high) => x < high,
        Bound::Unbounded => true,
    };
    x.is_finite() && above && below
}

fn as_floats(value: &Value) -> Value {
    match value {
        Value::Int(i) => Value::Float(*i as f64),
        Value::List(items) => Value::List(items.iter().map(as_floats).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GAMMA: Hyperparameter = Hyperparameter {
        name: "gamma",
        meaning: "factor",
        default: Default::Number(0.1),
        allowed: Allowed::POSITIVE_UNIT,
        search: None,
        tune_from: 0,
        source: "",
    };

    #[test]
    fn default_stands_in_for_what_is_absent() {
        assert_eq!(GAMMA.resolve(&Config::new()), Ok(Value::Float(0.1)));
    }

    #[test]
    fn errors_name_the_value_and_what_is_allowed() {
        let text = |value: Value| GAMMA.check(&value).unwrap_err().to_string();
        assert_eq!(
            text(Value::Float(1.5)),
            "`gamma` is 1.5, but must be a number of more than 0 and at most 1"
        );
        assert_eq!(text("x".into()), "`gamma` must be a number, not `x`");
        assert!(GAMMA.check(&Value::Float(f64::NAN)).is_err());
        assert_eq!(GAMMA.check(&Value::Int(1)), Ok(Value::Float(1.0)));
    }

    #[test]
    fn lists_must_ascend() {
        let milestones = Hyperparameter {
            allowed: Allowed::Ascending(Bound::Excluded(0.0), Bound::Excluded(1.0)),
            ..GAMMA
        };
        let list = |numbers: &[f64]| {
            milestones.check(&Value::List(
                numbers.iter().copied().map(Value::Float).collect(),
            ))
        };
        assert!(list(&[0.5, 0.75]).is_ok());
        assert!(list(&[0.75, 0.5]).is_err());
        assert!(list(&[0.5, 1.0]).is_err());
        assert!(list(&[]).is_err());
        assert!(milestones.check(&Value::Float(0.5)).is_err());
    }
}
