//! What there is of a study before its loop begins.

use std::num::NonZero;
use std::path::Path;

use hpo_engine::{Engine, Recall};
use hpo_store::Store;
use hpo_study::{Event, EventKind, History, StudyEnd, StudySpec};

use super::RunOptions;
use crate::clock;
use crate::error::RunError;
use crate::executor::LeftOver;
use crate::session::AttemptId;

pub(super) fn open_or_create(
    options: &RunOptions,
    study_dir: &Path,
) -> Result<(Store, Engine), RunError> {
    if hpo_store::exists(study_dir) {
        let store = Store::open(study_dir)?;
        let engine = recall(&store)?;
        return Ok((store, engine));
    }
    let spec = Box::new(options.spec.clone());
    let kind = EventKind::StudyOpened {
        spec,
        hpo_version: options.hpo_version.clone(),
    };
    let log = vec![Event {
        at: clock::now(),
        kind,
    }];
    Ok((Store::create(study_dir, &log)?, Engine::new(&log)?))
}

/// The engine of a study that was begun.
pub(crate) fn recall(store: &Store) -> Result<Engine, RunError> {
    let mut so_far = Recall::default();
    store.replay(|event| so_far.take_in(event).map_err(RunError::from))?;
    Ok(so_far.finish()?)
}

/// A study that failed too often is tried again, since its program may have been mended.
pub(super) fn nothing_to_do(history: &History, spec: &StudySpec) -> bool {
    history
        .end()
        .is_some_and(|end| !matches!(end, StudyEnd::Failures { .. }))
        && history.file_spec() == spec
        && !history.has_new_wishes()
}

/// The attempts of dead sessions, with how much of what they said is known.
pub(super) fn left_over(engine: &Engine, store: &Store) -> Result<Vec<LeftOver>, RunError> {
    let left = engine.leftovers().into_iter().map(|(trial, attempt, _)| {
        let (reports, last_step) = store.said(trial, attempt)?;
        Ok(LeftOver {
            id: AttemptId { trial, attempt },
            reports,
            last_step,
        })
    });
    left.collect()
}

pub(super) fn slots(spec: &StudySpec) -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    spec.cpu
        .max_parallel
        .unwrap_or(u32::try_from(cores).unwrap_or(u32::MAX))
        .max(1)
}

pub(super) fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() {
        "unknown".to_owned()
    } else {
        name.to_owned()
    }
}
