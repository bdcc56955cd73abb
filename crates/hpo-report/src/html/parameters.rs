//! What the parameters of a study are, as the plots need to know it.

use hpo_study::{Domain, History, Parameter, Scale};
use serde::Serialize;

use super::data::{self, Json};

/// A parameter that is searched: one with a single value is left out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ParameterFacts {
    /// Its name.
    pub name: String,
    /// `number` or `choice`.
    pub kind: &'static str,
    /// How numbers are measured out: `linear`, `log` or `one_minus_log` (evenly in the logarithm of
    /// 1 − value). `linear` for a choice.
    pub scale: &'static str,
    /// The smallest and the largest number, over all branches; null for a choice.
    pub range: Option<[Json; 2]>,
    /// The values of a choice in order, over all branches; empty for a number.
    pub choices: Vec<Json>,
    /// Whether it exists only with some values of others, or has another range with them.
    pub conditional: bool,
}

/// The parameters that are searched.
pub(super) fn facts(history: &History) -> Vec<ParameterFacts> {
    let parameters = &history.spec().space.parameters;
    parameters.iter().filter_map(fact).collect()
}

fn fact(parameter: &Parameter) -> Option<ParameterFacts> {
    let domains = || parameter.branches.iter().map(|b| &b.domain);
    let searched = domains().any(|d| d.cardinality() != Some(1));
    if !searched && domains().count() < 2 {
        return None;
    }
    let conditional = parameter.branches.iter().any(|b| !b.when.0.is_empty());
    let is_choice = domains().any(|d| match d {
        Domain::Categorical { .. } => true,
        Domain::Constant(value) => value.as_f64().is_none(),
        _ => false,
    });
    let mut fact = ParameterFacts {
        name: parameter.name.clone(),
        kind: "choice",
        scale: "linear",
        range: None,
        choices: Vec::new(),
        conditional,
    };
    if is_choice {
        for value in domains().filter_map(|d| d.values(200)).flatten() {
            let value = data::value(&value);
            if !fact.choices.contains(&value) {
                fact.choices.push(value);
            }
        }
        return Some(fact);
    }
    let bounds = domains().filter_map(bounds);
    let (low, high) = bounds.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))?;
    fact.kind = "number";
    fact.range = Some([data::number(low), data::number(high)]);
    fact.scale = domains().find_map(scale).unwrap_or("linear");
    Some(fact)
}

fn bounds(domain: &Domain) -> Option<(f64, f64)> {
    match domain {
        Domain::Float { low, high, .. } => Some((*low, *high)),
        Domain::Int { low, high, .. } => Some((*low as f64, *high as f64)),
        Domain::Law { law, .. } => Some((law.quantile(0.0), law.quantile(1.0))),
        Domain::Constant(value) => value.as_f64().map(|x| (x, x)),
        Domain::Categorical { .. } => None,
    }
}

/// `None` for a constant, which fits any.
fn scale(domain: &Domain) -> Option<&'static str> {
    match domain {
        Domain::Float { scale, .. } => Some(match scale {
            Scale::Linear => "linear",
            Scale::Log => "log",
            Scale::OneMinusLog => "one_minus_log",
        }),
        Domain::Law {
            law: hpo_study::Law::LogNormal { .. },
            step: None,
            ..
        } => Some("log"),
        Domain::Law { .. } => Some("linear"),
        Domain::Int { log, .. } => Some(if *log { "log" } else { "linear" }),
        _ => None,
    }
}
