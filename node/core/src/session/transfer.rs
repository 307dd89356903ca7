//! What became of leases and pieces: progress, ends, verification, blame.

use super::{
    Action, Session,
    command::CommandError,
    event::{BlockDigest, LeaseEnd, PieceOutcome},
    fault::CloseCause,
    notice::Notice,
    notify,
};
use crate::{
    ids::{ConnId, LeaseId, PieceIndex, TorrentId},
    policy::ChunkFault,
    torrent::{
        Condition, Torrent,
        blame::{Sentence, Suspect},
    },
    wire::{Message, PeerFault, fault::Misbehaved},
};

/// How long a peer that rejects though it does not choke us is not asked, times its failures in a
/// row: or it could keep us busy with nothing at the speed of the network.
const REFUSED: std::time::Duration = std::time::Duration::from_secs(1);
/// The most such rests in a row.
const REFUSED_MAX: u32 = 10;

impl Session {
    pub(super) fn on_progress(
        &mut self,
        conn: ConnId,
        lease: LeaseId,
        bytes: u32,
        latency_us: u64,
    ) {
        self.count_received(conn, lease, bytes);
        if let Some(state) = self.conns.get_mut(&conn) {
            state.latency(latency_us);
        }
    }

    /// Counts payload of a lease in everything that counts payload.
    fn count_received(&mut self, conn: ConnId, lease: LeaseId, bytes: u32) {
        let Some(record) = self.leases.get_mut(&lease) else { return };
        let bytes = bytes.min(record.due - record.received);
        record.received += bytes;
        let bytes = u64::from(bytes);
        if let Some(torrent) = self.torrents.get_mut(&record.torrent) {
            torrent.downloaded += bytes;
            torrent.rate_in.add(bytes);
            self.tally.received += bytes;
        }
        let Some(state) = self.conns.get_mut(&conn) else { return };
        state.last_heard = self.now;
        state.last_progress = self.now;
        state.last_payload = self.now;
        if bytes == 0 {
            return;
        }
        state.downloaded += bytes;
        state.received_since += bytes;
        state.outstanding = state.outstanding.saturating_sub(bytes);
        state.rate_in.add(bytes);
        if state.snubbed {
            state.snubbed = false;
            self.hungry.insert(state.torrent);
        }
    }

    pub(super) fn on_extent_received(
        &mut self,
        conn: ConnId,
        lease: LeaseId,
        out: &mut Vec<Action>,
    ) {
        let Some(rest) = self.leases.get(&lease).map(|record| record.due - record.received) else {
            return;
        };
        // What the last progress report did not cover yet.
        self.count_received(conn, lease, rest);
        self.tell_done(lease, out);
        let Some(record) = self.end_lease(lease) else { return };
        let (id, piece) = (record.torrent, record.piece);
        if let Some(state) = self.conns.get_mut(&conn) {
            state.grow();
        }
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        self.hungry.insert(id);
        if !torrent.pieces.came(piece, record.extent, lease, record.received) {
            torrent.wasted += u64::from(record.received);
            self.tally.wasted += u64::from(record.received);
        }
        let Some(received) = torrent.pieces.received(piece, record.extent, lease) else { return };
        torrent.wasted += received.in_vain;
        self.tally.wasted += received.in_vain;
        if received.complete {
            let compare = torrent.blame.on_trial(piece);
            out.push(Action::VerifyAndWrite { torrent: id, piece, compare });
        }
        if let Some(loser) = received.loser {
            self.revoke(loser.lease, out);
        }
    }

    pub(super) fn on_lease_ended(
        &mut self,
        (conn, lease): (ConnId, LeaseId),
        filled: u32,
        end: LeaseEnd,
        out: &mut Vec<Action>,
    ) {
        let Some(record) = self.end_lease(lease) else { return };
        let (id, piece, extent) = (record.torrent, record.piece, record.extent);
        match end {
            LeaseEnd::Rejected if !record.revoked => {
                self.on_rejected(conn, id, (piece, extent), out);
            }
            LeaseEnd::Closing if !record.revoked => {
                self.tell_failed(conn, (piece, extent), ChunkFault::Disconnect, out);
            }
            // Who revoked it has told why.
            LeaseEnd::Revoked | LeaseEnd::Rejected | LeaseEnd::Closing => {}
        }
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        self.hungry.insert(id);
        // How much of it was of use is known once the extent is whole, or its piece is given up.
        if torrent.pieces.came(piece, extent, lease, record.received) {
            torrent.pieces.ended(piece, extent, lease, filled);
        } else {
            torrent.wasted += u64::from(record.received);
            self.tally.wasted += u64::from(record.received);
        }
    }

    /// A peer gave a lease back (BEP 6): others are tried first, and it is not asked again at once.
    fn on_rejected(
        &mut self,
        conn: ConnId,
        id: TorrentId,
        chunk: (PieceIndex, u32),
        out: &mut Vec<Action>,
    ) {
        self.tell_failed(conn, chunk, ChunkFault::Reject, out);
        // A choke says by itself that nothing is to be asked.
        let Some(state) = self.conns.get_mut(&conn).filter(|state| !state.peer_choking) else {
            return;
        };
        state.failures += 1;
        state.fail_streak += 1;
        state.refuses_until = self.now + REFUSED * state.fail_streak.min(REFUSED_MAX);
        let peer = state.peer_id;
        if let Some(torrent) = self.torrents.get_mut(&id) {
            torrent.pieces.mark_tried(chunk.0, chunk.1, peer);
        }
    }

    /// Takes a lease out of the books.
    fn end_lease(&mut self, lease: LeaseId) -> Option<super::LeaseRecord> {
        let record = self.leases.remove(&lease)?;
        if let Some(state) = self.conns.get_mut(&record.conn) {
            state.leases.remove(&lease);
            let left = u64::from(record.due - record.received);
            state.outstanding = state.outstanding.saturating_sub(left);
        }
        Some(record)
    }

    pub(super) fn on_wasted(&mut self, conn: ConnId, bytes: u64) {
        if let Some(state) = self.conns.get_mut(&conn) {
            state.last_heard = self.now;
        }
        if let Some(torrent) = self.torrent_of(conn) {
            torrent.wasted += bytes;
            self.tally.wasted += bytes;
        }
    }

    pub(super) fn on_uploaded(&mut self, conn: ConnId, bytes: u64) {
        if let Some(state) = self.conns.get_mut(&conn) {
            state.last_heard = self.now;
            state.uploaded += bytes;
            state.rate_out.add(bytes);
        }
        if let Some(torrent) = self.torrent_of(conn) {
            torrent.uploaded += bytes;
            torrent.rate_out.add(bytes);
            self.tally.sent += bytes;
        }
    }

    /// The torrent of a connection, also of one that is about to end.
    fn torrent_of(&mut self, conn: ConnId) -> Option<&mut Torrent> {
        let live = self.conns.get(&conn).map(|state| state.torrent);
        let id = live.or_else(|| self.parting.get(&conn).copied())?;
        self.torrents.get_mut(&id)
    }

    pub(super) fn on_piece_verified(
        &mut self,
        id: TorrentId,
        piece: PieceIndex,
        outcome: PieceOutcome,
        out: &mut Vec<Action>,
    ) {
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        if !torrent.pieces.is_verifying(piece) {
            return;
        }
        self.hungry.insert(id);
        match outcome {
            PieceOutcome::Written { blocks } => self.on_written(id, piece, &blocks, out),
            PieceOutcome::Mismatch { blocks } => self.on_mismatch(id, piece, blocks, out),
            PieceOutcome::DiskFull { cause } => {
                self.give_up(id, piece, out);
                self.on_disk_trouble(id, Condition::DiskFull(cause), out);
            }
            PieceOutcome::DiskError { cause } => {
                self.give_up(id, piece, out);
                self.on_disk_trouble(id, Condition::Failed(cause), out);
            }
        }
    }

    fn on_written(
        &mut self,
        id: TorrentId,
        piece: PieceIndex,
        blocks: &[BlockDigest],
        out: &mut Vec<Action>,
    ) {
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        self.tally.verified += 1;
        let bytes = torrent.content_of(piece);
        let sender = torrent.pieces.verified(piece);
        let by = sender.and_then(|conn| torrent.blame.contributor(piece, conn));
        let guilty = torrent.blame.passed(piece, blocks);
        if let Some(by) = by {
            self.credit(id, by, bytes);
        }
        self.now_have(id, piece, out);
        for suspect in guilty {
            self.charge(id, piece, suspect, out);
        }
        self.request_done(id, piece, &Ok(()), out);
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        if torrent.is_complete() {
            // Said of a download only: data that was here all along completes nothing (BEP 3), and
            // neither does a part.
            torrent.announcing.completed(self.now);
        } else if !torrent.pieces.wanted().get(piece) {
            return; // It changes nothing of what is wanted.
        }
        self.finished_if_all_had(id, out);
    }

    /// Counts a verified piece for who sent it.
    fn credit(&mut self, id: TorrentId, by: Suspect, bytes: u64) {
        if let Some(state) = self.conns.get_mut(&by.conn) {
            state.fail_streak = 0;
            state.verified_pieces += 1;
            state.verified_bytes += bytes;
        }
        if let Some(torrent) = self.torrents.get_mut(&id) {
            torrent.web_seeds.delivered(by.conn);
        }
        let job = self.torrents[&id].auto_download;
        if let Some(job) = job.and_then(|job| self.jobs.get_mut(&job)) {
            let served = job.served.entry(by.addr).or_insert((0, 0));
            served.0 += 1;
            served.1 += bytes;
        }
    }

    /// A piece is had: it is told, served and no longer wanted.
    pub(super) fn now_have(&mut self, id: TorrentId, piece: PieceIndex, out: &mut Vec<Action>) {
        self.refresh_rosters();
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        if torrent.have().count_ones() == 1 {
            // From the first piece on there is something to tell the local network of.
            self.dirty.insert(id);
        }
        torrent.count_had(piece);
        let wanted = torrent.pieces.wanted().get(piece);
        notify(out, Notice::PieceHave { torrent: id, piece });
        // Whoever has everything need not hear of it.
        for (conn, place) in torrent.roster.partial() {
            let Some(state) = self.conns.at_mut(place) else { continue };
            if !state.have.get(piece) {
                out.push(Action::Send { conn, message: Message::Have(piece) });
            } else if wanted {
                state.interesting -= 1;
                if state.interesting == 0 {
                    self.conns.note(place);
                }
            }
        }
    }

    /// Draws the consequences where every wanted piece is had.
    pub(super) fn finished_if_all_had(&mut self, id: TorrentId, out: &mut Vec<Action>) {
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        if !torrent.is_finished() {
            return;
        }
        // The trackers hear at the next announce that nothing is left; a check may have ended now.
        torrent.announcing.tell_soon(self.now);
        notify(out, Notice::TorrentChanged(id));
        self.update_interests(id, out);
        for conn in self.torrents[&id].conns.clone() {
            if !self.part_if_nothing_to_do(conn, out) {
                self.tell_upload_only(conn, out);
            }
        }
        self.dirty.insert(id);
    }

    fn on_mismatch(
        &mut self,
        id: TorrentId,
        piece: PieceIndex,
        blocks: Vec<BlockDigest>,
        out: &mut Vec<Action>,
    ) {
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        torrent.failed_pieces += 1;
        self.tally.failed += 1;
        let guilty = torrent.blame.failed(piece, blocks);
        self.give_up(id, piece, out);
        for suspect in guilty {
            self.charge(id, piece, suspect, out);
        }
        let name = self.torrents[&id].metainfo.chunk_name(piece);
        self.request_done(id, piece, &Err(CommandError::BadChunk(name)), out);
    }

    /// Charges a peer with bad data; the second time it is banned for the torrent.
    fn charge(
        &mut self,
        id: TorrentId,
        piece: PieceIndex,
        suspect: Suspect,
        out: &mut Vec<Action>,
    ) {
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        let sentence = torrent.blame.charge(suspect);
        let Suspect { conn, peer_id, addr } = suspect;
        let reason = format!("bad data in chunk {}", torrent.metainfo.chunk_name(piece));
        let news = super::notice::PeerNews { torrent: id, conn, addr, peer_id, reason };
        if let Some(state) = self.conns.get_mut(&conn) {
            state.failures += 1;
            state.fail_streak += 1;
        }
        self.tell_failed(conn, (piece, 0), ChunkFault::Hash, out);
        match sentence {
            Sentence::Charged => notify(out, Notice::PeerCharged(news)),
            Sentence::Banned => {
                notify(out, Notice::PeerBanned(news));
                let fault = PeerFault::from(Misbehaved::CorruptPiece { piece: piece.0 });
                // It may have come back under the same id.
                let conns = self.torrents[&id].conns.iter().copied();
                let same = conns.filter(|c| self.conns[c].peer_id == peer_id).collect::<Vec<_>>();
                for conn in same {
                    self.close(conn, CloseCause::Fault(fault.clone()), out);
                }
            }
        }
    }

    /// Gives up a piece that is being fetched: not had again, nothing of it is kept.
    pub(super) fn give_up(&mut self, id: TorrentId, piece: PieceIndex, out: &mut Vec<Action>) {
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        let (holders, came) = torrent.pieces.give_up(piece);
        torrent.wasted += came;
        self.tally.wasted += came;
        torrent.put_back(piece);
        torrent.blame.clear(piece);
        self.weigh(id);
        for holder in holders {
            self.revoke(holder.lease, out);
        }
        out.push(Action::DropPiece { torrent: id, piece });
        self.dirty.insert(id);
    }

    /// Gives up every piece that is being fetched, apart from those being verified.
    pub(super) fn give_up_all(&mut self, id: TorrentId, out: &mut Vec<Action>) {
        let Some(torrent) = self.torrents.get(&id) else { return };
        let open = torrent.pieces.open().map(|(piece, _)| piece);
        let open = open.filter(|&piece| !torrent.pieces.is_verifying(piece)).collect::<Vec<_>>();
        for piece in open {
            self.give_up(id, piece, out);
        }
    }
}
