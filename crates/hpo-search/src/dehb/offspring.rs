//! The evolution in it: a configuration as a vector, and new vectors of old ones.

use rand::Rng as _;
use rand::seq::index;

use hpo_study::seed::{Purpose, derive};
use hpo_study::{Config, Domain, Space, TrialId};

use super::{Dehb, Member};
use crate::sampler::encoding::{Candidate, Kind};
use crate::{Rng, stream};

/// How far a mutant is from its base (F).
const MUTATION: f64 = 0.5;
/// How likely a coordinate is the mutant's (CR).
const CROSSOVER: f64 = 0.5;
/// Of so many a mutant is made.
const PARENTS: usize = 3;

impl Dehb {
    /// The vector of a trial's configuration.
    pub(super) fn vector(&self, space: &Space, trial: TrialId, config: &Config) -> Vec<f64> {
        let seed = derive(self.seed, trial, Purpose::Suggest);
        let mut rng = stream(derive(seed, trial, Purpose::Scramble));
        let point = self.encoding.point(space, config);
        let mut vector = Vec::with_capacity(point.len());
        for (parameter, cell) in point.iter().enumerate() {
            let u: f64 = rng.random();
            vector.push(match cell {
                None => u,
                Some(cell) => match &self.encoding.branches(parameter)[usize::from(cell.branch)] {
                    Kind::Choice { shares } => {
                        let choice = cell.place as usize;
                        let below: f64 = shares.iter().take(choice).sum();
                        below + u * shares.get(choice).copied().unwrap_or(0.0)
                    }
                    _ => cell.place,
                },
            });
        }
        vector
    }

    /// The configuration of a vector.
    pub(super) fn candidate(&self, space: &Space, vector: &[f64], rng: &mut Rng) -> Candidate {
        let choose = |_: &mut Rng, parameter: usize, branch: u16, _: &Domain| {
            let u = vector.get(parameter).copied()?;
            Some(
                match &self.encoding.branches(parameter)[usize::from(branch)] {
                    Kind::Choice { shares } => {
                        let mut sum = 0.0;
                        let is_it = |share: &f64| {
                            sum += share;
                            u < sum
                        };
                        let choice = shares.iter().position(is_it);
                        choice.unwrap_or(shares.len().saturating_sub(1)) as f64
                    }
                    _ => u,
                },
            )
        };
        self.encoding.build(space, rng, choose)
    }

    /// The vector to be evaluated next in a bracket's rung.
    pub(super) fn offspring(&self, bracket: usize, rung: usize, rng: &mut Rng) -> Vec<f64> {
        let index = self.population(bracket, rung);
        let population = &self.populations[index];
        let members = &population.members;
        let Some(target) = members.get(population.begun % members.len().max(1)) else {
            return Vec::new();
        };
        let (_, sizes) = &self.round[bracket % self.round.len()];
        let below = if rung == 0 { index } else { index - 1 };
        let mut best: Vec<&Member> = self.populations[below].members.iter().collect();
        best.sort_by(|a, b| a.loss.total_cmp(&b.loss));
        let mut parents: Vec<Vec<f64>> = best
            .iter()
            .take(sizes[rung])
            .map(|m| m.vector.clone())
            .collect();
        if parents.len() < PARENTS {
            let all: Vec<&Vec<f64>> = self
                .populations
                .iter()
                .flat_map(|p| p.members.iter().map(|m| &m.vector))
                .collect();
            while parents.len() <= PARENTS {
                parents.push(mutant(&all, rng));
            }
        }
        let mutant = mutant(&parents.iter().collect::<Vec<_>>(), rng);
        cross(&target.vector, mutant, rng)
    }

    /// The vector to be evaluated first: the target itself while it never was.
    pub(super) fn first(&self, bracket: usize, rung: usize) -> Option<&Vec<f64>> {
        let population = &self.populations[self.population(bracket, rung)];
        let next = population.begun % population.members.len().max(1);
        let target = population.members.get(next)?;
        (target.trial.is_none() && rung == 0).then_some(&target.vector)
    }
}

/// rand/1: a vector and half the difference of two others, all three drawn from some. What leaves the unit
/// interval is drawn anew.
fn mutant(from: &[&Vec<f64>], rng: &mut Rng) -> Vec<f64> {
    let dimensions = from.first().map_or(0, |v| v.len());
    if from.len() < PARENTS {
        return (0..dimensions).map(|_| rng.random()).collect();
    }
    let drawn = index::sample(rng, from.len(), PARENTS);
    let [a, b, c] = [0, 1, 2].map(|i| from[drawn.index(i)]);
    let mut mutant = Vec::with_capacity(dimensions);
    for ((a, b), c) in a.iter().zip(b).zip(c) {
        let place = a + MUTATION * (b - c);
        let inside = (0.0..=1.0).contains(&place);
        mutant.push(if inside { place } else { rng.random() });
    }
    mutant
}

/// Binomial crossover: at least one coordinate is the mutant's.
fn cross(target: &[f64], mutant: Vec<f64>, rng: &mut Rng) -> Vec<f64> {
    if target.is_empty() {
        return mutant;
    }
    let taken = rng.random_range(0..target.len());
    let mut child = Vec::with_capacity(target.len());
    for (i, (own, other)) in target.iter().zip(mutant).enumerate() {
        let crossed = rng.random_bool(CROSSOVER);
        child.push(if crossed || i == taken { other } else { *own });
    }
    child
}
