//! Random studies on simulated GPUs, and how the placement does against somebody who knows every peak.
//!
//! `cargo run --release -p hpo-engine --example gpu_simulation [studies] [trials] [first seed] [trouble]`

use std::time::{Duration, Instant};

use hpo_engine::sim::gpu::{GpuOutcome, run};
use hpo_engine::sim::workload::{Trouble, Workload};
use hpo_study::{Trial, TrialState};

/// The first so many trials are those from which is learned.
const LEARNING: usize = 20;

/// What came of one study.
struct Result {
    outcome: GpuOutcome,
    period: Duration,
    /// How long the trials after the first ones took, against the oracle.
    ratio: Option<f64>,
    completed: usize,
    /// Trials that would have fitted alone, and were called infeasible.
    wronged: usize,
    unended: usize,
}

fn study(seed: u64, trouble: Trouble, trials: u32) -> std::result::Result<Result, String> {
    let workload = Workload::random(seed, trouble, trials);
    let load = |trial, config: &_| workload.load(trial, config);
    let outcome = run(workload.spec.clone(), &workload.machine, &load)
        .map_err(|error| format!("seed {seed}: {error}"))?;
    let history = &outcome.history;
    // The same trials: those that came to nothing for want of memory are nobody's work.
    let done = |t: &&Trial| t.state == TrialState::Completed;
    let known = history.trials().iter().filter(done);
    let known = workload.oracle(known.map(|t| (t.id, &t.config)));
    let begin = history.opened();
    let ends = history
        .trials()
        .iter()
        .filter(|t| t.state == TrialState::Completed);
    let ends = ends.filter_map(|t| Some(t.ended?.since(begin))).collect();
    let after = |mut ends: Vec<Duration>| {
        ends.sort();
        Some((*ends.last()? - *ends.get(LEARNING - 1)?).as_secs_f64())
    };
    let fits = |t: &&Trial| load(t.id, &t.config).trace.peak() <= workload.room();
    let count =
        |state: fn(&TrialState) -> bool| history.trials().iter().filter(move |t| state(&t.state));
    Ok(Result {
        ratio: after(ends)
            .zip(after(known))
            .map(|(ours, theirs)| ours / theirs),
        period: workload.machine.period,
        completed: count(|s| *s == TrialState::Completed).count(),
        wronged: count(|s| matches!(s, TrialState::Failed(_)))
            .filter(fits)
            .count(),
        unended: count(|s| !s.is_final()).count(),
        outcome,
    })
}

fn main() -> std::result::Result<(), String> {
    let only = std::env::args().nth(4);
    let mut arguments = std::env::args()
        .skip(1)
        .map(|a| a.parse::<u64>().unwrap_or(0));
    let studies = arguments.next().unwrap_or(1000);
    let trials = u32::try_from(arguments.next().unwrap_or(100)).unwrap_or(100);
    let first = arguments.next().unwrap_or(1);
    println!(
        "{studies} studies of {trials} trials; time against an oracle counts after trial {LEARNING}\n"
    );
    println!(
        "{:<12} {:>7} {:>10} {:>9} {:>9} {:>9} {:>8} {:>6} {:>6} {:>10} {:>8} {:>9} {:>24}",
        "trouble",
        "studies",
        "violations",
        "over",
        "longest",
        "by",
        "late",
        "OOMs",
        "stops",
        "infeasible",
        "wronged",
        "overtaken",
        "time: mean p50 p95 max"
    );
    let start = Instant::now();
    for (kind, trouble) in Trouble::ALL.into_iter().enumerate() {
        // Half of the studies are sound, the others share the troubles.
        let share = match &only {
            Some(only) if *only != format!("{trouble:?}") => continue,
            Some(_) => studies,
            None if trouble == Trouble::None => studies / 2,
            None => studies / 16,
        };
        let mut results = Vec::new();
        for i in 0..share.max(1) {
            let seed = first + i * 9 + kind as u64;
            let result = study(seed, trouble, trials)?;
            for over in result
                .outcome
                .overshoots
                .iter()
                .filter(|_| !trouble.is_adversarial())
            {
                println!("{trouble:?} {seed}: {over:?}");
            }
            results.push(result);
        }
        print(trouble, &results, trials);
    }
    println!("\n{:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}

fn print(trouble: Trouble, results: &[Result], trials: u32) {
    let sum = |of: &dyn Fn(&Result) -> usize| results.iter().map(of).sum::<usize>();
    let over = || {
        results
            .iter()
            .flat_map(|r| r.outcome.overshoots.iter().map(|o| (o, r.period)))
    };
    let longest = over().map(|(o, _)| o.long).max().unwrap_or_default();
    let most = over().map(|(o, _)| o.most).max().unwrap_or(0);
    let late = over().filter(|(o, period)| o.long > *period).count();
    let mut ratios: Vec<f64> = results.iter().filter_map(|r| r.ratio).collect();
    ratios.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let i = (share * (ratios.len().saturating_sub(1)) as f64).round() as usize;
        ratios.get(i).copied().unwrap_or(f64::NAN)
    };
    let mean = ratios.iter().sum::<f64>() / ratios.len().max(1) as f64;
    let infeasible = sum(&|r| trials as usize - r.completed - r.unended);
    assert_eq!(sum(&|r| r.unended), 0, "every trial comes to its end");
    println!(
        "{:<12} {:>7} {:>10} {:>9} {:>8.2}s {:>5} MiB {:>8} {:>6} {:>6} {:>10} {:>8} {:>9} {:>6.3} {:.3} {:.3} {:.3}",
        format!("{trouble:?}"),
        results.len(),
        sum(&|r| r.outcome.violations),
        over().count(),
        longest.as_secs_f64(),
        most >> 20,
        late,
        sum(&|r| r.outcome.ooms),
        sum(&|r| r.outcome.stops),
        infeasible,
        sum(&|r| r.wronged),
        results
            .iter()
            .map(|r| r.outcome.overtaken)
            .max()
            .unwrap_or(0),
        mean,
        at(0.5),
        at(0.95),
        at(1.0),
    );
}
