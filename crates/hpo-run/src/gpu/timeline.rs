//! Which readings go into the study database: every change that matters, and otherwise one in ten seconds.

use std::collections::BTreeMap;
use std::time::Duration;

use hpo_study::{GpuSample, Timestamp};

/// The longest time between two samples of a GPU.
const EVERY: Duration = Duration::from_secs(10);
/// A change of use below this is none: caches breathe.
const STEP: u64 = 64 << 20;
/// How long samples are kept back, so that they share a commit.
const TOGETHER: Duration = Duration::from_secs(1);

/// Picks samples, and says when they are to be written.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    last: BTreeMap<String, GpuSample>,
    waiting: Vec<GpuSample>,
}

impl Timeline {
    /// Takes in what is now; gives back what is to be written.
    pub(crate) fn see(&mut self, now: &[GpuSample]) -> Vec<GpuSample> {
        for sample in now {
            let last = self.last.get(&sample.gpu);
            if last.is_none_or(|last| matters(last, sample)) {
                self.waiting.push(sample.clone());
                self.last.insert(sample.gpu.clone(), sample.clone());
            }
        }
        let first = self.waiting.first().map(|s| s.at);
        let at = now.last().map(|s| s.at);
        match first.zip(at) {
            Some((first, at)) if at.since(first) >= TOGETHER => self.rest(),
            _ => Vec::new(),
        }
    }

    /// What has not been written yet.
    pub(crate) fn rest(&mut self) -> Vec<GpuSample> {
        std::mem::take(&mut self.waiting)
    }
}

fn matters(last: &GpuSample, now: &GpuSample) -> bool {
    let moved = |a: Option<u64>, b: Option<u64>| match (a, b) {
        (Some(a), Some(b)) => a.abs_diff(b) >= STEP,
        (None, None) => false,
        _ => true,
    };
    let who = |sample: &GpuSample| -> Vec<(u32, u32, u64)> {
        let trials = sample.trials.iter();
        trials
            .map(|t| (t.trial.0, t.attempt.0, t.reserved))
            .collect()
    };
    let since: Timestamp = last.at;
    now.at.since(since) >= EVERY
        || moved(last.used, now.used)
        || last.lost != now.lost
        || last.limit != now.limit
        || who(last) != who(now)
        || last
            .trials
            .iter()
            .zip(&now.trials)
            .any(|(a, b)| moved(a.used, b.used))
}

#[cfg(test)]
mod tests {
    use hpo_study::{AttemptNumber, TrialId, TrialShare};

    use super::*;

    fn sample(seconds: f64, used: u64) -> GpuSample {
        GpuSample {
            at: Timestamp((seconds * 1e3) as u64),
            gpu: "GPU-1".to_owned(),
            index: 0,
            name: String::new(),
            lost: None,
            total: Some(8 << 30),
            limit: Some(8 << 30),
            used: Some(used),
            trials: Vec::new(),
        }
    }

    #[test]
    fn an_idle_gpu_gives_a_sample_in_ten_seconds() {
        let mut timeline = Timeline::default();
        let mut written = Vec::new();
        for tick in 0..600 {
            written.extend(timeline.see(&[sample(f64::from(tick) / 10.0, 1 << 20)]));
        }
        written.extend(timeline.rest());
        assert_eq!(written.len(), 6);
    }

    #[test]
    fn every_peak_is_kept_and_commits_are_shared() {
        let mut timeline = Timeline::default();
        let mut commits = 0;
        let mut most = 0;
        for tick in 0..100_u32 {
            let used = if tick == 57 {
                3 << 30
            } else {
                u64::from(tick % 2) << 27
            };
            let written = timeline.see(&[sample(f64::from(tick) / 10.0, used)]);
            commits += u32::from(!written.is_empty());
            most = written
                .iter()
                .filter_map(|s| s.used)
                .max()
                .unwrap_or(0)
                .max(most);
        }
        assert!(commits <= 10, "{commits}");
        assert_eq!(most, 3 << 30);
    }

    #[test]
    fn a_trial_that_comes_or_goes_matters() {
        let before = sample(0.0, 5);
        let mut after = sample(0.1, 5);
        assert!(!matters(&before, &after));
        after.trials.push(TrialShare {
            trial: TrialId(1),
            attempt: AttemptNumber(1),
            reserved: 7,
            used: None,
        });
        assert!(matters(&before, &after));
    }
}
