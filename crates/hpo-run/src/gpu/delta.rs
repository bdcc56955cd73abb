//! What trials use of a GPU when the driver does not say it by process: the growth since they were started.

use std::collections::BTreeMap;

use crate::session::AttemptId;

/// One GPU's books, in bytes. Growth is put down to the attempt that was started last; what the earlier ones had
/// by then stays theirs. The sum is right as long as nobody else's use of the GPU changes; the parts are as long
/// as trials are started one after the other, which is how they are placed.
#[derive(Debug, Default)]
pub(super) struct Delta {
    /// What was in use and unaccounted for at the last look.
    last: Option<u64>,
    /// The same before the first of the attempts was started.
    floor: u64,
    /// The attempts in the order they were started, and their parts.
    parts: Vec<(AttemptId, u64)>,
}

impl Delta {
    /// Takes in a reading: the attempts that are there, and what is in use that no process is named for. Gives
    /// back each attempt's part.
    pub(super) fn see(&mut self, attempts: &[AttemptId], unnamed: u64) -> BTreeMap<AttemptId, u64> {
        self.parts.retain(|(id, _)| attempts.contains(id));
        for id in attempts {
            if self.parts.iter().all(|(known, _)| known != id) {
                if self.parts.is_empty() {
                    // It may have allocated something before this look.
                    self.floor = self.last.unwrap_or(unnamed).min(unnamed);
                }
                self.parts.push((*id, 0));
            }
        }
        if let Some(((_, part), earlier)) = self.parts.split_last_mut() {
            let theirs = earlier.iter().map(|(_, part)| *part);
            let theirs = theirs.fold(self.floor, u64::saturating_add);
            *part = unnamed.saturating_sub(theirs);
        }
        self.last = Some(unnamed);
        self.parts.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use hpo_study::{AttemptNumber, TrialId};

    use super::*;

    fn id(trial: u32) -> AttemptId {
        AttemptId {
            trial: TrialId(trial),
            attempt: AttemptNumber(1),
        }
    }

    #[test]
    fn growth_belongs_to_the_youngest() {
        let mut delta = Delta::default();
        assert!(delta.see(&[], 500).is_empty());
        // Its context was there before the first look at it.
        assert_eq!(delta.see(&[id(0)], 900), BTreeMap::from([(id(0), 400)]));
        assert_eq!(delta.see(&[id(0)], 2500)[&id(0)], 2000);
        let two = delta.see(&[id(0), id(1)], 2900);
        assert_eq!(two, BTreeMap::from([(id(0), 2000), (id(1), 400)]));
        // The older one ends; what is left is the younger one's.
        assert_eq!(delta.see(&[id(1)], 900), BTreeMap::from([(id(1), 400)]));
        assert!(delta.see(&[], 500).is_empty());
        // Somebody else has taken memory meanwhile.
        delta.see(&[], 1500);
        assert_eq!(delta.see(&[id(2)], 1500)[&id(2)], 0);
        assert_eq!(delta.see(&[id(2)], 0)[&id(2)], 0, "never below nothing");
    }
}
