//! Out of memory: how it is told from other crashes, and what becomes of the trial.

use hpo_study::{AttemptEnd, EventKind, FailReason, History, MemoryKind, Oom, OomPolicy, Trial};

/// How much of the end of a process's stderr is looked at, in bytes.
pub const LOOKED_AT: usize = 64 << 10;
/// How often a trial that ran out of memory is started again; the last time alone.
pub const MOST_OOM_RETRIES: usize = 2;

/// What processes write when a GPU has no more memory: parts of lines, in lower case.
///
/// PyTorch 1.x–2.x (`c10/cuda/CUDACachingAllocator.cpp`), cuBLAS and cuDNN status names, the CUDA
/// driver's and runtime's error names, HIP, XLA (JAX, TensorFlow), TensorFlow's BFC allocator, candle and
/// cudarc.
const OF_GPU: &[&str] = &[
    "cuda out of memory. tried to allocate",
    "cuda out of memory",
    "would exceed allowed memory",
    "exceed per_process_memory_fraction",
    "cuda error: out of memory",
    "cuda runtime error (2)",
    "cudaerrormemoryallocation",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
    "cusolver_status_alloc_failed",
    "hip out of memory",
    "mps backend out of memory",
    "xpu out of memory",
    "resource_exhausted: out of memory",
    "resource exhausted: oom",
    "oom when allocating tensor",
    "cuda_error_out_of_memory",
];

/// The same for the main memory.
const OF_HOST: &[&str] = &[
    "memoryerror",
    "defaultcpuallocator: can't allocate memory",
    "defaultcpuallocator: not enough memory",
    "cannot allocate memory",
    "std::bad_alloc",
    "memory allocation of ",
    "numpy._core._exceptions._arraymemoryerror",
    "unable to allocate array",
];

/// What is known of the main memory when a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct HostEvidence {
    /// How many processes the kernel has killed for want of memory, in the control group of the trials, while
    /// this one ran; `None`: unknown.
    pub kills: Option<u64>,
    /// Share of the main memory that was available when the end was seen; `None`: unknown.
    pub available: Option<f64>,
}

/// Below this share of the main memory a process that got SIGKILL from nobody here was killed for it.
const SHORT_OF_MEMORY: f64 = 0.02;

/// Whether a process ran out of memory: it ended with an error AND said so in the end of its stderr; or
/// SIGKILL ended it (as a signal, or as exit code 137 from a shell or container), nobody here had sent
/// that, and the machine was short of memory.
#[must_use]
pub fn recognize(
    code: Option<i32>,
    signal: Option<i32>,
    stderr: &str,
    host: HostEvidence,
) -> Option<Oom> {
    const SIGKILL: i32 = 9;
    if code == Some(0) {
        return None;
    }
    let tail = tail(stderr);
    if let Some((of, line)) = tail
        .lines()
        .rev()
        .find_map(|line| Some((kind_of(line)?, line)))
    {
        return Some(Oom {
            of,
            message: shortened(line),
            requested: requested(line),
        });
    }
    if signal != Some(SIGKILL) && code != Some(128 + SIGKILL) {
        return None;
    }
    let message = if host.kills.is_some_and(|kills| kills > 0) {
        "the kernel killed it: the machine's memory was used up".to_owned()
    } else {
        let share = host.available.filter(|share| *share < SHORT_OF_MEMORY)?;
        format!(
            "it was killed while only {:.1} % of the machine's memory was available",
            share * 100.0
        )
    };
    Some(Oom {
        of: MemoryKind::Host,
        message,
        requested: None,
    })
}

fn tail(text: &str) -> &str {
    let mut from = text.len().saturating_sub(LOOKED_AT);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    text.get(from..).unwrap_or_default()
}

fn kind_of(line: &str) -> Option<MemoryKind> {
    let line = line.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| line.contains(word));
    if has(OF_GPU) {
        Some(MemoryKind::Gpu)
    } else if has(OF_HOST) {
        Some(MemoryKind::Host)
    } else {
        None
    }
}

fn shortened(line: &str) -> String {
    const MOST: usize = 300;
    let line = line.trim();
    let cut: String = line.chars().take(MOST).collect();
    if cut.len() < line.len() {
        cut + "…"
    } else {
        cut
    }
}

/// What was asked for when there was not enough: `Tried to allocate 2.50 GiB`, `you tried to allocate
/// 800000 bytes`, `trying to allocate 1073741824 bytes`, `memory allocation of 4096 bytes`.
fn requested(line: &str) -> Option<u64> {
    let line = line.to_lowercase();
    let after = [
        "tried to allocate ",
        "to allocate ",
        "memory allocation of ",
        "allocating ",
    ]
    .iter()
    .find_map(|words| line.split_once(words).map(|(_, after)| after))?;
    let mut words = after.split_whitespace();
    let (number, unit) = (words.next()?, words.next()?);
    let unit = unit.trim_end_matches(|c: char| !c.is_alphabetic());
    if matches!(unit, "bytes" | "byte" | "b") {
        return number.trim_end_matches('b').parse().ok();
    }
    hpo_study::memory::parse_bytes(&format!("{number}{unit}")).ok()
}

/// What becomes of a trial whose process ran out of memory: it is put back, and started again with more
/// memory set aside, at last alone; then it is infeasible.
pub(crate) fn after(history: &History, trial: &Trial, oom: &Oom) -> EventKind {
    let tried = trial.attempts.iter().filter(|a| is_oom(&a.end)).count();
    if history.spec().failure.oom == OomPolicy::Retry && tried <= MOST_OOM_RETRIES {
        return EventKind::TrialRequeued { trial: trial.id };
    }
    let times = if tried == 1 {
        String::new()
    } else {
        format!(", {tried} times, at last alone")
    };
    EventKind::TrialFailed {
        trial: trial.id,
        reason: FailReason::Oom {
            evidence: format!("it ran out of memory{times}: {}", oom.message),
            tried: u32::try_from(tried).unwrap_or(u32::MAX),
        },
    }
}

/// How many of a trial's attempts ran out of memory.
pub(crate) fn count(trial: &Trial) -> usize {
    trial.attempts.iter().filter(|a| is_oom(&a.end)).count()
}

fn is_oom(end: &Option<AttemptEnd>) -> bool {
    matches!(end, Some(AttemptEnd::OutOfMemory { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn see(stderr: &str) -> Option<Oom> {
        recognize(Some(1), None, stderr, HostEvidence::default())
    }

    #[test]
    fn the_frameworks_words_are_known() {
        const GIB: u64 = 1 << 30;
        let torch = "Traceback (most recent call last):\n  File \"t.py\", line 3, in <module>\n\
            torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total \
            capacity of 7.79 GiB of which 1.05 GiB is free. Process 4 has 6.7 GiB memory in use.\n";
        let oom = see(torch).expect("PyTorch");
        assert_eq!(
            (oom.of, oom.requested),
            (MemoryKind::Gpu, Some(GIB / 2 * 5))
        );
        assert!(
            oom.message
                .starts_with("torch.OutOfMemoryError: CUDA out of memory")
        );
        for (line, of, requested) in [
            (
                "RuntimeError: CUDA error: out of memory",
                MemoryKind::Gpu,
                None,
            ),
            (
                "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
                MemoryKind::Gpu,
                None,
            ),
            (
                "RuntimeError: cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
                MemoryKind::Gpu,
                None,
            ),
            (
                "torch.OutOfMemoryError: HIP out of memory. Tried to allocate 20.00 MiB.",
                MemoryKind::Gpu,
                Some(20 << 20),
            ),
            (
                "jaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory while trying to allocate 4294967296 bytes.",
                MemoryKind::Gpu,
                Some(4 * GIB),
            ),
            (
                "tensorflow.python.framework.errors_impl.ResourceExhaustedError: OOM when allocating tensor with shape[256,1024]",
                MemoryKind::Gpu,
                None,
            ),
            (
                "failed to allocate 1.2GiB: CUDA_ERROR_OUT_OF_MEMORY: out of memory",
                MemoryKind::Gpu,
                None,
            ),
            (
                "Error: DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")",
                MemoryKind::Gpu,
                None,
            ),
            (
                "RuntimeError: [enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 800000000000 bytes. Error code 12 (Cannot allocate memory)",
                MemoryKind::Host,
                Some(800_000_000_000),
            ),
            ("MemoryError", MemoryKind::Host, None),
            (
                "terminate called after throwing an instance of 'std::bad_alloc'",
                MemoryKind::Host,
                None,
            ),
            (
                "memory allocation of 4096 bytes failed",
                MemoryKind::Host,
                Some(4096),
            ),
        ] {
            let oom = see(line).unwrap_or_else(|| panic!("{line}"));
            assert_eq!((oom.of, oom.requested), (of, requested), "{line}");
        }
    }

    #[test]
    fn words_alone_or_an_error_alone_are_not_enough() {
        let words = "warning: CUDA out of memory. Tried to allocate 1.00 GiB, retrying with half";
        assert!(recognize(Some(0), None, words, HostEvidence::default()).is_none());
        assert!(see("ZeroDivisionError: division by zero").is_none());
        assert!(see("").is_none());
        // What stands far above the end was survived.
        let long = format!("{words}\n{}", "loss 0.1\n".repeat(10_000));
        assert!(see(&long).is_none());
        let umlauts = "ä".repeat(LOOKED_AT);
        assert!(see(&format!("{umlauts}x")).is_none());
    }

    #[test]
    fn a_kill_is_for_want_of_memory_only_with_evidence() {
        let kill = |code, signal, kills, available| {
            recognize(code, signal, "", HostEvidence { kills, available })
        };
        assert!(kill(None, Some(9), None, None).is_none());
        assert!(kill(None, Some(9), Some(0), Some(0.5)).is_none());
        assert!(kill(None, Some(15), Some(3), None).is_none());
        assert_eq!(
            kill(None, Some(9), Some(1), None).map(|o| o.of),
            Some(MemoryKind::Host)
        );
        assert_eq!(
            kill(Some(137), None, Some(1), None).map(|o| o.of),
            Some(MemoryKind::Host)
        );
        let short = kill(None, Some(9), None, Some(0.01)).expect("short of memory");
        assert!(short.message.contains("1.0 %"), "{}", short.message);
    }
}
