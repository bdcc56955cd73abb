//! `notify`: who is told of what.

use std::time::Duration;

use super::problem::Problems;
use super::shape::{self, Shape, Table, Word, key, word};
use super::yaml::Node;
use crate::spec::{Notify, NotifyEvent};

/// `notify`
pub(super) static NOTIFY: Table = Table {
    title: "`notify`",
    keys: &[
        key("on", ONE_OR_MORE, "what to tell; done and failed if absent"),
        key(
            "command",
            Shape::List(&Shape::Text, 1),
            "a program to start: its arguments, with ${summary}, ${study}, ${event}, ${value}",
        )
        .hint("write a list: command: [\"notify-send\", \"${study}\", \"${summary}\"]"),
        key(
            "webhook",
            Shape::Text,
            "an address that messages are posted to as JSON, with ${envvar:NAME}",
        )
        .hint("keep the address out of files: webhook: ${envvar:MY_WEBHOOK}"),
        key(
            "new_best_interval",
            Shape::Duration,
            "shortest time between two messages of a new best; 1m if absent",
        ),
    ],
    foreign: &[
        ("url", "write `webhook`"),
        (
            "slack",
            "write `webhook`, with the address of an incoming web hook",
        ),
        ("email", "give a mail program as `command`"),
    ],
    hint: Some("write `notify: {on: [done, failed], webhook: \"${envvar:MY_WEBHOOK}\"}`"),
};

static EVENT: Shape = Shape::Word(EVENTS);
const EVENTS: &[Word] = &[
    word("done", "the study has come to its end"),
    word("failed", "it has come to nothing, or `hpo` had to give up"),
    word("stalled", "a trial stalled and was ended"),
    word("new_best", "a trial is better than all before"),
];
const ONE_OR_MORE: Shape = Shape::Either(
    "a list of events, or one of them",
    &[Shape::List(&EVENT, 1), Shape::Word(EVENTS)],
);

/// Reads it; what is wrong in itself has been reported before.
pub(super) fn read(root: &Node, problems: &mut Problems) -> Notify {
    let Some(node) = root.get("notify") else {
        return Notify::default();
    };
    let command: Vec<String> = node
        .get("command")
        .map(|list| {
            list.items()
                .iter()
                .filter_map(Node::text)
                .map(str::to_owned)
                .collect()
        })
        .unwrap_or_default();
    let webhook = node.get("webhook").and_then(Node::text).map(str::to_owned);
    if command.is_empty() && webhook.is_none() {
        problems.error_with_hint(
            root.key_span("notify"),
            "`notify` has neither `command` nor `webhook`: nobody would be told",
            "add `webhook: \"${envvar:MY_WEBHOOK}\"` or `command: [\"notify-send\", \"${summary}\"]`",
        );
    }
    if webhook
        .as_deref()
        .is_some_and(|address| !can_be_address(address))
    {
        problems.error_with_hint(
            node.key_span("webhook"),
            "`webhook` is no address that could be posted to",
            "it begins with https:// or http://, or is an environment variable: ${envvar:MY_WEBHOOK}",
        );
    }
    let named = node.get("on").map(|on| match on.text() {
        Some(one) => vec![one],
        None => on.items().iter().filter_map(Node::text).collect(),
    });
    let on = match named {
        None => vec![NotifyEvent::Done, NotifyEvent::Failed],
        Some(names) => NotifyEvent::ALL
            .into_iter()
            .filter(|event| names.contains(&event.word()))
            .collect(),
    };
    Notify {
        on,
        command,
        webhook,
        new_best_interval: node
            .get("new_best_interval")
            .and_then(|node| shape::duration(node).ok())
            .unwrap_or(Duration::from_secs(60)),
    }
}

/// Whether a text can be an address once its variables are filled in.
fn can_be_address(text: &str) -> bool {
    let begins = |with| {
        text.strip_prefix(with)
            .is_some_and(|rest: &str| !rest.is_empty())
    };
    let whole = !text.contains(|c: char| c.is_whitespace() || c.is_control());
    whole && (begins("https://") || begins("http://") || begins("${envvar:"))
}
