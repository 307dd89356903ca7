//! Peer exchange (BEP 11): whom each peer is told of, and what is believed of what peers tell.
//! Nothing of it happens in a private torrent (BEP 27).

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use super::{Action, Session, timers::Timer};
use crate::{
    address::{canonical, is_host, is_shared},
    config::{PEX_EVERY, PEX_HEARD_EVERY, PEX_PEERS_MAX},
    ids::{ConnId, TorrentId},
    peer::{Conn, Origin},
    time::Timestamp,
    torrent::{Torrent, book::Source},
    wire::{
        Message, PeerFault, PexMessage, PexPeer,
        pex::{REACHABLE, SEED},
    },
};

/// How long whoever came or went is kept to oneself: others come and go with them.
const GATHER: Duration = Duration::from_secs(2);

impl Session {
    /// Whether peers of a torrent may be told of each other.
    pub(super) fn gossips(&self, id: TorrentId) -> bool {
        self.torrents.get(&id).is_some_and(Torrent::gossips)
    }

    /// Somebody came or went, or can be told of it: there may be something to tell.
    pub(super) fn stir_gossip(&mut self, id: TorrentId) {
        if self.gossips(id) {
            self.timers.set_sooner(Timer::Gossip(id), self.now + GATHER);
        }
    }

    /// Tells every peer whose turn it is what changed since it was told last.
    pub(super) fn gossip(&mut self, id: TorrentId, out: &mut Vec<Action>) {
        let Some(torrent) = self.torrents.get(&id) else { return };
        let conns = torrent.conns.clone();
        let known = conns.iter().filter_map(|conn| presentable(&self.conns[conn]));
        let known = known.collect::<BTreeMap<_, _>>();
        let mut next = Timestamp::NEVER;
        for conn in conns {
            let Some(state) = self.conns.get_mut(&conn) else { continue };
            let Some(pex_id) = state.gossip.id else { continue };
            let due = state.gossip.told_at.map_or(self.now, |at| at + PEX_EVERY);
            if due > self.now {
                next = next.min(due);
                continue;
            }
            let (message, more) = differences(state, &known);
            if message.is_empty() {
                continue;
            }
            state.gossip.told_at = Some(self.now);
            if more {
                next = next.min(self.now + PEX_EVERY);
            }
            let message = Message::Extended { id: pex_id, payload: message.encode() };
            out.push(Action::Send { conn, message });
        }
        self.timers.set(Timer::Gossip(id), next);
    }

    /// A peer told of others.
    pub(super) fn on_gossip(&mut self, conn: ConnId, payload: &[u8]) -> Result<(), PeerFault> {
        let Some(state) = self.conns.get_mut(&conn) else { return Ok(()) };
        let (id, from) = (state.torrent, state.addr.ip().to_canonical());
        let too_soon = |at: Timestamp| self.now.since(at) < PEX_HEARD_EVERY;
        if state.gossip.heard_at.is_some_and(too_soon) {
            state.gossip.ignored = state.gossip.ignored.saturating_add(1);
            return Ok(());
        }
        state.gossip.heard_at = Some(self.now);
        if !self.gossips(id) {
            return Ok(());
        }
        let PexMessage { added, dropped } = PexMessage::decode(payload)?;
        let added = added.into_iter().map(|peer| peer.addr);
        let shared = added.filter(|addr| is_shared(*addr, from)).collect::<Vec<_>>();
        for addr in shared {
            self.hear_of(id, addr, Source::Pex(from));
        }
        if let Some(torrent) = self.torrents.get_mut(&id) {
            dropped.into_iter().for_each(|addr| torrent.book.forget_hearsay(canonical(addr), from));
        }
        Ok(())
    }

    /// Somebody says that a peer of a torrent listens at an address. Our own, and those of banned
    /// peers, are no news.
    pub(super) fn hear_of(&mut self, id: TorrentId, addr: SocketAddr, source: Source) {
        let addr = canonical(addr);
        let own = self.identity.advertise.map(|ip| SocketAddr::new(ip, self.identity.listen_port));
        let Some(torrent) = self.torrents.get_mut(&id) else { return };
        if own == Some(addr) || !is_host(addr) || torrent.blame.is_banned_addr(&addr) {
            return;
        }
        if torrent.book.hear(addr, source, self.config.peers_per_torrent_max, self.now) {
            self.dirty.insert(id);
        }
    }
}

/// What others can be told of a peer: where it listens, if it is known, and how it stands.
fn presentable(conn: &Conn) -> Option<(SocketAddr, u8)> {
    let addr = match conn.origin {
        Origin::Incoming | Origin::Dialled | Origin::Operator => canonical(conn.listen?),
        // No peer could connect to it.
        Origin::WebSeed => return None,
    };
    let seed = conn.upload_only || conn.have.is_full();
    let dialled = conn.origin != Origin::Incoming;
    let flags = if seed { SEED } else { 0 } | if dialled { REACHABLE } else { 0 };
    is_host(addr).then_some((addr, flags))
}

/// What a peer is to be told, as much as one message takes, and whether there is more; it counts
/// as told.
fn differences(conn: &mut Conn, known: &BTreeMap<SocketAddr, u8>) -> (PexMessage, bool) {
    let (itself, near) = (canonical(conn.address()), conn.addr.ip());
    let told = &mut conn.gossip.told;
    let gone = told.iter().filter(|addr| !known.contains_key(addr));
    let gone = gone.take(PEX_PEERS_MAX + 1).copied().collect::<Vec<_>>();
    let fresh = known
        .iter()
        .filter(|&(&addr, _)| addr != itself && is_shared(addr, near) && !told.contains(&addr));
    let fresh = fresh.map(|(&addr, &flags)| PexPeer { addr, flags });
    let mut message = PexMessage { added: fresh.take(PEX_PEERS_MAX + 1).collect(), dropped: gone };
    let more = message.added.len().max(message.dropped.len()) > PEX_PEERS_MAX;
    message.added.truncate(PEX_PEERS_MAX);
    message.dropped.truncate(PEX_PEERS_MAX);
    told.extend(message.added.iter().map(|peer| peer.addr));
    for addr in &message.dropped {
        told.remove(addr);
    }
    (message, more)
}
