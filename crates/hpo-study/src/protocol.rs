//! What `hpo` and a trial's process say to each other: environment variables one way, lines of JSON
//! the other. The contract is in `docs/protocol.md`.

use std::collections::BTreeMap;

use serde_json::Value as Json;

/// Name of the study.
pub const STUDY: &str = "HPO_STUDY";
/// Number of the trial.
pub const TRIAL: &str = "HPO_TRIAL";
/// Number of the attempt, from 1.
pub const ATTEMPT: &str = "HPO_ATTEMPT";
/// The trial's own directory.
pub const TRIAL_DIR: &str = "HPO_TRIAL_DIR";
/// The trial's seed, an unsigned 32-bit number (what NumPy and PyTorch both take).
pub const SEED: &str = "HPO_SEED";
/// The step after which to stop this time; absent: train to the end.
pub const BUDGET: &str = "HPO_BUDGET";
/// The full length of a trial in steps, where the study knows it: the LR schedule's horizon.
pub const BUDGET_MAX: &str = "HPO_BUDGET_MAX";
/// File with the configuration as JSON.
pub const PARAMS_FILE: &str = "HPO_PARAMS_FILE";
/// The configuration as JSON, inline.
pub const PARAMS: &str = "HPO_PARAMS";
/// File to append report lines to.
pub const METRICS_FILE: &str = "HPO_METRICS_FILE";
/// Directory for checkpoints, the same for all attempts of a trial.
pub const CHECKPOINT_DIR: &str = "HPO_CHECKPOINT_DIR";
/// File in which the process finds what the user wishes of it: a JSON object, replaced in one piece;
/// not there while there is no wish.
pub const CONTROL_FILE: &str = "HPO_CONTROL_FILE";
/// In the control file: true when the process is to end, at a place that suits it.
pub const CONTROL_STOP: &str = "stop";
/// The trial whose checkpoints this one began from, with values of its own for what may change; absent: it began
/// afresh. A copy of them is in [`CHECKPOINT_DIR`] and is named by [`RESUME_FROM`] as a trial's own are.
pub const PARENT: &str = "HPO_PARENT";
/// Directory of checkpoints to go on from; absent when there is none.
pub const RESUME_FROM: &str = "HPO_RESUME_FROM";
/// The step to go back to when a trial is rescued from divergence: go on from the newest checkpoint
/// that is not after it, with the learning rate that the configuration now has (all else in it is
/// as it was). Set only together with [`RESUME_FROM`]; absent: go on from the newest there is.
pub const RESUME_STEP: &str = "HPO_RESUME_STEP";
/// How many of the last checkpoints to keep, one per reported step, and of the older ones fewer and
/// fewer, so that a trial can be taken back to one before it diverged. Set only for studies with rescue; absent or 0: only the newest is
/// ever asked for.
pub const KEEP_CHECKPOINTS: &str = "HPO_KEEP_CHECKPOINTS";
/// The built-in trainer's task, JSON of [`crate::TrainerSpec`].
pub const TRAINER: &str = "HPO_TRAINER";
/// A word that marks every process of one study run, so that none is left behind.
pub const SESSION: &str = "HPO_SESSION";

/// A metric of this name before another's says what that one is for a model that knows nothing:
/// `chance/val_loss`.
pub const CHANCE: &str = "chance/";

/// The exit code by which a process asks to be started again.
pub const EXIT_RETRY: i32 = 75;
/// What a report line on stdout begins with; readers take one without the blank, too.
pub const STDOUT_PREFIX: &str = "[hpo] ";

/// What a report line on stdout begins with in programs written for Syne Tune.
pub const SYNE_TUNE_PREFIX: &str = "[tune-metric]: ";

/// One line that a trial reported.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// How far the training is; `None`: one more than the last time.
    pub step: Option<u64>,
    /// Every number in the line but the step.
    pub metrics: BTreeMap<String, f64>,
}

/// Reads a report line: one JSON object. Bare `NaN`, `Infinity` and `-Infinity` are accepted, since
/// Python's `json` writes them. True and false count as 1 and 0; texts, lists and objects are passed over,
/// unless a line has no number but one within quotes, which is a mistake.
///
/// # Errors
/// A sentence saying what is wrong with the line.
pub fn parse_report(line: &str) -> Result<Report, String> {
    // Most lines are plain JSON; only the others pay for a second look.
    let json: Json = match serde_json::from_str(line) {
        Ok(json) => json,
        Err(_) => serde_json::from_str(&quote_non_finite(line))
            .map_err(|e| format!("not a JSON object: {e}"))?,
    };
    let Json::Object(object) = json else {
        return Err("not a JSON object".to_owned());
    };
    let mut report = Report {
        step: None,
        metrics: BTreeMap::new(),
    };
    let mut quoted = None;
    for (name, value) in object {
        if name == "step" {
            report.step = Some(read_step(&value)?);
        } else if let Some(x) = number(&value) {
            report.metrics.insert(name, x);
        } else if value
            .as_str()
            .is_some_and(|text| text.parse::<f64>().is_ok())
        {
            quoted.get_or_insert((name, value));
        }
    }
    match quoted {
        Some((name, text)) if report.metrics.is_empty() => Err(format!(
            "`{name}` is the text {text}: write the number without quotes"
        )),
        _ => Ok(report),
    }
}

fn read_step(value: &Json) -> Result<u64, String> {
    let step = number(value).filter(|x| x.fract() == 0.0 && (0.0..9e15).contains(x));
    step.map(|x| x as u64)
        .ok_or_else(|| format!("`step` must be a whole number from 0, not {value}"))
}

fn number(value: &Json) -> Option<f64> {
    match value {
        Json::Number(n) => n.as_f64(),
        Json::Bool(b) => Some(f64::from(u8::from(*b))),
        Json::String(s) => match s.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

/// Puts quotes around bare `NaN`, `Infinity` and `-Infinity` outside of texts, so that what Python's
/// `json` writes can be read as JSON.
pub fn quote_non_finite(line: &str) -> String {
    let mut out = String::with_capacity(line.len() + 8);
    let mut rest = line;
    let (mut in_text, mut escaped) = (false, false);
    while let Some(c) = rest.chars().next() {
        if !in_text
            && let Some(word) = ["NaN", "-Infinity", "Infinity"]
                .iter()
                .find(|w| rest.starts_with(**w))
        {
            out.push('"');
            out.push_str(word);
            out.push('"');
            rest = &rest[word.len()..];
            continue;
        }
        if escaped {
            escaped = false;
        } else if in_text && c == '\\' {
            escaped = true;
        } else if c == '"' {
            in_text = !in_text;
        }
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    out
}

/// Serde for metrics: numbers that are not finite become `"NaN"`, `"Infinity"`, `"-Infinity"`.
pub(crate) mod metrics {
    use std::collections::BTreeMap;

    use hpo_recipe::Value;
    use serde::ser::SerializeMap as _;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(crate) fn serialize<S: Serializer>(
        metrics: &BTreeMap<String, f64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(metrics.len()))?;
        for (name, x) in metrics {
            map.serialize_entry(name, &Value::Float(*x))?;
        }
        map.end()
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<String, f64>, D::Error> {
        BTreeMap::<String, Value>::deserialize(deserializer)?
            .into_iter()
            .map(|(name, value)| {
                let x = match value.as_str() {
                    Some("NaN") => Some(f64::NAN),
                    Some("Infinity") => Some(f64::INFINITY),
                    Some("-Infinity") => Some(f64::NEG_INFINITY),
                    _ => value.as_f64(),
                };
                x.map(|x| (name, x))
                    .ok_or_else(|| D::Error::custom("a metric is not a number"))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_python_writes() {
        let r = parse_report(
            r#"{"step": 3, "val_loss": NaN, "a": -Infinity, "note": "NaN \" x", "ok": true}"#,
        )
        .unwrap();
        assert_eq!(r.step, Some(3));
        assert!(r.metrics["val_loss"].is_nan());
        assert_eq!(r.metrics["a"], f64::NEG_INFINITY);
        assert_eq!(r.metrics["ok"], 1.0);
        assert!(!r.metrics.contains_key("note"));
    }

    #[test]
    fn a_number_within_quotes_is_missed_only_where_there_is_no_other() {
        let error = parse_report(r#"{"step": 1, "loss": "0.50"}"#).unwrap_err();
        assert!(error.contains("`loss` is the text \"0.50\""), "{error}");
        let mixed = parse_report(r#"{"loss": 0.5, "version": "12"}"#).unwrap();
        assert_eq!(mixed.metrics.len(), 1);
        assert!(parse_report(r#"{"step": 1, "note": "warm"}"#).is_ok());
    }

    #[test]
    fn says_what_is_wrong() {
        assert!(
            parse_report("hello")
                .unwrap_err()
                .contains("not a JSON object")
        );
        assert!(
            parse_report("[1]")
                .unwrap_err()
                .contains("not a JSON object")
        );
        assert!(
            parse_report(r#"{"step": -1}"#)
                .unwrap_err()
                .contains("whole number")
        );
        assert!(
            parse_report(r#"{"step": 1.5}"#)
                .unwrap_err()
                .contains("whole number")
        );
    }
}
