//! The plan of a study: what running it would mean, worked out before anything is run.

use serde::Serialize;

use hpo_recipe::{Config, Horizon, OptimizerSetting, Schedule, Value};

use crate::law::Law;
use crate::need;
use crate::space::{Clause, Domain, Scale, Space};
use crate::spec::{EarlyTerminate, Job, Method, Rungs, StudySpec};

/// What running a study would mean.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// What is searched: one entry per branch of each parameter, constants among them.
    pub dimensions: Vec<Dimension>,
    /// How many different configurations there are.
    pub configurations: GridSize,
    /// How many trials are expected; `None`: as many as the time allows.
    pub trials: Option<u64>,
    /// Steps (epochs) of a whole trial, where the study says it.
    pub full_length: Option<u64>,
    /// The brackets of the stopping rule; empty without rungs.
    pub brackets: Vec<Bracket>,
    /// Steps (epochs) if every trial ran to its end: no study takes more.
    pub most_steps: Option<u64>,
    /// Steps (epochs) if at each rung exactly one trial in `eta` went on and trials go on from
    /// their checkpoints.
    pub expected_steps: Option<u64>,
    /// Memory of the model under each optimizer, where the model's size is known.
    pub memory: Vec<OptimizerMemory>,
    /// The learning-rate curve of each schedule, with its knobs at their defaults.
    pub schedules: Vec<ScheduleCurve>,
}

/// One branch of a parameter.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Dimension {
    /// The parameter's name.
    pub parameter: String,
    /// What it can be, for people: `1e-4 to 0.1, log`.
    pub domain: String,
    /// When, for people: `optimizer = sgd or momentum`; `None`: always.
    pub when: Option<String>,
    /// How many values; `None`: a continuous range.
    pub values: Option<u64>,
}

/// How many different configurations a space has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GridSize {
    /// So many.
    Points(u64),
    /// Countable, but more than this.
    MoreThan(u64),
    /// At least one parameter is a continuous range.
    Uncountable,
}

/// A ladder of rungs on which trials compete.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bracket {
    /// The rungs, lowest first; the last is the full length.
    pub rungs: Vec<Rung>,
    /// What the bracket costs, in whole trainings.
    pub full_trainings: f64,
}

/// One rung.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Rung {
    /// Steps (epochs) at which trials are compared.
    pub step: u64,
    /// Trials that reach it.
    pub trials: u64,
}

/// Memory of the model under one optimizer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OptimizerMemory {
    /// The optimizer's name.
    pub optimizer: String,
    /// float32 copies of the parameters that it keeps as state.
    pub state_copies: u32,
    /// Bytes of weights, gradients and state together; activations are not counted.
    pub bytes: u64,
}

/// A schedule's learning rate over a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScheduleCurve {
    /// The schedule's name.
    pub schedule: String,
    /// Share of the run, and learning rate as a share of the configured one.
    pub points: Vec<(f64, f64)>,
}

/// Works out what running a study would mean.
#[must_use]
pub fn plan(spec: &StudySpec) -> Plan {
    const MOST_COUNTED: u64 = 1_000_000;
    let configurations = grid_size(&spec.space, MOST_COUNTED);
    let cap = spec.run_cap.map(u64::from);
    let trials = match (spec.method, configurations) {
        // No configuration comes twice; a single one is run as often as asked.
        (method, GridSize::Points(points))
            if method == Method::Grid || (points > 1 && !spec.allow_duplicates) =>
        {
            Some(cap.map_or(points, |cap| cap.min(points)))
        }
        _ => cap,
    };
    let population = match &spec.early_terminate {
        EarlyTerminate::Population(population) => Some(population),
        _ => None,
    };
    let size = population.map(|p| u64::from(p.size));
    let trials = population.map_or(trials, |p| size.map(|n| n.saturating_mul(p.generations())));
    let full_length = spec.max_steps();
    let brackets = brackets(&spec.early_terminate, trials);
    let seeds = u64::from(spec.repeats.unwrap_or(1));
    let most_steps = size
        .or(trials)
        .zip(full_length)
        .map(|(n, steps)| n.saturating_mul(steps).saturating_mul(seeds));
    Plan {
        dimensions: dimensions(&spec.space),
        configurations,
        trials,
        full_length,
        most_steps,
        expected_steps: expected_steps(&spec.early_terminate, &brackets, trials).or(most_steps),
        brackets,
        memory: memory(spec),
        schedules: schedules(spec),
    }
}

fn dimensions(space: &Space) -> Vec<Dimension> {
    let mut dimensions = Vec::new();
    for parameter in &space.parameters {
        for branch in &parameter.branches {
            let clauses: Vec<String> = branch.when.0.iter().map(describe_clause).collect();
            dimensions.push(Dimension {
                parameter: parameter.name.clone(),
                domain: describe(&branch.domain),
                when: (!clauses.is_empty()).then(|| clauses.join(" and ")),
                values: branch.domain.cardinality(),
            });
        }
    }
    dimensions
}

/// A demand of a condition, for people: `optimizer = sgd or momentum`.
#[must_use]
pub fn describe_clause(clause: &Clause) -> String {
    let values: Vec<String> = clause.any_of.iter().map(Value::to_string).collect();
    format!("{} = {}", clause.parameter, values.join(" or "))
}

/// A domain for people.
fn describe(domain: &Domain) -> String {
    let number = |x: f64| Value::Float(x).to_string();
    match domain {
        Domain::Constant(value) => format!("always {value}"),
        Domain::Categorical { choices, weights } => {
            let choices: Vec<String> = choices
                .iter()
                .enumerate()
                .map(
                    |(i, choice)| match weights.as_ref().and_then(|w| w.get(i)) {
                        Some(weight) => format!("{choice} ({:.0} %)", weight * 100.0),
                        None => choice.to_string(),
                    },
                )
                .collect();
            format!("one of {}", choices.join(", "))
        }
        Domain::Law { law, step, whole } => {
            let mut text = match law {
                Law::Normal { mu, sigma } => {
                    format!("normal: {} ± {}", number(*mu), number(*sigma))
                }
                Law::LogNormal { mu, sigma } => {
                    format!("log-normal: e^({} ± {})", number(*mu), number(*sigma))
                }
                Law::Beta { a, b } => format!("beta({}, {})", number(*a), number(*b)),
            };
            match step {
                Some(q) if *whole && *q == 1.0 => text.push_str(", whole"),
                Some(q) => text.push_str(&format!(", multiples of {}", number(*q))),
                None => {}
            }
            text
        }
        Domain::Int {
            low,
            high,
            log,
            step,
        } => {
            let mut text = format!("whole, {low} to {high}");
            if *step != 1 {
                text.push_str(&format!(", every {step}"));
            }
            text.push_str(if *log { ", log" } else { "" });
            text
        }
        Domain::Float {
            low,
            high,
            scale,
            step,
        } => {
            let mut text = format!("{} to {}", number(*low), number(*high));
            text.push_str(match scale {
                Scale::Linear => "",
                Scale::Log => ", log",
                Scale::OneMinusLog => ", log of 1 - value",
            });
            if let Some(step) = step {
                text.push_str(&format!(", multiples of {}", number(*step)));
            }
            text
        }
    }
}

/// Counts the configurations of a space, conditions respected, up to `most`.
///
/// Only parameters that conditions look at are gone through; the others multiply.
#[must_use]
pub fn grid_size(space: &Space, most: u64) -> GridSize {
    let branches = space.parameters.iter().flat_map(|p| &p.branches);
    if branches.clone().any(|b| b.domain.cardinality().is_none()) {
        return GridSize::Uncountable;
    }
    let looked_at: std::collections::HashSet<&str> = branches
        .flat_map(|b| &b.when.0)
        .map(|clause| clause.parameter.as_str())
        .collect();
    let mut steps = 0;
    let counter = Counter {
        space,
        looked_at: &looked_at,
        most,
    };
    match counter.count(0, 1, &mut Config::new(), &mut steps) {
        Some(points) if points <= most => GridSize::Points(points),
        _ => GridSize::MoreThan(most),
    }
}

struct Counter<'a> {
    space: &'a Space,
    looked_at: &'a std::collections::HashSet<&'a str>,
    most: u64,
}

impl Counter<'_> {
    /// Points of the grid from parameter `index` on, times `factor`; `None`: too many.
    fn count(
        &self,
        mut index: usize,
        mut factor: u64,
        config: &mut Config,
        steps: &mut u64,
    ) -> Option<u64> {
        while let Some(parameter) = self.space.parameters.get(index) {
            *steps += 1;
            // Every step below a choice stands for at least one point of the grid, times its depth.
            if *steps > self.most.saturating_mul(20) || factor > self.most {
                return None;
            }
            if let Some(domain) = parameter.active_domain(config) {
                if self.looked_at.contains(parameter.name.as_str()) {
                    let mut sum: u64 = 0;
                    for value in domain.values(self.most)? {
                        config.set(parameter.name.clone(), value);
                        let below = self.count(index + 1, factor, config, steps)?;
                        sum = sum.checked_add(below).filter(|sum| *sum <= self.most)?;
                    }
                    config.remove(&parameter.name);
                    return Some(sum);
                }
                factor = factor.checked_mul(domain.cardinality()?)?;
            }
            index += 1;
        }
        Some(factor)
    }
}

/// The brackets of a stopping rule.
///
/// ASHA and successive halving have one, in which of `n` trials `n / eta^k` reach rung k.
/// Hyperband's are [`Rungs::hyperband_brackets`].
fn brackets(rule: &EarlyTerminate, trials: Option<u64>) -> Vec<Bracket> {
    match rule {
        EarlyTerminate::None
        | EarlyTerminate::Median { .. }
        | EarlyTerminate::Percentile { .. }
        | EarlyTerminate::Wilcoxon { .. }
        | EarlyTerminate::Patient { .. }
        | EarlyTerminate::Auto { .. }
        | EarlyTerminate::Population(_) => Vec::new(),
        // Rungs without end: nobody knows how many a trial will come to.
        EarlyTerminate::Asha(rungs) if rungs.is_open() => Vec::new(),
        EarlyTerminate::Asha(rungs)
        | EarlyTerminate::AshaPromotion(rungs)
        | EarlyTerminate::SuccessiveHalving(rungs) => {
            let levels = rungs.levels();
            let smallest = power(rungs.eta, levels.len().saturating_sub(1));
            vec![ladder(&levels, trials.unwrap_or(smallest), rungs)]
        }
        EarlyTerminate::Hyperband(rungs) => {
            let levels = rungs.levels();
            let brackets = rungs.hyperband_brackets().into_iter();
            brackets
                .map(|(first, n)| ladder(levels.get(first..).unwrap_or_default(), n, rungs))
                .collect()
        }
    }
}

fn power(eta: u32, exponent: usize) -> u64 {
    u64::from(eta).saturating_pow(u32::try_from(exponent).unwrap_or(u32::MAX))
}

fn ladder(levels: &[u64], trials: u64, rungs: &Rungs) -> Bracket {
    let rungs_of: Vec<Rung> = levels
        .iter()
        .enumerate()
        .map(|(k, step)| Rung {
            step: *step,
            trials: (trials / power(rungs.eta, k)).max(1),
        })
        .collect();
    let full_trainings = steps_of(&rungs_of) as f64 / rungs.max_iter.max(1) as f64;
    Bracket {
        rungs: rungs_of,
        full_trainings,
    }
}

/// Steps of a bracket whose trials go on from their checkpoints.
fn steps_of(rungs: &[Rung]) -> u64 {
    let mut below = 0;
    let mut sum: u64 = 0;
    for rung in rungs {
        sum = sum.saturating_add(rung.trials.saturating_mul(rung.step.saturating_sub(below)));
        below = rung.step;
    }
    sum
}

fn expected_steps(rule: &EarlyTerminate, brackets: &[Bracket], trials: Option<u64>) -> Option<u64> {
    let trials = trials?;
    let steps: u64 = brackets
        .iter()
        .map(|b| steps_of(&b.rungs))
        .fold(0, u64::saturating_add);
    match rule {
        EarlyTerminate::None
        | EarlyTerminate::Median { .. }
        | EarlyTerminate::Percentile { .. }
        | EarlyTerminate::Wilcoxon { .. }
        | EarlyTerminate::Patient { .. }
        | EarlyTerminate::Auto { .. }
        | EarlyTerminate::Population(_) => None,
        EarlyTerminate::Asha(_)
        | EarlyTerminate::AshaPromotion(_)
        | EarlyTerminate::SuccessiveHalving(_) => Some(steps),
        EarlyTerminate::Hyperband(_) => {
            let started: u64 = brackets
                .iter()
                .filter_map(|b| b.rungs.first())
                .map(|r| r.trials)
                .sum();
            let share = trials as f64 / started.max(1) as f64;
            Some((steps as f64 * share).round() as u64)
        }
    }
}

/// Memory under each optimizer the study can choose, for models whose size the study gives.
fn memory(spec: &StudySpec) -> Vec<OptimizerMemory> {
    let Job::Trainer(trainer) = &spec.job else {
        return Vec::new();
    };
    let Some(parameters) = need::parameter_count(trainer, None) else {
        return Vec::new();
    };
    choices_of(&spec.space, "optimizer")
        .into_iter()
        .filter_map(|name| {
            let config = Config::from_iter([("optimizer", Value::Text(name.clone()))]);
            let state_copies = OptimizerSetting::from_config(&config).ok()?.state_copies();
            let bytes = need::model_bytes(parameters, state_copies);
            Some(OptimizerMemory {
                optimizer: name,
                state_copies,
                bytes,
            })
        })
        .collect()
}

/// Every text that a parameter can be.
fn choices_of(space: &Space, name: &str) -> Vec<String> {
    let mut names = Vec::new();
    for branch in space.parameter(name).map_or(&[][..], |p| &p.branches) {
        for value in branch.domain.values(1000).unwrap_or_default() {
            if let Value::Text(text) = value
                && !names.contains(&text)
            {
                names.push(text);
            }
        }
    }
    names
}

/// The curve of each schedule the study can choose, over a run of its length.
fn schedules(spec: &StudySpec) -> Vec<ScheduleCurve> {
    const POINTS: usize = 60;
    const STEPS: u64 = 1000;
    let epochs = spec.max_steps().unwrap_or(1).max(1);
    let steps_per_epoch = (STEPS / epochs).max(1);
    let horizon = Horizon {
        total_steps: steps_per_epoch.saturating_mul(epochs),
        steps_per_epoch,
    };
    choices_of(&spec.space, "schedule")
        .into_iter()
        .filter_map(|name| {
            let config = Config::from_iter([("schedule", Value::Text(name.clone()))]);
            let schedule = Schedule::from_config(&config, 1.0, Some(0.9), horizon).ok()?;
            Some(ScheduleCurve {
                schedule: name,
                points: schedule.curve(POINTS),
            })
        })
        .collect()
}
