//! The exported PyTorch and Keras code of every optimizer runs in the real libraries, says there
//! what the setting says, and where no note warns of a difference takes the same steps in both.
//!
//! Needs a Python with torch and keras: `HPO_TEST_PYTHON=…/python cargo test -p hpo-recipe --test
//! optimizer_export`. Without one the test says that it was skipped; `HPO_TEST_REQUIRE_ALL=1` makes
//! that a failure. Last run with PyTorch 2.15.0 and Keras 3.15.1 (torch backend).

#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::io::Write as _;
use std::process::{Command, Stdio};

use hpo_recipe::code::Code;
use hpo_recipe::optimizer::{OptimizerKind, OptimizerSetting};
use hpo_recipe::value::{Config, Value};
use serde_json::{Value as Json, json};

/// Keras must be this near to PyTorch after 20 steps at a constant rate.
const NEAR: f64 = 1e-4;

struct Case {
    setting: OptimizerSetting,
    /// Whether Keras can take PyTorch's steps; if not, a note must say so.
    near: bool,
}

fn case(near: bool, name: &str, pairs: &[(&str, Value)]) -> Case {
    let mut config: Config = pairs
        .iter()
        .map(|(key, value)| (*key, value.clone()))
        .collect();
    config.set("optimizer", name);
    Case {
        setting: OptimizerSetting::from_config(&config).unwrap(),
        near,
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in OptimizerKind::ALL {
        cases.push(case(true, kind.name(), &[]));
        let decayed = [("lr", Value::Float(0.03)), ("weight_decay", 0.05.into())];
        cases.push(case(true, kind.name(), &decayed));
    }
    cases.extend([
        case(
            true,
            "momentum",
            &[("momentum", 0.5.into()), ("lr", 0.1.into())],
        ),
        case(
            true,
            "momentum",
            &[("momentum", 0.0.into()), ("lr", 0.1.into())],
        ),
        case(
            true,
            "nesterov",
            &[("momentum", 0.0.into()), ("lr", 0.1.into())],
        ),
        case(
            true,
            "adam",
            &[
                ("beta1", 0.8.into()),
                ("beta2", 0.95.into()),
                ("eps", 1e-7.into()),
            ],
        ),
        case(false, "adam", &[("eps", 0.01.into())]),
        case(false, "adamw", &[("eps", 0.01.into()), ("lr", 0.05.into())]),
        case(
            true,
            "rmsprop",
            &[("rho", 0.9.into()), ("momentum", 0.8.into())],
        ),
        case(
            true,
            "rmsprop",
            &[("rho", 0.9.into()), ("centered", true.into())],
        ),
        case(
            true,
            "rmsprop",
            &[
                ("momentum", 0.5.into()),
                ("centered", true.into()),
                ("weight_decay", 0.01.into()),
                ("lr", 0.001.into()),
            ],
        ),
        case(false, "rmsprop", &[("eps", 0.1.into())]),
        case(
            true,
            "adagrad",
            &[
                ("initial_accumulator_value", 0.1.into()),
                ("lr", 0.1.into()),
            ],
        ),
        case(false, "adagrad", &[("eps", 0.1.into())]),
        case(
            true,
            "adadelta",
            &[("rho", 0.95.into()), ("eps", 1e-3.into())],
        ),
    ]);
    cases
}

/// What `param_groups` must hold, by torch's names.
fn torch_settings(setting: &OptimizerSetting) -> (&'static str, Vec<(&'static str, Json)>) {
    let n = |name: &str| json!(setting.number(name));
    let (class, mut expected) = match setting.kind() {
        OptimizerKind::Gd | OptimizerKind::Sgd => ("SGD", vec![("momentum", json!(0))]),
        OptimizerKind::Momentum => (
            "SGD",
            vec![("momentum", n("momentum")), ("nesterov", json!(false))],
        ),
        OptimizerKind::Nesterov => {
            let on = setting.number("momentum") > 0.0;
            (
                "SGD",
                vec![("momentum", n("momentum")), ("nesterov", json!(on))],
            )
        }
        OptimizerKind::Adam => (
            "Adam",
            vec![
                ("betas", json!([n("beta1"), n("beta2")])),
                ("eps", n("eps")),
            ],
        ),
        OptimizerKind::AdamW => (
            "AdamW",
            vec![
                ("betas", json!([n("beta1"), n("beta2")])),
                ("eps", n("eps")),
            ],
        ),
        OptimizerKind::RmsProp => (
            "RMSprop",
            vec![
                ("alpha", n("rho")),
                ("eps", n("eps")),
                ("momentum", n("momentum")),
                ("centered", json!(setting.flag("centered"))),
            ],
        ),
        OptimizerKind::Adagrad => (
            "Adagrad",
            vec![
                ("eps", n("eps")),
                ("initial_accumulator_value", n("initial_accumulator_value")),
                ("lr_decay", json!(0)),
            ],
        ),
        OptimizerKind::Adadelta => ("Adadelta", vec![("rho", n("rho")), ("eps", n("eps"))]),
    };
    expected.extend([("lr", n("lr")), ("weight_decay", n("weight_decay"))]);
    (class, expected)
}

/// What `get_config` must hold, by Keras' names.
fn keras_settings(setting: &OptimizerSetting) -> (String, Vec<(&'static str, Json)>) {
    let n = |name: &str| json!(setting.number(name));
    let squared_eps = || json!(setting.number("eps") * setting.number("eps"));
    let adam = || {
        vec![
            ("beta_1", n("beta1")),
            ("beta_2", n("beta2")),
            ("epsilon", n("eps")),
        ]
    };
    let sgd = |nesterov: bool| vec![("momentum", n("momentum")), ("nesterov", json!(nesterov))];
    let (class, mut expected) = match setting.kind() {
        OptimizerKind::Gd | OptimizerKind::Sgd => ("SGD", vec![("momentum", json!(0.0))]),
        OptimizerKind::Momentum => ("SGD", sgd(false)),
        OptimizerKind::Nesterov => ("SGD", sgd(true)),
        OptimizerKind::Adam => ("Adam", adam()),
        OptimizerKind::AdamW => ("AdamW", adam()),
        OptimizerKind::RmsProp => (
            "RMSprop",
            vec![
                ("rho", n("rho")),
                ("epsilon", squared_eps()),
                ("momentum", n("momentum")),
                ("centered", json!(setting.flag("centered"))),
            ],
        ),
        OptimizerKind::Adagrad => (
            "Adagrad",
            vec![
                ("epsilon", squared_eps()),
                ("initial_accumulator_value", n("initial_accumulator_value")),
            ],
        ),
        OptimizerKind::Adadelta => ("Adadelta", vec![("rho", n("rho")), ("epsilon", n("eps"))]),
    };
    let decay = setting.number("weight_decay");
    let own = match setting.kind() {
        OptimizerKind::AdamW => true,
        OptimizerKind::Gd | OptimizerKind::Sgd => decay > 0.0,
        _ => false,
    };
    let class = if decay > 0.0 && !own {
        format!("L2{class}")
    } else {
        class.to_owned()
    };
    expected.push(("weight_decay", if own { json!(decay) } else { Json::Null }));
    if class.starts_with("L2") {
        expected.push(("l2", json!(decay)));
    }
    expected.push(("learning_rate", n("lr")));
    (class, expected)
}

/// Equal up to float32's rounding, in which Keras keeps the learning rate.
fn same(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Array(a), Json::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        _ => match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => (a - b).abs() <= 1e-7 * b.abs(),
            _ => a == b,
        },
    }
}

fn check_settings(found: &Json, class: &str, expected: &[(&str, Json)], which: &str) {
    assert!(
        found["class"].as_str().is_some_and(|found| found == class),
        "{which}: {found}"
    );
    for (name, value) in expected {
        let found = &found["settings"][name];
        assert!(
            same(found, value),
            "{which}: {name} is {found}, not {value}"
        );
    }
}

fn numbers(list: &Json) -> Vec<f64> {
    list.as_array()
        .unwrap()
        .iter()
        .map(|x| x.as_f64().unwrap_or(f64::NAN))
        .collect()
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let norm = |x: f64| x * x;
    let difference: f64 = a.iter().zip(b).map(|(a, b)| norm(a - b)).sum();
    (difference / b.iter().map(|b| norm(*b)).sum::<f64>()).sqrt()
}

fn as_json(code: &Code) -> Json {
    json!({"imports": code.imports, "setup": code.setup, "expression": code.expression})
}

/// The Python to use, or `None` after saying that the test is skipped.
fn python() -> Option<String> {
    let python = std::env::var("HPO_TEST_PYTHON")
        .ok()
        .filter(|path| !path.is_empty());
    if python.is_none() {
        let text = "SKIPPED: exported optimizers: needs torch and keras (set HPO_TEST_PYTHON)";
        let required = std::env::var("HPO_TEST_REQUIRE_ALL").is_ok_and(|value| value == "1");
        assert!(!required, "{text}");
        println!("{text}");
    }
    python
}

fn run_in_python(python: &str, cases: &[Case]) -> Vec<Json> {
    let input: Vec<Json> = cases
        .iter()
        .map(|case| {
            json!({
                "lr": case.setting.number("lr"),
                "pytorch": as_json(&case.setting.pytorch()),
                "keras": as_json(&case.setting.keras()),
            })
        })
        .collect();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/optimizer_export.py");
    let mut child = Command::new(python)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let text = serde_json::to_vec(&input).unwrap();
    child.stdin.take().unwrap().write_all(&text).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{python} failed; see its words above"
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn exported_optimizers_run_and_agree() {
    let Some(python) = python() else { return };
    let cases = cases();
    let results = run_in_python(&python, &cases);
    assert_eq!(results.len(), cases.len());
    for (case, result) in cases.iter().zip(&results) {
        let setting = &case.setting;
        let which = format!("{} {}", setting.kind(), setting.values());
        let (torch, keras) = (&result["torch"], &result["keras"]);

        let (class, expected) = torch_settings(setting);
        check_settings(torch, class, &expected, &format!("torch, {which}"));
        let (class, expected) = keras_settings(setting);
        check_settings(keras, &class, &expected, &format!("keras, {which}"));
        assert_eq!(keras["survives_saving"], true, "{which}");

        let copies = torch["state_copies"].as_f64().unwrap();
        let momentum_off = matches!(
            setting.kind(),
            OptimizerKind::Momentum | OptimizerKind::Nesterov
        ) && setting.number("momentum") == 0.0;
        if !momentum_off {
            assert_eq!(copies, f64::from(setting.state_copies()), "{which}");
        }

        let (ours, theirs) = (numbers(&keras["parameters"]), numbers(&torch["parameters"]));
        let difference = distance(&ours, &theirs);
        if case.near {
            assert!(
                difference <= NEAR,
                "{which}: keras is {difference:e} from torch"
            );
        } else {
            assert!(
                difference > NEAR,
                "{which}: the note warns of a difference of {difference:e}"
            );
            assert!(!setting.keras().notes.is_empty(), "{which}: no note");
        }
        let scheduled = numbers(&result["keras_scheduled"]["parameters"]);
        assert!(scheduled.iter().all(|x| x.is_finite()), "{which}");
        assert!(distance(&scheduled, &ours) > 0.0, "{which}");
    }
}

/// Without Python: a setting that Keras cannot follow must carry a note.
#[test]
fn what_keras_computes_differently_is_said() {
    for case in cases().iter().filter(|case| !case.near) {
        assert!(!case.setting.keras().notes.is_empty(), "{:?}", case.setting);
    }
}
