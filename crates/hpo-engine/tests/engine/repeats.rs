//! Configurations that are run with several seeds inside the search.

use std::time::Duration;

use hpo_engine::Input;
use hpo_engine::sim::{Kill, Script, Sim, Start};
use hpo_study::control::Request;
use hpo_study::repeats::values;
use hpo_study::*;

use crate::common::{Driver, METRIC, Told, ended, exit, report, spec, started};

fn study(repeats: u32, run_cap: u32) -> StudySpec {
    StudySpec {
        repeats: Some(repeats),
        run_cap: Some(run_cap),
        ..spec()
    }
}

/// Number of the repeating run as the inputs have it.
fn r(number: usize) -> u32 {
    TrialId::repeat(number).0
}

/// Runs a process to its end, which reports one value.
fn run(driver: &mut Driver, trial: u32, loss: f64) -> Vec<String> {
    driver.step([
        started(trial, 1),
        report(trial, 1, 1, loss),
        ended(trial, 1, exit(0)),
    ])
}

fn one_place(spec: StudySpec) -> Driver {
    Driver::new(spec, 1, Told::starting(None))
}

#[test]
fn a_trials_value_is_the_mean_over_its_seeds() {
    let mut driver = one_place(study(3, 2));
    run(&mut driver, 0, 0.1);
    assert_eq!(driver.launches(), [r(0)], "before a new trial");
    assert_eq!(*driver.state(0), TrialState::Repeating);
    let history = driver.engine.history();
    let further = history.trial(TrialId::repeat(0)).unwrap();
    assert_eq!(further.repeat_of, Some(TrialId(0)));
    assert_eq!(further.config, history.trials()[0].config);
    assert_eq!(history.best(), None, "it has no value before all have run");
    run(&mut driver, r(0), 0.6);
    assert_eq!(driver.launches(), [r(1)], "one after the other");
    let events = run(&mut driver, r(1), 0.8);
    assert!(
        events.contains(&"trial_completed 0".to_owned()),
        "{events:?}"
    );
    let history = driver.engine.history();
    assert_eq!(values(&history.trials()[0]), [0.1, 0.6, 0.8]);
    assert_eq!(history.trials()[0].value(), Some(0.5));

    // A steady one is better than a lucky one, and the cap counts configurations.
    for (trial, loss) in [(1, 0.4), (r(2), 0.4), (r(3), 0.4)] {
        assert_eq!(driver.launches(), [trial]);
        run(&mut driver, trial, loss);
    }
    assert_eq!(driver.end(), Some(&StudyEnd::RunCap));
    let history = driver.engine.history();
    assert_eq!(history.best().unwrap().id, TrialId(1));
    assert_eq!((history.trials().len(), history.repeats().len()), (2, 4));
}

#[test]
fn a_hopeless_configuration_is_not_run_again_and_the_log_says_why() {
    let mut driver = one_place(study(3, 5));
    let mut further = 0;
    let mut all = |driver: &mut Driver, trial: u32, losses: [f64; 3]| {
        run(driver, trial, losses[0]);
        for loss in &losses[1..] {
            run(driver, r(further), *loss);
            further += 1;
        }
    };
    // Two whole ones tell the noise (standard deviation 0.01, 4 degrees of freedom).
    all(&mut driver, 0, [0.20, 0.21, 0.22]);
    all(&mut driver, 1, [0.30, 0.31, 0.32]);
    // Far behind after one run; t of 97.5 % with 4 degrees is 2.776, times 0.01 · √(1 + 1/3): .0321.
    let events = run(&mut driver, 2, 0.25);
    let told = [
        "repeats_given_up 2".to_owned(),
        "trial_completed 2".to_owned(),
    ];
    assert!(
        told.iter().all(|event| events.contains(event)),
        "{events:?}"
    );
    let history = driver.engine.history();
    let why = history.trials()[2].repeats.given_up.as_ref().unwrap();
    assert!(
        why.contains("0.2500 (of 1 run) is behind trial 0's 0.2100"),
        "{why}"
    );
    assert!(
        why.contains("3.21e-2") && why.contains("4 degrees"),
        "{why}"
    );
    assert_eq!(*driver.state(2), TrialState::Completed);

    // Not so far behind: again; then the mean of two is (margin .0253).
    run(&mut driver, 3, 0.24);
    assert_eq!(driver.launches(), [r(4)]);
    run(&mut driver, r(4), 0.24);
    assert_eq!(*driver.state(3), TrialState::Completed);
    assert_eq!(values(&driver.engine.history().trials()[3]).len(), 2);

    // As good as the best: all of its runs.
    for (trial, loss) in [(4, 0.22), (r(5), 0.20), (r(6), 0.21)] {
        assert_eq!(driver.launches(), [trial]);
        run(&mut driver, trial, loss);
    }
    assert_eq!(driver.end(), Some(&StudyEnd::RunCap));
    assert_eq!(values(&driver.engine.history().trials()[4]).len(), 3);
}

#[test]
fn what_is_hopeless_follows_the_goal() {
    let mut upwards = study(2, 8);
    upwards.metric.goal = Goal::Maximize;
    let mut driver = one_place(upwards);
    for (n, value) in [0.80, 0.82, 0.81, 0.83].into_iter().enumerate() {
        run(&mut driver, n as u32, value);
        run(&mut driver, r(n), value + 0.01);
    }
    run(&mut driver, 4, 0.5);
    assert_eq!(*driver.state(4), TrialState::Completed, "hopeless");
    run(&mut driver, 5, 0.99);
    assert_eq!(*driver.state(5), TrialState::Repeating, "better than all");
}

#[test]
fn a_configuration_that_breaks_with_some_seed_ends_as_that_run() {
    let mut driver = one_place(study(2, 2));
    run(&mut driver, 0, 0.1);
    run(&mut driver, r(0), f64::NAN);
    let state = driver.state(0);
    let TrialState::Stopped(StopReason::Diverged { evidence }) = state else {
        panic!("{state:?}");
    };
    assert!(
        evidence.starts_with("with another seed, as r0: "),
        "{evidence}"
    );
    assert_eq!(driver.engine.history().best(), None);
    run(&mut driver, 1, 0.2);
    // It crashes, is tried again as any other, and crashes.
    driver.step([started(r(1), 1), ended(r(1), 1, exit(1))]);
    driver.step([started(r(1), 2), ended(r(1), 2, exit(1))]);
    assert!(matches!(
        driver.state(1),
        TrialState::Failed(FailReason::Crash { .. })
    ));
    assert_eq!(
        driver.engine.history().failures_in_a_row(),
        1,
        "one configuration"
    );
}

#[test]
fn nobody_prunes_a_run_that_repeats() {
    let told = Told::starting(None).judging(|trial| match trial.repeat_of {
        None => hpo_search::Verdict::Continue,
        Some(_) => hpo_search::Verdict::Stop {
            evidence: "bad".into(),
        },
    });
    let mut driver = Driver::new(study(2, 1), 1, told);
    run(&mut driver, 0, 0.1);
    driver.step([started(r(0), 1), report(r(0), 1, 1, 9.0)]);
    assert!(driver.stops().is_empty());
    driver.step([ended(r(0), 1, exit(0))]);
    assert_eq!(*driver.state(0), TrialState::Completed);
}

#[test]
fn time_that_is_up_leaves_a_trial_the_value_that_it_has() {
    let mut driver = one_place(StudySpec {
        time_cap: Some(Duration::from_secs(100)),
        ..study(3, 4)
    });
    run(&mut driver, 0, 0.1);
    run(&mut driver, r(0), 0.3);
    assert_eq!(driver.launches(), [r(1)]);
    driver.now = driver.now.plus(Duration::from_secs(101));
    driver.step([Input::Tick]);
    assert_eq!(driver.stops(), [r(1)]);
    driver.step([ended(r(1), 1, exit(0))]);
    assert_eq!(driver.end(), Some(&StudyEnd::TimeCap));
    let trial = &driver.engine.history().trials()[0];
    assert_eq!(
        (trial.state.clone(), trial.value()),
        (TrialState::Completed, Some(0.2))
    );
}

#[test]
fn ending_a_trial_that_is_repeated_keeps_what_it_had() {
    let mut driver = one_place(study(3, 1));
    run(&mut driver, 0, 0.1);
    driver.step([started(r(0), 1)]);
    let now = driver.now;
    let pause = Request::PauseTrial { trial: TrialId(0) };
    let (events, answer) = driver.engine.ask(now, pause).unwrap();
    assert!(events.is_empty(), "{answer:?}");
    let stop = Request::StopTrial { trial: TrialId(0) };
    driver.engine.ask(now, stop).unwrap();
    assert_eq!(driver.stops(), [r(0)]);
    driver.step([ended(r(0), 1, exit(0))]);
    let trial = &driver.engine.history().trials()[0];
    assert_eq!(
        (trial.state.clone(), trial.value()),
        (TrialState::Completed, Some(0.1))
    );
    assert_eq!(driver.end(), Some(&StudyEnd::RunCap));
}

#[test]
fn a_run_that_is_just_being_put_back_ends_with_its_trial() {
    let mut driver = one_place(study(3, 1));
    run(&mut driver, 0, 0.1);
    driver.step([started(r(0), 1)]);
    let now = driver.now;
    let trial = TrialId::repeat(0);
    driver
        .engine
        .ask(now, Request::PauseTrial { trial })
        .unwrap();
    let stop = Request::StopTrial { trial: TrialId(0) };
    driver.engine.ask(now, stop).unwrap();
    driver.step([ended(r(0), 1, exit(0))]);
    let state = driver.state(0);
    assert_eq!(state, &TrialState::Completed);
    assert_eq!(driver.end(), Some(&StudyEnd::RunCap));
}

#[test]
fn draining_waits_for_the_run_and_the_next_session_makes_the_others() {
    let mut driver = one_place(study(3, 1));
    run(&mut driver, 0, 0.1);
    driver.step([started(r(0), 1), Input::Drain]);
    assert!(!driver.engine.is_done());
    driver.step([report(r(0), 1, 1, 0.2), ended(r(0), 1, exit(0))]);
    assert!(driver.engine.is_done() && driver.end().is_none());
    driver.session();
    assert_eq!(driver.launches(), [r(1)]);
    run(&mut driver, r(1), 0.3);
    assert_eq!(driver.end(), Some(&StudyEnd::RunCap));
    assert_eq!(
        values(&driver.engine.history().trials()[0]),
        [0.1, 0.2, 0.3]
    );
}

/// Trainings whose value depends on configuration and seed; some break.
fn training(start: &Start) -> Script {
    let x = start.config.number("x").unwrap_or(0.0);
    let luck = f64::from(start.seed % 1000) / 1e4;
    let broken = start.seed.is_multiple_of(11);
    Script::training(start, METRIC, 3, |step| match step {
        3 if broken => f64::NAN,
        _ => x + luck + 1.0 / step as f64,
    })
}

/// All that must not depend on when the coordinator died.
fn result(history: &History) -> Vec<String> {
    let one = |t: &Trial| {
        let curve: Vec<_> = t.curve.objectives().collect();
        format!(
            "{} {:?} {} {:?} {:?} {curve:?}",
            t.id, t.repeat_of, t.config, t.state, t.repeats
        )
    };
    history.runs().map(one).collect()
}

#[test]
fn killed_at_any_event_it_makes_the_same_runs() {
    let rungs = Rungs {
        min_iter: 1,
        max_iter: 3,
        eta: 3,
    };
    let mut given_up = 0;
    for (method, rule) in [
        (Method::Random, EarlyTerminate::None),
        (Method::Sobol, EarlyTerminate::Hyperband(rungs)),
        (Method::Tpe, EarlyTerminate::Asha(rungs)),
    ] {
        let spec = StudySpec {
            method,
            early_terminate: rule,
            confirm: Some(Confirm { top: 1, seeds: 2 }),
            ..study(3, 9)
        };
        let calm = Sim::new(1, training).run(spec.clone()).unwrap();
        assert!(calm.history.repeats().len() >= 4, "{method:?}");
        let hopeless = |t: &&Trial| t.repeats.given_up.is_some();
        given_up += calm.history.trials().iter().filter(hopeless).count();
        for after_events in 2..=calm.log.len() {
            for (commands_performed, children_live) in [(true, true), (false, false), (true, false)]
            {
                let kill = Kill {
                    after_events,
                    commands_performed,
                    children_live,
                    downtime: Duration::from_secs(1),
                    power_cut: false,
                };
                let killed = Sim::new(1, training)
                    .killed(kill)
                    .run(spec.clone())
                    .unwrap();
                assert_eq!(result(&killed.history), result(&calm.history), "{kill:?}");
                assert_eq!(killed.history.end(), calm.history.end());
            }
        }
    }
    assert!(given_up > 0, "some were hopeless");
}

#[test]
fn with_several_places_every_configuration_has_its_runs() {
    for method in [Method::Random, Method::Tpe, Method::Gp] {
        let spec = StudySpec {
            method,
            ..study(3, 12)
        };
        let done = Sim::new(4, training).run(spec).unwrap().history;
        assert_eq!(done.end(), Some(&StudyEnd::RunCap));
        for trial in done.trials() {
            assert!(trial.state.is_final(), "{trial:?}");
            let all = values(trial).len() == 3;
            let less = trial.repeats.given_up.is_some();
            assert!(
                all || less || trial.state != TrialState::Completed,
                "{trial:?}"
            );
        }
        let best = done.best().unwrap();
        assert_eq!(values(best).len(), 3, "nothing wins with fewer runs");
    }
}
