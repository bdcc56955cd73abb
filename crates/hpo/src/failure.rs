//! How a command ends, well or badly.

use std::fmt::Display;

use hpo_report::text::printable_lines;

use crate::output::{self, words};

/// The program's exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// The study has no completed trial.
    NoResult = 1,
    /// Wrong usage, or a wrong study file.
    Usage = 2,
    /// Stopped early by the user.
    Stopped = 3,
    /// The store or the machine refused.
    Trouble = 4,
}

/// Why a command could not do what it was asked for.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    message: String,
    hint: Option<String>,
}

impl Failure {
    /// The user has to change something.
    pub(crate) fn usage(message: impl Display) -> Self {
        Self {
            exit: Exit::Usage,
            message: message.to_string(),
            hint: None,
        }
    }

    /// There is no completed trial.
    pub(crate) fn no_result(message: impl Display) -> Self {
        Self {
            exit: Exit::NoResult,
            message: message.to_string(),
            hint: None,
        }
    }

    /// The store or the machine refused.
    pub(crate) fn trouble(message: impl Display) -> Self {
        Self {
            exit: Exit::Trouble,
            message: message.to_string(),
            hint: None,
        }
    }

    /// Everything has been said already; only the exit code is left.
    pub(crate) fn silent(exit: Exit) -> Self {
        Self {
            exit,
            message: String::new(),
            hint: None,
        }
    }

    /// What to do about it.
    pub(crate) fn hint(mut self, hint: impl Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    /// Says it, as a warning: something else goes on.
    pub(crate) fn warn(&self) {
        let message = printable_lines(&self.message);
        words!("{}: {message}", output::yellow("warning"));
    }

    pub(crate) fn show(&self) {
        if !self.message.is_empty() {
            words!(
                "{}: {}",
                output::red("error"),
                printable_lines(&self.message)
            );
        }
        if let Some(hint) = &self.hint {
            words!("{}: {}", output::blue("hint"), printable_lines(hint));
        }
    }
}
