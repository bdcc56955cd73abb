//! `hpo rerun N`

use std::io::Write as _;

use hpo_report::export::shell_quoted;
use hpo_report::number::short;
use hpo_run::{About, Again, Rerun, RerunOptions, Said, Snapshot};
use hpo_study::{CodeNote, History, Trial};

use super::confirm::{program, work_dir};
use crate::cli::RerunArguments;
use crate::failure::{Exit, Failure};
use crate::output::words;
use crate::{output, study_dir};

pub(super) fn perform(arguments: &RerunArguments) -> Result<Exit, Failure> {
    let found = study_dir::open(&arguments.which.study)?;
    let trial = found.own_trial(arguments.which.trial)?;
    if let Some(parent) = trial.parent {
        return Err(Failure::usage(format!(
            "trial {} began from a checkpoint of trial {}, which is not kept: it cannot be run again by itself",
            trial.id, parent.trial
        ))
        .hint(format!(
            "`hpo best --trial {} -f json` has the whole schedule; `-f pytorch` and `-f keras` are code that follows it",
            trial.id
        )));
    }
    let absolute = |path: &std::path::Path| {
        std::path::absolute(path).map_err(|e| Failure::trouble(format!("{}: {e}", path.display())))
    };
    let options = RerunOptions {
        study_dir: absolute(&found.directory)?,
        work_dir: absolute(&work_dir(&found.history)?)?,
        trainer_program: program()?,
    };
    warn(&found.history, trial, &options);
    let rerun = Rerun::prepare(&found.history, trial, options).map_err(Failure::trouble)?;
    if arguments.print {
        output::data(&rerun.line(shell_quoted))?;
        return Ok(Exit::Done);
    }
    words!("trial {} again, in {}", trial.id, rerun.directory.display());
    // Nobody may be reading; the trial is run to its end all the same.
    let mut show = |said: Said<'_>| {
        let _ = match said {
            Said::Out(text) => std::io::stdout().write_all(text),
            Said::Err(text) => std::io::stderr().write_all(text),
        };
    };
    let again = rerun.run(&mut show).map_err(Failure::trouble)?;
    Ok(compare(&found.history.spec().metric.name, trial, &again))
}

/// Says what is known to differ from then.
fn warn(history: &History, trial: &Trial, options: &RerunOptions) {
    let warn = |text: String| words!("{}: {text}", output::yellow("warning"));
    let session = trial.attempts.first().map_or(1, |attempt| attempt.session);
    let file = format!("snapshot/session-{session}.json");
    match history.code().iter().find(|note| note.file == file) {
        Some(then) => {
            let study_file = then.study_file.as_ref().map(std::path::PathBuf::from);
            let about = About {
                study_dir: &options.study_dir,
                work_dir: &options.work_dir,
                study_file: study_file.as_deref(),
                hpo_version: env!("CARGO_PKG_VERSION"),
                pip_freeze: false,
            };
            let now = Snapshot::of(history, &about).note(String::new());
            differences(then, &now).into_iter().for_each(warn);
        }
        None => warn("which code the trial ran is not known".to_owned()),
    }
    if trial.attempts.len() > 1 {
        warn(format!(
            "the trial had {} processes, and went on from checkpoints; this is one process from the beginning",
            trial.attempts.len()
        ));
    }
    let began = trial.attempts.first().map(|attempt| attempt.launched);
    let later = |at| began.is_some_and(|began| at > began);
    for change in trial.changes.iter().filter(|change| later(change.at)) {
        let words = hpo_report::trials::change_words(change);
        warn(format!(
            "{words}; this run has the trial's last configuration all the way"
        ));
    }
    for rescue in &trial.rescues {
        let words = hpo_report::trials::rescue_words(rescue);
        warn(format!(
            "the trial was {words}; this run has its last configuration all the way"
        ));
    }
}

fn differences(then: &CodeNote, now: &CodeNote) -> Vec<String> {
    let mut found = Vec::new();
    if then.code != now.code {
        let commit = |note: &CodeNote| {
            let commit = note
                .commit
                .as_deref()
                .map(|c| c.chars().take(10).collect::<String>());
            let changes = if note.dirty { " with changes" } else { "" };
            commit.map_or_else(String::new, |commit| format!(" (commit {commit}{changes})"))
        };
        found.push(format!(
            "the code is another one than then{}: it is in snapshot/code-{}",
            commit(then),
            then.code
        ));
    }
    let mut versions = |what: &str, then: &str, now: &str| {
        if then != now {
            found.push(format!("{what} was {then} then and is {now} now"));
        }
    };
    versions("hpo", &then.hpo_version, &now.hpo_version);
    let unknown = "unknown".to_owned();
    let python = |note: &CodeNote| note.interpreter.clone().unwrap_or(unknown.clone());
    versions("the interpreter", &python(then), &python(now));
    found
}

/// Compares the value with the recorded one, at the step where that was.
fn compare(metric: &str, trial: &Trial, again: &Again) -> Exit {
    if let Some(trouble) = &again.trouble {
        words!("it did not end well this time: {trouble}");
    }
    let Some((step, then)) = trial.curve.last() else {
        words!("the trial has no recorded value to compare with");
        return if again.trouble.is_none() {
            Exit::Done
        } else {
            Exit::NoResult
        };
    };
    let Some(now) = again.curve.get(&step).copied() else {
        let last = again.curve.last_key_value();
        let last = last.map_or("nothing".to_owned(), |(step, v)| {
            format!("{v} at step {step}")
        });
        words!("recorded: {metric} = {then} at step {step}; this time: {last}");
        return Exit::NoResult;
    };
    let same = then.to_bits() == now.to_bits() || (then.is_nan() && now.is_nan());
    if same {
        words!("the same value again: {metric} = {then} at step {step}");
        return Exit::Done;
    }
    words!(
        "another value: {metric} = {now} at step {step}, recorded {then}; they differ by {}",
        short((now - then).abs())
    );
    Exit::NoResult
}
