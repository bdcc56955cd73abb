//! `recipe`: a ready-made search space from the catalogue.
//!
//! `optimizer` and `schedule` become choices; each of their knobs becomes a parameter with one
//! branch per range, under the condition that an optimizer (or schedule) that has it was chosen.
//! A knob is searched when the study has enough trials for it to pay (`tune_from` of the
//! catalogue against `run_cap`); else it stays at its default. What the file names itself wins.

use hpo_recipe::hyperparameter::Default;
use hpo_recipe::schedule::WARMUP;
use hpo_recipe::{Allowed, Hyperparameter, OptimizerKind, ScheduleKind, Search, Value};

use super::parameters::{Draft, DraftBranch, DraftClause};
use super::problem::Span;
use super::yaml::Node;
use crate::space::{Domain, Scale};

/// Adds the recipe's parameters to those of the file.
pub(super) fn expand(recipe: &Node, span: Span, run_cap: Option<u32>, own: &[Draft]) -> Vec<Draft> {
    let trials = run_cap.unwrap_or(u32::MAX);
    let mut added = Vec::new();
    let optimizers = choices(recipe, "optimizers", "optimizer", own, &all_optimizers());
    let schedules = choices(recipe, "schedules", "schedule", own, &all_schedules());
    for (name, chosen) in [("optimizer", &optimizers), ("schedule", &schedules)] {
        if recipe.get(&format!("{name}s")).is_some() && !chosen.is_empty() {
            added.push(choice(name, chosen, span));
        }
    }
    for name in &optimizers {
        if let Ok(kind) = name.parse::<OptimizerKind>() {
            for knob in kind
                .facts()
                .hyperparameters
                .iter()
                .filter(|k| k.tune_from <= trials)
            {
                let Some(unless) = unless_driven(knob, &schedules, own, span) else {
                    continue;
                };
                add_knob(knob, Some(("optimizer", name)), unless, span, &mut added);
            }
        }
    }
    for name in &schedules {
        if let Ok(kind) = name.parse::<ScheduleKind>() {
            for knob in kind
                .facts()
                .hyperparameters
                .iter()
                .filter(|k| k.tune_from <= trials)
            {
                add_knob(knob, Some(("schedule", name)), None, span, &mut added);
            }
        }
    }
    if recipe.get("warmup").and_then(Node::flag) == Some(true) {
        // Asked for by name: the number of trials is no reason to leave the length out.
        for knob in WARMUP
            .iter()
            .filter(|k| k.name == "warmup_fraction" || k.tune_from <= trials)
        {
            add_knob(knob, None, None, span, &mut added);
        }
    }
    added.retain(|draft| own.iter().all(|o| o.name != draft.name));
    added
}

fn all_optimizers() -> Vec<&'static str> {
    OptimizerKind::ALL.iter().map(|kind| kind.name()).collect()
}

fn all_schedules() -> Vec<&'static str> {
    ScheduleKind::ALL.iter().map(|kind| kind.name()).collect()
}

/// What the file lets `optimizer` (or `schedule`) be: its own parameter, else the recipe's list.
fn choices(
    recipe: &Node,
    list: &str,
    parameter: &str,
    own: &[Draft],
    all: &[&'static str],
) -> Vec<String> {
    if let Some(draft) = own.iter().find(|draft| draft.name == parameter) {
        let mut names = Vec::new();
        for domain in draft.branches.iter().filter_map(|b| b.domain.as_ref()) {
            for value in domain.values(1000).unwrap_or_default() {
                if let Value::Text(name) = value
                    && !names.contains(&name)
                {
                    names.push(name);
                }
            }
        }
        return names;
    }
    let Some(node) = recipe.get(list) else {
        return Vec::new();
    };
    if node.text() == Some("all") {
        return all.iter().map(|name| (*name).to_owned()).collect();
    }
    let mut names: Vec<String> = Vec::new();
    for name in node.items().iter().filter_map(Node::text) {
        if !names.iter().any(|n| n == name) {
            names.push(name.to_owned());
        }
    }
    names
}

fn choice(name: &str, names: &[String], span: Span) -> Draft {
    let mut values: Vec<Value> = names.iter().map(|n| Value::Text(n.clone())).collect();
    let domain = match values.len() {
        1 => Domain::Constant(values.remove(0)),
        _ => Domain::Categorical {
            choices: values,
            weights: None,
        },
    };
    let branch = DraftBranch {
        span,
        when: Vec::new(),
        domain: Some(domain),
        values: Vec::new(),
    };
    Draft {
        name: name.to_owned(),
        span,
        branches: vec![branch],
    }
}

/// Under which schedules a knob of an optimizer is to be searched: not under those that drive the momentum (beta1 in
/// the Adam family) themselves, where its value is of no account. `None`: under none of them; `Some(None)`: under any.
fn unless_driven(
    knob: &Hyperparameter,
    schedules: &[String],
    own: &[Draft],
    span: Span,
) -> Option<Option<DraftClause>> {
    let drives = |name: &String| {
        name.parse::<ScheduleKind>().is_ok_and(|kind| {
            let knobs = kind.facts().hyperparameters;
            knobs.iter().any(|knob| knob.name == "cycle_momentum")
        })
    };
    let asked = own.iter().any(|draft| draft.name == "cycle_momentum");
    if asked || !["momentum", "beta1"].contains(&knob.name) || !schedules.iter().any(drives) {
        return Some(None);
    }
    let others = schedules.iter().filter(|name| !drives(name));
    let any_of: Vec<_> = others
        .map(|name| (Value::from(name.as_str()), span))
        .collect();
    (!any_of.is_empty()).then(|| {
        Some(DraftClause {
            parameter: "schedule".to_owned(),
            span,
            any_of,
        })
    })
}

/// Adds a knob under a condition; where it exists with the same range already, the condition grows.
fn add_knob(
    knob: &Hyperparameter,
    owner: Option<(&str, &str)>,
    also: Option<DraftClause>,
    span: Span,
    added: &mut Vec<Draft>,
) {
    let Some(domain) = domain_of(knob) else {
        return;
    };
    let index = match added.iter().position(|draft| draft.name == knob.name) {
        Some(index) => index,
        None => {
            added.push(Draft {
                name: knob.name.to_owned(),
                span,
                branches: Vec::new(),
            });
            added.len() - 1
        }
    };
    let branches = &mut added[index].branches;
    let Some((parameter, value)) = owner else {
        branches.push(DraftBranch {
            span,
            when: Vec::new(),
            domain: Some(domain),
            values: Vec::new(),
        });
        return;
    };
    let value = (Value::from(value), span);
    if let Some(branch) = branches
        .iter_mut()
        .find(|b| b.domain.as_ref() == Some(&domain))
        && let Some((clause, rest)) = branch.when.split_first_mut()
        && clause.parameter == parameter
        && rest
            .iter()
            .map(|c| &c.parameter)
            .eq(also.iter().map(|c| &c.parameter))
    {
        clause.any_of.push(value);
        return;
    }
    let clause = DraftClause {
        parameter: parameter.to_owned(),
        span,
        any_of: vec![value],
    };
    branches.push(DraftBranch {
        span,
        when: std::iter::once(clause).chain(also).collect(),
        domain: Some(domain),
        values: Vec::new(),
    });
}

/// The domain that the catalogue recommends; `None` where it recommends the default.
fn domain_of(knob: &Hyperparameter) -> Option<Domain> {
    Some(match knob.search? {
        Search::Choices(choices) => Domain::Categorical {
            choices: choices.iter().copied().map(Default::value).collect(),
            weights: None,
        },
        Search::Range { low, high, scale } => {
            let whole = matches!(knob.allowed, Allowed::Whole(..));
            match scale {
                hpo_recipe::Scale::Linear if whole => Domain::Int {
                    low: low as i64,
                    high: high as i64,
                    log: false,
                    step: 1,
                },
                hpo_recipe::Scale::Log if whole => Domain::Int {
                    low: low as i64,
                    high: high as i64,
                    log: true,
                    step: 1,
                },
                hpo_recipe::Scale::Linear => Domain::Float {
                    low,
                    high,
                    scale: Scale::Linear,
                    step: None,
                },
                hpo_recipe::Scale::Log => Domain::Float {
                    low,
                    high,
                    scale: Scale::Log,
                    step: None,
                },
                hpo_recipe::Scale::OneMinusLog => Domain::Float {
                    low,
                    high,
                    scale: Scale::OneMinusLog,
                    step: None,
                },
            }
        }
    })
}
