//! Logged runs, read from text: JSON lines with a run or a report to a line, or CSV.
//!
//! - A run to a line: `{"id": "a", "chance_loss": 2.3, "train_loss": [2.4, 2.1], "val_loss": [2.2],
//!   "val_every": 2}`. Lists of numbers are metrics, at steps 1, 2, 3, … or at every `val_every`
//!   (any metric: `NAME_every`, where `val_loss` also goes by `val`) or at `steps` (`NAME_steps`).
//! - A report to a line: `{"run": "a", "step": 3, "loss": 0.4}`, as trials of this program log them.
//! - CSV with a header: a column of steps, one or more of numbers, and one that names the run if
//!   there are several. TensorBoard's `Wall time,Step,Value` is one of these.
//!
//! Numbers that are not finite may be `NaN`, `Infinity`, `-inf`, in quotes or bare; `null` is NaN.

use std::collections::BTreeMap;

use hpo_study::protocol::quote_non_finite;
use serde_json::{Map, Value as Json};
use thiserror::Error;

use super::{Detector, Finding, Settings};

/// What is called the step, in the order of trust.
const STEP: [&str; 6] = ["step", "steps", "global_step", "iteration", "iter", "epoch"];
/// What names a run.
const RUN: [&str; 5] = ["id", "run", "trial", "run_id", "name"];
/// What is called the chance level.
const CHANCE: [&str; 2] = ["chance_loss", "chance"];
/// Numbers beside the metrics that are no metrics.
const TIMES: [&str; 4] = ["wall time", "wall_time", "time", "timestamp"];

/// A logged run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Run {
    /// Its name; a line's number or the text's name where it has none.
    pub id: String,
    /// The value of a model that knows nothing, where the log has it.
    pub chance: Option<f64>,
    /// How long it was to be, where the log has it (`planned_steps`).
    pub planned_steps: Option<u64>,
    /// What was reported, by metric.
    pub metrics: BTreeMap<String, Vec<Point>>,
    /// All else the log says of it: what it was, what came of it.
    pub labels: BTreeMap<String, Json>,
}

/// A report: step and value.
pub type Point = (u64, f64);

impl Run {
    /// The last step of its longest metric.
    pub fn last_step(&self) -> u64 {
        self.metrics
            .values()
            .flatten()
            .map(|point| point.0)
            .max()
            .unwrap_or(0)
    }

    /// The metric to watch: the one named, or the first of `train_loss`, `loss`, `val_loss`, or the
    /// only one.
    pub fn metric(&self, name: Option<&str>) -> Option<&[Point]> {
        if let Some(name) = name {
            return self.metrics.get(name).map(Vec::as_slice);
        }
        let known = ["train_loss", "loss", "val_loss"]
            .iter()
            .find_map(|&k| self.metrics.get(k));
        let only = || {
            self.metrics
                .values()
                .next()
                .filter(|_| self.metrics.len() == 1)
        };
        known.or_else(only).map(Vec::as_slice)
    }

    /// A label as text: `adam`, not `"adam"`.
    pub fn label(&self, name: &str) -> Option<String> {
        self.labels.get(name).map(|label| match label {
            Json::String(text) => text.clone(),
            other => other.to_string(),
        })
    }
}

/// The first finding that says that going on is of no use. All reports are looked at in order.
pub fn first_hopeless(settings: Settings, points: &[Point]) -> Option<Finding> {
    let mut detector = Detector::new(settings);
    points
        .iter()
        .filter_map(|&(step, value)| detector.observe(step, value))
        .find(|finding| finding.verdict.is_hopeless())
}

/// Why a log cannot be read. Lines count from 1.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CurvesError {
    /// A line is not as it should be.
    #[error("line {line}: {problem}")]
    Line {
        /// Which.
        line: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// There is no run in it.
    #[error("no runs in it: expected JSON lines, or CSV with a header")]
    Empty,
}

impl CurvesError {
    fn at(line: u64, problem: impl Into<String>) -> Self {
        Self::Line {
            line,
            problem: problem.into(),
        }
    }
}

/// Reads runs from a text: JSON lines if it starts with `{`, else CSV. `name` is the text's own,
/// for a single run that has none.
///
/// # Errors
/// The first line that cannot be read, or a text without runs.
pub fn read(name: &str, text: &str) -> Result<Vec<Run>, CurvesError> {
    let text = text.trim_start_matches('\u{feff}');
    if text.trim().is_empty() {
        return Err(CurvesError::Empty);
    }
    let runs = if text.trim_start().starts_with('{') {
        read_json_lines(name, text)?
    } else {
        read_csv(name, text)?
    };
    if runs.is_empty() {
        Err(CurvesError::Empty)
    } else {
        Ok(runs)
    }
}

fn read_json_lines(name: &str, text: &str) -> Result<Vec<Run>, CurvesError> {
    let mut runs = Vec::new();
    let mut reports = Reports::new(name);
    for (line, text) in (1..)
        .zip(text.lines())
        .filter(|(_, text)| !text.trim().is_empty())
    {
        let fail = |problem: String| CurvesError::at(line, problem);
        let object = read_object(text).map_err(fail)?;
        if object.values().any(Json::is_array) {
            runs.push(read_run(line, object).map_err(fail)?);
        } else {
            let fields = object
                .iter()
                .map(|(key, value)| (key.as_str(), json_cell(value)));
            reports.add(fields).map_err(fail)?;
        }
    }
    runs.append(&mut reports.runs);
    Ok(runs)
}

fn read_object(text: &str) -> Result<Map<String, Json>, String> {
    let json = serde_json::from_str(text)
        .or_else(|_| serde_json::from_str(&quote_non_finite(text)))
        .map_err(|error| format!("not JSON: {error}"))?;
    match json {
        Json::Object(object) => Ok(object),
        other => Err(format!("expected an object, found {}", kind(&other))),
    }
}

fn kind(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "a text",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    }
}

/// A run that fills a line.
fn read_run(line: u64, object: Map<String, Json>) -> Result<Run, String> {
    let mut run = Run::default();
    let mut lists: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for (key, value) in object {
        match value {
            Json::Array(items) => {
                let list = items.iter().enumerate().map(|(i, item)| {
                    number(item)
                        .ok_or_else(|| format!("`{key}`[{i}] is {}, not a number", kind(item)))
                });
                let list = list.collect::<Result<_, _>>()?;
                lists.insert(key, list);
            }
            value => {
                run.labels.insert(key, value);
            }
        }
    }
    let is_steps = |key: &str| key == "steps" || key.ends_with("_steps");
    let metrics: Vec<String> = lists.keys().filter(|key| !is_steps(key)).cloned().collect();
    for metric in metrics {
        let values = lists.get(&metric).cloned().unwrap_or_default();
        let steps = steps_of(&metric, values.len(), &lists, &run.labels)?;
        run.metrics
            .insert(metric, steps.into_iter().zip(values).collect());
    }
    if run.metrics.is_empty() {
        return Err("no list of numbers: expected `train_loss`, `val_loss` or `loss`".to_owned());
    }
    run.id = RUN
        .iter()
        .find_map(|&key| run.label(key))
        .unwrap_or_else(|| line.to_string());
    run.chance = CHANCE
        .iter()
        .find_map(|&key| run.labels.get(key))
        .and_then(number);
    run.planned_steps = run.labels.get("planned_steps").and_then(Json::as_u64);
    Ok(run)
}

/// At which steps a list of values was reported.
fn steps_of(
    metric: &str,
    len: usize,
    lists: &BTreeMap<String, Vec<f64>>,
    labels: &BTreeMap<String, Json>,
) -> Result<Vec<u64>, String> {
    let short = metric.trim_end_matches("_loss");
    let own = [format!("{metric}_steps"), format!("{short}_steps")];
    if let Some((key, steps)) = own.iter().find_map(|key| lists.get_key_value(key)) {
        return whole_steps(key, steps, metric, len);
    }
    let every = [format!("{metric}_every"), format!("{short}_every")];
    if let Some(every) = every.iter().find_map(|key| labels.get(key)) {
        let every = every.as_u64().filter(|every| (1..1 << 40).contains(every));
        let every =
            every.ok_or_else(|| format!("`{short}_every` must be a whole number from 1"))?;
        return Ok((1..=len as u64).map(|i| i * every).collect());
    }
    match lists.get("steps") {
        Some(steps) => whole_steps("steps", steps, metric, len),
        None => Ok((1..=len as u64).collect()),
    }
}

fn whole_steps(key: &str, steps: &[f64], metric: &str, len: usize) -> Result<Vec<u64>, String> {
    if steps.len() != len {
        return Err(format!(
            "`{key}` has {} steps, but `{metric}` {len} values",
            steps.len()
        ));
    }
    steps
        .iter()
        .map(|&step| whole_step(step).ok_or_else(|| bad_step(key, step)))
        .collect()
}

fn whole_step(step: f64) -> Option<u64> {
    (step.fract() == 0.0 && (0.0..9e15).contains(&step)).then_some(step as u64)
}

fn bad_step(key: &str, step: impl std::fmt::Display) -> String {
    format!("`{key}` must be whole numbers from 0, not {step}")
}

fn number(json: &Json) -> Option<f64> {
    match json {
        Json::Null => Some(f64::NAN),
        Json::Number(number) => number.as_f64(),
        Json::String(text) => parse_number(text),
        _ => None,
    }
}

/// Rust reads `nan`, `inf` and `infinity` in any case, signed or not.
fn parse_number(text: &str) -> Option<f64> {
    text.trim().parse().ok()
}

/// A field of a report, as text; `None` where it is empty.
fn json_cell(json: &Json) -> Option<String> {
    match json {
        Json::Null => Some("nan".to_owned()),
        Json::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

fn read_csv(name: &str, text: &str) -> Result<Vec<Run>, CurvesError> {
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let header = reader.headers().map_err(|error| csv_error(&error))?.clone();
    if !header.iter().any(|column| is(&STEP, column)) {
        let problem =
            "the header has no column `step`; this takes JSON lines, or CSV with a header";
        return Err(CurvesError::at(1, problem));
    }
    let mut reports = Reports::new(name);
    for record in reader.records() {
        let record = record.map_err(|error| csv_error(&error))?;
        let line = record.position().map_or(0, csv::Position::line);
        let cells = record
            .iter()
            .map(|cell| (!cell.is_empty()).then(|| cell.to_owned()));
        reports
            .add(header.iter().zip(cells))
            .map_err(|problem| CurvesError::at(line, problem))?;
    }
    Ok(reports.runs)
}

fn csv_error(error: &csv::Error) -> CurvesError {
    let line = error.position().map_or(1, csv::Position::line);
    match error.kind() {
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => CurvesError::at(
            line,
            format!("{len} cells, but the header has {expected_len}"),
        ),
        _ => CurvesError::at(line, error.to_string()),
    }
}

fn is(names: &[&str], column: &str) -> bool {
    names.iter().any(|name| name.eq_ignore_ascii_case(column))
}

/// Runs that come report by report.
struct Reports<'a> {
    name: &'a str,
    runs: Vec<Run>,
    places: BTreeMap<String, usize>,
}

impl<'a> Reports<'a> {
    fn new(name: &'a str) -> Self {
        Self {
            name,
            runs: Vec::new(),
            places: BTreeMap::new(),
        }
    }

    /// Adds a report: names of columns and what is in them. Texts are labels, numbers metrics.
    fn add<'b>(
        &mut self,
        fields: impl Iterator<Item = (&'b str, Option<String>)>,
    ) -> Result<(), String> {
        let fields: Vec<(&str, String)> = fields
            .filter_map(|(name, cell)| Some((name, cell?)))
            .collect();
        let find = |names: &[&str]| {
            names.iter().find_map(|name| {
                fields
                    .iter()
                    .find(|(field, _)| field.eq_ignore_ascii_case(name))
            })
        };
        let id = find(&RUN).map_or(self.name, |(_, id)| id).to_owned();
        let step = match find(&STEP) {
            Some((key, cell)) => {
                let step = parse_number(cell).and_then(whole_step);
                Some(step.ok_or_else(|| bad_step(key, cell))?)
            }
            None => None,
        };
        let chance = find(&CHANCE).and_then(|(_, cell)| parse_number(cell));
        let run = self.run(id);
        run.chance = run.chance.or(chance);
        let rest = [&STEP[..], &RUN, &CHANCE, &TIMES].concat();
        let mut found = false;
        for (name, cell) in fields.iter().filter(|(name, _)| !is(&rest, name)) {
            if let Some(value) = parse_number(cell) {
                let metric = if name.eq_ignore_ascii_case("value") {
                    "loss"
                } else {
                    name
                };
                let points = run.metrics.entry(metric.to_owned()).or_default();
                let next = points.last().map_or(1, |point| point.0 + 1);
                points.push((step.unwrap_or(next), value));
                found = true;
            } else {
                run.labels
                    .insert((*name).to_owned(), Json::String(cell.clone()));
            }
        }
        if found {
            Ok(())
        } else {
            Err("no number in it but the step".to_owned())
        }
    }

    fn run(&mut self, id: String) -> &mut Run {
        let next = self.runs.len();
        let place = *self.places.entry(id.clone()).or_insert(next);
        if place == next {
            self.runs.push(Run {
                id,
                ..Run::default()
            });
        }
        #[expect(
            clippy::indexing_slicing,
            reason = "a place is noted when its run is pushed"
        )]
        &mut self.runs[place]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn only(text: &str) -> Run {
        let mut runs = read("log", text).unwrap();
        assert_eq!(runs.len(), 1);
        runs.remove(0)
    }

    #[test]
    fn a_run_to_a_line() {
        let run = only(
            r#"{"id": "a", "chance_loss": 2.3, "truth": "stuck", "lr": 0.1, "val_every": 20,
               "train_loss": [2.4, null, Infinity, "nan"], "val_loss": [2.2, 2.1]}"#
                .replace('\n', " ")
                .as_str(),
        );
        assert_eq!((run.id.as_str(), run.chance), ("a", Some(2.3)));
        assert_eq!(run.metrics["val_loss"], [(20, 2.2), (40, 2.1)]);
        let train = run.metric(None).unwrap();
        assert_eq!((train[0], train[2]), ((1, 2.4), (3, f64::INFINITY)));
        assert!(train[1].1.is_nan() && train[3].1.is_nan());
        assert_eq!(
            (run.label("truth"), run.last_step()),
            (Some("stuck".into()), 40)
        );
    }

    #[test]
    fn steps_may_be_given() {
        let run = only(r#"{"steps": [10, 20], "loss": [1, 2], "acc": [0.1], "acc_steps": [15]}"#);
        assert_eq!(run.metrics["loss"], [(10, 1.0), (20, 2.0)]);
        assert_eq!((run.id.as_str(), run.metrics["acc"][0]), ("1", (15, 0.1)));
    }

    #[test]
    fn a_report_to_a_line() {
        let text = "{\"step\": 1, \"val_loss\": 2.0}\n\n{\"step\": 2, \"val_loss\": NaN}\n";
        let run = only(text);
        assert_eq!(
            (run.id.as_str(), run.metrics["val_loss"][0]),
            ("log", (1, 2.0))
        );
        assert!(run.metrics["val_loss"][1].1.is_nan());
    }

    #[test]
    fn a_table_of_several_runs_with_holes() {
        let text = "run,Step,train_loss,val_loss,optimizer\na,1,2.0,,adam\nb,1,3.0,,sgd\na,2,1.5,1.7,adam\n";
        let runs = read("log", text).unwrap();
        assert_eq!((runs.len(), runs[0].id.as_str()), (2, "a"));
        assert_eq!(runs[0].metrics["train_loss"], [(1, 2.0), (2, 1.5)]);
        assert_eq!(runs[0].metrics["val_loss"], [(2, 1.7)]);
        assert_eq!(runs[1].label("optimizer"), Some("sgd".into()));
    }

    #[test]
    fn a_tensorboard_export() {
        let run = only("Wall time,Step,Value\n1700000000.5,10,2.5\n1700000001.5,20,nan\n");
        assert_eq!(
            (run.id.as_str(), run.metric(None).unwrap()[0]),
            ("log", (10, 2.5))
        );
        assert_eq!(run.metrics.len(), 1);
    }

    #[test]
    fn errors_name_the_line() {
        let message = |text| read("log", text).unwrap_err().to_string();
        assert_eq!(
            message("{\"loss\": [1]}\n{\"loss\": [\"x\"]}"),
            "line 2: `loss`[0] is a text, not a number"
        );
        assert_eq!(
            message("{\"loss\": [1], \"steps\": [1, 2]}"),
            "line 1: `steps` has 2 steps, but `loss` 1 values"
        );
        assert!(message("{\"loss\": [1]}\n{oops").starts_with("line 2: not JSON"));
        assert_eq!(
            message("a,b\n1,2\n"),
            "line 1: the header has no column `step`; this takes JSON lines, or CSV with a header"
        );
        assert_eq!(
            message("step,loss\n1,2\n2\n"),
            "line 3: 1 cells, but the header has 2"
        );
        assert_eq!(
            message("step,loss\n1.5,2\n"),
            "line 2: `step` must be whole numbers from 0, not 1.5"
        );
        assert_eq!(
            message("step,loss\n1,abc\n"),
            "line 2: no number in it but the step"
        );
        assert_eq!(
            message("{\"id\": \"a\", \"x\": []}\n{\"id\": \"a\", \"steps\": [1]}"),
            "line 2: no list of numbers: expected `train_loss`, `val_loss` or `loss`"
        );
        assert!(read("log", "").is_err() && read("log", "step,loss\n").is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[{\\[\\]},:\"a-z0-9.\\-\n ]{0,200}") {
            let _ = read("log", &text);
        }

        #[test]
        fn any_table_is_read_or_refused(rows in "(step,loss\n)?([0-9a-zN.,-]{0,12}\n){0,9}") {
            let _ = read("log", &rows);
        }
    }
}
