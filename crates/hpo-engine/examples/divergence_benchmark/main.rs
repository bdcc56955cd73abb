//! How well the divergence detector and its rivals tell lost runs from good ones.
//!
//! ```text
//! cargo run --release -p hpo-engine --example divergence_benchmark -- CURVES.jsonl[.gz]
//!     [--metric train_loss]  a metric to judge by (more than once; default train_loss, val_loss)
//!     [--every 1]            only every so many-th report is seen
//!     [--by LABEL]           also the detector's figures by a label: task, optimizer, schedule
//!     [--unplanned]          the detector is not told how long the runs are
//!     [--warnings]           uncertain findings count too
//!     [--gradients]          also rules on the metric `grad_norm`, alone and beside the detector
//!     [--errors]             list the detector's false kills and misses
//!     [-f json]
//! ```
//!
//! CURVES holds a run to a line (see `hpo_engine::divergence::curves`), with `chance_loss` and
//! `truth`: `diverged` and `stuck` are lost, at the step `onset`; `healthy`, `recovered` and
//! `lossy_recovery` are good, the better the lower `final_loss`; others count for neither.

mod gradients;
mod rivals;
mod score;

use std::collections::BTreeSet;
use std::io::Read as _;
use std::process::ExitCode;

use hpo_engine::divergence::curves::{self, Run};
use hpo_engine::divergence::{Chance, Finding, Settings};
use hpo_study::Goal;

use crate::score::{Case, Score};

type Failure = Box<dyn std::error::Error>;

#[derive(Default)]
struct Options {
    file: String,
    metrics: Vec<String>,
    every: usize,
    by: Option<String>,
    unplanned: bool,
    warnings: bool,
    gradients: bool,
    errors: bool,
    json: bool,
}

fn main() -> ExitCode {
    match options(std::env::args().skip(1)).and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("divergence_benchmark: {error}");
            ExitCode::from(2)
        }
    }
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options, Failure> {
    let mut options = Options {
        every: 1,
        ..Options::default()
    };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--metric" => options.metrics.push(value()?),
            "--every" => options.every = value()?.parse::<usize>()?.max(1),
            "--by" => options.by = Some(value()?),
            "--unplanned" => options.unplanned = true,
            "--warnings" => options.warnings = true,
            "--gradients" => options.gradients = true,
            "--errors" => options.errors = true,
            "-f" => options.json = value()? == "json",
            file if !file.starts_with('-') && options.file.is_empty() => options.file = argument,
            other => return Err(format!("unknown argument {other}").into()),
        }
    }
    if options.file.is_empty() {
        return Err("which file of curves?".into());
    }
    if options.metrics.is_empty() {
        options.metrics = vec!["train_loss".to_owned(), "val_loss".to_owned()];
    }
    Ok(options)
}

fn run(options: &Options) -> Result<(), Failure> {
    let runs = curves::read(&options.file, &text(&options.file)?)?;
    let mut rows = Vec::new();
    for metric in &options.metrics {
        let cases = cases(&runs, metric, options.every)?;
        let found: Vec<_> = cases.iter().map(|case| detect(case, options)).collect();
        let ours: Vec<Option<u64>> = found.iter().map(|found| found.map(|f| f.step)).collect();
        rows.push((metric, "detector".to_owned(), Score::of(&cases, &ours)));
        for (name, stops) in rivals::all(&cases) {
            rows.push((metric, name, Score::of(&cases, &stops)));
        }
        if options.gradients {
            let rows_of = gradients::all(&cases, &ours).into_iter();
            rows.extend(rows_of.map(|(name, stops)| (metric, name, Score::of(&cases, &stops))));
        }
        if let Some(label) = &options.by {
            rows.extend(by(&cases, &ours, label).map(|(name, score)| (metric, name, score)));
        }
        if options.errors {
            score::print_errors(metric, &cases, &found);
        }
    }
    if options.json {
        let rows: Vec<_> = rows
            .iter()
            .map(|(metric, name, score)| score.json(metric, name))
            .collect();
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        println!("{}", score::HEADER);
        for (metric, name, score) in &rows {
            println!("{metric:<11} {name:<26} {score}");
        }
    }
    Ok(())
}

fn text(file: &str) -> Result<String, Failure> {
    let bytes = std::fs::read(file).map_err(|error| format!("{file}: {error}"))?;
    let mut text = String::new();
    if bytes.starts_with(&[0x1f, 0x8b]) {
        flate2::read::MultiGzDecoder::new(bytes.as_slice()).read_to_string(&mut text)?;
    } else {
        text = String::from_utf8(bytes)?;
    }
    Ok(text)
}

fn cases<'a>(runs: &'a [Run], metric: &str, every: usize) -> Result<Vec<Case<'a>>, Failure> {
    let cases: Option<Vec<Case>> = runs
        .iter()
        .map(|run| Case::new(run, metric, every))
        .collect();
    let cases = cases.ok_or("every run needs `truth` and `chance_loss`")?;
    let cases: Vec<Case> = cases
        .into_iter()
        .filter(|case| !case.points.is_empty())
        .collect();
    if cases.is_empty() {
        return Err(format!("no run has `{metric}`").into());
    }
    Ok(cases)
}

fn detect(case: &Case, options: &Options) -> Option<Finding> {
    let planned = (!options.unplanned).then_some(case.length);
    let settings = Settings::new(Goal::Minimize, Chance::Known(case.chance), planned);
    let finding = curves::first_hopeless(settings, &case.points)?;
    (finding.certain || options.warnings).then_some(finding)
}

fn by(cases: &[Case], stops: &[Option<u64>], label: &str) -> impl Iterator<Item = (String, Score)> {
    let values: BTreeSet<String> = cases
        .iter()
        .filter_map(|case| case.run.label(label))
        .collect();
    let scores: Vec<_> = values
        .into_iter()
        .map(|value| {
            let is_in = |case: &Case| case.run.label(label).as_ref() == Some(&value);
            let (cases, stops): (Vec<Case>, Vec<Option<u64>>) = cases
                .iter()
                .zip(stops)
                .filter(|(case, _)| is_in(case))
                .map(|(c, s)| (c.clone(), s))
                .unzip();
            let score = Score::of(&cases, &stops);
            (format!("  {label} {value}"), score)
        })
        .collect();
    scores.into_iter()
}
