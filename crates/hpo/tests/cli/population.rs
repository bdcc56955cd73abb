//! `method: pbt` through the program: members train in turns, copies begin from checkpoints, nothing that is needed is removed,
//! and a study that is killed again and again comes to the same end.

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value as Json;

use crate::bench::{Bench, wait_for};
use crate::failures::{SmallDisk, fill};

/// A script with one number for weights. It saves it when it ends, in place, and reports where it began.
const DESCEND: &str = r#"
for argument in "$@"; do case $argument in --lr=*) lr=${argument#--lr=} ;; esac; done
step=0; weight=1
if [ -n "$HPO_RESUME_FROM" ]; then read step weight < "$HPO_RESUME_FROM/state"; fi
[ -n "$HPO_PARENT" ] && [ -z "$HPO_RESUME_FROM" ] && exit 9
while [ "$step" -lt "${HPO_BUDGET:-12}" ]; do
  step=$((step + 1))
  weight=$(awk "BEGIN { printf \"%.12f\", $weight * (1 - $lr) ^ 2 + 0.05 * $lr * $lr }")
  echo "[hpo] {\"step\": $step, \"loss\": $weight}"
  sleep ${PACE:-0}
done
echo "$step $weight" > "$HPO_CHECKPOINT_DIR/state"
"#;

const STUDY: &str = "name: s
command: [sh, script.sh, '${args}']
method: pbt
seed: 5
metric: {name: loss}
parameters: {lr: {min: 1e-3, max: 1.0, distribution: log_uniform_values}}
pbt: {population: 4, interval: 3, max_iter: 12}
stop_grace: 1s
";

fn bench(script: &str, more: &str) -> Bench {
    let bench = Bench::new();
    bench.write("script.sh", script);
    bench.write("study.yaml", &format!("{STUDY}{more}"));
    bench
}

fn ended(bench: &Bench) -> Vec<String> {
    let trials = bench.trials();
    assert!(
        trials.iter().all(|t| t["state"] == "completed"),
        "{trials:?}"
    );
    let told = |t: &Json| format!("{} {} {}", t["params"], t["value"], t["steps"]);
    trials.iter().map(told).collect()
}

fn run(bench: &Bench) {
    let ended = bench.run(&["run", "study.yaml"]);
    assert_eq!(ended.code, 0, "{ended:?}");
}

#[test]
fn the_outcome_is_the_same_with_one_place_and_with_many() {
    let one = bench(DESCEND, "cpu: {max_parallel: 1}\n");
    let plan = one.run(&["check", "study.yaml"]);
    assert_eq!(plan.code, 0, "{plan:?}");
    assert!(
        plan.stdout.contains("the worst 1 copy the best"),
        "{plan:?}"
    );
    run(&one);
    let many = bench(DESCEND, "cpu: {max_parallel: 4}\n");
    run(&many);
    assert_eq!(ended(&one).len(), 16);
    assert_eq!(ended(&one), ended(&many));

    let best = one.json(&["best", "-f", "json"]);
    let schedule = best["schedule"].as_array().unwrap();
    let steps: Vec<_> = schedule
        .iter()
        .map(|s| (s["from_step"].as_u64(), s["to_step"].as_u64()))
        .collect();
    let some = |from, to| (Some(from), Some(to));
    assert_eq!(steps, [some(0, 3), some(3, 6), some(6, 9), some(9, 12)]);
    // The loss is what a training with this schedule has.
    let mut weight = 1.0_f64;
    for stretch in schedule {
        let lr = stretch["params"]["lr"].as_f64().unwrap();
        for _ in 0..3 {
            weight = weight * (1.0 - lr).powi(2) + 0.05 * lr * lr;
        }
    }
    assert!((weight - best["value"].as_f64().unwrap()).abs() < 1e-9);

    // What can be done again by itself, and what cannot.
    let number = best["trial"].to_string();
    let again = one.run(&["rerun", &number]);
    assert_eq!(again.code, 2, "{again:?}");
    assert!(
        again.stderr.contains("began from a checkpoint of trial"),
        "{again:?}"
    );
    assert_eq!(one.run(&["rerun", "0"]).code, 0);
    assert_eq!(one.run(&["confirm"]).code, 2);

    // Of the checkpoints only the best trial's is left.
    let left = |trial: usize| {
        let path = one
            .path()
            .join(format!("runs/s/trials/{trial}/checkpoints"));
        fs::read_dir(path).unwrap().count()
    };
    let kept: Vec<usize> = (0..12).filter(|t| left(*t) > 0).collect();
    let best = best["trial"].as_u64().unwrap() as usize;
    assert!(kept.iter().all(|t| *t == best), "{kept:?}");
    assert_eq!(left(best), 1);
}

#[test]
fn killed_again_and_again_it_comes_to_the_same_end() {
    let calm = bench(DESCEND, "cpu: {max_parallel: 2}\n");
    run(&calm);
    let slow = bench(DESCEND, "cpu: {max_parallel: 2}\nenv: {PACE: \"0.02\"}\n");
    for kill in 0..6_u64 {
        let mut running = slow.start(&["run", "study.yaml"]);
        std::thread::sleep(Duration::from_millis(150 + 130 * kill));
        if running.ended().is_some() {
            break;
        }
        running.signal(Signal::SIGKILL);
    }
    run(&slow);
    slow.wait_until_alone();
    assert_eq!(ended(&slow), ended(&calm));
}

#[test]
fn what_is_known_from_elsewhere_is_refused_and_values_to_begin_with_are_taken() {
    let bench = bench(DESCEND, "");
    bench.write("old.csv", "lr,loss\n0.1,0.01\n0.5,0.03\n");
    let ended = bench.run(&["import", "study.yaml", "old.csv"]);
    assert_eq!(ended.code, 2, "{ended:?}");
    for words in ["needs a checkpoint to go on from", "hpo enqueue"] {
        assert!(ended.stderr.contains(words), "{words}: {ended:?}");
    }
    assert!(!bench.path().join("runs").exists(), "nothing was begun");
    let text = bench.read("study.yaml");
    for (from, to, place, words) in [
        ("seed: 5", "import: old.csv", ":4:1", "have none"),
        ("seed: 5", "prior: {lr: 0.1}", ":4:9", "begin anywhere"),
        (
            "max: 1.0,",
            "max: 1.0, prior: 0.1,",
            ":6:40",
            "begin anywhere",
        ),
        (
            "metric: {name: loss}",
            "metric: [{name: loss}, {name: size}]",
            ":3:1",
            "several objectives",
        ),
    ] {
        bench.write("study.yaml", &text.replace(from, to));
        let ended = bench.run(&["check", "study.yaml"]);
        assert_eq!(ended.code, 2, "{ended:?}");
        for words in [place, words, "hint:"] {
            assert!(ended.stderr.contains(words), "{words}: {ended:?}");
        }
    }
    bench.write("study.yaml", &text);
    let asked = bench.run(&["enqueue", "lr=0.25", "-s", "study.yaml"]);
    assert_eq!(asked.code, 0, "{asked:?}");
    run(&bench);
    let trials = bench.trials();
    assert_eq!(
        (trials.len(), &trials[0]["params"]["lr"]),
        (16, &0.25.into())
    );
}

#[test]
fn a_copy_for_which_there_is_no_room_is_made_when_there_is() {
    // A checkpoint of 2 MiB; in the first interval it is saved, and nothing ends before it is told to.
    let script = format!(
        "{DESCEND}head -c 2097152 /dev/zero > \"$HPO_CHECKPOINT_DIR/weights\" || exit 1\n\
         while [ ! -e go ]; do sleep 0.05; done\n"
    );
    let calm = bench(&script, "cpu: {max_parallel: 4}\n");
    calm.write("go", "");
    run(&calm);

    let full = bench(&script, "cpu: {max_parallel: 4}\n");
    let runs = full.path().join("runs");
    let Some(_disk) = SmallDisk::mount(&runs, "size=64m") else {
        return;
    };
    let mut running = full.start(&["run", "study.yaml"]);
    let saved = |trial: usize| {
        let weights = runs.join(format!("s/trials/{trial}/checkpoints/weights"));
        fs::metadata(weights).is_ok_and(|found| found.len() == 2 << 20)
    };
    wait_for("four checkpoints", || (0..4).all(saved));
    // Enough for a trial to be started, and not for a checkpoint.
    let ballast = runs.join("ballast");
    fill(&ballast);
    let size = fs::metadata(&ballast).unwrap().len();
    let file = fs::File::options().write(true).open(&ballast);
    file.and_then(|file| file.set_len(size - (1600 << 10)))
        .unwrap();
    full.write("go", "");
    wait_for("the full disk to be told", || {
        full.read("words").contains("no room on the disk")
    });
    // It is looked at every second; whoever would try in vain each time would say so each time.
    std::thread::sleep(Duration::from_secs(3));
    assert!(running.ended().is_none());
    let partial = |trial: usize| runs.join(format!("s/trials/{trial}/checkpoints.partial"));
    assert!(
        !(0..16).any(|trial| partial(trial).exists()),
        "half a copy takes room"
    );
    fs::remove_file(&ballast).unwrap();
    assert_eq!(running.code(), 0, "{}", full.read("words"));
    let words = full.read("words");
    for told in ["no room on the disk", "there is room on the disk again"] {
        assert_eq!(words.matches(told).count(), 1, "{told}: {words}");
    }
    assert_eq!(ended(&full), ended(&calm));
}

#[test]
fn a_script_that_saves_nothing_is_told_so() {
    let script = DESCEND.replace("echo \"$step $weight\" >", "#");
    let bench = bench(&script, "cpu: {max_parallel: 1}\n");
    let ended = bench.run(&["run", "study.yaml"]);
    // The members' first intervals have completed, so there is a best trial; the study is over all the same.
    assert_eq!(ended.code, 0, "{ended:?}");
    let why = "5 trials in a row failed alike; the last, trial 8: it could not be started: trial 0 left no \
               checkpoint in HPO_CHECKPOINT_DIR";
    assert!(ended.stdout.contains(why), "{ended:?}");
}

#[test]
fn a_script_that_runs_on_is_ended_and_a_member_that_crashes_is_replaced() {
    // It passes over HPO_BUDGET, saves every step, and its second member always crashes.
    let script = DESCEND
        .replace(
            "while [ \"$step\" -lt \"${HPO_BUDGET:-12}\" ]; do",
            "[ \"$HPO_TRIAL\" = 1 ] && exit 3\nwhile [ \"$step\" -lt 12 ]; do",
        )
        .replace(
            "sleep ${PACE:-0}",
            "echo \"$step $weight\" > \"$HPO_CHECKPOINT_DIR/state\"; sleep 0.3",
        );
    let bench = bench(&script, "cpu: {max_parallel: 4}\n");
    run(&bench);
    let trials = bench.trials();
    assert_eq!(trials[1]["state"], "failed");
    let others = || trials.iter().filter(|t| t["trial"] != 1);
    assert!(others().all(|t| t["state"] == "completed"), "{trials:?}");
    assert_eq!(trials.len(), 16);
}

#[test]
fn the_built_in_trainer_trains_a_population_and_the_page_shows_it() {
    let bench = Bench::new();
    bench.write(
        "study.yaml",
        "name: s
trainer: {model: mlp, hidden: [16], dataset: digits, epochs: 8}
method: pbt
seed: 1
metric: {name: val_loss}
parameters:
  optimizer: {value: momentum}
  lr: {min: 1e-3, max: 10.0, distribution: log_uniform_values}
  momentum: {min: 0.0, max: 0.99, distribution: one_minus_log}
pbt: {population: 6, interval: 2}
cpu: {max_parallel: 2}
",
    );
    run(&bench);
    let best = bench.json(&["best", "-f", "json"]);
    assert_eq!(best["steps"], 8);
    assert_eq!(best["schedule"].as_array().unwrap().len(), 4);
    let page = bench.json(&["report", "-f", "json"]);
    let shown = &page["sections"]["population"];
    let names: Vec<&str> = shown["parameters"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|p| p["name"].as_str())
        .collect();
    assert_eq!(names, ["lr", "momentum"]);
    assert_eq!(shown["best"].as_array().unwrap().len(), 4);
    let program = bench.run(&["best", "-f", "pytorch"]);
    assert!(
        program.stdout.contains("changes = {\n    0: {"),
        "{program:?}"
    );
    assert_eq!(bench.run(&["best", "-f", "args"]).code, 2);
    wait_for("everything to end", || bench.processes().is_empty());
}
