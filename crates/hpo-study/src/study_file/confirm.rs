//! Runs with further seeds: the keys `confirm` and `repeats`.

use super::problem::Problems;
use super::yaml::Node;
use crate::confirm::Confirm;

/// Reads `confirm`; `None` when the file does not ask for it.
pub(super) fn read(root: &Node, problems: &mut Problems) -> Option<Confirm> {
    let node = root.get("confirm")?;
    let whole = |key: &str| {
        let number = node.get(key).and_then(Node::whole);
        number.and_then(|n| u32::try_from(n).ok())
    };
    let usual = Confirm::default();
    let confirm = Confirm {
        top: whole("top").unwrap_or(usual.top),
        seeds: whole("seeds").unwrap_or(usual.seeds),
    };
    if confirm.seeds == 1 {
        problems.warning(
            node.key_span("seeds"),
            "one fresh run per configuration has no spread, and may be a lucky one itself",
            "write `seeds: 3` or more",
        );
    }
    Some(confirm)
}

/// Reads `repeats`; `None` when each configuration is run once.
pub(super) fn repeats(root: &Node) -> Option<u32> {
    let number = root.get("repeats").and_then(Node::whole);
    number
        .and_then(|n| u32::try_from(n).ok())
        .filter(|repeats| *repeats > 1)
}
