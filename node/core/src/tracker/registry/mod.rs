//! The swarms of a tracker as a pure machine: announces and times go in, replies and events come
//! out. Never here: HTTP, a clock, a lock.
//!
//! - `swarm`: the peers of one torrent
//! - `answer`: what an announce is answered
//! - [`views`]: what operators and scrapers see

mod answer;
mod swarm;
#[cfg(test)]
mod tests;
pub mod views;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use self::swarm::{Peer, Status, Swarm, labels_bytes};
pub use self::{
    answer::{Answer, PeerRef, Room},
    swarm::{Family, PeerKey},
};
use crate::{
    config::{ANNOUNCE_HAVE_LEN_MAX, MIB},
    ids::{InfoHash, PeerId},
    rng::Rng,
    time::Timestamp,
    tracker::{
        announce::{
            AnnounceEvent, AnnounceReply, AnnounceRequest, BYTES_MAX, Failure, KEY_LEN_MAX,
            ShoalStatus,
        },
        labels,
    },
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
    /// Most peers of all torrents (default 500 000, about 150 MiB). Beyond it as above.
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
/// Invariants: `deadlines` holds every peer of every swarm once, at `seen + expire_after`; `peers`
/// is their number and `status_bytes` the sum of their statuses.
#[derive(Clone, Debug)]
pub struct Registry {
    config: RegistryConfig,
    rng: Rng,
    swarms: BTreeMap<InfoHash, Swarm>,
    deadlines: BTreeSet<(Timestamp, InfoHash, PeerKey)>,
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

/// Whether a peer that announces is listed.
enum Listing {
    Listed,
    /// There is no room, for this reason.
    Unlisted(&'static str),
}

impl Default for RegistryConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(120),
            min_interval: Duration::from_secs(30),
            expire_after: Duration::from_secs(660),
            peers_per_torrent_max: 10_000,
            peers_max: 500_000,
            torrents_max: 50_000,
            numwant_default: 50,
            numwant_max: 200,
            have_bytes_max: usize::try_from(256 * MIB).unwrap_or(usize::MAX),
            only: None,
        }
    }
}

impl Registry {
    /// An empty registry; `seed` decides which peers are drawn for a reply.
    #[must_use]
    pub fn new(config: RegistryConfig, seed: u64) -> Self {
        let only = config.only.iter().flatten();
        let swarms = only.map(|&info_hash| (info_hash, Swarm::default())).collect();
        Self {
            config,
            rng: Rng::new(seed),
            swarms,
            deadlines: BTreeSet::new(),
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
        let info_hash = request.info_hash;
        if self.config.only.as_ref().is_some_and(|only| !only.contains(&info_hash)) {
            return Err(Failure::never(format!("torrent {info_hash} is not served here")));
        }
        let source = source.to_canonical();
        let addr = SocketAddr::new(listed_ip(request.ip, source), request.port);
        let key = PeerKey::new(request.peer_id, addr.ip());
        self.check_secret(request, key, source)?;
        if request.event == Some(AnnounceEvent::Stopped) {
            self.remove(info_hash, key, LeaveReason::Stopped);
            return Ok(self.farewell(request, source));
        }
        if !self.swarms.contains_key(&info_hash) && self.swarms.len() >= self.config.torrents_max {
            let count = self.swarms.len();
            return Err(Failure::retry(format!("{count} torrents are all this tracker serves"), 5));
        }
        let listing = self.list(now, request, key, addr, source);
        let mut reply = self.answer(request, key, source);
        if let Listing::Unlisted(reason) = listing {
            reply.warning = Some(reason.to_owned());
        }
        Ok(reply)
    }

    /// Forgets peers whose time is over, at most `limit` of them; says whether there are more.
    pub fn expire(&mut self, now: Timestamp, limit: usize) -> bool {
        for _ in 0..limit {
            match self.deadlines.first() {
                Some(&(deadline, info_hash, key)) if deadline <= now => {
                    self.remove(info_hash, key, LeaveReason::Expired);
                }
                _ => return false,
            }
        }
        self.deadlines.first().is_some_and(|&(deadline, _, _)| deadline <= now)
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

    fn check_secret(
        &self,
        request: &AnnounceRequest,
        key: PeerKey,
        source: IpAddr,
    ) -> Result<(), Failure> {
        let peer = self.swarms.get(&request.info_hash).and_then(|swarm| swarm.peer(key));
        match peer {
            Some(Peer { secret: Some(secret), source: known, .. })
                if *known != source && request.key.as_deref() != Some(&**secret) =>
            {
                let id = request.peer_id;
                Err(Failure::new(format!("peer id {id} is in use from another address")))
            }
            _ => Ok(()),
        }
    }

    /// Puts the announcing peer into its swarm, in place of what it was.
    fn list(
        &mut self,
        now: Timestamp,
        request: &AnnounceRequest,
        key: PeerKey,
        addr: SocketAddr,
        source: IpAddr,
    ) -> Listing {
        let info_hash = request.info_hash;
        let there = self.swarms.get(&info_hash).and_then(|swarm| swarm.at(addr));
        if let Some(other) = there.filter(|&other| other != key) {
            self.remove(info_hash, other, LeaveReason::Replaced);
        }
        let before = self.forget(info_hash, key);
        if before.is_none() {
            if self.peers >= self.config.peers_max {
                return Listing::Unlisted("the tracker is full: you are not listed");
            }
            let count = self.swarms.get(&info_hash).map_or(0, Swarm::len);
            if count >= self.config.peers_per_torrent_max {
                return Listing::Unlisted("the swarm is full: you are not listed");
            }
        }
        let is_completion = request.event == Some(AnnounceEvent::Completed) && request.left == 0;
        let was_complete = before.as_ref().is_some_and(|peer| peer.completed);
        let completed = is_completion && !was_complete;
        let kind = match before {
            None => SwarmEventKind::Joined { left: request.left },
            Some(_) => SwarmEventKind::Updated { left: request.left, completed },
        };
        let status = request.shoal.as_ref();
        let peer = Peer {
            key,
            addr,
            source,
            secret: request.key.as_deref().filter(|key| key.len() <= KEY_LEN_MAX).map(Into::into),
            uploaded: request.uploaded.min(BYTES_MAX),
            downloaded: request.downloaded.min(BYTES_MAX),
            left: request.left.min(BYTES_MAX),
            shoal: status.map(|status| self.status(status, before.as_ref())),
            joined: before.as_ref().map_or(now, |peer| peer.joined),
            seen: now,
            completed: is_completion || was_complete,
            slot: 0,
        };
        self.status_bytes += peer.status_bytes();
        self.peers += 1;
        self.deadlines.insert((now + self.config.expire_after, info_hash, key));
        let swarm = self.swarms.entry(info_hash).or_default();
        swarm.completed = swarm.completed.saturating_add(completed.into());
        swarm.insert(peer);
        self.push_event(SwarmEvent { info_hash, peer_id: key.id, addr, kind });
        Listing::Listed
    }

    /// The status to keep of a peer: totals never fall, and what does not fit the budget is left out.
    /// One that lacks nothing may have a bitfield, if it does not want everything (BEP 21).
    fn status(&self, status: &ShoalStatus, before: Option<&Peer>) -> Status {
        let room = self.config.have_bytes_max.saturating_sub(self.status_bytes);
        let is_bounded = labels::are_bounded(&status.labels);
        let labels =
            Some(&status.labels).filter(|labels| is_bounded && labels_bytes(labels) <= room);
        let labels = labels.cloned().unwrap_or_default();
        let room = room - labels_bytes(&labels);
        let have =
            status.have.as_deref().filter(|have| have.len() <= ANNOUNCE_HAVE_LEN_MAX.min(room));
        let before = before.and_then(|peer| peer.shoal.as_ref());
        let (up, down) = before.map_or((0, 0), |before| (before.up, before.down));
        Status {
            have: have.map(Into::into),
            up: status.up.min(BYTES_MAX).max(up),
            down: status.down.min(BYTES_MAX).max(down),
            labels,
        }
    }

    /// Takes a peer out and says so.
    fn remove(&mut self, info_hash: InfoHash, key: PeerKey, reason: LeaveReason) {
        let Some(peer) = self.forget(info_hash, key) else { return };
        let is_kept = self.config.only.as_ref().is_some_and(|only| only.contains(&info_hash));
        if !is_kept && self.swarms.get(&info_hash).is_some_and(Swarm::is_empty) {
            self.swarms.remove(&info_hash);
        }
        let kind = SwarmEventKind::Left(reason);
        self.push_event(SwarmEvent { info_hash, peer_id: key.id, addr: peer.addr, kind });
    }

    /// Takes a peer out; its swarm stays, even when it is empty.
    fn forget(&mut self, info_hash: InfoHash, key: PeerKey) -> Option<Peer> {
        let peer = self.swarms.get_mut(&info_hash)?.remove(key)?;
        self.deadlines.remove(&(peer.seen + self.config.expire_after, info_hash, key));
        self.peers -= 1;
        self.status_bytes -= peer.status_bytes();
        Some(peer)
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
        let peers = || self.swarms.values().flat_map(|swarm| swarm.after(None));
        assert_eq!(self.peers, peers().count());
        assert_eq!(self.deadlines.len(), self.peers);
        assert_eq!(self.status_bytes, peers().map(Peer::status_bytes).sum::<usize>());
        for (info_hash, swarm) in &self.swarms {
            swarm.check();
            assert!(!swarm.is_empty() || self.config.only.is_some());
            for peer in swarm.after(None) {
                let deadline = peer.seen + self.config.expire_after;
                assert!(self.deadlines.contains(&(deadline, *info_hash, peer.key)));
            }
        }
    }
}

/// The address a peer is listed with: see [`Registry::announce`].
fn listed_ip(named: Option<IpAddr>, source: IpAddr) -> IpAddr {
    let is_near = match source {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    };
    let named = named.map(|ip| ip.to_canonical());
    named.filter(|ip| is_near && !ip.is_unspecified() && !ip.is_multicast()).unwrap_or(source)
}
