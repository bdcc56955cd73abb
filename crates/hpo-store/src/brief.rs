//! A study read in short: everything that happened, but of trials that are over only the last words.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use hpo_study::{Event, EventKind, TrialId};
use rusqlite::Connection;

use crate::error::StoreError;
use crate::store::{open_shared, read, read_event, read_report, row_error};

const SELECT_EVENTS: &str = "SELECT seq, at, body FROM events ORDER BY seq";
const SELECT_LAST: &str = "SELECT seq, at, trial, attempt, step, metrics FROM reports \
                           WHERE trial = ?1 ORDER BY seq DESC";

/// Reads the log of the study in `dir` as [`crate::read`] does, but for most reports of the trials that are over:
/// their last step is there, and the last value in each objective. What a history makes of it differs from the whole one in
/// the curves of these trials and in nothing else that concerns their end.
///
/// # Errors
/// As [`crate::read`].
pub fn read_brief(dir: &Path) -> Result<Vec<Event>, StoreError> {
    let path = dir.join(crate::DATABASE);
    if !path.exists() {
        return Err(StoreError::Missing { path });
    }
    match open_shared(&path).and_then(|connection| brief(&connection, &path)) {
        // Where that cannot be done because nothing can be written, the whole way knows another one.
        Err(StoreError::ReadOnly { .. }) => read(dir),
        result => result,
    }
}

fn brief(connection: &Connection, path: &Path) -> Result<Vec<Event>, StoreError> {
    let sqlite = |e| StoreError::sqlite(path, e);
    let transaction = connection.unchecked_transaction().map_err(sqlite)?;
    let mut rows: Vec<(i64, Event)> = Vec::new();
    let mut all: BTreeMap<TrialId, Fences> = BTreeMap::new();
    let (mut over, mut rescued) = (BTreeSet::new(), BTreeSet::new());
    let mut objectives: Vec<String> = Vec::new();
    let mut events = transaction.prepare(SELECT_EVENTS).map_err(sqlite)?;
    for row in events.query_and_then([], read_event).map_err(sqlite)? {
        let (seq, event) = row.map_err(|e| row_error(path, e))?;
        match &event.kind {
            EventKind::StudyOpened { spec, .. } | EventKind::SpecChanged { spec } => {
                objectives = spec.objectives().map(|m| m.name.clone()).collect();
            }
            EventKind::TrialSuggested { trial, .. } => {
                all.entry(*trial).or_default();
            }
            // What older processes still say from here on does not count.
            EventKind::AttemptLaunching { trial, attempt, .. } => {
                all.entry(*trial).or_default().push((attempt.0, seq));
            }
            EventKind::AttemptEnded { trial, attempt, .. } => {
                let next = attempt.0.saturating_add(1);
                all.entry(*trial).or_default().push((next, seq));
            }
            // What was said before counts no more, down to some step: all of it has to be seen.
            EventKind::TrialRescued { trial, .. } => {
                rescued.insert(*trial);
            }
            EventKind::TrialCompleted { trial }
            | EventKind::TrialStopped { trial, .. }
            | EventKind::TrialFailed { trial, .. } => {
                over.insert(*trial);
            }
            _ => {}
        }
        rows.push((seq, event));
    }
    let mut last = transaction.prepare(SELECT_LAST).map_err(sqlite)?;
    for (trial, fences) in all {
        let whole = !over.contains(&trial) || rescued.contains(&trial);
        let reports = last
            .query_and_then([trial.0], read_report)
            .map_err(sqlite)?;
        let mut tail = Tail {
            missing: objectives.clone(),
            fences,
            step: None,
            lowest: u64::MAX,
            is_cut: false,
        };
        for row in reports {
            let (seq, event) = row.map_err(|e| row_error(path, e))?;
            let more = tail.wants_more(seq, &event);
            rows.push((seq, event));
            if !more && !whole {
                break;
            }
        }
    }
    rows.sort_unstable_by_key(|(seq, _)| *seq);
    Ok(rows.into_iter().map(|(_, event)| event).collect())
}

/// From which number (of the log) on attempts below a number are not heard.
type Fences = Vec<(u32, i64)>;

/// Goes back through a trial's reports until its last row is whole, and its last value in each objective is found.
struct Tail {
    missing: Vec<String>,
    fences: Fences,
    step: Option<u64>,
    /// The lowest step so far: what was said before of later ones was taken back.
    lowest: u64,
    /// Whether that was so since, so that what was said before of the same step was taken back, too.
    is_cut: bool,
}

impl Tail {
    fn wants_more(&mut self, seq: i64, event: &Event) -> bool {
        let EventKind::Reported {
            attempt,
            step,
            metrics,
            ..
        } = &event.kind
        else {
            return true;
        };
        let fenced = |(from, at): &(u32, i64)| attempt.0 < *from && seq > *at;
        if self.fences.iter().any(fenced) {
            return true;
        }
        if *step > self.lowest || (*step == self.lowest && self.is_cut) {
            self.is_cut = true;
            return true;
        }
        if *step < self.lowest {
            (self.lowest, self.is_cut) = (*step, false);
        }
        let first = *self.step.get_or_insert(*step);
        self.missing.retain(|name| !metrics.contains_key(name));
        // One more than needed shows that the last row is whole.
        !self.missing.is_empty() || *step == first
    }
}
