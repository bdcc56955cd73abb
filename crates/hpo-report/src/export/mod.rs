//! A trial's configuration in the language of the training code.
//!
//! One format is one file. A new one is a file, its `mod` line, a variant of [`Format`] and the
//! arms the compiler then asks for.

mod args;
mod env;
mod json;
mod keras;
mod lineage;
mod python;
mod pytorch;
mod recipe;
pub(crate) mod yaml;

use std::fmt;
use std::str::FromStr;

use hpo_recipe::RecipeError;
use hpo_study::{History, Trial};
use thiserror::Error;

pub use lineage::{Stretch, stretches};

/// A language in which a configuration can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The parameters as a YAML map.
    Yaml,
    /// The trial as a JSON object: number, value, parameters, metrics.
    Json,
    /// Command-line arguments, quoted for a shell.
    Args,
    /// Shell assignments.
    Env,
    /// A PyTorch program.
    Pytorch,
    /// A Keras program.
    Keras,
}

impl Format {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::Yaml,
        Self::Json,
        Self::Args,
        Self::Env,
        Self::Pytorch,
        Self::Keras,
    ];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Yaml => "yaml",
            Self::Json => "json",
            Self::Args => "args",
            Self::Env => "env",
            Self::Pytorch => "pytorch",
            Self::Keras => "keras",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let names: Vec<&str> = Self::ALL.iter().map(|f| f.name()).collect();
        let found = Self::ALL.iter().copied().find(|f| f.name() == name);
        found.ok_or_else(|| format!("the formats are {}", names.join(", ")))
    }
}

/// Why a configuration cannot be written in a format.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ExportError {
    /// The configuration names no optimizer, and the format is about optimizers.
    #[error("trial {trial} has no parameter `optimizer`, so there is no optimizer to write")]
    NoOptimizer {
        /// The trial.
        trial: u32,
    },
    /// The configuration does not describe an optimizer and a schedule of the catalogue.
    #[error("the configuration of trial {trial} is not one of the catalogue: {error}")]
    Recipe {
        /// The trial.
        trial: u32,
        /// What is wrong.
        error: RecipeError,
    },
    /// Its values changed while it trained, and the format has one for each parameter.
    #[error(
        "the values of trial {trial} changed while it was trained, and this format has one for each parameter"
    )]
    Changing {
        /// The trial.
        trial: u32,
    },
    /// Its values changed while a learning-rate schedule ran.
    #[error(
        "the values of trial {trial} changed while a learning-rate schedule ran, and no program follows both"
    )]
    ChangingSchedule {
        /// The trial.
        trial: u32,
    },
    /// Two parameters would become the same shell variable.
    #[error("`{first}` and `{second}` would both become the shell variable `{variable}`")]
    SameVariable {
        /// A parameter.
        first: String,
        /// The other one.
        second: String,
        /// The variable.
        variable: String,
    },
}

impl ExportError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoOptimizer { .. } => {
                "name the parameters as the catalogue does (`optimizer`, `lr`, `momentum`, `schedule`, …), \
                 or take yaml, json, args or env, which write any parameters"
            }
            Self::Changing { .. } => {
                "json and yaml have what it was trained with at which step; pytorch and keras write a program that \
                 follows it"
            }
            Self::ChangingSchedule { .. } => {
                "json and yaml have what it was trained with at which step"
            }
            Self::Recipe { .. } | Self::SameVariable { .. } => {
                "yaml, json and args write any parameters"
            }
        }
    }
}

/// Writes a trial's configuration. The text ends in a newline.
///
/// # Errors
/// See [`ExportError`]; yaml, json and args can write every configuration.
pub fn export(history: &History, trial: &Trial, format: Format) -> Result<String, ExportError> {
    match format {
        Format::Yaml => Ok(yaml::write(history, trial)),
        Format::Json => Ok(json::write(history, trial)),
        Format::Args => {
            lineage::constant(history, trial)?;
            Ok(args::write(history.spec(), trial))
        }
        Format::Env => {
            lineage::constant(history, trial)?;
            env::write(trial)
        }
        Format::Pytorch => pytorch::write(history, trial),
        Format::Keras => keras::write(history, trial),
    }
}

/// `trial 17 of digits: val_accuracy = 0.9778 (larger is better)`; with several objectives all of them.
fn headline(history: &History, trial: &Trial) -> String {
    if history.spec().has_several() {
        let words = crate::front::words(history, trial);
        return format!("trial {} of {}: {words}", trial.id, history.spec().name);
    }
    let metric = &history.spec().metric;
    let direction = match metric.goal {
        hpo_study::Goal::Minimize => "smaller is better",
        hpo_study::Goal::Maximize => "larger is better",
    };
    let value = trial
        .value()
        .map_or_else(|| "no value".to_owned(), crate::number::short);
    let mut text = format!(
        "trial {} of {}: {} = {value} ({direction})",
        trial.id,
        history.spec().name,
        metric.name
    );
    if let Some(words) = crate::repeats::words(trial) {
        text += "; ";
        text += &words;
    }
    if let Some(words) = crate::confirmations::words(history, trial) {
        text += "; ";
        text += &words;
    }
    // The value was not reached with this configuration from the beginning.
    for rescue in &trial.rescues {
        text += "; ";
        text += &crate::trials::rescue_words(rescue);
    }
    for change in &trial.changes {
        text += "; ";
        text += &crate::trials::change_words(change);
    }
    text
}

/// Quotes a word for a POSIX shell, if it needs that.
#[must_use]
pub fn shell_quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./=:,+@%^".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;
    use hpo_study::{Config, Value};

    #[test]
    fn every_format_has_its_own_name() {
        for format in Format::ALL {
            assert_eq!(format.name().parse(), Ok(*format));
        }
        assert!("toml".parse::<Format>().unwrap_err().contains("pytorch"));
    }

    #[test]
    fn every_format_writes_the_best_of_a_study() {
        let history = sample::study();
        let best = history.best().unwrap();
        for format in Format::ALL {
            insta::assert_snapshot!(format.name(), export(&history, best, *format).unwrap());
        }
    }

    #[test]
    fn awkward_values_survive() {
        let history = sample::study();
        let mut trial = history.trials()[0].clone();
        let mut config = Config::new();
        for (name, value) in [
            ("tiny", Value::Float(1e-5)),
            ("huge", Value::Float(-2.5e20)),
            ("none", Value::Null),
            ("yes", Value::Bool(true)),
            ("word", "no".into()),
            ("number_text", "1e-5".into()),
            ("time", "12:30:00".into()),
            ("quotes", "it's \"$HOME\" `x`".into()),
            ("lines", "a\n- 1e-5\n".into()),
            ("empty", "".into()),
            (
                "list",
                Value::List(vec![Value::Int(64), Value::Float(1e-7), "relu".into()]),
            ),
            ("strange name", Value::Int(1)),
        ] {
            config.set(name, value);
        }
        trial.config = config;
        for format in [Format::Yaml, Format::Args, Format::Env, Format::Json] {
            let name = format!("awkward_{format}");
            insta::assert_snapshot!(name, export(&history, &trial, format).unwrap());
        }
    }

    #[test]
    fn arguments_are_those_of_the_study() {
        let text = |command: &str| {
            format!(
                "program: t.py\ncommand: {command}\nmethod: random\nrun_cap: 1\nmetric: {{name: loss}}\n\
                 parameters: {{lr: {{values: [0.1]}}, model: {{parameters: {{width: {{values: [8]}}}}}}}}\n"
            )
        };
        let written = |command: &str| {
            let source = hpo_study::study_file::Source {
                file: "s.yaml".into(),
                directory: "/".into(),
            };
            let checked = hpo_study::study_file::read(&text(command), &source);
            let mut trial = sample::study().trials()[0].clone();
            trial.config = Config::new();
            trial.config.set("lr", 0.1);
            trial.config.set("model.width", 8_i64);
            args::write(&checked.spec.unwrap(), &trial)
        };
        for (command, expected) in [
            (
                "[python, t.py, '${args}']",
                "--lr=0.1 '--model={'\\''width'\\'': 8}'\n",
            ),
            (
                "[python, t.py, '${args_append_hydra}']",
                "+lr=0.1 +model.width=8\n",
            ),
            (
                "[python, t.py, '--rate=${param:lr}', '${args_no_equals}']",
                "--rate=0.1 --model '{'\\''width'\\'': 8}'\n",
            ),
            (
                "[t.sh, '${trial_dir}/${param:lr}', '${args_json_file}']",
                "'{\"lr\":0.1,\"model\":{\"width\":8}}'\n",
            ),
            ("[t.sh]", "--lr=0.1 '--model={'\\''width'\\'': 8}'\n"),
        ] {
            assert_eq!(written(command), expected, "{command}");
        }
    }

    #[test]
    fn what_cannot_be_written_is_said_with_a_hint() {
        let history = sample::study();
        let mut trial = history.trials()[0].clone();
        trial.config = Config::from_iter([("a-b", 1_i64), ("a_b", 2)]);
        let error = export(&history, &trial, Format::Env).unwrap_err();
        assert!(error.to_string().contains("a_b"), "{error}");
        let error = export(&history, &trial, Format::Keras).unwrap_err();
        assert_eq!(error, ExportError::NoOptimizer { trial: 0 });
        assert!(error.hint().contains("yaml"));
        trial.config = Config::from_iter([("optimizer", "lion")]);
        let error = export(&history, &trial, Format::Pytorch).unwrap_err();
        assert!(error.to_string().contains("lion"), "{error}");
    }
}
