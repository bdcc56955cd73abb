//! Configurations as points: what samplers that learn from earlier trials compute with.

use std::borrow::Cow;

use rand::Rng as _;

use hpo_study::{Branch, Clause, Config, Domain, Parameter, Space, Value};

use crate::Rng;

/// A value's place: the branch that is active, and where in its domain the value lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Cell {
    /// The index of the parameter's active branch.
    pub(crate) branch: u16,
    /// For a number its place in the unit interval ([`Domain::unit`]); for a choice its index.
    pub(crate) place: f64,
}

/// A configuration as coordinates, one per parameter: `None` where the parameter is not active, or
/// has only one value there.
pub(crate) type Point = Vec<Option<Cell>>;

/// A configuration and its point.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) config: Config,
    pub(crate) point: Point,
}

/// A candidate whose configuration nobody may need: most are only compared with others. Its values stand in the
/// order of the space's parameters, those of choices where they stand in the space.
#[derive(Clone)]
pub(crate) struct Draft<'a> {
    values: Vec<Option<Cow<'a, Value>>>,
    pub(crate) point: Point,
}

impl Draft<'_> {
    /// The same with its configuration, in the space it was drawn from.
    pub(crate) fn candidate(self, space: &Space) -> Candidate {
        let mut config = Config::new();
        for (parameter, value) in space.parameters.iter().zip(self.values) {
            if let Some(value) = value {
                config.set(parameter.name.clone(), value.into_owned());
            }
        }
        Candidate {
            config,
            point: self.point,
        }
    }
}

impl Candidate {
    /// The same as a draft.
    pub(crate) fn draft(self, space: &Space) -> Draft<'static> {
        let Self { mut config, point } = self;
        let value = |p: &Parameter| config.remove(&p.name).map(Cow::Owned);
        Draft {
            values: space.parameters.iter().map(value).collect(),
            point,
        }
    }
}

/// The candidate with the highest score, the last of those that have it; `None`: there is none.
pub(crate) fn highest<T>(mut candidates: Vec<T>, scores: &[f64]) -> Option<T> {
    let ranked = scores.iter().enumerate();
    let (best, _) = ranked.max_by(|a, b| a.1.total_cmp(b.1))?;
    (best < candidates.len()).then(|| candidates.swap_remove(best))
}

/// What is drawn in one branch of a parameter.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    /// There is only one value.
    Fixed,
    /// A number; with `cells` when it has that many values, evenly spread, each in a cell of the
    /// same width.
    Number { cells: Option<usize> },
    /// A choice, with the share that each has at random.
    Choice { shares: Vec<f64> },
}

impl Kind {
    fn of(domain: &Domain) -> Self {
        match domain {
            Domain::Constant(_) => Self::Fixed,
            _ if domain.cardinality() == Some(1) => Self::Fixed,
            Domain::Float { .. } | Domain::Int { log: true, .. } | Domain::Law { .. } => {
                Self::Number { cells: None }
            }
            Domain::Int { .. } => Self::Number {
                cells: domain.cardinality().and_then(|n| usize::try_from(n).ok()),
            },
            Domain::Categorical { choices, weights } => {
                let even = 1.0 / choices.len() as f64;
                let shares = weights.clone().unwrap_or_else(|| vec![even; choices.len()]);
                Self::Choice { shares }
            }
        }
    }
}

/// The kinds of all branches of all parameters of a space.
pub(crate) struct Encoding {
    kinds: Vec<Vec<Kind>>,
    /// For each parameter and branch, the parameters that the clauses of its condition look at.
    looks_at: Vec<Vec<Vec<usize>>>,
}

impl Encoding {
    pub(crate) fn new(space: &Space) -> Self {
        let of = |p: &Parameter| p.branches.iter().map(|b| Kind::of(&b.domain)).collect();
        let named = |clause: &Clause| {
            let mut parameters = space.parameters.iter();
            let found = parameters.position(|p| p.name == clause.parameter);
            found.unwrap_or(usize::MAX)
        };
        let looks_at = |b: &Branch| b.when.0.iter().map(named).collect();
        let all_look_at = |p: &Parameter| p.branches.iter().map(looks_at).collect();
        Self {
            kinds: space.parameters.iter().map(of).collect(),
            looks_at: space.parameters.iter().map(all_look_at).collect(),
        }
    }

    /// The kinds of a parameter's branches.
    pub(crate) fn branches(&self, parameter: usize) -> &[Kind] {
        &self.kinds[parameter]
    }

    /// How many parameters there are.
    pub(crate) fn len(&self) -> usize {
        self.kinds.len()
    }

    fn cell(
        &self,
        parameter: usize,
        branch: usize,
        domain: &Domain,
        value: &Value,
    ) -> Option<Cell> {
        let place = match (&self.kinds[parameter][branch], domain) {
            (Kind::Fixed, _) => return None,
            (Kind::Number { .. }, _) => domain.unit(value)?,
            (Kind::Choice { .. }, Domain::Categorical { choices, .. }) => {
                choices.iter().position(|choice| choice.same(value))? as f64
            }
            (Kind::Choice { .. }, _) => return None,
        };
        Some(Cell {
            branch: u16::try_from(branch).ok()?,
            place,
        })
    }

    /// The point of a configuration; what is not of the space has no part in it.
    pub(crate) fn point(&self, space: &Space, config: &Config) -> Point {
        let cell = |(i, parameter): (usize, &Parameter)| {
            let branch = parameter.active_branch(config)?;
            let value = config.get(&parameter.name)?;
            self.cell(i, branch, &parameter.branches[branch].domain, value)
        };
        space.parameters.iter().enumerate().map(cell).collect()
    }

    /// Builds a configuration by asking `choose` for the place of each active parameter that has more
    /// than one value, given its index, its branch and the domain. `None`: drawn at random.
    pub(crate) fn build(
        &self,
        space: &Space,
        rng: &mut Rng,
        choose: impl FnMut(&mut Rng, usize, u16, &Domain) -> Option<f64>,
    ) -> Candidate {
        self.draft(space, rng, choose).candidate(space)
    }

    /// The same as a draft.
    pub(crate) fn draft<'a>(
        &self,
        space: &'a Space,
        rng: &mut Rng,
        mut choose: impl FnMut(&mut Rng, usize, u16, &Domain) -> Option<f64>,
    ) -> Draft<'a> {
        let mut point = vec![None; self.len()];
        let mut values = Vec::with_capacity(self.len());
        for (parameter, of) in space.parameters.iter().enumerate() {
            let Some(branch) = self.active_branch(parameter, of, &values) else {
                values.push(None);
                continue;
            };
            let domain = &of.branches[branch].domain;
            let value = match self.kinds[parameter][branch] {
                Kind::Fixed => Cow::Owned(domain.at(0.5)),
                _ => {
                    let number = u16::try_from(branch).unwrap_or(u16::MAX);
                    let place = choose(rng, parameter, number, domain);
                    value_at(domain, place.filter(|p| may_be(domain, *p)), rng)
                }
            };
            point[parameter] = self.cell(parameter, branch, domain, &value);
            values.push(Some(value));
        }
        Draft { values, point }
    }

    /// The branch of a parameter that is active with the values of those before it.
    fn active_branch(
        &self,
        parameter: usize,
        of: &Parameter,
        values: &[Option<Cow<'_, Value>>],
    ) -> Option<usize> {
        let holds = |(clause, looks_at): (&Clause, &usize)| {
            let value = values.get(*looks_at).and_then(Option::as_deref);
            value.is_some_and(|value| clause.any_of.iter().any(|v| v.same(value)))
        };
        let mut conditions = of.branches.iter().zip(&self.looks_at[parameter]);
        conditions.position(|(branch, looks_at)| branch.when.0.iter().zip(looks_at).all(holds))
    }

    /// A configuration drawn at random.
    pub(crate) fn random(&self, space: &Space, rng: &mut Rng) -> Candidate {
        self.build(space, rng, |_, _, _, _| None)
    }
}

/// Whether a place may be proposed: a choice of probability 0 is never drawn, nor come by in another way.
fn may_be(domain: &Domain, place: f64) -> bool {
    let Domain::Categorical {
        weights: Some(weights),
        ..
    } = domain
    else {
        return true;
    };
    weights
        .get(place as usize)
        .is_none_or(|weight| *weight > 0.0)
}

/// The value at a place, for a choice its index; `None`: drawn at random.
fn value_at<'a>(domain: &'a Domain, place: Option<f64>, rng: &mut Rng) -> Cow<'a, Value> {
    match (place, domain) {
        (None, _) => Cow::Owned(domain.at(rng.random())),
        (Some(place), Domain::Categorical { choices, .. }) => match choices.get(place as usize) {
            Some(choice) => Cow::Borrowed(choice),
            None => Cow::Owned(domain.at(rng.random())),
        },
        (Some(place), _) => Cow::Owned(domain.at(place)),
    }
}

/// Numbers that two points share only when they are equal.
pub(crate) fn fingerprint(point: &Point) -> Vec<u64> {
    let mut words = Vec::with_capacity(point.len());
    for cell in point {
        match cell {
            None => words.push(u64::MAX),
            Some(cell) => words.push(cell.place.to_bits() ^ (u64::from(cell.branch) << 48)),
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::{always, categorical, float, space, when};
    use crate::stream;

    fn conditional() -> Space {
        let whole = Domain::Int {
            low: 1,
            high: 4,
            log: false,
            step: 1,
        };
        space([
            always("optimizer", categorical(["sgd", "adam"])),
            when("momentum", "optimizer", "sgd", float(0.0, 1.0)),
            always("batch", whole),
            always("seed", Domain::Constant(Value::Int(3))),
        ])
    }

    #[test]
    fn a_point_has_a_cell_for_what_is_active_and_can_vary() {
        let space = conditional();
        let encoding = Encoding::new(&space);
        let pairs = [("optimizer", Value::from("adam")), ("batch", Value::Int(2))];
        let mut config: Config = pairs.into_iter().collect();
        config.set("seed", 3_i64);
        let at = |place| Some(Cell { branch: 0, place });
        assert_eq!(
            encoding.point(&space, &config),
            [at(1.0), None, at(0.375), None]
        );
        assert_eq!(encoding.branches(2), [Kind::Number { cells: Some(4) }]);
    }

    #[test]
    fn what_is_built_lies_in_the_space_and_its_point_is_the_configurations() {
        let space = conditional();
        let encoding = Encoding::new(&space);
        let mut rng = stream(5);
        let mut fingerprints = std::collections::HashSet::new();
        for _ in 0..200 {
            let candidate = encoding.random(&space, &mut rng);
            space.check(&candidate.config).unwrap();
            assert_eq!(candidate.point, encoding.point(&space, &candidate.config));
            fingerprints.insert(fingerprint(&candidate.point));
        }
        // 4 batches with adam, and a new momentum each time with sgd.
        assert!(
            (70..140).contains(&fingerprints.len()),
            "{}",
            fingerprints.len()
        );
        let chosen = encoding.build(&space, &mut rng, |_, _, _, domain| {
            Some(if matches!(domain, Domain::Categorical { .. }) {
                0.0
            } else {
                0.9
            })
        });
        assert_eq!(chosen.config.text("optimizer"), Some("sgd"));
        assert_eq!(chosen.config.number("momentum"), Some(0.9));
        assert_eq!(chosen.config.number("batch"), Some(4.0));
    }
}
