//! What becomes of a trial: of a running one after a report, and of one whose process has ended.
//! Pure functions of the history and the scheduler's word.

use std::time::Duration;

use hpo_search::{Scheduler, Verdict};
use hpo_study::causes;
use hpo_study::population;
use hpo_study::protocol::EXIT_RETRY;
use hpo_study::repeats::wanted;
use hpo_study::{
    Attempt, AttemptEnd, DivergencePolicy, EventKind, FailReason, Failure, Finding, History,
    Rescued, StopIntent, StopReason, Timestamp, Trial, TrialState, Verdict as FindingVerdict,
};

use crate::gpu::oom;
use crate::limits::MOST_STALLS;
use crate::watch;

/// A running trial is stopped as diverged when this many objectives in a row are not finite.
pub const NON_FINITE_IN_A_ROW: usize = 3;
/// How often a trial is started again because its process asked for it (exit code 75), or found no room
/// on a disk.
pub const MOST_RETRIES: usize = 20;
/// How long a trial waits before it is started again because its process asked for it: this long the
/// first time, and twice as long each further time, …
pub const FIRST_RETRY_AFTER: Duration = Duration::from_secs(1);
/// … but never longer than this. All retries together wait for about an hour.
pub const LATEST_RETRY_AFTER: Duration = Duration::from_secs(300);
/// How often a trial is started again because it lost its process together with the coordinator.
/// That is hardly ever the trial's fault; but one that brings the machine down has to end somewhere.
pub const MOST_ORPHANED: usize = 50;

/// Whether the process of a running trial is to be ended, and what becomes of the trial then.
///
/// A trial that has come exactly to its target is left to end by itself: it was told its target,
/// and a signal could tear the checkpoint it is writing. One that went past it is ended.
pub(crate) fn while_running(
    history: &History,
    scheduler: &dyn Scheduler,
    trial: &Trial,
) -> Option<StopIntent> {
    trial.curve.last()?;
    if trial.is_again() {
        return None; // Its full length is what is wanted of it.
    }
    match scheduler.judge(history, trial.id) {
        Verdict::Continue => None,
        Verdict::Pause if trial.target.is_some() && trial.curve.last_step() == trial.target => None,
        Verdict::Pause => Some(StopIntent::Pause),
        Verdict::Stop { evidence } => Some(StopIntent::Stop {
            reason: StopReason::Pruned { evidence },
        }),
    }
}

/// Whether a running trial is to be ended because its reports show that going on is of no use.
pub(crate) fn when_hopeless(history: &History, trial: &Trial) -> Option<StopIntent> {
    let wishes = &history.spec().divergence;
    let found = trial.hopeless().filter(|finding| wishes.stops(finding));
    if let Some(rescue) = found.and_then(|finding| rescue(history, trial, finding)) {
        return Some(StopIntent::Rescue { rescue });
    }
    let reason = match divergence(history, trial) {
        Some(evidence) => StopReason::Diverged { evidence },
        None => given_up(found?),
    };
    Some(StopIntent::Stop { reason })
}

/// How a hopeless trial is to go on, if the study has it rescued, it has a learning rate, and it was
/// better than chance once: there is nothing to go back to in a run that never learned.
fn rescue(history: &History, trial: &Trial, finding: &Finding) -> Option<Rescued> {
    let spec = history.spec();
    let wishes = spec.divergence.rescue.as_ref()?;
    if trial.rescues.len() >= wishes.attempts as usize || trial.is_again() {
        return None;
    }
    let (parameter, from) = ["lr", "learning_rate"]
        .iter()
        .find_map(|name| Some(((*name).to_owned(), trial.config.number(name)?)))?;
    let healthy_step = last_good_step(history, trial, finding)?;
    Some(Rescued {
        parameter,
        from,
        to: from * wishes.lr_factor,
        healthy_step,
        evidence: finding.detail.clone(),
    })
}

/// The step of the best report before a trial was lost; `None` when it was never better than chance,
/// or, where that is unknown, than at first.
fn last_good_step(history: &History, trial: &Trial, finding: &Finding) -> Option<u64> {
    let goal = history.spec().watched().goal;
    let points = watch::points(history, trial);
    let nothing = finding.chance.or(history.spec().divergence.chance);
    let nothing = nothing.or(points.first().map(|(_, value)| *value))?;
    let lost = finding.since.unwrap_or(u64::MAX);
    let mut best: Option<(u64, f64)> = None;
    for (step, value) in points {
        let is_better = best.is_none_or(|(_, best)| goal.better(value, best));
        if step <= lost && value.is_finite() && goal.better(value, nothing) && is_better {
            best = Some((step, value));
        }
    }
    let learned = finding.best.is_some() || finding.non_finite.is_some();
    best.filter(|_| learned).map(|(step, _)| step)
}

/// Why a trial in which this was found is ended.
fn given_up(finding: &Finding) -> StopReason {
    let evidence = finding.detail.clone();
    match finding.verdict {
        FindingVerdict::Stuck => StopReason::Stuck { evidence },
        FindingVerdict::NoProgress => StopReason::NoProgress { evidence },
        _ => StopReason::Diverged { evidence },
    }
}

/// The numbers that show that a trial's objective is no number any more. This is so sure a sign that
/// it counts whatever is known of the trial, unless the study wants nobody to look.
fn divergence(history: &History, trial: &Trial) -> Option<String> {
    if history.spec().divergence.policy == DivergencePolicy::Off {
        return None;
    }
    let mut last: Vec<(u64, f64)> = trial
        .curve
        .objectives()
        .rev()
        .take(NON_FINITE_IN_A_ROW)
        .collect();
    if last.len() < NON_FINITE_IN_A_ROW || last.iter().any(|(_, value)| value.is_finite()) {
        return None;
    }
    last.reverse();
    let rows: Vec<String> = last
        .iter()
        .map(|(step, value)| format!("{value} at step {step}"))
        .collect();
    Some(format!(
        "{} was not finite in {NON_FINITE_IN_A_ROW} reports in a row: {}",
        history.spec().metric.name,
        rows.join(", ")
    ))
}

/// What becomes of a trial whose last attempt has ended; `None` while it has not.
///
/// A trial whose process was ended on purpose takes what was intended, however the process went:
/// one that is told to end may well leave with 0 or crash on its way out. The one exception: a
/// trial that was to be put back, but left with 0 after the last step asked of it, is done.
/// Without a known last step a 0 may just as well be a tidy answer to the signal.
pub(crate) fn after_end(
    history: &History,
    scheduler: &dyn Scheduler,
    trial: &Trial,
) -> Option<EventKind> {
    let attempt = trial.attempt()?;
    let end = attempt.end.as_ref()?;
    let id = trial.id;
    Some(match &trial.state {
        // Who went beyond the end of an interval has come to it all the same.
        TrialState::Stopping(StopIntent::Pause) if population::of(history).is_some() => {
            done(history, scheduler, trial)
        }
        TrialState::Stopping(StopIntent::Pause) => EventKind::TrialPaused { trial: id },
        TrialState::Stopping(StopIntent::Stop { reason }) => EventKind::TrialStopped {
            trial: id,
            reason: reason.clone(),
        },
        TrialState::Stopping(StopIntent::Rescue { rescue }) => EventKind::TrialRescued {
            trial: id,
            rescue: rescue.clone(),
        },
        TrialState::Stopping(
            StopIntent::Requeue | StopIntent::MakeRoom { .. } | StopIntent::Stall { .. },
        ) if is_exit(end, 0) && at_last_step(history, trial) => {
            by_itself(history, scheduler, trial, end)
        }
        TrialState::Stopping(StopIntent::Requeue | StopIntent::MakeRoom { .. }) => {
            EventKind::TrialRequeued { trial: id }
        }
        TrialState::Stopping(StopIntent::Stall { evidence }) => {
            let stalls = trial.attempts.iter().filter(|a| a.stalled).count();
            let evidence = evidence.clone();
            again(
                trial,
                stalls <= MOST_STALLS,
                FailReason::Stalled { evidence },
            )
        }
        _ => by_itself(history, scheduler, trial, end),
    })
}

/// What becomes of a trial whose process ended by itself.
fn by_itself(
    history: &History,
    scheduler: &dyn Scheduler,
    trial: &Trial,
    end: &AttemptEnd,
) -> EventKind {
    match end {
        end if not_now(end) => {
            let retries = count(trial, |a| a.end.as_ref().is_some_and(not_now));
            let (how, stderr) = match end {
                AttemptEnd::Exited { code, stderr } if *code == EXIT_RETRY => {
                    (format!("exit code {EXIT_RETRY} (retry me)"), stderr.clone())
                }
                end => (
                    "no space left on a disk".to_owned(),
                    last_words(end).to_owned(),
                ),
            };
            let how = format!("{how}, {retries} times");
            again(
                trial,
                retries <= MOST_RETRIES,
                FailReason::Crash { how, stderr },
            )
        }
        AttemptEnd::Exited { code: 0, .. } => done(history, scheduler, trial),
        AttemptEnd::Exited { code, stderr } => {
            crashed(history, trial, format!("exit code {code}"), stderr)
        }
        AttemptEnd::Signaled { signal, stderr } => crashed(
            history,
            trial,
            format!("killed by {}", signal_name(*signal)),
            stderr,
        ),
        AttemptEnd::OutOfMemory { oom, .. } => oom::after(history, trial, oom),
        AttemptEnd::NotStarted { error } => failed(
            trial,
            FailReason::NotStarted {
                error: error.clone(),
            },
        ),
        AttemptEnd::Lost => again(trial, may_be_lost_again(history, trial), FailReason::Lost),
    }
}

/// The process left with 0: the trial is judged once more, and if there is nothing against it, it
/// has come to its end (at its target, or before it because the script has no more to do).
fn done(history: &History, scheduler: &dyn Scheduler, trial: &Trial) -> EventKind {
    let Some((step, value)) = trial.curve.last() else {
        let objective = &history.spec().metric.name;
        return failed(trial, crate::unheard::reason(history, trial, objective));
    };
    if let Some(fate) = crate::objectives::fate(history, trial) {
        return fate;
    }
    let verdict = match trial.is_again() {
        true => Verdict::Continue,
        false => scheduler.judge(history, trial.id),
    };
    match verdict {
        Verdict::Stop { evidence } => EventKind::TrialStopped {
            trial: trial.id,
            reason: StopReason::Pruned { evidence },
        },
        Verdict::Pause if at_target(trial) => EventKind::TrialPaused { trial: trial.id },
        _ if value.is_finite() && wanted(history) > 1 && !trial.is_again() => {
            EventKind::TrialRepeating { trial: trial.id }
        }
        _ if value.is_finite() => EventKind::TrialCompleted { trial: trial.id },
        _ => {
            let metric = &history.spec().metric.name;
            let evidence = format!("{metric} was {value} at the last step, {step}");
            EventKind::TrialStopped {
                trial: trial.id,
                reason: StopReason::Diverged { evidence },
            }
        }
    }
}

/// The process ended with an error. When the last objective it reported was not finite the error
/// is the divergence's (many scripts assert that the loss is finite), and trying again is of no use.
fn crashed(history: &History, trial: &Trial, how: String, stderr: &str) -> EventKind {
    if let Some((step, value)) = trial.curve.last().filter(|(_, value)| !value.is_finite()) {
        let metric = &history.spec().metric.name;
        let evidence =
            format!("{metric} was {value} at step {step}, then the process ended: {how}");
        return EventKind::TrialStopped {
            trial: trial.id,
            reason: StopReason::Diverged { evidence },
        };
    }
    let crashes = count(trial, is_crash);
    let allowed = crashes <= history.spec().failure.crash_retries as usize;
    again(
        trial,
        allowed,
        FailReason::Crash {
            how,
            stderr: stderr.to_owned(),
        },
    )
}

/// When a trial whose process asked to be started again (a busy GPU, say) may be; `None`: at once.
pub(crate) fn retry_at(trial: &Trial) -> Option<Timestamp> {
    let last = trial.attempt()?;
    let asked = |a: &Attempt| a.end.as_ref().is_some_and(not_now);
    if last.stop_requested || !asked(last) {
        return None;
    }
    let earlier = count(trial, asked).saturating_sub(1);
    let factor = 1_u32
        .checked_shl(u32::try_from(earlier).ok()?)
        .unwrap_or(u32::MAX);
    let wait = FIRST_RETRY_AFTER
        .saturating_mul(factor)
        .min(LATEST_RETRY_AFTER);
    Some(last.ended?.plus(wait))
}

fn again(trial: &Trial, allowed: bool, reason: FailReason) -> EventKind {
    if allowed {
        EventKind::TrialRequeued { trial: trial.id }
    } else {
        failed(trial, reason)
    }
}

fn failed(trial: &Trial, reason: FailReason) -> EventKind {
    EventKind::TrialFailed {
        trial: trial.id,
        reason,
    }
}

/// Whether the trial has reported the step up to which it was to run this time.
fn at_target(trial: &Trial) -> bool {
    trial
        .target
        .is_some_and(|target| trial.curve.last_step() >= Some(target))
}

/// Whether the trial has reported the last step asked of it, where one is known.
fn at_last_step(history: &History, trial: &Trial) -> bool {
    let last = trial.target.or(history.spec().max_steps());
    last.is_some_and(|last| trial.curve.last_step() >= Some(last))
}

fn is_exit(end: &AttemptEnd, wanted: i32) -> bool {
    matches!(end, AttemptEnd::Exited { code, .. } if *code == wanted)
}

/// Whether a process ended because it could not go on just now: it said so, or there was no room on a
/// disk. That costs a trial none of its retries.
fn not_now(end: &AttemptEnd) -> bool {
    is_exit(end, EXIT_RETRY) || causes::is_disk_full(last_words(end))
}

fn last_words(end: &AttemptEnd) -> &str {
    match end {
        AttemptEnd::Exited { stderr, .. } | AttemptEnd::Signaled { stderr, .. } => stderr,
        AttemptEnd::NotStarted { .. } | AttemptEnd::OutOfMemory { .. } | AttemptEnd::Lost => "",
    }
}

fn is_crash(attempt: &Attempt) -> bool {
    match &attempt.end {
        Some(end) if not_now(end) => false,
        Some(AttemptEnd::Exited { code, .. }) => *code != 0,
        Some(AttemptEnd::Signaled { .. }) => true,
        _ => false,
    }
}

/// How many of the last trials failed in a row, and the word for it: those that failed alike; but if
/// even all of them together are very many, all.
pub(crate) fn failures(history: &History) -> (u32, &'static str) {
    let limit = history.spec().failure.stop_after_consecutive;
    let all = history.failures_in_a_row();
    if all >= limit.saturating_mul(Failure::UNLIKE) {
        (all, "")
    } else {
        (history.failures_alike(), " alike")
    }
}

/// How many attempts that were left to themselves ended like this.
fn count(trial: &Trial, like: impl Fn(&Attempt) -> bool) -> usize {
    trial
        .attempts
        .iter()
        .filter(|a| !a.stop_requested && like(a))
        .count()
}

/// Whether a trial that lost its process may be started again. An attempt was lost together with
/// its coordinator when the next one (or the present) belongs to a later session.
fn may_be_lost_again(history: &History, trial: &Trial) -> bool {
    let after = trial
        .attempts
        .iter()
        .skip(1)
        .map(|a| a.session)
        .chain([history.sessions()]);
    let lost = trial
        .attempts
        .iter()
        .zip(after)
        .filter(|(a, _)| a.end == Some(AttemptEnd::Lost));
    let (orphaned, vanished): (Vec<_>, Vec<_>) = lost.partition(|(a, after)| a.session < *after);
    vanished.len() <= history.spec().failure.lost_retries as usize
        && orphaned.len() <= MOST_ORPHANED
}

/// A signal as people know it (numbers as on Linux).
fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}

/// The words for people that say why a trial failed.
pub(crate) fn failure_detail(reason: &FailReason) -> String {
    match reason {
        FailReason::Crash { how, stderr } => match causes::last_line(stderr) {
            "" => how.clone(),
            line => format!("{how}: {line}"),
        },
        FailReason::NotStarted { error } => format!("it could not be started: {error}"),
        FailReason::NoMetric { evidence, output } => {
            match output.lines().map(str::trim).rfind(|line| !line.is_empty()) {
                Some(line) => format!("{evidence}; the last it printed: {line}"),
                None => evidence.clone(),
            }
        }
        FailReason::Lost => "its process vanished".to_owned(),
        FailReason::Oom { evidence, .. } => evidence.clone(),
        FailReason::Stalled { evidence } => evidence.clone(),
    }
}
