//! What the PyTorch and the Keras program have in common.

use std::fmt::Write as _;

use hpo_recipe::code::{python_flag, python_number};
use hpo_recipe::schedule::ScheduleKind;
use hpo_study::{History, Trial, TrialState, Value};

use super::recipe::Recipe;

/// The docstring at the top: what this is, and what it was chosen from.
pub(super) fn docstring(history: &History, trial: &Trial) -> String {
    let completed = history
        .own_trials()
        .filter(|t| t.state == TrialState::Completed)
        .count();
    let mut text = format!(
        "\"\"\"{}\n\n",
        docstring_text(&super::headline(history, trial))
    );
    let _ = writeln!(
        text,
        "Found by hpo {} among {} trials, {completed} of them completed, over",
        history.hpo_version(),
        history.own_count()
    );
    for dimension in hpo_study::plan::plan(history.spec()).dimensions {
        let when = dimension
            .when
            .map_or_else(String::new, |when| format!(" (where {when})"));
        let line = format!("  {}: {}{when}", dimension.parameter, dimension.domain);
        let _ = writeln!(text, "{}", docstring_text(&line));
    }
    text.push_str("\nIt runs as it is, on random numbers: put your own model and data in their place.\n\"\"\"\n");
    text
}

/// Text that cannot end the docstring, or be anything but text in it.
fn docstring_text(text: &str) -> String {
    let text: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    text.replace('\\', "\\\\").replace('"', "'")
}

/// A value as Python writes it.
pub(super) fn literal(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(flag) => python_flag(*flag).to_owned(),
        Value::Int(i) => i.to_string(),
        Value::Float(x) => python_number(*x),
        // JSON's texts are Python's, for all that they can hold.
        Value::Text(text) => serde_json::to_string(text).unwrap_or_default(),
        Value::List(items) => {
            format!(
                "[{}]",
                items.iter().map(literal).collect::<Vec<_>>().join(", ")
            )
        }
    }
}

/// The import lines of all parts, plain imports first, each once.
pub(super) fn imports(parts: &[&[String]], more: &[&str]) -> String {
    let mut all: Vec<&str> = parts
        .iter()
        .flat_map(|part| part.iter().map(String::as_str))
        .collect();
    all.extend_from_slice(more);
    all.sort_by_key(|line| (line.starts_with("from "), line.to_owned()));
    all.dedup();
    all.join("\n") + "\n"
}

/// Lines of a block, each with this much before it.
pub(super) fn block(lines: &[String], indent: &str) -> String {
    lines
        .iter()
        .map(|line| {
            if line.is_empty() {
                "\n".to_owned()
            } else {
                format!("{indent}{line}\n")
            }
        })
        .collect()
}

/// Notes as comments, broken into lines.
pub(super) fn comments(notes: &[String]) -> String {
    const WIDEST: usize = 96;
    let mut text = String::new();
    for note in notes {
        let mut line = "#".to_owned();
        for word in note.split_whitespace() {
            if line.chars().count() + 1 + word.chars().count() > WIDEST {
                text.push_str(&line);
                text.push('\n');
                line = "#".to_owned();
            }
            line.push(' ');
            line.push_str(word);
        }
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// The settings that are no optimizer's: `epochs`, `batch_size`, `clip_norm`, and what is the
/// model's or the data's.
pub(super) fn settings(recipe: &Recipe, rows: u64) -> String {
    let mut text = format!("epochs = {}\n", recipe.epochs);
    match recipe.batch_size {
        Some(size) => {
            let _ = writeln!(text, "batch_size = {size}");
        }
        None => {
            let _ = writeln!(
                text,
                "batch_size = {rows}  # full batch: as many as there are training rows"
            );
        }
    }
    if let Some(norm) = recipe.clip_norm {
        let _ = writeln!(text, "clip_norm = {}", python_number(norm));
    }
    if !recipe.others.is_empty() {
        text.push_str("other_parameters = {  # your model's, or your data's\n");
        for (name, value) in &recipe.others {
            let _ = writeln!(
                text,
                "    {}: {},",
                literal(&Value::Text(name.clone())),
                literal(value)
            );
        }
        text.push_str("}\n");
    }
    text
}

/// Rows of random data: enough for several updates per epoch.
pub(super) fn demonstration_rows(recipe: &Recipe) -> u64 {
    recipe.batch_size.map_or(256, |size| size.saturating_mul(4))
}

/// Whether batches grow during the run.
pub(super) fn grows(recipe: &Recipe) -> bool {
    recipe.schedule.kind() == ScheduleKind::BatchGrowth
}
