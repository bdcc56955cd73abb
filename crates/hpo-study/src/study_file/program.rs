//! A program of the user's: `program`, `command` and what belongs to them.

use std::collections::BTreeMap;

use super::parameters::{self, Draft};
use super::problem::{Problems, Span};
use super::yaml::{Kind, Node};
use super::{metrics, shape};
use crate::command;
use crate::spec::CommandJob;

/// Reads the keys that are about a program. `None` when it cannot be known what is run; then it has been reported.
pub(super) fn job(root: &Node, drafts: &[Draft], problems: &mut Problems) -> Option<CommandJob> {
    let shell = root.get("shell").and_then(Node::flag).unwrap_or(false);
    let command = command(root, shell, drafts, problems);
    let mut job = CommandJob {
        program: text(root, "program"),
        shell,
        python: text(root, "python"),
        cwd: text(root, "cwd"),
        env: env(root, problems),
        groups: root
            .get("parameters")
            .map_or_else(Vec::new, parameters::groups),
        metrics: metrics::read(root, problems),
        ..CommandJob::default()
    };
    job.command = command?;
    if root.get("python").is_some() && !job.command.iter().any(|w| w.contains("${interpreter}")) {
        problems.warning(
            root.key_span("python"),
            "nothing uses `python`: `command` has no `${interpreter}`",
            "write `${interpreter}` where `command` has the Python",
        );
    }
    Some(job)
}

fn text(root: &Node, key: &str) -> Option<String> {
    root.get(key).and_then(Node::text).map(str::to_owned)
}

fn command(
    root: &Node,
    shell: bool,
    drafts: &[Draft],
    problems: &mut Problems,
) -> Option<Vec<String>> {
    let program = root.get("program").and_then(Node::text);
    let Some(node) = root.get("command") else {
        if shell {
            problems.error_with_hint(
                root.key_span("shell"),
                "`shell: true` needs a `command` for the shell",
                "add `command: ./prepare.sh && ./train ${args}`, or remove `shell`",
            );
            return None;
        }
        return Some(command::default_command(program?));
    };
    let place = Place {
        has_program: program.is_some(),
        drafts,
    };
    if let Some(text) = node.text() {
        if !shell {
            problems.error_with_hint(
                node.span,
                "a `command` in one text would need a shell, and none is used unless you say so",
                "write a list: command: [\"python\", \"${program}\", \"${args}\"], or add `shell: true`",
            );
            return None;
        }
        place.check_shell(text, node.span, problems);
        return Some(vec![text.to_owned()]);
    }
    let mut words = Vec::new();
    for item in node.items() {
        words.push(match &item.kind {
            Kind::Text(text) => text.clone(),
            _ => item.value()?.to_string(),
        });
        if let Some(word) = item.text() {
            if shell {
                place.check_shell(word, item.span, problems);
            } else {
                place.check_word(word, item.span, problems);
            }
        }
    }
    if let Some((first, node)) = words.first().zip(node.items().first())
        && first.trim().is_empty()
    {
        problems.error(node.span, "the command has no program");
    }
    if shell {
        words = vec![words.join(" ")];
    }
    (!words.is_empty()).then_some(words)
}

/// What the words of a command may refer to.
struct Place<'a> {
    has_program: bool,
    drafts: &'a [Draft],
}

impl Place<'_> {
    fn check_word(&self, word: &str, span: Span, problems: &mut Problems) {
        match command::check(word) {
            Ok(command::Use::Program) if !self.has_program => no_program(span, problems),
            Ok(_) => {}
            Err(misuse) => report(&misuse, span, problems),
        }
        self.check_parameters(word, span, problems);
    }

    fn check_shell(&self, text: &str, span: Span, problems: &mut Problems) {
        if text.contains("${program}") && !self.has_program {
            no_program(span, problems);
        }
        if let Err(misuse) = command::check_shell(text) {
            report(&misuse, span, problems);
        }
        self.check_parameters(text, span, problems);
    }

    fn check_parameters(&self, word: &str, span: Span, problems: &mut Problems) {
        for name in command::parameters_named(word) {
            if self.drafts.iter().all(|draft| draft.name != name) {
                let names: Vec<&str> = self
                    .drafts
                    .iter()
                    .map(|d| d.name.as_str())
                    .take(20)
                    .collect();
                problems.error_with_hint(
                    span,
                    format!("`${{param:{name}}}`: there is no parameter `{name}`"),
                    shape::did_you_mean(name, &names),
                );
            }
        }
    }
}

fn no_program(span: Span, problems: &mut Problems) {
    problems.error_with_hint(
        span,
        "`${program}` stands for the key `program`, which is not there",
        "add `program: train.py`",
    );
}

fn report(misuse: &command::Misuse, span: Span, problems: &mut Problems) {
    match misuse {
        command::Misuse::Unknown { name, nearest } => problems.error_with_hint(
            span,
            format!("unknown macro `${{{name}}}`"),
            match nearest {
                Some(near) => format!("did you mean `${{{near}}}`?"),
                None => shape::did_you_mean(name, &command::macros()),
            },
        ),
        command::Misuse::Inside { name } => problems.warning(
            span,
            format!("`${{{name}}}` is replaced only where it is a whole item of the list"),
            "make it an item of its own; `${envvar:NAME}`, `${param:NAME}` and the like may stand inside a text",
        ),
        command::Misuse::Quoted { name } => problems.error_with_hint(
            span,
            format!("`${{{name}}}` stands in single quotes, where the shell replaces nothing"),
            "remove the quotes: values are quoted as they need be",
        ),
    }
}

fn env(root: &Node, problems: &mut Problems) -> BTreeMap<String, Option<String>> {
    let mut env = BTreeMap::new();
    let Some(node) = root.get("env") else {
        return env;
    };
    for (key, value) in node.entries() {
        let name = &key.name;
        if !command::is_variable(name) {
            problems.error_with_hint(
                key.span,
                format!("`{name}` cannot be the name of an environment variable"),
                "use letters, digits and `_`, with no digit first",
            );
        } else if name.starts_with("HPO_") {
            problems.error_with_hint(
                key.span,
                format!("`{name}`: names that begin with `HPO_` are `hpo`'s own"),
                "take another name",
            );
        }
        let text = match &value.kind {
            Kind::Null => None,
            Kind::Text(text) => Some(text.clone()),
            Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) => value.value().map(|v| v.to_string()),
            Kind::List(_) | Kind::Map(_) => {
                if matches!(value.kind, Kind::List(_)) {
                    problems.error(value.span, format!("`{name}` must be a text or a number"));
                }
                continue;
            }
        };
        env.insert(name.clone(), text);
    }
    env
}
