//! The lines of one stream to reports.

use std::collections::{BTreeMap, BTreeSet};

use super::pattern::{Compiled, Found};
use super::{MetricPattern, RegexError, Stream, text};
use crate::protocol::Report;

/// Finds metrics in the lines of one stream, given in order.
///
/// The step is what a line says last; where no line says any, it is counted: a metric that comes again begins the next
/// step. A text that is written over (a progress bar) counts only as it was last, or when the step changes.
#[derive(Debug)]
pub struct Scraper {
    patterns: Vec<Compiled>,
    tallies: Vec<Tally>,
    /// What a line said last of the step.
    named: Option<u64>,
    /// The step where no line says any, and what was reported in it.
    counted: u64,
    reported: BTreeSet<String>,
    /// What may still be written over.
    pending: Option<(Option<u64>, BTreeMap<String, f64>)>,
}

/// What one pattern has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Lines in which it found a metric or a step.
    pub lines: u64,
    /// The first text where a number was to be.
    pub unreadable: Option<String>,
}

impl Scraper {
    /// A scraper for one stream with those of the patterns that look at it.
    ///
    /// # Errors
    /// When a regex cannot be used; a checked study has none of those.
    pub fn new(patterns: &[MetricPattern], stream: Stream) -> Result<Self, RegexError> {
        let patterns = patterns
            .iter()
            .filter(|p| p.stream.includes(stream))
            .map(|p| Compiled::new(&p.form))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            tallies: vec![Tally::default(); patterns.len()],
            patterns,
            named: None,
            counted: 1,
            reported: BTreeSet::new(),
            pending: None,
        })
    }

    /// Whether there is anything to look for.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.patterns.is_empty()
    }

    /// What each pattern has found, in their order.
    #[must_use]
    pub fn tallies(&self) -> &[Tally] {
        &self.tallies
    }

    /// Takes in a line, or what stands before a carriage return (`whole`: false) and may be written over.
    pub fn line(&mut self, line: &[u8], whole: bool) -> Vec<Report> {
        let mut reports = Vec::new();
        let found = self.find(&text::plain(line), whole);
        if found.step.is_some() && found.step != self.named {
            reports.extend(self.flush());
            self.named = found.step;
        }
        if !found.metrics.is_empty() {
            let step = self.named;
            let (_, pending) = self.pending.get_or_insert_with(|| (step, BTreeMap::new()));
            pending.extend(found.metrics);
        }
        if whole {
            reports.extend(self.flush());
        }
        reports
    }

    /// What still waits when nothing more comes.
    pub fn flush(&mut self) -> Option<Report> {
        let (named, metrics) = self.pending.take()?;
        let step = named.unwrap_or_else(|| {
            if metrics.keys().any(|name| self.reported.contains(name)) {
                self.counted += 1;
                self.reported.clear();
            }
            self.reported.extend(metrics.keys().cloned());
            self.counted
        });
        Some(Report {
            step: Some(step),
            metrics,
        })
    }

    fn find(&mut self, line: &str, whole: bool) -> Found {
        let mut all = Found::default();
        for (pattern, tally) in self.patterns.iter_mut().zip(&mut self.tallies) {
            let found = pattern.find(line, whole);
            tally.lines += u64::from(found.step.is_some() || !found.metrics.is_empty());
            if tally.unreadable.is_none() {
                tally.unreadable = found.unreadable.into_iter().next();
            }
            all.step = found.step.or(all.step);
            all.metrics.extend(found.metrics);
        }
        all
    }
}

#[cfg(test)]
mod tests;
