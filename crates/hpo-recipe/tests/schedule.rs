//! What holds for every schedule of the catalogue.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod schedule_settings;

use hpo_recipe::schedule::WARMUP;
use hpo_recipe::{Allowed, Config, Horizon, RecipeError, Schedule, ScheduleKind, Search, Value};
use proptest::prelude::*;

fn build(config: &Config) -> Result<Schedule, RecipeError> {
    let horizon = Horizon {
        total_steps: 100,
        steps_per_epoch: 10,
    };
    Schedule::from_config(config, 0.1, Some(0.9), horizon)
}

/// Any schedule with any setting of its search ranges on a run of any length.
fn any_schedule() -> impl Strategy<Value = Schedule> {
    let kinds = prop::sample::select(ScheduleKind::ALL);
    let units = prop::collection::vec(0.0..=1.0, 16);
    let momentum = prop::option::of(0.0..1.0);
    (
        kinds,
        any::<bool>(),
        units,
        -6.0..1.0,
        momentum,
        1..400_u64,
        1..50_u64,
    )
        .prop_map(
            |(kind, warmup, units, exponent, momentum, total_steps, steps_per_epoch)| {
                let mut units = units.into_iter();
                let config =
                    schedule_settings::config(kind, warmup, || units.next().expect("enough units"));
                let horizon = Horizon {
                    total_steps,
                    steps_per_epoch,
                };
                Schedule::from_config(&config, 10_f64.powf(exponent), momentum, horizon)
                    .unwrap_or_else(|error| panic!("{config}: {error}"))
            },
        )
}

proptest! {
    #[test]
    fn every_setting_of_every_step_makes_sense(
        mut schedule in any_schedule(),
        values in prop::collection::vec(any::<f64>(), 20),
    ) {
        let horizon = schedule.horizon();
        let highest = schedule.lr() * (1.0 + 1e-12);
        let mut values = values.into_iter().cycle();
        for step in 0..=2 * horizon.total_steps {
            let setting = schedule.at(step);
            prop_assert!((0.0..=highest).contains(&setting.lr), "{step}: {setting:?}");
            prop_assert!(setting.momentum.is_none_or(|m| (0.0..1.0).contains(&m)), "{setting:?}");
            prop_assert!(setting.batch_multiplier.is_finite() && setting.batch_multiplier >= 1.0);
            if (step + 1) % horizon.steps_per_epoch == 0 {
                schedule.observe(values.next().unwrap_or(f64::NAN));
            }
        }
    }

    #[test]
    fn a_checkpoint_goes_on_where_it_was(
        mut schedule in any_schedule(),
        before in prop::collection::vec(any::<f64>(), 0..20),
        after in prop::collection::vec(any::<f64>(), 0..20),
    ) {
        before.iter().for_each(|value| schedule.observe(*value));
        let text = serde_json::to_string(&schedule).unwrap();
        let mut restored: Schedule = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&restored, &schedule);
        for value in after {
            schedule.observe(value);
            restored.observe(value);
        }
        for step in 0..=schedule.horizon().total_steps {
            prop_assert_eq!(restored.at(step), schedule.at(step));
        }
    }

    #[test]
    fn the_warm_up_rises_to_where_the_schedule_starts(schedule in any_schedule()) {
        let end = schedule.warmup_steps();
        let first = schedule.at(end).lr;
        for step in 0..end {
            prop_assert!(schedule.at(step).lr <= schedule.at(step + 1).lr.max(first) * (1.0 + 1e-12));
        }
    }
}

#[test]
fn every_schedule_runs_at_its_defaults() {
    for kind in ScheduleKind::ALL {
        let config = Config::from_iter([("schedule", kind.name())]);
        let schedule = build(&config).unwrap();
        assert_eq!(schedule.kind(), *kind);
        assert_eq!(kind.name().parse(), Ok(*kind));
        for knob in kind.facts().hyperparameters {
            assert_eq!(
                schedule.values().get(knob.name),
                Some(&knob.default.value())
            );
        }
    }
}

#[test]
fn every_knob_agrees_with_itself() {
    for kind in ScheduleKind::ALL {
        for knob in kind.facts().hyperparameters.iter().chain(WARMUP) {
            let allowed = |value: &Value| knob.check(value).is_ok();
            assert!(allowed(&knob.default.value()), "{kind} {}", knob.name);
            assert!(
                !knob.meaning.is_empty() && !knob.source.is_empty(),
                "{kind} {}",
                knob.name
            );
            match knob.search {
                Some(Search::Range { low, high, .. }) => {
                    assert!(low < high, "{kind} {}", knob.name);
                    assert!(
                        allowed(&low.into()) && allowed(&high.into()),
                        "{kind} {}",
                        knob.name
                    );
                }
                Some(Search::Choices(choices)) => {
                    assert!(choices.iter().all(|choice| allowed(&choice.value())));
                }
                None => {}
            }
        }
    }
}

#[test]
fn nonsense_is_refused_for_every_knob() {
    for kind in ScheduleKind::ALL {
        for knob in kind.facts().hyperparameters.iter().chain(WARMUP) {
            let nonsense: [Value; 4] = match knob.allowed {
                Allowed::OneOf(_) | Allowed::Flag => {
                    [7.into(), "sideways".into(), Value::Null, f64::NAN.into()]
                }
                _ => [
                    "sideways".into(),
                    (-1.0).into(),
                    f64::NAN.into(),
                    f64::INFINITY.into(),
                ],
            };
            for value in nonsense {
                let mut config = Config::from_iter([("schedule", kind.name())]);
                config.set(knob.name, value);
                let error = build(&config).expect_err(&config.to_string()).to_string();
                assert!(error.contains(knob.name), "{error}");
            }
        }
    }
}

#[test]
fn errors_say_what_is_wrong() {
    let text = |pairs: &[(&str, Value)]| {
        build(&pairs.iter().cloned().collect())
            .map(|_| ())
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        text(&[("schedule", "cosin".into())]),
        "there is no learning-rate schedule `cosin`; did you mean `cosine`?"
    );
    assert_eq!(
        text(&[("schedule", 3.into())]),
        "there is no learning-rate schedule `3`"
    );
    assert_eq!(
        text(&[("warmup_fraction", 1.0.into())]),
        "`warmup_fraction` is 1.0, but must be a number of at least 0 and less than 1"
    );
    let list = Value::List(vec![0.75.into(), 0.5.into()]);
    assert_eq!(
        text(&[("schedule", "multistep".into()), ("milestones", list)]),
        "`milestones` is [0.75, 0.5], but must be a list of ascending numbers, each of more than \
         0 and less than 1"
    );
    assert_eq!(
        text(&[("schedule", "cyclic".into()), ("mode", "square".into())]),
        "`mode` is square, but must be one of triangular, triangular2, exp_range"
    );
    assert_eq!(
        text(&[("schedule", "warm_restarts".into()), ("t_mult", 1.5.into())]),
        "`t_mult` is 1.5, but must be a whole number of at least 1"
    );
}

#[test]
fn a_run_needs_a_rate_and_a_length() {
    for (lr, total_steps, steps_per_epoch, name) in [
        (0.0, 10, 10, "lr"),
        (f64::NAN, 10, 10, "lr"),
        (0.1, 0, 10, "total_steps"),
        (0.1, 10, 0, "steps_per_epoch"),
    ] {
        let horizon = Horizon {
            total_steps,
            steps_per_epoch,
        };
        let error = Schedule::from_config(&Config::new(), lr, None, horizon).unwrap_err();
        assert!(error.to_string().contains(&format!("`{name}`")), "{error}");
    }
}

#[test]
fn a_damaged_checkpoint_is_an_error() {
    let schedule = build(&Config::from_iter([("schedule", "reduce_on_plateau")])).unwrap();
    let text = serde_json::to_string(&schedule).unwrap();
    for (from, to) in [
        ("\"factor\":0.1", "\"factor\":7.0"),
        ("reduce_on_plateau", "reduce_on_mountain"),
        ("\"total_steps\":100", "\"total_steps\":0"),
        ("\"bad_epochs\":0", "\"bad_epochs\":-1"),
        ("\"progress\":{\"lr\":0.1", "\"progress\":{\"lr\":-0.1"),
    ] {
        let damaged = text.replace(from, to);
        assert_ne!(damaged, text, "{from}");
        assert!(
            serde_json::from_str::<Schedule>(&damaged).is_err(),
            "{damaged}"
        );
    }
}

#[test]
fn one_cycle_has_the_recipes_name_too() {
    assert_eq!("onecycle".parse(), Ok(ScheduleKind::OneCycle));
}

#[test]
fn only_cycles_drive_the_momentum() {
    for kind in ScheduleKind::ALL {
        let schedule = build(&Config::from_iter([("schedule", kind.name())])).unwrap();
        let drives = matches!(kind, ScheduleKind::Cyclic | ScheduleKind::OneCycle);
        assert_eq!(schedule.at(3).momentum.is_some(), drives, "{kind}");
        let horizon = schedule.horizon();
        let without = Schedule::from_config(schedule.values(), 0.1, None, horizon).unwrap();
        assert_eq!(without.at(3).momentum, None, "{kind}");
    }
}

#[test]
fn a_picture_goes_from_the_first_update_to_the_last() {
    let schedule = build(&Config::from_iter([("schedule", "linear")])).unwrap();
    let curve = schedule.curve(11);
    assert_eq!(curve.len(), 11);
    assert_eq!(curve[0], (0.0, schedule.at(0).lr));
    assert_eq!(curve[10], (1.0, schedule.at(99).lr));
    assert!(curve.is_sorted_by(|a, b| a.0 < b.0 && a.1 > b.1));
    assert_eq!(schedule.curve(1), [(0.0, 0.1)]);
    assert!(schedule.curve(0).is_empty());
}
