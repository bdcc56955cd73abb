//! Makes loss curves of real runs, good and lost, to judge the divergence detector by: the digits with
//! every optimizer, both models and rates from sensible to a thousand times as much.
//!
//! ```text
//! RAYON_NUM_THREADS=1 cargo run --release -p hpo-train --example make_curves \
//!     | gzip -9n > crates/hpo-engine/tests/curves/trainer.jsonl.gz
//! ```
//!
//! That is one run for each optimizer, model and rate (126), with schedule (constant or cosine), warm-up (none,
//! or 15 % of the run) and seed taking turns. `-- --full` makes all combinations with two seeds (1008).
//!
//! A run to a line: `train_loss` and `grad_norm` of every update, `val_loss` after every 20th
//! (`val_every`), which is once per epoch but for full-batch `gd`; numbers have four significant digits,
//! `null` stands for one that is not finite. `truth` and `onset` by the rule in `truth.rs`.

mod truth;

use std::io::Write as _;

use hpo_recipe::{Config, Value};
use hpo_study::TrainerSpec;
use hpo_study::spec::{Activation, Dataset, Model};
use hpo_train::trainer::{Trainer, Update};
use serde_json::{Value as Json, json};

/// Updates of every run.
const UPDATES: usize = 400;
/// Updates of an epoch: 1437 rows in batches of [`BATCH`].
const EPOCH: usize = 20;
const BATCH: u64 = 72;

/// Each optimizer with a sensible rate; the others are up to a thousand times as high.
const OPTIMIZERS: [(&str, f64); 9] = [
    ("sgd", 0.05),
    ("momentum", 0.01),
    ("nesterov", 0.01),
    ("adam", 1e-3),
    ("adamw", 1e-3),
    ("rmsprop", 1e-3),
    ("adagrad", 0.01),
    ("adadelta", 1.0),
    ("gd", 0.2),
];
const RATES: usize = 7;
const MODELS: [&str; 2] = ["mlp", "cnn"];

/// A run that is to be made.
struct Plan {
    optimizer: &'static str,
    model: &'static str,
    lr: f64,
    cosine: bool,
    warmup: bool,
    seed: u64,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let full = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("--full") => true,
        Some(other) => return Err(format!("unknown argument {other}: only --full is known").into()),
    };
    let plans = plans(full);
    let mut out = std::io::stdout().lock();
    for (index, plan) in plans.iter().enumerate() {
        let line = train(plan)?;
        eprintln!(
            "{}/{}: {} {}",
            index + 1,
            plans.len(),
            line["id"],
            line["truth"]
        );
        writeln!(out, "{line}")?;
    }
    Ok(())
}

fn plans(full: bool) -> Vec<Plan> {
    let mut plans = Vec::new();
    for (i, &(optimizer, lowest)) in OPTIMIZERS.iter().enumerate() {
        for (j, &model) in MODELS.iter().enumerate() {
            for rate in 0..RATES {
                // Half a decade apart, rounded so that they read well.
                let lr = rounded(lowest * 10_f64.powf(rate as f64 / 2.0), 2);
                let turn = i + j + rate;
                let variants = if full { 0..8 } else { turn % 4..turn % 4 + 1 };
                plans.extend(variants.map(|variant| Plan {
                    optimizer,
                    model,
                    lr,
                    cosine: variant & 1 != 0,
                    warmup: variant & 2 != 0,
                    seed: if full {
                        1 + variant as u64 / 4
                    } else {
                        1 + turn as u64 % 3
                    },
                }));
            }
        }
    }
    plans
}

fn train(plan: &Plan) -> Result<Json, hpo_train::TrainError> {
    let spec = spec(plan.model);
    let schedule = if plan.cosine { "cosine" } else { "constant" };
    let warmup = if plan.warmup { 0.15 } else { 0.0 };
    let mut config = Config::from_iter([("optimizer", plan.optimizer), ("schedule", schedule)]);
    config.set("lr", plan.lr);
    config.set("warmup_fraction", Value::Float(warmup));
    let per_epoch = if plan.optimizer == "gd" { 1 } else { EPOCH };
    let epochs = UPDATES / per_epoch;
    let mut trainer = Trainer::new(&spec, &config, plan.seed, epochs as u64)?;
    let (mut updates, mut validation) = (Vec::new(), Vec::new());
    for _ in 0..epochs {
        let report = trainer.train_epoch_watched(&mut |update| updates.push(update))?;
        if updates.len() % EPOCH == 0 {
            validation.push(report.metric("val_loss").unwrap_or(f64::NAN));
        }
    }
    let chance = hpo_train::chance_loss(&spec)?;
    let losses: Vec<f64> = updates.iter().map(|update: &Update| update.loss).collect();
    let norms: Vec<f64> = updates.iter().map(|update| update.grad_norm).collect();
    let truth = truth::judge(&losses, chance);
    let warm = if plan.warmup { "-warmup" } else { "" };
    Ok(json!({
        "id": format!("{}-{}-{}-{schedule}{warm}-{}", plan.model, plan.optimizer, plan.lr, plan.seed),
        "task": "digits", "model": plan.model, "optimizer": plan.optimizer, "lr": plan.lr,
        "schedule": schedule, "warmup_fraction": warmup, "seed": plan.seed, "batch": BATCH,
        "chance_loss": chance, "truth": truth.fate.name(), "onset": truth.onset,
        "final_loss": short(truth.last), "final_val_loss": short(validation.last().copied().unwrap_or(f64::NAN)),
        "train_loss": list(&losses), "grad_norm": list(&norms),
        "val_every": EPOCH, "val_loss": list(&validation),
    }))
}

fn spec(model: &str) -> TrainerSpec {
    let model = match model {
        "cnn" => Model::Cnn {
            channels: vec![8, 16],
        },
        _ => Model::Mlp {
            hidden: vec![128, 64],
            activation: Activation::Relu,
        },
    };
    TrainerSpec {
        model,
        dataset: Dataset::Digits,
        epochs: (UPDATES / EPOCH) as u64,
        batch_size: BATCH,
        validation: 0.2,
        split_seed: 0,
    }
}

fn list(values: &[f64]) -> Json {
    values.iter().map(|&value| short(value)).collect()
}

/// Four significant digits; what is not finite has no place in JSON.
fn short(value: f64) -> Json {
    json!(value.is_finite().then(|| rounded(value, 4)))
}

fn rounded(value: f64, digits: usize) -> f64 {
    // What was just written reads back.
    format!("{value:.*e}", digits - 1).parse().unwrap_or(value)
}
