//! The study file: YAML text to a checked [`StudySpec`], with every problem in it at its place.
//!
//! The way through: text → tree with places (`yaml`) → every key known and every value of the
//! right shape (`shape`, over the tables in `keys`) → what the values mean together (the other
//! modules). A value that is wrong is reported once and then left out, so that all problems of a
//! file come out of one reading. The dialect is described in `docs/study-file.md`.

mod confirm;
mod divergence;
mod domain;
mod import;
mod keys;
mod memory;
mod metrics;
mod notify;
mod objectives;
mod parameters;
mod population;
mod prior;
mod problem;
mod program;
mod ranges;
mod recipe;
mod settings;
pub(crate) mod shape;
mod stopping;
mod trainer;
pub mod write;
mod yaml;

use std::path::PathBuf;

use crate::spec::{Method, OnCrash, STOP_GRACE, StudySpec};
use crate::warm_start::WarmStart;
use problem::Problems;
use yaml::Node;

pub use problem::{Problem, Severity, Span};
pub use trainer::{trainer_metrics, trainer_parameters};

pub(crate) use keys::{PARAMETER_ENTRY, STUDY};

/// Longest file that is read, in bytes.
pub const LONGEST_FILE: usize = 1 << 20;

/// Where a study file's text is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The file's name as the user gave it; names a study that has no `name`.
    pub file: String,
    /// The directory that relative paths in the file start from.
    pub directory: PathBuf,
}

/// What came out of reading a study file.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// The study; `None` exactly when there is an error among the problems.
    pub spec: Option<StudySpec>,
    /// Everything wrong with it, in the order of the file.
    pub problems: Vec<Problem>,
}

/// Reads a study file's text. Never panics, whatever the text.
#[must_use]
pub fn read(text: &str, source: &Source) -> Checked {
    check(text, source, None)
}

/// As [`read`], for a study that has begun with this `run_cap`. Which knobs a recipe searches depends
/// on the number of trials; a study that is given more of them later keeps the knobs it has.
#[must_use]
pub fn read_begun(text: &str, source: &Source, run_cap: Option<u32>) -> Checked {
    check(text, source, Some(run_cap))
}

fn check(text: &str, source: &Source, begun: Option<Option<u32>>) -> Checked {
    let mut problems = Problems::default();
    let spec = read_text(text, source, begun, &mut problems);
    let spec = if problems.has_errors() { None } else { spec };
    Checked {
        spec,
        problems: problems.in_order(),
    }
}

fn read_text(
    text: &str,
    source: &Source,
    begun: Option<Option<u32>>,
    problems: &mut Problems,
) -> Option<StudySpec> {
    let start = Span {
        line: 1,
        column: 1,
        ..Span::default()
    };
    if text.len() > LONGEST_FILE {
        problems.error(
            start,
            "the file is larger than 1 MiB: this is no study file",
        );
        return None;
    }
    if let Some(offset) = text.find('\0') {
        problems.error(span_of_char(text, offset), "the file is binary, not text");
        return None;
    }
    // To YAML it ends a line and to most editors it does not, so no place below it would be right.
    if let Some(offset) = lone_return(text) {
        problems.error_with_hint(
            span_of_char(text, offset),
            "a carriage return stands here without a line feed",
            "save the file with the line ends of Unix (LF) or Windows (CR LF)",
        );
        return None;
    }
    let root = yaml::parse(text, problems)?;
    if !matches!(root.kind, yaml::Kind::Map(_)) {
        problems.error_with_hint(
            start,
            format!(
                "a study file is a map of `key: value`, not {}",
                root.describe()
            ),
            "it begins with lines such as `method: random`",
        );
        return None;
    }
    shape::check(
        &root,
        shape::Shape::Table(&STUDY),
        "the study file",
        start,
        problems,
    );
    check_characters(&root, problems);
    read_study(&root, source, begun, problems)
}

/// The first carriage return that is not part of a `\r\n`.
fn lone_return(text: &str) -> Option<usize> {
    let mut returns = text.match_indices('\r').map(|(offset, _)| offset);
    returns.find(|offset| text.as_bytes().get(offset + 1) != Some(&b'\n'))
}

/// The place of the character that begins at an offset and is one byte long.
fn span_of_char(text: &str, offset: usize) -> Span {
    let before = &text[..offset];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    Span {
        offset,
        len: 1,
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
    }
}

/// Refuses what cannot be handed on: a NUL in any text ends it for the system, and a name with a line
/// break is no name in an argument, an environment variable or a table.
fn check_characters(node: &Node, problems: &mut Problems) {
    if node.text().is_some_and(|text| text.contains('\0')) {
        let message = "a text cannot hold the character NUL (`\\0`)";
        problems.error(node.span, message);
    }
    for (key, value) in node.entries() {
        if key.name.contains(char::is_control) {
            problems.error(key.span, "a name cannot hold a control character");
        }
        check_characters(value, problems);
    }
    for item in node.items() {
        check_characters(item, problems);
    }
}

fn read_study(
    root: &Node,
    source: &Source,
    begun: Option<Option<u32>>,
    problems: &mut Problems,
) -> Option<StudySpec> {
    let run_cap = root
        .get("run_cap")
        .and_then(Node::whole)
        .and_then(|n| u32::try_from(n).ok());
    let mut drafts = root
        .get("parameters")
        .map_or_else(Vec::new, |node| parameters::read(node, problems));
    if let Some(node) = root.get("recipe") {
        let trials = begun.unwrap_or(run_cap);
        let added = recipe::expand(node, root.key_span("recipe"), trials, &drafts);
        drafts.splice(0..0, added);
    }
    let before = problems.len();
    let space = parameters::assemble(&drafts, problems);
    let space_is_sound = problems.len() == before;

    let job = settings::job(root, source, &drafts, problems);
    if root.get("trainer").is_some() {
        trainer::check_parameters(&drafts, root.key_span("trainer"), problems);
        for metric in objectives::reported(root) {
            let dataset = root
                .get("trainer")
                .and_then(|trainer| trainer.get("dataset"));
            trainer::check_metric(metric, dataset, problems);
        }
    }
    if drafts.is_empty() && root.get("parameters").is_none() && root.get("recipe").is_none() {
        problems.error_with_hint(
            root.start(),
            "there is nothing to search",
            "add `parameters`, or `recipe: {optimizers: [sgd, adamw]}`",
        );
    }
    let method = root
        .get("method")
        .and_then(Node::text)
        .and_then(|word| match word {
            "grid" => Some(Method::Grid),
            "random" => Some(Method::Random),
            "sobol" => Some(Method::Sobol),
            "tpe" => Some(Method::Tpe),
            "motpe" => Some(Method::Tpe),
            "gp" => Some(Method::Gp),
            "nsga2" => Some(Method::Nsga2),
            "bayes" => Some(Method::Bayes),
            "cmaes" => Some(Method::Cmaes),
            "pbt" => Some(Method::Pbt),
            "bohb" => Some(Method::Bohb),
            "dehb" => Some(Method::Dehb),
            _ => None,
        });
    let time_cap = root
        .get("time_cap")
        .and_then(|node| shape::duration(node).ok());
    settings::check_end(root, method, problems);
    if method == Some(Method::Grid) && space_is_sound {
        settings::check_grid(root, &space, &drafts, run_cap, problems);
    }
    let early_terminate = population::read(root, method, &space, job.as_ref(), problems)
        .or_else(|| stopping::for_method(root, method, job.as_ref(), problems))
        .unwrap_or_else(|| settings::early_terminate(root, job.as_ref(), problems));
    objectives::check_several(root, method, early_terminate.as_ref(), problems);
    import::check(root, method, problems);
    let objectives = objectives::read(root, problems);
    let divergence = objectives
        .as_ref()
        .and_then(|(metric, _)| divergence::read(root, metric, job.as_ref(), problems));
    let priors = prior::read(root, &space, space_is_sound, method, problems);
    let gpu = memory::gpu(root, &space, space_is_sound, job.as_ref(), problems);
    let (metric, further) = objectives?;
    Some(StudySpec {
        name: settings::name(root, source, problems)?,
        description: root
            .get("description")
            .and_then(Node::text)
            .map(str::to_owned),
        seed: root
            .get("seed")
            .and_then(Node::whole)
            .map_or(0, i64::unsigned_abs),
        job: job?,
        method: method?,
        metric,
        further,
        run_cap,
        time_cap,
        early_terminate: early_terminate?,
        divergence: divergence?,
        cpu: settings::cpu(root),
        gpu: gpu?,
        space,
        failure: settings::failure(root, problems),
        storage: settings::storage(root, method, problems),
        confirm: confirm::read(root, problems),
        repeats: confirm::repeats(root),
        allow_duplicates: root.get("allow_duplicates").and_then(Node::flag) == Some(true),
        warm_start: WarmStart {
            priors,
            imports: import::read(root, problems),
        },
        stop_grace: root
            .get("stop_grace")
            .and_then(|node| shape::duration(node).ok())
            .unwrap_or(STOP_GRACE),
        on_crash: match root.get("on_crash").and_then(Node::text) {
            Some("kill") => OnCrash::Kill,
            _ => OnCrash::Adopt,
        },
        notify: notify::read(root, problems),
    })
}

fn check_metric_name(node: &Node, problems: &mut Problems) {
    match node.text() {
        Some("step") => problems.error_with_hint(
            node.span,
            "`step` says how far a trial is, and is no metric",
            "name what the trials report beside it, such as `val_loss`",
        ),
        Some(name) if name.contains(char::is_control) => {
            problems.error(node.span, "a name cannot hold a control character");
        }
        _ => {}
    }
}

/// The name that looks most like `wanted`, if it is near enough to be a slip of the pen.
#[must_use]
pub fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Comparing takes time in the square of the length; nobody mistypes so long a name.
    const LONGEST: usize = 100;
    if wanted.len() > LONGEST {
        return None;
    }
    let wanted = wanted.to_lowercase().replace('-', "_");
    names
        .into_iter()
        .map(|name| {
            (
                strsim::damerau_levenshtein(&wanted, &name.to_lowercase()),
                name,
            )
        })
        .filter(|(distance, name)| distance * 3 <= name.chars().count().max(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}
