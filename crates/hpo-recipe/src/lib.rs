//! What an optimizer and a learning-rate schedule *are*: their hyperparameters with defaults and
//! literature ranges, the memory they need, the formula `lr(step)`, and their spelling in PyTorch
//! and Keras. Pure data and maths.
//!
//! This crate must never do I/O.

pub mod value;

pub use value::{Config, Value};
