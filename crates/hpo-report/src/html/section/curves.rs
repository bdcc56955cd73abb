//! What the trials reported, thinned to what can be drawn.

use std::collections::BTreeMap;

use hpo_study::{Finding, History, Steps, Trial};
use serde_json::json;

use super::super::data::{self, Json};
use super::super::{Source, thin};
use crate::trials::rescue_words;

/// Most points of all objective curves together, and of a single one.
const MOST_OBJECTIVE: usize = 200_000;
const LONGEST: usize = 400;
/// Most points of all other curves together, and of a single one.
const MOST_OTHER: usize = 250_000;
const LONGEST_OTHER: usize = 200;
/// Most findings whose evidence is given in words.
const MOST_WORDS: usize = 2_000;

pub(super) fn data(source: &Source<'_>) -> Option<Json> {
    let history = source.history;
    let reported = history.trials().iter().filter(|t| !t.curve.is_empty());
    let mut by_interest: Vec<&Trial> = reported.collect();
    if by_interest.is_empty() {
        return None;
    }
    let each = (MOST_OBJECTIVE / by_interest.len()).clamp(4, LONGEST);
    by_interest.sort_by(|a, b| interest(history, a).total_cmp(&interest(history, b)));
    let (mut left, mut words) = (MOST_OTHER, MOST_WORDS);
    let mut objective_only = 0;
    let mut trials: Vec<(u32, Json)> = Vec::new();
    for trial in by_interest {
        let mut metrics = serde_json::Map::new();
        let objective = &history.spec().metric.name;
        if let Some(curve) = series(&trial.curve.steps, trial.curve.objective(), each) {
            metrics.insert(objective.clone(), curve);
        }
        let others = others(
            history,
            trial,
            left.min(LONGEST_OTHER * trial.curve.others.len().max(1)),
        );
        objective_only += usize::from(others.is_none());
        for (name, curve, points) in others.unwrap_or_default() {
            left = left.saturating_sub(points);
            metrics.insert(name, curve);
        }
        let findings: Vec<Json> = trial
            .findings
            .iter()
            .map(|found| {
                let in_words = words > 0;
                words = words.saturating_sub(1);
                finding(found, in_words)
            })
            .collect();
        let rescues = trial.rescues.iter().map(|rescue| {
            json!({ "step": rescue.healthy_step, "words": rescue_words(rescue), "evidence": data::short_text(&rescue.evidence) })
        });
        let of_one = json!({
            "trial": trial.id,
            "metrics": metrics,
            "findings": findings,
            "rescues": rescues.collect::<Vec<_>>(),
        });
        trials.push((trial.id.0, of_one));
    }
    trials.sort_by_key(|(id, _)| *id);
    Some(json!({
        "watched": history.spec().watched().name,
        "names": names(history),
        "objective_only": objective_only,
        "longest": each,
        "trials": trials.into_iter().map(|(_, json)| json).collect::<Vec<_>>(),
    }))
}

/// All metrics, the objective first.
fn names(history: &History) -> Vec<&str> {
    let others = history.metric_names().iter().map(String::as_str);
    std::iter::once(history.spec().metric.name.as_str())
        .chain(others)
        .collect()
}

/// The smaller, the sooner a trial's other metrics are drawn when not all of them can be: the best
/// first, trials in which something was found among the good ones.
fn interest(history: &History, trial: &Trial) -> f64 {
    if !trial.findings.is_empty() || !trial.rescues.is_empty() {
        // Among the good ones, the earlier trials first.
        return -1.0 / (1.0 + f64::from(trial.id.0));
    }
    let value = trial.value().filter(|v| v.is_finite());
    value.map_or(f64::INFINITY, |v| {
        // Into −1 … 0, whatever the scale: better is smaller.
        let loss = history.spec().metric.goal.as_loss(v);
        -0.5 + loss.atan() / std::f64::consts::PI
    })
}

/// The other metrics' curves with the number of points of each; `None` when the points left do not
/// suffice for a sensible picture.
fn others(history: &History, trial: &Trial, left: usize) -> Option<Vec<(String, Json, usize)>> {
    let count = trial.curve.others.len();
    let each = left / count.max(1);
    let names = history.metric_names();
    if count > 0 && each < trial.curve.len().min(20) {
        return None;
    }
    let mut columns: BTreeMap<&str, &Vec<f64>> = BTreeMap::new();
    for (index, values) in &trial.curve.others {
        if let Some(name) = names.get(usize::from(*index)) {
            columns.insert(name, values);
        }
    }
    let curves = columns.into_iter().filter_map(|(name, values)| {
        let points = told(values).flatten().count().min(each);
        Some((
            name.to_owned(),
            series(&trial.curve.steps, told(values), each)?,
            points,
        ))
    });
    Some(curves.collect())
}

/// A column in which NaN also stands for "not reported": it counts as reported where the metric was
/// there in every row up to some row and never again. Such a metric broke; one with holes is rare.
fn told(values: &[f64]) -> impl Iterator<Item = Option<f64>> + '_ {
    let there = values.iter().filter(|v| !v.is_nan()).count();
    let last = values.iter().rposition(|v| !v.is_nan());
    let broke = there == last.map_or(0, |last| last + 1);
    values
        .iter()
        .map(move |v| (broke || !v.is_nan()).then_some(*v))
}

/// A curve as `{steps, values}`; steps that go up by the same amount are `{from, by}`.
fn series(steps: &Steps, rows: impl IntoIterator<Item = Option<f64>>, most: usize) -> Option<Json> {
    let told = steps.iter().zip(rows);
    let told = told.filter_map(|(step, value)| Some((step, value?)));
    let (steps, values) = thin::coarse(told, steps.len());
    let chosen = thin::rows(&steps, &values, most);
    let steps: Vec<u64> = chosen
        .iter()
        .filter_map(|i| steps.get(*i).copied())
        .collect();
    let values = chosen.iter().filter_map(|i| values.get(*i).copied());
    let values = data::numbers(values);
    let first = *steps.first()?;
    let by = steps.get(1).map_or(1, |second| second - first);
    let even = steps
        .windows(2)
        .all(|pair| pair.iter().rev().copied().reduce(|a, b| a - b) == Some(by));
    Some(if even {
        json!({ "steps": { "from": first, "by": by }, "values": values })
    } else {
        json!({ "steps": steps, "values": values })
    })
}

fn finding(finding: &Finding, in_words: bool) -> Json {
    json!({
        "verdict": finding.verdict,
        "step": finding.step,
        "rule": finding.rule,
        "certain": finding.certain,
        "metric": finding.metric,
        "detail": in_words.then(|| data::short_text(&finding.detail)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_that_broke_is_told_from_one_that_is_rare() {
        let nan = f64::NAN;
        assert!(told(&[1.0, 2.0, nan, nan]).all(|value| value.is_some()));
        let rare = told(&[nan, 1.0, nan, 2.0]).collect::<Vec<_>>();
        assert_eq!(rare, [None, Some(1.0), None, Some(2.0)]);
    }

    #[test]
    fn even_steps_are_written_short() {
        let curve = |steps: &[u64]| steps.iter().copied().collect::<Steps>();
        let rows = [Some(1.0), Some(0.5), None];
        let even = series(&curve(&[5, 10, 15]), rows, 9).unwrap();
        assert_eq!(
            even,
            json!({ "steps": { "from": 5, "by": 5 }, "values": [1, 0.5] })
        );
        let rows = [Some(1.0), Some(0.5), Some(f64::INFINITY)];
        let uneven = series(&curve(&[5, 10, 11]), rows, 9).unwrap();
        assert_eq!(
            uneven,
            json!({ "steps": [5, 10, 11], "values": [1, 0.5, "Infinity"] })
        );
        assert!(series(&curve(&[]), [], 9).is_none());
    }
}
