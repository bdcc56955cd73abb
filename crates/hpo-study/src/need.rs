//! What a trial needs of memory by construction: the model's numbers, their gradients and the optimizer's
//! state. What only a measurement can tell (activations, workspace, the framework) is learned elsewhere.

use hpo_recipe::{Config, OptimizerKind, OptimizerSetting, Value};
use serde::Serialize;

use crate::memory::{MIB, MemoryKind};
use crate::space::Space;
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

/// What is known of a study's need for memory before anything has run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Forecast {
    /// Which memory is limited.
    pub of: MemoryKind,
    /// The limit per GPU, or of the main memory, in bytes; null: all there is.
    pub limit: Option<u64>,
    /// The most that one trial can have, in bytes; null: unknown before the machine is seen.
    pub most: Option<u64>,
    /// One entry per optimizer that can be chosen; one without a name where none is searched.
    pub optimizers: Vec<OptimizerForecast>,
    /// What is not known, and how it will be, in words.
    pub unknown: Vec<String>,
}

/// What is known of trials with one optimizer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OptimizerForecast {
    /// Its name.
    pub optimizer: Option<String>,
    /// float32 copies of the weights that are held with it (weights, gradients and state); null: not in the
    /// catalogue.
    pub copies: Option<u32>,
    /// What its largest configuration needs, in bytes; null: unknown.
    pub needs: Option<u64>,
    /// Whether that fits; null: unknown.
    pub fits: Option<bool>,
}

/// What is known of a study's need for memory before anything has run, for each memory that it limits. `card`:
/// what the largest GPU that it may use has for programs, in bytes, where that is known.
#[must_use]
pub fn forecast(spec: &StudySpec, card: Option<u64>) -> Vec<Forecast> {
    let gpu = spec.gpu.as_ref().map(|gpu| {
        let limit = gpu.memory_limit.into_iter().chain(card).min();
        let most = limit.map(|limit| limit.saturating_sub(gpu.headroom));
        (MemoryKind::Gpu, gpu.memory_limit, most, gpu.per_trial)
    });
    let host = spec
        .cpu
        .memory_limit
        .map(|limit| (MemoryKind::Host, Some(limit), Some(limit), None));
    let both = gpu.into_iter().chain(host);
    both.map(|(of, limit, most, given)| Forecast {
        of,
        limit,
        most,
        optimizers: optimizers(spec, of, most, given),
        unknown: unknown(spec, of, given),
    })
    .collect()
}

fn optimizers(
    spec: &StudySpec,
    of: MemoryKind,
    most: Option<u64>,
    given: Option<u64>,
) -> Vec<OptimizerForecast> {
    let names = choices(&spec.space, "optimizer");
    let names: Vec<Option<&Value>> = match names.is_empty() {
        true => vec![None],
        false => names.iter().map(Some).collect(),
    };
    names
        .into_iter()
        .map(|name| {
            let mut config = Config::new();
            if let Some(name) = name {
                config.set("optimizer", name.clone());
            }
            let needs = given.or_else(|| {
                let largest = largest(spec, &config);
                largest.filter(|_| of == MemoryKind::Host)
            });
            OptimizerForecast {
                optimizer: name.map(ToString::to_string),
                copies: state_copies(&config).map(|copies| 2 + copies),
                needs,
                fits: needs.zip(most).map(|(needs, most)| needs <= most),
            }
        })
        .collect()
}

/// What the built-in trainer needs with the largest of the widths and batch sizes that can be chosen.
fn largest(spec: &StudySpec, config: &Config) -> Option<u64> {
    let or_none = |values: Vec<Value>| -> Vec<Option<Value>> {
        if values.is_empty() {
            vec![None]
        } else {
            values.into_iter().map(Some).collect()
        }
    };
    let hidden = or_none(choices(&spec.space, "hidden"));
    let batches = or_none(choices(&spec.space, "batch_size"));
    let mut needs = Vec::new();
    for hidden in &hidden {
        for batch in &batches {
            let mut config = config.clone();
            for (name, value) in [("hidden", hidden), ("batch_size", batch)] {
                if let Some(value) = value {
                    config.set(name, value.clone());
                }
            }
            needs.push(of_trainer(spec, &config));
        }
    }
    needs.into_iter().max().flatten()
}

fn unknown(spec: &StudySpec, of: MemoryKind, given: Option<u64>) -> Vec<String> {
    if given.is_some() || (of == MemoryKind::Host && largest_is_known(spec)) {
        return Vec::new();
    }
    let mut unknown = vec![
        "what a trial needs is learned from the first ones: the first of each kind starts alone"
            .to_owned(),
    ];
    if matches!(spec.job, Job::Command(_)) && of == MemoryKind::Gpu {
        unknown.push(format!(
            "the size of the model: report {{\"{PARAMETERS}\": …}}, the number of its weights, to have it known"
        ));
    }
    unknown
}

fn largest_is_known(spec: &StudySpec) -> bool {
    let sgd = Config::from_iter([("optimizer", Value::Text("sgd".to_owned()))]);
    of_trainer(spec, &sgd).is_some()
}

/// Every listed value of a parameter; of a range its ends.
fn choices(space: &Space, name: &str) -> Vec<Value> {
    let branches = space.parameter(name).map_or(&[][..], |p| &p.branches);
    let values = branches
        .iter()
        .flat_map(|b| b.domain.values(1000).unwrap_or_default());
    let mut found: Vec<Value> = Vec::new();
    for value in values {
        if !found.contains(&value) {
            found.push(value);
        }
    }
    found
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

    fn forecast_of(text: &str) -> Vec<Forecast> {
        forecast_on(None, text)
    }

    fn forecast_on(card: Option<u64>, text: &str) -> Vec<Forecast> {
        let source = crate::study_file::Source {
            file: "s.yaml".into(),
            directory: "/".into(),
        };
        let text = format!("method: random\nmetric: {{name: val_loss}}\nrun_cap: 3\n{text}\n");
        let checked = crate::study_file::read(&text, &source);
        let spec = checked.spec;
        let spec = spec.unwrap_or_else(|| panic!("{:?}", checked.problems));
        forecast(&spec, card)
    }

    #[test]
    fn what_is_known_beforehand_is_said_and_so_is_what_is_not() {
        let trainer = "trainer: {model: mlp, dataset: digits, epochs: 2}\n\
             parameters: {optimizer: {values: [sgd, adam]}, hidden: {values: [[16], [4096, 4096]]}}";
        assert_eq!(forecast_of(trainer), []);
        let [host] = &forecast_of(&format!("{trainer}\ncpu: {{memory_limit: 300MiB}}"))[..] else {
            panic!("one memory is limited");
        };
        let fits: Vec<_> = host.optimizers.iter().map(|o| (o.copies, o.fits)).collect();
        // 17 million weights: 2 copies of 65 MiB and the process, or 4 copies.
        assert_eq!(fits, [(Some(2), Some(true)), (Some(4), Some(false))]);
        assert!(host.unknown.is_empty());
        let command = "program: t.py\nparameters: {optimizer: {values: [AdamW, lion]}}";
        let [gpu] = &forecast_of(&format!("{command}\ngpu: {{memory_limit: 8GiB}}"))[..] else {
            panic!("one memory is limited");
        };
        assert_eq!(gpu.most, Some(8192 * MIB - 512 * MIB));
        assert_eq!(gpu.optimizers[0].copies, Some(4));
        assert_eq!(
            (gpu.optimizers[1].copies, gpu.optimizers[1].fits),
            (None, None)
        );
        assert_eq!(gpu.unknown.len(), 2);
        let [gpu] = &forecast_of(&format!(
            "{command}\ngpu: {{per_trial: 3GiB, memory_limit: 8GiB}}"
        ))[..] else {
            panic!("one memory is limited");
        };
        assert_eq!(gpu.optimizers[0].fits, Some(true));
        assert!(gpu.unknown.is_empty());
        // The machine's card may be smaller than the limit, or there is none.
        for limit in ["memory_limit: 80GiB, ", ""] {
            let text = format!("{command}\ngpu: {{{limit}per_trial: 30GiB}}");
            let fits = |card| forecast_on(card, &text)[0].optimizers[0].fits;
            assert_eq!(fits(Some(24 << 30)), Some(false));
            assert_eq!(fits(Some(40 << 30)), Some(true));
            assert_eq!(fits(None), (!limit.is_empty()).then_some(true));
        }
    }
}
