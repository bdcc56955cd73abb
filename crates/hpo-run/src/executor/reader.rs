//! Reads what a trial's process reports, from files that grow.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use hpo_store::private::open_plain;
use hpo_study::memory::MIB;
use hpo_study::printout::{Scraper, Stream, marked_report};
use hpo_study::protocol::{self, Report};
use hpo_study::{Job, Measured, MetricPattern, StudySpec};

use crate::files::{Offsets, TrialFiles};
use crate::session::AttemptId;

/// Longer lines are no reports and are passed over.
const LONGEST_LINE: u64 = 1 << 20;
/// How much of one file is read at most in one go, so that one talkative trial cannot hold up others.
const MOST_AT_ONCE: u64 = 1 << 20;
/// How much of what was read last is remembered, to tell whether a file was written anew.
const REMEMBERED: usize = 64;
/// How many wrong lines of an attempt are named in the log.
const MOST_COMPLAINTS: u32 = 3;

/// What trials are listened to for.
#[derive(Debug, Clone)]
pub(crate) struct Listening {
    patterns: Vec<MetricPattern>,
    objective: String,
    /// Their memory is an objective.
    memory: bool,
}

impl Listening {
    pub(crate) fn of(spec: &StudySpec) -> Self {
        let patterns = match &spec.job {
            Job::Command(job) => job.metrics.clone(),
            Job::Trainer(_) => Vec::new(),
        };
        Self {
            patterns,
            objective: spec.metric.name.clone(),
            memory: Measured::Memory.is_wanted(spec),
        }
    }

    /// The report that an attempt makes of its memory at its end, where that is an objective.
    pub(crate) fn of_memory(&self, peak: Option<u64>) -> Option<Report> {
        let mib = peak.filter(|_| self.memory)? as f64 / MIB as f64;
        let metrics = [(Measured::Memory.name().to_owned(), mib)].into();
        Some(Report {
            step: None,
            metrics,
        })
    }

    /// What finds metrics in one of the streams; `None` if nothing is to be found there.
    fn scraper(&self, stream: Stream) -> Option<Scraper> {
        // The patterns were checked with the study file.
        let scraper = Scraper::new(&self.patterns, stream).ok()?;
        (!scraper.is_idle()).then_some(scraper)
    }
}

/// The reports of one attempt: lines of its metrics file, and of what it prints marked lines and those in
/// which the study's patterns find metrics.
#[derive(Debug)]
pub(crate) struct Reader {
    id: AttemptId,
    stdout: Printed,
    stderr: Option<Printed>,
    metrics: Lines,
    wrong: u32,
    /// It was said that something of it cannot be read.
    told_unreadable: bool,
    /// Steps that were not given, so far, where the process began afresh.
    counted: Option<u64>,
    objective: String,
    /// Whether the objective was ever reported.
    heard: bool,
    /// Whose steps count where both streams are looked through: that with the objective.
    clock: Stream,
    /// The last of them.
    step: u64,
}

/// One of a process's streams.
#[derive(Debug)]
struct Printed {
    lines: Lines,
    scraper: Option<Scraper>,
    marked: bool,
}

impl Printed {
    fn new(path: &Path, from: u64, scraper: Option<Scraper>, marked: bool) -> Self {
        let mut lines = Lines::new(path, from);
        lines.returns = scraper.is_some();
        Self {
            lines,
            scraper,
            marked,
        }
    }

    fn read(
        &mut self,
        last: bool,
        reports: &mut Vec<Report>,
        wrong: &mut dyn FnMut(&str, &[u8]),
    ) -> io::Result<()> {
        let Self {
            lines,
            scraper,
            marked,
        } = self;
        let outcome = lines.read(last, &mut |line, whole| {
            let shown = last_written(line);
            match marked_report(shown).filter(|_| *marked) {
                Some(Ok(report)) => reports.push(report),
                Some(Err(error)) => wrong(&error, shown),
                None => {
                    let found = scraper.as_mut().map(|scraper| scraper.line(line, whole));
                    reports.extend(found.unwrap_or_default());
                }
            }
        });
        if last && lines.drained {
            reports.extend(scraper.as_mut().and_then(Scraper::flush));
        }
        outcome
    }
}

impl Reader {
    /// Reads the attempt's words from where they begin.
    pub(crate) fn new(
        id: AttemptId,
        files: &TrialFiles,
        from: Offsets,
        listening: &Listening,
    ) -> Self {
        let stderr = listening.scraper(Stream::Stderr);
        Self {
            id,
            stdout: Printed::new(
                &files.stdout,
                from.stdout,
                listening.scraper(Stream::Stdout),
                true,
            ),
            stderr: stderr.map(|s| Printed::new(&files.stderr, from.stderr, Some(s), false)),
            metrics: Lines::new(&files.metrics, from.metrics),
            wrong: 0,
            told_unreadable: false,
            counted: from.afresh.then_some(0),
            objective: listening.objective.clone(),
            heard: false,
            clock: Stream::Stdout,
            step: 1,
        }
    }

    /// Whether the objective was among what was reported.
    pub(crate) fn heard_objective(&self) -> bool {
        self.heard
    }

    /// What was reported since the last call. An unfinished last line is left for later, unless
    /// this is the `last` call.
    pub(crate) fn read(&mut self, last: bool) -> Vec<Report> {
        let Self {
            id,
            stdout,
            stderr,
            metrics,
            wrong,
            objective,
            clock,
            step: last_step,
            counted,
            told_unreadable,
            ..
        } = self;
        let mut reports = Vec::new();
        let mut complain = |error: &str, line: &[u8]| {
            *wrong += 1;
            complain(*id, *wrong, error, line);
        };
        let mut outcomes = vec![stdout.read(last, &mut reports, &mut complain)];
        if let Some(stderr) = stderr {
            let mut others = Vec::new();
            outcomes.push(stderr.read(last, &mut others, &mut complain));
            if stdout.scraper.is_some() {
                reports = merge(reports, others, objective, clock, last_step);
            } else {
                reports.extend(others);
            }
        }
        outcomes.push(metrics.read(last, &mut |line, _| {
            if !line.trim_ascii().is_empty() {
                match protocol::parse_report(&String::from_utf8_lossy(line)) {
                    Ok(report) => reports.push(report),
                    Err(error) => complain(&error, line),
                }
            }
        }));
        if let Some(counted) = counted {
            for report in &mut reports {
                *counted = report.step.unwrap_or(*counted + 1);
                report.step = Some(*counted);
            }
        }
        // Once: what is no plain file is none at the next look either.
        if let Some(error) = outcomes.into_iter().find_map(Result::err)
            && !std::mem::replace(told_unreadable, true)
        {
            let (trial, attempt) = (id.trial.0, id.attempt.0);
            tracing::warn!(trial, attempt, %error, "the trial's output cannot be read");
        }
        self.heard |= reports
            .iter()
            .any(|r| r.metrics.contains_key(&self.objective));
        reports
    }

    /// Whether nothing is left to be read, after a last call of [`Reader::read`].
    pub(crate) fn is_drained(&self) -> bool {
        let stderr = self.stderr.as_ref();
        self.stdout.lines.drained && self.metrics.drained && stderr.is_none_or(|e| e.lines.drained)
    }
}

/// Reports of two streams between which nobody knows the order: the steps of one count, and what the other says belongs
/// to the last of them. (A step that goes back would take away what was reported since.)
fn merge(
    stdout: Vec<Report>,
    stderr: Vec<Report>,
    objective: &str,
    clock: &mut Stream,
    step: &mut u64,
) -> Vec<Report> {
    let has = |reports: &[Report]| reports.iter().any(|r| r.metrics.contains_key(objective));
    match (has(&stdout), has(&stderr)) {
        (true, _) => *clock = Stream::Stdout,
        (false, true) => *clock = Stream::Stderr,
        (false, false) => {}
    }
    let (mut reports, others) = match *clock {
        Stream::Stderr => (stderr, stdout),
        _ => (stdout, stderr),
    };
    *step = reports
        .iter()
        .filter_map(|r| r.step)
        .next_back()
        .unwrap_or(*step);
    reports.extend(others.into_iter().map(|report| Report {
        step: Some(*step),
        ..report
    }));
    reports
}

/// What a terminal would show of a line last: progress bars go back to its beginning (`\r`) to be
/// written over, and a report may stand behind one.
fn last_written(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    line.rsplit(|byte| *byte == b'\r').next().unwrap_or(line)
}

fn complain(id: AttemptId, count: u32, error: &str, line: &[u8]) {
    if count > MOST_COMPLAINTS {
        return;
    }
    let more = if count == MOST_COMPLAINTS {
        "; more of them are passed over silently"
    } else {
        ""
    };
    let start = String::from_utf8_lossy(line.get(..80).unwrap_or(line));
    let (trial, attempt) = (id.trial.0, id.attempt.0);
    tracing::warn!(
        trial,
        attempt,
        "passed over a report line: {error}{more}: {start}"
    );
}

/// The lines of a file that grows, each once.
#[derive(Debug)]
struct Lines {
    path: PathBuf,
    file: Option<BufReader<File>>,
    /// Where in the file the next byte to be read is.
    position: u64,
    /// The beginning of an unfinished line.
    begun: Vec<u8>,
    /// In the middle of a line that is too long.
    skipping: bool,
    /// There was nothing more the last time.
    drained: bool,
    /// The last bytes read, up to the position.
    tail: Vec<u8>,
    /// A carriage return ends a line, too: what stands before it may be written over.
    returns: bool,
}

impl Lines {
    fn new(path: &Path, position: u64) -> Self {
        let path = path.to_owned();
        Self {
            path,
            file: None,
            position,
            begun: Vec::new(),
            skipping: false,
            returns: false,
            drained: true,
            tail: Vec::new(),
        }
    }

    /// Gives every new line to `take`, with whether it is whole (or, where carriage returns count, may be written
    /// over).
    fn read(&mut self, last: bool, take: &mut dyn FnMut(&[u8], bool)) -> io::Result<()> {
        self.drained = true;
        let Some(mut file) = self.open()? else {
            return Ok(());
        };
        self.look_whether_it_is_another(&mut file)?;
        self.drained = false;
        let stop = self.position.saturating_add(MOST_AT_ONCE);
        let result = self.read_lines(&mut file, stop, take);
        self.file = Some(file);
        // What cannot be read now cannot be waited for.
        self.drained |= result.is_err();
        result?;
        if last && self.drained && !self.skipping && !self.begun.is_empty() {
            take(&std::mem::take(&mut self.begun), true);
        }
        Ok(())
    }

    fn read_lines(
        &mut self,
        file: &mut BufReader<File>,
        stop: u64,
        take: &mut dyn FnMut(&[u8], bool),
    ) -> io::Result<()> {
        while self.position < stop {
            let room = LONGEST_LINE - self.begun.len() as u64;
            let read = file
                .by_ref()
                .take(room)
                .read_until(b'\n', &mut self.begun)?;
            self.position += read as u64;
            if read == 0 {
                self.drained = true;
                return Ok(());
            }
            self.remember(read);
            let ended = self.begun.last() == Some(&b'\n');
            if self.returns && !self.skipping {
                self.take_overwritten(take);
            }
            if ended {
                self.begun.pop();
                if !self.skipping {
                    take(&self.begun, true);
                }
                self.skipping = false;
                self.begun.clear();
            } else if self.skipping || self.begun.len() as u64 >= LONGEST_LINE {
                self.skipping = true;
                self.begun.clear();
            }
        }
        Ok(())
    }

    /// Gives away what stands before the last carriage return.
    fn take_overwritten(&mut self, take: &mut dyn FnMut(&[u8], bool)) {
        let Some(last) = self.begun.iter().rposition(|byte| *byte == b'\r') else {
            return;
        };
        let rest = self.begun.split_off(last + 1);
        for part in self.begun.split(|byte| *byte == b'\r') {
            if !part.is_empty() {
                take(part, false);
            }
        }
        self.begun = rest;
    }

    fn open(&mut self) -> io::Result<Option<BufReader<File>>> {
        if let Some(file) = self.file.take() {
            return Ok(Some(file));
        }
        match open_plain(&self.path) {
            Ok(mut file) => {
                file.seek(SeekFrom::Start(self.position))?;
                Ok(Some(BufReader::new(file)))
            }
            // A trial writes its metrics file when it likes, or never.
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Notes the end of what was read just now.
    fn remember(&mut self, read: usize) {
        let news = self.begun.len().saturating_sub(read.min(REMEMBERED));
        self.tail.extend_from_slice(&self.begun[news..]);
        let old = self.tail.len().saturating_sub(REMEMBERED);
        self.tail.drain(..old);
    }

    /// Begins at the beginning when the file was cut, written anew, or another was put in its place: when it
    /// is shorter than what was read of it, or does not hold what was read last.
    fn look_whether_it_is_another(&mut self, file: &mut BufReader<File>) -> io::Result<()> {
        use std::os::unix::fs::{FileExt as _, MetadataExt as _};
        let mut same = true;
        let ours = file.get_ref().metadata()?;
        if let Ok(there) = std::fs::metadata(&self.path)
            && (there.dev(), there.ino()) != (ours.dev(), ours.ino())
        {
            // What the old file still has is read to its end first.
            if ours.len() > self.position {
                return Ok(());
            }
            *file = BufReader::new(open_plain(&self.path)?);
            same = false;
        } else if ours.len() < self.position {
            same = false;
        } else if !self.tail.is_empty() && ours.len() > self.position {
            let mut found = vec![0; self.tail.len()];
            let from = self.position - self.tail.len() as u64;
            file.get_ref().read_exact_at(&mut found, from)?;
            same = found == self.tail;
        }
        if !same {
            file.rewind()?;
            self.position = 0;
            self.begun.clear();
            self.tail.clear();
            self.skipping = false;
        }
        Ok(())
    }
}

/// The last lines of a file from `from` on: at most 20 lines and 4 KiB.
pub(crate) fn last_lines(path: &Path, from: u64) -> String {
    const LINES: usize = 20;
    const BYTES: u64 = 4096;
    let read = || -> io::Result<Vec<u8>> {
        let mut file = open_plain(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(from.max(length.saturating_sub(BYTES))))?;
        let mut bytes = Vec::new();
        file.take(BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines
        .get(lines.len().saturating_sub(LINES)..)
        .unwrap_or_default()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    struct Growing {
        dir: tempfile::TempDir,
        lines: Lines,
    }

    impl Growing {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let lines = Lines::new(&dir.path().join("f"), 0);
            Self { dir, lines }
        }
        fn path(&self) -> PathBuf {
            self.dir.path().join("f")
        }
        fn write(&self, bytes: &[u8]) {
            let file = File::options().append(true).create(true).open(self.path());
            file.unwrap().write_all(bytes).unwrap();
        }
        fn read(&mut self, last: bool) -> Vec<String> {
            let mut found = Vec::new();
            let mut take = |line: &[u8], _| found.push(String::from_utf8_lossy(line).into_owned());
            self.lines.read(last, &mut take).unwrap();
            found
        }
    }

    #[test]
    fn a_report_behind_a_progress_bar_is_seen() {
        assert_eq!(last_written(b"[hpo] {}"), b"[hpo] {}");
        assert_eq!(last_written(b"[hpo] {}\r"), b"[hpo] {}");
        assert_eq!(last_written(b"\r 10%\r 20%\r[hpo] {}"), b"[hpo] {}");
        assert_eq!(last_written(b""), b"");
    }

    #[test]
    fn where_carriage_returns_count_a_line_is_given_in_parts_as_they_come() {
        let mut file = Growing::new();
        file.lines.returns = true;
        file.write(b"\r10%\r\r20");
        assert_eq!(file.read(false), ["10%"]);
        file.write(b"%\r\nnext\r\n");
        assert_eq!(file.read(false), ["20%", "", "next", ""]);
        file.write(b"end\r");
        assert_eq!(file.read(true), ["end"]);
        let bar = vec![b'x'; 100];
        for _ in 0..(LONGEST_LINE / 50) {
            file.write(&bar);
            file.write(b"\r");
        }
        let mut count = 0;
        while count < LONGEST_LINE / 50 {
            let parts = file.read(false).len() as u64;
            assert!(parts > 0, "after {count}");
            count += parts;
        }
        assert_eq!(count, LONGEST_LINE / 50);
    }

    #[test]
    fn an_unfinished_line_waits_for_its_end() {
        let mut file = Growing::new();
        assert!(file.read(false).is_empty(), "there is no file yet");
        file.write(b"one\ntw");
        assert_eq!(file.read(false), ["one"]);
        assert!(file.read(false).is_empty());
        file.write(b"o\nthree");
        assert_eq!(file.read(false), ["two"]);
        assert_eq!(file.read(true), ["three"]);
        assert!(file.read(true).is_empty());
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_over() {
        let mut file = Growing::new();
        let half = vec![b'x'; LONGEST_LINE as usize - 10];
        for _ in 0..3 {
            file.write(&half);
            assert!(file.read(false).is_empty());
            assert!(file.lines.begun.len() as u64 <= LONGEST_LINE);
        }
        file.write(b"\nshort\n");
        assert_eq!(file.read(false), ["short"]);
    }

    #[test]
    fn a_file_begun_anew_is_read_from_its_beginning() {
        let mut file = Growing::new();
        file.write(b"a long first line\n");
        assert_eq!(file.read(false), ["a long first line"]);
        std::fs::write(file.path(), "b\n").unwrap();
        assert_eq!(file.read(false), ["b"]);
        std::fs::write(file.path(), "longer than before\nand more\n").unwrap();
        assert_eq!(file.read(false), ["longer than before", "and more"]);
        file.write(b"c\n");
        assert_eq!(file.read(false), ["c"], "what only grew is read on");
    }

    #[test]
    fn a_file_put_in_its_place_is_read_after_the_old_one() {
        let mut file = Growing::new();
        file.write(b"one\n");
        assert_eq!(file.read(false), ["one"]);
        file.write(b"two\n");
        let draft = file.dir.path().join("draft");
        std::fs::write(&draft, "one\ntwo\nthree\n").unwrap();
        std::fs::rename(&draft, file.path()).unwrap();
        assert_eq!(file.read(false), ["two"], "of the old one");
        assert_eq!(file.read(false), ["one", "two", "three"]);
        file.write(b"four\n");
        assert_eq!(file.read(false), ["four"]);
    }

    #[test]
    fn much_at_the_end_is_read_in_pieces() {
        let mut file = Growing::new();
        let lines = 3 * MOST_AT_ONCE as usize / 8;
        file.write(b"1234567\n".repeat(lines).as_slice());
        file.write(b"last");
        let mut read = 0;
        let mut rounds = 0;
        while rounds == 0 || !file.lines.drained {
            let piece = file.read(true);
            assert!(piece.len() < 2 * MOST_AT_ONCE as usize / 8);
            read += piece.len();
            rounds += 1;
        }
        assert_eq!(read, lines + 1);
    }

    #[test]
    fn the_last_lines_are_few_and_short() {
        let mut file = Growing::new();
        file.write(b"old\n");
        file.write("ü\n".repeat(30).as_bytes());
        file.write(b"\xff\xfe\n");
        assert_eq!(last_lines(&file.path(), 4).lines().count(), 20);
        assert!(last_lines(&file.path(), 0).ends_with("ü\n\u{fffd}\u{fffd}"));
        file.write(&vec![b'x'; 100_000]);
        assert!(last_lines(&file.path(), 0).len() <= 4096);
        assert_eq!(last_lines(&file.path(), 10_000_000), "");
        assert!(file.read(true).len() > 30);
    }
}
