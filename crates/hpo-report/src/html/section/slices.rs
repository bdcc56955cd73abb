//! Each parameter by itself: value over parameter. Drawn from the columns of trials.

use serde_json::json;

use super::super::Source;
use super::super::data::Json;
use super::super::parameters::facts;

pub(super) fn data(source: &Source<'_>) -> Option<Json> {
    let trials = source.history.trials();
    let told = trials.iter().any(|t| t.value().is_some_and(f64::is_finite));
    (told && !facts(source.history).is_empty()).then(|| json!({}))
}
