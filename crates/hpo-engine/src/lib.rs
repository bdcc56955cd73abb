//! The life of a trial: what happened comes in, decisions go out as events, and what they ask for
//! stands in [`Engine::outstanding`].
//!
//! ```text
//!             Launch              Started                 exit 0
//!  Queued ────────────▶ Launching ───────▶ Running ───────────────────▶ Completed
//!    ▲                      │                │  │ judged hopeless, diverged, or out of time
//!    │ crash with retries   │                │  ▼
//!    │ left, exit 75, lost, └───────┬────────┘ Stopping ──▶ Stopped(why)
//!    │ interrupted                  │             │
//!    └──────────────────────────────┼─────────────┤       (a trial that waits at a rung)
//!                                   ▼             └─────▶ Paused ──▶ Launching | Stopped
//!                                Failed(why)
//! ```
//!
//! All is pure: the time is an argument, and every decision follows from the study's log alone, so a
//! study that was killed goes on as if nothing had been. This crate must never do I/O,
//! start a process, sleep, or read a clock. [`sim`] runs whole studies in virtual time.

mod confirm;
pub mod divergence;
mod engine;
mod fate;
pub mod gpu;
mod limits;
mod objectives;
mod repeats;
mod seam;
pub mod sim;
mod student;
mod unheard;
mod watch;

pub use engine::importing::{Import, Imported};
pub use engine::{ChangeError, Engine, Recall};
pub use fate::{
    FIRST_RETRY_AFTER, LATEST_RETRY_AFTER, MOST_ORPHANED, MOST_RETRIES, NON_FINITE_IN_A_ROW,
};
pub use seam::{Command, Input, Inventory};
