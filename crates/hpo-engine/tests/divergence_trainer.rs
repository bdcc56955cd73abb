//! The divergence detector on runs of the built-in trainer: `curves/trainer.jsonl.gz` holds one run of 400 updates
//! for every optimizer, both models and seven rates from sensible to a thousand times as much, with
//! the loss of every update and what became of each run, judged afterwards. Made by
//! `cargo run --release -p hpo-train --example make_curves`, which has the rule in its `truth.rs`.
//!
//! The detector was not tuned on these. What it does on them may become better, never worse.

#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::collections::BTreeSet;
use std::io::Read as _;

use flate2::read::GzDecoder;
use hpo_engine::divergence::curves::{self, Run};
use hpo_engine::divergence::{Chance, Finding, Settings};
use hpo_study::Goal;

/// Runs that were lost, and good ones; the one that is left learned too slowly to be either.
const LOST: usize = 51;
const GOOD: usize = 74;
/// Lost runs that it does not find: both had learned a little, the one until update 352, the other
/// for some twenty updates around 250, and are at chance ever after.
const MISSED: [&str; 2] = [
    "mlp-rmsprop-0.32-constant-warmup-2",
    "mlp-adagrad-1-constant-warmup-2",
];
/// Good runs that it gives up by the validation loss: they end above 2, where chance is 2.3.
const KILLED: [&str; 2] = ["mlp-rmsprop-1-cosine-warmup-3", "mlp-adagrad-10-constant-1"];

fn runs() -> Vec<Run> {
    let packed: &[u8] = include_bytes!("curves/trainer.jsonl.gz");
    let mut text = String::new();
    GzDecoder::new(packed).read_to_string(&mut text).unwrap();
    curves::read("trainer", &text).unwrap()
}

fn judge(run: &Run, metric: &str) -> Option<Finding> {
    let chance = Chance::Known(run.chance.unwrap());
    let settings = Settings::new(Goal::Minimize, chance, Some(400));
    curves::first_hopeless(settings, run.metric(Some(metric)).unwrap())
}

/// What the detector made of the runs.
#[derive(Default)]
struct Counts {
    lost: usize,
    missed: BTreeSet<String>,
    good: usize,
    /// Good runs that it gave up, with the share of good runs that end better.
    killed: Vec<(String, f64)>,
}

fn counts(metric: &str) -> Counts {
    let (mut counts, mut finals) = (Counts::default(), Vec::new());
    for run in runs() {
        let hopeless = judge(&run, metric).is_some();
        match run.label("truth").unwrap().as_str() {
            "diverged" | "stuck" => {
                counts.lost += 1;
                if !hopeless {
                    counts.missed.insert(run.id);
                }
            }
            "slow" => {}
            _ => {
                let last: f64 = run.label("final_loss").unwrap().parse().unwrap();
                finals.push(last);
                counts.good += 1;
                if hopeless {
                    counts.killed.push((run.id, last));
                }
            }
        }
    }
    for (_, place) in &mut counts.killed {
        let better = finals.iter().filter(|&&last| last < *place).count();
        *place = better as f64 / finals.len() as f64;
    }
    counts
}

#[test]
fn the_runs_are_all_there() {
    let runs = runs();
    let of = |label: &str| -> BTreeSet<String> {
        runs.iter().map(|run| run.label(label).unwrap()).collect()
    };
    assert_eq!(
        (runs.len(), of("optimizer").len(), of("model").len()),
        (126, 9, 2)
    );
    for run in &runs {
        assert_eq!(
            (run.metrics["train_loss"].len(), run.last_step()),
            (400, 400)
        );
        assert_eq!(
            run.metrics["val_loss"].first().map(|point| point.0),
            Some(20)
        );
    }
}

#[test]
fn what_it_finds_on_the_training_loss_does_not_get_worse() {
    let counts = counts("train_loss");
    assert_eq!((counts.lost, counts.good), (LOST, GOOD));
    assert!(
        counts.missed.iter().all(|id| MISSED.contains(&id.as_str())),
        "{:?}",
        counts.missed
    );
    assert!(counts.killed.is_empty(), "{:?}", counts.killed);
}

#[test]
fn what_it_finds_on_a_sparse_validation_loss_does_not_get_worse() {
    let counts = counts("val_loss");
    assert!(
        counts.missed.iter().all(|id| MISSED.contains(&id.as_str())),
        "{:?}",
        counts.missed
    );
    let killed = |(id, better): &(String, f64)| KILLED.contains(&id.as_str()) && *better > 0.9;
    assert!(counts.killed.iter().all(killed), "{:?}", counts.killed);
}
