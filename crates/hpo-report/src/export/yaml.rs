//! The parameters as a YAML map, readable by YAML 1.1 parsers (PyYAML) and 1.2 ones alike.

use std::fmt::Write as _;

use hpo_study::study_file::write::quoted;
use hpo_study::{History, Trial, Value};

use super::lineage::{changing, stretches};

pub(super) fn write(history: &History, trial: &Trial) -> String {
    let mut text = format!("# {}\n", headline_comment(history, trial));
    if trial.config.is_empty() {
        text.push_str("{}\n");
    }
    let stretches = stretches(history, trial);
    let changing = changing(&stretches);
    let fixed = trial
        .config
        .iter()
        .filter(|(name, _)| !changing.contains(name));
    for (name, value) in fixed {
        let _ = writeln!(text, "{}: {}", string(name), scalar(value));
    }
    if changing.is_empty() {
        return text;
    }
    text.push_str("# What population-based training changed, by step.\npbt_schedule:\n");
    for stretch in &stretches {
        let _ = write!(
            text,
            "  - {{from_step: {}, to_step: {}",
            stretch.from_step, stretch.to_step
        );
        for name in &changing {
            if let Some(value) = stretch.params.get(name) {
                let _ = write!(text, ", {}: {}", string(name), scalar(value));
            }
        }
        text.push_str("}\n");
    }
    text
}

fn headline_comment(history: &History, trial: &Trial) -> String {
    super::headline(history, trial).replace(char::is_control, " ")
}

/// A value in one line, lists in brackets.
pub(crate) fn scalar(value: &Value) -> String {
    match value {
        Value::Float(x) => float(*x),
        Value::Text(text) => string(text),
        Value::List(items) => {
            format!(
                "[{}]",
                items.iter().map(scalar).collect::<Vec<_>>().join(", ")
            )
        }
        other => other.to_string(),
    }
}

/// A float that YAML 1.1 takes for one too: PyYAML reads `1e-5` as a text, `1.0e-5` as a number,
/// and an exponent without a sign as a text.
fn float(x: f64) -> String {
    let text = serde_yaml::to_string(&x)
        .unwrap_or_default()
        .trim_end()
        .to_owned();
    let Some((mantissa, exponent)) = text.split_once('e') else {
        return text;
    };
    let mantissa = if mantissa.contains('.') {
        mantissa.to_owned()
    } else {
        format!("{mantissa}.0")
    };
    let sign = if exponent.starts_with('-') { "" } else { "+" };
    format!("{mantissa}e{sign}{exponent}")
}

/// A text: as it is where no YAML reader can take it for anything else, else in quotes.
pub(crate) fn string(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let written = serde_yaml::to_string(text).unwrap_or_default();
    if plain && written.trim_end() == text && !WORDS.contains(&text.to_lowercase().as_str()) {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// What some reader takes for true, false, null or a number.
const WORDS: [&str; 11] = [
    "y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf",
];
