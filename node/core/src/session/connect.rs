//! Who is connected: handshakes of both directions, duplicates, limits, ends.

use std::{net::SocketAddr, sync::Arc};

use super::{
    Action, Dial, Serving, Session,
    command::{CommandError, Done},
    dial::{REDIAL_AFTER, again_after},
    fault::CloseCause,
    notice::{Notice, PeerNews},
    notify,
    quest::Met,
    reply,
    timers::Timer,
    web_seeds::LABEL,
};
use crate::{
    bitfield::Bitfield,
    config::{Config, FOREIGN_REQUEST_LEN_MAX, SHOAL_REQUEST_LEN_MAX, Unchoke},
    ids::{CommandId, ConnId, InfoHash, PeerId, TorrentId},
    peer::{Conn, Origin},
    policy::ChunkFault,
    torrent::{Condition, Torrent},
    wire::{
        Message, Terms,
        extended::{ExtendedHandshake, Extension, HANDSHAKE_ID, ShoalOffer},
    },
};

/// How long `connect_peer` waits for a peer to say what it has.
const INTRODUCTION: std::time::Duration = std::time::Duration::from_millis(500);

/// A peer whose handshake is read.
struct Arrival {
    conn: ConnId,
    torrent: TorrentId,
    addr: SocketAddr,
    origin: Origin,
    peer_id: PeerId,
    terms: Terms,
}

impl Session {
    pub(super) fn on_incoming(
        &mut self,
        conn: ConnId,
        addr: SocketAddr,
        info_hash: InfoHash,
        peer_id: PeerId,
        terms: Terms,
        out: &mut Vec<Action>,
    ) {
        if let Some(quest) = self.quest_of(&info_hash) {
            return self.on_quest_incoming(quest, &Met { conn, addr, peer_id, terms }, out);
        }
        let torrent = self.by_hash.get(&info_hash).copied();
        let open = |id: &TorrentId| self.leaving.is_none() && self.torrents[id].takes_part();
        let Some(id) = torrent.filter(open) else {
            return out.push(Action::Close { conn, cause: CloseCause::UnknownTorrent });
        };
        if let Err(cause) = self.admit(id, peer_id, Origin::Incoming, out) {
            return out.push(Action::Close { conn, cause });
        }
        out.push(Action::Accept { conn, torrent: id });
        let origin = Origin::Incoming;
        self.establish(&Arrival { conn, torrent: id, addr, origin, peer_id, terms }, out);
    }

    pub(super) fn on_dialled(
        &mut self,
        conn: ConnId,
        peer_id: PeerId,
        terms: Terms,
        out: &mut Vec<Action>,
    ) {
        let Some(dial) = self.end_dial(conn) else {
            return out.push(Action::Close { conn, cause: CloseCause::Operator });
        };
        let Dial { torrent: id, addr, origin, waiters } = dial;
        if self.quests.contains_key(&id) {
            return self.on_quest_dialled(id, &Met { conn, addr, peer_id, terms }, out);
        }
        let arrival = Arrival { conn, torrent: id, addr, origin, peer_id, terms };
        if let Err(cause) = self.admit(id, peer_id, origin, out) {
            self.refused_dial(&arrival, &cause, waiters, out);
            out.push(Action::Close { conn, cause });
            return self.go_on(addr, out);
        }
        self.establish(&arrival, out);
        self.go_on(addr, out);
        if !waiters.is_empty() {
            // The answer tells what the peer has: it waits for the peer's first words.
            self.introductions.insert(conn, waiters);
            self.timers.set(Timer::Introduction(conn), self.now + INTRODUCTION);
        }
    }

    fn refused_dial(
        &mut self,
        arrival: &Arrival,
        cause: &CloseCause,
        waiters: Vec<CommandId>,
        out: &mut Vec<Action>,
    ) {
        let &Arrival { conn, torrent: id, addr, peer_id, .. } = arrival;
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        torrent.book.closed(addr, conn, self.now + REDIAL_AFTER);
        let twin = torrent.conns.iter().copied().find(|c| self.conns[c].peer_id == peer_id);
        if *cause == CloseCause::Own {
            torrent.book.is_ourselves(addr);
        } else if let Some(twin) = twin {
            torrent.book.connected(addr, twin);
            if let Some(twin) = self.conns.get_mut(&twin) {
                twin.listen = Some(addr);
            }
            self.stir_gossip(id);
        }
        let full = self.limit_reached(id, 0);
        for waiter in waiters {
            let error = match (cause, twin, full) {
                (CloseCause::Duplicate, Some(twin), _) => {
                    self.answer_connected(waiter, twin, true, out);
                    continue;
                }
                (CloseCause::Own, _, _) => CommandError::OwnAddress(addr),
                (CloseCause::Banned, _, _) => CommandError::PeerBanned(addr),
                (CloseCause::Full, _, Some((setting, limit))) => {
                    CommandError::TooManyConnections { addr, setting, limit }
                }
                (cause, _, _) => CommandError::PeerUnreachable { addr, cause: cause.to_string() },
            };
            reply(out, waiter, Err(error));
        }
    }

    /// Whether a peer may take part; ends the other connection to it where this one is to stay.
    fn admit(
        &mut self,
        id: TorrentId,
        peer_id: PeerId,
        origin: Origin,
        out: &mut Vec<Action>,
    ) -> Result<(), CloseCause> {
        if peer_id == self.identity.peer_id {
            return Err(CloseCause::Own);
        }
        let Some(torrent) = self.torrents.get(&id).filter(|t| t.takes_part()) else {
            return Err(CloseCause::TorrentStopped);
        };
        if torrent.blame.is_banned(&peer_id) {
            return Err(CloseCause::Banned);
        }
        let twin = torrent.conns.iter().copied().find(|c| self.conns[c].peer_id == peer_id);
        if let Some(twin) = twin {
            let we_dialled = |origin: Origin| origin != Origin::Incoming;
            let same_way = we_dialled(self.conns[&twin].origin) == we_dialled(origin);
            // The connection dialled by the lower peer id stays; of two alike the older.
            let lower_dialled = we_dialled(origin) == (self.identity.peer_id < peer_id);
            if same_way || !lower_dialled {
                return Err(CloseCause::Duplicate);
            }
            out.push(Action::Close { conn: twin, cause: CloseCause::Duplicate });
            self.forget_conn(twin, &CloseCause::Duplicate, out);
            return Ok(());
        }
        if self.limit_reached(id, 0).is_some() { Err(CloseCause::Full) } else { Ok(()) }
    }

    /// The limit that leaves no room for another connection of a torrent beside `dials` of the
    /// node that are under way: the name of its setting, and what it is set to.
    pub(super) fn limit_reached(
        &self,
        id: TorrentId,
        dials: usize,
    ) -> Option<(&'static str, usize)> {
        let Config { connections_max, connections_per_torrent_max, .. } = self.config;
        let of_torrent = self.torrents.get(&id).map_or(0, Torrent::peer_count);
        if of_torrent >= connections_per_torrent_max {
            return Some(("connections-per-torrent", connections_per_torrent_max));
        }
        let full = self.peer_count() + dials >= connections_max;
        full.then_some(("connections", connections_max))
    }

    fn establish(&mut self, arrival: &Arrival, out: &mut Vec<Action>) {
        let &Arrival { conn, torrent: id, addr, origin, peer_id, terms } = arrival;
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        let pieces = torrent.metainfo.piece_count() as usize;
        let mut state = Conn::new(conn, id, addr, origin, peer_id, pieces, self.now);
        state.terms = terms;
        state.am_choking = self.config.unchoke != Unchoke::All;
        torrent.conns.push(conn);
        if origin != Origin::Incoming {
            torrent.book.connected(addr, conn);
        }
        let message = opening(torrent.have(), terms);
        out.extend(message.map(|message| Action::Send { conn, message }));
        self.conns.insert(conn, state);
        self.say_hello(conn, out);
        self.serve(conn, out);
        self.adopt_report(conn);
        notify(out, Notice::PeerConnected(self.news(conn, String::new())));
        self.stir_gossip(id);
        self.dirty.insert(id);
    }

    /// Has requests of a peer served, or not, as it is choked and by what it offered.
    pub(super) fn serve(&self, conn: ConnId, out: &mut Vec<Action>) {
        let Some(state) = self.conns.get(&conn) else { return };
        let serving = if state.am_choking { Serving::Choked } else { Serving::Unchoked };
        let request_len_max = match state.shoal {
            Some(_) => SHOAL_REQUEST_LEN_MAX,
            None => FOREIGN_REQUEST_LEN_MAX,
        };
        out.push(Action::Serve { conn, serving, request_len_max });
    }

    /// Sends our extended handshake, where the peer takes one.
    fn say_hello(&mut self, conn: ConnId, out: &mut Vec<Action>) {
        let Some(state) = self.conns.get_mut(&conn).filter(|state| state.terms.extended) else {
            return;
        };
        let Some(torrent) = self.torrents.get(&state.torrent) else { return };
        let finished = torrent.is_finished();
        let told = std::mem::replace(&mut state.told_upload_only, finished);
        let addr = state.addr;
        let mut extensions = vec![Extension::Shoal, Extension::Metadata];
        extensions.extend(torrent.gossips().then_some(Extension::Pex));
        let hello = ExtendedHandshake {
            ids: Extension::offer(&extensions),
            shoal: Some(ShoalOffer { version: 1, request_len_max: SHOAL_REQUEST_LEN_MAX }),
            upload_only: (finished || told).then_some(finished),
            metadata_size: u32::try_from(torrent.metainfo.info_bytes.len()).ok(),
            ..self.our_handshake(addr)
        };
        let message = Message::Extended { id: HANDSHAKE_ID, payload: hello.encode() };
        out.push(Action::Send { conn, message });
    }

    /// Tells a peer that we want nothing any more, or something again (BEP 21), where it was told
    /// otherwise: by another handshake, for the message that others have for it is in no BEP.
    pub(super) fn tell_upload_only(&mut self, conn: ConnId, out: &mut Vec<Action>) {
        let Some(state) = self.conns.get(&conn) else { return };
        if state.told_upload_only != self.torrents[&state.torrent].is_finished() {
            self.say_hello(conn, out);
        }
    }

    /// What our extended handshake says whatever it is about.
    pub(super) fn our_handshake(&self, addr: SocketAddr) -> ExtendedHandshake {
        ExtendedHandshake {
            client: concat!("shoal ", env!("CARGO_PKG_VERSION")).to_owned(),
            port: Some(self.identity.listen_port),
            reqq: Some(self.config.requests_served_max),
            your_ip: Some(addr.ip()),
            ..ExtendedHandshake::default()
        }
    }

    /// Takes over what the tracker last reported of a peer.
    pub(super) fn adopt_report(&mut self, conn: ConnId) {
        let Some(state) = self.conns.get_mut(&conn) else { return };
        let torrent = &self.torrents[&state.torrent];
        let Some(peer) = torrent.reported(&state.peer_id) else { return };
        if let Some(up) = peer.up {
            state.report(up, peer.down.unwrap_or(0));
        }
        if state.labels.is_empty() && !peer.labels.is_empty() {
            state.labels = Arc::clone(&peer.labels);
            if state.labels.contains_key(LABEL) {
                Arc::make_mut(&mut state.labels).remove(LABEL);
            }
        }
    }

    pub(super) fn on_closed(&mut self, conn: ConnId, cause: &CloseCause, out: &mut Vec<Action>) {
        self.parting.remove(&conn);
        self.forget_source(conn, cause, out);
        if !self.web_seed_not_opened(conn, cause) {
            self.forget_conn(conn, cause, out);
        }
    }

    /// Ends a connection from our side.
    pub(super) fn close(&mut self, conn: ConnId, cause: CloseCause, out: &mut Vec<Action>) {
        if let Some(state) = self.conns.get(&conn) {
            self.parting.insert(conn, state.torrent);
        }
        self.forget_conn(conn, &cause, out);
        out.push(Action::Close { conn, cause });
    }

    /// Takes a connection out of everything. Its leases end by their own events, which come for a
    /// connection that is gone as well; until then their extents stay leased.
    fn forget_conn(&mut self, conn: ConnId, cause: &CloseCause, out: &mut Vec<Action>) {
        if !self.conns.contains_key(&conn) {
            return;
        }
        let news = self.news(conn, cause.to_string());
        for lease in self.conns[&conn].leases.clone() {
            let Some(record) = self.leases.get_mut(&lease) else { continue };
            let (again, chunk) = (record.revoked, (record.piece, record.extent));
            record.revoked = true;
            if !again {
                self.tell_failed(conn, chunk, ChunkFault::Disconnect, out);
            }
        }
        self.tell_parting(conn, out);
        let Some(state) = self.conns.remove(&conn) else { return };
        let pings = self.pings.iter().filter(|(_, ping)| ping.conn == conn);
        for n in pings.map(|(&n, _)| n).collect::<Vec<_>>() {
            if let Some(ping) = self.pings.remove(&n) {
                self.timers.clear(Timer::Ping(ping.command));
                reply(out, ping.command, Err(self.lost(&state, cause)));
            }
        }
        if let Some(torrent) = self.torrents.get_mut(&state.torrent) {
            torrent.conns.retain(|&c| c != conn);
            torrent.roster.remove(conn);
            torrent.blind.forget(conn);
            if torrent.conns.is_empty() {
                torrent.rate_in.reset(self.now);
                torrent.rate_out.reset(self.now);
            }
            if state.origin == Origin::WebSeed {
                torrent.web_seeds.ended(conn, cause, self.now);
                self.web_seed_conns -= 1;
            } else {
                torrent.picker.remove_peer(&state.have);
                let again_after = again_after(torrent, &state);
                torrent.book.closed(state.address(), conn, self.now + again_after);
                self.timers.set(Timer::Redial(state.torrent), self.now + REDIAL_AFTER);
            }
        }
        self.timers.clear(Timer::Introduction(conn));
        for waiter in self.introductions.remove(&conn).unwrap_or_default() {
            reply(out, waiter, Err(self.lost(&state, cause)));
        }
        self.stir_gossip(state.torrent);
        self.dirty.insert(state.torrent);
        self.requests_lost(&state, cause, out);
        notify(out, Notice::PeerDisconnected(news));
    }

    /// What a command is told whose connection ended before its answer came.
    pub(super) fn lost(&self, conn: &Conn, cause: &CloseCause) -> CommandError {
        let condition = self.torrents.get(&conn.torrent).map(|torrent| &torrent.condition);
        match (cause, condition) {
            (CloseCause::TorrentStopped, Some(Condition::Paused)) => CommandError::Paused,
            (CloseCause::TorrentStopped, Some(Condition::Quit)) => CommandError::HasQuit,
            (CloseCause::Shutdown, _) => CommandError::ShuttingDown,
            (cause, _) => CommandError::PeerLost { addr: conn.address(), cause: cause.to_string() },
        }
    }

    /// The peer said who it is, or takes its time: `connect_peer` is answered.
    pub(super) fn introduced(&mut self, conn: ConnId, out: &mut Vec<Action>) {
        self.timers.clear(Timer::Introduction(conn));
        for waiter in self.introductions.remove(&conn).unwrap_or_default() {
            self.answer_connected(waiter, conn, false, out);
        }
    }

    /// Answers a `connect_peer`.
    pub(super) fn answer_connected(
        &self,
        command: CommandId,
        conn: ConnId,
        already: bool,
        out: &mut Vec<Action>,
    ) {
        let Some(state) = self.conns.get(&conn) else { return };
        let done = Done::Connected {
            peer_id: state.peer_id,
            client: state.client.to_string(),
            pieces_have: state.have.count_ones(),
            extended: state.terms.extended,
            shoal: state.shoal.is_some(),
            already,
        };
        reply(out, command, Ok(done));
    }

    /// The connection of a torrent to the peer that listens at `addr`.
    pub(super) fn conn_at(&self, id: TorrentId, addr: &SocketAddr) -> Option<ConnId> {
        let conns = self.torrents.get(&id)?.conns.iter().copied();
        let mut conns = conns.filter(|conn| {
            let conn = &self.conns[conn];
            conn.address() == *addr || conn.addr == *addr
        });
        conns.next()
    }

    pub(super) fn news(&self, conn: ConnId, reason: String) -> PeerNews {
        let state = &self.conns[&conn];
        let (torrent, addr, peer_id) = (state.torrent, state.address(), state.peer_id);
        PeerNews { torrent, conn, addr, peer_id, reason }
    }
}

/// What we say first of what we have: before anything else, so that every client takes it (BEP 3);
/// in one byte where the fast extension has a word for it (BEP 6).
fn opening(have: &Bitfield, terms: Terms) -> Option<Message> {
    match (terms.fast, have.count_ones()) {
        (true, 0) => Some(Message::HaveNone),
        (true, _) if have.is_full() => Some(Message::HaveAll),
        (false, 0) => None,
        (true | false, _) => Some(Message::Bitfield(have.to_wire())),
    }
}
