//! How much time is left to tell somebody something, once the study is over.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Known to the study and to the thread that tells.
#[derive(Debug, Default)]
pub(super) struct Closing {
    end: Mutex<Option<Instant>>,
    begun: Condvar,
}

impl Closing {
    /// From now on only so much time is left.
    pub(super) fn begin(&self, patience: Duration) {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + patience);
        self.begun.notify_all();
    }

    /// How long something may take that should take `longest` at most; `None`: there is no time left.
    pub(super) fn left(&self, longest: Duration) -> Option<Duration> {
        let end = *self.end.lock().unwrap_or_else(PoisonError::into_inner);
        let left = end.map_or(longest, |end| {
            end.saturating_duration_since(Instant::now()).min(longest)
        });
        (!left.is_zero()).then_some(left)
    }

    /// Waits for so long; not at all once the end has begun.
    pub(super) fn pause(&self, length: Duration) {
        let end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .begun
            .wait_timeout_while(end, length, |end| end.is_none());
        drop(waited);
    }
}
