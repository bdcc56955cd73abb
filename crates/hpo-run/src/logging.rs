//! Two logs of one stream of words: for people on stderr, and as JSON lines in the study's directory.

use std::fs::File;
use std::io::{IsTerminal as _, Write};
use std::path::Path;
use std::sync::Mutex;

use hpo_study::{Event, EventKind, History, Trial, TrialId};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt};

use crate::error::RunError;
use crate::files::LOG;

/// Libraries whose own words hold addresses, which may be secrets.
const SECRETIVE: [&str; 2] = ["ureq", "ureq_proto"];

/// Sets up logging for the whole program; only the first call has an effect.
///
/// People's words go to `words` (usually stderr, or a writer that keeps clear of a live view):
/// warnings; from `verbosity` 1 on what happens to trials, from 2 on details, from 3 on everything.
/// The variable `RUST_LOG` wins over `verbosity`. With a `study_dir`, JSON lines are appended to its
/// [`LOG`] whatever the verbosity; every line about a trial has the fields `trial` and `attempt`.
///
/// # Errors
/// When the log file cannot be opened.
pub fn init_logging<W>(verbosity: u8, study_dir: Option<&Path>, words: W) -> Result<(), RunError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let default = match verbosity {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let filter = EnvFilter::builder()
        .with_default_directive(default.into())
        .from_env_lossy();
    let filter = SECRETIVE.into_iter().fold(filter, |filter, target| {
        match format!("{target}=off").parse() {
            Ok(directive) => filter.add_directive(directive),
            Err(_) => filter,
        }
    });
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let people = fmt::layer()
        .with_writer(words)
        .with_ansi(colour)
        .with_target(false)
        .without_time()
        .compact()
        .with_filter(filter);
    let machines = match study_dir {
        Some(dir) => {
            let path = dir.join(LOG);
            hpo_store::private::directory(dir)?;
            let file = hpo_store::private::options()
                .append(true)
                .create(true)
                .open(&path);
            let file = Mutex::new(Forgiving(file.map_err(RunError::io(&path))?));
            let level = default.max(LevelFilter::INFO);
            let off = SECRETIVE.map(|target| (target, LevelFilter::OFF));
            let filter = Targets::new().with_default(level).with_targets(off);
            Some(
                fmt::layer()
                    .json()
                    .flatten_event(true)
                    .with_writer(file)
                    .with_filter(filter),
            )
        }
        None => None,
    };
    // A second call finds a subscriber in place; its words are not worth failing for.
    let _ = tracing_subscriber::registry()
        .with(people)
        .with(machines)
        .try_init();
    Ok(())
}

/// A log that cannot be written (the disk is full) is no reason to say anything, and least of all on the
/// screen.
struct Forgiving(File);

impl Write for Forgiving {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let _ = self.0.write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Logs what happened, with the history after it. Reports are many, and are details.
pub(crate) fn log_event(history: &History, event: &Event) {
    match &event.kind {
        EventKind::StudyOpened { spec, .. } => tracing::info!(study = spec.name, "study opened"),
        EventKind::SpecChanged { .. } => tracing::info!("the study file was changed"),
        EventKind::SessionStarted { pid, host } => tracing::info!(pid, host, "session started"),
        EventKind::UserRequest { request, .. } => {
            tracing::info!(request = plain(request), "the user's wish");
        }
        EventKind::DrainRequested => tracing::info!("no new trials are started"),
        EventKind::ClockMoved { from } => {
            let gap_s = event.at.since(*from).as_secs();
            tracing::info!(gap_s, "the machine slept, or its clock was set");
        }
        EventKind::Unattended { from } => {
            let gap_s = event.at.since(*from).as_secs();
            tracing::info!(gap_s, "nobody ran the study");
        }
        EventKind::StudyEnded { end } => tracing::info!(end = plain(end), "study ended"),
        EventKind::AttemptLaunching {
            trial,
            attempt,
            target,
            assignment,
        } => {
            let assignment = assignment.as_ref().map(plain);
            tracing::info!(
                trial = trial.0,
                attempt = attempt.0,
                target,
                assignment,
                "launching"
            );
        }
        EventKind::TrialWaiting { trial, waiting } => {
            tracing::info!(trial = trial.0, waiting = plain(waiting), "trial waits");
        }
        EventKind::MemoryMeasured {
            trial,
            attempt,
            memory,
        } => {
            tracing::info!(
                trial = trial.0,
                attempt = attempt.0,
                memory = plain(memory),
                "memory measured"
            );
        }
        EventKind::GpuChanged { gpu, lost } => match lost {
            Some(why) => tracing::warn!(gpu, why, "a GPU cannot be used"),
            None => tracing::info!(gpu, "a GPU can be used again"),
        },
        EventKind::AttemptStarted {
            trial,
            attempt,
            pid,
        } => {
            tracing::info!(trial = trial.0, attempt = attempt.0, pid, "started");
        }
        EventKind::Reported {
            trial,
            attempt,
            step,
            metrics,
        } => {
            tracing::debug!(
                trial = trial.0,
                attempt = attempt.0,
                step,
                ?metrics,
                "reported"
            );
        }
        EventKind::Found {
            trial,
            attempt,
            finding,
        } => {
            tracing::info!(
                trial = trial.0,
                attempt = attempt.0,
                verdict = finding.verdict.word(),
                rule = finding.rule,
                certain = finding.certain,
                detail = finding.detail,
                "found"
            );
        }
        EventKind::StopRequested {
            trial,
            attempt,
            intent,
        } => {
            tracing::info!(
                trial = trial.0,
                attempt = attempt.0,
                intent = plain(intent),
                "to be ended"
            );
        }
        EventKind::AttemptEnded {
            trial,
            attempt,
            end,
        } => {
            tracing::info!(
                trial = trial.0,
                attempt = attempt.0,
                end = plain(end),
                "process ended"
            );
        }
        EventKind::ConfirmRequested { confirm } => {
            tracing::info!(confirm = plain(confirm), "the best are to be confirmed");
        }
        EventKind::ConfirmationSuggested {
            trial, confirms, ..
        } => {
            let (trial, confirms) = (trial.to_string(), confirms.0);
            tracing::info!(run = trial, confirms, "a trial is run again");
        }
        EventKind::RepeatSuggested { trial, repeats, .. } => {
            let (trial, repeats) = (trial.to_string(), repeats.0);
            tracing::info!(run = trial, repeats, "a trial is run with a further seed");
        }
        EventKind::RepeatsGivenUp { trial, evidence } => {
            tracing::info!(
                trial = trial.0,
                evidence,
                "a trial is not run with further seeds"
            );
        }
        EventKind::TrialsImported { batch } => {
            tracing::info!(batch = plain(batch), "trials imported");
        }
        EventKind::TrialImported { trial, origin } => {
            tracing::debug!(trial = trial.0, origin = plain(origin), "trial imported");
        }
        EventKind::TrialForked { trial, from } => {
            tracing::info!(
                trial = trial.0,
                parent = from.trial.0,
                step = from.step,
                "a trial begins from another's checkpoint"
            );
        }
        EventKind::SnapshotTaken { snapshot } => {
            tracing::info!(snapshot = plain(snapshot), "code and environment noted");
        }
        EventKind::TrialSuggested { trial, .. }
        | EventKind::TrialRepeating { trial }
        | EventKind::TrialPaused { trial }
        | EventKind::TrialRequeued { trial }
        | EventKind::TrialRescued { trial, .. }
        | EventKind::TrialCompleted { trial }
        | EventKind::TrialStopped { trial, .. }
        | EventKind::TrialFailed { trial, .. } => log_trial(history, *trial, &event.kind),
    }
}

/// A part of an event as the study database has it: JSON in one line, for people and machines alike.
fn plain(part: &impl serde::Serialize) -> String {
    serde_json::to_string(part).unwrap_or_default()
}

/// Logs what happened to a trial as a whole; `attempt` is its latest, 0 before the first.
fn log_trial(history: &History, trial: TrialId, kind: &EventKind) {
    let record = history.trial(trial);
    let attempt = record.and_then(Trial::attempt).map_or(0, |a| a.number.0);
    let value = record.and_then(Trial::value);
    let trial = trial.0;
    match kind {
        EventKind::TrialSuggested { config, .. } => {
            tracing::info!(trial, attempt, %config, "trial suggested");
        }
        EventKind::TrialPaused { .. } => tracing::info!(trial, attempt, value, "trial paused"),
        EventKind::TrialRescued { rescue, .. } => {
            tracing::info!(trial, attempt, rescue = plain(rescue), "trial rescued");
        }
        EventKind::TrialRequeued { .. } => tracing::info!(trial, attempt, "trial put back"),
        EventKind::TrialCompleted { .. } => {
            tracing::info!(trial, attempt, value, "trial completed")
        }
        EventKind::TrialStopped { reason, .. } => {
            tracing::info!(
                trial,
                attempt,
                value,
                reason = reason.word(),
                detail = plain(reason),
                "trial stopped"
            );
        }
        // No warning: whoever looks on (the `View`) says it in better words.
        EventKind::TrialFailed { reason, .. } => {
            tracing::info!(
                trial,
                attempt,
                reason = reason.word(),
                detail = plain(reason),
                "trial failed"
            );
        }
        _ => {}
    }
}
