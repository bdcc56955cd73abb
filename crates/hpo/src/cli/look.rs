//! Arguments of the commands that look at studies and machines, and clear away.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use hpo_report::Format;
use hpo_study::{KeepCheckpoints, TrialId};

use super::{PlaceArguments, PrintArguments, StudyArguments, TableFormat, TrialOfStudyArguments};

/// Where a study is: counts, best so far, running trials, time to go
///
/// Works while the study runs, from another terminal. The JSON has `version`, `state` (`running`,
/// `interrupted` or `ended`), `trials` by state, `best`, `running`, `elapsed_s`, `eta_s` and more.
///
/// Examples:  hpo status      hpo status digits -f json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct LookArguments {
    #[command(flatten)]
    pub(crate) study: StudyArguments,
    #[command(flatten)]
    pub(crate) print: PrintArguments,
}

/// All trials as a table, JSON or CSV
///
/// The JSON is a list of {trial, state, reason, detail, params, value, steps, attempts, started,
/// ended, duration_s, bracket, metrics}; `state` is queued, running, paused, completed, stopped or
/// failed. The CSV has one column per parameter and metric, named as pandas.json_normalize would.
///
/// Examples:
///   hpo trials --best -n 10
///   hpo trials -f json | jq '.[] | select(.state == "completed") | .value'
///   hpo trials -f csv > trials.csv
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct TrialsArguments {
    #[command(flatten)]
    pub(crate) study: StudyArguments,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = TableFormat::Table)]
    pub(crate) format: TableFormat,
    /// Best value first, instead of by number
    #[arg(long)]
    pub(crate) best: bool,
    /// Only trials in this state
    #[arg(long, value_parser = ["queued", "running", "paused", "completed", "stopped", "infeasible", "failed"])]
    pub(crate) state: Option<String>,
    /// At most this many
    #[arg(short = 'n', long, value_name = "NUMBER")]
    pub(crate) most: Option<usize>,
    /// Instead, the runs that confirmed the best with fresh seeds
    #[arg(long, conflicts_with = "map")]
    pub(crate) confirmations: bool,
    /// Instead, the runs with further seeds (`repeats`)
    #[arg(long, conflicts_with_all = ["map", "confirmations"])]
    pub(crate) repeats: bool,
    /// Instead, where trials come to nothing: each optimizer's learning rates and their edge
    #[arg(long, conflicts_with_all = ["best", "state", "most"])]
    pub(crate) map: bool,
}

/// Everything about one trial: configuration, curve, processes, why it ended
///
/// Examples:  hpo trial 7      hpo trial 7 -s digits -f json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct TrialArguments {
    #[command(flatten)]
    pub(crate) which: TrialOfStudyArguments,
    #[command(flatten)]
    pub(crate) print: PrintArguments,
}

/// What a trial's processes printed
///
/// Examples:  hpo logs 7      hpo logs 7 --stderr -n 20
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct LogsArguments {
    #[command(flatten)]
    pub(crate) which: TrialOfStudyArguments,
    /// Only what it printed to stdout
    #[arg(long, conflicts_with = "stderr")]
    pub(crate) stdout: bool,
    /// Only what it printed to stderr
    #[arg(long)]
    pub(crate) stderr: bool,
    /// Only the last lines of each
    #[arg(short = 'n', long, value_name = "NUMBER")]
    pub(crate) lines: Option<usize>,
}

/// The best configuration, ready for your training code
///
/// Formats:
///   yaml     the parameters as a map
///   json     {version, study, trial, value, params, metrics, …}
///   args     --lr=0.001 --optimizer=adamw …, quoted for a shell
///   env      lr=0.001, one per line, for: set -a; eval "$(hpo best -f env)"; set +a
///   pytorch  a PyTorch program: optimizer, schedule, training loop
///   keras    a Keras program: optimizer, schedule, callbacks, fit
///
/// Examples:
///   hpo best -f pytorch -o best.py
///   python train.py $(hpo best -f args)
///
/// Exit code 1 when no trial has completed.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct BestArguments {
    #[command(flatten)]
    pub(crate) study: StudyArguments,
    /// The format; yaml if absent, or a table of the front in a study with several objectives
    #[arg(short, long, value_name = "FORMAT", value_parser = format_parser())]
    pub(crate) format: Option<Format>,
    /// Write to this file instead of stdout
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// This trial instead of the best one, or the front
    #[arg(long, value_name = "TRIAL")]
    pub(crate) trial: Option<TrialId>,
    /// The one with the best single value, although another one was confirmed
    #[arg(long, conflicts_with = "trial")]
    pub(crate) single: bool,
}

fn format_parser() -> impl clap::builder::TypedValueParser<Value = Format> {
    use clap::builder::{PossibleValuesParser, TypedValueParser as _};
    PossibleValuesParser::new(Format::ALL.iter().map(|f| f.name()))
        .try_map(|name| name.parse::<Format>())
}

/// The report: everything that a study found, as one HTML file with plots
///
/// The file works without a network and can be sent to anybody: the best configuration with code to
/// take it away, the comparison of optimizers at equal effort, training curves, which learning rates
/// diverge, which parameters matter, every trial. `hpo run` writes it at the end of every session;
/// this command writes it anew, also while the study runs.
///
/// The JSON has the same data: {version, study, parameters, trials, sections}.
///
/// Examples:
///   hpo report                        writes runs/NAME/report.html
///   hpo report digits -o /tmp/digits.html
///   hpo report -f json | jq '.sections.importance.parameters'
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct ReportArguments {
    #[command(flatten)]
    pub(crate) study: StudyArguments,
    /// The page, or its data
    #[arg(short, long, value_enum, default_value_t = ReportFormat::Html)]
    pub(crate) format: ReportFormat,
    /// Write to this file; `-` is stdout. Without it: the page to report.html in the study's
    /// directory, JSON to stdout
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// The report's two forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// A page for people
    Html,
    /// For programs
    Json,
}

/// Find the runs that came to nothing in curves you have logged
///
/// Runs the rules that stop hopeless trials over finished runs: which diverged, got stuck or never
/// began to learn, and at which step that could have been known. Reads JSON lines (a run to a line
/// with lists of numbers, or a report to a line), CSV and TensorBoard's CSV, packed with gzip or not;
/// `-` is stdin.
///
/// The JSON is a list of {id, verdict, step, rule, certain, metric, chance, planned_steps,
/// last_step, evidence, detail}; `verdict` is diverged, stuck or no_progress, or else healthy,
/// spiking or recovered, with `step` null.
///
/// Examples:
///   hpo divergence runs/digits/trials/7/metrics.jsonl --num-classes 10
///   hpo divergence curves.jsonl.gz -f json | jq '.[] | select(.verdict == "diverged") | .id'
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct DivergenceArguments {
    /// The logs
    #[arg(value_name = "CURVES", required = true)]
    pub(crate) curves: Vec<PathBuf>,
    /// The metric to watch; without it train_loss, loss or val_loss, or the only one there is
    #[arg(long, value_name = "NAME")]
    pub(crate) metric: Option<String>,
    /// What a model that knows nothing gets; without it the log's chance_loss, if it has one
    #[arg(long, value_name = "VALUE", allow_negative_numbers = true, conflicts_with = "num_classes", value_parser = finite)]
    pub(crate) chance: Option<f64>,
    /// Number of classes: ln of it is the chance of a loss, one over it that of an accuracy
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(2..))]
    pub(crate) num_classes: Option<u32>,
    /// Which way is better; without it minimize, unless the metric's name has `acc` in it
    #[arg(long, value_enum)]
    pub(crate) goal: Option<GoalArgument>,
    /// The step with which the runs were to end; without it the log's planned_steps, or the last
    #[arg(long, value_name = "STEPS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) planned: Option<u64>,
    #[command(flatten)]
    pub(crate) print: PrintArguments,
}

/// Which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GoalArgument {
    /// Smaller is better
    Minimize,
    /// Larger is better
    Maximize,
}

fn finite(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|x: &f64| x.is_finite());
    number.ok_or_else(|| "not a number".to_owned())
}

/// The GPUs of this machine: memory, who uses it, and what a study may use
///
/// Asks the NVIDIA driver. A number that it does not know is shown as –, null in the JSON. Without a
/// driver it says so, and exits with 0: studies run on the CPU then.
///
/// With a study's name, directory or file: its limits too; and while it runs, which trials are on which
/// GPU. Without a name, the study that runs, if one does.
///
/// The JSON has `version`, `driver`, `trouble` (why there is no GPU to be seen), `study` and `gpus`, a list
/// of {uuid, index, name, mig, lost, memory: {total, reserved, used}, free, processes: [{pid, memory}],
/// utilization, temperature, power, ecc_errors, xid, in_study, limit, reserved, trials}; in bytes, %, °C, W.
///
/// Examples:  hpo gpus      hpo gpus study.yaml      hpo gpus -f json | jq '.gpus[].free'
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct GpusArguments {
    #[command(flatten)]
    pub(crate) study: StudyArguments,
    #[command(flatten)]
    pub(crate) print: PrintArguments,
}

/// Disk clean-up: what studies take, and what of it can go
///
/// Shows checkpoints, other files and databases of studies, and which checkpoints can go: those of
/// finished trials, but for the best one's. Nothing is removed without --yes. A study that is being
/// run is left alone, and so are trials that may still go on.
///
/// Examples:
///   hpo prune-runs                           what takes how much, under runs/
///   hpo prune-runs digits --keep best_3 --yes
///   hpo prune-runs --older-than 7d --yes
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct PruneArguments {
    /// The studies: names or directories. Without any all under --dir
    #[arg(value_name = "STUDY")]
    pub(crate) studies: Vec<PathBuf>,
    /// Which checkpoints stay: all, none, last, best_3, or how many per trial
    #[arg(long, value_name = "RULE", default_value = "none", value_parser = keep_rule)]
    pub(crate) keep: KeepCheckpoints,
    /// Only studies that were last written to so long ago: 7d, 12h
    #[arg(long, value_name = "TIME", value_parser = age)]
    pub(crate) older_than: Option<Duration>,
    /// Remove; without it only show
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) place: PlaceArguments,
    #[command(flatten)]
    pub(crate) print: PrintArguments,
}

fn keep_rule(text: &str) -> Result<KeepCheckpoints, String> {
    let wanted = "it can be `all`, `none`, `last`, `best_3` (any number), or how many per trial";
    KeepCheckpoints::parse(text).ok_or_else(|| wanted.to_owned())
}

fn age(text: &str) -> Result<Duration, String> {
    let days = text
        .strip_suffix('d')
        .and_then(|days| days.parse::<u32>().ok());
    if let Some(days) = days {
        return Ok(Duration::from_secs(u64::from(days) * 86_400));
    }
    let time: Option<jiff::SignedDuration> = text.parse().ok();
    let time = time.and_then(|time| Duration::try_from(time).ok());
    time.ok_or_else(|| "write a length of time such as `7d` or `12h`".to_owned())
}
