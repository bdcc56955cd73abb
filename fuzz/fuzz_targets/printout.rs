//! What programs print, read by patterns: the first line is a regex or the names of ready-made patterns, the rest is a log.
//! A pattern that a study file may have can be used, and what it finds are steps and named numbers, however the log arrives.
#![no_main]

use hpo_study::printout::{
    Known, MetricPattern, PatternForm, Scraper, Stream, check_regex, read_log, text,
};
use libfuzzer_sys::fuzz_target;

fn patterns(line: &str) -> Vec<MetricPattern> {
    let of = |form| MetricPattern {
        stream: Stream::Both,
        form,
    };
    let known: Vec<_> = line.split(' ').filter_map(Known::of).collect();
    if !known.is_empty() {
        return known.into_iter().map(|k| of(PatternForm::Format(k))).collect();
    }
    // `name=regex` is one that stands beside a metric's name.
    let (metric, regex) = match line.split_once('=') {
        Some((name, regex)) if name.chars().all(char::is_alphanumeric) => (Some(name), regex),
        _ => (None, line),
    };
    match check_regex(regex, metric) {
        Ok(_) => vec![of(PatternForm::Regex {
            regex: regex.to_owned(),
            metric: metric.map(str::to_owned),
        })],
        Err(error) => {
            assert!(!error.message.is_empty());
            assert!(error.offset.is_none_or(|at| regex.is_char_boundary(at)));
            Vec::new()
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut halves = bytes.splitn(2, |byte| *byte == b'\n');
    let first = String::from_utf8_lossy(halves.next().unwrap_or_default()).into_owned();
    let log = halves.next().unwrap_or_default();
    let patterns = patterns(&first);
    let reading = read_log(log, &patterns).unwrap();
    assert_eq!(reading.tallies.len(), patterns.len());
    for report in &reading.reports {
        assert!(report.step.is_none_or(|step| step <= 9_000_000_000_000_000));
    }
    assert!(reading.wrong.iter().all(|why| !why.is_empty()));
    let _ = reading.series();
    // Line by line, as a trial's output comes.
    let mut scraper = Scraper::new(&patterns, Stream::Stderr).unwrap();
    for line in log.split(|byte| *byte == b'\n') {
        let shown = text::plain(line);
        assert!(!shown.contains(['\u{1b}', '\u{9b}', '\r', '\u{8}']), "{shown:?}");
        let _ = scraper.line(line, true);
        assert!(scraper.flush().is_none(), "a whole line leaves nothing behind");
    }
});
