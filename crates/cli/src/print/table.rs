//! Columns for people.

use console::measure_text_width;

/// Rows under headers, aligned by the width that a terminal gives them.
#[derive(Debug, Default)]
pub struct Table {
    headers: Vec<String>,
    rows: Vec<Vec<String>>,
    /// The least widths: those of rows that were printed before.
    least: Vec<usize>,
}

/// Space between two columns.
const GAP: usize = 3;

impl Table {
    /// No rows yet. Headers are printed in capitals.
    pub fn new<H: Into<String>>(headers: impl IntoIterator<Item = H>) -> Table {
        Table { headers: headers.into_iter().map(|header| header.into().to_uppercase()).collect(), rows: Vec::new(), least: Vec::new() }
    }

    /// Drops the rows; what comes later stands under the same columns.
    pub fn clear(&mut self) {
        self.least = self.widths();
        self.rows.clear();
    }

    /// Adds a row; cells that are missing stay blank.
    pub fn row<C: Into<String>>(&mut self, cells: impl IntoIterator<Item = C>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Headers and rows, one line each.
    pub fn lines(&self) -> Vec<String> {
        let widths = self.widths();
        std::iter::once(&self.headers).chain(&self.rows).map(|cells| align(cells, &widths)).collect()
    }

    /// Rows alone, aligned as under their headers.
    pub fn body(&self) -> Vec<String> {
        let widths = self.widths();
        self.rows.iter().map(|cells| align(cells, &widths)).collect()
    }

    /// Prints headers and rows, or nothing at all if there are no rows.
    pub fn print(&self) {
        if !self.is_empty() {
            self.lines().iter().for_each(super::line);
        }
    }

    fn widths(&self) -> Vec<usize> {
        let width = |column: usize| {
            let cells = std::iter::once(&self.headers).chain(&self.rows).filter_map(|row| row.get(column));
            let least = self.least.get(column).copied().unwrap_or(0);
            cells.map(|cell| measure_text_width(cell)).max().unwrap_or(0).max(least)
        };
        (0..self.headers.len()).map(width).collect()
    }
}

fn align(cells: &[String], widths: &[usize]) -> String {
    let mut text = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        text.push_str(cell);
        text.push_str(&" ".repeat(width.saturating_sub(measure_text_width(cell)) + GAP));
    }
    text.truncate(text.trim_end().len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_by_what_is_seen() {
        let mut table = Table::new(["name", "state"]);
        table.row(["a", "\u{1b}[32mready\u{1b}[0m"]);
        table.row(["größer", "x"]);
        table.row(["short"]);
        assert_eq!(table.lines(), ["NAME     STATE", "a        \u{1b}[32mready\u{1b}[0m", "größer   x", "short"]);
        table.clear();
        table.row(["b", "later"]);
        assert_eq!(table.body(), ["b        later"], "under the same columns");
    }
}
