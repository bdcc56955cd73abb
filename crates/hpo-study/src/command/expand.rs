//! The expansion: what a command's items become for one configuration.

use std::collections::BTreeSet;

use hpo_recipe::{Config, Value};

use super::value::{Tree, json, python, tree};
use super::{
    ENVVAR, PARAM, Part, Quoting, WHOLE, bare_parts, parameters_named, parts, whole_macro,
};
use crate::spec::CommandJob;

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

/// The argument vector for a configuration. Unknown macros, which [`check`](super::check) refuses, vanish; so does an item that asks
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::check_shell;

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
}
