//! A pattern, ready to be looked for.

use std::collections::BTreeMap;

use regex::{Captures, Regex, RegexBuilder};
use thiserror::Error;

use super::known::{Facts, Known, written_out};
use super::{PatternForm, STEP, STEP_FROM_ZERO, text};
use crate::protocol;

/// A larger compiled regex is refused.
const LARGEST: usize = 1 << 20;

/// Why a regular expression of a study file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct RegexError {
    /// What is wrong, in one sentence.
    pub message: String,
    /// Where in the expression, in bytes, if it is at one place.
    pub offset: Option<usize>,
    /// What to do about it.
    pub hint: Option<&'static str>,
}

/// Checks a regular expression of a study file before anything is run; `metric` is the name beside which it stands,
/// if it stands beside one. Gives back the names it can report; none if the line itself names them.
///
/// # Errors
/// When it is none, is too large, or has no group whose value could be a metric.
pub fn check_regex(regex: &str, metric: Option<&str>) -> Result<Vec<String>, RegexError> {
    let compiled = compile(regex)?;
    let names: Vec<&str> = compiled.capture_names().flatten().collect();
    let wrong = |message: &str, hint| RegexError {
        message: message.to_owned(),
        offset: None,
        hint: Some(hint),
    };
    if let Some(metric) = metric {
        return match (names.contains(&"value"), compiled.captures_len() - 1) {
            (true, _) | (false, 1) => Ok(vec![metric.to_owned()]),
            (false, 0) => Err(wrong(
                "the expression has no group: nothing says where the number is",
                r"put the number in parentheses: val_loss: (\S+)",
            )),
            (false, _) => Err(wrong(
                "the expression has several groups, and it is not said which is the number",
                "write (?:…) for groups that only hold together, or name the number's (?P<value>…)",
            )),
        };
    }
    match (names.contains(&"name"), names.contains(&"value")) {
        (true, true) => return Ok(Vec::new()),
        (true, false) | (false, true) => {
            return Err(wrong(
                "the groups `name` and `value` only make sense together",
                r"write (?P<name>\w+): (?P<value>\S+), or name the group by its metric",
            ));
        }
        (false, false) => {}
    }
    if names.is_empty() {
        return Err(wrong(
            "the expression has no named group: nothing says which metric it finds",
            r"name the group by the metric: val_loss: (?P<val_loss>\S+)",
        ));
    }
    Ok(names.iter().map(|name| (*name).to_owned()).collect())
}

fn compile(regex: &str) -> Result<Regex, RegexError> {
    let error = match RegexBuilder::new(regex).size_limit(LARGEST).build() {
        Ok(regex) => return Ok(regex),
        Err(error) => error,
    };
    if let Err(syntax) = regex_syntax::Parser::new().parse(regex) {
        let (message, offset) = match &syntax {
            regex_syntax::Error::Parse(e) => (e.kind().to_string(), Some(e.span().start.offset)),
            regex_syntax::Error::Translate(e) => {
                (e.kind().to_string(), Some(e.span().start.offset))
            }
            other => (other.to_string(), None),
        };
        let around = message.contains("look-around") || message.contains("backreference");
        let hint =
            around.then_some("match the surroundings too, and put only the number in a group");
        return Err(RegexError {
            message: format!("this is no regular expression: {message}"),
            offset,
            hint,
        });
    }
    Err(RegexError {
        message: format!("this regular expression cannot be used: {error}"),
        offset: None,
        hint: Some("make its repetitions smaller"),
    })
}

/// What was found in a line.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) step: Option<u64>,
    pub(super) metrics: BTreeMap<String, f64>,
    /// Texts where a number was to be.
    pub(super) unreadable: Vec<String>,
}

/// A pattern, ready to be looked for.
#[derive(Debug)]
pub(super) struct Compiled {
    matcher: Matcher,
    /// For patterns that count once per step: whether a step came and its metrics did not yet.
    waiting: bool,
}

#[derive(Debug)]
enum Matcher {
    Regex {
        regex: Regex,
        metric: Option<String>,
    },
    Facts {
        facts: &'static Facts,
        line: Option<Regex>,
        pairs: Regex,
        step: Option<Regex>,
    },
    Json,
}

impl Compiled {
    pub(super) fn new(form: &PatternForm) -> Result<Self, RegexError> {
        let matcher = match form {
            PatternForm::Regex { regex, metric } => Matcher::Regex {
                regex: compile(regex)?,
                metric: metric.clone(),
            },
            PatternForm::Format(known) => Self::known(*known)?,
        };
        Ok(Self {
            matcher,
            waiting: false,
        })
    }

    fn known(known: Known) -> Result<Matcher, RegexError> {
        let Some(facts) = known.facts() else {
            return Ok(Matcher::Json);
        };
        let optional = |regex: Option<&str>| regex.map(|r| compile(&written_out(r))).transpose();
        Ok(Matcher::Facts {
            facts,
            line: optional(facts.line)?,
            pairs: compile(&written_out(facts.pairs))?,
            step: optional(facts.step)?,
        })
    }

    /// Looks at a line; `whole`: it will not be written over.
    pub(super) fn find(&mut self, line: &str, whole: bool) -> Found {
        let mut found = Found::default();
        match &self.matcher {
            Matcher::Regex { regex, metric } => {
                for captures in regex.captures_iter(line) {
                    take_groups(&captures, regex, metric.as_deref(), &mut found);
                }
            }
            Matcher::Json => json(line, &mut found),
            Matcher::Facts {
                facts,
                line: guard,
                pairs,
                step,
            } => {
                if let Some(captures) = step.as_ref().and_then(|step| step.captures(line)) {
                    found.step = step_of(&captures);
                    self.waiting |= found.step.is_some();
                }
                let counts = guard.as_ref().is_none_or(|guard| guard.is_match(line))
                    && (self.waiting || !facts.once_per_step);
                if counts {
                    take_pairs(line, facts, pairs, &mut found);
                    self.waiting &= !whole || found.metrics.is_empty();
                }
            }
        }
        found
    }
}

fn step_of(captures: &Captures<'_>) -> Option<u64> {
    let read = |name: &str| captures.name(name).and_then(|m| text::step(m.as_str()));
    read(STEP)
        .or_else(|| read("step_"))
        .or_else(|| read(STEP_FROM_ZERO).map(|step| step + 1))
}

fn take_groups(captures: &Captures<'_>, regex: &Regex, metric: Option<&str>, found: &mut Found) {
    let group = |name: &str| captures.name(name).map(|m| m.as_str());
    if let Some(metric) = metric {
        let value = group("value").or_else(|| captures.get(1).map(|m| m.as_str()));
        return take(metric, value, found);
    }
    if let Some(name) = group("name") {
        take(&one_word(name), group("value"), found);
    }
    for name in regex.capture_names().flatten() {
        if name != "name" && name != "value" {
            take(name, group(name), found);
        }
    }
}

/// Takes one value in under its name.
fn take(name: &str, value: Option<&str>, found: &mut Found) {
    let Some(value) = value else { return };
    let read = match name {
        STEP | STEP_FROM_ZERO => text::step(value).map(|step| {
            found.step = Some(step + u64::from(name == STEP_FROM_ZERO));
        }),
        _ => text::number(value).map(|x| {
            found.metrics.insert(name.to_owned(), x);
        }),
    };
    if read.is_none() {
        found.unreadable.push(value.chars().take(40).collect());
    }
}

fn take_pairs(line: &str, facts: &Facts, pairs: &Regex, found: &mut Found) {
    for captures in pairs.captures_iter(line) {
        let (Some(name), Some(value)) = (captures.name("name"), captures.name("value")) else {
            continue;
        };
        let (name, value) = (one_word(name.as_str()), value.as_str());
        if facts.step_names.contains(&name.as_str()) {
            found.step = found.step.or_else(|| text::step(value));
        } else if !facts.never.iter().any(|n| n.eq_ignore_ascii_case(&name)) {
            take(&name, Some(value), found);
        }
    }
}

/// A name without blanks: `val loss` is `val_loss`.
fn one_word(name: &str) -> String {
    name.split_whitespace().collect::<Vec<_>>().join("_")
}

/// A line that is a JSON object; its step may have any of the usual names.
fn json(line: &str, found: &mut Found) {
    const STEPS: &[&str] = &[
        "_step",
        "global_step",
        "epoch",
        "iteration",
        "iter",
        "training_iteration",
    ];
    let line = line.trim();
    if !line.starts_with('{') {
        return;
    }
    match protocol::parse_report(line) {
        Ok(report) => {
            found.step = report.step.or_else(|| {
                let named = STEPS.iter().find_map(|name| report.metrics.get(*name));
                named.and_then(|x| text::step(&x.to_string()))
            });
            found.metrics = report.metrics;
        }
        Err(_) => found.unreadable.push(line.chars().take(40).collect()),
    }
}

/// A report line of Syne Tune: `[tune-metric]: {"epoch": 3, "loss": 0.5, "st_worker_iter": 2, …}`. What begins with
/// `st_` is its own bookkeeping. The step is `step`, else `epoch`, else its count of reports.
///
/// # Errors
/// A sentence saying what is wrong with the line.
pub(super) fn syne_tune(object: &str) -> Result<protocol::Report, String> {
    let mut report = protocol::parse_report(object)?;
    let step = |report: &protocol::Report, name: &str| {
        let x = report.metrics.get(name)?;
        text::step(&x.to_string())
    };
    report.step = report
        .step
        .or_else(|| step(&report, "epoch"))
        .or_else(|| step(&report, "st_worker_iter").map(|count| count + 1));
    report.metrics.retain(|name, _| !name.starts_with("st_"));
    Ok(report)
}
