//! The report: what a study found, as one HTML file that works without a network, and the same as
//! JSON.
//!
//! [`report`] gathers the data: facts about the study, one column per property of its trials, and
//! what each section shows. [`page`] puts the data, the scripts that draw it and the plotting
//! library into one file. A section is a file in `section/`, a script beside it and a row in
//! `section/mod.rs`.

mod data;
mod page;
mod parameters;
mod section;
mod thin;
mod trials;

use hpo_study::{GpuSample, History, Timestamp};
use serde::Serialize;

pub use data::Json;
pub use page::page;
pub use parameters::ParameterFacts;
pub use trials::TrialColumns;

/// What a report is made from.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The study.
    pub history: &'a History,
    /// The moment the report speaks of: the present while a coordinator is at work, else that of the
    /// last event.
    pub now: Timestamp,
    /// The coordinator's process id, while one is at work.
    pub pid: Option<u32>,
    /// The study file as it was written, if it is known.
    pub study_file: Option<&'a str>,
    /// The timeline of GPU memory, oldest first; empty where no GPU was used.
    pub gpus: &'a [GpuSample],
}

impl<'a> Source<'a> {
    /// A study that nobody works at, and nothing else known of it.
    #[must_use]
    pub fn of(history: &'a History) -> Self {
        Self {
            history,
            now: history.last_event(),
            pid: None,
            study_file: None,
            gpus: &[],
        }
    }
}

/// The report's data, as `hpo report -f json` prints it. Fields are added in later versions, never
/// changed. Numbers are rounded to six significant digits; those that JSON cannot write are the texts
/// `"NaN"`, `"Infinity"` and `"-Infinity"`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Version of this contract.
    pub version: u32,
    /// What the study is and how it stands.
    pub study: StudyFacts,
    /// The parameters that are searched, in the order of the space.
    pub parameters: Vec<ParameterFacts>,
    /// One column per property of the trials; a trial's number is its place in every column.
    pub trials: TrialColumns,
    /// What each section shows, by the section's name. A section that has nothing to show is left out.
    pub sections: serde_json::Map<String, Json>,
}

/// What a study is and how it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StudyFacts {
    /// Its name.
    pub name: String,
    /// Words for people.
    pub description: Option<String>,
    /// The objective's name.
    pub metric: String,
    /// `minimize` or `maximize`.
    pub goal: hpo_study::Goal,
    /// `running`, `interrupted` or `ended`.
    pub state: &'static str,
    /// The state in a sentence.
    pub sentence: String,
    /// The trials by state, in words.
    pub counts: String,
    /// The moment the report speaks of, RFC 3339.
    pub as_of: String,
    /// How long the study has run, in words.
    pub ran: String,
}

/// Gathers the report's data.
#[must_use]
pub fn report(source: &Source<'_>) -> Report {
    let sections = section::ALL.iter().filter_map(|section| {
        let data = (section.data)(source)?;
        Some((section.name.to_owned(), data))
    });
    Report {
        version: 1,
        study: facts(source),
        parameters: parameters::facts(source.history),
        trials: trials::columns(source),
        sections: sections.collect(),
    }
}

fn facts(source: &Source<'_>) -> StudyFacts {
    let history = source.history;
    let spec = history.spec();
    let (state, sentence) = match (source.pid, history.end()) {
        (Some(_), _) => ("running", "still running".to_owned()),
        (None, Some(end)) => ("ended", crate::status::end_sentence(end)),
        (None, None) => ("interrupted", "stopped before its end".to_owned()),
    };
    StudyFacts {
        name: spec.name.clone(),
        description: spec.description.clone(),
        metric: spec.metric.name.clone(),
        goal: spec.metric.goal,
        state,
        sentence,
        counts: crate::status::counts(history),
        as_of: crate::number::moment(source.now),
        ran: crate::number::time(history.running_time(source.now)),
    }
}

#[cfg(test)]
mod tests;
