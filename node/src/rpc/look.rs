//! The commands that only look: `see_…` and `check_…`.

use shoal::v1 as api;
use shoal_core::{
    ids::PieceIndex,
    session::{Session, view::TorrentView},
};

use super::{
    context::Context,
    field::{address, peer, sentence},
    message::{
        connection, labels, millis, peer_set_entries, piece_state, timestamp, torrent_state,
    },
    page::{self, List},
    status::Refusal,
};

const PEERS: List = List("peers");
const CONNECTIONS: List = List("connections");
const CHUNKS: List = List("chunks");
/// Bytes of each of the two lists of names in see_this_peer_info.
const NAMES_LEN_MAX: usize = page::LIST_LEN_MAX / 2;
/// Bytes of the names of one chunk: a piece of a foreign torrent may touch thousands of files.
const CHUNK_NAMES_LEN_MAX: usize = 256 * 1024;
/// The most chunks in flight of a reply.
const IN_FLIGHT_MAX: usize = 4096;

/// A page of a peer set.
#[derive(Clone, Debug)]
pub(super) struct PeerSetAsked {
    pub(super) torrent: String,
    pub(super) with_bitfields: bool,
    pub(super) page_size: u32,
    pub(super) page_token: String,
}

impl PeerSetAsked {
    /// Refuses what is malformed, before anybody is asked.
    pub(super) fn check(&self) -> Result<(usize, usize), Refusal> {
        Ok((page::size(self.page_size)?, PEERS.offset(&self.page_token)?))
    }
}

/// `check_tracker_connected`.
pub(super) async fn tracker(
    this: &Context,
    request: api::CheckTrackerConnectedRequest,
) -> Result<api::CheckTrackerConnectedResponse, Refusal> {
    let look = |session: &Session, view: TorrentView| Ok(session.tracker(view.id));
    let view = this.look(request.torrent, look).await?.unwrap_or_default();
    let now = this.peer_role()?.facts().clock.now();
    let is = if view.connected { "is" } else { "is not" };
    Ok(api::CheckTrackerConnectedResponse {
        connected: view.connected,
        message: format!("Peer {is} connected to tracker"),
        tracker_url: view.url.unwrap_or_default(),
        last_announce_age_ms: view.last_ok.map(|at| millis(now.since(at))),
        next_announce_ms: view.next.map(|at| millis(at.since(now))),
        last_error: view.last_error.unwrap_or_default(),
    })
}

/// `check_target_peer_connected`.
pub(super) async fn target_peer(
    this: &Context,
    request: api::CheckTargetPeerConnectedRequest,
) -> Result<api::CheckTargetPeerConnectedResponse, Refusal> {
    let target = peer(request.peer)?;
    let look = move |session: &Session, view: TorrentView| {
        let mut connections = session.connections(view.id).into_iter();
        Ok((view.id, connections.find(|conn| conn.addr == target)))
    };
    let (torrent, found) = this.look(request.torrent, look).await?;
    let own = this.self_addr(torrent).await?;
    let clock = this.peer_role()?.facts().clock;
    let is = if found.is_some() { "is" } else { "is not" };
    let message =
        format!("Target {} {is} connected to current {}", sentence(target), sentence(own));
    Ok(api::CheckTargetPeerConnectedResponse {
        connected: found.is_some(),
        message,
        connected_since: found.as_ref().map(|conn| timestamp(clock.wall(conn.since))),
        connected_ms: found.map(|conn| millis(clock.now().since(conn.since))).unwrap_or_default(),
    })
}

/// `see_this_peer_info`.
pub(super) async fn this_peer(
    this: &Context,
    request: api::SeeThisPeerInfoRequest,
) -> Result<api::SeeThisPeerInfoResponse, Refusal> {
    let size = page::sized("names_max", request.names_max)?;
    let look = move |session: &Session, view: TorrentView| {
        let have = session.have(view.id);
        let take = |pieces: &mut dyn Iterator<Item = PieceIndex>| {
            let names = pieces.map(|piece| view.metainfo.chunk_name(piece));
            page::names(names, size, NAMES_LEN_MAX)
        };
        let current = have.map(|have| take(&mut have.iter_ones())).unwrap_or_default();
        let missing = have.map(|have| take(&mut have.iter_zeros())).unwrap_or_default();
        let had = have.map_or(0, |have| super::message::count(have.count_ones()));
        Ok((view, current, missing, had, session.identity().labels.clone()))
    };
    let (view, current_chunks, missing_chunks, chunks_have, own_labels) =
        this.look(request.torrent, look).await?;
    let own = this.self_addr(view.id).await?;
    let facts = this.peer_role()?.facts();
    Ok(api::SeeThisPeerInfoResponse {
        self_: Some(address(own)),
        peer_id: facts.peer_id.to_string(),
        current_chunks,
        missing_chunks,
        chunks_have,
        chunks_missing: view.metainfo.piece_count().saturating_sub(chunks_have),
        downloaded_bytes: view.downloaded,
        uploaded_bytes: view.uploaded,
        labels: labels(&own_labels),
        torrent_name: view.metainfo.name.clone(),
        info_hash: view.metainfo.info_hash.to_string(),
        state: torrent_state(view.state).into(),
    })
}

/// A page of the last peer set, and the token of the next.
pub(super) async fn peer_set(
    this: &Context,
    asked: PeerSetAsked,
) -> Result<(api::PeerSet, String), Refusal> {
    let (size, offset) = asked.check()?;
    let look = |session: &Session, view: TorrentView| {
        let set = session.peer_set(view.id).cloned().unwrap_or_default();
        Ok((set, view.metainfo.piece_count()))
    };
    let (set, chunks) = this.look(asked.torrent, look).await?;
    let facts = this.peer_role()?.facts();
    let entries = peer_set_entries(&set, chunks, facts.peer_id, asked.with_bitfields);
    let total_peers = super::message::count(entries.len());
    let (peers, next) = PEERS.page(entries, offset, size);
    let set = api::PeerSet {
        peers,
        tracker_url: set.url.unwrap_or_default(),
        received_at: set.at.map(|at| timestamp(facts.clock.wall(at))),
        age_ms: set.at.map(|at| millis(facts.clock.now().since(at))).unwrap_or_default(),
        seeders: set.seeders,
        leechers: set.leechers,
        chunks,
        total_peers,
    };
    Ok((set, next))
}

/// `see_connected`.
pub(super) async fn connected(
    this: &Context,
    request: api::SeeConnectedRequest,
) -> Result<api::SeeConnectedResponse, Refusal> {
    let (size, offset) = (page::size(request.page_size)?, CONNECTIONS.offset(&request.page_token)?);
    let look = |session: &Session, view: TorrentView| Ok(session.connections(view.id));
    let views = this.look(request.torrent, look).await?;
    let now = this.peer_role()?.facts().clock.now();
    let messages = views.iter().map(|view| connection(view, now));
    let (connections, next_page_token) = CONNECTIONS.page(messages, offset, size);
    Ok(api::SeeConnectedResponse { connections, next_page_token })
}

/// `see_chunk_status`.
pub(super) async fn chunk_status(
    this: &Context,
    request: api::SeeChunkStatusRequest,
) -> Result<api::SeeChunkStatusResponse, Refusal> {
    let (size, offset) = (page::size(request.page_size)?, CHUNKS.offset(&request.page_token)?);
    let first = u32::try_from(offset).map_err(|_| CHUNKS.bad_token())?;
    let look = move |session: &Session, view: TorrentView| {
        let until =
            first.saturating_add(super::message::count(size)).min(view.metainfo.piece_count());
        let pieces = first..until;
        let states: Vec<_> = pieces.map(|i| session.piece(view.id, PieceIndex(i))).collect();
        let told = if first == 0 { IN_FLIGHT_MAX } else { 0 };
        let in_flight: Vec<_> = session.in_flight(view.id).take(told).map(|i| i.0).collect();
        Ok((states, session.have(view.id).cloned(), in_flight, view.metainfo))
    };
    let (states, have, in_flight, metainfo) = this.look(request.torrent, look).await?;
    let total = metainfo.piece_count();
    let chunk = |(index, state): (u32, Option<_>)| {
        let piece = PieceIndex(index);
        let names = metainfo.chunk_names(piece).into_iter();
        let (state, availability) =
            state.unwrap_or((shoal_core::session::view::PieceState::Missing, 0));
        api::ChunkStatus {
            names: page::names(names, usize::MAX, CHUNK_NAMES_LEN_MAX),
            index,
            have: have.as_ref().is_some_and(|have| have.get(piece)),
            size_bytes: metainfo.layout().piece_size(piece),
            availability,
            state: piece_state(state).to_owned(),
        }
    };
    let asked = super::message::count(states.len());
    let mut items = (first..).zip(states).map(chunk).peekable();
    let chunks = page::fill(&mut items, size, page::LIST_LEN_MAX);
    drop(items);
    let next = first.saturating_add(super::message::count(chunks.len()));
    debug_assert!(next <= first.saturating_add(asked), "a page of more than was asked");
    let on_first = have.as_ref().filter(|_| first == 0);
    Ok(api::SeeChunkStatusResponse {
        chunks,
        next_page_token: if next < total { CHUNKS.token(&next.to_string()) } else { String::new() },
        bitfield: on_first.map(shoal_core::bitfield::Bitfield::to_wire).unwrap_or_default(),
        total_chunks: total,
        chunks_have: have.map_or(0, |have| super::message::count(have.count_ones())),
        in_flight,
    })
}
