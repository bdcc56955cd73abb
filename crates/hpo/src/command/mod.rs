//! The commands, one file each.

mod best;
mod check;
mod confirm;
mod control;
mod divergence;
mod gpus;
mod import;
mod init;
mod inspect;
mod logs;
mod notify;
mod prune_runs;
mod report;
mod rerun;
mod run;
mod sample;
mod schema;
mod status;
mod stdio;
mod train;
mod trial;
mod trials;
mod warden;

use crate::cli::{Arguments, Command};
use crate::failure::{Exit, Failure};

/// Does what the command line asks for.
pub(crate) fn perform(arguments: Arguments) -> Result<Exit, Failure> {
    match &arguments.command {
        Command::Run(run) => run::perform(run, arguments.verbose),
        Command::Confirm(confirm) => confirm::perform(confirm, arguments.verbose),
        Command::Rerun(rerun) => rerun::perform(rerun),
        Command::Check(check) => check::perform(check),
        Command::Status(status) => status::perform(status),
        Command::Trials(trials) => trials::perform(trials),
        Command::Trial(trial) => trial::perform(trial),
        Command::Logs(logs) => logs::perform(logs),
        Command::PruneRuns(prune) => prune_runs::perform(prune),
        Command::Best(best) => best::perform(best),
        Command::Report(report) => report::perform(report),
        Command::Divergence(divergence) => divergence::perform(divergence),
        Command::Pause(pause) => control::pause(&pause.whose),
        Command::Resume(resume) => control::resume(&resume.whose),
        Command::Stop(stop) => control::stop(&stop.whose),
        Command::Cancel(cancel) => control::cancel(&cancel.whose),
        Command::Set(set) => control::set(set),
        Command::Enqueue(enqueue) => control::enqueue(enqueue),
        Command::Import(import) => import::perform(import),
        Command::Notify(notify) => notify::perform(notify),
        Command::Gpus(gpus) => gpus::perform(gpus),
        Command::Init(init) => init::perform(init),
        Command::Schema(_) => schema::perform(),
        Command::Stdio(stdio) => stdio::perform(stdio),
        Command::Train(_) => train::perform(arguments.verbose),
        Command::Warden(warden) => warden::perform(warden),
    }
}
