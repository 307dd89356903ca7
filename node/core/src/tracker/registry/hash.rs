//! The hash of the registry's tables. Peers choose what is hashed, so it is keyed by the seed: who
//! does not know that cannot choose ids that collide. Never here: a table.

use siphasher::sip::SipHasher13;

use crate::rng::Rng;

/// SipHash-1-3 with the registry's keys.
#[derive(Clone, Copy, Debug)]
pub(super) struct HashKeys(SipHasher13);

impl HashKeys {
    pub(super) fn hash(&self, bytes: &[u8]) -> u64 {
        self.0.hash(bytes)
    }
}

/// What a registry makes of its seed. Draws show the state of the generator to whoever asks often
/// enough; the way from there to the keys leads through the hash, which nobody turns round.
pub(super) fn secrets(seed: u64) -> (HashKeys, Rng) {
    let root = SipHasher13::new_with_keys(seed, 0);
    let keys = SipHasher13::new_with_keys(root.hash(b"key 0"), root.hash(b"key 1"));
    (HashKeys(keys), Rng::new(root.hash(b"draws")))
}
