//! The command line: the commands, and what several of them take. What only one takes stands in the room of its kind.

mod look;
mod prepare;
mod run;
mod steer;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use hpo_study::TrialId;

pub(crate) use look::{
    BestArguments, DivergenceArguments, GoalArgument, GpusArguments, LogsArguments, LookArguments,
    PruneArguments, ReportArguments, ReportFormat, TrialArguments, TrialsArguments,
};
pub(crate) use prepare::{
    CheckArguments, InitArguments, NotifyArguments, SchemaArguments, StdioArguments,
};
pub(crate) use run::{
    ConfirmArguments, RerunArguments, RunArguments, TrainArguments, WardenArguments,
};
pub(crate) use steer::{
    CancelArguments, EnqueueArguments, ImportArguments, PauseArguments, ResumeArguments,
    SetArguments, StopArguments, WhoseArguments,
};

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

/// Which study, where the positional arguments are others.
#[derive(Debug, Args)]
pub(crate) struct NamedStudyArguments {
    /// The study: its name, its directory, or its study file. Without it: the only study under
    /// --dir, or the one written to last
    #[arg(short = 's', long = "study", value_name = "STUDY")]
    pub(crate) named: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) place: PlaceArguments,
    #[command(flatten)]
    pub(crate) print: PrintArguments,
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
    #[command(flatten)]
    pub(crate) place: PlaceArguments,
}

/// Which trial of which study.
#[derive(Debug, Args)]
pub(crate) struct TrialOfStudyArguments {
    /// The trial's number
    #[arg(value_name = "TRIAL")]
    pub(crate) trial: TrialId,
    #[command(flatten)]
    pub(crate) study: StudyArguments,
}

/// Where studies are.
#[derive(Debug, Args)]
pub(crate) struct PlaceArguments {
    /// Where study directories are
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub(crate) dir: PathBuf,
}

/// How a command says what it has to say.
#[derive(Debug, Args)]
pub(crate) struct PrintArguments {
    /// How to print
    #[arg(short, long, value_enum, default_value_t = TextFormat::Text)]
    pub(crate) format: TextFormat,
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
    #[value(alias = "text")]
    Table,
    /// For programs
    Json,
    /// For spreadsheets
    Csv,
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
