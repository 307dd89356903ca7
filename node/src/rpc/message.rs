//! Views of the core as messages of `shoal.v1`. Pure: one direction, no decisions.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use shoal::v1;
use shoal_core::{
    bitfield::Bitfield,
    ids::PeerId,
    metainfo::{FileKind, Metainfo},
    policy::Labels,
    session::view::{
        ConnView, JobKind, JobView, PeerSetView, PieceState, QuestView, ServedBy, TorrentState,
        TorrentView, WebSeedView,
    },
    time::Timestamp,
    torrent::book::Source,
    tracker::announce::ShoalPeer,
};

use super::field::address;

/// A torrent and where its data is.
pub(super) fn torrent(view: &TorrentView, location: String) -> v1::Torrent {
    let metainfo = &view.metainfo;
    v1::Torrent {
        info_hash: metainfo.info_hash.to_string(),
        name: metainfo.name.clone(),
        state: torrent_state(view.state).into(),
        total_bytes: view.total_bytes,
        done_bytes: view.done_bytes,
        chunks: metainfo.piece_count(),
        chunks_have: view.pieces_have,
        chunk_size_bytes: metainfo.piece_len,
        files: count(regular_files(metainfo).count()),
        peers: count(view.peers),
        downloaded_bytes: view.downloaded,
        uploaded_bytes: view.uploaded,
        download_bps: view.download_bps,
        upload_bps: view.upload_bps,
        private: metainfo.private,
        tracker_connected: view.tracker_connected,
        error: view.error.clone().unwrap_or_default(),
        location,
        wasted_bytes: view.wasted,
        failed_chunks: view.failed_pieces,
        chunks_checking: view.pieces_checking,
        wanted_bytes: view.wanted_bytes,
        wanted_done_bytes: view.wanted_done_bytes,
        wanted_files: count(view.selection.regular(metainfo).count()),
        metadata_pieces: 0,
        metadata_pieces_have: 0,
    }
}

/// A magnet link whose metadata is looked for: a torrent of which little is known.
pub(super) fn quest(view: &QuestView) -> v1::Torrent {
    let state = match view.failed {
        Some(_) => v1::TorrentState::Error,
        None => v1::TorrentState::Metadata,
    };
    let error = view.failed.as_ref().or(view.tracker_error.as_ref());
    v1::Torrent {
        info_hash: view.info_hash.to_string(),
        name: view.name.clone(),
        state: state.into(),
        peers: count(view.peers),
        tracker_connected: view.tracker_connected,
        error: error.cloned().unwrap_or_default(),
        metadata_pieces: view.pieces,
        metadata_pieces_have: view.pieces_have,
        ..v1::Torrent::default()
    }
}

/// The indexes of the files that are no padding (and no links), in the torrent's order.
pub(super) fn regular_files(metainfo: &Metainfo) -> impl Iterator<Item = usize> + '_ {
    let files = metainfo.files.iter().enumerate();
    files.filter(|(_, file)| matches!(file.kind, FileKind::Regular)).map(|(index, _)| index)
}

/// A file of a torrent.
pub(super) fn file(
    view: &TorrentView,
    have: &Bitfield,
    index: usize,
    merged: bool,
) -> v1::TorrentFile {
    let metainfo = &view.metainfo;
    let file = &metainfo.files[index];
    let pieces = metainfo.file_pieces(index);
    let had = pieces.clone().filter(|&piece| have.get(piece as usize)).count();
    v1::TorrentFile {
        path: file.joined(),
        length_bytes: file.len,
        chunks: count(pieces.len()),
        chunks_have: count(had),
        merged,
        wanted: view.selection.wants(index),
    }
}

/// Tracker tiers.
pub(super) fn tiers(tiers: &[Vec<String>]) -> Vec<v1::TrackerTier> {
    tiers.iter().map(|urls| v1::TrackerTier { urls: urls.clone() }).collect()
}

/// A web seed.
pub(super) fn web_seed(view: &WebSeedView) -> v1::WebSeed {
    v1::WebSeed {
        url: view.url.clone(),
        in_use: view.in_use,
        given_up: view.given_up,
        rests_ms: millis(view.rests),
        error: view.error.clone().unwrap_or_default(),
    }
}

/// A torrent's state.
pub(super) fn torrent_state(state: TorrentState) -> v1::TorrentState {
    match state {
        TorrentState::Checking => v1::TorrentState::Checking,
        TorrentState::Idle => v1::TorrentState::Idle,
        TorrentState::Downloading => v1::TorrentState::Downloading,
        TorrentState::Seeding => v1::TorrentState::Seeding,
        TorrentState::Paused => v1::TorrentState::Paused,
        TorrentState::DiskFull => v1::TorrentState::DiskFull,
        TorrentState::Error => v1::TorrentState::Error,
        TorrentState::Quit => v1::TorrentState::Quit,
    }
}

/// A connection, at `now`.
pub(super) fn connection(view: &ConnView, now: Timestamp) -> v1::Connection {
    v1::Connection {
        peer: Some(address(view.addr)),
        peer_id: view.peer_id.to_string(),
        client: view.client.to_string(),
        outgoing: view.outgoing,
        am_choking: view.am_choking,
        am_interested: view.am_interested,
        peer_choking: view.peer_choking,
        peer_interested: view.peer_interested,
        snubbed: view.snubbed,
        download_bps: view.download_bps,
        upload_bps: view.upload_bps,
        downloaded_bytes: view.downloaded,
        uploaded_bytes: view.uploaded,
        chunks_have: count(view.pieces_have),
        inflight_chunks: view.inflight,
        slots: view.slots,
        connected_ms: millis(now.since(view.since)),
        shoal: view.shoal,
        labels: labels(&view.labels),
        verified_chunks: view.verified_pieces,
        source: source(view.source).into(),
        ignored_exchanges: view.ignored_exchanges,
    }
}

fn source(source: Option<Source>) -> v1::PeerSource {
    match source {
        Some(Source::Incoming) => v1::PeerSource::Incoming,
        Some(Source::Operator) => v1::PeerSource::Operator,
        Some(Source::Tracker) => v1::PeerSource::Tracker,
        Some(Source::Local(_)) => v1::PeerSource::Local,
        Some(Source::Pex(_)) => v1::PeerSource::Exchange,
        None => v1::PeerSource::Metainfo,
    }
}

/// The members of a peer set, in order of address, without a copy of what nobody asked for.
pub(super) fn peer_set_entries(
    set: &PeerSetView,
    pieces: u32,
    own: PeerId,
    with_bitfields: bool,
) -> Vec<v1::PeerSetEntry> {
    let mut entries: Vec<_> = set
        .shoal
        .iter()
        .map(|peer| (peer.addr, shoal_entry(peer, pieces, own, with_bitfields)))
        .collect();
    let known: std::collections::BTreeSet<_> = set.shoal.iter().map(|peer| peer.addr).collect();
    let plain = set.plain.iter().filter(|peer| !known.contains(&peer.addr));
    entries.extend(plain.map(|peer| {
        let entry = v1::PeerSetEntry {
            address: Some(address(peer.addr)),
            peer_id: peer.id.map(|id| id.to_string()).unwrap_or_default(),
            is_self: peer.id == Some(own),
            ..v1::PeerSetEntry::default()
        };
        (peer.addr, entry)
    }));
    entries.sort_by_key(|(addr, _)| *addr);
    entries.dedup_by_key(|(addr, _)| *addr);
    entries.into_iter().map(|(_, entry)| entry).collect()
}

fn shoal_entry(
    peer: &ShoalPeer,
    pieces: u32,
    own: PeerId,
    with_bitfields: bool,
) -> v1::PeerSetEntry {
    let len = pieces as usize;
    let told = peer.have.as_ref().and_then(|bytes| Bitfield::from_wire(bytes, len).ok());
    // One that wants only a part lacks nothing, and tells what it has.
    let have = told.or_else(|| (peer.left == 0).then(|| Bitfield::full(len)));
    let bitfield = have.as_ref().filter(|_| with_bitfields).map(Bitfield::to_wire);
    v1::PeerSetEntry {
        address: Some(address(peer.addr)),
        peer_id: peer.id.to_string(),
        chunks_have: have.map(|have| count(have.count_ones())),
        bitfield: bitfield.unwrap_or_default(),
        downloaded_bytes: peer.down,
        uploaded_bytes: peer.up,
        left_bytes: Some(peer.left),
        labels: labels(&peer.labels),
        is_self: peer.id == own,
    }
}

/// A job, at `now`.
pub(super) fn job(view: &JobView, now: Timestamp) -> v1::Job {
    let (until, state, error) = match &view.ended {
        None => (now, v1::JobState::Running, String::new()),
        Some((at, Ok(_))) => (*at, v1::JobState::Done, String::new()),
        Some((at, Err(shoal_core::session::command::CommandError::Cancelled))) => {
            (*at, v1::JobState::Cancelled, String::new())
        }
        Some((at, Err(error))) => (*at, v1::JobState::Failed, error.to_string()),
    };
    v1::Job {
        id: view.id.0,
        kind: job_kind(&view.kind).into(),
        info_hash: view.info_hash.map(|hash| hash.to_string()).unwrap_or_default(),
        torrent_name: view.name.clone(),
        state: state.into(),
        progress: Some(progress(view)),
        error,
        elapsed_ms: millis(until.since(view.began)),
    }
}

fn job_kind(kind: &JobKind) -> v1::JobKind {
    match kind {
        JobKind::AutoDownload => v1::JobKind::AutoDownload,
        JobKind::RequestDownload(_) => v1::JobKind::RequestDownload,
        JobKind::Create => v1::JobKind::Create,
        JobKind::Verify => v1::JobKind::Verify,
    }
}

/// How far a job is.
pub(super) fn progress(view: &JobView) -> v1::Progress {
    v1::Progress {
        done_bytes: view.done_bytes,
        total_bytes: view.total_bytes,
        done_chunks: view.done_pieces,
        total_chunks: view.total_pieces,
        rate_bps: view.rate_bps,
        phase: view.phase.clone(),
        peers: count(view.peers),
    }
}

/// Who served what.
pub(super) fn served_by(served: &[ServedBy]) -> Vec<v1::ServedBy> {
    let message = |by: &ServedBy| v1::ServedBy {
        peer: Some(address(by.addr)),
        chunks: by.pieces,
        bytes: by.bytes,
    };
    served.iter().map(message).collect()
}

/// A chunk's state, as the proto spells it.
pub(super) fn piece_state(state: PieceState) -> &'static str {
    match state {
        PieceState::Missing => "missing",
        PieceState::Reserved => "reserved",
        PieceState::Fetching => "fetching",
        PieceState::Verifying => "verifying",
        PieceState::Have => "have",
        PieceState::Unwanted => "unwanted",
    }
}

/// Labels as a map of the wire.
pub(super) fn labels(labels: &Labels) -> HashMap<String, String> {
    labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// A time of day.
pub(super) fn timestamp(at: SystemTime) -> prost_types::Timestamp {
    at.into()
}

/// Whole milliseconds.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Whole microseconds.
pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// A count as the wire has it.
pub(super) fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, sync::Arc};

    use shoal_core::tracker::announce::PeerEntry;

    use super::*;

    fn addr(n: u8) -> SocketAddr {
        ([10, 0, 0, n], 7000).into()
    }

    fn shoal(n: u8, left: u64, have: Option<Vec<u8>>) -> Arc<ShoalPeer> {
        let (id, addr, labels) = (PeerId([n; 20]), addr(n), Arc::default());
        ShoalPeer { id, addr, up: Some(1), down: None, left, have, labels }.into()
    }

    #[test]
    fn a_peer_set_lists_everyone_once_in_order_of_address() {
        let plain = |n: u8| PeerEntry { addr: addr(n), id: None };
        let set = PeerSetView {
            plain: vec![plain(4), plain(2), plain(1), plain(4)],
            shoal: vec![
                shoal(3, 0, None),
                shoal(1, 9, Some(vec![0b1010_0000])),
                shoal(2, 9, None),
                shoal(5, 0, Some(vec![0b0100_0000])),
            ],
            ..PeerSetView::default()
        };
        let entries = peer_set_entries(&set, 3, PeerId([1; 20]), true);
        let told: Vec<_> = entries
            .iter()
            .map(|entry| {
                (entry.address.as_ref().unwrap().ip.as_str(), entry.chunks_have, entry.is_self)
            })
            .collect();
        let expected = [
            ("10.0.0.1", Some(2), true),
            ("10.0.0.2", None, false),
            ("10.0.0.3", Some(3), false),
            ("10.0.0.4", None, false),
            ("10.0.0.5", Some(1), false),
        ];
        assert_eq!(told, expected);
        assert_eq!(entries[0].bitfield, [0b1010_0000]);
        assert_eq!(entries[2].bitfield, [0b1110_0000], "a seed has every chunk");
        assert_eq!(entries[3].left_bytes, None);
    }

    #[test]
    fn a_bitfield_that_does_not_fit_counts_as_unreported() {
        let set =
            PeerSetView { shoal: vec![shoal(1, 9, Some(vec![0xff; 9]))], ..Default::default() };
        assert_eq!(peer_set_entries(&set, 3, PeerId([9; 20]), true)[0].chunks_have, None);
    }
}
