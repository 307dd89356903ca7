//! Who fetches what: the next extent, its candidates, the native choice, the lease (design §6).

use super::{Action, Chooser, Lease, LeaseRecord, Session};
use crate::{
    config::{BLOCK_LEN, CANDIDATES_MAX, EXTENT_LEN},
    ids::{ConnId, LeaseId, PieceIndex, TorrentId},
    peer::Origin,
    policy::{Candidate, ChunkView, PeerView, native::Native},
    torrent::{Torrent, pieces::Holder},
};

/// The peers that could be asked now.
pub(super) struct Table {
    /// In order of peer id, at most [`CANDIDATES_MAX`].
    pub(super) peers: Vec<PeerView>,
    /// They are a random sample of more.
    pub(super) sampled: bool,
}

impl Table {
    /// Free slots in all.
    pub(super) fn free(&self) -> u32 {
        self.peers.iter().map(|peer| peer.slots.saturating_sub(peer.inflight)).sum()
    }
}

impl Session {
    /// Grants what can be granted in a torrent, or asks the policy.
    pub(super) fn fill(&mut self, id: TorrentId, out: &mut Vec<Action>) {
        let Some(torrent) = self.torrents.get(&id) else { return };
        if !torrent.may_fetch() || self.leaving.is_some() {
            return;
        }
        if torrent.pieces.are_any_exclusive() {
            self.excuse_witnesses(id, out);
            self.fill_exclusive(id, out);
        }
        let torrent = &self.torrents[&id];
        if torrent.auto_download.is_none() || !torrent.may_download() {
            return;
        }
        match self.chooser_of(id) {
            Chooser::Native(native) => self.fill_by(id, native, out),
            Chooser::Consulted(policy, hooks) => {
                self.tell_phase(id, out);
                self.feed_blind(id, out);
                match hooks.decides {
                    true => self.consult(id, policy, out),
                    false => {
                        self.note_closed(id);
                        self.fill_by(id, Native::default(), out);
                    }
                }
            }
        }
    }

    /// How many slots a peer has that a script closed is a matter of time too.
    fn note_closed(&mut self, id: TorrentId) {
        for conn in &self.torrents[&id].conns {
            let closed = self.conns.place(conn).filter(|_| self.conns[conn].slots_max == Some(0));
            closed.into_iter().for_each(|place| self.conns.note(place));
        }
    }

    /// The peers that could be asked now.
    pub(super) fn table(&mut self, id: TorrentId) -> Table {
        let mut ready = self.ready(id);
        let sampled = ready.len() > CANDIDATES_MAX;
        if sampled {
            for place in 0..CANDIDATES_MAX {
                let other = place + self.rng.below(ready.len() - place);
                ready.swap(place, other);
            }
            ready.truncate(CANDIDATES_MAX);
        }
        Table { peers: self.peer_views(id, &ready), sampled }
    }

    /// The connections that could be asked now.
    pub(super) fn ready(&self, id: TorrentId) -> Vec<ConnId> {
        let torrent = &self.torrents[&id];
        let others_work = self.others_work(id);
        let ready = torrent.conns.iter().filter(|&&conn| self.has_free_slot(conn));
        ready.filter(|&&conn| !others_work || !self.is_resting(conn)).copied().collect()
    }

    /// Whether anybody who does not rest could serve: then those who rest are let be.
    pub(super) fn others_work(&self, id: TorrentId) -> bool {
        let works = |&&conn: &&ConnId| !self.is_resting(conn) && self.could_serve(conn);
        self.torrents[&id].conns.iter().any(|conn| works(&conn))
    }

    /// Whether a chunk was taken over from it a short time ago.
    pub(super) fn is_resting(&self, conn: ConnId) -> bool {
        self.conns[&conn].rests_until > self.now
    }

    /// These connections as a policy sees them, in order of peer id.
    pub(super) fn peer_views(&self, id: TorrentId, conns: &[ConnId]) -> Vec<PeerView> {
        let median = self.median_uploaded(&self.torrents[&id]);
        let mut views = conns.iter().map(|&conn| self.peer_view(conn, median)).collect::<Vec<_>>();
        views.sort_by_key(|peer| peer.id);
        views
    }

    /// A connection as a policy sees it.
    pub(super) fn one_view(&self, conn: ConnId) -> PeerView {
        let median = self.median_uploaded(&self.torrents[&self.conns[&conn].torrent]);
        self.peer_view(conn, median)
    }

    /// Whether a peer has something that we want and lets us have it.
    pub(super) fn could_serve(&self, conn: ConnId) -> bool {
        self.lets_us(conn) && self.interests(conn)
    }

    /// Whether a peer has something that we want.
    pub(super) fn interests(&self, conn: ConnId) -> bool {
        let state = &self.conns[&conn];
        state.interests(self.torrents[&state.torrent].pieces.lacking()) > 0
    }

    /// Whether a peer lets us have what it has.
    pub(super) fn lets_us(&self, conn: ConnId) -> bool {
        let state = self.conns.get(&conn);
        state.is_some_and(|state| !state.peer_choking && state.refuses_until <= self.now)
    }

    pub(super) fn has_free_slot(&self, conn: ConnId) -> bool {
        self.could_serve(conn) && self.is_below_slots(conn)
    }

    pub(super) fn is_below_slots(&self, conn: ConnId) -> bool {
        (self.conns[&conn].leases.len() as u32) < self.slots_of(conn)
    }

    pub(super) fn slots_of(&self, conn: ConnId) -> u32 {
        let state = &self.conns[&conn];
        let piece_len = self.torrents[&state.torrent].metainfo.piece_len;
        let slots = match state.origin {
            Origin::WebSeed if !state.snubbed => self.config.web_seed_slots,
            Origin::WebSeed | Origin::Incoming | Origin::Dialled | Origin::Operator => {
                state.slots(piece_len.min(EXTENT_LEN), self.config.buffer_budget_bytes)
            }
        };
        match state.slots_max {
            // A script cannot close every peer for good.
            Some(0) if self.is_starved(state.torrent) => 1,
            Some(max) => slots.min(max),
            None => slots,
        }
    }

    /// The median of what peers report as uploaded: what a peer without any report counts as.
    fn median_uploaded(&self, torrent: &Torrent) -> u64 {
        let mut reported = torrent
            .conns
            .iter()
            .filter_map(|conn| self.conns[conn].reported_up)
            .collect::<Vec<_>>();
        reported.sort_unstable();
        reported.get(reported.len() / 2).copied().unwrap_or(0)
    }

    fn peer_view(&self, conn: ConnId, median: u64) -> PeerView {
        let state = &self.conns[&conn];
        let since = state.received_since + state.outstanding;
        PeerView {
            conn,
            id: state.peer_id,
            addr: state.address(),
            labels: state.labels.clone(),
            uploaded: state.reported_up.unwrap_or(median).saturating_add(since),
            downloaded: state.reported_down,
            inflight: state.leases.len() as u32,
            slots: self.slots_of(conn),
            rate_bps: state.rate_in.bps(),
            rtt_us: state.rtt_us,
            failures: state.failures,
            fail_streak: state.fail_streak,
            is_seed: state.have.is_full(),
            estimated: state.reported_up.is_none(),
            client: state.client.clone(),
        }
    }

    /// The next extent for which a peer of the table has a free slot: of pieces begun first, else
    /// of a new piece, where the buffers allow one. `skip` counts pending extents that nobody in
    /// the table can serve: slots only shrink while a table is used.
    pub(super) fn next_extent(
        &mut self,
        id: TorrentId,
        table: &[PeerView],
        skip: &mut usize,
        out: &mut Vec<Action>,
    ) -> Option<(PieceIndex, u32)> {
        self.torrents.get_mut(&id)?.picker.settle();
        let open = table.iter().filter(|peer| peer.inflight < peer.slots);
        let open = open.map(|peer| &self.conns[&peer.conn].have).collect::<Vec<_>>();
        if open.is_empty() {
            return None;
        }
        let torrent = &self.torrents[&id];
        for (piece, extent) in torrent.pieces.pending().skip(*skip) {
            let shared = torrent.pieces.opened(piece).is_some_and(|open| open.only.is_none());
            if shared && open.iter().any(|have| have.get(piece)) {
                return Some((piece, extent));
            }
            *skip += 1;
        }
        let piece = torrent.picker.next(&open, &mut self.rng)?;
        if !self.has_budget(id, piece) {
            return None;
        }
        self.begin_for_all(id, piece, out);
        // A piece on trial, or of padding alone, is not for the table: look once more.
        self.next_extent(id, table, skip, out)
    }

    /// Whether buffers are left for a piece: in the node, and in this torrent's share of them; and,
    /// where others fetch the torrent too, whether what came is verified as fast as it comes. Nobody
    /// is told of pieces that wait for that, and each would be asked of a seed by all.
    pub(super) fn has_budget(&self, id: TorrentId, piece: PieceIndex) -> bool {
        let size = u64::from(self.torrents[&id].metainfo.layout().piece_size(piece));
        let mine = self.torrents[&id].pieces.open_bytes();
        let all = self.loads.open_bytes();
        let budget = self.config.buffer_budget_bytes;
        let share = if self.loads.others_download(id) { budget / 2 } else { budget };
        let torrent = &self.torrents[&id];
        let backlog = self.config.verify_backlog_bytes.max(2 * size);
        if torrent.pieces.verifying_bytes() > backlog && torrent.roster.has_partial() {
            return false;
        }
        // One piece is always allowed, whatever its size.
        all == 0 || (all + size <= budget && (mine == 0 || mine + size <= share))
    }

    /// Begins a piece.
    pub(super) fn begin(
        &mut self,
        id: TorrentId,
        piece: PieceIndex,
        only: Option<ConnId>,
        out: &mut Vec<Action>,
    ) {
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        let plan = torrent.plan(piece);
        torrent.picker.remove(piece);
        if torrent.pieces.begin(piece, &plan, only) {
            out.push(Action::VerifyAndWrite { torrent: id, piece, compare: false });
        }
        self.weigh(id);
    }

    pub(super) fn chunk_view(
        &self,
        id: TorrentId,
        piece: PieceIndex,
        extent: u32,
        table: &Table,
    ) -> ChunkView {
        ChunkView {
            candidates: self.candidates(id, piece, extent, &table.peers),
            sampled: table.sampled,
            ..self.bare_chunk(id, piece, extent)
        }
    }

    /// An extent without its name and candidates.
    pub(super) fn bare_chunk(&self, id: TorrentId, piece: PieceIndex, extent: u32) -> ChunkView {
        let torrent = &self.torrents[&id];
        let range = torrent.metainfo.layout().extent_range(piece, extent);
        let entry = torrent.pieces.opened(piece).map(|open| &open.extents[extent as usize]);
        ChunkView {
            piece,
            name: String::new(),
            offset: range.start,
            size: range.end - range.start,
            availability: torrent.picker.availability(piece),
            attempts: entry.map_or(0, |entry| entry.attempts),
            priority: 0,
            deadline_ms: None,
            candidates: Vec::new(),
            sampled: false,
        }
    }

    /// Who of a table has an extent.
    pub(super) fn candidates(
        &self,
        id: TorrentId,
        piece: PieceIndex,
        extent: u32,
        table: &[PeerView],
    ) -> Vec<Candidate> {
        let open = self.torrents[&id].pieces.opened(piece);
        let entry = open.and_then(|open| open.extents.get(extent as usize));
        let tried = |peer: &PeerView| entry.is_some_and(|entry| entry.tried.contains(&peer.id));
        let has = |peer: &PeerView| self.conns[&peer.conn].have.get(piece);
        let having = table.iter().enumerate().filter(|(_, peer)| has(peer));
        having.map(|(peer, view)| Candidate { peer, tried: tried(view) }).collect()
    }

    pub(super) fn extent_len(&self, id: TorrentId, piece: PieceIndex, extent: u32) -> u32 {
        let range = self.torrents[&id].metainfo.layout().extent_range(piece, extent);
        range.end - range.start
    }

    /// Grants an extent to a connection.
    pub(super) fn grant(
        &mut self,
        id: TorrentId,
        piece: PieceIndex,
        extent: u32,
        conn: ConnId,
        out: &mut Vec<Action>,
    ) {
        let lease = LeaseId(self.next_id());
        let (Some(torrent), Some(state)) = (self.torrents.get_mut(&id), self.conns.get_mut(&conn))
        else {
            return;
        };
        let duplicate = torrent.pieces.lease(piece, extent, Holder { lease, conn });
        let due = torrent.pieces.due(piece, extent, duplicate);
        let range = torrent.metainfo.layout().extent_range(piece, extent);
        let len = range.end - range.start;
        torrent.last_grant = self.now;
        torrent.blind.fed(conn, self.now);
        torrent.blame.contributes(piece, state.suspect());
        if state.leases.is_empty() {
            state.last_progress = self.now;
        }
        state.leases.insert(lease);
        state.outstanding += u64::from(due);
        let request_len = if duplicate { BLOCK_LEN } else { state.request_len() };
        let requests_max = state.requests_max;
        self.leases.insert(
            lease,
            LeaseRecord {
                conn,
                torrent: id,
                piece,
                extent,
                due,
                received: 0,
                granted: self.now,
                revoked: false,
            },
        );
        let offset = range.start;
        let lease = Lease {
            id: lease,
            torrent: id,
            piece,
            extent,
            offset,
            len,
            request_len,
            requests_max,
            duplicate,
        };
        out.push(Action::GrantLease { conn, lease });
    }

    /// Takes a lease back; its extent is free once the connection has said what it filled.
    pub(super) fn revoke(&mut self, lease: LeaseId, out: &mut Vec<Action>) {
        let Some(record) = self.leases.get_mut(&lease) else { return };
        if !record.revoked {
            record.revoked = true;
            out.push(Action::RevokeLease { conn: record.conn, lease });
        }
    }
}
