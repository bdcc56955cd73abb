//! What trials report: any line gives a report of numbers or a sentence saying what is wrong with it.
#![no_main]

use hpo_study::protocol::{STDOUT_PREFIX, parse_report};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for line in bytes.split(|byte| *byte == b'\n') {
        let line = String::from_utf8_lossy(line);
        let line = line.strip_prefix(STDOUT_PREFIX).unwrap_or(&line);
        match parse_report(line) {
            Ok(report) => {
                assert!(report.step.is_none_or(|step| step < 9_000_000_000_000_000));
                assert!(!report.metrics.contains_key("step"));
            }
            Err(why) => assert!(!why.is_empty()),
        }
    }
});
