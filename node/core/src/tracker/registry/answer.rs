//! What an announce is answered: the counts, a few peers, and for shoal peers the peer set. Never
//! here: who is listed.

use std::net::IpAddr;

use super::{
    Registry,
    swarm::{Family, Peer, PeerKey, Swarm, Whom, labels_bytes},
};
use crate::{
    ids::PeerId,
    time::Timestamp,
    tracker::announce::{
        AnnounceEvent, AnnounceReply, AnnounceRequest, Failure, PeerEntry, REPLY_PEERS_MAX,
        SHOAL_LEN_MAX, ShoalPeer, ShoalReply, is_dialable,
    },
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

/// A peer for a reply, where it lies in the registry.
#[derive(Clone, Copy, Debug)]
pub struct PeerRef<'a> {
    id: &'a PeerId,
    compact: &'a [u8],
}

impl PeerRef<'_> {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> PeerId {
        *self.id
    }

    /// Where it listens, as compact replies have it: 4 bytes of address and 2 of port (BEP 23), or 16
    /// and 2 (BEP 7).
    #[must_use]
    pub fn compact(&self) -> &[u8] {
        self.compact
    }
}

/// More than a peer takes in the encoding of a peer set, without its labels and bitfield, bytes.
const PEER_LEN: usize = 192;
/// More than a label or a bitfield takes beside its own bytes.
const STRING_LEN: usize = 12;

impl Registry {
    /// As [`Registry::announce`], for replies without the peer set: each peer is handed to `give`
    /// where it lies, in no particular order, and nothing is allocated. Those of a family that the
    /// reply has no room for are not drawn.
    ///
    /// # Errors
    /// As [`Registry::announce`].
    pub fn announce_with(
        &mut self,
        now: Timestamp,
        request: &AnnounceRequest,
        source: IpAddr,
        room: Room,
        mut give: impl FnMut(PeerRef<'_>),
    ) -> Result<Answer, Failure> {
        let wanted = request.numwant.unwrap_or(self.config.numwant_default);
        let wanted = usize::try_from(wanted.min(self.config.numwant_max)).unwrap_or(usize::MAX);
        let numwant = Some(if wanted == 0 { 0 } else { self.config.numwant_max });
        let all = AnnounceRequest { numwant, ..request.clone() };
        let reply = self.announce(now, &all, source)?;
        let of_family = |peer: &&PeerEntry| {
            room.family.is_none_or(|family| (family == Family::V4) == peer.addr.is_ipv4())
        };
        for peer in reply.peers.iter().filter(of_family).take(wanted.min(room.peers_max)) {
            let id = &peer.id.unwrap_or(request.peer_id);
            let mut compact = match peer.addr.ip() {
                IpAddr::V4(ip) => ip.octets().to_vec(),
                IpAddr::V6(ip) => ip.octets().to_vec(),
            };
            compact.extend(peer.addr.port().to_be_bytes());
            give(PeerRef { id, compact: &compact });
        }
        Ok(Answer {
            interval_s: reply.interval_s,
            min_interval_s: reply.min_interval_s.unwrap_or(0),
            complete: reply.complete.unwrap_or(0),
            incomplete: reply.incomplete.unwrap_or(0),
            downloaded: reply.downloaded.unwrap_or(0),
            warning: reply.warning.map(|_| "you are not listed"),
            external_ip: source.to_canonical(),
        })
    }

    /// The answer to a peer that leaves: the counts alone.
    pub(super) fn farewell(&self, request: &AnnounceRequest, source: IpAddr) -> AnnounceReply {
        let seconds = |duration: std::time::Duration| {
            u32::try_from(duration.as_secs()).unwrap_or(u32::MAX).max(1)
        };
        let mut reply = AnnounceReply::new(seconds(self.config.interval));
        reply.min_interval_s = Some(seconds(self.config.min_interval));
        let swarm = self.swarms.get(&request.info_hash);
        reply.complete = Some(swarm.map_or(0, Swarm::seeds));
        reply.incomplete = Some(swarm.map_or(0, Swarm::leechers));
        reply.downloaded = Some(swarm.map_or(0, |swarm| swarm.completed));
        reply.external_ip = Some(source);
        reply.shoal = request.shoal.as_ref().map(|_| ShoalReply::default());
        reply
    }

    /// The answer to a peer that stays.
    pub(super) fn answer(
        &mut self,
        request: &AnnounceRequest,
        key: PeerKey,
        source: IpAddr,
    ) -> AnnounceReply {
        let mut reply = self.farewell(request, source);
        let Some(swarm) = self.swarms.get(&request.info_hash) else { return reply };
        let numwant = request.numwant.unwrap_or(self.config.numwant_default);
        let numwant = usize::try_from(numwant.min(self.config.numwant_max)).unwrap_or(usize::MAX);
        // aria2 says that nothing is left while it has but a magnet link, and needs who has all.
        let begins = request.event == Some(AnnounceEvent::Started);
        let whom = if request.left == 0 && !begins { Whom::Leechers } else { Whom::Everyone };
        let drawn = swarm.draw(&mut self.rng, numwant, whom, Some(key)).into_iter();
        let drawn = drawn.filter(|peer| is_dialable(peer.addr));
        reply.peers =
            drawn.map(|peer| PeerEntry { addr: peer.addr, id: Some(peer.key.id) }).collect();
        if request.shoal.is_some() {
            let others = if numwant == 0 { 0 } else { REPLY_PEERS_MAX - 1 };
            let others = swarm.draw(&mut self.rng, others, Whom::Everyone, Some(key));
            let others = others.into_iter().filter(|peer| is_dialable(peer.addr));
            let all: Vec<&Peer> = swarm.peer(key).into_iter().chain(others).collect();
            reply.shoal = Some(peer_set(&all));
        }
        reply
    }
}

/// The peer set, as much of it as [`SHOAL_LEN_MAX`] holds: first the peers, then the bitfields of as
/// many as there is room for, both in the order given.
fn peer_set(peers: &[&Peer]) -> ShoalReply {
    let mut room = SHOAL_LEN_MAX;
    let mut take = |len: usize| {
        let fits = len <= room;
        room -= if fits { len } else { 0 };
        fits
    };
    let mut set: Vec<ShoalPeer> = Vec::new();
    for peer in peers {
        let labels = peer.shoal.as_ref().map(|status| &status.labels);
        let labels_len =
            labels.map_or(0, |labels| labels_bytes(labels) + 2 * STRING_LEN * labels.len());
        if !take(PEER_LEN + labels_len) {
            break;
        }
        set.push(ShoalPeer {
            id: peer.key.id,
            addr: peer.addr,
            up: peer.shoal.as_ref().map(|status| status.up),
            down: peer.shoal.as_ref().map(|status| status.down),
            left: peer.left,
            have: None,
            labels: labels.cloned().unwrap_or_default(),
        });
    }
    for (entry, peer) in set.iter_mut().zip(peers) {
        let have = peer.shoal.as_ref().and_then(|status| status.have.as_deref());
        let have = have.filter(|have| take(have.len() + STRING_LEN));
        entry.have = have.map(<[u8]>::to_vec);
    }
    ShoalReply { peers: set }
}
