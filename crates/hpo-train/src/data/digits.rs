//! The handwritten digits the program ships: 1797 images of 8 × 8 pixels, ten classes.
//!
//! UCI Machine Learning Repository, "Optical Recognition of Handwritten Digits", test part, by
//! E. Alpaydin and C. Kaynak; origin and licence stand in `data/README.md` of this crate.

use hpo_study::spec::Task;

use super::csv::{self, Target};
use super::{ColumnKind, Dataset};
use crate::error::TrainError;

/// What `dataset:` calls it.
pub const NAME: &str = "digits";

const FILE: &[u8] = include_bytes!("../../data/digits.csv.gz");
const SIDE: usize = 8;
/// The brightest value of a pixel in the file.
const BRIGHTEST: f32 = 16.0;

/// The data set, with pixels between 0 and 1.
///
/// # Errors
/// Never, unless the program was built from a damaged source tree.
pub fn load() -> Result<Dataset, TrainError> {
    let options = csv::Options {
        header: Some(false),
        target: Target::Last,
        task: Some(Task::Classification),
    };
    let mut dataset = csv::parse(NAME, FILE.to_vec(), &options)?;
    dataset.features.iter_mut().for_each(|x| *x /= BRIGHTEST);
    dataset.columns.fill(ColumnKind::Pixel);
    dataset.image = Some((SIDE, SIDE));
    Ok(dataset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Targets;

    #[test]
    fn has_the_shape_and_class_counts_the_source_documents() {
        let dataset = load().unwrap();
        assert_eq!((dataset.rows(), dataset.columns.len()), (1797, SIDE * SIDE));
        assert!(dataset.features.iter().all(|x| (0.0..=1.0).contains(x)));
        let Targets::Classes { labels, names } = &dataset.targets else {
            unreachable!("digits are classes")
        };
        assert_eq!(names.join(""), "0123456789");
        let count = |class| labels.iter().filter(|&&label| label == class).count();
        let counts: Vec<usize> = (0..10).map(count).collect();
        assert_eq!(counts, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
    }
}
