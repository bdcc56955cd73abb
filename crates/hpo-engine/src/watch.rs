//! Who watches a trial: its detector, and the reports that it has seen.

use std::collections::BTreeMap;

use hpo_study::divergence::trainer_tells;
use hpo_study::protocol::CHANCE;
use hpo_study::{DivergencePolicy, Finding, History, Job, StudySpec, Trial};

use crate::divergence::{self as detector, Chance, Detector, Settings};

/// The detector of one trial. What it knows follows from the trial's curve alone, so that a trial that
/// went back to a checkpoint is seen as one that was never disturbed.
pub(crate) struct Watch {
    settings: Settings,
    /// The name of the watched metric, …
    metric: String,
    /// … and that by which the trial itself says what chance is, where nobody else does.
    chance: Option<String>,
    /// What it said of that, at which step.
    said: Vec<(u64, f64)>,
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
        let chance = chance_name(spec);
        let mut watch = Self {
            settings,
            metric: spec.watched().name.clone(),
            said: chance
                .as_ref()
                .map_or_else(Vec::new, |name| history.reports(trial, name)),
            chance,
            points: points(history, trial),
            before: Detector::new(settings),
            now: Detector::new(settings),
            news: None,
        };
        watch.believe();
        // What other wishes would have found by now is news, if nobody knows it yet.
        let last = watch.start_again();
        let known = |found: &detector::Finding| {
            let known = trial.findings.last().map(|f| (f.step, f.certain));
            known == Some((found.step, found.certain))
        };
        watch.news = last.filter(|found| found.verdict.is_hopeless() && !known(found));
        Some(watch)
    }

    /// Sees a report.
    pub(crate) fn see(&mut self, step: u64, metrics: &BTreeMap<String, f64>) {
        self.go_back(step);
        if let Some(said) = self.chance.as_ref().and_then(|name| metrics.get(name)) {
            put(&mut self.said, step, *said);
            self.believe();
        }
        let Some(value) = metrics.get(&self.metric).copied() else {
            return;
        };
        if put(&mut self.points, step, value) {
            self.before = self.now.clone();
        } else {
            self.now = self.before.clone();
        }
        self.news = self.now.observe(step, value);
    }

    /// Forgets what a process that went back says again.
    fn go_back(&mut self, step: u64) {
        let before = |points: &[(u64, f64)]| points.partition_point(|point| point.0 < step);
        if self.said.last().is_some_and(|(last, _)| step < *last) {
            self.said.truncate(before(&self.said));
            self.believe();
        }
        if self.points.last().is_some_and(|(last, _)| step < *last) {
            self.points.truncate(before(&self.points));
            self.start_again();
        }
    }

    /// Takes the trial's last word on what chance is, and looks at everything anew if that is news.
    fn believe(&mut self) {
        if self.chance.is_none() {
            return;
        }
        let said = self.said.iter().rev().map(|(_, value)| *value);
        let mut said = said.filter(|value| value.is_finite());
        let said = said.next();
        let chance = said.map_or(Chance::Unknown, Chance::Known);
        if chance != self.settings.chance {
            self.settings.chance = chance;
            self.news = self.start_again();
        }
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

/// Adds a value; one for the last step takes the place of the former. `true` when it was added.
fn put(points: &mut Vec<(u64, f64)>, step: u64, value: f64) -> bool {
    match points.last_mut() {
        Some(last) if last.0 == step => {
            last.1 = value;
            false
        }
        _ => {
            points.push((step, value));
            true
        }
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
    history.reports(trial, &history.spec().watched().name)
}

/// The name by which a trial says what the watched metric is for a model that knows nothing; `None` when
/// the study file says it, or it makes no sense.
fn chance_name(spec: &StudySpec) -> Option<String> {
    let upside_down = matches!(spec.job, Job::Trainer(_)) && !trainer_tells(spec.watched());
    let wanted = spec.divergence.chance.is_none() && !upside_down;
    wanted.then(|| format!("{CHANCE}{}", spec.watched().name))
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
