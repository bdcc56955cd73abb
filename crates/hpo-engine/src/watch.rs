//! Who watches a trial: its detector, and the reports that it has seen.

use hpo_study::{DivergencePolicy, Finding, History, StudySpec, Trial};

use crate::divergence::{self as detector, Chance, Detector, Settings};

/// The detector of one trial. What it knows follows from the trial's curve alone, so that a trial that
/// went back to a checkpoint is seen as one that was never disturbed.
pub(crate) struct Watch {
    settings: Settings,
    /// The watched metric at each step.
    points: Vec<(u64, f64)>,
    /// As it was before the last of the points, …
    before: Detector,
    /// … and after it.
    now: Detector,
    /// What the last point showed, until it is in the log.
    news: Option<detector::Finding>,
}

impl Watch {
    /// A watch over a trial as it stands; `None` when the study wants none.
    pub(crate) fn over(history: &History, trial: &Trial) -> Option<Self> {
        let spec = history.spec();
        if spec.divergence.policy == DivergencePolicy::Off {
            return None;
        }
        let settings = settings(spec, trial);
        let mut watch = Self {
            settings,
            points: points(history, trial),
            before: Detector::new(settings),
            now: Detector::new(settings),
            news: None,
        };
        // What other wishes would have found by now is news, if nobody knows it yet.
        let last = watch.start_again();
        let known = |found: &detector::Finding| {
            let known = trial.findings.last().map(|f| (f.step, f.certain));
            known == Some((found.step, found.certain))
        };
        watch.news = last.filter(|found| found.verdict.is_hopeless() && !known(found));
        Some(watch)
    }

    /// Sees a report: its step, and the watched metric if that was in it.
    pub(crate) fn see(&mut self, step: u64, value: Option<f64>) {
        if self.points.last().is_some_and(|(last, _)| step < *last) {
            self.points
                .truncate(self.points.partition_point(|p| p.0 < step));
            self.start_again();
        }
        let Some(value) = value else { return };
        match self.points.last_mut() {
            // A second word about the same step takes the place of the first.
            Some(last) if last.0 == step => {
                last.1 = value;
                self.now = self.before.clone();
            }
            _ => {
                self.points.push((step, value));
                self.before = self.now.clone();
            }
        }
        self.news = self.now.observe(step, value);
    }

    /// What is new and not in the log yet.
    pub(crate) fn news(&self, metric: &str) -> Option<Finding> {
        Some(record(&self.news?, metric))
    }

    /// The news are in the log.
    pub(crate) fn told(&mut self) {
        self.news = None;
    }

    /// Goes through all points anew, and gives back the last thing that they show. After a process went
    /// back it is in the log already.
    fn start_again(&mut self) -> Option<detector::Finding> {
        self.news = None;
        self.now = Detector::new(self.settings);
        self.before = self.now.clone();
        let mut last = None;
        for (i, (step, value)) in self.points.iter().enumerate() {
            if i + 1 == self.points.len() {
                self.before = self.now.clone();
            }
            last = self.now.observe(*step, *value).or(last);
        }
        last
    }
}

/// What the detector is told about a trial.
fn settings(spec: &StudySpec, trial: &Trial) -> Settings {
    let wishes = &spec.divergence;
    let planned = spec.planned_steps();
    Settings {
        grace_steps: wishes.grace_steps.max(warm_up(trial, planned)),
        recover_steps: wishes.recover_steps,
        ..Settings::new(
            spec.watched().goal,
            wishes.chance.map_or(Chance::Unknown, Chance::Known),
            planned,
        )
    }
}

/// How long the learning rate still rises: the warm-up of the catalogue's schedules.
fn warm_up(trial: &Trial, planned: Option<u64>) -> u64 {
    let share = trial.config.number("warmup_fraction").unwrap_or(0.0);
    let steps = planned.map_or(0.0, |steps| share.clamp(0.0, 1.0) * steps as f64);
    steps.ceil() as u64
}

/// The watched metric of a trial so far.
pub(crate) fn points(history: &History, trial: &Trial) -> Vec<(u64, f64)> {
    let watched = &history.spec().watched().name;
    if *watched == history.spec().metric.name {
        return trial.curve.objectives().collect();
    }
    let index = history.metric_names().iter().position(|n| n == watched);
    let column = trial
        .curve
        .others
        .iter()
        .find(|(i, _)| Some(usize::from(*i)) == index);
    let values = column.map_or(&[][..], |(_, values)| values);
    // NaN is "not reported" here.
    let rows = trial.curve.steps.iter().zip(values);
    rows.filter(|(_, value)| !value.is_nan())
        .map(|(step, value)| (*step, *value))
        .collect()
}

/// A finding as it stands in the log.
fn record(found: &detector::Finding, metric: &str) -> Finding {
    // JSON has no infinite numbers; the words have them.
    let finite = |x: Option<f64>| x.filter(|x| x.is_finite());
    let detector::Evidence {
        non_finite,
        level,
        best,
        chance,
        since,
        to_return,
        remaining,
    } = found.evidence;
    Finding {
        verdict: found.verdict,
        step: found.step,
        rule: found.rule.to_owned(),
        certain: found.certain,
        metric: metric.to_owned(),
        non_finite,
        level: finite(level),
        best: finite(best),
        chance: finite(chance),
        since,
        to_return: finite(to_return),
        remaining: finite(remaining),
        detail: format!("{metric} {} ({})", found.words(), found.rule),
    }
}
