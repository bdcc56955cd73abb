//! Values as Python writes them, and nested parameters as a script sees them.

use serde_json::{Map, Value as Json};

use hpo_recipe::{Config, Value};

/// A configuration with its nested parameters as a script sees them.
pub(super) enum Tree {
    Leaf(Value),
    Group(std::collections::BTreeMap<String, Tree>),
}

impl Tree {
    pub(super) fn text(&self) -> String {
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

pub(super) fn tree(config: &Config, groups: &[String]) -> std::collections::BTreeMap<String, Tree> {
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
