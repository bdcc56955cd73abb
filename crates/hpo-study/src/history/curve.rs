//! What a trial reported, as columns of numbers.

use super::Steps;
use crate::id::Timestamp;

/// Stands in a column where a metric was not reported: a NaN unlike the one that a computation gives.
const NOT_REPORTED: f64 = f64::from_bits(0x7ff8_0000_0000_dead);

fn is_reported(value: f64) -> bool {
    value.to_bits() != NOT_REPORTED.to_bits()
}

/// Somebody else's NaN may look like ours.
fn unmarked(value: f64) -> f64 {
    if value.is_nan() { f64::NAN } else { value }
}

/// What a trial reported, in columns: one row per step, steps rising. Reports of the same step add up
/// to one row.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Curve {
    /// The step of each row.
    pub steps: Steps,
    /// The objective in each row.
    objective: Vec<f64>,
    /// Every other metric: its index in [`History::metric_names`](super::History::metric_names), and its value in each row (NaN
    /// where it was not reported).
    pub others: Vec<(u16, Vec<f64>)>,
    /// When the last report came.
    pub last_at: Timestamp,
    /// Whether it was cut back for a rescue, so that the next report begins a row in any case.
    cut: bool,
}

impl Curve {
    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.steps.len()
    }
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
    /// The last step reported.
    #[must_use]
    pub fn last_step(&self) -> Option<u64> {
        self.steps.last()
    }
    /// The objective in each row, possibly not finite; `None` where it was not reported.
    pub fn objective(
        &self,
    ) -> impl DoubleEndedIterator<Item = Option<f64>> + ExactSizeIterator + '_ {
        let told = |value: &f64| is_reported(*value).then_some(*value);
        self.objective.iter().map(told)
    }
    /// The objectives reported, as `(step, value)` in order; values possibly not finite.
    pub fn objectives(&self) -> impl DoubleEndedIterator<Item = (u64, f64)> + '_ {
        let rows = self.objective().enumerate();
        rows.filter_map(|(row, value)| Some((self.steps.get(row)?, value?)))
    }
    /// What was reported of another metric, by its index in [`History::metric_names`](super::History::metric_names), as
    /// `(step, value)` in order; values possibly not finite.
    pub fn metric(&self, index: u16) -> impl Iterator<Item = (u64, f64)> + '_ {
        let column = self.others.iter().find(|(i, _)| *i == index);
        let values = column.map_or(&[][..], |(_, values)| values);
        let rows = self.steps.iter().zip(values);
        rows.filter(|(_, value)| is_reported(**value))
            .map(|(step, value)| (step, *value))
    }
    /// What was last reported of another metric, by its index; possibly not finite.
    #[must_use]
    pub fn last_of(&self, index: u16) -> Option<f64> {
        let (_, values) = self.others.iter().find(|(i, _)| *i == index)?;
        values.iter().rev().find(|v| is_reported(**v)).copied()
    }
    /// The last objective reported: `(step, value)`, the value possibly not finite.
    #[must_use]
    pub fn last(&self) -> Option<(u64, f64)> {
        self.objectives().next_back()
    }
    /// The last objective reported not after `step`.
    #[must_use]
    pub fn at(&self, step: u64) -> Option<f64> {
        let rows = self.steps.through(step);
        self.objective().take(rows).rev().flatten().next()
    }

    /// Takes a report in. One for the last step adds to that step's row (a script may report the
    /// training and the validation loss apart); one for an earlier step cuts the curve back first,
    /// since a process that went back to its checkpoint reports steps again and the newer word counts.
    pub(super) fn add(&mut self, step: u64, objective: Option<f64>, others: &[(u16, f64)]) {
        let row = self.steps.before(step);
        if std::mem::take(&mut self.cut) || self.last_step() != Some(step) {
            self.truncate(row);
            self.steps.push(step);
            self.objective.push(NOT_REPORTED);
            for (_, values) in &mut self.others {
                values.push(NOT_REPORTED);
            }
        }
        if let Some(value) = objective {
            self.objective[row] = unmarked(value);
        }
        for (index, value) in others {
            let column = match self.others.iter().position(|(i, _)| i == index) {
                Some(column) => column,
                None => {
                    self.others.push((*index, vec![NOT_REPORTED; row + 1]));
                    self.others.len() - 1
                }
            };
            self.others[column].1[row] = unmarked(*value);
        }
    }

    /// Forgets what came after a step. What is said from here on is said by another configuration: it
    /// takes the place of a row for the same step, and adds nothing to it.
    pub(super) fn cut_after(&mut self, step: u64) {
        self.truncate(self.steps.through(step));
        self.cut = true;
    }

    fn truncate(&mut self, rows: usize) {
        self.steps.truncate(rows);
        self.objective.truncate(rows);
        for (_, values) in &mut self.others {
            values.truncate(rows);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_of_one_step_add_up_and_going_back_cuts() {
        let mut curve = Curve::default();
        curve.add(1, Some(0.5), &[(0, 1.0)]);
        curve.add(2, None, &[(0, 2.0)]);
        assert_eq!(
            curve.last(),
            Some((1, 0.5)),
            "a line without the objective hides none"
        );
        curve.add(2, Some(0.4), &[(1, 3.0)]);
        assert_eq!(curve.steps, [1, 2]);
        assert_eq!(curve.last(), Some((2, 0.4)));
        assert_eq!(curve.others[0], (0, vec![1.0, 2.0]));
        assert!(curve.others[1].1[0].is_nan() && curve.others[1].1[1] == 3.0);
        curve.add(3, Some(f64::NAN), &[]);
        assert!(
            curve
                .last()
                .is_some_and(|(step, value)| step == 3 && value.is_nan())
        );
        assert_eq!(curve.at(2), Some(0.4));
        assert_eq!(curve.at(0), None);
        curve.add(2, Some(0.3), &[]);
        assert_eq!(curve.steps, [1, 2]);
        assert_eq!(curve.objectives().collect::<Vec<_>>(), [(1, 0.5), (2, 0.3)]);
        assert!(curve.others.iter().all(|(_, values)| values.len() == 2));
        curve.add(9, Some(0.2), &[]);
        curve.add(5, Some(0.1), &[]);
        assert_eq!(curve.steps, [1, 2, 5]);
    }
}
