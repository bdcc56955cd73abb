//! What a study knows before its first trial: what its user believes, and what others have found.

use serde::{Deserialize, Serialize};

use crate::import::ImportEntry;
use crate::prior::Priors;

/// See the module.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct WarmStart {
    /// Where the optimum is believed to be.
    #[serde(default, skip_serializing_if = "Priors::is_empty")]
    pub priors: Priors,
    /// Trials from elsewhere that the search is to learn from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub imports: Vec<ImportEntry>,
}

impl WarmStart {
    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
