//! Configurations as points: what samplers that learn from earlier trials compute with.

use rand::Rng as _;

use hpo_study::{Config, Domain, Parameter, Space, Value};

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

/// The candidate with the highest score, the last of those that have it; `None`: there is none.
pub(crate) fn highest(mut candidates: Vec<Candidate>, scores: &[f64]) -> Option<Candidate> {
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
}

impl Encoding {
    pub(crate) fn new(space: &Space) -> Self {
        let of = |p: &Parameter| p.branches.iter().map(|b| Kind::of(&b.domain)).collect();
        Self {
            kinds: space.parameters.iter().map(of).collect(),
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
        mut choose: impl FnMut(&mut Rng, usize, u16, &Domain) -> Option<f64>,
    ) -> Candidate {
        let mut point = vec![None; self.len()];
        let config = space.build(|parameter, branch, domain, _| {
            if self.kinds[parameter][branch] == Kind::Fixed {
                return domain.at(0.5);
            }
            let number = u16::try_from(branch).unwrap_or(u16::MAX);
            let place = choose(rng, parameter, number, domain);
            let value = match (place, domain) {
                (None, _) => domain.at(rng.random()),
                (Some(place), Domain::Categorical { choices, .. }) => {
                    let choice = choices.get(place as usize);
                    choice.cloned().unwrap_or_else(|| domain.at(rng.random()))
                }
                (Some(place), _) => domain.at(place),
            };
            point[parameter] = self.cell(parameter, branch, domain, &value);
            value
        });
        Candidate { config, point }
    }

    /// A configuration drawn at random.
    pub(crate) fn random(&self, space: &Space, rng: &mut Rng) -> Candidate {
        self.build(space, rng, |_, _, _, _| None)
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
