//! What may change between two runs of one study.
//!
//! A study is resumed with its file, which may have been edited since. Limits may change on the
//! way; what the trials so far have in common may not, or they could no longer be compared.

use std::time::Duration;

use serde_json::Value as Json;

use crate::confirm::Confirm;
use crate::memory::GpuSpec;
use crate::space::Space;
use crate::spec::{Job, StudySpec};
use crate::storage::size_words;

/// What differs between the study as it was opened and as its file is now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Differences {
    /// Changes that a study can take on its way, in words.
    pub allowed: Vec<String>,
    /// Changes that would make it another study, in words.
    pub refused: Vec<String>,
}

impl Differences {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.allowed.is_empty() && self.refused.is_empty()
    }
}

/// The keys of a study file that [`differences`] allows to change; the last three are how the same program is started
/// and heard.
pub const CAN_CHANGE: &[&str] = &[
    "description",
    "run_cap",
    "time_cap",
    "cpu",
    "gpu",
    "failure",
    "divergence",
    "keep_checkpoints",
    "disk_budget",
    "confirm",
    "stop_grace",
    "on_crash",
    "notify",
    "prior",
    "import",
    "allow_duplicates",
    "python",
    "env",
    "metrics",
];

/// Compares the study as it was opened with what its file says now. Allowed is what [`CAN_CHANGE`] names, and nothing
/// else.
#[must_use]
pub fn differences(old: &StudySpec, new: &StudySpec) -> Differences {
    // Taken apart by name: a new field must find its place here to compile.
    let StudySpec {
        name,
        description,
        seed,
        job,
        method,
        metric,
        further,
        run_cap,
        time_cap,
        space,
        early_terminate,
        divergence,
        cpu,
        gpu,
        failure,
        stop_grace,
        on_crash,
        notify,
        storage,
        confirm,
        repeats,
        warm_start,
        allow_duplicates,
    } = old;
    let mut found = Differences::default();
    let mut allow = |key: &str, from: String, to: String| {
        if from != to {
            found.allowed.push(format!("`{key}`: {from} → {to}"));
        }
    };
    let cap = |cap: Option<u32>| cap.map_or("none".to_owned(), |n| n.to_string());
    allow("run_cap", cap(*run_cap), cap(new.run_cap));
    allow("time_cap", time(*time_cap), time(new.time_cap));
    let parallel = |cpu: Option<u32>| cpu.map_or("one per core".to_owned(), |n| n.to_string());
    allow(
        "cpu.max_parallel",
        parallel(cpu.max_parallel),
        parallel(new.cpu.max_parallel),
    );
    let memory = |n: Option<u64>| n.map_or("not counted".to_owned(), crate::memory::bytes);
    allow(
        "cpu.memory_limit",
        memory(cpu.memory_limit),
        memory(new.cpu.memory_limit),
    );
    let gpus = |gpu: &Option<GpuSpec>| gpu.as_ref().map_or("none".to_owned(), word);
    allow("gpu", gpus(gpu), gpus(&new.gpu));
    allow("failure.oom", word(&failure.oom), word(&new.failure.oom));
    let count = |n: u32| n.to_string();
    allow(
        "failure.crash_retries",
        count(failure.crash_retries),
        count(new.failure.crash_retries),
    );
    allow(
        "failure.stop_after_consecutive",
        count(failure.stop_after_consecutive),
        count(new.failure.stop_after_consecutive),
    );
    allow(
        "failure.lost_retries",
        count(failure.lost_retries),
        count(new.failure.lost_retries),
    );
    allow(
        "failure.stall_timeout",
        time(failure.stall_timeout),
        time(new.failure.stall_timeout),
    );
    allow(
        "failure.trial_time_limit",
        time(failure.trial_time_limit),
        time(new.failure.trial_time_limit),
    );
    allow(
        "keep_checkpoints",
        storage.keep_checkpoints.to_string(),
        new.storage.keep_checkpoints.to_string(),
    );
    let size = |bytes: Option<u64>| bytes.map_or("none".to_owned(), size_words);
    allow(
        "disk_budget",
        size(storage.disk_budget),
        size(new.storage.disk_budget),
    );
    let again = |confirm: &Option<Confirm>| confirm.as_ref().map_or("none".to_owned(), word);
    allow("confirm", again(confirm), again(&new.confirm));
    allow(
        "stop_grace",
        time(Some(*stop_grace)),
        time(Some(new.stop_grace)),
    );
    allow("divergence", word(divergence), word(&new.divergence));
    allow("on_crash", word(on_crash), word(&new.on_crash));
    if let (Job::Command(old), Job::Command(new)) = (job, &new.job) {
        allow("python", word(&old.python), word(&new.python));
        allow("env", names(&old.env), names(&new.env));
        allow("metrics", word(&old.metrics), word(&new.metrics));
        if old.env != new.env && names(&old.env) == names(&new.env) {
            found.allowed.push("`env`: other values".to_owned());
        }
    }
    if *description != new.description {
        found.allowed.push("`description`".to_owned());
    }
    if warm_start.priors != new.warm_start.priors {
        found.allowed.push("`prior`".to_owned());
    }
    if warm_start.imports != new.warm_start.imports {
        found.allowed.push("`import`".to_owned());
    }
    if *allow_duplicates != new.allow_duplicates {
        found.allowed.push("`allow_duplicates`".to_owned());
    }
    // Addresses are secrets: what was changed is not shown.
    if *notify != new.notify {
        found.allowed.push("`notify`".to_owned());
    }

    let mut refuse = |what: String| found.refused.push(what);
    if *name != new.name {
        refuse(format!("`name`: {name} → {}", new.name));
    }
    if *seed != new.seed {
        refuse(format!("`seed`: {seed} → {}", new.seed));
    }
    if *method != new.method {
        refuse(format!(
            "`method`: {} → {}",
            word(method),
            word(&new.method)
        ));
    }
    if *further != new.further {
        let (from, to) = (word(further), word(&new.further));
        refuse(format!("further objectives in `metric`: {from} → {to}"));
    }
    if *metric != new.metric {
        refuse(format!(
            "`metric`: {} → {}",
            word(metric),
            word(&new.metric)
        ));
    }
    if *repeats != new.repeats {
        let times = |repeats: Option<u32>| repeats.unwrap_or(1).to_string();
        refuse(format!(
            "`repeats`: {} → {}",
            times(*repeats),
            times(new.repeats)
        ));
    }
    if *early_terminate != new.early_terminate {
        let (from, to) = (word(early_terminate), word(&new.early_terminate));
        refuse(format!("`early_terminate`: {from} → {to}"));
    }
    compare_jobs(job, &new.job, &mut refuse);
    compare_spaces(space, &new.space, &mut refuse);
    found
}

fn time(time: Option<Duration>) -> String {
    time.map_or("none".to_owned(), |time| {
        jiff::SignedDuration::try_from(time)
            .map_or_else(|_| format!("{time:?}"), |t| format!("{t:#}"))
    })
}

/// A setting as short JSON, without the quotes around a lone word.
fn word<T: serde::Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(Json::String(word)) => word,
        Ok(json) => json.to_string(),
        Err(error) => error.to_string(),
    }
}

/// The names of environment variables; their values may be nobody's business.
fn names<V>(env: &std::collections::BTreeMap<String, V>) -> String {
    env.keys().cloned().collect::<Vec<_>>().join(", ")
}

fn compare_jobs(old: &Job, new: &Job, refuse: &mut impl FnMut(String)) {
    match (old, new) {
        (Job::Command(a), Job::Command(b)) => {
            if a.program != b.program {
                refuse(format!(
                    "`program`: {} → {}",
                    word(&a.program),
                    word(&b.program)
                ));
            }
            if a.command != b.command {
                refuse(format!(
                    "`command`: {} → {}",
                    word(&a.command),
                    word(&b.command)
                ));
            }
            for (key, from, to) in [
                ("shell", word(&a.shell), word(&b.shell)),
                ("cwd", word(&a.cwd), word(&b.cwd)),
                ("parameters", word(&a.groups), word(&b.groups)),
            ] {
                if from != to {
                    refuse(format!("`{key}`: {from} → {to}"));
                }
            }
        }
        (Job::Trainer(a), Job::Trainer(b)) if a != b => {
            refuse(format!("`trainer`: {} → {}", word(a), word(b)));
        }
        (Job::Trainer(_), Job::Trainer(_)) => {}
        (Job::Command(_), Job::Trainer(_)) => refuse("a `command` became a `trainer`".to_owned()),
        (Job::Trainer(_), Job::Command(_)) => refuse("a `trainer` became a `command`".to_owned()),
    }
}

fn compare_spaces(old: &Space, new: &Space, refuse: &mut impl FnMut(String)) {
    for parameter in &old.parameters {
        match new.parameter(&parameter.name) {
            None => refuse(format!("the parameter `{}` is gone", parameter.name)),
            Some(now) if now != parameter => {
                refuse(format!("the parameter `{}` is another", parameter.name));
            }
            Some(_) => {}
        }
    }
    for parameter in new
        .parameters
        .iter()
        .filter(|p| old.parameter(&p.name).is_none())
    {
        refuse(format!("the parameter `{}` is new", parameter.name));
    }
    let same = |a: &Space, b: &Space| {
        a.parameters.len() == b.parameters.len()
            && a.parameters.iter().all(|p| b.parameter(&p.name) == Some(p))
    };
    if old != new && same(old, new) {
        refuse("the parameters stand in another order".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study_file::{Source, read, read_begun};

    const STUDY: &str = "\
name: s
program: train.py
method: sobol
metric: {name: val_loss}
run_cap: 20
time_cap: 8h
parameters:
  lr: {min: 0.1, max: 1.0}
  wd: {values: [0.0, 0.1]}
";

    fn spec(text: &str) -> StudySpec {
        let source = Source {
            file: "s.yaml".into(),
            directory: "/".into(),
        };
        let checked = read(text, &source);
        checked
            .spec
            .unwrap_or_else(|| panic!("{:?}", checked.problems))
    }

    fn changed(from: &str, to: &str) -> Differences {
        assert!(STUDY.contains(from));
        differences(&spec(STUDY), &spec(&STUDY.replace(from, to)))
    }

    #[test]
    fn the_same_file_differs_in_nothing() {
        assert!(changed("name: s", "name: s").is_empty());
    }

    #[test]
    fn limits_may_change() {
        assert_eq!(
            changed("run_cap: 20", "run_cap: 40").allowed,
            ["`run_cap`: 20 → 40"]
        );
        assert_eq!(
            changed("time_cap: 8h", "time_cap: 90m").allowed,
            ["`time_cap`: 8h → 1h 30m"]
        );
        assert_eq!(
            changed("time_cap: 8h", "cpu: {max_parallel: 2}")
                .allowed
                .len(),
            2
        );
        let more = changed(
            "name: s",
            "name: s\ndescription: x\nfailure: {crash_retries: 0}\nstop_grace: 2s",
        );
        assert_eq!((more.allowed.len(), more.refused.len()), (3, 0), "{more:?}");
        for file in [
            "name: s\ndivergence: {policy: \"off\"}",
            "name: s\ndivergence: {chance: 2.3}",
        ] {
            let found = changed("name: s", file);
            assert_eq!((found.allowed.len(), found.refused.len()), (1, 0));
        }
        let chance = changed("{name: val_loss}", "{name: val_loss, num_classes: 10}");
        assert_eq!((chance.allowed.len(), chance.refused.len()), (1, 0));
    }

    #[test]
    fn what_can_change_can() {
        for key in CAN_CHANGE {
            let line = match *key {
                "run_cap" => "run_cap: 40",
                "time_cap" => "time_cap: 2h",
                "description" => "description: other words",
                "cpu" => "cpu: {max_parallel: 2}",
                "gpu" => "gpu: {devices: all}",
                "failure" => "failure: {crash_retries: 0}",
                "divergence" => "divergence: {chance: 2.3}",
                "keep_checkpoints" => "keep_checkpoints: none",
                "disk_budget" => "disk_budget: 1GiB",
                "confirm" => "confirm: {top: 2}",
                "stop_grace" => "stop_grace: 2s",
                "on_crash" => "on_crash: kill",
                "notify" => "notify: {webhook: \"https://example.com/x\"}",
                "prior" => "prior: {lr: 0.2}",
                "import" => "import: old.csv",
                "allow_duplicates" => "allow_duplicates: true",
                "python" => "python: python3",
                "env" => "env: {A: b}",
                "metrics" => "metrics: json",
                other => panic!("{other} has no example here"),
            };
            // A prior needs a method that heeds it.
            let study = STUDY.replace("sobol", "bayes");
            let begins = format!("{key}:");
            let old = study.lines().filter(|l| !l.starts_with(&begins));
            let text: Vec<&str> = old.chain([line]).collect();
            let found = differences(&spec(&study), &spec(&text.join("\n")));
            assert!(found.refused.is_empty(), "{key}: {found:?}");
            assert_eq!(found.allowed.len(), 1, "{key}: {found:?}");
        }
    }

    #[test]
    fn more_trials_do_not_give_a_begun_study_more_knobs() {
        let source = Source {
            file: "s.yaml".into(),
            directory: "/".into(),
        };
        let text = |cap: u32| {
            format!(
                "trainer: {{model: mlp, dataset: digits, epochs: 9}}\nmethod: sobol\n\
                 metric: {{name: val_loss}}\nrun_cap: {cap}\nrecipe: {{optimizers: [adam]}}\n"
            )
        };
        let old = spec(&text(20));
        assert_ne!(old.space, spec(&text(80)).space, "80 trials pay for more");
        let new = read_begun(&text(80), &source, old.run_cap).spec.unwrap();
        let found = differences(&old, &new);
        assert_eq!(found.allowed, ["`run_cap`: 20 → 80"]);
        assert!(found.refused.is_empty(), "{found:?}");
    }

    #[test]
    fn what_trials_have_in_common_may_not_change() {
        for (from, to, word) in [
            ("name: s", "name: t", "name"),
            ("train.py", "other.py", "program"),
            ("sobol", "random", "method"),
            ("val_loss", "loss", "metric"),
            ("name: s", "name: s\nseed: 3", "seed"),
            ("max: 1.0", "max: 2.0", "`lr` is another"),
            ("  wd: {values: [0.0, 0.1]}\n", "", "`wd` is gone"),
            ("  wd:", "  b: 1\n  wd:", "`b` is new"),
            ("program: train.py", "command: [x]", "program"),
            (
                "name: s",
                "name: s\nearly_terminate: {type: median}",
                "early_terminate",
            ),
        ] {
            let found = changed(from, to);
            assert!(
                found.refused.iter().any(|r| r.contains(word)),
                "{word}: {found:?}"
            );
            assert!(found.allowed.is_empty(), "{found:?}");
        }
        let swapped = STUDY.replace("lr: {min: 0.1, max: 1.0}", "X").replace(
            "  X\n  wd: {values: [0.0, 0.1]}",
            "  wd: {values: [0.0, 0.1]}\n  lr: {min: 0.1, max: 1.0}",
        );
        let found = differences(&spec(STUDY), &spec(&swapped));
        assert_eq!(found.refused, ["the parameters stand in another order"]);
    }
}
