//! Checkpoints: all that a run needs to go on exactly where it stopped.
//!
//! A checkpoint is one safetensors file, `checkpoint.safetensors`. The model's variables lie under
//! their own names, so that any safetensors reader can use the weights; the optimizer's buffers lie
//! under `optimizer/…`. The metadata holds, under `hpo`, a JSON header with everything else, and
//! under `crc32` a checksum over header and tensors. No generator state is saved: see [`crate::rng`].
//!
//! The file is replaced as a whole (written aside, flushed to disk, renamed), so that a crash leaves
//! either the old checkpoint or the new one.
//!
//! **Going back.** So that a run can be taken back to before it diverged, [`Checkpoint::keep`] leaves
//! `checkpoint-<epoch>.safetensors` beside it, the last few of them. They are not flushed to disk,
//! which would cost more than the epoch itself: after a power cut one may be damaged, and then
//! the one before it serves.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use hpo_recipe::Schedule;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::optimizer::OptimizerState;

/// The file's name in a checkpoint directory.
pub const FILE_NAME: &str = "checkpoint.safetensors";
const FORMAT: &str = "hpo-train checkpoint";
const VERSION: u32 = 1;

/// What must agree between the run that wrote a checkpoint and the run that goes on from it, by
/// name, as people read it.
pub type Identity = BTreeMap<String, String>;

/// The state of a run between two epochs.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// Which run this is.
    pub identity: Identity,
    /// Epochs done.
    pub epoch: u64,
    /// How many epochs in a row, up to now, had a training loss that is not finite.
    pub non_finite_epochs: u64,
    /// The schedule with what it has learned.
    pub schedule: Schedule,
    /// The model's variables: name, shape, values in row-major order.
    pub variables: Vec<(String, Vec<usize>, Vec<f32>)>,
    /// The optimizer's memory.
    pub optimizer: OptimizerState,
}

#[derive(Serialize, Deserialize)]
struct Header {
    format: String,
    version: u32,
    identity: Identity,
    epoch: u64,
    non_finite_epochs: u64,
    schedule: Schedule,
    variables: Vec<String>,
    optimizer_steps: u64,
    buffers: Vec<String>,
}

impl Checkpoint {
    /// Writes the checkpoint into a directory, which is made if it is not there.
    ///
    /// # Errors
    /// [`TrainError::File`] if a file cannot be written, [`TrainError::Checkpoint`] if the state
    /// cannot be put into the format.
    pub fn save(&self, directory: &Path) -> Result<PathBuf, TrainError> {
        self.write(directory, FILE_NAME, true)
    }

    /// Writes the checkpoint as one of those to go back to, and thins the older ones out: the last
    /// `count` (at least this one) stay, every second of as many before them, every fourth of twice as
    /// many, and so on back to the beginning. So some log₂ of the run's length times half of `count` are
    /// there, and to an epoch that is `age` epochs back there is one that is at most
    /// `2 age / (count − 1)` further back.
    ///
    /// # Errors
    /// As [`Checkpoint::save`].
    pub fn keep(&self, directory: &Path, count: u64) -> Result<PathBuf, TrainError> {
        let path = self.write(directory, &kept_name(self.epoch), false)?;
        remove_kept(directory, |epoch| !is_kept(epoch, self.epoch, count.max(1)))?;
        Ok(path)
    }

    fn write(&self, directory: &Path, name: &str, flush: bool) -> Result<PathBuf, TrainError> {
        let path = directory.join(name);
        let bytes = self
            .encode()
            .map_err(|message| TrainError::checkpoint(&path, message))?;
        let aside = directory.join(format!("{name}.part"));
        let write = || -> std::io::Result<()> {
            fs::create_dir_all(directory)?;
            let mut file = File::create(&aside)?;
            file.write_all(&bytes)?;
            if flush {
                file.sync_all()?;
            }
            fs::rename(&aside, &path)?;
            if flush {
                File::open(directory)?.sync_all()?;
            }
            Ok(())
        };
        write().map_err(|error| TrainError::file("write the checkpoint", &path, error))?;
        Ok(path)
    }

    /// Reads the checkpoint of a directory (or the file itself, if `place` is one). A directory
    /// without a checkpoint gives `None`: the run was stopped before its first epoch ended.
    ///
    /// # Errors
    /// [`TrainError::File`] if it cannot be read, [`TrainError::Checkpoint`] if it is damaged, of
    /// another version, or no checkpoint at all.
    pub fn load(place: &Path) -> Result<Option<Self>, TrainError> {
        let is_directory = fs::metadata(place)
            .map_err(|error| TrainError::file("resume from", place, error))?
            .is_dir();
        let path = if is_directory {
            place.join(FILE_NAME)
        } else {
            place.to_owned()
        };
        match fs::read(&path) {
            Ok(bytes) => {
                let decoded = Self::decode(&bytes);
                decoded
                    .map(Some)
                    .map_err(|message| TrainError::checkpoint(&path, message))
            }
            Err(error) if is_directory && error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(TrainError::file("read the checkpoint", &path, error)),
        }
    }

    /// Reads the newest checkpoint of a directory that is not after an epoch, among the last one
    /// and those that were kept. Those that are damaged are passed over. `None` if there is none.
    ///
    /// # Errors
    /// [`TrainError::File`] if the directory cannot be read.
    pub fn load_until(directory: &Path, epoch: u64) -> Result<Option<Self>, TrainError> {
        let last = match Self::load(directory) {
            Ok(last) => last.filter(|checkpoint| checkpoint.epoch <= epoch),
            Err(error @ TrainError::Checkpoint { .. }) => {
                tracing::warn!(%error, "the last checkpoint is passed over");
                None
            }
            Err(error) => return Err(error),
        };
        let mut kept = kept_epochs(directory)?;
        kept.retain(|&kept| kept <= epoch && last.as_ref().is_none_or(|last| kept > last.epoch));
        kept.sort_unstable();
        for &epoch in kept.iter().rev() {
            match Self::load(&directory.join(kept_name(epoch))) {
                Ok(Some(found)) if found.epoch == epoch => return Ok(Some(found)),
                Ok(_) => {
                    tracing::warn!(epoch, "a kept checkpoint is of another epoch: passed over")
                }
                Err(error) => tracing::warn!(epoch, %error, "a kept checkpoint is passed over"),
            }
        }
        Ok(last)
    }

    /// Removes the checkpoints to go back to that are after an epoch.
    ///
    /// # Errors
    /// [`TrainError::File`] if one cannot be removed.
    pub fn forget_after(directory: &Path, epoch: u64) -> Result<(), TrainError> {
        remove_kept(directory, |kept| kept > epoch)
    }

    /// Refuses a checkpoint of another run. What goes by the names in `free` may differ.
    ///
    /// # Errors
    /// The first difference, in words.
    pub fn check(&self, expected: &Identity, free: &[&str]) -> Result<(), String> {
        let names: std::collections::BTreeSet<&String> =
            self.identity.keys().chain(expected.keys()).collect();
        for name in names
            .into_iter()
            .filter(|name| !free.contains(&name.as_str()))
        {
            let (theirs, ours) = (self.identity.get(name), expected.get(name));
            if theirs != ours {
                let word = |x: Option<&String>| x.map_or_else(|| "none".to_owned(), Clone::clone);
                return Err(format!(
                    "it belongs to another run: its {name} is {}, this run's is {}",
                    word(theirs),
                    word(ours)
                ));
            }
        }
        Ok(())
    }

    fn encode(&self) -> Result<Vec<u8>, String> {
        let buffers = &self.optimizer.buffers;
        let header = Header {
            format: FORMAT.to_owned(),
            version: VERSION,
            identity: self.identity.clone(),
            epoch: self.epoch,
            non_finite_epochs: self.non_finite_epochs,
            schedule: self.schedule.clone(),
            variables: self
                .variables
                .iter()
                .map(|(name, ..)| name.clone())
                .collect(),
            optimizer_steps: self.optimizer.steps,
            buffers: buffers.iter().map(|(name, _)| name.clone()).collect(),
        };
        let header = serde_json::to_string(&header).map_err(|error| error.to_string())?;
        let variables = self
            .variables
            .iter()
            .map(|(name, shape, values)| (name.clone(), shape.clone(), bytes_of(values)));
        let buffers = buffers
            .iter()
            .map(|(name, values)| (buffer_name(name), vec![values.len()], bytes_of(values)));
        let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = variables.chain(buffers).collect();
        let crc = checksum(&header, tensors.iter().map(|(.., bytes)| bytes.as_slice()));
        let views = tensors
            .iter()
            .map(|(name, shape, bytes)| {
                let view = TensorView::new(Dtype::F32, shape.clone(), bytes);
                view.map(|view| (name.as_str(), view))
                    .map_err(|error| error.to_string())
            })
            .collect::<Result<Vec<_>, _>>()?;
        let metadata = HashMap::from([
            ("hpo".to_owned(), header),
            ("crc32".to_owned(), format!("{crc:08x}")),
        ]);
        safetensors::serialize(views, Some(metadata)).map_err(|error| error.to_string())
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        let damaged = |error: &dyn std::fmt::Display| format!("the file is damaged: {error}");
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| damaged(&error))?;
        let tensors = SafeTensors::deserialize(bytes).map_err(|error| damaged(&error))?;
        let entry = |name| {
            metadata
                .metadata()
                .as_ref()
                .and_then(|entries| entries.get(name))
        };
        let (Some(text), Some(crc)) = (entry("hpo"), entry("crc32")) else {
            return Err("the file is no checkpoint of this program".to_owned());
        };
        check_version(text)?;
        let header: Header = serde_json::from_str(text).map_err(|error| damaged(&error))?;
        let mut data = Vec::new();
        let mut take = |name: &str| -> Result<(Vec<usize>, Vec<f32>), String> {
            let view = tensors
                .tensor(name)
                .map_err(|_| damaged(&format!("`{name}` is missing")))?;
            if view.dtype() != Dtype::F32 {
                return Err(damaged(&format!("`{name}` is not f32")));
            }
            data.push(view.data());
            Ok((view.shape().to_vec(), values_of(view.data())))
        };
        let mut variables = Vec::new();
        for name in header.variables {
            let (shape, values) = take(&name)?;
            variables.push((name, shape, values));
        }
        let mut buffers = Vec::new();
        for name in header.buffers {
            let (_, values) = take(&buffer_name(&name))?;
            buffers.push((name, values));
        }
        if format!("{:08x}", checksum(text, data.into_iter())) != *crc {
            return Err(damaged(&"the checksum does not fit"));
        }
        Ok(Self {
            identity: header.identity,
            epoch: header.epoch,
            non_finite_epochs: header.non_finite_epochs,
            schedule: header.schedule,
            variables,
            optimizer: OptimizerState {
                steps: header.optimizer_steps,
                buffers,
            },
        })
    }
}

fn check_version(header: &str) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Start {
        format: String,
        version: u32,
    }
    match serde_json::from_str::<Start>(header) {
        Ok(start) if start.format != FORMAT => {
            Err("the file is no checkpoint of this program".to_owned())
        }
        Ok(start) if start.version != VERSION => Err(format!(
            "it has version {} of the format, this program reads version {VERSION}",
            start.version
        )),
        Ok(_) => Ok(()),
        Err(error) => Err(format!("the file is damaged: {error}")),
    }
}

fn kept_name(epoch: u64) -> String {
    format!("checkpoint-{epoch}.safetensors")
}

/// The epochs of the checkpoints to go back to, in any order; none in a directory that is not there.
fn kept_epochs(directory: &Path) -> Result<Vec<u64>, TrainError> {
    let fail = |error| TrainError::file("look for checkpoints in", directory, error);
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(fail(error)),
    };
    let mut epochs = Vec::new();
    for entry in entries {
        let name = entry.map_err(fail)?.file_name();
        let epoch = name
            .to_str()
            .and_then(|name| {
                name.strip_prefix("checkpoint-")?
                    .strip_suffix(".safetensors")
            })
            .and_then(|epoch| epoch.parse().ok());
        epochs.extend(epoch.filter(|&epoch| name.to_str() == Some(&kept_name(epoch))));
    }
    Ok(epochs)
}

fn remove_kept(directory: &Path, which: impl Fn(u64) -> bool) -> Result<(), TrainError> {
    for epoch in kept_epochs(directory)?
        .into_iter()
        .filter(|&epoch| which(epoch))
    {
        let path = directory.join(kept_name(epoch));
        fs::remove_file(&path)
            .map_err(|error| TrainError::file("remove the checkpoint", &path, error))?;
    }
    Ok(())
}

fn buffer_name(name: &str) -> String {
    format!("optimizer/{name}")
}

fn checksum<'a>(header: &str, data: impl Iterator<Item = &'a [u8]>) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(header.as_bytes());
    data.for_each(|bytes| crc.update(bytes));
    crc.sum()
}

fn bytes_of(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

fn values_of(bytes: &[u8]) -> Vec<f32> {
    let (numbers, _) = bytes.as_chunks::<4>();
    numbers
        .iter()
        .map(|&bytes| f32::from_le_bytes(bytes))
        .collect()
}

/// Whether the checkpoint of an epoch is still kept at a later one: while its age is less than `count`
/// times the largest power of two that divides the epoch.
fn is_kept(epoch: u64, now: u64, count: u64) -> bool {
    let power = 1_u64 << epoch.trailing_zeros().min(32);
    now.saturating_sub(epoch) < count.saturating_mul(power)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hpo_recipe::{Config, Horizon};

    fn sample() -> Checkpoint {
        let config = Config::from_iter([("schedule", "cosine")]);
        let horizon = Horizon {
            total_steps: 100,
            steps_per_epoch: 10,
        };
        Checkpoint {
            identity: BTreeMap::from([("seed".to_owned(), "7".to_owned())]),
            epoch: 3,
            non_finite_epochs: 0,
            schedule: Schedule::from_config(&config, 0.1, None, horizon).unwrap(),
            variables: vec![
                (
                    "output.weight".to_owned(),
                    vec![2, 3],
                    vec![1.0, -0.0, 3.5, f32::MIN, 1e-40, 7.0],
                ),
                ("output.bias".to_owned(), vec![2], vec![0.1, 0.2]),
            ],
            optimizer: OptimizerState {
                steps: 30,
                buffers: vec![("output.bias/exp_avg".to_owned(), vec![0.5, 0.25])],
            },
        }
    }

    fn message(bytes: &[u8]) -> String {
        Checkpoint::decode(bytes).unwrap_err()
    }

    #[test]
    fn comes_back_from_its_file_bit_for_bit() {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("made/on/demand");
        let path = sample().save(&inner).unwrap();
        assert_eq!(Checkpoint::load(&inner).unwrap(), Some(sample()));
        assert_eq!(Checkpoint::load(&path).unwrap(), Some(sample()));
        let loaded = Checkpoint::load(&inner).unwrap().unwrap();
        assert!(loaded.variables[0].2[1].is_sign_negative());
        let names: Vec<_> = fs::read_dir(&inner)
            .unwrap()
            .map(|x| x.unwrap().file_name())
            .collect();
        assert_eq!(names, [FILE_NAME], "nothing is left aside");
    }

    #[test]
    fn the_last_few_are_kept_and_the_newest_not_after_an_epoch_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path();
        let at = |epoch| Checkpoint { epoch, ..sample() };
        let found = |until| {
            Checkpoint::load_until(place, until)
                .unwrap()
                .map(|x| x.epoch)
        };
        assert_eq!(found(9), None);
        for epoch in 1..=6 {
            at(epoch).keep(place, 4).unwrap();
        }
        at(4).save(place).unwrap();
        fs::write(place.join("checkpoint-x.safetensors"), "someone else's").unwrap();
        fs::write(place.join("checkpoint-05.safetensors"), "someone else's").unwrap();
        let mut kept = kept_epochs(place).unwrap();
        kept.sort_unstable();
        // The last four, and every second of as many before them.
        assert_eq!(kept, [2, 3, 4, 5, 6]);
        assert_eq!(
            [found(9), found(5), found(4), found(3), found(2)],
            [Some(6), Some(5), Some(4), Some(3), Some(2)]
        );
        // A damaged one is passed over, down to the one that was flushed.
        fs::write(place.join(kept_name(6)), "").unwrap();
        fs::write(place.join(kept_name(5)), at(6).encode().unwrap()).unwrap();
        assert_eq!(found(9), Some(4));
        Checkpoint::forget_after(place, 4).unwrap();
        assert_eq!(kept_epochs(place).unwrap().len(), 3);
        let missing = place.join("missing");
        Checkpoint::forget_after(&missing, 0).unwrap();
        assert!(place.join("checkpoint-05.safetensors").exists());
    }

    #[test]
    fn an_empty_directory_has_no_checkpoint_and_a_missing_one_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Checkpoint::load(directory.path()).unwrap(), None);
        let missing = directory.path().join("missing");
        assert_eq!(Checkpoint::load(&missing).unwrap_err().kind(), "file");
    }

    #[test]
    fn every_damaged_byte_and_every_cut_is_noticed() {
        let whole = sample().encode().unwrap();
        for position in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[position] ^= 0x10;
            if let Ok(read) = Checkpoint::decode(&bytes) {
                // Only the spelling of the header around our data may change unnoticed.
                assert_eq!(read, sample(), "byte {position}");
            }
            assert!(
                Checkpoint::decode(&whole[..position]).is_err(),
                "cut at {position}"
            );
        }
    }

    #[test]
    fn foreign_files_are_told_apart() {
        let data = bytes_of(&[1.0]);
        let foreign = |metadata: Option<HashMap<String, String>>| {
            let view = TensorView::new(Dtype::F32, vec![1], &data).unwrap();
            safetensors::serialize([("x", view)], metadata).unwrap()
        };
        assert!(message(b"").contains("damaged"));
        assert!(message(b"not a checkpoint at all").contains("damaged"));
        assert!(message(&foreign(None)).contains("no checkpoint of this program"));
        let header = |text: &str| {
            let entries = [("hpo", text), ("crc32", "0")];
            foreign(Some(
                entries.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            ))
        };
        let newer = header(r#"{"format":"hpo-train checkpoint","version":2}"#);
        assert!(message(&newer).contains("version 2"));
        assert!(message(&header("[]")).contains("damaged"));
        assert!(message(&header(r#"{"format":"x","version":1}"#)).contains("no checkpoint"));
    }

    #[test]
    fn another_run_is_named_by_its_first_difference() {
        let ours = BTreeMap::from([("seed".to_owned(), "8".to_owned())]);
        let text = sample().check(&ours, &[]).unwrap_err();
        assert_eq!(
            text,
            "it belongs to another run: its seed is 7, this run's is 8"
        );
        assert_eq!(sample().check(&ours, &["seed"]), Ok(()));
        assert_eq!(sample().check(&sample().identity, &[]), Ok(()));
    }

    #[test]
    fn what_is_kept_reaches_back_to_the_beginning() {
        for count in [2, 4, 8] {
            for now in 1..=600_u64 {
                let kept: Vec<u64> = (1..=now)
                    .filter(|&epoch| is_kept(epoch, now, count))
                    .collect();
                // Thinned at every epoch, what is thinned out never has to come back.
                assert!(
                    kept.iter()
                        .all(|&epoch| epoch == now || is_kept(epoch, now - 1, count))
                );
                assert!(
                    kept.len() as u64 <= count * (2 + u64::from(now.ilog2())),
                    "{now}: {kept:?}"
                );
                for wanted in 1..=now {
                    let found = kept
                        .iter()
                        .rev()
                        .find(|&&epoch| epoch <= wanted)
                        .unwrap_or(&0);
                    let age = now - wanted;
                    let most = age.div_ceil(count - 1).next_power_of_two();
                    assert!(wanted - found < most.max(1), "{now} {wanted} {found}");
                }
            }
        }
    }
}
