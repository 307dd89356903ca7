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
        let needs = Needs::of(area.width, scene.world);
        let (torrents, chunks, peers, decisions) = if area.width >= COLUMNS_WIDE {
            side_by_side(body, &needs)
        } else {
            stacked(body, &needs)
        };
        Self { head, torrents, chunks, peers, decisions, foot }
    }
}

/// Lines that each pane would fill, its head included.
struct Needs {
    torrents: u16,
    chunks: u16,
    peers: u16,
    decisions: u16,
}

impl Needs {
    fn of(width: u16, world: &World) -> Self {
        let lines = |count: usize| u16::try_from(count).unwrap_or(u16::MAX).saturating_add(1);
        let chosen = world.chosen.as_ref();
        let peers = chosen.and_then(|chosen| chosen.peers.as_ref()).map_or(0, Vec::len);
        let decisions = chosen.and_then(|chosen| chosen.decisions.as_ref()).map_or(0, Vec::len);
        let chunks = chosen.and_then(|chosen| chosen.chunks.as_ref()).map_or(0, |it| it.total);
        let chunks = (chunks as usize).div_ceil(usize::from(width.saturating_sub(2)).max(1));
        Self {
            torrents: lines(world.torrents.len().max(1)),
            chunks: lines(chunks.max(1)),
            peers: lines(peers.max(1)),
            decisions: lines(decisions.max(1)),
        }
    }
}

/// Fewest lines of a pane with its head, where there are enough.
const PANE_MIN: u16 = 3;

/// Torrents and peers beside each other, chunks and decisions under both; decisions get what the
/// others do not need.
fn side_by_side(body: Rect, needs: &Needs) -> (Rect, Rect, Rect, Rect) {
    let least = PANE_MIN.min(body.height / 3);
    let chunks = needs.chunks.min(body.height / 5).max(least);
    let most = body.height - chunks - needs.decisions.min(body.height / 4).max(2);
    let tables = needs.torrents.max(needs.peers).clamp(least, most.max(least));
    let left = body.width / 2;
    let torrents = Rect { width: left - 1, height: tables, ..body };
    let peers = Rect { x: body.x + left, width: body.width - left, height: tables, ..body };
    let chunks = Rect { y: torrents.bottom(), height: chunks, ..body };
    let decisions =
        Rect { y: chunks.bottom(), height: body.height - tables - chunks.height, ..body };
    (torrents, chunks, peers, decisions)
}

/// One under the other. Torrents take what they need up to a third, peers what is left; decisions get
/// what the others do not need.
fn stacked(body: Rect, needs: &Needs) -> (Rect, Rect, Rect, Rect) {
    let least = PANE_MIN.min(body.height / 4);
    let chunks = needs.chunks.min(body.height / 5).max(2);
    let mut decisions = needs.decisions.min(body.height / 4).max(2);
    let mut torrents = needs.torrents.clamp(least, (body.height / 3).max(least));
    let mut peers = body.height - chunks - decisions - torrents;
    let spare = peers.saturating_sub(needs.peers.max(least));
    let more = spare.min(needs.torrents.saturating_sub(torrents));
    torrents += more;
    decisions += spare - more;
    peers -= spare;
    let torrents = Rect { height: torrents, ..body };
    let chunks = Rect { y: torrents.bottom(), height: chunks, ..body };
    let peers = Rect { y: chunks.bottom(), height: peers, ..body };
    let decisions = Rect { y: peers.bottom(), height: decisions, ..body };
    (torrents, chunks, peers, decisions)
}
