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
    /// Text that is shortened at its end where the terminal is too narrow.
    Elastic(&'static str),
    /// The same, shortened at its beginning: a path, the name of a chunk.
    Tail(&'static str),
}

impl Column {
    const fn title(self) -> &'static str {
        match self {
            Self::Left(title) | Self::Right(title) | Self::Elastic(title) | Self::Tail(title) => {
                title
            }
        }
    }

    const fn is_elastic(self) -> bool {
        match self {
            Self::Left(_) | Self::Right(_) => false,
            Self::Elastic(_) | Self::Tail(_) => true,
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
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<String> = cells.into_iter().map(|cell| clean(&cell).into_owned()).collect();
        debug_assert_eq!(cells.len(), self.columns.len(), "a cell for each column");
        self.rows.push(cells);
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
                Column::Left(_) | Column::Elastic(_) | Column::Tail(_) => CellAlignment::Left,
            });
        }
        let mut text = table.trim_fmt();
        text.push('\n');
        text
    }

    /// Shortens the elastic columns, the widest first, until the table fits.
    fn squeeze(&mut self, width: usize) {
        let mut widths: Vec<usize> = Vec::new();
        for (index, column) in self.columns.iter().enumerate() {
            let widest = self.rows.iter().map(|row| row[index].width()).max().unwrap_or(0);
            widths.push(widest.max(column.title().width()));
        }
        let gaps = usize::from(GAP) * (self.columns.len() - 1);
        let mut over = (widths.iter().sum::<usize>() + gaps).saturating_sub(width);
        while over > 0 {
            let gives = |index: &usize| {
                let column = self.columns[*index];
                column.is_elastic() && widths[*index] > ELASTIC_MIN.max(column.title().width())
            };
            let widest = (0..widths.len()).filter(gives).max_by_key(|&index| widths[index]);
            let Some(widest) = widest else { break };
            widths[widest] -= 1;
            over -= 1;
        }
        for row in &mut self.rows {
            for ((cell, column), &room) in row.iter_mut().zip(&self.columns).zip(&widths) {
                match column {
                    Column::Left(_) | Column::Right(_) => {}
                    Column::Elastic(_) => *cell = shorten(cell, room),
                    Column::Tail(_) => *cell = shorten_head(cell, room),
                }
            }
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

/// The end of `text` in at most `room` columns, with an ellipsis where something was cut.
pub(crate) fn shorten_head(text: &str, room: usize) -> String {
    if text.width() <= room {
        return text.to_owned();
    }
    let mut from = text.len();
    let mut used = 0;
    for (index, c) in text.char_indices().rev() {
        let wide = c.width().unwrap_or(0);
        if used + wide + 1 > room {
            break;
        }
        used += wide;
        from = index;
    }
    format!("…{}", &text[from..])
}

/// Lines of `key: value`, values under one another.
pub(crate) fn block<'a>(lines: impl IntoIterator<Item = (&'a str, String)>) -> String {
    block_within(None, lines)
}

/// The same, with long values broken at spaces where the width is known.
pub(crate) fn block_within<'a>(
    width: Option<usize>,
    lines: impl IntoIterator<Item = (&'a str, String)>,
) -> String {
    let lines: Vec<(&str, String)> = lines.into_iter().collect();
    let widest = lines.iter().map(|(key, _)| key.width()).max().unwrap_or(0) + 1;
    let room = width.map_or(usize::MAX, |width| width.saturating_sub(widest + 1).max(ELASTIC_MIN));
    let mut text = String::new();
    for (key, value) in lines {
        let mut key = format!("{key}:");
        for part in wrap(&clean(&value), room) {
            text.push_str(format!("{key:widest$} {part}").trim_end());
            text.push('\n');
            key.clear();
        }
    }
    text
}

/// Lines of at most `room` columns, broken at spaces; a longer word has a line of its own. One empty
/// line where there is nothing.
pub(crate) fn wrap(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ') {
        let wide = word.width();
        if let Some(line) = lines.last_mut().filter(|_| used == 0 || used + 1 + wide <= room) {
            if used > 0 {
                line.push(' ');
                used += 1;
            }
            line.push_str(word);
            used += wide;
        } else {
            lines.push(word.to_owned());
            used = wide;
        }
    }
    lines
}

/// Every line two columns further right.
pub(crate) fn indent(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
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

    #[test]
    fn the_widest_column_gives_way_first_and_a_chunk_keeps_its_end() {
        let mut grid =
            Grid::new([Column::Tail("CHUNK"), Column::Right("US"), Column::Elastic("REASON")]);
        grid.row([
            "a long film.webm.part118".to_owned(),
            "12".to_owned(),
            "in the zone".to_owned(),
        ]);
        assert_eq!(
            grid.render(Some(32)),
            "CHUNK            US  REASON\n…m.webm.part118  12  in the zone\n"
        );
    }

    #[test]
    fn a_long_value_is_broken_at_spaces_under_its_key() {
        let lines = || [("a", "one two three four".to_owned()), ("key", String::new())];
        assert_eq!(block_within(Some(15), lines()), "a:   one two\n     three four\nkey:\n");
        assert_eq!(block_within(None, lines()), "a:   one two three four\nkey:\n");
        assert_eq!(wrap("abcdefghijkl mn", 8), ["abcdefghijkl", "mn"]);
    }

    #[test]
    fn the_head_is_cut_by_columns() {
        assert_eq!(shorten_head("日本語日本語", 7), "…日本語");
        assert_eq!(shorten_head("日本語", 6), "日本語");
    }
}
