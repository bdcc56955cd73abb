//! Long curves made short without losing what the eye looks for.

/// The rows of a curve that are drawn: all of them when there are at most `most`, else as many,
/// chosen by largest-triangle-three-buckets (Steinarsson, "Downsampling Time Series for Visual
/// Representation", 2013): the first and the last row, and of each bucket between the row that spans
/// the largest triangle with the row chosen before and the mean of the next bucket, so that spikes
/// stay. Of values that are not finite the first of each run is kept, and takes no part in the
/// triangles; at most a quarter of the rows goes to them.
#[must_use]
pub(super) fn rows(steps: &[u64], values: &[f64], most: usize) -> Vec<usize> {
    let count = steps.len().min(values.len());
    if count <= most {
        return (0..count).collect();
    }
    let finite = |row: &usize| values.get(*row).is_some_and(|v| v.is_finite());
    let breaks = (0..count).filter(|row| {
        let after_finite = row.checked_sub(1).is_none_or(|before| finite(&before));
        !finite(row) && after_finite
    });
    let mut chosen: Vec<usize> = breaks.take(most / 4).collect();
    let told: Vec<usize> = (0..count).filter(finite).collect();
    let points: Vec<(f64, f64)> = told
        .iter()
        .filter_map(|row| Some((*steps.get(*row)? as f64, *values.get(*row)?)))
        .collect();
    let picked = largest_triangles(&points, most.saturating_sub(chosen.len()).max(2));
    chosen.extend(picked.into_iter().filter_map(|i| told.get(i)));
    chosen.sort_unstable();
    chosen
}

/// Points of a curve that may have millions, few enough to choose from: of each stretch the first, the lowest,
/// the highest, and the first that is not finite. All of them where there are few.
pub(super) fn coarse(
    points: impl Iterator<Item = (u64, f64)>,
    count: usize,
) -> (Vec<u64>, Vec<f64>) {
    const STRETCHES: usize = 20_000;
    let length = count.div_ceil(STRETCHES).max(1);
    let mut kept = (Vec::new(), Vec::new());
    let mut stretch: Vec<(u64, f64)> = Vec::new();
    let mut points = points.peekable();
    while points.peek().is_some() {
        stretch.clear();
        stretch.extend(points.by_ref().take(length));
        let finite = || stretch.iter().enumerate().filter(|(_, p)| p.1.is_finite());
        let by_height =
            |a: &(usize, &(u64, f64)), b: &(usize, &(u64, f64))| a.1.1.total_cmp(&b.1.1);
        let last = points.peek().is_none().then(|| stretch.len() - 1);
        let broken = stretch.iter().position(|p| !p.1.is_finite());
        let (low, high) = (finite().min_by(by_height), finite().max_by(by_height));
        let wanted = [Some(0), low.map(|p| p.0), high.map(|p| p.0), broken, last];
        for (i, (step, value)) in stretch.iter().enumerate() {
            if wanted.contains(&Some(i)) {
                kept.0.push(*step);
                kept.1.push(*value);
            }
        }
    }
    kept
}

/// Indices of the points kept, at most `most` (at least 2).
fn largest_triangles(points: &[(f64, f64)], most: usize) -> Vec<usize> {
    let n = points.len();
    if n <= most {
        return (0..n).collect();
    }
    // The first and the last point are kept; the others are shared out to the buckets.
    let buckets = most.saturating_sub(2);
    let start = |bucket: usize| 1 + bucket * (n - 2) / buckets.max(1);
    let mut chosen = vec![0];
    let mut last = 0;
    for bucket in 0..buckets {
        let (from, to) = (start(bucket), start(bucket + 1));
        let next = if bucket + 1 == buckets {
            n - 1..n
        } else {
            to..start(bucket + 2)
        };
        let size = next.len().max(1) as f64;
        let following = points.get(next).unwrap_or_default();
        let mean = following.iter().fold((0.0, 0.0), |sum, p| {
            (sum.0 + p.0 / size, sum.1 + p.1 / size)
        });
        let Some(&(x, y)) = points.get(last) else {
            break;
        };
        let mut best = (from, -1.0);
        for (i, p) in points.iter().enumerate().take(to).skip(from) {
            let area = ((x - mean.0) * (p.1 - y) - (x - p.0) * (mean.1 - y)).abs();
            if area > best.1 {
                best = (i, area);
            }
        }
        last = best.0;
        chosen.push(last);
    }
    chosen.push(n - 1);
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn millions_become_few_and_keep_what_stands_out() {
        let value = |i: u64| match i {
            700_001 => 99.0,
            700_002 => -99.0,
            900_000.. => f64::NAN,
            _ => (i as f64).sin(),
        };
        let count = 1_000_000;
        let (steps, values) = coarse((0..count).map(|i| (i, value(i))), count as usize);
        assert!(steps.len() < 100_000 && steps.is_sorted());
        assert!(
            steps
                .iter()
                .zip(&values)
                .all(|(step, v)| v.to_bits() == value(*step).to_bits())
        );
        for i in [0, 700_001, 700_002, 900_000, 999_999] {
            assert!(steps.contains(&i), "{i}");
        }
        let few = coarse([(3, 1.0), (5, f64::NAN), (9, 2.0)].into_iter(), 3);
        assert_eq!(few.0, [3, 5, 9]);
    }

    #[test]
    fn short_curves_stay_whole() {
        assert_eq!(rows(&[1, 2, 3], &[1.0, f64::NAN, 2.0], 3), [0, 1, 2]);
        assert!(rows(&[], &[], 5).is_empty());
    }

    #[test]
    fn spikes_ends_and_breaks_stay() {
        let steps: Vec<u64> = (0..10_000).collect();
        let mut values: Vec<f64> = steps.iter().map(|s| 1.0 / (1.0 + *s as f64)).collect();
        values[4321] = 8.0;
        values[6000..6010].fill(f64::NAN);
        values[9000] = f64::INFINITY;
        let chosen = rows(&steps, &values, 50);
        assert!(chosen.len() <= 50, "{}", chosen.len());
        assert!(chosen.windows(2).all(|pair| pair[0] < pair[1]));
        for row in [0, 4321, 6000, 9000, 9999] {
            assert!(chosen.contains(&row), "{row}: {chosen:?}");
        }
        assert_eq!(
            chosen.iter().filter(|r| !values[**r].is_finite()).count(),
            2
        );
    }

    #[test]
    fn absurd_curves_are_no_trouble() {
        let steps: Vec<u64> = (0..100).map(|i| i * (u64::MAX / 100)).collect();
        for values in [vec![f64::NAN; 100], vec![f64::MAX; 100], vec![0.0; 100]] {
            for most in [0, 1, 2, 3, 7, 99] {
                assert!(rows(&steps, &values, most).len() <= most.max(2));
            }
        }
        let alternating: Vec<f64> = (0..100)
            .map(|i| if i % 2 == 0 { f64::NAN } else { 1.0 })
            .collect();
        assert!(rows(&steps, &alternating, 10).len() <= 10);
    }
}
