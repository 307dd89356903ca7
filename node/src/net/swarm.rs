//! What a connection needs to know of its torrent: geometry, which pieces may be served, and where
//! their bytes are. Never here: how the bytes are kept on a disk.

use std::{
    fmt,
    fs::File,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use shoal_core::{
    bitfield::Bitfield,
    ids::{InfoHash, PieceIndex, TorrentId},
    metainfo::Metainfo,
};

use super::rate_limit::Limits;

/// A torrent as its connections see it.
#[derive(Clone)]
pub struct Swarm {
    /// Named in what is reported of it.
    pub torrent: TorrentId,
    /// What the handshakes name.
    pub info_hash: InfoHash,
    /// What is shared; none while all that is known of it is a magnet link: nothing is served then,
    /// nothing fetched, and what a peer says that it has is not judged.
    pub content: Option<Content>,
    /// What its connections may send and receive in all, besides what the node's may.
    pub limits: Arc<Limits>,
}

/// What is shared in a swarm.
#[derive(Clone)]
pub struct Content {
    /// Its geometry.
    pub metainfo: Arc<Metainfo>,
    /// The pieces that may be served.
    pub served: Arc<HaveMap>,
    /// Where their bytes are.
    pub source: Arc<dyn BlockSource>,
}

impl Swarm {
    /// A swarm of which only a magnet link is known.
    #[must_use]
    pub fn unknown(torrent: TorrentId, info_hash: InfoHash) -> Self {
        Self { torrent, info_hash, content: None, limits: Arc::default() }
    }

    /// Pieces in all; none where nobody knows.
    #[must_use]
    pub fn piece_count(&self) -> Option<u32> {
        self.content.as_ref().map(|content| content.metainfo.piece_count())
    }

    /// Whether a piece may be served.
    #[must_use]
    pub fn serves(&self, piece: PieceIndex) -> bool {
        self.content.as_ref().is_some_and(|content| content.served.get(piece))
    }
}

impl fmt::Debug for Swarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Swarm").field("torrent", &self.torrent).finish_non_exhaustive()
    }
}

/// Tells where the bytes of a piece are. Called on the runtime of the data path: it may look up an
/// inode, and must not read.
pub trait BlockSource: Send + Sync {
    /// The places of `len` bytes at `offset` of a piece, in order, `len` bytes in all.
    ///
    /// # Errors
    /// [`SourceError`] where they cannot be served.
    fn source(&self, piece: PieceIndex, offset: u32, len: u32) -> Result<Vec<Source>, SourceError>;
}

/// Where some bytes of a piece are.
#[derive(Clone, Debug)]
pub enum Source {
    /// In a file, open for reading.
    File {
        /// The file.
        file: Arc<File>,
        /// Where they begin in it, bytes.
        offset: u64,
        /// How many, bytes.
        len: u32,
    },
    /// Padding: this many zeros.
    Zeros(u32),
}

/// Why bytes of a piece cannot be served.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SourceError {
    /// The file is not what it was when its pieces were verified (§10 of the design).
    #[error("{0}")]
    Changed(String),
    /// The piece is not there, or its torrent is being closed.
    #[error("piece {0} is not there")]
    Missing(u32),
    /// The system said so; with the path.
    #[error("{0}")]
    Io(String),
}

/// A set of pieces that one side changes while others look: the pieces that may be served.
#[derive(Debug)]
pub struct HaveMap {
    words: Box<[AtomicU64]>,
    len: u32,
}

impl Source {
    /// How many bytes it is.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "only its length matters")]
    pub fn len(&self) -> u32 {
        match *self {
            Self::File { len, .. } | Self::Zeros(len) => len,
        }
    }
}

impl HaveMap {
    /// None of `len` pieces.
    #[must_use]
    pub fn new(len: u32) -> Self {
        let words = (0..len.div_ceil(u64::BITS)).map(|_| AtomicU64::new(0)).collect();
        Self { words, len }
    }

    /// The pieces of a bitfield.
    #[must_use]
    pub fn of(have: &Bitfield) -> Self {
        let map = Self::new(have.len() as u32);
        have.iter_ones().for_each(|piece| map.set(piece));
        map
    }

    /// Adds a piece; one that does not exist is ignored.
    pub fn set(&self, piece: PieceIndex) {
        if let Some((word, bit)) = self.place(piece) {
            word.fetch_or(bit, Ordering::Release);
        }
    }

    /// Takes a piece out; one that does not exist is ignored.
    pub fn clear(&self, piece: PieceIndex) {
        if let Some((word, bit)) = self.place(piece) {
            word.fetch_and(!bit, Ordering::Release);
        }
    }

    /// Whether the piece is in the set; `false` for one that does not exist.
    #[must_use]
    pub fn get(&self, piece: PieceIndex) -> bool {
        self.place(piece).is_some_and(|(word, bit)| word.load(Ordering::Acquire) & bit != 0)
    }

    fn place(&self, piece: PieceIndex) -> Option<(&AtomicU64, u64)> {
        let PieceIndex(index) = piece;
        if index >= self.len {
            return None;
        }
        let word = self.words.get((index / u64::BITS) as usize)?;
        Some((word, 1 << (index % u64::BITS)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_holds_what_was_set_and_nothing_beyond_its_end() {
        let map = HaveMap::new(65);
        for index in [0, 63, 64, 65, u32::MAX] {
            map.set(PieceIndex(index));
        }
        let held = (0..200).filter(|&index| map.get(PieceIndex(index))).collect::<Vec<_>>();
        assert_eq!(held, [0, 63, 64]);
        map.clear(PieceIndex(63));
        map.clear(PieceIndex(1000));
        assert!(!map.get(PieceIndex(63)) && map.get(PieceIndex(64)));
        assert!(!map.get(PieceIndex(u32::MAX)));
    }
}
