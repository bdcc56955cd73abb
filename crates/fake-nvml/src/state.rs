//! What the fake GPUs look like: one JSON file, changed under a lock and replaced in one piece.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

/// The variable that names the state's file.
pub const STATE: &str = "FAKE_NVML_STATE";

/// NVML's code for a GPU that fell off the bus.
pub const GPU_IS_LOST: i32 = 15;

/// Everything that the fake library says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct State {
    /// The driver's version.
    pub driver: String,
    /// What `nvmlInit_v2` answers: 0, or NVML's code for what is wrong.
    pub init: i32,
    /// The GPUs, in the order of their indices.
    pub gpus: Vec<Device>,
    /// Functions that fail, with NVML's code; for all GPUs.
    pub fail: BTreeMap<String, i32>,
    /// Functions that take this many milliseconds before they answer.
    pub delay: BTreeMap<String, u64>,
    /// `nvmlDeviceGetCount_v2` says this instead of the truth.
    pub count: Option<u32>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            driver: "580.65.06".to_owned(),
            init: 0,
            gpus: Vec::new(),
            fail: BTreeMap::new(),
            delay: BTreeMap::new(),
            count: None,
        }
    }
}

/// A GPU, or a MIG instance of one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Device {
    /// `GPU-…` or `MIG-…`.
    pub uuid: String,
    /// What it is called.
    pub name: String,
    /// The name's bytes instead, where they are to be no text.
    pub name_bytes: Option<Vec<u8>>,
    /// Bytes on the board.
    pub total: u64,
    /// Bytes that the driver keeps for itself.
    pub reserved: u64,
    /// Bytes in use that no process is named for.
    pub unnamed: u64,
    /// What is said to be in use, instead of the sum.
    pub used: Option<u64>,
    /// Percent of the time that something ran.
    pub utilization: u32,
    /// °C.
    pub temperature: u32,
    /// Milliwatts.
    pub power: u32,
    /// Uncorrected ECC errors since the driver was loaded.
    pub ecc_errors: u64,
    /// `nvmlDevice…` functions that fail for this GPU alone, with NVML's code.
    pub fail: BTreeMap<String, i32>,
    /// It has fallen off the bus: every call with its handle answers [`GPU_IS_LOST`].
    pub lost: bool,
    /// Its instances; with any, MIG is on.
    pub instances: Vec<Device>,
    /// Who uses its memory.
    pub processes: Vec<Process>,
    /// How many processes are said to be there when only the number is asked for.
    pub process_count: Option<u32>,
    /// A critical error (XID) that the next one who waits for events is told of.
    pub xid: Option<u64>,
}

impl Default for Device {
    fn default() -> Self {
        Self {
            uuid: "GPU-00000000-0000-0000-0000-000000000000".to_owned(),
            name: "NVIDIA Fake 8GB".to_owned(),
            name_bytes: None,
            total: 8 << 30,
            reserved: 256 << 20,
            unnamed: 0,
            used: None,
            utilization: 0,
            temperature: 40,
            power: 60_000,
            ecc_errors: 0,
            fail: BTreeMap::new(),
            lost: false,
            instances: Vec::new(),
            processes: Vec::new(),
            process_count: None,
            xid: None,
        }
    }
}

/// A process that uses a GPU's memory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Bytes it has allocated.
    pub bytes: u64,
    /// What the library says of that instead: e.g. `u64::MAX`, which is NVML's "not available".
    pub said: Option<u64>,
    /// It counts even if there is no such process, which stands for one of another container or user. Without
    /// this a process that has ended has given its memory back, however it ended.
    pub ghost: bool,
    /// It draws instead of computing.
    pub graphics: bool,
}

impl Device {
    /// A GPU with a number for its UUID and this many MiB, 256 of them the driver's.
    #[must_use]
    pub fn new(number: u32, mib: u64) -> Self {
        Self {
            uuid: format!("GPU-{number:08x}-0000-0000-0000-000000000000"),
            name: format!("NVIDIA Fake {mib}"),
            total: mib << 20,
            ..Self::default()
        }
    }

    /// Bytes that are in use: what the driver knows a process for, and the rest.
    #[must_use]
    pub fn in_use(&self) -> u64 {
        let processes = self.processes.iter().filter(|p| p.is_there());
        let instances = self.instances.iter().map(Self::in_use);
        let sum = processes
            .map(|p| p.bytes)
            .chain(instances)
            .fold(self.unnamed, u64::saturating_add);
        self.used.unwrap_or(sum)
    }

    /// Bytes that could still be allocated.
    #[must_use]
    pub fn free(&self) -> u64 {
        self.total
            .saturating_sub(self.reserved)
            .saturating_sub(self.in_use())
    }

    /// What a process has allocated.
    #[must_use]
    pub fn bytes_of(&self, pid: u32) -> u64 {
        let own = self.processes.iter().filter(|p| p.pid == pid);
        own.map(|p| p.bytes).sum()
    }

    /// Sets what a process has allocated; with 0 it is gone.
    pub fn set(&mut self, pid: u32, bytes: u64) {
        self.processes.retain(|p| p.pid != pid && p.is_there());
        if bytes > 0 {
            self.processes.push(Process {
                pid,
                bytes,
                ..Process::default()
            });
        }
    }
}

impl Process {
    /// Whether it still holds its memory: the driver takes it from whoever has ended, zombies included.
    #[must_use]
    pub fn is_there(&self) -> bool {
        if self.ghost {
            return true;
        }
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        let state = stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_whitespace().next());
        state.is_some_and(|state| state != "Z" && state != "X")
    }
}

impl State {
    /// A machine with these GPUs and nothing wrong.
    #[must_use]
    pub fn of(gpus: Vec<Device>) -> Self {
        Self {
            gpus,
            ..Self::default()
        }
    }

    /// The file that [`STATE`] names.
    #[must_use]
    pub fn file() -> Option<PathBuf> {
        std::env::var_os(STATE).map(PathBuf::from)
    }

    /// Reads the state.
    ///
    /// # Errors
    /// When there is no such file, or something else in it.
    pub fn read(path: &Path) -> io::Result<Self> {
        let text = fs::read(path)?;
        serde_json::from_slice(&text).map_err(io::Error::other)
    }

    /// Replaces the file in one piece: who reads sees the old state or the new one.
    ///
    /// # Errors
    /// What the disk refuses.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let mut draft = path.as_os_str().to_owned();
        draft.push(format!(".{}", std::process::id()));
        let text = serde_json::to_vec(self).map_err(io::Error::other)?;
        fs::write(&draft, text)?;
        fs::rename(&draft, path)
    }

    /// From now on readings of memory are counted.
    ///
    /// # Errors
    /// What the disk refuses.
    pub fn count_reads(path: &Path) -> io::Result<()> {
        fs::write(Self::counter(path), "")
    }

    /// How many GPUs' memory was read since then.
    #[must_use]
    pub fn reads(path: &Path) -> u64 {
        fs::metadata(Self::counter(path)).map_or(0, |file| file.len())
    }

    /// Memory of a GPU is being read.
    pub(crate) fn note_read() {
        let file = Self::file().map(|path| Self::counter(&path));
        let file = file.and_then(|path| File::options().append(true).open(path).ok());
        if let Some(mut file) = file {
            let _ = io::Write::write_all(&mut file, b".");
        }
    }

    fn counter(path: &Path) -> PathBuf {
        let mut name = path.as_os_str().to_owned();
        name.push(".reads");
        name.into()
    }

    /// Changes the state while nobody else does.
    ///
    /// # Errors
    /// As [`State::read`] and [`State::write`].
    pub fn change<R>(path: &Path, change: impl FnOnce(&mut Self) -> R) -> io::Result<R> {
        let mut lock = path.as_os_str().to_owned();
        lock.push(".lock");
        let file = File::options().create(true).append(true).open(lock)?;
        let _held = Flock::lock(file, FlockArg::LockExclusive)
            .map_err(|(_, error)| io::Error::from(error))?;
        let mut state = Self::read(path)?;
        let result = change(&mut state);
        state.write(path)?;
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_the_dead_is_free_again() {
        let mut gpu = Device::new(0, 8192);
        let me = std::process::id();
        gpu.set(me, 1 << 30);
        gpu.processes.push(Process {
            pid: u32::MAX,
            bytes: 2 << 30,
            ..Process::default()
        });
        assert_eq!(gpu.in_use(), 1 << 30);
        gpu.processes[1].ghost = true;
        assert_eq!(gpu.in_use(), 3 << 30);
        assert_eq!(gpu.free(), (8192 - 256 - 3072) << 20);
        gpu.set(me, 0);
        assert_eq!(gpu.bytes_of(me), 0);
    }

    #[test]
    fn changes_of_many_at_once_are_all_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        State::of(vec![Device::new(0, 8192)]).write(&path).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        State::change(&path, |state| state.gpus[0].unnamed += 1).unwrap();
                    }
                });
            }
        });
        assert_eq!(State::read(&path).unwrap().gpus[0].unnamed, 160);
    }
}
