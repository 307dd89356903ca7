//! Reading: verification of pieces on the disk, sources of uploads, and noticing that a file
//! changed under us.
//!
//! Never here: the sending; a socket task hands a [`Source`] to `sendfile`.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    sync::Arc,
    time::{Duration, Instant},
};

use sha1::{Digest, Sha1};
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

    /// Reads a piece from the disk and compares it with its hash. A piece that matches is had and
    /// committed by the next [`TorrentStore::commit`]; one that does not is not had any more.
    /// Missing and short files do not match, and what a failed sync lost does not until it is
    /// written again.
    ///
    /// # Errors
    /// [`DiskError::Io`] where a file cannot be read, [`DiskError::Changed`] where a merged or
    /// seeded file changed meanwhile (all its pieces are to be verified again),
    /// [`DiskError::Overtaken`] where a sync failed meanwhile, [`DiskError::Range`] for an unknown
    /// piece.
    pub fn verify_piece(&self, piece: PieceIndex) -> Result<bool, DiskError> {
        let layout = &self.0.layout;
        if piece.0 >= layout.piece_count() {
            return Err(DiskError::Range { piece, offset: 0, len: 0 });
        }
        let slices = layout.whole(piece);
        let files = || slices.iter().filter(|slice| !slice.pad).map(|slice| slice.file);
        let (changes, failed_syncs) = {
            let ledger = self.ledger();
            if ledger.suspect.contains(&piece) {
                return Ok(false);
            }
            let changes: Vec<_> = files().map(|file| ledger.files[file].changes).collect();
            (changes, ledger.failed_syncs)
        };
        if !self.ledger().has(piece) {
            self.drop_cache(&slices)?;
        }
        let matches = self.hash_on_disk(&slices)? == Some(layout.meta.pieces[piece.0 as usize]);
        for file in files() {
            if matches {
                self.make_whole(file)?;
            }
            self.check(file)?;
        }
        let mut ledger = self.ledger();
        if let Some((file, _)) =
            files().zip(changes).find(|(file, before)| ledger.files[*file].changes != *before)
        {
            return Err(DiskError::Changed { file });
        }
        if !matches {
            ledger.forget(piece);
        } else if ledger.failed_syncs != failed_syncs {
            return Err(DiskError::Overtaken { piece });
        } else {
            ledger.note(piece, files().map(|file| (file, None)));
        }
        Ok(matches)
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
    fn check(&self, file: usize) -> Result<(), DiskError> {
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

    /// Gives a file of the chunk memory its whole length before anything rests on it: it may be of a
    /// life of this node that ended before its length was durable.
    fn make_whole(&self, file: usize) -> Result<(), DiskError> {
        let layout = &self.0.layout;
        {
            let ledger = self.ledger();
            let claimed = || layout.pieces_of(file).any(|piece| ledger.has(piece));
            if ledger.files[file].place != Place::Chunks || claimed() {
                return Ok(());
            }
        }
        let at = layout.location(file, Place::Chunks);
        let whole = |open: File| self.set_whole_len(file, &open);
        match self.0.fs.open(&at, OpenMode::Write).and_then(whole) {
            // It has just been merged.
            Err(error) if is_missing(&error) => Ok(()),
            outcome => outcome.map_err(DiskError::at(at.path())),
        }
    }

    /// The file, open for reading at least.
    fn file_to_read(&self, file: usize) -> Result<Arc<File>, DiskError> {
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

    /// Makes the next read of what we wrote, and nothing vouches for, a read of the disk: an earlier
    /// life of this node may have had a failed sync.
    fn drop_cache(&self, slices: &[FileSlice]) -> Result<(), DiskError> {
        for slice in slices.iter().filter(|slice| !slice.pad) {
            let place = self.ledger().files[slice.file].place;
            if place == Place::Seed {
                continue;
            }
            match self.file_to_read(slice.file) {
                Ok(file) => self
                    .0
                    .fs
                    .drop_cache(&file, slice.file_offset, slice.len)
                    .map_err(DiskError::at(self.0.layout.location(slice.file, place).path()))?,
                Err(DiskError::Io { source, .. }) if is_missing(&source) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The hash of what is on the disk, `None` where some of it is missing.
    fn hash_on_disk(&self, slices: &[FileSlice]) -> Result<Option<[u8; 20]>, DiskError> {
        let mut hash = Sha1::new();
        let mut buffer = vec![0; READ_LEN];
        for slice in slices {
            let file = if slice.pad {
                None
            } else {
                match self.file_to_read(slice.file) {
                    Ok(file) => Some(file),
                    Err(DiskError::Io { source, .. }) if is_missing(&source) => return Ok(None),
                    Err(error) => return Err(error),
                }
            };
            let mut done = 0;
            while done < slice.len {
                let now = buffer.len().min(usize::try_from(slice.len - done).unwrap_or(READ_LEN));
                let bytes = &mut buffer[..now];
                match &file {
                    None => bytes.fill(0),
                    Some(file) => match file.read_exact_at(bytes, slice.file_offset + done) {
                        Ok(()) => {}
                        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                            return Ok(None);
                        }
                        Err(error) => {
                            let place = self.ledger().files[slice.file].place;
                            let path = self.0.layout.location(slice.file, place).path();
                            return Err(DiskError::at(path)(error));
                        }
                    },
                }
                hash.update(&*bytes);
                done += now as u64;
            }
        }
        Ok(Some(hash.finalize().into()))
    }
}

/// How long a look at a file is good for.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);
/// Bytes read at once while verifying: fits the second-level cache beside the hash's state.
const READ_LEN: usize = 256 * 1024;
