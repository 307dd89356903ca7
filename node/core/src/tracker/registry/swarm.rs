//! The peers of one torrent, of both families. Never here: limits over all torrents, replies.

use std::net::{IpAddr, SocketAddr};

use super::{
    draw::Urn,
    hash::HashKeys,
    peer::Peer,
    side::{Compact, Side, compact_v4, compact_v6},
};
use crate::{
    ids::{InfoHash, PeerId},
    rng::Rng,
    tracker::announce::is_dialable,
};

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

/// A peer for a reply, where it lies in the registry.
#[derive(Clone, Copy, Debug)]
pub struct PeerRef<'a> {
    pub(super) peer: &'a Peer,
    addr: SocketAddr,
    compact: &'a [u8],
}

/// Where a peer stands in its swarm, until the swarm changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) family: Family,
    slot: usize,
}

/// Whom a draw may give.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whom {
    /// Seeds have nothing to give to seeds.
    pub(super) seeds: Seeds,
    /// `None`: both.
    pub(super) family: Option<Family>,
    /// Not this one, who asks.
    pub(super) except: Option<Place>,
}

/// Whether a draw gives seeds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Seeds {
    Too,
    Never,
}

/// The peers of one torrent.
///
/// Invariant: no peer is silent for its whole time before the second `due`.
#[derive(Clone, Debug)]
pub(super) struct Swarm {
    pub(super) info_hash: InfoHash,
    /// Completions counted.
    pub(super) completed: u32,
    /// When it is to be swept. Belongs to [`super::torrents::Torrents`].
    pub(super) due: Option<u32>,
    v4: Side<[u8; 6]>,
    v6: Side<[u8; 18]>,
}

impl PeerKey {
    /// The key of a peer of this id at this address.
    #[must_use]
    pub fn new(id: PeerId, ip: IpAddr) -> Self {
        Self { id, family: if ip.is_ipv4() { Family::V4 } else { Family::V6 } }
    }
}

impl Family {
    pub(super) const ALL: [Self; 2] = [Self::V4, Self::V6];
}

impl PeerRef<'_> {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> PeerId {
        self.peer.id
    }

    /// Where it listens, as compact replies have it: 4 bytes of address and 2 of port (BEP 23), or 16
    /// and 2 (BEP 7).
    #[must_use]
    pub fn compact(&self) -> &[u8] {
        self.compact
    }

    /// Where it listens, as a plain value.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Swarm {
    pub(super) fn new(info_hash: InfoHash) -> Self {
        let (v4, v6) = (Side::default(), Side::default());
        Self { info_hash, completed: 0, due: None, v4, v6 }
    }

    pub(super) fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn leechers(&self) -> usize {
        self.v4.leechers() + self.v6.leechers()
    }

    pub(super) fn seeds(&self) -> usize {
        self.len() - self.leechers()
    }

    pub(super) fn find(&self, keys: &HashKeys, PeerKey { id, family }: PeerKey) -> Option<Place> {
        let slot = match family {
            Family::V4 => self.v4.find(keys, &id),
            Family::V6 => self.v6.find(keys, &id),
        };
        slot.map(|slot| Place { family, slot })
    }

    /// The peer that listens at this address; at port 0 nobody does.
    pub(super) fn at(&self, keys: &HashKeys, addr: SocketAddr) -> Option<Place> {
        let (family, slot) = match addr {
            _ if addr.port() == 0 => return None,
            SocketAddr::V4(addr) => (Family::V4, self.v4.at(keys, compact_v4(addr))),
            SocketAddr::V6(addr) => (Family::V6, self.v6.at(keys, compact_v6(addr))),
        };
        slot.map(|slot| Place { family, slot })
    }

    pub(super) fn peer(&self, Place { family, slot }: Place) -> &Peer {
        match family {
            Family::V4 => self.v4.peer(slot),
            Family::V6 => self.v6.peer(slot),
        }
    }

    pub(super) fn addr(&self, Place { family, slot }: Place) -> SocketAddr {
        match family {
            Family::V4 => self.v4.addr(slot).addr(),
            Family::V6 => self.v6.addr(slot).addr(),
        }
    }

    /// Puts in a peer whose key and address nobody here has, but for its former self at `before`.
    pub(super) fn put(
        &mut self,
        keys: &HashKeys,
        before: Option<Place>,
        addr: SocketAddr,
        peer: Peer,
    ) -> Place {
        match addr {
            SocketAddr::V4(addr) => {
                let slot = put(&mut self.v4, keys, before, compact_v4(addr), peer);
                Place { family: Family::V4, slot }
            }
            SocketAddr::V6(addr) => {
                let slot = put(&mut self.v6, keys, before, compact_v6(addr), peer);
                Place { family: Family::V6, slot }
            }
        }
    }

    /// Takes out a peer; others may stand elsewhere then.
    pub(super) fn take(&mut self, keys: &HashKeys, place: Place) -> (SocketAddr, Peer) {
        match place.family {
            Family::V4 => {
                let (addr, peer) = self.v4.take(keys, place.slot);
                (addr.addr(), peer)
            }
            Family::V6 => {
                let (addr, peer) = self.v6.take(keys, place.slot);
                (addr.addr(), peer)
            }
        }
    }

    /// The last peer before `end`, in order of places, that was seen in this second or earlier. One
    /// that is taken out leaves those before it where they are.
    pub(super) fn last_silent(&self, since: u32, end: Option<Place>) -> Option<Place> {
        let silent = |family, end: Option<usize>| {
            let peers = self.of(family);
            let peers = &peers[..end.map_or(peers.len(), |end| end.min(peers.len()))];
            let slot = peers.iter().rposition(|peer| peer.seen <= since)?;
            Some(Place { family, slot })
        };
        match end {
            Some(Place { family: Family::V4, slot }) => silent(Family::V4, Some(slot)),
            Some(Place { family: Family::V6, slot }) => {
                silent(Family::V6, Some(slot)).or_else(|| silent(Family::V4, None))
            }
            None => silent(Family::V6, None).or_else(|| silent(Family::V4, None)),
        }
    }

    /// When the peer was seen that has been silent for longest.
    pub(super) fn oldest(&self) -> Option<u32> {
        Family::ALL.into_iter().flat_map(|family| self.of(family)).map(|peer| peer.seen).min()
    }

    /// Hands a random `want` of `whom` to `give`: every set of that size is equally likely.
    pub(super) fn draw<'a>(
        &'a self,
        (urn, rng): (&mut Urn, &mut Rng),
        want: usize,
        whom: Whom,
        mut give: impl FnMut(PeerRef<'a>),
    ) {
        let eligible = |family, leechers, all| match whom.family {
            Some(only) if only != family => 0,
            _ if whom.seeds == Seeds::Too => all,
            _ => leechers,
        };
        let v4 = eligible(Family::V4, self.v4.leechers(), self.v4.len());
        let v6 = eligible(Family::V6, self.v6.leechers(), self.v6.len());
        let hole = whom.except.and_then(|Place { family, slot }| match family {
            Family::V4 => Some(slot).filter(|&slot| slot < v4),
            Family::V6 => Some(v4 + slot).filter(|_| slot < v6),
        });
        let count = v4 + v6 - usize::from(hole.is_some());
        let hole = hole.unwrap_or(usize::MAX);
        for &number in urn.draw(rng, want, count) {
            let number = number as usize;
            let number = number + usize::from(number >= hole);
            match number.checked_sub(v4) {
                None => give_dialable(&self.v4, number, &mut give),
                Some(number) => give_dialable(&self.v6, number, &mut give),
            }
        }
    }

    /// The first `limit` peers after this key, in order of keys, and whether there are more.
    /// O(peers of the swarm).
    pub(super) fn page(&self, after: Option<PeerKey>, limit: usize) -> (Vec<Place>, bool) {
        let mut rest: Vec<(PeerKey, usize)> = Vec::new();
        for family in Family::ALL {
            let keys = self.of(family).iter().map(|peer| PeerKey { id: peer.id, family });
            let keys = keys.enumerate().map(|(slot, key)| (key, slot));
            rest.extend(keys.filter(|&(key, _)| after.is_none_or(|after| key > after)));
        }
        let has_more = rest.len() > limit;
        if has_more {
            rest.select_nth_unstable(limit);
            rest.truncate(limit);
        }
        rest.sort_unstable();
        let places = rest.into_iter().map(|(key, slot)| Place { family: key.family, slot });
        (places.collect(), has_more)
    }

    fn of(&self, family: Family) -> &[Peer] {
        match family {
            Family::V4 => self.v4.peers(),
            Family::V6 => self.v6.peers(),
        }
    }

    /// The memory it takes, and has allocated.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.v4.bytes() + self.v6.bytes()
    }

    #[cfg(test)]
    pub(super) fn check(&self, keys: &HashKeys) {
        self.v4.check(keys);
        self.v6.check(keys);
    }
}

fn put<A: Compact>(
    side: &mut Side<A>,
    keys: &HashKeys,
    before: Option<Place>,
    addr: A,
    peer: Peer,
) -> usize {
    match before {
        Some(before) => side.replace(keys, before.slot, addr, peer),
        None => side.put(keys, addr, peer),
    }
}

fn give_dialable<'a, A: Compact>(
    side: &'a Side<A>,
    slot: usize,
    give: &mut impl FnMut(PeerRef<'a>),
) {
    let compact = side.addr(slot);
    let addr = compact.addr();
    if !side.has_undialable() || is_dialable(addr) {
        give(PeerRef { peer: side.peer(slot), addr, compact: compact.bytes() });
    }
}
