//! `metrics`: how metrics are found in what a program prints.

use super::nearest;
use super::problem::{Problems, Span};
use super::shape::did_you_mean;
use super::yaml::{Kind, Node};
use crate::printout::{
    Known, MetricPattern, PatternForm, STEP, STEP_FROM_ZERO, Stream, check_regex,
};

/// What the patterns can report, as far as it is known beforehand.
#[derive(Default)]
struct Names {
    known: Vec<String>,
    /// Some pattern reports what a line names.
    open: bool,
}

/// Reads `metrics`; every mistake in it is reported.
pub(super) fn read(root: &Node, problems: &mut Problems) -> Vec<MetricPattern> {
    let Some(node) = root.get("metrics") else {
        return Vec::new();
    };
    if root.get("trainer").is_some() {
        problems.error_with_hint(
            root.key_span("metrics"),
            "the built-in trainer reports by itself",
            "remove `metrics`",
        );
        return Vec::new();
    }
    let mut names = Names::default();
    let patterns: Vec<MetricPattern> = match &node.kind {
        Kind::List(items) => items
            .iter()
            .filter_map(|item| pattern(item, None, &mut names, problems))
            .collect(),
        Kind::Map(entries) => entries
            .iter()
            .filter_map(|(key, value)| pattern(value, Some(&key.name), &mut names, problems))
            .collect(),
        _ => pattern(node, None, &mut names, problems)
            .into_iter()
            .collect(),
    };
    check_objective(root, &names, problems);
    patterns
}

fn check_objective(root: &Node, names: &Names, problems: &mut Problems) {
    for objective in super::objectives::reported(root) {
        check_name(objective, names, problems);
    }
}

fn check_name(objective: &Node, names: &Names, problems: &mut Problems) {
    let Some(objective) = objective.get("name") else {
        return;
    };
    let Some(name) = objective.text() else { return };
    if names.open || names.known.is_empty() || names.known.iter().any(|n| n == name) {
        return;
    }
    let near = nearest(name, names.known.iter().map(String::as_str));
    problems.warning(
        objective.span,
        format!("no pattern of `metrics` finds the objective `{name}`"),
        match near {
            Some(near) => {
                format!("did you mean `{near}`? Else the program has to report it itself")
            }
            None => "name a pattern's group by it, or have the program report it itself".to_owned(),
        },
    );
}

fn pattern(
    node: &Node,
    name: Option<&str>,
    names: &mut Names,
    problems: &mut Problems,
) -> Option<MetricPattern> {
    if let Some(text) = node.text() {
        return form(text, node, name, names, problems)
            .map(|(form, stream)| MetricPattern { stream, form });
    }
    let own_name = node.get("name").and_then(Node::text);
    let (form, usual) = match (node.get("regex"), node.get("format")) {
        (Some(_), Some(_)) => {
            problems.error_with_hint(
                node.key_span("format"),
                "a pattern is either a `regex` or a `format`, not both",
                "make them two items of the list",
            );
            return None;
        }
        (None, None) => {
            // Maps of other kinds were reported with the shapes.
            if matches!(node.kind, Kind::Map(_)) {
                problems.error_with_hint(
                    node.start(),
                    "this pattern says nothing to look for",
                    "add `regex: 'val_loss: (?P<val_loss>\\S+)'`, or `format: keras`",
                );
            }
            return None;
        }
        (Some(regex), None) => {
            let text = regex.text()?;
            (
                as_regex(text, regex, own_name.or(name), names, problems)?,
                Stream::Stdout,
            )
        }
        (None, Some(format)) => {
            let known = Known::of(format.text()?)?;
            names.open = true;
            (PatternForm::Format(known), known.stream())
        }
    };
    let stream = match node.get("from").map(Node::text) {
        None => usual,
        Some(Some("stdout")) => Stream::Stdout,
        Some(Some("stderr")) => Stream::Stderr,
        Some(Some("both")) => Stream::Both,
        Some(_) => return None,
    };
    Some(MetricPattern { stream, form })
}

/// A lone text: the name of a ready-made pattern, or a regex.
fn form(
    text: &str,
    node: &Node,
    name: Option<&str>,
    names: &mut Names,
    problems: &mut Problems,
) -> Option<(PatternForm, Stream)> {
    if name.is_none() {
        if let Some(known) = Known::of(text) {
            names.open = true;
            return Some((PatternForm::Format(known), known.stream()));
        }
        if !text.contains('(') {
            let all = Known::ALL.map(Known::name);
            problems.error_with_hint(
                node.span,
                format!("there is no ready-made pattern `{text}`, and a regex it is not: it has no group"),
                did_you_mean(text, &all),
            );
            return None;
        }
    }
    as_regex(text, node, name, names, problems).map(|form| (form, Stream::Stdout))
}

fn as_regex(
    text: &str,
    node: &Node,
    metric: Option<&str>,
    names: &mut Names,
    problems: &mut Problems,
) -> Option<PatternForm> {
    match check_regex(text, metric) {
        Ok(found) => {
            names.open |= found.is_empty();
            let metrics = found
                .into_iter()
                .filter(|n| n != STEP && n != STEP_FROM_ZERO);
            names.known.extend(metrics);
            Some(PatternForm::Regex {
                regex: text.to_owned(),
                metric: metric.map(str::to_owned),
            })
        }
        Err(error) => {
            let at = error
                .offset
                .map_or(node.span, |offset| inside(node.span, text, offset));
            match error.hint {
                Some(hint) => problems.error_with_hint(at, error.message, hint),
                None => problems.error(at, error.message),
            }
            None
        }
    }
}

/// The place of a byte of a text that stands at `span`, where the text stands there as it is.
fn inside(span: Span, text: &str, offset: usize) -> Span {
    let quote = match span.len.checked_sub(text.len()) {
        Some(0) => 0,
        Some(2) => 1,
        // It has escapes, or goes over several lines: its beginning has to do.
        _ => return span,
    };
    let before = text.get(..offset).unwrap_or_default();
    if before.contains('\n') {
        return span;
    }
    Span {
        offset: span.offset + quote + offset,
        len: text[before.len()..]
            .chars()
            .next()
            .map_or(1, char::len_utf8),
        line: span.line,
        column: span.column + quote + before.chars().count(),
    }
}
