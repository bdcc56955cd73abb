//! How long a large study takes to write and to load: 10,000 trials of 100 reports.
//! `cargo run --release -p hpo-store --example load_speed`

use std::error::Error;
use std::time::Instant;

use hpo_store::Store;
use hpo_study::{AttemptNumber, Event, EventKind, Timestamp, TrialId};

fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::temp_dir().join(format!("hpo-load-speed-{}", std::process::id()));
    let mut store = Store::create(&dir, &[])?;
    let start = Instant::now();
    for trial in 0..10_000 {
        let attempt = AttemptNumber(1);
        let trial = TrialId(trial);
        let mut events = vec![Event {
            at: Timestamp(1_700_000_000_000),
            kind: EventKind::AttemptStarted {
                trial,
                attempt,
                pid: 1,
            },
        }];
        events.extend((1..=100_u64).map(|step| {
            Event {
                at: Timestamp(1_700_000_000_000 + step),
                kind: EventKind::Reported {
                    trial,
                    attempt,
                    step,
                    metrics: [
                        (
                            "val_loss".to_owned(),
                            1.0 / (step as f64 + f64::from(trial.0)),
                        ),
                        ("lr".to_owned(), 1e-3),
                    ]
                    .into(),
                },
            }
        }));
        store.append(&events)?;
    }
    println!("written in {:.2} s", start.elapsed().as_secs_f64());
    drop(store);
    let start = Instant::now();
    let count = hpo_store::read(&dir)?.len();
    println!(
        "{count} events loaded in {:.2} s",
        start.elapsed().as_secs_f64()
    );
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}
