//! GPUs without memory of their own, which use the machine's: the driver offers no reading of their memory
//! ("Not Supported"), and the kernel is asked instead.

use hpo_engine::gpu::HostMemory;

use super::device::{Memory, Process};

/// What such GPUs have in their names: DGX Spark, DGX Station's smaller sisters and laptops (GB10, N1), and Jetson.
/// A card of its own that offers no reading is none of them, and its memory stays unknown.
const NAMES: [&str; 7] = ["GB10", "N1X", "N1", "Thor", "Orin", "Xavier", "Tegra"];

/// Whether a GPU of this name uses the machine's memory.
pub(super) fn is_unified(name: &str) -> bool {
    let mut words = name.split(|c: char| !c.is_ascii_alphanumeric());
    words.any(|word| NAMES.iter().any(|known| word.eq_ignore_ascii_case(known)))
}

/// The machine's memory as a GPU's: what its own processes use is used, and what everything else on the machine
/// uses is not there for GPUs. Where the driver does not say which process uses how much, all is used.
pub(super) fn memory(machine: HostMemory, processes: Option<&[Process]>) -> Option<Memory> {
    let taken = machine.total.saturating_sub(machine.available);
    let ours = processes.and_then(|processes| {
        let mut each = processes.iter().map(|process| process.memory);
        each.try_fold(0_u64, |sum, bytes| Some(sum.saturating_add(bytes?)))
    });
    match ours {
        Some(used) => Memory::sound(
            machine.total,
            Some(taken.saturating_sub(used)),
            used.min(machine.total),
        ),
        None => Memory::sound(machine.total, None, taken),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn names_are_told_apart_by_whole_words() {
        for name in ["NVIDIA GB10", "NVIDIA Thor", "Orin (nvgpu)", "NVIDIA N1X"] {
            assert!(is_unified(name), "{name}");
        }
        for name in ["NVIDIA GB100", "NVIDIA GeForce RTX 4060", "GRID N10", ""] {
            assert!(!is_unified(name), "{name}");
        }
    }

    #[test]
    fn what_is_free_for_the_gpu_is_what_the_machine_has_left() {
        let machine = HostMemory {
            total: 120 * GIB,
            available: 90 * GIB,
        };
        let process = |bytes| Process {
            pid: 7,
            memory: bytes,
        };
        let told = memory(
            machine,
            Some(&[process(Some(16 * GIB)), process(Some(4 * GIB))]),
        );
        assert_eq!(
            told,
            Some(Memory {
                total: 120 * GIB,
                reserved: Some(10 * GIB),
                used: 20 * GIB,
            })
        );
        let untold = Some(Memory {
            total: 120 * GIB,
            reserved: None,
            used: 30 * GIB,
        });
        assert_eq!(memory(machine, Some(&[process(None)])), untold);
        assert_eq!(memory(machine, None), untold);
    }
}
