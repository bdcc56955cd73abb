//! The steps of a curve, which mostly go up by the same amount: a few runs instead of many numbers.

/// Rising steps. Evenly spaced ones take no room, however many there are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Steps {
    runs: Vec<Run>,
    len: usize,
}

/// Steps that go up by the same amount.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Run {
    first: u64,
    /// How many steps came before it.
    row: usize,
    /// 0 while it is alone.
    by: u64,
}

impl Steps {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
    /// All of them, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = u64> + '_ {
        let of_run = |(i, run): (usize, &Run)| {
            let Run { first, by, .. } = *run;
            (0..self.rows_of(i) as u64).map(move |k| first + k * by)
        };
        self.runs.iter().enumerate().flat_map(of_run)
    }
    /// The one in a row, counted from 0.
    #[must_use]
    pub fn get(&self, row: usize) -> Option<u64> {
        let after = self.runs.partition_point(|run| run.row <= row);
        let run = self.runs.get(after.checked_sub(1)?)?;
        (row < self.len).then(|| run.first + (row - run.row) as u64 * run.by)
    }
    /// The last one.
    #[must_use]
    pub fn last(&self) -> Option<u64> {
        self.get(self.len.checked_sub(1)?)
    }

    /// How many are less than `step`.
    pub(super) fn before(&self, step: u64) -> usize {
        let after = self.runs.partition_point(|run| run.first < step);
        let Some(i) = after.checked_sub(1) else {
            return 0;
        };
        let run = &self.runs[i];
        let within = match run.by {
            0 => 1,
            by => usize::try_from((step - run.first).div_ceil(by)).unwrap_or(usize::MAX),
        };
        run.row + within.min(self.rows_of(i))
    }

    /// How many are not greater than `step`.
    pub(super) fn through(&self, step: u64) -> usize {
        step.checked_add(1)
            .map_or(self.len, |next| self.before(next))
    }

    /// Adds one that is greater than the last.
    pub(super) fn push(&mut self, step: u64) {
        let row = self.len;
        self.len += 1;
        let last = self.runs.last_mut();
        if let Some(run) = last {
            let rows = (row - run.row) as u64;
            if rows == 1 {
                run.by = step - run.first;
                return;
            }
            if run.by.checked_mul(rows) == Some(step - run.first) {
                return;
            }
        }
        let (first, by) = (step, 0);
        self.runs.push(Run { first, row, by });
    }

    /// Keeps the first `rows`.
    pub(super) fn truncate(&mut self, rows: usize) {
        self.len = self.len.min(rows);
        self.runs
            .truncate(self.runs.partition_point(|run| run.row < rows));
        if let Some(run) = self.runs.last_mut().filter(|run| self.len == run.row + 1) {
            run.by = 0;
        }
    }

    fn rows_of(&self, run: usize) -> usize {
        let next = self.runs.get(run + 1).map_or(self.len, |next| next.row);
        next - self.runs[run].row
    }
}

/// One that is not greater than those before it cuts them back, as in a curve.
impl FromIterator<u64> for Steps {
    fn from_iter<I: IntoIterator<Item = u64>>(all: I) -> Self {
        let mut steps = Self::default();
        for step in all {
            steps.truncate(steps.before(step));
            steps.push(step);
        }
        steps
    }
}

impl PartialEq<Vec<u64>> for Steps {
    fn eq(&self, other: &Vec<u64>) -> bool {
        self.iter().eq(other.iter().copied())
    }
}

impl<const N: usize> PartialEq<[u64; N]> for Steps {
    fn eq(&self, other: &[u64; N]) -> bool {
        self.iter().eq(other.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn steps(all: &[u64]) -> Steps {
        all.iter().copied().collect()
    }

    #[test]
    fn even_steps_are_one_run() {
        let even: Vec<u64> = (0..10_000).map(|i| 7 + 3 * i).collect();
        assert_eq!(steps(&even).runs.len(), 1);
        assert_eq!(steps(&even).last(), even.last().copied());
        assert_eq!(steps(&[0, u64::MAX]).last(), Some(u64::MAX));
        assert_eq!(steps(&[5, u64::MAX]).through(u64::MAX), 2);
    }

    proptest! {
        #[test]
        fn they_are_as_a_list_would_be(
            gaps in prop::collection::vec(prop_oneof![Just(1_u64), Just(1), 1..5_u64, Just(1 << 60)], 1..7),
            more in prop::collection::vec(prop_oneof![Just(1_u64), Just(10), 1..4_u64], 0..40),
            rows in 0..50_usize,
        ) {
            let sum = |at: &mut u64, gap: &u64| {
                *at += gap;
                Some(*at)
            };
            let all: Vec<u64> = gaps.iter().chain(&more).scan(0, sum).collect();
            let mut found = steps(&all);
            prop_assert_eq!(&found, &all);
            prop_assert_eq!(found.last(), all.last().copied());
            for step in all.iter().flat_map(|s| [s - 1, *s, s + 1]).chain([0, u64::MAX]) {
                prop_assert_eq!(found.before(step), all.partition_point(|s| *s < step));
                prop_assert_eq!(found.through(step), all.partition_point(|s| *s <= step));
            }
            found.truncate(rows);
            let kept = &all[..rows.min(all.len())];
            prop_assert_eq!(&found, &steps(kept), "nothing tells that there was more");
            prop_assert_eq!(found.iter().rev().collect::<Vec<_>>(), kept.iter().rev().copied().collect::<Vec<_>>());
        }
    }
}
