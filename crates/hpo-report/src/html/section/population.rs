//! Population-based training: each parameter over the steps, by member, and who copied whom.

use serde_json::json;

use hpo_study::population::{self, lineage};
use hpo_study::{Domain, History, Scale, Trial, TrialId};

use super::super::Source;
use super::super::data::{self, Json};

/// At most so many stretches are drawn.
const MOST: usize = 20_000;

pub(super) fn data(source: &Source<'_>) -> Option<Json> {
    let history = source.history;
    let population = population::of(history)?;
    let trials: Vec<&Trial> = history.trials().iter().take(MOST).collect();
    let best: Vec<TrialId> = history.best().map_or_else(Vec::new, |best| {
        lineage(history, best).iter().map(|t| t.id).collect()
    });
    let parameters: Vec<Json> = population
        .mutate
        .iter()
        .map(|name| {
            let number = |t: &&Trial| data::maybe(t.config.number(name));
            json!({
                "name": data::short_text(name),
                "scale": scale(history, name),
                "values": trials.iter().map(number).collect::<Vec<_>>(),
            })
        })
        .collect();
    (!trials.is_empty()).then(|| {
        json!({
            "members": population.size,
            "trials": trials.iter().map(|t| t.id).collect::<Vec<_>>(),
            "member": trials.iter().map(|t| t.bracket).collect::<Vec<_>>(),
            "parent": trials.iter().map(|t| t.parent.map(|o| o.trial)).collect::<Vec<_>>(),
            "from_step": trials.iter().map(|t| t.parent.map_or(0, |o| o.step)).collect::<Vec<_>>(),
            "to_step": trials.iter().map(|t| t.curve.last_step()).collect::<Vec<_>>(),
            "best": best,
            "parameters": parameters,
        })
    })
}

/// On which axis a parameter is drawn.
fn scale(history: &History, name: &str) -> &'static str {
    let space = &history.spec().space;
    let parameter = space.parameters.iter().find(|p| p.name == name);
    let domains = || {
        parameter
            .iter()
            .flat_map(|p| &p.branches)
            .map(|b| &b.domain)
    };
    let all = |of: fn(&Domain) -> bool| domains().next().is_some() && domains().all(of);
    if all(|d| {
        matches!(
            d,
            Domain::Float {
                scale: Scale::Log,
                ..
            } | Domain::Int { log: true, .. }
        )
    }) {
        "log"
    } else if all(|d| {
        matches!(
            d,
            Domain::Float {
                scale: Scale::OneMinusLog,
                ..
            }
        )
    }) {
        "one_minus_log"
    } else {
        "linear"
    }
}
