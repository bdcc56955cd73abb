//! How many trials and reports per second the study database makes durable. Prints three numbers: trials
//! per second, reports per second with one to a commit, and with a hundred to a commit (what a turn of the
//! coordinator brings when trials report faster than the disk turns). `benches/store_vs_optuna.py` compares.
//! `cargo run --release -p hpo-store --example durable_writes DIR`

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use hpo_store::Store;
use hpo_study::{AttemptEnd, AttemptNumber, Config, Event, EventKind, Timestamp, TrialId};

const TRIALS: u32 = 60;
const REPORTS: u32 = 300;

fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::args().nth(1).ok_or("which directory?")?;
    let dir = Path::new(&dir);
    if dir.exists() {
        std::fs::remove_dir_all(dir)?;
    }
    let mut store = Store::create(dir, &[])?;
    let start = Instant::now();
    for trial in 0..TRIALS {
        // As the coordinator does: begun in one turn, seen to run in the next, over in a third.
        for turn in trial_events(TrialId(trial)) {
            store.append(&turn)?;
        }
    }
    let trials = f64::from(TRIALS) / start.elapsed().as_secs_f64();
    let start = Instant::now();
    for step in 0..REPORTS {
        store.append(&[report(step)])?;
    }
    let singly = f64::from(REPORTS) / start.elapsed().as_secs_f64();
    let start = Instant::now();
    for turn in 0..REPORTS {
        let events: Vec<Event> = (0..100).map(|i| report(turn * 100 + i)).collect();
        store.append(&events)?;
    }
    let together = f64::from(REPORTS * 100) / start.elapsed().as_secs_f64();
    println!("{trials:.1} {singly:.1} {together:.1}");
    drop(store);
    std::fs::remove_dir_all(dir)?;
    Ok(())
}

fn event(kind: EventKind) -> Event {
    let at = Timestamp(1_700_000_000_000);
    Event { at, kind }
}

fn trial_events(trial: TrialId) -> [Vec<Event>; 3] {
    let attempt = AttemptNumber(1);
    let (target, stderr) = (None, String::new());
    let end = AttemptEnd::Exited { code: 0, stderr };
    [
        vec![
            event(EventKind::TrialSuggested {
                trial,
                config: Config::from_iter([("lr", 0.1)]),
                bracket: 0,
                target,
            }),
            event(EventKind::AttemptLaunching {
                trial,
                attempt,
                target,
                assignment: None,
            }),
        ],
        vec![event(EventKind::AttemptStarted {
            trial,
            attempt,
            pid: 1,
        })],
        vec![
            event(EventKind::AttemptEnded {
                trial,
                attempt,
                end,
            }),
            event(EventKind::TrialCompleted { trial }),
        ],
    ]
}

fn report(step: u32) -> Event {
    event(EventKind::Reported {
        trial: TrialId(0),
        attempt: AttemptNumber(1),
        step: u64::from(step),
        metrics: [("val_loss".to_owned(), 1.0 / f64::from(step + 1))].into(),
    })
}
