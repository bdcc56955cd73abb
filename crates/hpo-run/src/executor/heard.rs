//! Whether a process still says anything: its output files grow.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::files::TrialFiles;

/// How often its files are looked at.
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

/// The files a process writes to, and how long they were.
#[derive(Debug)]
pub(crate) struct Heard {
    files: [PathBuf; 3],
    lengths: [u64; 3],
    looked: Option<Instant>,
}

impl Heard {
    pub(crate) fn new(files: &TrialFiles) -> Self {
        let files = [
            files.stdout.clone(),
            files.stderr.clone(),
            files.metrics.clone(),
        ];
        let lengths = lengths(&files);
        Self {
            files,
            lengths,
            looked: None,
        }
    }

    /// Whether something was written since it was last asked. Looks only now and then.
    pub(crate) fn anything(&mut self, now: Instant) -> bool {
        if self
            .looked
            .is_some_and(|at| now.duration_since(at) < BETWEEN_LOOKS)
        {
            return false;
        }
        self.looked = Some(now);
        let lengths = lengths(&self.files);
        std::mem::replace(&mut self.lengths, lengths) != lengths
    }
}

fn lengths(files: &[PathBuf; 3]) -> [u64; 3] {
    let length = |path: &PathBuf| std::fs::metadata(path).map_or(0, |m| m.len());
    files.each_ref().map(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_written_is_heard_once() {
        let dir = tempfile::tempdir().unwrap();
        let files = TrialFiles::at(dir.path().to_owned());
        let mut heard = Heard::new(&files);
        let mut now = Instant::now();
        let mut ask = || {
            now += BETWEEN_LOOKS;
            heard.anything(now)
        };
        assert!(!ask());
        for file in [&files.stdout, &files.stderr, &files.metrics] {
            std::fs::write(file, "x").unwrap();
            assert!(ask());
            assert!(!ask());
        }
        std::fs::write(&files.metrics, "").unwrap();
        assert!(ask(), "a file that was begun anew");
    }
}
