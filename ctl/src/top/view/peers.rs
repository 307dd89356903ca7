//! The peers of the chosen torrent: rates both ways, flags, chunks, labels. Never here: their order.

use ratatui::{buffer::Buffer, layout::Rect};
use shoal::v1;
use unicode_width::UnicodeWidthStr as _;

use super::{
    Scene,
    look::{Focus, Look},
    table::{Cell, Column, Side, Table, left_over, title},
};
use crate::{
    commands::look::flags,
    human,
    top::{
        order::{self, PeerOrder},
        screen::{Pane, Screen},
    },
};

/// Columns of the table from which totals are shown.
const WIDTH_TOTALS: u16 = 112;

/// Fewest columns of a client and of labels.
const CLIENT_MIN: u16 = 7;
const LABELS_MIN: u16 = 6;

/// Fewest and most columns of an address.
const PEER_MIN: u16 = 18;
const PEER_MAX: u16 = 22;

/// Draws the pane.
pub(super) fn draw(buf: &mut Buffer, area: Rect, scene: &Scene<'_>, screen: &mut Screen) {
    let focus = if screen.pane == Pane::Peers { Focus::Keys } else { Focus::None };
    let (world, look) = (scene.world, scene.look);
    let told = world.chosen.as_ref().and_then(|chosen| chosen.peers.as_ref());
    let shown = order::peers(world, &screen.peers);
    let list = &mut screen.peers;
    let rows = usize::from(area.height.saturating_sub(1));
    list.cursor.show(shown.len(), rows);
    let place = (list.cursor.top(), rows, shown.len());
    let known = world.chosen_torrent().map_or(0, |torrent| torrent.peers as usize);
    let of =
        told.map_or(0, |told| if told.len() >= 1000 { known.max(told.len()) } else { told.len() });
    let mark = |title: &str, orders: &[PeerOrder]| {
        let sign = if list.reversed { look.signs.rising } else { look.signs.falling };
        if orders.contains(&list.order) { format!("{title}{sign}") } else { title.to_owned() }
    };
    let address = |(_, peer): &(String, &v1::Connection)| human::address(peer.peer.as_ref()).len();
    let widest = shown.iter().map(address).max().unwrap_or(0);
    let widest = u16::try_from(widest).unwrap_or(PEER_MAX).clamp(PEER_MIN, PEER_MAX);
    let name = title("PEERS", place, of, &list.filter, widest - 1);
    let name = mark(&name, &[PeerOrder::Address]);
    let texts = |text: fn(&v1::Connection) -> String| {
        let widths = shown.iter().map(|(_, peer)| text(peer).width());
        u16::try_from(widths.max().unwrap_or(0)).unwrap_or(u16::MAX)
    };
    let wanted = (texts(|peer| peer.client.clone()), texts(|peer| human::pairs(&peer.labels)));
    let table = Table { look, focus, columns: columns(area, &name, widest, wanted, mark) };
    let chunks = world.chosen_torrent().map_or(0, |torrent| torrent.chunks);
    table.draw(buf, area, (&mut list.cursor, shown.len()), |index| {
        row(shown[index].1, chunks, area.width, look)
    });
    if shown.is_empty() && area.height > 1 {
        let text = match (told, list.filter.is_empty()) {
            (Some(_), true) => "no peer is connected",
            (Some(_), false) => "no peer matches the filter",
            (None, _) => "",
        };
        buf.set_stringn(area.x + 1, area.y + 1, text, usize::from(area.width), look.faint());
    }
}

fn columns(
    area: Rect,
    name: &str,
    widest: u16,
    (client, labels): (u16, u16),
    mark: impl Fn(&str, &[PeerOrder]) -> String,
) -> Vec<Column> {
    let mut columns = vec![
        (name.to_owned(), widest, Side::Tail),
        ("FLAGS".to_owned(), 7, Side::Left),
        (mark("DOWN", &[PeerOrder::Rate, PeerOrder::Down]), 7, Side::Right),
        (mark("UP", &[PeerOrder::Rate, PeerOrder::Up]), 7, Side::Right),
        (mark("CHUNKS", &[PeerOrder::Chunks]), 7, Side::Right),
        ("BUSY".to_owned(), 5, Side::Right),
    ];
    if area.width >= WIDTH_TOTALS {
        columns.push(("GOT".to_owned(), 7, Side::Right));
        columns.push(("SENT".to_owned(), 7, Side::Right));
        columns.push((mark("TIME", &[PeerOrder::Age]), 6, Side::Right));
    }
    let room = left_over(area, columns.iter().map(|(_, width, _)| *width)).saturating_sub(2);
    // Labels get what they need, but never more than half of what is left.
    let labels = labels.clamp(LABELS_MIN, (room / 2).max(LABELS_MIN));
    let client = client.clamp(CLIENT_MIN, room.saturating_sub(labels).max(CLIENT_MIN));
    columns.insert(1, (mark("CLIENT", &[PeerOrder::Client]), client, Side::Left));
    columns.push(("LABELS".to_owned(), room.saturating_sub(client), Side::Left));
    columns.into_iter().map(|(title, width, side)| Column::new(&title, width, side)).collect()
}

fn row(peer: &v1::Connection, chunks: u32, width: u16, look: &Look) -> Vec<Cell> {
    let have = peer.chunks_have;
    let have = if have >= chunks && chunks > 0 { "all".to_owned() } else { have.to_string() };
    let flags_style = if peer.snubbed { look.bad() } else { ratatui::style::Style::default() };
    let mut cells = vec![
        Cell::from(human::address(peer.peer.as_ref())),
        Cell::from(peer.client.as_str()),
        Cell::styled(flags(peer), flags_style),
        Cell::from(human::short_rate(peer.download_bps)),
        Cell::from(human::short_rate(peer.upload_bps)),
        Cell::from(have),
        Cell::from(format!("{}/{}", peer.inflight_chunks, peer.slots)),
    ];
    if width >= WIDTH_TOTALS {
        cells.push(human::short_rate(peer.downloaded_bytes).into());
        cells.push(human::short_rate(peer.uploaded_bytes).into());
        cells.push(human::millis(peer.connected_ms).replace(' ', "").into());
    }
    cells.push(human::pairs(&peer.labels).into());
    cells
}
