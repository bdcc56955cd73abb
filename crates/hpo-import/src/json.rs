//! Trials as JSON: a list of objects (`hpo trials -f json`), or an object a line.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use hpo_study::import::{Row, Rows};
use hpo_study::protocol::quote_non_finite;
use hpo_study::{Config, Value};
use serde_json::{Map, Value as Json};

use crate::{ImportError, Wanted, some, states};

/// Keys under which programs keep the parameters of a trial.
const PARAMS: [&str; 3] = ["params", "config", "parameters"];
/// Keys under which they keep its metrics.
const METRICS: [&str; 3] = ["metrics", "summary", "result"];

pub(crate) fn read(path: &Path, text: &str, wanted: &Wanted) -> Result<Rows, ImportError> {
    let shown = path.display().to_string();
    let mut rows = Vec::new();
    for (name, at, object) in objects(&shown, text)? {
        if object.contains_key("op_code") {
            return Err(ImportError::new(format!("{shown} is a journal of Optuna"))
                .hint("copy it into a database: optuna.copy_study(from_storage=…, to_storage=\"sqlite:///old.db\", …)"));
        }
        rows.push(row(name, &at, &object, wanted)?);
    }
    if !rows.is_empty() && rows.iter().all(|row| row.params.is_empty()) {
        let wish = some(wanted.parameters.iter().map(String::as_str));
        return Err(ImportError::new(format!(
            "{shown}: no object has a parameter of the study ({wish})"
        ))
        .hint("parameters stand under `params`, or beside the metric"));
    }
    Ok(Rows {
        source: shown,
        goal: None,
        horizon: None,
        rows,
    })
}

/// Parts of configurations: the objects, or their `params`.
pub(crate) fn configurations(
    path: &Path,
    text: &str,
    parameters: &BTreeSet<String>,
) -> Result<Vec<(String, Config)>, ImportError> {
    let shown = path.display().to_string();
    let mut found = Vec::new();
    for (name, at, object) in objects(&shown, text)? {
        let mut params = BTreeMap::new();
        let inner = PARAMS.iter().find_map(|key| object.get(*key)?.as_object());
        flatten(inner.unwrap_or(&object), "", &mut params);
        params.retain(|name, _| parameters.contains(name));
        if params.is_empty() {
            let wish = some(parameters.iter().map(String::as_str));
            return Err(ImportError::new(format!(
                "{at}: there is no parameter of the study ({wish})"
            )));
        }
        found.push((name, params.into_iter().collect()));
    }
    Ok(found)
}

/// What an object is called, where it stands, and what is in it.
type Found = (String, String, Map<String, Json>);

/// The objects of a file: what each is called, where it stands, and what is in it.
fn objects(shown: &str, text: &str) -> Result<Vec<Found>, ImportError> {
    let wrong = |at: &str, why: &str| {
        ImportError::new(format!("{at}: {why}"))
            .hint("a file has a list of objects, or an object a line")
    };
    if text.trim_start().starts_with('[') {
        let list: Vec<Json> = parse(text).map_err(|error| {
            wrong(
                &format!("{shown}:{}:{}", error.line(), error.column()),
                &error.to_string(),
            )
        })?;
        let object = |(i, json): (usize, Json)| match json {
            Json::Object(object) => Ok((format!("item {i}"), format!("{shown}: item {i}"), object)),
            _ => Err(wrong(&format!("{shown}: item {i}"), "it is no object")),
        };
        return list.into_iter().enumerate().map(object).collect();
    }
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty());
    let object = |(i, line): (usize, &str)| {
        let at = format!("{shown}:{}", i + 1);
        match parse(line) {
            Ok(Json::Object(object)) => Ok((format!("line {}", i + 1), at, object)),
            Ok(_) => Err(wrong(&at, "the line is no object")),
            Err(error) => Err(wrong(
                &format!("{at}:{}", error.column()),
                &error.to_string(),
            )),
        }
    };
    lines.map(object).collect()
}

/// Also what Python writes: bare `NaN` and `Infinity`.
fn parse<T: serde::de::DeserializeOwned>(text: &str) -> serde_json::Result<T> {
    serde_json::from_str(text)
        .or_else(|error| serde_json::from_str(&quote_non_finite(text)).map_err(|_| error))
}

fn row(
    name: String,
    at: &str,
    object: &Map<String, Json>,
    wanted: &Wanted,
) -> Result<Row, ImportError> {
    let wrong = |what: String| ImportError::new(format!("{at}: {what}"));
    let (metric, asked) = wanted.metric();
    let inner = METRICS
        .iter()
        .filter_map(|key| object.get(*key)?.as_object());
    let places = std::iter::once(object).chain(inner);
    let named = places.filter_map(|place| place.get(metric)).next();
    let value = named.or_else(|| object.get("value").filter(|_| !asked));
    let value = match value {
        None | Some(Json::Null) => None,
        Some(json) => {
            Some(number(json).ok_or_else(|| wrong(format!("`{metric}` is {json}, not a number")))?)
        }
    };
    let mut params = BTreeMap::new();
    match PARAMS.iter().find_map(|key| object.get(*key)?.as_object()) {
        Some(given) => flatten(given, "", &mut params),
        None => {
            let known = object
                .iter()
                .filter(|(key, _)| wanted.parameters.contains(*key));
            let known = known
                .map(|(key, json)| (key.clone(), json.clone()))
                .collect();
            flatten(&known, "", &mut params);
        }
    }
    let curve = reports(object).map_err(wrong)?;
    let text = |key: &str| object.get(key).and_then(Json::as_str);
    let state = text("state").or_else(|| text("status")).unwrap_or("");
    let has_value = value.is_some() || !curve.is_empty();
    let end = states::read(at, state, text("reason"), has_value)?;
    Ok(Row {
        name,
        params,
        end,
        value: value.or(curve.last().map(|(_, value)| *value)),
        curve: match (
            curve.is_empty(),
            object.get("steps").and_then(Json::as_u64),
            value,
        ) {
            (true, Some(steps), Some(value)) => vec![(steps, value)],
            _ => curve,
        },
    })
}

/// Values by their full names: `optimizer.lr` is `lr` in `optimizer`. What is `{value: x}`, as W&B writes it, is x.
fn flatten(object: &Map<String, Json>, above: &str, found: &mut BTreeMap<String, Value>) {
    for (key, json) in object {
        let name = format!("{above}{key}");
        match json {
            Json::Object(inner) => match (inner.get("value"), inner.len()) {
                (Some(value), 1 | 2) if !value.is_object() => insert(name, value, found),
                _ => flatten(inner, &format!("{name}."), found),
            },
            _ => insert(name, json, found),
        }
    }
}

fn insert(name: String, json: &Json, found: &mut BTreeMap<String, Value>) {
    if let Ok(value) = serde_json::from_value(json.clone()) {
        found.insert(name, value);
    }
}

fn reports(object: &Map<String, Json>) -> Result<Vec<(u64, f64)>, String> {
    let Some(json) = object.get("reports") else {
        return Ok(Vec::new());
    };
    let pairs = json
        .as_array()
        .ok_or("`reports` is no list of pairs of step and value")?;
    let mut curve: Vec<(u64, f64)> = Vec::with_capacity(pairs.len());
    for pair in pairs {
        let both = pair.as_array().filter(|pair| pair.len() == 2);
        let both = both.and_then(|pair| Some((pair.first()?.as_u64()?, number(pair.get(1)?)?)));
        let (step, value) =
            both.ok_or_else(|| format!("`reports` has pairs of step and value, not {pair}"))?;
        if curve.last().is_some_and(|(last, _)| *last >= step) {
            return Err(format!("the steps of `reports` must rise: {step}"));
        }
        curve.push((step, value));
    }
    Ok(curve)
}

/// A number, not finite perhaps.
fn number(json: &Json) -> Option<f64> {
    match json.as_str() {
        Some("NaN") => Some(f64::NAN),
        Some("Infinity") => Some(f64::INFINITY),
        Some("-Infinity") => Some(f64::NEG_INFINITY),
        _ => json.as_f64(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hpo_study::import::RowEnd;

    fn rows(text: &str) -> Result<Vec<Row>, String> {
        let wanted = Wanted {
            objective: "val_loss".to_owned(),
            parameters: ["lr", "optimizer.name"].map(str::to_owned).into(),
            ..Wanted::default()
        };
        let read = read(Path::new("t.jsonl"), text, &wanted);
        read.map(|rows| rows.rows)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn lines_and_lists_are_read() {
        let lines = "{\"params\": {\"lr\": 0.1}, \"val_loss\": 0.5}\n\n\
                     {\"lr\": 0.2, \"val_loss\": NaN}\n\
                     {\"config\": {\"lr\": {\"value\": 0.3}, \"optimizer\": {\"name\": \"sgd\"}}, \"status\": \"pruned\", \
                      \"reports\": [[1, 2.0], [3, 1.0]]}\n";
        let found = rows(lines).unwrap();
        assert_eq!(found[0].params["lr"], Value::Float(0.1));
        assert!(found[1].value.unwrap().is_nan() && found[1].name == "line 3");
        assert_eq!(found[2].params["optimizer.name"], "sgd".into());
        assert_eq!(
            (found[2].end, found[2].value, found[2].curve.len()),
            (RowEnd::Stopped, Some(1.0), 2)
        );
        let ours = r#"[{"trial": 0, "state": "completed", "params": {"lr": 0.1}, "value": 0.5, "steps": 9},
                       {"trial": 1, "state": "failed", "reason": "lost", "params": {"lr": 0.1}, "value": null}]"#;
        let found = rows(ours).unwrap();
        assert_eq!(
            (found[0].value, found[0].curve.clone()),
            (Some(0.5), vec![(9, 0.5)])
        );
        assert_eq!(found[1].end, RowEnd::Unfinished);
    }

    #[test]
    fn mistakes_have_their_place() {
        for (text, word) in [
            ("{\"lr\": 0.1, \"val_loss\": 1}\n{\"lr\": \n", "t.jsonl:2:"),
            ("[1]", "item 0"),
            (
                "{\"lr\": 0.1, \"val_loss\": \"low\"}",
                "`val_loss` is \"low\"",
            ),
            ("{\"lr\": 0.1, \"state\": \"purple\"}", "`purple`"),
            (
                "{\"lr\": 0.1, \"reports\": [[2, 1.0], [1, 1.0]]}",
                "must rise",
            ),
            ("{\"a\": 1}", "no object has a parameter"),
            ("{\"op_code\": 0}", "journal of Optuna"),
        ] {
            let error = rows(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
