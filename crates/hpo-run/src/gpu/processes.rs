//! Which trial a process belongs to, and what main memory trials use: what `/proc` has to say.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hpo_engine::gpu::HostMemory;
use hpo_study::AttemptNumber;
use nix::unistd::Pid;

use crate::executor::orphans;
use crate::session::{AttemptId, Session};

/// The first processes of the attempts that run, which lead their process groups.
pub(super) type Leaders = BTreeMap<u32, AttemptId>;

/// For how long a stranger is taken for one: it may just be starting the trial's program.
const STRANGER: Duration = Duration::from_secs(2);
/// The namespace of process numbers that a machine begins with (Linux's `PROC_PID_INIT_INO`).
const WHOLE_MACHINE: &str = "pid:[4026531836]";

/// A line of `/proc/<pid>/stat`, as far as it is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    parent: u32,
    group: u32,
    /// When it started, in ticks: what tells it from another that gets its number later.
    started: u64,
    /// Resident pages.
    resident: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse(line: &str) -> Option<Stat> {
    // After the name, which may hold anything: state, parent, group, …
    let (_, rest) = line.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |i: usize| fields.get(i)?.parse().ok();
    Some(Stat {
        parent: u32::try_from(number(1)?).ok()?,
        group: u32::try_from(number(2)?).ok()?,
        started: number(19)?,
        resident: number(21).unwrap_or(0),
    })
}

/// Finds the attempts that processes belong to: by their group, by their ancestors, or by the mark in their
/// environment.
pub(super) struct Owners {
    session: Session,
    known: HashMap<(u32, u64), (Option<AttemptId>, Instant)>,
    /// Whether the numbers that the driver knows are those of `/proc` here.
    whole_machine: bool,
}

impl Owners {
    pub(super) fn new(session: Session) -> Self {
        let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        Self {
            session,
            known: HashMap::new(),
            whole_machine: namespace.to_str() == Some(WHOLE_MACHINE),
        }
    }

    /// Whether these numbers can be looked up here. In a container drivers may give the machine's, which mean
    /// nothing inside or, worse, another process; they do if one of them is not there at all.
    pub(super) fn can_tell(&self, pids: impl Iterator<Item = u32>) -> bool {
        let mut pids = pids;
        self.whole_machine || pids.all(|pid| Path::new(&format!("/proc/{pid}")).exists())
    }

    /// The attempt that a process belongs to; `None`: it is somebody else's.
    pub(super) fn of(&mut self, pid: u32, leaders: &Leaders) -> Option<AttemptId> {
        self.of_process(pid, stat(pid)?, leaders)
    }

    fn of_process(&mut self, pid: u32, stat: Stat, leaders: &Leaders) -> Option<AttemptId> {
        let key = (pid, stat.started);
        if let Some((owner, at)) = self.known.get(&key)
            && (owner.is_some() || at.elapsed() < STRANGER)
        {
            return *owner;
        }
        let owner = self.find(pid, stat, leaders);
        if self.known.len() > 10_000 {
            self.known.clear();
        }
        self.known.insert(key, (owner, Instant::now()));
        owner
    }

    fn find(&self, pid: u32, stat: Stat, leaders: &Leaders) -> Option<AttemptId> {
        let by_group = leaders.get(&stat.group).or_else(|| leaders.get(&pid));
        by_group
            .copied()
            .or_else(|| by_ancestor(stat.parent, leaders))
            .or_else(|| self.by_mark(pid))
    }

    /// The attempt that a process's mark names, of whichever session: attempts can outlive theirs.
    fn by_mark(&self, pid: u32) -> Option<AttemptId> {
        let word = orphans::mark(Pid::from_raw(pid.cast_signed()))?;
        let (_, id) = word
            .strip_prefix(&self.session.of_study())?
            .split_once('/')?;
        let (trial, attempt) = id.split_once('/')?;
        Some(AttemptId {
            trial: trial.parse().ok()?,
            attempt: AttemptNumber(attempt.parse().ok()?),
        })
    }

    /// The main memory of each attempt with all its processes, in bytes: shared pages count in parts (PSS), or
    /// whole where the system does not say.
    pub(super) fn host_memory(&mut self, leaders: &Leaders) -> BTreeMap<AttemptId, u64> {
        let mut sums: BTreeMap<AttemptId, u64> = BTreeMap::new();
        if leaders.is_empty() {
            return sums;
        }
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
        let all: HashMap<u32, Stat> = pids.filter_map(|pid| Some((pid, stat(pid)?))).collect();
        for (pid, stat) in &all {
            let owner = leaders.get(&stat.group).copied().or_else(|| {
                let mut parent = stat.parent;
                for _ in 0..64 {
                    match leaders.get(&parent) {
                        Some(owner) => return Some(*owner),
                        None => parent = all.get(&parent)?.parent,
                    }
                }
                None
            });
            // Who left the group and lost the parent still has the mark.
            let owner = owner.or_else(|| self.of_process(*pid, *stat, leaders));
            if let Some(owner) = owner {
                let bytes = proportional(*pid).unwrap_or(stat.resident * page_size());
                let sum = sums.entry(owner).or_default();
                *sum = sum.saturating_add(bytes);
            }
        }
        sums
    }
}

fn by_ancestor(mut parent: u32, leaders: &Leaders) -> Option<AttemptId> {
    for _ in 0..64 {
        if let Some(owner) = leaders.get(&parent) {
            return Some(*owner);
        }
        if parent <= 1 {
            return None;
        }
        parent = stat(parent)?.parent;
    }
    None
}

/// A process's proportional set size.
fn proportional(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    kib(&text, "Pss:")
}

fn page_size() -> u64 {
    let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE);
    let size = size
        .ok()
        .flatten()
        .and_then(|size| u64::try_from(size).ok());
    size.unwrap_or(4096)
}

/// The value of a line like `MemTotal:  16384 kB`, in bytes.
fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let number: u64 = line.split_whitespace().next()?.parse().ok()?;
    number.checked_mul(1024)
}

/// The main memory that this process and its children may use: the machine's, or that of the control groups
/// it is in.
pub(super) fn machine_memory() -> Option<HostMemory> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let mut memory = HostMemory {
        total: kib(&text, "MemTotal:")?,
        available: kib(&text, "MemAvailable:")?,
    };
    for group in control_groups() {
        narrow(&mut memory, &group);
    }
    Some(memory)
}

/// How many processes of our control group, and of those below it, the kernel has killed for want of memory.
pub(super) fn kernel_kills() -> Option<u64> {
    let groups = control_groups();
    let mut events = groups.iter().filter_map(|group| {
        let names = ["memory.events", "memory.oom_control"];
        names
            .iter()
            .find_map(|name| fs::read_to_string(group.join(name)).ok())
    });
    let text = events.next()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill "))?;
    line.trim().parse().ok()
}

/// The directories of the control groups that this process is in, from its own to the outermost (version 2), and
/// that of its memory controller (version 1).
fn control_groups() -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mut groups = vec![root.join("memory")];
    for line in text.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let path = Path::new(path.trim_start_matches('/'));
        if controllers.is_empty() {
            groups.extend(path.ancestors().map(|group| root.join(group)));
        } else if controllers.split(',').any(|c| c == "memory") {
            groups.push(root.join("memory").join(path));
        }
    }
    groups
}

fn narrow(memory: &mut HostMemory, group: &Path) {
    let number = |names: [&str; 2]| -> Option<u64> {
        let mut texts = names
            .iter()
            .filter_map(|name| fs::read_to_string(group.join(name)).ok());
        texts.next()?.trim().parse().ok()
    };
    let limit = number(["memory.max", "memory.limit_in_bytes"]);
    let Some(limit) = limit.filter(|limit| *limit < memory.total) else {
        return;
    };
    memory.total = limit;
    if let Some(used) = number(["memory.current", "memory.usage_in_bytes"]) {
        let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
        // Pages of files that can be dropped count as used there.
        let droppable = stat.lines().find_map(|line| {
            line.strip_prefix("inactive_file ")
                .and_then(|n| n.trim().parse::<u64>().ok())
        });
        let used = used.saturating_sub(droppable.unwrap_or(0));
        memory.available = memory.available.min(limit.saturating_sub(used));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;
    use std::process::{Command, Stdio};

    use hpo_study::Timestamp;

    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let line = "12 (a) b) ) S 7 12 12 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 9999 4096 77 18446744073709551615";
        let found = parse(line).unwrap();
        assert_eq!(
            (found.parent, found.group, found.started, found.resident),
            (7, 12, 9999, 77)
        );
        assert_eq!(parse("12 (x"), None);
    }

    #[test]
    fn children_that_left_the_group_are_found_too() {
        let directory = tempfile::tempdir().unwrap();
        let session = Session::new(directory.path(), Timestamp(1), 1).unwrap();
        let id = AttemptId {
            trial: hpo_study::TrialId(3),
            attempt: AttemptNumber(1),
        };
        // A shell whose child has a group of its own.
        let mut shell = Command::new("sh")
            .args(["-c", "setsid sleep 600 & echo $!; wait"])
            .process_group(0)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut out = std::io::BufReader::new(shell.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut out, &mut line).unwrap();
        let child: u32 = line.trim().parse().unwrap();
        let leaders = Leaders::from([(shell.id(), id)]);
        let mut owners = Owners::new(session);
        assert_eq!(owners.of(shell.id(), &leaders), Some(id));
        assert_eq!(owners.of(child, &leaders), Some(id));
        assert_eq!(owners.of(std::process::id(), &leaders), None);
        assert!(owners.host_memory(&leaders)[&id] > 0);
        let _ = nix::sys::signal::kill(
            Pid::from_raw(child.cast_signed()),
            nix::sys::signal::SIGKILL,
        );
        let _ = shell.kill();
        let _ = shell.wait();
    }

    #[test]
    fn this_machine_has_memory() {
        let memory = machine_memory().unwrap();
        assert!(memory.total > 0 && memory.available <= memory.total);
    }
}
