//! A command study's argument vector: W&B's macros, expanded for one configuration.
//!
//! The meaning of every macro is that of wandb 0.31.0 (`create_sweep_command_args` in
//! `sdk/launch/sweeps/utils.py`, `Agent._command_run`): a macro is a whole item of the list; only `${envvar:NAME}`
//! may stand inside a text. Of our own there are `${args_single_hyphen}` and the macros that may stand inside a text
//! ([`INLINE`]). Values are written as Python's `str` writes them (`True`, `None`,
//! `[128, 64]`), since that is what scripts written for W&B read.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json};

use hpo_recipe::{Config, Value};

use crate::spec::CommandJob;
use crate::study_file::nearest;

/// Macros that stand for any number of arguments: only as a whole item of the list (anywhere in a shell text).
pub const WHOLE: &[&str] = &[
    "env",
    "interpreter",
    "program",
    "args",
    "args_no_equals",
    "args_no_hyphens",
    "args_no_boolean_flags",
    "args_single_hyphen",
    "args_append_hydra",
    "args_override_hydra",
    "args_json",
    "args_json_file",
];

/// Macros that may stand inside a text, too.
pub const INLINE: &[&str] = &[
    "envvar:NAME",
    "param:NAME",
    "trial_dir",
    "checkpoint_dir",
    "trial",
    "seed",
    "budget",
];

const ENVVAR: &str = "envvar:";
const PARAM: &str = "param:";

/// What of the world a command may need.
pub struct Surroundings<'a> {
    /// Looks up an environment variable.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// What `${interpreter}` becomes.
    pub interpreter: &'a str,
    /// What `${program}` becomes, if it is not the study file's word.
    pub program: Option<&'a str>,
    /// The file in which the configuration stands as JSON, for `${args_json_file}`; whoever runs
    /// the command has written it.
    pub args_json_file: &'a str,
    /// The trial's own directory.
    pub trial_dir: &'a str,
    /// Its directory for checkpoints.
    pub checkpoint_dir: &'a str,
    /// The trial's number.
    pub trial: u32,
    /// Its seed.
    pub seed: u32,
    /// The step up to which it is to run this time, else its full length, where one is known.
    pub budget: Option<u64>,
}

/// What an item of a command is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// A text that stands for itself (inline macros in it apart).
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
    /// A macro in single quotes of a shell text, where the shell replaces nothing.
    Quoted {
        /// The macro.
        name: String,
    },
}

/// The macros' names, as they stand between `${` and `}`.
#[must_use]
pub fn macros() -> Vec<&'static str> {
    WHOLE.iter().chain(INLINE).copied().collect()
}

/// Checks one item of a command before anything is run.
///
/// # Errors
/// When the item is an unknown macro, or has a macro inside a longer text that is not replaced there.
pub fn check(item: &str) -> Result<Use, Misuse> {
    let whole = whole_macro(item);
    if let Some(name) = whole {
        return match name {
            "program" => Ok(Use::Program),
            _ if is_macro(name) => Ok(Use::Macro),
            _ => Err(Misuse::Unknown {
                name: name.to_owned(),
                nearest: nearest_macro(name),
            }),
        };
    }
    let inside = WHOLE
        .iter()
        .find(|name| item.contains(&format!("${{{name}}}")));
    inside.map_or(Ok(Use::Plain), |name| {
        Err(Misuse::Inside {
            name: (*name).to_owned(),
        })
    })
}

/// Checks a shell text before anything is run. The shell has `${…}` of its own, so an unknown name is no mistake.
///
/// # Errors
/// When a macro stands in single quotes.
pub fn check_shell(text: &str) -> Result<(), Misuse> {
    for part in parts(text) {
        if let Part::Macro { name, quoting } = part
            && quoting == Quoting::Single
        {
            return Err(Misuse::Quoted {
                name: name.to_owned(),
            });
        }
    }
    Ok(())
}

/// The parameters that an item asks for by `${param:NAME}`.
pub fn parameters_named(item: &str) -> impl Iterator<Item = &str> {
    parts(item).into_iter().filter_map(|part| match part {
        Part::Macro { name, .. } => name.strip_prefix(PARAM),
        Part::Text(_) => None,
    })
}

fn whole_macro(item: &str) -> Option<&str> {
    let name = item.strip_prefix("${")?.strip_suffix('}')?;
    (!name.contains(['$', '{', '}'])).then_some(name)
}

fn is_inline(name: &str) -> bool {
    INLINE.contains(&name) && !name.contains(':')
        || name.strip_prefix(ENVVAR).is_some_and(is_variable)
        || name
            .strip_prefix(PARAM)
            .is_some_and(|name| !name.is_empty())
}

fn is_macro(name: &str) -> bool {
    WHOLE.contains(&name) || is_inline(name)
}

/// Whether a text can be the name of an environment variable.
#[must_use]
pub fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn nearest_macro(name: &str) -> Option<&'static str> {
    let near = nearest(name, macros())?.to_owned();
    macros().into_iter().find(|m| *m == near)
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

/// How the place of a macro in a shell text is quoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quoting {
    None,
    Single,
    Double,
}

/// A piece of an item.
enum Part<'a> {
    Text(&'a str),
    Macro { name: &'a str, quoting: Quoting },
}

/// Takes an item apart at its macros. How each is quoted matters to a shell text only.
fn parts(item: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut quoting = Quoting::None;
    let (mut begin, mut at) = (0, 0);
    while let Some(c) = item[at..].chars().next() {
        let rest = &item[at..];
        let name = rest
            .strip_prefix("${")
            .and_then(|rest| rest.split_once('}'))
            .map(|(name, _)| name)
            .filter(|name| is_macro(name));
        if let Some(name) = name {
            if begin < at {
                parts.push(Part::Text(&item[begin..at]));
            }
            parts.push(Part::Macro { name, quoting });
            at += name.len() + 3;
            begin = at;
            continue;
        }
        at += c.len_utf8();
        match (c, quoting) {
            ('\\', Quoting::None | Quoting::Double) => {
                // What follows is taken as it is: `\${args}` is the shell's own.
                at += item[at..].chars().next().map_or(0, char::len_utf8);
            }
            ('\'', Quoting::None) => quoting = Quoting::Single,
            ('\'', Quoting::Single) | ('"', Quoting::Double) => quoting = Quoting::None,
            ('"', Quoting::None) => quoting = Quoting::Double,
            _ => {}
        }
    }
    if begin < item.len() {
        parts.push(Part::Text(&item[begin..]));
    }
    parts
}

/// The argument vector for a configuration. Unknown macros, which [`check`] refuses, vanish; so does an item that asks
/// for a parameter which this configuration does not have.
#[must_use]
pub fn expand(job: &CommandJob, config: &Config, surroundings: &Surroundings<'_>) -> Vec<String> {
    let expansion = Expansion {
        job,
        config,
        surroundings,
        named: job
            .command
            .iter()
            .flat_map(|i| parameters_named(i))
            .collect(),
    };
    if job.shell {
        return expansion.shell();
    }
    let items = job.command.iter();
    items.flat_map(|item| expansion.item(item)).collect()
}

/// A text with its inline macros replaced: a directory, the value of a variable.
///
/// # Errors
/// The name of an environment variable that is not set.
pub fn replace_inline(
    text: &str,
    config: &Config,
    surroundings: &Surroundings<'_>,
) -> Result<String, String> {
    let mut out = String::new();
    for part in bare_parts(text) {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Macro { name, .. } => match name.strip_prefix(ENVVAR) {
                Some(variable) => {
                    let value = (surroundings.variable)(variable);
                    out.push_str(&value.ok_or_else(|| variable.to_owned())?);
                }
                None => out.push_str(&inline(name, config, surroundings).unwrap_or_default()),
            },
        }
    }
    Ok(out)
}

/// As [`parts`], where a backslash and quotes mean nothing.
fn bare_parts(text: &str) -> Vec<Part<'_>> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let name = rest[start + 2..].split_once('}').map(|(name, _)| name);
        let Some(name) = name.filter(|name| is_inline(name)) else {
            let (text, after) = rest.split_at(start + 2);
            out.push(Part::Text(text));
            rest = after;
            continue;
        };
        out.push(Part::Text(&rest[..start]));
        out.push(Part::Macro {
            name,
            quoting: Quoting::None,
        });
        rest = &rest[start + name.len() + 3..];
    }
    out.push(Part::Text(rest));
    out
}

/// What an inline macro becomes; `None`: it asks for a parameter that is not there.
fn inline(name: &str, config: &Config, surroundings: &Surroundings<'_>) -> Option<String> {
    if let Some(name) = name.strip_prefix(PARAM) {
        return config.get(name).map(python);
    }
    if let Some(variable) = name.strip_prefix(ENVVAR) {
        // A variable that is not set leaves its name, as in W&B.
        return Some((surroundings.variable)(variable).unwrap_or_else(|| variable.to_owned()));
    }
    Some(match name {
        "trial_dir" => surroundings.trial_dir.to_owned(),
        "checkpoint_dir" => surroundings.checkpoint_dir.to_owned(),
        "trial" => surroundings.trial.to_string(),
        "seed" => surroundings.seed.to_string(),
        "budget" => surroundings.budget.map(|b| b.to_string())?,
        _ => return None,
    })
}

struct Expansion<'a> {
    job: &'a CommandJob,
    config: &'a Config,
    surroundings: &'a Surroundings<'a>,
    /// Parameters that the command asks for by name: `${args}` has the others.
    named: BTreeSet<&'a str>,
}

impl Expansion<'_> {
    fn item(&self, item: &str) -> Vec<String> {
        if let Some(name) = whole_macro(item).filter(|name| WHOLE.contains(name)) {
            return self.whole(name);
        }
        let mut out = String::with_capacity(item.len());
        for part in bare_parts(item) {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Macro { name, .. } => match inline(name, self.config, self.surroundings) {
                    Some(value) => out.push_str(&value),
                    None => return Vec::new(),
                },
            }
        }
        vec![out]
    }

    /// `sh -c TEXT sh VALUE…`, with a positional parameter in the place of each value: the shell never reads a value
    /// as anything but a value, whatever is in it.
    fn shell(&self) -> Vec<String> {
        let source = self.job.command.join(" ");
        let mut text = String::with_capacity(source.len());
        let mut values = Vec::new();
        for part in parts(&source) {
            match part {
                Part::Text(piece) => text.push_str(piece),
                Part::Macro { name, quoting } => {
                    let words = if WHOLE.contains(&name) {
                        self.whole(name)
                    } else {
                        inline(name, self.config, self.surroundings)
                            .into_iter()
                            .collect()
                    };
                    let places: Vec<String> = words
                        .into_iter()
                        .map(|word| {
                            values.push(word);
                            let place = format!("${{{}}}", values.len());
                            match quoting {
                                Quoting::None => format!("\"{place}\""),
                                Quoting::Single | Quoting::Double => place,
                            }
                        })
                        .collect();
                    text.push_str(&places.join(" "));
                }
            }
        }
        let mut argv = ["/bin/sh", "-c"].map(str::to_owned).to_vec();
        argv.extend([text, "sh".to_owned()]);
        argv.extend(values);
        argv
    }

    fn whole(&self, name: &str) -> Vec<String> {
        let arguments = || {
            let config: Config = self
                .config
                .iter()
                .filter(|(name, _)| !self.named.contains(name.as_str()))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
            tree(&config, &self.job.groups)
        };
        let flags = |prefix: &str| -> Vec<String> {
            let arguments = arguments();
            let flag = |(name, value): (&String, &Tree)| format!("{prefix}{name}={}", value.text());
            arguments.iter().map(flag).collect()
        };
        // Hydra reads no dictionaries as Python writes them: nested names go with dots.
        let hydra = |prefix: &str| -> Vec<String> {
            self.config
                .iter()
                .filter(|(name, _)| !self.named.contains(name.as_str()))
                .map(|(name, value)| format!("{prefix}{name}={}", python(value)))
                .collect()
        };
        let separate = |prefix: &str| -> Vec<String> {
            let arguments = arguments();
            let pair = |(name, value): (&String, &Tree)| [format!("{prefix}{name}"), value.text()];
            arguments.iter().flat_map(pair).collect()
        };
        match name {
            "env" => vec!["/usr/bin/env".to_owned()],
            "interpreter" => vec![self.surroundings.interpreter.to_owned()],
            "program" => {
                let own = self.surroundings.program.map(str::to_owned);
                own.or_else(|| self.job.program.clone())
                    .into_iter()
                    .collect()
            }
            "args" => flags("--"),
            "args_no_hyphens" => flags(""),
            "args_append_hydra" => hydra("+"),
            "args_override_hydra" => hydra("++"),
            "args_no_equals" => separate("--"),
            "args_single_hyphen" => separate("-"),
            "args_no_boolean_flags" => arguments()
                .iter()
                .filter_map(|(name, value)| match value {
                    Tree::Leaf(Value::Bool(false)) => None,
                    Tree::Leaf(Value::Bool(true)) => Some(format!("--{name}")),
                    value => Some(format!("--{name}={}", value.text())),
                })
                .collect(),
            "args_json" => vec![json(self.config, &self.job.groups).to_string()],
            "args_json_file" => vec![self.surroundings.args_json_file.to_owned()],
            _ => Vec::new(),
        }
    }
}

/// A configuration with its nested parameters as a script sees them.
enum Tree {
    Leaf(Value),
    Group(std::collections::BTreeMap<String, Tree>),
}

impl Tree {
    fn text(&self) -> String {
        match self {
            Self::Leaf(value) => python(value),
            Self::Group(_) => self.repr(),
        }
    }

    fn repr(&self) -> String {
        match self {
            Self::Leaf(value) => python_repr(value),
            Self::Group(entries) => {
                let entry = |(name, value): (&String, &Self)| {
                    format!(
                        "{}: {}",
                        python_repr(&Value::Text(name.clone())),
                        value.repr()
                    )
                };
                format!(
                    "{{{}}}",
                    entries.iter().map(entry).collect::<Vec<_>>().join(", ")
                )
            }
        }
    }

    fn json(&self) -> Json {
        match self {
            Self::Leaf(value) => serde_json::to_value(value).unwrap_or(Json::Null),
            Self::Group(entries) => {
                let entry = |(name, value): (&String, &Self)| (name.clone(), value.json());
                Json::Object(entries.iter().map(entry).collect::<Map<_, _>>())
            }
        }
    }
}

fn tree(config: &Config, groups: &[String]) -> std::collections::BTreeMap<String, Tree> {
    let mut root = std::collections::BTreeMap::new();
    for (name, value) in config {
        put(&mut root, "", name, value, groups);
    }
    root
}

/// Puts a parameter where it belongs below the group `above` (with a dot at its end, or empty).
fn put(
    into: &mut std::collections::BTreeMap<String, Tree>,
    above: &str,
    name: &str,
    value: &Value,
    groups: &[String],
) {
    let group = groups.iter().find_map(|group| {
        let own = group.strip_prefix(above)?;
        let rest = name.strip_prefix(own)?.strip_prefix('.')?;
        (!own.is_empty() && !own.contains('.')).then_some((own, rest))
    });
    if let Some((own, rest)) = group {
        let entry = into
            .entry(own.to_owned())
            .or_insert_with(|| Tree::Group(std::collections::BTreeMap::new()));
        if let Tree::Group(entries) = entry {
            return put(entries, &format!("{above}{own}."), rest, value, groups);
        }
    }
    into.insert(name.to_owned(), Tree::Leaf(value.clone()));
}

/// The configuration as a JSON object, with an object for each of the nested `groups`.
#[must_use]
pub fn json(config: &Config, groups: &[String]) -> Json {
    Json::Object(
        tree(config, groups)
            .iter()
            .map(|(name, value)| (name.clone(), value.json()))
            .collect(),
    )
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
            ..CommandJob::default()
        };
        expanded(&job, &config())
    }

    fn expanded(job: &CommandJob, config: &Config) -> Vec<String> {
        let variable = |name: &str| (name == "HOME").then(|| "/home/x".to_owned());
        let surroundings = Surroundings {
            variable: &variable,
            interpreter: "python",
            program: None,
            args_json_file: "p.json",
            trial_dir: "/runs/s/trials/7",
            checkpoint_dir: "/runs/s/trials/7/checkpoints",
            trial: 7,
            seed: 99,
            budget: Some(9),
        };
        expand(job, config, &surroundings)
    }

    #[test]
    fn a_parameter_by_name_is_not_among_the_arguments() {
        let argv = run(&[
            "-lr",
            "${param:lr}",
            "--dir=${trial_dir}/${trial}-${seed}",
            "--epochs=${budget}",
            "${param:momentum}",
            "${args_single_hyphen}",
        ]);
        assert_eq!(
            argv[..6],
            [
                "-lr",
                "1e-05",
                "--dir=/runs/s/trials/7/7-99",
                "--epochs=9",
                "-amp",
                "False"
            ]
        );
        assert!(!argv.contains(&"--lr=1e-05".to_owned()) && argv.len() == 4 + 2 * 6);
    }

    #[test]
    fn nested_parameters_are_what_wandb_makes_of_them() {
        let job = |item: &str| CommandJob {
            command: vec![item.to_owned()],
            groups: vec!["opt".into(), "opt.sgd".into()],
            ..CommandJob::default()
        };
        let config = Config::from_iter([
            ("opt.sgd.lr", Value::Float(0.1)),
            ("opt.name", "x y".into()),
            ("a.b", Value::Int(1)),
        ]);
        // str() of the dictionaries that wandb's agent hands to create_sweep_command_args.
        assert_eq!(
            expanded(&job("${args}"), &config),
            ["--a.b=1", "--opt={'name': 'x y', 'sgd': {'lr': 0.1}}"]
        );
        assert_eq!(
            expanded(&job("${args_json}"), &config),
            [r#"{"a.b":1,"opt":{"name":"x y","sgd":{"lr":0.1}}}"#]
        );
        assert_eq!(
            expanded(&job("${args_override_hydra}"), &config),
            ["++a.b=1", "++opt.name=x y", "++opt.sgd.lr=0.1"]
        );
    }

    #[test]
    fn a_shell_gets_values_as_values() {
        let job = CommandJob {
            program: Some("train.py".into()),
            command: vec![
                r#"python ${program} --x ${param:x} "in ${param:x}" ${args} > "${OUT:-o}" \${args}"#.into(),
            ],
            shell: true,
            ..CommandJob::default()
        };
        let evil = "$(touch /tmp/x)'; rm -rf / #";
        let config = Config::from_iter([("x", Value::from(evil)), ("lr", Value::Float(0.5))]);
        let argv = expanded(&job, &config);
        assert_eq!(
            argv[2],
            r#"python "${1}" --x "${2}" "in ${3}" "${4}" > "${OUT:-o}" \${args}"#
        );
        assert_eq!(argv[3..], ["sh", "train.py", evil, evil, "--lr=0.5"]);
        assert!(check_shell("echo '${param:x}'").is_err());
        assert!(check_shell("echo '${OTHER}' \"${param:x}\"").is_ok());
    }

    #[test]
    fn what_a_value_holds_is_never_a_macro() {
        let job = CommandJob {
            command: vec!["${param:x}".into()],
            ..CommandJob::default()
        };
        let config = Config::from_iter([("x", Value::from("${args}"))]);
        assert_eq!(expanded(&job, &config), ["${args}"]);
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
        assert_eq!(check("${param:lr}"), Ok(Use::Macro));
        assert_eq!(check("--x=${param:lr}"), Ok(Use::Plain));
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
