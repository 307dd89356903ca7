//! The buffers of pieces that are being fetched: filled extents, what ended leases left, and which
//! lease fills what.
//!
//! Never here: whether the bytes are right, or who is asked.

use std::{collections::BTreeMap, ops::Range};

use shoal_core::{
    ids::{LeaseId, PieceIndex, TorrentId},
    session::Lease,
};

use crate::net::{BufferPool, ExtentBuffer};

/// The memory of everything that is being fetched.
///
/// Invariant: a buffer is in exactly one place: with a connection (its lease is in `leases`), here,
/// with a disk thread, or in the pool.
pub(super) struct Fetching {
    pool: BufferPool,
    leases: BTreeMap<LeaseId, Granted>,
    extents: BTreeMap<(TorrentId, PieceIndex, u32), Kept>,
}

/// What a lease is for.
#[derive(Clone, Copy, Debug)]
struct Granted {
    torrent: TorrentId,
    piece: PieceIndex,
    extent: u32,
    /// The piece was dropped or went to be verified: what this lease brings is not wanted.
    stale: bool,
}

/// What is kept of an extent.
#[derive(Debug)]
enum Kept {
    /// All of it.
    Full(ExtentBuffer),
    /// What ended leases left.
    Partial(ExtentBuffer),
}

impl Fetching {
    pub(super) fn new(budget_bytes: u64) -> Self {
        let pool = BufferPool::new(budget_bytes);
        Self { pool, leases: BTreeMap::new(), extents: BTreeMap::new() }
    }

    /// The buffer for a lease: what earlier leases left of the extent, unless it is a duplicate,
    /// else an empty one with its padding filled. `pads` are the padding ranges of the piece.
    pub(super) fn grant(&mut self, lease: &Lease, pads: &[Range<u32>]) -> ExtentBuffer {
        let granted = Granted {
            torrent: lease.torrent,
            piece: lease.piece,
            extent: lease.extent,
            stale: false,
        };
        self.leases.insert(lease.id, granted);
        let key = (lease.torrent, lease.piece, lease.extent);
        if !lease.duplicate
            && let Some(Kept::Partial(buffer)) = self
                .extents
                .extract_if(key..=key, |_, kept| kept.is_partial())
                .next()
                .map(|(_, k)| k)
            && buffer.len() == lease.len
        {
            return buffer;
        }
        let mut buffer = self.pool.take(lease.len);
        buffer.fill_padding(lease.offset, pads);
        buffer
    }

    /// Takes a filled extent. A second copy, or one that is no longer wanted, is recycled.
    pub(super) fn received(&mut self, lease: LeaseId, buffer: ExtentBuffer) {
        let Some(granted) = self.leases.remove(&lease).filter(|granted| !granted.stale) else {
            self.pool.put(buffer);
            return;
        };
        let key = granted.key();
        match self.extents.remove(&key) {
            Some(Kept::Full(first)) => {
                self.pool.put(buffer);
                self.extents.insert(key, Kept::Full(first));
            }
            Some(Kept::Partial(partial)) => {
                self.pool.put(partial);
                self.extents.insert(key, Kept::Full(buffer));
            }
            None => {
                self.extents.insert(key, Kept::Full(buffer));
            }
        }
    }

    /// Takes what a lease left. Returns the bytes that are here of its extent, from whatever lease;
    /// 0 where nothing is, or nothing is wanted.
    pub(super) fn ended(&mut self, lease: LeaseId, buffer: ExtentBuffer) -> u32 {
        let Some(granted) = self.leases.remove(&lease).filter(|granted| !granted.stale) else {
            self.pool.put(buffer);
            return 0;
        };
        let (key, filled) = (granted.key(), buffer.filled_bytes());
        let kept = match self.extents.remove(&key) {
            Some(better) if better.filled_bytes() >= filled => {
                self.pool.put(buffer);
                better
            }
            Some(Kept::Full(worse) | Kept::Partial(worse)) => {
                self.pool.put(worse);
                Kept::Partial(buffer)
            }
            None if filled > 0 => Kept::Partial(buffer),
            None => {
                self.pool.put(buffer);
                return 0;
            }
        };
        let held = kept.filled_bytes();
        self.extents.insert(key, kept);
        held
    }

    /// The filled extents of a piece, in order, to be verified: `extents` are its ranges, `pads` its
    /// padding. An extent that is padding alone was never leased: it is made here. What else there
    /// is of the piece is not wanted any more.
    pub(super) fn take_piece(
        &mut self,
        torrent: TorrentId,
        piece: PieceIndex,
        extents: impl Iterator<Item = Range<u32>>,
        pads: &[Range<u32>],
    ) -> Vec<ExtentBuffer> {
        self.make_stale(|granted| granted.torrent == torrent && granted.piece == piece);
        let mut full = Vec::new();
        for (extent, range) in (0..).zip(extents) {
            match self.extents.remove(&(torrent, piece, extent)) {
                Some(Kept::Full(buffer)) => full.push(buffer),
                Some(Kept::Partial(buffer)) => self.pool.put(buffer),
                None => {
                    let mut buffer = self.pool.take(range.end - range.start);
                    buffer.fill_padding(range.start, pads);
                    full.push(buffer);
                }
            }
        }
        full
    }

    /// Throws away what there is of a piece.
    pub(super) fn drop_piece(&mut self, torrent: TorrentId, piece: PieceIndex) {
        self.make_stale(|granted| granted.torrent == torrent && granted.piece == piece);
        let range = (torrent, piece, 0)..=(torrent, piece, u32::MAX);
        for (_, kept) in self.extents.extract_if(range, |_, _| true) {
            self.pool.put(kept.into_buffer());
        }
    }

    /// Throws away what there is of a torrent.
    pub(super) fn drop_torrent(&mut self, torrent: TorrentId) {
        self.make_stale(|granted| granted.torrent == torrent);
        let first = (torrent, PieceIndex(0), 0);
        let last = (torrent, PieceIndex(u32::MAX), u32::MAX);
        for (_, kept) in self.extents.extract_if(first..=last, |_, _| true) {
            self.pool.put(kept.into_buffer());
        }
    }

    /// Takes buffers back.
    pub(super) fn recycle(&mut self, buffers: Vec<ExtentBuffer>) {
        buffers.into_iter().for_each(|buffer| self.pool.put(buffer));
    }

    fn make_stale(&mut self, of: impl Fn(&Granted) -> bool) {
        self.leases.values_mut().filter(|granted| of(granted)).for_each(|g| g.stale = true);
    }
}

impl Granted {
    fn key(&self) -> (TorrentId, PieceIndex, u32) {
        (self.torrent, self.piece, self.extent)
    }
}

impl Kept {
    fn is_partial(&self) -> bool {
        matches!(self, Self::Partial(_))
    }

    fn filled_bytes(&self) -> u32 {
        let (Self::Full(buffer) | Self::Partial(buffer)) = self;
        buffer.filled_bytes()
    }

    fn into_buffer(self) -> ExtentBuffer {
        match self {
            Self::Full(buffer) | Self::Partial(buffer) => buffer,
        }
    }
}

#[cfg(test)]
mod tests {
    use shoal_core::config::{BLOCK_LEN, EXTENT_LEN};

    use super::*;

    const TORRENT: TorrentId = TorrentId(1);
    const PIECE: PieceIndex = PieceIndex(3);

    fn lease(id: u64, extent: u32, duplicate: bool) -> Lease {
        Lease {
            id: LeaseId(id),
            torrent: TORRENT,
            piece: PIECE,
            extent,
            offset: extent * EXTENT_LEN,
            len: EXTENT_LEN,
            request_len: BLOCK_LEN,
            requests_max: 10,
            duplicate,
        }
    }

    /// Padding that fills the first `blocks` blocks of extent 0: how a test fills a buffer.
    fn pads(blocks: u32) -> Vec<Range<u32>> {
        pads_at(0, blocks)
    }

    fn pads_at(offset: u32, blocks: u32) -> Vec<Range<u32>> {
        std::iter::once(offset..offset + blocks * BLOCK_LEN).collect()
    }

    fn fetching() -> Fetching {
        Fetching::new(64 << 20)
    }

    #[test]
    fn what_a_lease_left_is_taken_over_by_the_next() {
        let mut fetching = fetching();
        let buffer = fetching.grant(&lease(1, 0, false), &pads(2));
        assert_eq!(fetching.ended(LeaseId(1), buffer), 2 * BLOCK_LEN);
        let duplicate = fetching.grant(&lease(2, 0, true), &[]);
        assert_eq!(duplicate.filled_bytes(), 0, "a duplicate begins empty");
        let held = fetching.ended(LeaseId(2), duplicate);
        assert_eq!(held, 2 * BLOCK_LEN, "what the first left is still here");
        let next = fetching.grant(&lease(3, 0, false), &[]);
        assert_eq!(next.filled_bytes(), 2 * BLOCK_LEN);
        let other = fetching.grant(&lease(4, 1, false), &[]);
        assert_eq!(other.filled_bytes(), 0);
    }

    #[test]
    fn of_two_leftovers_the_fuller_is_kept() {
        let mut fetching = fetching();
        let first = fetching.grant(&lease(1, 0, false), &pads(2));
        let second = fetching.grant(&lease(2, 0, true), &pads(3));
        let third = fetching.grant(&lease(3, 0, true), &pads(1));
        assert_eq!(fetching.ended(LeaseId(1), first), 2 * BLOCK_LEN);
        assert_eq!(fetching.ended(LeaseId(2), second), 3 * BLOCK_LEN);
        assert_eq!(fetching.ended(LeaseId(3), third), 3 * BLOCK_LEN);
        assert_eq!(fetching.grant(&lease(4, 0, false), &[]).filled_bytes(), 3 * BLOCK_LEN);
    }

    #[test]
    fn the_second_copy_of_an_extent_is_recycled() {
        let mut fetching = fetching();
        let first = fetching.grant(&lease(1, 0, false), &pads(64));
        let second = fetching.grant(&lease(2, 0, true), &pads(64));
        fetching.received(LeaseId(1), first);
        fetching.received(LeaseId(2), second);
        let piece = fetching.take_piece(TORRENT, PIECE, std::iter::once(0..EXTENT_LEN), &[]);
        assert_eq!(piece.len(), 1);
        fetching.recycle(piece);
        assert_eq!(fetching.pool.lent_bytes(), 0);
    }

    #[test]
    fn what_arrives_for_a_dropped_piece_is_not_kept() {
        let mut fetching = fetching();
        let first = fetching.grant(&lease(1, 0, false), &pads(64));
        let second = fetching.grant(&lease(2, 1, false), &pads_at(EXTENT_LEN, 1));
        fetching.drop_piece(TORRENT, PIECE);
        fetching.received(LeaseId(1), first);
        assert_eq!(fetching.ended(LeaseId(2), second), 0);
        assert!(fetching.extents.is_empty());
        assert_eq!(fetching.pool.lent_bytes(), 0);
    }

    #[test]
    fn extent_of_padding_alone_is_made_when_its_piece_is_verified() {
        let mut fetching = fetching();
        let padding = pads_at(EXTENT_LEN, 64);
        let first = fetching.grant(&lease(1, 0, false), &pads(64));
        fetching.received(LeaseId(1), first);
        let extents = [0..EXTENT_LEN, EXTENT_LEN..2 * EXTENT_LEN];
        let piece = fetching.take_piece(TORRENT, PIECE, extents.into_iter(), &padding);
        assert_eq!(piece.len(), 2);
        assert_eq!(piece[1].filled_bytes(), EXTENT_LEN);
    }

    #[test]
    fn a_torrent_that_goes_leaves_no_memory_behind() {
        let mut fetching = fetching();
        let full = fetching.grant(&lease(1, 0, false), &pads(64));
        let partial = fetching.grant(&lease(2, 1, false), &pads_at(EXTENT_LEN, 1));
        let out = fetching.grant(&lease(3, 2, false), &[]);
        fetching.received(LeaseId(1), full);
        fetching.ended(LeaseId(2), partial);
        fetching.drop_torrent(TORRENT);
        fetching.received(LeaseId(3), out);
        assert_eq!(fetching.pool.lent_bytes(), 0);
        assert!(fetching.extents.is_empty() && fetching.leases.is_empty());
    }
}
