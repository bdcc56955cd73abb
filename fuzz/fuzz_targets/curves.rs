//! The curves that `hpo divergence` reads, as CSV or JSON lines, and the detector over them.
#![no_main]

use hpo_engine::divergence::curves;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    for name in ["runs.csv", "runs.jsonl"] {
        match curves::read(name, text) {
            Ok(runs) => {
                for run in &runs {
                    let _ = (run.last_step(), run.metric(None));
                }
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
});
