//! The key `pbt`, and what does not go with the method of this name.

use super::problem::Problems;
use super::yaml::Node;
use crate::population::Population;
use crate::space::{Domain, Parameter, Space};
use crate::spec::{EarlyTerminate, Job, Method};

/// What the built-in trainer reads that a checkpoint does not depend on, beside the optimizers' hyperparameters.
const TRAINERS: &[&str] = &["clip_norm", "dropout", "label_smoothing"];

/// How the population of `method: pbt` is trained; `None` for other methods.
pub(super) fn read(
    root: &Node,
    method: Option<Method>,
    space: &Space,
    job: Option<&Job>,
    problems: &mut Problems,
) -> Option<Option<EarlyTerminate>> {
    let node = root.get("pbt");
    if method != Some(Method::Pbt) {
        if node.is_some() && method.is_some() {
            problems.error_with_hint(
                root.key_span("pbt"),
                "`pbt` says how `method: pbt` works, and the method is another one",
                "write `method: pbt`, or remove `pbt`",
            );
        }
        return None;
    }
    for (key, why) in [
        (
            "early_terminate",
            "the worst members are replaced by copies of the best, and nothing else is stopped early",
        ),
        (
            "repeats",
            "a member's training is one run from beginning to end",
        ),
        (
            "confirm",
            "what is found is a schedule, and no configuration that could be run again",
        ),
        (
            "run_cap",
            "the population's size and the length of a training say how much is trained",
        ),
    ] {
        if root.get(key).is_some() {
            problems.error_with_hint(
                root.key_span(key),
                format!("`{key}` does not go with `method: pbt`: {why}"),
                format!("remove `{key}`"),
            );
        }
    }
    if let Some(rescue) = root.get("divergence").filter(|d| d.get("rescue").is_some()) {
        problems.error_with_hint(
            rescue.key_span("rescue"),
            "`rescue` does not go with `method: pbt`: a member that diverges is replaced by a copy of a better one",
            "remove `rescue`",
        );
    }
    Some(population(root, node, space, job, problems).map(EarlyTerminate::Population))
}

fn population(
    root: &Node,
    node: Option<&Node>,
    space: &Space,
    job: Option<&Job>,
    problems: &mut Problems,
) -> Option<Population> {
    let get = |key: &str| node.and_then(|node| node.get(key));
    let whole = |key: &str| get(key).and_then(Node::whole).map(i64::unsigned_abs);
    let number = |key: &str| get(key).and_then(Node::number);
    let epochs = match job? {
        Job::Trainer(trainer) => Some(trainer.epochs),
        Job::Command(_) => None,
    };
    let Some(max_iter) = whole("max_iter").or(epochs) else {
        problems.error_with_hint(
            root.key_span("method"),
            "`method: pbt` does not know how long a whole training is",
            "add `pbt: {max_iter: 100, interval: 5}`, with the last step that a whole training reports",
        );
        return None;
    };
    if let (Some(node), Some(epochs)) = (get("max_iter"), epochs.filter(|e| *e < max_iter)) {
        problems.error_with_hint(
            node.span,
            format!("`max_iter: {max_iter}` is more than the trainer's {epochs} epochs"),
            "remove `max_iter`: the trainer's epochs are the length of a training",
        );
    }
    let interval = whole("interval").unwrap_or((max_iter / 10).max(1));
    if let (Some(node), true) = (get("interval"), interval >= max_iter) {
        problems.error_with_hint(
            node.span,
            format!("`interval: {interval}` leaves nothing to copy: a whole training has {max_iter} steps"),
            "write a tenth of the whole training or so",
        );
    }
    let factors: Vec<f64> = get("factors").map_or_else(
        || vec![0.8, 1.2],
        |node| node.items().iter().filter_map(Node::number).collect(),
    );
    Some(Population {
        size: whole("population")
            .and_then(|n| u32::try_from(n).ok())
            .unwrap_or(8),
        interval,
        max_iter,
        quantile: number("quantile").unwrap_or(0.25),
        resample: number("resample").unwrap_or(0.25),
        factors,
        mutate: match get("mutate") {
            Some(list) => named(list, space, problems),
            None => usual(root, space, job, problems),
        },
    })
}

/// The parameters that the file names.
fn named(list: &Node, space: &Space, problems: &mut Problems) -> Vec<String> {
    let mut names = Vec::new();
    for item in list.items() {
        let Some(name) = item.text() else { continue };
        match space.parameters.iter().find(|p| p.name == name) {
            Some(parameter) if varies(parameter) => names.push(name.to_owned()),
            Some(_) => problems.error_with_hint(
                item.span,
                format!("`{name}` has one value only, so it cannot change"),
                "give it a range, or remove it here",
            ),
            None => {
                let all = space.parameters.iter().map(|p| p.name.as_str());
                let hint = match super::nearest(name, all) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "name parameters of this file".to_owned(),
                };
                problems.error_with_hint(
                    item.span,
                    format!("there is no parameter `{name}`"),
                    hint,
                );
            }
        }
    }
    names
}

/// All numbers that a script can take up with a checkpoint; of the built-in trainer's those that it does.
fn usual(root: &Node, space: &Space, job: Option<&Job>, problems: &mut Problems) -> Vec<String> {
    let is_number = |p: &&Parameter| {
        let number = |d: &Domain| {
            matches!(
                d,
                Domain::Float { .. } | Domain::Int { .. } | Domain::Law { .. }
            )
        };
        varies(p) && p.branches.iter().any(|b| number(&b.domain))
    };
    let optimizers = || {
        hpo_recipe::OptimizerKind::ALL
            .iter()
            .flat_map(|kind| kind.facts().hyperparameters)
    };
    let is_fit = |p: &&Parameter| {
        matches!(job, Some(Job::Command(_)))
            || TRAINERS.contains(&p.name.as_str())
            || optimizers().any(|knob| knob.name == p.name)
    };
    let names: Vec<String> = space
        .parameters
        .iter()
        .filter(is_number)
        .filter(is_fit)
        .map(|p| p.name.clone())
        .collect();
    if names.is_empty() && !space.parameters.is_empty() {
        problems.error_with_hint(
            root.key_span("method"),
            "there is no number that `method: pbt` could change while it trains",
            "give `lr` a range, or name what may change: `pbt: {mutate: [batch_size]}`",
        );
    }
    names
}

fn varies(parameter: &Parameter) -> bool {
    parameter.branches.len() > 1
        || parameter
            .branches
            .iter()
            .any(|b| b.domain.cardinality() != Some(1))
}
