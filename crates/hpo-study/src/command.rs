//! A command study's argument vector: W&B's macros, expanded for one configuration.
//!
//! The meaning of every macro is that of wandb 0.31.0 (`create_sweep_command_args` in
//! `sdk/launch/sweeps/utils.py`, `Agent._command_run`): a macro is a whole item of the list; only `${envvar:NAME}`
//! may stand inside a text. Values are written as Python's `str` writes them (`True`, `None`,
//! `[128, 64]`), since that is what scripts written for W&B read.

use serde_json::Value as Json;

use hpo_recipe::{Config, Value};

use crate::spec::CommandJob;
use crate::study_file::nearest;

/// The macros' names, as they stand between `${` and `}`.
pub const MACROS: &[&str] = &[
    "env",
    "interpreter",
    "program",
    "args",
    "args_no_equals",
    "args_no_hyphens",
    "args_no_boolean_flags",
    "args_append_hydra",
    "args_override_hydra",
    "args_json",
    "args_json_file",
    "envvar:NAME",
];

const ENVVAR: &str = "${envvar:";

/// What of the world a command may need.
pub struct Surroundings<'a> {
    /// Looks up an environment variable.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// The file in which the configuration stands as JSON, for `${args_json_file}`; whoever runs
    /// the command has written it.
    pub args_json_file: &'a str,
}

/// What an item of a command is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// A text that stands for itself (environment variables in it apart).
    Plain,
    /// `${program}`.
    Program,
    /// Another macro.
    Macro,
}

/// What is wrong with an item of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misuse {
    /// There is no such macro.
    Unknown {
        /// What stands between `${` and `}`.
        name: String,
        /// The macro that looks most like it.
        nearest: Option<&'static str>,
    },
    /// A macro inside a longer text, where it is not replaced.
    Inside {
        /// The macro.
        name: String,
    },
}

/// Checks one item of a command before anything is run.
///
/// # Errors
/// When the item is an unknown macro, or has a macro inside a longer text.
pub fn check(item: &str) -> Result<Use, Misuse> {
    let whole = item
        .strip_prefix("${")
        .and_then(|rest| rest.strip_suffix('}'));
    if let Some(name) = whole.filter(|name| !name.contains(['$', '{', '}'])) {
        return match name {
            "program" => Ok(Use::Program),
            _ if MACROS.contains(&name) || name.starts_with("envvar:") => Ok(Use::Macro),
            _ => Err(Misuse::Unknown {
                name: name.to_owned(),
                nearest: nearest(name, MACROS.iter().copied())
                    .and_then(|near| MACROS.iter().copied().find(|m| *m == near)),
            }),
        };
    }
    let inside = MACROS
        .iter()
        .find(|name| item.contains(&format!("${{{name}}}")));
    inside.map_or(Ok(Use::Plain), |name| {
        Err(Misuse::Inside {
            name: (*name).to_owned(),
        })
    })
}

/// The command of a study that only names its program. A Python file runs as W&B runs it
/// (`/usr/bin/env python train.py --lr=0.1`); anything else is a program of its own, looked for
/// beside the study file when it looks like a file's name (`train.sh`), else on the `PATH`.
#[must_use]
pub fn default_command(program: &str) -> Vec<String> {
    let python = [".py", ".pyc", ".pyz"]
        .iter()
        .any(|ending| program.ends_with(ending));
    if python {
        return ["${env}", "${interpreter}", "${program}", "${args}"]
            .map(str::to_owned)
            .to_vec();
    }
    let first = if program.contains('.') && !program.contains('/') {
        format!("./{program}")
    } else {
        "${program}".to_owned()
    };
    vec![first, "${args}".to_owned()]
}

/// The argument vector for a configuration. Unknown macros, which [`check`] refuses, vanish.
#[must_use]
pub fn expand(job: &CommandJob, config: &Config, surroundings: &Surroundings<'_>) -> Vec<String> {
    let mut argv = Vec::with_capacity(job.command.len() + config.len());
    for item in &job.command {
        let item = with_variables(item, surroundings);
        match item
            .strip_prefix("${")
            .and_then(|rest| rest.strip_suffix('}'))
        {
            Some(name) => argv.extend(expand_macro(name, job, config, surroundings)),
            None => argv.push(item),
        }
    }
    argv
}

fn expand_macro(
    name: &str,
    job: &CommandJob,
    config: &Config,
    surroundings: &Surroundings<'_>,
) -> Vec<String> {
    let flags = |prefix: &str| -> Vec<String> {
        config
            .iter()
            .map(|(name, value)| format!("{prefix}{name}={}", python(value)))
            .collect()
    };
    match name {
        "env" => vec!["/usr/bin/env".to_owned()],
        "interpreter" => vec!["python".to_owned()],
        "program" => job.program.iter().cloned().collect(),
        "args" => flags("--"),
        "args_no_hyphens" => flags(""),
        "args_append_hydra" => flags("+"),
        "args_override_hydra" => flags("++"),
        "args_no_equals" => config
            .iter()
            .flat_map(|(name, value)| [format!("--{name}"), python(value)])
            .collect(),
        "args_no_boolean_flags" => config
            .iter()
            .filter_map(|(name, value)| match value {
                Value::Bool(false) => None,
                Value::Bool(true) => Some(format!("--{name}")),
                value => Some(format!("--{name}={}", python(value))),
            })
            .collect(),
        "args_json" => vec![json(config).to_string()],
        "args_json_file" => vec![surroundings.args_json_file.to_owned()],
        _ => Vec::new(),
    }
}

/// The configuration as a JSON object.
#[must_use]
pub fn json(config: &Config) -> Json {
    serde_json::to_value(config).unwrap_or(Json::Null)
}

/// Replaces `${envvar:NAME}`; a variable that is not set leaves its name, as in W&B.
fn with_variables(item: &str, surroundings: &Surroundings<'_>) -> String {
    let mut out = String::with_capacity(item.len());
    let mut rest = item;
    while let Some(start) = rest.find(ENVVAR) {
        let (before, macro_on) = rest.split_at(start);
        let after = &macro_on[ENVVAR.len()..];
        let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let Some(end) = end.filter(|end| after[*end..].starts_with('}')) else {
            out.push_str(before);
            out.push_str(ENVVAR);
            rest = after;
            continue;
        };
        let name = &after[..end];
        out.push_str(before);
        out.push_str(&(surroundings.variable)(name).unwrap_or_else(|| name.to_owned()));
        rest = &after[end + 1..];
    }
    out.push_str(rest);
    out
}

/// A value as Python's `str` writes it.
#[must_use]
pub fn python(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        other => python_repr(other),
    }
}

/// A value as Python's `repr` writes it.
fn python_repr(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Int(i) => i.to_string(),
        Value::Float(x) => python_float(*x),
        Value::Text(text) => {
            let quote = if text.contains('\'') && !text.contains('"') {
                '"'
            } else {
                '\''
            };
            let mut out = String::from(quote);
            for c in text.chars() {
                match c {
                    '\\' => out.push_str("\\\\"),
                    '\n' => out.push_str("\\n"),
                    '\r' => out.push_str("\\r"),
                    '\t' => out.push_str("\\t"),
                    c if c == quote => out.extend(['\\', c]),
                    c => out.push(c),
                }
            }
            out.push(quote);
            out
        }
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(python_repr).collect();
            format!("[{}]", items.join(", "))
        }
    }
}

/// A float as Python's `repr`: the shortest digits that read back, with an exponent of two digits
/// at least from 1e16 upwards and below 1e-4.
fn python_float(x: f64) -> String {
    if x.is_nan() {
        return "nan".to_owned();
    }
    if x.is_infinite() {
        return if x > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = format!("{x:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if x == 0.0 || (-4..16).contains(&exponent) {
        return format!("{x:?}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config::from_iter([
            ("lr", Value::Float(1e-5)),
            ("batch", Value::Int(64)),
            ("nesterov", Value::Bool(true)),
            ("amp", Value::Bool(false)),
            ("clip", Value::Null),
            ("hidden", Value::List(vec![Value::Int(128), "a'b".into()])),
            ("opt", "adam w".into()),
        ])
    }

    fn run(command: &[&str]) -> Vec<String> {
        let job = CommandJob {
            program: Some("train.py".into()),
            command: command.iter().map(|s| (*s).to_owned()).collect(),
        };
        let variable = |name: &str| (name == "HOME").then(|| "/home/x".to_owned());
        let surroundings = Surroundings {
            variable: &variable,
            args_json_file: "p.json",
        };
        expand(&job, &config(), &surroundings)
    }

    #[test]
    fn the_default_command_is_wandbs() {
        let argv = run(&["${env}", "${interpreter}", "${program}", "${args}"]);
        let expected = [
            "/usr/bin/env",
            "python",
            "train.py",
            "--amp=False",
            "--batch=64",
            "--clip=None",
            "--hidden=[128, \"a'b\"]",
            "--lr=1e-05",
            "--nesterov=True",
            "--opt=adam w",
        ];
        assert_eq!(argv, expected);
    }

    #[test]
    fn every_form_of_arguments() {
        assert_eq!(run(&["${args_no_hyphens}"])[1], "batch=64");
        assert_eq!(run(&["${args_append_hydra}"])[1], "+batch=64");
        assert_eq!(run(&["${args_override_hydra}"])[1], "++batch=64");
        assert_eq!(run(&["${args_no_equals}"])[2..4], ["--batch", "64"]);
        let flags = run(&["${args_no_boolean_flags}"]);
        assert!(flags.contains(&"--nesterov".to_owned()), "{flags:?}");
        assert!(!flags.iter().any(|f| f.contains("amp")), "{flags:?}");
        assert_eq!(run(&["${args_json_file}"]), ["p.json"]);
        let json: Config = serde_json::from_str(&run(&["${args_json}"])[0]).unwrap();
        assert_eq!(json, config());
    }

    #[test]
    fn environment_variables_stand_anywhere() {
        assert_eq!(
            run(&[
                "--out=${envvar:HOME}/x",
                "${envvar:NOT_SET}",
                "${envvar:",
                "$HOME"
            ]),
            ["--out=/home/x/x", "NOT_SET", "${envvar:", "$HOME"]
        );
    }

    #[test]
    fn programs_that_are_not_python_run_themselves() {
        assert_eq!(default_command("a/train.py")[1], "${interpreter}");
        assert_eq!(default_command("train.sh"), ["./train.sh", "${args}"]);
        assert_eq!(default_command("./bin/train"), ["${program}", "${args}"]);
        assert_eq!(default_command("trainer"), ["${program}", "${args}"]);
    }

    #[test]
    fn unknown_and_misplaced_macros_are_found() {
        let Err(Misuse::Unknown { nearest, .. }) = check("${arg}") else {
            panic!()
        };
        assert_eq!(nearest, Some("args"));
        assert_eq!(
            check("--x=${args}"),
            Err(Misuse::Inside {
                name: "args".into()
            })
        );
        assert_eq!(check("echo ${HOME} done"), Ok(Use::Plain));
        assert_eq!(check("${program}"), Ok(Use::Program));
        assert_eq!(check("${envvar:HOME}"), Ok(Use::Macro));
    }

    #[test]
    fn floats_are_pythons() {
        // python3 -c "print([str(x) for x in (1e-4, 1e-5, .1, 2., 1e16, 1.5e300, 123456789.5, -0.)])"
        let texts = [1e-4, 1e-5, 0.1, 2.0, 1e16, 1.5e300, 123_456_789.5, -0.0].map(python_float);
        let expected = [
            "0.0001",
            "1e-05",
            "0.1",
            "2.0",
            "1e+16",
            "1.5e+300",
            "123456789.5",
            "-0.0",
        ];
        assert_eq!(texts, expected);
    }
}
