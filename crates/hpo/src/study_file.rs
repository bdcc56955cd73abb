//! Reading a study file and showing what is wrong with it.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use hpo_store::private::open_plain;
use hpo_study::StudySpec;
use hpo_study::spec::{CommandJob, Dataset, Job, TrainerSpec};
use hpo_study::study_file::{self, LONGEST_FILE, Problem, Severity, Source};

use crate::failure::{Exit, Failure};
use crate::output::{self, words};

/// A study file that can be run.
pub(crate) struct Study {
    pub(crate) spec: StudySpec,
    /// The directory that the file is in: where trials run.
    pub(crate) directory: PathBuf,
    pub(crate) warnings: Vec<Problem>,
    pub(crate) text: String,
    file: String,
}

impl Study {
    /// Looks for the files that every trial needs, so that a slip in a path is found before the first
    /// trial and not after the fifth has failed.
    ///
    /// A data set that cannot be read is an error. A program that is not there is a warning: a command
    /// may find it in a way of its own.
    pub(crate) fn check_files(&self) -> Result<(), Failure> {
        match &self.spec.job {
            Job::Trainer(TrainerSpec {
                dataset: Dataset::Csv { path, .. },
                ..
            }) => open_plain(path).map(drop).map_err(|error| {
                Failure::usage(format!(
                    "the data set {} cannot be read: {error}",
                    path.display()
                ))
                .hint("a relative path starts from the study file's directory")
            }),
            Job::Trainer(_) => Ok(()),
            Job::Command(job) => {
                let named = job.program.iter().filter(|name| name.contains(['.', '/']));
                for program in named.filter(|name| !self.directory.join(name).exists()) {
                    warn(format!(
                        "there is no {program} in {}",
                        self.directory.display()
                    ));
                }
                let cwd = job.cwd.as_ref().filter(|cwd| !cwd.contains("${"));
                let cwd = cwd.map(|cwd| self.directory.join(cwd));
                if let Some(cwd) = cwd.filter(|cwd| !cwd.is_dir()) {
                    warn(format!("`cwd`: there is no directory {}", cwd.display()));
                }
                let python = hpo_run::interpreter(job.python.as_deref(), &self.directory);
                if python.contains('/') && !Path::new(&python).exists() {
                    warn(format!("`python`: there is no {python}"));
                }
                if let Some(words) = not_on_the_path(job, &python) {
                    warn(words);
                }
                Ok(())
            }
        }
    }

    /// The study as it goes on after it was begun with this `run_cap`: a recipe keeps the knobs it
    /// had then, though it would have more of them for more trials.
    pub(crate) fn begun_with(self, run_cap: Option<u32>) -> Self {
        let source = Source {
            file: self.file.clone(),
            directory: self.directory.clone(),
        };
        match study_file::read_begun(&self.text, &source, run_cap).spec {
            Some(spec) => Self { spec, ..self },
            None => self,
        }
    }
}

/// Says that the program which a command begins with, a name alone, is not to be found. Many systems have `python3` and no
/// `python`.
fn not_on_the_path(job: &CommandJob, interpreter: &str) -> Option<String> {
    // Where the study says a path of its own, or a shell looks, nobody knows it before.
    if job.shell || job.env.contains_key("PATH") {
        return None;
    }
    // `env` takes assignments before the program, and options that are its own business.
    let mut words = job.command.iter().map(String::as_str);
    let first = words.find(|word| *word != "${env}" && !word.contains('='))?;
    let name = if first == "${interpreter}" {
        interpreter
    } else {
        first
    };
    if name.contains(['/', '$']) || name.starts_with('-') {
        return None;
    }
    let path = std::env::var_os("PATH")?;
    let has = |name: &str| std::env::split_paths(&path).any(|place| place.join(name).is_file());
    if has(name) {
        return None;
    }
    let words = format!("there is no `{name}` on the PATH: trials cannot be started");
    let way_out = match first {
        "${interpreter}" if job.python.is_none() && has("python3") => {
            "; there is `python3`: write `python: python3`, or the directory of a virtual environment"
        }
        "python" if has("python3") => "; there is `python3`",
        _ => "",
    };
    Some(words + way_out)
}

fn warn(what: String) {
    words!("{}: {what}", output::yellow("warning"));
}

/// Reads and checks a study file; every problem in it is shown on stderr.
pub(crate) fn load(path: &Path) -> Result<Study, Failure> {
    let text = read(path)?;
    let directory = directory(path)?;
    let file = path.display().to_string();
    let source = Source {
        file: file.clone(),
        directory: directory.clone(),
    };
    let checked = study_file::read(&text, &source);
    for problem in &checked.problems {
        words!(
            "{}",
            colored(&problem.render(&file, &text), problem.severity)
        );
    }
    match checked.spec {
        Some(spec) => Ok(Study {
            spec,
            directory,
            warnings: checked.problems,
            text,
            file,
        }),
        None => {
            let errors = checked
                .problems
                .iter()
                .filter(|p| p.severity == Severity::Error)
                .count();
            let plural = if errors == 1 { "" } else { "s" };
            words!("{file}: {errors} error{plural}; nothing was run");
            Err(Failure::silent(Exit::Usage))
        }
    }
}

/// Colours the first word and the marks.
fn colored(rendered: &str, severity: Severity) -> String {
    let paint = |text: &str| match severity {
        Severity::Error => output::red(text).to_string(),
        Severity::Warning => output::yellow(text).to_string(),
    };
    let lines = rendered.lines().enumerate().map(|(i, line)| {
        let word = severity.word();
        if let (0, Some(rest)) = (i, line.strip_prefix(word)) {
            return format!("{}{rest}", paint(word));
        }
        let marks = line.trim_end().len() - line.trim_end().trim_end_matches('^').len();
        let (before, after) = line.split_at(line.trim_end().len() - marks);
        if marks > 0 {
            format!("{before}{}", paint(after))
        } else {
            line.to_owned()
        }
    });
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

fn read(path: &Path) -> Result<String, Failure> {
    let shown = path.display();
    let open = |path: &Path| -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        // One byte more than is allowed, so that too long a file is told from a long one.
        File::open(path)?
            .take(LONGEST_FILE as u64 + 1)
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = open(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Failure::usage(format!("there is no file {shown}"))
            .hint("give the path of a study file; `hpo init` writes one to start from"),
        ErrorKind::IsADirectory => Failure::usage(format!("{shown} is a directory"))
            .hint("give the study file itself, for example study.yaml"),
        ErrorKind::PermissionDenied => Failure::usage(format!("{shown} may not be read by you"))
            .hint("its permissions do not allow it"),
        _ => Failure::usage(format!("{shown} cannot be read: {error}")),
    })?;
    String::from_utf8(bytes).map_err(|_| {
        Failure::usage(format!("{shown} is not UTF-8 text"))
            .hint("study files are YAML; save it as UTF-8")
    })
}

/// The directory that a file is in, absolute.
fn directory(path: &Path) -> Result<PathBuf, Failure> {
    let parent = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    parent
        .canonicalize()
        .map_err(|e| Failure::trouble(format!("{} cannot be read: {e}", parent.display())))
}
