//! The GPUs of this machine: what they are, what is used of them and by whom, and what a trial has to know
//! to stay within its part of one.
//!
//! Nothing is decided here. Readings go to the engine as part of its inventory; where a trial goes and
//! what is done when memory runs short is the engine's.

mod accounts;
mod delta;
mod device;
mod ends;
pub(crate) mod environment;
mod nvml;
mod processes;
mod timeline;
mod torch;
mod unified;
mod v1;
mod watch;
mod xid;

use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use hpo_engine::{Input, Inventory};
use hpo_study::{
    Assignment, Fallback, GpuSample, GpuShare, GpuSpec, History, StudySpec, Timestamp, Trial,
    TrialShare,
};

use crate::error::RunError;
use crate::session::{AttemptId, Session};
use ends::Ends;
use environment::visible_to_us;
use timeline::Timeline;
use watch::Watch;

pub use device::{Device, Machine, Memory, Process};
pub use nvml::LIBRARY;

/// How long the driver may take to answer somebody who only wants to look.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where readings come from.
pub(crate) trait GpuProbe: Send {
    /// Reads all GPUs. Blocks for as long as the driver does, so it is called on a thread of its own.
    fn read(&mut self) -> Machine;
}

/// For a machine without an NVIDIA driver, and for studies that want no GPU.
#[derive(Debug)]
pub(crate) struct NoGpu {
    why: String,
}

impl GpuProbe for NoGpu {
    fn read(&mut self) -> Machine {
        Machine {
            trouble: Some(self.why.clone()),
            is_without_driver: true,
            ..Machine::default()
        }
    }
}

/// The probe for this machine: the driver's library, or nothing where there is none.
pub(crate) fn probe() -> Box<dyn GpuProbe> {
    match nvml::find() {
        Ok(nvml) => Box::new(nvml),
        Err(why) => Box::new(NoGpu { why }),
    }
}

/// One look at this machine's GPUs, for people. A driver that does not answer is given up after ten seconds.
#[must_use]
pub fn look() -> Machine {
    let (say, hear) = mpsc::channel();
    let looking = std::thread::Builder::new()
        .name("gpus".to_owned())
        .spawn(move || {
            let machine = probe().read();
            let _ = say.send(machine);
        });
    let machine = match looking {
        Ok(_) => hear.recv_timeout(PATIENCE),
        Err(_) => Err(mpsc::RecvTimeoutError::Disconnected),
    };
    machine.unwrap_or_else(|error| {
        let trouble = match error {
            mpsc::RecvTimeoutError::Timeout => {
                let seconds = PATIENCE.as_secs();
                format!(
                    "the NVIDIA driver does not answer (waited {seconds} s): `dmesg` may say why"
                )
            }
            mpsc::RecvTimeoutError::Disconnected => {
                "asking the NVIDIA driver failed; this is a bug in hpo".to_owned()
            }
        };
        Machine {
            trouble: Some(trouble),
            ..Machine::default()
        }
    })
}

/// The GPUs of a machine that a study may use: those it names, of those that are visible to `hpo`.
pub fn usable<'m>(machine: &'m Machine, wishes: &'m GpuSpec) -> impl Iterator<Item = &'m Device> {
    let gpus = machine.gpus.iter();
    gpus.filter(|gpu| wishes.devices.have(gpu.index, &gpu.uuid) && visible_to_us(gpu))
}

/// Why a study can have no GPU of a machine however long it waits; `None`: it has one, or may have one when
/// the driver is well again.
#[must_use]
pub fn missing(machine: &Machine, wishes: &GpuSpec) -> Option<String> {
    let has_none = usable(machine, wishes).next().is_none();
    match &machine.trouble {
        Some(why) => machine.is_without_driver.then(|| why.clone()),
        None if machine.gpus.is_empty() => Some("the NVIDIA driver sees no GPU".to_owned()),
        None => has_none.then(|| {
            "none of its GPUs is among those that the study may use (`gpu.devices`, and CUDA_VISIBLE_DEVICES \
             of hpo itself)"
                .to_owned()
        }),
    }
}

/// All that a session's coordinator needs of GPUs and main memory; idle in a study that counts neither.
#[derive(Debug, Default)]
pub(crate) struct Gpus {
    watch: Option<Watch>,
    ends: Ends,
    timeline: Timeline,
    now: Vec<GpuSample>,
    /// There is no GPU for the study, and it makes do with the CPU.
    cpu_only: bool,
}

impl Gpus {
    /// Begins to look, if the study counts memory.
    ///
    /// # Errors
    /// When the study is for GPUs and there is none for it, or no thread for looking.
    pub(crate) fn start(spec: &StudySpec, session: Session) -> Result<Self, RunError> {
        let mut gpus = Self {
            watch: Watch::start(spec, session)?,
            ..Self::default()
        };
        if let (Some(wishes), Some(watch)) = (&spec.gpu, &mut gpus.watch)
            && let Some(why) = watch.missing()
        {
            if wishes.fallback == Fallback::None {
                return Err(RunError::NoGpu { why });
            }
            tracing::warn!("{why}; trials run on the CPU (`gpu.fallback`)");
            watch.leave_gpus();
            gpus.cpu_only = true;
        }
        Ok(gpus)
    }

    /// Whether there is a reading that the engine has not seen.
    pub(crate) fn has_news(&self) -> bool {
        self.watch.as_ref().is_some_and(Watch::has_news)
    }

    /// Waits for the next reading.
    pub(crate) async fn news(&self) {
        match &self.watch {
            Some(watch) => watch.news().await,
            None => std::future::pending().await,
        }
    }

    /// Hears of processes that run and of those that have ended; says of the latter which did so for want
    /// of memory.
    pub(crate) fn hear(&mut self, inputs: &mut [Input], history: &History, study_dir: &Path) {
        for input in inputs.iter_mut() {
            if let Input::Started { trial, attempt, .. } = *input {
                self.ends.began(AttemptId { trial, attempt });
            }
            self.ends.understand(input, history, study_dir);
        }
        let Some(watch) = &mut self.watch else {
            return;
        };
        for input in inputs {
            match *input {
                Input::Started {
                    trial,
                    attempt,
                    pid,
                } => {
                    let record = history.trial(trial).and_then(Trial::attempt);
                    let assignment = record.and_then(|attempt| attempt.assignment.as_ref());
                    let share = assignment.and_then(|assignment| assignment.gpu.as_ref());
                    let gpu = share.map(|share| share.uuid.clone());
                    watch.began(AttemptId { trial, attempt }, pid, gpu);
                }
                Input::Ended { trial, attempt, .. } => watch.ended(AttemptId { trial, attempt }),
                _ => {}
            }
        }
    }

    /// Adds the last readings to an inventory.
    pub(crate) fn fill(&mut self, inventory: &mut Inventory) {
        inventory.cpu_only = self.cpu_only;
        if let Some(watch) = &mut self.watch {
            watch.fill(inventory);
            if let Some(trouble) = watch.trouble() {
                tracing::warn!("{trouble}");
            }
        }
    }

    /// Puts together what each GPU holds now; gives back what of it is to be written.
    pub(crate) fn note(
        &mut self,
        history: &History,
        inventory: &Inventory,
        at: Timestamp,
    ) -> Vec<GpuSample> {
        if inventory.gpus.is_empty() {
            return Vec::new();
        }
        self.now = samples(history, inventory, at);
        self.timeline.see(&self.now)
    }

    /// What has not been written yet; the last of all.
    pub(crate) fn rest(&mut self) -> Vec<GpuSample> {
        self.timeline.rest()
    }

    /// What each GPU holds at present.
    pub(crate) fn now(&self) -> &[GpuSample] {
        &self.now
    }

    /// What was set aside on a GPU by an assignment, and all of that GPU's memory in bytes where it is known.
    pub(crate) fn place<'a>(
        &self,
        assignment: Option<&'a Assignment>,
    ) -> Option<(&'a GpuShare, Option<u64>)> {
        let share = assignment?.gpu.as_ref()?;
        let gpu = self.now.iter().find(|gpu| gpu.gpu == share.uuid);
        Some((share, gpu.and_then(|gpu| gpu.total)))
    }
}

fn samples(history: &History, inventory: &Inventory, at: Timestamp) -> Vec<GpuSample> {
    let limit = history.spec().gpu.as_ref().and_then(|gpu| gpu.memory_limit);
    let sample = |gpu: &hpo_engine::gpu::Gpu| {
        let whole = gpu.memory.map(|m| m.total.saturating_sub(m.reserved));
        let lost = match &gpu.health {
            hpo_engine::gpu::Health::Present => None,
            hpo_engine::gpu::Health::Lost { why } => Some(why.clone()),
        };
        GpuSample {
            at,
            gpu: gpu.uuid.clone(),
            index: gpu.index,
            name: gpu.name.clone(),
            lost,
            total: gpu.memory.map(|m| m.total),
            limit: match (limit, whole) {
                (Some(limit), Some(whole)) => Some(limit.min(whole)),
                (limit, whole) => limit.or(whole),
            },
            used: gpu.memory.map(|m| m.used),
            trials: history
                .runs()
                .filter_map(|trial| share(trial, &gpu.uuid, inventory))
                .collect(),
        }
    };
    inventory.gpus.iter().map(sample).collect()
}

/// What a trial has of a GPU, while its process is there.
fn share(trial: &Trial, uuid: &str, inventory: &Inventory) -> Option<TrialShare> {
    if !trial.state.is_active() {
        return None;
    }
    let attempt = trial.attempt().filter(|a| a.end.is_none())?;
    let share = attempt.assignment.as_ref()?.gpu.as_ref()?;
    if share.uuid != uuid {
        return None;
    }
    let usage = inventory.usage.iter();
    let mut usage = usage.filter(|u| (u.trial, u.attempt) == (trial.id, attempt.number));
    let reserved = attempt.memory.and_then(|memory| memory.gpu_reserved);
    Some(TrialShare {
        trial: trial.id,
        attempt: attempt.number,
        reserved: reserved.unwrap_or(share.memory),
        used: usage.next().and_then(|usage| usage.gpu_memory),
    })
}
