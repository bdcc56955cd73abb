//! The tree-structured Parzen estimator: where are the good trials dense and the others not?
//!
//! Bergstra, Bardenet, Bengio & Kégl, "Algorithms for hyper-parameter optimization", NeurIPS 2011;
//! multivariate kernels as in Falkner, Klein & Hutter, "BOHB", ICML 2018 (arXiv 1807.01774); settings
//! after Watanabe, "Tree-structured Parzen estimator: understanding its algorithm components and
//! their roles for better empirical performance" (arXiv 2304.11127).
//!
//! The trials are split into the good ones (a share of those that told a loss, by rank) and all others;
//! each group has a density, a mixture of one kernel per trial and one that is the prior:
//!
//! > l(x) = Σᵢ wᵢ Π_d k_d(x_d | x_{i,d}),   the next x maximizes l(x) / g(x)
//!
//! among candidates drawn from l. A good trial weighs as much as it is better than the best of the others
//! (2304.11127's "EI" weights), the others weigh alike. In a conditional space a kernel has a factor for every parameter that
//! is active in x: where trial i had the same branch of that parameter a kernel around its value, and
//! the prior where it had not. So a candidate is drawn down the tree, and trials of one branch
//! speak to those of another only through what they share.
//!
//! Where trials were infeasible, the ratio is multiplied with the chance of being feasible, the share of
//! the feasible trials' density (after Watanabe & Hutter, "c-TPE", IJCAI 2023; arXiv 2211.14411).
//!
//! **Several objectives** (MOTPE: Ozaki, Tanigaki, Watanabe & Onishi, "Multiobjective tree-structured Parzen
//! estimator for computationally expensive optimization problems", GECCO 2020; and JAIR 73, 2022): the good ones are the first
//! by layers of the front, and of the layer that does not go in as a whole those that cover most volume. A good one
//! weighs as much as the volume that would be lost without it.
//!
//! Infeasible trials and those that have told nothing yet (the constant liar: Ginsbourger, Le Riche &
//! Carraro, 2010) are among the others.

use hpo_study::{Config, Event, EventKind, History, StudySpec, front};

use super::beliefs::Beliefs;
use super::columns::Columns;
use super::encoding::{Draft, Point, highest};
use super::observations::{Observations, Outcome, Told};
use super::parzen::Mixture;
use super::sobol::Sobol;
use crate::{Rng, Sampler};

/// Trials before the first that is chosen by density; a scrambled Sobol sequence until then.
const STARTUP: usize = 6;
/// The share of the trials that is good (β₁ in arXiv 2304.11127), and the most that are.
const GOOD: f64 = 0.15;
const MOST_GOOD: f64 = 25.0;
/// With several objectives, the least that a good one weighs, as a share of the most.
const LEAST: f64 = 0.1;
/// Candidates that are compared.
const CANDIDATES: usize = 24;
/// Draws of a configuration that no trial has had yet, before one is taken twice.
const DRAWS: usize = 64;
/// Most trials among the others that have a kernel each; of more, evenly spread ones are taken.
const MOST_OTHERS: usize = 2048;

/// See the module.
pub(crate) struct Tpe {
    observations: Observations,
    columns: Columns,
    sobol: Sobol,
    beliefs: Beliefs,
}

impl Tpe {
    pub(crate) fn new(spec: &StudySpec) -> Self {
        let observations = Observations::new(&spec.space);
        Self {
            columns: Columns::new(observations.encoding.len()),
            observations,
            sobol: Sobol::new(spec),
            beliefs: Beliefs::new(spec),
        }
    }

    /// What has been told so far.
    pub(crate) fn observations(&self) -> &Observations {
        &self.observations
    }

    /// The good ones (trial indices, best first) and all others (in order).
    fn split(&self) -> (Vec<usize>, Vec<usize>) {
        let told = self.observations.told();
        let ranking = self.observations.ranking();
        let good: Vec<usize> = ranking[..good_count(ranking.len())]
            .iter()
            .map(|i| told[*i].trial.index())
            .collect();
        let mut is_good = vec![false; self.observations.points().len()];
        for trial in &good {
            is_good[*trial] = true;
        }
        let told = told.iter().filter(|t| !t.is_blind);
        let told = told.map(|t| t.trial.index());
        let pending = self.observations.pending().map(|t| t.index());
        let mut others = Vec::with_capacity(is_good.len());
        others.extend(told.chain(pending).filter(|t| !is_good[*t]));
        others.sort_unstable();
        let stride = others.len().div_ceil(MOST_OTHERS).max(1);
        (good, others.into_iter().step_by(stride).collect())
    }

    /// The weights of the good ones; all alike where some were stopped early, since losses at different
    /// steps do not compare.
    fn weights(&self, good: usize) -> Vec<f64> {
        if !self.observations.losses().is_empty() {
            return self.volumes(good);
        }
        let (told, ranking) = (self.observations.told(), self.observations.ranking());
        let loss = |i: &usize| match told[*i].outcome {
            Outcome::Complete { loss } => Some(loss),
            _ => None,
        };
        let losses: Option<Vec<f64>> = ranking.iter().take(good + 1).map(loss).collect();
        match losses.as_deref().and_then(<[f64]>::split_last) {
            Some((threshold, rest)) if rest.len() == good => improvements(rest, *threshold),
            _ => vec![1.0; good],
        }
    }

    /// The weights of the good ones with several objectives: by how much volume each adds, with a mean of 1; never
    /// nothing, since one that is hidden behind another today shows where the front is all the same.
    fn volumes(&self, good: usize) -> Vec<f64> {
        let of = |i: &usize| self.observations.losses()[*i].clone();
        let losses: Vec<Vec<f64>> = self.observations.ranking()[..good].iter().map(of).collect();
        let losses = front::normalized(&losses);
        let Some(first) = losses.first() else {
            return Vec::new();
        };
        let volumes = front::contributions(&losses, &front::beyond(first.len()));
        let most = volumes.iter().fold(0.0_f64, |a, b| a.max(*b));
        let floored: Vec<f64> = volumes.iter().map(|v| v.max(LEAST * most)).collect();
        match floored.iter().sum::<f64>() / good as f64 {
            mean if mean > 0.0 => floored.iter().map(|v| v / mean).collect(),
            _ => vec![1.0; good],
        }
    }

    /// The candidate with the highest ratio that no trial has had yet.
    fn propose<'h>(&self, history: &'h History, rng: &mut Rng) -> Option<Draft<'h>> {
        let space = &history.spec().space;
        let (good, others) = self.split();
        let weights = self.weights(good.len());
        let encoding = &self.observations.encoding;
        let l = Mixture::new(encoding, self.columns.select(&good), weights);
        let even = vec![1.0; others.len()];
        let g = Mixture::new(encoding, self.columns.select(&others), even);
        let points = self.observations.points();
        let draws = (0..CANDIDATES).map(|_| l.draw(space, points, &good, 1.0, rng));
        let mut candidates: Vec<Draft> = draws.collect();
        let believed = self
            .beliefs
            .candidates(CANDIDATES / 3, history, encoding, rng);
        candidates.extend(believed.into_iter().map(|c| c.draft(space)));
        candidates.retain(|candidate| !self.observations.is_seen(&candidate.point));
        let points: Vec<&Point> = candidates.iter().map(|c| &c.point).collect();
        let (l, g) = (l.log_densities(&points), g.log_densities(&points));
        let chances = self.log_chances(&points);
        let ratios = l
            .iter()
            .zip(&g)
            .zip(&chances)
            .map(|((l, g), chance)| l - g + chance);
        let mut ratios: Vec<f64> = ratios.collect();
        self.beliefs
            .add_to_drafts(&mut ratios, history, &candidates);
        highest(candidates, &ratios)
    }

    /// The logarithms of how likely the points are feasible: the density of the feasible trials among
    /// that of all, by how many there are of each.
    fn log_chances(&self, points: &[&Point]) -> Vec<f64> {
        if self.observations.infeasible() == 0 {
            return vec![0.0; points.len()];
        }
        let told = self.observations.told().iter().filter(|t| !t.is_doubted);
        let told: Vec<Told> = told.copied().collect();
        let of = |infeasible: bool| -> Vec<usize> {
            let is_it = |t: &&Told| (t.outcome == Outcome::Infeasible) == infeasible;
            let trials = told.iter().filter(is_it).map(|t| t.trial.index());
            let count = told.iter().filter(is_it).count();
            trials.step_by(count.div_ceil(MOST_OTHERS).max(1)).collect()
        };
        let infeasible = of(true);
        let densities = |trials: &[usize]| {
            let columns = self.columns.select(trials);
            let weights = vec![1.0; trials.len()];
            let mixture = Mixture::new(&self.observations.encoding, columns, weights);
            mixture.log_densities(points)
        };
        let odds = (infeasible.len() as f64 / (told.len() - infeasible.len()).max(1) as f64).ln();
        let (bad, good) = (densities(&infeasible), densities(&of(false)));
        let chance = |(bad, good): (&f64, &f64)| -(bad - good + odds).exp().ln_1p();
        bad.iter().zip(&good).map(chance).collect()
    }
}

/// How many of the trials that told a loss are good (the linear rule of arXiv 2304.11127).
fn good_count(told: usize) -> usize {
    (GOOD * told as f64).ceil().min(MOST_GOOD) as usize
}

/// The weights of the good ones (their losses in order, and the best loss that is not good): by how much
/// each is better, with a mean of 1. All alike where that cannot be said.
fn improvements(good: &[f64], threshold: f64) -> Vec<f64> {
    let weights: Vec<f64> = good
        .iter()
        .map(|loss| (threshold - loss).max(0.0))
        .collect();
    let mean = weights.iter().sum::<f64>() / weights.len() as f64;
    if mean > 0.0 && mean.is_finite() {
        weights.iter().map(|w| w / mean).collect()
    } else {
        vec![1.0; good.len()]
    }
}

impl Sampler for Tpe {
    fn suggest(&self, history: &History, rng: &mut Rng) -> Option<Config> {
        let space = &history.spec().space;
        if self.observations.count() < STARTUP || self.observations.ranking().is_empty() {
            return self.sobol.suggest(history, rng);
        }
        let encoding = &self.observations.encoding;
        let proposed = self.propose(history, rng);
        let proposed = proposed.map(|draft| draft.candidate(space));
        let candidate = proposed.unwrap_or_else(|| {
            // A small space, of which the good part has been tried.
            let mut candidate = encoding.random(space, rng);
            for _ in 1..DRAWS {
                if !self.observations.is_seen(&candidate.point) {
                    break;
                }
                candidate = encoding.random(space, rng);
            }
            candidate
        });
        Some(candidate.config)
    }

    fn observe(&mut self, history: &History, event: &Event) {
        self.beliefs.observe(history, event);
        self.observations.observe(history, event);
        if let EventKind::TrialSuggested { trial, .. } = &event.kind {
            self.columns.push(self.observations.point(*trial));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::{Log, Simulation, Worker, always, categorical, float, space, spec, when};
    use hpo_study::{EarlyTerminate, Method, Space, StopReason};

    #[test]
    fn good_trials_weigh_as_much_as_they_are_better() {
        assert_eq!(improvements(&[1.0, 2.0, 3.0], 4.0), [1.5, 1.0, 0.5]);
        assert_eq!(improvements(&[4.0, 4.0], 4.0), [1.0, 1.0]);
        assert_eq!(improvements(&[f64::MIN, 0.0], f64::MAX), [1.0, 1.0]);
        assert!(improvements(&[], 4.0).is_empty());
        assert_eq!(
            [0, 1, 6, 7, 100, 1000].map(good_count),
            [0, 1, 1, 2, 15, 25]
        );
    }

    fn study(space: Space) -> Log {
        Log::new(spec(space, Method::Tpe, EarlyTerminate::None))
    }

    /// Runs one trial at a time through a loss; `None`: it diverges.
    fn run(log: &mut Log, trials: usize, loss: impl Fn(&Config) -> Option<f64>) -> Vec<Config> {
        let mut configs = Vec::new();
        for _ in 0..trials {
            let config = log.suggest().expect("it always has something to propose");
            let trial = log.history.trials().last().unwrap().id;
            log.launch(trial, None);
            match loss(&config) {
                Some(loss) => {
                    log.report(trial, 1, loss);
                    log.end(
                        trial,
                        hpo_study::AttemptEnd::Exited {
                            code: 0,
                            stderr: String::new(),
                        },
                    );
                    log.complete(trial);
                }
                None => {
                    let evidence = String::new();
                    log.stop(trial, StopReason::Diverged { evidence });
                }
            }
            configs.push(config);
        }
        configs
    }

    #[test]
    fn it_comes_closer_than_chance_in_every_branch() {
        let space = space([
            always("kind", categorical(["a", "b", "c"])),
            when("x", "kind", "b", float(0.0, 1.0)),
            when("y", "kind", "c", float(0.0, 1.0)),
            always("z", float(0.0, 1.0)),
        ]);
        let loss = |c: &Config| {
            let own = match c.text("kind") {
                Some("b") => (c.number("x").unwrap() - 0.7).abs(),
                Some("c") => 0.3 + (c.number("y").unwrap() - 0.2).abs(),
                _ => 0.5,
            };
            Some(own + (c.number("z").unwrap() - 0.4).abs())
        };
        let mut log = study(space);
        let configs = run(&mut log, 80, loss);
        let late = &configs[40..];
        let best_branch = late.iter().filter(|c| c.text("kind") == Some("b")).count();
        assert!(best_branch > 25, "{best_branch} of 40 in the best branch");
        let mean = late.iter().filter_map(loss).sum::<f64>() / 40.0;
        assert!(mean < 0.3, "chance would give 0.7, not {mean}");
    }

    #[test]
    fn what_diverges_is_proposed_less_and_less() {
        let space = space([always("x", float(0.0, 1.0)), always("y", float(0.0, 1.0))]);
        // The loss falls up to the edge.
        let loss = |c: &Config| {
            let x = c.number("x").unwrap();
            (x < 0.8).then(|| 1.0 - x + (c.number("y").unwrap() - 0.5).abs())
        };
        let mut log = study(space);
        let configs = run(&mut log, 120, loss);
        let diverged = configs[40..].iter().filter(|c| loss(c).is_none()).count();
        assert!(diverged <= 24, "{diverged} of 80");
    }

    #[test]
    fn trials_that_run_are_avoided() {
        let mut log = study(space([always("x", float(0.0, 1.0))]));
        run(&mut log, 30, |c| Some((c.number("x").unwrap() - 0.5).abs()));
        let proposals: Vec<f64> = (0..30)
            .map(|_| log.suggest().unwrap().number("x").unwrap())
            .collect();
        let spread = |xs: &[f64]| {
            let mean = xs.iter().sum::<f64>() / xs.len() as f64;
            (xs.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / xs.len() as f64).sqrt()
        };
        assert!(
            spread(&proposals[15..]) > spread(&proposals[..5]),
            "{proposals:?}"
        );
    }

    #[test]
    fn a_small_space_is_covered_before_anything_comes_twice() {
        let space = space([
            always("a", categorical(["x", "y", "z"])),
            always("b", categorical(["p", "q", "r"])),
        ]);
        let worker = Worker {
            parallel: 1,
            ..Worker::default()
        };
        let mut study = spec(space, Method::Tpe, EarlyTerminate::None);
        study.run_cap = Some(12);
        let log = Simulation::new(study, worker, 1).run();
        let configs = log.history.trials().iter().map(|t| t.config.to_string());
        let distinct: std::collections::BTreeSet<String> = configs.collect();
        assert!(distinct.len() >= 8, "{distinct:?}");
    }
}
