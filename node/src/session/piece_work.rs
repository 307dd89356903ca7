//! What disk threads do with received pieces: hash and write them.
//!
//! Never here: what follows from it.

use shoal_core::{
    config::{BLOCK_LEN, EXTENT_LEN},
    ids::PieceIndex,
    session::event::{BlockDigest, PieceOutcome},
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

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, sync::Arc, sync::atomic::AtomicBool};

    use shoal_core::{config::MIB, metainfo::Metainfo, metainfo::create::Pad};

    use super::*;
    use crate::{
        disk::{CreateOptions, Placement, RealFileSystem, Store, create},
        net::BufferPool,
    };

    const PIECE: PieceIndex = PieceIndex(0);

    /// The store of a torrent of one piece of 2 MiB and 5 bytes' rest, to be downloaded.
    fn store_of(dir: &Path, byte: u8) -> TorrentStore {
        let file = dir.join("f");
        fs::write(&file, vec![byte; 2 * MIB as usize + 5]).unwrap();
        let options = CreateOptions {
            path: file,
            name: None,
            piece_len: Some(2 * MIB as u32),
            pad: Pad::Auto,
            private: false,
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            comment: None,
            created_unix: None,
        };
        let made = create(&options, &|_, _| (), &AtomicBool::new(false)).unwrap();
        let metainfo = Arc::new(Metainfo::parse(&made.metainfo).unwrap());
        let store = Store::open(&dir.join("state")).unwrap();
        let downloads = dir.join("downloads");
        let placement = Placement::Downloads { chunks_dir: downloads.join("c"), downloads };
        TorrentStore::open(&store, metainfo, placement, Arc::new(RealFileSystem)).unwrap().0
    }

    /// Fresh buffers are zeros.
    fn zeros() -> Vec<ExtentBuffer> {
        let mut pool = BufferPool::new(0);
        (0..2).map(|_| pool.take(EXTENT_LEN)).collect()
    }

    #[test]
    fn a_right_piece_is_written_and_its_blocks_told_where_they_are_compared() {
        let dir = tempfile::tempdir().unwrap();
        let store = store_of(dir.path(), 0);
        for (compare, expected) in [(false, 0), (true, 128)] {
            let (outcome, changed) = verify_and_write(&store, PIECE, &zeros(), compare);
            match &outcome {
                PieceOutcome::Written { blocks } => assert_eq!(blocks.len(), expected),
                PieceOutcome::Mismatch { .. }
                | PieceOutcome::DiskFull { .. }
                | PieceOutcome::DiskError { .. } => panic!("{outcome:?}"),
            }
            assert!(changed.is_empty());
        }
        assert!(store.have().get(PIECE));
    }

    #[test]
    fn a_wrong_piece_is_not_written_and_every_block_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let store = store_of(dir.path(), 7);
        let (outcome, _) = verify_and_write(&store, PIECE, &zeros(), false);
        let PieceOutcome::Mismatch { blocks } = outcome else { panic!("{outcome:?}") };
        assert_eq!(blocks.len(), 128);
        assert!(blocks.iter().zip(0..).all(|(block, index)| block.block == index));
        assert_eq!(blocks[127].digest, hash_parts(&[&[0; BLOCK_LEN as usize]]));
        assert!(!store.have().get(PIECE));
    }

    #[test]
    fn a_piece_of_another_length_is_a_mismatch_and_one_that_is_not_there_too() {
        let dir = tempfile::tempdir().unwrap();
        let store = store_of(dir.path(), 0);
        for piece in [PieceIndex(1), PieceIndex(2), PieceIndex(u32::MAX)] {
            let (outcome, _) = verify_and_write(&store, piece, &zeros(), false);
            assert!(matches!(outcome, PieceOutcome::Mismatch { .. }), "{piece:?}: {outcome:?}");
        }
    }
}
