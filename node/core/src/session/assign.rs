//! Who fetches what: the next extent, its candidates, the policy's choice, the lease; and extents
//! that are taken from holders which are too slow (design §6).

use std::time::Duration;

use super::{Action, Chooser, Lease, LeaseRecord, Session, notice::Notice, notify, timers::Timer};
use crate::{
    config::{BLOCK_LEN, CANDIDATES_MAX, CONSULT_CHUNKS_MAX, EXTENT_LEN},
    ids::{ConnId, LeaseId, PieceIndex, RoundId, TorrentId},
    policy::{
        Answer, Candidate, ChunkView, Consultation, DownloadView, PeerView, Verdict, native::Native,
    },
    time::Timestamp,
    torrent::{
        Torrent,
        pieces::{ExtentState, Holder},
    },
};

/// A consultation under way: its chunks are reserved.
#[derive(Debug)]
pub(super) struct Round {
    id: RoundId,
    torrent: TorrentId,
    chunks: Vec<(PieceIndex, u32)>,
}

impl Round {
    /// Whether it is about this torrent.
    pub(super) fn is_of(&self, torrent: TorrentId) -> bool {
        self.torrent == torrent
    }
}

/// With nothing in flight for this long, a script that says `false` is overruled.
const STARVED_AFTER: Duration = Duration::from_secs(2);
/// The age of a lease from which an endgame duplicate may be granted.
const DUPLICATE_AFTER: Duration = Duration::from_millis(500);
/// A peer whose extent was taken over gets no other for this long, times its failures in a row, as
/// long as others work: or it would hold one extent after the other.
const REST: Duration = Duration::from_secs(10);
/// The most rests in a row.
const REST_MAX: u32 = 6;
/// Waiting peers that are looked at for a take-over in one tick.
const RESCUES_MAX: usize = 8;

impl Session {
    /// Grants what can be granted in a torrent, or asks the policy.
    pub(super) fn fill(&mut self, id: TorrentId, out: &mut Vec<Action>) {
        let Some(torrent) = self.torrents.get(&id) else { return };
        if !torrent.may_download() || self.leaving.is_some() {
            return;
        }
        self.fill_exclusive(id, out);
        if self.torrents[&id].auto_download.is_none() {
            return;
        }
        match self.chooser {
            Chooser::Native(native) => self.fill_by(id, native, out),
            Chooser::Consulted => self.consult(id, out),
        }
    }

    /// Extents that one connection must fetch alone: of a `request_download`, or of a piece whose
    /// first copy was wrong.
    fn fill_exclusive(&mut self, id: TorrentId, out: &mut Vec<Action>) {
        let torrent = &self.torrents[&id];
        let exclusive = torrent.pieces.pending().filter_map(|(piece, extent)| {
            let only = torrent.pieces.opened(piece).and_then(|open| open.only)?;
            Some((piece, extent, only))
        });
        for (piece, extent, only) in exclusive.collect::<Vec<_>>() {
            if self.has_free_slot(only) {
                self.grant(id, piece, extent, only, out);
            }
        }
    }

    fn fill_by(&mut self, id: TorrentId, native: Native, out: &mut Vec<Action>) {
        let mut table = self.table(id);
        let mut skip = 0;
        while let Some((piece, extent)) = self.next_extent(id, &table, &mut skip, out) {
            let chunk = self.chunk_view(id, piece, extent, &table);
            let cursor = &mut self.cursor;
            let chosen = native.choose(&table, &chunk.candidates, &mut self.rng, cursor);
            let Some(chosen) = chosen else { break };
            self.grant(id, piece, extent, table[chosen].conn, out);
            table[chosen].inflight += 1;
            table[chosen].uploaded += u64::from(chunk.size);
        }
    }

    /// The peers that could be asked now, in order of peer id.
    fn table(&self, id: TorrentId) -> Vec<PeerView> {
        let torrent = &self.torrents[&id];
        let resting = |conn: &ConnId| self.conns[conn].rests_until > self.now;
        let works = |conn: &&ConnId| !resting(conn) && self.could_serve(**conn);
        let others_work = torrent.conns.iter().any(|conn| works(&conn));
        let ready = torrent.conns.iter().filter(|&&conn| self.has_free_slot(conn));
        let ready = ready.filter(|conn| !others_work || !resting(conn));
        let median = self.median_uploaded(torrent);
        let mut table = ready.map(|conn| self.peer_view(*conn, median)).collect::<Vec<_>>();
        table.sort_by_key(|peer| peer.id);
        table.truncate(CANDIDATES_MAX);
        table
    }

    /// Whether a peer has something for us and lets us have it.
    fn could_serve(&self, conn: ConnId) -> bool {
        let state = self.conns.get(&conn);
        state.is_some_and(|state| !state.peer_choking && state.interesting > 0)
    }

    fn has_free_slot(&self, conn: ConnId) -> bool {
        self.could_serve(conn) && (self.conns[&conn].leases.len() as u32) < self.slots_of(conn)
    }

    pub(super) fn slots_of(&self, conn: ConnId) -> u32 {
        let state = &self.conns[&conn];
        let piece_len = self.torrents[&state.torrent].metainfo.piece_len;
        state.slots(piece_len.min(EXTENT_LEN), self.config.buffer_budget_bytes)
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
    fn next_extent(
        &mut self,
        id: TorrentId,
        table: &[PeerView],
        skip: &mut usize,
        out: &mut Vec<Action>,
    ) -> Option<(PieceIndex, u32)> {
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

    /// Whether buffers are left for a piece: in the node, and in this torrent's share of them.
    fn has_budget(&self, id: TorrentId, piece: PieceIndex) -> bool {
        let size = u64::from(self.torrents[&id].metainfo.layout().piece_size(piece));
        let mine = self.torrents[&id].pieces.open_bytes();
        let all = self.torrents.values().map(|torrent| torrent.pieces.open_bytes()).sum::<u64>();
        let others_wait = self
            .torrents
            .values()
            .any(|other| other.id != id && other.auto_download.is_some() && other.may_download());
        let budget = self.config.buffer_budget_bytes;
        let share = if others_wait { budget / 2 } else { budget };
        // One piece is always allowed, whatever its size.
        all == 0 || (all + size <= budget && (mine == 0 || mine + size <= share))
    }

    /// Begins a piece for whoever the policy chooses, or, on trial, for one witness.
    fn begin_for_all(&mut self, id: TorrentId, piece: PieceIndex, out: &mut Vec<Action>) {
        let torrent = &self.torrents[&id];
        let only = if torrent.blame.on_trial(piece) {
            let holds = |conn: &ConnId| self.conns.get(conn).is_some_and(|s| s.have.get(piece));
            let witness = torrent.blame.next_witness(piece, |conn| holds(&conn));
            // Contributors are gone or failed alone: any one peer will do, as long as it is one.
            let anyone = || {
                let ready = torrent.conns.iter().copied().filter(|c| self.has_free_slot(*c));
                ready.filter(|conn| holds(conn)).min_by_key(|conn| self.conns[conn].failures)
            };
            witness.or_else(anyone)
        } else {
            None
        };
        self.begin(id, piece, only, out);
        if only.is_some() {
            self.fill_exclusive(id, out);
        }
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
    }

    fn chunk_view(
        &self,
        id: TorrentId,
        piece: PieceIndex,
        extent: u32,
        table: &[PeerView],
    ) -> ChunkView {
        let torrent = &self.torrents[&id];
        let open = torrent.pieces.opened(piece).expect("next_extent names extents of open pieces");
        let entry = &open.extents[extent as usize];
        let has = |peer: &PeerView| self.conns[&peer.conn].have.get(piece);
        let candidates = table.iter().enumerate().filter(|(_, peer)| has(peer));
        let candidates = candidates
            .map(|(index, peer)| Candidate { peer: index, tried: entry.tried.contains(&peer.id) });
        ChunkView {
            piece,
            name: String::new(),
            offset: torrent.metainfo.layout().extent_range(piece, extent).start,
            size: entry.len,
            availability: torrent.picker.availability(piece),
            attempts: entry.attempts,
            priority: 0,
            deadline_ms: None,
            candidates: candidates.collect(),
            sampled: false,
        }
    }

    /// Asks the policy about as many chunks as there are free slots, at most sixteen. One
    /// consultation is under way at a time.
    fn consult(&mut self, id: TorrentId, out: &mut Vec<Action>) {
        if self.round.is_some() {
            return;
        }
        if self.now < self.torrents[&id].deferred_until && !self.is_starved(id) {
            return;
        }
        let table = self.table(id);
        let free = table.iter().map(|peer| peer.slots.saturating_sub(peer.inflight)).sum::<u32>();
        let mut chunks = Vec::new();
        let mut views = Vec::new();
        let mut skip = 0;
        while views.len() < CONSULT_CHUNKS_MAX.min(free as usize) {
            let Some((piece, extent)) = self.next_extent(id, &table, &mut skip, out) else { break };
            let mut view = self.chunk_view(id, piece, extent, &table);
            let torrent = self.torrents.get_mut(&id).expect("its table was made above");
            view.name = torrent.metainfo.chunk_name(piece);
            torrent.pieces.reserve(piece, extent);
            chunks.push((piece, extent));
            views.push(view);
        }
        if chunks.is_empty() {
            return;
        }
        let round = RoundId(self.next_id());
        self.timers.set(Timer::Round(round), self.now + self.config.consult_timeout);
        self.round = Some(Round { id: round, torrent: id, chunks });
        let (now, download) = (self.now, self.download_view(id));
        let question =
            Consultation { round, torrent: id, now, download, peers: table, chunks: views };
        out.push(Action::Consult(Box::new(question)));
    }

    fn is_starved(&self, id: TorrentId) -> bool {
        let idle = !self.leases.values().any(|lease| lease.torrent == id);
        idle && self.now.since(self.torrents[&id].last_grant) >= STARVED_AFTER
    }

    fn download_view(&self, id: TorrentId) -> DownloadView {
        let torrent = &self.torrents[&id];
        let began = torrent.auto_download.and_then(|job| self.jobs.get(&job)).map(|job| job.began);
        let elapsed = self.now.since(began.unwrap_or(self.now));
        DownloadView {
            id: torrent.metainfo.info_hash,
            name: torrent.metainfo.name.clone(),
            total: torrent.metainfo.layout().content_len(),
            done: torrent.done_bytes,
            rate_bps: torrent.rate_in.bps(),
            endgame: self.is_endgame(torrent),
            elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// Nothing is left to begin.
    fn is_endgame(&self, torrent: &Torrent) -> bool {
        torrent.pieces.none_pending() && torrent.picker.is_empty()
    }

    /// A policy answered: each verdict that still holds is carried out; otherwise the default
    /// policy decides.
    pub(super) fn on_policy_answered(&mut self, answer: &Answer, out: &mut Vec<Action>) {
        let Some(round) = self.round.take_if(|round| round.id == answer.round) else { return };
        self.timers.clear(Timer::Round(round.id));
        self.decide(&round, &answer.verdicts, out);
    }

    /// A policy did not answer in time: the default policy decides.
    pub(super) fn on_round_overdue(&mut self, id: RoundId, out: &mut Vec<Action>) {
        let Some(round) = self.round.take_if(|round| round.id == id) else { return };
        notify(out, Notice::PolicyLate { chunks: round.chunks.len() });
        self.decide(&round, &[], out);
    }

    fn decide(&mut self, round: &Round, verdicts: &[Verdict], out: &mut Vec<Action>) {
        let id = round.torrent;
        // Whoever waits gets the next consultation.
        self.dirty
            .extend(self.torrents.values().filter(|t| t.auto_download.is_some()).map(|t| t.id));
        for (index, &(piece, extent)) in round.chunks.iter().enumerate() {
            let Some(torrent) = self.torrents.get_mut(&id) else { return };
            if !torrent.pieces.is_reserved(piece, extent) {
                continue;
            }
            match verdicts.get(index) {
                Some(Verdict::Chosen { conn, .. }) if self.can_serve(id, *conn, piece) => {
                    self.grant(id, piece, extent, *conn, out);
                }
                Some(Verdict::Deferred { ms }) if !self.is_starved(id) => {
                    let until = self.now + Duration::from_millis(u64::from(*ms));
                    self.defer(id, piece, extent, until);
                }
                Some(
                    Verdict::Chosen { .. }
                    | Verdict::Deferred { .. }
                    | Verdict::Abstained
                    | Verdict::Failed
                    | Verdict::Bypassed,
                )
                | None => self.grant_by_default(id, piece, extent, out),
            }
        }
    }

    fn can_serve(&self, id: TorrentId, conn: ConnId, piece: PieceIndex) -> bool {
        let here = self.conns.get(&conn).is_some_and(|s| s.torrent == id && s.have.get(piece));
        here && self.has_free_slot(conn) && self.torrents[&id].may_download()
    }

    fn defer(&mut self, id: TorrentId, piece: PieceIndex, extent: u32, until: Timestamp) {
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        torrent.pieces.release(piece, extent);
        torrent.deferred_until = torrent.deferred_until.max(until);
        self.timers.set(Timer::Deferred(id), torrent.deferred_until);
    }

    fn grant_by_default(
        &mut self,
        id: TorrentId,
        piece: PieceIndex,
        extent: u32,
        out: &mut Vec<Action>,
    ) {
        let table = if self.torrents[&id].may_download() { self.table(id) } else { Vec::new() };
        let chunk = self.chunk_view(id, piece, extent, &table);
        let native = Native::default();
        match native.choose(&table, &chunk.candidates, &mut self.rng, &mut self.cursor) {
            Some(chosen) => self.grant(id, piece, extent, table[chosen].conn, out),
            None => {
                if let Some(torrent) = self.torrents.get_mut(&id) {
                    torrent.pieces.release(piece, extent);
                }
            }
        }
    }

    /// Grants an extent to a connection.
    fn grant(
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
        torrent.last_grant = self.now;
        torrent.blame.contributes(piece, state.suspect());
        let range = torrent.metainfo.layout().extent_range(piece, extent);
        let len = range.end - range.start;
        if state.leases.is_empty() {
            state.last_progress = self.now;
        }
        state.leases.insert(lease);
        state.outstanding += u64::from(len);
        let request_len = if duplicate { BLOCK_LEN } else { state.request_len() };
        let requests_max = state.requests_max;
        self.leases.insert(
            lease,
            LeaseRecord {
                conn,
                torrent: id,
                piece,
                extent,
                len,
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

    /// Where peers wait and nothing is left to grant them, extents are taken from holders that are
    /// much slower; and in endgame the slowest extents are fetched twice.
    pub(super) fn rescue(&mut self, id: TorrentId, out: &mut Vec<Action>) {
        let torrent = &self.torrents[&id];
        if torrent.auto_download.is_none() || !torrent.may_download() || self.round.is_some() {
            return;
        }
        let idle =
            |conn: &&ConnId| self.conns[conn].leases.is_empty() && self.has_free_slot(**conn);
        let mut waiting = torrent.conns.iter().filter(idle).copied().collect::<Vec<_>>();
        waiting.sort_by_key(|conn| std::cmp::Reverse(self.conns[conn].best_bps));
        waiting.truncate(RESCUES_MAX);
        for conn in waiting {
            let endgame = self.is_endgame(&self.torrents[&id]);
            let Some(slow) = self.slowest_for(id, conn) else { continue };
            let record = &self.leases[&slow];
            let (piece, extent, holder) = (record.piece, record.extent, record.conn);
            let age = self.now.since(record.granted);
            if self.is_too_slow(slow, conn) {
                let Some(state) = self.conns.get_mut(&holder) else { continue };
                state.failures += 1;
                state.fail_streak += 1;
                state.rests_until = self.now + REST * state.fail_streak.min(REST_MAX);
                let peer = state.peer_id;
                if let Some(torrent) = self.torrents.get_mut(&id) {
                    torrent.pieces.mark_tried(piece, extent, peer);
                }
                self.revoke(slow, out);
            } else if endgame && age >= DUPLICATE_AFTER && self.is_single(slow) {
                self.grant(id, piece, extent, conn, out);
            }
        }
    }

    /// The lease that a waiting peer could take over with the most gain: the one that its holder
    /// needs longest for.
    fn slowest_for(&self, id: TorrentId, conn: ConnId) -> Option<LeaseId> {
        let torrent = &self.torrents[&id];
        let have = &self.conns[&conn].have;
        let shared = torrent.pieces.open();
        let shared = shared.filter(|(piece, open)| open.only.is_none() && have.get(*piece));
        let holders = shared.flat_map(|(_, open)| &open.extents).flat_map(|e| match e.state {
            ExtentState::Leased(first, second)
                if first.conn != conn && second.is_none_or(|second| second.conn != conn) =>
            {
                [Some(first), second]
            }
            ExtentState::Leased(..)
            | ExtentState::Missing
            | ExtentState::Reserved
            | ExtentState::Received => [None, None],
        });
        let leases = holders.flatten().map(|holder| holder.lease);
        let leases = leases.filter(|lease| !self.leases[lease].revoked);
        leases.max_by_key(|lease| (self.remaining_ms(*lease), std::cmp::Reverse(*lease)))
    }

    /// Whether nobody else fetches the extent of a lease.
    fn is_single(&self, lease: LeaseId) -> bool {
        let record = &self.leases[&lease];
        let open = self.torrents[&record.torrent].pieces.opened(record.piece);
        let extent = open.and_then(|open| open.extents.get(record.extent as usize));
        extent.is_some_and(|extent| matches!(extent.state, ExtentState::Leased(_, None)))
    }

    /// How long a holder still needs for a lease, at its rate.
    fn remaining_ms(&self, lease: LeaseId) -> u64 {
        let record = &self.leases[&lease];
        let left = u64::from(record.len.saturating_sub(record.received));
        let bps = self.conns.get(&record.conn).map_or(0, |state| state.rate_in.bps());
        left * 1000 / bps.max(1)
    }

    /// Whether a holder is slower than a quarter of the median of all, or of the peer that waits.
    fn is_too_slow(&self, lease: LeaseId, waiting: ConnId) -> bool {
        let record = &self.leases[&lease];
        if self.now.since(record.granted) < self.config.take_over_after {
            return false;
        }
        let torrent = &self.torrents[&record.torrent];
        let mut rates = torrent
            .conns
            .iter()
            .map(|conn| &self.conns[conn])
            .filter(|state| state.downloaded > 0)
            .map(|state| state.rate_in.bps())
            .collect::<Vec<_>>();
        rates.sort_unstable();
        let median = rates.get(rates.len() / 2).copied().unwrap_or(0);
        let reference = median.max(self.conns[&waiting].best_bps);
        let holder = self.conns.get(&record.conn).map_or(0, |state| state.rate_in.bps());
        holder < reference / 4
    }
}
