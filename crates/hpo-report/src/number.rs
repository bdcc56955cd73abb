//! Numbers, moments and lengths of time as people read them.

use std::time::Duration;

use hpo_study::{Timestamp, Value};
use serde::Serializer;

use crate::text::shortened;

/// A number in four significant digits, trailing zeros dropped: `0.01235`, `1.2e-5`, `NaN`.
#[must_use]
pub fn short(x: f64) -> String {
    if x == 0.0 || !x.is_finite() {
        return format!("{x}");
    }
    // Rounded first, so that 0.99996 is not judged by a magnitude it rounds out of.
    let rounded: f64 = format!("{x:.3e}").parse().unwrap_or(x);
    let magnitude = rounded.abs().log10().floor() as i32;
    if (-4..6).contains(&magnitude) {
        let decimals = (3 - magnitude).max(0) as usize;
        let text = format!("{rounded:.decimals$}");
        if text.contains('.') {
            return text.trim_end_matches('0').trim_end_matches('.').to_owned();
        }
        return text;
    }
    format!("{rounded:e}")
}

/// The longest text in full, in characters.
const LONGEST: usize = 120;

/// A value as [`short`] as it gets: floats rounded, very long texts without their middle, everything else as it is.
#[must_use]
pub fn short_value(value: &Value) -> String {
    match value {
        Value::Float(x) => short(*x),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(short_value).collect();
            shortened(&format!("[{}]", items.join(", ")), LONGEST)
        }
        other => shortened(&other.to_string(), LONGEST),
    }
}

/// A length of time in its two largest units: `8.4s`, `3m 05s`, `2h 10m`, `3d 4h`.
#[must_use]
pub fn time(duration: Duration) -> String {
    let tenths = (duration.as_millis() + 50) / 100;
    if tenths < 600 {
        return format!("{}.{}s", tenths / 10, tenths % 10);
    }
    let seconds = (duration.as_millis() + 500) / 1000;
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    if hours == 0 {
        format!("{minutes}m {:02}s", seconds % 60)
    } else if hours < 24 {
        format!("{hours}h {:02}m", minutes % 60)
    } else {
        format!("{}d {}h", hours / 24, hours % 24)
    }
}

/// A moment as RFC 3339 in UTC, to the millisecond.
#[must_use]
pub fn moment(at: Timestamp) -> String {
    let millis = i64::try_from(at.0).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(millis)
        .map_or_else(|_| at.0.to_string(), |at| format!("{at:.3}"))
}

/// Serde: a moment as RFC 3339, or null.
pub(crate) fn serialize_moment<S: Serializer>(
    at: &Option<Timestamp>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => serializer.serialize_str(&moment(*at)),
        None => serializer.serialize_none(),
    }
}

/// Seconds, to the millisecond.
pub(crate) fn seconds(duration: Duration) -> f64 {
    duration.as_millis() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_four_digits() {
        for (x, wanted) in [
            (0.012_345_6, "0.01235"),
            (0.999_96, "1"),
            (97.123_4, "97.12"),
            (123_456.0, "123500"),
            (1.0e-5, "1e-5"),
            (-2.5, "-2.5"),
            (0.0, "0"),
            (1.5e9, "1.5e9"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(short(x), wanted);
        }
    }

    #[test]
    fn times_keep_two_units() {
        for (seconds, wanted) in [
            (0.0, "0.0s"),
            (8.44, "8.4s"),
            (59.94, "59.9s"),
            (59.96, "1m 00s"),
            (185.0, "3m 05s"),
            (7_800.0, "2h 10m"),
            (273_600.0, "3d 4h"),
        ] {
            assert_eq!(time(Duration::from_secs_f64(seconds)), wanted);
        }
    }

    #[test]
    fn moments_are_rfc_3339() {
        assert_eq!(
            moment(Timestamp(1_700_000_000_123)),
            "2023-11-14T22:13:20.123Z"
        );
    }
}
