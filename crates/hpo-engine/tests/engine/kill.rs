//! The coordinator is killed at every event of a study; the next one brings it to the same end.

use std::time::Duration;

use hpo_engine::sim::{Kill, Outcome, Script, Sim, Start};
use hpo_study::*;

use crate::common::{METRIC, exit, signal, spec};

const FULL: u64 = 9;

/// Every way in which searches go: each stopping rule with each sampler.
fn searches() -> Vec<(Method, EarlyTerminate)> {
    let rungs = Rungs {
        min_iter: 1,
        max_iter: FULL,
        eta: 3,
    };
    let mut all = Vec::new();
    for rule in [
        EarlyTerminate::None,
        EarlyTerminate::Auto {
            min_iter: 1,
            max_iter: None,
        },
        EarlyTerminate::Median {
            min_iter: 2,
            min_trials: 2,
        },
        EarlyTerminate::Percentile {
            percentile: 40.0,
            min_iter: 1,
            min_trials: 2,
            interval: 2,
        },
        EarlyTerminate::Wilcoxon {
            p_threshold: 0.2,
            n_startup_steps: 2,
            metric: None,
        },
        EarlyTerminate::Patient {
            rule: Box::new(EarlyTerminate::None),
            patience: 1,
            min_delta: 0.0,
        },
        EarlyTerminate::Asha(rungs),
        EarlyTerminate::AshaPromotion(rungs),
        EarlyTerminate::SuccessiveHalving(rungs),
        EarlyTerminate::Hyperband(rungs),
    ] {
        all.extend(
            [Method::Random, Method::Grid, Method::Sobol].map(|method| (method, rule.clone())),
        );
    }
    let hyperband = EarlyTerminate::Hyperband(rungs);
    all.push((Method::Pbt, population()));
    all.extend([Method::Bohb, Method::Dehb].map(|method| (method, hyperband.clone())));
    all
}

fn population() -> EarlyTerminate {
    EarlyTerminate::Population(hpo_study::population::Population {
        size: 4,
        interval: 3,
        max_iter: FULL,
        quantile: 0.25,
        resample: 0.25,
        factors: vec![0.8, 1.2],
        mutate: vec!["x".to_owned()],
    })
}

fn study(method: Method, early_terminate: EarlyTerminate, trials: u32) -> StudySpec {
    let mut spec = StudySpec {
        method,
        early_terminate,
        run_cap: Some(trials),
        ..spec()
    };
    for parameter in &mut spec.space.parameters {
        for branch in &mut parameter.branches {
            if method == Method::Grid {
                branch.domain = Domain::Int {
                    low: 0,
                    high: 39,
                    log: false,
                    step: 1,
                };
            }
        }
    }
    spec
}

/// Trainings of all kinds, by the trial's number: most are well-behaved, some are not.
fn mixed(start: &Start) -> Script {
    let x = start.config.number("x").unwrap_or(0.0).rem_euclid(1.0);
    let noise = f64::from(start.seed % 1000) / 1e4;
    let loss = |step: u64| x + 1.0 / step as f64 + noise;
    let well = || Script::training(start, METRIC, FULL, loss);
    match start.trial.0 % 8 {
        // The loss explodes.
        1 => Script::training(
            start,
            METRIC,
            FULL,
            |s| if s < 2 { loss(s) } else { f64::NAN },
        ),
        // It crashes once.
        2 if start.attempt.0 == 1 => cut(well(), 1, exit(1)),
        // It always crashes.
        3 => cut(well(), 0, signal(11)),
        // It takes its time to end.
        4 => Script {
            linger: Duration::from_secs(3),
            ..well()
        },
        // It wants to be started again.
        5 if start.attempt.0 % 2 == 1 => cut(well(), 1, exit(75)),
        // It never reports the objective.
        6 if start.trial.0 == 6 => Script::training(start, "other", FULL, loss),
        _ => well(),
    }
}

fn cut(script: Script, lines: usize, end: AttemptEnd) -> Script {
    let lines = script.lines.into_iter().take(lines).collect();
    Script {
        lines,
        end: Some(end),
        ..script
    }
}

/// As [`mixed`], but nobody looks at the target. How far such a training gets before it is ended
/// depends on how fast it dies, so here it dies at once.
fn headless(start: &Start) -> Script {
    let script = mixed(&Start {
        target: None,
        ..start.clone()
    });
    Script {
        linger: Duration::ZERO,
        ..script
    }
}

/// Trainings of 60 steps that learn; but some explode after a while, of which some recover, and some
/// never learn anything. They write a checkpoint every seventh step only.
fn falling(start: &Start) -> Script {
    let full = 60;
    let noise = |step: u64| 0.01 * ((step * 7 + u64::from(start.seed)) % 5) as f64;
    let healthy = |step: u64| 0.3 + 2.0 / (1.0 + step as f64) + noise(step);
    let kind = start.trial.0 % 5;
    let script = Script::training(start, METRIC, full, |step| match (kind, step) {
        (1, 20..) => 8.0 + noise(step),
        (2, 20..28) => 8.0 + noise(step),
        (3, _) => 4.0 + noise(step),
        (4, 30..) => f64::NAN,
        _ => healthy(step),
    });
    let rare = |line: &hpo_engine::sim::Line| hpo_engine::sim::Line {
        checkpoint: line.checkpoint.filter(|step| step % 7 == 0),
        ..line.clone()
    };
    Script {
        lines: script.lines.iter().map(rare).collect(),
        ..script
    }
}

#[test]
fn what_was_found_does_not_depend_on_when_the_coordinator_died() {
    let divergence = Divergence {
        chance: Some(2.3),
        planned_steps: Some(60),
        ..Divergence::default()
    };
    let spec = StudySpec {
        run_cap: Some(5),
        divergence,
        ..spec()
    };
    let found = |outcome: &Outcome| {
        let trials = outcome.history.trials().iter();
        trials.map(|t| t.findings.clone()).collect::<Vec<_>>()
    };
    let calm = Sim::new(1, falling).run(spec.clone()).unwrap();
    let words: Vec<_> = calm
        .history
        .trials()
        .iter()
        .map(|t| t.state.reason().unwrap_or(t.state.word()))
        .collect();
    let expected = ["completed", "diverged", "completed", "diverged", "diverged"];
    assert_eq!(words, expected, "{:#?}", found(&calm));
    assert!(
        found(&calm)[2].len() >= 2,
        "the spike and the recovery are told: {:#?}",
        found(&calm)
    );
    let saved: Vec<_> = calm
        .history
        .trials()
        .iter()
        .map(|t| t.curve.last_step())
        .collect();
    assert!(saved[1] < Some(55) && saved[3] < Some(55), "{saved:?}");
    for kill in deaths(&calm.log) {
        let killed = Sim::new(1, falling).killed(kill).run(spec.clone()).unwrap();
        assert_eq!(result(&killed), result(&calm), "{kill:?}");
        assert_eq!(found(&killed), found(&calm), "{kill:?}");
    }
}

#[test]
fn a_rescue_does_not_depend_on_when_the_coordinator_died() {
    // At a small rate the trainings that explode do not.
    let train = |start: &Start| {
        let large = start.config.number("lr").is_some_and(|lr| lr > 0.05);
        let trial = TrialId(if large { start.trial.0 } else { 0 });
        falling(&Start {
            trial,
            ..start.clone()
        })
    };
    let mut spec = StudySpec {
        run_cap: Some(5),
        divergence: Divergence {
            chance: Some(2.3),
            planned_steps: Some(60),
            rescue: Some(Rescue {
                attempts: 1,
                lr_factor: 0.1,
            }),
            ..Divergence::default()
        },
        ..spec()
    };
    spec.space.parameters[0].name = "lr".into();
    for branch in &mut spec.space.parameters[0].branches {
        branch.domain = Domain::Constant(Value::Float(0.1));
    }
    let calm = Sim::new(1, train).run(spec.clone()).unwrap();
    let of = |t: &Trial| (t.state.word(), t.rescues.len(), t.config.number("lr"));
    let seen: Vec<_> = calm.history.trials().iter().map(of).collect();
    let (plain, rescued) = (
        ("completed", 0, Some(0.1)),
        ("completed", 1, Some(0.1 * 0.1)),
    );
    // The fourth never learned: there is nothing to go back to.
    let lost = ("stopped", 0, Some(0.1));
    assert_eq!(seen, [plain, rescued, plain, lost, rescued]);
    for trial in calm.history.trials() {
        assert!(
            trial
                .rescues
                .iter()
                .all(|r| (10..30).contains(&r.healthy_step))
        );
    }
    for kill in deaths(&calm.log) {
        let killed = Sim::new(1, train).killed(kill).run(spec.clone()).unwrap();
        assert_eq!(result(&killed), result(&calm), "{kill:?}");
        let rescues = |outcome: &Outcome| {
            let trials = outcome.history.trials().iter();
            trials.map(|t| t.rescues.clone()).collect::<Vec<_>>()
        };
        assert_eq!(rescues(&killed), rescues(&calm), "{kill:?}");
    }
}

/// Under a rule that pauses, promotes and prunes, too: who is rescued goes on to the rung he was sent to,
/// and who dies when does not matter.
#[test]
fn rescues_and_rungs_do_not_get_in_each_others_way() {
    let train = |start: &Start| {
        let large = start.config.number("lr").is_some_and(|lr| lr > 0.05);
        let trial = TrialId(if large { start.trial.0 } else { 0 });
        let script = falling(&Start {
            trial,
            ..start.clone()
        });
        // It stops where it was told to.
        let last = start.target.unwrap_or(u64::MAX);
        let lines = script.lines.into_iter();
        let lines = lines.filter(|line| line.report.step <= Some(last));
        Script {
            lines: lines.collect(),
            ..script
        }
    };
    let rungs = Rungs {
        min_iter: 20,
        max_iter: 60,
        eta: 3,
    };
    let median = EarlyTerminate::Median {
        min_iter: 50,
        min_trials: 2,
    };
    for (rule, rescued) in [
        (EarlyTerminate::Asha(rungs), 1),
        // One at a time, nobody who is lost later is among the best of those before him.
        (EarlyTerminate::AshaPromotion(rungs), 0),
        (EarlyTerminate::SuccessiveHalving(rungs), 1),
        (EarlyTerminate::Hyperband(rungs), 1),
        (median, 2),
    ] {
        let mut spec = study(Method::Random, rule.clone(), 8);
        spec.divergence = Divergence {
            chance: Some(2.3),
            planned_steps: Some(60),
            rescue: Some(Rescue {
                attempts: 1,
                lr_factor: 0.1,
            }),
            ..Divergence::default()
        };
        spec.space.parameters[0].name = "lr".into();
        for branch in &mut spec.space.parameters[0].branches {
            branch.domain = Domain::Constant(Value::Float(0.1));
        }
        let calm = Sim::new(1, train).run(spec.clone()).unwrap();
        let rescues = |outcome: &Outcome| {
            let trials = outcome.history.trials().iter();
            trials.map(|t| t.rescues.clone()).collect::<Vec<_>>()
        };
        let count = rescues(&calm).iter().filter(|r| !r.is_empty()).count();
        assert!(count >= rescued, "{rule:?}: {:#?}", result(&calm));
        for trial in calm.history.trials() {
            assert!(trial.state.is_final(), "{rule:?}");
            if trial.state == TrialState::Completed {
                assert_eq!(trial.curve.last_step(), Some(60), "{rule:?}");
            }
        }
        for kill in deaths(&calm.log).step_by(11) {
            let killed = Sim::new(1, train).killed(kill).run(spec.clone()).unwrap();
            assert_eq!(result(&killed), result(&calm), "{rule:?} {kill:?}");
            assert_eq!(rescues(&killed), rescues(&calm), "{rule:?} {kill:?}");
        }
    }
}

/// All that must not depend on when the coordinator died: configurations, fates, values, curves.
fn result(outcome: &Outcome) -> Vec<String> {
    let trial = |t: &Trial| {
        // What a power cut took from the trial that it began from it does again.
        let begun = t.parent.map_or(0, |parent| parent.step);
        let own = |(step, _): &(u64, f64)| *step > begun;
        let curve: Vec<_> = t.curve.objectives().filter(own).collect();
        format!(
            "{} {} {:?} {} {curve:?}",
            t.id, t.config, t.state, t.bracket
        )
    };
    outcome.history.trials().iter().map(trial).collect()
}

/// Every moment at which a coordinator that wrote this log can die.
fn deaths(log: &[Event]) -> impl Iterator<Item = Kill> {
    let children = [(false, 0), (true, 0), (true, 3)];
    (2..=log.len()).flat_map(move |after_events| {
        children
            .into_iter()
            .flat_map(move |(children_live, downtime)| {
                [false, true].map(move |commands_performed| Kill {
                    after_events,
                    commands_performed,
                    children_live,
                    downtime: Duration::from_secs(downtime),
                    power_cut: false,
                })
            })
    })
}

#[test]
fn one_worker_comes_to_the_very_same_end() {
    for (method, rule) in searches() {
        // Nine fill one bracket, twelve begin a second.
        let trials = if matches!(rule, EarlyTerminate::Hyperband(_)) {
            12
        } else {
            9
        };
        let spec = study(method, rule.clone(), trials);
        let calm = Sim::new(1, mixed).run(spec.clone()).unwrap();
        assert_eq!(
            calm.history.trials().len(),
            trials as usize,
            "{method:?} {rule:?}"
        );
        assert!(calm.history.trials().iter().all(|t| t.state.is_final()));
        for kill in deaths(&calm.log) {
            let killed = Sim::new(1, mixed).killed(kill).run(spec.clone()).unwrap();
            assert_eq!(killed.sessions, 2, "{kill:?}");
            assert_eq!(
                result(&killed),
                result(&calm),
                "{method:?} {rule:?} {kill:?}"
            );
            assert_eq!(killed.history.end(), calm.history.end());
            assert_eq!(
                killed.history.best().map(|t| t.id),
                calm.history.best().map(|t| t.id)
            );
        }
    }
}

#[test]
fn one_worker_whose_trainings_ignore_their_target_comes_to_the_same_end() {
    for (method, rule) in searches().into_iter().filter(|(m, _)| *m == Method::Random) {
        let spec = study(method, rule.clone(), 9);
        let calm = Sim::new(1, headless).run(spec.clone()).unwrap();
        // A child that lives on without a coordinator runs past its target for as long as nobody
        // looks, so only those deaths are compared in which the children die too.
        for kill in deaths(&calm.log).filter(|k| !k.children_live) {
            let killed = Sim::new(1, headless)
                .killed(kill)
                .run(spec.clone())
                .unwrap();
            assert_eq!(result(&killed), result(&calm), "{rule:?} {kill:?}");
        }
    }
}

#[test]
fn several_workers_lose_no_trial_and_finish_none_twice() {
    for (method, rule) in searches() {
        let spec = study(method, rule.clone(), 9);
        let calm = Sim::new(3, mixed).run(spec.clone()).unwrap();
        for kill in deaths(&calm.log) {
            // The simulation itself watches for two processes of one trial, one too many, and one
            // left behind; a second end of a trial does not fit the history.
            let killed = Sim::new(3, mixed).killed(kill).run(spec.clone()).unwrap();
            let trials = killed.history.trials();
            assert_eq!(
                trials.len(),
                calm.history.trials().len(),
                "{method:?} {rule:?} {kill:?}"
            );
            assert!(
                trials.iter().all(|t| t.state.is_final()),
                "{method:?} {rule:?} {kill:?}"
            );
            let configs = |o: &Outcome| {
                o.history
                    .trials()
                    .iter()
                    .map(|t| t.config.clone())
                    .collect::<Vec<_>>()
            };
            // Those that learn know what had been told by then.
            if !method.needs_rungs() {
                assert_eq!(configs(&killed), configs(&calm));
            }
            if rule == EarlyTerminate::None {
                assert_eq!(result(&killed), result(&calm), "{method:?} {kill:?}");
            }
        }
    }
}

#[test]
fn a_study_killed_again_and_again_still_comes_to_its_end() {
    let spec = study(Method::Random, EarlyTerminate::None, 8);
    let calm = Sim::new(1, mixed).run(spec.clone()).unwrap();
    // Every coordinator dies three events after the last one died.
    let mut log = vec![calm.log[0].clone()];
    for _ in 0..calm.log.len() {
        let kill = Kill {
            after_events: log.len() + 9,
            commands_performed: true,
            children_live: false,
            downtime: Duration::from_secs(1),
            power_cut: false,
        };
        log = Sim::new(1, mixed).killed(kill).resume(log).unwrap().log;
    }
    let end = Sim::new(1, mixed).resume(log).unwrap();
    assert_eq!(result(&end), result(&calm));
}

/// Whatever the disk had not yet been made to keep is gone: the same trials, values and fates come out.
#[test]
fn a_power_cut_at_any_moment_changes_nothing() {
    for (method, rule) in searches() {
        let spec = study(method, rule.clone(), 9);
        let calm = Sim::new(1, mixed).run(spec.clone()).unwrap();
        for after_events in 2..=calm.log.len() {
            for commands_performed in [false, true] {
                let kill = Kill {
                    after_events,
                    commands_performed,
                    children_live: false,
                    downtime: Duration::from_secs(600),
                    power_cut: true,
                };
                let cut = Sim::new(1, mixed).killed(kill).run(spec.clone()).unwrap();
                assert_eq!(result(&cut), result(&calm), "{method:?} {rule:?} {kill:?}");
            }
        }
    }
}

/// Adopted or lost, with one worker or three: a trial whose process lived on is not started again.
#[test]
fn a_trial_that_lives_on_has_one_attempt() {
    let well = |start: &Start| Script::training(start, METRIC, FULL, |s| 1.0 / s as f64);
    let spec = study(Method::Random, EarlyTerminate::None, 6);
    for workers in [1, 3] {
        let calm = Sim::new(workers, well).run(spec.clone()).unwrap();
        for kill in deaths(&calm.log).filter(|k| k.children_live && k.commands_performed) {
            let killed = Sim::new(workers, well)
                .killed(kill)
                .run(spec.clone())
                .unwrap();
            let whole = killed
                .history
                .trials()
                .iter()
                .all(|t| t.state == TrialState::Completed);
            assert!(whole, "{kill:?}");
            // In a torn log a decision can stand whose command was not performed yet.
            let again = killed
                .history
                .trials()
                .iter()
                .filter(|t| t.attempts.len() > 1)
                .count();
            assert!(again <= workers as usize, "{kill:?}");
            assert!(killed.processes <= 6, "nothing was run twice: {kill:?}");
            assert_eq!(result(&killed), result(&calm), "{kill:?}");
        }
    }
}
