//! The Wilcoxon rule, for studies whose steps are instances of a problem or folds of the data: a trial is stopped once
//! it is significantly worse than the best one on the instances that both have seen.
//!
//! Optuna's `WilcoxonPruner` (optuna 5.0.0) is the model; the test is Wilcoxon, "Individual comparisons by ranking methods",
//! Biometrics Bulletin 1(6), 1945, with zeros split (as `scipy.stats.wilcoxon(zero_method="zsplit")`).

use hpo_study::{Event, EventKind, History, Trial, TrialId, TrialState};

use super::{Waiting, comparable, process_is_over, short};
use crate::{Next, Scheduler, Verdict};

/// With more differences than this the normal distribution stands in for the exact one (as in SciPy).
const MOST_EXACT: usize = 50;

/// With the differences `d` of a trial's losses and those of the best completed trial (by its mean) at the steps that
/// both have, stops the trial when
///
/// > P(signed-rank sum ≥ that of d | symmetric around 0) < `p_threshold`
///
/// and its own mean so far is not better than the best trial's. Never with fewer than `min_steps` differences
/// (or two).
///
/// Other than in Optuna a value that is not finite is worse than any other instead of keeping the trial from being
/// judged; and with ties, where SciPy has the normal distribution for more than 13 differences, it is the exact one
/// up to 50.
pub(super) struct Wilcoxon {
    p_threshold: f64,
    min_steps: usize,
    /// What is measured at each instance; `None`: the objective.
    metric: Option<String>,
    /// The best completed trial: the mean of its losses, and these by their steps.
    best: Option<Best>,
    waiting: Waiting,
}

struct Best {
    trial: TrialId,
    mean: f64,
    losses: Vec<(u64, f64)>,
}

impl Wilcoxon {
    pub(super) fn new(p_threshold: f64, min_steps: u32, metric: Option<String>) -> Self {
        Self {
            p_threshold,
            min_steps: (min_steps as usize).max(2),
            metric,
            best: None,
            waiting: Waiting::default(),
        }
    }

    /// A trial's losses by their steps, which rise.
    fn losses(&self, history: &History, trial: &Trial) -> Vec<(u64, f64)> {
        let spec = history.spec();
        let loss = |(step, value)| (step, comparable(spec.metric.goal, value));
        match &self.metric {
            Some(name) if *name != spec.metric.name => {
                let index = history.metric_names().iter().position(|n| n == name);
                match index.and_then(|i| u16::try_from(i).ok()) {
                    Some(index) => trial.curve.metric(index).map(loss).collect(),
                    None => Vec::new(),
                }
            }
            _ => trial.curve.objectives().map(loss).collect(),
        }
    }
}

fn mean(losses: &[(u64, f64)]) -> f64 {
    losses.iter().map(|(_, loss)| loss).sum::<f64>() / losses.len() as f64
}

/// The differences at the steps that both have.
fn differences(own: &[(u64, f64)], other: &[(u64, f64)]) -> Vec<f64> {
    let mut found = Vec::with_capacity(own.len());
    let mut rest = other.iter().peekable();
    for (step, loss) in own {
        while rest.next_if(|(s, _)| s < step).is_some() {}
        if let Some((_, theirs)) = rest.next_if(|(s, _)| s == step) {
            found.push(loss - theirs);
        }
    }
    found
}

/// How likely differences as large as these, or larger, are when they are symmetric around 0. Zeros get ranks as the
/// others, and count half.
fn p_value(differences: &[f64]) -> f64 {
    let mut sorted: Vec<f64> = differences.to_vec();
    sorted.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
    // Twice the ranks, which are whole: those of equal differences are their mean.
    let mut ranks: Vec<usize> = Vec::with_capacity(sorted.len());
    let mut ties = 0.0;
    for group in sorted.chunk_by(|a, b| a.abs() == b.abs()) {
        let (first, count) = (ranks.len() + 1, group.len());
        ranks.extend(std::iter::repeat_n(2 * first + count - 1, count));
        let count = count as f64;
        ties += count.powi(3) - count;
    }
    // Twice the sum of the ranks of the positive ones, without the zeros.
    let positive = sorted.iter().zip(&ranks).filter(|(d, _)| **d > 0.0);
    let observed: usize = positive.map(|(_, rank)| rank).sum();
    let signed: Vec<usize> = sorted
        .iter()
        .zip(&ranks)
        .filter(|(d, _)| **d != 0.0)
        .map(|(_, rank)| *rank)
        .collect();
    if sorted.len() <= MOST_EXACT {
        return exact(&signed, observed);
    }
    let zeros: usize = ranks.iter().sum::<usize>() - signed.iter().sum::<usize>();
    let statistic = (observed as f64 + zeros as f64 / 2.0) / 2.0;
    let n = sorted.len() as f64;
    let variance = (n * (n + 1.0) * (2.0 * n + 1.0) - ties / 2.0) / 24.0;
    let z = (statistic - n * (n + 1.0) / 4.0) / variance.sqrt();
    // Only zeros: nothing speaks against them.
    if z.is_nan() {
        1.0
    } else {
        0.5 * libm::erfc(z / std::f64::consts::SQRT_2)
    }
}

/// The probability that the sum of these ranks, each there or not with the same chance, is at least `observed`.
fn exact(ranks: &[usize], observed: usize) -> f64 {
    let total: usize = ranks.iter().sum();
    let mut chances = vec![0.0; total + 1];
    chances[0] = 1.0;
    let mut reached = 0;
    for rank in ranks {
        for sum in (0..=reached).rev() {
            let half = chances[sum] / 2.0;
            chances[sum] = half;
            chances[sum + rank] += half;
        }
        reached += rank;
    }
    chances.iter().skip(observed).sum()
}

impl Scheduler for Wilcoxon {
    fn next(&self, history: &History, can_start: bool) -> Next {
        self.waiting.resume_or_start(history, can_start, None)
    }

    fn judge(&self, history: &History, trial: TrialId) -> Verdict {
        let running = history.trial(trial).filter(|t| !process_is_over(t));
        let (Some(record), Some(best)) = (running, &self.best) else {
            return Verdict::Continue;
        };
        let own = self.losses(history, record);
        let differences = differences(&own, &best.losses);
        if differences.len() < self.min_steps || mean(&own) <= best.mean {
            return Verdict::Continue;
        }
        let p = p_value(&differences);
        if p >= self.p_threshold {
            return Verdict::Continue;
        }
        let metric = &history.spec().metric;
        Verdict::Stop {
            evidence: format!(
                "wilcoxon: {} is worse than trial {}'s at {} steps that both have (p = {}, below {})",
                self.metric.as_ref().unwrap_or(&metric.name),
                best.trial,
                differences.len(),
                short(p),
                short(self.p_threshold),
            ),
        }
    }

    fn observe(&mut self, history: &History, event: &Event) {
        self.waiting.observe(history, event);
        let EventKind::TrialCompleted { trial } = &event.kind else {
            return;
        };
        let Some(record) = history.trial(*trial) else {
            return;
        };
        if record.state != TrialState::Completed || !record.rescues.is_empty() {
            return;
        }
        let losses = self.losses(history, record);
        let mean = mean(&losses);
        if mean.is_finite() && self.best.as_ref().is_none_or(|best| mean < best.mean) {
            self.best = Some(Best {
                trial: *trial,
                mean,
                losses,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::optuna::python;
    use super::*;
    use crate::simulate::{Log, spec};
    use crate::stream;
    use hpo_study::{AttemptEnd, Config, EarlyTerminate, Goal, Method, Space};
    use rand::Rng as _;
    use serde_json::json;

    fn log(metric: Option<&str>) -> Log {
        let rule = EarlyTerminate::Wilcoxon {
            p_threshold: 0.1,
            n_startup_steps: 3,
            metric: metric.map(str::to_owned),
        };
        Log::new(spec(Space::default(), Method::Random, rule))
    }

    fn complete(log: &mut Log, trial: TrialId) {
        let end = AttemptEnd::Exited {
            code: 0,
            stderr: String::new(),
        };
        log.end(trial, end);
        log.complete(trial);
    }

    /// After how many of the values the trial would be stopped first.
    fn stopped_after(log: &mut Log, values: &[f64]) -> Option<usize> {
        let trial = log.start(Config::new(), 0, None);
        for (i, value) in values.iter().enumerate() {
            log.report(trial, i as u64 + 1, *value);
            let verdict = log.scheduler.judge(&log.history, trial);
            if matches!(verdict, Verdict::Stop { .. }) {
                return Some(i + 1);
            }
        }
        complete(log, trial);
        None
    }

    #[test]
    fn who_is_worse_at_every_instance_is_stopped_and_says_so() {
        let mut log = log(None);
        assert_eq!(
            stopped_after(&mut log, &[0.1, 0.5, 0.3, 0.9, 0.2, 0.4]),
            None
        );
        // All of n positive: p = 2^-n, below 0.1 from four on.
        assert_eq!(stopped_after(&mut log, &[0.2, 0.6, 0.4, 1.0]), Some(4));
        let Verdict::Stop { evidence } = log.scheduler.judge(&log.history, TrialId(1)) else {
            panic!("it was to be stopped");
        };
        let words = "wilcoxon: loss is worse than trial 0's at 4 steps that both have (p = 0.06250, below 0.1000)";
        assert_eq!(evidence, words);
        assert_eq!(
            stopped_after(&mut log, &[0.2, 0.4, 0.4, 0.8, 0.2, 0.3]),
            None
        );
        // What is no number is worse than any.
        assert_eq!(stopped_after(&mut log, &[f64::NAN; 5]), Some(4));
    }

    #[test]
    fn whose_mean_is_better_goes_on_whatever_the_test_says() {
        let mut log = log(None);
        assert_eq!(
            stopped_after(&mut log, &[0.1, 0.1, 0.1, 0.1, 0.1, 9.0]),
            None
        );
        // Worse at all so far, but the mean of the best one has the ninth in it.
        assert_eq!(stopped_after(&mut log, &[0.2; 5]), None);
    }

    #[test]
    fn another_metric_may_be_that_of_the_instances() {
        let mut log = log(Some("fold_loss"));
        let mut run = |values: &[(f64, f64)]| {
            let trial = log.start(Config::new(), 0, None);
            for (i, (mean, fold)) in values.iter().enumerate() {
                log.report_metrics(trial, i as u64 + 1, [("loss", *mean), ("fold_loss", *fold)]);
                let verdict = log.scheduler.judge(&log.history, trial);
                if matches!(verdict, Verdict::Stop { .. }) {
                    return true;
                }
            }
            complete(&mut log, trial);
            false
        };
        assert!(!run(&[(9.0, 0.1), (9.0, 0.2), (9.0, 0.3), (9.0, 0.4)]));
        assert!(run(&[(1.0, 0.2), (1.0, 0.3), (1.0, 0.4), (1.0, 0.5)]));
    }

    #[test]
    fn the_test_is_scipys() {
        let mut rng = stream(4);
        let mut cases: Vec<Vec<f64>> = Vec::new();
        for n in [1, 2, 3, 5, 8, 13, 14, 30, 50, 51, 120] {
            for shift in [-0.3, 0.0, 0.2, 0.6] {
                cases.push((0..n).map(|_| rng.random::<f64>() - 0.5 + shift).collect());
                let coarse = |_| (4.0 * (rng.random::<f64>() - 0.5 + shift)).round();
                cases.push((0..n).map(coarse).collect());
            }
        }
        let program = "import json, sys, warnings\nimport scipy.stats as s\nwarnings.simplefilter('ignore')\n\
             p = lambda d: s.wilcoxon(d, alternative='greater', zero_method='zsplit').pvalue\n\
             json.dump([float(p(d)) if any(d) else 1.0 for d in json.load(sys.stdin)], sys.stdout)";
        let Some(theirs) = python(program, &json!(cases)) else {
            return;
        };
        for (case, theirs) in cases.iter().zip(theirs.as_array().unwrap()) {
            let (ours, theirs) = (p_value(case), theirs.as_f64().unwrap());
            let mut sizes: Vec<f64> = case.iter().map(|d| d.abs()).collect();
            sizes.sort_by(f64::total_cmp);
            let ties = sizes.windows(2).any(|w| w[0] == w[1]) || sizes[0] == 0.0;
            // With ties SciPy has the normal distribution from 14 on, which is coarse in the middle.
            let normal = ties && (14..=50).contains(&case.len());
            let close = if normal { 0.08 } else { 1e-9 };
            assert!(
                (ours - theirs).abs() <= close,
                "{ours}, not {theirs}: {case:?}"
            );
        }
    }

    #[test]
    fn with_ties_and_zeros_it_is_the_share_of_all_changes_of_signs() {
        let mut rng = stream(5);
        for n in 1..=14 {
            let draw = |_| f64::from(rng.random_range(-3..5_i32));
            let differences: Vec<f64> = (0..n).map(draw).collect();
            let rank = |d: &f64| {
                let less = differences.iter().filter(|o| o.abs() < d.abs()).count();
                let same = differences.iter().filter(|o| o.abs() == d.abs()).count();
                less as f64 + (same as f64 + 1.0) / 2.0
            };
            let ranks: Vec<f64> = differences.iter().map(rank).collect();
            let sum = |is_positive: &dyn Fn(usize) -> bool| -> f64 {
                let share = |i: usize| match differences[i] {
                    0.0 => 0.5,
                    _ => f64::from(u8::from(is_positive(i))),
                };
                (0..n).map(|i| share(i) * ranks[i]).sum()
            };
            let observed = sum(&|i| differences[i] > 0.0);
            let as_large = |bits: &u32| sum(&|i| bits >> i & 1 == 1) >= observed - 1e-9;
            let count = (0..1_u32 << n).filter(as_large).count();
            let (expected, found) = (count as f64 / f64::from(1_u32 << n), p_value(&differences));
            assert!(
                (found - expected).abs() < 1e-12,
                "{found}, not {expected}: {differences:?}"
            );
        }
    }

    #[test]
    fn decisions_are_those_of_optunas_pruner() {
        let mut rng = stream(9);
        let mut cases = Vec::new();
        for maximize in [false, true] {
            let curves: Vec<Vec<f64>> = (0..25)
                .map(|_| {
                    let level = rng.random::<f64>() * 0.5;
                    (0..12).map(|_| level + rng.random::<f64>()).collect()
                })
                .collect();
            cases.push((maximize, curves));
        }
        let pruner = json!({"kind": "wilcoxon", "p_threshold": 0.1, "startup": 3});
        let of = |(maximize, curves): &(bool, Vec<Vec<f64>>)| json!({"pruner": pruner, "maximize": maximize, "curves": curves});
        let input = json!(cases.iter().map(of).collect::<Vec<_>>());
        let Some(theirs) = python(include_str!("optuna.py"), &input) else {
            return;
        };
        for (i, (maximize, curves)) in cases.iter().enumerate() {
            let mut log = log(None);
            let mut other = log.history.spec().clone();
            other.metric.goal = if *maximize {
                Goal::Maximize
            } else {
                Goal::Minimize
            };
            log.change_spec(other);
            let mut ours = Vec::new();
            for curve in curves {
                let trial = log.start(Config::new(), 0, None);
                let mut of_trial = Vec::new();
                for (step, value) in curve.iter().enumerate() {
                    log.report(trial, step as u64 + 1, *value);
                    let verdict = log.scheduler.judge(&log.history, trial);
                    of_trial.push(matches!(verdict, Verdict::Stop { .. }));
                }
                complete(&mut log, trial);
                ours.push(of_trial);
            }
            assert_eq!(json!(ours), theirs[i]);
            let stops = ours.iter().flatten().filter(|stop| **stop).count();
            assert!(stops > 20, "{stops}");
        }
    }
}
