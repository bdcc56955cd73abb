//! Every optimizer takes the same 100 steps as in PyTorch 2.15.0.
//!
//! `tests/reference/optimizers.json` holds the start, the data and PyTorch's parameters after 1,
//! 10 and 100 steps; `tests/reference/optimizers.py` made it. Both sides compute in float32, so
//! single tiny elements may differ by more than a rounding: a tensor is compared as a whole,
//! ‖ours − theirs‖ ≤ 1e-5 · ‖theirs‖.

#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{Device, Result, Tensor, Var};
use hpo_recipe::optimizer::{OptimizerKind, OptimizerSetting};
use hpo_recipe::value::Config;
use hpo_train::optimizer::{Optimizer, OptimizerState, StateError, build, clip};
use serde::Deserialize;

const TOLERANCE: f64 = 1e-5;

#[derive(Deserialize)]
struct Reference {
    made_with: String,
    kept_steps: Vec<usize>,
    batch: usize,
    inputs: Vec<f32>,
    labels: Vec<u32>,
    start: BTreeMap<String, Start>,
    lr_factors: Vec<f64>,
    momenta: Vec<f64>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Start {
    shape: Vec<usize>,
    values: Vec<f32>,
}

#[derive(Deserialize)]
struct Case {
    config: Config,
    changing_lr: bool,
    changing_momentum: bool,
    max_norm: Option<f64>,
    gradient_norms: Vec<f64>,
    parameters: Vec<BTreeMap<String, Vec<f32>>>,
}

fn reference() -> Reference {
    serde_json::from_str(include_str!("reference/optimizers.json")).unwrap()
}

/// The network 4-4-3 of the reference, its data, and one optimizer.
struct Run<'a> {
    reference: &'a Reference,
    case: &'a Case,
    setting: OptimizerSetting,
    inputs: Tensor,
    labels: Tensor,
    variables: Vec<(String, Var)>,
    optimizer: Box<dyn Optimizer>,
    step: usize,
}

impl<'a> Run<'a> {
    fn new(reference: &'a Reference, case: &'a Case) -> Result<Self> {
        let rows = reference.labels.len();
        let setting = OptimizerSetting::from_config(&case.config).unwrap();
        let mut variables = Vec::new();
        for (name, start) in &reference.start {
            let shape = start.shape.as_slice();
            let tensor = Tensor::from_slice(&start.values, shape, &Device::Cpu)?;
            variables.push((name.clone(), Var::from_tensor(&tensor)?));
        }
        Ok(Self {
            reference,
            case,
            inputs: Tensor::from_slice(&reference.inputs, (rows, 4), &Device::Cpu)?,
            labels: Tensor::from_slice(&reference.labels, rows, &Device::Cpu)?,
            optimizer: build(&setting, variables.clone())?,
            setting,
            variables,
            step: 0,
        })
    }

    fn variable(&self, name: &str) -> &Tensor {
        self.variables
            .iter()
            .find(|(own, _)| own == name)
            .unwrap()
            .1
            .as_tensor()
    }

    fn gradients(&self) -> Result<GradStore> {
        let rows = self.reference.labels.len();
        let (first, count) = if self.setting.facts().full_batch {
            (0, rows)
        } else {
            (
                self.step * self.reference.batch % rows,
                self.reference.batch,
            )
        };
        let inputs = self.inputs.narrow(0, first, count)?;
        let layer = |x: &Tensor, layer: &str| {
            x.matmul(&self.variable(&format!("{layer}.weight")).t()?)?
                .broadcast_add(self.variable(&format!("{layer}.bias")))
        };
        let output = layer(&layer(&inputs, "1")?.tanh()?, "2")?;
        candle_nn::loss::cross_entropy(&output, &self.labels.narrow(0, first, count)?)?.backward()
    }

    /// One step; gives back the gradient norm before clipping.
    fn advance(&mut self) -> Result<f64> {
        let gradients = self.gradients()?;
        let norm = clip::global_norm(&gradients, &self.variables)?;
        let factor = if self.case.changing_lr {
            self.reference.lr_factors[self.step]
        } else {
            1.0
        };
        let momentum = self
            .case
            .changing_momentum
            .then(|| self.reference.momenta[self.step]);
        self.optimizer.step(
            &gradients,
            self.setting.number("lr") * factor,
            momentum,
            clip::scale(norm, self.case.max_norm),
        )?;
        self.step += 1;
        Ok(norm)
    }

    fn values(&self) -> Result<Vec<Vec<f32>>> {
        let all = self.variables.iter();
        all.map(|(_, variable)| variable.flatten_all()?.to_vec1())
            .collect()
    }
}

fn distance(ours: &[f32], theirs: &[f32]) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
    let pairs = ours.iter().zip(theirs);
    norm(&mut pairs.map(|(a, b)| f64::from(*a) - f64::from(*b)))
        / norm(&mut theirs.iter().map(|b| f64::from(*b)))
}

#[test]
fn every_optimizer_matches_pytorch_2_15_for_100_steps() -> Result<()> {
    let reference = reference();
    assert_eq!(reference.made_with, "PyTorch 2.15.0, CPU, float32");
    assert_eq!(reference.kept_steps.last(), Some(&100));
    let mut failures = Vec::new();
    let mut worst = 0.0_f64;
    for case in &reference.cases {
        let mut run = Run::new(&reference, case)?;
        for (i, &until) in reference.kept_steps.iter().enumerate() {
            let mut norm = f64::NAN;
            while run.step < until {
                norm = run.advance()?;
            }
            let their_norm = case.gradient_norms[i];
            let mut differences = vec![("gradient norm", (norm / their_norm - 1.0).abs())];
            for ((name, _), ours) in run.variables.iter().zip(run.values()?) {
                differences.push((name, distance(&ours, &case.parameters[i][name])));
            }
            for (what, difference) in differences {
                worst = worst.max(difference);
                if difference.is_nan() || difference > TOLERANCE {
                    failures.push(format!(
                        "{} | {what} after {until}: {difference:e}",
                        case.config
                    ));
                }
            }
        }
    }
    println!(
        "largest relative difference: {worst:e} over {} cases",
        reference.cases.len()
    );
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

#[test]
fn the_reference_has_every_optimizer_and_a_changing_rate_for_each() {
    let reference = reference();
    for kind in OptimizerKind::ALL {
        let own = |case: &&Case| case.config.text("optimizer") == Some(kind.name());
        assert!(reference.cases.iter().filter(own).count() >= 2, "{kind}");
        assert!(
            reference
                .cases
                .iter()
                .filter(own)
                .any(|case| case.changing_lr),
            "{kind}"
        );
    }
}

/// Signals are asked before a step. Here they are worked out after it, in `f64`, from what the
/// optimizer remembers and, as a second way, from what became of the parameters.
#[test]
fn signals_are_those_of_the_step_that_follows() -> Result<()> {
    let reference = reference();
    let (mut compared, mut from_parameters) = (0, 0);
    for case in &reference.cases {
        let mut run = Run::new(&reference, case)?;
        let adam = ["adam", "adamw"].contains(&run.setting.kind().name());
        for _ in 0..30 {
            let gradients = run.gradients()?;
            let scale = clip::scale(
                clip::global_norm(&gradients, &run.variables)?,
                case.max_norm,
            );
            let momentum = case.changing_momentum.then(|| reference.momenta[run.step]);
            let before = run.values()?;
            let found = run.optimizer.signals(&gradients, momentum, scale)?;
            assert_eq!(run.values()?, before, "asking changes nothing");
            run.advance()?;
            assert_eq!(found.is_some(), adam, "{}", case.config);
            let Some(found) = found else { continue };
            let number = |name| run.setting.number(name);
            let beta1 = momentum.unwrap_or_else(|| number("beta1"));
            let beta2 = number("beta2");
            let (eps, decay) = (number("eps"), number("weight_decay"));
            let coupled = if run.setting.kind() == OptimizerKind::Adam {
                decay
            } else {
                0.0
            };
            let state = run.optimizer.state();
            let t = state.steps as i32;
            let (mut updates, mut moved, mut count, mut rms_t) = (0.0, 0.0, 0.0, 0.0_f64);
            let after = run.values()?;
            for (i, (_, variable)) in run.variables.iter().enumerate() {
                let g = gradients
                    .get(variable)
                    .unwrap()
                    .flatten_all()?
                    .to_vec1::<f32>()?;
                let (m, v) = (&state.buffers[2 * i].1, &state.buffers[2 * i + 1].1);
                let mut ratios = 0.0;
                for j in 0..g.len() {
                    let p = f64::from(before[i][j]);
                    let g = f64::from(g[j]) * f64::from(scale) + coupled * p;
                    let m = f64::from(m[j]) / (1.0 - beta1.powi(t));
                    let v = f64::from(v[j]) / (1.0 - beta2.powi(t));
                    updates += (m / (v.sqrt() + eps)).powi(2);
                    ratios += g * g / v.max(eps * eps);
                    moved += (p - f64::from(after[i][j])).powi(2);
                    count += 1.0;
                }
                rms_t = rms_t.max((ratios / g.len() as f64).sqrt());
            }
            let near = |a: f64, b: f64, tolerance: f64| (a / b - 1.0).abs() < tolerance;
            let text = format!("{} step {t}: {found:?}", case.config);
            assert!(
                near(found.update_rms, (updates / count).sqrt(), 1e-5),
                "{text}"
            );
            assert!(near(found.rms_t, rms_t, 1e-5), "{text} {rms_t}");
            compared += 1;
            if decay == 0.0 && !case.changing_lr {
                let by_change = (moved / count).sqrt() / number("lr");
                assert!(
                    near(found.update_rms, by_change, 1e-3),
                    "{text} {by_change}"
                );
                from_parameters += 1;
            }
        }
    }
    assert!(
        compared >= 60 && from_parameters >= 30,
        "{compared} {from_parameters}"
    );
    Ok(())
}

/// Saved in the middle and loaded into a fresh optimizer, every run ends in the same bits.
#[test]
fn resumed_runs_are_bit_identical() -> Result<()> {
    let reference = reference();
    for case in &reference.cases {
        let mut straight = Run::new(&reference, case)?;
        for _ in 0..40 {
            straight.advance()?;
        }
        let mut resumed = Run::new(&reference, case)?;
        for ((_, to), (_, from)) in resumed.variables.iter().zip(&straight.variables) {
            to.set(&from.as_tensor().copy()?)?;
        }
        let text = serde_json::to_string(&straight.optimizer.state()).unwrap();
        let state: OptimizerState = serde_json::from_str(&text).unwrap();
        assert_eq!(state.steps, 40);
        resumed.optimizer.load(state).unwrap();
        resumed.step = straight.step;
        for _ in 0..20 {
            assert_eq!(straight.advance()?.to_bits(), resumed.advance()?.to_bits());
        }
        assert_eq!(straight.values()?, resumed.values()?, "{}", case.config);
        assert_eq!(
            straight.optimizer.state(),
            resumed.optimizer.state(),
            "{}",
            case.config
        );
    }
    Ok(())
}

/// The catalogue's memory figure is what is really kept.
#[test]
fn state_is_as_large_as_the_catalogue_says() -> Result<()> {
    let reference = reference();
    let parameters: usize = reference
        .start
        .values()
        .map(|start| start.values.len())
        .sum();
    for case in &reference.cases {
        let run = Run::new(&reference, case)?;
        let kept: usize = run
            .optimizer
            .state()
            .buffers
            .iter()
            .map(|(_, v)| v.len())
            .sum();
        assert_eq!(
            kept,
            parameters * run.setting.state_copies() as usize,
            "{}",
            case.config
        );
    }
    Ok(())
}

#[test]
fn foreign_state_is_refused_and_changes_nothing() -> Result<()> {
    let reference = reference();
    let of = |name: &str| {
        let own = |case: &&Case| case.config.text("optimizer") == Some(name);
        Run::new(&reference, reference.cases.iter().find(own).unwrap())
    };
    let (mut adam, momentum, adadelta) = (of("adam")?, of("momentum")?, of("adadelta")?);
    adam.advance()?;
    let before = adam.optimizer.state();
    let refusal = adam.optimizer.load(momentum.optimizer.state());
    assert_eq!(
        refusal,
        Err(StateError::Count {
            expected: 8,
            found: 4
        })
    );
    let refusal = adam.optimizer.load(adadelta.optimizer.state());
    assert!(matches!(refusal, Err(StateError::Name { .. })));
    let mut short = before.clone();
    short.buffers[1].1.pop();
    assert!(matches!(
        adam.optimizer.load(short),
        Err(StateError::Length { .. })
    ));
    assert_eq!(adam.optimizer.state(), before);
    Ok(())
}

#[test]
fn variables_and_gradients_that_do_not_fit_are_errors() -> Result<()> {
    let config: Config = [("optimizer", "sgd")].into_iter().collect();
    let setting = OptimizerSetting::from_config(&config).unwrap();
    let double = Var::zeros((2, 3), candle_core::DType::F64, &Device::Cpu)?;
    assert!(build(&setting, vec![("w".to_owned(), double)]).is_err());

    let variable = Var::zeros((2, 3), candle_core::DType::F32, &Device::Cpu)?;
    let mut optimizer = build(&setting, vec![("w".to_owned(), variable.clone())])?;
    let mut gradients = variable.as_tensor().sum_all()?.backward()?;
    let ones = gradients.remove(&variable).unwrap();
    optimizer.step(&gradients, 0.1, None, 1.0)?;
    assert_eq!(
        variable.flatten_all()?.to_vec1::<f32>()?,
        [0.0; 6],
        "no gradient, no change"
    );
    gradients.insert(&variable, ones.t()?);
    assert!(optimizer.step(&gradients, 0.1, None, 1.0).is_err());
    gradients.insert(&variable, ones.to_dtype(candle_core::DType::F64)?);
    assert!(optimizer.step(&gradients, 0.1, None, 1.0).is_err());
    assert!(clip::global_norm(&gradients, &[("w".to_owned(), variable.clone())]).is_err());
    let adam: Config = [("optimizer", "adam")].into_iter().collect();
    let setting = OptimizerSetting::from_config(&adam).unwrap();
    let optimizer = build(&setting, vec![("w".to_owned(), variable.clone())])?;
    assert!(optimizer.signals(&gradients, None, 1.0).is_err());
    Ok(())
}

/// Gradients come contiguous, transposed, as slices of something larger, or broadcast.
#[test]
fn a_gradient_is_read_through_its_strides() -> Result<()> {
    let config: Config = [("optimizer", "sgd")].into_iter().collect();
    let setting = OptimizerSetting::from_config(&config).unwrap();
    let range = Tensor::arange(0.0_f32, 24.0, &Device::Cpu)?;
    let views = [
        range.reshape((4, 6))?.narrow(0, 1, 2)?,
        range.reshape((6, 4))?.t()?,
        range.reshape((6, 4))?.narrow(0, 2, 3)?.t()?,
        range.reshape((4, 6))?.narrow(1, 2, 3)?,
        range.reshape((2, 3, 4))?.transpose(0, 2)?,
        range.narrow(0, 5, 4)?.broadcast_as((3, 4))?,
    ];
    for view in views {
        let variable = Var::zeros(view.shape(), candle_core::DType::F32, &Device::Cpu)?;
        let mut gradients = variable.as_tensor().sum_all()?.backward()?;
        let named = vec![("w".to_owned(), variable.clone())];
        gradients.insert(&variable, view.clone());
        let mut optimizer = build(&setting, named.clone())?;
        optimizer.step(&gradients, 1.0, None, -1.0)?;
        let expected: Vec<f32> = view.contiguous()?.flatten_all()?.to_vec1()?;
        assert_eq!(
            variable.flatten_all()?.to_vec1::<f32>()?,
            expected,
            "{:?}",
            view.layout()
        );
        let norm = expected
            .iter()
            .map(|&x| f64::from(x * x))
            .sum::<f64>()
            .sqrt();
        assert_eq!(
            clip::global_norm(&gradients, &named)?,
            norm,
            "{:?}",
            view.layout()
        );
    }
    Ok(())
}
