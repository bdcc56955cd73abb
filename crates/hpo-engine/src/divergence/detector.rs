//! The state machine: reports in, findings out.

use super::cells::{Cell, Cells, GOOD, median};
use super::finding::{Evidence, Finding, State};
use super::scale::Scale;
use super::settings::{Chance, Patience, Settings};
use super::trend::{ERRORS, Trend, height_of};
use hpo_study::{Goal, Verdict};

/// Not lower than this counts as having learned nothing: a loss of .98 times chance.
const NOTHING: f64 = -0.02;
/// What noise can excuse: a height this low counts as having learned something, whatever the noise.
const SOMETHING: f64 = -0.07;
/// Noise is not taken for learning: within three standard errors of a moment's height, of which
/// there are many in a run.
const MOMENT_ERRORS: f64 = 3.0;
/// Lower than this, at any time, counts as having learned: a loss of .9 times chance.
const LEARNED: f64 = GOOD;
/// This near to chance a run rests there; above, it moves about; below, it is learning slowly.
const RESTING: f64 = 0.0025;
/// Higher than this is diverged, not stuck: a loss of 1.05 times chance.
const ABOVE: f64 = 0.05;
/// So high that a run is in trouble however long it is to be: a loss of 1.4 times chance.
const FAR: f64 = 0.4;
/// A run of which this share of reports is clearly better than chance is alive.
const ALIVE: f64 = 0.05;
/// A run is on its way back when it needs at most this share of what remains to get there.
const RETURN: f64 = 0.75;
/// One that comes down may do so faster by this many standard errors of its slope, for noise can
/// hide as much. Half of one spares six in ten of the slow descents with noise that would be given
/// up without it; a whole one eight in ten, but then lost runs are found later as well.
const SLOPE_ERRORS: f64 = 0.5;
/// A stretch is this share of the run.
const STRETCH: f64 = 0.01;
/// A report of this step or an earlier one tells of an untrained model, where steps are many.
const FIRST: f64 = 1.0;
/// As high as where it began: within this share of that height.
const SAME: f64 = 0.2;
/// Few reports are waited for no longer than this share of the run.
const WAIT: f64 = 0.4;
/// Fewest reports before anything is said, however short the run.
const FEWEST: f64 = 4.0;
/// With the length of the run unknown, it is taken to be at least this many reports.
const UNKNOWN_REPORTS: f64 = 500.0;
/// With the length of the run unknown, it is taken to be this many times what it is by now.
const UNKNOWN_SHARE: f64 = 1.5;
/// Most of what was learned.
const MOST: f64 = 0.75;
/// With less than this share of the run left, a run that is better than chance is let through.
const LATE: f64 = 0.05;
/// A spike: this share of what was learned is lost. It is over when half of that is back.
const SPIKE: f64 = 1.0 / 3.0;
/// This many reports in a row that are not finite end a run; one less when it has 30 in all.
const NON_FINITE: u32 = 3;

/// Watches one run: feed it every report, act on what it finds. Pure: what it finds follows from
/// the settings and the reports alone. Under 8 kB, never more, however long the run.
#[derive(Clone, Debug)]
pub struct Detector {
    settings: Settings,
    state: State,
    /// A hopeless verdict was given for certain.
    settled: bool,
    scale: Option<Scale>,
    cells: Cells,
    first: Option<f64>,
    /// Step and height of the first finite report.
    began: Option<(f64, f64)>,
    /// A loss that goes below zero: what there is to learn is not known.
    is_open: bool,
    last: f64,
    gap: f64,
    non_finite: u32,
    /// The lowest smoothed height so far.
    best: f64,
    /// The highest smoothed height so far.
    worst: f64,
    /// Since when the run is at chance or worse.
    nothing_since: Option<f64>,
    /// Since when most of what was learned is lost.
    lost_since: Option<f64>,
    /// The best smoothed height before the spike that is under way.
    before_spike: f64,
    /// How much neighbouring stretches differ, on a running average.
    wobble: Option<f64>,
}

impl Detector {
    /// A detector for a run that is about to start.
    pub fn new(settings: Settings) -> Self {
        let scale = match settings.chance {
            Chance::Known(chance) if chance.is_finite() => Some(Scale::new(settings.goal, chance)),
            _ => None,
        };
        Self {
            settings,
            state: State::Healthy,
            settled: false,
            scale,
            cells: Cells::new(0.0),
            first: None,
            began: None,
            is_open: false,
            last: 0.0,
            gap: 0.0,
            non_finite: 0,
            best: f64::INFINITY,
            worst: f64::NEG_INFINITY,
            nothing_since: None,
            lost_since: None,
            before_spike: 0.0,
            wobble: None,
        }
    }

    /// Where the run stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// Takes a report and says what is new. A report whose step is not beyond the last one's (a run
    /// that was put back to a checkpoint) counts as one at the same time. A hopeless verdict
    /// is given once, or once more when it becomes certain; after that, all that can be found is
    /// that the run recovered. O(1) amortized; never allocates.
    pub fn observe(&mut self, step: u64, value: f64) -> Option<Finding> {
        self.advance(step as f64);
        if !value.is_finite() {
            return self.not_finite(step);
        }
        self.non_finite = 0;
        let goal = self.settings.goal;
        let scale = *self.scale.get_or_insert_with(|| Scale::new(goal, value));
        let (width, height) = (STRETCH * self.length(), scale.height(value));
        self.began.get_or_insert((self.last, height));
        self.is_open |= goal == Goal::Minimize && scale.chance().min(value) < 0.0;
        if !self.cells.push(self.last, self.gap, width, height) {
            return None;
        }
        self.judge(step, scale)
    }

    fn advance(&mut self, at: f64) {
        if self.first.is_none() {
            (self.first, self.last) = (Some(at), at);
            self.cells = Cells::new(at);
        } else if at > self.last {
            (self.gap, self.last) = (at - self.last, at);
        }
    }

    fn not_finite(&mut self, step: u64) -> Option<Finding> {
        self.non_finite = self.non_finite.saturating_add(1);
        let few = self.gap > 0.0 && self.length() <= 30.0 * self.gap;
        let enough = if few { NON_FINITE - 1 } else { NON_FINITE };
        if self.non_finite < enough || self.settled {
            return None;
        }
        (self.state, self.settled) = (State::Diverged, true);
        let evidence = Evidence {
            non_finite: Some(self.non_finite),
            ..Evidence::default()
        };
        let (verdict, rule) = (Verdict::Diverged, "non_finite");
        Some(Finding {
            verdict,
            step,
            rule,
            certain: true,
            evidence,
        })
    }

    /// How long the run is to be, in steps: as planned, or a guess.
    fn length(&self) -> f64 {
        match self.settings.planned_steps {
            Some(planned) if planned > 0 => (planned as f64).max(self.last),
            _ => (UNKNOWN_SHARE * self.elapsed()).max(UNKNOWN_REPORTS * self.gap),
        }
    }

    /// How much of it is left, in steps.
    fn remaining(&self) -> f64 {
        match self.settings.planned_steps {
            Some(planned) if planned > 0 => self.length() - self.last,
            _ => self.length() - self.elapsed(),
        }
    }

    fn elapsed(&self) -> f64 {
        self.last - self.first.unwrap_or(self.last)
    }

    fn is_over(&self) -> bool {
        matches!(
            self.state,
            State::Stuck | State::Diverged | State::NoProgress
        )
    }

    /// Looks at the run anew when a stretch of it is over.
    fn judge(&mut self, step: u64, scale: Scale) -> Option<Finding> {
        let &[.., a, b, c] = self.cells.all() else {
            return None;
        };
        let nothing = self.nothing_height((c.height - b.height).abs());
        // Two of three stretches make a median: when it turns, it turned with the one before.
        let from_the_start = self.cells.all().len() == 3 && a.height >= nothing;
        let begin = if from_the_start { a.start } else { b.start };
        let height = median(&mut [a.height, b.height, c.height])?;
        self.best = self.best.min(height);
        self.worst = self.worst.max(height);
        let has_lost_most = self.has_lost(height, MOST);
        keep(&mut self.nothing_since, height >= nothing, begin);
        keep(&mut self.lost_since, has_lost_most, begin);
        let found = match self.found(height) {
            // A warning is not repeated, but may become certain.
            Some(found) if self.is_over() && found.verdict.is_hopeless() => {
                Some(found).filter(|found| self.is_certain(found.level))?
            }
            found => found?,
        };
        let Found {
            verdict,
            rule,
            level,
            since,
            to_return,
        } = found;
        let certain = self.is_certain(level);
        self.state = verdict.into();
        self.settled = certain && verdict.is_hopeless();
        let evidence = Evidence {
            non_finite: None,
            level: Some(scale.value(level)),
            best: self.has_learned().then(|| scale.value(self.best)),
            chance: Some(scale.chance()),
            since: since.map(|since| since as u64),
            to_return,
            remaining: Some(self.remaining()),
        };
        Some(Finding {
            verdict,
            step,
            rule,
            certain,
            evidence,
        })
    }

    fn found(&mut self, height: f64) -> Option<Found> {
        let hopeless = if self.settled { None } else { self.hopeless() };
        hopeless.or_else(|| self.spike(height))
    }

    /// Whether what is found at a level may end a run. A loss that goes below zero (a density's) has
    /// no best value, so its unit is arbitrary and good runs take long to get below chance: there
    /// it must be far above, and clearly higher than where it began.
    fn is_certain(&self, level: f64) -> bool {
        let began = self.began.map_or(0.0, |(_, height)| height);
        if self.is_open && level <= FAR.max(began - LEARNED) {
            return false;
        }
        matches!(self.settings.chance, Chance::Known(chance) if chance.is_finite())
            && (self.settings.planned_steps.is_some() || level > FAR)
    }

    /// The height that a run at chance does not get below by noise. Normal noise of deviation σ puts
    /// neighbours 2σ/√π apart on average, and the median of three values .67σ off.
    fn nothing_height(&mut self, difference: f64) -> f64 {
        let wobble = self
            .wobble
            .map_or(difference, |mean| 0.9 * mean + 0.1 * difference);
        self.wobble = Some(wobble);
        let deviation = wobble * std::f64::consts::PI.sqrt() / 2.0;
        (-MOMENT_ERRORS * 0.67 * deviation).clamp(SOMETHING, NOTHING)
    }

    /// For a run that began clearly above chance (outputs far from the targets' mean, a language model
    /// that knows no frequencies) and was never higher: how far it has come. Too large steps have not
    /// thrown it there: it is a slow one. Only a report from before the first update had any effect
    /// tells where a run began; a later one may be from after it was thrown up.
    fn high_start(&self, level: f64) -> Option<Start> {
        let (step, height) = self.began?;
        if step > FIRST || step > STRETCH * self.length() {
            return None;
        }
        let margin = (SAME * height).max(-LEARNED);
        if height <= -LEARNED || self.worst > height + margin {
            return None;
        }
        let is_there = level >= height - margin;
        Some(if is_there { Start::There } else { Start::Left })
    }

    fn has_learned(&self) -> bool {
        self.best < LEARNED
    }

    /// Whether a share of what was learned is lost at a height.
    fn has_lost(&self, height: f64, share: f64) -> bool {
        self.has_learned() && height > self.best * (1.0 - share)
    }

    /// The rules on how long: a run is given up when it has been in a bad place for longer than
    /// the patience with it, is not on its way back, and shows no sign of life.
    fn hopeless(&self) -> Option<Found> {
        self.nothing().or_else(|| self.lost())
    }

    /// At chance or worse.
    fn nothing(&self) -> Option<Found> {
        let since = self.nothing_since?;
        let streak = self.since(since)?;
        let trend = Trend::through(later_half(streak))?;
        if is_alive(streak) {
            return None;
        }
        let patience = self.settings.patience;
        let resting = RESTING.max(ERRORS * trend.error);
        // A spike in a plateau is not far above for as long as the plateau lasts.
        let level = trend.level.min(height_of(streak)?);
        // Still coming down, it may be on its way to a plateau at chance.
        let coming_down = if trend.fall > RESTING {
            patience.resting
        } else {
            0.0
        };
        let nearer = 1.0 + level.max(0.0);
        let start = self.high_start(level);
        let (rule, share) = if self.has_learned() {
            ("collapsed", patience.collapsed.max(coming_down / nearer))
        } else if start.is_some() && trend.fall > RESTING {
            return None;
        } else if start == Some(Start::There) || start.is_some() && has_fallen(streak) {
            ("above_chance", patience.resting)
        } else if level > resting {
            ("above_chance", patience.above.max(coming_down) / nearer)
        } else if trend.level < -resting {
            return None;
        } else {
            ("never_learned", patience.resting)
        };
        let verdict = match trend.level {
            level if level > ABOVE => Verdict::Diverged,
            _ if rule == "never_learned" && self.worst < ABOVE => Verdict::NoProgress,
            _ => Verdict::Stuck,
        };
        self.waited(since, share, trend, NOTHING)?
            .found(verdict, rule)
    }

    /// Better than chance, but not by much, and it was.
    fn lost(&self) -> Option<Found> {
        let since = self.lost_since?;
        let trend = Trend::through(later_half(self.since(since)?))?;
        // Above chance, the other rules have the say. At the end there is nothing left to save, and
        // what is there may be of use.
        if trend.level > 0.0 || self.remaining() < LATE * self.length() {
            return None;
        }
        let back = self.best * (1.0 - MOST);
        let share = self.settings.patience.lost;
        self.waited(since, share, trend, back)?
            .found(Verdict::Stuck, "lost")
    }

    /// The stretches since a step.
    fn since(&self, step: f64) -> Option<&[Cell]> {
        let cells = self.cells.all();
        cells.get(cells.partition_point(|cell| cell.start < step)..)
    }

    /// Whether a run has been where it is for too long and will not be back in time.
    fn waited(&self, since: f64, share: f64, trend: Trend, back: f64) -> Option<Waited> {
        let (now, length) = (self.last, self.length());
        let Patience {
            shortest, reports, ..
        } = self.settings.patience;
        let share = share.max(shortest);
        let few = (f64::from(reports) * self.gap).min(WAIT * length);
        let patience = match self.settings.recover_steps {
            Some(steps) => steps as f64,
            None => (share * length).max(few).max(FEWEST * self.gap),
        };
        if now - since < patience || now <= self.settings.grace_steps as f64 {
            return None;
        }
        let steps = |slope: f64| (trend.level - back).max(0.0) / -slope;
        let comes_down = trend.slope < 0.0;
        let at_best = trend.slope - SLOPE_ERRORS * trend.slope_error;
        if comes_down && steps(at_best) <= RETURN * self.remaining() {
            return None;
        }
        let to_return = comes_down.then(|| steps(trend.slope));
        Some(Waited {
            since,
            level: trend.level,
            to_return,
        })
    }

    /// Spikes and recoveries: information, never the end of a run.
    fn spike(&mut self, height: f64) -> Option<Found> {
        let verdict = match self.state {
            State::Healthy | State::Recovered if self.has_lost(height, SPIKE) => {
                self.before_spike = self.best;
                Verdict::Spiking
            }
            State::Spiking if height < self.before_spike * (1.0 - 0.5 * SPIKE) => {
                Verdict::Recovered
            }
            State::Stuck | State::Diverged | State::NoProgress
                if height < LEARNED && self.lost_since.is_none() =>
            {
                Verdict::Recovered
            }
            _ => return None,
        };
        Some(Found {
            verdict,
            rule: "spike",
            level: height,
            since: None,
            to_return: None,
        })
    }
}

/// Where a run is that began above chance.
#[derive(Clone, Copy, PartialEq)]
enum Start {
    /// About as high as it began.
    There,
    /// Lower.
    Left,
}

/// What was found, in heights.
struct Found {
    verdict: Verdict,
    rule: &'static str,
    level: f64,
    since: Option<f64>,
    to_return: Option<f64>,
}

/// A run has been where it is for too long.
struct Waited {
    since: f64,
    level: f64,
    to_return: Option<f64>,
}

impl Waited {
    fn found(self, verdict: Verdict, rule: &'static str) -> Option<Found> {
        let Self {
            since,
            level,
            to_return,
        } = self;
        Some(Found {
            verdict,
            rule,
            level,
            since: Some(since),
            to_return,
        })
    }
}

/// The later half of a time, where what is passing has passed; all of it when there is little.
fn later_half(cells: &[Cell]) -> &[Cell] {
    let from = if cells.len() < 8 { 0 } else { cells.len() / 2 };
    cells.get(from..).unwrap_or_default()
}

/// Whether a time ends lower than it began, by more than noise.
fn has_fallen(cells: &[Cell]) -> bool {
    Trend::through(cells).is_some_and(|trend| trend.fall > RESTING)
}

/// Whether a run gets some things right: a model that knows nothing cannot do clearly better than
/// chance on one report in twenty. With fewer than forty, a single one is enough.
fn is_alive(cells: &[Cell]) -> bool {
    let good: u32 = cells.iter().map(|cell| cell.good).sum();
    let all: u32 = cells.iter().map(|cell| cell.readings).sum();
    good > 0 && f64::from(good + 1) >= ALIVE * f64::from(all + 1)
}

/// Starts, keeps or ends the note of since when something is so.
fn keep(note: &mut Option<f64>, is_so: bool, begin: f64) {
    *note = if is_so { note.or(Some(begin)) } else { None };
}

#[cfg(test)]
mod tests;
