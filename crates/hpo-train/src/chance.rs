//! What a model gets that has seen the training targets and nothing else: the chance level of each metric,
//! by which whoever watches tells a run that learns nothing.
//!
//! Classes: with p the shares of the classes among the training rows and q among those of validation, such a
//! model puts out p. Its validation loss is the cross-entropy −Σ q ln p, its training loss the entropy of
//! the targets it is given (p, smoothed where labels are), its accuracy the share in q of the class that
//! is the most frequent in p. Numbers: it puts out the mean of the training targets, which is 0 after
//! standardizing, and its training loss is their variance, 1.

/// The chance levels for a classification: labels of the training and of the validation rows, and the
/// smoothing of labels in training, from 0 to below 1.
pub(crate) fn of_classes(seen: &[u32], judged: &[u32], smoothing: f64) -> Vec<(&'static str, f64)> {
    let classes = seen
        .iter()
        .chain(judged)
        .max()
        .map_or(0, |&last| last as usize + 1);
    let (p, q) = (shares(seen, classes), shares(judged, classes));
    let even = smoothing / classes.max(1) as f64;
    let targets: Vec<f64> = p.iter().map(|p| (1.0 - smoothing) * p + even).collect();
    let most_frequent = (0..classes).max_by(|&a, &b| p[a].total_cmp(&p[b]).then(b.cmp(&a)));
    known([
        ("chance/train_loss", cross_entropy(&targets, &targets)),
        ("chance/val_loss", cross_entropy(&q, &p)),
        (
            "chance/val_accuracy",
            most_frequent.map_or(f64::NAN, |class| q[class]),
        ),
    ])
}

/// The chance levels for a regression: the standardized targets of the validation rows, and what one unit
/// of them is in the data's units.
pub(crate) fn of_numbers(judged: &[f32], scale: f64) -> Vec<(&'static str, f64)> {
    let count = judged.len() as f64;
    let values = || judged.iter().map(|&x| f64::from(x));
    let mean = values().sum::<f64>() / count;
    let square = values().map(|x| x * x).sum::<f64>() / count;
    known([
        ("chance/train_loss", 1.0),
        ("chance/val_loss", square),
        ("chance/val_rmse", square.sqrt() * scale),
        ("chance/val_r2", 1.0 - square / (square - mean * mean)),
    ])
}

/// Without what cannot be said: a class that training never saw, targets that are all equal.
fn known<const N: usize>(levels: [(&'static str, f64); N]) -> Vec<(&'static str, f64)> {
    levels
        .into_iter()
        .filter(|(_, level)| level.is_finite())
        .collect()
}

fn shares(labels: &[u32], classes: usize) -> Vec<f64> {
    let mut shares = vec![0.0; classes];
    for &label in labels {
        shares[label as usize] += 1.0 / labels.len() as f64;
    }
    shares
}

/// −Σ q ln p, in nats; infinite where p lacks what q has.
fn cross_entropy(q: &[f64], p: &[f64]) -> f64 {
    let terms = q.iter().zip(p).filter(|(q, _)| **q > 0.0);
    -terms.map(|(q, p)| q * p.ln()).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entropy_of_the_labels_is_the_loss_of_a_model_that_knows_only_them() {
        let entropy = -(0.75_f64 * 0.75_f64.ln() + 0.25 * 0.25_f64.ln());
        let levels = of_classes(&[0, 0, 0, 1], &[0, 1], 0.0);
        assert_eq!(levels[2], ("chance/val_accuracy", 0.5));
        assert!((levels[0].1 - entropy).abs() < 1e-12);
        assert!((levels[1].1 + 0.5 * (0.75_f64.ln() + 0.25_f64.ln())).abs() < 1e-12);
        let balanced = of_classes(&[0, 1, 2, 3], &[3, 2, 1, 0], 0.1);
        assert!((balanced[0].1 - 4_f64.ln()).abs() < 1e-12);
        assert!(of_classes(&[0, 0, 0, 1], &[0, 1], 0.2)[0].1 > entropy);
        // A class that was never seen.
        assert_eq!(of_classes(&[0, 1], &[2, 2], 0.0).len(), 2);
    }

    #[test]
    fn a_regression_is_as_good_as_its_mean() {
        let levels = of_numbers(&[1.0, -1.0, 2.0, -2.0], 3.0);
        assert_eq!(levels[1], ("chance/val_loss", 2.5));
        assert_eq!(levels[2], ("chance/val_rmse", 2.5_f64.sqrt() * 3.0));
        assert_eq!(levels[3], ("chance/val_r2", 0.0));
        assert_eq!(of_numbers(&[1.0, 1.0], 1.0).len(), 3);
    }
}
