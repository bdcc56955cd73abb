//! Tells somebody what happens to a study, by a program or a web hook that the study file names.
//! Whatever becomes of that, the study does not wait for it: a thread of its own does the telling.

mod closing;
mod webhook;

use std::collections::VecDeque;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use hpo_study::{
    Event, EventKind, History, NotifyEvent, StudyEnd, StudySpec, Timestamp, Trial, TrialId,
};

use closing::Closing;

use crate::executor::orphans::Own;

/// How many messages may wait; more are dropped.
const MOST_WAITING: usize = 100;
/// A program that takes longer is killed.
const LONGEST: Duration = Duration::from_secs(30);
/// For how long the program's own end waits for what is still to be told.
const AT_THE_END: Duration = Duration::from_secs(5);

/// Tells of a study's events.
#[derive(Debug, Default)]
pub(crate) struct Notifier {
    teller: Option<Teller>,
    best: Option<TrialId>,
    told_best: Option<Timestamp>,
}

/// The thread that tells.
#[derive(Debug)]
struct Teller {
    messages: SyncSender<Message>,
    closing: Arc<Closing>,
    /// Hangs up when the thread has ended.
    over: Receiver<()>,
}

/// One thing to be told.
#[derive(Debug)]
struct Message {
    command: Vec<String>,
    webhook: Option<String>,
    json: String,
    /// Nothing comes after it, so it goes before what still waits.
    is_last: bool,
}

impl Notifier {
    /// Tells of an event if the study wants that. `history` holds it.
    pub(crate) fn event(&mut self, history: &History, event: &Event) {
        if let EventKind::SessionStarted { .. } = event.kind {
            self.best = history.newest_best();
        }
        let wishes = &history.spec().notify;
        if wishes.is_off() {
            return;
        }
        let Some((what, trial, summary)) = self.news(history, event) else {
            return;
        };
        self.tell_if_wanted(history, what, trial, &summary);
    }

    /// Tells that `hpo` itself cannot go on.
    pub(crate) fn gave_up(&mut self, history: &History, why: &dyn std::fmt::Display) {
        let summary = format!("{}: hpo had to give up: {why}", history.spec().name);
        let best = history.best().map(|t| t.id);
        self.tell_if_wanted(history, NotifyEvent::Failed, best, &summary);
    }

    fn tell_if_wanted(
        &mut self,
        history: &History,
        what: NotifyEvent,
        trial: Option<TrialId>,
        summary: &str,
    ) {
        let wishes = &history.spec().notify;
        if wishes.is_off() || !wishes.on.contains(&what) {
            return;
        }
        let trial = trial.and_then(|id| history.trial(id));
        let count = history.trials().len();
        let mut message = message(history.spec(), what.word(), trial, summary, count);
        message.is_last = matches!(what, NotifyEvent::Done | NotifyEvent::Failed);
        self.tell(message);
    }

    fn news(
        &mut self,
        history: &History,
        event: &Event,
    ) -> Option<(NotifyEvent, Option<TrialId>, String)> {
        let spec = history.spec();
        let best = history.best();
        let value = |trial: &hpo_study::Trial| {
            if spec.has_several() {
                let words = hpo_report::front::words(history, trial);
                return format!("trial {} with {words}", trial.id);
            }
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
                let best = history.newest_best().and_then(|id| history.trial(id));
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
            match Teller::start() {
                Ok(teller) => self.teller = Some(teller),
                Err(error) => return tracing::warn!(%error, "nobody can be notified"),
            }
        }
        if let Some(teller) = &self.teller
            && teller.messages.try_send(message).is_err()
        {
            tracing::warn!("too many notifications wait: one is dropped");
        }
    }
}

impl Teller {
    fn start() -> std::io::Result<Self> {
        let (messages, receiver) = sync_channel(MOST_WAITING);
        let (alive, over) = sync_channel(0);
        let closing = Arc::new(Closing::default());
        let shared = Arc::clone(&closing);
        let tell = move || {
            tell_all(&receiver, &shared);
            drop(alive);
        };
        thread::Builder::new()
            .name("notify".to_owned())
            .spawn(tell)?;
        Ok(Self {
            messages,
            closing,
            over,
        })
    }
}

impl Drop for Notifier {
    /// What was to be told is told, if that does not take long.
    fn drop(&mut self) {
        use std::sync::mpsc::RecvTimeoutError;
        let Some(teller) = self.teller.take() else {
            return;
        };
        teller.closing.begin(AT_THE_END);
        drop(teller.messages);
        // A little more, so that the thread can say why it gave up.
        let patience = AT_THE_END + Duration::from_millis(500);
        if teller.over.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("a notification is still on its way: hpo does not wait for it");
        }
    }
}

/// What became of a test message, one way of telling.
#[derive(Debug, Clone)]
pub struct Told {
    /// Which way: a program, or the host of an address.
    pub how: String,
    /// What was answered, or what went wrong.
    pub result: Result<String, String>,
    /// How long it took.
    pub took: Duration,
}

/// Sends a test message in every way that the study names, and waits for what becomes of it.
#[must_use]
pub fn notify_test(spec: &StudySpec) -> Vec<Told> {
    let summary = format!("{}: a test, nothing has happened", spec.name);
    let message = message(spec, "test", None, &summary, 0);
    message.tell(&Closing::default())
}

fn message(
    spec: &StudySpec,
    event: &str,
    trial: Option<&Trial>,
    summary: &str,
    trials: usize,
) -> Message {
    let value = trial.and_then(Trial::value).filter(|v| v.is_finite());
    let mut json = serde_json::json!({
        "version": 1,
        "event": event,
        "study": spec.name,
        "summary": summary,
        "trial": trial.map(|t| t.id.0),
        "metric": spec.metric.name,
        "value": value,
        "params": trial.map(|t| &t.config),
        "trials": trials,
    });
    if let (Some(_), Some(fields)) = (&spec.notify.webhook, json.as_object_mut()) {
        // Chat services show one or the other.
        fields.insert("text".to_owned(), summary.into());
        fields.insert("content".to_owned(), summary.into());
    }
    let words = [
        ("${event}", event.to_owned()),
        ("${study}", spec.name.clone()),
        ("${summary}", summary.to_owned()),
        (
            "${value}",
            value.map_or_else(String::new, |v| v.to_string()),
        ),
        (
            "${trial}",
            trial.map_or_else(String::new, |t| t.id.to_string()),
        ),
    ];
    let command = spec.notify.command.iter();
    Message {
        command: command.map(|word| fill_in(word, &words)).collect(),
        webhook: spec.notify.webhook.clone(),
        json: json.to_string(),
        is_last: false,
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

fn tell_all(messages: &Receiver<Message>, closing: &Closing) {
    let mut waiting = VecDeque::new();
    while let Ok(message) = messages.recv() {
        waiting.push_back(message);
        loop {
            waiting.extend(messages.try_iter());
            let last = waiting.iter().position(|m| m.is_last).unwrap_or(0);
            let Some(message) = waiting.remove(last) else {
                break;
            };
            for told in message.tell(closing) {
                if let Err(why) = told.result {
                    tracing::warn!(to = told.how, why, "a notification was not delivered");
                }
            }
        }
    }
}

impl Message {
    /// Tells it in every way; gives back what became of it.
    fn tell(&self, closing: &Closing) -> Vec<Told> {
        let mut all = Vec::new();
        let mut note = |how: String, tell: &dyn Fn() -> Result<String, String>| {
            let start = Instant::now();
            let result = tell();
            let took = start.elapsed();
            all.push(Told { how, result, took });
        };
        if let Some(program) = self.command.first() {
            let tell = || run(self).map(|()| "ended well".to_owned());
            note(format!("command {program}"), &tell);
        }
        if let Some(webhook) = &self.webhook {
            let address = fill_in(webhook, &[]);
            let unset = unset_variable(webhook);
            let how = match &unset {
                Some(_) => "webhook".to_owned(),
                None => format!("webhook {}", webhook::shown(&address)),
            };
            let tell = || match &unset {
                Some(name) => Err(format!("the environment variable {name} is not set")),
                None => webhook::post(address.trim(), &self.json, closing),
            };
            note(how, &tell);
        }
        all
    }
}

/// The first environment variable named in a text that has no value.
fn unset_variable(text: &str) -> Option<String> {
    let names = text.split("${envvar:").skip(1);
    names
        .filter_map(|rest| rest.split_once('}'))
        .map(|(name, _)| name)
        .find(|name| !std::env::var(name).is_ok_and(|value| !value.trim().is_empty()))
        .map(str::to_owned)
}

fn run(message: &Message) -> Result<(), String> {
    let (program, arguments) = message
        .command
        .split_first()
        .ok_or_else(|| "the command is empty".to_owned())?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut own = Own::spawn(&mut command).map_err(|error| error.to_string())?;
    let child = &mut own.0;
    if let Some(mut stdin) = child.stdin.take() {
        // A program need not read it, and a pipe holds only so much: this one ends with the program at the latest.
        let json = message.json.clone();
        let writer = thread::Builder::new().name("notify".to_owned());
        let _ = writer.spawn(move || stdin.write_all(json.as_bytes()));
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
                webhook: None,
                json: "{}".to_owned(),
                is_last: false,
            })
        };
        assert_eq!(run(&["true"]), Ok(()));
        assert!(run(&["false"]).unwrap_err().contains("exit status"));
        assert!(run(&["/no/such/program"]).is_err());
        assert_eq!(run(&["sh", "-c", "test \"$(cat)\" = '{}'"]), Ok(()));
    }
}
