//! The two streams: data to stdout, words to stderr; colours only where a terminal shows them.

use std::fmt::Display;
use std::io::{self, Write};

use console::{StyledObject, Term, style};
use hpo_report::text::printable_lines;

use crate::failure::Failure;

/// Prints a line of words to stderr. Nothing happens when nobody reads them.
macro_rules! words {
    ($($argument:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($argument)*);
    }};
}
pub(crate) use words;

/// Writes data to stdout: into a pipe or a file as it is, on a terminal without what that would act upon. A
/// reader that has left (`hpo trials | head`) ends the program quietly.
pub(crate) fn data(text: &str) -> Result<(), Failure> {
    copy_logs(&mut text.as_bytes())
}

/// Writes a page for people to stdout. Names, values and words in it are from outside, so nothing in it is for
/// terminals to obey, wherever it goes.
pub(crate) fn page(text: &str) -> Result<(), Failure> {
    data(&printable_lines(text))
}

/// Writes what a trial printed to stdout: byte for byte, but on a terminal without what that would act
/// upon. A log must not move the cursor, set the title or answer in the user's name.
pub(crate) fn copy_logs(from: &mut dyn io::Read) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    if console::user_attended() {
        let mut safe = Escaping { to: stdout };
        return finish(io::copy(from, &mut safe).and_then(|_| safe.flush()));
    }
    finish(io::copy(from, &mut stdout).and_then(|_| stdout.flush()))
}

/// Writes control characters as people can see them: `\x1b`. Line ends, tabs and returns (progress bars
/// use them) go through, and so does everything else, UTF-8 among it.
struct Escaping<W> {
    to: W,
}

impl<W: Write> Write for Escaping<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for piece in bytes.split_inclusive(|byte| is_control(*byte)) {
            match piece.split_last() {
                Some((last, before)) if is_control(*last) => {
                    self.to.write_all(before)?;
                    write!(self.to, "\\x{last:02x}")?;
                }
                _ => self.to.write_all(piece)?,
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Control characters of one byte. Those of C1 are two bytes in UTF-8 (`c2 80` to `c2 9f`); terminals of
/// today act on them in 8-bit modes only, which UTF-8 is not.
fn is_control(byte: u8) -> bool {
    (byte < 0x20 && !matches!(byte, b'\n' | b'\t' | b'\r')) || byte == 0x7f
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_seen_and_not_obeyed() {
        let mut safe = Escaping { to: Vec::new() };
        let text = "1 − μ\t\u{1b}[2J\u{7}\u{1b}]0;title\u{7}\r\n\u{7f}end\n";
        // In pieces, as a reader gives them.
        for piece in text.as_bytes().chunks(3) {
            safe.write_all(piece).unwrap();
        }
        let shown = String::from_utf8(safe.to).unwrap();
        assert_eq!(
            shown,
            "1 − μ\t\\x1b[2J\\x07\\x1b]0;title\\x07\r\n\\x7fend\n"
        );
    }
}
