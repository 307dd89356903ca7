//! Whom we dial, and when: for a download at once, for a seed where nobody came. Never here: what
//! follows from a handshake.

use std::{net::SocketAddr, time::Duration};

use super::{
    Action, Dial, Session, command::CommandError, fault::CloseCause, reply, timers::Timer,
};
use crate::{
    ids::{CommandId, ConnId, TorrentId},
    peer::{Conn, Origin},
    torrent::{Torrent, book::Source},
};

/// How long a peer that ended a connection in order is left alone before it is dialled again.
pub(super) const REDIAL_AFTER: Duration = Duration::from_secs(10);

/// Of the connections that a torrent may have, one in so many is left for who dials it. If all dialled
/// until they are full, who comes last would find nobody who has room, and ask everybody again and
/// again. (The first client stops at 60 of 80.)
const LEFT_TO_OTHERS: usize = 4;
/// Where a download has as many connections as it may, one gives way to another this often.
const ROOM_EVERY: Duration = Duration::from_secs(60);
/// It has brought nothing, and taken nothing, for so long.
const USELESS_AFTER: Duration = Duration::from_secs(60);

/// How long a seed waits for a peer to come by itself. Who cannot is dialled: Transmission loses its
/// way to a peer without µTP, and a seed behind a wall is reached by nobody.
const OFFER_AFTER: Duration = Duration::from_secs(10);
/// How long a seed leaves a peer alone that ended a connection.
const OFFER_AGAIN_AFTER: Duration = Duration::from_secs(300);
/// The same of a peer that wants nothing.
const OFFER_SEED_AFTER: Duration = Duration::from_secs(1800);

impl Session {
    /// Dials known peers, while a download wants them, or a seed has waited for them.
    pub(super) fn dial_more(&mut self, id: TorrentId, out: &mut Vec<Action>) {
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        if !wants_peers(torrent) || self.leaving.is_some() {
            return;
        }
        if torrent.is_finished() {
            torrent.book.give_time(self.now + OFFER_AFTER);
        }
        let connections = torrent.peer_count();
        let left = self.dials_left(id, connections, self.connections_sought(id));
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        let due = torrent.book.due(self.now, left);
        let next = torrent.book.next_due(self.now);
        for addr in due {
            self.dial(id, addr, Origin::Dialled, None, out);
        }
        if let Some(next) = next {
            self.timers.set(Timer::Redial(id), next);
        }
    }

    /// Until how many connections a torrent dials: some are left for who dials it, unless others are of
    /// no use.
    fn connections_sought(&self, id: TorrentId) -> usize {
        let max = self.config.connections_per_torrent_max;
        let enough = max - max / LEFT_TO_OTHERS;
        let torrent = &self.torrents[&id];
        if torrent.peer_count() < enough || !torrent.book.is_any_due(self.now) {
            return enough;
        }
        let conns = torrent.conns.iter().map(|conn| &self.conns[conn]);
        (enough + conns.filter(|state| self.is_useless(state)).count()).min(max)
    }

    /// Whether a peer that nobody asked for brings nothing and takes nothing.
    fn is_useless(&self, state: &Conn) -> bool {
        let ours = matches!(state.origin, Origin::Incoming | Origin::Dialled);
        let silent = self.now.since(state.last_payload) >= USELESS_AFTER;
        ours && silent && state.rate_out.bps() == 0
    }

    /// Where a download has as many connections as it may, and others might be dialled, the one gives
    /// way that has been of no use for longest: or who chokes everybody, or has nothing either, could
    /// take all the room there is, and keep it.
    pub(super) fn make_room(&mut self, id: TorrentId, out: &mut Vec<Action>) {
        let torrent = &self.torrents[&id];
        let waits = self.now.since(torrent.made_room) < ROOM_EVERY;
        if waits || torrent.is_finished() || !wants_peers(torrent) || self.leaving.is_some() {
            return;
        }
        if self.limit_reached(id, 0).is_none() || !torrent.book.is_any_due(self.now) {
            return;
        }
        let conns = torrent.conns.iter().map(|conn| &self.conns[conn]);
        let useless = conns.filter(|state| self.is_useless(state));
        let longest = useless.min_by_key(|state| (state.last_payload, state.id));
        let Some((conn, addr)) = longest.map(|state| (state.id, state.address())) else { return };
        self.close(conn, CloseCause::Full, out);
        if let Some(torrent) = self.torrents.get_mut(&id) {
            torrent.made_room = self.now;
            torrent.book.gave_way(addr);
        }
    }

    /// How many dials may begin for a torrent or quest that has so many of at most `max` connections.
    pub(super) fn dials_left(&self, id: TorrentId, connections: usize, max: usize) -> usize {
        let dials = self.dials.values().filter(|dial| dial.torrent == id).count();
        let room = max.saturating_sub(connections + dials);
        let half_open = self.config.half_open_max.saturating_sub(self.dials.len());
        let taken = self.peer_count() + self.dials.len();
        room.min(half_open).min(self.config.connections_max.saturating_sub(taken))
    }

    /// Forgets a dial that ended.
    pub(super) fn end_dial(&mut self, conn: ConnId) -> Option<Dial> {
        self.timers.clear(Timer::Dial(conn));
        self.dials.remove(&conn)
    }

    /// Goes on with the torrents whose dials to an address failed beside another one, once none is
    /// under way: where nobody is there all have failed. Where somebody is, they are taken one at a
    /// time, as by Transmission, which hangs up on a second handshake while one is not done.
    pub(super) fn go_on(&mut self, addr: SocketAddr, out: &mut Vec<Action>) {
        if self.dials.values().any(|dial| dial.addr == addr) {
            return;
        }
        let mut held_up = self.held_up.remove(&addr).unwrap_or_default();
        let failed = !held_up.is_empty() && !self.conns.values().any(|c| c.address() == addr);
        while let Some(id) = held_up.pop_first() {
            let full = self.limit_reached(id, self.dials.len()).is_some();
            let Some(torrent) = self.torrents.get_mut(&id) else { continue };
            torrent.book.let_go(addr, failed, self.now);
            self.dirty.insert(id);
            if wants_peers(torrent) && !failed && !full && self.leaving.is_none() {
                self.dial(id, addr, Origin::Dialled, None, out);
                if !held_up.is_empty() {
                    self.held_up.insert(addr, held_up);
                }
                return;
            }
        }
    }

    /// Dials an address.
    pub(super) fn dial(
        &mut self,
        id: TorrentId,
        addr: SocketAddr,
        origin: Origin,
        waiter: Option<CommandId>,
        out: &mut Vec<Action>,
    ) {
        let conn = ConnId(self.next_id());
        let limit = self.config.peers_per_torrent_max;
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        if torrent.blame.is_banned_addr(&addr) {
            return torrent.book.is_ourselves(addr);
        }
        if origin == Origin::Operator {
            torrent.book.learn(addr, Source::Operator, limit);
        }
        torrent.book.dialling(addr, conn);
        let info_hash = torrent.metainfo.info_hash;
        let waiters = waiter.into_iter().collect();
        self.dials.insert(conn, Dial { torrent: id, addr, origin, waiters });
        // The shell keeps the handshake timeout itself; this one is for a shell that does not.
        self.timers.set(Timer::Dial(conn), self.now + self.config.handshake_timeout * 2);
        out.push(Action::Dial { conn, torrent: id, info_hash, addr });
    }

    pub(super) fn on_dial_failed(&mut self, conn: ConnId, cause: &str, out: &mut Vec<Action>) {
        let Some(dial) = self.end_dial(conn) else { return };
        let Dial { torrent: id, addr, waiters, .. } = dial;
        let beside = self.dials.values().any(|other| other.addr == addr);
        if let Some(quest) = self.quests.get_mut(&id) {
            quest.book.dial_failed(addr, conn, self.now);
            self.dirty.insert(id);
        }
        if let Some(torrent) = self.torrents.get_mut(&id) {
            if beside {
                torrent.book.hold_up(addr, conn);
                self.held_up.entry(addr).or_default().insert(id);
            } else {
                torrent.book.dial_failed(addr, conn, self.now);
            }
            self.dirty.insert(id);
        }
        self.go_on(addr, out);
        for waiter in waiters {
            let cause = cause.to_owned();
            reply(out, waiter, Err(CommandError::PeerUnreachable { addr, cause }));
        }
    }
}

/// Whether peers of a torrent are dialled by themselves.
fn wants_peers(torrent: &Torrent) -> bool {
    let wants = match torrent.is_finished() {
        false => torrent.auto_download.is_some(),
        true => torrent.announcing.is_wanted(),
    };
    wants && torrent.takes_part()
}

/// How long a peer whose connection ended is left alone.
pub(super) fn again_after(torrent: &Torrent, conn: &Conn) -> Duration {
    match (torrent.is_finished(), conn.have.is_full()) {
        (false, _) => REDIAL_AFTER,
        (true, false) => OFFER_AGAIN_AFTER,
        (true, true) => OFFER_SEED_AFTER,
    }
}
