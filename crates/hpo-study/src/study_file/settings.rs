//! The rest of the study file: the job, the caps, stopping, and what of the machine may be used.

use super::Source;
use super::parameters::Draft;
use super::problem::Problems;
use super::yaml::Node;
use super::{program, shape, stopping, trainer};
use crate::memory::OomPolicy;
use crate::plan::{GridSize, grid_size};
use crate::space::Space;
use crate::spec::{Cpu, EarlyTerminate, Failure, Job, Method, Rungs};
use crate::storage::{KeepCheckpoints, Storage, parse_size};

/// More grid points than this are refused.
const MOST_GRID_POINTS: u64 = 1_000_000;

/// What a trial runs: `trainer`, or `program` and `command`.
pub(super) fn job(
    root: &Node,
    source: &Source,
    drafts: &[Draft],
    problems: &mut Problems,
) -> Option<Job> {
    let ours = root.get("trainer");
    let theirs = ["program", "command"]
        .into_iter()
        .find(|key| root.get(key).is_some());
    if let (Some(_), Some(key)) = (
        ours,
        ["shell", "python", "cwd", "env"]
            .into_iter()
            .find(|key| root.get(key).is_some()),
    ) {
        problems.error_with_hint(
            root.key_span(key),
            format!("`{key}` is about programs, and this study has a `trainer`"),
            "remove it",
        );
    }
    match (ours, theirs) {
        (Some(_), Some(key)) => {
            problems.error_with_hint(
                root.key_span(key),
                format!("a study has either a `trainer` or a `{key}`, not both"),
                "remove one of them",
            );
            None
        }
        (Some(node), None) => trainer::read(node, &source.directory, problems).map(Job::Trainer),
        (None, Some(_)) => program::job(root, drafts, problems).map(Job::Command),
        (None, None) => {
            problems.error_with_hint(
                root.start(),
                "the study does not say what a trial runs",
                "add `program: train.py`, or the built-in trainer: \
                 trainer: {model: mlp, hidden: [64], dataset: digits, epochs: 20}",
            );
            None
        }
    }
}

/// Says so when the study comes to no end of its own: a sweep file of W&B need not say when its agents stop.
pub(super) fn check_end(root: &Node, method: Option<Method>, problems: &mut Problems) {
    let capped = root.get("run_cap").is_some() || root.get("time_cap").is_some();
    if !capped && method.is_some_and(|method| ![Method::Grid, Method::Pbt].contains(&method)) {
        problems.warning(
            root.key_span("method"),
            "the study goes on until it is stopped: it has neither `run_cap` nor `time_cap`",
            "stop it with Ctrl-C or `hpo stop`, or add `run_cap: 50` (trials) or `time_cap: 8h`",
        );
    }
    if let Some(node) = root.get("time_cap")
        && shape::duration(node).is_ok_and(|cap| cap.is_zero())
    {
        problems.error(node.span, "`time_cap` must be more than 0");
    }
}

/// Checks that the grid can be counted, and is not absurdly large.
pub(super) fn check_grid(
    root: &Node,
    space: &Space,
    drafts: &[Draft],
    run_cap: Option<u32>,
    problems: &mut Problems,
) {
    let mut countable = true;
    for draft in drafts {
        for branch in &draft.branches {
            if branch
                .domain
                .as_ref()
                .is_some_and(|domain| domain.cardinality().is_none())
            {
                countable = false;
                problems.error_with_hint(
                    branch.span,
                    format!(
                        "a grid cannot go through `{}`: it is a continuous range",
                        draft.name
                    ),
                    "list its `values`, give it a `q`, or write `method: sobol`",
                );
            }
        }
    }
    if !countable {
        return;
    }
    let at = root.key_span("method");
    match grid_size(space, MOST_GRID_POINTS) {
        GridSize::Points(points) => {
            if let Some(cap) = run_cap
                && points > u64::from(cap)
            {
                problems.warning(
                    root.key_span("run_cap"),
                    format!(
                        "the grid has {points} points, of which only the first {cap} are tried"
                    ),
                    "raise `run_cap`, or write `method: sobol` to spread the trials",
                );
            }
        }
        GridSize::MoreThan(most) => problems.error_with_hint(
            at,
            format!("the grid has more than {most} points"),
            "list fewer values, or write `method: sobol`",
        ),
        GridSize::Uncountable => {}
    }
}

/// When hopeless trials are stopped. `None` when that is wrong; then it has been reported.
pub(super) fn early_terminate(
    root: &Node,
    job: Option<&Job>,
    problems: &mut Problems,
) -> Option<EarlyTerminate> {
    let Some(node) = root.get("early_terminate") else {
        return Some(EarlyTerminate::None);
    };
    let kind = node.text().or_else(|| node.get("type")?.text())?;
    let belongs: &[&str] = match kind {
        "auto" => &["min_iter", "max_iter"],
        "none" => &[],
        "median" => &["min_iter", "min_trials"],
        "percentile" | "patient" | "asha" | "wilcoxon" => stopping::belongs(node, kind),
        _ => &["min_iter", "max_iter", "eta", "s"],
    };
    let all = ["min_iter", "max_iter", "eta", "s", "min_trials"];
    for key in all.into_iter().chain(stopping::KEYS) {
        if !belongs.contains(&key) && node.get(key).is_some() {
            problems.error_with_hint(
                node.key_span(key),
                format!("`{key}` is of no use to `early_terminate: {{type: {kind}}}`"),
                "remove it",
            );
        }
    }
    let whole = |key: &str| {
        node.get(key)
            .and_then(Node::whole)
            .and_then(|i| u64::try_from(i).ok())
    };
    match kind {
        "none" => Some(EarlyTerminate::None),
        "auto" => stopping::auto(node, job, problems),
        "percentile" => stopping::percentile(node),
        "wilcoxon" => stopping::wilcoxon(node, problems),
        "patient" => stopping::patient(node, || {
            rungs(root, node, job, problems).map(EarlyTerminate::Asha)
        }),
        "median" => Some(EarlyTerminate::Median {
            min_iter: whole("min_iter").unwrap_or(1),
            min_trials: whole("min_trials")
                .and_then(|n| u32::try_from(n).ok())
                .unwrap_or(5),
        }),
        "asha" => {
            rungs(root, node, job, problems).map(|rungs| stopping::asha(node, rungs, problems))?
        }
        "sha" => rungs(root, node, job, problems).map(EarlyTerminate::SuccessiveHalving),
        "hyperband" => rungs(root, node, job, problems).map(|rungs| {
            if rungs.is_open() {
                problems.warning(
                    root.key_span("early_terminate"),
                    format!(
                        "without `max_iter` this is `type: asha`: trials are judged at steps {0}, {0} · {1}, …",
                        rungs.min_iter, rungs.eta
                    ),
                    "add `max_iter` (the last step of a whole trial) for Hyperband's brackets",
                );
                EarlyTerminate::Asha(rungs)
            } else {
                EarlyTerminate::Hyperband(rungs)
            }
        }),
        _ => None,
    }
}

fn rungs(root: &Node, node: &Node, job: Option<&Job>, problems: &mut Problems) -> Option<Rungs> {
    let whole = |key: &str| {
        node.get(key)
            .and_then(Node::whole)
            .and_then(|i| u64::try_from(i).ok())
    };
    let epochs = match job {
        Some(Job::Trainer(trainer)) => Some(trainer.epochs),
        _ => None,
    };
    let max_iter = match (node.get("max_iter"), epochs) {
        (Some(_), _) => whole("max_iter")?,
        (None, Some(epochs)) => epochs,
        // W&B's rungs from `min_iter` upwards, without an end; only ASHA judges without knowing it.
        (None, None) if job.is_some() && is_open(node) => Rungs::OPEN,
        (None, None) => {
            // With a broken trainer the length is unknown, which has been reported already.
            if root.get("trainer").is_none() {
                problems.error_with_hint(
                    root.key_span("early_terminate"),
                    "`early_terminate` does not know how long a whole trial is",
                    "add `max_iter`: the last step that a whole trial reports; or `min_iter` alone, for `asha`",
                );
            }
            return None;
        }
    };
    if let Some(epochs) = epochs {
        check_length(node, max_iter, epochs, problems);
    }
    let eta = node
        .get("eta")
        .map_or(Some(3), Node::whole)
        .and_then(|eta| u32::try_from(eta).ok());
    let min_iter = match (node.get("min_iter"), node.get("s")) {
        (Some(value), _) => {
            let min_iter = whole("min_iter")?;
            if min_iter > max_iter {
                problems.error_with_hint(
                    value.span,
                    format!("`min_iter` ({min_iter}) is more than `max_iter` ({max_iter})"),
                    "no trial would ever be judged: make it smaller",
                );
                return None;
            }
            min_iter
        }
        (None, Some(_)) => {
            let steps = u32::try_from(whole("s")?).ok()?;
            (max_iter / u64::from(eta?.max(1)).saturating_pow(steps)).max(1)
        }
        (None, None) => 1,
    };
    let eta = eta.filter(|eta| *eta >= 2)?;
    let rungs = Rungs {
        min_iter,
        max_iter,
        eta,
    };
    if rungs.levels().len() < 2 {
        problems.warning(
            root.key_span("early_terminate"),
            format!(
                "nothing is ever stopped: there is no rung between min_iter ({min_iter}) and \
                 max_iter ({max_iter}) at eta {eta}"
            ),
            "make `min_iter` or `eta` smaller",
        );
    }
    Some(rungs)
}

/// Whether a stopping rule says where it begins and not how long a trial is, as in W&B sweeps.
fn is_open(node: &Node) -> bool {
    let kind = node.get("type").and_then(Node::text);
    matches!(kind, Some("asha" | "hyperband")) && node.get("min_iter").is_some()
}

/// Checks the stopping rule's length of a trial against the trainer's.
pub(super) fn check_length(node: &Node, max_iter: u64, epochs: u64, problems: &mut Problems) {
    let Some(value) = node.get("max_iter") else {
        return;
    };
    if max_iter > epochs {
        problems.error_with_hint(
            value.span,
            format!("`max_iter` is {max_iter}, but a trial is only {epochs} epochs long"),
            "remove it: the trainer's `epochs` count",
        );
    } else if max_iter < epochs {
        problems.warning(
            value.span,
            format!(
                "no trial goes on after epoch {max_iter}, but learning-rate schedules reach \
                 their end only at epoch {epochs}"
            ),
            format!("write `epochs: {max_iter}`, or remove `max_iter`"),
        );
    }
}

/// The study's name: the key `name`, or the file's name without its ending.
pub(super) fn name(root: &Node, source: &Source, problems: &mut Problems) -> Option<String> {
    if let Some(node) = root.get("name") {
        // An empty one has been reported already.
        let name = node.text().map(str::trim).filter(|name| !name.is_empty())?;
        if !is_directory_name(name) {
            problems.error_with_hint(
                node.span,
                format!("`name` becomes a directory, and `{name}` cannot be one"),
                "use letters, digits, `-`, `_`, `.` and blanks; at most 100 of them",
            );
            return None;
        }
        return Some(name.to_owned());
    }
    let file = source.file.rsplit(['/', '\\']).next().unwrap_or_default();
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    let name: String = stem
        .chars()
        .map(|c| if is_name_char(c) { c } else { '-' })
        .take(100)
        .collect();
    let name = name.trim_start_matches(['.', '-', ' ']).trim_end();
    Some(if name.is_empty() {
        "study".to_owned()
    } else {
        name.to_owned()
    })
}

fn is_name_char(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ' ')
}

fn is_directory_name(name: &str) -> bool {
    name.chars().count() <= 100 && name.chars().all(is_name_char) && !name.starts_with(['.', '-'])
}

/// `cpu`
pub(super) fn cpu(root: &Node) -> Cpu {
    let node = root.get("cpu").and_then(|cpu| cpu.get("max_parallel"));
    Cpu {
        max_parallel: node
            .and_then(Node::whole)
            .and_then(|n| u32::try_from(n).ok()),
        memory_limit: root
            .get("cpu")
            .and_then(|cpu| cpu.get("memory_limit"))
            .and_then(|node| shape::amount(node).ok()),
    }
}

/// `failure`
pub(super) fn failure(root: &Node, problems: &mut Problems) -> Failure {
    let node = |key: &str| root.get("failure").and_then(|failure| failure.get(key));
    let whole = |key: &str, default: u32| {
        node(key)
            .and_then(Node::whole)
            .and_then(|n| u32::try_from(n).ok())
            .unwrap_or(default)
    };
    let mut time = |key: &str| {
        let node = node(key)?;
        let time = shape::duration(node).ok()?;
        if time.is_zero() {
            problems.error_with_hint(
                node.span,
                format!("`{key}` must be more than 0"),
                "remove it for no limit",
            );
        }
        Some(time)
    };
    let absent = Failure::default();
    Failure {
        stall_timeout: time("stall_timeout"),
        trial_time_limit: time("trial_time_limit"),
        crash_retries: whole("crash_retries", absent.crash_retries),
        stop_after_consecutive: whole("stop_after_consecutive", absent.stop_after_consecutive),
        lost_retries: whole("lost_retries", absent.lost_retries),
        oom: match node("oom") {
            Some(node) if node.text() == Some("fail") => OomPolicy::Fail,
            _ => OomPolicy::Retry,
        },
    }
}

/// `keep_checkpoints` and `disk_budget`
pub(super) fn storage(root: &Node, method: Option<Method>, problems: &mut Problems) -> Storage {
    let text = |node: &Node| node.text().map_or_else(|| node.describe(), str::to_owned);
    let mut storage = Storage::default();
    if method == Some(Method::Pbt) {
        // A copy per member and interval: what nobody needs any more would fill any disk.
        storage.keep_checkpoints = KeepCheckpoints::Best(1);
    }
    if let Some(node) = root.get("keep_checkpoints") {
        let rule = match node.whole() {
            Some(count) => u32::try_from(count).ok().map(KeepCheckpoints::Last),
            None => node.text().and_then(KeepCheckpoints::parse),
        };
        match rule {
            Some(rule) => storage.keep_checkpoints = rule,
            None if node.text().is_some() => problems.error_with_hint(
                node.span,
                format!("`keep_checkpoints` cannot be `{}`", text(node)),
                "it can be `all`, `none`, `last`, `best_3` (any number), or how many per trial",
            ),
            None => {}
        }
    }
    if let Some(node) = root.get("disk_budget") {
        storage.disk_budget = match node.number() {
            Some(bytes) => Some(bytes as u64),
            None => node.text().and_then(parse_size),
        };
        if storage.disk_budget.is_none() && node.text().is_some() {
            problems.error_with_hint(
                node.span,
                format!("`{}` is no size", text(node)),
                "write a number with a unit, such as `20GiB` or `500MB`",
            );
        }
    }
    storage
}
