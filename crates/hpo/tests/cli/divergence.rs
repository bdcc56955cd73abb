//! Runs that come to nothing: stopped while a study runs, and found in logs.

use serde_json::{Value as Json, json};

use crate::bench::{Bench, shell_study};

/// A training of a hundred steps that spikes to 8 at step 20 and stays there when `kind` is `a`, and
/// comes back at step 28 when it is `b`. It goes on for ever so slowly, so that it can be stopped.
const SPIKES: &str = r#"
for argument in "$@"; do
  case $argument in
    --kind=*) kind=${argument#--kind=} ;;
  esac
done
step=0
while [ $step -lt 100 ]; do
  step=$((step + 1))
  loss=0.5
  if [ $step -ge 20 ] && { [ "$kind" = a ] || [ $step -lt 28 ]; }; then loss=8.0$step; fi
  echo "[hpo] {\"step\": $step, \"loss\": $loss}"
done
if [ "$kind" = a ] && [ -z "$UNWATCHED" ]; then sleep 600; fi
"#;

fn study(bench: &Bench, divergence: &str) {
    shell_study(
        bench,
        SPIKES,
        &format!(
            "run_cap: 6\ncpu: {{max_parallel: 2}}\nstop_grace: 1s\ndivergence: {{planned_steps: 100, chance: 2.3, {divergence}}}"
        ),
    );
}

fn kinds<'t>(trials: &'t [Json], kind: &'t str) -> impl Iterator<Item = &'t Json> {
    trials.iter().filter(move |t| t["params"]["kind"] == kind)
}

#[test]
fn a_run_that_explodes_is_stopped_and_one_that_recovers_is_not() {
    let bench = Bench::new();
    study(&bench, "policy: auto");
    let ended = bench.run(&["run", "study.yaml"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let trials = bench.trials();
    assert!(kinds(&trials, "a").count() > 0 && kinds(&trials, "b").count() > 0);
    for trial in kinds(&trials, "a") {
        assert_eq!(
            (&trial["state"], &trial["reason"]),
            (&json!("stopped"), &json!("diverged"))
        );
        let detail = trial["detail"].as_str().unwrap();
        assert!(
            detail.contains("where chance is 2.3") && detail.contains("(collapsed)"),
            "{detail}"
        );
        assert!(trial["steps"].as_u64().unwrap() < 60, "{trial}");
    }
    for trial in kinds(&trials, "b") {
        assert_eq!(
            (&trial["state"], &trial["steps"]),
            (&json!("completed"), &json!(100))
        );
    }
    // A spike that passes is no line of its own.
    assert!(!ended.stderr.contains("spiking"), "{ended:?}");
    assert!(ended.stderr.contains(", after a spike"), "{ended:?}");
    assert!(ended.stderr.contains("diverged at step"), "{ended:?}");
    bench.wait_until_alone();
}

#[test]
fn a_warning_stops_nothing() {
    let bench = Bench::new();
    study(&bench, "policy: warn");
    bench.write("trial.sh", &format!("UNWATCHED=1\n{SPIKES}"));
    let ended = bench.run(&["run", "study.yaml"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let trials = bench.trials();
    assert!(
        trials.iter().all(|t| t["state"] == "completed"),
        "{trials:#?}"
    );
    assert!(ended.stderr.contains("looks diverged at step"), "{ended:?}");
}

/// A training that writes a checkpoint per step and explodes at step 20 at a large rate.
const RESCUABLE: &str = r#"
for argument in "$@"; do
  case $argument in
    --lr=*) lr=${argument#--lr=} ;;
  esac
done
step=0
if [ -n "$HPO_RESUME_FROM" ]; then
  for file in $(ls "$HPO_RESUME_FROM" | sort -n); do
    if [ -z "$HPO_RESUME_STEP" ] || [ "$file" -le "$HPO_RESUME_STEP" ]; then step=$file; fi
  done
fi
echo "attempt $HPO_ATTEMPT keeps $HPO_KEEP_CHECKPOINTS goes on from $step"
while [ $step -lt 100 ]; do
  step=$((step + 1))
  loss=0.5
  if [ $step = 15 ]; then loss=0.4; fi
  if [ $step -ge 20 ] && [ "$lr" = 0.4 ]; then loss=8.0$step; fi
  echo "[hpo] {\"step\": $step, \"loss\": $loss}"
  touch "$HPO_CHECKPOINT_DIR/$step"
done
if [ "$lr" = 0.4 ]; then sleep 600; fi
"#;

#[test]
fn a_lost_run_is_rescued_and_marked() {
    let bench = Bench::new();
    let wishes = "divergence: {planned_steps: 100, chance: 2.3, rescue: {lr_factor: 0.5}}";
    shell_study(
        &bench,
        RESCUABLE,
        &format!("run_cap: 1\nstop_grace: 1s\n{wishes}"),
    );
    let text = bench.read("study.yaml");
    bench.write(
        "study.yaml",
        &text.replace("x: {min: 0.0, max: 1.0}", "lr: {value: 0.4}"),
    );
    let ended = bench.run(&["run", "study.yaml"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(
        ended
            .stderr
            .contains("goes back to step 15 with lr 0.4 → 0.2"),
        "{ended:?}"
    );
    let trial = &bench.trials()[0];
    assert_eq!(
        (&trial["state"], &trial["steps"]),
        (&json!("completed"), &json!(100))
    );
    assert_eq!(
        (&trial["rescues"], &trial["params"]["lr"]),
        (&json!(1), &json!(0.2))
    );
    let said = bench.run(&["logs", "0", "--stdout"]).stdout;
    assert!(
        said.contains("attempt 1 keeps 100 goes on from 0"),
        "{said}"
    );
    assert!(
        said.contains("attempt 2 keeps 100 goes on from 15"),
        "{said}"
    );
    let details = bench.json(&["trial", "0", "-f", "json"]);
    assert_eq!(details["rescued"][0]["healthy_step"], 15);
    assert_eq!(details["curve"]["steps"].as_array().unwrap().len(), 100);
    let best = bench.run(&["best"]);
    assert!(
        best.stdout.contains("; rescued at step 15: lr 0.4 → 0.2\n"),
        "{best:?}"
    );
    assert!(bench.run(&["trials"]).stdout.contains("completed, rescued"));
}

#[test]
fn logged_curves_are_judged() {
    let bench = Bench::new();
    let curve = |spike: std::ops::Range<usize>| {
        let loss = |step| if spike.contains(&step) { 8.0 } else { 0.4 };
        (1..=100).map(loss).collect::<Vec<f64>>()
    };
    let lines = [
        json!({"id": "lost", "chance_loss": 2.3, "train_loss": curve(40..200)}),
        json!({"id": "good", "chance_loss": 2.3, "train_loss": curve(0..0)}),
        json!({"id": "back", "chance_loss": 2.3, "train_loss": curve(40..50)}),
    ];
    bench.write(
        "curves.jsonl",
        &lines.map(|line| line.to_string()).join("\n"),
    );
    let rows = bench.json(&["divergence", "curves.jsonl", "-f", "json"]);
    let seen: Vec<_> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            (
                row["id"].as_str().unwrap(),
                row["verdict"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("lost", "diverged"),
            ("good", "healthy"),
            ("back", "recovered")
        ]
    );
    let lost = &rows[0];
    assert!(
        lost["step"]
            .as_u64()
            .is_some_and(|step| (50..80).contains(&step)),
        "{lost}"
    );
    assert_eq!(
        (&lost["rule"], &lost["certain"]),
        (&json!("collapsed"), &json!(true))
    );
    assert_eq!(
        (&rows[1]["step"], &rows[1]["rule"]),
        (&Json::Null, &Json::Null)
    );

    // TensorBoard's CSV: what chance is has to be said, or there is doubt.
    let rows =
        (1..=100).map(|step| format!("1700.5,{step},{}\n", if step < 30 { 0.4 } else { 8.0 }));
    let csv = format!("Wall time,Step,Value\n{}", rows.collect::<String>());
    bench.write("board.csv", &csv);
    let known = bench.json(&[
        "divergence",
        "board.csv",
        "--num-classes",
        "10",
        "-f",
        "json",
    ]);
    assert_eq!(
        (&known[0]["verdict"], &known[0]["certain"]),
        (&json!("diverged"), &json!(true))
    );
    let table = bench.run(&["divergence", "board.csv"]);
    assert!(table.stdout.contains("diverged?"), "{table:?}");
    assert!(table.stderr.contains("--num-classes"), "{table:?}");
    let long = bench.json(&[
        "divergence",
        "board.csv",
        "--chance",
        "2.3",
        "--planned",
        "1000",
        "-f",
        "json",
    ]);
    assert_eq!(long[0]["verdict"], "spiking", "there is time left: {long}");

    for (arguments, words) in [
        (&["divergence", "no-such-file"][..], "cannot be read"),
        (
            &["divergence", "curves.jsonl", "--metric", "acc"],
            "has no acc, but train_loss",
        ),
        (&["divergence", "study.yaml"], "study.yaml"),
    ] {
        let ended = bench.run(arguments);
        assert!(ended.code == 2 && ended.stderr.contains(words), "{ended:?}");
    }
}
