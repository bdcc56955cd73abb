//! `hpo stdio` over a real pipe.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use serde_json::{Value as Json, json};

use crate::bench::Bench;

const SPACE: &str = r#"{"params": [
    {"name": "optimizer", "type": "cat", "choices": ["sgd", "adam"]},
    {"name": "lr", "type": "float", "low": 1e-5, "high": 1.0, "log": true},
    {"name": "momentum", "type": "float", "low": 0.0, "high": 0.99, "when": {"optimizer": ["sgd"]}}],
    "direction": "minimize", "n_trials": 100, "max_steps": 27, "eta": 3}"#;

/// The program with both ends of its pipe. Every message waits for its answer, so an answer that
/// stayed in a buffer would hang the test.
struct Pipe {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Pipe {
    fn new(bench: &Bench, options: &[&str]) -> Self {
        bench.write("space.json", SPACE);
        let mut arguments = vec!["stdio", "--space", "space.json"];
        arguments.extend(options);
        let mut command = bench.hpo(&arguments);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take(), child.stdout.take().unwrap());
        let output = BufReader::new(output);
        Self {
            child,
            input,
            output,
        }
    }

    fn say(&mut self, line: &[u8]) -> Json {
        let input = self.input.as_mut().unwrap();
        input.write_all(&[line, b"\n"].concat()).unwrap();
        let mut answer = String::new();
        self.output.read_line(&mut answer).unwrap();
        serde_json::from_str(&answer).unwrap_or_else(|e| panic!("{e}: {answer}"))
    }

    fn tell(&mut self, message: &Json) -> Json {
        self.say(message.to_string().as_bytes())
    }

    /// Ends the input; the exit code.
    fn end(mut self) -> Option<i32> {
        drop(self.input.take());
        self.child.wait().unwrap().code()
    }
}

#[test]
fn trials_are_asked_for_reported_and_told() {
    let bench = Bench::new();
    let run = |seed: &str| {
        let mut pipe = Pipe::new(&bench, &["--seed", seed, "--method", "bayes"]);
        let mut asked = Vec::new();
        for i in 0..15 {
            let answer = pipe.say(br#"{"op": "ask"}"#);
            assert_eq!(answer["trial"], i);
            let is_sgd = answer["params"]["optimizer"] == "sgd";
            assert_eq!(answer["params"].get("momentum").is_some(), is_sgd);
            let report = json!({"op": "report", "trial": i, "step": 1, "value": 0.5});
            assert_eq!(pipe.tell(&report), json!({"decision": "continue"}));
            let loss = answer["params"]["lr"].as_f64().unwrap().ln().abs();
            let tell = json!({"op": "tell", "trial": i, "value": loss, "status": "complete"});
            assert_eq!(pipe.tell(&tell), json!({"ok": true}));
            asked.push(answer["params"].to_string());
        }
        assert_eq!(pipe.end(), Some(0));
        asked
    };
    let first = run("1");
    assert_eq!(first, run("1"));
    assert_ne!(first, run("2"));
}

#[test]
fn a_bad_message_is_answered_with_the_reason_and_the_process_goes_on() {
    let bench = Bench::new();
    let mut pipe = Pipe::new(&bench, &["--method", "random"]);
    let bad: [&[u8]; 8] = [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        br#"{"op": "dance"}"#,
        br#"{"op": "tell", "trial": 0, "value": 1}"#,
        br#"{"op": "add", "params": {"lr": 7}}"#,
        b"{\"op\": \"ask\"}{\"op\": \"ask\"}",
    ];
    for line in bad {
        let answer = pipe.say(line);
        assert!(answer["error"].is_string(), "{answer}");
    }
    assert_eq!(pipe.say(br#"{"op": "ask"}"#)["trial"], 0);
    assert_eq!(pipe.end(), Some(0));
}

#[test]
fn the_input_may_end_without_a_line_break_and_the_reader_may_leave() {
    let bench = Bench::new();
    let mut pipe = Pipe::new(&bench, &[]);
    pipe.input
        .as_mut()
        .unwrap()
        .write_all(br#"{"op": "ask"}"#)
        .unwrap();
    drop(pipe.input.take());
    let mut answer = String::new();
    pipe.output.read_line(&mut answer).unwrap();
    assert!(answer.contains("\"trial\":0"), "{answer}");
    assert_eq!(pipe.end(), Some(0));
    let Pipe {
        mut child,
        input,
        output,
    } = Pipe::new(&bench, &[]);
    drop(output);
    input.unwrap().write_all(b"{\"op\": \"ask\"}\n").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn wrong_usage_is_told_before_anything_is_read() {
    let bench = Bench::new();
    bench.write("space.json", SPACE);
    bench.write("wrong.json", "{\"params\": [{\"name\": \"x\"}]}");
    for (arguments, reason) in [
        (vec!["--space", "nowhere.json"], "nowhere.json"),
        (vec!["--space", "wrong.json"], "missing field `type`"),
        (
            vec!["--space", "space.json", "--method", "magic"],
            "`magic`",
        ),
        (
            vec!["--space", "space.json", "--early-terminate", "magic"],
            "`magic`",
        ),
        (vec!["--space", "space.json", "--seed", "x"], "--seed"),
        (vec![], "--space"),
    ] {
        let ended = bench.run(&[vec!["stdio"], arguments].concat());
        assert_eq!(ended.code, 2, "{ended:?}");
        assert!(ended.stderr.contains(reason), "{ended:?}");
        assert!(ended.stdout.is_empty(), "{ended:?}");
    }
}
