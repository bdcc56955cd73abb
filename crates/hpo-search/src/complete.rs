//! A whole configuration from some of its values.

use rand::Rng as _;

use hpo_study::{Config, Space};

use crate::Rng;

/// How often the missing values are drawn until all fixed ones have a part in the configuration. A
/// parameter that exists under one choice of ten is found with certainty for all practical purposes.
const DRAWS: usize = 4096;

/// A configuration that has the fixed values, each of which must be in a domain of its parameter; the
/// others are drawn at random. `None` when no draw let all fixed values be active at once.
#[must_use]
pub fn complete(space: &Space, fixed: &Config, rng: &mut Rng) -> Option<Config> {
    for _ in 0..DRAWS {
        let config = space.build(|parameter, _, domain, _| {
            let drawn = domain.at(rng.random());
            let wished = space
                .parameters
                .get(parameter)
                .and_then(|p| fixed.get(&p.name))
                .filter(|value| domain.contains(value));
            wished.cloned().unwrap_or(drawn)
        });
        let has = |name: &String| {
            config
                .get(name)
                .is_some_and(|v| fixed.get(name).is_some_and(|f| v.same(f)))
        };
        if fixed.iter().all(|(name, _)| has(name)) {
            return Some(config);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::{always, categorical, float, space};
    use hpo_study::{Branch, Clause, Condition, Domain, Parameter, Value};

    #[test]
    fn missing_values_are_drawn_so_that_the_given_ones_are_active() {
        let mut space = space([
            always("optimizer", categorical(["sgd", "momentum", "adam"])),
            always("lr", float(0.1, 1.0)),
        ]);
        space.parameters.push(Parameter {
            name: "momentum".into(),
            branches: vec![Branch {
                when: Condition(vec![Clause {
                    parameter: "optimizer".into(),
                    any_of: vec!["momentum".into()],
                }]),
                domain: Domain::Constant(Value::Float(0.9)),
            }],
        });
        let fixed: Config = [("momentum", Value::Float(0.9))].into_iter().collect();
        let config = complete(&space, &fixed, &mut crate::stream(1)).unwrap();
        assert_eq!(config.text("optimizer"), Some("momentum"));
        assert!(space.check(&config).is_ok());
        let clash: Config = [
            ("momentum", Value::Float(0.9)),
            ("optimizer", Value::from("adam")),
        ]
        .into_iter()
        .collect();
        assert_eq!(complete(&space, &clash, &mut crate::stream(1)), None);
    }
}
