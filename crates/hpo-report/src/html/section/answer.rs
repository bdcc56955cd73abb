//! The best configuration, ready to be taken away.

use hpo_study::{History, Trial};
use serde_json::json;

use super::super::Source;
use super::super::data::{self, Json};
use crate::confirmations;
use crate::export::{Format, export};
use crate::number::{short, short_value};
use crate::summary::furthest;
use crate::trials::{rescue_words, state_words};

pub(super) fn data(source: &Source<'_>) -> Option<Json> {
    let history = source.history;
    let Some(best) = history.best() else {
        let metric = &history.spec().metric.name;
        let on_the_way = furthest(history).map(|(trial, value)| {
            format!(
                "The best value on the way was {metric} = {}, of trial {} ({}).",
                short(value),
                trial.id,
                state_words(trial.state.word(), trial.state.reason())
            )
        });
        return Some(json!({ "trial": null, "on_the_way": on_the_way }));
    };
    let exports = Format::ALL.iter().filter_map(|format| {
        let text = export(history, best, *format).ok()?;
        Some((format.name().to_owned(), Json::from(text)))
    });
    Some(json!({
        "trial": best.id.0,
        "value": data::maybe(best.value()),
        "several": several(history, best),
        "repeated": crate::repeats::words(best),
        "confirmed": confirmations::words(history, best),
        "confirming": confirmations::sentence(history),
        "table": confirmations::table(history, None),
        "step": best.curve.last_step(),
        "params": params(best),
        "rescues": best.rescues.iter().map(rescue_words).collect::<Vec<_>>(),
        "exports": exports.collect::<serde_json::Map<_, _>>(),
    }))
}

/// With several objectives: what the trial has in each, and that it is one of many.
fn several(history: &History, best: &Trial) -> Option<Json> {
    history.spec().has_several().then(|| {
        json!({
            "values": crate::front::words(history, best),
            "front": crate::front::sentence(history),
        })
    })
}

/// The configuration as name and value, the optimizer and its rate first.
fn params(trial: &Trial) -> Vec<[String; 2]> {
    let key = ["optimizer", "lr", "learning_rate", "schedule"];
    let place = |name: &str| key.iter().position(|k| *k == name).unwrap_or(key.len());
    let mut params: Vec<[String; 2]> = trial
        .config
        .iter()
        .map(|(name, value)| [name.clone(), data::short_text(&short_value(value))])
        .collect();
    params.sort_by_key(|[name, _]| place(name));
    params
}
