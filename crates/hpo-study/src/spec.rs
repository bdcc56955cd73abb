//! The checked study: what a study file means once every error in it has been found.
//!
//! A [`StudySpec`] is stored with the study, so it reads back from its own JSON.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use hpo_recipe::Value;

use crate::confirm::Confirm;
use crate::divergence::Divergence;
use crate::memory::{GpuSpec, OomPolicy};
use crate::population::Population;
use crate::printout::MetricPattern;
use crate::space::Space;
use crate::storage::Storage;
use crate::warm_start::WarmStart;

/// A whole study, checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StudySpec {
    /// The study's name; also its directory's under `runs/`.
    pub name: String,
    /// Words for people.
    pub description: Option<String>,
    /// The seed of everything random.
    pub seed: u64,
    /// What a trial runs.
    pub job: Job,
    /// How configurations are chosen.
    pub method: Method,
    /// What is optimized: the only objective, or the first. Trials report it, and by it they are watched.
    pub metric: Metric,
    /// The other objectives, where there are several; none has the name of another.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub further: Vec<Metric>,
    /// Most trials; `None`: until time or the grid runs out.
    pub run_cap: Option<u32>,
    /// Most running time, all sessions together.
    pub time_cap: Option<Duration>,
    /// What is searched.
    pub space: Space,
    /// When hopeless trials are stopped.
    pub early_terminate: EarlyTerminate,
    /// What is done about runs that come to nothing.
    #[serde(default)]
    pub divergence: Divergence,
    /// What of the machine may be used.
    pub cpu: Cpu,
    /// Which GPUs its trials are placed on, and how much of them; `None`: on none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<GpuSpec>,
    /// What happens when trials fail.
    pub failure: Failure,
    /// How long a trial's process has to end after SIGTERM before it is killed.
    pub stop_grace: Duration,
    /// What becomes of running trials when the coordinator dies.
    #[serde(default)]
    pub on_crash: OnCrash,
    /// Who is told of what.
    #[serde(default)]
    pub notify: Notify,
    /// Which checkpoints stay on the disk.
    #[serde(default)]
    pub storage: Storage,
    /// Which trials are run again with fresh seeds at the end; `None`: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<Confirm>,
    /// With how many seeds each configuration is run; `None`: once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeats: Option<u32>,
    /// What is known before the first trial.
    #[serde(default, skip_serializing_if = "WarmStart::is_empty")]
    pub warm_start: WarmStart,
    /// Configurations may be tried again when all have been, or when a sampler wishes it.
    #[serde(default)]
    pub allow_duplicates: bool,
}

/// How long a trial's process has to end after SIGTERM, where a study file says nothing of it.
pub(crate) const STOP_GRACE: Duration = Duration::from_secs(10);

impl StudySpec {
    /// A study of which nothing else is said: all else is as where a study file has no key for it.
    #[must_use]
    pub fn new(name: &str, job: Job, method: Method, metric: Metric, space: Space) -> Self {
        Self {
            name: name.to_owned(),
            description: None,
            seed: 0,
            job,
            method,
            metric,
            further: Vec::new(),
            run_cap: None,
            time_cap: None,
            space,
            early_terminate: EarlyTerminate::None,
            divergence: Divergence::default(),
            cpu: Cpu::default(),
            gpu: None,
            failure: Failure::default(),
            stop_grace: STOP_GRACE,
            on_crash: OnCrash::default(),
            notify: Notify::default(),
            storage: Storage::default(),
            confirm: None,
            repeats: None,
            warm_start: WarmStart::default(),
            allow_duplicates: false,
        }
    }

    /// The full length of a trial in steps, where the study says it: the largest fidelity.
    #[must_use]
    pub fn max_steps(&self) -> Option<u64> {
        let of_rule = match &self.early_terminate {
            EarlyTerminate::Auto { max_iter, .. } => *max_iter,
            EarlyTerminate::Population(population) => Some(population.max_iter),
            rule => {
                (rule.rungs().map(|rungs| rungs.max_iter)).filter(|steps| *steps != Rungs::OPEN)
            }
        };
        of_rule.or(match &self.job {
            Job::Trainer(trainer) => Some(trainer.epochs),
            Job::Command(_) => None,
        })
    }
}

impl StudySpec {
    /// The metric by which runs that come to nothing are found.
    #[must_use]
    pub fn watched(&self) -> &Metric {
        self.divergence.metric.as_ref().unwrap_or(&self.metric)
    }

    /// All objectives, the one that trials are watched by first.
    pub fn objectives(&self) -> impl Iterator<Item = &Metric> {
        std::iter::once(&self.metric).chain(&self.further)
    }

    /// Whether there are several objectives, so that no trial need be the best.
    #[must_use]
    pub fn has_several(&self) -> bool {
        !self.further.is_empty()
    }

    /// The step with which a trial ends, where the study says it.
    #[must_use]
    pub fn planned_steps(&self) -> Option<u64> {
        self.max_steps().or(self.divergence.planned_steps)
    }
}

/// What a trial's process is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Job {
    /// A program of the user's.
    Command(CommandJob),
    /// The built-in trainer.
    Trainer(TrainerSpec),
}

impl Job {
    /// A program of the user's with its arguments, and nothing else said of it.
    #[must_use]
    pub fn command(words: &[&str]) -> Self {
        Self::Command(CommandJob {
            command: words.iter().map(|word| (*word).to_owned()).collect(),
            ..CommandJob::default()
        })
    }
}

/// A program of the user's, started once per attempt.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct CommandJob {
    /// What `${program}` stands for.
    pub program: Option<String>,
    /// The argument vector, with macros still in it. At least one element; with `shell` exactly one, the text.
    pub command: Vec<String>,
    /// The command is a text for `/bin/sh`.
    #[serde(default)]
    pub shell: bool,
    /// What `${interpreter}` stands for: a program, or the directory of a virtual environment. `None`: `python`.
    #[serde(default)]
    pub python: Option<String>,
    /// Where it runs, from the study file's directory, with macros still in it; `None`: there.
    #[serde(default)]
    pub cwd: Option<String>,
    /// Environment variables to be set, `${envvar:NAME}` still in their values; `None`: to be removed.
    #[serde(default)]
    pub env: BTreeMap<String, Option<String>>,
    /// Full names of the groups of nested parameters: the parameter `optimizer.lr` is `lr` in `optimizer` if
    /// `optimizer` is among them.
    #[serde(default)]
    pub groups: Vec<String>,
    /// How metrics are found in what it prints, beside report lines.
    #[serde(default)]
    pub metrics: Vec<MetricPattern>,
}

/// The built-in trainer's task and model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainerSpec {
    /// Which network.
    pub model: Model,
    /// Which data.
    pub dataset: Dataset,
    /// Full length of a training run; also the LR schedule's horizon. At least 1.
    pub epochs: u64,
    /// Mini-batch size where the configuration has no `batch_size`.
    pub batch_size: u64,
    /// Share of the data held out for validation, in (0, 1).
    pub validation: f64,
    /// Seed of the split into training and validation data, the same for all trials.
    pub split_seed: u64,
}

/// A network the built-in trainer knows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Model {
    /// Fully connected layers.
    Mlp {
        /// Widths of the hidden layers.
        hidden: Vec<u32>,
        /// Activation after each hidden layer.
        activation: Activation,
    },
    /// Convolution and pooling twice, then a linear layer; for image data.
    Cnn {
        /// Channels of the convolutions.
        channels: Vec<u32>,
    },
}

/// What follows a hidden layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// max(0, x)
    Relu,
    /// tanh(x)
    Tanh,
    /// x·Φ(x), the exact form
    Gelu,
}

/// Data the built-in trainer can read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dataset {
    /// The handwritten digits that ship with the program (1797 images of 8×8, 10 classes).
    Digits,
    /// A CSV file with a header line or without.
    Csv {
        /// Where it is; absolute once the study file has been read.
        path: PathBuf,
        /// The column to predict: a name, or an index counted from 0 (negative: from the end).
        target: Value,
        /// What is learned; `None`: classification when the target is text or has few whole values.
        task: Option<Task>,
    },
}

/// What is learned from a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// The target is one of some classes.
    Classification,
    /// The target is a number.
    Regression,
}

/// How configurations are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Every combination, in order.
    Grid,
    /// Independent draws.
    Random,
    /// A scrambled Sobol sequence.
    Sobol,
    /// The tree-structured Parzen estimator; with several objectives its multi-objective form.
    #[serde(alias = "motpe")]
    Tpe,
    /// A Gaussian process.
    Gp,
    /// CMA-ES with margin (arXiv 2205.13482).
    Cmaes,
    /// Population-based training (arXiv 1711.09846).
    Pbt,
    /// NSGA-II: an evolving population (Deb et al., 2002).
    Nsga2,
    /// BOHB: a density model for each rung of Hyperband (arXiv 1807.01774).
    Bohb,
    /// DEHB: differential evolution for each rung of Hyperband (arXiv 2105.09821).
    Dehb,
    /// The default: what was best over many kinds of spaces, early and late.
    Bayes,
}

impl Method {
    /// Its name in study files.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Grid => "grid",
            Self::Random => "random",
            Self::Sobol => "sobol",
            Self::Tpe => "tpe",
            Self::Gp => "gp",
            Self::Cmaes => "cmaes",
            Self::Pbt => "pbt",
            Self::Nsga2 => "nsga2",
            Self::Bohb => "bohb",
            Self::Dehb => "dehb",
            Self::Bayes => "bayes",
        }
    }

    /// Whether it can have several objectives, or needs one number by which trials are ranked.
    #[must_use]
    pub fn takes_several(self) -> bool {
        !self.needs_rungs() && !matches!(self, Self::Cmaes | Self::Pbt)
    }

    /// Whether it cannot do without rungs.
    #[must_use]
    pub fn needs_rungs(self) -> bool {
        matches!(self, Self::Bohb | Self::Dehb)
    }
}

/// What is optimized.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// The name under which trials report it.
    pub name: String,
    /// Which way is better.
    pub goal: Goal,
}

/// Most objectives of a study: of more, nearly every trial is one that no other is better than.
pub const MOST_OBJECTIVES: usize = 16;

/// Which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// Smaller is better.
    Minimize,
    /// Larger is better.
    Maximize,
}

impl Goal {
    /// The value as something to be made small: itself, or its negative.
    #[must_use]
    pub fn as_loss(self, value: f64) -> f64 {
        match self {
            Self::Minimize => value,
            Self::Maximize => -value,
        }
    }

    /// Whether `a` is better than `b`. A value that is not a number is worse than any that is.
    #[must_use]
    pub fn better(self, a: f64, b: f64) -> bool {
        let (a, b) = (self.as_loss(a), self.as_loss(b));
        a < b || (b.is_nan() && !a.is_nan())
    }
}

/// When hopeless trials are stopped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EarlyTerminate {
    /// Never.
    None,
    /// When worse than the median of the others at the same step (Golovin et al., KDD 2017).
    Median {
        /// No trial is stopped before it has reported this step.
        min_iter: u64,
        /// No trial is stopped before this many others have reported that step.
        min_trials: u32,
    },
    /// When not among the best so many percent of the others at the same step.
    Percentile {
        /// How many percent of the others a trial may be worse than; above 0 and below 100.
        percentile: f64,
        /// No trial is stopped before it has reported this step.
        min_iter: u64,
        /// No trial is stopped before this many others have reported that step.
        min_trials: u32,
        /// Trials are judged at `min_iter` and every so many steps after it. At least 1.
        interval: u64,
    },
    /// When another rule says so and the trial has not become better for a while.
    Patient {
        /// The other rule; [`EarlyTerminate::None`]: the trial's own curve alone decides.
        rule: Box<EarlyTerminate>,
        /// So many reports in a row without an improvement are borne.
        patience: u64,
        /// An improvement is by more than this. Not negative.
        min_delta: f64,
    },
    /// When further back at a step than trials that became good had been, learned from the study itself.
    Auto {
        /// No trial is judged before this step. At least 1.
        min_iter: u64,
        /// The full length of a trial in steps, where the rule says it. At least `min_iter`.
        max_iter: Option<u64>,
    },
    /// When significantly worse than the best trial on the instances that both have seen; steps are instances.
    Wilcoxon {
        /// Significant is a p-value below this; above 0 and below 1.
        p_threshold: f64,
        /// No trial is stopped before it has so many instances in common with the best one.
        n_startup_steps: u32,
        /// The metric measured at each instance; `None`: the objective.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        metric: Option<String>,
    },
    /// Asynchronous successive halving, stopping variant (Li et al., 2018; arXiv 1810.05934).
    Asha(Rungs),
    /// Asynchronous successive halving, promotion variant: trials pause at each rung (algorithm 2 of the same
    /// paper).
    AshaPromotion(Rungs),
    /// Synchronous successive halving (Jamieson & Talwalkar, 2016; arXiv 1502.07943).
    SuccessiveHalving(Rungs),
    /// Hyperband: brackets of successive halving (Li et al., 2017; arXiv 1603.06560).
    Hyperband(Rungs),
    /// Never; after each interval the worst members of a population copy the best.
    Population(Population),
}

impl EarlyTerminate {
    /// The rungs at which trials are judged, where there are any.
    #[must_use]
    pub fn rungs(&self) -> Option<Rungs> {
        match self {
            Self::Asha(rungs)
            | Self::AshaPromotion(rungs)
            | Self::SuccessiveHalving(rungs)
            | Self::Hyperband(rungs) => Some(*rungs),
            Self::Patient { rule, .. } => rule.rungs(),
            Self::None
            | Self::Median { .. }
            | Self::Percentile { .. }
            | Self::Wilcoxon { .. }
            | Self::Auto { .. }
            | Self::Population(_) => None,
        }
    }

    /// Whether trials wait at rungs until it is known who goes on.
    #[must_use]
    pub fn pauses(&self) -> bool {
        matches!(
            self,
            Self::AshaPromotion(_) | Self::SuccessiveHalving(_) | Self::Hyperband(_)
        )
    }
}

/// A ladder of fidelities: `max_iter`, `max_iter / eta`, `max_iter / eta²`, … not below `min_iter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rungs {
    /// The lowest rung is not below this many steps. At least 1.
    pub min_iter: u64,
    /// The full length of a trial in steps. At least `min_iter`.
    pub max_iter: u64,
    /// One trial in this many goes on. At least 2.
    pub eta: u32,
}

impl Rungs {
    /// As `max_iter`: nothing says how long a trial is, and rungs go on for ever (`min_iter`, `min_iter · eta`,
    /// `min_iter · eta²`, …), as those of a W&B sweep with `min_iter` alone.
    pub const OPEN: u64 = u64::MAX;

    /// Whether nothing says how long a trial is.
    #[must_use]
    pub fn is_open(self) -> bool {
        self.max_iter == Self::OPEN
    }

    /// The steps of the rungs, rising; the last is `max_iter`.
    #[must_use]
    pub fn levels(self) -> Vec<u64> {
        if self.is_open() {
            // No trial comes further than this.
            const FURTHEST: u64 = 1 << 50;
            let first = Some(self.min_iter.max(1));
            let eta = u64::from(self.eta.max(2));
            let up = std::iter::successors(first, |level| level.checked_mul(eta));
            return up
                .take_while(|level| *level < FURTHEST)
                .chain([Self::OPEN])
                .collect();
        }
        let mut levels = vec![self.max_iter];
        let mut level = self.max_iter as f64 / f64::from(self.eta);
        while level.round() as u64 >= self.min_iter.max(1) {
            let rounded = level.round() as u64;
            if levels.last() != Some(&rounded) {
                levels.push(rounded);
            }
            level /= f64::from(self.eta);
        }
        levels.reverse();
        levels
    }

    /// The brackets of one round of Hyperband, from many short trials to few long ones: for each the
    /// index of its first rung in [`Rungs::levels`], and how many trials start there.
    ///
    /// With S rungs, bracket s = S − 1, …, 0 starts ⌈S / (s + 1) · eta^s⌉ trials s rungs below the
    /// full length (Li et al., JMLR 18(185), 2018; arXiv 1603.06560, algorithm 1).
    #[must_use]
    pub fn hyperband_brackets(self) -> Vec<(usize, u64)> {
        let count = self.levels().len();
        let trials = |s: usize| {
            let power = u64::from(self.eta).saturating_pow(u32::try_from(s).unwrap_or(u32::MAX));
            power.saturating_mul(count as u64).div_ceil(s as u64 + 1)
        };
        (0..count)
            .map(|first| (first, trials(count - 1 - first)))
            .collect()
    }
}

/// What of the machine's processors may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cpu {
    /// Most trials at once; `None`: as many as the machine has cores.
    pub max_parallel: Option<u32>,
    /// Most main memory of all trials together, in bytes; `None`: it is not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<u64>,
}

/// What happens when trials fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// How often a trial whose process crashed is started again.
    pub crash_retries: u32,
    /// The study stops after this many trials in a row that failed alike, since something common to
    /// all is wrong (after [`Failure::UNLIKE`] times as many whatever they failed of); 0: never.
    pub stop_after_consecutive: u32,
    /// What becomes of a trial that ran out of memory.
    #[serde(default)]
    pub oom: OomPolicy,
    /// How often a trial whose process vanished under a living coordinator is started again.
    #[serde(default = "lost_retries")]
    pub lost_retries: u32,
    /// A process that reports and prints nothing for this long is ended and tried again once; `None`:
    /// it may be silent for ever.
    #[serde(default)]
    pub stall_timeout: Option<Duration>,
    /// How long a trial may run, all of its processes together; `None`: as long as it takes.
    #[serde(default)]
    pub trial_time_limit: Option<Duration>,
}

fn lost_retries() -> u32 {
    Failure::default().lost_retries
}

impl Failure {
    /// So many times as many trials in a row may fail when they do not fail alike.
    pub const UNLIKE: u32 = 3;
}

impl Default for Failure {
    fn default() -> Self {
        Self {
            crash_retries: 1,
            oom: OomPolicy::Retry,
            stop_after_consecutive: 5,
            lost_retries: 5,
            stall_timeout: None,
            trial_time_limit: None,
        }
    }
}

/// What becomes of running trials when the coordinator dies (`kill -9`, out of memory).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnCrash {
    /// They run on, and the next coordinator adopts them.
    #[default]
    Adopt,
    /// They are killed with it.
    Kill,
}

/// Who is told when something happens to the study.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Notify {
    /// Of what.
    pub on: Vec<NotifyEvent>,
    /// A program to be started, with macros in its arguments; empty: none.
    pub command: Vec<String>,
    /// An address that messages are posted to, with `${envvar:NAME}` in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<String>,
    /// The shortest time between two messages of a new best.
    pub new_best_interval: Duration,
}

impl Notify {
    /// Whether anybody is told of anything.
    #[must_use]
    pub fn is_off(&self) -> bool {
        (self.command.is_empty() && self.webhook.is_none()) || self.on.is_empty()
    }
}

/// What can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotifyEvent {
    /// The study has come to its end with a best trial.
    Done,
    /// The study has come to its end without one, too many trials failed, or `hpo` had to give up.
    Failed,
    /// A trial stalled and was ended.
    Stalled,
    /// A trial is better than all before.
    NewBest,
}

impl NotifyEvent {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Done, Self::Failed, Self::Stalled, Self::NewBest];

    /// Its name in study files.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Stalled => "stalled",
            Self::NewBest => "new_best",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rungs_rise_to_the_full_length() {
        let rungs = |min_iter, max_iter, eta| {
            Rungs {
                min_iter,
                max_iter,
                eta,
            }
            .levels()
        };
        assert_eq!(rungs(1, 27, 3), [1, 3, 9, 27]);
        assert_eq!(rungs(3, 30, 3), [3, 10, 30]);
        assert_eq!(rungs(2, 3, 2), [2, 3]);
        assert_eq!(rungs(1, 1, 2), [1]);
    }

    #[test]
    fn nan_is_worse_than_any_number() {
        assert!(Goal::Minimize.better(5.0, f64::NAN));
        assert!(Goal::Maximize.better(-5.0, f64::NAN));
        assert!(!Goal::Maximize.better(f64::NAN, -5.0));
    }
}
