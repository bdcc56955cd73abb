//! Random workloads for the simulated GPUs: a study, a machine, and what each trial's process does.

use std::time::Duration;

use hpo_study::memory::{GIB, MIB};
use hpo_study::seed::{self, Purpose};
use hpo_study::{
    Branch, Condition, Config, Divergence, DivergencePolicy, Domain, Failure, Goal, GpuSpec, Job,
    LimitFor, Method, Metric, Parameter, Scale, Space, StudySpec, TrialId, Value, need,
};

use super::gpu::{Load, Machine, Readings, Trace, oracle};
use crate::gpu::GpuMemory;

/// What is not as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing: needs depend on batch, width and optimizer, with some noise; validation takes little more.
    None,
    /// The largest trials need more than the limit.
    TooLarge,
    /// Half of the trials need up to 40 % more from some validation on.
    Bumps,
    /// One trial in eight grows for as long as it runs.
    Leaks,
    /// Processes of other people come, grow and go.
    Foreign,
    /// The driver does not say which process uses how much.
    NoProcesses,
    /// The driver says nothing of memory.
    Nothing,
    /// Every third reading is the one before once more.
    Stale,
    /// The first GPU is lost for a while.
    Lost,
}

impl Trouble {
    /// All kinds.
    pub const ALL: [Self; 9] = [
        Self::None,
        Self::TooLarge,
        Self::Bumps,
        Self::Leaks,
        Self::Foreign,
        Self::NoProcesses,
        Self::Nothing,
        Self::Stale,
        Self::Lost,
    ];

    /// Whether it makes trials, or others, use memory that nobody could have foreseen, or hides what they use.
    #[must_use]
    pub fn is_adversarial(self) -> bool {
        !matches!(self, Self::None | Self::Lost)
    }
}

/// A study, a machine, and what the study's trials do.
#[derive(Debug, Clone)]
pub struct Workload {
    seed: u64,
    trouble: Trouble,
    context: f64,
    model: f64,
    activations: f64,
    minutes: f64,
    /// The study.
    pub spec: StudySpec,
    /// The machine.
    pub machine: Machine,
}

impl Workload {
    /// The workload of a seed: one to three GPUs, limits of 6 to 24 GiB, trials of 3 % to 100 % of what is left of
    /// that (to 130 % where the trouble is just this).
    #[must_use]
    pub fn random(seed: u64, trouble: Trouble, trials: u32) -> Self {
        let draw = |what| unit(seed, u32::MAX, what);
        let limit = 6.0 + (18.0 * draw(0)).floor();
        let over = if trouble == Trouble::TooLarge {
            0.5
        } else {
            0.0
        };
        let room = limit * GIB as f64 - 512.0 * MIB as f64;
        let largest = room * (0.5 + 0.4 * draw(1) + over * draw(9));
        let context = (250.0 + 300.0 * draw(2)) * MIB as f64;
        let share = 0.3 + 0.5 * draw(3);
        let cards = 1 + (3.0 * draw(4)) as usize;
        let total = ((limit * (1.0 + 2.0 * draw(5))) as u64) * GIB;
        let card = GpuMemory {
            total,
            used: 0,
            reserved: 300 * MIB,
        };
        let limit = (limit as u64 * GIB).min(total - card.reserved);
        let spec = study(seed, trials, limit);
        let minutes = 8.0 + 22.0 * draw(6);
        let machine = Machine {
            cards: vec![card; cards],
            slots: 32,
            foreign: (0..cards)
                .map(|gpu| foreign(seed, trouble, gpu, limit))
                .collect(),
            readings: match trouble {
                Trouble::NoProcesses => Readings::NoProcesses,
                Trouble::Nothing => Readings::Nothing,
                _ => Readings::Whole,
            },
            period: Duration::from_millis(if draw(7) < 0.5 { 100 } else { 200 }),
            stale_every: if trouble == Trouble::Stale { 3 } else { 0 },
            lost: (trouble == Trouble::Lost).then(|| {
                let from = minutes * 60.0 * (1.0 + 3.0 * draw(8));
                (
                    Duration::from_secs_f64(from),
                    Duration::from_secs_f64(from + 1200.0),
                )
            }),
        };
        Self {
            seed,
            trouble,
            context,
            model: (largest - context) * (1.0 - share) / (16.0 * 4.0),
            activations: (largest - context) * share / 4.0,
            minutes,
            spec,
            machine,
        }
    }

    /// What a trial's process does.
    #[must_use]
    pub fn load(&self, trial: TrialId, config: &Config) -> Load {
        const STEPS: u64 = 20;
        let draw = |what| unit(self.seed, trial.0, what);
        let width = config.number("width").unwrap_or(1.0);
        let batch = config.number("batch_size").unwrap_or(1.0) / 128.0;
        let copies = f64::from(need::state_copies(config).unwrap_or(0));
        let noise = (0.02 * normal(draw(0), draw(1))).exp();
        let held = self.context + self.model * width * width * (2.0 + copies) * noise;
        let peak = held + self.activations * width * batch * noise;
        let long = self.minutes * 60.0 * (0.5 * normal(draw(2), draw(3))).exp();
        let step = Duration::from_secs_f64(long.clamp(60.0, 14_400.0) / STEPS as f64);
        let at = Duration::from_secs_f64;
        let weights = self.context + self.model * width * width;
        let mut points = vec![
            (at(0.5), 0),
            (at(2.0 + 3.0 * draw(4)), self.context as u64),
            (at(7.0), weights as u64),
            (at(8.0 + 2.0 * draw(5)), weights as u64),
            (at(12.0 + 4.0 * draw(6)), peak as u64),
        ];
        let begin = at(5.0) + step;
        let mut bump = |after: u32, more: f64| {
            let from = begin + step * after;
            points.push((from, points.last().map_or(0, |p| p.1)));
            points.push((from + at(1.0), (peak * (1.0 + more)) as u64));
        };
        match self.trouble {
            Trouble::Bumps if draw(7) < 0.5 => bump((6.0 * draw(8)) as u32, 0.05 + 0.35 * draw(9)),
            Trouble::Leaks if draw(7) < 0.125 => {
                points.push((begin, peak as u64));
                points.push((begin + step * 20, (peak * (1.2 + 1.5 * draw(8))) as u64));
            }
            _ => bump(0, 0.015 * draw(8)),
        }
        Load {
            trace: Trace(points),
            step,
            steps: STEPS,
        }
    }

    /// What a trial can be given at most on a GPU, in bytes.
    #[must_use]
    pub fn room(&self) -> u64 {
        let gpu = self.spec.gpu.clone().unwrap_or_default();
        let limit = gpu.memory_limit.unwrap_or(0);
        limit.saturating_sub(gpu.headroom)
    }

    /// When trials end for somebody who knows every peak, and what others will use. Whoever needs more than there is
    /// gets all of a GPU.
    #[must_use]
    pub fn oracle<'t>(&self, trials: impl Iterator<Item = (TrialId, &'t Config)>) -> Vec<Duration> {
        let known = trials.map(|(trial, config)| {
            let load = self.load(trial, config);
            let steps = u32::try_from(load.steps).unwrap_or(u32::MAX);
            (
                load.trace.peak().min(self.room()),
                load.step * steps + Duration::from_secs(5),
            )
        });
        let known: Vec<(u64, Duration)> = known.collect();
        let cards = self.machine.cards.len();
        oracle(
            &known,
            &vec![self.room(); cards],
            &self.machine.foreign,
            self.machine.slots,
            None,
            cards.max(2),
        )
    }
}

fn study(seed: u64, trials: u32, limit: u64) -> StudySpec {
    let choice = |name: &str, choices: Vec<Value>| {
        let domain = Domain::Categorical {
            choices,
            weights: None,
        };
        parameter(name, domain)
    };
    let numbers = |list: &[f64]| list.iter().copied().map(Value::Float).collect();
    let optimizers = ["sgd", "momentum", "adam"];
    let lr = Domain::Float {
        low: 1e-5,
        high: 0.1,
        scale: Scale::Log,
        step: None,
    };
    let metric = Metric {
        name: "loss".to_owned(),
        goal: Goal::Minimize,
    };
    let space = Space {
        parameters: vec![
            choice("batch_size", numbers(&[16.0, 32.0, 64.0, 128.0])),
            parameter("lr", lr),
            choice(
                "optimizer",
                optimizers
                    .iter()
                    .map(|o| Value::Text((*o).to_owned()))
                    .collect(),
            ),
            choice("width", numbers(&[1.0, 1.5, 2.0, 3.0, 4.0])),
        ],
    };
    StudySpec {
        seed,
        run_cap: Some(trials),
        divergence: Divergence {
            policy: DivergencePolicy::Off,
            ..Divergence::default()
        },
        gpu: Some(GpuSpec {
            memory_limit: Some(limit),
            limit_for: LimitFor::Card,
            size_parameters: vec!["width".to_owned()],
            ..GpuSpec::default()
        }),
        failure: Failure {
            stop_after_consecutive: 0,
            ..Failure::default()
        },
        ..StudySpec::new(
            "simulated",
            Job::command(&["train"]),
            Method::Random,
            metric,
            space,
        )
    }
}

fn parameter(name: &str, domain: Domain) -> Parameter {
    Parameter {
        name: name.to_owned(),
        branches: vec![Branch {
            when: Condition::default(),
            domain,
        }],
    }
}

/// Other people's processes: every hour or two one comes, grows to a share of the limit, and goes.
fn foreign(seed: u64, trouble: Trouble, gpu: usize, limit: u64) -> Trace {
    if trouble != Trouble::Foreign {
        return Trace::default();
    }
    let gpu = u32::try_from(gpu).unwrap_or(0);
    let mut points = Vec::new();
    let mut at = 0.0;
    for visit in 0..40 {
        let draw = |what| unit(seed ^ 77, gpu * 1000 + visit, what);
        at += 1800.0 + 5400.0 * draw(0);
        let size = (limit as f64 * 0.4 * draw(1)) as u64;
        let time = Duration::from_secs_f64;
        points.push((time(at), 0));
        points.push((time(at + 5.0 + 20.0 * draw(2)), size));
        at += 60.0 + 3000.0 * draw(3);
        points.push((time(at), size));
        at += 1.0;
        points.push((time(at), 0));
    }
    Trace(points)
}

/// A number in [0, 1), of a seed, a trial and what it is for.
fn unit(seed: u64, trial: u32, what: u64) -> f64 {
    let bits = seed::derive(seed ^ (what << 40), TrialId(trial), Purpose::Training);
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

/// A standard normal number of two uniform ones (Box & Muller, 1958).
fn normal(a: f64, b: f64) -> f64 {
    (-2.0 * (1.0 - a).ln()).sqrt() * (std::f64::consts::TAU * b).cos()
}
