//! A peer in the 64 bytes that a foreign one takes beside its address; what few peers have is boxed.
//! Never here: where it stands in its swarm.

use std::{net::IpAddr, sync::Arc};

use super::packed::{Secret, U48};
use crate::{ids::PeerId, policy::Labels, tracker::announce::ShoalPeer};

/// A peer as the registry keeps it.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) id: PeerId,
    /// BEP 3's `key`, where it is short.
    secret: Secret,
    /// Bytes since it started, as it says, each where it is small.
    uploaded: U48,
    downloaded: U48,
    left: U48,
    /// Its completion is in the count of the swarm.
    pub(super) completed: bool,
    /// The seconds in which it joined and last announced, as in [`second_after`].
    pub(super) joined: u32,
    pub(super) seen: u32,
    rest: Option<Box<Rest>>,
}

/// The bytes of memory that a million foreign peers cost are counted here.
const _: () = assert!(size_of::<Peer>() == 64);

/// What few peers have.
#[derive(Clone, Debug, Default)]
struct Rest {
    /// A secret too long for its place.
    secret: Option<Box<[u8]>>,
    /// All three numbers, where one is too large for its place.
    bytes: Option<Bytes>,
    /// Where it announces from, where that is not where it listens.
    source: Option<IpAddr>,
    shoal: Option<Arc<ShoalPeer>>,
}

/// What a peer says of its bytes, since it started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Bytes {
    pub(super) uploaded: u64,
    pub(super) downloaded: u64,
    pub(super) left: u64,
}

/// What a peer is made of.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    pub(super) id: PeerId,
    pub(super) secret: Option<&'a [u8]>,
    pub(super) bytes: Bytes,
    /// Where it announces from, if not from where it listens.
    pub(super) source: Option<IpAddr>,
    /// As it is listed under `shoal`: made once, and shared by all who are told. `None`: a foreign
    /// peer.
    pub(super) shoal: Option<Arc<ShoalPeer>>,
    pub(super) joined: u32,
    pub(super) seen: u32,
    pub(super) completed: bool,
}

impl Peer {
    pub(super) fn new(parts: Parts<'_>) -> Self {
        let Parts { id, secret, bytes, source, shoal, joined, seen, completed } = parts;
        let short = secret.map_or(Some(Secret::NONE), Secret::new);
        let is_large = bytes.uploaded.max(bytes.downloaded).max(bytes.left) > U48::MAX;
        let has_rest = short.is_none() || is_large || source.is_some() || shoal.is_some();
        let rest = || Rest {
            secret: secret.filter(|_| short.is_none()).map(Into::into),
            bytes: is_large.then_some(bytes),
            source,
            shoal,
        };
        Self {
            id,
            secret: short.unwrap_or(Secret::NONE),
            uploaded: U48::new(bytes.uploaded),
            downloaded: U48::new(bytes.downloaded),
            left: U48::new(bytes.left),
            completed,
            joined,
            seen,
            rest: has_rest.then(|| Box::new(rest())),
        }
    }

    pub(super) fn is_seed(&self) -> bool {
        self.left.get() == 0
    }

    pub(super) fn bytes(&self) -> Bytes {
        self.rest.as_ref().and_then(|rest| rest.bytes).unwrap_or(Bytes {
            uploaded: self.uploaded.get(),
            downloaded: self.downloaded.get(),
            left: self.left.get(),
        })
    }

    pub(super) fn secret(&self) -> Option<&[u8]> {
        let long = self.rest.as_ref().and_then(|rest| rest.secret.as_deref());
        long.or(self.secret.get())
    }

    /// Where it announces from, if not from where it listens.
    pub(super) fn source(&self) -> Option<IpAddr> {
        self.rest.as_ref().and_then(|rest| rest.source)
    }

    pub(super) fn shoal(&self) -> Option<&Arc<ShoalPeer>> {
        self.rest.as_ref().and_then(|rest| rest.shoal.as_ref())
    }

    /// The bytes of its status that count against the budget: bitfield and labels.
    pub(super) fn status_bytes(&self) -> usize {
        self.shoal().map_or(0, |status| bytes_of(status))
    }
}

/// The bytes of a status that count against the budget.
pub(super) fn bytes_of(status: &ShoalPeer) -> usize {
    status.have.as_ref().map_or(0, Vec::len) + labels_bytes(&status.labels)
}

pub(super) fn labels_bytes(labels: &Labels) -> usize {
    labels.iter().map(|(key, value)| key.len() + value.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(secret: Option<&[u8]>, left: u64) -> Parts<'_> {
        let bytes = Bytes { uploaded: 1, downloaded: 2, left };
        let id = PeerId([1; 20]);
        let (source, shoal) = (None, None);
        Parts { id, secret, bytes, source, shoal, joined: 3, seen: 4, completed: true }
    }

    #[test]
    fn nothing_is_lost_of_what_has_no_room() {
        let (short, long) = (b"12345678".as_slice(), b"123456789".as_slice());
        for secret in [None, Some(b"".as_slice()), Some(short), Some(long)] {
            for left in [0, U48::MAX, U48::MAX + 1, u64::MAX] {
                let peer = Peer::new(parts(secret, left));
                assert_eq!(peer.secret(), secret);
                assert_eq!(peer.bytes(), Bytes { uploaded: 1, downloaded: 2, left });
                assert_eq!((peer.is_seed(), peer.source()), (left == 0, None));
                let is_packed = secret != Some(long) && left <= U48::MAX;
                assert_eq!(peer.rest.is_none(), is_packed, "{secret:?} {left}");
            }
        }
        let source = Some(IpAddr::from([10, 0, 0, 1]));
        assert_eq!(Peer::new(Parts { source, ..parts(None, 1) }).source(), source);
    }
}
