//! What trials of other data, or of another model (`import` with `as: prior`), say of where the good ones are: a density with a
//! kernel around each of the best quarter of an import. Of their values nothing but the order counts.

use std::cell::OnceCell;

use hpo_study::prior::DOUBT;
use hpo_study::{Config, History, Space, TrialId, TrialState};

use super::columns::Columns;
use super::encoding::{Encoding, Point};
use super::parzen::Mixture;
use crate::Rng;

/// Trials of other data, or of another model: only their order within their import counts, and of that only who was
/// among the best quarter.
pub(super) struct Transferred {
    encoding: Encoding,
    points: Vec<Point>,
    columns: Columns,
    /// For each its import and its loss.
    losses: Vec<(u32, f64)>,
    /// The good ones, as indices. Empty while they are to be found anew.
    good: OnceCell<Vec<usize>>,
}

/// The share of an import that is good.
const GOOD: f64 = 0.25;

impl Transferred {
    /// For a space, before anything was imported.
    pub(super) fn new(space: &Space) -> Self {
        let encoding = Encoding::new(space);
        Self {
            columns: Columns::new(encoding.len()),
            encoding,
            points: Vec::new(),
            losses: Vec::new(),
            good: OnceCell::new(),
        }
    }

    /// Whether nothing is said.
    pub(super) fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    fn good(&self) -> &[usize] {
        self.good.get_or_init(|| {
            let mut order: Vec<usize> = (0..self.losses.len()).collect();
            order.sort_by(|a, b| {
                let (a, b) = (self.losses[*a], self.losses[*b]);
                a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
            });
            let mut good = Vec::new();
            for batch in order.chunk_by(|a, b| self.losses[*a].0 == self.losses[*b].0) {
                let count = (GOOD * batch.len() as f64).ceil() as usize;
                good.extend(batch.iter().take(count));
            }
            good
        })
    }

    /// The logarithms of the densities at some configurations.
    pub(super) fn log_densities_of<'c>(
        &self,
        space: &Space,
        configs: impl Iterator<Item = &'c Config>,
    ) -> Vec<f64> {
        let points: Vec<Point> = configs.map(|c| self.encoding.point(space, c)).collect();
        self.log_densities(&points.iter().collect::<Vec<_>>())
    }

    /// Takes in an imported trial that has come to its end.
    pub(super) fn take(&mut self, history: &History, trial: TrialId) {
        let spec = history.spec();
        let Some(record) = history
            .trial(trial)
            .filter(|t| t.state == TrialState::Completed)
        else {
            return;
        };
        let (Some(value), Some(origin)) = (record.value(), &record.origin) else {
            return;
        };
        let point = self.encoding.point(&spec.space, &record.config);
        self.columns.push(&point);
        self.points.push(point);
        self.losses
            .push((origin.batch, spec.metric.goal.as_loss(value)));
        self.good.take();
    }

    fn mixture(&self) -> Mixture<'_> {
        let even = vec![1.0; self.good().len()];
        Mixture::new(&self.encoding, self.columns.select(self.good()), even)
    }

    /// A configuration from the density.
    pub(super) fn draw(&self, space: &Space, rng: &mut Rng) -> Config {
        let mixture = self.mixture();
        let draft = mixture.draw(space, &self.points, self.good(), 1.0, rng);
        draft.candidate(space).config
    }

    /// The logarithms of the densities at some points, relative to a draw at random; not below that of [`DOUBT`].
    pub(super) fn log_densities(&self, points: &[&Point]) -> Vec<f64> {
        if self.is_empty() {
            return Vec::new();
        }
        let logs = self.mixture().log_densities(points).into_iter();
        logs.map(|log| ((1.0 - DOUBT) * log.exp() + DOUBT).ln())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::trust::Witnesses;
    use super::*;
    use crate::simulate::{Log, Simulation, Worker, always, categorical, float, space, spec};
    use hpo_study::{EarlyTerminate, ImportAs, Method, StudySpec, Value};

    fn loss(config: &Config, _: u64) -> f64 {
        let away = |name: &str, to: f64| (config.number(name).unwrap() - to).powi(2);
        let kind = f64::from(u8::from(config.text("kind") != Some("b")));
        away("x", 0.8) + away("y", 0.3) + 0.2 * kind
    }

    fn study(method: Method, seed: u64, trials: u32) -> StudySpec {
        let space = space([
            always("x", float(0.0, 1.0)),
            always("y", float(0.0, 1.0)),
            always("kind", categorical(["a", "b", "c"])),
        ]);
        let mut study = spec(space, method, EarlyTerminate::None);
        (study.seed, study.run_cap) = (seed, Some(trials));
        study
    }

    const EARLIER: usize = 40;

    /// Takes in forty trials; with a `sign` of -1 their order is the wrong way round.
    fn import(log: &mut Log, sign: f64) {
        let trials = (0..EARLIER).map(|i| {
            let place = |by: f64| Value::Float(((i + 1) as f64 * by).fract());
            let kind = ["a", "b", "c"][i % 3];
            let pairs = [
                ("x", place(0.618)),
                ("y", place(0.755)),
                ("kind", kind.into()),
            ];
            let config: Config = pairs.into_iter().collect();
            let loss = sign * loss(&config, 1);
            (config, loss)
        });
        log.import(ImportAs::Prior, trials);
    }

    #[test]
    fn trust_goes_where_what_is_said_is_wrong_and_stays_where_it_is_right() {
        for (sign, expected) in [(1.0, 1.0), (-1.0, 0.0)] {
            let study = study(Method::Random, 1, 60);
            let mut said = Transferred::new(&study.space);
            let (mut log, mut witnesses) = (Log::new(study), Witnesses::default());
            import(&mut log, sign);
            (0..EARLIER as u32).for_each(|i| said.take(&log.history, TrialId(i)));
            assert_eq!((witnesses.trust([]), said.good().len()), (1.0, 10));
            for _ in 0..12 {
                let config = log.suggest().unwrap();
                let trial = TrialId(log.history.trials().len() as u32 - 1);
                log.launch(trial, None);
                log.report(trial, 1, loss(&config, 1));
                let (code, stderr) = (0, String::new());
                log.end(trial, hpo_study::AttemptEnd::Exited { code, stderr });
                log.complete(trial);
                witnesses.hear(&log.history, trial);
            }
            let space = &log.history.spec().space;
            let trust = witnesses.trust(said.log_densities_of(space, witnesses.configs()));
            assert!((trust - expected).abs() < 0.25, "{sign}: {trust}");
        }
    }

    #[test]
    fn the_opening_is_that_of_a_study_without_imports() {
        let mut log = Log::new(study(Method::Bayes, 1, 60));
        import(&mut log, 1.0);
        let first = log.suggest().unwrap();
        assert_eq!(
            (first.number("x"), first.number("y")),
            (Some(0.5), Some(0.5))
        );
    }

    #[test]
    fn what_was_tried_elsewhere_can_be_tried_here() {
        let mut observations =
            super::super::observations::Observations::new(&study(Method::Gp, 1, 60).space);
        let mut log = Log::new(study(Method::Gp, 1, 60));
        import(&mut log, 1.0);
        let mut history = History::open(&log.events[0]).unwrap();
        for event in &log.events[1..] {
            history.apply(event).unwrap();
            observations.observe(&history, event);
        }
        let point = observations.point(TrialId(0)).clone();
        assert!(!observations.is_tried(&point) && observations.count() == 0);
    }

    /// The mean of the best losses of five seeds.
    fn best_after(method: Method, trials: u32, sign: Option<f64>) -> f64 {
        let best = |seed| {
            let imported = if sign.is_some() { EARLIER as u32 } else { 0 };
            let worker = Worker {
                objective: loss,
                parallel: 1,
                ..Worker::default()
            };
            let mut simulation =
                Simulation::new(study(method, seed, trials + imported), worker, seed);
            if let Some(sign) = sign {
                import(&mut simulation.log, sign);
            }
            loss(&simulation.run().history.best().unwrap().config, 1)
        };
        (0..5).map(best).sum::<f64>() / 5.0
    }

    #[test]
    fn a_good_earlier_study_helps_early_and_a_misleading_one_is_overcome() {
        for method in [Method::Random, Method::Tpe, Method::Bayes] {
            let [plain, good, wrong] =
                [None, Some(1.0), Some(-1.0)].map(|sign| best_after(method, 8, sign));
            assert!(good < plain, "{method:?}: {good} with, {plain} without");
            assert!(wrong < 0.25, "{method:?}: {wrong}, after eight trials");
            let [plain, wrong] = [None, Some(-1.0)].map(|sign| best_after(method, 25, sign));
            assert!(
                wrong < 2.0 * plain + 0.01,
                "{method:?}: {wrong} with, {plain} without"
            );
        }
    }
}
