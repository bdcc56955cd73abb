//! The best are run again with fresh seeds.

use std::time::Duration;

use hpo_engine::Input;
use hpo_engine::sim::{Kill, Script, Sim, Start};
use hpo_study::confirm::{Confirmed, confirmed, missing, winner};
use hpo_study::*;

use crate::common::{Driver, METRIC, Told, ended, exit, report, spec, started};

fn study(top: u32, seeds: u32) -> StudySpec {
    StudySpec {
        confirm: Some(Confirm { top, seeds }),
        ..spec()
    }
}

/// Number of the confirming run as the inputs have it.
fn c(number: usize) -> u32 {
    TrialId::confirmation(number).0
}

/// Runs a process to its end, which reports one value.
fn run(driver: &mut Driver, trial: u32, attempt: u32, loss: f64) -> Vec<String> {
    driver.step([
        started(trial, attempt),
        report(trial, attempt, 1, loss),
        ended(trial, attempt, exit(0)),
    ])
}

/// A search of four trials that is over, with one place; trial 2 has the best single value.
fn searched(spec: StudySpec) -> Driver {
    let mut driver = Driver::new(spec, 1, Told::starting(None));
    for (trial, loss) in [(0, 0.4), (1, 0.2), (2, 0.1), (3, 0.3)] {
        run(&mut driver, trial, 1, loss);
    }
    driver
}

#[test]
fn a_lucky_single_run_does_not_win() {
    let mut driver = searched(study(2, 2));
    let history = driver.engine.history();
    assert_eq!(
        history.best().unwrap().id,
        TrialId(2),
        "until it is known better"
    );
    assert_eq!((driver.end(), missing(history)), (None, 3));
    // They take turns, and have the configurations of the two best.
    for (number, (of, loss)) in [(2, 0.5), (1, 0.2), (2, 0.3), (1, 0.3)]
        .into_iter()
        .enumerate()
    {
        assert_eq!(driver.launches(), [c(number)]);
        let history = driver.engine.history();
        let fresh = history.trial(TrialId::confirmation(number)).unwrap();
        assert_eq!(fresh.confirms, Some(TrialId(of)));
        assert_eq!(fresh.config, history.trials()[of as usize].config);
        assert_eq!(
            history.best().unwrap().id,
            TrialId(2),
            "not before all have run"
        );
        run(&mut driver, c(number), 1, loss);
    }
    assert_eq!(driver.end(), Some(&StudyEnd::RunCap));
    let history = driver.engine.history();
    assert_eq!(
        history.trials().len(),
        4,
        "they are no trials of the search"
    );
    let won = winner(history).unwrap();
    assert_eq!((won.trial.id, won.mean()), (TrialId(1), Some(0.25)));
    assert!((won.standard_error().unwrap() - 0.05).abs() < 1e-12);
    assert_eq!(history.best().unwrap().id, TrialId(1));
    assert_eq!(history.single_best().unwrap().id, TrialId(2));
}

#[test]
fn broken_runs_count_against_a_configuration_and_are_not_made_again() {
    let mut driver = searched(study(2, 2));
    // Worse, but it never breaks.
    for number in 0..4 {
        if number == 0 {
            run(&mut driver, c(0), 1, f64::NAN);
        } else {
            let good = number % 2 == 0;
            run(&mut driver, c(number), 1, if good { 0.1 } else { 0.9 });
        }
    }
    let history = driver.engine.history();
    assert_eq!(driver.end(), Some(&StudyEnd::RunCap));
    let all = confirmed(history);
    let short = |c: &Confirmed<'_>| (c.trial.id.0, c.failed, c.values.clone());
    assert_eq!(
        all.iter().map(short).collect::<Vec<_>>(),
        [(1, 0, vec![0.9, 0.9]), (2, 1, vec![0.1])]
    );
    assert_eq!(history.best().unwrap().id, TrialId(1));
}

#[test]
fn fewer_completed_trials_than_wanted_are_all_confirmed() {
    let mut driver = Driver::new(study(3, 1), 4, Told::starting(None));
    for trial in 0..3 {
        run(&mut driver, trial, 1, f64::NAN);
    }
    run(&mut driver, 3, 1, 0.5);
    assert_eq!(driver.launches(), [c(0)]);
    run(&mut driver, c(0), 1, 0.6);
    assert_eq!(driver.end(), Some(&StudyEnd::RunCap));
    assert_eq!(winner(driver.engine.history()).unwrap().values, [0.6]);

    // And where none has, there is nothing to confirm.
    let mut driver = Driver::new(study(3, 1), 4, Told::starting(None));
    for trial in 0..4 {
        run(&mut driver, trial, 1, f64::NAN);
    }
    assert_eq!(driver.end(), Some(&StudyEnd::RunCap));
}

#[test]
fn nobody_judges_a_run_that_confirms() {
    let stop = |_: &Trial| hpo_search::Verdict::Stop {
        evidence: "bad".into(),
    };
    let told = Told::starting(None).judging(move |trial| match trial.confirms {
        None => hpo_search::Verdict::Continue,
        Some(_) => stop(trial),
    });
    let mut driver = Driver::new(study(1, 2), 2, told);
    for trial in 0..4 {
        run(&mut driver, trial, 1, f64::from(trial));
    }
    assert_eq!(driver.launches(), [c(0), c(1)], "all places are used");
    driver.step([started(c(0), 1), report(c(0), 1, 1, 9.0)]);
    assert!(driver.stops().is_empty());
    driver.step([ended(c(0), 1, exit(0))]);
    let run = TrialId::confirmation(0);
    assert_eq!(
        driver.engine.history().trial(run).unwrap().state,
        TrialState::Completed
    );
}

#[test]
fn time_that_runs_out_leaves_the_best_unconfirmed_and_asking_goes_on() {
    let mut driver = searched(StudySpec {
        time_cap: Some(Duration::from_secs(100)),
        ..study(2, 2)
    });
    run(&mut driver, c(0), 1, 0.5);
    driver.now = driver.now.plus(Duration::from_secs(101));
    driver.step([Input::Tick]);
    assert_eq!(driver.stops(), [c(1)]);
    driver.step([ended(c(1), 1, exit(0))]);
    assert_eq!(driver.end(), Some(&StudyEnd::TimeCap));
    let history = driver.engine.history();
    assert_eq!(
        (missing(history), history.best().unwrap().id),
        (3, TrialId(2))
    );

    // On demand the cap does not count; what was cut off is made again.
    let confirm = Confirm { top: 2, seeds: 2 };
    let now = driver.now;
    driver.engine.begin_session(now, 1, "here").unwrap();
    let kind = EventKind::ConfirmRequested { confirm };
    driver.engine.record(now, kind).unwrap();
    driver.step([Input::Tick]);
    for (number, loss) in [(2, 0.3), (3, 0.4), (4, 0.3)] {
        assert_eq!(driver.launches(), [c(number)]);
        run(&mut driver, c(number), 1, loss);
    }
    assert_eq!(driver.end(), Some(&StudyEnd::RunCap));
    assert_eq!(driver.engine.history().best().unwrap().id, TrialId(1));
}

#[test]
fn a_search_that_was_stopped_is_confirmed_and_goes_on_later() {
    let mut driver = Driver::new(spec(), 1, Told::starting(None));
    run(&mut driver, 0, 1, 0.2);
    driver.step([Input::Interrupt]);
    driver.step([ended(1, 1, exit(1))]);
    assert!(driver.engine.is_done());
    let now = driver.now;
    driver.engine.begin_session(now, 1, "here").unwrap();
    let confirm = Confirm { top: 3, seeds: 1 };
    driver
        .engine
        .record(now, EventKind::ConfirmRequested { confirm })
        .unwrap();
    driver.step([Input::Tick]);
    assert_eq!(driver.launches(), [c(0)], "trial 1 stays where it is");
    run(&mut driver, c(0), 1, 0.3);
    assert!(driver.engine.is_done() && driver.end().is_none());
    assert_eq!(*driver.state(1), TrialState::Queued);

    driver.session();
    assert_eq!(driver.launches(), [1]);
    run(&mut driver, 1, 2, 0.1);
    assert_eq!(driver.launches(), [2], "the next trial's number goes on");
}

/// Trainings whose value depends on configuration and seed; some break.
fn training(start: &Start) -> Script {
    let x = start.config.number("x").unwrap_or(0.0);
    let luck = f64::from(start.seed % 1000) / 2e3;
    let broken = start.seed.is_multiple_of(11);
    Script::training(start, METRIC, 3, |step| match step {
        3 if broken => f64::NAN,
        _ => x + luck + 1.0 / step as f64,
    })
}

/// All that must not depend on when the coordinator died.
fn result(history: &History) -> Vec<String> {
    let runs = history.runs();
    let one = |t: &Trial| {
        let curve: Vec<_> = t.curve.objectives().collect();
        format!(
            "{} {:?} {} {:?} {curve:?}",
            t.id, t.confirms, t.config, t.state
        )
    };
    let won = winner(history).map(|w| format!("{} {:?}", w.trial.id, w.values));
    runs.map(one).chain(won).collect()
}

#[test]
fn killed_at_any_event_it_makes_the_same_runs() {
    let rungs = Rungs {
        min_iter: 1,
        max_iter: 3,
        eta: 3,
    };
    for (method, rule) in [
        (Method::Random, EarlyTerminate::None),
        (Method::Sobol, EarlyTerminate::Hyperband(rungs)),
        (Method::Tpe, EarlyTerminate::Asha(rungs)),
    ] {
        let spec = StudySpec {
            method,
            early_terminate: rule,
            run_cap: Some(6),
            ..study(2, 3)
        };
        let calm = Sim::new(1, training).run(spec.clone()).unwrap();
        assert!(calm.history.confirmations().len() >= 3, "{method:?}");
        assert_eq!(missing(&calm.history), 0);
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
}

#[test]
fn raising_the_cap_goes_on_with_the_search_as_if_nothing_had_been_confirmed() {
    for method in [Method::Sobol, Method::Tpe, Method::Gp] {
        let plain = StudySpec {
            method,
            run_cap: Some(14),
            ..spec()
        };
        let expected = Sim::new(1, training).run(plain.clone()).unwrap();
        let mut engine_log = Vec::new();
        let first = StudySpec {
            run_cap: Some(11),
            confirm: Some(Confirm { top: 2, seeds: 2 }),
            ..plain.clone()
        };
        engine_log.extend(Sim::new(1, training).run(first).unwrap().log);
        // The search is asked for its next trial with the confirming runs in its log, and without.
        let mut engine = hpo_engine::Engine::new(&engine_log).unwrap();
        let now = engine.history().last_event();
        engine.begin_session(now, 1, "here").unwrap();
        engine.change_spec(now, plain).unwrap();
        let slots = hpo_engine::Inventory::slots(1);
        engine.step(now, &slots, vec![Input::Tick]).unwrap();
        let history = engine.history();
        assert_eq!(history.confirmations().len(), 4);
        assert_eq!(
            history.trials()[11].config,
            expected.history.trials()[11].config,
            "{method:?}"
        );
    }
}
