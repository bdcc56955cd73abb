//! How long one question takes: `cargo bench -p hpo-search --bench ask`. Ten mixed parameters, so many
//! finished trials, one thread; what is timed is an `ask` of the protocol, JSON and all, each after one
//! more trial has been told. `benches/ask_vs_optuna.py` times Optuna beside it.

#![expect(clippy::expect_used, reason = "a bench may stop at the first surprise")]

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use hpo_search::stdio::Session;

/// Four numbers in the logarithm, two even ones, two whole ones, two choices.
fn space() -> String {
    let mut params: Vec<String> = Vec::new();
    for i in 0..4 {
        params.push(format!(
            r#"{{"name":"l{i}","type":"float","low":1e-5,"high":1.0,"log":true}}"#
        ));
    }
    for i in 0..2 {
        params.push(format!(
            r#"{{"name":"f{i}","type":"float","low":0.0,"high":1.0}}"#
        ));
        params.push(format!(
            r#"{{"name":"i{i}","type":"int","low":1,"high":64}}"#
        ));
        params.push(format!(
            r#"{{"name":"c{i}","type":"cat","choices":["a","b","c","d"]}}"#
        ));
    }
    format!(r#"{{"params":[{}]}}"#, params.join(","))
}

/// Even numbers from 0 to 1, the same in every run.
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// A search that has been told of this many trials.
fn session(method: &str, trials: usize) -> Session {
    let mut session = Session::open(&space(), 1, method, "none").expect("a good space");
    let mut draws = Draws(7);
    for _ in 0..trials {
        let (mut params, mut value) = (String::new(), 0.0);
        for i in 0..4 {
            let u = draws.next();
            value += (u - 0.3) * (u - 0.3);
            let _ = write!(params, r#""l{i}":{:e},"#, 10f64.powf(5.0 * u - 5.0));
        }
        for i in 0..2 {
            let (u, whole, choice) = (draws.next(), draws.next(), draws.next());
            value += (u - 0.6) * (u - 0.6) + 0.2 * (whole - 0.5).abs() + 0.1 * choice;
            let letter = ["a", "b", "c", "d"][(choice * 4.0) as usize];
            let _ = write!(
                params,
                r#""f{i}":{u},"i{i}":{},"c{i}":"{letter}","#,
                1 + (whole * 64.0) as u32
            );
        }
        let params = params.trim_end_matches(',');
        let answer = session.answer(&format!(
            r#"{{"op":"add","params":{{{params}}},"value":{value}}}"#
        ));
        assert!(answer.contains("trial"), "{answer}");
    }
    session
}

/// Asks once, tells a value, and says how long the question took.
fn ask(session: &mut Session, value: f64) -> Duration {
    let began = Instant::now();
    let answer = session.answer(r#"{"op":"ask"}"#);
    let took = began.elapsed();
    let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
    let number = answer["trial"].as_u64().expect("a trial's number");
    let told = session.answer(&format!(
        r#"{{"op":"tell","trial":{number},"value":{value}}}"#
    ));
    assert!(told.contains("ok"), "{told}");
    took
}

fn asks(criterion: &mut Criterion) {
    let cases = [
        ("tpe", &[100, 1000, 5000][..]),
        // With twelve it guesses its processes several times, with fifty fewer times, and then once.
        ("gp", &[12, 50, 200, 1000][..]),
    ];
    for (method, counts) in cases {
        let mut group = criterion.benchmark_group(method);
        group.sample_size(10);
        for &trials in counts {
            group.bench_function(format!("{trials} trials"), |bencher| {
                bencher.iter_custom(|times| {
                    // Every question makes the history longer: by a tenth at most, or by ten, so that questions with a new fit
                    // and those without have their shares.
                    let most = (trials / 10).max(10) as u64;
                    let mut draws = Draws(times);
                    let mut took = Duration::ZERO;
                    for before in (0..times).step_by(most as usize) {
                        let mut search = session(method, trials);
                        ask(&mut search, 1.0); // The first fit.
                        let questions = most.min(times - before);
                        took += (0..questions)
                            .map(|_| ask(&mut search, draws.next()))
                            .sum::<Duration>();
                    }
                    took
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, asks);
criterion_main!(benches);
