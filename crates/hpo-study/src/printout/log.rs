//! A whole log, read at once: what patterns would find in it.

use std::collections::BTreeMap;

use super::pattern::syne_tune;
use super::{MetricPattern, RegexError, Scraper, Stream, Tally};
use crate::protocol::{self, Report};

/// What was found in a log.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LogReading {
    /// Every report, in order.
    pub reports: Vec<Report>,
    /// What each pattern found, in their order.
    pub tallies: Vec<Tally>,
    /// What is wrong with lines that say they are reports.
    pub wrong: Vec<String>,
}

/// One metric over a log.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Series {
    /// How often it was reported.
    pub count: u64,
    /// At which step first.
    pub first_step: u64,
    /// At which step last.
    pub last_step: u64,
    /// Its first value.
    pub first: f64,
    /// Its last value.
    pub last: f64,
}

impl LogReading {
    /// Each metric over the log, by name.
    #[must_use]
    pub fn series(&self) -> BTreeMap<&str, Series> {
        let mut all: BTreeMap<&str, Series> = BTreeMap::new();
        let mut step = 0;
        for report in &self.reports {
            step = report.step.unwrap_or(step + 1);
            for (name, value) in &report.metrics {
                let series = all.entry(name).or_insert(Series {
                    count: 0,
                    first_step: step,
                    last_step: step,
                    first: *value,
                    last: *value,
                });
                series.count += 1;
                series.last_step = step;
                series.last = *value;
            }
        }
        all
    }
}

/// The report of a line that says it is one (`[hpo] {…}`, Syne Tune's `[tune-metric]: {…}`); `None` for any other.
#[must_use]
pub fn marked_report(line: &[u8]) -> Option<Result<Report, String>> {
    let text = |line| String::from_utf8_lossy(line);
    let marked = line.strip_prefix(protocol::STDOUT_PREFIX.trim_end().as_bytes());
    if let Some(json) = marked.filter(|rest| rest.starts_with(b" ") || rest.starts_with(b"{")) {
        return Some(protocol::parse_report(&text(json)));
    }
    let json = line.strip_prefix(protocol::SYNE_TUNE_PREFIX.as_bytes())?;
    Some(syne_tune(&text(json)))
}

/// Reads a log as a trial's output would be read. Which stream it was is not asked.
///
/// # Errors
/// When a pattern's regex cannot be used; a checked study has none of those.
pub fn read_log(log: &[u8], patterns: &[MetricPattern]) -> Result<LogReading, RegexError> {
    let patterns: Vec<MetricPattern> = patterns
        .iter()
        .map(|pattern| MetricPattern {
            stream: Stream::Both,
            ..pattern.clone()
        })
        .collect();
    let mut scraper = Scraper::new(&patterns, Stream::Stdout)?;
    let mut reading = LogReading::default();
    for line in log.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let mut parts = line.split(|byte| *byte == b'\r').peekable();
        while let Some(part) = parts.next() {
            match marked_report(part) {
                Some(Ok(report)) => reading.reports.push(report),
                Some(Err(error)) => reading.wrong.push(error),
                None => reading
                    .reports
                    .extend(scraper.line(part, parts.peek().is_none())),
            }
        }
    }
    reading.reports.extend(scraper.flush());
    reading.tallies = scraper.tallies().to_vec();
    Ok(reading)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::printout::{Known, PatternForm};

    #[test]
    fn a_report_needs_no_blank_before_its_brace() {
        for line in ["[hpo] {\"loss\": 2}", "[hpo]{\"loss\": 2}"] {
            let report = marked_report(line.as_bytes()).unwrap().unwrap();
            assert_eq!(report.metrics["loss"], 2.0, "{line}");
        }
        for line in ["[hpo]", "[hpo]: {}", "[hpo]s {}"] {
            assert!(marked_report(line.as_bytes()).is_none(), "{line}");
        }
    }

    #[test]
    fn a_log_is_read_as_a_trials_output_is() {
        let keras = MetricPattern {
            stream: Stream::Stdout,
            form: PatternForm::Format(Known::Keras),
        };
        let log = b"Epoch 1/2\r\n1/2 - loss: 3\r2/2 - loss: 2 - val_loss: 1\nEpoch 2/2\n2/2 - loss: 1\n\
                    [hpo] {\"step\": 3, \"val_loss\": 0.5}\n[hpo] oops\n\
                    [tune-metric]: {\"epoch\": 4, \"loss\": 0.25, \"st_worker_iter\": 0, \"st_worker_time\": 1.5}";
        let reading = read_log(log, &[keras]).unwrap();
        let series = reading.series();
        assert_eq!(series["loss"].count, 3);
        assert_eq!(
            (series["val_loss"].last_step, series["val_loss"].last),
            (3, 0.5)
        );
        assert_eq!((series["loss"].first, series["loss"].last_step), (2.0, 4));
        assert!(!series.contains_key("st_worker_time"));
        assert_eq!((reading.wrong.len(), reading.tallies[0].lines), (1, 5));
    }
}
