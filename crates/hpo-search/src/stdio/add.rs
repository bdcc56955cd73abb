//! The message `add`: a trial that the search did not propose. From an earlier search, from another
//! process, or because somebody wanted to try just that.

use hpo_study::{Config, EventKind, TrialId};
use serde_json::{Map, Value as Json, json};

use super::{Refusal, Session, count, number, text};

/// What became of it.
#[derive(Clone, Copy)]
enum Status {
    Running,
    Ended(&'static str),
}

impl Session {
    /// Takes in a trial with the parameters it had, and answers with its number.
    ///
    /// Everything is looked at before anything is taken in.
    pub(super) fn add(&mut self, message: &Map<String, Json>) -> Result<Json, Refusal> {
        if self.pauses() {
            return Err(
                "with `asha-promotion`, `sha` and `hyperband` nothing can be added: \
                        who runs up to which rung is their decision"
                    .to_owned(),
            );
        }
        let config = self.config(message)?;
        let status = status(message)?;
        let reports = reports(message)?;
        let value = number(message, "value")?;
        let values = self.values(message)?;
        match status {
            Status::Running if value.is_some() => {
                return Err(
                    "`value` has no meaning for a trial that is `running`: `reports`".into(),
                );
            }
            Status::Ended("pruned") if self.has_several() => {
                return Err(super::several::no_pruning());
            }
            Status::Running if values.is_some() => {
                return Err("`values` has no meaning for a trial that is `running`".to_owned());
            }
            Status::Ended("complete") if self.has_several() && values.is_none() => {
                return Err("`values` is missing".to_owned());
            }
            Status::Ended("complete" | "pruned")
                if !self.has_several() && value.is_none() && reports.is_empty() =>
            {
                return Err("`value` is missing, and so are `reports`".to_owned());
            }
            _ => {}
        }
        let trial = TrialId(count(self.history.trials().len())?);
        let target = self.history.spec().max_steps();
        self.push(EventKind::TrialSuggested {
            trial,
            config,
            bracket: 0,
            target,
        })?;
        self.launch(trial, target)?;
        for (step, value) in reports {
            self.measure(trial, step, value)?;
        }
        match status {
            Status::Ended(word) if self.has_several() => {
                self.tell_values(trial, message, word)?;
            }
            Status::Ended(word) => {
                self.tell(trial, value, word)?;
            }
            Status::Running => {}
        }
        Ok(json!({ "trial": trial.0 }))
    }

    /// The parameters, which must be a configuration of the space.
    fn config(&self, message: &Map<String, Json>) -> Result<Config, Refusal> {
        let params = message.get("params").ok_or("`params` is missing")?;
        let config: Config =
            serde_json::from_value(params.clone()).map_err(|e| format!("`params`: {e}"))?;
        let space = &self.history.spec().space;
        space.check(&config).map_err(|e| format!("`params`: {e}"))?;
        Ok(config)
    }
}

fn status(message: &Map<String, Json>) -> Result<Status, Refusal> {
    let word = match message.get("status") {
        None => "complete",
        Some(_) => text(message, "status")?,
    };
    Ok(match word {
        "running" => Status::Running,
        "complete" => Status::Ended("complete"),
        "pruned" => Status::Ended("pruned"),
        "failed" => Status::Ended("failed"),
        other => {
            return Err(format!(
                "`status` is `complete`, `pruned`, `failed` or `running`, not `{other}`"
            ));
        }
    })
}

/// The curve: pairs of step and value, with steps that rise.
fn reports(message: &Map<String, Json>) -> Result<Vec<(u64, f64)>, Refusal> {
    let pairs = match message.get("reports") {
        None | Some(Json::Null) => return Ok(Vec::new()),
        Some(Json::Array(pairs)) => pairs,
        Some(other) => return Err(format!("`reports` must be a list, not {other}")),
    };
    let wrong = |pair: &Json| format!("`reports` has pairs of step and value, not {pair}");
    let mut curve: Vec<(u64, f64)> = Vec::with_capacity(pairs.len());
    for pair in pairs {
        let Some([step, value]) = pair.as_array().map(Vec::as_slice) else {
            return Err(wrong(pair));
        };
        let value = Map::from_iter([("value".to_owned(), value.clone())]);
        let (Some(step), Some(value)) = (step.as_u64(), number(&value, "value")?) else {
            return Err(wrong(pair));
        };
        if curve.last().is_some_and(|(last, _)| *last >= step) {
            return Err(format!("the steps of `reports` must rise: {step}"));
        }
        curve.push((step, value));
    }
    Ok(curve)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hpo_study::TrialState;

    const SPACE: &str = r#"{"params": [
        {"name": "optimizer", "type": "cat", "choices": ["sgd", "adam"]},
        {"name": "lr", "type": "float", "low": 0.0, "high": 1.0},
        {"name": "momentum", "type": "int", "low": 0, "high": 5, "when": {"optimizer": ["sgd"]}}],
        "max_steps": 9}"#;

    fn session(method: &str) -> Session {
        Session::open(SPACE, 1, method, "none").unwrap()
    }

    fn say(session: &mut Session, message: &Json) -> Json {
        serde_json::from_str(&session.answer(&message.to_string())).unwrap()
    }

    fn adam(lr: f64, more: &[(&str, Json)]) -> Json {
        let mut message = json!({"op": "add", "params": {"optimizer": "adam", "lr": lr}});
        for (key, value) in more {
            message[*key] = value.clone();
        }
        message
    }

    #[test]
    fn a_trial_that_was_not_proposed_counts_as_if_it_had_been() {
        let mut session = session("bayes");
        let ended = adam(0.25, &[("value", json!(0.5))]);
        assert_eq!(say(&mut session, &ended), json!({"trial": 0}));
        let pruned = adam(
            0.75,
            &[
                ("status", json!("pruned")),
                ("reports", json!([[1, 3.0], [2, 2.0]])),
            ],
        );
        assert_eq!(say(&mut session, &pruned), json!({"trial": 1}));
        let failed = adam(0.8, &[("status", json!("failed"))]);
        assert_eq!(say(&mut session, &failed), json!({"trial": 2}));
        let trials = session.history().trials();
        assert_eq!(trials[0].state, TrialState::Completed);
        assert_eq!(trials[0].curve.last(), Some((1, 0.5)));
        assert_eq!(trials[1].state.reason(), Some("pruned"));
        assert_eq!(trials[1].curve.last(), Some((2, 2.0)));
        assert_eq!(trials[2].state.reason(), Some("diverged"));
        let asked = say(&mut session, &json!({"op": "ask"}));
        assert_eq!(asked["trial"], 3);
    }

    #[test]
    fn a_running_trial_is_reported_and_told_like_any_other() {
        let mut session = session("bayes");
        let running = adam(0.25, &[("status", json!("running"))]);
        assert_eq!(say(&mut session, &running), json!({"trial": 0}));
        let report = json!({"op": "report", "trial": 0, "step": 4, "value": 0.5});
        assert_eq!(say(&mut session, &report), json!({"decision": "continue"}));
        let tell = json!({"op": "tell", "trial": 0, "value": 0.25});
        assert_eq!(say(&mut session, &tell), json!({"ok": true}));
        assert_eq!(session.history().trials()[0].state, TrialState::Completed);
    }

    #[test]
    fn told_by_add_or_by_tell_the_search_goes_on_alike() {
        for method in ["bayes", "tpe", "gp", "random", "sobol"] {
            let mut asked = session(method);
            let mut added = session(method);
            for i in 0..12 {
                let trial = say(&mut asked, &json!({"op": "ask"}));
                let tell = json!({"op": "tell", "trial": trial["trial"], "value": i * 7 % 5});
                say(&mut asked, &tell);
                let add = json!({"op": "add", "params": trial["params"], "value": i * 7 % 5});
                assert_eq!(say(&mut added, &add), json!({"trial": i}));
            }
            let ask = json!({"op": "ask"});
            assert_eq!(say(&mut asked, &ask), say(&mut added, &ask), "{method}");
        }
    }

    #[test]
    fn a_lost_trial_says_nothing() {
        let mut session = session("bayes");
        let _ = say(&mut session, &json!({"op": "ask"}));
        let tell = json!({"op": "tell", "trial": 0, "status": "lost"});
        assert_eq!(say(&mut session, &tell), json!({"ok": true}));
        assert_eq!(session.history().trials()[0].state.reason(), Some("lost"));
        assert!(!session.history().trials()[0].state.is_infeasible());
    }

    #[test]
    fn what_cannot_be_added_is_refused_and_changes_nothing() {
        let mut session = session("bayes");
        for (more, reason) in [
            (vec![], "`value` is missing"),
            (vec![("params", json!([1]))], "`params`: "),
            (
                vec![("params", json!({"optimizer": "adam"}))],
                "`lr` is missing",
            ),
            (
                vec![("params", json!({"optimizer": "adam", "lr": 2.0}))],
                "outside its domain",
            ),
            (
                vec![(
                    "params",
                    json!({"optimizer": "adam", "lr": 0.5, "momentum": 1}),
                )],
                "not active",
            ),
            (
                vec![("params", json!({"optimizer": "adam", "lr": 0.5, "x": 1}))],
                "not a parameter",
            ),
            (vec![("status", json!("fine"))], "not `fine`"),
            (
                vec![("status", json!("running")), ("value", json!(1))],
                "no meaning",
            ),
            (vec![("value", json!("low"))], "`value` must be a number"),
            (vec![("reports", json!({}))], "must be a list"),
            (vec![("reports", json!([1]))], "pairs of step and value"),
            (vec![("reports", json!([[1, 2], [1, 3]]))], "must rise"),
            (vec![("trial", json!(0))], "`trial` has no meaning here"),
        ] {
            let answer = say(&mut session, &adam(0.5, &more));
            let error = answer["error"].as_str().unwrap_or_default();
            assert!(error.contains(reason), "{more:?}: {answer}");
        }
        assert!(session.history().trials().is_empty());
        let mut halving = Session::open(SPACE, 1, "random", "sha").unwrap();
        let answer = say(&mut halving, &adam(0.5, &[("value", json!(1))]));
        assert!(answer["error"].as_str().unwrap().contains("`sha`"));
    }
}
