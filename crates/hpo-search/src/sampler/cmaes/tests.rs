use super::*;
use crate::simulate::{Log, Simulation, Worker, always, categorical, float, space, spec, when};
use hpo_study::{EarlyTerminate, Method, Scale};

fn study(space: Space, cap: u32) -> StudySpec {
    let mut study = spec(space, Method::Cmaes, EarlyTerminate::None);
    study.run_cap = Some(cap);
    study.seed = 3;
    study
}

fn best(space: Space, cap: u32, parallel: usize, objective: fn(&Config, u64) -> f64) -> f64 {
    best_of(study(space, cap), parallel, objective)
}

fn best_of(study: StudySpec, parallel: usize, objective: fn(&Config, u64) -> f64) -> f64 {
    let worker = Worker {
        objective,
        parallel,
        length: 1,
        ..Worker::default()
    };
    let log = Simulation::new(study, worker, 1).run();
    let values = log.history.trials().iter().filter_map(|t| t.value());
    values.fold(f64::INFINITY, f64::min)
}

/// A long valley that lies across the axes.
fn valley(config: &Config, _: u64) -> f64 {
    let at = |name| config.number(name).unwrap() - 0.3;
    let (x, y, z) = (at("x"), at("y"), at("z"));
    100.0 * (x - y).powi(2) + (x + y).powi(2) + 10.0 * (z - x).powi(2)
}

fn cube() -> Space {
    space(["x", "y", "z"].map(|name| always(name, float(0.0, 1.0))))
}

#[test]
fn it_goes_down_a_valley_across_the_axes_one_at_a_time_and_many_at_once() {
    // More at once than a population: later draws are as good as those before, not worse.
    for (cap, parallel) in [(300, 1), (300, 4), (600, 40)] {
        let mut bests = [3, 4, 5, 6, 7].map(|seed| {
            let study = StudySpec {
                seed,
                ..study(cube(), cap)
            };
            best_of(study, parallel, valley)
        });
        // One seed in ten is ten times as far from the bottom.
        bests.sort_by(f64::total_cmp);
        assert!(bests[2] < 3e-5 && bests[4] < 1e-2, "{parallel}: {bests:?}");
    }
}

#[test]
fn whole_numbers_steps_and_choices_are_found_together() {
    fn loss(config: &Config, _: u64) -> f64 {
        let whole = (config.number("whole").unwrap() - 7.0).abs();
        let kind = f64::from(u8::from(config.text("kind") != Some("b")));
        let step = (config.number("step").unwrap() - 0.2).abs();
        whole + 4.0 * kind + 10.0 * step + (config.number("x").unwrap() - 0.9).powi(2)
    }
    let whole = Domain::Int {
        low: 0,
        high: 20,
        log: false,
        step: 1,
    };
    let stepped = Domain::Float {
        low: 0.0,
        high: 0.5,
        scale: Scale::Linear,
        step: Some(0.1),
    };
    let space = space([
        always("whole", whole),
        always("kind", categorical(["a", "b", "c", "d"])),
        always("step", stepped),
        always("x", float(0.0, 1.0)),
    ]);
    assert!(best(space, 250, 1, loss) < 0.01);
}

#[test]
fn a_parameter_of_one_branch_is_searched_in_it() {
    fn loss(config: &Config, _: u64) -> f64 {
        match config.number("momentum") {
            Some(momentum) => (momentum - 0.77).abs(),
            None => 1.0,
        }
    }
    let space = space([
        always("optimizer", categorical(["adam", "sgd"])),
        when("momentum", "optimizer", "sgd", float(0.0, 1.0)),
    ]);
    assert!(best(space, 150, 1, loss) < 0.005);
}

#[test]
fn it_keeps_away_from_what_diverges() {
    fn loss(config: &Config, _: u64) -> f64 {
        match config.number("x").unwrap() {
            x if x > 0.6 => f64::NAN,
            x => (x - 0.55).abs() + (config.number("y").unwrap() - 0.5).abs(),
        }
    }
    let worker = Worker {
        objective: loss,
        length: 1,
        ..Worker::default()
    };
    let space = space(["x", "y"].map(|name| always(name, float(0.0, 1.0))));
    let log = Simulation::new(study(space, 120), worker, 1).run();
    let late = log.history.trials().iter().skip(60);
    let lost = late.filter(|t| t.config.number("x") > Some(0.6)).count();
    assert!(lost < 20, "{lost} of 60");
}

#[test]
fn no_configuration_comes_twice_until_all_were_tried() {
    let whole = |high| Domain::Int {
        low: 0,
        high,
        log: false,
        step: 1,
    };
    let space = space([
        always("a", whole(7)),
        always("b", whole(7)),
        always("c", categorical(["x", "y"])),
    ]);
    fn loss(config: &Config, _: u64) -> f64 {
        config.number("a").unwrap() + config.number("b").unwrap()
    }
    let worker = Worker {
        objective: loss,
        length: 1,
        ..Worker::default()
    };
    let log = Simulation::new(study(space, 110), worker, 1).run();
    let text = |t: &hpo_study::Trial| format!("{:?}", t.config);
    let different: std::collections::HashSet<String> =
        log.history.trials().iter().map(text).collect();
    assert_eq!(different.len(), 110);
}

#[test]
fn limits_lie_where_the_value_changes() {
    let log = Domain::Int {
        low: 1,
        high: 64,
        log: true,
        step: 1,
    };
    let found = limits(&log);
    assert_eq!(found.len(), 63);
    for (i, limit) in found.iter().enumerate() {
        let whole = |u: f64| log.at(u).as_i64().unwrap();
        assert_eq!(whole(limit - 1e-9), i as i64 + 1);
        assert_eq!(whole(limit + 1e-9), i as i64 + 2);
    }
    assert!(limits(&float(0.0, 1.0)).is_empty());
}

#[test]
fn what_was_enqueued_is_learned_from_but_does_not_throw_it_off() {
    let mut log = Log::new(study(cube(), 100));
    for i in 0..40 {
        let config: Config = match i % 5 {
            0 => ["x", "y", "z"]
                .map(|name| (name, 0.0))
                .into_iter()
                .collect(),
            _ => log
                .sampler
                .suggest(&log.history, &mut {
                    let trial = TrialId(log.history.trials().len() as u32);
                    stream(derive(3, trial, Purpose::Suggest))
                })
                .unwrap(),
        };
        let trial = log.start(config.clone(), 0, None);
        log.report(trial, 1, valley(&config, 1));
        log.end(
            trial,
            hpo_study::AttemptEnd::Exited {
                code: 0,
                stderr: String::new(),
            },
        );
        log.complete(trial);
    }
    let next = log.suggest().unwrap();
    let far = ["x", "y", "z"].map(|n| next.number(n).unwrap());
    assert!(far.iter().any(|x| *x > 0.1), "{far:?}");
}
