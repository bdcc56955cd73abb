//! How many reports a second the divergence detector takes on one core: `cargo bench -p hpo-engine
//! --bench divergence`. Curves are computed, so that the figures need no file: a healthy run, one
//! that collapses and is then looked at closely at every step, and a long one.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use hpo_engine::divergence::{Chance, Detector, Settings};
use hpo_study::Goal;

/// A loss with noise: from chance down, and at `breaks` up to 3 times chance, there to stay.
fn curve(len: u64, breaks: u64) -> Vec<f64> {
    let mut state = 1u64;
    let mut noise = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as f64 / f64::from(u32::MAX >> 1) - 0.5
    };
    let level = |step| {
        if step >= breaks {
            6.9
        } else {
            0.3 + 2.0 * (-8.0 * step as f64 / len as f64).exp()
        }
    };
    (0..len)
        .map(|step| level(step) * (1.0 + 0.2 * noise()))
        .collect()
}

fn reports(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("divergence");
    for (name, len, breaks) in [
        ("healthy", 1_000, u64::MAX),
        ("collapsing", 1_000, 300),
        ("long", 100_000, u64::MAX),
    ] {
        let curve = curve(len, breaks);
        let settings = Settings::new(Goal::Minimize, Chance::Known(10f64.ln()), Some(len));
        group.throughput(Throughput::Elements(len));
        group.bench_function(name, |bencher| {
            let feed = |mut detector: Detector| {
                let found = (1..)
                    .zip(&curve)
                    .filter(|&(step, &y)| detector.observe(step, y).is_some());
                found.count()
            };
            bencher.iter_batched(|| Detector::new(settings), feed, BatchSize::SmallInput);
        });
    }
    group.finish();
}

criterion_group!(benches, reports);
criterion_main!(benches);
