//! Reads a CSV file (plain or gzip) into a [`Dataset`]: numbers stay numbers, texts become one
//! 0/1 column per different text, and a missing value is an error that names its line and column.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use hpo_study::spec::Task;

use super::{ColumnKind, Dataset, Targets, unpack};
use crate::error::TrainError;

/// Up to this many different whole numbers in the target column count as classes where the task
/// is not given; more make it a regression.
pub const AUTO_CLASSES: usize = 20;
/// More different texts than this in one feature are refused: such a column is an identifier.
const MOST_TEXTS: usize = 256;
/// More classes than this are refused: such a target is a number to predict.
const MOST_CLASSES: usize = 1000;
/// More values than this after expanding texts (1 GiB of features) are refused.
const MOST_VALUES: usize = 1 << 28;
/// Words that stand for a missing value, in lower case.
const MISSING: [&str; 7] = ["", "na", "n/a", "nan", "null", "none", "?"];

/// Which column is to be predicted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Target {
    /// The last column.
    #[default]
    Last,
    /// The column with this name in the header; or, if no column has it and it is a whole number,
    /// the column at that position.
    Name(String),
    /// The column at this position, counted from 0; negative positions count from the end.
    Index(i64),
}

/// How to read a CSV file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// Whether the first line holds column names. Unset: it does when no cell of it is a number.
    pub header: Option<bool>,
    /// Which column is to be predicted.
    pub target: Target,
    /// What is learned. Unset: classification when the target is text, or whole numbers with at
    /// most [`AUTO_CLASSES`] different values; regression otherwise.
    pub task: Option<Task>,
}

/// Reads a CSV file.
///
/// # Errors
/// [`TrainError::File`] if it cannot be read, [`TrainError::Data`] if it is not a usable table.
pub fn load(path: &Path, options: &Options) -> Result<Dataset, TrainError> {
    let bytes =
        std::fs::read(path).map_err(|error| TrainError::file("read the data set", path, error))?;
    parse(&path.display().to_string(), bytes, options)
}

/// Reads CSV text (or gzip of it). `name` is for messages.
///
/// # Errors
/// [`TrainError::Data`] if it is not a usable table.
pub fn parse(name: &str, bytes: Vec<u8>, options: &Options) -> Result<Dataset, TrainError> {
    let table = Table::read(name, &unpack(name, bytes)?, options.header)?;
    let target = table.target_column(&options.target)?;
    let targets = table.targets(target, options.task)?;
    let mut blocks = Vec::new();
    for column in (0..table.names.len()).filter(|&column| column != target) {
        blocks.push(table.feature(column)?);
    }
    let columns: Vec<ColumnKind> = blocks.iter().flat_map(Block::kinds).collect();
    if columns.is_empty() {
        return Err(table.error(
            "there is no column but the target",
            "add features to the file",
        ));
    }
    if table.rows.len().saturating_mul(columns.len()) > MOST_VALUES {
        return Err(table.error(
            format!(
                "{} rows of {} features are too many",
                table.rows.len(),
                columns.len()
            ),
            "leave out text columns with many different texts, or use a sample of the rows",
        ));
    }
    let mut features = Vec::with_capacity(table.rows.len() * columns.len());
    for row in 0..table.rows.len() {
        blocks
            .iter()
            .for_each(|block| block.write(row, &mut features));
    }
    Ok(Dataset {
        name: name.to_owned(),
        features,
        columns,
        image: None,
        targets,
    })
}

/// One column of the file, turned into one or more columns of features.
enum Block {
    Numbers(Vec<f32>),
    Texts { choice: Vec<usize>, count: usize },
}

impl Block {
    fn kinds(&self) -> Vec<ColumnKind> {
        match self {
            Self::Numbers(_) => vec![ColumnKind::Number],
            Self::Texts { count, .. } => vec![ColumnKind::Indicator; *count],
        }
    }
    fn write(&self, row: usize, features: &mut Vec<f32>) {
        match self {
            Self::Numbers(values) => features.extend(values.get(row)),
            Self::Texts { choice, count } => features.extend(
                (0..*count).map(|text| f32::from(u8::from(choice.get(row) == Some(&text)))),
            ),
        }
    }
}

/// The file as cells of text, every row as wide as the first.
struct Table {
    name: String,
    names: Vec<String>,
    /// The line in the file and the cells of each row.
    rows: Vec<(u64, ::csv::StringRecord)>,
}

impl Table {
    fn read(name: &str, bytes: &[u8], header: Option<bool>) -> Result<Self, TrainError> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let mut table = Self {
            name: name.to_owned(),
            names: Vec::new(),
            rows: Vec::new(),
        };
        let mut reader = ::csv::ReaderBuilder::new()
            .has_headers(false)
            .trim(::csv::Trim::All)
            .from_reader(bytes);
        for record in reader.records() {
            let record = record.map_err(|error| table.csv_error(&error))?;
            let line = record.position().map_or(0, ::csv::Position::line);
            table.rows.push((line, record));
        }
        let Some((_, first)) = table.rows.first() else {
            return Err(table.error(
                "the file is empty",
                "give a CSV file with at least two rows",
            ));
        };
        let has_header =
            header.unwrap_or_else(|| !first.iter().any(|cell| cell.parse::<f64>().is_ok()));
        table.names = if has_header {
            first.iter().map(str::to_owned).collect()
        } else {
            (0..first.len())
                .map(|column| format!("column {column}"))
                .collect()
        };
        if has_header {
            table.rows.remove(0);
        }
        if table.rows.len() < 2 {
            return Err(table.error(
                format!("{} rows of data are too few", table.rows.len()),
                "give at least two rows; set `header: false` if the first line is data",
            ));
        }
        Ok(table)
    }

    fn error(&self, message: impl Into<String>, hint: impl Into<String>) -> TrainError {
        TrainError::Data {
            name: self.name.clone(),
            message: message.into(),
            hint: hint.into(),
        }
    }

    fn csv_error(&self, error: &::csv::Error) -> TrainError {
        let line = error.position().map_or(0, ::csv::Position::line);
        match error.kind() {
            ::csv::ErrorKind::UnequalLengths {
                expected_len, len, ..
            } => self.error(
                format!("line {line} has {len} cells, the lines before have {expected_len}"),
                "every line needs the same number of cells; quote cells that hold a comma",
            ),
            ::csv::ErrorKind::Utf8 { .. } => self.error(
                format!("line {line} is not UTF-8 text"),
                "save the file as UTF-8 CSV",
            ),
            _ => self.error(format!("not readable as CSV: {error}"), ""),
        }
    }

    fn target_column(&self, target: &Target) -> Result<usize, TrainError> {
        let width = self.names.len();
        let at = |index: i64| {
            let position = if index < 0 {
                index.checked_add_unsigned(width as u64)
            } else {
                Some(index)
            };
            position
                .and_then(|p| usize::try_from(p).ok())
                .filter(|&p| p < width)
        };
        let found = match target {
            Target::Last => width.checked_sub(1),
            Target::Index(index) => at(*index),
            Target::Name(name) => {
                let named = self.names.iter().position(|column| column == name);
                named.or_else(|| name.parse().ok().and_then(at))
            }
        };
        found.ok_or_else(|| {
            let wanted = match target {
                Target::Name(name) => format!("`{name}`"),
                Target::Index(index) => format!("at position {index}"),
                Target::Last => "at all".to_owned(),
            };
            self.error(
                format!("there is no column {wanted} to predict"),
                format!("the columns are: {}", shorten(&self.names)),
            )
        })
    }

    /// The cells of a column with their lines; a missing value is an error.
    fn cells(&self, column: usize) -> Result<Vec<(u64, &str)>, TrainError> {
        let mut cells = Vec::with_capacity(self.rows.len());
        for (line, record) in &self.rows {
            let cell = record.get(column).unwrap_or("");
            if MISSING.iter().any(|word| cell.eq_ignore_ascii_case(word)) {
                return Err(self.error(
                    format!("line {line}, {}: the value is missing", self.title(column)),
                    "fill in or leave out rows with missing values; the trainer does not guess",
                ));
            }
            cells.push((*line, cell));
        }
        Ok(cells)
    }

    /// The numbers of a column, or the first cell that is not a number.
    fn numbers<'a>(
        &self,
        column: usize,
        cells: &[(u64, &'a str)],
    ) -> Result<Result<Vec<f64>, (u64, &'a str)>, TrainError> {
        let mut numbers = Vec::with_capacity(cells.len());
        for &(line, cell) in cells {
            match cell.parse::<f64>() {
                Ok(x) if (x as f32).is_finite() => numbers.push(x),
                Ok(x) => {
                    return Err(self.error(
                        format!(
                            "line {line}, {}: {x:e} is too large or not finite",
                            self.title(column)
                        ),
                        "numbers must lie within ±3.4e38",
                    ));
                }
                Err(_) => return Ok(Err((line, cell))),
            }
        }
        Ok(Ok(numbers))
    }

    fn title(&self, column: usize) -> String {
        match self.names.get(column) {
            Some(name) if name.starts_with("column ") => name.clone(),
            Some(name) => format!("column `{name}`"),
            None => format!("column {column}"),
        }
    }

    fn feature(&self, column: usize) -> Result<Block, TrainError> {
        let cells = self.cells(column)?;
        let (line, cell) = match self.numbers(column, &cells)? {
            Ok(numbers) => {
                return Ok(Block::Numbers(
                    numbers.into_iter().map(|x| x as f32).collect(),
                ));
            }
            Err(first_text) => first_text,
        };
        let index = numbered(cells.iter().map(|&(_, cell)| cell));
        if index.len() > MOST_TEXTS {
            return Err(self.error(
                format!(
                    "{} holds {} different texts (line {line}: `{}` is not a number)",
                    self.title(column),
                    index.len(),
                    clip(cell)
                ),
                format!("correct the number, or leave the column out: at most {MOST_TEXTS} texts"),
            ));
        }
        let choice = cells
            .iter()
            .filter_map(|(_, cell)| index.get(cell).copied())
            .collect();
        Ok(Block::Texts {
            choice,
            count: index.len(),
        })
    }

    fn targets(&self, column: usize, task: Option<Task>) -> Result<Targets, TrainError> {
        let cells = self.cells(column)?;
        match (self.numbers(column, &cells)?, task) {
            (Err((line, cell)), Some(Task::Regression)) => Err(self.error(
                format!(
                    "line {line}, {}: `{}` is not a number",
                    self.title(column),
                    clip(cell)
                ),
                "regression needs a number in every row; for classes set `task: classification`",
            )),
            (Ok(numbers), Some(Task::Regression)) => Ok(Targets::Numbers(numbers)),
            (Ok(numbers), None) if !look_like_classes(&numbers) => Ok(Targets::Numbers(numbers)),
            (Ok(numbers), _) => self.classes(column, &cells, &number_names(&cells, &numbers)),
            (Err(_), _) => {
                let names: BTreeSet<&str> = cells.iter().map(|&(_, cell)| cell).collect();
                self.classes(column, &cells, &names.into_iter().collect::<Vec<_>>())
            }
        }
    }

    /// Classes in the order of `names`, which holds every cell.
    fn classes(
        &self,
        column: usize,
        cells: &[(u64, &str)],
        names: &[&str],
    ) -> Result<Targets, TrainError> {
        if names.len() < 2 || names.len() > MOST_CLASSES {
            return Err(self.error(
                format!("the target, {}, has {} classes", self.title(column), names.len()),
                format!(
                    "classification needs 2 to {MOST_CLASSES} classes; for numbers set `task: regression`"
                ),
            ));
        }
        let index: BTreeMap<&str, u32> = (0..).zip(names).map(|(i, &name)| (name, i)).collect();
        let labels = cells
            .iter()
            .filter_map(|(_, cell)| index.get(cell).copied())
            .collect();
        let names = names.iter().map(|&name| name.to_owned()).collect();
        Ok(Targets::Classes { labels, names })
    }
}

/// The different texts, in order, with their positions.
fn numbered<'a>(texts: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, usize> {
    let mut index: BTreeMap<&str, usize> = texts.map(|text| (text, 0)).collect();
    index
        .values_mut()
        .enumerate()
        .for_each(|(position, slot)| *slot = position);
    index
}

fn look_like_classes(numbers: &[f64]) -> bool {
    let different: BTreeSet<u64> = numbers.iter().map(|x| x.to_bits()).collect();
    different.len() <= AUTO_CLASSES && numbers.iter().all(|x| x.fract() == 0.0)
}

/// The different cells of a column of numbers, ordered by their value.
fn number_names<'a>(cells: &[(u64, &'a str)], numbers: &[f64]) -> Vec<&'a str> {
    let mut names: Vec<(f64, &str)> = cells
        .iter()
        .zip(numbers)
        .map(|(&(_, cell), &x)| (x, cell))
        .collect();
    names.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(b.1)));
    names.dedup_by(|a, b| a.1 == b.1);
    names.into_iter().map(|(_, cell)| cell).collect()
}

fn clip(text: &str) -> String {
    let mut short: String = text.chars().take(40).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

fn shorten(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(20).map(|name| clip(name)).collect();
    let rest = names.len() - shown.len();
    if rest == 0 {
        shown.join(", ")
    } else {
        format!("{}, and {rest} more", shown.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Dataset, TrainError> {
        parse("test.csv", text.as_bytes().to_vec(), &Options::default())
    }

    fn message(text: &str, options: &Options) -> String {
        let error = parse("test.csv", text.as_bytes().to_vec(), options).unwrap_err();
        assert_eq!(error.kind(), "data");
        assert!(error.hint().is_some(), "{error}");
        error.to_string()
    }

    #[test]
    fn numbers_texts_and_classes() {
        let data = read("size,colour,kind\n1.5,red,cat\n2.5,blue,dog\n3.5,red,cat\n").unwrap();
        assert_eq!(
            data.columns,
            [
                ColumnKind::Number,
                ColumnKind::Indicator,
                ColumnKind::Indicator
            ]
        );
        assert_eq!(data.features, [1.5, 0.0, 1.0, 2.5, 1.0, 0.0, 3.5, 0.0, 1.0]);
        let names = vec!["cat".to_owned(), "dog".to_owned()];
        assert_eq!(
            data.targets,
            Targets::Classes {
                labels: vec![0, 1, 0],
                names
            }
        );
    }

    #[test]
    fn the_task_is_guessed_from_the_target_and_can_be_forced() {
        assert!(matches!(
            read("1,0.5\n2,0.25\n").unwrap().targets,
            Targets::Numbers(_)
        ));
        let Targets::Classes { names, .. } = read("1,10\n2,9\n3,10\n").unwrap().targets else {
            unreachable!("two whole numbers are classes")
        };
        assert_eq!(names, ["9", "10"], "ordered as numbers, not as texts");
        let forced = Options {
            task: Some(Task::Regression),
            ..Options::default()
        };
        let data = parse("t", b"1,10\n2,9\n3,10\n".to_vec(), &forced).unwrap();
        assert_eq!(data.targets, Targets::Numbers(vec![10.0, 9.0, 10.0]));
    }

    #[test]
    fn the_target_is_found_by_name_position_and_end() {
        let first = |target| {
            let options = Options {
                target,
                ..Options::default()
            };
            parse("t", b"y,x,z\n7.5,1,4\n8.5,2,5\n".to_vec(), &options)
                .unwrap()
                .targets
        };
        assert_eq!(
            first(Target::Name("y".into())),
            Targets::Numbers(vec![7.5, 8.5])
        );
        assert_eq!(first(Target::Index(0)), Targets::Numbers(vec![7.5, 8.5]));
        assert_eq!(first(Target::Index(-3)), Targets::Numbers(vec![7.5, 8.5]));
        assert_eq!(
            first(Target::Name("0".into())),
            Targets::Numbers(vec![7.5, 8.5])
        );
    }

    #[test]
    fn a_byte_order_mark_and_a_missing_last_newline_do_no_harm() {
        let data = read("\u{feff}x,y\r\n1,0.5\r\n2,0.75").unwrap();
        assert_eq!(data.features, [1.0, 2.0]);
    }

    #[test]
    fn broken_files_give_errors_that_name_the_place() {
        let plain = Options::default();
        let at = |target| Options {
            target,
            ..Options::default()
        };
        let header = Options {
            header: Some(true),
            ..Options::default()
        };
        let regression = Options {
            task: Some(Task::Regression),
            ..Options::default()
        };
        let many: String = (0..300).map(|i| format!("id{i},0.5\n")).collect();
        let classes: String = (0..1500).map(|i| format!("{i},c{i}\n")).collect();
        let cases = [
            ("", &plain, "the file is empty"),
            ("x,y\n", &plain, "0 rows of data"),
            ("1,2\n3,4\n", &header, "1 rows of data"),
            (
                "x,y\n1,2\n3\n",
                &plain,
                "line 3 has 1 cells, the lines before have 2",
            ),
            (
                "x,y\n1,2.5\n,3.5\n",
                &plain,
                "line 3, column `x`: the value is missing",
            ),
            (
                "x,y\n1,2.5\nNaN,3.5\n",
                &plain,
                "line 3, column `x`: the value is missing",
            ),
            (
                "1,2.5\n2,?\n",
                &plain,
                "line 2, column 1: the value is missing",
            ),
            (
                "x,y\n1,2.5\ninf,3.5\n",
                &plain,
                "line 3, column `x`: inf is too large",
            ),
            (
                "x,y\n1,2.5\n1e300,3.5\n",
                &plain,
                "line 3, column `x`: 1e300 is too large",
            ),
            ("y\n1.5\n2.5\n", &plain, "no column but the target"),
            ("x,y\n1,2\n3,2\n", &plain, "has 1 classes"),
            (&many, &plain, "300 different texts (line 1: `id0`"),
            (&classes, &plain, "has 1500 classes"),
            (
                "x,y\n1,2.5\n3,abc\n",
                &regression,
                "line 3, column `y`: `abc` is not a number",
            ),
            (
                "x,y\n1,2\n3,4\n",
                &at(Target::Name("z".into())),
                "no column `z`",
            ),
            (
                "x,y\n1,2\n3,4\n",
                &at(Target::Index(2)),
                "no column at position 2",
            ),
            (
                "x,y\n1,2\n3,4\n",
                &at(Target::Index(i64::MIN)),
                "no column at position",
            ),
        ];
        for (text, options, expected) in cases {
            let found = message(text, options);
            assert!(found.contains(expected), "{found:?} lacks {expected:?}");
        }
    }

    #[test]
    fn bytes_that_are_not_text_are_refused() {
        let options = Options::default();
        let error = parse("t", b"x,y\n1,2\n\xff\xfe,3\n".to_vec(), &options).unwrap_err();
        assert!(error.to_string().contains("not UTF-8"), "{error}");
        let error = parse("t", b"\x1f\x8bnot gzip".to_vec(), &options).unwrap_err();
        assert!(error.to_string().contains("cannot be unpacked"), "{error}");
        let error = load(Path::new("no/such/file.csv"), &options).unwrap_err();
        assert_eq!(error.kind(), "file");
    }
}
