//! The standard normal distribution.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// The density at `z`.
#[must_use]
pub fn density(z: f64) -> f64 {
    (-0.5 * z * z).exp() / (2.0 * PI).sqrt()
}

/// The share below `z`, from 0 to 1.
#[must_use]
pub fn below(z: f64) -> f64 {
    0.5 * libm::erfc(-z * FRAC_1_SQRT_2)
}

/// The point below which the share `p` in (0, 1) lies, by bisection's safe Newton steps.
#[must_use]
pub fn quantile(p: f64) -> f64 {
    let (mut low, mut high) = (-38.0, 38.0);
    let mut z = 0.0;
    for _ in 0..80 {
        let error = below(z) - p;
        if error > 0.0 {
            high = z
        } else {
            low = z
        }
        let newton = z - error / density(z).max(f64::MIN_POSITIVE);
        let next = if newton > low && newton < high {
            newton
        } else {
            0.5 * (low + high)
        };
        if (next - z).abs() < 1e-12 {
            return next;
        }
        z = next;
    }
    z
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_tables() {
        // Known quantiles; `below` of each is checked back.
        for (p, z) in [
            (0.5, 0.0),
            (0.975, 1.959_963_984_540_054),
            (0.001, -3.090_232_306_167_813_5),
            (1e-10, -6.361_340_902_404_056),
            (0.999_999, 4.753_424_308_822_899),
        ] {
            assert!((quantile(p) - z).abs() < 1e-9, "{p}: {}", quantile(p));
            assert!((below(z) / p - 1.0).abs() < 1e-9);
        }
    }
}
