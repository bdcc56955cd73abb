//! Sobol search: a low-discrepancy sequence, Owen-scrambled.
//!
//! Sobol, USSR Comput. Math. Math. Phys. 7(4), 1967, with the direction numbers of Joe & Kuo, SIAM J.
//! Sci. Comput. 30(5), 2008; scrambled as in Owen, "Randomly permuted (t,m,s)-nets and (t,s)-sequences",
//! 1995, by hashing (Burley, "Practical hash-based Owen scrambling", JCGT 9(4), 2020). The points are
//! those of the crate `sobol_burley`.

use rand::Rng as _;

use hpo_study::seed::{Purpose, derive};
use hpo_study::{Config, Domain, History, StudySpec, TrialId};

use crate::{Rng, Sampler};

/// The sequence's length; the trials after it take a sequence scrambled anew.
const LENGTH_BITS: u32 = 16;

/// A scrambled Sobol sequence, whose index is the trial's number.
///
/// Each parameter that can take more than one value has a dimension of its own, shared by its
/// branches: only one of them is active at a time, and the points of one branch alone are spread
/// evenly too. Parameters beyond the 256 dimensions of the sequence are drawn at random. After 65 536
/// trials, and then again and again, a sequence with another scrambling takes over.
///
/// The points have 24 bits. The scrambling follows from the study's seed.
pub(crate) struct Sobol {
    /// For each parameter its dimension.
    dimensions: Vec<Dimension>,
    /// The scrambling of each sequence derives from it.
    seed: u64,
}

/// Where a parameter's coordinate comes from.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Dimension {
    /// There is only one value.
    Needless,
    /// From this dimension of the sequence.
    Sequence(u32),
    /// All dimensions are taken.
    Random,
}

impl Sobol {
    pub(crate) fn new(spec: &StudySpec) -> Self {
        let mut free = 0..sobol_burley::NUM_DIMENSIONS;
        let dimensions = spec.space.parameters.iter().map(|parameter| {
            if parameter
                .branches
                .iter()
                .all(|branch| has_one_value(&branch.domain))
            {
                Dimension::Needless
            } else {
                free.next().map_or(Dimension::Random, Dimension::Sequence)
            }
        });
        Self {
            dimensions: dimensions.collect(),
            seed: spec.seed,
        }
    }

    /// The coordinate of a trial in a dimension of the sequence, in `[0, 1)`.
    fn coordinate(&self, trial: u32, dimension: u32) -> f64 {
        let sequence = TrialId(trial >> LENGTH_BITS);
        let seed = derive(self.seed, sequence, Purpose::Scramble);
        let index = trial & ((1 << LENGTH_BITS) - 1);
        f64::from(sobol_burley::sample(
            index,
            dimension,
            (seed ^ (seed >> 32)) as u32,
        ))
    }
}

fn has_one_value(domain: &Domain) -> bool {
    match domain {
        Domain::Float { low, high, .. } => low == high,
        _ => domain.cardinality() == Some(1),
    }
}

impl Sampler for Sobol {
    fn suggest(&self, history: &History, rng: &mut Rng) -> Option<Config> {
        let trial = u32::try_from(history.trials().len()).ok()?;
        Some(history.spec().space.build(|parameter, _, domain, _| {
            domain.at(match self.dimensions.get(parameter) {
                Some(Dimension::Sequence(dimension)) => self.coordinate(trial, *dimension),
                Some(Dimension::Needless) => 0.5,
                Some(Dimension::Random) | None => rng.random(),
            })
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::{Log, always, categorical, float, space, spec, when};
    use hpo_study::{EarlyTerminate, Method, Space, Value};

    fn unit_cube(dimensions: usize) -> Space {
        space((0..dimensions).map(|d| always(&format!("x{d}"), float(0.0, 1.0))))
    }

    fn points(space: Space, seed: u64, count: usize) -> Vec<Vec<f64>> {
        let mut spec = spec(space, Method::Sobol, EarlyTerminate::None);
        spec.seed = seed;
        let mut log = Log::new(spec);
        let names: Vec<_> = log
            .history
            .spec()
            .space
            .parameters
            .iter()
            .map(|p| p.name.clone())
            .collect();
        let mut point = || {
            let config = log.suggest().expect("a sequence has no end");
            names
                .iter()
                .map(|name| config.number(name).unwrap())
                .collect()
        };
        (0..count).map(|_| point()).collect()
    }

    /// Sobol's first two dimensions are a (0, 2)-sequence in base 2 (Sobol 1967), and Owen's
    /// scrambling keeps it one: of 2^m points, each elementary interval of area 2^-m holds exactly
    /// one.
    #[test]
    fn each_elementary_interval_of_two_dimensions_holds_exactly_one_point() {
        for seed in 0..5 {
            for m in 0..=9_u32 {
                let points = points(unit_cube(2), seed, 1 << m);
                for bits in 0..=m {
                    let (columns, rows) = (1_usize << bits, 1_usize << (m - bits));
                    let mut hits = vec![0; columns * rows];
                    for point in &points {
                        let column = (point[0] * columns as f64) as usize;
                        let row = (point[1] * rows as f64) as usize;
                        hits[column * rows + row] += 1;
                    }
                    assert!(
                        hits.iter().all(|n| *n == 1),
                        "2^{m} points, {columns} × {rows}"
                    );
                }
            }
        }
    }

    #[test]
    fn every_dimension_alone_is_stratified_up_to_the_last() {
        let points = points(unit_cube(256), 7, 256);
        for dimension in 0..256 {
            let mut hits = [0; 256];
            for point in &points {
                hits[(point[dimension] * 256.0) as usize] += 1;
            }
            assert!(hits.iter().all(|n| *n == 1), "dimension {dimension}");
        }
    }

    /// The star discrepancy in two dimensions, exactly: the largest difference between the share of
    /// points in a box at the origin and its area; it is found at boxes with corners at the points'
    /// coordinates (Niederreiter 1972).
    fn star_discrepancy(points: &[Vec<f64>]) -> f64 {
        let corners = |d: usize| points.iter().map(move |p| p[d]).chain([1.0]);
        let mut worst = 0.0_f64;
        for x in corners(0) {
            for y in corners(1) {
                let share = |inside: &dyn Fn(&[f64]) -> bool| {
                    points.iter().filter(|p| inside(p)).count() as f64 / points.len() as f64
                };
                let open = share(&|p| p[0] < x && p[1] < y);
                let closed = share(&|p| p[0] <= x && p[1] <= y);
                worst = worst.max(x * y - open).max(closed - x * y);
            }
        }
        worst
    }

    #[test]
    fn it_is_far_more_even_than_random_points() {
        let mut rng = crate::stream(1);
        for seed in 0..3 {
            let sobol = star_discrepancy(&points(unit_cube(2), seed, 128));
            let random: Vec<Vec<f64>> =
                (0..128).map(|_| vec![rng.random(), rng.random()]).collect();
            assert!(sobol < 0.045, "{sobol}");
            assert!(2.0 * sobol < star_discrepancy(&random));
        }
    }

    #[test]
    fn the_points_of_one_branch_are_spread_evenly_too() {
        let space = space([
            always("optimizer", categorical(["sgd", "adam"])),
            when("lr", "optimizer", "sgd", float(0.0, 1.0)),
        ]);
        let mut spec = spec(space, Method::Sobol, EarlyTerminate::None);
        // The branch of `adam` has one configuration, which comes at every second point.
        spec.allow_duplicates = true;
        let mut log = Log::new(spec);
        let mut hits = [0; 32];
        for _ in 0..64 {
            if let Some(lr) = log.suggest().and_then(|config| config.number("lr")) {
                hits[(lr * 32.0) as usize] += 1;
            }
        }
        assert!(hits.iter().all(|n| *n == 1), "{hits:?}");
    }

    #[test]
    fn seeds_and_sequences_are_scrambled_differently() {
        assert_ne!(points(unit_cube(3), 1, 8), points(unit_cube(3), 2, 8));
        let sobol = Sobol::new(&spec(unit_cube(1), Method::Sobol, EarlyTerminate::None));
        let start = |trial: u32| {
            (0..16)
                .map(|i| sobol.coordinate(trial + i, 0))
                .collect::<Vec<_>>()
        };
        assert_ne!(start(0), start(1 << LENGTH_BITS));
        assert!((0.0..1.0).contains(&sobol.coordinate(u32::MAX, 255)));
    }

    #[test]
    fn parameters_of_one_value_take_no_dimension_and_too_many_are_random() {
        let mut parameters = vec![always("c", Domain::Constant(Value::Int(1)))];
        parameters.extend((0..300).map(|d| always(&format!("x{d}"), float(0.0, 1.0))));
        let spec = spec(space(parameters), Method::Sobol, EarlyTerminate::None);
        let sobol = Sobol::new(&spec);
        assert_eq!(
            sobol.dimensions[..2],
            [Dimension::Needless, Dimension::Sequence(0)]
        );
        assert_eq!(
            sobol.dimensions[256..258],
            [Dimension::Sequence(255), Dimension::Random]
        );
        let mut log = Log::new(spec);
        let first = log.suggest().unwrap();
        assert_ne!(first.get("x256"), log.suggest().unwrap().get("x256"));
        assert!(log.history.spec().space.check(&first).is_ok());
    }
}
