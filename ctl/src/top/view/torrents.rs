//! The torrents: state, progress, rates, peers. Never here: their order.

use ratatui::{buffer::Buffer, layout::Rect, style::Style};
use shoal::v1::{self, TorrentState};

use super::{
    Scene,
    look::{Focus, Look},
    table::{Cell, Column, Side, Table, left_over, title},
};
use crate::{
    human,
    top::{
        order::{self, STATE_PREFIX, TorrentOrder},
        screen::{Pane, Screen},
    },
};

/// Columns of the table from which a bar shows the progress, and from which totals are shown.
const WIDTH_BAR: u16 = 90;
const WIDTH_TOTALS: u16 = 112;

/// Cells of the bar.
const BAR: u16 = 10;

/// Draws the pane.
pub(super) fn draw(buf: &mut Buffer, area: Rect, scene: &Scene<'_>, screen: &mut Screen) {
    let focus = if screen.pane == Pane::Torrents { Focus::Keys } else { Focus::None };
    let (world, look) = (scene.world, scene.look);
    let shown = order::torrents(world, &screen.torrents);
    let list = &mut screen.torrents;
    let rows = usize::from(area.height.saturating_sub(1));
    list.cursor.show(shown.len(), rows);
    let place = (list.cursor.top(), rows, shown.len());
    let head = |room| title("TORRENTS", place, world.torrents.len(), &list.filter, room);
    let sorted = Sorted { look, order: list.order, reversed: list.reversed };
    let table = Table { look, focus, columns: columns(area, head, &sorted) };
    table.draw(buf, area, (&mut list.cursor, shown.len()), |index| {
        row(shown[index], area.width, look)
    });
    if shown.is_empty() && area.height > 1 {
        let text = match (&world.refused, world.torrents.is_empty(), &world.node) {
            (_, false, _) => "no torrent matches the filter",
            (Some(why), true, _) => why,
            (None, true, Some(_)) => "no torrents: shoalctl torrent add FILE adds one",
            (None, true, None) => "",
        };
        let text = crate::clean::clean(text);
        buf.set_stringn(area.x + 1, area.y + 1, text, usize::from(area.width), look.faint());
    }
}

/// An order, and how its column is marked.
struct Sorted<'l> {
    look: &'l Look,
    order: TorrentOrder,
    reversed: bool,
}

impl Sorted<'_> {
    fn title(&self, title: &str, order: TorrentOrder) -> String {
        let signs = &self.look.signs;
        let sign = if self.reversed { signs.rising } else { signs.falling };
        if self.order == order { format!("{title}{sign}") } else { title.to_owned() }
    }
}

fn columns(area: Rect, head: impl Fn(u16) -> String, sorted: &Sorted<'_>) -> Vec<Column> {
    let done = if area.width >= WIDTH_BAR { BAR + 6 } else { 5 };
    let mut others = vec![
        (sorted.title("STATE", TorrentOrder::State), 11, Side::Left),
        (sorted.title("DONE", TorrentOrder::Done), done, Side::Right),
        (sorted.title("SIZE", TorrentOrder::Size), 7, Side::Right),
        (sorted.title("DOWN", TorrentOrder::Down), 7, Side::Right),
        (sorted.title("UP", TorrentOrder::Up), 7, Side::Right),
        (sorted.title("PEERS", TorrentOrder::Peers), 6, Side::Right),
        ("ETA".to_owned(), 6, Side::Right),
    ];
    if area.width >= WIDTH_TOTALS {
        others.push(("GOT".to_owned(), 7, Side::Right));
        others.push(("SENT".to_owned(), 7, Side::Right));
    }
    let width = left_over(area, others.iter().map(|(_, width, _)| *width)).saturating_sub(1);
    let name = sorted.title(&head(width.saturating_sub(1)), TorrentOrder::Name);
    let first = Column::new(&name, width, Side::Left);
    let others = others.iter().map(|(title, width, side)| Column::new(title, *width, *side));
    std::iter::once(first).chain(others).collect()
}

fn row(torrent: &v1::Torrent, width: u16, look: &Look) -> Vec<Cell> {
    let done = order::per_mille(torrent);
    let percent = format!("{}.{}%", done / 10, done % 10);
    let percent = if done == 1000 { "100%".to_owned() } else { percent };
    let done =
        if width >= WIDTH_BAR { format!("{} {percent:>5}", bar(done, look)) } else { percent };
    let metadata = torrent.state() == TorrentState::Metadata;
    let unknown = |text: String| if metadata { "-".to_owned() } else { text };
    let mut cells = vec![
        Cell::from(torrent.name.as_str()),
        Cell::styled(state(torrent.state()), state_style(torrent.state(), look)),
        Cell::from(unknown(done)),
        Cell::from(unknown(human::short_bytes(torrent.total_bytes))),
        Cell::from(human::short_rate(torrent.download_bps)),
        Cell::from(human::short_rate(torrent.upload_bps)),
        Cell::from(torrent.peers.to_string()),
        Cell::from(eta(torrent)),
    ];
    if width >= WIDTH_TOTALS {
        cells.push(human::short_rate(torrent.downloaded_bytes).into());
        cells.push(human::short_rate(torrent.uploaded_bytes).into());
    }
    cells
}

/// What a state is called.
pub(super) fn state(state: TorrentState) -> String {
    human::word(state.as_str_name(), STATE_PREFIX)
}

fn state_style(state: TorrentState, look: &Look) -> Style {
    match state {
        TorrentState::Downloading | TorrentState::Metadata | TorrentState::Checking => {
            look.moving()
        }
        TorrentState::Seeding => look.good(),
        TorrentState::Error | TorrentState::DiskFull => look.bad(),
        TorrentState::Idle | TorrentState::Paused | TorrentState::Quit => look.faint(),
        TorrentState::Unspecified => Style::default(),
    }
}

/// Thousandths as a bar.
pub(super) fn bar(per_mille: u64, look: &Look) -> String {
    let full = usize::try_from(per_mille.min(1000) * u64::from(BAR) / 1000).unwrap_or(0);
    let mut bar: String = std::iter::repeat_n(look.signs.had, full).collect();
    bar.extend(std::iter::repeat_n(look.signs.missing, usize::from(BAR) - full));
    bar
}

/// Time left at the present rate; `-` where nothing comes or nothing is left.
pub(super) fn eta(torrent: &v1::Torrent) -> String {
    let left = torrent.wanted_bytes.saturating_sub(torrent.wanted_done_bytes);
    if left == 0 || torrent.download_bps == 0 {
        return "-".to_owned();
    }
    human::millis(left.saturating_mul(1000) / torrent.download_bps).replace(' ', "")
}
