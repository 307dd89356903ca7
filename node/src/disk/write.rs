//! Writing verified pieces to their files, and making those files.
//!
//! Never here: making anything durable, see `commit`.

use std::{
    fs::File,
    io::{self, IoSlice},
    sync::{Arc, PoisonError},
};

use shoal_core::{ids::PieceIndex, metainfo::FileSlice};

use super::{
    cache::Access,
    error::DiskError,
    fs::{FileStamp, Location, OpenMode},
    record::Place,
    torrent::{TorrentStore, is_missing},
};

impl TorrentStore {
    /// Writes a whole verified piece, given as consecutive buffers with padding as zeros. From
    /// then on it may be served; it is committed by the next [`TorrentStore::commit`].
    ///
    /// Every file slice is one positional write. Files and folders are made as needed.
    ///
    /// # Errors
    /// [`DiskError::Full`] where there is no room, [`DiskError::Io`] with the path,
    /// [`DiskError::ReadOnly`] for a seed, [`DiskError::Changed`] where a merged file is not the
    /// one we knew, [`DiskError::Overtaken`] where a sync failed meanwhile, [`DiskError::Range`]
    /// where the buffers are not the piece's length. The piece is not had then.
    pub fn write_piece(&self, piece: PieceIndex, parts: &[&[u8]]) -> Result<(), DiskError> {
        let layout = &self.0.layout;
        let len: u64 = parts.iter().map(|part| part.len() as u64).sum();
        if piece.0 >= layout.piece_count() || len != u64::from(layout.piece_size(piece)) {
            return Err(DiskError::Range { piece, offset: 0, len });
        }
        let failed_syncs = self.ledger().failed_syncs;
        let mut rest = Parts::new(parts);
        let mut touched = Vec::new();
        for slice in layout.whole(piece) {
            let mut buffers = rest.take(slice.len);
            if !slice.pad {
                let file = self.write_slice(&slice, &mut buffers)?;
                touched.push((slice.file, Some(file)));
            }
        }
        {
            let mut ledger = self.ledger();
            if ledger.failed_syncs != failed_syncs {
                return Err(DiskError::Overtaken { piece });
            }
            ledger.note(piece, touched);
        }
        self.bound_dirty_files();
        Ok(())
    }

    fn write_slice(
        &self,
        slice: &FileSlice,
        buffers: &mut [IoSlice<'_>],
    ) -> Result<Arc<File>, DiskError> {
        let (place, writing) = self.begin_write(slice.file)?;
        let at = self.0.layout.location(slice.file, place);
        let written = self.file_to_write(slice.file, &at).and_then(|file| {
            self.0
                .fs
                .write_all_at(&file, buffers, slice.file_offset)
                .map_err(DiskError::at(at.path()))?;
            Ok(file)
        });
        if writing {
            self.end_write(slice.file)?;
        }
        written
    }

    /// Says where a file is written to. For a merged one, checks that it is still the one we knew
    /// and holds its checks back until [`Self::end_write`].
    fn begin_write(&self, file: usize) -> Result<(Place, bool), DiskError> {
        let place = self.ledger().files[file].place;
        match place {
            Place::Chunks => return Ok((place, false)),
            Place::Seed => {
                let path = self.0.layout.location(file, place).path();
                return Err(DiskError::ReadOnly { path });
            }
            Place::Merged => {}
        }
        let seen = self.stamp_at(file, place)?;
        let mut ledger = self.ledger();
        let state = &mut ledger.files[file];
        if state.writers == 0 && !state.agrees(seen, 0) {
            ledger.on_changed(file, seen, self.0.layout.pieces_of(file));
            return Err(DiskError::Changed { file });
        }
        state.writers += 1;
        Ok((place, true))
    }

    /// Adopts the stamp that our own write gave a merged file.
    fn end_write(&self, file: usize) -> Result<(), DiskError> {
        let seen = self.stamp_at(file, Place::Merged);
        let mut ledger = self.ledger();
        let state = &mut ledger.files[file];
        state.writers -= 1;
        if let Ok(seen @ Some(FileStamp { .. })) = seen {
            state.stamp = seen;
        }
        ledger.moved.insert(file);
        seen.map(|_| ())
    }

    /// The file, open for writing; made with its folders where it is in the chunk memory.
    fn file_to_write(&self, file: usize, at: &Location) -> Result<Arc<File>, DiskError> {
        let files = self.0.store.files();
        if let Some(open) = files.file(self.info_hash(), file, Access::ReadWrite) {
            return Ok(open);
        }
        let open = match self.0.fs.open(at, OpenMode::Write) {
            Ok(open) => {
                // Made by a life of this node that ended before its length was durable.
                self.set_whole_len(file, &open).map_err(DiskError::at(at.path()))?;
                open
            }
            Err(error) if is_missing(&error) => self.create_file(file, at)?,
            Err(error) => return Err(DiskError::at(at.path())(error)),
        };
        let open = Arc::new(open);
        files.insert(self.info_hash(), file, Access::ReadWrite, open.clone());
        Ok(open)
    }

    /// Makes a sparse file of its whole length, and the folders above it.
    pub(super) fn create_file(&self, file: usize, at: &Location) -> Result<File, DiskError> {
        let _creating = self.0.creates.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = |error: io::Error| DiskError::at(at.path())(error);
        let parent = at.parent().unwrap_or_else(|| self.0.layout.origin());
        let mut dirs = self.0.fs.create_dirs(&parent).map_err(DiskError::at(parent.path()))?;
        let open = self.0.fs.open(at, OpenMode::Create).map_err(failed)?;
        dirs.push(parent.path());
        self.ledger().dirty_dirs.extend(dirs);
        self.set_whole_len(file, &open).map_err(failed)?;
        Ok(open)
    }

    pub(super) fn set_whole_len(&self, file: usize, open: &File) -> io::Result<()> {
        let len = self.0.layout.file_len(file);
        if open.metadata()?.len() == len { Ok(()) } else { self.0.fs.set_len(open, len) }
    }
}

/// Consecutive buffers, taken from the front.
struct Parts<'a> {
    parts: &'a [&'a [u8]],
    /// Bytes already taken of the first.
    taken: usize,
}

impl<'a> Parts<'a> {
    fn new(parts: &'a [&'a [u8]]) -> Self {
        Self { parts, taken: 0 }
    }

    /// The next `len` bytes, as the buffers they are in. Fewer where the buffers end.
    fn take(&mut self, len: u64) -> Vec<IoSlice<'a>> {
        let mut wanted = usize::try_from(len).unwrap_or(usize::MAX);
        let mut taken = Vec::new();
        while let Some((first, rest)) = self.parts.split_first().filter(|_| wanted > 0) {
            let left = &first[self.taken..];
            let now = left.len().min(wanted);
            taken.push(IoSlice::new(&left[..now]));
            wanted -= now;
            self.taken += now;
            if self.taken == first.len() {
                (self.parts, self.taken) = (rest, 0);
            }
        }
        taken
    }
}
