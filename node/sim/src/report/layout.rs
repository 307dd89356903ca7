//! Text within [`WIDTH`] columns: lines that wrap, rows that line up, names made harmless. Never
//! here: what is said.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Columns of a terminal that every report fits in.
pub(crate) const WIDTH: usize = 80;
/// What stands before the rows of a section.
const INDENT: usize = 2;
/// Columns between two cells.
const GAP: usize = 2;
/// The column at which what belongs to a label begins.
const LABELLED: usize = 13;

/// Where the text of a column stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Align {
    Left,
    Right,
}

/// `text` as one harmless line: what a terminal could take for something other than a character to
/// show (controls, overrides of the writing direction, invisible breaks and tags) becomes U+FFFD.
/// None of the characters that stay is forbidden in XML.
pub(crate) fn clean(text: &str) -> String {
    let is_unsafe = |c: char| {
        c.is_control()
            || matches!(c,
                '\u{061c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{fffe}' | '\u{ffff}'
                | '\u{e0000}'..='\u{e007f}')
    };
    text.chars().map(|c| if is_unsafe(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// `text` cut to `width` columns, with `…` where something is missing.
pub(crate) fn fit(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let (mut cut, mut used) = (String::new(), 0);
    for c in text.chars() {
        let next = c.width().unwrap_or(0);
        if used + next + 1 > width {
            break;
        }
        used += next;
        cut.push(c);
    }
    cut.push('…');
    cut
}

/// `text` cut to `width` columns from its beginning: what tells paths apart is their end.
pub(crate) fn fit_end(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let turned: String = text.chars().rev().collect();
    fit(&turned, width).chars().rev().collect()
}

/// `text` in lines of at most `width` columns, broken at spaces and, where a word is longer than a
/// line, within it.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let len = word.width();
        if used > 0 && used + 1 + len > width {
            lines.push(String::new());
            used = 0;
        }
        if used > 0 {
            push(&mut lines, ' ');
            used += 1;
        }
        for c in word.chars() {
            let next = c.width().unwrap_or(0);
            if used + next > width {
                lines.push(String::new());
                used = 0;
            }
            push(&mut lines, c);
            used += next;
        }
    }
    lines
}

fn push(lines: &mut [String], c: char) {
    if let Some(line) = lines.last_mut() {
        line.push(c);
    }
}

/// A line `  label      text`, wrapped below where the text begins.
pub(crate) fn labelled(label: &str, text: &str) -> String {
    let mut page = String::new();
    for (number, line) in wrap(&clean(text), WIDTH - LABELLED).iter().enumerate() {
        let label = if number == 0 { label } else { "" };
        let start = format!("{:INDENT$}{label:<rest$}", "", rest = LABELLED - INDENT);
        page.push_str(format!("{start}{line}").trim_end());
        page.push('\n');
    }
    page
}

/// Rows whose cells line up. Where they are wider than a line, the widest columns are cut.
pub(crate) fn rows(rows: &[Vec<String>], align: &[Align]) -> String {
    let widths = widths(rows, align.len());
    let mut page = String::new();
    for row in rows {
        let mut line = " ".repeat(INDENT);
        for (place, ((cell, align), width)) in row.iter().zip(align).zip(&widths).enumerate() {
            if place > 0 {
                line.push_str(&" ".repeat(GAP));
            }
            let cell = fit(cell, *width);
            let space = " ".repeat(width.saturating_sub(cell.width()));
            match align {
                Align::Left => line.extend([cell.as_str(), &space]),
                Align::Right => line.extend([space.as_str(), &cell]),
            }
        }
        page.push_str(line.trim_end());
        page.push('\n');
    }
    page
}

fn widths(rows: &[Vec<String>], columns: usize) -> Vec<usize> {
    let widest = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.width()).max().unwrap_or(0).min(WIDTH)
    };
    let mut widths: Vec<usize> = (0..columns).map(widest).collect();
    let room = WIDTH - INDENT - GAP * columns.saturating_sub(1);
    while widths.iter().sum::<usize>() > room {
        let Some(width) = widths.iter_mut().max() else { break };
        *width -= 1;
    }
    widths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_could_obey_is_replaced() {
        assert_eq!(
            clean("a\x1b[2Jb\nc\u{202e}d\u{ffff}"),
            "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d\u{fffd}"
        );
        assert_eq!(clean("Đà Nẵng 日本"), "Đà Nẵng 日本");
    }

    #[test]
    fn long_text_is_cut_by_columns_not_characters() {
        assert_eq!(fit("abc", 3), "abc");
        assert_eq!(fit("abcd", 3), "ab…");
        assert_eq!(fit("日本語", 5), "日本…");
        assert_eq!(fit("日本語", 4), "日…");
        assert_eq!(fit_end("a/b/c.lua", 6), "…c.lua");
        assert_eq!(fit_end("c.lua", 5), "c.lua");
    }

    #[test]
    fn lines_break_at_spaces_and_within_words_that_are_too_long() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("abcdefgh ij", 3), ["abc", "def", "gh", "ij"]);
        assert_eq!(wrap("日本語", 4), ["日本", "語"]);
        assert_eq!(wrap("", 7), [""]);
    }

    #[test]
    fn rows_line_up_and_the_widest_column_gives_way() {
        let cells = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let align = [Align::Left, Align::Right];
        let page = rows(&[cells(["a", "1"]), cells(["bcd", "22"])], &align);
        assert_eq!(page, "  a     1\n  bcd  22\n");
        let page = rows(&[cells([&"x".repeat(200), "22"])], &align);
        assert_eq!(page.lines().next().map(|line| line.width()), Some(WIDTH));
        assert!(page.ends_with("…  22\n"), "{page}");
    }
}
