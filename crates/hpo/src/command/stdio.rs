//! `hpo stdio`

use std::fs;
use std::io::{self, BufRead, Read as _};

use hpo_search::stdio::{Session, Unopened};
use serde_json::json;

use crate::cli::StdioArguments;
use crate::failure::{Exit, Failure};
use crate::output;

/// Longest message, in bytes. What is longer is read over, so that an endless line takes no memory.
const LONGEST: u64 = 16 << 20;

pub(super) fn perform(arguments: &StdioArguments) -> Result<Exit, Failure> {
    let path = arguments.space.display();
    let space = fs::read_to_string(&arguments.space)
        .map_err(|error| Failure::usage(format!("{path} cannot be read: {error}")))?;
    let (method, rule) = (&arguments.method, &arguments.early_terminate);
    let mut session =
        Session::open(&space, arguments.seed, method, rule).map_err(|error| match error {
            Unopened::Options(reason) => Failure::usage(reason),
            Unopened::Space(reason) => Failure::usage(format!("{path}: {reason}"))
                .hint("docs/stdio.md describes the space file"),
        })?;
    let mut input = io::stdin().lock();
    while let Some(message) = next_message(&mut input)
        .map_err(|error| Failure::trouble(format!("stdin cannot be read: {error}")))?
    {
        let answer = match message {
            Ok(line) => session.answer(&line),
            Err(reason) => json!({ "error": reason }).to_string(),
        };
        output::data(&(answer + "\n"))?;
    }
    Ok(Exit::Done)
}

/// The next line, or why it is no message; `None` at the end of the input.
fn next_message(input: &mut impl BufRead) -> io::Result<Option<Result<String, String>>> {
    let mut line = Vec::new();
    if input.take(LONGEST).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.len() as u64 == LONGEST && !line.ends_with(b"\n") {
        skip_line(input)?;
        let most = LONGEST >> 20;
        return Ok(Some(Err(format!(
            "a message has at most {most} MiB on its line"
        ))));
    }
    Ok(Some(String::from_utf8(line).map_err(|_| {
        "a message is a JSON object in UTF-8".to_owned()
    })))
}

/// Reads on to the end of the line, keeping nothing.
fn skip_line(input: &mut impl BufRead) -> io::Result<()> {
    loop {
        let piece = input.fill_buf()?;
        let end = piece.iter().position(|byte| *byte == b'\n');
        let (length, done) = (end.map_or(piece.len(), |i| i + 1), piece.is_empty());
        input.consume(length);
        if end.is_some() || done {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_message_unless_it_is_too_long_or_no_text() {
        let long = vec![b'x'; LONGEST as usize + 9];
        let text = [b"{}\n", long.as_slice(), b"\n\xff\n\nlast"].concat();
        let mut input = text.as_slice();
        let mut seen = Vec::new();
        while let Some(message) = next_message(&mut input).unwrap() {
            seen.push(message);
        }
        assert_eq!(seen.len(), 5);
        assert_eq!(seen[0].as_deref(), Ok("{}\n"));
        assert!(seen[1].as_ref().unwrap_err().contains("16 MiB"));
        assert!(seen[2].as_ref().unwrap_err().contains("UTF-8"));
        assert_eq!(seen[3].as_deref(), Ok("\n"));
        assert_eq!(seen[4].as_deref(), Ok("last"));
    }
}
