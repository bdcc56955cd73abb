//! Finds processes that a trial started and that left its process group, or outlived their
//! coordinator. What is needed of `/proc` and of Linux's child subreaper is here.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use hpo_study::protocol;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Makes this process the parent of every descendant whose own parent ends, so that none gets out
/// of sight (Linux's `PR_SET_CHILD_SUBREAPER`).
pub(crate) fn adopt_descendants(yes: bool) {
    #[cfg(target_os = "linux")]
    if let Err(error) = nix::sys::prctl::set_child_subreaper(yes) {
        tracing::debug!(%error, "processes that leave their trial can only be found by their mark");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = yes;
}

/// All children of this process, those that have ended and were not waited for among them.
pub(crate) fn children() -> Vec<Pid> {
    let Ok(tasks) = fs::read_dir("/proc/self/task") else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for task in tasks.flatten() {
        let Ok(list) = fs::read_to_string(task.path().join("children")) else {
            // Some kernels are built without these lists.
            return children_by_parent();
        };
        found.extend(
            list.split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .map(Pid::from_raw),
        );
    }
    found
}

fn children_by_parent() -> Vec<Pid> {
    let me = std::process::id().to_string();
    let is_mine = |pid: &Pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // After the name, which may hold anything, come the state and the parent.
        let parent = stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_whitespace().nth(1));
        parent == Some(me.as_str())
    };
    processes().filter(is_mine).collect()
}

fn processes() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|e| e.file_name().to_str()?.parse().ok())
        .map(Pid::from_raw)
}

/// The mark in a process's environment.
pub(crate) fn mark(pid: Pid) -> Option<String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let name = protocol::SESSION.as_bytes();
    let value = environment
        .split(|byte| *byte == 0)
        .find_map(|entry| entry.strip_prefix(name)?.strip_prefix(b"="))?;
    String::from_utf8(value.to_vec()).ok()
}

/// The processes, other than this one, whose mark begins with `prefix`.
pub(crate) fn marked(prefix: &str) -> Vec<Pid> {
    let me = Pid::this();
    processes()
        .filter(|pid| *pid != me && mark(*pid).is_some_and(|word| word.starts_with(prefix)))
        .collect()
}

/// Kills every process whose mark begins with `prefix`, until two looks in a row find none: a
/// process may be starting another one just now. Gives back how many are left after `patience`.
pub(crate) fn kill_marked(prefix: &str, patience: Duration) -> usize {
    const BETWEEN_LOOKS: Duration = Duration::from_millis(10);
    let start = Instant::now();
    let mut clean = 0;
    loop {
        let found = marked(prefix);
        for pid in &found {
            // It may have ended meanwhile; then there is nothing to do.
            let _ = kill(*pid, Signal::SIGKILL);
        }
        clean = if found.is_empty() { clean + 1 } else { 0 };
        if clean == 2 || start.elapsed() > patience {
            return found.len();
        }
        thread::sleep(BETWEEN_LOOKS);
    }
}
