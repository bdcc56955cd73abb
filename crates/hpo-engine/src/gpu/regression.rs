//! Ridge regression with leave-one-out residuals, and the conformal bound that they give.

/// A fitted ridge regression: y = intercept + x·β over standardized columns, the intercept free.
///
/// Minimizes Σ (y − ŷ)² + λ Σ β² (Hoerl & Kennard, Technometrics 12(1), 1970); the same as scikit-learn's
/// `Ridge(alpha=λ)` behind a `StandardScaler`. Columns that do not vary get no weight.
#[derive(Debug, Clone)]
pub(crate) struct Ridge {
    means: Vec<f64>,
    scales: Vec<f64>,
    intercept: f64,
    weights: Vec<f64>,
    /// y − ŷ of each row, from the fit without that row.
    pub(crate) left_out: Vec<f64>,
}

impl Ridge {
    /// Fits rows of equal length; `None` without rows, or when numbers are not finite.
    pub(crate) fn fit(rows: &[Vec<f64>], y: &[f64], lambda: f64) -> Option<Self> {
        let (n, columns) = (rows.len(), rows.first()?.len());
        let finite = rows.iter().flatten().chain(y).all(|v| v.is_finite());
        if y.len() != n || !finite || rows.iter().any(|row| row.len() != columns) {
            return None;
        }
        let count = n as f64;
        let column = |j: usize| rows.iter().filter_map(move |row| row.get(j).copied());
        let means: Vec<f64> = (0..columns)
            .map(|j| column(j).sum::<f64>() / count)
            .collect();
        let scales: Vec<f64> = means
            .iter()
            .enumerate()
            .map(|(j, mean)| {
                let square = column(j).map(|x| (x - mean) * (x - mean)).sum::<f64>() / count;
                let scale = square.sqrt();
                if scale > 1e-9 { scale } else { f64::INFINITY }
            })
            .collect();
        let standardized: Vec<Vec<f64>> = rows
            .iter()
            .map(|row| standardize(row, &means, &scales))
            .collect();
        let intercept = y.iter().sum::<f64>() / count;
        let mut gram = vec![vec![0.0; columns]; columns];
        let mut moment = vec![0.0; columns];
        for (row, y) in standardized.iter().zip(y) {
            for ((line, m), a) in gram.iter_mut().zip(&mut moment).zip(row) {
                *m += a * (y - intercept);
                for (cell, b) in line.iter_mut().zip(row) {
                    *cell += a * b;
                }
            }
        }
        for (j, line) in gram.iter_mut().enumerate() {
            if let Some(cell) = line.get_mut(j) {
                *cell += lambda;
            }
        }
        let factor = cholesky(&gram)?;
        let weights = solve(&factor, &moment);
        // With a free intercept the hat matrix is 1/n + x (XᵀX + λ)⁻¹ xᵀ, and leaving a row out divides its
        // residual by 1 − h (Allen's PRESS, Technometrics 16(1), 1974).
        let left_out = standardized
            .iter()
            .zip(y)
            .map(|(row, y)| {
                let leverage = 1.0 / count + dot(row, &solve(&factor, row));
                (y - intercept - dot(row, &weights)) / (1.0 - leverage).max(1e-6)
            })
            .collect();
        Some(Self {
            means,
            scales,
            intercept,
            weights,
            left_out,
        })
    }

    /// The value expected for a row.
    pub(crate) fn predict(&self, row: &[f64]) -> f64 {
        let row = standardize(row, &self.means, &self.scales);
        self.intercept + dot(&row, &self.weights)
    }

    /// How many columns there are.
    pub(crate) fn columns(&self) -> usize {
        self.weights.len()
    }

    /// Root mean square of the residuals of rows left out.
    pub(crate) fn error(&self) -> f64 {
        let squares = self.left_out.iter().map(|r| r * r).sum::<f64>();
        (squares / self.left_out.len().max(1) as f64).sqrt()
    }
}

/// What a new score stays below with probability `level`, if it is exchangeable with these: the
/// ⌈(n + 1)·level⌉-th smallest (split conformal prediction, Vovk et al., 2005; with left-out residuals
/// the jackknife of Barber et al., Ann. Statist. 49(1), 2021). `None`: there are too few to say.
pub(crate) fn conformal(scores: &[f64], level: f64) -> Option<f64> {
    let mut sorted = scores.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = ((scores.len() + 1) as f64 * level).ceil() as usize;
    sorted.get(rank.checked_sub(1)?).copied()
}

fn standardize(row: &[f64], means: &[f64], scales: &[f64]) -> Vec<f64> {
    let centred = row.iter().zip(means).map(|(x, mean)| x - mean);
    centred.zip(scales).map(|(x, scale)| x / scale).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The lower triangle L of A = L·Lᵀ for a positive definite A.
fn cholesky(a: &[Vec<f64>]) -> Option<Vec<Vec<f64>>> {
    let mut lower: Vec<Vec<f64>> = Vec::with_capacity(a.len());
    for (i, line) in a.iter().enumerate() {
        let mut row: Vec<f64> = Vec::with_capacity(i + 1);
        for (j, cell) in line.iter().enumerate().take(i + 1) {
            let above = lower.get(j).map_or(&row[..], Vec::as_slice);
            let rest = cell - dot(&row, &above[..above.len().min(j)]);
            row.push(if i == j {
                (rest > 0.0).then(|| rest.sqrt())?
            } else {
                rest / lower.get(j)?.get(j)?
            });
        }
        lower.push(row);
    }
    Some(lower)
}

/// x with L·Lᵀ·x = b.
fn solve(lower: &[Vec<f64>], b: &[f64]) -> Vec<f64> {
    let mut y: Vec<f64> = Vec::with_capacity(b.len());
    for (row, b) in lower.iter().zip(b) {
        let rest = b - dot(row, &y);
        y.push(rest / row.last().copied().unwrap_or(1.0));
    }
    let mut x = vec![0.0; y.len()];
    for (i, y) in y.iter().enumerate().rev() {
        let below = lower.iter().zip(&x).skip(i + 1);
        let sum: f64 = below.map(|(row, x)| row.get(i).unwrap_or(&0.0) * x).sum();
        let diagonal = lower.get(i).and_then(|row| row.get(i)).unwrap_or(&1.0);
        if let Some(x) = x.get_mut(i) {
            *x = (y - sum) / diagonal;
        }
    }
    x
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    /// Numbers of scikit-learn and NumPy; `tests/memory/reference.py` made them and names the versions.
    #[derive(Deserialize)]
    struct Reference {
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        rows: Vec<Vec<f64>>,
        y: Vec<f64>,
        alpha: f64,
        new: Vec<f64>,
        predicted: f64,
        left_out: Vec<f64>,
        level: f64,
        bound: Option<f64>,
    }

    #[test]
    fn agrees_with_scikit_learn() {
        let text = include_str!("../../tests/memory/reference.json");
        let reference: Reference = serde_json::from_str(text).expect("the reference reads");
        assert!(reference.cases.len() >= 6);
        for (i, case) in reference.cases.iter().enumerate() {
            let fit = Ridge::fit(&case.rows, &case.y, case.alpha).expect("fits");
            let near = |a: f64, b: f64| (a - b).abs() <= 1e-9 * (1.0 + b.abs());
            let predicted = fit.predict(&case.new);
            assert!(
                near(predicted, case.predicted),
                "case {i}: {predicted} {}",
                case.predicted
            );
            for (a, b) in fit.left_out.iter().zip(&case.left_out) {
                assert!(near(*a, *b), "case {i}: {a} {b}");
            }
            match (conformal(&fit.left_out, case.level), case.bound) {
                (Some(a), Some(b)) => assert!(near(a, b), "case {i}: {a} {b}"),
                (a, b) => assert_eq!(a, b, "case {i}"),
            }
        }
    }

    #[test]
    fn nonsense_is_no_fit() {
        assert!(Ridge::fit(&[], &[], 1.0).is_none());
        assert!(Ridge::fit(&[vec![f64::NAN]], &[1.0], 1.0).is_none());
        assert!(Ridge::fit(&[vec![1.0], vec![1.0, 2.0]], &[1.0, 2.0], 1.0).is_none());
        let flat = Ridge::fit(&[vec![3.0], vec![3.0]], &[1.0, 3.0], 0.0);
        assert!(
            flat.is_none(),
            "without a penalty a column of one value cannot be solved for"
        );
        let flat = Ridge::fit(&[vec![3.0], vec![3.0]], &[1.0, 3.0], 0.1).expect("fits");
        assert_eq!(flat.predict(&[99.0]), 2.0);
    }
}
