//! Pieces that one connection fetches alone: of a `request_download`, or on trial, because an earlier
//! copy was wrong and who sent it is not known yet (design §9).

use std::collections::BTreeSet;

use super::{Action, Session, view::JobKind};
use crate::ids::{ConnId, PieceIndex, TorrentId};

impl Session {
    /// Grants extents of such pieces to whom they are for.
    pub(super) fn fill_exclusive(&mut self, id: TorrentId, out: &mut Vec<Action>) {
        let torrent = &self.torrents[&id];
        let exclusive = torrent.pieces.pending().filter_map(|(piece, extent)| {
            let only = torrent.pieces.opened(piece).and_then(|open| open.only)?;
            Some((piece, extent, only))
        });
        for (piece, extent, only) in exclusive.collect::<Vec<_>>() {
            // Whether the piece is wanted was decided when it was begun.
            if self.lets_us(only) && self.is_below_slots(only) {
                self.grant(id, piece, extent, only, out);
            }
        }
    }

    /// Gives up pieces on trial whose witness is gone, or brings nothing: the next one is asked, or
    /// a peer could stop a download by a lie and silence.
    pub(super) fn excuse_witnesses(&mut self, id: TorrentId, out: &mut Vec<Action>) {
        let torrent = &self.torrents[&id];
        let excused = torrent.pieces.pending().filter_map(|(piece, _)| {
            let witness = torrent.pieces.opened(piece)?.only?;
            let waits = !self.brings(witness) && !self.is_for_request(id, piece);
            waits.then_some((piece, witness))
        });
        for (piece, witness) in excused.collect::<BTreeSet<_>>() {
            if let Some(torrent) = self.torrents.get_mut(&id) {
                torrent.blame.dismiss_witness(piece, witness);
            }
            self.give_up(id, piece, out);
        }
    }

    /// Begins a piece for whoever the policy chooses, or, on trial, for one witness.
    pub(super) fn begin_for_all(
        &mut self,
        id: TorrentId,
        piece: PieceIndex,
        out: &mut Vec<Action>,
    ) {
        let witness =
            self.torrents[&id].blame.wants_witness(piece).then(|| self.witness(id, piece));
        let only = witness.flatten();
        self.begin(id, piece, only, out);
        if only.is_some() {
            self.fill_exclusive(id, out);
        }
    }

    /// Who is to send a piece on trial: a contributor of the wrong copy. Where those are gone or
    /// failed alone, any one peer will do, as long as it is one.
    fn witness(&self, id: TorrentId, piece: PieceIndex) -> Option<ConnId> {
        let torrent = &self.torrents[&id];
        let able = |conn: ConnId| self.brings(conn) && self.conns[&conn].have.get(piece);
        let anyone = || {
            let ready = torrent.conns.iter().copied().filter(|&conn| able(conn));
            let rank = |conn: &ConnId| (self.is_web_seed(*conn), self.conns[conn].failures);
            ready.filter(|&conn| self.has_free_slot(conn)).min_by_key(rank)
        };
        torrent.blame.next_witness(piece, able).or_else(anyone)
    }

    /// Whether a connection is there and brings what it is asked for, as far as is known.
    fn brings(&self, conn: ConnId) -> bool {
        self.lets_us(conn) && !self.conns[&conn].snubbed && !self.is_resting(conn)
    }

    /// Whether a piece is kept for a `request_download`.
    pub(super) fn is_for_request(&self, id: TorrentId, piece: PieceIndex) -> bool {
        let wants = JobKind::RequestDownload(piece);
        let mut jobs = self.jobs.values();
        jobs.any(|job| job.is_running() && job.torrent == Some(id) && job.kind == wants)
    }
}
