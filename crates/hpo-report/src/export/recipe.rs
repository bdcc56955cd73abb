//! A trial's configuration, read as an optimizer, a schedule, and the rest.

use std::collections::BTreeMap;

use hpo_recipe::optimizer::{OptimizerKind, OptimizerSetting};
use hpo_recipe::schedule::{Schedule, ScheduleKind, WARMUP};
use hpo_recipe::{Config, Horizon, Value};
use hpo_study::{History, Job, Trial};

use super::ExportError;

/// What a program for a training library is made from.
pub(super) struct Recipe {
    pub(super) optimizer: OptimizerSetting,
    pub(super) schedule: Schedule,
    /// `None` for full-batch gradient descent.
    pub(super) batch_size: Option<u64>,
    pub(super) clip_norm: Option<f64>,
    /// Epochs of the trial, where the study knows them.
    pub(super) epochs: u64,
    /// Parameters that are neither the optimizer's nor the schedule's.
    pub(super) others: Config,
    /// What the reader should know.
    pub(super) notes: Vec<String>,
}

/// Names under which training scripts know the catalogue's hyperparameters.
const ALIASES: [(&str, &str); 23] = [
    ("optim", "optimizer"),
    ("opt", "optimizer"),
    ("learning_rate", "lr"),
    ("init_lr", "lr"),
    ("initial_lr", "lr"),
    ("max_lr", "lr"),
    ("scheduler", "schedule"),
    ("lr_scheduler", "schedule"),
    ("lr_schedule", "schedule"),
    ("lr_scheduler_type", "schedule"),
    ("beta_1", "beta1"),
    ("adam_beta1", "beta1"),
    ("beta_2", "beta2"),
    ("adam_beta2", "beta2"),
    ("epsilon", "eps"),
    ("adam_epsilon", "eps"),
    ("wd", "weight_decay"),
    ("warmup_ratio", "warmup_fraction"),
    ("bs", "batch_size"),
    ("batch", "batch_size"),
    ("grad_clip", "clip_norm"),
    ("max_grad_norm", "clip_norm"),
    ("clipnorm", "clip_norm"),
];

impl Recipe {
    pub(super) fn read(history: &History, trial: &Trial) -> Result<Self, ExportError> {
        let wrong = |error| ExportError::Recipe {
            trial: trial.id.0,
            error,
        };
        let mut notes = Vec::new();
        let own = matches!(history.spec().job, Job::Trainer(_));
        let config = if own {
            trial.config.clone()
        } else {
            canonical(&trial.config)
        };
        if config.get("optimizer").is_none() {
            return Err(ExportError::NoOptimizer { trial: trial.id.0 });
        }
        if !own && config.get("lr").is_none() {
            notes.push(
                "The learning rate was not searched: this is the catalogue's default.".to_owned(),
            );
        }
        let optimizer = OptimizerSetting::from_config(&config).map_err(wrong)?;
        let momentum = optimizer
            .facts()
            .momentum_name
            .map(|name| optimizer.number(name));
        let epochs = history
            .spec()
            .max_steps()
            .or(trial.curve.last_step())
            .unwrap_or(10)
            .max(1);
        // Code is written for any length of run; this one only has to be a possible one.
        let horizon = Horizon {
            total_steps: epochs.saturating_mul(100),
            steps_per_epoch: 100,
        };
        let schedule = Schedule::from_config(&config, optimizer.number("lr"), momentum, horizon)
            .map_err(wrong)?;
        let batch_size = config.get("batch_size").and_then(Value::as_i64);
        let batch_size = batch_size
            .and_then(|b| u64::try_from(b).ok())
            .filter(|b| *b > 0);
        let default = match &history.spec().job {
            Job::Trainer(trainer) => trainer.batch_size,
            Job::Command(_) => 64,
        };
        if batch_size.is_none() && !own && !optimizer.facts().full_batch {
            notes.push("The batch size was not searched: put yours.".to_owned());
        }
        Ok(Self {
            batch_size: (!optimizer.facts().full_batch).then_some(batch_size.unwrap_or(default)),
            clip_norm: config
                .number("clip_norm")
                .filter(|c| *c > 0.0 && c.is_finite()),
            epochs,
            others: others(&config, &optimizer, &schedule),
            optimizer,
            schedule,
            notes,
        })
    }
}

/// What neither the optimizer nor the schedule took.
fn others(config: &Config, optimizer: &OptimizerSetting, schedule: &Schedule) -> Config {
    let taken = |name: &str| {
        ["optimizer", "schedule", "batch_size", "clip_norm"].contains(&name)
            || optimizer.values().get(name).is_some()
            || schedule.values().get(name).is_some()
    };
    let rest = config.iter().filter(|(name, _)| !taken(name));
    rest.map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// The configuration of a user's script in the catalogue's words, as far as they can be told.
pub(super) fn canonical(config: &Config) -> Config {
    // By the catalogue's names: which of the script's stands for each. What is the catalogue's own goes before what
    // only looks like it, and that before what is called otherwise, in the order of the list.
    let mut named: BTreeMap<String, (usize, &str)> = BTreeMap::new();
    for (name, _) in config {
        let plain = name.to_lowercase().replace(['-', '.', ' '], "_");
        let alias = ALIASES.iter().position(|(alias, _)| *alias == plain);
        let (ours, rank) = match alias {
            _ if is_known(name) => (name.clone(), 0),
            Some(i) => (ALIASES[i].1.to_owned(), i + 2),
            None if is_known(&plain) => (plain, 1),
            None => continue,
        };
        let best = named.entry(ours).or_insert((rank, name));
        if rank < best.0 {
            *best = (rank, name);
        }
    }
    let mut renamed = config.clone();
    for (ours, (_, name)) in named {
        if let Some(value) = renamed.remove(name) {
            renamed.set(ours, value);
        }
    }
    for name in ["optimizer", "schedule"] {
        if let Some(text) = renamed.text(name).map(str::to_lowercase) {
            renamed.set(name, Value::Text(catalogue_name(name, &text)));
        }
    }
    split_betas(&mut renamed);
    // One `sgd` with a momentum argument is how PyTorch and Keras have it.
    if renamed.text("optimizer") == Some("sgd") {
        let momentum = renamed.number("momentum").is_some_and(|m| m > 0.0);
        let nesterov = renamed.flag("nesterov") == Some(true);
        if momentum {
            renamed.set("optimizer", if nesterov { "nesterov" } else { "momentum" });
            renamed.remove("nesterov");
        }
    }
    renamed
}

fn is_known(name: &str) -> bool {
    let optimizers = OptimizerKind::ALL
        .iter()
        .flat_map(|k| k.facts().hyperparameters);
    let schedules = ScheduleKind::ALL
        .iter()
        .flat_map(|k| k.facts().hyperparameters);
    ["optimizer", "schedule", "batch_size", "clip_norm"].contains(&name)
        || optimizers
            .chain(schedules)
            .chain(WARMUP)
            .any(|knob| knob.name == name)
}

/// `AdamW`, `rms_prop` → `adamw`, `rmsprop`; names that are not the catalogue's stay.
fn catalogue_name(what: &str, text: &str) -> String {
    let bare = |name: &str| name.replace(['_', '-', ' '], "");
    let wanted = bare(text);
    let optimizers = OptimizerKind::ALL.iter().map(|k| k.name());
    let schedules = ScheduleKind::ALL.iter().map(|k| k.name());
    let found = match what {
        "optimizer" => optimizers.into_iter().find(|name| bare(name) == wanted),
        _ => schedules.into_iter().find(|name| bare(name) == wanted),
    };
    found.map_or_else(|| text.to_owned(), str::to_owned)
}

/// `betas: [0.9, 0.999]`, as PyTorch has it, into `beta1` and `beta2`.
fn split_betas(config: &mut Config) {
    let Some([beta1, beta2]) = config.get("betas").and_then(Value::as_list) else {
        return;
    };
    let (beta1, beta2) = (beta1.clone(), beta2.clone());
    if config.get("beta1").is_none() && config.get("beta2").is_none() {
        config.set("beta1", beta1);
        config.set("beta2", beta2);
        config.remove("betas");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, Value)]) -> Config {
        canonical(&pairs.iter().cloned().collect())
    }

    #[test]
    fn the_usual_names_are_understood() {
        let config = read(&[
            ("Optimizer", "AdamW".into()),
            ("learning-rate", 0.01.into()),
            ("betas", Value::List(vec![0.9.into(), 0.99.into()])),
            ("WD", 0.1.into()),
            ("lr_scheduler", "One-Cycle".into()),
            ("dropout", 0.5.into()),
        ]);
        assert_eq!(
            config.to_string(),
            "beta1=0.9 beta2=0.99 dropout=0.5 lr=0.01 optimizer=adamw schedule=one_cycle weight_decay=0.1"
        );
    }

    #[test]
    fn sgd_with_momentum_is_momentum() {
        let sgd = |more: &[(&str, Value)]| {
            let mut pairs = vec![("optimizer", "SGD".into())];
            pairs.extend_from_slice(more);
            read(&pairs).text("optimizer").unwrap().to_owned()
        };
        assert_eq!(sgd(&[]), "sgd");
        assert_eq!(sgd(&[("momentum", 0.0.into())]), "sgd");
        assert_eq!(sgd(&[("momentum", 0.9.into())]), "momentum");
        assert_eq!(
            sgd(&[("momentum", 0.9.into()), ("nesterov", true.into())]),
            "nesterov"
        );
    }

    #[test]
    fn the_catalogues_own_name_goes_first() {
        let config = read(&[("lr", 0.1.into()), ("learning_rate", 0.2.into())]);
        assert_eq!(
            (config.number("lr"), config.number("learning_rate")),
            (Some(0.1), Some(0.2))
        );
    }
    #[test]
    fn of_two_names_for_one_thing_the_other_stays_among_the_rest() {
        let config = read(&[
            ("init_lr", 0.1.into()),
            ("learning_rate", 0.2.into()),
            ("max_lr", 0.5.into()),
            ("Optimizer", "sgd".into()),
        ]);
        assert_eq!(
            config.to_string(),
            "init_lr=0.1 lr=0.2 max_lr=0.5 optimizer=sgd"
        );
    }
}
