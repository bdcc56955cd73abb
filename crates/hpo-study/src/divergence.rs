//! Runs that come to nothing: what a study wants done about them, and what was found in a trial.
//!
//! The detector itself is in `hpo-engine`; here is what is said about it in the study file, in events
//! and in reports.

use serde::{Deserialize, Serialize};

use crate::spec::{Goal, Metric};

/// What a study wants done about runs that come to nothing.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Divergence {
    /// Whether such runs are stopped.
    pub policy: DivergencePolicy,
    /// The metric that is watched; `None`: the objective.
    pub metric: Option<Metric>,
    /// The watched metric's value for a model that knows nothing; `None`: as the trial says
    /// ([`crate::protocol::CHANCE`]), or unknown, and then findings other than on values that are not
    /// finite are warnings.
    pub chance: Option<f64>,
    /// The step with which a trial ends, where nothing else in the study says it.
    pub planned_steps: Option<u64>,
    /// A trial may be at chance or worse for this many steps; `None`: a share of its length.
    pub recover_steps: Option<u64>,
    /// Up to this step only values that are not finite count.
    pub grace_steps: u64,
    /// Whether a trial is stopped, too, that never left chance, neither down nor up.
    pub no_progress: NoProgress,
    /// Whether a trial is given a second chance with a smaller learning rate.
    pub rescue: Option<Rescue>,
}

impl Divergence {
    /// Whether a trial is ended for a finding.
    #[must_use]
    pub fn stops(&self, finding: &Finding) -> bool {
        self.policy == DivergencePolicy::Auto
            && finding.certain
            && match finding.verdict {
                Verdict::Diverged | Verdict::Stuck => true,
                Verdict::NoProgress => self.no_progress == NoProgress::Stop,
                Verdict::Spiking | Verdict::Recovered => false,
            }
    }
}

/// Whether the built-in trainer says, with its first report, what a metric is for a model that knows
/// nothing. Upside down nothing is known.
#[must_use]
pub fn trainer_tells(metric: &Metric) -> bool {
    match metric.name.as_str() {
        "train_loss" | "val_loss" | "val_rmse" => metric.goal == Goal::Minimize,
        "val_accuracy" | "val_r2" => metric.goal == Goal::Maximize,
        _ => false,
    }
}

/// What is done about runs that come to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DivergencePolicy {
    /// They are stopped when it is certain; else there is a warning.
    #[default]
    Auto,
    /// There is a warning. Three objectives in a row that are not finite stop a trial all the same.
    Warn,
    /// Nobody looks.
    Off,
}

impl DivergencePolicy {
    /// Its name in the study file.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Warn => "warn",
            Self::Off => "off",
        }
    }
}

/// What is done about a trial that never left chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoProgress {
    /// It is stopped like the others.
    #[default]
    Stop,
    /// There is a warning.
    Warn,
}

/// A second chance: the trial goes back to its last good checkpoint, with a smaller learning rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rescue {
    /// How often at most, per trial. At least 1.
    pub attempts: u32,
    /// The learning rate is multiplied by this; between 0 and 1.
    pub lr_factor: f64,
}

/// A rescue that took place: the trial goes on with another configuration than it was proposed with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rescued {
    /// The parameter that was changed: `lr` or `learning_rate`.
    pub parameter: String,
    /// What it was.
    pub from: f64,
    /// What it is now.
    pub to: f64,
    /// The last good step, to which the trial went back: that of its best report before it was lost.
    pub healthy_step: u64,
    /// Why it was rescued, for people.
    pub evidence: String,
}

/// What a finding says of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Above chance or not finite, and not coming back.
    Diverged,
    /// At chance, or most of what it had learned is lost, and nothing moves.
    Stuck,
    /// Never left chance, neither down nor up: the learning rate is too small, or no gradient
    /// comes through.
    NoProgress,
    /// Information: at least a third of what had been learned is lost.
    Spiking,
    /// Information: back from a spike, or from where it seemed hopeless.
    Recovered,
}

impl Verdict {
    /// Whether it says that going on is of no use.
    #[must_use]
    pub fn is_hopeless(self) -> bool {
        matches!(self, Self::Diverged | Self::Stuck | Self::NoProgress)
    }

    /// Its name in files and tables.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Diverged => "diverged",
            Self::Stuck => "stuck",
            Self::NoProgress => "no_progress",
            Self::Spiking => "spiking",
            Self::Recovered => "recovered",
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

/// Something that was found in what a trial reported, with the numbers that show it. The numbers are
/// in the metric's own units and in steps; what a rule does not use is `None`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// What it says of the trial.
    pub verdict: Verdict,
    /// At which step it was found.
    pub step: u64,
    /// The rule that found it; see `docs/divergence.md`.
    pub rule: String,
    /// Whether it may end a trial. An uncertain finding is a warning.
    pub certain: bool,
    /// The metric it was found in.
    pub metric: String,
    /// How many reports in a row were not finite.
    pub non_finite: Option<u32>,
    /// Where the metric is by now, smoothed.
    pub level: Option<f64>,
    /// The best it had been, smoothed.
    pub best: Option<f64>,
    /// What a model that knows nothing gets.
    pub chance: Option<f64>,
    /// Since which step it is so.
    pub since: Option<u64>,
    /// How many steps it would take to come back; `None`: it is not on its way back.
    pub to_return: Option<f64>,
    /// How many steps were left.
    pub remaining: Option<f64>,
    /// All of this in words, for people.
    pub detail: String,
}
