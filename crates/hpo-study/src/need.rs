//! What a trial needs of memory by construction: the model's numbers, their gradients and the optimizer's
//! state. What only a measurement can tell (activations, workspace, the framework) is learned elsewhere.

use hpo_recipe::{Config, OptimizerKind, OptimizerSetting, Value};

use crate::memory::MIB;
use crate::spec::{Dataset, Job, Model, StudySpec, TrainerSpec};

/// What a process needs on a GPU before it holds a single number (CUDA context, kernels, allocator),
/// while nothing was measured: 100–600 MiB, depending on the GPU and the libraries.
pub const CONTEXT: u64 = 400 * MIB;
/// What the built-in trainer's process needs of the main memory before it holds a model.
pub const TRAINER_BASE: u64 = 48 * MIB;
/// The names under which studies search the batch size.
pub const BATCH_NAMES: [&str; 7] = [
    "batch_size",
    "batch",
    "bs",
    "train_batch_size",
    "per_device_train_batch_size",
    "per_device_batch_size",
    "micro_batch_size",
];
/// The metric by which a program says how many learned numbers its model has.
pub const PARAMETERS: &str = "parameters";

/// float32 copies of the learned numbers that the configuration's optimizer keeps as state; `None` when
/// it has none of the catalogue's. Capitals do not matter: scripts write `AdamW`.
#[must_use]
pub fn state_copies(config: &Config) -> Option<u32> {
    let name = config.text("optimizer").or(config.text("optim"))?;
    let kind: OptimizerKind = name.to_lowercase().parse().ok()?;
    let mut config = config.clone();
    config.set("optimizer", kind.name());
    let plain = Config::from_iter([("optimizer", Value::Text(kind.name().to_owned()))]);
    OptimizerSetting::from_config(&config)
        .or_else(|_| OptimizerSetting::from_config(&plain))
        .ok()
        .map(|setting| setting.state_copies())
}

/// The batch size of a configuration, if it has one under a usual name.
#[must_use]
pub fn batch(config: &Config) -> Option<f64> {
    BATCH_NAMES
        .iter()
        .find_map(|name| config.number(name))
        .filter(|batch| *batch >= 1.0)
}

/// Bytes of the learned numbers, their gradients and the optimizer's state in float32.
#[must_use]
pub fn model_bytes(parameters: u64, state_copies: u32) -> u64 {
    const BYTES: u64 = 4;
    parameters
        .saturating_mul(BYTES)
        .saturating_mul(2 + u64::from(state_copies))
}

/// Learned numbers of the built-in trainer's model under a configuration; known for the digits (64
/// pixels, 10 classes) only, since a table's width stands in the table.
#[must_use]
pub fn parameter_count(trainer: &TrainerSpec, config: Option<&Config>) -> Option<u64> {
    const SIDE: u64 = 8;
    const CLASSES: u64 = 10;
    if trainer.dataset != Dataset::Digits {
        return None;
    }
    let mut count: u64 = 0;
    let inputs = match &trainer.model {
        Model::Mlp { hidden, .. } => {
            let widths = hidden_of(config).unwrap_or_else(|| {
                let widths = hidden.iter();
                widths.map(|width| u64::from(*width)).collect()
            });
            widths.iter().fold(SIDE * SIDE, |inputs, width| {
                count = count.saturating_add((inputs + 1).saturating_mul(*width));
                *width
            })
        }
        Model::Cnn { channels } => {
            let (mut side, mut inputs) = (SIDE, 1);
            for width in channels {
                count += (9 * inputs + 1) * u64::from(*width);
                (side, inputs) = (side / 2, u64::from(*width));
            }
            side * side * inputs
        }
    };
    Some(count.saturating_add((inputs.saturating_add(1)).saturating_mul(CLASSES)))
}

fn hidden_of(config: Option<&Config>) -> Option<Vec<u64>> {
    let width = |value: &Value| u64::try_from(value.as_i64()?).ok();
    match config?.get("hidden")? {
        Value::List(items) => items.iter().map(width).collect(),
        value => Some(vec![width(value)?]),
    }
}

/// Main memory that the built-in trainer needs under a configuration: its process, the model with
/// gradients and state (exact), and the activations of a batch. `None` for other jobs, and for data whose
/// width is not known here.
#[must_use]
pub fn of_trainer(spec: &StudySpec, config: &Config) -> Option<u64> {
    let Job::Trainer(trainer) = &spec.job else {
        return None;
    };
    let parameters = parameter_count(trainer, Some(config))?;
    let model = model_bytes(parameters, state_copies(config)?);
    let batch = batch(config).unwrap_or(trainer.batch_size as f64);
    // Forward and backward keep a few numbers per unit and example; there are no more units than numbers.
    let per_example = 4.0 * 4.0 * (parameters as f64).sqrt().mul_add(4.0, 64.0);
    Some(TRAINER_BASE + model + (batch * per_example) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(optimizer: &str) -> Config {
        Config::from_iter([("optimizer", Value::Text(optimizer.to_owned()))])
    }

    #[test]
    fn the_catalogue_knows_the_state_of_an_optimizer_however_it_is_spelt() {
        assert_eq!(state_copies(&config("AdamW")), Some(2));
        assert_eq!(state_copies(&config("adam")), Some(2));
        assert_eq!(state_copies(&config("sgd")), Some(0));
        assert_eq!(state_copies(&config("lion")), None);
        assert_eq!(state_copies(&Config::new()), None);
        let mut odd = config("SGD");
        odd.set("lr", "a lot");
        assert_eq!(state_copies(&odd), Some(0));
    }

    #[test]
    fn the_trainers_model_is_counted_exactly() {
        let trainer = |hidden: &[u32]| TrainerSpec {
            model: Model::Mlp {
                hidden: hidden.to_vec(),
                activation: crate::spec::Activation::Relu,
            },
            dataset: Dataset::Digits,
            epochs: 1,
            batch_size: 32,
            validation: 0.2,
            split_seed: 0,
        };
        assert_eq!(parameter_count(&trainer(&[]), None), Some(650));
        assert_eq!(parameter_count(&trainer(&[32]), None), Some(65 * 32 + 330));
        let mut config = config("adam");
        config.set("hidden", Value::List(vec![Value::Int(16), Value::Int(8)]));
        let expected = 65 * 16 + 17 * 8 + 9 * 10;
        assert_eq!(
            parameter_count(&trainer(&[32]), Some(&config)),
            Some(expected)
        );
        assert_eq!(model_bytes(expected, 2), expected * 16);
    }
}
