//! An attempt that no warden of this coordinator minds: one that was found running and adopted, or
//! whose warden was killed. All that is known of it is on the disk and in `/proc`.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::identity::{Identity, boot};
use super::orphans;
use super::records::{Exit, ExitRecord, ProcessRecord};
use super::warden::{PATIENCE, signal_group};
use crate::files::TrialFiles;
use crate::session::{AttemptId, Session};

/// How an attempt came to its end, as far as that can be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Somebody saw it, and knows perhaps how many bytes of main memory one of its processes held at most.
    Seen(Exit, Option<u64>),
    /// Nobody did.
    Lost,
}

impl End {
    /// The most main memory that one of its processes held, in bytes, where that is known.
    pub(super) fn peak(self) -> Option<u64> {
        match self {
            Self::Seen(_, peak) => peak,
            Self::Lost => None,
        }
    }
}

/// A process to be watched from afar.
#[derive(Debug)]
pub(super) struct Watched {
    process: Identity,
    word: String,
    files: TrialFiles,
    id: AttemptId,
    term_at: Option<Instant>,
    kill_at: Option<Instant>,
    /// When it was first seen to be gone without a word about how.
    missed: Option<Instant>,
}

impl Watched {
    pub(super) fn new(id: AttemptId, process: Identity, word: String, files: &TrialFiles) -> Self {
        Self {
            process,
            word,
            files: files.clone(),
            id,
            term_at: None,
            kill_at: None,
            missed: None,
        }
    }

    pub(super) fn pid(&self) -> i32 {
        self.process.pid
    }

    pub(super) fn word(&self) -> &str {
        &self.word
    }

    pub(super) fn stop(&mut self, now: Instant, term: Duration, kill: Duration) {
        self.term_at = Some(now + term);
        self.kill_at = Some(now + kill);
    }

    pub(super) fn next_moment(&self) -> Option<Instant> {
        self.term_at.into_iter().chain(self.kill_at).min()
    }

    /// How it ended, once it has and nothing of it is left. `minded`: an old warden is still there
    /// that may be about to write it down.
    pub(super) fn look(&mut self, now: Instant, minded: bool) -> Option<End> {
        if let Some(record) = exit_record(&self.files, self.id, |word| word == self.word) {
            return Some(End::Seen(record.exit, record.peak));
        }
        if let Some((exit, peak)) = self.reap() {
            orphans::kill_marked_exactly(&self.word, PATIENCE);
            return Some(End::Seen(exit, peak));
        }
        if self.process.lives() {
            self.signal_when_due(now);
            return None;
        }
        // Nobody is left to be signalled.
        (self.term_at, self.kill_at) = (None, None);
        // A warden that was told to stop, or a parent that does not wait, may never say a word.
        let missed = *self.missed.get_or_insert(now);
        if minded && now.duration_since(missed) < 2 * PATIENCE {
            return None;
        }
        orphans::kill_marked_exactly(&self.word, PATIENCE);
        let last = exit_record(&self.files, self.id, |word| word == self.word);
        Some(last.map_or(End::Lost, |record| End::Seen(record.exit, record.peak)))
    }

    /// A process whose warden died is a child of this one.
    fn reap(&self) -> Option<(Exit, Option<u64>)> {
        if !self.process.is_there() || self.process.lives() {
            return None;
        }
        let used = wait4::try_wait4_pid(self.process.pid.cast_unsigned()).ok()??;
        let peak = Some(used.rusage.maxrss).filter(|bytes| *bytes > 0);
        Some((Exit::of(used.status), peak))
    }

    fn signal_when_due(&mut self, now: Instant) {
        for (at, signal) in [
            (&mut self.term_at, Signal::SIGTERM),
            (&mut self.kill_at, Signal::SIGKILL),
        ] {
            if at.is_some_and(|at| at <= now) {
                *at = None;
                // Whoever is alive keeps its id, and its group.
                signal_group(self.process.pid(), signal);
            }
        }
    }

    /// Kills it and all that carries its mark.
    pub(super) fn end(&self) {
        if self.process.lives() {
            signal_group(self.process.pid(), Signal::SIGKILL);
        }
        orphans::kill_marked_exactly(&self.word, PATIENCE);
        let _ = self.reap();
    }
}

/// What is there of an attempt of an earlier session.
pub(super) enum Found {
    /// Its process runs.
    Running(Watched),
    /// Its process is gone, and nobody has written down how it ended: not yet, perhaps.
    Gone(Watched),
    /// It has ended, and nothing of it is left.
    Ended(End),
}

/// Looks for an attempt: has it ended, does it run, is it lost? Of another life of the machine
/// everything is, whatever stands on the disk: what its process had written may not have come there.
pub(super) fn find(
    session: &Session,
    id: AttemptId,
    files: &TrialFiles,
    marked: &[(i32, String)],
) -> Found {
    let ours = |word: &str| session.attempt(word) == Some(id);
    if let Some(record) = exit_record(files, id, ours) {
        return Found::Ended(End::Seen(record.exit, record.peak));
    }
    let record = ProcessRecord::read(files, id.attempt).filter(|record| ours(&record.word));
    if let Some(record) = record {
        let lives = record.identity.lives();
        let watched = Watched::new(id, record.identity, record.word, files);
        return match lives {
            true => Found::Running(watched),
            false => Found::Gone(watched),
        };
    }
    // Started just when its warden was killed, before that was written down.
    let mut leaders = marked
        .iter()
        .filter(|(pid, word)| ours(word) && orphans::leads_group(*pid));
    let leader = leaders.next();
    if let Some((pid, word)) = leader {
        let process = Identity::of(*pid);
        if process.lives() {
            return Found::Running(Watched::new(id, process, word.clone(), files));
        }
    }
    Found::Ended(End::Lost)
}

fn exit_record(
    files: &TrialFiles,
    id: AttemptId,
    ours: impl Fn(&str) -> bool,
) -> Option<ExitRecord> {
    ExitRecord::read(files, id.attempt).filter(|record| ours(&record.word) && record.boot == boot())
}

#[cfg(test)]
mod tests {
    use hpo_study::{AttemptNumber, Timestamp, TrialId};

    use super::*;

    #[test]
    fn a_process_that_is_gone_is_not_lost_while_its_warden_may_still_tell() {
        let dir = tempfile::tempdir().unwrap();
        let session = Session::new(dir.path(), Timestamp(1), 1).unwrap();
        let (trial, attempt) = (TrialId(0), AttemptNumber(1));
        let id = AttemptId { trial, attempt };
        let files = TrialFiles::new(dir.path(), trial);
        std::fs::create_dir_all(&files.dir).unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let identity = Identity::of(child.id().cast_signed());
        child.wait().unwrap();
        let word = session.word(id);
        let process = ProcessRecord {
            word: word.clone(),
            identity,
        };
        process.write(&files.process_record(attempt)).unwrap();
        let Found::Gone(mut watched) = find(&session, id, &files, &[]) else {
            panic!("it is neither running nor known to have ended");
        };
        assert_eq!(watched.look(Instant::now(), true), None);
        let exit = ExitRecord {
            word,
            exit: Exit::Code(0),
            peak: None,
            at: 0,
            boot: boot(),
        };
        exit.write(&files.exit_record(attempt)).unwrap();
        let end = watched.look(Instant::now(), true);
        assert_eq!(end, Some(End::Seen(Exit::Code(0), None)));
    }
}
