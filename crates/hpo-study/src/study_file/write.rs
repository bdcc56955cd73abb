//! A search space written out as `parameters` of a study file: the inverse of reading it.

use std::fmt::Write as _;

use hpo_recipe::Value;

use crate::law::Law;
use crate::space::{Branch, Domain, Scale, Space};

/// The space as the text of a `parameters` key, in the order in which it is decided. Reading it
/// gives the same space; PyYAML reads it too.
#[must_use]
pub fn parameters(space: &Space) -> String {
    let mut out = String::from("parameters:\n");
    for parameter in &space.parameters {
        // Writing to a string cannot fail.
        let _ = match parameter.branches.as_slice() {
            [branch] => writeln!(out, "  {}: {}", text(&parameter.name), map(branch)),
            _ => writeln!(out, "  {}:", text(&parameter.name)),
        };
        if parameter.branches.len() > 1 {
            for branch in &parameter.branches {
                let _ = writeln!(out, "    - {}", map(branch));
            }
        }
    }
    out
}

fn map(branch: &Branch) -> String {
    let mut entries = content(&branch.domain);
    if !branch.when.0.is_empty() {
        let clauses = branch.when.0.iter().map(|clause| {
            let values = match clause.any_of.as_slice() {
                // A list by itself would read as several values.
                [value] if !matches!(value, Value::List(_)) => scalar(value),
                values => list(values),
            };
            format!("{}: {values}", text(&clause.parameter))
        });
        entries.push(format!(
            "when: {{{}}}",
            clauses.collect::<Vec<_>>().join(", ")
        ));
    }
    format!("{{{}}}", entries.join(", "))
}

fn content(domain: &Domain) -> Vec<String> {
    match domain {
        Domain::Constant(value) => vec![format!("value: {}", scalar(value))],
        Domain::Categorical { choices, weights } => {
            let mut entries = vec![format!("values: {}", list(choices))];
            if let Some(weights) = weights {
                let weights: Vec<Value> = weights.iter().copied().map(Value::Float).collect();
                entries.push(format!("probabilities: {}", list(&weights)));
            }
            entries
        }
        Domain::Law { law, step, whole } => law_entries(*law, *step, *whole),
        Domain::Int {
            low,
            high,
            log,
            step,
        } => {
            let distribution = match (log, step) {
                (false, _) => "int_uniform",
                (true, 1) => "int_log_uniform",
                (true, _) => "q_log_uniform_values",
            };
            let step = (*step != 1).then_some(Value::Int(*step));
            range((*low).into(), (*high).into(), step, distribution)
        }
        Domain::Float {
            low,
            high,
            scale,
            step,
        } => {
            let distribution = match (scale, step) {
                (Scale::Linear, None) => "uniform",
                (Scale::Linear, Some(_)) => "q_uniform",
                (Scale::Log, None) => "log_uniform_values",
                (Scale::Log, Some(_)) => "q_log_uniform_values",
                (Scale::OneMinusLog, _) => "one_minus_log",
            };
            let step = step.map(Value::Float);
            range((*low).into(), (*high).into(), step, distribution)
        }
    }
}

fn range(low: Value, high: Value, step: Option<Value>, distribution: &str) -> Vec<String> {
    let mut entries = vec![
        format!("min: {}", scalar(&low)),
        format!("max: {}", scalar(&high)),
    ];
    entries.extend(step.map(|q| format!("q: {}", scalar(&q))));
    entries.push(format!("distribution: {distribution}"));
    entries
}

/// The keys of a distribution, as a study file has them.
fn law_entries(law: Law, step: Option<f64>, whole: bool) -> Vec<String> {
    let (name, numbers) = match law {
        Law::Normal { mu, sigma } => ("normal", [("mu", mu), ("sigma", sigma)]),
        Law::LogNormal { mu, sigma } => ("log_normal", [("mu", mu), ("sigma", sigma)]),
        Law::Beta { a, b } => ("beta", [("a", a), ("b", b)]),
    };
    let mut entries: Vec<String> = numbers
        .iter()
        .map(|(key, x)| format!("{key}: {}", float(*x)))
        .collect();
    // A `q` that is written as a whole number makes whole numbers.
    entries.extend(step.map(|q| match whole {
        true => format!("q: {q}"),
        false => format!("q: {}", float(q)),
    }));
    let quantized = if step.is_some() { "q_" } else { "" };
    entries.push(format!("distribution: {quantized}{name}"));
    entries
}

fn list(values: &[Value]) -> String {
    format!(
        "[{}]",
        values.iter().map(scalar).collect::<Vec<_>>().join(", ")
    )
}

fn scalar(value: &Value) -> String {
    match value {
        Value::Float(x) => float(*x),
        Value::Text(s) => text(s),
        Value::List(items) => list(items),
        other => other.to_string(),
    }
}

/// A float that every YAML reader takes for one: PyYAML takes `1e-4` for a text, `1.0e-4` not, and
/// wants a sign in the exponent.
pub(crate) fn float(x: f64) -> String {
    if x != 0.0 && (x.abs() < 1e-3 || x.abs() >= 1e6) {
        let scientific = format!("{x:e}");
        let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
        let point = if digits.contains('.') { "" } else { ".0" };
        let sign = if exponent.starts_with('-') { "" } else { "+" };
        return format!("{digits}{point}e{sign}{exponent}");
    }
    format!("{x:?}")
}

/// A text, in quotes where it would be read as something else without them.
pub(crate) fn text(text: &str) -> String {
    const WORDS: &[&str] = &[
        "true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf",
    ];
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/'))
        && !WORDS.contains(&text.to_lowercase().as_str());
    if plain { text.to_owned() } else { quoted(text) }
}

/// A text in double quotes, for readers of YAML 1.1 and 1.2: as JSON has it, but for characters that YAML wants written
/// as escapes.
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    for c in serde_json::Value::from(text).to_string().chars() {
        match c {
            '\u{7f}'..='\u{9f}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{feff}'
            | '\u{fffe}'
            | '\u{ffff}' => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_yaml_has_no_room_for_are_escapes() {
        assert_eq!(
            quoted("a\u{7f}\u{85}\u{2028}\u{feff}"),
            r#""a\u007f\u0085\u2028\ufeff""#
        );
        assert_eq!(quoted("é \u{1f600}\n"), "\"é \u{1f600}\\n\"");
    }
}
