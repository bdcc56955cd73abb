//! What a value of the study file may look like, and the check that it does.
//!
//! The same tables of keys check a file and become the JSON Schema for editors, so the two cannot
//! drift apart. A shape knows one value; what several values mean together is checked by the
//! module that reads them.

use std::ops::Bound;

use hpo_recipe::Allowed;
use hpo_recipe::hyperparameter::within;

use super::nearest;
use super::problem::{Problems, Span};
use super::yaml::{Kind, Node};

/// What a value may look like.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    /// A text that is not empty.
    Text,
    /// One of some words.
    Word(&'static [Word]),
    /// One of some words that come from the catalogue.
    Name(&'static str, fn() -> Vec<&'static str>),
    /// True or false.
    Flag,
    /// A finite number between two bounds.
    Number(Bound<f64>, Bound<f64>),
    /// A whole number, bounds included.
    Whole(i64, i64),
    /// A length of time: `8h`, `1h30m`, or seconds as a number.
    Duration,
    /// An amount of memory: `8GiB`.
    Bytes,
    /// The same, or the word `auto`.
    BytesOrAuto,
    /// A value of a search space: a scalar, or a list of such values.
    Value,
    /// A list of at least this many.
    List(&'static Shape, usize),
    /// A map with known keys.
    Table(&'static Table),
    /// A map with free keys.
    Map(&'static Shape),
    /// The parameters of a search space, which may hold others of their kind.
    Parameters(&'static Shape),
    /// Anything at all: it is passed over.
    Anything,
    /// Any of these, no two of them for the same kind of value; and how messages call them.
    Either(&'static str, &'static [Shape]),
}

/// A word that a key may have as its value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Word {
    pub(crate) name: &'static str,
    /// What it means; for a word that is known but refused, why.
    pub(crate) meaning: &'static str,
    pub(crate) supported: bool,
}

/// A map with known keys.
#[derive(Debug)]
pub(crate) struct Table {
    /// How messages call it.
    pub(crate) title: &'static str,
    pub(crate) keys: &'static [KeyFacts],
    /// Keys that people may expect here and that are not: their names, and what to say.
    pub(crate) foreign: &'static [(&'static str, &'static str)],
    /// What to say when something else than a map stands here.
    pub(crate) hint: Option<&'static str>,
}

/// A key of a [`Table`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyFacts {
    pub(crate) name: &'static str,
    pub(crate) meaning: &'static str,
    pub(crate) shape: Shape,
    pub(crate) required: bool,
    /// The key is taken and not acted upon, and this is why.
    pub(crate) passed_over: Option<&'static str>,
    /// What to say when the key is missing, or its value is of the wrong shape.
    pub(crate) hint: Option<&'static str>,
}

pub(crate) const fn key(name: &'static str, shape: Shape, meaning: &'static str) -> KeyFacts {
    KeyFacts {
        name,
        meaning,
        shape,
        required: false,
        passed_over: None,
        hint: None,
    }
}

impl KeyFacts {
    pub(crate) const fn required(self) -> Self {
        Self {
            required: true,
            ..self
        }
    }
    pub(crate) const fn passed_over(self, why: &'static str) -> Self {
        Self {
            passed_over: Some(why),
            ..self
        }
    }
    pub(crate) const fn hint(self, hint: &'static str) -> Self {
        Self {
            hint: Some(hint),
            ..self
        }
    }
}

pub(crate) const fn word(name: &'static str, meaning: &'static str) -> Word {
    Word {
        name,
        meaning,
        supported: true,
    }
}

pub(crate) const fn refused(name: &'static str, why: &'static str) -> Word {
    Word {
        name,
        meaning: why,
        supported: false,
    }
}

/// More than 0.
pub(crate) const POSITIVE: Shape = Shape::Number(Bound::Excluded(0.0), Bound::Unbounded);
/// Any finite number.
pub(crate) const NUMBER: Shape = Shape::Number(Bound::Unbounded, Bound::Unbounded);

impl Shape {
    /// What is wanted, in words that follow "must be".
    fn wanted(self) -> String {
        match self {
            Self::Text => "a text".to_owned(),
            Self::Word(words) => {
                let names: Vec<_> = words
                    .iter()
                    .filter(|w| w.supported)
                    .map(|w| w.name)
                    .collect();
                one_of(&names)
            }
            Self::Name(_, names) => one_of(&names()),
            Self::Flag => "true or false".to_owned(),
            Self::Number(low, high) => Allowed::Number(low, high).to_string(),
            Self::Whole(low, high) if low == high => low.to_string(),
            Self::Whole(low, i64::MAX) => format!("a whole number of at least {low}"),
            Self::Whole(low, high) => format!("a whole number from {low} to {high}"),
            Self::Duration => "a length of time such as `8h`, `1h30m` or `90` (seconds)".to_owned(),
            Self::Bytes => "an amount of memory such as `8GiB` or `512MiB`".to_owned(),
            Self::BytesOrAuto => "`auto`, or an amount of memory such as `3GiB`".to_owned(),
            Self::Value => "a number, a text, true, false, null or a list of them".to_owned(),
            Self::List(of, _) => format!("a list, each item {}", of.wanted()),
            Self::Table(_) | Self::Map(_) | Self::Parameters(_) => {
                "a map of `key: value`".to_owned()
            }
            Self::Anything => "anything".to_owned(),
            Self::Either(wanted, _) => wanted.to_owned(),
        }
    }

    /// Whether a value is of the kind that this shape is about.
    fn is_about(self, node: &Node) -> bool {
        match self {
            Self::Text | Self::Word(_) | Self::Name(..) => matches!(node.kind, Kind::Text(_)),
            Self::Flag => matches!(node.kind, Kind::Bool(_)),
            Self::Number(..) | Self::Whole(..) => {
                matches!(node.kind, Kind::Int(_) | Kind::Float(_))
            }
            Self::Duration => matches!(node.kind, Kind::Int(_) | Kind::Float(_) | Kind::Text(_)),
            Self::Bytes | Self::BytesOrAuto => {
                matches!(node.kind, Kind::Int(_) | Kind::Float(_) | Kind::Text(_))
            }
            Self::Value => !matches!(node.kind, Kind::Map(_)),
            Self::List(..) => matches!(node.kind, Kind::List(_)),
            Self::Table(_) | Self::Map(_) | Self::Parameters(_) => {
                matches!(node.kind, Kind::Map(_))
            }
            Self::Anything => true,
            Self::Either(_, shapes) => shapes.iter().any(|shape| shape.is_about(node)),
        }
    }
}

/// Checks a value. `name` is what messages call it, `at` where its key stands.
pub(crate) fn check(node: &Node, shape: Shape, name: &str, at: Span, problems: &mut Problems) {
    check_with_hint(node, shape, name, at, None, problems);
}

fn check_with_hint(
    node: &Node,
    shape: Shape,
    name: &str,
    at: Span,
    hint: Option<&'static str>,
    problems: &mut Problems,
) {
    if !shape.is_about(node) {
        let message = format!(
            "`{name}` must be {}, not {}",
            shape.wanted(),
            node.describe()
        );
        return refuse(node, shape, message, at, hint, problems);
    }
    match shape {
        Shape::Text => {
            if node.text().is_some_and(|text| text.trim().is_empty()) {
                problems.error(node.span, format!("`{name}` must not be empty"));
            }
        }
        Shape::Word(words) => check_word(node, words, name, problems),
        Shape::Name(what, names) => check_name(node, what, &names(), problems),
        Shape::Number(low, high) => {
            if !node.number().is_some_and(|x| within(x, low, high)) {
                let message = format!(
                    "`{name}` must be {}, not {}",
                    shape.wanted(),
                    node.describe()
                );
                refuse(node, shape, message, at, hint, problems);
            }
        }
        Shape::Whole(low, high) => {
            if !node.whole().is_some_and(|i| (low..=high).contains(&i)) {
                let message = format!(
                    "`{name}` must be {}, not {}",
                    shape.wanted(),
                    node.describe()
                );
                refuse(node, shape, message, at, hint, problems);
            }
        }
        Shape::Duration => {
            if let Err(message) = duration(node) {
                problems.error_with_hint(
                    node.span,
                    format!("`{name}`: {message}"),
                    format!("write {}", shape.wanted()),
                );
            }
        }
        Shape::BytesOrAuto if node.text() == Some("auto") => {}
        Shape::Bytes | Shape::BytesOrAuto => {
            if let Err(message) = amount(node) {
                problems.error_with_hint(
                    node.span,
                    format!("`{name}`: {message}"),
                    "KiB, MiB, GiB and TiB count in steps of 1024, KB, MB, GB and TB of 1000",
                );
            }
        }
        Shape::Flag => {}
        Shape::Value => check_value(node, name, problems),
        Shape::List(of, least) => {
            if node.items().len() < least {
                problems.error(
                    spot(node, at),
                    format!("`{name}` must not be an empty list"),
                );
            }
            for item in node.items() {
                check_with_hint(item, *of, name, item.span, hint, problems);
            }
        }
        Shape::Table(table) => check_table(node, table, at, problems),
        Shape::Anything => {}
        Shape::Map(of) | Shape::Parameters(of) => {
            for (key, value) in node.entries() {
                check(value, *of, &key.name, key.span, problems);
            }
        }
        Shape::Either(_, shapes) => {
            if let Some(shape) = shapes.iter().find(|shape| shape.is_about(node)) {
                check_with_hint(node, *shape, name, at, hint, problems);
            }
        }
    }
}

/// Says that a value is not what it must be, with the most helpful hint there is.
fn refuse(
    node: &Node,
    shape: Shape,
    message: String,
    at: Span,
    hint: Option<&'static str>,
    problems: &mut Problems,
) {
    let at = spot(node, at);
    let quoted_number = node
        .text()
        .is_some_and(|text| text.trim().parse::<f64>().is_ok());
    match (shape, node.text()) {
        (Shape::Number(..) | Shape::Whole(..) | Shape::Duration, _) if quoted_number => {
            problems.error_with_hint(at, message, "what stands in quotes is a text: remove them");
        }
        (Shape::Flag, Some("yes" | "on" | "y" | "Yes" | "On" | "YES" | "ON")) => {
            problems.error_with_hint(at, message, "write `true`");
        }
        (Shape::Flag, Some("no" | "off" | "n" | "No" | "Off" | "NO" | "OFF")) => {
            problems.error_with_hint(at, message, "write `false`");
        }
        (
            Shape::Table(Table {
                hint: Some(hint), ..
            }),
            _,
        ) => {
            problems.error_with_hint(at, message, *hint);
        }
        (Shape::Text | Shape::Word(_) | Shape::Name(..), None)
            if !matches!(node.kind, Kind::List(_) | Kind::Map(_) | Kind::Null) =>
        {
            problems.error_with_hint(at, message, "put it in quotes to make it a text");
        }
        _ => match hint {
            Some(hint) => problems.error_with_hint(at, message, hint),
            None => problems.error(at, message),
        },
    }
}

/// The place to point at for a value: maps and absent values have no extent, their keys have.
fn spot(node: &Node, key: Span) -> Span {
    if node.span.len > 0 && !matches!(node.kind, Kind::Map(_) | Kind::List(_)) {
        node.span
    } else if key.len > 0 {
        key
    } else {
        node.start()
    }
}

fn check_word(node: &Node, words: &[Word], name: &str, problems: &mut Problems) {
    let Some(text) = node.text() else { return };
    let Some(word) = words.iter().find(|w| w.name == text) else {
        let supported: Vec<&str> = words
            .iter()
            .filter(|w| w.supported)
            .map(|w| w.name)
            .collect();
        let message = format!("`{name}` cannot be `{text}`");
        problems.error_with_hint(node.span, message, did_you_mean(text, &supported));
        return;
    };
    if !word.supported {
        let supported: Vec<&str> = words
            .iter()
            .filter(|w| w.supported)
            .map(|w| w.name)
            .collect();
        problems.error_with_hint(
            node.span,
            format!("`{name}: {text}` {}", word.meaning),
            format!("write {}", one_of(&supported)),
        );
    }
}

fn check_name(node: &Node, what: &str, names: &[&str], problems: &mut Problems) {
    let Some(text) = node.text() else { return };
    if !names.contains(&text) {
        problems.error_with_hint(
            node.span,
            format!("there is no {what} `{text}`"),
            did_you_mean(text, names),
        );
    }
}

fn check_value(node: &Node, name: &str, problems: &mut Problems) {
    match &node.kind {
        Kind::List(items) => items
            .iter()
            .for_each(|item| check_value(item, name, problems)),
        Kind::Map(_) => problems.error(node.start(), format!("`{name}` cannot hold a map")),
        Kind::Float(x) if !x.is_finite() => {
            problems.error(
                node.span,
                format!("`{name}` must be finite, not {}", node.describe()),
            );
        }
        _ => {}
    }
}

fn check_table(node: &Node, table: &Table, at: Span, problems: &mut Problems) {
    for (key, value) in node.entries() {
        let Some(facts) = table.keys.iter().find(|facts| facts.name == key.name) else {
            unknown_key(&key.name, key.span, table, problems);
            continue;
        };
        if let Some(why) = facts.passed_over {
            problems.warning(key.span, format!("`{}` is passed over", key.name), why);
        }
        check_with_hint(
            value,
            facts.shape,
            &key.name,
            key.span,
            facts.hint,
            problems,
        );
    }
    for facts in table.keys.iter().filter(|facts| facts.required) {
        // A misspelt key is one mistake, not two.
        let misspelt = node.entries().iter().any(|(key, _)| {
            table.keys.iter().all(|k| k.name != key.name)
                && nearest(&key.name, [facts.name]).is_some()
        });
        if node.get(facts.name).is_none() && !misspelt {
            let message = format!("{} has no `{}`", table.title, facts.name);
            let at = if at.len > 0 { at } else { node.start() };
            match facts.hint {
                Some(hint) => problems.error_with_hint(at, message, hint),
                None => problems.error_with_hint(at, message, format!("add {}", facts.example())),
            }
        }
    }
}

impl KeyFacts {
    fn example(&self) -> String {
        format!("`{}`: {}", self.name, self.meaning)
    }
}

fn unknown_key(name: &str, at: Span, table: &Table, problems: &mut Problems) {
    let message = format!("unknown key `{name}` in {}", table.title);
    if let Some((_, hint)) = table.foreign.iter().find(|(foreign, _)| *foreign == name) {
        problems.error_with_hint(at, message, *hint);
        return;
    }
    let names: Vec<&str> = table.keys.iter().map(|key| key.name).collect();
    problems.error_with_hint(at, message, did_you_mean(name, &names));
}

/// A hint that names the nearest match, or all there is.
pub(crate) fn did_you_mean(name: &str, names: &[&str]) -> String {
    match nearest(name, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if names.is_empty() => "none is defined yet".to_owned(),
        None => format!("it can be {}", one_of(names)),
    }
}

/// `` `a`, `b` or `c` ``
pub(crate) fn one_of(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        None => "nothing".to_owned(),
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
    }
}

/// An amount of memory in bytes.
pub(crate) fn amount(node: &Node) -> Result<u64, String> {
    match node.text() {
        Some(text) => crate::memory::parse_bytes(text),
        None => Err(format!(
            "{} has no unit: write `8GiB` or `512MiB`",
            node.describe()
        )),
    }
}

/// A length of time: seconds, or words as [`jiff::SignedDuration`] reads them.
pub(crate) fn duration(node: &Node) -> Result<std::time::Duration, String> {
    let seconds = match node.text() {
        None => node
            .number()
            .ok_or_else(|| format!("{} is no time", node.describe()))?,
        Some(text) if text.trim().parse::<f64>().is_ok() => {
            return Err(
                "a number in quotes is a text: remove the quotes, or add a unit".to_owned(),
            );
        }
        Some(text) => text
            .parse::<jiff::SignedDuration>()
            .map_err(|_| format!("`{text}` is no length of time"))?
            .as_secs_f64(),
    };
    length_of_time(seconds)
}

/// A length of time in seconds that is no mistake.
pub(crate) fn length_of_time(seconds: f64) -> Result<std::time::Duration, String> {
    const LONGEST: f64 = 10.0 * 365.0 * 86_400.0;
    if (0.0..=LONGEST).contains(&seconds) {
        Ok(std::time::Duration::from_secs_f64(seconds))
    } else if seconds < 0.0 {
        Err("a length of time is not negative".to_owned())
    } else {
        Err("that is longer than ten years".to_owned())
    }
}
