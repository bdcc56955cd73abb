//! What became of a run, judged afterwards from the whole curve of its training loss.
//!
//! This is hindsight and no detector: it looks at where the run ended, with no trend, no patience and no
//! prediction. With B the chance loss, "smoothed" the median over eleven updates around each one, and
//! values that are not finite counted as infinite:
//!
//! - **lost** when the median of the last 20 % and that of the last 5 % are both at B − .03 or higher:
//!   `diverged` when that of the last 20 % is at B + .05 or higher, else `stuck`. The onset is after the last
//!   update that was smoothed below B − .03; 0 when none was.
//! - else, when it ever spiked, which is: smoothed above 1.5 · B, or half of what it had learned was lost
//!   after it had been below .9 · B: `recovered` when the last 5 % are at most a tenth of what had been
//!   learned before the spike above where it was and the last 20 % at .75 · B or less, `lossy_recovery` when
//!   not. The onset is before the first such update.
//! - else `slow` when the last 20 % are above .75 · B, `healthy` otherwise; the onset is the run's length.
//!
//! An onset counts the updates before it.

/// Counts as chance: so far below it.
const BELOW: f64 = 0.03;
/// Counts as diverged: so far above chance.
const ABOVE: f64 = 0.05;
/// A loss of so many times chance is a spike, whatever was before.
const FAR: f64 = 1.5;
/// Has learned something: at most so many times chance.
const LEARNED: f64 = 0.9;
/// Has not learned much: more than so many times chance.
const SLOW: f64 = 0.75;
/// Updates on either side in smoothing.
const SIDE: usize = 5;

/// What became of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Healthy,
    Slow,
    Recovered,
    LossyRecovery,
    Stuck,
    Diverged,
}

impl Fate {
    /// As it is written in files of curves.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Slow => "slow",
            Self::Recovered => "recovered",
            Self::LossyRecovery => "lossy_recovery",
            Self::Stuck => "stuck",
            Self::Diverged => "diverged",
        }
    }
}

/// The judgement of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Truth {
    pub(crate) fate: Fate,
    /// When what became of it began, in updates.
    pub(crate) onset: usize,
    /// The median of the last 5 % of its losses.
    pub(crate) last: f64,
}

/// Judges a run by the loss of each of its updates.
pub(crate) fn judge(losses: &[f64], chance: f64) -> Truth {
    let losses: Vec<f64> = losses
        .iter()
        .map(|&x| if x.is_finite() { x } else { f64::INFINITY })
        .collect();
    let smooth = smoothed(&losses);
    let (fifth, last) = (tail(&losses, 5), tail(&losses, 20));
    let truth = |fate, onset| Truth { fate, onset, last };
    if fifth.min(last) >= chance - BELOW {
        let onset = smooth
            .iter()
            .rposition(|&x| x < chance - BELOW)
            .map_or(0, |at| at + 1);
        let fate = if fifth >= chance + ABOVE {
            Fate::Diverged
        } else {
            Fate::Stuck
        };
        return truth(fate, onset);
    }
    let slow = fifth > SLOW * chance;
    match spike(&smooth, chance) {
        Some((onset, best)) if last <= best + 0.1 * (chance - best) && !slow => {
            truth(Fate::Recovered, onset)
        }
        Some((onset, _)) => truth(Fate::LossyRecovery, onset),
        None if slow => truth(Fate::Slow, losses.len()),
        None => truth(Fate::Healthy, losses.len()),
    }
}

/// The first spike, and the lowest smoothed loss before it (chance, when it was never lower).
fn spike(smooth: &[f64], chance: f64) -> Option<(usize, f64)> {
    let mut best = chance;
    for (at, &x) in smooth.iter().enumerate() {
        let lost = best <= LEARNED * chance && x - best > 0.5 * (chance - best);
        if x > FAR * chance || lost {
            return Some((at, best));
        }
        best = best.min(x);
    }
    None
}

fn smoothed(losses: &[f64]) -> Vec<f64> {
    (0..losses.len())
        .map(|at| {
            let around = at.saturating_sub(SIDE)..(at + SIDE + 1).min(losses.len());
            median(losses.get(around).unwrap_or_default())
        })
        .collect()
}

/// The median of the last 1/`part`.
fn tail(losses: &[f64], part: usize) -> f64 {
    let from = losses.len() - losses.len() / part;
    median(losses.get(from..).unwrap_or_default())
}

/// The upper median; infinite of nothing.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
        .get(sorted.len() / 2)
        .copied()
        .unwrap_or(f64::INFINITY)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANCE: f64 = 2.3;

    /// A run of 400 updates in pieces: up to which update, at which loss.
    fn fate(pieces: &[(usize, f64)]) -> (Fate, usize) {
        let mut losses = Vec::new();
        for &(until, loss) in pieces {
            losses.resize(until, loss);
        }
        let truth = judge(&losses, CHANCE);
        (truth.fate, truth.onset)
    }

    #[test]
    fn where_it_ends_decides() {
        assert_eq!(fate(&[(20, 2.3), (400, 0.3)]), (Fate::Healthy, 400));
        assert_eq!(fate(&[(400, 1.9)]), (Fate::Slow, 400));
        assert_eq!(fate(&[(400, 2.3)]), (Fate::Stuck, 0));
        assert_eq!(fate(&[(400, 2.36)]), (Fate::Diverged, 0));
        assert_eq!(fate(&[(100, 0.5), (400, 8.0)]), (Fate::Diverged, 100));
        assert_eq!(fate(&[(100, 0.5), (400, 2.29)]), (Fate::Stuck, 100));
        assert_eq!(fate(&[(100, 0.5), (400, f64::NAN)]), (Fate::Diverged, 100));
        // It comes down at the very end: not lost.
        assert_eq!(fate(&[(375, 2.3), (400, 1.0)]).0, Fate::Slow);
    }

    #[test]
    fn spikes_that_end_are_recoveries() {
        let spike = [(100, 0.5), (150, 8.0), (400, 0.3)];
        assert_eq!(fate(&spike), (Fate::Recovered, 100));
        let lossy = [(100, 0.5), (150, 8.0), (400, 1.2)];
        assert_eq!(fate(&lossy), (Fate::LossyRecovery, 100));
        assert_eq!(fate(&[(50, 9.0), (400, 2.0)]).0, Fate::LossyRecovery);
        let half = [(100, 0.5), (150, 1.5), (400, 0.6)];
        assert_eq!(fate(&half), (Fate::Recovered, 100));
        let small = [(100, 0.5), (150, 1.3), (400, 0.5)];
        assert_eq!(fate(&small).0, Fate::Healthy);
        // At the start, before anything was learned; and one bad batch is no spike.
        assert_eq!(fate(&[(50, 9.0), (400, 0.5)]), (Fate::Recovered, 0));
        assert_eq!(
            fate(&[(100, 0.5), (104, 90.0), (400, 0.5)]).0,
            Fate::Healthy
        );
    }
}
