//! What the tests of whole training runs share.

#![allow(dead_code, reason = "each test file uses its part")]

use std::path::Path;
use std::time::Duration;

use hpo_recipe::{Config, Value};
use hpo_study::TrainerSpec;
use hpo_study::spec::{Activation, Dataset, Model};
use hpo_train::{Outcome, TrainError, TrainJob, run};

pub(crate) fn spec(model: Model, dataset: Dataset) -> TrainerSpec {
    TrainerSpec {
        model,
        dataset,
        epochs: 30,
        batch_size: 64,
        validation: 0.2,
        split_seed: 0,
    }
}

pub(crate) fn mlp(hidden: &[u32]) -> Model {
    Model::Mlp {
        hidden: hidden.to_vec(),
        activation: Activation::Relu,
    }
}

pub(crate) fn digits(hidden: &[u32]) -> TrainerSpec {
    spec(mlp(hidden), Dataset::Digits)
}

pub(crate) fn friedman() -> TrainerSpec {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../studies/data/friedman1.csv");
    spec(
        mlp(&[64, 32]),
        Dataset::Csv {
            path,
            target: "y".into(),
            task: None,
        },
    )
}

pub(crate) fn config(optimizer: &str, lr: f64, more: &[(&str, Value)]) -> Config {
    let mut config = Config::from_iter([("optimizer", optimizer)]);
    config.set("lr", lr);
    for (name, value) in more {
        config.set(*name, value.clone());
    }
    config
}

pub(crate) fn job(spec: TrainerSpec, config: Config, epochs: u64) -> TrainJob {
    TrainJob {
        spec,
        config,
        seed: 1,
        budget: epochs,
        horizon: epochs,
        checkpoint_directory: None,
        checkpoint_interval: Duration::ZERO,
        resume_from: None,
        resume_epoch: None,
        inherits: false,
        keep_checkpoints: 0,
        control_file: None,
    }
}

/// The reports without the wall time, as lines.
pub(crate) fn lines(job: &TrainJob) -> (Vec<String>, Result<Outcome, TrainError>) {
    let mut lines = Vec::new();
    let outcome = run(job, &mut |report| {
        let mut report = report.clone();
        report.metrics.retain(|(name, _)| *name != "epoch_seconds");
        lines.push(report.line());
        Ok(())
    });
    (lines, outcome)
}
