//! Population-based training: members train side by side; after each interval the worst copy the best, weights and
//! all, and go on with other hyperparameters. It says both what is next and from where, so it is a sampler and a
//! scheduler; a study has one of each, which see the same events.
//!
//! Jaderberg et al., "Population based training of neural networks", 2017 (arXiv 1711.09846), with truncation selection
//! and its perturbations: times 0.8 or 1.2, or drawn anew. Defaults and the number of those replaced are those of class
//! `PopulationBasedTraining` of Ray Tune 2.60.
//!
//! Each interval of each member is a trial, whose bracket is the member's number and whose target is the interval's end.
//! Members that have no place at once train in turns. Who is best is asked when all have come to the interval's end,
//! so that nobody is compared with one that has trained longer, and the outcome does not depend on how many
//! train at once. (Ray Tune, unless `synch`, compares each with whatever the others have at that moment.)
//!
//! - Who diverged, crashed, or was lost is replaced by a copy, too, beside the worst.
//! - When nobody came to the end of an interval, it is begun again from the one before, everybody with other
//!   hyperparameters; after three such in a row there is nothing more to try.
//! - What is measured out as 1 − x (momentum, betas) is multiplied as 1 − x, or .99 could not be changed sensibly.

use rand::Rng as _;
use rand::seq::IndexedRandom as _;

use hpo_study::population::{Parent, Population};
use hpo_study::seed::{Purpose, derive};
use hpo_study::{
    Config, Domain, EarlyTerminate, Event, EventKind, History, Scale, StudySpec, Trial, TrialId,
    TrialState, Value,
};

use crate::scheduler::comparable;
use crate::{Next, Rng, Sampler, Scheduler, Verdict, stream};

/// So many intervals in a row may come to nothing.
const MOST_FAILURES: usize = 3;
/// Halvings of an interval until the nearest value on a domain's grid is found.
const HALVINGS: usize = 60;

/// See the module.
pub(crate) struct Pbt {
    seed: u64,
    population: Population,
    /// For each interval that has begun its trials, by member.
    rows: Vec<Vec<TrialId>>,
}

/// How a member goes on.
struct Plan {
    /// Whose checkpoints it begins from; `None`: afresh.
    from: Option<TrialId>,
    /// Whether it gets other hyperparameters.
    explores: bool,
}

impl Pbt {
    pub(crate) fn new(spec: &StudySpec) -> Self {
        let population = match &spec.early_terminate {
            EarlyTerminate::Population(population) => population.clone(),
            // Refused when the study was read; a random search is what is left of it.
            _ => Population {
                size: 1,
                interval: u64::MAX,
                max_iter: u64::MAX,
                quantile: 0.25,
                resample: 0.25,
                factors: vec![0.8, 1.2],
                mutate: Vec::new(),
            },
        };
        Self {
            seed: spec.seed,
            population,
            rows: Vec::new(),
        }
    }

    fn size(&self) -> usize {
        self.population.size as usize
    }

    /// The members of the interval that is under way, or of the one that begins now: those that have begun.
    fn begun(&self) -> &[TrialId] {
        let last = self.rows.last().filter(|row| row.len() < self.size());
        last.map_or(&[], Vec::as_slice)
    }

    /// The intervals that all members have begun, and those of them that somebody has come to the end of.
    fn donors<'a>(&'a self, history: &'a History) -> Option<&'a Vec<TrialId>> {
        let is_full = |row: &&Vec<TrialId>| row.len() == self.size();
        let mut full = self.rows.iter().filter(is_full).rev();
        full.find(|row| row.iter().any(|id| loss(history, *id).is_finite()))
    }

    /// How many intervals in a row have come to nothing.
    fn failures(&self, history: &History) -> usize {
        let is_full = |row: &&Vec<TrialId>| row.len() == self.size();
        let is_lost = |row: &&Vec<TrialId>| row.iter().all(|id| !loss(history, *id).is_finite());
        self.rows
            .iter()
            .filter(is_full)
            .rev()
            .take_while(is_lost)
            .count()
    }

    /// The end of the interval that the next trial trains over.
    fn target(&self, history: &History) -> u64 {
        let donor = self
            .donors(history)
            .and_then(|row| row.iter().find_map(|id| history.trial(*id)));
        let reached = donor.and_then(|t| t.target).unwrap_or(0);
        reached
            .saturating_add(self.population.interval)
            .min(self.population.max_iter)
    }

    /// How the next member goes on.
    fn plan(&self, history: &History) -> Plan {
        let member = self.begun().len();
        let Some(row) = self.donors(history) else {
            return Plan {
                from: None,
                explores: false,
            };
        };
        let mut ranked: Vec<(f64, TrialId)> =
            row.iter().map(|id| (loss(history, *id), *id)).collect();
        ranked.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let count = self.population.replaced();
        let well = ranked.iter().filter(|(loss, _)| loss.is_finite()).count();
        let best: Vec<TrialId> = ranked
            .iter()
            .take(count.min(well))
            .map(|(_, id)| *id)
            .collect();
        let own = row.get(member).copied();
        let place = ranked
            .iter()
            .position(|(_, id)| Some(*id) == own)
            .unwrap_or(usize::MAX);
        let is_worst = place >= well || (place >= ranked.len() - count && place >= count);
        let again = self.failures(history) > 0;
        match own.filter(|_| !is_worst) {
            Some(own) => Plan {
                from: Some(own),
                explores: again,
            },
            None => Plan {
                from: best.choose(&mut self.stream(history)).copied(),
                explores: true,
            },
        }
    }

    /// What decides for the next trial whom it copies.
    fn stream(&self, history: &History) -> Rng {
        let trial = TrialId(u32::try_from(history.trials().len()).unwrap_or(u32::MAX));
        let seed = derive(self.seed, trial, Purpose::Suggest);
        stream(derive(seed, trial, Purpose::Scramble))
    }

    /// The configuration of one that copies: what changes is multiplied by a factor or drawn anew.
    fn explore(&self, history: &History, from: &Config, rng: &mut Rng) -> Config {
        let space = &history.spec().space;
        space.build(|index, _, domain, _| {
            let Some(parameter) = space.parameters.get(index) else {
                return domain.at(rng.random());
            };
            let value = from.get(&parameter.name).filter(|v| domain.contains(v));
            let Some(value) = value else {
                // It was not active, or had another domain.
                return domain.at(rng.random());
            };
            if !self.population.mutate.contains(&parameter.name) {
                return value.clone();
            }
            if rng.random::<f64>() < self.population.resample {
                return domain.at(rng.random());
            }
            let factor = self.population.factors.choose(rng).copied().unwrap_or(1.0);
            perturbed(domain, value, factor)
        })
    }
}

/// A number times a factor, or, where 1 − x is what is measured out, 1 − (1 − x) times the factor; the nearest
/// value of the domain, and another one than before if there is one in that direction. A choice stays what it is.
fn perturbed(domain: &Domain, value: &Value, factor: f64) -> Value {
    let (Some(x), false) = (value.as_f64(), matches!(domain, Domain::Categorical { .. })) else {
        return value.clone();
    };
    let complement = matches!(
        domain,
        Domain::Float {
            scale: Scale::OneMinusLog,
            ..
        }
    );
    let wished = match complement {
        true => 1.0 - (1.0 - x) * factor,
        false => x * factor,
    };
    let (mut low, mut high) = (0.0, 1.0);
    let number = |u: f64| domain.at(u).as_f64().unwrap_or(f64::NAN);
    for _ in 0..HALVINGS {
        let middle = 0.5 * (low + high);
        match number(middle) < wished {
            true => low = middle,
            false => high = middle,
        }
    }
    let nearer = match (number(low) - wished).abs() < (number(high) - wished).abs() {
        true => number(low),
        false => number(high),
    };
    // A distribution with steps has no end of values, and a grid all the same.
    let has_grid =
        domain.cardinality().is_some() || matches!(domain, Domain::Law { step: Some(_), .. });
    let stays = has_grid && nearer == x;
    // On a coarse grid the neighbour in that direction, as far as there is one.
    let to = match stays && wished != x {
        true => neighbour(domain, x, wished > x),
        false => nearer,
    };
    let exact = Value::Float(wished);
    if domain.contains(&exact) && !has_grid {
        return exact;
    }
    match value {
        Value::Int(_) => Value::Int(to as i64),
        _ => Value::Float(to),
    }
}

/// The next value above or below on a domain's grid; the same at its end.
fn neighbour(domain: &Domain, x: f64, above: bool) -> f64 {
    let number = |u: f64| domain.at(u).as_f64().unwrap_or(x);
    let (mut inside, mut outside) = (if above { 1.0 } else { 0.0 }, if above { 0.0 } else { 1.0 });
    // `inside` is beyond x in that direction, `outside` is not.
    if (above && number(inside) <= x) || (!above && number(inside) >= x) {
        return x;
    }
    for _ in 0..HALVINGS {
        let middle = 0.5 * (inside + outside);
        let beyond = match above {
            true => number(middle) > x,
            false => number(middle) < x,
        };
        match beyond {
            true => inside = middle,
            false => outside = middle,
        }
    }
    number(inside)
}

/// A trial's loss at its interval's end; infinite if it did not come to it.
fn loss(history: &History, trial: TrialId) -> f64 {
    let completed = history
        .trial(trial)
        .filter(|t| t.state == TrialState::Completed);
    let value = completed.and_then(Trial::value).unwrap_or(f64::NAN);
    comparable(history.spec().metric.goal, value)
}

impl Sampler for Pbt {
    fn suggest(&self, history: &History, rng: &mut Rng) -> Option<Config> {
        let plan = self.plan(history);
        let Some(from) = plan.from.and_then(|id| history.trial(id)) else {
            let space = &history.spec().space;
            return Some(space.build(|_, _, domain, _| domain.at(rng.random())));
        };
        Some(match plan.explores {
            true => self.explore(history, &from.config, rng),
            false => from.config.clone(),
        })
    }

    fn observe(&mut self, history: &History, event: &Event) {
        self.see(history, event);
    }
}

impl Scheduler for Pbt {
    fn next(&self, history: &History, can_start: bool) -> Next {
        let is_over = |id: &TrialId| history.trial(*id).is_some_and(|t| t.state.is_final());
        let under_way = !self.begun().is_empty();
        let last = self.rows.last();
        if !can_start || !under_way && !last.is_none_or(|row| row.iter().all(is_over)) {
            return Next::Wait;
        }
        let trained = self.donors(history).is_some_and(|row| {
            let reached = row.iter().filter_map(|id| history.trial(*id)?.target).max();
            reached >= Some(self.population.max_iter)
        });
        if !under_way && (trained || self.failures(history) >= MOST_FAILURES) {
            return Next::Wait;
        }
        Next::Start {
            bracket: u32::try_from(self.begun().len()).unwrap_or(u32::MAX),
            target: Some(self.target(history)),
        }
    }

    fn parent(&self, history: &History) -> Option<Parent> {
        let from = history.trial(self.plan(history).from?)?;
        Some(Parent {
            trial: from.id,
            step: from.curve.last_step().or(from.target)?,
        })
    }

    /// At its target a trial is left to end by itself; one that goes on beyond it is ended.
    fn judge(&self, history: &History, trial: TrialId) -> Verdict {
        let Some(record) = history.trial(trial) else {
            return Verdict::Continue;
        };
        let runs = record
            .attempt()
            .is_some_and(|attempt| attempt.end.is_none());
        match runs && record.target.is_some() && record.curve.last_step() > record.target {
            true => Verdict::Pause,
            false => Verdict::Continue,
        }
    }

    fn observe(&mut self, history: &History, event: &Event) {
        self.see(history, event);
    }
}

impl Pbt {
    fn see(&mut self, history: &History, event: &Event) {
        if let EventKind::TrialSuggested { trial, .. } = event.kind {
            // What was imported is no member.
            if history.trial(trial).is_some_and(|t| t.origin.is_some()) {
                return;
            }
            let size = self.size();
            match self.rows.last_mut().filter(|row| row.len() < size) {
                Some(row) => row.push(trial),
                None => self.rows.push(vec![trial]),
            }
        }
    }
}

#[cfg(test)]
mod tests;
