//! Trials from elsewhere: another study, another program's study, a table. What a row of them is, and how it is
//! fitted into a study's space. Pure; who reads files is somebody else's business.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde::{Deserialize, Serialize};

use hpo_recipe::{Config, Value};

use crate::history::{History, Trial, TrialState};
use crate::space::{Domain, Space};
use crate::spec::{Goal, Method, StudySpec};

/// What imported trials are to a study.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImportAs {
    /// The search learns from their values, and does not repeat them, as long as the study's own trials bear them out; what is the best
    /// is decided by trials of the study itself.
    #[default]
    Evidence,
    /// As if they had run here: they can be the best, too.
    Trials,
    /// Their values are on another scale (other data, another model). Only where the good ones were is taken over, as
    /// a belief that fades.
    Prior,
}

impl ImportAs {
    /// Its name in study files.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Evidence => "evidence",
            Self::Trials => "trials",
            Self::Prior => "prior",
        }
    }

    /// The one of a name.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        let all = [Self::Evidence, Self::Trials, Self::Prior];
        all.into_iter().find(|it| it.word() == word)
    }
}

/// Why a study takes no trials from elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// What about the study is in the way; follows "takes no trials from elsewhere: ".
    pub why: &'static str,
    /// What to do instead.
    pub instead: &'static str,
}

impl Refusal {
    /// Whether a study of this method, with several objectives or one, takes none. The one place where that is decided: for
    /// study files, before there is a study, and for studies that have begun.
    #[must_use]
    pub fn by(method: Option<Method>, has_several: bool) -> Option<Self> {
        if method == Some(Method::Pbt) {
            return Some(Self {
                why: "it trains a population, a member needs a checkpoint to go on from, and they have none",
                instead: "`hpo enqueue` gives a member values of yours to begin with",
            });
        }
        has_several.then_some(Self {
            why: "it has several objectives, and one value of each trial is all that is taken in",
            instead: "`hpo enqueue --from FILE` tries configurations from elsewhere here",
        })
    }

    /// The same of a study.
    #[must_use]
    pub fn of(spec: &StudySpec) -> Option<Self> {
        Self::by(Some(spec.method), spec.has_several())
    }
}

/// Trials that were imported together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImportBatch {
    /// Where they are from, for people: `the Optuna study "cnn" in old.db`.
    pub source: String,
    /// What they are to the study.
    pub used: ImportAs,
    /// The entry of the study file that asked for it; `None`: a user did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<ImportEntry>,
}

/// An entry of `import` in a study file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImportEntry {
    /// The file or study directory, as it is written.
    pub from: String,
    /// Which study of a file that holds several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub study_name: Option<String>,
    /// What the metric is called there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// Names of parameters there, and what they are called here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub map: BTreeMap<String, String>,
    /// Values of parameters that the source does not have.
    #[serde(default, skip_serializing_if = "Config::is_empty")]
    pub set: Config,
    /// What the trials are to the study.
    #[serde(default, rename = "as")]
    pub used: ImportAs,
    /// How many of the best run again in this study, before anything else.
    #[serde(default = "one")]
    pub rerun: u32,
}

fn one() -> u32 {
    1
}

/// Where an imported trial is from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// The index of its batch in [`crate::History::imports`].
    pub batch: u32,
    /// What it was called there: `trial 17`, `line 12`.
    pub name: String,
    /// What tells it from other trials: the same configuration with the same result is the same trial.
    pub fingerprint: u64,
    /// Its value, where nothing says at which step it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
}

/// A trial as it was found elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What it was called there: `trial 17`, `line 12`.
    pub name: String,
    /// Its parameters there; without those that were not active.
    pub params: BTreeMap<String, Value>,
    /// What became of it.
    pub end: RowEnd,
    /// Its value in the end, possibly not finite.
    pub value: Option<f64>,
    /// What it reported: steps that rise, and values.
    pub curve: Vec<(u64, f64)>,
}

/// What became of a trial elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowEnd {
    /// It came to its end.
    Completed,
    /// It was stopped before.
    Stopped,
    /// It diverged or crashed: its configuration is not to be recommended.
    Infeasible,
    /// It runs or waits, or nobody knows: it says nothing.
    Unfinished,
}

/// All trials of a source.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rows {
    /// Where they are from, for people.
    pub source: String,
    /// Which way was better there, where that is said.
    pub goal: Option<Goal>,
    /// The full length of a trial there, where that is said.
    pub horizon: Option<u64>,
    /// The trials.
    pub rows: Vec<Row>,
}

/// A trial that can be taken into a study.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImportTrial {
    /// What it was called in its source.
    pub name: String,
    /// A configuration of the study's space.
    pub config: Config,
    /// What became of it; never [`RowEnd::Unfinished`].
    pub end: RowEnd,
    /// Its value, finite, where its curve does not say it.
    pub value: Option<f64>,
    /// What it reported.
    pub curve: Vec<(u64, f64)>,
}

impl ImportTrial {
    /// What tells it from others, wherever it is from: configuration and result.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        // The standard hasher's keys are fixed, and its algorithm is as good as frozen; should it ever change, an
        // import that is made twice counts twice.
        let mut hasher = DefaultHasher::new();
        for (name, value) in &self.config {
            name.hash(&mut hasher);
            let number = value.as_f64().map(|x| Value::Float(x).to_string());
            number
                .unwrap_or_else(|| format!("{value:?}"))
                .hash(&mut hasher);
        }
        (self.end as u8).hash(&mut hasher);
        self.last().map(f64::to_bits).hash(&mut hasher);
        hasher.finish()
    }

    /// Its value in the end.
    #[must_use]
    pub fn last(&self) -> Option<f64> {
        self.curve.last().map(|(_, value)| *value).or(self.value)
    }
}

/// What of a source can be taken into a study, and why the rest cannot.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Fitted {
    /// The trials.
    pub trials: Vec<ImportTrial>,
    /// Reasons, and the names of the rows that each keeps out.
    pub skipped: BTreeMap<String, Vec<String>>,
    /// Parameters there that the study does not have, and whether they had different values.
    pub unknown: BTreeMap<String, bool>,
}

/// How rows are fitted.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Fitting {
    /// Names of parameters there, and what they are called here.
    pub map: BTreeMap<String, String>,
    /// Values of parameters that the source does not have.
    pub set: Config,
    /// What the trials are to the study.
    pub used: ImportAs,
    /// Whether curves there are laid out over the same length as here, so that they compare.
    pub with_curves: bool,
}

/// Fits rows into a space, one by one.
#[must_use]
pub fn fit(space: &Space, rows: &[Row], fitting: &Fitting) -> Fitted {
    let mut fitted = Fitted::default();
    let mut others: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for row in rows {
        let mut params: BTreeMap<&str, &Value> = BTreeMap::new();
        for (name, value) in &row.params {
            let here = fitting.map.get(name).unwrap_or(name);
            if space.parameter(here).is_some() {
                params.insert(here, value);
            } else {
                others.entry(name).or_default().insert(value.to_string());
            }
        }
        for (name, value) in &fitting.set {
            params.entry(name).or_insert(value);
        }
        match fit_row(space, row, &params, fitting) {
            Ok(trial) => fitted.trials.push(trial),
            Err(why) => fitted
                .skipped
                .entry(why)
                .or_default()
                .push(row.name.clone()),
        }
    }
    let varies = |(name, values): (&str, BTreeSet<String>)| (name.to_owned(), values.len() > 1);
    fitted.unknown = others.into_iter().map(varies).collect();
    fitted
}

fn fit_row(
    space: &Space,
    row: &Row,
    params: &BTreeMap<&str, &Value>,
    fitting: &Fitting,
) -> Result<ImportTrial, String> {
    let end = match row.end {
        RowEnd::Unfinished => return Err("not finished".to_owned()),
        RowEnd::Completed if row.value.is_none() && row.curve.is_empty() => {
            return Err("completed without a value".to_owned());
        }
        // What ends in no number has diverged.
        RowEnd::Completed | RowEnd::Stopped if !row.value.unwrap_or(0.0).is_finite() => {
            RowEnd::Infeasible
        }
        end => end,
    };
    let config = configuration(space, params)?;
    let with_curves = fitting.with_curves && fitting.used != ImportAs::Prior;
    let mut curve = if with_curves {
        row.curve.clone()
    } else {
        Vec::new()
    };
    if end != RowEnd::Infeasible {
        curve.retain(|(_, value)| value.is_finite());
    }
    let last = row.curve.last().map(|(_, value)| *value);
    let value = row.value.or(last).filter(|value| value.is_finite());
    // A last report that is not the value is not what counts there.
    if let (Some(value), Some((_, last)), RowEnd::Completed) = (value, curve.last_mut(), end) {
        *last = value;
    }
    if end == RowEnd::Stopped && curve.is_empty() {
        return Err(match row.curve.is_empty() {
            true => "stopped early, and nothing says at which step".to_owned(),
            false => "stopped early, with steps that do not compare with this study's".to_owned(),
        });
    }
    Ok(ImportTrial {
        name: row.name.clone(),
        config,
        end,
        value: value.filter(|_| curve.is_empty() && end == RowEnd::Completed),
        curve,
    })
}

/// The configuration that has these values. Parameters that are always the same need not be named; values of those that
/// are not active with the others are left out.
fn configuration(space: &Space, params: &BTreeMap<&str, &Value>) -> Result<Config, String> {
    let mut config = Config::new();
    for parameter in &space.parameters {
        let name = &parameter.name;
        let Some(domain) = parameter.active_domain(&config) else {
            continue;
        };
        let value = match params.get(name.as_str()) {
            Some(value) => spelled(domain, value)
                .ok_or_else(|| format!("`{name}` is not {}", crate::control::range(domain)))?,
            None if domain.cardinality() == Some(1) => domain.at(0.5),
            // Most tables have nothing where somebody chose nothing.
            None if domain.contains(&Value::Null) => Value::Null,
            None => return Err(format!("`{name}` is missing")),
        };
        config.set(name.clone(), value);
    }
    Ok(config)
}

/// A value as a domain has it: `"64"` may be 64, and `1` may be `1.0`.
fn spelled(domain: &Domain, value: &Value) -> Option<Value> {
    let number = value
        .as_f64()
        .or_else(|| value.as_str()?.trim().parse().ok());
    let found = match domain {
        Domain::Float { low, high, .. } => {
            // What was rounded when it was written down is still at the bound.
            let x = number?;
            let near = |bound: f64| (x - bound).abs() <= 1e-9 * bound.abs();
            let bound = [*low, *high].into_iter().find(|bound| near(*bound));
            Value::Float(bound.unwrap_or(x))
        }
        Domain::Law { whole: false, .. } => Value::Float(number?),
        Domain::Int { .. } | Domain::Law { whole: true, .. } => {
            Value::Int(Value::Float(number?).as_i64()?)
        }
        Domain::Categorical { choices, .. } => chosen(choices.iter(), value, number)?,
        Domain::Constant(constant) => chosen(std::iter::once(constant), value, number)?,
    };
    domain.contains(&found).then_some(found)
}

fn chosen<'a>(
    mut choices: impl Iterator<Item = &'a Value> + Clone,
    value: &Value,
    number: Option<f64>,
) -> Option<Value> {
    let text = value.to_string();
    let alike = |choice: &&Value| {
        let is_number = choice.as_f64().is_some() && choice.as_f64() == number;
        is_number || choice.to_string().eq_ignore_ascii_case(&text)
    };
    let same = choices.clone().find(|choice| choice.same(value));
    same.or_else(|| choices.find(alike)).cloned()
}

/// The finite values of the completed trials that ran in a study itself.
#[must_use]
pub fn own_values(history: &History) -> Vec<f64> {
    values(history.own_trials())
}

fn values<'a>(trials: impl Iterator<Item = &'a Trial>) -> Vec<f64> {
    let completed = trials.filter(|t| t.state == TrialState::Completed);
    completed
        .filter_map(Trial::value)
        .filter(|v| v.is_finite())
        .collect()
}

/// A sentence when the study's own trials do not bear out what was imported; or when imported values that count have nothing
/// in common with those of the study itself: they are most likely on another scale, and mislead the search.
#[must_use]
pub fn warning(history: &History) -> Option<String> {
    doubt(history).or_else(|| scale_warning(history))
}

fn doubt(history: &History) -> Option<String> {
    let batches = history.imports().iter().zip(0..);
    let doubted = batches.filter(|(_, number)| history.is_doubted(*number));
    let sources: Vec<&str> = doubted.map(|(batch, _)| batch.source.as_str()).collect();
    (!sources.is_empty()).then(|| {
        format!(
            "this study's own trials do not bear out what was imported from {}: it is taken for no more than a prior",
            sources.join(" and ")
        )
    })
}

fn scale_warning(history: &History) -> Option<String> {
    let learned =
        |t: &&Trial| matches!(history.counts_as(t), Some(used) if used != ImportAs::Prior);
    disjoint(
        &values(history.trials().iter().filter(learned)),
        &own_values(history),
    )
}

/// The same for some values that are imported, and some of the study itself.
#[must_use]
pub fn disjoint(theirs: &[f64], ours: &[f64]) -> Option<String> {
    /// Of fewer values nobody knows the range.
    const FEWEST: usize = 5;
    if theirs.len() < FEWEST || ours.len() < FEWEST {
        return None;
    }
    let range = |values: &[f64]| {
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        (
            low,
            values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        )
    };
    let (a, b) = (range(theirs), range(ours));
    let show = |(low, high): (f64, f64)| format!("{low:.4} to {high:.4}");
    (a.1 < b.0 || b.1 < a.0).then(|| {
        format!(
            "the values imported ({}) and those of this study ({}) have nothing in common: they seem to be on another \
             scale, for which there is `as: prior`",
            show(a),
            show(b)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::{Branch, Clause, Condition, Parameter, Scale};

    fn space() -> Space {
        let always = |name: &str, domain| Parameter {
            name: name.to_owned(),
            branches: vec![Branch {
                when: Condition::default(),
                domain,
            }],
        };
        let float = |low, high, scale| Domain::Float {
            low,
            high,
            scale,
            step: None,
        };
        let mut momentum = always("momentum", float(0.5, 0.99, Scale::OneMinusLog));
        momentum.branches[0].when = Condition(vec![Clause {
            parameter: "optimizer".to_owned(),
            any_of: vec!["sgd".into()],
        }]);
        let choices = |choices: &[Value]| Domain::Categorical {
            choices: choices.to_vec(),
            weights: None,
        };
        Space {
            parameters: vec![
                always("optimizer", choices(&["sgd".into(), "adam".into()])),
                momentum,
                always("lr", float(1e-5, 0.1, Scale::Log)),
                always(
                    "batch",
                    choices(&[Value::Int(32), Value::Int(64), Value::Null]),
                ),
                always("epochs", Domain::Constant(Value::Int(9))),
            ],
        }
    }

    fn row(params: &[(&str, Value)], end: RowEnd, value: Option<f64>) -> Row {
        let params = params
            .iter()
            .map(|(name, v)| ((*name).to_owned(), v.clone()));
        Row {
            name: "line 2".to_owned(),
            params: params.collect(),
            end,
            value,
            curve: Vec::new(),
        }
    }

    fn adam() -> Vec<(&'static str, Value)> {
        vec![
            ("optimizer", "Adam".into()),
            ("learning_rate", "1e-3".into()),
            ("batch", "64".into()),
            ("momentum", Value::Float(7.0)),
            ("dropout", Value::Float(0.1)),
        ]
    }

    fn fitting() -> Fitting {
        Fitting {
            map: [("learning_rate".to_owned(), "lr".to_owned())].into(),
            with_curves: true,
            ..Fitting::default()
        }
    }

    fn why(row: Row) -> String {
        let fitted = fit(&space(), &[row], &fitting());
        assert!(fitted.trials.is_empty());
        fitted.skipped.into_keys().collect()
    }

    #[test]
    fn a_row_becomes_a_configuration_as_the_space_spells_it() {
        let fitted = fit(
            &space(),
            &[row(&adam(), RowEnd::Completed, Some(0.5))],
            &fitting(),
        );
        let trial = &fitted.trials[0];
        assert_eq!(
            trial.config.to_string(),
            "batch=64 epochs=9 lr=0.001 optimizer=adam"
        );
        assert!(space().check(&trial.config).is_ok());
        assert_eq!((trial.value, trial.end), (Some(0.5), RowEnd::Completed));
        assert_eq!(fitted.unknown, [("dropout".to_owned(), false)].into());
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let without =
            |name: &str| -> Vec<_> { adam().into_iter().filter(|p| p.0 != name).collect() };
        let with = |name: &'static str, value: Value| {
            let mut params = without(name);
            params.push((name, value));
            row(&params, RowEnd::Completed, Some(1.0))
        };
        assert_eq!(
            why(row(&without("learning_rate"), RowEnd::Completed, Some(1.0))),
            "`lr` is missing"
        );
        assert!(
            why(with("learning_rate", Value::Float(3.0))).contains("`lr` is not a number from")
        );
        assert!(
            why(with("optimizer", "lion".into())).contains("`optimizer` is not one of sgd, adam")
        );
        assert_eq!(why(row(&adam(), RowEnd::Unfinished, None)), "not finished");
        assert!(why(row(&adam(), RowEnd::Completed, None)).contains("without a value"));
        assert!(why(row(&adam(), RowEnd::Stopped, Some(1.0))).contains("at which step"));
        let mut set = fitting();
        set.set.set("batch", 32_i64);
        let fitted = fit(
            &space(),
            &[row(&without("batch"), RowEnd::Completed, Some(1.0))],
            &set,
        );
        assert_eq!(fitted.trials[0].config.number("batch"), Some(32.0));
    }

    #[test]
    fn what_ends_in_no_number_is_infeasible_and_needs_no_value() {
        for (end, value) in [
            (RowEnd::Completed, Some(f64::NAN)),
            (RowEnd::Stopped, Some(f64::INFINITY)),
            (RowEnd::Infeasible, None),
        ] {
            let fitted = fit(&space(), &[row(&adam(), end, value)], &fitting());
            assert_eq!(fitted.trials[0].end, RowEnd::Infeasible);
            assert_eq!(fitted.trials[0].last(), None);
        }
    }

    #[test]
    fn curves_come_along_where_they_compare() {
        let mut stopped = row(&adam(), RowEnd::Stopped, Some(2.0));
        stopped.curve = vec![(1, 3.0), (2, 2.0)];
        let mut completed = row(&adam(), RowEnd::Completed, Some(1.0));
        completed.curve = vec![(1, 3.0), (2, 1.5)];
        let rows = [stopped, completed];
        let fitted = fit(&space(), &rows, &fitting());
        assert_eq!(fitted.trials[0].curve, [(1, 3.0), (2, 2.0)]);
        assert_eq!(
            fitted.trials[1].curve,
            [(1, 3.0), (2, 1.0)],
            "the value is what counts"
        );
        let mut without = fitting();
        without.used = ImportAs::Prior;
        let fitted = fit(&space(), &rows, &without);
        assert_eq!(fitted.trials.len(), 1);
        assert_eq!(
            (fitted.trials[0].value, fitted.trials[0].curve.len()),
            (Some(1.0), 0)
        );
    }

    #[test]
    fn the_same_result_of_the_same_configuration_is_the_same_trial() {
        let one = |value: f64, batch: Value| {
            let params: Vec<_> = adam()
                .into_iter()
                .filter(|p| p.0 != "batch")
                .chain([("batch", batch)])
                .collect();
            let fitted = fit(
                &space(),
                &[row(&params, RowEnd::Completed, Some(value))],
                &fitting(),
            );
            fitted.trials[0].fingerprint()
        };
        assert_eq!(one(0.5, Value::Int(64)), one(0.5, "64".into()));
        assert_ne!(one(0.5, Value::Int(64)), one(0.25, Value::Int(64)));
        assert_ne!(one(0.5, Value::Int(64)), one(0.5, Value::Int(32)));
    }
}
