//! The JSON Schema of the study file, for editors that complete and check while one types.
//!
//! It is made from the tables that the reader checks with. What several keys mean together (bounds
//! in the right order, conditions, …) no schema can say: that is `hpo check`'s work.

use std::ops::Bound;

use serde_json::{Map, Value as Json, json};

use crate::study_file::shape::{Shape, Table};
use crate::study_file::{PARAMETER_ENTRY, STUDY};

/// The JSON Schema (draft 2020-12) of the study file.
#[must_use]
pub fn json_schema() -> Json {
    let mut schema = table(&STUDY);
    if let Json::Object(object) = &mut schema {
        object.insert(
            "$schema".into(),
            json!("https://json-schema.org/draft/2020-12/schema"),
        );
        object.insert("title".into(), json!("hpo study file"));
        object.insert(
            "$defs".into(),
            json!({ "value": value(), "parameters": shape(Shape::Map(&PARAMETER_ENTRY)) }),
        );
        // A trial runs the built-in trainer, or a program.
        object.insert(
            "oneOf".into(),
            json!([
                { "required": ["trainer"] },
                { "anyOf": [{ "required": ["program"] }, { "required": ["command"] }] }
            ]),
        );
    }
    schema
}

fn value() -> Json {
    json!({
        "description": "a number, a text, true, false, null, or a list of them",
        "anyOf": [
            { "type": ["null", "boolean", "number", "string"] },
            { "type": "array", "items": { "$ref": "#/$defs/value" } }
        ]
    })
}

fn table(table: &Table) -> Json {
    let mut properties = Map::new();
    for key in table.keys {
        let mut property = shape(key.shape);
        if let Json::Object(object) = &mut property {
            object.insert("description".into(), json!(key.meaning));
            if key.passed_over.is_some() {
                object.insert("deprecated".into(), json!(true));
            }
        }
        properties.insert(key.name.to_owned(), property);
    }
    let required: Vec<&str> = table
        .keys
        .iter()
        .filter(|k| k.required)
        .map(|k| k.name)
        .collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false
    })
}

fn shape(shape_: Shape) -> Json {
    match shape_ {
        Shape::Text => json!({ "type": "string", "pattern": "\\S" }),
        Shape::Word(words) => {
            let words: Vec<Json> = words
                .iter()
                .filter(|word| word.supported)
                .map(|word| json!({ "const": word.name, "description": word.meaning }))
                .collect();
            json!({ "oneOf": words })
        }
        Shape::Name(_, names) => json!({ "enum": names() }),
        Shape::Flag => json!({ "type": "boolean" }),
        Shape::Number(low, high) => number(low, high),
        Shape::Whole(low, high) => {
            // The largest number of 64 bits is no number of JavaScript's: left out.
            let mut schema = json!({ "type": "integer", "minimum": low });
            if high != i64::MAX
                && let Json::Object(object) = &mut schema
            {
                object.insert("maximum".into(), json!(high));
            }
            schema
        }
        Shape::Duration => json!({
            "anyOf": [
                { "type": "number", "minimum": 0 },
                { "type": "string", "pattern": "^\\s*[0-9P].*[a-zA-Z]\\s*$", "examples": ["8h", "1h30m"] }
            ]
        }),
        Shape::Bytes => {
            json!({ "type": "string", "pattern": BYTES, "examples": ["8GiB", "512MiB"] })
        }
        Shape::BytesOrAuto => json!({
            "anyOf": [{ "const": "auto" }, { "type": "string", "pattern": BYTES }]
        }),
        Shape::Value => json!({ "$ref": "#/$defs/value" }),
        Shape::List(of, least) => {
            json!({ "type": "array", "items": shape(*of), "minItems": least })
        }
        Shape::Table(of) => table(of),
        Shape::Parameters(_) => json!({ "$ref": "#/$defs/parameters" }),
        Shape::Anything => json!({}),
        Shape::Map(of) => json!({ "type": "object", "additionalProperties": shape(*of) }),
        Shape::Either(_, shapes) => {
            json!({ "anyOf": shapes.iter().map(|one| shape(*one)).collect::<Vec<_>>() })
        }
    }
}

/// An amount of memory: a number and a unit.
const BYTES: &str = "^\\s*[0-9]+(\\.[0-9]+)?\\s*[kKmMgGtT][iI]?[bB]\\s*$";

fn number(low: Bound<f64>, high: Bound<f64>) -> Json {
    let mut schema = Map::from_iter([("type".to_owned(), json!("number"))]);
    let low = match low {
        Bound::Included(x) => Some(("minimum", x)),
        Bound::Excluded(x) => Some(("exclusiveMinimum", x)),
        Bound::Unbounded => None,
    };
    let high = match high {
        Bound::Included(x) => Some(("maximum", x)),
        Bound::Excluded(x) => Some(("exclusiveMaximum", x)),
        Bound::Unbounded => None,
    };
    for (name, x) in low.into_iter().chain(high) {
        schema.insert(name.to_owned(), json!(x));
    }
    Json::Object(schema)
}
