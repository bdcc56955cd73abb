//! The standard normal distribution.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

pub(crate) use hpo_study::normal::{below, density, quantile};

/// The mass between two points.
pub(crate) fn between(low: f64, high: f64) -> f64 {
    0.5 * (libm::erf(high * FRAC_1_SQRT_2) - libm::erf(low * FRAC_1_SQRT_2))
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
