//! The swarms of a tracker as a pure machine: announces and times go in, replies and events come
//! out. Never here: HTTP, a clock, a lock.
//!
//! - `swarm`: the peers of one torrent, of both families; `side`: those of one
//! - `peer`, `packed`: one peer, in few bytes
//! - `torrents`, `hash`: the swarms, and what finds them and their peers
//! - `draw`: a random few of many
//! - `list`: who is listed; `expire`: who no longer is
//! - `answer`: what an announce is answered
//! - [`views`]: what operators and scrapers see

mod answer;
mod draw;
mod expire;
mod hash;
mod list;
mod packed;
mod peer;
mod side;
mod swarm;
#[cfg(test)]
mod tests;
mod torrents;
pub mod views;

use std::{
    collections::{BTreeSet, VecDeque},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

pub use self::{
    answer::{Answer, Room},
    swarm::{Family, PeerKey, PeerRef},
};
use self::{
    draw::Urn,
    hash::{HashKeys, secrets},
    swarm::Place,
    torrents::Torrents,
};
use crate::{
    config::MIB,
    ids::{InfoHash, PeerId},
    rng::Rng,
    time::Timestamp,
    tracker::announce::{AnnounceReply, AnnounceRequest, Failure},
};

/// Events kept until [`Registry::take_events`]; beyond it the oldest are forgotten.
pub const EVENTS_MAX: usize = 8192;

/// Tunables of a tracker. `Default` is the truth.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RegistryConfig {
    /// How often peers are asked to announce (default 120 s: a fleet is watched, and an announce
    /// costs microseconds).
    pub interval: Duration,
    /// How soon they may at the earliest, by themselves (default 30 s). Sooner ones are answered.
    pub min_interval: Duration,
    /// Silence after which a peer is forgotten (default 660 s: libtorrent announces every 300 s at
    /// the most, and may miss one).
    pub expire_after: Duration,
    /// Most peers of one torrent (default 10 000). Beyond it a peer is answered and not listed.
    pub peers_per_torrent_max: usize,
    /// Most peers of all torrents (default 1 000 000, about 100 MiB where they are foreign). Beyond it
    /// as above.
    pub peers_max: usize,
    /// Most torrents with a peer (default 50 000). Beyond it an announce is refused. Those of
    /// `only` are always served.
    pub torrents_max: usize,
    /// Peers in a reply to a request that names no number (default 50, as in BEP 3).
    pub numwant_default: u32,
    /// Most peers in a reply (default 200).
    pub numwant_max: u32,
    /// Bytes of all bitfields and labels kept (default 256 MiB, §8 of the design). Beyond it new
    /// ones are not kept: a peer's status is unknown then.
    pub have_bytes_max: usize,
    /// The torrents served; `None` serves every one.
    pub only: Option<BTreeSet<InfoHash>>,
}

/// The swarms of a tracker.
///
/// A peer is known by its id and the family of its address; a listening address belongs to one peer
/// of a torrent, so that a node which was killed and started anew is not listed twice. A peer that
/// gave a `key` keeps its place against others with the same id: from another address the same key
/// is asked.
///
/// Invariants: `peers` is the number of peers of all swarms and `status_bytes` the sum of their
/// statuses; every swarm with a peer is due for a sweep before the time of any of its peers is over;
/// a swarm without one is there only where `only` names it.
#[derive(Clone, Debug)]
pub struct Registry {
    config: RegistryConfig,
    keys: HashKeys,
    rng: Rng,
    urn: Urn,
    torrents: Torrents,
    peers: usize,
    status_bytes: usize,
    events: VecDeque<SwarmEvent>,
    events_lost: u64,
}

/// Something that happened to a peer in a swarm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SwarmEvent {
    /// The torrent.
    pub info_hash: InfoHash,
    /// The peer.
    pub peer_id: PeerId,
    /// Where it listens.
    pub addr: SocketAddr,
    /// What happened.
    pub kind: SwarmEventKind,
}

/// What happened to a peer in a swarm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SwarmEventKind {
    /// It announced for the first time.
    Joined {
        /// Bytes missing until complete.
        left: u64,
    },
    /// It announced again.
    Updated {
        /// Bytes missing until complete.
        left: u64,
        /// It became complete with this announce.
        completed: bool,
    },
    /// It is no longer listed.
    Left(LeaveReason),
}

/// Why a peer is no longer listed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum LeaveReason {
    /// It said so.
    Stopped,
    /// It was silent for too long.
    Expired,
    /// Another peer listens at its address.
    Replaced,
}

/// Where an announce led.
#[derive(Clone, Copy, Debug)]
struct Entered {
    /// Where the announce came from.
    source: IpAddr,
    /// The swarm, where there is one.
    torrent: Option<usize>,
    /// The announcing peer, where it is listed.
    place: Option<Place>,
    /// Why it is not, where there is no room.
    unlisted: Option<&'static str>,
}

impl Default for RegistryConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(120),
            min_interval: Duration::from_secs(30),
            expire_after: Duration::from_secs(660),
            peers_per_torrent_max: 10_000,
            peers_max: 1_000_000,
            torrents_max: 50_000,
            numwant_default: 50,
            numwant_max: 200,
            have_bytes_max: usize::try_from(256 * MIB).unwrap_or(usize::MAX),
            only: None,
        }
    }
}

impl Registry {
    /// An empty registry; `seed` decides which peers are drawn for a reply, and keys its tables: where
    /// strangers announce it must be one that nobody can guess.
    #[must_use]
    pub fn new(config: RegistryConfig, seed: u64) -> Self {
        let (keys, rng) = secrets(seed);
        let mut torrents = Torrents::default();
        for &info_hash in config.only.iter().flatten() {
            torrents.insert(&keys, info_hash);
        }
        Self {
            config,
            keys,
            rng,
            urn: Urn::default(),
            torrents,
            peers: 0,
            status_bytes: 0,
            events: VecDeque::new(),
            events_lost: 0,
        }
    }

    /// Lists the announcing peer (or takes it out, with `stopped`) and answers with peers for it.
    ///
    /// `source` is where the request came from. A peer is known by that address, unless it names
    /// another with `ip=` and `source` is loopback, private or link-local: then the peer shares a
    /// network with the tracker, whose view of it may not be that of the others (`--advertise`,
    /// address translation, several addresses). From a public source `ip=` would let anyone point
    /// a swarm at a victim, and is ignored.
    ///
    /// # Errors
    /// A torrent that is not served, no room for another torrent, or a peer id that another peer
    /// uses.
    pub fn announce(
        &mut self,
        now: Timestamp,
        request: &AnnounceRequest,
        source: IpAddr,
    ) -> Result<AnnounceReply, Failure> {
        let entered = self.enter(now, request, source)?;
        Ok(self.reply(request, entered))
    }

    /// As [`Registry::announce`], for replies without the peer set: each peer is handed to `give`
    /// where it lies, in no particular order, and nothing is allocated. Peers of a family that the
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
        give: impl FnMut(PeerRef<'_>),
    ) -> Result<Answer, Failure> {
        let entered = self.enter(now, request, source)?;
        self.give(request, entered, room, give);
        Ok(self.counted(entered))
    }

    /// As [`Registry::take_events`], appended to what the caller has, so that neither side allocates
    /// for each batch; returns how many events were forgotten.
    pub fn drain_events(&mut self, into: &mut Vec<SwarmEvent>) -> u64 {
        into.extend(self.events.drain(..));
        std::mem::take(&mut self.events_lost)
    }

    /// What happened since the last call, oldest first, and how many events were forgotten.
    pub fn take_events(&mut self) -> (Vec<SwarmEvent>, u64) {
        (std::mem::take(&mut self.events).into(), std::mem::take(&mut self.events_lost))
    }

    /// The tunables in force.
    #[must_use]
    pub fn config(&self) -> &RegistryConfig {
        &self.config
    }

    fn push_event(&mut self, event: SwarmEvent) {
        if self.events.len() >= EVENTS_MAX {
            self.events.pop_front();
            self.events_lost += 1;
        }
        self.events.push_back(event);
    }

    /// Asserts the invariants.
    #[cfg(test)]
    fn check(&self) {
        self.torrents.check(&self.keys);
        let (mut count, mut status_bytes) = (0, 0);
        for info_hash in self.torrents.after(None) {
            let swarm = self.torrents.swarm(self.torrents.find(&self.keys, info_hash).unwrap());
            count += swarm.len();
            let (peers, _) = swarm.page(None, usize::MAX);
            status_bytes += peers.iter().map(|&at| swarm.peer(at).status_bytes()).sum::<usize>();
            assert!(!swarm.is_empty() || self.config.only.is_some());
            let end = swarm.oldest().map(|seen| self.deadline(seen));
            assert!(end.is_none_or(|end| swarm.due.unwrap() <= end), "{:?} {end:?}", swarm.due);
        }
        assert_eq!((self.peers, self.status_bytes), (count, status_bytes));
    }
}
