//! What people use instead.

use std::collections::BTreeMap;

use crate::score::{Case, Fate};

/// Every rival with the step at which it stops each run.
pub(crate) fn all(cases: &[Case]) -> Vec<(String, Vec<Option<u64>>)> {
    let each = |rule: &dyn Fn(&Case) -> Option<u64>| cases.iter().map(rule).collect();
    vec![
        ("NaN only".to_owned(), each(&not_finite)),
        ("one value > 1.5 x chance".to_owned(), each(&threshold)),
        (
            "patience, 10 % of the run".to_owned(),
            each(&|case| patience(case, 0.1)),
        ),
        (
            "patience, 30 % of the run".to_owned(),
            each(&|case| patience(case, 0.3)),
        ),
        ("median rule (Optuna)".to_owned(), median_rule(cases)),
        ("oracle".to_owned(), each(&oracle)),
    ]
}

/// One who knows how each run will end stops the lost ones where they are lost.
fn oracle(case: &Case) -> Option<u64> {
    (case.fate == Fate::Lost).then_some(case.onset)
}

/// A value that is not finite.
fn not_finite(case: &Case) -> Option<u64> {
    case.points
        .iter()
        .find(|(_, value)| !value.is_finite())
        .map(|(step, _)| *step)
}

/// A value above 1.5 times chance, or not a number.
fn threshold(case: &Case) -> Option<u64> {
    let is_above = |value: f64| value.is_nan() || value > 1.5 * case.chance;
    case.points
        .iter()
        .find(|(_, value)| is_above(*value))
        .map(|(step, _)| *step)
}

/// Early stopping: no new best for a share of the run.
fn patience(case: &Case, share: f64) -> Option<u64> {
    let (mut best, mut since) = (f64::INFINITY, 0);
    for &(step, value) in &case.points {
        if value < best {
            (best, since) = (value, step);
        } else if (step - since) as f64 >= share * case.length as f64 {
            return Some(step);
        }
    }
    None
}

/// Optuna's `MedianPruner` with its defaults (4.x: five startup trials, no warm-up): a run is
/// stopped at a step when its best value so far is worse than the median of what the runs that
/// were completed before it had reported there. Runs of one task (chance level, length) are taken
/// one after another, as they stand in the file. NaN is passed over for the best.
fn median_rule(cases: &[Case]) -> Vec<Option<u64>> {
    let mut studies: BTreeMap<(u64, u64), Study> = BTreeMap::new();
    let judge = |case: &Case| {
        let study = studies
            .entry((case.chance.to_bits(), case.length))
            .or_default();
        study.judge(case)
    };
    cases.iter().map(judge).collect()
}

#[derive(Default)]
struct Study {
    completed: u32,
    /// What completed runs reported at a step, in order of size.
    values: BTreeMap<u64, Vec<f64>>,
}

impl Study {
    fn judge(&mut self, case: &Case) -> Option<u64> {
        let mut best = f64::NAN;
        for &(step, value) in &case.points {
            best = best.min(value);
            if self.completed >= 5 && self.median(step).is_some_and(|m| best.is_nan() || best > m) {
                return Some(step);
            }
        }
        self.completed += 1;
        for &(step, value) in case.points.iter().filter(|(_, value)| !value.is_nan()) {
            let values = self.values.entry(step).or_default();
            values.insert(values.partition_point(|other| *other < value), value);
        }
        None
    }

    fn median(&self, step: u64) -> Option<f64> {
        let values = self.values.get(&step)?;
        let upper = values.get(values.len() / 2)?;
        let lower = values.get((values.len() - 1) / 2)?;
        Some(0.5 * (lower + upper))
    }
}
