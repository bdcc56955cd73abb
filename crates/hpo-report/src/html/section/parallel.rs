//! All parameters together, as parallel coordinates. Drawn from the columns of trials.

use serde_json::json;

use super::super::Source;
use super::super::data::Json;
use super::super::parameters::facts;

pub(super) fn data(source: &Source<'_>) -> Option<Json> {
    let finite = |t: &&hpo_study::Trial| t.value().is_some_and(f64::is_finite);
    let told = source.history.trials().iter().filter(finite).count();
    (told > 1 && facts(source.history).len() > 1).then(|| json!({}))
}
