//! Asynchronous successive halving, in the variant that stops trials instead of pausing them.
//!
//! Li et al., "A system for massively parallel hyperparameter tuning", MLSys 2020 (arXiv 1810.05934,
//! 2018); the stopping variant as in Syne Tune 0.13 (`StoppingRungSystem`, `type="stopping"`).

use hpo_study::{Event, EventKind, History, Rungs, Trial, TrialId};

use super::{Waiting, comparable, objective_at, short, speaker, verdict};
use crate::{Next, Scheduler, Verdict};

/// Every trial runs towards the full length. When it comes to rung `r` below that, its loss is put
/// with those of the trials that came there before, and it goes on when
///
/// > loss ≤ quantile(losses at r, 1/eta)
///
/// with the quantile interpolated as in NumPy. Without interpolation: of `n` losses, at most
/// `⌊(n − 1)/eta⌋` are better. So the first to come always goes on.
///
/// A trial is judged once at each rung, when it first measures the objective there or beyond, and what
/// was found stays, whoever comes later. A trial that diverged or failed before it came to its next
/// rung is put there with the worst loss.
pub(crate) struct Asha {
    /// `None`: nothing says it.
    full: Option<u64>,
    eta: usize,
    rungs: Vec<Rung>,
    trials: Vec<Progress>,
    waiting: Waiting,
}

/// A rung below the top.
struct Rung {
    level: u64,
    /// The losses of all who came here, best first.
    losses: Vec<f64>,
}

/// How far a trial has come.
#[derive(Default, Clone)]
struct Progress {
    /// At how many rungs it was judged.
    judged: usize,
    /// Why it has to stop, if it has to.
    stop: Option<String>,
}

impl Asha {
    pub(crate) fn new(rungs: Rungs) -> Self {
        let mut levels = rungs.levels();
        levels.pop();
        Self {
            full: Some(rungs.max_iter).filter(|_| !rungs.is_open()),
            eta: rungs.eta as usize,
            rungs: levels
                .into_iter()
                .map(|level| Rung {
                    level,
                    losses: Vec::new(),
                })
                .collect(),
            trials: Vec::new(),
            waiting: Waiting::default(),
        }
    }

    fn progress(&mut self, trial: TrialId) -> &mut Progress {
        if self.trials.len() <= trial.index() {
            self.trials.resize(trial.index() + 1, Progress::default());
        }
        &mut self.trials[trial.index()]
    }

    fn arrive(&mut self, history: &History, trial: &Trial) {
        let Some((step, _)) = trial.curve.last() else {
            return;
        };
        let metric = &history.spec().metric;
        let eta = self.eta;
        let mut progress = self.progress(trial.id).clone();
        while progress.stop.is_none()
            && let Some(rung) = self
                .rungs
                .get_mut(progress.judged)
                .filter(|r| step >= r.level)
            && let Some(value) = objective_at(&trial.curve, rung.level)
        {
            progress.judged += 1;
            let better = rung.enter(comparable(metric.goal, value));
            let others = rung.losses.len() - 1;
            if better * eta > others {
                progress.stop = Some(format!(
                    "asha: {} {} at step {} is rank {} of {} so far at this rung; the best {} go on",
                    metric.name,
                    short(value),
                    rung.level,
                    better + 1,
                    others + 1,
                    others / eta + 1,
                ));
            }
        }
        *self.progress(trial.id) = progress;
    }

    fn drop_out(&mut self, trial: TrialId) {
        let progress = self.progress(trial);
        let next = progress.judged;
        progress.judged += 1;
        if progress.stop.is_none()
            && let Some(rung) = self.rungs.get_mut(next)
        {
            rung.enter(f64::INFINITY);
        }
    }
}

impl Rung {
    /// Puts a loss in; how many are better.
    fn enter(&mut self, loss: f64) -> usize {
        let better = self.losses.partition_point(|l| *l < loss);
        self.losses.insert(better, loss);
        better
    }
}

impl Scheduler for Asha {
    fn next(&self, history: &History, can_start: bool) -> Next {
        self.waiting.resume_or_start(history, can_start, self.full)
    }

    fn judge(&self, history: &History, trial: TrialId) -> Verdict {
        let stop = self
            .trials
            .get(trial.index())
            .and_then(|progress| progress.stop.as_ref());
        verdict(history, trial, stop)
    }

    fn observe(&mut self, history: &History, event: &Event) {
        self.waiting.observe(history, event);
        match &event.kind {
            EventKind::Reported { trial, attempt, .. } => {
                if let Some(record) = speaker(history, *trial, *attempt) {
                    self.arrive(history, record);
                }
            }
            EventKind::TrialStopped { trial, reason } if reason.is_infeasible() => {
                self.drop_out(*trial);
            }
            EventKind::TrialFailed { trial, .. } => self.drop_out(*trial),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::{Log, spec};
    use hpo_study::StopReason;
    use hpo_study::{Config, EarlyTerminate, Goal, Method, Space};
    use proptest::prelude::*;

    fn study(min_iter: u64, max_iter: u64, eta: u32) -> hpo_study::StudySpec {
        let asha = EarlyTerminate::Asha(Rungs {
            min_iter,
            max_iter,
            eta,
        });
        spec(Space::default(), Method::Random, asha)
    }

    fn start(log: &mut Log) -> TrialId {
        log.start(Config::new(), 0, Some(9))
    }

    fn stops(log: &Log, trial: TrialId) -> bool {
        matches!(
            log.scheduler.judge(&log.history, trial),
            Verdict::Stop { .. }
        )
    }

    #[test]
    fn a_verdict_stands_whoever_comes_later() {
        let mut log = Log::new(study(1, 9, 3));
        let trials: Vec<_> = (0..4).map(|_| start(&mut log)).collect();
        for (trial, loss) in [(0, 0.5), (1, 0.6), (2, 0.4), (3, 0.45)] {
            log.report(trials[trial], 1, loss);
        }
        let stopped: Vec<bool> = trials.iter().map(|t| stops(&log, *t)).collect();
        // Rank 2 of 4 goes on: one of three others is better. Trial 0 came first and stays.
        assert_eq!(stopped, [false, true, false, false]);
        let Verdict::Stop { evidence } = log.scheduler.judge(&log.history, trials[1]) else {
            panic!("it was told so before");
        };
        assert_eq!(
            evidence,
            "asha: loss 0.6000 at step 1 is rank 2 of 2 so far at this rung; the best 1 go on"
        );
        log.report(trials[1], 2, 0.0);
        assert!(stops(&log, trials[1]), "a rung is judged once");
    }

    #[test]
    fn the_failed_count_as_worst_in_their_rung() {
        let mut log = Log::new(study(1, 9, 3));
        let trials: Vec<_> = (0..5).map(|_| start(&mut log)).collect();
        log.report(trials[0], 1, 0.5);
        log.fail(trials[1]);
        log.stop(
            trials[2],
            StopReason::Diverged {
                evidence: String::new(),
            },
        );
        log.report(trials[3], 1, 0.6);
        assert!(!stops(&log, trials[3]), "rank 2 of 4");
        log.report(trials[4], 1, 0.6);
        assert!(!stops(&log, trials[4]), "rank 2, shared, of 5");
    }

    /// NumPy's `quantile` with linear interpolation, as Syne Tune calls it.
    fn quantile(values: &[f64], q: f64) -> f64 {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let position = q * (sorted.len() - 1) as f64;
        let (low, part) = (position.floor() as usize, position.fract());
        let high = (low + 1).min(sorted.len() - 1);
        // A whole position up to rounding is that position.
        if part > 1.0 - 1e-9 {
            sorted[high]
        } else if part < 1e-9 {
            sorted[low]
        } else {
            sorted[low] + part * (sorted[high] - sorted[low])
        }
    }

    proptest! {
        /// Against Syne Tune's rule written down again: curves that report every step, in any order
        /// of arrival, stopped as soon as the rule says so.
        #[test]
        fn it_decides_as_the_rule_by_quantiles(
            losses in prop::collection::vec(prop::collection::vec(-50_i32..50, 27), 1..25),
            order in prop::collection::vec(any::<prop::sample::Index>(), 400),
            eta in 2_u32..5,
            maximize in any::<bool>(),
        ) {
            let mut study = study(1, 27, eta);
            let levels: Vec<u64> =
                std::iter::successors(Some(27.0), |r| Some(r / f64::from(eta)))
                    .map(|r: f64| r.round() as u64)
                    .take_while(|r| *r >= 1)
                    .filter(|r| *r < 27)
                    .collect();
            if maximize {
                study.metric.goal = Goal::Maximize;
            }
            let mut log = Log::new(study);
            let trials: Vec<_> = losses.iter().map(|_| start(&mut log)).collect();
            let mut running: Vec<usize> = (0..trials.len()).collect();
            let mut arrived = std::collections::HashMap::<u64, Vec<f64>>::new();
            let mut steps = vec![0_u64; trials.len()];
            for index in order {
                if running.is_empty() {
                    break;
                }
                let which = index.index(running.len());
                let trial = running[which];
                let loss = f64::from(losses[trial][steps[trial] as usize]);
                steps[trial] += 1;
                log.report(trials[trial], steps[trial], if maximize { -loss } else { loss });
                let mut stop = false;
                if levels.contains(&steps[trial]) {
                    let rung = arrived.entry(steps[trial]).or_default();
                    rung.push(loss);
                    stop = loss > quantile(rung, 1.0 / f64::from(eta));
                }
                prop_assert_eq!(stops(&log, trials[trial]), stop);
                if stop || steps[trial] == 27 {
                    running.swap_remove(which);
                }
            }
            let (_, rebuilt) = log.rebuilt();
            for trial in &trials {
                let now = log.scheduler.judge(&log.history, *trial);
                prop_assert_eq!(rebuilt.judge(&log.history, *trial), now);
            }
        }
    }
}
