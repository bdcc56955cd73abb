//! The sections of the page, one file each, with the script that draws it beside it.
//!
//! A new section is a file, its `mod` line and a row in [`ALL`]. Its `data` gives what it shows as
//! JSON, or `None` where the study has nothing for it; then it is left out. Its script calls
//! `section(name, (data, place, report) => { … })` and fills the element `place`, with the helpers of
//! `assets/page/` (see their heads).

mod answer;
mod choices;
mod curves;
mod front;
mod gpu;
mod importance;
mod making;
mod map;
mod parallel;
mod population;
mod progress;
mod saved;
mod slices;
mod table;
mod trial;

use super::Source;
use super::data::Json;

/// One section of the page.
pub(super) struct Section {
    /// Its name in the JSON and its anchor on the page.
    pub(super) name: &'static str,
    /// Its heading.
    pub(super) title: &'static str,
    /// What it shows; `None`: nothing, and it is left out.
    pub(super) data: fn(&Source<'_>) -> Option<Json>,
    /// The script that draws it.
    pub(super) script: &'static str,
}

/// All sections, in the order of the page.
#[rustfmt::skip]
pub(super) const ALL: &[Section] = &[
    Section { name: "answer", title: "The answer", data: answer::data, script: include_str!("answer.js") },
    Section { name: "front", title: "The front", data: front::data, script: include_str!("front.js") },
    Section { name: "choices", title: "Which choice is better, at equal effort", data: choices::data, script: include_str!("choices.js") },
    Section { name: "progress", title: "How the search went", data: progress::data, script: include_str!("progress.js") },
    Section { name: "population", title: "What the population changed while it trained", data: population::data, script: include_str!("population.js") },
    Section { name: "map", title: "Which learning rates come to nothing", data: map::data, script: include_str!("map.js") },
    Section { name: "curves", title: "Training curves", data: curves::data, script: include_str!("curves.js") },
    Section { name: "trial", title: "One trial in detail", data: trial::data, script: include_str!("trial.js") },
    Section { name: "saved", title: "What was saved", data: saved::data, script: include_str!("saved.js") },
    Section { name: "importance", title: "Which parameters matter", data: importance::data, script: include_str!("importance.js") },
    Section { name: "slices", title: "Each parameter by itself", data: slices::data, script: include_str!("slices.js") },
    Section { name: "parallel", title: "All parameters together", data: parallel::data, script: include_str!("parallel.js") },
    Section { name: "gpu", title: "GPU memory", data: gpu::data, script: include_str!("gpu.js") },
    Section { name: "trials", title: "All trials", data: table::data, script: include_str!("table.js") },
    Section { name: "making", title: "How this was made", data: making::data, script: include_str!("making.js") },
];
