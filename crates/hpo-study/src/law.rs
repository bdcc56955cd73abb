//! Probability distributions that a parameter can have beside even ones: W&B's `normal`, `log_normal` and `beta`.
//!
//! A sampler sees such a parameter by its cumulative distribution: even steps of the unit interval are equally
//! likely values.

use serde::{Deserialize, Serialize};

use crate::normal;

/// How much of either end of a distribution without bounds is never drawn. Samplers that learn like corners; without
/// this a corner would be seven standard deviations away.
pub const TAIL: f64 = 1e-4;

/// A probability distribution of a number.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Law {
    /// The normal distribution.
    Normal {
        /// Mean.
        mu: f64,
        /// Standard deviation, more than 0.
        sigma: f64,
    },
    /// The logarithm is normally distributed.
    LogNormal {
        /// Mean of the logarithm.
        mu: f64,
        /// Standard deviation of the logarithm, more than 0.
        sigma: f64,
    },
    /// The beta distribution on [0, 1], with density ∝ x^(a−1) · (1−x)^(b−1).
    Beta {
        /// First exponent plus one, more than 0.
        a: f64,
        /// Second exponent plus one, more than 0.
        b: f64,
    },
}

impl Law {
    /// The value below which the share `u` lies; where there is no bound, `u` is kept [`TAIL`] away from 0 and 1.
    #[must_use]
    pub fn quantile(self, u: f64) -> f64 {
        match self {
            Self::Normal { mu, sigma } => mu + sigma * normal::quantile(u.clamp(TAIL, 1.0 - TAIL)),
            Self::LogNormal { mu, sigma } => {
                (mu + sigma * normal::quantile(u.clamp(TAIL, 1.0 - TAIL))).exp()
            }
            Self::Beta { a, b } => beta_quantile(u, a, b),
        }
    }

    /// The share below `x`, from 0 to 1.
    #[must_use]
    pub fn below(self, x: f64) -> f64 {
        match self {
            Self::Normal { mu, sigma } => normal::below((x - mu) / sigma),
            Self::LogNormal { mu, sigma } if x > 0.0 => normal::below((x.ln() - mu) / sigma),
            Self::LogNormal { .. } => 0.0,
            Self::Beta { a, b } => beta_below(x, a, b),
        }
    }
}

/// The share of the beta distribution below `x`: the regularized incomplete beta function, by its continued
/// fraction (DLMF 8.17.22) with the modified Lentz algorithm, on the side where that converges fast.
fn beta_below(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - beta_below_small(1.0 - x, b, a);
    }
    beta_below_small(x, a, b)
}

fn beta_below_small(x: f64, a: f64, b: f64) -> f64 {
    const TINY: f64 = 1e-300;
    const STEPS: u32 = 10_000;
    let scale = a * x.ln() + b * (-x).ln_1p()
        - (libm::lgamma(a) + libm::lgamma(b) - libm::lgamma(a + b))
        - a.ln();
    let away = |v: f64| if v.abs() < TINY { TINY } else { v };
    let mut c = 1.0;
    let mut d = 1.0 / away(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for m in 1..STEPS {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let before = fraction;
        for term in [even, odd] {
            d = 1.0 / away(1.0 + term * d);
            c = away(1.0 + term / c);
            fraction *= d * c;
        }
        if (fraction - before).abs() <= 1e-15 * fraction.abs() {
            break;
        }
    }
    (scale.exp() * fraction).clamp(0.0, 1.0)
}

/// The inverse of [`beta_below`], by bisection over the doubles between 0 and 1 (as integers, so that values near 0
/// keep their relative precision).
fn beta_quantile(u: f64, a: f64, b: f64) -> f64 {
    if u <= 0.0 {
        return 0.0;
    }
    if u >= 1.0 {
        return 1.0;
    }
    let (mut low, mut high) = (0_u64, 1.0_f64.to_bits());
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if beta_below(f64::from_bits(middle), a, b) < u {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::from_bits(high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_and_shares_are_inverse_to_each_other() {
        for law in [
            Law::Normal {
                mu: 3.0,
                sigma: 0.5,
            },
            Law::LogNormal {
                mu: -6.0,
                sigma: 2.0,
            },
            Law::Beta { a: 2.0, b: 5.0 },
            Law::Beta { a: 0.5, b: 0.5 },
            Law::Beta { a: 1.0, b: 1.0 },
            Law::Beta { a: 80.0, b: 3.0 },
        ] {
            let mut last = f64::NEG_INFINITY;
            for i in 1..100 {
                let u = f64::from(i) / 100.0;
                let x = law.quantile(u);
                assert!(x > last, "{law:?}");
                assert!((law.below(x) - u).abs() < 1e-9, "{law:?} at {u}");
                last = x;
            }
        }
        let even = Law::Beta { a: 1.0, b: 1.0 };
        assert!((even.quantile(0.3) - 0.3).abs() < 1e-12);
        // The arcsine distribution: sin²(πu/2).
        let arcsine = Law::Beta { a: 0.5, b: 0.5 };
        let exact = (std::f64::consts::FRAC_PI_2 * 0.2).sin().powi(2);
        assert!((arcsine.quantile(0.2) - exact).abs() < 1e-12);
    }

    #[test]
    fn the_ends_are_finite() {
        let law = Law::Normal {
            mu: 0.0,
            sigma: 1.0,
        };
        assert!((law.quantile(1.0) - 3.719_016_485).abs() < 1e-6);
        assert!((law.quantile(0.0) + law.quantile(1.0)).abs() < 1e-9);
    }
}
