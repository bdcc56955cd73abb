//! Which parameters matter.

use serde_json::json;

use super::super::Source;
use super::super::data::{self, Json};
use crate::importance::{FEWEST, importance};

pub(super) fn data(source: &Source<'_>) -> Option<Json> {
    let Some(found) = importance(source.history) else {
        let searched = !super::super::parameters::facts(source.history).is_empty();
        let told = !source.history.trials().is_empty();
        return (searched && told).then(|| json!({ "parameters": [], "fewest": FEWEST }));
    };
    let parameters = found.parameters.iter().map(|p| {
        let regimes = p.regimes.iter().map(|r| {
            json!({
                "when": data::short_text(&r.when), "trials": r.trials, "top": r.top,
                "share": data::number(r.share),
            })
        });
        json!({
            "name": p.name,
            "share": data::number(p.share),
            "score": data::number(p.score),
            "chance": data::number(p.chance),
            "regimes": regimes.collect::<Vec<_>>(),
        })
    });
    Some(json!({
        "fewest": FEWEST,
        "trials": found.trials,
        "top": found.top,
        "parameters": parameters.collect::<Vec<_>>(),
    }))
}
