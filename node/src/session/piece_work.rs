//! What disk threads do with pieces: hash and write what was received, read and hash what is on
//! the disk.
//!
//! Never here: what follows from it.

use shoal_core::{
    config::{BLOCK_LEN, EXTENT_LEN},
    ids::{PieceIndex, TorrentId},
    session::event::{BlockDigest, PieceOutcome},
};

use super::{
    disk_rooms::Step,
    inbox::{DiskNews, Inbox, Input},
};
use crate::{
    disk::{DiskError, TorrentStore, hash_blocks, hash_parts},
    net::ExtentBuffer,
};

/// How often a piece is tried again that a failed sync, or a change of its file, overtook.
const TRIES_MAX: u32 = 3;

/// Hashes the buffers of a piece and writes them where they are right. Tells also which files were
/// found changed.
pub(super) fn verify_and_write(
    store: &TorrentStore,
    piece: PieceIndex,
    buffers: &[ExtentBuffer],
    compare: bool,
) -> (PieceOutcome, Vec<usize>) {
    let mut changed = Vec::new();
    let parts: Vec<&[u8]> = buffers.iter().map(ExtentBuffer::bytes).collect();
    let expected = store.metainfo().pieces.get(piece.0 as usize);
    if expected != Some(&hash_parts(&parts)) {
        return (PieceOutcome::Mismatch { blocks: digests(buffers, &parts) }, changed);
    }
    let mut tries = 1;
    loop {
        let error = match store.write_piece(piece, &parts) {
            Ok(()) => {
                let blocks = if compare { digests(buffers, &parts) } else { Vec::new() };
                return (PieceOutcome::Written { blocks }, changed);
            }
            Err(error) => error,
        };
        match error {
            DiskError::Changed { file } if tries < TRIES_MAX => changed.push(file),
            DiskError::Overtaken { .. } if tries < TRIES_MAX => {}
            DiskError::Full { .. } => {
                return (PieceOutcome::DiskFull { cause: error.to_string() }, changed);
            }
            DiskError::Changed { .. }
            | DiskError::Overtaken { .. }
            | DiskError::Io { .. }
            | DiskError::ReadOnly { .. }
            | DiskError::Range { .. } => {
                return (PieceOutcome::DiskError { cause: error.to_string() }, changed);
            }
        }
        tries += 1;
    }
}

/// The digest of every block of a piece, and who sent it.
fn digests(buffers: &[ExtentBuffer], parts: &[&[u8]]) -> Vec<BlockDigest> {
    let blocks_of_extent = EXTENT_LEN / BLOCK_LEN;
    let digests = hash_blocks(parts, BLOCK_LEN);
    let digest = |(block, digest): (u32, [u8; 20])| {
        let buffer = buffers.get((block / blocks_of_extent) as usize);
        let from = buffer.and_then(|buffer| buffer.block_from(block % blocks_of_extent));
        BlockDigest { block, from, digest }
    };
    (0..).zip(digests).map(digest).collect()
}

/// A check of pieces in the background: a piece a step.
pub(super) struct Check {
    pub(super) torrent: TorrentId,
    pub(super) store: TorrentStore,
    pub(super) pieces: std::vec::IntoIter<PieceIndex>,
    pub(super) inbox: Inbox,
    /// Set where the torrent goes.
    pub(super) stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

impl Check {
    /// Checks the next piece and tells how it is.
    pub(super) fn step(&mut self) -> Step {
        if self.stop.load(std::sync::atomic::Ordering::Relaxed) {
            return Step::Done;
        }
        let Some(piece) = self.pieces.next() else { return Step::Done };
        // Told even where the check panics: the core waits for every piece.
        let mut told = Told { check: self, piece, good: false };
        told.good = told.check.is_good(piece);
        drop(told);
        if self.pieces.len() > 0 { Step::More } else { Step::Done }
    }

    fn is_good(&self, piece: PieceIndex) -> bool {
        for _ in 0..TRIES_MAX {
            match self.store.verify_piece(piece) {
                Ok(good) => return good,
                Err(DiskError::Changed { file }) => {
                    self.tell(DiskNews::FileChanged { torrent: self.torrent, file })
                }
                Err(DiskError::Overtaken { .. }) => {}
                Err(
                    error @ (DiskError::Full { .. }
                    | DiskError::Io { .. }
                    | DiskError::ReadOnly { .. }
                    | DiskError::Range { .. }),
                ) => {
                    tracing::warn!(%error, piece = piece.0, "a piece cannot be read");
                    return false;
                }
            }
        }
        false
    }

    fn tell(&self, news: DiskNews) {
        self.inbox.tell(Input::Disk(news));
    }
}

/// Tells the end of a check when it is dropped.
struct Told<'a> {
    check: &'a Check,
    piece: PieceIndex,
    good: bool,
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        let (torrent, piece, good) = (self.check.torrent, self.piece, self.good);
        self.check.tell(DiskNews::PieceChecked { torrent, piece, good });
    }
}
