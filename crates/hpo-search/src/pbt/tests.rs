use super::*;
use crate::simulate::{Log, always, categorical, space, spec};
use hpo_study::population::lineage;
use hpo_study::{AttemptEnd, Method, StopReason};

fn rate() -> Domain {
    Domain::Float {
        low: 1e-4,
        high: 1.0,
        scale: Scale::Log,
        step: None,
    }
}

fn study(size: u32, seed: u64) -> StudySpec {
    let space = space([
        always("lr", rate()),
        always("kind", categorical(["a", "b"])),
    ]);
    let population = Population {
        size,
        interval: 5,
        max_iter: 20,
        quantile: 0.25,
        resample: 0.25,
        factors: vec![0.8, 1.2],
        mutate: vec!["lr".to_owned()],
    };
    let mut spec = spec(space, Method::Pbt, EarlyTerminate::Population(population));
    spec.seed = seed;
    spec
}

/// Trains the whole population. `train` gives a trial's loss from its own number, its rate and the loss it begins
/// with, or `None` where it diverges.
fn train(spec: StudySpec, train: impl Fn(TrialId, f64, f64) -> Option<f64>) -> Log {
    let mut log = Log::new(spec);
    while let Next::Start { bracket, target } = log.scheduler.next(&log.history, true) {
        // A coordinator that begins anew in between decides the same.
        let (sampler, scheduler) = log.rebuilt();
        let parent = log.scheduler.parent(&log.history);
        assert_eq!(scheduler.parent(&log.history), parent);
        let trial = TrialId(log.history.trials().len() as u32);
        let fresh = || stream(derive(log.history.spec().seed, trial, Purpose::Suggest));
        let other = sampler.suggest(&log.history, &mut fresh());
        if let Some(from) = parent {
            log.push(EventKind::TrialForked { trial, from });
        }
        let config = log.suggest_for(bracket, target).unwrap();
        assert_eq!(other, Some(config.clone()));
        let mut weights = 1.0;
        if let Some(from) = parent {
            weights = log.trial(from.trial).value().unwrap();
        }
        log.launch(trial, target);
        match train(trial, config.number("lr").unwrap(), weights) {
            Some(loss) => {
                log.report(trial, target.unwrap(), loss);
                let end = AttemptEnd::Exited {
                    code: 0,
                    stderr: String::new(),
                };
                log.end(trial, end);
                log.complete(trial);
            }
            None => {
                let evidence = String::new();
                log.stop(trial, StopReason::Diverged { evidence });
            }
        }
    }
    log
}

#[test]
fn the_worst_copy_the_best_and_all_others_go_on_as_they_were() {
    let log = train(study(8, 1), |_, lr, weights| Some(weights * (0.5 + lr)));
    let trials = log.history.trials();
    assert_eq!(trials.len(), 32);
    for row in 1..4 {
        let before = &trials[8 * (row - 1)..8 * row];
        let mut ranked: Vec<&Trial> = before.iter().collect();
        ranked.sort_by(|a, b| a.value().partial_cmp(&b.value()).unwrap());
        for (member, trial) in trials[8 * row..8 * (row + 1)].iter().enumerate() {
            assert_eq!(
                (trial.bracket as usize, trial.target),
                (member, Some(5 * (row as u64 + 1)))
            );
            let from = trial.parent.unwrap();
            assert_eq!(from.step, 5 * row as u64);
            let own = before[member].id;
            if ranked[6..].iter().any(|t| t.id == own) {
                assert!(ranked[..2].iter().any(|t| t.id == from.trial));
                let (old, new) = (log.trial(from.trial).config.clone(), &trial.config);
                assert_ne!(old.number("lr"), new.number("lr"));
                assert_eq!(
                    old.text("kind"),
                    new.text("kind"),
                    "only what is named changes"
                );
            } else {
                assert_eq!(from.trial, own);
                assert_eq!(trial.config, before[member].config);
            }
        }
    }
    let last = log.history.best().unwrap();
    let chain = lineage(&log.history, last);
    assert_eq!(chain.len(), 4);
    assert_eq!(chain[3].id, last.id);
    assert!(chain[0].parent.is_none());
}

#[test]
fn who_diverged_is_replaced_by_a_copy_of_one_of_the_best() {
    let log = train(study(4, 2), |trial, lr, weights| {
        (trial.0 != 2 && trial.0 != 5).then_some(weights * lr)
    });
    let trials = log.history.trials();
    assert_eq!(trials.len(), 16);
    assert_ne!(trials[6].parent.unwrap().trial, TrialId(2));
    assert_ne!(trials[9].parent.unwrap().trial, TrialId(5));
    assert!(
        trials
            .iter()
            .filter_map(|t| t.parent)
            .all(|o| ![2, 5].contains(&o.trial.0))
    );
}

#[test]
fn an_interval_in_which_all_were_lost_is_begun_again_and_not_for_ever() {
    let log = train(study(4, 3), |trial, lr, weights| {
        (!(4..8).contains(&trial.0)).then_some(weights * lr)
    });
    let trials = log.history.trials();
    assert_eq!(trials.len(), 20);
    for again in &trials[8..12] {
        assert_eq!(again.target, Some(10));
        let from = log.trial(again.parent.unwrap().trial);
        assert!(from.id.0 < 4);
        assert_ne!(again.config.number("lr"), from.config.number("lr"));
    }
    let log = train(study(4, 3), |_, _, _| None);
    assert_eq!(log.history.trials().len(), 12);
    assert!(
        log.history
            .trials()
            .iter()
            .all(|t| t.parent.is_none() && t.target == Some(5))
    );
}

#[test]
fn it_finds_a_rate_that_has_to_fall() {
    // The noise of a step grows with its rate: the less is left to learn, the smaller the best rate.
    fn step(_: TrialId, lr: f64, weights: f64) -> Option<f64> {
        Some(weights * (1.0 - lr).powi(2) + 0.5 * lr * lr)
    }
    let constant = (0..400).map(|i| {
        let lr = 10_f64.powf(-4.0 * f64::from(i) / 400.0);
        (0..20).fold(1.0, |weights, _| step(TrialId(0), lr, weights).unwrap())
    });
    let constant = constant.fold(f64::INFINITY, f64::min);
    let found = |seed| {
        let mut study = study(20, seed);
        if let EarlyTerminate::Population(population) = &mut study.early_terminate {
            population.interval = 1;
        }
        let log = train(study, step);
        log.history.best().unwrap().value().unwrap()
    };
    // The best schedule there is comes to 1/41.
    let mean = (0..5).map(found).sum::<f64>() / 5.0;
    assert!(mean < 0.8 * constant, "{mean} {constant}");
}

#[test]
fn nobody_goes_on_before_all_have_come_to_the_end() {
    let mut log = Log::new(study(2, 1));
    for _ in 0..2 {
        let Next::Start { bracket, target } = log.scheduler.next(&log.history, true) else {
            panic!("there is a place");
        };
        let trial = TrialId(log.history.trials().len() as u32);
        log.suggest_for(bracket, target);
        log.launch(trial, target);
    }
    assert_eq!(log.scheduler.next(&log.history, true), Next::Wait);
    // Beyond its target a trial is ended; at it, it ends by itself.
    log.report(TrialId(0), 5, 1.0);
    assert_eq!(
        log.scheduler.judge(&log.history, TrialId(0)),
        Verdict::Continue
    );
    log.report(TrialId(0), 6, 1.0);
    assert_eq!(
        log.scheduler.judge(&log.history, TrialId(0)),
        Verdict::Pause
    );
}

#[test]
fn perturbed_values_are_of_the_domain_and_other_ones() {
    let whole = Domain::Int {
        low: 1,
        high: 8,
        log: false,
        step: 1,
    };
    let of = |x: i64, factor| perturbed(&whole, &Value::Int(x), factor).as_i64();
    assert_eq!(
        (of(2, 1.2), of(2, 0.8), of(5, 1.2), of(8, 1.2)),
        (Some(3), Some(1), Some(6), Some(8))
    );
    let float = |x: f64, factor| {
        perturbed(&rate(), &Value::Float(x), factor)
            .as_f64()
            .unwrap()
    };
    assert!((float(0.1, 1.2) - 0.12).abs() < 1e-12);
    assert_eq!(float(0.9, 1.2), 1.0);
    let momentum = Domain::Float {
        low: 0.0,
        high: 0.999,
        scale: Scale::OneMinusLog,
        step: None,
    };
    let found = perturbed(&momentum, &Value::Float(0.9), 0.8)
        .as_f64()
        .unwrap();
    assert!((found - 0.92).abs() < 1e-12, "{found}");
    let stepped = Domain::Float {
        low: 0.0,
        high: 0.5,
        scale: Scale::Linear,
        step: Some(0.1),
    };
    assert_eq!(
        perturbed(&stepped, &Value::Float(0.3), 1.2),
        Value::Float(0.4)
    );
}

#[test]
fn perturbed_values_of_a_stepped_distribution_are_of_its_kind_and_other_ones() {
    let of = |step: f64, whole: bool, value: Value, factor: f64| {
        let domain = Domain::Law {
            law: hpo_study::Law::Normal {
                mu: 0.0,
                sigma: 9.0,
            },
            step: Some(step),
            whole,
        };
        perturbed(&domain, &value, factor)
    };
    assert_eq!(of(1.0, true, Value::Int(5), 1.2), Value::Int(6));
    assert_eq!(of(1.0, true, Value::Int(10), 0.8), Value::Int(8));
    assert_eq!(of(1.0, true, Value::Int(1), 1.2), Value::Int(2));
    assert_eq!(of(0.5, false, Value::Float(1.0), 0.8), Value::Float(0.5));
    assert_eq!(of(0.5, false, Value::Float(-1.0), 1.2), Value::Float(-1.5));
}
