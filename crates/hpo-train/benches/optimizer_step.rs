//! Time of one update of each optimizer on about 1.1 million parameters (64-1024-1024-10).
//!
//! The gradients are those of a real backward pass; "clip" is the norm alone.

#![expect(clippy::expect_used, reason = "a bench may stop at the first surprise")]

use criterion::{Criterion, criterion_group, criterion_main};

use candle_core::backprop::GradStore;
use candle_core::{Device, Result, Tensor, Var};
use hpo_recipe::optimizer::{OptimizerKind, OptimizerSetting};
use hpo_recipe::value::{Config, Value};
use hpo_train::optimizer::{build, clip};

const WIDTHS: [usize; 4] = [64, 1024, 1024, 10];

/// Numbers between −0.05 and 0.05 that look random enough.
fn numbers(count: usize) -> Vec<f32> {
    (0..count)
        .map(|i| ((i * 7919 % 1009) as f32 / 1008.0 - 0.5) * 0.1)
        .collect()
}

fn network() -> Result<(Vec<(String, Var)>, GradStore)> {
    let mut variables = Vec::new();
    let mut x = Tensor::from_vec(numbers(64 * WIDTHS[0]), (64, WIDTHS[0]), &Device::Cpu)?;
    for (layer, pair) in WIDTHS.windows(2).enumerate() {
        let shape = (pair[1], pair[0]);
        let weight = Tensor::from_vec(numbers(pair[0] * pair[1]), shape, &Device::Cpu)?;
        let (weight, bias) = (
            Var::from_tensor(&weight)?,
            Var::zeros(pair[1], weight.dtype(), &Device::Cpu)?,
        );
        x = x.matmul(&weight.t()?)?.broadcast_add(&bias)?.tanh()?;
        variables.push((format!("{layer}.weight"), weight));
        variables.push((format!("{layer}.bias"), bias));
    }
    let gradients = x.sqr()?.sum_all()?.backward()?;
    Ok((variables, gradients))
}

fn steps(criterion: &mut Criterion) -> Result<()> {
    let (variables, gradients) = network()?;
    let mut group = criterion.benchmark_group("optimizer step, 1.1M parameters");
    group.bench_function("clip", |bencher| {
        bencher.iter(|| clip::global_norm(&gradients, &variables));
    });
    let mut settings: Vec<(String, Config)> = OptimizerKind::ALL
        .iter()
        .map(|kind| {
            (
                kind.to_string(),
                [("optimizer", kind.name())].into_iter().collect(),
            )
        })
        .collect();
    let heaviest: [(&str, Value); 3] = [
        ("optimizer", "rmsprop".into()),
        ("momentum", 0.9.into()),
        ("centered", true.into()),
    ];
    settings.push((
        "rmsprop centered momentum".to_owned(),
        heaviest.into_iter().collect(),
    ));
    for (name, config) in settings {
        let setting = OptimizerSetting::from_config(&config).expect("a setting of the catalogue");
        let mut optimizer = build(&setting, variables.clone())?;
        // A rate of 1e-9 keeps parameters where they are however often this runs.
        group.bench_function(name, |bencher| {
            bencher.iter(|| optimizer.step(&gradients, 1e-9, None, 1.0));
        });
    }
    group.finish();
    Ok(())
}

fn run(criterion: &mut Criterion) {
    steps(criterion).expect("tensors of fixed shapes");
}

criterion_group!(benches, run);
criterion_main!(benches);
