//! The same for studies with several objectives, over every sampler that can have them.

use hpo_study::{Config, EarlyTerminate, Goal, Method, Metric, StudySpec, TrialId, front};

use super::{configs, rich, spaces, study, through};
use crate::simulate::{Log, Simulation, Worker, always, float, space};

/// All but those that live on comparing losses at rungs.
const METHODS: [Method; 7] = [
    Method::Grid,
    Method::Random,
    Method::Sobol,
    Method::Tpe,
    Method::Gp,
    Method::Nsga2,
    Method::Bayes,
];

fn several(mut study: StudySpec, objectives: usize) -> StudySpec {
    let names = ["second", "third"].into_iter().take(objectives - 1);
    let metric = |name: &str| Metric {
        name: name.to_owned(),
        goal: if name == "third" {
            Goal::Maximize
        } else {
            Goal::Minimize
        },
    };
    study.further = names.map(metric).collect();
    study
}

/// Gaussian processes take their time, and say no more in a longer study.
fn run(method: Method, objectives: usize, cap: u32, worker: Worker) -> Log {
    let cap = match method {
        Method::Gp | Method::Bayes => cap.min(32),
        _ => cap,
    };
    let study = several(study(rich(), method, EarlyTerminate::None, cap), objectives);
    Simulation::new(study, worker, 3).run()
}

#[test]
fn every_sampler_stays_in_every_space() {
    for method in METHODS {
        for space in spaces() {
            let study = several(study(space, method, EarlyTerminate::None, 40), 2);
            let log = Simulation::new(study, Worker::default(), 3).run();
            let count = log.history.trials().len();
            assert!(count == 40 || method == Method::Grid, "{count}");
            let best = log.history.best().expect("somebody is best");
            assert!(log.history.front().contains(&best));
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_study_with_one_and_with_64_at_once() {
    for method in METHODS {
        for parallel in [1, 64] {
            let worker = Worker {
                parallel,
                length: 3,
                ..Worker::default()
            };
            let first = run(method, 3, 90, worker.clone());
            assert_eq!(
                first.events,
                run(method, 3, 90, worker).events,
                "{method:?}"
            );
        }
    }
}

#[test]
fn a_resumed_study_is_the_uninterrupted_one() {
    for method in METHODS {
        for (objectives, parallel) in [(2, 1), (3, 7)] {
            let run = |restart_every: Option<usize>| {
                let worker = Worker {
                    parallel,
                    mishaps: [0.02, 0.02, 0.02],
                    restart_every,
                    length: 5,
                    ..Worker::default()
                };
                run(method, objectives, 45, worker)
            };
            let whole = run(None);
            assert_eq!(whole.events, run(Some(31)).events, "{method:?}");
            let again = hpo_study::History::replay(&whole.events).unwrap();
            let ids = |history: &hpo_study::History| -> Vec<TrialId> {
                history.front().iter().map(|t| t.id).collect()
            };
            assert_eq!(ids(&whole.history), ids(&again));
        }
    }
}

/// The front that is kept as trials end is that of all of them.
#[test]
fn the_front_is_those_whom_nobody_dominates() {
    for method in [Method::Random, Method::Tpe, Method::Nsga2] {
        let history = run(method, 3, 120, Worker::default()).history;
        let trials = history.trials();
        let losses: Vec<Vec<f64>> = trials.iter().map(|t| history.losses(t).unwrap()).collect();
        let ranks = front::ranks(&losses);
        let expected: Vec<usize> = (0..trials.len()).filter(|i| ranks[*i] == 0).collect();
        let kept: Vec<usize> = history.front().iter().map(|t| t.id.index()).collect();
        assert_eq!(kept, expected);
        assert!(kept.len() > 3, "{kept:?}");
    }
}

#[test]
fn values_that_are_not_finite_harm_nobody() {
    fn mixed(config: &Config, step: u64) -> f64 {
        match (config.number("width").unwrap_or(0.0) as u64 + step) % 5 {
            0 => f64::NAN,
            1 => f64::INFINITY,
            2 => f64::MAX,
            3 => f64::MIN,
            _ => 1.0,
        }
    }
    fn all_nan(_: &Config, _: u64) -> f64 {
        f64::NAN
    }
    for method in METHODS {
        for (objective, parallel) in [
            (mixed as fn(&Config, u64) -> f64, 1),
            (mixed, 64),
            (all_nan, 4),
        ] {
            let worker = Worker {
                parallel,
                objective,
                length: 2,
                ..Worker::default()
            };
            let log = run(method, 2, 70, worker);
            assert!(log.history.trials().len() >= 32);
        }
    }
}

#[test]
fn thousands_of_trials_leave_nobody_waiting() {
    for method in METHODS {
        let study = several(study(rich(), method, EarlyTerminate::None, 1500), 3);
        let mut log = Log::new(study);
        let every = match method {
            Method::Gp | Method::Bayes => 750,
            _ => 25,
        };
        for count in 0..1500_usize {
            let config = if count.is_multiple_of(every) {
                let config = log.suggest().expect("the space is large");
                let trial = TrialId(count as u32);
                log.launch(trial, None);
                through(&mut log, trial, None, &config);
                continue;
            } else {
                let u = (count as f64 * 0.618_034).fract();
                rich().build(|i, _, domain, _| domain.at((u * (i + 1) as f64).fract()))
            };
            let trial = log.start(config.clone(), 0, None);
            through(&mut log, trial, None, &config);
        }
    }
}

/// Two distances from different points: the front is the line between them.
#[test]
fn who_learns_covers_more_than_who_does_not() {
    let volume = |method: Method, trials: u32, seed: u64| {
        let square = space(["x", "y", "z"].map(|name| always(name, float(0.0, 1.0))));
        let mut study = several(study(square, method, EarlyTerminate::None, trials), 2);
        study.seed = seed;
        let worker = Worker {
            parallel: 2,
            length: 2,
            ..Worker::default()
        };
        let history = Simulation::new(study, worker, 3).run().history;
        let losses = history.trials().iter().filter_map(|t| history.losses(t));
        front::hypervolume(&losses.collect::<Vec<_>>(), &[1.5, 1.5])
    };
    let mean = |method, trials| {
        let volumes = (1..=3).map(|seed| volume(method, trials, seed));
        volumes.sum::<f64>() / 3.0
    };
    // A population needs some generations.
    let methods = [
        (Method::Tpe, 60),
        (Method::Gp, 40),
        (Method::Nsga2, 200),
        (Method::Bayes, 40),
    ];
    for (method, trials) in methods {
        let (learned, random) = (mean(method, trials), mean(Method::Random, trials));
        assert!(
            learned > random,
            "{method:?}: {learned} with, {random} without"
        );
    }
}

#[test]
fn the_front_of_one_objective_is_the_best_trial() {
    let log = Simulation::new(
        study(rich(), Method::Nsga2, EarlyTerminate::None, 80),
        Worker::default(),
        3,
    )
    .run();
    let front: Vec<TrialId> = log.history.front().iter().map(|t| t.id).collect();
    assert_eq!(front, [log.history.best().unwrap().id]);
    assert_eq!(log.history.best_first()[0].id, front[0]);
    assert_eq!(configs(&log).len(), 80);
}
