//! Tells somebody what happens to a study, by a program that the study file names. Whatever becomes of
//! that, the study does not wait for it: a thread of its own does the telling.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hpo_study::{Event, EventKind, History, NotifyEvent, StudyEnd, Timestamp, TrialId};

/// How many messages may wait; more are dropped.
const MOST_WAITING: usize = 100;
/// A program that takes longer is killed.
const LONGEST: Duration = Duration::from_secs(30);

/// Tells of a study's events.
#[derive(Debug, Default)]
pub(crate) struct Notifier {
    teller: Option<(SyncSender<Message>, JoinHandle<()>)>,
    best: Option<TrialId>,
    told_best: Option<Timestamp>,
}

/// One thing to be told.
struct Message {
    command: Vec<String>,
    json: String,
}

impl Notifier {
    /// Tells of an event if the study wants that. `history` holds it.
    pub(crate) fn event(&mut self, history: &History, event: &Event) {
        if let EventKind::SessionStarted { .. } = event.kind {
            self.best = history.best().map(|trial| trial.id);
        }
        let wishes = &history.spec().notify;
        if wishes.is_off() {
            return;
        }
        let Some((what, trial, summary)) = self.news(history, event) else {
            return;
        };
        if wishes.on.contains(&what) {
            let message = message(history, what, trial, &summary);
            self.tell(message);
        }
    }

    fn news(
        &mut self,
        history: &History,
        event: &Event,
    ) -> Option<(NotifyEvent, Option<TrialId>, String)> {
        let spec = history.spec();
        let best = history.best();
        let value = |trial: &hpo_study::Trial| {
            let value = trial.value().unwrap_or(f64::NAN);
            format!("trial {} with {} = {value}", trial.id, spec.metric.name)
        };
        match &event.kind {
            EventKind::StudyEnded { end } => {
                let id = best.map(|t| t.id);
                Some(match (end, best) {
                    (StudyEnd::Failures { detail }, _) => {
                        (NotifyEvent::Failed, id, format!("{}: {detail}", spec.name))
                    }
                    (_, Some(best)) => {
                        let summary = format!("{} is done: {}", spec.name, value(best));
                        (NotifyEvent::Done, id, summary)
                    }
                    (_, None) => {
                        let summary = format!("{} is done: no trial completed", spec.name);
                        (NotifyEvent::Failed, id, summary)
                    }
                })
            }
            EventKind::TrialCompleted { .. } => {
                let best = best.filter(|best| self.best != Some(best.id))?;
                self.best = Some(best.id);
                let interval = spec.notify.new_best_interval;
                if self
                    .told_best
                    .is_some_and(|told| event.at.since(told) < interval)
                {
                    return None;
                }
                self.told_best = Some(event.at);
                let summary = format!("{}: a new best, {}", spec.name, value(best));
                Some((NotifyEvent::NewBest, Some(best.id), summary))
            }
            EventKind::TrialFailed { trial, reason } if reason.word() == "stalled" => {
                let summary = format!("{}: trial {trial} stalled", spec.name);
                Some((NotifyEvent::Stalled, Some(*trial), summary))
            }
            EventKind::TrialStopped { trial, reason } if reason.word() == "stalled" => {
                let summary = format!("{}: trial {trial} stalled", spec.name);
                Some((NotifyEvent::Stalled, Some(*trial), summary))
            }
            _ => None,
        }
    }

    fn tell(&mut self, message: Message) {
        if self.teller.is_none() {
            let (sender, receiver) = sync_channel(MOST_WAITING);
            let thread = thread::Builder::new().name("notify".to_owned());
            match thread.spawn(move || tell_all(&receiver)) {
                Ok(thread) => self.teller = Some((sender, thread)),
                Err(error) => return tracing::warn!(%error, "nobody can be notified"),
            }
        }
        if let Some((sender, _)) = &self.teller
            && sender.try_send(message).is_err()
        {
            tracing::warn!("too many notifications wait: one is dropped");
        }
    }
}

impl Drop for Notifier {
    /// What was to be told is told, which takes a program's longest time at most for each.
    fn drop(&mut self) {
        if let Some((sender, thread)) = self.teller.take() {
            drop(sender);
            let _ = thread.join();
        }
    }
}

fn message(
    history: &History,
    event: NotifyEvent,
    trial: Option<TrialId>,
    summary: &str,
) -> Message {
    let spec = history.spec();
    let record = trial.and_then(|id| history.trial(id));
    let value = record
        .and_then(hpo_study::Trial::value)
        .filter(|v| v.is_finite());
    let json = serde_json::json!({
        "version": 1,
        "event": event.word(),
        "study": spec.name,
        "summary": summary,
        "trial": trial.map(|id| id.0),
        "metric": spec.metric.name,
        "value": value,
        "params": record.map(|t| &t.config),
        "trials": history.trials().len(),
    });
    let words = [
        ("${event}", event.word().to_owned()),
        ("${study}", spec.name.clone()),
        ("${summary}", summary.to_owned()),
        (
            "${value}",
            value.map_or_else(String::new, |v| v.to_string()),
        ),
        (
            "${trial}",
            trial.map_or_else(String::new, |t| t.to_string()),
        ),
    ];
    let command = spec.notify.command.iter();
    Message {
        command: command.map(|word| fill_in(word, &words)).collect(),
        json: json.to_string(),
    }
}

/// Replaces macros, from left to right: what is put in is not looked at again.
fn fill_in(text: &str, words: &[(&str, String)]) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        filled += before;
        if let Some((name, word)) = words.iter().find(|(name, _)| from.starts_with(name)) {
            filled += word;
            rest = from.strip_prefix(name).unwrap_or_default();
        } else if let Some((name, after)) = from
            .strip_prefix("${envvar:")
            .and_then(|from| from.split_once('}'))
        {
            filled += &std::env::var(name).unwrap_or_default();
            rest = after;
        } else {
            filled += "${";
            rest = from.strip_prefix("${").unwrap_or_default();
        }
    }
    filled + rest
}

fn tell_all(messages: &Receiver<Message>) {
    for message in messages {
        if let Err(why) = run(&message) {
            let program = message.command.first().map_or("", String::as_str);
            tracing::warn!(program, why, "a notification was not delivered");
        }
    }
}

fn run(message: &Message) -> Result<(), String> {
    let (program, arguments) = message
        .command
        .split_first()
        .ok_or_else(|| "the command is empty".to_owned())?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program need not read it.
        let _ = stdin.write_all(message.json.as_bytes());
    }
    let start = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(status.to_string()),
            Err(error) => return Err(error.to_string()),
            Ok(None) if start.elapsed() > LONGEST => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("it took longer than {} s", LONGEST.as_secs()));
            }
            Ok(None) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_macro_stands_for_is_not_read_as_one() {
        let words = [
            ("${study}", "a ${value} $(rm)".to_owned()),
            ("${value}", "0.5".to_owned()),
        ];
        let filled = fill_in(
            "${study}: ${value} ${other} ${envvar:NO_SUCH_VARIABLE}.",
            &words,
        );
        assert_eq!(filled, "a ${value} $(rm): 0.5 ${other} .");
    }

    #[test]
    fn a_program_that_fails_is_told_apart_from_one_that_does_not() {
        let run = |command: &[&str]| {
            run(&Message {
                command: command.iter().map(|c| (*c).to_owned()).collect(),
                json: "{}".to_owned(),
            })
        };
        assert_eq!(run(&["true"]), Ok(()));
        assert!(run(&["false"]).unwrap_err().contains("exit status"));
        assert!(run(&["/no/such/program"]).is_err());
        assert_eq!(run(&["sh", "-c", "test \"$(cat)\" = '{}'"]), Ok(()));
    }
}
