//! Training and validation rows, scaled and ready for a model.

use candle_core::{Device, Tensor};

use super::{ColumnKind, Dataset, Targets};
use crate::error::TrainError;
use crate::rng::{Purpose, permutation, stream};

/// What a model is asked to put out, row by row.
#[derive(Debug, Clone)]
pub enum Truth {
    /// The class of each row.
    Classes(Vec<u32>),
    /// The standardized target of each row, one column.
    Numbers(Tensor),
}

/// Some rows of a data set: inputs `[rows, columns]` in f32, and what is to be predicted.
#[derive(Debug, Clone)]
pub struct Part {
    /// The scaled features.
    pub inputs: Tensor,
    /// What is to be predicted.
    pub truth: Truth,
}

impl Part {
    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.inputs.dims().first().copied().unwrap_or(0)
    }

    /// The same rows in another order. Row `i` of the result is row `order[i]`.
    ///
    /// # Errors
    /// An index that is not below [`Part::rows`].
    pub fn reordered(&self, order: &[u32]) -> candle_core::Result<Self> {
        let index = Tensor::from_slice(order, order.len(), &Device::Cpu)?;
        let truth = match &self.truth {
            Truth::Classes(labels) => Truth::Classes(
                order
                    .iter()
                    .filter_map(|&row| labels.get(row as usize).copied())
                    .collect(),
            ),
            Truth::Numbers(numbers) => Truth::Numbers(numbers.index_select(&index, 0)?),
        };
        Ok(Self {
            inputs: self.inputs.index_select(&index, 0)?,
            truth,
        })
    }

    /// `count` rows from `first` on, sharing the memory of this part where that is possible.
    ///
    /// # Errors
    /// Rows beyond the end.
    pub fn slice(&self, first: usize, count: usize) -> candle_core::Result<Self> {
        let truth = match &self.truth {
            Truth::Classes(labels) => {
                Truth::Classes(labels.iter().skip(first).take(count).copied().collect())
            }
            Truth::Numbers(numbers) => Truth::Numbers(numbers.narrow(0, first, count)?),
        };
        Ok(Self {
            inputs: self.inputs.narrow(0, first, count)?,
            truth,
        })
    }
}

/// A data set split in two and scaled with the statistics of its training rows.
#[derive(Debug, Clone)]
pub struct Split {
    /// What a model learns from.
    pub training: Part,
    /// What it is judged on.
    pub validation: Part,
    /// Standard deviation of the training targets, in the units of the data; 1 for classes. A
    /// root-mean-square error on standardized targets times this is one in the data's units.
    pub target_scale: f64,
}

impl Split {
    /// Splits and scales.
    ///
    /// Classes keep their shares in both parts (stratified). The split depends on nothing but the
    /// data, `share` and `seed`, so that all trials of a study are judged on the same rows.
    /// Features that are [`ColumnKind::Number`] and numeric targets are standardized with the
    /// mean and the (population) standard deviation of the training rows.
    ///
    /// # Errors
    /// [`TrainError`] if `share` is not between 0 and 1 or one part would have no rows.
    pub fn new(dataset: &Dataset, share: f64, seed: u64) -> Result<Self, TrainError> {
        if !(share > 0.0 && share < 1.0) {
            return Err(TrainError::settings(
                format!("the validation share is {share}, but must lie between 0 and 1"),
                "0.2 holds out a fifth of the rows",
            ));
        }
        let validation = validation_rows(&dataset.targets, share, seed);
        let held_out = validation.iter().filter(|&&held| held).count();
        if held_out == 0 || held_out == dataset.rows() {
            return Err(TrainError::Data {
                name: dataset.name.clone(),
                message: format!(
                    "{} rows cannot be split with a validation share of {share}",
                    dataset.rows()
                ),
                hint: "use more rows or another validation share".to_owned(),
            });
        }
        let features = scaled_features(dataset, &validation);
        let (numbers, target_scale) = match &dataset.targets {
            Targets::Classes { .. } => (Vec::new(), 1.0),
            Targets::Numbers(numbers) => standardized(numbers, &validation),
        };
        let part = |held: bool| part(dataset, &features, &numbers, &validation, held);
        Ok(Self {
            training: part(false)?,
            validation: part(true)?,
            target_scale,
        })
    }
}

/// For each row whether it is held out for validation.
fn validation_rows(targets: &Targets, share: f64, seed: u64) -> Vec<bool> {
    let mut rng = stream(seed, Purpose::Split, 0);
    let mut groups: Vec<Vec<usize>> = Vec::new();
    match targets {
        Targets::Classes { labels, names } => {
            groups.resize(names.len(), Vec::new());
            for (row, &label) in labels.iter().enumerate() {
                if let Some(group) = groups.get_mut(label as usize) {
                    group.push(row);
                }
            }
        }
        Targets::Numbers(numbers) => groups.push((0..numbers.len()).collect()),
    }
    let mut held_out = vec![false; targets.len()];
    for group in groups {
        let count = (group.len() as f64 * share).round() as usize;
        let order = permutation(u32::try_from(group.len()).unwrap_or(u32::MAX), &mut rng);
        for row in order
            .iter()
            .take(count)
            .filter_map(|&i| group.get(i as usize))
        {
            if let Some(held) = held_out.get_mut(*row) {
                *held = true;
            }
        }
    }
    held_out
}

fn scaled_features(dataset: &Dataset, validation: &[bool]) -> Vec<f32> {
    let width = dataset.columns.len();
    let mut features = dataset.features.clone();
    for (column, kind) in dataset.columns.iter().enumerate() {
        if *kind == ColumnKind::Number {
            let values: Vec<f64> = features
                .iter()
                .skip(column)
                .step_by(width)
                .map(|&x| f64::from(x))
                .collect();
            let (scaled, _) = standardized(&values, validation);
            for (to, x) in features.iter_mut().skip(column).step_by(width).zip(scaled) {
                *to = x;
            }
        }
    }
    features
}

/// The values with mean 0 and standard deviation 1 over the training rows, and their deviation
/// before. A value that never changes becomes 0.
fn standardized(values: &[f64], validation: &[bool]) -> (Vec<f32>, f64) {
    let training = || {
        values
            .iter()
            .zip(validation)
            .filter(|(_, held)| !**held)
            .map(|(x, _)| *x)
    };
    let count = training().count().max(1) as f64;
    let mean = training().sum::<f64>() / count;
    let deviation = (training().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count).sqrt();
    // Rounding alone gives a constant column a deviation of about 1e-16 of its mean.
    let constant = deviation <= 1e-12 * mean.abs();
    let scale = if constant { 1.0 } else { deviation };
    (
        values.iter().map(|x| ((x - mean) / scale) as f32).collect(),
        scale,
    )
}

fn part(
    dataset: &Dataset,
    features: &[f32],
    numbers: &[f32],
    validation: &[bool],
    held: bool,
) -> candle_core::Result<Part> {
    fn chosen<'a, T: Copy>(values: &'a [T], rows: &'a [bool], held: bool) -> Vec<T> {
        values
            .iter()
            .zip(rows)
            .filter(|(_, row)| **row == held)
            .map(|(x, _)| *x)
            .collect()
    }
    let width = dataset.columns.len();
    let rows = features.chunks_exact(width.max(1)).zip(validation);
    let inputs: Vec<f32> = rows
        .filter(|(_, row)| **row == held)
        .flat_map(|(x, _)| x.iter().copied())
        .collect();
    let count = validation.iter().filter(|&&row| row == held).count();
    let truth = match &dataset.targets {
        Targets::Classes { labels, .. } => Truth::Classes(chosen(labels, validation, held)),
        Targets::Numbers(_) => {
            let numbers = chosen(numbers, validation, held);
            Truth::Numbers(Tensor::from_vec(numbers, (count, 1), &Device::Cpu)?)
        }
    };
    Ok(Part {
        inputs: Tensor::from_vec(inputs, (count, width), &Device::Cpu)?,
        truth,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{csv, digits};

    fn counts(truth: &Truth) -> Vec<usize> {
        let Truth::Classes(labels) = truth else {
            unreachable!("digits are classes")
        };
        (0..10)
            .map(|class| labels.iter().filter(|&&label| label == class).count())
            .collect()
    }

    #[test]
    fn a_split_is_stratified_and_the_same_for_the_same_seed() {
        let dataset = digits::load().unwrap();
        let split = Split::new(&dataset, 0.2, 1).unwrap();
        assert_eq!(
            counts(&split.validation.truth),
            [36, 36, 35, 37, 36, 36, 36, 36, 35, 36]
        );
        assert_eq!(split.training.rows() + split.validation.rows(), 1797);
        let inputs = |seed| {
            let split = Split::new(&dataset, 0.2, seed).unwrap();
            split.validation.inputs.to_vec2::<f32>().unwrap()
        };
        assert_eq!(inputs(1), inputs(1));
        assert_ne!(inputs(1), inputs(2));
    }

    #[test]
    fn numbers_are_standardized_with_the_training_rows_alone() {
        let text: String = (0..50)
            .map(|i| format!("{},7,{}\n", i, f64::from(i) * 10.5))
            .collect();
        let dataset = csv::parse("t", text.into_bytes(), &csv::Options::default()).unwrap();
        let split = Split::new(&dataset, 0.2, 3).unwrap();
        assert_eq!((split.training.rows(), split.validation.rows()), (40, 10));
        let inputs = split.training.inputs.to_vec2::<f32>().unwrap();
        let mean = |column: usize| inputs.iter().map(|row| row[column]).sum::<f32>() / 40.0;
        let square = inputs.iter().map(|row| row[0] * row[0]).sum::<f32>() / 40.0;
        assert!(mean(0).abs() < 1e-6 && (square - 1.0).abs() < 1e-5);
        assert!(
            inputs.iter().all(|row| row[1] == 0.0),
            "a constant column becomes 0"
        );
        let Truth::Numbers(targets) = &split.training.truth else {
            unreachable!("numbers")
        };
        let targets = targets.to_vec2::<f32>().unwrap();
        assert!(targets.iter().map(|row| row[0]).sum::<f32>().abs() < 1e-4);
        assert!((100.0..200.0).contains(&split.target_scale));
    }

    #[test]
    fn too_few_rows_or_a_bad_share_are_errors() {
        let dataset =
            csv::parse("t", b"1,0.5\n2,1.5\n".to_vec(), &csv::Options::default()).unwrap();
        assert_eq!(Split::new(&dataset, 0.1, 0).unwrap_err().kind(), "data");
        for share in [0.0, 1.0, -1.0, f64::NAN] {
            assert_eq!(
                Split::new(&dataset, share, 0).unwrap_err().kind(),
                "settings"
            );
        }
    }

    #[test]
    fn reordering_moves_inputs_and_truth_together() {
        let text: String = (0..20)
            .map(|i| format!("{i},{}\n", f64::from(i) + 0.5))
            .collect();
        let dataset = csv::parse("t", text.into_bytes(), &csv::Options::default()).unwrap();
        let training = Split::new(&dataset, 0.5, 0).unwrap().training;
        let moved = training.reordered(&[3, 0, 1]).unwrap();
        let row = |part: &Part, row: usize| {
            let Truth::Numbers(numbers) = &part.truth else {
                unreachable!("numbers")
            };
            (
                part.inputs.to_vec2::<f32>().unwrap()[row][0],
                numbers.to_vec2::<f32>().unwrap()[row][0],
            )
        };
        assert_eq!(row(&moved, 0), row(&training, 3));
        assert_eq!(row(&moved.slice(1, 2).unwrap(), 1), row(&training, 1));
    }
}
