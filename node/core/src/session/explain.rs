//! How a chunk would be decided now: its candidates, and every peer that is none and why. Changes
//! nothing. Never here: the policy's word, which the shell asks for.

use std::net::SocketAddr;

use super::{Chooser, Session, assign::Table, view::PieceState};
use crate::{
    config::CANDIDATES_MAX,
    ids::{ConnId, PeerId, PieceIndex, PolicyId, RoundId, TorrentId},
    policy::{
        Candidate, Consultation,
        native::{Cursor, Native},
    },
    rng::Rng,
};

/// A chunk as it would be decided now.
#[derive(Clone, Debug)]
pub struct Explained {
    /// The piece.
    pub piece: PieceIndex,
    /// How it stands. Where it is not missing, this is how it would be decided if it were.
    pub state: PieceState,
    /// By whom it is decided.
    pub chooser: Chooser,
    /// What the policy would be asked: this one chunk, with its name.
    pub question: Consultation,
    /// Connected or banned peers that are no candidates, in order of address.
    pub left_out: Vec<LeftOutPeer>,
    /// Of the question's peers, those that are web seeds: natives leave them for last.
    pub web_seeds: Vec<ConnId>,
}

impl Explained {
    /// What a native policy would choose: an index into the question's peers. A policy of chance
    /// is shown one of its outcomes.
    #[must_use]
    pub fn natively(&self, native: Native, seed: u64) -> Option<usize> {
        let (peers, chunk) = (&self.question.peers, &self.question.chunks[0]);
        let is_peer = |candidate: &&Candidate| {
            let view = &peers[candidate.peer];
            view.inflight < view.slots && !self.web_seeds.contains(&view.conn)
        };
        let before = chunk.candidates.iter().filter(is_peer).copied().collect::<Vec<_>>();
        let candidates = if before.is_empty() { &chunk.candidates } else { &before };
        native.choose(peers, candidates, &mut Rng::new(seed), &mut Cursor::default())
    }
}

/// A peer that is no candidate for a chunk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeftOutPeer {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Its id, while it is connected.
    pub peer_id: Option<PeerId>,
    /// Why.
    pub why: LeftOut,
    /// The same for a person.
    pub detail: String,
}

/// Why a peer is no candidate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LeftOut {
    /// It sent bad data.
    Banned,
    /// It has not got the piece.
    HasItNot,
    /// It chokes us.
    Choking,
    /// Every slot is in use.
    NoSlot,
    /// A chunk was taken over from it, and others work.
    Resting,
    /// It failed this chunk, and others are there that did not.
    Tried,
    /// It is not in the random sample.
    NotSampled,
    /// A web seed, and peers have the piece and a slot for it soon.
    LastResort,
}

impl Session {
    /// How a piece would be decided now; without one, the next to be fetched. None for an unknown
    /// torrent, and where nothing is left to be fetched.
    #[must_use]
    pub fn explain(&self, id: TorrentId, piece: Option<PieceIndex>) -> Option<Explained> {
        let torrent = self.torrents.get(&id)?;
        let (piece, extent) = match piece {
            Some(piece) => (piece, self.first_wanted_extent(id, piece)),
            None => self.next_wanted(id)?,
        };
        let chooser = self.chooser_of(id);
        let mut ready = self.ready(id);
        if matches!(chooser, Chooser::Native(_)) && self.is_in_reach(id, piece) {
            ready.retain(|&conn| !self.is_web_seed(conn));
        }
        ready.sort_by_key(|conn| self.conns[conn].peer_id);
        let sampled = ready.len() > CANDIDATES_MAX;
        ready.truncate(CANDIDATES_MAX);
        let table = Table { peers: self.peer_views(id, &ready), sampled };
        let mut chunk = self.chunk_view(id, piece, extent, &table);
        chunk.name = torrent.metainfo.chunk_name(piece);
        let policy = match chooser {
            Chooser::Consulted(policy, _) => policy,
            Chooser::Native(_) => PolicyId(0),
        };
        let others = chunk.candidates.iter().any(|candidate| !candidate.tried);
        let left_out = self.left_out(id, (piece, extent), &ready, others);
        let (now, download) = (self.now, self.download_view(id));
        let (round, torrent_id) = (RoundId(0), id);
        let (peers, chunks) = (table.peers, vec![chunk]);
        let question =
            Consultation { round, policy, torrent: torrent_id, now, download, peers, chunks };
        let web_seeds = ready.into_iter().filter(|&conn| self.is_web_seed(conn)).collect();
        let state = torrent.pieces.state(piece);
        Some(Explained { piece, state, chooser, question, left_out, web_seeds })
    }

    fn first_wanted_extent(&self, id: TorrentId, piece: PieceIndex) -> u32 {
        let mut pending = self.torrents[&id].pieces.pending();
        pending.find(|&(of, _)| of == piece).map_or(0, |(_, extent)| extent)
    }

    /// What would be fetched next.
    fn next_wanted(&self, id: TorrentId) -> Option<(PieceIndex, u32)> {
        let torrent = &self.torrents[&id];
        let shared = |piece| torrent.pieces.opened(piece).is_some_and(|open| open.only.is_none());
        if let Some(pending) = torrent.pieces.pending().find(|&(piece, _)| shared(piece)) {
            return Some(pending);
        }
        let serving = torrent.conns.iter().filter(|&&conn| self.could_serve(conn));
        let haves = serving.map(|conn| &self.conns[conn].have).collect::<Vec<_>>();
        let waiting = torrent.picker.next(&haves, &mut self.rng.clone()).map(|piece| (piece, 0));
        // Everything is begun: one of those that are being fetched.
        waiting.or_else(|| torrent.pieces.open().next().map(|(piece, _)| (piece, 0)))
    }

    fn left_out(
        &self,
        id: TorrentId,
        chunk: (PieceIndex, u32),
        ready: &[ConnId],
        others: bool,
    ) -> Vec<LeftOutPeer> {
        let torrent = &self.torrents[&id];
        let connected = torrent.conns.iter().filter_map(|&conn| {
            let (why, detail) = self.why_left_out(chunk, conn, ready, others)?;
            let state = &self.conns[&conn];
            Some(LeftOutPeer { addr: state.address(), peer_id: Some(state.peer_id), why, detail })
        });
        let banned = torrent.blame.banned().map(|(peer_id, addr)| LeftOutPeer {
            addr,
            peer_id: Some(peer_id),
            why: LeftOut::Banned,
            detail: "it sent bad data twice".to_owned(),
        });
        let mut peers = connected.chain(banned).collect::<Vec<_>>();
        peers.sort_by_key(|peer| peer.addr);
        peers
    }

    /// Why a connection is no candidate for an extent; `others` tells of candidates that did not
    /// fail it.
    fn why_left_out(
        &self,
        (piece, extent): (PieceIndex, u32),
        conn: ConnId,
        ready: &[ConnId],
        others: bool,
    ) -> Option<(LeftOut, String)> {
        let state = &self.conns[&conn];
        let id = state.torrent;
        let open = self.torrents[&id].pieces.opened(piece);
        let tried = open
            .and_then(|open| open.extents.get(extent as usize))
            .is_some_and(|extent| extent.tried.contains(&state.peer_id));
        let rests = self.is_resting(conn) && self.others_work(id);
        let rest = state.rests_until.since(self.now).as_secs() + 1;
        let (held, slots) = (state.leases.len() as u32, self.slots_of(conn));
        if !state.have.get(piece) {
            let count = state.have.count_ones();
            let noun = if count == 1 { "chunk" } else { "chunks" };
            Some((LeftOut::HasItNot, format!("it has {count} {noun}, not this one")))
        } else if state.peer_choking {
            Some((LeftOut::Choking, "it chokes us".to_owned()))
        } else if state.refuses_until > self.now {
            let rest = state.refuses_until.since(self.now).as_secs() + 1;
            Some((LeftOut::Resting, format!("it rejected a request and rests for {rest} s")))
        } else if held >= slots {
            if slots == 0 {
                let detail = "the policy allows it no chunk at all".to_owned();
                return Some((LeftOut::NoSlot, detail));
            }
            let why = if state.snubbed { " (it is snubbed)" } else { "" };
            Some((LeftOut::NoSlot, format!("{held} of {slots} slots are in use{why}")))
        } else if tried && rests {
            Some((LeftOut::Tried, format!("it failed this chunk and rests for {rest} s")))
        } else if tried && others {
            let detail = "it failed this chunk; the default skips it while others are there";
            Some((LeftOut::Tried, detail.to_owned()))
        } else if rests {
            Some((LeftOut::Resting, format!("it was too slow and rests for {rest} s")))
        } else if !ready.contains(&conn) && self.is_web_seed(conn) {
            let detail = "a web seed is asked last, and peers have this chunk";
            Some((LeftOut::LastResort, detail.to_owned()))
        } else if !ready.contains(&conn) && self.could_serve(conn) {
            let detail = format!("more than {CANDIDATES_MAX} could be asked");
            Some((LeftOut::NotSampled, detail))
        } else {
            None
        }
    }
}
