//! The peers of one torrent and one family of addresses: dense vectors, leechers before seeds, and a
//! table for each of the two things by which a peer is looked up. Never here: replies, limits.

use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};

use hashbrown::HashTable;

use super::{hash::HashKeys, peer::Peer};
use crate::{ids::PeerId, tracker::announce::is_dialable};

/// An address as compact replies have it (BEP 23, BEP 7).
pub(super) trait Compact: Copy + Eq {
    /// As a plain value.
    fn addr(self) -> SocketAddr;
    /// As it stands in a reply.
    fn bytes(&self) -> &[u8];
}

/// Peers of one family.
///
/// Invariants: `addrs` and `peers` have one length and a peer has one place in both; those with
/// something left stand in the first `leechers` places, `undialable` is the number of those that
/// nobody can dial. `by_id` holds the place of each once, `by_addr` of each with a port.
#[derive(Clone, Debug)]
pub(super) struct Side<A> {
    addrs: Vec<A>,
    peers: Vec<Peer>,
    leechers: usize,
    undialable: usize,
    by_id: HashTable<u32>,
    by_addr: HashTable<u32>,
}

impl<A: Compact> Side<A> {
    pub(super) fn len(&self) -> usize {
        self.peers.len()
    }

    pub(super) fn leechers(&self) -> usize {
        self.leechers
    }

    pub(super) fn addr(&self, slot: usize) -> &A {
        &self.addrs[slot]
    }

    /// Whether to look at each address before it is given to others.
    pub(super) fn has_undialable(&self) -> bool {
        self.undialable != 0
    }

    pub(super) fn peer(&self, slot: usize) -> &Peer {
        &self.peers[slot]
    }

    pub(super) fn peers(&self) -> &[Peer] {
        &self.peers
    }

    pub(super) fn find(&self, keys: &HashKeys, id: &PeerId) -> Option<usize> {
        let is_it = |&slot: &u32| self.peers[slot as usize].id == *id;
        self.by_id.find(keys.hash(&id.0), is_it).map(|&slot| slot as usize)
    }

    pub(super) fn at(&self, keys: &HashKeys, addr: A) -> Option<usize> {
        let is_it = |&slot: &u32| self.addrs[slot as usize] == addr;
        self.by_addr.find(keys.hash(addr.bytes()), is_it).map(|&slot| slot as usize)
    }

    /// Puts in a peer whose id and address nobody here has; returns its place.
    pub(super) fn put(&mut self, keys: &HashKeys, addr: A, peer: Peer) -> usize {
        debug_assert_eq!(self.find(keys, &peer.id), None, "a peer put in twice");
        grow(&mut self.addrs);
        grow(&mut self.peers);
        let mut slot = self.peers.len();
        let is_seed = peer.is_seed();
        self.undialable += usize::from(!is_dialable(addr.addr()));
        self.addrs.push(addr);
        self.peers.push(peer);
        if !is_seed {
            self.swap(keys, self.leechers, slot);
            slot = self.leechers;
            self.leechers += 1;
        }
        self.index(keys, slot);
        slot
    }

    /// Takes out the peer at this place; others may stand elsewhere then.
    pub(super) fn take(&mut self, keys: &HashKeys, slot: usize) -> (A, Peer) {
        self.unindex(keys, slot);
        let mut hole = slot;
        if slot < self.leechers {
            self.leechers -= 1;
            hole = self.leechers;
            self.addrs.swap(slot, hole);
            self.peers.swap(slot, hole);
            self.repoint(keys, hole, slot);
        }
        let end = self.peers.len() - 1;
        let taken = (self.addrs.swap_remove(hole), self.peers.swap_remove(hole));
        self.repoint(keys, end, hole);
        self.undialable -= usize::from(!is_dialable(taken.0.addr()));
        self.shrink(keys);
        taken
    }

    /// Puts a peer in the place of its former self, or where it belongs if that is elsewhere; nobody
    /// else here has its address.
    pub(super) fn replace(&mut self, keys: &HashKeys, slot: usize, addr: A, peer: Peer) -> usize {
        if self.addrs[slot] == addr && self.peers[slot].is_seed() == peer.is_seed() {
            self.peers[slot] = peer;
            return slot;
        }
        self.take(keys, slot);
        self.put(keys, addr, peer)
    }

    /// Swaps a peer with the last one, which no table knows yet.
    fn swap(&mut self, keys: &HashKeys, slot: usize, last: usize) {
        if slot != last {
            self.addrs.swap(slot, last);
            self.peers.swap(slot, last);
            self.repoint(keys, slot, last);
        }
    }

    fn index(&mut self, keys: &HashKeys, slot: usize) {
        let Self { addrs, peers, by_id, by_addr, .. } = self;
        let number = number(slot);
        let hash_id = |&slot: &u32| keys.hash(&peers[slot as usize].id.0);
        by_id.insert_unique(hash_id(&number), number, hash_id);
        let hash_addr = |&slot: &u32| keys.hash(addrs[slot as usize].bytes());
        if addrs[slot].addr().port() != 0 {
            by_addr.insert_unique(hash_addr(&number), number, hash_addr);
        }
    }

    fn unindex(&mut self, keys: &HashKeys, slot: usize) {
        let number = number(slot);
        let hash = keys.hash(&self.peers[slot].id.0);
        if let Ok(entry) = self.by_id.find_entry(hash, |&other| other == number) {
            entry.remove();
        }
        let hash = keys.hash(self.addrs[slot].bytes());
        if let Ok(entry) = self.by_addr.find_entry(hash, |&other| other == number) {
            entry.remove();
        }
    }

    /// Tells the tables of the peer, if any, that came from `was` to `slot`.
    fn repoint(&mut self, keys: &HashKeys, was: usize, slot: usize) {
        if was == slot {
            return;
        }
        let (Some(peer), Some(addr)) = (self.peers.get(slot), self.addrs.get(slot)) else { return };
        let (was, slot) = (number(was), number(slot));
        if let Some(known) = self.by_id.find_mut(keys.hash(&peer.id.0), |&known| known == was) {
            *known = slot;
        }
        if let Some(known) = self.by_addr.find_mut(keys.hash(addr.bytes()), |&known| known == was) {
            *known = slot;
        }
    }

    /// Gives memory back where most of it lies idle.
    fn shrink(&mut self, keys: &HashKeys) {
        let len = self.peers.len();
        if self.peers.capacity() > 2 * len + IDLE {
            self.addrs.shrink_to(len + len / GROWTH);
            self.peers.shrink_to(len + len / GROWTH);
        }
        let Self { addrs, peers, by_id, by_addr, .. } = self;
        if by_id.capacity() > 4 * len + IDLE {
            by_id.shrink_to(2 * len, |&slot| keys.hash(&peers[slot as usize].id.0));
            by_addr.shrink_to(2 * len, |&slot| keys.hash(addrs[slot as usize].bytes()));
        }
    }

    /// The memory it has allocated.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.addrs.capacity() * size_of::<A>()
            + self.peers.capacity() * size_of::<Peer>()
            + self.by_id.allocation_size()
            + self.by_addr.allocation_size()
    }

    #[cfg(test)]
    pub(super) fn check(&self, keys: &HashKeys) {
        assert_eq!((self.addrs.len(), self.by_id.len()), (self.len(), self.len()));
        let with_port = self.addrs.iter().filter(|addr| addr.addr().port() != 0);
        assert_eq!(self.by_addr.len(), with_port.count());
        let undialable = self.addrs.iter().filter(|addr| !is_dialable(addr.addr()));
        assert_eq!(self.undialable, undialable.count());
        for (slot, (peer, &addr)) in self.peers.iter().zip(&self.addrs).enumerate() {
            assert_eq!(peer.is_seed(), slot >= self.leechers);
            assert_eq!(self.find(keys, &peer.id), Some(slot));
            assert!(addr.addr().port() == 0 || self.at(keys, addr) == Some(slot));
        }
        assert!(self.peers.capacity() <= 2 * self.len() + IDLE, "{}", self.peers.capacity());
    }
}

impl<A> Default for Side<A> {
    fn default() -> Self {
        Self {
            addrs: Vec::new(),
            peers: Vec::new(),
            leechers: 0,
            undialable: 0,
            by_id: HashTable::new(),
            by_addr: HashTable::new(),
        }
    }
}

impl Compact for [u8; 6] {
    fn addr(self) -> SocketAddr {
        let [a, b, c, d, port @ ..] = self;
        SocketAddr::from(([a, b, c, d], u16::from_be_bytes(port)))
    }

    fn bytes(&self) -> &[u8] {
        self
    }
}

impl Compact for [u8; 18] {
    fn addr(self) -> SocketAddr {
        let (ip, port) = (self.first_chunk::<16>(), self.last_chunk::<2>());
        let (ip, port) = (ip.copied().unwrap_or_default(), port.copied().unwrap_or_default());
        SocketAddr::from((ip, u16::from_be_bytes(port)))
    }

    fn bytes(&self) -> &[u8] {
        self
    }
}

pub(super) fn compact_v4(addr: SocketAddrV4) -> [u8; 6] {
    let ([a, b, c, d], [high, low]) = (addr.ip().octets(), addr.port().to_be_bytes());
    [a, b, c, d, high, low]
}

pub(super) fn compact_v6(addr: SocketAddrV6) -> [u8; 18] {
    let mut compact = [0; 18];
    compact[..16].copy_from_slice(&addr.ip().octets());
    compact[16..].copy_from_slice(&addr.port().to_be_bytes());
    compact
}

/// A full vector grows by one in so many: doubling would leave half of a million peers' memory idle.
const GROWTH: usize = 8;
/// Idle places that are not worth a move.
const IDLE: usize = 16;

/// Makes room for one more.
pub(super) fn grow<T>(list: &mut Vec<T>) {
    if list.len() == list.capacity() {
        list.reserve_exact((list.len() / GROWTH).max(2));
    }
}

/// The limits keep every place far below.
fn number(slot: usize) -> u32 {
    u32::try_from(slot).unwrap_or(u32::MAX)
}
