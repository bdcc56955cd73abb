//! The divergence detector: which runs will come to nothing, found early, from their loss alone.
//!
//! [`Detector`] is a pure state machine. It is told what a model that knows nothing would get
//! ([`Chance`]) and how long the run is to be, takes every report, and says when something is new:
//!
//! ```text
//!              lost ⅓ of what it learned            half of that is back
//!   healthy ─────────────────────────────▶ spiking ─────────────────────▶ recovered
//!      │                                      │                               │
//!      └──────────────┬───────────────────────┴───────────────────────────────┘
//!                     │  at chance or worse for too long, not on its way back, no sign of life
//!                     ▼  (or not finite)
//!        diverged │ stuck │ no_progress     a run that goes on all the same may yet recover
//! ```
//!
//! ```
//! use hpo_engine::divergence::{Chance, Detector, Settings, Verdict};
//! use hpo_study::Goal;
//!
//! let settings = Settings::new(Goal::Minimize, Chance::Known(10f64.ln()), Some(1000));
//! let mut detector = Detector::new(settings);
//! let spike = |step| if step < 100 { 0.5 } else { 8.0 };
//! let finding = (1..=1000).find_map(|step| {
//!     detector.observe(step, spike(step)).filter(|finding| finding.verdict.is_hopeless())
//! });
//! assert!(finding.is_some_and(|f| f.verdict == Verdict::Diverged && f.step < 350));
//! ```
//!
//! `docs/divergence.md` has the rules with their reasons, what was measured, and the limits.
//! [`curves`] reads logged runs. Nothing in here does I/O.

mod cells;
pub mod curves;
mod detector;
mod finding;
mod scale;
mod settings;
mod trend;

pub use detector::Detector;
pub use finding::{Evidence, Finding, State};
pub use hpo_study::Verdict;
pub use settings::{Chance, Patience, Settings};
