//! The program itself, from outside: real processes, real files, real signals.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

mod bench;
mod broken;
mod checkpoints;
mod confirm;
mod control;
mod divergence;
mod failures;
mod file_limit;
mod front;
mod gpu;
mod kill;
mod look;
mod night;
mod population;
mod repeats;
mod report;
mod reproduce;
mod safety;
mod scripts;
mod stdio;
mod steering;
mod study;
mod warm_start;
