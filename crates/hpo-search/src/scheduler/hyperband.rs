//! Hyperband: brackets of successive halving, from many short trials to few long ones.
//!
//! Li, Jamieson, DeSalvo, Rostamizadeh & Talwalkar, "Hyperband: a novel bandit-based approach to
//! hyperparameter optimization", JMLR 18(185), 2018 (arXiv 1603.06560), algorithm 1.

use hpo_study::Rungs;

use super::successive_halving::Shape;

/// The brackets of one round, in order; the rounds repeat until no more trials may start. Their sizes
/// are [`Rungs::hyperband_brackets`]; each goes on as in successive halving.
///
/// `s_max` follows from the rungs, so a `min_iter` above 1 leaves the brackets with the shortest
/// trials out.
pub(super) fn cycle(rungs: Rungs) -> Vec<Shape> {
    let levels = rungs.levels();
    let shape = |(first, trials): (usize, u64)| Shape {
        size: usize::try_from(trials).unwrap_or(usize::MAX),
        levels: levels[first..].to_vec(),
    };
    rungs.hyperband_brackets().into_iter().map(shape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::{Simulation, Worker, always, float, space, spec};
    use hpo_study::{EarlyTerminate, Method, TrialState};

    const PAPER: Rungs = Rungs {
        min_iter: 1,
        max_iter: 81,
        eta: 3,
    };

    /// Table 1 of the paper, R = 81 and eta = 3: for each bracket, how many trials go to which step.
    const TABLE: [&[(usize, u64)]; 5] = [
        &[(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
        &[(34, 3), (11, 9), (3, 27), (1, 81)],
        &[(15, 9), (5, 27), (1, 81)],
        &[(8, 27), (2, 81)],
        &[(5, 81)],
    ];

    #[test]
    fn two_rounds_run_the_brackets_of_the_papers_table() {
        let space = space([always("x", float(0.0, 1.0))]);
        let mut spec = spec(space, Method::Random, EarlyTerminate::Hyperband(PAPER));
        spec.run_cap = Some(2 * (81 + 34 + 15 + 8 + 5));
        let log = Simulation::new(spec, Worker::default(), 7).run();
        for bracket in 0..10 {
            let members: Vec<_> = log
                .history
                .trials()
                .iter()
                .filter(|t| t.bracket == bracket)
                .collect();
            for (count, step) in TABLE[bracket as usize % 5] {
                let there = members
                    .iter()
                    .filter(|t| t.curve.last_step() >= Some(*step))
                    .count();
                assert_eq!(there, *count, "bracket {bracket}, step {step}");
            }
            assert!(members.iter().all(|t| t.state.is_final()));
        }
        let completed = log
            .history
            .trials()
            .iter()
            .filter(|t| t.state == TrialState::Completed)
            .count();
        assert_eq!(completed, 2 * (1 + 1 + 1 + 2 + 5));
    }

    #[test]
    fn a_higher_lowest_rung_leaves_the_shortest_bracket_out() {
        let shapes = cycle(Rungs {
            min_iter: 3,
            max_iter: 27,
            eta: 3,
        });
        let plain: Vec<_> = shapes.iter().map(|s| (s.size, s.levels.clone())).collect();
        assert_eq!(
            plain,
            [(9, vec![3, 9, 27]), (5, vec![9, 27]), (3, vec![27])]
        );
    }

    #[test]
    fn absurd_rungs_do_not_overflow() {
        let shapes = cycle(Rungs {
            min_iter: 1,
            max_iter: u64::MAX,
            eta: 2,
        });
        assert!(shapes.iter().all(|shape| shape.size > 0));
    }
}
