//! Every broken driver under a whole study: it runs, or waits and says for what, and nothing is lost. What a
//! driver is taken for is `hpo gpus`' word, which `broken` checks.

use std::sync::Mutex;

use nix::sys::signal::Signal;
use serde_json::Value as Json;

use super::broken::{Case, cases, machine};
use super::{Machine, Running};
use crate::bench::wait_for;

/// What a study does on a machine.
#[derive(Debug)]
enum Course {
    Runs,
    /// It waits, and says this.
    Waits(String),
    /// It is not run at all: there is no GPU for it.
    Refused,
}

/// What a study for GPU 0 does, by what `hpo gpus` says.
fn course(page: &Json) -> Course {
    if let Some(trouble) = page["trouble"].as_str() {
        return Course::Waits(trouble.to_owned());
    }
    let gpus = page["gpus"].as_array().unwrap();
    let mut first = gpus.iter().filter(|gpu| gpu["index"] == 0).peekable();
    let Some(gpu) = first.peek() else {
        return Course::Refused;
    };
    match gpu["lost"].as_str() {
        Some(why) => Course::Waits(why.to_owned()),
        None => Course::Runs,
    }
}

/// Three trials of no time at all, on the first GPU only.
fn study(machine: &Machine, parameters: &str) {
    machine.study(
        3,
        &format!("mib: {{value: 600}}, room: {{value: 1}}, steps: {{value: 2}}, pace: {{value: 0}}{parameters}"),
        "gpu: {devices: [0], memory_limit: 8GiB, settle_after: 1s}\ncpu: {max_parallel: 2}\n\
         failure: {crash_retries: 5}",
    );
}

/// The whole study has been run, to a good end.
fn nothing_is_lost(machine: &Machine, hpo: &mut Running, what: &str) {
    wait_for(&format!("{what}: {}", machine.words()), || hpo.is_over());
    let code = hpo.code();
    let words = machine.words();
    assert_eq!(code, 0, "{what}: {words}");
    assert!(!words.contains("panicked"), "{what}: {words}");
    let trials = machine.bench.trials();
    assert_eq!(trials.len(), 3, "{what}: {words}");
    for trial in trials {
        assert_eq!(trial["state"], "completed", "{what}: {trial:#} {words}");
    }
}

/// The driver is broken from the beginning, until the study is stopped and taken up again.
fn from_the_beginning(case: &Case) {
    let mut broken = machine();
    (case.spoil)(&mut broken);
    let mut machine_of_case = Machine::new(&broken);
    if !case.without.is_empty() {
        machine_of_case.without(&case.without);
    }
    let machine = &mut machine_of_case;
    let page = machine.hpo(&["gpus", "-f", "json"]).output().unwrap();
    let course = course(&serde_json::from_slice(&page.stdout).unwrap());
    study(machine, "");
    let what = format!("{} ({course:?})", case.what);
    let mut hpo = machine.run();
    match &course {
        Course::Runs => return nothing_is_lost(machine, &mut hpo, &what),
        Course::Refused => {
            assert_eq!(hpo.code(), 4, "{what}: {}", machine.words());
            assert!(machine.words().contains("has none for it"), "{what}");
        }
        Course::Waits(why) => {
            wait_for(&format!("{what} to be told"), || {
                assert!(!hpo.is_over(), "{what}: {}", machine.words());
                machine.words().contains(why)
            });
            hpo.send(Signal::SIGTERM);
            assert_eq!(hpo.code(), 3, "{what}: {}", machine.words());
        }
    }
    machine.change(|state| *state = super::broken::machine());
    machine.library = fake_nvml::library::path().unwrap();
    nothing_is_lost(machine, &mut machine.run(), &what);
}

/// The driver breaks while a trial runs, and is mended while hpo runs.
fn in_the_middle(case: &Case) {
    let machine = &Machine::new(&machine());
    study(machine, &format!(", {}", machine.gated()));
    let mut hpo = machine.run();
    wait_for("a trial to use the GPU", || !machine.holders(0).is_empty());
    machine.change(|state| (case.spoil)(state));
    machine.open("all");
    let page = machine.hpo(&["gpus", "-f", "json"]).output().unwrap();
    let waits = matches!(
        course(&serde_json::from_slice(&page.stdout).unwrap()),
        Course::Waits(_)
    );
    let told =
        |words: &str| words.contains("cannot be used") || words.contains("nothing is started");
    if waits {
        // What was read just before may be enough for all that is left to do.
        wait_for(&format!("{} to be told", case.what), || {
            hpo.is_over() || told(&machine.words())
        });
    }
    machine.change(|state| *state = super::broken::machine());
    nothing_is_lost(machine, &mut hpo, &format!("{} in the middle", case.what));
}

/// Does it with all cases, some at a time: each mostly waits.
fn with_all(cases: Vec<Case>, check: fn(&Case)) {
    let count = cases.len();
    assert!(count >= 50, "{count}");
    let left = Mutex::new(cases.into_iter());
    let next = || left.lock().unwrap().next();
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                while let Some(case) = next() {
                    check(&case);
                }
            });
        }
    });
}

#[test]
fn studies_run_or_wait_whatever_the_driver_says() {
    with_all(cases(), from_the_beginning);
}

#[test]
fn studies_outlive_a_driver_that_breaks_under_them() {
    let of_state = cases().into_iter().filter(|case| case.without.is_empty());
    with_all(of_state.collect(), in_the_middle);
}
