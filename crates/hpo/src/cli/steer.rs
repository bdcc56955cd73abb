//! Arguments of the commands that steer a study, from another terminal or between runs.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{NamedStudyArguments, PlaceArguments, PrintArguments};

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

/// A trial's number. Runs that repeat or confirm a trial are not steered by themselves.
fn number(text: &str) -> Result<u32, &'static str> {
    text.parse()
        .map_err(|_| "write a trial's number, such as 7")
}

/// A whole study, or one of its trials.
#[derive(Debug, Args)]
pub(crate) struct WhoseArguments {
    /// The trial's number; without it the whole study
    #[arg(value_name = "TRIAL", value_parser = number)]
    pub(crate) trial: Option<u32>,
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
/// --as prior: then only where the good ones were counts, as a belief that fades. What this study's own
/// trials do not bear out becomes such a prior by itself (but with --as trials), and hpo status says so.
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
    #[command(flatten)]
    pub(crate) place: PlaceArguments,
    #[command(flatten)]
    pub(crate) print: PrintArguments,
}

/// What imported trials are to a study.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ImportUse {
    /// The search learns from their values, as long as this study's own trials bear them out
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
