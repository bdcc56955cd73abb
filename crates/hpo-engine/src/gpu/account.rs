//! One attempt's account: what is set aside for it, and what it was seen to use.

use std::time::Duration;

use hpo_study::memory::MIB;
use hpo_study::{Assignment, AttemptNumber, MemorySeen, Timestamp};

use super::model::{Growth, OVER_LIKE, OVER_PEAK, round_up, scale};

/// A need is known when it has grown by less than this share for the study's `settle_after`, …
pub const GROWTH: f64 = 0.02;
/// … and so many reports of training have come (the optimizer's state is there from the first step on, the
/// validation's memory from the first validation on).
pub const REPORTS: u32 = 2;
/// A trial that reports seldom lets others start beside it when it has not grown for so many times as long; all
/// that was set aside for it stays so.
pub const QUIET_AFTER: u32 = 10;
/// So does one that has come to this share of what is set aside for it, or to what trials like it take at least,
/// after once as long.
const COME: f64 = 0.8;
/// Readings of so little say nothing: the process is just coming up.
const NOTHING: u64 = MIB;

/// What an attempt uses of one kind of memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Track {
    /// At the last reading.
    pub(crate) now: Option<u64>,
    /// The most that was seen.
    pub(crate) peak: Option<u64>,
    /// The first that was more than nothing.
    pub(crate) first: Option<u64>,
    /// By how much the last reading was above the one before.
    pub(crate) rise: u64,
    /// Since when the most has grown by less than [`GROWTH`], and what it was then.
    flat: Option<(Timestamp, u64)>,
}

impl Track {
    /// Takes a reading: what is used now, and the most so far where others have looked more often.
    pub(crate) fn see(&mut self, at: Timestamp, now: Option<u64>, peak: Option<u64>) {
        let before = self.now.zip(now);
        self.rise = before.map_or(0, |(before, now)| now.saturating_sub(before));
        self.now = now;
        self.peak = self.peak.max(now).max(peak);
        self.first = self.first.or(now.filter(|now| *now >= NOTHING));
        let Some(most) = self.peak.filter(|_| now.is_some_and(|now| now >= NOTHING)) else {
            self.flat = None;
            return;
        };
        let still = self
            .flat
            .filter(|(_, then)| most as f64 <= *then as f64 * (1.0 + GROWTH));
        self.flat = still.or(Some((at, most)));
    }

    /// Whether it has not grown for so long.
    fn flat_for(&self, at: Timestamp, long: Duration) -> bool {
        self.flat.is_some_and(|(since, _)| at.since(since) >= long)
    }
}

/// The account of an attempt that has no end yet.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) attempt: AttemptNumber,
    pub(crate) launched: Timestamp,
    /// For how long its use must not have grown before its need is known.
    settle_after: Duration,
    /// The UUID of its GPU.
    pub(crate) gpu: Option<String>,
    pub(crate) alone: bool,
    pub(crate) gpu_reserved: u64,
    pub(crate) host_reserved: Option<u64>,
    /// Its need is known.
    pub(crate) settled: bool,
    /// It is being ended since then.
    pub(crate) stopping: Option<Timestamp>,
    pub(crate) gpu_track: Track,
    pub(crate) host_track: Track,
    reports: u32,
    /// The most of its GPU it had used when it had trained for a while: what stands for its need where it grows
    /// for as long as it runs.
    trained: Option<(Timestamp, u64)>,
    /// With which report, and to what, its use of the GPU was last seen to have grown.
    grown: (u32, u64),
    /// What was last said of it in the log.
    told: Option<MemorySeen>,
}

impl Account {
    pub(crate) fn open(
        attempt: AttemptNumber,
        launched: Timestamp,
        settle_after: Duration,
        assignment: Option<&Assignment>,
    ) -> Self {
        let share = assignment.and_then(|a| a.gpu.as_ref());
        Self {
            attempt,
            launched,
            settle_after,
            gpu: share.map(|share| share.uuid.clone()),
            alone: assignment.is_some_and(|a| a.alone),
            gpu_reserved: share.map_or(0, |share| share.memory),
            host_reserved: assignment.and_then(|a| a.host_memory),
            settled: false,
            stopping: None,
            gpu_track: Track::default(),
            host_track: Track::default(),
            reports: 0,
            trained: None,
            grown: (0, 0),
            told: None,
        }
    }

    /// A report of training came.
    pub(crate) fn reported(&mut self, at: Timestamp) {
        self.reports = self.reports.saturating_add(1);
        let peak = self.gpu_track.peak.unwrap_or(0);
        if peak as f64 > self.grown.1 as f64 * (1.0 + GROWTH) {
            self.grown = (self.reports, peak);
        }
        if self.reports >= REPORTS && at.since(self.launched) >= self.settle_after {
            let peak = self.gpu_track.peak;
            self.trained = self.trained.or(peak.map(|peak| (at, peak)));
        }
    }

    /// What the log says of it.
    pub(crate) fn told(&mut self, seen: &MemorySeen) {
        self.told = Some(*seen);
        self.settled = seen.settled;
        self.gpu_reserved = seen.gpu_reserved.unwrap_or(self.gpu_reserved);
        self.host_reserved = seen.host_reserved.or(self.host_reserved);
        self.gpu_track.peak = self.gpu_track.peak.max(seen.gpu_peak);
        self.host_track.peak = self.host_track.peak.max(seen.host_peak);
    }

    /// Whether others may start beside it. `floor`: what trials like it take at least.
    pub(crate) fn lets_others(&self, at: Timestamp, floor: Option<u64>) -> bool {
        let enough = floor.unwrap_or(u64::MAX).min(scale(self.reserved(), COME));
        let come = !self.alone
            && self
                .tracks()
                .all(|t| t.peak.is_some_and(|peak| peak >= enough));
        let long = if come {
            self.settle_after
        } else {
            self.quiet_after()
        };
        // One that grows for ever must not hold up the others for ever.
        let old =
            !self.alone && self.reports >= REPORTS && at.since(self.launched) >= self.quiet_after();
        self.settled || old || self.grows_within(at) || self.tracks().all(|t| t.flat_for(at, long))
    }

    /// Whether it uses more than was set aside for it: of its GPU, or of the main memory.
    pub(crate) fn is_beyond(&self, of_gpu: bool) -> bool {
        let (track, reserved) = if of_gpu {
            (&self.gpu_track, Some(self.gpu_reserved))
        } else {
            (&self.host_track, self.host_reserved)
        };
        track.now.is_some_and(|now| Some(now) > reserved)
    }

    /// Whether it trains, and stays within what is set aside for a while to come if it grows on as it did since.
    fn grows_within(&self, at: Timestamp) -> bool {
        let Some(((since, then), peak)) = self.trained.zip(self.gpu_track.peak) else {
            return false;
        };
        let long = at.since(since);
        let ahead = self.settle_after.as_secs_f64() / long.as_secs_f64().max(1.0);
        let grown = peak.saturating_sub(then) as f64;
        !self.alone
            && long >= self.settle_after
            && peak as f64 + grown * ahead <= self.gpu_reserved as f64
    }

    fn quiet_after(&self) -> Duration {
        self.settle_after.saturating_mul(QUIET_AFTER)
    }

    fn reserved(&self) -> u64 {
        if self.gpu.is_some() {
            self.gpu_reserved
        } else {
            self.host_reserved.unwrap_or(0)
        }
    }

    /// The track that matters: the GPU's for a trial on one, else the main memory's.
    fn tracks(&self) -> impl Iterator<Item = &Track> {
        let track = if self.gpu.is_some() {
            &self.gpu_track
        } else {
            &self.host_track
        };
        std::iter::once(track)
    }

    /// What has become known since the log was last told, if anything has: the need, or that it was taken for
    /// known too early. `room` is how much more of the GPU, and of the main memory, may be set aside for it;
    /// `growth` what trials are known to need after they were settled.
    pub(crate) fn news(
        &self,
        at: Timestamp,
        room: (u64, u64),
        growth: Growth,
    ) -> Option<MemorySeen> {
        if self.stopping.is_some() {
            return None;
        }
        let known = self.tracks().all(|t| t.peak.is_some());
        let flat = self.tracks().all(|t| t.flat_for(at, self.settle_after));
        if !self.settled && known && flat && self.reports >= REPORTS {
            return Some(MemorySeen {
                gpu_reserved: self.gpu.as_ref().map(|_| {
                    let again = self.told.is_some_and(|told| told.gpu_settled.is_some());
                    let over = if again {
                        OVER_PEAK
                    } else {
                        growth.mean.max(OVER_PEAK)
                    };
                    let most = self.gpu_reserved.saturating_add(room.0);
                    settled_need(&self.gpu_track, over).min(most)
                }),
                host_reserved: self.host_reserved.map(|reserved| {
                    let most = reserved.saturating_add(room.1);
                    match self.host_track.peak {
                        Some(_) => settled_need(&self.host_track, OVER_PEAK).min(most),
                        None => reserved,
                    }
                }),
                settled: true,
                gpu_settled: self.seen().gpu_settled.or(self.seen().gpu_peak),
                ..self.seen()
            });
        }
        if let Some(news) = self.grown_up(growth) {
            return Some(news);
        }
        let quiet = self.tracks().all(|t| t.flat_for(at, self.quiet_after()));
        if let Some(news) = (self.alone && !self.settled && quiet)
            .then(|| self.less())
            .flatten()
        {
            return Some(news);
        }
        let raised = |track: &Track, reserved: u64, room: u64| {
            let peak = track.peak.filter(|peak| *peak > reserved)?;
            let wanted = round_up(scale(peak, OVER_PEAK)).min(reserved.saturating_add(room));
            Some(wanted.max(reserved))
        };
        let gpu = raised(&self.gpu_track, self.gpu_reserved, room.0);
        let host = self
            .host_reserved
            .and_then(|reserved| raised(&self.host_track, reserved, room.1));
        if gpu.is_none() && host.is_none() {
            return None;
        }
        let news = MemorySeen {
            gpu_reserved: self.gpu.as_ref().map(|_| gpu.unwrap_or(self.gpu_reserved)),
            host_reserved: self.host_reserved.map(|reserved| host.unwrap_or(reserved)),
            settled: false,
            ..self.seen()
        };
        // With no room left it grows on without a word each time.
        let same = self.told.is_some_and(|told| {
            (told.settled, told.gpu_reserved, told.host_reserved)
                == (news.settled, news.gpu_reserved, news.host_reserved)
        });
        (!same
            && (self.settled
                || news.gpu_reserved > Some(self.gpu_reserved)
                || host > self.host_reserved))
            .then_some(news)
    }

    /// Of a trial that has come further than others do before they grow for the last time: it keeps what it has.
    fn grown_up(&self, growth: Growth) -> Option<MemorySeen> {
        let is_past = growth.until.is_some_and(|until| self.reports > until);
        let wanted = settled_need(&self.gpu_track, OVER_PEAK);
        let is_known = self.settled && self.gpu.is_some() && self.gpu_track.peak.is_some();
        (is_known && is_past && wanted < self.gpu_reserved).then(|| MemorySeen {
            gpu_reserved: Some(wanted),
            host_reserved: self.host_reserved,
            settled: true,
            ..self.seen()
        })
    }

    /// Of a trial that has all there is, but has long been quiet: what it does not seem to need is given back.
    fn less(&self) -> Option<MemorySeen> {
        let lower = |track: &Track, reserved: u64| {
            let wanted = round_up(scale(track.peak?, OVER_LIKE));
            (wanted < reserved).then_some(wanted)
        };
        let gpu = lower(&self.gpu_track, self.gpu_reserved);
        let host = self
            .host_reserved
            .and_then(|reserved| lower(&self.host_track, reserved));
        (gpu.is_some() || host.is_some()).then(|| MemorySeen {
            gpu_reserved: self.gpu.as_ref().map(|_| gpu.unwrap_or(self.gpu_reserved)),
            host_reserved: self.host_reserved.map(|reserved| host.unwrap_or(reserved)),
            settled: false,
            ..self.seen()
        })
    }

    /// What the log does not know yet of an attempt that is over.
    pub(crate) fn last_words(&self) -> Option<MemorySeen> {
        let seen = MemorySeen {
            gpu_reserved: self.gpu.as_ref().map(|_| self.gpu_reserved),
            host_reserved: self.host_reserved,
            settled: self.settled,
            gpu_settled: self
                .seen()
                .gpu_settled
                .or(self.trained.map(|(_, peak)| peak)),
            ..self.seen()
        };
        let told = self.told.unwrap_or_default();
        let news = (seen.gpu_peak, seen.host_peak) != (told.gpu_peak, told.host_peak);
        (news && (seen.gpu_peak.is_some() || seen.host_peak.is_some())).then_some(seen)
    }

    fn seen(&self) -> MemorySeen {
        MemorySeen {
            gpu_peak: self.gpu_track.peak.filter(|_| self.gpu.is_some()),
            host_peak: self.host_track.peak,
            gpu_settled: self.told.and_then(|told| told.gpu_settled),
            gpu_first: self
                .told
                .and_then(|told| told.gpu_first)
                .or(self.gpu_track.first),
            gpu_grown_at: Some(self.grown.0).filter(|_| self.grown.1 > 0),
            ..MemorySeen::default()
        }
    }
}

/// What is set aside for a need that is known.
fn settled_need(track: &Track, over: f64) -> u64 {
    let peak = track.peak.unwrap_or(0);
    round_up(scale(peak, over).max(track.now.unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use hpo_study::memory::SETTLE_AFTER;

    use super::*;

    const GIB: u64 = 1 << 30;

    fn account() -> Account {
        let assignment = Assignment {
            gpu: Some(hpo_study::GpuShare {
                uuid: "GPU-a".into(),
                memory: 4 * GIB,
            }),
            host_memory: None,
            alone: false,
        };
        Account::open(
            AttemptNumber(1),
            Timestamp(0),
            SETTLE_AFTER,
            Some(&assignment),
        )
    }

    fn read(account: &mut Account, at: u64, used: u64) {
        account
            .gpu_track
            .see(Timestamp(at * 1000), Some(used), None);
    }

    #[test]
    fn a_need_is_known_after_two_reports_and_half_a_minute_without_growth() {
        let mut a = account();
        for second in 0..=40 {
            read(&mut a, second, GIB.min(second * GIB / 10));
        }
        assert!(
            a.news(Timestamp(40_000), (GIB, 0), Growth::NONE).is_none(),
            "no report came yet"
        );
        a.reported(Timestamp(0));
        a.reported(Timestamp(0));
        assert!(
            a.news(Timestamp(39_000), (GIB, 0), Growth::NONE).is_none(),
            "29 seconds"
        );
        let news = a
            .news(Timestamp(40_000), (GIB, 0), Growth::NONE)
            .expect("settled");
        assert!(news.settled);
        assert_eq!(news.gpu_peak, Some(GIB));
        assert_eq!(news.gpu_reserved, Some(round_up(scale(GIB, 1.05))));
        a.told(&news);
        assert!(
            a.news(Timestamp(41_000), (GIB, 0), Growth::NONE).is_none(),
            "said once"
        );
        // A validation that needs more takes it back, as far as there is room.
        read(&mut a, 42, 2 * GIB);
        let news = a
            .news(Timestamp(42_000), (8 * GIB, 0), Growth::NONE)
            .expect("re-armed");
        assert!(
            !news.settled
                && !a
                    .clone()
                    .tracks()
                    .all(|t| t.flat_for(Timestamp(42_000), SETTLE_AFTER))
        );
        assert_eq!(news.gpu_reserved, Some(round_up(scale(2 * GIB, 1.05))));
        let tight = a
            .news(Timestamp(42_000), (GIB / 4, 0), Growth::NONE)
            .expect("re-armed");
        assert_eq!(tight.gpu_reserved, Some(a.gpu_reserved + GIB / 4));
        a.told(&tight);
        assert!(
            a.news(Timestamp(43_000), (0, 0), Growth::NONE).is_none(),
            "nothing more can be given"
        );
    }

    #[test]
    fn an_unknown_reading_is_no_number() {
        let mut a = account();
        a.reported(Timestamp(0));
        a.reported(Timestamp(0));
        for second in 0..100 {
            a.gpu_track.see(Timestamp(second * 1000), None, None);
        }
        assert!(a.news(Timestamp(100_000), (GIB, 0), Growth::NONE).is_none());
        assert!(a.last_words().is_none());
        assert!(!a.lets_others(Timestamp(100_000), None));
    }

    #[test]
    fn a_trial_that_reports_seldom_lets_others_start_when_it_is_quiet() {
        let mut a = account();
        for second in 0..=301 {
            read(&mut a, second, GIB);
        }
        assert!(!a.lets_others(Timestamp(299_000), None));
        assert!(a.lets_others(Timestamp(301_000), None));
        assert_eq!(a.gpu_reserved, 4 * GIB);
    }

    #[test]
    fn a_trial_that_grows_on_lets_others_start_while_it_will_be_within_its_share() {
        let mut a = account();
        // A ramp to 1 GiB, and then 1 % of it more in every second.
        let used = |second: u64| GIB.min(second * GIB / 10) + second.saturating_sub(20) * GIB / 100;
        for second in 0..=200 {
            read(&mut a, second, used(second));
            if second % 35 == 0 {
                a.reported(Timestamp(second * 1000));
            }
            let lets = a.lets_others(Timestamp(second * 1000), None);
            assert!(!lets || second >= 65, "{second}");
        }
        assert!(a.lets_others(Timestamp(200_000), None));
        // It was never settled: what it used when it had trained for a while stands for its need.
        let last = a.last_words().unwrap();
        assert!(!last.settled);
        assert_eq!(last.gpu_settled, Some(used(35)));
        assert_eq!(last.gpu_grown_at, Some(6));
        // With less set aside it would be beyond that before long.
        a.gpu_reserved = used(200) + GIB / 10;
        assert!(!a.lets_others(Timestamp(200_000), None));
    }

    #[test]
    fn a_trial_that_came_further_than_others_grow_keeps_only_what_it_uses() {
        let growth = Growth {
            mean: 1.3,
            until: Some(4),
        };
        let mut a = account();
        let mut news = Vec::new();
        for report in 1..=6 {
            read(&mut a, 40 * report, GIB);
            read(&mut a, 40 * report + 39, GIB);
            let at = Timestamp((40 * report + 39) * 1000);
            a.reported(at);
            if let Some(seen) = a.news(at, (8 * GIB, 0), growth) {
                a.told(&seen);
                news.push((report, seen.gpu_reserved.unwrap(), seen.settled));
            }
        }
        let amount = |over| round_up(scale(GIB, over));
        assert_eq!(news, [(2, amount(1.3), true), (5, amount(1.05), true)]);
    }
}
