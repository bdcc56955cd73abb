//! Optimizer × learning rate: which come to nothing, and where the edge is.

use serde_json::json;

use super::super::Source;
use super::super::data::{self, Json};
use crate::map::{map, rate_name, tried_rate};

pub(super) fn data(source: &Source<'_>) -> Option<Json> {
    let history = source.history;
    let parameter = rate_name(history)?;
    let rates: Vec<Json> = history
        .trials()
        .iter()
        .map(|trial| data::maybe(tried_rate(trial)))
        .collect();
    if rates.iter().all(Json::is_null) {
        return None;
    }
    let optimizer = |trial: &hpo_study::Trial| {
        let value = trial.config.get("optimizer");
        value.map(|v| data::short_text(&v.to_string()))
    };
    let optimizers: Vec<_> = history.trials().iter().map(optimizer).collect();
    let rows = map(history).map(|map| map.rows).unwrap_or_default();
    let rows = rows.iter().map(|row| {
        json!({
            "optimizer": row.optimizer.as_deref().map(data::short_text),
            "fine": row.fine, "lost": row.lost, "idle": row.idle,
            "edge": data::maybe(row.edge), "beyond": row.beyond,
            "words": row.words(),
        })
    });
    Some(json!({
        "parameter": parameter,
        "rate": rates,
        "optimizer": optimizers,
        "rows": rows.collect::<Vec<_>>(),
    }))
}
