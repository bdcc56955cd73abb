//! What the detector is told about a run.

use hpo_study::Goal;
use serde::{Deserialize, Serialize};

/// The value of the metric for a model that knows nothing: ln(classes) for a cross-entropy (better:
/// the entropy of the label frequencies), the entropy of the token frequencies for a language
/// model, 1/classes for an accuracy.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Chance {
    /// It is known, in the metric's own units.
    Known(f64),
    /// It is not: the run's first report stands in for it, and every finding but those on
    /// non-finite values is uncertain.
    Unknown,
}

/// How long a run may be at chance or worse before it is given up, as shares of its planned length.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Patience {
    /// A run that has never learned and rests at chance: it may be on a plateau that it leaves
    /// late, as deep networks do.
    pub resting: f64,
    /// A run that has never learned and moves about above chance: its steps are too large. At a
    /// height of `h` (`asinh(loss/chance − 1)`: .9 at twice chance, 3.7 at twenty times) it gets
    /// `1/(1+h)` of this, or of what a resting run gets while it still comes down.
    pub above: f64,
    /// A run that had learned and is back at chance or above it.
    pub collapsed: f64,
    /// A run that has lost most (three quarters) of what it had learned, but not all.
    pub lost: f64,
    /// The least share, however far above chance.
    pub shortest: f64,
    /// Also wait for this many reports, but not for longer than .4 of the run: few reports, a
    /// validation loss once per epoch for instance, are thin evidence.
    pub reports: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            resting: 0.55,
            above: 0.35,
            collapsed: 0.2,
            lost: 0.6,
            shortest: 0.08,
            reports: 20,
        }
    }
}

/// What the detector is told about a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Whether smaller or larger is better.
    pub goal: Goal,
    /// What a model that knows nothing gets.
    pub chance: Chance,
    /// The run's planned length, in the unit of the reports' steps. Without it, a run is taken to
    /// be half as long again as it is by now (and at least 500 reports), and findings are uncertain
    /// but for runs far above chance.
    pub planned_steps: Option<u64>,
    /// Up to this step nothing but non-finite values ends a run: warm-up, for instance.
    pub grace_steps: u64,
    /// For how many steps a run may be at chance or worse; `None`: what [`Patience`] says.
    pub recover_steps: Option<u64>,
    /// How long is too long.
    pub patience: Patience,
}

impl Settings {
    /// Settings with no grace and the default patience.
    pub fn new(goal: Goal, chance: Chance, planned_steps: Option<u64>) -> Self {
        Self {
            goal,
            chance,
            planned_steps,
            grace_steps: 0,
            recover_steps: None,
            patience: Patience::default(),
        }
    }
}
