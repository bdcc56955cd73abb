//! `kill -9` at any moment: nothing is lost, nothing is done twice, nothing is left behind.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value as Json;

use crate::bench::{Bench, shell_study, study_directory, timeless, wait_for};

/// A small generator of our own, so that the moments are the same in every run.
struct Moments(u64);

impl Moments {
    /// A duration below `most`.
    fn next(&mut self, most: Duration) -> Duration {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        most.mul_f64((self.0 >> 11) as f64 / (1_u64 << 53) as f64)
    }
}

/// Runs the study in `bench`, kills its coordinator `kills` times when `moment` says so (unless the
/// study ends before), and then runs it to its end. Checks after every kill that what had ended stays
/// as it was, and in the end that no process is left. Gives the number of kills that hit.
fn torment(bench: &Bench, kills: u32, mut moment: impl FnMut(u32)) -> u32 {
    let mut over: BTreeMap<u64, Json> = BTreeMap::new();
    let mut hits = 0;
    while hits < kills {
        let mut running = bench.start(&["run", "study.yaml"]);
        moment(hits);
        if running.ended().is_some() {
            break;
        }
        running.signal(Signal::SIGKILL);
        drop(running);
        hits += 1;
        // What runs goes on; the next coordinator adopts it.
        // The very first kill can come before there is a study.
        if bench.run(&["status"]).code == 0 {
            keep_watch(bench, &mut over);
        }
    }
    let last = bench.run(&["run", "study.yaml"]);
    assert_eq!(last.code, 0, "{last:?}");
    keep_watch(bench, &mut over);
    bench.wait_until_alone();
    hits
}

/// Trials that have ended stay exactly as they were, attempts and times included.
fn keep_watch(bench: &Bench, ended: &mut BTreeMap<u64, Json>) {
    let trials = bench.trials();
    for (i, trial) in trials.iter().enumerate() {
        assert_eq!(trial["trial"], i, "trials are numbered in order");
        let over = ["completed", "stopped", "failed"]
            .iter()
            .any(|state| trial["state"] == *state);
        match ended.get(&(i as u64)) {
            Some(before) => assert_eq!(before, trial, "a trial that was over has changed"),
            None if over => {
                ended.insert(i as u64, trial.clone());
            }
            None => {}
        }
    }
    assert!(
        ended.keys().all(|i| (*i as usize) < trials.len()),
        "a trial was lost"
    );
}

/// How many lines the trials of the only study have reported.
fn reported(bench: &Bench) -> u64 {
    let trials = fs::read_dir(study_directory(bench, "digits").join("trials"));
    let trials = trials.into_iter().flatten().filter_map(Result::ok);
    let lines = trials.map(|trial| fs::read_to_string(trial.path().join("metrics.jsonl")));
    lines
        .map(|text| text.unwrap_or_default().lines().count() as u64)
        .sum()
}

fn timeless_trials(bench: &Bench) -> Vec<Json> {
    bench.trials().iter().map(timeless).collect()
}

#[test]
fn a_command_study_survives_being_killed_twenty_times() {
    // Each trial has a child of its own, which nothing but a thorough clean-up ends.
    let script = r#"
sleep 1000 &
for argument in "$@"; do case $argument in --x=*) x=${argument#--x=} ;; esac; done
for step in 1 2 3 4 5 6; do
  sleep 0.05
  echo "[hpo] {\"step\": $step, \"loss\": $x}"
done
kill $!
"#;
    let more = "run_cap: 40\ncpu: {max_parallel: 2}\nstop_grace: 1s";
    let calm = Bench::new();
    shell_study(&calm, script, more);
    assert_eq!(calm.run(&["run", "study.yaml"]).code, 0);
    let expected = timeless_trials(&calm);
    assert_eq!(expected.len(), 40);
    assert!(
        expected.iter().all(|t| t["state"] == "completed"),
        "{expected:#?}"
    );

    let mut moments = Moments(1);
    let mut hits = 0;
    // One study is long enough for all kills unless the machine stalls; then another one takes the rest.
    while hits < 20 {
        let bench = Bench::new();
        shell_study(&bench, script, more);
        hits += torment(&bench, 20 - hits, |_| {
            std::thread::sleep(moments.next(Duration::from_millis(400)))
        });
        assert_eq!(timeless_trials(&bench), expected);
    }
}

#[test]
fn the_built_in_trainer_goes_on_exactly_where_it_was() {
    let study = "\
name: digits
trainer: {model: mlp, hidden: [32], dataset: digits, epochs: 12}
metric: {name: val_loss, goal: minimize}
method: sobol
seed: 5
run_cap: 8
recipe: {optimizers: [momentum, adamw, rmsprop], schedules: [one_cycle, cosine, reduce_on_plateau]}
parameters: {batch_size: 8}
early_terminate: {type: asha, min_iter: 3, max_iter: 12, eta: 2}
cpu: {max_parallel: 1}
";
    let calm = Bench::new();
    calm.write("study.yaml", study);
    assert_eq!(calm.run(&["run", "study.yaml"]).code, 0);
    let bench = Bench::new();
    bench.write("study.yaml", study);
    let whole: u64 = calm
        .trials()
        .iter()
        .map(|t| t["steps"].as_u64().unwrap())
        .sum();
    let hits = torment(&bench, 5, |kill| {
        let until = whole * u64::from(kill + 1) / 7;
        wait_for("the next report", || reported(&bench) >= until);
    });
    assert!(hits >= 1);
    assert_eq!(timeless_trials(&bench), timeless_trials(&calm));
}
