//! The standard normal distribution.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// The density.
pub(crate) fn density(z: f64) -> f64 {
    (-0.5 * z * z).exp() / (2.0 * PI).sqrt()
}

/// The share below `z`.
pub(crate) fn below(z: f64) -> f64 {
    0.5 * libm::erfc(-z * FRAC_1_SQRT_2)
}

/// The mass between two points.
pub(crate) fn between(low: f64, high: f64) -> f64 {
    0.5 * (libm::erf(high * FRAC_1_SQRT_2) - libm::erf(low * FRAC_1_SQRT_2))
}

/// The point below which the share `p` in (0, 1) lies, by bisection's safe Newton steps.
pub(crate) fn quantile(p: f64) -> f64 {
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

/// The logarithm of the share below `z`, for any `z`.
pub(crate) fn log_below(z: f64) -> f64 {
    if z > -25.0 {
        below(z).ln()
    } else {
        log_density(z) - (-z).ln() - 1.0 / (z * z)
    }
}

/// The logarithm of the density.
fn log_density(z: f64) -> f64 {
    -0.5 * z * z - 0.5 * (2.0 * PI).ln()
}

/// The logarithm of `density(z) + z · below(z)`: the expected improvement in units of the standard
/// deviation, for any `z` (Ament et al., "Unexpected improvements to expected improvement", NeurIPS
/// 2023; arXiv 2310.20708, equation 9, with the tail's series).
pub(crate) fn log_improvement(z: f64) -> f64 {
    if z > -25.0 {
        (density(z) + z * below(z)).max(f64::MIN_POSITIVE).ln()
    } else {
        log_density(z) - 2.0 * (-z).ln() + (-3.0 / (z * z)).ln_1p()
    }
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

    #[test]
    fn logarithms_go_on_smoothly_where_the_series_takes_over() {
        for f in [log_improvement, log_below] {
            let (above, beneath) = (f(-25.0 + 1e-9), f(-25.0 - 1e-9));
            assert!((above - beneath).abs() < 1e-4, "{above} {beneath}");
            assert!(f(-1e3).is_finite() && f(-1e3) < f(-999.0));
        }
        // density(0), and z itself far above.
        assert!((log_improvement(0.0) - (0.398_942_280_401_432_7_f64).ln()).abs() < 1e-12);
        assert!((log_improvement(50.0) - 50.0_f64.ln()).abs() < 1e-12);
        assert!((log_below(1.0) - (0.841_344_746_068_543_f64).ln()).abs() < 1e-12);
        assert!((between(-1.0, 1.0) - 0.682_689_492_137_086).abs() < 1e-12);
    }
}
