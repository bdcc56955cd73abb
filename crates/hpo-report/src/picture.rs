//! Curves drawn with block characters.

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A picture of a curve, `columns` wide and `rows` high, top line first; its lowest finite value is
/// at the bottom and its highest at the top. Longer curves are thinned out, keeping the last point
/// of each stretch; shorter ones are drawn one column per point. What is not finite stays blank.
#[must_use]
pub fn curve(values: &[f64], columns: usize, rows: usize) -> Vec<String> {
    curve_from(f64::INFINITY, values, columns, rows)
}

/// As [`curve`], with `lowest` at the bottom unless a value is lower.
#[must_use]
pub fn curve_from(lowest: f64, values: &[f64], columns: usize, rows: usize) -> Vec<String> {
    let columns = columns.min(values.len());
    let picked: Vec<f64> = (0..columns)
        .filter_map(|i| {
            values
                .get(((i + 1) * values.len()).div_ceil(columns) - 1)
                .copied()
        })
        .collect();
    let finite = || picked.iter().copied().filter(|v| v.is_finite());
    let (low, high) = (
        finite().fold(lowest, f64::min),
        finite().fold(f64::NEG_INFINITY, f64::max),
    );
    let levels = rows * BLOCKS.len();
    let level = |value: f64| -> Option<usize> {
        if !value.is_finite() {
            return None;
        }
        let share = if high > low {
            (value - low) / (high - low)
        } else {
            0.5
        };
        Some(1 + (share * (levels as f64 - 1.0)).round() as usize)
    };
    let heights: Vec<Option<usize>> = picked.iter().map(|v| level(*v)).collect();
    (0..rows)
        .rev()
        .map(|row| heights.iter().map(|height| block(*height, row)).collect())
        .collect()
}

/// What a column of this height shows in a row, counted from the bottom.
fn block(height: Option<usize>, row: usize) -> char {
    let Some(height) = height else { return ' ' };
    match height.saturating_sub(row * BLOCKS.len()) {
        0 => ' ',
        filled => BLOCKS.get(filled - 1).copied().unwrap_or('█'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ramp_rises() {
        let ramp: Vec<f64> = (0..8).map(f64::from).collect();
        assert_eq!(curve(&ramp, 8, 1), ["▁▂▃▄▅▆▇█"]);
        assert_eq!(curve(&ramp, 4, 2), ["  ▃█", "▁▆██"]);
    }

    #[test]
    fn odd_curves_are_drawn_too() {
        assert_eq!(curve(&[], 10, 1), [""]);
        assert_eq!(curve(&[1.0, 1.0], 10, 1), ["▅▅"]);
        assert_eq!(curve(&[0.0, f64::NAN, 1.0], 10, 1), ["▁ █"]);
    }
}
