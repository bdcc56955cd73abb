//! No configuration twice, whatever the sampler: neither one that a trial has had, nor one that was enqueued or
//! imported. When every configuration of a finite space was tried, there is nothing left to propose.

use std::collections::HashSet;

use rand::Rng as _;

use hpo_study::plan::{GridSize, grid_size};
use hpo_study::{Config, Domain, Event, EventKind, History, Method, Space, StudySpec, Value};

use super::encoding::{Encoding, Point, fingerprint};
use super::grid::Combinations;
use super::observations::{ImportsSeen, is_prior_only};
use crate::{Rng, Sampler};

/// Spaces of more configurations are not gone through one by one.
const MOST: u64 = 50_000;
/// How often the sampler is asked again, and then chance.
const AGAIN: usize = 2;
const DRAWS: usize = 64;

/// A sampler that repeats nothing.
///
/// A space of a single configuration is never exhausted: who wants it run so many times has said so.
pub(crate) struct Unique {
    inner: Box<dyn Sampler>,
    encoding: Encoding,
    /// The space without choices that are never drawn.
    space: Space,
    /// How many configurations there are, where they can be gone through.
    all: Option<u64>,
    tried: HashSet<Vec<u64>>,
    allowed: bool,
    imports: ImportsSeen,
}

impl Unique {
    /// A grid does it by itself.
    pub(crate) fn around(inner: Box<dyn Sampler>, spec: &StudySpec) -> Box<dyn Sampler> {
        if spec.method == Method::Grid {
            return inner;
        }
        let space = drawable(&spec.space);
        let all = match grid_size(&space, MOST) {
            GridSize::Points(points) => Some(points),
            GridSize::MoreThan(_) | GridSize::Uncountable => None,
        };
        Box::new(Self {
            inner,
            encoding: Encoding::new(&spec.space),
            space,
            all,
            tried: HashSet::new(),
            allowed: spec.allow_duplicates,
            imports: ImportsSeen::default(),
        })
    }

    fn point(&self, history: &History, config: &Config) -> Point {
        self.encoding.point(&history.spec().space, config)
    }

    /// What is imported and doubted has not been tried here.
    fn weigh_imports(&mut self, history: &History) {
        let trials = history.trials().iter();
        let tried = trials.filter(|t| !is_prior_only(history, t.id));
        let tried = tried.map(|t| fingerprint(&self.point(history, &t.config)));
        self.tried = tried.collect();
    }

    fn is_new(&self, history: &History, config: &Config) -> bool {
        !self
            .tried
            .contains(&fingerprint(&self.point(history, config)))
    }

    /// Any configuration that was not tried, all alike; `None`: there is none.
    fn rest(&self, history: &History, rng: &mut Rng) -> Option<Config> {
        let is_new = |config: &Config| self.is_new(history, config);
        let left = Combinations::of(&self.space).filter(is_new).count();
        let chosen = rng.random_range(0..left.max(1));
        Combinations::of(&self.space).filter(is_new).nth(chosen)
    }
}

/// The space without choices of probability 0.
fn drawable(space: &Space) -> Space {
    let mut space = space.clone();
    for branch in space.parameters.iter_mut().flat_map(|p| &mut p.branches) {
        if let Domain::Categorical {
            choices,
            weights: Some(weights),
        } = &mut branch.domain
        {
            let is_drawn = |(_, weight): &(&Value, &f64)| **weight > 0.0;
            let kept = choices.iter().zip(&*weights).filter(is_drawn);
            let kept: Vec<Value> = kept.map(|(choice, _)| choice.clone()).collect();
            weights.retain(|weight| *weight > 0.0);
            *choices = kept;
        }
    }
    space
}

impl Sampler for Unique {
    fn suggest(&self, history: &History, rng: &mut Rng) -> Option<Config> {
        let first = self.inner.suggest(history, rng)?;
        if self.allowed || self.all == Some(1) || self.is_new(history, &first) {
            return Some(first);
        }
        let again = std::iter::repeat_with(|| self.inner.suggest(history, rng));
        let again = again.take(AGAIN).flatten();
        if let Some(config) = { again }.find(|config| self.is_new(history, config)) {
            return Some(config);
        }
        for _ in 0..DRAWS {
            let space = &history.spec().space;
            let config = space.build(|_, _, domain, _| domain.at(rng.random()));
            if self.is_new(history, &config) {
                return Some(config);
            }
        }
        match self.all {
            Some(_) => self.rest(history, rng),
            None => Some(first),
        }
    }

    fn observe(&mut self, history: &History, event: &Event) {
        if self.imports.have_turned(history) {
            self.weigh_imports(history);
        }
        match &event.kind {
            EventKind::TrialSuggested { trial, config, .. } if !is_prior_only(history, *trial) => {
                let point = self.point(history, config);
                self.tried.insert(fingerprint(&point));
            }
            EventKind::SpecChanged { .. } => self.allowed = history.spec().allow_duplicates,
            _ => {}
        }
        self.inner.observe(history, event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::{Log, always, categorical, float, space, spec, when};
    use hpo_study::{AttemptEnd, EarlyTerminate, Rungs, TrialId};

    const METHODS: [Method; 8] = [
        Method::Random,
        Method::Sobol,
        Method::Tpe,
        Method::Gp,
        Method::Bohb,
        Method::Dehb,
        Method::Cmaes,
        Method::Bayes,
    ];

    fn whole(low: i64, high: i64) -> Domain {
        Domain::Int {
            low,
            high,
            log: false,
            step: 1,
        }
    }

    /// 3 × 2 with sgd, 2 without; one choice is never drawn.
    fn small() -> Space {
        let optimizers = Domain::Categorical {
            choices: ["sgd", "adam", "never"].map(Value::from).into(),
            weights: Some(vec![0.9, 0.1, 0.0]),
        };
        space([
            always("optimizer", optimizers),
            when("momentum", "optimizer", "sgd", whole(1, 3)),
            always("batch", whole(1, 2)),
        ])
    }

    fn study(space: Space, method: Method) -> StudySpec {
        let rule = match method {
            Method::Bohb | Method::Dehb => EarlyTerminate::Hyperband(Rungs {
                min_iter: 1,
                max_iter: 9,
                eta: 3,
            }),
            _ => EarlyTerminate::None,
        };
        spec(space, method, rule)
    }

    #[test]
    fn every_configuration_comes_once_and_then_none_whatever_the_method() {
        for method in METHODS {
            let mut log = Log::new(study(small(), method));
            // One that somebody wished, spelled otherwise than the domain does, and all others in flight at once.
            let wished = [
                ("optimizer", Value::from("adam")),
                ("batch", Value::Float(2.0)),
            ];
            log.start(wished.into_iter().collect(), 0, None);
            let configs: Vec<String> = std::iter::from_fn(|| log.suggest())
                .map(|c| c.to_string())
                .take(20)
                .collect();
            let distinct: HashSet<&String> = configs.iter().collect();
            assert_eq!(
                (configs.len(), distinct.len()),
                (7, 7),
                "{method:?}: {configs:?}"
            );
            assert!(!configs.iter().any(|c| c.contains("never")), "{method:?}");
            assert_eq!(log.suggest(), None, "{method:?}");
        }
    }

    /// Also where a model thinks well of it, or somebody has tried it: that is his wish, and not the study's.
    #[test]
    fn a_choice_of_probability_0_is_never_proposed() {
        let choices = Domain::Categorical {
            choices: ["a", "b", "never"].map(Value::from).into(),
            weights: Some(vec![0.5, 0.5, 0.0]),
        };
        let space = space([always("c", choices), always("x", float(0.0, 1.0))]);
        for method in METHODS.into_iter().chain([Method::Nsga2]) {
            let mut log = Log::new(study(space.clone(), method));
            for i in 0..60 {
                let wished = [("c", Value::from("never")), ("x", Value::Float(0.5))];
                let trial = if i == 0 {
                    log.start(wished.into_iter().collect(), 0, Some(1))
                } else {
                    let config = log.suggest_for(0, Some(1)).unwrap();
                    assert_ne!(config.text("c"), Some("never"), "{method:?}, trial {i}");
                    log.launch(TrialId(i), Some(1));
                    TrialId(i)
                };
                let config = log.trial(trial).config.clone();
                let loss = if config.text("c") == Some("never") {
                    0.0
                } else {
                    1.0
                };
                log.report(trial, 1, loss + config.number("x").unwrap());
                log.end(
                    trial,
                    AttemptEnd::Exited {
                        code: 0,
                        stderr: String::new(),
                    },
                );
                log.complete(trial);
            }
        }
    }

    #[test]
    fn who_allows_duplicates_gets_them() {
        for method in METHODS {
            let mut study = study(small(), method);
            study.allow_duplicates = true;
            let mut log = Log::new(study);
            assert!((0..20).all(|_| log.suggest().is_some()), "{method:?}");
        }
    }

    #[test]
    fn a_single_configuration_is_run_as_often_as_asked() {
        let one = space([always("optimizer", categorical(["adam"]))]);
        for method in METHODS {
            let mut log = Log::new(study(one.clone(), method));
            assert!((0..5).all(|_| log.suggest().is_some()), "{method:?}");
        }
    }

    /// The branch without a number has a single configuration, drawn nine times out of ten.
    #[test]
    fn a_branch_of_one_configuration_comes_once() {
        let optimizers = Domain::Categorical {
            choices: ["none", "sgd"].map(Value::from).into(),
            weights: Some(vec![0.9, 0.1]),
        };
        let space = space([
            always("optimizer", optimizers),
            when("lr", "optimizer", "sgd", float(0.0, 1.0)),
        ]);
        for method in METHODS {
            let mut log = Log::new(study(space.clone(), method));
            let all: Vec<Config> = (0..30).map(|_| log.suggest().unwrap()).collect();
            let none = all.iter().filter(|c| c.text("optimizer") == Some("none"));
            assert_eq!(none.count(), 1, "{method:?}");
        }
    }
}
