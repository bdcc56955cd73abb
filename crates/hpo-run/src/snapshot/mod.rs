//! What a session's trials run, and where: kept in the study's directory, so that a value can be
//! traced to the code and the machine that gave it.
//!
//! `snapshot/session-<n>.json` has all that is known, `snapshot/code-<checksum>/` the changes since the
//! commit, new files, and the program's. Environment variables are secret until shown otherwise: only
//! those in [`HARMLESS`] are kept.

mod ask;
mod checksum;
mod code;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hpo_store::private;
use hpo_study::{CodeNote, History, Job};
use serde::Serialize;

use crate::files::write_atomically;
use code::{Code, Place};

const DIRECTORY: &str = "snapshot";

/// Environment variables that are written down.
const HARMLESS: &[&str] = &[
    "CUBLAS_WORKSPACE_CONFIG",
    "CUDA_DEVICE_ORDER",
    "CUDA_HOME",
    "CUDA_LAUNCH_BLOCKING",
    "CUDA_VISIBLE_DEVICES",
    "CONDA_DEFAULT_ENV",
    "KERAS_BACKEND",
    "LANG",
    "LC_ALL",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NVIDIA_TF32_OVERRIDE",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "PYTHONHASHSEED",
    "PYTHONPATH",
    "PYTORCH_CUDA_ALLOC_CONF",
    "RAYON_NUM_THREADS",
    "TF_DETERMINISTIC_OPS",
    "TF_FORCE_GPU_ALLOW_GROWTH",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    "TZ",
    "VIRTUAL_ENV",
    "XLA_FLAGS",
];

/// All that is known of what a session runs, and where.
#[derive(Debug, Clone, Serialize)]
pub struct Snapshot {
    version: u32,
    session: u32,
    hpo_version: String,
    work_dir: PathBuf,
    study_file: Option<PathBuf>,
    code: Code,
    interpreter: Option<String>,
    packages: Option<Vec<String>>,
    machine: Machine,
    environment: BTreeMap<&'static str, String>,
}

#[derive(Debug, Clone, Serialize)]
struct Machine {
    os: &'static str,
    architecture: &'static str,
    kernel: Option<String>,
    cpu: Option<String>,
    cores: Option<usize>,
    memory: Option<u64>,
    gpus: Vec<String>,
    gpu_driver: Option<String>,
}

impl Snapshot {
    /// Looks around. Asks git, the interpreter and the NVIDIA driver, where they are there; nothing is
    /// changed, and what cannot be found out is left open.
    #[must_use]
    pub fn of(history: &History, about: &About<'_>) -> Self {
        let spec = history.spec();
        let place = Place {
            work_dir: about.work_dir,
            runs: about.study_dir.parent().unwrap_or(about.study_dir),
            study_file: about.study_file,
        };
        let python = python(&spec.job, about.work_dir);
        let ask_python = |rest: &[&str], patience| {
            let argv: Vec<&str> = python
                .iter()
                .map(String::as_str)
                .chain(rest.iter().copied())
                .collect();
            python.as_ref()?;
            let (answer, _) = ask::ask(&argv, about.work_dir, 1 << 20, patience)?;
            Some(String::from_utf8_lossy(&answer).trim().to_owned())
        };
        let packages = match about.pip_freeze {
            true => ask_python(&["-m", "pip", "freeze"], Duration::from_secs(60)),
            false => None,
        };
        let variables = HARMLESS
            .iter()
            .filter_map(|name| Some((*name, std::env::var(name).ok()?)));
        Self {
            version: 1,
            session: history.sessions(),
            hpo_version: about.hpo_version.to_owned(),
            work_dir: about.work_dir.to_owned(),
            study_file: about.study_file.map(Path::to_owned),
            code: Code::look(&spec.job, about.hpo_version, &place),
            interpreter: ask_python(&["--version"], Duration::from_secs(10)),
            packages: packages.map(|text| text.lines().map(str::to_owned).collect()),
            machine: Machine::look(),
            environment: variables.collect(),
        }
    }

    /// Writes it to the study's directory. That it cannot be written is worth a warning, but no reason
    /// not to train.
    #[must_use]
    pub fn keep(&self, study_dir: &Path) -> CodeNote {
        let file = format!("{DIRECTORY}/session-{}.json", self.session);
        if let Err(error) = self.write(study_dir, &file) {
            tracing::warn!(%error, "code and environment cannot be kept");
        }
        self.note(file)
    }

    fn write(&self, study_dir: &Path, file: &str) -> io::Result<()> {
        let directory = study_dir.join(DIRECTORY);
        private::create_dir_all(&directory)?;
        self.code.keep(&directory)?;
        let json = serde_json::to_vec_pretty(self).map_err(io::Error::other)?;
        write_atomically(&study_dir.join(file), &json, false)
    }

    /// The same in short, as the study's log has it.
    #[must_use]
    pub fn note(&self, file: String) -> CodeNote {
        let path = |path: &Path| path.to_string_lossy().into_owned();
        CodeNote {
            code: self.code.checksum.clone(),
            commit: self.code.commit.clone(),
            dirty: self.code.dirty,
            work_dir: path(&self.work_dir),
            study_file: self.study_file.as_deref().map(path),
            hpo_version: self.hpo_version.clone(),
            interpreter: self.interpreter.clone(),
            file,
        }
    }
}

/// What a snapshot is to be taken of; all paths absolute.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// The study's directory.
    pub study_dir: &'a Path,
    /// Where trials run.
    pub work_dir: &'a Path,
    /// The study file, where one was given.
    pub study_file: Option<&'a Path>,
    /// This program's version.
    pub hpo_version: &'a str,
    /// Whether the interpreter's packages are to be listed.
    pub pip_freeze: bool,
}

/// The Python that a study's command starts, if it is one.
fn python(job: &Job, base: &Path) -> Option<String> {
    let Job::Command(job) = job else { return None };
    job.command.iter().find_map(|word| match word.as_str() {
        "${interpreter}" => Some(crate::program::interpreter(job.python.as_deref(), base)),
        word if is_python(word) => Some(word.to_owned()),
        _ => None,
    })
}

fn is_python(word: &str) -> bool {
    let name = word.rsplit('/').next().unwrap_or(word);
    let rest = name.strip_prefix("python");
    rest.is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit() || c == '.'))
}

impl Machine {
    fn look() -> Self {
        let read = |path: &str| fs::read_to_string(path).ok();
        let value = |text: String, key: &str| {
            let line = text.lines().find(|line| line.starts_with(key))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let memory = read("/proc/meminfo").and_then(|text| value(text, "MemTotal"));
        let kib = memory.and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
        let gpus = crate::gpu::look();
        Self {
            os: std::env::consts::OS,
            architecture: std::env::consts::ARCH,
            kernel: read("/proc/sys/kernel/osrelease").map(|text| text.trim().to_owned()),
            cpu: read("/proc/cpuinfo").and_then(|text| value(text, "model name")),
            cores: std::thread::available_parallelism().ok().map(Into::into),
            memory: kib.map(|kib| kib.saturating_mul(1024)),
            gpus: gpus.gpus.iter().map(|gpu| gpu.name.clone()).collect(),
            gpu_driver: gpus.driver,
        }
    }
}

#[cfg(test)]
mod tests;
