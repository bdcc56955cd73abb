//! An Optuna study in an SQLite database (`RDBStorage`), as versions 2.4 to 5.0 write it.
//!
//! Values of parameters are stored as numbers, with a distribution that says what they mean: the index of a choice, a
//! whole number, a float. Steps that begin with 0 become steps that begin with 1, as `hpo` counts them.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use hpo_study::import::{Row, RowEnd, Rows};
use hpo_study::{Goal, Value};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value as Json;

use crate::{ImportError, Wanted, some, states};

pub(crate) fn read(path: &Path, wanted: &Wanted) -> Result<Rows, ImportError> {
    let connection = open(path).map_err(|error| broken(path, &error))?;
    let found = Database {
        connection: &connection,
        path,
    };
    if !found.has("studies", "study_name")? || !found.has("trial_params", "distribution_json")? {
        return Err(
            ImportError::new(format!("{} is no database of Optuna", path.display())).hint(
                "SQLite databases that are understood are Optuna's, and a study's `study.db`",
            ),
        );
    }
    let (study, name) = found.study(wanted)?;
    let (objective, goal) = found.objective(study, &name, wanted)?;
    Ok(Rows {
        source: format!("the Optuna study `{name}` in {}", path.display()),
        goal,
        horizon: None,
        rows: found.rows(study, objective)?,
    })
}

/// Opens the file for reading only; one whose log cannot be joined because nothing can be written is read as it lies.
fn open(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let look = |connection: Connection| {
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Ok(connection)
    };
    Connection::open_with_flags(path, flags)
        .and_then(look)
        .or_else(|first| {
            let text = path.to_str().ok_or(first)?;
            let text = text
                .replace('%', "%25")
                .replace('?', "%3f")
                .replace('#', "%23");
            let flags = flags | OpenFlags::SQLITE_OPEN_URI;
            Connection::open_with_flags(format!("file:{text}?immutable=1"), flags).and_then(look)
        })
}

fn broken(path: &Path, error: &rusqlite::Error) -> ImportError {
    ImportError::new(format!("{} cannot be read: {error}", path.display()))
}

struct Database<'a> {
    connection: &'a Connection,
    path: &'a Path,
}

impl Database<'_> {
    /// All rows of a query as the caller reads them.
    fn all<T>(
        &self,
        query: &str,
        parameters: impl rusqlite::Params,
        read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, ImportError> {
        let run = || {
            let mut statement = self.connection.prepare(query)?;
            let rows = statement.query_map(parameters, read)?;
            rows.collect::<rusqlite::Result<Vec<T>>>()
        };
        run().map_err(|error| broken(self.path, &error))
    }

    /// Whether there is a table with this column.
    fn has(&self, table: &str, column: &str) -> Result<bool, ImportError> {
        let query = "SELECT count(*) FROM pragma_table_info(?1) WHERE name = ?2";
        let counts = self.all(query, [table, column], |row| row.get::<_, i64>(0))?;
        Ok(counts.first() == Some(&1))
    }

    fn study(&self, wanted: &Wanted) -> Result<(i64, String), ImportError> {
        let query = "SELECT study_id, study_name FROM studies ORDER BY study_id";
        let mut studies = self.all(query, [], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))?;
        let shown = self.path.display();
        let names = some(studies.iter().map(|(_, name)| name.as_str()));
        match &wanted.study_name {
            Some(wish) => match studies.into_iter().find(|(_, name)| name == wish) {
                Some(study) => Ok(study),
                None => Err(
                    ImportError::new(format!("there is no study `{wish}` in {shown}"))
                        .hint(format!("there are: {names}")),
                ),
            },
            None if studies.len() == 1 => Ok(studies.remove(0)),
            None if studies.is_empty() => {
                Err(ImportError::new(format!("there is no study in {shown}")))
            }
            None => Err(
                ImportError::new(format!("{shown} holds {} studies", studies.len()))
                    .hint(format!("say which with --study-name: {names}")),
            ),
        }
    }

    /// Which objective of a study is the metric, and which way is better.
    fn objective(
        &self,
        study: i64,
        name: &str,
        wanted: &Wanted,
    ) -> Result<(i64, Option<Goal>), ImportError> {
        let directions = match self.has("study_directions", "objective")? {
            true => {
                let query =
                    "SELECT direction FROM study_directions WHERE study_id = ?1 ORDER BY objective";
                self.all(query, [study], |row| row.get::<_, String>(0))?
            }
            false => Vec::new(),
        };
        let names = self.metric_names(study)?;
        let goal = |index: usize| match directions.get(index).map(String::as_str) {
            Some("MINIMIZE") => Some(Goal::Minimize),
            Some("MAXIMIZE") => Some(Goal::Maximize),
            _ => None,
        };
        let (metric, asked) = wanted.metric();
        let named = names.iter().position(|n| n == metric);
        let numbered = metric
            .parse()
            .ok()
            .filter(|i: &usize| asked && *i < directions.len());
        if let Some(index) = named.or(numbered) {
            return Ok((i64::try_from(index).unwrap_or(0), goal(index)));
        }
        let several = directions.len() > 1;
        if several || (asked && !names.is_empty()) {
            let count = directions.len();
            let known = match names.is_empty() {
                true => format!(
                    "they are numbered 0 to {}: --metric 0",
                    count.saturating_sub(1)
                ),
                false => format!(
                    "--metric names one of {}",
                    some(names.iter().map(String::as_str))
                ),
            };
            return Err(ImportError::new(format!(
                "the Optuna study `{name}` has {count} objective{}, and none is called `{metric}`",
                if several { "s" } else { "" }
            ))
            .hint(known));
        }
        Ok((0, goal(0)))
    }

    fn metric_names(&self, study: i64) -> Result<Vec<String>, ImportError> {
        if !self.has("study_system_attributes", "value_json")? {
            return Ok(Vec::new());
        }
        let query = "SELECT value_json FROM study_system_attributes \
                     WHERE study_id = ?1 AND key = 'study:metric_names'";
        let found = self.all(query, [study], |row| row.get::<_, String>(0))?;
        Ok(found
            .first()
            .and_then(|json| serde_json::from_str(json).ok())
            .unwrap_or_default())
    }

    fn rows(&self, study: i64, objective: i64) -> Result<Vec<Row>, ImportError> {
        let mut params = self.params(study)?;
        let mut curves = self.curves(study)?;
        let values = self.values(study, objective)?;
        let query =
            "SELECT trial_id, number, state FROM trials WHERE study_id = ?1 ORDER BY number";
        let trials = self.all(query, [study], |row| {
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, i64>(1)?,
                row.get::<_, String>(2)?,
            ))
        })?;
        let row = |(id, number, state): (i64, i64, String)| {
            let curve = counted_from_one(curves.remove(&id).unwrap_or_default());
            let end = states::end(&state, None).unwrap_or(RowEnd::Unfinished);
            let last = curve.last().map(|(_, value)| *value);
            Row {
                name: format!("trial {number}"),
                params: params.remove(&id).unwrap_or_default(),
                end,
                // The value of a trial that was pruned is what it reported last.
                value: match end {
                    RowEnd::Stopped => last,
                    _ => values.get(&id).copied(),
                },
                curve,
            }
        };
        Ok(trials.into_iter().map(row).collect())
    }

    fn params(&self, study: i64) -> Result<HashMap<i64, BTreeMap<String, Value>>, ImportError> {
        let query = "SELECT p.trial_id, p.param_name, p.param_value, p.distribution_json \
                     FROM trial_params p JOIN trials t USING (trial_id) WHERE t.study_id = ?1";
        let rows = self.all(query, [study], |row| {
            let stored: Option<f64> = row.get(2)?;
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, String>(1)?,
                stored,
                row.get::<_, String>(3)?,
            ))
        })?;
        let mut distributions: HashMap<String, Json> = HashMap::new();
        let mut params: HashMap<i64, BTreeMap<String, Value>> = HashMap::new();
        for (trial, name, stored, text) in rows {
            let distribution = distributions
                .entry(text)
                .or_insert_with_key(|text| serde_json::from_str(text).unwrap_or(Json::Null));
            let value = stored.and_then(|stored| meant(stored, distribution));
            let value = value.ok_or_else(|| {
                ImportError::new(format!(
                    "{}: the value of `{name}` in a trial has a distribution that is not understood: {distribution}",
                    self.path.display()
                ))
            })?;
            params.entry(trial).or_default().insert(name, value);
        }
        Ok(params)
    }

    fn values(&self, study: i64, objective: i64) -> Result<HashMap<i64, f64>, ImportError> {
        let kind = match self.has("trial_values", "value_type")? {
            true => "v.value_type",
            false => "'FINITE'",
        };
        let query = format!(
            "SELECT v.trial_id, v.value, {kind} FROM trial_values v JOIN trials t USING (trial_id) \
             WHERE t.study_id = ?1 AND v.objective = ?2"
        );
        let read = |row: &rusqlite::Row<'_>| {
            Ok((row.get(0)?, number(row.get(1)?, &row.get::<_, String>(2)?)))
        };
        Ok(self
            .all(&query, [study, objective], read)?
            .into_iter()
            .collect())
    }

    fn curves(&self, study: i64) -> Result<HashMap<i64, Vec<(i64, f64)>>, ImportError> {
        let kind = match self.has("trial_intermediate_values", "intermediate_value_type")? {
            true => "v.intermediate_value_type",
            false => "'FINITE'",
        };
        let query = format!(
            "SELECT v.trial_id, v.step, v.intermediate_value, {kind} \
             FROM trial_intermediate_values v JOIN trials t USING (trial_id) \
             WHERE t.study_id = ?1 ORDER BY v.trial_id, v.step"
        );
        let rows = self.all(&query, [study], |row| {
            let value = number(row.get(2)?, &row.get::<_, String>(3)?);
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, value))
        })?;
        let mut curves: HashMap<i64, Vec<(i64, f64)>> = HashMap::new();
        for (trial, step, value) in rows {
            curves.entry(trial).or_default().push((step, value));
        }
        Ok(curves)
    }
}

/// A number as Optuna stores those that SQL does not have.
fn number(stored: Option<f64>, kind: &str) -> f64 {
    match (kind, stored) {
        ("INF_POS", _) => f64::INFINITY,
        ("INF_NEG", _) => f64::NEG_INFINITY,
        ("FINITE", Some(stored)) => stored,
        _ => f64::NAN,
    }
}

/// The value that a stored number means.
fn meant(stored: f64, distribution: &Json) -> Option<Value> {
    let kind = distribution.get("name")?.as_str()?;
    let attributes = distribution.get("attributes")?;
    match kind {
        "FloatDistribution"
        | "UniformDistribution"
        | "LogUniformDistribution"
        | "DiscreteUniformDistribution" => Some(Value::Float(stored)),
        "IntDistribution" | "IntUniformDistribution" | "IntLogUniformDistribution" => {
            Value::Float(stored.round()).as_i64().map(Value::Int)
        }
        "CategoricalDistribution" => {
            let choices = attributes.get("choices")?.as_array()?;
            let index = Value::Float(stored).as_i64()?;
            let choice = choices.get(usize::try_from(index).ok()?)?;
            serde_json::from_value(choice.clone()).ok()
        }
        _ => None,
    }
}

/// Steps from 1. Negative ones, which nobody means, are left out.
fn counted_from_one(curve: Vec<(i64, f64)>) -> Vec<(u64, f64)> {
    let shift = u64::from(curve.iter().any(|(step, _)| *step == 0));
    let steps = curve.into_iter();
    let steps = steps.filter_map(|(step, value)| Some((u64::try_from(step).ok()?, value)));
    steps
        .map(|(step, value)| (step.saturating_add(shift), value))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn stored_numbers_mean_what_their_distribution_says() {
        let categorical = json!({"name": "CategoricalDistribution",
                                 "attributes": {"choices": ["sgd", 3, null, true]}});
        let of = |i: f64| meant(i, &categorical);
        assert_eq!(of(0.0), Some("sgd".into()));
        assert_eq!(
            [of(1.0), of(2.0), of(3.0)],
            [
                Some(Value::Int(3)),
                Some(Value::Null),
                Some(Value::Bool(true))
            ]
        );
        assert_eq!((of(4.0), of(-1.0), of(0.5)), (None, None, None));
        let whole =
            json!({"name": "IntLogUniformDistribution", "attributes": {"low": 1, "high": 9}});
        assert_eq!(meant(7.0, &whole), Some(Value::Int(7)));
        assert_eq!(
            meant(7.0, &json!({"name": "Strange", "attributes": {}})),
            None
        );
        assert_eq!(meant(7.0, &Json::Null), None);
    }

    /// The tables as Optuna 2.4 made them: no types of values, other names of distributions.
    #[test]
    fn older_databases_are_understood() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("2.db");
        let connection = Connection::open(&path).unwrap();
        let tables = r#"
            CREATE TABLE studies (study_id INTEGER PRIMARY KEY, study_name TEXT);
            CREATE TABLE study_directions (study_direction_id INTEGER, direction TEXT, study_id INTEGER, objective INTEGER);
            CREATE TABLE trials (trial_id INTEGER PRIMARY KEY, number INTEGER, study_id INTEGER, state TEXT);
            CREATE TABLE trial_params (param_id INTEGER, trial_id INTEGER, param_name TEXT, param_value REAL, distribution_json TEXT);
            CREATE TABLE trial_values (trial_value_id INTEGER, trial_id INTEGER, objective INTEGER, value REAL);
            CREATE TABLE trial_intermediate_values (trial_intermediate_value_id INTEGER, trial_id INTEGER, step INTEGER, intermediate_value REAL);
            INSERT INTO studies VALUES (4, 'old');
            INSERT INTO study_directions VALUES (1, 'MAXIMIZE', 4, 0);
            INSERT INTO trials VALUES (9, 0, 4, 'COMPLETE');
            INSERT INTO trial_params VALUES (1, 9, 'lr', 0.5, '{"name": "LogUniformDistribution", "attributes": {"low": 0.1, "high": 1.0}}');
            INSERT INTO trial_params VALUES (2, 9, 'opt', 1.0, '{"name": "CategoricalDistribution", "attributes": {"choices": ["a", "b"]}}');
            INSERT INTO trial_values VALUES (1, 9, 0, 0.75);
            INSERT INTO trial_intermediate_values VALUES (1, 9, 5, 0.5);"#;
        connection.execute_batch(tables).unwrap();
        drop(connection);
        let found = read(&path, &Wanted::default()).unwrap();
        assert_eq!(found.goal, Some(Goal::Maximize));
        let row = &found.rows[0];
        assert_eq!((row.value, row.curve.clone()), (Some(0.75), vec![(5, 0.5)]));
        assert_eq!(row.params["opt"], "b".into());
        let connection = Connection::open(&path).unwrap();
        connection
            .execute_batch("UPDATE trial_params SET distribution_json = 'no'")
            .unwrap();
        assert!(
            read(&path, &Wanted::default())
                .unwrap_err()
                .to_string()
                .contains("not understood")
        );
        connection.execute_batch("DROP TABLE studies").unwrap();
        assert!(
            read(&path, &Wanted::default())
                .unwrap_err()
                .to_string()
                .contains("no database of Optuna")
        );
    }

    #[test]
    fn numbers_that_are_none_and_steps_from_zero() {
        assert!(number(None, "NAN").is_nan() && number(Some(0.0), "NAN").is_nan());
        assert_eq!(number(Some(0.0), "INF_NEG"), f64::NEG_INFINITY);
        assert_eq!(
            counted_from_one(vec![(0, 1.0), (1, 0.5)]),
            [(1, 1.0), (2, 0.5)]
        );
        assert_eq!(counted_from_one(vec![(-1, 9.0), (5, 1.0)]), [(5, 1.0)]);
    }
}
