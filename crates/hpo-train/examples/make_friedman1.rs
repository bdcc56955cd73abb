//! Writes the regression data set `studies/data/friedman1.csv` to stdout:
//! `cargo run -p hpo-train --example make_friedman1 > studies/data/friedman1.csv`.
//!
//! Friedman #1 (J. H. Friedman, "Multivariate adaptive regression splines", Annals of Statistics
//! 19, 1991): ten features uniform in [0, 1), of which the last five mean nothing, and
//! y = 10·sin(π·x1·x2) + 20·(x3 − 0.5)² + 10·x4 + 5·x5 + noise with standard deviation 1.

use std::f64::consts::PI;
use std::io::Write as _;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

const ROWS: usize = 1500;
const SEED: u64 = 1991;

fn main() -> std::io::Result<()> {
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let mut out = std::io::stdout().lock();
    writeln!(out, "x1,x2,x3,x4,x5,x6,x7,x8,x9,x10,y")?;
    for _ in 0..ROWS {
        // Rounded first, so that the file's own x belong to its y.
        let x: [f64; 10] = std::array::from_fn(|_| (rng.random::<f64>() * 1e6).floor() / 1e6);
        let [x1, x2, x3, x4, x5, ..] = x;
        let noise: f64 = rng.sample(StandardNormal);
        let y = 10.0 * (PI * x1 * x2).sin() + 20.0 * (x3 - 0.5).powi(2) + 10.0 * x4 + 5.0 * x5;
        let features: Vec<String> = x.iter().map(|x| format!("{x:.6}")).collect();
        writeln!(out, "{},{:.6}", features.join(","), y + noise)?;
    }
    Ok(())
}
