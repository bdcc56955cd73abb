//! The trainer's randomness: one ChaCha generator, a fresh stream for every purpose and epoch.
//!
//! Because the stream of an epoch depends on nothing but (seed, purpose, epoch), the position of
//! the generator need not be saved: a run that resumes after epoch 5 draws for epoch 6 exactly
//! what the uninterrupted run drew.

use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;

/// What random numbers are drawn for. Each purpose has streams of its own, so that, for example,
/// switching dropout on does not change the data order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Which rows are for validation. Seeded by the data set's split seed, not by the trial's.
    Split = 1,
    /// The initial weights.
    Weights = 2,
    /// The order of the training rows in an epoch.
    Order = 3,
    /// Which units dropout switches off in an epoch.
    Dropout = 4,
}

/// The generator for a purpose. `index` tells uses of one purpose apart: the epoch, or 0.
#[must_use]
pub fn stream(seed: u64, purpose: Purpose, index: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(((purpose as u64) << 48) | (index & ((1 << 48) - 1)));
    rng
}

/// The numbers `0..count` in random order.
#[must_use]
pub fn permutation(count: u32, rng: &mut ChaCha8Rng) -> Vec<u32> {
    let mut order: Vec<u32> = (0..count).collect();
    order.shuffle(rng);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_by_seed_purpose_and_index_and_repeat() {
        let draw = |seed, purpose, index| permutation(50, &mut stream(seed, purpose, index));
        let base = draw(7, Purpose::Order, 3);
        assert_eq!(base, draw(7, Purpose::Order, 3));
        assert_ne!(base, draw(8, Purpose::Order, 3));
        assert_ne!(base, draw(7, Purpose::Dropout, 3));
        assert_ne!(base, draw(7, Purpose::Order, 4));
        let mut sorted = base;
        sorted.sort_unstable();
        assert_eq!(sorted, (0..50).collect::<Vec<u32>>());
    }
}
