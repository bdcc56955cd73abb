use hpo_study::{
    AttemptEnd, Config, FailReason, Finding, Goal, History, Job, Method, Metric, Rescued, Space,
    StopIntent, StopReason, StudyEnd, StudySpec, Trial, TrialState, Value, Verdict,
};
use proptest::prelude::*;

use super::*;

fn spec() -> StudySpec {
    StudySpec {
        seed: u64::MAX,
        time_cap: Some(Duration::from_millis(1500)),
        ..StudySpec::new(
            "a study",
            Job::command(&["true"]),
            Method::Random,
            Metric {
                name: "val.loss \"q\"".to_owned(),
                goal: Goal::Minimize,
            },
            Space::default(),
        )
    }
}

fn opened() -> EventKind {
    EventKind::StudyOpened {
        spec: Box::new(spec()),
        hpo_version: "0.1.0".to_owned(),
    }
}

/// A log that makes sense, its course decided by `choices`: every kind of event can come.
fn log(choices: &[u8]) -> Vec<Event> {
    let mut events = vec![Event {
        at: Timestamp(1_000),
        kind: opened(),
    }];
    let mut history = History::open(&events[0]).unwrap();
    for (i, choice) in choices.iter().enumerate() {
        let at = Timestamp(1_001 + 7 * i as u64);
        for kind in turn(&history, usize::from(*choice)) {
            let event = Event { at, kind };
            history.apply(&event).unwrap();
            events.push(event);
        }
    }
    events
}

fn turn(history: &History, choice: usize) -> Vec<EventKind> {
    let trials = history.trials();
    let subject = trials.get(choice / 8 % (trials.len() + 1));
    match subject {
        Some(trial) if !trial.state.is_final() => vec![next_of(trial, choice % 8, choice)],
        Some(trial) => {
            // Late words of a process that is fenced off: nothing of them may count.
            vec![report(
                trial,
                trial.attempts.len().max(1) as u32,
                1,
                Some(-1e9),
            )]
            .into_iter()
            .filter(|_| !trial.attempts.is_empty())
            .collect()
        }
        None => match choice % 8 {
            0 => vec![EventKind::SpecChanged {
                spec: Box::new(spec()),
            }],
            1 => vec![EventKind::SessionStarted {
                pid: 7,
                host: "host".to_owned(),
            }],
            2 => vec![EventKind::DrainRequested],
            3 => vec![EventKind::StudyEnded {
                end: StudyEnd::Failures {
                    detail: "d".to_owned(),
                },
            }],
            4 => vec![EventKind::Unattended {
                from: history.last_event(),
            }],
            _ => vec![EventKind::TrialSuggested {
                trial: TrialId(trials.len() as u32),
                config: config(choice),
                bracket: choice as u32,
                target: choice.is_multiple_of(2).then_some(9),
            }],
        },
    }
}

fn config(choice: usize) -> Config {
    let mut config = Config::new();
    config.set("lr", 1e-4 * choice as f64);
    config.set("optimizer", "adamw \"ü\"");
    config.set(
        "layers",
        Value::List(vec![Value::Int(64), Value::Null, Value::Bool(true)]),
    );
    config
}

fn report(trial: &Trial, attempt: u32, step: u64, objective: Option<f64>) -> EventKind {
    let mut metrics = BTreeMap::from([("lr".to_owned(), 0.1)]);
    metrics.extend(objective.map(|x| ("val.loss \"q\"".to_owned(), x)));
    EventKind::Reported {
        trial: trial.id,
        attempt: AttemptNumber(attempt),
        step,
        metrics,
    }
}

fn next_of(record: &Trial, choice: usize, noise: usize) -> EventKind {
    let trial = record.id;
    let count = record.attempts.len() as u32;
    let attempt = AttemptNumber(count);
    let ended = record.attempts.last().is_none_or(|a| a.end.is_some());
    match (&record.state, choice) {
        (TrialState::Queued, _) | (TrialState::Paused, 0..4) => EventKind::AttemptLaunching {
            trial,
            attempt: AttemptNumber(count + 1),
            target: Some(noise as u64),
            assignment: None,
        },
        (TrialState::Paused, _) => EventKind::TrialStopped {
            trial,
            reason: StopReason::Pruned {
                evidence: "rung 3: 9 of 9".to_owned(),
            },
        },
        (TrialState::Launching, _) => EventKind::AttemptStarted {
            trial,
            attempt,
            pid: 42,
        },
        (_, 3) if !ended => EventKind::Found {
            trial,
            attempt,
            finding: finding(noise as u64),
        },
        (_, 0..4) if !ended => {
            let bad = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
            let x = [None, Some(0.5), Some(bad[noise % 3]), Some(1e-300)][noise / 3 % 4];
            report(record, count, noise as u64 % 6, x)
        }
        (_, 4) if !ended => EventKind::StopRequested {
            trial,
            attempt,
            intent: StopIntent::Stop {
                reason: StopReason::User,
            },
        },
        (_, _) if !ended => EventKind::AttemptEnded {
            trial,
            attempt,
            end: match noise % 4 {
                0 => AttemptEnd::Exited {
                    code: 1,
                    stderr: "boom\n".to_owned(),
                },
                1 => AttemptEnd::Signaled {
                    signal: 9,
                    stderr: String::new(),
                },
                2 => AttemptEnd::NotStarted {
                    error: "no such file".to_owned(),
                },
                _ => AttemptEnd::Lost,
            },
        },
        (_, 0) => EventKind::TrialPaused { trial },
        (_, 1) => EventKind::TrialRequeued { trial },
        (_, 2) => EventKind::TrialRescued {
            trial,
            rescue: Rescued {
                parameter: "lr".to_owned(),
                from: 0.1,
                to: 0.1 / noise as f64,
                healthy_step: noise as u64 % 5,
                evidence: "it \"diverged\"".to_owned(),
            },
        },
        (_, 3) => EventKind::TrialFailed {
            trial,
            reason: FailReason::Lost,
        },
        (_, 4) => EventKind::TrialStopped {
            trial,
            reason: StopReason::TimeCap,
        },
        _ => EventKind::TrialCompleted { trial },
    }
}

fn finding(step: u64) -> Finding {
    Finding {
        verdict: Verdict::Stuck,
        step,
        rule: "lost".to_owned(),
        certain: step.is_multiple_of(2),
        metric: "val.loss".to_owned(),
        non_finite: None,
        level: Some(0.1 + 0.2),
        best: None,
        chance: Some(2.5),
        since: Some(3),
        to_return: None,
        remaining: Some(1e-9),
        detail: "says \"why\"".to_owned(),
    }
}

/// NaN is not itself, so logs are compared as they print.
pub(crate) fn same(a: &[Event], b: &[Event]) -> bool {
    format!("{a:?}") == format!("{b:?}")
}

#[test]
fn a_rescue_after_going_back_twice_leaves_the_same_curve_in_the_views() {
    // Step 0 by one process, 4 and then 0 again by the next, and a rescue that cuts 4 off.
    let choices = [
        172, 108, 164, 0, 0, 80, 16, 210, 21, 17, 80, 112, 16, 0, 240, 213, 242,
    ];
    let events = log(&choices);
    let rescues = |e: &&Event| matches!(e.kind, EventKind::TrialRescued { .. });
    assert_eq!(events.iter().filter(rescues).count(), 1);
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create(dir.path(), &events).unwrap();
    let history = History::replay(&events).unwrap();
    assert_eq!(metrics_seen(&store), metrics_meant(&history));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn logs_come_back_and_views_agree_with_history(
        choices in prop::collection::vec(any::<u8>(), 0..120),
        cut in 1_usize..20,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let events = log(&choices);
        let mut store = Store::create(dir.path(), &events[..1]).unwrap();
        for part in events[1..].chunks(cut) {
            store.append(part).unwrap();
        }
        prop_assert!(same(&store.load().unwrap(), &events));
        prop_assert!(same(&read(dir.path()).unwrap(), &events));
        let history = History::replay(&events).unwrap();
        prop_assert_eq!(trials_seen(&store), trials_meant(&history));
        prop_assert_eq!(metrics_seen(&store), metrics_meant(&history));
        let best: Option<u32> = store.connection
            .query_row("SELECT trial FROM best", [], |row| row.get(0)).ok();
        prop_assert_eq!(best, history.best().map(|t| t.id.0));
        drop(store);
        let store = Store::open(dir.path()).unwrap();
        prop_assert!(same(&store.load().unwrap(), &events));
        prop_assert!(same(&read_unchanging(store.path()).unwrap(), &events));
    }
}

type Seen = (
    u32,
    String,
    Option<String>,
    Option<f64>,
    Option<u64>,
    u32,
    bool,
    bool,
    f64,
    u32,
);

fn trials_seen(store: &Store) -> Vec<Seen> {
    let sql = "SELECT trial, state, reason, value, step, attempts, started IS NOT NULL, \
               ended IS NOT NULL, params, params ->> 'lr', rescues FROM trials";
    let mut statement = store.connection.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| {
        let params: String = row.get(8)?;
        assert!(serde_json::from_str::<Config>(&params).is_ok(), "{params}");
        Ok((
            row.get(0)?,
            row.get(1)?,
            row.get(2)?,
            row.get(3)?,
            row.get::<_, Option<i64>>(4)?.map(i64::cast_unsigned),
            row.get(5)?,
            row.get(6)?,
            row.get(7)?,
            row.get(9)?,
            row.get(10)?,
        ))
    });
    rows.unwrap().collect::<Result<_, _>>().unwrap()
}

fn trials_meant(history: &History) -> Vec<Seen> {
    let row = |t: &Trial| {
        (
            t.id.0,
            t.state.word().to_owned(),
            t.state.reason().map(str::to_owned),
            t.value().filter(|v| !v.is_nan()),
            t.curve.last_step(),
            t.attempts.len() as u32,
            t.started.is_some(),
            t.ended.is_some(),
            t.config.number("lr").unwrap(),
            t.rescues.len() as u32,
        )
    };
    history.trials().iter().map(row).collect()
}

fn metrics_seen(store: &Store) -> Vec<(u32, u64, Option<f64>)> {
    let sql = "SELECT trial, step, value FROM metrics \
               WHERE name = (SELECT metric FROM study) ORDER BY trial, step";
    let mut statement = store.connection.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| {
        Ok((
            row.get(0)?,
            row.get::<_, i64>(1)?.cast_unsigned(),
            row.get(2)?,
        ))
    });
    rows.unwrap().collect::<Result<_, _>>().unwrap()
}

fn metrics_meant(history: &History) -> Vec<(u32, u64, Option<f64>)> {
    let rows = |t: &Trial| {
        let id = t.id.0;
        let row = |(step, value): (u64, f64)| (id, step, (!value.is_nan()).then_some(value));
        t.curve.objectives().map(row).collect::<Vec<_>>()
    };
    history.trials().iter().flat_map(rows).collect()
}

pub(crate) fn small_study(dir: &Path) -> Store {
    Store::create(dir, &log(&[255, 0, 0, 1, 2])).unwrap()
}

#[test]
fn a_second_writer_is_told_who_is_at_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = small_study(dir.path());
    let error = Store::open(dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::Locked { pid: Some(pid) } if pid == std::process::id()));
    assert!(
        error
            .to_string()
            .contains("being run by another process (process ")
    );
    assert!(matches!(
        Store::create(dir.path(), &[]),
        Err(StoreError::Locked { .. })
    ));
    drop(store);
    Store::open(dir.path()).unwrap();
}

#[test]
fn what_is_not_a_study_is_refused_with_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    assert!(!exists(dir.path()));
    assert!(matches!(
        Store::open(dir.path()),
        Err(StoreError::Missing { .. })
    ));
    assert!(matches!(read(dir.path()), Err(StoreError::Missing { .. })));
    let path = dir.path().join(DATABASE);
    for content in [
        &b""[..],
        b"hello, this is text, and not a database at all; it is long enough",
    ] {
        fs::write(&path, content).unwrap();
        assert!(matches!(
            Store::open(dir.path()),
            Err(StoreError::Foreign { .. })
        ));
        assert!(matches!(read(dir.path()), Err(StoreError::Foreign { .. })));
    }
    fs::remove_file(&path).unwrap();
    Connection::open(&path)
        .unwrap()
        .execute_batch("CREATE TABLE a (b)")
        .unwrap();
    assert!(matches!(
        Store::open(dir.path()),
        Err(StoreError::Foreign { .. })
    ));
    assert!(matches!(
        Store::create(dir.path(), &[]),
        Err(StoreError::Exists { .. })
    ));
}

#[test]
fn a_newer_format_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let store = small_study(dir.path());
    store
        .connection
        .execute("UPDATE meta SET value = '99'", [])
        .unwrap();
    drop(store);
    let error = Store::open(dir.path()).unwrap_err();
    assert!(matches!(
        error,
        StoreError::Newer {
            found: 99,
            known: crate::FORMAT,
            ..
        }
    ));
    assert!(error.to_string().contains("use a newer hpo"));
    assert!(matches!(read(dir.path()), Err(StoreError::Newer { .. })));
}

#[test]
fn an_older_database_gets_the_views_of_today() {
    let dir = tempfile::tempdir().unwrap();
    let store = small_study(dir.path());
    let log = store.load().unwrap();
    store
        .connection
        .execute_batch("UPDATE meta SET value = '1'; DROP VIEW findings; DROP VIEW best;")
        .unwrap();
    drop(store);
    // Who only looks changes nothing.
    assert!(same(&read(dir.path()).unwrap(), &log));
    let mut store = Store::open(dir.path()).unwrap();
    assert!(same(&store.load().unwrap(), &log));
    let (trial, attempt) = (TrialId(0), AttemptNumber(1));
    let at = Timestamp(9_999);
    let found = EventKind::Found {
        trial,
        attempt,
        finding: finding(7),
    };
    store.append(&[Event { at, kind: found }]).unwrap();
    let row: (u32, u64, String, String, bool, f64, Option<f64>, String) = store
        .connection
        .query_row(
            "SELECT trial, step, verdict, rule, certain, level, best, detail FROM findings",
            [],
            |r| {
                Ok((
                    r.get(0)?,
                    r.get::<_, i64>(1)?.cast_unsigned(),
                    r.get(2)?,
                    r.get(3)?,
                    r.get(4)?,
                    r.get(5)?,
                    r.get(6)?,
                    r.get(7)?,
                ))
            },
        )
        .unwrap();
    let (stuck, lost) = ("stuck".to_owned(), "lost".to_owned());
    let detail = "says \"why\"".to_owned();
    assert_eq!(row, (0, 7, stuck, lost, false, 0.1 + 0.2, None, detail));
    drop(store);
    let format: String = Store::open(dir.path())
        .unwrap()
        .connection
        .query_row("SELECT value FROM meta", [], |row| row.get(0))
        .unwrap();
    assert_eq!(format, crate::FORMAT.to_string());
}

#[test]
fn views_that_are_missing_or_others_are_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let store = small_study(dir.path());
    assert!(schema::is_current(&store.connection).unwrap());
    for change in [
        "DROP VIEW confirmations",
        "DROP VIEW best; CREATE VIEW best AS SELECT 1",
    ] {
        store.connection.execute_batch(change).unwrap();
        assert!(!schema::is_current(&store.connection).unwrap(), "{change}");
    }
    let log = store.load().unwrap();
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert!(schema::is_current(&store.connection).unwrap());
    assert!(same(&store.load().unwrap(), &log));
}

#[test]
fn damage_is_reported_wherever_it_sits() {
    let events = log(&(0..200).collect::<Vec<u8>>());
    let whole = tempfile::tempdir().unwrap();
    drop(Store::create(whole.path(), &events).unwrap());
    let bytes = fs::read(whole.path().join(DATABASE)).unwrap();
    assert!(bytes.len() > 16_384);
    for keep in (1..bytes.len()).step_by(1021) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(DATABASE), &bytes[..keep]).unwrap();
        assert!(read(dir.path()).is_err(), "cut to {keep} bytes");
        assert!(Store::open(dir.path()).is_err(), "cut to {keep} bytes");
    }
    let store = Store::open(whole.path()).unwrap();
    for (event, words) in [
        ("x", "event 2 says `x`, which this hpo does not know"),
        ("trial_completed", "event 2 cannot be read"),
    ] {
        let change = "UPDATE events SET body = json_object('event', ?1) WHERE seq = 2";
        store.connection.execute(change, [event]).unwrap();
        let said = store.load().unwrap_err().to_string();
        assert!(said.contains(words), "{said}");
    }
    store
        .connection
        .execute("DELETE FROM events WHERE seq = 2", [])
        .unwrap();
    assert!(
        store
            .load()
            .unwrap_err()
            .to_string()
            .contains("event 2 is missing")
    );
}

#[test]
fn a_full_disk_takes_nothing_or_all() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = small_study(dir.path());
    let before = store.load().unwrap();
    let pages: i64 = store
        .connection
        .query_row("PRAGMA page_count", [], |r| r.get(0))
        .unwrap();
    store
        .connection
        .pragma_update(None, "max_page_count", pages)
        .unwrap();
    let many = vec![
        Event {
            at: Timestamp(5_000),
            kind: opened()
        };
        200
    ];
    let error = store.append(&many).unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    assert!(same(&store.load().unwrap(), &before));
    store
        .connection
        .pragma_update(None, "max_page_count", 1_000_000)
        .unwrap();
    store.append(&many).unwrap();
    assert_eq!(store.load().unwrap().len(), before.len() + 200);
}

#[test]
fn a_database_that_is_taken_away_is_missed() {
    let gone = |error: StoreError| matches!(error, StoreError::Gone { .. });
    let dir = tempfile::tempdir().unwrap();
    let tick = [Event {
        at: Timestamp(9),
        kind: EventKind::DrainRequested,
    }];
    let mut store = small_study(dir.path());
    store.append(&tick).unwrap();
    fs::remove_file(dir.path().join(DATABASE)).unwrap();
    assert!(gone(store.append(&tick).unwrap_err()));
    drop(store);
    let other = tempfile::tempdir().unwrap();
    let mut store = small_study(other.path());
    let path = other.path().join(DATABASE);
    fs::copy(&path, other.path().join("copy")).unwrap();
    fs::rename(other.path().join("copy"), &path).unwrap();
    assert!(gone(store.append(&tick).unwrap_err()));
}

#[test]
fn the_study_as_it_was_begun_can_be_read_alone() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(
        opening(dir.path()),
        Err(StoreError::Missing { .. })
    ));
    let events = small_study(dir.path()).load().unwrap();
    assert!(same(&[opening(dir.path()).unwrap()], &events[..1]));
}

#[test]
fn a_draft_left_by_a_crash_is_no_study() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("study.db.new"), "half of a database").unwrap();
    fs::write(dir.path().join("study.db.new-journal"), "half of a journal").unwrap();
    assert!(!exists(dir.path()));
    small_study(dir.path());
    assert!(exists(dir.path()));
}

#[test]
fn odd_directory_names_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let odd = dir.path().join("a?b#c%20 d");
    let events = small_study(&odd).load().unwrap();
    assert!(same(&read(&odd).unwrap(), &events));
    assert!(same(
        &read_unchanging(&odd.join(DATABASE)).unwrap(),
        &events
    ));
}

#[test]
fn commits_wait_for_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let store = small_study(dir.path());
    let pragma = |name: &str| -> String {
        let read = |row: &rusqlite::Row<'_>| row.get::<_, AnyText>(0).map(|v| v.0);
        store
            .connection
            .query_row(&format!("PRAGMA {name}"), [], read)
            .unwrap()
    };
    assert_eq!(pragma("journal_mode"), "wal");
    assert_eq!(pragma("synchronous"), "2");
}

struct AnyText(String);
impl rusqlite::types::FromSql for AnyText {
    fn column_result(value: rusqlite::types::ValueRef<'_>) -> rusqlite::types::FromSqlResult<Self> {
        match value {
            rusqlite::types::ValueRef::Integer(i) => Ok(Self(i.to_string())),
            other => other.as_str().map(|s| Self(s.to_owned())),
        }
    }
}

fn read_unchanging(path: &Path) -> Result<Vec<Event>, StoreError> {
    load(&open_unchanging(path)?, path)
}

#[test]
fn a_commit_that_another_program_keeps_out_is_refused_whole_and_can_be_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let event = |kind| Event {
        at: Timestamp(1_000),
        kind,
    };
    let mut store = Store::create(dir.path(), &[event(opened())]).unwrap();
    let other = Connection::open(dir.path().join(DATABASE)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let news = [event(EventKind::DrainRequested)];
    let refused = store.append(&news);
    assert!(
        matches!(refused, Err(StoreError::Busy { .. })),
        "{refused:?}"
    );
    other.execute_batch("ROLLBACK").unwrap();
    store.append(&news).unwrap();
    assert_eq!(store.load().unwrap().len(), 2);
}
