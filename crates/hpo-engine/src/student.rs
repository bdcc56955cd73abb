//! Student's t distribution, exactly, for a whole number of degrees of freedom: the finite series of
//! Abramowitz and Stegun, "Handbook of Mathematical Functions", 26.7.3 and 26.7.4.

use std::f64::consts::{FRAC_PI_2, PI};

use hpo_study::normal;

/// From so many degrees of freedom on it is taken for the normal distribution: the two differ by less
/// than 0.2 % there in the quantiles in use.
const NORMAL: u32 = 2000;

/// The share of |t| below `sqrt(freedom) * tan(angle)`.
fn within(angle: f64, freedom: u32) -> f64 {
    let (sine, cosine) = angle.sin_cos();
    let square = cosine * cosine;
    let odd = freedom % 2 == 1;
    // 1 + 1/2 c² + 1·3/(2·4) c⁴ + …, or c + 2/3 c³ + 2·4/(3·5) c⁵ + …
    let (mut term, mut sum) = if odd { (cosine, cosine) } else { (1.0, 1.0) };
    let first = if odd { 3 } else { 2 };
    for k in (first..freedom.saturating_sub(1)).step_by(2) {
        let k = f64::from(k);
        term *= square * (k - 1.0) / k;
        sum += term;
    }
    match (odd, freedom) {
        (true, 1) => angle / FRAC_PI_2,
        (true, _) => 2.0 / PI * (angle + sine * sum),
        (false, _) => sine * sum,
    }
}

/// The point below which the share `p`, from 0.5 to below 1, lies; by bisection.
pub(crate) fn quantile(p: f64, freedom: u32) -> f64 {
    if freedom >= NORMAL {
        return normal::quantile(p);
    }
    let freedom = freedom.max(1);
    let (mut low, mut high) = (0.0, FRAC_PI_2);
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        if 0.5 + 0.5 * within(middle, freedom) < p {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::from(freedom).sqrt() * low.tan()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (p, freedom, t) in [
            (0.95, 1, 6.3138),
            (0.95, 2, 2.9200),
            (0.975, 3, 3.1824),
            (0.975, 4, 2.7764),
            (0.975, 5, 2.5706),
            (0.99, 10, 2.7638),
            (0.95, 30, 1.6973),
            (0.995, 120, 2.6174),
            (0.975, 5000, 1.9600),
            (0.5, 7, 0.0),
        ] {
            let found = quantile(p, freedom);
            assert!((found - t).abs() < 6e-5, "{p} {freedom}: {found}");
        }
    }
}
