//! Objectives that `hpo` measures itself: a trial need not report them.

use crate::spec::StudySpec;

/// What names of measured objectives begin with.
pub const PREFIX: &str = "hpo/";

/// Something of a trial that `hpo` measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Measured {
    /// How long its processes ran, all together, in seconds.
    Seconds,
    /// The most main memory that one of its processes held, in MiB.
    Memory,
    /// The most memory of its GPU that its processes held together, in MiB.
    GpuMemory,
}

impl Measured {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Seconds, Self::Memory, Self::GpuMemory];

    /// Its name in study files, and under which it stands among a trial's metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Seconds => "hpo/seconds",
            Self::Memory => "hpo/memory_mib",
            Self::GpuMemory => "hpo/gpu_memory_mib",
        }
    }

    /// What a metric's name means; `None`: the trial has to report it.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    /// Whether a study wants it measured.
    #[must_use]
    pub fn is_wanted(self, spec: &StudySpec) -> bool {
        spec.objectives().any(|metric| metric.name == self.name())
    }
}
