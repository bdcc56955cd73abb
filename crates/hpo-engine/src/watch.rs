//! Who watches a trial: its detector, and the reports that it has seen.

use std::collections::BTreeMap;

use hpo_study::divergence::trainer_tells;
use hpo_study::protocol::CHANCE;
use hpo_study::{DivergencePolicy, Finding, History, Job, StudySpec, Trial};

use crate::divergence::{self as detector, Chance, Detector, Settings};

/// The detector of one trial. What it knows follows from the trial's curve alone, so that a trial that
/// went back to a checkpoint is seen as one that was never disturbed. It keeps no points: the few times
/// that it needs them again it reads the curve.
pub(crate) struct Watch {
    settings: Settings,
    /// The name of the watched metric, …
    metric: String,
    /// … and that by which the trial itself says what chance is, where nobody else does.
    chance: Option<String>,
    /// The last step of the trial's curve, …
    reached: Option<u64>,
    /// … and the last one at which the watched metric was there.
    seen: Option<u64>,
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
            metric: spec.watched().name.clone(),
            chance: chance_name(spec),
            reached: trial.curve.last_step(),
            seen: None,
            before: Detector::new(settings),
            now: Detector::new(settings),
            news: None,
        };
        watch.believe(history, trial);
        let last = watch.start_again(&points(history, trial));
        // What was seen in the last point, and what other wishes would have found by now, is news, if
        // nobody knows it yet.
        let is_news = |found: &detector::Finding| {
            let known = trial.findings.last().map(|f| (f.step, f.certain));
            let is_due = found.verdict.is_hopeless() || watch.seen == Some(found.step);
            is_due && known != Some((found.step, found.certain))
        };
        watch.news = last.filter(is_news);
        Some(watch)
    }

    /// Sees a report that the history has taken in.
    pub(crate) fn see(
        &mut self,
        history: &History,
        trial: &Trial,
        step: u64,
        metrics: &BTreeMap<String, f64>,
    ) {
        let before = self.reached.replace(step);
        let went_back = before.is_some_and(|before| step < before);
        let tells = self.chance.as_ref().and_then(|name| metrics.get(name));
        let settled = tells.is_some_and(|said| self.settings.chance == Chance::Known(*said));
        let believes = (went_back || tells.is_some() && !settled) && self.believe(history, trial);
        let value = metrics.get(&self.metric).copied();
        if went_back || believes {
            let mut points = points(history, trial);
            if value.is_some() {
                points.retain(|point| point.0 < step);
            }
            let last = self.start_again(&points);
            // After a process went back it is in the log already.
            self.news = last.filter(|_| believes);
        }
        let Some(value) = value else {
            return;
        };
        if self.seen.replace(step) == Some(step) {
            self.now = self.before.clone();
        } else {
            self.before = self.now.clone();
        }
        self.news = self.now.observe(step, value);
    }

    /// Takes the trial's last word on what chance is; `true` if that is news.
    fn believe(&mut self, history: &History, trial: &Trial) -> bool {
        let Some(name) = &self.chance else {
            return false;
        };
        let said = history.reports(trial, name);
        let last = said.iter().rev().find(|(_, value)| value.is_finite());
        let chance = last.map_or(Chance::Unknown, |(_, value)| Chance::Known(*value));
        std::mem::replace(&mut self.settings.chance, chance) != chance
    }

    /// What is new and not in the log yet.
    pub(crate) fn news(&self, metric: &str) -> Option<Finding> {
        Some(record(&self.news?, metric))
    }

    /// The news are in the log.
    pub(crate) fn told(&mut self) {
        self.news = None;
    }

    /// Goes through all points anew, and gives back the last thing that they show.
    fn start_again(&mut self, points: &[(u64, f64)]) -> Option<detector::Finding> {
        self.news = None;
        self.now = Detector::new(self.settings);
        self.before = self.now.clone();
        self.seen = points.last().map(|point| point.0);
        let mut last = None;
        for (i, (step, value)) in points.iter().enumerate() {
            if i + 1 == points.len() {
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
