//! A study file proposed for a program that was never written for one: from its options, and a log if there is one.

mod help;
mod write;

use hpo_recipe::{OptimizerKind, Scale, Search};

pub use help::{ProgramOption, options};
pub use write::{METHOD, Proposal, Wish, propose};

/// What an option is about, as far as its name says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    LearningRate,
    Optimizer,
    /// A knob of the catalogue, by its name there.
    Knob(&'static str),
    BatchSize,
    Epochs,
    Schedule,
    Seed,
    Dropout,
}

const ROLES: &[(Role, &[&str])] = &[
    (
        Role::LearningRate,
        &[
            "lr",
            "learning_rate",
            "learningrate",
            "base_lr",
            "init_lr",
            "initial_lr",
            "max_lr",
            "peak_lr",
            "eta",
            "lrate",
        ],
    ),
    (Role::Optimizer, &["optimizer", "optim", "opt", "optimiser"]),
    (Role::Knob("momentum"), &["momentum", "sgd_momentum", "mom"]),
    (
        Role::Knob("beta1"),
        &["beta1", "beta_1", "adam_beta1", "b1"],
    ),
    (
        Role::Knob("beta2"),
        &["beta2", "beta_2", "adam_beta2", "b2"],
    ),
    (
        Role::Knob("weight_decay"),
        &["weight_decay", "wd", "weightdecay", "decay_weight"],
    ),
    (
        Role::BatchSize,
        &[
            "batch_size",
            "batchsize",
            "bs",
            "batch",
            "train_batch_size",
            "per_device_train_batch_size",
            "minibatch_size",
        ],
    ),
    (
        Role::Epochs,
        &[
            "epochs",
            "epoch",
            "num_epochs",
            "n_epochs",
            "max_epochs",
            "number_epochs",
            "num_train_epochs",
            "nepochs",
            "nb_epoch",
            "nb_epochs",
            "num_rounds",
            "n_epoch",
        ],
    ),
    (
        Role::Schedule,
        &[
            "scheduler",
            "lr_scheduler",
            "lr_schedule",
            "schedule",
            "sched",
            "lr_scheduler_type",
            "learning_rate_schedule",
        ],
    ),
    (
        Role::Seed,
        &[
            "seed",
            "random_seed",
            "manual_seed",
            "rng_seed",
            "random_state",
        ],
    ),
    (
        Role::Dropout,
        &[
            "dropout",
            "drop",
            "dropout_rate",
            "drop_rate",
            "dropout_prob",
            "attention_dropout",
            "hidden_dropout",
        ],
    ),
];

/// What an option is about; `None`: its name says nothing.
fn role(option: &ProgramOption) -> Option<Role> {
    let key = option.key();
    ROLES
        .iter()
        .find(|(_, names)| names.contains(&key.as_str()))
        .map(|(role, _)| *role)
}

/// The widest range that the catalogue recommends for a knob, over all optimizers.
fn catalogue_range(name: &str) -> Option<(f64, f64, Scale)> {
    let knobs = OptimizerKind::ALL
        .iter()
        .flat_map(|kind| kind.facts().hyperparameters)
        .filter(|knob| knob.name == name);
    let mut range: Option<(f64, f64, Scale)> = None;
    for knob in knobs {
        if let Some(Search::Range { low, high, scale }) = knob.search {
            range = Some(match range {
                Some((a, b, s)) if s == scale => (low.min(a), high.max(b), scale),
                Some(first) => first,
                None => (low, high, scale),
            });
        }
    }
    range
}
