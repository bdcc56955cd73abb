//! Numbers and texts as the report's JSON holds them: short, and never in the way of the page.

use hpo_study::Value;

use crate::text::{printable, printable_lines};

/// JSON, as sections hand it in.
pub type Json = serde_json::Value;

/// A text of a trial is cut after so many characters.
const LONGEST_TEXT: usize = 400;

/// A number in six significant digits; `"NaN"`, `"Infinity"` or `"-Infinity"` where JSON has none.
pub(super) fn number(x: f64) -> Json {
    if !x.is_finite() {
        let text = match x {
            x if x.is_nan() => "NaN",
            x if x > 0.0 => "Infinity",
            _ => "-Infinity",
        };
        return Json::from(text);
    }
    // Whole numbers are written as such: shorter, and steps and counts stay exact.
    if x.fract() == 0.0 && x.abs() < 1e6 {
        return Json::from(x as i64);
    }
    let rounded: f64 = format!("{x:.5e}").parse().unwrap_or(x);
    Json::from(rounded)
}

/// A number that may be missing.
pub(super) fn maybe(x: Option<f64>) -> Json {
    x.map_or(Json::Null, number)
}

/// A list of numbers.
pub(super) fn numbers(values: impl IntoIterator<Item = f64>) -> Json {
    Json::Array(values.into_iter().map(number).collect())
}

/// A parameter's value: numbers as [`number`], the rest as people read it.
pub(super) fn value(value: &Value) -> Json {
    match value {
        Value::Int(i) => Json::from(*i),
        Value::Float(x) => number(*x),
        Value::Bool(b) => Json::from(*b),
        Value::Text(text) => Json::from(short_text(text)),
        other => Json::from(short_text(&crate::number::short_value(other))),
    }
}

/// A text in one line, and not a long one.
pub(super) fn short_text(text: &str) -> String {
    let mut shown: String = printable(text);
    if let Some((end, _)) = shown.char_indices().nth(LONGEST_TEXT) {
        shown.truncate(end);
        shown.push('…');
    }
    shown
}

/// A text of several lines without what terminals act upon.
pub(super) fn lines(text: &str) -> String {
    printable_lines(text.trim_end_matches('\n'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_every_one_can_be_written() {
        for (x, wanted) in [
            (0.123_456_789, "0.123457"),
            (27.0, "27"),
            (-0.5, "-0.5"),
            (1e-12, "1e-12"),
            (123_456_789.0, "123457000.0"),
            (f64::NAN, "\"NaN\""),
            (f64::NEG_INFINITY, "\"-Infinity\""),
        ] {
            assert_eq!(number(x).to_string(), wanted);
        }
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let text = short_text(&"ä\u{1b}[31m".repeat(1000));
        assert_eq!(text.chars().count(), LONGEST_TEXT + 1);
        assert!(text.ends_with('…'));
        assert_eq!(lines("a\n\u{1b}[1mb\u{7}"), "a\nb ");
    }
}
