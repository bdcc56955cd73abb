//! Short questions to other programs: bounded in time and in what they may answer.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What a program printed to stdout, if it left with 0 in time; no more than `most` bytes of it, and
/// whether that was all. Its standard input is empty and its errors go nowhere.
pub(super) fn ask(
    argv: &[&str],
    directory: &Path,
    most: u64,
    patience: Duration,
) -> Option<(Vec<u8>, bool)> {
    let (program, arguments) = argv.split_first()?;
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        // Only looking: git would otherwise refresh its index, or ask for a password.
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_TERMINAL_PROMPT", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let output = child.stdout.take()?;
    let reader = std::thread::spawn(move || {
        let mut answer = Vec::new();
        let mut rest = output.take(most + 1);
        rest.read_to_end(&mut answer).ok().map(|_| answer)
    });
    let deadline = Instant::now() + patience;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Some(status),
            // Who has read enough closes the pipe, and the program ends of it.
            Ok(None) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(2));
            }
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
        }
    };
    let mut answer = reader.join().ok().flatten()?;
    let whole = answer.len() as u64 <= most;
    answer.truncate(usize::try_from(most).unwrap_or(usize::MAX));
    let ended_well = status.is_some_and(|status| status.success());
    (ended_well || !whole).then_some((answer, whole))
}

/// The first line of the answer, as text.
pub(super) fn line(argv: &[&str], directory: &Path) -> Option<String> {
    let (answer, _) = ask(argv, directory, 4096, Duration::from_secs(10))?;
    let text = String::from_utf8_lossy(&answer);
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| line.to_owned())
}
