//! The table of all trials. Drawn from the columns of trials.

use serde_json::json;

use super::super::Source;
use super::super::data::Json;

pub(super) fn data(source: &Source<'_>) -> Option<Json> {
    (!source.history.trials().is_empty()).then(|| json!({}))
}
