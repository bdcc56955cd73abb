//! The metrics of one report as a JSON object: `{"loss":0.5,"note":"NaN"}`. Numbers that are not
//! finite are texts, as everywhere in the study's JSON.

use std::collections::BTreeMap;
use std::fmt;

use hpo_study::{AttemptNumber, Event, EventKind, Timestamp, TrialId};
use rusqlite::{Row, Rows};
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap as _, Serializer};

use crate::store::RowError;

/// Writes metrics.
pub(crate) struct Written<'a>(pub(crate) &'a BTreeMap<String, f64>);

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, x) in self.0 {
            map.serialize_entry(name, &hpo_study::Value::Float(*x))?;
        }
        map.end()
    }
}

/// The reports of a database, one after the other in the same event: making a map of names for each of a
/// million is most of the work.
pub(crate) struct Spoken<'s> {
    rows: Rows<'s>,
    event: Event,
}

impl<'s> Spoken<'s> {
    /// What is in these rows: `seq, at, trial, attempt, step, metrics`.
    pub(crate) fn of(rows: Rows<'s>) -> Self {
        let kind = EventKind::Reported {
            trial: TrialId(0),
            attempt: AttemptNumber(0),
            step: 0,
            metrics: BTreeMap::new(),
        };
        let at = Timestamp(0);
        let event = Event { at, kind };
        Self { rows, event }
    }

    /// Goes to the next row; gives back its number in the log.
    pub(crate) fn next(&mut self) -> Result<Option<i64>, RowError> {
        match self.rows.next()? {
            Some(row) => take(row, &mut self.event).map(Some),
            None => Ok(None),
        }
    }

    /// The report in this row.
    pub(crate) fn event(&self) -> &Event {
        &self.event
    }
}

fn take(row: &Row<'_>, event: &mut Event) -> Result<i64, RowError> {
    let seq: i64 = row.get(0)?;
    let text = row.get_ref(5)?.as_str().map_err(rusqlite::Error::from)?;
    let known = match &mut event.kind {
        EventKind::Reported { metrics, .. } => std::mem::take(metrics),
        _ => BTreeMap::new(),
    };
    event.at = Timestamp(row.get::<_, i64>(1)?.cast_unsigned());
    event.kind = EventKind::Reported {
        trial: TrialId(row.get(2)?),
        attempt: AttemptNumber(row.get(3)?),
        step: row.get::<_, i64>(4)?.cast_unsigned(),
        metrics: read(text, known).map_err(|e| RowError::Json(seq, e))?,
    };
    Ok(seq)
}

/// Reads metrics; `known` are others, most likely of the same names.
fn read(
    text: &str,
    mut known: BTreeMap<String, f64>,
) -> Result<BTreeMap<String, f64>, serde_json::Error> {
    if refill(text, &mut known).is_some() {
        return Ok(known);
    }
    serde_json::from_str::<Read>(text).map(|read| read.0)
}

/// Puts the numbers of a text of the same names, in the same order, in place of those that are there. `None`
/// where it is not such a text; what is in the map is then of no use.
fn refill(text: &str, metrics: &mut BTreeMap<String, f64>) -> Option<()> {
    let plain = |byte: u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
    let mut rest = text.strip_prefix('{')?;
    let mut first = true;
    for (name, value) in metrics {
        if !std::mem::take(&mut first) {
            rest = rest.strip_prefix(',')?;
        }
        // A name that has to be quoted may look like several.
        if name.contains(['"', '\\']) {
            return None;
        }
        rest = rest.strip_prefix('"')?.strip_prefix(name.as_str())?;
        rest = rest.strip_prefix("\":")?;
        let end = rest.bytes().position(|byte| !plain(byte))?;
        let (number, after) = rest.split_at_checked(end)?;
        *value = number.parse().ok()?;
        rest = after;
    }
    (rest == "}").then_some(())
}

/// Reads metrics.
pub(crate) struct Read(pub(crate) BTreeMap<String, f64>);

impl<'de> Deserialize<'de> for Read {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Metrics;
        impl<'de> Visitor<'de> for Metrics {
            type Value = Read;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map from names to numbers")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Read, A::Error> {
                let mut metrics = BTreeMap::new();
                while let Some((name, Number(x))) = map.next_entry()? {
                    metrics.insert(name, x);
                }
                Ok(Read(metrics))
            }
        }
        deserializer.deserialize_map(Metrics)
    }
}

struct Number(f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyNumber;
        impl Visitor<'_> for AnyNumber {
            type Value = Number;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }
            fn visit_f64<E>(self, x: f64) -> Result<Number, E> {
                Ok(Number(x))
            }
            fn visit_u64<E>(self, x: u64) -> Result<Number, E> {
                Ok(Number(x as f64))
            }
            fn visit_i64<E>(self, x: i64) -> Result<Number, E> {
                Ok(Number(x as f64))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Number, E> {
                match text {
                    "NaN" => Ok(Number(f64::NAN)),
                    "Infinity" => Ok(Number(f64::INFINITY)),
                    "-Infinity" => Ok(Number(f64::NEG_INFINITY)),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }
        }
        deserializer.deserialize_any(AnyNumber)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn metrics() -> impl Strategy<Value = BTreeMap<String, f64>> {
        let name = prop_oneof![Just("a".to_owned()), "[ab\",:\\\\1é\n]{0,6}"];
        prop::collection::btree_map(name, prop_oneof![any::<f64>(), -9.0..9.0_f64], 0..4)
    }

    proptest! {
        #[test]
        fn what_was_there_before_does_not_matter(said in metrics(), other in metrics(), same: bool) {
            let text = serde_json::to_string(&Written(&said)).unwrap();
            let known = if same { said.keys().map(|k| (k.clone(), 7.0)).collect() } else { other };
            let found = read(&text, known).unwrap();
            prop_assert!(found.keys().eq(said.keys()), "{}", text);
            for (found, said) in found.values().zip(said.values()) {
                prop_assert!(found == said || found.is_nan() && said.is_nan(), "{}", text);
            }
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        let known = || BTreeMap::from([("a".to_owned(), 1.0)]);
        for text in [
            r#"{"a":nan}"#,
            r#"{"a":}"#,
            r#"{"a":1"#,
            r#"{"a":1}}"#,
            r#"{"a":--1}"#,
            "",
        ] {
            assert!(read(text, known()).is_err(), "{text}");
        }
        assert!(read(r#"{"b":2}"#, known()).is_ok_and(|found| found.contains_key("b")));
    }
}
