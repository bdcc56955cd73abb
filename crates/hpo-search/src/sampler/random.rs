//! Random search: independent draws, evenly over each domain's scale.
//!
//! Bergstra & Bengio, "Random search for hyper-parameter optimization", JMLR 13, 2012. Every active
//! parameter is drawn on its own: `domain.at(u)` with `u` uniform in `[0, 1)`.

use rand::Rng as _;

use hpo_study::{Config, History};

use crate::{Rng, Sampler};

/// Independent draws.
pub(crate) struct Random;

impl Sampler for Random {
    fn suggest(&self, history: &History, rng: &mut Rng) -> Option<Config> {
        let space = &history.spec().space;
        Some(space.build(|_, _, domain, _| domain.at(rng.random())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::{Log, always, float, space, spec};
    use hpo_study::{Domain, EarlyTerminate, Method, Scale, Value};

    fn suggestions(log: &mut Log, count: usize) -> Vec<Config> {
        (0..count)
            .map(|_| log.suggest().expect("random never runs out"))
            .collect()
    }

    #[test]
    fn draws_are_even_on_the_scale() {
        let domain = Domain::Float {
            low: 1e-4,
            high: 1.0,
            scale: Scale::Log,
            step: None,
        };
        let space = space([always("lr", domain), always("u", float(0.0, 1.0))]);
        let mut log = Log::new(spec(space, Method::Random, EarlyTerminate::None));
        let configs = suggestions(&mut log, 4000);
        let mut decades = [0; 4];
        let mut mean = 0.0;
        for config in &configs {
            let exponent = config.number("lr").unwrap().log10() + 4.0;
            decades[(exponent as usize).min(3)] += 1;
            mean += config.number("u").unwrap() / configs.len() as f64;
        }
        // 1000 are expected in each, with a standard deviation of 27.
        assert!(
            decades.iter().all(|n| (860..1140).contains(n)),
            "{decades:?}"
        );
        // 1/2, with a standard deviation of sqrt(1/12/4000) = 0.0046.
        assert!((mean - 0.5).abs() < 0.023, "{mean}");
    }

    #[test]
    fn weights_are_heeded() {
        let domain = Domain::Categorical {
            choices: vec!["rare".into(), "never".into(), "often".into()],
            weights: Some(vec![0.25, 0.0, 0.75]),
        };
        let space = space([always("c", domain), always("u", float(0.0, 1.0))]);
        let mut log = Log::new(spec(space, Method::Random, EarlyTerminate::None));
        let configs = suggestions(&mut log, 2000);
        let count = |word: &str| {
            configs
                .iter()
                .filter(|c| c.get("c") == Some(&Value::from(word)))
                .count()
        };
        assert_eq!(count("never"), 0);
        // 500 with a standard deviation of 19.
        assert!((400..600).contains(&count("rare")), "{}", count("rare"));
    }
}
