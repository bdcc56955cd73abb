//! The trainer as a child process: its job comes from environment variables, its reports go to a
//! file or to stdout, as [`hpo_study::protocol`] has it.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use hpo_study::protocol;
use serde::de::DeserializeOwned;

use crate::error::TrainError;
use crate::report::EpochReport;
use crate::run::{self, Outcome, TrainJob};

/// Does the job that the process's environment describes: what `hpo train` is.
///
/// Reads `HPO_TRAINER`, `HPO_PARAMS_FILE` or `HPO_PARAMS`, `HPO_SEED` (default 0), `HPO_BUDGET_MAX`
/// (default: the trainer's epochs), `HPO_BUDGET` (default: the full length), `HPO_CHECKPOINT_DIR`,
/// `HPO_KEEP_CHECKPOINTS`, `HPO_RESUME_FROM` and `HPO_RESUME_STEP`. Report lines are appended to `HPO_METRICS_FILE`, or printed behind
/// `[hpo] ` where there is none.
///
/// One thread is fastest for models this small and leaves the other cores to other trials: start
/// the process with `RAYON_NUM_THREADS=1`. Equal seeds give equal bytes for an equal number of
/// threads.
///
/// # Errors
/// Everything in [`TrainError`]. The caller prints it and exits with code 1.
pub fn run_from_environment() -> Result<Outcome, TrainError> {
    let lookup = |name: &str| std::env::var(name).ok();
    let job = job(&lookup)?;
    let mut sink = Sink::open(lookup(protocol::METRICS_FILE).as_deref().map(Path::new))?;
    run::run(&job, &mut |report| sink.write(report))
}

/// The job that variables describe; `lookup` gives a variable's value by its name.
///
/// # Errors
/// A variable that is missing or cannot be read.
pub fn job(lookup: &dyn Fn(&str) -> Option<String>) -> Result<TrainJob, TrainError> {
    let spec: hpo_study::TrainerSpec =
        from_json(protocol::TRAINER, &required(lookup, protocol::TRAINER)?)?;
    let config = match lookup(protocol::PARAMS_FILE) {
        Some(path) => {
            let path = Path::new(&path);
            let text = std::fs::read_to_string(path)
                .map_err(|error| TrainError::file("read the parameters", path, error))?;
            from_json(protocol::PARAMS_FILE, &text)?
        }
        None => from_json(protocol::PARAMS, &required(lookup, protocol::PARAMS)?)?,
    };
    let horizon = number(lookup, protocol::BUDGET_MAX)?.unwrap_or(spec.epochs);
    let directory = |name| {
        lookup(name)
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
    };
    Ok(TrainJob {
        seed: number(lookup, protocol::SEED)?.unwrap_or(0),
        budget: number(lookup, protocol::BUDGET)?.unwrap_or(horizon),
        horizon,
        checkpoint_directory: directory(protocol::CHECKPOINT_DIR),
        checkpoint_interval: run::CHECKPOINT_INTERVAL,
        resume_from: directory(protocol::RESUME_FROM),
        resume_epoch: number(lookup, protocol::RESUME_STEP)?,
        inherits: lookup(protocol::PARENT).is_some(),
        keep_checkpoints: number(lookup, protocol::KEEP_CHECKPOINTS)?.unwrap_or(0),
        control_file: directory(protocol::CONTROL_FILE),
        spec,
        config,
    })
}

fn required(lookup: &dyn Fn(&str) -> Option<String>, name: &str) -> Result<String, TrainError> {
    lookup(name).ok_or_else(|| {
        TrainError::settings(
            format!("the environment variable {name} is not set"),
            "the trainer is started by `hpo run` with a study that has `trainer:`",
        )
    })
}

fn from_json<T: DeserializeOwned>(name: &str, text: &str) -> Result<T, TrainError> {
    serde_json::from_str(text).map_err(|error| {
        TrainError::settings(
            format!("{name} is not readable: {error}"),
            "it must hold JSON",
        )
    })
}

fn number(lookup: &dyn Fn(&str) -> Option<String>, name: &str) -> Result<Option<u64>, TrainError> {
    let parsed = lookup(name).map(|text| {
        u64::from_str(text.trim()).map_err(|_| {
            TrainError::settings(
                format!("{name} is `{text}`"),
                "it must be a whole number from 0",
            )
        })
    });
    parsed.transpose()
}

/// Where report lines go.
enum Sink {
    File(File, PathBuf),
    Stdout,
}

impl Sink {
    fn open(path: Option<&Path>) -> Result<Self, TrainError> {
        let Some(path) = path else {
            return Ok(Self::Stdout);
        };
        let file = OpenOptions::new().append(true).create(true).open(path);
        let file = file.map_err(|error| TrainError::file("open the metrics file", path, error))?;
        Ok(Self::File(file, path.to_owned()))
    }

    /// One line in one write, so that a reader never sees half of one for long.
    fn write(&mut self, report: &EpochReport) -> Result<(), TrainError> {
        match self {
            Self::File(file, path) => file
                .write_all(report.line().as_bytes())
                .map_err(|error| TrainError::file("write to the metrics file", path, error)),
            Self::Stdout => {
                let line = format!("{}{}", protocol::STDOUT_PREFIX, report.line());
                let mut stdout = std::io::stdout().lock();
                let written = stdout
                    .write_all(line.as_bytes())
                    .and_then(|()| stdout.flush());
                written.map_err(|error| TrainError::file("write to", Path::new("stdout"), error))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const SPEC: &str = r#"{"model":{"mlp":{"hidden":[8],"activation":"relu"}},"dataset":"digits",
        "epochs":30,"batch_size":64,"validation":0.2,"split_seed":0}"#;

    fn with(variables: &[(&str, &str)]) -> Result<TrainJob, TrainError> {
        let variables: BTreeMap<&str, &str> = variables.iter().copied().collect();
        job(&|name| variables.get(name).map(|value| (*value).to_owned()))
    }

    #[test]
    fn a_job_is_read_from_variables() {
        let base = [
            ("HPO_TRAINER", SPEC),
            ("HPO_PARAMS", r#"{"optimizer":"sgd","lr":0.1}"#),
        ];
        let whole = with(&base).unwrap();
        assert_eq!((whole.seed, whole.budget, whole.horizon), (0, 30, 30));
        assert_eq!(whole.resume_from, None);
        assert_eq!((whole.resume_epoch, whole.keep_checkpoints), (None, 0));
        let more = [
            ("HPO_SEED", "7"),
            ("HPO_BUDGET", "3"),
            ("HPO_BUDGET_MAX", "27"),
            ("HPO_CHECKPOINT_DIR", "c"),
            ("HPO_RESUME_FROM", ""),
            ("HPO_RESUME_STEP", "2"),
            ("HPO_PARENT", "4"),
            ("HPO_KEEP_CHECKPOINTS", "9"),
        ];
        let part = with(&[&base[..], &more[..]].concat()).unwrap();
        assert_eq!((part.seed, part.budget, part.horizon), (7, 3, 27));
        assert_eq!(part.checkpoint_directory, Some(PathBuf::from("c")));
        assert_eq!(part.resume_from, None, "empty is absent");
        assert!(part.inherits && !whole.inherits);
        assert_eq!((part.resume_epoch, part.keep_checkpoints), (Some(2), 9));
    }

    #[test]
    fn what_is_wrong_is_said_by_name() {
        let cases: [(&[(&str, &str)], &str); 6] = [
            (&[], "HPO_TRAINER is not set"),
            (&[("HPO_TRAINER", "{")], "HPO_TRAINER is not readable"),
            (&[("HPO_TRAINER", SPEC)], "HPO_PARAMS is not set"),
            (
                &[("HPO_TRAINER", SPEC), ("HPO_PARAMS", "[]")],
                "HPO_PARAMS is not readable",
            ),
            (
                &[("HPO_TRAINER", SPEC), ("HPO_PARAMS_FILE", "no/such")],
                "cannot read",
            ),
            (
                &[
                    ("HPO_TRAINER", SPEC),
                    ("HPO_PARAMS", "{}"),
                    ("HPO_SEED", "-1"),
                ],
                "HPO_SEED is `-1`",
            ),
        ];
        for (variables, expected) in cases {
            let text = with(variables).unwrap_err().to_string();
            assert!(text.contains(expected), "{text:?} lacks {expected:?}");
        }
    }

    #[test]
    fn lines_are_appended_to_the_metrics_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("metrics.jsonl");
        for step in [1, 2] {
            let mut sink = Sink::open(Some(&path)).unwrap();
            sink.write(&EpochReport {
                step,
                metrics: vec![("lr", 0.5)],
            })
            .unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "{\"step\":1,\"lr\":0.5}\n{\"step\":2,\"lr\":0.5}\n");
        let nowhere = directory.path().join("no/such/directory/m");
        assert_eq!(Sink::open(Some(&nowhere)).err().unwrap().kind(), "file");
    }
}
