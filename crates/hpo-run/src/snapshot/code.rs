//! The code that trials run: the commit, what was changed since, and new files; without git the
//! program's files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hpo_store::private;
use hpo_study::Job;
use serde::Serialize;

use super::ask::{ask, line};
use super::checksum::Checksum;

/// Larger files are left out, …
const LARGEST: u64 = 1 << 20;
/// … and so is what goes beyond this, all files together.
const MOST: u64 = 10 << 20;
const PATIENCE: Duration = Duration::from_secs(20);

/// Endings of files that people write, not programs. New files of other kinds may well be what a
/// trial has left behind: they are kept, but say nothing about a change of the code.
const WRITTEN: &[&str] = &[
    "py", "pyi", "ipynb", "sh", "bash", "c", "cc", "cpp", "cu", "h", "hpp", "rs", "go", "jl", "r",
    "R", "java", "kt", "scala", "js", "ts", "lua", "m", "toml", "yaml", "yml", "cfg", "ini", "gin",
];

/// What is known of the code.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Code {
    /// A checksum over all of it.
    pub(super) checksum: String,
    /// The commit checked out.
    pub(super) commit: Option<String>,
    /// Whether there are changes or new code since that commit.
    pub(super) dirty: bool,
    /// The repository's directory.
    pub(super) repository: Option<PathBuf>,
    /// The files of the program that the study names.
    pub(super) program: Vec<PathBuf>,
    /// New files that are kept, from the repository's directory.
    pub(super) untracked: Vec<PathBuf>,
    /// What was not kept, and why.
    pub(super) left_out: Vec<String>,
    #[serde(skip)]
    diff: Vec<u8>,
    #[serde(skip)]
    contents: Vec<(PathBuf, Vec<u8>)>,
}

/// Where the code is, and what is none of it.
pub(super) struct Place<'a> {
    pub(super) work_dir: &'a Path,
    /// Directory of the studies, which may lie within the repository.
    pub(super) runs: &'a Path,
    /// The study file: a raised cap is no change of the code.
    pub(super) study_file: Option<&'a Path>,
}

impl Code {
    /// Looks at the code. Changes nothing, the repository's index included.
    pub(super) fn look(job: &Job, hpo_version: &str, place: &Place<'_>) -> Self {
        let mut code = Self::default();
        let mut sum = Checksum::new();
        match job {
            // The built-in trainer is this program.
            Job::Trainer(_) => sum.add("hpo", hpo_version.as_bytes()),
            Job::Command(job) => {
                let words = job.program.iter().chain(&job.command);
                code.read_program(words, place.work_dir, &mut sum);
                code.read_repository(place, &mut sum);
            }
        }
        code.checksum = sum.text();
        code
    }

    fn read_program<'w>(
        &mut self,
        words: impl Iterator<Item = &'w String>,
        work_dir: &Path,
        sum: &mut Checksum,
    ) {
        for word in words {
            let path = work_dir.join(word);
            if self.program.contains(&path) || !is_plain(&path) || !path.starts_with(work_dir) {
                continue;
            }
            // Programs of any size tell of a change; only small ones are kept.
            match read(&path, 256 * LARGEST) {
                Ok(content) => {
                    sum.add(word, &content);
                    if content.len() as u64 <= LARGEST {
                        self.contents
                            .push((Path::new("program").join(name(&path)), content));
                    } else {
                        self.left_out.push(format!("{word}: larger than 1 MiB"));
                    }
                    self.program.push(path);
                }
                Err(error) => self.left_out.push(format!("{word}: {error}")),
            }
        }
    }

    fn read_repository(&mut self, place: &Place<'_>, sum: &mut Checksum) {
        let git = ["git", "-c", "core.fsmonitor=false"];
        let here = |rest: &[&str]| line(&[&git[..], rest].concat(), place.work_dir);
        let Some(root) = here(&["rev-parse", "--show-toplevel"]).map(PathBuf::from) else {
            return;
        };
        self.commit = here(&["rev-parse", "--verify", "HEAD"]);
        sum.add(
            "commit",
            self.commit.as_deref().unwrap_or_default().as_bytes(),
        );
        let others: Vec<String> = [Some(place.runs), place.study_file]
            .into_iter()
            .flatten()
            .filter_map(|path| path.strip_prefix(&root).ok())
            .filter(|path| !path.as_os_str().is_empty())
            .map(|path| format!(":(top,exclude,literal){}", path.display()))
            .collect();
        let ask_git = |rest: &[&str]| {
            let argv = [&git[..], rest, &["--", ":(top)"]].concat();
            let argv: Vec<&str> = argv
                .into_iter()
                .chain(others.iter().map(String::as_str))
                .collect();
            ask(&argv, &root, MOST, PATIENCE)
        };
        if self.commit.is_some() {
            let diff = [
                "diff",
                "HEAD",
                "--binary",
                "--no-ext-diff",
                "--no-textconv",
                "--no-color",
            ];
            match ask_git(&diff) {
                Some((diff, whole)) => {
                    if !whole {
                        self.left_out
                            .push("changes.diff is cut off after 10 MiB".to_owned());
                    }
                    self.dirty |= !diff.is_empty();
                    sum.add("diff", &diff);
                    self.diff = diff;
                }
                None => self
                    .left_out
                    .push("changes: git did not answer in time".to_owned()),
            }
        }
        match ask_git(&["ls-files", "--others", "--exclude-standard", "-z"]) {
            Some((names, _)) => self.read_new_files(&root, &names, sum),
            None => self
                .left_out
                .push("new files: git did not answer in time".to_owned()),
        }
        self.repository = Some(root);
    }

    fn read_new_files(&mut self, root: &Path, names: &[u8], sum: &mut Checksum) {
        use std::os::unix::ffi::OsStrExt as _;
        let mut total = 0;
        for bytes in names
            .split(|byte| *byte == 0)
            .filter(|name| !name.is_empty())
        {
            let name = Path::new(std::ffi::OsStr::from_bytes(bytes));
            let path = root.join(name);
            if !is_plain(&path) {
                continue;
            }
            match read(&path, LARGEST) {
                Ok(content) if total + content.len() as u64 <= MOST => {
                    total += content.len() as u64;
                    let kind = name.extension().and_then(|ending| ending.to_str());
                    if kind.is_some_and(|ending| WRITTEN.contains(&ending)) {
                        self.dirty = true;
                        sum.add(&name.display().to_string(), &content);
                    }
                    self.contents
                        .push((Path::new("untracked").join(name), content));
                    self.untracked.push(name.to_owned());
                }
                Ok(_) => self.leave_out(name, "beyond 10 MiB in all"),
                Err(error) => self.leave_out(name, &error.to_string()),
            }
        }
    }

    /// Notes what was left out; a thousand names are enough.
    fn leave_out(&mut self, name: &Path, why: &str) {
        if self.left_out.len() < 1000 {
            self.left_out.push(format!("{}: {why}", name.display()));
        }
    }

    /// Writes what is kept to a directory that is named after the checksum, unless it is there.
    pub(super) fn keep(&self, snapshots: &Path) -> io::Result<()> {
        let directory = snapshots.join(format!("code-{}", self.checksum));
        if directory.exists() || (self.diff.is_empty() && self.contents.is_empty()) {
            return Ok(());
        }
        let draft = snapshots.join(".code-new");
        let _ = fs::remove_dir_all(&draft);
        private::create_dir_all(&draft)?;
        if !self.diff.is_empty() {
            private::write(&draft.join("changes.diff"), &self.diff)?;
        }
        for (name, content) in &self.contents {
            let path = draft.join(name);
            private::create_dir_all(path.parent().unwrap_or(&draft))?;
            private::write(&path, content)?;
        }
        fs::rename(draft, directory)
    }
}

fn name(path: &Path) -> &Path {
    path.file_name().map_or(path, Path::new)
}

/// Whether it is a file itself, and no link to one.
fn is_plain(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_file())
}

fn read(path: &Path, largest: u64) -> io::Result<Vec<u8>> {
    let length = fs::metadata(path)?.len();
    if length > largest {
        return Err(io::Error::other(format!(
            "larger than {} MiB",
            largest >> 20
        )));
    }
    fs::read(path)
}
