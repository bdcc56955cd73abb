//! How far a step tells what comes later: what a sampler may learn from trials that were stopped there, and whether
//! any should be.
//!
//! A trial that was stopped early stands where it stood then. Where ranks at that step say nothing of later ones (noisy
//! or misleading early results), that is a label by chance, and worse than none: a model over such labels
//! finds noise everywhere. BOHB models only the longest trials for that reason (Falkner, Klein & Hutter, arXiv 1807.01774), and learns
//! little where early results are good. Here it is measured.

use std::collections::BTreeMap;

use hpo_study::{History, TrialState};

/// Steps are told apart by this factor.
const SPREAD: f64 = 1.25;
/// The newest so many trials that went on are looked at.
const MOST: usize = 60;
/// What is expected of ranks before anything was seen, and how many trials that weighs.
const EXPECTED: f64 = 0.4;
const EXPECTED_WEIGHT: f64 = 10.0;
/// Steps with a rank correlation below this tell nothing.
const LEAST: f64 = 0.2;
/// It is looked at anew when so many times more trials have told something.
const GROWTH: f64 = 1.05;

/// For steps at which trials were stopped, whether their standing there says something.
///
/// It does when the ranks at the step and at twice the step (or the end, if that is earlier), of trials that went on so far,
/// have a rank correlation (Kendall's τ) of at least .2, .4 being expected with the weight of ten trials. These
/// trials were let on for being good, which makes the correlation smaller than that of all.
#[derive(Default)]
pub(crate) struct Foresight {
    /// By the number of the step's class.
    blind: BTreeMap<i32, bool>,
    /// How many trials had told something when it was looked at.
    looked_at: usize,
}

impl Foresight {
    /// Whether standings at a step are to be left out.
    pub(crate) fn is_blind(&mut self, history: &History, step: u64) -> bool {
        *(self.blind.entry(class(step))).or_insert_with(|| !tells(history, step))
    }

    /// Looks anew if it is time. Says whether anything has changed.
    pub(crate) fn look(&mut self, history: &History, told: usize) -> bool {
        if (told as f64) < GROWTH * self.looked_at as f64 + 1.0 {
            return false;
        }
        self.looked_at = told;
        let mut has_changed = false;
        for (class, blind) in &mut self.blind {
            let now = !tells(history, representative(*class));
            has_changed |= now != *blind;
            *blind = now;
        }
        has_changed
    }
}

fn class(step: u64) -> i32 {
    ((step.max(1) as f64).ln() / SPREAD.ln() + 1e-9).floor() as i32
}

/// The first step of a class.
fn representative(class: i32) -> u64 {
    (SPREAD.powi(class) - 1e-6).ceil().max(1.0) as u64
}

/// Whether standings at a step say something, as things are.
pub(crate) fn tells(history: &History, step: u64) -> bool {
    let class = representative(class(step))..representative(class(step) + 1);
    let goal = history.spec().metric.goal;
    let pairs: Vec<(f64, f64)> = (history.trials().iter().rev())
        .filter_map(|trial| {
            let up_to = |most: u64| {
                let mut newest_first = trial.curve.objectives().rev();
                newest_first.find(|(s, _)| *s <= most)
            };
            // Where reports come seldom the first of the class stands for it.
            let within = trial.curve.objectives().find(|(s, _)| class.contains(s));
            let (step, now) = within.or_else(|| up_to(class.start))?;
            let last = trial.curve.last_step()?;
            let later = step.saturating_mul(2);
            let is_there = last >= later || (last > step && trial.state == TrialState::Completed);
            // What was not measured again by then would only agree with itself.
            let (_, then) = up_to(later).filter(|(s, _)| is_there && *s > step)?;
            let pair = (goal.as_loss(now), goal.as_loss(then));
            (pair.0.is_finite() && pair.1.is_finite()).then_some(pair)
        })
        .take(MOST)
        .collect();
    let seen = pairs.len() as f64;
    let tau = (seen * correlation(&pairs) + EXPECTED_WEIGHT * EXPECTED) / (seen + EXPECTED_WEIGHT);
    tau >= LEAST
}

/// Kendall's τ-a.
pub(crate) fn correlation(pairs: &[(f64, f64)]) -> f64 {
    let mut sum = 0.0;
    for (i, a) in pairs.iter().enumerate() {
        for b in &pairs[..i] {
            let order = |x: f64, y: f64| f64::from(i8::from(x > y) - i8::from(x < y));
            sum += order(a.0, b.0) * order(a.1, b.1);
        }
    }
    let count = pairs.len() as f64;
    sum / (0.5 * count * (count - 1.0)).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::{Log, spec};
    use hpo_study::{Config, EarlyTerminate, Method, Space};

    fn shuffled(i: usize) -> f64 {
        ((i + 1) as f64 * 0.618_034).fract()
    }

    /// Numbers from 0 to 1 that nothing connects.
    fn noise(i: usize, step: u64) -> f64 {
        let seed = hpo_study::seed::derive(
            step,
            hpo_study::TrialId(i as u32),
            hpo_study::seed::Purpose::Suggest,
        );
        rand::Rng::random(&mut crate::stream(seed))
    }

    fn log(trials: usize, loss: impl Fn(usize, u64) -> f64) -> Log {
        let mut log = Log::new(spec(Space::default(), Method::Random, EarlyTerminate::None));
        for i in 0..trials {
            let trial = log.start(Config::new(), 0, None);
            (1..=8).for_each(|step| log.report(trial, step, loss(i, step)));
        }
        log
    }

    #[test]
    fn steps_fall_into_classes_and_a_class_begins_with_its_first_step() {
        for step in (1..2000).chain([1 << 40]) {
            let first = representative(class(step));
            assert!(
                first <= step && step as f64 <= first as f64 * SPREAD + 1.0,
                "{step}: {first}"
            );
        }
        assert_eq!(
            [1, 2, 3, 4, 5].map(|s| representative(class(s))),
            [1, 2, 3, 4, 5]
        );
    }

    #[test]
    fn ranks_that_change_at_random_tell_nothing_and_lasting_ones_do() {
        let lasting = log(30, |i, step| shuffled(i) + 1.0 / step as f64);
        assert!(tells(&lasting.history, 1) && tells(&lasting.history, 4));
        let random = log(30, noise);
        assert!(!tells(&random.history, 1) && !tells(&random.history, 4));
        assert!(tells(&random.history, 8), "nobody came further");
        assert!(tells(&log(1, noise).history, 1), "one trial is no proof");
    }

    #[test]
    fn it_looks_anew_now_and_then_and_says_when_something_turned() {
        let early = log(2, noise);
        let mut foresight = Foresight::default();
        assert!(!foresight.is_blind(&early.history, 1));
        let late = log(40, noise);
        assert!(foresight.look(&late.history, 40) && foresight.is_blind(&late.history, 1));
        assert!(!foresight.look(&late.history, 41), "too few are new");
        assert!(!foresight.look(&late.history, 60), "nothing has changed");
    }

    #[test]
    fn what_is_measured_seldom_tells_as_much_and_what_is_not_measured_again_nothing() {
        let reports = |steps: &[u64]| {
            let mut log = Log::new(spec(Space::default(), Method::Random, EarlyTerminate::None));
            for i in 0..60 {
                let trial = log.start(Config::new(), 0, None);
                for step in steps {
                    log.report(trial, *step, noise(i, *step));
                }
            }
            log
        };
        assert!(!tells(&reports(&[500, 1000, 1500]).history, 500));
        assert!(!tells(&reports(&[500, 1000, 1500, 2000]).history, 1000));
        // From rung to rung: nobody knows what step 2 would have been.
        assert!(tells(&reports(&[1, 3, 9]).history, 1));
    }

    #[test]
    fn what_is_not_finite_is_passed_over() {
        let odd = log(40, |i, step| {
            if i % 2 == 0 {
                f64::NAN
            } else {
                shuffled(i) + step as f64
            }
        });
        assert!(tells(&odd.history, 1));
    }
}
