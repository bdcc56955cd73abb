//! What a machine's GPUs say of themselves. What a driver does not know, or says in a number that cannot be, is
//! `None` here: nothing that was guessed goes on from this file.

use serde::Serialize;

/// More bytes than any GPU has: a reading above it is none.
const ABSURD: u64 = 1 << 50;

/// What was found when the GPUs were asked for.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Machine {
    /// The NVIDIA driver's version; `None`: there is none, or it does not say.
    pub driver: Option<String>,
    /// Why there is no GPU to be seen, in words for people; `None`: the driver answers.
    pub trouble: Option<String>,
    /// There is no driver at all: waiting for GPUs is of no use.
    #[serde(skip)]
    pub is_without_driver: bool,
    /// The GPUs, in the driver's order; the MIG instances of a GPU stand in its place.
    pub gpus: Vec<Device>,
}

/// A GPU, or a MIG instance of one, that a trial can be given.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Device {
    /// `GPU-…` or `MIG-…`: what it is called for as long as it exists, unlike its index.
    pub uuid: String,
    /// The index of the GPU (of the whole GPU for an instance) in the driver's order (that of PCI addresses).
    pub index: u32,
    /// The product's name.
    pub name: String,
    /// Whether it is a MIG instance.
    pub mig: bool,
    /// Why it cannot be used at present; `None`: it can.
    pub lost: Option<String>,
    /// Whether it has no memory of its own and uses the machine's.
    pub unified: bool,
    /// Its memory.
    pub memory: Option<Memory>,
    /// Who uses it; `None`: the driver does not say.
    pub processes: Option<Vec<Process>>,
    /// Percent of the last second or less in which something ran.
    pub utilization: Option<u32>,
    /// °C.
    pub temperature: Option<u32>,
    /// Watts drawn.
    pub power: Option<u32>,
    /// ECC errors that could not be corrected, since the driver was loaded.
    pub ecc_errors: Option<u64>,
    /// The last critical error (XID) since this program looks.
    pub xid: Option<u64>,
}

/// A GPU's memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// All of it.
    pub total: u64,
    /// What the driver and the firmware keep for themselves; `None`: an older driver counts it as used.
    pub reserved: Option<u64>,
    /// What is allocated.
    pub used: u64,
}

/// A process that uses a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Process {
    /// Its number, as the driver says it: the machine's, also inside a container.
    pub pid: u32,
    /// Bytes; `None`: the driver does not say (under WSL, on MIG instances, in some versions).
    pub memory: Option<u64>,
}

impl Memory {
    /// Memory, unless the numbers cannot be.
    pub(crate) fn sound(total: u64, reserved: Option<u64>, used: u64) -> Option<Self> {
        let reserved = reserved.filter(|reserved| *reserved < total);
        let is_sound = total > 0 && total < ABSURD && used <= total;
        is_sound.then_some(Self {
            total,
            reserved,
            used,
        })
    }
}

impl Device {
    /// What is allocated by processes that are named with their memory.
    #[must_use]
    pub fn named(&self) -> u64 {
        let processes = self.processes.iter().flatten();
        processes
            .filter_map(|p| p.memory)
            .fold(0, u64::saturating_add)
    }

    /// Whether the driver says of every process how much it uses.
    #[must_use]
    pub fn tells_processes(&self) -> bool {
        let all = |processes: &Vec<Process>| processes.iter().all(|p| p.memory.is_some());
        self.processes.as_ref().is_some_and(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_cannot_be_are_none() {
        assert!(Memory::sound(8 << 30, Some(1 << 28), 1 << 30).is_some());
        assert_eq!(Memory::sound(0, None, 0), None);
        assert_eq!(Memory::sound(u64::MAX, Some(0), 0), None);
        assert_eq!(Memory::sound(8 << 30, Some(0), u64::MAX), None);
        let odd = Memory::sound(8 << 30, Some(u64::MAX), 5).map(|m| m.reserved);
        assert_eq!(odd, Some(None));
    }
}
