//! What population-based training changed while a trial's weights were trained: its values by step, and the code
//! that follows them.

use std::fmt::Write as _;

use hpo_recipe::code::{python_number, python_rounded};
use hpo_recipe::optimizer::{OptimizerKind, OptimizerSetting};
use hpo_recipe::schedule::ScheduleKind;
use hpo_study::population::lineage;
use hpo_study::{Config, History, Trial, TrialId};
use serde::Serialize;

use super::ExportError;
use super::recipe::{Recipe, canonical};

/// A stretch of the training.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stretch<'a> {
    /// The trial that trained it.
    pub trial: TrialId,
    /// The last step before it: 0 at the beginning.
    pub from_step: u64,
    /// Its last step.
    pub to_step: u64,
    /// The configuration it was trained with.
    pub params: &'a Config,
}

/// The stretches that a trial's weights were trained in; empty when the trial itself trained them from the beginning.
#[must_use]
pub fn stretches<'a>(history: &'a History, trial: &'a Trial) -> Vec<Stretch<'a>> {
    if trial.parent.is_none() {
        return Vec::new();
    }
    let of = |trial: &'a Trial| {
        let from_step = trial.parent.map_or(0, |parent| parent.step);
        Stretch {
            trial: trial.id,
            from_step,
            to_step: trial.curve.last_step().unwrap_or(from_step),
            params: &trial.config,
        }
    };
    lineage(history, trial).into_iter().map(of).collect()
}

/// The names of the parameters that are not the same in all stretches.
pub(super) fn changing(stretches: &[Stretch<'_>]) -> Vec<String> {
    let Some((first, rest)) = stretches.split_first() else {
        return Vec::new();
    };
    let mut names: Vec<String> = stretches
        .iter()
        .flat_map(|s| s.params.iter().map(|(name, _)| name.clone()))
        .collect();
    names.sort();
    names.dedup();
    names.retain(|name| {
        rest.iter()
            .any(|s| s.params.get(name) != first.params.get(name))
    });
    names
}

/// Refuses a trial whose values changed, for formats that have one value per parameter.
pub(super) fn constant(history: &History, trial: &Trial) -> Result<(), ExportError> {
    match changing(&stretches(history, trial)).is_empty() {
        true => Ok(()),
        false => Err(ExportError::Changing { trial: trial.id.0 }),
    }
}

/// How a library calls what an optimizer can be given while it runs.
pub(super) enum Library {
    Pytorch,
    Keras,
}

/// What a program does about values that change.
pub(super) struct Following {
    /// The trial that the program begins as.
    pub(super) first: TrialId,
    /// The last epoch.
    pub(super) epochs: u64,
    /// A table of Python: from which epoch (counted from 0) on which values.
    pub(super) table: String,
    /// Names that the program cannot set by itself.
    pub(super) others: Vec<String>,
}

/// What a program has to follow; `None` where nothing changed.
pub(super) fn following(
    history: &History,
    trial: &Trial,
    library: &Library,
) -> Result<Option<Following>, ExportError> {
    let stretches = stretches(history, trial);
    let names = changing(&stretches);
    let Some(first) = stretches.first().filter(|_| !names.is_empty()) else {
        return Ok(None);
    };
    let begun = history.trial(first.trial).unwrap_or(trial);
    let recipe = Recipe::read(history, begun)?;
    if recipe.schedule.kind() != ScheduleKind::Constant || recipe.schedule.warmup_steps() > 0 {
        return Err(ExportError::ChangingSchedule { trial: trial.id.0 });
    }
    let config = |stretch: &Stretch<'_>| canonical(stretch.params);
    let changed = changing_in(&stretches.iter().map(config).collect::<Vec<_>>());
    let (followed, others): (Vec<String>, Vec<String>) = changed
        .into_iter()
        .partition(|name| can_follow(&recipe.optimizer, name, library));
    let mut table = "changes = {\n".to_owned();
    for stretch in &stretches {
        let optimizer = OptimizerSetting::from_config(&config(stretch)).map_err(|error| {
            ExportError::Recipe {
                trial: stretch.trial.0,
                error,
            }
        })?;
        let values = values(&optimizer, &followed, library);
        let _ = writeln!(
            table,
            "    {}: {{{}}},",
            stretch.from_step,
            values.join(", ")
        );
    }
    table += "}\n";
    Ok(Some(Following {
        first: first.trial,
        epochs: stretches.last().map_or(1, |s| s.to_step),
        table,
        others,
    }))
}

/// What optimizers can be given while they run.
const KNOWN: [&str; 7] = [
    "lr",
    "momentum",
    "beta1",
    "beta2",
    "eps",
    "weight_decay",
    "rho",
];

/// Whether a program that begins with this optimizer can change the value while it runs.
fn can_follow(begun: &OptimizerSetting, name: &str, library: &Library) -> bool {
    // In Keras the penalty is a subclass's, which is not there where it begins with none.
    let is_missing = matches!(library, Library::Keras)
        && name == "weight_decay"
        && has_l2(begun.kind())
        && begun.values().number(name) == Some(0.0);
    KNOWN.contains(&name) && !is_missing
}

/// Whether the Keras program has its weight decay as a penalty in the gradient (`l2`), beside the optimizer's own.
fn has_l2(kind: OptimizerKind) -> bool {
    !matches!(
        kind,
        OptimizerKind::AdamW | OptimizerKind::Sgd | OptimizerKind::Gd
    )
}

fn changing_in(configs: &[Config]) -> Vec<String> {
    let mut names: Vec<String> = configs
        .iter()
        .flat_map(|c| c.iter().map(|(name, _)| name.clone()))
        .collect();
    names.sort();
    names.dedup();
    names.retain(|name| {
        configs
            .windows(2)
            .any(|pair| pair[0].get(name) != pair[1].get(name))
    });
    names
}

/// Entries of a dictionary with what changes.
fn values(optimizer: &OptimizerSetting, changed: &[String], library: &Library) -> Vec<String> {
    let is_changed = |name: &str| changed.iter().any(|c| c == name);
    let has = |name: &str| optimizer.values().get(name).is_some();
    let number = |name: &str| python_number(optimizer.number(name));
    let mut entries = Vec::new();
    for name in KNOWN
        .into_iter()
        .filter(|name| is_changed(name) && has(name))
    {
        let entry = match (library, name) {
            (Library::Pytorch, "beta1" | "beta2") => {
                format!("\"betas\": ({}, {})", number("beta1"), number("beta2"))
            }
            (Library::Pytorch, "rho") if optimizer.kind() == OptimizerKind::RmsProp => {
                format!("\"alpha\": {}", number("rho"))
            }
            (Library::Pytorch, name) => format!("\"{name}\": {}", number(name)),
            (Library::Keras, name) => in_keras(optimizer, name),
        };
        if entries.last() != Some(&entry) {
            entries.push(entry);
        }
    }
    entries
}

/// A value under the name, and as the number, that the exported optimizer has it with.
fn in_keras(optimizer: &OptimizerSetting, name: &str) -> String {
    use OptimizerKind::{Adagrad, RmsProp};
    let number = optimizer.number(name);
    let (theirs, number) = match name {
        "lr" => ("learning_rate", python_number(number)),
        "beta1" => ("beta_1", python_number(number)),
        "beta2" => ("beta_2", python_number(number)),
        // These add it under the root.
        "eps" if matches!(optimizer.kind(), RmsProp | Adagrad) => {
            ("epsilon", python_rounded(number * number))
        }
        "eps" => ("epsilon", python_number(number)),
        "weight_decay" if has_l2(optimizer.kind()) => ("l2", python_number(number)),
        name => (name, python_number(number)),
    };
    format!("\"{theirs}\": {number}")
}

/// What stands above the table.
pub(super) fn comment(others: &[String]) -> String {
    let mut text = "# What population-based training changed: from which epoch on (counted from 0) which values.\n".to_owned();
    if !others.is_empty() {
        let _ = writeln!(
            text,
            "# Changed as well, and to be set where your model has it (`hpo best -f json`): {}.",
            others.join(", ").replace(char::is_control, " ")
        );
    }
    text
}
