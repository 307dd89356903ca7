//! What peers say: choke and interest, what they have, the extension `shoal`.

use std::{net::SocketAddr, sync::Arc};

use super::{
    Action, Session, command::Done, fault::CloseCause, reply, timers::Timer, web_seeds::LABEL,
};
use crate::{
    bitfield::Bitfield,
    config::{BLOCK_LEN, SHOAL_REQUEST_LEN_MAX},
    ids::{ConnId, PieceIndex, TorrentId},
    peer::Origin,
    policy::ChunkFault,
    wire::{
        Consequence, Message, PeerFault,
        extended::{ExtendedHandshake, Extension, HANDSHAKE_ID, ShoalMessage},
        fault::InvalidMessage,
    },
};

impl Session {
    pub(super) fn on_message(&mut self, conn: ConnId, message: Message, out: &mut Vec<Action>) {
        if let Some(&quest) = self.quest_conns.get(&conn) {
            return self.on_quest_message(quest, conn, message, out);
        }
        let Some(state) = self.conns.place(&conn).and_then(|place| self.conns.at_mut(place)) else {
            return;
        };
        state.last_heard = self.now;
        let heard = match message {
            Message::Choke => self.on_choke(conn, out),
            Message::Unchoke => self.on_unchoke(conn),
            Message::Interested => self.on_interest(conn, true),
            Message::NotInterested => self.on_interest(conn, false),
            Message::Have(piece) => self.on_have(conn, piece, out),
            Message::Bitfield(bytes) => self.on_bitfield(conn, &bytes, out),
            Message::HaveAll => self.on_have_all(conn, out),
            Message::HaveNone => self.on_have_none(conn, out),
            Message::Extended { .. } if !state.terms.extended => {
                Err(InvalidMessage::ExtendedNotNegotiated.into())
            }
            Message::Extended { id: HANDSHAKE_ID, payload } => {
                self.on_extended(conn, &payload, out)
            }
            Message::Extended { id, payload } => match Extension::of_id(id) {
                Some(Extension::Shoal) => self.on_shoal(conn, &payload, out),
                Some(Extension::Metadata) => self.on_metadata(conn, &payload, out),
                Some(Extension::Pex) => self.on_gossip(conn, &payload),
                // One that we do not speak.
                None => Ok(()),
            },
            // What the connection handles by itself.
            Message::Suggest(_)
            | Message::Reject(_)
            | Message::AllowedFast(_)
            | Message::KeepAlive
            | Message::Request(_)
            | Message::Cancel(_)
            | Message::Port(_) => Ok(()),
        };
        if let Err(fault) = heard {
            self.on_fault(conn, fault, out);
        }
    }

    /// Draws the consequence of a fault.
    pub(super) fn on_fault(&mut self, conn: ConnId, fault: PeerFault, out: &mut Vec<Action>) {
        match fault.consequence() {
            Consequence::Ignore => {}
            Consequence::Close | Consequence::Ban => {
                self.close(conn, CloseCause::Fault(fault), out)
            }
        }
    }

    fn on_choke(&mut self, conn: ConnId, out: &mut Vec<Action>) -> Result<(), PeerFault> {
        let Some(state) = self.conns.get_mut(&conn) else { return Ok(()) };
        state.peer_choking = true;
        if state.terms.fast {
            // What is outstanding is answered or rejected; the connection ends its leases then.
            return Ok(());
        }
        // Without the fast extension a choke drops every outstanding request.
        for lease in state.leases.iter().copied().collect::<Vec<_>>() {
            let chunk = (self.leases[&lease].piece, self.leases[&lease].extent);
            self.tell_failed(conn, chunk, ChunkFault::Reject, out);
            self.revoke(lease, out);
        }
        Ok(())
    }

    fn on_unchoke(&mut self, conn: ConnId) -> Result<(), PeerFault> {
        let Some(state) = self.conns.get_mut(&conn) else { return Ok(()) };
        state.peer_choking = false;
        self.hungry.insert(state.torrent);
        Ok(())
    }

    fn on_interest(&mut self, conn: ConnId, interested: bool) -> Result<(), PeerFault> {
        if let Some(state) = self.conns.get_mut(&conn) {
            state.peer_interested = interested;
        }
        Ok(())
    }

    fn on_have(
        &mut self,
        conn: ConnId,
        piece: PieceIndex,
        out: &mut Vec<Action>,
    ) -> Result<(), PeerFault> {
        let place = self.conns.place(&conn);
        let Some((place, state)) = place.and_then(|at| Some((at, self.conns.at_mut(at)?))) else {
            return Ok(());
        };
        let id = state.torrent;
        let Some(torrent) = self.torrents.get_mut(&id) else { return Ok(()) };
        let pieces = torrent.metainfo.piece_count();
        if piece.0 >= pieces {
            return Err(InvalidMessage::PieceOutOfRange { index: piece.0, pieces }.into());
        }
        state.told_pieces = true;
        if !state.have.set(piece) {
            return Ok(());
        }
        let lacking = torrent.pieces.lacking().get(piece);
        torrent.picker.add_piece(piece, &state.have);
        state.interesting += u32::from(lacking);
        if torrent.picker.waiting().get(piece) {
            torrent.roster.may_be_fertile(conn);
        }
        let (is_full, was_dull) = (state.have.is_full(), state.interesting == 1);
        let tells_interest = lacking && !state.am_interested;
        if is_full || was_dull {
            self.conns.note(place);
        }
        if is_full && self.part_if_nothing_to_do(conn, out) {
            return Ok(());
        }
        if tells_interest {
            self.update_interest(conn, out);
        }
        if lacking && !self.hungry.contains(&id) {
            self.hunger_for(conn, piece);
        }
        Ok(())
    }

    /// A peer has one more of the pieces that we lack: work may begin where that piece can be asked
    /// for, and of this peer. Crowds tell of pieces all the time, and mostly of others.
    fn hunger_for(&mut self, conn: ConnId, piece: PieceIndex) {
        let Some(state) = self.conns.get(&conn) else { return };
        let torrent = &self.torrents[&state.torrent];
        let asked_for = torrent.picker.waiting().get(piece) || torrent.pieces.has_pending(piece);
        if !state.peer_choking && asked_for && self.is_below_slots(conn) {
            self.hungry.insert(state.torrent);
        }
    }

    fn on_bitfield(
        &mut self,
        conn: ConnId,
        bytes: &[u8],
        out: &mut Vec<Action>,
    ) -> Result<(), PeerFault> {
        let Some(state) = self.conns.get(&conn) else { return Ok(()) };
        let Some(torrent) = self.torrents.get(&state.torrent) else { return Ok(()) };
        let have = Bitfield::from_wire(bytes, torrent.metainfo.piece_count() as usize)?;
        self.on_pieces(conn, have, out);
        Ok(())
    }

    fn on_have_all(&mut self, conn: ConnId, out: &mut Vec<Action>) -> Result<(), PeerFault> {
        if let Some(state) = self.conns.get(&conn) {
            let all = Bitfield::full(state.have.len());
            self.on_pieces(conn, all, out);
        }
        Ok(())
    }

    /// What a peer told before stays: this adds nothing.
    fn on_have_none(&mut self, conn: ConnId, out: &mut Vec<Action>) -> Result<(), PeerFault> {
        if let Some(state) = self.conns.get(&conn) {
            let none = Bitfield::new(state.have.len());
            self.on_pieces(conn, none, out);
        }
        Ok(())
    }

    /// A peer told all that it has.
    fn on_pieces(&mut self, conn: ConnId, have: Bitfield, out: &mut Vec<Action>) {
        let Some(state) = self.conns.get_mut(&conn) else { return };
        let Some(torrent) = self.torrents.get_mut(&state.torrent) else { return };
        if state.told_pieces {
            // aria2 sends a bitfield where several `have` would be longer. What a peer told stays.
            for piece in have.iter_ones() {
                if state.have.set(piece) {
                    torrent.picker.add_piece(piece, &state.have);
                    state.interesting += u32::from(torrent.pieces.lacking().get(piece));
                }
            }
        } else {
            state.told_pieces = true;
            torrent.picker.add_peer(&have);
            state.interesting = have.count_common(torrent.pieces.lacking()) as u32;
            state.have = have;
        }
        torrent.roster.may_be_fertile(conn);
        self.pieces_changed(conn, out);
    }

    fn on_extended(
        &mut self,
        conn: ConnId,
        payload: &[u8],
        out: &mut Vec<Action>,
    ) -> Result<(), PeerFault> {
        let hello = ExtendedHandshake::decode(payload)?;
        let limit = self.config.peers_per_torrent_max;
        let Some(state) = self.conns.get_mut(&conn) else { return Ok(()) };
        if !hello.client.is_empty() {
            state.client = hello.client.as_str().into();
        }
        if let Some(upload_only) = hello.upload_only {
            state.upload_only = upload_only;
        }
        if let Some(reqq) = hello.reqq {
            state.requests_max = reqq;
        }
        if let Some(port) = hello.port.filter(|&port| port != 0 && state.listen.is_none()) {
            let listen = SocketAddr::new(state.addr.ip(), port);
            state.listen = Some(listen);
            if let Some(torrent) = self.torrents.get_mut(&state.torrent) {
                torrent.book.introduced(listen, conn, limit);
            }
        }
        let id_of = |extension| hello.ids.get(&extension).copied();
        state.metadata.id = id_of(Extension::Metadata).or(state.metadata.id);
        state.gossip.id = id_of(Extension::Pex).or(state.gossip.id);
        let torrent = state.torrent;
        self.stir_gossip(torrent);
        let (Some(id), Some(offer)) = (id_of(Extension::Shoal), hello.shoal) else {
            // Its handshake is judged: long requests that waited for that are rejected.
            self.serve(conn, out);
            self.introduced(conn, out);
            return Ok(());
        };
        let Some(state) = self.conns.get_mut(&conn) else { return Ok(()) };
        let first = state.shoal.replace(id).is_none();
        let longest = offer.request_len_max.min(SHOAL_REQUEST_LEN_MAX);
        state.request_len = (longest / BLOCK_LEN * BLOCK_LEN).max(BLOCK_LEN);
        if first {
            self.serve(conn, out);
            let labels = (*self.identity.labels).clone();
            self.send_shoal(conn, &ShoalMessage::Hello { labels }, out);
            self.tell_status(conn, out);
        }
        self.introduced(conn, out);
        Ok(())
    }

    fn on_shoal(
        &mut self,
        conn: ConnId,
        payload: &[u8],
        out: &mut Vec<Action>,
    ) -> Result<(), PeerFault> {
        match ShoalMessage::decode(payload)? {
            ShoalMessage::Hello { mut labels } => {
                labels.remove(LABEL);
                if let Some(state) = self.conns.get_mut(&conn) {
                    state.labels = Arc::new(labels);
                }
            }
            ShoalMessage::Ping { n } => self.send_shoal(conn, &ShoalMessage::Pong { n }, out),
            ShoalMessage::Pong { n } => self.on_pong(conn, n, out),
            ShoalMessage::Status { up, down } => {
                if let Some(state) = self.conns.get_mut(&conn) {
                    state.report(up, down);
                }
            }
            ShoalMessage::Unknown => {}
        }
        Ok(())
    }

    fn on_pong(&mut self, conn: ConnId, n: u64, out: &mut Vec<Action>) {
        let awaited = self.pings.get(&n).is_some_and(|ping| ping.conn == conn);
        let Some(ping) = awaited.then(|| self.pings.remove(&n)).flatten() else { return };
        self.timers.clear(Timer::Ping(ping.command));
        let round_trip = self.now.since(ping.sent).as_micros();
        let rtt = self.conns.get(&conn).map_or(0, |state| state.rtt_us);
        let done = Done::Pong {
            round_trip_us: Some(u64::try_from(round_trip).unwrap_or(u64::MAX)),
            last_message_age_ms: 0,
            request_latency_us: (rtt > 0).then_some(rtt),
        };
        reply(out, ping.command, Ok(done));
    }

    /// Says something in the extension `shoal`, to a peer that speaks it.
    pub(super) fn send_shoal(&self, conn: ConnId, message: &ShoalMessage, out: &mut Vec<Action>) {
        let Some(id) = self.conns.get(&conn).and_then(|state| state.shoal) else { return };
        let message = Message::Extended { id, payload: message.encode() };
        out.push(Action::Send { conn, message });
    }

    /// Tells our lifetime totals.
    pub(super) fn tell_status(&mut self, conn: ConnId, out: &mut Vec<Action>) {
        let Some(state) = self.conns.get_mut(&conn) else { return };
        let torrent = &self.torrents[&state.torrent];
        let totals = (torrent.uploaded, torrent.downloaded);
        state.told_status = totals;
        state.told_status_at = self.now;
        let status = ShoalMessage::Status { up: totals.0, down: totals.1 };
        self.send_shoal(conn, &status, out);
    }

    /// A peer told more of what it has.
    fn pieces_changed(&mut self, conn: ConnId, out: &mut Vec<Action>) {
        if self.part_if_nothing_to_do(conn, out) {
            return;
        }
        self.update_interest(conn, out);
        if let Some(state) = self.conns.get(&conn) {
            self.hungry.insert(state.torrent);
        }
    }

    /// A seed and one that wants nothing have nothing to say to each other, unless an operator
    /// connected them. A peer that has everything wants nothing, whatever we have.
    pub(super) fn part_if_nothing_to_do(&mut self, conn: ConnId, out: &mut Vec<Action>) -> bool {
        let Some(state) = self.conns.get(&conn) else { return true };
        let idle = self.torrents[&state.torrent].is_finished() && state.have.is_full();
        if idle && state.origin != Origin::Operator && !self.is_requested(conn) {
            self.close(conn, CloseCause::BothComplete, out);
            return true;
        }
        false
    }

    /// Says whether we want something of this peer, where that changed.
    pub(super) fn update_interest(&mut self, conn: ConnId, out: &mut Vec<Action>) {
        let Some(state) = self.conns.get(&conn) else { return };
        if state.origin == Origin::WebSeed {
            return;
        }
        let torrent = &self.torrents[&state.torrent];
        let interests = || state.interests(torrent.pieces.lacking()) > 0;
        let downloads = torrent.auto_download.is_some() && interests();
        let wants = torrent.may_fetch() && (downloads || self.is_requested(conn));
        if wants == state.am_interested {
            return;
        }
        let message = if wants { Message::Interested } else { Message::NotInterested };
        out.push(Action::Send { conn, message });
        if let Some(state) = self.conns.get_mut(&conn) {
            state.am_interested = wants;
        }
    }

    /// Whether a `request_download` is at work with this connection.
    fn is_requested(&self, conn: ConnId) -> bool {
        self.jobs.values().any(|job| job.is_request_to(conn))
    }

    /// Counts anew how many pieces that we want every connection of a torrent has.
    pub(super) fn count_interesting(&mut self, id: TorrentId) {
        let Some(torrent) = self.torrents.get(&id) else { return };
        for conn in &torrent.conns {
            if let Some(state) = self.conns.get_mut(conn) {
                state.interesting = state.have.count_common(torrent.pieces.lacking()) as u32;
            }
        }
    }

    /// [`Self::update_interest`] for every connection of a torrent.
    pub(super) fn update_interests(&mut self, id: TorrentId, out: &mut Vec<Action>) {
        let conns = self.torrents.get(&id).map(|torrent| torrent.conns.clone());
        for conn in conns.unwrap_or_default() {
            self.update_interest(conn, out);
        }
    }
}
