//! What is believed beforehand, for samplers that learn: piBO (Hvarfner et al., ICLR 2022; arXiv 2204.11051).
//!
//! A score by which candidates are compared (a logarithm: of the expected improvement, of a ratio of densities) gets
//! β / n times the logarithm of the prior's density added, where n counts the trials that have told something. So what is
//! believed decides early, and what was found later; a wrong belief costs some trials and no more. For that reason
//! the density never falls below a floor ([`hpo_study::prior::DOUBT`]), which the paper does not have.
//!
//! Trials that were imported from other data (`as: prior`) say in the same way where the good ones are
//! ([`super::transferred`]): one more prior. So does evidence that the study's own trials do not bear out.
//!
//! Either may mislead, so its part of the score is multiplied with how far the study's own trials bear it out ([`super::trust`]), which
//! the paper does not have either.
//!
//! Candidates are drawn from the prior, too, or a narrow one would hardly be among them. The first trial of all is
//! the guess itself, and of the first ones every other is drawn from the prior.

use rand::Rng as _;

use hpo_study::seed::{Purpose, derive};
use hpo_study::{Belief, Config, Event, EventKind, History, Method, Priors, StudySpec, TrialId};

use super::encoding::{Candidate, Draft, Encoding, Point};
use super::observations::{ImportsSeen, is_prior_only};
use super::transferred::Transferred;
use super::trust::Witnesses;
use crate::{Rng, Sampler};

/// β, for scores. The paper takes a tenth of the budget; of 5 and 10 this is forgotten sooner where it was wrong.
const WEIGHT: f64 = 5.0;
/// Where nothing is scored: with so many trials told every other one is drawn from the prior.
const HALF: f64 = 10.0;
/// As many first trials as samplers that learn begin with.
const OPENING: usize = 6;

/// The beliefs that hold at present.
pub(crate) struct Beliefs {
    priors: Priors,
    /// How many trials have told something.
    told: usize,
    /// What trials of other data tell of where the good ones are.
    transferred: Transferred,
    /// Who bears them out, and how far: the priors and the other data.
    witnesses: Witnesses,
    trust: Trust,
    imports: ImportsSeen,
}

/// From 0 to 1: how far what the user believes, and what other data say, is borne out.
struct Trust {
    priors: f64,
    transferred: f64,
}

impl Beliefs {
    pub(crate) fn new(spec: &StudySpec) -> Self {
        Self {
            priors: spec.warm_start.priors.clone(),
            told: 0,
            transferred: Transferred::new(&spec.space),
            witnesses: Witnesses::default(),
            trust: Trust {
                priors: 1.0,
                transferred: 1.0,
            },
            imports: ImportsSeen::default(),
        }
    }

    /// Whether nothing is believed.
    pub(crate) fn is_empty(&self) -> bool {
        self.priors.is_empty() && self.transferred.is_empty()
    }

    pub(crate) fn observe(&mut self, history: &History, event: &Event) {
        match &event.kind {
            EventKind::SpecChanged { .. } => {
                self.priors = history.spec().warm_start.priors.clone();
                self.weigh(history);
            }
            EventKind::TrialCompleted { trial }
            | EventKind::TrialStopped { trial, .. }
            | EventKind::TrialFailed { trial, .. } => {
                if is_prior_only(history, *trial) {
                    self.transferred.take(history, *trial);
                } else {
                    self.told += 1;
                    self.witnesses.hear(history, *trial);
                    self.weigh(history);
                }
            }
            _ => {}
        }
        if self.imports.have_turned(history) {
            self.weigh_imports(history);
        }
    }

    /// Parts anew what only says where the good ones are from what has told something.
    fn weigh_imports(&mut self, history: &History) {
        self.transferred = Transferred::new(&history.spec().space);
        self.witnesses = Witnesses::default();
        self.told = 0;
        for trial in history.trials().iter().filter(|t| t.state.is_final()) {
            if is_prior_only(history, trial.id) {
                self.transferred.take(history, trial.id);
            } else {
                self.told += 1;
                self.witnesses.hear(history, trial.id);
            }
        }
        self.weigh(history);
    }

    /// Finds out how far to trust what is believed.
    fn weigh(&mut self, history: &History) {
        let space = &history.spec().space;
        let witnesses = &self.witnesses;
        if !self.priors.is_empty() {
            let densities = witnesses
                .configs()
                .map(|c| self.priors.log_density(space, c));
            self.trust.priors = witnesses.trust(densities);
        }
        if !self.transferred.is_empty() {
            let densities = self
                .transferred
                .log_densities_of(space, witnesses.configs());
            self.trust.transferred = witnesses.trust(densities);
        }
    }

    /// Adds what is believed of candidates to their scores.
    pub(crate) fn add_to(&self, scores: &mut [f64], history: &History, candidates: &[Candidate]) {
        if self.is_empty() {
            return;
        }
        let weight = WEIGHT / (self.told.max(1) as f64);
        let space = &history.spec().space;
        for (score, candidate) in scores.iter_mut().zip(candidates) {
            *score +=
                weight * self.trust.priors * self.priors.log_density(space, &candidate.config);
        }
        let points: Vec<&Point> = candidates.iter().map(|c| &c.point).collect();
        let transferred = self.transferred.log_densities(&points);
        let weight = weight * self.trust.transferred;
        for (score, log_density) in scores.iter_mut().zip(transferred) {
            *score += weight * log_density;
        }
    }

    /// The same for drafts.
    pub(crate) fn add_to_drafts(
        &self,
        scores: &mut [f64],
        history: &History,
        drafts: &[Draft<'_>],
    ) {
        if !self.is_empty() {
            let space = &history.spec().space;
            let candidates = drafts.iter().map(|draft| draft.clone().candidate(space));
            self.add_to(scores, history, &candidates.collect::<Vec<_>>());
        }
    }

    /// Candidates drawn from the prior; none where nothing is believed.
    pub(crate) fn candidates(
        &self,
        count: usize,
        history: &History,
        encoding: &Encoding,
        rng: &mut Rng,
    ) -> Vec<Candidate> {
        let count = if self.is_empty() { 0 } else { count };
        let space = &history.spec().space;
        let draw = |_| {
            let config = self.draw(history, rng);
            let point = encoding.point(space, &config);
            Candidate { config, point }
        };
        (0..count).map(draw).collect()
    }

    /// How far the more trusted of the two is borne out.
    fn trust(&self) -> f64 {
        let of = |is_there: bool, trust: f64| if is_there { trust } else { 0.0 };
        let priors = of(!self.priors.is_empty(), self.trust.priors);
        priors.max(of(!self.transferred.is_empty(), self.trust.transferred))
    }

    /// From what the user believes, or from where others were good; with both, from either.
    fn draw(&self, history: &History, rng: &mut Rng) -> Config {
        let both = !self.priors.is_empty() && !self.transferred.is_empty();
        if self.priors.is_empty() || (both && rng.random_bool(0.5)) {
            return self.transferred.draw(&history.spec().space, rng);
        }
        let draws = std::cell::RefCell::new(rng);
        self.priors.build(
            &history.spec().space,
            |belief, domain| belief.draw(domain, draws.borrow_mut().random()),
            |domain| domain.at(draws.borrow_mut().random()),
        )
    }

    /// The guess; what nobody has guessed is in the middle, choices are drawn.
    fn guess(&self, history: &History, rng: &mut Rng) -> Config {
        self.priors
            .build(&history.spec().space, Belief::guess, |domain| {
                let is_choice = matches!(domain, hpo_study::Domain::Categorical { .. });
                domain.at(if is_choice { rng.random() } else { 0.5 })
            })
    }
}

/// A sampler whose first trials come from what is believed.
pub(crate) struct Believing {
    inner: Box<dyn Sampler>,
    beliefs: Beliefs,
    method: Method,
}

impl Believing {
    /// Grids and Sobol sequences are what they are, whatever is believed.
    pub(crate) fn around(inner: Box<dyn Sampler>, spec: &StudySpec) -> Box<dyn Sampler> {
        match spec.method {
            Method::Grid | Method::Sobol => inner,
            method => Box::new(Self {
                inner,
                beliefs: Beliefs::new(spec),
                method,
            }),
        }
    }

    /// Whether the next trial is drawn from the prior. Samplers that look at the prior themselves need it at
    /// their beginning only; those that do not draw from it less and less.
    fn is_from_prior(&self, trials: usize, rng: &mut Rng) -> bool {
        match self.method {
            Method::Bayes | Method::Gp | Method::Tpe => trials < OPENING && trials % 2 == 1,
            _ => {
                let share = HALF / (HALF + self.beliefs.told as f64);
                rng.random_bool(share * self.beliefs.trust())
            }
        }
    }
}

impl Sampler for Believing {
    fn suggest(&self, history: &History, rng: &mut Rng) -> Option<Config> {
        if self.beliefs.is_empty() {
            return self.inner.suggest(history, rng);
        }
        let trial = TrialId(u32::try_from(history.trials().len()).ok()?);
        // A stream of its own: the sampler below draws what it would have drawn anyway.
        let seed = derive(history.spec().seed, trial, Purpose::Scramble);
        let mut own = crate::stream(seed);
        match history.own_count() {
            0 if !self.beliefs.priors.is_empty() => Some(self.beliefs.guess(history, &mut own)),
            trials if self.is_from_prior(trials, &mut own) => {
                Some(self.beliefs.draw(history, &mut own))
            }
            _ => self.inner.suggest(history, rng),
        }
    }

    fn observe(&mut self, history: &History, event: &Event) {
        self.beliefs.observe(history, event);
        self.inner.observe(history, event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::{Log, Simulation, Worker, always, categorical, float, space, spec};
    use hpo_study::{Condition, Confidence, EarlyTerminate, Prior, Space, Value};

    fn plain() -> Space {
        space([
            always("x", float(0.0, 1.0)),
            always("y", float(0.0, 1.0)),
            always("kind", categorical(["a", "b", "c"])),
        ])
    }

    fn believing(method: Method, x: f64, kind: &str) -> StudySpec {
        let mut study = spec(plain(), method, EarlyTerminate::None);
        let prior = |name: &str, guess: Value| {
            let domain = &study.space.parameter(name).unwrap().branches[0].domain;
            Prior {
                parameter: name.to_owned(),
                branch: 0,
                when: Condition::default(),
                belief: Belief::around(domain, &guess, Confidence::High).unwrap(),
            }
        };
        let priors = vec![prior("x", Value::Float(x)), prior("kind", kind.into())];
        study.warm_start.priors = Priors(priors);
        study
    }

    #[test]
    fn the_guess_is_first_and_the_next_ones_are_partly_near_it() {
        for method in [Method::Random, Method::Tpe, Method::Gp, Method::Bayes] {
            let mut log = Log::new(believing(method, 0.8, "b"));
            let first = log.suggest().unwrap();
            assert_eq!(first.number("x"), Some(0.8), "{method:?}");
            assert_eq!(
                (first.number("y"), first.text("kind")),
                (Some(0.5), Some("b"))
            );
            let next: Vec<f64> = (0..5)
                .map(|_| log.suggest().unwrap().number("x").unwrap())
                .collect();
            let near = next.iter().filter(|x| (*x - 0.8).abs() < 0.15).count();
            assert!((3..6).contains(&near), "{method:?}: {next:?}");
        }
    }

    fn best_after(method: Method, trials: u32, prior: Option<f64>) -> f64 {
        fn loss(config: &Config, _: u64) -> f64 {
            let away = |name: &str, to: f64| (config.number(name).unwrap() - to).powi(2);
            let kind = if config.text("kind") == Some("b") {
                0.0
            } else {
                0.2
            };
            away("x", 0.8) + away("y", 0.3) + kind
        }
        let mut sum = 0.0;
        for seed in 0..5 {
            let mut study = match prior {
                Some(x) => believing(method, x, if x > 0.5 { "b" } else { "a" }),
                None => spec(plain(), method, EarlyTerminate::None),
            };
            (study.seed, study.run_cap) = (seed, Some(trials));
            let worker = Worker {
                objective: loss,
                parallel: 1,
                ..Worker::default()
            };
            let log = Simulation::new(study, worker, seed).run();
            sum += loss(&log.history.best().unwrap().config, 1);
        }
        sum / 5.0
    }

    #[test]
    fn a_good_belief_helps_early_and_a_wrong_one_is_overcome() {
        for method in [Method::Tpe, Method::Gp, Method::Bayes] {
            let (plain, good) = (
                best_after(method, 10, None),
                best_after(method, 10, Some(0.8)),
            );
            assert!(good < plain, "{method:?}: {good} with, {plain} without");
            let wrong = best_after(method, 60, Some(0.1));
            assert!(wrong < 0.03, "{method:?}: {wrong}");
        }
    }

    #[test]
    fn a_study_that_changes_its_mind_goes_by_the_newer_belief() {
        let mut log = Log::new(believing(Method::Bayes, 0.2, "a"));
        log.suggest();
        let newer = Box::new(believing(Method::Bayes, 0.9, "c"));
        log.push(EventKind::SpecChanged { spec: newer });
        let next = log.suggest().unwrap();
        assert!((next.number("x").unwrap() - 0.9).abs() < 0.15, "{next}");
    }
}
