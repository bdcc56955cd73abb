//! Arguments of the commands that come before a study: its file, and what it will do.

use std::path::PathBuf;

use clap::Args;

use super::PrintArguments;

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
    #[command(flatten)]
    pub(crate) print: PrintArguments,
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
