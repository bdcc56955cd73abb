//! The memory: a run's heights, as the medians of at most [`CELLS`] stretches of equal length.

/// The most stretches that are kept; when they are full, neighbours are merged.
pub(super) const CELLS: usize = 128;
/// Readings kept of the stretch that is under way.
const READINGS: usize = 16;

/// A report below this height is clearly better than chance: a loss of .9 times it.
pub(super) const GOOD: f64 = -0.1;

/// A stretch that is over.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Cell {
    /// The step after which it began.
    pub(super) start: f64,
    /// Its last step.
    pub(super) end: f64,
    /// The median height of its reports.
    pub(super) height: f64,
    /// How many of its readings are better than [`GOOD`].
    pub(super) good: u32,
    /// How many readings it is made of.
    pub(super) readings: u32,
}

impl Cell {
    /// The step in its middle.
    pub(super) fn middle(&self) -> f64 {
        0.5 * (self.start + self.end)
    }
}

/// What has been seen, in bounded memory. A report costs O(1): a stretch keeps at most
/// 16 readings (evenly thinned when there are more), and merging is rare.
#[derive(Clone, Debug)]
pub(super) struct Cells {
    cells: [Cell; CELLS],
    len: usize,
    readings: [f64; READINGS],
    held: usize,
    stride: u64,
    seen: u64,
    start: f64,
}

impl Cells {
    /// Nothing seen yet; the first stretch begins after `start`.
    pub(super) fn new(start: f64) -> Self {
        Self {
            cells: [Cell::default(); CELLS],
            len: 0,
            readings: [0.0; READINGS],
            held: 0,
            stride: 1,
            seen: 0,
            start,
        }
    }

    /// The stretches that are over, oldest first.
    pub(super) fn all(&self) -> &[Cell] {
        self.cells.get(..self.len).unwrap_or_default()
    }

    /// Adds a reading; `gap` is the distance to the report before. True when this reading ended a
    /// stretch: when the next one would lie further beyond `width` than this one falls short of it.
    pub(super) fn push(&mut self, step: f64, gap: f64, width: f64, height: f64) -> bool {
        self.hold(height);
        if step - self.start + 0.5 * gap < width || step <= self.start {
            return false;
        }
        let readings = self.readings.get_mut(..self.held).unwrap_or_default();
        let cell = Cell {
            start: self.start,
            end: step,
            good: readings.iter().filter(|&&reading| reading < GOOD).count() as u32,
            readings: readings.len() as u32,
            height: median(readings).unwrap_or(height),
        };
        if self.len == CELLS {
            self.merge();
        }
        if let Some(slot) = self.cells.get_mut(self.len) {
            *slot = cell;
            self.len += 1;
        }
        (self.start, self.held, self.stride, self.seen) = (step, 0, 1, 0);
        true
    }

    fn hold(&mut self, height: f64) {
        if self.seen.is_multiple_of(self.stride) {
            if self.held == READINGS {
                for i in 0..READINGS / 2 {
                    self.readings.swap(i, 2 * i);
                }
                self.held = READINGS / 2;
                self.stride *= 2;
            }
            // After thinning, the reading at hand may be one of those to be left out.
            if self.seen.is_multiple_of(self.stride)
                && let Some(slot) = self.readings.get_mut(self.held)
            {
                *slot = height;
                self.held += 1;
            }
        }
        self.seen += 1;
    }

    fn merge(&mut self) {
        for i in 0..CELLS / 2 {
            let (Some(&a), Some(&b)) = (self.cells.get(2 * i), self.cells.get(2 * i + 1)) else {
                return;
            };
            if let Some(slot) = self.cells.get_mut(i) {
                *slot = Cell {
                    start: a.start,
                    end: b.end,
                    height: 0.5 * (a.height + b.height),
                    good: a.good + b.good,
                    readings: a.readings + b.readings,
                };
            }
        }
        self.len = CELLS / 2;
    }
}

/// The median, by sorting in place; `None` when there is nothing.
pub(super) fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    Some(0.5 * (values.get(middle - 1)? + upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_is_the_median_of_its_readings() {
        let mut cells = Cells::new(0.0);
        for (step, height) in [(1.0, 5.0), (2.0, 1.0), (3.0, 100.0)] {
            assert!(!cells.push(step, 1.0, 4.0, height));
        }
        assert!(cells.push(4.0, 1.0, 4.0, 2.0));
        assert_eq!(
            cells.all(),
            [Cell {
                start: 0.0,
                end: 4.0,
                height: 3.5,
                good: 0,
                readings: 4
            }]
        );
    }

    #[test]
    fn a_sparse_report_is_a_stretch_of_its_own() {
        let mut cells = Cells::new(0.0);
        assert!(cells.push(20.0, 20.0, 8.0, 1.0) && cells.push(40.0, 20.0, 8.0, 2.0));
        assert_eq!(cells.all().len(), 2);
    }

    #[test]
    fn thinned_readings_are_spread_over_the_whole_stretch() {
        let mut cells = Cells::new(0.0);
        for step in 1..=1000 {
            let ended = cells.push(f64::from(step), 1.0, 1000.0, f64::from(step));
            assert_eq!(ended, step == 1000);
        }
        assert!((cells.all()[0].height - 500.0).abs() < 40.0);
    }

    #[test]
    fn memory_stays_bounded_and_covers_the_run() {
        let mut cells = Cells::new(0.0);
        for step in 1..10_000 {
            cells.push(f64::from(step), 1.0, 1.0, f64::from(step));
            assert!(cells.all().len() <= CELLS);
        }
        assert_eq!(cells.all()[0].start, 0.0);
        assert!(
            cells
                .all()
                .windows(2)
                .all(|pair| pair[0].end == pair[1].start)
        );
    }

    #[test]
    fn medians() {
        assert_eq!(median(&mut []), None);
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }
}
