//! What can go wrong in a training run, said so that the reader can act on it.

use std::path::{Path, PathBuf};

/// Why a training run could not start, go on, or end well.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The trainer's settings make no sense together, or the environment lacks something.
    #[error("{message}")]
    Settings {
        /// What is wrong.
        message: String,
        /// What to do about it.
        hint: String,
    },
    /// A parameter of the configuration has a value the trainer cannot use.
    #[error("parameter `{name}` is {value}, but must be {allowed}")]
    Parameter {
        /// The parameter's name.
        name: String,
        /// The value it has, as people read it.
        value: String,
        /// What it may be.
        allowed: String,
    },
    /// The optimizer or the schedule refused the configuration.
    #[error(transparent)]
    Recipe(#[from] hpo_recipe::RecipeError),
    /// The data set cannot be used.
    #[error("data set {name}: {message}")]
    Data {
        /// The file or the name of the data set.
        name: String,
        /// What is wrong, with row and column where there is one.
        message: String,
        /// What to do about it.
        hint: String,
    },
    /// A checkpoint cannot be used: it is damaged, or it belongs to another run.
    #[error("checkpoint {}: {message}", path.display())]
    Checkpoint {
        /// The checkpoint file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried, as in "cannot … the file".
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The training loss was not finite for [`crate::run::NON_FINITE_EPOCHS`] epochs in a row.
    #[error("diverged: loss is not finite (epochs {first} to {last})")]
    Diverged {
        /// The first of the epochs, counted from 1.
        first: u64,
        /// The last of the epochs.
        last: u64,
    },
    /// A tensor operation failed. This is a fault of the trainer, not of its input.
    #[error("tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
}

impl TrainError {
    /// A short, stable word for the kind of error, for logs and JSON.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Settings { .. } => "settings",
            Self::Parameter { .. } => "parameter",
            Self::Recipe(_) => "recipe",
            Self::Data { .. } => "data",
            Self::Checkpoint { .. } => "checkpoint",
            Self::File { .. } => "file",
            Self::Diverged { .. } => "diverged",
            Self::Tensor(_) => "tensor",
        }
    }

    /// What the reader can do about it, if there is something to say.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Settings { hint, .. } | Self::Data { hint, .. } => {
                (!hint.is_empty()).then(|| hint.clone())
            }
            Self::Checkpoint { .. } => Some(
                "resume only from a checkpoint that the same configuration, seed and data wrote; \
                 or start the trial afresh without HPO_RESUME_FROM"
                    .to_owned(),
            ),
            Self::Diverged { .. } => {
                Some("a lower `lr`, a warm-up or `clip_norm` usually helps".to_owned())
            }
            _ => None,
        }
    }

    pub(crate) fn settings(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Settings {
            message: message.into(),
            hint: hint.into(),
        }
    }

    pub(crate) fn checkpoint(path: &Path, message: impl Into<String>) -> Self {
        Self::Checkpoint {
            path: path.to_owned(),
            message: message.into(),
        }
    }

    pub(crate) fn file(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::File {
            action,
            path: path.to_owned(),
            source,
        }
    }
}
