//! YAML text to a tree in which every key and value knows its place.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::{Location, Spanned};

use hpo_recipe::Value;

use super::problem::{Problems, Span};

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) span: Span,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A key of a map and its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) span: Span,
}

impl Node {
    /// The value of a key, if this is a map that has it.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        self.entries()
            .iter()
            .find(|(key, _)| key.name == name)
            .map(|(_, value)| value)
    }
    /// The place of a key; the map's own place without it.
    pub(crate) fn key_span(&self, name: &str) -> Span {
        let key = self.entries().iter().find(|(key, _)| key.name == name);
        key.map_or(self.span, |(key, _)| key.span)
    }
    /// The place where the value begins: a map in a block has no extent, but its first key has.
    pub(crate) fn start(&self) -> Span {
        match self.entries().first() {
            Some((key, _)) if self.span.len == 0 => key.span,
            _ => self.span,
        }
    }
    /// The keys and values, if this is a map; else none.
    pub(crate) fn entries(&self) -> &[(Key, Self)] {
        match &self.kind {
            Kind::Map(entries) => entries,
            _ => &[],
        }
    }
    /// The items, if this is a list; else none.
    pub(crate) fn items(&self) -> &[Self] {
        match &self.kind {
            Kind::List(items) => items,
            _ => &[],
        }
    }
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }
    pub(crate) fn flag(&self) -> Option<bool> {
        match &self.kind {
            Kind::Bool(flag) => Some(*flag),
            _ => None,
        }
    }
    /// The value as a finite number.
    pub(crate) fn number(&self) -> Option<f64> {
        match &self.kind {
            Kind::Int(i) => Some(*i as f64),
            Kind::Float(x) if x.is_finite() => Some(*x),
            _ => None,
        }
    }
    /// The value as a whole number; `3.0` counts.
    pub(crate) fn whole(&self) -> Option<i64> {
        self.value()?.as_i64()
    }
    /// Whether the value is written as a whole number: `3`, not `3.0`.
    pub(crate) fn is_int(&self) -> bool {
        matches!(self.kind, Kind::Int(_))
    }
    /// The value as one of a search space; `None` for maps and for numbers that are not finite.
    pub(crate) fn value(&self) -> Option<Value> {
        Some(match &self.kind {
            Kind::Null => Value::Null,
            Kind::Bool(flag) => Value::Bool(*flag),
            Kind::Int(i) => Value::Int(*i),
            Kind::Float(x) if x.is_finite() => Value::Float(*x),
            Kind::Text(text) => Value::Text(text.clone()),
            Kind::List(items) => Value::List(items.iter().map(Self::value).collect::<Option<_>>()?),
            Kind::Float(_) | Kind::Map(_) => return None,
        })
    }
    /// The value in messages: `the text "x"`, `a map`, …
    pub(crate) fn describe(&self) -> String {
        match &self.kind {
            Kind::Null => "nothing".to_owned(),
            Kind::List(_) => "a list".to_owned(),
            Kind::Map(_) => "a map".to_owned(),
            Kind::Text(text) if text.chars().count() > 40 => {
                format!(
                    "the text \"{}…\"",
                    text.chars().take(40).collect::<String>()
                )
            }
            Kind::Text(text) => format!("the text \"{text}\""),
            Kind::Bool(flag) => flag.to_string(),
            Kind::Int(i) => i.to_string(),
            Kind::Float(x) => Value::Float(*x).to_string(),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned {
            value: Unplaced(kind),
            referenced,
            ..
        } = Spanned::deserialize(deserializer)?;
        Ok(Self {
            kind,
            span: span_of(referenced),
        })
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let key: Spanned<String> = Spanned::deserialize(deserializer)?;
        Ok(Self {
            name: key.value,
            span: span_of(key.referenced),
        })
    }
}

fn span_of(location: Location) -> Span {
    let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let span = location.span();
    Span {
        offset: size(span.byte_offset().unwrap_or(0)),
        len: size(span.byte_len().unwrap_or(0)),
        line: size(location.line()).max(1),
        column: size(location.column()).max(1),
    }
}

/// A value whose place is not known yet.
struct Unplaced(Kind);

impl<'de> Deserialize<'de> for Unplaced {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KindVisitor).map(Unplaced)
    }
}

struct KindVisitor;

impl<'de> Visitor<'de> for KindVisitor {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_unit<E>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }
    fn visit_none<E>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }
    fn visit_bool<E>(self, flag: bool) -> Result<Kind, E> {
        Ok(Kind::Bool(flag))
    }
    fn visit_i64<E>(self, i: i64) -> Result<Kind, E> {
        Ok(Kind::Int(i))
    }
    fn visit_u64<E>(self, i: u64) -> Result<Kind, E> {
        Ok(i64::try_from(i).map_or(Kind::Float(i as f64), Kind::Int))
    }
    fn visit_f64<E>(self, x: f64) -> Result<Kind, E> {
        Ok(Kind::Float(x))
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Kind, E> {
        Ok(Kind::Text(text.to_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Kind, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Kind::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Kind, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Kind::Map(entries))
    }
}

/// Reads the text. Problems that leave no tree at all give `None`; keys that stand twice are
/// reported and the first one counts.
pub(crate) fn parse(text: &str, problems: &mut Problems) -> Option<Node> {
    // An empty file is no error to the library, and neither is a lone `---`.
    if text
        .lines()
        .all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
    {
        problems.error_with_hint(
            Span {
                line: 1,
                column: 1,
                ..Span::default()
            },
            "the file is empty",
            "a study needs at least `method`, `metric`, `parameters`, and `trainer` or `program`",
        );
        return None;
    }
    match serde_saphyr::from_str_with_options::<Node>(text, options()) {
        Ok(mut root) => {
            refuse_duplicates(&mut root, problems);
            refuse_tags(&root, text, problems);
            Some(root)
        }
        Err(error) => {
            report(&error, text, problems);
            None
        }
    }
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_anchors: 0,
            max_aliases: 0,
            max_merge_keys: 0,
            max_depth: 32,
            max_documents: 1,
            max_nodes: 100_000,
        },
        strict_booleans: true,
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::PassThrough,
        merge_keys: serde_saphyr::MergeKeyPolicy::Error,
        non_finite_float_policy: serde_saphyr::NonFiniteFloatPolicy::PassThrough,
        with_snippet: false,
    }
}

fn report(error: &serde_saphyr::Error, text: &str, problems: &mut Problems) {
    let mut span = error.location().map(span_of).unwrap_or_default();
    span.line = span.line.max(1);
    span.column = span.column.max(1);
    let message = error.without_snippet().to_string();
    if let serde_saphyr::Error::Budget { breach, .. } = error.without_snippet() {
        return report_limit(breach, span, text, problems);
    }
    let line = text.lines().nth(span.line - 1).unwrap_or_default();
    // The library ends its sentence with the place, which is shown apart.
    let message = message.lines().next().unwrap_or_default();
    if message.starts_with("recursion limit exceeded") {
        return problems.error(span, "the file is nested too deeply: this is no study file");
    }
    let message = message
        .rsplit_once(" at line ")
        .map_or(message, |(what, _)| what);
    let message = format!("this is not YAML: {message}");
    if line.contains('\t') {
        problems.error_with_hint(
            span,
            message,
            "YAML is indented with spaces, never with tabs",
        );
    } else {
        problems.error(span, message);
    }
}

/// Says which of our limits a text goes beyond.
fn report_limit(breach: &BudgetBreach, span: Span, text: &str, problems: &mut Problems) {
    match breach {
        BudgetBreach::Anchors { .. } | BudgetBreach::Aliases { .. } => problems.error_with_hint(
            reference_before(span, text),
            "anchors (`&x`) and aliases (`*x`) are not read",
            "write the value out",
        ),
        BudgetBreach::Documents { .. } => problems.error_with_hint(
            span,
            "a study file is one YAML document, and here a second one begins",
            "remove the `---`, or put the other study into a file of its own",
        ),
        BudgetBreach::Depth { .. } => {
            problems.error(span, "the file is nested too deeply: this is no study file");
        }
        _ => problems.error(
            span,
            "the file holds too many values: this is no study file",
        ),
    }
}

/// The library notices an anchor when the next value begins: goes back to where it stands.
fn reference_before(span: Span, text: &str) -> Span {
    let before = text
        .get(..=span.offset)
        .or_else(|| text.get(..span.offset))
        .unwrap_or_default();
    let Some(offset) = before.rfind(['&', '*']) else {
        return span;
    };
    let line_start = before[..offset]
        .rfind('\n')
        .map_or(0, |newline| newline + 1);
    let word = text[offset..].find(|c: char| c.is_whitespace() || c == ',' || c == ']' || c == '}');
    Span {
        offset,
        len: word.unwrap_or(text.len() - offset),
        line: before[..offset].matches('\n').count() + 1,
        column: before[line_start..offset].chars().count() + 1,
    }
}

/// Reports tags (`!float`, `!!str`), which the library passes over: a value would not be what it says it is.
fn refuse_tags(root: &Node, text: &str, problems: &mut Problems) {
    let mut scalars = Vec::new();
    let mut starts = Vec::new();
    collect_places(root, &mut scalars, &mut starts);
    scalars.sort_unstable();
    let mut found: Vec<usize> = starts
        .into_iter()
        .filter_map(|start| tag_before(text, start))
        .filter(|tag| {
            let after = scalars.partition_point(|(from, _)| from < tag);
            let inside = |(from, to): &(usize, usize)| from < tag && tag < to;
            !scalars[..after].last().is_some_and(inside)
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    for offset in found {
        let word = text[offset..].find(|c: char| c.is_whitespace() || ",]}".contains(c));
        let before = text[..offset].rsplit('\n').next().unwrap_or_default();
        let span = Span {
            offset,
            len: word.unwrap_or(text.len() - offset),
            line: text[..offset].matches('\n').count() + 1,
            column: before.chars().count() + 1,
        };
        problems.error_with_hint(
            span,
            "tags (`!float`, `!!str`) are not read",
            "remove it; what stands in quotes is a text, and what looks like a number is one",
        );
    }
}

/// The extents of texts, and where values begin.
fn collect_places(node: &Node, scalars: &mut Vec<(usize, usize)>, starts: &mut Vec<usize>) {
    starts.push(node.start().offset);
    match &node.kind {
        Kind::List(items) => {
            for item in items {
                collect_places(item, scalars, starts);
            }
        }
        Kind::Map(entries) => {
            for (key, value) in entries {
                scalars.push((key.span.offset, key.span.offset + key.span.len));
                starts.push(key.span.offset);
                collect_places(value, scalars, starts);
            }
        }
        _ => scalars.push((node.span.offset, node.span.offset + node.span.len)),
    }
}

/// Where a tag stands just before the value that begins at `start`, or at it.
fn tag_before(text: &str, start: usize) -> Option<usize> {
    if text.get(start..)?.starts_with('!') {
        return Some(start);
    }
    let before = text
        .get(..start)?
        .trim_end_matches(['[', '{', '"', '\''])
        .trim_end();
    let tag = before
        .char_indices()
        .rfind(|(_, c)| c.is_whitespace() || ",[{".contains(*c))
        .map_or(0, |(at, c)| at + c.len_utf8());
    let line = before[..tag].rsplit('\n').next().unwrap_or_default();
    (before[tag..].starts_with('!') && !line.contains('#')).then_some(tag)
}

/// Reports every key that stands twice in a map, and keeps only its first value.
fn refuse_duplicates(node: &mut Node, problems: &mut Problems) {
    match &mut node.kind {
        Kind::List(items) => items
            .iter_mut()
            .for_each(|item| refuse_duplicates(item, problems)),
        Kind::Map(entries) => {
            let mut seen = std::collections::HashMap::new();
            entries.retain(|(key, _)| match seen.get(&key.name) {
                None => {
                    seen.insert(key.name.clone(), key.span.line);
                    true
                }
                Some(line) => {
                    problems.error_with_hint(
                        key.span,
                        format!("the key `{}` stands here a second time", key.name),
                        format!("the first is on line {line}: remove one of them"),
                    );
                    false
                }
            });
            entries
                .iter_mut()
                .for_each(|(_, value)| refuse_duplicates(value, problems));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> Node {
        let mut problems = Problems::default();
        let node = parse(text, &mut problems);
        node.unwrap_or_else(|| panic!("{:?}", problems.in_order()))
    }

    #[test]
    fn values_are_what_people_mean() {
        let node = tree(
            "a: 1e-4\nb: 1.0e-4\nc: '1e-4'\nd: yes\ne: true\nf:\ng: [1, x]\nh: 0.1\ni: -3\nj: 1_000",
        );
        let value = |name: &str| node.get(name).unwrap().value().unwrap();
        assert_eq!(value("a"), Value::Float(1e-4));
        assert_eq!(value("b"), Value::Float(1e-4));
        assert_eq!(value("c"), Value::from("1e-4"));
        assert_eq!(value("d"), Value::from("yes"));
        assert_eq!(value("e"), Value::Bool(true));
        assert_eq!(value("f"), Value::Null);
        assert_eq!(value("g"), Value::List(vec![Value::Int(1), "x".into()]));
        assert_eq!(value("i"), Value::Int(-3));
    }

    #[test]
    fn everything_knows_its_place() {
        let text = "ä: 1\nmap:\n  key: value\n  list: [1, 22]\n  none:\nlast: {a: 'q'}\n";
        let node = tree(text);
        let part = |span: Span| &text[span.offset..span.offset + span.len];
        let map = node.get("map").unwrap();
        assert_eq!(part(map.key_span("key")), "key");
        assert_eq!(part(map.get("key").unwrap().span), "value");
        let item = &map.get("list").unwrap().items()[1];
        assert_eq!(
            (part(item.span), item.span.line, item.span.column),
            ("22", 4, 13)
        );
        assert_eq!(
            part(node.get("last").unwrap().get("a").unwrap().span),
            "'q'"
        );
        assert_eq!(node.get("ä").unwrap().span.column, 4);
        assert_eq!(part(map.start()), "key");
    }
}
