//! Where a run is heading: a straight line that outliers cannot bend.

use super::cells::{CELLS, Cell, median};

/// Noise is not taken for a level or a trend: within two standard errors there is neither.
pub(super) const ERRORS: f64 = 2.0;

/// A line through stretches of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Trend {
    /// The median height.
    pub(super) level: f64,
    /// Change in height per step.
    pub(super) slope: f64,
    /// The standard error of the level: how far noise alone may have put it off.
    pub(super) error: f64,
    /// The standard error of the slope.
    pub(super) slope_error: f64,
    /// How much it comes down from the first third to the last, where that is more than noise.
    pub(super) fall: f64,
}

impl Trend {
    /// The resistant line (Tukey's three groups; Emerson and Hoaglin 1983, "Resistant lines for y
    /// versus x"): the slope between the median of the first third and that of the last. `None`
    /// with fewer than three cells. O(n log n).
    pub(super) fn through(cells: &[Cell]) -> Option<Self> {
        let third = cells.len() / 3;
        if third == 0 {
            return None;
        }
        let (first, last) = (cells.get(..third)?, cells.get(cells.len() - third..)?);
        let run = middle(last)? - middle(first)?;
        let rise = height_of(last)? - height_of(first)?;
        let slope = if run > 0.0 { rise / run } else { 0.0 };
        // The median of many values is 1.25 times as uncertain as their mean.
        let error = 1.25 * noise(cells)? / (cells.len() as f64).sqrt();
        // A third has √3 times that error, and a difference of thirds √6 times.
        let rise_error = 6f64.sqrt() * error;
        let fall = if -rise > ERRORS * rise_error {
            -rise
        } else {
            0.0
        };
        Some(Self {
            level: height_of(cells)?,
            slope,
            error,
            slope_error: if run > 0.0 { rise_error / run } else { 0.0 },
            fall,
        })
    }
}

fn middle(cells: &[Cell]) -> Option<f64> {
    Some(0.5 * (cells.first()?.middle() + cells.last()?.middle()))
}

/// The median height of some stretches.
pub(super) fn height_of(cells: &[Cell]) -> Option<f64> {
    let mut heights = [0.0; CELLS];
    let heights = heights.get_mut(..cells.len())?;
    for (slot, cell) in heights.iter_mut().zip(cells) {
        *slot = cell.height;
    }
    median(heights)
}

/// The noise of a stretch: from the differences between neighbours, so that a trend is not taken
/// for noise, and by their median, so that a jump is not either.
fn noise(cells: &[Cell]) -> Option<f64> {
    let mut steps = [0.0; CELLS];
    let steps = steps.get_mut(..cells.len() - 1)?;
    for (slot, (a, b)) in steps.iter_mut().zip(cells.iter().zip(cells.iter().skip(1))) {
        *slot = (b.height - a.height).abs();
    }
    Some(median(steps)? * 1.4826 / std::f64::consts::SQRT_2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(heights: &[f64]) -> Vec<Cell> {
        let at = |i: usize| i as f64;
        heights
            .iter()
            .enumerate()
            .map(|(i, &height)| Cell {
                start: at(i),
                end: at(i) + 1.0,
                height,
                ..Cell::default()
            })
            .collect()
    }

    #[test]
    fn a_line_is_found_and_an_outlier_does_not_bend_it() {
        let line: Vec<f64> = (0..9).map(|i| 5.0 - 0.5 * f64::from(i)).collect();
        let trend = Trend::through(&cells(&line)).unwrap();
        assert!((trend.slope + 0.5).abs() < 1e-12 && (trend.level - 3.0).abs() < 1e-12);
        let mut bent = line;
        bent[8] = 1e9;
        assert!((Trend::through(&cells(&bent)).unwrap().slope + 0.5).abs() < 0.1);
    }

    #[test]
    fn a_fall_is_more_than_noise() {
        let wobbly = |fall: f64| -> Vec<f64> {
            (0..30)
                .map(|i| f64::from(i * 7 % 5) * 0.1 - fall * f64::from(i) / 30.0)
                .collect()
        };
        let flat = Trend::through(&cells(&wobbly(0.0))).unwrap();
        assert!(flat.fall == 0.0 && flat.error > 0.01 && flat.error < 0.1);
        // A difference of two thirds of ten, whose middles are twenty apart.
        let meant = 6f64.sqrt() * flat.error / 20.0;
        assert!((flat.slope_error - meant).abs() < 1e-12);
        assert!(Trend::through(&cells(&wobbly(2.0))).unwrap().fall > 1.0);
    }

    #[test]
    fn too_little_has_no_trend() {
        assert_eq!(Trend::through(&cells(&[1.0, 2.0])), None);
        assert!(Trend::through(&cells(&[1.0, 2.0, 3.0])).is_some());
    }
}
