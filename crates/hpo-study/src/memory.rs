//! Memory of GPUs and of the machine: what a study may use, what was set aside for an attempt, what it
//! was seen to use, and what it means when there was not enough. All amounts are bytes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One MiB in bytes.
pub const MIB: u64 = 1 << 20;
/// One GiB in bytes.
pub const GIB: u64 = 1 << 30;
/// What is kept free on a GPU unless the study says otherwise.
pub const HEADROOM: u64 = 512 * MIB;
/// For how long a trial's use must not have grown before its need is known, unless the study says otherwise.
pub const SETTLE_AFTER: Duration = Duration::from_secs(30);

/// What a study may use of the machine's GPUs. A study without it runs on the CPU, as far as `hpo` knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuSpec {
    /// Which GPUs.
    pub devices: Devices,
    /// Most memory per GPU; `None`: all there is.
    pub memory_limit: Option<u64>,
    /// Whose memory the limit is for.
    #[serde(default)]
    pub limit_for: LimitFor,
    /// What a trial is taken to need; `None`: predicted, and learned from what trials need.
    pub per_trial: Option<u64>,
    /// What is kept free below the limit, for what happens between two readings.
    pub headroom: u64,
    /// Most trials at once on one GPU; `None`: as many as fit.
    pub max_per_gpu: Option<u32>,
    /// Parameters on which the need for memory depends, besides the batch size and the optimizer.
    #[serde(default)]
    pub size_parameters: Vec<String>,
    /// For how long a trial's use must not have grown before its need is known.
    #[serde(default = "settle_after")]
    pub settle_after: Duration,
    /// Where trials run on a machine that has none of these GPUs.
    #[serde(default)]
    pub fallback: Fallback,
}

fn settle_after() -> Duration {
    SETTLE_AFTER
}

impl Default for GpuSpec {
    fn default() -> Self {
        Self {
            devices: Devices::All,
            memory_limit: None,
            limit_for: LimitFor::default(),
            per_trial: None,
            headroom: HEADROOM,
            max_per_gpu: None,
            size_parameters: Vec::new(),
            settle_after: SETTLE_AFTER,
            fallback: Fallback::default(),
        }
    }
}

/// Which GPUs a study may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Devices {
    /// All that the machine has.
    All,
    /// These. Never empty.
    Only(Vec<Device>),
}

impl Devices {
    /// Whether the GPU of this number and UUID is one of them. Of a UUID a beginning is enough, as for
    /// `CUDA_VISIBLE_DEVICES`.
    #[must_use]
    pub fn have(&self, index: u32, uuid: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(devices) => devices.iter().any(|device| match device {
                Device::Index(i) => *i == index,
                Device::Uuid(begin) => uuid.starts_with(begin.as_str()),
            }),
        }
    }
}

/// How a GPU is named in a study file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Device {
    /// Its number, as `nvidia-smi` counts (not as CUDA does, which may put the fastest first).
    Index(u32),
    /// Its UUID, or the beginning of it.
    Uuid(String),
}

/// Where trials run on a machine without any GPU that the study may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fallback {
    /// Nowhere: the study is not run there.
    #[default]
    None,
    /// On the CPU.
    Cpu,
}

/// Whose memory a limit is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitFor {
    /// Everybody's on the card: what other processes use is part of it.
    #[default]
    Card,
    /// This study's trials alone.
    Study,
}

/// What becomes of a trial that ran out of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OomPolicy {
    /// It is started again with more memory set aside, at last alone.
    #[default]
    Retry,
    /// It is infeasible.
    Fail,
}

/// What was set aside for an attempt when it was decided on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Assignment {
    /// The GPU it runs on; `None`: on none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<GpuShare>,
    /// Main memory set aside for it; `None`: it is not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_memory: Option<u64>,
    /// It has the GPU (for a trial on the CPU: the machine) to itself until its need is known: nothing
    /// like it was seen before, or it ran out of memory beside others.
    #[serde(default)]
    pub alone: bool,
}

/// A part of a GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuShare {
    /// The GPU's UUID.
    pub uuid: String,
    /// Its memory that is set aside.
    pub memory: u64,
}

/// What an attempt was seen to use so far, and what is set aside for it from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MemorySeen {
    /// The most it used of its GPU; `None`: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_peak: Option<u64>,
    /// The most it used of the main memory; `None`: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_peak: Option<u64>,
    /// GPU memory set aside from now on; `None`: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_reserved: Option<u64>,
    /// Main memory set aside from now on; `None`: it is not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_reserved: Option<u64>,
    /// Its need is known: it has trained for a while and grows no more.
    pub settled: bool,
    /// The most GPU memory it had used when its need was first known; `None`: it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_settled: Option<u64>,
    /// The first GPU memory it was seen to use, which is about what its process needs before it holds anything
    /// of its own; `None`: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_first: Option<u64>,
    /// The report of training (1, 2, …) with which its use of the GPU was last seen to have grown; `None`: it was
    /// not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_grown_at: Option<u32>,
}

/// Why a trial has no process although there is a place for one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Why, in one word.
    pub reason: WaitReason,
    /// The GPU that is kept free for it, once it has waited long enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<String>,
    /// Why, for people.
    pub detail: String,
}

/// What a trial waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitReason {
    /// Memory of a GPU.
    GpuMemory,
    /// Another trial whose need is not known yet, or a place on a GPU.
    GpuBusy,
    /// A GPU: there is none, or none can be used at present.
    NoGpu,
    /// Main memory.
    HostMemory,
    /// A GPU, or the machine, to itself.
    Alone,
}

/// How a process ran out of memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Oom {
    /// Which memory.
    pub of: MemoryKind,
    /// The line that says so, or what else shows it.
    pub message: String,
    /// What it had asked for when there was not enough, where the message says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested: Option<u64>,
}

/// A kind of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemoryKind {
    /// A GPU's.
    Gpu,
    /// The machine's main memory.
    Host,
}

/// An amount of memory for people: `1.5 GiB`.
#[must_use]
pub fn bytes(n: u64) -> String {
    const UNITS: [(&str, u64); 4] = [
        ("TiB", 1 << 40),
        ("GiB", GIB),
        ("MiB", MIB),
        ("KiB", 1 << 10),
    ];
    let unit = UNITS.iter().find(|(_, size)| n >= *size);
    match unit {
        None => format!("{n} B"),
        Some((name, size)) => {
            let amount = n as f64 / *size as f64;
            if amount >= 100.0 || amount.fract() == 0.0 {
                format!("{amount:.0} {name}")
            } else {
                format!("{amount:.1} {name}")
            }
        }
    }
}

/// Reads an amount of memory: a number and a unit, `8GiB`, `512 MiB`, `2.5GB` (a GB is 10⁹ bytes).
///
/// # Errors
/// A sentence saying what is wrong.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    const UNITS: &[(&str, f64)] = &[
        ("kib", 1024.0),
        ("mib", 1_048_576.0),
        ("gib", 1_073_741_824.0),
        ("tib", 1_099_511_627_776.0),
        ("kb", 1e3),
        ("mb", 1e6),
        ("gb", 1e9),
        ("tb", 1e12),
    ];
    let text = text.trim().to_lowercase();
    let digits = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim();
    let Some((_, factor)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(match (number.is_empty(), unit) {
            (false, "") => "a number alone has no unit: write `8GiB` or `512MiB`".to_owned(),
            (false, "k" | "m" | "g" | "t") => {
                let letter = unit.to_uppercase();
                format!("`{letter}` could be {letter}iB or {letter}B: write `{number}{letter}iB`")
            }
            _ => format!("`{text}` is no amount of memory: write `8GiB` or `512MiB`"),
        });
    };
    let number: f64 = number
        .parse()
        .map_err(|_| format!("`{text}` is no amount of memory: write `8GiB` or `512MiB`"))?;
    let amount = number * factor;
    if amount < 1.0 {
        Err("an amount of memory must be more than 0".to_owned())
    } else if amount > (1_u64 << 50) as f64 {
        Err("that is more than 1024 TiB".to_owned())
    } else {
        Ok(amount as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_and_written() {
        assert_eq!(parse_bytes("8GiB"), Ok(8 * GIB));
        assert_eq!(parse_bytes(" 512 MiB "), Ok(512 * MIB));
        assert_eq!(parse_bytes("2.5gb"), Ok(2_500_000_000));
        assert!(parse_bytes("8").unwrap_err().contains("no unit"));
        assert!(parse_bytes("8G").unwrap_err().contains("8GiB"));
        for wrong in [
            "",
            "x",
            "GiB",
            "-3GiB",
            "1.2.3GiB",
            "0GiB",
            "9e9GiB",
            "99999999TiB",
        ] {
            assert!(parse_bytes(wrong).is_err(), "{wrong}");
        }
        assert_eq!(bytes(8 * GIB), "8 GiB");
        assert_eq!(bytes(GIB + GIB / 2), "1.5 GiB");
        assert_eq!(bytes(700 * MIB), "700 MiB");
        assert_eq!(bytes(12), "12 B");
    }

    #[test]
    fn gpus_are_named_by_number_or_by_the_beginning_of_their_uuid() {
        let only = Devices::Only(vec![Device::Index(1), Device::Uuid("GPU-ab".to_owned())]);
        assert!(only.have(1, "GPU-00"));
        assert!(only.have(7, "GPU-abcd"));
        assert!(!only.have(0, "GPU-00"));
        assert!(Devices::All.have(9, "x"));
    }
}
