//! The tables and views of a study database, and the marks that tell its format.
//!
//! This program brings its own SQLite, but people open the file with theirs, and the systems that many have come with
//! one of 2021 (3.37). What a later one brought stays out of here: `->>` (3.38) makes the whole file unreadable there, and
//! of a `strftime` format that it does not know (`%F`, `%T`: 3.44) it silently makes NULL.

use std::path::Path;

use rusqlite::Connection;

use crate::error::StoreError;
use crate::samples;

/// The newest format of the study database that this program writes and reads: 2 has findings and
/// rescues among the events, 3 what is known of memory and what users asked for. Older ones are
/// brought up to it when they are written to.
pub const FORMAT: u32 = 3;

/// SQLite's `application_id`: "hpo" and a zero byte, so that `file` and other tools can tell.
const APPLICATION_ID: i32 = 0x6870_6f00;

/// `events` and `reports` share one numbering: together, ordered by `seq`, they are the log. Reports
/// have their own table because there are many of them. The other columns of `events` are made from
/// `body` by SQLite, so they cannot say anything else than it does.
const TABLES: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE events (
  seq INTEGER PRIMARY KEY,
  at INTEGER NOT NULL,
  event TEXT NOT NULL GENERATED ALWAYS AS (json_extract(body, '$.event')) STORED,
  trial INTEGER GENERATED ALWAYS AS (json_extract(body, '$.trial')) STORED,
  attempt INTEGER GENERATED ALWAYS AS (json_extract(body, '$.attempt')) STORED,
  body TEXT NOT NULL
) STRICT;
CREATE INDEX events_by_trial ON events (trial, event, attempt);
CREATE TABLE reports (
  seq INTEGER PRIMARY KEY,
  at INTEGER NOT NULL,
  trial INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  step INTEGER NOT NULL,
  metrics TEXT NOT NULL
) STRICT;
CREATE INDEX reports_by_trial ON reports (trial);
";

/// What people read. Documented in `docs/database.md`; tested against `History`.
const VIEWS: &str = "
CREATE VIEW study AS
SELECT json_extract(body, '$.spec.name') AS name,
       json_extract(body, '$.spec.metric.name') AS metric,
       json_extract(body, '$.spec.metric.goal') AS goal,
       (SELECT strftime('%Y-%m-%dT%H:%M:%fZ', min(at) / 1000.0, 'unixepoch')
          FROM events WHERE event = 'study_opened') AS opened,
       (SELECT count(*) FROM events WHERE event = 'session_started') AS sessions,
       (SELECT json_extract(e.body, '$.end.why') FROM events e
         WHERE e.event IN ('study_ended', 'session_started') ORDER BY e.seq DESC LIMIT 1) AS ended
  FROM events WHERE event IN ('study_opened', 'spec_changed') ORDER BY seq DESC LIMIT 1;

CREATE VIEW valid_reports AS
WITH unfenced AS (
  SELECT r.*, (SELECT count(*) FROM events e
                WHERE e.trial = r.trial AND e.event = 'trial_rescued' AND e.seq < r.seq) AS rescues
    FROM reports r
   WHERE NOT EXISTS (
     SELECT 1 FROM events e
      WHERE e.trial = r.trial AND e.seq < r.seq
        AND (e.event = 'attempt_launching' AND e.attempt > r.attempt
             OR e.event = 'attempt_ended' AND e.attempt = r.attempt))
), rows AS (
  SELECT *, lag(step) OVER said IS NOT step OR lag(rescues) OVER said IS NOT rescues AS new_row
    FROM unfenced WINDOW said AS (PARTITION BY trial ORDER BY seq)
), numbered AS (
  SELECT *, sum(new_row) OVER (PARTITION BY trial ORDER BY seq) AS line FROM rows
)
SELECT seq, at, trial, attempt, step, metrics FROM (
  SELECT *, min(step) OVER (
           PARTITION BY trial ORDER BY line DESC GROUPS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
         ) AS step_later
    FROM numbered
) AS r WHERE (step_later IS NULL OR step_later > step)
   AND NOT EXISTS (
     SELECT 1 FROM events e
      WHERE e.trial = r.trial AND e.seq > r.seq AND e.event = 'trial_rescued'
        AND r.step > (json_extract(e.body, '$.rescue.healthy_step')));

CREATE VIEW metrics AS
SELECT trial, attempt, step, name,
       CASE value WHEN 'NaN' THEN NULL WHEN 'Infinity' THEN 9e999 WHEN '-Infinity' THEN -9e999
            ELSE value END AS value,
       strftime('%Y-%m-%dT%H:%M:%fZ', at / 1000.0, 'unixepoch') AS at
  FROM (
    SELECT r.trial, r.attempt, r.step, m.key AS name, m.value AS value, r.at, max(r.seq)
      FROM valid_reports r, json_each(r.metrics) m
     GROUP BY r.trial, r.step, m.key
  );

CREATE VIEW last_values AS
-- Of every run the last step, and the last it said of the objective: `measured` is the report that has it.
WITH objective AS MATERIALIZED (
  SELECT metric, json_quote(metric) || ':' AS key FROM study
), curve AS MATERIALIZED (
  -- In JSON a quote after a brace or a comma begins a key: within a text it stands behind a backslash.
  SELECT trial, max(step) AS step,
         max(seq) FILTER (WHERE instr(metrics, '{' || (SELECT key FROM objective))
                             OR instr(metrics, ',' || (SELECT key FROM objective))) AS measured
    FROM valid_reports GROUP BY trial
)
SELECT c.trial, c.step, c.measured,
       CASE m.value WHEN 'NaN' THEN NULL WHEN 'Infinity' THEN 9e999 WHEN '-Infinity' THEN -9e999
            ELSE m.value END AS value
  FROM curve c
  LEFT JOIN reports r ON r.seq = c.measured
  LEFT JOIN json_each(r.metrics) m ON m.key = (SELECT metric FROM objective);

CREATE VIEW repeats AS
SELECT b.trial - 1000000000 AS run, json_extract(b.body, '$.repeats') AS trial,
       coalesce((SELECT CASE e.event WHEN 'trial_completed' THEN 'completed'
                                     WHEN 'trial_stopped' THEN 'stopped' ELSE 'failed' END
          FROM events e WHERE e.trial = b.trial
           AND e.event IN ('trial_completed', 'trial_stopped', 'trial_failed')
         ORDER BY e.seq DESC LIMIT 1), 'running') AS state,
       l.value
  FROM events b LEFT JOIN last_values l ON l.trial = b.trial
 WHERE b.event = 'repeat_suggested' ORDER BY b.trial;

CREATE VIEW imports AS
SELECT row_number() OVER (ORDER BY seq) - 1 AS batch, json_extract(body, '$.batch.source') AS source,
       json_extract(body, '$.batch.used') AS used,
       strftime('%Y-%m-%dT%H:%M:%fZ', at / 1000.0, 'unixepoch') AS at
  FROM events WHERE event = 'trials_imported';

CREATE VIEW trials AS
WITH standing AS (
  SELECT trial,
         max(seq) FILTER (WHERE event NOT IN
           ('attempt_started', 'attempt_ended', 'stop_requested', 'found', 'trial_waiting',
            'memory_measured', 'user_request', 'trial_imported')) AS newest,
         max(attempt) FILTER (WHERE event = 'attempt_launching') AS attempts,
         min(at) FILTER (WHERE event = 'attempt_started') AS started,
         count(*) FILTER (WHERE event = 'trial_rescued') AS rescues,
         max(seq) FILTER (WHERE event = 'trial_rescued') AS rescued,
         max(seq) FILTER (WHERE event = 'user_request' AND json_extract(body, '$.ask') = 'set') AS changed
    FROM events WHERE trial IS NOT NULL GROUP BY trial
), repeated AS (
  SELECT trial, count(*) AS n, sum(value) AS total
    FROM repeats WHERE state = 'completed' AND abs(value) < 9e999 GROUP BY trial
)
SELECT s.trial,
       CASE n.event
         WHEN 'trial_suggested' THEN 'queued' WHEN 'trial_requeued' THEN 'queued'
         WHEN 'trial_rescued' THEN 'queued'
         WHEN 'trial_paused' THEN 'paused' WHEN 'trial_completed' THEN 'completed'
         WHEN 'trial_stopped' THEN 'stopped'
         WHEN 'trial_failed' THEN
           CASE json_extract(n.body, '$.reason.reason') WHEN 'oom' THEN 'infeasible' ELSE 'failed' END
         ELSE 'running' END AS state,
       json_extract(n.body, '$.reason.reason') AS reason,
       coalesce(json_extract(n.body, '$.reason.evidence'), json_extract(n.body, '$.reason.how'),
                json_extract(n.body, '$.reason.error')) AS detail,
       CASE WHEN l.measured IS NULL THEN json_extract(o.body, '$.origin.value')
            WHEN p.n IS NULL THEN l.value
            WHEN abs(l.value) < 9e999 THEN (l.value + p.total) / (1 + p.n)
            ELSE p.total / p.n END AS value,
       l.step AS step,
       CASE WHEN s.rescued IS NULL OR s.changed > s.rescued
            THEN coalesce(json_extract(u.body, '$.config_now'), json_extract(b.body, '$.config'))
            ELSE json_set(coalesce(json_extract(u.body, '$.config_now'), json_extract(b.body, '$.config')),
                          '$.' || json_quote(json_extract(z.body, '$.rescue.parameter')),
                          json_extract(z.body, '$.rescue.to')) END AS params,
       coalesce(s.attempts, 0) AS attempts,
       json_extract(b.body, '$.bracket') AS bracket,
       strftime('%Y-%m-%dT%H:%M:%fZ', b.at / 1000.0, 'unixepoch') AS suggested,
       strftime('%Y-%m-%dT%H:%M:%fZ', s.started / 1000.0, 'unixepoch') AS started,
       CASE WHEN n.event IN ('trial_completed', 'trial_stopped', 'trial_failed')
            THEN strftime('%Y-%m-%dT%H:%M:%fZ', n.at / 1000.0, 'unixepoch') END AS ended,
       s.rescues AS rescues,
       i.source AS imported_from,
       i.used AS imported_as
  FROM standing s
  JOIN events n ON n.seq = s.newest
  JOIN events b ON b.trial = s.trial AND b.event = 'trial_suggested'
  LEFT JOIN events o ON o.trial = s.trial AND o.event = 'trial_imported'
  LEFT JOIN imports i ON i.batch = (json_extract(o.body, '$.origin.batch'))
  LEFT JOIN events z ON z.seq = s.rescued
  LEFT JOIN events u ON u.seq = s.changed
  LEFT JOIN repeated p ON p.trial = s.trial
  LEFT JOIN last_values l ON l.trial = s.trial
 ORDER BY s.trial;

CREATE VIEW findings AS
SELECT trial, attempt,
       json_extract(body, '$.finding.step') AS step,
       json_extract(body, '$.finding.verdict') AS verdict,
       json_extract(body, '$.finding.rule') AS rule,
       json_extract(body, '$.finding.certain') AS certain,
       json_extract(body, '$.finding.metric') AS metric,
       json_extract(body, '$.finding.level') AS level,
       json_extract(body, '$.finding.best') AS best,
       json_extract(body, '$.finding.chance') AS chance,
       json_extract(body, '$.finding.since') AS since,
       json_extract(body, '$.finding.to_return') AS to_return,
       json_extract(body, '$.finding.remaining') AS remaining,
       json_extract(body, '$.finding.non_finite') AS non_finite,
       json_extract(body, '$.finding.detail') AS detail,
       strftime('%Y-%m-%dT%H:%M:%fZ', at / 1000.0, 'unixepoch') AS at
  FROM events WHERE event = 'found' ORDER BY seq;

CREATE VIEW confirmations AS
SELECT b.trial - 2000000000 AS run, json_extract(b.body, '$.confirms') AS confirms,
       coalesce((SELECT CASE e.event WHEN 'trial_completed' THEN 'completed'
                                     WHEN 'trial_stopped' THEN 'stopped' ELSE 'failed' END
          FROM events e WHERE e.trial = b.trial
           AND e.event IN ('trial_completed', 'trial_stopped', 'trial_failed')
         ORDER BY e.seq DESC LIMIT 1), 'running') AS state,
       l.value
  FROM events b LEFT JOIN last_values l ON l.trial = b.trial
 WHERE b.event = 'confirmation_suggested' ORDER BY b.trial;

CREATE VIEW objectives AS
WITH spec AS (
  SELECT json_extract(body, '$.spec') AS spec FROM events
   WHERE event IN ('study_opened', 'spec_changed') ORDER BY seq DESC LIMIT 1
)
SELECT 0 AS position, json_extract(spec, '$.metric.name') AS name,
       json_extract(spec, '$.metric.goal') AS goal FROM spec
UNION ALL
SELECT m.key + 1, json_extract(m.value, '$.name'), json_extract(m.value, '$.goal')
  FROM spec, json_each(json_extract(spec, '$.further')) m;

CREATE VIEW front AS
WITH RECURSIVE further AS MATERIALIZED (
  SELECT trial, name, value, max(step) FROM metrics
   WHERE name IN (SELECT name FROM objectives WHERE position > 0) GROUP BY trial, name
), reached AS (
  SELECT t.trial, o.position, o.name, o.goal, t.imported_as,
         CASE o.position WHEN 0 THEN t.value ELSE f.value END AS value
    FROM trials t JOIN objectives o
    LEFT JOIN further f ON f.trial = t.trial AND f.name = o.name
   WHERE t.state = 'completed'
), counted AS (
  SELECT *, count(*) OVER own AS objectives,
         max(value IS NULL OR abs(value) >= 9e999) OVER own AS lacks
    FROM reached WINDOW own AS (PARTITION BY trial)
), complete AS MATERIALIZED (
  SELECT trial, position, name, value, objectives,
         CASE goal WHEN 'maximize' THEN -value ELSE value END AS loss
    FROM counted
   WHERE NOT lacks AND (imported_as IS NULL OR imported_as = 'trials' AND objectives = 1)
), ranked AS (
  SELECT *, rank() OVER (PARTITION BY position ORDER BY loss) AS rank FROM complete
), placed AS MATERIALIZED (
  -- A trial's place in each objective (0 in those that a study has not), those far ahead first.
  SELECT trial, objectives, sum(rank) AS total,
         max(iif(position = 0, rank, 0)) AS r0, max(iif(position = 1, rank, 0)) AS r1,
         max(iif(position = 2, rank, 0)) AS r2, max(iif(position = 3, rank, 0)) AS r3,
         max(iif(position = 4, rank, 0)) AS r4, max(iif(position = 5, rank, 0)) AS r5,
         max(iif(position = 6, rank, 0)) AS r6, max(iif(position = 7, rank, 0)) AS r7,
         max(iif(position = 8, rank, 0)) AS r8, max(iif(position = 9, rank, 0)) AS r9,
         max(iif(position = 10, rank, 0)) AS r10, max(iif(position = 11, rank, 0)) AS r11,
         max(iif(position = 12, rank, 0)) AS r12, max(iif(position = 13, rank, 0)) AS r13,
         max(iif(position = 14, rank, 0)) AS r14, max(iif(position = 15, rank, 0)) AS r15
    FROM ranked GROUP BY trial ORDER BY total, trial
), led AS (
  -- Of two objectives it is enough to know the best second one among those that are ahead in the first.
  SELECT trial, r1,
         min(r1) OVER (ORDER BY r0 GROUPS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS ahead,
         min(r1) OVER (PARTITION BY r0) AS level
    FROM placed WHERE objectives = 2
), three AS MATERIALIZED (
  -- Three objectives: a binary tree over the order in the first one. On each level those of a right half are compared
  -- with the best third one of those that are ahead in the second among their left half.
  SELECT r0, r1, r2, row_number() OVER (ORDER BY r0, r1, r2) - 1 AS leaf
    FROM placed WHERE objectives = 3 GROUP BY r0, r1, r2
), levels AS (
  SELECT 0 AS level UNION ALL
  SELECT level + 1 FROM levels WHERE (SELECT max(leaf) FROM three) >> (level + 1) > 0
), beaten AS (
  SELECT r0, r1, r2
    FROM (SELECT r0, r1, r2, (leaf >> level) & 1 AS in_right,
                 min(iif((leaf >> level) & 1, NULL, r2)) OVER (
                   PARTITION BY level, leaf >> (level + 1)
                   ORDER BY r1, (leaf >> level) & 1 ROWS UNBOUNDED PRECEDING) AS ahead
            FROM three, levels)
   WHERE in_right AND ahead <= r2
), winners AS (
  SELECT trial FROM (SELECT trial FROM placed WHERE objectives = 1 ORDER BY r0, trial LIMIT 1)
  UNION ALL
  SELECT trial FROM led WHERE (ahead IS NULL OR ahead > r1) AND level >= r1
  UNION ALL
  SELECT trial FROM placed
   WHERE objectives = 3 AND (r0, r1, r2) NOT IN (SELECT r0, r1, r2 FROM beaten)
  UNION ALL
  -- Of more each is compared with those ahead in the sum, the likeliest to dominate it first.
  SELECT trial FROM placed a
   WHERE objectives > 3 AND NOT EXISTS (
     SELECT 1 FROM placed b
      WHERE b.total < a.total
        AND b.r0 <= a.r0 AND b.r1 <= a.r1 AND b.r2 <= a.r2 AND b.r3 <= a.r3
        AND b.r4 <= a.r4 AND b.r5 <= a.r5 AND b.r6 <= a.r6 AND b.r7 <= a.r7
        AND b.r8 <= a.r8 AND b.r9 <= a.r9 AND b.r10 <= a.r10 AND b.r11 <= a.r11
        AND b.r12 <= a.r12 AND b.r13 <= a.r13 AND b.r14 <= a.r14 AND b.r15 <= a.r15)
)
SELECT trial, name, value FROM complete WHERE trial IN (SELECT trial FROM winners)
 ORDER BY trial, position;

CREATE VIEW best AS
SELECT t.* FROM trials t, study s
 WHERE t.state = 'completed' AND abs(t.value) < 9e999
   AND (t.imported_as IS NULL OR t.imported_as = 'trials')
 ORDER BY CASE s.goal WHEN 'maximize' THEN -t.value ELSE t.value END, t.trial LIMIT 1;
";

/// Makes the tables and views in an empty database.
pub(crate) fn create(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.execute_batch(TABLES)?;
    connection.execute_batch(samples::TABLES)?;
    connection.execute_batch(VIEWS)?;
    connection.execute_batch(samples::VIEWS)?;
    connection.execute(
        "INSERT INTO meta VALUES ('format', ?1)",
        [FORMAT.to_string()],
    )?;
    Ok(())
}

/// Brings a database of an older format up to date. The log is the same in all of them; what people
/// read is made anew from it.
pub(crate) fn bring_up(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    let names = "SELECT name FROM sqlite_schema WHERE type = 'view' ORDER BY rowid DESC";
    let views: Vec<String> = transaction
        .prepare(names)?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for view in views {
        transaction.execute_batch(&format!("DROP VIEW \"{}\"", view.replace('"', "\"\"")))?;
    }
    transaction.execute_batch(samples::TABLES)?;
    transaction.execute_batch(VIEWS)?;
    transaction.execute_batch(samples::VIEWS)?;
    transaction.execute(
        "UPDATE meta SET value = ?1 WHERE key = 'format'",
        [FORMAT.to_string()],
    )?;
    transaction.commit()
}

/// Whether what people read is all there, as this program makes it. A program that adds views, or reads events
/// otherwise, needs no other format for that: the log is the same.
pub(crate) fn is_current(connection: &Connection) -> rusqlite::Result<bool> {
    let mut found =
        connection.prepare("SELECT 1 FROM sqlite_schema WHERE type = 'view' AND sql = ?1")?;
    let wanted = [VIEWS, samples::VIEWS]
        .into_iter()
        .flat_map(|views| views.split(";\n"));
    for view in wanted.map(str::trim).filter(|view| !view.is_empty()) {
        if !found.exists([view])? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Checks that the file is a study database of a format this program knows; gives back which.
pub(crate) fn check(connection: &Connection, path: &Path) -> Result<u32, StoreError> {
    let sqlite = |e| StoreError::sqlite(path, e);
    let id: i32 = connection
        .pragma_query_value(None, "application_id", |row| row.get(0))
        .map_err(sqlite)?;
    if id != APPLICATION_ID {
        let why = "it lacks the mark of one".to_owned();
        return Err(StoreError::Foreign {
            path: path.to_owned(),
            why,
        });
    }
    let format: String = connection
        .query_row("SELECT value FROM meta WHERE key = 'format'", [], |row| {
            row.get(0)
        })
        .map_err(sqlite)?;
    let damaged = |_| StoreError::Damaged {
        path: path.to_owned(),
        detail: format!("its format is `{format}`, which is not a number"),
    };
    let found: u32 = format.parse().map_err(damaged)?;
    if found > FORMAT {
        return Err(StoreError::Newer {
            path: path.to_owned(),
            found,
            known: FORMAT,
        });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_sqlite_of_2021_understands_all_of_it() {
        for text in [TABLES, VIEWS, samples::TABLES, samples::VIEWS] {
            assert!(
                !text.contains("->"),
                "`->` and `->>` came with 3.38: {text}"
            );
            for format in text.split("strftime('").skip(1) {
                let format = format.split('\'').next().unwrap();
                let letters = format
                    .split('%')
                    .skip(1)
                    .filter_map(|rest| rest.chars().next());
                let later: Vec<char> = letters.filter(|c| !"dfHjJmMsSwWY".contains(*c)).collect();
                assert!(later.is_empty(), "%{later:?} of {format} came with 3.44");
            }
        }
    }
}
