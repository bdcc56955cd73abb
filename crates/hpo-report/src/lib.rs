//! From a study's history to what people and programs read: tables, comparisons, the best
//! configuration in the language of the training code.
//!
//! Everything here is a function of `&History` (and a moment, where "so far" matters). This crate
//! must never change a study, do I/O, or read a clock. Texts are plain: colour is the program's
//! business.

pub mod comparison;
pub mod confirmations;
pub mod export;
pub mod forecast;
pub mod front;
pub mod gpus;
pub mod html;
pub mod importance;
pub mod map;
pub mod number;
pub mod picture;
pub mod plan;
pub mod repeats;
pub mod status;
pub mod summary;
pub mod table;
pub mod text;
pub mod trial;
pub mod trials;

#[cfg(test)]
mod sample;

pub use comparison::{Comparison, comparable, compare};
pub use export::{ExportError, Format, export};
pub use status::{Status, status};
pub use trials::{TrialRow, rows};
