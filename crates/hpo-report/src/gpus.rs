//! GPUs in a line each: how much of what may be used is used, and by whom.

use std::fmt::Write as _;

use hpo_study::GpuSample;
use hpo_study::memory::bytes;

/// Width of a GPU's bar.
const BAR: u64 = 20;

/// `gpu 0   ━━━━━━━╌╌╌─────────  2.9 of 8 GiB used, 4 GiB set aside: trials 3, 7; others 0.4 GiB`
#[must_use]
pub fn line(sample: &GpuSample) -> String {
    let index = sample.index;
    if let Some(why) = &sample.lost {
        return format!("gpu {index:<3} cannot be used: {why}");
    }
    let mut text = format!("gpu {index:<3} {}  ", bar(sample));
    match (sample.used, sample.limit) {
        (Some(used), Some(limit)) => {
            let _ = write!(text, "{} of {} used", bytes(used), bytes(limit));
        }
        (Some(used), None) => {
            let _ = write!(text, "{} used", bytes(used));
        }
        (None, _) => text.push_str("use unknown"),
    }
    let trials: Vec<String> = sample.trials.iter().map(|t| t.trial.to_string()).collect();
    match trials.as_slice() {
        [] => text.push_str("; no trial"),
        [one] => {
            let _ = write!(
                text,
                "; {} set aside: trial {one}",
                bytes(sample.reserved())
            );
        }
        all => {
            let all = all.join(", ");
            let _ = write!(
                text,
                "; {} set aside: trials {all}",
                bytes(sample.reserved())
            );
        }
    }
    if let Some(others) = sample.others().filter(|others| *others > 0) {
        let _ = write!(text, "; others {}", bytes(others));
    }
    text
}

/// Used `━`, set aside beyond that `╌`, free `─`.
fn bar(sample: &GpuSample) -> String {
    let limit = sample.limit.or(sample.total).unwrap_or(0).max(1);
    let cells =
        |bytes: u64| (u128::from(bytes.min(limit)) * u128::from(BAR) / u128::from(limit)) as usize;
    let used = sample.used.unwrap_or(0);
    let unused: u64 = sample
        .trials
        .iter()
        .map(|t| t.reserved.saturating_sub(t.used.unwrap_or(0)))
        .fold(0, u64::saturating_add);
    let full = cells(used);
    let aside = cells(used.saturating_add(unused)).saturating_sub(full);
    let free = BAR as usize - full - aside;
    format!(
        "{}{}{}",
        "━".repeat(full),
        "╌".repeat(aside),
        "─".repeat(free)
    )
}

#[cfg(test)]
mod tests {
    use hpo_study::{AttemptNumber, Timestamp, TrialId, TrialShare};

    use super::*;

    fn sample() -> GpuSample {
        let share = |trial: u32, used: u64| TrialShare {
            trial: TrialId(trial),
            attempt: AttemptNumber(1),
            reserved: 2 << 30,
            used: Some(used << 20),
        };
        GpuSample {
            at: Timestamp(0),
            gpu: "GPU-1".to_owned(),
            index: 0,
            name: "a card".to_owned(),
            lost: None,
            total: Some(24 << 30),
            limit: Some(8 << 30),
            used: Some(3 << 30),
            trials: vec![share(3, 1536), share(7, 1024)],
        }
    }

    #[test]
    fn a_line_says_who_has_what() {
        assert_eq!(
            line(&sample()),
            "gpu 0   ━━━━━━━╌╌╌╌─────────  3 GiB of 8 GiB used; 4 GiB set aside: trials 3, 7; others 512 MiB"
        );
        let mut odd = sample();
        odd.trials.clear();
        (odd.used, odd.limit) = (None, None);
        assert_eq!(
            line(&odd),
            "gpu 0   ────────────────────  use unknown; no trial"
        );
        odd.lost = Some("it has fallen off the bus".to_owned());
        assert_eq!(
            line(&odd),
            "gpu 0   cannot be used: it has fallen off the bus"
        );
        odd = sample();
        odd.used = Some(u64::MAX);
        assert!(line(&odd).contains(&"━".repeat(20)));
    }
}
