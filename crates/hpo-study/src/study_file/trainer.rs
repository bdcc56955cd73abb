//! `trainer`: the built-in trainer's task and model, and whether the parameters are ones it reads.

use std::path::Path;

use hpo_recipe::schedule::WARMUP;
use hpo_recipe::{Hyperparameter, OptimizerKind, ScheduleKind, Value};

use super::nearest;
use super::parameters::{Draft, DraftBranch};
use super::problem::{Problems, Span};
use super::shape::did_you_mean;
use super::yaml::Node;
use crate::space::Domain;
use crate::spec::{Activation, Dataset, Model, Task, TrainerSpec};

/// What the built-in trainer reads from a configuration beside the catalogue's knobs. (A test of
/// the program compares this with what the trainer itself says.)
const OWN: &[&str] = &[
    "optimizer",
    "schedule",
    "batch_size",
    "clip_norm",
    "dropout",
    "label_smoothing",
    "hidden",
    "activation",
];

/// What the built-in trainer reports of any task, of classification, and of regression.
/// (`update_rms` and `rms_t` come only with Adam and AdamW.)
const METRICS: &[&str] = &[
    "val_loss",
    "train_loss",
    "grad_norm",
    "weight_norm",
    "update_rms",
    "rms_t",
    "lr",
    "epoch_seconds",
];
const OF_CLASSIFICATION: &[&str] = &["val_accuracy", "logit_norm"];
const OF_REGRESSION: &[&str] = &["val_rmse", "val_r2"];

/// Every metric that the built-in trainer reports for a task; `None`: for some task.
#[must_use]
pub fn trainer_metrics(task: Option<Task>) -> Vec<&'static str> {
    let (classes, numbers) = match task {
        Some(Task::Classification) => (OF_CLASSIFICATION, &[][..]),
        Some(Task::Regression) => (&[][..], OF_REGRESSION),
        None => (OF_CLASSIFICATION, OF_REGRESSION),
    };
    [METRICS, classes, numbers].concat()
}

/// Every parameter name that the built-in trainer reads: its own, and those of all optimizers and
/// schedules of the catalogue. Sorted.
#[must_use]
pub fn trainer_parameters() -> Vec<&'static str> {
    let mut names: Vec<&str> = knobs()
        .map(|knob| knob.name)
        .chain(OWN.iter().copied())
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn knobs() -> impl Iterator<Item = &'static Hyperparameter> {
    let optimizers = OptimizerKind::ALL
        .iter()
        .flat_map(|kind| kind.facts().hyperparameters);
    let schedules = ScheduleKind::ALL
        .iter()
        .flat_map(|kind| kind.facts().hyperparameters);
    optimizers.chain(schedules).chain(WARMUP)
}

/// Reads `trainer`. `None` when something in it is wrong; then it has been reported.
pub(super) fn read(node: &Node, directory: &Path, problems: &mut Problems) -> Option<TrainerSpec> {
    let whole = |key: &str| {
        node.get(key)
            .and_then(Node::whole)
            .and_then(|i| u64::try_from(i).ok())
    };
    let model = read_model(node, problems);
    let dataset = read_dataset(node.get("dataset")?, directory);
    Some(TrainerSpec {
        model: model?,
        dataset: dataset?,
        epochs: whole("epochs")?,
        batch_size: whole("batch_size").unwrap_or(32),
        validation: node.get("validation").and_then(Node::number).unwrap_or(0.2),
        split_seed: whole("split_seed").unwrap_or(0),
    })
}

fn read_model(node: &Node, problems: &mut Problems) -> Option<Model> {
    let model = node.get("model")?.text()?;
    let (misplaced, other): (&[&str], _) = match model {
        "mlp" => (&["channels"], "cnn"),
        _ => (&["hidden", "activation"], "mlp"),
    };
    for key in misplaced.iter().filter(|key| node.get(key).is_some()) {
        problems.error_with_hint(
            node.key_span(key),
            format!("`{key}` is of no use to `model: {model}`"),
            format!("remove it, or write `model: {other}`"),
        );
    }
    let widths = |key: &str, default: &[u32]| -> Option<Vec<u32>> {
        node.get(key).map_or(Some(default.to_vec()), |list| {
            list.items()
                .iter()
                .map(|item| u32::try_from(item.whole()?).ok())
                .collect()
        })
    };
    match model {
        "mlp" => Some(Model::Mlp {
            hidden: widths("hidden", &[64])?,
            activation: match node.get("activation").map(Node::text) {
                None | Some(Some("relu")) => Activation::Relu,
                Some(Some("tanh")) => Activation::Tanh,
                Some(Some("gelu")) => Activation::Gelu,
                Some(_) => return None,
            },
        }),
        "cnn" => Some(Model::Cnn {
            channels: widths("channels", &[8, 16])?,
        }),
        _ => None,
    }
}

fn read_dataset(node: &Node, directory: &Path) -> Option<Dataset> {
    if node.text() == Some("digits") {
        return Some(Dataset::Digits);
    }
    let task = match node.get("task").map(Node::text) {
        None => None,
        Some(Some("classification")) => Some(Task::Classification),
        Some(Some("regression")) => Some(Task::Regression),
        Some(_) => return None,
    };
    let path = directory.join(node.get("csv")?.text()?);
    Some(Dataset::Csv {
        path,
        target: node.get("target")?.value()?,
        task,
    })
}

/// Checks that the built-in trainer reports this metric.
pub(super) fn check_metric(metric: &Node, dataset: Option<&Node>, problems: &mut Problems) {
    let Some((name, text)) = metric
        .get("name")
        .and_then(|node| Some((node, node.text()?)))
    else {
        return;
    };
    let task = match dataset.and_then(|d| d.text().or_else(|| d.get("task")?.text())) {
        Some("digits" | "classification") => Some(Task::Classification),
        Some("regression") => Some(Task::Regression),
        _ => None,
    };
    let known = trainer_metrics(task);
    if !known.contains(&text) {
        problems.error_with_hint(
            name.span,
            format!("the built-in trainer does not report `{text}` here"),
            did_you_mean(text, &known),
        );
    }
}

/// Checks that the built-in trainer reads these parameters, and can make sense of their values.
pub(super) fn check_parameters(drafts: &[Draft], at: Span, problems: &mut Problems) {
    let known = trainer_parameters();
    for draft in drafts {
        if !known.contains(&draft.name.as_str()) {
            let hint = match nearest(&draft.name, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "it reads `lr`, `momentum`, `batch_size`, … and the other knobs of the \
                         optimizers and schedules of the catalogue"
                    .to_owned(),
            };
            problems.error_with_hint(
                draft.span,
                format!("the built-in trainer does not read `{}`", draft.name),
                hint,
            );
            continue;
        }
        for branch in &draft.branches {
            if let Some(domain) = &branch.domain {
                check_domain(&draft.name, domain, branch, problems);
            }
        }
    }
    if drafts.iter().all(|draft| draft.name != "optimizer") {
        problems.error_with_hint(
            at,
            "the built-in trainer needs a parameter `optimizer`",
            "add `recipe: {optimizers: [sgd, adamw]}`, or parameters: {optimizer: {value: adamw}}",
        );
    }
}

/// Checks the extremes of a domain (or all its choices) against what the catalogue allows.
fn check_domain(name: &str, domain: &Domain, branch: &DraftBranch, problems: &mut Problems) {
    let values: Vec<Value> = match domain {
        Domain::Categorical { choices, .. } => choices.clone(),
        Domain::Constant(value) => vec![value.clone()],
        Domain::Float { .. } | Domain::Int { .. } | Domain::Law { .. } => {
            vec![domain.at(0.0), domain.at(1.0)]
        }
    };
    for value in values {
        if let Err((message, hint)) = check_value(name, &value) {
            problems.error_with_hint(branch.place_of(&value), message, hint);
        }
    }
}

fn check_value(name: &str, value: &Value) -> Result<(), (String, String)> {
    let names: Vec<&str> = match name {
        "optimizer" => super::keys::optimizer_names(),
        "schedule" => super::keys::schedule_names(),
        _ => Vec::new(),
    };
    if !names.is_empty() {
        return match value.as_str() {
            Some(text) if names.contains(&text) => Ok(()),
            _ => Err((
                format!("the built-in trainer has no {name} `{value}`"),
                did_you_mean(&value.to_string(), &names),
            )),
        };
    }
    let mut refusal = None;
    for knob in knobs().filter(|knob| knob.name == name) {
        match knob.check(value) {
            Ok(_) => return Ok(()),
            Err(error) => refusal = Some((error.to_string(), knob.meaning.to_owned())),
        }
    }
    refusal.map_or(Ok(()), Err)
}
