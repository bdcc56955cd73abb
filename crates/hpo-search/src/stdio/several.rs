//! Several objectives: a trial is told with a list of values, all at its end.

use std::collections::BTreeMap;

use hpo_study::{EventKind, StopReason, TrialId};
use serde_json::{Map, Value as Json, json};

use super::{Refusal, Session, number, space};

pub(super) fn no_pruning() -> Refusal {
    "with several objectives no trial is `pruned`: there is no value that all agree on before its end".to_owned()
}

pub(super) fn no_early_stopping() -> Refusal {
    "with several `directions` trials are compared by all objectives, at their ends: there is no early stopping (leave \
     `--early-terminate` out), and no method that ranks by one (`cmaes`, `bohb`, `dehb`)"
        .to_owned()
}

impl Session {
    pub(super) fn has_several(&self) -> bool {
        self.history.spec().has_several()
    }

    /// The values of a message, one for each objective in the order of `directions`; `None`: it has none.
    pub(super) fn values(&self, message: &Map<String, Json>) -> Result<Option<Vec<f64>>, Refusal> {
        let values = match message.get("values") {
            None | Some(Json::Null) => return Ok(None),
            Some(Json::Array(values)) => values,
            Some(other) => return Err(format!("`values` must be a list, not {other}")),
        };
        let wanted = self.history.spec().objectives().count();
        if values.len() != wanted {
            return Err(format!(
                "`values` has {} numbers, and there are {wanted} objectives",
                values.len()
            ));
        }
        let one = |value: &Json| {
            let value = Map::from_iter([("values".to_owned(), value.clone())]);
            number(&value, "values")?.ok_or_else(|| "`values` has numbers, no null".to_owned())
        };
        values.iter().map(one).collect::<Result<_, _>>().map(Some)
    }

    pub(super) fn tell_values(
        &mut self,
        trial: TrialId,
        message: &Map<String, Json>,
        status: &str,
    ) -> Result<Json, Refusal> {
        let values = self.values(message)?;
        match status {
            "complete" => {
                let values = values.ok_or("`values` is missing")?;
                let step = self.history.spec().max_steps().unwrap_or(1);
                let metrics: BTreeMap<String, f64> = space::metrics(values.len())
                    .zip(values.iter().copied())
                    .collect();
                let attempt = self.attempt(trial)?;
                self.push(EventKind::Reported {
                    trial,
                    attempt,
                    step,
                    metrics,
                })?;
                // One that is not finite is as bad as none.
                match values.iter().find(|value| !value.is_finite()) {
                    Some(value) => {
                        let evidence = format!("told to be {value}");
                        self.stop(trial, StopReason::Diverged { evidence })?;
                    }
                    None => self.complete(trial)?,
                }
            }
            "failed" => {
                let evidence = "told to have failed".to_owned();
                self.stop(trial, StopReason::Diverged { evidence })?;
            }
            "lost" => self.lose(trial)?,
            "pruned" => return Err(no_pruning()),
            other => {
                return Err(format!(
                    "`status` is `complete`, `failed` or `lost`, not `{other}`"
                ));
            }
        }
        Ok(json!({ "ok": true }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPACE: &str = r#"{"params": [
        {"name": "x", "type": "float", "low": 0.0, "high": 1.0},
        {"name": "kind", "type": "cat", "choices": ["a", "b"]}],
        "directions": ["minimize", "maximize"]}"#;

    fn session() -> Session {
        Session::open(SPACE, 1, "bayes", "none").unwrap()
    }

    fn say(session: &mut Session, message: &Json) -> Json {
        serde_json::from_str(&session.answer(&message.to_string())).unwrap()
    }

    #[test]
    fn values_are_told_and_make_a_front() {
        let mut session = session();
        for values in [
            json!([1, 1]),
            json!([2, 2]),
            json!([3, 0]),
            json!(["NaN", 9]),
        ] {
            let asked = say(&mut session, &json!({"op": "ask"}));
            let tell = json!({"op": "tell", "trial": asked["trial"], "values": values});
            assert_eq!(say(&mut session, &tell), json!({"ok": true}));
        }
        let params = json!({"x": 0.5, "kind": "a"});
        let add = json!({"op": "add", "params": params, "values": [0.5, 1]});
        assert_eq!(say(&mut session, &add), json!({"trial": 4}));
        let failed = json!({"op": "add", "params": params, "status": "failed"});
        assert_eq!(say(&mut session, &failed), json!({"trial": 5}));
        let history = session.history();
        let front: Vec<u32> = history.front().iter().map(|t| t.id.0).collect();
        assert_eq!(front, [1, 4], "the last one beats the first");
        assert!(history.trials()[3].state.is_infeasible());
        assert_eq!(history.best_first()[0].id.0, 1);
    }

    #[test]
    fn what_is_wrong_is_refused() {
        let mut session = session();
        let _ = say(&mut session, &json!({"op": "ask"}));
        for (message, reason) in [
            (
                json!({"op": "tell", "trial": 0, "value": 1}),
                "`value` has no meaning",
            ),
            (json!({"op": "tell", "trial": 0}), "`values` is missing"),
            (
                json!({"op": "tell", "trial": 0, "values": [1]}),
                "there are 2 objectives",
            ),
            (
                json!({"op": "tell", "trial": 0, "values": 1}),
                "must be a list",
            ),
            (
                json!({"op": "tell", "trial": 0, "values": [1, null]}),
                "no null",
            ),
            (
                json!({"op": "tell", "trial": 0, "status": "pruned"}),
                "no trial is `pruned`",
            ),
            (
                json!({"op": "report", "trial": 0, "step": 1, "value": 1}),
                "no reports",
            ),
            (
                json!({"op": "add", "params": {"x": 0.5, "kind": "a"}}),
                "`values` is missing",
            ),
            (
                json!({"op": "add", "params": {"x": 0.5, "kind": "a"}, "status": "running", "values": [1, 1]}),
                "`running`",
            ),
        ] {
            let answer = say(&mut session, &message);
            let error = answer["error"].as_str().unwrap_or_default();
            assert!(error.contains(reason), "{message}: {answer}");
        }
        for (space, method, rule, reason) in [
            (SPACE.to_owned(), "bohb", "none", "no early stopping"),
            (SPACE.to_owned(), "cmaes", "none", "ranks by one"),
            (SPACE.to_owned(), "tpe", "median", "no early stopping"),
            (SPACE.replace("maximize", "up"), "tpe", "none", "not `up`"),
            (
                SPACE.replace(r#"["minimize", "maximize"]"#, "[]"),
                "tpe",
                "none",
                "at most 16",
            ),
            (
                SPACE.replace(
                    "\"directions\"",
                    "\"direction\": \"minimize\", \"directions\"",
                ),
                "tpe",
                "none",
                "not both",
            ),
        ] {
            let error = Session::open(&space, 1, method, rule).err().unwrap();
            let error = error.to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
