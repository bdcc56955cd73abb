//! What is counted.

use std::fmt;

use hpo_engine::divergence::Finding;
use hpo_engine::divergence::curves::{Point, Run};
use serde_json::{Value as Json, json};

/// The head of the table.
pub(crate) const HEADER: &str = "metric      who                        recall          early onset     \
    false kills      top ¼  recovered  delay   saved  wasted";

/// What became of a run.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Fate {
    Lost,
    Good,
    Neither,
}

/// A run as a benchmark sees it.
#[derive(Clone)]
pub(crate) struct Case<'a> {
    pub(crate) run: &'a Run,
    pub(crate) points: Vec<Point>,
    pub(crate) chance: f64,
    /// Its planned length, in steps.
    pub(crate) length: u64,
    pub(crate) fate: Fate,
    pub(crate) spiked: bool,
    /// When it was lost.
    pub(crate) onset: u64,
    pub(crate) last: f64,
}

impl<'a> Case<'a> {
    /// `None` when the log does not say what became of it, or what chance is.
    pub(crate) fn new(run: &'a Run, metric: &str, every: usize) -> Option<Self> {
        let truth = run.label("truth")?;
        let points = run
            .metrics
            .get(metric)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let points = points
            .iter()
            .skip(every - 1)
            .step_by(every)
            .copied()
            .collect();
        let fate = match truth.as_str() {
            "diverged" | "stuck" => Fate::Lost,
            "healthy" | "recovered" | "lossy_recovery" => Fate::Good,
            _ => Fate::Neither,
        };
        let number = |key: &str| run.labels.get(key).and_then(Json::as_f64);
        let length = run.planned_steps.unwrap_or_else(|| run.last_step());
        Some(Self {
            run,
            points,
            chance: run.chance?,
            length,
            fate,
            spiked: truth != "healthy",
            onset: number("onset").map_or(0, |onset| onset as u64).min(length),
            last: number("final_loss").unwrap_or(f64::INFINITY),
        })
    }
}

/// How a way of stopping runs did.
#[derive(Default)]
pub(crate) struct Score {
    lost: u32,
    caught: u32,
    early: u32,
    early_caught: u32,
    good: u32,
    killed: u32,
    top_killed: u32,
    spiked_killed: u32,
    delays: Vec<f64>,
    saved: f64,
    oracle: f64,
    wasted: f64,
    work: f64,
}

impl Score {
    /// `stops`: at which step each run was stopped, if it was.
    pub(crate) fn of(cases: &[Case], stops: &[Option<u64>]) -> Self {
        let mut score = Self::default();
        let top = top_quartile(cases);
        for (case, stop) in cases.iter().zip(stops) {
            match case.fate {
                Fate::Lost => score.lost(case, *stop),
                Fate::Good => score.good(case, *stop, top),
                Fate::Neither => {}
            }
        }
        score.delays.sort_by(f64::total_cmp);
        score
    }

    fn lost(&mut self, case: &Case, stop: Option<u64>) {
        let early = u32::from(2 * case.onset < case.length);
        let left = (case.length - case.onset) as f64;
        self.lost += 1;
        self.early += early;
        self.oracle += left / case.length as f64;
        if let Some(stop) = stop {
            self.caught += 1;
            self.early_caught += early;
            let saved = (case.length.saturating_sub(stop) as f64).min(left);
            self.saved += saved / case.length as f64;
            self.delays
                .push(stop.saturating_sub(case.onset) as f64 / case.length as f64);
        }
    }

    fn good(&mut self, case: &Case, stop: Option<u64>, top: f64) {
        self.good += 1;
        self.work += 1.0;
        if let Some(stop) = stop {
            self.killed += 1;
            self.top_killed += u32::from(case.last <= top);
            self.spiked_killed += u32::from(case.spiked);
            self.wasted += stop as f64 / case.length as f64;
        }
    }

    fn delay(&self) -> Option<f64> {
        self.delays.get(self.delays.len() / 2).copied()
    }

    /// The same as the table, for machines.
    pub(crate) fn json(&self, metric: &str, name: &str) -> Json {
        json!({
            "metric": metric, "who": name.trim(),
            "lost": self.lost, "caught": self.caught, "recall": share(self.caught, self.lost),
            "early_onset": self.early, "early_caught": self.early_caught,
            "good": self.good, "false_kills": self.killed,
            "false_kill_rate": share(self.killed, self.good),
            "false_kills_top_quartile": self.top_killed, "false_kills_of_recovering": self.spiked_killed,
            "median_delay": self.delay(), "saved_of_oracle": self.saved_share(),
            "good_work_wasted": self.wasted_share(),
        })
    }

    /// Compute saved on lost runs, as a share of what stopping each at its onset would save.
    fn saved_share(&self) -> f64 {
        if self.oracle > 0.0 {
            self.saved / self.oracle
        } else {
            0.0
        }
    }

    /// Compute spent on good runs that were then killed, as a share of all that they needed.
    fn wasted_share(&self) -> f64 {
        if self.work > 0.0 {
            self.wasted / self.work
        } else {
            0.0
        }
    }
}

/// The final loss that a quarter of the good runs reach.
fn top_quartile(cases: &[Case]) -> f64 {
    let good = cases.iter().filter(|case| case.fate == Fate::Good);
    let mut finals: Vec<f64> = good
        .map(|case| case.last)
        .filter(|last| last.is_finite())
        .collect();
    finals.sort_by(f64::total_cmp);
    finals
        .get(finals.len() / 4)
        .copied()
        .unwrap_or(f64::NEG_INFINITY)
}

fn share(part: u32, all: u32) -> f64 {
    if all == 0 {
        0.0
    } else {
        f64::from(part) / f64::from(all)
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let recall = format!(
            "{}/{} {:.3}",
            self.caught,
            self.lost,
            share(self.caught, self.lost)
        );
        let early = share(self.early_caught, self.early);
        let early = format!("{}/{} {early:.3}", self.early_caught, self.early);
        let killed = format!(
            "{}/{} {:.4}",
            self.killed,
            self.good,
            share(self.killed, self.good)
        );
        let delay = self
            .delay()
            .map_or("-".to_owned(), |delay| format!("{delay:.2}"));
        let (saved, wasted) = (self.saved_share(), self.wasted_share());
        let (top, spiked) = (self.top_killed, self.spiked_killed);
        write!(
            f,
            "{recall:<15} {early:<15} {killed:<16} {top:<6} {spiked:<10} {delay:<7} {saved:<6.3} {wasted:.3}"
        )
    }
}

/// Lists the runs that were judged wrongly.
pub(crate) fn print_errors(metric: &str, cases: &[Case], found: &[Option<Finding>]) {
    for (case, found) in cases.iter().zip(found) {
        let what = match (case.fate, found) {
            (Fate::Lost, None) => format!("missed, onset {}", case.onset),
            (Fate::Good, Some(finding)) => format!("final loss {}, {finding}", case.last),
            _ => continue,
        };
        let truth = case.run.label("truth").unwrap_or_default();
        eprintln!(
            "{metric}: run {} ({truth}, {} steps): {what}",
            case.run.id, case.length
        );
    }
}
