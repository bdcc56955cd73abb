//! Plain tables: aligned columns, a line under the header, nothing else.

use crate::text::printable;
use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, Width};

/// A table under construction.
#[derive(Debug)]
pub struct Table {
    inner: comfy_table::Table,
    /// Columns that hold numbers and are aligned to the right.
    numeric: Vec<bool>,
}

impl Table {
    /// A table with these headers; one that begins with `>` marks a column of numbers.
    #[must_use]
    pub fn new(headers: &[&str]) -> Self {
        let mut inner = comfy_table::Table::new();
        let line = LineStyle::none().fill('─').junction('─');
        inner.load_style(comfy_table::presets::NOTHING.header_separator(line));
        let numeric: Vec<bool> = headers.iter().map(|h| h.starts_with('>')).collect();
        inner.set_header(
            headers
                .iter()
                .map(|h| cell(h.trim_start_matches('>'), h.starts_with('>'))),
        );
        for column in inner.column_iter_mut() {
            column.set_padding((0, 1));
        }
        Self { inner, numeric }
    }

    /// Adds a row: one text per column.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells = cells.into_iter().enumerate();
        let cells =
            cells.map(|(i, text)| cell(&text, self.numeric.get(i).copied().unwrap_or(false)));
        let cells: Vec<Cell> = cells.collect();
        self.inner.add_row(cells);
    }

    /// The table as lines that end in a newline. With a width, the last column (and it alone) is
    /// broken to fit; where that would leave it too narrow to read, lines are cut instead.
    #[must_use]
    pub fn render(mut self, width: Option<u16>) -> String {
        const NARROWEST: u16 = 24;
        let mut longest = usize::MAX;
        if let (Some(width), Some(last)) = (width, self.numeric.len().checked_sub(1)) {
            let widths = self.inner.column_max_content_widths();
            let others: u16 = widths.iter().take(last).map(|w| w.saturating_add(2)).sum();
            let rest = width.saturating_sub(others);
            let natural = widths.get(last).copied().unwrap_or(0);
            if natural.saturating_add(2) > rest && rest >= NARROWEST {
                self.inner
                    .set_content_arrangement(ContentArrangement::Dynamic)
                    .set_width(width);
                if let Some(column) = self.inner.column_mut(last) {
                    column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(rest)));
                }
            } else if natural.saturating_add(2) > rest {
                longest = usize::from(width);
            }
        }
        let is_rule = |line: &String| line.starts_with('─');
        let lines: Vec<String> = self
            .inner
            .lines()
            .map(|line| line.trim_end().to_owned())
            .map(|line| {
                if is_rule(&line) {
                    line
                } else {
                    cut(line, longest)
                }
            })
            .collect();
        // The header's line is as long as the padding makes it; nobody needs the tail.
        let rows = lines.iter().filter(|line| !is_rule(line));
        let widest = rows.map(|line| line.chars().count()).max().unwrap_or(0);
        let mut text = String::new();
        for line in &lines {
            if is_rule(line) {
                text.extend(line.chars().take(widest));
            } else {
                text.push_str(line);
            }
            text.push('\n');
        }
        text
    }
}

/// A line of at most so many characters; `…` stands for what was cut off.
fn cut(line: String, longest: usize) -> String {
    if line.chars().count() <= longest {
        return line;
    }
    let mut short: String = line.chars().take(longest.saturating_sub(1)).collect();
    short.push('…');
    short
}

fn cell(text: &str, numeric: bool) -> Cell {
    let alignment = if numeric {
        CellAlignment::Right
    } else {
        CellAlignment::Left
    };
    Cell::new(printable(text)).set_alignment(alignment)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Table {
        let mut table = Table::new(&[">trial", "state", "parameters"]);
        table.row([
            "1".into(),
            "completed".into(),
            "lr=0.1 optimizer=sgd schedule=cosine".into(),
        ]);
        table.row(["23".into(), "\u{1b}[31mred".into(), String::new()]);
        table
    }

    #[test]
    fn columns_are_aligned_and_control_characters_are_gone() {
        let expected = [
            "trial  state      parameters",
            "──────────────────────────────────────────────────────",
            "    1  completed  lr=0.1 optimizer=sgd schedule=cosine",
            "   23  red",
        ];
        assert_eq!(example().render(None).lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn lines_are_cut_where_the_last_column_has_no_room() {
        let text = example().render(Some(30));
        let expected = [
            "trial  state      parameters",
            "──────────────────────────────",
            "    1  completed  lr=0.1 opti…",
            "   23  red",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_last_column_is_broken_to_fit() {
        let text = example().render(Some(44));
        assert!(
            text.lines().all(|line| line.chars().count() <= 44),
            "{text}"
        );
        assert_eq!(text.lines().count(), 5);
    }
}
