//! The search space: parameters, their domains, and the conditions under which they are active.
//!
//! Every domain maps to and from the unit interval, which is the only coordinate a sampler needs.

use serde::{Deserialize, Serialize};

use hpo_recipe::{Config, Value};

use crate::law::Law;

/// How a numeric domain is measured out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// Evenly in the value.
    Linear,
    /// Evenly in the logarithm of the value: learning rates, weight decay.
    Log,
    /// Evenly in the logarithm of one minus the value: momentum and betas, where .9, .99 and .999
    /// are equally far apart.
    OneMinusLog,
}

impl Scale {
    fn forward(self, x: f64) -> f64 {
        match self {
            Self::Linear => x,
            Self::Log => x.ln(),
            Self::OneMinusLog => -(1.0 - x).ln(),
        }
    }
    fn backward(self, y: f64) -> f64 {
        match self {
            Self::Linear => y,
            Self::Log => y.exp(),
            Self::OneMinusLog => 1.0 - (-y).exp(),
        }
    }
}

/// The values a parameter can take. Bounds are inclusive and were checked when the study was read:
/// `low <= high`, all finite, `low > 0` on a log scale, `high < 1` on a one-minus-log scale.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Domain {
    /// A number. With `step`, only multiples of it (and never outside the bounds).
    Float {
        /// Smallest value.
        low: f64,
        /// Largest value.
        high: f64,
        /// How it is measured out.
        scale: Scale,
        /// Distance between allowed values, if not all are.
        step: Option<f64>,
    },
    /// A whole number: `low`, `low + step`, … up to `high`.
    Int {
        /// Smallest value.
        low: i64,
        /// Largest value.
        high: i64,
        /// Evenly in the logarithm instead of the value.
        log: bool,
        /// Distance between allowed values, at least 1.
        step: i64,
    },
    /// A number with a distribution of its own; without bounds, or with those of the distribution.
    Law {
        /// The distribution.
        law: Law,
        /// Distance between allowed values (its multiples), if not all are.
        step: Option<f64>,
        /// The values are whole numbers; `step` is one then.
        whole: bool,
    },
    /// One of some values without an order.
    Categorical {
        /// The values; at least one, no two the same.
        choices: Vec<Value>,
        /// How likely each is at random, adding up to 1; `None`: all alike.
        weights: Option<Vec<f64>>,
    },
    /// Always this value.
    Constant(Value),
}

impl Domain {
    /// The value at `u` of the unit interval (clamped into it). Even steps of `u` are even steps of
    /// the domain's scale; whole numbers, steps and choices each get a cell of their own width.
    #[must_use]
    pub fn at(&self, u: f64) -> Value {
        let u = if u.is_nan() { 0.5 } else { u.clamp(0.0, 1.0) };
        match self {
            Self::Float {
                low,
                high,
                scale,
                step,
            } => {
                let (a, b) = (scale.forward(*low), scale.forward(*high));
                let x = scale.backward(a + u * (b - a)).clamp(*low, *high);
                Value::Float(step.map_or(x, |q| to_multiple(x, q, *low, *high)))
            }
            Self::Int {
                low,
                high,
                log,
                step,
            } => {
                let cells = int_cells(*low, *high, *step);
                let index = if *log {
                    // A cell reaches half a step to each side, so that the ends are not half as likely.
                    let half = 0.5 * *step as f64;
                    let (a, b) = (
                        (*low as f64 - half).max(0.5).ln(),
                        (*high as f64 + half).ln(),
                    );
                    ((a + u * (b - a)).exp() - *low as f64) / *step as f64 + 0.5
                } else {
                    u * cells as f64
                };
                let index = (index.max(0.0) as i64).min(cells - 1);
                Value::Int(low + index * step)
            }
            Self::Law { law, step, whole } => {
                let x = law.quantile(u);
                let x = step.map_or(x, |q| multiple((x / q).round(), q));
                if *whole {
                    Value::Int(x as i64)
                } else {
                    Value::Float(x)
                }
            }
            Self::Categorical { choices, weights } => {
                choices[choice_at(u, choices.len(), weights.as_deref())].clone()
            }
            Self::Constant(value) => value.clone(),
        }
    }

    /// Where in the unit interval a value lies: the inverse of [`Domain::at`], in the middle of the
    /// value's cell. `None` when the value is not in the domain.
    #[must_use]
    pub fn unit(&self, value: &Value) -> Option<f64> {
        if !self.contains(value) {
            return None;
        }
        match self {
            Self::Float {
                low, high, scale, ..
            } => {
                let (a, b) = (scale.forward(*low), scale.forward(*high));
                let x = scale.forward(value.as_f64()?);
                Some(if b > a {
                    ((x - a) / (b - a)).clamp(0.0, 1.0)
                } else {
                    0.5
                })
            }
            Self::Int {
                low,
                high,
                log,
                step,
            } => {
                let x = value.as_i64()? as f64;
                let half = 0.5 * *step as f64;
                if *log {
                    let (a, b) = (
                        (*low as f64 - half).max(0.5).ln(),
                        (*high as f64 + half).ln(),
                    );
                    Some(if b > a {
                        ((x.ln() - a) / (b - a)).clamp(0.0, 1.0)
                    } else {
                        0.5
                    })
                } else {
                    let cells = int_cells(*low, *high, *step) as f64;
                    Some(((x - *low as f64) / *step as f64 + 0.5) / cells)
                }
            }
            Self::Law { law, step, .. } => {
                let x = value.as_f64()?;
                let half = step.map_or(0.0, |q| 0.5 * q);
                Some(0.5 * (law.below(x - half) + law.below(x + half)))
            }
            Self::Categorical { choices, weights } => {
                let index = choices.iter().position(|c| c.same(value))?;
                let width = |i: usize| {
                    weights
                        .as_ref()
                        .map_or(1.0 / choices.len() as f64, |w| w[i])
                };
                Some((0..index).map(width).sum::<f64>() + 0.5 * width(index))
            }
            Self::Constant(_) => Some(0.5),
        }
    }

    /// Whether a value is in the domain.
    #[must_use]
    pub fn contains(&self, value: &Value) -> bool {
        match self {
            Self::Float {
                low, high, step, ..
            } => value.as_f64().is_some_and(|x| {
                x >= *low
                    && x <= *high
                    && step.is_none_or(|q| {
                        x == *low || x == *high || ((x / q).round() * q - x).abs() <= 1e-9 * q.abs()
                    })
            }),
            Self::Int {
                low, high, step, ..
            } => value
                .as_i64()
                .is_some_and(|x| x >= *low && x <= *high && (x - low) % step == 0),
            Self::Law { law, step, whole } => value.as_f64().is_some_and(|x| {
                let inside = match law {
                    Law::Normal { .. } => true,
                    Law::LogNormal { .. } => x > 0.0 || (x == 0.0 && step.is_some()),
                    Law::Beta { .. } => x >= 0.0 && x <= 1.0 + step.unwrap_or(0.0),
                };
                x.is_finite()
                    && inside
                    && (!whole || value.as_i64().is_some())
                    && step.is_none_or(|q| ((x / q).round() * q - x).abs() <= 1e-9 * q.abs())
            }),
            Self::Categorical { choices, .. } => choices.iter().any(|c| c.same(value)),
            Self::Constant(constant) => constant.same(value),
        }
    }

    /// How many values there are; `None` when they are not countable.
    #[must_use]
    pub fn cardinality(&self) -> Option<u64> {
        match self {
            Self::Float {
                low, high, step, ..
            } => {
                if low == high {
                    return Some(1);
                }
                step.map(|q| float_cells(*low, *high, q))
            }
            Self::Int {
                low, high, step, ..
            } => Some(int_cells(*low, *high, *step) as u64),
            Self::Law { .. } => None,
            Self::Categorical { choices, .. } => Some(choices.len() as u64),
            Self::Constant(_) => Some(1),
        }
    }

    /// Every value, in order; `None` when they are not countable or are more than `most`.
    #[must_use]
    pub fn values(&self, most: u64) -> Option<Vec<Value>> {
        if self.cardinality()? > most {
            return None;
        }
        Some(match self {
            Self::Float {
                low, high, step, ..
            } => match step {
                Some(q) => float_multiples(*low, *high, *q)
                    .into_iter()
                    .map(Value::Float)
                    .collect(),
                None => vec![Value::Float(*low)],
            },
            Self::Int {
                low, high, step, ..
            } => (0..int_cells(*low, *high, *step))
                .map(|i| Value::Int(low + i * step))
                .collect(),
            Self::Law { .. } => return None,
            Self::Categorical { choices, .. } => choices.clone(),
            Self::Constant(value) => vec![value.clone()],
        })
    }
}

fn int_cells(low: i64, high: i64, step: i64) -> i64 {
    high.saturating_sub(low) / step.max(1) + 1
}

/// With a bound of more multiples of a step than this they cannot be told apart.
pub const MOST_MULTIPLES: f64 = 9e15;

/// Numbers of the first and the last multiple of `q` between two bounds; the first is more than the
/// last when there is none. A bound that is a multiple but for rounding counts as one: 0.3 / 0.1 is
/// 2.9999999999999996 in floating point.
pub fn multiples(low: f64, high: f64, q: f64) -> (f64, f64) {
    const ROUNDING: f64 = 1e-12;
    // Of the number's own size: 1e-20 is not 0, which a logarithmic scale does not have.
    let slack = |n: f64| ROUNDING * n.abs();
    let (first, last) = (low / q, high / q);
    ((first - slack(first)).ceil(), (last + slack(last)).floor())
}

/// The `n`-th multiple of `q`, as people write it: 3 × 0.1 is 0.3, not 0.30000000000000004.
fn multiple(n: f64, q: f64) -> f64 {
    let parts = (1.0 / q).round();
    if parts.is_finite() && parts >= 1.0 && 1.0 / parts == q {
        n / parts
    } else {
        n * q
    }
}

/// The multiple of `q` that is nearest to `x` among those inside; the bound itself where there is none.
fn to_multiple(x: f64, q: f64, low: f64, high: f64) -> f64 {
    let (first, last) = multiples(low, high, q);
    if last < first {
        return x.clamp(low, high);
    }
    let n = (x / q).round().max(first).min(last);
    multiple(n, q).clamp(low, high)
}

/// How many values a stepped float can take.
fn float_cells(low: f64, high: f64, q: f64) -> u64 {
    let (first, last) = multiples(low, high, q);
    // Where no multiple lies inside, the bound itself stands in.
    ((last - first + 1.0) as u64).max(1)
}

/// All values a stepped float can take; a tiny step makes astronomically many.
fn float_multiples(low: f64, high: f64, q: f64) -> Vec<f64> {
    let (first, last) = multiples(low, high, q);
    if last < first {
        return vec![to_multiple(low, q, low, high)];
    }
    (0..float_cells(low, high, q))
        .map(|i| multiple(first + i as f64, q).clamp(low, high))
        .collect()
}

fn choice_at(u: f64, n: usize, weights: Option<&[f64]>) -> usize {
    match weights {
        None => ((u * n as f64) as usize).min(n.saturating_sub(1)),
        Some(weights) => {
            let mut sum = 0.0;
            for (i, w) in weights.iter().enumerate() {
                sum += w;
                if u < sum {
                    return i;
                }
            }
            weights.iter().rposition(|w| *w > 0.0).unwrap_or(0)
        }
    }
}

/// One demand of a condition: the named parameter is active and has one of these values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Clause {
    /// The parameter looked at.
    pub parameter: String,
    /// The values that satisfy the clause.
    pub any_of: Vec<Value>,
}

/// When a branch is active: all clauses hold. Empty: always.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct Condition(pub Vec<Clause>);

impl Condition {
    /// Whether the condition holds in a configuration.
    #[must_use]
    pub fn holds(&self, config: &Config) -> bool {
        self.0.iter().all(|clause| {
            config
                .get(&clause.parameter)
                .is_some_and(|value| clause.any_of.iter().any(|v| v.same(value)))
        })
    }
}

/// A domain and the condition under which it is a parameter's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Branch {
    /// When this branch is active.
    pub when: Condition,
    /// What the parameter can be then.
    pub domain: Domain,
}

/// A named parameter; inactive in configurations where no branch's condition holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parameter {
    /// Its name, unique in the space.
    pub name: String,
    /// Its branches; the first whose condition holds is the active one.
    pub branches: Vec<Branch>,
}

impl Parameter {
    /// The index of the branch that is active in a configuration that already has all parameters
    /// this one depends on.
    #[must_use]
    pub fn active_branch(&self, config: &Config) -> Option<usize> {
        self.branches.iter().position(|b| b.when.holds(config))
    }

    /// The domain that is active in a configuration (see [`Parameter::active_branch`]).
    #[must_use]
    pub fn active_domain(&self, config: &Config) -> Option<&Domain> {
        self.active_branch(config).map(|i| &self.branches[i].domain)
    }
}

/// A search space. Parameters stand in an order in which every parameter comes after those its
/// conditions look at (the study file's check makes it so).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct Space {
    /// The parameters, dependencies first.
    pub parameters: Vec<Parameter>,
}

impl Space {
    /// The parameter of a name.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&Parameter> {
        self.parameters.iter().find(|p| p.name == name)
    }

    /// Builds a configuration by asking `choose` for the value of each active parameter, in order.
    /// `choose` is given the parameter's index, its active branch's index, the domain, and the
    /// configuration so far.
    pub fn build(&self, mut choose: impl FnMut(usize, usize, &Domain, &Config) -> Value) -> Config {
        let mut config = Config::new();
        for (i, parameter) in self.parameters.iter().enumerate() {
            if let Some(b) = parameter.active_branch(&config) {
                let value = choose(i, b, &parameter.branches[b].domain, &config);
                config.set(parameter.name.clone(), value);
            }
        }
        config
    }

    /// Checks that a configuration has exactly the active parameters, each inside its domain.
    ///
    /// # Errors
    /// A sentence saying which parameter is missing, not active, unknown, or out of its domain.
    pub fn check(&self, config: &Config) -> Result<(), String> {
        for (name, _) in config {
            if self.parameter(name).is_none() {
                return Err(format!("`{name}` is not a parameter of this study"));
            }
        }
        let mut so_far = Config::new();
        for parameter in &self.parameters {
            let name = &parameter.name;
            match (parameter.active_domain(&so_far), config.get(name)) {
                (Some(domain), Some(value)) if domain.contains(value) => {
                    so_far.set(name.clone(), value.clone());
                }
                (Some(_), Some(value)) => {
                    return Err(format!(
                        "`{name}` cannot be {value} here: outside its domain"
                    ));
                }
                (Some(_), None) => return Err(format!("`{name}` is missing")),
                (None, Some(_)) => {
                    return Err(format!(
                        "`{name}` is not active with the other values given"
                    ));
                }
                (None, None) => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn domains() -> Vec<Domain> {
        vec![
            Domain::Float {
                low: -1.0,
                high: 2.0,
                scale: Scale::Linear,
                step: None,
            },
            Domain::Float {
                low: 1e-5,
                high: 1.0,
                scale: Scale::Log,
                step: None,
            },
            Domain::Float {
                low: 0.5,
                high: 0.999,
                scale: Scale::OneMinusLog,
                step: None,
            },
            Domain::Float {
                low: 0.05,
                high: 0.52,
                scale: Scale::Linear,
                step: Some(0.1),
            },
            Domain::Float {
                low: 3.0,
                high: 3.0,
                scale: Scale::Log,
                step: None,
            },
            Domain::Int {
                low: -3,
                high: 12,
                log: false,
                step: 1,
            },
            Domain::Int {
                low: 1,
                high: 1024,
                log: true,
                step: 1,
            },
            Domain::Int {
                low: 16,
                high: 128,
                log: false,
                step: 16,
            },
            Domain::Categorical {
                choices: vec!["a".into(), Value::Int(2), Value::Null],
                weights: None,
            },
            Domain::Categorical {
                choices: vec!["a".into(), "b".into()],
                weights: Some(vec![0.0, 1.0]),
            },
            Domain::Constant(Value::Bool(true)),
            Domain::Law {
                law: Law::Normal {
                    mu: -1.0,
                    sigma: 0.1,
                },
                step: None,
                whole: false,
            },
            Domain::Law {
                law: Law::LogNormal {
                    mu: 3.0,
                    sigma: 1.0,
                },
                step: Some(2.0),
                whole: true,
            },
            Domain::Law {
                law: Law::Normal {
                    mu: 0.0,
                    sigma: 1.0,
                },
                step: Some(0.1),
                whole: false,
            },
            Domain::Law {
                law: Law::Beta { a: 0.5, b: 3.0 },
                step: None,
                whole: false,
            },
        ]
    }

    proptest! {
        #[test]
        fn every_point_of_the_unit_interval_is_in_the_domain_and_comes_back(u in 0.0..=1.0f64) {
            for domain in domains() {
                let value = domain.at(u);
                prop_assert!(domain.contains(&value), "{domain:?} at {u} gives {value}");
                let back = domain.unit(&value).expect("contained");
                prop_assert!((0.0..=1.0).contains(&back));
                prop_assert!(domain.at(back).same(&value) || matches!(value, Value::Float(_)));
                if let (Value::Float(x), Value::Float(y)) = (&value, domain.at(back)) {
                    prop_assert!((x - y).abs() <= 1e-9 * x.abs().max(1.0), "{domain:?}: {x} {y}");
                }
            }
        }
    }

    #[test]
    fn countable_domains_list_what_they_contain() {
        for domain in domains() {
            if let Some(values) = domain.values(10_000) {
                assert_eq!(values.len() as u64, domain.cardinality().unwrap());
                assert!(values.iter().all(|v| domain.contains(v)), "{domain:?}");
            }
        }
    }

    #[test]
    fn a_bound_that_is_a_multiple_but_for_rounding_is_reached() {
        let tenths = |low, high| Domain::Float {
            low,
            high,
            scale: Scale::Linear,
            step: Some(0.1),
        };
        let floats = |xs: &[f64]| xs.iter().map(|x| Value::Float(*x)).collect::<Vec<_>>();
        // 0.3 / 0.1 is a little less than 3, and 1.1 / 0.1 a little more than 11.
        assert_eq!(
            tenths(0.0, 0.3).values(10),
            Some(floats(&[0.0, 0.1, 0.2, 0.3]))
        );
        assert_eq!(tenths(1.1, 1.3).values(10), Some(floats(&[1.1, 1.2, 1.3])));
        assert_eq!(tenths(0.0, 0.3).at(1.0), Value::Float(0.3));
        assert_eq!(tenths(0.0, 0.5).at(0.6), Value::Float(0.3));
        assert_eq!(tenths(0.11, 0.39).values(10), Some(floats(&[0.2, 0.3])));
    }

    #[test]
    fn a_tiny_step_is_counted_and_not_listed() {
        let domain = Domain::Float {
            low: 0.0,
            high: 1.0,
            scale: Scale::Linear,
            step: Some(1e-12),
        };
        assert!(domain.cardinality().is_some_and(|n| n > 999_999_999_999));
        assert_eq!(domain.values(1_000_000), None);
    }

    #[test]
    fn momentum_scale_puts_099_in_the_middle_of_09_and_0999() {
        let domain = Domain::Float {
            low: 0.9,
            high: 0.999,
            scale: Scale::OneMinusLog,
            step: None,
        };
        assert!((domain.at(0.5).as_f64().unwrap() - 0.99).abs() < 1e-12);
    }

    #[test]
    fn a_branch_is_active_only_under_its_condition() {
        let space = Space {
            parameters: vec![
                Parameter {
                    name: "optimizer".into(),
                    branches: vec![Branch {
                        when: Condition::default(),
                        domain: Domain::Categorical {
                            choices: vec!["sgd".into(), "adam".into()],
                            weights: None,
                        },
                    }],
                },
                Parameter {
                    name: "momentum".into(),
                    branches: vec![Branch {
                        when: Condition(vec![Clause {
                            parameter: "optimizer".into(),
                            any_of: vec!["sgd".into()],
                        }]),
                        domain: Domain::Constant(Value::Float(0.9)),
                    }],
                },
            ],
        };
        let sgd = space.build(|_, _, d, _| d.at(0.0));
        assert_eq!(sgd.to_string(), "momentum=0.9 optimizer=sgd");
        let adam = space.build(|_, _, d, _| d.at(1.0));
        assert_eq!(adam.to_string(), "optimizer=adam");
        assert!(space.check(&sgd).is_ok() && space.check(&adam).is_ok());
        let mut wrong = adam;
        wrong.set("momentum", 0.9);
        assert!(space.check(&wrong).unwrap_err().contains("not active"));
    }
}
