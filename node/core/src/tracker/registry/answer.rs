//! What an announce is answered: the counts, a few peers, and for shoal peers the peer set. Never
//! here: who is listed.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use super::{
    Entered, Family, Registry,
    peer::{Peer, labels_bytes},
    swarm::{PeerRef, Seeds, Whom},
};
use crate::tracker::announce::{
    AnnounceEvent, AnnounceReply, AnnounceRequest, PeerEntry, REPLY_PEERS_MAX, SHOAL_LEN_MAX,
    ShoalPeer, ShoalReply,
};

/// What an announce is answered, but for the peers, which [`Registry::announce_with`] gives one by
/// one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answer {
    /// Seconds to wait until the next regular announce.
    pub interval_s: u32,
    /// Seconds that must pass before any further announce.
    pub min_interval_s: u32,
    /// Seeds in the swarm.
    pub complete: u32,
    /// Leechers in the swarm.
    pub incomplete: u32,
    /// How often the torrent was completed.
    pub downloaded: u32,
    /// Why the peer is not listed, where it is not.
    pub warning: Option<&'static str>,
    /// The address that the tracker saw (BEP 24).
    pub external_ip: IpAddr,
}

/// The peers that a reply has room for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Room {
    /// Peers of this family alone (UDP's replies have no other, BEP 15); `None`: of both.
    pub family: Option<Family>,
    /// At most so many, whatever the request and the tunables say.
    pub peers_max: usize,
}

/// More than a peer takes in the encoding of a peer set, without its labels and bitfield, bytes.
const PEER_LEN: usize = 192;
/// More than a label or a bitfield takes beside its own bytes.
const STRING_LEN: usize = 12;

impl Room {
    /// For every peer that the registry would give.
    pub(super) const AMPLE: Self = Self { family: None, peers_max: usize::MAX };
}

impl Registry {
    /// The counts, for a peer that stays or leaves.
    pub(super) fn counted(&self, entered: Entered) -> Answer {
        let seconds = |duration: Duration| count(duration.as_secs()).max(1);
        let swarm = entered.torrent.map(|index| self.torrents.swarm(index));
        Answer {
            interval_s: seconds(self.config.interval),
            min_interval_s: seconds(self.config.min_interval),
            complete: swarm.map_or(0, |swarm| count(swarm.seeds() as u64)),
            incomplete: swarm.map_or(0, |swarm| count(swarm.leechers() as u64)),
            downloaded: swarm.map_or(0, |swarm| swarm.completed),
            warning: entered.unlisted,
            external_ip: entered.source,
        }
    }

    /// Peers for a peer that stays; one that leaves wants none.
    pub(super) fn give(
        &mut self,
        request: &AnnounceRequest,
        entered: Entered,
        room: Room,
        give: impl FnMut(PeerRef<'_>),
    ) {
        let Some(index) = entered.torrent.filter(|_| is_staying(request)) else { return };
        let numwant = self.numwant(request).min(room.peers_max);
        // aria2 says that nothing is left while it has but a magnet link, and needs who has all.
        let begins = request.event == Some(AnnounceEvent::Started);
        let seeds = if request.left == 0 && !begins { Seeds::Never } else { Seeds::Too };
        let whom = Whom { seeds, family: room.family, except: entered.place };
        let swarm = self.torrents.swarm(index);
        swarm.draw((&mut self.urn, &mut self.rng), numwant, whom, give);
    }

    /// The whole reply, with the peer set where it was asked for.
    pub(super) fn reply(&mut self, request: &AnnounceRequest, entered: Entered) -> AnnounceReply {
        let answer = self.counted(entered);
        let mut reply = AnnounceReply::new(answer.interval_s);
        reply.min_interval_s = Some(answer.min_interval_s);
        reply.complete = Some(answer.complete);
        reply.incomplete = Some(answer.incomplete);
        reply.downloaded = Some(answer.downloaded);
        reply.warning = answer.warning.map(str::to_owned);
        reply.external_ip = Some(answer.external_ip);
        self.give(request, entered, Room::AMPLE, |peer| {
            reply.peers.push(PeerEntry { addr: peer.addr(), id: Some(peer.id()) });
        });
        reply.shoal = request.shoal.as_ref().map(|_| self.peer_set(request, entered));
        reply
    }

    /// The peer that asks, and then the others: all of them but for the largest swarms.
    fn peer_set(&mut self, request: &AnnounceRequest, entered: Entered) -> ShoalReply {
        let Some(index) = entered.torrent.filter(|_| is_staying(request)) else {
            return ShoalReply::default();
        };
        let others = if self.numwant(request) == 0 { 0 } else { REPLY_PEERS_MAX - 1 };
        let swarm = self.torrents.swarm(index);
        let own = entered.place.map(|place| (swarm.addr(place), swarm.peer(place)));
        let mut peers: Vec<(SocketAddr, &Peer)> = own.into_iter().collect();
        let whom = Whom { seeds: Seeds::Too, family: None, except: entered.place };
        swarm.draw((&mut self.urn, &mut self.rng), others, whom, |peer| {
            peers.push((peer.addr(), peer.peer));
        });
        // Bitfields go as far as there is room: those who may have one come first.
        if let Some(others) = peers.get_mut(usize::from(own.is_some())..) {
            others.sort_by_key(|(_, peer)| peer.is_seed());
        }
        bounded(&peers)
    }

    fn numwant(&self, request: &AnnounceRequest) -> usize {
        let numwant = request.numwant.unwrap_or(self.config.numwant_default);
        usize::try_from(numwant.min(self.config.numwant_max)).unwrap_or(usize::MAX)
    }
}

/// The peer set, as much of it as [`SHOAL_LEN_MAX`] holds: first the peers, then the bitfields of as
/// many as there is room for, both in the order given.
fn bounded(peers: &[(SocketAddr, &Peer)]) -> ShoalReply {
    let mut room = SHOAL_LEN_MAX;
    let mut take = |len: usize| {
        let fits = len <= room;
        room -= if fits { len } else { 0 };
        fits
    };
    let mut set: Vec<Arc<ShoalPeer>> = Vec::new();
    for &(addr, peer) in peers {
        let status = peer.shoal();
        let labels = status.map(|status| &status.labels);
        let labels_len =
            labels.map_or(0, |labels| labels_bytes(labels) + 2 * STRING_LEN * labels.len());
        if !take(PEER_LEN + labels_len) {
            break;
        }
        set.push(status.cloned().unwrap_or_else(|| Arc::new(foreign(addr, peer))));
    }
    for entry in &mut set {
        let have = entry.have.as_ref();
        if have.is_some_and(|have| !take(have.len() + STRING_LEN)) {
            Arc::make_mut(entry).have = None;
        }
    }
    ShoalReply { peers: set }
}

/// How a peer is listed that says nothing of itself but what BEP 3 asks for.
fn foreign(addr: SocketAddr, peer: &Peer) -> ShoalPeer {
    let (left, labels) = (peer.bytes().left, Arc::default());
    ShoalPeer { id: peer.id, addr, up: None, down: None, left, have: None, labels }
}

fn is_staying(request: &AnnounceRequest) -> bool {
    request.event != Some(AnnounceEvent::Stopped)
}

pub(super) fn count(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
