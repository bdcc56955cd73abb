//! Finds processes that a trial started and that left its process group, or outlived their
//! coordinator. What is needed of `/proc` and of Linux's child subreaper is here.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};
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

/// The processes that this one has started for itself.
static OWN: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// The processes that this one has started for itself: whoever has started them waits for them. None comes or goes while
/// this is held.
pub(crate) fn own() -> MutexGuard<'static, BTreeSet<i32>> {
    OWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A process that is nobody's stray, whatever else this process is the parent of.
#[derive(Debug)]
pub(crate) struct Own(pub(crate) Child);

impl Own {
    /// Starts one.
    ///
    /// # Errors
    /// The system's words.
    pub(crate) fn spawn(command: &mut Command) -> io::Result<Self> {
        let mut own = own();
        let child = command.spawn()?;
        own.insert(child.id().cast_signed());
        Ok(Self(child))
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        own().remove(&self.0.id().cast_signed());
    }
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

/// All processes, other than this one, with a mark that begins with `prefix`, and their marks.
pub(crate) fn marks(prefix: &str) -> Vec<(i32, String)> {
    let me = Pid::this();
    let others = processes().filter(|pid| *pid != me);
    let marked = others.filter_map(|pid| Some((pid.as_raw(), mark(pid)?)));
    marked
        .filter(|(_, word)| word.starts_with(prefix))
        .collect()
}

/// Whether a process leads its group but no session, as the first one of an attempt does; a helper
/// that left the group mostly leads a session of its own.
pub(crate) fn leads_group(pid: i32) -> bool {
    let process = Some(Pid::from_raw(pid));
    nix::unistd::getpgid(process).is_ok_and(|group| group.as_raw() == pid)
        && nix::unistd::getsid(process).is_ok_and(|session| session.as_raw() != pid)
}

/// Kills every process whose mark begins with `prefix`, until two looks in a row find none: a
/// process may be starting another one just now. Gives back how many are left after `patience`.
pub(crate) fn kill_marked(prefix: &str, patience: Duration) -> usize {
    kill_all(|word| word.starts_with(prefix), patience)
}

/// As [`kill_marked`], of the processes with this very mark.
pub(crate) fn kill_marked_exactly(word: &str, patience: Duration) -> usize {
    kill_all(|other| other == word, patience)
}

/// As [`kill_marked`], of the processes whose mark is wanted.
pub(crate) fn kill_all(wanted: impl Fn(&str) -> bool, patience: Duration) -> usize {
    const BETWEEN_LOOKS: Duration = Duration::from_millis(10);
    let start = Instant::now();
    let mut clean = 0;
    loop {
        let found: Vec<Pid> = marks("")
            .into_iter()
            .filter(|(_, word)| wanted(word))
            .map(|(pid, _)| Pid::from_raw(pid))
            .collect();
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
