//! Each configuration with several seeds: real processes, whose luck is their seed.

use nix::sys::signal::Signal;
use serde_json::Value as Json;

use crate::bench::{Bench, shell_study, wait_for};

/// `loss` is x and a little luck from the seed.
const LUCKY: &str = r#"
for argument in "$@"; do case $argument in --x=*) x=${argument#--x=} ;; esac; done
sleep 0.03
echo "[hpo] {\"step\": 1, \"loss\": $(awk "BEGIN { printf \"%.9f\", $x + $HPO_SEED % 1000 / 10000 }")}"
"#;

const REPEATS: &str = "run_cap: 8\nrepeats: 3\ncpu: {max_parallel: 1}";

/// What all runs told, without what differs from run to run.
fn told(bench: &Bench) -> Vec<String> {
    let further = bench.json(&["trials", "--repeats", "-f", "json"]);
    let further = further.as_array().unwrap().clone();
    let all = bench.trials().into_iter().chain(further);
    all.map(|run| {
        let fields = ["trial", "repeat_of", "state", "value", "detail", "repeats"];
        fields.map(|field| run[field].to_string()).join(" ")
    })
    .collect()
}

#[test]
fn the_best_mean_wins_and_the_hopeless_are_not_repeated() {
    let bench = Bench::new();
    shell_study(&bench, LUCKY, REPEATS);
    let plan = bench.run(&["check", "study.yaml"]);
    assert!(
        plan.stdout
            .contains("each configuration with 3 seeds, fewer for the hopeless: 24 runs at most"),
        "{plan:?}"
    );
    let ended = bench.run(&["run", "study.yaml"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let trials = bench.trials();
    assert_eq!(trials.len(), 8);
    let mut given_up = 0;
    let mut means = Vec::new();
    for trial in &trials {
        let repeats = &trial["repeats"];
        let values: Vec<f64> = serde_json::from_value(repeats["values"].clone()).unwrap();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        assert!((trial["value"].as_f64().unwrap() - mean).abs() < 1e-12);
        means.push((mean, trial["trial"].clone()));
        if repeats["given_up"].is_null() {
            assert_eq!(values.len(), 3, "{trial}");
        } else {
            assert!(values.len() < 3, "{trial}");
            assert!(
                trial["detail"]
                    .as_str()
                    .unwrap()
                    .contains("is behind trial"),
                "{trial}"
            );
            given_up += 1;
        }
    }
    assert!(given_up > 0, "x goes from 0 to 1, the luck to .1");
    means.sort_by(|a, b| a.0.total_cmp(&b.0));
    let best = bench.json(&["best", "-f", "json"]);
    assert_eq!(best["trial"], means[0].1);
    assert_eq!(best["repeats"]["n"], 3);
    assert!(best["repeats"]["standard_error"].as_f64().unwrap() > 0.0);

    // All that looks says so.
    assert!(ended.stdout.contains("mean of 3 seeds, ±"), "{ended:?}");
    assert!(
        ended.stderr.contains("is not run with further seeds: "),
        "{ended:?}"
    );
    assert!(
        bench
            .read("runs/shell/best.yaml")
            .contains("mean of 3 seeds, ±")
    );
    assert!(
        bench
            .read("runs/shell/report.html")
            .contains("mean of 3 seeds, ±")
    );
    let table = bench.run(&["trials"]).stdout;
    assert!(
        table.contains("± error") && table.contains("seeds"),
        "{table}"
    );
    let page = bench.run(&["trial", &best["trial"].to_string()]).stdout;
    assert!(
        page.contains("by seed: ") && page.contains("run again 2 times, as r"),
        "{page}"
    );
    assert!(
        bench
            .run(&["trial", "r0"])
            .stdout
            .contains("a further run of trial 0")
    );
    assert_eq!(bench.run(&["rerun", "r0"]).code, 0);
    // The study database agrees.
    let log = bench.run(&["status", "-f", "json"]);
    let status: Json = serde_json::from_str(&log.stdout).unwrap();
    assert_eq!(status["best"]["trial"], best["trial"]);
    // Another number is another study.
    shell_study(&bench, LUCKY, &REPEATS.replace("repeats: 3", "repeats: 4"));
    let refused = bench.run(&["run", "study.yaml"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("`repeats`: 3 → 4"), "{refused:?}");
}

#[test]
fn killed_again_and_again_it_gives_the_same_means() {
    let calm = Bench::new();
    shell_study(&calm, LUCKY, REPEATS);
    assert_eq!(calm.run(&["run", "study.yaml"]).code, 0);

    let bench = Bench::new();
    shell_study(&bench, LUCKY, REPEATS);
    for run in [0, 1, 3] {
        let running = bench.start(&["run", "study.yaml"]);
        let record = bench
            .path()
            .join(format!("runs/shell/trials/r{run}/process.1.json"));
        wait_for("a run with another seed", || record.exists());
        running.signal(Signal::SIGKILL);
    }
    let last = bench.run(&["run", "study.yaml"]);
    assert_eq!(last.code, 0, "{last:?}");
    assert_eq!(told(&bench), told(&calm));
    bench.wait_until_alone();
}

#[test]
fn cancelling_a_trial_kills_the_run_that_repeats_it_at_once() {
    let bench = Bench::new();
    let script = "trap '' TERM\necho '[hpo] {\"step\": 1, \"loss\": 0.5}'\n\
                  [ $HPO_TRIAL = 0 ] || while :; do sleep 0.1; done\n";
    shell_study(&bench, script, "run_cap: 1\nrepeats: 2\nstop_grace: 200s");
    let running = bench.start(&["run", "study.yaml"]);
    wait_for("the run that repeats trial 0", || {
        let run = bench.run(&["trial", "r0", "-f", "json"]);
        run.stdout.contains("\"running\"")
    });
    let begun = std::time::Instant::now();
    assert_eq!(bench.run(&["cancel", "0"]).code, 0);
    assert_eq!(running.code(), 0, "{}", bench.read("words"));
    assert!(begun.elapsed() < std::time::Duration::from_secs(60));
    assert_eq!(bench.trials()[0]["state"], "completed");
}
