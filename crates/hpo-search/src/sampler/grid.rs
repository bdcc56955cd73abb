//! Grid search: every combination once, in order.

use std::collections::HashSet;

use hpo_study::{Config, Event, EventKind, History, Space, Value};

use super::key;
use super::observations::is_prior_only;
use crate::{Rng, Sampler};

/// A domain of more values than this is not laid out.
const MOST_VALUES: u64 = 1_000_000;

/// Every combination of values once, in the order of the space: the last parameter changes fastest.
/// Parameters that are not active in a combination have no part in it, so none comes twice. After
/// the last combination there is nothing left.
///
/// A domain without countable values, or of more than a million, contributes the value in its middle
/// only; such a study file is refused beforehand. Weights of choices are not heeded.
///
/// A combination that some trial has had already, from wherever, is passed over.
pub(crate) struct Grid {
    space: Space,
    /// For each parameter and branch, its values.
    values: Vec<Vec<Vec<Value>>>,
    /// The first combination not tried yet, as an index into the active branch's values for each
    /// parameter (0 where it is not active); `None` after the last.
    next: Option<Vec<usize>>,
    /// What was tried of what comes after it.
    tried: HashSet<String>,
}

impl Grid {
    pub(crate) fn new(space: &Space) -> Self {
        let values = space
            .parameters
            .iter()
            .map(|parameter| {
                let lay_out = |branch: &hpo_study::Branch| {
                    let domain = &branch.domain;
                    domain
                        .values(MOST_VALUES)
                        .unwrap_or_else(|| vec![domain.at(0.5)])
                };
                parameter.branches.iter().map(lay_out).collect()
            })
            .collect();
        let next = Some(vec![0; space.parameters.len()]);
        Self {
            space: space.clone(),
            values,
            next,
            tried: HashSet::new(),
        }
    }

    fn config(&self, indices: &[usize]) -> Config {
        self.space.build(|parameter, branch, domain, _| {
            let value = self.values[parameter][branch].get(indices[parameter]);
            value.cloned().unwrap_or_else(|| domain.at(0.5))
        })
    }

    /// The combination after this one: the last active parameter that has a further value takes it,
    /// and all after it begin anew.
    fn after(&self, indices: &[usize]) -> Option<Vec<usize>> {
        let config = self.config(indices);
        let has_more = |i: &usize| {
            let branch = self.space.parameters[*i].active_branch(&config);
            branch.is_some_and(|b| indices[*i] + 1 < self.values[*i][b].len())
        };
        let last = (0..indices.len()).rev().find(has_more)?;
        let mut next = indices.to_vec();
        next[last] += 1;
        next[last + 1..].fill(0);
        Some(next)
    }
}

/// All combinations of a space, in the order of a grid.
pub(super) struct Combinations {
    grid: Grid,
    next: Option<Vec<usize>>,
}

impl Combinations {
    /// Of a space that has countable values only.
    pub(super) fn of(space: &Space) -> Self {
        let grid = Grid::new(space);
        let next = grid.next.clone();
        Self { grid, next }
    }
}

impl Iterator for Combinations {
    type Item = Config;

    fn next(&mut self) -> Option<Config> {
        let indices = self.next.take()?;
        self.next = self.grid.after(&indices);
        Some(self.grid.config(&indices))
    }
}

impl Sampler for Grid {
    fn suggest(&self, _history: &History, _rng: &mut Rng) -> Option<Config> {
        self.next.as_deref().map(|indices| self.config(indices))
    }

    fn observe(&mut self, history: &History, event: &Event) {
        let EventKind::TrialSuggested { trial, config, .. } = &event.kind else {
            return;
        };
        if is_prior_only(history, *trial) {
            return;
        }
        self.tried.insert(key(config));
        while let Some(indices) = &self.next {
            if !self.tried.remove(&key(&self.config(indices))) {
                break;
            }
            self.next = self.after(indices);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::{Log, always, categorical, float, space, spec, when};
    use hpo_study::{Domain, EarlyTerminate, Method};

    fn conditional() -> Space {
        let int = |low, high| Domain::Int {
            low,
            high,
            log: false,
            step: 1,
        };
        space([
            always("optimizer", categorical(["sgd", "adam"])),
            when("momentum", "optimizer", "sgd", int(1, 3)),
            always("batch", int(1, 2)),
        ])
    }

    fn all(log: &mut Log) -> Vec<String> {
        std::iter::from_fn(|| log.suggest())
            .map(|c| c.to_string())
            .collect()
    }

    #[test]
    fn every_active_combination_comes_once_and_in_order() {
        let mut log = Log::new(spec(conditional(), Method::Grid, EarlyTerminate::None));
        assert_eq!(
            all(&mut log),
            [
                "batch=1 momentum=1 optimizer=sgd",
                "batch=2 momentum=1 optimizer=sgd",
                "batch=1 momentum=2 optimizer=sgd",
                "batch=2 momentum=2 optimizer=sgd",
                "batch=1 momentum=3 optimizer=sgd",
                "batch=2 momentum=3 optimizer=sgd",
                "batch=1 optimizer=adam",
                "batch=2 optimizer=adam",
            ]
        );
        assert!(log.suggest().is_none(), "and it stays at its end");
    }

    #[test]
    fn what_somebody_tried_before_is_passed_over() {
        let mut log = Log::new(spec(conditional(), Method::Grid, EarlyTerminate::None));
        let pairs = [("batch", Value::Int(2)), ("optimizer", "adam".into())];
        log.start(pairs.into_iter().collect(), 0, None);
        let rest = all(&mut log);
        assert_eq!(rest.len(), 7);
        assert_eq!(
            rest.last().map(String::as_str),
            Some("batch=1 optimizer=adam")
        );
    }

    #[test]
    fn a_continuous_domain_gives_its_middle_and_an_empty_space_one_combination() {
        let space_of_one = space([always("x", float(0.0, 3.0))]);
        let mut log = Log::new(spec(space_of_one, Method::Grid, EarlyTerminate::None));
        assert_eq!(all(&mut log), ["x=1.5"]);
        let mut log = Log::new(spec(Space::default(), Method::Grid, EarlyTerminate::None));
        assert_eq!(all(&mut log), [""]);
    }
}
