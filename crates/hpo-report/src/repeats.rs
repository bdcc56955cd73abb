//! What is said of trials whose configurations were run with several seeds.

use hpo_study::repeats::{mean, standard_error, values};
use hpo_study::{Trial, TrialState};
use serde::Serialize;

use crate::number::short;

/// The runs of a trial's configuration, as the JSON of `hpo trials`, `hpo trial` and `hpo best` has them.
/// Fields are added in later versions, never changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Repeated {
    /// How many runs have told a value, the trial's own among them.
    pub n: usize,
    /// Their values, the trial's own first.
    pub values: Vec<f64>,
    /// Their mean: the trial's value.
    pub mean: Option<f64>,
    /// The standard error of that mean; null for fewer than two.
    pub standard_error: Option<f64>,
    /// The further runs, as `hpo trial` takes them.
    pub runs: Vec<String>,
    /// Why there are no more of them, where it is by decision.
    pub given_up: Option<String>,
}

/// The runs of a trial that has, or was to have, more than one.
#[must_use]
pub fn repeated(trial: &Trial) -> Option<Repeated> {
    let repeats = &trial.repeats;
    if repeats.runs.is_empty() && repeats.given_up.is_none() {
        return None;
    }
    let values = values(trial);
    Some(Repeated {
        n: values.len(),
        mean: mean(&values),
        standard_error: standard_error(&values),
        values,
        runs: repeats.runs.iter().map(ToString::to_string).collect(),
        given_up: repeats.given_up.clone(),
    })
}

/// `mean of 3 seeds, ± 0.0012 (standard error)`, or how many there are so far.
#[must_use]
pub fn words(trial: &Trial) -> Option<String> {
    let found = repeated(trial)?;
    let far = match trial.state {
        TrialState::Repeating => " so far",
        _ => "",
    };
    Some(match (found.n, found.standard_error) {
        (n, Some(error)) => format!(
            "mean of {n} seeds{far}, ± {} (standard error)",
            short(error)
        ),
        (1, None) => format!("one seed{far}"),
        (n, None) => format!("mean of {n} seeds{far}"),
    })
}

/// The values one by one: `0.21 0.24 0.22 (the last 2 as r4, r5)`.
#[must_use]
pub fn list(trial: &Trial) -> Option<String> {
    let found = repeated(trial)?;
    let values: Vec<String> = found.values.iter().copied().map(short).collect();
    Some(match found.runs.len() {
        0 => values.join(" "),
        1 => format!(
            "{} (run again as {})",
            values.join(" "),
            found.runs.join(", ")
        ),
        n => format!(
            "{} (run again {n} times, as {})",
            values.join(" "),
            found.runs.join(", ")
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;
    use hpo_study::TrialId;

    #[test]
    fn what_is_said_of_several_runs() {
        let mut trial = sample::study().trials()[3].clone();
        assert_eq!((words(&trial), list(&trial)), (None, None));
        let own = trial.value().unwrap();
        trial.repeats.runs = vec![TrialId::repeat(4), TrialId::repeat(5)];
        trial.repeats.values = vec![own + 0.01, own + 0.02];
        let found = repeated(&trial).unwrap();
        assert_eq!(
            (found.n, found.runs),
            (3, vec!["r4".to_owned(), "r5".to_owned()])
        );
        assert!((trial.value().unwrap() - own - 0.01).abs() < 1e-12);
        // Deviations of 0.01, 0 and 0.01: 0.01 over √3.
        assert_eq!(
            words(&trial).unwrap(),
            "mean of 3 seeds, ± 0.005774 (standard error)"
        );
        assert!(
            list(&trial)
                .unwrap()
                .ends_with("(run again 2 times, as r4, r5)")
        );
    }
}
