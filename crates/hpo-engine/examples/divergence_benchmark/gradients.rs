//! What the norm of the gradients would add: rules on `grad_norm`, alone and beside the detector.

use std::collections::BTreeMap;

use crate::score::Case;

/// The metric that holds the norm of the gradients before clipping.
const METRIC: &str = "grad_norm";
/// Reports before a rule says anything: its average needs some.
const WARM_UP: usize = 25;
/// Reports of which the running median is taken.
const WINDOW: usize = 100;
/// Reports in a row that must be beyond the limit.
const IN_A_ROW: u32 = 3;

/// The steps at which a rule holds, for one run.
type Rule = fn(&[(u64, f64)]) -> Vec<u64>;

const RULES: [(&str, Rule); 2] = [
    ("grad > 10 x median, 3 times", far_above_the_median),
    ("grad ZClip z > 2.5, 3 times", far_above_the_average),
];

/// Each rule with the step at which it stops each run: alone, only while the run is at chance or
/// worse, where the detector does not stop it before, and as a condition for the detector's stop.
pub(crate) fn all(cases: &[Case], ours: &[Option<u64>]) -> Vec<(String, Vec<Option<u64>>)> {
    let mut rows = Vec::new();
    for (name, rule) in RULES {
        let held: Vec<Vec<u64>> = cases.iter().map(|case| rule(norms(case))).collect();
        let first = |steps: &Vec<u64>| steps.first().copied();
        let bad: Vec<_> = cases
            .iter()
            .zip(&held)
            .map(|(case, steps)| while_hopeless(case, steps))
            .collect();
        let either = bad.iter().zip(ours).map(|(&a, &b)| earlier(a, b)).collect();
        let both = held.iter().zip(ours).map(|(steps, stop)| {
            stop.filter(|stop| steps.first().is_some_and(|first| first <= stop))
        });
        let both = both.collect();
        rows.push((name.to_owned(), held.iter().map(first).collect()));
        rows.push(("  and at chance or worse".to_owned(), bad));
        rows.push(("  the same, or detector".to_owned(), either));
        rows.push(("  detector, if it held".to_owned(), both));
    }
    rows
}

fn norms<'a>(case: &Case<'a>) -> &'a [(u64, f64)] {
    case.run.metrics.get(METRIC).map_or(&[], Vec::as_slice)
}

fn earlier(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    a.into_iter().chain(b).min()
}

/// The first step at which a rule holds and the metric is at chance or worse: the median of its
/// last five reports.
fn while_hopeless(case: &Case, steps: &[u64]) -> Option<u64> {
    let at: BTreeMap<u64, usize> = case
        .points
        .iter()
        .enumerate()
        .map(|(index, (step, _))| (*step, index))
        .collect();
    let is_hopeless = |step: &&u64| {
        let Some((_, &index)) = at.range(..=**step).next_back() else {
            return false;
        };
        let last = case.points.get(index.saturating_sub(4)..=index);
        let values = last.unwrap_or_default().iter().map(|(_, value)| *value);
        median(values).is_some_and(|value| value >= case.chance)
    };
    steps.iter().find(is_hopeless).copied()
}

/// More than ten times the median of the last hundred norms.
fn far_above_the_median(norms: &[(u64, f64)]) -> Vec<u64> {
    let is_far = |index: usize| {
        let before = norms.get(index.saturating_sub(WINDOW)..index);
        let before = before.unwrap_or_default();
        let (_, value) = norms.get(index).copied().unwrap_or_default();
        index >= WARM_UP
            && median(before.iter().map(|(_, norm)| *norm))
                .is_some_and(|median| value.is_nan() || value > 10.0 * median)
    };
    in_a_row(norms, (0..norms.len()).map(is_far))
}

/// ZClip (Kumar et al. 2025, arXiv 2504.02507) takes a norm for a spike when it is more than 2.5
/// deviations above its exponential average (decay .97); a spike enters the average clipped.
fn far_above_the_average(norms: &[(u64, f64)]) -> Vec<u64> {
    let start: Vec<f64> = norms.iter().take(WARM_UP).map(|(_, norm)| *norm).collect();
    let count = start.len().max(1) as f64;
    let mut mean = start.iter().sum::<f64>() / count;
    let squares = start.iter().map(|norm| (norm - mean).powi(2));
    let mut variance = squares.sum::<f64>() / count;
    let is_far = norms.iter().enumerate().map(|(index, &(_, norm))| {
        if index < WARM_UP {
            return false;
        }
        let deviation = variance.sqrt().max(1e-12);
        let score = (norm - mean) / deviation;
        let is_spike = score.is_nan() || score > 2.5;
        // ZClip's reciprocal clipping: a score z becomes 2.5² / z.
        let clipped = if is_spike {
            mean + 2.5 * 2.5 / score.max(2.5) * deviation
        } else {
            norm
        };
        if clipped.is_finite() {
            mean = 0.97 * mean + 0.03 * clipped;
            variance = 0.97 * variance + 0.03 * (clipped - mean).powi(2);
        }
        is_spike
    });
    let is_far: Vec<bool> = is_far.collect();
    in_a_row(norms, is_far.into_iter())
}

/// The steps at which something has been so for three reports in a row.
fn in_a_row(norms: &[(u64, f64)], is_so: impl Iterator<Item = bool>) -> Vec<u64> {
    let mut row = 0;
    let steps = norms.iter().zip(is_so).filter_map(|((step, _), is_so)| {
        row = if is_so { row + 1 } else { 0 };
        (row >= IN_A_ROW).then_some(*step)
    });
    steps.collect()
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
