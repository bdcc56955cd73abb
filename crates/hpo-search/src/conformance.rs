//! What every sampler and every scheduler has to keep to, tested over all of them: a new one is
//! tested by having a row below (and the compiler demands one where it is built).

mod imported;
mod several;

use proptest::prelude::*;

use hpo_study::{
    AttemptEnd, Config, Domain, EarlyTerminate, Goal, Law, Method, Rungs, Scale, Space, StopReason,
    StudySpec, TrialId, Value,
};

use crate::simulate::{
    Log, Simulation, Worker, always, bowl, categorical, float, space, spec, when,
};
use crate::{Next, Verdict};

const METHODS: [Method; 10] = [
    Method::Grid,
    Method::Random,
    Method::Sobol,
    Method::Tpe,
    Method::Gp,
    Method::Cmaes,
    Method::Nsga2,
    Method::Bohb,
    Method::Dehb,
    Method::Bayes,
];

/// Those that do not learn.
const BLIND: [Method; 3] = [Method::Grid, Method::Random, Method::Sobol];

fn schedulers() -> Vec<EarlyTerminate> {
    let rungs = Rungs {
        min_iter: 1,
        max_iter: 27,
        eta: 3,
    };
    let uneven = Rungs {
        min_iter: 2,
        max_iter: 21,
        eta: 2,
    };
    vec![
        EarlyTerminate::None,
        EarlyTerminate::Median {
            min_iter: 2,
            min_trials: 3,
        },
        EarlyTerminate::Percentile {
            percentile: 30.0,
            min_iter: 1,
            min_trials: 2,
            interval: 3,
        },
        EarlyTerminate::Wilcoxon {
            p_threshold: 0.2,
            n_startup_steps: 3,
            metric: None,
        },
        patient(EarlyTerminate::None),
        patient(EarlyTerminate::Median {
            min_iter: 1,
            min_trials: 2,
        }),
        patient(EarlyTerminate::Asha(rungs)),
        EarlyTerminate::Auto {
            min_iter: 1,
            max_iter: Some(27),
        },
        EarlyTerminate::Auto {
            min_iter: 3,
            max_iter: None,
        },
        EarlyTerminate::Asha(rungs),
        EarlyTerminate::AshaPromotion(rungs),
        EarlyTerminate::AshaPromotion(uneven),
        EarlyTerminate::SuccessiveHalving(rungs),
        EarlyTerminate::SuccessiveHalving(uneven),
        EarlyTerminate::Hyperband(rungs),
        EarlyTerminate::Hyperband(uneven),
        EarlyTerminate::Hyperband(Rungs {
            min_iter: 5,
            max_iter: 5,
            eta: 4,
        }),
    ]
}

/// Every sampler with some rules of each kind, and every rule with two samplers: all with all would
/// take long, and tell no more.
fn pairs() -> Vec<(Method, EarlyTerminate)> {
    let (mut rules, mut pairs) = (schedulers(), Vec::new());
    for rule in &rules {
        pairs.extend([Method::Random, Method::Tpe].map(|method| (method, rule.clone())));
    }
    rules.retain(|rule| {
        let is_long = |rungs: &Rungs| (rungs.max_iter, rungs.eta) == (27, 3);
        *rule == EarlyTerminate::None
            || (rule.pauses() && rule.rungs().as_ref().is_some_and(is_long))
    });
    for method in METHODS
        .into_iter()
        .filter(|m| ![Method::Random, Method::Tpe].contains(m))
    {
        pairs.extend(rules.iter().map(|rule| (method, rule.clone())));
    }
    // What runs how far is its own decision, along the brackets of Hyperband.
    pairs.retain(|(method, _)| *method != Method::Dehb);
    let brackets = |rule: &EarlyTerminate| matches!(rule, EarlyTerminate::Hyperband(_));
    let rules = schedulers().into_iter().filter(brackets);
    pairs.extend(rules.map(|rule| (Method::Dehb, rule)));
    pairs
}

/// The rule that does least under a method.
fn least(method: Method) -> EarlyTerminate {
    match method {
        Method::Dehb => EarlyTerminate::Hyperband(Rungs {
            min_iter: 1,
            max_iter: 27,
            eta: 3,
        }),
        _ => EarlyTerminate::None,
    }
}

fn patient(rule: EarlyTerminate) -> EarlyTerminate {
    EarlyTerminate::Patient {
        rule: Box::new(rule),
        patience: 1,
        min_delta: 1e-3,
    }
}

/// A space of all kinds of domains, with conditions upon conditions and two branches of one name.
fn rich() -> Space {
    let log = |low, high| Domain::Float {
        low,
        high,
        scale: Scale::Log,
        step: None,
    };
    let mut lr = when("lr", "optimizer", "sgd", log(1e-3, 1.0));
    lr.branches
        .extend(when("lr", "optimizer", "adam", log(1e-5, 1e-2)).branches);
    let betas = Domain::Float {
        low: 0.5,
        high: 0.999,
        scale: Scale::OneMinusLog,
        step: None,
    };
    let stepped = Domain::Float {
        low: 0.0,
        high: 0.5,
        scale: Scale::Linear,
        step: Some(0.1),
    };
    space([
        always("optimizer", categorical(["sgd", "adam", "none"])),
        lr,
        when(
            "flavour",
            "optimizer",
            "sgd",
            categorical(["plain", "momentum"]),
        ),
        when("momentum", "flavour", "momentum", betas),
        always("dropout", stepped),
        always(
            "width",
            Domain::Int {
                low: 8,
                high: 512,
                log: true,
                step: 1,
            },
        ),
        always("constant", Domain::Constant(Value::Null)),
    ])
}

/// Numbers with distributions of their own: without bounds, in steps, as whole numbers, and one that has nearly all
/// its weight at the ends.
fn laws() -> Space {
    let law = |law, step, whole| Domain::Law { law, step, whole };
    let (normal, log_normal) = (
        Law::Normal {
            mu: -3.0,
            sigma: 2.0,
        },
        Law::LogNormal {
            mu: -7.0,
            sigma: 2.0,
        },
    );
    space([
        always("optimizer", categorical(["sgd", "adam"])),
        always("lr", law(log_normal, None, false)),
        always("shift", law(normal, Some(0.5), false)),
        always("depth", law(normal, Some(1.0), true)),
        when(
            "momentum",
            "optimizer",
            "sgd",
            law(Law::Beta { a: 0.05, b: 0.02 }, None, false),
        ),
    ])
}

fn spaces() -> Vec<Space> {
    let point = Domain::Float {
        low: 2.0,
        high: 2.0,
        scale: Scale::Log,
        step: None,
    };
    vec![
        rich(),
        laws(),
        Space::default(),
        space([always("only", Domain::Constant(Value::Int(3)))]),
        space([always("point", point), always("one", categorical(["x"]))]),
        space([
            always("switch", categorical(["a"])),
            when("never", "switch", "b", float(0.0, 1.0)),
        ]),
    ]
}

fn study(space: Space, method: Method, rule: EarlyTerminate, cap: u32) -> StudySpec {
    let mut study = spec(space, method, rule);
    study.run_cap = Some(cap);
    study.seed = 11;
    study
}

fn configs(log: &Log) -> Vec<Config> {
    log.history
        .trials()
        .iter()
        .map(|t| t.config.clone())
        .collect()
}

#[test]
fn every_sampler_stays_in_every_space_with_every_scheduler() {
    for (method, rule) in pairs() {
        for space in spaces() {
            // The simulation checks each configuration and that no trial is lost.
            let study = study(space, method, rule.clone(), 50);
            let log = Simulation::new(study, Worker::default(), 3).run();
            let count = log.history.trials().len();
            assert!(count == 50 || method == Method::Grid, "{count}");
        }
    }
}

#[test]
fn all_choices_and_branches_come_up() {
    for method in METHODS.into_iter().filter(|m| *m != Method::Grid) {
        let log = Simulation::new(
            study(rich(), method, least(method), 150),
            Worker::default(),
            3,
        )
        .run();
        let configs = configs(&log);
        for (name, value) in [
            ("optimizer", "sgd"),
            ("optimizer", "adam"),
            ("optimizer", "none"),
            ("flavour", "plain"),
        ] {
            assert!(
                configs.iter().any(|c| c.text(name) == Some(value)),
                "{method:?} {name} {value}"
            );
        }
        assert!(
            configs.iter().any(|c| c.get("momentum").is_some()),
            "{method:?}"
        );
        let lr_of = |optimizer: &'static str| {
            let of = configs
                .iter()
                .filter(move |c| c.text("optimizer") == Some(optimizer));
            of.filter_map(|c| c.number("lr"))
        };
        assert!(lr_of("sgd").all(|lr| lr >= 1e-3) && lr_of("adam").all(|lr| lr <= 1e-2));
        assert!(lr_of("sgd").count() > 0 && lr_of("none").count() == 0);
    }
}

#[test]
fn the_same_seed_gives_the_same_study_and_another_seed_another() {
    for (method, rule) in pairs() {
        let run = |seed: u64| {
            let mut study = study(rich(), method, rule.clone(), 60);
            study.seed = seed;
            Simulation::new(study, Worker::default(), 5).run()
        };
        let first = run(1);
        assert_eq!(first.events, run(1).events);
        if method != Method::Grid {
            assert_ne!(configs(&first), configs(&run(2)));
        }
    }
}

#[test]
fn configurations_do_not_depend_on_how_many_trials_run_at_once() {
    for method in BLIND {
        for space in spaces() {
            let run = |parallel: usize| {
                let worker = Worker {
                    parallel,
                    ..Worker::default()
                };
                let study = study(space.clone(), method, EarlyTerminate::None, 100);
                configs(&Simulation::new(study, worker, 5).run())
            };
            assert_eq!(run(1), run(64));
        }
    }
}

#[test]
fn a_resumed_study_is_the_uninterrupted_one() {
    for (method, rule) in pairs() {
        for parallel in [1, 7] {
            let run = |restart_every: Option<usize>| {
                let mishaps = [0.01, 0.02, 0.01];
                let worker = Worker {
                    parallel,
                    mishaps,
                    restart_every,
                    length: 30,
                    ..Worker::default()
                };
                let study = study(rich(), method, rule.clone(), 40);
                Simulation::new(study, worker, 9).run().events
            };
            assert_eq!(run(None), run(Some(83)), "{method:?} {rule:?}");
        }
    }
}

#[test]
fn losses_that_are_not_finite_harm_nobody() {
    fn all_nan(_: &Config, _: u64) -> f64 {
        f64::NAN
    }
    fn mixed(config: &Config, step: u64) -> f64 {
        match (config.number("width").unwrap_or(0.0) as u64 + step) % 5 {
            0 => f64::NAN,
            1 => f64::INFINITY,
            2 => f64::NEG_INFINITY,
            3 => f64::MAX,
            _ => f64::MIN,
        }
    }
    let with_rules = schedulers().into_iter().map(|rule| (Method::Random, rule));
    let with_methods = METHODS.map(|method| (method, least(method)));
    for (method, rule) in with_rules.chain(with_methods) {
        for goal in [Goal::Minimize, Goal::Maximize] {
            for objective in [all_nan, mixed] {
                for parallel in [1, 64] {
                    let mut study = study(rich(), method, rule.clone(), 90);
                    study.metric.goal = goal;
                    let worker = Worker {
                        parallel,
                        objective,
                        ..Worker::default()
                    };
                    let log = Simulation::new(study, worker, 1).run();
                    assert_eq!(log.history.trials().len(), 90);
                }
            }
        }
    }
}

#[test]
fn the_good_ones_come_to_the_end_and_early_stopping_saves_steps() {
    for rule in schedulers() {
        for goal in [Goal::Minimize, Goal::Maximize] {
            fn negative(config: &Config, step: u64) -> f64 {
                -bowl(config, step)
            }
            let mut study = study(
                space([always("x", float(0.0, 1.0))]),
                Method::Random,
                rule.clone(),
                100,
            );
            study.metric.goal = goal;
            let objective = if goal == Goal::Minimize {
                bowl
            } else {
                negative
            };
            let worker = Worker {
                objective,
                length: 27,
                ..Worker::default()
            };
            let log = Simulation::new(study, worker, 2).run();
            let trials = log.history.trials();
            let distance = |c: &Config| (c.number("x").unwrap() - 0.3).abs();
            let mut distances: Vec<f64> = trials.iter().map(|t| distance(&t.config)).collect();
            distances.sort_by(f64::total_cmp);
            let best = log.history.best().expect("somebody comes to the end");
            assert!(distance(&best.config) <= distances[5], "{rule:?} {goal:?}");
            let steps: u64 = trials.iter().filter_map(|t| t.curve.last_step()).sum();
            let full = log.history.spec().max_steps().unwrap_or(27);
            match rule {
                // All curves fall all along: nobody loses patience.
                EarlyTerminate::None | EarlyTerminate::Patient { .. } => assert_eq!(steps, 2700),
                EarlyTerminate::Hyperband(Rungs { min_iter: 5, .. }) => assert_eq!(steps, 500),
                _ => assert!(steps < 100 * full * 3 / 4, "{rule:?}: {steps}"),
            }
        }
    }
}

#[test]
fn ten_thousand_trials_leave_nobody_waiting() {
    let long = Rungs {
        min_iter: 1,
        max_iter: 1024,
        eta: 2,
    };
    let rules = schedulers()
        .into_iter()
        .chain([EarlyTerminate::SuccessiveHalving(long)]);
    let with_rules = rules.map(|rule| (Method::Sobol, rule));
    let with_methods = METHODS.map(|method| (method, least(method)));
    for (method, rule) in with_rules.chain(with_methods) {
        let mut log = Log::new(study(rich(), method, rule, 10_000));
        // A Gaussian process is asked now and then only: the others come from somewhere else.
        let every = if [Method::Gp, Method::Bayes].contains(&method) {
            1000
        } else {
            1
        };
        while log.history.trials().len() < 10_000 {
            let count = log.history.trials().len();
            if !count.is_multiple_of(every) {
                let u = (count as f64 * 0.618_034).fract();
                let config =
                    rich().build(|i, _, domain, _| domain.at((u * (i + 1) as f64).fract()));
                let trial = log.start(config.clone(), 0, None);
                through(&mut log, trial, None, &config);
                continue;
            }
            match log.scheduler.next(&log.history, true) {
                Next::Start { bracket, target } => {
                    let trial = TrialId(log.history.trials().len() as u32);
                    let config = log
                        .suggest_for(bracket, target)
                        .expect("the space is large");
                    log.launch(trial, target);
                    through(&mut log, trial, target, &config);
                }
                Next::Resume { trial, target } => {
                    let config = log.trial(trial).config.clone();
                    log.launch(trial, target);
                    through(&mut log, trial, target, &config);
                }
                Next::Discard { trial, evidence } => {
                    log.stop(trial, StopReason::Pruned { evidence });
                }
                Next::Wait => panic!("one at a time, nobody is to be waited for"),
            }
        }
    }
}

/// A trial's process, at once: three reports on the way to its target.
fn through(log: &mut Log, trial: TrialId, target: Option<u64>, config: &Config) {
    let from = log.trial(trial).curve.last_step().unwrap_or(0);
    let to = target.unwrap_or(27);
    for step in [
        from + (to - from).div_ceil(3),
        from + (to - from).div_ceil(2),
        to,
    ] {
        log.report(trial, step, bowl(config, step));
        if let Verdict::Stop { evidence } = log.scheduler.judge(&log.history, trial) {
            return log.stop(trial, StopReason::Pruned { evidence });
        }
    }
    log.end(
        trial,
        AttemptEnd::Exited {
            code: 0,
            stderr: String::new(),
        },
    );
    match log.scheduler.judge(&log.history, trial) {
        Verdict::Pause => log.pause(trial),
        _ => log.complete(trial),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever happens to the processes, every trial comes to an end (the simulation checks it), no
    /// place is idle while trials may start, and a successive-halving bracket sends on no more than
    /// it may.
    #[test]
    fn schedulers_never_lose_a_trial(
        seed in any::<u64>(),
        which in any::<prop::sample::Index>(),
        parallel in prop_oneof![Just(1_usize), 2_usize..9, Just(64)],
        cap in 1_u32..90,
        mishaps in prop::array::uniform3(0.0..0.08_f64),
        stride in 1_u64..8,
        length in 1_u64..60,
        heeds_target: bool,
        restart_every in prop::option::of(20_usize..200),
    ) {
        let worker = Worker {
            parallel, stride, length, heeds_target, mishaps, restart_every, ..Worker::default()
        };
        let rule = which.get(&schedulers()).clone();
        let study = study(rich(), Method::Random, rule.clone(), cap);
        let log = Simulation::new(study, worker, seed).run();
        prop_assert_eq!(log.history.trials().len(), cap as usize);
        if let EarlyTerminate::SuccessiveHalving(rungs) | EarlyTerminate::Hyperband(rungs) = rule {
            check_brackets(&log, rungs)?;
        }
    }
}

/// From each rung of each bracket at most the top `1/eta` (or one) were sent on.
fn check_brackets(log: &Log, rungs: Rungs) -> Result<(), TestCaseError> {
    let trials = log.history.trials();
    let last = trials.iter().map(|t| t.bracket).max().unwrap_or(0);
    for bracket in 0..=last {
        let members = || trials.iter().filter(|t| t.bracket == bracket);
        prop_assert!(members().count() > 0, "brackets follow on each other");
        let came = |level: u64| members().filter(|t| t.target >= Some(level)).count();
        let entry = members().filter_map(|t| t.attempts.first()?.target).min();
        let levels: Vec<u64> = rungs
            .levels()
            .into_iter()
            .filter(|l| Some(*l) >= entry)
            .collect();
        let mut possible = members().count();
        for level in &levels[1..] {
            possible = (possible / rungs.eta as usize).max(1);
            prop_assert!(came(*level) <= possible, "bracket {bracket}, step {level}");
        }
    }
    Ok(())
}
