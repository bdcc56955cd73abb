//! Arguments of the commands that run trials.

use std::path::PathBuf;

use clap::Args;

use super::{PlaceArguments, StudyArguments, TrialOfStudyArguments};

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
    #[command(flatten)]
    pub(crate) place: PlaceArguments,
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
    #[command(flatten)]
    pub(crate) which: TrialOfStudyArguments,
    /// Only print the command with its environment, for a shell
    #[arg(long)]
    pub(crate) print: bool,
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
