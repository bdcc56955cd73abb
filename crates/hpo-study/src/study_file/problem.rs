//! What is wrong with a study file, where, and what to do about it.

use std::fmt::Write as _;

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The study cannot be run.
    Error,
    /// The study can be run, but may not do what was meant.
    Warning,
}

impl Severity {
    /// The word people read.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// A place in the text of a study file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// First byte, counted from 0.
    pub offset: usize,
    /// Bytes; 0 where there is nothing to point at but a place.
    pub len: usize,
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
}

/// Something wrong in a study file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// Where.
    pub span: Span,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Problem {
    /// Line, counted from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.span.line
    }

    /// Column in characters, counted from 1.
    #[must_use]
    pub fn column(&self) -> usize {
        self.span.column
    }

    /// The problem as people read it: what, where, the line itself with a mark below it, the hint.
    /// `text` is the text that was read from `file`.
    #[must_use]
    pub fn render(&self, file: &str, text: &str) -> String {
        let mut out = format!("{}: {}\n", self.severity.word(), printable(&self.message));
        let Span { line, column, .. } = self.span;
        let margin = line.to_string().len();
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{:margin$}--> {file}:{line}:{column}", "");
        if let Some(source) = text.lines().nth(line.saturating_sub(1)) {
            let (shown, indent, width) = window(source, column, self.marked_chars(text));
            let _ = writeln!(out, "{:margin$} |", "");
            let _ = writeln!(out, "{line} | {shown}");
            let _ = writeln!(out, "{:margin$} | {:indent$}{}", "", "", "^".repeat(width));
        }
        if let Some(hint) = &self.hint {
            let _ = writeln!(out, "{:margin$} = hint: {}", "", printable(hint));
        }
        out
    }

    /// How many characters the span covers.
    fn marked_chars(&self, text: &str) -> usize {
        let end = self
            .span
            .offset
            .saturating_add(self.span.len)
            .min(text.len());
        text.get(self.span.offset..end).map_or(1, |marked| {
            marked.lines().next().unwrap_or_default().chars().count()
        })
    }
}

/// The part of a line around `column` that fits a terminal; where the mark begins in it, and how
/// wide the mark is.
fn window(line: &str, column: usize, marked: usize) -> (String, usize, usize) {
    const WIDEST: usize = 120;
    const BEFORE: usize = 60;
    let start = column.saturating_sub(1);
    let length = line.chars().count();
    let first = if length > WIDEST {
        start.saturating_sub(BEFORE)
    } else {
        0
    };
    let shown: String = line.chars().skip(first).take(WIDEST).map(visible).collect();
    let indent = start.saturating_sub(first).min(WIDEST);
    let width = marked
        .min(length.saturating_sub(start))
        .clamp(1, WIDEST - indent.min(WIDEST - 1));
    (shown, indent, width)
}

/// A character that takes one cell and does nothing to the terminal: nor turns the direction of writing, so that a
/// line reads as another than it is.
fn visible(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() => '\u{fffd}',
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            '\u{fffd}'
        }
        c => c,
    }
}

/// Texts of the file appear in messages; none of their bytes may reach the terminal as a command, and a name of a
/// megabyte is not worth a megabyte of words.
fn printable(message: &str) -> String {
    const LONGEST: usize = 1000;
    let mut characters = message.chars().map(visible);
    let mut shown: String = characters.by_ref().take(LONGEST).collect();
    if characters.next().is_some() {
        shown.push('…');
    }
    shown
}

/// Collects problems.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    all: Vec<Problem>,
}

impl Problems {
    /// More than anyone reads; also bounds what a hostile file can make us write.
    const MOST: usize = 1000;

    fn push(&mut self, severity: Severity, span: Span, message: String, hint: Option<String>) {
        if self.all.len() < Self::MOST {
            self.all.push(Problem {
                severity,
                message,
                span,
                hint,
            });
        }
    }

    pub(crate) fn error(&mut self, span: Span, message: impl Into<String>) {
        self.push(Severity::Error, span, message.into(), None);
    }

    pub(crate) fn error_with_hint(
        &mut self,
        span: Span,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.push(Severity::Error, span, message.into(), Some(hint.into()));
    }

    pub(crate) fn warning(
        &mut self,
        span: Span,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.push(Severity::Warning, span, message.into(), Some(hint.into()));
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.all.iter().any(|p| p.severity == Severity::Error)
    }

    /// How many there are so far.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// All problems in the order of the file.
    pub(crate) fn in_order(mut self) -> Vec<Problem> {
        self.all.sort_by_key(|p| p.span.offset);
        self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: usize, len: usize, line: usize, column: usize) -> Problem {
        Problem {
            severity: Severity::Error,
            message: "no".into(),
            span: Span {
                offset,
                len,
                line,
                column,
            },
            hint: Some("yes".into()),
        }
    }

    #[test]
    fn shows_the_line_and_marks_the_place() {
        let text = "a: 1\nbcd: 22\n";
        let rendered = at(10, 2, 2, 6).render("s.yaml", text);
        assert_eq!(
            rendered,
            "error: no\n --> s.yaml:2:6\n  |\n2 | bcd: 22\n  |      ^^\n  = hint: yes\n"
        );
    }

    #[test]
    fn long_lines_are_cut_and_control_characters_are_not_shown() {
        let text = format!("{}\u{1b}[31m{}", "x".repeat(500), "y".repeat(500));
        let rendered = at(500, 400, 1, 501).render("s.yaml", &text);
        assert!(
            rendered.lines().all(|line| line.chars().count() < 130),
            "{rendered}"
        );
        assert!(!rendered.contains('\u{1b}'));
    }

    #[test]
    fn a_place_outside_the_text_is_no_panic() {
        let rendered = at(900, 9, 70, 3).render("s.yaml", "a: 1");
        assert!(rendered.contains("s.yaml:70:3"));
    }
}
