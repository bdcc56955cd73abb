//! `hpo divergence`

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::Path;

use flate2::read::MultiGzDecoder;
use hpo_engine::divergence::curves::{self, Point, Run};
use hpo_engine::divergence::{Chance, Detector, Evidence, Finding, Settings};
use hpo_report::number::short;
use hpo_report::table::Table;
use hpo_study::Goal;
use serde::Serialize;

use crate::cli::{DivergenceArguments, GoalArgument, TextFormat};
use crate::failure::{Exit, Failure};
use crate::output::{self, words};

/// What `hpo divergence -f json` says of a run. Fields are added in later versions, never changed.
#[derive(Debug, Serialize)]
struct Row {
    /// Its name in the log, or its line.
    id: String,
    /// `diverged`, `stuck`, `no_progress`; else `healthy`, `spiking` or `recovered`.
    verdict: &'static str,
    /// The step at which it would have been stopped.
    step: Option<u64>,
    rule: Option<&'static str>,
    /// Whether it would have been stopped, not only warned of.
    certain: Option<bool>,
    metric: String,
    chance: Option<f64>,
    planned_steps: u64,
    last_step: u64,
    evidence: Option<Evidence>,
    detail: Option<String>,
}

pub(super) fn perform(arguments: &DivergenceArguments) -> Result<Exit, Failure> {
    let mut rows = Vec::new();
    for path in &arguments.curves {
        let name = path.file_stem().map_or_else(
            || path.display().to_string(),
            |stem| stem.to_string_lossy().into_owned(),
        );
        let wrong =
            |error: &dyn std::fmt::Display| Failure::usage(format!("{}: {error}", path.display()));
        let runs = curves::read(&name, &text(path)?).map_err(|error| wrong(&error))?;
        for run in &runs {
            rows.push(
                judge(run, arguments)
                    .map_err(|error| wrong(&error).hint("--metric names the metric to watch"))?,
            );
        }
    }
    match arguments.print.format {
        TextFormat::Json => output::json(&rows)?,
        TextFormat::Text => {
            output::page(&table(&rows))?;
            words!("{}", counts(&rows));
        }
    }
    if rows.iter().any(|row| row.chance.is_none()) {
        words!(
            "{}: what a model that knows nothing gets is unknown for some runs, so nothing is certain \
             there but NaN; say --num-classes or --chance",
            output::yellow("warning")
        );
    }
    Ok(Exit::Done)
}

/// A file's text, unpacked if it is gzip; `-` is stdin.
fn text(path: &Path) -> Result<String, Failure> {
    let fail = |error: std::io::Error| {
        Failure::usage(format!("{} cannot be read: {error}", path.display()))
    };
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().read_to_end(&mut bytes).map_err(fail)?;
    } else {
        bytes = fs::read(path).map_err(fail)?;
    }
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut plain = Vec::new();
        MultiGzDecoder::new(bytes.as_slice())
            .read_to_end(&mut plain)
            .map_err(fail)?;
        bytes = plain;
    }
    String::from_utf8(bytes).map_err(|_| Failure::usage(format!("{} is no text", path.display())))
}

/// Runs the detector over a run; an error when it lacks the metric.
fn judge(run: &Run, arguments: &DivergenceArguments) -> Result<Row, String> {
    let (metric, points) = watched(run, arguments.metric.as_deref())?;
    let goal = goal(arguments.goal, &metric);
    let chance = chance(run, goal, arguments);
    let last_step = points.last().map_or(0, |point| point.0);
    let planned = arguments.planned.or(run.planned_steps);
    let planned_steps = planned.unwrap_or_else(|| run.last_step());
    let settings = Settings::new(
        goal,
        chance.map_or(Chance::Unknown, Chance::Known),
        Some(planned_steps),
    );
    let (finding, state) = hopeless(settings, points);
    Ok(Row {
        id: run.id.clone(),
        verdict: finding.map_or(state, |finding| finding.verdict.word()),
        step: finding.map(|finding| finding.step),
        rule: finding.map(|finding| finding.rule),
        certain: finding.map(|finding| finding.certain),
        metric,
        chance,
        planned_steps,
        last_step,
        evidence: finding.map(|finding| finding.evidence),
        detail: finding.map(|finding| finding.words().to_string()),
    })
}

/// The first finding that would end the run, else the first that would warn that it should be; and in
/// which state the run is after all of its reports.
fn hopeless(settings: Settings, points: &[Point]) -> (Option<Finding>, &'static str) {
    let mut detector = Detector::new(settings);
    let mut warning = None;
    for &(step, value) in points {
        let found = detector.observe(step, value);
        if let Some(finding) = found.filter(|finding| finding.verdict.is_hopeless()) {
            if finding.certain {
                return (Some(finding), finding.verdict.word());
            }
            warning = warning.or(Some(finding));
        }
    }
    (warning, detector.state().name())
}

/// The metric to watch, by name, and its reports.
fn watched<'r>(run: &'r Run, wanted: Option<&str>) -> Result<(String, &'r [Point]), String> {
    let points = run.metric(wanted);
    let name = wanted.or_else(|| {
        // By place: what is not a number is not equal to itself.
        let same = |(_, values): &(&String, &Vec<Point>)| {
            points.is_some_and(|points| std::ptr::eq(points, values.as_slice()))
        };
        run.metrics.iter().find(same).map(|(name, _)| name.as_str())
    });
    match (name, points) {
        (Some(name), Some(points)) => Ok((name.to_owned(), points)),
        _ => {
            let names: Vec<&str> = run.metrics.keys().map(String::as_str).collect();
            let what = wanted.unwrap_or("train_loss, loss or val_loss");
            Err(format!(
                "run {} has no {what}, but {}",
                run.id,
                names.join(", ")
            ))
        }
    }
}

/// Which way is better: as said, or by the metric's name.
fn goal(said: Option<GoalArgument>, metric: &str) -> Goal {
    match said {
        Some(GoalArgument::Minimize) => Goal::Minimize,
        Some(GoalArgument::Maximize) => Goal::Maximize,
        None if metric.to_lowercase().contains("acc") => Goal::Maximize,
        None => Goal::Minimize,
    }
}

/// What a model that knows nothing gets: as said, or as the log has it (there it is a loss).
fn chance(run: &Run, goal: Goal, arguments: &DivergenceArguments) -> Option<f64> {
    let classes = arguments.num_classes.map(f64::from);
    arguments.chance.or(match goal {
        Goal::Minimize => classes.map(f64::ln).or(run.chance),
        Goal::Maximize => classes.map(f64::recip),
    })
}

fn table(rows: &[Row]) -> String {
    let mut table = Table::new(&["run", "verdict", ">step", ">of", "rule", "why"]);
    for row in rows {
        let doubt = if row.certain == Some(false) { "?" } else { "" };
        table.row([
            row.id.clone(),
            format!("{}{doubt}", row.verdict),
            row.step.map_or_else(String::new, |step| step.to_string()),
            row.planned_steps.to_string(),
            row.rule.unwrap_or_default().to_owned(),
            row.detail.clone().unwrap_or_default(),
        ]);
    }
    table.render(output::width())
}

/// `820 runs: 700 healthy, …; stopping the hopeless ones would have saved 9.3 % of all steps`.
fn counts(rows: &[Row]) -> String {
    let mut verdicts: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut saved, mut all) = (0, 0);
    for row in rows {
        *verdicts.entry(row.verdict).or_default() += 1;
        all += row.last_step;
        let stopped = row.step.filter(|_| row.certain == Some(true));
        saved += stopped.map_or(0, |step| row.last_step.saturating_sub(step));
    }
    let verdicts: Vec<String> = verdicts
        .iter()
        .map(|(verdict, n)| format!("{n} {verdict}"))
        .collect();
    let runs = if rows.len() == 1 { "run" } else { "runs" };
    let mut text = format!("{} {runs}: {}", rows.len(), verdicts.join(", "));
    if saved > 0 {
        let share = 100.0 * saved as f64 / all as f64;
        text += &format!(
            "; stopping what is certain would have saved {} % of all steps",
            short(share)
        );
    }
    text
}
