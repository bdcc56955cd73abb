//! `notify`: who is told of what.

use std::time::Duration;

use super::problem::Problems;
use super::shape::{self, Shape, Table, Word, key, word};
use super::yaml::Node;
use crate::spec::{Notify, NotifyEvent};

const WITH_CURL: &str =
    "posting is done by a command: [\"curl\", \"-sS\", \"--json\", \"@-\", \"https://…\"]";

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
            "new_best_interval",
            Shape::Duration,
            "shortest time between two messages of a new best; 1m if absent",
        ),
    ],
    foreign: &[
        ("webhook", WITH_CURL),
        ("url", WITH_CURL),
        ("slack", WITH_CURL),
        ("email", "give a mail program as `command`"),
    ],
    hint: Some("write `notify: {on: [done, failed], command: [\"notify-send\", \"${summary}\"]}`"),
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
    if command.is_empty() {
        problems.error_with_hint(
            root.key_span("notify"),
            "`notify` has no `command`: nobody would be told",
            "add `command: [\"notify-send\", \"${summary}\"]`",
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
        new_best_interval: node
            .get("new_best_interval")
            .and_then(|node| shape::duration(node).ok())
            .unwrap_or(Duration::from_secs(60)),
    }
}
