//! Checkpoints on the disk: how much room they take, and the removal of those that a study does not
//! keep. Only finished trials lose any; which is `hpo_study::stay`'s to say.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use hpo_study::stay::{Stay, what_stays, worst_first};
use hpo_study::storage::{Storage, size_words};
use hpo_study::{Event, EventKind, History, TrialId};

use crate::files::TrialFiles;

/// How often the room that they take is measured, where there is a budget, …
const BETWEEN_LOOKS: Duration = Duration::from_secs(2);
/// … and at least so many times as long as the last measurement took: of many files on a slow disk, more seldom.
const REST: u32 = 50;

/// How many bytes a trial's checkpoints take.
#[must_use]
pub fn checkpoint_bytes(study_dir: &Path, trial: TrialId) -> u64 {
    bytes(&TrialFiles::new(study_dir, trial).checkpoints)
}

/// How many bytes a file takes, or all that is in a directory. Links are not followed.
#[must_use]
pub fn bytes(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    const BLOCK: u64 = 512;
    let Ok(found) = path.symlink_metadata() else {
        return 0;
    };
    if !found.is_dir() {
        return found.blocks() * BLOCK;
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| bytes(&entry.path())).sum()
}

/// How many bytes [`remove_checkpoints`] would free.
#[must_use]
pub fn removable_bytes(study_dir: &Path, trial: TrialId, stay: Stay) -> u64 {
    let directory = TrialFiles::new(study_dir, trial).checkpoints;
    let goes = going(&directory, stay).unwrap_or_default();
    goes.iter().map(|path| bytes(path)).sum()
}

/// Removes a finished trial's checkpoints but for those that stay; gives back how many bytes went. The
/// directory itself stays. One that is a link, or in a trial's directory that is one, is left alone.
///
/// # Errors
/// The system's words; what was removed until then is.
pub fn remove_checkpoints(study_dir: &Path, trial: TrialId, stay: Stay) -> io::Result<u64> {
    let directory = TrialFiles::new(study_dir, trial).checkpoints;
    let mut freed = 0;
    for path in going(&directory, stay)? {
        let size = bytes(&path);
        let removed = if path.symlink_metadata()?.is_dir() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => freed += size,
        }
    }
    Ok(freed)
}

/// The entries of a checkpoint directory that do not stay.
fn going(directory: &Path, stay: Stay) -> io::Result<Vec<PathBuf>> {
    let keep = match stay {
        Stay::All => return Ok(Vec::new()),
        Stay::None => 0,
        Stay::Newest(count) => count as usize,
    };
    let is_plain = |path: &Path| path.symlink_metadata().is_ok_and(|m| m.is_dir());
    if !is_plain(directory) || !directory.parent().is_some_and(is_plain) {
        return Ok(Vec::new());
    }
    let mut entries: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let written = path.symlink_metadata().and_then(|m| m.modified());
        entries.push((written.unwrap_or(SystemTime::UNIX_EPOCH), path));
    }
    entries.sort();
    entries.truncate(entries.len().saturating_sub(keep));
    Ok(entries.into_iter().map(|(_, path)| path).collect())
}

/// Removes what a study does not keep, in a thread of its own: large files take a while to go.
#[derive(Debug)]
pub(crate) struct Sweeper {
    told: BTreeMap<TrialId, Stay>,
    storage: Storage,
    to: Option<Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread is told.
#[derive(Debug)]
struct Order {
    stay: Vec<(TrialId, Stay)>,
    worst_first: Vec<TrialId>,
    budget: Option<u64>,
}

impl Sweeper {
    pub(crate) fn of(study_dir: &Path) -> Self {
        let (to, orders) = channel();
        let study_dir = study_dir.to_owned();
        let thread = thread::Builder::new().name("sweeper".to_owned());
        let thread = thread
            .spawn(move || Broom::new(study_dir).work(&orders))
            .ok();
        Self {
            told: BTreeMap::new(),
            storage: Storage::default(),
            to: Some(to),
            thread,
        }
    }

    /// Something happened, and is durable.
    pub(crate) fn see(&mut self, history: &History, events: &[Event]) {
        let wanted = history.spec().storage;
        let idle = wanted == Storage::default() && self.storage == wanted;
        let matters = |event: &Event| {
            matches!(
                event.kind,
                EventKind::TrialCompleted { .. }
                    | EventKind::TrialStopped { .. }
                    | EventKind::TrialFailed { .. }
                    | EventKind::SessionStarted { .. }
                    | EventKind::SpecChanged { .. }
            )
        };
        if idle || !events.iter().any(matters) {
            return;
        }
        self.storage = wanted;
        let mut stay = what_stays(history, wanted.keep_checkpoints);
        stay.retain(|(trial, stay)| self.told.insert(*trial, *stay) != Some(*stay));
        let budget = wanted.disk_budget;
        let order = Order {
            stay,
            worst_first: budget.map_or_else(Vec::new, |_| worst_first(history)),
            budget,
        };
        if let Some(to) = &self.to {
            let _ = to.send(order);
        }
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.to = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The thread's side.
struct Broom {
    study_dir: PathBuf,
    latest: Option<Order>,
    /// How long the next look can wait.
    rest: Duration,
    warned: bool,
    gave_up: bool,
}

impl Broom {
    fn new(study_dir: PathBuf) -> Self {
        Self {
            study_dir,
            latest: None,
            rest: BETWEEN_LOOKS,
            warned: false,
            gave_up: false,
        }
    }

    fn work(mut self, orders: &Receiver<Order>) {
        loop {
            match orders.recv_timeout(self.rest) {
                Ok(order) => {
                    for (trial, stay) in &order.stay {
                        self.remove(*trial, *stay);
                    }
                    self.latest = Some(order);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.keep_to_budget();
        }
    }

    fn remove(&self, trial: TrialId, stay: Stay) -> u64 {
        match remove_checkpoints(&self.study_dir, trial, stay) {
            Ok(freed) => {
                if freed > 0 {
                    let size = size_words(freed);
                    tracing::debug!(trial = trial.0, size, "checkpoints removed");
                }
                freed
            }
            // A trial that never had a directory has no checkpoints.
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => {
                tracing::warn!(trial = trial.0, %error, "its checkpoints cannot be removed");
                0
            }
        }
    }

    fn keep_to_budget(&mut self) {
        let Some((order, budget)) = self.latest.as_ref().and_then(|o| Some((o, o.budget?))) else {
            return;
        };
        let begun = Instant::now();
        let mut sizes = sizes(&self.study_dir);
        self.rest = BETWEEN_LOOKS.max(begun.elapsed() * REST);
        let mut taken: u64 = sizes.values().sum();
        if !self.warned && taken > budget / 10 * 9 {
            self.warned = true;
            tracing::warn!(
                "checkpoints take {} of the {} of `disk_budget`: those of the worst trials go first",
                size_words(taken),
                size_words(budget)
            );
        }
        for trial in &order.worst_first {
            if taken <= budget {
                break;
            }
            let freed = self.remove(*trial, Stay::None);
            taken = taken.saturating_sub(freed);
            if freed > 0 {
                sizes.remove(trial);
            }
        }
        if taken <= budget {
            self.gave_up &= taken > budget / 10 * 9;
        } else if !self.gave_up {
            self.gave_up = true;
            let largest = sizes.iter().max_by_key(|(_, size)| **size);
            let (trial, size) = largest.map_or((TrialId(0), 0), |(trial, size)| (*trial, *size));
            tracing::warn!(
                "checkpoints take {}, more than the {} of `disk_budget`, and none of them may be removed: they belong to \
                 the best trial or to trials that may go on; the most, {}, to trial {trial}",
                size_words(taken),
                size_words(budget),
                size_words(size)
            );
        }
    }
}

/// How many bytes the checkpoints of each trial take, of all that have a directory: running ones, too.
fn sizes(study_dir: &Path) -> BTreeMap<TrialId, u64> {
    let trials = fs::read_dir(study_dir.join("trials")).into_iter().flatten();
    // Those of runs that repeat and confirm are `r0`, `c0`, …
    let ids = trials.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    ids.map(|trial| (trial, checkpoint_bytes(study_dir, trial)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn study(entries: &[(u32, &str, usize)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (i, (trial, name, size)) in entries.iter().enumerate() {
            let files = TrialFiles::new(dir.path(), TrialId(*trial));
            fs::create_dir_all(&files.checkpoints).unwrap();
            let path = files.checkpoints.join(name);
            fs::write(&path, vec![1_u8; *size]).unwrap();
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + i as u64);
            fs::File::options()
                .append(true)
                .open(&path)
                .unwrap()
                .set_modified(at)
                .unwrap();
        }
        dir
    }

    fn names(dir: &tempfile::TempDir, trial: u32) -> Vec<String> {
        let directory = TrialFiles::new(dir.path(), TrialId(trial)).checkpoints;
        let mut names: Vec<String> = fs::read_dir(directory)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_newest_stay() {
        let dir = study(&[(0, "b", 9), (0, "a", 9), (0, "c", 9)]);
        let nested = TrialFiles::new(dir.path(), TrialId(0))
            .checkpoints
            .join("d");
        fs::create_dir_all(nested.join("deep")).unwrap();
        assert_eq!(
            remove_checkpoints(dir.path(), TrialId(0), Stay::All).unwrap(),
            0
        );
        assert!(removable_bytes(dir.path(), TrialId(0), Stay::Newest(2)) > 0);
        assert!(remove_checkpoints(dir.path(), TrialId(0), Stay::Newest(2)).unwrap() > 0);
        assert_eq!(names(&dir, 0), ["c", "d"]);
        remove_checkpoints(dir.path(), TrialId(0), Stay::None).unwrap();
        assert!(names(&dir, 0).is_empty());
    }

    #[test]
    fn links_are_neither_followed_nor_obeyed() {
        let dir = study(&[(0, "a", 9)]);
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("precious"), "x").unwrap();
        let inside = TrialFiles::new(dir.path(), TrialId(0))
            .checkpoints
            .join("link");
        std::os::unix::fs::symlink(outside.path(), inside).unwrap();
        remove_checkpoints(dir.path(), TrialId(0), Stay::None).unwrap();
        assert!(outside.path().join("precious").exists());
        let files = TrialFiles::new(dir.path(), TrialId(1));
        fs::create_dir_all(&files.dir).unwrap();
        std::os::unix::fs::symlink(outside.path(), &files.checkpoints).unwrap();
        assert_eq!(
            remove_checkpoints(dir.path(), TrialId(1), Stay::None).unwrap(),
            0
        );
        assert!(outside.path().join("precious").exists());
    }

    #[test]
    fn the_worst_go_until_the_budget_is_kept() {
        let dir = study(&[(0, "a", 100_000), (1, "a", 100_000), (2, "a", 100_000)]);
        let mut broom = Broom::new(dir.path().to_owned());
        broom.latest = Some(Order {
            stay: Vec::new(),
            worst_first: vec![TrialId(2), TrialId(0)],
            budget: Some(250_000),
        });
        broom.keep_to_budget();
        let left = |trial| names(&dir, trial).len();
        assert_eq!((left(0), left(1), left(2)), (1, 1, 0));
        if let Some(order) = &mut broom.latest {
            order.budget = Some(1);
        }
        broom.keep_to_budget();
        assert_eq!((left(0), left(1), left(2)), (0, 1, 0), "the best stays");
        assert!(broom.warned && broom.gave_up);
    }

    #[test]
    fn runs_that_repeat_and_confirm_count() {
        let (repeat, confirmation) = (TrialId::repeat(0), TrialId::confirmation(2));
        let dir = study(&[(repeat.0, "a", 100_000), (confirmation.0, "a", 100_000)]);
        let sizes = sizes(dir.path());
        assert_eq!(
            sizes.into_keys().collect::<Vec<_>>(),
            [repeat, confirmation]
        );
    }

    #[test]
    fn trials_that_are_not_over_count() {
        // Nothing has ended yet, so there is nothing that may go; but the room is measured.
        let dir = study(&[(7, "a", 100_000)]);
        let mut broom = Broom::new(dir.path().to_owned());
        broom.latest = Some(Order {
            stay: Vec::new(),
            worst_first: Vec::new(),
            budget: Some(50_000),
        });
        broom.keep_to_budget();
        assert!(broom.gave_up);
        fs::remove_file(
            TrialFiles::new(dir.path(), TrialId(7))
                .checkpoints
                .join("a"),
        )
        .unwrap();
        broom.keep_to_budget();
        assert!(!broom.gave_up, "it is told again when it happens again");
    }
}
