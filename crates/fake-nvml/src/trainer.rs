//! A trainer that uses no GPU and behaves like one that does: it "allocates" by writing its own process number
//! into the [`State`]'s file, along the ramp that real trainings show, reports losses as `hpo`'s trial
//! protocol wants it, and dies with the framework's own words when the memory does not suffice.
//!
//! What it does comes from the configuration in `HPO_PARAMS` (or its first argument), a JSON object:
//!
//! | key | |
//! |---|---|
//! | `mib` | its peak in steady training, context included |
//! | `context` | MiB of the CUDA context: there before anything else (400) |
//! | `bump` | MiB more during each validation, every third step (0) |
//! | `leak` | MiB more with every step (0) |
//! | `steps` | how many steps it trains (8); `HPO_BUDGET` cuts them short |
//! | `pace` | milliseconds of a step, and a tenth of it between the stages of the ramp (40) |
//! | `framework` | whose words it dies with: `pytorch`, `jax`, `tensorflow` |
//! | `child` | 1: the memory is held by a child process, as launchers do |
//! | `crash` | the step at which it leaves with exit code 3 and no word about memory |
//! | `room` | 1: the card has room for it, whatever the driver says |
//! | `host` | MiB of the main memory that it really takes, besides (0) |
//! | `gate` | a directory: before its last step it waits for a file there, named by its trial's number or `all` |

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::state::State;

const MIB: u64 = 1 << 20;

#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
struct Plan {
    mib: f64,
    context: u64,
    bump: u64,
    leak: u64,
    steps: u64,
    pace: u64,
    framework: String,
    child: u64,
    crash: Option<u64>,
    room: u64,
    host: u64,
    gate: Option<PathBuf>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            mib: 1024.0,
            context: 400,
            bump: 0,
            leak: 0,
            steps: 8,
            pace: 40,
            framework: "pytorch".to_owned(),
            child: 0,
            crash: None,
            room: 0,
            host: 0,
            gate: None,
        }
    }
}

/// Why it cannot go on.
enum Trouble {
    /// The memory does not suffice: what was asked for, in bytes, and what the framework says of it.
    Memory(String),
    /// Something is wrong with the test.
    Setup(String),
}

/// Trains; gives back the exit code.
#[must_use]
pub fn main() -> i32 {
    let text = std::env::args()
        .nth(1)
        .filter(|argument| argument.starts_with('{'));
    let text = text.or_else(|| std::env::var("HPO_PARAMS").ok());
    let plan = match serde_json::from_str::<Plan>(text.as_deref().unwrap_or("{}")) {
        Ok(plan) => plan,
        Err(error) => {
            say_error(&format!("fake trainer: {error}"));
            return 2;
        }
    };
    if plan.child != 0 && std::env::var_os("FAKE_TRAINER_CHILD").is_none() {
        return in_child();
    }
    match train(&plan) {
        Ok(code) => code,
        Err(Trouble::Memory(words)) => {
            say_error(&words);
            1
        }
        Err(Trouble::Setup(words)) => {
            say_error(&format!("fake trainer: {words}"));
            2
        }
    }
}

/// As `torchrun` and `accelerate launch` do: the work is a child's.
fn in_child() -> i32 {
    let Ok(program) = std::env::current_exe() else {
        return 2;
    };
    let status = std::process::Command::new(program)
        .args(std::env::args_os().skip(1))
        .env("FAKE_TRAINER_CHILD", "1")
        .status();
    status.ok().and_then(|status| status.code()).unwrap_or(2)
}

fn train(plan: &Plan) -> Result<i32, Trouble> {
    let path = State::file().ok_or_else(|| Trouble::Setup("no state".to_owned()))?;
    let gpu = Gpu { path, plan };
    // Not zeros: pages that nobody has written to are not there.
    let held = vec![1_u8; usize::try_from(plan.host * MIB).unwrap_or(0)];
    let peak = plan.mib.max(0.0) as u64;
    let body = peak.saturating_sub(plan.context);
    // The context, then the weights; gradients and activations come with the first step, and the
    // optimizer's state at its end, which is why one forward pass says too little.
    gpu.hold(plan.context)?;
    gpu.pause(10);
    gpu.hold(plan.context + body / 4)?;
    let steps = std::env::var("HPO_BUDGET")
        .ok()
        .and_then(|b| b.parse().ok());
    let steps = plan.steps.min(steps.unwrap_or(u64::MAX));
    for step in 1..=steps {
        if plan.crash == Some(step) {
            say_error("Segmentation fault, or so it seems");
            return Ok(3);
        }
        if step == steps {
            gpu.wait_at_gate();
        }
        let steady = plan.context + body + plan.leak * (step - 1);
        if step == 1 {
            gpu.pause(10);
            gpu.hold(plan.context + body * 6 / 10)?;
            gpu.pause(10);
        }
        gpu.hold(steady)?;
        gpu.pause(100);
        if plan.bump > 0 && step % 3 == 0 {
            gpu.hold(steady + plan.bump)?;
            gpu.pause(50);
            gpu.hold(steady)?;
        }
        let loss = 2.3 / (step as f64 + plan.mib / 4096.0);
        println!("[hpo] {{\"step\": {step}, \"loss\": {loss}}}");
        let _ = std::io::stdout().flush();
    }
    gpu.hold(0)?;
    drop(std::hint::black_box(held));
    Ok(0)
}

struct Gpu<'p> {
    path: std::path::PathBuf,
    plan: &'p Plan,
}

impl Gpu<'_> {
    /// Holds so many MiB from now on, if there is room.
    fn hold(&self, mib: u64) -> Result<(), Trouble> {
        let visible = std::env::var("CUDA_VISIBLE_DEVICES").unwrap_or_default();
        let wanted = visible.split(',').next().unwrap_or_default().to_owned();
        let pid = std::process::id();
        let answer = State::change(&self.path, |state| {
            let all = state.gpus.iter_mut();
            let mut all = all.flat_map(|gpu| {
                // An instance is found by its own name only.
                match gpu.instances.iter().position(|part| part.uuid == wanted) {
                    Some(part) => gpu.instances.get_mut(part),
                    None => Some(gpu),
                }
            });
            let by_index = wanted.parse::<usize>();
            let gpu = match by_index {
                Ok(index) => all.nth(index),
                Err(_) if wanted.is_empty() => all.next(),
                Err(_) => all.find(|gpu| gpu.uuid == wanted),
            };
            let Some(gpu) = gpu else {
                return Err(Trouble::Setup(format!("no CUDA device {wanted:?}")));
            };
            let held = gpu.bytes_of(pid);
            let more = (mib * MIB).saturating_sub(held);
            let cap = self.cap(gpu.total);
            let body = (mib.saturating_sub(self.plan.context)) * MIB;
            if cap.is_some_and(|cap| body > cap) || (self.plan.room == 0 && more > gpu.free()) {
                let numbers = Numbers {
                    more,
                    total: gpu.total,
                    free: gpu.free(),
                    held,
                    cap,
                };
                return Err(Trouble::Memory(numbers.words(&self.plan.framework)));
            }
            gpu.set(pid, mib * MIB);
            Ok(())
        });
        match answer {
            Ok(result) => result,
            Err(error) => Err(Trouble::Setup(error.to_string())),
        }
    }

    /// The most that the framework gives out, by its environment; the context does not count.
    fn cap(&self, total: u64) -> Option<u64> {
        let variable = |name: &str| std::env::var(name).ok();
        let fraction = match self.plan.framework.as_str() {
            // The older name wins where both are set (PyTorch 2.15).
            "pytorch" => variable("PYTORCH_CUDA_ALLOC_CONF")
                .or_else(|| variable("PYTORCH_ALLOC_CONF"))
                .and_then(|options| {
                    let mut options = options.split(',').map(str::to_owned);
                    options.find_map(|o| {
                        Some(o.strip_prefix("per_process_memory_fraction:")?.to_owned())
                    })
                }),
            "jax" => variable("XLA_PYTHON_CLIENT_MEM_FRACTION")
                .or_else(|| variable("XLA_CLIENT_MEM_FRACTION")),
            _ => None,
        };
        let fraction: f64 = fraction?.parse().ok()?;
        Some((total as f64 * fraction) as u64)
    }

    /// Holds what it has until the gate is opened.
    fn wait_at_gate(&self) {
        let Some(gate) = &self.plan.gate else { return };
        let trial = std::env::var("HPO_TRIAL").unwrap_or_default();
        while !gate.join(&trial).is_file() && !gate.join("all").is_file() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// So many hundredths of a step.
    fn pause(&self, hundredths: u64) {
        std::thread::sleep(Duration::from_micros(self.plan.pace * 10 * hundredths));
    }
}

struct Numbers {
    more: u64,
    total: u64,
    free: u64,
    held: u64,
    cap: Option<u64>,
}

impl Numbers {
    /// The framework's words for this.
    fn words(&self, framework: &str) -> String {
        match framework {
            "jax" => format!(
                "jaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory while trying to \
                 allocate {} bytes.",
                self.more
            ),
            "tensorflow" => format!(
                "tensorflow.python.framework.errors_impl.ResourceExhaustedError: OOM when allocating tensor \
                 with shape[{},1024,256] and type float on /job:localhost/replica:0/task:0/device:GPU:0 by \
                 allocator GPU_0_bfc",
                self.more / MIB
            ),
            _ => self.torch(),
        }
    }

    /// PyTorch 2.15's words, put together as its allocator does.
    fn torch(&self) -> String {
        let allowed = self
            .cap
            .map_or_else(String::new, |cap| format!("{} allowed; ", size(cap)));
        format!(
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate {}. GPU 0 has a total capacity of \
             {} of which {} is free. Including non-PyTorch memory, this process has {} memory in use. \
             {allowed}Of the allocated memory {} is allocated by PyTorch, and 0 bytes is reserved by PyTorch \
             but unallocated.",
            size(self.more),
            size(self.total),
            size(self.free),
            size(self.held),
            size(self.held),
        )
    }
}

/// `20.00 MiB`, `2.35 GiB`: as PyTorch writes sizes.
fn size(bytes: u64) -> String {
    let mib = bytes as f64 / MIB as f64;
    if mib >= 1024.0 {
        format!("{:.2} GiB", mib / 1024.0)
    } else {
        format!("{mib:.2} MiB")
    }
}

fn say_error(words: &str) {
    let _ = writeln!(std::io::stderr(), "{words}");
}
