//! A command study's argument vector: W&B's macros, expanded for one configuration.
//!
//! The meaning of every macro is that of wandb 0.31.0 (`create_sweep_command_args` in
//! `sdk/launch/sweeps/utils.py`, `Agent._command_run`): a macro is a whole item of the list; only `${envvar:NAME}`
//! may stand inside a text. Of our own there are `${args_single_hyphen}` and the macros that may stand inside a text
//! ([`INLINE`]). Values are written as Python's `str` writes them (`True`, `None`,
//! `[128, 64]`), since that is what scripts written for W&B read.

mod expand;
mod value;

use crate::study_file::nearest;
pub use expand::{Surroundings, expand, replace_inline};
pub use value::{json, python};

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
