//! What every sampler has to keep to with trials from elsewhere.

use hpo_study::{AttemptEnd, Config, ImportAs, Method, StudySpec, Value};

use super::{METHODS, least};
use crate::simulate::{Log, Simulation, Worker, always, categorical, float, space, spec};

/// Those that learn from the values of trials, and take values from elsewhere.
const LEARNING: [Method; 6] = [
    Method::Tpe,
    Method::Gp,
    Method::Cmaes,
    Method::Nsga2,
    Method::Bohb,
    Method::Bayes,
];

const EARLIER: usize = 40;

fn study(method: Method, seed: u64, trials: usize) -> StudySpec {
    let space = space([
        always("x", float(0.0, 1.0)),
        always("y", float(0.0, 1.0)),
        always("kind", categorical(["a", "b", "c"])),
    ]);
    let mut study = spec(space, method, least(method));
    (study.seed, study.run_cap) = (seed, u32::try_from(trials).ok());
    study
}

fn loss(config: &Config, _: u64) -> f64 {
    let away = |name: &str, to: f64| (config.number(name).unwrap() - to).powi(2);
    let kind = f64::from(u8::from(config.text("kind") != Some("b")));
    away("x", 0.8) + away("y", 0.3) + 0.2 * kind
}

/// What an earlier study made of a loss.
type Told = fn(f64) -> f64;

/// An earlier study, most of which lies about the best that it found.
fn earlier(told: Told) -> Vec<(Config, f64)> {
    let config = |i: usize, around: Option<&Config>| -> Config {
        let part = |by: f64| ((i + 1) as f64 * by).fract();
        let place = |name: &str, by: f64| match around.and_then(|c| c.number(name)) {
            Some(x) => (x + 0.3 * (part(by) - 0.5)).clamp(0.0, 1.0),
            None => part(by),
        };
        let kind = match around.and_then(|c| c.text("kind")) {
            Some(kind) if !i.is_multiple_of(4) => kind.to_owned(),
            _ => ["a", "b", "c"][i % 3].to_owned(),
        };
        let pairs = [
            ("x", Value::Float(place("x", 0.618))),
            ("y", Value::Float(place("y", 0.755))),
            ("kind", Value::from(kind.as_str())),
        ];
        pairs.into_iter().collect()
    };
    let mut trials: Vec<(Config, f64)> = Vec::new();
    for i in 0..EARLIER {
        let best = trials.iter().min_by(|a, b| a.1.total_cmp(&b.1));
        let around = best.filter(|_| i >= 12).map(|(config, _)| config);
        let config = config(i, around);
        let loss = told(loss(&config, 1));
        trials.push((config, loss));
    }
    trials
}

fn run(method: Method, seed: u64, trials: usize, told: Option<Told>, worker: Worker) -> Log {
    let imported = told.map_or(0, |_| EARLIER);
    let worker = Worker {
        objective: loss,
        ..worker
    };
    let mut simulation = Simulation::new(study(method, seed, trials + imported), worker, seed);
    if let Some(told) = told {
        simulation.log.import(ImportAs::Evidence, earlier(told));
    }
    simulation.run()
}

#[test]
fn a_resumed_study_is_the_uninterrupted_one_when_imports_are_doubted() {
    for method in METHODS {
        for parallel in [1, 5] {
            let run_from = |restart_every: Option<usize>| {
                let worker = Worker {
                    parallel,
                    mishaps: [0.01, 0.02, 0.01],
                    restart_every,
                    length: 30,
                    ..Worker::default()
                };
                run(method, 9, 30, Some(|loss| 3.0 - loss), worker)
            };
            let (whole, resumed) = (run_from(None), run_from(Some(31)));
            assert_eq!(whole.events, resumed.events, "{method:?}");
            assert!(whole.history.is_doubted(0), "{method:?}");
        }
    }
}

/// A trial of the study itself, from its beginning to its end.
fn try_out(log: &mut Log, config: &Config, loss: f64) {
    let trial = log.start(config.clone(), 0, None);
    log.report(trial, 1, loss);
    let (code, stderr) = (0, String::new());
    log.end(trial, AttemptEnd::Exited { code, stderr });
    log.complete(trial);
}

/// (The Gaussian process is fitted with other random numbers, and the normal distribution of CMA-ES had to begin anew.)
#[test]
fn evidence_that_is_doubted_is_what_a_prior_is() {
    let trials = earlier(|loss| loss);
    let configs: Vec<Config> = trials.iter().map(|(config, _)| config.clone()).collect();
    for method in METHODS {
        if [Method::Gp, Method::Bayes, Method::Cmaes].contains(&method) {
            continue;
        }
        let [mut evidence, mut prior] = [ImportAs::Evidence, ImportAs::Prior].map(|used| {
            let mut log = Log::new(study(method, 3, 100));
            log.import(used, earlier(|loss| 3.0 - loss));
            for config in &configs[5..20] {
                try_out(&mut log, config, loss(config, 1));
            }
            log
        });
        assert!(evidence.history.is_doubted(0));
        for _ in 0..10 {
            assert_eq!(evidence.suggest(), prior.suggest(), "{method:?}");
        }
    }
}

#[test]
fn evidence_that_is_doubted_for_a_while_is_evidence_again_later() {
    for method in LEARNING {
        let mut log = Log::new(study(method, 3, 200));
        log.import(ImportAs::Evidence, earlier(|loss| loss));
        let ask = |log: &Log| {
            let (resumed, _) = log.rebuilt();
            let [next, of_resumed] = [&log.sampler, &resumed]
                .map(|sampler| sampler.suggest(&log.history, &mut crate::stream(1)));
            assert_eq!(next, of_resumed, "{method:?}");
            next.unwrap()
        };
        // Outliers, and then what was expected.
        while !log.history.is_doubted(0) {
            assert!(log.history.own_count() < 10, "{method:?}");
            let config = ask(&log);
            try_out(&mut log, &config, 50.0);
        }
        let warning = |log: &Log| hpo_study::import::warning(&log.history);
        let words = warning(&log).unwrap();
        assert!(words.contains("do not bear out what was imported from an earlier study"));
        while log.history.is_doubted(0) {
            let config = ask(&log);
            let loss = loss(&config, 1);
            try_out(&mut log, &config, loss);
        }
        assert_eq!(log.history.import_turns(), 2, "{method:?}");
        assert_eq!(warning(&log), None);
        ask(&log);
    }
}

/// The mean of the best losses of the study's own trials, over six seeds.
fn best_after(method: Method, trials: usize, told: Option<Told>) -> f64 {
    let best = |seed| {
        let worker = Worker {
            parallel: 1,
            ..Worker::default()
        };
        let log = run(method, seed, trials, told, worker);
        loss(&log.history.best().unwrap().config, 1)
    };
    (0..6).map(best).sum::<f64>() / 6.0
}

#[test]
fn misleading_evidence_is_overcome_and_good_evidence_helps() {
    for method in LEARNING {
        let plain = best_after(method, 12, None);
        let good = best_after(method, 12, Some(|loss| loss));
        assert!(good < plain, "{method:?}: {good} with, {plain} without");
        let plain = best_after(method, 30, None);
        let lies: [(&str, Told); 3] = [
            ("negated", |loss| -loss),
            ("the wrong way round", |loss| 0.8 - loss),
            ("higher", |loss| loss + 3.0),
        ];
        for (what, lie) in lies {
            let wrong = best_after(method, 30, Some(lie));
            assert!(
                wrong < 2.0 * plain + 0.02,
                "{method:?}, {what}: {wrong} with, {plain} without"
            );
        }
    }
}
