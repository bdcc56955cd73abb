use super::*;
use crate::simulate::{Log, Simulation, Worker, always, categorical, float, space, spec, when};
use hpo_study::{Domain, EarlyTerminate, Method, Rungs, Space, StopReason};

const RUNGS: Rungs = Rungs {
    min_iter: 1,
    max_iter: 9,
    eta: 3,
};

fn study(space: Space, cap: u32) -> StudySpec {
    let mut study = spec(space, Method::Dehb, EarlyTerminate::Hyperband(RUNGS));
    study.run_cap = Some(cap);
    study
}

fn four() -> Space {
    space(["x0", "x1", "x2", "x3"].map(|name| always(name, float(0.0, 1.0))))
}

/// How far a configuration is from the best one.
fn distance(config: &Config) -> f64 {
    let best = [("x0", 0.3), ("x1", 0.6), ("x2", 0.2), ("x3", 0.8)];
    let far = |(name, c): (&str, f64)| (config.number(name).unwrap_or(0.0) - c).powi(2);
    best.into_iter().map(far).sum()
}

/// Early on a small `x0` looks better than it is.
fn objective(config: &Config, step: u64) -> f64 {
    distance(config) + (1.0 + config.number("x0").unwrap_or(0.0)) / step as f64
}

fn run(space: Space, cap: u32, parallel: usize, seed: u64) -> Log {
    let mut study = study(space, cap);
    study.seed = seed;
    let worker = Worker {
        parallel,
        objective,
        length: 9,
        ..Worker::default()
    };
    Simulation::new(study, worker, seed).run()
}

/// For each bracket, how many trials began at which step.
fn began(log: &Log, bracket: u32) -> Vec<(u64, usize)> {
    let of = |step: u64| {
        let is_it = |t: &&Trial| {
            t.bracket == bracket && t.attempts.first().and_then(|a| a.target) == Some(step)
        };
        (step, log.history.trials().iter().filter(is_it).count())
    };
    [1, 3, 9]
        .map(of)
        .into_iter()
        .filter(|(_, n)| *n > 0)
        .collect()
}

#[test]
fn the_first_round_promotes_and_later_ones_evolve_at_every_rung() {
    // Two rounds of 9@1 3@3 1@9, 5@3 1@9, 3@9.
    let log = run(four(), 9 + 5 + 3 + (9 + 3 + 1) + (5 + 1) + 3, 1, 1);
    assert_eq!(began(&log, 0), [(1, 9)]);
    assert_eq!(began(&log, 1), [(3, 5)]);
    assert_eq!(began(&log, 2), [(9, 3)]);
    assert_eq!(began(&log, 3), [(1, 9), (3, 3), (9, 1)]);
    assert_eq!(began(&log, 4), [(3, 5), (9, 1)]);
    assert_eq!(began(&log, 5), [(9, 3)]);
    let promoted: Vec<&Trial> = log
        .history
        .trials()
        .iter()
        .filter(|t| t.attempts.len() > 1)
        .collect();
    // Three of the first bracket, one of these to the top, and one of the second.
    assert!(promoted.len() >= 4, "{}", promoted.len());
    assert!(promoted.iter().all(|t| t.bracket < 3));
    let first = &log.history.trials()[..9];
    let mut by_loss: Vec<&Trial> = first.iter().collect();
    by_loss.sort_by(|a, b| objective(&a.config, 1).total_cmp(&objective(&b.config, 1)));
    for trial in &by_loss[..3] {
        assert!(trial.attempts.len() > 1, "the best three go on");
    }
}

/// Means over 40 seeds of the package `dehb` 0.1.2 (ConfigSpace 1.2.2, NumPy 1.26.4) on this very objective: the
/// smallest distance at the full length after so many steps, one evaluation at a time.
const PACKAGE: [(u64, f64); 3] = [(180, 0.128), (450, 0.0637), (900, 0.0396)];

#[test]
fn its_regret_is_that_of_the_package() {
    const SEEDS: u64 = 40;
    let mut sums = [0.0; 3];
    for seed in 0..SEEDS {
        let log = run(four(), 600, 1, seed);
        // Trials one after the other, so their steps can be added up in the order of events.
        let mut steps = 0;
        let mut best = f64::INFINITY;
        let mut last: BTreeMap<TrialId, u64> = BTreeMap::new();
        let mut found = [None; 3];
        for event in &log.events {
            let EventKind::Reported { trial, step, .. } = &event.kind else {
                continue;
            };
            steps += step - last.insert(*trial, *step).unwrap_or(0);
            if *step == 9 {
                best = best.min(objective(&log.trial(*trial).config, 9) - 1.0 / 9.0);
            }
            for ((mark, _), found) in PACKAGE.iter().zip(&mut found) {
                if steps >= *mark && found.is_none() {
                    *found = Some(best);
                }
            }
        }
        for (sum, found) in sums.iter_mut().zip(found) {
            *sum += found.expect("the study is long enough") / SEEDS as f64;
        }
    }
    for ((steps, theirs), ours) in PACKAGE.into_iter().zip(sums) {
        assert!(
            ours < 1.25 * theirs,
            "after {steps} steps {ours}, not {theirs}"
        );
        assert!(
            ours > theirs / 2.5,
            "after {steps} steps {ours}: too good to be the same"
        );
    }
}

#[test]
fn a_vector_is_read_back_as_the_configuration_it_makes() {
    let space = space([
        always("kind", categorical(["a", "b", "c"])),
        when("x", "kind", "a", float(0.0, 1.0)),
        always(
            "n",
            Domain::Int {
                low: 1,
                high: 7,
                log: false,
                step: 1,
            },
        ),
    ]);
    let dehb = Dehb::new(&study(space.clone(), 10));
    let mut rng = stream(3);
    for trial in 0..200 {
        let vector: Vec<f64> = (0..3).map(|_| rng.random()).collect();
        let config = dehb.candidate(&space, &vector, &mut rng).config;
        let read = dehb.vector(&space, TrialId(trial), &config);
        let again = dehb.candidate(&space, &read, &mut rng).config;
        assert_eq!(config, again);
    }
}

#[test]
fn the_broken_take_nobodys_place_and_keep_nobody_waiting() {
    let mut log = Log::new(study(four(), 100));
    let start = |log: &mut Log| match log.scheduler.next(&log.history, true) {
        Next::Start { bracket, target } => {
            log.suggest_for(bracket, target);
            let trial = log.history.trials().last().unwrap().id;
            log.launch(trial, target);
            trial
        }
        other => panic!("{other:?}"),
    };
    let trials: Vec<TrialId> = (0..9).map(|_| start(&mut log)).collect();
    for (i, trial) in trials.iter().enumerate() {
        match i {
            0 => log.fail(*trial),
            1 => {
                let evidence = String::new();
                log.stop(*trial, StopReason::Diverged { evidence });
            }
            2 => {
                log.report(*trial, 1, f64::NAN);
                log.pause(*trial);
            }
            _ => {
                log.report(*trial, 1, i as f64);
                log.pause(*trial);
            }
        }
    }
    let mut on = Vec::new();
    while let Next::Resume { trial, target } = log.scheduler.next(&log.history, true) {
        log.launch(trial, target);
        on.push(trial);
    }
    assert_eq!(on, trials[3..6]);
}
