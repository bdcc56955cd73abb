//! What the fresh runs of the best configurations said.

use hpo_study::confirm::{self, Confirmed, confirmed, missing, winner};
use hpo_study::{History, Trial, TrialId, Value};
use serde::Serialize;

use crate::number::short;
use crate::table::Table;
use crate::trials::{configuration, dash};

/// A trial that was run again with fresh seeds, as the JSON of `hpo status`, `hpo best` and the report
/// has it. Fields are added in later versions, never changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Confirmation {
    /// The trial whose configuration was run again.
    pub trial: TrialId,
    /// Whether it is the one that won.
    pub won: bool,
    /// Its value in the search; it was chosen for that, so it flatters.
    pub single: Option<Value>,
    /// The mean of the fresh runs that completed; the single value is not among them.
    pub mean: Option<f64>,
    /// The standard error of that mean; null for fewer than two.
    pub standard_error: Option<f64>,
    /// How many fresh runs completed.
    pub n: usize,
    /// How many came to nothing.
    pub failed: usize,
    /// The values of those that completed.
    pub values: Vec<f64>,
    /// The fresh runs, as `hpo trial` takes them.
    pub runs: Vec<String>,
}

fn of(found: &Confirmed<'_>, won: bool) -> Confirmation {
    Confirmation {
        trial: found.trial.id,
        won,
        single: found.trial.value().map(Value::Float),
        mean: found.mean(),
        standard_error: found.standard_error(),
        n: found.values.len(),
        failed: found.failed,
        values: found.values.clone(),
        runs: found.runs.iter().map(|run| run.id.to_string()).collect(),
    }
}

/// All trials that were run again, best first.
#[must_use]
pub fn confirmations(history: &History) -> Vec<Confirmation> {
    let won = winner(history).map(|w| w.trial.id);
    let all = confirmed(history);
    let all = all.iter().map(|c| of(c, Some(c.trial.id) == won));
    all.collect()
}

/// The fresh runs of one trial, if there are any.
#[must_use]
pub fn confirmation(history: &History, trial: &Trial) -> Option<Confirmation> {
    let won = winner(history).is_some_and(|w| w.trial.id == trial.id);
    confirm::of(history, trial).map(|found| of(&found, won))
}

/// `0.0123 ± 0.0004 over 3 fresh seeds`, as far as there are any.
#[must_use]
pub fn spread(found: &Confirmation) -> Option<String> {
    let mean = short(found.mean?);
    let seeds = match found.n {
        1 => "1 fresh seed".to_owned(),
        n => format!("{n} fresh seeds"),
    };
    let failed = match found.failed {
        0 => String::new(),
        n => format!(", {n} more came to nothing"),
    };
    Some(match found.standard_error {
        Some(error) => format!(
            "{mean} ± {} (standard error) over {seeds}{failed}",
            short(error)
        ),
        None => format!("{mean} over {seeds}{failed}"),
    })
}

/// What stands beside a trial's value: `confirmed: mean 0.0123 ± 0.0004 over 3 fresh seeds`.
#[must_use]
pub fn words(history: &History, trial: &Trial) -> Option<String> {
    let found = confirmation(history, trial)?;
    let word = if found.won { "confirmed" } else { "run again" };
    Some(format!("{word}: mean {}", spread(&found)?))
}

/// Whether the best is confirmed, where that was asked for, in a sentence.
#[must_use]
pub fn sentence(history: &History) -> Option<String> {
    history.confirm()?;
    let left = missing(history);
    let runs = |n: usize| match n {
        1 => "1 fresh run".to_owned(),
        n => format!("{n} fresh runs"),
    };
    let again = history.end().is_some();
    let (name, left_words) = (&history.spec().name, runs(left));
    if let Some(winner) = winner(history) {
        let all = confirmed(history).len();
        let of = match all {
            1 => "it alone was run again".to_owned(),
            n => format!("the best mean of the {n} configurations that were run again"),
        };
        let single = history.single_best().map(|t| t.id);
        let lucky = match single.filter(|id| *id != winner.trial.id) {
            Some(id) => format!("; trial {id} had the best single value, by luck"),
            None => String::new(),
        };
        let more = match left {
            0 => String::new(),
            _ => format!("; {left_words} were not made"),
        };
        return Some(format!(
            "trial {} is confirmed: {of}{lucky}{more}",
            winner.trial.id
        ));
    }
    Some(match (again, left) {
        (false, _) if history.confirmations().is_empty() => {
            "the best are run again with fresh seeds when the search is over".to_owned()
        }
        (false, _) => format!("the best are being confirmed; {left_words} to begin"),
        (true, 0) if history.single_best().is_none() => return None,
        (true, 0) => "the fresh runs said too little: the best is not confirmed".to_owned(),
        (true, _) => {
            format!("not confirmed: {left_words} were not made; `hpo confirm {name}` makes them")
        }
    })
}

/// The table for people; `None` when nothing was run again.
#[must_use]
pub fn table(history: &History, width: Option<u16>) -> Option<String> {
    let all = confirmations(history);
    if all.is_empty() {
        return None;
    }
    let mut table = Table::new(&[
        ">trial",
        ">mean",
        ">± error",
        ">runs",
        ">when found",
        "configuration",
    ]);
    for one in &all {
        let number = |x: Option<f64>| x.map_or_else(dash, short);
        let mark = if one.won { "*" } else { "" };
        let failed = match one.failed {
            0 => String::new(),
            n => format!(" ({n} broken)"),
        };
        let config = history.trial(one.trial).map(|t| configuration(&t.config));
        table.row([
            format!("{mark}{}", one.trial),
            number(one.mean),
            number(one.standard_error),
            format!("{}{failed}", one.n + one.failed),
            number(one.single.as_ref().and_then(Value::as_f64)),
            config.unwrap_or_default(),
        ]);
    }
    let metric = &history.spec().metric.name;
    Some(format!(
        "confirmed with fresh seeds ({metric}; * won)\n{}",
        table.render(width)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn the_table_of_a_study_that_was_confirmed() {
        let history = sample::confirmed();
        let table = table(&history, None).unwrap();
        let rows: Vec<&str> = table.lines().skip(3).map(str::trim).collect();
        let start = |row: &str| row.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
        let starts: Vec<String> = rows.iter().map(|row| start(row)).collect();
        assert_eq!(starts, ["*1 0.9575", "2 0.945", "0 0.905"], "{table}");
        assert_eq!(
            sentence(&history).unwrap(),
            "trial 1 is confirmed: the best mean of the 3 configurations that were run again; \
             trial 0 had the best single value, by luck"
        );
        let best = history.best().unwrap();
        assert_eq!(
            words(&history, best).unwrap(),
            "confirmed: mean 0.9575 ± 0.0025 (standard error) over 2 fresh seeds"
        );
        assert_ne!(
            best.id,
            history.single_best().unwrap().id,
            "luck does not win"
        );
    }

    #[test]
    fn nothing_is_said_of_a_study_that_confirms_nothing() {
        let history = sample::study();
        assert_eq!(table(&history, None), None);
        assert_eq!(sentence(&history), None);
        assert_eq!(words(&history, history.best().unwrap()), None);
    }
}
