//! What the trials of a study have told so far, in an order from best to worst: shared by all
//! samplers that learn.
//!
//! Trials that came to different steps are compared where it is fair: at equal step. Where ranks at a step say nothing of
//! later ones ([`crate::foresight`]), the losses of those that were stopped there are left out. Trials that
//! could not be brought to an end for a reason of their own (diverged, crashed) are infeasible: worse
//! than all others, and never forgotten.
//!
//! With several objectives the order is by layers of the front, the first trials of each spread widely ([`front::order`]),
//! and only complete trials count: what others reported on the way is not compared.

use std::cell::OnceCell;
use std::cmp::Ordering;
use std::collections::{BTreeSet, HashSet};

use hpo_study::{
    Event, EventKind, Goal, History, ImportAs, Space, Trial, TrialId, TrialState, front,
};

use super::encoding::{Encoding, Point, fingerprint};
use super::resolution::Resolution;
use crate::foresight::Foresight;

/// With several objectives so many trials of the front (and of the layers below, where it has fewer) come in the order
/// in which they spread most widely.
const SPREAD: usize = 50;

/// What became of a trial.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Outcome {
    /// It came to its end with this loss.
    Complete { loss: f64 },
    /// It came to this step, with this loss, and was stopped or waits there.
    Partial { step: u64, loss: f64 },
    /// It diverged or crashed.
    Infeasible,
}

impl Outcome {
    /// The loss, unless infeasible.
    pub(crate) fn loss(self) -> Option<f64> {
        match self {
            Self::Complete { loss } | Self::Partial { loss, .. } => Some(loss),
            Self::Infeasible => None,
        }
    }

    fn reach(self) -> u64 {
        match self {
            Self::Complete { .. } => u64::MAX,
            Self::Partial { step, .. } => step,
            Self::Infeasible => 0,
        }
    }
}

/// A trial that has told something.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Told {
    pub(crate) trial: TrialId,
    pub(crate) outcome: Outcome,
    /// How many others were better at its own last step (complete trials: in the end).
    better: u32,
    /// Its loss is to be left out: it was stopped at a step whose ranks say nothing ([`Foresight`]), or is doubted.
    pub(crate) is_blind: bool,
    /// It was imported as evidence that the study's own trials do not bear out ([`History::counts_as`]).
    pub(crate) is_doubted: bool,
}

/// All that trials have told.
///
/// A trial counts as told from its end on, or from its first pause on (with the value it has there).
/// One that ended for reasons that say nothing of its configuration (its process was lost or could not
/// be started) is forgotten, but not proposed again.
pub(crate) struct Observations {
    pub(crate) encoding: Encoding,
    /// For each trial its point.
    points: Vec<Point>,
    /// The trials that count, as indices: all but those that only say where the good ones were elsewhere.
    counted: Vec<usize>,
    seen: HashSet<Vec<u64>>,
    /// In the order in which they told something first.
    told: Vec<Told>,
    /// For each trial its index in `told`.
    index: Vec<Option<usize>>,
    /// Indices into `told`, best first; infeasible ones last. Empty while it is to be found anew.
    order: OnceCell<Vec<usize>>,
    /// The order as it was last, for fewer trials perhaps.
    last_order: Vec<usize>,
    feasible: usize,
    /// Only with several objectives: for each in `told` its losses, none for an infeasible one.
    losses: Vec<Vec<f64>>,
    infeasible: usize,
    foresight: Foresight,
    /// How often a trial that had told something before became one whose loss is left out, or the other way.
    turns: usize,
    imports: ImportsSeen,
    pending: BTreeSet<TrialId>,
    resolution: Resolution,
}

impl Observations {
    pub(crate) fn new(space: &Space) -> Self {
        Self {
            encoding: Encoding::new(space),
            resolution: Resolution::new(space.parameters.len()),
            points: Vec::new(),
            counted: Vec::new(),
            seen: HashSet::new(),
            told: Vec::new(),
            index: Vec::new(),
            order: OnceCell::new(),
            last_order: Vec::new(),
            feasible: 0,
            losses: Vec::new(),
            infeasible: 0,
            foresight: Foresight::default(),
            turns: 0,
            imports: ImportsSeen::default(),
            pending: BTreeSet::new(),
        }
    }

    /// Who has told something, in the order in which they did so first.
    pub(crate) fn told(&self) -> &[Told] {
        &self.told
    }

    /// The index into [`Observations::told`] of what a trial has told.
    pub(crate) fn told_by(&self, trial: TrialId) -> Option<usize> {
        self.index.get(trial.index()).copied().flatten()
    }

    /// Indices into [`Observations::told`] of the feasible ones, best first.
    pub(crate) fn ranking(&self) -> &[usize] {
        &self.order()[..self.feasible]
    }

    /// How many were infeasible, of those that count.
    pub(crate) fn infeasible(&self) -> usize {
        self.infeasible
    }

    /// A number that changes when losses that counted count no more, or the other way.
    pub(crate) fn turns(&self) -> usize {
        self.turns
    }

    /// Indices into [`Observations::told`], best first; after the feasible ones the infeasible ones, and after them those
    /// whose loss is left out.
    pub(crate) fn order(&self) -> &[usize] {
        self.order.get_or_init(|| match self.losses.is_empty() {
            true => self.by_value(),
            false => self.by_layer(),
        })
    }

    /// With several objectives: for each in [`Observations::told`] its losses; none for an infeasible one.
    pub(crate) fn losses(&self) -> &[Vec<f64>] {
        &self.losses
    }

    /// Trials that have told nothing yet and still may.
    pub(crate) fn pending(&self) -> impl ExactSizeIterator<Item = TrialId> + '_ {
        self.pending.iter().copied()
    }

    /// The point of a trial.
    pub(crate) fn point(&self, trial: TrialId) -> &Point {
        &self.points[trial.index()]
    }

    /// How many trials there are that count here: all but those that only say where the good ones were elsewhere.
    pub(crate) fn count(&self) -> usize {
        self.counted.len()
    }

    /// The points of all trials.
    pub(crate) fn points(&self) -> &[Point] {
        &self.points
    }

    /// Whether some trial has had this configuration.
    pub(crate) fn is_seen(&self, point: &Point) -> bool {
        self.seen.contains(&fingerprint(point))
    }

    /// Whether some trial has had this configuration, or one that cannot be told from it.
    pub(crate) fn is_tried(&self, point: &Point) -> bool {
        let tried = self.counted.iter().map(|trial| &self.points[*trial]);
        self.is_seen(point) || self.resolution.is_tried(&self.encoding, tried, point)
    }

    /// Sees an event that the history has taken in. Says whether anything has changed.
    pub(crate) fn observe(&mut self, history: &History, event: &Event) -> bool {
        if self.imports.have_turned(history) {
            self.weigh_imports(history);
        }
        match &event.kind {
            EventKind::TrialSuggested { trial, config, .. } => {
                let point = self.encoding.point(&history.spec().space, config);
                // What is on another scale, or of other data, has not been tried here.
                let counts = !is_prior_only(history, *trial);
                if counts {
                    self.counted.push(self.points.len());
                    self.seen.insert(fingerprint(&point));
                    self.pending.insert(*trial);
                }
                self.points.push(point);
                self.index.push(None);
                counts
            }
            EventKind::TrialPaused { trial }
            | EventKind::TrialCompleted { trial }
            | EventKind::TrialStopped { trial, .. }
            | EventKind::TrialFailed { trial, .. } => {
                let Some(record) = history.trial(*trial) else {
                    return false;
                };
                if is_prior_only(history, *trial) {
                    return false;
                }
                let losses = history.losses(record);
                let outcome = match history.spec().has_several() {
                    true => of_several(record, losses.as_deref()),
                    false => outcome(record, history.spec().metric.goal),
                };
                if record.state.is_final() || outcome.is_some() {
                    self.pending.remove(trial);
                }
                match outcome {
                    Some(outcome) if history.spec().has_several() => {
                        let losses = losses.filter(|_| outcome != Outcome::Infeasible);
                        self.tell_losses(*trial, outcome, losses.unwrap_or_default());
                    }
                    Some(outcome) => self.tell(history, *trial, outcome),
                    None => {}
                }
                true
            }
            _ => false,
        }
    }

    fn tell_losses(&mut self, trial: TrialId, outcome: Outcome, losses: Vec<f64>) {
        self.index[trial.index()] = Some(self.told.len());
        self.told.push(Told {
            trial,
            outcome,
            better: 0,
            is_blind: false,
            is_doubted: false,
        });
        if outcome == Outcome::Infeasible {
            self.infeasible += 1;
        } else {
            self.feasible += 1;
        }
        self.losses.push(losses);
        self.order.take();
    }

    fn tell(&mut self, history: &History, trial: TrialId, outcome: Outcome) {
        let goal = history.spec().metric.goal;
        let (trials, index) = (history.trials(), self.index[trial.index()]);
        let earlier = index.map(|index| self.told[index]);
        let is_doubted = is_prior_only(history, trial);
        let index = match index {
            Some(index) => {
                let earlier = self.told[index];
                for (i, other) in self.told.iter_mut().enumerate() {
                    if i != index && is_better(trials, goal, &earlier, other) {
                        other.better = other.better.saturating_sub(1);
                    }
                }
                index
            }
            None => {
                self.told.push(Told {
                    trial,
                    outcome,
                    better: 0,
                    is_blind: false,
                    is_doubted,
                });
                self.index[trial.index()] = Some(self.told.len() - 1);
                self.told.len() - 1
            }
        };
        let mut own = Told {
            trial,
            outcome,
            better: 0,
            is_blind: is_doubted || self.is_blind(history, outcome),
            is_doubted,
        };
        for (i, other) in self.told.iter_mut().enumerate() {
            if i != index && is_same(own.outcome, other.outcome) {
                let points = (
                    &self.points[trial.index()],
                    &self.points[other.trial.index()],
                );
                self.resolution
                    .same_loss(&self.encoding, points.0, points.1);
            }
            if i != index && !other.is_doubted {
                own.better += u32::from(is_better(trials, goal, other, &own));
                other.better += u32::from(is_better(trials, goal, &own, other));
            }
        }
        // What came back from a pause may count no more, or count again: whoever keeps rows must know.
        if earlier.is_some_and(|earlier| earlier.is_blind != own.is_blind) {
            self.turns += 1;
        }
        self.told[index] = own;
        if self.foresight.look(history, self.told.len()) {
            self.turns += 1;
            for i in 0..self.told.len() {
                let Told { outcome, .. } = self.told[i];
                self.told[i].is_blind = self.told[i].is_doubted || self.is_blind(history, outcome);
            }
        }
        self.put_in_order(index, earlier.is_none());
        self.count_feasible();
    }

    fn count_feasible(&mut self) {
        let counting = || self.told.iter().filter(|t| !t.is_blind);
        let is_infeasible = |t: &&Told| t.outcome == Outcome::Infeasible;
        self.infeasible = counting().filter(is_infeasible).count();
        self.feasible = counting().count() - self.infeasible;
    }

    /// Leaves out the losses of imports that have come to be doubted, and takes in those of what is so no more. What is
    /// doubted can be tried, and nothing stands better or worse for it.
    fn weigh_imports(&mut self, history: &History) {
        let counts = |i: &usize| {
            let trial = history.trials().get(*i);
            trial.is_some_and(|trial| !is_prior_only(history, trial.id))
        };
        self.counted = (0..self.points.len()).filter(counts).collect();
        let counted = self.counted.iter().map(|i| fingerprint(&self.points[*i]));
        self.seen = counted.collect();
        for i in 0..self.told.len() {
            let Told { trial, outcome, .. } = self.told[i];
            let is_doubted = is_prior_only(history, trial);
            let is_blind = is_doubted || self.is_blind(history, outcome);
            self.told[i] = Told {
                better: 0,
                is_blind,
                is_doubted,
                ..self.told[i]
            };
        }
        let (trials, goal) = (history.trials(), history.spec().metric.goal);
        let believed: Vec<usize> = (0..self.told.len())
            .filter(|i| !self.told[*i].is_doubted)
            .collect();
        for i in &believed {
            let is_better = |j: &&usize| is_better(trials, goal, &self.told[**j], &self.told[*i]);
            let better = believed.iter().filter(is_better).count();
            self.told[*i].better = u32::try_from(better).unwrap_or(u32::MAX);
        }
        self.turns += 1;
        self.last_order = self.order.take().unwrap_or_default();
        self.count_feasible();
    }

    fn is_blind(&mut self, history: &History, outcome: Outcome) -> bool {
        match outcome {
            Outcome::Partial { step, .. } => self.foresight.is_blind(history, step),
            _ => false,
        }
    }

    fn by_layer(&self) -> Vec<usize> {
        let (feasible, infeasible): (Vec<usize>, Vec<usize>) =
            (0..self.told.len()).partition(|i| !self.losses[*i].is_empty());
        let losses: Vec<Vec<f64>> = feasible.iter().map(|i| self.losses[*i].clone()).collect();
        let order = front::order(&losses, SPREAD);
        let order = order.into_iter().map(|i| feasible[i]);
        order.chain(infeasible).collect()
    }

    /// Takes what was told into the order, if there is one already.
    fn put_in_order(&mut self, index: usize, is_new: bool) {
        let Some(mut order) = self.order.take() else {
            return;
        };
        let is_partial = |told: &Told| matches!(told.outcome, Outcome::Partial { .. });
        if is_new && !self.told.iter().any(is_partial) {
            // The others stand by their own losses, and so as they did.
            let place = order.partition_point(|i| self.compare(*i, index).is_lt());
            order.insert(place, index);
            self.order = order.into();
        } else {
            self.last_order = order;
        }
    }

    /// From the last order on: the sort makes use of what is in order already, and that is nearly all.
    fn by_value(&self) -> Vec<usize> {
        let mut order = Vec::with_capacity(self.told.len());
        order.extend_from_slice(&self.last_order);
        order.extend(order.len()..self.told.len());
        order.sort_by(|a, b| self.compare(*a, *b));
        order
    }

    /// Which of two that have told something, as indices, is better; never equal.
    fn compare(&self, a: usize, b: usize) -> Ordering {
        let (a, b) = (&self.told[a], &self.told[b]);
        let loss = |t: &Told| t.outcome.loss().unwrap_or(f64::INFINITY);
        let infeasible = |t: &Told| t.outcome == Outcome::Infeasible;
        (a.is_blind, infeasible(a), a.better)
            .cmp(&(b.is_blind, infeasible(b), b.better))
            .then(b.outcome.reach().cmp(&a.outcome.reach()))
            .then(loss(a).total_cmp(&loss(b)))
            .then(a.trial.cmp(&b.trial))
    }
}

/// What a trial tells at its end or while it waits; `None`: nothing about its configuration.
pub(super) fn outcome(trial: &Trial, goal: Goal) -> Option<Outcome> {
    let last = || {
        let (step, value) = trial.curve.last()?;
        let loss = goal.as_loss(value);
        Some(if loss.is_finite() {
            Outcome::Partial { step, loss }
        } else {
            Outcome::Infeasible
        })
    };
    // What became of it says nothing of the configuration that was proposed, but that it diverged.
    if !trial.rescues.is_empty() {
        return Some(Outcome::Infeasible);
    }
    match &trial.state {
        // The mean over its seeds, where it has several.
        TrialState::Completed => Some(match goal.as_loss(trial.value()?) {
            loss if loss.is_finite() => Outcome::Complete { loss },
            _ => Outcome::Infeasible,
        }),
        state if state.is_infeasible() => Some(Outcome::Infeasible),
        TrialState::Stopped(_) | TrialState::Paused => last(),
        _ => None,
    }
}

/// Whether a trial from elsewhere says only where the good ones are (see [`super::beliefs`]): it was imported for that, or is evidence that
/// is not borne out. That may change with every trial that completes ([`History::import_turns`]).
pub(crate) fn is_prior_only(history: &History, trial: TrialId) -> bool {
    let record = history.trial(trial);
    record.and_then(|t| history.counts_as(t)) == Some(ImportAs::Prior)
}

/// Which verdict on imports was last looked at.
#[derive(Debug, Default)]
pub(crate) struct ImportsSeen(usize);

impl ImportsSeen {
    /// Whether an import has come to be doubted since, or is so no more: [`is_prior_only`] may say something else then.
    pub(crate) fn have_turned(&mut self, history: &History) -> bool {
        let seen = std::mem::replace(&mut self.0, history.import_turns());
        seen != self.0
    }
}

/// The same with several objectives.
fn of_several(trial: &Trial, losses: Option<&[f64]>) -> Option<Outcome> {
    if !trial.rescues.is_empty() || trial.state.is_infeasible() {
        return Some(Outcome::Infeasible);
    }
    // Of a trial from elsewhere perhaps not all is known.
    let is_complete = trial.state == TrialState::Completed;
    let counts = is_complete && (losses.is_some() || trial.origin.is_none());
    counts.then(|| match losses.and_then(<[f64]>::first) {
        Some(loss) => Outcome::Complete { loss: *loss },
        None => Outcome::Infeasible,
    })
}

/// Whether both came to their ends with the same loss, to the last digit.
fn is_same(a: Outcome, b: Outcome) -> bool {
    matches!((a, b), (Outcome::Complete { loss: a }, Outcome::Complete { loss: b }) if a == b)
}

/// Whether `a` has come as far as `b` and was better there.
fn is_better(trials: &[Trial], goal: Goal, a: &Told, b: &Told) -> bool {
    match (a.outcome, b.outcome) {
        (Outcome::Complete { loss: a }, Outcome::Complete { loss: b }) => a < b,
        (Outcome::Complete { loss: end }, Outcome::Partial { step, loss }) => {
            // Of one from elsewhere only the end may be known: losses fall, mostly.
            let is_known = |a: &Told| {
                trials
                    .get(a.trial.index())
                    .is_some_and(|t| !t.curve.is_empty())
            };
            match at(trials, goal, a.trial, step) {
                Some(a) => a < loss,
                None => !is_known(a) && end < loss,
            }
        }
        (Outcome::Partial { step: reached, .. }, Outcome::Partial { step, loss }) => {
            reached >= step && at(trials, goal, a.trial, step).is_some_and(|a| a < loss)
        }
        _ => false,
    }
}

fn at(trials: &[Trial], goal: Goal, trial: TrialId, step: u64) -> Option<f64> {
    trials
        .get(trial.index())?
        .curve
        .at(step)
        .map(|v| goal.as_loss(v))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::{Log, always, float, space, spec};
    use hpo_study::{AttemptEnd, Config, EarlyTerminate, FailReason, Method, StopReason};

    fn log() -> Log {
        let space = space([always("x", float(0.0, 1.0))]);
        Log::new(spec(space, Method::Random, EarlyTerminate::None))
    }

    fn observed(log: &Log) -> Observations {
        let mut observations = Observations::new(&log.history.spec().space);
        let mut history = History::open(&log.events[0]).unwrap();
        for event in &log.events[1..] {
            history.apply(event).unwrap();
            observations.observe(&history, event);
        }
        observations
    }

    fn start(log: &mut Log, x: f64) -> TrialId {
        log.start([("x", x)].into_iter().collect::<Config>(), 0, None)
    }

    fn exited() -> AttemptEnd {
        AttemptEnd::Exited {
            code: 0,
            stderr: String::new(),
        }
    }

    fn run(log: &mut Log, x: f64, losses: &[f64]) -> TrialId {
        let trial = start(log, x);
        for (step, loss) in losses.iter().enumerate() {
            log.report(trial, step as u64 + 1, *loss);
        }
        trial
    }

    fn complete(log: &mut Log, x: f64, losses: &[f64]) {
        let trial = run(log, x, losses);
        log.end(trial, exited());
        log.complete(trial);
    }

    fn prune(log: &mut Log, x: f64, losses: &[f64]) {
        let trial = run(log, x, losses);
        let evidence = String::new();
        log.stop(trial, StopReason::Pruned { evidence });
    }

    fn ranking(observations: &Observations) -> Vec<u32> {
        let of = |i: &usize| observations.told()[*i].trial.0;
        observations.ranking().iter().map(of).collect()
    }

    #[test]
    fn a_pruned_trial_stands_where_it_stood_at_its_last_step() {
        let mut log = log();
        complete(&mut log, 0.1, &[9.0, 5.0, 1.0]);
        complete(&mut log, 0.2, &[7.0, 6.0, 2.0]);
        complete(&mut log, 0.3, &[8.0, 7.0, 3.0]);
        // At step 2 better than the third only, though its loss is above all final ones.
        prune(&mut log, 0.4, &[9.0, 6.5]);
        // At step 1 better than nobody.
        prune(&mut log, 0.5, &[9.5]);
        assert_eq!(ranking(&observed(&log)), [0, 1, 2, 3, 4]);
        // A complete one goes by its end, whatever it was on the way.
        complete(&mut log, 0.6, &[9.9, 9.9, 0.5]);
        assert_eq!(ranking(&observed(&log))[0], 5);
    }

    #[test]
    fn infeasible_trials_are_told_and_rank_nowhere_and_lost_ones_are_forgotten() {
        let mut log = log();
        complete(&mut log, 0.1, &[1.0]);
        let trial = run(&mut log, 0.2, &[0.1]);
        let evidence = String::new();
        log.stop(trial, StopReason::Diverged { evidence });
        complete(&mut log, 0.3, &[f64::NAN]);
        let crashed = start(&mut log, 0.4);
        log.fail(crashed);
        let lost = start(&mut log, 0.5);
        log.end(lost, AttemptEnd::Lost);
        log.push(EventKind::TrialFailed {
            trial: lost,
            reason: FailReason::Lost,
        });
        let running = start(&mut log, 0.6);
        let observations = observed(&log);
        assert_eq!(ranking(&observations), [0]);
        let outcomes: Vec<Outcome> = observations.told().iter().map(|t| t.outcome).collect();
        assert_eq!(outcomes[1..], [Outcome::Infeasible; 3]);
        assert_eq!(observations.told().len(), 4);
        assert_eq!(observations.pending().collect::<Vec<_>>(), [running]);
        assert!(observations.is_seen(observations.point(lost)));
    }

    /// Asked after every event as if asked for the first time.
    #[test]
    fn the_order_is_the_same_whether_it_was_asked_for_before_or_not() {
        for stops_early in [false, true] {
            let mut log = log();
            let mut waiting = None;
            for i in 0..40_u32 {
                let x = f64::from(i) / 40.0;
                let loss = f64::from(i * 7 % 11);
                match i % 5 {
                    1 if stops_early => prune(&mut log, x, &[loss, 9.0 - loss]),
                    2 if stops_early => {
                        let trial = run(&mut log, x, &[loss]);
                        log.pause(trial);
                        waiting = Some(trial);
                    }
                    3 => {
                        let trial = run(&mut log, x, &[loss]);
                        let evidence = String::new();
                        log.stop(trial, StopReason::Diverged { evidence });
                    }
                    _ => complete(&mut log, x, &[5.0, loss]),
                }
                if let Some(trial) = waiting.take_if(|_| i % 4 == 0) {
                    log.launch(trial, None);
                    log.report(trial, 2, loss);
                    log.end(trial, exited());
                    log.complete(trial);
                }
            }
            let mut history = History::open(&log.events[0]).unwrap();
            let mut asked = Observations::new(&history.spec().space);
            for event in &log.events[1..] {
                history.apply(event).unwrap();
                asked.observe(&history, event);
                let mut sorted: Vec<usize> = (0..asked.told().len()).collect();
                sorted.sort_by(|a, b| asked.compare(*a, *b));
                assert_eq!(asked.order(), sorted);
            }
            assert_eq!(asked.order(), observed(&log).order());
        }
    }

    #[test]
    fn what_comes_back_from_a_pause_and_counts_no_more_is_said() {
        let mut log = log();
        // Ranks at step 1 last until step 2, and those at step 4 turn round until step 8.
        for i in 0..60_u32 {
            let (early, late) = (f64::from(i), f64::from(60 - i));
            complete(
                &mut log,
                0.001 * f64::from(i),
                &[early, early, early, early, late, late, late, late],
            );
        }
        let waiting = run(&mut log, 0.5, &[6.5]);
        log.pause(waiting);
        let before = observed(&log);
        log.launch(waiting, None);
        (2..=4).for_each(|step| log.report(waiting, step, 6.5));
        log.pause(waiting);
        let after = observed(&log);
        let is_blind = |o: &Observations| o.told().last().unwrap().is_blind;
        assert_eq!((is_blind(&before), is_blind(&after)), (false, true));
        assert!(after.turns() > before.turns());
    }

    #[test]
    fn a_trial_that_waits_counts_with_what_it_has_and_later_with_what_it_got() {
        let mut log = log();
        complete(&mut log, 0.1, &[5.0, 4.0]);
        let waiting = run(&mut log, 0.2, &[6.0]);
        log.pause(waiting);
        complete(&mut log, 0.3, &[5.5, 4.5]);
        assert_eq!(ranking(&observed(&log)), [0, 2, 1]);
        log.launch(waiting, None);
        log.report(waiting, 2, 1.0);
        log.end(waiting, exited());
        log.complete(waiting);
        let observations = observed(&log);
        assert_eq!(ranking(&observations), [1, 0, 2]);
        assert_eq!(observations.told().len(), 3);
        let better: Vec<u32> = observations.told().iter().map(|t| t.better).collect();
        assert_eq!(better, [1, 0, 2]);
    }
}
