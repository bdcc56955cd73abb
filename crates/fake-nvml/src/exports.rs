//! The C functions. Their shapes are those of NVIDIA's `nvml.h` (interface version 13); a device's handle is
//! a number: the index of the GPU plus one, and for its MIG instances that of the instance plus one above it.
//!
//! # Safety
//! Every function here is called by C's rules: pointers for results point to memory of the documented type,
//! and buffers are as long as the length that comes with them. No pointer is kept after the call.
#![allow(non_snake_case, clippy::missing_safety_doc, missing_docs)]

use std::ffi::{CStr, c_char, c_int, c_uint, c_ulonglong};
use std::fs;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::state::{Device, GPU_IS_LOST, Process, State};

type Answer = c_int;
type Handle = usize;

const OK: Answer = 0;
const INVALID_ARGUMENT: Answer = 2;
const NOT_SUPPORTED: Answer = 3;
const NOT_FOUND: Answer = 6;
const INSUFFICIENT_SIZE: Answer = 7;
const DRIVER_NOT_LOADED: Answer = 9;
const TIMEOUT: Answer = 10;
const VERSION_MISMATCH: Answer = 25;
const UNKNOWN: Answer = 999;

/// Where the instance's number begins in a handle.
const INSTANCE: usize = 1 << 16;

/// The state as it is in the file at this moment. It is parsed only where it has changed: of a hundred GPUs that would take longer than
/// a driver may take to answer.
fn state() -> Option<State> {
    static LAST: Mutex<(Vec<u8>, Option<State>)> = Mutex::new((Vec::new(), None));
    let text = fs::read(State::file()?).ok()?;
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if last.0 != text {
        last.1 = serde_json::from_slice(&text).ok();
        last.0 = text;
    }
    last.1.clone()
}

/// Answers a call that is not about one GPU.
fn answer(function: &str, with: impl FnOnce(State) -> Answer) -> Answer {
    let Some(state) = state() else {
        return DRIVER_NOT_LOADED;
    };
    if let Some(wait) = state.delay.get(function) {
        std::thread::sleep(Duration::from_millis(*wait));
    }
    match state.fail.get(function) {
        Some(code) => *code,
        None => with(state),
    }
}

/// Answers a call about one GPU or instance.
fn about(function: &str, handle: Handle, with: impl FnOnce(&Device) -> Answer) -> Answer {
    answer(function, |state| {
        let gpu = (handle % INSTANCE).checked_sub(1);
        let Some(gpu) = gpu.and_then(|gpu| state.gpus.get(gpu)) else {
            return INVALID_ARGUMENT;
        };
        let device = match (handle / INSTANCE).checked_sub(1) {
            None => Some(gpu),
            Some(instance) => gpu.instances.get(instance),
        };
        let Some(device) = device else {
            return INVALID_ARGUMENT;
        };
        if gpu.lost || device.lost {
            return GPU_IS_LOST;
        }
        match device.fail.get(function) {
            Some(code) => *code,
            None => with(device),
        }
    })
}

/// Writes a result.
unsafe fn put<T>(to: *mut T, value: T) -> Answer {
    if to.is_null() {
        return INVALID_ARGUMENT;
    }
    // SAFETY: the caller hands over memory for a `T`, and it is not null.
    unsafe { to.write(value) };
    OK
}

/// Writes bytes and the zero that ends a C string.
unsafe fn put_bytes(bytes: &[u8], to: *mut c_char, length: c_uint) -> Answer {
    if to.is_null() || bytes.len() >= length as usize {
        return INSUFFICIENT_SIZE;
    }
    // SAFETY: the buffer has room for `length` bytes, which is more than are written.
    unsafe {
        std::ptr::copy_nonoverlapping(bytes.as_ptr().cast(), to, bytes.len());
        to.add(bytes.len()).write(0);
    }
    OK
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlInit_v2() -> Answer {
    answer("nvmlInit_v2", |state| state.init)
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlInitWithFlags(_flags: c_uint) -> Answer {
    answer("nvmlInitWithFlags", |state| state.init)
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlShutdown() -> Answer {
    answer("nvmlShutdown", |_| OK)
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlErrorString(_code: Answer) -> *const c_char {
    c"an error of the fake library".as_ptr()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlSystemGetDriverVersion(to: *mut c_char, length: c_uint) -> Answer {
    answer("nvmlSystemGetDriverVersion", |state| unsafe {
        put_bytes(state.driver.as_bytes(), to, length)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlSystemGetNVMLVersion(to: *mut c_char, length: c_uint) -> Answer {
    answer("nvmlSystemGetNVMLVersion", |state| unsafe {
        put_bytes(format!("13.{}", state.driver).as_bytes(), to, length)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlSystemGetCudaDriverVersion_v2(to: *mut c_int) -> Answer {
    answer("nvmlSystemGetCudaDriverVersion_v2", |_| unsafe {
        put(to, 13_000)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetCount_v2(to: *mut c_uint) -> Answer {
    answer("nvmlDeviceGetCount_v2", |state| {
        let count = u32::try_from(state.gpus.len()).unwrap_or(u32::MAX);
        unsafe { put(to, state.count.unwrap_or(count)) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetHandleByIndex_v2(index: c_uint, to: *mut Handle) -> Answer {
    answer("nvmlDeviceGetHandleByIndex_v2", |state| {
        match state.gpus.get(index as usize) {
            Some(gpu) if gpu.lost => GPU_IS_LOST,
            Some(gpu) => match gpu.fail.get("nvmlDeviceGetHandleByIndex_v2") {
                Some(code) => *code,
                None => unsafe { put(to, index as usize + 1) },
            },
            None => INVALID_ARGUMENT,
        }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetHandleByUUID(uuid: *const c_char, to: *mut Handle) -> Answer {
    if uuid.is_null() {
        return INVALID_ARGUMENT;
    }
    // SAFETY: the caller hands over a C string.
    let uuid = unsafe { CStr::from_ptr(uuid) }.to_string_lossy();
    answer("nvmlDeviceGetHandleByUUID", |state| {
        let mut handles = state.gpus.iter().enumerate().flat_map(|(i, gpu)| {
            let instances = gpu.instances.iter().enumerate();
            let instances = instances.map(move |(j, part)| (part, i + 1 + INSTANCE * (j + 1)));
            std::iter::once((gpu, i + 1)).chain(instances)
        });
        match handles.find(|(device, _)| device.uuid == uuid) {
            Some((device, _)) if device.lost => GPU_IS_LOST,
            Some((_, handle)) => unsafe { put(to, handle) },
            None => NOT_FOUND,
        }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetUUID(
    handle: Handle,
    to: *mut c_char,
    length: c_uint,
) -> Answer {
    about("nvmlDeviceGetUUID", handle, |gpu| unsafe {
        put_bytes(gpu.uuid.as_bytes(), to, length)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetName(
    handle: Handle,
    to: *mut c_char,
    length: c_uint,
) -> Answer {
    about("nvmlDeviceGetName", handle, |gpu| {
        let name = gpu.name_bytes.as_deref().unwrap_or(gpu.name.as_bytes());
        unsafe { put_bytes(name, to, length) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetIndex(handle: Handle, to: *mut c_uint) -> Answer {
    about("nvmlDeviceGetIndex", handle, |_| unsafe {
        put(to, (handle % INSTANCE) as c_uint - 1)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMinorNumber(handle: Handle, to: *mut c_uint) -> Answer {
    about("nvmlDeviceGetMinorNumber", handle, |_| unsafe {
        put(to, (handle % INSTANCE) as c_uint - 1)
    })
}

/// What a process or the whole GPU uses, as the first interface knew it: the driver's part counts as used.
#[repr(C)]
pub struct Memory {
    pub total: c_ulonglong,
    pub free: c_ulonglong,
    pub used: c_ulonglong,
}

/// The second interface tells the driver's part apart.
#[repr(C)]
pub struct MemoryV2 {
    pub version: c_uint,
    pub total: c_ulonglong,
    pub reserved: c_ulonglong,
    pub free: c_ulonglong,
    pub used: c_ulonglong,
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMemoryInfo(handle: Handle, to: *mut Memory) -> Answer {
    about("nvmlDeviceGetMemoryInfo", handle, |gpu| {
        let memory = Memory {
            total: gpu.total,
            free: gpu.free(),
            used: gpu.in_use().saturating_add(gpu.reserved),
        };
        unsafe { put(to, memory) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMemoryInfo_v2(handle: Handle, to: *mut MemoryV2) -> Answer {
    State::note_read();
    about("nvmlDeviceGetMemoryInfo_v2", handle, |gpu| {
        let version = (size_of::<MemoryV2>() | (2 << 24)) as c_uint;
        // SAFETY: the caller hands over the structure with its version filled in.
        if to.is_null() || unsafe { (*to).version } != version {
            return VERSION_MISMATCH;
        }
        let memory = MemoryV2 {
            version,
            total: gpu.total,
            reserved: gpu.reserved,
            free: gpu.free(),
            used: gpu.in_use(),
        };
        unsafe { put(to, memory) }
    })
}

#[repr(C)]
pub struct Utilization {
    pub gpu: c_uint,
    pub memory: c_uint,
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetUtilizationRates(
    handle: Handle,
    to: *mut Utilization,
) -> Answer {
    about("nvmlDeviceGetUtilizationRates", handle, |gpu| {
        let gpu = gpu.utilization;
        unsafe {
            put(
                to,
                Utilization {
                    gpu,
                    memory: gpu / 2,
                },
            )
        }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetTemperature(
    handle: Handle,
    _sensor: c_uint,
    to: *mut c_uint,
) -> Answer {
    about("nvmlDeviceGetTemperature", handle, |gpu| unsafe {
        put(to, gpu.temperature)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetPowerUsage(handle: Handle, to: *mut c_uint) -> Answer {
    about("nvmlDeviceGetPowerUsage", handle, |gpu| unsafe {
        put(to, gpu.power)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetEnforcedPowerLimit(
    handle: Handle,
    to: *mut c_uint,
) -> Answer {
    about("nvmlDeviceGetEnforcedPowerLimit", handle, |_| unsafe {
        put(to, 300_000)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetTotalEccErrors(
    handle: Handle,
    kind: c_uint,
    _counter: c_uint,
    to: *mut c_ulonglong,
) -> Answer {
    about("nvmlDeviceGetTotalEccErrors", handle, |gpu| {
        let uncorrected = if kind == 1 { gpu.ecc_errors } else { 0 };
        unsafe { put(to, uncorrected) }
    })
}

#[repr(C)]
pub struct Pci {
    pub bus_legacy: [c_char; 16],
    pub domain: c_uint,
    pub bus: c_uint,
    pub device: c_uint,
    pub device_id: c_uint,
    pub subsystem_id: c_uint,
    pub bus_id: [c_char; 32],
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetPciInfo_v3(handle: Handle, to: *mut Pci) -> Answer {
    about("nvmlDeviceGetPciInfo_v3", handle, |_| {
        let bus = (handle % INSTANCE) as c_uint;
        let mut pci = Pci {
            bus_legacy: [0; 16],
            domain: 0,
            bus,
            device: 0,
            device_id: 0x2330_10DE,
            subsystem_id: 0x16C1_10DE,
            bus_id: [0; 32],
        };
        let (short, long) = (
            format!("0000:{bus:02X}:00.0"),
            format!("00000000:{bus:02X}:00.0"),
        );
        unsafe {
            put_bytes(short.as_bytes(), pci.bus_legacy.as_mut_ptr(), 16);
            put_bytes(long.as_bytes(), pci.bus_id.as_mut_ptr(), 32);
            put(to, pci)
        }
    })
}

#[repr(C)]
pub struct ProcessInfo {
    pub pid: c_uint,
    pub used: c_ulonglong,
    pub gpu_instance: c_uint,
    pub compute_instance: c_uint,
}

/// Writes the processes of one kind, as all versions of the functions do. With too little room it says how
/// much is needed, and that is what callers begin with.
unsafe fn put_processes(
    function: &str,
    handle: Handle,
    graphics: bool,
    count: *mut c_uint,
    to: *mut ProcessInfo,
) -> Answer {
    about(function, handle, |gpu| {
        let there = |p: &&Process| p.graphics == graphics && p.is_there();
        let all: Vec<&Process> = gpu.processes.iter().filter(there).collect();
        if count.is_null() {
            return INVALID_ARGUMENT;
        }
        // SAFETY: the caller says by `count` how many structures `to` has room for, and reads there how
        // many were written.
        unsafe {
            let room = *count as usize;
            *count = all.len() as c_uint;
            if room < all.len() || (room == 0 && gpu.process_count.is_some()) {
                *count = gpu.process_count.unwrap_or(*count);
                return INSUFFICIENT_SIZE;
            }
            for (i, process) in all.iter().enumerate() {
                to.add(i).write(ProcessInfo {
                    pid: process.pid,
                    used: process.said.unwrap_or(process.bytes),
                    gpu_instance: c_uint::MAX,
                    compute_instance: c_uint::MAX,
                });
            }
        }
        OK
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetComputeRunningProcesses_v3(
    handle: Handle,
    count: *mut c_uint,
    to: *mut ProcessInfo,
) -> Answer {
    let function = "nvmlDeviceGetComputeRunningProcesses_v3";
    unsafe { put_processes(function, handle, false, count, to) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetComputeRunningProcesses_v2(
    handle: Handle,
    count: *mut c_uint,
    to: *mut ProcessInfo,
) -> Answer {
    let function = "nvmlDeviceGetComputeRunningProcesses_v2";
    unsafe { put_processes(function, handle, false, count, to) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetGraphicsRunningProcesses_v3(
    handle: Handle,
    count: *mut c_uint,
    to: *mut ProcessInfo,
) -> Answer {
    let function = "nvmlDeviceGetGraphicsRunningProcesses_v3";
    unsafe { put_processes(function, handle, true, count, to) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetGraphicsRunningProcesses_v2(
    handle: Handle,
    count: *mut c_uint,
    to: *mut ProcessInfo,
) -> Answer {
    let function = "nvmlDeviceGetGraphicsRunningProcesses_v2";
    unsafe { put_processes(function, handle, true, count, to) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMigMode(
    handle: Handle,
    current: *mut c_uint,
    pending: *mut c_uint,
) -> Answer {
    about("nvmlDeviceGetMigMode", handle, |gpu| {
        let mode = c_uint::from(!gpu.instances.is_empty());
        unsafe { put(current, mode) | put(pending, mode) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMaxMigDeviceCount(handle: Handle, to: *mut c_uint) -> Answer {
    about("nvmlDeviceGetMaxMigDeviceCount", handle, |gpu| {
        let most = if gpu.instances.is_empty() { 0 } else { 7 };
        unsafe { put(to, most) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMigDeviceHandleByIndex(
    handle: Handle,
    index: c_uint,
    to: *mut Handle,
) -> Answer {
    about("nvmlDeviceGetMigDeviceHandleByIndex", handle, |gpu| {
        if gpu.instances.get(index as usize).is_none() {
            return NOT_FOUND;
        }
        unsafe { put(to, handle % INSTANCE + INSTANCE * (index as usize + 1)) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceIsMigDeviceHandle(handle: Handle, to: *mut c_uint) -> Answer {
    about("nvmlDeviceIsMigDeviceHandle", handle, |_| unsafe {
        put(to, c_uint::from(handle >= INSTANCE))
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetDeviceHandleFromMigDeviceHandle(
    handle: Handle,
    to: *mut Handle,
) -> Answer {
    about(
        "nvmlDeviceGetDeviceHandleFromMigDeviceHandle",
        handle,
        |_| {
            if handle < INSTANCE {
                return NOT_SUPPORTED;
            }
            unsafe { put(to, handle % INSTANCE) }
        },
    )
}

#[repr(C)]
pub struct EventData {
    pub device: Handle,
    pub kind: c_ulonglong,
    pub data: c_ulonglong,
    pub gpu_instance: c_uint,
    pub compute_instance: c_uint,
}

/// The kind of event that stands for a critical XID error.
const XID: c_ulonglong = 8;

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlEventSetCreate(to: *mut usize) -> Answer {
    answer("nvmlEventSetCreate", |_| unsafe { put(to, 1) })
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceRegisterEvents(
    handle: Handle,
    _kinds: c_ulonglong,
    _set: usize,
) -> Answer {
    about("nvmlDeviceRegisterEvents", handle, |_| OK)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetSupportedEventTypes(
    handle: Handle,
    to: *mut c_ulonglong,
) -> Answer {
    about("nvmlDeviceGetSupportedEventTypes", handle, |_| unsafe {
        put(to, XID)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlEventSetWait_v2(
    _set: usize,
    to: *mut EventData,
    milliseconds: c_uint,
) -> Answer {
    let told = State::file().map(|path| {
        State::change(&path, |state| {
            let mut errors = state.gpus.iter_mut().enumerate();
            errors.find_map(|(i, gpu)| Some((i, gpu.xid.take()?)))
        })
    });
    answer("nvmlEventSetWait_v2", |_| match told {
        Some(Ok(Some((gpu, error)))) => unsafe {
            put(
                to,
                EventData {
                    device: gpu + 1,
                    kind: XID,
                    data: error,
                    gpu_instance: c_uint::MAX,
                    compute_instance: c_uint::MAX,
                },
            )
        },
        Some(Ok(None)) => {
            std::thread::sleep(Duration::from_millis(u64::from(milliseconds)));
            TIMEOUT
        }
        _ => UNKNOWN,
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlEventSetFree(_set: usize) -> Answer {
    answer("nvmlEventSetFree", |_| OK)
}
