//! Taking trials in from elsewhere: into a study that nobody runs, or through whoever runs it.

use std::fs;
use std::io;
use std::path::Path;

use hpo_engine::{Engine, Import, Imported};
use hpo_store::{Store, StoreError};
use hpo_study::control::{Answer, Request};
use hpo_study::{Event, EventKind, StudySpec, Timestamp};

use crate::clock;
use crate::control::{
    TRIALS, ask_coordinator, make_directory, name_of_request, read_most, unattended,
};
use crate::coordinator::recall;
use crate::error::RunError;
use crate::files::write_atomically;

/// More bytes of trials are refused while a study runs.
const LARGEST: u64 = 1 << 30;

/// Begins a study without running it, unless it has begun.
///
/// # Errors
/// What the disk refuses.
pub fn begin(study_dir: &Path, spec: &StudySpec, hpo_version: &str) -> Result<(), RunError> {
    if hpo_store::exists(study_dir) {
        return Ok(());
    }
    let kind = EventKind::StudyOpened {
        spec: Box::new(spec.clone()),
        hpo_version: hpo_version.to_owned(),
    };
    let opened = Event {
        at: clock::now(),
        kind,
    };
    Store::create(study_dir, &[opened])?;
    Ok(())
}

/// Takes trials into the study in `study_dir`; when this returns they are on the disk, all of them. With an error none
/// of them is.
///
/// # Errors
/// When the study cannot be read or written, or whoever runs it does not answer.
pub fn import(study_dir: &Path, import: &Import) -> Result<Imported, RunError> {
    let mut first = true;
    let mut store = loop {
        let holder = match Store::open(study_dir) {
            Err(StoreError::Locked { pid }) => pid.filter(|_| first),
            opened => break opened?,
        };
        if let Some(told) = through_coordinator(study_dir, import, holder)? {
            return Ok(told);
        }
        first = false;
    };
    let mut engine = recall(&store)?;
    let (now, mut events) = unattended(&mut engine)?;
    let (taken_in, told) = engine.import(now, import)?;
    if !taken_in.is_empty() {
        events.extend(taken_in);
        store.append(&events)?;
    }
    Ok(told)
}

/// Puts the trials beside the request, which is too short for them. `None`: whoever ran the study, `holder`, has just ended.
fn through_coordinator(
    study_dir: &Path,
    import: &Import,
    holder: Option<u32>,
) -> Result<Option<Imported>, RunError> {
    let directory = make_directory(study_dir)?;
    let file = format!("{}.{TRIALS}", name_of_request());
    let path = directory.join(&file);
    let json = serde_json::to_vec(import).map_err(io::Error::other);
    let written = json.and_then(|json| write_atomically(&path, &json, false));
    written.map_err(RunError::io(&path))?;
    let answer = ask_coordinator(study_dir, &Request::Import { file }, holder);
    // Taken in or not: nobody needs it any more.
    let _ = fs::remove_file(&path);
    let Some(answer) = answer? else {
        return Ok(None);
    };
    match answer {
        Answer::Done { words } => serde_json::from_str(&words)
            .map(Some)
            .map_err(|error| RunError::NoAnswer(format!("the answer is not understood: {error}"))),
        Answer::Refused { why, .. } => Err(RunError::NoAnswer(why)),
    }
}

/// What whoever runs the study makes of a request to import.
pub(crate) fn answer(
    engine: &mut Engine,
    now: Timestamp,
    study_dir: &Path,
    file: &str,
) -> Result<(Vec<Event>, Answer), RunError> {
    let refused = |why: String| Ok((Vec::new(), Answer::refused(why)));
    if file.contains(['/', '\\']) || !file.ends_with(&format!(".{TRIALS}")) {
        return refused("no such file of trials".to_owned());
    }
    let path = make_directory(study_dir)?.join(file);
    let read = read_most(&path, LARGEST).map_err(|error| error.to_string());
    let import = read.and_then(|json| {
        serde_json::from_slice::<Import>(&json).map_err(|error| error.to_string())
    });
    let import = match import {
        Ok(import) => import,
        Err(error) => return refused(format!("the trials cannot be read: {error}")),
    };
    let space = &engine.history().spec().space;
    let wrong = import
        .trials
        .iter()
        .find_map(|t| space.check(&t.config).err());
    if let Some(why) = wrong {
        return refused(format!("not trials of this study: {why}"));
    }
    let (events, told) = engine.import(now, &import)?;
    match serde_json::to_string(&told) {
        Ok(words) => Ok((events, Answer::done(words))),
        Err(error) => Ok((events, Answer::done(error.to_string()))),
    }
}
