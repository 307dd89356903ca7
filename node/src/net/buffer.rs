//! The memory that pieces are fetched into: [`ExtentBuffer`] and the [`BufferPool`] it returns to.
//!
//! Never here: who may fetch what, or whether the bytes are right.

use std::ops::Range;

use shoal_core::{
    config::{BLOCK_LEN, EXTENT_LEN},
    ids::ConnId,
};

/// The bytes of one extent, which of its 16 KiB blocks are filled, and who filled each.
///
/// Invariant: `len` is in `1..=EXTENT_LEN`, so that one `u64` has a bit for every block; `bytes` is
/// at least `len` long; masks have no bit beyond the last block, and those in `from` are disjoint
/// parts of `filled`.
#[derive(Debug)]
pub struct ExtentBuffer {
    bytes: Vec<u8>,
    len: u32,
    filled: u64,
    from: Vec<(ConnId, u64)>,
}

impl ExtentBuffer {
    /// An empty buffer for an extent of `len` bytes over this memory, which keeps what it held.
    fn new(bytes: Vec<u8>, len: u32) -> Self {
        assert!(len > 0 && len <= EXTENT_LEN, "an extent of {len} bytes");
        assert!(bytes.len() >= len as usize, "{} bytes for an extent of {len}", bytes.len());
        Self { bytes, len, filled: 0, from: Vec::new() }
    }

    /// The length of the extent, bytes, padding included.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "an extent is never empty")]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// The bytes of the extent. Of blocks that are not filled they are anything.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len as usize]
    }

    /// The number of 16 KiB blocks, the last of which may be shorter.
    #[must_use]
    pub fn block_count(&self) -> u32 {
        self.len.div_ceil(BLOCK_LEN)
    }

    /// Bytes of filled blocks, padding included.
    #[must_use]
    pub fn filled_bytes(&self) -> u32 {
        let last = self.block_count() - 1;
        let missing_tail = match self.filled >> last & 1 {
            0 => 0,
            _ => self.block_count() * BLOCK_LEN - self.len,
        };
        self.filled.count_ones() * BLOCK_LEN - missing_tail
    }

    /// Whether every block is filled.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.missing() == 0
    }

    /// The connections that filled blocks of it, each once, in the order of their first block.
    pub fn contributors(&self) -> impl Iterator<Item = ConnId> + '_ {
        self.from.iter().map(|&(conn, _)| conn)
    }

    /// Who filled a block (from 0 in the extent): none for padding, for a block that is not filled
    /// and for one that is not there.
    #[must_use]
    pub fn block_from(&self, block: u32) -> Option<ConnId> {
        let bit = 1_u64.checked_shl(block)?;
        self.from.iter().find(|&&(_, mask)| mask & bit != 0).map(|&(conn, _)| conn)
    }

    /// Fills with zeros the blocks that are padding and nothing else. `offset` is where the extent
    /// begins in its piece, `pads` are the padding ranges of the piece
    /// ([`pad_ranges`](shoal_core::metainfo::Layout::pad_ranges)), both in bytes.
    pub fn fill_padding(&mut self, offset: u32, pads: &[Range<u32>]) {
        for block in 0..self.block_count() {
            let range = self.block_range(block);
            let (start, end) = (offset + range.start, offset + range.end);
            if pads.iter().any(|pad| pad.start <= start && end <= pad.end) {
                self.bytes[range.start as usize..range.end as usize].fill(0);
                self.filled |= 1 << block;
            }
        }
    }

    /// Forgets what was filled, padding included.
    pub fn clear(&mut self) {
        self.filled = 0;
        self.from.clear();
    }

    /// A bit for every block that is not filled.
    pub(crate) fn missing(&self) -> u64 {
        let all = u64::MAX >> (u64::BITS - self.block_count());
        all & !self.filled
    }

    /// The memory of these bytes of the extent.
    pub(crate) fn target(&mut self, range: Range<u32>) -> &mut [u8] {
        debug_assert!(range.end <= self.len, "{range:?} of {}", self.len);
        &mut self.bytes[range.start as usize..range.end as usize]
    }

    /// Notes that `conn` filled everything up to `range.end`, of a request that began on the grid
    /// at or before `range.start`: blocks that end in the range are filled.
    pub(crate) fn filled_by(&mut self, conn: ConnId, range: Range<u32>) {
        let mut mask = 0;
        for block in range.start / BLOCK_LEN..self.block_count() {
            if self.block_range(block).end > range.end {
                break;
            }
            mask |= 1 << block;
        }
        mask &= !self.filled;
        if mask == 0 {
            return;
        }
        self.filled |= mask;
        match self.from.iter_mut().find(|(who, _)| *who == conn) {
            Some((_, blocks)) => *blocks |= mask,
            None => self.from.push((conn, mask)),
        }
    }

    fn block_range(&self, block: u32) -> Range<u32> {
        let start = block * BLOCK_LEN;
        start..(start + BLOCK_LEN).min(self.len)
    }
}

/// Memory for extents, given out and taken back. Fresh memory is zero pages that the system backs
/// when they are first written; what came back last is given out first, while it is still in the
/// processor's caches.
///
/// The budget bounds what is *kept*; what is given out is bounded by who asks (no buffer, no
/// request).
#[derive(Debug)]
pub struct BufferPool {
    budget_bytes: u64,
    lent_bytes: u64,
    kept_bytes: u64,
    kept: Vec<Vec<u8>>,
}

impl BufferPool {
    /// An empty pool that holds on to at most `budget_bytes`, lent ones included.
    #[must_use]
    pub fn new(budget_bytes: u64) -> Self {
        Self { budget_bytes, lent_bytes: 0, kept_bytes: 0, kept: Vec::new() }
    }

    /// Bytes of memory given out and not returned.
    #[must_use]
    pub fn lent_bytes(&self) -> u64 {
        self.lent_bytes
    }

    /// Bytes of memory kept for the next extent.
    #[must_use]
    pub fn kept_bytes(&self) -> u64 {
        self.kept_bytes
    }

    /// A buffer with nothing filled, for an extent of `len` bytes, `1..=EXTENT_LEN`.
    ///
    /// # Panics
    /// Where `len` is out of its range: a mistake of the caller, never of a peer.
    #[must_use]
    pub fn take(&mut self, len: u32) -> ExtentBuffer {
        let need = len as usize;
        // Memory of twice the length serves too: the last piece of a torrent is shorter.
        let fits = |bytes: &Vec<u8>| bytes.len() >= need && bytes.len() / 2 <= need;
        let bytes = match self.kept.iter().rposition(fits) {
            Some(index) => {
                let bytes = self.kept.remove(index);
                self.kept_bytes -= bytes.len() as u64;
                bytes
            }
            None => vec![0; need.next_multiple_of(BLOCK_LEN as usize)],
        };
        self.lent_bytes += bytes.len() as u64;
        self.trim();
        ExtentBuffer::new(bytes, len)
    }

    /// Takes a buffer back; what it holds is forgotten.
    pub fn put(&mut self, buffer: ExtentBuffer) {
        let bytes = buffer.bytes;
        self.lent_bytes = self.lent_bytes.saturating_sub(bytes.len() as u64);
        self.kept_bytes += bytes.len() as u64;
        self.kept.push(bytes);
        self.trim();
    }

    fn trim(&mut self) {
        let mut excess = 0;
        while self.lent_bytes + self.kept_bytes > self.budget_bytes && excess < self.kept.len() {
            self.kept_bytes -= self.kept[excess].len() as u64;
            excess += 1;
        }
        self.kept.drain(..excess);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ConnId = ConnId(1);
    const B: ConnId = ConnId(2);

    #[test]
    fn a_block_is_filled_when_its_last_byte_is_there() {
        let mut buffer = BufferPool::new(0).take(40_000);
        assert_eq!((buffer.block_count(), buffer.missing()), (3, 0b111));
        buffer.filled_by(A, 0..16_383);
        assert_eq!(buffer.filled_bytes(), 0);
        buffer.filled_by(A, 16_383..16_384);
        assert_eq!((buffer.filled_bytes(), buffer.missing()), (16_384, 0b110));
        buffer.filled_by(B, 16_384..40_000);
        assert_eq!(buffer.filled_bytes(), 40_000);
        assert!(buffer.is_full());
        assert_eq!(buffer.contributors().collect::<Vec<_>>(), [A, B]);
        let from = (0..4).map(|block| buffer.block_from(block)).collect::<Vec<_>>();
        assert_eq!(from, [Some(A), Some(B), Some(B), None]);
        buffer.clear();
        assert_eq!((buffer.filled_bytes(), buffer.contributors().count()), (0, 0));
    }

    #[test]
    fn the_largest_extent_has_a_bit_for_every_block() {
        let mut buffer = BufferPool::new(0).take(EXTENT_LEN);
        assert_eq!((buffer.block_count(), buffer.missing()), (64, u64::MAX));
        buffer.filled_by(A, 0..EXTENT_LEN);
        assert!(buffer.is_full());
        assert_eq!(buffer.filled_bytes(), EXTENT_LEN);
    }

    #[test]
    fn only_blocks_that_are_padding_throughout_are_filled_with_zeros() {
        let mut pool = BufferPool::new(1 << 20);
        let mut dirty = pool.take(4 * BLOCK_LEN);
        dirty.target(0..4 * BLOCK_LEN).fill(7);
        pool.put(dirty);
        let mut buffer = pool.take(4 * BLOCK_LEN - 10);
        // The extent begins at 1 MiB of its piece; padding begins within its second block.
        let offset = 1 << 20;
        let pad = offset + BLOCK_LEN + 5..offset + 4 * BLOCK_LEN - 10;
        buffer.fill_padding(offset, &[pad]);
        assert_eq!(buffer.missing(), 0b0011);
        assert_eq!(buffer.bytes()[2 * BLOCK_LEN as usize - 1], 7);
        assert!(buffer.bytes()[2 * BLOCK_LEN as usize..].iter().all(|&byte| byte == 0));
        assert_eq!(buffer.block_from(2), None);
        assert_eq!(buffer.filled_bytes(), 2 * BLOCK_LEN - 10);
    }

    #[test]
    fn the_pool_gives_warm_memory_first_and_keeps_no_more_than_its_budget() {
        let mut pool = BufferPool::new(3 * u64::from(EXTENT_LEN));
        let mut lent = (0..4).map(|_| pool.take(EXTENT_LEN)).collect::<Vec<_>>();
        assert_eq!(pool.lent_bytes(), 4 * u64::from(EXTENT_LEN));
        lent[3].target(0..1)[0] = 42;
        lent.drain(..).for_each(|buffer| pool.put(buffer));
        assert_eq!((pool.lent_bytes(), pool.kept_bytes()), (0, 3 * u64::from(EXTENT_LEN)));
        let warm = pool.take(EXTENT_LEN - 1);
        assert_eq!((warm.bytes()[0], warm.filled_bytes()), (42, 0));
        // A small extent does not sit on a large one's memory.
        let small = pool.take(BLOCK_LEN);
        assert_eq!(small.bytes.len(), BLOCK_LEN as usize);
        assert_eq!(pool.lent_bytes(), u64::from(EXTENT_LEN + BLOCK_LEN));
    }
}
