//! A table of trials as CSV: a row each, a column per parameter and metric. Also as pandas, `hpo trials -f csv`, Optuna's
//! `trials_dataframe`, W&B's export and Ray Tune's `results_df` name their columns.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use hpo_study::import::{Row, Rows};
use hpo_study::{Config, control};

use crate::{ImportError, Wanted, some, states};

/// What stands before the names of parameters in tables that have other columns, too.
const PREFIXES: [&str; 6] = [
    "params.",
    "params_",
    "config.",
    "config/",
    "parameters.",
    "hyperparameters.",
];
/// What stands before the names of metrics.
const METRICS: [&str; 5] = ["", "metrics.", "metrics/", "summary.", "summary/"];

pub(crate) fn read(path: &Path, text: &str, wanted: &Wanted) -> Result<Rows, ImportError> {
    let shown = path.display().to_string();
    let (mut reader, header) = opened(&shown, text)?;
    let columns = Columns::of(&shown, &header, wanted)?;
    let mut rows = Vec::new();
    for line in lines(&shown, &mut reader) {
        let (line, record) = line?;
        rows.push(columns.row(&shown, line, &record)?);
    }
    Ok(Rows {
        source: shown,
        goal: None,
        horizon: None,
        rows,
    })
}

/// A table's lines, and its header.
fn opened<'t>(
    shown: &str,
    text: &'t str,
) -> Result<(csv::Reader<&'t [u8]>, csv::StringRecord), ImportError> {
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter(text))
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let header = reader.headers().cloned();
    let header = header.map_err(|error| malformed(shown, &error))?;
    Ok((reader, header))
}

/// The lines below the header, with their numbers.
fn lines<'r>(
    shown: &'r str,
    reader: &'r mut csv::Reader<&[u8]>,
) -> impl Iterator<Item = Result<(u64, csv::StringRecord), ImportError>> {
    reader.records().map(move |record| {
        let record = record.map_err(|error| malformed(shown, &error))?;
        Ok((record.position().map_or(0, csv::Position::line), record))
    })
}

/// Parts of configurations: of each line the parameters that have a value.
pub(crate) fn configurations(
    path: &Path,
    text: &str,
    parameters: &BTreeSet<String>,
) -> Result<Vec<(String, Config)>, ImportError> {
    let shown = path.display().to_string();
    let (mut reader, header) = opened(&shown, text)?;
    let bare = |name: &str| {
        let known = |name: &str| parameters.contains(name).then(|| name.to_owned());
        known(name).or_else(|| PREFIXES.iter().find_map(|p| known(name.strip_prefix(p)?)))
    };
    let columns: Vec<Option<String>> = header.iter().map(bare).collect();
    if columns.iter().all(Option::is_none) {
        let wish = some(parameters.iter().map(String::as_str));
        return Err(ImportError::new(format!(
            "{shown}:1: no column is a parameter of the study ({wish})"
        )));
    }
    let mut found = Vec::new();
    for line in lines(&shown, &mut reader) {
        let (line, record) = line?;
        let mut config = Config::new();
        for (name, cell) in columns.iter().zip(&record) {
            if let (Some(name), false) = (name, cell.is_empty()) {
                config.set(name.clone(), control::value(cell));
            }
        }
        found.push((format!("line {line}"), config));
    }
    Ok(found)
}

/// The character between columns: the one of comma, semicolon and tab that the first line has most of.
fn delimiter(text: &str) -> u8 {
    let first = text.lines().next().unwrap_or("");
    let count = |c: &u8| first.bytes().filter(|b| b == c).count();
    // Of equals the first: `max_by_key` gives the last.
    [b'\t', b';', b',']
        .into_iter()
        .max_by_key(count)
        .unwrap_or(b',')
}

fn malformed(shown: &str, error: &csv::Error) -> ImportError {
    let line = error
        .position()
        .map_or(String::new(), |p| format!(":{}", p.line()));
    let what = match error.kind() {
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => {
            let columns = if *len == 1 { "column" } else { "columns" };
            format!("the line has {len} {columns}, and the header has {expected_len}")
        }
        _ => error.to_string(),
    };
    ImportError::new(format!("{shown}{line}: {what}"))
        .hint("a table has one header line, and as many columns in every other line; quotes come in pairs")
}

/// Which columns are what.
struct Columns {
    params: Vec<(usize, String)>,
    value: (usize, String),
    state: Option<usize>,
    reason: Option<usize>,
    steps: Option<usize>,
}

impl Columns {
    fn of(shown: &str, header: &csv::StringRecord, wanted: &Wanted) -> Result<Self, ImportError> {
        let names: Vec<&str> = header.iter().collect();
        if let Some(double) = (0..names.len()).find(|i| names[..*i].contains(&names[*i])) {
            return Err(ImportError::new(format!(
                "{shown}:1: column {} is called `{}`, as an earlier one is",
                double + 1,
                names[double]
            )));
        }
        let find = |wish: &[&str]| {
            names
                .iter()
                .position(|name| wish.iter().any(|w| name.eq_ignore_ascii_case(w)))
        };
        let mut params = Vec::new();
        for (i, name) in names.iter().enumerate() {
            if wanted.parameters.contains(*name) {
                params.push((i, (*name).to_owned()));
            } else if let Some(bare) = PREFIXES.iter().find_map(|p| name.strip_prefix(p)) {
                params.push((i, bare.to_owned()));
            }
        }
        let prefixed = params
            .iter()
            .any(|(i, name)| names.get(*i) != Some(&name.as_str()));
        let (metric, asked) = wanted.metric();
        let named = METRICS.iter().find_map(|prefix| {
            let full = format!("{prefix}{metric}");
            names.iter().position(|name| *name == full)
        });
        // In tables of `hpo` and Optuna the objective is the column `value`.
        let usual = || find(&["value", "values_0"]).filter(|_| prefixed && !asked);
        let Some(value) = named.or_else(usual) else {
            return Err(
                ImportError::new(format!("{shown}:1: there is no column `{metric}`")).hint(
                    format!(
                        "--metric names the metric's column: {}",
                        some(names.iter().copied())
                    ),
                ),
            );
        };
        params.retain(|(i, _)| *i != value);
        if params.is_empty() {
            let wish = some(wanted.parameters.iter().map(String::as_str));
            return Err(ImportError::new(format!(
                "{shown}:1: no column is a parameter of the study ({wish})"
            ))
            .hint(format!(
                "--map COLUMN=PARAMETER says which is which; the columns are {}",
                some(names.iter().copied())
            )));
        }
        Ok(Self {
            value: (
                value,
                names.get(value).copied().unwrap_or_default().to_owned(),
            ),
            params,
            state: find(&["state", "status"]),
            reason: find(&["reason"]),
            steps: find(&["steps"]),
        })
    }

    fn row(&self, shown: &str, line: u64, record: &csv::StringRecord) -> Result<Row, ImportError> {
        let cell = |i: usize| record.get(i).filter(|text| !text.is_empty());
        let at = |column: &str| format!("{shown}:{line}: column `{column}`");
        let (value, name) = &self.value;
        let value = match cell(*value) {
            None => None,
            Some(text) => Some(number(text).ok_or_else(|| {
                ImportError::new(format!("{}: `{text}` is not a number", at(name)))
                    .hint("leave it empty where there is none, and write nan for one that is not a number")
            })?),
        };
        let steps = match self.steps.and_then(cell) {
            None => None,
            Some(text) => Some(whole(text).ok_or_else(|| {
                ImportError::new(format!("{}: `{text}` is not a whole number", at("steps")))
            })?),
        };
        let params = self
            .params
            .iter()
            .filter_map(|(i, name)| Some((name.clone(), control::value(cell(*i)?))));
        let (state, reason) = (self.state.and_then(cell), self.reason.and_then(cell));
        let end = states::read(&at("state"), state.unwrap_or(""), reason, value.is_some())?;
        Ok(Row {
            name: format!("line {line}"),
            params: params.collect::<BTreeMap<_, _>>(),
            end,
            value,
            curve: steps.zip(value).into_iter().collect(),
        })
    }
}

/// A number as tables have it: `nan`, `inf` and `-Infinity` are some, too.
fn number(text: &str) -> Option<f64> {
    text.parse().ok()
}

fn whole(text: &str) -> Option<u64> {
    let number = number(text).filter(|x| x.fract() == 0.0 && (0.0..9e15).contains(x))?;
    Some(number as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hpo_study::Value;
    use hpo_study::import::RowEnd;

    fn wanted() -> Wanted {
        Wanted {
            objective: "val_loss".to_owned(),
            parameters: ["lr", "optimizer", "batch.size"].map(str::to_owned).into(),
            ..Wanted::default()
        }
    }

    fn rows(text: &str) -> Vec<Row> {
        read(Path::new("t.csv"), text, &wanted()).unwrap().rows
    }

    fn wrong(text: &str) -> String {
        let error = read(Path::new("t.csv"), text, &wanted()).unwrap_err();
        format!("{error}; {}", error.hint.clone().unwrap_or_default())
    }

    #[test]
    fn a_plain_table_has_parameters_and_the_metric() {
        let found =
            rows("lr,optimizer,val_loss,note\n1e-3,adam,0.5,x\n0.1,sgd,nan,\"a, b\"\n0.2,sgd,,\n");
        assert_eq!(found[0].params["lr"], Value::Float(1e-3));
        assert_eq!(found[0].params["optimizer"], "adam".into());
        assert_eq!(
            (found[0].value, found[0].end),
            (Some(0.5), RowEnd::Completed)
        );
        assert!(!found[0].params.contains_key("note"));
        assert!(found[1].value.unwrap().is_nan());
        assert_eq!(found[2].end, RowEnd::Unfinished);
        assert_eq!(found[1].name, "line 3");
        let german = rows("lr;optimizer;val_loss\r\n0.1;sgd;0.2\r\n");
        assert_eq!(german[0].value, Some(0.2));
    }

    #[test]
    fn tables_of_other_programs_are_understood() {
        let ours = rows(
            "trial,state,reason,params.lr,params.momentum,value,steps,metrics.acc\n\
                         0,completed,,0.1,0.9,0.5,9,1\n1,stopped,diverged,1,,,3,\n2,stopped,pruned,0.2,,0.7,3,1\n",
        );
        assert_eq!(ours[0].params["momentum"], Value::Float(0.9));
        assert_eq!(
            (ours[0].value, ours[0].curve.clone()),
            (Some(0.5), vec![(9, 0.5)])
        );
        assert_eq!(
            (ours[1].end, ours[2].end),
            (RowEnd::Infeasible, RowEnd::Stopped)
        );
        assert!(!ours[1].params.contains_key("momentum"));
        let optuna =
            rows("number,value,datetime_start,params_lr,state\n0,0.25,2026-01-01,0.1,COMPLETE\n");
        assert_eq!((optuna[0].value, optuna[0].params.len()), (Some(0.25), 1));
        let wandb =
            rows("Name,State,config.lr,config.batch.size,summary.val_loss\nrun,crashed,0.1,64,\n");
        assert_eq!(
            (wandb[0].end, &wandb[0].params["batch.size"]),
            (RowEnd::Infeasible, &Value::Int(64))
        );
        let ray = rows("val_loss,training_iteration,config/lr\n0.5,9,0.1\n");
        assert_eq!(ray[0].params["lr"], Value::Float(0.1));
    }

    #[test]
    fn mistakes_have_their_line_and_column() {
        assert!(
            wrong("lr,loss\n0.1,2\n")
                .contains("t.csv:1: there is no column `val_loss`; --metric names")
        );
        assert!(wrong("a,val_loss\n0.1,2\n").contains("no column is a parameter"));
        assert!(
            wrong("lr,val_loss\n0.1,2\n0.2,low\n")
                .contains("t.csv:3: column `val_loss`: `low` is not a number")
        );
        assert!(wrong("lr,val_loss\n0.1,2\n0.2\n").contains("t.csv:3: the line has 1 column,"));
        assert!(
            wrong("lr,val_loss,state\n0.1,2,purple\n")
                .contains("column `state`: the state `purple` is not known")
        );
        assert!(wrong("lr,lr,val_loss\n0.1,2,3\n").contains("column 2 is called `lr`"));
        assert!(wrong("").contains("there is no column"));
    }
}
