//! SHA-1 of pieces and blocks that lie in several buffers.

use sha1::{Digest, Sha1};

/// The SHA-1 of these buffers, one after the other.
#[must_use]
pub fn hash_parts(parts: &[&[u8]]) -> [u8; 20] {
    let mut hash = Sha1::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().into()
}

/// The SHA-1 of each run of `block_len` bytes of these buffers, the last one possibly shorter: what
/// two versions of a piece are compared by when one of them was bad. A `block_len` of 0 counts
/// as 1.
#[must_use]
pub fn hash_blocks(parts: &[&[u8]], block_len: u32) -> Vec<[u8; 20]> {
    let block_len = block_len.max(1) as usize;
    let mut hashes = Vec::new();
    let mut hash = Sha1::new();
    let mut room = block_len;
    for part in parts {
        let mut rest = *part;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(room.min(rest.len()));
            hash.update(now);
            room -= now.len();
            if room == 0 {
                hashes.push(hash.finalize_reset().into());
                room = block_len;
            }
            rest = later;
        }
    }
    if room < block_len {
        hashes.push(hash.finalize().into());
    }
    hashes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_hash_as_their_concatenation() {
        let bytes: Vec<u8> = (0..=255).cycle().take(1000).collect();
        let parts: Vec<&[u8]> = bytes.chunks(77).collect();
        assert_eq!(hash_parts(&parts), hash_parts(&[&bytes]));
    }

    #[test]
    fn blocks_are_hashed_across_buffers() {
        let bytes: Vec<u8> = (0..=255).cycle().take(1000).collect();
        let expected: Vec<_> = bytes.chunks(64).map(|block| hash_parts(&[block])).collect();
        for len in [1, 63, 64, 65, 1000] {
            let parts: Vec<&[u8]> = bytes.chunks(len).collect();
            assert_eq!(hash_blocks(&parts, 64), expected, "buffers of {len} bytes");
        }
        assert!(hash_blocks(&[], 64).is_empty());
        assert_eq!(hash_blocks(&[&[1; 128]], 64).len(), 2);
    }
}
