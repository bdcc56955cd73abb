//! The training loop, one epoch at a time.
//!
//! **The schedule's clock.** Schedules are asked once per optimizer update. Their clock counts
//! *base steps*: the updates an epoch would have at the configured batch size. An update that
//! takes more rows, because `batch_growth` multiplied the batch, moves the clock by as many base
//! steps as it ate base batches; so the clock always says how much data has been seen, the horizon
//! is `epochs · steps_per_epoch` whatever the schedule does, and without batch growth the clock is
//! simply the number of updates. The last batch of an epoch may be smaller; it is not dropped.
//!
//! **Full batch.** `gd` takes all training rows for one update per epoch. That is what gradient
//! descent is, and it costs no more than any other epoch; but 30 epochs are then 30 updates, so it
//! needs far larger learning rates or far more epochs than the others to get anywhere.

use std::time::Instant;

use hpo_recipe::optimizer::OptimizerSetting;
use hpo_recipe::{Config, Horizon, Schedule};
use hpo_study::TrainerSpec;

use crate::chance;
use crate::checkpoint::{Checkpoint, Identity};
use crate::data::split::{Part, Split, Truth};
use crate::data::{self, Dataset};
use crate::error::TrainError;
use crate::nn::loss::{accuracy, cross_entropy, squared_error};
use crate::nn::model::Model;
use crate::optimizer::signals::{self, Signals};
use crate::optimizer::{self, Optimizer, clip};
use crate::report::EpochReport;
use crate::rng::{Purpose, permutation, stream};
use crate::settings::Settings;

/// Rows judged at once in validation.
const VALIDATION_ROWS: usize = 1024;

/// The learning rate's name in an [`Identity`].
const LR: &str = "parameter `lr`";

/// A model in training: all that changes from epoch to epoch, and what it learns from.
pub struct Trainer {
    settings: Settings,
    identity: Identity,
    seed: u64,
    split: Split,
    model: Model,
    optimizer: Box<dyn Optimizer>,
    full_batch: bool,
    schedule: Schedule,
    batch_size: usize,
    steps_per_epoch: u64,
    epoch: u64,
    non_finite_epochs: u64,
}

/// Sums over the updates of one epoch.
#[derive(Default)]
struct Sums {
    rows: usize,
    updates: u32,
    loss: f64,
    gradient_norm: f64,
    lr: f64,
    /// Of the last update.
    signals: Option<Signals>,
}

/// One update, as [`Trainer::train_epoch_watched`] tells of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Update {
    /// The batch's loss before the update, dropout and label smoothing included.
    pub loss: f64,
    /// The global norm of its gradients, before clipping.
    pub grad_norm: f64,
    /// The learning rate.
    pub lr: f64,
}

impl Trainer {
    /// A trainer before its first epoch. `horizon` is the length in epochs that the schedule is
    /// stretched over, at least 1.
    ///
    /// # Errors
    /// Data that cannot be used, a parameter that makes no sense, a model that does not fit.
    pub fn new(
        spec: &TrainerSpec,
        config: &Config,
        seed: u64,
        horizon: u64,
    ) -> Result<Self, TrainError> {
        let dataset = data::load(&spec.dataset)?;
        let settings = Settings::new(spec, config, &dataset)?;
        let setting = OptimizerSetting::from_config(config)?;
        let split = Split::new(&dataset, spec.validation, spec.split_seed)?;
        let rows = split.training.rows();
        let full_batch = setting.facts().full_batch;
        let batch_size = if full_batch {
            rows
        } else {
            settings.batch_size.min(rows)
        };
        let steps_per_epoch = rows.div_ceil(batch_size.max(1)) as u64;
        let total_steps = steps_per_epoch.saturating_mul(horizon);
        let momentum = setting
            .facts()
            .momentum_name
            .map(|name| setting.number(name));
        let schedule = Schedule::from_config(
            config,
            setting.number("lr"),
            momentum,
            Horizon {
                total_steps,
                steps_per_epoch,
            },
        )?;
        let mut rng = stream(seed, Purpose::Weights, 0);
        let model = Model::new(settings.architecture.clone(), &mut rng)?;
        let optimizer = optimizer::build(&setting, model.variables().to_vec())?;
        let identity = identity(spec, config, &settings, &dataset, seed, horizon);
        tracing::debug!(
            rows,
            batch_size,
            parameters = settings.architecture.parameter_count(),
            "ready to train"
        );
        Ok(Self {
            settings,
            identity,
            seed,
            split,
            model,
            optimizer,
            full_batch,
            schedule,
            batch_size,
            steps_per_epoch,
            epoch: 0,
            non_finite_epochs: 0,
        })
    }

    /// Epochs done.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How many epochs in a row, up to now, had a training loss that is not finite.
    #[must_use]
    pub fn non_finite_epochs(&self) -> u64 {
        self.non_finite_epochs
    }

    /// Trains for one epoch and judges the model on the validation rows.
    ///
    /// The report has `train_loss` (mean over the epoch's rows, dropout and label smoothing
    /// included), `val_loss` (nats, without smoothing; or mean squared error of the standardized
    /// target), `val_accuracy` and `logit_norm`, or `val_rmse` (in the data's units) and `val_r2`,
    /// `lr` (of the epoch's last update), `grad_norm` (mean over the updates, before clipping),
    /// with Adam and AdamW `update_rms` and `rms_t` (of the last update, see [`Signals`]),
    /// `weight_norm` (Euclidean norm of all variables, after the last update) and `epoch_seconds`
    /// (wall time, the only number that differs between two equal runs). The first epoch's report also
    /// says what a model that knows nothing gets, as `chance/train_loss` and so on. `logit_norm` is the root
    /// mean square of all logits of the validation rows, what grows when output logits diverge
    /// (Wortsman et al. 2023, arXiv 2309.14322).
    ///
    /// # Errors
    /// Only if a tensor operation fails.
    pub fn train_epoch(&mut self) -> Result<EpochReport, TrainError> {
        self.train_epoch_watched(&mut |_| {})
    }

    /// As [`Trainer::train_epoch`], and tells `watch` of every update.
    ///
    /// # Errors
    /// Only if a tensor operation fails.
    pub fn train_epoch_watched(
        &mut self,
        watch: &mut dyn FnMut(Update),
    ) -> Result<EpochReport, TrainError> {
        let started = Instant::now();
        let sums = self.updates(watch)?;
        let train_loss = sums.loss / sums.rows.max(1) as f64;
        let judged = self.validate()?;
        let val_loss = judged.first().map_or(f64::NAN, |(_, loss)| *loss);
        self.schedule.observe(val_loss);
        self.epoch += 1;
        self.non_finite_epochs = if train_loss.is_finite() {
            0
        } else {
            self.non_finite_epochs + 1
        };
        let mut metrics = vec![("train_loss", train_loss)];
        metrics.extend(judged);
        metrics.push(("lr", sums.lr));
        metrics.push((
            "grad_norm",
            sums.gradient_norm / f64::from(sums.updates.max(1)),
        ));
        if let Some(signals) = sums.signals {
            metrics.push(("update_rms", signals.update_rms));
            metrics.push(("rms_t", signals.rms_t));
        }
        metrics.push(("weight_norm", signals::weight_norm(self.model.variables())?));
        if self.epoch == 1 {
            metrics.extend(self.chance()?);
        }
        metrics.push(("epoch_seconds", started.elapsed().as_secs_f64()));
        Ok(EpochReport {
            step: self.epoch,
            metrics,
        })
    }

    /// What a model that knows the training targets and nothing of the features gets in each metric.
    fn chance(&self) -> Result<Vec<(&'static str, f64)>, TrainError> {
        let (training, validation) = (&self.split.training, &self.split.validation);
        let chance = match (&training.truth, &validation.truth) {
            (Truth::Classes(seen), Truth::Classes(judged)) => {
                chance::of_classes(seen, judged, self.settings.label_smoothing)
            }
            (Truth::Numbers(_), Truth::Numbers(judged)) => chance::of_numbers(
                &judged.flatten_all()?.to_vec1::<f32>()?,
                self.split.target_scale,
            ),
            // Both are parts of one data set.
            _ => Vec::new(),
        };
        Ok(chance)
    }

    fn updates(&mut self, watch: &mut dyn FnMut(Update)) -> Result<Sums, TrainError> {
        let rows = self.split.training.rows();
        let training = if self.full_batch {
            self.split.training.clone()
        } else {
            let mut rng = stream(self.seed, Purpose::Order, self.epoch);
            let order = permutation(u32::try_from(rows).unwrap_or(u32::MAX), &mut rng);
            self.split.training.reordered(&order)?
        };
        let mut dropout = stream(self.seed, Purpose::Dropout, self.epoch);
        let mut sums = Sums::default();
        while sums.rows < rows {
            let clock = self.epoch * self.steps_per_epoch + (sums.rows / self.batch_size) as u64;
            let setting = self.schedule.at(clock);
            let wanted = (self.batch_size as f64 * setting.batch_multiplier)
                .round()
                .max(1.0);
            let count = (wanted as usize).min(rows - sums.rows);
            let batch = training.slice(sums.rows, count)?;
            let outputs = self.model.forward(&batch.inputs, Some(&mut dropout))?;
            let loss = self.loss(&outputs, &batch.truth)?;
            let gradients = loss.backward()?;
            let norm = clip::global_norm(&gradients, self.model.variables())?;
            let scale = clip::scale(norm, self.settings.clip_norm);
            if sums.rows + count == rows {
                let momentum = setting.momentum;
                sums.signals = self.optimizer.signals(&gradients, momentum, scale)?;
            }
            self.optimizer
                .step(&gradients, setting.lr, setting.momentum, scale)?;
            let update = Update {
                loss: f64::from(loss.to_scalar::<f32>()?),
                grad_norm: norm,
                lr: setting.lr,
            };
            watch(update);
            sums.loss += update.loss * count as f64;
            sums.gradient_norm += norm;
            sums.lr = setting.lr;
            sums.rows += count;
            sums.updates += 1;
        }
        Ok(sums)
    }

    fn loss(
        &self,
        outputs: &candle_core::Tensor,
        truth: &Truth,
    ) -> candle_core::Result<candle_core::Tensor> {
        match truth {
            Truth::Classes(labels) => cross_entropy(outputs, labels, self.settings.label_smoothing),
            Truth::Numbers(targets) => squared_error(outputs, targets),
        }
    }

    /// `val_loss` first, then what else there is to say of the validation rows.
    fn validate(&self) -> Result<Vec<(&'static str, f64)>, TrainError> {
        let part = &self.split.validation;
        let rows = part.rows();
        let mut judged = Judged::default();
        for first in (0..rows).step_by(VALIDATION_ROWS) {
            let slice = part.slice(first, VALIDATION_ROWS.min(rows - first))?;
            let outputs = self.model.forward(&slice.inputs, None)?;
            judged.add(&outputs, &slice)?;
        }
        Ok(judged.metrics(&part.truth, rows as f64, self.split.target_scale))
    }

    /// The state between two epochs.
    ///
    /// # Errors
    /// Only if a tensor cannot be read.
    pub fn checkpoint(&self) -> Result<Checkpoint, TrainError> {
        let mut variables = Vec::new();
        for (name, variable) in self.model.variables() {
            let values = variable.flatten_all()?.to_vec1::<f32>()?;
            variables.push((name.clone(), variable.dims().to_vec(), values));
        }
        Ok(Checkpoint {
            identity: self.identity.clone(),
            epoch: self.epoch,
            non_finite_epochs: self.non_finite_epochs,
            schedule: self.schedule.clone(),
            variables,
            optimizer: self.optimizer.state(),
        })
    }

    /// Takes up a checkpoint of the same run; from then on every result is bit for bit that of
    /// the uninterrupted run.
    ///
    /// # Errors
    /// What does not fit, in words. The trainer must not be used after an error.
    pub fn restore(&mut self, checkpoint: Checkpoint) -> Result<(), String> {
        self.take_up(checkpoint, &[])
    }

    /// As [`Trainer::restore`], from a checkpoint of a run that had another `lr`. Weights and the
    /// optimizer's memory are the checkpoint's. The schedule goes on at the same step of the
    /// curve it has with this run's `lr`; reductions that `reduce_on_plateau` has made stay, as a
    /// ratio of the rate. With the same `lr` this is [`Trainer::restore`].
    ///
    /// # Errors
    /// As [`Trainer::restore`].
    pub fn restore_at_own_lr(&mut self, checkpoint: Checkpoint) -> Result<(), String> {
        self.take_up(checkpoint, &[LR])
    }

    /// Goes on with another learning rate: at the same step of the curve that the schedule has with
    /// it. Nothing changes when it is the rate already.
    ///
    /// # Errors
    /// When the schedule cannot have this rate; the trainer goes on as it was then.
    pub fn set_lr(&mut self, lr: f64) -> Result<(), TrainError> {
        if self.schedule.lr() != lr {
            self.schedule = self.schedule.with_lr(lr)?;
            let text = hpo_study::Value::Float(lr).to_string();
            self.identity.insert(LR.to_owned(), text);
        }
        Ok(())
    }

    /// As [`Trainer::restore_at_own_lr`], from a checkpoint of another run on the same data with the same model, of which
    /// seed and hyperparameters may be others, too: what is learned by one member of a population and taken up by another.
    ///
    /// # Errors
    /// As [`Trainer::restore`].
    pub fn inherit(&mut self, checkpoint: Checkpoint) -> Result<(), String> {
        let names: Vec<String> = checkpoint
            .identity
            .keys()
            .chain(self.identity.keys())
            .cloned()
            .collect();
        let may_differ = |name: &&str| {
            *name == "seed" || *name == "batch size" || name.starts_with("parameter `")
        };
        let free: Vec<&str> = names
            .iter()
            .map(String::as_str)
            .filter(may_differ)
            .collect();
        self.take_up(checkpoint, &free)
    }

    fn take_up(&mut self, checkpoint: Checkpoint, free: &[&str]) -> Result<(), String> {
        checkpoint.check(&self.identity, free)?;
        if checkpoint.schedule.values() != self.schedule.values() {
            return Err("its schedule is another than the configuration's".to_owned());
        }
        if checkpoint.variables.len() != self.model.variables().len() {
            return Err("it has another number of variables than the model".to_owned());
        }
        let pairs = self.model.variables().iter().zip(checkpoint.variables);
        for ((name, variable), (saved, shape, values)) in pairs {
            if *name != saved || shape != variable.dims() {
                return Err(format!(
                    "it has `{saved}` of shape {shape:?} where the model has `{name}` of shape {:?}",
                    variable.dims()
                ));
            }
            candle_core::Tensor::from_vec(values, shape, variable.device())
                .and_then(|tensor| variable.set(&tensor))
                .map_err(|error| error.to_string())?;
        }
        self.optimizer
            .load(checkpoint.optimizer)
            .map_err(|error| error.to_string())?;
        let lr = self.schedule.lr();
        self.schedule = if checkpoint.schedule.lr() == lr {
            checkpoint.schedule
        } else {
            let schedule = checkpoint.schedule.with_lr(lr);
            schedule.map_err(|error| error.to_string())?
        };
        self.epoch = checkpoint.epoch;
        self.non_finite_epochs = checkpoint.non_finite_epochs;
        Ok(())
    }
}

/// Sums over validation rows.
#[derive(Default)]
struct Judged {
    loss: f64,
    right: f64,
    /// The squares of all outputs, and how many there are.
    squares: f64,
    outputs: usize,
}

impl Judged {
    fn add(&mut self, outputs: &candle_core::Tensor, part: &Part) -> candle_core::Result<()> {
        let rows = part.rows() as f64;
        let loss = match &part.truth {
            Truth::Classes(labels) => cross_entropy(outputs, labels, 0.0)?,
            Truth::Numbers(targets) => squared_error(outputs, targets)?,
        };
        let loss = f64::from(loss.to_scalar::<f32>()?);
        self.loss += loss * rows;
        self.squares += signals::norm(std::iter::once(outputs))?.powi(2);
        self.outputs += outputs.elem_count();
        // The largest of broken logits says nothing: none of them is right.
        if let (Truth::Classes(labels), true) = (&part.truth, loss.is_finite()) {
            self.right += accuracy(outputs, labels)? * rows;
        }
        Ok(())
    }

    fn metrics(&self, truth: &Truth, rows: f64, scale: f64) -> Vec<(&'static str, f64)> {
        let loss = self.loss / rows;
        match truth {
            Truth::Classes(_) => {
                let logit_norm = (self.squares / self.outputs as f64).sqrt();
                vec![
                    ("val_loss", loss),
                    ("val_accuracy", self.right / rows),
                    ("logit_norm", logit_norm),
                ]
            }
            Truth::Numbers(targets) => {
                let mut metrics = vec![("val_loss", loss), ("val_rmse", loss.sqrt() * scale)];
                // Undefined where all validation targets are equal: then it is left out.
                let variance = variance(targets);
                if variance > 0.0 {
                    metrics.push(("val_r2", 1.0 - loss / variance));
                }
                metrics
            }
        }
    }
}

/// The (population) variance of a tensor's values; 0 if they cannot be read.
fn variance(targets: &candle_core::Tensor) -> f64 {
    let values = targets
        .flatten_all()
        .and_then(|x| x.to_vec1::<f32>())
        .unwrap_or_default();
    let count = values.len().max(1) as f64;
    let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
    values
        .iter()
        .map(|&x| (f64::from(x) - mean).powi(2))
        .sum::<f64>()
        / count
}

fn identity(
    spec: &TrainerSpec,
    config: &Config,
    settings: &Settings,
    dataset: &Dataset,
    seed: u64,
    horizon: u64,
) -> Identity {
    let mut identity = Identity::from([
        ("seed".to_owned(), seed.to_string()),
        ("length in epochs".to_owned(), horizon.to_string()),
        (
            "data checksum".to_owned(),
            format!("{:08x}", dataset.checksum()),
        ),
        (
            "validation share".to_owned(),
            format!("{:?}", spec.validation),
        ),
        ("split seed".to_owned(), spec.split_seed.to_string()),
        ("batch size".to_owned(), settings.batch_size.to_string()),
        ("model".to_owned(), format!("{:?}", settings.architecture)),
    ]);
    for (name, value) in config {
        identity.insert(format!("parameter `{name}`"), value.to_string());
    }
    identity
}
