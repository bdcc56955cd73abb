//! Random workloads and random nonsense: whatever comes, the engine keeps its promises.

use std::time::Duration;

use hpo_engine::sim::{Outcome, Script, Sim, Start};
use hpo_engine::{Engine, Input, Inventory};
use hpo_study::seed::{self, Purpose};
use hpo_study::*;
use proptest::prelude::*;

use crate::common::*;

/// A process that may do anything, decided by `chance` and which attempt it is.
fn anything(chance: u64, start: &Start) -> Script {
    let attempt = seed::derive(chance, start.trial, Purpose::Training) ^ u64::from(start.attempt.0);
    let draw = |what: u32| seed::derive(attempt, TrialId(what), Purpose::Scramble);
    let full = draw(0) % 12;
    let target = if draw(1) % 4 == 0 { None } else { start.target };
    let start = Start {
        target,
        ..start.clone()
    };
    let loss = |step: u64| match draw(2) % 5 {
        0 if step > draw(3) % 6 => f64::NAN,
        _ => (draw(4) % 100) as f64 / step as f64,
    };
    let metric = if draw(5) % 10 == 0 { "other" } else { METRIC };
    let mut script = Script::training(&start, metric, full, loss);
    script.pace = Duration::from_millis(draw(6) % 3000);
    script.linger = Duration::from_secs(draw(7) % 15);
    match draw(8) % 12 {
        0 => script.end = Some(exit(1)),
        1 => script.end = Some(signal(9)),
        2 => script.end = Some(exit(75)),
        3 => script.end = Some(AttemptEnd::Lost),
        4 => return Script::not_started("no such file"),
        _ => {}
    }
    if draw(9) % 3 == 0 {
        for line in &mut script.lines {
            line.checkpoint = None;
        }
    }
    if draw(10) % 3 == 0 {
        for line in &mut script.lines {
            line.report.step = None;
        }
    }
    script
}

fn rules() -> impl Strategy<Value = EarlyTerminate> {
    let rungs = (1..4u64, 1..12u64, 2..5u32).prop_map(|(min_iter, more, eta)| Rungs {
        min_iter,
        max_iter: min_iter + more,
        eta,
    });
    prop_oneof![
        Just(EarlyTerminate::None),
        (1..4u64, prop::option::of(4..12u64))
            .prop_map(|(min_iter, max_iter)| EarlyTerminate::Auto { min_iter, max_iter }),
        (0..4u64, 0..4u32).prop_map(|(min_iter, min_trials)| EarlyTerminate::Median {
            min_iter,
            min_trials
        }),
        (1.0..99.0, 0..4u64, 0..4u32, 1..4u64).prop_map(
            |(percentile, min_iter, min_trials, interval)| EarlyTerminate::Percentile {
                percentile,
                min_iter,
                min_trials,
                interval,
            }
        ),
        (0.05..0.9, 0..4u32).prop_map(|(p_threshold, n_startup_steps)| {
            EarlyTerminate::Wilcoxon {
                p_threshold,
                n_startup_steps,
                metric: None,
            }
        }),
        (0..3u64, rungs.clone()).prop_map(|(patience, rungs)| EarlyTerminate::Patient {
            rule: Box::new(EarlyTerminate::Asha(rungs)),
            patience,
            min_delta: 0.0,
        }),
        rungs.clone().prop_map(EarlyTerminate::Asha),
        rungs.clone().prop_map(EarlyTerminate::AshaPromotion),
        rungs.clone().prop_map(EarlyTerminate::SuccessiveHalving),
        rungs.prop_map(EarlyTerminate::Hyperband),
    ]
}

prop_compose! {
    fn studies()(
        seed in any::<u64>(),
        run_cap in 0..20u32,
        time_cap in proptest::option::weighted(0.3, 1..60u64),
        early_terminate in rules(),
        crash_retries in 0..3u32,
        stop_after_consecutive in 0..6u32,
    ) -> StudySpec {
        StudySpec {
            seed,
            run_cap: Some(run_cap),
            time_cap: time_cap.map(Duration::from_secs),
            early_terminate,
            failure: Failure { crash_retries, stop_after_consecutive, ..Failure::default() },
            ..spec()
        }
    }
}

/// What holds of every finished session.
fn check(outcome: &Outcome) -> Result<(), TestCaseError> {
    let replayed = History::replay(&outcome.log).expect("the log adds up");
    // As texts: a NaN is not equal to itself.
    prop_assert_eq!(format!("{replayed:?}"), format!("{:?}", outcome.history));
    for trial in outcome.history.trials() {
        prop_assert!(!trial.state.is_active());
        prop_assert!(trial.attempts.iter().all(|a| a.end.is_some()));
        let failed = matches!(outcome.history.end(), Some(StudyEnd::Failures { .. }));
        let ended = outcome.history.end().is_some() && !failed;
        prop_assert!(trial.state.is_final() || !ended, "{:?}", trial.state);
        if trial.state == TrialState::Completed {
            prop_assert!(trial.value().is_some_and(f64::is_finite));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_workload_comes_to_an_end(spec in studies(), slots in 1..5u32, chance in any::<u64>()) {
        let outcome = Sim::new(slots, |s| anything(chance, s)).run(spec).expect("keeps its promises");
        check(&outcome)?;
        prop_assert!(outcome.history.end().is_some());
    }

    #[test]
    fn a_user_may_drain_and_interrupt_at_any_time(
        spec in studies(),
        slots in 1..5u32,
        chance in any::<u64>(),
        drain in 0..20_000u64,
        interrupt in proptest::option::of(0..20_000u64),
    ) {
        let mut sim = Sim::new(slots, |s| anything(chance, s))
            .at(Duration::from_millis(drain), Input::Drain);
        if let Some(interrupt) = interrupt {
            sim = sim.at(Duration::from_millis(interrupt), Input::Interrupt);
        }
        let first = sim.run(spec).expect("keeps its promises");
        check(&first)?;
        let sim = Sim::new(slots, |s| anything(chance, s));
        let second = sim.resume(first.log).expect("keeps its promises");
        check(&second)?;
        prop_assert!(second.history.end().is_some());
    }

    #[test]
    fn no_sequence_of_inputs_upsets_the_engine(
        spec in studies(),
        slots in 0..4u32,
        steps in proptest::collection::vec((0..5_000u64, proptest::collection::vec(inputs(), 0..6)), 0..60),
    ) {
        let mut log = vec![opened(spec)];
        let mut engine = Engine::new(&log).expect("opens");
        log.extend(engine.begin_session(START, 1, "here").expect("begins"));
        let inventory = Inventory::slots(slots);
        let mut now = START;
        for (milliseconds, inputs) in steps {
            now = now.plus(Duration::from_millis(milliseconds));
            log.extend(engine.step(now, &inventory, inputs).expect("steps"));
            let active = engine.history().trials().iter().filter(|t| t.state.is_active()).count();
            prop_assert!(active <= slots as usize);
            prop_assert!(engine.outstanding().len() <= active);
            prop_assert!(engine.leftovers().len() == active);
            prop_assert!(engine.next_deadline(now).is_none_or(|d| d >= now));
        }
        let resumed = Engine::new(&log).expect("resumes");
        prop_assert_eq!(format!("{:?}", resumed.history()), format!("{:?}", engine.history()));
        prop_assert_eq!(resumed.outstanding(), engine.outstanding());
        let end = Sim::new(2, |s| anything(7, s)).resume(log).expect("keeps its promises");
        check(&end)?;
    }
}

fn inputs() -> impl Strategy<Value = Input> {
    let attempt = || (0..6u32, 0..4u32).prop_map(|(t, a)| (TrialId(t), AttemptNumber(a)));
    let ends = prop_oneof![
        (-1..256i32).prop_map(exit),
        Just(exit(0)),
        (0..70i32).prop_map(signal),
        Just(AttemptEnd::Lost),
        Just(AttemptEnd::NotStarted { error: "no".into() }),
    ];
    let value = prop_oneof![any::<f64>(), Just(f64::NAN), 0.0..1.0];
    let step = prop_oneof![Just(None), Just(Some(u64::MAX)), (0..12u64).prop_map(Some)];
    let name = prop_oneof![3 => Just(METRIC), 1 => Just("lr")];
    prop_oneof![
        6 => (attempt(), any::<u32>())
            .prop_map(|((trial, attempt), pid)| Input::Started { trial, attempt, pid }),
        12 => (attempt(), step, value, name).prop_map(|((trial, attempt), step, value, name)| {
            line(trial.0, attempt.0, step, &[(name, value)])
        }),
        8 => (attempt(), ends)
            .prop_map(|((trial, attempt), end)| Input::Ended { trial, attempt, end }),
        2 => Just(Input::Tick),
        1 => Just(Input::Drain),
        1 => attempt().prop_map(|(trial, attempt)| Input::NotNow { trial, attempt }),
        1 => Just(Input::Interrupt),
    ]
}
