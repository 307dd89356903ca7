//! Consultations: a script is asked about a batch of chunks, and each verdict that still holds is
//! carried out; otherwise the default policy decides (design §6).

use std::time::Duration;

use super::{
    Action, Chooser, Session,
    decisions::{Consulted, DecidedBy, Decision},
    notice::Notice,
    notify,
    timers::Timer,
};
use crate::{
    config::CONSULT_CHUNKS_MAX,
    ids::{ConnId, PieceIndex, PolicyId, RoundId, TorrentId},
    policy::{
        Answer, Candidate, ChunkView, Consultation, DownloadView, Judged, PeerView, Verdict,
        native::Native,
    },
    time::Timestamp,
    torrent::Torrent,
};

/// A consultation under way: its chunks are reserved.
#[derive(Debug)]
pub(super) struct Round {
    id: RoundId,
    policy: PolicyId,
    torrent: TorrentId,
    chunks: Vec<Asked>,
}

/// A chunk that is decided: an extent, and how many may be asked for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) piece: PieceIndex,
    pub(super) extent: u32,
    pub(super) candidates: u32,
}

/// With nothing in flight for this long, a script that says `false` is overruled.
const STARVED_AFTER: Duration = Duration::from_secs(2);

impl Session {
    /// By whom peers are chosen for a torrent's downloads.
    pub(super) fn chooser_of(&self, id: TorrentId) -> Chooser {
        let own = self.torrents.get(&id).and_then(|torrent| torrent.chooser);
        own.unwrap_or(self.chooser)
    }

    /// Whether a policy is being asked about chunks of a torrent.
    pub(super) fn is_consulting(&self, id: TorrentId) -> bool {
        self.rounds.values().any(|round| round.torrent == id)
    }

    /// Asks a policy about as many chunks as there are free slots, at most sixteen. Each policy has
    /// one consultation under way at a time.
    pub(super) fn consult(&mut self, id: TorrentId, policy: PolicyId, out: &mut Vec<Action>) {
        if self.rounds.contains_key(&policy) || self.is_consulting(id) {
            return;
        }
        if self.now < self.torrents[&id].deferred_until && !self.is_starved(id) {
            return;
        }
        let table = self.table(id);
        let free = table.free();
        let mut chunks = Vec::new();
        let mut views = Vec::new();
        let mut skip = 0;
        while views.len() < CONSULT_CHUNKS_MAX.min(free as usize) {
            let next = self.next_extent(id, &table.peers, &mut skip, out);
            let Some((piece, extent)) = next else { break };
            let mut view = self.chunk_view(id, piece, extent, &table);
            if !has_room(&view, &views, &table.peers) {
                break;
            }
            let torrent = self.torrents.get_mut(&id).expect("its table was made above");
            view.name = torrent.metainfo.chunk_name(piece);
            torrent.pieces.reserve(piece, extent);
            chunks.push(Asked { piece, extent, candidates: view.candidates.len() as u32 });
            views.push(view);
        }
        if chunks.is_empty() {
            return;
        }
        let round = RoundId(self.next_id());
        self.timers.set(Timer::Round(round), self.now + self.config.consult_timeout);
        self.rounds.insert(policy, Round { id: round, policy, torrent: id, chunks });
        let (now, download) = (self.now, self.download_view(id));
        let (peers, chunks) = (table.peers, views);
        let question = Consultation { round, policy, torrent: id, now, download, peers, chunks };
        out.push(Action::Consult(Box::new(question)));
    }

    pub(super) fn is_starved(&self, id: TorrentId) -> bool {
        // The cheap half first: it is asked for every closed peer of every table.
        let long = self.now.since(self.torrents[&id].last_grant) >= STARVED_AFTER;
        long && !self.leases.values().any(|lease| lease.torrent == id)
    }

    pub(super) fn download_view(&self, id: TorrentId) -> DownloadView {
        let torrent = &self.torrents[&id];
        let began = torrent.auto_download.and_then(|job| self.jobs.get(&job)).map(|job| job.began);
        let elapsed = self.now.since(began.unwrap_or(self.now));
        DownloadView {
            id: torrent.metainfo.info_hash,
            name: torrent.metainfo.name.clone(),
            total: torrent.wanted_bytes,
            done: torrent.wanted_done_bytes,
            rate_bps: torrent.rate_in.bps(),
            endgame: self.is_endgame(torrent),
            elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// Nothing is left to begin.
    pub(super) fn is_endgame(&self, torrent: &Torrent) -> bool {
        torrent.pieces.none_pending() && torrent.picker.is_empty()
    }

    /// A policy answered: each verdict that still holds is carried out; otherwise the default
    /// policy decides.
    pub(super) fn on_policy_answered(&mut self, answer: Answer, out: &mut Vec<Action>) {
        let Some(round) = self.take_round(answer.round) else { return };
        let bypassed = Judged { verdict: Verdict::Bypassed, spent_us: 0 };
        let missing = std::iter::repeat(Some(bypassed));
        let verdicts = answer.verdicts.into_iter().map(Some).chain(missing);
        self.decide(&round, verdicts, out);
    }

    /// A policy did not answer in time: the default policy decides.
    pub(super) fn on_round_overdue(&mut self, id: RoundId, out: &mut Vec<Action>) {
        let Some(round) = self.take_round(id) else { return };
        notify(out, Notice::PolicyLate { chunks: round.chunks.len() });
        self.decide(&round, std::iter::repeat(None), out);
    }

    /// Forgets the consultation about a torrent that is left.
    pub(super) fn drop_round_of(&mut self, id: TorrentId) {
        for round in self.rounds.extract_if(.., |_, round| round.torrent == id) {
            self.timers.clear(Timer::Round(round.1.id));
        }
    }

    fn take_round(&mut self, id: RoundId) -> Option<Round> {
        let (&policy, _) = self.rounds.iter().find(|(_, round)| round.id == id)?;
        self.timers.clear(Timer::Round(id));
        self.rounds.remove(&policy)
    }

    /// Carries out the verdicts on a round's chunks; none: it came too late.
    fn decide(
        &mut self,
        round: &Round,
        verdicts: impl Iterator<Item = Option<Judged>>,
        out: &mut Vec<Action>,
    ) {
        let id = round.torrent;
        // Whoever waits gets the next consultation.
        self.hungry.extend(self.loads.busy());
        for (asked, judged) in round.chunks.iter().zip(verdicts) {
            let Some(torrent) = self.torrents.get(&id) else { return };
            if torrent.pieces.is_reserved(asked.piece, asked.extent) {
                self.carry_out(round, *asked, judged, out);
            }
        }
    }

    fn carry_out(
        &mut self,
        round: &Round,
        asked: Asked,
        judged: Option<Judged>,
        out: &mut Vec<Action>,
    ) {
        let (id, Asked { piece, extent, .. }) = (round.torrent, asked);
        let spent_us = judged.as_ref().map_or(0, |judged| judged.spent_us);
        let (outcome, reason) = match judged.map(|judged| judged.verdict) {
            Some(Verdict::Chosen { conn, reason }) if self.can_serve(id, conn, piece) => {
                let by = by_script(round, Consulted::Chosen, reason);
                self.keep_decision(id, asked, Some(conn), by, spent_us);
                return self.grant(id, piece, extent, conn, out);
            }
            Some(Verdict::Deferred { ms }) if !self.is_starved(id) => {
                let until = self.now + Duration::from_millis(u64::from(ms));
                self.defer(id, piece, extent, until);
                let by = by_script(round, Consulted::Deferred, None);
                return self.keep_decision(id, asked, None, by, spent_us);
            }
            Some(Verdict::Chosen { reason, .. }) => (Consulted::Stale, reason),
            Some(Verdict::Deferred { .. } | Verdict::Starved) => (Consulted::Starved, None),
            Some(Verdict::Abstained) => (Consulted::Abstained, None),
            Some(Verdict::Failed) => (Consulted::Failed, None),
            Some(Verdict::Bypassed) => (Consulted::Bypassed, None),
            None => (Consulted::Late, None),
        };
        let chosen = self.grant_by_default(id, piece, extent, out);
        let outcome = if chosen.is_some() { outcome } else { Consulted::Nobody };
        let by = by_script(round, outcome, reason);
        self.keep_decision(id, asked, chosen, by, spent_us);
    }

    /// Keeps a decision for whoever looks.
    pub(super) fn keep_decision(
        &mut self,
        torrent: TorrentId,
        asked: Asked,
        chosen: Option<ConnId>,
        by: DecidedBy,
        spent_us: u32,
    ) {
        let Some(known) = self.torrents.get(&torrent) else { return };
        let Asked { piece, extent, candidates } = asked;
        self.decisions.keep(Decision {
            sequence: 0,
            at: self.now,
            torrent,
            piece,
            offset: known.metainfo.layout().extent_range(piece, extent).start,
            candidates,
            chosen: chosen.and_then(|conn| self.conns.get(&conn)).map(|state| state.address()),
            by,
            spent_us,
        });
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

    /// The default policy decides on a reserved extent; tells whom it chose.
    fn grant_by_default(
        &mut self,
        id: TorrentId,
        piece: PieceIndex,
        extent: u32,
        out: &mut Vec<Action>,
    ) -> Option<ConnId> {
        let table = if self.torrents[&id].may_download() { self.table(id).peers } else { vec![] };
        let candidates = self.candidates(id, piece, extent, &table);
        let candidates = self.last_resort(candidates, &table);
        let native = Native::default();
        match native.choose(&table, &candidates, &mut self.rng, &mut self.cursor) {
            Some(chosen) => {
                self.grant(id, piece, extent, table[chosen].conn, out);
                Some(table[chosen].conn)
            }
            None => {
                if let Some(torrent) = self.torrents.get_mut(&id) {
                    torrent.pieces.release(piece, extent);
                }
                None
            }
        }
    }
}

/// Whether the candidates of one more chunk have free slots beyond those that the chunks before it
/// need which have no other candidates: asking for more only to have nobody is in vain.
fn has_room(chunk: &ChunkView, before: &[ChunkView], peers: &[PeerView]) -> bool {
    let free = |candidate: &Candidate| {
        let peer = &peers[candidate.peer];
        peer.slots.saturating_sub(peer.inflight) as usize
    };
    let room: usize = chunk.candidates.iter().map(free).sum();
    let among = |candidate: &Candidate| chunk.candidates.iter().any(|c| c.peer == candidate.peer);
    let bound = |other: &&ChunkView| other.candidates.iter().all(among);
    room > before.len() || room > before.iter().filter(bound).count()
}

fn by_script(round: &Round, outcome: Consulted, reason: Option<String>) -> DecidedBy {
    DecidedBy::Consulted { policy: round.policy, outcome, reason }
}
