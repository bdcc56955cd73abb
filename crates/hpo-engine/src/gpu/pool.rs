//! A stock of memory that trials share, and the rule by which one more is let in.

/// The memory of one GPU, or the main memory, as it is accounted at one moment. In bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Pool {
    /// The limit: the user's, or what there is if that is less. What others use is taken off where it counts.
    pub(crate) room: u64,
    /// What is kept free.
    pub(crate) margin: u64,
    /// What is set aside for trials that run.
    pub(crate) reserved: u64,
    /// Of it, what trials whose need is not known yet do not use so far.
    pub(crate) promised: u64,
    /// What is free as measured; `None`: unknown.
    pub(crate) free: Option<u64>,
}

impl Pool {
    /// The most that one more trial may be given: the sum of all reservations, the new one, and the margin
    /// stay within the room; and what is measured as free holds it and all that was promised.
    pub(crate) fn left(&self) -> u64 {
        let by_account = self
            .room
            .saturating_sub(self.margin)
            .saturating_sub(self.reserved);
        let measured = self.free.map_or(u64::MAX, |free| {
            free.saturating_sub(self.promised)
                .saturating_sub(self.margin)
        });
        by_account.min(measured)
    }

    /// How much the trials that are there may be given beyond what they have: the margin is theirs.
    pub(crate) fn slack(&self) -> u64 {
        self.room.saturating_sub(self.reserved)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whoever_is_let_in_keeps_the_sum_within_the_room(
            room in 0..1_000_u64, margin in 0..100_u64, reserved in 0..1_200_u64,
            promised in 0..500_u64, free in proptest::option::of(0..1_000_u64),
        ) {
            let pool = Pool { room, margin, reserved, promised, free };
            let new = pool.left();
            if new > 0 {
                prop_assert!(reserved + new + margin <= room);
                prop_assert!(free.is_none_or(|free| new + promised + margin <= free));
            }
            prop_assert!(reserved + pool.slack() <= room.max(reserved));
        }
    }
}
