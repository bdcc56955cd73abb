//! Settings of schedules spread over what their knobs allow, from numbers between 0 and 1.

use hpo_recipe::schedule::WARMUP;
use hpo_recipe::{Allowed, Config, Scale, ScheduleKind, Search, Value};

/// A configuration of this schedule; `units` gives as many numbers between 0 and 1 as are asked
/// for. Knobs with a range take a value in it, flags and texts any, the rest their default.
pub(crate) fn config(kind: ScheduleKind, warmup: bool, mut units: impl FnMut() -> f64) -> Config {
    let mut config = Config::from_iter([("schedule", kind.name())]);
    let knobs = kind.facts().hyperparameters.iter();
    for knob in knobs.chain(WARMUP.iter().filter(|_| warmup)) {
        let unit = units();
        let pick = |count: usize| ((unit * count as f64) as usize).min(count - 1);
        let value = match (knob.search, knob.allowed) {
            _ if knob.name == "warmup_fraction" => Value::Float(0.05 + 0.4 * unit),
            (Some(Search::Range { low, high, scale }), _) => {
                Value::Float(between(low, high, scale, unit))
            }
            (Some(Search::Choices(choices)), _) => choices[pick(choices.len())].value(),
            (None, Allowed::Flag) => Value::Bool(unit < 0.5),
            (None, Allowed::OneOf(texts)) => Value::from(texts[pick(texts.len())]),
            (None, _) => knob.default.value(),
        };
        config.set(knob.name, value);
    }
    config
}

fn between(low: f64, high: f64, scale: Scale, unit: f64) -> f64 {
    let along = |low: f64, high: f64| low + (high - low) * unit;
    let value = match scale {
        Scale::Linear => along(low, high),
        Scale::Log => along(low.ln(), high.ln()).exp(),
        Scale::OneMinusLog => 1.0 - along((1.0 - low).ln(), (1.0 - high).ln()).exp(),
    };
    value.clamp(low, high)
}
