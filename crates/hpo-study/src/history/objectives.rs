//! What a trial has of every objective, and which trials no other is better than.

use super::{History, Trial};
use crate::front;
use crate::id::TrialId;

impl History {
    /// What a trial last reported of every objective, in the order of
    /// [`StudySpec::objectives`](crate::StudySpec::objectives); `None`: nothing yet. Possibly not finite.
    #[must_use]
    pub fn values(&self, trial: &Trial) -> Vec<Option<f64>> {
        let further = self.spec.further.iter();
        let further = further.map(|metric| self.last_of(trial, &metric.name));
        std::iter::once(trial.value()).chain(further).collect()
    }

    /// The same as losses, to be made small; `None` unless all are there and finite.
    #[must_use]
    pub fn losses(&self, trial: &Trial) -> Option<Vec<f64>> {
        let values = self.values(trial).into_iter();
        let loss = |(metric, value): (&crate::Metric, Option<f64>)| {
            Some(metric.goal.as_loss(value.filter(|v| v.is_finite())?))
        };
        self.spec.objectives().zip(values).map(loss).collect()
    }

    /// The completed trials that no other completed one is at least as good as in every objective, and better in one,
    /// by number. With one objective that is the best trial.
    #[must_use]
    pub fn front(&self) -> Vec<&Trial> {
        if !self.spec.has_several() {
            return self.best().into_iter().collect();
        }
        let trials = self.front.iter();
        trials.filter_map(|(id, _)| self.trial(*id)).collect()
    }

    /// The trial of the front that is the best compromise ([`front::compromise`]); `None` while there is none.
    #[must_use]
    pub fn compromise(&self) -> Option<&Trial> {
        if !self.spec.has_several() {
            return self.front().first().copied();
        }
        let losses = self.front.iter().map(|(_, losses)| losses.clone());
        let place = front::compromise(&losses.collect::<Vec<Vec<f64>>>())?;
        self.trial(self.front.get(place)?.0)
    }

    /// The best trial; with several objectives the one that came to the front last. It is another one whenever there is
    /// something new.
    #[must_use]
    pub fn newest_best(&self) -> Option<TrialId> {
        match self.spec.has_several() {
            true => self.front().into_iter().max_by_key(|t| (t.ended, t.id)),
            false => self.best(),
        }
        .map(|trial| trial.id)
    }

    /// The completed trials with finite values, from best to worst: by layers of the front, the
    /// first ones of each spread widely ([`front::order`]). With one objective by value.
    #[must_use]
    pub fn best_first(&self) -> Vec<&Trial> {
        const SPREAD: usize = 64;
        let completed = self.trials.iter();
        let completed =
            completed.filter(|t| t.state == super::TrialState::Completed && t.origin.is_none());
        let (trials, losses): (Vec<&Trial>, Vec<Vec<f64>>) =
            completed.filter_map(|t| Some((t, self.losses(t)?))).unzip();
        if self.spec.has_several() {
            let order = front::order(&losses, SPREAD);
            return order.into_iter().map(|i| trials[i]).collect();
        }
        let mut order: Vec<usize> = (0..trials.len()).collect();
        order.sort_by(|a, b| losses[*a][0].total_cmp(&losses[*b][0]));
        order.into_iter().map(|i| trials[i]).collect()
    }

    /// A trial has completed: it joins the front if it belongs there, and others may leave.
    pub(super) fn join_front(&mut self, trial: TrialId) {
        if !self.spec.has_several() || !trial.is_of_search() {
            return;
        }
        let record = self.trial(trial).filter(|t| t.origin.is_none());
        let Some(own) = record.and_then(|t| self.losses(t)) else {
            return;
        };
        let mut others = self.front.iter();
        if others.any(|(_, other)| front::dominates(other, &own)) {
            return;
        }
        self.front
            .retain(|(_, other)| !front::dominates(&own, other));
        let place = self.front.partition_point(|(id, _)| *id < trial);
        self.front.insert(place, (trial, own));
    }

    /// The last number reported of a metric other than the first objective.
    fn last_of(&self, trial: &Trial, name: &str) -> Option<f64> {
        let index = self.metric_names.iter().position(|n| n == name)?;
        trial.curve.last_of(u16::try_from(index).ok()?)
    }
}
