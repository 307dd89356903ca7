//! The choice of native policies in place, at a cost that does not grow with pieces, and for the
//! policies that order peers not with these. Never here: what a policy prefers, and how the order is
//! kept, which [`crate::torrent::roster`] does.

use super::{Action, Session, consult::Asked, decisions::DecidedBy};
use crate::{
    ids::{ConnId, PieceIndex, TorrentId},
    peer::{Conn, Origin},
    policy::{Candidate, native::Native},
    torrent::{Torrent, pieces::Open, roster::Row},
};

/// Up to so many open peers are asked who has a piece, to be counted for whoever looks at decisions:
/// the choice itself looks at the first that has it.
const COUNTED_MAX: usize = 64;

/// Who of the open peers is asked while a torrent is filled.
#[derive(Clone, Copy)]
struct Askable {
    /// Whoever rests is let be.
    others_work: bool,
}

/// An extent, and who is asked for it.
struct Pick {
    asked: Asked,
    conn: ConnId,
}

impl Session {
    /// Grants what can be granted in a torrent, by a native policy; to web seeds what is left.
    pub(super) fn fill_by(&mut self, id: TorrentId, native: Native, out: &mut Vec<Action>) {
        if self.may_grant(id) {
            self.refresh_rosters();
            let Some(torrent) = self.torrents.get_mut(&id) else { return };
            torrent.roster.order_by(native);
            let may_rest = torrent.roster.may_rest(self.now);
            let askable = Askable { others_work: may_rest && self.others_work(id) };
            let mut skip = 0;
            while let Some(Pick { asked, conn }) = self.pick(id, native, askable, &mut skip, out) {
                self.keep_decision(id, asked, Some(conn), DecidedBy::Native(native), 0);
                self.grant(id, asked.piece, asked.extent, conn, out);
            }
        }
        self.fill_from_web_seeds(id, native, out);
    }

    /// Brings the rosters up to date with the connections that changed.
    pub(super) fn refresh_rosters(&mut self) {
        while let Some(place) = self.conns.take_changed() {
            let Some(state) = self.conns.at(place).filter(|s| s.origin != Origin::WebSeed) else {
                continue;
            };
            let row = self.row_of(place, state);
            let id = state.torrent;
            if let Some(torrent) = self.torrents.get_mut(&id) {
                torrent.roster.update(row);
            }
        }
    }

    /// A peer as native policies see it.
    pub(super) fn row_of(&self, place: usize, state: &Conn) -> Row {
        let (inflight, slots) = (state.leases.len() as u32, self.slots_of(state.id));
        let is_seed = state.have.is_full();
        // Where nothing is lacking nothing is filled: a seed has something of interest.
        let gives = !state.peer_choking && (is_seed || state.interesting > 0);
        let since = state.received_since + state.outstanding;
        Row {
            conn: state.id,
            place,
            id: state.peer_id,
            uploaded: state.reported_up.unwrap_or(0).saturating_add(since),
            reported: state.reported_up,
            inflight,
            slots,
            rate_bps: state.rate_in.bps(),
            is_seed,
            is_open: gives && inflight < slots,
            rests_until: state.rests_until,
            refuses_until: state.refuses_until,
        }
    }

    /// Whether there is anything to grant: an extent that nobody fetches, or a piece to begin.
    fn may_grant(&self, id: TorrentId) -> bool {
        let torrent = &self.torrents[&id];
        !torrent.pieces.none_pending() || self.may_begin(id)
    }

    /// Whether a piece waits for which buffers are left.
    fn may_begin(&self, id: TorrentId) -> bool {
        let torrent = &self.torrents[&id];
        if torrent.picker.is_empty() {
            return false;
        }
        // All pieces are of one length, but for the last one, which may be shorter.
        let first = PieceIndex(0);
        let last = PieceIndex(torrent.metainfo.piece_count().saturating_sub(1));
        let shortest = if torrent.picker.waiting().get(last) { last } else { first };
        self.has_budget(id, shortest)
    }

    /// The next extent, and who is asked for it: of pieces begun first, else of a new one.
    fn pick(
        &mut self,
        id: TorrentId,
        native: Native,
        askable: Askable,
        skip: &mut usize,
        out: &mut Vec<Action>,
    ) -> Option<Pick> {
        loop {
            self.refresh_rosters();
            if self.torrents[&id].roster.open_count() == 0 {
                return None;
            }
            if let Some((piece, extent)) = self.begun(id, askable, skip) {
                return self.choose_of(id, (piece, extent), native, askable);
            }
            if !self.may_begin(id) {
                return None;
            }
            let piece = self.waiting_for(id, askable)?;
            if !self.has_budget(id, piece) {
                return None;
            }
            // A piece on trial, or of padding alone, is not for all: look once more.
            self.begin_for_all(id, piece, out);
        }
    }

    /// The first extent of pieces begun that somebody may be asked for. `skip` counts those that
    /// nobody has who is open: peers only become less while a torrent is filled.
    fn begun(
        &self,
        id: TorrentId,
        askable: Askable,
        skip: &mut usize,
    ) -> Option<(PieceIndex, u32)> {
        let pieces = &self.torrents[&id].pieces;
        for (piece, extent) in pieces.pending().skip(*skip) {
            let shared = pieces.opened(piece).is_some_and(|open| open.only.is_none());
            if shared && self.holders(id, piece, askable).next().is_some() {
                return Some((piece, extent));
            }
            *skip += 1;
        }
        None
    }

    /// The next piece to begin that an open peer has.
    fn waiting_for(&mut self, id: TorrentId, askable: Askable) -> Option<PieceIndex> {
        let torrent = self.torrents.get_mut(&id)?;
        torrent.picker.settle();
        let returned = torrent.picker.returned();
        if torrent.roster.is_dry(returned) {
            return None;
        }
        // Whoever has no waiting piece is not asked for one after the other: in a crowd that waits
        // for what a few busy peers have, that is nearly everybody, at each `have`.
        let open = self.torrents[&id].roster.open();
        let (open, let_be): (Vec<_>, Vec<_>) = open.partition(|row| self.now_askable(row, askable));
        let roster = &self.torrents[&id].roster;
        let fertile = open.into_iter().filter(|row| !roster.is_barren(row.conn, returned));
        let fertile = fertile.collect::<Vec<_>>();
        let held = |piece| fertile.iter().any(|row| self.holds(row, piece));
        if let Some(piece) = self.torrents[&id].picker.first_held(held) {
            return Some(piece);
        }
        let from = self.rng.below(self.torrents[&id].metainfo.piece_count() as usize);
        for row in fertile {
            let (torrent, conn) = (self.torrents.get_mut(&id)?, self.conns.at(row.place)?);
            let found = torrent.picker.any_of(&conn.have, from);
            if found.is_some() {
                return found;
            }
            torrent.roster.is_barren_since(row.conn, returned);
        }
        if let_be.is_empty() {
            self.torrents.get_mut(&id)?.roster.is_dry_since(returned);
        }
        None
    }

    /// Whom a policy chooses for an extent.
    fn choose_of(
        &mut self,
        id: TorrentId,
        (piece, extent): (PieceIndex, u32),
        native: Native,
        askable: Askable,
    ) -> Option<Pick> {
        let open = self.torrents[&id].pieces.opened(piece);
        let tried = |row: &Row| has_failed(open, extent, row);
        let asked = |candidates: usize| Asked { piece, extent, candidates: candidates as u32 };
        if matches!(native, Native::LowestUploaded | Native::LeastInflight) {
            let first = self.holders(id, piece, askable).find(|row| !tried(row));
            let chosen = first.or_else(|| self.holders(id, piece, askable).next())?;
            let asked = asked(self.count_holders(id, piece, askable));
            return Some(Pick { asked, conn: chosen.conn });
        }
        let rows = self.holders(id, piece, askable).collect::<Vec<_>>();
        let candidates = rows.iter().enumerate();
        let candidates = candidates.map(|(peer, row)| Candidate { peer, tried: tried(row) });
        let candidates = candidates.collect::<Vec<_>>();
        let chosen = native.choose(&rows, &candidates, &mut self.rng, &mut self.cursor)?;
        Some(Pick { asked: asked(rows.len()), conn: rows[chosen].conn })
    }

    /// The open peers that have a piece, in the order of the policy.
    fn holders(
        &self,
        id: TorrentId,
        piece: PieceIndex,
        askable: Askable,
    ) -> impl Iterator<Item = Row> + '_ {
        let open = self.torrents[&id].roster.open();
        open.filter(move |row| self.now_askable(row, askable) && self.holds(row, piece))
    }

    /// How many they are; where many are open, how many they are at most.
    fn count_holders(&self, id: TorrentId, piece: PieceIndex, askable: Askable) -> usize {
        let Torrent { roster, picker, .. } = &self.torrents[&id];
        match roster.open_count() {
            ..=COUNTED_MAX => self.holders(id, piece, askable).count(),
            open => open.min(picker.availability(piece) as usize),
        }
    }

    fn holds(&self, row: &Row, piece: PieceIndex) -> bool {
        row.is_seed || self.conns.at(row.place).is_some_and(|state| state.have.get(piece))
    }

    fn now_askable(&self, row: &Row, askable: Askable) -> bool {
        row.refuses_until <= self.now && !(askable.others_work && row.rests_until > self.now)
    }
}

/// Whether a peer failed an extent before.
fn has_failed(open: Option<&Open>, extent: u32, row: &Row) -> bool {
    let extent = open.and_then(|open| open.extents.get(extent as usize));
    extent.is_some_and(|extent| extent.tried.contains(&row.id))
}
