//! What the keys do and what the signs mean. Never here: the keys themselves.

use super::look::Look;

/// What each key does, and what the columns mean: as much as one screen of 80 × 24 holds.
const KEYS: [(&str, &str); 8] = [
    ("q, ctrl-c", "quit"),
    ("up down j k", "move"),
    ("pgup pgdn home end", "move far; so do space, g and G"),
    ("tab, shift-tab", "to the next pane, to the one before"),
    ("s, r", "sort by the next column, the other way round"),
    ("/", "only rows that contain a text; esc: all again"),
    ("p", "let the screen stand still, and go on"),
    ("enter", "details: a torrent, a peer, who'd serve a chunk"),
];

const COLUMNS: [&str; 8] = [
    "FLAGS   > dialled by us, < by it; known from O an operator, T a tracker,",
    "        L the local network, P another peer, W the metainfo; I we want",
    "        of it, C it chokes us, i it wants of us, c we choke it,",
    "        S snubbed, x speaks shoal",
    "BUSY    chunks asked for there, of how many that may be",
    "OF BY   of how many peers, by which policy: blind is by none; late,",
    "        failed, bypassed, abstained, stale: the default decided",
    "TOOK    what the policy took; - for a native one. TIME is UTC",
];

/// The lines of the help.
pub(super) fn lines(look: &Look) -> Vec<String> {
    let signs = &look.signs;
    let mut lines: Vec<String> =
        KEYS.iter().map(|(key, what)| format!("{key:<20}{what}")).collect();
    lines.push(String::new());
    lines.push("Chunks, peers and decisions are those of the selected torrent.".to_owned());
    lines.push(format!(
        "CHUNKS  {} all had, {}{}{} part of them, {} some in flight, {} none",
        signs.had, signs.most, signs.some, signs.few, signs.in_flight, signs.missing
    ));
    lines.extend(COLUMNS.map(str::to_owned));
    lines
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr as _;

    use super::*;
    use crate::top::view::look::Signs;

    #[test]
    fn the_help_fits_a_screen_of_eighty_by_twenty_four() {
        let lines = lines(&Look { colour: false, signs: Signs::UNICODE });
        assert!(lines.len() <= 19, "{} lines", lines.len());
        for line in &lines {
            assert!(line.width() <= 72, "{} columns: {line}", line.width());
        }
    }
}
