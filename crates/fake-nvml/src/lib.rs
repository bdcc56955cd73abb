//! An NVIDIA management library (NVML) without a GPU, for tests; never a part of the program.
//!
//! Built as `libfake_nvml.so` it exports the C functions that monitoring programs use. What it says comes from
//! a JSON file named by [`STATE`] and read anew at every call, so that a test can change the picture while
//! programs look. As a Rust library it gives tests the [`State`] behind it, and a [`trainer`] that
//! "allocates" memory of these GPUs along the ramps that real trainings show.

pub mod exports;
pub mod library;
pub mod state;
pub mod trainer;

pub use state::{Device, Process, STATE, State};
