//! Which optimizer, schedule or other choice is better, at equal effort.

use hpo_study::History;
use serde_json::json;

use super::super::Source;
use super::super::data::{self, Json};
use crate::comparison::{Choice, Comparison, comparable, compare};
use crate::number::short_value;
use crate::trials::key_configuration;

/// Most parameters that are compared, and most of their values.
const MOST_PARAMETERS: usize = 6;
const MOST_CHOICES: usize = 40;
/// Most points of a curve.
const MOST_POINTS: usize = 100;

pub(super) fn data(source: &Source<'_>) -> Option<Json> {
    // The expected best of k trials is a matter of one objective.
    if source.history.spec().has_several() {
        return None;
    }
    let comparisons: Vec<Json> = comparable(source.history)
        .into_iter()
        .take(MOST_PARAMETERS)
        .map(|parameter| one(source.history, parameter))
        .collect();
    (!comparisons.is_empty()).then_some(Json::Array(comparisons))
}

fn one(history: &History, parameter: &str) -> Json {
    let comparison = compare(history, parameter);
    let choices = comparison.choices.iter().take(MOST_CHOICES);
    json!({
        "parameter": comparison.parameter,
        "k": comparison.k,
        "sentence": comparison.sentence(),
        "choices": choices.map(|choice| row(&comparison, choice)).collect::<Vec<_>>(),
        "left_out": comparison.choices.len().saturating_sub(MOST_CHOICES),
    })
}

fn row(comparison: &Comparison, choice: &Choice) -> Json {
    let curve = &choice.expected_best_of;
    let (k, expected): (Vec<usize>, Vec<Json>) = points(curve.len())
        .filter_map(|k| Some((k, data::number(*curve.get(k.checked_sub(1)?)?))))
        .unzip();
    let best = choice.best_params.as_ref().map(|params| {
        let mut params = params.clone();
        params.remove(&comparison.parameter);
        data::short_text(&key_configuration(&params))
    });
    json!({
        "value": data::short_text(&short_value(&choice.value)),
        "trials": choice.trials,
        "completed": choice.completed,
        "stopped": choice.stopped,
        "broken": choice.diverged + choice.failed,
        "best": data::maybe(choice.best),
        "best_trial": choice.best_trial,
        "best_configuration": best,
        "median": data::maybe(choice.median),
        "expected_best": data::maybe(choice.expected_best),
        "k": k,
        "expected_best_of": expected,
    })
}

/// The numbers 1 to n: all of them, or about [`MOST_POINTS`], denser at the beginning.
fn points(n: usize) -> impl Iterator<Item = usize> {
    let mut last = 0;
    let growth = (n.max(2) as f64).powf(1.0 / MOST_POINTS as f64);
    (1..=n).filter(move |k| {
        let wanted = *k == 1 || *k == n || n <= MOST_POINTS;
        let due = *k as f64 >= last as f64 * growth && *k > last;
        if wanted || due {
            last = *k;
        }
        wanted || due
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_curves_are_given_at_few_points() {
        assert_eq!(points(0).count(), 0);
        assert_eq!(points(3).collect::<Vec<_>>(), [1, 2, 3]);
        let many: Vec<usize> = points(10_000).collect();
        assert!(many.len() <= MOST_POINTS + 2, "{}", many.len());
        assert_eq!(
            (many[..5].to_vec(), many.last()),
            (vec![1, 2, 3, 4, 5], Some(&10_000))
        );
        assert!(many.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
