//! Rows of cells under the head of a pane. Never here: what is in them.

use ratatui::{buffer::Buffer, layout::Rect, style::Style};
use unicode_width::UnicodeWidthStr as _;

use super::look::{Focus, Look};
use crate::{
    clean::clean,
    grid::{shorten, shorten_head},
    top::list::Cursor,
};

/// How a column stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Text, cut at its end.
    Left,
    /// Text, cut at its beginning: the name of a chunk, an address.
    Tail,
    /// Numbers.
    Right,
}

/// A column of a pane.
#[derive(Clone, Debug)]
pub(super) struct Column {
    title: String,
    width: u16,
    side: Side,
}

impl Column {
    /// `width` columns wide, its title included.
    pub(super) fn new(title: &str, width: u16, side: Side) -> Self {
        Self { title: title.to_owned(), width, side }
    }
}

/// A cell, and what sets it apart.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// With a style of its own.
    pub(super) fn styled(text: impl Into<String>, style: Style) -> Self {
        Self { text: text.into(), style }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), style: Style::default() }
    }
}

/// A pane of rows.
pub(super) struct Table<'l> {
    pub(super) look: &'l Look,
    pub(super) focus: Focus,
    pub(super) columns: Vec<Column>,
}

/// Columns of the mark before a row.
pub(super) const MARK: u16 = 1;

impl Table<'_> {
    /// Draws the head and those of `len` rows that fit, each made by `row`.
    pub(super) fn draw(
        &self,
        buf: &mut Buffer,
        area: Rect,
        (cursor, len): (&mut Cursor, usize),
        mut row: impl FnMut(usize) -> Vec<Cell>,
    ) {
        let rows = area.height.saturating_sub(1);
        let selected = cursor.show(len, usize::from(rows));
        self.head(buf, area);
        buf.set_style(Rect { height: area.height.min(1), ..area }, self.look.title(self.focus));
        for (y, index) in (area.top() + 1..area.bottom()).zip(cursor.top()..len) {
            let line = Rect { y, height: 1, ..area };
            let sides = self.columns.iter().map(|column| column.side);
            self.line(buf, area, y, row(index).into_iter().zip(sides));
            if selected == Some(index) {
                let mark = self.look.signs.selected.to_string();
                buf.set_stringn(area.left(), y, mark, 1, Style::default());
                buf.set_style(line, self.look.selected(self.focus));
            }
        }
    }

    fn head(&self, buf: &mut Buffer, area: Rect) {
        let titles = self.columns.iter().map(|column| Cell::from(column.title.as_str()));
        let sides = self.columns.iter().map(|column| match column.side {
            Side::Left | Side::Tail => Side::Left,
            Side::Right => Side::Right,
        });
        self.line(buf, area, area.top(), titles.zip(sides));
    }

    fn line(
        &self,
        buf: &mut Buffer,
        area: Rect,
        y: u16,
        cells: impl Iterator<Item = (Cell, Side)>,
    ) {
        let mut x = area.left() + MARK;
        for ((cell, side), column) in cells.zip(&self.columns) {
            let room = usize::from(column.width.min(area.right().saturating_sub(x)));
            let text = clean(&cell.text);
            let text = match side {
                Side::Left | Side::Right => shorten(&text, room),
                Side::Tail => shorten_head(&text, room),
            };
            let pad = match side {
                Side::Left | Side::Tail => 0,
                Side::Right => room.saturating_sub(text.width()),
            };
            let from = x + u16::try_from(pad).unwrap_or(0);
            buf.set_stringn(from, y, &text, room.saturating_sub(pad), cell.style);
            x = x.saturating_add(column.width + 1);
        }
    }
}

/// Columns left beside those of these widths, each with a gap before it, and the mark.
pub(super) fn left_over(area: Rect, widths: impl IntoIterator<Item = u16>) -> u16 {
    let taken = widths.into_iter().map(|width| width + 1).sum::<u16>();
    area.width.saturating_sub(taken + MARK)
}

/// The head of the first column: what is listed, which of how many rows, and the filter, as much of it
/// as has room.
pub(super) fn title(
    what: &str,
    (top, rows, len): (usize, usize, usize),
    of: usize,
    filter: &str,
    room: u16,
) -> String {
    let filter = if filter.is_empty() { String::new() } else { format!(" /{filter}") };
    let all = if len == of { len.to_string() } else { format!("{len}/{of}") };
    let whole = format!("{what} {all}{filter}");
    let texts = if len > rows && rows > 0 {
        let (first, last) = (top + 1, (top + rows).min(len));
        let range = format!("{what} {first}-{last} of {all}");
        vec![format!("{range}{filter}"), range, format!("{what} {first}- of {all}"), whole]
    } else {
        vec![whole, format!("{what} {all}")]
    };
    let fitting = texts.iter().find(|text| text.width() <= usize::from(room));
    fitting.or(texts.last()).cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_says_what_has_room() {
        for (place, filter, room, expected) in [
            ((0, 8, 5), "", 20, "PEERS 5/200"),
            ((0, 8, 200), "", 20, "PEERS 1-8 of 200"),
            ((100, 8, 200), "", 20, "PEERS 101-108 of 200"),
            ((100, 8, 200), "", 17, "PEERS 101- of 200"),
            ((100, 8, 200), "", 9, "PEERS 200"),
            ((196, 8, 200), "", 20, "PEERS 197-200 of 200"),
            ((0, 8, 29), "a=1", 40, "PEERS 1-8 of 29/200 /a=1"),
            ((0, 8, 29), "a=1", 20, "PEERS 1-8 of 29/200"),
            ((0, 8, 5), "a=1", 12, "PEERS 5/200"),
        ] {
            assert_eq!(title("PEERS", place, 200, filter, room), expected);
        }
    }
}
