//! What of a configuration its need for memory depends on.

use std::collections::BTreeMap;

use hpo_study::need::{self, PARAMETERS};
use hpo_study::{Config, History, StudySpec, Trial, Value};

/// The usual names of the numbers' precision.
const PRECISION: [&str; 3] = ["precision", "dtype", "amp"];

/// The features of one trial.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Features {
    /// What is a number, in the order of [`Features::of`]: log batch, copies of the optimizer's state, log of
    /// each size parameter. What is not there is 0, and `kind` says that it is not.
    pub(crate) numbers: Vec<f64>,
    /// What is not a number: trials of different kinds are compared by their numbers only.
    pub(crate) kind: String,
}

impl Features {
    /// The features of a configuration: the batch size under its usual names, the optimizer's state, and
    /// the parameters on which sizes depend.
    pub(crate) fn of(config: &Config, sizes: &[String]) -> Self {
        let mut features = Self {
            numbers: Vec::new(),
            kind: String::new(),
        };
        let batch = need::batch(config);
        features.add(batch.map(f64::ln));
        let copies = need::state_copies(config);
        features.add(copies.map(f64::from));
        if copies.is_none()
            && let Some(optimizer) = config.get("optimizer").or(config.get("optim"))
        {
            features.kind.push_str(&optimizer.to_string());
        }
        for name in PRECISION {
            if let Some(value) = config.get(name) {
                features.kind.push_str(&format!("|{name}={value}"));
            }
        }
        for name in sizes {
            match config.get(name) {
                Some(value) => match size(value) {
                    Some(size) => features.add(Some(size)),
                    None => features.kind.push_str(&format!("|{name}={value}")),
                },
                None => features.add(None),
            }
        }
        features
    }

    /// Whether each of its numbers is as large as the other's, but for rounding.
    pub(crate) fn is_at_least(&self, other: &Self) -> bool {
        let mut pairs = self.numbers.iter().zip(&other.numbers);
        self.numbers.len() == other.numbers.len()
            && pairs.all(|(ours, theirs)| *ours >= theirs - 1e-9)
    }

    fn add(&mut self, number: Option<f64>) {
        self.numbers.push(number.unwrap_or(0.0));
        self.kind.push(if number.is_some() { '+' } else { '-' });
    }
}

/// The parameters that the user has marked as sizes.
pub(crate) fn marked(spec: &StudySpec) -> &[String] {
    let gpu = spec.gpu.as_ref();
    gpu.map_or(&[], |gpu| gpu.size_parameters.as_slice())
}

/// The parameters that could be sizes, if none is marked: all that vary and do not count anyway.
pub(crate) fn candidates(spec: &StudySpec) -> Vec<String> {
    let names = spec.space.parameters.iter().map(|p| p.name.as_str());
    let counts = |name: &str| {
        ["optimizer", "optim"].contains(&name)
            || PRECISION.contains(&name)
            || need::BATCH_NAMES.contains(&name)
    };
    names
        .filter(|name| !counts(name))
        .map(str::to_owned)
        .collect()
}

/// The logarithm of a size. For the widths of layers: of the number of weights between them.
fn size(value: &Value) -> Option<f64> {
    if let Some(list) = value.as_list() {
        let widths: Vec<f64> = list.iter().map(Value::as_f64).collect::<Option<_>>()?;
        let between = widths.windows(2).map(|pair| pair.iter().product::<f64>());
        let sum = between.sum::<f64>() + widths.iter().sum::<f64>();
        return Some((1.0 + sum.max(0.0)).ln());
    }
    value.as_f64().filter(|x| *x > 0.0).map(f64::ln)
}

/// How many learned numbers the trial's model has: its own word, or that of all others if they agree.
pub(crate) fn parameters(history: &History, trial: &Trial) -> Option<u64> {
    let said = |trial: &Trial| {
        let index = history
            .metric_names()
            .iter()
            .position(|n| n == PARAMETERS)?;
        let column = trial
            .curve
            .others
            .iter()
            .find(|(i, _)| usize::from(*i) == index)?;
        let value = column
            .1
            .iter()
            .copied()
            .find(|v| v.is_finite() && *v >= 1.0)?;
        Some(value as u64)
    };
    said(trial).or_else(|| {
        let mut others = history.trials().iter().filter_map(said);
        let first = others.next()?;
        others.all(|other| other == first).then_some(first)
    })
}

/// Whether a report is one of training: not only of what is known beforehand.
pub(crate) fn is_training(metrics: &BTreeMap<String, f64>) -> bool {
    let beforehand = |name: &str| name == PARAMETERS || name.starts_with("chance/");
    metrics.keys().any(|name| !beforehand(name))
}
