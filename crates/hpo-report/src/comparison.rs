//! Which optimizer (or schedule, or any other choice) was better, at equal effort.
//!
//! A choice that got more trials has had more chances, so its best trial alone says little. The
//! answer compared here is the *expected best of k trials*, with the same k for all (Dodge et al.,
//! "Show Your Work", arXiv 1909.03004), in its unbiased form (Tang et al., arXiv 2004.13705): of n
//! finished trials with values `v₁` (worst) to `vₙ` (best), the expected best of k drawn without
//! putting back is `Σᵢ vᵢ · C(i−1, k−1) / C(n, k)`.
//!
//! What a trial counts with: a completed one with its value; one stopped early with the last value
//! it reached, which is all that was paid for; one that failed, or diverged, or never reported,
//! with the worst finite value of the study, so that a choice cannot look good by breaking.
//! The formula takes trials for independent draws. Under a sampler that learns, later trials of a
//! choice are better than its first ones, so the numbers flatter choices that were tried a lot.

use std::fmt::Write as _;

use hpo_study::{Config, Domain, Goal, History, StopReason, Trial, TrialId, TrialState, Value};
use serde::Serialize;

use crate::number::{short, short_value};
use crate::table::Table;
use crate::trials::{dash, key_configuration};

/// A choice with fewer finished trials than this is not ranked.
const FEWEST: usize = 3;
/// With fewer trials than this, redrawing from them says little of what others would have done.
const MANY: usize = 10;

/// How the values of one parameter did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Version of this contract.
    pub version: u32,
    /// The parameter, for example `optimizer`.
    pub parameter: String,
    /// The objective.
    pub metric: String,
    /// Which way is better.
    pub goal: Goal,
    /// The k of [`Choice::expected_best`]: the fewest finished trials that any ranked choice has.
    /// Null when none can be ranked.
    pub k: Option<usize>,
    /// The choices, best first; those with too few trials to be ranked come last.
    pub choices: Vec<Choice>,
}

/// How one value of the parameter did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Choice {
    /// The value.
    pub value: Value,
    /// How many trials had it, unfinished ones included.
    pub trials: usize,
    /// How many completed.
    pub completed: usize,
    /// How many were stopped early for any reason but divergence.
    pub stopped: usize,
    /// How many diverged, got stuck or made no progress.
    pub diverged: usize,
    /// How many failed.
    pub failed: usize,
    /// The best value of a completed trial.
    pub best: Option<f64>,
    /// The trial with that value.
    pub best_trial: Option<TrialId>,
    /// That trial's configuration.
    pub best_params: Option<Config>,
    /// The median over all finished trials, as they count.
    pub median: Option<f64>,
    /// The expected best of [`Comparison::k`] trials; null for a choice that is not ranked.
    pub expected_best: Option<f64>,
    /// The expected best of 1, 2, 3, … trials, up to as many as have finished.
    pub expected_best_of: Vec<f64>,
    /// Finished trials' values as they count, the worst first.
    #[serde(skip)]
    counted: Vec<f64>,
}

/// The parameters worth comparing: those chosen from a list of which at least two were tried;
/// `optimizer` and `schedule` first.
#[must_use]
pub fn comparable(history: &History) -> Vec<&str> {
    let categorical = history.spec().space.parameters.iter().filter(|parameter| {
        parameter
            .branches
            .iter()
            .any(|b| matches!(b.domain, Domain::Categorical { .. }))
    });
    let mut names: Vec<&str> = categorical
        .map(|parameter| parameter.name.as_str())
        .filter(|name| values(history, name).len() > 1)
        .collect();
    names.sort_by_key(|name| match *name {
        "optimizer" => 0,
        "schedule" => 1,
        _ => 2,
    });
    names
}

/// Compares the values of a parameter that trials had; trials in which it is not active are left
/// out.
#[must_use]
pub fn compare(history: &History, parameter: &str) -> Comparison {
    let goal = history.spec().metric.goal;
    let worst = worst(history);
    let mut choices: Vec<Choice> = values(history, parameter)
        .into_iter()
        .map(|value| {
            let with = |t: &&Trial| t.config.get(parameter).is_some_and(|v| v.same(value));
            choice(value, own(history).filter(with), goal, worst)
        })
        .collect();
    let sizes = || choices.iter().map(|c| c.counted.len());
    let k = sizes().filter(|n| *n >= FEWEST).min();
    for choice in &mut choices {
        choice.expected_best =
            k.and_then(|k| choice.expected_best_of.get(k.checked_sub(1)?).copied());
    }
    let loss = |x: Option<f64>| x.map_or(f64::INFINITY, |x| goal.as_loss(x));
    choices.sort_by(|a, b| {
        loss(a.expected_best)
            .total_cmp(&loss(b.expected_best))
            .then(loss(a.best).total_cmp(&loss(b.best)))
    });
    Comparison {
        version: 1,
        parameter: parameter.to_owned(),
        metric: history.spec().metric.name.clone(),
        goal,
        k,
        choices,
    }
}

/// The trials that ran here, or count as if they had.
fn own(history: &History) -> impl Iterator<Item = &Trial> {
    history.trials().iter().filter(|t| history.can_be_best(t))
}

/// The values a parameter had, in order of appearance.
fn values<'a>(history: &'a History, parameter: &str) -> Vec<&'a Value> {
    let mut values: Vec<&Value> = Vec::new();
    for value in own(history).filter_map(|t| t.config.get(parameter)) {
        if !values.iter().any(|v| v.same(value)) {
            values.push(value);
        }
    }
    values
}

/// The worst finite value any trial reported last.
pub(crate) fn worst(history: &History) -> Option<f64> {
    let goal = history.spec().metric.goal;
    let finite = own(history)
        .filter_map(Trial::value)
        .filter(|v| v.is_finite());
    finite.reduce(|a, b| if goal.better(a, b) { b } else { a })
}

/// What a finished trial counts with; `None` for one that goes on, or was cut off by the user or
/// by time.
pub(crate) fn counts_with(trial: &Trial, worst: Option<f64>) -> Option<f64> {
    let value = trial.value().filter(|v| v.is_finite());
    match &trial.state {
        TrialState::Completed
        | TrialState::Stopped(StopReason::Pruned { .. } | StopReason::TimeLimit { .. }) => {
            value.or(worst)
        }
        TrialState::Stopped(reason) if reason.is_infeasible() => worst,
        TrialState::Failed(_) => worst,
        _ => None,
    }
}

fn choice<'a>(
    value: &Value,
    trials: impl Iterator<Item = &'a Trial>,
    goal: Goal,
    worst: Option<f64>,
) -> Choice {
    let mut choice = Choice {
        value: value.clone(),
        trials: 0,
        completed: 0,
        stopped: 0,
        diverged: 0,
        failed: 0,
        best: None,
        best_trial: None,
        best_params: None,
        median: None,
        expected_best: None,
        expected_best_of: Vec::new(),
        counted: Vec::new(),
    };
    for trial in trials {
        choice.trials += 1;
        choice.counted.extend(counts_with(trial, worst));
        match &trial.state {
            TrialState::Completed => choice.completed += 1,
            TrialState::Stopped(reason) if reason.is_infeasible() => choice.diverged += 1,
            TrialState::Stopped(_) => choice.stopped += 1,
            TrialState::Failed(_) => choice.failed += 1,
            _ => {}
        }
        let value = trial
            .value()
            .filter(|v| v.is_finite() && trial.state == TrialState::Completed);
        if let Some(value) = value.filter(|v| choice.best.is_none_or(|best| goal.better(*v, best)))
        {
            choice.best = Some(value);
            choice.best_trial = Some(trial.id);
            choice.best_params = Some(trial.config.clone());
        }
    }
    choice
        .counted
        .sort_by(|a, b| goal.as_loss(*b).total_cmp(&goal.as_loss(*a)));
    choice.median = median(&choice.counted);
    choice.expected_best_of = (1..=choice.counted.len())
        .map(|k| expected_best(&choice.counted, k))
        .collect();
    choice
}

fn median(sorted: &[f64]) -> Option<f64> {
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get((sorted.len() - 1) / 2)?;
    Some(0.5 * lower + 0.5 * upper)
}

/// The expected best of k values drawn without putting back; `worst_first` is sorted, and k is
/// from 1 to its length. (Formula and sources: the module's description.)
#[must_use]
pub fn expected_best(worst_first: &[f64], k: usize) -> f64 {
    let n = worst_first.len();
    // The weight of the best value, C(n−1, k−1)/C(n, k), is k/n; each one below follows from the
    // one above: C(i−2, k−1) = C(i−1, k−1) · (i−k)/(i−1).
    let mut weight = k as f64 / n as f64;
    let mut sum = 0.0;
    for (i, value) in worst_first
        .iter()
        .enumerate()
        .rev()
        .map(|(i, v)| (i + 1, v))
    {
        if i < k {
            break;
        }
        sum += weight * value;
        weight *= (i - k) as f64 / (i - 1).max(1) as f64;
    }
    sum
}

/// The probability that the best of k trials of one choice beats the best of k of another, when
/// both are drawn with putting back from what was seen; a tie counts half.
fn chance_to_win(a: &[f64], b: &[f64], k: usize, goal: Goal) -> f64 {
    let share = |i: usize, n: usize| {
        ((i as f64 + 1.0) / n as f64).powi(k as i32) - (i as f64 / n as f64).powi(k as i32)
    };
    let mut chance = 0.0;
    for (i, x) in a.iter().enumerate() {
        for (j, y) in b.iter().enumerate() {
            let both = share(i, a.len()) * share(j, b.len());
            if goal.better(*x, *y) {
                chance += both;
            } else if x == y {
                chance += 0.5 * both;
            }
        }
    }
    chance
}

impl Comparison {
    /// The answer in a sentence or two.
    #[must_use]
    pub fn sentence(&self) -> String {
        let Some(k) = self.k else {
            return format!(
                "Too few trials to say which {} is better: each would need at least {FEWEST} finished ones.",
                self.parameter
            );
        };
        let ranked: Vec<&Choice> = self
            .choices
            .iter()
            .filter(|c| c.expected_best.is_some())
            .collect();
        let left_out = self.choices.len() - ranked.len();
        let mut text = match ranked.as_slice() {
            [] => String::new(),
            [only] => format!(
                "Only {} {} has enough finished trials ({}) to be judged.",
                self.parameter,
                only.value,
                only.counted.len()
            ),
            [first, second, ..] => {
                let chance = chance_to_win(&first.counted, &second.counted, k, self.goal);
                let few = first.counted.len().min(second.counted.len()) < MANY;
                let verdict = match chance {
                    0.7.. if few => "ahead, though with so few trials it may be luck",
                    0.9.. => "a clear lead",
                    0.7.. => "a likely lead",
                    _ => "too close to call",
                };
                format!(
                    "With {k} trials each, {} {} can be expected to reach {} = {}, {} {}: {verdict} \
                     (ahead in {:.0} % of redraws).",
                    self.parameter,
                    first.value,
                    self.metric,
                    short(first.expected_best.unwrap_or(f64::NAN)),
                    second.value,
                    short(second.expected_best.unwrap_or(f64::NAN)),
                    100.0 * chance
                )
            }
        };
        if left_out > 0 && !ranked.is_empty() {
            let _ = write!(
                text,
                " Not ranked, with fewer than {k} finished trials: {left_out}."
            );
        }
        text
    }

    /// The table for people.
    #[must_use]
    pub fn table(&self, width: Option<u16>) -> String {
        let expected = self
            .k
            .map_or_else(|| ">of k".to_owned(), |k| format!(">of {k}"));
        let headers = [
            self.parameter.as_str(),
            ">trials",
            ">done",
            ">stopped",
            ">broken",
            ">best",
            ">median",
            &expected,
            "best trial's configuration",
        ];
        let mut table = Table::new(&headers);
        for choice in &self.choices {
            let number = |x: Option<f64>| x.map_or_else(dash, short);
            let best = choice.best_params.as_ref().map(|params| {
                let mut params = params.clone();
                params.remove(&self.parameter);
                key_configuration(&params)
            });
            table.row([
                short_value(&choice.value),
                choice.trials.to_string(),
                choice.completed.to_string(),
                choice.stopped.to_string(),
                (choice.diverged + choice.failed).to_string(),
                number(choice.best),
                number(choice.median),
                number(choice.expected_best),
                best.unwrap_or_else(dash),
            ]);
        }
        table.render(width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    /// All subsets of size k, by counting in binary.
    fn by_enumeration(values: &[f64], k: usize) -> f64 {
        let subsets = (0u32..1 << values.len()).filter(|bits| bits.count_ones() as usize == k);
        let bests: Vec<f64> = subsets
            .map(|bits| {
                let chosen = (0..values.len()).filter(|i| bits & (1 << i) != 0);
                chosen.map(|i| values[i]).fold(f64::NEG_INFINITY, f64::max)
            })
            .collect();
        bests.iter().sum::<f64>() / bests.len() as f64
    }

    #[test]
    fn the_formula_is_the_mean_over_all_subsets() {
        let values = [0.1, 0.4, 0.4, 0.7, 0.75, 0.9];
        for k in 1..=values.len() {
            let (formula, counted) = (expected_best(&values, k), by_enumeration(&values, k));
            assert!(
                (formula - counted).abs() < 1e-12,
                "k={k}: {formula} {counted}"
            );
        }
        assert_eq!(expected_best(&values, 6), 0.9);
    }

    #[test]
    fn a_median_of_enormous_values_is_a_number() {
        assert_eq!(median(&[1e308, 1e308]), Some(1e308));
        assert_eq!(median(&[1.0, 2.0, 4.0, 8.0]), Some(3.0));
    }

    #[test]
    fn chances_add_up() {
        let (a, b) = ([0.1, 0.5, 0.9], [0.2, 0.5, 0.8, 0.85]);
        for k in 1..4 {
            let sum =
                chance_to_win(&a, &b, k, Goal::Maximize) + chance_to_win(&b, &a, k, Goal::Maximize);
            assert!((sum - 1.0).abs() < 1e-12);
        }
        assert_eq!(chance_to_win(&[2.0], &[1.0], 3, Goal::Maximize), 1.0);
        // Sorted worst first: for a loss, the larger value is the worse one.
        assert_eq!(chance_to_win(&[2.0], &[1.0], 3, Goal::Minimize), 0.0);
    }

    #[test]
    fn optimizers_are_compared_at_equal_effort() {
        let history = sample::study();
        assert_eq!(comparable(&history), ["optimizer", "schedule"]);
        let comparison = compare(&history, "optimizer");
        insta::assert_snapshot!(comparison.table(None) + "\n" + &comparison.sentence());
    }

    #[test]
    fn the_comparison_for_programs() {
        insta::assert_json_snapshot!(compare(&sample::study(), "optimizer"));
    }

    #[test]
    fn breaking_does_not_make_a_choice_look_good() {
        let comparison = compare(&sample::study(), "optimizer");
        let broken = comparison
            .choices
            .iter()
            .find(|c| c.failed + c.diverged > 0)
            .unwrap();
        assert_eq!(
            broken.counted.len(),
            broken.completed + broken.stopped + broken.diverged + broken.failed
        );
    }

    #[test]
    fn an_empty_study_compares_nothing() {
        let history = sample::empty();
        assert!(comparable(&history).is_empty());
        assert!(
            compare(&history, "optimizer")
                .sentence()
                .contains("Too few")
        );
    }
}
