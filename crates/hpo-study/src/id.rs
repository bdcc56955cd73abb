//! Typed names of things, so that a trial's number is never taken for an attempt's.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A trial's number in its study, counted from 0 in the order of suggestion.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
#[serde(transparent)]
pub struct TrialId(pub u32);

impl TrialId {
    /// The number of the first run that confirms another trial. Such runs are counted apart from the
    /// search's trials, and written `c0`, `c1`, …
    pub const FIRST_CONFIRMATION: u32 = 2_000_000_000;

    /// The number of the first run that repeats another trial. Such runs are counted apart as well, and
    /// written `r0`, `r1`, …
    pub const FIRST_REPEAT: u32 = 1_000_000_000;

    /// The repeating run with this number, from 0.
    #[must_use]
    pub fn repeat(number: usize) -> Self {
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        Self(
            Self::FIRST_REPEAT
                .saturating_add(number)
                .min(Self::FIRST_CONFIRMATION - 1),
        )
    }
    /// For a run that repeats another trial its place in the list of all such runs.
    #[must_use]
    pub fn repeat_index(self) -> Option<usize> {
        let index = self.0.checked_sub(Self::FIRST_REPEAT)?;
        (self.0 < Self::FIRST_CONFIRMATION).then_some(index as usize)
    }
    /// Whether it is a trial of the search, and no run that repeats or confirms one.
    #[must_use]
    pub fn is_of_search(self) -> bool {
        self.0 < Self::FIRST_REPEAT
    }
    /// The confirming run with this number, from 0.
    #[must_use]
    pub fn confirmation(number: usize) -> Self {
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        Self(Self::FIRST_CONFIRMATION.saturating_add(number))
    }
    /// The trial's place in a list of all trials.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
    /// For a run that confirms another trial its place in the list of all such runs.
    #[must_use]
    pub fn confirmation_index(self) -> Option<usize> {
        let index = self.0.checked_sub(Self::FIRST_CONFIRMATION)?;
        Some(index as usize)
    }
}

impl FromStr for TrialId {
    type Err = String;

    /// Reads what [`TrialId`] displays.
    fn from_str(text: &str) -> Result<Self, String> {
        let number = |digits: &str| digits.parse::<u32>().ok();
        let id = match (text.strip_prefix('c'), text.strip_prefix('r')) {
            (Some(digits), _) => number(digits).map(|n| Self::confirmation(n as usize)),
            (_, Some(digits)) => number(digits).map(|n| Self::repeat(n as usize)),
            (None, None) => number(text).map(Self),
        };
        id.ok_or_else(|| {
            "write a trial's number, such as 7, or that of a run that repeats or confirms one, such as r4 or c2"
                .to_owned()
        })
    }
}

impl fmt::Display for TrialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.repeat_index(), self.confirmation_index()) {
            (Some(index), _) => f.pad(&format!("r{index}")),
            (_, Some(index)) => f.pad(&format!("c{index}")),
            (None, None) => self.0.fmt(f),
        }
    }
}

/// The number of one process that ran (a part of) a trial, counted from 1 within the trial.
///
/// Attempts are the fence between an old process and a new one of the same trial: what an older
/// attempt still says is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AttemptNumber(pub u32);

impl fmt::Display for AttemptNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A moment, in milliseconds since 1970-01-01 00:00 UTC.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// How long after `earlier` this is; zero when it is not after it (clocks can be set back).
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
    /// The moment `later` after this one.
    #[must_use]
    pub fn plus(self, later: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(later.as_millis()).unwrap_or(u64::MAX)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_back_as_they_are_written() {
        for (id, text) in [
            (TrialId(0), "0"),
            (TrialId(41), "41"),
            (TrialId::confirmation(0), "c0"),
            (TrialId::confirmation(12), "c12"),
            (TrialId::repeat(0), "r0"),
            (TrialId::repeat(34), "r34"),
        ] {
            assert_eq!(id.to_string(), text);
            assert_eq!(text.parse(), Ok(id));
        }
        for wrong in ["", "c", "-1", "c-1", "7c", "cc1", "4294967296"] {
            assert!(wrong.parse::<TrialId>().is_err(), "{wrong}");
        }
        assert_eq!(TrialId(7).confirmation_index(), None);
        assert_eq!(TrialId::confirmation(3).repeat_index(), None);
        assert!(TrialId(7).is_of_search() && !TrialId::repeat(0).is_of_search());
    }
}
