use super::*;

const SPACE: &str = r#"{"params": [
    {"name": "momentum", "type": "int", "low": 0, "high": 5, "log": false, "when": {"optimizer": ["sgd"]}},
    {"name": "optimizer", "type": "cat", "choices": ["sgd", "adam"]},
    {"name": "lr", "type": "float", "low": 1e-5, "high": 1.0, "log": true}],
    "direction": "minimize", "n_trials": 100, "max_steps": 9, "eta": 3}"#;

fn session(rule: &str) -> Session {
    Session::open(SPACE, 1, "random", rule).unwrap()
}

fn say(session: &mut Session, message: &Json) -> Json {
    serde_json::from_str(&session.answer(&message.to_string())).unwrap()
}

fn ask(session: &mut Session) -> Json {
    say(session, &json!({"op": "ask"}))
}

#[test]
fn configurations_are_of_the_space_and_follow_from_the_seed() {
    let run = |seed| {
        let mut session = Session::open(SPACE, seed, "sobol", "none").unwrap();
        let params = |_| ask(&mut session)["params"].clone();
        (0..20).map(params).collect::<Vec<Json>>()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
    for params in run(3) {
        assert_eq!(
            params["optimizer"] == "sgd",
            params.get("momentum").is_some(),
            "{params}"
        );
    }
}

#[test]
fn a_trial_is_asked_reported_and_told() {
    let mut session = session("none");
    let trial = ask(&mut session)["trial"].clone();
    assert_eq!(trial, 0);
    let report = json!({"op": "report", "trial": trial, "step": 3, "value": 0.5});
    assert_eq!(say(&mut session, &report), json!({"decision": "continue"}));
    let tell = json!({"op": "tell", "trial": trial, "value": 0.25, "status": "complete"});
    assert_eq!(say(&mut session, &tell), json!({"ok": true}));
    let record = &session.history().trials()[0];
    assert_eq!(record.state, TrialState::Completed);
    assert_eq!(record.curve.last(), Some((3, 0.25)));
}

#[test]
fn a_failed_trial_is_infeasible_and_its_value_does_not_count() {
    let mut session = session("none");
    let _ = ask(&mut session);
    let tell = r#"{"op": "tell", "trial": 0, "value": NaN, "status": "failed"}"#;
    assert_eq!(session.answer(tell), r#"{"ok":true}"#);
    let record = &session.history().trials()[0];
    assert_eq!(record.state.reason(), Some("diverged"));
    assert!(record.curve.is_empty());
}

#[test]
fn what_cannot_be_heeded_is_answered_with_the_reason_and_changes_nothing() {
    let mut session = session("none");
    let _ = ask(&mut session);
    for (line, reason) in [
        ("", "a message is a JSON object"),
        ("[1]", "a message is a JSON object"),
        ("{\"op\": \"ask\"", "a message is a JSON object"),
        (r#"{"trial": 0}"#, "`op` is missing"),
        (r#"{"op": 3}"#, "`op` must be a text"),
        (r#"{"op": "dance"}"#, "not `dance`"),
        (
            r#"{"op": "ask", "trial": 3}"#,
            "`trial` has no meaning here",
        ),
        (
            r#"{"op": "report", "trial": 0, "value": 1}"#,
            "`step` is missing",
        ),
        (
            r#"{"op": "report", "trial": 0, "step": -1, "value": 1}"#,
            "`step` must be a whole number",
        ),
        (
            r#"{"op": "report", "trial": 0, "step": 1}"#,
            "`value` is missing",
        ),
        (
            r#"{"op": "report", "trial": 0, "step": 1, "value": "low"}"#,
            "`value` must be a number",
        ),
        (
            r#"{"op": "tell", "trial": 0, "value": 1, "status": "fine"}"#,
            "not `fine`",
        ),
        (
            r#"{"op": "tell", "trial": 0}"#,
            "nothing was reported before",
        ),
        (
            r#"{"op": "tell", "trial": 7, "value": 1}"#,
            "there is no trial 7",
        ),
        (
            r#"{"op": "tell", "trial": 1e300, "value": 1}"#,
            "`trial` must be a whole number",
        ),
    ] {
        let answer: Json = serde_json::from_str(&session.answer(line)).unwrap();
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(error.contains(reason), "{line}: {answer}");
    }
    assert_eq!(session.history().trials().len(), 1);
    assert_eq!(session.history().trials()[0].state, TrialState::Running);
    let tell = json!({"op": "tell", "trial": 0, "value": 1.0});
    assert_eq!(say(&mut session, &tell), json!({"ok": true}));
    let again = say(&mut session, &tell);
    assert!(
        again["error"].as_str().unwrap().contains("it is completed"),
        "{again}"
    );
}

#[test]
fn a_median_rule_prunes() {
    let mut session = session("median");
    let mut decisions = Vec::new();
    for i in 0..8 {
        let _ = ask(&mut session);
        let report = json!({"op": "report", "trial": i, "step": 1, "value": f64::from(i)});
        decisions.push(say(&mut session, &report)["decision"].clone());
    }
    assert_eq!(decisions[0], "continue");
    assert_eq!(decisions[7], "prune");
}

#[test]
fn successive_halving_gives_budgets_and_comes_back_to_the_best() {
    let mut session = session("sha");
    let mut asked = Vec::new();
    for _ in 0..13 {
        let answer = ask(&mut session);
        let (trial, budget) = (
            answer["trial"].as_u64().unwrap(),
            answer["budget"].as_u64().unwrap(),
        );
        asked.push((trial, budget));
        let tell = json!({"op": "tell", "trial": trial, "value": 20 - trial, "status": "complete"});
        assert_eq!(say(&mut session, &tell), json!({"ok": true}));
    }
    let budgets: Vec<u64> = asked.iter().map(|(_, budget)| *budget).collect();
    assert_eq!(budgets, [1, 1, 1, 1, 1, 1, 1, 1, 1, 3, 3, 3, 9]);
    assert_eq!(asked[12], (8, 9), "{asked:?}");
    assert_eq!(session.history().trials()[8].state, TrialState::Completed);
}

#[test]
fn a_grid_comes_to_its_end_with_words() {
    let space = r#"{"params": [{"name": "a", "type": "cat", "choices": [1, 2]}]}"#;
    let mut session = Session::open(space, 0, "grid", "none").unwrap();
    let (_, _) = (ask(&mut session), ask(&mut session));
    assert!(
        ask(&mut session)["error"]
            .as_str()
            .unwrap()
            .contains("before a running trial")
    );
    for trial in 0..2 {
        let _ = say(
            &mut session,
            &json!({"op": "tell", "trial": trial, "value": 1}),
        );
    }
    assert!(
        ask(&mut session)["error"]
            .as_str()
            .unwrap()
            .contains("every configuration")
    );
}

#[test]
fn a_space_that_cannot_be_is_refused_with_the_reason() {
    let float = r#"{"name": "x", "type": "float", "low": 0.0, "high": 1.0}"#;
    for (params, reason) in [
        (r#"{"name": "x"}"#.to_owned(), "missing field `type`"),
        (
            r#"{"name": "x", "type": "real"}"#.to_owned(),
            "`type` is `float`",
        ),
        (
            r#"{"name": "x", "type": "float", "low": 0}"#.to_owned(),
            "`high` is missing",
        ),
        ("7".to_owned(), "expected a parameter: an object"),
        (float.replace("0.0", "2"), "must not be above"),
        (float.replace("0.0", "0, \"log\": true"), "must be above 0"),
        (float.replace("0.0", "0, \"step\": 1e-320"), "too small"),
        (float.replace("0.0", "0.1, \"step\": 5"), "no multiple"),
        (
            r#"{"name": "x", "type": "int", "low": 0.5, "high": 1}"#.to_owned(),
            "a whole number",
        ),
        (
            r#"{"name": "x", "type": "cat", "choices": [1, 1.0]}"#.to_owned(),
            "different values",
        ),
        (
            float.replace("1.0", "1, \"when\": {\"y\": [1]}"),
            "names no parameter: `y`",
        ),
        (
            float.replace("1.0", "1, \"when\": {\"x\": [1]}"),
            "in a circle",
        ),
    ] {
        let text = format!(r#"{{"params": [{params}]}}"#);
        match Session::open(&text, 0, "random", "none") {
            Err(Unopened::Space(error)) => assert!(error.contains(reason), "{params}: {error}"),
            other => panic!("{params}: {:?}", other.err()),
        }
    }
    for text in ["[]", "3"] {
        match Session::open(text, 0, "random", "none") {
            Err(Unopened::Space(error)) => {
                assert!(error.contains("an object with `params`"), "{error}");
            }
            other => panic!("{text}: {:?}", other.err()),
        }
    }
    for (method, rule, reason) in [
        (
            "magic",
            "none",
            "`--method` cannot be `magic`, expected one of",
        ),
        ("random", "asha", "max_steps"),
        ("random", "magic", "`hyperband`"),
    ] {
        match Session::open(r#"{"params": []}"#, 0, method, rule) {
            Err(Unopened::Options(error)) => assert!(error.contains(reason), "{error}"),
            other => panic!("{method}, {rule}: {:?}", other.err()),
        }
    }
}
