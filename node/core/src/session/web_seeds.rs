//! HTTP servers as peers of last resort (BEP 19): when they are opened and closed, and what native
//! policies leave to them. Each is a connection like another, that has everything, never chokes and
//! is told nothing. Never here: HTTP.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use super::{
    Action, Session, consult::Asked, decisions::DecidedBy, fault::CloseCause, notice::Notice,
    notify, view::JobKind,
};
use crate::{
    bitfield::Bitfield,
    ids::{ConnId, PieceIndex, TorrentId},
    peer::{Conn, Origin},
    policy::{Candidate, Labels, PeerView, native::Native},
    torrent::Torrent,
};

/// The label by which policies know a web seed. Peers cannot claim it.
pub(crate) const LABEL: &str = "webseed";
/// What a web seed is called where peers have a client.
const CLIENT: &str = "web seed";
/// How long a download looks for peers before its web seeds are asked, while some are expected.
const HEAD_START: Duration = Duration::from_secs(3);
/// How long a new connection may take to unchoke us and begin.
const BEGINNING: Duration = Duration::from_secs(2);
/// A peer whose slots are all in use is worth waiting for where all that it owes us comes within
/// this time at its rate.
const WORTH_WAITING: Duration = Duration::from_secs(5);

impl Session {
    /// Opens the web seeds of a torrent while a download wants them, and closes them afterwards.
    pub(super) fn tend_web_seeds(&mut self, id: TorrentId, out: &mut Vec<Action>) {
        let Some(torrent) = self.torrents.get(&id).filter(|t| !t.web_seeds.is_empty()) else {
            return;
        };
        if !self.wants_web_seeds(id) {
            for conn in torrent.web_seeds.conns().collect::<Vec<_>>() {
                self.close_web_seed(id, conn, out);
            }
        } else if !self.expects_peers(id) {
            for index in torrent.web_seeds.due(self.now) {
                self.open_web_seed(id, index, out);
            }
        }
    }

    fn wants_web_seeds(&self, id: TorrentId) -> bool {
        let Some(torrent) = self.torrents.get(&id) else { return false };
        let requested = || {
            let mut jobs = self.jobs.values().filter(|job| job.torrent == Some(id));
            jobs.any(|job| job.is_running() && matches!(job.kind, JobKind::RequestDownload(_)))
        };
        let may = self.config.web_seeds && self.leaving.is_none() && torrent.may_download();
        may && (torrent.auto_download.is_some() || requested())
    }

    /// Whether a web seed may deliver yet.
    pub(super) fn hopes_for_web_seeds(&self, torrent: &Torrent) -> bool {
        self.config.web_seeds && torrent.web_seeds.is_hopeful()
    }

    /// Whether a download is so young that peers may still turn up.
    fn expects_peers(&self, id: TorrentId) -> bool {
        let torrent = &self.torrents[&id];
        let began = torrent.auto_download.and_then(|job| self.jobs.get(&job)).map(|job| job.began);
        if began.is_none_or(|began| self.now.since(began) >= HEAD_START) {
            return false;
        }
        let announcing = &torrent.announcing;
        let asked = announcing.is_started()
            || announcing.last_error().is_some()
            || !announcing.has_tracker();
        let dialling = self.dials.values().any(|dial| dial.torrent == id);
        !asked || announcing.in_flight() || torrent.book.has_untried() || dialling
    }

    fn open_web_seed(&mut self, id: TorrentId, index: usize, out: &mut Vec<Action>) {
        let conn = ConnId(self.next_id());
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        let Some(url) = torrent.web_seeds.opening(index, conn) else { return };
        out.push(Action::OpenWebSeed { conn, torrent: id, url: url.to_owned() });
        self.web_seed_dials.insert(conn, id);
    }

    fn close_web_seed(&mut self, id: TorrentId, conn: ConnId, out: &mut Vec<Action>) {
        if self.web_seed_dials.remove(&conn).is_none() {
            return self.close(conn, CloseCause::NotNeeded, out);
        }
        if let Some(torrent) = self.torrents.get_mut(&id) {
            torrent.web_seeds.ended(conn, &CloseCause::NotNeeded, self.now);
        }
        out.push(Action::Close { conn, cause: CloseCause::NotNeeded });
    }

    /// The end of a web seed that was being opened; `false` of any other connection.
    pub(super) fn web_seed_not_opened(&mut self, conn: ConnId, cause: &CloseCause) -> bool {
        let Some(id) = self.web_seed_dials.remove(&conn) else { return false };
        if let Some(torrent) = self.torrents.get_mut(&id) {
            torrent.web_seeds.ended(conn, cause, self.now);
            self.dirty.insert(id);
        }
        true
    }

    pub(super) fn on_web_seed_opened(
        &mut self,
        conn: ConnId,
        addr: SocketAddr,
        out: &mut Vec<Action>,
    ) {
        let id = self.web_seed_dials.remove(&conn);
        let torrent = id.and_then(|id| self.torrents.get_mut(&id));
        let opened = torrent.and_then(|torrent| Some((torrent.web_seeds.opened(conn)?, torrent)));
        let Some((peer_id, torrent)) = opened else {
            return out.push(Action::Close { conn, cause: CloseCause::NotNeeded });
        };
        let (id, pieces) = (torrent.id, torrent.metainfo.piece_count() as usize);
        let mut state = Conn::new(conn, id, addr, Origin::WebSeed, peer_id, pieces, self.now);
        state.client = CLIENT.into();
        state.labels = Arc::new(Labels::from([(LABEL.to_owned(), "true".to_owned())]));
        state.have = Bitfield::full(pieces);
        state.interesting = (pieces - torrent.have().count_ones()) as u32;
        state.told_pieces = true;
        state.peer_choking = false;
        state.am_interested = true;
        state.slow_start = None;
        torrent.conns.push(conn);
        self.conns.insert(conn, state);
        self.web_seed_conns += 1;
        notify(out, Notice::PeerConnected(self.news(conn, String::new())));
        self.dirty.insert(id);
    }

    /// Whether a connection is a web seed's.
    pub(super) fn is_web_seed(&self, conn: ConnId) -> bool {
        self.conns.get(&conn).is_some_and(|state| state.origin == Origin::WebSeed)
    }

    /// Connections of the node to peers, those of quests included.
    pub(super) fn peer_count(&self) -> usize {
        self.conns.len() - self.web_seed_conns + self.quest_conns.len()
    }

    /// Without the web seeds, where others are open: to natives they are the last resort.
    pub(super) fn last_resort(
        &self,
        candidates: Vec<Candidate>,
        table: &[PeerView],
    ) -> Vec<Candidate> {
        let is_peer = |candidate: &Candidate| {
            let view = &table[candidate.peer];
            view.inflight < view.slots && !self.is_web_seed(view.conn)
        };
        match candidates.iter().any(is_peer) {
            true => candidates.into_iter().filter(is_peer).collect(),
            false => candidates,
        }
    }

    /// Whether a peer has a piece, and a free slot for it soon.
    pub(super) fn is_in_reach(&self, id: TorrentId, piece: PieceIndex) -> bool {
        let mut conns = self.torrents[&id].conns.iter();
        conns.any(|&conn| self.is_worth_waiting_for(conn) && self.conns[&conn].have.get(piece))
    }

    fn is_worth_waiting_for(&self, conn: ConnId) -> bool {
        let state = &self.conns[&conn];
        if state.origin == Origin::WebSeed || state.snubbed || self.is_resting(conn) {
            return false;
        }
        if self.now.since(state.since) < BEGINNING {
            return true;
        }
        if !self.could_serve(conn) {
            return false;
        }
        self.has_free_slot(conn) || self.delivers_soon(conn)
    }

    /// Whether all that a connection owes us comes soon, or it has just begun.
    pub(super) fn delivers_soon(&self, conn: ConnId) -> bool {
        let Some(state) = self.conns.get(&conn) else { return false };
        let begins = self.now.since(state.last_progress) < WORTH_WAITING && state.best_bps == 0;
        begins || state.outstanding / state.rate_in.bps().max(1) < WORTH_WAITING.as_secs()
    }

    /// Grants to web seeds what no peer has, or has a free slot for soon.
    pub(super) fn fill_from_web_seeds(
        &mut self,
        id: TorrentId,
        native: Native,
        out: &mut Vec<Action>,
    ) {
        if self.torrents[&id].web_seeds.open_count() == 0 {
            return;
        }
        let ready = self.ready(id).into_iter().filter(|&conn| self.is_web_seed(conn));
        let mut table = self.peer_views(id, &ready.collect::<Vec<_>>());
        if table.is_empty() {
            return;
        }
        let Some(beyond) = self.out_of_reach(id) else { return };
        while table.iter().any(|seed| seed.inflight < seed.slots)
            && let Some((piece, extent)) = self.next_of(id, &beyond, out)
        {
            let candidates = self.candidates(id, piece, extent, &table);
            let chosen = native.choose(&table, &candidates, &mut self.rng, &mut self.cursor);
            let Some(chosen) = chosen else { break };
            let conn = table[chosen].conn;
            let asked = Asked { piece, extent, candidates: candidates.len() as u32 };
            self.keep_decision(id, asked, Some(conn), DecidedBy::Native(native), 0);
            self.grant(id, piece, extent, conn, out);
            table[chosen].inflight += 1;
            table[chosen].uploaded += u64::from(self.extent_len(id, piece, extent));
        }
    }

    /// The pieces that no peer worth waiting for has; none where that is no piece.
    fn out_of_reach(&self, id: TorrentId) -> Option<Bitfield> {
        let torrent = &self.torrents[&id];
        let worth = torrent.conns.iter().filter(|&&conn| self.is_worth_waiting_for(conn));
        let worth = worth.map(|conn| &self.conns[conn].have).collect::<Vec<_>>();
        if worth.iter().any(|have| have.is_full()) {
            return None;
        }
        let mut beyond = Bitfield::full(torrent.metainfo.piece_count() as usize);
        for piece in worth.iter().flat_map(|have| have.iter_ones()) {
            beyond.clear(piece);
        }
        Some(beyond)
    }

    /// The next extent of these pieces: of those begun first, else of a new one, where the buffers
    /// allow it.
    fn next_of(
        &mut self,
        id: TorrentId,
        pieces: &Bitfield,
        out: &mut Vec<Action>,
    ) -> Option<(PieceIndex, u32)> {
        loop {
            self.torrents.get_mut(&id)?.picker.settle();
            let torrent = &self.torrents[&id];
            let is_shared = |piece| torrent.pieces.opened(piece).is_some_and(|o| o.only.is_none());
            let mut pending = torrent.pieces.pending();
            let begun = pending.find(|&(piece, _)| is_shared(piece) && pieces.get(piece));
            drop(pending);
            if begun.is_some() {
                return begun;
            }
            let piece = torrent.picker.next(&[pieces], &mut self.rng)?;
            if !self.has_budget(id, piece) {
                return None;
            }
            self.begin_for_all(id, piece, out);
        }
    }
}
