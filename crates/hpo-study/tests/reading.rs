//! What sound study files mean, and that no text at all makes the reader panic.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "in a test, a panic is the report"
)]

use std::time::Duration;

use hpo_study::plan::{GridSize, plan};
use hpo_study::spec::{Dataset, Model, Task};
use hpo_study::study_file::{self, Checked, Severity, Source};
use hpo_study::{
    Config, Domain, EarlyTerminate, Goal, Job, Method, Rungs, Scale, StudySpec, Value,
};
use proptest::prelude::*;

fn check(text: &str) -> Checked {
    let source = Source {
        file: "dir/my study.yaml".into(),
        directory: "/data".into(),
    };
    study_file::read(text, &source)
}

fn spec(text: &str) -> StudySpec {
    let checked = check(text);
    let rendered: String = checked
        .problems
        .iter()
        .map(|p| p.render("s", text))
        .collect();
    checked.spec.unwrap_or_else(|| panic!("{rendered}"))
}

/// The study with these parameters.
fn with_parameters(parameters: &str) -> StudySpec {
    spec(&format!(
        "program: train.py\nmethod: random\nmetric: {{name: loss}}\nrun_cap: 100\n{parameters}"
    ))
}

fn domain_of(keys: &str) -> Domain {
    let spec = with_parameters(&format!("parameters: {{x: {keys}}}"));
    spec.space.parameters[0].branches[0].domain.clone()
}

#[test]
fn defaults_fill_in_what_is_absent() {
    let spec = with_parameters("parameters: {lr: 0.1}");
    assert_eq!(spec.name, "my study");
    assert_eq!((spec.seed, spec.metric.goal), (0, Goal::Minimize));
    assert_eq!(spec.early_terminate, EarlyTerminate::None);
    assert_eq!(
        (
            spec.failure.crash_retries,
            spec.failure.stop_after_consecutive
        ),
        (1, 5)
    );
    assert_eq!((spec.cpu.max_parallel, spec.time_cap), (None, None));
    assert_eq!(spec.stop_grace, Duration::from_secs(10));
    let Job::Command(job) = spec.job else {
        panic!()
    };
    assert_eq!(
        job.command,
        ["${env}", "${interpreter}", "${program}", "${args}"]
    );
}

#[test]
fn a_study_of_which_nothing_else_is_said_is_one_whose_file_has_no_other_keys() {
    let of_file = with_parameters("parameters: {lr: 0.1}");
    let StudySpec {
        job, metric, space, ..
    } = of_file.clone();
    let made = StudySpec {
        run_cap: Some(100),
        ..StudySpec::new("my study", job, Method::Random, metric, space)
    };
    assert_eq!(made, of_file);
}

#[test]
fn every_distribution() {
    let float = |low, high, scale, step| Domain::Float {
        low,
        high,
        scale,
        step,
    };
    let int = |low, high, log, step| Domain::Int {
        low,
        high,
        log,
        step,
    };
    let choices = |values: &[i64]| values.iter().map(|i| Value::Int(*i)).collect::<Vec<_>>();
    for (keys, domain) in [
        (
            "{value: [64, 32]}",
            Domain::Constant(Value::List(choices(&[64, 32]))),
        ),
        ("3", Domain::Constant(Value::Int(3))),
        ("hello", Domain::Constant("hello".into())),
        (
            "{values: [1, 2]}",
            Domain::Categorical {
                choices: choices(&[1, 2]),
                weights: None,
            },
        ),
        (
            "{values: [1, 2], probabilities: [0.25, 0.75]}",
            Domain::Categorical {
                choices: choices(&[1, 2]),
                weights: Some(vec![0.25, 0.75]),
            },
        ),
        ("{min: 1, max: 9}", int(1, 9, false, 1)),
        ("{min: 16, max: 64, q: 16}", int(16, 64, false, 16)),
        (
            "{min: 1, max: 9, distribution: int_log_uniform}",
            int(1, 9, true, 1),
        ),
        (
            "{min: 1, max: 9, distribution: uniform}",
            float(1.0, 9.0, Scale::Linear, None),
        ),
        ("{min: 1, max: 9.5}", float(1.0, 9.5, Scale::Linear, None)),
        (
            "{min: 0.1, max: 1.0, q: 0.1}",
            float(0.1, 1.0, Scale::Linear, Some(0.1)),
        ),
        (
            "{min: 10, max: 70, q: 16, distribution: q_uniform}",
            int(16, 64, false, 16),
        ),
        (
            "{min: 1.5, max: 4.5, distribution: q_uniform}",
            int(2, 4, false, 1),
        ),
        (
            "{min: 1e-4, max: 1.0e-1, distribution: log_uniform_values}",
            float(1e-4, 0.1, Scale::Log, None),
        ),
        (
            "{min: 3, max: 70, q: 8, distribution: q_log_uniform_values}",
            int(8, 64, true, 8),
        ),
        (
            "{min: 0, max: 1, distribution: log_uniform}",
            float(1.0, std::f64::consts::E, Scale::Log, None),
        ),
        (
            "{min: 0.5, max: 0.99, distribution: one_minus_log}",
            float(0.5, 0.99, Scale::OneMinusLog, None),
        ),
    ] {
        assert_eq!(domain_of(keys), domain, "{keys}");
    }
}

#[test]
fn parameters_stand_after_those_their_conditions_look_at() {
    let spec = with_parameters(
        "parameters:
  momentum: {min: 0.5, max: 0.9, when: {optimizer: sgd, mode: [1, 2]}}
  optimizer: {values: [sgd, adam]}
  lr:
    - {when: {optimizer: sgd}, value: 1.0}
    - {value: 0.5}
  mode: {values: [1, 2, 3], when: {optimizer: sgd}}
",
    );
    let names: Vec<&str> = spec
        .space
        .parameters
        .iter()
        .map(|p| p.name.as_str())
        .collect();
    assert_eq!(names, ["optimizer", "lr", "mode", "momentum"]);
    let first = spec.space.build(|_, _, domain, _| domain.at(0.0));
    assert_eq!(
        first.to_string(),
        "lr=1.0 mode=1 momentum=0.5 optimizer=sgd"
    );
    let last = spec.space.build(|_, _, domain, _| domain.at(1.0));
    assert_eq!(last.to_string(), "lr=0.5 optimizer=adam");
}

#[test]
fn a_recipe_gives_each_optimizer_its_own_ranges() {
    let text = "recipe: {optimizers: [sgd, momentum, adam, adamw], schedules: [constant, step]}";
    let spec = with_parameters(text);
    assert_eq!(check_every_corner(&spec), 8);
    let lr = spec.space.parameter("lr").unwrap();
    let adam = lr
        .branches
        .iter()
        .find(|b| b.when.0[0].any_of.contains(&"adam".into()))
        .unwrap();
    assert!(
        adam.when.0[0].any_of.contains(&"adamw".into()),
        "equal ranges share a branch"
    );
    assert!(!adam.when.0[0].any_of.contains(&"sgd".into()));
    assert!(spec.space.parameter("beta2").is_some());
    assert!(spec.space.parameter("warmup_fraction").is_none());

    let few = spec_with_cap(text, 8);
    assert!(few.space.parameter("lr").is_some());
    assert!(
        few.space.parameter("momentum").is_none(),
        "8 trials are too few to tune momentum"
    );
}

fn spec_with_cap(text: &str, cap: u32) -> StudySpec {
    spec(&format!(
        "program: train.py\nmethod: random\nmetric: {{name: loss}}\nrun_cap: {cap}\n{text}"
    ))
}

/// Builds a configuration for every pair of optimizer and schedule, and checks it; how many.
fn check_every_corner(spec: &StudySpec) -> usize {
    let all = |name: &str| {
        let parameter = spec.space.parameter(name).unwrap();
        parameter.branches[0].domain.values(100).unwrap()
    };
    let mut seen = 0;
    for optimizer in all("optimizer") {
        for schedule in all("schedule") {
            let config =
                spec.space.build(
                    |i, _, domain, _| match spec.space.parameters[i].name.as_str() {
                        "optimizer" => optimizer.clone(),
                        "schedule" => schedule.clone(),
                        _ => domain.at(0.3),
                    },
                );
            spec.space.check(&config).unwrap();
            assert!(config.number("lr").is_some(), "{config}");
            hpo_recipe::OptimizerSetting::from_config(&config).unwrap();
            seen += 1;
        }
    }
    seen
}

#[test]
fn the_whole_catalogue_makes_a_sound_space() {
    let text = "recipe: {optimizers: all, schedules: all, warmup: true}";
    let spec = with_parameters(text);
    let checked = check(&format!(
        "program: t.py\nmethod: random\nmetric: {{name: loss}}\nrun_cap: 100\n{text}"
    ));
    assert!(checked.problems.is_empty(), "{:?}", checked.problems);
    check_every_corner(&spec);
    assert!(spec.space.parameter("warmup_fraction").is_some());
}

#[test]
fn explicit_parameters_win_over_the_recipe() {
    let spec = with_parameters(
        "recipe: {optimizers: [sgd, adam], schedules: [constant]}
parameters:
  optimizer: {values: [adam, mine]}
  lr: {value: 0.5}
",
    );
    assert_eq!(
        spec.space.parameter("lr").unwrap().branches[0].domain,
        Domain::Constant(0.5.into())
    );
    let optimizer = &spec.space.parameter("optimizer").unwrap().branches[0].domain;
    assert!(optimizer.contains(&"mine".into()) && !optimizer.contains(&"sgd".into()));
    assert!(spec.space.parameter("beta1").is_some());
}

#[test]
fn the_trainer_and_its_data() {
    let spec = spec(
        "name: t
trainer:
  model: mlp
  hidden: []
  dataset: {csv: a/b.csv, target: -1, task: regression}
  epochs: 27
method: grid
metric: {name: val_loss}
recipe: {optimizers: [adam]}
parameters: {lr: {values: [0.1, 0.2]}, beta1: 0.9, beta2: 0.99, eps: 1e-8, weight_decay: 0}
early_terminate: {type: hyperband, s: 2}
time_cap: 1h30m
stop_grace: 2.5
",
    );
    let Job::Trainer(trainer) = &spec.job else {
        panic!()
    };
    let path = "/data/a/b.csv".into();
    let dataset = Dataset::Csv {
        path,
        target: Value::Int(-1),
        task: Some(Task::Regression),
    };
    assert_eq!(trainer.dataset, dataset);
    assert!(matches!(&trainer.model, Model::Mlp { hidden, .. } if hidden.is_empty()));
    assert_eq!(
        (trainer.batch_size, trainer.validation, trainer.split_seed),
        (32, 0.2, 0)
    );
    let rungs = Rungs {
        min_iter: 3,
        max_iter: 27,
        eta: 3,
    };
    assert_eq!(spec.early_terminate, EarlyTerminate::Hyperband(rungs));
    assert_eq!(spec.time_cap, Some(Duration::from_secs(5400)));
    assert_eq!(spec.stop_grace, Duration::from_millis(2500));
    assert_eq!((spec.method, spec.run_cap), (Method::Grid, None));
}

#[test]
fn wandbs_own_keys_are_passed_over_with_a_warning() {
    let text = "project: p\nentity: e\nprogram: t.py\nmethod: random\nrun_cap: 3
metric: {name: loss, target: 0.1}\nparameters: {lr: {value: 1}}\n";
    let checked = check(text);
    assert!(checked.spec.is_some());
    assert_eq!(checked.problems.len(), 3, "{:?}", checked.problems);
    assert!(
        checked
            .problems
            .iter()
            .all(|p| p.severity == Severity::Warning)
    );
}

#[test]
fn the_plan_counts() {
    let plan = plan(&spec(
        "trainer: {model: mlp, hidden: [128, 64], dataset: digits, epochs: 9}
method: grid
metric: {name: val_accuracy, goal: maximize}
parameters:
  optimizer: {values: [sgd, adam]}
  lr: {values: [0.1, 0.01, 0.001]}
  momentum: {values: [0.5, 0.9]}
  beta1: {values: [0.8, 0.9], when: {optimizer: adam}}
  schedule: {values: [constant, cosine]}
early_terminate: {type: asha, eta: 3}
",
    ));
    // sgd: 3·2·2; adam: 3·2·2·2
    assert_eq!(plan.configurations, GridSize::Points(36));
    assert_eq!(
        (plan.trials, plan.full_length, plan.most_steps),
        (Some(36), Some(9), Some(324))
    );
    let rungs: Vec<(u64, u64)> = plan.brackets[0]
        .rungs
        .iter()
        .map(|r| (r.step, r.trials))
        .collect();
    assert_eq!(rungs, [(1, 36), (3, 12), (9, 4)]);
    // 36·1 + 12·2 + 4·6
    assert_eq!(plan.expected_steps, Some(84));
    assert!((plan.brackets[0].full_trainings - 84.0 / 9.0).abs() < 1e-12);
    // 64·128 + 128 + 128·64 + 64 + 64·10 + 10 = 17226 parameters
    let bytes: Vec<(u32, u64)> = plan
        .memory
        .iter()
        .map(|m| (m.state_copies, m.bytes))
        .collect();
    assert_eq!(bytes, [(0, 17_226 * 8), (2, 17_226 * 16)]);
    let cosine = &plan.schedules[1];
    assert_eq!(cosine.schedule, "cosine");
    assert!(cosine.points[0].1 > 0.99 && cosine.points[59].1 < 0.01);
    assert_eq!(plan.dimensions[3].when.as_deref(), Some("optimizer = adam"));
    assert!(
        serde_json::to_string(&plan)
            .unwrap()
            .contains("full_trainings")
    );
}

#[test]
fn rules_that_compare_at_every_step_have_keys_of_their_own() {
    let rule = |text: &str| {
        let text = format!("parameters: {{lr: {{value: 1}}}}\nearly_terminate: {text}");
        with_parameters(&text).early_terminate
    };
    let percentile = |percentile, min_iter, min_trials, interval| EarlyTerminate::Percentile {
        percentile,
        min_iter,
        min_trials,
        interval,
    };
    let patient = |rule, patience, min_delta| EarlyTerminate::Patient {
        rule: Box::new(rule),
        patience,
        min_delta,
    };
    let rungs = Rungs {
        min_iter: 2,
        max_iter: 18,
        eta: 3,
    };
    for (text, expected) in [
        ("{type: percentile}", percentile(25.0, 1, 5, 1)),
        (
            "{type: percentile, percentile: 12.5, min_iter: 3, min_trials: 7, interval: 2}",
            percentile(12.5, 3, 7, 2),
        ),
        (
            "{type: asha, variant: promotion, min_iter: 2, max_iter: 18}",
            EarlyTerminate::AshaPromotion(rungs),
        ),
        (
            "{type: asha, variant: stopping, min_iter: 2, max_iter: 18}",
            EarlyTerminate::Asha(rungs),
        ),
        (
            "{type: wilcoxon, metric: fold_loss, p_threshold: 0.05, n_startup_steps: 4}",
            EarlyTerminate::Wilcoxon {
                p_threshold: 0.05,
                n_startup_steps: 4,
                metric: Some("fold_loss".to_owned()),
            },
        ),
        ("{type: patient}", patient(EarlyTerminate::None, 5, 0.0)),
        (
            "{type: patient, rule: percentile, percentile: 10, patience: 0}",
            patient(percentile(10.0, 1, 5, 1), 0, 0.0),
        ),
        (
            "{type: patient, rule: asha, min_iter: 2, max_iter: 18, min_delta: 0.5}",
            patient(EarlyTerminate::Asha(rungs), 5, 0.5),
        ),
    ] {
        assert_eq!(rule(text), expected, "{text}");
    }
}

#[test]
fn methods_that_need_rungs_have_hyperbands_over_the_trainers_epochs() {
    let read = |method: &str, more: &str| {
        spec(&format!(
            "trainer: {{model: mlp, dataset: digits, epochs: 9}}\nmethod: {method}\nrun_cap: 5
metric: {{name: val_loss}}\nrecipe: {{optimizers: [sgd]}}\n{more}"
        ))
    };
    let rungs = |min_iter| Rungs {
        min_iter,
        max_iter: 9,
        eta: 3,
    };
    for method in ["bohb", "dehb"] {
        let rule = read(method, "").early_terminate;
        assert_eq!(rule, EarlyTerminate::Hyperband(rungs(1)), "{method}");
        let rule = read(method, "early_terminate: {type: hyperband, min_iter: 3}").early_terminate;
        assert_eq!(rule, EarlyTerminate::Hyperband(rungs(3)), "{method}");
    }
    let rule = read("bohb", "early_terminate: {type: asha}").early_terminate;
    assert_eq!(rule, EarlyTerminate::Asha(rungs(1)));
}

#[test]
fn hyperbands_brackets_are_those_of_its_paper() {
    let plan = plan(&with_parameters(
        "parameters: {lr: {value: 1}}\nearly_terminate: {type: hyperband, min_iter: 1, max_iter: 81, eta: 3}",
    ));
    // Table 1 of arXiv 1603.06560 (R = 81, η = 3).
    let starts: Vec<(u64, u64)> = plan
        .brackets
        .iter()
        .map(|b| (b.rungs[0].trials, b.rungs[0].step))
        .collect();
    assert_eq!(starts, [(81, 1), (34, 3), (15, 9), (8, 27), (5, 81)]);
}

/// Pieces of study files, to be put together at random.
fn pieces() -> impl Strategy<Value = String> {
    let words = vec![
        "method",
        "metric",
        "name",
        "parameters",
        "trainer",
        "recipe",
        "early_terminate",
        "when",
        "values",
        "value",
        "min",
        "max",
        "q",
        "distribution",
        "probabilities",
        "command",
        "program",
        "optimizer",
        "lr",
        "random",
        "grid",
        "asha",
        "log_uniform",
        "q_uniform",
        "one_minus_log",
        "hidden",
        "dataset",
        "epochs",
        "run_cap",
        "max_iter",
        "eta",
        "s",
        "- ",
        ": ",
        "\n",
        "\n  ",
        "\n    ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        "1",
        "0",
        "-1",
        "1e-4",
        "1e308",
        "9223372036854775807",
        ".nan",
        ".inf",
        "'",
        "\"",
        "#",
        "&a",
        "*a",
        "<<",
        "!!int",
        "~",
        "|",
        ">",
        "\t",
        "ä",
        "${args}",
        "8h",
        "true",
        "int_uniform",
        "0.5",
        "1e-320",
        "18446744073709551615",
    ];
    prop::collection::vec(prop::sample::select(words), 0..60).prop_map(|words| words.concat())
}

/// One sound study file with a value swapped for any other.
fn mutated() -> impl Strategy<Value = String> {
    let values = vec![
        "0",
        "-1",
        "1",
        "2",
        "1e308",
        "-1e308",
        "9223372036854775807",
        "-9223372036854775808",
        ".inf",
        ".nan",
        "null",
        "[]",
        "{}",
        "''",
        "'x'",
        "[1, [2]]",
        "1e-320",
        "0.999999999999",
        "true",
        "{a: 1}",
        "1000000",
        "5e15",
    ];
    let slots = vec![
        ("min", 0),
        ("max", 0),
        ("q", 0),
        ("eta", 0),
        ("min_iter", 0),
        ("max_iter", 0),
        ("s", 0),
        ("epochs", 0),
        ("run_cap", 0),
        ("seed", 0),
        ("validation", 0),
        ("time_cap", 0),
    ];
    let distributions = vec![
        "int_uniform",
        "uniform",
        "q_uniform",
        "log_uniform_values",
        "q_log_uniform_values",
        "log_uniform",
        "q_log_uniform",
        "one_minus_log",
        "int_log_uniform",
        "constant",
        "categorical",
    ];
    let change = (prop::sample::select(slots), prop::sample::select(values));
    let changes = prop::collection::vec(change, 0..5);
    let methods = prop::sample::select(vec!["grid", "random", "sobol", "tpe", "gp", "bayes"]);
    (changes, prop::sample::select(distributions), methods).prop_map(
        |(changes, distribution, method)| {
            let get = |slot: &str, default: &str| {
                let found = changes.iter().find(|((name, _), _)| *name == slot);
                found.map_or(default, |(_, value)| value).to_owned()
            };
            format!(
                "trainer: {{model: mlp, dataset: digits, epochs: {}, validation: {}}}
method: {method}
seed: {}
metric: {{name: val_loss}}
run_cap: {}
time_cap: {}
parameters:
  optimizer: {{values: [sgd, adam]}}
  lr: {{min: {}, max: {}, q: {}, distribution: {distribution}}}
  momentum: {{min: {}, max: {}, distribution: {distribution}, when: {{optimizer: sgd}}}}
early_terminate: {{type: asha, min_iter: {}, max_iter: {}, eta: {}, s: {}}}
",
                get("epochs", "27"),
                get("validation", "0.2"),
                get("seed", "1"),
                get("run_cap", "20"),
                get("time_cap", "1h"),
                get("min", "0.1"),
                get("max", "0.9"),
                get("q", "0.1"),
                get("min", "0.5"),
                get("max", "0.9"),
                get("min_iter", "1"),
                get("max_iter", "27"),
                get("eta", "3"),
                get("s", "2"),
            )
        },
    )
}

/// A study with the same space, written out.
fn rewritten(spec: &StudySpec) -> String {
    let parameters = study_file::write::parameters(&spec.space);
    format!("program: t.py\nmethod: random\nmetric: {{name: loss}}\nrun_cap: 9\n{parameters}")
}

#[test]
fn a_space_written_out_reads_back() {
    let spec = with_parameters(
        "recipe: {optimizers: all, schedules: all, warmup: true}
parameters:
  a: {values: ['1e-4', 'true', 'a b', 'x: y', '', null, [1, 2.5, [x]], -1, 1e-9, 1e300, yes, 'ä']}
  'b c': {values: [1, 2], probabilities: [0.25, 0.75], when: {a: [[1, 2.5, [x]]]}}
  d: {min: 16, max: 256, q: 16, distribution: q_log_uniform_values, when: {a: ['', null]}}
  e: {min: 0.1, max: 0.5, q: 0.1}
  f: {values: [16, 32, null, 'yes', '1e-3', [64, 32]]}
  width: {min: 16, max: 512, q: 16}
  depth: {min: 1, max: 64, distribution: int_log_uniform}
  tiny: {min: 1.0e-7, max: 1.0e-5, distribution: log_uniform_values}
  normal: {mu: 1, sigma: 2, q: 2, distribution: q_normal}
  fixed: 1.0e-8
",
    );
    let text = rewritten(&spec);
    let again = check(&text).spec.unwrap_or_else(|| panic!("{text}"));
    assert_eq!(again.space, spec.space, "{text}");
    assert!(
        text.contains("probabilities: [0.25, 0.75], when: {a: [[1, 2.5, [x]]]}"),
        "{text}"
    );
    assert!(text.contains("max: 5.0e-5"), "{text}");
}

#[test]
fn a_bound_just_above_nought_is_not_nought() {
    let text = |q: &str| {
        format!(
            "program: t.py\nmethod: random\nmetric: {{name: loss}}\nrun_cap: 9\n\
             parameters:\n  x: {{min: 1e-320, max: 0.9, distribution: q_log_uniform_values{q}}}\n"
        )
    };
    let spec = check(&text(", q: 0.1")).spec.unwrap();
    let lowest: Config = spec.space.build(|_, _, domain, _| domain.at(0.0));
    assert_eq!(lowest.number("x"), Some(0.1));
    let refused = check(&text(""));
    assert!(
        refused.problems[0].message.contains("no multiple of `q`"),
        "{:?}",
        refused.problems
    );
}

/// Whatever the text: no panic, problems in order, a study exactly when there is no error; and a
/// study that comes out can be used and stored.
fn survives(text: &str) -> Result<(), TestCaseError> {
    let checked = check(text);
    let errors = checked
        .problems
        .iter()
        .filter(|p| p.severity == Severity::Error)
        .count();
    prop_assert_eq!(checked.spec.is_some(), errors == 0);
    prop_assert!(checked.problems.is_sorted_by_key(|p| p.span.offset));
    for problem in &checked.problems {
        let rendered = problem.render("study.yaml", text);
        prop_assert!(rendered.contains("study.yaml:"));
    }
    if let Some(spec) = checked.spec {
        let json = serde_json::to_string(&spec).unwrap();
        let back: StudySpec = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(&back, &spec);
        for u in [0.0, 0.37, 1.0] {
            let config: Config = spec.space.build(|_, _, domain, _| domain.at(u));
            prop_assert!(spec.space.check(&config).is_ok(), "{} of {}", config, text);
        }
        let _ = plan(&spec);
        let again = check(&rewritten(&spec));
        prop_assert!(
            again.spec.is_some(),
            "{:?} {}",
            again.problems,
            rewritten(&spec)
        );
        prop_assert_eq!(&again.spec.unwrap().space, &spec.space);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_texts_do_not_panic(text in "\\PC{0,200}") {
        survives(&text)?;
    }

    #[test]
    fn random_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        survives(&String::from_utf8_lossy(&bytes))?;
    }

    #[test]
    fn yaml_ish_texts_do_not_panic(text in pieces()) {
        survives(&text)?;
    }

    #[test]
    fn mutated_studies_do_not_panic(text in mutated()) {
        survives(&text)?;
    }

    #[test]
    fn a_sound_file_cut_anywhere_does_not_panic(cut in 0usize..2000) {
        let text = include_str!("../../../studies/digits-cnn.yaml");
        let cut = (0..=cut.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
        survives(&text[..cut])?;
    }
}

#[test]
fn a_carriage_return_alone_is_refused_at_its_place() {
    // YAML ends a line there and editors do not: all places below would be wrong.
    let source = Source {
        file: "study.yaml".to_owned(),
        directory: "/".into(),
    };
    let checked = hpo_study::study_file::read("a: 1\r\nb: \"x\ry\"\n", &source);
    assert!(checked.spec.is_none());
    let [problem] = checked.problems.as_slice() else {
        panic!("{:?}", checked.problems);
    };
    assert_eq!((problem.line(), problem.column()), (2, 6));
    assert!(problem.message.contains("carriage return"));
}

#[test]
fn a_stopping_rule_may_be_a_word() {
    let with = |rule: &str| {
        check(&format!(
            "program: t.py\nmethod: random\nrun_cap: 3\nmetric: {{name: loss}}\nparameters: {{lr: {{value: 1}}}}\nearly_terminate: {rule}\n"
        ))
    };
    let rule = |text: &str| with(text).spec.expect(text).early_terminate;
    let auto = |min_iter, max_iter| EarlyTerminate::Auto { min_iter, max_iter };
    assert_eq!(rule("auto"), auto(1, None));
    assert_eq!(rule("{type: auto}"), auto(1, None));
    assert_eq!(
        rule("{type: auto, min_iter: 4, max_iter: 90}"),
        auto(4, Some(90))
    );
    assert_eq!(rule("none"), EarlyTerminate::None);
    assert_eq!(rule("median"), rule("{type: median}"));
    let warned = with("{type: auto, min_iter: 9, max_iter: 9}").problems;
    assert!(
        warned
            .iter()
            .any(|p| p.message.contains("nothing is ever stopped")),
        "{warned:?}"
    );
    for (wrong, word) in [
        ("asha", "does not know how long"),
        ("soon", "soon"),
        ("[auto]", "list"),
        ("{type: auto, eta: 3}", "`eta` is of no use"),
        ("{type: auto, min_iter: 0}", "1"),
    ] {
        let checked = with(wrong);
        assert!(checked.spec.is_none(), "{wrong}");
        assert!(
            checked.problems.iter().any(|p| p.message.contains(word)),
            "{wrong}: {:?}",
            checked.problems
        );
    }
    let trainer = spec(
        "trainer: {model: mlp, dataset: digits, epochs: 27}\nmethod: random\nrun_cap: 3\nmetric: {name: val_loss}\nrecipe: {optimizers: [adam]}\nearly_terminate: auto\nname: t\n",
    );
    assert_eq!(trainer.early_terminate, auto(1, Some(27)));
    assert_eq!(trainer.max_steps(), Some(27));
}

#[test]
fn bounds_farther_apart_than_a_number_are_refused() {
    let source = Source {
        file: "study.yaml".to_owned(),
        directory: "/".into(),
    };
    let text = "program: t.py\nmethod: sobol\nrun_cap: 1\nmetric: {name: loss}\n\
                parameters: {x: {min: -1e308, max: 1e308}}\n";
    let checked = hpo_study::study_file::read(text, &source);
    let [problem] = checked.problems.as_slice() else {
        panic!("{:?}", checked.problems);
    };
    assert!(problem.message.contains("farther apart"), "{problem:?}");
    let halved = text.replace("1e308", "8e307");
    assert!(hpo_study::study_file::read(&halved, &source).spec.is_some());
}

#[test]
fn a_population_has_the_defaults_of_ray_tune_and_changes_numbers_only() {
    let text = |job: &str, more: &str| {
        format!(
            "{job}\nmethod: pbt\nmetric: {{name: val_loss}}\nparameters:\n  optimizer: {{values: [sgd, momentum]}}\n  \
             lr: {{min: 0.001, max: 1.0}}\n  batch_size: {{min: 8, max: 64}}\n{more}"
        )
    };
    let population = |text: &str| match spec(text).early_terminate {
        EarlyTerminate::Population(population) => population,
        other => panic!("{other:?}"),
    };
    let trainer = "trainer: {model: mlp, dataset: digits, epochs: 30}";
    let of_trainer = population(&text(trainer, ""));
    assert_eq!(
        (of_trainer.size, of_trainer.interval, of_trainer.max_iter),
        (8, 3, 30)
    );
    assert_eq!((of_trainer.quantile, of_trainer.resample), (0.25, 0.25));
    assert_eq!(of_trainer.factors, [0.8, 1.2]);
    // A checkpoint of the trainer's depends on nothing else than what is left out here.
    assert_eq!(of_trainer.mutate, ["lr"]);
    let program = text(
        "program: t.py",
        "pbt: {max_iter: 7, interval: 2, population: 3}\n",
    );
    let of_program = population(&program);
    assert_eq!((of_program.size, of_program.generations()), (3, 4));
    assert_eq!(of_program.mutate, ["lr", "batch_size"]);
    let named = text("program: t.py", "pbt: {max_iter: 7, mutate: [optimizer]}\n");
    assert_eq!(population(&named).mutate, ["optimizer"]);
    assert_eq!(
        spec(&program).storage.keep_checkpoints,
        hpo_study::KeepCheckpoints::Best(1)
    );
    let kept = spec(&(program + "keep_checkpoints: all\n")).storage;
    assert_eq!(kept.keep_checkpoints, hpo_study::KeepCheckpoints::All);
}
