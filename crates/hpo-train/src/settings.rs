//! The parameters the trainer itself reads from a configuration, beside those of optimizer and
//! schedule.

use std::collections::BTreeMap;

use hpo_recipe::optimizer::OptimizerKind;
use hpo_recipe::schedule::{ScheduleKind, WARMUP};
use hpo_recipe::{Config, Value};
use hpo_study::TrainerSpec;
use hpo_study::spec::{Activation, Model};

use crate::data::Dataset;
use crate::error::TrainError;
use crate::nn::model::{Architecture, Body};

/// More units than this in one layer, or channels in one convolution, are refused.
const WIDEST: i64 = 65_536;
/// More learned numbers than this (1 GiB of f32) are refused.
const MOST_PARAMETERS: usize = 1 << 28;

/// A parameter that the trainer, its optimizers or its schedules read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownParameter {
    /// Its name in a configuration.
    pub name: &'static str,
    /// What it does.
    pub meaning: &'static str,
}

const OWN: &[KnownParameter] = &[
    KnownParameter {
        name: "optimizer",
        meaning: "which optimizer",
    },
    KnownParameter {
        name: "schedule",
        meaning: "which learning-rate schedule",
    },
    KnownParameter {
        name: "batch_size",
        meaning: "rows per update; gd takes all rows",
    },
    KnownParameter {
        name: "clip_norm",
        meaning: "largest global gradient norm; absent or null: no clipping",
    },
    KnownParameter {
        name: "dropout",
        meaning: "share of hidden values switched off, from 0 to <1",
    },
    KnownParameter {
        name: "label_smoothing",
        meaning: "share of each target spread over all classes, from 0 to <1; classification only",
    },
    KnownParameter {
        name: "hidden",
        meaning: "widths of the hidden layers of an mlp, a list or one number",
    },
    KnownParameter {
        name: "activation",
        meaning: "relu, tanh or gelu",
    },
];

/// Every parameter that can have an effect on the built-in trainer, by name: its own, those of
/// every optimizer and of every schedule. A parameter that is not among them is read by nobody.
#[must_use]
pub fn known_parameters() -> Vec<KnownParameter> {
    let optimizers = OptimizerKind::ALL
        .iter()
        .flat_map(|kind| kind.facts().hyperparameters);
    let schedules = ScheduleKind::ALL
        .iter()
        .flat_map(|kind| kind.facts().hyperparameters);
    let mut known: BTreeMap<&str, KnownParameter> = BTreeMap::new();
    for knob in optimizers.chain(schedules).chain(WARMUP) {
        let parameter = KnownParameter {
            name: knob.name,
            meaning: knob.meaning,
        };
        known.entry(knob.name).or_insert(parameter);
    }
    known.extend(OWN.iter().map(|own| (own.name, *own)));
    known.into_values().collect()
}

/// The trainer's own parameters, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Rows per update at a batch multiplier of 1; at least 1.
    pub batch_size: usize,
    /// Largest global norm of the gradients; more is scaled down.
    pub clip_norm: Option<f64>,
    /// Label smoothing, in [0, 1).
    pub label_smoothing: f64,
    /// The model.
    pub architecture: Architecture,
}

impl Settings {
    /// Reads them from a configuration; what it does not hold comes from the study's trainer.
    ///
    /// # Errors
    /// [`TrainError::Parameter`] for a value that makes no sense, [`TrainError::Settings`] for a
    /// model that does not fit the data.
    pub fn new(spec: &TrainerSpec, config: &Config, data: &Dataset) -> Result<Self, TrainError> {
        let most = u64::from(u32::MAX);
        let batch_size = match config.get("batch_size") {
            Some(value) => whole("batch_size", value, i64::from(u32::MAX))?,
            None if (1..=most).contains(&spec.batch_size) => spec.batch_size as usize,
            None => {
                let message = format!("the batch size is {}", spec.batch_size);
                return Err(TrainError::settings(
                    message,
                    "set `batch_size` to 1 or more",
                ));
            }
        };
        let clip_norm = match config.get("clip_norm") {
            None | Some(Value::Null) => None,
            Some(value) => match value.as_f64() {
                Some(norm) if norm > 0.0 && norm.is_finite() => Some(norm),
                _ => {
                    return Err(wrong(
                        "clip_norm",
                        value,
                        "a number above 0, or null for none",
                    ));
                }
            },
        };
        let architecture = architecture(spec, config, data)?;
        let label_smoothing = share(config, "label_smoothing")?;
        Ok(Self {
            batch_size,
            clip_norm,
            label_smoothing,
            architecture,
        })
    }
}

fn architecture(
    spec: &TrainerSpec,
    config: &Config,
    data: &Dataset,
) -> Result<Architecture, TrainError> {
    let (body, default) = match &spec.model {
        Model::Mlp { hidden, activation } => {
            let hidden = match config.get("hidden") {
                Some(value) => hidden_widths(value)?,
                None => checked_widths("hidden", hidden)?,
            };
            (Body::Dense { hidden }, *activation)
        }
        Model::Cnn { channels } => (convolution(channels, data)?, Activation::Relu),
    };
    let architecture = Architecture {
        inputs: data.columns.len(),
        outputs: data.targets.outputs(),
        body,
        activation: activation(config, default)?,
        dropout: share(config, "dropout")?,
    };
    let count = architecture.parameter_count();
    if count > MOST_PARAMETERS {
        let message = format!("the model would have {count} parameters");
        let hint = format!("at most {MOST_PARAMETERS} fit; use narrower layers");
        return Err(TrainError::settings(message, hint));
    }
    Ok(architecture)
}

fn convolution(channels: &[u32], data: &Dataset) -> Result<Body, TrainError> {
    let Some((height, width)) = data.image else {
        let message = format!("a cnn needs images, and the rows of {} are none", data.name);
        return Err(TrainError::settings(
            message,
            "use `model: mlp`, or `dataset: digits`",
        ));
    };
    let channels = checked_widths("channels", channels)?;
    let deepest = height.min(width).checked_ilog2().unwrap_or(0) as usize;
    if channels.is_empty() || channels.len() > deepest {
        return Err(TrainError::settings(
            format!(
                "{} convolutions for images of {height} × {width}",
                channels.len()
            ),
            format!("each halves the image; give `channels` 1 to {deepest} numbers"),
        ));
    }
    Ok(Body::Convolution {
        height,
        width,
        channels,
    })
}

fn activation(config: &Config, default: Activation) -> Result<Activation, TrainError> {
    match config.get("activation") {
        None => Ok(default),
        Some(value) => match value.as_str() {
            Some("relu") => Ok(Activation::Relu),
            Some("tanh") => Ok(Activation::Tanh),
            Some("gelu") => Ok(Activation::Gelu),
            _ => Err(wrong("activation", value, "relu, tanh or gelu")),
        },
    }
}

fn hidden_widths(value: &Value) -> Result<Vec<usize>, TrainError> {
    match value.as_list() {
        Some(items) => items
            .iter()
            .map(|item| whole("hidden", item, WIDEST))
            .collect(),
        None => Ok(vec![whole("hidden", value, WIDEST)?]),
    }
}

fn checked_widths(name: &str, widths: &[u32]) -> Result<Vec<usize>, TrainError> {
    let checked = |&width: &u32| whole(name, &Value::Int(i64::from(width)), WIDEST);
    widths.iter().map(checked).collect()
}

fn whole(name: &str, value: &Value, most: i64) -> Result<usize, TrainError> {
    let number = value.as_i64().filter(|number| (1..=most).contains(number));
    let number = number.and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| wrong(name, value, &format!("a whole number from 1 to {most}")))
}

/// A number in [0, 1); 0 where the configuration has none.
fn share(config: &Config, name: &str) -> Result<f64, TrainError> {
    match config.get(name) {
        None | Some(Value::Null) => Ok(0.0),
        Some(value) => match value.as_f64() {
            Some(share) if (0.0..1.0).contains(&share) => Ok(share),
            _ => Err(wrong(name, value, "a number from 0 to below 1")),
        },
    }
}

fn wrong(name: &str, value: &Value, allowed: &str) -> TrainError {
    TrainError::Parameter {
        name: name.to_owned(),
        value: value.to_string(),
        allowed: allowed.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{csv, digits};
    use hpo_study::spec;

    fn spec(model: Model) -> TrainerSpec {
        TrainerSpec {
            model,
            dataset: spec::Dataset::Digits,
            epochs: 30,
            batch_size: 64,
            validation: 0.2,
            split_seed: 0,
        }
    }

    fn mlp() -> TrainerSpec {
        spec(Model::Mlp {
            hidden: vec![128, 64],
            activation: Activation::Relu,
        })
    }

    fn read(spec: &TrainerSpec, config: Config) -> Result<Settings, TrainError> {
        Settings::new(spec, &config, &digits::load().unwrap())
    }

    #[test]
    fn the_configuration_goes_before_the_study() {
        let settings = read(&mlp(), Config::new()).unwrap();
        assert_eq!((settings.batch_size, settings.clip_norm), (64, None));
        assert_eq!(
            settings.architecture.parameter_count(),
            64 * 128 + 128 * 64 + 640 + 202
        );
        let mut config = Config::from_iter([("batch_size", 16_i64), ("hidden", 32)]);
        config.set("clip_norm", 0.5);
        config.set("activation", "gelu");
        config.set("dropout", 0.25);
        let settings = read(&mlp(), config).unwrap();
        assert_eq!((settings.batch_size, settings.clip_norm), (16, Some(0.5)));
        assert_eq!(settings.architecture.body, Body::Dense { hidden: vec![32] });
        assert_eq!(settings.architecture.activation, Activation::Gelu);
        assert_eq!(settings.architecture.dropout, 0.25);
    }

    #[test]
    fn senseless_values_are_refused_by_name() {
        let list = |items: &[Value]| Value::List(items.to_vec());
        let cases = [
            ("batch_size", Value::Int(0)),
            ("batch_size", Value::Float(1.5)),
            ("clip_norm", Value::Float(0.0)),
            ("clip_norm", Value::Float(f64::NAN)),
            ("clip_norm", "big".into()),
            ("dropout", Value::Float(1.0)),
            ("label_smoothing", Value::Float(-0.1)),
            ("hidden", list(&[Value::Int(8), Value::Int(-1)])),
            ("hidden", Value::Int(i64::MAX)),
            ("activation", "swish".into()),
            ("activation", Value::Int(1)),
        ];
        for (name, value) in cases {
            let mut config = Config::new();
            config.set(name, value);
            let error = read(&mlp(), config.clone()).unwrap_err();
            assert_eq!(error.kind(), "parameter", "{config}");
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn a_model_must_fit_its_data_and_memory() {
        let too_deep = spec(Model::Cnn {
            channels: vec![4, 4, 4, 4],
        });
        assert_eq!(
            read(&too_deep, Config::new()).unwrap_err().kind(),
            "settings"
        );
        let config = Config::from_iter([("hidden", list_of(&[65_536, 65_536]))]);
        assert_eq!(read(&mlp(), config).unwrap_err().kind(), "settings");
        let table = csv::parse("t", b"1,0.5\n2,1.5\n".to_vec(), &csv::Options::default()).unwrap();
        let cnn = spec(Model::Cnn { channels: vec![4] });
        let error = Settings::new(&cnn, &Config::new(), &table).unwrap_err();
        assert!(error.to_string().contains("a cnn needs images"), "{error}");
    }

    fn list_of(widths: &[i64]) -> Value {
        Value::List(widths.iter().copied().map(Value::Int).collect())
    }

    #[test]
    fn known_parameters_are_unique_and_hold_everyones() {
        let known = known_parameters();
        let names: Vec<&str> = known.iter().map(|parameter| parameter.name).collect();
        assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
        for name in [
            "lr",
            "beta2",
            "warmup_fraction",
            "gamma",
            "clip_norm",
            "optimizer",
        ] {
            assert!(names.contains(&name), "{name}");
        }
    }
}
