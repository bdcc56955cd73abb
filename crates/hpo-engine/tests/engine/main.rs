//! The engine from outside: its rules one by one, whole studies killed at every event, and random
//! workloads.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may stop at the first surprise, and so may what they share"
)]

mod common;
mod confirm;
mod divergence;
mod importing;
mod kill;
mod limits;
mod memory;
mod properties;
mod repeats;
mod rules;
mod studies;
