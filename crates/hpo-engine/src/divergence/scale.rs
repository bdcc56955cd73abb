//! The ruler: a metric's values on an axis where 0 is what a model that knows nothing gets, up is
//! worse, and the unit is what there is to learn.

use hpo_study::Goal;

/// Beyond this many units a value tells nothing more.
const FARTHEST: f64 = 1e300;

/// Turns a metric's values into *heights*: `asinh((value − chance) / unit)`, upside down for a
/// metric that is to be maximized. Near chance a height is linear, far above it is a logarithm (so
/// a loss of 1e9 is high, not infinite), and it has a value for losses below zero, where a plain
/// logarithm has none. For a loss with a positive chance level the unit is that level, so heights
/// do not change when loss and chance are scaled together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    chance: f64,
    unit: f64,
    sign: f64,
}

impl Scale {
    /// The ruler for a chance level. What there is to learn is the way from it to the best value
    /// there can be: to 0 for a loss, to 1 (or 100) for an accuracy.
    pub(super) fn new(goal: Goal, chance: f64) -> Self {
        let unit = match goal {
            Goal::Maximize if (0.0..1.0).contains(&chance) => 1.0 - chance,
            Goal::Maximize if (1.0..100.0).contains(&chance) => 100.0 - chance,
            _ if chance != 0.0 => chance.abs(),
            _ => 1.0,
        };
        let sign = match goal {
            Goal::Minimize => 1.0,
            Goal::Maximize => -1.0,
        };
        Self { chance, unit, sign }
    }

    /// How far above chance (worse than it) a finite value is; negative when better.
    pub(super) fn height(&self, value: f64) -> f64 {
        let units = (value - self.chance) / self.unit;
        self.sign * units.clamp(-FARTHEST, FARTHEST).asinh()
    }

    /// The value at a height, in the metric's own units.
    pub(super) fn value(&self, height: f64) -> f64 {
        self.chance + self.unit * (self.sign * height).sinh()
    }

    /// The chance level it was made for.
    pub(super) fn chance(&self) -> f64 {
        self.chance
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn chance_is_zero_and_worse_is_up() {
        let loss = Scale::new(Goal::Minimize, 2.3);
        assert_eq!(loss.height(2.3), 0.0);
        assert!(loss.height(8.0) > 1.0 && loss.height(0.1) < -0.8);
        let accuracy = Scale::new(Goal::Maximize, 0.1);
        assert_eq!(accuracy.height(0.1), 0.0);
        assert!(accuracy.height(0.95) < -0.8 && accuracy.height(0.05) > 0.0);
        let percent = Scale::new(Goal::Maximize, 10.0);
        assert!((percent.height(95.0) - accuracy.height(0.95)).abs() < 1e-12);
    }

    #[test]
    fn a_loss_below_zero_has_a_height() {
        let likelihood = Scale::new(Goal::Minimize, -1.5);
        assert!(likelihood.height(-4.0) < -1.0 && likelihood.height(3.0) > 1.0);
        assert!(
            Scale::new(Goal::Minimize, 1e-300)
                .height(f64::MAX)
                .is_finite()
        );
    }

    proptest! {
        #[test]
        fn heights_come_back_as_values(chance in 0.01..100.0, value in 0.0..1e6) {
            let scale = Scale::new(Goal::Minimize, chance);
            let back = scale.value(scale.height(value));
            prop_assert!((back - value).abs() <= 1e-9 * (1.0 + value));
        }

        #[test]
        fn scaling_loss_and_chance_together_changes_nothing(value in 0.0..1e6, factor in 1e-3..1e3) {
            let plain = Scale::new(Goal::Minimize, 2.3).height(value);
            let scaled = Scale::new(Goal::Minimize, 2.3 * factor).height(value * factor);
            prop_assert!((plain - scaled).abs() < 1e-9);
        }
    }
}
