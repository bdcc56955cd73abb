//! The one call that the wrapper of NVIDIA's library does not offer: memory as drivers before 510 tell it.
#![allow(
    unsafe_code,
    reason = "a C function without a safe wrapper; three lines, and nothing of them gets out"
)]

use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};

/// `nvmlDeviceGetMemoryInfo`: total and used bytes. What the driver keeps for itself counts as used.
pub(super) fn memory(nvml: &Nvml, device: &Device<'_>) -> Result<(u64, u64), NvmlError> {
    let function = nvml.lib().nvmlDeviceGetMemoryInfo.as_ref();
    let function = function.map_err(|e| NvmlError::FailedToLoadSymbol(e.to_string()))?;
    // SAFETY: the handle belongs to `nvml`, whose library is loaded for as long as `device` lives; the
    // function fills in a structure of three numbers, for which zeros are valid, and keeps no pointer.
    let (code, memory) = unsafe {
        let mut memory = std::mem::zeroed();
        (function(device.handle(), &raw mut memory), memory)
    };
    nvml_wrapper::error::nvml_try(code)?;
    Ok((memory.total, memory.used))
}
