//! The peers of one torrent, in a form from which a random few are drawn without looking at all of
//! them. Never here: limits over all torrents, expiry, replies.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use crate::{ids::PeerId, policy::Labels, rng::Rng, time::Timestamp};

/// What makes a peer one peer: its id, and the family of its address, since a peer with both
/// families announces once over each (BEP 7).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PeerKey {
    /// Its id.
    pub id: PeerId,
    /// The family of its address.
    pub family: Family,
}

/// The family of an address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// A peer as the registry keeps it.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) key: PeerKey,
    /// Where it listens; port 0 is nowhere.
    pub(super) addr: SocketAddr,
    /// Where it announces from.
    pub(super) source: IpAddr,
    /// BEP 3's `key`.
    pub(super) secret: Option<Box<[u8]>>,
    /// Bytes since it started, as it says.
    pub(super) uploaded: u64,
    pub(super) downloaded: u64,
    pub(super) left: u64,
    /// `None`: a foreign peer.
    pub(super) shoal: Option<Status>,
    pub(super) joined: Timestamp,
    pub(super) seen: Timestamp,
    /// Its completion is in the count of the swarm.
    pub(super) completed: bool,
    /// Its place in the vector of its kind. Belongs to [`Swarm`].
    pub(super) slot: usize,
}

/// What a shoal peer says of itself.
#[derive(Clone, Debug)]
pub(super) struct Status {
    pub(super) have: Option<Box<[u8]>>,
    pub(super) up: u64,
    pub(super) down: u64,
    pub(super) labels: Labels,
}

/// Whom a draw may give.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Whom {
    /// Seeds have nothing to give to seeds.
    Leechers,
    Everyone,
}

/// The peers of one torrent.
///
/// Invariants: `seeds` and `leechers` together hold every key of `peers` once, a peer with nothing
/// left in `seeds`, at its `slot`; `by_addr` holds every peer with a port once.
#[derive(Clone, Debug, Default)]
pub(super) struct Swarm {
    peers: BTreeMap<PeerKey, Peer>,
    by_addr: BTreeMap<SocketAddr, PeerKey>,
    seeds: Vec<PeerKey>,
    leechers: Vec<PeerKey>,
    /// Completions counted.
    pub(super) completed: u32,
}

impl PeerKey {
    /// The key of a peer of this id at this address.
    #[must_use]
    pub fn new(id: PeerId, ip: IpAddr) -> Self {
        Self { id, family: if ip.is_ipv4() { Family::V4 } else { Family::V6 } }
    }
}

impl Peer {
    /// The bytes of its status that count against the budget: bitfield and labels.
    pub(super) fn status_bytes(&self) -> usize {
        self.shoal.as_ref().map_or(0, Status::bytes)
    }
}

impl Status {
    pub(super) fn bytes(&self) -> usize {
        self.have.as_ref().map_or(0, |have| have.len()) + labels_bytes(&self.labels)
    }
}

pub(super) fn labels_bytes(labels: &Labels) -> usize {
    labels.iter().map(|(key, value)| key.len() + value.len()).sum()
}

impl Swarm {
    pub(super) fn len(&self) -> usize {
        self.peers.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    pub(super) fn seeds(&self) -> u32 {
        u32::try_from(self.seeds.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn leechers(&self) -> u32 {
        u32::try_from(self.leechers.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn peer(&self, key: PeerKey) -> Option<&Peer> {
        self.peers.get(&key)
    }

    /// The peer that listens at this address.
    pub(super) fn at(&self, addr: SocketAddr) -> Option<PeerKey> {
        self.by_addr.get(&addr).copied()
    }

    /// The peers after this key, in order of keys.
    pub(super) fn after(&self, key: Option<PeerKey>) -> impl Iterator<Item = &Peer> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.peers.range((key.map_or(Unbounded, Excluded), Unbounded)).map(|(_, peer)| peer)
    }

    /// Puts in a peer whose key and address nobody here has.
    pub(super) fn insert(&mut self, mut peer: Peer) {
        let kind = if peer.left == 0 { &mut self.seeds } else { &mut self.leechers };
        peer.slot = kind.len();
        kind.push(peer.key);
        if peer.addr.port() != 0 {
            let displaced = self.by_addr.insert(peer.addr, peer.key);
            debug_assert_eq!(displaced, None, "two peers at one address");
        }
        let displaced = self.peers.insert(peer.key, peer);
        debug_assert!(displaced.is_none(), "a peer put in twice");
    }

    pub(super) fn remove(&mut self, key: PeerKey) -> Option<Peer> {
        let peer = self.peers.remove(&key)?;
        let kind = if peer.left == 0 { &mut self.seeds } else { &mut self.leechers };
        kind.swap_remove(peer.slot);
        if let Some(moved) = kind.get(peer.slot).and_then(|moved| self.peers.get_mut(moved)) {
            moved.slot = peer.slot;
        }
        if peer.addr.port() != 0 {
            self.by_addr.remove(&peer.addr);
        }
        Some(peer)
    }

    /// A random `want` of `whom`, without `except`: every set of that size is equally likely.
    /// O(want log n). Leechers come first.
    pub(super) fn draw(
        &self,
        rng: &mut Rng,
        want: usize,
        whom: Whom,
        except: Option<PeerKey>,
    ) -> Vec<&Peer> {
        let count = match whom {
            Whom::Leechers => self.leechers.len(),
            Whom::Everyone => self.leechers.len() + self.seeds.len(),
        };
        let hole = except.and_then(|key| self.place(key)).filter(|&place| place < count);
        let count = count - usize::from(hole.is_some());
        let places = distinct(rng, want, count).into_iter();
        let places =
            places.map(|place| place + usize::from(hole.is_some_and(|hole| place >= hole)));
        let keys = places.filter_map(|place| match place.checked_sub(self.leechers.len()) {
            None => self.leechers.get(place),
            Some(place) => self.seeds.get(place),
        });
        keys.filter_map(|key| self.peers.get(key)).collect()
    }

    /// Where a peer stands when the leechers come first and the seeds follow.
    fn place(&self, key: PeerKey) -> Option<usize> {
        let peer = self.peers.get(&key)?;
        Some(if peer.left == 0 { self.leechers.len() + peer.slot } else { peer.slot })
    }

    #[cfg(test)]
    pub(super) fn check(&self) {
        assert_eq!(self.peers.len(), self.seeds.len() + self.leechers.len());
        for (key, peer) in &self.peers {
            let kind = if peer.left == 0 { &self.seeds } else { &self.leechers };
            assert_eq!((peer.key, kind[peer.slot]), (*key, *key));
            assert!(peer.addr.port() == 0 || self.by_addr[&peer.addr] == *key);
        }
        let with_port = self.peers.values().filter(|peer| peer.addr.port() != 0).count();
        assert_eq!(self.by_addr.len(), with_port);
    }
}

/// `want` distinct numbers below `count`, or all of them where there are fewer: Floyd's sampling,
/// O(want log want) whatever `count` is.
fn distinct(rng: &mut Rng, want: usize, count: usize) -> BTreeSet<usize> {
    let want = want.min(count);
    let mut drawn = BTreeSet::new();
    for last in count - want..count {
        let number = rng.below(last + 1);
        drawn.insert(if drawn.contains(&number) { last } else { number });
    }
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_uniform_and_distinct() {
        let mut rng = Rng::new(7);
        let mut hits = [0_u32; 10];
        for _ in 0..10_000 {
            let drawn = distinct(&mut rng, 3, 10);
            assert_eq!(drawn.len(), 3);
            drawn.into_iter().for_each(|number| hits[number] += 1);
        }
        assert!(hits.iter().all(|&n| (2_700..3_300).contains(&n)), "{hits:?}");
    }

    #[test]
    fn a_draw_larger_than_the_swarm_gives_all() {
        let mut rng = Rng::new(7);
        assert_eq!(distinct(&mut rng, 9, 3), BTreeSet::from([0, 1, 2]));
        assert_eq!(distinct(&mut rng, 0, 3), BTreeSet::new());
        assert_eq!(distinct(&mut rng, 3, 0), BTreeSet::new());
    }
}
