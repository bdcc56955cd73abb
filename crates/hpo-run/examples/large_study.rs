//! Makes a large study that has come to its end, and measures how long it takes to take it up again and how
//! much memory that needs.
//! `cargo run --release -p hpo-run --example large_study DIR [trials] [reports per trial]`
//!
//! The study is left in DIR, for `hpo status DIR` and the like.

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use hpo_engine::Recall;
use hpo_store::Store;
use hpo_study::study_file::{Source, read};
use hpo_study::{AttemptEnd, AttemptNumber, Config, Event, EventKind, Timestamp, TrialId};

const STUDY: &str = "\
name: large
command: [\"true\"]
method: random
metric: {name: val_loss}
run_cap: 1000000
parameters: {lr: {min: 1e-5, max: 1.0, distribution: log_uniform_values}}
";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |i: usize, default| arguments.get(i).map_or(Ok(default), |a| a.parse::<u32>());
    let dir = arguments.get(1).ok_or("which directory?")?;
    let (trials, reports) = (number(2, 10_000)?, number(3, 100)?);
    let dir = Path::new(dir);
    if !hpo_store::exists(dir) {
        write(dir, trials, reports)?;
    }
    let before = resident();
    let start = Instant::now();
    let store = Store::open(dir)?;
    let (mut events, mut recall) = (0_u64, Recall::default());
    store.replay(|event| -> Result<(), Box<dyn Error>> {
        events += 1;
        Ok(recall.take_in(event)?)
    })?;
    let engine = recall.finish()?;
    println!(
        "{events} events taken in after {:.2} s",
        start.elapsed().as_secs_f64()
    );
    println!(
        "resident: {before:.0} MiB before, {:.0} with {} trials",
        resident(),
        engine.history().trials().len()
    );
    Ok(())
}

fn write(dir: &Path, trials: u32, reports: u32) -> Result<(), Box<dyn Error>> {
    let source = Source {
        file: "large.yaml".into(),
        directory: "/".into(),
    };
    let spec = read(STUDY, &source).spec.ok_or("the study is sound")?;
    let mut now = Timestamp(1_700_000_000_000);
    let mut event = |kind| {
        now = Timestamp(now.0 + 7);
        Event { at: now, kind }
    };
    let opened = event(EventKind::StudyOpened {
        spec: Box::new(spec),
        hpo_version: "0".into(),
    });
    let mut store = Store::create(dir, &[opened])?;
    let (pid, host) = (1, "here".to_owned());
    store.append(&[event(EventKind::SessionStarted { pid, host })])?;
    for id in 0..trials {
        let (trial, attempt) = (TrialId(id), AttemptNumber(1));
        let lr = 10_f64.powf(-5.0 * f64::from(id % 997) / 997.0);
        let mut kinds = vec![
            EventKind::TrialSuggested {
                trial,
                config: Config::from_iter([("lr", lr)]),
                bracket: 0,
                target: None,
            },
            EventKind::AttemptLaunching {
                trial,
                attempt,
                target: None,
                assignment: None,
            },
            EventKind::AttemptStarted {
                trial,
                attempt,
                pid,
            },
        ];
        kinds.extend((1..=reports).map(|step| {
            let loss = 1.0 / f64::from(step) + lr;
            EventKind::Reported {
                trial,
                attempt,
                step: u64::from(step),
                metrics: [("val_loss".to_owned(), loss), ("lr".to_owned(), lr)].into(),
            }
        }));
        let stderr = String::new();
        let end = AttemptEnd::Exited { code: 0, stderr };
        kinds.push(EventKind::AttemptEnded {
            trial,
            attempt,
            end,
        });
        kinds.push(EventKind::TrialCompleted { trial });
        let events: Vec<Event> = kinds.into_iter().map(&mut event).collect();
        store.append(&events)?;
    }
    Ok(())
}

/// This process's resident memory in MiB.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    kilobytes.unwrap_or(0.0) / 1024.0
}
