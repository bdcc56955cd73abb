//! `hpo logs N`

use std::fs::File;
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use crate::cli::LogsArguments;
use crate::failure::{Exit, Failure};
use crate::output::{self, words};
use crate::study_dir;

pub(super) fn perform(arguments: &LogsArguments) -> Result<Exit, Failure> {
    let found = study_dir::open(&arguments.which.study)?;
    let trial = found.own_trial(arguments.which.trial)?;
    let directory = found.directory.join("trials").join(trial.id.to_string());
    let files = [
        ("stdout.log", !arguments.stderr),
        ("stderr.log", !arguments.stdout),
    ];
    let both = files.iter().all(|(_, wanted)| *wanted);
    for (name, _) in files.iter().filter(|(_, wanted)| *wanted) {
        if both {
            words!(
                "{}",
                output::dim(format!("── {name} of trial {}", trial.id))
            );
        }
        print(&directory.join(name), arguments.lines)?;
    }
    Ok(Exit::Done)
}

/// Prints a file, or its last lines. One that is not there has nothing to say.
fn print(path: &Path, lines: Option<usize>) -> Result<(), Failure> {
    let trouble =
        |e: std::io::Error| Failure::trouble(format!("{} cannot be read: {e}", path.display()));
    let mut file = match File::open(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        opened => opened.map_err(trouble)?,
    };
    if let Some(lines) = lines {
        let from = start_of_last(&mut file, lines).map_err(trouble)?;
        file.seek(SeekFrom::Start(from)).map_err(trouble)?;
    }
    output::copy_logs(&mut file)
}

/// Where the last lines begin; read backwards in pieces, since logs can be long.
fn start_of_last(file: &mut File, lines: usize) -> std::io::Result<u64> {
    const PIECE: u64 = 64 * 1024;
    let length = file.seek(SeekFrom::End(0))?;
    let (mut end, mut seen) = (length, 0);
    while end > 0 {
        let start = end.saturating_sub(PIECE);
        file.seek(SeekFrom::Start(start))?;
        let mut piece = Vec::new();
        file.take(end - start).read_to_end(&mut piece)?;
        for (i, byte) in piece.iter().enumerate().rev() {
            let at = start + i as u64;
            // The newline at the very end closes the last line, it does not begin another.
            if *byte == b'\n' && at + 1 != length {
                seen += 1;
                if seen == lines {
                    return Ok(at + 1);
                }
            }
        }
        end = start;
    }
    Ok(if lines == 0 { length } else { 0 })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn the_last_lines_are_found_across_pieces() {
        let long = "x".repeat(70_000);
        for (text, lines, wanted) in [
            ("a\nb\nc\n".to_owned(), 2, "b\nc\n".to_owned()),
            ("a\nb\nc".to_owned(), 1, "c".to_owned()),
            ("a\nb\n".to_owned(), 9, "a\nb\n".to_owned()),
            (String::new(), 3, String::new()),
            ("a\n".to_owned(), 0, String::new()),
            (format!("a\n{long}\nb\n"), 2, format!("{long}\nb\n")),
        ] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            let start = start_of_last(&mut file, lines).unwrap();
            assert_eq!(&text[start as usize..], wanted);
        }
    }
}
