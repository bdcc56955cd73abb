//! What a trial costs: a study of 500 trials of a program that prints one report, against a bare
//! loop that starts the same program and waits for it, one after the other.
//! `cargo run --release -p hpo-run --example spawn_rate [trials] [workers]`

use std::error::Error;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use hpo_run::{RunOptions, View};
use hpo_study::study_file::{Source, read};
use hpo_study::{Event, History, Timestamp, TrialState};

const PROGRAM: &str = "/bin/echo";
const REPORT: &str = r#"[hpo] {"step":1,"loss":0.5}"#;

struct Quiet;
impl View for Quiet {
    fn event(&mut self, _: &History, _: &Event) {}
    fn tick(&mut self, _: &History, _: Timestamp) {}
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments
        .get(1)
        .is_some_and(|a| a == hpo_run::WARDEN_COMMAND)
    {
        hpo_run::warden(arguments.get(2).map_or("", String::as_str));
        return Ok(());
    }
    let number = |i: usize, default| arguments.get(i).map_or(Ok(default), |a| a.parse::<u32>());
    let (trials, workers) = (number(1, 500)?, number(2, 2)?);
    let dir = std::env::temp_dir().join(format!("hpo-spawn-rate-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    hpo_run::init_logging(0, Some(&dir), std::io::stderr)?;

    let bare = bare_loop(trials)?;
    println!("bare loop: {bare:.0} processes/s");
    let study = study(&dir, trials, workers)?;
    println!("study, {workers} workers: {study:.0} trials/s");
    let again = bare_loop(trials)?;
    println!("bare loop again: {again:.0} processes/s");
    println!("ratio: {:.0} %", 200.0 * study / (bare + again));
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

fn bare_loop(count: u32) -> Result<f64, Box<dyn Error>> {
    let start = Instant::now();
    for _ in 0..count {
        Command::new(PROGRAM)
            .arg(REPORT)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()?;
    }
    Ok(f64::from(count) / start.elapsed().as_secs_f64())
}

fn study(dir: &Path, trials: u32, workers: u32) -> Result<f64, Box<dyn Error>> {
    let text = format!(
        "name: rate\nmethod: random\nseed: 1\nmetric: {{name: loss, goal: minimize}}\n\
         command: [{PROGRAM}, '{REPORT}']\nrun_cap: {trials}\ncpu: {{max_parallel: {workers}}}\n\
         parameters:\n  lr: {{min: 0.1, max: 1.0}}\n"
    );
    let source = Source {
        file: "study.yaml".to_owned(),
        directory: dir.to_owned(),
    };
    let checked = read(&text, &source);
    let spec = checked
        .spec
        .ok_or_else(|| format!("{:?}", checked.problems))?;
    let options = RunOptions {
        study_dir: dir.to_owned(),
        spec,
        work_dir: dir.to_owned(),
        trainer_program: std::env::current_exe()?,
        hpo_version: env!("CARGO_PKG_VERSION").to_owned(),
        confirm: None,
        pip_freeze: false,
        study_file: None,
    };
    let start = Instant::now();
    let outcome = hpo_run::run(options, &mut Quiet)?;
    let seconds = start.elapsed().as_secs_f64();
    let trials = outcome.history.trials();
    let completed = trials
        .iter()
        .filter(|t| t.state == TrialState::Completed)
        .count();
    if completed != trials.len() {
        return Err(format!("{completed} of {} trials completed", trials.len()).into());
    }
    Ok(completed as f64 / seconds)
}
