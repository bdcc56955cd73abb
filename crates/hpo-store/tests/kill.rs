//! A writer that is killed loses nothing it said was written. Real processes, real SIGKILL.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use hpo_store::{Store, StoreError};
use hpo_study::{Event, EventKind, Timestamp};

const DIRECTORY: &str = "HPO_STORE_TEST_WRITER";
const BATCH: u64 = 3;

fn event(at: u64) -> Event {
    Event {
        at: Timestamp(at),
        kind: EventKind::DrainRequested,
    }
}

/// The child: appends batches for ever, and says how many are done after each.
#[test]
fn writer() {
    let Some(dir) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let dir = Path::new(&dir);
    let mut store = match Store::open(dir) {
        Err(StoreError::Missing { .. }) => Store::create(dir, &[event(0)]).unwrap(),
        other => other.unwrap(),
    };
    let mut at = store.load().unwrap().len() as u64;
    let mut out = std::io::stdout();
    loop {
        let batch: Vec<Event> = (at..at + BATCH).map(event).collect();
        store.append(&batch).unwrap();
        at += BATCH;
        writeln!(out, "\nwritten {at}").unwrap();
        out.flush().unwrap();
    }
}

#[test]
fn a_killed_writer_loses_nothing_it_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..12_usize {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["writer", "--exact", "--nocapture"])
            .env(DIRECTORY, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let acknowledged = |line: String| line.strip_prefix("written ").map(|n| n.parse().unwrap());
        let mut last: u64 = lines
            .by_ref()
            .map_while(Result::ok)
            .filter_map(acknowledged)
            .nth(round * 5)
            .unwrap();
        assert!(
            matches!(Store::open(dir.path()), Err(StoreError::Locked { pid }) if pid == Some(child.id()))
        );
        child.kill().unwrap();
        child.wait().unwrap();
        // What it said before it died but we had not read yet counts as well.
        if let Some(n) = lines.map_while(Result::ok).filter_map(acknowledged).last() {
            last = n;
        }
        let events = hpo_store::read(dir.path()).unwrap();
        assert_eq!(
            events,
            (0..events.len() as u64).map(event).collect::<Vec<_>>()
        );
        let found = events.len() as u64;
        assert!(
            found == last || found == last + BATCH,
            "{found} found, {last} acknowledged"
        );
    }
}
