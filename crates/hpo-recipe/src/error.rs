//! What can be wrong with a recipe in a configuration.

/// Why a configuration does not describe an optimizer or a schedule.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RecipeError {
    /// No optimizer has this name.
    #[error("there is no optimizer `{name}`{}", did_you_mean(*nearest))]
    UnknownOptimizer {
        /// The name as written.
        name: String,
        /// The catalogue's name that looks most like it, if one does.
        nearest: Option<&'static str>,
    },
    /// No learning-rate schedule has this name.
    #[error("there is no learning-rate schedule `{name}`{}", did_you_mean(*nearest))]
    UnknownSchedule {
        /// The name as written.
        name: String,
        /// The catalogue's name that looks most like it, if one does.
        nearest: Option<&'static str>,
    },
    /// A value that has no default is not there.
    #[error("`{name}` is missing")]
    Missing {
        /// The hyperparameter's name.
        name: String,
    },
    /// A number is wanted and something else is there.
    #[error("`{name}` must be a number, not `{value}`")]
    NotANumber {
        /// The hyperparameter's name.
        name: String,
        /// The value as written.
        value: String,
    },
    /// A value makes no sense for this hyperparameter.
    #[error("`{name}` is {value}, but must be {allowed}")]
    OutOfRange {
        /// The hyperparameter's name.
        name: String,
        /// The value as written.
        value: String,
        /// What would make sense, in words that follow "must be".
        allowed: String,
    },
}

fn did_you_mean(nearest: Option<&'static str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

/// The name that looks most like `wanted` (edit distance), if it is near enough to be a slip of
/// the pen: at most a third of its letters differ.
pub(crate) fn nearest(
    wanted: &str,
    names: impl IntoIterator<Item = &'static str>,
) -> Option<&'static str> {
    names
        .into_iter()
        .map(|name| (edit_distance(wanted, name), name))
        .min()
        .filter(|(distance, name)| distance * 3 <= name.len().max(3))
        .map(|(_, name)| name)
}

/// Levenshtein's distance: letters to insert, delete or replace.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for ((j, to), pair) in b.iter().enumerate().zip(row.windows(2)) {
            let (diagonal, above) = match *pair {
                [diagonal, above] => (diagonal, above),
                _ => (j, j + 1),
            };
            let left = next.last().copied().unwrap_or(i + 1);
            next.push(
                (diagonal + usize::from(from != *to))
                    .min(above + 1)
                    .min(left + 1),
            );
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_is_levenshteins() {
        assert_eq!(edit_distance("kitten", "sitting"), 3);
        assert_eq!(edit_distance("", "abc"), 3);
        assert_eq!(edit_distance("adam", "adam"), 0);
    }

    #[test]
    fn a_slip_of_the_pen_is_recognized_and_another_word_is_not() {
        assert_eq!(nearest("cosin", ["cosine", "step"]), Some("cosine"));
        assert_eq!(nearest("banana", ["cosine", "step"]), None);
    }
}
