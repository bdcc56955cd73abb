//! The timeline of GPU memory: beside the log, not a part of it. Nothing is decided by it, so it may have gaps
//! and is thinned when it grows long.

use std::path::Path;

use hpo_study::{GpuSample, Timestamp, TrialShare};
use rusqlite::{Connection, params};

use crate::error::StoreError;

/// At most so many rows are kept of one GPU; then every second one of the older half goes.
pub const MOST_SAMPLES: u32 = 50_000;

/// The tables; made anew in older databases too.
pub(crate) const TABLES: &str = "
CREATE TABLE IF NOT EXISTS gpus (
  gpu TEXT PRIMARY KEY,
  number INTEGER NOT NULL,
  name TEXT NOT NULL,
  total INTEGER
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS gpu_samples (
  id INTEGER PRIMARY KEY,
  at INTEGER NOT NULL,
  gpu TEXT NOT NULL,
  lost TEXT,
  memory_limit INTEGER,
  used INTEGER,
  trials TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS gpu_samples_by_gpu ON gpu_samples (gpu, id);
";

/// What people read.
pub(crate) const VIEWS: &str = "
CREATE VIEW gpu_memory AS
WITH summed AS (
  SELECT s.*, coalesce(sum(json_extract(t.value, '$.reserved')), 0) AS reserved,
         CASE WHEN count(t.value) = count(json_extract(t.value, '$.used'))
              THEN coalesce(sum(json_extract(t.value, '$.used')), 0) END AS ours
    FROM gpu_samples s LEFT JOIN json_each(s.trials) t GROUP BY s.id
)
SELECT strftime('%Y-%m-%dT%H:%M:%fZ', s.at / 1000.0, 'unixepoch') AS at,
       s.gpu, g.number, g.name, g.total, s.memory_limit, s.used, s.reserved, s.ours,
       max(s.used - s.ours, 0) AS others,
       json_array_length(s.trials) AS trials, s.lost
  FROM summed s LEFT JOIN gpus g USING (gpu) ORDER BY s.id;

CREATE VIEW gpu_memory_trials AS
SELECT strftime('%Y-%m-%dT%H:%M:%fZ', s.at / 1000.0, 'unixepoch') AS at, s.gpu,
       json_extract(t.value, '$.trial') AS trial, json_extract(t.value, '$.attempt') AS attempt,
       json_extract(t.value, '$.reserved') AS reserved, json_extract(t.value, '$.used') AS used
  FROM gpu_samples s, json_each(s.trials) t ORDER BY s.id, trial;
";

/// Adds samples, and thins what has grown too long.
pub(crate) fn add(connection: &Connection, samples: &[GpuSample]) -> rusqlite::Result<()> {
    let mut known = connection.prepare_cached(
        "INSERT INTO gpus VALUES (?1, ?2, ?3, ?4) ON CONFLICT (gpu) DO UPDATE
           SET number = excluded.number, name = excluded.name, total = coalesce(excluded.total, total)
         WHERE (number, name) IS NOT (excluded.number, excluded.name) OR total IS NOT excluded.total",
    )?;
    let mut add = connection.prepare_cached(
        "INSERT INTO gpu_samples (at, gpu, lost, memory_limit, used, trials)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for sample in samples {
        let bytes = |bytes: Option<u64>| bytes.map(|b| i64::try_from(b).unwrap_or(i64::MAX));
        let trials = serde_json::to_string(&sample.trials)
            .map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))?;
        let total = bytes(sample.total);
        known.execute(params![sample.gpu, sample.index, sample.name, total])?;
        add.execute(params![
            sample.at.0.cast_signed(),
            sample.gpu,
            sample.lost,
            bytes(sample.limit),
            bytes(sample.used),
            trials
        ])?;
    }
    thin(connection, samples, MOST_SAMPLES)
}

fn thin(connection: &Connection, samples: &[GpuSample], most: u32) -> rusqlite::Result<()> {
    let mut gpus: Vec<&str> = samples.iter().map(|s| s.gpu.as_str()).collect();
    gpus.sort_unstable();
    gpus.dedup();
    for gpu in gpus {
        let count: u32 = connection
            .prepare_cached("SELECT count(*) FROM gpu_samples WHERE gpu = ?1")?
            .query_row([gpu], |row| row.get(0))?;
        if count > most {
            connection.execute(
                "DELETE FROM gpu_samples WHERE id IN (
                   SELECT id FROM (
                     SELECT id, row_number() OVER (ORDER BY id) AS row FROM gpu_samples WHERE gpu = ?1
                   ) WHERE row <= ?2 / 2 AND row % 2 = 0)",
                params![gpu, count],
            )?;
        }
    }
    Ok(())
}

/// Reads all samples, oldest first; of a database that has no such table, none.
pub(crate) fn read(connection: &Connection, last_only: bool) -> Result<Vec<GpuSample>, ReadError> {
    let there: bool = connection.query_row(
        "SELECT count(*) > 0 FROM sqlite_schema WHERE name = 'gpu_samples'",
        [],
        |row| row.get(0),
    )?;
    if !there {
        return Ok(Vec::new());
    }
    let which = if last_only {
        "WHERE s.id IN (SELECT max(id) FROM gpu_samples GROUP BY gpu)"
    } else {
        ""
    };
    let mut select = connection.prepare(&format!(
        "SELECT s.at, s.gpu, g.number, g.name, s.lost, g.total, s.memory_limit, s.used, s.trials
           FROM gpu_samples s LEFT JOIN gpus g USING (gpu) {which} ORDER BY s.id"
    ))?;
    let rows = select.query_and_then([], |row| {
        let bytes = |i| -> rusqlite::Result<Option<u64>> {
            let bytes: Option<i64> = row.get(i)?;
            Ok(bytes.and_then(|bytes| u64::try_from(bytes).ok()))
        };
        let trials: String = row.get(8)?;
        let trials: Vec<TrialShare> = serde_json::from_str(&trials)?;
        Ok(GpuSample {
            at: Timestamp(row.get::<_, i64>(0)?.cast_unsigned()),
            gpu: row.get(1)?,
            index: row.get::<_, Option<u32>>(2)?.unwrap_or(0),
            name: row.get::<_, Option<String>>(3)?.unwrap_or_default(),
            lost: row.get(4)?,
            total: bytes(5)?,
            limit: bytes(6)?,
            used: bytes(7)?,
            trials,
        })
    })?;
    rows.collect()
}

/// Why samples could not be read.
pub(crate) enum ReadError {
    Sqlite(rusqlite::Error),
    Json(serde_json::Error),
}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<serde_json::Error> for ReadError {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(error)
    }
}

impl ReadError {
    pub(crate) fn at(self, path: &Path) -> StoreError {
        match self {
            Self::Sqlite(error) => StoreError::sqlite(path, error),
            Self::Json(error) => StoreError::Damaged {
                path: path.to_owned(),
                detail: format!("a sample of GPU memory cannot be read: {error}"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use hpo_study::{AttemptNumber, TrialId};

    use super::*;

    fn sample(at: u64, used: u64, trials: &[(u32, u64, Option<u64>)]) -> GpuSample {
        let share = |(trial, reserved, used): &(u32, u64, Option<u64>)| TrialShare {
            trial: TrialId(*trial),
            attempt: AttemptNumber(1),
            reserved: *reserved,
            used: *used,
        };
        GpuSample {
            at: Timestamp(at),
            gpu: "GPU-1".to_owned(),
            index: 0,
            name: "a card".to_owned(),
            lost: None,
            total: Some(1000),
            limit: Some(900),
            used: Some(used),
            trials: trials.iter().map(share).collect(),
        }
    }

    fn database() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(TABLES).unwrap();
        connection.execute_batch(VIEWS).unwrap();
        connection
    }

    #[test]
    fn samples_come_back_and_the_view_agrees() {
        let connection = database();
        let samples = [
            sample(1000, 100, &[]),
            sample(2000, 700, &[(3, 300, Some(250)), (4, 400, Some(350))]),
            sample(3000, 800, &[(3, 300, None)]),
        ];
        add(&connection, &samples).unwrap();
        let Ok(back) = read(&connection, false) else {
            panic!("unreadable")
        };
        assert_eq!(back, samples);
        let Ok(last) = read(&connection, true) else {
            panic!("unreadable")
        };
        assert_eq!(last, samples[2..]);
        let mut rows = connection
            .prepare("SELECT reserved, ours, others, trials FROM gpu_memory")
            .unwrap();
        type Row = (i64, Option<i64>, Option<i64>, u32);
        let rows: Vec<Row> = rows
            .query_map([], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })
            .unwrap()
            .map(Result::unwrap)
            .collect();
        for (row, sample) in rows.iter().zip(&samples) {
            let trials = u32::try_from(sample.trials.len()).unwrap();
            let bytes = |bytes: u64| i64::try_from(bytes).unwrap();
            let (ours, others) = (sample.ours().map(bytes), sample.others().map(bytes));
            assert_eq!(*row, (bytes(sample.reserved()), ours, others, trials));
        }
        let trials: u32 = connection
            .query_row("SELECT count(*) FROM gpu_memory_trials", [], |r| r.get(0))
            .unwrap();
        assert_eq!(trials, 3);
    }

    #[test]
    fn a_long_timeline_is_thinned_in_its_older_half() {
        let connection = database();
        let samples: Vec<GpuSample> = (0..100).map(|i| sample(i, i, &[])).collect();
        add(&connection, &samples).unwrap();
        thin(&connection, &samples, 99).unwrap();
        let Ok(back) = read(&connection, false) else {
            panic!("unreadable")
        };
        let times: Vec<u64> = back.iter().map(|s| s.at.0).collect();
        let expected: Vec<u64> = (0..50).step_by(2).chain(50..100).collect();
        assert_eq!(times, expected);
    }

    #[test]
    fn an_older_database_has_no_samples() {
        let connection = Connection::open_in_memory().unwrap();
        assert!(read(&connection, false).is_ok_and(|samples| samples.is_empty()));
    }
}
