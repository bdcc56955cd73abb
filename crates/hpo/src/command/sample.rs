//! What a study's patterns find in a log of its program.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use hpo_report::table::Table;
use hpo_study::printout::{LogReading, PatternForm, read_log};
use hpo_study::spec::Job;
use hpo_study::study_file::nearest;
use hpo_study::{Measured, MetricPattern, StudySpec, Value};
use serde::Serialize;

use crate::failure::Failure;

/// Of longer logs only so many bytes are read.
const MOST: u64 = 256 << 20;

/// What was found. Fields are added in later versions, never changed.
#[derive(Serialize)]
pub(super) struct Sample {
    reports: usize,
    metrics: Vec<Metric>,
    patterns: Vec<Pattern>,
    objective_found: bool,
    /// The first objective that the program should report and is not there.
    #[serde(skip)]
    missing: Option<String>,
    #[serde(skip)]
    log: String,
    #[serde(skip)]
    wrong: Option<String>,
}

#[derive(Serialize)]
struct Metric {
    name: String,
    reports: u64,
    first_step: u64,
    last_step: u64,
    first: Option<f64>,
    last: Option<f64>,
}

#[derive(Serialize)]
struct Pattern {
    pattern: String,
    lines: u64,
    unreadable: Option<String>,
}

impl Sample {
    pub(super) fn read(log: &Path, spec: &StudySpec) -> Result<Self, Failure> {
        let patterns: &[MetricPattern] = match &spec.job {
            Job::Command(job) => &job.metrics,
            Job::Trainer(_) => &[],
        };
        let reading = read_log(&bytes(log)?, patterns).map_err(Failure::usage)?;
        Ok(Self::new(&reading, patterns, spec, log))
    }

    fn new(reading: &LogReading, patterns: &[MetricPattern], spec: &StudySpec, log: &Path) -> Self {
        let series = reading.series();
        let finite = |x: f64| x.is_finite().then_some(x);
        let metrics = series.iter().map(|(name, series)| Metric {
            name: (*name).to_owned(),
            reports: series.count,
            first_step: series.first_step,
            last_step: series.last_step,
            first: finite(series.first),
            last: finite(series.last),
        });
        let patterns = patterns
            .iter()
            .zip(&reading.tallies)
            .map(|(pattern, tally)| Pattern {
                pattern: match &pattern.form {
                    PatternForm::Format(known) => known.name().to_owned(),
                    PatternForm::Regex { regex, .. } => regex.clone(),
                },
                lines: tally.lines,
                unreadable: tally.unreadable.clone(),
            });
        let reported = spec.objectives().map(|metric| metric.name.clone());
        let mut reported = reported.filter(|name| Measured::of(name).is_none());
        let missing = reported.find(|name| !series.contains_key(name.as_str()));
        Self {
            reports: reading.reports.len(),
            objective_found: missing.is_none(),
            missing,
            metrics: metrics.collect(),
            patterns: patterns.collect(),
            log: log.display().to_string(),
            wrong: reading.wrong.first().cloned(),
        }
    }

    pub(super) fn has_objective(&self) -> bool {
        self.objective_found
    }

    pub(super) fn text(&self, width: Option<u16>) -> String {
        let mut text = format!("{}: {} reports\n", self.log, self.reports);
        if !self.metrics.is_empty() {
            let mut table = Table::new(&["metric", ">reports", ">steps", ">first", ">last"]);
            for metric in &self.metrics {
                let number = |x: Option<f64>| {
                    x.map_or("not finite".to_owned(), |x| Value::Float(x).to_string())
                };
                table.row([
                    metric.name.clone(),
                    metric.reports.to_string(),
                    format!("{} to {}", metric.first_step, metric.last_step),
                    number(metric.first),
                    number(metric.last),
                ]);
            }
            text.push_str(&table.render(width));
        }
        for pattern in &self.patterns {
            let Pattern {
                pattern,
                lines,
                unreadable,
            } = pattern;
            if let Some(word) = unreadable {
                text.push_str(&format!(
                    "`{pattern}` found \"{}\", which is no number\n",
                    word.escape_debug()
                ));
            }
            if *lines == 0 {
                text.push_str(&format!("`{pattern}` found nothing\n"));
            }
        }
        if let Some(wrong) = &self.wrong {
            text.push_str(&format!("a report line is wrong: {wrong}\n"));
        }
        if let Some(objective) = &self.missing {
            let names = || self.metrics.iter().map(|m| m.name.as_str());
            let near = nearest(objective, names()).or_else(|| {
                names().find(|n| n.contains(objective.as_str()) || objective.contains(n))
            });
            text.push_str(&format!("the objective `{objective}` is not in it"));
            text.push_str(&near.map_or(String::new(), |near| format!(" (did you mean `{near}`?)")));
            text.push('\n');
        }
        text
    }
}

/// A log's bytes.
pub(super) fn bytes(log: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = if log == Path::new("-") {
        io::stdin().lock().take(MOST).read_to_end(&mut bytes)
    } else {
        File::open(log).and_then(|file| file.take(MOST).read_to_end(&mut bytes))
    };
    read.map_err(|error| {
        Failure::usage(format!("the log {} cannot be read: {error}", log.display()))
            .hint("give a file with what the program printed, such as `python train.py > train.log 2>&1` writes")
    })?;
    Ok(bytes)
}
