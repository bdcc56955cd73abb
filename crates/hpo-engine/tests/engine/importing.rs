//! Trials from elsewhere.

use hpo_engine::{Engine, Import, Imported};
use hpo_study::import::RowEnd;
use hpo_study::{
    EarlyTerminate, History, ImportAs, ImportBatch, ImportTrial, Rungs, StudyEnd, StudySpec,
    TrialId, TrialState,
};

use crate::common::{Driver, Told, ended, exit, report, spec, started};

fn trial(x: f64, value: f64) -> ImportTrial {
    ImportTrial {
        name: format!("line {x}"),
        config: [("x", x)].into_iter().collect(),
        end: RowEnd::Completed,
        value: Some(value),
        curve: Vec::new(),
    }
}

fn import(used: ImportAs, trials: Vec<ImportTrial>) -> Import {
    Import {
        batch: ImportBatch {
            source: "a table".to_owned(),
            used,
            entry: None,
        },
        trials,
        rerun: 1,
    }
}

fn three() -> Vec<ImportTrial> {
    let mut stopped = trial(30.0, 0.0);
    (stopped.end, stopped.value) = (RowEnd::Stopped, None);
    stopped.curve = vec![(1, 0.9), (2, 0.8)];
    let mut failed = trial(40.0, 0.0);
    (failed.end, failed.value) = (RowEnd::Infeasible, None);
    vec![trial(50.0, 0.2), trial(20.0, 0.1), stopped, failed]
}

impl Driver {
    fn import(&mut self, import: &Import) -> Imported {
        let (events, told) = self.engine.import(self.now, import).unwrap();
        self.log.extend(events);
        told
    }

    /// Runs a trial to its end.
    fn through(&mut self, trial: u32, loss: f64) {
        self.step([
            started(trial, 1),
            report(trial, 1, 1, loss),
            ended(trial, 1, exit(0)),
        ]);
    }
}

#[test]
fn imported_trials_are_numbered_and_count_for_nothing_else() {
    let spec = StudySpec {
        run_cap: Some(2),
        ..spec()
    };
    let mut driver = Driver::new(spec, 1, Told::starting(None));
    let told = driver.import(&import(ImportAs::Evidence, three()));
    assert_eq!((told.completed, told.stopped, told.infeasible), (2, 1, 1));
    assert_eq!((told.best, told.rerun.len()), (Some(0.1), 1));
    assert_eq!(driver.engine.history().failures_in_a_row(), 0);
    driver.through(0, 0.5);
    // The best one of them is next.
    let next = &driver.engine.history().trials()[5];
    assert_eq!(
        (next.config.number("x"), next.origin.is_some()),
        (Some(20.0), false)
    );
    driver.through(5, 0.4);
    let history = driver.engine.history();
    assert_eq!(history.end(), Some(&StudyEnd::RunCap), "two of its own");
    assert_eq!(
        (
            history.trials().len(),
            history.own_count(),
            history.imported()
        ),
        (6, 2, 4)
    );
    assert_eq!(
        history.best().map(|t| t.id),
        Some(TrialId(5)),
        "0.1 was elsewhere"
    );
    assert_eq!(history.trials()[2].value(), Some(0.1));
    assert_eq!(history.trials()[3].curve.last(), Some((2, 0.8)));
    assert!(history.trials()[4].state.is_infeasible());
    assert_eq!(History::replay(&driver.log).unwrap(), *history);
}

#[test]
fn what_counts_as_own_can_be_the_best() {
    let mut driver = Driver::new(spec(), 1, Told::starting(None));
    let told = driver.import(&import(ImportAs::Trials, three()));
    assert!(told.rerun.is_empty());
    driver.through(0, 0.5);
    assert_eq!(
        driver.engine.history().best().map(|t| t.id),
        Some(TrialId(2))
    );
}

#[test]
fn the_same_trials_are_imported_once() {
    let mut driver = Driver::new(spec(), 1, Told::starting(None));
    driver.import(&import(ImportAs::Evidence, three()));
    let length = driver.log.len();
    let mut more = three();
    let again = driver.import(&import(ImportAs::Evidence, more.clone()));
    assert_eq!(
        (again.count(), again.known, driver.log.len()),
        (0, 4, length)
    );
    more.push(trial(60.0, 0.3));
    more.push(trial(60.0, 0.3));
    let told = driver.import(&import(ImportAs::Evidence, more));
    assert_eq!((told.count(), told.known), (1, 5));
    assert!(told.rerun.len() <= 1 && driver.engine.history().imports().len() == 2);
}

#[test]
fn values_on_another_scale_are_told() {
    let spec = StudySpec {
        run_cap: Some(20),
        ..spec()
    };
    let mut driver = Driver::new(spec, 1, Told::starting(None));
    for i in 0..5 {
        driver.through(i, f64::from(i) + 100.0);
    }
    let far: Vec<ImportTrial> = (0..5)
        .map(|i| trial(f64::from(i) + 50.0, 0.01 * f64::from(i)))
        .collect();
    let told = driver.import(&import(ImportAs::Prior, far.clone()));
    assert_eq!(told.warning, None, "a prior has no scale");
    let mut driver = Driver { ..driver };
    let near: Vec<ImportTrial> = (0..5)
        .map(|i| trial(f64::from(i) + 60.0, 100.0 + f64::from(i)))
        .collect();
    assert_eq!(
        driver.import(&import(ImportAs::Evidence, near)).warning,
        None
    );
    let others: Vec<ImportTrial> = far
        .into_iter()
        .map(|t| ImportTrial {
            config: [("x", t.last().unwrap() + 70.0)].into_iter().collect(),
            ..t
        })
        .collect();
    let told = driver.import(&import(ImportAs::Evidence, others));
    assert!(told.warning.unwrap().contains("nothing in common"));
}

/// A study with every method and with rules that pause goes on after an import as after its replay.
#[test]
fn a_study_with_imports_resumes_as_it_was() {
    use hpo_study::Method;
    let rungs = Rungs {
        min_iter: 1,
        max_iter: 9,
        eta: 3,
    };
    let methods = [
        (Method::Random, EarlyTerminate::None),
        (
            Method::Sobol,
            EarlyTerminate::Median {
                min_iter: 1,
                min_trials: 2,
            },
        ),
        (Method::Tpe, EarlyTerminate::Asha(rungs)),
        (Method::Gp, EarlyTerminate::AshaPromotion(rungs)),
        (
            Method::Bayes,
            EarlyTerminate::Auto {
                min_iter: 1,
                max_iter: Some(9),
            },
        ),
        (Method::Bohb, EarlyTerminate::SuccessiveHalving(rungs)),
        (Method::Dehb, EarlyTerminate::Hyperband(rungs)),
    ];
    for used in [ImportAs::Evidence, ImportAs::Trials, ImportAs::Prior] {
        for (method, early_terminate) in methods.clone() {
            let spec = StudySpec {
                method,
                early_terminate: early_terminate.clone(),
                run_cap: Some(12),
                ..spec()
            };
            let mut log = vec![crate::common::opened(spec)];
            let mut engine = Engine::new(&log).unwrap();
            let trials = (0..12)
                .map(|i| trial(f64::from(i) / 12.0, f64::from(i % 5)))
                .chain(three());
            let trials = trials
                .filter(|t| t.config.number("x") <= Some(1.0))
                .collect();
            let now = log[0].at;
            log.extend(engine.import(now, &import(used, trials)).unwrap().0);
            let mut resumed = Engine::new(&log).unwrap();
            for engine in [&mut engine, &mut resumed] {
                engine.begin_session(now, 1, "here").unwrap();
            }
            let inventory = hpo_engine::Inventory::slots(4);
            for turn in 0..30 {
                let inputs = |engine: &Engine| -> Vec<hpo_engine::Input> {
                    let active = engine
                        .history()
                        .trials()
                        .iter()
                        .filter(|t| t.state.is_active());
                    let of = |t: &hpo_study::Trial| {
                        let attempt = t.attempts.len() as u32;
                        let to = t.target.unwrap_or(9);
                        let loss = t.config.number("x").unwrap() + 1.0 / to as f64;
                        [
                            started(t.id.0, attempt),
                            report(t.id.0, attempt, to, loss),
                            ended(t.id.0, attempt, exit(0)),
                        ]
                    };
                    active.flat_map(of).collect()
                };
                let (a, b) = (inputs(&engine), inputs(&resumed));
                let (a, b) = (
                    engine.step(now, &inventory, a).unwrap(),
                    resumed.step(now, &inventory, b).unwrap(),
                );
                assert_eq!(a, b, "{method:?} {used:?} turn {turn}");
            }
            let history = engine.history();
            assert!(
                history.end().is_some(),
                "{method:?} {early_terminate:?} comes to its end"
            );
            assert_eq!(history.own_count(), 12, "{method:?} {used:?}");
            let first = history.own_trials().next().unwrap();
            let rerun = first.config.number("x") == Some(0.0);
            assert!(
                rerun == (used != ImportAs::Trials),
                "{method:?} {used:?}: {}",
                first.config
            );
            if used != ImportAs::Prior {
                let mut own: Vec<String> = history
                    .own_trials()
                    .map(|t| t.config.to_string())
                    .skip(1)
                    .collect();
                own.extend(
                    history
                        .trials()
                        .iter()
                        .filter(|t| t.origin.is_some())
                        .map(|t| t.config.to_string()),
                );
                let count = own.len();
                own.sort();
                own.dedup();
                assert_eq!(own.len(), count, "{method:?} {used:?}: nothing twice");
            }
            assert!(
                history
                    .trials()
                    .iter()
                    .all(|t| t.origin.is_none() || t.state != TrialState::Queued)
            );
        }
    }
}
