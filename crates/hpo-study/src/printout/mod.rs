//! What a trial prints, read for metrics: the study file's `metrics`.
//!
//! A [`Scraper`] is given the lines of one stream as they come and gives back reports. It does no I/O.

pub mod known;
mod log;
mod pattern;
mod scraper;
pub mod text;

use serde::{Deserialize, Serialize};

pub use known::Known;
pub use log::{LogReading, Series, marked_report, read_log};
pub use pattern::{RegexError, check_regex};
pub use scraper::{Scraper, Tally};

/// Which of a process's two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Standard output.
    #[default]
    Stdout,
    /// Standard error.
    Stderr,
    /// Both of them.
    Both,
}

impl Stream {
    /// Whether `other` is (part of) this.
    #[must_use]
    pub fn includes(self, other: Self) -> bool {
        self == Self::Both || self == other
    }
}

/// One way in which metrics are found in what a trial prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricPattern {
    /// Where it is looked for.
    pub stream: Stream,
    /// What is looked for.
    #[serde(flatten)]
    pub form: PatternForm,
}

/// What is looked for in a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PatternForm {
    /// A ready-made pattern.
    Format(Known),
    /// A regular expression (of the crate `regex`: linear time, no look-around). Its groups are metrics by
    /// their names; `step` and `step0` (counted from 0) are the step; `name` with `value` is a metric that the line names.
    Regex {
        /// The regular expression.
        regex: String,
        /// The metric whose value the only group (or the group `value`) is; `step` is the step.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        metric: Option<String>,
    },
}

/// The name of a group or metric that is the step.
pub const STEP: &str = "step";
/// The name of a group or metric that is the step, counted from 0.
pub const STEP_FROM_ZERO: &str = "step0";
