//! What the keys do and what the signs mean. Never here: the keys themselves.

use super::look::Look;

/// The lines of the help.
pub(super) fn lines(look: &Look) -> Vec<String> {
    let signs = &look.signs;
    let keys = [
        ("q, ctrl-c", "quit"),
        ("?", "this help; esc, enter or q closes it"),
        ("up down j k", "move"),
        ("pgup pgdn home end g G", "move far"),
        ("tab, shift-tab", "to the next pane, to the one before"),
        ("s, r", "sort by the next column, the other way round"),
        ("/", "show only rows that contain what is typed; esc shows all"),
        ("p", "let the screen stand still, and go on"),
        ("enter", "details: a torrent's files, a peer, who would serve a chunk now"),
    ];
    let mut lines: Vec<String> =
        keys.iter().map(|(key, what)| format!("{key:<24}{what}")).collect();
    lines.push(String::new());
    lines.push(
        "The torrent that is selected is the one whose chunks, peers and decisions are shown."
            .into(),
    );
    lines.push(String::new());
    lines.push(format!(
        "CHUNKS     {} all had, {}{}{} part of them, {} some in flight, {} none had",
        signs.had, signs.most, signs.some, signs.few, signs.in_flight, signs.missing
    ));
    for line in [
        "FLAGS      > dialled by us, < by it; its address is from O an operator, T a tracker,",
        "           L the local network, P another peer, W the metainfo; I we are interested,",
        "           C it chokes us, i it is interested, c we choke it, S snubbed, x speaks shoal",
        "BUSY       chunks asked for there, of how many that may be",
        "DECISIONS  OF how many peers it was chosen, BY which policy (engine: blind = by no",
        "           policy; late, failed, bypassed, abstained, stale: the default decided),",
        "           TOOK how long the policy took; - for a native one",
        "RATES      bytes a second; K, M, G are binary. TIME is UTC",
    ] {
        lines.push(line.to_owned());
    }
    lines
}
