//! What lies over the panes: help, and everything of a torrent, a peer or a chunk. Never here: when.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    widgets::{Block, Clear, Widget as _},
};
use shoal::v1;

use super::{Scene, decisions, help, torrents};
use crate::{
    clean::clean,
    commands::look::flags,
    grid::{Column, Grid, block_within, shorten},
    human,
    top::{
        order,
        screen::{Overlay, Screen},
    },
};

/// Columns and lines that the overlay leaves free at each side.
const MARGIN: (u16, u16) = (2, 1);

/// Widest overlay, columns: longer lines read badly.
const WIDTH_MAX: u16 = 110;

/// Draws the overlay that is open, if one is.
pub(super) fn draw(buf: &mut Buffer, panes: Rect, scene: &Scene<'_>, screen: &mut Screen) {
    let Some(overlay) = screen.overlay.clone() else { return };
    let width = panes.width.saturating_sub(2 * MARGIN.0).min(WIDTH_MAX);
    let room = usize::from(width.saturating_sub(4));
    let (title, text) = match &overlay {
        Overlay::Help => ("keys and signs", help::lines(scene.look).join("\n")),
        Overlay::Torrent(hash) => ("torrent", torrent(scene, hash, room)),
        Overlay::Peer(key) => ("peer", peer(scene, screen, key, room)),
        Overlay::Decision { .. } => ("who would serve this chunk now", decision(scene, room)),
    };
    let lines: Vec<&str> = text.lines().collect();
    let most = panes.height.saturating_sub(2 * MARGIN.1);
    let height = u16::try_from(lines.len()).unwrap_or(u16::MAX).saturating_add(2).min(most);
    let area = Rect {
        x: panes.x + (panes.width - width) / 2,
        y: panes.y + (panes.height - height) / 2,
        width,
        height,
    };
    let shown = usize::from(height.saturating_sub(2));
    let last = lines.len().saturating_sub(shown);
    screen.scrolled = screen.scrolled.min(last);
    let more = if last > 0 {
        format!(
            " {title}: {}-{} of {}, j k scroll ",
            screen.scrolled + 1,
            screen.scrolled + shown,
            lines.len()
        )
    } else {
        format!(" {title} ")
    };
    Clear.render(area, buf);
    let frame = Block::bordered().title(more).title_bottom(" esc closes ");
    let inner = frame.inner(area);
    frame.render(area, buf);
    for (line, y) in lines.iter().skip(screen.scrolled).zip(inner.top()..inner.bottom()) {
        let line = shorten(&clean(line), room);
        buf.set_stringn(inner.x + 1, y, line, room, ratatui::style::Style::default());
    }
}

fn torrent(scene: &Scene<'_>, hash: &str, room: usize) -> String {
    let Some(known) = scene.world.torrents.get(hash) else { return String::new() };
    let details = scene.world.details.as_deref();
    let torrent = &known.torrent;
    let mut text = block_within(Some(room), facts(torrent, details));
    let Some(details) = details else { return text };
    let mut grid = Grid::new([
        Column::Tail("FILE"),
        Column::Right("SIZE"),
        Column::Right("CHUNKS"),
        Column::Left("STATE"),
    ]);
    for file in &details.files {
        let state = match (file.merged, file.wanted) {
            (true, _) => "merged",
            (false, true) => "wanted",
            (false, false) => "not wanted",
        };
        grid.row([
            file.path.clone(),
            human::bytes(file.length_bytes),
            format!("{}/{}", file.chunks_have, file.chunks),
            state.to_owned(),
        ]);
    }
    text.push('\n');
    text.push_str(&grid.render(Some(room)));
    let more = (torrent.files as usize).saturating_sub(details.files.len());
    if more > 0 {
        text.push_str(&format!("and {more} more: shoalctl torrent show lists them\n"));
    }
    text
}

fn facts(
    torrent: &v1::Torrent,
    details: Option<&v1::GetTorrentResponse>,
) -> Vec<(&'static str, String)> {
    let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let trackers = details.map(|details| {
        let urls = details.trackers.iter().flat_map(|tier| tier.urls.iter().map(String::as_str));
        or_dash(&urls.collect::<Vec<_>>().join(" "))
    });
    let mut facts = vec![
        ("name", torrent.name.clone()),
        ("info hash", torrent.info_hash.clone()),
        ("state", torrents::state(torrent.state())),
    ];
    if !torrent.error.is_empty() {
        facts.push(("error", torrent.error.clone()));
    }
    let per_mille = order::per_mille(torrent);
    facts.extend([
        (
            "done",
            format!(
                "{}.{}%, {} of {} wanted, {} in all",
                per_mille / 10,
                per_mille % 10,
                human::bytes(torrent.wanted_done_bytes),
                human::bytes(torrent.wanted_bytes),
                human::bytes(torrent.total_bytes),
            ),
        ),
        ("time left", torrents::eta(torrent)),
        (
            "chunks",
            format!(
                "{} of {} had, {} each, {} failed",
                torrent.chunks_have,
                torrent.chunks,
                human::bytes(torrent.chunk_size_bytes.into()),
                torrent.failed_chunks
            ),
        ),
        (
            "down",
            format!(
                "{}, {} ever",
                human::rate(torrent.download_bps),
                human::bytes(torrent.downloaded_bytes)
            ),
        ),
        (
            "up",
            format!(
                "{}, {} ever",
                human::rate(torrent.upload_bps),
                human::bytes(torrent.uploaded_bytes)
            ),
        ),
        ("wasted", human::bytes(torrent.wasted_bytes)),
        ("files", format!("{} of {} wanted", torrent.wanted_files, torrent.files)),
        ("where", or_dash(&torrent.location)),
    ]);
    facts.extend(trackers.map(|trackers| ("trackers", trackers)));
    facts
}

fn peer(scene: &Scene<'_>, screen: &Screen, key: &str, room: usize) -> String {
    let shown = order::peers(scene.world, &screen.peers);
    let Some((_, peer)) = shown.iter().find(|(found, _)| found == key) else {
        return "it is connected no more".to_owned();
    };
    let chunks = scene.world.chosen_torrent().map_or(0, |torrent| torrent.chunks);
    let yes = |is: bool| if is { "yes" } else { "no" };
    let source = human::word(peer.source().as_str_name(), "PEER_SOURCE_");
    let way = if peer.outgoing { "dialled by us" } else { "dialled by it" };
    block_within(
        Some(room),
        [
            ("peer", human::address(peer.peer.as_ref())),
            ("peer id", peer.peer_id.clone()),
            ("client", peer.client.clone()),
            ("labels", human::pairs(&peer.labels)),
            (
                "connected",
                format!("{} ago, {way}; known from: {source}", human::millis(peer.connected_ms)),
            ),
            ("flags", flags(peer)),
            (
                "chokes us",
                format!("{}; we choke it: {}", yes(peer.peer_choking), yes(peer.am_choking)),
            ),
            (
                "wants ours",
                format!("{}; we want its: {}", yes(peer.peer_interested), yes(peer.am_interested)),
            ),
            ("snubbed", yes(peer.snubbed).to_owned()),
            (
                "down",
                format!(
                    "{}, {} so far",
                    human::rate(peer.download_bps),
                    human::bytes(peer.downloaded_bytes)
                ),
            ),
            (
                "up",
                format!(
                    "{}, {} so far",
                    human::rate(peer.upload_bps),
                    human::bytes(peer.uploaded_bytes)
                ),
            ),
            (
                "chunks",
                format!(
                    "{} of {chunks}; {} came from it and were verified",
                    peer.chunks_have, peer.verified_chunks
                ),
            ),
            (
                "asked",
                format!(
                    "{} of at most {}",
                    human::count(peer.inflight_chunks.into(), "chunk"),
                    peer.slots
                ),
            ),
            ("speaks shoal", yes(peer.shoal).to_owned()),
        ],
    )
}

fn decision(scene: &Scene<'_>, room: usize) -> String {
    let told = match &scene.world.explained {
        None => return "asking the node".to_owned(),
        Some(Err(why)) => return clean(why).into_owned(),
        Some(Ok(told)) => told,
    };
    let as_decision = v1::Decision {
        outcome: told.outcome,
        policy: told.policy.clone(),
        ..v1::Decision::default()
    };
    let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let state = if told.state == "have" { "had already" } else { &told.state };
    let mut text = block_within(
        Some(room),
        [
            ("chunk", format!("{}, {}, {state}", told.chunk, human::bytes(told.size.into()))),
            ("peers that have it", told.availability.to_string()),
            ("chosen", human::address(told.chosen.as_ref())),
            ("by", decisions::by(&as_decision)),
            ("reason", or_dash(&told.reason)),
            ("default", human::address(told.default_choice.as_ref())),
            ("took", human::micros(told.spent_us.into())),
        ],
    );
    text.push('\n');
    let mut grid = Grid::new([
        Column::Left("CANDIDATE"),
        Column::Right("SCORE"),
        Column::Right("DOWN"),
        Column::Right("RTT"),
        Column::Right("BUSY"),
        Column::Right("SERVED"),
        Column::Right("FAILED"),
        Column::Elastic("LABELS"),
    ]);
    for peer in &told.candidates {
        grid.row([
            human::address(peer.peer.as_ref()),
            peer.score.map_or_else(|| "-".to_owned(), human::number),
            human::short_rate(peer.rate_bps),
            if peer.rtt_us == 0 { "-".to_owned() } else { human::micros(peer.rtt_us) },
            format!("{}/{}", peer.inflight, peer.slots),
            human::short_bytes(peer.uploaded),
            peer.failures.to_string(),
            human::pairs(&peer.labels),
        ]);
    }
    text.push_str(&grid.render(Some(room)));
    if !told.left_out.is_empty() {
        let mut grid = Grid::new([Column::Left("LEFT OUT"), Column::Elastic("WHY")]);
        for peer in &told.left_out {
            grid.row([human::address(peer.peer.as_ref()), peer.detail.clone()]);
        }
        text.push('\n');
        text.push_str(&grid.render(Some(room)));
    }
    text
}
