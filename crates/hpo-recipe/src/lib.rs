//! What an optimizer and a learning-rate schedule *are*: their hyperparameters with defaults and
//! literature ranges, the memory they need, the formula `lr(step)`, and their spelling in PyTorch
//! and Keras. Pure data and maths.
//!
//! This crate must never do I/O.

pub mod code;
pub mod error;
pub mod hyperparameter;
pub mod optimizer;
pub mod schedule;
pub mod value;

pub use code::{Code, ScheduleCode};
pub use error::RecipeError;
pub use hyperparameter::{Allowed, Hyperparameter, Scale, Search};
pub use optimizer::{OptimizerFacts, OptimizerKind, OptimizerSetting};
pub use schedule::{Horizon, Schedule, ScheduleFacts, ScheduleKind, Setting};
pub use value::{Config, Value};
