//! `metric`: the objective, or a list of them; and what several of them cannot be combined with.

use super::problem::Problems;
use super::yaml::{Kind, Node};
use super::{check_metric_name, nearest};
use crate::measured::{Measured, PREFIX};
use crate::spec::{EarlyTerminate, Goal, MOST_OBJECTIVES, Method, Metric};

/// The objectives as they stand in the file; one where `metric` is no list.
pub(super) fn nodes(root: &Node) -> Vec<&Node> {
    match root.get("metric") {
        None => Vec::new(),
        Some(metric) if matches!(metric.kind, Kind::List(_)) => metric.items().iter().collect(),
        Some(metric) => vec![metric],
    }
}

/// Those that trials report, which are all that `hpo` does not measure.
pub(super) fn reported(root: &Node) -> impl Iterator<Item = &Node> {
    let is_reported = |node: &&Node| name(node).is_none_or(|name| Measured::of(name).is_none());
    nodes(root).into_iter().filter(is_reported)
}

/// The one that trials are watched by: the first that they report.
pub(super) fn watched(root: &Node) -> Option<&Node> {
    reported(root).next()
}

fn name(node: &Node) -> Option<&str> {
    node.get("name")?.text()
}

/// Reads `metric`: the objective that trials are watched by, and the others in their order. `None` when something is
/// wrong; then it has been reported.
pub(super) fn read(root: &Node, problems: &mut Problems) -> Option<(Metric, Vec<Metric>)> {
    let nodes = nodes(root);
    for (i, node) in nodes.iter().enumerate() {
        check_one(root, node, problems);
        let same = |other: &&&Node| name(other).is_some() && name(other) == name(node);
        if nodes.iter().take(i).any(|other| same(&other)) {
            problems.error_with_hint(
                node.get("name")?.span,
                format!("`{}` is an objective already", name(node)?),
                "name each objective once",
            );
        }
    }
    if let Some(extra) = nodes.get(MOST_OBJECTIVES) {
        problems.error_with_hint(
            extra.start(),
            format!("a study has at most {MOST_OBJECTIVES} objectives"),
            "with very many nearly every trial is one that no other is better than: keep those that matter",
        );
    }
    let Some(first) = watched(root) else {
        if let Some(node) = nodes.first() {
            problems.error_with_hint(
                node.get("name").map_or(node.start(), |name| name.span),
                "one objective must be something that trials report",
                "write `metric: [{name: val_loss}, {name: hpo/seconds}]`, with the name your program reports",
            );
        }
        return None;
    };
    for node in nodes.iter().filter(|node| !std::ptr::eq(**node, first)) {
        for key in ["chance", "num_classes"] {
            if node.get(key).is_some() {
                problems.error_with_hint(
                    node.key_span(key),
                    format!("`{key}` belongs to the objective that trials are watched by, the first that they report"),
                    "write `divergence: {metric: NAME, chance: VALUE}` to watch another one",
                );
            }
        }
    }
    let further = nodes.iter().filter(|node| !std::ptr::eq(**node, first));
    let further: Option<Vec<Metric>> = further.map(|node| metric(node)).collect();
    let first = metric(first)?;
    Some((first, further?))
}

fn check_one(root: &Node, node: &Node, problems: &mut Problems) {
    let Some(at) = node.get("name") else { return };
    check_metric_name(at, problems);
    let Some(text) = at.text().filter(|text| text.starts_with(PREFIX)) else {
        return;
    };
    let names = Measured::ALL.map(Measured::name);
    match Measured::of(text) {
        None => problems.error_with_hint(
            at.span,
            format!("`{text}` is nothing that hpo measures"),
            match nearest(text, names) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("it measures {}", names.map(|n| format!("`{n}`")).join(", ")),
            },
        ),
        Some(Measured::GpuMemory) if root.get("gpu").is_none() => problems.error_with_hint(
            at.span,
            format!("`{text}` is measured of trials that hpo places on GPUs, and this study has no `gpu`"),
            "add `gpu: {devices: all}`",
        ),
        Some(_) => {}
    }
}

fn metric(node: &Node) -> Option<Metric> {
    let goal = match node.get("goal").map(Node::text) {
        None | Some(Some("minimize")) => Goal::Minimize,
        Some(Some("maximize")) => Goal::Maximize,
        Some(_) => return None,
    };
    Some(Metric {
        name: name(node)?.to_owned(),
        goal,
    })
}

/// Refuses what ranks trials by one number, where there are several objectives.
pub(super) fn check_several(
    root: &Node,
    method: Option<Method>,
    early_terminate: Option<&EarlyTerminate>,
    problems: &mut Problems,
) {
    if nodes(root).len() < 2 {
        return;
    }
    if let Some(method) = method.filter(|method| !method.takes_several()) {
        problems.error_with_hint(
            root.key_span("method"),
            format!(
                "`method: {}` ranks trials by one metric, and this study has several objectives",
                method.word()
            ),
            "write `method: bayes`, `tpe` or `nsga2`",
        );
    } else if early_terminate.is_some_and(|rule| *rule != EarlyTerminate::None) {
        problems.error_with_hint(
            root.key_span("early_terminate"),
            "`early_terminate` ranks trials by one metric, and with several objectives one that is behind in it may be \
             ahead in another",
            "remove it; runs that come to nothing are stopped all the same (`divergence`)",
        );
    }
    if root.get("confirm").is_some() {
        problems.error_with_hint(
            root.key_span("confirm"),
            "`confirm` looks for one best trial, and with several objectives there is a front of them",
            "remove it; run one of the front again with `hpo rerun N`",
        );
    }
    let repeats = root.get("repeats").and_then(Node::whole);
    if repeats.is_some_and(|repeats| repeats > 1) {
        problems.error_with_hint(
            root.key_span("repeats"),
            "`repeats` gives up configurations that are behind in one metric, and this study has several objectives",
            "remove it, or let your program report the mean over some seeds",
        );
    }
}

#[cfg(test)]
mod tests {
    use crate::spec::{Goal, StudySpec};
    use crate::study_file::{Problem, Source, read};
    use std::path::PathBuf;

    fn check(metric: &str, more: &str) -> Result<StudySpec, Vec<Problem>> {
        let text = format!(
            "program: train.py\nmethod: random\nrun_cap: 5\nmetric: {metric}\nparameters: {{lr: {{min: 0.1, max: 1.0}}}}\n{more}"
        );
        let source = Source {
            file: "study.yaml".to_owned(),
            directory: PathBuf::from("/"),
        };
        let checked = read(&text, &source);
        checked.spec.ok_or(checked.problems)
    }

    #[test]
    fn the_first_objective_that_trials_report_is_the_one_they_are_watched_by() {
        let spec = check(
            "[{name: hpo/seconds}, {name: acc, goal: maximize, num_classes: 4}, {name: size}]",
            "",
        )
        .unwrap();
        let names: Vec<&str> = spec.objectives().map(|m| m.name.as_str()).collect();
        assert_eq!(names, ["acc", "hpo/seconds", "size"]);
        assert_eq!(spec.metric.goal, Goal::Maximize);
        assert_eq!(spec.divergence.chance, Some(0.25));
        assert!(spec.has_several());
        let json = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<StudySpec>(&json).unwrap(), spec);
        // A list of one is one.
        let one = check(
            "[{name: loss}]",
            "confirm: {top: 2}\nearly_terminate: {type: median}",
        )
        .unwrap();
        assert_eq!(one.metric.name, "loss");
        assert!(!one.has_several());
        assert!(!serde_json::to_string(&one).unwrap().contains("further"));
    }

    #[test]
    fn what_cannot_be_is_refused_where_it_stands() {
        let two = "[{name: loss}, {name: size}]";
        for (metric, more, line, reason, hint) in [
            (
                "[{name: loss}, {name: loss}]",
                "",
                4,
                "`loss` is an objective already",
                "once",
            ),
            (
                "[{name: hpo/seconds}]",
                "",
                4,
                "must be something that trials report",
                "val_loss",
            ),
            (
                "{name: hpo/memory_mib}",
                "",
                4,
                "must be something that trials report",
                "val_loss",
            ),
            (
                "[{name: a}, {name: hpo/second}]",
                "",
                4,
                "nothing that hpo measures",
                "`hpo/seconds`",
            ),
            (
                "[{name: a}, {name: hpo/flops_of_the_network}]",
                "",
                4,
                "nothing that hpo measures",
                "`hpo/memory_mib`",
            ),
            (
                "[{name: a}, {name: hpo/gpu_memory_mib}]",
                "",
                4,
                "has no `gpu`",
                "gpu: {devices: all}",
            ),
            (
                "[{name: a}, {name: step}]",
                "",
                4,
                "`step` says how far",
                "val_loss",
            ),
            (
                "[{name: a}, {name: b, chance: 1.0}]",
                "",
                4,
                "`chance` belongs to",
                "divergence",
            ),
            ("[]", "", 4, "must not be an empty list", ""),
            ("[loss, size]", "", 4, "`metric` must be", "metric: {name"),
            (
                two,
                "early_terminate: auto",
                6,
                "ranks trials by one metric",
                "divergence",
            ),
            (
                two,
                "early_terminate: {type: asha, max_iter: 9}",
                6,
                "ranks trials by one metric",
                "",
            ),
            (two, "confirm: {top: 3}", 6, "a front of them", "hpo rerun"),
            (two, "repeats: 3", 6, "`repeats` gives up", "mean"),
            (
                two,
                "import: old.csv",
                6,
                "one value of each trial",
                "hpo enqueue",
            ),
        ] {
            let problems = check(metric, more).expect_err(metric);
            let found = problems.iter().find(|p| p.message.contains(reason));
            let found = found.unwrap_or_else(|| panic!("{metric} {more}: {problems:#?}"));
            assert_eq!(found.span.line, line, "{metric} {more}: {found:?}");
            assert!(
                found.hint.as_deref().unwrap_or("").contains(hint),
                "{found:?}"
            );
        }
        let many: Vec<String> = (0..17).map(|i| format!("{{name: m{i}}}")).collect();
        assert!(check(&format!("[{}]", many.join(", ")), "").is_err());
        let none = check(two, "early_terminate: none\nrepeats: 1\nprior: {lr: 0.2}");
        assert!(none.is_ok(), "{none:?}");
        for method in ["bohb", "dehb", "cmaes"] {
            let text = format!(
                "trainer: {{model: mlp, hidden: [8], dataset: digits, epochs: 9}}\nmethod: {method}\nrun_cap: 5\n\
                 metric: [{{name: val_loss}}, {{name: hpo/seconds}}]\nrecipe: {{optimizers: [sgd]}}\n"
            );
            let source = Source {
                file: "study.yaml".to_owned(),
                directory: PathBuf::from("/"),
            };
            let problems = read(&text, &source).problems;
            assert!(
                problems
                    .iter()
                    .any(|p| p.span.line == 2 && p.message.contains("several objectives"))
            );
        }
    }
}
