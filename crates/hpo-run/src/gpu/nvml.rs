//! NVIDIA's management library (NVML), which comes with the driver. It is looked for at run time, so the
//! program starts without it; a function that an older driver lacks is one reading less, never an error.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::mem;
use std::time::{Duration, Instant};

use nvml_wrapper::enum_wrappers::device::{EccCounter, MemoryError, TemperatureSensor};
use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::struct_wrappers::device::ProcessInfo;
use nvml_wrapper::{Device as Handle, Nvml as Library};

use super::processes::machine_memory;
use super::unified::{self, is_unified};
use super::xid::Listener;
use super::{Device, GpuProbe, Machine, Memory, Process, v1};

/// The variable that names another library file than the driver's own.
pub const LIBRARY: &str = "HPO_NVML_LIBRARY";

/// What the driver installs.
const DRIVERS_OWN: &str = "libnvidia-ml.so.1";
/// How often what changes slowly is read.
const SLOWLY: Duration = Duration::from_secs(1);
/// How long to wait before a driver that refused is asked again.
const AGAIN: Duration = Duration::from_secs(2);
/// More GPUs than a machine has, …
const MOST_GPUS: u32 = 1024;
/// … more instances than a GPU has, …
const MOST_INSTANCES: u32 = 64;
/// … and more processes than one can have.
const MOST_PROCESSES: u32 = 1 << 16;

/// The driver's library, loaded anew after the driver was gone.
pub(super) struct Nvml {
    path: OsString,
    library: Option<Library>,
    /// When to try again, and what was wrong.
    refused: Option<(Instant, String)>,
    driver: Option<String>,
    listener: Option<Listener>,
    /// What is known of each GPU, by its UUID: also of those that are gone.
    known: BTreeMap<String, Device>,
    read_slowly: Option<Instant>,
}

/// The library, or in words for people why there is none on this machine.
pub(super) fn find() -> Result<Nvml, String> {
    let named = std::env::var_os(LIBRARY).filter(|path| !path.is_empty());
    let path = named.clone().unwrap_or_else(|| DRIVERS_OWN.into());
    let mut nvml = Nvml {
        path,
        library: None,
        refused: None,
        driver: None,
        listener: None,
        known: BTreeMap::new(),
        read_slowly: None,
    };
    match nvml.load() {
        Err(NvmlError::LibloadingError(_)) if named.is_none() => {
            Err("no NVIDIA driver: CPU only".to_owned())
        }
        Err(NvmlError::LibloadingError(error)) => Err(format!(
            "{LIBRARY} names no library that can be loaded: {error}"
        )),
        Err(error) => {
            nvml.refuse(&error);
            Ok(nvml)
        }
        Ok(()) => Ok(nvml),
    }
}

impl GpuProbe for Nvml {
    fn read(&mut self) -> Machine {
        if self.library.is_none() {
            if let Some((again, why)) = &self.refused
                && Instant::now() < *again
            {
                return self.nothing(why.clone());
            }
            if let Err(error) = self.load() {
                let why = self.refuse(&error);
                return self.nothing(why);
            }
        }
        match self.read_all() {
            Ok(gpus) => Machine {
                driver: self.driver.clone(),
                gpus,
                ..Machine::default()
            },
            Err(error) => {
                self.unload();
                let why = self.refuse(&error);
                self.nothing(why)
            }
        }
    }
}

impl Drop for Nvml {
    fn drop(&mut self) {
        self.unload();
    }
}

impl Nvml {
    fn load(&mut self) -> Result<(), NvmlError> {
        let library = Library::builder().lib_path(&self.path).init()?;
        self.driver = library.sys_driver_version().ok();
        self.library = Some(library);
        self.listener = Some(Listener::start(self.path.clone()));
        self.refused = None;
        self.read_slowly = None;
        Ok(())
    }

    /// Lets go of the driver, so that it can be exchanged.
    fn unload(&mut self) {
        self.listener = None;
        if let Some(library) = self.library.take()
            && library.lib().nvmlShutdown.is_err()
        {
            // The wrapper panics when it cannot say goodbye.
            mem::forget(library);
        }
    }

    fn refuse(&mut self, error: &NvmlError) -> String {
        let why = in_words(error);
        self.refused = Some((Instant::now() + AGAIN, why.clone()));
        why
    }

    /// No reading; the GPUs that were there are out of reach.
    fn nothing(&self, why: String) -> Machine {
        let gone = self.known.values().map(|gpu| gone(gpu, &why));
        Machine {
            driver: self.driver.clone(),
            gpus: gone.collect(),
            trouble: Some(why),
            ..Machine::default()
        }
    }

    fn read_all(&mut self) -> Result<Vec<Device>, NvmlError> {
        let Some(library) = &self.library else {
            return Err(NvmlError::Uninitialized);
        };
        let slowly = self.read_slowly.is_none_or(|at| at.elapsed() >= SLOWLY);
        let count = library.device_count()?;
        if count > MOST_GPUS {
            return Err(NvmlError::UnexpectedVariant(count));
        }
        let mut gpus = Vec::new();
        let mut errors = BTreeMap::new();
        for index in 0..count {
            match library.device_by_index(index) {
                Ok(handle) => {
                    let read = read_gpu(library, &handle, index, slowly, &self.known);
                    match read {
                        Ok(read) => gpus.extend(read),
                        Err(error) => drop(errors.insert(index, error)),
                    }
                }
                Err(error) => drop(errors.insert(index, error)),
            }
        }
        // All handles are void when the driver was exchanged beneath us.
        let is_over =
            |e: &NvmlError| matches!(e, NvmlError::Uninitialized | NvmlError::DriverNotLoaded);
        if gpus.is_empty()
            && let Some(index) = errors.iter().find(|(_, e)| is_over(e)).map(|(i, _)| *i)
            && let Some(error) = errors.remove(&index)
        {
            return Err(error);
        }
        if slowly {
            self.read_slowly = Some(Instant::now());
        }
        self.keep(&mut gpus, &errors);
        Ok(gpus)
    }

    /// Adds what was there and is not seen any more, and remembers what is.
    fn keep(&mut self, gpus: &mut Vec<Device>, errors: &BTreeMap<u32, NvmlError>) {
        gpus.dedup_by(|b, a| a.uuid == b.uuid);
        let missing = self
            .known
            .values()
            .filter(|known| !gpus.iter().any(|g| g.uuid == known.uuid));
        let missing: Vec<Device> = missing
            .map(|known| match errors.get(&known.index) {
                Some(error) => gone(known, &in_words(error)),
                None => gone(known, "the driver does not list it any more"),
            })
            .collect();
        // A GPU that never said who it is can be shown, and not be used.
        for (index, error) in errors {
            if !missing.iter().any(|gpu| gpu.index == *index) {
                gpus.push(Device {
                    index: *index,
                    name: "unknown GPU".to_owned(),
                    lost: Some(in_words(error)),
                    ..Device::default()
                });
            }
        }
        gpus.extend(missing);
        if let Some(listener) = &self.listener {
            for gpu in gpus.iter_mut().filter(|gpu| !gpu.mig) {
                gpu.xid = listener.last(&gpu.uuid);
                if let Some(why) = gpu.xid.and_then(super::xid::is_fatal) {
                    gpu.lost.get_or_insert_with(|| why.to_owned());
                }
            }
        }
        gpus.sort_by_key(|gpu| gpu.index);
        for gpu in gpus.iter().filter(|gpu| !gpu.uuid.is_empty()) {
            self.known.insert(gpu.uuid.clone(), gpu.clone());
        }
    }
}

/// The GPU as it was last seen, without what is certainly no longer so.
fn gone(known: &Device, why: &str) -> Device {
    Device {
        lost: Some(why.to_owned()),
        memory: None,
        processes: None,
        utilization: None,
        temperature: None,
        power: None,
        ..known.clone()
    }
}

/// A GPU, or its instances where it is divided into some.
fn read_gpu(
    library: &Library,
    handle: &Handle<'_>,
    index: u32,
    slowly: bool,
    known: &BTreeMap<String, Device>,
) -> Result<Vec<Device>, NvmlError> {
    let mode = handle.mig_mode();
    if !mode.is_ok_and(|mode| mode.current == 1) {
        let read = read_device(library, handle, slowly, known)?;
        return Ok(vec![Device { index, ..read }]);
    }
    let most = handle.mig_device_count().unwrap_or(0).min(MOST_INSTANCES);
    let instances = (0..most).filter_map(|i| handle.mig_device_by_index(i).ok());
    let read = |instance: Handle<'_>| {
        let read = read_device(library, &instance, slowly, known).ok()?;
        let temperature = read.temperature.or_else(|| temperature(handle));
        Some(Device {
            index,
            mig: true,
            temperature,
            ..read
        })
    };
    Ok(instances.filter_map(read).collect())
}

fn read_device(
    library: &Library,
    handle: &Handle<'_>,
    slowly: bool,
    known: &BTreeMap<String, Device>,
) -> Result<Device, NvmlError> {
    let uuid = handle.uuid()?;
    if uuid.is_empty() {
        return Err(NvmlError::NoData);
    }
    // A GPU that is gone says so in what is read first; everything else may just not be offered.
    let (memory, has_none) = match memory(library, handle) {
        Err(error) if is_lost(&error) => return Err(error),
        Err(error) => (None, matches!(error, NvmlError::NotSupported)),
        Ok(memory) => (memory, false),
    };
    let processes = processes(handle, memory);
    let before = known.get(&uuid);
    let device = match before {
        Some(before) if !slowly => before.clone(),
        _ => Device {
            name: handle.name().unwrap_or_else(|_| "unknown GPU".to_owned()),
            utilization: handle
                .utilization_rates()
                .ok()
                .map(|u| u.gpu)
                .filter(|u| *u <= 100),
            temperature: temperature(handle),
            power: handle
                .power_usage()
                .ok()
                .map(|mw| mw / 1000)
                .filter(|w| *w < 5000),
            ecc_errors: handle
                .total_ecc_errors(MemoryError::Uncorrected, EccCounter::Volatile)
                .ok()
                .filter(|errors| *errors < u64::MAX),
            ..Device::default()
        },
    };
    let is_unified = has_none && is_unified(&device.name);
    let machine = is_unified.then(machine_memory).flatten();
    let shared = machine.and_then(|machine| unified::memory(machine, processes.as_deref()));
    Ok(Device {
        uuid,
        lost: None,
        unified: is_unified,
        memory: memory.or(shared),
        processes,
        ..device
    })
}

fn temperature(handle: &Handle<'_>) -> Option<u32> {
    let degrees = handle.temperature(TemperatureSensor::Gpu).ok();
    degrees.filter(|degrees| *degrees > 0 && *degrees < 200)
}

/// The memory by the present interface, or by the old one: drivers before 510 have no other.
fn memory(library: &Library, handle: &Handle<'_>) -> Result<Option<Memory>, NvmlError> {
    match handle.memory_info() {
        Ok(memory) => Ok(Memory::sound(
            memory.total,
            Some(memory.reserved),
            memory.used,
        )),
        Err(error) if is_lost(&error) => Err(error),
        Err(_) => {
            let (total, used) = v1::memory(library, handle)?;
            Ok(Memory::sound(total, None, used))
        }
    }
}

fn is_lost(error: &NvmlError) -> bool {
    matches!(
        error,
        NvmlError::GpuLost
            | NvmlError::ResetRequired
            | NvmlError::Uninitialized
            | NvmlError::DriverNotLoaded
            | NvmlError::OperatingSystem
            | NvmlError::LibRmVersionMismatch
    )
}

/// Who computes and who draws there; one who does both is named twice by the driver.
fn processes(handle: &Handle<'_>, memory: Option<Memory>) -> Option<Vec<Process>> {
    let sane = |count: Result<u32, NvmlError>| count.is_ok_and(|count| count < MOST_PROCESSES);
    let computing = if sane(handle.running_compute_processes_count()) {
        handle.running_compute_processes()
    } else if sane(handle.running_compute_processes_count_v2()) {
        handle.running_compute_processes_v2()
    } else {
        return None;
    };
    let drawing = if sane(handle.running_graphics_processes_count()) {
        handle.running_graphics_processes().unwrap_or_default()
    } else {
        Vec::new()
    };
    let most = memory.map_or(u64::MAX, |memory| memory.total);
    let mut all: BTreeMap<u32, Option<u64>> = BTreeMap::new();
    for process in computing.ok()?.into_iter().chain(drawing) {
        if process.pid != 0 {
            let bytes = bytes(&process).filter(|bytes| *bytes <= most && *bytes < u64::MAX);
            let entry = all.entry(process.pid).or_insert(bytes);
            *entry = (*entry).max(bytes);
        }
    }
    let all = all.into_iter();
    Some(all.map(|(pid, memory)| Process { pid, memory }).collect())
}

fn bytes(process: &ProcessInfo) -> Option<u64> {
    match process.used_gpu_memory {
        UsedGpuMemory::Used(bytes) => Some(bytes),
        UsedGpuMemory::Unavailable => None,
    }
}

/// What an error means for somebody who wants to train.
pub(super) fn in_words(error: &NvmlError) -> String {
    match error {
        NvmlError::DriverNotLoaded | NvmlError::LibraryNotFound | NvmlError::LibloadingError(_) => {
            "the NVIDIA driver is not loaded".to_owned()
        }
        NvmlError::LibRmVersionMismatch => {
            "the NVIDIA driver and its library are of different versions; after an update of the driver the \
             machine has to be restarted, or the driver loaded anew"
                .to_owned()
        }
        NvmlError::NoPermission => {
            "no permission to use the NVIDIA driver; are the devices /dev/nvidia* readable?".to_owned()
        }
        NvmlError::OperatingSystem => {
            "the system keeps this program from the GPU (a container's or cgroup's rules)".to_owned()
        }
        NvmlError::GpuLost => "it has fallen off the bus".to_owned(),
        NvmlError::ResetRequired => "it has to be reset before it can be used again".to_owned(),
        NvmlError::FailedToLoadSymbol(_) | NvmlError::FunctionNotFound => {
            "the NVIDIA driver's library is too old or damaged: it lacks a function without which no GPU is found"
                .to_owned()
        }
        NvmlError::UnexpectedVariant(number) => {
            format!("the NVIDIA driver's answer makes no sense ({number})")
        }
        other => format!("the NVIDIA driver says: {other}"),
    }
}
