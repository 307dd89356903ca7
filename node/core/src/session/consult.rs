//! Consultations: the policy is asked about a batch of chunks, and each verdict that still holds is
//! carried out; otherwise the default policy decides (design §6).

use std::time::Duration;

use super::{Action, Session, notice::Notice, notify, timers::Timer};
use crate::{
    config::CONSULT_CHUNKS_MAX,
    ids::{ConnId, PieceIndex, RoundId, TorrentId},
    policy::{Answer, Consultation, DownloadView, Verdict, native::Native},
    time::Timestamp,
    torrent::Torrent,
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

impl Session {
    /// Asks the policy about as many chunks as there are free slots, at most sixteen. One
    /// consultation is under way at a time.
    pub(super) fn consult(&mut self, id: TorrentId, out: &mut Vec<Action>) {
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
    pub(super) fn is_endgame(&self, torrent: &Torrent) -> bool {
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
}
