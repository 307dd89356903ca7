//! How the world is drawn. Pane by pane, from the top: the node, the torrents, the chunks, the peers,
//! the decisions, the keys. Never here: what is known, or what a key does.

use ratatui::{Frame, buffer::Buffer, layout::Rect, style::Style};

use super::{screen::Screen, world::World};

mod chunks;
mod decisions;
mod details;
mod frame;
mod help;
mod look;
mod peers;
mod table;
mod torrents;

pub(super) use look::Look;
#[cfg(test)]
pub(super) use look::Signs;

/// Fewest columns and lines that are drawn in.
const COLUMNS_MIN: u16 = 60;
const LINES_MIN: u16 = 16;

/// Columns from which torrents and peers stand beside each other.
const COLUMNS_WIDE: u16 = 160;

/// Lines of the node, and of the keys.
const HEAD: u16 = 2;
const FOOT: u16 = 1;

/// What is drawn.
pub(super) struct Scene<'w> {
    /// What is known.
    pub(super) world: &'w World,
    /// Where the node is, as it was given.
    pub(super) endpoint: &'w str,
    /// Colours and signs.
    pub(super) look: &'w Look,
}

/// Draws a frame.
pub(super) fn draw(frame: &mut Frame<'_>, scene: &Scene<'_>, screen: &mut Screen) {
    let area = frame.area();
    paint(frame.buffer_mut(), area, scene, screen);
}

/// A frame as plain text, lines without spaces at their ends.
pub(super) fn text(area: Rect, scene: &Scene<'_>, screen: &mut Screen) -> String {
    let mut buffer = Buffer::empty(area);
    paint(&mut buffer, area, scene, screen);
    lines(&buffer).iter().map(|line| format!("{line}\n")).collect()
}

/// The lines of a buffer, without spaces at their ends.
pub(super) fn lines(buffer: &Buffer) -> Vec<String> {
    use unicode_width::UnicodeWidthStr as _;
    let area = buffer.area;
    let line = |y| {
        let (mut line, mut x) = (String::new(), area.left());
        while x < area.right() {
            let symbol = buffer.cell((x, y)).map_or(" ", |cell| cell.symbol());
            line.push_str(symbol);
            // A wide character hides the cell behind it.
            x += u16::try_from(symbol.width().max(1)).unwrap_or(1);
        }
        line.trim_end().to_owned()
    };
    (area.top()..area.bottom()).map(line).collect()
}

fn paint(buf: &mut Buffer, area: Rect, scene: &Scene<'_>, screen: &mut Screen) {
    if area.width < COLUMNS_MIN || area.height < LINES_MIN {
        return too_small(buf, area);
    }
    let plan = Plan::of(area, scene);
    frame::head(buf, plan.head, scene, screen);
    torrents::draw(buf, plan.torrents, scene, screen);
    chunks::draw(buf, plan.chunks, scene);
    peers::draw(buf, plan.peers, scene, screen);
    decisions::draw(buf, plan.decisions, scene, screen);
    frame::foot(buf, plan.foot, scene, screen);
    let panes = Rect { height: area.height - FOOT, ..area };
    details::draw(buf, panes, scene, screen);
    if scene.look.signs.are_plain() {
        plain(buf, area);
    }
}

/// Puts plain signs in the place of those that stand in every text.
fn plain(buf: &mut Buffer, area: Rect) {
    const PLAIN: [(&str, &str); 9] = [
        ("…", "~"),
        ("µ", "u"),
        ("│", "|"),
        ("─", "-"),
        ("┌", "+"),
        ("┐", "+"),
        ("└", "+"),
        ("┘", "+"),
        ("\u{fffd}", "?"),
    ];
    for position in area.positions() {
        if let Some(cell) = buf.cell_mut(position)
            && let Some((_, sign)) = PLAIN.iter().find(|(sign, _)| *sign == cell.symbol())
        {
            cell.set_symbol(sign);
        }
    }
}

fn too_small(buf: &mut Buffer, area: Rect) {
    let texts = [
        format!("too small: {} x {}", area.width, area.height),
        format!("needs {COLUMNS_MIN} x {LINES_MIN}"),
        "q quits".to_owned(),
    ];
    for (y, text) in (area.top()..area.bottom()).zip(texts) {
        buf.set_stringn(area.left(), y, text, usize::from(area.width), Style::default());
    }
}

/// Where everything goes.
struct Plan {
    head: Rect,
    torrents: Rect,
    chunks: Rect,
    peers: Rect,
    decisions: Rect,
    foot: Rect,
}

impl Plan {
    fn of(area: Rect, scene: &Scene<'_>) -> Self {
        let head = Rect { height: HEAD, ..area };
        let foot = Rect { y: area.bottom() - FOOT, height: FOOT, ..area };
        let body = Rect { y: head.bottom(), height: area.height - HEAD - FOOT, ..area };
        let (torrents, chunks, peers, decisions) =
            if area.width >= COLUMNS_WIDE { side_by_side(body) } else { stacked(body, scene) };
        Self { head, torrents, chunks, peers, decisions, foot }
    }
}

/// Torrents and peers beside each other, chunks and decisions under both.
fn side_by_side(body: Rect) -> (Rect, Rect, Rect, Rect) {
    let decisions = (body.height / 4).max(3);
    let chunks = (body.height / 5).clamp(3, 10);
    let tables = body.height - decisions - chunks;
    let left = body.width / 2;
    let torrents = Rect { width: left - 1, height: tables, ..body };
    let peers = Rect { x: body.x + left, width: body.width - left, height: tables, ..body };
    let chunks = Rect { y: torrents.bottom(), height: chunks, ..body };
    let decisions = Rect { y: chunks.bottom(), height: decisions, ..body };
    (torrents, chunks, peers, decisions)
}

/// One under the other. Torrents take what they need up to a third; peers get what is left.
fn stacked(body: Rect, scene: &Scene<'_>) -> (Rect, Rect, Rect, Rect) {
    let rows = |count: usize| u16::try_from(count).unwrap_or(u16::MAX).saturating_add(1);
    let chosen = scene.world.chosen.as_ref();
    let count = |rows: Option<usize>| rows.unwrap_or(0).max(1);
    let torrents_need = rows(scene.world.torrents.len().max(1));
    let peers_need = rows(count(chosen.and_then(|it| it.peers.as_ref()).map(Vec::len)));
    let third = body.height / 3;
    let chunks = (body.height / 5).clamp(2, 9);
    let least = 3.min(body.height / 4);
    let mut decisions = (body.height / 4).max(least);
    let mut torrents = torrents_need.clamp(least, third.max(least));
    let mut peers = body.height - chunks - decisions - torrents;
    // What the peers do not need: to the torrents, then to the decisions.
    let spare = peers.saturating_sub(peers_need.max(least));
    let more = spare.min(torrents_need.saturating_sub(torrents));
    torrents += more;
    decisions += spare - more;
    peers -= spare;
    let torrents = Rect { height: torrents, ..body };
    let chunks = Rect { y: torrents.bottom(), height: chunks, ..body };
    let peers = Rect { y: chunks.bottom(), height: peers, ..body };
    let decisions = Rect { y: peers.bottom(), height: decisions, ..body };
    (torrents, chunks, peers, decisions)
}
