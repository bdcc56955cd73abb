//! What can be wrong with a source.

use std::path::Path;

use thiserror::Error;

/// A source that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct ImportError {
    message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl ImportError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
        }
    }

    pub(crate) fn file(path: &Path, error: &std::io::Error) -> Self {
        let shown = path.display();
        match error.kind() {
            std::io::ErrorKind::NotFound => Self::new(format!("there is no {shown}")).hint(
                "a source is a study directory, an Optuna database (SQLite), a CSV or a JSON file",
            ),
            _ => Self::new(format!("{shown} cannot be read: {error}")),
        }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }
}
