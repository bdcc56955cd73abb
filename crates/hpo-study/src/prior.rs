//! Beliefs of the user about where the optimum is: priors in the sense of piBO (Hvarfner, Stoll, Souza, Lindauer, Hutter &
//! Nardi, "πBO: augmenting acquisition functions with user beliefs for Bayesian optimization", ICLR 2022; arXiv
//! 2204.11051).
//!
//! A prior does not change the space: what can be tried, and how it is drawn at random, stays what the domains say. All
//! densities here are relative to that: 1 everywhere is no belief at all.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use hpo_recipe::{Config, Value};

use crate::normal;
use crate::space::{Condition, Domain, Scale, Space};

/// The share of every belief that is no belief: so far down goes the density, wherever the guess is.
pub const DOUBT: f64 = 0.1;

/// How sure somebody is of a guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// A hint.
    Low,
    /// A good guess.
    #[default]
    Medium,
    /// From experience with the very same thing.
    High,
}

impl Confidence {
    /// Its name in study files.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }

    /// The confidence of a name.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Low, Self::Medium, Self::High]
            .into_iter()
            .find(|c| c.word() == word)
    }

    /// The standard deviation around a guessed number, as a share of the range on its own scale.
    #[must_use]
    pub fn width(self) -> f64 {
        match self {
            Self::Low => 0.25,
            Self::Medium => 0.12,
            Self::High => 0.05,
        }
    }

    /// How many times as likely as each of the others a guessed choice is.
    #[must_use]
    pub fn odds(self) -> f64 {
        match self {
            Self::Low => 2.0,
            Self::Medium => 4.0,
            Self::High => 10.0,
        }
    }
}

/// Where in a domain the best value is believed to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Belief {
    /// A number: a normal distribution over the unit interval, cut off at its ends.
    Near {
        /// The most likely place, from 0 to 1.
        place: f64,
        /// The standard deviation, more than 0.
        width: f64,
    },
    /// A choice: how likely each is, adding up to 1.
    Shares(Vec<f64>),
}

impl Belief {
    /// The belief that the best value is about `guess`. `None` when that is not in the domain, or the domain has one
    /// value only. A number between two allowed ones is good enough.
    #[must_use]
    pub fn around(domain: &Domain, guess: &Value, confidence: Confidence) -> Option<Self> {
        match domain {
            Domain::Constant(_) => None,
            Domain::Categorical { choices, .. } => {
                let index = choices.iter().position(|choice| choice.same(guess))?;
                let odds = |i: usize| if i == index { confidence.odds() } else { 1.0 };
                Self::weighted((0..choices.len()).map(odds).collect())
            }
            _ => Some(Self::Near {
                place: place(domain, guess.as_f64()?)?,
                width: confidence.width(),
            }),
        }
    }

    /// The belief that the best value is between two numbers, eight times out of ten.
    #[must_use]
    pub fn between(domain: &Domain, low: f64, high: f64) -> Option<Self> {
        /// Eight of ten draws from a normal distribution lie within so many standard deviations.
        const EIGHTY_PERCENT: f64 = 1.281_551_565_5;
        /// Narrower ones are no belief but a command.
        const NARROWEST: f64 = 0.01;
        let (a, b) = (place(domain, low)?, place(domain, high)?);
        Some(Self::Near {
            place: 0.5 * (a + b),
            width: (0.5 * (b - a) / EIGHTY_PERCENT).max(NARROWEST),
        })
    }

    /// The belief that choices are likely in proportion to some weights. `None` when these are all 0.
    #[must_use]
    pub fn weighted(weights: Vec<f64>) -> Option<Self> {
        let sum: f64 = weights.iter().sum();
        let sound = sum > 0.0 && sum.is_finite() && weights.len() > 1;
        sound.then(|| Self::Shares(weights.into_iter().map(|w| w / sum).collect()))
    }

    /// The value believed to be the best.
    #[must_use]
    pub fn guess(&self, domain: &Domain) -> Value {
        match (self, domain) {
            (Self::Near { place, .. }, _) => domain.at(*place),
            (Self::Shares(shares), Domain::Categorical { choices, .. }) => {
                let best = (0..choices.len()).rev().max_by(|a, b| {
                    let share = |i: &usize| shares.get(*i).copied().unwrap_or(0.0);
                    share(a).total_cmp(&share(b))
                });
                best.and_then(|i| choices.get(i).cloned())
                    .unwrap_or_else(|| domain.at(0.5))
            }
            (Self::Shares(_), _) => domain.at(0.5),
        }
    }

    /// A value drawn from the belief; `u` evenly from [0, 1).
    #[must_use]
    pub fn draw(&self, domain: &Domain, u: f64) -> Value {
        match (self, domain) {
            (Self::Near { place, width }, _) => {
                let (low, high) = ends(*place, *width);
                let share = low + u * (high - low);
                let z = normal::quantile(share.clamp(1e-12, 1.0 - 1e-12));
                domain.at(place + width * z)
            }
            (Self::Shares(shares), Domain::Categorical { choices, weights }) => {
                let shares = possible(shares, weights.as_deref());
                let mut sum = 0.0;
                let is_it = |share: &f64| {
                    sum += share;
                    u < sum
                };
                let index = shares.iter().position(is_it);
                if index.is_none() && matches!(shares, Cow::Owned(_)) {
                    return domain.at(u);
                }
                let chosen = index.and_then(|i| choices.get(i)).or(choices.last());
                chosen.cloned().unwrap_or_else(|| domain.at(u))
            }
            (Self::Shares(_), _) => domain.at(u),
        }
    }

    /// The logarithm of the density at a value, relative to a draw at random from the domain; not below
    /// ln [`DOUBT`]. 0 for a value that is not in the domain.
    #[must_use]
    pub fn log_density(&self, domain: &Domain, value: &Value) -> f64 {
        let density = match (self, domain) {
            (Self::Shares(shares), Domain::Categorical { choices, weights }) => {
                let Some(index) = choices.iter().position(|choice| choice.same(value)) else {
                    return 0.0;
                };
                let even = 1.0 / choices.len() as f64;
                let usual = weights.as_ref().and_then(|w| w.get(index)).copied();
                // What is never drawn at random has no density to compare with.
                let usual = usual.filter(|share| *share > 0.0).unwrap_or(even);
                shares.get(index).copied().unwrap_or(even) / usual
            }
            (Self::Near { place, width }, _) => {
                let Some(u) = domain.unit(value) else {
                    return 0.0;
                };
                let (low, high) = ends(*place, *width);
                let share = |u: f64| normal::below((u - place) / width);
                match cell(domain, value) {
                    // What is in the value's cell, over the cell's width.
                    Some((a, b)) if b > a => (share(b) - share(a)) / ((b - a) * (high - low)),
                    _ => normal::density((u - place) / width) / (width * (high - low)),
                }
            }
            (Self::Shares(_), _) => return 0.0,
        };
        ((1.0 - DOUBT) * density + DOUBT).ln()
    }

    /// The belief in words: `about 0.001`, `most likely adam`.
    #[must_use]
    pub fn words(&self, domain: &Domain) -> String {
        match self {
            Self::Near { place, width } => {
                let end = |sign: f64| domain.at(place + sign * 1.281_551_565_5 * width);
                let guess = self.guess(domain);
                format!(
                    "about {}, likely from {} to {}",
                    short(&guess),
                    short(&end(-1.0)),
                    short(&end(1.0))
                )
            }
            Self::Shares(shares) => {
                let share = shares.iter().copied().fold(0.0, f64::max);
                format!(
                    "most likely {} ({:.0} %)",
                    self.guess(domain),
                    100.0 * share
                )
            }
        }
    }
}

/// The shares without those of choices whose probability is 0: what is believed makes nothing possible.
fn possible<'s>(shares: &'s [f64], weights: Option<&[f64]>) -> Cow<'s, [f64]> {
    let Some(weights) = weights.filter(|weights| weights.contains(&0.0)) else {
        return Cow::Borrowed(shares);
    };
    let left = shares.iter().zip(weights);
    let left: Vec<f64> = left
        .map(|(share, w)| if *w > 0.0 { *share } else { 0.0 })
        .collect();
    let sum: f64 = left.iter().sum();
    left.into_iter()
        .map(|share| share / sum.max(f64::MIN_POSITIVE))
        .collect()
}

/// A number with three digits, for people.
fn short(value: &Value) -> String {
    match value {
        Value::Float(x) => format!("{x:.2e}")
            .parse::<f64>()
            .map_or_else(|_| value.to_string(), |x| Value::Float(x).to_string()),
        other => other.to_string(),
    }
}

/// The shares of the normal distribution below the ends of the unit interval.
fn ends(place: f64, width: f64) -> (f64, f64) {
    (
        normal::below(-place / width),
        normal::below((1.0 - place) / width),
    )
}

/// The part of the unit interval that is drawn as this value, where that is a part of it.
fn cell(domain: &Domain, value: &Value) -> Option<(f64, f64)> {
    let x = value.as_f64()?;
    let (low, high, step, bottom) = match domain {
        Domain::Int {
            low, high, step, ..
        } => {
            let half = 0.5 * *step as f64;
            (*low as f64 - half, *high as f64 + half, *step as f64, 0.5)
        }
        Domain::Float {
            low,
            high,
            step: Some(step),
            ..
        } => (*low, *high, *step, f64::NEG_INFINITY),
        _ => return None,
    };
    let scale = match domain {
        Domain::Int { log: true, .. } => Scale::Log,
        Domain::Float { scale, .. } => *scale,
        _ => Scale::Linear,
    };
    // Whole numbers on a logarithmic scale reach half a step further than their bounds, but not to 0.
    let bottom = if scale == Scale::Log {
        bottom
    } else {
        f64::NEG_INFINITY
    };
    let smooth = Domain::Float {
        low: low.max(bottom),
        high,
        scale,
        step: None,
    };
    let at = |x: f64| smooth.unit(&Value::Float(x.clamp(low.max(bottom), high)));
    Some((at(x - 0.5 * step)?, at(x + 0.5 * step)?))
}

/// Where in the unit interval a number lies that is within a domain's bounds, allowed or between two allowed ones.
fn place(domain: &Domain, x: f64) -> Option<f64> {
    let smooth = match domain {
        Domain::Float {
            low, high, scale, ..
        } => Domain::Float {
            low: *low,
            high: *high,
            scale: *scale,
            step: None,
        },
        Domain::Int {
            low,
            high,
            log,
            step,
        } => {
            if !(*low as f64..=*high as f64).contains(&x) {
                return None;
            }
            let index = ((x - *low as f64) / *step as f64).round() as i64;
            let nearest = low.saturating_add(index.saturating_mul(*step));
            let nearest = if nearest > *high {
                nearest - step
            } else {
                nearest
            };
            let whole = Domain::Int {
                low: *low,
                high: *high,
                log: *log,
                step: *step,
            };
            return whole.unit(&Value::Int(nearest));
        }
        Domain::Law { law, .. } => Domain::Law {
            law: *law,
            step: None,
            whole: false,
        },
        Domain::Categorical { .. } | Domain::Constant(_) => return None,
    };
    smooth.unit(&Value::Float(x))
}

/// What is believed of one parameter, in one of its branches, under a condition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prior {
    /// The parameter's name.
    pub parameter: String,
    /// The index of the branch whose domain it is about.
    pub branch: usize,
    /// It is believed where this holds.
    #[serde(default)]
    pub when: Condition,
    /// What.
    pub belief: Belief,
}

/// All that is believed; of several priors for the same branch the first counts whose condition holds.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Priors(pub Vec<Prior>);

impl Priors {
    /// Whether nothing is believed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is believed of a parameter's branch, in a configuration that has all parameters before it.
    #[must_use]
    pub fn of(&self, parameter: &str, branch: usize, so_far: &Config) -> Option<&Belief> {
        let about = |p: &&Prior| p.parameter == parameter && p.branch == branch;
        let mut priors = self.0.iter().filter(about);
        let prior = priors.find(|prior| prior.when.holds(so_far))?;
        Some(&prior.belief)
    }

    /// The logarithm of the density of a configuration of a space; 0 where nothing is believed.
    #[must_use]
    pub fn log_density(&self, space: &Space, config: &Config) -> f64 {
        let mut sum = 0.0;
        for parameter in &space.parameters {
            let active = parameter.active_branch(config);
            if let (Some(branch), Some(value)) = (active, config.get(&parameter.name))
                && let Some(belief) = self.of(&parameter.name, branch, config)
            {
                sum += belief.log_density(&parameter.branches[branch].domain, value);
            }
        }
        sum
    }

    /// A configuration in which what is believed decides by `choose`, and `otherwise` the rest.
    pub fn build(
        &self,
        space: &Space,
        mut choose: impl FnMut(&Belief, &Domain) -> Value,
        mut otherwise: impl FnMut(&Domain) -> Value,
    ) -> Config {
        space.build(|parameter, branch, domain, so_far| {
            let name = space
                .parameters
                .get(parameter)
                .map_or("", |p| p.name.as_str());
            match self.of(name, branch, so_far) {
                Some(belief) => choose(belief, domain),
                None => otherwise(domain),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::{Branch, Clause, Parameter};

    fn lr() -> Domain {
        Domain::Float {
            low: 1e-5,
            high: 1.0,
            scale: Scale::Log,
            step: None,
        }
    }

    fn whole(low: i64, high: i64, log: bool, step: i64) -> Domain {
        Domain::Int {
            low,
            high,
            log,
            step,
        }
    }

    fn choices() -> Domain {
        Domain::Categorical {
            choices: vec!["sgd".into(), "adam".into(), Value::Null],
            weights: Some(vec![0.5, 0.5, 0.0]),
        }
    }

    /// A density relative to random draws has the mean 1 over them, but for values that are never drawn.
    #[test]
    fn densities_integrate_to_one() {
        let domains = [
            lr(),
            whole(0, 40, false, 1),
            whole(1, 512, true, 1),
            whole(8, 64, false, 8),
        ];
        for domain in domains {
            for confidence in [Confidence::Low, Confidence::Medium, Confidence::High] {
                for guess in [0.0, 0.3, 0.5, 1.0] {
                    let belief = Belief::around(&domain, &domain.at(guess), confidence).unwrap();
                    let n = 20_000;
                    let density = |i: u32| {
                        let u = (f64::from(i) + 0.5) / f64::from(n);
                        belief.log_density(&domain, &domain.at(u)).exp()
                    };
                    let mean = (0..n).map(density).sum::<f64>() / f64::from(n);
                    assert!((mean - 1.0).abs() < 0.02, "{domain:?} {belief:?}: {mean}");
                }
            }
        }
        let belief = Belief::weighted(vec![1.0, 3.0, 0.0]).unwrap();
        let of = |name: &str| belief.log_density(&choices(), &name.into()).exp();
        assert!((0.5 * of("sgd") + 0.5 * of("adam") - 1.0).abs() < 1e-12);
        assert_eq!(belief.log_density(&choices(), &Value::Int(7)), 0.0);
    }

    #[test]
    fn draws_are_around_the_guess_and_in_the_domain() {
        for domain in [lr(), whole(0, 40, false, 2), whole(1, 512, true, 1)] {
            for place in [0.0, 0.4, 1.0] {
                let guess = domain.at(place);
                let belief = Belief::around(&domain, &guess, Confidence::High).unwrap();
                assert!(belief.guess(&domain).same(&guess));
                for i in 0..100 {
                    let drawn = belief.draw(&domain, (f64::from(i) + 0.5) / 100.0);
                    assert!(domain.contains(&drawn));
                    let away = domain.unit(&drawn).unwrap() - domain.unit(&guess).unwrap();
                    assert!(away.abs() < 0.25, "{drawn} is far from {guess}");
                }
            }
        }
        let belief = Belief::around(&choices(), &"adam".into(), Confidence::High).unwrap();
        assert_eq!(belief.guess(&choices()), "adam".into());
        let drawn = |u: f64| belief.draw(&choices(), u);
        assert_eq!(
            [0.0, 0.5, 0.99].map(drawn),
            ["sgd".into(), "adam".into(), "adam".into()],
            "the third is never drawn"
        );
    }

    #[test]
    fn what_cannot_be_believed_is_none() {
        assert_eq!(
            Belief::around(&lr(), &Value::Float(2.0), Confidence::Low),
            None
        );
        assert_eq!(Belief::around(&lr(), &"adam".into(), Confidence::Low), None);
        assert_eq!(
            Belief::around(&choices(), &"lion".into(), Confidence::Low),
            None
        );
        let constant = Domain::Constant(Value::Int(3));
        assert_eq!(
            Belief::around(&constant, &Value::Int(3), Confidence::Low),
            None
        );
        assert_eq!(Belief::weighted(vec![0.0, 0.0]), None);
        assert_eq!(Belief::between(&lr(), 1e-3, 7.0), None);
        let stepped = whole(8, 60, false, 8);
        assert!(Belief::around(&stepped, &Value::Int(60), Confidence::Low).is_some());
    }

    #[test]
    fn eight_of_ten_draws_are_between_the_two() {
        let belief = Belief::between(&lr(), 1e-4, 1e-2).unwrap();
        let inside = |i: &i32| {
            let x = belief
                .draw(&lr(), (f64::from(*i) + 0.5) / 1000.0)
                .as_f64()
                .unwrap();
            (1e-4..=1e-2).contains(&x)
        };
        let count = (0..1000).filter(inside).count();
        assert!((795..=810).contains(&count), "{count}");
    }

    #[test]
    fn conditions_decide_which_belief_counts() {
        let always = |name: &str, domain| Parameter {
            name: name.to_owned(),
            branches: vec![Branch {
                when: Condition::default(),
                domain,
            }],
        };
        let space = Space {
            parameters: vec![always("optimizer", choices()), always("lr", lr())],
        };
        let under = |optimizer: &str, guess: f64| Prior {
            parameter: "lr".to_owned(),
            branch: 0,
            when: Condition(vec![Clause {
                parameter: "optimizer".to_owned(),
                any_of: vec![optimizer.into()],
            }]),
            belief: Belief::around(&lr(), &Value::Float(guess), Confidence::High).unwrap(),
        };
        let priors = Priors(vec![under("sgd", 0.1), under("adam", 1e-3)]);
        let config = |optimizer: &str, lr: f64| -> Config {
            let pairs = [
                ("optimizer", Value::from(optimizer)),
                ("lr", Value::Float(lr)),
            ];
            pairs.into_iter().collect()
        };
        let of = |optimizer: &str, lr: f64| priors.log_density(&space, &config(optimizer, lr));
        assert!(of("sgd", 0.1) > 1.0 && of("adam", 1e-3) > 1.0);
        assert!((of("sgd", 1e-3) - DOUBT.ln()).abs() < 1e-6);
        let guess = |u: f64| priors.build(&space, Belief::guess, |domain| domain.at(u));
        assert!((guess(0.1).number("lr").unwrap() - 0.1).abs() < 1e-9);
        assert!((guess(0.9).number("lr").unwrap() - 1e-3).abs() < 1e-9);
        let json = serde_json::to_string(&priors).unwrap();
        assert_eq!(serde_json::from_str::<Priors>(&json).unwrap(), priors);
    }

    #[test]
    fn what_is_never_drawn_is_not_drawn_from_a_belief_either() {
        let domain = choices();
        let usual = Confidence::Medium;
        let beliefs = [
            Belief::around(&domain, &"adam".into(), usual),
            Belief::around(&domain, &Value::Null, usual),
            Belief::weighted(vec![0.0, 0.0, 1.0]),
        ];
        for belief in beliefs.into_iter().flatten() {
            for i in 0..1000 {
                let drawn = belief.draw(&domain, f64::from(i) / 1000.0);
                assert_ne!(drawn, Value::Null, "{belief:?}");
            }
        }
        let adam = Belief::around(&domain, &"adam".into(), usual).unwrap();
        let is_adam = |i: &i32| adam.draw(&domain, f64::from(*i) / 1000.0) == "adam".into();
        assert_eq!((0..1000).filter(is_adam).count(), 800, "four to one");
    }
}
