//! Who is connected for a quest: dials, incoming handshakes, ends.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use super::Phase;
use crate::{
    config::{FOREIGN_REQUEST_LEN_MAX, METADATA_TIMEOUT, QUEST_CONNECTIONS_MAX},
    ids::{ConnId, PeerId, TorrentId},
    peer::Origin,
    session::{
        Action, Dial, Serving, Session,
        dial::REDIAL_AFTER,
        fault::CloseCause,
        notice::{Notice, PeerNews},
        notify,
        timers::Timer,
    },
    time::Timestamp,
    wire::{
        Message, Terms,
        extended::{ExtendedHandshake, Extension, HANDSHAKE_ID},
    },
};

/// How long a peer without metadata, or one that does not give it, is left alone.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// A peer whose handshake is read.
pub(in crate::session) struct Met {
    pub(in crate::session) conn: ConnId,
    pub(in crate::session) addr: SocketAddr,
    pub(in crate::session) peer_id: PeerId,
    pub(in crate::session) terms: Terms,
}

/// A connection of a quest.
#[derive(Debug)]
pub(super) struct Source {
    /// The socket's address.
    addr: SocketAddr,
    /// Where the peer listens, once known.
    pub(super) listen: Option<SocketAddr>,
    pub(super) peer_id: PeerId,
    pub(super) terms: Terms,
    /// We dialled it.
    pub(super) outgoing: bool,
    /// The id under which it takes messages of `ut_metadata`.
    pub(super) id: Option<u8>,
    /// The size that it claims, bytes; none: it has not said hello.
    pub(super) size: Option<u32>,
    /// When it has to have said hello.
    pub(super) hello_due: Timestamp,
    /// Pieces it is asked for, and until when.
    pub(super) asked: BTreeMap<u32, Timestamp>,
    /// Pieces in a row that it did not give.
    pub(super) failures: u32,
    /// It is not asked before this.
    pub(super) rests_until: Timestamp,
}

impl Source {
    /// Where it listens, or else its socket's address.
    pub(super) fn address(&self) -> SocketAddr {
        self.listen.unwrap_or(self.addr)
    }
}

impl Session {
    pub(in crate::session) fn on_quest_incoming(
        &mut self,
        id: TorrentId,
        met: &Met,
        out: &mut Vec<Action>,
    ) {
        let conn = met.conn;
        if let Err(cause) = self.admit_source(id, met, false, out) {
            return out.push(Action::Close { conn, cause });
        }
        out.push(Action::Accept { conn, torrent: id });
        self.establish_source(id, met, false, out);
    }

    pub(in crate::session) fn on_quest_dialled(
        &mut self,
        id: TorrentId,
        met: &Met,
        out: &mut Vec<Action>,
    ) {
        let (conn, addr) = (met.conn, met.addr);
        let Err(cause) = self.admit_source(id, met, true, out) else {
            return self.establish_source(id, met, true, out);
        };
        if let Some(quest) = self.quests.get_mut(&id) {
            quest.book.closed(addr, conn, self.now + REDIAL_AFTER);
            if matches!(cause, CloseCause::Own | CloseCause::Banned) {
                quest.book.is_ourselves(addr);
            }
            let twin = quest.sources.iter_mut().find(|(_, twin)| twin.peer_id == met.peer_id);
            if let Some((&twin, source)) = twin {
                source.listen = Some(addr);
                quest.book.connected(addr, twin);
            }
        }
        out.push(Action::Close { conn, cause });
    }

    /// Whether a peer may be asked; ends the other connection to it where this one is to stay.
    fn admit_source(
        &mut self,
        id: TorrentId,
        met: &Met,
        outgoing: bool,
        out: &mut Vec<Action>,
    ) -> Result<(), CloseCause> {
        if met.peer_id == self.identity.peer_id {
            return Err(CloseCause::Own);
        }
        let Some(quest) = self.quests.get(&id) else { return Err(CloseCause::UnknownTorrent) };
        if quest.phase != Phase::Seeking || self.leaving.is_some() {
            return Err(CloseCause::UnknownTorrent);
        }
        if quest.banned.ids.contains(&met.peer_id) {
            return Err(CloseCause::Banned);
        }
        let twin = quest.sources.iter().find(|(_, source)| source.peer_id == met.peer_id);
        if let Some((&twin, source)) = twin {
            // The connection dialled by the lower peer id stays; of two alike the older.
            let lower_dialled = outgoing == (self.identity.peer_id < met.peer_id);
            if source.outgoing == outgoing || !lower_dialled {
                return Err(CloseCause::Duplicate);
            }
            self.close_source(twin, CloseCause::Duplicate, REDIAL_AFTER, out);
            return Ok(());
        }
        let full = quest.sources.len() >= self.sources_max()
            || self.peer_count() >= self.config.connections_max;
        if full { Err(CloseCause::Full) } else { Ok(()) }
    }

    fn sources_max(&self) -> usize {
        QUEST_CONNECTIONS_MAX.min(self.config.connections_per_torrent_max)
    }

    fn establish_source(
        &mut self,
        id: TorrentId,
        met: &Met,
        outgoing: bool,
        out: &mut Vec<Action>,
    ) {
        let &Met { conn, addr, peer_id, terms } = met;
        let hello_due = self.now + METADATA_TIMEOUT;
        let Some(quest) = self.quests.get_mut(&id) else { return };
        let source = Source {
            addr,
            listen: outgoing.then_some(addr),
            peer_id,
            terms,
            outgoing,
            id: None,
            size: None,
            hello_due,
            asked: BTreeMap::new(),
            failures: 0,
            rests_until: Timestamp::default(),
        };
        quest.sources.insert(conn, source);
        if outgoing {
            quest.book.connected(addr, conn);
        }
        self.quest_conns.insert(conn, id);
        notify(
            out,
            Notice::PeerConnected(PeerNews {
                torrent: id,
                conn,
                addr,
                peer_id,
                reason: String::new(),
            }),
        );
        if !terms.extended {
            return self.close_source(conn, CloseCause::NoMetadata, AGAIN_AFTER, out);
        }
        let opening = terms.fast.then_some(Message::HaveNone);
        out.extend(opening.map(|message| Action::Send { conn, message }));
        let hello = ExtendedHandshake {
            ids: Extension::offer(&[Extension::Metadata]),
            ..self.our_handshake(addr)
        };
        let message = Message::Extended { id: HANDSHAKE_ID, payload: hello.encode() };
        out.push(Action::Send { conn, message });
        let serving = Serving::Choked;
        out.push(Action::Serve { conn, serving, request_len_max: FOREIGN_REQUEST_LEN_MAX });
        self.dirty.insert(id);
    }

    /// Dials known addresses.
    pub(super) fn dial_sources(&mut self, id: TorrentId, out: &mut Vec<Action>) {
        let Some(quest) = self.quests.get(&id) else { return };
        let left = self.dials_left(id, quest.sources.len(), self.sources_max());
        let Some(quest) = self.quests.get_mut(&id) else { return };
        let due = quest.book.due(self.now, left);
        let next = quest.book.next_due(self.now);
        for addr in due {
            let conn = ConnId(self.next_id());
            let Some(quest) = self.quests.get_mut(&id) else { return };
            if quest.banned.addrs.contains(&addr) {
                quest.book.is_ourselves(addr);
                continue;
            }
            quest.book.dialling(addr, conn);
            let info_hash = quest.magnet.info_hash;
            let (origin, waiters) = (Origin::Dialled, Vec::new());
            self.dials.insert(conn, Dial { torrent: id, addr, origin, waiters });
            self.timers.set(Timer::Dial(conn), self.now + self.config.handshake_timeout * 2);
            out.push(Action::Dial { conn, torrent: id, info_hash, addr });
        }
        if let Some(next) = next {
            self.timers.set(Timer::Redial(id), next);
        }
    }

    /// Ends a connection that gives nothing.
    pub(super) fn let_go(&mut self, conn: ConnId, out: &mut Vec<Action>) {
        self.close_source(conn, CloseCause::NoMetadata, AGAIN_AFTER, out);
    }

    /// Ends a connection from our side; its address is left alone for so long.
    pub(super) fn close_source(
        &mut self,
        conn: ConnId,
        cause: CloseCause,
        again_after: Duration,
        out: &mut Vec<Action>,
    ) {
        self.lose_source(conn, &cause, again_after, out);
        out.push(Action::Close { conn, cause });
    }

    /// A connection ended; not of a quest, most likely.
    pub(in crate::session) fn forget_source(
        &mut self,
        conn: ConnId,
        cause: &CloseCause,
        out: &mut Vec<Action>,
    ) {
        self.lose_source(conn, cause, REDIAL_AFTER, out);
    }

    fn lose_source(
        &mut self,
        conn: ConnId,
        cause: &CloseCause,
        again_after: Duration,
        out: &mut Vec<Action>,
    ) {
        let Some(id) = self.quest_conns.remove(&conn) else { return };
        let Some(quest) = self.quests.get_mut(&id) else { return };
        let Some(source) = quest.sources.remove(&conn) else { return };
        if let Some(assembly) = source.size.and_then(|size| quest.sizes.get_mut(&size)) {
            source.asked.keys().for_each(|&piece| assembly.unask(piece));
            assembly.forget(conn);
        }
        let (addr, peer_id) = (source.address(), source.peer_id);
        quest.book.closed(addr, conn, self.now + again_after);
        let reason = cause.to_string();
        notify(
            out,
            Notice::PeerDisconnected(PeerNews { torrent: id, conn, addr, peer_id, reason }),
        );
        self.dirty.insert(id);
    }

    /// Ends every connection and every dial of a quest.
    pub(in crate::session) fn close_sources(
        &mut self,
        id: TorrentId,
        cause: &CloseCause,
        out: &mut Vec<Action>,
    ) {
        let Some(quest) = self.quests.get(&id) else { return };
        for conn in quest.sources.keys().copied().collect::<Vec<_>>() {
            self.close_source(conn, cause.clone(), Duration::ZERO, out);
        }
        let dials = self.dials.iter().filter(|(_, dial)| dial.torrent == id).map(|(&conn, _)| conn);
        for conn in dials.collect::<Vec<_>>() {
            out.push(Action::Close { conn, cause: cause.clone() });
            self.on_dial_failed(conn, "nobody is needed any more", out);
        }
    }
}
