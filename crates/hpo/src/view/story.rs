//! What is worth a line of its own, and in which words.

use std::collections::{BTreeMap, BTreeSet};

use hpo_report::number::short;
use hpo_report::status::{counts, eta, finished};
use hpo_report::text::printable_lines;
use hpo_report::trials::{detail, duration, key_configuration};
use hpo_study::control::Request;
use hpo_study::{
    AttemptEnd, Event, EventKind, FailReason, Finding, History, StopIntent, StopReason, Timestamp,
    Trial, TrialId, TrialState, Verdict, WaitReason, causes,
};

/// How a line is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Something went on.
    Plain,
    /// There is a new best.
    Good,
    /// A trial was stopped early, or tried again.
    Mild,
    /// A trial failed.
    Bad,
}

/// A line for people; more lines behind it where a failure is told in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) tone: Tone,
    pub(crate) text: String,
}

/// What a user asked for from another terminal. What ends something is told when that is done.
fn asked(request: &Request) -> Option<Line> {
    let text = match request {
        Request::Pause => "paused: no new trials are started until `hpo resume`".to_owned(),
        Request::Resume => "going on".to_owned(),
        Request::PauseTrial { trial } => {
            format!("trial {trial} is to wait until `hpo resume {trial}`")
        }
        Request::ResumeTrial { trial } => format!("trial {trial} may go on"),
        Request::Set { trial, values } => format!("trial {trial} goes on with {values}"),
        Request::Import { .. } => "trials from elsewhere".to_owned(),
        Request::Enqueue { config, .. } => format!("to be tried next: {config}"),
        Request::Limits { limits } => format!("from now on: {}", limits.words()),
        Request::Stop
        | Request::Cancel
        | Request::StopTrial { .. }
        | Request::CancelTrial { .. } => return None,
    };
    Some(plain(text))
}

/// Tells a study's events; remembers what it has told.
#[derive(Debug, Default)]
pub(crate) struct Story {
    /// The kinds of failures that were told in full.
    failures: BTreeSet<String>,
    best: Option<TrialId>,
    /// Why trials wait, as it was told.
    waits: BTreeMap<TrialId, WaitReason>,
    ending: bool,
}

impl Story {
    /// The line for an event, if it is worth one. What trials and study files say in it is no command to a terminal.
    pub(crate) fn tell(&mut self, history: &History, event: &Event) -> Option<Line> {
        let mut line = self.line(history, event)?;
        line.text = printable_lines(&line.text);
        Some(line)
    }

    fn line(&mut self, history: &History, event: &Event) -> Option<Line> {
        let trial = |id: &TrialId| history.trial(*id);
        match &event.kind {
            EventKind::SessionStarted { .. } => {
                self.best = history.best().map(|best| best.id);
                Some(plain(beginning(history)))
            }
            EventKind::SpecChanged { .. } => Some(plain(
                "the study file was changed since; the change is taken over".to_owned(),
            )),
            EventKind::ConfirmationSuggested {
                trial, confirms, ..
            } => Some(plain(format!(
                "trial {confirms} is run again with a fresh seed, as {trial}"
            ))),
            EventKind::TrialRepeating { trial: id } => {
                let trial = trial(id)?;
                let value = trial.value().map_or_else(|| "no value".to_owned(), short);
                let metric = &history.spec().metric.name;
                Some(plain(format!(
                    "trial {id} has run once: {metric} = {value}"
                )))
            }
            EventKind::RepeatsGivenUp { trial, evidence } => Some(Line {
                tone: Tone::Mild,
                text: format!("trial {trial} is not run with further seeds: {evidence}"),
            }),
            EventKind::SnapshotTaken { .. } => {
                let [.., before, now] = history.code() else {
                    return None;
                };
                (before.code != now.code).then(|| Line {
                    tone: Tone::Bad,
                    text: "the code has changed since the session before: values before and after \
                           may not be comparable; snapshot/ has both"
                        .to_owned(),
                })
            }
            EventKind::Found {
                trial: id, finding, ..
            } => found(history, trial(id)?, finding),
            EventKind::TrialCompleted { trial: id } => Some(self.completed(history, trial(id)?)),
            EventKind::TrialStopped { trial: id, reason } => Some(Line {
                tone: Tone::Mild,
                text: stopped(trial(id)?, reason),
            }),
            EventKind::TrialFailed { trial: id, reason } => {
                let detail = detail(&TrialState::Failed(reason.clone()));
                let detail = detail.map_or_else(String::new, |detail| format!(": {detail}"));
                let mut text = match reason {
                    FailReason::Oom { .. } => format!("trial {id} is infeasible (oom){detail}"),
                    _ => format!("trial {id} failed ({}){detail}", reason.word()),
                };
                if self.failures.insert(causes::signature(reason)) {
                    for line in super::failing::lines(trial(id)?, reason) {
                        text = text + "\n" + &line;
                    }
                }
                Some(Line {
                    tone: Tone::Bad,
                    text,
                })
            }
            EventKind::TrialRescued { trial, rescue } => Some(Line {
                tone: Tone::Mild,
                text: format!(
                    "trial {trial} goes back to step {} with {} {} → {}: {}",
                    rescue.healthy_step,
                    rescue.parameter,
                    short(rescue.from),
                    short(rescue.to),
                    rescue.evidence
                ),
            }),
            EventKind::TrialRequeued { trial: id } => again(trial(id)?),
            EventKind::TrialWaiting { trial, waiting } => {
                // Fresh numbers for the same reason are for those who ask.
                let told = self.waits.insert(*trial, waiting.reason);
                (told != Some(waiting.reason))
                    .then(|| plain(format!("trial {trial} waits: {}", waiting.detail)))
            }
            EventKind::AttemptLaunching { trial, .. } => {
                self.waits.remove(trial);
                None
            }
            EventKind::GpuChanged { gpu, lost } => Some(match lost {
                Some(why) => Line {
                    tone: Tone::Bad,
                    text: format!("{gpu} cannot be used, nothing is started on it: {why}"),
                },
                None => plain(format!("{gpu} can be used again")),
            }),
            EventKind::StopRequested {
                trial,
                intent: StopIntent::MakeRoom { evidence, .. },
                ..
            } => Some(Line {
                tone: Tone::Mild,
                text: format!("trial {trial} is put back to make room: {evidence}"),
            }),
            EventKind::UserRequest { request, .. } => asked(request),
            EventKind::ClockMoved { from } => Some(plain(format!(
                "the machine slept, or its clock was set: {} are not counted",
                hpo_report::number::time(event.at.since(*from))
            ))),
            EventKind::DrainRequested => Some(plain(draining(history))),
            // That a user pauses one has been told.
            EventKind::StopRequested {
                trial: id,
                intent: StopIntent::Requeue,
                ..
            } if !self.ending && !trial(id)?.held => {
                self.ending = true;
                Some(plain(
                    "ending the running trials; the same command goes on with them".to_owned(),
                ))
            }
            _ => None,
        }
    }

    fn completed(&mut self, history: &History, trial: &Trial) -> Line {
        let metric = &history.spec().metric.name;
        let value = trial.value().map_or_else(|| "no value".to_owned(), short);
        if let Some(original) = trial.confirms {
            let single = history.trial(original).and_then(Trial::value);
            let single = single.map_or_else(String::new, |v| format!("; {} when found", short(v)));
            return plain(format!(
                "{} (trial {original} again) completed: {metric} = {value}{single}",
                trial.id
            ));
        }
        if let Some(original) = trial.repeat_of {
            return plain(format!(
                "{} (trial {original} with another seed) completed: {metric} = {value}",
                trial.id
            ));
        }
        if history.spec().has_several() {
            return joined(history, trial);
        }
        let is_best = history.best().is_some_and(|best| best.id == trial.id);
        let seeds = hpo_report::repeats::words(trial);
        let seeds = seeds.map_or_else(String::new, |words| format!(" ({words})"));
        let text = format!(
            "trial {} completed in {}: {metric} = {value}{seeds}{}",
            trial.id,
            hpo_report::number::time(duration(trial, trial.ended.unwrap_or_default())),
            after_spikes(trial)
        );
        if is_best && self.best != Some(trial.id) {
            self.best = Some(trial.id);
            let text = format!(
                "{text}, the best so far; {}",
                key_configuration(&trial.config)
            );
            return Line {
                tone: Tone::Good,
                text,
            };
        }
        plain(text)
    }
}

/// A trial of a study with several objectives has completed.
fn joined(history: &History, trial: &Trial) -> Line {
    let ran = duration(trial, trial.ended.unwrap_or_default());
    let text = format!(
        "trial {} completed in {}: {}{}",
        trial.id,
        hpo_report::number::time(ran),
        hpo_report::front::words(history, trial),
        after_spikes(trial)
    );
    let front = history.front();
    if !front.iter().any(|t| t.id == trial.id) {
        return plain(text);
    }
    Line {
        tone: Tone::Good,
        text: format!(
            "{text}, on the front (of {} now); {}",
            front.len(),
            key_configuration(&trial.config)
        ),
    }
}

fn plain(text: String) -> Line {
    Line {
        tone: Tone::Plain,
        text,
    }
}

fn beginning(history: &History) -> String {
    let name = &history.spec().name;
    match finished(history) {
        0 if history.sessions() <= 1 => {
            format!("study {name} begins; Ctrl-C stops it, and the same command goes on")
        }
        0 => format!("study {name} goes on: no trial has come to its end yet"),
        1 => format!("study {name} goes on: 1 trial has come to its end already"),
        done => format!("study {name} goes on: {done} trials have come to their end already"),
    }
}

/// A finding that says that going on is of no use, or that this was wrong. Spikes that pass are counted at
/// the trial's end; and when a trial is ended for a finding at once, that is told by itself.
fn found(history: &History, trial: &Trial, finding: &Finding) -> Option<Line> {
    if history.spec().divergence.stops(finding) {
        return None;
    }
    let (id, step) = (trial.id, finding.step);
    let before = trial.findings.iter().rev().find(|f| f.step < step);
    let (tone, text) = match finding.verdict {
        Verdict::Spiking => return None,
        Verdict::Recovered if !before.is_some_and(|f| f.verdict.is_hopeless()) => return None,
        Verdict::Recovered => (
            Tone::Plain,
            format!("trial {id} has recovered at step {step}"),
        ),
        verdict => {
            let verdict = verdict.word().replace('_', " ");
            let text = format!("trial {id} looks {verdict} at step {step} and goes on");
            (Tone::Mild, text)
        }
    };
    let text = format!("{text}: {}", finding.detail);
    Some(Line { tone, text })
}

/// `, after 3 spikes`, where there were any.
fn after_spikes(trial: &Trial) -> String {
    let spikes = trial.findings.iter();
    match spikes.filter(|f| f.verdict == Verdict::Spiking).count() {
        0 => String::new(),
        1 => ", after a spike".to_owned(),
        n => format!(", after {n} spikes"),
    }
}

fn stopped(trial: &Trial, reason: &StopReason) -> String {
    let step = trial
        .curve
        .last_step()
        .map_or_else(String::new, |step| format!(" at step {step}"));
    let id = trial.id;
    match reason {
        StopReason::Pruned { evidence } => format!("trial {id} pruned{step}: {evidence}"),
        StopReason::Diverged { evidence } => format!("trial {id} diverged{step}: {evidence}"),
        StopReason::Stuck { evidence } => format!("trial {id} was stuck{step}: {evidence}"),
        StopReason::NoProgress { evidence } => {
            format!("trial {id} made no progress{step}: {evidence}")
        }
        StopReason::TimeLimit { evidence } => format!("trial {id} stopped{step}: {evidence}"),
        StopReason::User => format!("trial {id} stopped{step} by the user"),
        StopReason::TimeCap => format!("trial {id} cut off{step}: the study's time is up"),
    }
}

/// A trial that was put back because its process went wrong; one that was put back on purpose is
/// not worth a line. In the same turn the next process may be on its way already, so the one meant is
/// the last that has ended.
fn again(trial: &Trial) -> Option<Line> {
    let ended = trial.attempts.iter().rfind(|a| a.end.is_some());
    let attempt = ended.filter(|a| !a.stop_requested || a.stalled)?;
    let how = match attempt.end.as_ref()? {
        _ if attempt.stalled => "fell silent and was ended".to_owned(),
        AttemptEnd::Exited { code, .. } => format!("left with exit code {code}"),
        AttemptEnd::Signaled { signal, .. } => format!("was ended by signal {signal}"),
        AttemptEnd::OutOfMemory { oom, .. } => format!("ran out of memory ({})", oom.message),
        AttemptEnd::NotStarted { error } => format!("could not be started: {error}"),
        AttemptEnd::Lost => "was lost with its coordinator".to_owned(),
    };
    let text = format!("trial {}: its process {how}; it is started again", trial.id);
    Some(Line {
        tone: Tone::Mild,
        text,
    })
}

fn draining(history: &History) -> String {
    let running = history.runs().filter(|t| t.state.is_active()).count();
    let running = match running {
        0 => return "no new trials are started, and none runs".to_owned(),
        1 => "the running one goes".to_owned(),
        n => format!("the {n} running ones go"),
    };
    format!("no new trials are started; {running} on to the end (Ctrl-C again: stop now)")
}

/// Where the study is, in one line.
pub(crate) fn where_it_is(history: &History, now: Timestamp) -> String {
    let mut parts = vec![counts(history)];
    if history.spec().has_several() {
        parts.extend(hpo_report::front::line(history));
    } else if let Some((best, value)) = history.best().and_then(|b| Some((b, b.value()?))) {
        parts.push(format!("best {} (trial {})", short(value), best.id));
    }
    let mut clock = hpo_report::number::time(history.running_time(now));
    if let Some(eta) = eta(history, now) {
        clock = format!("{clock}, about {} to go", hpo_report::number::time(eta));
    }
    parts.push(clock);
    parts.join("; ")
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use hpo_study::{
        AttemptNumber, Config, EarlyTerminate, Failure, Goal, Job, Method, Metric, Rungs, Space,
        StudySpec,
    };

    use super::*;

    fn spec() -> StudySpec {
        StudySpec {
            run_cap: Some(10),
            early_terminate: EarlyTerminate::Asha(Rungs {
                min_iter: 1,
                max_iter: 9,
                eta: 3,
            }),
            failure: Failure {
                stop_after_consecutive: 0,
                ..Failure::default()
            },
            ..StudySpec::new(
                "night",
                Job::command(&["true"]),
                Method::Random,
                Metric {
                    name: "loss".into(),
                    goal: Goal::Minimize,
                },
                Space::default(),
            )
        }
    }

    /// A study with every kind of fate; twenty seconds pass with every event.
    pub(crate) fn events() -> Vec<Event> {
        let mut kinds = vec![
            EventKind::StudyOpened {
                spec: Box::new(spec()),
                hpo_version: "0".into(),
            },
            EventKind::SessionStarted {
                pid: 1,
                host: "here".into(),
            },
        ];
        let first = AttemptNumber(1);
        let start = |kinds: &mut Vec<EventKind>, id: u32, loss: f64| {
            let trial = TrialId(id);
            let config = Config::from_iter([("lr", 0.1 / f64::from(id + 1))]);
            let metrics = BTreeMap::from([("loss".to_owned(), loss)]);
            kinds.extend([
                EventKind::TrialSuggested {
                    trial,
                    config,
                    bracket: 0,
                    target: None,
                },
                EventKind::AttemptLaunching {
                    trial,
                    attempt: first,
                    target: None,
                    assignment: None,
                },
                EventKind::AttemptStarted {
                    trial,
                    attempt: first,
                    pid: 9,
                },
                EventKind::Reported {
                    trial,
                    attempt: first,
                    step: 3,
                    metrics,
                },
            ]);
        };
        let end = |id: u32, end: AttemptEnd| EventKind::AttemptEnded {
            trial: TrialId(id),
            attempt: first,
            end,
        };
        let exited = |code: i32| AttemptEnd::Exited {
            code,
            stderr: "boom\n".into(),
        };
        for (id, loss) in [(0, 0.5), (1, 0.4), (2, 0.6)] {
            start(&mut kinds, id, loss);
            kinds.extend([
                end(id, exited(0)),
                EventKind::TrialCompleted { trial: TrialId(id) },
            ]);
        }
        start(&mut kinds, 3, 2.0);
        let evidence = "3rd of 3 at step 3".to_owned();
        let reason = StopReason::Pruned { evidence };
        kinds.extend([
            end(3, exited(0)),
            EventKind::TrialStopped {
                trial: TrialId(3),
                reason,
            },
        ]);
        start(&mut kinds, 4, 1.0);
        kinds.extend([
            end(4, exited(7)),
            EventKind::TrialRequeued { trial: TrialId(4) },
        ]);
        let reason = FailReason::Crash {
            how: "exit code 7".into(),
            stderr: "boom\n".into(),
        };
        kinds.push(EventKind::TrialFailed {
            trial: TrialId(4),
            reason,
        });
        start(&mut kinds, 5, 0.9);
        let intent = StopIntent::Requeue;
        kinds.extend([
            EventKind::DrainRequested,
            EventKind::StopRequested {
                trial: TrialId(5),
                attempt: first,
                intent,
            },
        ]);
        let event = |(i, kind)| Event {
            at: Timestamp(20_000 * i as u64),
            kind,
        };
        kinds.into_iter().enumerate().map(event).collect()
    }

    /// The history after each event, and the event.
    pub(crate) fn replayed(events: &[Event]) -> Vec<(History, Event)> {
        (1..=events.len())
            .map(|n| {
                (
                    History::replay(&events[..n]).unwrap(),
                    events[n - 1].clone(),
                )
            })
            .collect()
    }

    #[test]
    fn a_process_that_is_started_again_at_once_is_told_of() {
        let mut log = events();
        let requeued = log
            .iter()
            .position(|e| matches!(e.kind, EventKind::TrialRequeued { .. }))
            .unwrap();
        let put_back = log[requeued].clone();
        log.truncate(requeued + 1);
        log.push(Event {
            at: put_back.at,
            kind: EventKind::AttemptLaunching {
                trial: TrialId(4),
                attempt: AttemptNumber(2),
                target: None,
                assignment: None,
            },
        });
        // A view sees an event with everything of the same turn in the history.
        let history = History::replay(&log).unwrap();
        let line = Story::default().tell(&history, &put_back).unwrap();
        assert_eq!(
            line.text,
            "trial 4: its process left with exit code 7; it is started again"
        );
    }

    #[test]
    fn a_new_best_is_told_once_and_failures_are_told_as_such() {
        let mut story = Story::default();
        let told: Vec<Line> = replayed(&events())
            .iter()
            .filter_map(|(history, event)| story.tell(history, event))
            .collect();
        let tones = |tone| told.iter().filter(|line| line.tone == tone).count();
        assert_eq!(
            (tones(Tone::Good), tones(Tone::Mild), tones(Tone::Bad)),
            (2, 2, 1),
            "{told:#?}"
        );
    }
}
