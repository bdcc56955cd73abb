//! The detector, rule by rule and on any input.

use hpo_study::Goal;
use proptest::prelude::*;

use super::*;

const CHANCE: f64 = std::f64::consts::LN_10;

fn settings() -> Settings {
    Settings::new(Goal::Minimize, Chance::Known(CHANCE), Some(1000))
}

/// All that is found in a curve over 1000 steps, reported every so many.
fn found(settings: Settings, every: u64, curve: impl Fn(f64) -> f64) -> Vec<Finding> {
    let mut detector = Detector::new(settings);
    let steps = (1..=1000 / every).map(|i| i * every);
    steps
        .filter_map(|step| detector.observe(step, curve(step as f64)))
        .collect()
}

fn end(settings: Settings, every: u64, curve: impl Fn(f64) -> f64) -> Option<Finding> {
    found(settings, every, curve)
        .into_iter()
        .find(|finding| finding.verdict.is_hopeless())
}

/// Repeatable noise with mean 0 and deviation 1.
fn noise(step: f64) -> f64 {
    (1..=12)
        .map(|i| (step * 12.9898 * f64::from(i)).sin() * 43_758.545 % 1.0)
        .sum::<f64>()
        / 2.0
}

fn learning(step: f64) -> f64 {
    0.2 + (CHANCE - 0.2) * (-step / 150.0).exp()
}

#[test]
fn a_run_that_learns_is_healthy() {
    assert_eq!(found(settings(), 1, learning), []);
    assert_eq!(found(settings(), 20, learning), []);
}

#[test]
fn non_finite_values_end_a_run_when_they_stay() {
    let blip = |step: f64| {
        if step % 50.0 < 2.0 {
            f64::NAN
        } else {
            learning(step)
        }
    };
    assert_eq!(found(settings(), 1, blip), []);
    let broken = |step: f64| {
        if step > 300.0 {
            f64::INFINITY
        } else {
            learning(step)
        }
    };
    let finding = end(settings(), 1, broken).unwrap();
    assert_eq!(
        (finding.verdict, finding.rule, finding.step),
        (Verdict::Diverged, "non_finite", 303)
    );
    assert!(finding.certain);
    assert_eq!(
        end(settings(), 100, broken).unwrap().step,
        500,
        "two of ten are enough"
    );
}

#[test]
fn far_above_chance_from_the_start_is_diverged_soon() {
    let high = |step: f64| {
        if step < 4.0 {
            CHANCE
        } else {
            8.0 + noise(step)
        }
    };
    let finding = end(settings(), 1, high).unwrap();
    assert_eq!(
        (finding.verdict, finding.rule),
        (Verdict::Diverged, "above_chance")
    );
    assert!(
        (100..250).contains(&finding.step) && finding.certain,
        "{finding}"
    );
    let higher = |step: f64| high(step) * if step < 4.0 { 1.0 } else { 1e6 };
    let higher = end(settings(), 1, higher).unwrap();
    assert!(higher.step < finding.step, "the higher the sooner");
}

#[test]
fn a_run_that_comes_down_from_far_above_is_left_alone() {
    let falling = |step: f64| 0.3 + 300.0 * (-step / 60.0).exp();
    assert_eq!(end(settings(), 1, falling), None);
    assert_eq!(end(settings(), 20, falling), None);
}

#[test]
fn a_spike_that_recovers_is_information() {
    let spike = |step: f64| {
        if (300.0..400.0).contains(&step) {
            8.0
        } else {
            learning(step)
        }
    };
    let verdicts: Vec<_> = found(settings(), 1, spike)
        .iter()
        .map(|f| f.verdict)
        .collect();
    assert_eq!(verdicts, [Verdict::Spiking, Verdict::Recovered]);
}

#[test]
fn a_spike_that_stays_is_diverged() {
    let spike = |step: f64| {
        if step > 300.0 {
            8.0 + noise(step)
        } else {
            learning(step)
        }
    };
    let finding = end(settings(), 1, spike).unwrap();
    assert_eq!(
        (finding.verdict, finding.rule),
        (Verdict::Diverged, "collapsed")
    );
    assert!((500..550).contains(&finding.step), "{finding}");
    let evidence = finding.evidence;
    assert!(evidence.since.unwrap().abs_diff(300) < 20 && evidence.level.unwrap() > 7.0);
    assert!((evidence.chance.unwrap() - CHANCE).abs() < 1e-12 && evidence.best.unwrap() < 0.6);
}

#[test]
fn back_at_chance_is_stuck() {
    let back = |step: f64| {
        if step > 300.0 {
            CHANCE + 0.02 * noise(step)
        } else {
            learning(step)
        }
    };
    let finding = end(settings(), 1, back).unwrap();
    assert_eq!(
        (finding.verdict, finding.rule),
        (Verdict::Stuck, "collapsed")
    );
}

#[test]
fn nearly_back_at_chance_is_lost() {
    let worse = |step: f64| {
        if step > 200.0 {
            0.9 * CHANCE + 0.01 * noise(step)
        } else {
            learning(step)
        }
    };
    let finding = end(settings(), 1, worse).unwrap();
    assert_eq!((finding.verdict, finding.rule), (Verdict::Stuck, "lost"));
    assert!((780..840).contains(&finding.step), "{finding}");
}

#[test]
fn resting_at_chance_gets_half_of_the_run() {
    let resting = |step: f64| CHANCE + 0.01 * noise(step);
    let finding = end(settings(), 1, resting).unwrap();
    assert_eq!(
        (finding.verdict, finding.rule),
        (Verdict::NoProgress, "never_learned")
    );
    assert!((540..600).contains(&finding.step), "{finding}");
    let late = |step: f64| {
        if step < 500.0 {
            resting(step)
        } else {
            learning(step - 500.0)
        }
    };
    assert_eq!(end(settings(), 1, late), None);
    assert_eq!(end(settings(), 20, late), None);
}

#[test]
fn a_spike_in_a_plateau_does_not_make_it_shorter() {
    let late = |step: f64| match step {
        200.0..280.0 => 30.0,
        0.0..450.0 => CHANCE + 0.01 * noise(step),
        _ => learning(step - 450.0),
    };
    assert_eq!(end(settings(), 1, late), None);
}

#[test]
fn restless_above_chance_is_stuck_sooner() {
    let restless = |step: f64| CHANCE * 1.03 + 0.03 * noise(step);
    let finding = end(settings(), 1, restless).unwrap();
    assert_eq!(
        (finding.verdict, finding.rule),
        (Verdict::Stuck, "above_chance")
    );
    assert!(finding.step < 400, "{finding}");
}

#[test]
fn slow_learning_is_not_resting() {
    assert_eq!(
        end(settings(), 1, |step| CHANCE * (1.0 - 3e-5 * step)
            + 0.01 * noise(step)),
        None
    );
}

#[test]
fn a_run_that_gets_some_batches_right_is_alive() {
    let wild = |step: f64| {
        if step % 8.0 < 1.0 {
            1.5
        } else {
            4.0 + noise(step)
        }
    };
    assert_eq!(end(settings(), 1, wild), None);
}

/// Loss of a character model: its first plateau, the frequencies of the letters, is no end.
#[test]
fn plateaus_of_a_language_model_are_no_end() {
    let frequencies = Chance::Known(3.3);
    for chance in [Chance::Known(65f64.ln()), frequencies] {
        let settings = Settings {
            chance,
            ..settings()
        };
        let plateaus = |step: f64| {
            let (to_letters, to_pairs) =
                (1.0 / (1.0 + (step / 15.0).powi(2)), (-step / 400.0).exp());
            2.0 + 0.5 * to_letters
                + (if step < 250.0 {
                    1.3
                } else {
                    1.3 * to_pairs * 1.8
                })
                + 0.03 * noise(step)
        };
        assert_eq!(end(settings, 1, plateaus), None);
        let slow = |step: f64| 2.4 + 1.8 * (-step / 300.0).exp() + 0.03 * noise(step);
        assert_eq!(end(settings, 1, slow), None);
        assert_eq!(end(settings, 25, slow), None);
    }
    let stuck = |step: f64| {
        if step < 150.0 {
            learning(step) + 1.5
        } else {
            3.32 + 0.03 * noise(step)
        }
    };
    let settings = Settings {
        chance: frequencies,
        ..settings()
    };
    assert_eq!(
        end(settings, 1, stuck).map(|f| f.verdict),
        Some(Verdict::Stuck)
    );
}

#[test]
fn accuracies_are_maximized() {
    let settings = Settings::new(Goal::Maximize, Chance::Known(0.1), Some(1000));
    let accuracy = |step: f64| 0.95 - 0.85 * (-step / 100.0).exp();
    assert_eq!(found(settings, 20, accuracy), []);
    let lost = |step: f64| {
        if step > 300.0 {
            0.098 + 0.004 * noise(step)
        } else {
            accuracy(step)
        }
    };
    let finding = end(settings, 20, lost).unwrap();
    assert_eq!(
        (finding.verdict, finding.rule),
        (Verdict::Stuck, "collapsed")
    );
    assert!((finding.evidence.level.unwrap() - 0.098).abs() < 0.01);
    assert_eq!(
        end(settings, 20, |_| 0.1).map(|f| f.verdict),
        Some(Verdict::NoProgress)
    );
}

#[test]
fn losses_below_zero_are_understood() {
    let settings = Settings {
        chance: Chance::Known(1.4),
        ..settings()
    };
    let density = |step: f64| 1.4 - 6.0 * step / 1000.0;
    assert_eq!(found(settings, 1, density), []);
    let broken = |step: f64| if step > 400.0 { 9.0 } else { density(step) };
    assert_eq!(
        end(settings, 1, broken).map(|f| f.verdict),
        Some(Verdict::Diverged)
    );
}

#[test]
fn a_density_is_given_up_for_certain_only_above_where_it_began() {
    let settings = Settings {
        chance: Chance::Known(-1.6),
        ..settings()
    };
    let between = |step: f64| if step < 30.0 { 0.9 } else { -0.9 };
    let warned = end(settings, 20, between).unwrap();
    assert!(!warned.certain && warned.verdict == Verdict::Diverged);
    let thrown_up = |step: f64| if step < 30.0 { 0.9 } else { 40.0 };
    assert!(end(settings, 20, thrown_up).unwrap().certain);
    // Chance is positive, but the loss has gone below zero.
    let settings = Settings {
        chance: Chance::Known(0.2),
        ..settings
    };
    let lost = |step: f64| match step {
        step if step < 30.0 => 0.9,
        step if step < 300.0 => -0.5,
        _ => 0.4,
    };
    assert!(!end(settings, 20, lost).unwrap().certain);
}

#[test]
fn without_a_chance_level_all_but_non_finite_is_a_warning() {
    let settings = Settings {
        chance: Chance::Unknown,
        ..settings()
    };
    let spike = |step: f64| if step > 300.0 { 30.0 } else { learning(step) };
    assert!(!end(settings, 1, spike).unwrap().certain);
    let broken = |step: f64| {
        if step > 300.0 {
            f64::NAN
        } else {
            learning(step)
        }
    };
    assert!(end(settings, 1, broken).unwrap().certain);
    assert_eq!(found(settings, 1, learning), []);
}

#[test]
fn a_warning_becomes_certain_when_values_are_no_longer_finite() {
    let settings = Settings {
        chance: Chance::Unknown,
        ..settings()
    };
    let broken = |step: f64| match step {
        0.0..100.0 => learning(step),
        100.0..800.0 => 30.0,
        _ => f64::NAN,
    };
    let hopeless = |f: &Finding| f.verdict.is_hopeless().then_some((f.rule, f.certain));
    let found: Vec<_> = found(settings, 1, broken)
        .iter()
        .filter_map(hopeless)
        .collect();
    assert_eq!(found, [("collapsed", false), ("non_finite", true)]);
}

#[test]
fn without_a_planned_length_only_far_above_is_certain() {
    let settings = Settings {
        planned_steps: None,
        ..settings()
    };
    assert!(end(settings, 1, |step| 8.0 + noise(step)).unwrap().certain);
    let resting = end(settings, 1, |step| CHANCE + 0.01 * noise(step)).unwrap();
    assert!(!resting.certain && resting.step > 250, "{resting}");
}

/// A regression whose outputs begin far from the mean of its targets, or a language model that knows no
/// frequencies yet, at a small rate: it comes down late, but was never thrown up.
#[test]
fn a_run_that_began_above_chance_and_comes_down_is_slow_not_diverged() {
    let slow = |step: f64| CHANCE * (0.6 + 4.4 * (1.0 - (step / 1000.0).powi(2)).max(0.0));
    assert_eq!(end(settings(), 1, slow), None);
    let warm = |step: f64| {
        let spread = 1.0 + 0.05 * noise(step);
        if step < 300.0 {
            CHANCE * 4.5 * spread
        } else {
            slow(step) * spread
        }
    };
    assert_eq!(end(settings(), 1, warm), None);
    // Thrown up later, it is another matter; and so is one that comes down no more.
    let thrown = |step: f64| warm(step) * if step > 20.0 { 3.0 } else { 1.0 };
    assert!(
        end(settings(), 1, |step| thrown(step.min(200.0)))
            .unwrap()
            .step
            < 350
    );
    let rests = |step: f64| CHANCE * (1.5 + 3.0 * (-step / 50.0).exp());
    assert!((540..700).contains(&end(settings(), 1, rests).unwrap().step));
}

/// Twenty-seven epochs, one validation loss each, as most people report.
#[test]
fn a_short_run_is_judged_after_two_fifths_of_it() {
    let epochs = Settings::new(Goal::Minimize, Chance::Known(CHANCE), Some(27));
    let stop = |curve: &dyn Fn(u64) -> f64| {
        let mut detector = Detector::new(epochs);
        (1..=27).find_map(|epoch| {
            let found = detector.observe(epoch, curve(epoch));
            found.filter(|found| found.verdict.is_hopeless() && found.certain)
        })
    };
    let lost = stop(&|epoch| if epoch > 5 { 8.0 } else { 0.5 }).unwrap();
    assert!((15..=17).contains(&lost.step), "{lost}");
    let thrown = stop(&|epoch| if epoch == 1 { 2.4 } else { 8.0 }).unwrap();
    assert!((11..=13).contains(&thrown.step), "{thrown}");
    assert_eq!(stop(&|epoch| if epoch < 11 { 2.31 } else { 1.0 }), None);
    let spike = |epoch| if (6..=12).contains(&epoch) { 8.0 } else { 0.5 };
    assert_eq!(stop(&spike), None);
    assert_eq!(stop(&|epoch| 30.0 * 0.85_f64.powi(epoch as i32)), None);
}

#[test]
fn grace_and_recover_steps_are_kept() {
    let high = |step: f64| 8.0 + noise(step);
    let graced = Settings {
        grace_steps: 700,
        ..settings()
    };
    assert!(end(graced, 1, high).unwrap().step > 700);
    let patient = Settings {
        recover_steps: Some(400),
        ..settings()
    };
    assert!((400..450).contains(&end(patient, 1, high).unwrap().step));
}

#[test]
fn five_reports_are_enough_for_a_verdict_and_irregular_ones_too() {
    assert!(end(settings(), 200, |_| 9.0).is_some());
    let mut detector = Detector::new(settings());
    let steps = [
        3, 4, 9, 9, 2, 40, 41, 100, 160, 300, 310, 420, 550, 551, 560, 700, 900, 1000,
    ];
    let hopeless = steps
        .iter()
        .filter_map(|&step| detector.observe(step, 9.0))
        .next();
    assert!(
        hopeless.is_some_and(|finding| finding.step <= 700),
        "{hopeless:?}"
    );
}

#[test]
fn a_run_that_goes_on_all_the_same_can_recover() {
    let back = |step: f64| {
        if step < 600.0 {
            8.0 + noise(step)
        } else {
            learning(step - 600.0)
        }
    };
    let verdicts: Vec<_> = found(settings(), 1, back)
        .iter()
        .map(|f| f.verdict)
        .collect();
    assert_eq!(verdicts, [Verdict::Diverged, Verdict::Recovered]);
}

#[test]
fn memory_is_bounded() {
    assert!(std::mem::size_of::<Detector>() < 8192);
}

fn any_value() -> impl Strategy<Value = f64> {
    prop_oneof![4 => -5.0..50.0, 1 => any::<f64>(), 1 => Just(f64::NAN), 1 => Just(f64::INFINITY)]
}

fn any_settings() -> impl Strategy<Value = Settings> {
    let chance = prop_oneof![any_value().prop_map(Chance::Known), Just(Chance::Unknown)];
    let goal = prop_oneof![Just(Goal::Minimize), Just(Goal::Maximize)];
    let plan = proptest::option::of(0u64..5000);
    (goal, chance, plan, 0u64..50, proptest::option::of(0u64..50)).prop_map(
        |(goal, chance, planned_steps, grace_steps, recover_steps)| Settings {
            grace_steps,
            recover_steps,
            ..Settings::new(goal, chance, planned_steps)
        },
    )
}

proptest! {
    #[test]
    fn any_sequence_is_taken(
        settings in any_settings(),
        reports in proptest::collection::vec((any::<u64>(), 0u64..3, any_value()), 0..400),
        wild in any::<bool>(),
    ) {
        let mut detector = Detector::new(settings);
        let (mut at, mut given) = (0, None);
        for (anywhere, ahead, value) in reports {
            at = if wild { anywhere } else { at + ahead };
            let Some(finding) = detector.observe(at, value) else { continue };
            prop_assert!(finding.certain || finding.rule != "non_finite");
            prop_assert!(!finding.to_string().is_empty());
            prop_assert!(State::from(finding.verdict) == detector.state());
            if finding.verdict.is_hopeless() {
                let again = given.is_none_or(|certain: bool| finding.certain && !certain);
                prop_assert!(again, "a verdict is given once, or once more for certain");
                given = Some(finding.certain);
            } else {
                given = None;
            }
        }
    }

    /// From where it starts, at chance or above, down to chance in 65 % of the run and on. With noise of 2 % two such runs in ten
    /// thousand look slower than they are and are given up, with noise of up to 1 % two in 700,000; here it is half of that.
    #[test]
    fn constant_improvement_is_never_given_up(
        above in 0.0..6.0, share in 0.05..0.65, every in 1u64..40, seed in 0.0..1e3, size in 0.0..0.005,
    ) {
        let rate = (above + 0.07) / (share * 1000.0);
        let curve = |step: f64| {
            let height = above - rate * step + size * noise(step + seed);
            Scale::new(Goal::Minimize, CHANCE).value(height)
        };
        prop_assert_eq!(end(settings(), every, curve), None);
    }

    #[test]
    fn units_do_not_matter(factor in 1e-3..1e3, level in 0.5..20.0, at in 100.0..900.0) {
        let curve = |step: f64| if step > at { level + 0.1 * noise(step) } else { learning(step) };
        let scaled = Settings { chance: Chance::Known(CHANCE * factor), ..settings() };
        let steps = |found: Vec<Finding>| -> Vec<_> {
            found.iter().map(|finding| (finding.step, finding.verdict)).collect()
        };
        prop_assert_eq!(
            steps(found(settings(), 1, curve)),
            steps(found(scaled, 1, |step| factor * curve(step)))
        );
    }

    #[test]
    fn how_often_is_reported_hardly_matters(every in 2u64..10, level in 4.0..20.0, at in 100.0..600.0) {
        let curve = |step: f64| if step > at { level + 0.1 * noise(step) } else { learning(step) };
        let all = end(settings(), 1, curve).unwrap();
        let some = end(settings(), every, curve).unwrap();
        prop_assert_eq!(all.verdict, some.verdict);
        let later = some.step as i64 - all.step as i64;
        prop_assert!((-60..=20 * every as i64 + 60).contains(&later), "{} {}", all, some);
    }
}
