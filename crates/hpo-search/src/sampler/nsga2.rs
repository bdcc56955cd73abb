//! NSGA-II: a population that evolves towards the front of several objectives.
//!
//! Deb, Pratap, Agarwal & Meyarivan, "A fast and elitist multiobjective genetic algorithm: NSGA-II", IEEE
//! TEVC 6(2), 2002: the fittest are those of the lowest layer of the front, and within a layer the loneliest; parents
//! are chosen by tournaments of two; children come from simulated binary crossover and polynomial mutation
//! (Deb & Agrawal, "Simulated binary crossover for continuous search space", 1995) of numbers, and take
//! choices from either parent. An infeasible trial is worse than any other.
//!
//! The population takes every trial in at once and loses its worst member then, so that children of any number
//! may run at the same time and none is waited for (steady state: Durillo, Nebro, Luna & Alba, "On the effect of
//! the steady-state selection scheme in multi-objective genetic algorithms", EMO 2009).
//!
//! In a conditional space a child is built down the tree: where a parent has the same branch of a parameter
//! its value counts, and what neither has is drawn at random. So is what becomes active by a mutation.

use rand::Rng as _;

use hpo_study::{Config, Event, History, Space, StudySpec, front};

use super::encoding::{Candidate, Cell, Kind, Point};
use super::observations::Observations;
use super::sobol::Sobol;
use crate::{Rng, Sampler};

/// Members of the population. After some hundred trials 10 to 25 are much alike and well ahead of 50, after 1600 all are
/// (docs/performance.md).
const POPULATION: usize = 20;
/// Trials of a scrambled Sobol sequence, before there are parents.
const STARTUP: usize = 20;
/// The chance that a child is crossed at all, else it is a mutated copy; and that a value is, where it is.
const CROSSED: f64 = 0.9;
const CROSSED_VALUE: f64 = 0.5;
/// How near to their parents numbers of children are: the distribution indices of crossover and mutation.
const NEAR_PARENTS: f64 = 15.0;
const NEAR_ITSELF: f64 = 10.0;
/// Children until one is found that no trial was, before one is taken at random.
const DRAWS: usize = 64;

/// See the module.
pub(crate) struct Nsga2 {
    observations: Observations,
    /// With several objectives: indices into what was told, best first.
    population: Vec<usize>,
    sobol: Sobol,
}

impl Nsga2 {
    pub(crate) fn new(spec: &StudySpec) -> Self {
        Self {
            observations: Observations::new(&spec.space),
            population: Vec::new(),
            sobol: Sobol::new(spec),
        }
    }

    /// The losses of one that told something; `None`: infeasible.
    fn losses(&self, told: usize) -> Option<&Vec<f64>> {
        Some(&self.observations.losses()[told]).filter(|losses| !losses.is_empty())
    }

    /// Those who may be parents, best first. With one objective the best trials of all.
    fn parents(&self) -> &[usize] {
        let members = match self.observations.losses().is_empty() {
            true => self.observations.ranking(),
            false => {
                let is_feasible = |i: &usize| self.losses(*i).is_some();
                &self.population[..self.population.partition_point(is_feasible)]
            }
        };
        &members[..members.len().min(POPULATION)]
    }

    /// Who is fittest among these, best first.
    fn fittest(&self, members: &[usize]) -> Vec<usize> {
        let (feasible, infeasible): (Vec<usize>, Vec<usize>) =
            members.iter().partition(|i| self.losses(**i).is_some());
        let losses: Vec<Vec<f64>> = feasible
            .iter()
            .filter_map(|i| self.losses(*i).cloned())
            .collect();
        let ranks = front::ranks(&losses);
        let mut lonely = vec![0.0; losses.len()];
        for rank in 0..=ranks.iter().max().copied().unwrap_or(0) {
            let layer: Vec<usize> = (0..losses.len()).filter(|i| ranks[*i] == rank).collect();
            let rows: Vec<&[f64]> = layer.iter().map(|i| losses[*i].as_slice()).collect();
            for (i, distance) in layer.iter().zip(front::crowding(&rows)) {
                lonely[*i] = distance;
            }
        }
        let mut order: Vec<usize> = (0..feasible.len()).collect();
        // Of those alike the newer one stays: the population moves.
        order.sort_by(|a, b| {
            let by_rank = ranks[*a].cmp(&ranks[*b]);
            let by_distance = lonely[*b].total_cmp(&lonely[*a]);
            by_rank
                .then(by_distance)
                .then(feasible[*b].cmp(&feasible[*a]))
        });
        let order = order.into_iter().map(|i| feasible[i]);
        order.chain(infeasible.into_iter().rev()).collect()
    }

    /// A parent: the fitter of two members.
    fn parent(&self, rng: &mut Rng) -> &Point {
        let parents = self.parents();
        let mut draw = || rng.random_range(0..parents.len());
        let fitter = draw().min(draw());
        let told = self.observations.told()[parents[fitter]];
        self.observations.point(told.trial)
    }

    fn child(&self, space: &Space, rng: &mut Rng) -> Candidate {
        let (one, other) = (self.parent(rng), self.parent(rng));
        let is_crossed = rng.random_bool(CROSSED);
        let active = one.iter().filter(|cell| cell.is_some()).count();
        let chance = 1.0 / active.max(1) as f64;
        let encoding = &self.observations.encoding;
        encoding.build(space, rng, |rng, parameter, branch, _| {
            let here = |point: &Point| point[parameter].filter(|cell| cell.branch == branch);
            let kind = &encoding.branches(parameter)[usize::from(branch)];
            let place = match (here(one), here(other)) {
                (Some(a), Some(b)) if is_crossed => crossed(kind, a, b, rng),
                (Some(a), _) => a.place,
                (None, Some(b)) => b.place,
                (None, None) => return None,
            };
            Some(match rng.random_bool(chance) {
                true => mutated(kind, place, rng),
                false => place,
            })
        })
    }
}

/// A value between or about two parents'.
fn crossed(kind: &Kind, a: Cell, b: Cell, rng: &mut Rng) -> f64 {
    let is_number = matches!(kind, Kind::Number { .. });
    if !rng.random_bool(CROSSED_VALUE) {
        return a.place;
    }
    if !is_number || a.place == b.place {
        return b.place;
    }
    binary(a.place, b.place, rng.random(), rng.random_bool(0.5))
}

/// Simulated binary crossover within the unit interval: the child nearer to the lower parent (or to the upper one),
/// for a draw `u` in [0, 1) (the bounded form of the authors' reference code).
fn binary(a: f64, b: f64, u: f64, lower: bool) -> f64 {
    let (low, high) = (a.min(b), a.max(b));
    let to_bound = if lower { low } else { 1.0 - high };
    let width = (high - low).max(1e-12);
    let spread = 1.0 + 2.0 * to_bound / width;
    let alpha = 2.0 - spread.powf(-(NEAR_PARENTS + 1.0));
    let share = u * alpha;
    let power = 1.0 / (NEAR_PARENTS + 1.0);
    let beta = if share <= 1.0 {
        share.powf(power)
    } else {
        (1.0 / (2.0 - share)).powf(power)
    };
    let middle = 0.5 * (low + high);
    let side = if lower { -0.5 } else { 0.5 };
    (middle + side * beta * width).clamp(0.0, 1.0)
}

/// Another value near by: polynomial mutation of numbers (at least to the next of few values), another choice at random.
fn mutated(kind: &Kind, place: f64, rng: &mut Rng) -> f64 {
    match kind {
        Kind::Fixed => place,
        Kind::Choice { shares } => {
            let other = rng.random_range(0..shares.len().saturating_sub(1).max(1)) as f64;
            if other >= place { other + 1.0 } else { other }
        }
        Kind::Number { cells } => {
            let moved = polynomial(place, rng.random());
            let width = cells.map_or(0.0, |cells| 1.0 / cells as f64);
            if (moved - place).abs() >= width || width >= 1.0 {
                return moved;
            }
            let next = if moved < place {
                place - width
            } else {
                place + width
            };
            if (0.0..=1.0).contains(&next) {
                next
            } else {
                2.0 * place - next
            }
        }
    }
}

/// Polynomial mutation within the unit interval, for a draw `u` in [0, 1).
fn polynomial(place: f64, u: f64) -> f64 {
    let power = NEAR_ITSELF + 1.0;
    let delta = if u < 0.5 {
        let tail = (1.0 - place).powf(power);
        (2.0 * u + (1.0 - 2.0 * u) * tail).powf(1.0 / power) - 1.0
    } else {
        let tail = place.powf(power);
        1.0 - (2.0 * (1.0 - u) + 2.0 * (u - 0.5) * tail).powf(1.0 / power)
    };
    (place + delta).clamp(0.0, 1.0)
}

impl Sampler for Nsga2 {
    fn suggest(&self, history: &History, rng: &mut Rng) -> Option<Config> {
        if self.observations.count() < STARTUP || self.parents().len() < 2 {
            return self.sobol.suggest(history, rng);
        }
        let space = &history.spec().space;
        for _ in 0..DRAWS {
            let child = self.child(space, rng);
            if !self.observations.is_seen(&child.point) {
                return Some(child.config);
            }
        }
        Some(self.observations.encoding.random(space, rng).config)
    }

    fn observe(&mut self, history: &History, event: &Event) {
        let before = self.observations.told().len();
        self.observations.observe(history, event);
        let told = self.observations.told().len();
        if told == before || self.observations.losses().is_empty() {
            return;
        }
        self.population.extend(before..told);
        self.population = self.fittest(&self.population);
        self.population.truncate(POPULATION);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream;

    #[test]
    fn crossover_keeps_the_middle_and_stays_near_the_parents() {
        let mut rng = stream(3);
        let (a, b) = (0.3, 0.5);
        let mut near = 0;
        for _ in 0..1000 {
            let u = rng.random();
            let (low, high) = (binary(a, b, u, true), binary(a, b, u, false));
            assert!((0.0..=1.0).contains(&low) && (0.0..=1.0).contains(&high));
            near += usize::from((low - a).abs() < 0.03);
        }
        assert!(near > 800, "{near} of 1000");
        // u = 1/2 (beyond the bounds' share) gives the parents themselves.
        assert!((binary(0.4, 0.6, 0.5, true) - 0.4).abs() < 1e-3);
    }

    #[test]
    fn a_mutation_moves_within_the_interval_and_always_to_another_of_few_values() {
        let mut rng = stream(4);
        for place in [0.0, 0.01, 0.5, 1.0] {
            let moved: Vec<f64> = (0..500).map(|_| polynomial(place, rng.random())).collect();
            assert!(moved.iter().all(|x| (0.0..=1.0).contains(x)));
            let mean = moved.iter().map(|x| (x - place).abs()).sum::<f64>() / 500.0;
            assert!((0.01..0.1).contains(&mean), "{mean}");
        }
        let few = Kind::Number { cells: Some(4) };
        for _ in 0..100 {
            let moved = mutated(&few, 0.125, &mut rng);
            assert!((0.25..=1.0).contains(&moved), "{moved}");
        }
        let choice = Kind::Choice {
            shares: vec![0.5; 2],
        };
        assert_eq!(mutated(&choice, 1.0, &mut rng), 0.0);
    }
}
