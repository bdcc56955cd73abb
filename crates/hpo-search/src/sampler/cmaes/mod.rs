//! CMA-ES with margin: a normal distribution that moves to where the best trials are and takes on the shape of the loss
//! there, for numbers of any kind ([`gaussian`]), and a distribution of its own for each choice ([`categories`]).
//!
//! - Every parameter has a dimension, also where it is not active: an inactive one keeps the coordinate that was drawn for
//!   it. (Optuna's sampler searches only what all configurations have in common and draws the rest at random.) All
//!   continuous branches of a parameter share one; what has steps has limits between its values, by which the margin
//!   keeps neighbouring values alive. Choices are no dimensions.
//! - A generation is the next so many trials that have told something, whoever asked first: more trials at once
//!   than a population has simply draw more from the same distribution. What was drawn from an older distribution, or
//!   came from elsewhere (`hpo enqueue`), is pulled in to a distance that draws have.
//! - The first trial is in the middle of all numbers.
//! - Infeasible trials are worse than all others. Trials that were stopped early stand where they stood then.
//! - A configuration that was tried already is not run again: what it told then is told once more.
//! - When nothing is to be expected any more, it begins anew somewhere else with twice the population (IPOP: Auger &
//!   Hansen, "A restart CMA evolution strategy with increasing population size", CEC 2005).
//!
//! Nothing but the events is kept: what was drawn for a trial is drawn again from its seed when its event is seen.

mod categories;
mod gaussian;

use std::collections::HashMap;
use std::sync::Arc;

use rand::Rng as _;

use hpo_study::seed::{Purpose, derive};
use hpo_study::{Config, Domain, Event, EventKind, History, Space, StudySpec, TrialId};

use self::categories::Categories;
use self::gaussian::{Gaussian, Place};
use super::encoding::{Candidate, Kind, Point, fingerprint};
use super::observations::{ImportsSeen, Observations, is_prior_only};
use crate::{Rng, Sampler, stream};

/// The deviation at the beginning, in shares of a range.
const SIGMA: f64 = 1.0 / 6.0;
/// Most dimensions; parameters beyond are drawn at random. One update takes time with their third power.
const MOST_DIMENSIONS: usize = 256;
/// Most values that are told apart along a dimension; one with more is continuous.
const MOST_CELLS: u64 = 1024;
/// Draws of a configuration that no trial has had yet, before one is drawn at random.
const DRAWS: usize = 200;
/// Most times that the population is doubled.
const MOST_DOUBLINGS: u32 = 5;
/// What differs by less than this share of a range is the same.
const TOLERANCE: f64 = 1e-7;

/// What stands for a branch of a parameter.
#[derive(Clone, Copy)]
enum Slot {
    /// Nothing: there is one value only, or no dimension is left.
    None,
    Dimension(usize),
    Choice(usize),
}

/// Where each branch of each parameter is found in a sample.
struct Layout {
    slots: Vec<Vec<Slot>>,
    grids: Arc<Vec<Vec<f64>>>,
    /// For each choice the shares that its values have at random.
    shares: Vec<Vec<f64>>,
}

impl Layout {
    fn new(space: &Space, kinds: impl Fn(usize) -> Vec<Kind>) -> Self {
        let (mut grids, mut shares) = (Vec::new(), Vec::new());
        let mut slots = Vec::with_capacity(space.parameters.len());
        for (index, parameter) in space.parameters.iter().enumerate() {
            // The dimensions of this parameter's branches.
            let mut own: Vec<usize> = Vec::new();
            let mut slot = |(kind, domain): (Kind, &Domain)| match kind {
                Kind::Fixed => Slot::None,
                Kind::Choice { shares: of } => {
                    shares.push(of);
                    Slot::Choice(shares.len() - 1)
                }
                Kind::Number { .. } => {
                    let limits = limits(domain);
                    match own.iter().find(|d| grids.get(**d) == Some(&limits)) {
                        Some(dimension) => Slot::Dimension(*dimension),
                        None if grids.len() >= MOST_DIMENSIONS => Slot::None,
                        None => {
                            grids.push(limits);
                            own.push(grids.len() - 1);
                            Slot::Dimension(grids.len() - 1)
                        }
                    }
                }
            };
            let domains = parameter.branches.iter().map(|b| &b.domain);
            let branches = kinds(index).into_iter().zip(domains).map(&mut slot);
            slots.push(branches.collect());
        }
        Self {
            slots,
            grids: Arc::new(grids),
            shares,
        }
    }

    /// The population's size at the beginning: that of the tutorial (equation 48).
    fn population(&self) -> usize {
        let n = (self.grids.len() + self.shares.len()).max(1) as f64;
        4 + (3.0 * n.ln()) as usize
    }
}

/// The limits in the unit interval between a domain's values, rising; none where they cannot be told apart.
fn limits(domain: &Domain) -> Vec<f64> {
    let Some(values) = domain.values(MOST_CELLS) else {
        return Vec::new();
    };
    let mut limits = Vec::with_capacity(values.len());
    for pair in values.windows(2) {
        let (Some(mut low), Some(mut high)) = (domain.unit(&pair[0]), domain.unit(&pair[1])) else {
            return Vec::new();
        };
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            match domain.at(middle).same(&pair[0]) {
                true => low = middle,
                false => high = middle,
            }
        }
        limits.push(high);
    }
    match limits.is_sorted_by(|a, b| a < b) {
        true => limits,
        false => Vec::new(),
    }
}

/// What was drawn for a trial.
#[derive(Clone)]
struct Sample {
    /// A coordinate for each dimension, and for each choice the index of what is chosen.
    place: Vec<f64>,
    choices: Vec<usize>,
    /// For each choice whether it is active.
    is_active: Vec<bool>,
    /// The distribution it was drawn from; `None`: it came from elsewhere.
    generation: Option<u32>,
}

/// The distribution, and what has been told to it.
#[derive(Clone)]
struct Run {
    /// `None`: there is no number to be chosen.
    gaussian: Option<Gaussian>,
    categories: Categories,
    population: usize,
    doublings: u32,
    /// The distribution's number.
    generation: u32,
    /// What was told since, with its index among all that was told.
    told: Vec<(Sample, usize)>,
    /// Since how many generations the best and the worst are the same.
    flat: usize,
    /// The best and the worst loss of the last one.
    losses: (f64, f64),
}

impl Run {
    fn new(layout: &Layout, doublings: u32, mean: Vec<f64>) -> Self {
        let population = layout.population() << doublings.min(MOST_DOUBLINGS);
        let grids = layout.grids.clone();
        let discrete = grids.iter().filter(|limits| !limits.is_empty()).count();
        Self {
            gaussian: (!grids.is_empty()).then(|| Gaussian::new(grids, population, mean, SIGMA)),
            categories: Categories::new(&layout.shares, discrete, population),
            population,
            doublings,
            generation: 0,
            told: Vec::new(),
            flat: 0,
            losses: (f64::NAN, f64::NAN),
        }
    }

    fn draw(&self, rng: &mut Rng) -> Sample {
        Sample {
            place: self.gaussian.as_ref().map_or(Vec::new(), |g| g.draw(rng)),
            choices: self.categories.draw(rng),
            is_active: Vec::new(),
            generation: Some(self.generation),
        }
    }

    /// Takes in what a trial has told; when that makes a generation, learns from it.
    fn tell(
        &mut self,
        layout: &Layout,
        seed: u64,
        seen: &Observations,
        sample: Sample,
        told: usize,
    ) {
        self.told.push((sample, told));
        if self.told.len() < self.population {
            return;
        }
        let rank: HashMap<usize, usize> = {
            let order = seen.order().iter().enumerate();
            order.map(|(rank, told)| (*told, rank)).collect()
        };
        let mut told = std::mem::take(&mut self.told);
        told.sort_by_key(|(_, told)| rank.get(told));
        let places = told.iter().map(|(sample, _)| Place {
            at: &sample.place,
            is_current: sample.generation == Some(self.generation),
        });
        let places: Vec<Place<'_>> = places.collect();
        if let Some(gaussian) = &mut self.gaussian {
            gaussian.update(&places);
        }
        let active = |sample: &Sample| -> Vec<Option<usize>> {
            let both = sample.choices.iter().zip(&sample.is_active);
            both.map(|(choice, active)| active.then_some(*choice))
                .collect()
        };
        let choices: Vec<Vec<Option<usize>>> = told.iter().map(|(s, _)| active(s)).collect();
        self.categories
            .update(&choices.iter().map(Vec::as_slice).collect::<Vec<_>>());
        self.generation += 1;
        self.count_flat(seen, &told);
        if self.is_over() {
            self.restart(layout, seed);
        }
    }

    /// Counts the generations whose best and worst stay the same.
    fn count_flat(&mut self, seen: &Observations, told: &[(Sample, usize)]) {
        let loss = |told: Option<&(Sample, usize)>| {
            let outcome = told.and_then(|(_, index)| seen.told().get(*index));
            outcome
                .and_then(|t| t.outcome.loss())
                .unwrap_or(f64::INFINITY)
        };
        let losses = (loss(told.first()), loss(told.last()));
        let is_flat = losses == self.losses || losses.0 == losses.1;
        self.flat = if is_flat { self.flat + 1 } else { 0 };
        self.losses = losses;
    }

    fn is_over(&self) -> bool {
        let n = self.gaussian.as_ref().map_or(0, |g| g.mean().len());
        self.gaussian
            .as_ref()
            .is_some_and(|g| g.is_spent(TOLERANCE))
            || self.flat > 3 + 3 * n / self.population
    }

    /// Begins anew somewhere else, with twice the population.
    fn restart(&mut self, layout: &Layout, seed: u64) {
        let mut rng = stream(derive(seed, TrialId(self.generation), Purpose::Scramble));
        let mean = layout.grids.iter().map(|_| rng.random()).collect();
        let generation = self.generation;
        *self = Self::new(layout, (self.doublings + 1).min(MOST_DOUBLINGS), mean);
        self.generation = generation;
    }
}

/// What is proposed, what was drawn for it, and the distribution after all that was told once more on the way.
struct Proposal {
    candidate: Candidate,
    sample: Sample,
    run: Run,
}

/// See the module.
pub(crate) struct Cmaes {
    seed: u64,
    layout: Layout,
    seen: Observations,
    run: Run,
    /// Where the first trial is: the middle of all numbers.
    middle: Vec<f64>,
    /// For each trial what was drawn for it, until it has told something.
    samples: Vec<Option<Sample>>,
    /// Who has had a configuration first.
    tried: HashMap<Vec<u64>, TrialId>,
    /// How many of all that were told have been taken in.
    taken: usize,
    imports: ImportsSeen,
}

impl Cmaes {
    pub(crate) fn new(spec: &StudySpec) -> Self {
        let seen = Observations::new(&spec.space);
        let layout = Layout::new(&spec.space, |p| seen.encoding.branches(p).to_vec());
        let middle = vec![0.5; layout.grids.len()];
        Self {
            seed: spec.seed,
            run: Run::new(&layout, 0, middle.clone()),
            middle,
            layout,
            seen,
            samples: Vec::new(),
            tried: HashMap::new(),
            taken: 0,
            imports: ImportsSeen::default(),
        }
    }

    /// The next configuration: the first that is drawn and was not tried yet. Others tell once more what they told.
    fn propose(&self, space: &Space, rng: &mut Rng) -> Proposal {
        let mut run = self.run.clone();
        for _ in 0..DRAWS {
            let mut sample = run.draw(rng);
            if self.samples.is_empty() {
                // Ranges are mostly drawn around what is known to work.
                sample.place.clone_from(&self.middle);
            }
            let candidate = self.candidate(space, &sample, rng);
            sample.is_active = self.active(&candidate.point);
            let tried = self.tried.get(&fingerprint(&candidate.point));
            let Some(trial) = tried else {
                return Proposal {
                    candidate,
                    sample,
                    run,
                };
            };
            // One that runs, or was lost, has nothing to tell.
            if let Some(told) = self.seen.told_by(*trial) {
                run.tell(&self.layout, self.seed, &self.seen, sample, told);
            }
        }
        let mut candidate = self.seen.encoding.random(space, rng);
        for _ in 0..DRAWS {
            if !self.tried.contains_key(&fingerprint(&candidate.point)) {
                break;
            }
            candidate = self.seen.encoding.random(space, rng);
        }
        let sample = self.foreign(&candidate.point, rng);
        Proposal {
            candidate,
            sample,
            run,
        }
    }

    /// The configuration of a sample.
    fn candidate(&self, space: &Space, sample: &Sample, rng: &mut Rng) -> Candidate {
        let choose = |_: &mut Rng, parameter: usize, branch: u16, _: &Domain| match self
            .layout
            .slots[parameter][usize::from(branch)]
        {
            Slot::None => None,
            Slot::Dimension(d) => sample.place.get(d).copied(),
            Slot::Choice(c) => sample.choices.get(c).map(|index| *index as f64),
        };
        self.seen.encoding.build(space, rng, choose)
    }

    /// For each choice whether it is active at a point.
    fn active(&self, point: &Point) -> Vec<bool> {
        let mut active = vec![false; self.layout.shares.len()];
        for (cell, slots) in point.iter().zip(&self.layout.slots) {
            if let Some(Slot::Choice(c)) = cell.map(|cell| slots[usize::from(cell.branch)]) {
                active[c] = true;
            }
        }
        active
    }

    /// A sample for a configuration that was not drawn: what it does not say is drawn.
    fn foreign(&self, point: &Point, rng: &mut Rng) -> Sample {
        let mut sample = self.run.draw(rng);
        for (cell, slots) in point.iter().zip(&self.layout.slots) {
            let Some(cell) = cell else { continue };
            match slots[usize::from(cell.branch)] {
                Slot::None => {}
                Slot::Dimension(d) => sample.place[d] = cell.place,
                Slot::Choice(c) => sample.choices[c] = cell.place as usize,
            }
        }
        sample.is_active = self.active(point);
        sample.generation = None;
        sample
    }

    /// Takes note of what was drawn for a trial: drawn again, or read from its configuration if that is another one.
    fn begin(&mut self, space: &Space, trial: TrialId, config: &Config) {
        let seed = derive(self.seed, trial, Purpose::Suggest);
        let proposal = self.propose(space, &mut stream(seed));
        let sample = match proposal.candidate.config == *config {
            true => {
                self.run = proposal.run;
                proposal.sample
            }
            false => {
                let point = self.seen.encoding.point(space, config);
                self.foreign(&point, &mut stream(derive(seed, trial, Purpose::Scramble)))
            }
        };
        self.samples.resize_with(trial.index(), || None);
        self.samples.push(Some(sample));
    }

    /// Begins anew with all that was told and counts, as if it had come from elsewhere: imports have come to be doubted, or
    /// are so no more.
    fn weigh_imports(&mut self, history: &History) {
        self.run = Run::new(&self.layout, 0, self.middle.clone());
        self.tried.clear();
        for trial in history.trials() {
            if self.samples.len() > trial.id.index() && !is_prior_only(history, trial.id) {
                let point = fingerprint(self.seen.point(trial.id));
                self.tried.entry(point).or_insert(trial.id);
            }
        }
        for index in 0..self.taken {
            let Some(told) = self.seen.told().get(index).copied() else {
                break;
            };
            if !told.is_blind {
                let seed = derive(self.seed, told.trial, Purpose::Scramble);
                let sample = self.foreign(self.seen.point(told.trial), &mut stream(seed));
                let (layout, seen) = (&self.layout, &self.seen);
                self.run.tell(layout, self.seed, seen, sample, index);
            }
        }
    }

    /// Takes in what has been told since.
    fn learn(&mut self) {
        while let Some(told) = self.seen.told().get(self.taken).copied() {
            let sample = self
                .samples
                .get_mut(told.trial.index())
                .and_then(Option::take);
            if let Some(sample) = sample.filter(|_| !told.is_blind) {
                self.run
                    .tell(&self.layout, self.seed, &self.seen, sample, self.taken);
            }
            self.taken += 1;
        }
    }
}

impl Sampler for Cmaes {
    fn suggest(&self, history: &History, rng: &mut Rng) -> Option<Config> {
        Some(self.propose(&history.spec().space, rng).candidate.config)
    }

    fn observe(&mut self, history: &History, event: &Event) {
        let suggested = match &event.kind {
            EventKind::TrialSuggested { trial, config, .. } => {
                self.begin(&history.spec().space, *trial, config);
                Some(*trial)
            }
            _ => None,
        };
        self.seen.observe(history, event);
        if self.imports.have_turned(history) {
            self.weigh_imports(history);
        }
        match suggested {
            // What ran elsewhere on other data was not tried.
            Some(trial) if is_prior_only(history, trial) => {}
            Some(trial) => {
                let point = fingerprint(self.seen.point(trial));
                self.tried.entry(point).or_insert(trial);
            }
            None => self.learn(),
        }
    }
}

#[cfg(test)]
mod tests;
