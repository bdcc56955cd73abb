//! Data sets: tables of numbers with a target, read from CSV or shipped with the program.

pub mod csv;
pub mod digits;
pub mod split;

use std::io::Read as _;

use hpo_recipe::Value;
use hpo_study::{TrainerSpec, spec};

use crate::error::TrainError;

/// What a column of features holds, which decides how it is scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// A measured number: standardized with the mean and deviation of the training rows.
    Number,
    /// 0 or 1, one column per text of a text feature: left as it is.
    Indicator,
    /// The brightness of a pixel, already between 0 and 1: left as it is.
    Pixel,
}

/// What is to be predicted.
#[derive(Debug, Clone, PartialEq)]
pub enum Targets {
    /// One of several classes.
    Classes {
        /// The class of each row, as an index into `names`.
        labels: Vec<u32>,
        /// The classes as the data set writes them.
        names: Vec<String>,
    },
    /// A number for each row.
    Numbers(Vec<f64>),
}

impl Targets {
    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Classes { labels, .. } => labels.len(),
            Self::Numbers(numbers) => numbers.len(),
        }
    }
    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// How many numbers a model puts out per row: the number of classes, or 1.
    #[must_use]
    pub fn outputs(&self) -> usize {
        match self {
            Self::Classes { names, .. } => names.len(),
            Self::Numbers(_) => 1,
        }
    }
}

/// A table of features with a target for each row.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// The file or the name it came from, for messages.
    pub name: String,
    /// The features, row after row; every value is finite.
    pub features: Vec<f32>,
    /// What each column of `features` holds.
    pub columns: Vec<ColumnKind>,
    /// Height and width in pixels when the rows are images (one channel).
    pub image: Option<(usize, usize)>,
    /// What is to be predicted, one per row.
    pub targets: Targets,
}

impl Dataset {
    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.targets.len()
    }

    /// A checksum over all values, by which a checkpoint knows its data again.
    #[must_use]
    pub fn checksum(&self) -> u32 {
        let mut crc = flate2::Crc::new();
        for x in &self.features {
            crc.update(&x.to_le_bytes());
        }
        match &self.targets {
            Targets::Classes { labels, .. } => {
                labels
                    .iter()
                    .for_each(|label| crc.update(&label.to_le_bytes()));
            }
            Targets::Numbers(numbers) => {
                numbers.iter().for_each(|x| crc.update(&x.to_le_bytes()));
            }
        }
        crc.sum()
    }
}

/// Loads the data set of a study.
///
/// # Errors
/// [`TrainError::File`] if a file cannot be read, [`TrainError::Data`] if it is not usable.
pub fn load(source: &spec::Dataset) -> Result<Dataset, TrainError> {
    match source {
        spec::Dataset::Digits => digits::load(),
        spec::Dataset::Csv { path, target, task } => {
            let target = match target {
                Value::Null => csv::Target::Last,
                value => match value.as_i64() {
                    Some(index) => csv::Target::Index(index),
                    None => csv::Target::Name(value.to_string()),
                },
            };
            csv::load(
                path,
                &csv::Options {
                    header: None,
                    target,
                    task: *task,
                },
            )
        }
    }
}

/// The loss of a model that knows nothing of the features: ln(classes) nats for classification
/// (all classes equally likely), 1 for regression (the mean of the training targets, whose
/// variance is 1 after standardizing). A run whose loss stays there learns nothing.
///
/// # Errors
/// As [`load`].
pub fn chance_loss(spec: &TrainerSpec) -> Result<f64, TrainError> {
    Ok(match load(&spec.dataset)?.targets {
        Targets::Classes { names, .. } => (names.len() as f64).ln(),
        Targets::Numbers(_) => 1.0,
    })
}

/// The bytes, unpacked if they are gzip.
fn unpack(name: &str, bytes: Vec<u8>) -> Result<Vec<u8>, TrainError> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(bytes.as_slice())
        .read_to_end(&mut plain)
        .map_err(|error| TrainError::Data {
            name: name.to_owned(),
            message: format!("the file looks like gzip, but cannot be unpacked: {error}"),
            hint: "make the file again, or give the plain CSV".to_owned(),
        })?;
    Ok(plain)
}
