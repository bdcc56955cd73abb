//! Knobs that more than one schedule has.

use std::ops::Bound;

use super::{Schedule, Setting};
use crate::hyperparameter::{Allowed, Default, Hyperparameter, Scale, Search};

/// The knobs of the linear warm-up, which every schedule has.
pub static WARMUP: &[Hyperparameter] = &[
    Hyperparameter {
        name: "warmup_fraction",
        meaning: "share of the run in which the rate rises on a line to its first value; 0: none",
        default: Default::Number(0.0),
        allowed: Allowed::BELOW_ONE,
        search: Some(Search::Choices(&[
            Default::Number(0.0),
            Default::Number(0.02),
            Default::Number(0.05),
            Default::Number(0.1),
        ])),
        tune_from: 10,
        source: "arXiv 1706.02677; range: AlgoPerf, arXiv 2306.07179",
    },
    Hyperparameter {
        name: "warmup_start_factor",
        meaning: "where the warm-up starts, as a ratio of where it ends",
        default: Default::Number(1.0 / 3.0),
        allowed: Allowed::POSITIVE_UNIT,
        search: None,
        tune_from: 50,
        source: "PyTorch LinearLR start_factor",
    },
];

/// The factor of the schedules that decay in jumps.
pub(crate) const GAMMA: Hyperparameter = Hyperparameter {
    name: "gamma",
    meaning: "what the rate is multiplied with at every decay",
    default: Default::Number(0.1),
    allowed: Allowed::POSITIVE_UNIT,
    search: Some(Search::Range {
        low: 0.05,
        high: 0.5,
        scale: Scale::Log,
    }),
    tune_from: 25,
    source: "PyTorch StepLR, MultiStepLR",
};

/// The moments of the schedules that change at milestones.
pub(crate) const MILESTONES: Hyperparameter = Hyperparameter {
    name: "milestones",
    meaning: "when the jumps come, in shares of the run",
    default: Default::Numbers(&[0.5, 0.75]),
    allowed: Allowed::Ascending(Bound::Excluded(0.0), Bound::Excluded(1.0)),
    search: Some(Search::Choices(&[
        Default::Numbers(&[0.5, 0.75]),
        Default::Numbers(&[0.3, 0.6, 0.8]),
        Default::Numbers(&[0.6, 0.85]),
    ])),
    tune_from: 25,
    source: "arXiv 1512.03385 section 4.2 (32k and 48k of 64k steps); arXiv 1605.07146",
};

/// The lowest rate of the cosine family.
pub(crate) const ETA_MIN_RATIO: Hyperparameter = Hyperparameter {
    name: "eta_min_ratio",
    meaning: "the lowest rate, as a ratio of lr",
    default: Default::Number(0.0),
    allowed: Allowed::UNIT,
    search: Some(Search::Range {
        low: 0.0,
        high: 0.1,
        scale: Scale::Linear,
    }),
    tune_from: 50,
    source: "PyTorch CosineAnnealingLR eta_min; Keras CosineDecay alpha",
};

/// The last rate of the schedules that run down to the end of the run.
pub(crate) const END_LR_RATIO: Hyperparameter = Hyperparameter {
    name: "end_lr_ratio",
    meaning: "the rate at the end of the run, as a ratio of lr",
    default: Default::Number(0.0),
    allowed: Allowed::UNIT,
    search: Some(Search::Range {
        low: 0.0,
        high: 0.1,
        scale: Scale::Linear,
    }),
    tune_from: 50,
    source: "Keras PolynomialDecay end_learning_rate",
};

/// The interval of Keras's decays.
pub(crate) const DECAY_STEPS_FRACTION: Hyperparameter = Hyperparameter {
    name: "decay_steps_fraction",
    meaning: "the share of the run to which decay_rate refers",
    default: Default::Number(1.0),
    allowed: Allowed::POSITIVE_UNIT,
    search: None,
    tune_from: 50,
    source: "Keras ExponentialDecay, InverseTimeDecay decay_steps",
};

/// Whether a decay comes in jumps.
pub(crate) const STAIRCASE: Hyperparameter = Hyperparameter {
    name: "staircase",
    meaning: "decay in jumps, one at the end of every decay_steps_fraction",
    default: Default::Flag(false),
    allowed: Allowed::Flag,
    search: None,
    tune_from: 50,
    source: "Keras ExponentialDecay, InverseTimeDecay staircase",
};

/// Whether a cycle turns the momentum too.
pub(crate) const CYCLE_MOMENTUM: Hyperparameter = Hyperparameter {
    name: "cycle_momentum",
    meaning: "move the momentum (beta1) against the rate, if the optimizer has one",
    default: Default::Flag(true),
    allowed: Allowed::Flag,
    search: None,
    tune_from: 50,
    source: "PyTorch CyclicLR, OneCycleLR; arXiv 1803.09820",
};

/// The momentum where the rate is highest.
pub(crate) const BASE_MOMENTUM: Hyperparameter = Hyperparameter {
    name: "base_momentum",
    meaning: "the momentum (beta1) where the rate is highest",
    default: Default::Number(0.85),
    allowed: Allowed::BELOW_ONE,
    search: Some(Search::Range {
        low: 0.5,
        high: 0.95,
        scale: Scale::OneMinusLog,
    }),
    tune_from: 50,
    source: "PyTorch OneCycleLR; arXiv 1803.09820",
};

/// The momentum where the rate is lowest.
pub(crate) const MAX_MOMENTUM: Hyperparameter = Hyperparameter {
    name: "max_momentum",
    meaning: "the momentum (beta1) where the rate is lowest",
    default: Default::Number(0.95),
    allowed: Allowed::BELOW_ONE,
    search: Some(Search::Range {
        low: 0.85,
        high: 0.99,
        scale: Scale::OneMinusLog,
    }),
    tune_from: 50,
    source: "PyTorch OneCycleLR; arXiv 1803.09820",
};

/// How many milestones have passed.
pub(crate) fn passed(schedule: &Schedule, step: u64) -> i32 {
    let passed = schedule
        .numbers("milestones")
        .filter(|m| schedule.share(*m) <= step)
        .count();
    i32::try_from(passed).unwrap_or(i32::MAX)
}

/// A decay's exponent: decay intervals so far, whole ones only under `staircase`.
pub(crate) fn intervals(schedule: &Schedule, step: u64) -> f64 {
    let steps = schedule.length("decay_steps_fraction");
    if schedule.flag("staircase") {
        (step / steps) as f64
    } else {
        step as f64 / steps as f64
    }
}

/// A setting with the momentum only if the schedule drives it.
pub(crate) fn with_momentum(schedule: &Schedule, lr: f64, momentum: f64) -> Setting {
    let momentum = schedule.drives_momentum().then_some(momentum);
    Setting {
        momentum,
        ..Setting::of_rate(lr)
    }
}

/// Half a cosine from 1 to 0 while `progress` goes from 0 to 1.
pub(crate) fn half_cosine(progress: f64) -> f64 {
    (1.0 + (std::f64::consts::PI * progress).cos()) / 2.0
}
