//! What is done about runs that come to nothing.

use hpo_engine::{Command, Engine};
use hpo_search::{Rng, Sampler};
use hpo_study::*;

use crate::common::*;

/// A run that learns and then explodes for good, told to an engine with these wishes: the events of the
/// trial other than reports, and the step at which it was stopped.
fn explode(divergence: Divergence) -> (Vec<String>, Option<u64>) {
    let spec = StudySpec {
        divergence,
        ..spec()
    };
    let mut driver = Driver::new(spec, 1, Told::starting(None));
    let mut told = Vec::new();
    for step in 1..=100 {
        let loss = if step < 20 { 0.5 } else { 8.0 };
        told.extend(driver.step([report(0, 1, step, loss)]));
        if !driver.stops().is_empty() {
            told.retain(|name| !name.starts_with("reported"));
            return (told, Some(step));
        }
    }
    told.retain(|name| !name.starts_with("reported"));
    (told, None)
}

fn wishes(policy: DivergencePolicy, chance: Option<f64>, planned: Option<u64>) -> Divergence {
    Divergence {
        policy,
        chance,
        planned_steps: planned,
        ..Divergence::default()
    }
}

#[test]
fn a_run_that_explodes_is_stopped_warned_of_or_left_alone() {
    use DivergencePolicy::{Auto, Off, Warn};
    let known = |policy| wishes(policy, Some(2.3), Some(100));
    let (told, step) = explode(known(Auto));
    // The spike, the verdict, the end.
    assert_eq!(told, ["found 0/1", "found 0/1", "stop_requested 0/1"]);
    assert!(
        step.is_some_and(|step| (30..60).contains(&step)),
        "{step:?}"
    );
    assert_eq!(explode(known(Warn)), (vec!["found 0/1".into(); 2], None));
    assert_eq!(explode(known(Off)), (Vec::new(), None));
    // Without the chance level there is a warning only.
    let unknown = explode(wishes(Auto, None, Some(100)));
    assert_eq!(unknown.1, None);
    // More time, or a warm-up.
    let patient = Divergence {
        recover_steps: Some(60),
        ..known(Auto)
    };
    assert!(explode(patient).1.is_some_and(|step| step >= 79));
    let graceful = Divergence {
        grace_steps: 70,
        ..known(Auto)
    };
    assert!(explode(graceful).1.is_some_and(|step| step > 70));
}

#[test]
fn the_numbers_behind_a_stop_are_in_the_log() {
    let spec = StudySpec {
        divergence: wishes(DivergencePolicy::Auto, Some(2.3), Some(100)),
        ..spec()
    };
    let mut driver = Driver::new(spec, 1, Told::starting(None));
    for step in 1..=60 {
        let loss = if step < 20 { 0.5 } else { 8.0 };
        driver.step([report(0, 1, step, loss)]);
    }
    let trial = &driver.engine.history().trials()[0];
    let last = trial.hopeless().unwrap();
    assert_eq!(
        (last.verdict, last.rule.as_str()),
        (Verdict::Diverged, "collapsed")
    );
    assert!(last.certain && last.since.is_some_and(|since| (18..=21).contains(&since)));
    assert!(last.level.is_some_and(|level| (level - 8.0).abs() < 1e-9));
    assert!(
        last.detail.starts_with("loss 8, where chance is 2.3"),
        "{}",
        last.detail
    );
    let TrialState::Stopping(StopIntent::Stop { reason }) = &trial.state else {
        panic!("{:?}", trial.state)
    };
    assert!(reason.is_infeasible());
    assert_eq!(reason.evidence(), Some(last.detail.as_str()));
}

#[test]
fn another_metric_than_the_objective_can_be_watched() {
    let accuracy = Metric {
        name: "acc".into(),
        goal: Goal::Maximize,
    };
    let divergence = Divergence {
        metric: Some(accuracy),
        ..wishes(DivergencePolicy::Auto, Some(0.1), Some(50))
    };
    let spec = StudySpec {
        divergence,
        ..spec()
    };
    let judged = Told::starting(None).judging(|_| panic!("the objective was not reported"));
    let mut driver = Driver::new(spec, 1, judged);
    for step in 1..=50 {
        driver.step([line(0, 1, step, &[("acc", 0.1)])]);
    }
    let TrialState::Stopping(StopIntent::Stop { reason }) = driver.state(0) else {
        panic!("{:?}", driver.state(0))
    };
    assert_eq!(reason.word(), "no_progress");
}

/// A trial says what chance is with its first report: from then on what is found is certain, live and
/// after a restart alike.
#[test]
fn a_trial_may_say_what_chance_is() {
    let spec = StudySpec {
        divergence: wishes(DivergencePolicy::Auto, None, Some(50)),
        ..spec()
    };
    let lost = |told: bool| {
        let mut driver = Driver::new(spec.clone(), 1, Told::starting(None));
        for step in 1..=50 {
            let first = [("loss", 8.0), ("chance/loss", 2.3)];
            let count = if step == 1 && told { 2 } else { 1 };
            driver.step([line(0, 1, step, &first[..count])]);
            if !driver.stops().is_empty() {
                break;
            }
        }
        driver
    };
    assert!(lost(false).stops().is_empty(), "there is doubt");
    let driver = lost(true);
    assert_eq!(driver.stops(), [0]);
    let trial = &driver.engine.history().trials()[0];
    assert!(trial.findings[0].certain && trial.findings[0].chance == Some(2.3));
    // Whenever the engine is built anew, it comes to the same.
    for cut in 1..driver.log.len() {
        let log = &driver.log[..cut];
        let mut again = Engine::new(log).unwrap();
        again.begin_session(driver.now, 1, "here").unwrap();
        let seen = again.history().trials().first();
        let found = seen.map(|trial| trial.findings.clone()).unwrap_or_default();
        assert!(found.is_empty() || found == trial.findings, "{cut}");
    }
}

/// NaN is a value; a report without the metric is none. A detector that is built anew knows it, too.
#[test]
fn a_watched_metric_that_is_nan_is_not_one_that_is_missing() {
    let watched = Metric {
        name: "train".into(),
        goal: Goal::Minimize,
    };
    let spec = StudySpec {
        divergence: Divergence {
            metric: Some(watched),
            ..wishes(DivergencePolicy::Auto, Some(2.3), Some(100))
        },
        ..spec()
    };
    let mut driver = Driver::new(spec, 1, Told::starting(None));
    for step in 1..=10 {
        driver.step([line(0, 1, step, &[("train", 1.0)])]);
        driver.step([line(0, 1, step, &[("loss", 1.0)])]);
    }
    for step in 11..=12 {
        driver.step([line(0, 1, step, &[("loss", 1.0)])]);
    }
    for step in 13..=14 {
        driver.step([line(0, 1, step, &[("train", f64::NAN)])]);
    }
    assert!(driver.stops().is_empty(), "two are not enough");
    let sampler = Box::new(Counting { most: 100 });
    let scheduler = Box::new(Told::starting(None));
    driver.engine = Engine::with(&driver.log, sampler, scheduler).unwrap();
    let history = driver.engine.history();
    assert_eq!(history.reports(&history.trials()[0], "train").len(), 12);
    driver.step([line(0, 1, 15, &[("train", f64::NAN)])]);
    assert_eq!(driver.stops(), [0], "the third in a row");
}

#[test]
fn a_rescued_trial_goes_back_with_a_smaller_rate_as_often_as_it_may() {
    let rescue = Rescue {
        attempts: 1,
        lr_factor: 0.5,
    };
    let spec = StudySpec {
        divergence: Divergence {
            rescue: Some(rescue),
            ..wishes(DivergencePolicy::Auto, Some(2.3), Some(100))
        },
        run_cap: Some(1),
        ..spec()
    };
    let log = [opened(spec)];
    let sampler = Box::new(Fixed([("lr", 0.4)].into_iter().collect()));
    let engine = Engine::with(&log, sampler, Box::new(Told::starting(None))).unwrap();
    let mut driver = Driver {
        engine,
        log: log.to_vec(),
        now: START,
        slots: 1,
    };
    driver.session();
    // It learns until step 17 and explodes at step 20.
    let loss = |step: u64| match step {
        17 => 0.4,
        0..20 => 0.5,
        _ => 8.0,
    };
    let explode = |driver: &mut Driver, attempt, from| {
        for step in from..=100 {
            driver.step([report(0, attempt, step, loss(step))]);
            if !driver.stops().is_empty() {
                return;
            }
        }
    };
    explode(&mut driver, 1, 1);
    // What it still says does not count any more, and how it ends neither.
    driver.step([report(0, 1, 99, 0.1)]);
    let told = driver.step([ended(0, 1, exit(1))]);
    assert_eq!(
        told,
        [
            "attempt_ended 0/1",
            "trial_rescued 0",
            "attempt_launching 0/2"
        ]
    );
    let trial = &driver.engine.history().trials()[0];
    assert_eq!(trial.curve.last_step(), Some(17));
    assert_eq!(trial.config.number("lr"), Some(0.2));
    assert!(trial.hopeless().is_none());
    let launch = driver.engine.outstanding();
    let [
        Command::Launch {
            config,
            resume_step,
            resume,
            ..
        },
    ] = launch.as_slice()
    else {
        panic!("{launch:?}")
    };
    assert_eq!(
        (config.number("lr"), *resume_step, *resume),
        (Some(0.2), Some(17), true)
    );
    // It explodes again, and there is no second rescue.
    explode(&mut driver, 2, 18);
    let told = driver.step([ended(0, 2, exit(1))]);
    assert_eq!(told[1], "trial_stopped 0 (diverged)", "{told:?}");
}

#[test]
fn a_changed_policy_holds_for_what_runs() {
    let with = |policy| StudySpec {
        divergence: wishes(policy, Some(2.3), Some(100)),
        ..spec()
    };
    let mut driver = Driver::new(with(DivergencePolicy::Off), 1, Told::starting(None));
    let loss = |step| if step < 20 { 0.5 } else { 8.0 };
    for step in 1..=50 {
        driver.step([report(0, 1, step, loss(step))]);
    }
    assert!(driver.stops().is_empty());
    let events = driver
        .engine
        .change_spec(driver.now, with(DivergencePolicy::Auto))
        .unwrap();
    let names: Vec<String> = events.iter().map(|event| name(&event.kind)).collect();
    assert_eq!(names, ["spec_changed", "found 0/1", "stop_requested 0/1"]);
    driver.log.extend(events);
    assert_eq!(driver.stops(), [0]);
    assert!(Engine::new(&driver.log).is_ok_and(|engine| engine.outstanding().len() == 1));
}

#[test]
fn a_warm_up_is_grace() {
    let spec = StudySpec {
        divergence: wishes(DivergencePolicy::Auto, Some(2.3), Some(100)),
        run_cap: Some(1),
        ..spec()
    };
    let with = |share: f64| {
        let log = [opened(spec.clone())];
        let config = [("warmup_fraction", share)].into_iter().collect();
        let sampler = Box::new(Fixed(config));
        let engine = Engine::with(&log, sampler, Box::new(Told::starting(None))).unwrap();
        let mut driver = Driver {
            engine,
            log: log.to_vec(),
            now: START,
            slots: 1,
        };
        driver.session();
        (1..=100).find(|step| {
            let loss = if *step == 1 { 2.4 } else { 9.0 };
            driver.step([report(0, 1, *step, loss)]);
            !driver.stops().is_empty()
        })
    };
    let (without, long) = (with(0.0).unwrap(), with(0.5).unwrap());
    assert!(without < 40 && long > 50, "{without} {long}");
}

/// Always proposes the same.
struct Fixed(Config);

impl Sampler for Fixed {
    fn suggest(&self, _: &History, _: &mut Rng) -> Option<Config> {
        Some(self.0.clone())
    }
}
