//! Which process it is: a process id alone says little, since ids are given again. What is needed of
//! `/proc` for that is here.

use std::fs;

use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// A process, for certain: its id, when it was started, and in which life of the machine. No other
/// process ever has the same three.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) pid: i32,
    /// In clock ticks since the machine was started; 0 where the system does not tell.
    pub(crate) started: u64,
    /// The machine's life; empty where the system does not tell.
    pub(crate) boot: String,
}

impl Identity {
    /// The identity of a process that is there now.
    pub(crate) fn of(pid: i32) -> Self {
        Self {
            pid,
            started: stat(pid).map_or(0, |stat| stat.started),
            boot: boot(),
        }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.pid)
    }

    /// Whether it is from this life of the machine. Of another one nothing can be alive.
    pub(crate) fn is_of_this_boot(&self) -> bool {
        self.boot == boot()
    }

    /// Whether the process lives; one that has ended and was not waited for does not.
    pub(crate) fn lives(&self) -> bool {
        self.is_there() && stat(self.pid).is_some_and(|stat| !matches!(stat.state, 'Z' | 'X'))
    }

    /// Whether the process lives, or has ended and was not waited for: its id is still its own.
    pub(crate) fn is_there(&self) -> bool {
        self.is_of_this_boot() && stat(self.pid).is_some_and(|stat| stat.started == self.started)
    }
}

/// The machine's present life.
pub(crate) fn boot() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

struct Stat {
    state: char,
    started: u64,
}

fn stat(pid: i32) -> Option<Stat> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // After the name, which may hold anything, come the state (the third field) and the others; the
    // 22nd is the time of the start.
    let mut fields = line.rsplit_once(')')?.1.split_whitespace();
    Some(Stat {
        state: fields.next()?.chars().next()?,
        started: fields.nth(18)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_more_than_its_id() {
        let me = Identity::of(std::process::id().cast_signed());
        assert!(me.lives() && me.is_of_this_boot());
        let earlier = Identity {
            started: me.started.wrapping_sub(1),
            ..me.clone()
        };
        assert!(!earlier.lives(), "another process had this id before");
        let other_life = Identity {
            boot: "another".to_owned(),
            ..me
        };
        assert!(!other_life.lives() && !other_life.is_of_this_boot());
    }
}
