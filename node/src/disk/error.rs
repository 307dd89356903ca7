//! What goes wrong with a torrent's data, sorted by what is to be done about it.

use std::{io, path::PathBuf};

use shoal_core::ids::PieceIndex;

use super::{fs::is_full, layout::LayoutError, store::StoreError};

/// A disk did not do what was asked of it.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// No room on the disk, or the quota is used up. The torrent waits for room.
    #[error("no room for {}", path.display())]
    Full {
        /// The file or folder that did not fit.
        path: PathBuf,
    },
    /// The system refused or failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// How it failed.
        source: io::Error,
    },
    /// A write to data that is only seeded.
    #[error("{} is seeded where it is and never written to", path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// A file changed under us: its pieces are not had any more and are to be verified again.
    #[error("file {file} changed")]
    Changed {
        /// The index of the file in the torrent.
        file: usize,
    },
    /// A sync failed while this was being written: it is lost like everything uncommitted.
    #[error("piece {} was written while a sync failed", piece.0)]
    Overtaken {
        /// The piece.
        piece: PieceIndex,
    },
    /// The torrent has no such piece, or the piece no such range.
    #[error("no range of {len} bytes at {offset} in piece {}", piece.0)]
    Range {
        /// The piece.
        piece: PieceIndex,
        /// Offset in the piece, bytes.
        offset: u64,
        /// Length asked for or handed in, bytes.
        len: u64,
    },
}

/// Why a torrent's data cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The torrent has no place here.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why pieces were not committed.
#[derive(Debug, thiserror::Error)]
#[error("cannot commit, {} pieces lost", lost.len())]
pub struct CommitError {
    /// The pieces to be fetched again: all uncommitted ones after a failed sync, none where only
    /// the database failed (those stay written, and the next commit includes them).
    pub lost: Vec<PieceIndex>,
    /// What failed.
    pub source: CommitCause,
}

/// What failed in a commit.
#[derive(Debug, thiserror::Error)]
pub enum CommitCause {
    /// The sync of the data.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a file was not merged.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// Pieces are missing.
    #[error("{} pieces are missing", missing.len())]
    Incomplete {
        /// The missing pieces, rising.
        missing: Vec<PieceIndex>,
    },
    /// Something else is where the file would go.
    #[error("{} exists and is another file", path.display())]
    Exists {
        /// The path in the downloads folder.
        path: PathBuf,
    },
    /// The torrent has no such file, or it is padding or a link.
    #[error("no file {file} to merge")]
    NoFile {
        /// The index given.
        file: usize,
    },
    /// The data could not be made durable first.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl DiskError {
    /// Names the path an error of the system happened at.
    pub(super) fn at(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| {
            if is_full(&source) { Self::Full { path } } else { Self::Io { path, source } }
        }
    }
}
