//! What a script is told of its downloads beside consultations, and what it advises: order and
//! slots. A script is told only what it has a function for. Never here: decisions.

use std::time::Duration;

use super::{Action, Chooser, Session, command::CommandError};
use crate::{
    config::ORDER_WINDOW_MAX,
    ids::{ConnId, LeaseId, PieceIndex, PolicyId, TorrentId},
    policy::{Advice, ChunkFault, ChunkOrder, ChunkView, Happening, Hooks, PeerView, Report},
    time::Timestamp,
    torrent::Told,
};

/// How often `on.tick`, `order` and `slots` are called.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// Advice that is not repeated for this long is withdrawn: a script that fails, is tripped or whose
/// thread is gone must not keep peers closed.
const ADVICE_KEPT: Duration = Duration::from_secs(5);

impl Session {
    /// Changes by whom peers are chosen: for a torrent, or for the node.
    pub(super) fn set_chooser(
        &mut self,
        torrent: Option<TorrentId>,
        chooser: Option<Chooser>,
    ) -> Result<(), CommandError> {
        match torrent {
            None => self.chooser = chooser.unwrap_or_default(),
            Some(id) => {
                let torrent = self.torrents.get_mut(&id).ok_or(CommandError::UnknownTorrent)?;
                torrent.chooser = chooser;
            }
        }
        // What the old policy advised is forgotten; the new one is asked when it is told of the
        // phase.
        for id in self.torrents.keys().copied().collect::<Vec<_>>() {
            let chooser = self.chooser_of(id);
            let Some(torrent) = self.torrents.get_mut(&id) else { continue };
            let told_to = torrent.told.phase.map(|(policy, _)| policy);
            let same = matches!(chooser, Chooser::Consulted(policy, _) if told_to == Some(policy));
            if !same {
                torrent.deferred_until = Timestamp::default();
                self.forget_advice(id);
            }
            self.choose_blind(id);
            self.dirty.insert(id);
        }
        Ok(())
    }

    /// Back to what holds without advice.
    fn forget_advice(&mut self, id: TorrentId) {
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        torrent.told = Told::default();
        torrent.take_order(ChunkOrder::default());
        for conn in &torrent.conns {
            if let Some(state) = self.conns.get_mut(conn) {
                state.slots_max = None;
                state.told_to = None;
            }
        }
    }

    /// Withdraws advice that is out of date.
    fn withdraw_advice(&mut self, id: TorrentId) {
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        let old = |at: Timestamp| self.now.since(at) >= ADVICE_KEPT;
        if torrent.told.order.is_some_and(old) {
            torrent.told.order = None;
            torrent.take_order(ChunkOrder::default());
        }
        if torrent.told.slots.is_some_and(old) {
            torrent.told.slots = None;
            for conn in &torrent.conns {
                if let Some(state) = self.conns.get_mut(conn) {
                    state.slots_max = None;
                }
            }
        }
    }

    /// Tells a script that its download began, or that its phase changed.
    pub(super) fn tell_phase(&mut self, id: TorrentId, out: &mut Vec<Action>) {
        let Chooser::Consulted(policy, hooks) = self.chooser_of(id) else { return };
        let phase = Some((policy, self.is_endgame(&self.torrents[&id])));
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        if torrent.told.phase == phase {
            return;
        }
        torrent.told.phase = phase;
        if hooks.order || hooks.slots {
            let peers = self.peers_for(id, hooks.slots);
            self.inform(id, policy, Happening::Phase { peers }, out);
        }
    }

    /// Tells a script that a second passed, and of peers that it does not know yet.
    pub(super) fn tell_tick(&mut self, id: TorrentId, out: &mut Vec<Action>) {
        let Some((policy, hooks)) = self.informed(id) else { return };
        self.withdraw_advice(id);
        if hooks.peer_added || hooks.peer_removed || hooks.slots {
            self.tell_newcomers(id, policy, hooks, out);
        }
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        if self.now.since(torrent.told.tick) < TELL_EVERY {
            return;
        }
        torrent.told.tick = self.now;
        if hooks.tick || hooks.order || hooks.slots {
            let peers = self.peers_for(id, hooks.slots);
            self.inform(id, policy, Happening::Tick { peers }, out);
        }
    }

    fn tell_newcomers(
        &mut self,
        id: TorrentId,
        policy: PolicyId,
        hooks: Hooks,
        out: &mut Vec<Action>,
    ) {
        for conn in self.torrents[&id].conns.clone() {
            let Some(state) = self.conns.get_mut(&conn) else { continue };
            if !state.told_pieces || state.told_to == Some(policy) {
                continue;
            }
            state.told_to = Some(policy);
            if hooks.peer_added || hooks.slots {
                let peer = self.one_view(conn);
                self.inform(id, policy, Happening::PeerAdded { peer }, out);
            }
        }
    }

    /// Tells a script that a peer it knows is about to be gone.
    pub(super) fn tell_parting(&mut self, conn: ConnId, out: &mut Vec<Action>) {
        let Some(state) = self.conns.get(&conn) else { return };
        let (id, told_to) = (state.torrent, state.told_to);
        let Some((policy, hooks)) = self.informed(id) else { return };
        if hooks.peer_removed && told_to == Some(policy) {
            let peer = self.one_view(conn);
            self.inform(id, policy, Happening::PeerRemoved { peer }, out);
        }
    }

    /// Tells a script that a lease's extent came whole.
    pub(super) fn tell_done(&mut self, lease: LeaseId, out: &mut Vec<Action>) {
        let Some(record) = self.leases.get(&lease) else { return };
        let Some((policy, hooks)) = self.informed(record.torrent) else { return };
        if !hooks.chunk_done || !self.conns.contains_key(&record.conn) {
            return;
        }
        let id = record.torrent;
        let bytes = u64::from(self.extent_len(id, record.piece, record.extent));
        let took = self.now.since(record.granted);
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let chunk = self.told_chunk(id, record.piece, record.extent);
        let peer = self.one_view(record.conn);
        self.inform(id, policy, Happening::ChunkDone { peer, chunk, bytes, took_us }, out);
    }

    /// Tells a script that a peer failed an extent.
    pub(super) fn tell_failed(
        &mut self,
        conn: ConnId,
        (piece, extent): (PieceIndex, u32),
        fault: ChunkFault,
        out: &mut Vec<Action>,
    ) {
        let Some(state) = self.conns.get(&conn) else { return };
        let id = state.torrent;
        let Some((policy, hooks)) = self.informed(id) else { return };
        if hooks.chunk_failed {
            let chunk = self.told_chunk(id, piece, extent);
            let peer = self.one_view(conn);
            self.inform(id, policy, Happening::ChunkFailed { peer, chunk, fault }, out);
        }
    }

    /// Tells a script that its download ended.
    pub(super) fn tell_finished(&mut self, id: TorrentId, out: &mut Vec<Action>) {
        let Chooser::Consulted(policy, hooks) = self.chooser_of(id) else { return };
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        let began = torrent.told.phase.is_some_and(|(told, _)| told == policy);
        torrent.blind.clear();
        if hooks.finished && began {
            self.inform(id, policy, Happening::Finished, out);
        }
        self.forget_advice(id);
    }

    /// A script told how it wants pieces ordered and slots given.
    pub(super) fn on_policy_advised(&mut self, advice: &Advice) {
        let id = advice.torrent;
        let chooser = self.chooser_of(id);
        if !matches!(chooser, Chooser::Consulted(policy, _) if policy == advice.policy) {
            return;
        }
        let Some(torrent) = self.torrents.get_mut(&id).filter(|t| t.auto_download.is_some()) else {
            return;
        };
        if let Some(order) = advice.order {
            let window = order.window.map(|window| window.clamp(1, ORDER_WINDOW_MAX));
            torrent.take_order(ChunkOrder { window, ..order });
            torrent.told.order = Some(self.now);
        }
        if !advice.slots.is_empty() {
            torrent.told.slots = Some(self.now);
        }
        for &(conn, slots) in &advice.slots {
            if let Some(state) = self.conns.get_mut(&conn).filter(|s| s.torrent == id) {
                state.slots_max = Some(slots);
            }
        }
        self.dirty.insert(id);
    }

    /// The script that decides a running download, and what it has.
    fn informed(&self, id: TorrentId) -> Option<(PolicyId, Hooks)> {
        self.torrents.get(&id)?.auto_download?;
        match self.chooser_of(id) {
            Chooser::Consulted(policy, hooks) => Some((policy, hooks)),
            Chooser::Native(_) => None,
        }
    }

    fn peers_for(&self, id: TorrentId, wanted: bool) -> Vec<PeerView> {
        match wanted {
            true => self.peer_views(id, &self.torrents[&id].conns),
            false => Vec::new(),
        }
    }

    fn told_chunk(&self, id: TorrentId, piece: PieceIndex, extent: u32) -> ChunkView {
        let mut chunk = self.bare_chunk(id, piece, extent);
        chunk.name = self.torrents[&id].metainfo.chunk_name(piece);
        chunk
    }

    fn inform(&self, id: TorrentId, policy: PolicyId, what: Happening, out: &mut Vec<Action>) {
        let (torrent, now, download) = (id, self.now, self.download_view(id));
        out.push(Action::Inform(Box::new(Report { policy, torrent, now, download, what })));
    }
}
