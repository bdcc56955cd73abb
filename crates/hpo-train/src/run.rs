//! A whole training run: from a fresh start or a checkpoint to the epoch it was given as budget.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hpo_recipe::Config;
use hpo_study::TrainerSpec;
use hpo_study::protocol::CONTROL_STOP;

use crate::checkpoint::Checkpoint;
use crate::error::TrainError;
use crate::report::EpochReport;
use crate::trainer::Trainer;

/// After this many epochs in a row with a training loss that is not finite, a run ends with
/// [`TrainError::Diverged`]. They are reported like any others, so that whoever watches can judge
/// for himself before that; a single one may come from one bad batch.
pub const NON_FINITE_EPOCHS: u64 = 3;

/// How much training a crash may cost, if nothing else is asked for. A checkpoint that is safe on
/// disk takes about 10 ms, as long as a whole epoch of a small model: one per epoch would double
/// the time of a short trial.
pub const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);

/// What to train, for how long, and where to keep checkpoints.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainJob {
    /// Task and model.
    pub spec: TrainerSpec,
    /// The configuration to try.
    pub config: Config,
    /// Seed of initial weights, data order and dropout.
    pub seed: u64,
    /// The epoch after which to stop this time; at least 1, at most `horizon`.
    pub budget: u64,
    /// The full length in epochs. The schedule is always stretched over it, so that a run that
    /// stops early is a prefix of the full one.
    pub horizon: u64,
    /// Where a checkpoint is kept; `None` keeps none.
    pub checkpoint_directory: Option<PathBuf>,
    /// A checkpoint is written after the last epoch of the budget, and after any other if this
    /// time has passed since the one before. Zero writes one after every epoch.
    pub checkpoint_interval: Duration,
    /// A directory with a checkpoint to go on from. Without a checkpoint in it the run starts
    /// afresh, which gives the same results.
    pub resume_from: Option<PathBuf>,
    /// A rescue: go on from the newest checkpoint in `resume_from` that is not after this epoch
    /// (afresh, if there is none), though it may have been written with another `lr`. See
    /// [`Trainer::restore_at_own_lr`].
    pub resume_epoch: Option<u64>,
    /// The checkpoint in `resume_from` may be of another run, with other hyperparameters. See [`Trainer::inherit`].
    pub inherits: bool,
    /// How many of the last checkpoints are kept to go back to, one per epoch, and fewer and fewer of the
    /// older ones ([`Checkpoint::keep`]); 0: none.
    pub keep_checkpoints: u64,
    /// A file that is looked at after every epoch: a JSON object in which `stop` (true) asks for an
    /// end with a checkpoint, and `lr` for another learning rate. `None`, or no such file: no wishes.
    pub control_file: Option<PathBuf>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Epochs done, those before a resume included.
    pub epochs: u64,
    /// Epochs that the checkpoint had behind it; 0 for a fresh start.
    pub resumed_after: u64,
    /// The last report of this run; `None` if there was nothing left to do.
    pub last: Option<EpochReport>,
}

/// Trains. `report` is called after every epoch, before a checkpoint of it is written: after a
/// crash the epochs since the last checkpoint are done and reported again, with the same numbers,
/// and none is ever lost.
///
/// # Errors
/// Everything in [`TrainError`]; errors of `report` are handed on.
pub fn run(
    job: &TrainJob,
    report: &mut dyn FnMut(&EpochReport) -> Result<(), TrainError>,
) -> Result<Outcome, TrainError> {
    if job.budget == 0 || job.budget > job.horizon {
        return Err(TrainError::settings(
            format!("the budget is {} of {} epochs", job.budget, job.horizon),
            "give a budget of at least 1 epoch and no more than the full length",
        ));
    }
    let mut trainer = Trainer::new(&job.spec, &job.config, job.seed, job.horizon)?;
    let resumed_after = resume(job, &mut trainer)?;
    let (mut last, mut saved_at) = (None, Instant::now());
    while trainer.epoch() < job.budget {
        let epoch = trainer.train_epoch()?;
        report(&epoch)?;
        last = Some(epoch);
        if trainer.non_finite_epochs() >= NON_FINITE_EPOCHS {
            let last = trainer.epoch();
            return Err(TrainError::Diverged {
                first: last + 1 - NON_FINITE_EPOCHS,
                last,
            });
        }
        let wishes = Wishes::read(job.control_file.as_deref());
        if let Some(lr) = wishes.lr {
            trainer.set_lr(lr)?;
        }
        let Some(directory) = &job.checkpoint_directory else {
            if wishes.stop {
                break;
            }
            continue;
        };
        if job.keep_checkpoints > 0 {
            trainer
                .checkpoint()?
                .keep(directory, job.keep_checkpoints)?;
        }
        let due = saved_at.elapsed() >= job.checkpoint_interval;
        // A rate that was set must be that of the checkpoint that a later process finds.
        if trainer.epoch() >= job.budget || due || wishes.stop || wishes.lr.is_some() {
            trainer.checkpoint()?.save(directory)?;
            saved_at = Instant::now();
        }
        if wishes.stop {
            break;
        }
    }
    Ok(Outcome {
        epochs: trainer.epoch(),
        resumed_after,
        last,
    })
}

/// What the control file says.
#[derive(Debug, Default, PartialEq)]
struct Wishes {
    stop: bool,
    lr: Option<f64>,
}

impl Wishes {
    /// A file that is not there, or cannot be understood, has no wishes: a run does not end over it.
    fn read(path: Option<&Path>) -> Self {
        let text = path.and_then(|path| std::fs::read(path).ok());
        let json = text.and_then(|text| serde_json::from_slice::<serde_json::Value>(&text).ok());
        let get = |name: &str| json.as_ref().and_then(|json| json.get(name));
        Self {
            stop: get(CONTROL_STOP).and_then(serde_json::Value::as_bool) == Some(true),
            lr: get("lr")
                .and_then(serde_json::Value::as_f64)
                .filter(|lr| lr.is_finite() && *lr >= 0.0),
        }
    }
}

fn resume(job: &TrainJob, trainer: &mut Trainer) -> Result<u64, TrainError> {
    let Some(place) = &job.resume_from else {
        return Ok(0);
    };
    let found = match job.resume_epoch {
        Some(epoch) => Checkpoint::load_until(place, epoch)?,
        // A checkpoint that was torn must not cost the trial: an older one serves, or a fresh start.
        None if place.is_dir() => Checkpoint::load_until(place, u64::MAX)?,
        None => Checkpoint::load(place)?,
    };
    match found {
        None => tracing::info!(place = %place.display(), "no checkpoint there: starting afresh"),
        // The rate may have been changed, by a rescue or by a user, since the checkpoint was written.
        Some(checkpoint) => match job.inherits {
            true => trainer.inherit(checkpoint),
            false => trainer.restore_at_own_lr(checkpoint),
        }
        .map_err(|message| TrainError::checkpoint(place, message))?,
    }
    if let (Some(_), Some(directory)) = (job.resume_epoch, &job.checkpoint_directory) {
        // From here on this is the run there is, whenever it is cut off: what was trained beyond
        // this epoch, at another rate, must never be taken up.
        trainer.checkpoint()?.save(directory)?;
        Checkpoint::forget_after(directory, trainer.epoch())?;
    }
    Ok(trainer.epoch())
}
