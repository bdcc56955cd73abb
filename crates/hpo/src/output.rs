//! The two streams: data to stdout, words to stderr; colours only where a terminal shows them.

use std::fmt::Display;
use std::io::{self, Write};

use console::{StyledObject, Term, style};

use crate::failure::Failure;

/// Prints a line of words to stderr. Nothing happens when nobody reads them.
macro_rules! words {
    ($($argument:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($argument)*);
    }};
}
pub(crate) use words;

/// Writes data to stdout. A reader that has left (`hpo trials | head`) ends the program quietly.
pub(crate) fn data(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    finish(
        stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush()),
    )
}

/// As [`data`], from a reader.
pub(crate) fn copy(from: &mut dyn io::Read) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    finish(io::copy(from, &mut stdout).and_then(|_| stdout.flush()))
}

fn finish(written: io::Result<()>) -> Result<(), Failure> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => Err(Failure::trouble(format!(
            "stdout cannot be written: {error}"
        ))),
        Ok(()) => Ok(()),
    }
}

/// Writes JSON to stdout, for people's eyes too.
pub(crate) fn json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(Failure::trouble)?;
    data(&(text + "\n"))
}

/// The terminal's width, when stdout is one.
pub(crate) fn width() -> Option<u16> {
    Term::stdout().size_checked().map(|(_, columns)| columns)
}

/// Red on stderr.
pub(crate) fn red<D: Display>(text: D) -> StyledObject<D> {
    style(text).for_stderr().red().bold()
}

/// Yellow on stderr.
pub(crate) fn yellow<D: Display>(text: D) -> StyledObject<D> {
    style(text).for_stderr().yellow()
}

/// Green on stderr.
pub(crate) fn green<D: Display>(text: D) -> StyledObject<D> {
    style(text).for_stderr().green()
}

/// Blue on stderr.
pub(crate) fn blue<D: Display>(text: D) -> StyledObject<D> {
    style(text).for_stderr().cyan()
}

/// Dim on stderr.
pub(crate) fn dim<D: Display>(text: D) -> StyledObject<D> {
    style(text).for_stderr().dim()
}
