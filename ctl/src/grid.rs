//! Tables without borders and blocks of `key: value` lines, as text. Never here: what is shown.

use comfy_table::{CellAlignment, Table, presets};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::clean::clean;

/// Columns between two columns of a table.
const GAP: u16 = 2;

/// Fewest columns that a shortened cell keeps.
const ELASTIC_MIN: usize = 8;

/// A column of a table.
#[derive(Clone, Copy)]
pub(crate) enum Column {
    /// Text.
    Left(&'static str),
    /// Numbers.
    Right(&'static str),
    /// Text that is shortened where the terminal is too narrow; at most one in a table.
    Elastic(&'static str),
}

impl Column {
    const fn title(self) -> &'static str {
        match self {
            Self::Left(title) | Self::Right(title) | Self::Elastic(title) => title,
        }
    }
}

/// A table under construction. Cells are made harmless for a terminal as they enter.
pub(crate) struct Grid {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

impl Grid {
    /// An empty table.
    pub(crate) fn new(columns: impl IntoIterator<Item = Column>) -> Self {
        Self { columns: columns.into_iter().collect(), rows: Vec::new() }
    }

    /// Adds a row; it has a cell for each column.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        debug_assert_eq!(cells.len(), self.columns.len(), "a cell for each column");
        self.rows.push(cells.into_iter().map(|cell| clean(&cell).into_owned()).collect());
    }

    /// The text, one line a row, at most `width` columns wide where that is known; a line feed ends
    /// the last.
    pub(crate) fn render(mut self, width: Option<usize>) -> String {
        if let Some(width) = width {
            self.squeeze(width);
        }
        let mut table = Table::new();
        table.force_no_tty().load_style(presets::NOTHING);
        table.set_header(self.columns.iter().map(|column| column.title()));
        for row in self.rows {
            table.add_row(row);
        }
        for (column, shape) in table.column_iter_mut().zip(&self.columns) {
            column.set_padding((0, GAP));
            column.set_cell_alignment(match shape {
                Column::Right(_) => CellAlignment::Right,
                Column::Left(_) | Column::Elastic(_) => CellAlignment::Left,
            });
        }
        let mut text = table.trim_fmt();
        text.push('\n');
        text
    }

    /// Shortens the elastic column until the table fits.
    fn squeeze(&mut self, width: usize) {
        let Some(elastic) =
            self.columns.iter().position(|column| matches!(column, Column::Elastic(_)))
        else {
            return;
        };
        let mut others = usize::from(GAP) * (self.columns.len() - 1);
        for (index, column) in self.columns.iter().enumerate() {
            if index != elastic {
                let widest = self.rows.iter().map(|row| row[index].width()).max().unwrap_or(0);
                others += widest.max(column.title().width());
            }
        }
        let room = width.saturating_sub(others).max(ELASTIC_MIN);
        for row in &mut self.rows {
            row[elastic] = shorten(&row[elastic], room);
        }
    }
}

/// `text` in at most `room` columns, with an ellipsis where something was cut.
pub(crate) fn shorten(text: &str, room: usize) -> String {
    if text.width() <= room {
        return text.to_owned();
    }
    let mut short = String::new();
    let mut used = 0;
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if used + wide + 1 > room {
            break;
        }
        used += wide;
        short.push(c);
    }
    short.push('…');
    short
}

/// Lines of `key: value`, values under one another.
pub(crate) fn block<const N: usize>(lines: [(&str, String); N]) -> String {
    let widest = lines.iter().map(|(key, _)| key.width()).max().unwrap_or(0) + 1;
    let mut text = String::new();
    for (key, value) in lines {
        let key = format!("{key}:");
        let line = format!("{key:widest$} {}", clean(&value));
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(name: &str) -> Grid {
        let mut grid = Grid::new([Column::Elastic("NAME"), Column::Right("SIZE")]);
        grid.row([name.to_owned(), "1.0 MiB".to_owned()]);
        grid.row(["b".to_owned(), "512 B".to_owned()]);
        grid
    }

    #[test]
    fn numbers_stand_on_the_right_and_no_border_is_drawn() {
        assert_eq!(sample("a").render(None), "NAME     SIZE\na     1.0 MiB\nb       512 B\n");
    }

    #[test]
    fn a_long_name_is_cut_for_a_terminal_and_kept_for_a_pipe() {
        let name = "tài liệu ".repeat(20);
        let wide = sample(&name).render(None);
        assert!(wide.contains(name.trim_end()), "{wide}");
        let narrow = sample(&name).render(Some(40));
        assert!(narrow.lines().all(|line| line.width() <= 40), "{narrow}");
        assert!(narrow.contains('…'));
    }

    #[test]
    fn a_cell_cannot_forge_a_line() {
        let text = sample("a\nb\x1b[2J").render(None);
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(!text.contains('\x1b'));
    }

    #[test]
    fn wide_characters_count_twice() {
        assert_eq!(shorten("日本語日本語", 7), "日本語…");
        assert_eq!(shorten("日本語", 6), "日本語");
    }

    #[test]
    fn keys_of_a_block_line_up() {
        let text = block([("ip", "10.0.0.1".to_owned()), ("peer id", "-\n-".to_owned())]);
        assert_eq!(text, "ip:      10.0.0.1\npeer id: -\u{fffd}-\n");
    }
}
