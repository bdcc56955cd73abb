//! The study's clock: the time of day when it is wound up, and from then on time as it passes. Clocks that are
//! set, and machines that sleep, do not make a study's time pass.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hpo_study::Timestamp;

/// Smaller differences between the two clocks are corrections, and not worth a word.
const TOLERANCE: Duration = Duration::from_secs(10);

/// One clock for the whole process.
static CLOCK: Mutex<Option<Clock>> = Mutex::new(None);

/// Counts from a moment; time in which the machine sleeps is not counted (so it is with
/// `CLOCK_MONOTONIC` on Linux).
#[derive(Debug, Clone, Copy)]
struct Clock {
    base: Timestamp,
    since: Instant,
}

impl Clock {
    fn now(&self, tick: Instant) -> Timestamp {
        self.base.plus(tick.saturating_duration_since(self.since))
    }

    /// Follows the time of day if that is ahead by more than a correction; says from when to when
    /// it went. It never goes back.
    fn follow(&mut self, time_of_day: Timestamp, tick: Instant) -> Option<(Timestamp, Timestamp)> {
        let from = self.now(tick);
        if time_of_day.since(from) <= TOLERANCE {
            return None;
        }
        *self = Self {
            base: time_of_day,
            since: tick,
        };
        Some((from, time_of_day))
    }
}

fn with<T>(act: impl FnOnce(&mut Clock) -> T) -> T {
    let mut clock = CLOCK.lock().unwrap_or_else(PoisonError::into_inner);
    let wound_up = || Clock {
        base: time_of_day(),
        since: Instant::now(),
    };
    act(clock.get_or_insert_with(wound_up))
}

/// The present.
pub(crate) fn now() -> Timestamp {
    with(|clock| clock.now(Instant::now()))
}

/// Winds the clock up anew for a session, but not before the last moment of the one before: the
/// time of day may have been set back since.
pub(crate) fn begin(last: Timestamp) {
    with(|clock| {
        *clock = Clock {
            base: time_of_day().max(last),
            since: Instant::now(),
        };
    });
}

/// Whether the time of day has run ahead (the machine slept, or somebody set its clock): from when to
/// when. The clock follows.
pub(crate) fn moved() -> Option<(Timestamp, Timestamp)> {
    with(|clock| clock.follow(time_of_day(), Instant::now()))
}

fn time_of_day() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_forward_is_followed_and_one_that_is_set_back_is_not() {
        let start = Instant::now();
        let at = |s: u64| start + Duration::from_secs(s);
        let moment = |s: u64| Timestamp(1_000_000 + 1000 * s);
        let mut clock = Clock {
            base: moment(0),
            since: start,
        };
        assert_eq!(clock.follow(moment(5), at(5)), None);
        assert_eq!(clock.follow(moment(3), at(9)), None, "set back");
        assert_eq!(clock.now(at(9)), moment(9), "and time passes all the same");
        assert_eq!(clock.follow(moment(19), at(9)), None, "a correction");
        let slept = clock.follow(moment(3609), at(9));
        assert_eq!(slept, Some((moment(9), moment(3609))));
        assert_eq!(clock.now(at(10)), moment(3610));
    }
}
