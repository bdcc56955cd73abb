//! Critical errors of GPUs (XIDs), of which the driver tells those who wait for them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nvml_wrapper::Nvml;
use nvml_wrapper::bitmasks::event::EventTypes;
use nvml_wrapper::enums::event::XidError;
use nvml_wrapper::error::NvmlError;

/// For how long one wait lasts, in milliseconds: no longer than this does the thread outlive its owner.
const WAIT: u32 = 1000;

/// Why a GPU with this error must not be used until it was reset (NVIDIA's "Xid Errors", r580); `None` for errors
/// that a program of its own can cause, and those that the GPU recovers from.
pub(super) fn is_fatal(xid: u64) -> Option<&'static str> {
    match xid {
        48 => Some("XID 48: a memory error that could not be corrected; it needs a reset"),
        79 => Some("XID 79: it has fallen off the bus"),
        95 => Some("XID 95: an uncontained memory error; it needs a reset"),
        119 | 120 => Some("XID 119 or 120: its firmware does not answer; it needs a reset"),
        _ => None,
    }
}

/// Waits for errors on a thread of its own, with its own hold on the library.
#[derive(Debug)]
pub(super) struct Listener {
    heard: Arc<Mutex<BTreeMap<String, u64>>>,
    over: Arc<AtomicBool>,
}

impl Listener {
    /// Begins to wait. Where the driver offers no events there is nothing to hear.
    pub(super) fn start(path: OsString) -> Self {
        let heard = Arc::new(Mutex::new(BTreeMap::new()));
        let over = Arc::new(AtomicBool::new(false));
        let (ours, theirs) = ((heard.clone(), over.clone()), (heard, over));
        let thread = std::thread::Builder::new().name("gpu-errors".to_owned());
        if let Err(error) = thread.spawn(move || listen(&path, &ours.0, &ours.1)) {
            tracing::debug!(%error, "errors of GPUs are not listened for");
        }
        Self {
            heard: theirs.0,
            over: theirs.1,
        }
    }

    /// The last error of a GPU.
    pub(super) fn last(&self, uuid: &str) -> Option<u64> {
        self.heard.lock().ok()?.get(uuid).copied()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn listen(path: &OsString, heard: &Mutex<BTreeMap<String, u64>>, over: &AtomicBool) {
    let Ok(nvml) = Nvml::builder().lib_path(path).init() else {
        return;
    };
    // The wrapper panics where it cannot give back what it was given.
    let lib = nvml.lib();
    if lib.nvmlEventSetFree.is_err() || lib.nvmlShutdown.is_err() {
        std::mem::forget(nvml);
        return;
    }
    if let Err(error) = wait_for_errors(&nvml, heard, over) {
        tracing::debug!(%error, "errors of GPUs are no longer listened for");
    }
}

fn wait_for_errors(
    nvml: &Nvml,
    heard: &Mutex<BTreeMap<String, u64>>,
    over: &AtomicBool,
) -> Result<(), NvmlError> {
    let mut events = nvml.create_event_set()?;
    let mut any = false;
    for index in 0..nvml.device_count()? {
        if let Ok(gpu) = nvml.device_by_index(index) {
            // A set that a GPU could not be added to is void; the others begin anew without it.
            match gpu.register_events(EventTypes::CRITICAL_XID_ERROR, events) {
                Ok(set) => (events, any) = (set, true),
                Err(_) => events = nvml.create_event_set()?,
            }
        }
    }
    while any && !over.load(Ordering::Relaxed) {
        match events.wait(WAIT) {
            Ok(event) => {
                let number = match event.event_data {
                    Some(XidError::Value(number)) => number,
                    _ => continue,
                };
                let uuid = event.device.uuid()?;
                tracing::warn!(
                    gpu = uuid,
                    xid = number,
                    "the driver reports a critical error of a GPU"
                );
                if let Ok(mut heard) = heard.lock() {
                    heard.insert(uuid, number);
                }
            }
            Err(NvmlError::Timeout) => {}
            Err(NvmlError::GpuLost) => std::thread::sleep(Duration::from_millis(u64::from(WAIT))),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
