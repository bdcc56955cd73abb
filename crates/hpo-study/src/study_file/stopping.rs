//! `early_terminate`: the rules that compare a trial with others at the same step, or with itself.

use super::problem::Problems;
use super::settings;
use super::yaml::Node;
use crate::spec::{EarlyTerminate, Job, Method, Rungs};

/// Keys of `early_terminate` that only rules read here have.
pub(super) const KEYS: [&str; 9] = [
    "percentile",
    "interval",
    "patience",
    "min_delta",
    "rule",
    "variant",
    "p_threshold",
    "n_startup_steps",
    "metric",
];

/// The keys that are of use to a rule read here, `type` apart.
pub(super) fn belongs(node: &Node, kind: &str) -> &'static [&'static str] {
    match (kind, wrapped(node)) {
        ("wilcoxon", _) => &["p_threshold", "n_startup_steps", "metric"],
        ("asha", _) => &["variant", "min_iter", "max_iter", "eta", "s"],
        ("percentile", _) => &["percentile", "interval", "min_iter", "min_trials"],
        (_, "median") => &["rule", "patience", "min_delta", "min_iter", "min_trials"],
        (_, "percentile") => &[
            "rule",
            "patience",
            "min_delta",
            "percentile",
            "interval",
            "min_iter",
            "min_trials",
        ],
        (_, "asha") => &[
            "rule",
            "patience",
            "min_delta",
            "min_iter",
            "max_iter",
            "eta",
            "s",
        ],
        _ => &["rule", "patience", "min_delta"],
    }
}

/// `auto`, or `{type: auto}`; `None` when a value is wrong, which has been reported then.
pub(super) fn auto(
    node: &Node,
    job: Option<&Job>,
    problems: &mut Problems,
) -> Option<EarlyTerminate> {
    let whole = |key: &str| match node.get(key) {
        None => Some(None),
        Some(value) => Some(Some(u64::try_from(value.whole()?).ok()?)),
    };
    let (min_iter, max_iter) = (whole("min_iter")?.unwrap_or(1), whole("max_iter")?);
    let epochs = match job {
        Some(Job::Trainer(trainer)) => Some(trainer.epochs),
        _ => None,
    };
    if let (Some(max_iter), Some(epochs)) = (max_iter, epochs) {
        settings::check_length(node, max_iter, epochs, problems);
    }
    if max_iter.or(epochs).is_some_and(|full| min_iter >= full) {
        problems.warning(
            node.key_span("min_iter"),
            format!("nothing is ever stopped: step {min_iter} is not before the end of a trial"),
            "make `min_iter` smaller, or trials longer",
        );
    }
    Some(EarlyTerminate::Auto {
        min_iter,
        max_iter: max_iter.or(epochs),
    })
}

/// `{type: percentile}`; `None` when a value is wrong, which has been reported then.
pub(super) fn percentile(node: &Node) -> Option<EarlyTerminate> {
    Some(EarlyTerminate::Percentile {
        percentile: number(node, "percentile", 25.0)?,
        min_iter: whole(node, "min_iter", 1)?,
        min_trials: min_trials(node)?,
        interval: whole(node, "interval", 1)?,
    })
}

/// `{type: wilcoxon}`; `None` when a value is wrong, which has been reported then.
pub(super) fn wilcoxon(node: &Node, problems: &mut Problems) -> Option<EarlyTerminate> {
    if node.get("metric").is_none() {
        problems.warning(
            node.key_span("type"),
            "the value of a trial is its last report, so that of its last instance alone",
            "report the mean of all instances so far as the study's metric, and each instance's own value under \
             another name, and give that name as `metric` here",
        );
    }
    Some(EarlyTerminate::Wilcoxon {
        p_threshold: number(node, "p_threshold", 0.1)?,
        n_startup_steps: u32::try_from(whole(node, "n_startup_steps", 2)?).ok()?,
        metric: match node.get("metric") {
            Some(name) => Some(name.text()?.to_owned()),
            None => None,
        },
    })
}

/// `{type: patient}`, with the rule it holds back; `asha` reads the rungs.
pub(super) fn patient(
    node: &Node,
    asha: impl FnOnce() -> Option<EarlyTerminate>,
) -> Option<EarlyTerminate> {
    let rule = match wrapped(node) {
        "median" => EarlyTerminate::Median {
            min_iter: whole(node, "min_iter", 1)?,
            min_trials: min_trials(node)?,
        },
        "percentile" => percentile(node)?,
        "asha" => asha()?,
        _ => EarlyTerminate::None,
    };
    Some(EarlyTerminate::Patient {
        rule: Box::new(rule),
        patience: whole(node, "patience", 5)?,
        min_delta: number(node, "min_delta", 0.0)?,
    })
}

/// `{type: asha}`, whose rungs have been read; `None` when its variant cannot do with them.
pub(super) fn asha(node: &Node, rungs: Rungs, problems: &mut Problems) -> Option<EarlyTerminate> {
    match node.get("variant") {
        None => Some(EarlyTerminate::Asha(rungs)),
        Some(variant) => match variant.text()? {
            "stopping" => Some(EarlyTerminate::Asha(rungs)),
            "promotion" if rungs.is_open() => {
                problems.error_with_hint(
                    variant.span,
                    "trials that pause at rungs have to be told how far they may go in the end",
                    "add `max_iter`: the last step that a whole trial reports",
                );
                None
            }
            "promotion" => Some(EarlyTerminate::AshaPromotion(rungs)),
            _ => None,
        },
    }
}

/// The rungs of a method that cannot do without; `None` for other methods.
///
/// Where the study names no rule it is Hyperband, over the trainer's epochs.
pub(super) fn for_method(
    root: &Node,
    method: Option<Method>,
    job: Option<&Job>,
    problems: &mut Problems,
) -> Option<Option<EarlyTerminate>> {
    let method = method.filter(|method| method.needs_rungs())?;
    let word = method.word();
    let Some(node) = root.get("early_terminate") else {
        let rungs = |max_iter| Rungs {
            min_iter: 1,
            max_iter,
            eta: 3,
        };
        return Some(match job {
            Some(Job::Trainer(trainer)) => Some(EarlyTerminate::Hyperband(rungs(trainer.epochs))),
            // The job is wrong, which has been reported.
            None => None,
            Some(Job::Command(_)) => {
                problems.error_with_hint(
                    root.key_span("method"),
                    format!("`method: {word}` does not know how long a whole trial is"),
                    "add `early_terminate: {type: hyperband, max_iter: 27}`, with the last step that a whole \
                     trial reports",
                );
                None
            }
        });
    };
    // A rule may be a word alone: `auto`.
    let kind = node.get("type").unwrap_or(node).text().unwrap_or_default();
    let fits = match method {
        Method::Dehb => kind == "hyperband" && (node.get("max_iter").is_some() || is_trainer(job)),
        _ => matches!(kind, "hyperband" | "sha" | "asha"),
    };
    let known = matches!(
        kind,
        "none"
            | "median"
            | "percentile"
            | "patient"
            | "wilcoxon"
            | "auto"
            | "hyperband"
            | "sha"
            | "asha"
    );
    if fits || !known {
        return None;
    }
    problems.error_with_hint(
        root.key_span("early_terminate"),
        format!(
            "`method: {word}` learns from what trials have at rungs, and this rule has none for it"
        ),
        "write `early_terminate: {type: hyperband, max_iter: 27}`, or another `method`",
    );
    Some(None)
}

fn is_trainer(job: Option<&Job>) -> bool {
    matches!(job, Some(Job::Trainer(_)))
}

fn wrapped(node: &Node) -> &str {
    node.get("rule").and_then(Node::text).unwrap_or("none")
}

fn min_trials(node: &Node) -> Option<u32> {
    u32::try_from(whole(node, "min_trials", 5)?).ok()
}

fn whole(node: &Node, key: &str, absent: u64) -> Option<u64> {
    match node.get(key) {
        None => Some(absent),
        Some(node) => u64::try_from(node.whole()?).ok(),
    }
}

fn number(node: &Node, key: &str, absent: f64) -> Option<f64> {
    match node.get(key) {
        None => Some(absent),
        Some(node) => node.number(),
    }
}
