//! A failure in full: what the process said last, and what can be done.

use hpo_study::{FailReason, Trial, causes};

/// How many of the last lines of stderr are shown.
const LINES: usize = 8;

/// The lines to show below a failure: for a trial that failed before it reported anything its last words, and
/// a hint where one is known.
pub(super) fn lines(trial: &Trial, reason: &FailReason) -> Vec<String> {
    let mut lines = Vec::new();
    if let FailReason::Crash { stderr, .. } = reason
        && trial.curve.is_empty()
    {
        let words: Vec<&str> = stderr.lines().filter(|l| !l.trim().is_empty()).collect();
        let last = words.get(words.len().saturating_sub(LINES)..);
        let last = last.filter(|_| words.len() > 1).unwrap_or_default();
        lines.extend(last.iter().map(|line| format!("  | {}", printable(line))));
    }
    lines.extend(causes::hint(reason).map(|hint| format!("  hint: {hint}")));
    lines
}

/// What a program wrote may hold anything; a terminal shall not act upon it.
fn printable(line: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    line.trim_end().chars().take(300).map(plain).collect()
}
