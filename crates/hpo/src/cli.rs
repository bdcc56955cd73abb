//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use hpo_report::Format;
use hpo_study::{KeepCheckpoints, TrialId};

const LONG_ABOUT: &str = "\
Hyperparameter search that you leave running overnight: optimizer, learning rate, momentum, betas, \
learning-rate schedule, and whatever else your study file names.

It starts your training script once per trial (or its own trainer), stops hopeless trials early, \
survives crashes of everything including itself, and hands you the best configuration as YAML, \
arguments, or a PyTorch or Keras program.";

const AFTER_HELP: &str = "\
Examples:
  hpo run study.yaml               run the study, or go on with it
  hpo check study.yaml             see the plan and every mistake before anything runs
  hpo status                       where the latest study under runs/ is
  hpo trials --best -n 5           its five best trials
  hpo best -f pytorch              its best configuration as a program
  hpo report                       all of it as plots, in one HTML file
  hpo stop, hpo set, hpo enqueue   steer it from another terminal
  hpo import study.yaml old.db     learn from trials that ran elsewhere

Exit codes:
  0  done
  1  no trial completed
  2  wrong usage or study file
  3  stopped early by you; the same command goes on
  4  trouble with the store or the machine";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "hpo", version, about = "Hyperparameter search that runs overnight", long_about = LONG_ABOUT, after_help = AFTER_HELP, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Say more on stderr: -v what is done, -vv everything (RUST_LOG goes before it)
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub(crate) verbose: u8,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(RunArguments),
    Confirm(ConfirmArguments),
    Rerun(RerunArguments),
    Check(CheckArguments),
    Status(LookArguments),
    Trials(TrialsArguments),
    Trial(TrialArguments),
    Logs(LogsArguments),
    PruneRuns(PruneArguments),
    Best(BestArguments),
    Report(ReportArguments),
    Divergence(DivergenceArguments),
    Pause(PauseArguments),
    Resume(ResumeArguments),
    Stop(StopArguments),
    Cancel(CancelArguments),
    Set(SetArguments),
    Enqueue(EnqueueArguments),
    Import(ImportArguments),
    Notify(NotifyArguments),
    Gpus(GpusArguments),
    Init(InitArguments),
    Schema(SchemaArguments),
    Stdio(StdioArguments),
    #[command(hide = true)]
    Train(TrainArguments),
    #[command(hide = true)]
    Warden(WardenArguments),
}

/// Run a study, or go on with it
///
/// Reads the study file and runs its trials until its caps are reached. Everything is kept in a
/// directory named after the study, `runs/<name>/`. When that has been begun already, the study
/// goes on where it was, however it ended: finished trials are never run again.
///
/// Ctrl-C once: no new trials are started, the running ones go on to their end. Ctrl-C twice:
/// running trials are ended too, and go on from their checkpoints next time.
///
/// On a terminal there is a live view; otherwise plain lines on stderr. The summary at the end goes
/// to stdout.
///
/// Example:  hpo run studies/digits.yaml
///
/// Exit codes: 0 done; 1 no trial completed; 2 wrong study file, or a change in it that a begun
/// study cannot take; 3 stopped early by you; 4 the study is being run already, or the machine
/// refused something.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct RunArguments {
    /// The study file
    #[arg(value_name = "STUDY.YAML")]
    pub(crate) file: PathBuf,
    /// Where study directories are
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub(crate) dir: PathBuf,
    /// Plain lines even on a terminal
    #[arg(long)]
    pub(crate) no_live: bool,
    /// Also note the packages of the trials' Python (`pip freeze`), which takes a while
    #[arg(long)]
    pub(crate) pip_freeze: bool,
}

/// Run the best trials again with fresh seeds: which one is really best?
///
/// The best of many values is lucky as well as good. So the best configurations are run again, to the
/// full length, and the one with the best mean of these fresh runs wins; what it reached in the search
/// is not counted. Nothing new is searched. `hpo best` and best.yaml then give the winner.
///
/// Works on a study that has ended or was stopped; one that is being run is waited for. Its time cap
/// does not count here. What was run again before is not run once more. With `confirm` in the study
/// file, `hpo run` does the same at the end of the search.
///
/// Examples:  hpo confirm      hpo confirm digits --top 5 --seeds 3
///
/// Exit codes: 0 done; 1 there is no completed trial; 3 stopped early by you; 4 trouble.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct ConfirmArguments {
    #[command(flatten)]
    pub(crate) study: StudyArguments,
    /// How many of the best configurations
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) top: Option<u32>,
    /// How many fresh runs of each
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) seeds: Option<u32>,
    /// Plain lines even on a terminal
    #[arg(long)]
    pub(crate) no_live: bool,
}

/// Run one trial again exactly as it was: same command, parameters and seed
///
/// In a directory of its own, runs/NAME/reruns/N/; the study is not touched. What it prints is shown,
/// and in the end its value is compared with the recorded one. What differs from then (code, versions)
/// is said first.
///
/// Examples:  hpo rerun 7      hpo rerun c2 -s digits      hpo rerun 7 --print
///
/// Exit codes: 0 the same value again; 1 another value, or it failed; 2 wrong usage; 4 trouble.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct RerunArguments {
    /// The trial's number
    #[arg(value_name = "TRIAL")]
    pub(crate) trial: TrialId,
    #[command(flatten)]
    pub(crate) study: StudyArguments,
    /// Only print the command with its environment, for a shell
    #[arg(long)]
    pub(crate) print: bool,
}

/// Check a study file and print the plan
///
/// Shows every mistake at once, each with its line and a hint. When there is none, prints what
/// would be done: the dimensions, how many trials, the rungs at which trials are compared, what
/// each optimizer needs in memory, and a picture of each learning-rate schedule. Nothing is run.
///
/// With --sample it also reads a log of your program, and shows which metrics `metrics` finds in it.
///
/// Examples:  hpo check study.yaml --expand      hpo check study.yaml --sample train.log
///
/// Exit codes: 0 the study can be run (there may be warnings); 2 it cannot, or the log has no objective.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct CheckArguments {
    /// The study file
    #[arg(value_name = "STUDY.YAML")]
    pub(crate) file: PathBuf,
    /// Also print the whole search space as YAML, with the recipe written out
    #[arg(long)]
    pub(crate) expand: bool,
    /// Also show which metrics are found in this output of the program; `-` is stdin
    #[arg(long, value_name = "LOGFILE")]
    pub(crate) sample: Option<PathBuf>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = TextFormat::Text)]
    pub(crate) format: TextFormat,
}

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
    /// How to print
    #[arg(short, long, value_enum, default_value_t = TextFormat::Text)]
    pub(crate) format: TextFormat,
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
    /// The trial's number
    #[arg(value_name = "TRIAL")]
    pub(crate) trial: TrialId,
    #[command(flatten)]
    pub(crate) study: StudyArguments,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = TextFormat::Text)]
    pub(crate) format: TextFormat,
}

/// What a trial's processes printed
///
/// Examples:  hpo logs 7      hpo logs 7 --stderr -n 20
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct LogsArguments {
    /// The trial's number
    #[arg(value_name = "TRIAL")]
    pub(crate) trial: TrialId,
    #[command(flatten)]
    pub(crate) study: StudyArguments,
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
    /// Where study directories are
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub(crate) dir: PathBuf,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = TextFormat::Text)]
    pub(crate) format: TextFormat,
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
    /// How to print
    #[arg(short, long, value_enum, default_value_t = TextFormat::Text)]
    pub(crate) format: TextFormat,
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
    /// How to print
    #[arg(short, long, value_enum, default_value_t = TextFormat::Text)]
    pub(crate) format: TextFormat,
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

/// Start nothing new for a while, or have one trial wait
///
/// Without TRIAL: no trial is started until `hpo resume`; what runs goes on to its end. With TRIAL:
/// its process is ended, and the trial waits until `hpo resume TRIAL`, to go on from its checkpoint.
///
/// Examples:  hpo pause      hpo pause 7 -s digits
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct PauseArguments {
    #[command(flatten)]
    pub(crate) whose: WhoseArguments,
}

/// Go on after `hpo pause`
///
/// Examples:  hpo resume      hpo resume 7
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct ResumeArguments {
    #[command(flatten)]
    pub(crate) whose: WhoseArguments,
}

/// Let the study, or one trial, come to its end
///
/// Without TRIAL: no trial is started any more, and when those that run have ended, so does `hpo run`
/// (as after Ctrl-C); it can be run again. With TRIAL: that trial is over. Its process is told by its
/// control file, gets SIGTERM after half of `stop_grace`, and is killed after all of it.
///
/// Examples:  hpo stop      hpo stop 7
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct StopArguments {
    #[command(flatten)]
    pub(crate) whose: WhoseArguments,
}

/// End the study, or one trial, now
///
/// Without TRIAL: running trials are ended and put back, and `hpo run` ends (as after Ctrl-C twice);
/// it goes on with them when it is run again. When `hpo run` was killed and its trials run on, they
/// are ended. With TRIAL: that trial is over, and its process is killed.
///
/// Examples:  hpo cancel      hpo cancel 7
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct CancelArguments {
    #[command(flatten)]
    pub(crate) whose: WhoseArguments,
}

/// Change values of a running trial, or limits of the study
///
/// `hpo set 7 lr=1e-4` writes the value into the control file of trial 7 (HPO_CONTROL_FILE), for
/// scripts that look there; the built-in trainer does, at every epoch. The trial's configuration is
/// the changed one from then on, and says so wherever it is shown.
///
/// The limits hold from now on, also in later runs, until the study file says something new.
///
/// Examples:
///   hpo set 7 lr=1e-4
///   hpo set --max-parallel 8 --time-cap 12h
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct SetArguments {
    /// The trial's number, and its new values
    #[arg(value_name = "TRIAL NAME=VALUE")]
    pub(crate) what: Vec<String>,
    /// Most trials at once
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) max_parallel: Option<u32>,
    /// Most running time, all sessions together
    #[arg(long, value_name = "TIME", value_parser = hpo_study::control::duration)]
    pub(crate) time_cap: Option<std::time::Duration>,
    /// Most trials
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) run_cap: Option<u32>,
    #[command(flatten)]
    pub(crate) study: NamedStudyArguments,
}

/// Have a configuration of your own tried next
///
/// Give all values or some; those that are missing are drawn at random. It is tried before the search
/// proposes anything more, counts as one of the study's trials, and the search learns from it. When
/// nothing runs the study, the next `hpo run` tries it; with -s STUDY.YAML also in a study that has not
/// begun. With --from a file has several of them: CSV with a column per parameter, or JSON with an object
/// each (a line each, or in a list). They are all checked first.
///
/// Examples:
///   hpo enqueue optimizer=adamw lr=3e-4 batch_size=64
///   hpo enqueue --from favourites.csv -s study.yaml
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct EnqueueArguments {
    /// The values
    #[arg(value_name = "NAME=VALUE", required_unless_present = "from")]
    pub(crate) values: Vec<String>,
    /// A file with several configurations, CSV or JSON
    #[arg(long, value_name = "FILE", conflicts_with = "values")]
    pub(crate) from: Option<PathBuf>,
    /// Even if it was tried before
    #[arg(long)]
    pub(crate) again: bool,
    #[command(flatten)]
    pub(crate) study: NamedStudyArguments,
}

/// Learn from trials that ran elsewhere: warm start
///
/// SOURCE is another study's directory, an Optuna database (SQLite), a CSV table (pandas, W&B's export,
/// `hpo trials -f csv`), or JSON. The search learns from these trials, early stopping from their curves,
/// and configurations that were tried there are not tried again; the best one is, first of all, so that
/// it is known what it is worth here. They are shown by `hpo trials` as imported, count for no cap, and are
/// not the best of this study (--as trials: they can be). With values on another scale (other data) use
/// --as prior: then only where the good ones were counts, as a belief that fades.
///
/// All or nothing is imported; what was imported before is passed over. Works before the first
/// `hpo run` (STUDY is the study file then), between runs, and while the study runs.
///
/// Examples:
///   hpo import study.yaml runs/yesterday
///   hpo import study.yaml old.db --study-name cnn --map learning_rate=lr --dry-run
///   hpo import digits results.csv --metric loss --set batch_size=64
///
/// Exit codes: 0 done; 2 the source is wrong, or nothing of it fits; 4 trouble with the store.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct ImportArguments {
    /// The study: its study file, its name or its directory
    #[arg(value_name = "STUDY")]
    pub(crate) study: PathBuf,
    /// Where the trials are
    #[arg(value_name = "SOURCE")]
    pub(crate) source: PathBuf,
    /// Which study of a database that holds several
    #[arg(long, value_name = "NAME")]
    pub(crate) study_name: Option<String>,
    /// What the metric is called there; for several objectives of Optuna its number
    #[arg(long, value_name = "NAME")]
    pub(crate) metric: Option<String>,
    /// A parameter's name there and here; may be given several times
    #[arg(long, value_name = "THERE=HERE", value_parser = renamed)]
    pub(crate) map: Vec<(String, String)>,
    /// The value of a parameter that is not named there; may be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) set: Vec<String>,
    /// What the trials are to the study
    #[arg(long = "as", value_name = "USE", value_enum, default_value_t = ImportUse::Evidence)]
    pub(crate) used: ImportUse,
    /// How many of the best are tried here, before anything else
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub(crate) rerun: u32,
    /// Only say what would be imported
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Where study directories are
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub(crate) dir: PathBuf,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = TextFormat::Text)]
    pub(crate) format: TextFormat,
}

/// What imported trials are to a study.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ImportUse {
    /// The search learns from their values
    Evidence,
    /// The same, and they can be the best
    Trials,
    /// Only where the good ones were: for values on another scale
    Prior,
}

impl From<ImportUse> for hpo_study::ImportAs {
    fn from(used: ImportUse) -> Self {
        match used {
            ImportUse::Evidence => Self::Evidence,
            ImportUse::Trials => Self::Trials,
            ImportUse::Prior => Self::Prior,
        }
    }
}

fn renamed(text: &str) -> Result<(String, String), String> {
    let pair = text
        .split_once('=')
        .filter(|(a, b)| !a.is_empty() && !b.is_empty());
    let (there, here) = pair.ok_or("write THERE=HERE, for example learning_rate=lr")?;
    Ok((there.to_owned(), here.to_owned()))
}

/// A whole study, or one of its trials.
#[derive(Debug, Args)]
pub(crate) struct WhoseArguments {
    /// The trial's number; without it the whole study
    #[arg(value_name = "TRIAL")]
    pub(crate) trial: Option<u32>,
    #[command(flatten)]
    pub(crate) study: NamedStudyArguments,
}

/// Which study, where the positional arguments are others.
#[derive(Debug, Args)]
pub(crate) struct NamedStudyArguments {
    /// The study: its name, its directory, or its study file. Without it: the only study under
    /// --dir, or the one written to last
    #[arg(short = 's', long = "study", value_name = "STUDY")]
    pub(crate) named: Option<PathBuf>,
    /// Where study directories are
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub(crate) dir: PathBuf,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = TextFormat::Text)]
    pub(crate) format: TextFormat,
}

/// Write a study file to start from
///
/// Given a program, runs it once with `--help` (nothing else), reads its options with their defaults, and proposes what to
/// search: learning rate, optimizer, momentum, betas, weight decay, batch size, dropout, schedule. Understands argparse,
/// click, typer, absl, clap, getopt, and Hydra's configuration. With --sample it finds the metric in a log of the
/// program. Without a program the file is for the trainer that comes with hpo.
///
/// Examples:
///   hpo init train.py
///   hpo init train.py --sample train.log --force
///   hpo init -o -
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct InitArguments {
    /// Your training program: its options are read from what it answers to --help
    #[arg(value_name = "PROGRAM", conflicts_with = "program", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) inspect: Option<String>,
    /// Your training script, of which nothing is read and which is not run
    #[arg(long, value_name = "FILE", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) program: Option<String>,
    /// What PROGRAM printed when it was run once: the metric is looked for in it
    #[arg(long, value_name = "LOGFILE", requires = "inspect")]
    pub(crate) sample: Option<PathBuf>,
    /// The Python that runs PROGRAM
    #[arg(
        long,
        value_name = "PYTHON",
        default_value = "python",
        requires = "inspect"
    )]
    pub(crate) python: String,
    /// How long PROGRAM may take to answer, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60, requires = "inspect", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) timeout: u64,
    /// Write over a file that is there
    #[arg(long)]
    pub(crate) force: bool,
    /// Where to write; `-` is stdout. A file that is there is not touched without --force
    #[arg(short, long, value_name = "FILE", default_value = "study.yaml")]
    pub(crate) output: PathBuf,
}

/// The JSON Schema of the study file, for completion and checks in editors
///
/// Example, for VS Code's YAML extension:  hpo schema > study.schema.json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct SchemaArguments {}

/// The searchers for any program: ask and tell over standard input and output
///
/// Reads one JSON object a line from stdin and answers each with one line on stdout, at once:
/// {"op": "ask"}, {"op": "report", …}, {"op": "tell", …}, {"op": "add", …}. What cannot be heeded is
/// answered with {"error": "the reason"}. Nothing is kept: the search ends with its input.
///
/// The space file is JSON: {"params": [{"name": "lr", "type": "float", "low": 1e-5, "high": 1.0,
/// "log": true}, …], "direction": "minimize"}. Everything about both is in docs/stdio.md.
///
/// Example:  echo '{"op": "ask"}' | hpo stdio --space space.json --seed 1
///
/// Exit codes: 0 the input has ended; 2 wrong usage or space file.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct StdioArguments {
    /// The space file
    #[arg(long, value_name = "FILE")]
    pub(crate) space: PathBuf,
    /// The seed of everything random
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub(crate) seed: u64,
    /// How to search, as `method` in a study file
    #[arg(long, value_name = "METHOD", default_value = "bayes")]
    pub(crate) method: String,
    /// When to stop trials: none, auto, median, percentile, patient, wilcoxon, asha, asha-promotion, sha or hyperband
    #[arg(long, value_name = "RULE", default_value = "none")]
    pub(crate) early_terminate: String,
}

/// The built-in trainer; started by `hpo run`, told by its environment what to do
#[derive(Debug, Args)]
pub(crate) struct TrainArguments {}

/// Starts and minds trials for `hpo run`; started by it
#[derive(Debug, Args)]
pub(crate) struct WardenArguments {
    /// The session's mark
    pub(crate) session: String,
}

/// Send a test message in every way that a study's `notify` names
///
/// Nothing is run. What was answered, or went wrong, is printed; of an address only its host.
///
/// Example:  hpo notify --test study.yaml
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct NotifyArguments {
    /// The study file
    #[arg(long, value_name = "FILE", required = true)]
    pub(crate) test: PathBuf,
}

/// Which study.
#[derive(Debug, Args)]
pub(crate) struct StudyArguments {
    /// The study: its name, its directory, or its study file. Without it: the only study under
    /// --dir, or the one written to last
    #[arg(value_name = "STUDY")]
    pub(crate) positional: Option<PathBuf>,
    /// The same as STUDY
    #[arg(
        short = 's',
        long = "study",
        value_name = "STUDY",
        conflicts_with = "positional"
    )]
    pub(crate) named: Option<PathBuf>,
    /// Where study directories are
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub(crate) dir: PathBuf,
}

/// Text or JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TextFormat {
    /// For people
    #[value(alias = "table")]
    Text,
    /// For programs
    Json,
}

/// A table for people or programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TableFormat {
    /// For people
    Table,
    /// For programs
    Json,
    /// For spreadsheets
    Csv,
}

fn format_parser() -> impl clap::builder::TypedValueParser<Value = Format> {
    use clap::builder::{PossibleValuesParser, TypedValueParser as _};
    PossibleValuesParser::new(Format::ALL.iter().map(|f| f.name()))
        .try_map(|name| name.parse::<Format>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_people_see_explains_itself() {
        for command in Arguments::command()
            .get_subcommands()
            .filter(|c| !c.is_hide_set())
        {
            let long = command
                .get_long_about()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(
                long.contains("Example"),
                "{} has no example",
                command.get_name()
            );
        }
    }

    #[test]
    fn the_page_of_commands_has_every_command_and_option() {
        let page = include_str!("../../../docs/commands.md");
        for command in Arguments::command()
            .get_subcommands()
            .filter(|c| !c.is_hide_set())
        {
            let name = command.get_name();
            let section = page
                .split("\n## ")
                .find(|s| s.starts_with(&format!("hpo {name}")));
            let section = section.unwrap_or_else(|| panic!("{name} has no section"));
            let options = command.get_arguments().filter_map(|a| a.get_long());
            let common = ["study", "dir", "verbose", "help"];
            for option in options.filter(|option| !common.contains(option)) {
                assert!(
                    section.contains(&format!("--{option}")),
                    "{name} --{option}"
                );
            }
        }
    }
}
