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
    /// broken to fit, unless that would leave it too narrow to read.
    #[must_use]
    pub fn render(mut self, width: Option<u16>) -> String {
        const NARROWEST: u16 = 24;
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
            }
        }
        let mut text: String = self
            .inner
            .lines()
            .map(|line| line.trim_end().to_owned() + "\n")
            .collect();
        // The header's line is as long as the padding makes it; nobody needs the tail.
        if let Some(longest) = text
            .lines()
            .filter(|l| !l.starts_with('─'))
            .map(|l| l.chars().count())
            .max()
        {
            text = text
                .lines()
                .map(|l| if l.starts_with('─') { l.chars().take(longest).collect() } else { l.to_owned() } + "\n")
                .collect();
        }
        text
    }
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
    fn the_last_column_is_broken_to_fit() {
        let text = example().render(Some(44));
        assert!(
            text.lines().all(|line| line.chars().count() <= 44),
            "{text}"
        );
        assert_eq!(text.lines().count(), 5);
    }
}
