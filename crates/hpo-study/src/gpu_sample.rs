//! A GPU's memory at one moment of a study: what the timeline in the study database is made of. All amounts
//! are bytes.

use serde::{Deserialize, Serialize};

use crate::id::{AttemptNumber, Timestamp, TrialId};

/// A GPU's memory at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuSample {
    /// When.
    pub at: Timestamp,
    /// The GPU's UUID.
    pub gpu: String,
    /// Its number in the driver's order.
    pub index: u32,
    /// The product's name.
    pub name: String,
    /// Why it could not be used then; `None`: it could.
    pub lost: Option<String>,
    /// All of its memory; `None`: unknown.
    pub total: Option<u64>,
    /// The most that may be used: the study's limit, or what the card has without the driver's part.
    pub limit: Option<u64>,
    /// What was in use, everybody's; `None`: unknown.
    pub used: Option<u64>,
    /// The study's trials there.
    pub trials: Vec<TrialShare>,
}

/// What a trial has of a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialShare {
    /// The trial.
    pub trial: TrialId,
    /// Its attempt.
    pub attempt: AttemptNumber,
    /// What was set aside for it.
    pub reserved: u64,
    /// What it used; `None`: unknown.
    pub used: Option<u64>,
}

impl GpuSample {
    /// What was set aside for all trials together.
    #[must_use]
    pub fn reserved(&self) -> u64 {
        self.trials
            .iter()
            .fold(0, |sum, t| sum.saturating_add(t.reserved))
    }

    /// What the study's trials used; `None`: it is not known of all of them.
    #[must_use]
    pub fn ours(&self) -> Option<u64> {
        let used = self.trials.iter().map(|t| t.used);
        used.sum()
    }

    /// What others used.
    #[must_use]
    pub fn others(&self) -> Option<u64> {
        Some(self.used?.saturating_sub(self.ours()?))
    }
}
