//! Reading: sources of uploads, and noticing that a file changed under us.
//!
//! Never here: the sending; a socket task hands a [`Source`] to `sendfile`.

use std::{
    fs::File,
    sync::Arc,
    time::{Duration, Instant},
};

use shoal_core::{ids::PieceIndex, metainfo::FileSlice};

use super::{
    cache::Access,
    error::DiskError,
    fs::OpenMode,
    record::Place,
    torrent::{TorrentStore, is_missing},
};

/// Where a run of a piece's bytes comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A range of an open file.
    File {
        /// The file; reading it needs no position of its own.
        file: Arc<File>,
        /// Where in the file, bytes.
        offset: u64,
        /// How many bytes.
        len: u64,
    },
    /// That many zeros: padding.
    Zeros(u64),
}

impl TorrentStore {
    /// Where the bytes of a range of a piece are, in order. The caller asks only for pieces that
    /// it has.
    ///
    /// Each file is looked at on the disk at most every 250 ms, so that this costs no system call
    /// in the common case.
    ///
    /// # Errors
    /// [`DiskError::Changed`] where a file is not the one that was verified: its pieces are not
    /// had from then on (see [`TorrentStore::pieces_of_file`]), and are to be verified again.
    /// [`DiskError::Range`] beyond the piece, [`DiskError::Io`] where a file cannot be opened.
    pub fn source(
        &self,
        piece: PieceIndex,
        offset: u32,
        len: u32,
    ) -> Result<Vec<Source>, DiskError> {
        let layout = &self.0.layout;
        let end = u64::from(offset) + u64::from(len);
        if piece.0 >= layout.piece_count() || end > u64::from(layout.piece_size(piece)) {
            return Err(DiskError::Range { piece, offset: offset.into(), len: len.into() });
        }
        let to_source = |slice: FileSlice| {
            if slice.pad {
                return Ok(Source::Zeros(slice.len));
            }
            self.check_now_and_then(slice.file)?;
            let file = self.file_to_read(slice.file)?;
            Ok(Source::File { file, offset: slice.file_offset, len: slice.len })
        };
        layout.slices(piece, offset, len).into_iter().map(to_source).collect()
    }

    /// Looks at a file on the disk: whether it is not the one that was verified. If so its pieces
    /// are not had any more, and what is there is what they are to be verified against. Unknown
    /// and pad files have not changed.
    ///
    /// # Errors
    /// [`DiskError::Io`] where the file cannot be looked at.
    pub fn is_changed(&self, file: usize) -> Result<bool, DiskError> {
        if file >= self.0.layout.file_count() || !self.0.layout.is_on_disk(file) {
            return Ok(false);
        }
        match self.check(file) {
            Ok(()) => Ok(false),
            Err(DiskError::Changed { .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// [`Self::check`] unless that was done a moment ago.
    fn check_now_and_then(&self, file: usize) -> Result<(), DiskError> {
        let now = Instant::now();
        {
            let mut ledger = self.ledger();
            let state = &mut ledger.files[file];
            if state.checked.is_some_and(|at| now.duration_since(at) < CHECK_INTERVAL) {
                return Ok(());
            }
            state.checked = Some(now);
        }
        self.check(file)
    }

    /// Compares a file with what is known of it.
    pub(super) fn check(&self, file: usize) -> Result<(), DiskError> {
        let layout = &self.0.layout;
        let before = self.ledger().files[file].clone();
        let seen = self.stamp_at(file, before.place)?;
        let mut ledger = self.ledger();
        let state = &ledger.files[file];
        let moved = state.place != before.place || state.stamp != before.stamp;
        if moved || state.writers > 0 || state.agrees(seen, layout.file_len(file)) {
            return Ok(());
        }
        let claimed = layout.pieces_of(file).any(|piece| ledger.has(piece));
        if state.place == Place::Chunks && !claimed {
            // Not made yet, or not by us: nothing rests on it.
            return Ok(());
        }
        let seen = seen.filter(|_| state.place != Place::Chunks);
        ledger.on_changed(file, seen, layout.pieces_of(file));
        drop(ledger);
        self.0.store.files().remove(self.info_hash(), file);
        Err(DiskError::Changed { file })
    }

    /// The file, open for reading at least.
    pub(super) fn file_to_read(&self, file: usize) -> Result<Arc<File>, DiskError> {
        let files = self.0.store.files();
        if let Some(open) = files.file(self.info_hash(), file, Access::Read) {
            return Ok(open);
        }
        let (place, writers) = {
            let state = &self.ledger().files[file];
            (state.place, state.writers)
        };
        let open = match self.open_at(file, place) {
            // It is being merged: its new place may already be the right one.
            Err(DiskError::Io { source, .. }) if writers > 0 && is_missing(&source) => {
                self.open_at(file, Place::Merged)
            }
            Err(error) => match self.ledger().files[file].place {
                same if same == place => Err(error),
                merged => self.open_at(file, merged),
            },
            Ok(open) => Ok(open),
        };
        let open = Arc::new(open?);
        files.insert(self.info_hash(), file, Access::Read, open.clone());
        Ok(open)
    }

    fn open_at(&self, file: usize, place: Place) -> Result<File, DiskError> {
        let at = self.0.layout.location(file, place);
        self.0.fs.open(&at, OpenMode::Read).map_err(DiskError::at(at.path()))
    }
}

/// How long a look at a file is good for.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);
