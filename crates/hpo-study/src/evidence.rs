//! Whether trials from elsewhere are borne out by the study's own: whether its losses are what theirs lead one to expect.
//!
//! The loss of one of the study's trials is guessed from an import alone, as the mean of the three of its trials that lie nearest. Any
//! such guess is wrong by something; how much is usual is seen in the import itself, where each trial is guessed
//! from the others, at neighbours about as far away. Where the study's losses are missed by more than twice what is usual, in the mean, the
//! import is doubted: it is of something else, or on another scale. When that mean comes down again, so does the doubt.
//!
//! Losses count in units of how far the better half of the import spreads from its median, and beyond three of these by
//! their logarithm: so a loss of 10³⁰ is one bad trial more, and the differences between good ones decide. What is better than
//! expected counts less: a search looks for that, and beyond the best of an import its neighbours know little. No trial counts for more
//! than five times the usual error, and a few errors of the usual size are taken for granted at first: so it takes at least two trials to
//! doubt, and more where an import is small.
//!
//! Where the import's good ones range over far more than the study's losses do, these are all alike in its units. So it is doubted, too, when
//! the study's trials, five at least, are all worse than the import's worst.

use hpo_recipe::Config;

use crate::space::{Domain, Space};

/// So many neighbours make a guess.
const NEIGHBOURS: usize = 3;
/// An import of fewer trials is not judged, nor by fewer of the study's whether these are all worse.
const FEWEST: usize = 5;
/// Of a larger import so many trials are looked at, evenly spread; and so many of these say what errors are usual.
const MOST: usize = 1000;
const MOST_ASKED: usize = 200;
/// So many of the study's first trials judge: with more of its own an import matters little, and a judgement costs time with each.
const JUDGES: usize = 200;
/// What is usual at a distance is a mean over so many with the most similar one, or over a share of all if that is more.
const ALIKE: usize = 10;
const SHARE_ALIKE: f64 = 0.2;
/// Errors in units of what is usual: the most that one counts, the mean from which on an import is doubted, and below which it is no more.
const WORST: f64 = 5.0;
const DOUBTED: f64 = 2.0;
const BELIEVED: f64 = 1.25;
/// What a trial counts that is better than was expected: to find such trials is what a search is for.
const BETTER: f64 = 0.7;
/// So many usual errors are taken for granted, and so many more for an import of one trial.
const GRANTED: f64 = 3.0;
const GRANTED_TO_SMALL: f64 = 30.0;
/// The least error that is usual, in spreads of the better half: what is smaller misleads nobody.
const LEAST: f64 = 0.1;
/// Spreads from the median beyond which losses count by their logarithm, and the most they count.
const FAR: f64 = 3.0;
const FARTHEST: f64 = 10.0;
/// The squared distance of two choices, and of what is active and what is not.
const APART: f64 = 0.25;

/// All imports that are judged, and the trials by which they are.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Evidence {
    imports: Vec<Import>,
    own: Vec<Seen>,
    turns: usize,
}

/// A configuration's place and its loss.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    place: Vec<Coordinate>,
    loss: f64,
}

/// Where a parameter's value lies.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Coordinate {
    Inactive,
    /// In which branch, and where in the unit interval.
    Number(usize, f64),
    /// In which branch, and which.
    Choice(usize, usize),
}

#[derive(Debug, Clone, PartialEq, Default)]
struct Import {
    is_judged: bool,
    trials: Vec<Seen>,
    /// What may be expected of it; `None`: it has grown since, or nothing may.
    guide: Option<Guide>,
    /// For each of the study's trials its error, in units of what is usual.
    errors: Vec<f64>,
    is_doubted: bool,
}

impl Evidence {
    /// A new import, numbered in order. One that is not judged is never doubted.
    pub(crate) fn begin(&mut self, is_judged: bool) {
        self.imports.push(Import {
            is_judged,
            ..Import::default()
        });
    }

    /// Takes in a trial of an import, with its finite loss.
    pub(crate) fn take(&mut self, import: u32, space: &Space, config: &Config, loss: f64) {
        let import = self.imports.get_mut(import as usize);
        if let Some(import) = import.filter(|import| import.is_judged) {
            let place = place(space, config);
            import.trials.push(Seen { place, loss });
            import.guide = None;
        }
    }

    /// Takes in a trial of the study itself, with its finite loss, and judges all imports anew, by the first [`JUDGES`] such trials.
    pub(crate) fn hear(&mut self, space: &Space, config: &Config, loss: f64) {
        if self.own.len() < JUDGES {
            let place = place(space, config);
            self.own.push(Seen { place, loss });
        }
        for import in self.imports.iter_mut().filter(|import| import.is_judged) {
            let before = import.is_doubted;
            import.judge(&self.own);
            self.turns += usize::from(import.is_doubted != before);
        }
    }

    /// Whether an import is doubted.
    pub(crate) fn is_doubted(&self, import: u32) -> bool {
        let import = self.imports.get(import as usize);
        import.is_some_and(|import| import.is_doubted)
    }

    /// A number that changes whenever an import comes to be doubted, or is so no more.
    pub(crate) fn turns(&self) -> usize {
        self.turns
    }
}

impl Import {
    fn judge(&mut self, own: &[Seen]) {
        if self.guide.is_none() {
            self.guide = Guide::new(&self.trials);
            self.errors.clear();
        }
        let Some(guide) = &self.guide else {
            return;
        };
        let new = own.iter().skip(self.errors.len());
        self.errors.extend(new.map(|seen| guide.error(seen)));
        let granted = GRANTED + GRANTED_TO_SMALL / self.trials.len() as f64;
        let sum: f64 = self.errors.iter().sum();
        let mean = (granted + sum) / (granted + self.errors.len() as f64);
        let are_all_worse = own.len() >= FEWEST && own.iter().all(|seen| seen.loss > guide.worst);
        self.is_doubted = are_all_worse || mean > if self.is_doubted { BELIEVED } else { DOUBTED };
    }
}

/// What an import leads one to expect.
#[derive(Debug, Clone, PartialEq)]
struct Guide {
    median: f64,
    spread: f64,
    /// The highest loss.
    worst: f64,
    /// Some of the import's trials; their losses are distances from the median.
    trials: Vec<Seen>,
    /// How far away neighbours of some of them are, and by how much these miss them.
    usual: Vec<(f64, f64)>,
}

impl Guide {
    /// `None` where there are too few trials, or all are alike.
    fn new(trials: &[Seen]) -> Option<Self> {
        if trials.len() < FEWEST {
            return None;
        }
        let mut losses: Vec<f64> = trials.iter().map(|seen| seen.loss).collect();
        losses.sort_by(f64::total_cmp);
        let median = losses[(losses.len() - 1) / 2];
        let spread_of = |losses: &[f64]| {
            let squares: f64 = losses.iter().map(|l| (l - median) * (l - median)).sum();
            (squares / losses.len().max(1) as f64).sqrt()
        };
        let better = &losses[..losses.partition_point(|loss| *loss < median)];
        let spread = [spread_of(better), spread_of(&losses)];
        let spread = spread.into_iter().find(|s| *s > 0.0 && s.is_finite())?;
        let worst = losses.last().copied()?;
        let chosen = evenly(trials.len(), MOST).into_iter();
        let mut guide = Self {
            median,
            spread,
            worst,
            trials: chosen.map(|i| trials[i].clone()).collect(),
            usual: Vec::new(),
        };
        for i in 0..guide.trials.len() {
            guide.trials[i].loss = guide.distance(guide.trials[i].loss);
        }
        let asked = evenly(guide.trials.len(), MOST_ASKED).into_iter();
        guide.usual = asked.map(|i| guide.usual_error(i)).collect();
        Some(guide)
    }

    /// A loss's distance from the median.
    fn distance(&self, loss: f64) -> f64 {
        let spreads = (loss - self.median) / self.spread;
        let size = spreads.abs();
        let size = match size <= FAR {
            true => size,
            false => (FAR * (1.0 + (size / FAR).ln())).min(FARTHEST),
        };
        size.copysign(spreads)
    }

    /// How far away the nearest trials are from a place, and the mean of theirs; without one of them.
    fn guess(&self, place: &[Coordinate], without: Option<usize>) -> (f64, f64) {
        let mut nearest = [(f64::INFINITY, 0.0); NEIGHBOURS];
        for (i, trial) in self.trials.iter().enumerate() {
            let square = apart(place, &trial.place);
            if square < nearest[NEIGHBOURS - 1].0 && without != Some(i) {
                let rank = nearest.partition_point(|(other, _)| *other <= square);
                nearest[rank..].rotate_right(1);
                nearest[rank] = (square, trial.loss);
            }
        }
        let count = NEIGHBOURS as f64;
        let away = nearest.iter().map(|(square, _)| square.sqrt()).sum::<f64>();
        let loss = nearest.iter().map(|(_, loss)| loss).sum::<f64>();
        (away / count, loss / count)
    }

    fn usual_error(&self, i: usize) -> (f64, f64) {
        let trial = &self.trials[i];
        let (away, guess) = self.guess(&trial.place, Some(i));
        (away, (guess - trial.loss).abs())
    }

    /// By how much a trial is missed, in units of what is usual.
    fn error(&self, seen: &Seen) -> f64 {
        let (away, guess) = self.guess(&seen.place, None);
        let mut usual: Vec<(f64, f64)> = self
            .usual
            .iter()
            .map(|(d, e)| ((d - away).abs(), *e))
            .collect();
        usual.sort_by(|a, b| a.0.total_cmp(&b.0));
        let count = ALIKE.max((SHARE_ALIKE * usual.len() as f64) as usize);
        usual.truncate(count);
        let sum: f64 = usual.iter().map(|(_, error)| error).sum();
        let usual = (sum / usual.len() as f64).max(LEAST);
        let error = (self.distance(seen.loss) - guess) / usual;
        (if error > 0.0 { error } else { -BETTER * error }).min(WORST)
    }
}

/// At most `most` of the indices below `count`, rising: one from each of as many parts of the same size, and not always the first, or
/// of a grid there would be one value only of what alternates.
fn evenly(count: usize, most: usize) -> Vec<usize> {
    if count <= most {
        return (0..count).collect();
    }
    let within = |i: usize| (i as f64 * 0.618_033_988_75).fract();
    let chosen = (0..most).map(|i| ((i as f64 + within(i)) * count as f64 / most as f64) as usize);
    let mut chosen: Vec<usize> = chosen.collect();
    chosen.dedup();
    chosen
}

fn place(space: &Space, config: &Config) -> Vec<Coordinate> {
    let coordinate = |parameter: &crate::Parameter| {
        let branch = parameter.active_branch(config)?;
        let value = config.get(&parameter.name)?;
        match &parameter.branches[branch].domain {
            Domain::Categorical { choices, .. } => {
                let index = choices.iter().position(|choice| choice.same(value))?;
                Some(Coordinate::Choice(branch, index))
            }
            domain => Some(Coordinate::Number(branch, domain.unit(value)?)),
        }
    };
    let parameters = space.parameters.iter();
    parameters
        .map(|p| coordinate(p).unwrap_or(Coordinate::Inactive))
        .collect()
}

/// The squared distance of two places.
fn apart(a: &[Coordinate], b: &[Coordinate]) -> f64 {
    let of = |(a, b): (&Coordinate, &Coordinate)| match (a, b) {
        (Coordinate::Number(i, a), Coordinate::Number(j, b)) if i == j => (a - b) * (a - b),
        _ if a == b => 0.0,
        _ => APART,
    };
    a.iter().zip(b).map(of).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Branch, Clause, Condition, Parameter, Scale, Value};

    fn space() -> Space {
        let float = || Domain::Float {
            low: 0.0,
            high: 1.0,
            scale: Scale::Linear,
            step: None,
        };
        let parameter = |name: &str, domain, when| Parameter {
            name: name.to_owned(),
            branches: vec![Branch { when, domain }],
        };
        let if_b = Condition(vec![Clause {
            parameter: "kind".to_owned(),
            any_of: vec!["b".into()],
        }]);
        let kinds = Domain::Categorical {
            choices: ["a", "b"].map(Value::from).into(),
            weights: None,
        };
        Space {
            parameters: vec![
                parameter("x", float(), Condition::default()),
                parameter("y", float(), Condition::default()),
                parameter("kind", kinds, Condition::default()),
                parameter("z", float(), if_b),
            ],
        }
    }

    /// The i-th of evenly spread configurations, in a part of the space.
    fn config(i: usize, x: std::ops::Range<f64>) -> Config {
        let part = |by: f64| ((i + 1) as f64 * by).fract();
        let mut config = Config::new();
        config.set("x", x.start + (x.end - x.start) * part(0.618_034));
        config.set("y", part(0.754_878));
        config.set("kind", ["a", "b"][i % 2]);
        if i % 2 == 1 {
            config.set("z", part(0.569_84));
        }
        config
    }

    fn loss(config: &Config) -> f64 {
        let away = |name: &str, to: f64| config.number(name).map_or(0.3, |x| (x - to).powi(2));
        away("x", 0.7) + away("y", 0.3) + away("z", 0.5)
    }

    /// What becomes of an import after so many trials of the study, which lie in a part of the space: `theirs` says what the import
    /// tells of a loss, `ours` what the study has.
    fn doubted(
        imported: (usize, std::ops::Range<f64>),
        own: (usize, std::ops::Range<f64>),
        theirs: impl Fn(f64) -> f64,
        ours: impl Fn(f64) -> f64,
    ) -> bool {
        let (space, mut evidence) = (space(), Evidence::default());
        evidence.begin(true);
        for i in 0..imported.0 {
            let config = config(i, imported.1.clone());
            evidence.take(0, &space, &config, theirs(loss(&config)));
        }
        for i in 0..own.0 {
            let config = config(1000 + i, own.1.clone());
            evidence.hear(&space, &config, ours(loss(&config)));
        }
        evidence.is_doubted(0)
    }

    #[test]
    fn what_is_borne_out_is_never_doubted() {
        let same = |loss| loss;
        for imported in [5, 10, 40, 300, 2000] {
            for own in 1..40 {
                assert!(
                    !doubted((imported, 0.0..1.0), (own, 0.0..1.0), same, same),
                    "{imported} imported, after {own}"
                );
            }
            // Neither where the study looks at a part only, nor where the import did.
            assert!(!doubted((imported, 0.0..1.0), (40, 0.6..0.8), same, same));
            assert!(!doubted((imported, 0.6..0.8), (40, 0.6..1.0), same, same));
        }
    }

    #[test]
    fn what_is_the_wrong_way_round_or_on_another_scale_is_doubted_after_some_trials() {
        type Change = fn(f64) -> f64;
        let changes: [(&str, Change, std::ops::Range<f64>); 5] = [
            // There is the optimum that it promises.
            ("the wrong way round", |loss| 0.8 - loss, 0.0..0.1),
            ("negated", |loss| -loss, 0.0..1.0),
            ("higher", |loss| loss + 1.0, 0.0..1.0),
            ("lower", |loss| loss - 1.0, 0.0..1.0),
            ("in other units", |loss| 1000.0 * loss, 0.0..1.0),
        ];
        for (what, change, looked) in changes {
            // Of a few it is no wonder that some here are better than all of them.
            for imported in [40, 300, 2000] {
                let own = (8, looked.clone());
                assert!(
                    doubted((imported, 0.0..1.0), own, change, |loss| loss),
                    "{what}, {imported} imported"
                );
            }
        }
    }

    #[test]
    fn losses_all_alike_in_the_units_of_an_import_are_doubted_when_all_are_worse() {
        // Their better half ranges over thousands, ours lies next to their worst.
        let theirs = |loss: f64| match loss > 0.5 {
            true => -2000.0 * loss,
            false => -loss,
        };
        let after = |own| doubted((40, 0.0..1.0), (own, 0.6..0.8), theirs, |loss| 0.1 + loss);
        assert_eq!([4, 5].map(after), [false, true]);
        assert!(!doubted((40, 0.0..1.0), (5, 0.6..0.8), theirs, theirs));
    }

    #[test]
    fn what_is_looked_at_of_many_is_spread_and_follows_no_grid() {
        for (count, most) in [(5, 10), (11, 10), (15, 10), (1999, 1000), (100_000, 1000)] {
            let chosen = evenly(count, most);
            assert!(chosen.is_sorted_by(|a, b| a < b) && chosen.iter().all(|i| *i < count));
            assert!(chosen.len() <= most && chosen.len() > most.min(count) / 2);
        }
        let odd = evenly(2000, 1000).iter().filter(|i| *i % 2 == 1).count();
        assert!((400..600).contains(&odd), "{odd}");
    }

    #[test]
    fn one_trial_alone_casts_no_doubt_however_bad_it_is() {
        for bad in [1e9, f64::MAX, f64::MIN] {
            assert!(!doubted((40, 0.0..1.0), (1, 0.0..1.0), |l| l, |_| bad));
            assert!(doubted((40, 0.0..1.0), (3, 0.0..1.0), |l| l, |_| bad));
        }
    }

    #[test]
    fn doubt_goes_when_later_trials_are_what_was_expected() {
        let (space, mut evidence) = (space(), Evidence::default());
        evidence.begin(true);
        for i in 0..40 {
            let config = config(i, 0.0..1.0);
            evidence.take(0, &space, &config, loss(&config));
        }
        let mut hear = |i: usize, change: f64| {
            let config = config(1000 + i, 0.0..1.0);
            evidence.hear(&space, &config, loss(&config) + change);
            (evidence.is_doubted(0), evidence.turns())
        };
        assert_eq!(hear(0, 5.0), (false, 0));
        assert_eq!(hear(1, 5.0), (true, 1));
        let later: Vec<(bool, usize)> = (2..40).map(|i| hear(i, 0.0)).collect();
        assert_eq!(later.first(), Some(&(true, 1)));
        assert_eq!(later.last(), Some(&(false, 2)));
        assert!(later.is_sorted_by(|a, b| a.1 <= b.1));
    }

    #[test]
    fn the_first_of_many_trials_judge_an_import_that_comes_late_too() {
        let (space, mut evidence) = (space(), Evidence::default());
        let own = |i: usize| config(1000 + i, 0.0..1.0);
        for i in 0..JUDGES + 50 {
            evidence.hear(&space, &own(i), loss(&own(i)));
        }
        evidence.begin(true);
        for i in 0..40 {
            let config = config(i, 0.0..1.0);
            evidence.take(0, &space, &config, -loss(&config));
        }
        evidence.hear(&space, &own(999), loss(&own(999)));
        assert_eq!((evidence.is_doubted(0), evidence.own.len()), (true, JUDGES));
    }

    #[test]
    fn what_says_nothing_and_what_is_not_judged_is_not_doubted() {
        // All alike, or too few.
        assert!(!doubted((40, 0.0..1.0), (9, 0.0..1.0), |_| 1.0, |_| 7.0));
        assert!(!doubted((4, 0.0..1.0), (9, 0.0..1.0), |l| l, |_| 7.0));
        let (space, mut evidence) = (space(), Evidence::default());
        evidence.begin(false);
        for i in 0..80 {
            let config = config(i, 0.0..1.0);
            match i < 40 {
                true => evidence.take(0, &space, &config, loss(&config)),
                false => evidence.hear(&space, &config, 9.0),
            }
        }
        assert!(!evidence.is_doubted(0) && !evidence.is_doubted(7));
    }

    #[test]
    fn an_import_that_grows_is_judged_by_all_of_it_and_each_import_by_itself() {
        let (space, mut evidence) = (space(), Evidence::default());
        evidence.begin(true);
        evidence.begin(true);
        for i in 0..40 {
            let config = config(i, 0.0..1.0);
            evidence.take(0, &space, &config, loss(&config));
            evidence.take(1, &space, &config, 9.0 - loss(&config));
        }
        for i in 0..6 {
            let config = config(1000 + i, 0.0..1.0);
            evidence.hear(&space, &config, loss(&config));
        }
        assert_eq!([0, 1].map(|i| evidence.is_doubted(i)), [false, true]);
        // Most of it is right now.
        for i in 100..400 {
            let config = config(i, 0.0..1.0);
            evidence.take(1, &space, &config, loss(&config));
        }
        let last = config(2000, 0.0..1.0);
        evidence.hear(&space, &last, loss(&last));
        assert_eq!([0, 1].map(|i| evidence.is_doubted(i)), [false, false]);
    }

    proptest! {
        #[test]
        fn no_losses_break_it(losses in prop::collection::vec(-1e308..1e308_f64, 1..60)) {
            let (space, mut evidence) = (space(), Evidence::default());
            evidence.begin(true);
            for (i, loss) in losses.iter().enumerate() {
                let config = config(i, 0.0..1.0);
                evidence.take(0, &space, &config, *loss);
                evidence.hear(&space, &config, -loss);
            }
            prop_assert!(evidence.imports[0].errors.iter().all(|e| (0.0..=WORST).contains(e)));
        }
    }
}
