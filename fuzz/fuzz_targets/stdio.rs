//! The searchers' protocol: the first line says which search, the second is the space file (or the
//! number of one that is ready), and all others are messages. Every message is answered by one line with one JSON object.
#![no_main]

use hpo_search::stdio::Session;
use libfuzzer_sys::fuzz_target;

const SPACES: [&str; 3] = [
    r#"{"params":[{"name":"lr","type":"float","low":1e-5,"high":1.0,"log":true},
        {"name":"n","type":"int","low":1,"high":8}],"max_steps":27,"eta":3}"#,
    r#"{"params":[{"name":"o","type":"cat","choices":["sgd","adam",null,[1,2]]},
        {"name":"m","type":"float","low":0.0,"high":0.99,"step":0.1,"when":{"o":["sgd"]}}],
        "direction":"maximize","max_steps":9,"eta":2}"#,
    r#"{"params":[{"name":"a","type":"int","low":0,"high":1}]}"#,
];
const METHODS: [&str; 6] = ["random", "grid", "sobol", "tpe", "gp", "bayes"];
const RULES: [&str; 5] = ["none", "median", "asha", "sha", "hyperband"];
/// Learning searchers take time in the cube of the number of trials; that is no finding.
const MOST_MESSAGES: usize = 48;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.split('\n');
    let first = lines.next().unwrap_or_default().as_bytes();
    let chosen = |i: usize| usize::from(first.get(i).copied().unwrap_or(0));
    let method = METHODS[chosen(0) % METHODS.len()];
    let rule = RULES[chosen(1) % RULES.len()];
    let space = match lines.next().unwrap_or_default() {
        "0" => SPACES[0],
        "1" => SPACES[1],
        "2" => SPACES[2],
        own => own,
    };
    let Ok(mut session) = Session::open(space, chosen(2) as u64, method, rule) else {
        return;
    };
    for line in lines.take(MOST_MESSAGES) {
        let trials = session.history().trials().len();
        let answer = session.answer(line);
        assert!(!answer.contains('\n'), "{answer:?}");
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert!(answer.is_object());
        if answer.get("error").is_some() {
            assert_eq!(session.history().trials().len(), trials, "{line:?} {answer}");
        }
    }
});
